package smpp

import (
	"encoding/binary"
	"iter"
	"slices"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// reply is one message of ours on its way. It is guarded by Link.mu from when it
// is submitted until it is out of the flight.
type reply struct {
	event    *Event // what it answers; nil once its screen is known to be shown
	frame    []byte // encoded; its sequence number is set when it is sent; nil as event
	deadline time.Time
	end      bool   // closes the dialogue
	msisdn   string // of the dialogue, when event is nil

	// sms is set if it is a short message: whoever sends it is told there, once,
	// and the handler nothing.
	sms chan<- sent

	hash     uint64    // waiting: of its dialogue
	bucket   *chain    // waiting: where Link.waits has it; nil: does not wait
	tries    int       // temporary refusals so far
	conn     *conn     // in flight: on what
	sequence uint32    // in flight: under which number
	offset   uint64    // in flight: where it begins in its connection's output
	at       time.Time // in flight: when the SMSC's answer is overdue; in later: when it is to be sent again

	before, after *reply // waiting or in flight: its neighbours in a chain
}

// unasked reports whether nobody waits for it: it begins a dialogue, or is a
// short message.
func (r *reply) unasked() bool { return r.sms != nil || r.event.wire.opening }

// of reports whether it belongs to a dialogue.
func (r *reply) of(d Dialogue) bool { return r.sms == nil && r.event.Dialogue == d }

// command is what it is sent as.
func (r *reply) command(p *Profile) pdu.ID {
	if r.sms != nil {
		return pdu.SubmitSMID
	}
	return p.replyID()
}

// fifo is a queue of replies.
type fifo struct {
	items []*reply
	head  int
}

func (q *fifo) len() int { return len(q.items) - q.head }

func (q *fifo) all() iter.Seq[*reply] { return slices.Values(q.items[q.head:]) }

func (q *fifo) push(r *reply) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, r)
}

func (q *fifo) first() *reply { return q.items[q.head] }

func (q *fifo) pop() *reply {
	r := q.items[q.head]
	q.items[q.head] = nil
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return r
}

// take removes the replies that f holds true for.
func (q *fifo) take(f func(*reply) bool) []*reply {
	var taken []*reply
	q.items = slices.DeleteFunc(q.items[q.head:], func(r *reply) bool {
		if f(r) {
			taken = append(taken, r)
			return true
		}
		return false
	})
	q.head = 0
	return taken
}

// chain is a list of replies in the order in which they were added. For those in
// flight this is the order in which their answers become overdue.
type chain struct {
	first, last *reply
	len         int
}

func (c *chain) add(r *reply) {
	if r.before = c.last; c.last == nil {
		c.first = r
	} else {
		c.last.after = r
	}
	c.last = r
	c.len++
}

func (c *chain) remove(r *reply) {
	if r.before == nil {
		c.first = r.after
	} else {
		r.before.after = r.after
	}
	if r.after == nil {
		c.last = r.before
	} else {
		r.after.before = r.before
	}
	r.before, r.after = nil, nil
	c.len--
}

// flight is what one connection has sent and what is not answered yet.
type flight struct {
	numbers map[uint32]*reply // all of it, by sequence number
	open    chain             // what takes up room in the window
	shown   chain             // what the subscriber has seen already, for he answered; its response is still to come
}

func (f *flight) add(r *reply) {
	f.numbers[r.sequence] = r
	f.open.add(r)
}

// remove takes out the reply that has the given number; nil if there is none.
func (f *flight) remove(sequence uint32) *reply {
	r := f.numbers[sequence]
	if r == nil {
		return nil
	}
	delete(f.numbers, sequence)
	if r.event == nil {
		f.shown.remove(r)
	} else {
		f.open.remove(r)
	}
	return r
}

// waiting returns the number of replies that wait on the bind. Call with
// Link.mu.
func (b *bind) waiting() int { return b.queue.len() + b.pushes.len() + len(b.later) }

// answers returns the number of those of them that somebody waits for.
// Call with Link.mu.
func (b *bind) answers() int { return b.queue.len() + len(b.later) }

// load is what there is to do on the bind, to compare it with others. Call with
// Link.mu, while it is bound.
func (b *bind) load() int { return b.waiting() + b.conn.flight.open.len }

// push lets a reply wait on the bind. Call with Link.mu.
func (b *bind) push(r *reply) {
	b.due = earlier(b.due, r.deadline)
	if r.unasked() {
		b.pushes.push(r)
		return
	}
	b.queue.push(r)
}

// take removes the replies that wait on the bind and that f holds true for. Call
// with Link.mu.
func (b *bind) take(f func(*reply) bool) []*reply {
	taken := append(b.queue.take(f), b.pushes.take(f)...)
	later := fifo{items: b.later}
	taken = append(taken, later.take(f)...)
	b.later = later.items
	return taken
}

