package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"ussdd/store"
)

// model is what the books should be, in the plainest way to say it.
type model struct {
	*fixture
	t         *rapid.T
	payers    []string
	balance   map[string]int64
	credits   map[string]int64 // by reference
	purchases []*modelled
	serial    *atomic.Int64
}

// modelled is a purchase and its newest row.
type modelled struct {
	p        store.Purchase
	state    string
	disputed bool // it failed by a refund in doubt, and nobody has said since what became of it
	last     store.Attempt
}

// after is what the purchase may become by a step.
func (x *modelled) after(what string) (next string, allowed bool) {
	if what == "resolve failed" && x.disputed {
		return store.Failed, true
	}
	next, allowed = steps[what][x.state]
	return next, allowed
}

// held is what a payer's open purchases reserve.
func (m *model) held(msisdn string) (sum int64) {
	for _, p := range m.purchases {
		if p.p.MSISDN == msisdn && slices.Contains([]string{store.Held, store.Sending, store.Pending, store.Review}, p.state) {
			sum += p.p.Amount
		}
	}
	return sum
}

// steps are the moves that the model allows, written down without a look at the
// store: what a purchase in a state may become, and by what.
var steps = map[string]map[string]string{
	"attempt":            {store.Held: store.Sending},
	"release":            {store.Held: store.Failed},
	"declined, go on":    {store.Sending: store.Held, store.Pending: store.Held},
	"unknown":            {store.Sending: store.Pending, store.Pending: store.Pending},
	"give up":            {store.Pending: store.Review},
	"delivered":          {store.Sending: store.Delivered, store.Pending: store.Delivered},
	"declined":           {store.Sending: store.Failed, store.Pending: store.Failed},
	"resolve delivered":  {store.Pending: store.Delivered, store.Review: store.Delivered},
	"resolve failed":     {store.Pending: store.Failed, store.Review: store.Failed},
	"refund":             {store.Pending: store.Failed, store.Review: store.Failed},
	"query":              {store.Pending: store.Pending, store.Review: store.Pending, store.Delivered: store.Delivered, store.Failed: store.Failed, store.Reversed: store.Reversed, store.Late: store.Late},
	"turn reversed":      {store.Delivered: store.Reversed},
	"turn late":          {store.Failed: store.Late},
	"adopt":              {store.Held: store.Held, store.Sending: store.Sending, store.Pending: store.Pending},
	"old version":        {},
	"another's purchase": {},
}

// do makes a step with a purchase as the caller last saw it.
func (m *model) do(what string, x *modelled) (store.Purchase, error) {
	p, a := x.p, x.last
	record := func(state, next string) (store.Purchase, error) {
		a.State, a.FinishedAt = state, m.now()
		return m.db.Record(m.ctx, p, a, next)
	}
	turn := func(state string) (store.Purchase, error) {
		a.State = state
		return m.db.Turn(m.ctx, p, a)
	}
	op := store.Operation{Operator: "ngozi", Reason: "why"}
	switch what {
	case "attempt":
		x.last = nextAttempt(m.fixture, p, fmt.Sprint("v", p.Attempts+1))
		p, err := m.db.Attempt(m.ctx, p, x.last)
		if err != nil {
			x.last = a
		}
		return p, err
	case "release":
		return m.db.Release(m.ctx, p, "x")
	case "declined, go on":
		return record(store.Declined, store.Held)
	case "unknown":
		return record(store.Pending, store.Pending)
	case "give up":
		return record(store.Pending, store.Review)
	case "delivered":
		return record(store.Delivered, store.Delivered)
	case "declined":
		return record(store.NotSent, store.Failed)
	case "resolve delivered":
		return m.db.Resolve(m.ctx, op, p.Ref, store.Delivered)
	case "resolve failed":
		return m.db.Resolve(m.ctx, op, p.Ref, store.Failed)
	case "refund":
		return m.db.Refund(m.ctx, op, p.Ref)
	case "query":
		return m.db.QueryNow(m.ctx, op, p.Ref)
	case "turn reversed":
		return turn(store.Reversed)
	case "turn late":
		return turn(store.Late)
	case "old version":
		p.Version--
		return m.db.Release(m.ctx, p, "x")
	case "another's purchase":
		p.Owner = "nobody"
		return record(store.Delivered, store.Delivered)
	}
	panic(what)
}

// adopt is what a living owner does about the purchase of a dead one.
func (m *model) adopt(x *modelled) {
	owner := fmt.Sprint("heir-", m.serial.Add(1))
	due, err := m.db.Due(m.ctx, owner, m.now(), 10000)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, p := range due {
		for _, y := range m.purchases {
			if y.p.ID == p.ID {
				y.p = p
			}
		}
	}
	if x.state != store.Review && x.p.DecidedAt.IsZero() && x.p.Owner != owner {
		m.t.Fatalf("%s was not adopted", x.state)
	}
}

