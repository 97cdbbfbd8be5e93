package smpp

import (
	"hash/maphash"
	"slices"
	"time"
)

// submit finds a bind for a reply, queues it there, and writes it if the socket
// is idle.
func (l *Link) submit(r *reply) error {
	now := time.Now()
	if r.deadline.IsZero() {
		r.deadline = now.Add(l.cfg.ResponseTimeout)
	}
	if !now.Before(r.deadline) {
		return ErrExpired
	}
	l.mu.Lock()
	c, err := l.place(r)
	var work bool
	if c != nil {
		work = c.takeWork()
		if r.bucket != nil {
			c.arm(r.deadline)
		}
	}
	l.mu.Unlock()
	if work {
		c.write()
	}
	return err
}

// place puts a new reply where it has to wait, and returns the connection that
// may be able to write it now. Call with l.mu.
func (l *Link) place(r *reply) (*conn, error) {
	if l.closed {
		return nil, ErrClosed
	}
	b := l.route(r)
	switch {
	case b == nil && !l.hope(r):
		return nil, ErrNotBound
	case l.crowded(b, r):
		return nil, ErrQueueFull
	}
	if r.event.Op == Begin {
		// Also the answer to an earlier begin of the same dialogue: this one is
		// the answer that its subscriber waits for.
		l.withdraw(r.event.Dialogue, func(old *reply) bool { return old.event != r.event && !old.event.wire.opening })
	}
	if l.people != nil && r.end {
		l.people.forget(r.event.Dialogue)
	}
	l.waits.enter(r)
	if b == nil {
		l.shelter(r)
		return nil, nil
	}
	b.push(r)
	return b.conn, nil
}

// crowded reports whether there is no place for a reply on b, or among the
// homeless if b is nil. Those that nobody waits for get half a queue, and leave
// the places of answers free. Call with l.mu.
func (l *Link) crowded(b *bind, r *reply) bool {
	half := (l.cfg.Queue + 1) / 2
	switch unasked := r.unasked(); {
	case b == nil && unasked:
		return l.homeless.len() >= half
	case b == nil:
		return l.homeless.len() >= l.cfg.Queue*len(l.binds)
	case unasked:
		return b.waiting() >= half
	}
	return b.answers() >= l.cfg.Queue
}

// allowed reports whether a reply may leave on a bind.
func (l *Link) allowed(b *bind, r *reply) bool {
	home := r.event.bind
	switch {
	case b.role == receiver:
		return false
	case home == nil || b == home || b.partner == home || l.profile.Affinity == AnyBind:
		return true
	case l.profile.Affinity == SameSystemID:
		return b.account.SystemID == home.account.SystemID
	}
	return false
}

// ready reports whether replies can leave on the bind. Call with Link.mu.
func (b *bind) ready() bool { return b.state == Bound && b.conn != nil && !b.conn.closing }

// route returns the bind that a reply leaves on: the one that its request came
// on, or else the least busy one of those that may take it; nil if none can now.
// Call with l.mu.
func (l *Link) route(r *reply) *bind {
	if home := r.event.bind; home != nil {
		if home.role == receiver {
			home = home.partner
		}
		if home.ready() {
			return home
		}
	}
	var best *bind
	for _, b := range l.binds {
		if b.ready() && l.allowed(b, r) && (best == nil || b.load() < best.load()) {
			best = b
		}
	}
	return best
}

// hope reports whether a reply for which there is no bind now may find one
// before its deadline. Call with l.mu.
func (l *Link) hope(r *reply) bool {
	if l.serving == nil || l.serving.Err() != nil {
		return false
	}
	return slices.ContainsFunc(l.binds, func(b *bind) bool {
		return l.allowed(b, r) && !(b.state == Waiting && r.deadline.Before(b.retryAt))
	})
}

// shelter lets a reply wait for a bind. Call with l.mu.
func (l *Link) shelter(r *reply) {
	l.homeless.push(r)
	if l.alarmAt.IsZero() || r.deadline.Before(l.alarmAt) {
		l.alarmAt = r.deadline
		l.alarm.Reset(time.Until(r.deadline))
	}
}