// fillWindow appends queued replies to out, as many as the window, the rate and
// one write allow: first those that somebody waits for. Replies whose deadline
// has passed are left for expire. Call with Link.mu.
func (c *conn) fillWindow(out []byte, now time.Time) []byte {
	b := c.bind
	b.pace.recover(now)
	for len(out) < maxWrite {
		q := &b.queue
		if q.len() == 0 {
			q = &b.pushes
		}
		if q.len() == 0 {
			break
		}
		if c.flight.open.len >= b.pace.window {
			if !b.pace.recovers.IsZero() {
				c.arm(b.pace.recovers)
			}
			break
		}
		r := q.first()
		if !now.Before(r.deadline) {
			c.arm(now)
			break
		}
		if wait := b.pace.take(now); wait > 0 {
			c.arm(now.Add(wait))
			break
		}
		q.pop()
		b.sent.add(1, now)
		b.link.waits.leave(r)
		out = c.launch(r, now, out)
	}
	return out
}

// launch appends one reply to out. Call with Link.mu.
func (c *conn) launch(r *reply, now time.Time, out []byte) []byte {
	l := c.link
	r.conn = c
	r.sequence = c.nextSequence()
	setSequence(r.frame, r.sequence)
	r.offset = c.queued + uint64(len(out))
	r.at = now.Add(l.cfg.ResponseTimeout)
	c.flight.add(r)
	if l.unproven != nil && r.sms == nil {
		l.unproven[r.event.Dialogue] = r
	}
	c.arm(r.at)
	c.countOut(pdu.ID(binary.BigEndian.Uint32(r.frame[4:])))
	l.tap(c, true, r.frame, r.event.Dialogue.MSISDN)
	return append(out, r.frame...)
}

// land takes a reply out of the flight. Call with Link.mu.
func (c *conn) land(sequence uint32) *reply {
	r := c.flight.remove(sequence)
	if r != nil && r.event != nil && c.link.unproven != nil && c.link.unproven[r.event.Dialogue] == r {
		delete(c.link.unproven, r.event.Dialogue)
	}
	return r
}

// early reports whether the SMSC has not acknowledged the last screen of a
// dialogue yet, as far as that is known. Where it does so after the subscriber,
// only a screen that has not left yet tells anything.
func (l *Link) early(d Dialogue) bool {
	if l.unproven == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waits.has(d) || !l.profile.AfterUser && l.unproven[d] != nil
}

// proved notes that the screen that was last sent to e's dialogue has been shown,
// because its subscriber answered it or its dialogue is over. The SMSC says so
// later, or never; the reply takes up no room until then. A reply that begins a
// dialogue is proved by an answer only: what else comes may be of another
// dialogue of the same subscriber. The handler is told then that it is open.
func (l *Link) proved(e *Event) {
	if !l.profile.AfterUser {
		return
	}
	l.mu.Lock()
	r := l.unproven[e.Dialogue]
	if r == nil || r.event.wire.opening && e.Op != Input {
		l.mu.Unlock()
		return
	}
	delete(l.unproven, e.Dialogue)
	c, shown := r.conn, &reply{event: r.event, end: r.end}
	c.flight.open.remove(r)
	r.event, r.frame, r.msisdn = nil, nil, r.event.Dialogue.MSISDN
	c.flight.shown.add(r)
	if c.flight.shown.len > l.cfg.Window {
		c.flight.remove(c.flight.shown.first.sequence)
	}
	work := c.takeWork()
	l.mu.Unlock()
	if work {
		c.write()
	}
	if shown.event.wire.opening {
		// The answer stands for the response.
		l.opened(c, shown, appendHeader(nil, Header{HeaderLen, pdu.SubmitSMRespID, 0, r.sequence}))
		e.wire.pushed = true
	}
}

// First and longest pause before a reply that the SMSC had no room for is sent
// again; the pauses between double.
const (
	retryMin = 250 * time.Millisecond
	retryMax = 2 * time.Second
)

