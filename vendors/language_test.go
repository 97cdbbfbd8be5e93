package vendors_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ussdd/vendors"
)

// zenith is a vendor whose words the tests choose: AUTH, MORE and VEND.
const zenith = `vendor: zenith
base: http://127.0.0.1:1/api
auth: AUTH
timeouts: {connect: 1m, total: 10m}
MORE
networks:
  mtn: {code: BIL099, item: AT099, products: {airtime: VTU, data-1gb: "1000"}}
vend:
VEND
  rules: [{json: {state: DONE}, then: delivered}, {json: {state: NO}, then: declined}]
  fields: {vendor_ref: id, message: text}
query:
  method: GET
  path: /sales/{network.item}
  params: {ref: "{reference}"}
  rules:
    - {json: {state: DONE, ref: "{reference}"}, then: delivered}
`

const plainVend = `  method: POST
  path: /sell
  json: {to: "{phone|intl}", kobo: "{amount|kobo|number}", ref: "{reference}"}`

const zenithRoutes = `networks:
  mtn: {name: MTN, min: N50, max: "N50,000", route: [zenith]}
`

func zenithWith(auth, more, vend string) string {
	return strings.NewReplacer("AUTH", auth, "MORE", more, "VEND", vend).Replace(zenith)
}

// vault gives fixed secrets.
func vault(name string) (string, bool) {
	value, ok := map[string]string{
		"key": `k"e/y=1`, "user": "me", "id": "client", "secret": "s3 cret", "pin": `9"9`,
	}[name]
	return value, ok
}

// stand gives zenith's endpoint at a handler.
func stand(t testing.TB, text string, opt vendors.Options, handler http.HandlerFunc) (*vendors.Set, *vendors.Endpoint) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	opt.URLs = map[string]string{"zenith": server.URL + "/api"}
	if opt.Secrets == nil {
		opt.Secrets = vault
	}
	set, err := vendors.Load(files("routes.yaml", zenithRoutes, "zenith.yaml", text), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.CloseIdleConnections)
	return set, set.Route("mtn")[0]
}

