package purchase_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// TestTakeover lets a desk die and looks at what the next one makes of it.
func TestTakeover(t *testing.T) {
	for _, test := range []struct {
		name  string
		at    string
		does  []behaviour
		owner string        // of the next desk
		after time.Duration // from the death to its start
		state string
		cause string
		calls []string
	}{
		{
			name: "held and young goes on", at: "after-hold", does: []behaviour{delivers}, owner: "two", after: time.Minute,
			state: "delivered", calls: []string{"1m1s vend a"},
		}, {
			name: "held and old is released", at: "after-hold", does: []behaviour{delivers}, owner: "two", after: 3 * time.Minute,
			state: "failed", cause: "expired",
		}, {
			name: "held between two attempts goes on with the second", at: "after-record-held",
			does: []behaviour{declines, delivers}, owner: "two", after: time.Minute,
			state: "delivered", calls: []string{"0s vend a", "1m1s vend b"},
		}, {
			name: "sent and delivered is found delivered", at: "after-vend",
			does: []behaviour{delivers, delivers}, owner: "two", after: 3 * time.Minute,
			state: "delivered", calls: []string{"0s vend a", "3m1s query a"},
		}, {
			name: "sent and declined is found failed", at: "after-vend",
			does: []behaviour{declines, delivers}, owner: "two", after: time.Minute,
			state: "failed", cause: "refused", calls: []string{"0s vend a", "1m1s query a"},
		}, {
			// The attempt's deadline is at 30s, so that "not found" counts from
			// 40s, and its second time is later than MaxHeld.
			name: "recorded and never sent is proved so", at: "after-attempt",
			does: []behaviour{delivers, delivers}, owner: "two", after: 5 * time.Second,
			state: "failed", cause: "missing",
			calls: []string{"6s query a", "7s query a", "17s query a", "37s query a", "1m17s query a", "2m17s query a"},
		}, {
			// The schedule goes by the attempt's time, and is far apart by now.
			name: "proved so after an hour", at: "after-attempt",
			does: []behaviour{delivers}, owner: "two", after: time.Hour,
			state: "failed", cause: "missing", calls: []string{"1h0m1s query a", "1h19m17s query a"},
		}, {
			name: "a desk of the same name waits for no lease", at: "after-hold",
			does: []behaviour{delivers}, owner: "one", after: 0,
			state: "delivered", calls: []string{"10s vend a"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, newBook(t), test.does...)
				first := start(s, "one", boundary(func(p *process, name string) {
					if name == test.at {
						p.die()
					}
				}))
				_, _ = first.Buy(patience(t, time.Second), order("k"))
				first.stop()
				left := s.book.only()
				if !left.Open() {
					t.Fatalf("left %+v", left)
				}
				pass(test.after)
				next := start(s, test.owner)
				s.settle()
				n := next.Stats()
				next.stop()
				r := s.book.only()
				if r.State != test.state || purchase.Cause(r.Purchase) != test.cause || r.Owner != test.owner || r.Ref != left.Ref {
					t.Errorf("%+v", r)
				}
				if calls := s.transcript(); !slices.Equal(calls, test.calls) {
					t.Errorf("calls %q\nwant  %q", calls, test.calls)
				}
				if n.Orphans != 1 {
					t.Errorf("%+v", n)
				}
				s.check()
			})
		})
	}
}

// TestLeaseProtects: what a living desk works on is not touched by another,
// however long it takes.
func TestLeaseProtects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := delivers
		slow.answer = func(context.Context) { pass(25 * time.Second) }
		s := newShop(t, newBook(t), slow)
		one, two := start(s, "one"), start(s, "two")
		if p, err := one.Buy(context.Background(), order("k")); err != nil || p.State != purchase.Delivered {
			t.Errorf("%+v, %v", p, err)
		}
		if n := two.Stats(); n.Resumed != 0 {
			t.Errorf("%+v", n)
		}
		one.stop()
		two.stop()
		s.check()
	})
}

// TestStepsAside: a desk that can neither renew its lease nor record an answer
// finds, when the ledger is back, that another has ended the purchase.
func TestStepsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), delivers)
		one := start(s, "one", func(p *process, _ *purchase.Config) {
			p.fault = func(call string) fault {
				if at := time.Since(s.begun); call == "renew" && at > 0 || call == "record" && at < 20*time.Second {
					return before
				}
				return fine
			}
		})
		two := start(s, "two")
		p, err := one.Buy(context.Background(), order("k"))
		if err != nil || p.State != purchase.Delivered || p.Owner != "two" || time.Since(s.begun) < 20*time.Second {
			t.Errorf("%+v, %v", p, err)
		}
		if n := one.Stats(); n.Conflicts != 1 || len(n.Decided) != 0 || n.Failures == 0 || n.Lease > 0 {
			t.Errorf("%+v", n)
		}
		one.stop()
		two.stop()
		if calls := s.transcript(); !slices.Equal(calls, []string{"0s vend a", "6s query a"}) {
			t.Errorf("calls %q", calls)
		}
		s.check()
	})
}

