package smpptest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
)

// Mismatch is a field of a message PDU that package smpp's codec and go-smpp's
// read differently.
type Mismatch struct {
	PDU          []byte // the whole frame
	Field        string // by its name in the specification, or "pdu" if only one of the two could read it
	Ours, Theirs string // what smpp and go-smpp make of it
}

// String names the PDU, the field, both readings and the octets.
func (m Mismatch) String() string {
	h := smpp.ParseHeader(m.PDU)
	return fmt.Sprintf("%s %d: %s: smpp reads %s, go-smpp reads %s: %s",
		smpp.CommandName(h.ID), h.Sequence, m.Field, m.Ours, m.Theirs, hex.EncodeToString(m.PDU))
}

// compare reads a frame with go-smpp and returns each difference from what
// smpp.Decode made of it, m and err.
//
// go-smpp has no data_sm and no data_sm_resp: it gets the submit_sm or the
// submit_sm_resp with the same fields.
//
// Where go-smpp is known to be unable to tell, there is no comparison: it
// refuses frames over pdu.MaxSize, drops a message_id without NUL, takes the
// TLVs of an error response without message_id for one, and refuses a truncated
// last TLV.
func compare(frame []byte, m *smpp.Message, err error) []Mismatch {
	onlyTLVs := m.ID&responseBit != 0 && m.MessageID == nil && len(m.TLVs) > 0
	if len(frame) > pdu.MaxSize || onlyTLVs {
		return nil
	}
	c := comparison{frame: frame}
	if m.ID == pdu.DataSMID || m.ID == pdu.DataSMRespID {
		short, ok := shortened(frame)
		if ok != (err == nil) {
			c.differ("pdu", fmt.Sprint(err), "mandatory fields that are whole, or not")
		}
		if !ok || err != nil {
			return c.found
		}
		frame = short
		like := *m
		like.Header = smpp.Header{Length: uint32(len(short)), ID: smpp.ParseHeader(short).ID, Status: m.Status, Sequence: m.Sequence}
		m = &like
	}
	theirs, theirErr := pdu.Decode(bytes.NewReader(frame))
	// go-smpp stops at a mandatory field that is cut off and calls it a
	// success.
	if request := m.ID&responseBit == 0; theirErr == nil && request && theirs.Fields()[pdufield.ShortMessage] == nil {
		theirErr = fmt.Errorf("mandatory fields are cut off")
	}
	switch {
	case err != nil && theirErr != nil, m.Truncated && theirErr != nil:
	case err != nil:
		c.differ("pdu", err.Error(), "a whole PDU")
	case theirErr != nil:
		c.differ("pdu", "a whole PDU", theirErr.Error())
	default:
		c.message(m, theirs)
	}
	return c.found
}

// shortened returns the submit_sm that says the same as a data_sm, or the
// submit_sm_resp that says the same as a data_sm_resp; ok is false if the
// mandatory fields are cut off. SMPP 3.4 §4.4, §4.7.
func shortened(frame []byte) (short []byte, ok bool) {
	if smpp.ParseHeader(frame).ID == pdu.DataSMRespID {
		short = bytes.Clone(frame)
		binary.BigEndian.PutUint32(short[4:], uint32(pdu.SubmitSMRespID))
		return short, true
	}
	at, ok := afterAddresses(frame)
	if !ok || at+3 > len(frame) {
		return nil, false
	}
	esmClass, registered, coding := frame[at], frame[at+1], frame[at+2]
	short = append(bytes.Clone(frame[:at]), esmClass, 0, 0, 0, 0, registered, 0, coding, 0, 0)
	short = append(short, frame[at+3:]...)
	binary.BigEndian.PutUint32(short, uint32(len(short)))
	binary.BigEndian.PutUint32(short[4:], uint32(pdu.SubmitSMID))
	return short, true
}

// afterAddresses returns where a request's esm_class stands; ok is false if the
// frame ends before.
func afterAddresses(frame []byte) (at int, ok bool) {
	at = smpp.HeaderLen
	for _, fixed := range []int{0, 2, 2} { // service_type; TON, NPI and digits; the same
		at += fixed
		if at > len(frame) {
			return 0, false
		}
		end := bytes.IndexByte(frame[at:], 0)
		if end < 0 {
			return 0, false
		}
		at += end + 1
	}
	return at, true
}

