package smpptest

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
)

const (
	tagInterfaceVersion pdutlv.Tag = 0x0210     // sc_interface_version, SMPP 3.4 §5.3.2.25
	interfaceVersion    uint8      = 0x34       // SMPP 3.4 §5.2.4
	maxSequence         uint32     = 0x7FFFFFFF // SMPP 3.4 §3.2
)

// peer is one connection of an ESME. One goroutine reads it and carries out
// what it reads, another one writes; nobody else touches the socket but to
// close it.
type peer struct {
	sim    *Sim
	nc     net.Conn
	frames *smpp.FrameReader
	gone   chan struct{} // closed when the reader has ended

	// Guarded by sim.mu.
	command   pdu.ID // of the bind, 0 if not bound
	systemID  string
	unbinding bool
	enquired  bool // an enquire_link is unanswered
	dropped   bool // whatever else comes is ignored
	sequence  uint32
	pending   map[uint32]delivery // requests without response, by sequence number
	held      func()              // answers the bind, which waits
	halfOf    pdu.ID              // the bind that waits for its other half
	pause     time.Duration       // to be made before the next PDU is read

	lastRequest uint32 // sequence number of the ESME's last submit_sm

	outMu   sync.Mutex
	out     []byte
	gated   []byte        // comes behind out, when gate has passed
	gateFor time.Duration // 0: no gate
	wake    chan struct{} // holds one token while there is something to do for the writer
	closing bool          // nothing more may be sent; the writer says FIN after what is there
}

func newPeer(s *Sim, nc net.Conn) *peer {
	if s.cfg.TLS != nil {
		nc = tls.Server(nc, s.cfg.TLS)
	}
	if s.cfg.Capture != nil {
		nc = s.cfg.Capture.conn(nc)
	}
	return &peer{
		sim:     s,
		nc:      nc,
		frames:  smpp.NewFrameReader(nc),
		gone:    make(chan struct{}),
		pending: map[uint32]delivery{},
		wake:    make(chan struct{}, 1),
	}
}

// bound tells whether the ESME has bound and not begun to leave. The caller
// holds sim.mu, as for all methods up to read.
func (p *peer) bound() bool { return p.command != 0 && !p.unbinding }

func (p *peer) receives() bool { return p.bound() && p.command != pdu.BindTransmitterID }

// transmits also while the ESME is asked to leave: it may finish what it does.
func (p *peer) transmits() bool { return p.command != 0 && p.command != pdu.BindReceiverID }

func (p *peer) nextSequence() uint32 {
	for {
		p.sequence = p.sequence%maxSequence + 1
		if _, used := p.pending[p.sequence]; !used {
			return p.sequence
		}
	}
}

// deliver sends a request under the given sequence number and expects its
// response.
func (p *peer) deliver(what delivery, sequence uint32, frame []byte) {
	binary.BigEndian.PutUint32(frame[12:], sequence)
	p.pending[sequence] = what
	p.message(frame)
}

// respond sends the response to a submit_sm.
func (p *peer) respond(m *smpp.Message) {
	frame, err := smpp.Append(nil, m)
	if err != nil {
		p.sim.log.Error("encode", "command", smpp.CommandName(m.ID), "error", err)
		return
	}
	p.message(frame)
}

// message sends a frame and compares what smpp and go-smpp make of it.
func (p *peer) message(frame []byte) {
	var m smpp.Message
	err := smpp.Decode(frame, &m)
	p.sim.mismatched(compare(frame, &m, err))
	p.send(frame)
}

// unbind asks a bound ESME to leave and disconnects one that has not bound.
func (p *peer) unbind() {
	if p.command == 0 {
		p.nc.Close()
		return
	}
	if !p.unbinding {
		p.link(pdu.NewUnbind(), p.nextSequence(), statusOK)
		p.unbinding = true
		p.sim.bindsChanged()
	}
}

// drop ends the connection behind what has been sent.
func (p *peer) drop() {
	p.dropped, p.unbinding = true, true
	p.finish()
	if err := p.nc.SetReadDeadline(time.Now().Add(lingerTimeout)); err != nil {
		p.sim.log.Warn("set a deadline", "error", err)
	}
	p.sim.bindsChanged()
}

// misframe sends a header with a command_length that is not true. Nothing is
// sent on the connection any more.
func (p *peer) misframe(length uint32) {
	header := binary.BigEndian.AppendUint32(nil, length)
	header = binary.BigEndian.AppendUint32(header, uint32(pdu.EnquireLinkID))
	header = binary.BigEndian.AppendUint32(header, 0)
	p.send(binary.BigEndian.AppendUint32(header, p.nextSequence()))
	p.unbinding = true
	p.sim.bindsChanged()
}

