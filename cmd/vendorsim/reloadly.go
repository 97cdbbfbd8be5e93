package main

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// reloadly is Reloadly's airtime API: a bearer token for a client's id and
// secret, operators by number, errors by name under 4xx, a report to search in
// place of a query, and one top-up of a number in two minutes.
type reloadly struct{}

const reloadlyPause = 2 * time.Minute

var reloadlyOperators = map[int]string{341: "mtn", 342: "airtel", 344: "glo", 340: "9mobile"}

var reloadlyErrors = map[verdict]struct {
	status int
	code   string
}{
	duplicate:    {http.StatusBadRequest, "CUSTOM_IDENTIFIER_ALREADY_USED"},
	badRequest:   {http.StatusBadRequest, "INVALID_REQUEST"},
	badNumber:    {http.StatusBadRequest, "INVALID_RECIPIENT_PHONE"},
	badAmount:    {http.StatusBadRequest, "INVALID_AMOUNT_FOR_OPERATOR"},
	floatLow:     {http.StatusBadRequest, "INSUFFICIENT_BALANCE"},
	notExecuted:  {http.StatusBadRequest, "OPERATOR_UNAVAILABLE_OR_CURRENTLY_INACTIVE"},
	tooSoon:      {http.StatusBadRequest, "PHONE_RECENTLY_RECHARGED"},
	unauthorized: {http.StatusUnauthorized, "INVALID_TOKEN"},
}

func (a reloadly) keyHeader() keyHeader { return keyHeader{"Authorization", "Bearer"} }

// admits wants the key as CLIENT-ID:CLIENT-SECRET at the token's address, and
// elsewhere the token that they give.
func (a reloadly) admits(p *provider, r *http.Request) bool {
	return r.URL.Path == "/oauth/token" || a.keyHeader().read(r) == a.token(p)
}

func (a reloadly) token(p *provider) string {
	if p.key == nil {
		return "any"
	}
	return hex.EncodeToString(p.key[:])
}

func (a reloadly) refuse(v verdict) reply {
	e := reloadlyErrors[v]
	return reply{e.status, object{"timeStamp": "2026-11-23 15:05:00", "message": v.sentence(), "path": "/topups", "errorCode": e.code, "infoLink": nil, "details": []string{}}}
}

func (a reloadly) operations() []operation {
	return []operation{
		{kindOther, "POST /oauth/token", jsonType, `{"client_id":"ID","client_secret":"SECRET","grant_type":"client_credentials","audience":"https://topups.reloadly.com"}`, a.grant},
		{kindBuy, "POST /topups", jsonType, `{"operatorId":341,"amount":100,"useLocalAmount":true,"customIdentifier":"TXN-7K","recipientPhone":{"countryCode":"NG","number":"2348031234567"}}`, a.buy},
		{kindQuery, "GET /topups/reports/transactions", "", "/topups/reports/transactions?customIdentifier=TXN-7K", a.search},
		{kindBalance, "GET /accounts/balance", "", "", a.balance},
	}
}

func (a reloadly) grant(c *call) reply {
	var in struct {
		ID       string `json:"client_id"`
		Secret   string `json:"client_secret"`
		Grant    string `json:"grant_type"`
		Audience string `json:"audience"`
	}
	if !c.decode(&in) || in.Grant != "client_credentials" || !strings.HasPrefix(in.Audience, "https://topups") {
		c.verdict = badRequest
		return a.refuse(badRequest)
	}
	if !c.provider.knows(in.ID + ":" + in.Secret) {
		c.verdict = unauthorized
		return reply{http.StatusUnauthorized, object{"errorCode": "INVALID_CREDENTIALS", "message": "Access Denied"}}
	}
	return reply{http.StatusOK, object{"access_token": a.token(c.provider), "scope": "send-topups", "expires_in": 5184000, "token_type": "Bearer"}}
}

func (a reloadly) buy(c *call) reply {
	var in struct {
		Operator  int         `json:"operatorId"`
		Amount    json.Number `json:"amount"`
		Local     bool        `json:"useLocalAmount"`
		Reference string      `json:"customIdentifier"`
		Recipient struct {
			Country string `json:"countryCode"`
			Number  string `json:"number"`
		} `json:"recipientPhone"`
	}
	if !c.decode(&in) || !in.Local || in.Recipient.Country != "NG" {
		c.verdict = badRequest
		return a.refuse(badRequest)
	}
	s := sale{reloadlyOperators[in.Operator], international(in.Recipient.Number), in.Reference, naira(in.Amount.String())}
	if c.provider.book.recent(c.provider.name, s, reloadlyPause) {
		c.verdict = tooSoon
		return a.refuse(tooSoon)
	}
	t, v := c.sell(s)
	if v != delivered && v != pending {
		return a.refuse(v)
	}
	return reply{http.StatusOK, a.topup(c, t, v)}
}

func (a reloadly) search(c *call) reply {
	content := []object{}
	if t, v := c.find(c.request.URL.Query().Get("customIdentifier")); v != notFound {
		content = append(content, a.topup(c, t, v))
	}
	return reply{http.StatusOK, object{"content": content, "totalElements": len(content)}}
}

func (a reloadly) topup(c *call, t transaction, v verdict) object {
	o := object{
		"transactionId": t.serial, "status": toplineStates[v], "operatorTransactionId": nil, "customIdentifier": t.reference,
		"recipientPhone": t.recipient, "countryCode": "NG", "operatorName": t.network + " Nigeria", "requestedAmount": json.Number(inNaira(t.amount)),
		"discount": json.Number(inNaira(t.amount - t.cost())), "discountCurrencyCode": "NGN",
	}
	if v == delivered {
		now := c.balance()
		o["operatorTransactionId"] = "7" + strconv.FormatInt(t.serial, 10)
		o["balanceInfo"] = object{
			"oldBalance": json.Number(inNaira(now + t.cost())), "newBalance": json.Number(inNaira(now)),
			"cost": json.Number(inNaira(t.cost())), "currencyCode": "NGN",
		}
	}
	return o
}

func (a reloadly) balance(c *call) reply {
	return reply{http.StatusOK, object{"balance": json.Number(inNaira(c.balance())), "currencyCode": "NGN", "currencyName": "Nigerian Naira"}}
}
