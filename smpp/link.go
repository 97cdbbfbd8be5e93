package smpp

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// Link is one SMSC and the binds to it, which it keeps up. All methods are safe
// for concurrent use.
type Link struct {
	cfg      Config
	profile  *Profile
	handler  Handler
	admitter Admitter     // nil: everybody is admitted
	knower   Knower       // nil: no dialogue is known to live
	receipts ReceiptTaker // nil: receipts are ignored
	log      *slog.Logger
	binds    []*bind
	counts   counters
	traces   traces
	people   *people // nil: PDUs leave nothing out

	mu       sync.Mutex
	ran      bool // Run was called
	closed   bool // Run is ending, or has ended
	admin    Admin
	running  context.Context    // Run's
	serving  context.Context    // done while the binds are to be down; nil before Run
	down     context.CancelFunc // ends serving
	up       chan struct{}      // closed when serving is a new one
	warned   bool               // that the SMSC tells no version
	lastErr  string             // why the last connection of any bind ended
	homeless fifo               // replies that no bind can take now
	alarm    *time.Timer        // for Run's goroutine, which keeps the time of the homeless; nil before Run
	alarmAt  time.Time          // zero: not set
	waits    waits              // who has a reply that waits

	// The last reply in flight of each dialogue. Nil where nobody asks for it: in
	// a profile without AfterUser and with a counter.
	unproven map[Dialogue]*reply
}

// NewLink returns a link that is not running yet; the error lists everything
// that is wrong with cfg. The link calls h while Run runs only. If h is an
// Admitter or a Knower, it is asked before dialogues begin; if it is a
// ReceiptTaker, it gets the receipts of short messages.
func NewLink(cfg Config, h Handler) (*Link, error) {
	if h == nil {
		return nil, fmt.Errorf("link %s: no handler", cfg.Name)
	}
	cfg = cfg.withDefaults()
	p := *cfg.Profile
	p.Text.Max = cfg.MaxText
	cfg.Profile = &p
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("link %s: %w", cfg.Name, err)
	}
	l := &Link{
		cfg:     cfg,
		profile: cfg.Profile,
		handler: h,
		log:     cfg.Log.With("smsc", cfg.Name),
		waits:   newWaits(cfg.Queue),
		people:  newPeople(&p),
	}
	l.admitter, _ = h.(Admitter)
	l.knower, _ = h.(Knower)
	l.receipts, _ = h.(ReceiptTaker)
	if p.AfterUser || p.Session.counter() == 0 {
		l.unproven = make(map[Dialogue]*reply)
	}
	for _, a := range cfg.Accounts {
		if len(a.Password) > maxPassword {
			l.log.Warn("password is longer than SMPP 3.4 allows", "system_id", a.SystemID, "allowed", maxPassword)
		}
		for range cfg.Binds {
			l.addBind(a)
		}
	}
	return l, nil
}

// addBind adds a transceiver, or a pair.
func (l *Link) addBind(a Account) {
	name := strconv.Itoa(len(l.binds) + 1)
	if l.cfg.Mode == Transceiver {
		l.binds = append(l.binds, newBind(l, name, transceiver, a))
		return
	}
	name = strconv.Itoa(len(l.binds)/2 + 1)
	tx, rx := newBind(l, name+"tx", transmitter, a), newBind(l, name+"rx", receiver, a)
	tx.partner, rx.partner = rx, tx
	l.binds = append(l.binds, tx, rx)
}

// Run binds, serves the binds and binds again whenever one is lost, until ctx is
// done; then it sends what waits to be sent, unbinds, and returns nil. It gives
// the SMSC Config.UnbindTimeout to answer the unbind, and an unbind_resp of ours
// as long to be written. The Handler is not called any more after Run has
// returned. Run can be called once; its error is about a second call.
func (l *Link) Run(ctx context.Context) error {
	l.mu.Lock()
	if l.ran {
		l.mu.Unlock()
		return fmt.Errorf("link %s: run called twice", l.cfg.Name)
	}
	l.ran = true
	l.running = ctx
	l.up = make(chan struct{})
	l.serving, l.down = context.WithCancel(ctx)
	if l.admin == Down {
		l.down()
	}
	l.alarm = time.NewTimer(time.Hour)
	l.alarm.Stop()
	l.mu.Unlock()

	closing := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closed = true
	})
	defer closing()
	var binds sync.WaitGroup
	for _, b := range l.binds {
		binds.Go(func() { b.run(ctx) })
	}
	ended := make(chan struct{})
	go func() {
		binds.Wait()
		close(ended)
	}()
	for running := true; running; {
		select {
		case <-l.alarm.C:
			l.refuse(l.expireHomeless(time.Now()), ErrLinkLost)
		case <-ended:
			running = false
		}
	}
	l.mu.Lock()
	l.closed = true
	l.alarm.Stop()
	l.down()
	rest := l.takeHomeless(func(*reply) bool { return true })
	l.mu.Unlock()
	l.refuse(rest, ErrClosed)
	return nil
}

// SetAdmin says what is wanted of the link from now on; it does not wait until
// that is so. Down unbinds as the end of Run does.
func (l *Link) SetAdmin(a Admin) {
	l.mu.Lock()
	from := l.admin
	l.admin = a
	if l.serving != nil && !l.closed {
		switch {
		case a == Down:
			l.down()
		case l.serving.Err() != nil:
			l.serving, l.down = context.WithCancel(l.running)
			close(l.up)
			l.up = make(chan struct{})
		}
	}
	l.mu.Unlock()
	if from != a {
		l.log.Info("link is wanted "+a.String(), "from", from.String())
	}
}

// whenUp waits until the binds are to be up, and returns a context that is done
// as soon as they are not; nil if ctx is done first.
func (l *Link) whenUp(ctx context.Context) context.Context {
	for ctx.Err() == nil {
		l.mu.Lock()
		serving, up := l.serving, l.up
		l.mu.Unlock()
		if serving.Err() == nil {
			return serving
		}
		select {
		case <-up:
		case <-ctx.Done():
		}
	}
	return nil
}

// emit gives an event to the handler.
func (l *Link) emit(e *Event) {
	l.counts.events[e.Op].Add(1)
	l.handler.HandleUSSD(e)
}

// malformed counts a PDU that cannot be used, and logs the first of its kind.
func (l *Link) malformed(kind string, attrs ...any) {
	if add(&l.counts.mu, &l.counts.malformed, kind) {
		l.log.Warn("unusable PDU; further ones of this kind are only counted", append([]any{"kind", kind}, attrs...)...)
	}
}
