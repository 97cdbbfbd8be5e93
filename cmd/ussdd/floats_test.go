package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/vendors"
)

// till is a floatSource that the test fills, and that counts who asks.
type till struct {
	mu     sync.Mutex
	floats map[string]vendors.Float
	fails  map[string]error
	holds  map[string]time.Duration // how long an answer takes
	asked  map[string]int
	flying map[string]int
	most   int // look-ups of one vendor at a time
}

func (s *till) Floats() (all []vendors.Float) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, f := range s.floats {
		f.Vendor = name
		all = append(all, f)
	}
	return all
}

func (s *till) Balance(ctx context.Context, vendor string) (int64, error) {
	s.mu.Lock()
	s.asked[vendor]++
	s.flying[vendor]++
	s.most = max(s.most, s.flying[vendor])
	hold := s.holds[vendor]
	s.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(hold):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flying[vendor]--
	return 0, errors.Join(s.fails[vendor], ctx.Err())
}

// counts gives how often each vendor was asked since the last time.
func (s *till) counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.asked
	s.asked = map[string]int{}
	return got
}

func (s *till) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Each vendor is asked as often as it says, one call at a time, and a slow one holds up no other.
func TestFloatsAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &till{floats: map[string]vendors.Float{"acme": {Every: 5 * time.Minute}, "bolt": {Every: time.Minute}, "mute": {}, "slow": {Every: 10 * time.Second}},
			holds: map[string]time.Duration{"slow": 40 * time.Second}, asked: map[string]int{}, flying: map[string]int{}}
		k := newFloatKeeper(func() floatSource { return s }, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- k.Run(ctx) }()
		after := func(d time.Duration) { <-time.After(d) }

		after(floatsSoon + time.Second + time.Millisecond)
		if got, want := s.counts(), map[string]int{"acme": 1, "bolt": 1, "slow": 1}; !maps.Equal(got, want) {
			t.Errorf("in the first seconds: %v", got)
		}
		after(time.Hour)
		got := s.counts()
		// Between a life and a tenth more, and up to a look later.
		for vendor, between := range map[string][2]int{"acme": {10, 12}, "bolt": {53, 60}, "slow": {69, 72}, "mute": {0, 0}} {
			if n := got[vendor]; n < between[0] || n > between[1] {
				t.Errorf("%s was asked %d times in an hour", vendor, n)
			}
		}
		if s.most != 1 {
			t.Errorf("%d look-ups of one vendor at a time", s.most)
		}
		s.change(func() { s.floats = map[string]vendors.Float{"late": {Every: time.Hour}} }) // a reload
		after(time.Minute)
		if got := s.counts(); got["late"] != 1 || got["bolt"] > 1 {
			t.Errorf("after a reload: %v", got)
		}
		s.change(func() { s.floats["slow"] = vendors.Float{Every: 10 * time.Second} })
		after(15 * time.Second) // one is on its way
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if s.flying["slow"] != 0 {
			t.Error("a look-up outlives its keeper")
		}
		s.counts()
		after(time.Hour)
		if got := s.counts(); len(got) > 0 {
			t.Errorf("asked after the end: %v", got)
		}
	})
}

// What changes is told once.
func TestFloatsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged := make(lines, 100)
		s := &till{floats: map[string]vendors.Float{"acme": {Every: time.Minute, Known: time.Now(), Kobo: 600_00, Low: 500_00}, "bolt": {}},
			fails: map[string]error{}, asked: map[string]int{}, flying: map[string]int{}}
		k := newFloatKeeper(func() floatSource { return s }, slog.New(slog.NewTextHandler(logged, nil)))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- k.Run(ctx) }()
		says := func(want ...string) {
			t.Helper()
			<-time.After(10 * time.Minute)
			for _, text := range want {
				if len(logged) == 0 {
					t.Fatalf("not logged: %s", text)
				}
				if line := <-logged; !strings.Contains(line, text) {
					t.Errorf("logged %swant %s", line, text)
				}
			}
			if len(logged) > 0 {
				t.Errorf("also logged: %s", <-logged)
			}
		}
		set := func(vendor string, change func(*vendors.Float)) {
			s.change(func() {
				f := s.floats[vendor]
				change(&f)
				s.floats[vendor] = f
			})
		}
		says()
		set("acme", func(f *vendors.Float) { f.Kobo = 499_99 })
		says(`level=WARN msg="float low: fill it" vendor=acme exhausted=false left=N499.99 low=N500`)
		set("acme", func(f *vendors.Float) { f.Kobo = 300_00 })
		says()
		set("acme", func(f *vendors.Float) { f.Kobo = 9000_00 })
		says(`level=INFO msg="float not known to be low any more" vendor=acme exhausted=false left=N9,000`)
		set("bolt", func(f *vendors.Float) { f.Exhausted = true })
		says(`level=WARN msg="float low: fill it" vendor=bolt exhausted=true`)
		s.change(func() { s.fails["acme"] = errors.New("acme/balance: HTTP 500") })
		says(`level=WARN msg="a vendor does not tell our float; it is asked again and again" vendor=acme err="acme/balance: HTTP 500"`)
		s.change(func() { s.fails = nil })
		says(`level=INFO msg="the vendor tells our float again" vendor=acme`)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
