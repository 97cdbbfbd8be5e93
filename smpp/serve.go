package smpp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
)

// interfaceVersion is SMPP 3.4 (§5.2.4).
const interfaceVersion = 0x34

// maxMissed is how many enquire_links in a row may stay without any PDU from
// the SMSC.
const maxMissed = 2

// tickGrain is the shortest time between two wake-ups for overdue replies, so
// that many different deadlines cost few looks at the queue.
const tickGrain = 10 * time.Millisecond

// Kinds of PDUs that cannot be used, besides those that Decode finds.
const (
	kindUnknown = "unknown command"
	kindStray   = "response to nothing"
	kindState   = "message outside of a bind"
	kindFraming = "framing lost"
)

// serve binds, and serves the bind until the connection has to end; the error
// says why.
func (l *Link) serve(ctx context.Context, c *conn) error {
	l.enter(slog.LevelDebug, Binding)
	l.mu.Lock()
	c.deadline = time.Now().Add(l.cfg.BindTimeout)
	l.arm(c, earlier(c.deadline, l.nextExpiry()))
	sequence := c.nextSequence()
	l.mu.Unlock()
	l.send(c, pdu.BindTransceiverID, l.bindPDU(sequence))
	l.flush(c)

	batch := false // PDUs are being worked off, and what they cause is held back
	for {
		frame, err := c.frames.ReadFrame()
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := l.tick(ctx, c); err != nil {
				return err
			}
			continue
		case errors.Is(err, ErrFraming):
			l.malformed(kindFraming, "error", err.Error())
			l.send(c, pdu.GenericNACKID, control(pdu.NewGenericNACK(), 0, statusInvalidCommandLength))
			return err
		default:
			return l.cause(c, err)
		}
		c.pdus++
		if !batch {
			batch = true
			l.cork(c)
		}
		if err := l.receive(c, frame); err != nil {
			return err
		}
		if !c.frames.Ready() {
			batch = false
			l.uncork(c)
		}
	}
}

// bindPDU encodes the bind_transceiver.
func (l *Link) bindPDU(sequence uint32) []byte {
	bind := pdu.NewBindTransceiver()
	f := bind.Fields()
	for name, value := range map[pdufield.Name]any{
		pdufield.SystemID:         l.cfg.Accounts[0].SystemID,
		pdufield.Password:         l.cfg.Accounts[0].Password,
		pdufield.SystemType:       l.cfg.SystemType,
		pdufield.InterfaceVersion: uint8(interfaceVersion),
	} {
		_ = f.Set(name, value) // fails for other types only
	}
	return control(bind, sequence, 0)
}

// control encodes a PDU of go-smpp's with our sequence number: go-smpp's own
// counter is one for the whole process, and takes zero for "not set".
func control(body pdu.Body, sequence uint32, status pdu.Status) []byte {
	h := body.Header()
	h.Seq, h.Status = sequence, status
	var b bytes.Buffer
	_ = body.SerializeTo(&b) // a buffer takes everything
	return b.Bytes()
}

// cork begins a batch: what is written from now on waits for uncork. It also
// notes that the SMSC is alive.
func (l *Link) cork(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.corked = true
	c.enquiries = 0
	l.lastPDU = time.Now()
}

// uncork ends a batch and writes what it has caused.
func (l *Link) uncork(c *conn) {
	l.mu.Lock()
	c.corked = false
	work := l.takeWork(c)
	l.mu.Unlock()
	l.write(c, work)
}

// flush writes what waits to be written, if the socket is idle.
func (l *Link) flush(c *conn) {
	l.mu.Lock()
	work := l.takeWork(c)
	l.mu.Unlock()
	l.write(c, work)
}

