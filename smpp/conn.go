package smpp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

const (
	// maxWrite is where a write is cut off, so that a queue that empties into
	// the window is not copied as a whole. One PDU may reach beyond it.
	maxWrite = 64 << 10

	// maxUnwritten bounds what waits for a socket that takes nothing: some
	// sixty thousand acknowledgements. The peer that reads none of them is cut
	// off.
	maxUnwritten = 1 << 20

	// maxInline is how often a goroutine that has become the writer goes on with
	// what has come up meanwhile, before it leaves that to the writer goroutine.
	maxInline = 4

	// maxSequence is the last sequence number (SMPP 3.4 §3.2).
	maxSequence = 0x7FFFFFFF
)

// conn is one connection of a bind.
//
// All output goes into unwritten or into the bind's queue. Whoever finds the
// socket idle becomes its writer: it takes everything that waits, writes it at
// once as far as the socket lets it without waiting, and hands what is left to
// the writer goroutine. So a lone PDU is written by the goroutine that made it,
// many at once go out in one system call, and the reader never waits.
type conn struct {
	bind   *bind
	link   *Link
	socket net.Conn        // reads and deadlines
	wire   net.Conn        // writes: the socket itself, or the one below TLS
	tls    *collector      // what TLS has made of our output; nil: plain TCP
	raw    syscall.RawConn // writes without waiting; nil: the wire cannot
	frames *FrameReader

	local, remote string // for traces

	// Of the writer, the goroutine for which writing was set.
	filled  []byte // PDUs being written
	out     []byte // what becomes of them on the wire; nil: not made yet
	outDone int    // octets of out that the socket has taken
	rawDone int    // result of rawWrite
	rawErr  error
	handoff chan struct{} // makes the writer goroutine the writer
	done    chan struct{} // closed to end the writer goroutine
	ended   chan struct{} // closed by the writer goroutine at its end

	// Of the bind's goroutine, which reads.
	message      Message   // decoded in place, so that decoding allocates nothing
	boundAt      time.Time // zero: was not bound
	pdus         uint64    // read so far
	metered      uint64    // pdus that bind.in knows of
	partialSince time.Time // when the PDU began that has arrived in part; zero: there is none
	partialPDU   uint64    // pdus at that time

	// Guarded by Link.mu.
	flight     flight
	slowedAt   uint64        // queued when the pace was reduced: it says nothing new if the SMSC complains about what was sent before
	sequence   uint32        // last one given out
	unwritten  []byte        // control PDUs and acknowledgements to be written
	spare      []byte        // buffer that becomes unwritten next
	made       int           // PDUs put into unwritten that bind.out does not know of
	queued     uint64        // octets of PDUs given to a writer so far
	written    uint64        // octets of PDUs that the socket has taken so far, or may have
	writing    bool          // there is a writer
	idle       chan struct{} // if set, closed when there is no writer any more
	corked     bool          // the bind's goroutine is working off a batch and will write at its end
	closing    bool          // no replies any more, and nobody but shut becomes writer
	failure    error         // first cause that made us close the socket
	deadline   time.Time     // end of the bind's or the unbind's time; zero: none
	armed      time.Time     // the socket's read deadline; zero: none
	enquiries  int           // enquire_links since the SMSC was last heard
	enquiredAt time.Time     // when the last of them was sent
	unbindSent bool
}

var (
	errNotReading   = errors.New("the SMSC takes no data")
	errClosedByPeer = errors.New("closed by the SMSC")
	errUnbound      = errors.New("unbound by the SMSC")
	errUnbindDone   = errors.New("unbound")
)

