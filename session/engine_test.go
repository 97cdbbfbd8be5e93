package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"ussdd/menus"
	"ussdd/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must come.
const patience = time.Minute

// shop is a small service with one of everything that a session does.
const shop = `
service: shop
codes: ["*999#"]
start: main
max_inputs: 60
texts:
  invalid: "Choose one of the options."
  tries: "Too many wrong entries."
  expired: "Session expired."
  busy: "Try again."
screens:
  main:
    kind: menu
    text: Shop
    options:
      - {key: "1", label: Buy, set: {network: mtn, phone: "{caller}", amount: N100}, goto: confirm}
      - {key: "2", label: Balance, goto: balance}
      - {key: "3", label: Pin, goto: pin}
      - {key: "0", label: Exit, goto: bye}
  confirm:
    kind: menu
    text: "Pay {amount|naira}? {phone|local}"
    options:
      - {key: "1", label: "Yes", goto: buy}
  buy:
    kind: action
    do: purchase
    with: {network: "{network}", to: "{phone}", amount: "{amount}"}
    on:
      delivered: done
      declined: {goto: failed, reasons: {limit_day: limited}}
      pending: {goto: wait, reasons: {open: open}}
      not_sent: failed
      unavailable: failed
      insufficient: poor
  open:
    kind: menu
    text: "Open {txn}: {amount|naira} {phone|local}"
    options:
      - {key: "1", label: Check, goto: check}
      - {key: "2", label: Again, goto: again}
  again:
    kind: action
    do: purchase_again
    with: {network: "{network}", to: "{phone}", amount: "{amount}"}
    on: {delivered: done, declined: failed, pending: wait, not_sent: failed, unavailable: failed, insufficient: poor}
  limited: {kind: end, text: "{left|naira} until {until|date}"}
  done: {kind: end, text: "Done {txn}"}
  failed: {kind: end, text: Failed}
  poor: {kind: end, text: Poor}
  wait:
    kind: menu
    text: Wait
    options:
      - {key: "1", label: Check, goto: check}
  check:
    kind: action
    do: status
    with: {txn: "{txn}"}
    on: {delivered: done, declined: failed, pending: wait, failed: failed}
  balance:
    kind: action
    do: balance
    on: {ok: shown, unavailable: failed}
  shown: {kind: end, text: "You have {balance|naira}"}
  pin:
    kind: input
    text: PIN?
    input: {type: digits, min: 4, max: 4, secret: true, store: pin, error: Wrong., attempts: 3}
    goto: bye
  bye: {kind: end, text: Bye}
`

// purse is a service that begins with an action.
const purse = `
service: purse
codes: ["*998#"]
start: balance
texts:
  invalid: "Choose one of the options."
  tries: "Too many wrong entries."
  expired: "Session expired."
  busy: "Try again."
screens:
  balance:
    kind: action
    do: balance
    on: {ok: shown, unavailable: failed}
  shown: {kind: end, text: "You have {balance|naira}"}
  failed: {kind: end, text: Failed}
`

type wide struct{}

func (wide) Fold(s string) string      { return s }
func (wide) Cost(s string) (int, rune) { return len(s), 0 }
func (wide) Limit() int                { return 160 }

// shown is one screen that reached a handset.
type shown struct {
	text string
	end  bool
}

// phone is a subscriber's end of a dialogue.
type phone struct {
	screens chan shown
	err     error // what Reply answers
}

func newPhone() *phone { return &phone{screens: make(chan shown, 16)} }

func (p *phone) Reply(text string, end bool, _ time.Time) error {
	if p.err != nil {
		return p.err
	}
	p.screens <- shown{text, end}
	return nil
}

func (p *phone) sees(t *testing.T, want string, end bool) {
	t.Helper()
	select {
	case s := <-p.screens:
		if !strings.HasPrefix(s.text, want) || s.end != end {
			t.Fatalf("phone shows %q (end %v), want %q… (end %v)", s.text, s.end, want, end)
		}
	case <-time.After(patience):
		t.Fatalf("no screen, want %q", want)
	}
}

func (p *phone) dark(t *testing.T) {
	t.Helper()
	select {
	case s := <-p.screens:
		t.Fatalf("phone shows %q, want nothing", s.text)
	default:
	}
}

// desk sells at once, unless a test makes it wait.
type desk struct {
	mu     sync.Mutex
	orders []session.Order
	gate   chan struct{} // if set, Buy waits for it or for ctx
	answer session.Receipt
	err    error
	panics bool
}