// TestSendsNothingLate: what is recorded too long before it could be sent, or
// is not covered by a lease any more, is not sent.
func TestSendsNothingLate(t *testing.T) {
	for _, test := range []struct {
		name   string
		faults func(s *shop) func(call string) fault
	}{
		{"the ledger is slow", func(s *shop) func(string) fault {
			return func(call string) fault {
				if call == "attempt" && len(s.transcript()) == 0 {
					pass(20 * time.Second)
				}
				return fine
			}
		}},
		{"the lease is over", func(s *shop) func(string) fault {
			var attempted atomic.Bool
			return func(call string) fault {
				switch {
				case call == "attempt" && !attempted.Swap(true):
					pass(5 * time.Second)
				case call == "renew" && attempted.Load() && time.Since(s.begun) < 20*time.Second:
					return before
				}
				return fine
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, newBook(t), delivers)
				one := start(s, "one", func(p *process, cfg *purchase.Config) {
					p.fault = test.faults(s)
					cfg.LedgerTimeout = time.Minute
				})
				p, err := one.Buy(context.Background(), order("k"))
				if err != nil || p.State != purchase.Failed || p.Reason != "not_sent:late" {
					t.Errorf("%+v, %v", p, err)
				}
				one.stop()
				if calls := s.transcript(); len(calls) != 0 {
					t.Errorf("calls %q", calls)
				}
				s.check()
			})
		})
	}
}

// TestSlowRenewal: a renewal that took longer than the lease covers nothing.
func TestSlowRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := declines
		slow.answer = func(context.Context) { pass(3 * time.Second) }
		s := newShop(t, newBook(t), slow, delivers)
		slept := false
		one := start(s, "one", func(p *process, cfg *purchase.Config) {
			cfg.LedgerTimeout = time.Minute
			p.fault = func(call string) fault {
				switch {
				case call == "renew" && time.Since(s.begun) == 2*time.Second && !slept:
					slept = true
					pass(8 * time.Second)
				case call == "attempt" && !s.book.lease("one").After(time.Now()):
					t.Errorf("attempt after %v, lease until %v", time.Since(s.begun), s.book.lease("one").Sub(s.begun))
				}
				return fine
			}
		})
		if p, err := one.Buy(context.Background(), order("k")); err != nil || p.State != purchase.Delivered || p.Attempts != 2 {
			t.Errorf("%+v, %v", p, err)
		}
		if !slept {
			t.Error("no renewal was slow")
		}
		one.stop()
		s.check()
	})
}

// TestLeaseOverAtTheLastMoment has the clock leap over the end of the lease at
// each look that is taken at it between an attempt and its vend.
func TestLeaseOverAtTheLastMoment(t *testing.T) {
	const leap = 8 * time.Second
	for look := int32(1); look <= 3; look++ {
		synctest.Test(t, func(t *testing.T) {
			var looks, offset atomic.Int64
			now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
			late := delivers
			s := newShop(t, newBook(t), late)
			late.connect = func(context.Context, *process) {
				if until := s.book.lease("one"); !until.After(now()) {
					t.Errorf("look %d: the vend begins %v after the lease", look, now().Sub(until))
				}
			}
			s.does["a"] = late
			one := start(s, "one", func(_ *process, cfg *purchase.Config) {
				var armed atomic.Bool
				cfg.Boundary = func(name string) {
					if name == "after-attempt" {
						armed.Store(true)
					}
				}
				cfg.Now = func() time.Time {
					if armed.Load() && looks.Add(1) == int64(look) {
						offset.Store(int64(leap))
					}
					return now()
				}
			})
			if _, err := one.Buy(patience(t, time.Minute), order("k")); err != nil {
				t.Error(err)
			}
			one.stop()
			if looks.Load() < int64(look) {
				t.Errorf("%d looks", looks.Load())
			}
			s.check()
		})
	}
}

// TestLeaseEndsVend: a vend that is still connecting when the lease runs out
// sends nothing.
func TestLeaseEndsVend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended time.Duration
		slow := delivers
		s := newShop(t, newBook(t), slow)
		slow.connect = func(ctx context.Context, _ *process) {
			<-ctx.Done()
			ended = time.Since(s.begun)
		}
		s.does["a"] = slow
		one := start(s, "one", func(p *process, _ *purchase.Config) {
			p.fault = func(call string) fault {
				if call == "renew" && time.Since(s.begun) > 3*time.Second {
					return before // the last renewal is at 2s
				}
				return fine
			}
		})
		p, err := one.Buy(context.Background(), order("k"))
		if err != nil || p.Reason != "not_sent:timeout" {
			t.Errorf("%+v, %v", p, err)
		}
		if ended < 6*time.Second || ended >= 8*time.Second {
			t.Errorf("the vend was ended after %v", ended)
		}
		one.stop()
		s.check()
	})
}

