package smpp_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
)

func TestDecodeGolden(t *testing.T) {
	address := func(ton, npi byte, digits string) smpp.Address {
		return smpp.Address{TON: ton, NPI: npi, Digits: []byte(digits)}
	}
	subscriber := address(1, 1, "2348031234567")
	bare := address(0, 0, "2348031234567")
	ussd := []byte("USSD")
	for name, want := range map[string]smpp.Message{
		"standard-begin": {Header: smpp.Header{ID: pdu.DeliverSMID, Sequence: 0x11}, ServiceType: ussd, Source: subscriber,
			Dest: address(0, 0, "*123#"), ShortMessage: []byte("*123#"), TLVs: tlvs(0x0501, "\x01", 0x1383, "\x2a\x00")},
		"standard-begin-ack": {Header: smpp.Header{ID: pdu.DeliverSMRespID, Sequence: 0x11}, MessageID: []byte{}},
		"standard-menu": {Header: smpp.Header{ID: pdu.SubmitSMID, Sequence: 1}, ServiceType: ussd, Source: address(0, 0, "*123#"),
			Dest: subscriber, ShortMessage: []byte("1 Bal\n2 Buy"), TLVs: tlvs(0x0501, "\x02", 0x1383, "\x2a\x02")},
		"standard-menu-resp": {Header: smpp.Header{ID: pdu.SubmitSMRespID, Sequence: 1}, MessageID: []byte("7F3A")},
		"standard-input": {Header: smpp.Header{ID: pdu.DeliverSMID, Sequence: 0x12}, ServiceType: ussd, Source: subscriber,
			Dest: address(0, 0, "*123#"), ShortMessage: []byte("1"), TLVs: tlvs(0x0501, "\x12", 0x1383, "\x2a\x02")},
		"standard-end": {Header: smpp.Header{ID: pdu.SubmitSMID, Sequence: 2}, ServiceType: ussd, Source: address(0, 0, "*123#"),
			Dest: subscriber, ShortMessage: []byte("Bal 20.00"), TLVs: tlvs(0x0501, "\x11", 0x1383, "\x2a\x05")},
		"standard-abort": {Header: smpp.Header{ID: pdu.DeliverSMID, Sequence: 0x13}, ServiceType: ussd, Source: subscriber,
			Dest: address(0, 0, "*123#"), TLVs: tlvs(0x0501, "\x12", 0x1383, "\x2a\x03")},
		"mica-begin": {Header: smpp.Header{ID: pdu.DeliverSMID, Sequence: 0x779}, ServiceType: ussd, Source: bare,
			Dest: address(0, 0, "372"), ShortMessage: []byte("*372#"), TLVs: tlvs(0x0204, "25", 0x0501, "\x01")},
		"mica-menu-ucs2": {Header: smpp.Header{ID: pdu.SubmitSMID, Sequence: 3}, ServiceType: ussd, Source: address(0, 0, "372"),
			Dest: subscriber, DataCoding: 8, ShortMessage: smpp.Text{Alphabet: smpp.UCS2}.Append(nil, "₦50 ok? 1/2"),
			TLVs: tlvs(0x0501, "\x02", 0x0204, "25")},
		"mica-input": {Header: smpp.Header{ID: pdu.DeliverSMID, Sequence: 0x77a}, ServiceType: ussd, Source: bare,
			Dest: address(0, 0, "372"), ShortMessage: []byte("1"), TLVs: tlvs(0x0204, "25", 0x0501, "\x12")},
		"mica-end": {Header: smpp.Header{ID: pdu.SubmitSMID, Sequence: 4}, ServiceType: ussd, Source: address(0, 0, "372"),
			Dest: subscriber, ShortMessage: []byte("Done"), TLVs: tlvs(0x0501, "\x11", 0x0204, "25")},
		"mica-abort": {Header: smpp.Header{ID: pdu.DeliverSMID, Sequence: 0x77b}, ServiceType: ussd, Source: bare,
			Dest: address(0, 0, "372"), TLVs: tlvs(0x0204, "25", 0x0501, "\x81")},
		"sixdee-begin": {Header: smpp.Header{ID: pdu.DeliverSMID, Sequence: 0x31}, ServiceType: ussd, Source: subscriber,
			Dest: address(0, 0, "*123#"), ShortMessage: []byte("*123#"), TLVs: tlvs(0x0501, "\x01", 0x1383, "\x16\x2e")},
		"sixdee-abort": {Header: smpp.Header{ID: pdu.DeliverSMID, Sequence: 0x32}, ServiceType: ussd, Source: subscriber,
			Dest: address(0, 0, "*123#"), TLVs: tlvs(0x0501, "\x81", 0x1383, "\x16\x2f")},
		"service-type-end": {Header: smpp.Header{ID: pdu.SubmitSMID, Sequence: 8}, ServiceType: []byte("EF"),
			Source: address(1, 1, "111"), Dest: subscriber, DataCoding: 4, ShortMessage: []byte("Bye")},
		"data-sm-menu": {Header: smpp.Header{ID: pdu.DataSMID, Sequence: 9}, ServiceType: ussd, Source: address(0, 0, ""),
			Dest: subscriber, ESMClass: 1,
			TLVs: tlvs(0x0424, "1 Bal\n2 Buy", 0x001E, "A1B2C3\x00", 0x0501, "\x02", 0x0007, "\x04")},
	} {
		t.Run(name, func(t *testing.T) {
			wire := golden(t, name)
			got := decode(t, wire)
			if !sameMessage(got, want) || got.Truncated {
				t.Errorf("decoded\n%+v, want\n%+v", got, want)
			}
			if int(got.Length) != len(wire) {
				t.Errorf("length %d, want %d", got.Length, len(wire))
			}
			if again := encode(t, &got); !bytes.Equal(again, wire) {
				t.Errorf("encoded again\n%x, want\n%x", again, wire)
			}
			if fresh := encode(t, &want); !bytes.Equal(fresh, wire) {
				t.Errorf("encoded from fields\n%x, want\n%x", fresh, wire)
			}
		})
	}
}

