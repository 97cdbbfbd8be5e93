package vendors

import (
	"fmt"
	"time"
)

// Outcome says how one attempt to vend ended. The zero Outcome is invalid.
type Outcome uint8

// The five ways in which a vend can end.
const (
	// Delivered: the vendor says that the recipient has the airtime.
	Delivered Outcome = iota + 1
	// Declined: the vendor says that it did not and will not execute the request.
	Declined
	// Ambiguous: the request may have been executed, now or later. Only a query can tell.
	Ambiguous
	// NotSent: the vendor could not be reached; not a byte of the request left.
	NotSent
	// Unavailable: the endpoint was not tried; its breaker is open or its limit is reached.
	Unavailable
)

// String gives the outcome's name in menus, reports and metrics:
// delivered, declined, pending, not_sent or unavailable.
func (o Outcome) String() string {
	switch o {
	case Delivered:
		return "delivered"
	case Declined:
		return "declined"
	case Ambiguous:
		return "pending"
	case NotSent:
		return "not_sent"
	case Unavailable:
		return "unavailable"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// Reasons say more about an outcome or a finding. The vocabulary is closed, so that menus and
// metrics can name every one of them.
const (
	ReasonBadNumber  = "bad_number" // the recipient cannot be recharged on this network
	ReasonLimit      = "limit"      // the amount is outside of what is sold
	ReasonFloat      = "float"      // our account at the vendor is too low
	ReasonConfig     = "config"     // credentials, rights or mapping: somebody here has to mend it
	ReasonDown       = "down"       // the vendor or its network is out of service
	ReasonTimeout    = "timeout"    // no connection, or no whole answer, in time
	ReasonBusy       = "busy"       // a limit of calls is reached, here or there
	ReasonDuplicate  = "duplicate"  // the vendor had seen the reference before
	ReasonRefused    = "refused"    // the vendor gave no better reason
	ReasonPending    = "pending"    // the vendor says that it is still at work
	ReasonUnreadable = "unreadable" // the answer was cut off, or no rule knows it
)

// Reasons lists the whole vocabulary of Result.Reason and Finding.Reason.
func Reasons() []string {
	return []string{
		ReasonBadNumber, ReasonLimit, ReasonFloat, ReasonConfig, ReasonDown, ReasonTimeout,
		ReasonBusy, ReasonDuplicate, ReasonRefused, ReasonPending, ReasonUnreadable,
	}
}

// Request is one attempt to deliver airtime.
type Request struct {
	Network   string // id of the network: "mtn"
	Recipient string // E.164 digits without plus: "2348031234567"
	Amount    int64  // kobo, positive
	Reference string // this attempt's own reference, 1 to 64 printable ASCII characters, see Endpoint.Reference
	Product   string // id of what is sold; "" = airtime
}

// Result is what became of one attempt.
type Result struct {
	Outcome    Outcome
	Reason     string        // one of Reasons, or "" when there is nothing to add
	Final      bool          // declined for the request itself: the next endpoint would decline too
	VendorRef  string        // the vendor's own reference, if it gave one
	Cost       int64         // kobo that the vendor charged for a delivery; 0 = not told
	Commission int64         // kobo of the amount that the vendor left us; 0 = not told
	Float      int64         // kobo that the vendor says is left of our float, if
	FloatKnown bool          // it says so
	Token      string        // what the subscriber must be given, of a meter say; to be kept like a secret
	HTTPStatus int           // 0 = no answer
	Sent       bool          // a byte of the request may have left
	Detail     string        // for the operator: at most 200 bytes, without secrets
	Took       time.Duration // from the call to its result
}

// FindingState says what a query found. The zero FindingState is invalid.
type FindingState uint8

// What a query by reference can find.
const (
	// FoundDelivered: the vendor delivered the airtime.
	FoundDelivered FindingState = iota + 1
	// FoundFailed: the vendor has the request, and it failed for good.
	FoundFailed
	// FoundPending: the vendor has the request and has not decided it.
	FoundPending
	// NotFound: the vendor does not know the reference. See Endpoint.NotFoundFinal.
	NotFound
	// Unknown: the query itself failed, or its answer matches no rule.
	Unknown
)

// String gives the state's name: delivered, failed, pending, not_found or unknown.
func (s FindingState) String() string {
	switch s {
	case FoundDelivered:
		return "delivered"
	case FoundFailed:
		return "failed"
	case FoundPending:
		return "pending"
	case NotFound:
		return "not_found"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Finding is what one query found.
type Finding struct {
	State      FindingState
	VendorRef  string // the vendor's own reference, if it gave one
	Reason     string // one of Reasons, or ""
	Detail     string // for the operator: at most 200 bytes, without secrets
	Cost       int64  // kobo that the vendor charged for a delivery; 0 = not told
	Commission int64  // kobo of the amount that the vendor left us; 0 = not told
	Token      string // what the subscriber must be given, of a meter say; to be kept like a secret
	HTTPStatus int    // 0 = no answer
}

// Network is one network that can be sold.
type Network struct {
	ID   string // "mtn"
	Name string // as subscribers read it: "MTN"
	Min  int64  // smallest amount, kobo
	Max  int64  // largest amount, kobo
}