func (d *desk) Buy(ctx context.Context, o session.Order) (session.Receipt, error) {
	d.mu.Lock()
	d.orders = append(d.orders, o)
	gate, r, err, panics := d.gate, d.answer, d.err, d.panics
	d.mu.Unlock()
	if panics {
		panic("desk")
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return session.Receipt{Ref: r.Ref, Outcome: "pending"}, nil
		}
	}
	return r, err
}

func (d *desk) Check(context.Context, string, string) (session.Receipt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answer, d.err
}

func (d *desk) keys() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var keys []string
	for _, o := range d.orders {
		keys = append(keys, o.Key)
	}
	return keys
}

// oddNumber is one that the wallet will never take.
const oddNumber = "2348039999999"

type wallet struct {
	mu     sync.Mutex
	opened map[string]int
	gate   chan struct{} // if set, Balance waits for it
}

func (w *wallet) Open(_ context.Context, msisdns []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(msisdns, oddNumber) {
		return session.ErrInvalid
	}
	if w.opened == nil {
		w.opened = make(map[string]int)
	}
	for _, msisdn := range msisdns {
		w.opened[msisdn]++
	}
	return nil
}
func (w *wallet) Balance(context.Context, string) (int64, error) {
	if w.gate != nil {
		<-w.gate
	}
	return 150050, nil
}
func (w *wallet) History(context.Context, string, int) ([]session.Receipt, error) {
	return nil, nil
}

// memory is a store; it keeps states as JSON, as a real one does.
type memory struct {
	mu      sync.Mutex
	records map[int64]session.Record
	states  map[int64][]byte
	steps   map[int64][]session.Step
	loads   int
	err     error
	gate    chan struct{} // if set, Load waits for it
}

func newMemory() *memory {
	return &memory{records: map[int64]session.Record{}, states: map[int64][]byte{}, steps: map[int64][]session.Step{}}
}

func (m *memory) Save(_ context.Context, records []session.Record, steps []session.Step) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	for _, r := range records {
		if r.Key.SMSC == "poison" {
			return session.ErrInvalid
		}
	}
	for _, s := range steps {
		if s.Input == "poison" {
			return session.ErrInvalid
		}
	}
	for _, r := range records {
		if old, ok := m.records[r.ID]; ok && old.Steps > r.Steps {
			continue
		}
		state, err := json.Marshal(r.State)
		if err != nil {
			return err
		}
		m.records[r.ID], m.states[r.ID] = r, state
	}
	for _, s := range steps {
		m.steps[s.Session] = append(m.steps[s.Session], s)
	}
	return nil
}

func (m *memory) Load(_ context.Context, key session.Key) (session.Record, error) {
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads++
	var found session.Record
	for _, r := range m.records {
		if (r.Key == key || key.MSISDN == "" && r.Key.SMSC == key.SMSC && r.Key.ID == key.ID) && r.Ended.IsZero() && r.ID > found.ID {
			found = r
		}
	}
	if found.ID == 0 {
		return found, session.ErrNotFound
	}
	found.State = menus.State{}
	return found, json.Unmarshal(m.states[found.ID], &found.State)
}

func (m *memory) Expire(_ context.Context, before, at time.Time, limit int) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, r := range m.records {
		if n < limit && r.Ended.IsZero() && r.Last.Before(before) {
			r.Ended, r.Reason = at, session.Expired
			m.records[id] = r
			n++
		}
	}
	return n, nil
}

func (m *memory) loaded() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loads
}

func (m *memory) only(t *testing.T) (session.Record, []session.Step) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.records) != 1 {
		t.Fatalf("%d sessions stored, want 1", len(m.records))
	}
	for id, r := range m.records {
		return r, m.steps[id]
	}
	panic("unreachable")
}

type catalogue struct{ *menus.Catalogue }

func (c catalogue) Find(_ context.Context, name, version string) (*menus.Service, error) {
	if s, ok := c.Service(name, version); ok {
		return s, nil
	}
	return nil, errors.New("no such version")
}

// rig is an engine among its doubles.
type rig struct {
	t      *testing.T
	engine *session.Engine
	desk   *desk
	wallet *wallet
	store  *memory
	clock  atomic.Int64 // seconds
}

func (r *rig) now() time.Time { return time.Unix(1_700_000_000+r.clock.Load(), 0) }

