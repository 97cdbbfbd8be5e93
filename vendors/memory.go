package vendors

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// memory is what is remembered of a vendor from call to call, and from one set to the next that
// replaces it: references in flight, recipients of late, and our float there. To load a set changes
// nothing of it, for the set may be refused and the one before go on.
type memory struct {
	mu       sync.Mutex
	inFlight map[string]bool      // references of vends that have not returned
	serving  map[string]bool      // recipients of vends that have not returned, of vendors with a gap
	vended   map[string]time.Time // last vend that may have been executed, by network and recipient
	swept    time.Time            // when vended was last rid of what is too old
	notUntil time.Time            // the vendor asked for silence

	float    int64     // kobo; valid if floatAt is set
	floatAt  time.Time // when float was told, or last reckoned
	emptyAt  time.Time // when a sale was declined for want of float; zero = not since float was told
	emptyFor int64     // kobo of that sale
}

const (
	maxSilence  = time.Minute     // that a vendor can ask for
	emptyTime   = 5 * time.Minute // that a float is believed to be exhausted, or what it was, when nobody asks
	sweepPeriod = time.Minute
)

// newMemory takes over what was remembered of the vendor.
func newMemory(v *vendor, opt Options) *memory {
	if opt.Previous != nil {
		if old := opt.Previous.vendors[v.name]; old != nil {
			return old.memory
		}
	}
	return &memory{inFlight: map[string]bool{}, serving: map[string]bool{}, vended: map[string]time.Time{}}
}

// newLimiter makes the limit of a vendor's rate, nil for none. An unchanged one keeps what it has
// counted.
func newLimiter(v *vendor, opt Options) *rate.Limiter {
	r := v.plan.rate
	if opt.Previous != nil {
		if old := opt.Previous.vendors[v.name]; old != nil && old.plan.rate == r {
			return old.limiter
		}
	}
	if r.calls == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(float64(r.calls)/r.per.Seconds()), r.burst)
}

// turn waits for the vendor's rate to allow a call, or gives errBusy if that takes too long.
func (v *vendor) turn(ctx context.Context) error {
	if v.memory.silent() {
		return fmt.Errorf("%w: the vendor has asked for silence", errBusy)
	}
	if v.limiter == nil {
		return nil
	}
	r := v.limiter.Reserve()
	delay := r.Delay()
	if !r.OK() || delay > v.plan.rate.wait {
		r.Cancel()
		return fmt.Errorf("%w: too many calls in this time", errBusy)
	}
	if delay == 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
		return fmt.Errorf("%w: %w", errBusy, context.Cause(ctx))
	}
}

// silence keeps calls back for as long as the vendor has asked, up to maxSilence.
func (m *memory) silence(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if until := time.Now().Add(min(d, maxSilence)); until.After(m.notUntil) {
		m.notUntil = until
	}
}

func (m *memory) silent() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Until(m.notUntil) > 0
}

// begin enters a vend. One whose reference is still in flight must not be sent: that is
// errInFlight. One to a recipient who is being served, or was less than gap ago, is errGap.
func (m *memory) begin(r Request, gap time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inFlight[r.Reference] {
		return errInFlight
	}
	if to := recipient(r); gap > 0 {
		if m.serving[to] || time.Since(m.vended[to]) < gap {
			return errGap
		}
		m.serving[to] = true
	}
	m.inFlight[r.Reference] = true
	return nil
}

// recipient is whom a gap is about: a number on a network.
func recipient(r Request) string { return r.Network + " " + r.Recipient }

// end leaves a vend.
func (m *memory) end(r Request, res Result, gap time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.inFlight, r.Reference)
	now := time.Now()
	if gap > 0 {
		delete(m.serving, recipient(r))
	}
	if gap > 0 && res.Sent && res.Outcome != Declined {
		m.vended[recipient(r)] = now
		if now.Sub(m.swept) > sweepPeriod {
			m.swept = now
			for key, at := range m.vended {
				if now.Sub(at) >= gap {
					delete(m.vended, key)
				}
			}
		}
	}
	switch {
	case res.Outcome == Declined && res.Reason == ReasonFloat:
		m.emptyAt, m.emptyFor = now, r.Amount
	case res.FloatKnown:
		m.setFloat(res.Float, now)
	case res.Outcome == Delivered && !m.floatAt.IsZero():
		cost := res.Cost
		if cost == 0 {
			cost = r.Amount
		}
		m.float = max(0, m.float-cost)
		m.emptyAt = time.Time{}
	}
}

// told enters a float that the vendor has told.
func (m *memory) told(kobo int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setFloat(kobo, time.Now())
}

func (m *memory) setFloat(kobo int64, now time.Time) {
	m.float, m.floatAt, m.emptyAt = kobo, now, time.Time{}
}

// Float is what is known of our account at a vendor.
type Float struct {
	Vendor    string
	Kobo      int64         // as last told, less the deliveries since
	Known     time.Time     // when it was last told; zero = never, and then Kobo means nothing
	Low       int64         // kobo below which operators are to be warned; 0 = never
	Exhausted bool          // a sale was declined for want of float, not long ago
	Every     time.Duration // how often Set.Balance is to be called; 0 = the vendor cannot be asked
}

// IsLow reports whether operators are to be warned.
func (f Float) IsLow() bool { return f.Exhausted || !f.Known.IsZero() && f.Kobo < f.Low }

// state gives the float as it is known, for a vendor to fill in.
func (m *memory) state() Float {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Float{Kobo: m.float, Known: m.floatAt, Exhausted: m.empty()}
}

func (m *memory) empty() bool { return !m.emptyAt.IsZero() && time.Since(m.emptyAt) < emptyTime }

// pays reports whether the float is thought to be enough for a sale. What the vendor has told is
// believed for so long.
func (m *memory) pays(amount int64, believed time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.empty() && amount >= m.emptyFor {
		return false
	}
	return m.floatAt.IsZero() || time.Since(m.floatAt) > believed || m.float >= amount-amount/5
}
