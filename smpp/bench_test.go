package smpp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// The codec beside go-smpp's, on the same PDUs:
//
//	go test -run '^$' -bench Codec -benchmem ./smpp

func BenchmarkCodecDecode(b *testing.B) {
	wire := golden(b, "standard-begin")
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		var m smpp.Message
		for b.Loop() {
			if err := smpp.Decode(wire, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("go-smpp", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := pdu.Decode(bytes.NewReader(wire)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCodecEncode(b *testing.B) {
	wire := golden(b, "standard-menu")
	m := decode(b, wire)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 256)
		for b.Loop() {
			if _, err := smpp.Append(buf, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
	body, err := pdu.Decode(bytes.NewReader(wire))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("go-smpp", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := body.SerializeTo(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkFold(b *testing.B) {
	m := smpp.Text{Alphabet: smpp.GSM, Max: 160}
	for name, text := range map[string]string{
		"plain":  "Welcome to Airtime Purchase\n\n1. Buy Airtime\n2. Check Balance\n3. Transaction History\n4. Help\n0. Exit",
		"folded": "✓ Airtime Purchase Successful!\n\n₦500 sent to 08031234567 – thank you…",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, bad := m.Cost(text); bad != 0 {
					b.Fatal("cannot be sent")
				}
			}
		})
	}
}

// BenchmarkDialect is what one step costs in each dialect without a link: a
// subscriber's answer read into an Event, and its reply encoded.
//
//	go test -run '^$' -bench Dialect -benchmem ./smpp
func BenchmarkDialect(b *testing.B) {
	for _, name := range smpp.Profiles() {
		p := profile(b, name)
		wire := golden(b, name+"-input")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var m smpp.Message
			for b.Loop() {
				if err := smpp.Decode(wire, &m); err != nil {
					b.Fatal(err)
				}
				e, err := p.Read(&m)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Encode(e, "Welcome to Airtime Purchase\n\n1. Buy Airtime\n2. Check Balance\n3. Transaction History\n4. Help\n0. Exit", false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLink is one step over loopback TCP: deliver_sm, its acknowledgement,
// and a reply of fixed text, with so many dialogues waiting for their reply at
// any time. Both sides run in this process.
func BenchmarkLink(b *testing.B) {
	for _, dialogues := range []int{1, 64, 1000, 20_000} {
		b.Run(fmt.Sprint(dialogues), func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			link, err := smpp.NewLink(smpp.Config{
				Name: "mtn", Addrs: []string{listener.Addr().String()}, Accounts: []smpp.Account{{SystemID: "esme1"}}, Queue: 32_768,
			}, smpp.HandlerFunc(func(e *smpp.Event) {
				if e.Op != smpp.Begin {
					return
				}
				err := e.Reply("1. Buy Airtime\n2. Check Balance\n0. Exit", false, time.Time{})
				if err != nil && err != smpp.ErrClosed { // it is closed before the last begins are worked off
					b.Error(err)
				}
			}))
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error)
			go func() { ended <- link.Run(ctx) }()
			conn, err := listener.Accept()
			if err != nil {
				b.Fatal(err)
			}
			frames := smpp.NewFrameReader(conn)
			if _, err := frames.ReadFrame(); err != nil {
				b.Fatal(err)
			}
			out := golden(b, "bind-resp")
			m := begin()
			for i := range dialogues {
				m.Source.Digits = fmt.Append(nil, 2348030000000+i)
				out = append(out, encode(b, &m)...)
			}
			deliver := out[len(out)-len(encode(b, &m)):]
			deliver = bytes.Clone(deliver)
			digits := bytes.Index(deliver, m.Source.Digits)

			b.ReportAllocs()
			b.ResetTimer()
			cpu := cpuTime(b)
			for sent, shown := dialogues, 0; shown < b.N; {
				if _, err := conn.Write(out); err != nil {
					b.Fatal(err)
				}
				out = out[:0]
				for more := true; more; more = frames.Ready() {
					f, err := frames.ReadFrame()
					if err != nil {
						b.Fatal(err)
					}
					if h := smpp.ParseHeader(f); h.ID == pdu.SubmitSMID {
						shown++
						out = append(out, frame(pdu.SubmitSMRespID, 0, h.Sequence, "1\x00")...)
						if sent < b.N { // the subscriber who got this screen dials again
							sent++
							copy(deliver[digits:], f[bytes.Index(f, []byte("234803")):][:len(m.Source.Digits)])
							out = append(out, deliver...)
						}
					}
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
			_ = conn.Close()
			stop()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
	}
}

// cpuTime returns what the process has used of the processors so far: on a busy
// machine it says more than the clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
