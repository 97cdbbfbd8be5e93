package smpp

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
)

// Explain describes a PDU field by field, in words, and says what the profile
// makes of it. A PDU that is not whole is described as far as it goes. Passwords
// are not shown; numbers and texts are. The result is several lines, the last
// one ended too.
func Explain(frame []byte, p *Profile) string {
	x := explanation{p: p, rest: frame}
	x.pdu(frame)
	return x.out.String()
}

// Brief is Explain in one line, without its end: the command, its sequence
// number, a status that is not zero, and what the profile makes of it.
func Brief(frame []byte, p *Profile) string {
	if len(frame) < HeaderLen {
		return fmt.Sprintf("%d octets, not even a header", len(frame))
	}
	h := ParseHeader(frame)
	line := fmt.Sprintf("%s %d", CommandName(h.ID), h.Sequence)
	if h.Status != 0 {
		line += ", " + statusText(h.Status)
	}
	if v := verdict(frame, p); v != "" {
		line += ": " + v
	}
	return line
}

// DialogueOf returns the dialogue that a message belongs to, whoever sent it, as
// far as the message itself tells, be it whole or not: MSISDN and ID may be
// empty, and SMSC is. Other PDUs belong to none.
func DialogueOf(frame []byte, p *Profile) Dialogue {
	var m Message
	_ = Decode(frame, &m) // as far as it goes
	if m.ID&responseBit != 0 {
		return Dialogue{}
	}
	number := m.Source.Digits
	if p.outbound(&m) {
		number = m.Dest.Digits
	}
	b, msisdn, _ := p.msisdn(bytes.Clone(number), span{0, len(number)})
	d := Dialogue{MSISDN: string(b[msisdn.from:msisdn.to])}
	if b, id, _, err := p.session(&m, nil, new(wire)); err == nil {
		d.ID = string(b[id.from:id.to])
	}
	return d
}

// explanation is a PDU being described.
type explanation struct {
	p    *Profile
	out  strings.Builder
	rest []byte // not described yet
	cut  bool   // a field was not whole

	dcs  byte // of the message
	ours bool // the message is from the ESME
	text int  // sm_length
}

// line writes one field.
func (x *explanation) line(name, format string, args ...any) {
	fmt.Fprintf(&x.out, "  %-24s %s\n", name, fmt.Sprintf(format, args...))
}

func (x *explanation) pdu(frame []byte) {
	if len(frame) < HeaderLen {
		fmt.Fprintf(&x.out, "%d octets: a PDU has at least %d\n", len(frame), HeaderLen)
		x.leftOver()
		return
	}
	h := ParseHeader(frame)
	fmt.Fprintf(&x.out, "%s, %d octets\n", CommandName(h.ID), len(frame))
	switch {
	case int64(h.Length) == int64(len(frame)):
		x.line("command_length", "%d", h.Length)
	case int64(h.Length) > int64(len(frame)):
		x.line("command_length", "%d: %d octets are missing", h.Length, int64(h.Length)-int64(len(frame)))
	default:
		x.line("command_length", "%d: %d octets are too many", h.Length, int64(len(frame))-int64(h.Length))
	}
	x.line("command_id", "0x%08x %s", uint32(h.ID), CommandName(h.ID))
	x.line("command_status", "%s", statusText(h.Status))
	x.line("sequence_number", "0x%08x (%d)", h.Sequence, h.Sequence)

	var m Message
	_ = Decode(frame, &m) // as far as it goes
	x.dcs, x.ours = m.DataCoding, x.p.outbound(&m)
	x.rest = frame[HeaderLen:]
	fields := bodies[h.ID]
	for at, f := range fields {
		if len(x.rest) == 0 && (h.ID&responseBit != 0 || f.kind == tlvField) {
			break // a response may have no body
		}
		if x.field(f); x.cut {
			x.line(f.name, "is cut off")
			if i := slices.IndexFunc(fields, func(f field) bool { return f.kind == secretField }); at <= i {
				x.rest = nil // it may be in there
			}
			break
		}
	}
	x.leftOver()
	if v := verdict(frame, x.p); v != "" {
		fmt.Fprintf(&x.out, "profile %s: %s\n", x.p.Name, v)
	}
}

func (x *explanation) leftOver() {
	if len(x.rest) > 0 {
		x.line("left over", "%d octets: %x", len(x.rest), x.rest[:min(len(x.rest), 64)])
	}
}

