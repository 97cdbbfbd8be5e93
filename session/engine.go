package session

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"ussdd/menus"
)

// Config sets an Engine's limits. Every zero field but NewID takes the value
// named beside it.
type Config struct {
	Budget      time.Duration // how long an action may keep the subscriber waiting; 5 s
	Idle        time.Duration // without an answer for this long a session ends; 60 s
	MaxLength   time.Duration // a session never lives longer; 180 s
	Tombstone   time.Duration // how long the key of an ended session is remembered; 60 s
	MaxSessions int           // live sessions; further begins are told to try again; 100,000
	MaxEffects  int           // actions and look-ups in flight; further ones fail at once; 1,000
	MaxPending  int           // steps waiting to be written, and as many ended sessions; beyond it the oldest steps and the sessions are dropped and counted; 100,000
	NoStepLog   bool          // steps are counted and not stored

	NewID   func() int64                                            // time-ordered ids; required
	Now     func() time.Time                                        // time.Now
	Observe func(action string, outcome string, took time.Duration) // if set: every step ("" action) and every effect; must not block
	Log     *slog.Logger                                            // discards
}

// replyGrace is how long beyond the step's budget a screen is still worth
// sending; later than that the gateway has given the dialogue up.
const replyGrace = 3 * time.Second

// A begin that comes again before the subscriber has answered is a repetition
// and not a new dialogue: for repeatWindow if it has the same id, and for
// twinWindow if it has another one, because nobody dials twice so quickly.
const (
	repeatWindow = 5 * time.Second
	twinWindow   = 50 * time.Millisecond
)

// earlyWindow is for how long behind a step the same answer is taken for that
// step's own again, if its gateway has not acknowledged the new screen either. To
// answer it takes a person longer.
const earlyWindow = time.Second

// BusyText ends a dialogue that there is no room for: one of the two sentences
// that need no service.
const BusyText = "Error: Service temporarily unavailable. Please try again."

// noServiceText says that nothing answers at the code.
const noServiceText = "Error: This code is not in service."

const (
	shardCount    = 64
	shardTombs    = 1 << 15 // tombstones of a shard: of many more sessions a minute the oldest are forgotten sooner
	sweepTicks    = 16      // a sweep is spread over so many parts of a second
	shardsPerTick = shardCount / sweepTicks
)

// Engine holds the live sessions. Make one with New, feed it with Handle, and
// run it with Run. Safe for concurrent use.
type Engine struct {
	cfg      Config
	services Services
	desk     Desk
	wallet   Wallet
	store    Store
	log      *slog.Logger

	seed   maphash.Seed
	shards [shardCount]shard
	w      writer

	live     atomic.Int64
	swept    atomic.Int64 // unix nanoseconds of the last complete sweep, by Config.Now
	draining atomic.Bool
	flights  flights    // effects and look-ups
	search   sync.Mutex // one search of all live sessions at a time: it keeps their shards from others
	checks   flights    // whether a session whose time is over went on elsewhere
	counts   counts
}

// subscriber names a handset on one SMSC. It can have one USSD dialogue.
type subscriber struct{ smsc, msisdn string }

type shard struct {
	mu      sync.Mutex
	live    map[subscriber]*dialogue
	waiting []*dialogue          // to be written, in no order
	tombs   recent               // ended sessions
	turned  time.Time            // when tombs began their period
	due     time.Time            // no session's time is over before
	looking map[Key]bool         // being looked up in the store; true once the dialogue was released meanwhile
	pushes  map[subscriber]*push // not yet accepted by the SMSC
}

