package vendors

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Ask is what a vendor is wanted for.
type Ask struct {
	Network string    // id
	Product string    // id; "" = airtime
	Amount  int64     // kobo
	At      time.Time // for the time of day; zero = now
	Key     string    // of the purchase: the same key gives vendors by weight in the same order
}

// Hop is one vendor of a route, as an Ask meets it.
type Hop struct {
	Endpoint *Endpoint
	Skipped  string // why it is not to be tried; "" = it is
}

// lagos is the time that hours in routes.yaml are told in. Nigeria has one zone, without summers.
var lagos = time.FixedZone("WAT", 3600)

// hop is one line of a route.
type hop struct {
	endpoint *Endpoint
	weight   int      // among the hops of its group
	min, max int64    // kobo; 0 = as the network's
	hours    hours    // of the day in which it is used
	products []string // that it is used for; none = all
	off      outage
}

// hours is a span of the day in minutes; it goes over midnight if it ends before it begins.
type hours struct {
	given    bool
	from, to int
}

func (h hours) has(t time.Time) bool {
	t = t.In(lagos)
	m := t.Hour()*60 + t.Minute()
	switch {
	case !h.given:
		return true
	case h.from <= h.to:
		return h.from <= m && m < h.to
	}
	return m >= h.from || m < h.to
}

func (h hours) String() string {
	return fmt.Sprintf("%02d:%02d-%02d:%02d", h.from/60, h.from%60, h.to/60, h.to%60)
}

// outage says that a vendor is not to be used.
type outage struct {
	reason      string // "" = none
	from, until time.Time
}

func (o outage) at(t time.Time) bool {
	return o.reason != "" && !t.Before(o.from) && (o.until.IsZero() || t.Before(o.until))
}

// Explain gives the route for a sale, in the order in which its endpoints are to be tried, each
// only after the one before has definitely not delivered; and why some are not to be: their
// conditions do not hold, or they are known to fail, because of an open breaker, an exhausted float
// or an outage.
func (s *Set) Explain(a Ask) []Hop {
	if a.At.IsZero() {
		a.At = time.Now()
	}
	var hops []Hop
	for _, group := range s.plans[a.Network] {
		for _, h := range weighted(group, a.Key) {
			hops = append(hops, Hop{h.endpoint, h.skip(a)})
		}
	}
	return hops
}

// weighted puts a group in an order in which each comes first as often as its weight says.
func weighted(group []hop, key string) []hop {
	score := func(h hop) float64 {
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(key + "\x00" + h.endpoint.name))
		x := sum.Sum64() // FNV's high bits are poor for short keys
		x ^= x >> 33
		x *= 0xff51afd7ed558ccd
		x ^= x >> 33
		u := (float64(x>>11) + 1) / (1 << 53)
		return -math.Log(u) / float64(h.weight)
	}
	group = slices.Clone(group)
	slices.SortStableFunc(group, func(a, b hop) int { return cmp.Compare(score(a), score(b)) })
	return group
}

// skip says why the hop is not for this sale, "" if it is.
func (h hop) skip(a Ask) string {
	e := h.endpoint
	product := cmp.Or(a.Product, airtime)
	switch {
	case h.off.at(a.At):
		return "off: " + h.off.reason
	case h.min > 0 && a.Amount < h.min:
		return "only from N" + naira(h.min)
	case h.max > 0 && a.Amount > h.max:
		return "only up to N" + naira(h.max)
	case !h.hours.has(a.At):
		return "only " + h.hours.String()
	case len(h.products) > 0 && !slices.Contains(h.products, product):
		return "not for " + product
	case e.code.products[product] == "" && (product != airtime || e.vendor.plan.vend.carries("product")):
		return "does not sell " + product
	}
	if why := e.vend.shut(); why != "" {
		return why
	}
	if t := e.vendor.tokens; t != nil {
		_, good := t.current(e.vendor.inForce())
		if why := t.gate.shut(); why != "" && !good {
			return "no token: " + why
		}
	}
	if !e.vendor.pays(a.Amount) {
		if f := e.vendor.float(); !f.Exhausted {
			return "float is N" + decimal(f.Kobo)
		}
		return "float exhausted"
	}
	return ""
}

// readHop reads one line of a route but for its vendor: a name, or a mapping.
func readHop(v value) (hop, value, bool) {
	h := hop{weight: 1}
	if v.node.Kind == yaml.ScalarNode {
		return h, v, true
	}
	o, ok := v.object("vendor", "weight", "min", "max", "hours", "products", "off")
	if !ok {
		return h, v, false
	}
	if f, ok := o.has("weight"); ok {
		h.weight, _ = f.integer(1, 1000)
	}
	if f, ok := o.has("min"); ok {
		h.min, _ = f.money()
	}
	if f, ok := o.has("max"); ok {
		if h.max, ok = f.money(); ok && h.max < h.min {
			f.problem("is less than min")
		}
	}
	if f, ok := o.has("hours"); ok {
		h.hours = readHours(f)
	}
	if f, ok := o.has("products"); ok {
		items, _ := f.some()
		for _, item := range items {
			if id, ok := item.id(); ok {
				h.products = append(h.products, id)
			}
		}
	}
	if f, ok := o.has("off"); ok {
		h.off = readOutage(f)
	}
	name, ok := o.need("vendor")
	return h, name, ok
}

func readHours(v value) hours {
	s, ok := v.text()
	if !ok {
		return hours{}
	}
	from, to, _ := strings.Cut(s, "-")
	f, err1 := time.Parse("15:04", strings.TrimSpace(from))
	t, err2 := time.Parse("15:04", strings.TrimSpace(to))
	if err1 != nil || err2 != nil || f.Equal(t) {
		v.problem("must be a span of the day in Lagos like 08:00-20:00")
		return hours{}
	}
	return hours{true, f.Hour()*60 + f.Minute(), t.Hour()*60 + t.Minute()}
}

// readOutage reads a reason, or one with a time.
func readOutage(v value) outage {
	var out outage
	if v.node.Kind == yaml.ScalarNode {
		out.reason, _ = v.filled()
		return out
	}
	o, ok := v.object("reason", "from", "until")
	if !ok {
		return out
	}
	if f, ok := o.need("reason"); ok {
		out.reason, _ = f.filled()
	}
	if f, ok := o.has("from"); ok {
		out.from = f.time()
	}
	if f, ok := o.has("until"); ok {
		if out.until = f.time(); !out.until.After(out.from) {
			f.problem("is not after from")
		}
	}
	return out
}

func (v value) time() time.Time {
	s, _ := v.text()
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		v.problem("must be a time like 2026-11-23T22:00:00+01:00")
	}
	return t
}
