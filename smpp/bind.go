package smpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// role is what a bind is for.
type role uint8

const (
	transceiver role = iota
	transmitter
	receiver
)

// roles says for each role its name, how it binds, and how that is answered.
var roles = [...]struct {
	name           string
	request        func() pdu.Body
	bind, bindResp pdu.ID
}{
	transceiver: {"transceiver", pdu.NewBindTransceiver, pdu.BindTransceiverID, pdu.BindTransceiverRespID},
	transmitter: {"transmitter", pdu.NewBindTransmitter, pdu.BindTransmitterID, pdu.BindTransmitterRespID},
	receiver:    {"receiver", pdu.NewBindReceiver, pdu.BindReceiverID, pdu.BindReceiverRespID},
}

// bind is one bind of a link: it has one connection at a time, and outlives it.
type bind struct {
	link    *Link
	name    string
	role    role
	account Account
	partner *bind         // the other half of a pair; nil: is a transceiver
	nudge   chan struct{} // ends a pause

	// Of the bind's goroutine.
	tried  bool              // has connected before
	nudged bool              // its last pause was cut short by the partner
	told   map[string]string // by address: the trouble with it that was last logged since the bind was up

	// Guarded by Link.mu.
	state      State
	since      time.Time // of state
	addr       string    // of the current connection, or of the last
	peer       string    // the SMSC's system_id
	retryAt    time.Time // end of the pause, while state is Waiting
	patient    bool      // the pause must not be cut short
	badAccount bool
	lastErr    string
	lastPDU    time.Time
	conn       *conn     // nil: no socket
	queue      fifo      // replies to be sent
	pushes     fifo      // replies that begin a dialogue, to be sent when queue is empty
	later      []*reply  // replies to be sent again when their time comes
	due        time.Time // when the first of them all expires or is due, or earlier; zero: never
	pace       pace
	in, out    meter // PDUs
	sent       meter // replies
}

func newBind(l *Link, name string, r role, a Account) *bind {
	return &bind{
		link: l, name: name, role: r, account: a,
		nudge: make(chan struct{}, 1),
		since: time.Now(),
		pace:  newPace(&l.cfg),
	}
}

// run keeps the bind up until ctx is done.
func (b *bind) run(ctx context.Context) {
	pauses := backoff{shortest: b.link.cfg.ReconnectMin, longest: b.link.cfg.ReconnectMax}
	var err error
	for {
		serving := b.link.whenUp(ctx)
		if serving == nil {
			b.enter(slog.LevelInfo, Closed, "reason", "stopped", "last_err", reason(err))
			return
		}
		for serving.Err() == nil {
			var boundAt time.Time
			boundAt, err = b.round(serving)
			if serving.Err() == nil {
				b.nudged = b.pause(serving, &pauses, err, boundAt)
			}
		}
		if ctx.Err() == nil {
			b.enter(slog.LevelInfo, Closed, "reason", "down", "last_err", reason(err))
		}
	}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// round tries the addresses in their order until the bind is up on one, and
// serves it to its end. It returns when it was bound, the zero time if never,
// and why it ended.
func (b *bind) round(ctx context.Context) (boundAt time.Time, err error) {
	if b.partner != nil && !b.nudged { // else the two would wake each other for ever
		b.partner.wake()
	}
	for i, addr := range b.link.cfg.Addrs {
		if b.tried {
			b.link.counts.reconnects.Add(1)
		}
		b.tried = true
		boundAt, err = b.connect(ctx, addr)
		if !boundAt.IsZero() || ctx.Err() != nil || !elsewhere(err) || i == len(b.link.cfg.Addrs)-1 {
			break
		}
		b.link.log.Log(ctx, b.level(addr, err), "link tries its next address", "bind", b.name, "addr", addr, "reason", err.Error())
		b.note(err)
	}
	return boundAt, err
}

// elsewhere reports whether another address may take a bind that ended with err:
// the account and its other connection are the same there.
func elsewhere(err error) bool {
	var refusal *StatusError
	return !errors.As(err, &refusal) || !badAccount(refusal.Status) && refusal.Status != statusAlreadyBound
}

// wake ends a pause, because the other half of the pair connects: some SMSCs
// answer neither bind until they have both.
func (b *bind) wake() {
	b.link.mu.Lock()
	defer b.link.mu.Unlock()
	if b.state != Waiting || b.patient {
		return
	}
	select {
	case b.nudge <- struct{}{}:
	default:
	}
}

// connect opens one connection and serves it to its end.
func (b *bind) connect(ctx context.Context, addr string) (boundAt time.Time, err error) {
	b.link.mu.Lock()
	b.addr = addr
	b.link.mu.Unlock()
	b.enter(slog.LevelDebug, Connecting, "addr", addr)
	socket, err := b.dial(ctx, addr)
	if err != nil {
		return time.Time{}, err
	}
	c := b.open(socket)
	stop := context.AfterFunc(ctx, c.wake)
	defer stop()
	err = c.serve(ctx)
	c.shut(err)
	return c.boundAt, err
}

// dial opens the socket, and TLS on it.
func (b *bind) dial(ctx context.Context, addr string) (net.Conn, error) {
	cfg := &b.link.cfg
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	socket, err := cfg.Dial(ctx, "tcp", addr)
	if err != nil || cfg.TLS == nil {
		return socket, err
	}
	config := cfg.TLS
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr) // NewLink has seen that it is one
	}
	below := &collector{Conn: socket}
	secure := tls.Client(below, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = socket.Close() // the cause is known already
		return nil, fmt.Errorf("TLS: %w", withoutAddresses(err))
	}
	below.collecting = true
	return secure, nil
}

