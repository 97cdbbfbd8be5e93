package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	hexadecimal "encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"ussdd/store"
)

const (
	paystackReport = `{"event":"charge.success","data":{"reference":"ps-1","amount":50000,"currency":"NGN","status":"success","metadata":"",` +
		`"authorization":{"channel":"dedicated_nuban","receiver_bank_account_number":"9930000001"},"customer":{"customer_code":"CUS_1"}}}`
	monnifyReport = `{"eventType":"SUCCESSFUL_TRANSACTION","eventData":{"transactionReference":"MNFY|1","amountPaid":500,"currency":"NGN",` +
		`"paymentStatus":"PAID","product":{"type":"RESERVED_ACCOUNT","reference":"ours-1"},"destinationAccountInformation":{"accountNumber":"9930000002"}}}`
	flutterwaveReport = `{"type":"charge.completed","data":{"id":"chg_1","status":"succeeded","amount":500.00,"currency":"NGN","reference":"ours-3"}}`
	oldFlutterwave    = `{"event":"charge.completed","data":{"id":285959875,"status":"successful","amount":500,"currency":"NGN","tx_ref":"ours-4"}}`
)

func hex512(secret, body string) string {
	mac := hmac.New(sha512.New, []byte(secret))
	mac.Write([]byte(body))
	return hexadecimal.EncodeToString(mac.Sum(nil))
}