// receive acts on one PDU. Its error ends the connection. Run's goroutine alone
// changes l.state, so it may read it without l.mu.
func (l *Link) receive(c *conn, frame []byte) error {
	h := ParseHeader(frame)
	l.counts.in[commandIndex(h.ID)].Add(1)
	switch h.ID {
	case pdu.DeliverSMID, pdu.DataSMID:
		l.deliver(c, frame)
	case pdu.SubmitSMRespID, pdu.DataSMRespID:
		l.answered(c, h)
	case pdu.GenericNACKID:
		if l.state == Binding {
			return l.bindRefused(h)
		}
		l.answered(c, h)
	case pdu.EnquireLinkID:
		l.send(c, pdu.EnquireLinkRespID, control(pdu.NewEnquireLinkResp(), h.Sequence, 0))
	case pdu.EnquireLinkRespID:
		// That it came is all there is to it.
	case pdu.BindTransceiverRespID:
		if l.state == Binding {
			return l.bindAnswered(c, h, frame[HeaderLen:])
		}
		l.malformed(kindStray, "command", CommandName(h.ID))
	case pdu.UnbindID:
		l.send(c, pdu.UnbindRespID, control(pdu.NewUnbindResp(), h.Sequence, 0))
		return errUnbound
	case pdu.UnbindRespID:
		if l.state == Unbinding {
			return errUnbindDone
		}
		l.malformed(kindStray, "command", CommandName(h.ID))
	case pdu.OutbindID, pdu.AlertNotificationID:
		// They have no response, and nothing to say to us.
	default:
		if h.ID&responseBit != 0 {
			l.malformed(kindStray, "command", CommandName(h.ID))
			break
		}
		l.malformed(kindUnknown, "command", CommandName(h.ID))
		l.send(c, pdu.GenericNACKID, control(pdu.NewGenericNACK(), h.Sequence, statusInvalidCommand))
	}
	return nil
}

// malformed counts a PDU that cannot be used, and logs the first of its kind.
func (l *Link) malformed(kind string, attrs ...any) {
	if add(&l.counts.mu, &l.counts.malformed, kind) {
		l.log.Warn("unusable PDU; further ones of this kind are only counted", append([]any{"kind", kind}, attrs...)...)
	}
}

// deliver acknowledges a deliver_sm or data_sm and gives its event to the
// handler.
func (l *Link) deliver(c *conn, frame []byte) {
	m := &c.message
	e, err := l.read(m, frame)
	status := pdu.Status(0)
	var malformed *MalformedError
	switch {
	case errors.As(err, &malformed):
		status = malformed.Status
		l.malformed(err.Error())
	case l.state == Unbinding:
		e, status = nil, statusTemporaryAppError
	case l.state != Bound:
		e, status = nil, statusInvalidBindState
		l.malformed(kindState, "state", l.state.String())
	}
	ack := Message{
		Header:    Header{ID: m.ID | responseBit, Status: status, Sequence: m.Sequence},
		MessageID: []byte{},
	}
	var buf [HeaderLen + 1]byte
	out, _ := Append(buf[:0], &ack) // an empty message_id is within all limits
	l.send(c, ack.ID, out)
	if e != nil {
		if e.Op == Begin || e.Op == Release {
			l.withdraw(e.Dialogue)
		}
		l.emit(e)
	}
}

// withdraw drops the replies that still wait for an earlier dialogue of the same
// name: the subscriber is not there any more, and the SMSC would show them in
// the new one.
func (l *Link) withdraw(d Dialogue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting() == 0 {
		return
	}
	stale := l.takeWaiting(func(r *reply) bool { return r.event.Dialogue == d })
	l.counts.withdrawn.Add(uint64(len(stale)))
}

// read makes an event of a deliver_sm or data_sm; the event is nil for one that
// is only to be acknowledged. The error is a *MalformedError.
func (l *Link) read(m *Message, frame []byte) (*Event, error) {
	if err := Decode(frame, m); err != nil {
		return nil, err
	}
	if m.Truncated {
		l.malformed(CommandName(m.ID) + ": last TLV is truncated")
	}
	if m.ESMClass&receiptBits != 0 {
		l.counts.receipts.Add(1)
		return nil, nil
	}
	return l.event(m)
}

// receiptBits are set in the esm_class of delivery receipts and of
// acknowledgements by the handset (SMPP 3.4 §5.2.12).
const receiptBits = 0x3C

// bindAnswered handles the bind_transceiver_resp.
func (l *Link) bindAnswered(c *conn, h Header, body []byte) error {
	if h.Status != 0 {
		return l.bindRefused(h)
	}
	systemID, rest, _ := cutString(body)
	version := "none" // SMPP 3.4 §3.4: then the SMSC knows no TLVs, which USSD cannot do without
	if v, ok := TLVs(rest).Get(tagInterfaceVersion); ok {
		version = fmt.Sprintf("%x", v[:min(len(v), 4)])
	}
	c.boundAt = time.Now()
	l.mu.Lock()
	c.deadline = time.Time{}
	l.arm(c, c.boundAt.Add(l.cfg.EnquireLink))
	l.mu.Unlock()
	l.enter(slog.LevelInfo, Bound, "smsc_system_id", string(systemID[:min(len(systemID), maxSystemID)]), "smsc_version", version)
	return nil
}

