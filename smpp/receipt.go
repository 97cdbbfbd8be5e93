package smpp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Receipt is what an SMSC says became of a short message: its delivery receipt.
type Receipt struct {
	SMSC   string // the link's name
	ID     string // what the SMSC calls the message, not always as Send returned it: see IDs; may be empty
	MSISDN string // the subscriber, E.164 digits without plus; empty if the receipt has no number
	State  string // as SMPP 3.4 Appendix B has it: "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD", "ENROUTE"; or the SMSC's own word
	// Reference is the message's SMS.Reference, if HasReference.
	Reference    uint16
	HasReference bool
}

// IDs returns the names that Send may have returned for the message, the
// likeliest first: the ID as it is; without its leading zeros; and the same number
// in the other base, because there are SMSCs that write it in hexadecimal in
// submit_sm_resp and in decimal in the receipt, or the other way round. Other
// messages may have the later names: the MSISDN has to be the same too.
func (r *Receipt) IDs() []string {
	var ids []string
	add := func(id string) {
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	add(r.ID)
	add(strings.TrimLeft(r.ID, "0"))
	if n, err := strconv.ParseUint(r.ID, 10, 64); err == nil {
		for _, layout := range []string{"%X", "%x", "%08X", "%08x"} {
			add(fmt.Sprintf(layout, n))
		}
	}
	if n, err := strconv.ParseUint(r.ID, 16, 64); err == nil {
		for _, layout := range []string{"%d", "%010d"} {
			add(fmt.Sprintf(layout, n))
		}
	}
	return ids
}

// ReceiptTaker is a Handler that gets the receipts of short messages. TakeReceipt
// is called as HandleUSSD is, but before the receipt is acknowledged, and must not
// block. False says that there is no room: the SMSC is told to deliver the receipt
// again. Without a ReceiptTaker receipts are acknowledged and ignored.
type ReceiptTaker interface {
	Handler
	TakeReceipt(*Receipt) bool
}

// What became of receipts: keys of Counters.Receipts.
const (
	receiptTaken   = "taken"
	receiptRefused = "refused" // TakeReceipt had no room
	receiptIgnored = "ignored" // of no message of ours, unreadable, or nobody takes it
)

// receiptBits are set in the esm_class of delivery receipts and of
// acknowledgements by the handset (SMPP 3.4 §5.2.12). Those of the SMSC itself
// have deliveryReceipt there.
const (
	receiptBits     = 0x3C
	deliveryReceipt = 0x04
)

// receipt gives a receipt to who takes it, and reports whether it may be
// acknowledged.
func (l *Link) receipt(m *Message) bool {
	became := receiptIgnored
	if r, ok := l.profile.readReceipt(m); ok && l.receipts != nil {
		r.SMSC = l.cfg.Name
		became = receiptTaken
		if !l.receipts.TakeReceipt(r) {
			became = receiptRefused
		}
	}
	add(&l.counts.mu, &l.counts.receipts, became)
	return became != receiptRefused
}

// messageStates are the values of message_state (SMPP 3.4 §5.2.28) by the words
// that a receipt's text has for them (Appendix B).
var messageStates = map[byte]string{
	1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD",
}

// maxState is the longest word for a state that is taken; Appendix B has seven
// letters.
const maxState = 16

// readReceipt reads a receipt: from its parameters, and what they lack from its
// text. ok is false if it is none of an SMSC, or does not say what became of which
// message.
func (p *Profile) readReceipt(m *Message) (r *Receipt, ok bool) {
	if m.ESMClass&receiptBits != deliveryReceipt {
		return nil, false
	}
	r = new(Receipt)
	if len(m.Source.Digits) <= maxAddress {
		b, msisdn, _ := p.msisdn(slices.Clone(m.Source.Digits), span{0, len(m.Source.Digits)})
		r.MSISDN = string(b[msisdn.from:msisdn.to])
	}
	if v, ok := m.TLVs.Get(tagUserMessageReference); ok && len(v) == 2 && p.Session.Tag != tagUserMessageReference {
		r.Reference, r.HasReference = uint16(v[0])<<8|uint16(v[1]), true
	}
	text := p.alphabet(m.DataCoding).Decode(m.Payload()[:min(len(m.Payload()), maxText)])
	if v, ok := m.TLVs.Get(tagReceiptedMessageID); ok {
		r.ID = strings.TrimRight(string(v), "\x00")
	} else {
		r.ID = receiptWord(text, "id")
	}
	if v, ok := m.TLVs.Get(tagMessageState); ok && len(v) == 1 {
		r.State = messageStates[v[0]]
	}
	if r.State == "" {
		r.State = strings.ToUpper(receiptWord(text, "stat"))
	}
	named := r.ID != "" && len(r.ID) <= maxMessageID && printable([]byte(r.ID))
	if !named {
		r.ID = ""
	}
	return r, (named || r.HasReference) && r.State != "" && len(r.State) <= maxState && printable([]byte(r.State))
}

// receiptWord returns what stands behind "name:" in a receipt's text, "id:7F3A
// sub:001 … stat:DELIVRD err:000 text:…"; empty if it is not there.
func receiptWord(text, name string) string {
	for word := range strings.FieldsSeq(text) {
		key, value, ok := strings.Cut(word, ":")
		switch {
		case !ok:
		case strings.EqualFold(key, name):
			return value
		case strings.EqualFold(key, "text"):
			return "" // the message's own words follow
		}
	}
	return ""
}
