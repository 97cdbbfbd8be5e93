package smpp

import (
	"bytes"
	"encoding/binary"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// Longest values of the mandatory fields in octets, without their NUL (SMPP 3.4
// §4.4.1, §4.7.1). Append enforces them, Decode does not: what arrives is
// bounded by its frame, and an operator's six-letter service_type plus one is
// no reason to lose a subscriber's input.
const (
	maxServiceType  = 5
	maxAddress      = 20
	maxDataAddress  = 64
	maxTime         = 16
	maxShortMessage = 254
	maxMessageID    = 64
)

// Decode reads one whole frame, header included, into m, whose former contents
// are lost. It allocates nothing: m's slices alias frame.
//
// Decode is tolerant where that is safe: unknown and repeated TLVs are kept, a
// truncated last TLV is dropped and flagged, responses may lack their body, and
// fields may be longer than the specification allows. Everything else that
// cannot be read is a *MalformedError; m then has its header, and no more can
// be relied on.
func Decode(frame []byte, m *Message) error {
	*m = Message{}
	if len(frame) < HeaderLen {
		return &MalformedError{Status: statusInvalidCommandLength, Field: "header", Reason: "is not whole"}
	}
	m.Header = ParseHeader(frame)
	if int64(m.Length) != int64(len(frame)) {
		return m.malformed(statusInvalidCommandLength, "command_length", "differs from the frame's length")
	}
	body := frame[HeaderLen:]
	switch m.ID {
	case pdu.SubmitSMID, pdu.DeliverSMID:
		return m.decodeShortMessage(body)
	case pdu.DataSMID:
		return m.decodeData(body)
	case pdu.SubmitSMRespID, pdu.DeliverSMRespID, pdu.DataSMRespID:
		m.decodeResponse(body)
		return nil
	}
	return m.malformed(statusInvalidCommand, "command_id", "is not a message's")
}

// decodeShortMessage reads the body of submit_sm and deliver_sm, which have the
// same layout (SMPP 3.4 §4.4.1, §4.6.1).
func (m *Message) decodeShortMessage(body []byte) error {
	b := body
	var ok bool
	if b, ok = m.decodeEnvelope(b); !ok || len(b) < 3 {
		return m.cut()
	}
	m.ESMClass, m.ProtocolID, m.Priority = b[0], b[1], b[2]
	if m.ScheduleTime, b, ok = cutString(b[3:]); !ok {
		return m.cut()
	}
	if m.Validity, b, ok = cutString(b); !ok || len(b) < 5 {
		return m.cut()
	}
	m.RegisteredDelivery, m.ReplaceIfPresent, m.DataCoding, m.DefaultMsgID = b[0], b[1], b[2], b[3]
	n := int(b[4])
	b = b[5:]
	if n > len(b) {
		return m.malformed(statusInvalidMessageLength, "sm_length", "reaches past the end of the PDU")
	}
	m.ShortMessage = b[:n:n]
	m.decodeTLVs(b[n:])
	return nil
}

// decodeData reads the body of data_sm (SMPP 3.4 §4.7.1).
func (m *Message) decodeData(body []byte) error {
	b, ok := m.decodeEnvelope(body)
	if !ok || len(b) < 3 {
		return m.cut()
	}
	m.ESMClass, m.RegisteredDelivery, m.DataCoding = b[0], b[1], b[2]
	m.decodeTLVs(b[3:])
	return nil
}

// decodeEnvelope reads what all three requests begin with: service_type and
// the two addresses.
func (m *Message) decodeEnvelope(b []byte) (rest []byte, ok bool) {
	if m.ServiceType, b, ok = cutString(b); !ok {
		return nil, false
	}
	if b, ok = m.Source.cut(b); !ok {
		return nil, false
	}
	return m.Dest.cut(b)
}

func (a *Address) cut(b []byte) (rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, false
	}
	a.TON, a.NPI = b[0], b[1]
	a.Digits, b, ok = cutString(b[2:])
	return b, ok
}

// decodeResponse reads a response's body: message_id and TLVs (SMPP 3.4 §4.4.2,
// §4.6.2, §4.7.2). It never fails, because the status in the header is what
// counts. Refusals are seen with no body, with a message_id, with a message_id
// and TLVs, and with TLVs only.
func (m *Message) decodeResponse(body []byte) {
	if len(body) == 0 {
		return
	}
	id, rest, ok := cutString(body)
	if m.Status != 0 && (!ok || !printable(id) || len(TLVs(rest).whole()) < len(rest)) {
		if len(TLVs(body).whole()) == len(body) {
			m.TLVs = TLVs(body)
			return
		}
		if !ok || !printable(id) {
			m.Truncated = true
			return
		}
	}
	if !ok {
		m.MessageID, m.Truncated = body, true
		return
	}
	m.MessageID = id
	m.decodeTLVs(rest)
}

