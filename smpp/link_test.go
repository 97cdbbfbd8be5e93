package smpp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// inBubble runs a test with a clock of its own.
func inBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestBindPDU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.accept()
		if got, want := s.read(), golden(t, "bind"); !bytes.Equal(got, want) {
			t.Errorf("bind is\n%x, want\n%x", got, want)
		}
		synctest.Wait()
		if got := r.link.Status().State; got != smpp.Binding {
			t.Errorf("state %s before the answer", got)
		}
		s.write(golden(t, "bind-resp"))
		synctest.Wait()
		if got := r.link.Status(); got.State != smpp.Bound || got.Name != "mtn" || got.Profile != "standard" || got.LastPDU.IsZero() {
			t.Errorf("status %+v after the answer", got)
		}
		if log := r.log.String(); !strings.Contains(log, "link bound") || !strings.Contains(log, "smsc_system_id=USSDGW smsc_version=34") {
			t.Errorf("log:\n%s", log)
		}
		s.alive()
	})
}

// TestDialogue is the first four golden traces as a dialogue.
func TestDialogue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		// reply expects a golden submit_sm with the sequence number of this
		// connection, where the bind had 1.
		reply := func(name string, sequence byte) {
			t.Helper()
			want := golden(t, name)
			want[15] = sequence
			if got := s.read(); !bytes.Equal(got, want) {
				t.Errorf("%s is\n%x, want\n%x", name, got, want)
			}
			s.write(frame(pdu.SubmitSMRespID, 0, uint32(sequence), "7F3A\x00"))
		}
		ack := func(sequence byte) {
			t.Helper()
			want := golden(t, "standard-begin-ack")
			want[15] = sequence
			if got := s.read(); !bytes.Equal(got, want) {
				t.Errorf("acknowledgement is %x, want %x", got, want)
			}
		}
		dialogue := smpp.Dialogue{SMSC: "mtn", MSISDN: testMSISDN, ID: "2a00"}

		s.write(golden(t, "standard-begin"))
		ack(0x11)
		e := r.event()
		if e.Op != smpp.Begin || e.Dialogue != dialogue || e.Code != "*123#" || e.Text != "*123#" || e.Err != nil {
			t.Errorf("begin is %+v", e)
		}
		if e.Medium() != (smpp.Text{Alphabet: smpp.GSM, Max: 160}) {
			t.Errorf("medium is %+v", e.Medium())
		}
		if err := e.Reply("1 Bal\n2 Buy", false, time.Time{}); err != nil {
			t.Fatal(err)
		}
		reply("standard-menu", 2)

		s.write(golden(t, "standard-input"))
		ack(0x12)
		e = r.event()
		if e.Op != smpp.Input || e.Dialogue != dialogue || e.Code != "*123#" || e.Text != "1" {
			t.Errorf("input is %+v", e)
		}
		if err := e.Reply("Bal 20.00", true, time.Time{}); err != nil {
			t.Fatal(err)
		}
		reply("standard-end", 3)

		s.write(golden(t, "standard-abort"))
		ack(0x13)
		e = r.event()
		if e.Op != smpp.Release || e.Dialogue != dialogue || e.Text != "" {
			t.Errorf("abort is %+v", e)
		}
		if err := e.Reply("too late", true, time.Time{}); err != smpp.ErrClosed {
			t.Errorf("reply to a release: %v", err)
		}
		s.alive()

		st := r.link.Status()
		if st.Counters.In["deliver_sm"] != 3 || st.Counters.Out["deliver_sm_resp"] != 3 || st.Counters.Out["submit_sm"] != 2 ||
			st.Counters.In["submit_sm_resp"] != 2 || st.Counters.Out["bind_transceiver"] != 1 || st.InFlight != 0 ||
			st.Counters.Events[smpp.Begin] != 1 || st.Counters.Events[smpp.Input] != 1 || st.Counters.Events[smpp.Release] != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestBindRefused(t *testing.T) {
	for _, c := range []struct {
		status   pdu.Status
		min, max time.Duration
	}{
		{0x08, 500 * time.Millisecond, time.Second},
		{0x05, 7500 * time.Millisecond, 15 * time.Second}, // already bound: wait the SMSC out
		{0x0D, 30 * time.Second, time.Minute},             // credentials: somebody has to mend them
		{0x0E, 30 * time.Second, time.Minute},
		{0x0F, 30 * time.Second, time.Minute},
		{0x53, 30 * time.Second, time.Minute},
		{0x4C1, 500 * time.Millisecond, time.Second},
	} {
		inBubble(t, fmt.Sprintf("%#x", uint32(c.status)), func(t *testing.T) {
			r := start(t, nil)
			s := r.accept()
			began := time.Now()
			s.refuseBind(c.status)
			synctest.Wait()
			if st := r.link.Status(); st.State != smpp.Waiting || !strings.Contains(st.LastError, "bind refused") || st.Counters.BindFailed[c.status] != 1 {
				t.Errorf("status %+v", st)
			}
			s = r.accept()
			if d := time.Since(began); d < c.min || d > c.max {
				t.Errorf("came back after %s, want %s to %s", d, c.min, c.max)
			}
			s.acceptBind()
			s.alive()
			if n := r.link.Status().Counters.Reconnects; n != 1 {
				t.Errorf("%d reconnects", n)
			}
		})
	}
}

