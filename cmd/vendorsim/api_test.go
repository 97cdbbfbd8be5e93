package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(set *settings) {
		set.keys = make(map[string]string)
		for provider := range conversations() {
			set.keys[provider] = "key of " + provider
		}
		delete(set.keys, "glo")
	})
	for provider, speak := range b.speak {
		if provider == "glo" {
			continue
		}
		s := sale{networkOf(provider), "2348031234567", "TXN-7K", 100_00}
		buy, query := speak.buy(s), speak.query(s.reference)
		for name, key := range map[string]string{"none": "", "wrong": "key of glo", "prefix": "key", "longer": b.keys[provider] + "s"} {
			for _, m := range []message{buy, query, {method: "GET", path: speak.balance}, {method: "GET", path: "/nothing"}} {
				h := make(http.Header)
				if key != "" {
					speak.sign(h, key)
				}
				got := b.do(context.Background(), m.method, b.url(provider, m.path), m.contentType, m.body, h)
				b.says(provider+" with key "+name, got, speak.bought[unauthorized])
			}
		}
		if got := b.requests(provider); got != (counts{Unauthorized: 16}) {
			t.Errorf("%s counts %+v", provider, got)
		}
	}
	if got := b.deliveries(""); got.Delivered != 0 {
		t.Fatalf("delivered without a key: %+v", got)
	}
	for provider := range b.speak {
		if got := b.buy(context.Background(), provider, sale{networkOf(provider), "2348031234567", "TXN-7K", 100_00}); got.status != 200 {
			t.Errorf("%s with its key: %+v", provider, got)
		}
	}
}

func TestKeySchemeIsNeeded(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(set *settings) { set.keys = map[string]string{"airtel": "K"} })
	for value, want := range map[string]int{"Bearer K": 200, "bearer K": 200, "K": 401, "Basic K": 401, "Bearer": 401, "Bearer  K": 401} {
		got := b.do(context.Background(), "GET", b.url("airtel", "/balance"), "", "", http.Header{"Authorization": {value}})
		if got.status != want {
			t.Errorf("Authorization: %s: HTTP %d, want %d", value, got.status, want)
		}
	}
}

