package smpp_test

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// What breaks other ESMEs, over real sockets: each probe is played against a
// link that answers, and the link must go on as the specification wants.

// probed is a link over TCP that answers every begin and input with "menu".
type probed struct {
	*testing.T
	listener net.Listener
	link     *smpp.Link
	s        *smsc
}

func probe(t *testing.T) *probed {
	p := &probed{T: t, listener: listen(t)}
	p.link = startTCP(t, p.listener, smpp.HandlerFunc(func(e *smpp.Event) {
		if e.Op == smpp.Begin || e.Op == smpp.Input {
			if err := e.Reply("menu", false, time.Now().Add(8*time.Second)); err != nil {
				t.Errorf("reply: %v", err)
			}
		}
	}), nil)
	p.s = acceptTCP(t, p.listener)
	return p
}

// serves checks that the connection still carries a dialogue, and ends the test
// politely.
func (p *probed) serves() {
	p.Helper()
	p.s.write(golden(p.T, "standard-input"))
	p.s.expect(pdu.DeliverSMRespID)
	p.s.answer(p.s.expectSubmit("menu"), 0)
	p.s.alive()
	unbindOnEnd(p.T, p.s)
}

// binds anew expects the end of the connection, and the next one.
func (p *probed) bindsAnew() {
	p.Helper()
	p.s.expectEnd()
	p.s = acceptTCP(p.T, p.listener)
}

func TestProbeTruncatedTLV(t *testing.T) {
	p := probe(t)
	b := golden(t, "standard-begin")
	b = b[:len(b)-1]
	b[3]--
	p.s.write(b)
	p.s.expect(pdu.DeliverSMRespID) // tolerated: the operation was readable
	p.s.answer(p.s.expectSubmit("menu"), 0)
	p.serves()
}

func TestProbeMessageLengthPastTheEnd(t *testing.T) {
	p := probe(t)
	b := golden(t, "standard-begin")
	b[bytes.Index(b, []byte("\x05*123#"))] = 200
	p.s.write(b)
	p.s.expectStatus(pdu.DeliverSMRespID, 0x01)
	p.serves()
}

func TestProbeUnknownCommand(t *testing.T) {
	p := probe(t)
	p.s.write(frame(0x00010203, 0, 0x99, "what?"))
	if h := p.s.expectStatus(pdu.GenericNACKID, 0x03); h.Sequence != 0x99 {
		t.Errorf("sequence %#x", h.Sequence)
	}
	p.serves()
}

func TestProbeCommandLength(t *testing.T) {
	for name, length := range map[string]uint32{"2^31": 1 << 31, "64 MiB": 64 << 20, "8": 8, "0": 0, "2^32-1": math.MaxUint32} {
		t.Run(name, func(t *testing.T) {
			p := probe(t)
			b := golden(t, "standard-begin")
			copy(b, []byte{byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length)})
			p.s.write(b)
			p.s.expectStatus(pdu.GenericNACKID, 0x02)
			p.bindsAnew()
			p.serves()
		})
	}
}

func TestProbeUnbind(t *testing.T) {
	p := probe(t)
	p.s.write(slices.Concat(golden(t, "standard-begin"), frame(pdu.UnbindID, 0, 0x77, "")))
	p.s.expect(pdu.DeliverSMRespID)
	if h := p.s.expect(pdu.UnbindRespID); h.Sequence != 0x77 {
		t.Errorf("sequence %#x", h.Sequence)
	}
	p.bindsAnew()
	p.s.answer(p.s.expectSubmit("menu"), 0) // the answer leaves on the new bind
	p.serves()
}

func TestProbeThrottled(t *testing.T) {
	p := probe(t)
	p.s.write(golden(t, "standard-begin"))
	p.s.expect(pdu.DeliverSMRespID)
	p.s.answer(p.s.expectSubmit("menu"), 0x58)
	p.s.answer(p.s.expectSubmit("menu"), 0) // within the step's eight seconds
	p.serves()
	if n := p.link.Status().Counters.Retried; n != 1 {
		t.Errorf("retried %d times", n)
	}
}

// A bind that is refused for 20 s is tried again slowly, with an alert, and
// taken as soon as it is accepted.
func TestProbeBindRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		began := time.Now()
		tries := 0
		s := r.accept()
		for ; time.Since(began) < 20*time.Second; s = r.accept() {
			s.refuseBind(0x0D)
			tries++
			synctest.Wait()
			if !r.link.Status().Binds[0].BadAccount {
				t.Error("no alert")
			}
		}
		s.acceptBind()
		s.alive()
		if d := time.Since(began); tries > 2 || d > 2*time.Minute {
			t.Errorf("%d tries, bound after %s", tries, d)
		}
		if n := strings.Count(r.log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%d alerts in the log", n)
		}
	})
}

