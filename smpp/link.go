package smpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// Config says how to reach one SMSC. A zero value means the default that the
// field's comment gives.
type Config struct {
	Name  string   // Dialogue.SMSC and the name in logs; required
	Addrs []string // host:port of the SMSC's addresses, the preferred one first; required

	Accounts   []Account   // what to bind as; required
	SystemType string      // at most 12 characters; empty is sent as it is
	Mode       Mode        // transceivers, or pairs of a transmitter and a receiver
	Binds      int         // transceivers, or pairs, of each account; 1
	TLS        *tls.Config // nil: plain TCP; without a ServerName the address's host is verified

	Profile *Profile // nil: the profile "standard"
	MaxText int      // units of one screen; zero: the profile's
	Busy    string   // what a subscriber is told when there is no room; a sentence that ends the dialogue

	Window int     // replies of one bind sent and not answered yet; 256, or 65,536 if the profile says that the SMSC answers after the subscriber
	Queue  int     // replies waiting for the window, a retry or a new bind; 4096
	Rate   float64 // messages per second of one bind; 0: no limit

	ConnectTimeout  time.Duration // until TCP is connected; 10 s
	BindTimeout     time.Duration // from there until the bind is answered; 10 s
	EnquireLink     time.Duration // silence after which an enquire_link is sent; 30 s
	EnquireTimeout  time.Duration // wait for any PDU after an enquire_link; the second miss in a row ends the connection; 10 s
	ReadTimeout     time.Duration // from a PDU's first octet to its last; 30 s
	ResponseTimeout time.Duration // from a submit_sm to its response; 10 s
	WriteTimeout    time.Duration // for one write to a socket that does not take it; 10 s
	UnbindTimeout   time.Duration // for saying goodbye at the end; 5 s
	ReconnectMin    time.Duration // first pause before connecting again; 1 s
	ReconnectMax    time.Duration // longest pause, and the pause after refused credentials; 60 s

	// Dial opens the connection. Nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Log *slog.Logger // nil: no log
}

// Account is what a link binds as.
type Account struct {
	SystemID string // at most 15 characters
	Password string // SMPP allows 8 characters; a longer one is sent as it is, since some SMSCs want that
}

// String is the system_id: the password must not reach a log.
func (a Account) String() string { return a.SystemID }

// Mode is how a link binds.
type Mode uint8

// The modes.
const (
	Transceiver Mode = iota // one bind_transceiver for both directions
	Pair                    // a bind_transmitter and a bind_receiver
)

// String returns trx or tx+rx.
func (m Mode) String() string {
	if m == Pair {
		return "tx+rx"
	}
	return "trx"
}

// String describes the link without its passwords.
func (c Config) String() string {
	return fmt.Sprintf("%s %v@%s", c.Name, c.Accounts, strings.Join(c.Addrs, ","))
}

