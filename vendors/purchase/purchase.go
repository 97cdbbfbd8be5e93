package purchase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ussdd/vendors"
)

// The states of a purchase. The first four are open, the others decided.
// An attempt is in one of Sending, Pending, Delivered, Declined, NotSent,
// Unavailable, Reversed and DeliveredLate; the first two are open.
const (
	Held          = "held"           // the money is held and no attempt is open
	Sending       = "sending"        // an attempt is recorded, its answer is not
	Pending       = "pending"        // the answer leaves it open; the vendor is queried
	Review        = "needs_review"   // the vendor was queried for long enough and could not tell; a person decides
	Delivered     = "delivered"      // the recipient has the airtime; the money is captured
	Failed        = "failed"         // nothing was delivered; the money is back in the wallet
	Reversed      = "reversed"       // delivered and then undone by the vendor; the money is back
	DeliveredLate = "delivered_late" // the money is back, and then it was delivered all the same
	Declined      = "declined"       // attempt: the vendor will not do it
	NotSent       = "not_sent"       // attempt: the request never reached the vendor
	Unavailable   = "unavailable"    // attempt: the endpoint was not tried
)

// moves is the whole life of a purchase: which state may follow which. Each
// move is one call of the Ledger, a compare-and-set in one transaction of it,
// or an operator's, who works on the ledger itself. A Ledger allows no other.
var moves = map[string][]string{
	Held: {
		Sending, // Ledger.Attempt
		Failed,  // Ledger.Release
	},
	Sending: { // Ledger.Record, with the answer, or with Interrupted after a crash
		Held,      // definitely not done; another endpoint is next
		Pending,   // nobody knows yet
		Delivered, // capture
		Failed,    // definitely not done, and no endpoint is left
	},
	Pending: { // Ledger.Record, with what a query found
		Held,      // proved never to have arrived; another endpoint is next
		Pending,   // still open; asked again later
		Review,    // still open, and asked for long enough
		Delivered, // capture
		Failed,    // release
	},
	Review: { // an operator
		Pending,   // asked again; a vendor's call-back does so too
		Delivered, // capture
		Failed,    // release
	},
	Delivered: { // Ledger.Turn, with what came out after the decision
		Reversed,  // the capture is reversed and the money given back
		Delivered, // an earlier attempt delivered too; what it cost is our loss
	},
	Failed: {
		DeliveredLate, // what it cost is our loss
	},
	DeliveredLate: {
		DeliveredLate, // and a second attempt too
	},
	Reversed: {
		Reversed, // an earlier attempt delivered; what it cost is our loss
	},
}

// Moves is the table of moves.
func Moves() map[string][]string {
	table := make(map[string][]string)
	for from, to := range moves {
		table[from] = slices.Clone(to)
	}
	return table
}

// canMove tells whether a purchase may go from one state to the other.
func canMove(from, to string) bool { return slices.Contains(moves[from], to) }

// Order is what a subscriber confirmed.
type Order struct {
	Key       string // names the confirmation: however often it is repeated, it is one purchase
	Session   int64  // the session that it was confirmed in, for reports
	MSISDN    string // who pays: E.164 digits, "2348031234567"
	Recipient string // who gets the airtime: E.164 digits
	Network   string // id of the recipient's network: "mtn"
	Amount    int64  // kobo; whole naira within the network's limits
	Again     bool   // wanted although the subscriber has the same open
}

// Purchase is one purchase as the Ledger last had it. It is a value: changing
// it changes nothing.
type Purchase struct {
	ID            int64
	Ref           string // shown to the subscriber: "TXN-" and 13 characters
	Key           string // Order.Key, unique
	Session       int64
	MSISDN        string
	Recipient     string
	Network       string
	Amount        int64 // kobo
	State         string
	Reason        string    // how the last attempt ended; read it with Outcome and Cause
	Attempts      int       // attempts recorded so far
	Vendor        string    // vendor of the last attempt
	VendorRef     string    // that vendor's own reference, if it gave one
	Cost          int64     // kobo that the vendor says it charged; 0 = not told
	Commission    int64     // kobo that stay with us; set by the Ledger on capture
	CommissionBPS int       // the rate that Commission was computed with, in basis points
	Token         string    // what the vendor gave for the subscriber, of a meter say; "" = nothing; kept like a secret
	Owner         string    // the desk that works on it: Config.Owner
	Version       int64     // counts the moves; every move compares it
	CreatedAt     time.Time // when the money was held
	UpdatedAt     time.Time // last move
	DecidedAt     time.Time // when it was delivered or failed; zero while open
	NextAt        time.Time // when the reconciler looks at it, unless it is being worked on
	UnsureAt      time.Time // when its first ambiguous attempt ended, or began if nobody lived to see that; zero if there is none
	FailedAt      time.Time // when it was known that the last attempt had failed; zero if it has not
	Again         bool      // Order.Again, for Hold; not kept
}

// Open tells whether the purchase is not decided.
func (p Purchase) Open() bool {
	return p.State == Held || p.State == Sending || p.State == Pending || p.State == Review
}

