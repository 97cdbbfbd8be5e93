package smpptest

import (
	"fmt"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
)

// This file holds all that is particular to the dialect "standard": the meaning
// of ussd_service_op (0x0501) and of the two octets of its_session_info
// (0x1383), the session number and (sequence << 1 | E). The ESME moves the
// sequence on, the gateway repeats it; E says that the dialogue is over.

// serviceUSSD is the service_type of every message. SMPP 3.4 §5.2.11.
const serviceUSSD = "USSD"

// Values of ussd_service_op. SMPP 3.4 §5.3.2.44; the releases are from the
// vendors' range.
const (
	opPSSRIndication byte = 0x01 // a subscriber dialled
	opUSSRRequest    byte = 0x02 // the ESME asks
	opPSSRResponse   byte = 0x11 // the ESME's last word
	opUSSRConfirm    byte = 0x12 // the subscriber answered
	opReleaseRequest byte = 0x80 // the ESME ends the dialogue without a text
	opRelease        byte = 0x81 // the subscriber or the network ended it
)

const (
	sessionEnd     byte = 0x01 // the E bit. SMPP 3.4 §5.3.2.43
	sessionInfoLen      = 2
	esmClassUDHI   byte = 0x40 // SMPP 3.4 §5.2.12
	tonInternation byte = 1    // SMPP 3.4 §5.2.5
	npiISDN        byte = 1    // SMPP 3.4 §5.2.6
)

// deliverSM makes the message that tells the ESME what the subscriber of d did.
// The sequence number is left to the connection.
func deliverSM(d *dialogue, op byte, text string) (*smpp.Message, error) {
	coding, octets := encodeText(text)
	if len(octets) > maxOctets {
		return nil, fmt.Errorf("a handset can't send %d octets: a USSD string holds %d", len(octets), maxOctets)
	}
	word := d.sequence << 1
	if op == opRelease {
		word |= sessionEnd
	}
	var tlvs smpp.TLVs
	tlvs = tlvs.Append(pdutlv.TagUssdServiceOp, op)
	tlvs = tlvs.Append(pdutlv.TagItsSessionInfo, d.key.id, word)
	return &smpp.Message{
		Header:       smpp.Header{ID: pdu.DeliverSMID},
		ServiceType:  []byte(serviceUSSD),
		Source:       smpp.Address{TON: tonInternation, NPI: npiISDN, Digits: []byte(d.key.msisdn)},
		Dest:         smpp.Address{Digits: []byte(d.service)},
		DataCoding:   coding,
		ShortMessage: octets,
		TLVs:         tlvs,
	}, nil
}

// reply is what a submit_sm asks the gateway to do.
type reply struct {
	msisdn   string
	service  string
	id       byte
	sequence byte // 7 bits, to be repeated in the next deliver_sm
	op       byte
	screen   Screen // none with opReleaseRequest
}

// refusal is the answer to a submit_sm that can't be carried out, with the
// reason for people.
type refusal struct {
	status pdu.Status
	reason string
}

func refuse(status pdu.Status, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// readReply reads a submit_sm as strictly as a gateway may.
func readReply(m *smpp.Message) (reply, *refusal) {
	r := reply{msisdn: string(m.Dest.Digits), service: string(m.Source.Digits)}
	if string(m.ServiceType) != serviceUSSD {
		return r, refuse(statusInvalidService, "service_type is %q, not %q", m.ServiceType, serviceUSSD)
	}
	if m.Dest.TON != tonInternation {
		return r, refuse(statusInvalidDestTON, "dest_addr_ton is %d, not 1 (international)", m.Dest.TON)
	}
	if m.Dest.NPI != npiISDN {
		return r, refuse(statusInvalidDestNPI, "dest_addr_npi is %d, not 1 (E.164)", m.Dest.NPI)
	}
	if m.ESMClass&esmClassUDHI != 0 {
		return r, refuse(statusInvalidESMClass,
			"esm_class 0x%02x announces a user data header, which a USSD string can't have", m.ESMClass)
	}
	op, ok := m.TLVs.Get(pdutlv.TagUssdServiceOp)
	if !ok {
		return r, refuse(statusMissingTLV, "ussd_service_op is missing")
	}
	if len(op) != 1 {
		return r, refuse(statusInvalidTLVLength, "ussd_service_op has %d octets, not 1", len(op))
	}
	session, ok := m.TLVs.Get(pdutlv.TagItsSessionInfo)
	if !ok {
		return r, refuse(statusMissingTLV, "its_session_info is missing")
	}
	if len(session) != sessionInfoLen {
		return r, refuse(statusInvalidTLVLength, "its_session_info has %d octets, not 2", len(session))
	}
	r.op, r.id, r.sequence = op[0], session[0], session[1]>>1
	end := session[1]&sessionEnd != 0
	switch r.op {
	case opUSSRRequest, opPSSRResponse:
		if end != (r.op == opPSSRResponse) {
			return r, refuse(statusInvalidTLVValue,
				"ussd_service_op 0x%02x contradicts the E bit of its_session_info %x", r.op, session)
		}
	case opReleaseRequest:
		return r, nil
	default:
		return r, refuse(statusInvalidTLVValue, "ussd_service_op 0x%02x is not one that an ESME sends", r.op)
	}
	refused := r.readText(m)
	r.screen.End = end
	return r, refused
}

func (r *reply) readText(m *smpp.Message) *refusal {
	octets := m.ShortMessage
	if payload, ok := m.TLVs.Get(pdutlv.TagMessagePayload); ok {
		if len(octets) > 0 {
			return refuse(statusInvalidTLVValue, "both short_message and message_payload hold a text")
		}
		octets = payload
	}
	if len(octets) == 0 {
		return refuse(statusInvalidLength, "the text is empty")
	}
	var limit int
	var err error
	r.screen.Text, r.screen.Units, limit, r.screen.Bad, err = decodeText(m.DataCoding, octets)
	if err != nil {
		return refuse(statusSubmitFailed, "%v", err)
	}
	if r.screen.Units > limit {
		return refuse(statusTextTooLong, "the text has %d units, a USSD string of its alphabet holds %d", r.screen.Units, limit)
	}
	return nil
}
