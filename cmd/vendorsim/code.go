package main

import "net/http"

// code is the API of airtel and glo: flat JSON, amounts in kobo, and a code that
// alone says what happened, under HTTP 200.
type code struct {
	network string
	prefix  string // of its transaction ids
}

var codes = map[verdict]string{
	delivered:    "00",
	pending:      "09",
	badAmount:    "13",
	badNumber:    "14",
	notFound:     "25",
	duplicate:    "26",
	badRequest:   "30",
	unauthorized: "40",
	floatLow:     "51",
	notExecuted:  "91",
}

var codeStates = map[verdict]string{delivered: "DELIVERED", pending: "PENDING", failed: "FAILED"}

func (a code) keyHeader() keyHeader { return keyHeader{"Authorization", "Bearer"} }

func (a code) refuse(v verdict) reply {
	status := http.StatusOK
	if v == unauthorized {
		status = http.StatusUnauthorized
	}
	return reply{status, object{"code": codes[v], "desc": v.sentence()}}
}

func (a code) operations() []operation {
	return []operation{
		{kindBuy, "POST /recharges", jsonType, `{"msisdn":"2348021234567","amount_kobo":10000,"client_ref":"TXN-7K"}`, a.buy},
		{kindQuery, "POST /recharges/query", jsonType, `{"client_ref":"TXN-7K"}`, a.query},
		{kindBalance, "GET /balance", "", "", a.balance},
	}
}

func (a code) buy(c *call) reply {
	var in struct {
		MSISDN    string `json:"msisdn"`
		Amount    int64  `json:"amount_kobo"`
		Reference string `json:"client_ref"`
	}
	if !c.decode(&in) {
		return a.refuse(badRequest)
	}
	t, v := c.sell(sale{a.network, international(in.MSISDN), in.Reference, in.Amount})
	if v != delivered && v != pending {
		return a.refuse(v)
	}
	return a.state(codes[v], t, v)
}

func (a code) query(c *call) reply {
	var in struct {
		Reference string `json:"client_ref"`
	}
	if !c.decode(&in) {
		return a.refuse(badRequest)
	}
	t, v := c.find(in.Reference)
	if v == notFound {
		return a.refuse(v)
	}
	return a.state("00", t, v) // the code is the query's own, the state the transaction's
}

func (a code) state(number string, t transaction, v verdict) reply {
	body := object{"code": number, "state": codeStates[v], "ref": t.id(a.prefix), "desc": v.sentence()}
	if v == delivered {
		body["cost_kobo"] = t.cost()
	}
	return reply{http.StatusOK, body}
}

func (a code) balance(c *call) reply {
	return reply{http.StatusOK, object{"code": "00", "balance_kobo": c.balance()}}
}
