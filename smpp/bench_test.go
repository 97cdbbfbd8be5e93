package smpp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
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
	for _, dialogues := range []int{1, 64, 1000} {
		b.Run(fmt.Sprint(dialogues), func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			link, err := smpp.NewLink(smpp.Config{
				Name: "mtn", Addrs: []string{listener.Addr().String()}, Accounts: []smpp.Account{{SystemID: "esme1"}}, Window: 2000,
			}, smpp.HandlerFunc(func(e *smpp.Event) {
				if e.Op != smpp.Begin {
					return
				}
				if err := e.Reply("1. Buy Airtime\n2. Check Balance\n0. Exit", false, time.Time{}); err != nil {
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
			deliver := golden(b, "standard-begin")
			out := append(golden(b, "bind-resp"), bytes.Repeat(deliver, dialogues)...)

			b.ReportAllocs()
			b.ResetTimer()
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
						if sent < b.N {
							sent++
							out = append(out, deliver...)
						}
					}
				}
			}
			b.StopTimer()
			_ = conn.Close()
			stop()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
	}
}