var nextID atomic.Int64

func newRig(t *testing.T, change ...func(*session.Config)) *rig {
	return newRigOn(t, newMemory(), change...)
}

func newRigOn(t *testing.T, store *memory, change ...func(*session.Config)) *rig {
	t.Helper()
	r := newRigWith(t, store, change...)
	r.store = store
	return r
}

func newRigWith(t *testing.T, store session.Store, change ...func(*session.Config)) *rig {
	t.Helper()
	cat, err := menus.Load(fstest.MapFS{"shop.yaml": {Data: []byte(shop)}, "purse.yaml": {Data: []byte(purse)}}, menus.Options{Actions: session.Actions(), Medium: wide{}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, desk: &desk{answer: session.Receipt{Ref: "TXN-1", Outcome: "delivered"}}, wallet: new(wallet)}
	cfg := session.Config{Budget: time.Minute, NewID: func() int64 { return nextID.Add(1) }, Now: r.now}
	for _, f := range change {
		f(&cfg)
	}
	r.engine = session.New(cfg, catalogue{cat}, r.desk, r.wallet, store)
	return r
}

func key(id string) session.Key { return session.Key{SMSC: "sim", MSISDN: "2348030000001", ID: id} }

func (r *rig) send(kind session.Kind, k session.Key, text string, p *phone) {
	r.engine.Handle(session.Event{Kind: kind, Key: k, Code: "*999#", Text: text, Medium: wide{}, Replier: p})
}

func (r *rig) dial(k session.Key) *phone {
	r.t.Helper()
	p := newPhone()
	r.send(session.Begin, k, "*999#", p)
	p.sees(r.t, "Shop", false)
	return p
}

func (r *rig) flush() {
	r.t.Helper()
	if err := r.engine.Flush(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

// ended waits until n sessions have ended for the reason: a screen reaches the
// phone a moment before its session is over.
func (r *rig) ended(reason session.Reason, n int64) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for r.engine.Stats().Ended[reason] != n {
		select {
		case <-tick.C:
		case <-limit:
			r.t.Fatalf("%d sessions ended as %s, want %d: %+v", r.engine.Stats().Ended[reason], reason, n, r.engine.Stats())
		}
	}
}

// settle waits until no action is in flight.
func (r *rig) settle() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.engine.Drain(ctx); err != nil {
		r.t.Fatal(err)
	}
}

func TestJourneyIsShownAndStored(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay N100?", false)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Done TXN-1", true)
	r.ended(session.Completed, 1)
	r.flush()
	rec, steps := r.store.only(t)
	if rec.Reason != session.Completed || rec.Ended.IsZero() || rec.Service != "shop" || rec.Steps != 4 {
		t.Errorf("stored %+v", rec)
	}
	var path []string
	for _, s := range steps {
		path = append(path, s.Screen+"/"+s.Input+"/"+s.Shown)
	}
	if want := []string{"//main", "main/1/confirm", "confirm/1/buy", "buy//done"}; !slices.Equal(path, want) {
		t.Errorf("steps %q, want %q", path, want)
	}
	if r.wallet.opened["2348030000001"] != 1 {
		t.Errorf("the first dial opened %v", r.wallet.opened)
	}
	if o := r.desk.orders[0]; o.Amount != 10000 || o.Network != "mtn" || o.Recipient != "2348030000001" || o.MSISDN != "2348030000001" || o.Session != rec.ID {
		t.Errorf("ordered %+v", o)
	}
}

func TestBeginAgainReplacesAndRepetitionDoesNot(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	r.send(session.Begin, key("1"), "*999#", p)
	p.dark(t)
	if s := r.engine.Stats(); s.Repeated != 1 || s.Begun != 1 {
		t.Fatalf("after the same begin: %+v", s)
	}
	r.clock.Add(1)
	q := r.dial(key("2"))
	r.ended(session.Replaced, 1)
	r.send(session.Input, key("1"), "1", p)
	p.dark(t)
	if s := r.engine.Stats(); s.Late != 1 || s.Live != 1 {
		t.Fatalf("after an input to the replaced session: %+v", s)
	}
	r.send(session.Input, key("2"), "0", q)
	q.sees(t, "Bye", true)
}

