package smpp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
)

// FuzzTLVs: a list is cut into parameters that put together are the list again,
// up to a last one that is not whole.
func FuzzTLVs(f *testing.F) {
	f.Add([]byte(tlvs(0x0501, "\x01", 0x1383, "\x2a\x00")))
	f.Add([]byte("\x05\x01\x00\x09x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again smpp.TLVs
		first := make(map[pdutlv.Tag][]byte)
		for v := range smpp.TLVs(b).All() {
			again = again.Append(v.Tag, v.Value...)
			if _, ok := first[v.Tag]; !ok {
				first[v.Tag] = v.Value
			}
		}
		if !bytes.HasPrefix(b, again) {
			t.Fatalf("%x became %x", b, again)
		}
		if rest := b[len(again):]; len(rest) >= 4 && len(rest) >= 4+(int(rest[2])<<8|int(rest[3])) {
			t.Fatalf("%x was left over", rest)
		}
		for tag, want := range first {
			if got, ok := smpp.TLVs(b).Get(tag); !ok || !bytes.Equal(got, want) {
				t.Fatalf("%x: %#x is %x, want %x", b, tag, got, want)
			}
		}
	})
}

// FuzzGoSMPP: what both our codec and go-smpp's can read, they read alike.
func FuzzGoSMPP(f *testing.F) {
	for _, name := range goldenNames(f) {
		f.Add(golden(f, name))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var m smpp.Message
		if wire = framed(wire); smpp.Decode(wire, &m) != nil || m.Truncated || !comparable(&m) || len(wire) > pdu.MaxSize {
			return
		}
		if m.ID&0x80000000 != 0 && m.MessageID == nil {
			return // go-smpp takes the TLVs of a response without message_id for one
		}
		checkAgainstGoSMPP(t, wire, m)
	})
}

// framed gives a PDU its right command_length, which chance would not find.
func framed(wire []byte) []byte {
	if len(wire) < smpp.HeaderLen {
		return wire
	}
	wire = bytes.Clone(wire)
	binary.BigEndian.PutUint32(wire, uint32(len(wire)))
	return wire
}

// FuzzDialect: whatever a message is, every dialect reads it or says with which
// status it is refused; and what it reads can be answered, by a PDU that says
// what it should. The profile is a preset with a few knobs turned.
func FuzzDialect(f *testing.F) {
	for i, name := range goldenNames(f) {
		f.Add(uint8(i), uint32(0), golden(f, name), "1. Buy\n₦", false)
	}
	var presets []*smpp.Profile
	for _, name := range smpp.Profiles() {
		presets = append(presets, profile(f, name))
	}
	f.Fuzz(func(t *testing.T, preset uint8, turned uint32, wire []byte, text string, end bool) {
		changed := *presets[int(preset)%len(presets)] // Set replaces maps, and changes none
		p := &changed
		for i, k := range turns {
			if turned&(1<<i) != 0 {
				if err := p.Set(k[0], k[1]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if p.Check() != nil {
			return
		}
		explained := smpp.Explain(wire, p) + smpp.Brief(wire, p) + smpp.DialogueOf(wire, p).ID
		if !utf8.ValidString(explained) {
			t.Fatalf("%x is explained as\n%s", wire, explained)
		}
		var m smpp.Message
		if wire = framed(wire); smpp.Decode(wire, &m) != nil || m.ID != pdu.DeliverSMID && m.ID != pdu.DataSMID {
			return
		}
		e, err := p.Read(&m)
		if err != nil {
			var malformed *smpp.MalformedError
			if !errors.As(err, &malformed) || malformed.Status == 0 || e != nil {
				t.Fatalf("error %v does not say how to answer", err)
			}
			return
		}
		if e == nil {
			return
		}
		out, err := p.Encode(e, text, end)
		if units, _ := p.Text.Cost(text); units > p.Text.Limit() {
			if !errors.Is(err, smpp.ErrTextTooLong) {
				t.Fatalf("%d units of %d were encoded: %v", units, p.Text.Limit(), err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%+v cannot be answered by %q: %v", e, text, err)
		}
		checkReply(t, p, e, decode(t, out), text)
	})
}

// turns are knobs that FuzzDialect turns.
var turns = [][2]string{
	{"pdu", "data_sm"}, {"op.other", "reject"}, {"op.tag", "service_type"}, {"key", "id"}, {"key", "msisdn"},
	{"address.reply", "null"}, {"address.reply", "first"}, {"address.dest", "1/1"}, {"address.source", "5/0"},
	{"code", "text"}, {"code", "*1#"}, {"dialled.strip", "always"}, {"dialled.strip", "only-star"}, {"dialled.from", "destination"},
	{"text.alphabet", "latin1"}, {"text.alphabet", "gsm-packed"}, {"text.strip-at", "yes"}, {"session.form", "text"},
	{"session.sequence", "clear"}, {"end.by", "op"}, {"dcs.other", "ucs2"}, {"dcs.other", "gsm-packed"}, {"dcs.other", "ucs2-language"}, {"msisdn.country", "none"},
}

func checkReply(t *testing.T, p *smpp.Profile, e *smpp.Event, m smpp.Message, text string) {
	t.Helper()
	if want := map[bool]pdu.ID{false: pdu.SubmitSMID, true: pdu.DataSMID}[p.DataSM]; m.ID != want {
		t.Fatalf("answered by %s", smpp.CommandName(m.ID))
	}
	folded := p.Text.Fold(text)
	if folded == "" {
		folded = " "
	}
	if want := p.Text.Append(nil, folded); !bytes.Equal(m.Payload(), want) {
		t.Fatalf("shows %x, want %x", m.Payload(), want)
	}
	if op, ok := m.TLVs.Get(p.OpTag); p.OpTag != 0 && (!ok || len(op) != 1) {
		t.Fatalf("has the operation %x, %v", op, ok)
	}
	if id := e.Dialogue.ID; id != "" {
		// An SMSC that repeats the session of our reply means the same dialogue.
		v, ok := m.TLVs.Get(p.Session.Tag)
		if !ok {
			t.Fatalf("dialogue %s is answered without its session", id)
		}
		back := begin()
		back.TLVs = smpp.TLVs{}.Append(p.Session.Tag, v...)
		back.ShortMessage, back.ServiceType = []byte("1"), []byte(p.OnlyServiceType)
		if again, err := p.Read(&back); err != nil || again == nil || again.Dialogue.ID != id {
			t.Fatalf("dialogue %s is answered with the session %x: %v, %v", id, v, again, err)
		}
	}
	if addresses := p.Addresses; addresses == smpp.AddressSwap || addresses == smpp.AddressDestination {
		if len(m.Dest.Digits) == 0 && e.Dialogue.MSISDN != "" {
			t.Fatalf("nobody is answered: %+v", m)
		}
	}
	if slices.Contains([]smpp.Op{smpp.Begin, smpp.Input, smpp.Release}, e.Op) && (e.Dialogue.MSISDN != "" || e.Dialogue.ID != "" && p.AnonymousLater) {
		return
	}
	t.Fatalf("%s of %+v", e.Op, e.Dialogue)
}
