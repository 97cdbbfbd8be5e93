package vendors

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"
)

const key = `open/se "same"+1`

func TestSecretPrints(t *testing.T) {
	s := newSecret(key)
	k := &keys{secrets: map[string]secret{"acme-key": s}}
	a := auth{headers: []credential{{header: "Authorization", scheme: "Basic", user: "me", secret: "acme-key"}}}
	v := &vendor{keys: []*keys{k}, private: a.private(k)}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", *k)
		fmt.Fprintf(&out, verb+"\n", []any{s, v, k})
	}
	fmt.Fprintln(&out, s, fmt.Errorf("call: %v", s))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "secret", s, "vendor", v)
	}
	j, err := json.Marshal(map[string]any{"a": s, "b": v})
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(map[string]any{"a": s})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	out.Write(y)
	for _, form := range []string{key, "same", fmt.Sprintf("%x", key), fmt.Sprintf("%X", key), base64.StdEncoding.EncodeToString([]byte("me:" + key)), fmt.Sprint([]byte(key))} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q is printed:\n%s", form, out.String())
		}
	}
	if n := strings.Count(out.String(), hidden); n < 20 {
		t.Errorf("%d marks", n)
	}
}

const shop = `vendor: acme
base: http://127.0.0.1:1
auth: AUTH
timeouts: {connect: 1m, total: 10m}
networks: {mtn: {code: MTN}}
vend:
  method: POST
  path: /topups
  json: {to: "{phone|intl}", kobo: "{amount|kobo}", ref: "{reference}"}
  rules: [{json: {state: DONE}, then: delivered}]
  fields: {message: text}
query:
  method: GET
  path: /topups/{vendor_ref}
  headers: {X-Ref: "{vendor_ref}", X-Own: "{reference}"}
  rules: [{json: {state: DONE}, then: delivered}]
`

func shopAt(t *testing.T, auth, url string, secrets func(string) (string, bool)) *Endpoint {
	t.Helper()
	fsys := fstest.MapFS{
		"acme.yaml":   {Data: []byte(strings.Replace(shop, "AUTH", auth, 1))},
		"routes.yaml": {Data: []byte("networks: {mtn: {name: MTN, min: N50, max: N100, route: [acme]}}")},
	}
	set, err := Load(fsys, Options{Secrets: secrets, URLs: map[string]string{"acme": url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.CloseIdleConnections)
	return set.Route("mtn")[0]
}

func knows(name string) (string, bool) { return key + "\n", name == "acme-key" }

func knowsNothing(string) (string, bool) { return "", false }

var request = Request{Network: "mtn", Recipient: "2348031234567", Amount: 100_00, Reference: "TXN-1"}

func TestAuth(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	defer server.Close()
	for _, test := range []struct {
		auth    string
		secrets func(string) (string, bool)
		header  string
		want    string
	}{
		{"none", knows, "Authorization", ""},
		{"{header: {name: x-api-key, secret: acme-key}}", knows, "X-Api-Key", key},
		{"{bearer: {secret: acme-key}}", knows, "Authorization", "Bearer " + key},
		{"{basic: {user: me, secret: acme-key}}", knows, "Authorization", "Basic b3Blbi9zZSAic2FtZSIrMQ=="},
		{"{bearer: {secret: acme-key}, optional: true}", knows, "Authorization", "Bearer " + key},
		{"{bearer: {secret: acme-key}, optional: true}", knowsNothing, "Authorization", ""},
		{"{bearer: {secret: acme-key}, optional: true}", nil, "Authorization", ""},
	} {
		t.Run(test.auth, func(t *testing.T) {
			e := shopAt(t, test.auth, server.URL, test.secrets)
			if strings.Contains(test.auth, "basic") {
				test.want = "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+key))
			}
			for op, call := range map[string]func(){
				"vend":  func() { e.Vend(context.Background(), request) },
				"query": func() { e.Query(context.Background(), request, "V-1") },
			} {
				if call(); got.Get(test.header) != test.want {
					t.Errorf("%s: got %q, want %q", op, got.Get(test.header), test.want)
				}
			}
		})
	}
}

// A vendor that repeats credentials in its answers doesn't get them into our books.
func TestDetail(t *testing.T) {
	credentials := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+key))
	quoted, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, body, want string }{
		{"message", `{"state":"DONE","text":"all is well"}`, "HTTP 200: all is well"},
		{"no message", `{"state":"DONE"}`, "HTTP 200"},
		{"message that is none", `{"state":"DONE","text":{}}`, "HTTP 200"},
		{"unmatched", `{"state":"NEW"}`, `HTTP 200: no rule matches: {"state":"NEW"}`},
		{"garbage", "<html>\r\n\t<h1>Hi\x00</h1>", "HTTP 200: no JSON: <html> <h1>Hi </h1>"},
		{"empty", "", "HTTP 200: no JSON:"},
		{"bad UTF-8", "na\xefra", "HTTP 200: no JSON: na?ra"},
		{"key in garbage", "bad key " + key, "HTTP 200: no JSON: bad key <secret>"},
		{"key in message", `{"state":"DONE","text":` + string(quoted) + `}`, "HTTP 200: <secret>"},
		{"key in JSON", `{"key":` + string(quoted) + `}`, `HTTP 200: no rule matches: {"key":"<secret>"}`},
		{"credentials", "you sent " + credentials, "HTTP 200: no JSON: you sent <secret>"},
		{"token", "you sent " + credentials[6:] + "!", "HTTP 200: no JSON: you sent <secret>!"},
		{"recipient", "08031234567, +2348031234567", "HTTP 200: no JSON: 0803***4567, +234803***4567"},
		{"long", strings.Repeat("₦", 100), "HTTP 200: no JSON: " + strings.Repeat("₦", 59) + "…"},
		{"key at the cut", strings.Repeat("x", 170) + key, "HTTP 200: no JSON: " + strings.Repeat("x", 170) + "<secret>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, test.body) }))
			defer server.Close()
			e := shopAt(t, "{basic: {user: me, secret: acme-key}}", server.URL, knows)
			got := e.Vend(context.Background(), request).Detail
			if got != test.want || len(got) > maxDetail {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// The vendor's own reference comes from the vendor, and goes back to it.
func TestVendorRef(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RequestURI + " " + r.Header.Get("X-Ref") }))
	defer server.Close()
	e := shopAt(t, "none", server.URL, nil)
	for ref, want := range map[string]string{
		"V-1":              "/topups/V-1 V-1",
		"7/../../x?a=b#c%": "/topups/7%2F..%2F..%2Fx%3Fa=b%23c%25 7/../../x?a=b#c%",
		"":                 "not sent: the vendor has given no reference to ask by",
		"..":               "not sent: a value makes the path climb",
		"a\r\nX-Admin: 1":  "not sent: header X-Ref: a value cannot stand in a header",
	} {
		got = ""
		f := e.Query(context.Background(), request, ref)
		if got == "" {
			got = f.Detail
		}
		if got != want || f.State != Unknown {
			t.Errorf("%q: got %q, %s", ref, got, f.State)
		}
	}
}
