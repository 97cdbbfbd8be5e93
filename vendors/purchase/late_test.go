package purchase_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/vendors/purchase"
)

// truthIs changes what the vendor knows of a reference from now on.
func (s *shop) truthIs(reference, truth string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.truth[reference] = truth
}

// patient is a desk of tests that last for hours.
func patient(_ *process, cfg *purchase.Config) { cfg.Lease, cfg.Poll = time.Hour, time.Minute }

// TestReview: a vendor that never tells is asked for 23 hours, and then a person
// decides. Nothing is guessed.
func TestReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), works)
		p := start(s, "one", patient)
		defer p.stop()
		bought, err := p.Buy(patience(t, 5*time.Second), order("k"))
		if err != nil || bought.State != purchase.Pending {
			t.Fatalf("bought %+v, %v", bought, err)
		}
		for s.book.only().State == purchase.Pending {
			pass(time.Minute)
		}
		r := s.book.only()
		if age := time.Since(r.CreatedAt); r.State != purchase.Review || age < 23*time.Hour || age > 24*time.Hour || r.attempts[0].State != purchase.Pending {
			t.Errorf("after %v: %+v", age, r)
		}
		calls := len(s.transcript())
		pass(10 * time.Hour)
		if n := len(s.transcript()); n != calls {
			t.Errorf("%d calls while a person is to decide", n-calls)
		}
		// Who asks, or repeats the order, sees it at once as it is.
		asked := time.Now()
		if got, err := p.Check(patience(t, time.Minute), amina, r.Ref); err != nil || got.State != purchase.Review {
			t.Errorf("check %+v, %v", got, err)
		}
		if got, err := p.Buy(patience(t, time.Minute), order("k")); err != nil || got.State != purchase.Review {
			t.Errorf("again %+v, %v", got, err)
		}
		if took := time.Since(asked); took > 0 {
			t.Errorf("it took %v", took)
		}
		if n := p.Stats().Reviews; n != 1 {
			t.Errorf("%d reviews", n)
		}
		s.book.check()
	})
}

// TestQueryAge: a vendor that forgets after an hour is asked for an hour.
func TestQueryAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), works)
		s.age = time.Hour
		p := start(s, "one", patient)
		defer p.stop()
		if _, err := p.Buy(patience(t, 5*time.Second), order("k")); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Hour)
		if r := s.book.only(); r.State != purchase.Review {
			t.Errorf("%+v", r)
		}
	})
}

// TestLateTruth: what vendors say after the decision.
func TestLateTruth(t *testing.T) {
	for _, test := range []struct {
		name  string
		does  []behaviour
		want  string // state after the decision
		late  string // the truth of the attempt number of, later
		of    int
		then  string
		money int64 // in the wallet at the end, of N1000
	}{
		{"released, then delivered", []behaviour{works.thenFails()}, purchase.Failed, "delivered", 1, purchase.DeliveredLate, 1000_00},
		{"captured, then undone", []behaviour{works.thenDelivers()}, purchase.Delivered, "failed", 1, purchase.Reversed, 1000_00},
		{"missing, then delivered beside another", []behaviour{losesOrder, delivers}, purchase.Delivered, "delivered", 1, purchase.Delivered, 900_00},
		{"as it was", []behaviour{works.thenFails()}, purchase.Failed, "failed", 1, purchase.Failed, 1000_00},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, newBook(t), test.does...)
				p := start(s, "one", patient)
				defer p.stop()
				if _, err := p.Buy(patience(t, 5*time.Second), order("k")); err != nil {
					t.Fatal(err)
				}
				pass(2 * time.Minute)
				r := s.book.only()
				if r.State != test.want {
					t.Fatalf("decided %+v", r)
				}
				s.truthIs(r.attempts[test.of-1].Reference, test.late)
				pass(3 * time.Hour)
				turned := s.book.only()
				if turned.State != test.then || !turned.DecidedAt.Equal(r.DecidedAt) {
					t.Errorf("turned %+v", turned)
				}
				if !s.book.asked() {
					t.Error("asked again for ever")
				}
				changed := uint64(0)
				if test.name != "as it was" {
					changed = 1
				}
				stats := p.Stats()
				if n := stats.Turned[purchase.DeliveredLate] + stats.Turned[purchase.Reversed]; n != changed || stats.Decided[test.want] != 1 {
					t.Errorf("counted %+v", stats)
				}
				if got := s.book.balance[amina]; got != test.money {
					t.Errorf("the wallet has %d, want %d", got, test.money)
				}
				s.book.check()
			})
		})
	}
}

