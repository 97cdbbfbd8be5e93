package smpp

import (
	"errors"
	"fmt"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// Op is what happened to a dialogue.
type Op uint8

// The operations. The zero value is none of them.
const (
	Begin   Op = 1 + iota // the subscriber dialled
	Input                 // the subscriber answered
	Release               // the network or the subscriber ended the dialogue; there is nobody to answer. Event.Err is set if the SMSC said so by refusing the screen that was shown (Profile.AfterUser)
	Refused               // a reply of ours was refused, never answered, or could not be sent; see Event.Err
	Opened                // the SMSC accepted the first reply of a dialogue that we began; Dialogue.ID is set if the SMSC told it
)

var opNames = [...]string{Begin: "begin", Input: "input", Release: "release", Refused: "refused", Opened: "opened"}

// String returns the operation in lower case: begin, input, release, refused or
// opened.
func (o Op) String() string {
	if o > 0 && int(o) < len(opNames) {
		return opNames[o]
	}
	return "unknown"
}

// Dialogue names one USSD dialogue. The ID alone names nothing: an SMSC gives
// the same one to many subscribers, one after another and at the same time.
type Dialogue struct {
	SMSC   string // the link's name
	MSISDN string // E.164 digits without plus, "2348031234567"; empty if the SMSC names a dialogue by its ID alone and the link does not know whose that is
	ID     string // the session's identifying bits in hexadecimal, empty if the PDU had none
}

// Event is one thing that happened to a dialogue. But for Identify it is
// immutable, safe for concurrent use, and may be kept: it is the way to answer the dialogue for as
// long as the dialogue lives, also over a later bind of the same link.
type Event struct {
	Op         Op
	HasCounter bool // see Counter
	Early      bool // an Input that came before the SMSC acknowledged the screen that it would answer; told where there is no counter, which says more
	// Counter is what the PDU repeats of the counter in our last reply, if
	// HasCounter: an SMSC that delivers an answer again delivers the same one.
	// SMSCs that do not repeat it send anything, mostly always the same.
	Counter  uint32
	Dialogue Dialogue
	Code     string // service code that was dialled to, "*999#"; may be empty in what follows a Begin
	Text     string // what the subscriber typed, without a trailing CR; for Begin the whole dialled string
	Err      error  // Refused, and some Releases: *StatusError, ErrTimeout, ErrCutOff, ErrExpired, ErrLinkLost or ErrClosed

	// Opening is set in an Opened, and in a Refused of the reply that begins a
	// dialogue: the Event that Open returned.
	Opening *Event

	link    *Link
	bind    *bind // that it came on; nil: made by Open
	wire    wire
	replies uint32 // made of the event so far; atomic
}

// Medium returns the alphabet and the screen size of the event's link.
func (e *Event) Medium() Text { return e.link.profile.Text }

// Why a reply did not reach the subscriber. Reply returns them, or a Refused
// event carries them.
var (
	// ErrQueueFull is returned by Reply when Config.Queue replies wait already,
	// or half as many for a reply that begins a dialogue.
	ErrQueueFull = errors.New("smpp: too many replies wait for the SMSC")

	// ErrNotBound is returned by Reply when the link is not bound and cannot be
	// before the reply's deadline.
	ErrNotBound = errors.New("smpp: the link is not bound")

	// ErrTextTooLong is returned by Reply for more than Medium().Limit() units.
	ErrTextTooLong = errors.New("smpp: the text does not fit on one screen")

	// ErrClosed is returned by Reply once the link's Run is ending, and on an
	// event with Op Release or with the dialogue's last answer; and it is the
	// Err of replies that a link which ends could not send any more.
	ErrClosed = errors.New("smpp: the link or the dialogue is closed")

	// ErrExpired is returned by Reply for a deadline in the past, and is the Err
	// of a reply that a full window held up until its deadline. No octet of the
	// reply was sent.
	ErrExpired = errors.New("smpp: the deadline passed before the reply could be sent")

	// ErrLinkLost is the Err of a reply that waited for a new bind until its
	// deadline. No octet of the reply was sent.
	ErrLinkLost = errors.New("smpp: the link was lost and not restored in time")

	// ErrTimeout is the Err of a reply that was sent and not answered within
	// Config.ResponseTimeout. The subscriber may have seen it.
	ErrTimeout = errors.New("smpp: the SMSC did not answer in time")

	// ErrCutOff is the Err of a reply that begins a dialogue whose connection
	// ended before the SMSC answered. The subscriber may have seen it.
	ErrCutOff = errors.New("smpp: the connection ended before the SMSC answered")
)

// StatusError says that the SMSC refused a submit_sm.
type StatusError struct {
	ID     pdu.ID      // the refusing PDU: submit_sm_resp or generic_nack
	Status pdu.Status  // its command_status; zero only in a generic_nack that has none
	Class  StatusClass // what the link's profile makes of it
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: status 0x%08x (%s)", CommandName(e.ID), uint32(e.Status), e.Status.Error())
}

// Temporary reports whether the same reply could succeed later. The link has
// then already tried for as long as the reply's deadline let it.
func (e *StatusError) Temporary() bool { return e.Class == Temporary }

// Handler receives the events of a link.
type Handler interface {
	// HandleUSSD is called for one event of a bind after another, in the order
	// in which they happened, on the goroutine that reads the bind: it must not
	// block, and nothing else is read there until it returns. Events of several
	// binds, and Refused events of replies that no bind could take, come at the
	// same time. When it is called, the PDU of the event has already been
	// acknowledged. It may call Event.Reply.
	HandleUSSD(*Event)
}

// HandlerFunc is a function that is a Handler.
type HandlerFunc func(*Event)

// HandleUSSD calls f.
func (f HandlerFunc) HandleUSSD(e *Event) { f(e) }

var _ Handler = HandlerFunc(nil)

// Reply queues a submit_sm that shows text to the subscriber, folded into the
// link's alphabet, and closes the dialogue if end is set. An empty text is sent
// as one space, since a USSD string cannot be empty. Reply never blocks and is
// safe for concurrent use.
//
// The reply is not written to the socket after deadline; the zero time means
// that the SMSC gets Config.ResponseTimeout from now. While the link reconnects
// a reply waits for the new bind, if that can come before the deadline.
//
// The error is ErrTextTooLong, ErrQueueFull, ErrNotBound, ErrExpired or
// ErrClosed, and then nothing is sent. If the SMSC refuses the reply later, the
// link's Handler gets an event with Op Refused and the same Dialogue. There is
// no event if the link is lost between the reply and its answer, because the
// subscriber may well see it and go on, but for a reply that begins a dialogue.
func (e *Event) Reply(text string, end bool, deadline time.Time) error {
	if e.Op == Release || e.wire.last {
		return ErrClosed
	}
	frame, err := e.link.profile.encode(e, text, end)
	if err != nil {
		return err
	}
	return e.link.submit(&reply{event: e, frame: frame, deadline: deadline, end: end || e.wire.once})
}

// event reads a deliver_sm or data_sm as the profile says; it is nil for one
// that is only to be acknowledged. The error is a *MalformedError.
func (l *Link) event(m *Message) (*Event, error) {
	e, err := l.profile.read(m)
	if e != nil {
		e.Dialogue.SMSC, e.link = l.cfg.Name, l
	}
	return e, err
}

// Mask hides the middle of a subscriber's number, for logs: 234803***4567. All of
// a short one is hidden, or of none.
func Mask(msisdn string) string {
	if len(msisdn) <= 10 {
		return "***"
	}
	return msisdn[:6] + "***" + msisdn[len(msisdn)-4:]
}
