package session_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"ussdd/session"
)

// What SMSCs do to dialogues, and what becomes of the session.

// unnamed sends an event that tells its id alone, and gives whom it was told to
// belong to.
func (r *rig) unnamed(kind session.Kind, id, text string, p *phone) <-chan string {
	told := make(chan string, 1)
	r.engine.Handle(session.Event{Kind: kind, Key: session.Key{SMSC: "sim", ID: id}, Code: "*999#", Text: text, Medium: wide{}, Replier: p,
		Identify: func(msisdn string) { told <- msisdn }})
	return told
}

func TestEventKnownByItsIDAlone(t *testing.T) {
	for _, where := range []string{"memory", "store"} {
		t.Run(where, func(t *testing.T) {
			r := newRig(t)
			p := r.dial(key("7"))
			if where == "store" {
				r.flush()
				r = newRigOn(t, r.store)
			}
			if told := <-r.unnamed(session.Input, "7", "1", p); told != key("").MSISDN {
				t.Errorf("it belongs to %q", told)
			}
			p.sees(t, "Pay", false)
			r.unnamed(session.Input, "7", "1", p)
			p.sees(t, "Done", true)
			r.ended(session.Completed, 1)
		})
	}
}

func TestReleaseKnownByItsIDAlone(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("7"))
	r.unnamed(session.Release, "7", "", p)
	r.ended(session.Released, 1)
	r.flush()

	again := newRig(t)
	again.dial(key("7"))
	again.flush()
	again = newRigOn(t, again.store)
	again.store.gate = make(chan struct{})
	q := newPhone()
	again.unnamed(session.Input, "7", "1", q)
	again.unnamed(session.Input, "7", "1", q)
	again.unnamed(session.Release, "7", "", q)
	close(again.store.gate)
	again.ended(session.Released, 1)
	q.dark(t)
	if s := again.engine.Stats(); s.Repeated != 1 {
		t.Errorf("%+v", s)
	}
}

func TestNobodysEvents(t *testing.T) {
	r := newRig(t)
	p := newPhone()
	r.unnamed(session.Input, "9", "1", p)
	p.sees(t, "Session expired.", true)
	r.settled()
	r.unnamed(session.Input, "9", "1", p)
	r.unnamed(session.Release, "8", "", p)
	r.settled()
	r.unnamed(session.Opened, "8", "", p)
	r.engine.Handle(session.Event{Kind: session.Refused, Key: session.Key{SMSC: "sim", ID: "8"}, Gone: true, Err: errors.New("0x4C1")})
	p.dark(t)
	r.unnamed(session.Begin, "10", "*999#", p)
	p.sees(t, "Error:", true)
	if s := r.engine.Stats(); s.Late != 2 || s.Ended[session.Expired] != 1 || s.Refused != 1 || s.NoService != 1 || s.Begun != 0 {
		t.Errorf("%+v", s)
	}
}

// A begin that comes twice within milliseconds, over two binds, is one session.
func TestBeginOverTwoBindsAtOnce(t *testing.T) {
	for range 20 {
		r := newRig(t)
		p := newPhone()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { r.send(session.Begin, key("1"), "*999#", p) })
		}
		wg.Wait()
		p.sees(t, "Shop", false)
		p.dark(t)
		if s := r.engine.Stats(); s.Begun != 1 || s.Repeated != 3 || s.Live != 1 {
			t.Fatalf("%+v", s)
		}
	}
}

// Under two ids, too: both dialogues see the screen, and the one that is
// answered is the session.
func TestBeginUnderTwoIDsAtOnce(t *testing.T) {
	for answered, other := range map[string]string{"1": "2", "2": "1"} {
		t.Run(answered, func(t *testing.T) {
			r := newRig(t)
			phones := map[string]*phone{"1": r.dial(key("1")), "2": r.dial(key("2"))}
			if s := r.engine.Stats(); s.Begun != 1 || s.Repeated != 1 || s.Live != 1 {
				t.Fatalf("%+v", s)
			}
			r.flush()
			r.send(session.Input, key(answered), "1", phones[answered])
			phones[answered].sees(t, "Pay", false)
			r.send(session.Input, key(other), "1", phones[other])
			r.send(session.Release, key(other), "", phones[other])
			phones[other].dark(t)
			r.send(session.Input, key(answered), "1", phones[answered])
			phones[answered].sees(t, "Done", true)
			r.ended(session.Completed, 1)
			r.flush()
			if rec, _ := r.store.only(t); rec.Key != key(answered) {
				t.Errorf("stored %+v", rec)
			}
		})
	}
}

