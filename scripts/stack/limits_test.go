package stack_test

import (
	"path/filepath"
	"testing"

	"ussdd/scripts/stack"
)

// Each limit has its screen on the handset, which says what is left; what is
// refused reaches no vendor.
func TestLimitsOnTheHandset(t *testing.T) {
	if err := stack.OneDay(t.Context(), deadline); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	p := r.daemon("USSDD_LIMIT_PURCHASE=900", "USSDD_LIMIT_DAY=1000", "USSDD_LIMIT_RECIPIENT_DAY=600", "USSDD_LIMIT_VELOCITY=3/1h",
		"USSDD_LIMIT_NETWORK_PURCHASE=glo=150", "USSDD_LIMIT_NETWORK_DAY=airtel=250")
	const (
		mtn, airtel, glo = "1", "2", "3"
		other, third     = "08061230002", "08061230003"
		done             = "Airtime Purchase Successful!"
	)
	h := r.sim.Handset(caller)
	for _, buy := range []struct{ network, recipient, amount, see string }{
		{mtn, good, "1000", "Error: you may buy up to N900 at once. You have not been charged for N1,000."},
		{glo, good, "200", "Error: you may buy up to N150 of Glo at once. You have not been charged for N200."},
		{airtel, other, "200", done},
		{airtel, other, "100", "Error: you may buy N50 more of Airtel today. You have not been charged for N100."},
		{mtn, good, "500", done},
		{mtn, good, "200", "Error: " + good + " may get N100 more today. You have not been charged for N200."},
		{mtn, third, "400", "Error: you may buy N300 more today. You have not been charged for N400."},
		{mtn, third, "300", done},
		{mtn, third, "50", "Error: you may buy N0 more today. You have not been charged for N50."},
	} {
		r.walk(h, [][2]string{{"*999#", "1. Buy Airtime"}, {"1", "Select Network:"}, {buy.network, "Enter phone number:"}, {buy.recipient, "Select Amount:"},
			{"6", "Enter amount"}, {buy.amount, "Confirm Purchase:"}, {"1", buy.see}}...)
	}
	if rows := r.balanced(); len(rows) != 3 {
		t.Errorf("bought %+v", rows)
	}
	for sample, want := range map[string]float64{`ussdd_purchases_held_total`: 3, `ussdd_vends_total{outcome="delivered"}`: 3,
		`ussdd_vends_total{outcome="declined"}`: 0, `ussdd_vends_total{outcome="unavailable"}`: 0} {
		if got := r.metric(p, sample); got != want {
			t.Errorf("%s is %v, want %v", sample, got, want)
		}
	}

	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	r.daemon("USSDD_LIMIT_DAY=0", "USSDD_LIMIT_VELOCITY=3/1h")
	r.walk(h, append(order(good), [2]string{"1", "Error: too many purchases in a short time. You may buy again from "})...)
	if rows := r.purchases(); len(rows) != 3 {
		t.Errorf("bought %+v", rows)
	}
}
