package smpp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

const (
	testPassword = "secret"
	testMSISDN   = "2348031234567"
)

// rig is a running link whose SMSC is the test. With synctest its clock is the
// bubble's, so that minutes pass at once and to the nanosecond.
type rig struct {
	t      *testing.T
	link   *smpp.Link
	events chan *smpp.Event
	dials  chan *smsc // one for each connection that the link opens
	stop   context.CancelFunc
	ended  chan error
	log    *logBuffer
	most   int32        // sockets that the link may hold
	open   atomic.Int32 // sockets that the link holds
	refuse atomic.Int32 // connections still to be refused

	declines atomic.Bool // the handler admits nobody
	lives    atomic.Bool // all dialogues live

	shelf chan *smpp.Receipt // receipts; full: there is no room
}

// start runs a link over in-memory pipes; configure may change its
// configuration.
func start(t *testing.T, configure func(*smpp.Config)) *rig {
	t.Helper()
	r := &rig{
		t:      t,
		events: make(chan *smpp.Event, 1000),
		dials:  make(chan *smsc, 100),
		ended:  make(chan error, 1),
		log:    new(logBuffer),
		shelf:  make(chan *smpp.Receipt, 1),
	}
	cfg := smpp.Config{
		Name: "mtn", Addrs: []string{"192.0.2.1:2775"}, Accounts: []smpp.Account{{SystemID: "esme1", Password: testPassword}},
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			if r.refuse.Add(-1) >= 0 {
				return nil, errors.New("connection refused")
			}
			ours, theirs := net.Pipe()
			s := newSMSC(t, theirs)
			s.addr = addr
			r.dials <- s
			return r.count(ours), nil
		},
	}
	if configure != nil {
		configure(&cfg)
	}
	r.most = int32(len(cfg.Accounts) * max(1, cfg.Binds))
	if cfg.Mode == smpp.Pair {
		r.most *= 2
	}
	link, err := smpp.NewLink(cfg, r)
	if err != nil {
		t.Fatal(err)
	}
	r.link = link
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.ended <- link.Run(ctx) }()
	t.Cleanup(r.close)
	return r
}

// HandleUSSD implements smpp.Handler.
func (r *rig) HandleUSSD(e *smpp.Event) { r.events <- e }

// AdmitUSSD implements smpp.Admitter.
func (r *rig) AdmitUSSD(e *smpp.Event) bool { return !r.declines.Load() }

// LivesUSSD implements smpp.Knower.
func (r *rig) LivesUSSD(*smpp.Event) bool { return r.lives.Load() }

// TakeReceipt implements smpp.ReceiptTaker.
func (r *rig) TakeReceipt(receipt *smpp.Receipt) bool {
	select {
	case r.shelf <- receipt:
		return true
	default:
		return false
	}
}

// count wraps a socket so that more of them at the same time than there are
// binds is an error.
func (r *rig) count(c net.Conn) net.Conn {
	if n := r.open.Add(1); n > r.most {
		r.t.Errorf("%d sockets at the same time", n)
	}
	return &countedConn{Conn: c, open: &r.open}
}

