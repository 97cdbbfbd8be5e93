package smpp

// What the tests of dialects need of a profile without a link.

// Read is read.
func (p *Profile) Read(m *Message) (*Event, error) { return p.read(m) }

// Encode is encode.
func (p *Profile) Encode(e *Event, text string, end bool) ([]byte, error) {
	return p.encode(e, text, end)
}

// Opening is opening.
func (p *Profile) Opening(msisdn, code string) (*Event, error) { return p.opening(msisdn, code) }

// Opened is opened, of an event that follows e.
func (e *Event) Opened(p *Profile, m *Message) *Event {
	o := e.follow(Opened)
	p.opened(m, o)
	return o
}

// InPush makes e one of a dialogue that we began.
func (e *Event) InPush() *Event {
	e.wire.pushed = true
	return e
}
