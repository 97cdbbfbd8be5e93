package smpp_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// A dialogue that we begin at a gateway that numbers it in its response, and has
// an operation of its own to end it.
func TestPushVendorTLV(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Profile = profile(t, "vendor-tlv") })
		s := r.bound()
		e, err := r.link.Open(testMSISDN, "*123#")
		if err != nil {
			t.Fatal(err)
		}
		r.mustReply(e, "Pay N50? 1/2", time.Minute)
		m := s.expectSubmit("Pay N50? 1/2")
		s.write(withSequence(golden(t, "vendor-tlv-push-resp"), m.Sequence))
		want := smpp.Dialogue{SMSC: "mtn", MSISDN: testMSISDN, ID: "0a0b0c0d"}
		if got := r.event(); got.Op != smpp.Opened || got.Dialogue != want || got.Opening != e {
			t.Errorf("got %s %+v", got.Op, got.Dialogue)
		}
		s.write(golden(t, "vendor-tlv-push-input"))
		s.expect(pdu.DeliverSMRespID)
		e = r.event()
		if e.Op != smpp.Input || e.Opening != nil || e.Dialogue != want || e.Text != "1" || e.Code != "*123#" {
			t.Errorf("got %s %+v, code %q, text %q", e.Op, e.Dialogue, e.Code, e.Text)
		}
		if err := e.Reply("Paid", true, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if got := s.read(); !bytes.Equal(withSequence(got, 0), withSequence(golden(t, "vendor-tlv-push-end"), 0)) {
			t.Errorf("ended by\n%s", smpp.Explain(got, profile(t, "vendor-tlv")))
		}
	})
}

// An SMSC that answers after the subscriber: his answer opens the dialogue, and
// nothing else does but the SMSC's own.
func TestPushAfterUser(t *testing.T) {
	configure := func(c *smpp.Config) {
		c.Profile = profile(t, "service-type")
		c.Profile.AfterUser = true
		if err := c.Profile.Set("push.end", "PE"); err != nil {
			t.Fatal(err)
		}
	}
	open := func(r *rig, s *smsc) smpp.Message {
		e, err := r.link.Open(testMSISDN, "*123#")
		if err != nil {
			t.Fatal(err)
		}
		r.mustReply(e, "Pay?", time.Minute)
		return s.expectSubmit("Pay?")
	}
	inBubble(t, "answered", func(t *testing.T) {
		r := start(t, configure)
		s := r.bound()
		m := open(r, s)
		s.write(golden(t, "service-type-input"))
		s.expect(pdu.DeliverSMRespID)
		if e := r.event(); e.Op != smpp.Opened || e.Dialogue.MSISDN != testMSISDN {
			t.Errorf("got %s of %v, want opened", e.Op, e.Dialogue)
		}
		e := r.event()
		if e.Op != smpp.Input {
			t.Errorf("got %s, want input", e.Op)
		}
		s.answer(m, 0)
		s.alive()
		r.noEvent()
		if err := e.Reply("Paid", true, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if m := s.expectSubmit("Paid"); string(m.ServiceType) != "PE" {
			t.Errorf("ended by %s", m.ServiceType)
		}
	})
	inBubble(t, "another dialogue ends first", func(t *testing.T) {
		r := start(t, configure)
		s := r.bound()
		m := open(r, s)
		s.write(golden(t, "service-type-abort"))
		s.expect(pdu.DeliverSMRespID)
		if e := r.event(); e.Op != smpp.Release {
			t.Errorf("got %s, want release", e.Op)
		}
		s.answer(m, 0)
		if e := r.event(); e.Op != smpp.Opened {
			t.Errorf("got %s, want opened", e.Op)
		}
	})
}

// What is to begin a dialogue waits for its turn while its subscriber has
// another: the end of that one leaves it alone, and a new one takes its place.
func TestPushOvertaken(t *testing.T) {
	for name, want := range map[string]error{"service-type-abort": nil, "service-type-begin": smpp.ErrClosed} {
		inBubble(t, name, func(t *testing.T) {
			r := start(t, func(c *smpp.Config) { c.Profile, c.Window = profile(t, "service-type"), 1 })
			s := r.bound()
			push := func(msisdn, text string) {
				e, err := r.link.Open(msisdn, "*123#")
				if err != nil {
					t.Fatal(err)
				}
				r.mustReply(e, text, time.Minute)
			}
			push("2348039999999", "is in the way")
			first := s.expectSubmit("is in the way")
			push(testMSISDN, "Your bundle ends tonight")
			s.write(golden(t, name))
			s.expect(pdu.DeliverSMRespID)
			if want != nil {
				if err := r.refused(); err != want {
					t.Errorf("refused with %v, want %v", err, want)
				}
			}
			if e := r.event(); e.Op != smpp.Begin && e.Op != smpp.Release {
				t.Errorf("got %s", e.Op)
			}
			s.answer(first, 0)
			if want == nil {
				s.answer(s.expectSubmit("Your bundle ends tonight"), 0)
			}
			s.alive()
		})
	}
	inBubble(t, "by the answer to a begin", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Profile, c.Window = profile(t, "service-type"), 1 })
		s := r.bound()
		s.write(golden(t, "service-type-begin"))
		s.expect(pdu.DeliverSMRespID)
		e := r.event()
		r.mustReply(e, "is in the way", time.Minute)
		first := s.expectSubmit("is in the way")
		push, err := r.link.Open(testMSISDN, "*123#")
		if err != nil {
			t.Fatal(err)
		}
		r.mustReply(push, "push", time.Minute)
		r.mustReply(e, "menu", time.Minute)
		s.answer(first, 0)
		s.answer(s.expectSubmit("menu"), 0)
		s.expectSubmit("push") // whether it can be shown is for the SMSC to say
	})
}

