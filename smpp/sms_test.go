package smpp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// sending is a Send that runs.
type sending struct {
	id   string
	err  error
	done chan struct{}
}

// send begins to send a text to the test's subscriber.
func (r *rig) send(text string, within time.Duration) *sending {
	s := &sending{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		ctx, cancel := context.WithTimeout(r.t.Context(), within)
		defer cancel()
		s.id, s.err = r.link.Send(ctx, smpp.SMS{From: "999", To: testMSISDN, Text: text, Reference: 0x1234})
	}()
	return s
}

func (s *sending) ends(t *testing.T, id string, err error) {
	t.Helper()
	<-s.done
	if s.id != id || !errors.Is(s.err, err) {
		t.Errorf("sent as %q, %v; want %q, %v", s.id, s.err, id, err)
	}
}

// endsLate is a context that has ended as soon as somebody waits for that, and not
// before what he does so with has happened.
type endsLate struct {
	context.Context
	happened func()
}

func (c endsLate) Done() <-chan struct{} {
	c.happened()
	over := make(chan struct{})
	close(over)
	return over
}

// What the SMSC has taken counts as sent also if the time is over at the same
// moment: it would come twice.
func TestSendAnsweredAtTheLastMoment(t *testing.T) {
	for range 20 { // a select chooses at random
		synctest.Test(t, func(t *testing.T) {
			r := start(t, nil)
			s := r.bound()
			ctx := endsLate{t.Context(), func() {
				s.answer(s.expectSubmit("sms"), 0)
				synctest.Wait()
			}}
			if id, err := r.link.Send(ctx, smpp.SMS{From: "999", To: testMSISDN, Text: "sms"}); id != "7F3A" || err != nil {
				t.Errorf("sent as %q, %v", id, err)
			}
		})
	}
}

// What a short message is on the wire, in one profile of each kind.
func TestSendPDU(t *testing.T) {
	for name, want := range map[string]struct {
		set  map[string]string
		sms  smpp.SMS
		body string
	}{
		"standard": {
			sms: smpp.SMS{From: "999", To: testMSISDN, Text: "N50 was delivered", Reference: 0x1234},
			body: "\x00\x00\x00999\x00\x01\x01" + testMSISDN + "\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x11N50 was delivered" +
				"\x02\x04\x00\x02\x12\x34",
		},
		"data-sm": {
			set: map[string]string{"sms.service_type": "CMT", "sms.source": "3/0"},
			sms: smpp.SMS{From: "AIRTIME", To: testMSISDN, Text: "₦50 ✓"},
			body: "CMT\x00\x03\x00AIRTIME\x00\x01\x01" + testMSISDN + "\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x06N50 OK" +
				"\x02\x04\x00\x02\x00\x00",
		},
		"mica": { // the parameter is the session's
			set:  map[string]string{"address.dest": "0/1"},
			sms:  smpp.SMS{From: "2348030000000", To: testMSISDN, Text: "日本", Reference: 7},
			body: "\x00\x01\x012348030000000\x00\x00\x01" + testMSISDN + "\x00\x00\x00\x00\x00\x00\x01\x00\x08\x00\x04\x65\xe5\x67\x2c",
		},
		"service-type": {
			sms:  smpp.SMS{From: "Air Time", To: testMSISDN, Text: "{"},
			body: "\x00\x05\x00Air Time\x00\x01\x01" + testMSISDN + "\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x1b\x28\x02\x04\x00\x02\x00\x00",
		},
	} {
		inBubble(t, name, func(t *testing.T) {
			r := start(t, func(c *smpp.Config) {
				c.Profile = profile(t, name)
				for knob, value := range want.set {
					if err := c.Profile.Set(knob, value); err != nil {
						t.Fatal(err)
					}
				}
			})
			s := r.bound()
			got := &sending{done: make(chan struct{})}
			go func() {
				defer close(got.done)
				got.id, got.err = r.link.Send(t.Context(), want.sms)
			}()
			pdu1 := s.read()
			h := smpp.ParseHeader(pdu1)
			if h.ID != pdu.SubmitSMID || !bytes.Equal(pdu1[smpp.HeaderLen:], []byte(want.body)) {
				t.Errorf("got %s\n%q, want\n%q", smpp.CommandName(h.ID), pdu1[smpp.HeaderLen:], want.body)
			}
			if brief := smpp.Brief(pdu1, profile(t, name)); !strings.Contains(brief, "short message from "+want.sms.From+" to "+testMSISDN) {
				t.Errorf("explained as %s", brief)
			}
			s.answer(smpp.Message{Header: h}, 0)
			got.ends(t, "7F3A", nil)
			r.noEvent()
		})
	}
}

func TestSendRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		r.bound()
		synctest.Wait()
		for text, want := range map[string]string{strings.Repeat("x", 161): "161 units of 160", strings.Repeat("{", 81): "162 units of 160",
			strings.Repeat("日", 71): "71 units of 70"} {
			s := r.send(text, time.Minute)
			if s.ends(t, "", smpp.ErrSMSTooLong); !strings.Contains(s.err.Error(), want) {
				t.Errorf("%v, want %s", s.err, want)
			}
		}
		for _, m := range []smpp.SMS{{To: testMSISDN, Text: "x"}, {From: "123456789012", To: "08031234567", Text: "x"}, {From: "999", To: testMSISDN},
			{From: "AIRTIMESHOP1", To: testMSISDN, Text: "x"}, {From: "Air-Time", To: testMSISDN, Text: "x"}, {From: "1234567890123456", To: testMSISDN, Text: "x"}} {
			if _, err := r.link.Send(t.Context(), m); err == nil {
				t.Errorf("sent %+v", m)
			}
		}
		if n := r.link.Status().Counters.Out["submit_sm"]; n != 0 {
			t.Errorf("%d submit_sm", n)
		}
	})
	inBubble(t, "a gateway with USSD only", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) {
			c.Profile = profile(t, "standard")
			if err := c.Profile.Set("sms", "no"); err != nil {
				t.Fatal(err)
			}
		})
		r.send("x", time.Minute).ends(t, "", smpp.ErrNoSMS)
	})
}

// A short message keeps to the window, and waits behind the answers.
func TestSendWaitsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window = 1 })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "first", time.Minute)
		first := s.expectSubmit("first")
		sms := r.send("sms", time.Minute)
		late := r.send("late", 2*time.Second)
		synctest.Wait()
		other := begin()
		other.Source.Digits = []byte("2348030000002")
		s.write(encode(t, &other))
		s.expect(pdu.DeliverSMRespID)
		r.mustReply(r.event(), "second", time.Minute)
		late.ends(t, "", smpp.ErrExpired) // it waited for the window
		s.answer(first, 0)
		s.answer(s.expectSubmit("second"), 0)
		s.answer(s.expectSubmit("sms"), 0)
		sms.ends(t, "7F3A", nil)
		s.alive()
		r.noEvent()
	})
}

