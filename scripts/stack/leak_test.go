package stack_test

import (
	"bufio"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ussdd/scripts/stack"
	"ussdd/smpp/smpptest"
)

// metric reads one sample of a daemon's /metrics, 0 if it is not there.
func (r *rig) metric(p *stack.Process, sample string) float64 {
	r.t.Helper()
	code, body := r.get("http://" + p.Admin + "/metrics")
	if code != http.StatusOK {
		r.t.Fatalf("/metrics: %d %s", code, body)
	}
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), sample+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				r.t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// holdings is what a daemon holds on to.
type holdings struct{ goroutines, files, bytes float64 }

func (r *rig) holdings(p *stack.Process) holdings {
	r.t.Helper()
	return holdings{
		goroutines: r.metric(p, "go_goroutines"),
		files:      r.metric(p, "process_open_fds"),
		bytes:      r.metric(p, "go_memstats_heap_alloc_bytes"),
	}
}

// tightHeap makes the collector run so often that what is allocated is hardly
// more than what is held.
const tightHeap = "GOGC=5"

// settles waits until a daemon holds no more than it did before. The heap may
// have grown by what a map and a log buffer keep for good, which does not depend
// on how often something was done.
func (r *rig) settles(p *stack.Process, before holdings) {
	r.t.Helper()
	var now holdings
	defer func() {
		if r.t.Failed() {
			r.t.Logf("held %+v before, %+v now", before, now)
		}
	}()
	r.until(func() bool {
		now = r.holdings(p)
		// A scrape has a connection and goroutines of its own.
		return now.goroutines <= before.goroutines+2 && now.files <= before.files+1 && now.bytes <= before.bytes+2<<20
	})
}

func TestAHundredReloadsLeakNothing(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	p := r.daemon(tightHeap)
	reload := func(n int) {
		t.Helper()
		if err := p.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		r.until(func() bool { return r.metric(p, `ussdd_reloads_total{result="ok"}`) == float64(n) })
	}
	const warm = 10
	for n := range warm {
		reload(n + 1)
	}
	before := r.holdings(p)
	for n := range 100 {
		reload(warm + n + 1)
	}
	r.settles(p, before)
}

func TestAThousandReconnectsLeakNothing(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	p := r.daemon(tightHeap, "USSDD_SMSC_SIM_RECONNECT_MIN=1ms", "USSDD_SMSC_SIM_RECONNECT_MAX=2ms")
	drop := func(until float64) {
		t.Helper()
		for r.metric(p, `ussdd_link_reconnects_total{smsc="sim"}`) < until {
			for range 20 {
				if err := r.sim.WaitBound(r.ctx, ""); err != nil {
					t.Fatal(err)
				}
				r.sim.Drop()
			}
		}
	}
	drop(20)
	before := r.holdings(p)
	drop(1020)
	r.settles(p, before)
	r.walk(r.sim.Handset(caller), [2]string{"*999#", "1. Buy Airtime"})
}

func TestAThousandRefusedBindsLeakNothing(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	sim, err := smpptest.Start(smpptest.Config{Accounts: []smpptest.Account{{SystemID: stack.SystemID, Refuse: 0x0D}}})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	r.SMSCAddr = sim.Addr()
	p, err := r.Daemon(r.ctx, tightHeap, "USSDD_SMSC_SIM_RECONNECT_MIN=1ms", "USSDD_SMSC_SIM_RECONNECT_MAX=2ms")
	if err != nil {
		t.Fatal(err)
	}
	refused := func() float64 { return r.metric(p, `ussdd_link_bind_refused_total{smsc="sim",status="0x0d"}`) }
	r.until(func() bool { return refused() >= 20 })
	before := r.holdings(p)
	from := refused()
	r.until(func() bool { return refused() >= from+1000 })
	r.settles(p, before)
	if n := strings.Count(p.Log(), "bind refused"); n > 3 {
		t.Errorf("the log has the same refusal %d times", n)
	}
}
