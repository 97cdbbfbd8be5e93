package session_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ussdd/menus"
	"ussdd/session"
)

// handset is a subscriber's end of all its dialogues. It checks that what it
// shows is its own.
type handset struct {
	t       *testing.T
	msisdn  string
	dialled atomic.Pointer[session.Key]
	pushed  atomic.Pointer[opening]
}

// opening is the first screen of a push on a handset.
type opening struct {
	*handset
	smsc string
}

func (h *handset) Reply(text string, _ bool, _ time.Time) error {
	if whose, ok := strings.CutPrefix(text, "Pay N100? "); ok && !strings.HasPrefix(whose, "0"+h.msisdn[3:]) {
		h.t.Errorf("%s sees %q", h.msisdn, text)
	}
	return nil
}

// Subscribers with equal ids begin, answer, hang up, are refused and repeat
// themselves, at random and from several goroutines, some under ids that they
// have left, some without telling who they are; and some are pushed something. Nobody sees another's screen,
// every session ends for one reason, and the counters add up.
func TestSoak(t *testing.T) {
	const (
		seed        = 20261123
		goroutines  = 4
		subscribers = 40 // of each SMSC
		events      = 2_000
	)
	r := newRig(t, func(c *session.Config) { c.Tombstone = time.Hour }) // by a clock that runs ahead of the writing
	handsets := make([]*handset, subscribers)
	for i := range handsets {
		handsets[i] = &handset{t: t, msisdn: fmt.Sprintf("23480300%05d", i)}
	}
	var begins, refusals atomic.Int64
	var wg, pushing sync.WaitGroup
	unanswered, giveUp := context.WithCancel(t.Context())
	push := func(h *handset, smsc, text string) {
		_, _ = r.engine.Push(unanswered, session.PushRequest{SMSC: smsc, MSISDN: h.msisdn, Code: "*999#", Text: text,
			Opener: func(string, string) (session.Replier, menus.Medium, error) {
				o := &opening{h, smsc}
				h.pushed.Store(o)
				return o, wide{}, nil
			}})
	}
	for g := range goroutines {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(g)))
			for range events {
				h := handsets[random.IntN(subscribers)]
				ev := session.Event{Code: "*999#", Medium: wide{}, Replier: h,
					Key: session.Key{SMSC: []string{"a", "b"}[random.IntN(2)], MSISDN: h.msisdn, ID: []string{"1", "2", ""}[random.IntN(3)]}}
				n := random.IntN(110)
				if key := h.dialled.Load(); n >= 15 && key != nil && random.IntN(4) > 0 {
					ev.Key = *key
				}
				switch {
				case n < 15:
					h.dialled.Store(&ev.Key)
					r.clock.Add(1)
					ev.Kind, ev.Text = session.Begin, []string{"*999#", "*999#", "*999#", "*777#"}[random.IntN(4)]
					if ev.Text == "*777#" {
						ev.Code = ev.Text
					}
					begins.Add(1)
				case n < 85:
					ev.Kind, ev.Text = session.Input, []string{"1", "1", "1", "2", "3", "0", "4711", "x"}[random.IntN(8)]
					ev.Counter, ev.HasCounter = random.Uint32N(8), true
				case n < 90:
					ev.Kind = session.Release
				case n < 95:
					ev.Kind, ev.Gone, ev.Err = session.Refused, random.IntN(2) == 0, errRefusal
					refusals.Add(1)
				case n < 97:
					r.engine.Sweep(r.now())
					continue
				case n < 98:
					_ = r.engine.Flush(t.Context()) // the store is there
					continue
				case n < 100:
					r.engine.Admit(ev.Key)
					continue
				case n < 105:
					text := []string{"", "", "Hello"}[random.IntN(3)]
					pushing.Go(func() { push(h, ev.Key.SMSC, text) })
					continue
				default:
					o := h.pushed.Load()
					if o == nil {
						continue
					}
					ev = session.Event{Kind: session.Opened, Opening: o, Key: session.Key{SMSC: o.smsc, MSISDN: h.msisdn, ID: ev.Key.ID}}
					if random.IntN(4) == 0 {
						ev.Kind, ev.Key.ID, ev.Gone, ev.Err = session.Refused, "", random.IntN(2) == 0, errRefusal
						refusals.Add(1)
					}
				}
				r.engine.Handle(ev)
				if random.IntN(10) == 0 && ev.Kind == session.Input { // delivered twice
					r.engine.Handle(ev)
				}
			}
		})
	}
	wg.Wait()
	giveUp()
	pushing.Wait()
	r.settled()
	r.clock.Add(1_000)
	r.engine.Sweep(r.now())
	r.settled()
	r.flush()

	s := r.engine.Stats()
	stored, steps := map[session.Reason]int64{}, int64(0)
	for _, rec := range r.store.records {
		if rec.Ended.IsZero() {
			t.Errorf("session %d has not ended", rec.ID)
		}
		stored[rec.Reason]++
		steps += int64(rec.Steps)
		if n := len(r.store.steps[rec.ID]); n != rec.Steps {
			t.Errorf("session %d took %d steps, %d are stored", rec.ID, rec.Steps, n)
		}
	}
	unknown := s.Ended[session.Expired] - stored[session.Expired] // dialogues that nobody knew
	counted := maps.Clone(s.Ended)
	counted[session.Expired] -= unknown
	maps.DeleteFunc(counted, func(_ session.Reason, n int64) bool { return n == 0 })
	if s.Live != 0 || int64(len(r.store.records)) != s.Begun || !maps.Equal(counted, stored) {
		t.Errorf("%d sessions begun, %d stored, %d live; ended %v, stored %v", s.Begun, len(r.store.records), s.Live, counted, stored)
	}
	if s.Steps != steps || s.Refused != refusals.Load() {
		t.Errorf("%d steps and %d refusals counted, of %d and %d", s.Steps, s.Refused, steps, refusals.Load())
	}
	if n := begins.Load(); n < s.Begun-s.Pushed+s.NoService || n > s.Begun-s.Pushed+s.NoService+s.Repeated || s.Pushed == 0 {
		t.Errorf("%d begins, %d of them pushed, of %d that came, %d without a service, %d repeated", s.Begun, s.Pushed, n, s.NoService, s.Repeated)
	}
	keys := map[string]bool{}
	for _, key := range r.desk.keys() {
		if keys[key] {
			t.Errorf("%s is ordered twice", key)
		}
		keys[key] = true
	}
	t.Logf("%d orders, %d inputs of nobody's, %+v", len(keys), unknown, s)
}