// What a file says is what goes over the wire, to the byte.
func TestLanguage(t *testing.T) {
	for _, test := range []struct {
		name, auth, vend string
		product          string
		want             string // request line, the headers named in it, body
	}{
		{"a form with JSON in it", "none", `  method: POST
  path: /version1/airtime/send
  headers: {Idempotency-Key: "{reference}", Accept: application/vnd.x+json}
  form:
    username: "{secret.user}"
    recipients: [{phoneNumber: "{phone|plus}", amount: "NGN {amount|decimal}"}]`, "",
			"POST /api/version1/airtime/send\nAccept: application/vnd.x+json\nContent-Type: application/x-www-form-urlencoded\nIdempotency-Key: " + txn + "\n" +
				"username=me&recipients=" + url.QueryEscape(`[{"phoneNumber":"+2348031234567","amount":"NGN 100.00"}]`)},
		{"path, query and product", "none", `  method: PATCH
  path: /billers/{network}/items/{network.item}
  params: {country: NG, code: "{product}"}
  json: {to: "{phone|national}", naira: "{amount|naira|number}", id: "{reference|uuid}", fixed: [1, true, null]}`, "data-1gb",
			"PATCH /api/billers/BIL099/items/AT099?country=NG&code=1000\nAccept: application/json\nContent-Type: application/json\n" +
				`{"to":"8031234567","naira":100,"id":"bd97b347-9128-88fc-b067-69768bef1285","fixed":[1,true,null]}`},
		{"airtime is the product of who asks for none", "none", `  method: POST
  path: /sell/{product}
  json: {to: "{phone|intl}", naira: "{amount|naira}", id: "{reference|alnum}"}`, "",
			"POST /api/sell/VTU\nAccept: application/json\nContent-Type: application/json\n" + `{"to":"2348031234567","naira":"100","id":"TXNz2d0C8M1T5XJ4Q2A"}`},
		{"a secret in the query and in JSON", "none", `  method: PUT
  path: /sell
  params: {api_key: "{secret.key}"}
  json: {to: "{phone|intl}", naira: "{amount|naira}", id: "{reference}", pin: "{secret.pin}"}`, "",
			"PUT /api/sell?api_key=k%22e%2Fy%3D1\nAccept: application/json\nContent-Type: application/json\n" +
				`{"to":"2348031234567","naira":"100","id":"TXN-0C8M1T5XJ4Q2A","pin":"9\"9"}`},
		{"GET", "none", `  method: GET
  path: /sell
  params: {to: "{phone|local}", naira: "{amount|naira}", id: "{reference}"}`, "",
			"GET /api/sell?to=08031234567&naira=100&id=TXN-0C8M1T5XJ4Q2A\nAccept: application/json\n"},
		{"header sets by method", "{headers: {api-key: key, secret-key: {secret: secret, methods: [POST]}, public-key: {secret: pin, methods: GET}}}", plainVend, "",
			"POST /api/sell\nAccept: application/json\nApi-Key: k\"e/y=1\nContent-Type: application/json\nSecret-Key: s3 cret\n" +
				`{"to":"2348031234567","kobo":10000,"ref":"TXN-0C8M1T5XJ4Q2A"}`},
		{"basic with a secret user", "{basic: {user_secret: user, secret: secret}}", plainVend, "",
			"POST /api/sell\nAccept: application/json\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte("me:s3 cret")) + "\nContent-Type: application/json\n" +
				`{"to":"2348031234567","kobo":10000,"ref":"TXN-0C8M1T5XJ4Q2A"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := make(chan string, 2)
			text := zenithWith(test.auth, "", test.vend)
			_, e := stand(t, text, vendors.Options{}, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				r.Header.Del("User-Agent")
				r.Header.Del("Content-Length")
				r.Header.Del("Accept-Encoding")
				var h strings.Builder
				_ = r.Header.Write(&h)
				got <- fmt.Sprintf("%s %s\n%s%s", r.Method, r.RequestURI, strings.ReplaceAll(h.String(), "\r", ""), body)
				_, _ = io.WriteString(w, `{"state":"DONE"}`)
			})
			r := hundred("mtn")
			r.Product = test.product
			if res := e.Vend(t.Context(), r); res.Outcome != vendors.Delivered {
				t.Fatalf("%+v", res)
			}
			if s := <-got; s != test.want {
				t.Errorf("got\n%s\nwant\n%s", s, test.want)
			}
		})
	}
}

// A request for what the vendor does not sell must not sell it something else.
func TestUnknownProduct(t *testing.T) {
	_, e := stand(t, zenithWith("none", "", plainVend), vendors.Options{}, func(http.ResponseWriter, *http.Request) { t.Error("sent") })
	r := hundred("mtn")
	r.Product = "data-2gb"
	if res := e.Vend(t.Context(), r); res.Outcome != vendors.Declined || res.Reason != vendors.ReasonConfig || res.Final {
		t.Errorf("%+v", res)
	}
}

// The vendor's answer must be about our reference where the file says so.
func TestOwnReferenceInAnswers(t *testing.T) {
	var body atomic.Value
	_, e := stand(t, zenithWith("none", "", plainVend), vendors.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body.Load().(string))
	})
	for text, want := range map[string]vendors.FindingState{
		`{"state":"DONE","ref":"TXN-0C8M1T5XJ4Q2A"}`:  vendors.FoundDelivered,
		`{"state":"DONE","ref":"TXN-0C8M1T5XJ4Q2AX"}`: vendors.Unknown,
		`{"state":"DONE","ref":null}`:                 vendors.Unknown,
		`{"state":"DONE"}`:                            vendors.Unknown,
	} {
		body.Store(text)
		if f := e.Query(t.Context(), hundred("mtn"), ""); f.State != want {
			t.Errorf("%s: %+v", text, f)
		}
	}
}

func TestReference(t *testing.T) {
	const vtpass = `reference: {make: "{time|200601021504}{reference|alnum}", pattern: "[0-9]{12}[0-9A-Za-z]+", zone: "+01:00"}`
	_, e := stand(t, zenithWith("none", vtpass, plainVend), vendors.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"state":"DONE","ref":"`+txn+`"}`)
	})
	midnight := time.Date(2026, 11, 23, 23, 30, 0, 0, time.UTC) // is half past midnight in Lagos
	got, err := e.Reference("TXN-0C8M1T5XJ4Q2A-2", midnight)
	if err != nil || got != "202611240030TXNz2d0C8M1T5XJ4Q2Az2d2" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := e.Reference(strings.Repeat("Z-", 20), midnight); err == nil {
		t.Error("a reference that is too long")
	}
	if res := e.Vend(t.Context(), hundred("mtn")); res.Outcome != vendors.Declined || res.Reason != vendors.ReasonConfig {
		t.Errorf("a reference that was not made: %+v", res)
	}
	if res := e.Vend(t.Context(), another(got)); res.Outcome != vendors.Delivered {
		t.Errorf("%+v", res)
	}
	// One that was sent when the file said otherwise can still be asked about, and so can a product.
	r := hundred("mtn")
	r.Product = "data-none"
	if f := e.Query(t.Context(), r, ""); f.State != vendors.FoundDelivered {
		t.Errorf("%+v", f)
	}
	_, short := stand(t, zenithWith("none", `reference: {make: "{time|0601021504}{reference|alnum}", zone: "+01:00"}`, plainVend), vendors.Options{}, nil)
	if got, err := short.Reference("R", midnight); got != "2611240030R" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_, plain := stand(t, zenithWith("none", "", plainVend), vendors.Options{}, nil)
	if got, err := plain.Reference(txn, midnight); got != txn || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// Each signature is worked out here once more, from what came over the wire.
