package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// africastalking is Africa's Talking's airtime API: a form with JSON in it,
// amounts as "NGN 100.00", a reference in a header, an answer that never is the
// last word, and a query by its own id alone.
type africastalking struct{}

// africastalkingPause is for how long an equal sale without a key of its own is refused.
const africastalkingPause = 5 * time.Minute

var africastalkingErrors = map[verdict]string{
	badRequest:  "Invalid request",
	badNumber:   "Invalid phone number",
	badAmount:   "Value Outside The Allowed Limits",
	floatLow:    "Insufficient airtime balance",
	notExecuted: "Service is unavailable",
}

func (a africastalking) keyHeader() keyHeader { return keyHeader{"apiKey", ""} }

func (a africastalking) refuse(v verdict) reply {
	switch v {
	case unauthorized:
		return reply{http.StatusUnauthorized, "The supplied authentication is invalid"}
	case duplicate, tooSoon:
		return reply{http.StatusCreated, object{"errorMessage": "A duplicate request was received within the last 5 minutes", "numSent": 0, "totalAmount": "0", "totalDiscount": "0", "responses": []object{}}}
	case notFound:
		return reply{http.StatusOK, object{"status": "Failure", "errorMessage": "No transaction found"}}
	}
	return reply{http.StatusCreated, object{"errorMessage": "None", "numSent": 0, "totalAmount": "0", "totalDiscount": "0",
		"responses": []object{{"status": "Failed", "requestId": "None", "discount": "0", "errorMessage": africastalkingErrors[v]}}}}
}

func (a africastalking) operations() []operation {
	return []operation{
		{kindBuy, "POST /version1/airtime/send", formType, `username=shop&recipients=[{"phoneNumber":"%2B2348031234567","amount":"NGN 100.00"}]`, a.buy},
		{kindQuery, "GET /query/transaction/find", "", "/query/transaction/find?username=shop&transactionId=ATQid_00000001", a.query},
	}
}

func (a africastalking) buy(c *call) reply {
	in, ok := c.form()
	var recipients []struct {
		Phone  string `json:"phoneNumber"`
		Amount string `json:"amount"`
	}
	if !ok || in.Get("username") == "" || json.Unmarshal([]byte(in.Get("recipients")), &recipients) != nil || len(recipients) != 1 {
		c.verdict = badRequest
		return a.refuse(badRequest)
	}
	amount, isNaira := strings.CutPrefix(recipients[0].Amount, "NGN ")
	phone, plus := strings.CutPrefix(recipients[0].Phone, "+")
	if !isNaira || !plus {
		amount, phone = "", ""
	}
	s := sale{networkByPrefix(international(phone)), international(phone), c.request.Header.Get("Idempotency-Key"), naira(amount)}
	if s.reference == "" {
		s.reference = "none-" + s.recipient + "-" + amount
		if c.provider.book.recent(c.provider.name, s, africastalkingPause) {
			c.verdict = tooSoon
			return a.refuse(tooSoon)
		}
	}
	t, v := c.sell(s)
	if v != delivered && v != pending {
		return a.refuse(v)
	}
	status := "Sent"
	if v == pending {
		status = "Queued"
	}
	discount := "NGN " + inNaira(t.amount-t.cost()) + "00"
	return reply{http.StatusCreated, object{"errorMessage": "None", "numSent": 1, "totalAmount": "NGN " + inNaira(t.amount) + "00", "totalDiscount": discount,
		"responses": []object{{"phoneNumber": "+" + t.recipient, "amount": "NGN " + inNaira(t.amount) + "00", "status": status, "requestId": t.id("ATQid_"), "discount": discount, "errorMessage": "None"}}}}
}

// networkByPrefix guesses as little as a sale needs: any mobile number has one.
func networkByPrefix(recipient string) string {
	if recipient == "" {
		return ""
	}
	if strings.HasPrefix(recipient, "234809") {
		return "9mobile"
	}
	return "mtn"
}

// report names a sale by Africa's Talking's own reference, and nothing else.
func (a africastalking) report(t transaction, v verdict) object {
	status := "Success"
	if v != delivered {
		status = "Failed"
	}
	return object{"phoneNumber": "+" + t.recipient, "description": v.sentence(), "status": status, "requestId": t.id("ATQid_"),
		"discount": "NGN " + inNaira(t.amount-t.cost()), "value": "NGN " + inNaira(t.amount)}
}

func (a africastalking) query(c *call) reply {
	t, v := c.findID(c.request.URL.Query().Get("transactionId"), "ATQid_")
	if v == notFound {
		return a.refuse(v)
	}
	status := map[verdict]string{delivered: "Success", pending: "Sent", failed: "Failed"}[v]
	return reply{http.StatusOK, object{"status": "Success", "data": object{
		"requestId": t.id("ATQid_"), "status": status, "phoneNumber": "+" + t.recipient, "value": "NGN " + inNaira(t.amount),
		"discount": "NGN " + inNaira(t.amount-t.cost())}}}
}
