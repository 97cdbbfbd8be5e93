package smpp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// This file is where a Profile's data meets the wire: read makes an Event of a
// Message, and encode makes the PDU that answers it.

// wire is what an Event keeps of its PDU to be answered.
type wire struct {
	ends    ends
	session uint64 // the session word, if hasSession; a session that is a text is the dialogue's id

	hasSession bool
	once       bool // a PSSD: whatever the reply is, it is the last
	last       bool // nobody to reply to
	pushed     bool // in a dialogue that we began
	opening    bool // made by Open, for the reply that begins such a dialogue
}

// ends are the subscriber's and the service's address as the SMSC writes them.
type ends struct {
	digits string // of both, the subscriber's first
	split  uint8  // length of the subscriber's

	subscriberTON, subscriberNPI byte
	serviceTON, serviceNPI       byte
}

// maxText is the longest text in octets that is taken from a subscriber. A USSD
// string has 160, UTF-8 of its characters at most three times as many.
const maxText = 512

// read makes an event of a deliver_sm or data_sm; it is nil for one that is only
// to be acknowledged. The event's link and Dialogue.SMSC are left to the caller.
// The error is a *MalformedError.
func (p *Profile) read(m *Message) (*Event, error) {
	if p.foreign(m) {
		return nil, nil
	}
	code, err := p.operation(m)
	if err != nil {
		return nil, err
	}
	payload := m.Payload()
	switch {
	case len(m.Source.Digits) > maxAddress:
		return nil, m.malformed(statusInvalidSource, "source_addr", "is over the limit")
	case len(m.Dest.Digits) > maxAddress:
		return nil, m.malformed(statusInvalidDest, "destination_addr", "is over the limit")
	case !printable(m.Dest.Digits):
		return nil, m.malformed(statusInvalidDest, "destination_addr", "is not an address")
	case len(payload) > maxText:
		return nil, m.malformed(statusInvalidMessageLength, "short_message", "is longer than a USSD string")
	}

	// All the event's strings are parts of one.
	var room [256]byte
	b := append(room[:0], m.Source.Digits...)
	b = append(b, m.Dest.Digits...)
	both := span{0, len(b)}
	source, dest := span{0, len(m.Source.Digits)}, span{len(m.Source.Digits), len(b)}
	w := wire{ends: ends{
		split:         uint8(source.to),
		subscriberTON: m.Source.TON, subscriberNPI: m.Source.NPI,
		serviceTON: m.Dest.TON, serviceNPI: m.Dest.NPI,
	}}
	b, msisdn, known := p.msisdn(b, source)
	b, id, over, err := p.session(m, b, &w)
	if err != nil {
		return nil, err
	}
	if !known && (!p.AnonymousLater || !source.empty() || id.empty()) {
		return nil, m.malformed(statusInvalidSource, "source_addr", "is not a number")
	}

	text := span{from: len(b)}
	b = p.alphabet(m.DataCoding).decode(b, payload)
	text.to = len(b)
	text = p.trim(b, text)
	meaning := p.meaning(code, b[text.from:text.to])
	if over {
		meaning = MeansRelease
	}

	e := &Event{Op: meaning.op(), wire: w}
	var service span
	switch meaning {
	case MeansReject:
		return nil, m.malformed(statusInvalidTLVValue, "operation", "is not one of the profile's")
	case MeansIgnore:
		return nil, nil
	case MeansBegin, MeansOnce:
		if !known {
			return nil, m.malformed(statusInvalidSource, "source_addr", "is not a number")
		}
		b, service, text = p.dialled(b, dest, text)
		e.wire.once = meaning == MeansOnce
	case MeansLast:
		e.wire.last = true
	case MeansRelease:
		text = span{} // gateways put anything there
	}
	if service.empty() && p.CodeFrom == CodeInDestination {
		b, service = appendCode(b, dest)
	}
	s := string(b)
	e.wire.ends.digits = both.of(s)
	e.Dialogue.MSISDN, e.Dialogue.ID = msisdn.of(s), id.of(s)
	e.Text, e.Code = text.of(s), service.of(s)
	if p.CodeFrom == CodeFixed {
		e.Code = p.Code
	}
	if counter := p.Session.counter(); counter != 0 && w.hasSession {
		e.Counter, e.HasCounter = uint32(w.session&counter), true
	}
	return e, nil
}

// foreign reports whether a message is not USSD by its service_type.
func (p *Profile) foreign(m *Message) bool {
	return p.OnlyServiceType != "" && string(m.ServiceType) != p.OnlyServiceType
}

// span is a part of a text that is being built.
type span struct{ from, to int }

func (s span) empty() bool          { return s.from == s.to }
func (s span) of(all string) string { return all[s.from:s.to] }

