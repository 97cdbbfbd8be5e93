package smpptest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
)

// A subscriber's number is loadPrefix and its index in seven digits, so that it
// is found without a map.
const (
	loadPrefix = "234803"
	loadDigits = 7
)

// The dialect "standard", with the E bit in octet 2 of its_session_info.
const (
	loadService         = "USSD"
	loadDial       byte = 0x01 // PSSR indication
	loadAnswer     byte = 0x12 // USSR confirm
	loadMenu       byte = 0x02 // USSR request
	loadGoodbye    byte = 0x11 // PSSR response
	loadEnd        byte = 0x01
	loadSessionLen      = 2
)

// A deliver_sm's sequence number holds the subscriber's index, above it a part
// that changes from input to input, and a bit that keeps it away from where
// ESMEs begin to count: some cannot tell our numbers from their own.
const (
	loadIndexBits          = 24
	loadGenerations        = 1 << 6
	loadSequence    uint32 = 1 << 30
)

// Where send fills in a deliver_sm.
const (
	loadSequenceAt = 12
	loadMSISDNAt   = smpp.HeaderLen + len(loadService) + 1 + 2 // behind service_type, TON and NPI
	loadIndexAt    = loadMSISDNAt + len(loadPrefix)
)

// loadMessageID is the message_id of every submit_sm_resp.
const loadMessageID = "LOAD"

// inputs encodes the deliver_sm of each step of the walk, for send to fill in
// what differs from one subscriber to the next: sequence number, MSISDN and, at
// the very end, its_session_info.
func (c LoadConfig) inputs() ([][]byte, error) {
	var list [][]byte
	for i, step := range c.Walk {
		op := loadAnswer
		if i == 0 {
			op = loadDial
		}
		if strings.Trim(step.Send, "0123456789*#") != "" || step.Send == "" {
			return nil, fmt.Errorf("step %d of the walk: %q is not digits, * and #", i+1, step.Send)
		}
		frame, err := smpp.Append(nil, &smpp.Message{
			Header:       smpp.Header{ID: pdu.DeliverSMID},
			ServiceType:  []byte(loadService),
			Source:       smpp.Address{TON: 1, NPI: 1, Digits: []byte(loadPrefix + strings.Repeat("0", loadDigits))},
			Dest:         smpp.Address{Digits: []byte(c.Walk[0].Send)},
			ShortMessage: []byte(step.Send),
			TLVs:         smpp.TLVs(nil).Append(pdutlv.TagUssdServiceOp, op).Append(pdutlv.TagItsSessionInfo, 0, 0),
		})
		if err != nil {
			return nil, fmt.Errorf("step %d of the walk: %w", i+1, err)
		}
		list = append(list, frame)
	}
	return list, nil
}

// send queues the input that comes next for a subscriber. Its time counts from
// the given moment, or if that is zero from when it is written. The caller holds
// l.mu, and calls flush.
func (l *Load) send(i int, from int64) {
	s := &l.subs[i]
	c := l.receivers[i%len(l.receivers)]
	at := len(c.out)
	c.out = append(c.out, l.inputs[s.step]...)
	f := c.out[at:]
	s.generation = (s.generation + 1) % loadGenerations
	binary.BigEndian.PutUint32(f[loadSequenceAt:], loadSequence|uint32(s.generation)<<loadIndexBits|uint32(i))
	for n, at := i, loadIndexAt+loadDigits-1; n > 0; n, at = n/10, at-1 {
		f[at] = '0' + byte(n%10)
	}
	f[len(f)-2], f[len(f)-1] = s.id, s.counter<<1
	s.state, s.since = loadWaits, from
	if from == 0 {
		c.fresh = append(c.fresh, int32(i))
	}
	l.waiting++
	if s.step == 0 && l.phase == loadMeasuring {
		l.report.Begun++
	}
}

// flush writes what is queued as far as the sockets take it without waiting.
// The rest goes with a later flush: there is one after every batch that is
// read, and every sweep. The caller holds l.mu.
func (l *Load) flush() {
	for _, c := range l.conns {
		if len(c.out) == c.written {
			continue
		}
		now := l.now()
		for _, i := range c.fresh {
			l.subs[i].since = now
		}
		c.fresh = c.fresh[:0]
		if err := c.write(); err != nil {
			c.nc.Close() // its reader says so
		}
	}
}

// loadConn is one connection of an ESME. Its goroutine reads; everything but
// reading is guarded by Load.mu.
type loadConn struct {
	load   *Load
	nc     net.Conn
	raw    syscall.RawConn
	frames *smpp.FrameReader
	readAt int64 // when the last octets came

	command pdu.ID // of the bind, 0 if not bound
	leaving bool   // unbound by us
	gone    chan struct{}
	message smpp.Message
	out     []byte
	written int     // octets of out that the socket has taken
	fresh   []int32 // whose inputs in out count from when they are written
}

