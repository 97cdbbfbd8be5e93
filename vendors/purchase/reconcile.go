package purchase

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// hurry is the part of Config.Poll (one in so many) that passes between two
// polls while there is more to do, lest works that fail at once come round and
// round.
const hurry = 20

// Run keeps the desk's lease and brings to an end what is left open: pending
// purchases when their next query is due, and whatever a dead desk, a panic or
// a trouble of the ledger left behind. It returns nil once ctx is done, or the
// desk drained, and what it began has ended. Call it once.
func (d *Desk) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.base, cancel)()

	var begun sync.WaitGroup
	begun.Go(func() { d.keepLease(ctx) })
	failed := false
	for {
		more, err := d.poll(ctx, &begun)
		if err != nil && !failed && ctx.Err() == nil {
			d.log.Error("reconciler cannot work", "err", err)
		}
		failed = err != nil
		wait := d.cfg.Poll
		if more {
			wait /= hurry
		}
		if !pause(ctx, wait) {
			break
		}
	}
	begun.Wait()
	return nil
}

// keepLease renews the lease three times in its length, and more often when
// that fails.
func (d *Desk) keepLease(ctx context.Context) {
	failed := false
	for {
		wait := d.cfg.Lease / 3
		err := d.renew()
		if err != nil {
			wait = min(wait, lastWait)
			if !failed && ctx.Err() == nil {
				d.log.Error("lease in danger", "left", d.lease.left().String(), "err", err)
			}
		}
		failed = err != nil
		if !pause(ctx, wait) {
			return
		}
	}
}

// poll begins a work on each purchase that needs one. more tells that there may
// be others.
func (d *Desk) poll(ctx context.Context, begun *sync.WaitGroup) (more bool, err error) {
	d.mu.Lock()
	draining, limit := d.draining, d.running+d.cfg.MaxResumed
	d.mu.Unlock()
	if draining {
		return false, nil
	}
	call, cancel := context.WithTimeout(ctx, d.cfg.LedgerTimeout)
	defer cancel()
	if err := d.cover(); err != nil {
		return false, err
	}
	due, err := d.ledger.Due(call, d.cfg.Owner, d.cfg.Now(), limit)
	if err != nil {
		d.count(func(s *Stats) { s.Failures++ })
		return false, fmt.Errorf("due purchases: %w", err)
	}
	if len(due) > 0 {
		d.cfg.Boundary(afterDue)
	}
	took := 0
	for _, p := range due {
		if d.take(ctx, p, begun, func(w *work) error { return w.resume(p.Ref) }) {
			took++
		}
	}
	return took > 0 && len(due) == limit, d.recheck(ctx, begun)
}

// recheckAgain is when a decided purchase is asked about again after its vendor
// could not tell, and recheckFor for how long after the decision.
const (
	recheckAgain = 30 * time.Minute
	recheckFor   = 48 * time.Hour
)

// recheck begins a work on each decided purchase whose vendors are to be asked
// again.
func (d *Desk) recheck(ctx context.Context, begun *sync.WaitGroup) error {
	call, cancel := context.WithTimeout(ctx, d.cfg.LedgerTimeout)
	defer cancel()
	now := d.cfg.Now()
	due, err := d.ledger.Rechecks(call, d.cfg.Owner, now, now.Add(recheckAgain), d.cfg.MaxResumed)
	if err != nil {
		d.count(func(s *Stats) { s.Failures++ })
		return fmt.Errorf("rechecks: %w", err)
	}
	for _, p := range due {
		d.take(ctx, p, begun, func(w *work) error { return w.recheck(p.Ref) })
	}
	return nil
}

// take begins a work on p unless there is one. It waits for a slot.
func (d *Desk) take(ctx context.Context, p Purchase, begun *sync.WaitGroup, life func(*work) error) bool {
	d.mu.Lock()
	f := d.files[p.Key]
	working := f != nil && f.working
	d.mu.Unlock()
	if working {
		return false
	}
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f = d.join(p.Key)
	defer d.leave(p.Key, f)
	if f.working || d.draining {
		<-d.slots
		return false
	}
	d.note(f, p)
	if p.Open() {
		d.stats.Resumed++
	} else {
		d.stats.Rechecked++
	}
	if p.State == Held || p.State == Sending {
		d.stats.Orphans++
		d.log.Warn("taking up an orphan", "purchase", p.Ref, "state", p.State)
	}
	begun.Add(1)
	d.begin(p.Key, f, life, func() {
		<-d.slots
		begun.Done()
	})
	return true
}

// cover makes sure that the lease lasts for at least half its length, which a
// renewal that took long does not give.
func (d *Desk) cover() error {
	if d.lease.left() >= d.cfg.Lease/2 {
		return nil
	}
	if err := d.renew(); err != nil {
		return err
	}
	if left := d.lease.left(); left < d.cfg.Lease/2 {
		return fmt.Errorf("renew lease: only %v left of it", left)
	}
	return nil
}

// clockMargin is the part of the lease (one in so many) that the desk does not
// count on, since others judge the lease by their own clocks.
const clockMargin = 10

// renew begins the lease anew. Callers at the same time share one call of the
// ledger.
func (d *Desk) renew() error {
	_, err, _ := d.renewal.Do("", func() (any, error) {
		if d.base.Err() != nil {
			return nil, errLost
		}
		ctx, cancel := context.WithTimeout(d.base, d.cfg.LedgerTimeout)
		defer cancel()
		until := d.cfg.Now().Add(d.cfg.Lease)
		if err := d.ledger.Renew(ctx, d.cfg.Owner, until); err != nil {
			return nil, fmt.Errorf("renew lease: %w", err)
		}
		d.lease.extend(until.Add(-d.cfg.Lease / clockMargin))
		return nil, nil
	})
	return err
}

// giveUpLease lets others take over the pending purchases at once.
func (d *Desk) giveUpLease() {
	ctx, cancel := context.WithTimeout(context.Background(), stopFor)
	defer cancel()
	now := d.cfg.Now()
	d.lease.extend(now)
	if err := d.ledger.Renew(ctx, d.cfg.Owner, now); err != nil {
		d.log.Warn("lease not given up", "err", err)
	}
}
