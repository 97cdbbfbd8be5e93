package smpp

import "time"

// Admitter is a Handler that is asked before a dialogue begins. A dialogue that
// it does not admit is refused as the link's profile says: by the status of
// deliver_sm_resp, or by Config.Busy as its only screen; the Handler hears
// nothing of it. AdmitUSSD must not block. It is called as HandleUSSD is, before
// the event's PDU is acknowledged, and must not answer the event.
type Admitter interface {
	Handler
	AdmitUSSD(*Event) bool
}

// Why a dialogue was not admitted: keys of Counters.NotAdmitted.
const (
	draining = "draining" // by SetAdmin
	full     = "queue"    // too many replies wait for the SMSC
	declined = "handler"  // by AdmitUSSD
)

// admit reports whether a dialogue may begin, or else why not. The last quarter
// of the queue belongs to those who are in a dialogue already. What is to begin
// a dialogue of ours waits behind the answers, so it takes no room from them.
func (c *conn) admit(e *Event) (why string) {
	l := c.link
	sender := c.bind
	if sender.role == receiver {
		sender = sender.partner
	}
	l.mu.Lock()
	admin, waiting := l.admin, sender.answers()+l.homeless.len()
	l.mu.Unlock()
	switch {
	case admin == Draining:
		return draining
	case waiting > l.cfg.Queue*3/4:
		return full
	case l.admitter != nil && !l.admitter.AdmitUSSD(e):
		return declined
	}
	return ""
}

// busyPatience is how long a subscriber who is not admitted waits to be told so.
const busyPatience = 10 * time.Second

// turnAway tells a subscriber who is not admitted that there is no room.
func (l *Link) turnAway(e *Event) {
	if err := e.Reply(l.cfg.Busy, true, time.Now().Add(busyPatience)); err != nil {
		l.log.Debug("begin not admitted, and not answered", "msisdn", mask(e.Dialogue.MSISDN), "err", err)
	}
}