func TestSignature(t *testing.T) {
	const hmac512 = `{sign: {algorithm: hmac-sha512, secret: key, encoding: base64,
  text: "{method}\n{path}?{query}\n{time|seconds}\n{body|sha256-hex}",
  headers: {Authorization: "Zenith {secret.user}:{signature}", X-Time: "{time|seconds}"}}}`
	const plainHash = `{sign: {algorithm: sha256,
  text: "{method}&{url|escaped}&{time|millis}&{nonce}&{secret.id}&{secret.secret}",
  headers: {Signature: "{signature}", Nonce: "{nonce}", Timestamp: "{time|millis}", SignatureMethod: SHA256}}}`
	seen := map[string]bool{}
	for name, auth := range map[string]string{"hmac": hmac512, "hash": plainHash} {
		t.Run(name, func(t *testing.T) {
			_, e := stand(t, zenithWith(auth, "", plainVend), vendors.Options{}, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				var want, got string
				if name == "hmac" {
					sum := sha256.Sum256(body)
					mac := hmac.New(sha512.New, []byte(`k"e/y=1`))
					fmt.Fprintf(mac, "%s\n%s?%s\n%s\n%s", r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Get("X-Time"), hex.EncodeToString(sum[:]))
					want = "Zenith me:" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
					got = r.Header.Get("Authorization")
				} else {
					text := r.Method + "&" + url.QueryEscape("http://"+r.Host+r.RequestURI) + "&" + r.Header.Get("Timestamp") + "&" + r.Header.Get("Nonce") + "&client&s3 cret"
					sum := sha256.Sum256([]byte(text))
					want, got = hex.EncodeToString(sum[:]), r.Header.Get("Signature")
					if n := r.Header.Get("Nonce"); seen[n] || len(n) < 16 {
						t.Errorf("nonce %q", n)
					} else {
						seen[n] = true
					}
				}
				if got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				_, _ = io.WriteString(w, `{"state":"DONE","ref":"`+txn+`"}`)
			})
			if res := e.Vend(t.Context(), hundred("mtn")); res.Outcome != vendors.Delivered {
				t.Errorf("%+v", res)
			}
			if f := e.Query(t.Context(), hundred("mtn"), ""); f.State != vendors.FoundDelivered {
				t.Errorf("%+v", f)
			}
		})
	}
}

