package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ussdd/menus"
	"ussdd/session"
)

// pushed is a push under way: its handset, and what it comes to.
type pushed struct {
	*phone
	result session.PushResult
	err    error
	done   chan struct{}
}

// push begins one in the background and waits until its first screen is there,
// unless it fails before.
func (r *rig) push(ctx context.Context, text string) *pushed {
	r.t.Helper()
	p := &pushed{phone: newPhone(), done: make(chan struct{})}
	opened := make(chan struct{})
	go func() {
		defer close(p.done)
		p.result, p.err = r.engine.Push(ctx, session.PushRequest{SMSC: "sim", MSISDN: key("").MSISDN, Code: "*999#", Text: text,
			Opener: func(string, string) (session.Replier, menus.Medium, error) {
				close(opened)
				return p.phone, wide{}, nil
			}})
	}()
	select {
	case <-opened:
	case <-p.done:
	}
	return p
}

// opened has the SMSC accept the push's first screen.
func (r *rig) opened(p *pushed, id string) {
	r.engine.Handle(session.Event{Kind: session.Opened, Key: key(id), Opening: p.phone})
}

// refused has the SMSC refuse it.
func (r *rig) refused(p *pushed) {
	r.engine.Handle(session.Event{Kind: session.Refused, Key: key(""), Opening: p.phone, Gone: true, Err: errRefusal})
}

func (p *pushed) comesTo(t *testing.T, screen string, err error) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatal("the push does not return")
	}
	if p.result.Screen != screen || !errors.Is(p.err, err) {
		t.Errorf("the push came to %+v, %v, want screen %q, %v", p.result, p.err, screen, err)
	}
}

