package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"ussdd/cmd/ussdd/settings"
	"ussdd/vendors"
)

// vendorFiles makes a directory with the plain preset and a route to it.
func vendorFiles(t *testing.T, change func(string) string) string {
	t.Helper()
	dir := t.TempDir()
	var preset bytes.Buffer
	if code := run(t.Context(), []string{"vendor", "preset", "generic"}, &preset, io.Discard); code != exitOK {
		t.Fatal(code)
	}
	text := preset.String()
	if change != nil {
		text = change(text)
	}
	routes := "networks:\n"
	for _, n := range []string{"mtn", "airtel", "glo", "9mobile"} {
		routes += "  " + n + ": {name: X, min: N50, max: N1000, route: [generic]}\n"
	}
	for name, text := range map[string]string{"generic.yaml": text, "routes.yaml": routes} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A test of a vendor asks and sells nothing, and says what is wrong.
func TestVendorTest(t *testing.T) {
	var posts int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet:
			posts++
		case r.Header.Get("X-API-Key") != "K1":
			w.WriteHeader(401)
			_, _ = io.WriteString(w, `{"error":{"code":"UNAUTHORIZED"}}`)
		case r.URL.Path == "/balance":
			_, _ = io.WriteString(w, `{"status":"success","data":{"balance":"1234.50"}}`)
		default:
			w.WriteHeader(404)
			_, _ = io.WriteString(w, `{"error":{"code":"NOT_FOUND","message":"never seen"}}`)
		}
	}))
	defer server.Close()
	dir := vendorFiles(t, nil)
	t.Setenv("USSDD_VENDOR_URLS", "generic="+server.URL)
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	t.Setenv("USSDD_SECRETS_DIR", "")

	t.Setenv("USSDD_SECRET_GENERIC_API_KEY", "K1")
	code, out := ctl(t, "vendor", "test", "-dir", dir, "generic")
	for _, want := range []string{"connection  good", "balance     good    N1,234.50", "query       good    not_found: HTTP 404: never seen"} {
		if !strings.Contains(out, want) || code != exitOK {
			t.Errorf("exit %d, no %q in\n%s", code, want, out)
		}
	}
	t.Setenv("USSDD_SECRET_GENERIC_API_KEY", "K2")
	if code, out := ctl(t, "vendor", "test", "-dir", dir, "generic"); code != exitFailed || !strings.Contains(out, "query       BAD     unknown: HTTP 401") || strings.Contains(out, "K2") {
		t.Errorf("exit %d\n%s", code, out)
	}
	t.Setenv("USSDD_SECRET_GENERIC_API_KEY", "")
	if code, out := ctl(t, "vendor", "test", "-dir", dir, "generic"); code != exitFailed || !strings.Contains(out, `secret "generic-api-key" is missing`) {
		t.Errorf("exit %d\n%s", code, out)
	}
	if posts > 0 {
		t.Errorf("%d sales", posts)
	}
}

// A vendor without a word for what it does not know passes with any answer that is about the
// reference, and with none about itself.
func TestVendorTestByItsOwnReference(t *testing.T) {
	var status int
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/balance" {
			_, _ = io.WriteString(w, `{"status":"success","data":{"balance":"1"}}`)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	dir := vendorFiles(t, func(s string) string {
		s, _, _ = strings.Cut(strings.Replace(s, "/transactions/{reference}", "/transactions/{vendor_ref}", 1), "not_found:")
		return s
	})
	t.Setenv("USSDD_VENDOR_URLS", "generic="+server.URL)
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	t.Setenv("USSDD_SECRETS_DIR", "")
	t.Setenv("USSDD_SECRET_GENERIC_API_KEY", "K1")
	for _, test := range []struct {
		status int
		body   string
		code   int
	}{
		{400, `{"message":"what is 0?"}`, exitOK},
		{404, `{"error":{"code":"NOT_FOUND"}}`, exitOK},
		{200, `{"data":{"status":"success"}}`, exitFailed}, // it would say so of everything
		{401, `{}`, exitFailed},
		{429, `{}`, exitFailed},
		{502, `<html>`, exitFailed},
	} {
		status, body = test.status, test.body
		if code, out := ctl(t, "vendor", "test", "-dir", dir, "generic"); code != test.code {
			t.Errorf("%d %s: exit %d\n%s", status, body, code, out)
		}
	}
}

// Presets are asked at the addresses that are given for them; those of other vendors do not matter.
func TestVendorTestOfPreset(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.Path)
		switch r.URL.Path {
		case "/oauth/token":
			_, _ = io.WriteString(w, `{"access_token":"T","expires_in":60}`)
		case "/accounts/balance":
			_, _ = io.WriteString(w, `{"balance":12,"currencyCode":"NGN"}`)
		default:
			_, _ = io.WriteString(w, `{"content":[]}`)
		}
	}))
	defer server.Close()
	t.Setenv("USSDD_VENDOR_URLS", "mtn=http://127.0.0.1:1,reloadly="+server.URL+",reloadly.token="+server.URL)
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	t.Setenv("USSDD_SECRETS_DIR", "")
	t.Setenv("USSDD_SECRET_RELOADLY_CLIENT_ID", "I")
	t.Setenv("USSDD_SECRET_RELOADLY_CLIENT_SECRET", "S")
	code, out := ctl(t, "vendor", "test", "-presets", "reloadly")
	if want := "[POST /oauth/token GET /accounts/balance GET /topups/reports/transactions]"; code != exitOK || fmt.Sprint(got) != want {
		t.Errorf("exit %d, asked %v\n%s", code, got, out)
	}
}

