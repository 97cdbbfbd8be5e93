package session

import (
	"context"
	"errors"
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
	MaxPending  int           // steps, and sessions, waiting to be written; beyond it the oldest steps and new sessions are dropped and counted; 100,000

	NewID   func() int64                                            // time-ordered ids; required
	Now     func() time.Time                                        // time.Now
	Observe func(action string, outcome string, took time.Duration) // if set: every step ("" action) and every effect; must not block
	Log     *slog.Logger                                            // discards
}

// replyGrace is how long beyond the step's budget a screen is still worth
// sending; later than that the gateway has given the dialogue up.
const replyGrace = 3 * time.Second

// repeatWindow is how long after a begin the same begin, with the same id and
// not yet answered by the subscriber, is a repetition and not a new dialogue.
const repeatWindow = 5 * time.Second

// The two sentences that need no service: nothing answers at this code, and
// the engine cannot take the session.
const (
	noServiceText = "Error: This code is not in service."
	busyText      = "Error: Service temporarily unavailable. Please try again."
)

const shardCount = 64

// Engine holds the live sessions. Make one with New, feed it with Handle, and
// run it with Run. Safe for concurrent use.
type Engine struct {
	cfg      Config
	services Services
	desk     Desk
	wallet   Wallet
	writer   *writer
	store    Store
	log      *slog.Logger

	seed   maphash.Seed
	shards [shardCount]shard

	live     atomic.Int64
	swept    atomic.Int64 // unix nanoseconds of the last complete sweep, by Config.Now
	draining atomic.Bool
	flights  flights // effects and look-ups
	counts   counts
}

// subscriber names a handset on one SMSC. It can have one USSD dialogue.
type subscriber struct{ smsc, msisdn string }

type shard struct {
	mu      sync.Mutex
	live    map[subscriber]*dialogue
	tombs   map[Key]time.Time
	looking map[Key]bool // being looked up in the store; true once the dialogue was released meanwhile
}

// dialogue is one live session. All fields are guarded by its shard's lock.
type dialogue struct {
	rec      Record
	service  *menus.Service
	replier  Replier
	medium   menus.Medium
	busy     bool // an effect is in flight: no screen has been shown since the last input
	resumed  bool // it came from the store, where an earlier process may have begun its purchase
	checking bool // the store is being asked whether the session went on elsewhere
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
	}
	e.counts.ended = make([]atomic.Int64, len(Reasons))
	e.swept.Store(cfg.Now().UnixNano())
	e.writer = newWriter(cfg, store, wallet, &e.counts)
	for i := range e.shards {
		e.shards[i].live = make(map[subscriber]*dialogue)
		e.shards[i].tombs = make(map[Key]time.Time)
		e.shards[i].looking = make(map[Key]bool)
	}
	return e
}

func (e *Engine) shard(k Key) *shard {
	var h maphash.Hash
	h.SetSeed(e.seed)
	h.WriteString(k.SMSC)
	h.WriteString(k.MSISDN)
	return &e.shards[h.Sum64()%shardCount]
}

func (k Key) subscriber() subscriber { return subscriber{k.SMSC, k.MSISDN} }

