package purchase_test

import (
	"context"
	"fmt"

	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/vendors/purchase"
)

// lives are purchases that together take every way through the life of one.
var lives = []struct {
	name string
	does []behaviour
}{
	{"delivered", []behaviour{delivers, delivers}},
	{"rejected", []behaviour{rejects, delivers}},
	{"declined, delivered", []behaviour{declines, delivers, delivers}},
	{"unreachable, unavailable", []behaviour{unreachable, broken}},
	{"answer lost, found delivered", []behaviour{losesAnswer, delivers}},
	{"pending, found failed", []behaviour{works.thenFails(), delivers}},
	{"declined, pending, found delivered", []behaviour{declines, works.thenDelivers(), delivers}},
	{"never arrived, delivered", []behaviour{losesOrder, delivers}},
	{"no route", nil},
}

// history is one purchase in one bubble: begun in one process, which something
// happens to, and always brought to its end.
type history struct {
	*shop
	t *testing.T

	mu      sync.Mutex
	counted []string // what happened, for the enumeration: calls or boundaries
	over    bool
}

// next counts one more thing that happens, and gives its index; -1 once the
// history is over.
func (h *history) next(what string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return -1
	}
	h.counted = append(h.counted, what)
	return len(h.counted) - 1
}

// press confirms, as a subscriber does who presses again when told of an error.
func (h *history) press(p *process) {
	for range 3 {
		if _, err := p.Buy(patience(h.t, 5*time.Second), order("k")); err == nil {
			return
		}
	}
}

// end waits until the purchase is decided and checks everything.
func (h *history) end(processes ...*process) {
	h.t.Helper()
	h.settle()
	h.mu.Lock()
	h.over = true
	h.mu.Unlock()
	for _, p := range processes {
		p.stop()
	}
	h.book.only()
	h.check()
}

// enumerate plays a history for each index of what happens in it, from 0 until
// there is none, and gives what happened in the longest.
func enumerate(t *testing.T, does []behaviour, play func(h *history, at int)) []string {
	var longest []string
	for at := 0; ; at++ {
		var h *history
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h = &history{shop: newShop(t, newBook(t), does...), t: t}
				play(h, at)
			})
		})
		if len(h.counted) > len(longest) {
			longest = h.counted
		}
		if t.Failed() || at >= len(h.counted) {
			return longest
		}
	}
}

// TestLedgerFails has each call of the ledger fail, in turn: one call, or all
// from there on until the process is started again; before it does anything, or
// after it was committed.
func TestLedgerFails(t *testing.T) {
	for _, life := range lives {
		for name, how := range map[string]fault{"before": before, "after": after} {
			t.Run(life.name+"/one "+name, func(t *testing.T) {
				// Nobody notices, neither the caller nor the purchase.
				var want purchase.Purchase
				enumerate(t, life.does, func(h *history, at int) {
					one := start(h.shop, "one", func(p *process, _ *purchase.Config) {
						p.fault = func(call string) fault {
							if h.next(call) == at-1 {
								return how
							}
							return fine
						}
					})
					if _, err := one.Buy(patience(h.t, 5*time.Second), order("k")); err != nil {
						h.t.Error(err)
					}
					h.settle()
					n := one.Stats()
					h.end(one)
					got := h.book.only().Purchase
					if at == 0 {
						want = got
					}
					if got.State != want.State || got.Reason != want.Reason || got.Version != want.Version || n.Orphans+n.Conflicts > 0 {
						h.t.Errorf("%+v\nundisturbed %+v\n%+v", got, want, n)
					}
				})
			})
			t.Run(life.name+"/all "+name, func(t *testing.T) {
				enumerate(t, life.does, func(h *history, at int) {
					one := start(h.shop, "one", func(p *process, _ *purchase.Config) {
						p.fault = func(call string) fault {
							if i := h.next(call); i >= at {
								return how
							}
							return fine
						}
					})
					h.press(one)
					one.stop()
					two := start(h.shop, "two")
					h.press(two)
					h.end(two)
				})
			})
		}
	}
}

// TestCrash has the process die at each boundary that a purchase passes, and the
// process that takes over die at each boundary that it passes then.
func TestCrash(t *testing.T) {
	var died sync.Map
	dieAt := func(h *history, at int) func(*process, *purchase.Config) {
		return boundary(func(p *process, name string) {
			if h.next(name) == at {
				died.Store(name, true)
				p.die()
			}
		})
	}
	for _, life := range lives {
		t.Run(life.name, func(t *testing.T) {
			enumerate(t, life.does, func(h *history, at int) {
				one := start(h.shop, "one", dieAt(h, at))
				h.press(one)
				h.settleUnless(one.dead)
				one.stop()
				two := start(h.shop, "two")
				h.press(two)
				h.end(two)
			})
		})
		t.Run(life.name+", twice", func(t *testing.T) {
			for first := 0; ; first++ {
				passed := 0
				enumerate(t, life.does, func(h *history, at int) {
					before := &history{}
					one := start(h.shop, "one", dieAt(before, first))
					h.press(one)
					h.settleUnless(one.dead)
					one.stop()
					passed = len(before.counted)
					two := start(h.shop, "two", dieAt(h, at))
					h.press(two)
					h.settleUnless(two.dead)
					two.stop()
					three := start(h.shop, "three")
					h.press(three)
					h.end(three)
				})
				if t.Failed() || first >= passed {
					break
				}
			}
		})
	}
	for _, name := range purchase.Boundaries {
		if _, ok := died.Load(name); !ok {
			t.Errorf("nothing passes %s", name)
		}
	}
}

// TestStandstill has a process stand still at each boundary, and while it
// connects to a vendor, for so long that another takes over, and then go on as if
// nothing had happened.
func TestStandstill(t *testing.T) {
	for _, life := range lives {
		for _, d := range []time.Duration{8 * time.Second, 25 * time.Second, 10 * time.Minute} {
			t.Run(fmt.Sprintf("%s/%v", life.name, d), func(t *testing.T) {
				enumerate(t, life.does, func(h *history, at int) {
					still := func(p *process, name string) {
						if h.next(name) == at {
							p.freeze(d)
						}
					}
					one := start(h.shop, "one", boundary(still))
					for vendor, b := range h.does {
						b.connect = func(_ context.Context, p *process) {
							if p == one {
								still(p, "connect")
							}
						}
						h.does[vendor] = b
					}
					two := start(h.shop, "two")
					h.press(one)
					h.press(two)
					h.settle()
					synctest.Wait() // a standstill at the very end has begun
					one.wait()
					synctest.Wait() // and what it does afterwards is done
					h.end(one, two)
				})
			})
		}
	}
}