// A vendor can want a token, a header of its own and a signature at once.
func TestSignatureBesideAToken(t *testing.T) {
	s := &issuer{honours: func(token string) bool { return token == "T1" }}
	auth := strings.TrimSuffix(oauth, "}") + `,
  sign: {algorithm: hmac-sha256, secret: key, text: "{method}{path}", headers: {X-Signature: "v1={signature}"}}}`
	set, e := stand(t, zenithWith(auth, "", plainVend), vendors.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/sell" {
			mac := hmac.New(sha256.New, []byte(`k"e/y=1`))
			_, _ = io.WriteString(mac, "POST/api/sell")
			if want, got := "v1="+hex.EncodeToString(mac.Sum(nil)), r.Header.Get("X-Signature"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		s.ServeHTTP(w, r)
	})
	if res := e.Vend(t.Context(), hundred("mtn")); res.Outcome != vendors.Delivered {
		t.Errorf("%+v", res)
	}
	if got := set.Vendors()[0].Auth; got != "token+sign" {
		t.Errorf("auth is %s", got)
	}
}

const oauth = `{token: {path: /oauth/token,
  json: {client_id: "{secret.id}", client_secret: "{secret.secret}", grant_type: client_credentials, audience: "https://topups.example"},
  token: access_token, expires: expires_in},
  refused: [{status: 401, json: {errorCode: [TOKEN_EXPIRED, INVALID_TOKEN]}}]}`

// issuer gives out tokens T1, T2 …, and sells to who has one that it honours.
type issuer struct {
	issued, sold, refusedCalls atomic.Int64
	hold                       chan struct{} // if set, a token waits for it
	honours                    func(token string) bool
	status                     int // of the token endpoint; 0 = it works
}

