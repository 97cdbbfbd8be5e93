package control_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"ussdd/cmd/ussdd/control"
	"ussdd/vendors"
)

// withVendors gives the rig the built-in vendors. Nobody calls them.
func withVendors(t *testing.T) *rig {
	t.Helper()
	r := serve(t)
	var err error
	if r.set, err = vendors.Load(vendors.Builtin(), vendors.Options{}); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBreakers(t *testing.T) {
	r := withVendors(t)
	var acts []control.Act
	r.audit = func(a control.Act) error {
		acts = append(acts, a)
		return nil
	}
	all, err := r.client.Breakers(t.Context())
	if err != nil || len(all) != 24 || all[0] != (control.Breaker{Name: "9mobile/9mobile/query", State: "closed"}) {
		t.Fatalf("%v, %+v", err, all)
	}
	begin := time.Now()
	got, err := r.client.Override(t.Context(), control.BreakerOrder{Breaker: "quickvend/mtn", State: "open", Reason: "their call", By: "amina", Login: "tunde", Seconds: 1800})
	if err != nil || len(got) != 2 || got[0].Name != "quickvend/mtn/query" || got[1].State != "open" || got[1].Forced == nil {
		t.Fatalf("%v, %+v", err, got)
	}
	f := *got[1].Forced
	if f.Reason != "their call" || f.By != "amina" || f.Until.Before(begin.Add(30*time.Minute)) || f.Until.After(time.Now().Add(30*time.Minute)) {
		t.Errorf("%+v", f)
	}
	if all, err = r.client.Breakers(t.Context()); err != nil || len(all) != 24 {
		t.Fatal(err)
	}
	for _, b := range all {
		if forced := strings.HasPrefix(b.Name, "quickvend/mtn/"); forced != (b.State == "open") || forced != (b.Forced != nil) {
			t.Errorf("%+v", b)
		}
	}
	if got, err = r.client.Override(t.Context(), control.BreakerOrder{Breaker: "quickvend", State: "auto", Reason: "they are back", By: "bola"}); err != nil || len(got) != 8 || got[5].Forced != nil {
		t.Errorf("%v, %+v", err, got)
	}
	if len(acts) != 2 || acts[0].Action != "breaker open" || acts[0].Subject != "breaker quickvend/mtn" || acts[0].Operator != "amina" || acts[0].Login != "tunde" || acts[1].Login != "" ||
		acts[0].Reason != "their call" || !strings.HasPrefix(acts[0].Detail, "until "+f.Until.Format(time.RFC3339)+", uid ") ||
		acts[1].Action != "breaker auto" || !strings.HasPrefix(acts[1].Detail, "uid ") {
		t.Errorf("%+v", acts)
	}
	for _, want := range []string{`msg="operator: breaker open" breaker=quickvend/mtn operator=amina login=tunde reason="their call" seconds=1800 by="uid `,
		`msg="operator: breaker auto" breaker=quickvend operator=bola`} {
		if !strings.Contains(r.logged(), want) {
			t.Errorf("no %s in\n%s", want, r.logged())
		}
	}
}

// A database that is away keeps nobody from closing off a vendor.
func TestBreakerWithoutAuditLog(t *testing.T) {
	r := withVendors(t)
	r.audit = func(control.Act) error { return errors.New("the database is away") }
	got, err := r.client.Override(t.Context(), control.BreakerOrder{Breaker: "mtn/mtn/vend", State: "closed", Reason: "x", By: "amina", Seconds: 1})
	if err != nil || len(got) != 1 || got[0].Forced == nil {
		t.Errorf("%v, %+v", err, got)
	}
	if !strings.Contains(r.logged(), `level=ERROR msg="not in the audit log" action="breaker close" subject="breaker mtn/mtn/vend" operator=amina err="the database is away"`) {
		t.Error(r.logged())
	}
}

func TestBadBreakerOrders(t *testing.T) {
	r := withVendors(t)
	r.audit = func(a control.Act) error {
		t.Errorf("%+v", a)
		return nil
	}
	good := control.BreakerOrder{Breaker: "mtn/mtn/vend", State: "open", Reason: "x", By: "amina", Seconds: 60}
	for _, test := range []struct {
		change func(*control.BreakerOrder)
		status int
		detail string
	}{
		{func(o *control.BreakerOrder) { o.Breaker = "mtn/glo" }, http.StatusNotFound, `no breaker "mtn/glo"; see ussdctl breaker list`},
		{func(o *control.BreakerOrder) { o.State = "half-open" }, http.StatusUnprocessableEntity, `a breaker cannot be "half-open"`},
		{func(o *control.BreakerOrder) { o.Reason = " " }, http.StatusUnprocessableEntity, "the reason is missing"},
		{func(o *control.BreakerOrder) { o.Reason = "a\nb"; o.By = "" }, http.StatusUnprocessableEntity, "the reason is not one plain line; the operator's name is missing"},
		{func(o *control.BreakerOrder) { o.Reason = strings.Repeat("ẹ", 256) }, http.StatusUnprocessableEntity, "more than 255 characters"},
		{func(o *control.BreakerOrder) { o.By = strings.Repeat("a", 65) }, http.StatusUnprocessableEntity, "more than 64 characters"},
		{func(o *control.BreakerOrder) { o.Login = "tunde\n" }, http.StatusUnprocessableEntity, "the operator's login is not one plain line"},
		{func(o *control.BreakerOrder) { o.Seconds = 0 }, http.StatusUnprocessableEntity, "a second to 24h0m0s, not for 0s"},
		{func(o *control.BreakerOrder) { o.Seconds = 24*3600 + 1 }, http.StatusUnprocessableEntity, "not for 24h0m1s"},
		{func(o *control.BreakerOrder) { o.Seconds = -1 << 62 }, http.StatusUnprocessableEntity, "a second to 24h0m0s"},
	} {
		o := good
		test.change(&o)
		_, err := r.client.Override(t.Context(), o)
		r.refused(err, test.status, test.detail)
	}
	for _, body := range []string{"", "[]", `{"breaker":"mtn","force":true}`} {
		if resp, text := r.ask("POST", "/breakers", body); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s %s", body, resp.Status, text)
		}
	}
	for _, b := range r.set.Breakers() {
		if b.Forced != nil {
			t.Errorf("%+v", b)
		}
	}
}

