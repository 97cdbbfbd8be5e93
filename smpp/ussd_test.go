package smpp_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// begin is a deliver_sm that the cases of TestEvent change.
func begin() smpp.Message {
	return smpp.Message{
		Header:       smpp.Header{ID: pdu.DeliverSMID, Sequence: 7},
		ServiceType:  []byte("USSD"),
		Source:       smpp.Address{TON: 1, NPI: 1, Digits: []byte(testMSISDN)},
		Dest:         smpp.Address{Digits: []byte("*999#")},
		ShortMessage: []byte("*999#"),
		TLVs:         tlvs(0x0501, "\x01", 0x1383, "\x2a\x00"),
	}
}

func TestEvent(t *testing.T) {
	type message = smpp.Message
	is := func(op smpp.Op, id, code, text string) smpp.Event {
		return smpp.Event{Op: op, Dialogue: smpp.Dialogue{SMSC: "mtn", MSISDN: testMSISDN, ID: id}, Code: code, Text: text}
	}
	for _, c := range []struct {
		name   string
		change func(m *message)
		want   smpp.Event
	}{
		{"begin", func(*message) {}, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"begin with more", func(m *message) { m.ShortMessage = []byte("*999*1*100#") }, is(smpp.Begin, "2a00", "*999#", "*999*1*100#")},
		{"phase 1", func(m *message) { m.TLVs = tlvs(0x0501, "\x00") }, is(smpp.Begin, "", "*999#", "*999#")},
		{"input", func(m *message) { m.TLVs = tlvs(0x0501, "\x12", 0x1383, "\x2a\x02"); m.ShortMessage = []byte("1") }, is(smpp.Input, "2a00", "*999#", "1")},
		{"empty input", func(m *message) { m.TLVs = tlvs(0x0501, "\x12"); m.ShortMessage = nil }, is(smpp.Input, "", "*999#", "")},
		{"unknown operation", func(m *message) { m.TLVs = tlvs(0x0501, "\x30"); m.ShortMessage = []byte("1") }, is(smpp.Input, "", "*999#", "1")},
		{"release", func(m *message) { m.TLVs = tlvs(0x0501, "\x81", 0x1383, "\xff\x00"); m.ShortMessage = []byte("junk") }, is(smpp.Release, "ff00", "*999#", "")},
		{"end bit", func(m *message) { m.TLVs = tlvs(0x0501, "\x12", 0x1383, "\x00\x03") }, is(smpp.Release, "0000", "*999#", "")},
		{"TLVs the other way round", func(m *message) { m.TLVs = tlvs(0x1383, "\x2a\x00", 0x0501, "\x01") }, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"no TLVs, code", func(m *message) { m.TLVs = nil }, is(smpp.Begin, "", "*999#", "*999#")},
		{"no TLVs, hash code", func(m *message) { m.TLVs, m.ShortMessage = nil, []byte("#1#") }, is(smpp.Begin, "", "*999#", "#1#")},
		{"no TLVs, answer", func(m *message) { m.TLVs, m.ShortMessage = nil, []byte("08031234567") }, is(smpp.Input, "", "*999#", "08031234567")},
		{"service_type empty", func(m *message) { m.ServiceType = nil }, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"bare code", func(m *message) { m.Dest.Digits = []byte("999") }, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"code without hash", func(m *message) { m.Dest.Digits = []byte("*999") }, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"code in destination only", func(m *message) { m.ShortMessage = nil }, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"code in text only", func(m *message) { m.Dest.Digits = nil }, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"trailing CR", func(m *message) { m.TLVs = tlvs(0x0501, "\x12"); m.ShortMessage = []byte("1\r") }, is(smpp.Input, "", "*999#", "1")},
		{"message_payload", func(m *message) { m.ShortMessage = nil; m.TLVs = tlvs(0x0424, "*999*2#", 0x0501, "\x01") }, is(smpp.Begin, "", "*999#", "*999*2#")},
		{"UCS-2", func(m *message) { m.DataCoding, m.ShortMessage = 8, []byte("\x00*\x009\x009\x009\x00#") }, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"UCS-2 of the MAP side", func(m *message) { m.DataCoding, m.ShortMessage = 0x48, []byte("\x00*\x009\x00#") }, is(smpp.Begin, "2a00", "*999#", "*9#")},
		{"labelled UCS-2, is digits", func(m *message) { m.DataCoding = 8; m.TLVs = tlvs(0x0501, "\x12"); m.ShortMessage = []byte("12") }, is(smpp.Input, "", "*999#", "12")},
		{"Latin-1", func(m *message) { m.DataCoding, m.ShortMessage = 3, []byte("*\xe9#") }, is(smpp.Begin, "2a00", "*999#", "*é#")},
		{"GSM", func(m *message) { m.TLVs = tlvs(0x0501, "\x12"); m.ShortMessage = []byte("a\x00b\x1b\x65") }, is(smpp.Input, "", "*999#", "a@b€")},
		{"0x0F", func(m *message) { m.DataCoding = 0x0F }, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"unknown data_coding", func(m *message) { m.DataCoding = 0xF5 }, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"data_sm", func(m *message) { m.ID, m.TLVs = pdu.DataSMID, append(m.TLVs, tlvs(0x0424, "*999#")...) }, is(smpp.Begin, "2a00", "*999#", "*999#")},
		{"esm_class of a gateway", func(m *message) { m.ESMClass = 0x02 }, is(smpp.Begin, "2a00", "*999#", "*999#")},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			r := start(t, nil)
			s := r.bound()
			m := begin()
			c.change(&m)
			s.write(encode(t, &m))
			s.expect(m.ID | 0x80000000)
			got := r.event()
			if got.Op != c.want.Op || got.Dialogue != c.want.Dialogue || got.Code != c.want.Code || got.Text != c.want.Text {
				t.Errorf("got %s %+v code %q text %q, want %s %+v %q %q", got.Op, got.Dialogue, got.Code, got.Text,
					c.want.Op, c.want.Dialogue, c.want.Code, c.want.Text)
			}
		})
	}
}

