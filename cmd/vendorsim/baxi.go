package main

import (
	"encoding/json"
	"net/http"
)

// baxi is Baxi's API as far as it is published: every error under HTTP 500 with
// a code of its own, some of which can still become a sale.
type baxi struct{}

var baxiServices = map[string]string{"mtn": "mtn", "airtel": "airtel", "glo": "glo", "9mobile": "9mobile"}

// baxiCodes are from the list that an integration has published.
var baxiCodes = map[verdict]string{
	duplicate:   "BX0023",
	notFound:    "BX0002",
	badRequest:  "BX0003",
	badNumber:   "EXC00125",
	badAmount:   "EXC00127",
	floatLow:    "EXC00102",
	notExecuted: "EXC00131",
}

func (a baxi) keyHeader() keyHeader { return keyHeader{"x-api-key", ""} }

func (a baxi) refuse(v verdict) reply {
	if v == unauthorized {
		return reply{http.StatusUnauthorized, object{"status": "error", "message": v.sentence()}}
	}
	return reply{http.StatusInternalServerError, object{"status": "error", "code": baxiCodes[v], "message": v.sentence()}}
}

func (a baxi) operations() []operation {
	return []operation{
		{kindBuy, "POST /api/baxipay/services/airtime/request", jsonType, `{"agentReference":"TXN-7K","agentId":"207","plan":"prepaid","service_type":"mtn","amount":100,"phone":"08031234567"}`, a.buy},
		{kindQuery, "GET /api/baxipay/superagent/transaction/query", "", "/api/baxipay/superagent/transaction/query?agentReference=TXN-7K", a.query},
	}
}

func (a baxi) buy(c *call) reply {
	var in struct {
		Reference string      `json:"agentReference"`
		Agent     string      `json:"agentId"`
		Plan      string      `json:"plan"`
		Service   string      `json:"service_type"`
		Amount    json.Number `json:"amount"`
		Phone     string      `json:"phone"`
	}
	if !c.decode(&in) || in.Plan != "prepaid" || in.Agent == "" {
		c.verdict = badRequest
		return a.refuse(badRequest)
	}
	t, v := c.sell(sale{baxiServices[in.Service], local(in.Phone), in.Reference, naira(in.Amount.String())})
	if v != delivered && v != pending {
		return a.refuse(v)
	}
	return a.state(t, v)
}

func (a baxi) query(c *call) reply {
	t, v := c.find(c.request.URL.Query().Get("agentReference"))
	if v == notFound {
		return a.refuse(v)
	}
	return a.state(t, v)
}

func (a baxi) state(t transaction, v verdict) reply {
	status, code, state := "success", "0", "success"
	switch v {
	case pending:
		status, code, state = "pending", "1", "pending"
	case failed:
		code, state = "2", "failed"
	}
	return reply{http.StatusOK, object{"status": status, "message": v.sentence(), "code": 200, "data": object{
		"statusCode": code, "transactionStatus": state, "transactionReference": t.id(""), "transactionMessage": v.sentence()}}}
}