func (m *Message) decodeTLVs(b []byte) {
	m.TLVs = TLVs(b).whole()
	m.Truncated = len(m.TLVs) < len(b)
}

func (m *Message) malformed(status pdu.Status, field, reason string) error {
	return &MalformedError{ID: m.ID, Status: status, Field: field, Reason: reason}
}

func (m *Message) cut() error {
	return m.malformed(statusInvalidCommandLength, "mandatory fields", "are cut off")
}

// cutString splits a C-octet string off b (SMPP 3.4 §3.1).
func cutString(b []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return nil, nil, false
	}
	return b[:i:i], b[i+1:], true
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// Append encodes m behind dst and returns the longer slice, like the built-in
// append; it allocates at most once. command_length is computed: m.Length is
// ignored, as is everything that the command m.ID does not have. A field that
// is longer than the specification allows, or a NUL inside a string, is a
// *MalformedError, and dst is returned as it was.
func Append(dst []byte, m *Message) ([]byte, error) {
	start := len(dst)
	if need := m.encodedLen(); cap(dst)-len(dst) < need {
		grown := make([]byte, len(dst), len(dst)+need)
		copy(grown, dst)
		dst = grown
	}
	b := appendHeader(dst, m.Header)
	var err error
	switch m.ID {
	case pdu.SubmitSMID, pdu.DeliverSMID:
		b, err = m.appendShortMessage(b)
	case pdu.DataSMID:
		b, err = m.appendData(b)
	case pdu.SubmitSMRespID, pdu.DeliverSMRespID, pdu.DataSMRespID:
		b, err = m.appendResponse(b)
	default:
		err = m.malformed(statusInvalidCommand, "command_id", "is not a message's")
	}
	if err != nil {
		return dst, err
	}
	b = append(b, m.TLVs...)
	if len(b)-start > MaxFrame {
		return dst, m.malformed(statusInvalidCommandLength, "command_length", "is over the limit")
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b, nil
}

// encodedLen returns an upper bound of the encoded length.
func (m *Message) encodedLen() int {
	const fixed = HeaderLen + 18 // all one-octet fields and terminating NULs of submit_sm
	return fixed + len(m.ServiceType) + len(m.Source.Digits) + len(m.Dest.Digits) +
		len(m.ScheduleTime) + len(m.Validity) + len(m.ShortMessage) + len(m.MessageID) + len(m.TLVs)
}

func (m *Message) appendShortMessage(b []byte) ([]byte, error) {
	b, err := m.appendEnvelope(b, maxAddress)
	if err != nil {
		return b, err
	}
	b = append(b, m.ESMClass, m.ProtocolID, m.Priority)
	if b, err = m.appendString(b, "schedule_delivery_time", m.ScheduleTime, maxTime); err != nil {
		return b, err
	}
	if b, err = m.appendString(b, "validity_period", m.Validity, maxTime); err != nil {
		return b, err
	}
	if len(m.ShortMessage) > maxShortMessage {
		return b, m.malformed(statusInvalidMessageLength, "short_message", "is over the limit")
	}
	b = append(b, m.RegisteredDelivery, m.ReplaceIfPresent, m.DataCoding, m.DefaultMsgID, byte(len(m.ShortMessage)))
	return append(b, m.ShortMessage...), nil
}

func (m *Message) appendData(b []byte) ([]byte, error) {
	b, err := m.appendEnvelope(b, maxDataAddress)
	return append(b, m.ESMClass, m.RegisteredDelivery, m.DataCoding), err
}

func (m *Message) appendResponse(b []byte) ([]byte, error) {
	if m.MessageID == nil && m.Status != 0 {
		return b, nil
	}
	return m.appendString(b, "message_id", m.MessageID, maxMessageID)
}

func (m *Message) appendEnvelope(b []byte, maxDigits int) ([]byte, error) {
	b, err := m.appendString(b, "service_type", m.ServiceType, maxServiceType)
	if err != nil {
		return b, err
	}
	b = append(b, m.Source.TON, m.Source.NPI)
	if b, err = m.appendString(b, "source_addr", m.Source.Digits, maxDigits); err != nil {
		return b, err
	}
	b = append(b, m.Dest.TON, m.Dest.NPI)
	return m.appendString(b, "destination_addr", m.Dest.Digits, maxDigits)
}

func (m *Message) appendString(b []byte, field string, s []byte, limit int) ([]byte, error) {
	if len(s) > limit {
		return b, m.malformed(statusInvalidMessageLength, field, "is over the limit")
	}
	if bytes.IndexByte(s, 0) >= 0 {
		return b, m.malformed(statusInvalidMessageLength, field, "holds a NUL")
	}
	b = append(b, s...)
	return append(b, 0), nil
}
