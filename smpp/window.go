package smpp

import (
	"cmp"
	"slices"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// reply is one submit_sm on its way. Except for the first three fields, which
// do not change, it is guarded by Link.mu.
type reply struct {
	event    *Event // what it answers
	frame    []byte // encoded; only the sequence number is set later
	deadline time.Time

	offset  uint64    // in flight: where it begins in its connection's output
	expires time.Time // in flight: when the SMSC's answer is overdue
	due     time.Time // in later: when it is to be sent again
	tries   int       // temporary refusals so far
}

// fifo is a queue of replies.
type fifo struct {
	items []*reply
	head  int
}

func (q *fifo) len() int { return len(q.items) - q.head }

func (q *fifo) push(r *reply) { q.items = append(q.items, r) }

func (q *fifo) pop() *reply {
	r := q.items[q.head]
	q.items[q.head] = nil
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return r
}

// putBack puts replies in front of all others, in the given order.
func (q *fifo) putBack(replies []*reply) {
	q.items = slices.Concat(replies, q.items[q.head:])
	q.head = 0
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

// waiting returns the number of replies that wait to be sent. Call with l.mu.
func (l *Link) waiting() int { return l.queue.len() + len(l.later) }

// takeWaiting removes and returns the replies that wait to be sent and that f
// holds true for. Call with l.mu.
func (l *Link) takeWaiting(f func(*reply) bool) []*reply {
	taken := l.queue.take(f)
	later := fifo{items: l.later}
	taken = append(taken, later.take(f)...)
	l.later = later.items
	return taken
}

// submit queues a reply and writes it if the socket is idle.
func (l *Link) submit(r *reply) error {
	now := time.Now()
	if r.deadline.IsZero() {
		r.deadline = now.Add(l.cfg.ResponseTimeout)
	}
	if !now.Before(r.deadline) {
		return ErrExpired
	}
	l.mu.Lock()
	switch {
	case l.state == Unbinding || l.state == Closed:
		l.mu.Unlock()
		return ErrClosed
	case l.state == Waiting && r.deadline.Before(l.retryAt):
		l.mu.Unlock()
		return ErrNotBound
	case l.waiting() >= l.cfg.Queue:
		l.mu.Unlock()
		return ErrQueueFull
	}
	l.queue.push(r)
	c := l.conn
	if c == nil {
		l.mu.Unlock()
		return nil
	}
	l.arm(c, r.deadline)
	work := l.takeWork(c)
	l.mu.Unlock()
	l.write(c, work)
	return nil
}

// fillWindow appends queued replies to out, as many as the window and one write
// allow. Replies whose deadline has passed are left for expire. Call with l.mu.
func (l *Link) fillWindow(c *conn, out []byte) []byte {
	if l.queue.len() == 0 {
		return out
	}
	now := time.Now()
	for l.queue.len() > 0 && len(l.inFlight) < l.cfg.Window && len(out) < maxWrite {
		r := l.queue.items[l.queue.head]
		if !now.Before(r.deadline) {
			l.arm(c, now)
			break
		}
		l.queue.pop()
		sequence := c.nextSequence()
		setSequence(r.frame, sequence)
		r.offset = c.queued + uint64(len(out))
		r.expires = now.Add(l.cfg.ResponseTimeout)
		l.inFlight[sequence] = r
		l.arm(c, r.expires)
		l.countOut(ParseHeader(r.frame).ID)
		out = append(out, r.frame...)
	}
	return out
}

// First and longest pause before a reply that the SMSC had no room for is sent
// again; the pauses between double.
const (
	retryMin = 250 * time.Millisecond
	retryMax = 2 * time.Second
)

// answered handles the answer to a reply: a submit_sm_resp, or a generic_nack
// in its place.
func (l *Link) answered(c *conn, h Header) {
	l.mu.Lock()
	r, ok := l.inFlight[h.Sequence]
	if !ok {
		l.mu.Unlock()
		l.malformed(kindStray, "command", CommandName(h.ID))
		return
	}
	delete(l.inFlight, h.Sequence)
	if h.Status == 0 && h.ID != pdu.GenericNACKID {
		l.mu.Unlock()
		return
	}
	refusal := &StatusError{ID: h.ID, Status: h.Status, Class: l.profile.Statuses[h.Status]}
	again := refusal.Temporary() && l.state == Bound
	if again {
		r.due = time.Now().Add(min(retryMin<<min(r.tries, 8), retryMax))
		if again = r.due.Before(r.deadline); again {
			r.tries++
			l.later = append(l.later, r)
			l.arm(c, r.due)
		}
	}
	l.mu.Unlock()
	if add(&l.counts.mu, &l.counts.refused, h.Status) {
		l.log.Warn("reply refused", "status", refusal.Error(), "class", refusal.Class.String(),
			"msisdn", mask(r.event.Dialogue.MSISDN), "will_retry", again)
	}
	if again {
		l.counts.retried.Add(1)
		return
	}
	l.refuse([]*reply{r}, refusal)
}

// expire moves the replies whose time has come: those to be sent again into the
// queue; it returns those that waited or that the SMSC did not answer for too
// long. Call with l.mu.
func (l *Link) expire(now time.Time) (unsent, unanswered []*reply) {
	unsent = l.takeWaiting(func(r *reply) bool { return !now.Before(r.deadline) })
	l.later = slices.DeleteFunc(l.later, func(r *reply) bool {
		if now.Before(r.due) {
			return false
		}
		l.queue.push(r)
		return true
	})
	for sequence, r := range l.inFlight {
		if !now.Before(r.expires) {
			delete(l.inFlight, sequence)
			unanswered = append(unanswered, r)
		}
	}
	sortByOffset(unanswered)
	return unsent, unanswered
}

// nextExpiry returns when expire has something to do, the zero time if never.
// Call with l.mu.
func (l *Link) nextExpiry() time.Time {
	var next time.Time
	for _, r := range l.queue.items[l.queue.head:] {
		next = earlier(next, r.deadline)
	}
	for _, r := range l.later {
		next = earlier(next, r.due)
	}
	for _, r := range l.inFlight {
		next = earlier(next, r.expires)
	}
	return next
}

// abandon empties the window after its connection has ended. Replies of which
// the socket has taken nothing go back to the head of the queue; what became of
// the others nobody can know, and sending them again could show a screen twice.
// Call with l.mu.
func (l *Link) abandon(c *conn) (unknown int) {
	var unsent []*reply
	for _, r := range l.inFlight {
		if r.offset >= c.written {
			unsent = append(unsent, r)
		} else {
			unknown++
		}
	}
	clear(l.inFlight)
	sortByOffset(unsent)
	l.queue.putBack(unsent)
	l.counts.unanswered.Add(uint64(unknown))
	return unknown
}

// refuse tells the handler that replies failed.
func (l *Link) refuse(replies []*reply, err error) {
	for _, r := range replies {
		e := r.event.follow(Refused)
		e.Err = err
		l.emit(e)
	}
}

// emit gives an event to the handler. Only Run's goroutine calls it.
func (l *Link) emit(e *Event) {
	l.counts.events[e.Op].Add(1)
	l.handler.HandleUSSD(e)
}

func sortByOffset(replies []*reply) {
	slices.SortFunc(replies, func(a, b *reply) int { return cmp.Compare(a.offset, b.offset) })
}

// earlier returns the earlier of two times, where the zero time is no time.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
