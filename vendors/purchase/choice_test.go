package purchase_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// logged is a log in memory of one process.
func logged(to *strings.Builder) func(*process, *purchase.Config) {
	return func(_ *process, cfg *purchase.Config) { cfg.Log = slog.New(slog.NewTextHandler(to, nil)) }
}

// TestPassedOver: vendors that are known to fail are not tried, and the log says
// once why.
func TestPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), delivers, declines, delivers)
		s.skips["a"] = "breaker open"
		var log strings.Builder
		p := start(s, "one", logged(&log))
		got, err := p.Buy(patience(t, time.Minute), order("k"))
		p.stop()
		if err != nil || got.State != purchase.Delivered || got.Attempts != 2 || got.Vendor != "c" {
			t.Errorf("%+v, %v", got, err)
		}
		if n := strings.Count(log.String(), `msg="vendors passed over"`); n != 1 || !strings.Contains(log.String(), `why="a: breaker open"`) {
			t.Errorf("%d times in\n%s", n, log.String())
		}
		for _, ask := range s.asks {
			if ask.At.IsZero() {
				t.Error("asked for no time")
			}
			if ask.At = (time.Time{}); ask != (vendors.Ask{Network: "mtn", Amount: 100_00, Key: "k"}) {
				t.Errorf("asked for %+v", ask)
			}
		}
		s.check()
	})
}

// TestNobodyOpen: the money is back at once if every vendor is passed over, before
// the first try and after one that failed.
func TestNobodyOpen(t *testing.T) {
	for _, test := range []struct {
		skips    []string
		reason   string
		attempts int
	}{
		{[]string{"a", "b"}, "unavailable:no_route", 0},
		{[]string{"b"}, "declined:float", 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newShop(t, newBook(t), declines, delivers)
			for _, vendor := range test.skips {
				s.skips[vendor] = "float exhausted"
			}
			var log strings.Builder
			p := start(s, "one", logged(&log))
			got, err := p.Buy(patience(t, time.Minute), order("k"))
			p.stop()
			if err != nil || got.State != purchase.Failed || got.Reason != test.reason || got.Attempts != test.attempts {
				t.Errorf("%+v, %v", got, err)
			}
			if !strings.Contains(log.String(), "b: float exhausted") {
				t.Errorf("not told why:\n%s", log.String())
			}
			s.check()
		})
	}
}

// TestReference: a vendor that wants the time in its references gets that of the
// attempt in every query, whoever makes it.
func TestReference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), unreachable, losesAnswer)
		s.named = func(own string, at time.Time) (string, error) {
			return at.UTC().Format("20060102150405") + strings.ReplaceAll(own, "-", ""), nil
		}
		died := false
		p := start(s, "one", boundary(func(p *process, name string) {
			if name == "after-vend" && s.book.only().Attempts == 2 && !died {
				died = true
				p.die()
			}
		}))
		// The process dies with the answer in hand, and another asks, half a minute later.
		_, _ = p.Buy(patience(t, time.Second), order("k"))
		p.stop()
		two := start(s, "two")
		s.settle()
		two.stop()
		r := s.book.only()
		at := r.CreatedAt.Format("20060102150405")
		want := []string{at + strings.ReplaceAll(r.Ref, "-", ""), at + strings.ReplaceAll(r.Ref, "-", "") + "2"}
		if got := []string{r.attempts[0].Reference, r.attempts[1].Reference}; !slices.Equal(got, want) {
			t.Errorf("references %q, want %q", got, want)
		}
		if r.State != purchase.Delivered || !died {
			t.Errorf("%+v", r)
		}
		s.check()
	})
}

// TestNoReference: a vendor for which no reference can be made is not tried.
func TestNoReference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), delivers, delivers)
		s.named = func(own string, _ time.Time) (string, error) {
			if strings.HasSuffix(own, "-2") {
				return own, nil
			}
			return "", errors.New("reference for a: it does not match [0-9]+")
		}
		p := start(s, "one")
		got, err := p.Buy(patience(t, time.Minute), order("k"))
		p.stop()
		if err != nil || got.State != purchase.Delivered || got.Vendor != "b" {
			t.Errorf("%+v, %v", got, err)
		}
		if a := s.book.only().attempts[0]; a.State != purchase.Unavailable || a.Reason != vendors.ReasonConfig || !strings.Contains(a.Detail, "does not match") {
			t.Errorf("%+v", a)
		}
		if calls := s.transcript(); !slices.Equal(calls, []string{"0s vend b"}) {
			t.Errorf("calls %q", calls)
		}
		s.check()
	})
}