func TestPushOpensAMenuAndAdoptsItsID(t *testing.T) {
	for _, first := range []session.Kind{session.Opened, session.Input} {
		r := newRig(t)
		p := r.push(t.Context(), "")
		p.sees(t, "Shop", false)
		r.flush()
		if first == session.Opened { // the id comes in the SMSC's response
			r.opened(p, "7")
			p.comesTo(t, "main", nil)
			r.send(session.Input, key("7"), "1", p.phone)
		} else { // the answer comes before the response, which has no id
			r.send(session.Input, key("7"), "1", p.phone)
			p.comesTo(t, "main", nil)
			r.opened(p, "")
		}
		p.sees(t, "Pay N100?", false)
		r.send(session.Input, key("8"), "1", newPhone())
		r.settled()
		p.dark(t) // another id is another dialogue
		r.send(session.Input, key("7"), "1", p.phone)
		p.sees(t, "Done", true)
		r.ended(session.Completed, 1)
		r.flush()
		rec, _ := r.store.only(t)
		if rec.ID != p.result.Session || rec.Key != key("7") || rec.Code != "*999#" {
			t.Errorf("stored %+v, pushed %+v", rec, p.result)
		}
		if s := r.engine.Stats(); s.Pushed != 1 || s.Begun != 1 || s.Live != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestPushTellsWithoutASession(t *testing.T) {
	r := newRig(t)
	p := r.push(t.Context(), "Your bundle ends tonight.")
	p.sees(t, "Your bundle ends tonight.", true)
	r.opened(p, "7")
	p.comesTo(t, "", nil)
	loads := r.store.loaded()
	confirm := newPhone()
	r.send(session.Input, key("7"), "", confirm)
	r.settled()
	confirm.dark(t)
	if s := r.engine.Stats(); s.Begun != 0 || s.Late != 1 || p.result.Session != 0 || r.store.loaded() != loads {
		t.Errorf("%+v, %+v", s, p.result)
	}
	r.dial(key("8")) // and the subscriber can dial
	r.send(session.Input, key("8"), "0", newPhone())
	r.ended(session.Completed, 1)
}

var errRefusal = errors.New("0x4C8")

func TestPushRefused(t *testing.T) {
	for _, text := range []string{"", "Hello"} {
		r := newRig(t)
		p := r.push(t.Context(), text)
		<-p.screens
		r.refused(p)
		p.comesTo(t, map[string]string{"": "main"}[text], errRefusal)
		var refused *session.PushRefusedError
		if !errors.As(p.err, &refused) || r.engine.Stats().Live != 0 {
			t.Errorf("%v, %+v", p.err, r.engine.Stats())
		}
		again := r.push(t.Context(), text)
		<-again.screens
		r.opened(again, "")
		again.comesTo(t, map[string]string{"": "main"}[text], nil)
	}
}

func TestPushThatNoLinkTakes(t *testing.T) {
	r := newRig(t)
	for _, text := range []string{"", "Hello"} {
		down := newPhone()
		down.err = errRefusal
		for what, open := range map[string]session.Opener{
			"opener": func(string, string) (session.Replier, menus.Medium, error) { return nil, nil, errRefusal },
			"reply":  func(string, string) (session.Replier, menus.Medium, error) { return down, wide{}, nil },
		} {
			_, err := r.engine.Push(t.Context(), session.PushRequest{SMSC: "sim", MSISDN: key("").MSISDN, Code: "*999#", Text: text, Opener: open})
			var refused *session.PushRefusedError
			if !errors.As(err, &refused) || !errors.Is(err, errRefusal) || r.engine.Stats().Live != 0 {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

func TestPushWithoutRoom(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.MaxSessions = 1 })
	p := r.dial(key("1"))
	busy := r.push(t.Context(), "")
	busy.comesTo(t, "", session.ErrBusySubscriber)
	p.dark(t)
	other := session.PushRequest{SMSC: "sim", MSISDN: "2348030000002", Code: "*999#"}
	if _, err := r.engine.Push(t.Context(), other); !errors.Is(err, session.ErrOverload) {
		t.Errorf("full: %v", err)
	}
	other.Code = "*777#"
	if _, err := r.engine.Push(t.Context(), other); !errors.Is(err, session.ErrNoService) {
		t.Errorf("no service: %v", err)
	}
	r.send(session.Release, key("1"), "", p)
	first := r.push(t.Context(), "Hello")
	first.sees(t, "Hello", true)
	second := r.push(t.Context(), "Hello")
	second.comesTo(t, "", session.ErrBusySubscriber)
	r.opened(first, "")
	first.comesTo(t, "", nil)
	r.settle()
	last := r.push(t.Context(), "Hello")
	last.comesTo(t, "", session.ErrOverload) // draining
}

// Who asked does not wait for ever, and the session goes on.
func TestPushThatNobodyWaitsFor(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	p := r.push(ctx, "")
	p.sees(t, "Shop", false)
	stop()
	p.comesTo(t, "", context.Canceled)
	r.opened(p, "7")
	r.send(session.Input, key("7"), "1", p.phone)
	p.sees(t, "Pay", false)
}

func TestHowAPushedSessionEnds(t *testing.T) {
	for reason, end := range map[session.Reason]func(*rig, *pushed){
		session.Released: func(r *rig, p *pushed) { r.send(session.Release, key("7"), "", p.phone) },
		session.IdleTimeout: func(r *rig, p *pushed) {
			r.engine.Sweep(r.now()) // which waits for the first step to end
			r.clock.Add(61)
			r.engine.Sweep(r.now())
			p.sees(r.t, "Session expired.", true)
		},
		// The subscriber dials: also where the dialect has no ids.
		session.Replaced: func(r *rig, _ *pushed) { r.dial(key("")) },
	} {
		r := newRig(t)
		p := r.push(t.Context(), "")
		p.sees(t, "Shop", false)
		end(r, p)
		r.ended(reason, 1)
		var refused *session.PushRefusedError
		var over *session.EndedError
		if <-p.done; !errors.As(p.err, &refused) || !errors.As(p.err, &over) || over.Reason != reason {
			t.Errorf("%s before the SMSC took it: %v", reason, p.err)
		}
	}
}

// A late response to the first push does not disturb what came after it.
func TestStrayOpened(t *testing.T) {
	r := newRig(t)
	old := &pushed{phone: newPhone()}
	r.opened(old, "7")
	p := r.dial(key("1"))
	r.opened(old, "7")
	r.opened(old, "")
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
}

// What an ended dialogue still says is not of the session that is pushed after
// it, which has no id yet.
func TestPushDoesNotAdoptAnEndedDialogue(t *testing.T) {
	for _, late := range []session.Kind{session.Release, session.Input} {
		r := newRig(t)
		p := r.dial(key("7"))
		r.send(session.Input, key("7"), "0", p)
		p.sees(t, "Bye", true)
		q := r.push(t.Context(), "")
		q.sees(t, "Shop", false)
		r.send(late, key("7"), "1", p)
		r.settled()
		p.dark(t)
		if s := r.engine.Stats(); s.Live != 1 || s.Late != 1 {
			t.Errorf("%+v", s)
		}
		r.send(session.Input, key("8"), "1", q.phone)
		q.sees(t, "Pay", false)
		q.comesTo(t, "main", nil)
	}
}

// What becomes of a push is not what becomes of the session that the subscriber
// has dialled meanwhile, nor is a refusal of that one's screen the push's: also
// where the dialect has no ids.
func TestSubscriberDialsDuringAPush(t *testing.T) {
	r := newRig(t)
	q := r.push(t.Context(), "Hello")
	q.sees(t, "Hello", true)
	p := r.dial(key(""))
	r.refused(q)
	q.comesTo(t, "", errRefusal)
	r.send(session.Input, key(""), "1", p)
	p.sees(t, "Pay", false)

	r = newRig(t)
	q = r.push(t.Context(), "Hello")
	q.sees(t, "Hello", true)
	r.dial(key(""))
	r.engine.Handle(session.Event{Kind: session.Refused, Key: key(""), Gone: true, Err: errRefusal})
	r.ended(session.Undeliverable, 1)
	r.opened(q, "")
	q.comesTo(t, "", nil)
}

// A push that nobody waits for any more says nothing of the next one.
func TestLateResponseToAnEarlierPush(t *testing.T) {
	for _, text := range []string{"", "Two"} {
		r := newRig(t)
		ctx, stop := context.WithCancel(t.Context())
		first := r.push(ctx, "One")
		first.sees(t, "One", true)
		stop()
		first.comesTo(t, "", context.Canceled)
		second := r.push(t.Context(), text)
		<-second.screens
		r.opened(first, "7")
		r.refused(first)
		r.refused(second)
		second.comesTo(t, map[string]string{"": "main"}[text], errRefusal)
		if s := r.engine.Stats(); s.Live != 0 || s.Refused != 2 {
			t.Errorf("%+v", s)
		}
	}
}

// A session that was pushed is stored without an id until it hears one.
func TestPushedSessionGoesOnAfterARestart(t *testing.T) {
	r := newRig(t)
	q := r.push(t.Context(), "")
	q.sees(t, "Shop", false)
	r.opened(q, "")
	q.comesTo(t, "main", nil)
	r.flush()
	again := newRigOn(t, r.store)
	again.send(session.Input, key("7"), "1", q.phone)
	q.sees(t, "Pay", false)
	again.flush()
	if rec, _ := again.store.only(t); rec.Key != key("7") {
		t.Errorf("stored %+v", rec)
	}
}

// A session that waits in the store goes on although its subscriber has been told
// something meanwhile.
func TestPushedTextLeavesAStoredSessionAlone(t *testing.T) {
	for _, id := range []string{"7", ""} {
		r := newRig(t)
		p := r.dial(key(id))
		r.flush()
		again := newRigOn(t, r.store)
		q := again.push(t.Context(), "Hello")
		q.sees(t, "Hello", true)
		again.opened(q, "")
		q.comesTo(t, "", nil)
		again.send(session.Input, key(id), "1", p)
		p.sees(t, "Pay", false)
		again.send(session.Input, key("9"), "", q.phone)
		again.settled()
		q.dark(t) // the confirmation
	}
}

// The id that the SMSC gives a text is remembered.
func TestConfirmationOfAPushedText(t *testing.T) {
	r := newRig(t)
	q := r.push(t.Context(), "Hello")
	q.sees(t, "Hello", true)
	r.opened(q, "7")
	r.send(session.Input, key("7"), "", q.phone)
	r.send(session.Release, key("7"), "", q.phone)
	if s := r.engine.Stats(); s.Late != 2 || r.store.loaded() != 0 {
		t.Errorf("%+v, %d look-ups", s, r.store.loaded())
	}
}
