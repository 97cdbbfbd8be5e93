package session

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	batchRows   = 2000             // rows given to the Store at once
	saveTimeout = 10 * time.Second // for one batch; a store that hangs is as good as away
	knownMax    = 100_000          // subscribers remembered as having a wallet, at least
)

// A write comes no sooner than writeShare times what the last one took, so that
// it keeps little of the subscribers' time from them, but not so late that a
// session is stored more than maxBehind after its step. Only a store that takes
// longer than that makes it so.
const (
	minPause   = 100 * time.Millisecond
	maxBehind  = time.Second
	writeShare = 20
)

// The store is asked every so often for sessions that are live nowhere: those of
// a process that died, whose subscribers never came back. Their last step is
// longer ago than any session lives, and than clocks differ and writes are late.
const (
	expireEvery  = time.Minute
	expireMargin = 5 * time.Minute
	expireRows   = 500 // ended at once
)

// writer is what the Engine needs to write behind.
type writer struct {
	ghosts atomic.Int64  // sessions that have ended and are kept only to be written
	hint   chan struct{} // a write is due at once

	flushing sync.Mutex // one write at a time; it guards what follows
	taken    []*dialogue
	records  []Record
	known    recent // subscribers who have a wallet
	slow     bool

	mu      sync.Mutex
	steps   []Step    // oldest first
	spare   []Step    // empty, for the steps while those are written
	stored  time.Time // what was so then is stored
	retryAt time.Time // after a failed write
	backoff time.Duration
}

// wait notes that d is to be written. The shard is locked.
func (sh *shard) wait(d *dialogue) {
	if d.slot == 0 && !d.lost {
		sh.waiting = append(sh.waiting, d)
		d.slot = int32(len(sh.waiting))
	}
}

// unwait takes that back. The shard is locked.
func (sh *shard) unwait(d *dialogue) {
	if d.slot == 0 {
		return
	}
	last := len(sh.waiting) - 1
	moved := sh.waiting[last]
	sh.waiting[d.slot-1], moved.slot = moved, d.slot
	sh.waiting[last] = nil
	sh.waiting = sh.waiting[:last]
	d.slot = 0
}

// finish keeps the last record of a session until it is written, if there is
// room for one more. The shard is locked.
func (e *Engine) finish(sh *shard, d *dialogue, rec Record) {
	d.final = &rec
	if e.w.ghosts.Add(1) > int64(e.cfg.MaxPending) {
		e.w.ghosts.Add(-1)
		e.counts.droppedRecords.Add(1)
		sh.unwait(d)
		d.lost = true
		return
	}
	sh.wait(d)
}

// logStep keeps a step for the step log.
func (e *Engine) logStep(s Step) {
	e.w.mu.Lock()
	e.w.steps = append(e.w.steps, s)
	e.trim()
	n := len(e.w.steps)
	e.w.mu.Unlock()
	if n == e.cfg.MaxPending/2 {
		e.hurry()
	}
}

// hurry lets the next write come at once.
func (e *Engine) hurry() {
	select {
	case e.w.hint <- struct{}{}:
	default:
	}
}

// trim drops the oldest steps beyond the limit. Call with writer.mu.
func (e *Engine) trim() {
	if over := len(e.w.steps) - e.cfg.MaxPending; over > 0 {
		e.w.steps = e.w.steps[over:]
		e.counts.droppedSteps.Add(int64(over))
	}
}

// writeBehind writes until ctx is done.
func (e *Engine) writeBehind(ctx context.Context) {
	pause := time.NewTimer(minPause)
	defer pause.Stop()
	var expire time.Time // when to look for sessions that are live nowhere
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		case <-e.w.hint:
		}
		began := e.cfg.Now()
		e.w.mu.Lock()
		early := began.Before(e.w.retryAt)
		e.w.mu.Unlock()
		if early {
			pause.Reset(minPause)
			continue
		}
		more, err := e.write(ctx)
		took := e.cfg.Now().Sub(began)
		switch {
		case err != nil:
			pause.Reset(minPause)
			continue
		case more:
			pause.Reset(0)
		case !began.Before(expire): // what has ended here is written
			if !e.expireStored(ctx, began) {
				expire = began.Add(expireEvery)
			}
			pause.Reset(minPause)
		case e.draining.Load(): // there may soon be no more time
			pause.Reset(minPause)
		default:
			pause.Reset(max(minPause, min(writeShare*took, maxBehind-took)))
		}
		e.judge(took)
	}
}