func TestDecodeMalformed(t *testing.T) {
	begin := golden(t, "standard-begin")
	// cut returns the PDU without its last octets, and with the command_length
	// that it then has.
	cut := func(n int) []byte {
		b := slices.Clone(begin[:len(begin)-n])
		b[3] = byte(len(b))
		return b
	}
	smLength := bytes.Index(begin, []byte("\x05*123#"))
	past := slices.Clone(begin)
	past[smLength] = 200
	for _, c := range []struct {
		name   string
		frame  []byte
		status pdu.Status
		text   string
	}{
		{"header not whole", begin[:15], 0x02, "header is not whole"},
		{"empty", nil, 0x02, "header is not whole"},
		{"length differs", begin[:len(begin)-1], 0x02, "deliver_sm: command_length differs"},
		{"not a message", frame(pdu.EnquireLinkID, 0, 1, ""), 0x03, "enquire_link: command_id"},
		{"unknown command", frame(0x55, 0, 1, ""), 0x03, "0x00000055: command_id"},
		{"no body", frame(pdu.DeliverSMID, 0, 1, ""), 0x02, "mandatory fields are cut off"},
		{"service_type without end", frame(pdu.SubmitSMID, 0, 1, "USSD"), 0x02, "mandatory fields"},
		{"address without end", frame(pdu.DataSMID, 0, 1, "\x00\x01\x01234"), 0x02, "mandatory fields"},
		{"data_sm without data_coding", frame(pdu.DataSMID, 0, 1, "\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0x02, "mandatory fields"},
		{"no sm_length", cut(len(begin) - smLength), 0x02, "mandatory fields"},
		{"short_message cut", cut(len(begin) - smLength - 2), 0x01, "sm_length reaches past"},
		{"sm_length past the end", past, 0x01, "sm_length reaches past"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m smpp.Message
			err := smpp.Decode(c.frame, &m)
			var malformed *smpp.MalformedError
			if !errors.As(err, &malformed) {
				t.Fatalf("got error %v, want a MalformedError", err)
			}
			if malformed.Status != c.status || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %q with status %#x, want %q with %#x", err, malformed.Status, c.text, c.status)
			}
			if len(c.frame) >= smpp.HeaderLen && m.Header != smpp.ParseHeader(c.frame) {
				t.Errorf("header %+v is not the frame's", m.Header)
			}
		})
	}
}