// settle gives the homeless replies to a bind that has come up, as far as they
// may leave on it. Call with l.mu.
func (l *Link) settle(b *bind) {
	for _, r := range l.homeless.take(func(r *reply) bool { return l.allowed(b, r) }) {
		b.push(r)
	}
}

// evict moves what waits on a bind that has no connection any more, and the
// given replies of its window that were not sent, to other binds. What none of
// them can take stays where it is for as long as stay is set, and is homeless
// then. The connections that have something to write now are to be flushed. Call
// with l.mu.
func (l *Link) evict(b *bind, unsent []*reply, stay bool) (flush []*conn) {
	waiting := b.take(func(*reply) bool { return true })
	b.due = time.Time{}
	for _, r := range append(unsent, waiting...) {
		to := l.route(r)
		switch {
		case to == nil && stay:
			b.push(r)
			continue
		case to == nil:
			l.shelter(r)
			continue
		}
		to.push(r)
		to.conn.arm(r.deadline)
		if !slices.Contains(flush, to.conn) {
			flush = append(flush, to.conn)
		}
	}
	return flush
}

// takeHomeless removes the homeless replies that f holds true for. Call with
// l.mu.
func (l *Link) takeHomeless(f func(*reply) bool) []*reply {
	taken := l.homeless.take(f)
	l.waits.leave(taken...)
	return taken
}

// expireHomeless removes the homeless replies whose deadline has come, and sets
// the alarm for the next.
func (l *Link) expireHomeless(now time.Time) []*reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	expired := l.takeHomeless(func(r *reply) bool { return !now.Before(r.deadline) })
	l.alarmAt = time.Time{}
	for r := range l.homeless.all() {
		l.alarmAt = earlier(l.alarmAt, r.deadline)
	}
	if !l.alarmAt.IsZero() {
		l.alarmAt = latest(l.alarmAt, now.Add(tickGrain))
		l.alarm.Reset(l.alarmAt.Sub(now))
	}
	return expired
}

// withdraw drops replies that still wait for a dialogue, if f holds true for
// them, and returns them: their subscriber is not there any more, and the SMSC
// would show them in the next dialogue of the same name. Call with l.mu.
func (l *Link) withdraw(d Dialogue, f func(*reply) bool) (stale []*reply) {
	h := l.waits.hash(d)
	for r := l.waits.of(h).first; r != nil; r = r.after {
		if r.hash == h && r.of(d) && f(r) {
			stale = append(stale, r)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	l.counts.withdrawn.Add(uint64(len(stale)))
	l.drop(stale...)
	return stale
}

// drop takes replies that wait from where they do. Call with l.mu.
func (l *Link) drop(replies ...*reply) {
	l.waits.leave(replies...)
	left := func(r *reply) bool { return r.bucket == nil }
	l.homeless.take(left)
	for _, b := range l.binds {
		b.take(left)
	}
}

// waits knows the replies that wait, wherever that is, by a hash of their
// dialogue.
type waits struct {
	seed    maphash.Seed
	buckets []chain
}

// newWaits returns a waits for so many replies, or some more.
func newWaits(n int) waits {
	return waits{seed: maphash.MakeSeed(), buckets: make([]chain, n/2+1)}
}

func (w *waits) hash(d Dialogue) uint64 {
	return maphash.String(w.seed, d.MSISDN) + maphash.String(w.seed, d.ID)
}

// of returns the replies that wait for dialogues of the given hash, and some
// others.
func (w *waits) of(hash uint64) *chain { return &w.buckets[hash%uint64(len(w.buckets))] }

// has reports whether a reply waits for a dialogue.
func (w *waits) has(d Dialogue) bool {
	hash := w.hash(d)
	for r := w.of(hash).first; r != nil; r = r.after {
		if r.hash == hash && r.of(d) {
			return true
		}
	}
	return false
}

// enter notes that a reply begins to wait.
func (w *waits) enter(r *reply) {
	r.hash = w.hash(r.event.Dialogue)
	r.bucket = w.of(r.hash)
	r.bucket.add(r)
}

// leave notes that replies wait no longer.
func (w *waits) leave(replies ...*reply) {
	for _, r := range replies {
		r.bucket.remove(r)
		r.bucket = nil
	}
}
