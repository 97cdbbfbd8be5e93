package smpp

import (
	"sync"
	"time"
)

const (
	// knownFor is for how long the subscriber of a dialogue is known after its
	// last PDU, at least, and twice that at most.
	knownFor = 10 * time.Minute

	// maxPeople bounds who is known. When it is reached, those that were not
	// heard for the longest time are forgotten.
	maxPeople = 1 << 18
)

// person is who a dialogue belongs to, and how the SMSC writes that.
type person struct {
	msisdn, code string
	source, dest endpoint
}

// people knows whose the dialogues of an SMSC are that names its subscribers in
// the first PDU only.
type people struct {
	mu       sync.Mutex
	now, old map[string]person // by Dialogue.ID: heard since turned, and before
	turned   time.Time
}

func newPeople() *people {
	return &people{now: make(map[string]person), turned: time.Now()}
}

// learn remembers whose the dialogue of e is.
func (p *people) learn(e *Event) {
	if e.Dialogue.ID == "" || e.Dialogue.MSISDN == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put(e.Dialogue.ID, person{e.Dialogue.MSISDN, e.Code, e.source, e.dest})
}

func (p *people) put(id string, who person) {
	p.turn()
	p.now[id] = who
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

// recall completes an event that does not say whose it is.
func (p *people) recall(e *Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn()
	who, ok := p.now[e.Dialogue.ID]
	if !ok {
		if who, ok = p.old[e.Dialogue.ID]; !ok {
			return
		}
		delete(p.old, e.Dialogue.ID)
		p.put(e.Dialogue.ID, who)
	}
	e.Dialogue.MSISDN = who.msisdn
	e.source, e.dest = who.source, who.dest
	if e.Code == "" {
		e.Code = who.code
	}
}

// forget drops a dialogue that is over.
func (p *people) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.now, id)
	delete(p.old, id)
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

// meet learns whose an event is, or recalls it if the event does not say.
func (p *people) meet(e *Event) {
	if e.Dialogue.MSISDN == "" {
		p.recall(e)
	} else {
		p.learn(e)
	}
	if e.Op == Release {
		p.forget(e.Dialogue.ID)
	}
}
