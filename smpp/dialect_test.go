package smpp_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"ussdd/smpp"
)

// profile returns a preset with knobs changed: NAME, VALUE, NAME, VALUE …
func profile(t testing.TB, name string, knobs ...string) *smpp.Profile {
	t.Helper()
	p, err := smpp.ProfileByName(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(knobs); i += 2 {
		if err := p.Set(knobs[i], knobs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	return p
}

// read reads a message from the SMSC, which must be an event.
func read(t testing.TB, p *smpp.Profile, frame []byte) *smpp.Event {
	t.Helper()
	m := decode(t, frame)
	e, err := p.Read(&m)
	if err != nil || e == nil {
		t.Fatalf("%s: %x reads as %v, %v", p.Name, frame, e, err)
	}
	return e
}

// withSequence returns a frame with its sequence number changed: it is the
// link's matter.
func withSequence(frame []byte, sequence uint32) []byte {
	b := bytes.Clone(frame)
	binary.BigEndian.PutUint32(b[12:], sequence)
	return b
}

// said is one message of a dialogue on the wire, and what it says.
type said struct {
	file string
	op   smpp.Op // from the SMSC; zero: from us
	text string
	end  bool // from us
}

// dialogues are the fixtures of every preset in order. What we say answers the
// message before it.
var dialogues = []struct {
	preset string
	knobs  []string
	id     string
	code   string
	said   []said
}{
	{"standard", nil, "2a00", "*123#", []said{
		{"standard-begin", smpp.Begin, "*123#", false}, {"standard-menu", 0, "1 Bal\n2 Buy", false},
		{"standard-input", smpp.Input, "1", false}, {"standard-end", 0, "Bal 20.00", true},
		{"standard-abort", smpp.Release, "", false},
	}},
	{"standard", nil, "", "*123#", []said{
		{"standard-once", smpp.Begin, "*123#", false}, {"standard-once-end", 0, "Bal 20.00", true},
		{"standard-once", smpp.Begin, "*123#", false}, {"standard-once-end", 0, "Bal 20.00", false}, // whatever it was meant to be
	}},
	{"standard", nil, "2b00", "*123#", []said{
		{"standard-push-input", smpp.Input, "1", false}, {"standard-push-end", 0, "Paid", true},
	}},
	{"tata", nil, "1a2c", "*123#", []said{
		{"tata-begin", smpp.Begin, "*123#", false}, {"tata-menu", 0, "1 Bal\n2 Buy", false},
		{"tata-input", smpp.Input, "1", false}, {"tata-end", 0, "Bal 20.00", true},
		{"tata-abort", smpp.Release, "", false},
	}},
	{"tata", nil, "2a02", "*123#", []said{{"standard-abort", smpp.Release, "", false}}},
	{"mica", []string{"text.alphabet", "ucs2", "text.max", "80"}, "3235", "*372#", []said{
		{"mica-begin", smpp.Begin, "*372#", false}, {"mica-menu-ucs2", 0, "₦50 ok? 1/2", false},
	}},
	{"mica", nil, "3235", "*372#", []said{
		{"mica-input", smpp.Input, "1", false}, {"mica-end", 0, "Done", true}, {"mica-abort", smpp.Release, "", false},
	}},
	{"sixdee", nil, "162e", "*123#", []said{
		{"sixdee-begin", smpp.Begin, "*123#", false}, {"sixdee-menu", 0, "1 Bal\n2 Buy", false},
		{"sixdee-input", smpp.Input, "1", false}, {"sixdee-end", 0, "Bal 20.00", true},
		{"sixdee-abort", smpp.Release, "", false},
	}},
	{"vendor-tlv", nil, "01020304", "*123#", []said{
		{"vendor-tlv-begin", smpp.Begin, "*123#", false}, {"vendor-tlv-menu", 0, "1 Café", false},
		{"vendor-tlv-input", smpp.Input, "1", false}, {"vendor-tlv-end", 0, "Bye", true},
		{"vendor-tlv-abort", smpp.Release, "", false},
	}},
	{"vendor-tlv", nil, "0a0b0c0d", "", []said{{"vendor-tlv-push-last", smpp.Input, "1", false}}},
	{"service-type", nil, "", "*111#", []said{
		{"service-type-begin", smpp.Begin, "*111#", false}, {"service-type-menu", 0, "1 Bal\n2 Buy", false},
		{"service-type-input", smpp.Input, "1", false}, {"service-type-end", 0, "Bye", true},
		{"service-type-abort", smpp.Release, "", false},
	}},
	{"data-sm", nil, "A1B2C3", "*123#", []said{
		{"data-sm-begin", smpp.Begin, "*123#", false},
		{"data-sm-input", smpp.Input, "1", false}, {"data-sm-end", 0, "Bal 20.00", true},
		{"data-sm-abort", smpp.Release, "", false},
	}},
	{"data-sm", []string{"tlvs", "dest_bearer_type=0x04"}, "A1B2C3", "*123#", []said{
		{"data-sm-begin", smpp.Begin, "*123#", false}, {"data-sm-menu", 0, "1 Bal\n2 Buy", false},
	}},
	{"msisdn", nil, "", "*123#", []said{
		{"msisdn-begin", smpp.Begin, "*123*0#", false}, {"msisdn-menu", 0, "1 Bal\n2 Buy", false},
		{"msisdn-input", smpp.Input, "1", false}, {"msisdn-end", 0, "Bal 20.00", true},
		{"msisdn-abort", smpp.Release, "", false},
	}},
}

func TestDialogues(t *testing.T) {
	for _, d := range dialogues {
		t.Run(d.preset+" "+d.said[0].file, func(t *testing.T) {
			p := profile(t, d.preset, d.knobs...)
			anonymous := p.AnonymousLater
			var last *smpp.Event
			for _, s := range d.said {
				wire := golden(t, s.file)
				if s.op == 0 {
					got, err := p.Encode(last, s.text, s.end)
					if err != nil {
						t.Fatal(err)
					}
					if !sameOnWire(t, withSequence(got, 0), withSequence(wire, 0)) {
						t.Errorf("%s is\n%x, want\n%x", s.file, got, wire)
					}
					if m := decode(t, got); comparable(&m) {
						checkAgainstGoSMPP(t, got, m)
					}
					continue
				}
				last = read(t, p, wire)
				want := smpp.Dialogue{MSISDN: testMSISDN, ID: d.id}
				code := d.code
				if anonymous && s.op != smpp.Begin {
					want.MSISDN = ""
				}
				if p.CodeFrom == smpp.CodeInText && s.op != smpp.Begin {
					code = ""
				}
				if last.Op != s.op || last.Dialogue != want || last.Text != s.text || last.Code != code {
					t.Errorf("%s is %s of %+v, code %q, text %q; want %s of %+v, %q, %q", s.file,
						last.Op, last.Dialogue, last.Code, last.Text, s.op, want, code, s.text)
				}
			}
		})
	}
}

// sameOnWire compares two PDUs; the order of optional parameters does not matter.
func sameOnWire(t testing.TB, a, b []byte) bool {
	ma, mb := decode(t, a), decode(t, b)
	ta, tb := ma.TLVs, mb.TLVs
	if len(ta) != len(tb) {
		return false
	}
	for v := range ta.All() {
		if w, ok := tb.Get(v.Tag); !ok || !bytes.Equal(v.Value, w) {
			return false
		}
	}
	ma.TLVs, mb.TLVs = nil, nil
	return sameMessage(ma, mb)
}

// TestPushes opens dialogues on every preset that can.
func TestPushes(t *testing.T) {
	for _, c := range []struct {
		preset, code      string
		ask, tell         string // fixtures, empty: it cannot
		resp, id          string
		input, end, after string // fixtures; what the end says
	}{
		{"standard", "*123#", "standard-push", "standard-notice", "standard-menu-resp", "", "standard-push-input", "standard-push-end", "Paid"},
		{"vendor-tlv", "*123#", "vendor-tlv-push", "vendor-tlv-notice", "vendor-tlv-push-resp", "0a0b0c0d", "vendor-tlv-push-input", "vendor-tlv-push-end", "Paid"},
		{"service-type", "*111#", "service-type-push", "", "standard-menu-resp", "", "service-type-input", "service-type-end", "Bye"},
	} {
		t.Run(c.preset, func(t *testing.T) {
			p := profile(t, c.preset)
			e, err := p.Opening(testMSISDN, c.code)
			if err != nil {
				t.Fatal(err)
			}
			ask, err := p.Encode(e, "Pay N50? 1/2", false)
			if want := golden(t, c.ask); err != nil || !bytes.Equal(withSequence(ask, 0), withSequence(want, 0)) {
				t.Errorf("asks by\n%x, %v, want\n%x", ask, err, want)
			}
			tell, err := p.Encode(e, "You got N50", true)
			if c.tell == "" {
				if err != smpp.ErrNoPush {
					t.Errorf("tells by %x, %v", tell, err)
				}
			} else if want := golden(t, c.tell); err != nil || !bytes.Equal(withSequence(tell, 0), withSequence(want, 0)) {
				t.Errorf("tells by\n%x, %v, want\n%x", tell, err, want)
			}
			resp := decode(t, golden(t, c.resp))
			o := e.Opened(p, &resp)
			if want := (smpp.Dialogue{MSISDN: testMSISDN, ID: c.id}); o.Op != smpp.Opened || o.Dialogue != want || o.Code != c.code {
				t.Errorf("opened %+v", o)
			}
			in := read(t, p, golden(t, c.input)).InPush()
			if in.Op != smpp.Input || in.Text != "1" || c.id != "" && in.Dialogue.ID != c.id {
				t.Errorf("input %+v", in)
			}
			end, err := p.Encode(in, c.after, true)
			if want := golden(t, c.end); err != nil || !bytes.Equal(withSequence(end, 0), withSequence(want, 0)) {
				t.Errorf("ends by\n%x, %v, want\n%x", end, err, want)
			}
		})
	}
	for _, name := range []string{"tata", "mica", "sixdee", "data-sm", "msisdn"} {
		if e, err := profile(t, name).Opening(testMSISDN, "*1#"); err != smpp.ErrNoPush {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	p := profile(t, "standard")
	for _, c := range [][2]string{{"", "*1#"}, {"+2348031234567", "*1#"}, {"08031234567", "*1#"}, {strings.Repeat("1", 21), "*1#"}, {"123", "*1#"}, {testMSISDN, ""}, {testMSISDN, strings.Repeat("1", 21)}, {testMSISDN, "*1\x00#"}} {
		if _, err := p.Opening(c[0], c[1]); err == nil {
			t.Errorf("%q was opened for %q", c[1], c[0])
		}
	}
}

// Each knob changes what it says on the wire, and nothing that it does not.
func TestKnobsOnTheWire(t *testing.T) {
	hasTLV := func(m smpp.Message, tag pdutlv.Tag, value string) bool {
		v, ok := m.TLVs.Get(tag)
		return ok && string(v) == value
	}
	for _, c := range []struct {
		preset string
		knobs  []string
		in     func(m *smpp.Message)
		end    bool
		want   func(e *smpp.Event, m smpp.Message) bool
	}{
		{"standard", []string{"end.by", "op"}, nil, true, func(_ *smpp.Event, m smpp.Message) bool {
			return hasTLV(m, 0x0501, "\x11") && hasTLV(m, 0x1383, "\x2a\x02")
		}},
		{"standard", []string{"end.by", "bit"}, nil, true, func(_ *smpp.Event, m smpp.Message) bool {
			return hasTLV(m, 0x0501, "\x02") && hasTLV(m, 0x1383, "\x2a\x03")
		}},
		{"standard", []string{"end.op", "0x17"}, nil, true, func(_ *smpp.Event, m smpp.Message) bool { return hasTLV(m, 0x0501, "\x17") }},
		{"standard", []string{"end.op", "ussn-request"}, nil, true, func(_ *smpp.Event, m smpp.Message) bool { return hasTLV(m, 0x0501, "\x03") }},
		{"standard", []string{"session.sequence", "echo"}, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x12", 0x1383, "\x2a\x46") }, false,
			func(e *smpp.Event, m smpp.Message) bool { return hasTLV(m, 0x1383, "\x2a\x46") && !e.HasCounter }},
		{"standard", []string{"session.sequence", "clear"}, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x12", 0x1383, "\x2a\x46") }, false,
			func(_ *smpp.Event, m smpp.Message) bool { return hasTLV(m, 0x1383, "\x2a\x00") }},
		{"standard", []string{"session.end.in", "ignored"}, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x12", 0x1383, "\x2a\x03") }, false,
			func(e *smpp.Event, m smpp.Message) bool { return e.Op == smpp.Input && hasTLV(m, 0x1383, "\x2a\x04") }},
		{"standard", []string{"key", "msisdn"}, nil, false,
			func(e *smpp.Event, m smpp.Message) bool {
				return e.Dialogue.ID == "" && e.Dialogue.MSISDN == testMSISDN && hasTLV(m, 0x1383, "\x2a\x02")
			}},
		{"standard", []string{"session.length", "8", "session.id", "0xffffffff00000000", "session.end", "none", "end.by", "op", "session.end.in", "ignored", "session.sequence", "echo"},
			func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x01", 0x1383, "\x01\x02\x03\x04\x05\x06\x07\x08") }, false,
			func(e *smpp.Event, m smpp.Message) bool {
				return e.Dialogue.ID == "0102030400000000" && hasTLV(m, 0x1383, "\x01\x02\x03\x04\x05\x06\x07\x08")
			}},

		{"standard", []string{"address.reply", "null", "key", "id"}, nil, false, func(_ *smpp.Event, m smpp.Message) bool {
			return len(m.Source.Digits)+len(m.Dest.Digits) == 0 && m.Dest.TON == 0
		}},
		{"standard", []string{"address.reply", "destination"}, nil, false, func(_ *smpp.Event, m smpp.Message) bool {
			return len(m.Source.Digits) == 0 && string(m.Dest.Digits) == testMSISDN
		}},
		{"standard", []string{"address.reply", "first"}, nil, false, func(_ *smpp.Event, m smpp.Message) bool { return string(m.Dest.Digits) == testMSISDN }},
		{"standard", []string{"address.reply", "first"}, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x12") }, false,
			func(_ *smpp.Event, m smpp.Message) bool { return len(m.Dest.Digits)+len(m.Source.Digits) == 0 }},
		{"standard", []string{"address.dest", "1/1", "address.source", "5/0"}, func(m *smpp.Message) { m.Source = smpp.Address{Digits: []byte("08031234567")} }, false,
			func(_ *smpp.Event, m smpp.Message) bool {
				return sameAddress(m.Dest, smpp.Address{TON: 1, NPI: 1, Digits: []byte(testMSISDN)}) &&
					sameAddress(m.Source, smpp.Address{TON: 5, Digits: []byte("*999#")})
			}},
		{"standard", []string{"address.dest", "2/1"}, func(m *smpp.Message) { m.Source = smpp.Address{Digits: []byte("08031234567")} }, false,
			func(_ *smpp.Event, m smpp.Message) bool {
				return sameAddress(m.Dest, smpp.Address{TON: 2, NPI: 1, Digits: []byte("08031234567")})
			}},

		{"standard", []string{"code", "text"}, func(m *smpp.Message) { m.ShortMessage = []byte("*777*1*2#") }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Code == "*777#" && e.Text == "*777*1*2#" }},
		{"standard", []string{"code", "text"}, func(m *smpp.Message) { m.ShortMessage = nil }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Code == "*999#" && e.Text == "*999#" }},
		{"standard", []string{"code", "*347*100#"}, nil, false, func(e *smpp.Event, _ smpp.Message) bool { return e.Code == "*347*100#" && e.Text == "*999#" }},
		{"standard", []string{"dialled.from", "destination"}, func(m *smpp.Message) { m.Dest.Digits, m.ShortMessage = []byte("*999*5#"), nil }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Code == "*999#" && e.Text == "*999*5#" }},
		{"standard", []string{"dialled.strip", "only-star"}, func(m *smpp.Message) { m.Dest.Digits, m.ShortMessage = []byte("100"), []byte("5") }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Code == "*100#" && e.Text == "*100*5#" }},
		{"standard", []string{"dialled.strip", "only-star"}, func(m *smpp.Message) { m.Dest.Digits, m.ShortMessage = []byte("100"), []byte("5*6#") }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Text == "*100*5*6#" }},
		{"standard", []string{"dialled.strip", "only-star"}, func(m *smpp.Message) { m.Dest.Digits, m.ShortMessage = []byte("100"), []byte("#100*5#") }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Text == "#100*5#" }},
		{"standard", []string{"dialled.strip", "always"}, func(m *smpp.Message) { m.Dest.Digits, m.ShortMessage = []byte("*100#"), nil }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Text == "*100#" }},
		{"standard", []string{"dialled.strip", "always"}, func(m *smpp.Message) { m.Dest.Digits, m.ShortMessage = []byte("#100#"), []byte("#5#") }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Text == "#100*#5#" }},

		{"standard", []string{"service_type", "none", "esm_class", "0x03", "tlvs", "language_indicator=0x01 0x1400=0xAABB"}, nil, false,
			func(_ *smpp.Event, m smpp.Message) bool {
				return len(m.ServiceType) == 0 && m.ESMClass == 3 && hasTLV(m, 0x020D, "\x01") && hasTLV(m, 0x1400, "\xaa\xbb")
			}},
		{"standard", []string{"pdu", "data_sm"}, nil, false, func(_ *smpp.Event, m smpp.Message) bool {
			return m.ID == pdu.DataSMID && hasTLV(m, 0x0424, "Caf\x05") && hasTLV(m, 0x1383, "\x2a\x02")
		}},
		{"standard", []string{"text.alphabet", "ucs2", "text.max", "80"}, nil, false, func(_ *smpp.Event, m smpp.Message) bool {
			return m.DataCoding == 8 && string(m.ShortMessage) == "\x00C\x00a\x00f\x00\xe9"
		}},
		{"standard", []string{"text.alphabet", "gsm-packed", "text.max", "160", "text.unit", "octets", "dcs.out", "+ gsm-packed=0x00"}, nil, false,
			func(_ *smpp.Event, m smpp.Message) bool {
				return m.DataCoding == 0 && string(m.ShortMessage) == "\xc3\xb0\xb9\x00"
			}},
		{"standard", []string{"text.strip-at", "yes"}, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x12"); m.ShortMessage = []byte("1\x00\r") }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Text == "1" }},
		{"standard", nil, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x12"); m.ShortMessage = []byte("1\x00\r") }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Text == "1@" }},
		{"standard", []string{"dcs.in", "+ 0x0f=gsm-packed"}, func(m *smpp.Message) {
			m.DataCoding, m.ShortMessage = 0x0F, unhex(t, "aa986ca68a8d1a")
		}, false, func(e *smpp.Event, _ smpp.Message) bool { return e.Text == "*123*1#" }},
		{"standard", nil, func(m *smpp.Message) { m.DataCoding, m.ShortMessage = 0x11, unhex(t, "65370031") }, false, // "en", then the text
			func(e *smpp.Event, _ smpp.Message) bool { return e.Text == "1" }},
		{"standard", nil, func(m *smpp.Message) { m.DataCoding, m.ShortMessage = 0x11, unhex(t, "00310032") }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Text == "12" }},
		{"standard", nil, func(m *smpp.Message) { m.DataCoding, m.ShortMessage = 0x0F, unhex(t, "00310032") }, false, // UCS-2 labelled as 7-bit
			func(e *smpp.Event, _ smpp.Message) bool { return e.Text == "12" }},
		{"standard", []string{"op.other", "release"}, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x77") }, false,
			func(e *smpp.Event, _ smpp.Message) bool { return e.Op == smpp.Release }},
		{"data-sm", nil, func(m *smpp.Message) {
			m.ID, m.TLVs = pdu.DataSMID, tlvs(0x0501, "\x42", 0x001E, "X1", 0x0424, "ignored")
		}, true, func(e *smpp.Event, m smpp.Message) bool {
			return e.Op == smpp.Release && e.Dialogue.ID == "X1" && e.Text == "" && hasTLV(m, 0x001E, "X1\x00")
		}},
		{"service-type", nil, func(m *smpp.Message) { m.ServiceType, m.TLVs, m.ShortMessage = []byte("CN"), nil, []byte("2") }, true,
			func(e *smpp.Event, m smpp.Message) bool { return e.Op == smpp.Input && string(m.ServiceType) == "EF" }},
		{"service-type", nil, func(m *smpp.Message) { m.TLVs = nil }, false, // service_type USSD: the text tells
			func(e *smpp.Event, m smpp.Message) bool { return e.Op == smpp.Begin && string(m.ServiceType) == "CR" }},
	} {
		t.Run(c.preset+" "+strings.Join(c.knobs, " "), func(t *testing.T) {
			p := profile(t, c.preset, c.knobs...)
			m := begin()
			if c.in != nil {
				c.in(&m)
			}
			e := read(t, p, encode(t, &m))
			out, err := p.Encode(e, "Café", c.end)
			if err != nil {
				t.Fatal(err)
			}
			if reply := decode(t, out); !c.want(e, reply) {
				t.Errorf("%s of %+v code %q text %q, answered by\n%s", e.Op, e.Dialogue, e.Code, e.Text, smpp.Explain(out, p))
			}
		})
	}
}