func TestDecodeTruncatedTLV(t *testing.T) {
	begin := golden(t, "standard-begin")
	whole := decode(t, begin)
	for n := 1; n < 6; n++ { // its_session_info is the last TLV and has six octets
		b := slices.Clone(begin[:len(begin)-n])
		b[3] = byte(len(b))
		m := decode(t, b)
		if !m.Truncated || !bytes.Equal(m.TLVs, tlvs(0x0501, "\x01")) || !bytes.Equal(m.ShortMessage, whole.ShortMessage) {
			t.Errorf("without its last %d octets: %+v", n, m)
		}
	}
}

func TestDecodeResponse(t *testing.T) {
	const refused, id = pdu.Status(0x0A), pdu.SubmitSMRespID
	for _, c := range []struct {
		name      string
		frame     []byte
		messageID string
		nilID     bool
		tlvs      smpp.TLVs
		truncated bool
	}{
		{name: "accepted", frame: frame(id, 0, 1, "7F3A\x00"), messageID: "7F3A"},
		{name: "accepted with TLV", frame: frame(id, 0, 1, "7F\x00\x04\x28\x00\x01\x05"), messageID: "7F", tlvs: tlvs(0x0428, "\x05")},
		{name: "accepted without body", frame: frame(id, 0, 1, ""), nilID: true},
		{name: "accepted, id without end", frame: frame(id, 0, 1, "7F3A"), messageID: "7F3A", truncated: true},
		{name: "refused without body", frame: frame(id, refused, 1, ""), nilID: true},
		{name: "refused with one NUL", frame: frame(id, refused, 1, "\x00"), messageID: ""},
		{name: "refused with id", frame: frame(id, refused, 1, "7F3A\x00"), messageID: "7F3A"},
		{name: "refused with id and TLV", frame: frame(id, refused, 1, "7F\x00\x04\x28\x00\x01\x05"), messageID: "7F", tlvs: tlvs(0x0428, "\x05")},
		{name: "refused with TLVs only", frame: frame(id, refused, 1, string(tlvs(0x1501, "ab", 0x0428, "\x05"))), nilID: true, tlvs: tlvs(0x1501, "ab", 0x0428, "\x05")},
		{name: "refused with a TLV that looks like an id", frame: frame(id, refused, 1, string(tlvs(0x001D, "no credit"))), nilID: true, tlvs: tlvs(0x001D, "no credit")},
		{name: "refused with garbage that ends", frame: frame(id, refused, 1, "\xff\xfe\x00"), nilID: true, truncated: true},
		{name: "refused with garbage", frame: frame(id, refused, 1, "\xff\xfe\xfd"), nilID: true, truncated: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := decode(t, c.frame)
			if string(m.MessageID) != c.messageID || (m.MessageID == nil) != c.nilID || !bytes.Equal(m.TLVs, c.tlvs) || m.Truncated != c.truncated {
				t.Errorf("got id %q (nil %v), TLVs %x, truncated %v", m.MessageID, m.MessageID == nil, m.TLVs, m.Truncated)
			}
			if c.name == "accepted without body" || c.truncated {
				return // not a valid PDU: it is encoded as a valid one
			}
			if again := encode(t, &m); !bytes.Equal(again, c.frame) {
				t.Errorf("encoded again %x, want %x", again, c.frame)
			}
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	long := func(n int) []byte { return bytes.Repeat([]byte("1"), n) }
	submit := smpp.Header{ID: pdu.SubmitSMID}
	for _, c := range []struct {
		field string
		m     smpp.Message
	}{
		{"command_id", smpp.Message{Header: smpp.Header{ID: pdu.BindTransceiverID}}},
		{"service_type", smpp.Message{Header: submit, ServiceType: long(6)}},
		{"service_type", smpp.Message{Header: submit, ServiceType: []byte("U\x00D")}},
		{"source_addr", smpp.Message{Header: submit, Source: smpp.Address{Digits: long(21)}}},
		{"destination_addr", smpp.Message{Header: submit, Dest: smpp.Address{Digits: long(21)}}},
		{"destination_addr", smpp.Message{Header: smpp.Header{ID: pdu.DataSMID}, Dest: smpp.Address{Digits: long(65)}}},
		{"schedule_delivery_time", smpp.Message{Header: submit, ScheduleTime: long(17)}},
		{"validity_period", smpp.Message{Header: submit, Validity: long(17)}},
		{"short_message", smpp.Message{Header: submit, ShortMessage: long(255)}},
		{"message_id", smpp.Message{Header: smpp.Header{ID: pdu.SubmitSMRespID}, MessageID: long(65)}},
		{"command_length", smpp.Message{Header: submit, TLVs: tlvs(0x0424, string(long(65_500)), 0x0424, string(long(100)))}},
	} {
		before := []byte("before")
		after, err := smpp.Append(before, &c.m)
		var malformed *smpp.MalformedError
		if !errors.As(err, &malformed) || malformed.Field != c.field {
			t.Errorf("%s: got error %v", c.field, err)
		}
		if string(after) != "before" {
			t.Errorf("%s: destination became %q", c.field, after)
		}
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	menu := golden(t, "standard-menu")
	m := decode(t, menu)
	both, err := smpp.Append(slices.Clone(menu), &m)
	if err != nil || !bytes.Equal(both, append(slices.Clone(menu), menu...)) {
		t.Errorf("got %x, %v", both, err)
	}
}

func TestPayload(t *testing.T) {
	if m := decode(t, golden(t, "data-sm-menu")); string(m.Payload()) != "1 Bal\n2 Buy" {
		t.Errorf("message_payload: got %q", m.Payload())
	}
	if m := decode(t, golden(t, "standard-menu")); string(m.Payload()) != "1 Bal\n2 Buy" {
		t.Errorf("short_message: got %q", m.Payload())
	}
}

func TestTLVs(t *testing.T) {
	list := tlvs(0x1400, "first", 0x0501, "\x02", 0x1400, "second", 0x0030, "")
	var tags []pdutlv.Tag
	var values []string
	for v := range list.All() {
		tags = append(tags, v.Tag)
		values = append(values, string(v.Value))
	}
	if !slices.Equal(tags, []pdutlv.Tag{0x1400, 0x0501, 0x1400, 0x0030}) || !slices.Equal(values, []string{"first", "\x02", "second", ""}) {
		t.Errorf("iterated over %x %q", tags, values)
	}
	for v := range list.All() {
		if v.Tag == 0x0501 {
			break // the iterator must not go on after this
		}
	}
	if v, ok := list.Get(0x1400); !ok || string(v) != "first" {
		t.Errorf("repeated tag: got %q, %v", v, ok)
	}
	if v, ok := list.Get(0x0030); !ok || v == nil || len(v) != 0 {
		t.Errorf("empty value: got %q, %v", v, ok)
	}
	if v, ok := list.Get(0x0001); ok {
		t.Errorf("absent tag: got %q", v)
	}
	if v, ok := smpp.TLVs("\x05\x01\x00\x09x").Get(0x0501); ok {
		t.Errorf("truncated list: got %q", v)
	}
}

func TestCommandName(t *testing.T) {
	for id, want := range map[pdu.ID]string{
		pdu.DeliverSMID: "deliver_sm", pdu.DataSMRespID: "data_sm_resp", pdu.GenericNACKID: "generic_nack",
		pdu.UnbindRespID: "unbind_resp", 0x55: "0x00000055",
	} {
		if got := smpp.CommandName(id); got != want {
			t.Errorf("%#x: got %s, want %s", uint32(id), got, want)
		}
	}
}

// randomMessage makes a message within the specification's limits. The same
// generator gives the same messages.
func randomMessage(r *rand.Rand) smpp.Message {
	octets := func(limit int, from, to byte) []byte {
		b := make([]byte, r.IntN(limit+1))
		for i := range b {
			b[i] = from + byte(r.IntN(int(to-from)+1))
		}
		return b
	}
	text := func(limit int) []byte { return octets(limit, ' ', '~') }
	ids := []pdu.ID{pdu.SubmitSMID, pdu.DeliverSMID, pdu.DataSMID, pdu.SubmitSMRespID, pdu.DeliverSMRespID, pdu.DataSMRespID}
	m := smpp.Message{Header: smpp.Header{ID: ids[r.IntN(len(ids))], Sequence: r.Uint32()}}
	for range r.IntN(5) {
		m.TLVs = m.TLVs.Append(pdutlv.Tag(r.Uint32()), octets(40, 0, 255)...)
	}
	if m.ID&0x80000000 != 0 {
		m.MessageID = text(64)
		if r.IntN(3) == 0 {
			m.Status, m.MessageID, m.TLVs = pdu.Status(1+r.IntN(0x500)), nil, nil
		}
		return m
	}
	m.ServiceType = text(5)
	m.Source = smpp.Address{TON: byte(r.Uint32()), NPI: byte(r.Uint32()), Digits: text(20)}
	m.Dest = smpp.Address{TON: byte(r.Uint32()), NPI: byte(r.Uint32()), Digits: text(20)}
	m.ESMClass = byte(r.Uint32())
	m.RegisteredDelivery = byte(r.Uint32())
	m.DataCoding = byte(r.Uint32())
	if m.ID != pdu.DataSMID {
		m.ProtocolID, m.Priority = byte(r.Uint32()), byte(r.Uint32())
		m.ReplaceIfPresent, m.DefaultMsgID = byte(r.Uint32()), byte(r.Uint32())
		m.ScheduleTime, m.Validity = text(16), text(16)
		m.ShortMessage = octets(254, 0, 255)
	}
	return m
}

func TestDecodeUndoesAppend(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		m := randomMessage(r)
		wire := encode(t, &m)
		if got := decode(t, wire); !sameMessage(got, m) || got.Truncated {
			t.Fatalf("%x\ndecoded %+v\nwant    %+v", wire, got, m)
		}
	}
}

// goSMPP is a PDU as go-smpp has read it.
type goSMPP struct{ pdu.Body }

func (b goSMPP) octet(name pdufield.Name) byte {
	f, ok := b.Fields()[name].(*pdufield.Fixed)
	if !ok {
		return 0
	}
	return f.Data
}

func (b goSMPP) octets(name pdufield.Name) []byte {
	switch f := b.Fields()[name].(type) {
	case *pdufield.Variable:
		return bytes.TrimSuffix(f.Data, []byte{0})
	case *pdufield.SM:
		return f.Data
	}
	return nil
}

// message returns the PDU as our codec should have read it. go-smpp keeps TLVs
// in a map, so they are compared apart.
func (b goSMPP) message() smpp.Message {
	h := b.Header()
	return smpp.Message{
		Header:             smpp.Header{Length: h.Len, ID: h.ID, Status: h.Status, Sequence: h.Seq},
		ServiceType:        b.octets(pdufield.ServiceType),
		Source:             smpp.Address{TON: b.octet(pdufield.SourceAddrTON), NPI: b.octet(pdufield.SourceAddrNPI), Digits: b.octets(pdufield.SourceAddr)},
		Dest:               smpp.Address{TON: b.octet(pdufield.DestAddrTON), NPI: b.octet(pdufield.DestAddrNPI), Digits: b.octets(pdufield.DestinationAddr)},
		ESMClass:           b.octet(pdufield.ESMClass),
		ProtocolID:         b.octet(pdufield.ProtocolID),
		Priority:           b.octet(pdufield.PriorityFlag),
		ScheduleTime:       b.octets(pdufield.ScheduleDeliveryTime),
		Validity:           b.octets(pdufield.ValidityPeriod),
		RegisteredDelivery: b.octet(pdufield.RegisteredDelivery),
		ReplaceIfPresent:   b.octet(pdufield.ReplaceIfPresentFlag),
		DataCoding:         b.octet(pdufield.DataCoding),
		DefaultMsgID:       b.octet(pdufield.SMDefaultMsgID),
		ShortMessage:       b.octets(pdufield.ShortMessage),
		MessageID:          b.octets(pdufield.MessageID),
	}
}

// comparable reports whether go-smpp can read the message at all: it has no
// data_sm, and takes deliver_sm with esm_class bit 6 apart.
func comparable(m *smpp.Message) bool {
	return m.ID != pdu.DataSMID && m.ID != pdu.DataSMRespID && (m.ID != pdu.DeliverSMID || m.ESMClass&0x40 == 0)
}

func checkAgainstGoSMPP(t *testing.T, wire []byte, m smpp.Message) {
	t.Helper()
	body, err := pdu.Decode(bytes.NewReader(wire))
	if err != nil {
		t.Fatalf("go-smpp cannot read %x: %v", wire, err)
	}
	theirs := goSMPP{body}.message()
	seen := make(map[pdutlv.Tag][]byte)
	for v := range m.TLVs.All() {
		seen[v.Tag] = v.Value // the last of a repeated tag, as in go-smpp's map
	}
	if len(seen) != len(body.TLVFields()) {
		t.Errorf("%x: go-smpp reads %d TLVs, we %d", wire, len(body.TLVFields()), len(seen))
	}
	for tag, value := range seen {
		if f, ok := body.TLVFields()[tag]; !ok || !bytes.Equal(f.Bytes(), value) {
			t.Errorf("%x: TLV %#x differs: %x", wire, tag, value)
		}
	}
	m.TLVs = nil
	if !sameMessage(theirs, m) || theirs.Length != uint32(len(wire)) {
		t.Errorf("%x\ngo-smpp reads %+v\nwe read       %+v", wire, theirs, m)
	}
}

func TestGoSMPPReadsWhatWeWrite(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	compared := 0
	for range 5000 {
		m := randomMessage(r)
		if !comparable(&m) {
			continue
		}
		compared++
		checkAgainstGoSMPP(t, encode(t, &m), m)
		if t.Failed() {
			return
		}
	}
	if compared < 1000 {
		t.Errorf("only %d messages were compared", compared)
	}
	for _, name := range goldenNames(t) {
		var m smpp.Message
		if smpp.Decode(golden(t, name), &m) == nil && comparable(&m) {
			checkAgainstGoSMPP(t, golden(t, name), m)
		}
	}
}

func TestWeReadWhatGoSMPPWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		want := randomMessage(r)
		if want.ID != pdu.SubmitSMID && want.ID != pdu.SubmitSMRespID && want.ID != pdu.DeliverSMRespID {
			continue // go-smpp writes a UDH length into every deliver_sm, and has no data_sm
		}
		fields := make(pdutlv.Fields)
		for v := range want.TLVs.All() {
			fields[v.Tag] = v.Value
		}
		var body pdu.Body
		switch want.ID {
		case pdu.SubmitSMID:
			body = pdu.NewSubmitSM(fields)
		case pdu.SubmitSMRespID:
			body, want.TLVs = pdu.NewSubmitSMResp(), nil
		default:
			body, want.TLVs = pdu.NewDeliverSMResp(), nil
		}
		if want.MessageID == nil {
			want.MessageID = []byte{} // go-smpp always writes one
		}
		body.Header().Seq, body.Header().Status = want.Sequence, want.Status
		for name, value := range map[pdufield.Name]any{
			pdufield.ServiceType:          want.ServiceType,
			pdufield.SourceAddrTON:        want.Source.TON,
			pdufield.SourceAddrNPI:        want.Source.NPI,
			pdufield.SourceAddr:           want.Source.Digits,
			pdufield.DestAddrTON:          want.Dest.TON,
			pdufield.DestAddrNPI:          want.Dest.NPI,
			pdufield.DestinationAddr:      want.Dest.Digits,
			pdufield.ESMClass:             want.ESMClass,
			pdufield.ProtocolID:           want.ProtocolID,
			pdufield.PriorityFlag:         want.Priority,
			pdufield.ScheduleDeliveryTime: want.ScheduleTime,
			pdufield.ValidityPeriod:       want.Validity,
			pdufield.RegisteredDelivery:   want.RegisteredDelivery,
			pdufield.ReplaceIfPresentFlag: want.ReplaceIfPresent,
			pdufield.DataCoding:           want.DataCoding,
			pdufield.SMDefaultMsgID:       want.DefaultMsgID,
			pdufield.ShortMessage:         want.ShortMessage,
			pdufield.MessageID:            want.MessageID,
		} {
			if slices.Contains(body.FieldList(), name) {
				if err := body.Fields().Set(name, value); err != nil {
					t.Fatal(err)
				}
			}
		}
		var wire bytes.Buffer
		if err := body.SerializeTo(&wire); err != nil {
			t.Fatal(err)
		}
		got := decode(t, wire.Bytes())
		for v := range got.TLVs.All() {
			if value, ok := fields[v.Tag]; !ok || !bytes.Equal(value.([]byte), v.Value) {
				t.Fatalf("%x: TLV %#x is %x, want %x", wire.Bytes(), v.Tag, v.Value, value)
			}
		}
		if len(got.TLVs) > len(want.TLVs) || len(got.TLVs) == 0 && len(want.TLVs) > 0 {
			t.Fatalf("%x: TLVs %x, want %x in some order", wire.Bytes(), got.TLVs, want.TLVs)
		}
		got.TLVs, want.TLVs = nil, nil
		if !sameMessage(got, want) {
			t.Fatalf("%x\ndecoded %+v\nwant    %+v", wire.Bytes(), got, want)
		}
	}
}

func TestCodecAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own allocations are counted too")
	}
	wire := golden(t, "standard-begin")
	menu := decode(t, golden(t, "standard-menu"))
	buf := make([]byte, 0, 256)
	var m smpp.Message
	for _, c := range []struct {
		what  string
		limit float64
		f     func()
	}{
		{"decode", 0, func() {
			if smpp.Decode(wire, &m) != nil {
				t.Fatal("not decoded")
			}
		}},
		{"look up a TLV", 0, func() {
			if _, ok := menu.TLVs.Get(0x1383); !ok {
				t.Fatal("not found")
			}
		}},
		{"iterate over TLVs", 0, func() {
			n := 0
			for v := range menu.TLVs.All() {
				n += len(v.Value)
			}
			if n != 3 {
				t.Fatal("not iterated")
			}
		}},
		{"encode into a buffer", 0, func() {
			if _, err := smpp.Append(buf, &menu); err != nil {
				t.Fatal(err)
			}
		}},
		{"encode", 1, func() {
			if _, err := smpp.Append(nil, &menu); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		if n := testing.AllocsPerRun(100, c.f); n > c.limit {
			t.Errorf("%s: %v allocations, want at most %v", c.what, n, c.limit)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range goldenNames(f) {
		f.Add(golden(f, name))
	}
	f.Add(frame(pdu.SubmitSMRespID, 0x0A, 1, string(tlvs(0x001D, "no credit"))))
	f.Add(frame(pdu.DataSMRespID, 0x0A, 1, "\x00\x05\x00"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		var m smpp.Message
		if err := smpp.Decode(wire, &m); err != nil {
			var malformed *smpp.MalformedError
			if !errors.As(err, &malformed) || malformed.Status == 0 {
				t.Fatalf("error %v does not say how to answer", err)
			}
			return
		}
		again, err := smpp.Append(nil, &m)
		if err != nil {
			var malformed *smpp.MalformedError
			if !errors.As(err, &malformed) || !strings.Contains(malformed.Reason, "over the limit") {
				t.Fatalf("decoded, but not encoded: %v", err)
			}
			return
		}
		n := decode(t, again)
		if !sameMessage(m, n) && !m.Truncated {
			t.Fatalf("%x\nbecame %x", wire, again)
		}
		emptyResponse := m.ID&0x80000000 != 0 && m.MessageID == nil && m.Status == 0
		if !m.Truncated && !emptyResponse && !bytes.Equal(wire, again) {
			t.Fatalf("%x\nbecame %x", wire, again)
		}
	})
}