// expireStored ends stored sessions that are live nowhere, and reports whether
// there may be more.
func (e *Engine) expireStored(ctx context.Context, at time.Time) (more bool) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	n, err := e.store.Expire(ctx, at.Add(-e.cfg.MaxLength-expireMargin), at, expireRows)
	if err != nil {
		e.log.Error("ending sessions that were left open", "err", err)
		return false
	}
	e.counts.ended[slices.Index(Reasons, Expired)].Add(int64(n))
	return n == expireRows
}

// judge tells when the store becomes too slow, and when it is in time again.
func (e *Engine) judge(took time.Duration) {
	e.w.flushing.Lock()
	defer e.w.flushing.Unlock()
	switch {
	case took > maxBehind:
		e.counts.slowWrites.Add(1)
		if !e.w.slow {
			e.w.slow = true
			e.log.Warn("writing sessions is slow: a crash now would lose where subscribers are", "took", took.String())
		}
	case e.w.slow && took < maxBehind/2:
		e.w.slow = false
		e.log.Info("writing sessions is in time again", "took", took.String())
	}
}

// Flush writes everything that waits to be written. What could not be written
// stays for the next time.
func (e *Engine) Flush(ctx context.Context) error {
	for {
		if more, err := e.write(ctx); err != nil || !more {
			return err
		}
	}
}

// write writes the sessions that wait, and then steps until none is left or the
// sessions have to be written again. It reports whether steps are left, or very
// many have come meanwhile.
func (e *Engine) write(ctx context.Context) (more bool, err error) {
	e.w.flushing.Lock()
	defer e.w.flushing.Unlock()
	began := e.cfg.Now()
	sessions, err := e.writeSessions(ctx)
	e.w.mu.Lock()
	var steps []Step
	if err == nil {
		e.w.stored = began
		steps, e.w.steps, e.w.spare = e.w.steps, e.w.spare, nil
	}
	e.w.mu.Unlock()

	left := steps
	for len(left) > 0 && err == nil {
		batch := left[:min(len(left), batchRows)]
		var unsaved []Step
		unsaved, err = e.saveSteps(ctx, batch)
		left = left[len(batch)-len(unsaved):]
		if e.cfg.Now().Sub(began) > maxBehind {
			break
		}
	}

	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if len(left) > 0 {
		e.w.steps = append(left, e.w.steps...)
		e.trim()
	} else if steps != nil {
		clear(steps)
		e.w.spare = steps[:0]
	}
	if err == nil {
		e.w.retryAt, e.w.backoff = time.Time{}, 0
		return len(left) > 0 || len(e.w.steps) >= e.cfg.MaxPending/2, nil
	}
	e.counts.writeErrors.Add(1)
	e.w.backoff = min(max(2*e.w.backoff, 200*time.Millisecond), 5*time.Second)
	e.w.retryAt = e.cfg.Now().Add(e.w.backoff)
	e.log.Error("writing sessions", "sessions", sessions, "steps", len(e.w.steps), "retry_in", e.w.backoff.String(), "err", err)
	return true, err
}

// writeSessions writes the sessions that wait, and gives how many still do when
// there is an error. The oldest come first: neighbours in time are neighbours in
// the store.
func (e *Engine) writeSessions(ctx context.Context) (left int, err error) {
	for i := range e.shards {
		sh := &e.shards[i]
		sh.mu.Lock()
		for _, d := range sh.waiting {
			d.slot = 0
		}
		e.w.taken = append(e.w.taken, sh.waiting...)
		clear(sh.waiting)
		sh.waiting = sh.waiting[:0]
		sh.mu.Unlock()
	}
	defer func() {
		clear(e.w.taken)
		e.w.taken = e.w.taken[:0]
	}()
	slices.SortFunc(e.w.taken, func(a, b *dialogue) int { return cmp.Compare(a.id, b.id) })
	for rest := e.w.taken; len(rest) > 0; {
		batch := rest[:min(len(rest), batchRows)]
		unsaved, err := e.saveSessions(ctx, batch)
		if err != nil {
			e.putBack(unsaved)
			e.putBack(rest[len(batch):])
			return len(unsaved) + len(rest) - len(batch), err
		}
		rest = rest[len(batch):]
	}
	return 0, nil
}