func (s *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path == "/api/oauth/token" {
		n := s.issued.Add(1)
		if s.hold != nil {
			<-s.hold
		}
		if s.status != 0 {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(s.status)
			return
		}
		if want := `{"client_id":"client","client_secret":"s3 cret","grant_type":"client_credentials","audience":"https://topups.example"}`; string(body) != want {
			w.WriteHeader(400)
			return
		}
		fmt.Fprintf(w, `{"access_token":"T%d","expires_in":3600,"token_type":"Bearer"}`, n)
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || !s.honours(token) {
		s.refusedCalls.Add(1)
		w.WriteHeader(401)
		_, _ = io.WriteString(w, `{"errorCode":"TOKEN_EXPIRED","message":"`+token+`"}`)
		return
	}
	s.sold.Add(1)
	_, _ = io.WriteString(w, `{"state":"DONE"}`)
}

// Many callers without a token make one call for it.
func TestTokenIsFetchedOnce(t *testing.T) {
	s := &issuer{hold: make(chan struct{}), honours: func(string) bool { return true }}
	set, e := stand(t, zenithWith(oauth, "", plainVend), vendors.Options{}, s.ServeHTTP)
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			if res := e.Vend(context.Background(), another(fmt.Sprint(txn, "-", i))); res.Outcome != vendors.Delivered {
				t.Errorf("%+v", res)
			}
		})
	}
	s.hold <- struct{}{}
	close(s.hold)
	callers.Wait()
	if s.issued.Load() != 1 || s.sold.Load() != 64 {
		t.Errorf("%d tokens, %d sales", s.issued.Load(), s.sold.Load())
	}
	// A token that is good sells on, whatever becomes of those who give them.
	if _, err := set.Override("zenith/token", vendors.Override{State: vendors.ForcedOpen, Reason: "x", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if got := explained(set.Explain(vendors.Ask{Network: "mtn", Amount: 100_00})); got != "zenith" {
		t.Error(got)
	}
}

// A refused token is replaced once, and the call sent once more; never a third time.
func TestTokenIsRenewed(t *testing.T) {
	s := &issuer{honours: func(token string) bool { return token == "T2" }}
	_, e := stand(t, zenithWith(oauth, "", plainVend), vendors.Options{}, s.ServeHTTP)
	if res := e.Vend(t.Context(), hundred("mtn")); res.Outcome != vendors.Delivered {
		t.Errorf("%+v", res)
	}
	if s.issued.Load() != 2 || s.sold.Load() != 1 || s.refusedCalls.Load() != 1 {
		t.Errorf("%d tokens, %d sales, %d refusals", s.issued.Load(), s.sold.Load(), s.refusedCalls.Load())
	}
	s.honours = func(string) bool { return false }
	res := e.Vend(t.Context(), another(txn+"-2"))
	if res.Outcome != vendors.Ambiguous || res.Reason != vendors.ReasonConfig || strings.Contains(res.Detail, "T3") {
		t.Errorf("%+v", res)
	}
	if s.issued.Load() != 3 || s.refusedCalls.Load() != 3 {
		t.Errorf("%d tokens, %d refusals", s.issued.Load(), s.refusedCalls.Load())
	}
}

// Without a token nothing is sent, and the breaker that opens is the token's, not the vend's.
func TestTokenThatFails(t *testing.T) {
	s := &issuer{status: 503, honours: func(string) bool { return true }}
	set, e := stand(t, zenithWith(oauth, "", plainVend), vendors.Options{}, s.ServeHTTP)
	for i := range 7 {
		res := e.Vend(t.Context(), another(fmt.Sprint(txn, "-", i)))
		if res.Outcome != vendors.NotSent || res.Sent || res.Reason != vendors.ReasonDown || !strings.HasPrefix(res.Detail, "token: ") {
			t.Errorf("%+v", res)
		}
	}
	if b := e.Breaker(); b.Vend.State != "closed" || b.Vend.Excluded != 7 || s.issued.Load() != 5 {
		t.Errorf("%+v after %d", b, s.issued.Load())
	}
	ask := vendors.Ask{Network: "mtn", Amount: 100_00}
	if got := explained(set.Explain(ask)); got != "zenith (no token: breaker open)" {
		t.Error(got)
	}
	for _, b := range set.Breakers() {
		if want := map[bool]string{true: "open", false: "closed"}[b.Name == "zenith/token"]; b.State != want {
			t.Errorf("%+v", b)
		}
	}
}

// Who gives tokens and has too many calls says nothing about sales.
func TestTokenThatIsBusy(t *testing.T) {
	s := &issuer{status: http.StatusTooManyRequests, honours: func(string) bool { return true }}
	_, e := stand(t, zenithWith(oauth, "", plainVend), vendors.Options{}, s.ServeHTTP)
	if res := e.Vend(t.Context(), another(txn+"-1")); res.Outcome != vendors.NotSent || !strings.HasPrefix(res.Detail, "token: HTTP 429") {
		t.Errorf("%+v", res)
	}
	s.status = 0
	if res := e.Vend(t.Context(), another(txn+"-2")); res.Outcome != vendors.Delivered {
		t.Errorf("%+v", res)
	}
}

// A secret that is being exchanged is tried when the other is refused, and remembered.
func TestTwoSecrets(t *testing.T) {
	var calls []string
	valid := "old"
	_, e := stand(t, zenithWith("{bearer: {secret: key}, refused: [{status: 401}]}", "", plainVend), vendors.Options{
		Secrets: func(name string) (string, bool) {
			v, ok := map[string]string{"key": "old", "key-next": "new"}[name]
			return v, ok
		},
	}, func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		calls = append(calls, key)
		if key != valid {
			w.WriteHeader(401)
			return
		}
		_, _ = io.WriteString(w, `{"state":"DONE"}`)
	})
	for i, step := range []struct {
		valid, calls string
		outcome      vendors.Outcome
	}{
		{"old", "old", vendors.Delivered},
		{"new", "old new", vendors.Delivered},
		{"new", "new", vendors.Delivered},
		{"old", "new old", vendors.Delivered},
		{"none", "old new", vendors.Ambiguous},
	} {
		valid, calls = step.valid, nil
		res := e.Vend(t.Context(), another(fmt.Sprint(txn, "-", i)))
		if got := strings.Join(calls, " "); got != step.calls || res.Outcome != step.outcome {
			t.Errorf("%d: %s, %+v", i, got, res)
		}
	}
}

