package session

import (
	"context"
	"errors"
	"time"

	"ussdd/menus"
)

// Kind says what happened to a dialogue.
type Kind uint8

const (
	// Begin: the subscriber dialled a service code.
	Begin Kind = iota + 1
	// Input: the subscriber answered the screen last shown.
	Input
	// Release: the network or the subscriber ended the dialogue.
	Release
	// Refused: the SMSC did not take a reply of ours; Event.Gone says whether
	// the dialogue is known to be over.
	Refused
	// Opened: the SMSC took the first screen of a dialogue that Push began.
	Opened
)

// Key names a dialogue: no part of it alone is enough, because SMSCs hand out
// equal ids to different subscribers.
type Key struct {
	SMSC   string // configured name of the SMSC
	MSISDN string // E.164 digits without plus; "" in an event that tells the ID alone
	ID     string // the SMSC's session id, "" where the dialect has none or does not tell it yet
}

// A Replier shows text to the subscriber of one dialogue and, if end is set,
// closes it. It does not block. A reply that cannot leave before deadline must
// not leave at all.
type Replier interface {
	Reply(text string, end bool, deadline time.Time) error
}

// Event is one thing that happened to a dialogue.
type Event struct {
	Kind    Kind
	Key     Key
	Code    string       // service code that was dialled to, "*999#"
	Text    string       // Begin: the whole dialled string; Input: the answer
	Medium  menus.Medium // what fits on the link
	Replier Replier      // how to answer; kept until the session ends
	Gone    bool         // Refused: the dialogue is over
	Err     error        // Refused: why

	// Opening is set in an Opened, and in a Refused of the first screen of a
	// Push: the Replier that the Push's Opener gave, which tells it from others
	// of the same subscriber. It must be comparable.
	Opening Replier

	// Identify, if set, is told whom an event without an MSISDN belongs to,
	// before the event is taken. It must not call the Engine.
	Identify func(msisdn string)

	// Counter, if HasCounter, is what the gateway repeats of our last reply:
	// the same one again is the same answer again. A gateway that has never
	// moved it on in a dialogue is not taken at its word.
	Counter    uint32
	HasCounter bool

	// Early says of an Input that its gateway had not acknowledged the screen
	// that it would answer. Answers may overtake acknowledgements, but the same
	// answer so soon is the one before again.
	Early bool
}

// Reason is why a session ended.
type Reason string

// The closed vocabulary of reasons. It is a label of metrics and a column of
// the store.
const (
	Completed      Reason = menus.EndCompleted     // an end screen was shown
	TooManyErrors  Reason = menus.EndTooManyErrors // wrong answers in a row
	TooManyInputs  Reason = menus.EndTooManyInputs // the service's cap on answers
	Released       Reason = "released"             // ended by the subscriber or the network
	Replaced       Reason = "replaced"             // the subscriber dialled again
	IdleTimeout    Reason = "idle_timeout"         // no answer within Config.Idle
	MaxLength      Reason = "max_length"           // open for Config.MaxLength
	Undeliverable  Reason = "undeliverable"        // the SMSC refused the screen, or no bind could take it
	Expired        Reason = menus.EndExpired       // left open by a process that ended: came back too late, or never
	VersionMissing Reason = "version_missing"      // came back after a restart, its menu could not be compiled
	InternalError  Reason = menus.EndError         // a defect; the log has the stack
)

// Reasons lists the whole vocabulary, for metrics.
var Reasons = []Reason{Completed, TooManyErrors, TooManyInputs, Released, Replaced, IdleTimeout,
	MaxLength, Undeliverable, Expired, VersionMissing, InternalError}

var (
	// ErrNotFound is returned by a Store for a key that has no open session, by
	// Services for a version that is nowhere, and by a Desk for a purchase that
	// the subscriber does not have.
	ErrNotFound = errors.New("session: not found")
	// ErrInvalid is returned by a Store and a Wallet for what they will never
	// take, however often it is tried.
	ErrInvalid = errors.New("session: cannot be stored")
)

// Record is a session as it is stored: its newest state.
type Record struct {
	ID      int64 // time-ordered, made by Config.NewID
	Key     Key
	Code    string // the dialled string
	Service string
	Version string
	State   menus.State
	Steps   int // grows by one a step; an older record never overwrites a newer one. The key's ID may change on the way
	Heard   Heard
	Started time.Time
	Last    time.Time
	Ended   time.Time // zero while the session is live
	Reason  Reason    // "" while the session is live
}

