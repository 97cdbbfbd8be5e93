package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"ussdd/store"
)

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		want store.Limits
		said string
	}{
		{nil, store.Limits{Day: 100_000_00}, "N100,000 a day"},
		{map[string]string{"USSDD_LIMIT_DAY": "0"}, store.Limits{}, "none but the networks' own"},
		{map[string]string{"USSDD_LIMIT_PURCHASE": "5000", "USSDD_LIMIT_DAY": "20000", "USSDD_LIMIT_RECIPIENT_DAY": "30000", "USSDD_LIMIT_VELOCITY": "5/10m",
			"USSDD_LIMIT_NETWORK_PURCHASE": "mtn=1000,glo=2000", "USSDD_LIMIT_NETWORK_DAY": "9mobile=3000, mtn=4000"},
			store.Limits{Purchase: 5000_00, Day: 20_000_00, RecipientDay: 30_000_00, Velocity: 5, VelocityWindow: 10 * time.Minute,
				Networks: map[string]store.NetworkLimits{"mtn": {Purchase: 1000_00, Day: 4000_00}, "glo": {Purchase: 2000_00}, "9mobile": {Day: 3000_00}}},
			"N5,000 a purchase, N20,000 a day, N30,000 a day for one number, 5 purchases in 10m0s, N3,000 a day of 9mobile, " +
				"N2,000 a purchase of glo, N1,000 a purchase of mtn, N4,000 a day of mtn"},
	} {
		set(t, oneSMSC(test.env))
		c, bad := loadConfig()
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		if test.want.Networks == nil {
			test.want.Networks = make(map[string]store.NetworkLimits)
		}
		if got := c.limits(); !reflect.DeepEqual(got, test.want) {
			t.Errorf("got %+v\nwant %+v", got, test.want)
		}
		if said := sayLimits(c.limits()); said != test.said {
			t.Errorf("said %q, want %q", said, test.said)
		}
	}
}

func TestLimitsOfNetworksNotSold(t *testing.T) {
	set(t, oneSMSC(map[string]string{"USSDD_LIMIT_NETWORK_PURCHASE": "gl0=5", "USSDD_LIMIT_NETWORK_DAY": "mtn=5,9mobil=5"}))
	c, bad := loadConfig()
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	_, err := loadData(c, nil, nil)
	if err == nil {
		t.Fatal("no problem")
	}
	for _, want := range []string{`USSDD_LIMIT_NETWORK_PURCHASE: no network "gl0" is sold; the nearest is glo`, `USSDD_LIMIT_NETWORK_DAY: no network "9mobil" is sold; the nearest is 9mobile`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// Zero is no limit, which is told where it can be taken for none allowed.
func TestLimitsOfZero(t *testing.T) {
	var help strings.Builder
	usage(&help)
	if n := strings.Count(help.String(), "0: no limit of its own"); n != 2 {
		t.Errorf("told %d times", n)
	}
}
