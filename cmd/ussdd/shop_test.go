package main

import (
	"context"
	"sync"
	"testing"
	"time"

	"ussdd/store"
	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// shop is a vendor that delivers at once, and remembers.
type shop struct {
	mu        sync.Mutex
	delivered map[string]int // by reference
}

func (s *shop) Name() string   { return "instant/mtn" }
func (s *shop) Vendor() string { return "instant" }

func (s *shop) Vend(_ context.Context, r vendors.Request) vendors.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delivered[r.Reference]++
	return vendors.Result{Outcome: vendors.Delivered, Sent: true, VendorRef: "V-" + r.Reference, Cost: r.Amount * 97 / 100, HTTPStatus: 200}
}

func (s *shop) Query(_ context.Context, r vendors.Request, _ string) vendors.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.delivered[r.Reference] == 0 {
		return vendors.Finding{State: vendors.NotFound}
	}
	return vendors.Finding{State: vendors.FoundDelivered, VendorRef: "V-" + r.Reference, Cost: r.Amount * 97 / 100}
}

func (s *shop) Reference(own string, _ time.Time) (string, error) { return own, nil }
func (s *shop) NotFoundFinal() (time.Duration, int, bool)         { return 0, 1, true }
func (s *shop) QueryPlan() ([]time.Duration, time.Duration)       { return nil, 0 }

func (s *shop) Route(vendors.Ask) []purchase.Hop               { return []purchase.Hop{{Endpoint: s}} }
func (s *shop) Endpoint(_, _ string) (purchase.Endpoint, bool) { return s, true }
func (s *shop) Network(id string) (vendors.Network, bool) {
	return vendors.Network{ID: id, Min: 50_00, Max: 50_000_00}, true
}

// openDesk is a desk of that shop on the database, at work until the test ends.
func (s *shop) openDesk(t testing.TB, db *store.DB) *purchase.Desk {
	desk := purchase.New(purchase.Config{Owner: ownerName(store.NewID()), NewID: store.NewID}, ledger{db}, func() purchase.Routes { return s })
	ran := make(chan error, 1)
	go func() { ran <- desk.Run(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := desk.Drain(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return desk
}