// fieldKind is how a field is written and explained.
type fieldKind uint8

const (
	stringField fieldKind = iota // a C-octet string
	secretField                  // likewise, not to be shown
	octetField
	tonField
	npiField
	esmField
	dcsField
	versionField
	lengthField // sm_length
	textField   // short_message
	tlvField    // all optional parameters
)

type field struct {
	name string
	kind fieldKind
}

// bodies are the fields of PDUs behind their header (SMPP 3.4 §4).
var bodies = map[pdu.ID][]field{
	pdu.BindTransceiverID: bindFields, pdu.BindReceiverID: bindFields, pdu.BindTransmitterID: bindFields,
	pdu.BindTransceiverRespID: bindRespFields, pdu.BindReceiverRespID: bindRespFields, pdu.BindTransmitterRespID: bindRespFields,
	pdu.OutbindID:  {{"system_id", stringField}, {"password", secretField}},
	pdu.SubmitSMID: messageFields, pdu.DeliverSMID: messageFields,
	pdu.DataSMID: {
		{"service_type", stringField},
		{"source_addr_ton", tonField}, {"source_addr_npi", npiField}, {"source_addr", stringField},
		{"dest_addr_ton", tonField}, {"dest_addr_npi", npiField}, {"destination_addr", stringField},
		{"esm_class", esmField}, {"registered_delivery", octetField}, {"data_coding", dcsField}, {"", tlvField},
	},
	pdu.SubmitSMRespID: responseFields, pdu.DeliverSMRespID: responseFields, pdu.DataSMRespID: responseFields,
	pdu.UnbindRespID: {{"", tlvField}}, pdu.EnquireLinkRespID: {{"", tlvField}}, pdu.GenericNACKID: {{"", tlvField}},
	pdu.AlertNotificationID: {
		{"source_addr_ton", tonField}, {"source_addr_npi", npiField}, {"source_addr", stringField},
		{"esme_addr_ton", tonField}, {"esme_addr_npi", npiField}, {"esme_addr", stringField}, {"", tlvField},
	},
}

var (
	bindFields = []field{
		{"system_id", stringField}, {"password", secretField}, {"system_type", stringField}, {"interface_version", versionField},
		{"addr_ton", tonField}, {"addr_npi", npiField}, {"address_range", stringField}, {"", tlvField},
	}
	bindRespFields = []field{{"system_id", stringField}, {"", tlvField}}
	responseFields = []field{{"message_id", stringField}, {"", tlvField}}
	messageFields  = []field{
		{"service_type", stringField},
		{"source_addr_ton", tonField}, {"source_addr_npi", npiField}, {"source_addr", stringField},
		{"dest_addr_ton", tonField}, {"dest_addr_npi", npiField}, {"destination_addr", stringField},
		{"esm_class", esmField}, {"protocol_id", octetField}, {"priority_flag", octetField},
		{"schedule_delivery_time", stringField}, {"validity_period", stringField},
		{"registered_delivery", octetField}, {"replace_if_present_flag", octetField},
		{"data_coding", dcsField}, {"sm_default_msg_id", octetField},
		{"sm_length", lengthField}, {"short_message", textField}, {"", tlvField},
	}
)

// field describes one field and takes it off x.rest; x.cut is set if it is not
// whole.
func (x *explanation) field(f field) {
	switch f.kind {
	case stringField, secretField:
		s, rest, ok := cutString(x.rest)
		if x.cut = !ok; x.cut {
			return
		}
		x.rest = rest
		if f.kind == secretField {
			s = []byte("***")
		}
		x.line(f.name, "%q", s)
	case textField:
		n := min(x.text, len(x.rest))
		if n > 0 {
			x.line(f.name, "%s", x.decoded(x.rest[:n]))
		}
		x.rest = x.rest[n:]
		x.cut = n < x.text
	case tlvField:
		x.tlvs()
	default:
		if x.cut = len(x.rest) == 0; x.cut {
			return
		}
		b := x.rest[0]
		x.rest = x.rest[1:]
		x.line(f.name, "%s", x.octet(f.kind, b))
	}
}