func TestMSISDN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		for in, want := range map[string]string{
			"2348031234567":        "2348031234567",
			"+2348031234567":       "2348031234567",
			"002348031234567":      "2348031234567",
			"08031234567":          "2348031234567",
			"8031234567":           "2348031234567",
			"23408031234567":       "2348031234567",
			"+23408031234567":      "2348031234567",
			"447700900123":         "447700900123",
			"+447700900123":        "447700900123",
			"00447700900123":       "447700900123",
			"+8005551234":          "8005551234", // ten digits, but said to be international
			"12345678901234567890": "12345678901234567890",
			"12345":                "12345",
		} {
			m := begin()
			m.Source = smpp.Address{TON: 0, NPI: 1, Digits: []byte(in)}
			s.write(encode(t, &m))
			s.expect(pdu.DeliverSMRespID)
			e := r.event()
			if e.Dialogue.MSISDN != want {
				t.Errorf("%s became %s, want %s", in, e.Dialogue.MSISDN, want)
			}
			// The answer goes to the number as the SMSC wrote it.
			r.mustReply(e, "x", time.Minute)
			if got := s.expectSubmit("x"); !sameAddress(got.Dest, m.Source) || !sameAddress(got.Source, m.Dest) {
				t.Errorf("reply from %+v to %+v", got.Source, got.Dest)
			}
		}
	})
}

func TestShortSourceIsNoSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		for _, in := range []string{"", "1", "1234", "+123", "00123"} {
			m := begin()
			m.Source.Digits = []byte(in)
			s.write(encode(t, &m))
			s.expectStatus(pdu.DeliverSMRespID, 0x0A)
		}
		s.alive()
		r.noEvent()
	})
}

// Each reply counts on, also a second one to the same PDU, and an answer tells
// which of them it repeats.
func TestCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		e := r.begin(s)
		if !e.HasCounter {
			t.Error("a begin with session information has no counter")
		}
		for n, end := range []bool{false, false, true} {
			if err := e.Reply("x", end, time.Time{}); err != nil {
				t.Fatal(err)
			}
			m := s.expectSubmit("x")
			word, _ := m.TLVs.Get(0x1383)
			if got, want := word[1]>>1, byte(n+1); got != want {
				t.Errorf("reply %d has sequence %d", n+1, got)
			}
			s.answer(m, 0)
		}
		m := begin()
		m.TLVs = tlvs(0x0501, "\x12", 0x1383, "\x2a\x06")
		s.write(encode(t, &m))
		s.expect(pdu.DeliverSMRespID)
		if e := r.event(); !e.HasCounter || e.Counter != 6 {
			t.Errorf("counter %d, %v", e.Counter, e.HasCounter)
		}
		m.TLVs = tlvs(0x0501, "\x12")
		s.write(encode(t, &m))
		s.expect(pdu.DeliverSMRespID)
		if r.event().HasCounter {
			t.Error("a PDU without session information has a counter")
		}
	})
}