// dialogue is one session in memory. id, begun and the parts of the key that
// name the subscriber never change; the rest is guarded by the shard's lock.
type dialogue struct {
	id      int64
	key     Key
	twin    string // if set, another id of the same dialling: the one that is answered stays
	code    string
	service *menus.Service
	state   menus.State
	started time.Time
	last    time.Time
	replier Replier
	medium  menus.Medium
	final   *Record // if set, the session has ended like this
	steps   int32
	slot    int32 // place in shard.waiting, from 1; 0 if it does not wait
	heard   Heard
	typed   uint64 // hash of the last answer

	begun    bool // in this process
	pushed   bool // by Push
	busy     bool // an effect is in flight: no screen has been shown since the last input
	resumed  bool // it came from the store, where an earlier process may have begun its purchase
	checking bool // the store is being asked whether the session went on elsewhere
	lost     bool // it ended when there was no room to keep it until it is written
}

// record is the session as it is now.
func (d *dialogue) record() Record {
	if d.final != nil {
		return *d.final
	}
	return Record{ID: d.id, Key: d.key, Code: d.code, Service: d.service.Name(), Version: d.service.Version(), State: d.state,
		Steps: int(d.steps), Heard: d.heard, Started: d.started, Last: d.last}
}

// New makes an engine over its parts.
func New(cfg Config, services Services, desk Desk, wallet Wallet, store Store) *Engine {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.Budget, 5*time.Second)
	def(&cfg.Idle, 60*time.Second)
	def(&cfg.MaxLength, 180*time.Second)
	def(&cfg.Tombstone, 60*time.Second)
	if cfg.MaxSessions <= 0 {
		cfg.MaxSessions = 100_000
	}
	if cfg.MaxEffects <= 0 {
		cfg.MaxEffects = 1_000
	}
	if cfg.MaxPending <= 0 {
		cfg.MaxPending = 100_000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, string, time.Duration) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		cfg: cfg, services: services, desk: desk, wallet: wallet, store: store, log: cfg.Log,
		seed:    maphash.MakeSeed(),
		flights: flights{max: cfg.MaxEffects},
		checks:  flights{max: max(1, cfg.MaxEffects/4)}, // nobody waits for them
	}
	e.counts.ended = make([]atomic.Int64, len(Reasons))
	e.swept.Store(cfg.Now().UnixNano())
	e.w = writer{hint: make(chan struct{}, 1), known: recent{max: knownMax}, stored: cfg.Now()}
	for i := range e.shards {
		e.shards[i].live = make(map[subscriber]*dialogue)
		e.shards[i].tombs.max = shardTombs
		e.shards[i].looking = make(map[Key]bool)
		e.shards[i].pushes = make(map[subscriber]*push)
	}
	return e
}

func (e *Engine) shard(msisdn string) *shard {
	return &e.shards[maphash.String(e.seed, msisdn)%shardCount]
}

// tomb is what a shard remembers of a dialogue that has ended.
func (e *Engine) tomb(k Key) uint64 { return maphash.Comparable(e.seed, k) }

// ended is what it remembers of the session, which is open in the store until
// its end is written.
func (e *Engine) ended(id int64) uint64 { return maphash.Comparable(e.seed, id) }

func (k Key) subscriber() subscriber { return subscriber{k.SMSC, k.MSISDN} }

// nameless is the key of the same subscriber's dialogue whose id is not known.
func (k Key) nameless() Key {
	k.ID = ""
	return k
}

// Handle takes one event. It never blocks on anything but the subscriber's
// shard, and may be called from any goroutine. Events of one dialogue that come
// from several goroutines are taken one after the other, in any order.
func (e *Engine) Handle(ev Event) {
	if ev.Key.MSISDN == "" {
		e.identify(ev)
		return
	}
	at := e.cfg.Now()
	sh := e.shard(ev.Key.MSISDN)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	d := sh.live[ev.Key.subscriber()]
	if d != nil && ev.Kind != Begin && ev.Opening == nil && !e.adopts(sh, d, ev.Key) {
		d = nil // the live dialogue is another one
	}
	defer e.guard(sh, d)
	if ev.Opening != nil {
		e.opening(sh, ev, at)
		return
	}
	switch ev.Kind {
	case Begin:
		e.begin(sh, d, ev, at)
	case Input:
		e.input(sh, d, ev, at)
	case Release:
		switch {
		case d == nil:
			e.release(sh, ev.Key, at)
		case e.leaves(sh, d, ev.Key):
			e.counts.repeated.Add(1) // one of two dialogues of one dialling
		default:
			e.end(sh, d, Released, at)
		}
	case Refused:
		e.counts.refused.Add(1)
		if d != nil && ev.Gone && !e.leaves(sh, d, ev.Key) {
			e.log.Debug("reply refused", "session", d.id, "err", ev.Err)
			e.end(sh, d, Undeliverable, at)
		}
	}
}

