package main

import (
	"encoding/json"
	"net/http"
	"strings"
)

// recharge is the API of mtn, 9mobile and generic: nested JSON, amounts in naira, HTTP
// statuses that mean something.
type recharge struct {
	network string // "" = a request names it
	prefix  string // of its transaction ids
}

var rechargeErrors = map[verdict]struct {
	status int
	code   string
}{
	duplicate:    {http.StatusConflict, "DUPLICATE_REFERENCE"},
	notFound:     {http.StatusNotFound, "NOT_FOUND"},
	badRequest:   {http.StatusBadRequest, "INVALID_REQUEST"},
	badNumber:    {http.StatusBadRequest, "INVALID_NUMBER"},
	badAmount:    {http.StatusBadRequest, "INVALID_AMOUNT"},
	floatLow:     {http.StatusPaymentRequired, "INSUFFICIENT_FLOAT"},
	notExecuted:  {http.StatusServiceUnavailable, "MAINTENANCE"},
	unauthorized: {http.StatusUnauthorized, "UNAUTHORIZED"},
}

func (a recharge) keyHeader() keyHeader { return keyHeader{"X-API-Key", ""} }

func (a recharge) refuse(v verdict) reply {
	e := rechargeErrors[v]
	return reply{e.status, object{"status": "failed", "error": object{"code": e.code, "message": v.sentence()}}}
}

func (a recharge) operations() []operation {
	if a.network == "" {
		return []operation{
			{kindBuy, "POST /v1/airtime/recharge", jsonType, `{"network":"MTN","phone_number":"08031234567","amount":100,"reference":"TXN-7K"}`, a.buy},
			{kindQuery, "GET /v1/airtime/transactions/{reference}", "", "/v1/airtime/transactions/TXN-7K", a.query},
			{kindBalance, "GET /v1/balance", "", "", a.balance},
		}
	}
	return []operation{
		{kindBuy, "POST /v1/airtime/recharge", jsonType, `{"phone_number":"08031234567","amount":100,"reference":"TXN-7K"}`, a.buy},
		{kindQuery, "GET /v1/airtime/transactions/{reference}", "", "/v1/airtime/transactions/TXN-7K", a.query},
		{kindBalance, "GET /v1/balance", "", "", a.balance},
	}
}

func (a recharge) buy(c *call) reply {
	var in struct {
		Network   string          `json:"network"`
		Phone     string          `json:"phone_number"`
		Amount    json.RawMessage `json:"amount"` // a number of naira; in quotes it is none
		Reference string          `json:"reference"`
	}
	if !c.decode(&in) {
		return a.refuse(badRequest)
	}
	network := a.network
	if network == "" {
		network = toplineOperators[strings.ToLower(in.Network)]
	}
	t, v := c.sell(sale{network, local(in.Phone), in.Reference, naira(string(in.Amount))})
	switch v {
	case delivered:
		return reply{http.StatusOK, object{"status": "success", "data": a.data(t, v)}}
	case pending:
		return reply{http.StatusAccepted, object{"status": "pending", "data": a.data(t, v)}}
	}
	return a.refuse(v)
}

func (a recharge) query(c *call) reply {
	t, v := c.find(c.request.PathValue("reference"))
	if v == notFound {
		return a.refuse(v)
	}
	return reply{http.StatusOK, object{"status": "success", "data": a.data(t, v)}}
}

func (a recharge) data(t transaction, v verdict) object {
	data := object{"transaction_id": t.id(a.prefix), "message": v.sentence()}
	switch v {
	case delivered:
		data["status"], data["cost"] = "success", inNaira(t.cost())
	case pending:
		data["status"] = "pending"
	case failed:
		data["status"] = "failed"
	}
	return data
}

func (a recharge) balance(c *call) reply {
	return reply{http.StatusOK, object{"status": "success", "data": object{"balance": inNaira(c.balance())}}}
}