// level is that of a message about the trouble with an address: the tenth time
// says no more than the first.
func (b *bind) level(addr string, err error) slog.Level {
	if b.told[addr] == err.Error() {
		return slog.LevelDebug
	}
	if b.told == nil {
		b.told = make(map[string]string)
	}
	b.told[addr] = err.Error()
	return slog.LevelWarn
}

// note remembers why a connection ended.
func (b *bind) note(err error) {
	b.link.mu.Lock()
	defer b.link.mu.Unlock()
	b.lastErr = err.Error()
	b.link.lastErr = b.lastErr
}

// pause waits until it is time to connect again, or ctx is done. cause is why
// the last connection ended, which was bound at boundAt. It reports whether the
// partner has cut the pause short.
func (b *bind) pause(ctx context.Context, pauses *backoff, cause error, boundAt time.Time) (nudged bool) {
	var refusal *StatusError
	refused := errors.As(cause, &refusal)
	credentials := refused && badAccount(refusal.Status)
	level := b.level(b.addr, cause)
	if credentials && level > slog.LevelDebug {
		level = slog.LevelError
	}
	var bound time.Duration
	if !boundAt.IsZero() {
		bound = time.Since(boundAt)
	}
	d := pauses.next(cause, bound)
	b.note(cause)

	l := b.link
	l.mu.Lock()
	select {
	case <-b.nudge: // of an earlier pause
	default:
	}
	from := b.setState(Waiting)
	b.retryAt = b.since.Add(d)
	b.badAccount = credentials
	b.patient = credentials || refused && refusal.Status == statusAlreadyBound
	hopeless := l.takeHomeless(func(r *reply) bool { return !l.hope(r) })
	l.mu.Unlock()
	message := "link waiting"
	if credentials {
		message = "link waiting: the SMSC refuses its account; somebody has to mend the system_id, the password or the SMSC"
	}
	l.log.Log(ctx, level, message, "bind", b.name, "from", from.String(), "system_id", b.account.SystemID,
		"reason", cause.Error(), "pause", d.Round(time.Millisecond).String())
	l.refuse(hopeless, ErrLinkLost)

	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.nudge:
		return true
	case <-ctx.Done():
	}
	return false
}

// enter changes the state and logs that.
func (b *bind) enter(level slog.Level, s State, attrs ...any) {
	b.link.mu.Lock()
	from := b.setState(s)
	b.link.mu.Unlock()
	b.link.log.Log(context.Background(), level, "link "+s.String(), append([]any{"bind", b.name, "from", from.String()}, attrs...)...)
}

// setState changes the state and returns the former one. Call with Link.mu.
func (b *bind) setState(s State) (from State) {
	from = b.state
	b.state, b.since = s, time.Now()
	return from
}

// backoff gives the pauses between two connections.
type backoff struct {
	shortest, longest time.Duration
	failures          int // since the bind was last up for a while
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
		switch {
		case badAccount(refusal.Status):
			d = b.longest
		case refusal.Status == statusAlreadyBound:
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

// badAccount reports whether a status refuses the credentials of a bind. Some
// SMSCs have 0x0D for all that can be wrong with an account.
func badAccount(s pdu.Status) bool {
	switch s {
	case statusBindFailed, statusInvalidPassword, statusInvalidSystemID, statusInvalidSystemType:
		return true
	}
	return false
}
