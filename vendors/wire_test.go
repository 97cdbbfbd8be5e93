package vendors_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unicode/utf8"

	"ussdd/vendors"
)

// peer listens on TCP and does to each connection what serve says. It gives its base URL.
func peer(t testing.TB, serve func(c *net.TCPConn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			done.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn), bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		done.Wait()
	})
	return "http://" + l.Addr().String()
}

// hear reads one whole request, and reports whether there was one.
func hear(r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err == nil
}

// say answers one request with these bytes, and closes.
func say(text string) func(*net.TCPConn, *bufio.Reader) {
	return func(c *net.TCPConn, r *bufio.Reader) {
		if hear(r) {
			_, _ = io.WriteString(c, text)
		}
	}
}

// json makes a whole answer.
func json(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

const done = `{"state":"DONE","id":"V-1","cost":"97.00"}`

// acmeAt gives acme's endpoint at a real address, with time-outs that no machine is too slow for.
func acmeAt(t testing.TB, base, text string, opt vendors.Options) *vendors.Endpoint {
	t.Helper()
	opt.URLs = map[string]string{"acme": base}
	text = strings.Replace(text, "auth: none", "auth: none\ntimeouts: {connect: 1m, total: 10m}", 1)
	set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", text), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.CloseIdleConnections)
	return set.Route("mtn")[0]
}

// endless repeats text until the other side has had enough.
func endless(first, text string) func(*net.TCPConn, *bufio.Reader) {
	return func(c *net.TCPConn, r *bufio.Reader) {
		if !hear(r) {
			return
		}
		_, err := io.WriteString(c, first)
		for err == nil {
			_, err = io.WriteString(c, text)
		}
	}
}

func reset(text string) func(*net.TCPConn, *bufio.Reader) {
	return func(c *net.TCPConn, r *bufio.Reader) {
		if hear(r) {
			_, _ = io.WriteString(c, text)
			_ = c.SetLinger(0)
		}
	}
}

// What vendors do to the connection after the request has arrived. Nothing of it proves that the
// request was not executed.
func TestBrokenAnswers(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, done)
	_ = z.Close()
	chunk := "1000\r\n" + strings.Repeat(" ", 0x1000) + "\r\n"

	for _, test := range []struct {
		name   string
		serve  func(*net.TCPConn, *bufio.Reader)
		status int
		want   string
	}{
		{"closed", say(""), 0, "pending unreadable"},
		{"reset", reset(""), 0, "pending unreadable"},
		{"half a status line", say("HTTP/1.1 20"), 0, "pending unreadable"},
		{"half of the headers", say("HTTP/1.1 200 OK\r\nContent-Le"), 0, "pending unreadable"},
		{"reset in the headers", reset("HTTP/1.1 200 OK\r\nContent-Le"), 0, "pending unreadable"},
		{"reset before the body", reset("HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n"), 200, "pending unreadable"},
		{"half of the body", say("HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n" + done[:20]), 200, "pending unreadable"},
		{"Content-Length too large", say("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + done), 200, "pending unreadable"},
		{"Content-Length too small", say("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + done), 200, "pending unreadable"},
		{"two Content-Lengths", say("HTTP/1.1 200 OK\r\nContent-Length: 16\r\nContent-Length: 42\r\n\r\n" + done), 0, "pending unreadable"},
		{"chunks cut short", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2a\r\n" + done), 200, "pending unreadable"},
		{"a chunk longer than it says", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n" + done + "\r\n0\r\n\r\n"), 200, "pending unreadable"},
		{"a chunk of absurd length", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + done), 200, "pending unreadable"},
		{"endless trailers", endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2a\r\n"+done+"\r\n0\r\n", "X-Filler: "+strings.Repeat("x", 1000)+"\r\n"), 200, "pending unreadable"},
		{"no content, with a body", say(json(204, done)), 204, "pending unreadable"},
		{"a redirect to nowhere", say("HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n"), 302, "pending config"},
		{"HTTP/2", say("\x00\x00\x00\x04\x00\x00\x00\x00\x00"), 0, "pending unreadable"},
		{"another protocol", say("SSH-2.0-OpenSSH_9.2p1\r\n"), 0, "pending unreadable"},
		{"a switch of protocols", func(c *net.TCPConn, r *bufio.Reader) {
			if hear(r) {
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
				_, _ = r.ReadByte() // until it is closed
			}
		}, 101, "pending unreadable"},
		{"endless headers", endless("HTTP/1.1 200 OK\r\n", "X-Filler: "+strings.Repeat("x", 1000)+"\r\n"), 0, "pending unreadable"},
		{"endless header", endless("HTTP/1.1 200 OK\r\nX-Filler: ", strings.Repeat("x", 1000)), 0, "pending unreadable"},
		{"endless informational answers", endless("", "HTTP/1.1 100 Continue\r\n\r\n"), 0, "pending unreadable"},
		{"endless body", endless("HTTP/1.1 200 OK\r\n\r\n"+done, strings.Repeat(" ", 1000)), 200, "pending unreadable"},
		{"endless chunks", endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk), 200, "pending unreadable"},
		{"deep JSON", say(json(200, strings.Repeat("[", 20000))), 200, "pending unreadable"},
		{"deep whole JSON", say(json(200, strings.Repeat("[", 20000)+strings.Repeat("]", 20000))), 200, "pending unreadable"},
		{"a key twice", say(json(200, `{"state":"NO","id":"V-1","state":"DONE"}`)), 200, "pending unreadable"},
		{"a key twice, spelled otherwise", say(json(200, `{"state":"NO","st\u0061te":"DONE"}`)), 200, "pending unreadable"},
		{"a key twice where nobody looks", say(json(200, `{"state":"DONE","of":[{"x":1,"x":1}]}`)), 200, "pending unreadable"},
		{"UTF-16", say(json(200, "\xff\xfe{\x00\"\x00s\x00\"\x00}\x00")), 200, "pending unreadable"},
		{"not UTF-8 where it matters", say(json(200, "{\"state\":\"DONE\xff\"}")), 200, "pending unreadable"},
		{"compressed unasked", say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", zipped.Len(), zipped.String())), 200, "pending unreadable"},
		{"no status that exists", say(json(999, done)), 999, "pending down"},

		{"informational answer first", say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + json(200, done)), 200, "delivered"},
		{"an absurd number elsewhere", say(json(200, `{"state":"DONE","cost":1e999999999,"id":-1e-999999999}`)), 200, "delivered"},
		{"not UTF-8 elsewhere", say(json(200, "{\"state\":\"DONE\",\"text\":\"na\xefra\"}")), 200, "delivered"},
		{"text that turns round", say(json(200, `{"state":"DONE","text":"`+"\u202eNO\u202c"+`"}`)), 200, "delivered"},
		{"byte order mark", say(json(200, "\ufeff"+done)), 200, "delivered"},
		{"no length, closed", say("HTTP/1.0 200 OK\r\n\r\n" + done), 200, "delivered"},
		{"chunks", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2a\r\n" + done + "\r\n0\r\n\r\n"), 200, "delivered"},
		{"chunks and trailers", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2a\r\n" + done + "\r\n0\r\nX-T: 1\r\n\r\n"), 200, "delivered"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := acmeAt(t, peer(t, test.serve), acme, vendors.Options{})
			r := e.Vend(context.Background(), hundred("mtn"))
			if got := strings.TrimSpace(r.Outcome.String() + " " + r.Reason); got != test.want || !r.Sent || r.HTTPStatus != test.status {
				t.Errorf("%s, sent %t, status %d: %s", got, r.Sent, r.HTTPStatus, r.Detail)
			}
			if strings.HasPrefix(test.name, "a key twice") && !strings.HasPrefix(r.Detail, "HTTP 200: a key is there twice: {") {
				t.Errorf("detail %q", r.Detail)
			}
			if !utf8.ValidString(r.Detail) || len(r.Detail) > 200 || strings.ContainsAny(r.Detail, "\r\n\u202e") {
				t.Errorf("detail %q", r.Detail)
			}
		})
	}
}

// refused gives an address that nobody listens at, and that nobody else can take.
func refused(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}

func silent(s *httptest.Server) { s.Config.ErrorLog = log.New(io.Discard, "", 0) }

func TestNotSent(t *testing.T) {
	var heard atomic.Int32
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	silent(secure)
	secure.StartTLS()
	defer secure.Close()
	plain := peer(t, func(c *net.TCPConn, r *bufio.Reader) { _, _ = io.WriteString(c, "HTTP/1.1 400 X\r\n\r\n") })

	fails := func(err error) vendors.Options {
		return vendors.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, err }}
	}
	over, end := context.WithCancel(context.Background())
	end()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		base   string
		opt    vendors.Options
		reason string
	}{
		{"connection refused", context.Background(), refused(t), vendors.Options{}, vendors.ReasonDown},
		{"certificate of a stranger", context.Background(), secure.URL, vendors.Options{}, vendors.ReasonDown},
		{"no TLS", context.Background(), strings.Replace(plain, "http:", "https:", 1), vendors.Options{}, vendors.ReasonDown},
		{"no such host", context.Background(), "http://acme.invalid", fails(&net.DNSError{Err: "no such host", Name: "acme.invalid", IsNotFound: true}), vendors.ReasonDown},
		{"no answer of the resolver", context.Background(), "http://acme.invalid", fails(&net.DNSError{Err: "i/o timeout", Name: "acme.invalid", IsTimeout: true}), vendors.ReasonTimeout},
		{"unreachable", context.Background(), "http://192.0.2.1", fails(&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}), vendors.ReasonDown},
		{"over before it began", over, secure.URL, vendors.Options{}, vendors.ReasonTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := acmeAt(t, test.base, acme, test.opt)
			r := e.Vend(test.ctx, hundred("mtn"))
			if r.Outcome != vendors.NotSent || r.Reason != test.reason || r.Sent || r.HTTPStatus != 0 || r.Detail == "" {
				t.Errorf("%+v", r)
			}
			f := e.Query(test.ctx, hundred("mtn"), "")
			if f.State != vendors.Unknown || f.Reason != test.reason || f.Detail == "" {
				t.Errorf("%+v", f)
			}
		})
	}
	if heard.Load() > 0 {
		t.Error("a request was sent")
	}
}

