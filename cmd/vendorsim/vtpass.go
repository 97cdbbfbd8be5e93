package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// vtpass is VTpass's API: two keys in headers, which of them depends on the
// method; references that begin with today's date in Lagos; one sale of a
// service to a number in 30 s.
type vtpass struct {
	today time.Time // in the example
}

const vtpassPause = 30 * time.Second

var vtpassCodes = map[verdict]string{
	badRequest:   "011",
	badNumber:    "011",
	badAmount:    "013",
	duplicate:    "014",
	notFound:     "015",
	floatLow:     "018",
	notExecuted:  "030",
	unauthorized: "087",
	tooSoon:      "019",
}

func (a vtpass) keyHeader() keyHeader { return keyHeader{"api-key", ""} }

// admits wants the key as API-KEY:OTHER-KEY.
func (a vtpass) admits(p *provider, r *http.Request) bool {
	other := r.Header.Get("secret-key")
	if r.Method == http.MethodGet {
		other = r.Header.Get("public-key")
	}
	return p.knows(r.Header.Get("api-key") + ":" + other)
}

func (a vtpass) refuse(v verdict) reply {
	return reply{http.StatusOK, object{"code": vtpassCodes[v], "response_description": strings.ToUpper(v.sentence()), "content": object{"transactions": nil}}}
}

func (a vtpass) operations() []operation {
	return []operation{
		{kindBuy, "POST /api/pay", jsonType, `{"request_id":"` + a.today.In(lagos).Format("200601021504") + `7K","serviceID":"mtn","amount":100,"phone":"08031234567"}`, a.buy},
		{kindQuery, "POST /api/requery", jsonType, `{"request_id":"2026112315057K"}`, a.query},
		{kindBalance, "GET /api/balance", "", "", a.balance},
	}
}

// lagos is Nigeria's time.
var lagos = time.FixedZone("WAT", 3600)

func (a vtpass) buy(c *call) reply {
	var in struct {
		Reference string      `json:"request_id"`
		Service   string      `json:"serviceID"`
		Amount    json.Number `json:"amount"`
		Phone     string      `json:"phone"`
	}
	if !c.decode(&in) {
		return a.refuse(badRequest)
	}
	s := sale{quickvendServices[in.Service], local(in.Phone), in.Reference, naira(in.Amount.String())}
	today := c.provider.book.now().In(lagos).Format("20060102")
	if len(s.reference) < 12 || !digits(s.reference[:12]) || !strings.HasPrefix(s.reference, today) || !alphanumeric(s.reference) {
		c.verdict = badRequest
		return a.refuse(badRequest)
	}
	if c.provider.book.recent(c.provider.name, s, vtpassPause) {
		c.verdict = tooSoon
		return a.refuse(tooSoon)
	}
	t, v := c.sell(s)
	if v != delivered && v != pending {
		return a.refuse(v)
	}
	return a.state(t, v)
}

func alphanumeric(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	})
}

func (a vtpass) query(c *call) reply {
	var in struct {
		Reference string `json:"request_id"`
	}
	if !c.decode(&in) {
		return a.refuse(badRequest)
	}
	t, v := c.find(in.Reference)
	if v == notFound {
		return a.refuse(v)
	}
	return a.state(t, v)
}

func (a vtpass) report(t transaction, v verdict) object {
	return object{"type": "transaction-update", "data": a.state(t, v).body}
}

func (a vtpass) state(t transaction, v verdict) reply {
	code, status := "000", v.String()
	if v == failed {
		code, status = "040", "reversed"
	}
	tx := object{
		"status": status, "product_name": strings.ToUpper(t.network) + " Airtime VTU", "unique_element": "0" + strings.TrimPrefix(t.recipient, "234"),
		"unit_price": t.amount / 100, "quantity": 1, "transactionId": t.id("1741614243"),
		"commission": json.Number(inNaira(t.amount - t.cost())), "total_amount": json.Number(inNaira(t.cost())), "amount": inNaira(t.amount),
	}
	return reply{http.StatusOK, object{"code": code, "content": object{"transactions": tx}, "response_description": "TRANSACTION " + strings.ToUpper(status), "requestId": t.reference, "amount": inNaira(t.amount)}}
}

func (a vtpass) balance(c *call) reply {
	return reply{http.StatusOK, object{"code": 1, "contents": object{"balance": json.Number(inNaira(c.balance()))}}}
}
