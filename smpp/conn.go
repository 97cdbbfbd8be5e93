package smpp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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

	// maxSequence is the last sequence number (SMPP 3.4 §3.2).
	maxSequence = 0x7FFFFFFF
)

// conn is one connection of a link.
//
// All output goes into unwritten or into the link's queue. Whoever finds the
// socket idle becomes its writer: it takes everything that waits, writes it at
// once as far as the socket lets it without waiting, and hands what is left to
// the writer goroutine. So a lone PDU is written by the goroutine that made it,
// many at once go out in one system call, and the reader never waits.
type conn struct {
	socket net.Conn
	raw    syscall.RawConn // writes without waiting; nil: the socket cannot
	frames *FrameReader

	// Of the writer, the goroutine for which writing was set.
	out     []byte // being written
	outDone int    // octets of out that the socket has taken
	rawDone int    // result of rawWrite
	rawErr  error
	handoff chan struct{} // makes the writer goroutine the writer
	done    chan struct{} // closed to end the writer goroutine
	ended   chan struct{} // closed by the writer goroutine at its end

	// Of Run's goroutine, which reads.
	message      Message   // decoded in place, so that decoding allocates nothing
	boundAt      time.Time // zero: was not bound
	pdus         uint64    // read so far
	partialSince time.Time // when the PDU began that has arrived in part; zero: there is none
	partialPDU   uint64    // pdus at that time

	// Guarded by Link.mu.
	sequence   uint32        // last one given out
	unwritten  []byte        // control PDUs and acknowledgements to be written
	spare      []byte        // buffer that becomes unwritten next
	queued     uint64        // octets given to a writer so far
	written    uint64        // octets that the socket has taken so far
	writing    bool          // there is a writer
	idle       chan struct{} // if set, closed when there is no writer any more
	corked     bool          // Run's goroutine is working off a batch and will write at its end
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
func (l *Link) open(socket net.Conn) *conn {
	c := &conn{
		socket:  socket,
		handoff: make(chan struct{}, 1),
		done:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
	c.frames = NewFrameReader(&liveReader{l, c})
	if tcp, ok := socket.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	l.mu.Lock()
	l.conn = c
	l.mu.Unlock()
	go l.writer(c)
	return c
}

// shut ends a conn: says what is still to be said if the connection allows it,
// closes the socket and waits for the writer goroutine.
func (l *Link) shut(c *conn, cause error) {
	idle := make(chan struct{})
	l.mu.Lock()
	c.closing, c.corked = true, false
	polite := c.failure == nil && c.farewell(cause)
	if c.writing {
		c.idle = idle
	} else {
		close(idle)
	}
	l.mu.Unlock()

	limit := time.AfterFunc(l.cfg.UnbindTimeout, func() { _ = c.socket.Close() })
	if !polite {
		_ = c.socket.Close() // ends the writer's write
	}
	<-idle
	if polite {
		if len(c.unwritten) > 0 { // nobody else touches it now
			_, _ = c.socket.Write(c.unwritten) // the connection ends either way
		}
		_ = c.socket.Close()
	}
	limit.Stop()
	close(c.done)
	<-c.ended

	l.mu.Lock()
	l.conn = nil
	unknown := l.abandon(c)
	l.mu.Unlock()
	if unknown > 0 {
		l.log.Warn("connection ended before the SMSC answered", "replies", unknown)
	}
}

// farewell reports whether the SMSC is to get what is unwritten although the
// connection ends with the given cause: an unbind_resp or a generic_nack.
func (c *conn) farewell(cause error) bool {
	return errors.Is(cause, errUnbound) || errors.Is(cause, errUnbindDone) || errors.Is(cause, ErrFraming)
}

// nextSequence returns a sequence number for a request of ours. Call with l.mu.
func (c *conn) nextSequence() uint32 {
	if c.sequence == maxSequence {
		c.sequence = 0
	}
	c.sequence++
	return c.sequence
}

// arm makes sure that Run's goroutine wakes at t or earlier, to call tick. Call
// with l.mu.
func (l *Link) arm(c *conn, t time.Time) {
	if c.armed.IsZero() || t.Before(c.armed) {
		c.armed = t
		_ = c.socket.SetReadDeadline(t) // a socket that is gone says so at the read
	}
}

// wake makes Run's goroutine call tick now.
func (l *Link) wake(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arm(c, time.Now())
}

// fail closes the socket, which ends the connection with the given cause. Call
// with l.mu.
func (c *conn) fail(cause error) {
	if c.failure == nil {
		c.failure = cause
		_ = c.socket.Close() // the cause is known already
	}
}

// cause says why reading failed with err.
func (l *Link) cause(c *conn, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.failure != nil:
		return c.failure
	case errors.Is(err, io.EOF):
		return errClosedByPeer
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w inside a PDU", errClosedByPeer)
	}
	return err
}

// send queues a PDU that is not a reply. It is written when Run's goroutine has
// worked off what it has read.
func (l *Link) send(c *conn, id pdu.ID, frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(c.unwritten)+len(frame) > maxUnwritten {
		c.fail(errNotReading)
		return
	}
	c.unwritten = append(c.unwritten, frame...)
	l.countOut(id)
}

func (l *Link) countOut(id pdu.ID) { l.counts.out[commandIndex(id)].Add(1) }

// takeWork makes the caller the writer if there is something to write and no
// writer; the caller must then call write with what takeWork returned. Call
// with l.mu.
func (l *Link) takeWork(c *conn) bool {
	if c.writing || c.corked || c.closing || c.failure != nil {
		return false
	}
	c.writing = l.fill(c)
	return c.writing
}

// fill puts everything that can be written now into c.out and reports whether
// that is anything. Only the writer, or who is about to be, calls it, with l.mu.
func (l *Link) fill(c *conn) bool {
	out := c.unwritten
	if !c.closing && (l.state == Bound || l.state == Unbinding && !c.unbindSent) {
		out = l.fillWindow(c, out)
		if l.state == Unbinding && l.queue.len() == 0 {
			c.unbindSent = true
			out = append(out, control(pdu.NewUnbind(), c.nextSequence(), 0)...)
			l.countOut(pdu.UnbindID)
		}
	}
	if len(out) == 0 {
		return false
	}
	c.queued += uint64(len(out))
	c.out, c.outDone = out, 0
	c.unwritten, c.spare = c.spare[:0], nil
	return true
}

// write writes c.out as far as the socket takes it without waiting, and lets
// the writer goroutine do the rest.
func (l *Link) write(c *conn, work bool) {
	if !work {
		return
	}
	if c.raw != nil {
		n, err := c.writeNow()
		if !l.wrote(c, n, err) {
			return
		}
	}
	c.handoff <- struct{}{}
}

// wrote notes that the socket has taken n more octets of c.out, and reports
// whether there is more to write: the rest of it, or what has come since. If
// not, the caller is the writer no longer.
func (l *Link) wrote(c *conn, n int, err error) (more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.written += uint64(n)
	c.outDone += n
	if err != nil {
		c.fail(err)
	}
	if c.failure == nil {
		if c.outDone < len(c.out) {
			return true
		}
		if cap(c.out) <= maxWrite*2 {
			c.spare = c.out[:0]
		}
		if !c.corked && l.fill(c) {
			return true
		}
	}
	c.out = nil
	c.writing = false
	if c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
	return false
}

// writeNow writes what the socket takes without waiting.
func (c *conn) writeNow() (int, error) {
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
func (l *Link) writer(c *conn) {
	defer close(c.ended)
	for {
		select {
		case <-c.handoff:
		case <-c.done:
			return
		}
		for more := true; more; {
			n, err := c.writeWaiting(l.cfg.WriteTimeout)
			more = l.wrote(c, n, err)
		}
	}
}

// writeWaiting writes the rest of c.out.
func (c *conn) writeWaiting(limit time.Duration) (int, error) {
	if err := c.socket.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	n, err := c.socket.Write(c.out[c.outDone:])
	_ = c.socket.SetWriteDeadline(time.Time{}) // writeNow must not meet it; a socket that is gone says so there
	return n, err
}
