package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"ussdd/scripts/stack"
)

// clock counts the orders that have begun, which is the time of saboteurs.
type clock struct {
	mu      sync.Mutex
	orders  int
	changed chan struct{}
}

func (c *clock) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.orders++
	close(c.changed)
	c.changed = make(chan struct{})
}

// await waits until so many orders have begun; false if ctx ended first.
func (c *clock) await(ctx context.Context, orders int) bool {
	for {
		c.mu.Lock()
		now, changed := c.orders, c.changed
		c.mu.Unlock()
		if now >= orders {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// strikeAll has one saboteur do what he is to do.
func (r *run) strikeAll(ctx context.Context, strikes []strike) {
	for _, s := range strikes {
		if !r.clock.await(ctx, s.at) || !pause(ctx, s.after) {
			return
		}
		if err := r.strike(ctx, s); err != nil {
			if ctx.Err() == nil {
				r.fail("%s %s: %v", s.what, s.target, err)
			}
			return
		}
		r.count("struck: " + s.what)
	}
}

func (r *run) strike(ctx context.Context, s strike) error {
	switch s.what {
	case killOne, reload:
		i, err := strconv.Atoi(s.target)
		if err != nil {
			return err
		}
		if s.what == reload {
			return r.reload(i)
		}
		return r.kill(ctx, i)
	case killAll:
		return r.kill(ctx, r.all()...)
	case killDB:
		return r.maria.Kill(ctx)
	case cutLinks:
		r.sim.Drop()
		return nil
	case unbind:
		// An ESME that is killed meanwhile answers no unbind.
		limited, cancel := context.WithTimeout(ctx, leaveTime)
		defer cancel()
		_ = r.sim.Unbind(limited)
		return nil
	case payIn:
		return r.payIn(ctx, s)
	}
	fault, _ := strings.CutPrefix(s.what, misdeed)
	if err := r.Fault(ctx, s.target, fault); err != nil {
		return err
	}
	r.clock.mu.Lock()
	until := r.clock.orders + s.n
	r.clock.mu.Unlock()
	r.clock.await(ctx, min(until, r.plan.orders))
	return r.Fault(ctx, s.target, "none")
}

// all are the numbers of all instances.
func (r *run) all() []int {
	list := make([]int, len(r.instances))
	for i := range list {
		list[i] = i
	}
	return list
}

// kill ends instances with SIGKILL and starts them again, as systemd would.
func (r *run) kill(ctx context.Context, which ...int) error {
	for _, i := range which {
		p := r.instance(i)
		select {
		case <-p.Done():
			return fmt.Errorf("it has ended by itself: %v\n%s", p.State(), tail(p.Log()))
		default:
		}
		p.Kill()
	}
	for _, i := range which {
		if err := r.start(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// cutOff is how often something took an ussdd away from what it was doing: its
// life, its links or its database.
func (r *run) cutOff() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.counts["struck: "+killOne]
	for _, what := range []string{killAll, killDB, cutLinks, unbind} {
		n += r.counts["struck: "+what] * len(r.instances)
	}
	return n
}

// startAgain is how long after a start that failed the next one is made.
const startAgain = 200 * time.Millisecond

// start starts an instance. While the database is away it does not start, and is
// started again.
func (r *run) start(ctx context.Context, i int) error {
	for {
		p, err := r.Instance(ctx, instanceName(i))
		if err == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.instances[i] = p
			return nil
		}
		if r.maria == nil {
			return err
		}
		r.count("starts that failed")
		if !pause(ctx, startAgain) {
			return err
		}
	}
}

// instanceName is that of an instance's log, too.
func instanceName(i int) string { return "ussdd-" + strconv.Itoa(i+1) }

// instance is the latest process of an instance.
func (r *run) instance(i int) *stack.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.instances[i]
}

// reload has an instance read its files again. It may be dead at the moment.
func (r *run) reload(i int) error {
	_ = r.instance(i).Signal(syscall.SIGHUP)
	return nil
}

// payIn is an operator who pays into a wallet, as often as it takes to succeed,
// and then once more by mistake.
func (r *run) payIn(ctx context.Context, s strike) error {
	i, err := strconv.Atoi(s.target)
	if err != nil {
		return err
	}
	who := r.plan.subscribers[i].msisdn
	reference := fmt.Sprintf("chaos-%d-%d", i, s.at)
	for done := 0; done < 2; {
		if _, err := r.Ctl(ctx, "wallet", "credit", "-reference", reference, who, strconv.Itoa(s.n)); err == nil {
			done++
		} else if !pause(ctx, startAgain) {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paid[who] += int64(s.n) * kobo
	return nil
}

// ready tells whether an instance says that it is.
func (r *run) ready(ctx context.Context, i int) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.instance(i).Admin+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// tail is the end of a log.
func tail(log string) string { return log[max(0, len(log)-4000):] }