// TestRecheckOnDemand: an operator has the vendor of a delivered purchase asked,
// and the vendor cannot tell for two days.
func TestRecheckOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), delivers)
		p := start(s, "one", patient)
		defer p.stop()
		bought, err := p.Buy(patience(t, 5*time.Second), order("k"))
		if err != nil || bought.State != purchase.Delivered {
			t.Fatalf("bought %+v, %v", bought, err)
		}
		pass(5*time.Hour + 30*time.Second) // between two polls
		if calls := s.transcript(); len(calls) != 1 {
			t.Errorf("calls %v", calls)
		}
		s.truthIs(bought.Ref, "unknown")
		s.book.ask(bought.Ref)
		pass(10 * time.Hour)
		if calls := s.transcript(); len(calls) != 1+20 {
			t.Errorf("%d calls: %v", len(calls), calls)
		}
		pass(40 * time.Hour)
		if r := s.book.only(); r.State != purchase.Delivered || !s.book.asked() {
			t.Errorf("%+v", r)
		}
		s.check()
	})
}

// TestToken: what the vendor gives for the subscriber is kept, whenever it tells
// it, and not logged.
func TestToken(t *testing.T) {
	const token = "1234-5678-9012"
	gives := delivers
	gives.result.Token, gives.result.Commission = token, 3_00
	for _, test := range []struct {
		name string
		does behaviour
		late bool
	}{
		{"at once", gives, false},
		{"by a query", losesAnswer, false},
		{"after the release", works.thenFails(), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, newBook(t), test.does)
				s.token = token
				var log strings.Builder
				p := start(s, "one", logged(&log))
				bought, err := p.Buy(patience(t, time.Minute), order("k"))
				if err != nil {
					t.Fatal(err)
				}
				if test.late {
					if bought.Token != "" {
						t.Errorf("a token of nothing: %+v", bought)
					}
					s.truthIs(bought.Ref, "delivered")
					pass(2 * time.Hour)
				}
				p.stop()
				r := s.book.only()
				if a := r.attempts[0]; r.Token != token || a.Token != token || a.Commission != 3_00 {
					t.Errorf("%+v", r)
				}
				if strings.Contains(log.String(), token) {
					t.Errorf("logged:\n%s", log.String())
				}
			})
		})
	}
}

func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), rejects)
		p := start(s, "one", func(p *process, _ *purchase.Config) {
			down := time.Now().Add(40 * time.Second)
			p.fault = func(call string) fault {
				if call == "record" && time.Now().Before(down) {
					return before
				}
				return fine
			}
		})
		defer p.stop()
		if _, err := p.Buy(patience(t, 5*time.Second), order("slow")); err != nil {
			t.Fatal(err)
		}
		s.settle()
		if _, err := p.Buy(patience(t, 5*time.Second), order("quick")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // a decision is told before it is counted
		if c := p.Stats().Refunds; c.Count != 2 || c.Breaches != 1 || c.Total < 30*time.Second {
			t.Errorf("refunds %+v", c)
		}
		s.mu.Lock()
		s.does["a"] = works.thenDelivers()
		s.mu.Unlock()
		if _, err := p.Buy(patience(t, time.Minute), order("doubt")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stats := p.Stats()
		if c := stats.Doubts; c.Count != 1 || c.Breaches != 0 || c.Total < time.Second {
			t.Errorf("doubts %+v", c)
		}
		if stats.Variances != 0 {
			t.Errorf("variances %+v", stats)
		}
		s.mu.Lock()
		s.does["a"] = delivers // for N97, where N98 is computed
		s.mu.Unlock()
		if _, err := p.Buy(patience(t, time.Minute), order("cheap")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if stats = p.Stats(); stats.Variances != 1 || stats.Variance != -1_00 {
			t.Errorf("variances %+v", stats)
		}
	})
}

