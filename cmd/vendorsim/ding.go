package main

import (
	"encoding/json"
	"net/http"
)

// ding is DingConnect's API: products by SKU, one envelope with a ResultCode and
// ErrorCodes around every answer, and a list of transfers in place of a query.
type ding struct{}

var dingSKUs = map[string]string{"NG_MT_TopUp": "mtn", "NG_ZN_TopUp": "airtel", "NG_GL_TopUp": "glo", "NG_ET_TopUp": "9mobile"}

var dingErrors = map[verdict][2]string{
	duplicate:    {"DistributorRefNotUnique", ""}, // its own word is not documented
	badRequest:   {"ParameterInvalid", ""},
	badNumber:    {"AccountNumberInvalid", "AccountNumberFailedRegex"},
	badAmount:    {"RechargeNotAllowed", "SendValueOutsideRange"},
	floatLow:     {"InsufficientBalance", ""},
	notExecuted:  {"TransientProviderError", "ProviderRefusedRequest"},
	unauthorized: {"AuthenticationFailed", ""},
}

var dingStates = map[verdict]string{delivered: "Complete", pending: "Submitted", failed: "Failed"}

func (a ding) keyHeader() keyHeader { return keyHeader{"api_key", ""} }

func (a ding) refuse(v verdict) reply {
	status := http.StatusOK
	if v == unauthorized {
		status = http.StatusUnauthorized
	}
	e := dingErrors[v]
	return reply{status, object{"TransferRecord": nil, "ResultCode": 5, "ErrorCodes": []object{{"Code": e[0], "Context": e[1]}}}}
}

func (a ding) operations() []operation {
	return []operation{
		{kindBuy, "POST /api/V1/SendTransfer", jsonType, `{"SkuCode":"NG_MT_TopUp","SendValue":100.00,"SendCurrencyIso":"NGN","AccountNumber":"2348031234567","DistributorRef":"TXN-7K","ValidateOnly":false}`, a.buy},
		{kindQuery, "POST /api/V1/ListTransferRecords", jsonType, `{"DistributorRef":"TXN-7K","Take":1}`, a.list},
	}
}

func (a ding) buy(c *call) reply {
	var in struct {
		SKU       string      `json:"SkuCode"`
		Value     json.Number `json:"SendValue"`
		Currency  string      `json:"SendCurrencyIso"`
		Account   string      `json:"AccountNumber"`
		Reference string      `json:"DistributorRef"`
		Validate  bool        `json:"ValidateOnly"`
	}
	if !c.decode(&in) || in.Currency != "NGN" || in.Validate {
		c.verdict = badRequest
		return a.refuse(badRequest)
	}
	t, v := c.sell(sale{dingSKUs[in.SKU], international(in.Account), in.Reference, naira(in.Value.String())})
	if v != delivered && v != pending {
		return a.refuse(v)
	}
	return reply{http.StatusOK, object{"TransferRecord": a.record(t, v), "ResultCode": 1, "ErrorCodes": []object{}}}
}

func (a ding) list(c *call) reply {
	var in struct {
		Reference string `json:"DistributorRef"`
		Take      int    `json:"Take"`
	}
	if !c.decode(&in) || in.Take < 1 {
		c.verdict = badRequest
		return a.refuse(badRequest)
	}
	items := []object{}
	if t, v := c.find(in.Reference); v != notFound {
		items = append(items, object{"TransferRecord": a.record(t, v), "ResultCode": 1, "ErrorCodes": []object{}})
	}
	return reply{http.StatusOK, object{"ResultCode": 1, "ErrorCodes": []object{}, "Items": items, "ThereAreMoreItems": false}}
}

func (a ding) record(t transaction, v verdict) object {
	return object{
		"TransferId": object{"TransferRef": t.id("D"), "DistributorRef": t.reference}, "AccountNumber": t.recipient, "ProcessingState": dingStates[v],
		"Price": object{"SendValue": json.Number(inNaira(t.cost())), "SendCurrencyIso": "NGN", "ReceiveValue": json.Number(inNaira(t.amount)), "ReceiveCurrencyIso": "NGN"},
	}
}
