package purchase_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// TestOutcomes follows one purchase over every kind of answer.
func TestOutcomes(t *testing.T) {
	contradicts := losesAnswer
	contradicts.result = vendors.Result{Outcome: vendors.NotSent, Sent: true}
	senseless := losesAnswer
	senseless.result = vendors.Result{Sent: true}
	doubtful := losesOrder
	doubtful.unsure = true

	for _, test := range []struct {
		name     string
		does     []behaviour
		state    string
		reason   string
		outcome  vendors.Outcome
		cause    string
		attempts []string
		calls    []string
	}{
		{
			name: "delivered", does: []behaviour{delivers, delivers},
			state: "delivered", outcome: vendors.Delivered,
			attempts: []string{"a delivered "}, calls: []string{"0s vend a"},
		}, {
			name: "rejected for its own sake", does: []behaviour{rejects, delivers},
			state: "failed", reason: "declined:bad_number", outcome: vendors.Declined, cause: "bad_number",
			attempts: []string{"a declined bad_number"}, calls: []string{"0s vend a"},
		}, {
			name: "declined, then delivered", does: []behaviour{declines, delivers},
			state: "delivered", outcome: vendors.Delivered,
			attempts: []string{"a declined float", "b delivered "}, calls: []string{"0s vend a", "0s vend b"},
		}, {
			name: "declined by all", does: []behaviour{declines, declines},
			state: "failed", reason: "declined:float", outcome: vendors.Declined, cause: "float",
			attempts: []string{"a declined float", "b declined float"}, calls: []string{"0s vend a", "0s vend b"},
		}, {
			name: "not sent, then delivered", does: []behaviour{unreachable, delivers},
			state: "delivered", outcome: vendors.Delivered,
			attempts: []string{"a not_sent down", "b delivered "}, calls: []string{"0s vend a", "0s vend b"},
		}, {
			name: "not sent to anybody", does: []behaviour{broken, unreachable},
			state: "failed", reason: "not_sent:down", outcome: vendors.NotSent, cause: "down",
			attempts: []string{"a unavailable down", "b not_sent down"}, calls: []string{"0s vend a", "0s vend b"},
		}, {
			name: "all unavailable", does: []behaviour{broken, broken},
			state: "failed", reason: "unavailable:down", outcome: vendors.Unavailable, cause: "down",
			attempts: []string{"a unavailable down", "b unavailable down"}, calls: []string{"0s vend a", "0s vend b"},
		}, {
			name: "no route", does: nil,
			state: "failed", reason: "unavailable:no_route", outcome: vendors.Unavailable, cause: "no_route",
		}, {
			name: "answer lost, found delivered", does: []behaviour{losesAnswer, delivers},
			state: "delivered", outcome: vendors.Delivered,
			attempts: []string{"a delivered "}, calls: []string{"0s vend a", "2s query a"},
		}, {
			name: "pending, found delivered", does: []behaviour{works.thenDelivers(), delivers},
			state: "delivered", outcome: vendors.Delivered,
			attempts: []string{"a delivered "}, calls: []string{"0s vend a", "2s query a"},
		}, {
			name: "pending, found failed: no other vendor", does: []behaviour{works.thenFails(), delivers},
			state: "failed", reason: "declined:refused", outcome: vendors.Declined, cause: "refused",
			attempts: []string{"a declined refused"}, calls: []string{"0s vend a", "2s query a"},
		}, {
			name: "declined, then pending, found delivered", does: []behaviour{declines, works.thenDelivers(), delivers},
			state: "delivered", outcome: vendors.Delivered,
			attempts: []string{"a declined float", "b delivered "}, calls: []string{"0s vend a", "0s vend b", "2s query b"},
		}, {
			name: "never arrived, then delivered", does: []behaviour{losesOrder, delivers},
			state: "delivered", outcome: vendors.Delivered,
			attempts: []string{"a not_sent missing", "b delivered "},
			calls:    []string{"0s vend a", "2s query a", "7s query a", "17s query a", "37s query a", "37s vend b"},
		}, {
			name: "never arrived, no other vendor", does: []behaviour{losesOrder},
			state: "failed", reason: "not_sent:missing", outcome: vendors.NotSent, cause: "missing",
			attempts: []string{"a not_sent missing"},
			calls:    []string{"0s vend a", "2s query a", "7s query a", "17s query a", "37s query a"},
		}, {
			name: "not found proves nothing", does: []behaviour{doubtful, delivers},
			state: "pending", reason: "pending:timeout", outcome: vendors.Ambiguous, cause: "timeout",
			attempts: []string{"a pending timeout"},
			calls: []string{"0s vend a", "2s query a", "7s query a", "17s query a", "37s query a", "1m17s query a",
				"2m17s query a", "4m17s query a", "9m17s query a", "19m17s query a", "49m17s query a", "1h19m17s query a"},
		}, {
			name: "working for ever", does: []behaviour{works, delivers},
			state: "pending", reason: "pending:pending", outcome: vendors.Ambiguous, cause: "pending",
			attempts: []string{"a pending pending"},
			calls: []string{"0s vend a", "2s query a", "7s query a", "17s query a", "37s query a", "1m17s query a",
				"2m17s query a", "4m17s query a", "9m17s query a", "19m17s query a", "49m17s query a", "1h19m17s query a"},
		}, {
			name: "not sent, it says, but something may have left", does: []behaviour{contradicts, delivers},
			state: "delivered", outcome: vendors.Delivered,
			attempts: []string{"a delivered "}, calls: []string{"0s vend a", "2s query a"},
		}, {
			name: "a result without an outcome", does: []behaviour{senseless, delivers},
			state: "delivered", outcome: vendors.Delivered,
			attempts: []string{"a delivered "}, calls: []string{"0s vend a", "2s query a"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook(t)
				s := newShop(t, b, test.does...)
				desk := start(s, "one")
				got, err := desk.Buy(patience(t, 90*time.Minute), order("k"))
				if err != nil {
					t.Fatal(err)
				}
				desk.stop()

				r := b.only()
				if r.Purchase != got {
					t.Errorf("bought %+v\nthe ledger has %+v", got, r.Purchase)
				}
				if got.State != test.state || got.Reason != test.reason {
					t.Errorf("%s %q, want %s %q", got.State, got.Reason, test.state, test.reason)
				}
				if o, c := purchase.Outcome(got), purchase.Cause(got); o != test.outcome || c != test.cause {
					t.Errorf("outcome %v, cause %q; want %v, %q", o, c, test.outcome, test.cause)
				}
				// A move to hold, and per attempt one to begin it, one for the
				// answer and one per query; or one to release.
				moves := int64(1)
				if len(r.attempts) == 0 {
					moves++
				}
				var attempts []string
				for i, a := range r.attempts {
					moves += int64(2 + a.Queries)
					attempts = append(attempts, a.Vendor+" "+a.State+" "+a.Reason)
					want := got.Ref
					if i > 0 {
						want = fmt.Sprintf("%s-%d", got.Ref, i+1)
					}
					if a.Reference != want || a.FinishedAt.IsZero() {
						t.Errorf("attempt %+v", a)
					}
				}
				if got.Version != moves {
					t.Errorf("%d moves, want %d", got.Version, moves)
				}
				if !slices.Equal(attempts, test.attempts) {
					t.Errorf("attempts %q, want %q", attempts, test.attempts)
				}
				if calls := s.transcript(); !slices.Equal(calls, test.calls) {
					t.Errorf("calls %q\nwant  %q", calls, test.calls)
				}
				if !got.Open() {
					s.check()
				}
			})
		})
	}
}