// adopts says whether an event of that dialogue is of the live one d, of the same
// subscriber. A pushed one takes the first id that it hears, but for that of a
// dialogue that has ended. The shard is locked.
func (e *Engine) adopts(sh *shard, d *dialogue, key Key) bool {
	if d.pushed && d.key.ID == "" && key.ID != "" && !sh.tombs.has(e.tomb(key)) {
		d.key.ID = key.ID
		sh.wait(d)
	}
	return key.ID == d.key.ID || key.ID == d.twin && key.ID != ""
}

// leaves says whether the dialogue goes on under its other id when the one of
// key has ended. The shard is locked.
func (e *Engine) leaves(sh *shard, d *dialogue, key Key) bool {
	if d.twin == "" {
		return false
	}
	if key.ID == d.key.ID {
		d.key.ID = d.twin
		sh.wait(d)
	}
	d.twin = ""
	sh.tombs.add(e.tomb(key))
	return true
}

// guard ends the one dialogue whose step panicked. It must be deferred while
// the shard is locked.
func (e *Engine) guard(sh *shard, d *dialogue) {
	p := recover()
	if p == nil {
		return
	}
	e.log.Error("panic in a session", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if d != nil && sh.live[d.key.subscriber()] == d {
		e.say(d, BusyText, true, e.cfg.Now())
		e.end(sh, d, InternalError, e.cfg.Now())
	}
}

func (e *Engine) begin(sh *shard, old *dialogue, ev Event, at time.Time) {
	if old != nil && !old.pushed && old.code == ev.Text && old.steps <= 1 {
		since := at.Sub(old.started)
		if old.key.ID == ev.Key.ID && since < repeatWindow {
			e.counts.repeated.Add(1)
			return
		}
		if old.key.ID != ev.Key.ID && since < twinWindow {
			e.join(sh, old, ev, at)
			return
		}
	}
	if old != nil {
		e.end(sh, old, Replaced, at)
	}
	deadline := at.Add(e.cfg.Budget + replyGrace)
	if e.full() {
		e.counts.overload.Add(1)
		e.reply(ev.Replier, BusyText, true, deadline)
		return
	}
	service, ok := e.services.Match(ev.Text)
	if !ok {
		service, ok = e.services.Match(ev.Code)
	}
	if !ok {
		e.counts.noService.Add(1)
		e.reply(ev.Replier, noServiceText, true, deadline)
		return
	}
	d := &dialogue{id: e.cfg.NewID(), key: ev.Key, code: ev.Text, service: service, started: at, last: at,
		replier: ev.Replier, medium: ev.Medium, begun: true}
	d.heard.hear(ev)
	e.start(sh, d, at)
}

// full says whether there is no room for another session.
func (e *Engine) full() bool {
	return e.draining.Load() || e.live.Load() >= int64(e.cfg.MaxSessions)
}

// Admit says whether a begin would find room, and counts one that would not. A
// subscriber who has a live session is always let in: a repeated begin needs no
// room, and a new one replaces it. Safe for concurrent use.
func (e *Engine) Admit(key Key) bool {
	if !e.full() && e.flights.inFlight() < e.cfg.MaxEffects {
		return true
	}
	sh := e.shard(key.MSISDN)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.live[key.subscriber()] != nil && !e.draining.Load() {
		return true
	}
	e.counts.overload.Add(1)
	return false
}

// Lives says whether a dialogue is one of a live session, so that a begin of it
// can only be a repetition. Safe for concurrent use.
func (e *Engine) Lives(key Key) bool {
	sh := e.shard(key.MSISDN)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	d := sh.live[key.subscriber()]
	return d != nil && (key.ID == d.key.ID || key.ID != "" && key.ID == d.twin)
}

// start begins a session. The shard is locked.
func (e *Engine) start(sh *shard, d *dialogue, at time.Time) {
	e.install(sh, d)
	e.counts.begun.Add(1)
	defer e.guard(sh, d)
	e.note("session begins", d)
	e.step(sh, d, menus.Start(), "", at)
}

// join takes a begin that comes again under another id, over another bind
// perhaps. Which of the two the network will go on with nobody knows: both are
// shown the first screen, and the one that is answered stays. So the subscriber
// is neither left without a screen nor in front of a dead one. The shard is
// locked.
func (e *Engine) join(sh *shard, d *dialogue, ev Event, at time.Time) {
	e.counts.repeated.Add(1)
	if ev.Key.ID == d.twin {
		return
	}
	if d.twin != "" { // a third: the oldest goes
		e.leaves(sh, d, Key{SMSC: d.key.SMSC, MSISDN: d.key.MSISDN, ID: d.twin})
	}
	first := d.replier
	d.twin, d.key.ID = d.key.ID, ev.Key.ID
	d.replier, d.medium, d.heard = ev.Replier, ev.Medium, Heard{}
	d.heard.hear(ev)
	sh.tombs.remove(e.tomb(d.key))
	sh.wait(d)
	if d.busy {
		d.replier = both{first, ev.Replier} // its result is the first screen
		return
	}
	turn := d.service.Step(menus.State{}, menus.Start(), menus.Env{Caller: d.key.MSISDN, Medium: d.medium})
	if err := e.say(d, turn.Text, turn.End, at); err != nil {
		e.leaves(sh, d, d.key)
	}
}

// both shows a screen in two dialogues, of which one is enough.
type both [2]Replier

// Reply implements Replier.
func (b both) Reply(text string, end bool, deadline time.Time) error {
	first, second := b[0].Reply(text, end, deadline), b[1].Reply(text, end, deadline)
	if first == nil {
		return nil
	}
	return second
}

func (e *Engine) input(sh *shard, d *dialogue, ev Event, at time.Time) {
	if d == nil {
		if ev.Key.ID != "" && sh.tombs.has(e.tomb(ev.Key)) {
			e.counts.late.Add(1)
			return
		}
		e.resume(sh, ev, at)
		return
	}
	if d.busy || d.heard.repeats(ev) || ev.Early && at.Sub(d.last) < earlyWindow && d.typed == maphash.String(e.seed, ev.Text) {
		e.counts.repeated.Add(1)
		return
	}
	if d.pushed {
		sh.resolveFor(d, nil) // who answers has seen the screen
	}
	if d.twin != "" {
		other := ev.Key
		if other.ID = d.twin; ev.Key.ID == d.twin {
			other.ID = d.key.ID
		}
		e.leaves(sh, d, other)
	}
	e.answer(sh, d, ev, at)
}

// answer takes an input that is not a repetition. The shard is locked.
func (e *Engine) answer(sh *shard, d *dialogue, ev Event, at time.Time) {
	d.replier, d.medium = ev.Replier, ev.Medium
	d.heard.hear(ev)
	d.typed = maphash.String(e.seed, ev.Text)
	e.step(sh, d, menus.Answer(ev.Text), ev.Text, at)
}

// install makes d the live session of its subscriber. The shard is locked.
func (e *Engine) install(sh *shard, d *dialogue) {
	sh.tombs.remove(e.tomb(d.key))
	sh.live[d.key.subscriber()] = d
	if due, _ := e.due(d); due.Before(sh.due) {
		sh.due = due // it comes from the store
	}
	e.live.Add(1)
}

// step takes the menu one input further and does what the turn says. typed is
// what the subscriber typed, "" for a begin or a result; at is when the
// subscriber did something, which the time to the screen counts from. The shard
// is locked.
func (e *Engine) step(sh *shard, d *dialogue, in menus.Input, typed string, at time.Time) {
	from := d.state.Screen()
	turn := d.service.Step(d.state, in, menus.Env{Caller: d.key.MSISDN, Medium: d.medium})
	d.state, d.heard.Acting = turn.State, turn.Effect != nil
	d.steps++
	var err error
	if turn.Effect == nil {
		err = e.say(d, turn.Text, turn.End, at)
	}
	now := e.cfg.Now()
	took := now.Sub(at)
	d.last = now
	sh.wait(d)
	e.counts.steps.Add(1)
	if !e.cfg.NoStepLog {
		if turn.Secret && typed != "" {
			typed = "****"
		}
		e.logStep(Step{Session: d.id, N: int(d.steps), At: now, Screen: from, Input: typed, Shown: turn.State.Screen(), Took: took})
	}
	if turn.Effect != nil {
		d.busy = true
		e.perform(sh, d, *turn.Effect, at)
		return
	}
	e.cfg.Observe("", "", took)
	switch {
	case err != nil && e.draining.Load():
		e.forget(sh, d) // the links are closing; the next start goes on with it
	case err != nil:
		e.log.Warn("screen not sent", "session", d.id, "screen", turn.State.Screen(), "err", err)
		sh.resolveFor(d, &PushRefusedError{err})
		e.end(sh, d, Undeliverable, now)
	case turn.End:
		e.end(sh, d, Reason(turn.EndReason), now)
	}
}

func (e *Engine) say(d *dialogue, text string, end bool, at time.Time) error {
	return e.reply(d.replier, text, end, at.Add(e.cfg.Budget+replyGrace))
}

func (e *Engine) reply(r Replier, text string, end bool, deadline time.Time) error {
	err := r.Reply(text, end, deadline)
	if err != nil {
		e.counts.unsent.Add(1)
	}
	return err
}

// end ends a live session, if it is still live. The shard is locked.
func (e *Engine) end(sh *shard, d *dialogue, reason Reason, at time.Time) {
	if !e.forget(sh, d) {
		return
	}
	if d.twin != "" {
		other := d.key
		other.ID = d.twin
		sh.tombs.add(e.tomb(other))
	}
	if reason != Completed {
		sh.resolveFor(d, &PushRefusedError{&EndedError{reason}})
	}
	d.replier, d.medium = nil, nil // the link's event is not kept until the record is written
	e.record(sh, d, d.record(), reason, at)
}

// forget takes a session out of memory, as it will be stored. The shard is
// locked.
func (e *Engine) forget(sh *shard, d *dialogue) bool {
	sub := d.key.subscriber()
	if sh.live[sub] != d {
		return false
	}
	delete(sh.live, sub)
	e.live.Add(-1)
	return true
}

// record writes down that a session has ended. The shard is locked.
func (e *Engine) record(sh *shard, d *dialogue, rec Record, reason Reason, at time.Time) {
	sh.tombs.add(e.tomb(d.key))
	sh.tombs.add(e.ended(d.id))
	e.counts.end(reason)
	rec.Ended, rec.Reason = at, reason
	e.finish(sh, d, rec)
	e.note("session ends", d)
}

// recordStored does so for a session that is not in memory. The shard is locked.
func (e *Engine) recordStored(sh *shard, rec Record, reason Reason, at time.Time) {
	e.record(sh, &dialogue{id: rec.ID, key: rec.Key}, rec, reason, at)
}

// note logs what became of a session, if that is wanted.
func (e *Engine) note(what string, d *dialogue) {
	if !e.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	rec := d.record()
	e.log.Debug(what, "session", rec.ID, "smsc", rec.Key.SMSC, "msisdn", mask(rec.Key.MSISDN), "service", rec.Service,
		"screen", rec.State.Screen(), "steps", rec.Steps, "reason", string(rec.Reason))
}

// perform carries an effect out in the background and steps the session with
// its result, if the session is still there then. The shard is locked.
func (e *Engine) perform(sh *shard, d *dialogue, eff menus.Effect, at time.Time) {
	caller := caller{session: d.id, msisdn: d.key.MSISDN}
	ok := e.flights.fly(func() {
		began := e.cfg.Now()
		ctx, cancel := context.WithTimeout(context.Background(), e.cfg.Budget)
		outcome, result := e.act(ctx, caller, eff)
		cancel()
		e.cfg.Observe(eff.Action, outcome, e.cfg.Now().Sub(began))
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if sh.live[d.key.subscriber()] != d {
			return // hung up meanwhile: the purchase has its own life
		}
		defer e.guard(sh, d)
		d.busy = false
		e.step(sh, d, result, "", at)
	})
	if !ok {
		e.counts.overload.Add(1)
		d.busy = false
		_, result := refusal(eff.Action)
		if d.resumed {
			_, result = doubt(eff.Action)
		}
		e.step(sh, d, result, "", at)
	}
}

// Sweep ends the sessions that are idle or too old at the given time, and
// forgets old tombstones. Run does so every second, a part at a time.
func (e *Engine) Sweep(at time.Time) {
	for i := range e.shards {
		e.sweep(&e.shards[i], at)
	}
	e.swept.Store(at.UnixNano())
}

func (e *Engine) sweep(sh *shard, at time.Time) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if at.Sub(sh.turned) > e.cfg.Tombstone {
		sh.turned = at
		sh.tombs.turn()
	}
	if !at.After(sh.due) {
		return
	}
	sh.due = at.Add(min(e.cfg.Idle, e.cfg.MaxLength))
	for _, d := range sh.live {
		due, reason := e.due(d)
		switch {
		case !at.After(due):
		case d.busy || d.checking: // its action's result comes within the budget
			due = at
		default:
			e.expire(sh, d, reason, at)
			due = at
		}
		if due.Before(sh.due) {
			sh.due = due
		}
	}
}

