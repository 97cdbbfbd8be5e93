package smpp

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// State is where a link is in its life.
type State uint8

// The states. A link is Closed before Run and after it.
const (
	Closed State = iota
	Connecting
	Binding
	Bound
	Unbinding
	Waiting // for the next attempt to connect
)

var stateNames = [...]string{
	Closed: "closed", Connecting: "connecting", Binding: "binding",
	Bound: "bound", Unbinding: "unbinding", Waiting: "waiting",
}

// String returns the state in lower case: closed, connecting, binding, bound,
// unbinding or waiting.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Status is a snapshot of a link. The caller owns it.
type Status struct {
	Name      string
	Addr      string    // of the bind that State is of
	Profile   string    // its name
	State     State     // of the bind that is furthest; Bound only if one that sends and one that receives are
	Since     time.Time // of State
	LastError string    // why the last connection of any bind ended; empty if none has
	LastPDU   time.Time // when the SMSC was last heard; zero: never
	InFlight  int       // replies sent and not answered yet
	Queued    int       // replies that wait to be sent, also those that no bind can take now
	Window    int       // limit of InFlight as configured, of all binds that send
	Queue     int       // limit of Queued, likewise; what begins a dialogue of ours may come on top, half as much
	Admin     Admin
	Binds     []BindStatus
	Counters  Counters
}

// BindStatus is a snapshot of one bind of a link: of one connection to the SMSC.
type BindStatus struct {
	Name       string    // unique within the link: "1", or with pairs "1tx", "1rx"
	Role       string    // transceiver, transmitter or receiver
	SystemID   string    // ours
	Addr       string    // being connected to, or connected to
	Peer       string    // the SMSC's system_id, while bound
	State      State     // never Bound before the SMSC has accepted the bind
	Since      time.Time // of State
	RetryAt    time.Time // end of the pause, while State is Waiting
	LastError  string    // why the last connection ended; empty if none has
	LastPDU    time.Time // when the SMSC was last heard; zero: never
	InFlight   int       // replies sent and not answered yet
	Queued     int       // replies that wait to be sent on this bind
	Window     int       // limit of InFlight in force; the SMSC's throttling shrinks it
	MaxWindow  int       // limit of InFlight as configured; 0: the bind only receives
	Rate       float64   // messages per second in force, likewise; 0: no limit
	MaxRate    float64   // messages per second as configured; 0: no limit
	InRate     float64   // PDUs received per second, lately
	OutRate    float64   // PDUs sent per second, lately
	BadAccount bool      // the last bind was refused for its credentials: somebody has to mend that
}

// Admin is what an operator wants of a link.
type Admin uint8

// What can be wanted of a link.
const (
	Up       Admin = iota // bind and serve
	Draining              // serve live dialogues, refuse new ones
	Down                  // unbind, and stay so
)

// String returns up, draining or down.
func (a Admin) String() string { return [...]string{"up", "draining", "down"}[a] }

// OtherStatus stands in Counters for every command_status beyond the first
// thousand different ones; SMPP 3.4 reserves it (§5.1.3).
const OtherStatus pdu.Status = 1<<32 - 1

// otherKind stands likewise in Counters.Malformed.
const otherKind = "other"

// Counters count since the link was made and never go down. A key that is not
// there stands for zero.
type Counters struct {
	In         map[string]uint64     // PDUs received, by CommandName; all that SMPP 3.4 does not have under "unknown"
	Out        map[string]uint64     // PDUs sent, likewise
	Events     map[Op]uint64         // events given to the Handler
	Refused    map[pdu.Status]uint64 // refusals of a submit_sm, those that were tried again included
	BindFailed map[pdu.Status]uint64 // refusals of a bind
	Malformed  map[string]uint64     // PDUs that could not be used, by kind
	Retried    uint64                // replies sent again after a temporary refusal
	Withdrawn  uint64                // replies that waited until their dialogue was over
	Unanswered uint64                // replies whose answer was lost with the link
	Receipts   map[string]uint64     // delivery receipts and acknowledgements by handsets, by what became of them: "taken", "refused" (see ReceiptTaker) or "ignored"
	// Messages that the profile has no use for, acknowledged and ignored, by why:
	// "service_type" or "operation".
	Ignored map[string]uint64
	// Dialogues that were not admitted, by why: "draining", "queue" (too many
	// replies wait for the SMSC) or "handler" (by Admitter).
	NotAdmitted map[string]uint64
	TraceLost   uint64 // PDUs that the receiver of a trace was too slow for
	Reconnects  uint64 // attempts to connect after the first
}

// counters are the live form of Counters.
type counters struct {
	in, out    [unknownCommand + 1]atomic.Uint64
	events     [Opened + 1]atomic.Uint64
	retried    atomic.Uint64
	withdrawn  atomic.Uint64
	unanswered atomic.Uint64
	reconnects atomic.Uint64
	traceLost  atomic.Uint64

	mu          sync.Mutex
	refused     map[pdu.Status]uint64
	bindFailed  map[pdu.Status]uint64
	malformed   map[string]uint64
	ignored     map[string]uint64
	receipts    map[string]uint64
	notAdmitted map[string]uint64
}