func TestUnusableMessages(t *testing.T) {
	for _, c := range []struct {
		preset string
		knobs  []string
		in     func(m *smpp.Message)
		status pdu.Status // zero: acknowledged and ignored
	}{
		{"standard", []string{"op.other", "reject"}, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x77") }, 0xC4},
		{"standard", []string{"op.other", "ignore"}, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x77") }, 0},
		{"standard", nil, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x13") }, 0},
		{"standard", []string{"service_type.in", "USSD"}, func(m *smpp.Message) { m.ServiceType = []byte("CMT") }, 0},
		{"standard", nil, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "") }, 0xC2},
		{"standard", nil, func(m *smpp.Message) { m.TLVs = tlvs(0x0501, "\x12", 0x1383, "\x2a") }, 0xC2},
		{"standard", nil, func(m *smpp.Message) { m.Source.Digits = nil }, 0x0A},
		{"standard", nil, func(m *smpp.Message) { m.Dest.Digits = []byte("*1\xff#") }, 0x0B},
		{"standard", nil, func(m *smpp.Message) { m.ShortMessage, m.TLVs = nil, tlvs(0x0424, strings.Repeat("1", 513)) }, 0x01},
		{"vendor-tlv", nil, func(m *smpp.Message) { m.Source.Digits = nil; m.TLVs = tlvs(0x0501, "\x12") }, 0x0A},
		{"vendor-tlv", nil, func(m *smpp.Message) { m.Source.Digits = nil; m.TLVs = tlvs(0x0501, "\x01", 0x1400, "1234") }, 0x0A},
		{"vendor-tlv", nil, func(m *smpp.Message) { m.Source.Digits = []byte("MTN"); m.TLVs = tlvs(0x0501, "\x12", 0x1400, "1234") }, 0x0A},
		{"data-sm", nil, func(m *smpp.Message) { m.TLVs = tlvs(0x001E, "\x01\x00") }, 0xC4},
		{"data-sm", nil, func(m *smpp.Message) { m.TLVs = tlvs(0x001E, strings.Repeat("1", 65)) }, 0xC2},
		{"service-type", nil, func(m *smpp.Message) { m.ServiceType = []byte("FN") }, 0},
	} {
		p := profile(t, c.preset, c.knobs...)
		m := begin()
		c.in(&m)
		m = decode(t, encode(t, &m))
		e, err := p.Read(&m)
		status := pdu.Status(0)
		if malformed, ok := err.(*smpp.MalformedError); ok {
			status = malformed.Status
		}
		if e != nil || status != c.status {
			t.Errorf("%s %v: %v, %v; want status %#x", c.preset, c.knobs, e, err, uint32(c.status))
		}
	}
}

// A step takes an Event, its strings and a frame from the heap, and nothing else.
func TestDialectAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own allocations are counted too")
	}
	for _, name := range smpp.Profiles() {
		p := profile(t, name)
		m := decode(t, golden(t, name+"-input"))
		if n := testing.AllocsPerRun(100, func() {
			e, err := p.Read(&m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Encode(e, "1. Buy Airtime\n0. Exit", true); err != nil {
				t.Fatal(err)
			}
		}); n > 3 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// The answer to the last question of a dialogue can be read, but not replied to.
func TestLastAnswer(t *testing.T) {
	e := read(t, profile(t, "vendor-tlv"), golden(t, "vendor-tlv-push-last"))
	if err := e.Reply("x", true, time.Time{}); err != smpp.ErrClosed {
		t.Errorf("got %v", err)
	}
}

// TestTsharkReadsDialects lets tshark read every fixture and every reply to one.
func TestTsharkReadsDialects(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed: apt install tshark")
	}
	var frames [][]byte
	for _, name := range goldenNames(t) {
		frames = append(frames, golden(t, name))
	}
	for _, d := range dialogues {
		p := profile(t, d.preset, d.knobs...)
		for _, s := range d.said {
			if s.op != smpp.Begin && s.op != smpp.Input {
				continue
			}
			for _, end := range []bool{false, true} {
				out, err := p.Encode(read(t, p, golden(t, s.file)), "Pick:\n1. A\n2. ₦", end)
				if err != nil {
					t.Fatal(err)
				}
				frames = append(frames, out)
			}
		}
	}
	var capture bytes.Buffer
	w := pcapgo.NewWriter(&capture)
	if err := w.WriteFileHeader(65535, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	seq := uint32(1)
	for _, f := range frames {
		packet := tcpPacket(t, seq, f)
		seq += uint32(len(f))
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(packet), Length: len(packet)}, packet); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "all.pcap")
	writeFile(t, file, capture.Bytes())
	fields := []string{"smpp.command_id", "smpp.service_type", "smpp.source_addr", "smpp.destination_addr", "smpp.esm.submit.msg_mode", "smpp.data_coding", "smpp.sm_length", "smpp.message_payload", "smpp.ussd_service_op", "smpp.its_session.number", "smpp.its_session.sequence", "smpp.its_session.ind", "_ws.malformed", "_ws.expert.message"}
	args := []string{"-r", file, "-d", "tcp.port==2775,smpp", "-T", "fields", "-E", "separator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(frames) {
		t.Fatalf("tshark reads %d PDUs of %d", len(lines), len(frames))
	}
	for i, line := range lines {
		if want := tsharkLine(frames[i]); want != line {
			t.Errorf("%x\ntshark reads %s\nwe read      %s", frames[i], line, want)
		}
	}
}