// due is when a session's time is over if nothing happens, and which.
func (e *Engine) due(d *dialogue) (time.Time, Reason) {
	idle, length := d.last.Add(e.cfg.Idle), d.started.Add(e.cfg.MaxLength)
	if length.Before(idle) {
		return length, MaxLength
	}
	return idle, IdleTimeout
}

// Swept is when the last complete sweep was: a time long ago means that the
// engine is stuck.
func (e *Engine) Swept() time.Time { return time.Unix(0, e.swept.Load()) }

// Run sweeps and writes behind until ctx is done. What is not written then is
// written by Flush. A store that hangs holds up the writing and not the sweep.
func (e *Engine) Run(ctx context.Context) error {
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() { e.writeBehind(ctx) })
	tick := time.NewTicker(time.Second / sweepTicks)
	defer tick.Stop()
	for next := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		at := e.cfg.Now()
		for range shardsPerTick {
			e.sweep(&e.shards[next], at)
			next++
		}
		if next == shardCount {
			next = 0
			e.swept.Store(at.UnixNano())
		}
	}
}

// Drain takes no new sessions any more and waits until nothing is in flight, or
// ctx ends. Live sessions are served on for as long as the links are up, so that
// new actions may begin: call it again when the links are down. What is live
// stays in the store, where the next process finds it.
func (e *Engine) Drain(ctx context.Context) error {
	e.draining.Store(true)
	e.hurry()
	if err := e.checks.wait(ctx); err != nil {
		return err
	}
	return e.flights.wait(ctx)
}

// mask hides the middle of an MSISDN for a log.
func mask(msisdn string) string {
	if len(msisdn) < 11 {
		return "****"
	}
	return msisdn[:6] + "***" + msisdn[len(msisdn)-4:]
}
