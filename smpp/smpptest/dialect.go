package smpptest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
)

// request is the command that carries what subscribers do.
func (d *dialect) request() pdu.ID {
	if d.data {
		return pdu.DataSMID
	}
	return pdu.DeliverSMID
}

// submit is the command that carries what ESMEs say.
func (d *dialect) submit() pdu.ID {
	if d.data {
		return pdu.DataSMID
	}
	return pdu.SubmitSMID
}

// code writes a service code as the dialect has it.
func (d *dialect) code(service string) []byte {
	if d.bare {
		service = strings.Trim(service, "*#")
	}
	return []byte(service)
}

// message writes what the subscriber of g did, or what the network did to it.
// The sequence number is left to the connection.
func (d *dialect) message(g *dialogue, a act, coding byte, text []byte) *smpp.Message {
	s := d.in[a]
	m := &smpp.Message{
		Header:       smpp.Header{ID: d.request()},
		ServiceType:  []byte(d.serviceType),
		ESMClass:     d.esmClass,
		DataCoding:   coding,
		ShortMessage: text,
	}
	if d.letters {
		m.ServiceType = []byte(s.letters)
	}
	if begins := a == actBegin || a == actBeginOnce; begins || d.addressing != anonymized {
		m.Source = smpp.Address{TON: d.subscriber.ton, NPI: d.subscriber.npi, Digits: []byte(g.msisdn)}
	}
	if d.addressing != anonymized {
		m.Dest = smpp.Address{TON: d.service.ton, NPI: d.service.npi, Digits: d.code(g.service)}
	}
	if d.data {
		moveText(m)
	}
	session := d.session.write(g.id, g.counter, s.end)
	if d.idFirst {
		m.TLVs = d.session.append(m.TLVs, session)
	}
	if !d.letters {
		m.TLVs = m.TLVs.Append(pdutlv.TagUssdServiceOp, s.op)
	}
	if !d.idFirst {
		m.TLVs = d.session.append(m.TLVs, session)
	}
	for _, tlv := range d.extra {
		m.TLVs = m.TLVs.Append(tlv.Tag, tlv.Value...)
	}
	return m
}

// moveText puts the text where data_sm has it, and where other messages may
// have it. SMPP 3.4 §5.3.2.32.
func moveText(m *smpp.Message) {
	if len(m.ShortMessage) > 0 {
		m.TLVs = append(smpp.TLVs(nil).Append(pdutlv.TagMessagePayload, m.ShortMessage...), m.TLVs...)
		m.ShortMessage = nil
	}
}

// append adds the session to a list of TLVs, if the dialect has one.
func (s *sessionTLV) append(tlvs smpp.TLVs, value []byte) smpp.TLVs {
	if s.tag == 0 {
		return tlvs
	}
	return tlvs.Append(s.tag, value...)
}

// write is the value of the session's TLV.
func (s *sessionTLV) write(id, counter uint32, end bool) []byte {
	if s.text {
		return fmt.Appendf(nil, "%0*X\x00", s.length-1, id)
	}
	word := id<<bits.TrailingZeros32(s.id)&s.id | counter<<bits.TrailingZeros32(s.counter)&s.counter
	if end {
		word |= s.end
	}
	return binary.BigEndian.AppendUint32(nil, word)[4-s.length:]
}

// read takes the value of a session's TLV, of the right length, apart.
func (s *sessionTLV) read(value []byte) (id, counter uint32, end bool, err error) {
	if s.text {
		n, err := strconv.ParseUint(strings.TrimSuffix(string(value), "\x00"), 16, 32)
		id = uint32(n)
		if err == nil && !bytes.Equal(value, s.write(id, 0, false)) {
			err = fmt.Errorf("%q is not as the gateway writes it", value)
		}
		return id, 0, false, err
	}
	word := binary.BigEndian.Uint32(append(make([]byte, 4-len(value)), value...))
	return word & s.id >> bits.TrailingZeros32(s.id), word & s.counter >> bits.TrailingZeros32(s.counter), word&s.end != 0, nil
}

// refusal is the answer to a submit_sm that can't be carried out, with the
// reason for people.
type refusal struct {
	status  pdu.Status
	reason  string
	excused bool // it is no mistake of the ESME's
}

// refuse is a refusal of something that an ESME must not do.
func refuse(status pdu.Status, format string, args ...any) *refusal {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...)}
}

// excuse is a refusal of something that the ESME could not know better.
func excuse(status pdu.Status, format string, args ...any) *refusal {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...), excused: true}
}

// reply is what a submit_sm asks the gateway to do.
type reply struct {
	msisdn  string // empty in a dialect where a number stands for it
	service string // likewise; as the dialect writes it
	known   bool   // the reply says which dialogue it belongs to
	id      uint32
	counter uint32
	signal  signal
}

// read reads a submit_sm, but for its text, as strictly as a gateway may.
func (d *dialect) read(m *smpp.Message) (reply, *refusal) {
	r := reply{msisdn: string(m.Dest.Digits), service: string(m.Source.Digits)}
	if m.ID != d.submit() {
		return r, refuse(statusInvalidCommand, "%s is not what this gateway takes, but %s", smpp.CommandName(m.ID), smpp.CommandName(d.submit()))
	}
	if !d.letters && string(m.ServiceType) != d.serviceType {
		return r, refuse(statusInvalidService, "service_type is %q, not %q", m.ServiceType, d.serviceType)
	}
	if m.ESMClass != d.esmClass {
		return r, refuse(statusInvalidESMClass, "esm_class is 0x%02x, not 0x%02x", m.ESMClass, d.esmClass)
	}
	for _, step := range []func(*smpp.Message, *reply) *refusal{d.readOp, d.readSession, d.readSignal, d.readExtra, d.readAddresses} {
		if refused := step(m, &r); refused != nil {
			return r, refused
		}
	}
	return r, nil
}

