package smpp

import (
	"bytes"
	"time"
)

const (
	// slowest is the rate that throttling goes down to, in messages per second,
	// unless less is configured: what an SMSC refuses at that rate is not too
	// much traffic.
	slowest = 10

	// recoverEvery is the time from one step of the recovery to the next, and
	// recoverSteps how many steps a whole one takes.
	recoverEvery = time.Second
	recoverSteps = 16

	// burst is for how long a bind saves up the messages that it did not send.
	burst = 50 * time.Millisecond
)

// pace says how much a bind may send: its window and its rate in force. They
// are reduced when the SMSC says that it is too much, and grow back by and by.
type pace struct {
	window, maxWindow int
	keepsWindow       bool      // the window counts those who think: it is not reduced
	rate, maxRate     float64   // messages per second; 0: no limit
	whole             float64   // the rate at which a recovery is over
	recovers          time.Time // when the next step of the recovery is due; zero: there is none
	saved             float64   // messages that may go at once
	savedAt           time.Time
}

func newPace(cfg *Config) pace {
	return pace{
		window: cfg.Window, maxWindow: cfg.Window, keepsWindow: cfg.Profile.AfterUser,
		rate: cfg.Rate, maxRate: cfg.Rate, whole: cfg.Rate,
	}
}

// take counts one message, or returns for how long the rate does not allow it.
func (p *pace) take(now time.Time) time.Duration {
	if p.rate == 0 {
		return 0
	}
	most := max(1, p.rate*burst.Seconds())
	p.saved = most - max(0, most-p.saved-p.rate*now.Sub(p.savedAt).Seconds())
	p.savedAt = now
	if p.saved < 1 {
		return max(tickGrain, time.Duration((1-p.saved)/p.rate*float64(time.Second))+1)
	}
	p.saved--
	return 0
}

// halve reduces the rate, and the window unless that counts those who think. sending is the rate at which the bind
// has sent lately: half of that is the limit if there was none.
func (p *pace) halve(now time.Time, sending float64) {
	if !p.keepsWindow {
		p.window = max(1, p.window/2)
	}
	rate := p.rate
	if rate == 0 {
		rate = sending
	}
	if p.recovers.IsZero() && p.maxRate == 0 {
		p.whole = max(rate, slowest)
	}
	lowest := float64(slowest)
	if p.maxRate > 0 {
		lowest = min(lowest, p.maxRate)
	}
	p.rate = max(rate/2, lowest)
	p.hold(now)
}

// hold puts the next step of the recovery off.
func (p *pace) hold(now time.Time) {
	if p.reduced() {
		p.recovers = now.Add(recoverEvery)
	}
}

// reduced reports whether less is in force than is configured.
func (p *pace) reduced() bool { return p.window < p.maxWindow || p.rate != p.maxRate }

// recover takes the steps of the recovery that are due.
func (p *pace) recover(now time.Time) {
	for !p.recovers.IsZero() && !now.Before(p.recovers) {
		p.window = min(p.window+max(1, p.maxWindow/recoverSteps), p.maxWindow)
		if p.rate != p.maxRate {
			if p.rate += p.whole / recoverSteps; p.rate >= p.whole {
				p.rate = p.maxRate
			}
		}
		p.recovers = p.recovers.Add(recoverEvery)
		if !p.reduced() {
			p.recovers = time.Time{}
		}
	}
}

// slowDown reduces the pace of a bind because of the answer to r: once, however
// many of the messages that were under way with r are answered like it. It
// reports whether this was that once. Call with Link.mu.
func (c *conn) slowDown(r *reply) bool {
	now := time.Now()
	b := c.bind
	b.pace.recover(now)
	if r.offset < c.slowedAt {
		b.pace.hold(now)
		return false
	}
	c.slowedAt = c.queued
	b.pace.halve(now, b.sent.peak(now))
	return true
}

// tellPace logs the pace if it has been slowed down. Call without Link.mu: a log
// may wait for its disk.
func (b *bind) tellPace(slowed bool) {
	if !slowed {
		return
	}
	b.link.mu.Lock()
	window, rate := b.pace.window, b.pace.rate
	b.link.mu.Unlock()
	b.link.log.Debug("link slows down", "bind", b.name, "window", window, "rate", rate)
}

// congestionState returns the congestion_state of a response, 0 to 99; zero if
// it says nothing (SMPP 5.0 §4.8.4.18).
func congestionState(h Header, frame []byte) byte {
	body := frame[HeaderLen:]
	if end := bytes.IndexByte(body, 0); end == len(body)-1 {
		return 0 // a message_id and no more, as nearly always
	}
	var m Message
	if Decode(frame, &m) != nil {
		return 0
	}
	if v, ok := m.TLVs.Get(tagCongestionState); ok && len(v) == 1 {
		return v[0]
	}
	return 0
}

// Congestion states from which on the pace does not grow, and is reduced (SMPP
// 5.0 §4.8.4.18).
const (
	nearlyCongested = 80
	congested       = 90
)

// meter measures a rate over the last whole second or more.
type meter struct {
	since time.Time
	count uint64 // since then
	last  float64
}

// add counts n more. The first call starts the clock.
func (m *meter) add(n int, now time.Time) {
	m.turn(now)
	m.count += uint64(n)
}

func (m *meter) turn(now time.Time) {
	if d := now.Sub(m.since); d >= time.Second {
		if !m.since.IsZero() {
			m.last = float64(m.count) / d.Seconds()
		}
		m.since, m.count = now, 0
	}
}

// rate returns how much there was a second lately.
func (m *meter) rate(now time.Time) float64 {
	m.turn(now)
	return m.last
}

// peak is like rate, or what there has been since then if that was more.
func (m *meter) peak(now time.Time) float64 {
	m.turn(now)
	return max(m.last, float64(m.count)/max(now.Sub(m.since).Seconds(), 0.1))
}
