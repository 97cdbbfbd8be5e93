package vendors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// lookup is a call that asks for something that does not change by being asked for.
type lookup struct {
	call operation
	life time.Duration // an answer holds so long
	low  int64         // kobo of a balance below which operators are to be warned
	// Of products: where the list is, and what is where in each item.
	items path
	id    []path
	name  []path
	price quantity
}

const (
	defaultLife = 5 * time.Minute
	maxLife     = 7 * 24 * time.Hour
	// A balance is asked for as often as its answers age; a float that has been filled is not used
	// before that is told.
	minBalanceLife = 10 * time.Second
	maxBalanceLife = time.Hour
)

// cache keeps the answers to one look-up. It is safe for concurrent use.
type cache struct {
	plan  *lookup
	gate  *gate
	group singleflight.Group

	mu      sync.Mutex
	answers map[string]cached // by network; "" for what belongs to none
}

type cached struct {
	value any
	until time.Time
}

// newCache takes over the answers of the set before if the vendor has not changed.
func newCache(v *vendor, op Operation, plan *lookup, old func(*vendor) *cache, opt Options) *cache {
	if plan == nil {
		return nil
	}
	if opt.Previous != nil {
		if before := opt.Previous.vendors[v.name]; before != nil && samePlan(before, v) && old(before) != nil {
			return old(before)
		}
	}
	return &cache{plan: plan, gate: newGate(v.name, "", op, v.plan, opt), answers: map[string]cached{}}
}

// get gives an answer that is young enough, or asks for one. Who asks while another is asking
// waits for the other's answer. Failures are not kept.
func (c *cache) get(ctx context.Context, v *vendor, key string, vals *values, read func(*answer) (any, error)) (any, error) {
	fresh := func() (any, bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		kept, ok := c.answers[key]
		return kept.value, ok && time.Now().Before(kept.until)
	}
	if value, ok := fresh(); ok {
		return value, nil
	}
	// The call is for everybody who waits: it ends with the vendor's time-out.
	done := c.group.DoChan(key, func() (any, error) {
		if value, ok := fresh(); ok {
			return value, nil
		}
		var value any
		var failed error
		err := c.gate.pass(context.WithoutCancel(ctx), v.turn, func() error {
			a := v.exchange(context.WithoutCancel(ctx), &c.plan.call, vals, nil)
			if value, failed = c.read(v, a, vals, read); failed != nil {
				return errFault
			}
			return nil
		})
		if failed != nil {
			err = failed
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.gate.name, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answers[key] = cached{value, time.Now().Add(c.plan.life)}
		return value, nil
	})
	select {
	case r := <-done:
		return r.Val, r.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *cache) read(v *vendor, a answer, vals *values, read func(*answer) (any, error)) (any, error) {
	if a.err != nil {
		return nil, errors.New(v.detail(Request{}, a.err.Error()))
	}
	if _, i := judge(c.plan.call.rules, &a, vals); i < 0 {
		return nil, errors.New(v.account(Request{}, &c.plan.call, a, false))
	}
	return read(&a)
}

// ErrNoLookup says that a vendor's file does not say how to ask for this.
var ErrNoLookup = errors.New("vendors: the vendor cannot be asked for that")

// Balance asks a vendor for our float there, in kobo. An answer is kept for as long as the vendor's
// file says; many callers make one call. Whoever wants floats to be known calls it every Float.Every.
func (s *Set) Balance(ctx context.Context, vendor string) (int64, error) {
	v := s.vendors[vendor]
	if v == nil || v.balance == nil {
		return 0, fmt.Errorf("%s: balance: %w", vendor, ErrNoLookup)
	}
	kobo, err := v.balance.get(ctx, v, "", &values{}, func(a *answer) (any, error) {
		kobo, ok := v.plan.balance.call.fields.balance.read(a.doc)
		if !ok {
			return nil, errors.New("no balance in the answer")
		}
		v.memory.told(kobo)
		return kobo, nil
	})
	if err != nil {
		return 0, err
	}
	return kobo.(int64), nil
}

// Floats gives what is known of our account at each vendor, sorted by vendor. It asks nobody.
func (s *Set) Floats() []Float {
	var all []Float
	for _, v := range s.vendors {
		all = append(all, v.float())
	}
	slices.SortFunc(all, func(a, b Float) int { return strings.Compare(a.Vendor, b.Vendor) })
	return all
}

func (v *vendor) float() Float {
	f := v.memory.state()
	f.Vendor = v.name
	if v.plan.balance != nil {
		f.Low, f.Every = v.plan.balance.low, v.plan.balance.life
	}
	return f
}

// pays reports whether our float is thought to be enough for a sale. A float that is asked for is
// believed until it should have been told twice again.
func (v *vendor) pays(amount int64) bool {
	believed := emptyTime
	if v.plan.balance != nil {
		believed = max(believed, 2*v.plan.balance.life)
	}
	return v.memory.pays(amount, believed)
}

// Product is one thing that a vendor sells for a network.
type Product struct {
	ID    string // the vendor's own
	Name  string
	Price int64 // kobo; 0 = not told
}

const maxProducts = 10_000

// Products asks the vendor what it sells for the network. Like Balance it keeps answers, and the
// slice is shared: it is not to be changed.
func (e *Endpoint) Products(ctx context.Context) ([]Product, error) {
	v := e.vendor
	if v.products == nil {
		return nil, fmt.Errorf("%s: products: %w", v.name, ErrNoLookup)
	}
	vals := &values{network: e.code.text, more: e.code.more}
	list, err := v.products.get(ctx, v, e.network, vals, func(a *answer) (any, error) {
		items, _ := v.products.plan.items.find(a.doc)
		of, ok := items.([]any)
		if !ok || len(of) > maxProducts {
			return nil, errors.New("no list of products in the answer")
		}
		var products []Product
		for _, item := range of {
			p := Product{ID: text(v.products.plan.id, item), Name: text(v.products.plan.name, item)}
			p.Price, _ = v.products.plan.price.read(item)
			if p.ID != "" && headerText(p.ID) {
				products = append(products, p)
			}
		}
		return products, nil
	})
	if err != nil {
		return nil, err
	}
	return list.([]Product), nil
}

func readLookup(v value, kind operationKind) *lookup {
	l := &lookup{call: readOperation(v, kind), life: defaultLife}
	o, ok := v.quiet().object()
	if !ok {
		return l
	}
	o.value = v
	shortest, longest := time.Duration(0), maxLife
	if slices.Contains(kind.fields, "balance") {
		shortest, longest = minBalanceLife, maxBalanceLife
	}
	if f, ok := o.has("life"); ok {
		l.life, _ = v.at("life", f.node).duration(shortest, longest)
	}
	if f, ok := o.has("low"); ok {
		l.low, _ = v.at("low", f.node).money()
	}
	if !slices.Contains(kind.more, "items") {
		return l
	}
	if f, ok := o.need("items"); ok {
		f = v.at("items", f.node)
		if s, ok := f.filled(); ok {
			l.items = readPathTo(f, s)
		}
	}
	if f, ok := o.need("id"); ok {
		l.id = readPaths(v.at("id", f.node))
	}
	if f, ok := o.has("name"); ok {
		l.name = readPaths(v.at("name", f.node))
	}
	if f, ok := o.has("price"); ok {
		l.price = readQuantity(v.at("price", f.node))
	}
	return l
}