// TestQueryPlan: a vendor is queried as its file says.
func TestQueryPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), works)
		s.plan, s.age = []time.Duration{3 * time.Second, 20 * time.Second, time.Minute}, 3*time.Minute
		p := start(s, "one")
		defer p.stop()
		if _, err := p.Buy(patience(t, time.Second), order("k")); err != nil {
			t.Fatal(err)
		}
		for s.book.only().State == purchase.Pending {
			pass(time.Second)
		}
		want := []string{"0s vend a", "3s query a", "23s query a", "1m23s query a", "2m23s query a", "3m23s query a"}
		if calls := s.transcript(); !slices.Equal(calls, want) || s.book.only().State != purchase.Review {
			t.Errorf("%s after %q, want %q", s.book.only().State, calls, want)
		}
	})
}

// TestAskedOutOfTurn: "not found" is believed as late as the vendor's plan has it,
// however often somebody has it asked.
func TestAskedOutOfTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), losesOrder)
		p := start(s, "one")
		defer p.stop()
		bought, err := p.Buy(patience(t, time.Second), order("k"))
		if err != nil {
			t.Fatal(err)
		}
		pass(10*time.Second + 500*time.Millisecond) // the grace has passed, and two queries; between two polls
		for range 5 {
			s.book.hurry(bought.Ref)
			pass(time.Second)
		}
		if r := s.book.only(); r.State != purchase.Pending || r.attempts[0].Queries != 7 || r.attempts[0].NotFound != 0 {
			t.Errorf("%+v", r)
		}
		s.settle()
		if r := s.book.only(); r.State != purchase.Failed || r.DecidedAt.Sub(r.CreatedAt) != 37*time.Second {
			t.Errorf("%+v after %v", r, r.DecidedAt.Sub(r.CreatedAt))
		}
	})
}

// TestSlowLedger: "not found" is believed also if the ledger takes longer than the
// plan's waits.
func TestSlowLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), losesOrder)
		s.plan = []time.Duration{100 * time.Millisecond}
		p := start(s, "one", func(p *process, cfg *purchase.Config) {
			cfg.Poll = 10 * time.Millisecond
			p.fault = func(call string) fault {
				if call != "record" {
					return fine
				}
				pass(450 * time.Millisecond)
				return fine
			}
		})
		defer p.stop()
		bought, err := p.Buy(patience(t, 10*time.Minute), order("k"))
		if err != nil || bought.State != purchase.Failed || purchase.Cause(bought) != purchase.Missing {
			t.Fatalf("%+v, %v", bought, err)
		}
		if took := bought.DecidedAt.Sub(bought.CreatedAt); took < grace || took > grace+2*time.Second { // two queries of half a second
			t.Errorf("it took %v", took)
		}
		s.check()
	})
}

// TestRechecksHaveAnOwner: of two desks only the one that owns a decided purchase
// asks about it, until it is dead.
func TestRechecksHaveAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), delivers)
		one, two := start(s, "one"), start(s, "two")
		bought, err := one.Buy(context.Background(), order("k"))
		if err != nil {
			t.Fatal(err)
		}
		s.book.ask(bought.Ref)
		pass(5 * time.Second)
		if a, b := one.Stats().Rechecked, two.Stats().Rechecked; a != 1 || b != 0 {
			t.Errorf("rechecked %d and %d times", a, b)
		}
		one.stop()
		s.book.ask(bought.Ref)
		pass(5 * time.Second)
		if n := two.Stats().Rechecked; n != 1 || s.book.only().Owner != "two" {
			t.Errorf("rechecked %d times, %+v", n, s.book.only())
		}
		two.stop()
		s.check()
	})
}
