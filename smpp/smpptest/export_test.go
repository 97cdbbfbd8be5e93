package smpptest

// EnquireOnce is what happens every Config.EnquireLink.
func (s *Sim) EnquireOnce() { s.enquireOnce() }
