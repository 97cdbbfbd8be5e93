package stack_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"ussdd/smpp/smpptest"
)

// gate stands before a vendor and lets nothing through until it is opened.
func (r *rig) gate(vendor string) (open func()) {
	r.t.Helper()
	opened := make(chan struct{})
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.Vendors[vendor]})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case <-opened:
			to.ServeHTTP(w, req)
		case <-req.Context().Done():
		}
	}))
	r.t.Cleanup(srv.Close)
	r.Vendors[vendor] = srv.Listener.Addr().String()
	return func() { close(opened) }
}

// hangup ends the dialogue as a subscriber who has seen enough.
func (r *rig) hangup(h *smpptest.Handset) {
	r.t.Helper()
	if err := h.Hangup(r.ctx); err != nil {
		r.t.Fatal(err)
	}
}

// Who has seen no answer and dials again is asked before the same is bought a
// second time, and can look after the first instead.
func TestRedialAsksBeforeBuyingAgain(t *testing.T) {
	engines(t, func(t *testing.T, database func(*testing.T, string) string) {
		r := newRig(t, database)
		open := r.gate("mtn")
		r.daemon(brief, "USSDD_VENDORS="+vendorDir(t, r.Dir, false))
		h := r.sim.Handset(caller)
		confirm := func(see string) {
			t.Helper()
			r.walk(h, append(order(good), [2]string{"1", see})...)
		}
		then := func(text, see string) {
			t.Helper()
			if screen, err := h.Answer(r.ctx, text); err != nil || !strings.Contains(screen.Text, see) {
				t.Fatalf("typed %s and saw\n%s\n%v, want %q in it", text, screen.Text, err, see)
			}
		}
		const processing = "Processing your request..."
		confirm(processing)
		r.hangup(h)
		first := r.purchases()[0].Ref
		question := "N100 for " + good + " is still being processed (" + first + ").\n\n1. Check status\n2. Buy again\n0. Cancel"
		confirm(question)
		then("1", processing)
		r.hangup(h)
		confirm(question)
		then("0", "Nothing more was bought. Your purchase "+first+" goes on.")
		if rows := r.purchases(); len(rows) != 1 {
			t.Fatalf("asked, and bought %+v", rows)
		}
		confirm(question)
		then("2", processing)
		r.hangup(h)
		rows := r.purchases()
		if len(rows) != 2 || rows[1].Ref != first {
			t.Fatalf("wanted twice, and bought %+v", rows)
		}

		confirm("is still being processed (" + rows[0].Ref + ").")
		open()
		r.until(func() bool {
			screen, err := h.Answer(r.ctx, "1")
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(screen.Text, "Airtime Purchase Successful!") && strings.Contains(screen.Text, rows[0].Ref)
		})
		r.decided()
		confirm("Airtime Purchase Successful!")
		if rows := r.balanced(); len(rows) != 3 {
			t.Errorf("bought %+v", rows)
		}
	})
}