// TestRecord looks at what a delivered purchase leaves in the ledger.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		desk := start(newShop(t, b, delivers), "one", func(_ *process, cfg *purchase.Config) {
			cfg.NewID = func() int64 { return 1<<40 + 33 }
		})
		p, err := desk.Buy(context.Background(), order("k"))
		if err != nil {
			t.Fatal(err)
		}
		desk.stop()
		if want := "TXN-0000100000011"; p.Ref != want {
			t.Errorf("reference %s, want %s", p.Ref, want)
		}
		if p.Session != 7 || p.MSISDN != amina || p.Recipient != bola || p.Owner != "one" || p.Version != 3 ||
			p.Vendor != "a" || p.VendorRef != "V-1" || p.Cost != 97_00 || p.Attempts != 1 || p.DecidedAt.IsZero() {
			t.Errorf("%+v", p)
		}
		a := b.only().attempts[0]
		if a.HTTPStatus != 200 || a.VendorRef != "V-1" || a.Cost != 97_00 || a.Queries != 0 {
			t.Errorf("%+v", a)
		}
		if b.balance[amina] != 900_00 {
			t.Errorf("balance %d", b.balance[amina])
		}
	})
}

func TestRefusedOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		s := newShop(t, b, delivers)
		desk := start(s, "one")
		defer desk.stop()
		for _, test := range []struct {
			name   string
			change func(*purchase.Order)
			want   error
		}{
			{"no key", func(o *purchase.Order) { o.Key = "" }, purchase.ErrOrder},
			{"no payer", func(o *purchase.Order) { o.MSISDN = "" }, purchase.ErrOrder},
			{"no recipient", func(o *purchase.Order) { o.Recipient = "" }, purchase.ErrOrder},
			{"unknown network", func(o *purchase.Order) { o.Network = "mtel" }, purchase.ErrNetwork},
			{"nothing", func(o *purchase.Order) { o.Amount = 0 }, purchase.ErrLimit},
			{"negative", func(o *purchase.Order) { o.Amount = -100_00 }, purchase.ErrLimit},
			{"too little", func(o *purchase.Order) { o.Amount = 49_00 }, purchase.ErrLimit},
			{"too much", func(o *purchase.Order) { o.Amount = 50_001_00 }, purchase.ErrLimit},
			{"kobo", func(o *purchase.Order) { o.Amount = 100_50 }, purchase.ErrLimit},
			{"more than the wallet has", func(o *purchase.Order) { o.Amount = 1001_00 }, purchase.ErrInsufficient},
			{"no wallet", func(o *purchase.Order) { o.MSISDN = bola }, purchase.ErrNoWallet},
		} {
			o := order("k")
			test.change(&o)
			if p, err := desk.Buy(context.Background(), o); !errors.Is(err, test.want) || errors.Is(err, purchase.ErrUnknown) || p != (purchase.Purchase{}) {
				t.Errorf("%s: %+v, %v; want %v", test.name, p, err, test.want)
			}
		}
		if n := len(b.all()); n != 0 {
			t.Errorf("%d purchases", n)
		}
		// A refused order leaves its key free.
		if p, err := desk.Buy(context.Background(), order("k")); err != nil || p.State != purchase.Delivered {
			t.Errorf("%+v, %v", p, err)
		}
		s.check()
	})
}