// responseBit is set in the command_id of every response. SMPP 3.4 §5.1.2.1.
const responseBit pdu.ID = 0x80000000

type comparison struct {
	frame []byte
	found []Mismatch
}

func (c *comparison) differ(field, ours, theirs string) {
	c.found = append(c.found, Mismatch{PDU: bytes.Clone(c.frame), Field: field, Ours: ours, Theirs: theirs})
}

func (c *comparison) octets(field string, ours, theirs []byte) {
	if !bytes.Equal(ours, theirs) {
		c.differ(field, fmt.Sprintf("%q", ours), fmt.Sprintf("%q", theirs))
	}
}

func (c *comparison) number(field string, ours, theirs uint32) {
	if ours != theirs {
		c.differ(field, fmt.Sprintf("0x%x", ours), fmt.Sprintf("0x%x", theirs))
	}
}

func (c *comparison) message(m *smpp.Message, theirs pdu.Body) {
	h := theirs.Header()
	c.number("command_length", m.Length, h.Len)
	c.number("command_id", uint32(m.ID), uint32(h.ID))
	c.number("command_status", uint32(m.Status), uint32(h.Status))
	c.number("sequence_number", m.Sequence, h.Seq)

	fields := theirs.Fields()
	text := func(name pdufield.Name, ours []byte) {
		var have []byte
		if f := fields[name]; f != nil {
			have = []byte(f.String())
		}
		c.octets(string(name), ours, have)
	}
	octet := func(name pdufield.Name, ours byte) {
		var have byte
		if f := fields[name]; f != nil {
			have = f.Bytes()[0]
		}
		c.number(string(name), uint32(ours), uint32(have))
	}
	if m.ID&responseBit != 0 {
		if m.Truncated {
			return
		}
		text(pdufield.MessageID, m.MessageID)
	} else {
		text(pdufield.ServiceType, m.ServiceType)
		octet(pdufield.SourceAddrTON, m.Source.TON)
		octet(pdufield.SourceAddrNPI, m.Source.NPI)
		text(pdufield.SourceAddr, m.Source.Digits)
		octet(pdufield.DestAddrTON, m.Dest.TON)
		octet(pdufield.DestAddrNPI, m.Dest.NPI)
		text(pdufield.DestinationAddr, m.Dest.Digits)
		octet(pdufield.ESMClass, m.ESMClass)
		octet(pdufield.ProtocolID, m.ProtocolID)
		octet(pdufield.PriorityFlag, m.Priority)
		text(pdufield.ScheduleDeliveryTime, m.ScheduleTime)
		text(pdufield.ValidityPeriod, m.Validity)
		octet(pdufield.RegisteredDelivery, m.RegisteredDelivery)
		octet(pdufield.ReplaceIfPresentFlag, m.ReplaceIfPresent)
		octet(pdufield.DataCoding, m.DataCoding)
		octet(pdufield.SMDefaultMsgID, m.DefaultMsgID)
		octet(pdufield.SMLength, byte(len(m.ShortMessage)))
		text(pdufield.ShortMessage, m.ShortMessage)
	}
	c.tlvs(m.TLVs, theirs.TLVFields())
}

// tlvs compares each tag's last value: go-smpp keeps no other.
func (c *comparison) tlvs(ours smpp.TLVs, theirs pdutlv.Map) {
	last := map[pdutlv.Tag][]byte{}
	for tlv := range ours.All() {
		last[tlv.Tag] = tlv.Value
	}
	for _, tag := range slices.Sorted(maps.Keys(last)) {
		value, name := last[tag], "tlv 0x"+tag.Hex()
		if their, ok := theirs[tag]; ok {
			c.octets(name, value, their.Bytes())
		} else {
			c.differ(name, fmt.Sprintf("%q", value), "none")
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(theirs)) {
		if _, ok := last[tag]; !ok {
			c.differ("tlv 0x"+tag.Hex(), "none", fmt.Sprintf("%q", theirs[tag].Bytes()))
		}
	}
}
