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
	MaxPending  int           // steps waiting to be written; the oldest beyond it are dropped and counted; 100,000

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
	slots    chan struct{} // one per effect or look-up in flight
	flights  sync.WaitGroup
	counts   counts
}

// subscriber names a handset on one SMSC. It can have one USSD dialogue.
type subscriber struct{ smsc, msisdn string }

type shard struct {
	mu    sync.Mutex
	live  map[subscriber]*dialogue
	tombs map[Key]time.Time
}

// dialogue is one live session. All fields are guarded by its shard's lock.
type dialogue struct {
	rec     Record
	service *menus.Service // nil while the session is being looked up in the store
	replier Replier
	medium  menus.Medium
	busy    bool // an effect or a look-up is in flight: no screen has been shown since the last input
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
		seed:  maphash.MakeSeed(),
		slots: make(chan struct{}, cfg.MaxEffects),
	}
	e.counts.ended = make([]atomic.Int64, len(Reasons))
	e.swept.Store(cfg.Now().UnixNano())
	e.writer = newWriter(cfg, store, wallet, &e.counts)
	for i := range e.shards {
		e.shards[i].live = make(map[subscriber]*dialogue)
		e.shards[i].tombs = make(map[Key]time.Time)
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
			e.counts.late.Add(1)
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
	delete(sh.tombs, ev.Key)
	sh.live[ev.Key.subscriber()] = d
	e.live.Add(1)
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
	if d.busy {
		e.counts.repeated.Add(1)
		return
	}
	d.replier, d.medium = ev.Replier, ev.Medium
	e.step(sh, d, menus.Answer(ev.Text), ev.Text, at)
}

