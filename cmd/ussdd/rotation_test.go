package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ussdd/session"
	"ussdd/store"
	"ussdd/vendors"
)

const rotatingVendor = `vendor: acme
base: http://127.0.0.1:1
auth: {header: {name: X-Key, secret: acme-key}, refused: [{status: 401}]}
timeouts: {connect: 1m, total: 5m}
networks: {mtn: {code: MTN}}
vend:
  method: POST
  path: /topups
  json: {to: "{phone|intl}", kobo: "{amount|kobo|number}", ref: "{reference}"}
  rules:
    - {status: 200, json: {state: DONE}, then: delivered}
query:
  method: GET
  path: /topups/{reference}
  rules:
    - {status: 200, json: {state: DONE}, then: delivered}
`

// TestRotation exchanges a vendor's secret by reloads while purchases are under way. The vendor
// takes the old one up to a moment, and only the new one from then on. What an operator has forced
// outlives the reloads.
func TestRotation(t *testing.T) {
	var mu sync.Mutex
	valid, sold, refused := "one", map[string]int{}, 0
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var sale struct{ Ref string }
		if err := json.NewDecoder(r.Body).Decode(&sale); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("X-Key") != valid {
			refused++
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		sold[sale.Ref]++
		_, _ = io.WriteString(w, `{"state":"DONE"}`)
	}))
	defer vendor.Close()
	dir, files, secrets := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(files, "acme.yaml"), rotatingVendor)
	write(t, filepath.Join(files, "routes.yaml"), "networks:\n  mtn: {name: MTN, min: N50, max: N500, route: [acme]}\n")
	write(t, filepath.Join(secrets, "acme-key"), "one\n")
	set(t, oneSMSC(map[string]string{"USSDD_VENDORS": files, "USSDD_SECRETS_DIR": secrets, "USSDD_VENDOR_URLS": "acme=" + vendor.URL,
		"USSDD_STEP_BUDGET": "1m", "USSDD_SESSION_IDLE": "2m", "USSDD_VEND_TIMEOUT": "5m", "USSDD_LEASE": "5m", "USSDD_DATABASE": "sqlite:" + filepath.Join(dir, "ussdd.db")}))
	d := newDaemon(t)

	asOrdered := vendors.Override{State: vendors.ForcedClosed, Reason: "as agreed", By: "amina", Until: time.Now().Add(24 * time.Hour)}
	if _, err := d.data.Load().vendors.Override("acme/mtn/query", asOrdered); err != nil {
		t.Fatal(err)
	}

	// Each phase is 8 subscribers at a time, and the change comes in the middle of it.
	till := counter{d.desk, &d.data, d.log}
	bought := 0
	phase := func(change func()) {
		t.Helper()
		const buyers, each = 8, 4
		done := make(chan struct{}, buyers*each)
		for range buyers {
			first := bought
			bought += each
			go func() {
				for i := first; i < first+each; i++ {
					msisdn := fmt.Sprint(2348030000000 + i)
					_, _, err := d.db.Credit(t.Context(), store.Operation{Operator: "ngozi", Reason: "funds"}, msisdn, 100_00, "test", msisdn)
					if err != nil {
						t.Error(err)
					}
					r, err := till.Buy(t.Context(), session.Order{Key: msisdn, Session: int64(i + 1), MSISDN: msisdn, Recipient: msisdn, Network: "mtn", Amount: 100_00})
					if err != nil || r.Outcome != "delivered" {
						t.Errorf("%v, %+v", err, r)
					}
					done <- struct{}{}
				}
			}()
		}
		for range buyers * each / 2 {
			<-done
		}
		change()
		for range buyers * each / 2 {
			<-done
		}
	}
	phase(func() {
		write(t, filepath.Join(secrets, "acme-key-next"), "two\n")
		d.reload(t.Context())
	})
	phase(func() {
		mu.Lock()
		valid = "two"
		mu.Unlock()
	})
	phase(func() {
		write(t, filepath.Join(secrets, "acme-key"), "two\n")
		if err := os.Remove(filepath.Join(secrets, "acme-key-next")); err != nil {
			t.Error(err)
		}
		d.reload(t.Context())
	})
	mu.Lock()
	before := refused
	mu.Unlock()
	phase(func() {})

	for _, b := range d.data.Load().vendors.Breakers() {
		if forced := b.Name == "acme/mtn/query"; forced != (b.Forced != nil) {
			t.Errorf("after the reloads: %+v", b)
		}
	}
	if len(sold) != bought || before == 0 || refused != before {
		t.Errorf("%d bought, %d sold, %d refused and then %d", bought, len(sold), before, refused)
	}
	for ref, n := range sold {
		if n != 1 {
			t.Errorf("%s delivered %d times", ref, n)
		}
	}
}
