package store

import (
	"errors"
	"time"
)

// Errors that callers decide by. Methods wrap them with what they were doing;
// compare with errors.Is.
var (
	// ErrNotFound: no wallet, purchase, session or service has that name.
	ErrNotFound = errors.New("not found")
	// ErrNoWallet: the subscriber who is to pay has no wallet.
	ErrNoWallet = errors.New("no such wallet")
	// ErrInsufficient: the wallet's balance is below the amount. Nothing was
	// written.
	ErrInsufficient = errors.New("insufficient balance")
	// ErrConflict: the compare-and-set lost. The purchase has another version,
	// owner or state than the caller believed; nothing was written. Read it
	// again before deciding anything.
	ErrConflict = errors.New("changed by someone else")
	// ErrMismatch: the idempotency key or reference is already used for
	// something else. Nothing was written.
	ErrMismatch = errors.New("already used with other content")
	// ErrOpen: the payer has a purchase of the same that is not decided; the
	// error is an *OpenError that has it. Nothing was written.
	ErrOpen = errors.New("the same is open")
	// ErrLimit: the purchase is beyond a limit; the error is a *LimitError that
	// says which. Nothing was written.
	ErrLimit = errors.New("beyond a limit")
	// ErrApproval: the operation has been requested and waits for another
	// operator's approval.
	ErrApproval = errors.New("waits for another operator's approval")
	// ErrInvalid: an argument that no row may hold, such as an amount below one
	// kobo. Nothing was written.
	ErrInvalid = errors.New("invalid argument")

	// ErrSchemaMissing: the database is not there or holds no schema of ours.
	ErrSchemaMissing = errors.New("schema missing")
	// ErrSchemaOld: migrations of this program have not been applied.
	ErrSchemaOld = errors.New("schema old")
	// ErrSchemaNew: the database was migrated by a newer program.
	ErrSchemaNew = errors.New("schema newer than this program")
	// ErrSchemaChanged: an applied migration differs from the one of the same
	// number in this program.
	ErrSchemaChanged = errors.New("schema changed")
)

// States of a purchase.
const (
	Held      = "held"         // the money is held, no attempt is open
	Sending   = "sending"      // an attempt is recorded, its answer is not
	Pending   = "pending"      // an attempt's outcome is unknown; the vendor is being queried
	Review    = "needs_review" // still unknown when the vendor's word ran out; an operator decides
	Delivered = "delivered"    // captured. Also the state of the attempt that delivered
	Failed    = "failed"       // released

	// Decided purchases whose truth came out later.
	Reversed = "reversed"       // captured, then undone by the vendor and refunded. Also of its attempt
	Late     = "delivered_late" // released, and yet delivered. Also of the attempt that delivered
)

// States of an attempt beside Sending, Pending and Delivered. In these nothing
// was delivered and nothing will be.
const (
	Declined    = "declined"
	NotSent     = "not_sent"
	Unavailable = "unavailable"
)

// Wallet is a subscriber's money.
type Wallet struct {
	MSISDN   string    `db:"msisdn"`
	Balance  int64     `db:"balance"` // kobo that can be spent; never negative
	Held     int64     `db:"held"`    // kobo reserved by unfinished purchases; never negative
	OpenedAt time.Time `db:"-"`
}

// WalletFilter chooses wallets, in the order of their numbers.
type WalletFilter struct {
	After string // if set, only numbers behind this one: the last of the page before
	Limit int    // at most so many; 0 = 100
}

// Purchase is one purchase of airtime. The fields and their order are those of
// a purchase desk's own type, so that one converts to the other. Times have
// milliseconds and are UTC; the zero time means not yet.
type Purchase struct {
	ID            int64     `db:"id"`         // from NewID
	Ref           string    `db:"ref"`        // what the subscriber is shown, unique
	Key           string    `db:"idem_key"`   // idempotency key of the confirmation, unique
	Session       int64     `db:"session_id"` // id of the session that asked, 0 = none
	MSISDN        string    `db:"msisdn"`     // who pays
	Recipient     string    `db:"recipient"`
	Network       string    `db:"network"`
	Amount        int64     `db:"amount"` // kobo, face value
	State         string    `db:"state"`
	Reason        string    `db:"reason"`     // how the last attempt ended, or of the release; opaque here
	Attempts      int       `db:"attempts"`   // how many were begun; the last one has this number
	Vendor        string    `db:"vendor"`     // of the last attempt
	VendorRef     string    `db:"vendor_ref"` // of the last attempt
	Cost          int64     `db:"cost"`       // kobo that the vendor says it took, 0 = unknown
	Commission    int64     `db:"commission"` // kobo of revenue, set at capture
	CommissionBPS int       `db:"commission_bps"`
	Token         string    `db:"token"`   // what the vendor gave for the subscriber, "" = nothing; a secret
	Owner         string    `db:"owner"`   // the instance that works on it
	Version       int64     `db:"version"` // 1 at Hold, one more at each change
	CreatedAt     time.Time `db:"-"`
	UpdatedAt     time.Time `db:"-"`
	DecidedAt     time.Time `db:"-"` // when it became delivered or failed
	NextAt        time.Time `db:"-"` // when Due hands it to its owner; zero once decided
	UnsureAt      time.Time `db:"-"` // since when it is, or was, ambiguous: the end of its first ambiguous attempt, or the beginning if nobody lived to see that. The clock of 24 hours runs from here
	FailedAt      time.Time `db:"-"` // when it was known that the last attempt had failed: the clock of 30 seconds runs from here
	Again         bool      `db:"-"` // for Hold alone, and not stored: the payer wants it although the same is open
}

