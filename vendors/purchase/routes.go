package purchase

import (
	"context"
	"time"

	"ussdd/vendors"
)

// Endpoint is one vendor's way to one network, as *vendors.Endpoint is.
type Endpoint interface {
	// Name is for logs: "mtn-direct/mtn".
	Name() string
	// Vendor is what an Attempt remembers and Routes.Endpoint finds again.
	Vendor() string
	// Reference gives the name that a try begun at that time has at the vendor.
	// own is unique among all tries, and so is what is made of it. It may differ
	// at another time, and is not asked for again.
	Reference(own string, at time.Time) (string, error)
	// Vend makes one try, and returns soon after ctx is done.
	Vend(ctx context.Context, req vendors.Request) vendors.Result
	// Query asks what became of a try. vendorRef is "" if the vendor gave none.
	Query(ctx context.Context, req vendors.Request, vendorRef string) vendors.Finding
	// NotFoundFinal tells whether the vendor's "not found" proves that the try
	// never arrived, and when: at least grace after it ended, times in a row.
	NotFoundFinal() (grace time.Duration, times int, ok bool)
	// QueryPlan gives the waits, all positive, before the first, second … query
	// about a try, the last of which repeats, and the age of a try from which the
	// vendor no longer tells. None and 0 = as it suits the desk.
	QueryPlan() (after []time.Duration, maxAge time.Duration)
}

// Hop is one endpoint of a route.
type Hop struct {
	Endpoint Endpoint
	Skipped  string // why it is not to be tried now, for the operator; "" = it is
}

// Routes says what is sold and by whom. It does not change; a reload of the
// vendors gives another one.
type Routes interface {
	// Route gives the network's endpoints in the order in which they are to be
	// tried for that purchase, also those that are not to be tried.
	Route(ask vendors.Ask) []Hop
	// Endpoint finds the endpoint that an attempt went to.
	Endpoint(vendor, network string) (Endpoint, bool)
	// Network gives the limits of a network; false if it is not sold.
	Network(id string) (vendors.Network, bool)
}

// Sets makes the Routes of the vendors in force, whatever set gives, for New.
func Sets(set func() *vendors.Set) func() Routes {
	return func() Routes { return routes{set()} }
}

type routes struct{ set *vendors.Set }

func (r routes) Route(ask vendors.Ask) []Hop {
	var route []Hop
	for _, h := range r.set.Explain(ask) {
		route = append(route, Hop{h.Endpoint, h.Skipped})
	}
	return route
}

func (r routes) Endpoint(vendor, network string) (Endpoint, bool) {
	return r.set.Endpoint(vendor, network)
}

func (r routes) Network(id string) (vendors.Network, bool) {
	for _, n := range r.set.Networks() {
		if n.ID == id {
			return n, true
		}
	}
	return vendors.Network{}, false
}