// TestOnePurchasePerKey repeats a confirmation at once, in two processes, and
// again when it is over.
func TestOnePurchasePerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		slow := delivers
		slow.answer = func(context.Context) { pass(3 * time.Second) }
		s := newShop(t, b, slow)
		one, two := start(s, "one"), start(s, "two")
		var wg sync.WaitGroup
		for _, desk := range []*process{one, two} {
			for range 50 {
				wg.Go(func() {
					p, err := desk.Buy(context.Background(), order("k"))
					if err != nil || p.State != purchase.Delivered {
						t.Errorf("%+v, %v", p, err)
					}
				})
			}
		}
		wg.Wait()
		if p, err := two.Buy(context.Background(), order("k")); err != nil || p != b.only().Purchase {
			t.Errorf("%+v, %v", p, err)
		}
		if calls := s.transcript(); len(calls) != 1 {
			t.Errorf("calls %q", calls)
		}
		bought := one.Stats().Bought + two.Stats().Bought
		if bought != 1 {
			t.Errorf("%d bought", bought)
		}
		one.stop()
		two.stop()
		s.check()
	})
}

func TestKeyOfAnotherOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		s := newShop(t, b, delivers)
		desk := start(s, "one")
		defer desk.stop()
		if _, err := desk.Buy(context.Background(), order("k")); err != nil {
			t.Fatal(err)
		}
		other := order("k")
		other.Amount = 200_00
		if _, err := desk.Buy(context.Background(), other); !errors.Is(err, purchase.ErrKeyReused) {
			t.Errorf("%v", err)
		}
		b.only()
	})
}

