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
	// Vend makes one try, and returns soon after ctx is done.
	Vend(ctx context.Context, req vendors.Request) vendors.Result
	// Query asks what became of a try. vendorRef is "" if the vendor gave none.
	Query(ctx context.Context, req vendors.Request, vendorRef string) vendors.Finding
	// NotFoundFinal tells whether the vendor's "not found" proves that the try
	// never arrived, and when: at least grace after it ended, times in a row.
	NotFoundFinal() (grace time.Duration, times int, ok bool)
}

// Ages is what an Endpoint may be besides: one whose vendor can be queried about
// a try for a limited time only.
type Ages interface {
	// MaxAge is that time, from the try. 0 = no limit.
	MaxAge() time.Duration
}

// Routes says what is sold and by whom. It does not change; a reload of the
// vendors gives another one.
type Routes interface {
	// Route gives the endpoints of a network in the order of preference.
	Route(network string) []Endpoint
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

func (r routes) Route(network string) []Endpoint {
	var route []Endpoint
	for _, e := range r.set.Route(network) {
		route = append(route, e)
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