func TestInputBeforeItsScreenIsARepetition(t *testing.T) {
	r := newRig(t)
	r.desk.gate = make(chan struct{})
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	for range 3 {
		r.send(session.Input, key("1"), "1", p)
	}
	close(r.desk.gate)
	p.sees(t, "Done", true)
	r.settle()
	p.dark(t)
	if keys := r.desk.keys(); len(keys) != 1 {
		t.Errorf("ordered %q", keys)
	}
	if s := r.engine.Stats(); s.Repeated != 2 {
		t.Errorf("%+v", s)
	}
}

func TestHangUpDuringAPurchaseDropsOnlyTheScreen(t *testing.T) {
	r := newRig(t)
	r.desk.gate = make(chan struct{})
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.send(session.Input, key("1"), "1", p)
	r.send(session.Release, key("1"), "", p)
	r.ended(session.Released, 1)
	close(r.desk.gate)
	r.settle()
	p.dark(t)
	r.flush()
	if rec, _ := r.store.only(t); rec.Reason != session.Released {
		t.Errorf("stored %+v", rec)
	}
}

func TestSlowPurchaseShowsProcessingAndThenItsResult(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.Budget = time.Millisecond })
	r.desk.gate = make(chan struct{})
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Wait", false)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Done TXN-1", true)
}

func TestTimers(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.Idle, c.MaxLength, c.Tombstone = time.Minute, 2*time.Minute, 30*time.Second })
	p := r.dial(key("1"))
	r.clock.Store(60)
	r.engine.Sweep(r.now())
	p.dark(t)
	r.clock.Store(61)
	r.engine.Sweep(r.now())
	p.sees(t, "Session expired.", true)
	r.ended(session.IdleTimeout, 1)
	loads := r.store.loaded()
	r.send(session.Input, key("1"), "1", p)
	p.dark(t) // the tombstone knows it
	if r.store.loaded() != loads {
		t.Error("an input of an ended session was looked for in the store")
	}

	p = r.dial(key("3"))
	r.clock.Add(50)
	r.send(session.Input, key("3"), "1", p)
	p.sees(t, "Pay", false)
	r.clock.Add(50)
	r.send(session.Input, key("3"), "x", p)
	p.sees(t, "Choose one", false)
	r.clock.Add(21)
	r.engine.Sweep(r.now())
	p.sees(t, "Session expired.", true)
	r.ended(session.MaxLength, 1)
}

func TestEqualIDsOfTwoSubscribersAreTwoSessions(t *testing.T) {
	r := newRig(t)
	a, b := key("7"), key("7")
	b.MSISDN = "2348030000002"
	pa, pb := r.dial(a), r.dial(b)
	r.send(session.Input, a, "0", pa)
	pa.sees(t, "Bye", true)
	pb.dark(t)
	r.send(session.Input, b, "2", pb)
	pb.sees(t, "You have N1,500.50", true)
}

func TestSessionGoesOnAfterARestart(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.flush()

	again := newRigOn(t, r.store)
	q := newPhone()
	again.send(session.Input, key("1"), "1", q)
	q.sees(t, "Done TXN-1", true)
	again.ended(session.Completed, 1)
	if s := again.engine.Stats(); s.Resumed != 1 || s.Begun != 0 {
		t.Errorf("%+v", s)
	}
	again.flush()
	rec, _ := again.store.only(t)
	if rec.Reason != session.Completed {
		t.Errorf("stored %+v", rec)
	}
	again.send(session.Input, key("1"), "1", q)
	again.settle()
	q.dark(t)
}

// A crash while the vendor is being called: the session comes back on the
// confirmation or behind it, and whatever the subscriber types, the purchase is
// asked for under the key that it had.
func TestConfirmationAfterARestartHasTheSameKey(t *testing.T) {
	for _, flushed := range []string{"before the confirmation", "after the confirmation"} {
		t.Run(flushed, func(t *testing.T) {
			r := newRig(t)
			r.desk.gate = make(chan struct{})
			p := r.dial(key("1"))
			r.send(session.Input, key("1"), "1", p)
			p.sees(t, "Pay", false)
			if flushed == "before the confirmation" {
				r.flush()
			}
			r.send(session.Input, key("1"), "1", p)
			if flushed == "after the confirmation" {
				r.flush()
			}
			again := newRigOn(t, r.store)
			again.desk.answer.Outcome = "pending"
			q := newPhone()
			again.send(session.Input, key("1"), "1", q)
			q.sees(t, "Wait", false)
			close(r.desk.gate)
			r.settle()
			if before, after := r.desk.keys(), again.desk.keys(); len(before) != 1 || !slices.Equal(before, after) {
				t.Errorf("ordered as %q before the crash and as %q after it", before, after)
			}
		})
	}
}