func (l *Link) bindRefused(h Header) error {
	refusal := &StatusError{ID: h.ID, Status: h.Status}
	add(&l.counts.mu, &l.counts.bindFailed, h.Status)
	return fmt.Errorf("bind refused: %w", refusal)
}

// tick does what is due now and sets the time of the next tick. Its error ends
// the connection.
func (l *Link) tick(ctx context.Context, c *conn) error {
	now := time.Now()
	if l.state == Bound && ctx.Err() != nil {
		l.startUnbind(c, now)
	}
	l.mu.Lock()
	next, err := l.checkLife(ctx, c, now)
	unsent, unanswered := l.expire(now)
	if soon := l.nextExpiry(); !soon.IsZero() {
		next = earlier(next, latest(soon, now.Add(tickGrain)))
	}
	c.armed = time.Time{}
	l.arm(c, next)
	l.mu.Unlock()

	if l.state == Binding {
		l.refuse(unsent, ErrLinkLost)
	} else {
		l.refuse(unsent, ErrExpired)
	}
	l.refuse(unanswered, ErrTimeout)
	if err == nil {
		l.flush(c)
	}
	return err
}

// checkLife enforces the connection's time limits and sends an enquire_link if
// one is due. It returns when to look again. Call with l.mu.
func (l *Link) checkLife(ctx context.Context, c *conn, now time.Time) (next time.Time, err error) {
	if ctx.Err() != nil && l.state == Binding {
		return now, ctx.Err()
	}
	if ctx.Err() != nil && l.state == Bound {
		return now, nil // it ended a moment ago: the next tick says goodbye
	}
	if !c.deadline.IsZero() {
		if !now.Before(c.deadline) {
			return now, fmt.Errorf("no answer while %s", l.state)
		}
		next = c.deadline
	}
	if !c.partialSince.IsZero() {
		limit := c.partialSince.Add(l.cfg.ReadTimeout)
		if !now.Before(limit) {
			return now, fmt.Errorf("a PDU was not complete after %s", l.cfg.ReadTimeout)
		}
		next = earlier(next, limit)
	}
	if l.state != Bound {
		return next, nil
	}
	due := latest(l.lastPDU, c.boundAt).Add(l.cfg.EnquireLink)
	if c.enquiries > 0 {
		due = c.enquiredAt.Add(l.cfg.EnquireTimeout)
	}
	if !now.Before(due) {
		if c.enquiries == maxMissed {
			return now, fmt.Errorf("%d enquire_links not answered", maxMissed)
		}
		c.enquiries++
		c.enquiredAt = now
		due = now.Add(l.cfg.EnquireTimeout)
		c.unwritten = append(c.unwritten, control(pdu.NewEnquireLink(), c.nextSequence(), 0)...)
		l.countOut(pdu.EnquireLinkID)
	}
	return earlier(next, due), nil
}

// startUnbind begins to say goodbye: nothing new is accepted, what is queued is
// still sent, and the unbind follows it.
func (l *Link) startUnbind(c *conn, now time.Time) {
	l.enter(slog.LevelInfo, Unbinding)
	l.mu.Lock()
	c.deadline = now.Add(l.cfg.UnbindTimeout)
	later := l.later
	l.later = nil
	l.mu.Unlock()
	l.refuse(later, ErrClosed)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// liveReader reads from a connection's socket and notes when a PDU begins that
// does not arrive at once.
type liveReader struct {
	l *Link
	c *conn
}

// Read implements io.Reader.
func (r *liveReader) Read(p []byte) (int, error) {
	c := r.c
	switch {
	case !c.frames.Partial():
		c.partialSince = time.Time{}
	case c.partialSince.IsZero() || c.partialPDU != c.pdus:
		c.partialSince, c.partialPDU = time.Now(), c.pdus
		r.l.mu.Lock()
		r.l.arm(c, c.partialSince.Add(r.l.cfg.ReadTimeout))
		r.l.mu.Unlock()
	}
	return c.socket.Read(p)
}
