package smpptest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/fiorix/go-smpp/smpp/pdu"
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

// Handset is a subscriber's phone, with one dialogue at a time. Its methods may
// be called from any goroutine, but a dialogue makes sense only if one
// goroutine holds it.
type Handset struct {
	sim    *Sim
	msisdn string

	rings chan struct{} // holds one token when an ESME has opened a dialogue
	beeps chan struct{} // likewise when a short message has come

	// Guarded by sim.mu.
	dialogue *dialogue  // the last one; nil before the first
	refusal  string     // why the last submit_sm to this number was refused
	read     int        // short messages that NextSMS has returned
	armed    []armed    // faults that wait for this handset
	dice     *rand.Rand // of Chaos; nil before its first use

	// orphans counts replies that may still come to dialogues that are over,
	// where nothing in them would tell.
	orphans int
}

// Handset returns the phone with the given number (digits, international,
// without plus). The same number is the same phone.
func (s *Sim) Handset(msisdn string) *Handset {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.handsets[msisdn]
	if h == nil {
		h = &Handset{sim: s, msisdn: msisdn, rings: make(chan struct{}, 1), beeps: make(chan struct{}, 1)}
		s.handsets[msisdn] = h
		if len(s.texts[msisdn]) > 0 {
			h.beep()
		}
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

// ring tells who waits that an ESME has opened a dialogue.
func (h *Handset) ring() {
	select {
	case h.rings <- struct{}{}:
	default:
	}
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

// Answer types an answer to the screen shown and returns the next screen. An
// answer to a question that the ESME has called its last has none; the Screen
// then is without text and ends the dialogue.
func (h *Handset) Answer(ctx context.Context, text string) (Screen, error) {
	d, err := h.input(text)
	if err != nil {
		return Screen{}, fmt.Errorf("answer: %w", err)
	}
	screen, err := h.await(ctx, d)
	if err != nil {
		return Screen{}, fmt.Errorf("answer: %w", err)
	}
	return screen, nil
}

// Hangup ends the dialogue as the subscriber does. Where the dialect has a
// signal for that, Hangup returns when the ESME has acknowledged it.
func (h *Handset) Hangup(ctx context.Context) error { return h.leave(ctx, "hang up", actHangup) }

// Abort ends the dialogue as the network does when it loses the subscriber.
// Where the dialect has a signal for that, Abort returns when the ESME has
// acknowledged it.
func (h *Handset) Abort(ctx context.Context) error { return h.leave(ctx, "abort", actFailure) }

func (h *Handset) leave(ctx context.Context, what string, a act) error {
	d, err := h.left(a)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if _, err := h.await(ctx, d); err != nil && !errors.Is(err, errHungUp) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Next waits for a screen that comes without the subscriber's doing: in the
// open dialogue, or, without one, in a dialogue that an ESME opens. The error
// matches ErrNoDialogue, beside ctx's, if there is none to the end of ctx.
func (h *Handset) Next(ctx context.Context) (Screen, error) {
	for {
		if d := h.called(); d != nil {
			return h.await(ctx, d)
		}
		select {
		case <-h.rings:
		case <-h.sim.done:
			return Screen{}, ErrClosed
		case <-ctx.Done():
			return Screen{}, fmt.Errorf("%w: %w", ErrNoDialogue, ctx.Err())
		}
	}
}

// called returns the handset's dialogue, or nil if nothing more will come of
// it.
func (h *Handset) called() *dialogue {
	h.sim.mu.Lock()
	defer h.sim.mu.Unlock()
	if h.dialogue == nil || h.dialogue.silent() {
		return nil
	}
	return h.dialogue
}

// silent tells whether nothing more will come of the dialogue. The caller holds
// sim.mu.
func (d *dialogue) silent() bool {
	return d.over && !d.leaving && !d.last && d.held == nil && len(d.events) == 0
}

// await returns the dialogue's next event.
func (h *Handset) await(ctx context.Context, d *dialogue) (Screen, error) {
	select {
	case e := <-d.events:
		return e.screen, e.err
	default:
	}
	h.sim.mu.Lock()
	silent := d.silent()
	h.sim.mu.Unlock()
	if silent {
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

// beginning is a dialogue that a subscriber is about to begin.
type beginning struct {
	act      act
	repeated bool // its number is everybody's
	over     bool // another one begins before it
	again    bool // its begin is sent twice
}

// begin opens a dialogue and sends its first request.
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
	b := &beginning{act: actBegin}
	s.strike(atBegin, &moment{peer: p, handset: h, begin: b})
	if b.over {
		b.over = false
		if _, err := s.begin(p, h, service, dialled, b); err != nil {
			return nil, err
		}
	}
	return s.begin(p, h, service, dialled, b)
}

// begin opens a dialogue in the place of the handset's last. The caller holds
// s.mu.
func (s *Sim) begin(p *peer, h *Handset, service, dialled string, b *beginning) (*dialogue, error) {
	k := mobile
	if b.act == actBeginOnce {
		k = phase1
	}
	d := s.open(p, h, k, service, b.repeated)
	if _, _, err := typed(s.dialect.typed, dialled); err != nil {
		return nil, err // before the last dialogue is given up for it
	}
	h.orphans = 0
	if h.dialogue != nil {
		s.forget(h.dialogue, statusDialogueOver)
	}
	s.dialogues[d.key] = d
	h.dialogue, h.refusal = d, ""
	if err := s.ask(d, b.act, dialled, b.again); err != nil {
		s.forget(d, statusDialogueOver)
		return nil, err
	}
	return d, nil
}

// input sends the subscriber's answer.
func (h *Handset) input(text string) (*dialogue, error) {
	s := h.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := h.open()
	if err != nil {
		return nil, err
	}
	if d.asked || d.held != nil {
		return nil, ErrNotYourTurn
	}
	a := actInput
	if d.last {
		a = actLastInput
	}
	d.drain()
	if err := s.ask(d, a, text, false); err != nil {
		return nil, err
	}
	h.refusal = ""
	if a == actLastInput {
		d.asked = false
		s.forget(d, statusDialogueOver)
	}
	return d, nil
}

// left ends the dialogue, with a word to the ESME if the dialect has one.
func (h *Handset) left(a act) (*dialogue, error) {
	s := h.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := h.open()
	if err != nil {
		return nil, err
	}
	d.drain()
	h.refusal = ""
	m := &moment{peer: d.peer, handset: h, dialogue: d}
	s.strike(atHangup, m)
	if m.silent {
		s.forget(d, statusUserAborted)
		d.tell(event{err: errHungUp})
		return d, nil
	}
	told, err := s.leave(d, a)
	if err != nil {
		return nil, err
	}
	d.last, d.leaving = false, told
	if !told {
		d.tell(event{err: errHungUp})
	}
	return d, nil
}

// open returns the handset's dialogue if it is open. The caller holds sim.mu.
func (h *Handset) open() (*dialogue, error) {
	if h.sim.closed {
		return nil, ErrClosed
	}
	if h.dialogue == nil || h.dialogue.over {
		return nil, ErrNoDialogue
	}
	return h.dialogue, nil
}

// drain forgets screens that nobody has looked at.
func (d *dialogue) drain() {
	for len(d.events) > 0 {
		<-d.events
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
