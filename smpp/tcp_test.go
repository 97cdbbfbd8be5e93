package smpp_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// listen returns a listener for a link to connect to over real sockets, where
// writes do not wait.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func startTCP(t *testing.T, l net.Listener, h smpp.Handler, configure func(*smpp.Config)) *smpp.Link {
	t.Helper()
	cfg := smpp.Config{Name: "mtn", Addrs: []string{l.Addr().String()}, Accounts: []smpp.Account{{SystemID: "esme1", Password: testPassword}}, ReconnectMin: time.Millisecond}
	if configure != nil {
		configure(&cfg)
	}
	link, err := smpp.NewLink(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- link.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return link
}

func acceptTCP(t *testing.T, l net.Listener) *smsc {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := newSMSC(t, c)
	s.acceptBind()
	return s
}

// TestManyDialogues plays many dialogues at once over one connection, and
// checks that each gets its own screens in their order.
func TestManyDialogues(t *testing.T) {
	const dialogues, steps = 50, 40
	l := listen(t)
	events := make(chan *smpp.Event, dialogues)
	for range 4 {
		go func() {
			for e := range events {
				screen := fmt.Sprintf("%s has said %s", e.Dialogue.MSISDN, e.Text)
				if err := e.Reply(screen, false, time.Now().Add(time.Minute)); err != nil {
					t.Errorf("reply: %v", err)
				}
			}
		}()
	}
	link := startTCP(t, l, smpp.HandlerFunc(func(e *smpp.Event) { events <- e }), func(c *smpp.Config) { c.Window = 10 })
	t.Cleanup(func() { close(events) }) // before the link ends, which nobody writes to any more
	s := acceptTCP(t, l)

	said := make(map[string]int)
	sequence := uint32(0)
	say := func(msisdn string) []byte {
		sequence++
		said[msisdn]++
		m := begin()
		m.Sequence = sequence
		m.Source.Digits = []byte(msisdn)
		m.ShortMessage = []byte(fmt.Sprint(said[msisdn]))
		return encode(t, &m)
	}
	for i := range dialogues {
		s.write(say(fmt.Sprint(2348031000000 + i)))
	}
	acked, shown := 0, 0
	for acked < dialogues*steps || shown < dialogues*steps {
		b := s.read()
		h := smpp.ParseHeader(b)
		if h.ID == pdu.DeliverSMRespID {
			acked++
			continue
		}
		m := decode(t, b)
		msisdn := string(m.Dest.Digits)
		if want := fmt.Sprintf("%s has said %d", msisdn, said[msisdn]); string(m.ShortMessage) != want {
			t.Fatalf("got %q, want %q", m.ShortMessage, want)
		}
		shown++
		out := frame(pdu.SubmitSMRespID, 0, m.Sequence, "1\x00")
		if said[msisdn] < steps {
			out = append(out, say(msisdn)...)
		}
		s.write(out)
	}
	s.alive()
	if st := link.Status(); st.InFlight+st.Queued != 0 || st.Counters.Out["submit_sm"] != dialogues*steps {
		t.Errorf("status %+v", st)
	}
	unbindOnEnd(t, s)
}

// unbindOnEnd answers the unbind of a link that the test ends.
func unbindOnEnd(t *testing.T, s *smsc) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h := s.expect(pdu.UnbindID)
		s.write(frame(pdu.UnbindRespID, 0, h.Sequence, ""))
	}()
	t.Cleanup(func() { <-ended })
}

// TestPeerStopsReadingTCP floods the link with requests and reads none of the
// answers: what the link keeps for us is bounded, and then it comes anew.
func TestPeerStopsReadingTCP(t *testing.T) {
	l := listen(t)
	link := startTCP(t, l, smpp.HandlerFunc(func(*smpp.Event) {}), nil)
	s := acceptTCP(t, l)
	if err := s.conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	flood := bytes.Repeat(frame(pdu.EnquireLinkID, 0, 1, ""), 4096)
	for {
		if _, err := s.conn.Write(flood); err != nil {
			break
		}
	}
	s = acceptTCP(t, l)
	s.alive()
	if got := link.Status().LastError; got != "the SMSC takes no data" {
		t.Errorf("last error %q", got)
	}
	unbindOnEnd(t, s)
}

// TestSlowReaderTCP makes the socket take the answers in parts, and checks that
// nothing is lost or mixed up.
func TestSlowReaderTCP(t *testing.T) {
	const count = 60_000
	l := listen(t)
	startTCP(t, l, smpp.HandlerFunc(func(*smpp.Event) {}), func(c *smpp.Config) {
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return conn, conn.(*net.TCPConn).SetWriteBuffer(4096)
		}
	})
	s := acceptTCP(t, l)
	var flood []byte
	for i := range count {
		flood = append(flood, frame(pdu.EnquireLinkID, 0, uint32(i), "")...)
	}
	s.write(flood) // returns when the link has taken nearly all, and its answers have nowhere to go
	for i := range count {
		if h := s.expect(pdu.EnquireLinkRespID); h.Sequence != uint32(i) {
			t.Fatalf("answer %d has sequence %d", i, h.Sequence)
		}
	}
	unbindOnEnd(t, s)
}