func (x *explanation) octet(kind fieldKind, b byte) string {
	switch kind {
	case tonField:
		if int(b) < len(tonNames) {
			return fmt.Sprintf("%d %s", b, tonNames[b])
		}
	case npiField:
		return fmt.Sprintf("%d %s", b, npiName(b))
	case esmField:
		return hexAndDecimal(b) + esmText(b)
	case dcsField:
		alphabet := x.alphabet()
		return hexAndDecimal(b) + dcsText(b) + "; read as " + alphabet.String()
	case versionField:
		return fmt.Sprintf("0x%02x SMPP %d.%d", b, b>>4, b&0x0F)
	case lengthField:
		x.text = int(b)
		return fmt.Sprintf("%d", b)
	}
	return hexAndDecimal(b)
}

// alphabet returns the alphabet that the message's text is in.
func (x *explanation) alphabet() Alphabet {
	if dcs, ok := x.p.DCS[x.p.Text.Alphabet]; x.ours && ok && dcs == x.dcs {
		return x.p.Text.Alphabet
	}
	return x.p.alphabet(x.dcs)
}

func (x *explanation) decoded(b []byte) string {
	return fmt.Sprintf("%q (%x)", x.alphabet().Decode(b), b)
}

func (x *explanation) tlvs() {
	for v := range TLVs(x.rest).All() {
		x.line(fmt.Sprintf("tlv 0x%04x", uint16(v.Tag)), "%s: %s", tagName(v.Tag), x.tlv(v))
	}
	whole := len(TLVs(x.rest).whole())
	x.rest = x.rest[whole:]
	if len(x.rest) > 0 {
		x.line("tlv", "is cut off")
	}
}

// tlv explains an optional parameter's value.
func (x *explanation) tlv(v TLV) string {
	s := &x.p.Session
	switch {
	case v.Tag == x.p.OpTag && x.p.OpTag != 0 && len(v.Value) == 1, v.Tag == pdutlv.TagUssdServiceOp && len(v.Value) == 1:
		return OpCode(v.Value[0]).describe()
	case v.Tag == s.Tag && s.Tag != 0 && !s.Text && len(v.Value) == s.Length:
		return s.describe(v.Value)
	case v.Tag == pdutlv.TagItsSessionInfo && len(v.Value) == 2:
		return fmt.Sprintf("%x: session %d, sequence %d, end %d", v.Value, v.Value[0], v.Value[1]>>1, v.Value[1]&1)
	case v.Tag == tagMessagePayload:
		return x.decoded(v.Value)
	case v.Tag == tagInterfaceVersion && len(v.Value) == 1:
		return x.octet(versionField, v.Value[0])
	case len(v.Value) == 0:
		return "empty"
	}
	text := strings.TrimSuffix(string(v.Value), "\x00")
	if text != "" && printable([]byte(text)) {
		return fmt.Sprintf("%x %q", v.Value, text)
	}
	return fmt.Sprintf("%x", v.Value)
}

// describe explains a session word bit by bit.
func (s *SessionTLV) describe(value []byte) string {
	var word uint64
	for _, octet := range value {
		word = word<<8 | uint64(octet)
	}
	text := fmt.Sprintf("%x: dialogue %s", value, s.appendID(nil, word))
	if rest := s.rest(); rest != 0 {
		text += fmt.Sprintf(", sequence %d", word&rest/(rest&-rest))
	}
	if s.End != 0 {
		end := 0
		if word&s.End != 0 {
			end = 1
		}
		text += fmt.Sprintf(", end %d", end)
	}
	return text
}

// outbound reports whether a message is from the ESME. A data_sm says so by its
// operation only.
func (p *Profile) outbound(m *Message) bool {
	if m.ID != pdu.DataSMID {
		return m.ID == pdu.SubmitSMID || m.ID == pdu.DeliverSMRespID
	}
	op, err := p.operation(m)
	if _, in := p.Ops[op]; err != nil || in || op == NoOp {
		return false
	}
	return op == p.MenuOp || op == p.EndOp || op == p.OnceOp || op == p.PushAsk || op == p.PushTell || op == p.PushEnd
}