func TestValidation(t *testing.T) {
	t.Parallel()
	const (
		asJSON = "application/json"
		asForm = "application/x-www-form-urlencoded"
	)
	long := strings.Repeat("R", maxReference+1)
	cases := map[string][]struct {
		name, contentType, body string
		want                    verdict
	}{
		"mtn": {
			{"text", "text/plain", `{"phone_number":"08031234567","amount":100,"reference":"R"}`, badRequest},
			{"no type", "", `{"phone_number":"08031234567","amount":100,"reference":"R"}`, badRequest},
			{"form", asForm, `phone_number=08031234567&amount=100&reference=R`, badRequest},
			{"type with charset", "application/json; charset=utf-8", `{"phone_number":"0803123456","amount":100,"reference":"R"}`, badNumber},
			{"broken JSON", asJSON, `{"phone_number":`, badRequest},
			{"two values", asJSON, `{"phone_number":"08031234567","amount":100,"reference":"R"} {}`, badRequest},
			{"number instead of text", asJSON, `{"phone_number":8031234567,"amount":100,"reference":"R"}`, badRequest},
			{"no body", asJSON, ``, badRequest},
			{"too long", asJSON, `{"phone_number":"08031234567","amount":100,"reference":"R","pad":"` + strings.Repeat("x", maxBody) + `"}`, badRequest},
			{"no reference", asJSON, `{"phone_number":"08031234567","amount":100}`, badRequest},
			{"long reference", asJSON, `{"phone_number":"08031234567","amount":100,"reference":"` + long + `"}`, badRequest},
			{"blank reference", asJSON, `{"phone_number":"08031234567","amount":100,"reference":"A B"}`, badRequest},
			{"international number", asJSON, `{"phone_number":"2348031234567","amount":100,"reference":"R"}`, badNumber},
			{"ten digits", asJSON, `{"phone_number":"8031234567","amount":100,"reference":"R"}`, badNumber},
			{"twelve digits", asJSON, `{"phone_number":"080312345678","amount":100,"reference":"R"}`, badNumber},
			{"landline", asJSON, `{"phone_number":"06031234567","amount":100,"reference":"R"}`, badNumber},
			{"letters", asJSON, `{"phone_number":"0803123456x","amount":100,"reference":"R"}`, badNumber},
			{"no number", asJSON, `{"amount":100,"reference":"R"}`, badNumber},
			{"N49", asJSON, `{"phone_number":"08031234567","amount":49,"reference":"R"}`, badAmount},
			{"N50,001", asJSON, `{"phone_number":"08031234567","amount":50001,"reference":"R"}`, badAmount},
			{"kobo", asJSON, `{"phone_number":"08031234567","amount":99.5,"reference":"R"}`, badAmount},
			{"tenth of a kobo", asJSON, `{"phone_number":"08031234567","amount":100.001,"reference":"R"}`, badAmount},
			{"exponent", asJSON, `{"phone_number":"08031234567","amount":1e2,"reference":"R"}`, badAmount},
			{"negative", asJSON, `{"phone_number":"08031234567","amount":-100,"reference":"R"}`, badAmount},
			{"quoted amount", asJSON, `{"phone_number":"08031234567","amount":"100","reference":"R"}`, badAmount},
			{"huge amount", asJSON, `{"phone_number":"08031234567","amount":18446744073709551716,"reference":"R"}`, badAmount},
			{"no amount", asJSON, `{"phone_number":"08031234567","reference":"R"}`, badAmount},
		},
		"airtel": {
			{"form", asForm, `msisdn=2348021234567&amount_kobo=10000&client_ref=R`, badRequest},
			{"broken JSON", asJSON, `[`, badRequest},
			{"too long", asJSON, `{"msisdn":"2348021234567","amount_kobo":10000,"client_ref":"R","pad":"` + strings.Repeat("x", maxBody) + `"}`, badRequest},
			{"fraction of a kobo", asJSON, `{"msisdn":"2348021234567","amount_kobo":10000.5,"client_ref":"R"}`, badRequest},
			{"no reference", asJSON, `{"msisdn":"2348021234567","amount_kobo":10000,"client_ref":""}`, badRequest},
			{"local number", asJSON, `{"msisdn":"08021234567","amount_kobo":10000,"client_ref":"R"}`, badNumber},
			{"plus", asJSON, `{"msisdn":"+2348021234567","amount_kobo":10000,"client_ref":"R"}`, badNumber},
			{"naira for kobo", asJSON, `{"msisdn":"2348021234567","amount_kobo":100,"client_ref":"R"}`, badAmount},
			{"not whole naira", asJSON, `{"msisdn":"2348021234567","amount_kobo":10050,"client_ref":"R"}`, badAmount},
			{"N50,001", asJSON, `{"msisdn":"2348021234567","amount_kobo":5000100,"client_ref":"R"}`, badAmount},
		},
		"quickvend": {
			{"JSON", asJSON, `{"request_id":"R","serviceID":"mtn","amount":"100","phone":"08031234567"}`, badRequest},
			{"broken form", asForm, `request_id=%zz`, badRequest},
			{"unknown network", asForm, `request_id=R&serviceID=9mobile&amount=100&phone=08091234567`, badRequest},
			{"no network", asForm, `request_id=R&amount=100&phone=08091234567`, badRequest},
			{"no reference", asForm, `serviceID=mtn&amount=100&phone=08031234567`, badRequest},
			{"international number", asForm, `request_id=R&serviceID=mtn&amount=100&phone=2348031234567`, badNumber},
			{"N49", asForm, `request_id=R&serviceID=mtn&amount=49&phone=08031234567`, badAmount},
			{"N99.50", asForm, `request_id=R&serviceID=mtn&amount=99.50&phone=08031234567`, badAmount},
			{"comma", asForm, `request_id=R&serviceID=mtn&amount=1,000&phone=08031234567`, badAmount},
		},
		"topline": {
			{"form", asForm, `operator=MTN`, badRequest},
			{"amount as number", asJSON, `{"operator":"MTN","amount":100,"customIdentifier":"R","recipientPhone":{"countryCode":"NG","number":"2348031234567"}}`, badRequest},
			{"unknown network", asJSON, `{"operator":"NTEL","amount":"100.00","customIdentifier":"R","recipientPhone":{"countryCode":"NG","number":"2348031234567"}}`, badRequest},
			{"no reference", asJSON, `{"operator":"MTN","amount":"100.00","recipientPhone":{"countryCode":"NG","number":"2348031234567"}}`, badRequest},
			{"local number", asJSON, `{"operator":"MTN","amount":"100.00","customIdentifier":"R","recipientPhone":{"countryCode":"NG","number":"08031234567"}}`, badNumber},
			{"other country", asJSON, `{"operator":"MTN","amount":"100.00","customIdentifier":"R","recipientPhone":{"countryCode":"GH","number":"2348031234567"}}`, badNumber},
			{"N100.50", asJSON, `{"operator":"MTN","amount":"100.50","customIdentifier":"R","recipientPhone":{"countryCode":"NG","number":"2348031234567"}}`, badAmount},
		},
	}
	b := newBench(t, nil)
	for provider, requests := range cases {
		for _, c := range requests {
			path := b.speak[provider].buy(sale{"mtn", "2348031234567", "R", 100_00}).path
			got := b.do(context.Background(), "POST", b.url(provider, path), c.contentType, c.body, nil)
			b.says(provider+": "+c.name, got, b.speak[provider].bought[c.want])
		}
	}
	if got := b.deliveries(""); got.Delivered != 0 {
		t.Errorf("delivered %+v", got)
	}
}

