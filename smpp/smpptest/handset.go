package smpptest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// What can keep a subscriber from a screen. Errors of a Handset match one of
// these, are a *RefusedError, or wrap the context's error.
var (
	ErrNoESME      = errors.New("no ESME is bound that takes the subscriber's input")
	ErrNoDialogue  = errors.New("the handset has no open dialogue")
	ErrNotYourTurn = errors.New("the ESME has not answered yet")
	ErrReleased    = errors.New("the ESME ended the dialogue without a text")
)

// RefusedError says that the ESME answered a deliver_sm with an error, which
// ended the dialogue.
type RefusedError struct{ Status pdu.Status }

// Error implements error.
func (e *RefusedError) Error() string { return "the ESME refused the input: " + statusText(e.Status) }

// dialogueKey is how a gateway finds a dialogue: session numbers repeat between
// subscribers.
type dialogueKey struct {
	systemID, msisdn string
	id               byte // octet 1 of its_session_info
}

// dialogue is one open USSD dialogue. Guarded by sim.mu, but for events.
type dialogue struct {
	key      dialogueKey
	service  string
	sequence byte // the ESME's last, 7 bits
	asked    bool // it's the ESME's turn
	acked    bool // the last deliver_sm has been acknowledged
	leaving  bool // the subscriber has hung up, the ESME's acknowledgement is awaited
	over     bool
	held     *event // came before its deliver_sm_resp
	peer     *peer  // the bind used last

	// events has room for all that can happen between two actions of the
	// subscriber: the answer, and an end that nobody asked for.
	events chan event
}

// event is a screen, or the reason why there will be none.
type event struct {
	screen Screen
	err    error
}

func (d *dialogue) tell(e event) {
	select {
	case d.events <- e:
	default:
	}
}

// Handset is a subscriber's phone, with one dialogue at a time. Its methods may
// be called from any goroutine, but a dialogue makes sense only if one
// goroutine holds it.
type Handset struct {
	sim    *Sim
	msisdn string

	// Guarded by sim.mu.
	dialogue *dialogue // the last one; nil before the first
	refusal  string    // why the last submit_sm to this number was refused
}

// Handset returns the phone with the given number (digits, international,
// without plus). The same number is the same phone.
func (s *Sim) Handset(msisdn string) *Handset {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.handsets[msisdn]
	if h == nil {
		h = &Handset{sim: s, msisdn: msisdn}
		s.handsets[msisdn] = h
	}
	return h
}

// MSISDN is the handset's number.
func (h *Handset) MSISDN() string { return h.msisdn }

// Live tells whether a dialogue is open.
func (h *Handset) Live() bool {
	h.sim.mu.Lock()
	defer h.sim.mu.Unlock()
	return h.dialogue != nil && !h.dialogue.over
}

// Dial begins a dialogue with the service that the string is dialled to,
// "*999#" for "*999*1*2#", and returns its first screen. A dialogue that is
// still open is forgotten without a word to the ESME, as when a phone lost its
// network.
//
// When ctx ends first, the dialogue stays open: Next may still return the
// screen, Hangup ends it.
func (h *Handset) Dial(ctx context.Context, dialled string) (Screen, error) {
	return h.DialService(ctx, ServiceOf(dialled), dialled)
}

// DialService is Dial with the destination_addr given.
func (h *Handset) DialService(ctx context.Context, service, dialled string) (Screen, error) {
	d, err := h.begin(service, dialled)
	if err != nil {
		return Screen{}, fmt.Errorf("dial %s: %w", dialled, err)
	}
	screen, err := h.await(ctx, d)
	if err != nil {
		return Screen{}, fmt.Errorf("dial %s: %w", dialled, err)
	}
	return screen, nil
}

// Answer types an answer to the screen shown and returns the next screen.
func (h *Handset) Answer(ctx context.Context, text string) (Screen, error) {
	d, err := h.input(opUSSRConfirm, text)
	if err != nil {
		return Screen{}, fmt.Errorf("answer: %w", err)
	}
	screen, err := h.await(ctx, d)
	if err != nil {
		return Screen{}, fmt.Errorf("answer: %w", err)
	}
	return screen, nil
}

// Hangup ends the dialogue by a release, and returns when the ESME has
// acknowledged that.
func (h *Handset) Hangup(ctx context.Context) error {
	d, err := h.input(opRelease, "")
	if err != nil {
		return fmt.Errorf("hang up: %w", err)
	}
	if _, err := h.await(ctx, d); err != nil && !errors.Is(err, errHungUp) {
		return fmt.Errorf("hang up: %w", err)
	}
	return nil
}

// Next waits for a screen that comes without the subscriber's doing.
func (h *Handset) Next(ctx context.Context) (Screen, error) {
	h.sim.mu.Lock()
	d := h.dialogue
	h.sim.mu.Unlock()
	if d == nil {
		return Screen{}, ErrNoDialogue
	}
	return h.await(ctx, d)
}

// errHungUp is the event that tells of an acknowledged release.
var errHungUp = fmt.Errorf("hung up: %w", ErrNoDialogue)

