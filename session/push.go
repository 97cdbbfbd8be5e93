package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ussdd/menus"
)

// Why a Push did not come to pass.
var (
	// ErrNoService: no service has the code.
	ErrNoService = errors.New("session: no service has this code")
	// ErrBusySubscriber: the subscriber has a live session, or another push is
	// on its way.
	ErrBusySubscriber = errors.New("session: the subscriber is busy")
	// ErrOverload: there is no room for another session, or the engine drains.
	ErrOverload = errors.New("session: no room for another session")
)

// PushRefusedError says that the first screen of a push did not reach the
// handset: the link did not take it, the SMSC refused it or did not answer, or
// the session ended before it did.
type PushRefusedError struct{ Err error }

// Error implements error.
func (e *PushRefusedError) Error() string { return fmt.Sprintf("push refused: %v", e.Err) }

// Unwrap returns the cause.
func (e *PushRefusedError) Unwrap() error { return e.Err }

// EndedError is the Err of a PushRefusedError when the session ended before the
// SMSC said anything of its first screen: the subscriber may have seen it.
type EndedError struct{ Reason Reason }

// Error implements error.
func (e *EndedError) Error() string { return "the session ended: " + string(e.Reason) }

// Opener begins a dialogue on a subscriber's handset: the Replier's first Reply
// is what the handset shows. It does not block.
type Opener func(msisdn, code string) (Replier, menus.Medium, error)

// PushRequest asks for a session that we begin.
type PushRequest struct {
	SMSC   string // configured name of the SMSC
	MSISDN string // E.164 digits without plus
	Code   string // "*999#": the service to open, and whom the handset shows as the sender
	Text   string // if set, it is told and that is all; else the service's first screen is shown
	Opener Opener
}

// PushResult is what came of a push.
type PushResult struct {
	Session int64  // 0 if a text was told
	Screen  string // the screen that the session is at
}

// push is one that the SMSC has not accepted yet.
type push struct {
	sub     subscriber
	replier Replier   // what shows the first screen
	d       *dialogue // nil if a text is told
	screen  string    // of d, once it is accepted
	done    chan error
}

// resolve tells the caller of Push. The shard is locked.
func (sh *shard) resolve(p *push, err error) {
	if p.d != nil {
		p.screen = p.d.state.Screen()
	}
	delete(sh.pushes, p.sub)
	p.done <- err
}

// resolveFor does so if d is the session of a push on its way. The shard is locked.
func (sh *shard) resolveFor(d *dialogue, err error) {
	if !d.pushed {
		return
	}
	if p := sh.pushes[d.key.subscriber()]; p != nil && p.d == d {
		sh.resolve(p, err)
	}
}

// opening takes what became of the first screen of a push, which is about that
// push and its session alone: the subscriber may have dialled meanwhile, or
// another push be on its way. The shard is locked.
func (e *Engine) opening(sh *shard, ev Event, at time.Time) {
	sub := ev.Key.subscriber()
	var err error
	if ev.Kind == Refused {
		e.counts.refused.Add(1)
		err = &PushRefusedError{ev.Err}
	}
	if p := sh.pushes[sub]; p != nil && p.replier == ev.Opening {
		sh.resolve(p, err)
	}
	d := sh.live[sub]
	if d == nil || !d.pushed || d.replier != ev.Opening {
		// Told, over, or answered already.
		if ev.Kind == Opened && ev.Key.ID != "" && (d == nil || d.key.ID != ev.Key.ID) {
			sh.tombs.add(e.tomb(ev.Key))
		}
		return
	}
	switch {
	case ev.Kind == Refused && ev.Gone:
		e.log.Debug("push refused", "session", d.id, "err", ev.Err)
		e.end(sh, d, Undeliverable, at)
	case ev.Kind == Opened && ev.Key.ID != "" && d.key.ID == "":
		d.key.ID = ev.Key.ID
		sh.tombs.remove(e.tomb(d.key)) // the SMSC uses it again
		sh.wait(d)
	}
}

// Push begins a session on a subscriber's handset, or tells the subscriber
// something, and returns when the SMSC has accepted the first screen. A session
// that it began goes on like any other, with the id that its first event brings.
//
// The error is ErrNoService, ErrBusySubscriber, ErrOverload, a *PushRefusedError,
// or ctx's. In the last case nobody knows yet whether the screen is shown: the
// session is there until it is answered, refused or idle for too long. Safe for
// concurrent use.
func (e *Engine) Push(ctx context.Context, r PushRequest) (PushResult, error) {
	var service *menus.Service
	if r.Text == "" {
		var ok bool
		if service, ok = e.services.Match(r.Code); !ok {
			e.counts.noService.Add(1)
			return PushResult{}, ErrNoService
		}
	}
	p, err := e.open(r, service)
	if err != nil {
		return PushResult{}, err
	}
	var result PushResult
	if p.d != nil {
		result.Session = p.d.id
	}
	select {
	case err = <-p.done:
		result.Screen = p.screen
		return result, err
	case <-ctx.Done():
	}
	sh := e.shard(r.MSISDN)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.pushes[p.sub] == p {
		delete(sh.pushes, p.sub)
	}
	return result, ctx.Err()
}

// open sends the first screen of a push, with the service's first step or,
// without a service, the text.
func (e *Engine) open(r PushRequest, service *menus.Service) (*push, error) {
	at := e.cfg.Now()
	key := Key{SMSC: r.SMSC, MSISDN: r.MSISDN}
	sh := e.shard(key.MSISDN)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.live[key.subscriber()] != nil || sh.pushes[key.subscriber()] != nil {
		return nil, ErrBusySubscriber
	}
	if e.full() {
		e.counts.overload.Add(1)
		return nil, ErrOverload
	}
	replier, medium, err := r.Opener(r.MSISDN, r.Code)
	if err != nil {
		return nil, &PushRefusedError{err}
	}
	p := &push{sub: key.subscriber(), replier: replier, done: make(chan error, 1)}
	sh.pushes[p.sub] = p
	if service == nil {
		if err := e.reply(replier, r.Text, true, at.Add(e.cfg.Budget+replyGrace)); err != nil {
			sh.resolve(p, &PushRefusedError{err})
			return p, nil
		}
		sh.tombs.add(e.tomb(key)) // the handset's confirmation finds no session and needs none; it may bring an id
		return p, nil
	}
	p.d = &dialogue{id: e.cfg.NewID(), key: key, code: r.Code, service: service, started: at, last: at,
		replier: replier, medium: medium, begun: true, pushed: true}
	e.counts.pushed.Add(1)
	e.start(sh, p.d, at)
	return p, nil
}