func TestBadQueries(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for provider, bad := range map[string][]message{
		"glo":       {{"POST", "/recharges/query", "application/json", "{"}, {"POST", "/recharges/query", "text/plain", `{"client_ref":"A"}`}},
		"quickvend": {{"POST", "/api/requery", "application/x-www-form-urlencoded", "%"}, {"POST", "/api/requery", "application/json", `{"request_id":"A"}`}},
		"topline":   {{"GET", "/topups", "", ""}},
	} {
		for _, m := range bad {
			got := b.do(context.Background(), m.method, b.url(provider, m.path), m.contentType, m.body, nil)
			b.says(provider+" "+m.body, got, b.speak[provider].bought[badRequest])
			if line := receive(t, "log line", b.log); !strings.Contains(line, "kind=query verdict=bad_request") {
				t.Errorf("log %s", line)
			}
		}
	}
}

func TestLimitsAreSold(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for provider := range b.speak {
		for reference, amount := range map[string]int64{"least": 50_00, "most": 50_000_00} {
			s := sale{networkOf(provider), "2348031234567", reference, amount}
			if got := b.buy(context.Background(), provider, s); got.status != 200 {
				t.Errorf("%s: %s: HTTP %d %s", provider, inNaira(amount), got.status, got.body)
			}
		}
		b.balance(provider, 1_000_000_00-48_50-48_500_00)
	}
	if got := b.deliveries(""); got.Delivered != 12 {
		t.Errorf("%d delivered, want 12", got.Delivered)
	}
}

func TestAggregatorsSellEveryNetwork(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, provider := range []string{"quickvend", "topline"} {
		for _, network := range []string{"mtn", "airtel", "glo", "9mobile"} {
			reference := provider + network
			b.buy(context.Background(), provider, sale{network, "2348031234567", reference, 100_00})
			if got := b.deliveries("?reference=" + reference); got.Delivered != 1 || got.Deliveries[0].Network != network {
				t.Errorf("%s: %s: %+v", provider, network, got)
			}
		}
	}
}

func TestNoSuchOperation(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for provider := range b.speak {
		for _, m := range []message{{method: "GET", path: "/"}, {method: "DELETE", path: b.speak[provider].balance}} {
			if got := b.do(context.Background(), m.method, b.url(provider, m.path), "", "", nil); got.status != 404 {
				t.Errorf("%s: %s %s: HTTP %d", provider, m.method, m.path, got.status)
			}
		}
		if got := b.requests(provider); got != (counts{Other: 2}) {
			t.Errorf("%s counts %+v", provider, got)
		}
	}
}

// The examples that -help prints must work as printed.
func TestHelpExamples(t *testing.T) {
	t.Parallel()
	for _, of := range slices.Concat(providerAPIs, presetAPIs) {
		t.Run(of.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(set *settings) {
				set.presets = true
				if a, ok := of.api.(vtpass); ok {
					set.now = func() time.Time { return a.today }
				}
			})
			for _, op := range of.api.operations() {
				method, path, _ := strings.Cut(op.pattern, " ")
				body := op.example
				if method == "GET" {
					body = ""
					if op.example != "" {
						path = op.example
					}
				}
				path = strings.NewReplacer("{biller}", "BIL099", "{item}", "AT099").Replace(path)
				if got := b.do(context.Background(), method, b.url(of.name, path), op.contentType, body, nil); got.status/100 != 2 {
					t.Errorf("%s: HTTP %d %s", op.pattern, got.status, got.body)
				}
				if speak, ok := b.speak[of.name]; ok && op.kind == kindQuery {
					b.says("query", b.query(of.name, "TXN-7K"), speak.found[delivered])
				}
			}
			if _, ok := b.speak[of.name]; !ok {
				return // a preset's: TestPresets
			}
			if got := b.requests(of.name); got != (counts{Buy: 1, Query: 2, Balance: 1}) {
				t.Errorf("counts %+v", got)
			}
		})
	}
}

func TestLogMasksTheRecipient(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(set *settings) { set.keys = map[string]string{"topline": "hush-hush"} })
	b.buy(context.Background(), "topline", sale{"mtn", "2348031234567", "TXN-7K", 100_00})
	line := receive(t, "log line", b.log)
	for _, part := range []string{"provider=topline", "kind=buy", "verdict=delivered", "fault=none", "status=200", "reference=TXN-7K", "recipient=234803***4567", "amount_kobo=10000"} {
		if !strings.Contains(line, part) {
			t.Errorf("no %s in %s", part, line)
		}
	}
	for _, secret := range []string{"1234567", "hush"} {
		if strings.Contains(line, secret) {
			t.Errorf("%s in %s", secret, line)
		}
	}
}
