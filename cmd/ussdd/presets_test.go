package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"ussdd/scripts/stack"
	"ussdd/store"
	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// TestPresets sells through each preset with the real desk and store, to the
// imitation of its provider, until the purchase is decided.
func TestPresets(t *testing.T) {
	bin := t.TempDir()
	if err := stack.Build(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	sim := stack.New(bin, t.TempDir())
	defer sim.Close()
	if _, err := sim.Vendorsim(t.Context(), "-presets"); err != nil {
		t.Fatal(err)
	}
	// These can only be asked by their own reference, which a lost answer takes
	// with it: then somebody must look.
	mute := map[string]string{"africastalking": "needs_review", "flutterwave": "needs_review"}
	delivered := 0
	for i, c := range []struct {
		fault, want string            // state and reason
		but         map[string]string // by vendor
		moved       bool              // the recipient has the airtime
	}{
		{fault: "none", want: "delivered", moved: true},
		{fault: "decline", want: "failed declined:bad_number", but: map[string]string{"vtpass": "failed declined:refused", "baxi": "failed declined:refused"}},
		{fault: "pending_delivered", want: "delivered", moved: true},
		{fault: "pending_failed", want: "failed declined:refused"},
		{fault: "error_after", want: "delivered", but: mute, moved: true},
		{fault: "error_before", want: "failed not_sent:missing", but: mute},
	} {
		names, err := fs.Glob(vendors.Presets(), "*.yaml")
		if err != nil || len(names) < 8 {
			t.Fatal(names, err)
		}
		for _, name := range names {
			vendor := strings.TrimSuffix(name, ".yaml")
			if vendor == "routes" {
				continue
			}
			t.Run(vendor+" "+c.fault, func(t *testing.T) {
				if err := sim.Fault(t.Context(), vendor, c.fault); err != nil {
					t.Fatal(err)
				}
				// VTpass refuses yesterday's references, and sells once in half a minute to a number.
				if err := stack.OneDay(t.Context(), time.Minute); err != nil {
					t.Fatal(err)
				}
				p, attempts := sellOnce(t, sim, vendor, fmt.Sprintf("23480312300%02d", i))
				want, ok := c.but[vendor]
				if !ok {
					want = c.want
				}
				if got := strings.TrimSpace(p.State + " " + p.Reason); got != want && !(want == "needs_review" && p.State == want) {
					t.Errorf("%s, want %s: %+v", got, want, attempts)
				}
				if len(attempts) != 1 || attempts[0].Vendor != vendor || attempts[0].Reference == "" {
					t.Errorf("attempts %+v", attempts)
				}
				if c.moved {
					delivered++
				}
				sold, err := sim.Deliveries(t.Context())
				if err != nil || sold.Delivered != delivered || sold.Doubled != 0 {
					t.Errorf("%d delivered, %d doubled, %v; want %d", sold.Delivered, sold.Doubled, err, delivered)
				}
			})
		}
	}
}

// sellOnce buys MTN airtime through one preset, with a desk and a store of their
// own, and has the vendor asked whenever its plan says so until nobody is to ask
// any more. The plan's hours pass on a clock of the test's.
func sellOnce(t *testing.T, sim *stack.Stack, vendor, recipient string) (purchase.Purchase, []purchase.Attempt) {
	t.Helper()
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
	set := presetsAt(t, sim, vendor)
	defer set.CloseIdleConnections()
	waiting, enough := context.WithCancel(t.Context())
	defer enough()
	desk := purchase.New(purchase.Config{Now: now, NewID: store.NewID, Log: slog.New(slog.DiscardHandler), Boundary: func(name string) {
		if name == "after-record-pending" {
			enough()
		}
	}}, ledger{db}, purchase.Sets(func() *vendors.Set { return set }))
	p, err := desk.Buy(waiting, purchase.Order{Key: "k", MSISDN: amina, Recipient: recipient, Network: "mtn", Amount: 100_00})
	for err == nil && p.State == purchase.Pending {
		ahead.Add(int64(p.NextAt.Sub(now())) + int64(time.Millisecond))
		p, err = desk.Check(t.Context(), amina, p.Ref)
	}
	if err = errors.Join(err, desk.Drain(t.Context())); err != nil {
		t.Fatal(err)
	}
	stored, attempts, err := ledger{db}.Purchase(t.Context(), p.Ref)
	if err != nil || stored != p {
		t.Errorf("bought %+v, stored %+v, %v", p, stored, err)
	}
	if report, err := db.CheckLedger(t.Context()); err != nil || report.Sum != 0 || slices.ContainsFunc(report.Violations, func(v store.Violation) bool { return v.Rule != "customers-covered" }) {
		t.Errorf("ledger %+v, %v", report, err)
	}
	return stored, attempts
}

// presetsAt loads the presets, pointed at their imitations, with a route of one
// vendor. change is what is to be replaced in them, and by what.
func presetsAt(t *testing.T, sim *stack.Stack, vendor string, change ...string) *vendors.Set {
	t.Helper()
	opt := vendors.Options{URLs: map[string]string{"reloadly.token": "http://" + sim.Vendors["reloadly"]},
		Secrets: func(name string) (string, bool) { return "any", !strings.HasSuffix(name, "-next") }}
	files := fstest.MapFS{}
	names, err := fs.Glob(vendors.Presets(), "*.yaml")
	for _, name := range names {
		if data, e := fs.ReadFile(vendors.Presets(), name); e == nil {
			files[name] = &fstest.MapFile{Data: []byte(strings.NewReplacer(change...).Replace(string(data)))}
		} else {
			err = e
		}
	}
	var plain *vendors.Set
	if err == nil {
		plain, err = vendors.Load(files, opt)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range plain.Vendors() {
		base, err := url.Parse(v.Base)
		if err != nil {
			t.Fatal(err)
		}
		opt.URLs[v.Vendor] = "http://" + sim.Vendors[v.Vendor] + base.Path
	}
	routes := "networks:\n"
	for _, network := range []string{"mtn", "airtel", "glo", "9mobile"} {
		routes += fmt.Sprintf("  %s: {name: %s, min: N50, max: \"N50,000\", route: [%s]}\n", network, strings.ToUpper(network), vendor)
	}
	files["routes.yaml"] = &fstest.MapFile{Data: []byte(routes)}
	set, err := vendors.Load(files, opt)
	if err != nil {
		t.Fatal(err)
	}
	return set
}