// A connection that is closed at once is closed before or after the request began; either way the
// outcome says which.
func TestAcceptThenClose(t *testing.T) {
	e := acmeAt(t, peer(t, func(*net.TCPConn, *bufio.Reader) {}), acme, vendors.Options{})
	r := e.Vend(context.Background(), hundred("mtn"))
	want := vendors.NotSent
	if r.Sent {
		want = vendors.Ambiguous
	}
	if r.Outcome != want {
		t.Errorf("%+v", r)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Proto != "HTTP/1.1" {
			t.Errorf("proto %s", r.Proto)
		}
		_, _ = io.WriteString(w, done)
	}))
	server.EnableHTTP2 = true
	silent(server)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	e := acmeAt(t, server.URL, acme, vendors.Options{TLS: &tls.Config{RootCAs: roots}})
	for range 2 {
		if r := e.Vend(context.Background(), hundred("mtn")); r.Outcome != vendors.Delivered {
			t.Errorf("%+v", r)
		}
	}
}

// A call that hangs ends with its context. It is not the vendor's fault then.
func TestCancelled(t *testing.T) {
	heard := make(chan struct{}, 20)
	e := acmeAt(t, peer(t, func(c *net.TCPConn, r *bufio.Reader) {
		if hear(r) {
			heard <- struct{}{}
			_, _ = r.ReadByte()
		}
	}), acme, vendors.Options{})
	for range 6 {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-heard
			cancel()
		}()
		if r := e.Vend(ctx, hundred("mtn")); r.Outcome != vendors.Ambiguous || r.Reason != vendors.ReasonTimeout || !r.Sent || r.Took <= 0 {
			t.Errorf("%+v", r)
		}
	}
	if b := e.Breaker().Vend; b.State != "closed" || b.Excluded != 6 || b.Failures != 0 || b.InFlight != 0 {
		t.Errorf("%+v", b)
	}
}