// ComputedCost is what the vendor takes for a captured purchase by the rate
// kept with it, in kobo. Cost is what the vendor says.
func (p Purchase) ComputedCost() int64 { return p.Amount - p.Commission }

// Attempt is one request to one vendor for a purchase. At most one per purchase
// is sending, pending or delivered.
type Attempt struct {
	Purchase   int64     `db:"purchase_id"` // id
	N          int       `db:"n"`           // from 1
	Vendor     string    `db:"vendor"`
	Reference  string    `db:"reference"` // what the vendor knows it by, unique
	State      string    `db:"state"`
	Reason     string    `db:"reason"`
	HTTPStatus int       `db:"http_status"`
	VendorRef  string    `db:"vendor_ref"`
	Cost       int64     `db:"cost"`       // kobo, 0 = unknown
	Commission int64     `db:"commission"` // kobo that the vendor says it left us, 0 = unknown
	Token      string    `db:"token"`      // what the vendor gave for the subscriber, "" = nothing; a secret
	Detail     string    `db:"detail"`
	Queries    int       `db:"queries"`   // status queries made
	NotFound   int       `db:"not_found"` // how many of them found nothing
	StartedAt  time.Time `db:"-"`
	FinishedAt time.Time `db:"-"`
}

// PurchaseFilter chooses purchases; zero fields choose all. The newest come
// first.
type PurchaseFilter struct {
	MSISDN     string    // who paid
	State      string    // exactly this state
	Unfinished bool      // held, sending, pending or needs_review
	Breach     bool      // refunded or decided later than RefundWithin and DecideWithin, or open for longer
	Variance   bool      // the vendor's cost is known and is not the computed one
	Since      time.Time // created at or after
	Before     int64     // if set, only ids below this one: the last of the page before
	Limit      int       // at most so many; 0 = 100
}

// Session is one USSD session as last written.
type Session struct {
	ID        int64     `db:"id"` // from NewID
	SMSC      string    `db:"smsc"`
	MSISDN    string    `db:"msisdn"`
	Dialogue  string    `db:"dialogue"` // the SMSC's id of the dialogue, "" if it has none
	Code      string    `db:"code"`
	Service   string    `db:"service"`
	Version   string    `db:"version"` // of the service
	Screen    string    `db:"screen"`
	State     []byte    `db:"state"` // the menu engine's; opaque here
	Steps     int       `db:"steps"` // answers so far; a record with fewer is older
	StartedAt time.Time `db:"-"`
	LastAt    time.Time `db:"-"`
	EndedAt   time.Time `db:"-"` // zero = live
	Reason    string    `db:"reason"`
}

// Step is one answer of a subscriber in a session. It is never changed once
// written.
type Step struct {
	Session    int64     `db:"session_id"`
	N          int       `db:"n"`
	At         time.Time `db:"-"`
	Screen     string    `db:"screen"`
	Input      string    `db:"input"` // what was typed; the caller writes "****" for secrets
	Shown      string    `db:"shown"` // name of the screen that answered it
	TookMicros int64     `db:"took_micros"`
}

// SessionFilter chooses sessions; zero fields choose all. The newest come
// first.
type SessionFilter struct {
	MSISDN string
	Live   bool      // only those that have not ended
	Since  time.Time // started at or after
	Before int64     // if set, only ids below this one: the last of the page before
	Limit  int       // at most so many; 0 = 100
}

// Service is one version of a service's source, kept so that sessions begun
// under it can be understood.
type Service struct {
	Name    string    `db:"name"`
	Version string    `db:"version"`
	Codes   string    `db:"codes"`
	Source  []byte    `db:"source"`
	SeenAt  time.Time `db:"-"` // when it was last loaded
}

// Schema says where a database's schema stands.
type Schema struct {
	Have    int      // number of the newest migration applied; 0 = none
	Want    int      // number of the newest migration known
	Pending []string // names of those not applied, in order
}

// LedgerReport is what CheckLedger found.
type LedgerReport struct {
	Entries, Postings, Wallets, Purchases int
	Sum                                   int64          // over all postings; anything but 0 is also a violation
	Accounts                              []AccountTotal // by name; subscribers' accounts together as wallet:* and hold:*
	Uncovered                             int64          // kobo that customers own beyond floats, banks and funding to be cleared; 0 = they are covered
	Violations                            []Violation
}

// AccountTotal is the sum of an account's postings in kobo, credits positive.
type AccountTotal struct {
	Account string `db:"account"`
	Amount  int64  `db:"amount"`
}

// Violation is one row that breaks an invariant of the ledger.
type Violation struct {
	Rule    string // name of the invariant, as CheckLedger lists them
	Subject string // the row: "purchase TXN-…", "wallet 234…", "entry 123". It holds whole MSISDNs
	Detail  string // what was found
}
