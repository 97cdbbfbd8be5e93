package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	flushAt     = 512              // how many waiting steps cause a write before the next tick
	batchSteps  = 2000             // rows of one transaction: the money's transactions wait behind it
	saveTimeout = 10 * time.Second // for one batch; a store that hangs is as good as away
)

// writer collects what is to be stored and writes it in batches. Its methods
// may be called from any goroutine.
type writer struct {
	store  Store
	wallet Wallet
	log    *slog.Logger
	now    func() time.Time
	max    int
	counts *counts
	full   chan struct{} // a hint that flushAt is reached

	flushing sync.Mutex // one write at a time, so that batches keep their order

	mu      sync.Mutex
	records map[int64]Record    // newest of each session
	steps   []Step              // oldest first
	opens   map[string]struct{} // subscribers whose first dial this may be
	retryAt time.Time           // after a failed write
	backoff time.Duration
}

func newWriter(cfg Config, store Store, wallet Wallet, c *counts) *writer {
	return &writer{store: store, wallet: wallet, log: cfg.Log, now: cfg.Now, max: cfg.MaxPending, counts: c,
		full: make(chan struct{}, 1), records: make(map[int64]Record), opens: make(map[string]struct{})}
}

func (w *writer) open(msisdn string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.opens) < w.max {
		w.opens[msisdn] = struct{}{}
	}
}

func (w *writer) record(r Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(r)
}

func (w *writer) step(r Record, s Step) {
	w.mu.Lock()
	w.put(r)
	w.steps = append(w.steps, s)
	w.trim()
	n := len(w.steps)
	w.mu.Unlock()
	if n >= flushAt {
		select {
		case w.full <- struct{}{}:
		default:
		}
	}
}

// put keeps a record, if there is room for one more session. Call with w.mu.
func (w *writer) put(r Record) {
	if _, known := w.records[r.ID]; !known && len(w.records) >= w.max {
		w.counts.droppedRecords.Add(1)
		return
	}
	w.records[r.ID] = r
}

// trim drops the oldest steps beyond the limit. Call with w.mu.
func (w *writer) trim() {
	if over := len(w.steps) - w.max; over > 0 {
		w.steps = w.steps[over:]
		w.counts.droppedSteps.Add(int64(over))
	}
}

func (w *writer) pending() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.steps)
}

// run writes every flushEvery, and sooner when much waits, until ctx is done.
func (w *writer) run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.full:
		}
		w.mu.Lock()
		wait := w.now().Before(w.retryAt)
		w.mu.Unlock()
		if !wait {
			_ = w.flush(ctx) // logged and retried there
		}
	}
}

// batch is what one transaction writes.
type batch struct {
	records []Record
	steps   []Step
	opens   []string
}

func (b *batch) empty() bool { return len(b.records)+len(b.steps)+len(b.opens) == 0 }

// take takes the next batch out of what waits.
func (w *writer) take() batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b batch
	for id, r := range w.records {
		if len(b.records) == batchSteps {
			break
		}
		b.records = append(b.records, r)
		delete(w.records, id)
	}
	n := min(len(w.steps), batchSteps)
	b.steps, w.steps = w.steps[:n:n], w.steps[n:]
	for msisdn := range w.opens {
		b.opens = append(b.opens, msisdn)
	}
	clear(w.opens)
	return b
}

// putBack puts a batch that was not written behind what is newer.
func (w *writer) putBack(b batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range b.records {
		if _, newer := w.records[r.ID]; !newer {
			w.put(r)
		}
	}
	w.steps = append(b.steps, w.steps...)
	w.trim()
	for _, msisdn := range b.opens {
		w.opens[msisdn] = struct{}{}
	}
}

// flush writes everything collected so far. What could not be written stays for
// the next time.
func (w *writer) flush(ctx context.Context) error {
	w.flushing.Lock()
	defer w.flushing.Unlock()
	for {
		b := w.take()
		if b.empty() {
			return nil
		}
		rest, err := w.write(ctx, b)
		w.mu.Lock()
		if err == nil {
			w.retryAt, w.backoff = time.Time{}, 0
		} else {
			w.backoff = min(max(2*w.backoff, 200*time.Millisecond), 5*time.Second)
			w.retryAt = w.now().Add(w.backoff)
		}
		w.mu.Unlock()
		if err != nil {
			w.counts.writeErrors.Add(1)
			w.log.Error("writing sessions", "sessions", len(rest.records), "steps", len(rest.steps), "retry_in", w.backoff.String(), "err", err)
			w.putBack(rest)
			return err
		}
	}
}

// write writes a batch and gives what is still to be written of it. One row
// that the store will never take costs itself, not the batch.
func (w *writer) write(ctx context.Context, b batch) (rest batch, err error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	rest = b
	for len(rest.opens) > 0 {
		switch err := w.wallet.Open(ctx, rest.opens[0]); {
		case errors.Is(err, ErrInvalid):
			w.log.Error("wallet not opened", "msisdn", mask(rest.opens[0]), "err", err)
		case err != nil:
			return rest, err
		}
		rest.opens = rest.opens[1:]
	}
	if len(rest.records)+len(rest.steps) == 0 {
		return batch{}, nil
	}
	err = w.store.Save(ctx, rest.records, rest.steps)
	if !errors.Is(err, ErrInvalid) {
		return rest, err
	}
	for _, r := range rest.records {
		if err := w.store.Save(ctx, []Record{r}, nil); errors.Is(err, ErrInvalid) {
			w.drop("session", r.ID, err)
		} else if err != nil {
			return rest, err
		}
	}
	rest.records = nil
	for len(rest.steps) > 0 {
		s := rest.steps[0]
		if err := w.store.Save(ctx, nil, []Step{s}); errors.Is(err, ErrInvalid) {
			w.drop("step", s.Session, err)
		} else if err != nil {
			return rest, err
		}
		rest.steps = rest.steps[1:]
	}
	return batch{}, nil
}

func (w *writer) drop(what string, session int64, err error) {
	w.counts.droppedRecords.Add(1)
	w.log.Error(what+" not stored", "session", session, "err", err)
}
