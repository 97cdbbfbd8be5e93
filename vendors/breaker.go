package vendors

import (
	"errors"
	"log/slog"
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
	errBusy = errors.New("too many calls in flight")
	errOpen = errors.New("breaker open")
)

// gate stands before one operation of an endpoint: a limit of calls in flight, then a breaker.
type gate struct {
	slots   chan struct{}
	breaker *gobreaker.CircuitBreaker[struct{}]
}

func newGate(name string, p plan, log *slog.Logger) *gate {
	window := max(breakerWindow, 10*p.total)
	return &gate{
		slots: make(chan struct{}, p.inFlight),
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
				log.Warn("breaker", "endpoint", name, "from", from.String(), "to", to.String())
			},
		}),
	}
}

// pass makes the call if the gate lets it. The error is nil if the call was made.
func (g *gate) pass(call func() error) error {
	select {
	case g.slots <- struct{}{}:
	default:
		return errBusy
	}
	defer func() { <-g.slots }()
	made := false
	_, _ = g.breaker.Execute(func() (struct{}, error) {
		made = true
		return struct{}{}, call()
	})
	if !made {
		return errOpen
	}
	return nil
}

// Breaker is the state of one breaker at the time it was polled.
type Breaker struct {
	State               string // closed, half-open or open
	InFlight            int    // calls that have not returned
	Successes           uint32 // calls within the window, like the next two
	Failures            uint32 // that were the vendor's fault
	Excluded            uint32 // that say nothing about the vendor: declines for the request itself, say
	ConsecutiveFailures uint32
}

// BreakerStatus is the state of an endpoint's two breakers.
type BreakerStatus struct {
	Vend  Breaker
	Query Breaker
}

func (g *gate) status() Breaker {
	state, counts := g.breaker.State(), g.breaker.Counts() // State moves an open breaker on when its time is up
	return Breaker{
		State:               state.String(),
		InFlight:            len(g.slots),
		Successes:           counts.TotalSuccesses,
		Failures:            counts.TotalFailures,
		Excluded:            counts.TotalExclusions,
		ConsecutiveFailures: counts.ConsecutiveFailures,
	}
}
