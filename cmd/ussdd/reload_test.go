package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ussdd/store"
	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// A vendor of the test: more is added to its file.
const reloadVendor = `vendor: NAME
base: URL
auth: none
networks: {mtn: {code: MTN}}
vend:
  method: POST
  path: /NAME
  json: {to: "{phone|intl}", kobo: "{amount|kobo}", ref: "{reference}"}
  rules:
    - {status: 200, json: {state: DONE}, then: delivered}
    - {json: {state: CLOSED}, then: declined, reason: down}
query:
  method: GET
  path: /NAME/{reference}
  rules:
    - {json: {state: DONE}, then: delivered}
`

// TestReloadUnderLoad reads changed vendors again and again while purchases run:
// nothing in flight is lost, an open breaker stays open and a limit of calls keeps
// count, for every vendor whose own file has not changed.
func TestReloadUnderLoad(t *testing.T) {
	const (
		reloads  = 6
		allowed  = 50 // calls of the vendor that works, in a day
		sellers  = 4
		between  = 8 // purchases decided from one reload to the next
		openTime = 15 * time.Second
		trips    = 5 // failures in a row that open a breaker
	)
	var closedCalls, openCalls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/closed") {
			closedCalls.Add(1)
			fmt.Fprint(w, `{"state":"CLOSED"}`)
			return
		}
		openCalls.Add(1)
		fmt.Fprint(w, `{"state":"DONE"}`)
	}))
	defer server.Close()
	dir := t.TempDir()
	files := map[string]string{
		"closed.yaml": vendorText("closed", server.URL, ""),
		"open.yaml":   vendorText("open", server.URL, fmt.Sprintf("rate: {calls: %d, per: 24h, burst: %[1]d}\n", allowed)),
		"other.yaml":  vendorText("other", server.URL, ""),
		"routes.yaml": "networks:\n  mtn: {name: MTN, min: N50, max: \"N50,000\", route: [closed, open]}\n",
	}
	write := func() {
		t.Helper()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write()
	set(t, map[string]string{"USSDD_SMSCS": "mtn", "USSDD_SMSC_MTN_ADDR": "127.0.0.1:1", "USSDD_SMSC_MTN_SYSTEM_ID": "vas",
		"USSDD_DATABASE": "sqlite:" + filepath.Join(t.TempDir(), "ussdd.db"), "USSDD_VENDORS": dir})
	d := newDaemon(t)

	// One after the other until the breaker opens, then at once.
	var serial, decided, delivered atomic.Int64
	buy := func() {
		order := purchase.Order{Key: fmt.Sprint("k", serial.Add(1)), MSISDN: amina, Recipient: amina, Network: "mtn", Amount: 50_00, Again: true}
		p, err := d.desk.Buy(t.Context(), order)
		switch {
		case err != nil || p.Open():
			t.Errorf("%+v, %v", p, err)
		case p.State == purchase.Delivered:
			delivered.Add(1)
		case p.Reason != "unavailable:"+vendors.ReasonBusy:
			t.Errorf("%s for %s", p.State, p.Reason)
		}
		decided.Add(1)
	}
	opened := time.Now() // or a little later
	for range trips {
		buy()
	}
	if n := closedCalls.Load(); n != trips {
		t.Fatalf("%d calls until the breaker opened", n)
	}
	var selling sync.WaitGroup
	progress, done := make(chan struct{}), make(chan struct{})
	for range sellers {
		selling.Go(func() {
			for {
				buy()
				select {
				case progress <- struct{}{}:
				case <-done:
					return
				}
			}
		})
	}
	for i := range reloads {
		for range between {
			<-progress
		}
		files["other.yaml"] = vendorText("other", server.URL, fmt.Sprintf("max_body: %d\n", 2048+i))
		write()
		before := d.data.Load()
		d.reload(t.Context())
		if d.data.Load() == before {
			t.Fatal("the reload was refused")
		}
	}
	for range between {
		<-progress
	}
	close(done)
	selling.Wait()

	// A breaker that is open lets one call try again after a time.
	tried := int64(time.Since(opened) / openTime)
	if n := closedCalls.Load(); n < trips || n > trips+tried {
		t.Errorf("%d calls of the closed vendor after %v: its breaker was forgotten", n, time.Since(opened))
	}
	if n, sold := openCalls.Load(), delivered.Load(); n != allowed || sold != allowed || decided.Load() <= allowed {
		t.Errorf("%d calls of the open vendor and %d deliveries of %d, where %d are allowed", n, sold, decided.Load(), allowed)
	}
	if report, err := d.db.CheckLedger(t.Context()); err != nil || report.Sum != 0 {
		t.Errorf("ledger %+v, %v", report, err)
	}

	// The vendor's own change is another matter.
	files["closed.yaml"] = vendorText("closed", server.URL, "max_body: 2048\n")
	write()
	d.reload(t.Context())
	before := closedCalls.Load()
	buy()
	if n := closedCalls.Load(); n != before+1 {
		t.Errorf("%d calls of the vendor that has changed", n-before)
	}
}

const amina = "2348031234567"

func vendorText(name, base, more string) string {
	return strings.NewReplacer("NAME", name, "URL", base).Replace(reloadVendor) + more
}

// newDaemon wires a daemon by the environment, with a database and money in it,
// and has its purchases worked on until the end of the test.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	cfg, bad := loadConfig()
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	d := &daemon{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	loaded, err := loadData(cfg, nil, d.log)
	if err != nil {
		t.Fatal(err)
	}
	d.data.Store(loaded)
	if d.db, err = openStore(t.Context(), cfg, d.log); err != nil {
		t.Fatal(err)
	}
	d.services = &services{data: &d.data, db: d.db, cfg: cfg}
	if err := d.wire(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.db.Credit(t.Context(), store.Operation{Operator: "ngozi", Reason: "funds"}, amina, 1_000_000_00, "test", "1"); err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context()) // which ends before the clean-up
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.desk.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := d.desk.Drain(ctx); err != nil {
			t.Error(err)
		}
		running.Wait()
		d.data.Load().vendors.CloseIdleConnections()
		if err := d.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
