package smpp_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// held is what a process holds.
type held struct{ files, goroutines, heap int }

func holds(t *testing.T) held {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return held{len(files), runtime.NumGoroutine(), int(m.HeapAlloc)}
}

// TestReconnectsLeakNothing lets an SMSC refuse or drop a thousand connections,
// in the ways there are.
func TestReconnectsLeakNothing(t *testing.T) {
	for name, play := range map[string]func(c net.Conn, bind []byte){
		"refused": func(c net.Conn, _ []byte) {
			_, _ = c.Write(frame(pdu.BindTransceiverRespID, 0x0D, 1, ""))
			_, _ = io.Copy(io.Discard, c)
		},
		"dropped": func(c net.Conn, _ []byte) { _, _ = c.Write(frame(pdu.BindTransceiverRespID, 0, 1, "X\x00")) },
		"unbound": func(c net.Conn, _ []byte) {
			_, _ = c.Write(frame(pdu.BindTransceiverRespID, 0, 1, "X\x00"))
			_, _ = c.Write(frame(pdu.UnbindID, 0, 1, ""))
			_, _ = io.Copy(io.Discard, c)
		},
		"garbled": func(c net.Conn, _ []byte) {
			_, _ = c.Write(bytes.Repeat([]byte{0xFF}, 100))
			_, _ = io.Copy(io.Discard, c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			startTCP(t, l, smpp.HandlerFunc(func(*smpp.Event) {}), func(c *smpp.Config) {
				c.ReconnectMin, c.ReconnectMax = time.Microsecond, time.Microsecond
			})
			buf := make([]byte, 1024)
			once := func() {
				c, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				n, _ := c.Read(buf)
				play(c, buf[:n])
				_ = c.Close()
			}
			for range 50 { // what a first connection makes is no leak
				once()
			}
			before := holds(t)
			for range 1000 {
				once()
			}
			after := holds(t)
			// The link is somewhere in its next connection, both times.
			if after.files > before.files+3 || after.goroutines > before.goroutines+3 || after.heap > before.heap+256<<10 {
				t.Errorf("before %+v, after %+v", before, after)
			}
		})
	}
}

// TestSMSCStopsReadingTCP is an SMSC that sends begins as fast as it can, each of
// which is answered, and reads nothing; then it also stops sending, because its
// own write blocks or not. The link's memory must not grow with what it is sent,
// and it must come back.
func TestSMSCStopsReadingTCP(t *testing.T) {
	const queue = 2000
	l := listen(t)
	var heard atomic.Int64
	link := startTCP(t, l, smpp.HandlerFunc(func(e *smpp.Event) {
		heard.Add(1)
		if e.Op == smpp.Begin {
			_ = e.Reply("Welcome to Airtime Purchase\n1. Buy Airtime\n2. Check Balance\n0. Exit", false, time.Now().Add(time.Minute))
		}
	}), func(c *smpp.Config) {
		c.Queue, c.Window, c.WriteTimeout = queue, 100_000, 2*time.Second
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				err = conn.(*net.TCPConn).SetWriteBuffer(4096)
			}
			return conn, err
		}
	})
	s := acceptTCP(t, l)
	if err := s.conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	before := holds(t)
	m := begin()
	var flood []byte
	for i := range 200 {
		m.Source.Digits = append(m.Source.Digits[:0], "2348031000"...)
		m.Source.Digits = append(m.Source.Digits, byte('0'+i/100), byte('0'+i/10%10), byte('0'+i%10))
		m.TLVs = tlvs(0x0501, "\x01", 0x1383, string([]byte{byte(i), 0}))
		flood = append(flood, encode(t, &m)...)
	}
	most := 0
	for i := 0; ; i++ {
		if _, err := s.conn.Write(flood); err != nil {
			break // it has been cut off
		}
		if i%50 == 0 {
			most = max(most, holds(t).heap)
		}
	}
	if grown := most - before.heap; grown > 24<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
	if heard.Load() < queue {
		t.Errorf("only %d begins were read: the reader waits for the writer", heard.Load())
	}
	s = acceptTCP(t, l)
	for got := 0; got < 10; {
		if h := smpp.ParseHeader(s.read()); h.ID == pdu.SubmitSMID {
			s.write(frame(pdu.SubmitSMRespID, 0, h.Sequence, "1\x00"))
			got++
		}
	}
	if st := link.Status(); st.LastError == "" || st.Queued > queue {
		t.Errorf("status %+v", st)
	}
	_ = s.conn.Close()
}
