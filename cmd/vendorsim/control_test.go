package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// dial opens a connection to a provider and closes it again.
func (b *bench) dial(provider string) error {
	b.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url(provider, ""), "http://"))
	if err == nil {
		conn.Close()
	}
	return err
}

func TestDownRefusesConnections(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	s := sale{"mtn", "2348031239004", "A", 100_00}
	hung := make(chan response, 1)
	go func() { hung <- b.buy(context.Background(), "mtn", s) }()
	b.awaitBuy("mtn", 1)
	kept, err := net.Dial("tcp", strings.TrimPrefix(b.url("mtn", ""), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	at := b.url("mtn", "")

	for range 2 { // down twice is down
		b.setFault("mtn", "down", 0)
		if err := b.dial("mtn"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v, want refused", err)
		}
		if n := len(b.log); n != 1 {
			t.Errorf("%d requests have ended when the provider is down, want 1", n)
		}
	}
	if got := receive(t, "end of the request", hung); got.err == nil {
		t.Errorf("the request in flight got an answer, HTTP %d", got.status)
	}
	if n, err := kept.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes from a connection that should be closed", n)
	}
	if err := b.dial("airtel"); err != nil {
		t.Errorf("another provider: %v", err)
	}

	for _, up := range []string{"none", "hang"} { // anything but down opens the same port
		b.setFault("mtn", "down", 0)
		b.setFault("mtn", up, 0)
		if err := b.dial("mtn"); err != nil || b.url("mtn", "") != at {
			t.Errorf("after %s: at %s, was at %s: %v", up, b.url("mtn", ""), at, err)
		}
	}
	b.setFault("mtn", "none", 0)
	s.recipient = "2348031234567"
	b.says("purchase", b.buy(context.Background(), "mtn", s), b.speak["mtn"].bought[delivered])
}

func TestPortOfAShutDoorIsHeld(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.setFault("glo", "down", 0)
	p, _ := b.sim.provider("glo")
	plain, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0) // as an outgoing connection would bind
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(plain)
	addr, err := net.ResolveTCPAddr("tcp", p.door.addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(plain, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}}); err != syscall.EADDRINUSE {
		t.Errorf("bind to the port of a provider that is down: %v, want EADDRINUSE", err)
	}
	b.setFault("glo", "none", 0)
	if err := b.dial("glo"); err != nil {
		t.Error(err)
	}
}

// The number of a closed descriptor soon belongs to somebody else.
func TestDoorClosesItsSocketOnce(t *testing.T) {
	d, err := newDoor(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	was := d.held
	d.close(context.Background())
	pipe := make([]int, 2)
	if err := syscall.Pipe(pipe); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])
	if was != pipe[0] {
		t.Skipf("the system did not reuse descriptor %d", was)
	}
	d.close(context.Background())
	if _, err := syscall.Write(pipe[1], []byte("x")); err != nil {
		t.Errorf("write to a pipe opened between the two: %v", err)
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 loopback here: %v", err)
	}
	probe.Close()
	b := newBench(t, func(set *settings) { set.listen = "[::1]:0" })
	b.setFault("mtn", "down", 0)
	if err := b.dial("mtn"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v, want refused", err)
	}
	b.setFault("mtn", "none", 0)
	b.balance("mtn", 1_000_000_00)
}

func TestFaultCount(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	words := b.speak["topline"].bought
	s := sale{"mtn", "2348031234567", "", 100_00}
	buy := func(reference string) response {
		s.reference = reference
		return b.buy(context.Background(), "topline", s)
	}
	b.setFault("topline", "maintenance", 2)
	b.says("first", buy("A"), words[notExecuted])
	b.says("second", buy("B"), words[notExecuted])
	b.says("third", buy("C"), words[delivered])
	b.says("a reference that was used meets no fault", buy("C"), words[duplicate])

	b.setFault("topline", "float", 0)
	for _, reference := range []string{"D", "E", "F"} {
		b.says("until changed", buy(reference), words[floatLow])
	}
	b.setFault("topline", "decline", 1)
	s.recipient = "2348031239012"
	b.says("control goes before the number", buy("G"), words[badNumber])
	b.says("then the number", buy("G"), words[floatLow])
	b.setFault("topline", "decline", 0)
	b.setFault("topline", "none", 0)
	b.says("none leaves it to the number", buy("G"), words[floatLow])
}

func TestReset(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	s := sale{"mtn", "2348031234567", "A", 100_00}
	b.buy(context.Background(), "mtn", s)
	b.setFault("mtn", "hang", 0)
	b.setFault("topline", "down", 0)
	if status := b.control("POST", "/reset", "", nil); status != http.StatusOK {
		t.Fatalf("reset: HTTP %d", status)
	}
	if got := b.deliveries(""); got.Delivered != 0 || len(got.Deliveries) != 0 {
		t.Errorf("deliveries after reset: %+v", got)
	}
	if got := b.requests("mtn"); got != (counts{}) {
		t.Errorf("requests after reset: %+v", got)
	}
	b.balance("mtn", 1_000_000_00)
	b.says("same reference", b.buy(context.Background(), "mtn", s), b.speak["mtn"].bought[delivered])
	if err := b.dial("topline"); err != nil {
		t.Error(err)
	}
}

func TestControlErrors(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	cases := []struct {
		path, body string
		status     int
		detail     string
	}{
		{"/providers/ntel/fault", `{"fault":"down"}`, 404, `no provider "ntel"`},
		{"/providers/mtn/fault", `{"fault":"dwon"}`, 400, `unknown fault "dwon"`},
		{"/providers/mtn/fault", `{}`, 400, `unknown fault ""`},
		{"/providers/mtn/fault", `{"fault":"hang","times":2}`, 400, `body: json: unknown field "times"`},
		{"/providers/mtn/fault", `{"fault":"hang","count":-1}`, 400, `count -1 is negative`},
		{"/providers/mtn/fault", `{"fault":"down","count":1}`, 400, `count does not go with down, which meets no purchases`},
		{"/providers/mtn/fault", `{"fault":"none","count":1}`, 400, `count does not go with none, which meets no purchases`},
		{"/providers/mtn/fault", ``, 400, `body: EOF`},
		{"/providers/mtn/fault", `{"fault":"` + strings.Repeat("x", maxBody) + `"}`, 400, `read body: http: request body too large`},
	}
	for _, c := range cases {
		var got struct {
			Status        int
			Title, Detail string
		}
		if status := b.control("POST", c.path, c.body, &got); status != c.status || got.Status != c.status || got.Title == "" || got.Detail != c.detail {
			t.Errorf("%s %.40s: HTTP %d %+v, want HTTP %d %s", c.path, c.body, status, got, c.status, c.detail)
		}
	}
	b.says("no fault was set", b.buy(context.Background(), "mtn", sale{"mtn", "2348031234567", "A", 100_00}), b.speak["mtn"].bought[delivered])
}