func base256(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// hooked is a listener's handler over a real store.
func hooked(t *testing.T, change func(*webhookConfig)) (*webhooks, *store.DB, *bytes.Buffer) {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for account, provider := range map[string]string{"9930000001": "paystack", "9930000002": "monnify", "ours-3": "flutterwave", "ours-4": "flutterwave"} {
		if err := db.LinkAccount(t.Context(), store.Operation{Operator: "ngozi", Reason: "opened"}, provider, account, "2348031234567"); err != nil {
			t.Fatal(err)
		}
	}
	confirms := func(_ context.Context, d deposit) error {
		if d.Reference != "285959875" {
			return errors.New("no such charge")
		}
		return nil
	}
	providers := map[string]provider{"paystack": {secrets: []string{"old", "new"}}, "monnify": {secrets: []string{"m"}}, "flutterwave": {secrets: []string{"f"}},
		"flutterwave-v3": {secrets: []string{"hash"}, verify: confirms}}
	cfg := webhookConfig{Providers: func() map[string]provider { return providers }}
	if change != nil {
		change(&cfg)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	var log bytes.Buffer
	return newWebhooks(ln, cfg, db, slog.New(slog.NewTextHandler(&log, nil))), db, &log
}

// post gives the status of a report.
func post(w *webhooks, provider, signature, body string) int {
	r := httptest.NewRequest(http.MethodPost, "/"+provider, strings.NewReader(body))
	r.RemoteAddr = "192.0.2.7:4000"
	if signature != "" {
		r.Header.Set(schemes[provider].header, signature)
	}
	rw := httptest.NewRecorder()
	w.ServeHTTP(rw, r)
	return rw.Code
}

func TestWebhookCredits(t *testing.T) {
	w, db, log := hooked(t, nil)
	for i, report := range []struct{ provider, signature, body, result string }{
		{"paystack", hex512("new", paystackReport), paystackReport, "credited"},
		{"paystack", hex512("old", paystackReport), paystackReport, "repeated"},
		{"monnify", hex512("m", monnifyReport), monnifyReport, "credited"},
		{"flutterwave", base256("f", flutterwaveReport), flutterwaveReport, "credited"},
		{"flutterwave-v3", "hash", oldFlutterwave, "credited"},
		{"flutterwave-v3", "hash", oldFlutterwave, "repeated"},
	} {
		before := testutil.ToFloat64(w.reports.WithLabelValues(report.provider, report.result))
		if code := post(w, report.provider, report.signature, report.body); code != http.StatusOK {
			t.Errorf("%d: %s answers %d\n%s", i, report.provider, code, log)
		}
		if testutil.ToFloat64(w.reports.WithLabelValues(report.provider, report.result)) != before+1 {
			t.Errorf("%d: %s is not %s", i, report.provider, report.result)
		}
	}
	wallet, err := db.Wallet(t.Context(), "2348031234567")
	if err != nil || wallet.Balance != 4*500_00 {
		t.Errorf("wallet %+v, %v", wallet, err)
	}
	if r, err := db.CheckLedger(t.Context()); err != nil || len(r.Violations) != 0 {
		t.Errorf("ledger %+v, %v", r, err)
	}
}

func TestWebhookRefuses(t *testing.T) {
	w, db, _ := hooked(t, nil)
	for _, test := range []struct {
		name, provider, signature, body string
		want                            int
	}{
		{"no signature", "paystack", "", paystackReport, http.StatusUnauthorized},
		{"not hex", "paystack", "zz", paystackReport, http.StatusUnauthorized},
		{"another secret", "paystack", hex512("x", paystackReport), paystackReport, http.StatusUnauthorized},
		{"another body", "paystack", hex512("new", paystackReport), strings.Replace(paystackReport, "50000", "50001", 1), http.StatusUnauthorized},
		{"another provider's", "monnify", hex512("new", monnifyReport), monnifyReport, http.StatusUnauthorized},
		{"hex for base64", "flutterwave", hex512("f", flutterwaveReport), flutterwaveReport, http.StatusUnauthorized},
		{"wrong hash", "flutterwave-v3", "Hash", oldFlutterwave, http.StatusUnauthorized},
		{"not confirmed", "flutterwave-v3", "hash", strings.Replace(oldFlutterwave, "285959875", "1", 1), http.StatusServiceUnavailable},
		{"unreadable, and signed", "paystack", hex512("new", "{"), "{", http.StatusBadRequest},
		{"unreadable, and not signed", "paystack", "", "{", http.StatusUnauthorized},
		{"no such provider", "opay", "x", "{}", http.StatusNotFound},
		{"too long", "paystack", "x", strings.Repeat(" ", maxReport+1), http.StatusRequestEntityTooLarge},
	} {
		if code := post(w, test.provider, test.signature, test.body); code != test.want {
			t.Errorf("%s: %d, want %d", test.name, code, test.want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/paystack", nil)
	rw := httptest.NewRecorder()
	if w.mux.ServeHTTP(rw, r); rw.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", rw.Code)
	}
	if list, err := db.ListDeposits(t.Context(), false, 0); err != nil || len(list) != 0 {
		t.Errorf("deposits %+v, %v", list, err)
	}
}

func TestWebhookOddReports(t *testing.T) {
	w, db, log := hooked(t, nil)
	for _, test := range []struct {
		name, old, new, result string
	}{
		{"another event", "charge.success", "transfer.success", "ignored"},
		{"not paid", `"status":"success"`, `"status":"failed"`, "ignored"},
		{"dollars", "NGN", "USD", "foreign"},
		{"unknown account", "9930000001", "08031234567", "suspense"},
		{"the same with another amount", "50000", "50001", "mismatch"},
		{"odd reference", "ps-1", strings.Repeat("x", 121), "invalid"},
		{"a refund", `"charge.success","data":{`, `"refund.processed","data":{"transaction_reference":"ps-1",`, "undone"},
		{"a dispute", `"charge.success","data":{`, `"charge.dispute.create","data":{"transaction":{"reference":"ps-1"},`, "undone"},
		{"data of another shape", `"charge.success","data":{`, `"subscription.expiring_cards","data":[],"x":{`, "ignored"},
	} {
		body := strings.Replace(paystackReport, test.old, test.new, 1)
		if code := post(w, "paystack", hex512("old", body), body); code != http.StatusOK {
			t.Errorf("%s: %d", test.name, code)
		}
		if n := testutil.ToFloat64(w.reports.WithLabelValues("paystack", test.result)); n < 1 {
			t.Errorf("%s is not %s\n%s", test.name, test.result, log)
		}
	}
	if list, err := db.ListDeposits(t.Context(), true, 0); err != nil || len(list) != 1 || string(list[0].Body) == "" {
		t.Errorf("suspense %+v, %v", list, err)
	}
	if strings.Contains(log.String(), "08031234567") {
		t.Errorf("the log has a whole number:\n%s", log)
	}
}

func TestWebhookSources(t *testing.T) {
	set := func(proxy string) func(*webhookConfig) {
		return func(c *webhookConfig) {
			c.Sources = sources{"paystack": {netip.MustParsePrefix("52.31.139.75/32")}}
			c.Proxies = networks{netip.MustParsePrefix(proxy)}
		}
	}
	for proxy, want := range map[string]int{"192.0.2.0/24": http.StatusOK, "10.0.0.0/8": http.StatusForbidden} {
		w, _, _ := hooked(t, set(proxy))
		r := httptest.NewRequest(http.MethodPost, "/paystack", strings.NewReader(paystackReport))
		r.RemoteAddr = "192.0.2.7:4000"
		r.Header.Set("X-Forwarded-For", "1.1.1.1, 52.31.139.75")
		r.Header.Set("X-Paystack-Signature", hex512("new", paystackReport))
		rw := httptest.NewRecorder()
		if w.mux.ServeHTTP(rw, r); rw.Code != want {
			t.Errorf("proxies %s: %d, want %d", proxy, rw.Code, want)
		}
	}
}

// TestWebhookTakesNoMore: what there is no room for is to be reported again.
func TestWebhookTakesNoMore(t *testing.T) {
	w, _, log := hooked(t, nil)
	for range maxReports {
		w.slots <- struct{}{}
	}
	if code := post(w, "paystack", "00", paystackReport); code != http.StatusUnauthorized {
		t.Errorf("%d to a stranger: he waits for a place", code)
	}
	if code := post(w, "paystack", hex512("new", paystackReport), paystackReport); code != http.StatusServiceUnavailable {
		t.Errorf("%d", code)
	}
	<-w.slots
	if code := post(w, "paystack", hex512("new", paystackReport), paystackReport); code != http.StatusOK {
		t.Errorf("%d with room", code)
	}
	w.books = nil // a report that panics gives its place back, and comes again
	body := strings.Replace(paystackReport, "ps-1", "ps-2", 1)
	if code := post(w, "paystack", hex512("new", body), body); code != http.StatusInternalServerError || testutil.ToFloat64(w.panics) != 1 ||
		!strings.Contains(log.String(), "level=ERROR msg=\"a webhook panicked\"") {
		t.Errorf("%d after a panic, log %s", code, log)
	}
	if n := len(w.slots); n != maxReports-1 {
		t.Errorf("%d places are taken", n)
	}
}

// TestWebhookLongAccount: an account that cannot be anybody's is nobody's, and its
// money is in the books all the same.
func TestWebhookLongAccount(t *testing.T) {
	w, db, log := hooked(t, nil)
	body := strings.Replace(paystackReport, "9930000001", strings.Repeat("9", 1000), 1)
	if code := post(w, "paystack", hex512("new", body), body); code != http.StatusOK {
		t.Errorf("%d\n%s", code, log)
	}
	if list, err := db.ListDeposits(t.Context(), true, 0); err != nil || len(list) != 1 || list[0].Amount != 500_00 || list[0].Account != strings.Repeat("9", maxAccount) {
		t.Errorf("suspense %+v, %v", list, err)
	}
}

func TestNews(t *testing.T) {
	for event, want := range map[string]news{"charge.success": paid, "refund.pending": undone, "charge.dispute.create": undone, "SUCCESSFUL_REFUND": undone,
		"chargeback.initiated": undone, "SUCCESSFUL_REVERSAL": undone, "transfer.success": other, "": other} {
		if got := newsOf(event, "charge.success"); got != want {
			t.Errorf("%s: %d", event, got)
		}
	}
	for name, body := range map[string]string{"monnify": `{"eventType":"SUCCESSFUL_REFUND","eventData":{"transactionReference":"MNFY|1","refundAmount":5}}`,
		"flutterwave": `{"event":"refund.completed","data":{"id":7}}`, "paystack": `{"event":"refund.processed","data":{"transaction_reference":"ps-1","amount":"odd"}}`} {
		if d, what, err := schemes[name].read([]byte(body)); what != undone || d.Reference == "" || err != nil {
			t.Errorf("%s: %+v, %d, %v", name, d, what, err)
		}
	}
}

func TestWebhookRun(t *testing.T) {
	w, _, _ := hooked(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	req, err := http.NewRequest(http.MethodPost, "http://"+w.listen.Addr().String()+"/paystack", strings.NewReader(paystackReport))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-paystack-signature", hex512("new", paystackReport))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// crowd is a listener to which somebody always wants to connect, and then says
// nothing.
type crowd struct {
	net.Listener
	clients chan net.Conn
}

func (c crowd) Accept() (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case c.clients <- theirs:
		return ours, nil
	default:
		return nil, net.ErrClosed
	}
}

// TestWebhookConnections: who connects and says nothing takes no more than so much
// of the daemon, and is sent away after a while.
func TestWebhookConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := webhookConfig{Providers: func() map[string]provider { return nil }}
		to := crowd{&net.TCPListener{}, make(chan net.Conn, 2*maxReporters)}
		ended := make(chan error, 1)
		go func() { ended <- newWebhooks(to, cfg, nil, slog.New(slog.DiscardHandler)).Run(t.Context()) }()
		synctest.Wait()
		if n := len(to.clients); n != maxReporters {
			t.Errorf("%d connections, want %d", n, maxReporters)
		}
		<-time.After(reportTimeout)
		if err := <-ended; !errors.Is(err, net.ErrClosed) || len(to.clients) != 2*maxReporters {
			t.Errorf("%d connections after a while, %v", len(to.clients), err)
		}
		<-time.After(reportTimeout)
	})
}

func TestVerifyFlutterwave(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		answer string
		ok     bool
	}{
		"the same":       {200, `{"status":"success","data":{"id":285959875,"status":"successful","amount":500,"currency":"NGN","tx_ref":"ours-4"}}`, true},
		"another amount": {200, `{"status":"success","data":{"id":285959875,"status":"successful","amount":5,"currency":"NGN","tx_ref":"ours-4"}}`, false},
		"not paid":       {200, `{"status":"success","data":{"id":285959875,"status":"failed","amount":500,"currency":"NGN","tx_ref":"ours-4"}}`, false},
		"unknown":        {404, `{}`, false},
		"not JSON":       {200, `<html>`, false},
	} {
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v3/transactions/285959875/verify" || r.Header.Get("Authorization") != "Bearer key" {
				t.Errorf("asked %s", r.URL)
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.answer)
		}))
		d, what, err := readFlutterwave([]byte(oldFlutterwave))
		if err != nil || what != paid {
			t.Fatal(err)
		}
		if err := verifyFlutterwave(api.Client(), api.URL+"/", "key")(t.Context(), d); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		api.Close()
	}
}

func TestNaira(t *testing.T) {
	for in, want := range map[text]int64{"180000.00": 180000_00, "100.0000": 100_00, "0.5": 50, "500": 500_00, "1.005": 0, "-1": 0, "": 0, "1e3": 0, ".5": 0,
		"99999999999999999999": 0, "0": 0} {
		if got, err := in.naira(); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v, want %d", in, got, err, want)
		}
	}
}