func TestSessionThatIsTooOldIsNotResumed(t *testing.T) {
	r := newRig(t)
	r.dial(key("1"))
	r.flush()
	again := newRigOn(t, r.store)
	again.clock.Store(61)
	q := newPhone()
	again.send(session.Input, key("1"), "1", q)
	q.sees(t, "Session expired.", true)
	again.ended(session.Expired, 1)
	again.flush()
	if rec, _ := again.store.only(t); rec.Reason != session.Expired {
		t.Errorf("stored %+v", rec)
	}
}

func TestUnknownDialogueIsToldThatItExpired(t *testing.T) {
	r := newRig(t)
	q := newPhone()
	r.send(session.Input, key("9"), "1", q)
	q.sees(t, "Session expired.", true)
	r.ended(session.Expired, 1)
	r.flush()
	if len(r.store.records) != 0 {
		t.Errorf("a session that never was is stored: %+v", r.store.records)
	}
}

func TestOverloadRefusesBeginsAndServesTheLive(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.MaxSessions = 1 })
	p := r.dial(key("1"))
	other := session.Key{SMSC: "sim", MSISDN: "2348030000002", ID: "2"}
	q := newPhone()
	r.send(session.Begin, other, "*999#", q)
	q.sees(t, "Error: Service temporarily unavailable.", true)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	if s := r.engine.Stats(); s.Overload != 1 || s.Live != 1 {
		t.Errorf("%+v", s)
	}
}

func TestWithoutRoomAnActionFailsAtOnce(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.MaxEffects = 1 })
	r.desk.gate = make(chan struct{})
	other := session.Key{SMSC: "sim", MSISDN: "2348030000002", ID: "2"}
	p, q := r.dial(key("1")), r.dial(other)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.send(session.Input, key("1"), "1", p)
	r.send(session.Input, other, "1", q)
	q.sees(t, "Pay", false)
	r.send(session.Input, other, "1", q)
	q.sees(t, "Failed", true)
	close(r.desk.gate)
	p.sees(t, "Done", true)
}

func TestDrainTakesNoBegins(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	r.settle()
	other := session.Key{SMSC: "sim", MSISDN: "2348030000002", ID: "2"}
	q := newPhone()
	r.send(session.Begin, other, "*999#", q)
	q.sees(t, "Error: Service temporarily unavailable.", true)
	r.send(session.Input, key("1"), "0", p)
	p.sees(t, "Bye", true)
}

func TestUnknownCode(t *testing.T) {
	r := newRig(t)
	q := newPhone()
	r.engine.Handle(session.Event{Kind: session.Begin, Key: key("1"), Code: "*777#", Text: "*777#", Medium: wide{}, Replier: q})
	q.sees(t, "Error: This code is not in service.", true)
	if s := r.engine.Stats(); s.NoService != 1 || s.Live != 0 {
		t.Errorf("%+v", s)
	}
}

func TestScreenThatNoLinkTakesEndsTheSession(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	p.err = errors.New("not bound")
	r.send(session.Input, key("1"), "1", p)
	r.ended(session.Undeliverable, 1)
}

func TestRefusedReply(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	r.engine.Handle(session.Event{Kind: session.Refused, Key: key("1"), Err: errors.New("no answer"), Replier: p})
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.engine.Handle(session.Event{Kind: session.Refused, Key: key("1"), Gone: true, Err: errors.New("0x4C1"), Replier: p})
	r.ended(session.Undeliverable, 1)
}

func TestSecretsReachNoSink(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "3", p)
	p.sees(t, "PIN?", false)
	r.send(session.Input, key("1"), "4711", p)
	p.sees(t, "Bye", true)
	r.ended(session.Completed, 1)
	r.flush()
	rec, steps := r.store.only(t)
	all := fmt.Sprintf("%+v %+v %s", rec, steps, r.store.states[rec.ID])
	if strings.Contains(all, "4711") || !strings.Contains(all, "****") {
		t.Errorf("stored %s", all)
	}
}

// Nobody knows what a desk that panicked or failed has done: the subscriber must
// not be told to try again.
func TestDeskInTroubleIsPending(t *testing.T) {
	r := newRig(t)
	r.desk.err = errors.New("ledger away")
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Wait", false)
}