// TestBoundedReconciler: a crowd of pending purchases is queried a few at a time
// and to the last one.
func TestBoundedReconciler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		b.credit(amina, 10_000_00)
		slow := losesAnswer
		slow.answer = func(ctx context.Context) {
			if _, vend := ctx.Deadline(); !vend {
				pass(3 * time.Second)
			}
		}
		s := newShop(t, b, slow)
		desk := start(s, "one", func(_ *process, cfg *purchase.Config) { cfg.MaxResumed = 4 })
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if p, err := desk.Buy(patience(t, time.Second), order(fmt.Sprint(i))); err != nil || p.State != purchase.Pending {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
		wg.Wait()
		s.mu.Lock()
		s.most = 0
		s.mu.Unlock()
		s.settle()
		desk.stop()
		if s.most != 4 {
			t.Errorf("%d queries at once", s.most)
		}
		// 50 queries of 3s, 4 at a time, from 2s on.
		if took := time.Since(s.begun); took > 45*time.Second {
			t.Errorf("took %v", took)
		}
		s.check()
	})
}

// TestFailingCrowd: purchases that cannot be worked on do not keep the
// reconciler asking without a pause.
func TestFailingCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), works)
		var polls atomic.Int32
		desk := start(s, "one", func(p *process, cfg *purchase.Config) {
			cfg.MaxResumed = 2
			p.fault = func(call string) fault {
				switch {
				case call == "due" && polls.Add(1) > 1000, call == "purchase":
					return before
				}
				return fine
			}
		})
		for i := range 5 {
			if _, err := desk.Buy(patience(t, time.Millisecond), order(fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		}
		pass(10 * time.Second)
		if n := polls.Load(); n < 20 || n > 250 {
			t.Errorf("%d polls", n)
		}
		desk.stop()
	})
}

// TestVendorGone: a reload that drops the vendor of a pending purchase leaves it
// pending until the vendor is back.
func TestVendorGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), losesAnswer, delivers)
		desk := start(s, "one")
		if _, err := desk.Buy(patience(t, time.Second), order("k")); err != nil {
			t.Fatal(err)
		}
		have := func(gone bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.gone["a"] = gone
		}
		have(true)
		pass(20 * time.Second)
		if r := s.book.only(); r.State != purchase.Pending || r.Reason != "pending:no_vendor" {
			t.Errorf("%+v", r)
		}
		have(false)
		s.settle()
		desk.stop()
		if calls := s.transcript(); !slices.Equal(calls, []string{"0s vend a", "37s query a"}) {
			t.Errorf("calls %q", calls)
		}
		s.check()
	})
}

// TestRouteGone: a reload that drops the vendors that were left to try ends the
// purchase as its last attempt did.
func TestRouteGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), declines, delivers)
		desk := start(s, "one", boundary(func(_ *process, name string) {
			if name == "after-record-held" {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.gone["b"] = true
			}
		}))
		p, err := desk.Buy(context.Background(), order("k"))
		if err != nil || p.State != purchase.Failed || p.Reason != "declined:float" {
			t.Errorf("%+v, %v", p, err)
		}
		desk.stop()
		s.check()
	})
}

// TestNotFoundInARow: "not found" counts only in a row.
func TestNotFoundInARow(t *testing.T) {
	for _, between := range []string{"working", "unknown"} {
		synctest.Test(t, func(t *testing.T) {
			s := newShop(t, newBook(t), losesOrder)
			desk := start(s, "one")
			p, err := desk.Buy(patience(t, time.Second), order("k"))
			if err != nil {
				t.Fatal(err)
			}
			says := func(truth string) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.truth[p.Ref] = truth
			}
			pass(20 * time.Second) // the first that counts was at 17s
			if r := s.book.only(); r.attempts[0].NotFound != 1 {
				t.Errorf("%+v", r)
			}
			says(between)
			pass(20 * time.Second) // 37s
			if r := s.book.only(); r.attempts[0].NotFound != 0 || r.attempts[0].Queries != 4 {
				t.Errorf("%+v", r)
			}
			says("")
			s.settle()
			desk.stop()
			r := s.book.only()
			if took := r.DecidedAt.Sub(r.CreatedAt); took != 137*time.Second || purchase.Cause(r.Purchase) != purchase.Missing {
				t.Errorf("%+v after %v", r, took)
			}
			s.check()
		})
	}
}

// TestAnswers covers the vocabulary of Reason that Outcome and Cause read.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		state, reason string
		outcome       vendors.Outcome
		cause         string
	}{
		{"held", "", vendors.Ambiguous, ""},
		{"held", "declined:float", vendors.Ambiguous, "float"},
		{"sending", "", vendors.Ambiguous, ""},
		{"pending", "pending:interrupted", vendors.Ambiguous, "interrupted"},
		{"delivered", "", vendors.Delivered, ""},
		{"failed", "declined", vendors.Declined, ""},
		{"failed", "declined:bad_number", vendors.Declined, "bad_number"},
		{"failed", "not_sent:expired", vendors.NotSent, "expired"},
		{"failed", "unavailable:no_route", vendors.Unavailable, "no_route"},
	} {
		p := purchase.Purchase{State: test.state, Reason: test.reason}
		if o, c := purchase.Outcome(p), purchase.Cause(p); o != test.outcome || c != test.cause {
			t.Errorf("%s %q: %v %q", test.state, test.reason, o, c)
		}
	}
}
