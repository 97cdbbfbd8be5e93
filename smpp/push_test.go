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