func (p *peer) enquire() {
	if !p.bound() {
		return
	}
	if p.enquired {
		p.sim.log.Warn("enquire_link is unanswered", "system_id", p.systemID)
		p.nc.Close()
		return
	}
	p.enquired = true
	p.link(pdu.NewEnquireLink(), p.nextSequence(), statusOK)
}

// read carries out what the ESME sends until the connection ends.
func (p *peer) read() {
	s := p.sim
	if err := p.nc.SetReadDeadline(time.Now().Add(s.cfg.BindTimeout)); err != nil {
		s.log.Warn("set a deadline", "error", err)
	}
	err := p.readFrames()
	p.nc.Close()

	s.mu.Lock()
	s.peers = slices.DeleteFunc(s.peers, func(other *peer) bool { return other == p })
	wasBound := p.command != 0
	if wasBound {
		s.unbound[p.systemID] = s.now()
	}
	p.command = 0
	if s.waiting[p.systemID] == p {
		delete(s.waiting, p.systemID)
	}
	for _, sent := range p.pending {
		switch {
		case sent.receipt != nil:
			s.report(sent.receipt)
		case !sent.bad:
			s.acknowledged(p, sent, statusOK) // nobody will say so now; an answer may still come on another bind
		}
	}
	s.bindsChanged()
	s.mu.Unlock()
	close(p.gone)
	if wasBound {
		s.log.Info("ESME gone", "system_id", p.systemID, "peer", p.nc.RemoteAddr(), "cause", err)
	} else {
		s.log.Info("connection closed before a bind", "peer", p.nc.RemoteAddr(), "cause", err)
	}
}

func (p *peer) readFrames() error {
	for {
		frame, err := p.frames.ReadFrame()
		if errors.Is(err, smpp.ErrFraming) {
			p.link(pdu.NewGenericNACK(), 0, statusInvalidCommandLen)
			p.finish()
			p.linger()
			return err
		}
		if err != nil {
			return err
		}
		p.rest()
		p.sim.mu.Lock()
		more := !p.dropped && p.handle(frame)
		p.sim.mu.Unlock()
		if !more {
			p.finish()
			p.linger()
			return nil
		}
	}
}

// rest makes the pause that is due.
func (p *peer) rest() {
	p.sim.mu.Lock()
	pause := p.pause
	p.pause = 0
	p.sim.mu.Unlock()
	if pause == 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.sim.done:
	}
}

// linger waits for the other side's end of a connection whose last octets are
// on their way, so that these are not lost in a reset.
func (p *peer) linger() {
	if err := p.nc.SetReadDeadline(time.Now().Add(lingerTimeout)); err != nil {
		return
	}
	var discard [4096]byte
	for {
		if _, err := p.nc.Read(discard[:]); err != nil {
			return
		}
	}
}

// handle carries out one PDU; false ends the connection. The caller holds
// sim.mu, as for all methods up to write.
func (p *peer) handle(frame []byte) bool {
	h := smpp.ParseHeader(frame)
	p.trace("in", h)
	switch h.ID {
	case pdu.SubmitSMID, pdu.DataSMID, pdu.DeliverSMRespID, pdu.DataSMRespID:
		p.handleMessage(frame)
	case pdu.BindTransceiverID, pdu.BindReceiverID, pdu.BindTransmitterID:
		p.handleBind(frame, h)
	case pdu.UnbindID:
		p.link(pdu.NewUnbindResp(), h.Sequence, p.boundStatus())
		return p.command == 0
	case pdu.UnbindRespID:
		return !p.unbinding
	case pdu.EnquireLinkID:
		p.link(pdu.NewEnquireLinkResp(), h.Sequence, statusOK)
	case pdu.EnquireLinkRespID:
		p.enquired = false
		if answer := p.held; answer != nil && p.sim.waiting[p.systemID] != p {
			p.held = nil
			answer()
		}
	case pdu.GenericNACKID:
		p.acknowledged(h)
	default:
		if h.ID&responseBit == 0 {
			p.sim.complain(p.systemID, "%s is not a command that an ESME sends", smpp.CommandName(h.ID))
			p.link(pdu.NewGenericNACK(), h.Sequence, statusInvalidCommand)
		}
	}
	return true
}

func (p *peer) boundStatus() pdu.Status {
	if p.command == 0 {
		return statusInvalidBindState
	}
	return statusOK
}