// LogValue implements slog.LogValuer: the password must not reach a log.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Longest fields of a bind in characters (SMPP 3.4 §4.1.1).
const (
	maxSystemID   = 15
	maxPassword   = 8
	maxSystemType = 12
)

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	if c.Profile == nil {
		c.Profile, _ = ProfileByName("standard") // it is built in
	}
	if c.MaxText == 0 {
		c.MaxText = c.Profile.Text.Max
	}
	if c.Window == 0 {
		c.Window = 256
	}
	if c.Queue == 0 {
		c.Queue = 4096
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.ConnectTimeout, 10 * time.Second},
		{&c.BindTimeout, 10 * time.Second},
		{&c.EnquireLink, 30 * time.Second},
		{&c.EnquireTimeout, 10 * time.Second},
		{&c.ReadTimeout, 30 * time.Second},
		{&c.ResponseTimeout, 10 * time.Second},
		{&c.WriteTimeout, 10 * time.Second},
		{&c.UnbindTimeout, 5 * time.Second},
		{&c.ReconnectMin, time.Second},
		{&c.ReconnectMax, time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// check returns everything that is wrong with c, which has its defaults.
func (c *Config) check() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Name == "" {
		problem("no name")
	}
	if len(c.Addrs) == 0 {
		problem("no address")
	}
	for _, addr := range c.Addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			problem("address: %w", err)
		}
	}
	if len(c.Accounts) == 0 || c.Accounts[0].SystemID == "" {
		problem("no system_id")
		c.Accounts = []Account{{}}
	}
	for _, f := range []struct {
		name, value string
		limit       int
	}{
		{"system_id", c.Accounts[0].SystemID, maxSystemID},
		{"system_type", c.SystemType, maxSystemType},
		{"password", c.Accounts[0].Password, MaxFrame / 2},
	} {
		if len(f.value) > f.limit {
			problem("%s is longer than %d characters", f.name, f.limit)
		}
		if strings.Contains(f.value, "\x00") {
			problem("%s holds a NUL", f.name)
		}
	}
	if c.Window < 1 {
		problem("a window of %d lets nothing through", c.Window)
	}
	if c.Queue < 1 {
		problem("a queue of %d holds nothing", c.Queue)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"connect time-out", c.ConnectTimeout},
		{"bind time-out", c.BindTimeout},
		{"enquire_link interval", c.EnquireLink},
		{"enquire_link time-out", c.EnquireTimeout},
		{"read time-out", c.ReadTimeout},
		{"response time-out", c.ResponseTimeout},
		{"write time-out", c.WriteTimeout},
		{"unbind time-out", c.UnbindTimeout},
		{"shortest reconnect pause", c.ReconnectMin},
	} {
		if d.value < 0 {
			problem("%s %s is negative", d.name, d.value)
		}
	}
	if c.ReconnectMax < c.ReconnectMin {
		problem("longest reconnect pause %s is below the shortest, %s", c.ReconnectMax, c.ReconnectMin)
	}
	if err := c.Profile.Check(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Link is one transceiver bind to one SMSC that is kept up. All methods are
// safe for concurrent use.
type Link struct {
	cfg     Config
	profile *Profile
	handler Handler
	log     *slog.Logger
	counts  counters

	mu       sync.Mutex
	ran      bool // Run was called
	state    State
	since    time.Time // of state
	retryAt  time.Time // end of the pause, while state is Waiting
	lastErr  string
	lastPDU  time.Time
	conn     *conn             // nil: no socket
	queue    fifo              // replies to be sent
	later    []*reply          // replies to be sent again when their time comes
	inFlight map[uint32]*reply // replies sent and not answered, by sequence number
}

// NewLink returns a link that is not running yet; the error lists everything
// that is wrong with cfg. The link calls h from Run only.
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
		cfg:      cfg,
		profile:  cfg.Profile,
		handler:  h,
		log:      cfg.Log.With("smsc", cfg.Name),
		state:    Closed,
		since:    time.Now(),
		inFlight: make(map[uint32]*reply),
	}
	if len(cfg.Accounts[0].Password) > maxPassword {
		l.log.Warn("password is longer than SMPP 3.4 allows", "allowed", maxPassword)
	}
	return l, nil
}

// Run binds, serves the bind and binds again whenever it is lost, until ctx is
// done; then it sends what waits to be sent, unbinds, and returns nil. It gives
// the SMSC Config.UnbindTimeout to answer the unbind, and an unbind_resp of ours
// as long to be written. The Handler is not called any more after Run has
// returned. Run can be called once; its error is about a second call.
func (l *Link) Run(ctx context.Context) error {
	l.mu.Lock()
	again := l.ran
	l.ran = true
	l.mu.Unlock()
	if again {
		return fmt.Errorf("link %s: run called twice", l.cfg.Name)
	}
	var err error
	pauses := backoff{shortest: l.cfg.ReconnectMin, longest: l.cfg.ReconnectMax}
	for first := true; ctx.Err() == nil; first = false {
		if !first {
			l.counts.reconnects.Add(1)
		}
		var bound time.Duration
		bound, err = l.connect(ctx)
		if ctx.Err() == nil {
			l.pause(ctx, pauses.next(err, bound), err, bound == 0)
		}
	}
	l.finish(err)
	return nil
}