// maxKinds bounds the maps whose keys the SMSC chooses, but for the key of all
// others.
const maxKinds = 1024

// add counts one more under key, or among the others if there are too many keys,
// and reports whether it was the first there.
func add[K comparable](mu *sync.Mutex, counts *map[K]uint64, key K) bool {
	mu.Lock()
	defer mu.Unlock()
	if *counts == nil {
		*counts = make(map[K]uint64)
	}
	if (*counts)[key] == 0 && len(*counts) >= maxKinds {
		key = other(key)
	}
	(*counts)[key]++
	return (*counts)[key] == 1
}

// other is the key of all others, of the same type as key.
func other[K comparable](key K) K {
	switch k := any(&key).(type) {
	case *pdu.Status:
		*k = OtherStatus
	case *string:
		*k = otherKind
	}
	return key
}

// progress orders the states by how near they are to Bound.
var progress = [...]int{Closed: 0, Waiting: 1, Connecting: 2, Binding: 3, Unbinding: 4, Bound: 5}

// Status returns a snapshot of the link.
func (l *Link) Status() Status {
	now := time.Now()
	l.mu.Lock()
	s := Status{
		Name:      l.cfg.Name,
		Profile:   l.profile.Name,
		LastError: l.lastErr,
		Queued:    l.homeless.len(),
		Admin:     l.admin,
	}
	sends, receives := false, false
	for i, b := range l.binds {
		bs := b.status(now)
		s.Binds = append(s.Binds, bs)
		s.InFlight += bs.InFlight
		s.Queued += bs.Queued
		if b.role != receiver {
			s.Window += l.cfg.Window
			s.Queue += l.cfg.Queue
		}
		s.LastPDU = latest(s.LastPDU, bs.LastPDU)
		sends = sends || b.state == Bound && b.role != receiver
		receives = receives || b.state == Bound && b.role != transmitter
		if i == 0 || progress[bs.State] > progress[s.State] {
			s.State, s.Since, s.Addr = bs.State, bs.Since, bs.Addr
		}
	}
	if s.State == Bound && !(sends && receives) {
		s.State = Binding
	}
	l.mu.Unlock()
	s.Counters = l.counts.snapshot()
	return s
}

// status returns a snapshot of the bind. Call with Link.mu.
func (b *bind) status(now time.Time) BindStatus {
	s := BindStatus{
		Name:       b.name,
		Role:       roles[b.role].name,
		SystemID:   b.account.SystemID,
		Addr:       b.addr,
		Peer:       b.peer,
		State:      b.state,
		Since:      b.since,
		LastError:  b.lastErr,
		LastPDU:    b.lastPDU,
		Queued:     b.waiting(),
		InRate:     b.in.rate(now),
		OutRate:    b.out.rate(now),
		BadAccount: b.badAccount,
	}
	if s.Addr == "" {
		s.Addr = b.link.cfg.Addrs[0]
	}
	if b.state == Waiting {
		s.RetryAt = b.retryAt
	}
	if b.role != receiver {
		b.pace.recover(now)
		s.Window, s.MaxWindow = b.pace.window, b.pace.maxWindow
		s.Rate, s.MaxRate = b.pace.rate, b.pace.maxRate
	}
	if b.conn != nil {
		s.InFlight = b.conn.flight.open.len
	}
	return s
}

func (c *counters) snapshot() Counters {
	s := Counters{
		In:         commandCounts(&c.in),
		Out:        commandCounts(&c.out),
		Events:     make(map[Op]uint64),
		Retried:    c.retried.Load(),
		Withdrawn:  c.withdrawn.Load(),
		Unanswered: c.unanswered.Load(),
		Reconnects: c.reconnects.Load(),
		TraceLost:  c.traceLost.Load(),
	}
	for op := range c.events {
		if n := c.events[op].Load(); n > 0 {
			s.Events[Op(op)] = n
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Refused = maps.Clone(c.refused)
	s.BindFailed = maps.Clone(c.bindFailed)
	s.Malformed = maps.Clone(c.malformed)
	s.Ignored = maps.Clone(c.ignored)
	s.Receipts = maps.Clone(c.receipts)
	s.NotAdmitted = maps.Clone(c.notAdmitted)
	return s
}

func commandCounts(counts *[unknownCommand + 1]atomic.Uint64) map[string]uint64 {
	m := make(map[string]uint64)
	for i := range counts {
		n := counts[i].Load()
		switch {
		case n == 0:
		case i == unknownCommand:
			m["unknown"] = n
		default:
			m[commands[i].name] = n
		}
	}
	return m
}