func TestOneOfTwoIDsEnds(t *testing.T) {
	for _, gone := range []string{"1", "2"} {
		for _, how := range []session.Event{{Kind: session.Release}, {Kind: session.Refused, Gone: true, Err: errors.New("0x4C1")}} {
			r := newRig(t)
			phones := map[string]*phone{"1": r.dial(key("1")), "2": r.dial(key("2"))}
			how.Key = key(gone)
			r.engine.Handle(how)
			left := map[string]string{"1": "2", "2": "1"}[gone]
			r.send(session.Input, key(gone), "1", phones[gone])
			phones[gone].dark(t)
			r.send(session.Input, key(left), "1", phones[left])
			phones[left].sees(t, "Pay", false)
			how.Key = key(left)
			r.engine.Handle(how)
			if s := r.engine.Stats(); s.Live != 0 {
				t.Errorf("%s: %+v", gone, s)
			}
		}
	}
}

// A dialect without ids knows the subscriber alone.
func TestDialogueWithoutAnID(t *testing.T) {
	r := newRig(t)
	p := r.dial(key(""))
	r.send(session.Begin, key(""), "*999#", p)
	p.dark(t)
	r.send(session.Input, key(""), "1", p)
	p.sees(t, "Pay", false)
	r.clock.Add(1)
	p = r.dial(key(""))
	r.ended(session.Replaced, 1)
	r.send(session.Input, key(""), "0", p)
	p.sees(t, "Bye", true)
	r.send(session.Input, key(""), "1", p)
	r.settled()
	p.dark(t)
	if s := r.engine.Stats(); s.Late != 1 || s.Repeated != 1 {
		t.Errorf("%+v", s)
	}
}

// A handset that is gone without a word ends by the idle timer, and what the
// SMSC says of it later is nobody's.
func TestSilentAbort(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	r.clock.Store(61)
	r.engine.Sweep(r.now())
	p.sees(t, "Session expired.", true)
	r.ended(session.IdleTimeout, 1)
	r.engine.Handle(session.Event{Kind: session.Refused, Key: key("1"), Gone: true, Err: errors.New("0x4C1"), Replier: p})
	r.send(session.Release, key("1"), "", p)
	r.settled()
	if s := r.engine.Stats(); s.Live != 0 || s.Late != 1 || s.Ended[session.IdleTimeout] != 1 || s.Ended[session.Undeliverable] != 0 {
		t.Errorf("%+v", s)
	}
}

// The key of an ended session is remembered for a while, and not for ever.
func TestTombstonesAreForgotten(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.Tombstone = 30 * time.Second })
	r.engine.Sweep(r.now())
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "0", p)
	p.sees(t, "Bye", true)
	for _, at := range []int64{29, 59} {
		r.clock.Store(at)
		r.engine.Sweep(r.now())
		r.send(session.Input, key("1"), "1", p)
		r.settled()
		p.dark(t)
	}
	for _, at := range []int64{90, 121} {
		r.clock.Store(at)
		r.engine.Sweep(r.now())
	}
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Session expired.", true)
}

// Without a counter, an answer that is delivered again is told by its coming
// before its screen was acknowledged. What only looks like it is taken.
func TestADoubledAnswerWithoutACounter(t *testing.T) {
	for _, test := range []struct {
		name  string
		text  string
		early bool
		wait  int64 // seconds
		taken bool
	}{
		{"the same, at once", "1", true, 0, false},
		{"another answer", "2", true, 0, true},
		{"the screen was acknowledged", "1", false, 0, true},
		{"a slow acknowledgement", "1", true, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			p := r.dial(key("1"))
			r.send(session.Input, key("1"), "1", p)
			p.sees(t, "Pay", false)
			r.clock.Add(test.wait)
			before := r.engine.Stats()
			r.engine.Handle(session.Event{Kind: session.Input, Key: key("1"), Code: "*999#", Text: test.text, Medium: wide{}, Replier: p, Early: test.early})
			r.settled()
			after := r.engine.Stats()
			if taken := after.Steps > before.Steps; taken != test.taken || after.Repeated-before.Repeated != map[bool]int64{true: 0, false: 1}[test.taken] {
				t.Errorf("%d steps and %d repetitions before, %d and %d after", before.Steps, before.Repeated, after.Steps, after.Repeated)
			}
		})
	}
}