func TestRedirect(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		_, _ = io.WriteString(w, done)
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		e := acmeAt(t, peer(t, say(fmt.Sprintf("HTTP/1.1 %d X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", status, other.URL))), acme, vendors.Options{})
		if r := e.Vend(context.Background(), hundred("mtn")); r.Outcome != vendors.Ambiguous || r.Reason != vendors.ReasonConfig || r.HTTPStatus != status {
			t.Errorf("%+v", r)
		}
		if f := e.Query(context.Background(), hundred("mtn"), ""); f.State != vendors.Unknown {
			t.Errorf("%+v", f)
		}
	}
	if elsewhere.Load() > 0 {
		t.Error("a redirect was followed")
	}
}

// net/http sends a request a second time when a kept connection dies under it, if the request is
// a GET or carries an Idempotency-Key. A vend must not be sent twice.
func TestSentOnce(t *testing.T) {
	get := strings.Replace(acme, "  method: POST\n  path: /topups\n  json: {to: \"{phone|intl}\", kobo: \"{amount|kobo}\", ref: \"{reference}\"}\n",
		"  method: GET\n  path: /topups/buy\n  params: {to: \"{phone|intl}\", kobo: \"{amount|kobo}\", ref: \"{reference}\"}\n  headers: {X-Idempotency-Key: \"{reference}\"}\n", 1)
	post := strings.Replace(acme, "  path: /topups\n", "  path: /topups\n  headers: {Idempotency-Key: \"{reference}\"}\n", 1)
	for name, text := range map[string]string{"GET": get, "POST": post} {
		t.Run(name, func(t *testing.T) {
			if text == acme {
				t.Fatal("nothing replaced")
			}
			var conns, requests atomic.Int32
			base := peer(t, func(c *net.TCPConn, r *bufio.Reader) {
				conns.Add(1)
				for hear(r) {
					if requests.Add(1)%2 == 0 {
						return
					}
					_, _ = io.WriteString(c, json(200, done))
				}
			})
			e := acmeAt(t, base, text, vendors.Options{})
			if r := e.Vend(context.Background(), hundred("mtn")); r.Outcome != vendors.Delivered {
				t.Fatalf("%+v", r)
			}
			if r := e.Vend(context.Background(), hundred("mtn")); r.Outcome != vendors.Ambiguous || !r.Sent {
				t.Errorf("%+v", r)
			}
			if conns.Load() != 1 || requests.Load() != 2 {
				t.Errorf("%d connections, %d requests", conns.Load(), requests.Load())
			}
		})
	}
}

