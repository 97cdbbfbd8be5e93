package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"ussdd/vendors"
)

// presetKeys are the simulator's keys, and the secrets that make them up.
var presetKeys = map[string]struct {
	key     string
	secrets map[string]string
}{
	"vtpass":         {"V1:V2", map[string]string{"vtpass-api-key": "V1", "vtpass-secret-key": "V2", "vtpass-public-key": "V2"}},
	"reloadly":       {"R1:R2", map[string]string{"reloadly-client-id": "R1", "reloadly-client-secret": "R2"}},
	"africastalking": {"A1", map[string]string{"africastalking-api-key": "A1", "africastalking-username": "shop"}},
	"dtone":          {"D1:D2", map[string]string{"dtone-api-key": "D1", "dtone-api-secret": "D2"}},
	"ding":           {"G1", map[string]string{"ding-api-key": "G1"}},
	"flutterwave":    {"F1", map[string]string{"flutterwave-secret-key": "F1"}},
	"baxi":           {"B1", map[string]string{"baxi-api-key": "B1", "baxi-agent-id": "207"}},
	"generic":        {"N1", map[string]string{"generic-api-key": "N1"}},
}

// presets are the files for real providers, pointed at the bench.
func (b *bench) presets(secret func(string) string) *vendors.Set {
	b.t.Helper()
	secrets := func(name string) (string, bool) { return secret(name), !strings.HasSuffix(name, "-next") }
	plain, err := vendors.Load(vendors.Presets(), vendors.Options{Secrets: secrets})
	if err != nil {
		b.t.Fatal(err)
	}
	urls := map[string]string{"reloadly.token": b.url("reloadly", "")}
	for _, v := range plain.Vendors() {
		base, err := url.Parse(v.Base)
		if err != nil {
			b.t.Fatal(err)
		}
		urls[v.Vendor] = b.url(v.Vendor, base.Path)
	}
	set, err := vendors.Load(vendors.Presets(), vendors.Options{URLs: urls, Secrets: secrets})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(set.CloseIdleConnections)
	return set
}

func presetBench(t *testing.T) *bench {
	return newBench(t, func(set *settings) {
		set.presets, set.keys = true, make(map[string]string)
		for name, of := range presetKeys {
			set.keys[name] = of.key
		}
	})
}

func rightSecret(name string) string {
	for _, of := range presetKeys {
		if s, ok := of.secrets[name]; ok {
			return s
		}
	}
	return ""
}

// TestPresets holds the presets and the imitations together: what each fault must
// come to, for all of them but for those that are named.
func TestPresets(t *testing.T) {
	t.Parallel()
	cases := []struct {
		fault, want string // outcome, reason, final; what the query finds
		but         map[string]string
	}{
		{"none", "delivered; delivered", map[string]string{
			"africastalking": "pending pending; delivered", "flutterwave": "pending pending; delivered"}},
		{"decline", "declined bad_number final; not_found", map[string]string{
			"vtpass": "declined refused; not_found", "baxi": "declined refused; not_found",
			"africastalking": "declined bad_number final; unknown", "flutterwave": "declined bad_number final; unknown"}},
		{"maintenance", "declined down; not_found", map[string]string{
			"dtone": "declined refused; not_found", "baxi": "declined refused; not_found",
			"africastalking": "declined refused; unknown", "flutterwave": "pending pending; unknown"}},
		{"float", "declined float; not_found", map[string]string{
			"africastalking": "declined float; unknown", "flutterwave": "declined float; unknown"}},
		{"error_after", "pending down; delivered", map[string]string{
			"africastalking": "pending down; unknown", "flutterwave": "pending down; unknown"}},
		{"error_before", "pending down; not_found", map[string]string{
			"africastalking": "pending down; unknown", "flutterwave": "pending down; unknown"}},
		{"reset", "pending unreadable; delivered", map[string]string{
			"africastalking": "pending unreadable; unknown", "flutterwave": "pending unreadable; unknown"}},
		{"garbage", "pending unreadable; delivered", map[string]string{
			"africastalking": "pending unreadable; unknown", "flutterwave": "pending unreadable; unknown"}},
		{"duplicate", "pending duplicate; delivered", map[string]string{
			"ding":           "pending unreadable; delivered",
			"africastalking": "pending duplicate; unknown", "flutterwave": "pending unreadable; unknown"}},
		{"pending_delivered", "pending pending; delivered", nil},
		{"pending_failed", "pending pending; failed", nil},
		{"down", "not_sent down; unknown", nil},
	}
	for _, c := range cases {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			b := presetBench(t)
			for _, e := range b.presets(rightSecret).Endpoints() {
				if e.Vendor() == "africastalking" && e.Network() != "mtn" {
					continue // the number decides
				}
				b.setFault(e.Vendor(), c.fault, 0)
				ref, err := e.Reference("TXN-"+e.Network(), b.sim.book.now())
				if err != nil {
					t.Fatal(err)
				}
				r := vendors.Request{Network: e.Network(), Recipient: "2348031234567", Amount: 100_00, Reference: ref}
				res := e.Vend(context.Background(), r)
				found := e.Query(context.Background(), r, res.VendorRef)
				got := res.Outcome.String()
				if res.Reason != "" {
					got += " " + res.Reason
				}
				if res.Final {
					got += " final"
				}
				got += "; " + found.State.String()
				want, ok := c.but[e.Vendor()]
				if !ok {
					want = c.want
				}
				if got != want {
					t.Errorf("%s: %s, want %s: %s; %s", e.Name(), got, want, res.Detail, found.Detail)
				}
				told := res.Cost
				if found.State == vendors.FoundDelivered {
					told = max(told, found.Cost)
				}
				if res.Outcome == vendors.Delivered && e.Vendor() != "baxi" && told != 97_00 { // baxi tells no cost
					t.Errorf("%s: cost %d", e.Name(), told)
				}
				if res.Outcome == vendors.Delivered && res.VendorRef == "" {
					t.Errorf("%s: no reference", e.Name())
				}
			}
			for _, d := range b.deliveries("").Deliveries {
				if d.Count != 1 {
					t.Errorf("%+v", d)
				}
			}
		})
	}
}

