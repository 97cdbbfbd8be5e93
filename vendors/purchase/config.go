package purchase

import (
	"log/slog"
	"math/rand/v2"
	"time"
)

// Config says how a Desk works. The zero value of each field means what is
// written beside it.
type Config struct {
	// Owner names this desk in the ledger. It must be unique among the desks
	// that run at the same time. "" = a random name.
	Owner string
	// Lease is how long after its last sign of life the purchases of a dead
	// desk are taken over. It is renewed three times in that time. 0 = 30s.
	Lease time.Duration
	// VendTimeout bounds a vend: nothing of an attempt is sent later than this
	// after it was recorded. It should exceed every vendor's own time-out, and be
	// the same for all desks of a ledger. 0 = 30s.
	VendTimeout time.Duration
	// QueryTimeout bounds a query. 0 = 15s.
	QueryTimeout time.Duration
	// LedgerTimeout bounds a single call of the ledger. 0 = 5s, or a third of
	// Lease if that is less.
	LedgerTimeout time.Duration
	// Poll is how often the reconciler asks the ledger for work. 0 = 1s.
	Poll time.Duration
	// MaxHeld is the age up to which a purchase is sent to a first or a further
	// endpoint. Subscribers who have long been told of a failure, or have given
	// up, get their money back instead. 0 = 2m.
	MaxHeld time.Duration
	// MaxPending is for how long a purchase is queried: then it needs a person.
	// A vendor that tells for a shorter time says so in its QueryPlan. 0 = 23h.
	MaxPending time.Duration
	// MaxInFlight bounds the purchases and checks that work at once. 0 = 500.
	MaxInFlight int
	// MaxResumed bounds the purchases that the reconciler works on at once,
	// beside MaxInFlight. 0 = 16.
	MaxResumed int
	// Now is the clock. nil = time.Now.
	Now func() time.Time
	// NewID gives a positive id that no other desk gives. nil = random.
	NewID func() int64
	// Log gets a line per decided purchase and per trouble, MSISDNs masked.
	// nil = none.
	Log *slog.Logger
	// Boundary, if set, is called with one of Boundaries each time that the
	// life of a purchase passes it, for tests that stop the process there.
	Boundary func(name string)
}

func (c Config) withDefaults() Config {
	duration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	duration(&c.Lease, 30*time.Second)
	duration(&c.VendTimeout, 30*time.Second)
	duration(&c.QueryTimeout, 15*time.Second)
	duration(&c.LedgerTimeout, min(5*time.Second, c.Lease/3))
	duration(&c.Poll, time.Second)
	duration(&c.MaxHeld, 2*time.Minute)
	duration(&c.MaxPending, 23*time.Hour)
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = 500
	}
	if c.MaxResumed <= 0 {
		c.MaxResumed = 16
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = rand.Int64
	}
	if c.Owner == "" {
		c.Owner = "desk-" + base32(c.NewID())
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Boundary == nil {
		c.Boundary = func(string) {}
	}
	return c
}

// The boundaries that Config.Boundary is told of, in the order of a life.
const (
	beforeHold    = "before-hold"
	afterHold     = "after-hold"
	beforeAttempt = "before-attempt"
	afterAttempt  = "after-attempt"  // recorded, nothing sent
	afterVend     = "after-vend"     // the answer is in hand and not recorded
	afterRecord   = "after-record-"  // and the state recorded
	beforeRelease = "before-release" // of money that no attempt is open for
	afterRelease  = "after-release"
	afterDue      = "after-due" // taken over, nothing done about it
	beforeQuery   = "before-query"
	afterQuery    = "after-query" // the finding is in hand and not recorded
)

// Boundaries are the names that Config.Boundary is called with.
var Boundaries = []string{
	beforeHold, afterHold, beforeAttempt, afterAttempt, afterVend,
	afterRecord + Delivered, afterRecord + Failed, afterRecord + Pending, afterRecord + Held,
	beforeRelease, afterRelease, afterDue, beforeQuery, afterQuery,
}
