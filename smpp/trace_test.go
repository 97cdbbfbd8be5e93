package smpp_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// traced returns what a trace has seen so far.
func traced(c <-chan smpp.Traced) []smpp.Traced {
	synctest.Wait()
	var all []smpp.Traced
	for len(c) > 0 {
		all = append(all, <-c)
	}
	return all
}

// commandsOf lists PDUs as they went: > is ours.
func commandsOf(all []smpp.Traced) string {
	var names []string
	for _, p := range all {
		name := smpp.CommandName(smpp.ParseHeader(p.Frame).ID)
		if p.Out {
			name = ">" + name
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestTrace(t *testing.T) {
	inBubble(t, "everything", func(t *testing.T) {
		r := start(t, nil)
		all, stop := r.link.Trace(smpp.TraceOptions{Inputs: true})
		s := r.bound()
		s.alive()
		r.mustReply(r.begin(s), "menu", time.Minute)
		s.answer(s.expectSubmit("menu"), 0)
		s.write(frame(pdu.UnbindID, 0, 3, ""))
		s.expect(pdu.UnbindRespID)
		got := traced(all)
		stop()
		stop()
		if _, ok := <-all; ok {
			t.Error("not closed")
		}
		// The first may be the bind or what comes next: the trace and the bind began together.
		want := "bind_transceiver_resp enquire_link >enquire_link_resp deliver_sm >deliver_sm_resp >submit_sm submit_sm_resp unbind >unbind_resp"
		if s := strings.TrimPrefix(commandsOf(got), ">bind_transceiver "); s != want {
			t.Errorf("traced\n%s, want\n%s", s, want)
		}
		for _, p := range got {
			h := smpp.ParseHeader(p.Frame)
			if p.Bind != "1" || p.Local == "" || p.Remote == "" || p.Time.IsZero() || p.Lost != 0 || int(h.Length) != len(p.Frame) {
				t.Errorf("PDU %+v", p)
			}
			switch h.ID &^ (1 << 31) {
			case pdu.DeliverSMID, pdu.SubmitSMID:
				if p.MSISDN != testMSISDN {
					t.Errorf("%s is of %q", smpp.CommandName(h.ID), p.MSISDN)
				}
			default:
				if p.MSISDN != "" {
					t.Errorf("%s is of %q", smpp.CommandName(h.ID), p.MSISDN)
				}
			}
			if h.ID == pdu.DeliverSMID && !bytes.Equal(p.Frame, golden(t, "standard-begin")) {
				t.Errorf("deliver_sm is %x", p.Frame)
			}
		}
		r.bound()
	})
	inBubble(t, "masked", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		all, stop := r.link.Trace(smpp.TraceOptions{})
		defer stop()
		const pin = "4711"
		input := begin()
		input.ShortMessage = []byte(pin)
		payload := begin()
		payload.ShortMessage, payload.TLVs = nil, append(tlvs(0x0424, pin), payload.TLVs...)
		cut := encode(t, &input)
		cut = cut[:len(cut)-1] // inside the last TLV
		cut[3]--
		late := encode(t, &input)
		late[bytes.Index(late, []byte("\x04"+pin))] = 200 // sm_length past the end
		for _, b := range [][]byte{encode(t, &input), encode(t, &payload), cut, late} {
			s.write(b)
			s.read()
		}
		s.write(frame(pdu.OutbindID, 0, 1, "smsc\x00"+pin+"\x00"))
		_ = s.conn.Close()
		s = r.bound()
		s.alive()
		got := traced(all)
		binds := 0
		for _, p := range got {
			h := smpp.ParseHeader(p.Frame)
			if bytes.Contains(p.Frame, []byte(pin)) || bytes.Contains(p.Frame, []byte(testPassword)) {
				t.Errorf("%s shows a secret: %q", smpp.CommandName(h.ID), p.Frame)
			}
			if h.ID == pdu.BindTransceiverID {
				binds++
				if want := bytes.ReplaceAll(golden(t, "bind"), []byte(testPassword), []byte("******")); !bytes.Equal(p.Frame, want) {
					t.Errorf("bind is %q, want %q", p.Frame, want)
				}
			}
		}
		if binds != 1 {
			t.Errorf("%d binds in %s", binds, commandsOf(got))
		}
		for range 3 { // the link has the real ones
			if e := r.event(); e.Text != pin {
				t.Errorf("event %+v", e)
			}
		}
	})
	inBubble(t, "masked where it was dialled", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) {
			c.Profile = profile(t, "standard")
			if err := c.Profile.Set("dialled.from", "destination"); err != nil {
				t.Fatal(err)
			}
		})
		s := r.bound()
		synctest.Wait()
		all, stop := r.link.Trace(smpp.TraceOptions{})
		defer stop()
		m := begin()
		m.Dest.Digits, m.ShortMessage = []byte("*123*500*4711#"), nil
		s.write(encode(t, &m))
		s.expect(pdu.DeliverSMRespID)
		e := r.event()
		if e.Text != "*123*500*4711#" {
			t.Errorf("dialled %q", e.Text)
		}
		r.mustReply(e, "menu", time.Minute)
		s.expectSubmit("menu")
		got := traced(all)
		if len(got) != 3 || !bytes.Contains(got[0].Frame, []byte("\x00*123*xxx*xxxx#\x00")) || !bytes.Contains(got[2].Frame, []byte("\x00*123*xxx*xxxx#\x00")) {
			t.Errorf("traced %s: %+v", commandsOf(got), got)
		}
	})
	inBubble(t, "masked texts are still what they were", func(t *testing.T) {
		p := profile(t, "standard")
		r := start(t, func(c *smpp.Config) { c.Profile = p })
		s := r.bound()
		synctest.Wait()
		all, stop := r.link.Trace(smpp.TraceOptions{})
		defer stop()
		for text, want := range map[string]string{
			"4711":     `input to dialogue 2a00 of ` + testMSISDN + `: "xxxx"`,
			"*123*47#": `begin of dialogue 2a00 of ` + testMSISDN + `: service *999#, dialled "*xxxxxxx"`,
		} {
			m := begin()
			m.ShortMessage, m.TLVs = []byte(text), tlvs(0x1383, "\x2a\x00") // no operation: the text tells
			s.write(encode(t, &m))
			s.expect(pdu.DeliverSMRespID)
			r.event()
			if got := smpp.Brief(traced(all)[0].Frame, p); !strings.HasSuffix(got, want) {
				t.Errorf("traced %s, want %s", got, want)
			}
		}
	})
	inBubble(t, "of one subscriber", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		all, stop := r.link.Trace(smpp.TraceOptions{MSISDN: "2348035555555"})
		defer stop()
		r.mustReply(r.begin(s), "not his", time.Minute)
		s.answer(s.expectSubmit("not his"), 0)
		his := begin()
		his.Source.Digits = []byte("2348035555555")
		s.write(encode(t, &his))
		s.expect(pdu.DeliverSMRespID)
		r.mustReply(r.event(), "his", time.Minute)
		s.answer(s.expectSubmit("his"), 0)
		s.alive()
		if got, want := commandsOf(traced(all)), "deliver_sm >deliver_sm_resp >submit_sm submit_sm_resp"; got != want {
			t.Errorf("traced %s, want %s", got, want)
		}
	})
	inBubble(t, "of one subscriber, unusable", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		all, stop := r.link.Trace(smpp.TraceOptions{MSISDN: testMSISDN})
		defer stop()
		s.write(past(t))
		s.expectStatus(pdu.DeliverSMRespID, 0x01)
		s.write(receipt(t))
		s.expect(pdu.DeliverSMRespID)
		if got, want := commandsOf(traced(all)), "deliver_sm >deliver_sm_resp deliver_sm >deliver_sm_resp"; got != want {
			t.Errorf("traced %s, want %s", got, want)
		}
	})
	inBubble(t, "of one subscriber, who answers before the SMSC", func(t *testing.T) {
		r := start(t, afterUser)
		s := r.bound()
		all, stop := r.link.Trace(smpp.TraceOptions{MSISDN: testMSISDN})
		defer stop()
		r.mustReply(r.begin(s), "menu", time.Minute)
		m := s.expectSubmit("menu")
		s.write(golden(t, "standard-input"))
		s.expect(pdu.DeliverSMRespID)
		s.answer(m, 0)
		s.alive()
		want := "deliver_sm >deliver_sm_resp >submit_sm deliver_sm >deliver_sm_resp submit_sm_resp"
		if got := commandsOf(traced(all)); got != want {
			t.Errorf("traced %s, want %s", got, want)
		}
	})
	inBubble(t, "too slow", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		synctest.Wait() // or the bind's response would be the first
		all, stop := r.link.Trace(smpp.TraceOptions{Buffer: 3})
		defer stop()
		for range 5 {
			s.alive()
		}
		if got := traced(all); len(got) != 3 {
			t.Errorf("%d PDUs", len(got))
		}
		s.alive()
		if got := traced(all); len(got) != 2 || got[0].Lost != 7 || got[1].Lost != 0 {
			t.Errorf("got %+v", got)
		}
		if n := r.link.Status().Counters.TraceLost; n != 7 {
			t.Errorf("%d lost", n)
		}
	})
}
