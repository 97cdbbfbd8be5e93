package smpp

import (
	"errors"
	"fmt"
)

// ErrNoPush is returned by Open on a link whose profile has no sessions that the
// network begins.
var ErrNoPush = errors.New("smpp: the link's profile has no network-initiated sessions")

// Open returns an Event by which a session can be begun on a subscriber's
// handset: its first Reply shows a text and waits for an answer (USSR), or, with
// end set, only tells something (USSN). Its Dialogue has no ID: the SMSC gives
// one later. The link's Handler gets an event with Op Opened once the SMSC has
// accepted the first reply, or Refused. msisdn is E.164 digits without plus,
// code the service that the subscriber sees as the sender, "*999#".
//
// The first reply leaves on any bind of the link, behind the answers that
// somebody waits for.
func (l *Link) Open(msisdn, code string) (*Event, error) {
	e, err := l.profile.opening(msisdn, code)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	e.Dialogue.SMSC, e.link = l.cfg.Name, l
	return e, nil
}

// opened tells the handler that the SMSC has accepted the reply that begins a
// dialogue.
func (l *Link) opened(c *conn, r *reply, frame []byte) {
	e := r.event.follow(Opened)
	e.bind = c.bind
	var m Message
	if err := Decode(frame, &m); err == nil {
		l.profile.opened(&m, e)
	}
	if l.people != nil && !r.end {
		l.people.learn(e)
	}
	l.emit(e)
}