// The duplicate rule of each: the same reference a second time delivers nothing.
func TestPresetsRefuseDuplicates(t *testing.T) {
	t.Parallel()
	b := presetBench(t)
	for _, e := range b.presets(rightSecret).Route("mtn") {
		ref, err := e.Reference("TXN-1", b.sim.book.now())
		if err != nil {
			t.Fatal(err)
		}
		r := vendors.Request{Network: "mtn", Recipient: "2348031234567", Amount: 100_00, Reference: ref}
		e.Vend(context.Background(), r)
		for range 2 {
			if res := e.Vend(context.Background(), r); res.Outcome == vendors.Delivered || res.Outcome == vendors.Declined || res.Outcome == vendors.NotSent {
				t.Errorf("%s: %+v", e.Name(), res)
			}
		}
	}
	if list := b.deliveries(""); list.Delivered != 7 || list.Doubled != 1 { // seven vendors, one purchase: none of them twice
		t.Errorf("%d delivered, %d doubled", list.Delivered, list.Doubled)
	}
	for _, d := range b.deliveries("").Deliveries {
		if d.Count != 1 {
			t.Errorf("%+v", d)
		}
	}
}

func TestPresetsWithAWrongSecret(t *testing.T) {
	t.Parallel()
	b := presetBench(t)
	for _, e := range b.presets(func(string) string { return "wrong" }).Endpoints() {
		ref, err := e.Reference("TXN-1", b.sim.book.now())
		if err != nil {
			t.Fatal(err)
		}
		r := vendors.Request{Network: e.Network(), Recipient: "2348031234567", Amount: 100_00, Reference: ref}
		res := e.Vend(context.Background(), r)
		got, want := fmt.Sprint(res.Outcome, " ", res.Reason), "declined config"
		if e.Vendor() == "reloadly" {
			want = "not_sent config" // there is no token to send it with
		}
		if got != want {
			t.Errorf("%s: %s, want %s: %s", e.Name(), got, want, res.Detail)
		}
	}
	if list := b.deliveries(""); list.Delivered != 0 {
		t.Errorf("%+v", list)
	}
}

func TestPresetBalances(t *testing.T) {
	t.Parallel()
	b := presetBench(t)
	set := b.presets(rightSecret)
	for _, vendor := range []string{"vtpass", "reloadly", "generic"} {
		if kobo, err := set.Balance(context.Background(), vendor); err != nil || kobo != 1_000_000_00 {
			t.Errorf("%s: %d, %v", vendor, kobo, err)
		}
	}
}

// VTpass refuses a reference that does not begin with today, and a second sale to
// a number within half a minute.
func TestVTpassRules(t *testing.T) {
	t.Parallel()
	b := presetBench(t)
	body := func(ref string) string {
		return `{"request_id":"` + ref + `","serviceID":"mtn","amount":100,"phone":"08031234567"}`
	}
	for _, step := range []struct{ ref, code string }{
		{"202611221505B", "011"}, {"20261123150", "011"}, {"20261123-1505C", "011"}, {"202611231505A", "000"}, {"202611231505D", "019"}, {"202611231505A", "014"},
	} {
		got := b.do(context.Background(), "POST", b.url("vtpass", "/api/pay"), jsonType, body(step.ref), map[string][]string{"Api-Key": {"V1"}, "Secret-Key": {"V2"}})
		if !strings.Contains(got.body, `"code":"`+step.code+`"`) {
			t.Errorf("%s: %s", step.ref, got.body)
		}
	}
}