func TestLives(t *testing.T) {
	r := newRig(t)
	r.dial(key("1"))
	other := session.Key{SMSC: "sim", MSISDN: "2348030000002", ID: "1"}
	if !r.engine.Lives(key("1")) || r.engine.Lives(key("2")) || r.engine.Lives(other) {
		t.Error("a live dialogue is not known, or another one is")
	}
	r.send(session.Release, key("1"), "", nil)
	if r.engine.Lives(key("1")) {
		t.Error("a dialogue lives on after its release")
	}
}

func TestAdmit(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.MaxSessions, c.MaxEffects = 2, 1 })
	r.desk.gate = make(chan struct{})
	other := session.Key{SMSC: "sim", MSISDN: "2348030000002", ID: "2"}
	admits := func(when string, k session.Key, want bool) {
		t.Helper()
		if got := r.engine.Admit(k); got != want {
			t.Errorf("%s: %v is admitted: %v", when, k, got)
		}
	}
	admits("empty", key("1"), true)
	p := r.dial(key("1"))
	admits("half full", other, true)
	r.send(session.Input, key("1"), "1", p)
	p.sees(t, "Pay", false)
	r.send(session.Input, key("1"), "1", p)
	admits("no room for actions", other, false)
	close(r.desk.gate)
	p.sees(t, "Done", true)
	r.settled()
	admits("room again", other, true)
	for i := range 2 {
		r.dial(session.Key{SMSC: "sim", MSISDN: fmt.Sprint(2348030000001 + i), ID: "9"})
	}
	admits("full", session.Key{SMSC: "sim", MSISDN: "2348030000003"}, false)
	admits("full, and dials again", other, true)
	r.settle()
	admits("draining", other, false)
	if s := r.engine.Stats(); s.Overload != 3 {
		t.Errorf("%+v", s)
	}
}

// That many sessions end at once leaves room for those who dial and buy.
func TestSessionsThatExpireTakeNoRoom(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.MaxEffects = 4 })
	const n = 20
	for i := range n {
		r.dial(session.Key{SMSC: "sim", MSISDN: fmt.Sprintf("23480400%05d", i), ID: "1"})
	}
	r.clock.Store(61)
	r.store.gate = make(chan struct{})
	r.engine.Sweep(r.now())
	if !r.engine.Admit(key("1")) {
		t.Error("a begin is refused")
	}
	p := r.dial(key("1"))
	r.send(session.Input, key("1"), "2", p)
	p.sees(t, "You have", true)
	close(r.store.gate)
	for r.engine.Stats().Live > 0 { // a few at a time
		r.clock.Add(1)
		r.engine.Sweep(r.now())
		r.settled()
	}
	r.ended(session.IdleTimeout, n)
}

// A begin under an id that is known already is shown nothing again, and of three
// ids the oldest is left.
func TestBeginAgainUnderOneOfTwoIDs(t *testing.T) {
	r := newRig(t)
	p := r.dial(key("1"))
	q := r.dial(key("2"))
	for _, id := range []string{"1", "2", "1"} {
		r.send(session.Begin, key(id), "*999#", p)
	}
	p.dark(t)
	third := r.dial(key("3"))
	r.send(session.Input, key("1"), "1", p)
	p.dark(t)
	if s := r.engine.Stats(); s.Repeated != 5 || s.Late != 1 || s.Live != 1 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
	r.send(session.Input, key("2"), "1", q)
	q.sees(t, "Pay", false)
	third.dark(t)
}

// A first screen that an action makes is shown under both ids.
func TestBeginUnderTwoIDsDuringAnAction(t *testing.T) {
	r := newRig(t)
	phones := []*phone{newPhone(), newPhone()}
	r.wallet.gate = make(chan struct{})
	for i, id := range []string{"1", "2"} {
		r.engine.Handle(session.Event{Kind: session.Begin, Key: key(id), Code: "*998#", Text: "*998#", Medium: wide{}, Replier: phones[i]})
	}
	close(r.wallet.gate)
	for _, p := range phones {
		p.sees(t, "You have", true)
	}
	r.ended(session.Completed, 1)
}

// Either of two ids tells whose the dialogue is.
func TestEitherOfTwoIDsAlone(t *testing.T) {
	for _, id := range []string{"1", "2"} {
		r := newRig(t)
		phones := map[string]*phone{"1": r.dial(key("1")), "2": r.dial(key("2"))}
		r.unnamed(session.Input, id, "1", phones[id])
		phones[id].sees(t, "Pay", false)
	}
}