// open makes a conn of a socket and starts its writer goroutine.
func (b *bind) open(socket net.Conn) *conn {
	c := &conn{
		bind:    b,
		link:    b.link,
		socket:  socket,
		wire:    socket,
		local:   socket.LocalAddr().String(),
		remote:  socket.RemoteAddr().String(),
		flight:  flight{numbers: make(map[uint32]*reply)},
		handoff: make(chan struct{}, 1),
		done:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
	c.frames = NewFrameReader(&liveReader{c})
	if secure, ok := socket.(*tls.Conn); ok {
		c.tls = secure.NetConn().(*collector) // as dial made it
		c.wire = c.tls.Conn
	}
	if tcp, ok := c.wire.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	b.link.mu.Lock()
	b.conn = c
	b.link.mu.Unlock()
	go c.writer()
	return c
}

// shut ends a conn: says what is still to be said if the connection allows it,
// closes the socket, waits for the writer goroutine, and finds other binds for
// what was not sent.
func (c *conn) shut(cause error) {
	l, b := c.link, c.bind
	idle := make(chan struct{})
	l.mu.Lock()
	c.closing, c.corked = true, false
	polite := c.failure == nil && farewell(cause)
	if c.writing {
		c.idle = idle
	} else {
		close(idle)
	}
	flush := l.evict(b, nil, true)
	l.mu.Unlock()
	flushAll(flush)

	limit := time.AfterFunc(l.cfg.UnbindTimeout, func() { _ = c.wire.Close() })
	if !polite {
		_ = c.wire.Close() // ends the writer's write
	}
	<-idle
	if polite {
		c.sayGoodbye() // nobody else writes now
	}
	_ = c.socket.Close()
	limit.Stop()
	close(c.done)
	<-c.ended

	l.mu.Lock()
	b.conn, b.peer = nil, ""
	unsent, unknown := c.abandon()
	flush = l.evict(b, unsent, false)
	l.mu.Unlock()
	flushAll(flush)
	if len(unknown) > 0 {
		l.log.Warn("connection ended before the SMSC answered", "bind", b.name, "replies", len(unknown))
	}
	l.refuse(slices.DeleteFunc(unknown, func(r *reply) bool { return !r.unasked() }), ErrCutOff)
}

// farewell reports whether the SMSC is to get what is unwritten although the
// connection ends with the given cause: an unbind_resp or a generic_nack.
func farewell(cause error) bool {
	return errors.Is(cause, errUnbound) || errors.Is(cause, errUnbindDone) || errors.Is(cause, ErrFraming)
}

// sayGoodbye writes what is unwritten, and ends TLS. The connection ends whether
// that works or not.
func (c *conn) sayGoodbye() {
	c.filled, c.out = c.unwritten, nil
	if c.seal() != nil {
		return
	}
	if c.tls != nil {
		_ = c.socket.(*tls.Conn).CloseWrite()
		c.out = append(c.out, c.tls.take()...)
	}
	if len(c.out) > 0 {
		_, _ = c.wire.Write(c.out)
	}
}

// nextSequence returns a sequence number for a request of ours. Call with
// Link.mu.
func (c *conn) nextSequence() uint32 {
	if c.sequence == maxSequence {
		c.sequence = 0
	}
	c.sequence++
	return c.sequence
}

// arm makes sure that the bind's goroutine wakes at t or earlier, to call tick.
// Call with Link.mu.
func (c *conn) arm(t time.Time) {
	if c.armed.IsZero() || t.Before(c.armed) {
		c.armed = t
		_ = c.socket.SetReadDeadline(t) // a socket that is gone says so at the read
	}
}

// wake makes the bind's goroutine call tick now.
func (c *conn) wake() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.arm(time.Now())
}

// fail closes the socket, which ends the connection with the given cause. Call
// with Link.mu.
func (c *conn) fail(cause error) {
	if c.failure == nil {
		c.failure = withoutAddresses(cause)
		_ = c.wire.Close() // the cause is known already
	}
}

// cause says why reading failed with err.
func (c *conn) cause(err error) error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	switch {
	case c.failure != nil:
		return c.failure
	case errors.Is(err, io.EOF):
		return errClosedByPeer
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w inside a PDU", errClosedByPeer)
	}
	return withoutAddresses(err)
}

// withoutAddresses returns an error of a socket without its addresses: our port
// is another one each time, and makes every error a new one.
func withoutAddresses(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	cause := op.Err
	var call *os.SyscallError
	if errors.As(cause, &call) {
		cause = call.Err
	}
	return fmt.Errorf("%s: %w", op.Op, cause)
}

// send queues a PDU that is not a reply. It is written when the bind's goroutine
// has worked off what it has read. msisdn is whose it is, for traces.
func (c *conn) send(id pdu.ID, frame []byte, msisdn string) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.sendLocked(id, frame, msisdn)
}

func (c *conn) sendLocked(id pdu.ID, frame []byte, msisdn string) {
	if len(c.unwritten)+len(frame) > maxUnwritten {
		c.fail(errNotReading)
		return
	}
	c.unwritten = append(c.unwritten, frame...)
	c.countOut(id)
	c.link.tap(c, true, frame, msisdn)
}

// countOut counts a PDU of ours. Call with Link.mu.
func (c *conn) countOut(id pdu.ID) {
	c.made++
	c.link.counts.out[commandIndex(id)].Add(1)
}

// takeWork makes the caller the writer if there is something to write and no
// writer; the caller must then call write. Call with Link.mu.
func (c *conn) takeWork() bool {
	if c.writing || c.corked || c.closing || c.failure != nil {
		return false
	}
	c.writing = c.fill()
	return c.writing
}

