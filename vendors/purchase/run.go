package purchase

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"ussdd/vendors"
)

const (
	holdFor   = 5 * time.Second       // how long Buy insists on a hold; the subscriber is waiting
	moveFor   = time.Minute           // how long a work insists on any other move
	firstWait = 50 * time.Millisecond // after the first failure of the ledger; doubles
	lastWait  = 2 * time.Second       // up to this
	idleFor   = 10 * time.Second      // a held purchase that nobody worked on for so long is an orphan
)

// querySteps are the waits before queries where no vendor plans them, counted
// from the end of the vend; the last one repeats.
var querySteps = []time.Duration{
	2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
}

// plan gives the waits before queries to a vendor, and for how long it is asked.
func (w *work) plan(vendor string) (steps []time.Duration, maxAge time.Duration) {
	steps, maxAge = querySteps, w.cfg.MaxPending
	ep, ok := w.routes().Endpoint(vendor, w.p.Network)
	if !ok {
		return steps, maxAge
	}
	after, age := ep.QueryPlan()
	if len(after) > 0 {
		steps = after
	}
	if age > 0 {
		maxAge = min(maxAge, age)
	}
	return steps, maxAge
}

// nextQuery is when to query a pending attempt: at once if the desk that made it
// died over it, else at the first time of the plan that is after now. It goes by
// time and not by a count, so that a query out of turn (Check) does not put off
// the next one.
func nextQuery(a Attempt, steps []time.Duration, now time.Time) time.Time {
	if a.Reason == Interrupted && a.Queries == 0 {
		return now
	}
	at := a.FinishedAt
	if at.IsZero() {
		at = a.StartedAt
	}
	for i := 0; !at.After(now); i++ {
		at = at.Add(steps[min(i, len(steps)-1)])
	}
	return at
}

// work is one goroutine's work on one purchase. An error of its methods ends
// the work and leaves the purchase as it is recorded.
type work struct {
	*Desk
	file     *file
	log      *slog.Logger
	p        Purchase  // as the ledger last gave it
	attempts []Attempt // all of p's, as far as this work knows
	skipped  string    // the vendors last passed over, and why
}

// begin puts a goroutine to work on a purchase that nobody works on. done is
// called at its end. d.mu is held, also for done.
func (d *Desk) begin(key string, f *file, life func(*work) error, done func()) {
	f.users++
	f.working = true
	d.running++
	d.works.Go(func() {
		w := &work{Desk: d, file: f, log: d.log}
		err := errLost
		defer func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			f.working = false
			if !f.known() {
				f.err = err
				delete(d.files, key)
			}
			f.broadcast()
			d.leave(key, f)
			d.running--
			done()
		}()
		defer func() {
			if v := recover(); v != nil {
				w.log.Error("panic in a purchase", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				d.count(func(s *Stats) { s.Panics++ })
			}
		}()
		if err = life(w); err != nil && (!answer(err) || errors.Is(err, ErrNotFound) || w.p.ID != 0 && errors.Is(err, ErrOrder)) {
			w.log.Error("purchase left as it is recorded", "state", w.p.State, "err", err)
			d.count(func(s *Stats) { s.GivenUp++ })
		}
	})
}

// buy holds the money and vends.
func (w *work) buy(o Order) error {
	created, err := w.hold(o)
	if err != nil {
		return err
	}
	if w.p.Owner != w.cfg.Owner || w.p.State != Held {
		return nil
	}
	if !created {
		if err := w.load(w.p.Ref); err != nil {
			return err
		}
	}
	return w.vend()
}

// resume goes on with a purchase that somebody, perhaps in another process, has
// left: it queries what may have been sent, and vends what surely was not.
func (w *work) resume(ref string) error {
	if err := w.load(ref); err != nil {
		return err
	}
	if w.p.Owner != w.cfg.Owner {
		return nil
	}
	if w.p.State == Sending {
		if err := w.interrupted(); err != nil {
			return err
		}
	}
	if w.p.State == Pending {
		if err := w.query(); err != nil {
			return err
		}
	}
	return w.vend()
}

// vend tries endpoint after endpoint until one may have delivered.
func (w *work) vend() error {
	for w.p.State == Held {
		if err := w.try(); err != nil {
			return err
		}
	}
	return nil
}

