package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ussdd/store"
)

func TestProviders(t *testing.T) {
	for name, test := range map[string]struct {
		secrets map[string]string
		said    string
		bad     string // what the only problem begins with
	}{
		"none":      {nil, "no payment provider: none has a secret, such as webhook-paystack", ""},
		"one":       {map[string]string{"webhook-paystack": "a"}, "paystack", ""},
		"rotating":  {map[string]string{"webhook-monnify": "a", "webhook-monnify-next": "b", "webhook-flutterwave": "c"}, "flutterwave, monnify with two secrets", ""},
		"forgeable": {map[string]string{"webhook-flutterwave-v3": "a"}, "flutterwave-v3", "secret webhook-flutterwave-v3-key: missing"},
		"verified":  {map[string]string{"webhook-flutterwave-v3": "a", "webhook-flutterwave-v3-key": "k"}, "flutterwave-v3", ""},
		"empty":     {map[string]string{"webhook-paystack": ""}, "no payment provider: none has a secret, such as webhook-paystack", "secret webhook-paystack: empty"},
	} {
		c := &config{WebhookAddr: "127.0.0.1:0"}
		var bad problems
		found := c.providers(func(name string) (string, bool) { text, ok := test.secrets[name]; return text, ok }, &bad)
		if said := sayProviders(found); said != test.said {
			t.Errorf("%s: said %q, want %q", name, said, test.said)
		}
		if ok := len(bad) == 0 && test.bad == "" || len(bad) == 1 && test.bad != "" && strings.HasPrefix(bad[0], test.bad); !ok {
			t.Errorf("%s: %q, want %q", name, bad, test.bad)
		}
		if p, ok := found["flutterwave-v3"]; ok && p.verify == nil {
			t.Errorf("%s: nothing verifies it", name)
		}
	}
	off := &config{WebhookAddr: "-"}
	if found := off.providers(func(string) (string, bool) { t.Error("asked for a secret"); return "", false }, nil); len(found) != 0 {
		t.Errorf("without a listener: %v", found)
	}
}

func TestWebhookNetworks(t *testing.T) {
	var from sources
	if err := from.Decode("paystack=52.31.139.75, paystack=2001:db8::/32,monnify=35.242.133.0/24"); err != nil {
		t.Fatal(err)
	}
	var proxies networks
	if err := proxies.Decode("10.0.0.0/8, 192.0.2.7"); err != nil {
		t.Fatal(err)
	}
	for addr, in := range map[string]struct{ paystack, monnify, proxies bool }{"52.31.139.75": {paystack: true}, "52.31.139.76": {},
		"2001:db8:1::1": {paystack: true}, "35.242.133.146": {monnify: true}, "10.1.2.3": {proxies: true}, "192.0.2.7": {proxies: true}, "192.0.2.8": {}} {
		a := netip.MustParseAddr(addr)
		if from["paystack"].contain(a) != in.paystack || from["monnify"].contain(a) != in.monnify || proxies.contain(a) != in.proxies {
			t.Errorf("%s", addr)
		}
	}
	for _, wrong := range []string{"", "paystack", "opay=1.2.3.4", "paystack=1.2.3", "paystack=1.2.3.4/33"} {
		if err := new(sources).Decode(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

// TestServeWebhooks reports deposits to a running daemon, which learns a new
// secret from a SIGHUP.
func TestServeWebhooks(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v3/transactions/285959875/verify" || r.Header.Get("Authorization") != "Bearer api-key" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, `{"status":"success","data":{"id":285959875,"status":"successful","amount":500,"currency":"NGN","tx_ref":"ours-4"}}`)
	}))
	defer api.Close()
	dir := t.TempDir()
	database, secrets := "sqlite:"+filepath.Join(dir, "ussdd.db"), filepath.Join(dir, "secrets")
	if err := os.Mkdir(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(secrets, "webhook-paystack"), "old\n")
	write(t, filepath.Join(secrets, "webhook-flutterwave-v3"), "hash\n")
	write(t, filepath.Join(secrets, "webhook-flutterwave-v3-key"), "api-key\n")
	set(t, oneSMSC(map[string]string{"USSDD_DATABASE": database, "USSDD_SECRETS_DIR": secrets, "USSDD_ADMIN_ADDR": "127.0.0.1:0", "USSDD_CONTROL": "-",
		"USSDD_WEBHOOK_ADDR": "127.0.0.1:0", "USSDD_WEBHOOK_SOURCES": "paystack=127.0.0.1", "USSDD_WEBHOOK_FLUTTERWAVE": api.URL}))
	hup := make(chan os.Signal)
	_, logged, stop := serving(t, hup)
	line := logged.until(t, `msg="webhooks listen"`)
	if !strings.Contains(line, `providers="[flutterwave-v3 paystack]"`) {
		t.Error(line)
	}
	_, addr, _ := strings.Cut(line, "addr=")
	base := "http://" + strings.Fields(addr)[0]
	_, admin, _ := strings.Cut(logged.until(t, `msg="admin listens"`), "addr=")

	db, err := store.Open(t.Context(), database, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for account, provider := range map[string]string{"9930000001": "paystack", "ours-4": "flutterwave"} {
		if err := db.LinkAccount(t.Context(), store.Operation{Operator: "ngozi", Reason: "opened"}, provider, account, "2348031234567"); err != nil {
			t.Fatal(err)
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	reports := func(provider, header, signature, body string, want int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/"+provider, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(header, signature)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s answers %d, want %d", provider, res.StatusCode, want)
		}
	}
	reports("paystack", "x-paystack-signature", hex512("old", paystackReport), paystackReport, http.StatusOK)
	reports("paystack", "x-paystack-signature", hex512("new", paystackReport), paystackReport, http.StatusUnauthorized)
	reports("flutterwave-v3", "verif-hash", "hash", oldFlutterwave, http.StatusOK)
	reports("monnify", "monnify-signature", hex512("", monnifyReport), monnifyReport, http.StatusNotFound)

	write(t, filepath.Join(secrets, "webhook-paystack-next"), "new\n")
	hup <- syscall.SIGHUP
	logged.until(t, `msg="menus and vendors reloaded"`)
	for _, secret := range []string{"old", "new"} {
		reports("paystack", "x-paystack-signature", hex512(secret, paystackReport), paystackReport, http.StatusOK)
	}
	if w, err := db.Wallet(t.Context(), "2348031234567"); err != nil || w.Balance != 2*500_00 {
		t.Errorf("wallet %+v, %v", w, err)
	}
	metrics := strings.Split(get(t, "http://"+strings.TrimSpace(admin)+"/metrics"), "\n")
	for _, want := range []string{`ussdd_webhook_reports_total{provider="paystack",result="credited"} 1`, `ussdd_webhook_reports_total{provider="paystack",result="repeated"} 2`,
		`ussdd_webhook_reports_total{provider="paystack",result="forged"} 1`, `ussdd_webhook_reports_total{provider="paystack",result="mismatch"} 0`,
		`ussdd_webhook_reports_total{provider="flutterwave-v3",result="credited"} 1`} {
		if !slices.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
	stop()
	if res, err := client.Get(base); err == nil {
		res.Body.Close()
		t.Error("it still listens")
	}
}
