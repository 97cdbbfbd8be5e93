package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ussdd/menus"
	"ussdd/store"
	"ussdd/vendors"
)

// naira is a whole amount, kept in kobo; 0 = no limit.
type naira int64

// Decode is how envconfig reads it.
func (n *naira) Decode(value string) error {
	whole, err := strconv.ParseUint(value, 10, 32)
	*n = naira(whole) * 100
	return err
}

// nairas are amounts by network, written network=naira,network=naira.
type nairas map[string]naira

// Decode is how envconfig reads it.
func (n *nairas) Decode(value string) error {
	*n = make(nairas)
	for pair := range strings.SplitSeq(value, ",") {
		network, amount, ok := strings.Cut(strings.TrimSpace(pair), "=")
		var limit naira
		if _, twice := (*n)[network]; limit.Decode(amount) != nil || !ok || network == "" || twice {
			return fmt.Errorf("%q is not network=naira, or the second of its network", pair)
		}
		(*n)[network] = limit
	}
	return nil
}

// velocity is so many purchases in a time, written 5/10m; 0 = no limit.
type velocity struct {
	purchases int
	window    time.Duration
}

// Decode is how envconfig reads it.
func (v *velocity) Decode(value string) error {
	if value == "" || value == "0" {
		return nil
	}
	purchases, window, _ := strings.Cut(value, "/")
	n, err := strconv.ParseUint(purchases, 10, 16)
	if err != nil {
		return err
	}
	v.purchases = int(n)
	v.window, err = time.ParseDuration(window)
	if err == nil && (n == 0 || v.window <= 0) {
		err = fmt.Errorf("%q allows nothing", value)
	}
	return err
}

// limits are what the ledger refuses beyond.
func (c *config) limits() store.Limits {
	l := store.Limits{Purchase: int64(c.LimitPurchase), Day: int64(c.LimitDay), RecipientDay: int64(c.LimitRecipientDay),
		Velocity: c.LimitVelocity.purchases, VelocityWindow: c.LimitVelocity.window, Networks: make(map[string]store.NetworkLimits)}
	for network, amount := range c.LimitNetworkPurchase {
		l.Networks[network] = store.NetworkLimits{Purchase: int64(amount)}
	}
	for network, amount := range c.LimitNetworkDay {
		l.Networks[network] = store.NetworkLimits{Purchase: l.Networks[network].Purchase, Day: int64(amount)}
	}
	return l
}

// checkLimits tells of limits for networks that are not sold: most likely their
// names are mistyped.
func (c *config) checkLimits(sold []vendors.Network, bad *problems) {
	var known []string
	for _, n := range sold {
		known = append(known, n.ID)
	}
	for variable, amounts := range map[string]nairas{"USSDD_LIMIT_NETWORK_PURCHASE": c.LimitNetworkPurchase, "USSDD_LIMIT_NETWORK_DAY": c.LimitNetworkDay} {
		for network := range amounts {
			if !slices.Contains(known, network) {
				bad.add("%s: no network %q is sold; the nearest is %s", variable, network, nearest(network, known))
			}
		}
	}
}

// sayLimits is what `ussdd check` prints of them.
func sayLimits(l store.Limits) string {
	var said []string
	say := func(kobo int64, of string) {
		if kobo > 0 {
			said = append(said, menus.Naira(kobo)+" "+of)
		}
	}
	say(l.Purchase, "a purchase")
	say(l.Day, "a day")
	say(l.RecipientDay, "a day for one number")
	if l.Velocity > 0 {
		said = append(said, fmt.Sprintf("%s in %v", plural(l.Velocity, "purchase"), l.VelocityWindow))
	}
	for _, network := range slices.Sorted(maps.Keys(l.Networks)) {
		say(l.Networks[network].Purchase, "a purchase of "+network)
		say(l.Networks[network].Day, "a day of "+network)
	}
	if said == nil {
		return "none but the networks' own"
	}
	return strings.Join(said, ", ")
}