// asleep tells that nobody works on the purchase before a person does.
func (p Purchase) asleep() bool { return !p.Open() || p.State == Review }

// ComputedCost is what the vendor takes by the rate that the commission was
// computed with. Cost is what it says.
func (p Purchase) ComputedCost() int64 { return p.Amount - p.Commission }

// is tells whether p is what o orders.
func (p Purchase) is(o Order) bool {
	return p.MSISDN == o.MSISDN && p.Recipient == o.Recipient && p.Network == o.Network && p.Amount == o.Amount
}

// Attempt is one try to have a purchase delivered by one vendor.
type Attempt struct {
	Purchase   int64  // Purchase.ID
	N          int    // 1 for the first
	Vendor     string // a vendor gets at most one attempt of a purchase
	Reference  string // what the vendor knows it by: made once, of the purchase's Ref, or Ref-N from the second on
	State      string
	Reason     string // one of vendors.Reasons, or a cause of this package
	HTTPStatus int    // of the last answer; 0 = none
	VendorRef  string
	Cost       int64     // kobo; 0 = not told
	Commission int64     // kobo that the vendor says it left us; 0 = not told
	Token      string    // as Purchase.Token
	Detail     string    // for the operator
	Queries    int       // queries made
	NotFound   int       // consecutive queries, the last ones, that count as not found
	StartedAt  time.Time // committed before the first byte
	FinishedAt time.Time // when the vend returned; zero if a crash cut it off
}

func (a Attempt) open() bool { return a.State == Sending || a.State == Pending }

// Purchase.Reason is "" while nothing was attempted and once it is delivered,
// else "OUTCOME" or "OUTCOME:CAUSE", the outcome (as vendors.Outcome names it)
// and the cause of the last attempt. The cause is one of vendors.Reasons or of
// these.
const (
	NoRoute     = "no_route"    // the network has no endpoint that is to be tried now
	Expired     = "expired"     // held for longer than Config.MaxHeld without being sent on
	Interrupted = "interrupted" // the desk died, or lost its memory of it, before the answer was recorded
	Late        = "late"        // recording the attempt took so long that nothing was sent
	Missing     = "missing"     // the vendor does not know the reference, and its word is final
	NoVendor    = "no_vendor"   // the vendor is not configured any more and cannot be queried
)

// reason composes a Purchase.Reason.
func reason(o vendors.Outcome, cause string) string {
	if cause == "" {
		return o.String()
	}
	return o.String() + ":" + cause
}

// Outcome tells how a purchase stands, in the words of a single vend: Delivered;
// Ambiguous while it is open; and for a failed one how its last attempt ended:
// Declined, NotSent or Unavailable.
func Outcome(p Purchase) vendors.Outcome {
	switch p.State {
	case Delivered, DeliveredLate:
		return vendors.Delivered
	case Failed, Reversed:
		word, _, _ := strings.Cut(p.Reason, ":")
		for _, o := range []vendors.Outcome{vendors.NotSent, vendors.Unavailable} {
			if word == o.String() {
				return o
			}
		}
		return vendors.Declined
	}
	return vendors.Ambiguous
}

// Cause is the second half of p's Reason: why the last attempt ended as it
// did. It is one of vendors.Reasons, a cause of this package, or "".
func Cause(p Purchase) string {
	_, cause, _ := strings.Cut(p.Reason, ":")
	return cause
}