// hold records the purchase and its money.
func (w *work) hold(o Order) (created bool, err error) {
	w.cfg.Boundary(beforeHold)
	var stored Purchase
	fresh := w.fresh(o)
	err = w.insist("hold", holdFor, func(ctx context.Context) error {
		if err := w.cover(); err != nil {
			return err
		}
		stored, created, err = w.ledger.Hold(ctx, fresh)
		return err
	})
	if errors.Is(err, ErrConflict) {
		err = ErrKeyReused
	}
	if err != nil {
		return false, err
	}
	w.set(stored)
	w.cfg.Boundary(afterHold)
	w.count(func(s *Stats) {
		if created {
			s.Bought++
		} else {
			s.Repeated++
		}
	})
	return created, nil
}

func (w *work) fresh(o Order) Purchase {
	id, now := w.file.id, w.cfg.Now()
	return Purchase{
		ID: id, Ref: refOf(id), Key: o.Key, Session: o.Session,
		MSISDN: o.MSISDN, Recipient: o.Recipient, Network: o.Network, Amount: o.Amount,
		State: Held, Owner: w.cfg.Owner, Version: 1,
		CreatedAt: now, UpdatedAt: now, NextAt: now.Add(idleFor), Again: o.Again,
	}
}

// try makes one attempt, or ends a purchase that no attempt can be made for.
func (w *work) try() error {
	ep := w.next()
	switch {
	case ep == nil && w.p.Reason != "":
		return w.release(w.p.Reason)
	case ep == nil:
		return w.release(reason(vendors.Unavailable, NoRoute))
	case w.old():
		return w.release(reason(vendors.NotSent, Expired))
	}
	if err := w.insist("attempt", moveFor, func(context.Context) error { return w.cover() }); err != nil {
		return err
	}
	now := w.cfg.Now()
	a := Attempt{
		Purchase: w.p.ID, N: w.p.Attempts + 1, Vendor: ep.Vendor(), Reference: w.p.Ref,
		State: Sending, StartedAt: now,
	}
	if a.N > 1 {
		a.Reference += "-" + strconv.Itoa(a.N)
	}
	reference, unnamed := ep.Reference(a.Reference, now)
	if unnamed == nil {
		a.Reference = reference
	}
	p := w.p
	p.Vendor, p.NextAt = a.Vendor, w.deadline(a)
	w.cfg.Boundary(beforeAttempt)
	err := w.move("attempt", Sending, func(ctx context.Context) (Purchase, error) {
		return w.ledger.Attempt(ctx, p, a)
	})
	if err != nil {
		return err
	}
	w.put(a)
	w.cfg.Boundary(afterAttempt)
	if unnamed != nil {
		return w.settle(a, vendors.Result{Outcome: vendors.Unavailable, Reason: vendors.ReasonConfig, Detail: unnamed.Error()})
	}
	return w.settle(a, w.send(ep, a))
}

// deadline is the time after which nothing of an attempt is sent any more, by
// whichever process made it.
func (w *work) deadline(a Attempt) time.Time { return a.StartedAt.Add(w.cfg.VendTimeout) }

// old tells that it is too late to send the purchase anywhere else.
func (w *work) old() bool { return w.cfg.Now().Sub(w.p.CreatedAt) > w.cfg.MaxHeld }

// next is the first endpoint of the route that is open to the purchase and whose
// vendor has not been tried. nil if there is none. It reports what it passes over.
func (w *work) next() Endpoint {
	ask := vendors.Ask{Network: w.p.Network, Amount: w.p.Amount, At: w.cfg.Now(), Key: w.p.Key}
	var next Endpoint
	var skipped []string
	for _, h := range w.routes().Route(ask) {
		vendor := h.Endpoint.Vendor()
		if slices.ContainsFunc(w.attempts, func(a Attempt) bool { return a.Vendor == vendor }) {
			continue
		}
		if h.Skipped == "" {
			next = h.Endpoint
			break
		}
		skipped = append(skipped, vendor+": "+h.Skipped)
	}
	if s := strings.Join(skipped, "; "); s != "" && s != w.skipped {
		w.skipped = s
		w.log.Info("vendors passed over", "why", s)
	}
	return next
}

// send makes the one call of an attempt. The call is cut off when our lease
// ends, since from then on somebody else may decide about the purchase, and is
// not begun if the ledger was so slow that it would be cut short.
func (w *work) send(ep Endpoint, a Attempt) vendors.Result {
	notSent := vendors.Result{Outcome: vendors.NotSent, Reason: Late}
	if err := w.cover(); err != nil {
		return notSent
	}
	left := w.deadline(a).Sub(w.cfg.Now())
	if left < w.cfg.VendTimeout/2 {
		return notSent
	}
	ctx, cancel := context.WithTimeout(w.base, left)
	defer cancel()
	ctx, release := w.lease.bound(ctx)
	defer release()
	if ctx.Err() != nil {
		return notSent
	}
	res := ep.Vend(ctx, w.request(a))
	w.cfg.Boundary(afterVend)
	return res
}