func TestPanicInTheDeskIsPending(t *testing.T) {
	r := newRig(t)
	r.desk.panics = true
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Wait", false)
	r.dial(key("2"))
}

func TestOutcomesReachTheirScreens(t *testing.T) {
	for outcome, screen := range map[string]string{"delivered": "Done", "declined": "Failed", "not_sent": "Failed",
		"unavailable": "Failed", "insufficient": "Poor", "pending": "Wait"} {
		t.Run(outcome, func(t *testing.T) {
			r := newRig(t)
			r.desk.answer.Outcome = outcome
			p := r.dial(key("1"))
			r.send(session.Input, key("1"), "1", p)
			p.sees(t, "Pay", false)
			r.send(session.Input, key("1"), "1", p)
			p.sees(t, screen, outcome != "pending")
		})
	}
}

// TestAsksBeforeTheSameIsBoughtAgain: the answer that it is wanted all the same
// is an order of its own, and says so.
func TestAsksBeforeTheSameIsBoughtAgain(t *testing.T) {
	r := newRig(t)
	r.desk.answer = session.Receipt{Ref: "TXN-1", Outcome: "pending", Reason: "open"}
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Open TXN-1: N100 08030000001", false)
	r.desk.mu.Lock()
	r.desk.answer = session.Receipt{Ref: "TXN-2", Outcome: "delivered"}
	r.desk.mu.Unlock()
	r.send(session.Input, key("1"), "2", p)
	p.sees(t, "Done TXN-2", true)
	first, second := r.desk.orders[0], r.desk.orders[1]
	if first.Again || !second.Again || first.Key == second.Key {
		t.Errorf("orders %+v and %+v", first, second)
	}
	second.Key, second.Again = first.Key, false
	if first != second {
		t.Errorf("orders %+v and %+v", first, second)
	}
}

// TestNobodyKnowsOfTheSecond: like the first, it is not refused.
func TestNobodyKnowsOfTheSecond(t *testing.T) {
	r := newRig(t)
	r.desk.answer = session.Receipt{Ref: "TXN-1", Outcome: "pending", Reason: "open"}
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Open", false)
	r.desk.mu.Lock()
	r.desk.err = errors.New("ledger away")
	r.desk.mu.Unlock()
	r.send(session.Input, key("1"), "2", p)
	p.sees(t, "Wait", false)
}

func TestLimitSaysWhatIsLeft(t *testing.T) {
	r := newRig(t)
	r.desk.answer = session.Receipt{Outcome: "declined", Reason: "limit_day", Left: 250_00, Until: time.Date(2026, 11, 23, 23, 0, 0, 0, time.UTC)}
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "N250 until 24/11 00:00", true)
}

func TestStoreAwayLosesNothing(t *testing.T) {
	r := newRig(t)
	r.store.err = errors.New("gone away")
	p := r.dial(key("1"))
	if err := r.engine.Flush(context.Background()); err == nil {
		t.Fatal("no error")
	}
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	if err := r.engine.Flush(context.Background()); err == nil {
		t.Fatal("no error")
	}
	r.store.mu.Lock()
	r.store.err = nil
	r.store.mu.Unlock()
	r.flush()
	rec, steps := r.store.only(t)
	if rec.Steps != 2 || rec.State.Screen() != "confirm" || len(steps) != 2 || steps[0].N != 1 || steps[1].N != 2 {
		t.Errorf("stored %+v, %+v", rec, steps)
	}
	if s := r.engine.Stats(); s.Pending != 0 || s.WriteErrors != 2 || s.DroppedSteps != 0 {
		t.Errorf("%+v", s)
	}
}

func TestStoreAwayForLongDropsTheOldestSteps(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.MaxPending = 3 })
	r.store.err = errors.New("gone away")
	for i := range 5 {
		r.dial(session.Key{SMSC: "sim", MSISDN: "234803000000" + strconv.Itoa(i), ID: "1"})
	}
	if s := r.engine.Stats(); s.Pending != 3 || s.DroppedSteps != 2 {
		t.Errorf("%+v", s)
	}
}