// Ledger keeps purchases, their attempts and the money. Each method is one
// transaction: it happens wholly or not at all, and has happened when it
// returns nil. An error other than those named may come after a commit (the
// connection was lost at the wrong moment); the desk copes with that.
//
// Attempt, Record and Release compare and set: p is a purchase as the ledger
// gave it, changed only where the method says so, and unless Version and Owner
// still are what p says, nothing happens and the error is ErrConflict. They
// raise Version by one and give the new row.
type Ledger interface {
	// Hold inserts p (State Held, Version 1) and moves p.Amount from the wallet
	// of p.MSISDN to its hold. If there is a purchase with p.Key, nothing
	// happens and that one is returned with created false. Whether p.MSISDN has
	// another open one of p.Amount for p.Recipient is decided in the same
	// transaction, so that of two desks that hold the same one is told.
	// Errors: an *OpenError, unless p.Again; ErrNoWallet, ErrInsufficient; a
	// *LimitError; ErrOrder if the ledger cannot keep such a purchase;
	// ErrConflict if it finds itself that the purchase with p.Key is of
	// something else.
	Hold(ctx context.Context, p Purchase) (stored Purchase, created bool, err error)

	// Attempt moves p from Held to Sending and inserts a. It writes p.Vendor
	// and p.NextAt, and sets Attempts to a.N.
	Attempt(ctx context.Context, p Purchase, a Attempt) (Purchase, error)

	// Record updates a and moves p, Sending or Pending, to next: Held, Pending,
	// Review, Delivered (with the postings of a capture) or Failed (of a release). It
	// writes p.Reason, p.VendorRef, p.Cost, p.Token and p.NextAt.
	Record(ctx context.Context, p Purchase, a Attempt, next string) (Purchase, error)

	// Release moves p from Held to Failed with reason, with the postings of a
	// release.
	Release(ctx context.Context, p Purchase, reason string) (Purchase, error)

	// Purchase gives a purchase and its attempts in the order of N.
	// Errors: ErrNotFound.
	Purchase(ctx context.Context, ref string) (Purchase, []Attempt, error)

	// ByKey gives the purchase with that Key. Errors: ErrNotFound.
	ByKey(ctx context.Context, key string) (Purchase, error)

	// Due gives up to limit open purchases that need work, those with the
	// earliest NextAt first: owner's own in any open state with NextAt ≤ now,
	// and those of owners whose lease has run out, whatever their NextAt; the
	// latter become owner's in this call, by compare and set. That it gives
	// owner's own Held and Sending ones too is what brings back a purchase
	// that only a lost answer of the ledger told of.
	Due(ctx context.Context, owner string, now time.Time, limit int) ([]Purchase, error)

	// Turn records the truth about attempt a of the decided purchase p, whose
	// State says it: DeliveredLate for a closed attempt that delivered, which makes Failed
	// DeliveredLate and leaves Delivered, DeliveredLate and Reversed; Reversed for the one that had
	// delivered, which makes Delivered Reversed. The postings go with it. It
	// writes p.Token.
	Turn(ctx context.Context, p Purchase, a Attempt) (Purchase, error)

	// Rechecks gives up to limit decided purchases whose vendors owner is to ask
	// again: those that were Pending once, some time after the decision, and those
	// that an operator or a vendor's call-back asks for. It gives owner's own, and
	// those of owners without a lease, which become owner's as in Due. Each is given
	// again from again on, unless Rechecked has ended it.
	Rechecks(ctx context.Context, owner string, now, again time.Time, limit int) ([]Purchase, error)

	// Rechecked ends the rechecks of p. confirmed tells that the vendors' word
	// agrees with the decision.
	Rechecked(ctx context.Context, p Purchase, confirmed bool) error

	// Renew sets the end of owner's lease: until then nobody takes over what
	// owner works on.
	Renew(ctx context.Context, owner string, until time.Time) error
}

// Errors of a Ledger.
var (
	// ErrInsufficient: the wallet does not hold the amount.
	ErrInsufficient = errors.New("purchase: insufficient balance")
	// ErrNoWallet: the subscriber has no wallet.
	ErrNoWallet = errors.New("purchase: no wallet")
	// ErrNotFound: there is no such purchase, or it is somebody else's.
	ErrNotFound = errors.New("purchase: not found")
	// ErrConflict: somebody else moved the purchase first.
	ErrConflict = errors.New("purchase: moved by another")
	// ErrOpen: the subscriber has the same open; see OpenError.
	ErrOpen = errors.New("purchase: the same is open")
)

// OpenError is ErrOpen with the newest purchase of the same subscriber, recipient
// and amount that is not decided: who dials again because he has seen no answer
// can be shown it, and asked before he buys the same again.
type OpenError struct{ Purchase Purchase }

func (e *OpenError) Error() string { return fmt.Sprintf("%v: %s", ErrOpen, e.Purchase.Ref) }

// Unwrap makes it ErrOpen.
func (e *OpenError) Unwrap() error { return ErrOpen }

// LimitError is ErrLimit that says which limit of the Ledger the order is
// beyond.
type LimitError struct {
	Limit string    // the ledger's name of it: "day", "velocity"
	Max   int64     // kobo, or a number of purchases
	Left  int64     // of Max: what would be within the limit
	Until time.Time // when there will be more left; zero for a limit of one purchase
}

func (e *LimitError) Error() string { return fmt.Sprintf("%v: %s of %d", ErrLimit, e.Limit, e.Max) }

// Unwrap makes it ErrLimit.
func (e *LimitError) Unwrap() error { return ErrLimit }

// Errors of a Desk.
var (
	// ErrUnknown: it cannot be told whether there is a purchase.
	ErrUnknown = errors.New("purchase: unknown whether bought")
	// ErrOrder: a field of the order is empty, or the ledger cannot keep it.
	ErrOrder = errors.New("purchase: invalid order")
	// ErrNetwork: the network is not sold.
	ErrNetwork = errors.New("purchase: unknown network")
	// ErrLimit: the amount is outside the network's limits or not whole naira,
	// or beyond a limit of the ledger, which a *LimitError names.
	ErrLimit = errors.New("purchase: amount outside limits")
	// ErrKeyReused: the key belongs to a purchase of something else.
	ErrKeyReused = errors.New("purchase: key of another order")
	// ErrBusy: Config.MaxInFlight purchases are in flight.
	ErrBusy = errors.New("purchase: too many in flight")
	// ErrDraining: the desk is closing down.
	ErrDraining = errors.New("purchase: draining")
)