func TestSendOutcomes(t *testing.T) {
	inBubble(t, "throttled, then taken", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		sms := r.send("sms", time.Minute)
		for range 2 {
			s.answer(s.expectSubmit("sms"), 0x58)
		}
		s.answer(s.expectSubmit("sms"), 0)
		sms.ends(t, "7F3A", nil)
		if n := r.link.Status().Counters; n.Retried != 2 || n.Refused[0x58] != 2 {
			t.Errorf("counters %+v", n)
		}
	})
	inBubble(t, "refused", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		sms := r.send("sms", time.Minute)
		s.answer(s.expectSubmit("sms"), 0x0B)
		<-sms.done
		var refusal *smpp.StatusError
		if !errors.As(sms.err, &refusal) || refusal.Status != 0x0B {
			t.Errorf("got %v", sms.err)
		}
		r.noEvent()
	})
	inBubble(t, "refused where a dead status ends a dialogue", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Profile = profile(t, "vendor-tlv") })
		s := r.bound()
		sms := r.send("sms", time.Minute)
		s.answer(s.expectSubmit("sms"), 0x4C1)
		<-sms.done
		if !errors.As(sms.err, new(*smpp.StatusError)) {
			t.Errorf("got %v", sms.err)
		}
		r.noEvent()
	})
	inBubble(t, "not answered", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.ResponseTimeout = 5 * time.Second })
		s := r.bound()
		sms := r.send("sms", time.Minute)
		m := s.expectSubmit("sms")
		sms.ends(t, "", smpp.ErrTimeout)
		s.answer(m, 0) // too late
		s.alive()
	})
	inBubble(t, "not waited for", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		sms := r.send("sms", time.Second)
		m := s.expectSubmit("sms")
		sms.ends(t, "", smpp.ErrTimeout)
		s.answer(m, 0)
		s.alive()
		r.noEvent()
	})
	inBubble(t, "cut off", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		sms := r.send("sms", time.Minute)
		s.expectSubmit("sms")
		_ = s.conn.Close()
		sms.ends(t, "", smpp.ErrCutOff)
		r.noEvent()
	})
	inBubble(t, "no bind, and none in time", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.ReconnectMin, c.ReconnectMax = time.Minute, time.Minute })
		r.accept().refuseBind(0x0D)
		synctest.Wait()
		r.send("sms", time.Second).ends(t, "", smpp.ErrNotBound)
	})
	inBubble(t, "waits for the bind", func(t *testing.T) {
		r := start(t, nil)
		s := r.accept()
		sms := r.send("sms", time.Minute)
		synctest.Wait()
		s.acceptBind()
		s.answer(s.expectSubmit("sms"), 0)
		sms.ends(t, "7F3A", nil)
	})
	inBubble(t, "link stopped", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window = 1 })
		s := r.bound()
		r.send("first", time.Minute)
		s.expectSubmit("first")
		sms := r.send("sms", time.Hour)
		synctest.Wait()
		r.stop()
		sms.ends(t, "", smpp.ErrClosed)
	})
}

// Where a dialogue has no number, a short message to its subscriber is none of
// its screens: what he does neither withdraws it nor comes too early for it.
func TestSendIsNoPartOfADialogue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Profile, c.Window = profile(t, "msisdn"), 1 })
		s := r.bound()
		first, second := r.send("first", time.Minute), r.send("second", time.Minute)
		m := s.expect(pdu.SubmitSMID)
		say := func(op byte, text string) *smpp.Event {
			t.Helper()
			d := begin()
			d.TLVs, d.ShortMessage = tlvs(0x0501, string(op)), []byte(text)
			s.write(encode(t, &d))
			s.expect(pdu.DeliverSMRespID)
			return r.event()
		}
		say(0x01, "*999#")
		if e := say(0x12, "1"); e.Op != smpp.Input || e.Early {
			t.Errorf("got %s, early %t", e.Op, e.Early)
		}
		s.answer(m, 0)
		s.answer(s.expect(pdu.SubmitSMID), 0)
		first.ends(t, "7F3A", nil)
		second.ends(t, "7F3A", nil)
	})
}

// smsReceipt is a delivery receipt of the test's subscriber.
func smsReceipt(text string, params ...any) smpp.Message {
	m := begin()
	m.ESMClass, m.ServiceType, m.ShortMessage, m.TLVs = 0x04, nil, []byte(text), tlvs(params...)
	m.Source.Digits = []byte(testMSISDN)
	return m
}

const receiptText = "id:0000032570 sub:001 dlvrd:001 submit date:2611231200 done date:2611231201 stat:DELIVRD err:000 text:id:1 stat:NO"