// TestHangUp ends the caller's context at each stage of a purchase.
func TestHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		slow := declines
		slow.answer = func(ctx context.Context) {
			pass(3 * time.Second)
			if ctx.Err() != nil {
				t.Error("the vend was cut off")
			}
		}
		s := newShop(t, b, slow, works.thenDelivers())
		desk := start(s, "one")
		defer desk.stop()
		ctx, hangUp := context.WithCancel(context.Background())
		go func() {
			pass(time.Second)
			hangUp()
		}()
		p, err := desk.Buy(ctx, order("k"))
		if err != nil || p.State != purchase.Sending {
			t.Fatalf("hang-up during the first vend: %+v, %v", p, err)
		}
		p, err = desk.Buy(patience(t, 3*time.Second), order("k"))
		if err != nil || p.State != purchase.Pending || purchase.Outcome(p) != vendors.Ambiguous {
			t.Fatalf("hang-up while pending: %+v, %v", p, err)
		}
		p, err = desk.Buy(patience(t, 3*time.Second), order("k"))
		if err != nil || p.State != purchase.Delivered {
			t.Fatalf("at the end: %+v, %v", p, err)
		}
		want := []string{"0s vend a", "3s vend b", "5s query b"}
		if calls := s.transcript(); !slices.Equal(calls, want) {
			t.Errorf("calls %q, want %q", calls, want)
		}
		s.check()
	})
}

// TestHangUpBeforeTheHold: the ledger does not answer before the caller's
// context ends; what it holds in the end is sold all the same.
func TestHangUpBeforeTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, newBook(t), delivers)
		desk := start(s, "one", func(p *process, _ *purchase.Config) {
			p.fault = func(call string) fault {
				if call == "hold" {
					pass(1500 * time.Millisecond)
				}
				return fine
			}
		})
		defer desk.stop()
		var refs []string
		for range 2 {
			p, err := desk.Buy(patience(t, 500*time.Millisecond), order("k"))
			if !errors.Is(err, purchase.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) || p != (purchase.Purchase{Ref: p.Ref}) {
				t.Errorf("%+v, %v", p, err)
			}
			refs = append(refs, p.Ref)
		}
		p, err := desk.Buy(patience(t, 5*time.Second), order("k"))
		if err != nil || p.State != purchase.Delivered || !slices.Equal(refs, []string{p.Ref, p.Ref}) {
			t.Errorf("%+v, %v after %q", p, err, refs)
		}
		s.check()
	})
}

// TestUnknown: when it cannot be told whether there is a purchase, the caller
// has the reference that it has if there is one.
func TestUnknown(t *testing.T) {
	for _, test := range []struct {
		name  string
		hold  func(desk *process, try int) fault
		state string // of what is bought all the same
	}{
		{"the ledger fails", func(*process, int) fault { return before }, ""},
		{"the second try is committed, and its answer lost", func(_ *process, try int) fault {
			if try == 2 {
				return after
			}
			return before
		}, purchase.Delivered},
		{"panic", func(*process, int) fault { panic("index out of range") }, ""},
		{"the desk ends", func(desk *process, _ int) fault {
			go desk.stop()
			return hang
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, newBook(t), delivers)
				try := 0
				desk := start(s, "one", func(p *process, _ *purchase.Config) {
					p.fault = func(call string) fault {
						if call != "hold" {
							return fine
						}
						try++
						return test.hold(p, try)
					}
				})
				defer desk.stop()
				p, err := desk.Buy(context.Background(), order("k"))
				if !errors.Is(err, purchase.ErrUnknown) || errors.Is(err, purchase.ErrDraining) ||
					len(p.Ref) != 17 || p != (purchase.Purchase{Ref: p.Ref}) {
					t.Errorf("%+v, %v", p, err)
				}
				s.settle()
				p, err = desk.Check(context.Background(), amina, p.Ref)
				if p.State != test.state || errors.Is(err, purchase.ErrNotFound) != (test.state == "") {
					t.Errorf("%+v, %v; want %q", p, err, test.state)
				}
				s.check()
			})
		})
	}
}

