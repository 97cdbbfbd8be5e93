//go:build !linux

package smpptest

import (
	"os"
	"sync"
	"time"
)

// pacer ticks, as evenly as Go's timers can.
type pacer struct {
	tick  *time.Ticker
	close sync.Once
	done  chan struct{}
}

func newPacer(every time.Duration) (*pacer, error) {
	return &pacer{tick: time.NewTicker(every), done: make(chan struct{})}, nil
}

// wait returns at the next tick, at once if that is past; its error says that
// the pacer is closed.
func (p *pacer) wait() error {
	select {
	case <-p.tick.C:
		return nil
	case <-p.done:
		return os.ErrClosed
	}
}

// Close ends wait.
func (p *pacer) Close() error {
	p.tick.Stop()
	p.close.Do(func() { close(p.done) })
	return nil
}
