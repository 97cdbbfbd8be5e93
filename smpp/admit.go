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

// Knower is a Handler that knows which dialogues live. An SMSC may deliver a
// begin again: to turn it away would show a subscriber Config.Busy in the middle
// of a dialogue, and end that. So a begin of a live dialogue is let in whatever
// is wanted of the link and however much waits; an Admitter is still asked.
// LivesUSSD must not block, and is called as AdmitUSSD is.
type Knower interface {
	Handler
	LivesUSSD(*Event) bool
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
		why = draining
	case waiting > l.cfg.Queue*3/4:
		why = full
	}
	switch {
	case why != "" && (l.knower == nil || !l.knower.LivesUSSD(e)):
		return why
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
		l.log.Debug("begin not admitted, and not answered", "msisdn", Mask(e.Dialogue.MSISDN), "err", err)
	}
}
