package smpptest

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// dialogueKey is how the gateway finds a dialogue: where a dialect's numbers
// repeat between subscribers, by the subscriber too.
type dialogueKey struct {
	systemID string
	msisdn   string // empty where the number alone tells
	id       uint32 // 0 in a dialect without numbers
}

func (s *Sim) key(systemID, msisdn string, id uint32) dialogueKey {
	if s.dialect.idAlone {
		msisdn = ""
	}
	return dialogueKey{systemID, msisdn, id}
}

// dialogue is one USSD dialogue. Guarded by sim.mu, but for events.
type dialogue struct {
	key      dialogueKey
	handset  *Handset
	kind     kind
	msisdn   string
	service  string
	id       uint32
	counter  uint32 // the last in the session's TLV
	asked    bool   // it's the ESME's turn
	acked    bool   // the last request has been acknowledged
	last     bool   // the subscriber's answer will end it
	finished bool   // the ESME has said its last word
	leaving  bool   // the subscriber has hung up, the ESME's acknowledgement is awaited
	over     bool
	held     *event    // came before the request was acknowledged
	withheld *withheld // the response to the ESME's question
	peer     *peer     // the bind used last

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

// withheld is a response that waits for the subscriber's answer.
type withheld struct {
	peer *peer
	m    smpp.Message
	late bool // it waits even longer, until that answer has been sent
}

// ending is what is remembered of a dialogue that is over.
type ending struct {
	byESME bool // and nothing has been said to the ESME since
}

// maxEnded is how many dialogues are remembered after their end.
const maxEnded = 1 << 16

// open makes a dialogue of a handset; it is not in s.dialogues yet. The caller
// holds s.mu, as for all functions below.
func (s *Sim) open(p *peer, h *Handset, k kind, service string, repeated bool) *dialogue {
	d := &dialogue{handset: h, kind: k, msisdn: h.msisdn, service: service, peer: p, events: make(chan event, 2)}
	d.id = s.newID(p.systemID, h, repeated)
	d.key = s.key(p.systemID, h.msisdn, d.id)
	return d
}

// repeatedID is the number that all dialogues have if they are to have the
// same.
const repeatedID = 0x2A

// newID returns a number for a dialogue: never that of the handset's last one,
// which the ESME must not take it for.
func (s *Sim) newID(systemID string, h *Handset, repeated bool) uint32 {
	mask := uint32(1)<<bits.OnesCount32(s.dialect.session.id) - 1
	if mask == 0 {
		return 0
	}
	next := &s.lastID
	if repeated {
		id := uint32(repeatedID - 1)
		next = &id
	}
	for {
		*next = (*next + 1) & mask
		_, taken := s.dialogues[s.key(systemID, h.msisdn, *next)]
		if !taken && (h.dialogue == nil || h.dialogue.id != *next) {
			return *next
		}
	}
}

// ask sends what the subscriber or the network did; again: twice.
func (s *Sim) ask(d *dialogue, a act, text string, again bool) error {
	if err := s.route(d); err != nil {
		return err
	}
	o := &outgoing{act: a, text: text, again: again}
	m := &moment{peer: d.peer, handset: d.handset, dialogue: d, out: o}
	switch a {
	case actInput, actLastInput:
		s.strike(atInput, m)
		s.strike(atSend, m)
	case actBegin, actBeginOnce:
		s.strike(atSend, m)
	}
	message, err := o.message(s.dialect, d)
	if err != nil {
		return err
	}
	if w := d.withheld; w != nil && !w.late {
		s.settle(d, statusOK)
	}
	d.asked, d.acked, d.held = true, false, nil
	if err := o.send(d, message); err != nil {
		return err
	}
	s.settle(d, statusOK)
	return nil
}

// leave tells the ESME that the dialogue is over, if the dialect has a way to
// say so, and reports whether it has: then an acknowledgement will come. A
// response that is withheld says it by its status; when the subscriber left,
// it is all that says it.
func (s *Sim) leave(d *dialogue, a act) (told bool, err error) {
	waited := d.withheld != nil
	status := statusNetworkAborted
	if a == actHangup {
		status = statusUserAborted
	}
	s.forget(d, status)
	if _, ok := s.dialect.in[a]; !ok || waited && s.dialect.afterUser && a == actHangup {
		return false, nil
	}
	return true, s.ask(d, a, "", false)
}

// route sees that the dialogue has a bind by which requests can go.
func (s *Sim) route(d *dialogue) error {
	if d.peer.receives() {
		return nil
	}
	p := s.receiver(d.key.systemID)
	if p == nil {
		return ErrNoESME
	}
	d.peer = p
	return nil
}

// settle sends a response that was withheld.
func (s *Sim) settle(d *dialogue, status pdu.Status) {
	if w := d.withheld; w != nil {
		d.withheld = nil
		w.m.Status = status
		if status != statusOK {
			w.m.MessageID, w.m.TLVs = nil, nil
		}
		w.peer.respond(&w.m)
	}
}

// forget closes the dialogue for the ESME. The status is for a response that is
// withheld.
func (s *Sim) forget(d *dialogue, status pdu.Status) {
	if d.over {
		return
	}
	d.over = true
	delete(s.dialogues, d.key)
	if s.dialect.session.tag == 0 && d.asked {
		d.handset.orphans++
	}
	if len(s.endings) < maxEnded {
		s.endings = append(s.endings, d.key)
	} else {
		delete(s.ended, s.endings[s.nextEnding])
		s.endings[s.nextEnding] = d.key
		s.nextEnding = (s.nextEnding + 1) % maxEnded
	}
	s.ended[d.key] = ending{byESME: d.finished}
	s.settle(d, status)
}

// delivery is a request under way.
type delivery struct {
	dialogue *dialogue // nil: of no consequence
	act      act
	bad      bool    // the ESME must not accept it
	receipt  *texted // it is the receipt of this
}

// acknowledged takes the ESME's answer to a request.
func (s *Sim) acknowledged(p *peer, sent delivery, status pdu.Status) {
	d := sent.dialogue
	switch {
	case sent.receipt != nil:
		s.reported(p, sent.receipt, status)
	case sent.bad:
		if status == statusOK {
			s.complain(p.systemID, "a message that can't be read was acknowledged as if it could")
		}
	case d == nil:
	case sent.act == actHangup || sent.act == actFailure || sent.act == actReject || sent.act == actConfirm:
		if d.leaving {
			d.leaving = false
			d.tell(event{err: errHungUp})
		}
	case sent.act == actLastInput:
		d.last = false
		d.tell(event{screen: Screen{End: true}})
	case d.leaving:
	case status != statusOK:
		if !d.over || d.held != nil {
			d.asked, d.held = false, nil
			s.forget(d, statusDialogueOver)
			d.tell(event{err: &RefusedError{status}})
		}
	default:
		first := !d.acked
		d.acked = true
		if d.held != nil {
			d.tell(*d.held)
			d.held = nil
		}
		if first && !d.over && d.asked {
			s.strike(atAck, &moment{peer: p, handset: d.handset, dialogue: d})
		}
	}
}

// submission is a submit_sm while it is carried out.
type submission struct {
	peer     *peer
	m        *smpp.Message
	dialogue *dialogue // nil: not known
	handset  *Handset  // nil: not known
	act      act
	refused  *refusal
	resp     smpp.Message
	hold     hold
	withheld bool   // the response is the dialogue's matter, or is lost
	after    func() // if set, called when the response has been sent
}

// hold says when a response is sent.
type hold struct {
	delay     time.Duration
	afterUser bool // when the subscriber has answered
	late      bool // when that answer has been sent
}

// submitted carries out a submit_sm that could be decoded.
func (s *Sim) submitted(sub *submission) *refusal {
	if s.dialect.plain(sub.m) {
		return s.texted(sub)
	}
	r, refused := s.dialect.read(sub.m)
	if refused != nil {
		return refused
	}
	numbered := s.dialect.session.tag != 0
	d := s.dialogues[s.key(sub.peer.systemID, r.msisdn, r.id)]
	if numbered && !r.known {
		d = nil
	}
	if _, opens := s.dialect.out[opening][r.signal]; d == nil && !r.known && (opens || numbered) {
		return s.opened(sub, r)
	}
	if d == nil {
		return s.stranger(sub.peer.systemID, r)
	}
	sub.dialogue, sub.handset = d, d.handset
	return s.replied(sub, d, r)
}

// replied carries out a reply to a dialogue that is open.
func (s *Sim) replied(sub *submission, d *dialogue, r reply) *refusal {
	var may bool
	if sub.act, may = s.dialect.out[d.kind][r.signal]; !may {
		return refuse(statusWrongState, "%s has no place in this dialogue", r.signal)
	}
	var screen Screen
	if sub.act != actRelease {
		if code := string(s.dialect.code(d.service)); s.dialect.addressing == swapped && r.service != code {
			return refuse(statusInvalidSource, "source_addr is %q, the dialogue's service is %q", r.service, code)
		}
		var refused *refusal
		if screen, refused = s.dialect.readText(sub.m, d.kind); refused != nil {
			return refused
		}
	}
	if d.held != nil || !d.asked && sub.act != actEnd && sub.act != actRelease {
		if d.handset.orphans > 0 {
			d.handset.orphans--
			return excuse(statusNotYourTurn, "the reply is perhaps to the dialogue before")
		}
		return refuse(statusNotYourTurn, "the subscriber has not answered the last menu")
	}
	if mask := s.dialect.session.counter; mask != 0 {
		size := uint32(1) << bits.OnesCount32(mask)
		if ahead := (r.counter - d.counter) % size; ahead == 0 || ahead >= size/2 {
			return refuse(statusInvalidTLVValue, "the ESME's count is %d after %d: it has not moved on", r.counter, d.counter)
		}
	}
	s.strike(atSubmit, &moment{peer: sub.peer, handset: d.handset, dialogue: d, sub: sub})
	if sub.refused != nil {
		return sub.refused
	}
	d.counter = r.counter
	s.show(sub, d, screen)
	return nil
}

// show brings a reply to the handset.
func (s *Sim) show(sub *submission, d *dialogue, screen Screen) {
	e := event{screen: screen}
	switch sub.act {
	case actAsk, actAskLast:
		d.asked, d.last = false, sub.act == actAskLast
		if s.dialect.afterUser || sub.hold.afterUser {
			d.withheld = &withheld{peer: sub.peer, m: sub.resp, late: sub.hold.late}
			sub.withheld = true
		}
	case actEnd:
		e.screen.End, d.asked, d.finished = true, false, true
		s.forget(d, statusDialogueOver)
		sub.after = func() { s.strike(atEnd, &moment{peer: sub.peer, handset: d.handset, dialogue: d}) }
	case actRelease:
		e.err, d.asked, d.finished = ErrReleased, false, true
		s.forget(d, statusDialogueOver)
	}
	if d.acked {
		d.tell(e)
	} else {
		d.held = &e
	}
}

// opened carries out a reply that asks for a dialogue.
func (s *Sim) opened(sub *submission, r reply) *refusal {
	var may bool
	if sub.act, may = s.dialect.out[opening][r.signal]; !may {
		return refuse(statusMissingTLV, "the session parameter 0x%s is missing", s.dialect.session.tag.Hex())
	}
	h := s.handsets[r.msisdn]
	if h == nil {
		return excuse(statusUnknownSubscriber, "there is no handset %s", mask(r.msisdn))
	}
	sub.handset = h
	last := h.dialogue
	if last != nil && !last.over {
		if last.asked && last.key.systemID == sub.peer.systemID {
			return refuse(statusMissingTLV, "the session parameter 0x%s is missing: the subscriber waits for an answer", s.dialect.session.tag.Hex())
		}
		return excuse(statusDialogueOpen, "the subscriber has a dialogue")
	}
	if h.orphans > 0 {
		h.orphans--
		return excuse(statusDialogueOver, "the reply is perhaps to the dialogue before")
	}
	screen, refused := s.dialect.readText(sub.m, network)
	if refused != nil {
		return refused
	}
	s.strike(atPush, &moment{peer: sub.peer, handset: h, sub: sub})
	if sub.refused != nil {
		return sub.refused
	}
	d := s.open(sub.peer, h, network, r.service, false)
	d.asked, d.acked = true, true
	s.dialogues[d.key], h.dialogue, sub.dialogue = d, d, d
	if s.dialect.tellsID {
		sub.resp.TLVs = s.dialect.session.append(nil, s.dialect.session.write(d.id, 0, false))
	}
	s.show(sub, d, screen)
	if _, confirms := s.dialect.in[actConfirm]; confirms && sub.act == actEnd {
		sub.after = func() {
			if err := s.ask(d, actConfirm, "", false); err != nil {
				s.log.Warn("confirm a notice", "error", err)
			}
		}
	}
	h.ring()
	return nil
}

// stranger refuses a reply to a dialogue that is not there.
func (s *Sim) stranger(systemID string, r reply) *refusal {
	end, was := s.ended[s.key(systemID, r.msisdn, r.id)]
	switch {
	case was && end.byESME:
		return refuse(statusDialogueOver, "the ESME has ended the dialogue 0x%02x of %s itself", r.id, mask(r.msisdn))
	case was:
		return excuse(statusDialogueOver, "the dialogue 0x%02x of %s is over", r.id, mask(r.msisdn))
	}
	for key, d := range s.dialogues {
		switch {
		case d.id != r.id:
		case key.systemID == systemID && s.dialect.session.tag != 0:
			return refuse(statusDialogueOver, "%s has no dialogue 0x%02x: it belongs to another subscriber", mask(r.msisdn), r.id)
		case key.systemID != systemID && (d.msisdn == r.msisdn || r.msisdn == ""):
			return refuse(statusDialogueOver, "dialogue 0x%02x of %s is held with %s, not with %s", r.id, mask(d.msisdn), key.systemID, systemID)
		}
	}
	return refuse(statusDialogueOver, "%s never had a dialogue 0x%02x with this ESME", mask(r.msisdn), r.id)
}

// String is the signal as a PDU has it.
func (s signal) String() string {
	if s.letters != "" {
		return fmt.Sprintf("service_type %q", s.letters)
	}
	if s.end {
		return fmt.Sprintf("ussd_service_op 0x%02x with the E bit", s.op)
	}
	return fmt.Sprintf("ussd_service_op 0x%02x", s.op)
}

// Complaint is something that an ESME did and should not have done.
type Complaint struct {
	SystemID string // the ESME's; empty if it was not bound
	Text     string
}

// String is "ESME NAME: TEXT".
func (c Complaint) String() string { return fmt.Sprintf("ESME %s: %s", c.SystemID, c.Text) }

// maxComplaints are kept; more are only logged.
const maxComplaints = 100

// complain keeps and logs a complaint.
func (s *Sim) complain(systemID, format string, args ...any) {
	c := Complaint{SystemID: systemID, Text: fmt.Sprintf(format, args...)}
	if len(s.complaints) < maxComplaints {
		s.complaints = append(s.complaints, c)
	}
	s.log.Error("the ESME is wrong", "system_id", systemID, "complaint", c.Text)
}

// errHungUp is the event that tells of an acknowledged release.
var errHungUp = fmt.Errorf("hung up: %w", ErrNoDialogue)

// broken is the error of a dialogue that a fault has ended.
func broken(f Fault) error { return fmt.Errorf("%w %s", ErrFault, f) }

// ErrFault is what a dialogue ended with when a fault was made to end it.
var ErrFault = errors.New("the dialogue was ended by the fault")