// A reply that waits for a retry when the subscriber dials again is not shown in
// the new dialogue, even if that has the name of the old one.
func TestWaitingReplyIsWithdrawn(t *testing.T) {
	for name, op := range map[string]string{"begin": "\x01", "release": "\x81"} {
		inBubble(t, name, func(t *testing.T) {
			r := start(t, nil)
			s := r.bound()
			r.mustReply(r.begin(s), "old", time.Minute)
			s.answer(s.expectSubmit("old"), 0x58)
			m := begin()
			m.TLVs = tlvs(0x0501, op, 0x1383, "\x2a\x00")
			s.write(encode(t, &m))
			s.expect(pdu.DeliverSMRespID)
			if e := r.event(); e.Op == smpp.Begin {
				r.mustReply(e, "new", time.Minute)
				s.answer(s.expectSubmit("new"), 0)
			}
			<-time.After(10 * time.Second)
			s.alive()
			if st := r.link.Status(); st.Counters.Withdrawn != 1 || st.Counters.Retried != 1 || st.InFlight+st.Queued != 0 {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func TestAddressTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, nil).bound()
		for _, c := range []struct {
			source, dest int
			status       pdu.Status
		}{{21, 3, 0x0A}, {13, 21, 0x0B}} {
			m := begin()
			m.ID = pdu.DataSMID // which may have longer ones
			m.Source.Digits = []byte(strings.Repeat("1", c.source))
			m.Dest.Digits = []byte(strings.Repeat("1", c.dest))
			s.write(encode(t, &m))
			s.expectStatus(pdu.DataSMRespID, c.status)
		}
		s.alive()
	})
}

// What is no receipt of a short message of ours is acknowledged all the same.
func TestReceiptsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		for _, class := range []byte{0x04, 0x08, 0x10, 0x18, 0x20} {
			m := begin()
			m.ESMClass = class
			m.Source.Digits = []byte("not even a number")
			s.write(encode(t, &m))
			s.expect(pdu.DeliverSMRespID)
		}
		s.alive()
		synctest.Wait()
		r.noEvent()
		if n := r.link.Status().Counters.Receipts; n["ignored"] != 5 {
			t.Errorf("receipts %v", n)
		}
	})
}

func TestReply(t *testing.T) {
	for _, c := range []struct {
		name, session, text string
		end                 bool
		wire, tlvs          string
	}{
		{"menu", "\x2a\x00", "Hi", false, "Hi", "\x05\x01\x00\x01\x02\x13\x83\x00\x02\x2a\x02"},
		{"end", "\x2a\x04", "Bye", true, "Bye", "\x05\x01\x00\x01\x11\x13\x83\x00\x02\x2a\x07"},
		{"sequence wraps", "\x2a\xfe", "Hi", false, "Hi", "\x05\x01\x00\x01\x02\x13\x83\x00\x02\x2a\x00"},
		{"sequence wraps at the end", "\x2a\xfe", "Hi", true, "Hi", "\x05\x01\x00\x01\x11\x13\x83\x00\x02\x2a\x01"},
		{"no session", "", "Hi", false, "Hi", "\x05\x01\x00\x01\x02"},
		{"folded", "", "✓ ₦50 – “ok”", false, "OK N50 - \"ok\"", "\x05\x01\x00\x01\x02"},
		{"extension table", "", "[1]", false, "\x1b<1\x1b>", "\x05\x01\x00\x01\x02"},
		{"cannot be sent", "", "中", false, "?", "\x05\x01\x00\x01\x02"},
		{"empty", "", "", false, " ", "\x05\x01\x00\x01\x02"},
		{"full", "", strings.Repeat("x", 160), false, strings.Repeat("x", 160), "\x05\x01\x00\x01\x02"},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			r := start(t, nil)
			s := r.bound()
			m := begin()
			m.TLVs = tlvs(0x0501, "\x01")
			if c.session != "" {
				m.TLVs = m.TLVs.Append(0x1383, []byte(c.session)...)
			}
			s.write(encode(t, &m))
			s.expect(pdu.DeliverSMRespID)
			if err := r.event().Reply(c.text, c.end, time.Time{}); err != nil {
				t.Fatal(err)
			}
			got := s.expectSubmit(c.wire)
			want := smpp.Message{
				Header:       smpp.Header{ID: pdu.SubmitSMID, Sequence: 2},
				ServiceType:  []byte("USSD"),
				Source:       m.Dest,
				Dest:         m.Source,
				ShortMessage: []byte(c.wire),
				TLVs:         smpp.TLVs(c.tlvs),
			}
			if !sameMessage(got, want) {
				t.Errorf("got\n%+v, want\n%+v", got, want)
			}
		})
	}
}

func TestReplyTooLong(t *testing.T) {
	for name, c := range map[string]struct {
		max  int
		text string
	}{
		"profile's limit":    {0, strings.Repeat("x", 161)},
		"own limit":          {20, strings.Repeat("x", 21)},
		"extension counts 2": {20, strings.Repeat("€", 11)},
		"folded":             {20, strings.Repeat("…", 7)},
	} {
		inBubble(t, name, func(t *testing.T) {
			r := start(t, func(cfg *smpp.Config) { cfg.MaxText = c.max })
			s := r.bound()
			e := r.begin(s)
			err := e.Reply(c.text, false, time.Time{})
			if err == nil || !strings.HasPrefix(err.Error(), smpp.ErrTextTooLong.Error()) {
				t.Errorf("got %v", err)
			}
			if want := c.max; want != 0 && e.Medium().Limit() != want {
				t.Errorf("limit %d", e.Medium().Limit())
			}
			s.alive()
		})
	}
}