// TestModel plays random histories of a few subscribers, with steps that are
// allowed and steps that are not, and compares the store with the model after
// each.
func TestModel(t *testing.T) {
	onEach(t, func(t *testing.T, engine engine) {
		f := migratedFixture(t, engine)
		var serial atomic.Int64
		rapid.Check(t, func(t *rapid.T) {
			n := serial.Add(1)
			m := &model{fixture: f, t: t, balance: map[string]int64{}, credits: map[string]int64{}, serial: &serial,
				payers: []string{fmt.Sprintf("23490%08d", n), fmt.Sprintf("23491%08d", n)}}
			t.Repeat(map[string]func(*rapid.T){"": m.agrees, "credit": m.credit, "hold": m.hold, "again": m.again, "step": m.step, "another step": m.step,
				"a step more": m.step, "and one": m.step})
		})
		for _, v := range f.check().Violations {
			f.Errorf("violation %+v", v)
		}
	})
}

func (m *model) credit(t *rapid.T) {
	msisdn := rapid.SampledFrom(m.payers).Draw(t, "payer")
	amount := rapid.Int64Range(1, 500_00).Draw(t, "amount")
	reference := msisdn + rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "reference")
	credited, _, err := m.db.Credit(m.ctx, by("ngozi"), msisdn, amount, "model", reference)
	old, repeated := m.credits[reference]
	switch {
	case repeated && old != amount && !errors.Is(err, store.ErrMismatch), repeated && credited, (!repeated || old == amount) && err != nil:
		t.Fatalf("credit of %d: %v, %v; before: %d", amount, credited, err, old)
	case !repeated:
		m.credits[reference] = amount
		m.balance[msisdn] += amount
	}
}

func (m *model) hold(t *rapid.T) {
	p := m.order()
	p.MSISDN, p.Amount = rapid.SampledFrom(m.payers).Draw(t, "payer"), rapid.Int64Range(1, 300_00).Draw(t, "amount")
	p.Network = rapid.SampledFrom([]string{"mtn", "glo", "unpriced"}).Draw(t, "network")
	p.Key = fmt.Sprint("model-", m.serial.Add(1))
	stored, created, err := m.db.Hold(m.ctx, p)
	balance, wallet := m.balance[p.MSISDN]
	switch {
	case !wallet && !errors.Is(err, store.ErrNoWallet), wallet && balance < p.Amount && !errors.Is(err, store.ErrInsufficient),
		wallet && balance >= p.Amount && (err != nil || !created):
		t.Fatalf("hold of %d with %d: %v, %v", p.Amount, balance, created, err)
	case err == nil:
		m.balance[p.MSISDN] -= p.Amount
		m.purchases = append(m.purchases, &modelled{p: stored, state: store.Held})
	}
}

// any is one of the purchases, or the step is skipped.
func (m *model) any(t *rapid.T) *modelled {
	if len(m.purchases) == 0 {
		t.Skip("nothing bought")
	}
	return m.purchases[rapid.IntRange(0, len(m.purchases)-1).Draw(t, "purchase")]
}

// again repeats a confirmation.
func (m *model) again(t *rapid.T) {
	x := m.any(t)
	p := m.order()
	p.Key, p.MSISDN, p.Recipient, p.Network, p.Amount = x.p.Key, x.p.MSISDN, x.p.Recipient, x.p.Network, x.p.Amount
	if stored, created, err := m.db.Hold(m.ctx, p); err != nil || created || stored.Ref != x.p.Ref || stored.State != x.state {
		t.Fatalf("again: %+v, %v, %v", stored, created, err)
	}
}

func (m *model) step(t *rapid.T) {
	x := m.any(t)
	names := slices.Sorted(maps.Keys(steps))
	if rapid.IntRange(0, 3).Draw(t, "allowed") > 0 {
		names = slices.DeleteFunc(names, func(what string) bool { _, allowed := x.after(what); return !allowed })
	}
	if len(names) == 0 {
		return // the purchase is at its end
	}
	what := rapid.SampledFrom(names).Draw(t, "step")
	next, allowed := x.after(what)
	if what == "adopt" {
		if allowed {
			m.adopt(x)
		}
		return
	}
	if next == store.Late && x.p.Attempts == 0 {
		return // nothing was attempted that could be delivered
	}
	was := x.state
	p, err := m.do(what, x)
	if !allowed {
		if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrInvalid) {
			t.Fatalf("%s of what is %s: %v", what, was, err)
		}
		return
	}
	if err != nil || p.State != next {
		t.Fatalf("%s of what is %s: %s, %v", what, was, p.State, err)
	}
	x.p, x.state = p, next
	x.disputed = what == "refund" || x.disputed && next == store.Failed && what != "resolve failed"
	if was != next && (next == store.Failed || next == store.Reversed) {
		m.balance[p.MSISDN] += p.Amount
	}
}

func (m *model) agrees(t *rapid.T) {
	m.t = t
	for msisdn, balance := range m.balance {
		w, err := m.db.Wallet(m.ctx, msisdn)
		if err != nil || w.Balance != balance || w.Held != m.held(msisdn) {
			t.Fatalf("wallet %+v, %v, want %d and %d", w, err, balance, m.held(msisdn))
		}
	}
	for _, x := range m.purchases {
		if p, err := m.db.PurchaseByKey(m.ctx, x.p.Key); err != nil || p.State != x.state || p.DecidedAt.IsZero() !=
			slices.Contains([]string{store.Held, store.Sending, store.Pending, store.Review}, p.State) {
			t.Fatalf("purchase %+v, %v, want %s", p, err, x.state)
		}
	}
}
