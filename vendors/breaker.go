package vendors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	breakerWindow  = 5 * time.Minute  // failures are counted over it; never less than 10 calls' time
	breakerBuckets = 30               // steps in which the window moves on
	breakerOpen    = 15 * time.Second // until one call may try again
	tripInARow     = 5                // failures in a row that open it, or
	tripRequests   = 10               // from so many calls on,
	tripPercent    = 50               // such a share of failures
)

// What a call tells its breaker. A nil error is a success.
var (
	errFault   = errors.New("the vendor is at fault")
	errNeutral = errors.New("the call says nothing about the vendor")
)

// Calls are refused without being made for one of these.
var (
	errBusy     = errors.New("too many calls in flight")
	errOpen     = errors.New("breaker open")
	errInFlight = errors.New("a call with this reference is in flight")
	errGap      = errors.New("the recipient is being served, or was a moment ago")
)

// gate stands before one operation of a vendor, for one network if that matters: a limit of calls in
// flight, the vendor's rate, then a breaker.
type gate struct {
	name    string // vendor/network/operation, or vendor/operation
	vendor  string
	network string // "" = for all
	op      Operation
	slots   chan struct{}
	breaker *gobreaker.CircuitBreaker[struct{}]
	forced  *atomic.Pointer[Override] // shared with the gate that this one replaces
	log     *slog.Logger
}

func newGate(vendor, network string, op Operation, p plan, opt Options) *gate {
	window := max(breakerWindow, 10*p.total)
	log := opt.Log
	name := vendor + "/" + string(op)
	if network != "" {
		name = vendor + "/" + network + "/" + string(op)
	}
	g := &gate{
		name:    name,
		vendor:  vendor,
		network: network,
		op:      op,
		log:     log,
		forced:  new(atomic.Pointer[Override]),
		slots:   make(chan struct{}, p.inFlight),
		breaker: gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			Name:         name,
			MaxRequests:  1,
			Interval:     window,
			BucketPeriod: window / breakerBuckets,
			Timeout:      breakerOpen,
			ReadyToTrip: func(c gobreaker.Counts) bool {
				told := c.TotalSuccesses + c.TotalFailures
				return c.ConsecutiveFailures >= tripInARow || told >= tripRequests && c.TotalFailures*100 >= told*tripPercent
			},
			IsExcluded: func(err error) bool { return errors.Is(err, errNeutral) },
			// Called with the breaker locked.
			OnStateChange: func(name string, from, to gobreaker.State) {
				log.Warn("breaker", "breaker", name, "from", from.String(), "to", to.String())
			},
		}),
	}
	if opt.Previous != nil {
		if old := opt.Previous.gate(name); old != nil {
			g.forced = old.forced
		}
	}
	return g
}

// pass makes the call if the gate lets it. The error is nil, or what call gave, if the call was
// made, and errBusy or errOpen if it was not.
func (g *gate) pass(ctx context.Context, turn func(context.Context) error, call func() error) error {
	select {
	case g.slots <- struct{}{}:
	default:
		return errBusy
	}
	defer func() { <-g.slots }()
	forced := g.override()
	if forced != nil && forced.State == ForcedOpen {
		return fmt.Errorf("%w by an operator: %s", errOpen, forced.Reason)
	}
	if forced == nil && g.breaker.State() == gobreaker.StateOpen {
		return errOpen // before the call takes its turn of the rate
	}
	if turn != nil {
		if err := turn(ctx); err != nil {
			return err
		}
	}
	if forced != nil {
		return call()
	}
	made := false
	_, err := g.breaker.Execute(func() (struct{}, error) {
		made = true
		return struct{}{}, call()
	})
	if !made {
		return errOpen
	}
	return err
}

// Forced says which way an operator has forced a breaker. The zero Forced is not at all.
type Forced uint8

// The ways to force a breaker.
const (
	Auto         Forced = iota // the breaker decides
	ForcedOpen                 // no call passes
	ForcedClosed               // every call passes, and none is counted
)

// String gives the word that operators use: auto, open or closed.
func (f Forced) String() string {
	switch f {
	case ForcedOpen:
		return "open"
	case ForcedClosed:
		return "closed"
	}
	return "auto"
}

// Override is an operator's will about a breaker. It ends by itself.
type Override struct {
	State  Forced
	Reason string    // why; for the next operator
	By     string    // who; "" = not told
	Until  time.Time // when the breaker decides again
}

// override gives the override in force, nil for none.
func (g *gate) override() *Override {
	o := g.forced.Load()
	if o == nil || !time.Now().Before(o.Until) {
		return nil
	}
	return o
}