func (w *work) request(a Attempt) vendors.Request {
	return vendors.Request{Network: w.p.Network, Recipient: w.p.Recipient, Amount: w.p.Amount, Reference: a.Reference}
}

// settle records the answer to an attempt.
func (w *work) settle(a Attempt, res vendors.Result) error {
	outcome := trusted(res)
	w.count(func(s *Stats) { s.Vends[outcome]++ })
	a.State, a.Reason, a.FinishedAt = outcome.String(), res.Reason, w.cfg.Now()
	a.HTTPStatus, a.VendorRef, a.Detail = res.HTTPStatus, res.VendorRef, res.Detail
	a.Cost, a.Commission, a.Token = res.Cost, res.Commission, res.Token
	next := Pending
	switch outcome {
	case vendors.Delivered:
		next = Delivered
	case vendors.Declined, vendors.NotSent, vendors.Unavailable:
		next = w.onward(res.Final)
	}
	return w.record(a, outcome, next)
}

// trusted is a result's outcome, unless the result contradicts itself: what may
// have left is never taken for what was not sent.
func trusted(res vendors.Result) vendors.Outcome {
	switch res.Outcome {
	case vendors.Delivered, vendors.Declined:
		return res.Outcome
	case vendors.NotSent, vendors.Unavailable:
		if !res.Sent {
			return res.Outcome
		}
	}
	return vendors.Ambiguous
}

// onward is the state after an attempt that certainly delivered nothing.
func (w *work) onward(final bool) string {
	if final || w.old() || w.next() == nil {
		return Failed
	}
	return Held
}

// interrupted records that the answer to an attempt was lost: it may have been
// sent or not.
func (w *work) interrupted() error {
	a, err := w.undecided()
	if err != nil {
		return err
	}
	a.State, a.Reason = Pending, Interrupted
	return w.record(a, vendors.Ambiguous, Pending)
}

// undecided is the attempt that a Sending or Pending purchase waits for.
func (w *work) undecided() (Attempt, error) {
	if n := len(w.attempts); n > 0 && w.attempts[n-1].open() {
		return w.attempts[n-1], nil
	}
	return Attempt{}, fmt.Errorf("%s purchase without an open attempt", w.p.State)
}

// query asks the vendor once what became of the open attempt, and records it.
func (w *work) query() error {
	a, err := w.undecided()
	if err != nil {
		return err
	}
	inTurn := w.inTurn(a)
	ep, ok := w.routes().Endpoint(a.Vendor, w.p.Network)
	if !ok {
		a.Reason = NoVendor
		return w.record(a, vendors.Ambiguous, w.unanswered(a))
	}
	found, err := w.ask(ep, a)
	if err != nil {
		return err
	}
	a.hear(found)
	a.Reason = cmp.Or(found.Reason, a.Reason)
	if found.State != vendors.NotFound {
		a.NotFound = 0
	}
	outcome, next := vendors.Ambiguous, Pending
	switch found.State {
	case vendors.FoundDelivered:
		a.Reason = found.Reason
		outcome, next = vendors.Delivered, Delivered
	case vendors.FoundFailed:
		a.Reason = found.Reason
		outcome, next = vendors.Declined, Failed
	case vendors.NotFound:
		if inTurn && w.neverArrived(ep, &a) {
			a.Reason = Missing
			outcome, next = vendors.NotSent, w.onward(false)
		}
	}
	a.State = outcome.String()
	if next == Pending {
		next = w.unanswered(a)
	}
	return w.record(a, outcome, next)
}

// inTurn tells that a query is due now by the plan, and not because somebody asked
// for it, which is no reason to believe "not found" sooner. A turn that came while
// the last move was on its way to the ledger has come.
func (w *work) inTurn(a Attempt) bool {
	turn := w.p.NextAt
	if turn.After(w.p.UpdatedAt) {
		steps, _ := w.plan(a.Vendor)
		turn = nextQuery(a, steps, w.p.UpdatedAt)
	}
	return !w.cfg.Now().Before(turn)
}