func TestBindFails(t *testing.T) {
	for name, c := range map[string]struct {
		play  func(s *smsc)
		cause string
	}{
		"not answered":    {func(s *smsc) { s.expect(pdu.BindTransceiverID); s.expectEnd() }, "no answer while binding"},
		"closed":          {func(s *smsc) { s.expect(pdu.BindTransceiverID); _ = s.conn.Close() }, "closed by the SMSC"},
		"closed in a PDU": {func(s *smsc) { s.read(); s.write([]byte{0, 0, 0}); _ = s.conn.Close() }, "closed by the SMSC inside a PDU"},
		"nacked": {func(s *smsc) {
			h := s.expect(pdu.BindTransceiverID)
			s.write(frame(pdu.GenericNACKID, 3, h.Sequence, ""))
		}, "generic_nack: status 0x00000003"},
		"speaks HTTP":      {func(s *smsc) { s.read(); s.write([]byte("HTTP/1.1 400 Bad Request\r\n")); s.read() }, "command_length 1213486160"},
		"refused with NUL": {func(s *smsc) { s.read(); s.write(frame(pdu.BindTransceiverRespID, 0x53, 1, "\x00")) }, "status 0x00000053"},
		"unbound": {func(s *smsc) {
			s.read()
			s.write(frame(pdu.UnbindID, 0, 5, ""))
			s.expect(pdu.UnbindRespID)
		}, "unbound by the SMSC"},
	} {
		inBubble(t, name, func(t *testing.T) {
			r := start(t, nil)
			s := r.accept()
			c.play(s)
			s = r.bound()
			s.alive()
			if got := r.link.Status().LastError; !strings.Contains(got, c.cause) {
				t.Errorf("last error %q, want %q", got, c.cause)
			}
		})
	}
}

func TestBackoffGrowsAndResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.ReconnectMin, c.ReconnectMax = time.Second, 8*time.Second })
		// lose drops the connection and returns how long the link stays away.
		lose := func(s *smsc) (*smsc, time.Duration) {
			wait(time.Second)
			_ = s.conn.Close()
			began := time.Now()
			s = r.bound()
			return s, time.Since(began)
		}
		s := r.bound()
		var d time.Duration
		for i, longest := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second} {
			if s, d = lose(s); d < longest/2 || d > longest {
				t.Errorf("pause %d is %s, want %s to %s", i, d, longest/2, longest)
			}
		}
		wait(7*time.Second + 1) // a bind that lasts makes up for it
		if _, d = lose(s); d > time.Second {
			t.Errorf("pause after a lasting bind is %s", d)
		}
	})
}

func TestConnectFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		r.refuse.Store(3)
		_ = s.conn.Close()
		r.bound().alive()
		if st := r.link.Status(); st.LastError != "connection refused" || st.Counters.Reconnects != 4 {
			t.Errorf("status %+v", st)
		}
		if n := strings.Count(r.log.String(), "level=WARN"); n != 2 { // the loss, and the first refusal
			t.Errorf("%d warnings:\n%s", n, r.log)
		}
	})
}

func TestBeforeBindResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.accept()
		bind := s.expect(pdu.BindTransceiverID)
		s.alive()
		s.write(golden(t, "standard-begin"))
		s.expectStatus(pdu.DeliverSMRespID, 0x04)
		s.write(frame(0x55, 0, 9, ""))
		s.expectStatus(pdu.GenericNACKID, 0x03)
		s.write(frame(pdu.BindTransceiverRespID, 0, bind.Sequence, "USSDGW\x00"))
		s.alive()
		synctest.Wait()
		r.noEvent()
		if st := r.link.Status(); st.State != smpp.Bound || st.Counters.Malformed["message outside of a bind"] != 1 {
			t.Errorf("status %+v", st)
		}
		if !strings.Contains(r.log.String(), "smsc_version=none") {
			t.Errorf("log:\n%s", r.log)
		}
	})
}

func TestEnquireLink(t *testing.T) {
	inBubble(t, "theirs", func(t *testing.T) {
		s := start(t, nil).bound()
		for _, sequence := range []uint32{0, 1, 0x7FFFFFFF, 0xFFFFFFFF} {
			s.write(frame(pdu.EnquireLinkID, 0, sequence, ""))
			if got, want := s.read(), frame(pdu.EnquireLinkRespID, 0, sequence, ""); !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
		}
	})
	inBubble(t, "ours", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.EnquireLink, c.EnquireTimeout = 30*time.Second, 10*time.Second })
		s := r.bound()
		quiet := time.Now()
		for range 3 {
			h := s.expect(pdu.EnquireLinkID)
			if d := time.Since(quiet); d != 30*time.Second {
				t.Errorf("sent after %s of silence", d)
			}
			wait(9 * time.Second)
			s.write(frame(pdu.EnquireLinkRespID, 0, h.Sequence, ""))
			quiet = time.Now()
		}
		wait(20 * time.Second) // any PDU is a sign of life
		r.begin(s)
		quiet = time.Now()
		s.expect(pdu.EnquireLinkID)
		if d := time.Since(quiet); d != 30*time.Second {
			t.Errorf("sent after %s of silence", d)
		}
		s.expect(pdu.EnquireLinkID) // one miss
		if d := time.Since(quiet); d != 40*time.Second {
			t.Errorf("second one sent after %s of silence", d)
		}
		s.expectEnd() // the second
		if d := time.Since(quiet); d != 50*time.Second {
			t.Errorf("given up after %s of silence", d)
		}
		r.bound().alive()
		if got := r.link.Status().LastError; got != "2 enquire_links not answered" {
			t.Errorf("last error %q", got)
		}
	})
	inBubble(t, "busy", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		for range 20 {
			wait(29 * time.Second)
			r.begin(s)
		}
		synctest.Wait()
		if n := r.link.Status().Counters.Out["enquire_link"]; n != 0 {
			t.Errorf("%d enquire_links on a link that is never silent", n)
		}
	})
}