// The products of a vendor are those that it tells for the network, and steer no terminal. A running
// daemon asks once for all who want to know.
func TestVendorProducts(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/products" || r.URL.Query().Get("of") != "GLO" || r.Header.Get("X-API-Key") != "K1" {
			w.WriteHeader(400)
			return
		}
		asked.Add(1)
		_, _ = io.WriteString(w, `{"items":[{"code":"G1","title":"1 GB\u001b[2J","price":"300"},{"code":7}]}`)
	}))
	defer server.Close()
	dir := vendorFiles(t, func(s string) string {
		return s + `
products:
  method: GET
  path: /products
  params: {of: "{network}"}
  rules: [{status: 200, json: {items: {present: true}}, then: known}]
  items: items
  id: code
  name: title
  price: {path: price, unit: naira}
`
	})
	t.Setenv("USSDD_VENDOR_URLS", "generic="+server.URL)
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	t.Setenv("USSDD_SECRETS_DIR", "")
	t.Setenv("USSDD_SECRET_GENERIC_API_KEY", "K1")
	expect(t, exitOK, "CODE  NAME      PRICE\nG1    1 GB.[2J  N300\n7     -         -\n", "vendor", "products", "-dir", dir, "-network", "glo", "generic")
	expect(t, exitOK, `[
  {
    "id": "G1",
    "name": "1 GB\u001b[2J",
    "price_kobo": 30000
  },
  {
    "id": "7"
  }
]
`, "vendor", "products", "-dir", dir, "-network", "glo", "-json", "generic")
	if code, out := ctl(t, "vendor", "products", "-dir", dir, "-network", "mtn", "generic"); code != exitFailed || !strings.Contains(out, "generic/products: HTTP 400") {
		t.Errorf("exit %d\n%s", code, out)
	}
	expect(t, exitUsage, "ussdctl vendor products: generic: products: vendors: the vendor cannot be asked for that\n", "vendor", "products", "-dir", vendorFiles(t, nil), "generic")

	before := asked.Load()
	set, err := vendors.Load(os.DirFS(dir), vendors.Options{URLs: map[string]string{"generic": server.URL},
		Secrets: func(name string) (string, bool) { return "K1", name == "generic-api-key" }})
	if err != nil {
		t.Fatal(err)
	}
	vendorDaemon(t, set)
	for range 3 {
		expect(t, exitOK, "CODE  NAME      PRICE\nG1    1 GB.[2J  N300\n7     -         -\n", "vendor", "products", "-network", "glo", "generic")
	}
	if n := asked.Load() - before; n != 1 {
		t.Errorf("the daemon asked %d times", n)
	}
	socket := os.Getenv("USSDD_CONTROL")
	t.Setenv("USSDD_CONTROL", "-")
	expect(t, exitOK, "CODE  NAME      PRICE\nG1    1 GB.[2J  N300\n7     -         -\n", "vendor", "products", "-control", socket, "-network", "glo", "generic")
	t.Setenv("USSDD_CONTROL", socket)
	expect(t, exitUsage, "ussdctl vendor products: no vendor \"acme\"; see ussdctl vendor list\n", "vendor", "products", "acme")
	expect(t, exitUsage, "ussdctl vendor products: generic does not serve \"etisalat\"\n", "vendor", "products", "-network", "etisalat", "generic")
	if code, out := ctl(t, "vendor", "products", "-network", "mtn", "generic"); code != exitFailed || !strings.Contains(out, "generic/products: HTTP 400") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// lint gives every problem with its file and line.