func (l *Load) accept() {
	for {
		nc, err := l.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				l.lose(fmt.Errorf("accept: %w", err))
			}
			return
		}
		c := &loadConn{load: l, nc: nc, gone: make(chan struct{})}
		c.frames = smpp.NewFrameReader(c)
		if c.raw, err = nc.(*net.TCPConn).SyscallConn(); err != nil {
			nc.Close()
			l.lose(err)
			return
		}
		l.mu.Lock()
		if l.closed {
			nc.Close()
		}
		l.conns = append(l.conns, c)
		l.mu.Unlock()
		l.ended.Go(c.serve)
	}
}

// lose notes why the run cannot go on.
func (l *Load) lose(err error) {
	select {
	case l.failed <- err:
	default:
	}
}

// Read is the connection's, with the time.
func (c *loadConn) Read(p []byte) (int, error) {
	n, err := c.nc.Read(p)
	c.readAt = c.load.now()
	return n, err
}

// write is one write system call.
func (c *loadConn) write() error {
	var failed error
	err := c.raw.Write(func(fd uintptr) bool {
		n, err := syscall.Write(int(fd), c.out[c.written:])
		switch {
		case n > 0:
			c.written += n
		case err != syscall.EAGAIN && err != syscall.EINTR:
			failed = os.NewSyscallError("write", err)
		}
		return true // what does not fit now must not be waited for
	})
	if c.written == len(c.out) {
		c.out, c.written = c.out[:0], 0
	}
	return errors.Join(err, failed)
}

// serve reads until the connection ends.
func (c *loadConn) serve() {
	defer close(c.gone)
	err := c.read()
	c.nc.Close()
	l := c.load
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.command == 0 || c.leaving || l.phase == loadOver {
		return
	}
	if c.command != pdu.BindTransmitterID {
		for i := range l.subs {
			if l.subs[i].state == loadWaits && l.receivers[i%len(l.receivers)] == c {
				l.fail(i, &l.report.Lost, "the connection ended: %v", err)
			}
		}
	}
	l.lose(fmt.Errorf("a bound connection ended: %w", err))
}

func (c *loadConn) read() error {
	for {
		frame, err := c.frames.ReadFrame()
		if err != nil {
			return err
		}
		c.load.mu.Lock()
		more := c.batch(frame)
		c.load.flush()
		c.load.mu.Unlock()
		if !more {
			return errors.New("unbound")
		}
	}
}

// batch carries out one PDU and those that have come with it; false ends the
// connection. The caller holds Load.mu, as for everything below.
func (c *loadConn) batch(frame []byte) bool {
	for c.handle(frame) {
		if !c.frames.Ready() {
			return true
		}
		var err error
		if frame, err = c.frames.ReadFrame(); err != nil {
			return true // the next read returns it again
		}
	}
	return false
}

func (c *loadConn) handle(frame []byte) bool {
	l := c.load
	h := smpp.ParseHeader(frame)
	switch h.ID {
	case pdu.SubmitSMID:
		l.screen(c, frame)
	case pdu.DeliverSMRespID, pdu.GenericNACKID:
		if h.Status != statusOK {
			l.refused(h)
		}
	case pdu.BindTransceiverID, pdu.BindReceiverID, pdu.BindTransmitterID:
		c.bind(frame, h)
	case pdu.EnquireLinkID:
		c.control(pdu.NewEnquireLinkResp(), h.Sequence, statusOK)
	case pdu.UnbindID:
		c.control(pdu.NewUnbindResp(), h.Sequence, statusOK)
		return false
	case pdu.UnbindRespID:
		return false
	case pdu.EnquireLinkRespID:
	default:
		if h.ID&responseBit == 0 {
			c.control(pdu.NewGenericNACK(), h.Sequence, statusInvalidCommand)
		}
	}
	return true
}

// refused takes a deliver_sm_resp or generic_nack that says no.
func (l *Load) refused(h smpp.Header) {
	i := int(h.Sequence & (1<<loadIndexBits - 1))
	if i >= len(l.subs) || l.subs[i].state != loadWaits ||
		h.Sequence&^(1<<loadIndexBits-1) != loadSequence|uint32(l.subs[i].generation)<<loadIndexBits {
		return // nobody waits for it any more
	}
	l.fail(i, &l.report.Refused, "%q refused: %s", l.cfg.Walk[l.subs[i].step].Send, statusText(h.Status))
}