// op returns what the meaning is to those who are told.
func (m Meaning) op() Op {
	switch m {
	case MeansBegin, MeansOnce:
		return Begin
	case MeansInput, MeansLast:
		return Input
	}
	return Release
}

// operation returns the message's operation, NoOp if it has none.
func (p *Profile) operation(m *Message) (OpCode, error) {
	if p.OpTag == 0 {
		if t := m.ServiceType; len(t) == 2 && letter(t[0]) && letter(t[1]) {
			return OpCode(t[0])<<8 | OpCode(t[1]), nil
		}
		return NoOp, nil
	}
	v, ok := m.TLVs.Get(p.OpTag)
	switch {
	case !ok:
		return NoOp, nil
	case len(v) != 1:
		return NoOp, m.malformed(statusInvalidTLVLength, "operation TLV", "has the wrong length")
	}
	return OpCode(v[0]), nil
}

// meaning returns what an operation means. A message that has none is a begin if
// its text looks dialled, and else an answer.
func (p *Profile) meaning(code OpCode, text []byte) Meaning {
	if code == NoOp {
		if len(text) > 0 && (text[0] == '*' || text[0] == '#') {
			return MeansBegin
		}
		return MeansInput
	}
	if m, ok := p.Ops[code]; ok {
		return m
	}
	if code.letters() {
		if m, ok := p.Ops[code&^0xFF|anySecond]; ok {
			return m
		}
	}
	return p.OtherOp
}

// session reads the session TLV into w, and appends the dialogue's id to b. over
// is set if it says that the dialogue has ended.
func (p *Profile) session(m *Message, b []byte, w *wire) (all []byte, id span, over bool, err error) {
	s := &p.Session
	id = span{len(b), len(b)}
	if s.Tag == 0 {
		return b, id, false, nil
	}
	v, ok := m.TLVs.Get(s.Tag)
	if !ok {
		return b, id, false, nil
	}
	if s.Text {
		v = bytes.TrimSuffix(v, []byte{0})
		switch {
		case len(v) > maxMessageID:
			return b, id, false, m.malformed(statusInvalidTLVLength, "session TLV", "is over the limit")
		case !printable(v):
			return b, id, false, m.malformed(statusInvalidTLVValue, "session TLV", "is not a text")
		}
		w.hasSession = len(v) > 0
		b = append(b, v...)
		id.to = len(b)
		return b, id, false, nil
	}
	if len(v) != s.Length {
		return b, id, false, m.malformed(statusInvalidTLVLength, "session TLV", "has the wrong length")
	}
	for _, octet := range v {
		w.session = w.session<<8 | uint64(octet)
	}
	w.hasSession = true
	if !p.NoID {
		b = s.appendID(b, w.session)
	}
	id.to = len(b)
	return b, id, p.ReleaseBit && w.session&s.End != 0, nil
}

// appendID appends the identifying bits of a session word in hexadecimal.
func (s *SessionTLV) appendID(b []byte, word uint64) []byte {
	var v [8]byte
	binary.BigEndian.PutUint64(v[:], word&s.ID)
	return hex.AppendEncode(b, v[8-s.Length:])
}

// trim takes off what is not the subscriber's: CRs at the end, which are padding
// of packed GSM, and an @ where the profile says that a gateway reads padding so.
func (p *Profile) trim(b []byte, text span) span {
	cr := func() {
		for !text.empty() && b[text.to-1] == carriageReturn {
			text.to--
		}
	}
	cr()
	if p.StripAt && !text.empty() && b[text.to-1] == '@' {
		text.to--
		cr()
	}
	return text
}

// dialled returns the service code of a begin, and its dialled string as the
// subscriber typed it.
func (p *Profile) dialled(b []byte, dest, text span) (all []byte, service, whole span) {
	if p.Dialled == DialledInDestination && !dest.empty() {
		return p.codeOf(b, dest, dest)
	}
	if p.CodeFrom == CodeInDestination && !dest.empty() {
		b, service = appendCode(b, dest)
		switch {
		case text.empty():
			text = service
		case p.Strip == StripNever, b[text.from] == '#' && p.Strip == StripOnlyStar, b[text.from] == '*':
			// It is whole.
		default:
			from := len(b)
			b = append(b, b[service.from:service.to-1]...)
			b = append(b, '*')
			b = append(b, bytes.TrimSuffix(b[text.from:text.to], []byte("#"))...)
			b = append(b, '#')
			text = span{from, len(b)}
		}
		return b, service, text
	}
	if text.empty() {
		text = dest
	}
	return p.codeOf(b, text, text)
}

// codeOf takes the service code from a dialled string: what is before its second
// mark.
func (p *Profile) codeOf(b []byte, dialled, text span) (all []byte, service, whole span) {
	first := dialled
	if at := bytes.IndexAny(b[min(first.from+1, first.to):first.to], "*#"); at >= 0 {
		first.to = first.from + 1 + at
	}
	b, service = appendCode(b, first)
	return b, service, text
}

