package main

import (
	"encoding/json"
	"net/http"
	"strings"
)

// dtone is DT One's DVS API: basic credentials, products by number, states in
// classes, errors in lists, and a list to filter in place of a query.
type dtone struct{}

var dtoneProducts = map[int]string{1: "mtn", 2: "airtel", 3: "glo", 4: "9mobile"}

var dtoneErrors = map[verdict]struct{ status, code int }{
	duplicate:    {http.StatusBadRequest, 1007001},
	badRequest:   {http.StatusBadRequest, 1000401},
	badNumber:    {http.StatusBadRequest, 1005003},
	badAmount:    {http.StatusBadRequest, 1003001},
	floatLow:     {http.StatusBadRequest, 1006001},
	unauthorized: {http.StatusUnauthorized, 1000401},
}

// dtoneClasses are the classes of states, by number.
var dtoneClasses = map[verdict]struct {
	id   int
	name string
}{
	delivered: {7, "COMPLETED"}, pending: {5, "SUBMITTED"}, failed: {9, "DECLINED"}, notExecuted: {9, "DECLINED"},
}

func (a dtone) keyHeader() keyHeader { return keyHeader{"Authorization", "Basic"} }

// admits wants the key as API-KEY:API-SECRET.
func (a dtone) admits(p *provider, r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	return p.knows(user + ":" + password)
}

func (a dtone) refuse(v verdict) reply {
	e := dtoneErrors[v]
	return reply{e.status, object{"errors": []object{{"code": e.code, "message": v.sentence()}}}}
}

func (a dtone) operations() []operation {
	return []operation{
		{kindBuy, "POST /v1/sync/transactions", jsonType, `{"external_id":"TXN-7K","product_id":1,"calculation_mode":"DESTINATION_AMOUNT","destination":{"unit_type":"CURRENCY","unit":"NGN","amount":100},"auto_confirm":true,"credit_party_identifier":{"mobile_number":"+2348031234567"}}`, a.buy},
		{kindQuery, "GET /v1/transactions", "", "/v1/transactions?external_id=TXN-7K", a.list},
	}
}

func (a dtone) buy(c *call) reply {
	var in struct {
		Reference   string `json:"external_id"`
		Product     int    `json:"product_id"`
		Confirm     bool   `json:"auto_confirm"`
		Mode        string `json:"calculation_mode"`
		Destination struct {
			Unit   string      `json:"unit"`
			Amount json.Number `json:"amount"`
		} `json:"destination"`
		Party struct {
			Number string `json:"mobile_number"`
		} `json:"credit_party_identifier"`
	}
	if !c.decode(&in) || !in.Confirm || in.Mode != "DESTINATION_AMOUNT" || in.Destination.Unit != "NGN" {
		c.verdict = badRequest
		return a.refuse(badRequest)
	}
	number, plus := strings.CutPrefix(in.Party.Number, "+")
	if !plus {
		number = ""
	}
	t, v := c.sell(sale{dtoneProducts[in.Product], international(number), in.Reference, naira(in.Destination.Amount.String())})
	switch v {
	case notExecuted: // the operator's word: a transaction all the same, if only in this answer
		t.sale = c.sale
	case delivered, pending:
	default:
		return a.refuse(v)
	}
	return reply{http.StatusCreated, a.transaction(t, v)}
}

func (a dtone) list(c *call) reply {
	list := []object{}
	if t, v := c.find(c.request.URL.Query().Get("external_id")); v != notFound {
		list = append(list, a.transaction(t, v))
	}
	return reply{http.StatusOK, list}
}

func (a dtone) transaction(t transaction, v verdict) object {
	class := dtoneClasses[v]
	return object{
		"id": t.serial, "external_id": t.reference, "credit_party_identifier": object{"mobile_number": "+" + t.recipient},
		"status": object{"id": class.id * 10000, "message": class.name, "class": object{"id": class.id, "message": class.name}},
		"prices": object{"wholesale": object{"amount": json.Number(inNaira(t.cost())), "unit": "NGN", "unit_type": "CURRENCY"}},
	}
}
