package smpp

import "errors"

// ErrNoPush is returned by Open on a link whose profile has no sessions that the
// network begins.
var ErrNoPush = errors.New("smpp: the link's profile has no network-initiated sessions")

// Open returns an Event by which a session can be begun on a subscriber's
// handset: its first Reply shows a text and waits for an answer (USSR), or, with
// end set, only tells something (USSN). Its Dialogue has no ID: the SMSC gives
// one later. The link's Handler gets an event with Op Opened once the SMSC has
// accepted the first reply, or Refused. msisdn is E.164 digits without plus,
// code the service that the subscriber sees as the sender, "*999#".
func (l *Link) Open(msisdn, code string) (*Event, error) { panic(msisdn + code) }

// Admitter is a Handler that is asked before a dialogue begins. A dialogue that
// it does not admit is refused as the link's profile says: by the status of
// deliver_sm_resp, or by Config.Busy as its only screen; the Handler hears
// nothing of it. AdmitUSSD must not block.
type Admitter interface {
	Handler
	AdmitUSSD(*Event) bool
}