// await returns the dialogue's next event.
func (h *Handset) await(ctx context.Context, d *dialogue) (Screen, error) {
	select {
	case e := <-d.events:
		return e.screen, e.err
	default:
	}
	h.sim.mu.Lock()
	over := d.over && !d.leaving && d.held == nil && len(d.events) == 0
	h.sim.mu.Unlock()
	if over {
		return Screen{}, ErrNoDialogue
	}
	select {
	case e := <-d.events:
		return e.screen, e.err
	case <-h.sim.done:
		return Screen{}, ErrClosed
	case <-ctx.Done():
		h.sim.mu.Lock()
		defer h.sim.mu.Unlock()
		if h.refusal != "" {
			return Screen{}, fmt.Errorf("%w; the ESME's last submit_sm to %s was refused: %s", ctx.Err(), mask(h.msisdn), h.refusal)
		}
		return Screen{}, ctx.Err()
	}
}

// begin opens a dialogue and sends its first deliver_sm.
func (h *Handset) begin(service, dialled string) (*dialogue, error) {
	s := h.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	p := s.receiver("")
	if p == nil {
		return nil, ErrNoESME
	}
	s.turn++
	s.lastID++
	last := h.dialogue
	if last != nil && s.lastID == last.key.id {
		s.lastID++ // the ESME must not take it for the old one
	}
	d := &dialogue{
		key:     dialogueKey{p.systemID, h.msisdn, s.lastID},
		service: service,
		peer:    p,
		events:  make(chan event, 2),
	}
	if err := s.ask(d, opPSSRIndication, dialled); err != nil {
		return nil, err
	}
	if last != nil {
		s.forget(last)
	}
	s.dialogues[d.key] = d
	h.dialogue, h.refusal = d, ""
	return d, nil
}

// input sends the subscriber's answer, or the release.
func (h *Handset) input(op byte, text string) (*dialogue, error) {
	s := h.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	d := h.dialogue
	if s.closed {
		return nil, ErrClosed
	}
	if d == nil || d.over {
		return nil, ErrNoDialogue
	}
	if op == opUSSRConfirm && (d.asked || d.held != nil) {
		return nil, ErrNotYourTurn
	}
	if !d.peer.receives() {
		p := s.receiver(d.key.systemID)
		if p == nil {
			return nil, ErrNoESME
		}
		d.peer = p
	}
	for len(d.events) > 0 {
		<-d.events // screens that nobody has looked at
	}
	if err := s.ask(d, op, text); err != nil {
		return nil, err
	}
	h.refusal = ""
	if op == opRelease {
		d.leaving = true
		s.forget(d)
	}
	return d, nil
}

// ask sends what the subscriber did and makes it the ESME's turn. The caller
// holds s.mu, as for all methods below.
func (s *Sim) ask(d *dialogue, op byte, text string) error {
	m, err := deliverSM(d, op, text)
	if err != nil {
		return err
	}
	if err := d.peer.deliver(delivery{d, op}, m); err != nil {
		return err
	}
	d.asked, d.acked, d.held = true, false, nil
	return nil
}

// forget closes the dialogue for the ESME.
func (s *Sim) forget(d *dialogue) {
	d.over = true
	delete(s.dialogues, d.key)
}

// delivery is a deliver_sm under way.
type delivery struct {
	dialogue *dialogue
	op       byte
}

// acknowledged takes the ESME's answer to a deliver_sm.
func (s *Sim) acknowledged(sent delivery, status pdu.Status) {
	d := sent.dialogue
	switch {
	case sent.op == opRelease:
		d.leaving = false
		d.tell(event{err: errHungUp})
	case d.leaving:
	case status != statusOK:
		if !d.over || d.held != nil {
			s.forget(d)
			d.held = nil
			d.tell(event{err: &RefusedError{status}})
		}
	default:
		d.acked = true
		if d.held != nil {
			d.tell(*d.held)
			d.held = nil
		}
	}
}

// reply carries out an ESME's submit_sm that could be read.
func (s *Sim) reply(systemID string, r reply) *refusal {
	d := s.dialogues[dialogueKey{systemID, r.msisdn, r.id}]
	if d == nil {
		return refuse(statusDialogueOver, "%s has no dialogue 0x%02x with this ESME", mask(r.msisdn), r.id)
	}
	if r.op != opReleaseRequest && r.service != d.service {
		return refuse(statusInvalidSource, "source_addr is %q, the dialogue's service is %q", r.service, d.service)
	}
	if d.held != nil || r.op == opUSSRRequest && !d.asked {
		return refuse(statusNotYourTurn, "the subscriber has not answered the last menu")
	}
	d.sequence, d.asked = r.sequence, false
	e := event{screen: r.screen}
	if r.op == opReleaseRequest {
		e.err = ErrReleased
	}
	if r.op != opUSSRRequest {
		s.forget(d)
	}
	if d.acked {
		d.tell(e)
	} else {
		d.held = &e
	}
	return nil
}

// refused notes why a submit_sm came to nothing, for the message to whoever
// waits for its text.
func (s *Sim) refused(m *smpp.Message, r *refusal) {
	if h := s.handsets[string(m.Dest.Digits)]; h != nil {
		h.refusal = statusText(r.status) + ": " + r.reason
	}
}

// ServiceOf returns the service code that a string is dialled to, the string up
// to its second star: "*999#" for "*999*1*2#".
func ServiceOf(dialled string) string {
	if !strings.HasPrefix(dialled, "*") {
		return dialled
	}
	if i := strings.Index(dialled[1:], "*"); i > 0 {
		return dialled[:i+1] + "#"
	}
	return dialled
}