// screen takes a submit_sm.
func (l *Load) screen(c *loadConn, frame []byte) {
	m := &c.message
	err := smpp.Decode(frame, m)
	i, known := loadIndex(m.Dest.Digits)
	if known = known && i < len(l.subs); err != nil || !known {
		c.submitResp(m.Sequence, invalidStatus(err))
		l.problem(&l.report.Wrong, "a submit_sm to nobody: %s, %v", mask(string(m.Dest.Digits)), err)
		return
	}
	if m.RegisteredDelivery != 0 {
		c.submitResp(m.Sequence, statusOK) // a short message, no screen
		return
	}
	s := &l.subs[i]
	op, _ := m.TLVs.Get(pdutlv.TagUssdServiceOp)
	session, _ := m.TLVs.Get(pdutlv.TagItsSessionInfo)
	if s.state != loadWaits || len(session) != loadSessionLen || session[0] != s.id {
		c.submitResp(m.Sequence, statusDialogueOver)
		l.problem(&l.report.Wrong, "a screen that nobody waits for: session %x, ours is %02x", session, s.id)
		return
	}
	c.submitResp(m.Sequence, statusOK)
	last := int(s.step) == len(l.inputs)-1
	wantOp, wantEnd := loadMenu, byte(0)
	if last {
		wantOp, wantEnd = loadGoodbye, loadEnd
	}
	if len(op) != 1 || op[0] != wantOp || session[1]&loadEnd != wantEnd || !bytes.Contains(m.Payload(), l.see[s.step]) {
		step := l.cfg.Walk[s.step]
		l.fail(i, &l.report.Wrong, "after %q: operation %x, session %x, %q; want operation %02x, end %d, %q",
			step.Send, op, session, m.Payload(), wantOp, wantEnd, step.See)
		return
	}
	l.waiting--
	if l.phase == loadMeasuring {
		l.times.add(c.readAt - s.since)
		if l.report.Steps++; l.report.Steps == l.cfg.Steps {
			l.phase, l.since[loadOver] = loadOver, c.readAt
			close(l.enough)
		}
		if last {
			l.report.Ended++
		}
	}
	s.counter = session[1] >> 1
	if s.step++; last {
		s.step, s.counter = 0, 0
		s.id++
	}
	l.think(i, c.readAt)
}

// invalidStatus answers a submit_sm that cannot be read, or is to nobody.
func invalidStatus(err error) pdu.Status {
	var malformed *smpp.MalformedError
	if errors.As(err, &malformed) {
		return malformed.Status
	}
	return statusDialogueOver
}

// loadIndex finds a subscriber by its number.
func loadIndex(digits []byte) (int, bool) {
	if len(digits) != len(loadPrefix)+loadDigits || string(digits[:len(loadPrefix)]) != loadPrefix {
		return 0, false
	}
	n := 0
	for _, d := range digits[len(loadPrefix):] {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + int(d-'0')
	}
	return n, true
}

// submitResp queues a submit_sm_resp.
func (c *loadConn) submitResp(sequence uint32, status pdu.Status) {
	const length = smpp.HeaderLen + len(loadMessageID) + 1
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(length))
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(pdu.SubmitSMRespID))
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(status))
	c.out = binary.BigEndian.AppendUint32(c.out, sequence)
	c.out = append(append(c.out, loadMessageID...), 0)
}

// control queues a PDU that is not a message.
func (c *loadConn) control(body pdu.Body, sequence uint32, status pdu.Status) {
	body.Header().Seq, body.Header().Status = sequence, status
	var frame bytes.Buffer
	if err := body.SerializeTo(&frame); err != nil {
		c.load.lose(err)
		return
	}
	c.out = append(c.out, frame.Bytes()...)
}

// bind answers a bind.
func (c *loadConn) bind(frame []byte, h smpp.Header) {
	l := c.load
	resp := map[pdu.ID]func() pdu.Body{
		pdu.BindTransceiverID: pdu.NewBindTransceiverResp, pdu.BindReceiverID: pdu.NewBindReceiverResp, pdu.BindTransmitterID: pdu.NewBindTransmitterResp,
	}[h.ID]()
	request, err := pdu.Decode(bytes.NewReader(frame))
	if err != nil || request.Fields()[pdufield.AddressRange] == nil {
		c.control(resp, h.Sequence, statusInvalidCommandLen)
		return
	}
	account := l.cfg.Account
	if account.SystemID != "" && (request.Fields()[pdufield.SystemID].String() != account.SystemID ||
		request.Fields()[pdufield.Password].String() != account.Password) {
		c.control(resp, h.Sequence, statusInvalidPassword)
		return
	}
	_ = resp.Fields().Set(pdufield.SystemID, "load")                // a string is what it takes
	_ = resp.TLVFields().Set(tagInterfaceVersion, interfaceVersion) // as is an octet here
	c.control(resp, h.Sequence, statusOK)
	if c.command != 0 {
		return
	}
	c.command = h.ID
	if h.ID == pdu.BindTransmitterID || len(l.receivers) == l.cfg.Binds {
		return
	}
	if l.receivers = append(l.receivers, c); len(l.receivers) == l.cfg.Binds {
		close(l.bound)
	}
}

// goodbye unbinds the ESME and waits until it has left, or for a while.
func (l *Load) goodbye() {
	l.mu.Lock()
	var bound []*loadConn
	for _, c := range l.conns {
		if c.command != 0 {
			c.leaving = true
			c.control(pdu.NewUnbind(), 1, statusOK)
			bound = append(bound, c)
		}
	}
	l.flush()
	l.mu.Unlock()
	limit := time.NewTimer(goodbyeTimeout)
	defer limit.Stop()
	for _, c := range bound {
		select {
		case <-c.gone:
		case <-limit.C:
			return
		}
	}
}
