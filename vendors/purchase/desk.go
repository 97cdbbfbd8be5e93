package purchase

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"ussdd/vendors"
)

// Desk sells. Its methods are safe for any number of goroutines. A desk needs
// one Run for as long as it is in use, and a Drain at the end.
type Desk struct {
	cfg    Config
	ledger Ledger
	routes func() Routes
	log    *slog.Logger

	lease   lease
	renewal singleflight.Group

	base  context.Context // of every work
	stop  context.CancelFunc
	works sync.WaitGroup // the goroutines that work on a purchase
	slots chan struct{}  // bounds those that the reconciler began

	mu       sync.Mutex
	draining bool
	inFlight int              // works that Buy and Check began
	running  int              // all works
	files    map[string]*file // by Purchase.Key
	stats    Stats
}

// file is what the desk knows of one purchase for as long as somebody works on
// it or waits for it. All of it is guarded by Desk.mu.
type file struct {
	users   int   // those who wait, and the one who works
	working bool  // at most one goroutine works on a purchase
	id      int64 // of the purchase that Buy makes, or tries to
	latest  Purchase
	err     error         // why no purchase is known
	changed chan struct{} // closed and replaced when one of the above changes
}

// known tells that the purchase is in the ledger for sure.
func (f *file) known() bool { return f.latest.ID != 0 }

func (f *file) broadcast() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// New makes a desk that keeps its purchases in ledger and sells over what
// routes gives at each step; see Sets. It does nothing until it is used.
func New(cfg Config, ledger Ledger, routes func() Routes) *Desk {
	cfg = cfg.withDefaults()
	d := &Desk{
		cfg:    cfg,
		ledger: ledger,
		routes: routes,
		log:    cfg.Log,
		lease:  lease{now: cfg.Now},
		slots:  make(chan struct{}, cfg.MaxResumed),
		files:  make(map[string]*file),
		stats: Stats{
			Decided: make(map[string]uint64),
			Turned:  make(map[string]uint64),
			Vends:   make(map[vendors.Outcome]uint64),
			Queries: make(map[vendors.FindingState]uint64),
		},
	}
	d.base, d.stop = context.WithCancel(context.Background())
	return d
}

// Buy has an order delivered. It returns when the purchase is decided, or as it
// stands (open) when ctx ends: nothing of the purchase depends on ctx, and it
// goes on. An order whose Key is known is not bought again; Buy then waits for
// the purchase that there is, or gives it as it stands if it would refuse the
// order now.
//
// After ErrUnknown (the ledger is in trouble, or ctx or the desk ended before it
// had answered) it is unknown whether there is a purchase. If there is, it is
// brought to its end all the same, and the same order tells. The Purchase
// returned with ErrUnknown has no State and only a Ref, for Check: that of the
// purchase if this call, or one that it joined, made it. It is "" if only an
// earlier call can have made one.
//
// After every other error this call has bought nothing: ErrOrder, ErrNetwork,
// ErrLimit (also as a *LimitError), ErrBusy, ErrDraining, ErrNoWallet, ErrInsufficient, ErrKeyReused
// if the key has bought something else, or an *OpenError unless o.Again.
func (d *Desk) Buy(ctx context.Context, o Order) (Purchase, error) {
	if o.Key == "" || o.MSISDN == "" || o.Recipient == "" {
		return Purchase{}, ErrOrder
	}
	refusal := d.validate(o)
	d.mu.Lock()
	f := d.join(o.Key)
	if !f.working && !f.known() {
		if refusal == nil {
			refusal = d.admit()
		}
		if refusal != nil {
			d.leave(o.Key, f)
			d.mu.Unlock()
			return d.refuse(ctx, o, refusal)
		}
		f.id = d.cfg.NewID()
		d.inFlight++
		d.begin(o.Key, f, func(w *work) error { return w.buy(o) }, func() { d.inFlight-- })
	}
	d.mu.Unlock()
	p, err := d.await(ctx, o.Key, f, func(p Purchase, _ bool) bool { return p.asleep() })
	switch {
	case err != nil && answer(err):
		return Purchase{}, fmt.Errorf("buy: %w", err)
	case err != nil:
		return Purchase{Ref: refOf(f.id)}, fmt.Errorf("buy: %w: %w", ErrUnknown, err)
	case !p.is(o):
		return Purchase{}, ErrKeyReused
	}
	return p, nil
}

