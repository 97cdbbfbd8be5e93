package main

import (
	"net/http"
	"strings"
)

// topline is the API of an aggregator in the manner of Reloadly: nested JSON,
// errors by name under 4xx, and a search by reference instead of a query, which
// finds nothing where others say "not found".
type topline struct{}

// toplineOperators are its names of the networks, in lower case; it takes any.
var toplineOperators = map[string]string{"mtn": "mtn", "airtel": "airtel", "glo": "glo", "9mobile": "9mobile"}

var toplineErrors = map[verdict]struct {
	status int
	code   string
}{
	duplicate:    {http.StatusBadRequest, "CUSTOM_IDENTIFIER_ALREADY_USED"},
	badRequest:   {http.StatusBadRequest, "INVALID_REQUEST"},
	badNumber:    {http.StatusBadRequest, "INVALID_RECIPIENT_PHONE"},
	badAmount:    {http.StatusBadRequest, "INVALID_AMOUNT"},
	floatLow:     {http.StatusBadRequest, "INSUFFICIENT_BALANCE"},
	notExecuted:  {http.StatusBadRequest, "OPERATOR_UNAVAILABLE_OR_CURRENTLY_INACTIVE"},
	unauthorized: {http.StatusUnauthorized, "INVALID_TOKEN"},
}

// A pending top-up that fails was paid for, so it is refunded.
var toplineStates = map[verdict]string{delivered: "SUCCESSFUL", pending: "PROCESSING", failed: "REFUNDED"}

func (a topline) keyHeader() keyHeader { return keyHeader{"Authorization", "Bearer"} }

func (a topline) refuse(v verdict) reply {
	e := toplineErrors[v]
	return reply{e.status, object{"errorCode": e.code, "message": v.sentence()}}
}

func (a topline) operations() []operation {
	return []operation{
		{kindBuy, "POST /topups", jsonType, `{"operator":"MTN","amount":"100.00","customIdentifier":"TXN-7K","recipientPhone":{"countryCode":"NG","number":"2348031234567"}}`, a.buy},
		{kindQuery, "GET /topups", "", "/topups?customIdentifier=TXN-7K", a.search},
		{kindBalance, "GET /accounts/balance", "", "", a.balance},
	}
}

func (a topline) buy(c *call) reply {
	var in struct {
		Operator  string `json:"operator"`
		Amount    string `json:"amount"`
		Reference string `json:"customIdentifier"`
		Recipient struct {
			Country string `json:"countryCode"`
			Number  string `json:"number"`
		} `json:"recipientPhone"`
	}
	if !c.decode(&in) {
		return a.refuse(badRequest)
	}
	recipient := international(in.Recipient.Number)
	if in.Recipient.Country != "NG" {
		recipient = ""
	}
	t, v := c.sell(sale{toplineOperators[strings.ToLower(in.Operator)], recipient, in.Reference, naira(in.Amount)})
	if v != delivered && v != pending {
		return a.refuse(v)
	}
	return reply{http.StatusOK, a.topup(t, v)}
}

func (a topline) search(c *call) reply {
	reference := c.request.URL.Query().Get("customIdentifier")
	if reference == "" {
		c.verdict = badRequest
		return a.refuse(badRequest)
	}
	content := []object{}
	if t, v := c.find(reference); v != notFound {
		content = append(content, a.topup(t, v))
	}
	return reply{http.StatusOK, object{"content": content}}
}

func (a topline) topup(t transaction, v verdict) object {
	o := object{"transactionId": t.serial, "status": toplineStates[v], "customIdentifier": t.reference}
	if v == delivered {
		o["balanceInfo"] = object{"cost": inNaira(t.cost())}
	}
	return o
}

func (a topline) balance(c *call) reply {
	return reply{http.StatusOK, object{"balance": inNaira(c.balance()), "currencyCode": "NGN"}}
}
