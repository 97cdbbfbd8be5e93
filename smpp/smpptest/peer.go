package smpptest

import (
	"bytes"
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
	sequence  uint32
	pending   map[uint32]delivery // deliver_sm without deliver_sm_resp, by sequence number

	outMu   sync.Mutex
	out     []byte
	wake    chan struct{} // holds one token while there is something to do for the writer
	closing bool          // nothing more may be sent; the writer says FIN after what is there
}

func newPeer(s *Sim, nc net.Conn) *peer {
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

func (p *peer) transmits() bool { return p.bound() && p.command != pdu.BindReceiverID }

func (p *peer) nextSequence() uint32 {
	p.sequence = p.sequence%maxSequence + 1
	return p.sequence
}

// deliver sends m, a deliver_sm, and expects its response.
func (p *peer) deliver(what delivery, m *smpp.Message) error {
	m.Sequence = p.nextSequence()
	if err := p.message(m); err != nil {
		return err
	}
	p.pending[m.Sequence] = what
	return nil
}

// message encodes m, compares what smpp and go-smpp make of the result, and
// sends it.
func (p *peer) message(m *smpp.Message) error {
	frame, err := smpp.Append(nil, m)
	if err != nil {
		return err
	}
	var again smpp.Message
	err = smpp.Decode(frame, &again)
	p.sim.mismatched(compare(frame, &again, err))
	p.send(frame)
	return nil
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
	p.command = 0
	for _, sent := range p.pending {
		s.acknowledged(sent, statusOK) // nobody will say so now; an answer may still come on another bind
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
		p.sim.mu.Lock()
		more := p.handle(frame)
		p.sim.mu.Unlock()
		if !more {
			p.finish()
			p.linger()
			return nil
		}
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
	case pdu.SubmitSMID, pdu.DeliverSMRespID:
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
	case pdu.GenericNACKID:
		p.acknowledged(h)
	default:
		if h.ID&responseBit == 0 {
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
	systemID := fields[pdufield.SystemID].String()
	status := statusAlreadyBound
	if p.command == 0 {
		status = p.sim.bindStatus(systemID, fields[pdufield.Password].String())
	}
	if status != statusOK {
		p.sim.log.Warn("bind refused", "system_id", systemID, "peer", p.nc.RemoteAddr(), "status", statusText(status))
		p.link(resp, h.Sequence, status)
		return
	}
	if err := p.nc.SetReadDeadline(time.Time{}); err != nil {
		p.sim.log.Warn("lift a deadline", "error", err)
	}
	p.command, p.systemID = h.ID, systemID
	if err := resp.Fields().Set(pdufield.SystemID, p.sim.cfg.SystemID); err != nil {
		p.sim.log.Error("bind response", "error", err)
	}
	if fields[pdufield.InterfaceVersion].Bytes()[0] >= interfaceVersion {
		if err := resp.TLVFields().Set(tagInterfaceVersion, interfaceVersion); err != nil {
			p.sim.log.Error("bind response", "error", err)
		}
	}
	p.link(resp, h.Sequence, statusOK)
	p.sim.log.Info("ESME bound", "system_id", systemID, "as", smpp.CommandName(h.ID), "peer", p.nc.RemoteAddr())
	p.sim.bindsChanged()
}

func (p *peer) handleMessage(frame []byte) {
	var m smpp.Message
	err := smpp.Decode(frame, &m)
	p.sim.mismatched(compare(frame, &m, err))
	if m.ID == pdu.DeliverSMRespID {
		p.acknowledged(m.Header)
		return
	}
	resp := smpp.Message{Header: smpp.Header{ID: pdu.SubmitSMRespID, Sequence: m.Sequence}}
	if refused := p.submit(&m, err); refused != nil {
		resp.Status = refused.status
		p.sim.log.Warn("submit_sm refused", "system_id", p.systemID, "sequence", m.Sequence,
			"status", statusText(refused.status), "reason", refused.reason)
		p.sim.refused(&m, refused)
	} else {
		p.sim.messages++
		resp.MessageID = fmt.Appendf(nil, "%08X", p.sim.messages)
	}
	if err := p.message(&resp); err != nil {
		p.sim.log.Error("submit_sm_resp", "error", err)
	}
}

// submit carries out a submit_sm; err is what smpp.Decode said.
func (p *peer) submit(m *smpp.Message, err error) *refusal {
	if malformed, ok := errors.AsType[*smpp.MalformedError](err); ok {
		return refuse(malformed.Status, "%v", malformed)
	}
	if !p.transmits() {
		return refuse(statusInvalidBindState, "the connection is not bound as a transmitter")
	}
	r, refused := readReply(m)
	if refused != nil {
		return refused
	}
	return p.sim.reply(p.systemID, r)
}

// acknowledged takes the response to a deliver_sm, or a generic_nack in its
// place.
func (p *peer) acknowledged(h smpp.Header) {
	sent, ok := p.pending[h.Sequence]
	if !ok {
		p.sim.log.Warn("response to nothing", "system_id", p.systemID, "command", smpp.CommandName(h.ID), "sequence", h.Sequence)
		return
	}
	delete(p.pending, h.Sequence)
	status := h.Status
	if h.ID == pdu.GenericNACKID && status == statusOK {
		status = statusInvalidCommand
	}
	p.sim.acknowledged(sent, status)
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
	if len(p.out)+len(frame) > maxBacklog {
		p.closing = true
		p.nc.Close()
		return
	}
	p.trace("out", smpp.ParseHeader(frame))
	p.out = append(p.out, frame...)
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

// statusText is a command_status in hexadecimal with its meaning, if it has a
// known one.
func statusText(status pdu.Status) string {
	switch status {
	case statusOK:
		return "ok"
	case statusTextTooLong:
		return "0x408 (text too long)"
	case statusNotYourTurn:
		return "0x40e (the subscriber has not answered yet)"
	case statusDialogueOver:
		return "0x4c1 (no such dialogue)"
	}
	return fmt.Sprintf("0x%02x (%s)", uint32(status), status.Error())
}