// appendCode appends a service address as the subscriber dialled it, unless it is
// written so already.
func appendCode(b []byte, address span) (all []byte, code span) {
	a := b[address.from:address.to]
	if len(a) == 0 {
		return b, span{}
	}
	star, hash := a[0] == '*' || a[0] == '#', a[len(a)-1] == '#'
	if star && hash {
		return b, address
	}
	code.from = len(b)
	if !star {
		b = append(b, '*')
	}
	b = append(b, b[address.from:address.to]...)
	if !hash {
		b = append(b, '#')
	}
	code.to = len(b)
	return b, code
}

func (p *Profile) alphabet(dcs byte) Alphabet {
	if a, ok := p.Codings[dcs]; ok {
		return a
	}
	return p.OtherDCS
}

// minMSISDN is the length of the shortest number that can be a subscriber's;
// what is shorter is a service.
const minMSISDN = 5

// msisdn returns a subscriber's number as E.164 digits, which are a part of the
// number or appended to b. The type of number is not asked: it is as often wrong
// as right.
func (p *Profile) msisdn(b []byte, number span) (all []byte, msisdn span, ok bool) {
	n := b[number.from:number.to]
	n = bytes.TrimPrefix(n, []byte("+"))
	n = bytes.TrimPrefix(n, []byte("00"))
	if len(n) < minMSISDN {
		return b, span{}, false
	}
	for _, c := range n {
		if c < '0' || c > '9' {
			return b, span{}, false
		}
	}
	msisdn = span{number.to - len(n), number.to}
	cc, national := p.CountryCode, p.NationalDigits
	skip := 0
	switch {
	case cc == "":
		return b, msisdn, true
	case len(n) == len(cc)+1+national && string(n[:len(cc)]) == cc && n[len(cc)] == '0':
		skip = len(cc) + 1
	case len(n) == 1+national && n[0] == '0':
		skip = 1
	case len(n) == national && msisdn == number && n[0] >= '7':
	default:
		return b, msisdn, true
	}
	from := len(b)
	b = append(b, cc...)
	b = append(b, b[msisdn.from+skip:msisdn.to]...)
	return b, span{from, len(b)}, true
}

// encode builds the PDU of a reply, sequence number 0. Its error is
// ErrTextTooLong or ErrNoPush.
func (p *Profile) encode(e *Event, text string, end bool) ([]byte, error) {
	w := &e.wire
	end = end || w.once
	op := p.replyOp(w, end)
	if op == NoOp {
		return nil, ErrNoPush
	}
	if text = p.Text.Fold(text); text == "" {
		text = " "
	}
	if units, _ := p.Text.Cost(text); units > p.Text.Limit() {
		return nil, fmt.Errorf("%w: %d units of %d", ErrTextTooLong, units, p.Text.Limit())
	}
	m := Message{Header: Header{ID: p.replyID()}, ESMClass: p.ESMClass, DataCoding: p.DCS[p.Text.Alphabet]}
	var textRoom [maxShortMessage]byte
	var listRoom [tlvHeaderLen + maxShortMessage + 2*tlvHeaderLen + 1 + maxMessageID + 1 + maxExtras]byte
	m.TLVs = listRoom[:0]
	if octets := p.Text.Append(textRoom[:0], text); p.DataSM {
		m.TLVs = m.TLVs.Append(tagMessagePayload, octets...)
	} else {
		m.ShortMessage = octets
	}
	var typeRoom [maxServiceType]byte
	if op.letters() {
		m.ServiceType = append(typeRoom[:0], byte(op>>8), byte(op))
	} else {
		m.ServiceType = append(typeRoom[:0], p.ServiceType...)
		m.TLVs = m.TLVs.Append(p.OpTag, byte(op))
	}
	if w.hasSession {
		n := atomic.AddUint32(&e.replies, 1)
		m.TLVs = p.Session.append(m.TLVs, e.Dialogue.ID, p.Session.next(w.session, n, end && p.EndBit))
	}
	m.TLVs = append(m.TLVs, p.Extra...)
	var digits [3 * maxAddress]byte
	m.Source, m.Dest = p.addresses(e, digits[:0])
	return Append(nil, &m)
}

// replyID returns the command that replies are.
func (p *Profile) replyID() pdu.ID {
	if p.DataSM {
		return pdu.DataSMID
	}
	return pdu.SubmitSMID
}

// replyOp returns the operation of a reply, NoOp if the profile has none for it.
func (p *Profile) replyOp(w *wire, end bool) OpCode {
	switch {
	case w.opening && end:
		return p.PushTell
	case w.opening:
		return p.PushAsk
	case w.once:
		return p.OnceOp
	case !end || p.EndOp == NoOp:
		return p.MenuOp
	case w.pushed && p.PushEnd != NoOp:
		return p.PushEnd
	}
	return p.EndOp
}