func (d *dialect) readOp(m *smpp.Message, r *reply) *refusal {
	if d.letters {
		r.signal.letters = string(m.ServiceType)
		return nil
	}
	op, refused := oneTLV(m, pdutlv.TagUssdServiceOp, "ussd_service_op", 1)
	if refused == nil {
		r.signal.op = op[0]
	}
	return refused
}

func (d *dialect) readSession(m *smpp.Message, r *reply) *refusal {
	if d.session.tag == 0 {
		return nil
	}
	if _, there := m.TLVs.Get(d.session.tag); !there && d.out[opening] != nil {
		return nil
	}
	value, refused := oneTLV(m, d.session.tag, "the session parameter 0x"+d.session.tag.Hex(), d.session.length)
	if refused != nil {
		return refused
	}
	var err error
	if r.id, r.counter, r.signal.end, err = d.session.read(value); err != nil {
		return refuse(statusInvalidTLVValue, "the session parameter 0x%s: %v", d.session.tag.Hex(), err)
	}
	r.known = true
	return nil
}

func (d *dialect) readSignal(_ *smpp.Message, r *reply) *refusal {
	switch {
	case d.knows(r.signal):
		return nil
	case d.letters:
		return refuse(statusInvalidService, "service_type %q is not one that an ESME sends", r.signal.letters)
	case d.session.end != 0 && r.known:
		return refuse(statusInvalidTLVValue, "ussd_service_op 0x%02x with an E bit that is %t is not one that an ESME sends", r.signal.op, r.signal.end)
	}
	return refuse(statusInvalidTLVValue, "ussd_service_op 0x%02x is not one that an ESME sends", r.signal.op)
}

func (d *dialect) readExtra(m *smpp.Message, _ *reply) *refusal {
	if len(d.extra) == 0 {
		return nil
	}
	must := d.extra[0]
	value, refused := oneTLV(m, must.Tag, "the parameter 0x"+must.Tag.Hex(), len(must.Value))
	if refused == nil && !bytes.Equal(value, must.Value) {
		refused = refuse(statusInvalidTLVValue, "the parameter 0x%s is %x, not %x", must.Tag.Hex(), value, must.Value)
	}
	return refused
}

func (d *dialect) readAddresses(m *smpp.Message, r *reply) *refusal {
	if len(m.Source.Digits) > 0 && (d.addressing == destOnly || d.addressing == anonymized && r.known) {
		return refuse(statusInvalidSource, "source_addr is %q, not NULL", m.Source.Digits)
	}
	if d.addressing == anonymized && r.known {
		if len(m.Dest.Digits) > 0 {
			return refuse(statusInvalidDest, "destination_addr is not NULL")
		}
		return nil
	}
	to := numbering{m.Dest.TON, m.Dest.NPI}
	if slices.Contains(d.replyTo, to) {
		return nil
	}
	if !slices.ContainsFunc(d.replyTo, func(n numbering) bool { return n.ton == to.ton }) {
		return refuse(statusInvalidDestTON, "dest_addr_ton is %d, not %d", to.ton, d.replyTo[0].ton)
	}
	return refuse(statusInvalidDestNPI, "dest_addr_npi is %d, not %d", to.npi, d.replyTo[0].npi)
}

// oneTLV returns the value of a parameter that a message must have, n octets
// long.
func oneTLV(m *smpp.Message, tag pdutlv.Tag, name string, n int) ([]byte, *refusal) {
	value, ok := m.TLVs.Get(tag)
	if !ok {
		return nil, refuse(statusMissingTLV, "%s is missing", name)
	}
	if len(value) != n {
		return nil, refuse(statusInvalidTLVLength, "%s has %d octets, not %d", name, len(value), n)
	}
	return value, nil
}

// readText reads the text of a submit_sm in a dialogue of the given kind.
func (d *dialect) readText(m *smpp.Message, k kind) (Screen, *refusal) {
	octets := m.ShortMessage
	if payload, ok := m.TLVs.Get(pdutlv.TagMessagePayload); ok {
		if len(octets) > 0 {
			return Screen{}, refuse(statusInvalidTLVValue, "both short_message and message_payload hold a text")
		}
		octets = payload
	}
	if len(octets) == 0 {
		return Screen{}, refuse(statusInvalidLength, "the text is empty")
	}
	coding, ok := findCoding(d.codings, m.DataCoding)
	if !ok {
		return Screen{}, refuse(statusSubmitFailed, "data_coding 0x%02x is not one that this gateway reads", m.DataCoding)
	}
	screen, limit := coding.show(octets), coding.limit()
	if k == phase1 && d.phase1Max > 0 {
		limit = d.phase1Max
	}
	if screen.Units > limit {
		return Screen{}, refuse(statusTextTooLong, "the text has %d units, a USSD string of its alphabet holds %d", screen.Units, limit)
	}
	return screen, nil
}