// TestAsksBeforeTheSameAgain: who confirms the same in another dialogue while it
// is open is told of it, in whichever process; who insists buys it twice.
func TestAsksBeforeTheSameAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), works.thenDelivers())
		p, other := start(s, "one"), start(s, "two")
		defer p.stop()
		defer other.stop()
		first := order("k")
		first.Again = false
		bought, err := p.Buy(patience(t, time.Second), first)
		if err != nil || !bought.Open() {
			t.Fatalf("bought %+v, %v", bought, err)
		}
		dialled := order("again")
		dialled.Again = false
		for _, desk := range []*process{p, other} {
			got, err := desk.Buy(t.Context(), dialled)
			var open *purchase.OpenError
			if !errors.Is(err, purchase.ErrOpen) || !errors.As(err, &open) || open.Purchase.Ref != bought.Ref || got.Ref != "" {
				t.Errorf("dialled again: %+v, %v", got, err)
			}
			if stats := desk.Stats(); stats.GivenUp != 0 || stats.Failures != 0 {
				t.Errorf("%+v", stats)
			}
		}
		if got, err := p.Buy(patience(t, time.Second), first); err != nil || got.Ref != bought.Ref {
			t.Errorf("the same confirmation: %+v, %v", got, err)
		}
		dialled.Again = true
		second, err := other.Buy(patience(t, time.Second), dialled)
		if err != nil || second.Ref == bought.Ref || len(s.book.all()) != 2 {
			t.Errorf("insisted: %+v, %v", second, err)
		}
		s.settle()
		dialled.Key, dialled.Again = "later", false
		if _, err := p.Buy(patience(t, time.Second), dialled); err != nil {
			t.Errorf("both are decided: %v", err)
		}
		s.settle()
	})
}

// TestAsksOneOfTwo: of two that are confirmed at the same moment one is asked.
func TestAsksOneOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), works.thenDelivers())
		desks := []*process{start(s, "one"), start(s, "two")}
		errs := make(chan error)
		for i, p := range desks {
			defer p.stop()
			o := order(fmt.Sprint("k", i))
			o.Again = false
			go func() {
				_, err := p.Buy(patience(t, time.Second), o)
				errs <- err
			}()
		}
		a, b := <-errs, <-errs
		if errors.Is(a, purchase.ErrOpen) == errors.Is(b, purchase.ErrOpen) || a != nil && b != nil || len(s.book.all()) != 1 {
			t.Errorf("%v, %v", a, b)
		}
		s.settle()
	})
}

// TestLedgerLimit: the order that a limit of the ledger refuses has bought
// nothing, and says which limit.
func TestLedgerLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), delivers)
		s.book.limit = &purchase.LimitError{Limit: "day", Max: 500_00}
		p := start(s, "one")
		defer p.stop()
		_, err := p.Buy(context.Background(), order("k"))
		var beyond *purchase.LimitError
		if !errors.Is(err, purchase.ErrLimit) || !errors.As(err, &beyond) || beyond.Limit != "day" {
			t.Errorf("%v", err)
		}
		if len(s.book.all()) != 0 || p.Stats().GivenUp != 0 || p.Stats().Failures != 0 {
			t.Errorf("%+v", p.Stats())
		}
	})
}

func TestMovesIsACopy(t *testing.T) {
	table := purchase.Moves()
	table[purchase.Held][0] = purchase.Delivered
	if slices.Contains(purchase.Moves()[purchase.Held], purchase.Delivered) {
		t.Error("the table can be changed")
	}
}