// Breaker is the state of one breaker at the time it was polled.
type Breaker struct {
	State               string    // closed, half-open or open, as calls meet it
	Forced              *Override // if an operator has forced that state
	InFlight            int       // calls that have not returned
	Successes           uint32    // calls within the window, like the next two
	Failures            uint32    // that were the vendor's fault
	Excluded            uint32    // that say nothing about the vendor: declines for the request itself, say
	ConsecutiveFailures uint32
}

// BreakerStatus is the state of an endpoint's two breakers.
type BreakerStatus struct {
	Vend  Breaker
	Query Breaker
}

func (g *gate) status() Breaker {
	state, counts := g.breaker.State(), g.breaker.Counts() // State moves an open breaker on when its time is up
	b := Breaker{
		State:               state.String(),
		InFlight:            len(g.slots),
		Successes:           counts.TotalSuccesses,
		Failures:            counts.TotalFailures,
		Excluded:            counts.TotalExclusions,
		ConsecutiveFailures: counts.ConsecutiveFailures,
	}
	if o := g.override(); o != nil {
		forced := *o
		b.State, b.Forced = o.State.String(), &forced
	}
	return b
}

// shut says why no call passes, "" while they do.
func (g *gate) shut() string {
	b := g.status()
	switch {
	case b.State != gobreaker.StateOpen.String():
		return ""
	case b.Forced != nil:
		return "breaker forced open: " + b.Forced.Reason
	}
	return "breaker open"
}

// NamedBreaker is one breaker of a set.
type NamedBreaker struct {
	Name      string // "quickvend/mtn/vend", "quickvend/mtn/query", "reloadly/token", "mtn/balance"
	Vendor    string
	Network   string // id; "" = for all networks of the vendor
	Operation Operation
	Breaker
}

// Breakers polls every breaker of the set, sorted by name.
func (s *Set) Breakers() []NamedBreaker { return polled(s.gates()) }

func polled(gates []*gate) []NamedBreaker {
	var all []NamedBreaker
	for _, g := range gates {
		all = append(all, NamedBreaker{g.name, g.vendor, g.network, g.op, g.status()})
	}
	slices.SortFunc(all, func(a, b NamedBreaker) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Override forces breakers open or closed until a time, or with Auto lets them decide again: the
// one of that name, or all those of an endpoint, "quickvend/mtn", or of a vendor, "quickvend". It
// holds for sets that replace this one, too, and is lost when the process ends. Everything but Auto
// needs a reason and a time to come. It gives the breakers as they are then, sorted by name.
func (s *Set) Override(which string, o Override) ([]NamedBreaker, error) {
	var chosen []*gate
	for _, g := range s.gates() {
		if g.name == which || strings.HasPrefix(g.name, which+"/") {
			chosen = append(chosen, g)
		}
	}
	switch {
	case len(chosen) == 0:
		return nil, fmt.Errorf("no breaker %q", which)
	case o.State == Auto:
	case o.State != ForcedOpen && o.State != ForcedClosed:
		return nil, fmt.Errorf("breaker %s: no such state", which)
	case strings.TrimSpace(o.Reason) == "":
		return nil, fmt.Errorf("breaker %s: a reason is needed", which)
	case !o.Until.After(time.Now()):
		return nil, fmt.Errorf("breaker %s: its end is not to come", which)
	}
	for _, g := range chosen {
		g.force(o)
	}
	return polled(chosen), nil
}

// force puts an override in force, and takes it back when its time is over.
func (g *gate) force(o Override) {
	if o.State == Auto {
		if g.forced.Swap(nil) != nil {
			g.log.Warn("breaker decides again", "breaker", g.name, "by", o.By)
		}
		return
	}
	g.forced.Store(&o)
	g.log.Warn("breaker forced", "breaker", g.name, "to", o.State.String(), "by", o.By, "reason", o.Reason, "until", o.Until)
	time.AfterFunc(time.Until(o.Until), func() {
		if g.forced.CompareAndSwap(&o, nil) {
			g.log.Warn("breaker decides again, its time is over", "breaker", g.name, "forced", o.State.String(), "by", o.By, "reason", o.Reason)
		}
	})
}

func (s *Set) gate(name string) *gate {
	for _, g := range s.gates() {
		if g.name == name {
			return g
		}
	}
	return nil
}

// gates gives every gate, in no order.
func (s *Set) gates() []*gate {
	var all []*gate
	for _, v := range s.vendors {
		for _, e := range v.endpoints {
			all = append(all, e.vend, e.query)
		}
		if v.tokens != nil {
			all = append(all, v.tokens.gate)
		}
		for _, c := range []*cache{v.balance, v.products} {
			if c != nil {
				all = append(all, c.gate)
			}
		}
	}
	return all
}

// samePlan reports whether two vendors make the same calls, so that what breakers have learned of
// the one holds for the other.
func samePlan(a, b *vendor) bool { return reflect.DeepEqual(a.plan, b.plan) }
