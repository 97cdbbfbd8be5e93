package smpptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// LoadConfig says what a Load asks of an ESME.
type LoadConfig struct {
	Listen  string  // TCP address; empty: 127.0.0.1:0
	Account Account // who may bind; without a SystemID everyone
	Binds   int     // connections that take deliver_sm to wait for before the first dial; 0: 1

	Dialogues int           // subscribers, each in one dialogue at any time; at most MaxLoadDialogues; required
	Walk      []LoadStep    // what each of them does, and then again from its first step; nil: AirtimeWalk
	Think     time.Duration // closed loop: from a screen to the next input; 0: at once
	Rate      float64       // open loop: inputs per second of all dialogues together, whatever the ESME does; 0: closed loop
	Ramp      time.Duration // closed loop: the first dials are spread over it; 0: over Think

	Warmup   time.Duration // from the first dial until anything is measured
	Duration time.Duration // of measuring; 0: until Steps
	Steps    int           // ends the measuring sooner; 0: Duration alone
	Timeout  time.Duration // a screen that takes longer is an error; 0: 10 s

	// Measuring, if set, is called when the measured time begins, and again
	// when it is over, on Run's goroutine.
	Measuring func(on bool)
}

// LoadStep is one input of a subscriber and the screen that answers it. The
// first step of a walk is a dial, to its own Send; the screen of the last one
// must end the dialogue and no other may.
type LoadStep struct {
	Send string // what the subscriber types, in ASCII
	See  string // what must stand on the screen, in ASCII; empty: anything
}

// AirtimeWalk goes through the built-in airtime menu to the confirmation of a
// purchase, back again and out. It buys nothing and asks for no wallet.
func AirtimeWalk() []LoadStep {
	return []LoadStep{
		{"*999#", "Welcome"}, {"1", "Select Network"}, {"1", "Enter phone"}, {"1", "Select Amount"}, {"4", "Amount: N500"},
		{"0", "Select Amount"}, {"0", "Enter phone"}, {"0", "Select Network"}, {"0", "Welcome"}, {"0", "Thank you"},
	}
}

// MaxLoadDialogues is the most that a Load can have.
const MaxLoadDialogues = 10_000_000

const (
	defaultLoadTimeout = 10 * time.Second
	loadSweepEvery     = 100 * time.Millisecond // how often late screens are looked for, and failed dialogues begun anew
	goodbyeTimeout     = time.Second            // for the ESME to unbind
	maxLoadProblems    = 5                      // described in a report; all are counted
)

// loadPhase is how far a Load is.
type loadPhase int

const (
	loadWarmup loadPhase = iota
	loadMeasuring
	loadOver
)

// Load is an SMSC that does nothing but keep an ESME busy, with many
// subscribers in the dialect "standard", and measures how long their screens
// take. It costs a fraction of what an ESME does: it allocates nothing per
// step, reads many PDUs at once and answers them with one write.
//
// Screens are checked by their session, operation and a piece of text. Who
// needs a strict reader of PDUs takes a Sim.
type Load struct {
	cfg      LoadConfig
	listener net.Listener
	inputs   [][]byte // one deliver_sm for each step of the walk, see send
	see      [][]byte
	gap      int64 // nanoseconds between two dials, or between two inputs of an open loop
	epoch    time.Time

	bound  chan struct{} // closed when enough connections have bound
	failed chan error    // the first reason why the run cannot go on
	enough chan struct{} // closed when cfg.Steps are made
	ended  sync.WaitGroup

	// Everything below is guarded by mu, which is held while one batch of PDUs
	// is worked off and written. Writes under it do not wait.
	mu        sync.Mutex
	closed    bool
	conns     []*loadConn // all
	receivers []*loadConn // those that take deliver_sm; does not change from the first dial on
	subs      []loadSubscriber
	phase     loadPhase
	since     [loadOver + 1]int64 // when each phase began
	slot      int                 // inputs that came round by the clock so far: the first dials, or all of an open loop
	thinking  []int32             // closed loop: who thinks, a ring with the first due at head
	head      int
	thinkers  int // in the ring
	waiting   int // subscribers that wait for a screen
	times     loadTimes
	report    LoadReport
}

// loadSubscriber is one phone.
type loadSubscriber struct {
	since      int64 // waiting: when its input was written or, if it was overdue then, was due
	due        int64 // when its next input is due
	step       int32 // of the walk: whose screen it waits for, or whose input comes next
	state      loadState
	id         byte // session number
	counter    byte // of the last screen, to be repeated
	generation byte // tells the inputs apart, see send
}