// TestBoughtBefore: an order that would be refused now is not, once it is
// bought.
func TestBoughtBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		slow := delivers
		slow.answer = func(context.Context) { <-release }
		s := newShop(t, newBook(t), slow)
		var down atomic.Bool
		desk := start(s, "one", func(p *process, cfg *purchase.Config) {
			cfg.MaxInFlight = 1
			p.fault = func(call string) fault {
				if call == "bykey" && down.Load() {
					return before
				}
				return fine
			}
		})
		sell := func(id string, most int64) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.sold.ID, s.sold.Max = id, most
		}
		go func() { release <- struct{}{} }()
		bought, err := desk.Buy(context.Background(), order("k"))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // until its work has left
		drained := make(chan error)
		for _, now := range []struct {
			name  string
			begin func()
			want  error
		}{
			{"network", func() { sell("glo", 50_000_00) }, purchase.ErrNetwork},
			{"limit", func() { sell("mtn", 50_00) }, purchase.ErrLimit},
			{"busy", func() {
				sell("mtn", 50_000_00)
				if _, err := desk.Buy(patience(t, time.Second), order("slow")); err != nil {
					t.Error(err)
				}
			}, purchase.ErrBusy},
			{"draining", func() {
				go func() { drained <- desk.Drain(context.Background()) }()
				synctest.Wait()
			}, purchase.ErrDraining},
		} {
			now.begin()
			if p, err := desk.Buy(context.Background(), order("k")); err != nil || p != bought {
				t.Errorf("%s: %+v, %v", now.name, p, err)
			}
			if _, err := desk.Buy(context.Background(), order("new")); !errors.Is(err, now.want) {
				t.Errorf("%s: %v", now.name, err)
			}
			other := order("k")
			other.Recipient = amina
			if _, err := desk.Buy(context.Background(), other); !errors.Is(err, purchase.ErrKeyReused) {
				t.Errorf("%s: %v", now.name, err)
			}
			down.Store(true)
			if p, err := desk.Buy(context.Background(), order("new")); !errors.Is(err, purchase.ErrUnknown) || errors.Is(err, now.want) || p.Ref != "" {
				t.Errorf("%s: %+v, %v", now.name, p, err)
			}
			down.Store(false)
		}
		sell("glo", 50_000_00)
		if p, err := desk.Buy(patience(t, time.Second), order("slow")); err != nil || p.State != purchase.Sending {
			t.Errorf("in flight: %+v, %v", p, err)
		}
		close(release)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if n := desk.Stats(); n.Refused != 1 || n.Repeated != 4 {
			t.Errorf("%+v", n)
		}
		desk.stop()
		s.check()
	})
}

// TestLedgerRefuses: what the ledger cannot keep is an answer and not a trouble
// to insist against.
func TestLedgerRefuses(t *testing.T) {
	for call, want := range map[string]error{"hold": purchase.ErrOrder, "attempt": nil} {
		synctest.Test(t, func(t *testing.T) {
			s := newShop(t, newBook(t), delivers)
			tries := 0
			desk := start(s, "one", func(p *process, _ *purchase.Config) {
				p.fault = func(c string) fault {
					if c != call {
						return fine
					}
					tries++
					return refuse
				}
			})
			p, err := desk.Buy(patience(t, time.Second), order("k"))
			if !errors.Is(err, want) || want == nil && (err != nil || p.State != purchase.Held) || errors.Is(err, purchase.ErrUnknown) {
				t.Errorf("%s: %+v, %v", call, p, err)
			}
			if n := desk.Stats(); tries != 1 || n.Failures != 0 || n.GivenUp != uint64(len(s.book.all())) {
				t.Errorf("%s: %d tries, %+v", call, tries, n)
			}
			desk.stop()
		})
	}
}