// addresses returns the addresses of a reply; their digits go behind room.
func (p *Profile) addresses(e *Event, room []byte) (source, dest Address) {
	w, x := &e.wire, &e.wire.ends
	both := w.opening || p.Addresses == AddressSwap || p.Addresses == AddressFirst && e.Op == Begin
	if !both && p.Addresses != AddressDestination {
		return source, dest
	}
	room = append(room, x.digits...)
	dest = Address{TON: x.subscriberTON, NPI: x.subscriberNPI, Digits: room[:x.split]}
	if n := p.SubscriberNumber; n.Fixed {
		dest.TON, dest.NPI = n.TON, n.NPI
		if n.TON == tonInternational && e.Dialogue.MSISDN != "" {
			room = append(room, e.Dialogue.MSISDN...)
			dest.Digits = room[len(x.digits):]
		}
	}
	if !both {
		return source, dest
	}
	source = Address{TON: x.serviceTON, NPI: x.serviceNPI, Digits: room[x.split:len(x.digits)]}
	if n := p.ServiceNumber; n.Fixed {
		source.TON, source.NPI = n.TON, n.NPI
	}
	return source, dest
}

// The type of number and the numbering plan of E.164 digits (SMPP 3.4 §5.2.5,
// §5.2.6).
const (
	tonInternational = 1
	npiE164          = 1
)

// append writes the session as a TLV: id if it is a text, else word.
func (s *SessionTLV) append(t TLVs, id string, word uint64) TLVs {
	var room [maxMessageID + 1]byte
	if s.Text {
		return t.Append(s.Tag, append(append(room[:0], id...), 0)...)
	}
	binary.BigEndian.PutUint64(room[:8], word)
	return t.Append(s.Tag, room[8-s.Length:8]...)
}

// next returns the session word of the nth reply (from 1) to a PDU that carried
// word, with the end bit set if end is.
func (s *SessionTLV) next(word uint64, n uint32, end bool) uint64 {
	if c := s.counter(); c != 0 {
		step := c & -c
		word = word&^c | (word&c+uint64(n)*step)&c
	}
	if s.Sequence == Clear {
		word &^= s.rest()
	}
	word &^= s.End
	if end {
		word |= s.End
	}
	return word
}

// opening returns the event whose first reply begins a dialogue on a handset. Its
// link and Dialogue.SMSC are left to the caller. msisdn is E.164 digits without
// plus, code the service, "*999#".
func (p *Profile) opening(msisdn, code string) (*Event, error) {
	if ask, tell := p.CanPush(); !ask && !tell {
		return nil, ErrNoPush
	}
	if err := p.checkMSISDN(msisdn); err != nil {
		return nil, err
	}
	service := code
	switch p.Spelling {
	case CodeStar:
		service = strings.TrimSuffix(code, "#")
	case CodeBare:
		service = strings.Trim(code, "*#")
	}
	if service == "" || len(service) > maxAddress || !printable([]byte(service)) {
		return nil, fmt.Errorf("%q is not a service code", code)
	}
	return &Event{Dialogue: Dialogue{MSISDN: msisdn}, Code: code, wire: wire{
		ends: ends{
			digits: msisdn + service, split: uint8(len(msisdn)),
			subscriberTON: tonInternational, subscriberNPI: npiE164,
		},
		pushed: true, opening: true,
	}}, nil
}

// checkMSISDN says what is wrong with a number that we write to.
func (p *Profile) checkMSISDN(msisdn string) error {
	if b, full, ok := p.msisdn([]byte(msisdn), span{0, len(msisdn)}); !ok || full.of(string(b)) != msisdn || len(msisdn) > maxAddress {
		return fmt.Errorf("%s is not a subscriber's number in E.164 digits", Mask(msisdn))
	}
	return nil
}

// opened notes in e, an event that follows one of opening, the dialogue's id that
// some SMSCs give in their response to its first reply, m.
func (p *Profile) opened(m *Message, e *Event) {
	e.wire.opening = false
	w := e.wire
	var room [2 * maxMessageID]byte
	if b, id, over, err := p.session(m, room[:0], &w); err == nil && !over {
		e.wire, e.Dialogue.ID = w, string(b[id.from:id.to])
	}
}

// follow returns an event about the same dialogue that can be answered like e.
func (e *Event) follow(op Op) *Event {
	f := &Event{Op: op, Dialogue: e.Dialogue, Code: e.Code, link: e.link, bind: e.bind, wire: e.wire, replies: atomic.LoadUint32(&e.replies)}
	if e.wire.opening {
		f.Opening = e
	}
	return f
}