func TestRoute(t *testing.T) {
	r := withVendors(t)
	if _, err := r.set.Override("mtn/mtn", vendors.Override{State: vendors.ForcedOpen, Reason: "their call", By: "amina", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	hops, err := r.client.Route(t.Context(), vendors.Ask{Network: "mtn", Amount: 100_00})
	if err != nil || len(hops) != 2 {
		t.Fatalf("%v, %+v", err, hops)
	}
	if h := hops[0]; h.Vendor != "mtn" || h.Try != 0 || h.Skipped != "breaker forced open: their call" || h.Breaker.Name != "mtn/mtn/vend" || h.Breaker.Forced.By != "amina" ||
		h.Float == nil || !h.Float.Known.IsZero() {
		t.Errorf("%+v", h)
	}
	if h := hops[1]; h.Vendor != "quickvend" || h.Try != 1 || h.Skipped != "" || h.Breaker.State != "closed" || h.Breaker.Forced != nil {
		t.Errorf("%+v", h)
	}
	at := time.Date(2026, 11, 23, 23, 30, 0, 0, time.UTC)
	if hops, err = r.client.Route(t.Context(), vendors.Ask{Network: "mtn", Amount: 100_00, Product: "data-1gb", Key: "TXN-1", At: at}); err != nil || hops[1].Skipped != "does not sell data-1gb" {
		t.Errorf("%v, %+v", err, hops)
	}
	_, err = r.client.Route(t.Context(), vendors.Ask{Network: "etisalat", Amount: 100_00})
	r.refused(err, http.StatusNotFound, `no network "etisalat"`)
	_, err = r.client.Route(t.Context(), vendors.Ask{Network: "mtn", Amount: 1_00})
	r.refused(err, http.StatusUnprocessableEntity, "MTN sells from N50 to N50,000")
	for _, query := range []string{"", "network=mtn&amount=x", "network=mtn&amount=-1", "network=mtn&amount=10000&at=noon"} {
		if resp, text := r.ask("GET", "/route?"+query, ""); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s %s", query, resp.Status, text)
		}
	}
}