// However much there is to push, those in a dialogue are answered, and those who
// dial are let in.
func TestPushesLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window, c.Queue = 1, 8 })
		s := r.bound()
		r.mustReply(r.begin(s), "menu", time.Minute)
		menu := s.expectSubmit("menu")
		for i := range 8 {
			e, err := r.link.Open("2348039999999", "*123#")
			if err != nil {
				t.Fatal(err)
			}
			want := error(nil)
			if i >= 4 {
				want = smpp.ErrQueueFull
			}
			if err := e.Reply("push", true, time.Now().Add(time.Minute)); err != want {
				t.Errorf("push %d: %v, want %v", i, err, want)
			}
		}
		s.write(golden(t, "standard-input"))
		s.expect(pdu.DeliverSMRespID)
		e := r.event()
		for range 6 {
			r.mustReply(e, "next", time.Minute)
		}
		another := begin()
		another.Source.Digits = []byte("2348035555555")
		s.write(encode(t, &another))
		s.expect(pdu.DeliverSMRespID)
		if e := r.event(); e.Op != smpp.Begin { // admitted: six of eight answers wait
			t.Errorf("got %s", e.Op)
		}
		for range 2 {
			r.mustReply(e, "next", time.Minute)
		}
		if err := e.Reply("too much", false, time.Now().Add(time.Minute)); err != smpp.ErrQueueFull {
			t.Errorf("ninth answer: %v", err)
		}
		s.answer(menu, 0)
		s.expectSubmit("next")
	})
}

// A gateway that names the subscriber in every PDU, and has an operation of its
// own to end what we began: it gets that one until the subscriber dials.
func TestPushEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) {
			c.Profile = profile(t, "standard")
			if err := c.Profile.Set("push.end", "0x83"); err != nil {
				t.Fatal(err)
			}
		})
		s := r.bound()
		endedBy := func(want byte) {
			t.Helper()
			if err := r.event().Reply("Bye", true, time.Time{}); err != nil {
				t.Fatal(err)
			}
			m := s.expectSubmit("Bye")
			if op, _ := m.TLVs.Get(0x0501); len(op) != 1 || op[0] != want {
				t.Errorf("ended by operation %x, want %02x", op, want)
			}
			s.answer(m, 0)
		}
		e, err := r.link.Open(testMSISDN, "*123#")
		if err != nil {
			t.Fatal(err)
		}
		r.mustReply(e, "Pay N50? 1/2", time.Minute)
		s.answer(s.expectSubmit("Pay N50? 1/2"), 0)
		if e := r.event(); e.Op != smpp.Opened {
			t.Fatalf("got %s", e.Op)
		}
		s.write(golden(t, "standard-input"))
		s.expect(pdu.DeliverSMRespID)
		endedBy(0x83)
		s.write(golden(t, "standard-begin"))
		s.expect(pdu.DeliverSMRespID)
		endedBy(0x11)
	})
}

// Nobody knows what became of a push whose connection ended, and it says so.
func TestPushCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		answer := r.begin(s)
		r.mustReply(answer, "an answer", time.Minute)
		s.expectSubmit("an answer")
		e, err := r.link.Open(testMSISDN, "*123#")
		if err != nil {
			t.Fatal(err)
		}
		r.mustReply(e, "a push", time.Minute)
		s.expectSubmit("a push")
		_ = s.conn.Close()
		if got := r.event(); got.Op != smpp.Refused || got.Err != smpp.ErrCutOff || got.Opening != e {
			t.Errorf("got %s, %v", got.Op, got.Err)
		}
	})
}