// Handle takes one event. It never blocks on anything but the subscriber's
// shard, and may be called from any goroutine; events of one dialogue must come
// in their order.
func (e *Engine) Handle(ev Event) {
	at := e.cfg.Now()
	sh := e.shard(ev.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	d := sh.live[ev.Key.subscriber()]
	if d != nil && d.rec.Key.ID != ev.Key.ID && ev.Kind != Begin {
		d = nil // the live dialogue is another one
	}
	defer e.guard(sh, d)
	switch ev.Kind {
	case Begin:
		e.begin(sh, d, ev, at)
	case Input:
		e.input(sh, d, ev, at)
	case Release:
		if d == nil {
			e.release(sh, ev.Key, at)
			return
		}
		e.end(sh, d, Released, at)
	case Refused:
		e.counts.refused.Add(1)
		if d != nil && ev.Gone {
			e.log.Info("reply refused", "session", d.rec.ID, "err", ev.Err)
			e.end(sh, d, Undeliverable, at)
		}
	}
}

// guard ends the one dialogue whose step panicked. It must be deferred while
// the shard is locked.
func (e *Engine) guard(sh *shard, d *dialogue) {
	p := recover()
	if p == nil {
		return
	}
	e.log.Error("panic in a session", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if d != nil && sh.live[d.rec.Key.subscriber()] == d {
		e.say(d, busyText, true, e.cfg.Now())
		e.end(sh, d, InternalError, e.cfg.Now())
	}
}

func (e *Engine) begin(sh *shard, old *dialogue, ev Event, at time.Time) {
	if old != nil && old.rec.Key.ID == ev.Key.ID && old.rec.Code == ev.Text &&
		old.rec.Steps <= 1 && at.Sub(old.rec.Started) < repeatWindow {
		e.counts.repeated.Add(1)
		return
	}
	if old != nil {
		e.end(sh, old, Replaced, at)
	}
	deadline := at.Add(e.cfg.Budget + replyGrace)
	if e.draining.Load() || e.live.Load() >= int64(e.cfg.MaxSessions) {
		e.counts.overload.Add(1)
		e.reply(ev.Replier, busyText, true, deadline)
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
	d := &dialogue{
		rec: Record{ID: e.cfg.NewID(), Key: ev.Key, Code: ev.Text, Service: service.Name(), Version: service.Version(),
			Started: at, Last: at},
		service: service, replier: ev.Replier, medium: ev.Medium,
	}
	d.rec.Heard.hear(ev)
	e.install(sh, d)
	e.counts.begun.Add(1)
	defer e.guard(sh, d)
	e.log.Info("session begins", "session", d.rec.ID, "smsc", ev.Key.SMSC, "msisdn", mask(ev.Key.MSISDN), "service", service.Name())
	e.writer.open(ev.Key.MSISDN)
	e.step(sh, d, menus.Start(), "", at)
}

func (e *Engine) input(sh *shard, d *dialogue, ev Event, at time.Time) {
	if d == nil {
		if _, ended := sh.tombs[ev.Key]; ended {
			e.counts.late.Add(1)
			return
		}
		e.resume(sh, ev, at)
		return
	}
	if d.busy || d.rec.Heard.repeats(ev) {
		e.counts.repeated.Add(1)
		return
	}
	e.answer(sh, d, ev, at)
}

// answer takes an input that is not a repetition. The shard is locked.
func (e *Engine) answer(sh *shard, d *dialogue, ev Event, at time.Time) {
	d.replier, d.medium = ev.Replier, ev.Medium
	d.rec.Heard.hear(ev)
	e.step(sh, d, menus.Answer(ev.Text), ev.Text, at)
}

// install makes d the live session of its subscriber. The shard is locked.
func (e *Engine) install(sh *shard, d *dialogue) {
	delete(sh.tombs, d.rec.Key)
	sh.live[d.rec.Key.subscriber()] = d
	e.live.Add(1)
}

// step takes the menu one input further and does what the turn says. typed is
// what the subscriber typed, "" for a begin or a result; at is when the
// subscriber did something, which the time to the screen counts from. The shard
// is locked.
func (e *Engine) step(sh *shard, d *dialogue, in menus.Input, typed string, at time.Time) {
	from := d.rec.State.Screen()
	turn := d.service.Step(d.rec.State, in, menus.Env{Caller: d.rec.Key.MSISDN, Medium: d.medium})
	d.rec.State = turn.State
	d.rec.Steps++
	now := e.cfg.Now()
	d.rec.Last, d.rec.Heard.Acting = now, turn.Effect != nil
	if turn.Secret && typed != "" {
		typed = "****"
	}
	e.writer.step(d.rec, Step{Session: d.rec.ID, N: d.rec.Steps, At: now, Screen: from, Input: typed,
		Shown: turn.State.Screen(), Took: now.Sub(at)})
	e.counts.steps.Add(1)
	if turn.Effect != nil {
		d.busy = true
		e.perform(sh, d, *turn.Effect, at)
		return
	}
	err := e.say(d, turn.Text, turn.End, at)
	e.cfg.Observe("", "", e.cfg.Now().Sub(at))
	switch {
	case err != nil && e.draining.Load():
		e.forget(sh, d) // the links are closing; the next start goes on with it
	case err != nil:
		e.log.Warn("screen not sent", "session", d.rec.ID, "screen", turn.State.Screen(), "err", err)
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
	sh.tombs[d.rec.Key] = at
	e.record(d.rec, reason, at)
}

// forget takes a session out of memory, as it is stored. The shard is locked.
func (e *Engine) forget(sh *shard, d *dialogue) bool {
	sub := d.rec.Key.subscriber()
	if sh.live[sub] != d {
		return false
	}
	delete(sh.live, sub)
	e.live.Add(-1)
	return true
}

// record writes down that a session has ended.
func (e *Engine) record(rec Record, reason Reason, at time.Time) {
	e.counts.end(reason)
	rec.Ended, rec.Reason = at, reason
	e.writer.record(rec)
	e.log.Info("session ends", "session", rec.ID, "reason", string(reason), "steps", rec.Steps, "ms", at.Sub(rec.Started).Milliseconds())
}

// perform carries an effect out in the background and steps the session with
// its result, if the session is still there then. The shard is locked.
func (e *Engine) perform(sh *shard, d *dialogue, eff menus.Effect, at time.Time) {
	caller := caller{session: d.rec.ID, msisdn: d.rec.Key.MSISDN}
	ok := e.flights.fly(func() {
		began := e.cfg.Now()
		ctx, cancel := context.WithTimeout(context.Background(), e.cfg.Budget)
		outcome, result := e.act(ctx, caller, eff)
		cancel()
		e.cfg.Observe(eff.Action, outcome, e.cfg.Now().Sub(began))
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if sh.live[d.rec.Key.subscriber()] != d {
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

// resume looks in the store for a session that this process does not hold, and
// goes on with it. Meanwhile its key is in sh.looking, so that a repeated input
// is not taken twice. The shard is locked.
func (e *Engine) resume(sh *shard, ev Event, at time.Time) {
	if _, looking := sh.looking[ev.Key]; looking {
		e.counts.repeated.Add(1)
		return
	}
	deadline := at.Add(e.cfg.Budget + replyGrace)
	if e.draining.Load() || e.live.Load() >= int64(e.cfg.MaxSessions) || !e.look(sh, ev.Key, func(rec Record, service *menus.Service, reason Reason, released bool) {
		if released {
			sh.tombs[ev.Key] = at
			if rec.ID != 0 {
				e.record(rec, Released, at)
			}
			return
		}
		live := sh.live[ev.Key.subscriber()]
		switch {
		case live != nil && (rec.ID == 0 || live.rec.Started.After(rec.Started)):
			e.counts.late.Add(1) // the subscriber has moved on
			return
		case live != nil:
			e.end(sh, live, Replaced, at)
		}
		if reason == "" && rec.Heard.repeats(ev) && !rec.Heard.Acting {
			// Its screen was on the way when the process died, and is not
			// known any more. An action would be performed under its old key.
			e.counts.repeated.Add(1)
			reason = Expired
		}
		if reason != "" {
			e.reply(ev.Replier, e.farewell(service, ev), true, deadline)
			sh.tombs[ev.Key] = at
			if rec.ID != 0 {
				e.record(rec, reason, at)
			} else {
				e.counts.end(reason)
			}
			return
		}
		d := &dialogue{rec: rec, service: service, resumed: true}
		e.install(sh, d)
		e.counts.resumed.Add(1)
		defer e.guard(sh, d)
		e.log.Info("session resumes", "session", rec.ID, "smsc", ev.Key.SMSC, "msisdn", mask(ev.Key.MSISDN), "screen", rec.State.Screen())
		e.answer(sh, d, ev, at)
	}) {
		e.counts.overload.Add(1)
		e.reply(ev.Replier, busyText, true, deadline)
	}
}

// release ends the stored session of a dialogue that this process does not
// hold, so that it does not stay open for ever. The shard is locked.
func (e *Engine) release(sh *shard, key Key, at time.Time) {
	_, ended := sh.tombs[key]
	if _, looking := sh.looking[key]; looking {
		sh.looking[key] = true
		return
	}
	if ended || e.draining.Load() || !e.look(sh, key, func(rec Record, _ *menus.Service, _ Reason, _ bool) {
		if rec.ID == 0 {
			e.counts.late.Add(1)
			return
		}
		e.record(rec, Released, at)
	}) {
		e.counts.late.Add(1)
	}
}

// farewell is what is said to a dialogue that cannot go on.
func (e *Engine) farewell(service *menus.Service, ev Event) string {
	if service == nil {
		service, _ = e.services.Match(ev.Code)
	}
	if service == nil {
		return busyText
	}
	return service.Text("expired")
}

// look finds the stored session of a key in the background and gives it to
// found, with the shard locked: the session (ID 0 if there is none), its
// service, why it cannot go on ("" if it can), and whether the dialogue was
// released meanwhile. It reports whether there was room for it.
func (e *Engine) look(sh *shard, key Key, found func(Record, *menus.Service, Reason, bool)) bool {
	ok := e.flights.fly(func() {
		ctx, cancel := context.WithTimeout(context.Background(), e.cfg.Budget)
		defer cancel()
		rec, service, reason := e.find(ctx, key)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		released := sh.looking[key]
		delete(sh.looking, key)
		found(rec, service, reason, released)
	})
	if ok {
		sh.looking[key] = false
	}
	return ok
}

// find gives the stored session of key, and if it cannot go on the reason why.
func (e *Engine) find(ctx context.Context, key Key) (rec Record, service *menus.Service, reason Reason) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("panic in a look-up", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			rec, service, reason = Record{}, nil, InternalError
		}
	}()
	rec, err := e.store.Load(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return Record{}, nil, Expired
	}
	if err == nil {
		service, err = e.services.Find(ctx, rec.Service, rec.Version)
		if errors.Is(err, ErrNotFound) {
			return rec, nil, VersionMissing
		}
	}
	if err != nil {
		e.log.Error("session look-up", "smsc", key.SMSC, "msisdn", mask(key.MSISDN), "err", err)
		return rec, nil, InternalError
	}
	if now := e.cfg.Now(); now.Sub(rec.Last) > e.cfg.Idle || now.Sub(rec.Started) > e.cfg.MaxLength {
		return rec, service, Expired
	}
	return rec, service, ""
}

// Sweep ends the sessions that are idle or too old at the given time, and
// forgets old tombstones. Run calls it every second.
func (e *Engine) Sweep(at time.Time) {
	for i := range e.shards {
		sh := &e.shards[i]
		sh.mu.Lock()
		for _, d := range sh.live {
			switch {
			case d.busy || d.checking: // its action's result comes within the budget
			case at.Sub(d.rec.Started) > e.cfg.MaxLength:
				e.expire(sh, d, MaxLength, at)
			case at.Sub(d.rec.Last) > e.cfg.Idle:
				e.expire(sh, d, IdleTimeout, at)
			}
		}
		for key, since := range sh.tombs {
			if at.Sub(since) > e.cfg.Tombstone {
				delete(sh.tombs, key)
			}
		}
		sh.mu.Unlock()
	}
	e.swept.Store(at.UnixNano())
}

// expire ends a session whose time is over, unless the store knows that it went
// on in another process: then that one speaks to the subscriber. Without room
// to ask, the next sweep does. The shard is locked.
func (e *Engine) expire(sh *shard, d *dialogue, reason Reason, at time.Time) {
	rec := d.rec
	d.checking = e.flights.fly(func() {
		ctx, cancel := context.WithTimeout(context.Background(), e.cfg.Budget)
		defer cancel()
		stored, err := e.store.Load(ctx, rec.Key)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		d.checking = false
		if sh.live[rec.Key.subscriber()] != d || d.rec.Steps != rec.Steps {
			return
		}
		defer e.guard(sh, d)
		if err == nil && stored.ID == rec.ID && stored.Steps > rec.Steps {
			e.forget(sh, d)
			return
		}
		e.say(d, d.service.Text("expired"), true, at)
		e.end(sh, d, reason, at)
	})
}

// Swept is when the last complete sweep was: a time long ago means that the
// engine is stuck.
func (e *Engine) Swept() time.Time { return time.Unix(0, e.swept.Load()) }

// sweepEvery and flushEvery are how often Run looks for idle sessions and
// writes behind.
var (
	sweepEvery = time.Second
	flushEvery = 100 * time.Millisecond
)

// Run sweeps and writes behind until ctx is done. What is not written then is
// written by Flush. A store that hangs holds up the writing and not the sweep.
func (e *Engine) Run(ctx context.Context) error {
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() { e.writer.run(ctx) })
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			e.Sweep(e.cfg.Now())
		}
	}
}

// Flush writes everything that waits to be written.
func (e *Engine) Flush(ctx context.Context) error { return e.writer.flush(ctx) }

// Drain takes no new sessions any more and waits until nothing is in flight, or
// ctx ends. Live sessions are served on for as long as the links are up, so that
// new actions may begin: call it again when the links are down. What is live
// stays in the store, where the next process finds it.
func (e *Engine) Drain(ctx context.Context) error {
	e.draining.Store(true)
	return e.flights.wait(ctx)
}

// mask hides the middle of an MSISDN for a log.
func mask(msisdn string) string {
	if len(msisdn) < 11 {
		return "****"
	}
	return msisdn[:6] + "***" + msisdn[len(msisdn)-4:]
}
