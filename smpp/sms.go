package smpp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// SMS is a short message. It is no part of any dialogue.
type SMS struct {
	From string // the sender that the handset shows: see CheckSender
	To   string // the subscriber: E.164 digits without plus
	// Text is written in GSM, folded into that as a screen's, or, if that lacks
	// one of its characters, in UCS-2. It has to fit into one message: 160 septets
	// of the one, 70 units of the other.
	Text string
	// Reference is the sender's own name for the message (user_message_reference):
	// an SMSC that keeps to SMPP repeats it in the message's receipt. It is not
	// sent where the profile has the session in that parameter.
	Reference uint16
}

// Why a short message was not sent, besides the reasons that a reply has.
var (
	// ErrNoSMS is returned by Send on a link whose profile takes no short
	// messages.
	ErrNoSMS = errors.New("smpp: the link's profile takes no short messages")

	// ErrSMSTooLong is returned by Send for a text that does not fit into one
	// message.
	ErrSMSTooLong = errors.New("smpp: the text does not fit into one short message")
)

// sent is what became of a short message: what the SMSC calls it, or an error.
type sent struct {
	id  string
	err error
}

// Send sends a short message, asks for its delivery receipt (see ReceiptTaker),
// and waits until the SMSC has taken it; id is what the SMSC calls it, empty if
// it gives no name. The message leaves on any bind that sends, behind the answers
// that somebody waits for; like those it keeps to the window and the rate, waits
// for a new bind, and is sent again after a temporary refusal, for as long as
// ctx lets it, or Config.ResponseTimeout if ctx has no deadline. Send is safe for
// concurrent use.
//
// The SMSC has the message if the error is nil. It may have it, and nobody knows,
// if the error is ErrTimeout or ErrCutOff. With any other it has it not:
// ErrNoSMS, ErrSMSTooLong, or what else is wrong with the message; ErrNotBound,
// ErrQueueFull, ErrExpired, ErrLinkLost or ErrClosed, with which nothing was
// written; a *StatusError, by which the SMSC refused it.
func (l *Link) Send(ctx context.Context, m SMS) (id string, err error) {
	frame, err := l.profile.encodeSMS(m)
	if err != nil {
		return "", fmt.Errorf("short message: %w", err)
	}
	became := make(chan sent, 1)
	r := &reply{frame: frame, sms: became, event: &Event{Dialogue: Dialogue{SMSC: l.cfg.Name, MSISDN: m.To}, link: l}}
	r.deadline, _ = ctx.Deadline()
	if err := l.submit(r); err != nil {
		return "", fmt.Errorf("short message: %w", err)
	}
	var got sent
	select {
	case got = <-became:
	case <-ctx.Done():
		got = l.callBack(r, became)
	}
	if got.err != nil {
		return "", fmt.Errorf("short message: %w", got.err)
	}
	return got.id, nil
}

// callBack ends the wait for a short message: it is not sent if it was not yet.
// What became of one that neither waits nor is in flight is about to be told.
func (l *Link) callBack(r *reply, became <-chan sent) sent {
	l.mu.Lock()
	waits := r.bucket != nil
	flies := !waits && r.conn != nil && r.conn.flight.numbers[r.sequence] == r
	if waits {
		l.drop(r)
	}
	l.mu.Unlock()
	switch {
	case waits:
		return sent{err: ErrExpired}
	case flies:
		return sent{err: ErrTimeout}
	}
	return <-became
}

// Longest text of one short message (3GPP TS 23.040 §9.2.3.16), and the
// data_coding of its alphabet (SMPP 3.4 §5.2.19).
var smsTexts = [...]struct {
	text   Text
	coding byte
}{
	{Text{Alphabet: GSM, Max: 160}, 0x00}, // the SMSC's default alphabet
	{Text{Alphabet: UCS2, Max: 70}, 0x08},
}

// finalReceipt asks for a receipt of how the message ended (SMPP 3.4 §5.2.17).
const finalReceipt = 1

// encodeSMS builds the PDU of a short message, sequence number 0.
func (p *Profile) encodeSMS(sms SMS) ([]byte, error) {
	if p.NoSMS {
		return nil, ErrNoSMS
	}
	if err := p.checkMSISDN(sms.To); err != nil {
		return nil, err
	}
	source, err := senderAddress(sms.From)
	if err != nil {
		return nil, err
	}
	if n := p.SenderNumber; n.Fixed {
		source.TON, source.NPI = n.TON, n.NPI
	}
	m := Message{
		Header: Header{ID: pdu.SubmitSMID}, ServiceType: []byte(p.SMSServiceType), RegisteredDelivery: finalReceipt,
		Source: source, Dest: Address{TON: tonInternational, NPI: npiE164, Digits: []byte(sms.To)},
	}
	if n := p.SubscriberNumber; n.Fixed {
		m.Dest.TON, m.Dest.NPI = n.TON, n.NPI
	}
	in := smsTexts[0]
	units, bad := in.text.Cost(sms.Text)
	if bad != 0 {
		in = smsTexts[1]
		units, _ = in.text.Cost(sms.Text)
	}
	if sms.Text == "" {
		return nil, errors.New("no text")
	}
	if units > in.text.Max {
		return nil, fmt.Errorf("%w: %d units of %d", ErrSMSTooLong, units, in.text.Max)
	}
	m.DataCoding, m.ShortMessage = in.coding, in.text.Append(nil, sms.Text)
	if p.Session.Tag != tagUserMessageReference {
		m.TLVs = m.TLVs.Append(tagUserMessageReference, byte(sms.Reference>>8), byte(sms.Reference))
	}
	return Append(nil, &m)
}

// Types of number of a sender that is no subscriber (SMPP 3.4 §5.2.5), and how
// long it can be.
const (
	tonUnknown      = 0
	tonAlphanumeric = 5
	npiUnknown      = 0
	maxSenderName   = 11 // 3GPP TS 23.040 §9.1.2.5
	maxShortCode    = 8
	maxSenderDigits = 15 // ITU-T E.164
)

// CheckSender says what is wrong with the sender of short messages: a name of at
// most 11 letters, digits and spaces, not only digits, or a short code or number
// of at most 15 digits.
func CheckSender(from string) error {
	_, err := senderAddress(from)
	return err
}

// senderAddress is a sender as an address: a name, a number, or a short code,
// which has no numbering plan.
func senderAddress(from string) (Address, error) {
	a := Address{Digits: []byte(from)}
	digits := strings.Trim(from, "0123456789") == ""
	switch {
	case from == "":
		return a, errors.New("no sender")
	case digits && len(from) > maxSenderDigits:
		return a, fmt.Errorf("sender %s: more than %d digits", from, maxSenderDigits)
	case !digits && len(from) > maxSenderName:
		return a, fmt.Errorf("sender %q: more than %d characters", from, maxSenderName)
	case digits && len(from) > maxShortCode:
		a.TON, a.NPI = tonInternational, npiE164
	case digits:
		a.TON, a.NPI = tonUnknown, npiUnknown
	default:
		a.TON, a.NPI = tonAlphanumeric, npiUnknown
		for _, c := range from {
			if !(c == ' ' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') {
				return a, fmt.Errorf("sender %q: %q is none of letters, digits and spaces", from, c)
			}
		}
	}
	return a, nil
}
