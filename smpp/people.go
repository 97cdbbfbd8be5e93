package smpp

import (
	"sync"
	"time"
)

const (
	// knownFor is for how long the subscriber of a dialogue is known after its
	// last PDU, at least, and twice that at most.
	knownFor = 10 * time.Minute

	// maxPeople bounds who is known. When it is reached,
	// those that were not heard for the longest time are forgotten: that begins
	// with half as many live dialogues, which is more than a link of 3,000 new
	// ones a second has, two minutes long each.
	maxPeople = 1 << 20
)

// person is who a dialogue belongs to, how the SMSC writes that, and whether we
// began the dialogue.
type person struct {
	msisdn, code string
	ends         ends
	pushed       bool
}

// people knows what the PDUs of a dialogue leave out: whose it is, for an SMSC
// that names its subscribers in the first PDU only; and that we began it, for an
// SMSC that has another operation for the end of those.
type people struct {
	anonymous bool // dialogues are known by their id, else by their subscriber

	mu       sync.Mutex
	now, old map[string]person // heard since turned, and before
	turned   time.Time
}

// newPeople returns what a link of the given profile has to remember, nil if
// that is nothing.
func newPeople(p *Profile) *people {
	if !p.AnonymousLater && p.PushEnd == NoOp {
		return nil
	}
	return &people{anonymous: p.AnonymousLater, now: make(map[string]person), turned: time.Now()}
}

func (p *people) key(d Dialogue) string {
	if p.anonymous {
		return d.ID
	}
	return d.MSISDN
}

// learn remembers whose the dialogue of e is.
func (p *people) learn(e *Event) {
	if p.key(e.Dialogue) == "" || e.Dialogue.MSISDN == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put(p.key(e.Dialogue), person{e.Dialogue.MSISDN, e.Code, e.wire.ends, e.wire.pushed})
}

func (p *people) put(key string, who person) {
	p.turn()
	p.now[key] = who
}

// turn makes the young old, and forgets the old, when it is time for that.
func (p *people) turn() {
	switch age := time.Since(p.turned); {
	case age >= 2*knownFor:
		p.old = nil
	case age >= knownFor || len(p.now) >= maxPeople/2:
		p.old = p.now
	default:
		return
	}
	p.now, p.turned = make(map[string]person), time.Now()
}

// recall completes an event with what it leaves out.
func (p *people) recall(e *Event) {
	key := p.key(e.Dialogue)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn()
	who, ok := p.now[key]
	if !ok {
		if who, ok = p.old[key]; !ok {
			return
		}
		delete(p.old, key)
		p.put(key, who)
	}
	if e.Dialogue.MSISDN == "" {
		e.Dialogue.MSISDN, e.wire.ends = who.msisdn, who.ends
		if e.Code == "" {
			e.Code = who.code
		}
	}
	e.wire.pushed = who.pushed && who.msisdn == e.Dialogue.MSISDN
}

// forget drops a dialogue that is over.
func (p *people) forget(d Dialogue) {
	key := p.key(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.now, key)
	delete(p.old, key)
}

// Identify says whose the dialogue of an event without Dialogue.MSISDN is; the
// link knows it from then on for as long as the dialogue lives. It must be
// called before Reply, and by one goroutine: it completes the event's Dialogue.
// For an event that has an MSISDN it does nothing.
func (e *Event) Identify(msisdn string) {
	if e.Dialogue.MSISDN != "" || e.link == nil {
		return
	}
	e.Dialogue.MSISDN = msisdn
	if p := e.link.people; p != nil && e.Op != Release {
		p.learn(e)
	}
}

// meet learns whose an event is, and recalls what it leaves out.
func (p *people) meet(e *Event) {
	if e.Op != Begin {
		p.recall(e)
	}
	switch {
	case e.Op == Release, e.Op == Begin && !p.anonymous:
		p.forget(e.Dialogue)
	case p.anonymous:
		p.learn(e)
	}
}
