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
func (c *conn) serve(ctx context.Context) error {
	l := c.link
	c.bind.enter(slog.LevelDebug, Binding)
	l.mu.Lock()
	c.deadline = time.Now().Add(l.cfg.BindTimeout)
	c.arm(c.deadline)
	sequence := c.nextSequence()
	l.mu.Unlock()
	c.send(roles[c.bind.role].bind, c.bind.pdu(sequence), "")
	c.flush()

	batch := false // PDUs are being worked off, and what they cause is held back
	for {
		frame, err := c.frames.ReadFrame()
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := c.tick(ctx); err != nil {
				return err
			}
			continue
		case errors.Is(err, ErrFraming):
			l.malformed(kindFraming, "error", err.Error())
			c.send(pdu.GenericNACKID, control(pdu.NewGenericNACK(), 0, statusInvalidCommandLength), "")
			return err
		default:
			return c.cause(err)
		}
		c.pdus++
		if !batch {
			batch = true
			c.cork()
		}
		if err := c.receive(frame); err != nil {
			return err
		}
		if !c.frames.Ready() {
			batch = false
			c.uncork()
		}
	}
}

// pdu encodes the PDU that binds.
func (b *bind) pdu(sequence uint32) []byte {
	bind := roles[b.role].request()
	f := bind.Fields()
	for name, value := range map[pdufield.Name]any{
		pdufield.SystemID:         b.account.SystemID,
		pdufield.Password:         b.account.Password,
		pdufield.SystemType:       b.link.cfg.SystemType,
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
func (c *conn) cork() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.corked = true
	c.enquiries = 0
	c.bind.lastPDU = time.Now()
}

// uncork ends a batch and writes what it has caused.
func (c *conn) uncork() {
	c.link.mu.Lock()
	c.corked = false
	c.bind.in.add(int(c.pdus-c.metered), c.bind.lastPDU)
	c.metered = c.pdus
	work := c.takeWork()
	c.link.mu.Unlock()
	if work {
		c.write()
	}
}

// receive acts on one PDU. Its error ends the connection. The bind's goroutine
// alone changes bind.state, so it may read it without Link.mu.
func (c *conn) receive(frame []byte) error {
	l, state, own := c.link, c.bind.state, &roles[c.bind.role]
	h := ParseHeader(frame)
	l.counts.in[commandIndex(h.ID)].Add(1)
	switch h.ID {
	case pdu.DeliverSMID, pdu.DataSMID:
		c.deliver(frame)
		return nil
	case pdu.SubmitSMRespID, pdu.DataSMRespID:
		c.answered(h, frame)
		return nil
	case pdu.GenericNACKID:
		if state != Binding {
			c.answered(h, frame)
			return nil
		}
	}
	l.tap(c, false, frame, "")
	switch {
	case state == Binding && (h.ID == own.bindResp || h.ID == pdu.GenericNACKID):
		return c.bindAnswered(h, frame[HeaderLen:])
	case h.ID == pdu.EnquireLinkID:
		c.send(pdu.EnquireLinkRespID, control(pdu.NewEnquireLinkResp(), h.Sequence, 0), "")
	case h.ID == pdu.EnquireLinkRespID:
		// That it came is all there is to it.
	case h.ID == pdu.UnbindID:
		c.send(pdu.UnbindRespID, control(pdu.NewUnbindResp(), h.Sequence, 0), "")
		return errUnbound
	case h.ID == pdu.UnbindRespID && state == Unbinding:
		return errUnbindDone
	case h.ID == pdu.OutbindID, h.ID == pdu.AlertNotificationID:
		// They have no response, and nothing to say to us.
	case h.ID&responseBit != 0:
		l.malformed(kindStray, "command", CommandName(h.ID))
	default:
		l.malformed(kindUnknown, "command", CommandName(h.ID))
		c.send(pdu.GenericNACKID, control(pdu.NewGenericNACK(), h.Sequence, statusInvalidCommand), "")
	}
	return nil
}

// deliver acknowledges a deliver_sm or data_sm and gives its event to the
// handler.
func (c *conn) deliver(frame []byte) {
	l, state := c.link, c.bind.state
	m := &c.message
	e, err := c.read(m, frame)
	status := pdu.Status(0)
	notAdmitted := ""
	var malformed *MalformedError
	switch {
	case errors.As(err, &malformed):
		status = malformed.Status
		l.malformed(err.Error())
	case state == Unbinding:
		e, status = nil, statusTemporaryAppError
	case state != Bound:
		e, status = nil, statusInvalidBindState
		l.malformed(kindState, "state", state.String())
	case m.ESMClass&receiptBits != 0:
		if !l.receipt(m) {
			status = statusTemporaryAppError
		}
	case e == nil:
		l.ignored(m)
	default:
		if l.people != nil {
			l.people.meet(e)
		}
		if e.Op != Begin {
			break
		}
		if notAdmitted = c.admit(e); notAdmitted != "" {
			add(&l.counts.mu, &l.counts.notAdmitted, notAdmitted)
			if l.profile.RefuseByStatus {
				status = statusTemporaryAppError
			}
		}
	}
	msisdn := l.tapRead(c, frame, e)
	c.acknowledge(m.Header, status, msisdn)
	if e == nil {
		return
	}
	l.proved(e)
	if e.Op == Input {
		e.Early = l.early(e.Dialogue)
	}
	if e.Op == Begin || e.Op == Release {
		l.overtake(e)
	}
	switch {
	case notAdmitted == "":
		l.emit(e)
	case status == 0:
		l.turnAway(e)
	}
}

// overtake withdraws what still waits for the dialogue of a begin or a release.
// A dialogue that we are to begin is not the one that is released; one that its
// subscriber begins meanwhile takes its place, and the handler is told.
func (l *Link) overtake(e *Event) {
	l.mu.Lock()
	stale := l.withdraw(e.Dialogue, func(r *reply) bool {
		if r.event.wire.opening {
			return e.Op == Begin
		}
		// A begin that comes twice may be one to the handler, which then answers
		// it once.
		return e.Op != Begin || r.event.Op != Begin || r.event.Text != e.Text
	})
	l.mu.Unlock()
	for _, r := range stale {
		if r.event.wire.opening {
			l.refuse([]*reply{r}, ErrClosed)
		}
	}
}

// acknowledge queues the response to a message; its message_id is empty (SMPP
// 3.4 §4.6.2).
func (c *conn) acknowledge(h Header, status pdu.Status, msisdn string) {
	var buf [HeaderLen + 1]byte
	c.send(h.ID|responseBit, appendHeader(buf[:0], Header{HeaderLen + 1, h.ID | responseBit, status, h.Sequence})[:HeaderLen+1], msisdn)
}

// read makes an event of a deliver_sm or data_sm; the event is nil for one that
// is only to be acknowledged. The error is a *MalformedError.
func (c *conn) read(m *Message, frame []byte) (*Event, error) {
	l := c.link
	if err := Decode(frame, m); err != nil {
		return nil, err
	}
	if m.Truncated {
		l.malformed(CommandName(m.ID) + ": last TLV is truncated")
	}
	if m.ESMClass&receiptBits != 0 {
		return nil, nil
	}
	e, err := l.event(m)
	if e == nil || err != nil {
		return nil, err
	}
	e.bind = c.bind
	return e, nil
}

// Kinds of messages that are acknowledged and ignored: keys of
// Counters.Ignored.
const (
	kindService   = "service_type"
	kindOperation = "operation"
)

// ignored counts a message that the profile has no use for, and logs the first of
// its kind: that all of them are acknowledged hides a wrong profile.
func (l *Link) ignored(m *Message) {
	kind := kindOperation
	if l.profile.foreign(m) {
		kind = kindService
	}
	if !add(&l.counts.mu, &l.counts.ignored, kind) {
		return
	}
	op, _ := l.profile.operation(m) // NoOp if it cannot be read
	service := m.ServiceType[:min(len(m.ServiceType), maxServiceType)]
	l.log.Warn("message ignored, as the profile wants; further ones of this kind are only counted", "kind", kind,
		"profile", l.profile.Name, "service_type", string(service), "operation", op.String())
}

// bindAnswered handles the response to our bind, or a generic_nack in its place.
// An SMSC that tells no version is taken for one without TLVs by SMPP 3.4 §3.4,
// but many of them have some.
func (c *conn) bindAnswered(h Header, body []byte) error {
	l, b := c.link, c.bind
	if h.Status != 0 || h.ID == pdu.GenericNACKID {
		add(&l.counts.mu, &l.counts.bindFailed, h.Status)
		return fmt.Errorf("bind refused: %w", &StatusError{ID: h.ID, Status: h.Status})
	}
	systemID, rest, _ := cutString(body)
	peer := string(systemID[:min(len(systemID), maxSystemID)])
	version := "none"
	v, told := TLVs(rest).Get(tagInterfaceVersion)
	if told {
		version = fmt.Sprintf("%x", v[:min(len(v), 4)])
	}
	c.boundAt = time.Now()
	b.enter(slog.LevelInfo, Bound, "addr", b.addr, "smsc_system_id", peer, "smsc_version", version)
	l.mu.Lock()
	c.deadline = time.Time{}
	b.peer, b.badAccount = peer, false
	b.told = nil
	c.arm(c.boundAt.Add(l.cfg.EnquireLink))
	l.settle(b)
	if !b.due.IsZero() {
		c.arm(b.due)
	}
	warn := !told && !l.warned && (l.profile.OpTag != 0 || l.profile.Session.Tag != 0)
	l.warned = l.warned || warn
	l.mu.Unlock()
	if warn {
		l.log.Warn("the SMSC does not say which version of SMPP it has (sc_interface_version), so it may know no TLVs, and the link's profile needs them",
			"bind", b.name, "profile", l.profile.Name)
	}
	return nil
}

// tick does what is due now and sets the time of the next tick. Its error ends
// the connection.
func (c *conn) tick(ctx context.Context) error {
	l := c.link
	now := time.Now()
	if c.bind.state == Bound && ctx.Err() != nil {
		c.startUnbind(now)
	}
	l.mu.Lock()
	next, err := c.checkLife(ctx, now)
	unsent, unanswered := c.expire(now)
	if soon := c.nextExpiry(); !soon.IsZero() {
		next = earlier(next, latest(soon, now.Add(tickGrain)))
	}
	c.armed = time.Time{}
	c.arm(next)
	l.mu.Unlock()

	l.refuse(unsent, ErrExpired)
	l.refuse(unanswered, ErrTimeout)
	if err == nil {
		c.flush()
	}
	return err
}

// checkLife enforces the connection's time limits and sends an enquire_link if
// one is due. It returns when to look again. Call with Link.mu.
func (c *conn) checkLife(ctx context.Context, now time.Time) (next time.Time, err error) {
	cfg, state := &c.link.cfg, c.bind.state
	if ctx.Err() != nil && state == Binding {
		return now, ctx.Err()
	}
	if ctx.Err() != nil && state == Bound {
		return now, nil // it ended a moment ago: the next tick says goodbye
	}
	if !c.deadline.IsZero() {
		if !now.Before(c.deadline) {
			return now, fmt.Errorf("no answer while %s", state)
		}
		next = c.deadline
	}
	if !c.partialSince.IsZero() {
		limit := c.partialSince.Add(cfg.ReadTimeout)
		if !now.Before(limit) {
			return now, fmt.Errorf("a PDU was not complete after %s", cfg.ReadTimeout)
		}
		next = earlier(next, limit)
	}
	if state != Bound {
		return next, nil
	}
	due := latest(c.bind.lastPDU, c.boundAt).Add(cfg.EnquireLink)
	if c.enquiries > 0 {
		due = c.enquiredAt.Add(cfg.EnquireTimeout)
	}
	if !now.Before(due) {
		if c.enquiries == maxMissed {
			return now, fmt.Errorf("%d enquire_links not answered", maxMissed)
		}
		c.enquiries++
		c.enquiredAt = now
		due = now.Add(cfg.EnquireTimeout)
		c.sendLocked(pdu.EnquireLinkID, control(pdu.NewEnquireLink(), c.nextSequence(), 0), "")
	}
	return earlier(next, due), nil
}

// startUnbind begins to say goodbye: nothing new is accepted, what is queued is
// still sent, and the unbind follows it. For replies that were to be sent again
// it is the end.
func (c *conn) startUnbind(now time.Time) {
	l, b := c.link, c.bind
	b.enter(slog.LevelInfo, Unbinding)
	l.mu.Lock()
	c.deadline = now.Add(l.cfg.UnbindTimeout)
	later := b.later
	b.later = nil
	l.waits.leave(later...)
	l.mu.Unlock()
	l.refuse(later, ErrClosed)
}