type loadState byte

const (
	loadIdle     loadState = iota // did not dial yet
	loadWaits                     // for a screen
	loadThinks                    // until due
	loadHungUp                    // after an error; the next sweep dials anew
	loadFinished                  // the run is over
)

// LoadReport is what a Load has measured. Times are in microseconds, from the
// moment when a deliver_sm is written to when its submit_sm is read. An input of
// an open loop that was due before the screen before it had come counts from
// when it was due.
type LoadReport struct {
	Dialogues      int      `json:"dialogues"`
	Binds          int      `json:"binds"`
	Rate           float64  `json:"rate,omitempty"`    // inputs per second that an open loop meant to make
	Think          float64  `json:"think_s,omitempty"` // seconds
	Seconds        float64  `json:"seconds"`           // measured
	Steps          int      `json:"steps"`             // screens in this time
	StepsPerSecond float64  `json:"steps_per_s"`
	P50            float64  `json:"p50_us"`
	P95            float64  `json:"p95_us"`
	P99            float64  `json:"p99_us"`
	Max            float64  `json:"max_us"`
	Begun          int      `json:"dialogues_begun"`    // in this time
	Ended          int      `json:"dialogues_ended"`    // in this time, by the walk's last screen
	Behind         float64  `json:"behind_us"`          // how late the Load itself was with an input at worst
	Wrong          int      `json:"wrong"`              // screens of the whole run that were not as they had to be
	Refused        int      `json:"refused"`            // deliver_sm of the whole run that were refused
	TimedOut       int      `json:"timed_out"`          // screens of the whole run that did not come in time
	Lost           int      `json:"lost"`               // screens awaited on a connection that ended
	Problems       []string `json:"problems,omitempty"` // what the first few errors were
}

// Errors is how much went wrong.
func (r *LoadReport) Errors() int { return r.Wrong + r.Refused + r.TimedOut + r.Lost }

// String is the report for people, in lines that end in \n.
func (r *LoadReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d dialogues on %d binds, %.1f s: %d steps, %.0f steps/s; %d dialogues begun, %d ended\n",
		r.Dialogues, r.Binds, r.Seconds, r.Steps, r.StepsPerSecond, r.Begun, r.Ended)
	fmt.Fprintf(&b, "deliver_sm to submit_sm: p50 %.0f µs, p95 %.0f µs, p99 %.0f µs, max %.0f µs\n", r.P50, r.P95, r.P99, r.Max)
	if r.Rate > 0 {
		fmt.Fprintf(&b, "%.0f inputs/s meant; the load source was late by %.0f µs at most\n", r.Rate, r.Behind)
	}
	fmt.Fprintf(&b, "errors: %d wrong, %d refused, %d timed out, %d lost\n", r.Wrong, r.Refused, r.TimedOut, r.Lost)
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "  %s\n", p)
	}
	return b.String()
}

// StartLoad listens. The caller has to call Close.
func StartLoad(cfg LoadConfig) (*Load, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	l := &Load{cfg: cfg, epoch: time.Now(), bound: make(chan struct{}), failed: make(chan error, 1), enough: make(chan struct{})}
	var err error
	if l.inputs, err = cfg.inputs(); err != nil {
		return nil, err
	}
	for _, step := range cfg.Walk {
		l.see = append(l.see, []byte(step.See))
	}
	if cfg.Rate > 0 {
		l.gap = int64(float64(time.Second) / cfg.Rate)
	} else {
		l.gap = int64(cfg.Ramp) / int64(cfg.Dialogues)
	}
	l.subs = make([]loadSubscriber, cfg.Dialogues)
	if cfg.Think > 0 {
		l.thinking = make([]int32, cfg.Dialogues)
	}
	l.report = LoadReport{Dialogues: cfg.Dialogues, Rate: cfg.Rate, Think: cfg.Think.Seconds()}
	if l.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, err
	}
	l.ended.Go(l.accept)
	return l, nil
}

// withDefaults fills in what is zero.
func (c LoadConfig) withDefaults() LoadConfig {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Binds == 0 {
		c.Binds = 1
	}
	if c.Walk == nil {
		c.Walk = AirtimeWalk()
	}
	if c.Ramp == 0 {
		c.Ramp = c.Think
	}
	if c.Timeout == 0 {
		c.Timeout = defaultLoadTimeout
	}
	return c
}