func TestManySubscribersAtOnce(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- r.engine.Run(ctx) }()
	const n = 300
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			k := session.Key{SMSC: "sim", MSISDN: fmt.Sprintf("23480300%05d", i), ID: "1"}
			p := newPhone()
			for _, step := range []struct {
				kind       session.Kind
				text, want string
			}{{session.Begin, "*999#", "Shop"}, {session.Input, "1", "Pay"}, {session.Input, "1", "Done"}} {
				r.send(step.kind, k, step.text, p)
				p.sees(t, step.want, step.want == "Done")
			}
		})
	}
	wg.Wait()
	r.ended(session.Completed, n)
	stop()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	r.flush()
	if len(r.store.records) != n || len(slices.Compact(slices.Sorted(slices.Values(r.desk.keys())))) != n {
		t.Errorf("%d sessions stored, %d orders", len(r.store.records), len(r.desk.keys()))
	}
}

// counted sends an input that repeats the counter of our last reply, as a
// gateway does.
func (r *rig) counted(kind session.Kind, k session.Key, text string, counter uint32, p *phone) {
	r.engine.Handle(session.Event{Kind: kind, Key: k, Code: "*999#", Text: text, Medium: wide{}, Replier: p, Counter: counter, HasCounter: true})
}

// A deliver_sm that comes twice is one answer, whatever screen it would meet.
func TestAnswerDeliveredTwiceIsTakenOnce(t *testing.T) {
	r := newRig(t)
	p := newPhone()
	r.counted(session.Begin, key("1"), "*999#", 0, p)
	p.sees(t, "Shop", false)
	r.counted(session.Input, key("1"), "1", 2, p)
	p.sees(t, "Pay N100?", false)
	r.counted(session.Input, key("1"), "1", 2, p)
	p.dark(t)
	if keys := r.desk.keys(); len(keys) != 0 {
		t.Fatalf("bought without a confirmation: %q", keys)
	}
	r.counted(session.Input, key("1"), "1", 4, p)
	p.sees(t, "Done", true)
	if s := r.engine.Stats(); s.Repeated != 1 {
		t.Errorf("%+v", s)
	}
}

// The counter is stored: also after a restart the repeated answer is known.
func TestAnswerDeliveredTwiceAroundARestart(t *testing.T) {
	r := newRig(t)
	p := newPhone()
	r.counted(session.Begin, key("1"), "*999#", 0, p)
	p.sees(t, "Shop", false)
	r.counted(session.Input, key("1"), "1", 2, p)
	p.sees(t, "Pay N100?", false)
	r.flush()
	again := newRigOn(t, r.store)
	q := newPhone()
	again.counted(session.Input, key("1"), "1", 2, q)
	q.sees(t, "Session expired.", true)
	if keys := again.desk.keys(); len(keys) != 0 {
		t.Errorf("bought without a confirmation: %q", keys)
	}
}

func TestGatewayThatDoesNotCountIsServed(t *testing.T) {
	r := newRig(t)
	p := newPhone()
	r.counted(session.Begin, key("1"), "*999#", 0, p)
	p.sees(t, "Shop", false)
	r.counted(session.Input, key("1"), "1", 0, p)
	p.sees(t, "Pay", false)
	r.counted(session.Input, key("1"), "1", 0, p)
	p.sees(t, "Done", true)
}

// What the store will never take costs itself, not everybody's persistence.
func TestOddRowsDoNotHoldUpTheOthers(t *testing.T) {
	r := newRig(t)
	odd := session.Key{SMSC: "sim", MSISDN: oddNumber, ID: "1"}
	poison := session.Key{SMSC: "poison", MSISDN: "2348030000003", ID: "1"}
	r.dial(odd)
	r.dial(poison)
	r.dial(key("1"))
	r.flush()
	if len(r.store.records) != 2 || r.wallet.opened["2348030000001"] != 1 {
		t.Errorf("stored %d sessions, opened %v", len(r.store.records), r.wallet.opened)
	}
	r.send(session.Input, key("1"), "poison", newPhone())
	r.flush()
	if s := r.engine.Stats(); s.DroppedRecords != 1 || s.DroppedSteps != 1 || s.Pending != 0 {
		t.Errorf("%+v", s)
	}
}

// A late input of a dialogue that nobody knows does not disturb the live one.
func TestStrayInputLeavesTheLiveSessionAlone(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("2"))
	q := newPhone()
	r.send(session.Input, key("1"), "1", q)
	r.settled()
	q.dark(t)
	r.send(session.Input, key("2"), "1", p)
	p.sees(t, "Pay", false)
}

// settled waits until nothing is in flight, and leaves the engine open.
func (r *rig) settled() {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for r.engine.Stats().InFlight != 0 {
		select {
		case <-tick.C:
		case <-limit:
			r.t.Fatal("still in flight")
		}
	}
}

