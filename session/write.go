package session

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// flushAt is how many waiting steps cause a write before the next tick.
const flushAt = 512

// writer collects what is to be stored and writes it in batches. Its methods
// may be called from any goroutine; flush from one at a time is enough, and
// more do no harm.
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
	records map[int64]Record // newest of each session
	steps   []Step
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
	w.records[r.ID] = r
}

func (w *writer) step(r Record, s Step) {
	w.mu.Lock()
	w.records[r.ID] = r
	if len(w.steps) >= w.max {
		w.steps = append(w.steps[:0], w.steps[1:]...)
		w.counts.droppedSteps.Add(1)
	}
	w.steps = append(w.steps, s)
	n := len(w.steps)
	w.mu.Unlock()
	if n >= flushAt {
		select {
		case w.full <- struct{}{}:
		default:
		}
	}
}

// tick writes, unless a failed write is too recent.
func (w *writer) tick(ctx context.Context) {
	w.mu.Lock()
	wait := w.now().Before(w.retryAt)
	w.mu.Unlock()
	if !wait {
		_ = w.flush(ctx) // logged and retried there
	}
}

func (w *writer) pending() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.steps)
}

// flush writes everything collected so far. What could not be written stays
// for the next time, behind what is newer.
func (w *writer) flush(ctx context.Context) error {
	w.flushing.Lock()
	defer w.flushing.Unlock()
	w.mu.Lock()
	records, steps, opens := w.records, w.steps, w.opens
	if len(records) == 0 && len(steps) == 0 && len(opens) == 0 {
		w.mu.Unlock()
		return nil
	}
	w.records, w.steps, w.opens = make(map[int64]Record, len(records)), nil, make(map[string]struct{})
	w.mu.Unlock()

	err := w.write(ctx, records, steps, opens)

	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.retryAt, w.backoff = time.Time{}, 0
		return nil
	}
	w.counts.writeErrors.Add(1)
	w.backoff = min(max(2*w.backoff, 200*time.Millisecond), 5*time.Second)
	w.retryAt = w.now().Add(w.backoff)
	w.log.Error("writing sessions", "sessions", len(records), "steps", len(steps), "retry_in", w.backoff, "err", err)
	for id, r := range records {
		if _, newer := w.records[id]; !newer {
			w.records[id] = r
		}
	}
	w.steps = append(steps, w.steps...)
	if over := len(w.steps) - w.max; over > 0 {
		w.steps = w.steps[over:]
		w.counts.droppedSteps.Add(int64(over))
	}
	for msisdn := range opens {
		w.opens[msisdn] = struct{}{}
	}
	return err
}

func (w *writer) write(ctx context.Context, records map[int64]Record, steps []Step, opens map[string]struct{}) error {
	for msisdn := range opens {
		if err := w.wallet.Open(ctx, msisdn); err != nil {
			return err
		}
		delete(opens, msisdn)
	}
	if len(records) == 0 && len(steps) == 0 {
		return nil
	}
	batch := make([]Record, 0, len(records))
	for _, r := range records {
		batch = append(batch, r)
	}
	return w.store.Save(ctx, batch, steps)
}
