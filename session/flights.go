package session

import (
	"context"
	"sync"
)

// flights counts what runs in the background, up to a limit. Unlike with a
// WaitGroup, new ones may begin while somebody waits for the last to land.
type flights struct {
	max int

	mu   sync.Mutex
	n    int
	idle chan struct{} // if set, closed when n is 0
}

// fly runs f in a goroutine of its own, if there is room for one more.
func (s *flights) fly(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n >= s.max {
		return false
	}
	s.n++
	go func() {
		defer s.land()
		f()
	}()
	return true
}

func (s *flights) land() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n--; s.n == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

func (s *flights) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// wait returns when nothing is in flight, or with ctx's error.
func (s *flights) wait(ctx context.Context) error {
	s.mu.Lock()
	if s.n == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