func (p *peer) handleBind(frame []byte, h smpp.Header) {
	var resp pdu.Body
	switch h.ID {
	case pdu.BindTransceiverID:
		resp = pdu.NewBindTransceiverResp()
	case pdu.BindReceiverID:
		resp = pdu.NewBindReceiverResp()
	default:
		resp = pdu.NewBindTransmitterResp()
	}
	request, err := pdu.Decode(bytes.NewReader(frame))
	if err != nil || request.Fields()[pdufield.AddressRange] == nil {
		p.link(resp, h.Sequence, statusInvalidCommandLen)
		return
	}
	fields := request.Fields()
	b := &binding{
		command:  h.ID,
		resp:     resp,
		sequence: h.Sequence,
		systemID: fields[pdufield.SystemID].String(),
		tlvs:     fields[pdufield.InterfaceVersion].Bytes()[0] >= interfaceVersion,
		status:   statusAlreadyBound,
	}
	if p.command == 0 && p.held == nil {
		b.status = p.sim.bindStatus(b.systemID, fields[pdufield.Password].String())
	}
	if b.status == statusOK {
		p.sim.strike(atBind, &moment{peer: p, bind: b})
	}
	p.decide(b)
}

// binding is a bind request that is being decided on.
type binding struct {
	command  pdu.ID
	resp     pdu.Body
	sequence uint32
	systemID string
	tlvs     bool // the ESME knows optional parameters
	status   pdu.Status
	enquire  bool // it is answered when an enquire_link was
	pair     bool // it is answered when its other half binds
}

// decide answers a bind, or sees that something else will.
func (p *peer) decide(b *binding) {
	switch {
	case b.status != statusOK:
		p.sim.log.Warn("bind refused", "system_id", b.systemID, "peer", p.nc.RemoteAddr(), "status", statusText(b.status))
		p.link(b.resp, b.sequence, b.status)
	case b.enquire:
		b.enquire = false
		p.held = func() { p.decide(b) }
		p.link(pdu.NewEnquireLink(), p.nextSequence(), statusOK)
	case b.pair && b.command != pdu.BindTransceiverID:
		p.pairUp(b)
	default:
		p.accept(b)
	}
}

// pairUp holds the bind back, or, if it is the other half of one that is held
// back, accepts both.
func (p *peer) pairUp(b *binding) {
	first := p.sim.waiting[b.systemID]
	if first == nil || first.halfOf == b.command {
		p.systemID, p.halfOf = b.systemID, b.command
		p.held = func() { p.accept(b) }
		p.sim.waiting[b.systemID] = p
		return
	}
	delete(p.sim.waiting, b.systemID)
	first.held()
	first.held = nil
	p.accept(b)
}

// accept binds.
func (p *peer) accept(b *binding) {
	if err := p.nc.SetReadDeadline(time.Time{}); err != nil {
		p.sim.log.Warn("lift a deadline", "error", err)
	}
	p.command, p.systemID = b.command, b.systemID
	if err := b.resp.Fields().Set(pdufield.SystemID, p.sim.cfg.SystemID); err != nil {
		p.sim.log.Error("bind response", "error", err)
	}
	if b.tlvs {
		if err := b.resp.TLVFields().Set(tagInterfaceVersion, interfaceVersion); err != nil {
			p.sim.log.Error("bind response", "error", err)
		}
	}
	p.link(b.resp, b.sequence, statusOK)
	p.sim.log.Info("ESME bound", "system_id", b.systemID, "as", smpp.CommandName(b.command), "peer", p.nc.RemoteAddr())
	p.sim.bindsChanged()
	if p.receives() {
		p.sim.reportAll(p.systemID)
	}
}

func (p *peer) handleMessage(frame []byte) {
	var m smpp.Message
	err := smpp.Decode(frame, &m)
	p.sim.mismatched(compare(frame, &m, err))
	if m.ID&responseBit != 0 {
		p.acknowledged(m.Header)
		return
	}
	p.lastRequest = m.Sequence
	sub := &submission{peer: p, m: &m, resp: smpp.Message{Header: smpp.Header{ID: m.ID | responseBit, Sequence: m.Sequence}}}
	sub.resp.MessageID = fmt.Appendf(nil, "%08X", p.sim.messages+1)
	if sub.refused = p.submit(sub, err); sub.refused != nil {
		p.refuse(sub)
	} else {
		p.sim.messages++
	}
	switch {
	case sub.withheld:
	case sub.hold.delay > 0:
		p.sim.after(sub.hold.delay, p, func() { p.respond(&sub.resp) })
	default:
		p.respond(&sub.resp)
	}
	if sub.after != nil {
		sub.after()
	}
}