func TestReleaseAfterARestartEndsTheStoredSession(t *testing.T) {
	r := newRig(t)
	r.dial(key("1"))
	r.flush()
	again := newRigOn(t, r.store)
	again.send(session.Release, key("1"), "", newPhone())
	again.ended(session.Released, 1)
	again.flush()
	if rec, _ := again.store.only(t); rec.Reason != session.Released || rec.Ended.IsZero() {
		t.Errorf("stored %+v", rec)
	}
	again.send(session.Release, key("9"), "", newPhone())
	again.settled()
	again.ended(session.Released, 1)
}

// The dialogue went on in another process: this one's copy goes without a word.
func TestStaleCopyIsDroppedSilently(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	r.flush()
	other := newRigOn(t, r.store)
	q := newPhone()
	other.send(session.Input, key("1"), "1", q)
	q.sees(t, "Pay", false)
	other.flush()
	r.clock.Store(61)
	r.engine.Sweep(r.now())
	r.settled()
	p.dark(t)
	if s := r.engine.Stats(); s.Live != 0 || s.Ended[session.IdleTimeout] != 0 {
		t.Errorf("%+v", s)
	}
	other.send(session.Input, key("1"), "1", q)
	q.sees(t, "Done", true)
}

// A session whose action runs is not too old, and its end has the time of its end.
func TestSlowActionAndTheClock(t *testing.T) {
	r := newRig(t)
	r.desk.gate = make(chan struct{})
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.send(session.Input, key("1"), "1", p)
	r.clock.Store(200)
	r.engine.Sweep(r.now())
	p.dark(t)
	close(r.desk.gate)
	p.sees(t, "Done", true)
	r.ended(session.Completed, 1)
	r.flush()
	if rec, _ := r.store.only(t); rec.Ended.Sub(rec.Started) != 200*time.Second {
		t.Errorf("lasted %s", rec.Ended.Sub(rec.Started))
	}
}

// Draining goes on while live sessions begin new actions.
func TestDrainUnderTraffic(t *testing.T) {
	r := newRig(t)
	const n = 50
	phones := make([]*phone, n)
	keys := make([]session.Key, n)
	for i := range n {
		keys[i] = session.Key{SMSC: "sim", MSISDN: fmt.Sprintf("23480300%05d", i), ID: "1"}
		phones[i] = r.dial(keys[i])
		r.send(session.Input, keys[i], "1", phones[i])
		phones[i].sees(t, "Pay", false)
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r.send(session.Input, keys[i], "1", phones[i])
			phones[i].sees(t, "Done", true)
		})
		wg.Go(r.settle)
	}
	wg.Wait()
	r.ended(session.Completed, n)
}

// A screen that the closing links do not take leaves the session to the next start.
func TestStopLeavesSessionsOpen(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	r.settle()
	p.err = errors.New("closed")
	r.send(session.Input, key("1"), "1", p)
	r.flush()
	if rec, _ := r.store.only(t); !rec.Ended.IsZero() {
		t.Errorf("stored %+v", rec)
	}
	again := newRigOn(t, r.store)
	q := newPhone()
	again.send(session.Input, key("1"), "1", q)
	q.sees(t, "Done", true)
}

// Nobody knows whether a purchase that is asked for again was made before: for
// want of room the subscriber is not told to try again.
func TestWithoutRoomAResumedPurchaseIsPending(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.flush()
	again := newRigOn(t, r.store, func(c *session.Config) { c.MaxEffects = 1 }) // the look-up has it
	q := newPhone()
	again.send(session.Input, key("1"), "1", q)
	q.sees(t, "Wait", false)
}

// Who hangs up while the session is being looked up is not answered.
func TestReleaseDuringALookUp(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprintf("stored=%v", stored), func(t *testing.T) {
			r := newRig(t)
			if stored {
				r.dial(key("1"))
				r.flush()
			}
			again := newRigOn(t, r.store)
			again.store.gate = make(chan struct{})
			q := newPhone()
			again.send(session.Input, key("1"), "1", q)
			again.send(session.Input, key("1"), "1", q)
			again.send(session.Release, key("1"), "", q)
			close(again.store.gate)
			again.settled()
			q.dark(t)
			want := int64(0)
			if stored {
				want = 1
			}
			again.ended(session.Released, want)
			if s := again.engine.Stats(); s.Repeated != 1 || s.Live != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}