func TestConnectionsAreKept(t *testing.T) {
	var conns atomic.Int32
	e := acmeAt(t, peer(t, func(c *net.TCPConn, r *bufio.Reader) {
		conns.Add(1)
		for hear(r) {
			_, _ = io.WriteString(c, json(200, done))
		}
	}), acme, vendors.Options{})
	for range 10 {
		if r := e.Vend(context.Background(), hundred("mtn")); r.Outcome != vendors.Delivered {
			t.Fatalf("%+v", r)
		}
		if f := e.Query(context.Background(), hundred("mtn"), ""); f.State != vendors.FoundDelivered {
			t.Fatalf("%+v", f)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

// A vendor that answers twice must not have its second answer taken for that of the next call.
func TestAnswersTwice(t *testing.T) {
	e := acmeAt(t, peer(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			_, ref, _ := strings.Cut(string(body), `"ref":"`)
			answer := json(200, `{"state":"DONE","id":"`+strings.TrimRight(ref, `"}`)+`"}`)
			_, _ = io.WriteString(c, answer+answer)
		}
	}), acme, vendors.Options{})
	for i := range 500 {
		r := hundred("mtn")
		r.Reference = fmt.Sprint("TXN-", i)
		if got := e.Vend(context.Background(), r); got.Outcome == vendors.Delivered && got.VendorRef != r.Reference {
			t.Fatalf("%s was delivered by the answer to %s", r.Reference, got.VendorRef)
		}
	}
}

// A call waits for no other one: what is over the limit is not made.
func TestLimit(t *testing.T) {
	heard, answer := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			heard <- struct{}{}
			<-answer
		}
		_, _ = io.WriteString(w, done)
	}))
	defer server.Close()
	e := acmeAt(t, server.URL, "max_in_flight: 1\n"+acme, vendors.Options{})
	first := make(chan vendors.Result)
	go func() { first <- e.Vend(context.Background(), hundred("mtn")) }()
	<-heard
	if b := e.Breaker().Vend; b.InFlight != 1 {
		t.Errorf("%+v", b)
	}
	if r := e.Vend(context.Background(), another(txn+"-2")); r.Outcome != vendors.Unavailable || r.Reason != vendors.ReasonBusy || r.Sent {
		t.Errorf("%+v", r)
	}
	if f := e.Query(context.Background(), hundred("mtn"), ""); f.State != vendors.FoundDelivered {
		t.Errorf("queries share the limit of vends: %+v", f)
	}
	close(answer)
	if r := <-first; r.Outcome != vendors.Delivered {
		t.Errorf("%+v", r)
	}
}