// tsharkLine is what tshark should print of a PDU.
func tsharkLine(frame []byte) string {
	var m smpp.Message
	id := smpp.ParseHeader(frame).ID
	f := make([]string, 14)
	f[0] = fmt.Sprintf("0x%08x", uint32(id))
	if smpp.Decode(frame, &m) != nil || id&0x80000000 != 0 {
		return strings.Join(f, "|")
	}
	f[1], f[2], f[3] = cmp.Or(string(m.ServiceType), "(Default)"), string(m.Source.Digits), string(m.Dest.Digits)
	f[4], f[5] = fmt.Sprintf("0x%02x", m.ESMClass&3), fmt.Sprintf("0x%02x", m.DataCoding)
	if id != pdu.DataSMID {
		f[6] = fmt.Sprint(len(m.ShortMessage))
	}
	for v := range m.TLVs.All() {
		switch v.Tag {
		case 0x0424:
			f[7] = fmt.Sprintf("%x", v.Value)
		case 0x0501:
			f[8] = fmt.Sprint(v.Value[0])
		case 0x1383:
			f[9], f[10], f[11] = fmt.Sprint(v.Value[0]), fmt.Sprintf("0x%02x", v.Value[1]>>1), fmt.Sprintf("0x%02x", v.Value[1]&1)
		}
	}
	return strings.Join(f, "|")
}

// tcpPacket wraps a PDU into IP and TCP.
func tcpPacket(t testing.TB, seq uint32, payload []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: []byte{192, 0, 2, 1}, DstIP: []byte{192, 0, 2, 2}}
	tcp := &layers.TCP{SrcPort: 40000, DstPort: 2775, Seq: seq, ACK: true, PSH: true, Window: 65535}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, ip, tcp, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buf.Bytes())
}