// step takes the menu one input further and does what the turn says. typed is
// what the subscriber typed, "" for a begin or a result. The shard is locked.
func (e *Engine) step(sh *shard, d *dialogue, in menus.Input, typed string, at time.Time) {
	from := d.rec.State.Screen()
	turn := d.service.Step(d.rec.State, in, menus.Env{Caller: d.rec.Key.MSISDN, Medium: d.medium})
	d.rec.State = turn.State
	d.rec.Steps++
	d.rec.Last = at
	if turn.Secret && typed != "" {
		typed = "****"
	}
	now := e.cfg.Now()
	e.writer.step(d.rec, Step{Session: d.rec.ID, N: d.rec.Steps, At: at, Screen: from, Input: typed,
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
	case err != nil:
		e.log.Warn("screen not sent", "session", d.rec.ID, "screen", turn.State.Screen(), "err", err)
		e.end(sh, d, Undeliverable, at)
	case turn.End:
		e.end(sh, d, Reason(turn.EndReason), at)
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

// end takes a dialogue out of the live ones. The shard is locked.
func (e *Engine) end(sh *shard, d *dialogue, reason Reason, at time.Time) {
	sub := d.rec.Key.subscriber()
	if sh.live[sub] != d {
		return
	}
	delete(sh.live, sub)
	sh.tombs[d.rec.Key] = at
	e.live.Add(-1)
	e.counts.end(reason)
	if d.service == nil {
		return // was never found in the store: there is no session to record
	}
	d.rec.Ended, d.rec.Reason = at, reason
	e.writer.record(d.rec)
	e.log.Info("session ends", "session", d.rec.ID, "reason", string(reason), "steps", d.rec.Steps,
		"ms", at.Sub(d.rec.Started).Milliseconds())
}

// fly runs f in a goroutine of its own, if there is room for one more.
func (e *Engine) fly(f func()) bool {
	select {
	case e.slots <- struct{}{}:
	default:
		return false
	}
	e.flights.Add(1)
	go func() {
		defer e.flights.Done()
		defer func() { <-e.slots }()
		f()
	}()
	return true
}

// perform carries an effect out in the background and steps the session with
// its result, if the session is still there then. The shard is locked.
func (e *Engine) perform(sh *shard, d *dialogue, eff menus.Effect, at time.Time) {
	caller := caller{session: d.rec.ID, msisdn: d.rec.Key.MSISDN}
	ok := e.fly(func() {
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
		e.step(sh, d, result, "", at)
	}
}

// resume looks for a session that this process does not hold. Meanwhile an
// empty busy dialogue keeps its place. The shard is locked.
func (e *Engine) resume(sh *shard, ev Event, at time.Time) {
	if e.draining.Load() || e.live.Load() >= int64(e.cfg.MaxSessions) {
		e.counts.overload.Add(1)
		e.reply(ev.Replier, busyText, true, at.Add(e.cfg.Budget+replyGrace))
		return
	}
	if other := sh.live[ev.Key.subscriber()]; other != nil {
		e.end(sh, other, Replaced, at)
	}
	d := &dialogue{rec: Record{Key: ev.Key, Started: at, Last: at}, replier: ev.Replier, medium: ev.Medium, busy: true}
	sh.live[ev.Key.subscriber()] = d
	e.live.Add(1)
	ok := e.fly(func() {
		ctx, cancel := context.WithTimeout(context.Background(), e.cfg.Budget)
		defer cancel()
		rec, service, reason, err := e.find(ctx, ev.Key, at)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if sh.live[ev.Key.subscriber()] != d {
			return
		}
		defer e.guard(sh, d)
		if err != nil && !errors.Is(err, ErrNotFound) {
			e.log.Error("session look-up", "smsc", ev.Key.SMSC, "msisdn", mask(ev.Key.MSISDN), "err", err)
		}
		d.rec, d.service, d.busy = rec, service, false
		if reason != "" {
			text := busyText
			if service != nil {
				text = service.Text("expired")
			} else if s, ok := e.services.Match(ev.Code); ok {
				text = s.Text("expired")
			}
			e.say(d, text, true, at)
			e.end(sh, d, reason, at)
			return
		}
		e.counts.resumed.Add(1)
		e.log.Info("session resumes", "session", rec.ID, "smsc", ev.Key.SMSC, "msisdn", mask(ev.Key.MSISDN), "screen", rec.State.Screen())
		e.step(sh, d, menus.Answer(ev.Text), ev.Text, at)
	})
	if !ok {
		e.counts.overload.Add(1)
		e.say(d, busyText, true, at)
		e.end(sh, d, Undeliverable, at)
	}
}

// find gives the stored session of key, and if it cannot go on the reason why.
func (e *Engine) find(ctx context.Context, key Key, at time.Time) (Record, *menus.Service, Reason, error) {
	rec, err := e.store.Load(ctx, key)
	if err != nil {
		return Record{Key: key}, nil, Expired, err
	}
	service, err := e.services.Find(ctx, rec.Service, rec.Version)
	switch {
	case err != nil:
		return rec, nil, VersionMissing, err
	case at.Sub(rec.Last) > e.cfg.Idle, at.Sub(rec.Started) > e.cfg.MaxLength:
		return rec, service, Expired, nil
	}
	return rec, service, "", nil
}

// Sweep ends the sessions that are idle or too old at the given time, and
// forgets old tombstones. Run calls it every second.
func (e *Engine) Sweep(at time.Time) {
	for i := range e.shards {
		sh := &e.shards[i]
		sh.mu.Lock()
		for _, d := range sh.live {
			reason := Reason("")
			switch {
			case at.Sub(d.rec.Started) > e.cfg.MaxLength:
				reason = MaxLength
			case !d.busy && at.Sub(d.rec.Last) > e.cfg.Idle:
				reason = IdleTimeout
			}
			if reason == "" || d.service == nil {
				continue
			}
			e.say(d, d.service.Text("expired"), true, at)
			e.end(sh, d, reason, at)
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

// Swept is when the last complete sweep was: a time long ago means that the
// engine is stuck.
func (e *Engine) Swept() time.Time { return time.Unix(0, e.swept.Load()) }

// sweepEvery and flushEvery are how often Run looks for idle sessions and
// writes behind.
var (
	sweepEvery = time.Second
	flushEvery = 100 * time.Millisecond
)

// Run sweeps and writes behind until ctx is done, then writes what is left.
// The last write has Config.Budget to succeed.
func (e *Engine) Run(ctx context.Context) error {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Budget)
			defer cancel()
			return e.Flush(last)
		case <-sweep.C:
			e.Sweep(e.cfg.Now())
		case <-flush.C:
			e.writer.tick(ctx)
		case <-e.writer.full:
			e.writer.tick(ctx)
		}
	}
}

// Flush writes everything that waits to be written.
func (e *Engine) Flush(ctx context.Context) error { return e.writer.flush(ctx) }

// Drain takes no new sessions any more and waits until no effect is in flight,
// or ctx ends. Live sessions stay in the store, where the next process finds
// them.
func (e *Engine) Drain(ctx context.Context) error {
	e.draining.Store(true)
	done := make(chan struct{})
	go func() {
		e.flights.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mask hides the middle of an MSISDN for a log.
func mask(msisdn string) string {
	if len(msisdn) < 11 {
		return "****"
	}
	return msisdn[:6] + "***" + msisdn[len(msisdn)-4:]
}