// Who gives tokens is asked with the other secret when it does not take the one, and by all callers
// together no more often than that.
func TestTwoSecretsOfTokens(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	valid := "old"
	life := 3600
	honoured := ""
	_, e := stand(t, zenithWith(oauth, "", plainVend), vendors.Options{
		Secrets: func(name string) (string, bool) {
			v, ok := map[string]string{"id": "me", "secret": "old", "secret-next": "new"}[name]
			return v, ok
		},
	}, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path != "/api/oauth/token" {
			if r.Header.Get("Authorization") != "Bearer "+honoured {
				w.WriteHeader(401)
				_, _ = io.WriteString(w, `{"errorCode":"INVALID_TOKEN"}`)
				return
			}
			_, _ = io.WriteString(w, `{"state":"DONE"}`)
			return
		}
		body, _ := io.ReadAll(r.Body)
		for _, secret := range []string{"old", "new"} {
			if !strings.Contains(string(body), `"client_secret":"`+secret+`"`) {
				continue
			}
			asked[secret]++
			if secret != valid {
				w.WriteHeader(400)
				_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
				return
			}
			honoured = fmt.Sprint("T-", secret, asked[secret])
			fmt.Fprintf(w, `{"access_token":"%s","expires_in":%d}`, honoured, life)
		}
	})
	for i, step := range []struct {
		valid, asked string
		outcome      vendors.Outcome
	}{
		{"old", "map[old:1]", vendors.Delivered},
		{"new", "map[]", vendors.Delivered}, // the token is still good
		{"new", "map[new:1 old:1]", vendors.Delivered},
		{"new", "map[new:1]", vendors.Delivered},
		{"none", "map[new:1 old:1]", vendors.NotSent},
	} {
		mu.Lock()
		valid, asked = step.valid, map[string]int{}
		if i > 1 {
			honoured = "" // the vendor ends its tokens
		}
		mu.Unlock()
		var callers sync.WaitGroup
		res := e.Vend(t.Context(), another(fmt.Sprint(txn, "-", i)))
		if step.outcome == vendors.Delivered {
			for n := range 16 {
				callers.Go(func() {
					if res := e.Vend(context.Background(), another(fmt.Sprint(txn, "-", i, "-", n))); res.Outcome != vendors.Delivered {
						t.Errorf("%d: %+v", i, res)
					}
				})
			}
		}
		callers.Wait()
		if got := fmt.Sprint(asked); got != step.asked || res.Outcome != step.outcome || (res.Reason == vendors.ReasonConfig) != (res.Outcome == vendors.NotSent) || strings.Contains(res.Detail, "invalid_client") {
			t.Errorf("%d: %s, %+v", i, got, res)
		}
	}
}