// ask queries the vendor about an attempt. Like a vend it is cut off when our
// lease ends, since from then on somebody else may ask: no two calls with one
// reference are ever under way together.
func (w *work) ask(ep Endpoint, a Attempt) (vendors.Finding, error) {
	if err := w.insist("query", moveFor, func(context.Context) error { return w.cover() }); err != nil {
		return vendors.Finding{}, err
	}
	w.cfg.Boundary(beforeQuery)
	ctx, cancel := context.WithTimeout(w.base, w.cfg.QueryTimeout)
	defer cancel()
	ctx, release := w.lease.bound(ctx)
	defer release()
	found := ep.Query(ctx, w.request(a), a.VendorRef)
	w.cfg.Boundary(afterQuery)
	w.count(func(s *Stats) { s.Queries[found.State]++ })
	return found, nil
}

// unanswered is the state of a purchase whose vendor, asked again, could not
// tell what became of the attempt: after its time there is no sense in asking.
func (w *work) unanswered(a Attempt) string {
	if _, maxAge := w.plan(a.Vendor); w.cfg.Now().Sub(a.StartedAt) < maxAge {
		return Pending
	}
	return Review
}

// neverArrived counts a "not found" that came in turn, and tells whether it
// proves that the attempt never reached the vendor.
func (w *work) neverArrived(ep Endpoint, a *Attempt) bool {
	grace, times, ok := ep.NotFoundFinal()
	if !ok || w.cfg.Now().Before(w.ended(*a).Add(grace)) {
		return false
	}
	a.NotFound++
	return a.NotFound >= times
}

// ended is the time after which an attempt sent nothing: when it returned, or
// at its deadline if nobody lived to see it return.
func (w *work) ended(a Attempt) time.Time {
	if a.FinishedAt.IsZero() {
		return w.deadline(a)
	}
	return a.FinishedAt
}

// hear takes what a query tells about an attempt, whatever becomes of it.
func (a *Attempt) hear(f vendors.Finding) {
	a.Queries++
	a.HTTPStatus = f.HTTPStatus
	a.VendorRef = cmp.Or(f.VendorRef, a.VendorRef)
	a.Detail = cmp.Or(f.Detail, a.Detail)
	a.Cost, a.Commission = cmp.Or(f.Cost, a.Cost), cmp.Or(f.Commission, a.Commission)
	a.Token = cmp.Or(f.Token, a.Token)
}

// record writes down what is known of attempt a, and moves the purchase.
func (w *work) record(a Attempt, outcome vendors.Outcome, next string) error {
	p, now := w.p, w.cfg.Now()
	p.Reason, p.VendorRef, p.Cost, p.Token = reason(outcome, a.Reason), a.VendorRef, a.Cost, a.Token
	switch next {
	case Delivered:
		p.Reason = ""
	case Held:
		p.NextAt = now.Add(idleFor)
	case Pending:
		steps, _ := w.plan(a.Vendor)
		p.NextAt = nextQuery(a, steps, now)
	case Review:
		p.NextAt = time.Time{}
	}
	err := w.move("record", next, func(ctx context.Context) (Purchase, error) {
		return w.ledger.Record(ctx, p, a, next)
	})
	if err != nil {
		return err
	}
	w.put(a)
	switch {
	case next == Held:
		w.log.Info("attempt failed", "vendor", a.Vendor, "outcome", a.State, "reason", a.Reason, "try", a.N)
	case next == Review:
		w.count(func(s *Stats) { s.Reviews++ })
		w.log.Error("purchase needs review: its vendor cannot tell whether it was delivered", "vendor", a.Vendor, "reason", a.Reason,
			"queries", a.Queries)
	case next == Pending && p.State != Pending:
		w.log.Warn("purchase pending", "vendor", a.Vendor, "reason", a.Reason, "try", a.N)
	}
	w.cfg.Boundary(afterRecord + next)
	return nil
}

// release gives the money of a purchase back that no attempt is open for.
func (w *work) release(reason string) error {
	p := w.p
	w.cfg.Boundary(beforeRelease)
	err := w.move("release", Failed, func(ctx context.Context) (Purchase, error) {
		return w.ledger.Release(ctx, p, reason)
	})
	if err != nil {
		return err
	}
	w.cfg.Boundary(afterRelease)
	return nil
}