// TestLedgerTimeout: unless it is set, a call of the ledger that hangs leaves
// time to renew the lease.
func TestLedgerTimeout(t *testing.T) {
	for lease, want := range map[time.Duration]time.Duration{3 * time.Second: time.Second, 30 * time.Second: 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := newShop(t, newBook(t), delivers)
			hung := false
			desk := start(s, "one", func(p *process, cfg *purchase.Config) {
				cfg.Lease = lease
				p.fault = func(call string) fault {
					if call == "attempt" && !hung {
						hung = true
						return hang
					}
					return fine
				}
			})
			defer desk.stop()
			if p, err := desk.Buy(context.Background(), order("k")); err != nil || p.State != purchase.Delivered {
				t.Errorf("%+v, %v", p, err)
			}
			if took := time.Since(s.begun).Truncate(100 * time.Millisecond); took != want {
				t.Errorf("lease of %v: a call hung for %v, want %v", lease, took, want)
			}
		})
	}
}

// TestLog reads what an operator is told of a purchase.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := newShop(t, newBook(t), declines, losesOrder, works.thenDelivers())
		desk := start(s, "one", func(_ *process, cfg *purchase.Config) {
			cfg.NewID = func() int64 { return 33 }
			cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				if a.Value.Kind() == slog.KindDuration {
					t.Errorf("%s is logged as a number by other handlers", a.Key)
				}
				return a
			}}))
		})
		if _, err := desk.Buy(context.Background(), order("k")); err != nil {
			t.Fatal(err)
		}
		desk.stop()
		const about = " purchase=TXN-0000000000011 session=7 network=mtn recipient=234805***6543 amount_kobo=10000 "
		want := `level=INFO msg="attempt failed"` + about + `vendor=a outcome=declined reason=float try=1
level=WARN msg="purchase pending"` + about + `vendor=b reason=timeout try=2
level=INFO msg="attempt failed"` + about + `vendor=b outcome=not_sent reason=missing try=2
level=WARN msg="purchase pending"` + about + `vendor=c reason=pending try=3
level=INFO msg="purchase delivered"` + about + `reason="" vendor=c vendor_ref=V-3 attempts=3 took=39s
`
		if log.String() != want {
			t.Errorf("log\n%s\nwant\n%s", &log, want)
		}
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		release := make(chan struct{})
		slow := delivers
		slow.answer = func(context.Context) { <-release }
		s := newShop(t, b, slow)
		desk := start(s, "one", func(_ *process, cfg *purchase.Config) { cfg.MaxInFlight = 2 })
		defer desk.stop()
		for _, key := range []string{"1", "2"} {
			if p, err := desk.Buy(patience(t, time.Second), order(key)); err != nil || p.State != purchase.Sending {
				t.Fatalf("%+v, %v", p, err)
			}
		}
		if _, err := desk.Buy(patience(t, time.Second), order("3")); !errors.Is(err, purchase.ErrBusy) {
			t.Errorf("%v", err)
		}
		if n := desk.Stats(); n.InFlight != 2 || n.Refused != 1 {
			t.Errorf("%+v", n)
		}
		// Waiting for what is in flight needs no room.
		close(release)
		for _, key := range []string{"1", "2", "3"} {
			if p, err := desk.Buy(patience(t, time.Second), order(key)); err != nil || p.State != purchase.Delivered {
				t.Errorf("%+v, %v", p, err)
			}
		}
		s.check()
	})
}

