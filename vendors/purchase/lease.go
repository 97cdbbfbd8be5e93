package purchase

import (
	"context"
	"sync"
	"time"
)

// lease is what this process believes about its own lease: it certainly holds
// until then, since the belief begins before the ledger is told of it.
type lease struct {
	now func() time.Time

	mu    sync.Mutex
	until time.Time
}

func (l *lease) extend(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
}

// left is how long the lease still lasts, by the clock that has advanced most:
// the monotonic one stands still while a virtual machine is paused, and the
// wall clock can be set back.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	return min(l.until.Sub(now), l.until.Round(0).Sub(now.Round(0)))
}

// bound gives a context that ends when the lease does, however often that is
// put off meanwhile. It is over already if the lease is.
func (l *lease) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	left := l.left()
	if left <= 0 {
		cancel()
	}
	go func() {
		defer cancel()
		for ; left > 0; left = l.left() {
			if !pause(ctx, left) {
				return
			}
		}
	}()
	return ctx, cancel
}

// pause waits for d; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