// refuse makes the response of a submit_sm that can't be carried out, and says
// so to whom it concerns.
func (p *peer) refuse(sub *submission) {
	why := sub.refused
	sub.resp.Status, sub.resp.MessageID, sub.resp.TLVs = why.status, nil, nil
	text := statusText(why.status) + ": " + why.reason
	p.sim.log.Warn("reply refused", "system_id", p.systemID, "sequence", sub.m.Sequence, "reason", text)
	if !why.excused {
		p.sim.complain(p.systemID, "%s %d: %s", smpp.CommandName(sub.m.ID), sub.m.Sequence, text)
	}
	h := sub.handset
	if h == nil {
		h = p.sim.handsets[string(sub.m.Dest.Digits)]
	}
	if h != nil {
		h.refusal = text
	}
	p.sim.strike(atRefuse, &moment{peer: p, handset: h, sub: sub})
}

// submit carries out a submit_sm; err is what smpp.Decode said.
func (p *peer) submit(sub *submission, err error) *refusal {
	if malformed, ok := errors.AsType[*smpp.MalformedError](err); ok {
		return refuse(malformed.Status, "%v", malformed)
	}
	if !p.transmits() {
		return refuse(statusInvalidBindState, "the connection is not bound as a transmitter")
	}
	return p.sim.submitted(sub)
}

// acknowledged takes the response to a request, or a generic_nack in its
// place.
func (p *peer) acknowledged(h smpp.Header) {
	sent, ok := p.pending[h.Sequence]
	if !ok {
		if h.ID == pdu.GenericNACKID {
			p.sim.log.Warn("generic_nack", "system_id", p.systemID, "sequence", h.Sequence, "status", statusText(h.Status))
		} else {
			p.sim.complain(p.systemID, "%s %d answers nothing that was sent on its connection", smpp.CommandName(h.ID), h.Sequence)
		}
		return
	}
	delete(p.pending, h.Sequence)
	status := h.Status
	if h.ID == pdu.GenericNACKID && status == statusOK {
		status = statusInvalidCommand
	}
	p.sim.acknowledged(p, sent, status)
}

// link sends a PDU that is not a message.
func (p *peer) link(body pdu.Body, sequence uint32, status pdu.Status) {
	body.Header().Seq, body.Header().Status = sequence, status
	var frame bytes.Buffer
	if err := body.SerializeTo(&frame); err != nil {
		p.sim.log.Error("encode", "command", smpp.CommandName(body.Header().ID), "error", err)
		return
	}
	p.send(frame.Bytes())
}

// send queues a whole PDU for the writer. It never blocks; what comes after
// finish is dropped. It needs no lock.
func (p *peer) send(frame []byte) {
	p.outMu.Lock()
	defer p.outMu.Unlock()
	if p.closing {
		return
	}
	if len(p.out)+len(p.gated)+len(frame) > maxBacklog {
		p.closing = true
		p.nc.Close()
		return
	}
	p.trace("out", smpp.ParseHeader(frame))
	switch {
	case p.gateFor == 0:
		p.out = append(p.out, frame...)
	case p.gated == nil:
		half := len(frame) / 2
		p.out, p.gated = append(p.out, frame[:half]...), frame[half:]
		p.sim.after(p.gateFor, p, p.openGate)
	default:
		p.gated = append(p.gated, frame...)
	}
	p.wakeWriter()
}

// gate lets the second half of the next PDU, and all behind it, wait for d.
func (p *peer) gate(d time.Duration) {
	p.outMu.Lock()
	defer p.outMu.Unlock()
	if p.gateFor == 0 {
		p.gateFor = d
	}
}

func (p *peer) openGate() {
	p.outMu.Lock()
	defer p.outMu.Unlock()
	p.out = append(p.out, p.gated...)
	p.gated, p.gateFor = nil, 0
	p.wakeWriter()
}

// finish lets the writer end the connection after what is queued.
func (p *peer) finish() {
	p.outMu.Lock()
	defer p.outMu.Unlock()
	p.closing = true
	p.wakeWriter()
}

func (p *peer) wakeWriter() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// write sends what is queued, as much as there is at once.
func (p *peer) write() {
	var batch []byte
	for {
		select {
		case <-p.wake:
		case <-p.gone:
			return
		}
		p.outMu.Lock()
		batch, p.out = p.out, batch[:0]
		closing := p.closing
		p.outMu.Unlock()
		err := p.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err == nil {
			_, err = p.nc.Write(batch)
		}
		if half, ok := p.nc.(interface{ CloseWrite() error }); err == nil && closing && ok {
			err = half.CloseWrite()
		}
		if err != nil {
			p.nc.Close()
		}
		if err != nil || closing {
			return
		}
	}
}

func (p *peer) trace(direction string, h smpp.Header) {
	p.sim.log.Debug("pdu", "direction", direction, "peer", p.nc.RemoteAddr(), "command", smpp.CommandName(h.ID),
		"sequence", h.Sequence, "status", statusText(h.Status))
}