// verdict says what the profile makes of a PDU; empty if that is nothing.
func verdict(frame []byte, p *Profile) string {
	h := ParseHeader(frame)
	switch h.ID {
	case pdu.SubmitSMRespID, pdu.DataSMRespID:
		return p.answerVerdict(frame)
	case pdu.SubmitSMID, pdu.DeliverSMID, pdu.DataSMID:
	default:
		return ""
	}
	var m Message
	if err := Decode(frame, &m); err != nil {
		return "cannot be read: " + err.Error()
	}
	if p.outbound(&m) {
		return p.replyVerdict(&m)
	}
	if m.ESMClass&receiptBits != 0 {
		r, ok := p.readReceipt(&m)
		if !ok {
			return "a receipt or an acknowledgement that says nothing of a short message: ignored"
		}
		return fmt.Sprintf("receipt of the short message %s to %s: %s", cmp.Or(r.ID, "without a name"), cmp.Or(r.MSISDN, "nobody"), r.State)
	}
	e, err := p.read(&m)
	switch {
	case err != nil:
		return "refused: " + err.Error()
	case e == nil:
		return "acknowledged and ignored"
	}
	who := "a dialogue"
	if e.Dialogue.ID != "" {
		who = "dialogue " + e.Dialogue.ID
	}
	who += " of " + cmp.Or(e.Dialogue.MSISDN, "a subscriber that only the id tells")
	switch {
	case e.Op == Begin && e.wire.once:
		return fmt.Sprintf("begin of %s, to be answered once: service %s, dialled %q", who, e.Code, e.Text)
	case e.Op == Begin:
		return fmt.Sprintf("begin of %s: service %s, dialled %q", who, e.Code, e.Text)
	case e.Op == Release:
		return "release of " + who
	case e.wire.last:
		return fmt.Sprintf("last input to %s: %q", who, e.Text)
	}
	return fmt.Sprintf("input to %s: %q", who, e.Text)
}

// answerVerdict explains the response to a reply.
func (p *Profile) answerVerdict(frame []byte) string {
	var m Message
	_ = Decode(frame, &m) // a response always can be
	if m.Status != 0 {
		return "the reply is refused: " + p.Statuses[m.Status].String()
	}
	var e Event
	if p.opened(&m, &e); e.Dialogue.ID != "" {
		return "the reply is accepted, and the dialogue is " + e.Dialogue.ID
	}
	return "the reply is accepted"
}

// replyVerdict explains a message from the ESME.
func (p *Profile) replyVerdict(m *Message) string {
	op, err := p.operation(m)
	if err != nil {
		return "not a reply of this profile: " + err.Error()
	}
	if op == NoOp && m.ID == pdu.SubmitSMID && m.RegisteredDelivery != 0 {
		in := smsTexts[0]
		if m.DataCoding == smsTexts[1].coding {
			in = smsTexts[1]
		}
		return fmt.Sprintf("short message from %s to %s: %q", m.Source.Digits, m.Dest.Digits, in.text.Alphabet.Decode(m.Payload()))
	}
	x := explanation{p: p, dcs: m.DataCoding, ours: true}
	text := x.alphabet().Decode(m.Payload())
	v, hasSession := m.TLVs.Get(p.Session.Tag)
	end := false
	if s := &p.Session; hasSession && !s.Text && len(v) == s.Length && p.EndBit {
		for i, octet := range v {
			end = end || uint64(octet)<<(8*(s.Length-1-i))&s.End != 0
		}
	}
	hasSession = hasSession && p.Session.Tag != 0
	byOp := op != NoOp && (op == p.EndOp || op == p.OnceOp || op == p.PushEnd)
	switch {
	case op == p.PushTell && op != NoOp && !hasSession && p.Session.Tag != 0:
		return fmt.Sprintf("tells %q", text)
	case op == p.PushAsk && op != NoOp && op != p.MenuOp, op == p.PushAsk && op != NoOp && !hasSession && p.Session.Tag != 0:
		return fmt.Sprintf("begins a dialogue with %q", text)
	case byOp && p.EndBit && !end && hasSession:
		return fmt.Sprintf("shows %q; its operation ends the dialogue, but the end bit is not set", text)
	case !byOp && end && p.EndOp != NoOp:
		return fmt.Sprintf("shows %q; the end bit is set, but the operation does not end the dialogue", text)
	case byOp || end:
		return fmt.Sprintf("shows %q and ends the dialogue", text)
	case op == p.MenuOp:
		return fmt.Sprintf("shows %q and waits for an answer", text)
	}
	return "not a reply of this profile: operation " + op.describe()
}

func statusText(s pdu.Status) string {
	switch {
	case s == 0:
		return "0x00000000 ok"
	case s >= 0x400 && s <= 0x4FF:
		return fmt.Sprintf("0x%08x (%d) the vendor's own", uint32(s), uint32(s))
	}
	return fmt.Sprintf("0x%08x (%d) %s", uint32(s), uint32(s), s.Error())
}