// connect opens one connection and serves it to its end. It returns how long it
// was bound, and why it ended.
func (l *Link) connect(ctx context.Context) (time.Duration, error) {
	l.enter(slog.LevelDebug, Connecting, "addr", l.cfg.Addrs[0])
	dial, cancel := context.WithTimeout(ctx, l.cfg.ConnectTimeout)
	socket, err := l.cfg.Dial(dial, "tcp", l.cfg.Addrs[0])
	cancel()
	if err != nil {
		return 0, err
	}
	c := l.open(socket)
	stop := context.AfterFunc(ctx, func() { l.wake(c) })
	defer stop()
	err = l.serve(ctx, c)
	l.shut(c, err)
	if c.boundAt.IsZero() {
		return 0, err
	}
	return time.Since(c.boundAt), err
}

// pause waits for d or the end of ctx. again is set if the link was not bound
// since the pause before this one.
func (l *Link) pause(ctx context.Context, d time.Duration, cause error, again bool) {
	l.mu.Lock()
	from := l.setState(Waiting)
	l.retryAt = l.since.Add(d)
	level := slog.LevelWarn
	if again && l.lastErr == cause.Error() {
		level = slog.LevelDebug // the tenth time says no more than the first
	}
	l.lastErr = cause.Error()
	hopeless := l.takeWaiting(func(r *reply) bool { return r.deadline.Before(l.retryAt) })
	l.mu.Unlock()
	l.log.Log(ctx, level, "link waiting", "from", from.String(), "reason", cause.Error(), "pause", d.Round(time.Millisecond).String())
	l.refuse(hopeless, ErrLinkLost)

	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// finish ends the link for good; cause is why its last connection ended, if that
// was not the stop.
func (l *Link) finish(cause error) {
	attrs := []any{"reason", "stopped"}
	if cause != nil {
		attrs = append(attrs, "last_err", cause.Error())
	}
	l.enter(slog.LevelInfo, Closed, attrs...)
	l.mu.Lock()
	rest := l.takeWaiting(func(*reply) bool { return true })
	l.mu.Unlock()
	l.refuse(rest, ErrClosed)
}

// enter changes the state and logs that.
func (l *Link) enter(level slog.Level, s State, attrs ...any) {
	l.mu.Lock()
	from := l.setState(s)
	l.mu.Unlock()
	l.log.Log(context.Background(), level, "link "+s.String(), append([]any{"from", from.String()}, attrs...)...)
}

// setState changes the state and returns the former one. Call with l.mu.
func (l *Link) setState(s State) (from State) {
	from = l.state
	l.state, l.since = s, time.Now()
	return from
}

// backoff gives the pauses between two connections.
type backoff struct {
	shortest, longest time.Duration
	failures          int // since the link was last up for a while
}

// next returns the pause after a connection that ended with err and was bound
// for the given time. It doubles from one to the next, and begins anew only
// after a bind that lasted longer than the longest pause, so that an SMSC that
// accepts and drops us is not hammered. Refused credentials are somebody's work
// to mend, so they wait the longest pause at once. "Already bound" means that
// the SMSC still holds our last connection, which takes it a minute or two to
// notice: at least a quarter of the longest pause. A random half is taken off,
// so that links that fell together do not come back together.
func (b *backoff) next(err error, bound time.Duration) time.Duration {
	if bound > b.longest {
		b.failures = 0
	}
	d := b.shortest
	for range b.failures {
		if d >= b.longest {
			break
		}
		d = min(2*d, b.longest)
	}
	b.failures++
	var refusal *StatusError
	if errors.As(err, &refusal) {
		switch refusal.Status {
		case statusBindFailed, statusInvalidPassword, statusInvalidSystemID, statusInvalidSystemType:
			d = b.longest
		case statusAlreadyBound:
			d = max(d, b.longest/4)
		}
	}
	return d - time.Duration(rand.Int64N(int64(d)/2+1))
}

// Statuses that refuse a bind (SMPP 3.4 §5.1.3).
const (
	statusAlreadyBound      pdu.Status = 0x05
	statusBindFailed        pdu.Status = 0x0D
	statusInvalidPassword   pdu.Status = 0x0E
	statusInvalidSystemID   pdu.Status = 0x0F
	statusInvalidSystemType pdu.Status = 0x53
)