func TestUnbindBySMSC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		// The last message before the unbind is acknowledged, and handled.
		s.write(slices.Concat(golden(t, "standard-begin"), frame(pdu.UnbindID, 0, 0x77, "")))
		s.expect(pdu.DeliverSMRespID)
		if h := s.expect(pdu.UnbindRespID); h.Sequence != 0x77 {
			t.Errorf("unbind_resp %+v", h)
		}
		s.expectEnd()
		e := r.event()
		s = r.bound()
		r.mustReply(e, "still here", time.Minute)
		s.expectSubmit("still here")
	})
}

func TestHalfPDU(t *testing.T) {
	inBubble(t, "stops", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.ReadTimeout = 25 * time.Second })
		s := r.bound()
		began := time.Now()
		s.write(golden(t, "standard-begin")[:20])
		s.expectEnd()
		if d := time.Since(began); d != 25*time.Second {
			t.Errorf("given up after %s", d)
		}
		r.bound().alive()
		if got := r.link.Status().LastError; got != "a PDU was not complete after 25s" {
			t.Errorf("last error %q", got)
		}
	})
	inBubble(t, "trickles", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.ReadTimeout = 25 * time.Second })
		s := r.bound()
		began := time.Now()
		for _, octet := range golden(t, "standard-begin")[:25] {
			s.write([]byte{octet})
			wait(time.Second - 1)
		}
		s.expectEnd()
		if d := time.Since(began); d != 25*time.Second {
			t.Errorf("given up after %s", d)
		}
		r.bound()
	})
	inBubble(t, "slow but whole", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.ReadTimeout = 25 * time.Second })
		s := r.bound()
		begin := golden(t, "standard-begin")
		for range 5 { // each one within its time, all together not
			s.write(begin[:40])
			wait(20 * time.Second)
			s.write(begin[40:])
			s.expect(pdu.DeliverSMRespID)
			r.event()
		}
	})
	inBubble(t, "behind a whole one", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.ReadTimeout = 25 * time.Second })
		s := r.bound()
		begin := golden(t, "standard-begin")
		s.write(begin[:10])
		wait(20 * time.Second)
		began := time.Now()
		s.write(slices.Concat(begin[10:], begin[:10]))
		s.expect(pdu.DeliverSMRespID)
		s.expectEnd()
		if d := time.Since(began); d != 25*time.Second {
			t.Errorf("given up after %s", d)
		}
	})
}

func TestUnusablePDUs(t *testing.T) {
	begin := golden(t, "standard-begin")
	end := bytes.Index(begin, []byte("*123#\x05\x01")) + len("*123#")
	withTLVs := func(list smpp.TLVs) []byte {
		b := append(slices.Clone(begin[:end]), list...)
		b[3] = byte(len(b))
		return b
	}
	smLength := slices.Clone(begin)
	smLength[end-6] = 99
	source := func(digits string) []byte {
		m := decode(t, begin)
		m.Source.Digits = []byte(digits)
		return encode(t, &m)
	}
	for _, c := range []struct {
		name   string
		send   []byte
		answer pdu.ID
		status pdu.Status
		kind   string
		event  bool
	}{
		{"sm_length past the end", smLength, pdu.DeliverSMRespID, 0x01, "deliver_sm: sm_length reaches past the end of the PDU", false},
		{"fields cut off", frame(pdu.DeliverSMID, 0, 0x11, "USSD\x00\x01"), pdu.DeliverSMRespID, 0x02, "deliver_sm: mandatory fields are cut off", false},
		{"data_sm cut off", frame(pdu.DataSMID, 0, 0x11, ""), pdu.DataSMRespID, 0x02, "data_sm: mandatory fields are cut off", false},
		{"source not a number", source("MTN"), pdu.DeliverSMRespID, 0x0A, "deliver_sm: source_addr is not a number", false},
		{"source empty", source(""), pdu.DeliverSMRespID, 0x0A, "deliver_sm: source_addr is not a number", false},
		{"operation of two octets", withTLVs(tlvs(0x0501, "\x00\x01")), pdu.DeliverSMRespID, 0xC2, "deliver_sm: operation TLV has the wrong length", false},
		{"session of one octet", withTLVs(tlvs(0x0501, "\x01", 0x1383, "\x2a")), pdu.DeliverSMRespID, 0xC2, "deliver_sm: session TLV has the wrong length", false},
		{"last TLV truncated", withTLVs(tlvs(0x0501, "\x01", 0x1383, "\x2a\x00")[:9]), pdu.DeliverSMRespID, 0, "deliver_sm: last TLV is truncated", true},
		{"unknown TLV", withTLVs(tlvs(0x3FFF, "what?", 0x0501, "\x01")), pdu.DeliverSMRespID, 0, "", true},
		{"unknown command", frame(0x55, 0, 0x11, "body"), pdu.GenericNACKID, 0x03, "unknown command", false},
		{"request that is not ours", frame(pdu.SubmitSMID, 0, 0x11, ""), pdu.GenericNACKID, 0x03, "unknown command", false},
		{"query_sm", frame(pdu.QuerySMID, 0, 0x11, ""), pdu.GenericNACKID, 0x03, "unknown command", false},
		{"unknown response", frame(0x80000055, 0, 0x11, ""), 0, 0, "response to nothing", false},
		{"submit_sm_resp to nothing", frame(pdu.SubmitSMRespID, 0, 0x11, "7F\x00"), 0, 0, "response to nothing", false},
		{"generic_nack to nothing", frame(pdu.GenericNACKID, 3, 0, ""), 0, 0, "response to nothing", false},
		{"bind_resp again", frame(pdu.BindTransceiverRespID, 0, 1, "X\x00"), 0, 0, "response to nothing", false},
		{"unbind_resp to nothing", frame(pdu.UnbindRespID, 0, 1, ""), 0, 0, "response to nothing", false},
		{"alert_notification", frame(pdu.AlertNotificationID, 0, 1, "\x00\x00x\x00\x00\x00y\x00"), 0, 0, "", false},
		{"outbind", frame(pdu.OutbindID, 0, 1, "smsc\x00pw\x00"), 0, 0, "", false},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			r := start(t, nil)
			s := r.bound()
			for range 3 {
				s.write(c.send)
				if c.answer != 0 {
					if h := s.expectStatus(c.answer, c.status); h.Sequence != smpp.ParseHeader(c.send).Sequence {
						t.Errorf("answered with sequence %d", h.Sequence)
					}
				}
				if c.event {
					r.event()
				}
			}
			s.alive()
			r.begin(s) // and the next message is not hurt
			synctest.Wait()
			r.noEvent()
			kinds := r.link.Status().Counters.Malformed
			if c.kind == "" && len(kinds) != 0 || c.kind != "" && (len(kinds) != 1 || kinds[c.kind] != 3) {
				t.Errorf("kinds %v, want 3 of %q", kinds, c.kind)
			}
			if n := strings.Count(r.log.String(), "unusable PDU"); n > 1 || c.kind != "" && n != 1 {
				t.Errorf("logged %d times", n)
			}
		})
	}
}