func TestCheck(t *testing.T) {
	// pending makes a purchase that waits for its first query.
	pending := func(t *testing.T, does behaviour) (*shop, *process, purchase.Purchase) {
		s := newShop(t, newBook(t), does)
		desk := start(s, "one")
		t.Cleanup(desk.stop)
		p, err := desk.Buy(patience(t, time.Second), order("k"))
		if err != nil || p.State != purchase.Pending {
			t.Fatalf("%+v, %v", p, err)
		}
		return s, desk, p
	}
	test := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}

	test("queries at once", func(t *testing.T) {
		s, desk, p := pending(t, losesAnswer)
		p, err := desk.Check(context.Background(), amina, p.Ref)
		if err != nil || p.State != purchase.Delivered || p.VendorRef != "V-3" || p.Cost != 98_00 {
			t.Errorf("%+v, %v", p, err)
		}
		if _, err := desk.Check(context.Background(), amina, p.Ref); err != nil {
			t.Error(err)
		}
		if calls := s.transcript(); !slices.Equal(calls, []string{"0s vend a", "1s query a"}) {
			t.Errorf("calls %q", calls)
		}
		s.check()
	})
	test("answers with the query, decided or not", func(t *testing.T) {
		_, desk, p := pending(t, works)
		began := time.Now()
		p, err := desk.Check(context.Background(), amina, p.Ref)
		if err != nil || p.State != purchase.Pending || time.Since(began) != 0 {
			t.Errorf("%+v, %v after %v", p, err, time.Since(began))
		}
	})
	test("is for the payer only", func(t *testing.T) {
		s, desk, p := pending(t, losesAnswer)
		for _, ref := range []string{p.Ref, "TXN-0000000000000"} {
			if p, err := desk.Check(context.Background(), bola, ref); !errors.Is(err, purchase.ErrNotFound) || p.ID != 0 {
				t.Errorf("%+v, %v", p, err)
			}
		}
		if calls := s.transcript(); len(calls) != 1 {
			t.Errorf("calls %q", calls)
		}
	})
	test("many share one query", func(t *testing.T) {
		slow := losesAnswer
		slow.answer = func(context.Context) { pass(500 * time.Millisecond) }
		s, desk, p := pending(t, slow)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if p, err := desk.Check(context.Background(), amina, p.Ref); err != nil || p.State != purchase.Delivered {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
		wg.Wait()
		if calls := s.transcript(); len(calls) != 2 {
			t.Errorf("calls %q", calls)
		}
	})
	test("does not wait longer than its caller", func(t *testing.T) {
		slow := works
		slow.answer = func(context.Context) { pass(500 * time.Millisecond) }
		_, desk, p := pending(t, slow)
		p, err := desk.Check(patience(t, 100*time.Millisecond), amina, p.Ref)
		if err != nil || p.State != purchase.Pending {
			t.Errorf("%+v, %v", p, err)
		}
	})
	test("neither hastens nor delays the schedule", func(t *testing.T) {
		s, desk, p := pending(t, losesOrder)
		for range 300 {
			pass(100 * time.Millisecond)
			if p, err := desk.Check(context.Background(), amina, p.Ref); err != nil || p.State != purchase.Pending {
				t.Fatalf("%+v, %v after %v", p, err, time.Since(s.begun))
			}
		}
		s.settle()
		r := s.book.only()
		if took := r.DecidedAt.Sub(r.CreatedAt); took != 37*time.Second {
			t.Errorf("decided after %v", took)
		}
	})
	test("leaves what is another desk's to it", func(t *testing.T) {
		s, desk, p := pending(t, works)
		other := start(s, "two")
		t.Cleanup(other.stop)
		if q, err := other.Check(context.Background(), amina, p.Ref); err != nil || q != p {
			t.Errorf("%+v, %v", q, err)
		}
		if n := desk.Stats(); n.Queries[vendors.FoundPending] != 0 {
			t.Errorf("%+v", n)
		}
	})
}