func TestVendorLint(t *testing.T) {
	dir := vendorFiles(t, func(s string) string {
		return strings.NewReplacer("{phone|local}", "{phone|lokal}", "then: not_found", "then: lost").Replace(s)
	})
	code, out := ctl(t, "vendor", "lint", "-dir", dir)
	var want []string
	for i, line := range strings.Split(preset(t, "generic"), "\n") {
		at := filepath.Join(dir, "generic.yaml") + ":" + strconv.Itoa(i+1) + ": "
		if strings.Contains(line, "{phone|local}") {
			want = append(want, at+`vend.json.phone_number: unknown filter "lokal"`)
		}
		if strings.Contains(line, "then: not_found") {
			want = append(want, at+`query.rules[3].then: unknown "lost"`)
		}
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != exitFailed || len(want) != 2 || len(lines) != 3 || !strings.HasPrefix(lines[0], want[0]) || !strings.HasPrefix(lines[1], want[1]) {
		t.Errorf("exit %d\n%s\nwant\n%s", code, out, strings.Join(want, "\n"))
	}
}

// A name that short messages cannot have is a problem here as it is for the daemon.
func TestVendorLintNames(t *testing.T) {
	dir := vendorFiles(t, nil)
	routes := filepath.Join(dir, "routes.yaml")
	text, err := os.ReadFile(routes)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(routes, bytes.Replace(text, []byte("name: X"), []byte("name: 电信"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, exitFailed, routes+":2: networks.mtn.name: \"电信\" has '电', which short messages lack\nussdctl vendor lint: there are problems\n",
		"vendor", "lint", "-dir", dir)
}

// A secret's file that is there counts, as for the daemon, also if it cannot be read.
func TestVendorSecretUnread(t *testing.T) {
	secrets := t.TempDir()
	if err := os.Mkdir(filepath.Join(secrets, "generic-api-key"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("USSDD_SECRETS_DIR", secrets)
	t.Setenv(settings.SecretVariable("generic-api-key"), "other")
	dir := vendorFiles(t, nil)
	for want, args := range map[string][]string{
		"generic-api-key (cannot be read)": {"vendor", "list", "-dir", dir},
		"secret generic-api-key: read ":    {"vendor", "test", "-dir", dir, "generic"},
	} {
		if _, text := ctl(t, args...); !strings.Contains(text, want) {
			t.Errorf("%v: %s", args, text)
		}
	}
}

func preset(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "vendors", "builtin", "presets", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What is printed of a call holds no secret, whatever the environment has.
func TestVendorCallMasks(t *testing.T) {
	for _, v := range presets(t) {
		for _, secret := range v.Secrets {
			t.Setenv("USSDD_SECRET_"+strings.ReplaceAll(strings.ToUpper(secret), "-", "_"), "hush")
		}
		for _, op := range v.Operations {
			code, out := ctl(t, "vendor", "call", "-presets", "-dry-run", "-vendor-ref", "V-1", "-operation", string(op), v.Vendor)
			if code != exitOK || strings.Contains(out, "hush") || !strings.Contains(out, " HTTP/1.1\nHost: ") {
				t.Errorf("%s %s: exit %d\n%s", v.Vendor, op, code, out)
			}
			if !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(out, "%5B", "["), "[token]", "["+v.Vendor+"-"), "["+v.Vendor+"-") {
				t.Errorf("%s %s: no secret has a place\n%s", v.Vendor, op, out)
			}
		}
	}
}

// What stands for secrets where there are none hides nothing of an answer.
func TestVendorCallShowsTheAnswer(t *testing.T) {
	saved := filepath.Join(t.TempDir(), "saved.http")
	if err := os.WriteFile(saved, []byte("HTTP/1.1 400 Bad Request\n\n"+`{"error":{"code":"INVALID_NUMBER","message":"none of our numbers; x, secret, unset"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := ctl(t, "vendor", "call", "-presets", "-answer", saved, "generic")
	if want := "HTTP 400: none of our numbers; x, secret, unset"; code != exitOK || !strings.Contains(out, want) {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func presets(t *testing.T) []vendors.About {
	t.Helper()
	set, err := vendors.Load(vendors.Presets(), vendors.Options{Secrets: anySecret})
	if err != nil {
		t.Fatal(err)
	}
	return set.Vendors()
}

// What a vendor says of our money stands beside what our books say.
func TestProviderFloatTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"success","data":{"balance":4000.50}}`)
	}))
	defer server.Close()
	set, err := vendors.Load(os.DirFS(vendorFiles(t, nil)), vendors.Options{URLs: map[string]string{"generic": server.URL}, Secrets: anySecret})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("USSDD_DATABASE", database(t, "sqlite"))
	for _, args := range [][]string{{"schema", "migrate"},
		{"provider", "topup", "-operator", "ngozi", "-reason", "monthly", "-reference", "slip-9", "-from", "equity:opening", "generic", "5000"},
		{"provider", "topup", "-operator", "ngozi", "-reason", "monthly", "-reference", "slip-1", "-from", "equity:opening", "old", "10"}} {
		if code, out := ctl(t, args...); code != exitOK {
			t.Fatal(out)
		}
	}
	vendorDaemon(t, set)
	const books = "VENDOR   TOPPED UP  USED  DISPUTED  BALANCE  IN FLIGHT"
	expect(t, exitOK, books+`  THEY SAY  AT  DIFFERENCE
generic  N5,000     N0    N0        N5,000   N0         not told  -   -
old      N10        N0    N0        N10      N0         not told  -   -
`, "provider", "float")
	if _, err := set.Balance(t.Context(), "generic"); err != nil {
		t.Fatal(err)
	}
	at := when(set.Floats()[0].Known)
	expect(t, exitOK, books+"  THEY SAY   AT"+strings.Repeat(" ", len(at)-2)+`  DIFFERENCE
generic  N5,000     N0    N0        N5,000   N0         N4,000.50  `+at+`  -N999.50
old      N10        N0    N0        N10      N0         not told   -`+strings.Repeat(" ", len(at)-1)+`  -
`, "provider", "float")
	if _, out := ctl(t, "provider", "float", "-json"); !strings.Contains(out, `"told_kobo": 400050,`) || !strings.Contains(out, `"difference_kobo": -99950`) {
		t.Error(out)
	}
}
