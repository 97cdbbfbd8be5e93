package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"

	"ussdd/scripts/stack"
	"ussdd/store"
	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// asked notes which sales a vendor is to be asked about.
type asked struct {
	refs []string
	soon bool
	err  error
}

func (a *asked) AskSoon(_ context.Context, vendor, reference, vendorRef string) (bool, error) {
	a.refs = append(a.refs, strings.TrimSpace(vendor+" "+reference+" "+vendorRef))
	return a.soon, a.err
}

// TestCallbackWithTheVendorsReference sells through Africa's Talking's imitation,
// whose report of the sale has none of our references: it is asked at once, an
// hour before its time, and its answer counts.
func TestCallbackWithTheVendorsReference(t *testing.T) {
	bin := t.TempDir()
	if err := stack.Build(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	sim := stack.New(bin, t.TempDir())
	defer sim.Close()
	if _, err := sim.Vendorsim(t.Context(), "-presets"); err != nil {
		t.Fatal(err)
	}
	if err := sim.Fault(t.Context(), "africastalking", "pending_delivered"); err != nil {
		t.Fatal(err)
	}
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db"), store.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	const amina = "2348030000001"
	if _, _, err := db.Credit(t.Context(), store.Operation{Operator: "ngozi", Reason: "funds"}, amina, 1000_00, "test", "1"); err != nil {
		t.Fatal(err)
	}
	set := presetsAt(t, sim, "africastalking", "path: /query/transaction/find\n", "path: /query/transaction/find\n  after: 1h\n")
	defer set.CloseIdleConnections()
	waiting, enough := context.WithCancel(t.Context())
	defer enough()
	decided := make(chan struct{})
	desk := purchase.New(purchase.Config{Owner: ownerName(store.NewID()), Now: now, NewID: store.NewID, Boundary: func(name string) {
		switch name {
		case "after-record-pending":
			enough()
		case "after-record-delivered":
			close(decided)
		}
	}}, ledger{db}, purchase.Sets(func() *vendors.Set { return set }))
	ran := make(chan error, 1)
	go func() { ran <- desk.Run(context.WithoutCancel(t.Context())) }()
	p, err := desk.Buy(waiting, purchase.Order{Key: "k", MSISDN: amina, Recipient: "2348031230012", Network: "mtn", Amount: 100_00})
	if err != nil || p.State != purchase.Pending || p.NextAt.Sub(now()) < 59*time.Minute {
		t.Fatalf("%+v, %v", p, err)
	}
	_, attempts, err := ledger{db}.Purchase(t.Context(), p.Ref)
	if err != nil || len(attempts) != 1 || attempts[0].VendorRef == "" {
		t.Fatalf("%+v, %v", attempts, err)
	}

	c := newCallbacks(func() *vendors.Set { return set }, db, slog.New(slog.DiscardHandler))
	server := httptest.NewServer(c)
	defer server.Close()
	url := server.URL + "/vendor/africastalking/any"
	lie := func(vendorRef string) (status int) {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/vendor/africastalking/any", strings.NewReader("status=Failed&requestId="+vendorRef)))
		return w.Code
	}
	if status := lie("ATQid_99999999"); status != http.StatusOK {
		t.Errorf("a report of no sale of ours: %d", status)
	}
	if status, err := sim.Callback(t.Context(), "africastalking", attempts[0].Reference, url); err != nil || status != http.StatusOK {
		t.Errorf("%d, %v", status, err)
	}
	if status := lie(attempts[0].VendorRef); status != http.StatusOK {
		t.Errorf("a report that lies: %d", status)
	}
	for _, result := range []string{"unknown", "asked", "quiet"} {
		if n := testutil.ToFloat64(c.reports.WithLabelValues(result)); n != 1 {
			t.Errorf("%v are %s, want 1", n, result)
		}
	}
	ahead.Store(int64(time.Minute)) // past the moment in which an answer is awaited
	select {
	case <-decided:
	case <-t.Context().Done():
		t.Fatal("the vendor is never asked")
	}
	if err := errors.Join(desk.Drain(t.Context()), <-ran); err != nil {
		t.Error(err)
	}
	p, attempts, err = ledger{db}.Purchase(t.Context(), p.Ref)
	if err != nil || p.State != purchase.Delivered || attempts[0].Queries != 1 {
		t.Errorf("%+v, %+v, %v", p, attempts, err)
	}
}

func TestCallbacks(t *testing.T) {
	set, err := vendors.Load(vendors.Presets(), vendors.Options{Secrets: func(name string) (string, bool) {
		return "the-secret-of-" + name, !strings.HasSuffix(name, "-next")
	}})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	to := &asked{soon: true}
	c := newCallbacks(func() *vendors.Set { return set }, to, slog.New(slog.NewTextHandler(&log, nil)))
	const address = "/vendor/vtpass/the-secret-of-vtpass-callback"
	report := func(method, path, body string, status int, result string) *httptest.ResponseRecorder {
		t.Helper()
		before := testutil.ToFloat64(c.reports.WithLabelValues(result))
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		if w.Code != status || testutil.ToFloat64(c.reports.WithLabelValues(result)) != before+1 {
			t.Errorf("%s %s: %d, want %d %s", method, path, w.Code, status, result)
		}
		return w
	}
	const body = `{"type":"transaction-update","data":{"requestId":"202611231505TXNz2d1","content":{"transactions":{"status":"delivered"}}}}`
	w := report("POST", address, body, http.StatusOK, "asked")
	if got := w.Body.String(); got != `{"response":"success"}` || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("answered %s", got)
	}
	to.soon = false
	report("POST", address, body, http.StatusOK, "quiet")
	to.err = store.ErrNotFound
	report("POST", address, body, http.StatusOK, "unknown")
	to.err = errors.New("the database is down")
	report("POST", address, body, http.StatusServiceUnavailable, "failed")
	if want := slices.Repeat([]string{"vtpass 202611231505TXNz2d1"}, 4); !slices.Equal(to.refs, want) {
		t.Errorf("asked about %q", to.refs)
	}

	to.refs, to.err = nil, nil
	report("POST", address, `{"data":{}}`, http.StatusBadRequest, "unreadable")
	report("POST", address, strings.Repeat(" ", maxCallback+1), http.StatusRequestEntityTooLarge, "refused")
	report("PUT", address, body, http.StatusMethodNotAllowed, "refused")
	for _, path := range []string{"/vendor/vtpass/wrong", "/vendor/vtpass/", "/vendor/vtpass", "/vendor/", "/vendor/dtone/the-secret-of-dtone-callback", address + "/x"} {
		report("POST", path, body, http.StatusNotFound, "refused")
	}
	c.limit = rate.NewLimiter(0, 0) // somebody who knows the address has used it up
	report("POST", address, body, http.StatusTooManyRequests, "busy")
	if len(to.refs) != 0 {
		t.Errorf("asked about %q", to.refs)
	}
	if strings.Contains(log.String(), "the-secret-of") {
		t.Errorf("the log has the secret:\n%s", log.String())
	}
}