// fill puts everything that can be written now into c.filled and reports whether
// that is anything. Only the writer, or who is about to be, calls it, with
// Link.mu.
func (c *conn) fill() bool {
	b := c.bind
	out := c.unwritten
	replies := b.queue.len()+b.pushes.len() > 0
	now := time.Time{}
	if replies || len(out) > 0 {
		now = time.Now()
	}
	if !c.closing && (b.state == Bound || b.state == Unbinding && !c.unbindSent) {
		if replies {
			out = c.fillWindow(out, now)
		}
		if b.state == Unbinding && b.queue.len()+b.pushes.len() == 0 {
			c.unbindSent = true
			frame := control(pdu.NewUnbind(), c.nextSequence(), 0)
			out = append(out, frame...)
			c.countOut(pdu.UnbindID)
			c.link.tap(c, true, frame, "")
		}
	}
	if len(out) == 0 {
		return false
	}
	b.out.add(c.made, now)
	c.made = 0
	c.queued += uint64(len(out))
	c.filled, c.out, c.outDone = out, nil, 0
	c.unwritten, c.spare = c.spare[:0], nil
	return true
}

// seal makes c.out of c.filled, if that is not done yet. Only the writer calls
// it.
func (c *conn) seal() error {
	switch {
	case c.out != nil:
	case c.tls == nil:
		c.out = c.filled
	default:
		if _, err := c.socket.Write(c.filled); err != nil { // into the collector: it does not wait
			return err
		}
		c.out = c.tls.take()
	}
	return nil
}

// write writes as far as the socket takes it without waiting, and lets the
// writer goroutine do the rest. Only the writer calls it.
func (c *conn) write() {
	if c.raw != nil {
		for range maxInline {
			n, err := c.writeNow()
			whole := err == nil && c.outDone+n == len(c.out)
			if !c.wrote(n, err) {
				return
			}
			if !whole {
				break
			}
		}
	}
	c.handoff <- struct{}{}
}

// wrote notes that the socket has taken n more octets of c.out, and reports
// whether there is more to write: the rest of it, or what has come since. If
// not, the caller is the writer no longer.
func (c *conn) wrote(n int, err error) (more bool) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.outDone += n
	switch {
	case c.tls == nil:
		c.written += uint64(n)
	case n > 0:
		c.written = c.queued // any of it may be among the octets written
	}
	if err != nil {
		c.fail(err)
	}
	if c.failure == nil {
		if c.outDone < len(c.out) {
			return true
		}
		if cap(c.filled) <= maxWrite*2 {
			c.spare = c.filled[:0]
		}
		if !c.corked && c.fill() {
			return true
		}
	}
	c.filled, c.out = nil, nil
	c.writing = false
	if c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
	return false
}

// writeNow writes what the socket takes without waiting.
func (c *conn) writeNow() (int, error) {
	if err := c.seal(); err != nil {
		return 0, err
	}
	c.rawDone, c.rawErr = 0, nil
	if err := c.raw.Write(c.rawWrite); err != nil {
		return 0, err
	}
	return c.rawDone, c.rawErr
}

// rawWrite is one write system call. It returns true, because it does not want
// to be called again when the socket has room.
func (c *conn) rawWrite(fd uintptr) bool {
	n, err := syscall.Write(int(fd), c.out[c.outDone:])
	switch {
	case n > 0:
		c.rawDone = n
	case err == syscall.EAGAIN || err == syscall.EINTR:
	default:
		c.rawErr = os.NewSyscallError("write", err)
	}
	return true
}

// writer is the writer goroutine: it takes over when a write would have to wait.
func (c *conn) writer() {
	defer close(c.ended)
	for {
		select {
		case <-c.handoff:
		case <-c.done:
			return
		}
		for more := true; more; {
			n, err := c.writeWaiting(c.link.cfg.WriteTimeout)
			more = c.wrote(n, err)
		}
	}
}

// writeWaiting writes the rest of c.out.
func (c *conn) writeWaiting(limit time.Duration) (int, error) {
	if err := c.seal(); err != nil {
		return 0, err
	}
	if err := c.wire.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	n, err := c.wire.Write(c.out[c.outDone:])
	_ = c.wire.SetWriteDeadline(time.Time{}) // writeNow must not meet it; a socket that is gone says so there
	return n, err
}

// flush writes what waits to be written, if the socket is idle.
func (c *conn) flush() {
	c.link.mu.Lock()
	work := c.takeWork()
	c.link.mu.Unlock()
	if work {
		c.write()
	}
}

func flushAll(conns []*conn) {
	for _, c := range conns {
		c.flush()
	}
}

// liveReader reads from a connection's socket and notes when a PDU begins that
// does not arrive at once.
type liveReader struct{ c *conn }

// Read implements io.Reader.
func (r *liveReader) Read(p []byte) (int, error) {
	c := r.c
	switch {
	case !c.frames.Partial():
		c.partialSince = time.Time{}
	case c.partialSince.IsZero() || c.partialPDU != c.pdus:
		c.partialSince, c.partialPDU = time.Now(), c.pdus
		c.link.mu.Lock()
		c.arm(c.partialSince.Add(c.link.cfg.ReadTimeout))
		c.link.mu.Unlock()
	}
	return c.socket.Read(p)
}