// move makes one move in the ledger. A conflict after a call that failed may be
// with ourselves: that call may have been committed, which the purchase's
// version and state then show. Any other conflict is somebody else's move, and
// this work is over.
func (w *work) move(what, next string, call func(context.Context) (Purchase, error)) error {
	from := w.p
	if !canMove(from.State, next) {
		return fmt.Errorf("%s: no move from %s to %s", what, from.State, next)
	}
	doubt := false
	err := w.insist(what, moveFor, func(ctx context.Context) error {
		p, err := call(ctx)
		if err == nil {
			w.set(p)
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			doubt = true
			return err
		}
		if err := w.reload(ctx, from.Ref); err != nil {
			return err
		}
		if doubt && w.p.Version == from.Version+1 && w.p.State == next && w.p.Owner == w.cfg.Owner {
			return nil
		}
		w.count(func(s *Stats) { s.Conflicts++ })
		w.log.Warn("purchase moved by another", "to", w.p.State, "owner", w.p.Owner)
		return ErrConflict
	})
	if err == nil && from.Open() && !w.p.Open() {
		w.decided()
	}
	return err
}

// decided counts and reports a decision, and what is wrong with it.
func (w *work) decided() {
	p := w.p
	variance := p.Cost - p.ComputedCost()
	if p.State != Delivered || p.Cost == 0 {
		variance = 0
	}
	var lateRefund, lateDecision bool
	w.count(func(s *Stats) {
		s.Decided[p.State]++
		if p.State == Failed {
			since := p.FailedAt
			if since.IsZero() {
				since = p.CreatedAt
			}
			lateRefund = s.Refunds.add(p.DecidedAt.Sub(since), refundWithin)
		}
		if !p.UnsureAt.IsZero() {
			lateDecision = s.Doubts.add(p.DecidedAt.Sub(p.UnsureAt), decideWithin)
		}
		if variance != 0 {
			s.Variances++
			s.Variance += variance
		}
	})
	if lateRefund || lateDecision {
		w.log.Error("purchase decided too late", "state", p.State, "refund", lateRefund, "doubt", lateDecision)
	}
	if variance != 0 {
		w.log.Warn("vendor took another cost than the commission gives", "vendor", p.Vendor, "cost_kobo", p.Cost, "computed_kobo", p.ComputedCost(),
			"bps", p.CommissionBPS)
	}
	w.log.Info("purchase "+w.p.State, "reason", w.p.Reason, "vendor", w.p.Vendor, "vendor_ref", w.p.VendorRef,
		"attempts", w.p.Attempts, "took", w.cfg.Now().Sub(w.p.CreatedAt).Round(time.Millisecond).String())
}

// load reads the purchase and its attempts.
func (w *work) load(ref string) error {
	return w.once(w.base, func(ctx context.Context) error { return w.reload(ctx, ref) })
}

func (w *work) reload(ctx context.Context, ref string) error {
	p, attempts, err := w.ledger.Purchase(ctx, ref)
	if err != nil {
		return fmt.Errorf("load %s: %w", ref, err)
	}
	w.set(p)
	w.attempts = attempts
	return nil
}

// set takes a purchase as the ledger gave it, and shows it to those who wait.
func (w *work) set(p Purchase) {
	if w.p.ID == 0 {
		w.log = w.log.With("purchase", p.Ref, "session", p.Session, "network", p.Network,
			"recipient", mask(p.Recipient), "amount_kobo", p.Amount)
	}
	w.p = p
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(w.file, p)
}

// put replaces attempt a, or adds it as the newest.
func (w *work) put(a Attempt) {
	if a.N <= len(w.attempts) {
		w.attempts[a.N-1] = a
		return
	}
	w.attempts = append(w.attempts, a)
}

// insist repeats a call of the ledger until it succeeds or is answered. It gives
// up after limit or when the desk ends.
func (w *work) insist(what string, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(w.base, limit)
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err := w.once(ctx, call)
		if err == nil || answer(err) {
			return err
		}
		if wait == firstWait {
			w.log.Warn("ledger in trouble, trying again", "move", what, "err", err)
		}
		if !pause(ctx, wait/2+rand.N(wait/2)) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// once makes a call of the ledger and counts its failure.
func (d *Desk) once(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.LedgerTimeout)
	defer cancel()
	err := call(ctx)
	if err != nil && !answer(err) {
		d.count(func(s *Stats) { s.Failures++ })
	}
	return err
}

// answer tells whether err is what the ledger says about the purchase, and not
// a failure to say it.
func answer(err error) bool {
	for _, target := range []error{ErrInsufficient, ErrNoWallet, ErrNotFound, ErrConflict, ErrKeyReused, ErrOrder, ErrLimit, ErrOpen} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
