package smpptest

import "time"

// EnquireOnce is what happens every Config.EnquireLink.
func (s *Sim) EnquireOnce() { s.enquireOnce() }

// SetNextID makes id the number of the next dialogue.
func (s *Sim) SetNextID(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID = id - 1
}

// SetNow gives the SMSC another clock.
func (s *Sim) SetNow(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}