// esmText explains an esm_class (SMPP 3.4 §5.2.12).
func esmText(b byte) string {
	var parts []string
	modes := [4]string{"default mode", "datagram mode", "forward mode", "store and forward mode"}
	parts = append(parts, modes[b&3])
	if t := b & receiptBits >> 2; t != 0 {
		types := map[byte]string{1: "delivery receipt", 2: "delivery acknowledgement", 4: "manual acknowledgement", 6: "conversation abort", 8: "intermediate notification"}
		parts = append(parts, cmp.Or(types[t], "reserved type"))
	}
	if b&0x40 != 0 {
		parts = append(parts, "user data header")
	}
	if b&0x80 != 0 {
		parts = append(parts, "reply path")
	}
	return " " + strings.Join(parts, ", ")
}

// dcsText names a data_coding (SMPP 3.4 §5.2.19, and 3GPP TS 23.038 §5 for what
// leaks from there).
func dcsText(b byte) string {
	texts := map[byte]string{
		0x00: "SMSC default alphabet", 0x01: "IA5/ASCII", 0x02: "8-bit", 0x03: "Latin-1", 0x04: "8-bit", 0x08: "UCS-2",
		0x0F: "of a cell broadcast: GSM, no language", 0x11: "of a cell broadcast: UCS-2 behind a language code",
		0x40: "of a cell broadcast: GSM", 0x44: "of a cell broadcast: 8-bit", 0x48: "of a cell broadcast: UCS-2",
	}
	if t := texts[b]; t != "" {
		return " " + t
	}
	return ""
}

// tonNames are the types of number (SMPP 3.4 §5.2.5).
var tonNames = names{"unknown", "international", "national", "network specific", "subscriber number", "alphanumeric", "abbreviated"}

// maxNPI is the highest numbering plan of SMPP 3.4 §5.2.6.
const maxNPI = 18

func npiName(b byte) string {
	plans := map[byte]string{
		0: "unknown", 1: "E.164", 3: "X.121", 4: "telex", 6: "E.212", 8: "national", 9: "private", 10: "ERMES", 14: "internet", 18: "WAP",
	}
	return cmp.Or(plans[b], "reserved")
}

// tags are the optional parameters of SMPP 3.4 §5.3.2 and some of SMPP 5.0.
var tags = []struct {
	tag  pdutlv.Tag
	name string
}{
	{0x0005, "dest_addr_subunit"}, {0x0006, "dest_network_type"}, {0x0007, "dest_bearer_type"}, {0x0008, "dest_telematics_id"},
	{0x000D, "source_addr_subunit"}, {0x000E, "source_network_type"}, {0x000F, "source_bearer_type"}, {0x0010, "source_telematics_id"},
	{0x0017, "qos_time_to_live"}, {0x0019, "payload_type"}, {0x001D, "additional_status_info_text"}, {0x001E, "receipted_message_id"},
	{0x0030, "ms_msg_wait_facilities"}, {0x0201, "privacy_indicator"}, {0x0202, "source_subaddress"}, {0x0203, "dest_subaddress"},
	{0x0204, "user_message_reference"}, {0x0205, "user_response_code"}, {0x020A, "source_port"}, {0x020B, "destination_port"},
	{0x020C, "sar_msg_ref_num"}, {0x020D, "language_indicator"}, {0x020E, "sar_total_segments"}, {0x020F, "sar_segment_seqnum"},
	{0x0210, "sc_interface_version"}, {0x0302, "callback_num_pres_ind"}, {0x0303, "callback_num_atag"}, {0x0304, "number_of_messages"},
	{0x0381, "callback_num"}, {0x0420, "dpf_result"}, {0x0421, "set_dpf"}, {0x0422, "ms_availability_status"}, {0x0423, "network_error_code"},
	{0x0424, "message_payload"}, {0x0425, "delivery_failure_reason"}, {0x0426, "more_messages_to_send"}, {0x0427, "message_state"},
	{0x0428, "congestion_state"}, {0x0501, "ussd_service_op"}, {0x1201, "display_time"}, {0x1203, "sms_signal"}, {0x1204, "ms_validity"},
	{0x130C, "alert_on_message_delivery"}, {0x1380, "its_reply_type"}, {0x1383, "its_session_info"},
}

// tagName returns a parameter's name as the specification writes it.
func tagName(t pdutlv.Tag) string {
	for _, known := range tags {
		if known.tag == t {
			return known.name
		}
	}
	if t >= 0x1400 && t <= 0x3FFF {
		return "the vendor's own"
	}
	return "unknown"
}
