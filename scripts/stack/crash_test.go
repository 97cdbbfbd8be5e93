package stack_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ussdd/scripts/stack"
	"ussdd/vendors/purchase"
)

// crash is one history of a purchase: each life of the daemon but the last is
// killed at a boundary, the last heals everything.
type crash struct {
	name      string
	recipient string            // its last four digits choose what the vendors do
	faults    map[string]string // by provider, for the whole history
	lives     []string          // boundaries, one a life: "after-attempt:2" is the second passing
	shrink    bool              // from the second life on the network has its first endpoint only
	want      []string          // the states that the purchase may end in; "" = there is none
}

const good = "08061230001"

func crashes() []crash {
	down := map[string]string{"mtn": "down"}
	refuse := map[string]string{"mtn": "maintenance", "quickvend": "maintenance"}
	delivered, failed, either := []string{"delivered"}, []string{"failed"}, []string{"delivered", "failed"}
	return []crash{
		{name: "delivered", recipient: good, lives: []string{"before-hold"}, want: []string{""}},
		{name: "delivered", recipient: good, lives: []string{"after-hold"}, want: delivered},
		{name: "delivered", recipient: good, lives: []string{"before-attempt"}, want: delivered},
		{name: "delivered", recipient: good, lives: []string{"after-attempt"}, want: either},
		{name: "delivered", recipient: good, lives: []string{"after-vend"}, want: delivered},
		{name: "delivered", recipient: good, lives: []string{"after-record-delivered"}, want: delivered},
		{name: "delivered twice killed", recipient: good, lives: []string{"after-vend", "after-due"}, want: delivered},
		{name: "delivered thrice killed", recipient: good, lives: []string{"after-vend", "before-query", "after-query"}, want: delivered},
		{name: "fallback", recipient: good, faults: down, lives: []string{"after-record-held"}, want: delivered},
		{name: "fallback", recipient: good, faults: down, lives: []string{"before-attempt:2"}, want: delivered},
		{name: "fallback", recipient: good, faults: down, lives: []string{"after-attempt:2"}, want: either},
		{name: "fallback", recipient: good, faults: down, lives: []string{"after-vend:2"}, want: delivered},
		{name: "fallback", recipient: good, faults: down, lives: []string{"after-record-delivered"}, want: delivered},
		{name: "refused", recipient: good, faults: refuse, lives: []string{"after-record-held"}, want: failed},
		{name: "refused", recipient: good, faults: refuse, lives: []string{"after-vend:2"}, want: failed},
		{name: "refused", recipient: good, faults: refuse, lives: []string{"after-record-failed"}, want: failed},
		{name: "endpoint gone", recipient: good, faults: refuse, lives: []string{"after-record-held", "before-release"}, shrink: true, want: failed},
		{name: "endpoint gone", recipient: good, faults: refuse, lives: []string{"after-record-held", "after-release"}, shrink: true, want: failed},
		{name: "pending, then delivered", recipient: "08061239010", lives: []string{"after-record-pending"}, want: delivered},
		{name: "pending, then delivered", recipient: "08061239010", lives: []string{"before-query", "after-query", "after-record-delivered"}, want: delivered},
		{name: "pending, then failed", recipient: "08061239011", lives: []string{"after-query"}, want: failed},
		{name: "pending, then failed", recipient: "08061239011", lives: []string{"after-record-pending", "after-record-failed"}, want: failed},
		{name: "500 after delivering", recipient: "08061239005", lives: []string{"after-vend"}, want: delivered},
		{name: "500 after delivering", recipient: "08061239005", lives: []string{"after-record-pending"}, want: delivered},
		{name: "reset after delivering", recipient: "08061239007", lives: []string{"after-vend"}, want: delivered},
	}
}

