package session

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"ussdd/menus"
)

// resume looks in the store for a session that this process does not hold, and
// goes on with it. Meanwhile its key is in sh.looking, so that a repeated input
// is not taken twice. The shard is locked.
func (e *Engine) resume(sh *shard, ev Event, at time.Time) {
	if _, looking := sh.looking[ev.Key]; looking {
		e.counts.repeated.Add(1)
		return
	}
	deadline := at.Add(e.cfg.Budget + replyGrace)
	// A dialogue that was only told something, or ended before its id was known,
	// left a tombstone without an id. Whether the event is of that one or of a
	// stored session, the store knows.
	nameless := sh.tombs.has(e.tomb(ev.Key.nameless()))
	if e.full() || !e.look(sh, ev.Key, func(rec Record, service *menus.Service, reason Reason, released bool) {
		if released {
			sh.tombs.add(e.tomb(ev.Key))
			if rec.ID != 0 {
				e.recordStored(sh, rec, Released, at)
			} else {
				e.counts.late.Add(1)
			}
			return
		}
		live := sh.live[ev.Key.subscriber()]
		switch {
		case nameless && rec.ID == 0:
			e.counts.late.Add(1)
			return
		case live != nil && (rec.ID == 0 || live.started.After(rec.Started)):
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
			sh.tombs.add(e.tomb(ev.Key))
			if rec.ID != 0 {
				e.recordStored(sh, rec, reason, at)
			} else {
				e.counts.end(reason)
			}
			return
		}
		d := &dialogue{id: rec.ID, key: rec.Key, code: rec.Code, service: service, state: rec.State, steps: int32(rec.Steps),
			heard: rec.Heard, started: rec.Started, last: rec.Last, resumed: true}
		e.install(sh, d)
		e.counts.resumed.Add(1)
		defer e.guard(sh, d)
		e.note("session resumes", d)
		e.answer(sh, d, ev, at)
	}) {
		e.counts.overload.Add(1)
		if !nameless {
			e.reply(ev.Replier, BusyText, true, deadline)
		}
	}
}

// release ends the stored session of a dialogue that this process does not
// hold, so that it does not stay open for ever. The shard is locked.
func (e *Engine) release(sh *shard, key Key, at time.Time) {
	ended := key.ID != "" && sh.tombs.has(e.tomb(key))
	if _, looking := sh.looking[key]; looking {
		sh.looking[key] = true
		e.counts.late.Add(1)
		return
	}
	if ended || e.draining.Load() || !e.look(sh, key, func(rec Record, _ *menus.Service, _ Reason, _ bool) {
		if rec.ID == 0 {
			e.counts.late.Add(1)
			return
		}
		e.recordStored(sh, rec, Released, at)
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
		return BusyText
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
		live := sh.live[key.subscriber()]
		if live != nil && live.id == rec.ID || rec.ID != 0 && sh.tombs.has(e.ended(rec.ID)) {
			e.counts.late.Add(1) // the store does not know yet what became of it here
			return
		}
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
	if errors.Is(err, ErrNotFound) && key.MSISDN != "" && key.ID != "" {
		// A session that was pushed takes the first id that it hears.
		rec, err = e.store.Load(ctx, key.nameless())
		rec.Key.ID = key.ID
	}
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

// expire ends a session whose time is over, unless the store knows that it went
// on in another process: then that one speaks to the subscriber. Without room
// to ask, the next sweep does. The shard is locked.
func (e *Engine) expire(sh *shard, d *dialogue, reason Reason, at time.Time) {
	key, steps := d.key, d.steps
	d.checking = e.checks.fly(func() {
		ctx, cancel := context.WithTimeout(context.Background(), e.cfg.Budget)
		defer cancel()
		stored, err := e.store.Load(ctx, key)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		d.checking = false
		if sh.live[key.subscriber()] != d || d.steps != steps {
			return
		}
		defer e.guard(sh, d)
		if err == nil && stored.ID == d.id && stored.Steps > int(steps) {
			e.forget(sh, d)
			return
		}
		e.say(d, d.service.Text("expired"), true, at)
		e.end(sh, d, reason, at)
	})
}

// identify finds out whose dialogue an event belongs to that does not tell it,
// and takes the event then. Meanwhile its key is in looking, as in resume.
func (e *Engine) identify(ev Event) {
	at := e.cfg.Now()
	sh := e.shard(ev.Key.MSISDN)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, looking := sh.looking[ev.Key]
	switch {
	case ev.Kind == Refused:
		e.counts.refused.Add(1)
	case ev.Kind == Begin:
		e.counts.noService.Add(1) // there is none for nobody
		e.reply(ev.Replier, BusyText, true, at.Add(e.cfg.Budget+replyGrace))
	case ev.Kind != Input && ev.Kind != Release:
	case looking && ev.Kind == Release:
		sh.looking[ev.Key] = true
		e.counts.late.Add(1)
	case looking:
		e.counts.repeated.Add(1)
	case sh.tombs.has(e.tomb(ev.Key)):
		e.counts.late.Add(1)
	case e.flights.fly(func() { e.identified(sh, ev, at) }):
		sh.looking[ev.Key] = false
	default:
		e.counts.overload.Add(1)
		if ev.Kind == Input {
			e.reply(ev.Replier, BusyText, true, at.Add(e.cfg.Budget+replyGrace))
		}
	}
}

// identified takes an event whose subscriber is in memory or in the store. One
// that is nobody's is answered as resume answers it.
func (e *Engine) identified(sh *shard, ev Event, at time.Time) {
	key, reason := e.owner(ev.Key)
	sh.mu.Lock()
	if sh.looking[ev.Key] {
		ev.Kind, ev.Text = Release, ""
	}
	delete(sh.looking, ev.Key)
	if key.MSISDN == "" {
		defer sh.mu.Unlock()
		sh.tombs.add(e.tomb(ev.Key))
		if ev.Kind == Release {
			e.counts.late.Add(1)
			return
		}
		e.counts.end(reason)
		e.reply(ev.Replier, e.farewell(nil, ev), true, at.Add(e.cfg.Budget+replyGrace))
		return
	}
	sh.mu.Unlock()
	if ev.Identify != nil {
		ev.Identify(key.MSISDN)
	}
	ev.Key = key
	e.Handle(ev)
}

// owner gives the whole key of a dialogue that is known by its id alone, or the
// reason why there is none.
func (e *Engine) owner(key Key) (Key, Reason) {
	var newest *dialogue
	e.search.Lock()
	for i := range e.shards {
		sh := &e.shards[i]
		sh.mu.Lock()
		for _, d := range sh.live {
			if (d.key.ID == key.ID || d.twin == key.ID && key.ID != "") && d.key.SMSC == key.SMSC && (newest == nil || d.id > newest.id) {
				newest = d
			}
		}
		sh.mu.Unlock()
	}
	e.search.Unlock()
	if newest != nil {
		key.MSISDN = newest.key.MSISDN
		return key, ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), e.cfg.Budget)
	defer cancel()
	rec, _, reason := e.find(ctx, key)
	key.MSISDN = rec.Key.MSISDN
	return key, reason
}