// answered handles the answer to a reply: a submit_sm_resp or data_sm_resp, or a
// generic_nack in its place.
func (c *conn) answered(h Header, frame []byte) {
	l, b := c.link, c.bind
	congestion := congestionState(h, frame)
	l.mu.Lock()
	r := c.flight.numbers[h.Sequence]
	if r == nil || h.ID != pdu.GenericNACKID && h.ID != r.command(l.profile)|responseBit {
		l.mu.Unlock()
		l.tap(c, false, frame, "")
		l.malformed(kindStray, "command", CommandName(h.ID))
		return
	}
	c.land(h.Sequence)
	if r.event == nil {
		l.mu.Unlock()
		l.tap(c, false, frame, r.msisdn)
		return
	}
	l.tap(c, false, frame, r.event.Dialogue.MSISDN)
	slowed := false
	if congestion >= congested {
		slowed = c.slowDown(r)
	} else if congestion >= nearlyCongested {
		b.pace.hold(time.Now())
	}
	if h.Status == 0 && h.ID != pdu.GenericNACKID {
		l.mu.Unlock()
		b.tellPace(slowed)
		switch {
		case r.sms != nil:
			var m Message
			_ = Decode(frame, &m) // a response always can be
			r.sms <- sent{id: string(m.MessageID)}
		case r.event.wire.opening:
			l.opened(c, r, frame)
		}
		return
	}
	refusal := &StatusError{ID: h.ID, Status: h.Status, Class: l.profile.Statuses[h.Status]}
	if refusal.Temporary() || h.Status == statusThrottled || h.Status == statusQueueFull {
		slowed = c.slowDown(r) || slowed
	}
	again := refusal.Temporary() && b.ready()
	if again {
		r.at = time.Now().Add(min(retryMin<<min(r.tries, 8), retryMax))
		if again = r.at.Before(r.deadline); again {
			r.tries++
			l.waits.enter(r)
			b.later = append(b.later, r)
			b.due = earlier(b.due, r.at)
			c.arm(r.at)
		}
	}
	l.mu.Unlock()
	b.tellPace(slowed)
	if add(&l.counts.mu, &l.counts.refused, h.Status) {
		l.log.Warn("reply refused", "bind", b.name, "status", refusal.Error(), "class", refusal.Class.String(),
			"msisdn", Mask(r.event.Dialogue.MSISDN), "will_retry", again)
	}
	if again {
		l.counts.retried.Add(1)
		return
	}
	if l.profile.AfterUser && refusal.Class == Dead && !r.unasked() && !r.end {
		l.left(r, refusal)
		return
	}
	l.refuse([]*reply{r}, refusal)
}

// left tells the handler that a dialogue ended while its subscriber looked at a
// screen: an SMSC that answers after the subscriber has no other way to say so.
func (l *Link) left(r *reply, refusal *StatusError) {
	e := r.event.follow(Release)
	e.Err = refusal
	if l.people != nil {
		l.people.forget(e.Dialogue)
	}
	l.emit(e)
}

// expire moves the replies whose time has come: those to be sent again into the
// queue; it returns those that waited or that the SMSC did not answer for too
// long. Call with Link.mu.
func (c *conn) expire(now time.Time) (unsent, unanswered []*reply) {
	b := c.bind
	if !b.due.IsZero() && !now.Before(b.due) {
		unsent = b.take(func(r *reply) bool { return !now.Before(r.deadline) })
		b.link.waits.leave(unsent...)
		later := b.later
		b.later = nil
		for _, r := range later {
			if now.Before(r.at) {
				b.later = append(b.later, r)
			} else {
				b.push(r)
			}
		}
		b.due = b.nextDue()
	}
	for r := c.flight.open.first; r != nil && !now.Before(r.at); r = c.flight.open.first {
		unanswered = append(unanswered, c.land(r.sequence))
	}
	for r := c.flight.shown.first; r != nil && !now.Before(r.at); r = c.flight.shown.first {
		c.land(r.sequence)
	}
	return unsent, unanswered
}

// nextDue looks up when the first reply that waits on the bind expires or is to
// be sent again. Call with Link.mu.
func (b *bind) nextDue() time.Time {
	var next time.Time
	for r := range b.queue.all() {
		next = earlier(next, r.deadline)
	}
	for r := range b.pushes.all() {
		next = earlier(next, r.deadline)
	}
	for _, r := range b.later {
		next = earlier(next, earlier(r.at, r.deadline))
	}
	return next
}

// nextExpiry returns when expire may have something to do, the zero time if
// never. Call with Link.mu.
func (c *conn) nextExpiry() time.Time {
	next := c.bind.due
	if r := c.flight.open.first; r != nil {
		next = earlier(next, r.at)
	}
	if r := c.flight.shown.first; r != nil {
		next = earlier(next, r.at)
	}
	return next
}

// abandon empties the window after the connection has ended. It returns the
// replies of which the socket has taken nothing; what became of the others
// nobody can know, and sending them again could show a screen twice. Call with
// Link.mu.
func (c *conn) abandon() (unsent, unknown []*reply) {
	for r := c.flight.open.first; r != nil; r = c.flight.open.first {
		c.land(r.sequence)
		if r.offset >= c.written {
			c.link.waits.enter(r)
			unsent = append(unsent, r)
		} else {
			unknown = append(unknown, r)
		}
	}
	c.link.counts.unanswered.Add(uint64(len(unknown)))
	return unsent, unknown
}

// refuse tells the handler, or the sender of a short message, that replies
// failed.
func (l *Link) refuse(replies []*reply, err error) {
	for _, r := range replies {
		if r.sms != nil {
			r.sms <- sent{err: err}
			continue
		}
		e := r.event.follow(Refused)
		e.Err = err
		l.emit(e)
	}
}

// earlier returns the earlier of two times, where the zero time is no time.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
