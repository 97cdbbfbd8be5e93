package smpptest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
)

// SMS is a short message that the SMSC has taken. One that an ESME sends twice
// is two.
type SMS struct {
	ID        string // in the response
	From, To  string
	Text      string
	Reference uint16 // user_message_reference; 0 if there is none
	Receipt   string // what the receipt says or will say, "DELIVRD"; empty: none was asked for, or a fault keeps it back
	Reported  bool   // the ESME has acknowledged the receipt
}

// texted is a short message in the SMSC.
type texted struct {
	SMS
	systemID string       // whose it is
	from     smpp.Address // the receipt's destination
	n        uint64       // ID as a number
	taken    time.Time
	bare     bool // its receipt has a text in decimal and no parameters
}

const (
	maxKept     = 1000             // short messages of one number; the oldest are forgotten
	reportAgain = time.Second      // pause after a receipt that was not acknowledged
	delivered   = "DELIVRD"        // SMPP 3.4 Appendix B
	undelivered = "UNDELIV"        // likewise
	receiptTime = "0601021504"     // of a receipt's text, likewise
	receiptHead = 20               // characters of the message that the receipt repeats
	esmReceipt  = 0x04             // esm_class of a receipt. SMPP 3.4 §5.2.12
	tonName     = 5                // type of number of a name. SMPP 3.4 §5.2.5
	asksReceipt = byte(0b00000001) // bits of registered_delivery that ask for a receipt of every end. SMPP 3.4 §5.2.17
)

// tagMessageState is in receipts. SMPP 3.4 §5.3.2.35.
const tagMessageState pdutlv.Tag = 0x0427

// messageStates are its values. SMPP 3.4 §5.2.28.
var messageStates = map[string]byte{delivered: 2, undelivered: 5}

// smsCodings are what short messages are written in, one message each. SMPP 3.4
// §5.2.19, 3GPP TS 23.040 §9.2.3.16.
var smsCodings = []coding{
	{value: 0x00, alphabet: gsm, max: 160}, {value: 0x01, alphabet: ascii, max: 160}, {value: 0x03, alphabet: latin1, max: 140}, {value: 0x08, alphabet: ucs2, max: 70},
}

// SMS returns the short messages to a number, or to all numbers if it is empty,
// each number's oldest first: the last thousand of each.
func (s *Sim) SMS(msisdn string) []SMS {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []SMS
	for to, list := range s.texts {
		if msisdn != "" && to != msisdn {
			continue
		}
		for _, t := range list {
			out = append(out, t.SMS)
		}
	}
	return out
}

// NextSMS returns the next short message to the handset that NextSMS has not
// returned before, when it has come, or ctx's error.
func (h *Handset) NextSMS(ctx context.Context) (SMS, error) {
	for {
		if m, ok := h.unread(); ok {
			return m, nil
		}
		select {
		case <-h.beeps:
		case <-h.sim.done:
			return SMS{}, ErrClosed
		case <-ctx.Done():
			return SMS{}, fmt.Errorf("wait for a short message: %w", ctx.Err())
		}
	}
}

// unread takes the oldest short message that was not looked at yet.
func (h *Handset) unread() (m SMS, ok bool) {
	h.sim.mu.Lock()
	defer h.sim.mu.Unlock()
	list := h.sim.texts[h.msisdn]
	if h.read >= len(list) {
		return SMS{}, false
	}
	m = list[h.read].SMS
	h.read++
	return m, true
}

// plain tells a short message from a reply of the dialect: it has nothing of
// USSD.
func (d *dialect) plain(m *smpp.Message) bool {
	_, op := m.TLVs.Get(pdutlv.TagUssdServiceOp)
	_, session := m.TLVs.Get(d.session.tag)
	session = session && d.session.tag != 0 && d.session.tag != pdutlv.TagUserMessageReference
	return m.ID == pdu.SubmitSMID && !op && !session && string(m.ServiceType) != serviceUSSD && m.RegisteredDelivery != 0
}

