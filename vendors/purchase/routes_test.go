package purchase_test

import (
	"testing"

	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// TestSets reads the built-in vendors as a desk does.
func TestSets(t *testing.T) {
	set, err := vendors.Load(vendors.Builtin(), vendors.Options{Secrets: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	routes := purchase.Sets(func() *vendors.Set { return set })()
	if n, ok := routes.Network("mtn"); !ok || n.ID != "mtn" || n.Min <= 0 || n.Max <= n.Min {
		t.Errorf("mtn: %+v, %v", n, ok)
	}
	if n, ok := routes.Network("mtel"); ok {
		t.Errorf("mtel: %+v", n)
	}
	ask := vendors.Ask{Network: "mtn", Amount: 100_00, Key: "k"}
	route := routes.Route(ask)
	if len(route) != 2 || route[0].Endpoint.Vendor() == route[1].Endpoint.Vendor() {
		t.Fatalf("route %v", route)
	}
	for _, hop := range route {
		want := hop.Endpoint
		if hop.Skipped != "" {
			t.Errorf("%s is passed over: %s", want.Name(), hop.Skipped)
		}
		if got, ok := routes.Endpoint(want.Vendor(), "mtn"); !ok || got != want {
			t.Errorf("%s: %v, %v", want.Name(), got, ok)
		}
	}
	if got, ok := routes.Endpoint("nobody", "mtn"); ok {
		t.Errorf("nobody: %v", got)
	}
	if route := routes.Route(vendors.Ask{Network: "mtel"}); route != nil {
		t.Errorf("mtel: %v", route)
	}
}
