package smpp

import (
	"encoding/binary"
	"fmt"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// HeaderLen is the length of every PDU's header in octets (SMPP 3.4 §3.2).
const HeaderLen = 16

// MaxFrame is the longest PDU that is read or written, in octets. SMPP sets no
// limit; the longest thing that a message can carry is one 64 KiB
// message_payload, which no USSD dialogue comes near.
const MaxFrame = 64 << 10

// responseBit is set in the command_id of every response (SMPP 3.4 §5.1.2.1).
const responseBit pdu.ID = 0x80000000

// Header is the fixed part of every PDU (SMPP 3.4 §3.2).
type Header struct {
	Length   uint32     // whole PDU in octets, this header included
	ID       pdu.ID     // command_id
	Status   pdu.Status // command_status; zero in requests
	Sequence uint32     // sequence_number; the sender of a request chooses it, its response repeats it
}

// ParseHeader reads the header at the start of b, which must hold at least
// HeaderLen octets; it panics otherwise. It checks nothing.
func ParseHeader(b []byte) Header {
	_ = b[HeaderLen-1]
	return Header{
		Length:   binary.BigEndian.Uint32(b[0:]),
		ID:       pdu.ID(binary.BigEndian.Uint32(b[4:])),
		Status:   pdu.Status(binary.BigEndian.Uint32(b[8:])),
		Sequence: binary.BigEndian.Uint32(b[12:]),
	}
}

func appendHeader(dst []byte, h Header) []byte {
	dst = binary.BigEndian.AppendUint32(dst, h.Length)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.ID))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Status))
	return binary.BigEndian.AppendUint32(dst, h.Sequence)
}

// setSequence writes the sequence_number into an encoded PDU.
func setSequence(frame []byte, sequence uint32) {
	binary.BigEndian.PutUint32(frame[12:], sequence)
}

// Address is a source or destination address (SMPP 3.4 §5.2.5 to §5.2.9).
type Address struct {
	TON    uint8  // type of number: 0 unknown, 1 international, 2 national
	NPI    uint8  // numbering plan: 0 unknown, 1 E.164
	Digits []byte // without the terminating NUL; may hold `*` and `#`
}

// Message is one message PDU: submit_sm, deliver_sm, data_sm or one of their
// responses; Header.ID says which. Fields that the PDU at hand does not have
// are zero after Decode and ignored by Append.
//
// After Decode every byte slice aliases the decoded frame: it is valid as long
// as the frame is left alone, and must be copied to be kept.
type Message struct {
	Header

	ServiceType        []byte // SMPP 3.4 §5.2.11
	Source, Dest       Address
	ESMClass           byte // SMPP 3.4 §5.2.12
	ProtocolID         byte // not in data_sm
	Priority           byte // not in data_sm
	ScheduleTime       []byte
	Validity           []byte
	RegisteredDelivery byte
	ReplaceIfPresent   byte
	DataCoding         byte // SMPP 3.4 §5.2.19
	DefaultMsgID       byte
	ShortMessage       []byte // at most 254 octets; data_sm has none and uses message_payload

	// MessageID is a response's message_id. Nil in a response that has none;
	// Append leaves the message_id out only if it is nil and Status is not
	// zero, because a successful response must have one, if only empty.
	MessageID []byte

	// TLVs are the optional parameters behind the mandatory ones.
	TLVs TLVs

	// Truncated is set by Decode if the frame ended inside its last TLV, which
	// then is not in TLVs, or inside a response's message_id. Append ignores it.
	Truncated bool
}

// Payload returns the message's text octets: message_payload if the message
// carries one, else short_message (SMPP 3.4 §5.3.2.32).
func (m *Message) Payload() []byte {
	if len(m.ShortMessage) == 0 {
		if p, ok := m.TLVs.Get(tagMessagePayload); ok {
			return p
		}
	}
	return m.ShortMessage
}

// MalformedError says that the body of a whole frame cannot be read, or that a
// Message cannot be encoded. Framing is not lost: the PDU can be answered with
// Status and the connection goes on.
type MalformedError struct {
	ID     pdu.ID     // command_id of the PDU
	Status pdu.Status // command_status that answers it
	Field  string     // the field at fault, by its name in the specification
	Reason string     // what is wrong with it
}

// Error implements error.
func (e *MalformedError) Error() string {
	return fmt.Sprintf("%s: %s %s", CommandName(e.ID), e.Field, e.Reason)
}

// Statuses that answer a PDU (SMPP 3.4 §5.1.3).
const (
	statusInvalidMessageLength pdu.Status = 0x01
	statusInvalidCommandLength pdu.Status = 0x02
	statusInvalidCommand       pdu.Status = 0x03
	statusInvalidBindState     pdu.Status = 0x04
	statusInvalidSource        pdu.Status = 0x0A
	statusInvalidDest          pdu.Status = 0x0B
	statusQueueFull            pdu.Status = 0x14
	statusThrottled            pdu.Status = 0x58
	statusTemporaryAppError    pdu.Status = 0x64
	statusInvalidTLVLength     pdu.Status = 0xC2
	statusInvalidTLVValue      pdu.Status = 0xC4
)

// commands lists the commands of SMPP 3.4 by the names of its §5.1.2.1. A
// command's index is also its place in a link's counters.
var commands = [...]struct {
	id   pdu.ID
	name string
}{
	{pdu.DeliverSMID, "deliver_sm"},
	{pdu.DeliverSMRespID, "deliver_sm_resp"},
	{pdu.SubmitSMID, "submit_sm"},
	{pdu.SubmitSMRespID, "submit_sm_resp"},
	{pdu.DataSMID, "data_sm"},
	{pdu.DataSMRespID, "data_sm_resp"},
	{pdu.EnquireLinkID, "enquire_link"},
	{pdu.EnquireLinkRespID, "enquire_link_resp"},
	{pdu.GenericNACKID, "generic_nack"},
	{pdu.BindTransceiverID, "bind_transceiver"},
	{pdu.BindTransceiverRespID, "bind_transceiver_resp"},
	{pdu.BindReceiverID, "bind_receiver"},
	{pdu.BindReceiverRespID, "bind_receiver_resp"},
	{pdu.BindTransmitterID, "bind_transmitter"},
	{pdu.BindTransmitterRespID, "bind_transmitter_resp"},
	{pdu.UnbindID, "unbind"},
	{pdu.UnbindRespID, "unbind_resp"},
	{pdu.OutbindID, "outbind"},
	{pdu.AlertNotificationID, "alert_notification"},
	{pdu.QuerySMID, "query_sm"},
	{pdu.QuerySMRespID, "query_sm_resp"},
	{pdu.ReplaceSMID, "replace_sm"},
	{pdu.ReplaceSMRespID, "replace_sm_resp"},
	{pdu.CancelSMID, "cancel_sm"},
	{pdu.CancelSMRespID, "cancel_sm_resp"},
	{pdu.SubmitMultiID, "submit_multi"},
	{pdu.SubmitMultiRespID, "submit_multi_resp"},
}

// unknownCommand is the index in a link's counters of all other commands.
const unknownCommand = len(commands)

func commandIndex(id pdu.ID) int {
	for i := range commands {
		if commands[i].id == id {
			return i
		}
	}
	return unknownCommand
}

// CommandName returns a command's name as the specification writes it, such as
// "deliver_sm", or its number in hexadecimal if SMPP 3.4 has no such command.
func CommandName(id pdu.ID) string {
	if i := commandIndex(id); i != unknownCommand {
		return commands[i].name
	}
	return fmt.Sprintf("0x%08x", uint32(id))
}
