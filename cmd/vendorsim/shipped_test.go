package main

import (
	"context"
	"strings"
	"testing"

	"ussdd/vendors"
)

// shipped are the vendors that ship with the daemon, pointed at the bench.
func (b *bench) shipped(key func(provider string) string) *vendors.Set {
	b.t.Helper()
	urls := make(map[string]string)
	for _, p := range b.sim.providers {
		urls[p.name] = b.url(p.name, "")
	}
	set, err := vendors.Load(vendors.Builtin(), vendors.Options{
		URLs: urls,
		Secrets: func(name string) (string, bool) {
			provider, ok := strings.CutSuffix(name, "-api-key")
			return key(provider), ok
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(set.CloseIdleConnections)
	return set
}

// TestShippedVendors holds the shipped vendors and the simulator together: each
// must mean the same by every answer.
func TestShippedVendors(t *testing.T) {
	t.Parallel()
	cases := []struct {
		fault   string
		outcome vendors.Outcome
		reason  string // of a decline
		final   bool
		found   vendors.FindingState
	}{
		{"none", vendors.Delivered, "", false, vendors.FoundDelivered},
		{"decline", vendors.Declined, vendors.ReasonBadNumber, true, vendors.NotFound},
		{"maintenance", vendors.Declined, vendors.ReasonDown, false, vendors.NotFound},
		{"float", vendors.Declined, vendors.ReasonFloat, false, vendors.NotFound},
		{"error_after", vendors.Ambiguous, "", false, vendors.FoundDelivered},
		{"error_before", vendors.Ambiguous, "", false, vendors.NotFound},
		{"reset", vendors.Ambiguous, "", false, vendors.FoundDelivered},
		{"garbage", vendors.Ambiguous, "", false, vendors.FoundDelivered},
		{"duplicate", vendors.Ambiguous, "", false, vendors.FoundDelivered},
		{"pending_delivered", vendors.Ambiguous, "", false, vendors.FoundDelivered},
		{"pending_failed", vendors.Ambiguous, "", false, vendors.FoundFailed},
		{"down", vendors.NotSent, "", false, vendors.Unknown},
	}
	key := func(provider string) string { return "key of " + provider }
	for _, c := range cases {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(set *settings) {
				set.keys = make(map[string]string)
				for _, of := range providerAPIs {
					set.keys[of.name] = key(of.name)
				}
			})
			for _, e := range b.shipped(key).Endpoints() {
				b.setFault(e.Vendor(), c.fault, 0)
				r := vendors.Request{Network: e.Network(), Recipient: "2348031234567", Amount: 100_00, Reference: "TXN-" + e.Network()}
				got := e.Vend(context.Background(), r)
				if got.Outcome != c.outcome || c.reason != "" && got.Reason != c.reason || got.Final != c.final {
					t.Errorf("%s: vend: %v %q final %t, want %v %q final %t; %s", e.Name(), got.Outcome, got.Reason, got.Final, c.outcome, c.reason, c.final, got.Detail)
				}
				if c.outcome == vendors.Delivered && (got.Cost != 97_00 || got.VendorRef == "") {
					t.Errorf("%s: cost %d, reference %q", e.Name(), got.Cost, got.VendorRef)
				}
				if found := e.Query(context.Background(), r, got.VendorRef); found.State != c.found {
					t.Errorf("%s: query: %v, want %v; %s", e.Name(), found.State, c.found, found.Detail)
				}
			}
		})
	}
}

func TestShippedVendorsWithAWrongKey(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(set *settings) {
		set.keys = make(map[string]string)
		for _, of := range providerAPIs {
			set.keys[of.name] = "right"
		}
	})
	for _, e := range b.shipped(func(string) string { return "wrong" }).Endpoints() {
		got := e.Vend(context.Background(), vendors.Request{Network: e.Network(), Recipient: "2348031234567", Amount: 100_00, Reference: "TXN-" + e.Network()})
		if got.Outcome != vendors.Declined || got.Reason != vendors.ReasonConfig {
			t.Errorf("%s: %v %q, want declined for config; %s", e.Name(), got.Outcome, got.Reason, got.Detail)
		}
	}
}