// TestCrashAtEveryBoundary kills the daemon with SIGKILL at each boundary of a
// purchase, starts it again, and then has the wallet, the ledger, the purchase
// and the vendors' own count agree.
func TestCrashAtEveryBoundary(t *testing.T) {
	passed := make(map[string]bool)
	for _, c := range crashes() {
		for _, at := range c.lives {
			name, _, _ := strings.Cut(at, ":")
			passed[name] = true
		}
	}
	for _, b := range purchase.Boundaries {
		if !passed[b] {
			t.Errorf("no history is killed at %s", b)
		}
		delete(passed, b)
	}
	if len(passed) > 0 {
		t.Errorf("no such boundaries: %v", slices.Collect(maps.Keys(passed)))
	}
	engines(t, func(t *testing.T, database func(*testing.T, string) string) {
		for _, c := range crashes() {
			t.Run(c.name+"/"+strings.Join(c.lives, ","), func(t *testing.T) {
				t.Parallel()
				c.run(t, newRig(t, database))
			})
		}
	})
}

func (c crash) run(t *testing.T, r *rig) {
	for provider, fault := range c.faults {
		if err := r.Fault(r.ctx, provider, fault); err != nil {
			t.Fatal(err)
		}
	}
	// Short times, so that what waits for them does not take minutes. Yet the ledger
	// has a third of the lease, and a vend that half of its time-out is gone for is
	// not begun.
	r.Env = []string{"USSDD_LEASE=10s", "USSDD_STEP_BUDGET=10s", "USSDD_VEND_TIMEOUT=10s", "USSDD_VENDORS=" + vendorDir(t, r.Dir, false)}
	for i, at := range c.lives {
		if i == 1 && c.shrink {
			r.Env = append(r.Env, "USSDD_VENDORS="+vendorDir(t, r.Dir, true))
		}
		p, err := r.Daemon(r.ctx, "CRASH_AT="+at)
		if err != nil && !strings.Contains(fmt.Sprint(err), "ended: signal: killed") {
			t.Fatal(err)
		}
		if i == 0 {
			if err := r.sim.WaitBound(r.ctx, "ussdd"); err != nil {
				t.Fatal(err)
			}
			h := r.sim.Handset(caller)
			r.walk(h, order(c.recipient)...)
			confirmed, hangUp := context.WithCancel(r.ctx)
			go func() {
				<-p.Done()
				hangUp()
			}()
			_, _ = h.Answer(confirmed, "1") // a screen may come before the crash or not
			hangUp()
		}
		if p == nil {
			continue // killed before it said that it serves
		}
		select {
		case <-p.Done():
		case <-r.ctx.Done():
			t.Fatalf("life %d did not come to %s\n%s", i+1, at, p.Log())
		}
		if state := p.State(); !state.Signaled() || state.Signal() != syscall.SIGKILL {
			t.Fatalf("life %d ended with %v\n%s", i+1, state, p.Log())
		}
	}
	last := r.daemon()
	r.decided()
	rows := r.balanced()
	state := ""
	if len(rows) > 0 {
		state = rows[0].State
	}
	if len(rows) > 1 || !slices.Contains(c.want, state) {
		t.Errorf("purchases %+v, want one of %q\n%s", rows, c.want, last.Log())
	}
	r.told(rows)
	if err := last.Stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, last.Log())
	}
}

// vendorDir has the built-in vendors with time-outs that do not hang on the
// step's budget, with queries every other second and shorter proofs of absence,
// and with one endpoint a network if first is set.
func vendorDir(t *testing.T, dir string, first bool) string {
	t.Helper()
	dir = filepath.Join(dir, fmt.Sprintf("vendors-%v", first))
	if err := stack.WriteVendors(dir, stack.VendorTimes{Total: 15 * time.Second, Grace: time.Second, Found: 3, After: []time.Duration{2 * time.Second}}); err != nil {
		t.Fatal(err)
	}
	if !first {
		return dir
	}
	file := filepath.Join(dir, "routes.yaml")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, routes.ReplaceAll(text, []byte("route: [$1]")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var routes = regexp.MustCompile(`route: \[(\w+),[^]]*\]`)