// What cannot be a request to any vendor is declined unsent.
func TestBadRequests(t *testing.T) {
	e := acmeAt(t, peer(t, func(*net.TCPConn, *bufio.Reader) { t.Error("a connection") }), acme, vendors.Options{})
	local, err := vendors.Load(vendors.Builtin(), vendors.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mtn, _ := local.Endpoint("mtn", "mtn")
	for _, test := range []struct {
		name   string
		e      *vendors.Endpoint
		change func(*vendors.Request)
		reason string
		final  bool
	}{
		{"network", e, func(r *vendors.Request) { r.Network = "glo" }, vendors.ReasonConfig, false},
		{"no reference", e, func(r *vendors.Request) { r.Reference = "" }, vendors.ReasonConfig, false},
		{"reference of two lines", e, func(r *vendors.Request) { r.Reference = "a\r\nb" }, vendors.ReasonConfig, false},
		{"long reference", e, func(r *vendors.Request) { r.Reference = strings.Repeat("x", 65) }, vendors.ReasonConfig, false},
		{"number with plus", e, func(r *vendors.Request) { r.Recipient = "+" + amina }, vendors.ReasonBadNumber, true},
		{"no number", e, func(r *vendors.Request) { r.Recipient = "" }, vendors.ReasonBadNumber, true},
		{"number abroad", mtn, func(r *vendors.Request) { r.Recipient = "447700900123" }, vendors.ReasonBadNumber, true},
		{"nothing", e, func(r *vendors.Request) { r.Amount = 0 }, vendors.ReasonLimit, true},
		{"less than nothing", e, func(r *vendors.Request) { r.Amount = -1 }, vendors.ReasonLimit, true},
		{"all the money", e, func(r *vendors.Request) { r.Amount = 1 << 60 }, vendors.ReasonLimit, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := hundred("mtn")
			test.change(&req)
			r := test.e.Vend(context.Background(), req)
			if r.Outcome != vendors.Declined || r.Reason != test.reason || r.Final != test.final || r.Sent {
				t.Errorf("%+v", r)
			}
			if f := test.e.Query(context.Background(), req, ""); f.State != vendors.Unknown {
				t.Errorf("%+v", f)
			}
		})
	}
	if b := e.Breaker(); b.Vend.Failures+b.Vend.Excluded+b.Query.Failures > 0 {
		t.Errorf("%+v", b)
	}
}