func TestReceipts(t *testing.T) {
	for name, c := range map[string]struct {
		m    smpp.Message
		want smpp.Receipt
	}{
		"text":     {smsReceipt(receiptText), smpp.Receipt{ID: "0000032570", MSISDN: testMSISDN, State: "DELIVRD"}},
		"capitals": {smsReceipt("ID:7f3a Stat:undeliv"), smpp.Receipt{ID: "7f3a", MSISDN: testMSISDN, State: "UNDELIV"}},
		"parameters before the text": {smsReceipt(receiptText, 0x001E, "7F3A\x00", 0x0427, "\x05", 0x0204, "\x12\x34"),
			smpp.Receipt{ID: "7F3A", MSISDN: testMSISDN, State: "UNDELIV", Reference: 0x1234, HasReference: true}},
		"parameters alone":    {smsReceipt("", 0x001E, "7F3A", 0x0427, "\x03"), smpp.Receipt{ID: "7F3A", MSISDN: testMSISDN, State: "EXPIRED"}},
		"an unknown state":    {smsReceipt("id:1 stat:BUFFERED", 0x0427, "\x63"), smpp.Receipt{ID: "1", MSISDN: testMSISDN, State: "BUFFERED"}},
		"the reference alone": {smsReceipt("", 0x0204, "\x00\x00", 0x0427, "\x02"), smpp.Receipt{MSISDN: testMSISDN, State: "DELIVRD", HasReference: true}},
	} {
		inBubble(t, name, func(t *testing.T) {
			r := start(t, nil)
			s := r.bound()
			s.write(encode(t, &c.m))
			s.expect(pdu.DeliverSMRespID)
			c.want.SMSC = "mtn"
			if got := <-r.shelf; *got != c.want {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
			if brief := smpp.Brief(encode(t, &c.m), profile(t, "standard")); !strings.Contains(brief, "to "+testMSISDN+": "+c.want.State) {
				t.Errorf("explained as %s", brief)
			}
			r.noEvent()
		})
	}
	inBubble(t, "there is no room", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		m := smsReceipt(receiptText)
		s.write(encode(t, &m))
		s.expect(pdu.DeliverSMRespID)
		s.write(encode(t, &m))
		s.expectStatus(pdu.DeliverSMRespID, 0x64)
		<-r.shelf
		s.write(encode(t, &m))
		s.expect(pdu.DeliverSMRespID)
		s.alive()
		if n := r.link.Status().Counters.Receipts; n["taken"] != 2 || n["refused"] != 1 {
			t.Errorf("counted %v", n)
		}
		r.noEvent()
	})
	inBubble(t, "not of a message", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		for _, m := range []smpp.Message{smsReceipt("id:1"), smsReceipt("stat:DELIVRD"), smsReceipt(""), smsReceipt("id:1 stat:" + strings.Repeat("X", 17)),
			smsReceipt("id:" + strings.Repeat("1", 65) + " stat:DELIVRD"), smsReceipt("text:id:1 stat:DELIVRD")} {
			s.write(encode(t, &m))
			s.expect(pdu.DeliverSMRespID)
		}
		s.alive()
		if n := r.link.Status().Counters.Receipts; n["ignored"] != 6 || len(r.shelf) > 0 {
			t.Errorf("counted %v", n)
		}
	})
}

// The number of a message, as one SMSC or another writes it in its response.
func TestReceiptIDs(t *testing.T) {
	for id, named := range map[string][]string{
		"7F3A":       {"7F3A", "32570"},
		"0000032570": {"0000032570", "32570", "7F3A", "7f3a", "00007F3A"},
		"32570":      {"32570", "7F3A", "7f3a"},
		"00007f3a":   {"00007f3a", "7f3a", "32570", "0000032570"},
		"a-b":        {"a-b"},
		"":           nil,
	} {
		r := smpp.Receipt{ID: id}
		got := r.IDs()
		for _, want := range named {
			if !slices.Contains(got, want) {
				t.Errorf("%q is not %q, but %q", id, want, got)
			}
		}
		if id != "" && got[0] != id || id == "" && got != nil {
			t.Errorf("%q: first %q", id, got)
		}
	}
	if got := fmt.Sprint((&smpp.Receipt{ID: strings.Repeat("9", 40)}).IDs()); got != "["+strings.Repeat("9", 40)+"]" {
		t.Errorf("a name that is no number: %s", got)
	}
}