// refuse gives the purchase that the order's key has bought already, else the
// refusal.
func (d *Desk) refuse(ctx context.Context, o Order, refusal error) (p Purchase, err error) {
	err = d.once(ctx, func(ctx context.Context) (err error) {
		p, err = d.ledger.ByKey(ctx, o.Key)
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		if errors.Is(refusal, ErrBusy) {
			d.count(func(s *Stats) { s.Refused++ })
		}
		return Purchase{}, refusal
	case err != nil:
		return Purchase{}, fmt.Errorf("buy: %w: %w", ErrUnknown, err)
	case !p.is(o):
		return Purchase{}, ErrKeyReused
	}
	d.count(func(s *Stats) { s.Repeated++ })
	return p, nil
}

// validate checks the order against what is sold now.
func (d *Desk) validate(o Order) error {
	n, ok := d.routes().Network(o.Network)
	if !ok {
		return ErrNetwork
	}
	const naira = 100
	if o.Amount <= 0 || o.Amount%naira != 0 || o.Amount < n.Min || o.Amount > n.Max {
		return ErrLimit
	}
	return nil
}

// Check tells how msisdn's purchase ref stands. If it is pending, its vendor is
// queried at once, unless that is being done already, and Check returns with
// the answer; if somebody works on it, with the end of that work; in any case
// when ctx ends. Errors: ErrNotFound, also for a purchase of another subscriber,
// or the ledger's trouble.
func (d *Desk) Check(ctx context.Context, msisdn, ref string) (Purchase, error) {
	p, _, err := d.ledger.Purchase(ctx, ref)
	if err != nil {
		return Purchase{}, fmt.Errorf("check %s: %w", ref, err)
	}
	if p.MSISDN != msisdn {
		return Purchase{}, fmt.Errorf("check %s: %w", ref, ErrNotFound)
	}
	if !p.Open() {
		return p, nil
	}
	d.mu.Lock()
	f := d.join(p.Key)
	d.note(f, p)
	if !f.working && p.State == Pending && d.admit() == nil {
		d.inFlight++
		d.begin(p.Key, f, func(w *work) error { return w.resume(p.Ref) }, func() { d.inFlight-- })
	}
	d.mu.Unlock()
	return d.await(ctx, p.Key, f, func(p Purchase, working bool) bool { return p.asleep() || !working })
}

// Drain refuses new purchases and waits for the works in flight, each until its
// purchase is decided or pending. If ctx ends first, it cuts the rest off, leaves
// them as they are recorded, for a reconciler to finish, and says how many.
// Run must go on until Drain has returned, to keep the lease. After Drain the
// lease is given up and the desk is of no more use.
func (d *Desk) Drain(ctx context.Context) error {
	d.mu.Lock()
	d.draining = true
	d.mu.Unlock()

	idle := make(chan struct{})
	go func() {
		d.works.Wait()
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		d.mu.Lock()
		err = fmt.Errorf("drain: %d purchases left in flight: %w", d.running, context.Cause(ctx))
		d.mu.Unlock()
	}
	d.stop()
	select {
	case <-idle:
		d.giveUpLease()
	case <-time.After(stopFor):
	}
	return err
}

// stopFor is how long Drain waits for a vend that it has cut off, and for the
// ledger when it gives up the lease.
const stopFor = time.Second

// Stats are counts since the desk was made, and gauges of the moment.
type Stats struct {
	Bought    uint64                          // purchases whose money was held by Buy
	Repeated  uint64                          // orders whose key the ledger knew
	Decided   map[string]uint64               // purchases by final state: Delivered, Failed
	Reviews   uint64                          // purchases that were left to a person
	Turned    map[string]uint64               // truths that came after the decision, by state of the attempt: DeliveredLate, Reversed
	Rechecked uint64                          // decided purchases whose vendors were asked again
	Refunds   Clock                           // from the known failure to the money's return
	Doubts    Clock                           // from the first doubt to the decision
	Variances uint64                          // deliveries whose cost by the vendor is not the computed one
	Variance  int64                           // kobo that vendors took more than computed, less what they took less
	Vends     map[vendors.Outcome]uint64      // attempts by outcome
	Queries   map[vendors.FindingState]uint64 // queries by finding
	Resumed   uint64                          // purchases that the reconciler took up
	Orphans   uint64                          // of these, Held or Sending: left by a crash or a trouble
	Refused   uint64                          // orders refused with ErrBusy
	Conflicts uint64                          // moves that somebody else made first
	Failures  uint64                          // calls of the ledger that failed
	GivenUp   uint64                          // works that ended early because of it
	Panics    uint64                          // works that ended in a panic
	InFlight  int                             // works begun by Buy and Check
	Resuming  int                             // works begun by the reconciler
	Lease     time.Duration                   // what is left of the lease; negative = it ran out
}

// Clock measures decisions that somebody is owed in a time.
type Clock struct {
	Count    uint64        // decisions
	Total    time.Duration // that they took together
	Breaches uint64        // decisions that took longer than allowed
}

func (c *Clock) add(took, allowed time.Duration) (late bool) {
	c.Count++
	c.Total += took
	if took <= allowed {
		return false
	}
	c.Breaches++
	return true
}

// What a subscriber is owed: the money back so soon after it is known that
// nothing was delivered, and a decision so soon after it is known that nobody
// knows.
const (
	refundWithin = 30 * time.Second
	decideWithin = 24 * time.Hour
)

// Stats gives a snapshot.
func (d *Desk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Decided, s.Vends, s.Queries = maps.Clone(s.Decided), maps.Clone(s.Vends), maps.Clone(s.Queries)
	s.Turned = maps.Clone(s.Turned)
	s.InFlight, s.Resuming = d.inFlight, d.running-d.inFlight
	s.Lease = d.lease.left()
	return s
}

func (d *Desk) count(add func(*Stats)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	add(&d.stats)
}

// join makes the caller a user of key's file. d.mu is held.
func (d *Desk) join(key string) *file {
	f := d.files[key]
	if f == nil {
		f = &file{changed: make(chan struct{})}
		d.files[key] = f
	}
	f.users++
	return f
}

// leave undoes join. d.mu is held.
func (d *Desk) leave(key string, f *file) {
	if f.users--; f.users == 0 && d.files[key] == f {
		delete(d.files, key)
	}
}

// note keeps the newest version of a purchase. d.mu is held.
func (d *Desk) note(f *file, p Purchase) {
	if !f.known() || p.Version > f.latest.Version {
		f.latest = p
		f.broadcast()
	}
}

// admit says whether Buy or Check may begin a work. d.mu is held.
func (d *Desk) admit() error {
	if d.draining {
		return ErrDraining
	}
	if d.inFlight >= d.cfg.MaxInFlight {
		return ErrBusy
	}
	return nil
}

// await gives the purchase as soon as it is enough, else as it is when ctx or
// the desk ends, and leaves the file. What nobody here works on may be moved by
// another desk, and is read again at every Poll.
func (d *Desk) await(ctx context.Context, key string, f *file, enough func(p Purchase, working bool) bool) (Purchase, error) {
	defer func() {
		d.mu.Lock()
		d.leave(key, f)
		d.mu.Unlock()
	}()
	for {
		d.mu.Lock()
		p, known, err, working, changed := f.latest, f.known(), f.err, f.working, f.changed
		d.mu.Unlock()
		switch {
		case err != nil:
			return Purchase{}, err
		case known && enough(p, working):
			return p, nil
		}
		var again <-chan time.Time
		if known && !working {
			again = time.After(d.cfg.Poll)
		}
		select {
		case <-changed:
			continue
		case <-again:
			if q, _, err := d.ledger.Purchase(ctx, p.Ref); err == nil {
				d.mu.Lock()
				d.note(f, q)
				d.mu.Unlock()
			}
			continue
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-d.base.Done():
			err = errLost
		}
		if known {
			return p, nil
		}
		return Purchase{}, err
	}
}

// refOf is the Ref of the purchase with that id.
func refOf(id int64) string { return "TXN-" + base32(id) }

// base32 writes an id in 13 characters of Crockford's base 32, which sort as
// the ids do.
func base32(id int64) string {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var b [13]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = digits[id&31]
		id = int64(uint64(id) >> 5)
	}
	return string(b[:])
}

// mask hides the middle of an MSISDN, for logs.
func mask(msisdn string) string {
	if len(msisdn) <= 10 {
		return "***"
	}
	return msisdn[:6] + "***" + msisdn[len(msisdn)-4:]
}

var errLost = errors.New("purchase: work ended before the ledger had answered")