// putBack lets sessions wait again.
func (e *Engine) putBack(unsaved []*dialogue) {
	for _, d := range unsaved {
		sh := e.shard(d.key.MSISDN)
		sh.mu.Lock()
		sh.wait(d)
		sh.mu.Unlock()
	}
}

// saveSessions writes sessions as they are now, and gives those that are not
// written when there is an error. One that the store will never take costs
// itself, not the batch.
func (e *Engine) saveSessions(ctx context.Context, batch []*dialogue) (unsaved []*dialogue, err error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	records, begun := e.w.records[:0], []string(nil)
	defer func() { clear(records) }()
	unsaved = batch[:0]
	for _, d := range batch {
		sh := e.shard(d.key.MSISDN)
		sh.mu.Lock()
		sh.unwait(d) // what has changed since it was taken goes along
		if !d.lost {
			unsaved, records = append(unsaved, d), append(records, d.record())
		}
		sh.mu.Unlock()
		if d.begun {
			begun = append(begun, d.key.MSISDN)
		}
	}
	e.w.records = records
	if err := e.openWallets(ctx, begun); err != nil {
		return unsaved, err
	}
	err = e.store.Save(ctx, records, nil)
	if err == nil {
		for i := range records {
			e.settle(&records[i])
		}
		return nil, nil
	}
	if !errors.Is(err, ErrInvalid) {
		return unsaved, err
	}
	for i := range records {
		if err := e.store.Save(ctx, records[i:i+1], nil); errors.Is(err, ErrInvalid) {
			e.counts.droppedRecords.Add(1)
			e.log.Error("session not stored", "session", records[i].ID, "err", err)
		} else if err != nil {
			return unsaved[i:], err
		}
		e.settle(&records[i])
	}
	return nil, nil
}

// settle takes note that a record needs no room any more.
func (e *Engine) settle(r *Record) {
	if !r.Ended.IsZero() {
		e.w.ghosts.Add(-1)
	}
}

// openWallets gives wallets to subscribers who may not have one yet.
func (e *Engine) openWallets(ctx context.Context, msisdns []string) error {
	msisdns = slices.DeleteFunc(msisdns, func(msisdn string) bool { return e.w.known.has(maphash.String(e.seed, msisdn)) })
	if len(msisdns) == 0 {
		return nil
	}
	err := e.wallet.Open(ctx, msisdns)
	if errors.Is(err, ErrInvalid) {
		for i, msisdn := range msisdns {
			if err := e.wallet.Open(ctx, msisdns[i:i+1]); errors.Is(err, ErrInvalid) {
				e.log.Error("wallet not opened", "msisdn", mask(msisdn), "err", err)
			} else if err != nil {
				return err
			}
		}
	} else if err != nil {
		return err
	}
	for _, msisdn := range msisdns {
		e.w.known.add(maphash.String(e.seed, msisdn))
	}
	return nil
}

// saveSteps writes steps, and gives those that are not written when there is an
// error. One that the store will never take costs itself.
func (e *Engine) saveSteps(ctx context.Context, steps []Step) (unsaved []Step, err error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := e.store.Save(ctx, nil, steps); !errors.Is(err, ErrInvalid) {
		if err != nil {
			return steps, err
		}
		return nil, nil
	}
	for i := range steps {
		if err := e.store.Save(ctx, nil, steps[i:i+1]); errors.Is(err, ErrInvalid) {
			e.counts.droppedSteps.Add(1)
			e.log.Error("step not stored", "session", steps[i].Session, "err", err)
		} else if err != nil {
			return steps[i:], err
		}
	}
	return nil, nil
}

// behind is how long ago everything was stored that was in memory then.
func (e *Engine) behind() time.Duration {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	return e.cfg.Now().Sub(e.w.stored)
}

// pending is how many steps wait to be written.
func (e *Engine) pending() int {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	return len(e.w.steps)
}