// Check returns everything that is wrong with the configuration.
func (c LoadConfig) Check() error {
	c = c.withDefaults()
	var errs []error
	problem := func(wrong bool, text string) {
		if wrong {
			errs = append(errs, errors.New(text))
		}
	}
	problem(c.Dialogues < 1 || c.Dialogues > MaxLoadDialogues, fmt.Sprintf("dialogues must be from 1 to %d", MaxLoadDialogues))
	problem(c.Binds < 1, "binds must be 1 or more")
	problem(c.Think < 0 || c.Ramp < 0 || c.Warmup < 0 || c.Duration < 0 || c.Timeout < 0 || c.Steps < 0, "times and steps must not be negative")
	problem(c.Rate < 0 || c.Rate > maxLoadRate, fmt.Sprintf("rate must be from 0 to %d", maxLoadRate))
	problem(c.Rate > 0 && (c.Think > 0 || c.Ramp > 0), "an open loop thinks for dialogues divided by rate: rate and think, or ramp, exclude each other")
	problem(c.Duration == 0 && c.Steps == 0, "without a duration and a number of steps the load would never end")
	problem(len(c.Walk) == 0, "the walk has no step")
	if _, err := c.inputs(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// maxLoadRate is the fastest open loop, in inputs per second.
const maxLoadRate = 1_000_000

// Addr is where ESMEs can connect, host:port.
func (l *Load) Addr() string { return l.listener.Addr().String() }

// WaitBound waits until enough connections have bound.
func (l *Load) WaitBound(ctx context.Context) error {
	select {
	case <-l.bound:
		return nil
	case err := <-l.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run waits until enough connections have bound, makes the load and reports on
// it. At the end it unbinds the ESME; dialogues that are open then are left to
// it. The error says why the run could not be completed; there is a report of
// what was until then in any case. Run can be called once.
func (l *Load) Run(ctx context.Context) (*LoadReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := l.WaitBound(ctx); err != nil {
		return l.finish(), err
	}
	if err := l.begin(ctx); err != nil {
		return l.finish(), err
	}
	sweep := time.NewTicker(loadSweepEvery)
	defer sweep.Stop()

	timer := time.NewTimer(l.cfg.Warmup)
	defer timer.Stop()
	if err := l.until(ctx, timer.C, nil, sweep.C); err != nil {
		return l.finish(), err
	}
	if l.cfg.Measuring != nil {
		l.cfg.Measuring(true)
	}
	l.enter(loadMeasuring)
	var end <-chan time.Time
	if l.cfg.Duration > 0 {
		timer.Reset(l.cfg.Duration)
		end = timer.C
	}
	err := l.until(ctx, end, l.enough, sweep.C)
	l.enter(loadOver)
	if l.cfg.Measuring != nil {
		l.cfg.Measuring(false)
	}
	if err == nil {
		err = l.drain(ctx, sweep.C)
	}
	if err == nil {
		l.goodbye()
	}
	return l.finish(), err
}

// Close disconnects everyone and waits until nothing of the Load runs any more;
// Run has to have returned, or never to be called.
func (l *Load) Close() {
	_ = l.listener.Close() // the accepting goroutine sees that
	l.mu.Lock()
	l.closed = true
	for _, c := range l.conns {
		c.nc.Close()
	}
	l.mu.Unlock()
	l.ended.Wait()
}

// until sweeps until the time or the steps are over.
func (l *Load) until(ctx context.Context, end <-chan time.Time, enough <-chan struct{}, sweep <-chan time.Time) error {
	for {
		select {
		case <-end:
			return nil
		case <-enough:
			return nil
		case <-sweep:
			l.sweep()
		case err := <-l.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain waits for the screens that are still to come; those that never do are
// timed out by the sweep.
func (l *Load) drain(ctx context.Context, sweep <-chan time.Time) error {
	for {
		l.mu.Lock()
		waiting := l.waiting
		l.mu.Unlock()
		if waiting == 0 {
			return nil
		}
		select {
		case <-sweep:
			l.sweep()
		case err := <-l.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// finish completes the report.
func (l *Load) finish() *LoadReport {
	l.enter(loadOver)
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.report
	r.Binds = len(l.receivers)
	if from := l.since[loadMeasuring]; from > 0 {
		r.Seconds = time.Duration(l.since[loadOver] - from).Seconds()
	}
	if r.Seconds > 0 {
		r.StepsPerSecond = float64(r.Steps) / r.Seconds
	}
	r.P50, r.P95, r.P99, r.Max = l.times.quantile(0.50), l.times.quantile(0.95), l.times.quantile(0.99), l.times.quantile(1)
	return &r
}

// enter begins a phase, if it has not begun.
func (l *Load) enter(p loadPhase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase < p {
		l.phase, l.since[p] = p, l.now()
	}
}

// now is the time in nanoseconds since the Load began.
func (l *Load) now() int64 { return int64(time.Since(l.epoch)) }

// begin makes the first dials, and keeps the pace of what does not follow from
// a screen alone.
func (l *Load) begin(ctx context.Context) error {
	start := l.now()
	l.turn(start, start)
	if l.gap == 0 && l.cfg.Think == 0 {
		return nil
	}
	pace, err := newPacer(l.paceEvery())
	if err != nil {
		return fmt.Errorf("timer: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = pace.Close() })
	l.ended.Go(func() {
		defer stop()
		for pace.wait() == nil {
			l.turn(start, l.now())
		}
		_ = pace.Close() // twice is no harm
	})
	return nil
}

// paceEvery is how often to look whose input is due: for each alone, within
// reason.
func (l *Load) paceEvery() time.Duration {
	every := time.Duration(l.gap)
	if l.cfg.Think > 0 {
		if each := l.cfg.Think / time.Duration(l.cfg.Dialogues); every == 0 || each < every {
			every = each
		}
	}
	return min(max(every, 50*time.Microsecond), time.Millisecond)
}

// turn sends what is due; start is when the first slot was.
func (l *Load) turn(start, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.flush()
	if l.phase == loadOver {
		return
	}
	for l.cfg.Rate > 0 || l.slot < len(l.subs) {
		due := start + int64(l.slot)*l.gap
		if due > now {
			break
		}
		if l.phase == loadMeasuring {
			l.report.Behind = max(l.report.Behind, float64(now-due)/1000)
		}
		i := l.slot % len(l.subs)
		s := &l.subs[i]
		if s.state == loadIdle {
			s.due = due
			l.send(i, 0)
		} else if s.state == loadThinks && s.due <= now {
			l.send(i, 0)
		}
		l.slot++
	}
	for l.thinkers > 0 {
		i := l.thinking[l.head]
		if l.subs[i].due > now {
			break
		}
		l.head = (l.head + 1) % len(l.thinking)
		l.thinkers--
		if l.subs[i].state == loadThinks {
			l.send(int(i), 0)
		}
	}
}

// think plans the next input of a subscriber who has a screen before it. The
// caller holds l.mu, as for everything below.
func (l *Load) think(i int, now int64) {
	s := &l.subs[i]
	switch {
	case l.phase == loadOver:
		s.state = loadFinished
	case l.cfg.Rate > 0:
		if s.due += int64(len(l.subs)) * l.gap; s.due <= now {
			l.send(i, s.due)
			return
		}
		s.state = loadThinks // its slot comes
	case l.cfg.Think > 0:
		s.state, s.due = loadThinks, now+int64(l.cfg.Think)
		l.thinking[(l.head+l.thinkers)%len(l.thinking)] = int32(i)
		l.thinkers++
	default:
		l.send(i, 0)
	}
}

// fail ends a subscriber's dialogue after an error. It dials anew at the next
// sweep, so that an ESME in trouble is not hammered.
func (l *Load) fail(i int, count *int, format string, args ...any) {
	l.problem(count, format, args...)
	l.waiting--
	s := &l.subs[i]
	s.state, s.step, s.counter = loadHungUp, 0, 0
	s.id++
}

func (l *Load) problem(count *int, format string, args ...any) {
	*count++
	if len(l.report.Problems) < maxLoadProblems {
		l.report.Problems = append(l.report.Problems, fmt.Sprintf(format, args...))
	}
}

// sweep times screens out and lets those dial anew who had to hang up.
func (l *Load) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for i := range l.subs {
		s := &l.subs[i]
		switch {
		case s.state == loadWaits && now-s.since > int64(l.cfg.Timeout):
			l.fail(i, &l.report.TimedOut, "no screen after %q within %s", l.cfg.Walk[s.step].Send, l.cfg.Timeout)
		case s.state == loadHungUp && l.phase != loadOver && l.cfg.Rate > 0:
			for s.due <= now {
				s.due += int64(len(l.subs)) * l.gap
			}
			s.state = loadThinks
		case s.state == loadHungUp && l.phase != loadOver:
			l.send(i, 0)
		}
	}
	l.flush()
}