func TestFramingLost(t *testing.T) {
	for _, head := range []string{"\x00\x00\x00\x08", "\x04\x00\x00\x00\x00\x00\x00\x15", "\x80\x00\x00\x00"} {
		inBubble(t, fmt.Sprintf("%x", head), func(t *testing.T) {
			r := start(t, nil)
			s := r.bound()
			s.write([]byte(head))
			if got, want := s.read(), frame(pdu.GenericNACKID, 0x02, 0, ""); !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
			s.expectEnd()
			r.bound().alive()
			if st := r.link.Status(); st.Counters.Malformed["framing lost"] != 1 || !strings.Contains(st.LastError, "command_length") {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func TestThrottled(t *testing.T) {
	for _, status := range []pdu.Status{0x58, 0x14, 0x64, 0x08} {
		inBubble(t, fmt.Sprintf("%#x", uint32(status)), func(t *testing.T) {
			r := start(t, nil)
			s := r.bound()
			e := r.begin(s)
			r.mustReply(e, "menu", 8*time.Second)
			sequences := make(map[uint32]bool)
			last := time.Now()
			for i, pause := range []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second} {
				m := s.expectSubmit("menu")
				if d := time.Since(last); d != pause {
					t.Errorf("try %d came after %s, want %s", i, d, pause)
				}
				if sequences[m.Sequence] {
					t.Errorf("try %d has a used sequence number", i)
				}
				sequences[m.Sequence] = true
				last = time.Now()
				if i < 4 {
					s.answer(m, status)
				} else {
					s.answer(m, 0)
				}
			}
			s.alive()
			synctest.Wait()
			r.noEvent()
			st := r.link.Status()
			if st.Counters.Retried != 4 || st.Counters.Refused[status] != 4 || st.InFlight+st.Queued != 0 {
				t.Errorf("status %+v", st)
			}
			if n := strings.Count(r.log.String(), "reply refused"); n != 1 {
				t.Errorf("logged %d times:\n%s", n, r.log)
			}
		})
	}
	inBubble(t, "each in its time", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "one", 8*time.Second)
		s.answer(s.expectSubmit("one"), 0x58)
		began := time.Now()
		wait(100 * time.Millisecond)
		r.mustReply(e, "two", 8*time.Second)
		s.answer(s.expectSubmit("two"), 0x58)
		s.answer(s.expectSubmit("one"), 0)
		if d := time.Since(began); d != 250*time.Millisecond {
			t.Errorf("one came after %s", d)
		}
		s.answer(s.expectSubmit("two"), 0)
		if d := time.Since(began); d != 350*time.Millisecond {
			t.Errorf("two came after %s", d)
		}
		s.alive()
	})
	inBubble(t, "in a generic_nack", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		r.mustReply(r.begin(s), "menu", 8*time.Second)
		m := s.expectSubmit("menu")
		s.write(frame(pdu.GenericNACKID, 0x58, m.Sequence, ""))
		s.answer(s.expectSubmit("menu"), 0)
	})
	inBubble(t, "until the deadline", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		began := time.Now()
		r.mustReply(r.begin(s), "menu", time.Second)
		for range 3 { // at 0, 250 and 750 ms; the next would be at 1.75 s
			s.answer(s.expectSubmit("menu"), 0x58)
		}
		err := r.refused()
		var refusal *smpp.StatusError
		if !errors.As(err, &refusal) || refusal.Status != 0x58 || !refusal.Temporary() {
			t.Errorf("cause %v", err)
		}
		if d := time.Since(began); d != 750*time.Millisecond {
			t.Errorf("given up after %s", d)
		}
	})
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, body string
		id         pdu.ID
		status     pdu.Status
		class      smpp.StatusClass
		text       string
	}{
		{"without body", "", pdu.SubmitSMRespID, 0x4C1, smpp.Dead, "submit_sm_resp: status 0x000004c1 (unknown status: 1217)"},
		{"with a message_id", "7F3A\x00", pdu.SubmitSMRespID, 0x0A, smpp.Misconfigured, "submit_sm_resp: status 0x0000000a (invalid source address)"},
		{"with TLVs only", string(tlvs(0x1501, "junk")), pdu.SubmitSMRespID, 0x45, smpp.Misconfigured, "submit_sm_resp: status 0x00000045 (submitsm or submitmulti failed)"},
		{"with garbage", "\xff\xff", pdu.SubmitSMRespID, 0x01, smpp.TooLong, "submit_sm_resp: status 0x00000001 (invalid message length)"},
		{"by generic_nack", "", pdu.GenericNACKID, 0x03, smpp.Dead, "generic_nack: status 0x00000003 (invalid command id)"},
		{"by generic_nack with status 0", "", pdu.GenericNACKID, 0, smpp.Dead, "generic_nack: status 0x00000000 (OK)"},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			r := start(t, nil)
			s := r.bound()
			e := r.begin(s)
			r.mustReply(e, "menu", 8*time.Second)
			m := s.expectSubmit("menu")
			s.write(frame(c.id, c.status, m.Sequence, c.body))
			got := r.event()
			var refusal *smpp.StatusError
			if got.Op != smpp.Refused || got.Dialogue != e.Dialogue || got.Code != e.Code || !errors.As(got.Err, &refusal) {
				t.Fatalf("event %+v", got)
			}
			if *refusal != (smpp.StatusError{ID: c.id, Status: c.status, Class: c.class}) || refusal.Temporary() || refusal.Error() != c.text {
				t.Errorf("cause %+v: %v", refusal, refusal)
			}
			// The dialogue can be answered with something else.
			if err := got.Reply("sorry", true, time.Time{}); err != nil {
				t.Fatal(err)
			}
			s.answer(s.expectSubmit("sorry"), 0)
			s.alive()
		})
	}
}