func TestDrain(t *testing.T) {
	// vending makes a purchase whose vend takes so long.
	vending := func(t *testing.T, d time.Duration) (*shop, *process, purchase.Purchase) {
		slow := delivers
		slow.answer = func(ctx context.Context) {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
		}
		s := newShop(t, newBook(t), slow)
		desk := start(s, "one")
		p, err := desk.Buy(patience(t, time.Second), order("k"))
		if err != nil || p.State != purchase.Sending {
			t.Fatalf("%+v, %v", p, err)
		}
		return s, desk, p
	}

	t.Run("waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, desk, _ := vending(t, 15*time.Second)
			drained := make(chan error)
			go func() { drained <- desk.Drain(patience(t, 20*time.Second)) }()
			synctest.Wait()
			if _, err := desk.Buy(context.Background(), order("other")); !errors.Is(err, purchase.ErrDraining) {
				t.Errorf("buy while draining: %v", err)
			}
			// A lease that was not renewed meanwhile would be over.
			other := start(s, "two")
			defer other.stop()
			if p, err := desk.Buy(context.Background(), order("k")); err != nil || p.State != purchase.Delivered {
				t.Errorf("%+v, %v", p, err)
			}
			if err := <-drained; err != nil {
				t.Error(err)
			}
			<-desk.ended
			if until := s.book.lease("one"); until.After(time.Now()) {
				t.Errorf("lease until %v", until)
			}
			if calls := s.transcript(); len(calls) != 1 {
				t.Errorf("calls %q", calls)
			}
			s.check()
			desk.stop()
		})
	})
	t.Run("cuts off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, desk, _ := vending(t, time.Minute)
			err := desk.Drain(patience(t, time.Second))
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 purchases left in flight") {
				t.Errorf("%v", err)
			}
			<-desk.ended
			if r := s.book.only(); r.State != purchase.Sending {
				t.Errorf("left %s", r.State)
			}
			desk.stop()
			next := start(s, "two")
			s.settle()
			next.stop()
			if r := s.book.only(); r.State != purchase.Delivered || r.attempts[0].Queries != 1 {
				t.Errorf("%+v", r)
			}
			s.check()
		})
	})
	t.Run("begins nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var vends, asked atomic.Int32
			slow := losesAnswer
			slow.answer = func(context.Context) {
				if vends.Add(1) == 2 {
					pass(10 * time.Second)
				}
			}
			s := newShop(t, newBook(t), slow)
			desk := start(s, "one", func(p *process, cfg *purchase.Config) {
				cfg.LedgerTimeout = 3 * time.Second
				p.fault = func(call string) fault { // asked at 0s, 3s, 6s …
					if call == "due" {
						asked.Add(1)
						pass(2 * time.Second)
					}
					return fine
				}
			})
			for _, key := range []string{"1", "2"} {
				if _, err := desk.Buy(patience(t, 2*time.Second), order(key)); err != nil {
					t.Fatal(err)
				}
			}
			// At 4s the reconciler waits for the ledger, which will give it the
			// first purchase.
			if err := desk.Drain(context.Background()); err != nil {
				t.Error(err)
			}
			if calls := s.transcript(); len(calls) != 2 || time.Since(s.begun) != 12*time.Second {
				t.Errorf("calls %q after %v", calls, time.Since(s.begun))
			}
			if n := asked.Load(); n != 2 {
				t.Errorf("asked for work %d times", n)
			}
			desk.stop()
		})
	})
	t.Run("lets go of those who wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newShop(t, newBook(t), works)
			desk := start(s, "one")
			waited := make(chan purchase.Purchase)
			go func() {
				p, err := desk.Buy(context.Background(), order("k"))
				if err != nil {
					t.Error(err)
				}
				waited <- p
			}()
			synctest.Wait()
			if err := desk.Drain(context.Background()); err != nil {
				t.Error(err)
			}
			if p := <-waited; p.State != purchase.Pending {
				t.Errorf("%+v", p)
			}
			desk.stop()
		})
	})
}

// TestPanic has a vendor's code panic; the purchase is taken up again.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		bad := delivers
		bad.answer = func(ctx context.Context) {
			if _, ok := ctx.Deadline(); ok { // the vend, not the query
				panic("index out of range")
			}
		}
		s := newShop(t, newBook(t), bad)
		desk := start(s, "one", func(_ *process, cfg *purchase.Config) {
			cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		if p, err := desk.Buy(patience(t, time.Second), order("k")); err != nil || p.State != purchase.Sending {
			t.Errorf("%+v, %v", p, err)
		}
		s.settle()
		n := desk.Stats()
		desk.stop()
		if r := s.book.only(); r.State != purchase.Delivered || r.attempts[0].Queries != 1 {
			t.Errorf("%+v", r)
		}
		if n.Panics != 1 || n.Orphans != 1 || n.Decided[purchase.Delivered] != 1 {
			t.Errorf("%+v", n)
		}
		for _, want := range []string{"index out of range", "shop_test.go", "234805***6543"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q", want)
			}
		}
		for _, secret := range []string{amina, bola} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log has %s", secret)
			}
		}
		s.check()
	})
}
