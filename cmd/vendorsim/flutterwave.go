package main

import (
	"encoding/json"
	"net/http"
	"strings"
)

// flutterwave is the bills API of Flutterwave v3: biller and item in the path,
// an answer that is to be confirmed, a query by its own tx_ref alone, whose
// status object has no status of its own, and 503 when it gives up.
type flutterwave struct{}

var flutterwaveBillers = map[string]string{"BIL099": "mtn", "BIL100": "airtel", "BIL102": "glo", "BIL103": "9mobile"}

func (a flutterwave) keyHeader() keyHeader { return keyHeader{"Authorization", "Bearer"} }

func (a flutterwave) refuse(v verdict) reply {
	status, message := http.StatusBadRequest, v.sentence()
	switch v {
	case unauthorized:
		status, message = http.StatusUnauthorized, "Invalid authorization key"
	case notFound:
		status = http.StatusNotFound
	case badNumber:
		message = "Invalid customer id"
	case floatLow:
		message = "Insufficient funds in your wallet"
	case notExecuted:
		return reply{http.StatusServiceUnavailable, object{"status": "error", "message": "Biller did not respond", "data": object{"code": "R0"}}}
	}
	return reply{status, object{"status": "error", "message": message, "data": nil}}
}

func (a flutterwave) operations() []operation {
	return []operation{
		{kindBuy, "POST /v3/billers/{biller}/items/{item}/payment", jsonType, `{"country":"NG","customer_id":"+2348031234567","amount":100,"reference":"TXN-7K"}`, a.buy},
		{kindQuery, "GET /v3/bills/{tx_ref}", "", "/v3/bills/CF-FLYAPI-00000001", a.query},
	}
}

func (a flutterwave) buy(c *call) reply {
	var in struct {
		Country   string      `json:"country"`
		Customer  string      `json:"customer_id"`
		Amount    json.Number `json:"amount"`
		Reference string      `json:"reference"`
	}
	if !c.decode(&in) || in.Country != "NG" {
		c.verdict = badRequest
		return a.refuse(badRequest)
	}
	biller := c.request.PathValue("biller")
	if c.request.PathValue("item") != "AT"+strings.TrimPrefix(biller, "BIL") {
		biller = ""
	}
	t, v := c.sell(sale{flutterwaveBillers[biller], international(strings.TrimPrefix(in.Customer, "+")), in.Reference, naira(in.Amount.String())})
	if v != delivered && v != pending {
		return a.refuse(v)
	}
	return reply{http.StatusOK, object{"status": "success", "message": "Bill payment successful", "data": object{
		"phone_number": "+" + t.recipient, "amount": t.amount / 100, "network": strings.ToUpper(t.network), "code": "200",
		"tx_ref": t.id("CF-FLYAPI-"), "reference": t.reference, "batch_reference": nil, "recharge_token": nil, "fee": 0}}}
}

func (a flutterwave) query(c *call) reply {
	t, v := c.findID(c.request.PathValue("tx_ref"), "CF-FLYAPI-")
	if v == notFound {
		return a.refuse(v)
	}
	data := object{
		"currency": "NGN", "customer_id": "+" + t.recipient, "frequency": "One Time", "amount": inNaira(t.amount), "product": "AIRTIME",
		"product_name": t.network, "commission": json.Number(inNaira(t.amount - t.cost())), "customer_reference": t.reference,
	}
	if v != delivered {
		data["status"] = v.String()
	}
	return reply{http.StatusOK, object{"status": "success", "message": "Bill status fetch successful", "data": data}}
}