// TestRefusalsAreBounded lets the SMSC invent statuses, each of which is a key
// in the counters.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		e := r.begin(s)
		for status := range pdu.Status(1100) {
			r.mustReply(e, "menu", time.Second)
			s.answer(s.expectSubmit("menu"), 0x1000+status)
			r.refused()
		}
		refused := r.link.Status().Counters.Refused
		if others := refused[smpp.OtherStatus]; len(refused) != 1025 || refused[0x1000] != 1 || others != 1100-1024 {
			t.Errorf("%d statuses are counted, and %d others", len(refused), others)
		}
	})
}

func TestResponseTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.ResponseTimeout = 10 * time.Second })
		s := r.bound()
		e := r.begin(s)
		wait(15 * time.Second) // past the bind's own alarm
		began := time.Now()
		var sent []smpp.Message
		for _, text := range []string{"one", "two", "three"} {
			r.mustReply(e, text, time.Minute)
			sent = append(sent, s.expectSubmit(text))
		}
		s.answer(sent[1], 0)
		for range 2 {
			if err := r.refused(); err != smpp.ErrTimeout {
				t.Errorf("cause %v", err)
			}
			if d := time.Since(began); d != 10*time.Second {
				t.Errorf("after %s", d)
			}
		}
		s.answer(sent[0], 0x58) // too late: must not be sent again
		s.alive()
		wait(5 * time.Second)
		r.noEvent()
		if st := r.link.Status(); st.InFlight != 0 || st.Counters.Malformed["response to nothing"] != 1 || st.Counters.Retried != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

// An SMSC that does not tell its version may know no TLVs.
func TestVersionNotTold(t *testing.T) {
	for preset, want := range map[string]int{"standard": 1, "service-type": 0} {
		inBubble(t, preset, func(t *testing.T) {
			r := start(t, func(c *smpp.Config) { c.Profile = profile(t, preset) })
			for range 2 {
				s := r.accept()
				h, _ := s.bind(pdu.BindTransceiverID)
				s.write(frame(pdu.BindTransceiverRespID, 0, h.Sequence, "USSDGW\x00"))
				s.alive()
				_ = s.conn.Close()
			}
			r.bound()
			if n := strings.Count(r.log.String(), "sc_interface_version"); n != want {
				t.Errorf("told %d times, want %d", n, want)
			}
		})
	}
}

// What is acknowledged and ignored is counted, and told once.
func TestIgnored(t *testing.T) {
	inBubble(t, "by the profile", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) {
			c.Profile = profile(t, "standard")
			for knob, value := range map[string]string{"op.other": "ignore", "service_type.in": "USSD"} {
				if err := c.Profile.Set(knob, value); err != nil {
					t.Fatal(err)
				}
			}
		})
		s := r.bound()
		for range 3 {
			m := begin()
			m.TLVs = tlvs(0x0501, "\x77")
			s.write(encode(t, &m))
			s.expect(pdu.DeliverSMRespID)
			m = begin()
			m.ServiceType = []byte("SMS")
			s.write(encode(t, &m))
			s.expect(pdu.DeliverSMRespID)
		}
		s.alive()
		r.noEvent()
		if n := r.link.Status().Counters.Ignored; len(n) != 2 || n["operation"] != 3 || n["service_type"] != 3 {
			t.Errorf("ignored %v", n)
		}
		log := r.log.String()
		if strings.Count(log, "message ignored") != 2 || !strings.Contains(log, "service_type=SMS") || !strings.Contains(log, "operation=0x77") {
			t.Errorf("logged\n%s", log)
		}
	})
	inBubble(t, "not outside of a bind", func(t *testing.T) {
		r := start(t, nil)
		s := r.accept()
		h, id := s.bind(0)
		s.write(receipt(t))
		s.expectStatus(pdu.DeliverSMRespID, 0x04)
		s.answerBind(h, id)
		s.alive()
		if n := r.link.Status().Counters; len(n.Receipts) != 0 || n.Malformed["message outside of a bind"] != 1 {
			t.Errorf("counters %+v", n)
		}
	})
}

// A response of another command answers nothing, whatever its number.
func TestResponseOfAnotherCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		r.mustReply(r.begin(s), "menu", time.Minute)
		m := s.expectSubmit("menu")
		s.write(frame(pdu.DataSMRespID, 0x4C1, m.Sequence, ""))
		s.alive()
		r.noEvent()
		if st := r.link.Status(); st.InFlight != 1 || st.Counters.Malformed["response to nothing"] != 1 {
			t.Errorf("status %+v", st)
		}
		s.write(frame(pdu.GenericNACKID, 0x03, m.Sequence, ""))
		if err := r.refused(); err == nil {
			t.Error("refused without a cause")
		}
	})
}

func TestEqualSequenceNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "menu", time.Minute)
		m := s.expectSubmit("menu")
		input := golden(t, "standard-input")
		copy(input[12:16], []byte{0, 0, 0, byte(m.Sequence)})
		s.write(input)
		if h := s.expect(pdu.DeliverSMRespID); h.Sequence != m.Sequence {
			t.Errorf("acknowledged %d", h.Sequence)
		}
		if got := r.event(); got.Op != smpp.Input || got.Text != "1" {
			t.Errorf("event %+v", got)
		}
		if n := r.link.Status().InFlight; n != 1 {
			t.Errorf("%d in flight: the deliver_sm must not answer the submit_sm", n)
		}
		s.write(frame(pdu.EnquireLinkID, 0, m.Sequence, ""))
		s.expect(pdu.EnquireLinkRespID)
		s.write(frame(pdu.EnquireLinkRespID, 0, m.Sequence, ""))
		s.alive()
		if n := r.link.Status().InFlight; n != 1 {
			t.Errorf("%d in flight: the enquire_link_resp must not answer the submit_sm", n)
		}
		s.answer(m, 0)
		s.alive()
		if n := r.link.Status().InFlight; n != 0 {
			t.Errorf("%d in flight", n)
		}
	})
}

func TestWindowAndQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window, c.Queue = 2, 3 })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "reply 0", time.Minute)
		first := s.expectSubmit("reply 0")
		r.mustReply(e, "reply 1", time.Minute)
		second := s.expectSubmit("reply 1")
		for _, text := range []string{"reply 2", "reply 3", "reply 4"} {
			r.mustReply(e, text, time.Minute)
		}
		if err := e.Reply("one too many", false, time.Now().Add(time.Minute)); err != smpp.ErrQueueFull {
			t.Errorf("queue full: %v", err)
		}
		synctest.Wait()
		if st := r.link.Status(); st.InFlight != 2 || st.Queued != 3 || st.Window != 2 || st.Queue != 3 {
			t.Errorf("status %+v", st)
		}
		s.answer(second, 0)
		third := s.expectSubmit("reply 2")
		s.answer(first, 0x4C1) // a refusal makes room too
		fourth := s.expectSubmit("reply 3")
		r.refused()
		s.answer(third, 0)
		s.expectSubmit("reply 4")
		s.answer(fourth, 0)
		s.alive()
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window = 1; c.ResponseTimeout = time.Minute })
		s := r.bound()
		e := r.begin(s)
		if err := e.Reply("late", false, time.Now()); err != smpp.ErrExpired {
			t.Errorf("deadline now: %v", err)
		}
		r.mustReply(e, "first", time.Minute)
		m := s.expectSubmit("first")
		r.mustReply(e, "waits", 20*time.Second)
		r.mustReply(e, "gives up", 5*time.Second)
		r.mustReply(e, "gives up a little later", 5*time.Second+time.Millisecond)
		began := time.Now()
		for _, want := range []time.Duration{5 * time.Second, 5*time.Second + 10*time.Millisecond} {
			if err := r.refused(); err != smpp.ErrExpired {
				t.Errorf("cause %v", err)
			}
			if d := time.Since(began); d != want {
				t.Errorf("given up after %s, want %s", d, want)
			}
		}
		s.answer(m, 0)
		s.answer(s.expectSubmit("waits"), 0)
		s.alive()
		synctest.Wait()
		r.noEvent()
	})
}

// TestWindowOpensOnExpiredReply opens the window when the deadline at the head
// of the queue has passed and its event is not out yet.
func TestWindowOpensOnExpiredReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window = 1; c.ResponseTimeout = time.Minute })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "first", time.Minute)
		m := s.expectSubmit("first")
		r.mustReply(e, "late", 5*time.Second)
		r.mustReply(e, "late too", 5*time.Second+5*time.Millisecond)
		r.mustReply(e, "in time", time.Minute)
		wait(5*time.Second + 7*time.Millisecond)
		s.answer(m, 0)
		s.expectSubmit("in time")
		for range 2 {
			if err := r.refused(); err != smpp.ErrExpired {
				t.Errorf("cause %v", err)
			}
		}
	})
}

func TestLinkLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window = 2 })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "shown or not", time.Minute)
		r.mustReply(e, "likewise", time.Minute)
		r.mustReply(e, "queued", time.Minute)
		s.expectSubmit("shown or not")
		s.expectSubmit("likewise")
		_ = s.conn.Close()
		s = r.accept()
		r.mustReply(e, "while binding", time.Minute)
		s.acceptBind()
		// What was sent is not sent again; the rest goes out in its order.
		m := s.expectSubmit("queued")
		if m.Sequence != 2 {
			t.Errorf("sequence %d: numbers begin anew with each connection", m.Sequence)
		}
		s.expectSubmit("while binding")
		s.alive()
		synctest.Wait()
		r.noEvent() // nobody knows what became of the two
		if n := r.link.Status().Counters.Unanswered; n != 2 {
			t.Errorf("%d unanswered", n)
		}
	})
}

func TestLinkDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) {
			c.Window, c.ReconnectMin, c.ReconnectMax = 1, 10*time.Second, 10*time.Second
		})
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "sent", time.Minute)
		s.expectSubmit("sent")
		r.mustReply(e, "hopeless", 4*time.Second)
		r.mustReply(e, "hopeful", time.Minute)
		_ = s.conn.Close()
		if err := r.refused(); err != smpp.ErrLinkLost {
			t.Errorf("cause %v", err)
		}
		synctest.Wait()
		if err := e.Reply("not before the deadline", false, time.Now().Add(4*time.Second)); err != smpp.ErrNotBound {
			t.Errorf("reply while down: %v", err)
		}
		r.mustReply(e, "while down", time.Minute)
		// The pause is 10 s at most, so this one has a chance; but then the bind
		// hangs.
		began := time.Now()
		r.mustReply(e, "short", 11*time.Second)
		s = r.accept()
		bind := s.expect(pdu.BindTransceiverID)
		if err := r.refused(); err != smpp.ErrLinkLost {
			t.Errorf("cause %v", err)
		}
		if d := time.Since(began); d != 11*time.Second {
			t.Errorf("given up after %s", d)
		}
		s.write(frame(pdu.BindTransceiverRespID, 0, bind.Sequence, "X\x00"))
		s.answer(s.expectSubmit("hopeful"), 0)
		s.answer(s.expectSubmit("while down"), 0)
		s.alive()
	})
}

// TestPeerStopsReading lets the SMSC read nothing: the reader must go on, the
// write has a deadline, and replies that were not written leave on the next bind.
func TestPeerStopsReading(t *testing.T) {
	inBubble(t, "replies", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.WriteTimeout = 7 * time.Second })
		s := r.bound()
		e := r.begin(s)
		began := time.Now()
		r.mustReply(e, "stuck in the socket", time.Minute)
		synctest.Wait()
		r.mustReply(e, "behind it", time.Minute)
		for range 100 { // the reader still reads
			s.write(golden(t, "standard-input"))
			r.event()
		}
		s2 := r.accept()
		if d := time.Since(began); d < 7*time.Second || d > 8*time.Second {
			t.Errorf("given up after %s", d)
		}
		s2.acceptBind()
		s2.answer(s2.expectSubmit("stuck in the socket"), 0)
		s2.answer(s2.expectSubmit("behind it"), 0)
		s2.alive()
		if st := r.link.Status(); !strings.Contains(st.LastError, "i/o timeout") || st.Counters.Unanswered != 0 {
			t.Errorf("status %+v", st)
		}
	})
	inBubble(t, "in the middle of a reply", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.WriteTimeout, c.ResponseTimeout = 10*time.Second, time.Minute })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "half written", time.Minute)
		if _, err := io.ReadFull(s.conn, make([]byte, 20)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.mustReply(e, "not written", time.Minute)
		s = r.bound()
		s.expectSubmit("not written")
		s.alive()
		if n := r.link.Status().Counters.Unanswered; n != 1 {
			t.Errorf("%d unanswered", n)
		}
	})
	inBubble(t, "acknowledgements", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.WriteTimeout = time.Hour })
		s := r.bound()
		// More than may wait for the socket, in one go.
		flood := bytes.Repeat(frame(pdu.EnquireLinkID, 0, 1, ""), 1000)
		n := 0
		for ; n < 100; n++ {
			if _, err := s.conn.Write(flood); err != nil {
				break
			}
		}
		if n < 60 || n == 100 {
			t.Errorf("cut off after %d,000 PDUs", n)
		}
		r.bound().alive()
		if got := r.link.Status().LastError; got != "the SMSC takes no data" {
			t.Errorf("last error %q", got)
		}
	})
}

// TestWritesAreCoalesced checks that a batch of PDUs is answered in one write,
// replies that the handler makes included.
func TestWritesAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		batch := bytes.Repeat(slices.Concat(golden(t, "standard-begin"), frame(pdu.EnquireLinkID, 0, 9, "")), 100)
		s.write(batch)
		want := 100 * (17 + 16)
		buf := make([]byte, 2*want)
		n, err := s.conn.Read(buf)
		if err != nil || n != want {
			t.Errorf("first write has %d octets (%v), want all %d", n, err, want)
		}
	})
}

func TestPoliteEnd(t *testing.T) {
	inBubble(t, "answered", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window = 1 })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "one", time.Minute)
		r.mustReply(e, "two", time.Minute)
		one := s.expectSubmit("one")
		r.stop()
		synctest.Wait()
		if got := r.link.Status().State; got != smpp.Unbinding {
			t.Errorf("state %s", got)
		}
		if err := e.Reply("new", false, time.Time{}); err != smpp.ErrClosed {
			t.Errorf("reply while unbinding: %v", err)
		}
		s.write(golden(t, "standard-begin"))
		s.expectStatus(pdu.DeliverSMRespID, 0x64)
		s.answer(one, 0)
		two := s.expectSubmit("two") // what was accepted before is still sent
		unbind := s.expect(pdu.UnbindID)
		s.answer(two, 0)
		s.alive()
		s.write(frame(pdu.UnbindRespID, 0, unbind.Sequence, ""))
		s.expectEnd()
		synctest.Wait()
		r.noEvent()
		if got := r.link.Status().State; got != smpp.Closed {
			t.Errorf("state %s", got)
		}
		if err := e.Reply("new", false, time.Time{}); err != smpp.ErrClosed {
			t.Errorf("reply after the end: %v", err)
		}
	})
	inBubble(t, "closed instead of answered", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		r.stop()
		s.expect(pdu.UnbindID)
		_ = s.conn.Close()
	})
	inBubble(t, "not answered", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.UnbindTimeout = 5 * time.Second })
		s := r.bound()
		began := time.Now()
		r.stop()
		s.expect(pdu.UnbindID)
		s.expectEnd()
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("waited %s", d)
		}
	})
	inBubble(t, "window never opens", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window = 1; c.UnbindTimeout = 5 * time.Second })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "one", time.Minute)
		r.mustReply(e, "two", time.Minute)
		s.expectSubmit("one")
		r.stop()
		s.expectEnd()
		if err := r.refused(); err != smpp.ErrClosed {
			t.Errorf("cause %v", err)
		}
	})
	inBubble(t, "throttled", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		r.mustReply(r.begin(s), "one", time.Minute)
		s.answer(s.expectSubmit("one"), 0x58)
		synctest.Wait()
		r.stop()
		s.expect(pdu.UnbindID)
		if err := r.refused(); err != smpp.ErrClosed {
			t.Errorf("cause %v", err)
		}
	})
	inBubble(t, "peer reads nothing", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.UnbindTimeout = 5 * time.Second })
		r.bound()
		synctest.Wait()
		began := time.Now()
		r.stop()
		r.ended <- <-r.ended
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("took %s", d)
		}
	})
	inBubble(t, "unbound by the SMSC, which reads nothing", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.UnbindTimeout = 5 * time.Second })
		s := r.bound()
		s.write(frame(pdu.UnbindID, 0, 1, ""))
		began := time.Now()
		r.stop()
		r.ended <- <-r.ended
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("took %s", d)
		}
	})
	inBubble(t, "while binding", func(t *testing.T) {
		r := start(t, nil)
		s := r.accept()
		s.expect(pdu.BindTransceiverID)
		r.stop()
		s.expectEnd()
	})
	inBubble(t, "while waiting", func(t *testing.T) {
		r := start(t, nil)
		r.accept().refuseBind(0x0E)
		synctest.Wait()
		began := time.Now()
		r.stop()
		r.ended <- <-r.ended
		if d := time.Since(began); d != 0 {
			t.Errorf("took %s", d)
		}
	})
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		r.bound()
		if err := r.link.Run(t.Context()); err == nil || err.Error() != "link mtn: run called twice" {
			t.Errorf("got %v", err)
		}
	})
}

func TestManyReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		for i := range 300 {
			s := r.accept()
			switch i % 4 {
			case 0:
				s.refuseBind(0x0D)
			case 1:
				s.acceptBind()
				_ = s.conn.Close()
			case 2:
				_ = s.conn.Close()
			default:
				s.acceptBind()
				s.write([]byte("garbage on the line"))
				s.expectStatus(pdu.GenericNACKID, 0x02)
			}
		}
		r.bound().alive()
		if n := r.link.Status().Counters.Reconnects; n != 300 {
			t.Errorf("%d reconnects", n)
		}
	}) // synctest fails if a goroutine is left
}

func TestLongPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Accounts[0].Password = testPassword + " and more" })
		s := r.accept()
		if b := s.read(); !bytes.Contains(b, []byte("\x00"+testPassword+" and more\x00")) {
			t.Errorf("bind is %q", b)
		}
		if log := r.log.String(); !strings.Contains(log, "password is longer") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestNewLinkRefuses(t *testing.T) {
	_, err := smpp.NewLink(smpp.Config{
		Accounts:   []smpp.Account{{SystemID: "much-too-long-for-smpp", Password: "a\x00b"}},
		SystemType: "much-too-long",
		Addrs:      []string{"nowhere"},
		Window:     -1, Queue: -1, MaxText: 300, BindTimeout: -1,
		ReconnectMin: time.Minute, ReconnectMax: time.Second,
	}, smpp.HandlerFunc(func(*smpp.Event) {}))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"no name", "address: ", "system_id is longer than 15", "system_type is longer than 12", "password holds a NUL",
		"a window of -1 is outside 1 to 1048576", "a queue of -1 is outside 1 to 1048576", "300 units of gsm take more than the 254 octets", "bind time-out -1ns is negative",
		"longest reconnect pause 1s is below the shortest, 1m0s",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	_, err = smpp.NewLink(smpp.Config{
		Name: "x", Accounts: []smpp.Account{{SystemID: "twice"}, {SystemID: "twice"}, {}},
		Mode: 7, Binds: -1, Rate: math.NaN(), Busy: strings.Repeat("busy ", 40),
	}, smpp.HandlerFunc(func(*smpp.Event) {}))
	for _, want := range []string{
		"no address", "system_id twice is there twice", "no system_id", "no mode 7", "-1 binds are outside 1 to 100", "a rate of NaN", "no room takes 200 units of 160",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	_, err = smpp.NewLink(smpp.Config{
		Name: "x", Addrs: []string{"h:1"}, Accounts: []smpp.Account{{SystemID: "y"}}, Binds: 101, Window: 1<<20 + 1, Queue: 2_000_000_000,
	}, smpp.HandlerFunc(func(*smpp.Event) {}))
	for _, want := range []string{"101 binds are outside", "a window of 1048577 is outside", "a queue of 2000000000 is outside"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if smpp.Transceiver.String() != "trx" || smpp.Pair.String() != "tx+rx" {
		t.Error("modes have other names")
	}
	if _, err := smpp.NewLink(smpp.Config{Name: "x", Addrs: []string{"h:1"}, Accounts: []smpp.Account{{SystemID: "y"}}}, nil); err == nil {
		t.Error("a link without a handler was accepted")
	}
	if _, err := smpp.NewLink(smpp.Config{Name: "x", Addrs: []string{"h:1"}}, smpp.HandlerFunc(func(*smpp.Event) {})); err == nil || err.Error() != "link x: no system_id" {
		t.Errorf("without a system_id: %v", err)
	}
	c := smpp.Config{Name: "mtn", Addrs: []string{"h:1"}, Accounts: []smpp.Account{{SystemID: "y", Password: testPassword}}}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(h).Info("accounts", "first", c.Accounts[0], "all", c.Accounts)
	}
	if got := fmt.Sprintf("%s %#v %#v", &log, c, c.Accounts[0]); strings.Contains(got, testPassword) || strings.Count(got, `"y"`) != 4 {
		t.Errorf("shown as %s", got)
	}
	if got := fmt.Sprintf("%v %+v %s", c, c, c.LogValue()); strings.Contains(got, testPassword) || !strings.Contains(got, "mtn [y]@h:1") {
		t.Errorf("printed as %s", got)
	}
}