// Heard is the counter of the last event that a session took, which tells a
// repeated one.
type Heard struct {
	Counter uint32 `json:"counter,omitempty"`
	Known   bool   `json:"known,omitempty"`  // there was a counter
	Moves   bool   `json:"moves,omitempty"`  // the gateway has moved it on
	Acting  bool   `json:"acting,omitempty"` // what was heard began an action that has not ended
}

// repeats says whether ev is the event that was heard last.
func (h Heard) repeats(ev Event) bool {
	return h.Known && h.Moves && ev.HasCounter && ev.Counter == h.Counter
}

// hear notes the counter of an event that is taken.
func (h *Heard) hear(ev Event) {
	h.Moves = h.Moves || h.Known && ev.HasCounter && ev.Counter != h.Counter
	h.Counter, h.Known = ev.Counter, ev.HasCounter
}

// Step is one step of a session: what was typed at which screen, and which
// screen was shown next.
type Step struct {
	Session int64
	N       int // 1 is the begin
	At      time.Time
	Screen  string // where the subscriber was, "" for the begin
	Input   string // what was typed, or masked ("****") if it was a secret
	Shown   string // the screen shown next
	Took    time.Duration
}

// Store keeps sessions behind the memory. Safe for concurrent use.
type Store interface {
	// Save writes a batch; the same batch twice is harmless, also when the first
	// time only a part of it was written. It does not keep the slices.
	Save(ctx context.Context, records []Record, steps []Step) error
	// Load gives the newest open session of a key, or ErrNotFound. A key without
	// an MSISDN stands for every subscriber's.
	Load(ctx context.Context, key Key) (Record, error)
	// Expire ends as Expired, at the given time, open sessions whose Last is
	// earlier than before, at most limit of them, and tells how many.
	Expire(ctx context.Context, before, at time.Time, limit int) (int, error)
}

// Services is the menus in force. Safe for concurrent use.
type Services interface {
	// Match gives the service that a dialled string belongs to.
	Match(dialled string) (*menus.Service, bool)
	// Find gives a service as it was in the given version. ErrNotFound if it is
	// nowhere any more.
	Find(ctx context.Context, name, version string) (*menus.Service, error)
}

// Order is what a subscriber has confirmed.
type Order struct {
	Key       string // idempotency key: the same confirmation has the same key
	Session   int64
	MSISDN    string // who pays
	Recipient string
	Network   string
	Amount    int64 // kobo
	Again     bool  // the subscriber was asked, and wants it although the same is open
}

// Receipt is what a subscriber can be told of a purchase.
type Receipt struct {
	Ref       string // shown to the subscriber, "TXN-…"; "" if no purchase came to be. Of one whose fate is unknown (pending), it is the name that it has if it came to be
	Outcome   string // delivered, declined, pending, not_sent, unavailable, insufficient
	Reason    string // of a decline: bad_number, limit, or another; of pending: open if nothing was bought now, because this, the same, is open
	At        time.Time
	Recipient string
	Network   string    // id
	Name      string    // network's name as shown
	Amount    int64     // kobo
	Left      int64     // kobo that the limit of a decline has left
	Until     time.Time // when that limit will have more left, if it was of a time
}

// Desk sells. Safe for concurrent use.
type Desk interface {
	// Buy gives the outcome, or pending when ctx ends first, or when nobody can
	// tell: the purchase goes on. The same Order.Key is the same purchase. If
	// the subscriber has another open of the same amount for the same recipient,
	// that one is the Receipt and nothing is bought, unless o.Again. An error
	// means that it is not even known what the purchase would be called.
	Buy(ctx context.Context, o Order) (Receipt, error)
	// Check tells how a purchase of this subscriber stands, waiting until ctx
	// ends for one that is undecided. ErrNotFound if there is none.
	Check(ctx context.Context, msisdn, ref string) (Receipt, error)
}

// Wallet is a subscriber's money. Safe for concurrent use.
type Wallet interface {
	// Open gives an empty wallet to those subscribers who have none.
	Open(ctx context.Context, msisdns []string) error
	// Balance is what can be spent, in kobo.
	Balance(ctx context.Context, msisdn string) (int64, error)
	// History gives the last purchases, newest first.
	History(ctx context.Context, msisdn string, limit int) ([]Receipt, error)
}
