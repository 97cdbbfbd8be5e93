package main

import "net/http"

// quickvend is the API of an aggregator in the manner of VTpass: forms in, and an
// outer code for the request over an inner status for the transaction.
type quickvend struct{}

// quickvendServices are its names of the networks. It still calls 9mobile by its
// first name.
var quickvendServices = map[string]string{"mtn": "mtn", "airtel": "airtel", "glo": "glo", "etisalat": "9mobile"}

var quickvendCodes = map[verdict]string{
	badRequest:   "011",
	badNumber:    "011",
	badAmount:    "013",
	duplicate:    "014",
	notFound:     "015",
	floatLow:     "018",
	notExecuted:  "030",
	unauthorized: "087",
}

func (a quickvend) keyHeader() keyHeader { return keyHeader{"api-key", ""} }

func (a quickvend) refuse(v verdict) reply {
	status := http.StatusOK
	if v == unauthorized {
		status = http.StatusUnauthorized
	}
	return reply{status, object{"code": quickvendCodes[v], "response_description": v.sentence(), "content": object{"errors": v.sentence()}}}
}

func (a quickvend) operations() []operation {
	return []operation{
		{kindBuy, "POST /api/pay", formType, "request_id=TXN-7K&serviceID=mtn&amount=100&phone=08031234567", a.buy},
		{kindQuery, "POST /api/requery", formType, "request_id=TXN-7K", a.query},
		{kindBalance, "GET /api/balance", "", "", a.balance},
	}
}

func (a quickvend) buy(c *call) reply {
	in, ok := c.form()
	if !ok {
		return a.refuse(badRequest)
	}
	t, v := c.sell(sale{quickvendServices[in.Get("serviceID")], local(in.Get("phone")), in.Get("request_id"), naira(in.Get("amount"))})
	switch v {
	case delivered:
		return a.state("000", t, v)
	case pending:
		return a.state("099", t, v)
	}
	return a.refuse(v)
}

func (a quickvend) query(c *call) reply {
	in, ok := c.form()
	if !ok {
		return a.refuse(badRequest)
	}
	t, v := c.find(in.Get("request_id"))
	if v == notFound {
		return a.refuse(v)
	}
	return a.state("001", t, v)
}

func (a quickvend) state(number string, t transaction, v verdict) reply {
	tx := object{"status": v.String(), "transactionId": t.id("QV"), "amount": inNaira(t.amount)}
	if v == delivered {
		tx["total_amount"] = inNaira(t.cost())
	}
	return reply{http.StatusOK, object{"code": number, "response_description": v.sentence(), "requestId": t.reference, "content": object{"transactions": tx}}}
}

func (a quickvend) balance(c *call) reply {
	return reply{http.StatusOK, object{"code": 1, "contents": object{"balance": inNaira(c.balance())}}}
}
