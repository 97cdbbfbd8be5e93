package session_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ussdd/session"
)

// handset is a subscriber's end of all its dialogues. It checks that what it
// shows is its own.
type handset struct {
	t       *testing.T
	msisdn  string
	dialled atomic.Pointer[session.Key]
}

func (h *handset) Reply(text string, _ bool, _ time.Time) error {
	if whose, ok := strings.CutPrefix(text, "Pay N100? "); ok && !strings.HasPrefix(whose, "0"+h.msisdn[3:]) {
		h.t.Errorf("%s sees %q", h.msisdn, text)
	}
	return nil
}

// Subscribers with equal ids begin, answer, hang up, are refused and repeat
// themselves, at random and from several goroutines, some under ids that they
// have left, some without telling who they are. Nobody sees another's screen,
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
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(g)))
			for range events {
				h := handsets[random.IntN(subscribers)]
				ev := session.Event{Code: "*999#", Medium: wide{}, Replier: h,
					Key: session.Key{SMSC: []string{"a", "b"}[random.IntN(2)], MSISDN: h.msisdn, ID: []string{"1", "2", ""}[random.IntN(3)]}}
				n := random.IntN(100)
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
				default:
					r.engine.Admit(ev.Key)
					continue
				}
				r.engine.Handle(ev)
				if random.IntN(10) == 0 && ev.Kind == session.Input { // delivered twice
					r.engine.Handle(ev)
				}
			}
		})
	}
	wg.Wait()
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
	if n := begins.Load(); n < s.Begun+s.NoService || n > s.Begun+s.NoService+s.Repeated {
		t.Errorf("%d begins of %d that came, %d without a service, %d repeated", s.Begun, n, s.NoService, s.Repeated)
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