// The same begin twice in a millisecond reaches the handler twice, in its order
// and before anything else: to make one session of it is the handler's. What the
// link must not do is to take the answer away with which the handler answers
// both: it waits while the two are worked off, for they came in one write.
func TestProbeBeginTwice(t *testing.T) {
	l := listen(t)
	begun := 0
	link := startTCP(t, l, smpp.HandlerFunc(func(e *smpp.Event) {
		if begun++; begun == 1 {
			if err := e.Reply("welcome", false, time.Now().Add(8*time.Second)); err != nil {
				t.Errorf("reply: %v", err)
			}
		}
	}), nil)
	s := acceptTCP(t, l)
	s.write(bytes.Repeat(golden(t, "standard-begin"), 2))
	s.expect(pdu.DeliverSMRespID)
	s.expect(pdu.DeliverSMRespID)
	s.answer(s.expectSubmit("welcome"), 0)
	s.alive()
	if n := link.Status().Counters.Events[smpp.Begin]; n != 2 {
		t.Errorf("%d begins", n)
	}
	unbindOnEnd(t, s)
}

// Everything that is odd but framed, in one go, behind one another.
func TestProbeOddities(t *testing.T) {
	p := probe(t)
	for _, sequence := range []uint32{0, 1 << 31, math.MaxUint32} {
		b := golden(t, "standard-input")
		copy(b[12:], []byte{byte(sequence >> 24), byte(sequence >> 16), byte(sequence >> 8), byte(sequence)})
		p.s.write(b)
		if m := p.s.expect(pdu.DeliverSMRespID); m.Sequence != sequence {
			t.Errorf("sequence %#x became %#x", sequence, m.Sequence)
		}
		m := p.s.expectSubmit("menu")
		// A request of the same number as ours that is in flight.
		p.s.write(frame(pdu.EnquireLinkID, 0, m.Sequence, ""))
		p.s.expect(pdu.EnquireLinkRespID)
		p.s.answer(m, 0)
	}
	for _, body := range []string{"", "\x00", "7F3A\x00", "7F3A", "\xff\xff", string(tlvs(0x1501, "junk")), "7F3A\x00" + string(tlvs(0x0425, "\x01")), "7F\x00\x04\x25"} {
		p.s.write(golden(t, "standard-input"))
		p.s.expect(pdu.DeliverSMRespID)
		m := p.s.expectSubmit("menu")
		p.s.write(frame(pdu.SubmitSMRespID, 0x4C1, m.Sequence, body))
		p.s.alive()
	}
	for _, odd := range [][]byte{
		frame(pdu.SubmitSMRespID, 0, 0x7777, "7F\x00"), frame(pdu.DataSMRespID, 0x4C1, 0, ""), frame(pdu.GenericNACKID, 0x03, 0, ""),
		frame(pdu.OutbindID, 0, 1, "smsc\x00pw\x00"), frame(pdu.BindTransceiverRespID, 0, 1, ""), frame(0x80009999, 0xFFFF, 5, "?"),
		frame(pdu.EnquireLinkRespID, 0x0400, 9, "\x00"),
	} {
		p.s.write(odd)
		p.s.alive()
	}
	p.s.write(frame(pdu.DataSMID, 0, 5, "USSD\x00\x01\x01"+testMSISDN+"\x00\x00\x00*123#\x00\x00\x00\x00"+
		string(tlvs(0x0424, "*123#", 0x0501, "\x01", 0x1383, "\x2a\x00"))))
	p.s.expect(pdu.DataSMRespID)
	p.s.answer(p.s.expectSubmit("menu"), 0)
	p.serves()
}

// An SMSC that asks whether we live before it answers the bind.
func TestProbeEnquireLinkBeforeBindResponse(t *testing.T) {
	l := listen(t)
	startTCP(t, l, smpp.HandlerFunc(func(*smpp.Event) {}), nil)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := newSMSC(t, conn)
	bind, id := s.bind(0)
	s.alive()
	s.answerBind(bind, id)
	s.alive()
	unbindOnEnd(t, s)
}

// Equal session ids for two subscribers are two dialogues.
func TestProbeEqualSessions(t *testing.T) {
	l := listen(t)
	startTCP(t, l, smpp.HandlerFunc(func(e *smpp.Event) {
		if err := e.Reply("for "+e.Dialogue.MSISDN, false, time.Time{}); err != nil {
			t.Errorf("reply: %v", err)
		}
	}), nil)
	s := acceptTCP(t, l)
	var both []byte
	for i := range 2 {
		m := begin()
		m.Source.Digits = fmt.Append(nil, 2348031000000+i)
		both = append(both, encode(t, &m)...)
	}
	s.write(both)
	s.expect(pdu.DeliverSMRespID)
	s.expect(pdu.DeliverSMRespID)
	for i := range 2 {
		m := s.expectSubmit(fmt.Sprint("for ", 2348031000000+i))
		if string(m.Dest.Digits) != fmt.Sprint(2348031000000+i) {
			t.Errorf("%q went to %s", m.ShortMessage, m.Dest.Digits)
		}
		s.answer(m, 0)
	}
	unbindOnEnd(t, s)
}