// TestProfileIsData gives a link a dialect that is not built in.
func TestProfileIsData(t *testing.T) {
	p, err := smpp.ProfileByName("standard")
	if err != nil {
		t.Fatal(err)
	}
	p.Name = "home-made"
	p.ServiceType = ""
	p.CountryCode = ""
	p.Ops = map[smpp.OpCode]smpp.Meaning{0x07: smpp.MeansBegin}
	p.OtherOp = smpp.MeansRelease
	p.OpTag, p.MenuOp, p.EndOp = 0x1400, 0x21, 0x22
	p.Session = smpp.SessionTLV{Tag: 0x1401, Length: 4, ID: 0xFFFFFF00, End: 0x80}
	p.Text = smpp.Text{Alphabet: smpp.UCS2, Max: 70}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Profile = p })
		s := r.bound()
		m := begin()
		m.Source.Digits = []byte("08031234567")
		m.TLVs = tlvs(0x1400, "\x07", 0x1401, "\x01\x02\x03\x04")
		s.write(encode(t, &m))
		s.expect(pdu.DeliverSMRespID)
		e := r.event()
		if e.Op != smpp.Begin || e.Dialogue.ID != "01020300" || e.Dialogue.MSISDN != "08031234567" {
			t.Errorf("event %+v", e)
		}
		if err := e.Reply("₦", true, time.Time{}); err != nil {
			t.Fatal(err)
		}
		got := s.expectSubmit("\x20\xa6")
		if len(got.ServiceType) != 0 || got.DataCoding != 8 || string(got.TLVs) != string(tlvs(0x1400, "\x22", 0x1401, "\x01\x02\x03\x84")) {
			t.Errorf("reply %+v", got)
		}
		m.TLVs = tlvs(0x1400, "\x99")
		s.write(encode(t, &m))
		s.expect(pdu.DeliverSMRespID)
		if e := r.event(); e.Op != smpp.Release {
			t.Errorf("event %+v", e)
		}
	})
}

// A dialogue over data_sm goes through a link as one over deliver_sm does.
func TestDataSM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Profile = profile(t, "data-sm") })
		s := r.bound()
		s.write(golden(t, "data-sm-begin"))
		s.expect(pdu.DataSMRespID)
		e := r.event()
		r.mustReply(e, "1 Bal", time.Minute)
		m := s.expect(pdu.DataSMID)
		if string(m.Payload()) != "1 Bal" {
			t.Errorf("shows %q", m.Payload())
		}
		s.write(frame(pdu.DataSMRespID, 0, m.Sequence, "1\x00"))
		r.mustReply(e, "again", time.Minute)
		s.write(frame(pdu.DataSMRespID, 0x45, s.expect(pdu.DataSMID).Sequence, ""))
		if refused := r.event(); refused.Op != smpp.Refused || refused.Dialogue != e.Dialogue || refused.Err == nil {
			t.Errorf("got %s %+v, %v", refused.Op, refused.Dialogue, refused.Err)
		}
		if st := r.link.Status(); st.InFlight != 0 || st.Counters.Out["data_sm"] != 2 || st.Counters.Out["submit_sm"] != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestProfileByName(t *testing.T) {
	want := []string{"data-sm", "mica", "msisdn", "service-type", "sixdee", "standard", "tata", "vendor-tlv"}
	if names := smpp.Profiles(); !slices.Equal(names, want) {
		t.Errorf("profiles %v", names)
	}
	if _, err := smpp.ProfileByName("huawei"); err == nil || !strings.Contains(err.Error(), "there are: data-sm, mica") {
		t.Errorf("got %v", err)
	}
	a, _ := smpp.ProfileByName("standard")
	a.ServiceType = "X"
	a.Ops[0x01] = smpp.MeansReject
	if b, _ := smpp.ProfileByName("standard"); b.ServiceType != "USSD" || b.Ops[0x01] != smpp.MeansBegin {
		t.Error("the built-in profile was changed")
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		smpp.Begin.String():     "begin",
		smpp.Refused.String():   "refused",
		smpp.Op(0).String():     "unknown",
		smpp.Op(99).String():    "unknown",
		smpp.Bound.String():     "bound",
		smpp.State(99).String(): "unknown ",
		smpp.TooLong.String():   "too_long",
		smpp.UCS2.String():      "ucs2",
	} {
		if got != strings.TrimSpace(want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