type countedConn struct {
	net.Conn
	once sync.Once
	open *atomic.Int32
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// close ends the link however it stands, and checks what must hold at the end
// of every test.
func (r *rig) close() {
	r.stop()
	if err := <-r.ended; err != nil {
		r.t.Errorf("run: %v", err)
	}
	if n := r.open.Load(); n != 0 {
		r.t.Errorf("%d sockets left open", n)
	}
	if s := r.link.Status(); s.State != smpp.Closed || s.InFlight != 0 || s.Queued != 0 {
		r.t.Errorf("ended as %+v", s)
	}
	log := r.log.String()
	if strings.Contains(log, testPassword) || strings.Contains(log, testMSISDN) {
		r.t.Errorf("the log holds a password or a whole number:\n%s", log)
	}
}

// accept waits for the link's next connection.
func (r *rig) accept() *smsc {
	r.t.Helper()
	select {
	case s := <-r.dials:
		return s
	case <-time.After(time.Hour):
		r.t.Fatal("no connection")
		return nil
	}
}

// bound waits for the link's next connection and accepts its bind.
func (r *rig) bound() *smsc {
	r.t.Helper()
	s := r.accept()
	s.acceptBind()
	return s
}

// event waits for the next event.
func (r *rig) event() *smpp.Event {
	r.t.Helper()
	select {
	case e := <-r.events:
		return e
	case <-time.After(time.Hour):
		r.t.Fatal("no event")
		return nil
	}
}

func (r *rig) noEvent() {
	r.t.Helper()
	select {
	case e := <-r.events:
		r.t.Errorf("unexpected event %s: %v", e.Op, e.Err)
	default:
	}
}

// refused waits for a Refused event and returns its cause.
func (r *rig) refused() error {
	r.t.Helper()
	e := r.event()
	if e.Op != smpp.Refused || e.Dialogue.SMSC != "mtn" || e.Dialogue.MSISDN != testMSISDN {
		r.t.Errorf("got %s of %v, want refused", e.Op, e.Dialogue)
	}
	return e.Err
}

// begin lets the SMSC deliver a begin and returns its event.
func (r *rig) begin(s *smsc) *smpp.Event {
	r.t.Helper()
	s.write(golden(r.t, "standard-begin"))
	s.expect(pdu.DeliverSMRespID)
	return r.event()
}

// mustReply answers an event.
func (r *rig) mustReply(e *smpp.Event, text string, deadline time.Duration) {
	r.t.Helper()
	if err := e.Reply(text, false, time.Now().Add(deadline)); err != nil {
		r.t.Fatalf("reply %q: %v", text, err)
	}
}

// smsc is the far side of one connection.
type smsc struct {
	t      *testing.T
	addr   string // that the link has connected to
	conn   net.Conn
	frames *smpp.FrameReader
}

func newSMSC(t *testing.T, conn net.Conn) *smsc {
	t.Cleanup(func() { _ = conn.Close() })
	return &smsc{t: t, conn: conn, frames: smpp.NewFrameReader(conn)}
}

func (s *smsc) write(b []byte) {
	s.t.Helper()
	if _, err := s.conn.Write(b); err != nil {
		s.t.Fatalf("write: %v", err)
	}
}

// read returns the next PDU.
func (s *smsc) read() []byte {
	s.t.Helper()
	b, err := s.frames.ReadFrame()
	if err != nil {
		s.t.Fatalf("read: %v", err)
	}
	return bytes.Clone(b)
}

// expect reads the next PDU, which must be of the given command.
func (s *smsc) expect(id pdu.ID) smpp.Message {
	s.t.Helper()
	return s.expectStatus(id, 0)
}

func (s *smsc) expectStatus(id pdu.ID, status pdu.Status) smpp.Message {
	s.t.Helper()
	b := s.read()
	h := smpp.ParseHeader(b)
	if h.ID != id || h.Status != status {
		s.t.Fatalf("got %s with status %#x, want %s with %#x", smpp.CommandName(h.ID), uint32(h.Status), smpp.CommandName(id), uint32(status))
	}
	m := smpp.Message{Header: h}
	_ = smpp.Decode(b, &m) // a PDU that is not a message keeps its header
	return m
}

// expectSubmit reads a submit_sm with the given text.
func (s *smsc) expectSubmit(text string) smpp.Message {
	s.t.Helper()
	m := s.expect(pdu.SubmitSMID)
	if string(m.ShortMessage) != text {
		s.t.Fatalf("got the text %q, want %q", m.ShortMessage, text)
	}
	return m
}

// expectEnd reads until the link closes the connection, which must not send
// anything more.
func (s *smsc) expectEnd() {
	s.t.Helper()
	if b, err := s.frames.ReadFrame(); err != io.EOF && !errors.Is(err, net.ErrClosed) {
		s.t.Fatalf("got %x, %v; want the end", b, err)
	}
}

func (s *smsc) acceptBind() {
	s.t.Helper()
	s.answerBind(s.bind(pdu.BindTransceiverID))
}

// bind reads a bind of any kind, or of the given one if that is not zero, and
// returns it.
func (s *smsc) bind(want pdu.ID) (h smpp.Header, systemID string) {
	s.t.Helper()
	b := s.read()
	h = smpp.ParseHeader(b)
	switch h.ID {
	case pdu.BindTransceiverID, pdu.BindTransmitterID, pdu.BindReceiverID:
	default:
		s.t.Fatalf("got %s, want a bind", smpp.CommandName(h.ID))
	}
	if want != 0 && h.ID != want {
		s.t.Fatalf("got %s, want %s", smpp.CommandName(h.ID), smpp.CommandName(want))
	}
	id, _, _ := bytes.Cut(b[smpp.HeaderLen:], []byte{0})
	return h, string(id)
}

// answerBind accepts what bind has returned.
func (s *smsc) answerBind(h smpp.Header, _ string) {
	s.t.Helper()
	s.write(frame(h.ID|1<<31, 0, h.Sequence, "USSDGW\x00\x02\x10\x00\x01\x34"))
}

func (s *smsc) refuseBind(status pdu.Status) {
	s.t.Helper()
	h := s.expect(pdu.BindTransceiverID)
	s.write(frame(pdu.BindTransceiverRespID, status, h.Sequence, ""))
	s.expectEnd()
}

// accept answers a submit_sm.
func (s *smsc) answer(m smpp.Message, status pdu.Status) {
	s.t.Helper()
	body := ""
	if status == 0 {
		body = "7F3A\x00"
	}
	s.write(frame(pdu.SubmitSMRespID, status, m.Sequence, body))
}

// alive checks that the link still reads and answers.
func (s *smsc) alive() {
	s.t.Helper()
	s.write(frame(pdu.EnquireLinkID, 0, 0xABCD, ""))
	if h := s.expect(pdu.EnquireLinkRespID); h.Sequence != 0xABCD || h.Length != smpp.HeaderLen {
		s.t.Errorf("enquire_link_resp %+v", h)
	}
}

// logBuffer collects a log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// wait lets time pass in a bubble.
func wait(d time.Duration) { <-time.After(d) }