// What the words of a rule mean.
func TestRuleWords(t *testing.T) {
	const body = `{"state":"NEW","note":"Duplicate request within 5 minutes","null":null,"ok":true,"list":[{"id":1}],"ref":"` + txn + `"}`
	for _, test := range []struct {
		rule string
		want vendors.Outcome
	}{
		{`{json: {state: NEW}, then: delivered}`, vendors.Delivered},
		{`{json: {note: {matches: "(?i)duplicate"}}, then: delivered}`, vendors.Delivered},
		{`{json: {note: {matches: "^request"}}, then: delivered}`, vendors.Ambiguous},
		{`{json: {state: NEW, error: {missing: true}}, then: delivered}`, vendors.Delivered},
		{`{json: {state: NEW, "null": {missing: true}}, then: delivered}`, vendors.Ambiguous},
		{`{json: {state: NEW, "null": {present: true}}, then: delivered}`, vendors.Delivered},
		{`{json: {state: NEW, error: {present: true}}, then: delivered}`, vendors.Ambiguous},
		{`{json: {state: NEW, note: {not: [x, y]}}, then: delivered}`, vendors.Delivered},
		{`{json: {state: {matches: "N"}, note: {not: "Duplicate request within 5 minutes"}}, then: delivered}`, vendors.Ambiguous},
		{`{json: {state: NEW, "null": {not: [x]}}, then: delivered}`, vendors.Ambiguous},
		{`{json: {state: NEW, list.0.id: {not: [x, "{reference}"]}}, then: delivered}`, vendors.Delivered},
		{`{json: {state: NEW, ref: {not: [x, "{reference}"]}}, then: delivered}`, vendors.Ambiguous},
		{`{json: {state: NEW, error: {not: "{reference}"}}, then: delivered}`, vendors.Ambiguous},
		{`{json: {list.0.id: 1}, headers: {x-cache: HIT}, then: delivered}`, vendors.Delivered},
		{`{json: {list.0.id: 1}, headers: {x-cache: MISS}, then: delivered}`, vendors.Ambiguous},
		{`{json: {list.0.id: 1}, headers: {x-none: {missing: true}}, then: delivered}`, vendors.Delivered},
		{`{json: {state: NEW, $: {empty: true}}, then: delivered}`, vendors.Ambiguous},
		{`{json: {ok: True}, then: delivered}`, vendors.Delivered},
		{`{json: {state: NEW, ok: {not: [True]}}, then: delivered}`, vendors.Ambiguous},
		{`{status: 400, json: {error: {present: true}}, then: declined}, {json: {state: NEW}, then: delivered}`, vendors.Delivered},
	} {
		vend := plainVend + "\n  rules: [" + test.rule + "]"
		text := strings.Replace(zenithWith("none", "", vend), "\n  rules: [{json: {state: DONE}, then: delivered}, {json: {state: NO}, then: declined}]", "", 1)
		_, e := stand(t, text, vendors.Options{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Cache", "HIT")
			_, _ = io.WriteString(w, body)
		})
		if res := e.Vend(t.Context(), hundred("mtn")); res.Outcome != test.want {
			t.Errorf("%s: %+v", test.rule, res)
		}
	}
}

// What the subscriber must be given is in the result, and in no text for operators.
func TestTokenOfASaleIsHidden(t *testing.T) {
	text := strings.Replace(acme, "cost: {path: cost, unit: naira}, message: text}", "message: text, token: pin}", 2)
	for answer, want := range map[string]vendors.Result{
		`{"state":"DONE","pin":"77-88","text":"your PIN is 77-88"}`: {Outcome: vendors.Delivered, Token: "77-88", Detail: "HTTP 200: your PIN is <secret>"},
		`{"state":"ODD","pin":"77-88"}`:                             {Outcome: vendors.Ambiguous, Detail: `HTTP 200: no rule matches: {"state":"ODD","pin":"<secret>"}`},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
		e := acmeAt(t, server.URL, text, vendors.Options{})
		if r := e.Vend(t.Context(), hundred("mtn")); r.Outcome != want.Outcome || r.Token != want.Token || r.Detail != want.Detail {
			t.Errorf("%s: %+v", answer, r)
		}
		if f := e.Query(t.Context(), hundred("mtn"), ""); f.Token != want.Token || f.Detail != want.Detail {
			t.Errorf("%s: %+v", answer, f)
		}
		server.Close()
	}
}