// texted carries out a short message. The caller holds s.mu, as for all functions
// below.
func (s *Sim) texted(sub *submission) *refusal {
	m := sub.m
	t := &texted{systemID: sub.peer.systemID, n: s.messages + 1, taken: s.now()}
	t.SMS = SMS{ID: string(sub.resp.MessageID), From: string(m.Source.Digits), To: string(m.Dest.Digits)}
	t.from = smpp.Address{TON: m.Source.TON, NPI: m.Source.NPI, Digits: []byte(t.From)}
	name := strings.Trim(t.From, "0123456789") != ""
	switch _, err := ParseMSISDN(t.To); {
	case m.ESMClass != 0:
		return refuse(statusInvalidESMClass, "esm_class of a short message is 0x%02x, not 0", m.ESMClass)
	case t.From == "" || name != (m.Source.TON == tonName):
		return refuse(statusInvalidSource, "source_addr is %q with type of number %d", t.From, m.Source.TON)
	case err != nil || !slices.Contains(s.dialect.replyTo, numbering{m.Dest.TON, m.Dest.NPI}):
		return refuse(statusInvalidDest, "destination_addr is no subscriber: type of number %d, plan %d", m.Dest.TON, m.Dest.NPI)
	}
	coding, ok := findCoding(smsCodings, m.DataCoding)
	screen := Screen{}
	if ok {
		screen = coding.show(m.ShortMessage)
	}
	if !ok || screen.Bad > 0 || screen.Units == 0 || screen.Units > coding.limit() {
		return refuse(statusSubmitFailed, "the text of a short message has %d units of data_coding 0x%02x, %d of them without a character",
			screen.Units, m.DataCoding, screen.Bad)
	}
	t.Text = screen.Text
	if v, ok := m.TLVs.Get(pdutlv.TagUserMessageReference); ok && len(v) == 2 {
		t.Reference = uint16(v[0])<<8 | uint16(v[1])
	}
	if m.RegisteredDelivery&asksReceipt != 0 {
		t.Receipt = delivered
	}
	h := s.handsets[t.To]
	sub.handset = h
	s.strike(atText, &moment{peer: sub.peer, handset: h, sub: sub, text: t})
	if sub.refused != nil {
		return sub.refused
	}
	list := append(s.texts[t.To], t)
	if len(list) > maxKept {
		list = list[1:]
		if h != nil && h.read > 0 {
			h.read--
		}
	}
	s.texts[t.To] = list
	if h != nil {
		h.beep()
	}
	if t.Receipt != "" {
		sub.after = func() { s.report(t) }
	}
	return nil
}

// beep tells who waits that a short message has come.
func (h *Handset) beep() {
	select {
	case h.beeps <- struct{}{}:
	default:
	}
}

// report sends a receipt, or keeps it until its ESME is there.
func (s *Sim) report(t *texted) {
	p := s.receiver(t.systemID)
	if p == nil {
		s.unreported[t.systemID] = append(s.unreported[t.systemID], t)
		return
	}
	frame, err := smpp.Append(nil, s.dialect.receipt(t, s.now()))
	if err != nil {
		s.log.Error("encode", "command", "deliver_sm", "error", err)
		return
	}
	p.deliver(delivery{receipt: t}, p.nextSequence(), frame)
}

// reportAll sends the receipts that have waited for an ESME.
func (s *Sim) reportAll(systemID string) {
	list := s.unreported[systemID]
	delete(s.unreported, systemID)
	for _, t := range list {
		s.report(t)
	}
}

// reported takes the ESME's answer to a receipt. One that it does not want now,
// it gets again.
func (s *Sim) reported(p *peer, t *texted, status pdu.Status) {
	if status == statusOK {
		t.Reported = true
		return
	}
	s.unreported[t.systemID] = append(s.unreported[t.systemID], t)
	s.after(reportAgain, p, func() { s.reportAll(t.systemID) })
}

// receipt writes a receipt. SMPP 3.4 Appendix B.
func (d *dialect) receipt(t *texted, now time.Time) *smpp.Message {
	m := &smpp.Message{Header: smpp.Header{ID: pdu.DeliverSMID}, ESMClass: esmReceipt, Dest: t.from,
		Source: smpp.Address{TON: d.subscriber.ton, NPI: d.subscriber.npi, Digits: []byte(t.To)}}
	id, arrived := t.ID, 0
	if t.Receipt == delivered {
		arrived = 1
	}
	if t.bare {
		id = fmt.Sprintf("%010d", t.n)
	} else {
		m.TLVs = m.TLVs.Append(tagReceiptedMessageID, append([]byte(t.ID), 0)...).Append(tagMessageState, messageStates[t.Receipt])
		if t.Reference != 0 {
			m.TLVs = m.TLVs.Append(pdutlv.TagUserMessageReference, byte(t.Reference>>8), byte(t.Reference))
		}
	}
	m.ShortMessage = fmt.Appendf(nil, "id:%s sub:001 dlvrd:%03d submit date:%s done date:%s stat:%s err:000 text:%s",
		id, arrived, t.taken.Format(receiptTime), now.Format(receiptTime), t.Receipt, head(t.Text))
	return m
}

// head is the beginning of a text, with a question mark for what ASCII lacks.
func head(text string) string {
	b := []rune(text)
	b = b[:min(len(b), receiptHead)]
	for i, r := range b {
		if r < ' ' || r > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
