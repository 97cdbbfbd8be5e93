package vendors_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/vendors"
)

// The tests of this file run in bubbles of testing/synctest: time stands still until everybody
// waits, so that time-outs and breakers are exact, and cost nothing.

// pipes is a network inside a bubble: every dial gets a pipe, and serve has its other end.
type pipes struct {
	serve func(c net.Conn, r *bufio.Reader)
	done  sync.WaitGroup
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.done.Go(func() {
		defer there.Close()
		p.serve(there, bufio.NewReader(there))
	})
	return here, nil
}

// after waits in the bubble's time.
func after(d time.Duration) { <-time.After(d) }

// noTime is a slog.HandlerOptions.ReplaceAttr.
func noTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func mute(c net.Conn, _ *bufio.Reader) { _, _ = io.Copy(io.Discard, c) }

func TestTimeouts(t *testing.T) {
	blackHole := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	trickle := func(c net.Conn, r *bufio.Reader) {
		if !hear(r) {
			return
		}
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
		for err == nil {
			after(time.Second)
			_, err = io.WriteString(c, " ")
		}
	}
	slowly := func(c net.Conn, r *bufio.Reader) {
		for hear(r) {
			after(11 * time.Second)
			_, _ = io.WriteString(c, json(200, done))
		}
	}
	given := strings.Replace(acme, "auth: none", "auth: none\ntimeouts: {connect: 3s, total: 5s}", 1)
	total := strings.Replace(acme, "auth: none", "auth: none\ntimeouts: {total: 1s}", 1)
	for _, test := range []struct {
		name   string
		text   string
		base   string
		budget time.Duration
		dial   func(context.Context, string, string) (net.Conn, error)
		serve  func(net.Conn, *bufio.Reader)
		caller time.Duration // deadline of the caller's context
		want   string
	}{
		{name: "no connection", dial: blackHole, want: "not_sent timeout false after 1.333333333s"},
		{name: "no connection, large budget", dial: blackHole, budget: 9 * time.Second, want: "not_sent timeout false after 2s"},
		{name: "no connection, given", text: given, dial: blackHole, want: "not_sent timeout false after 3s"},
		{name: "no connection, total given", text: total, dial: blackHole, want: "not_sent timeout false after 1s"},
		{name: "no handshake", base: "https://acme.example", serve: mute, want: "not_sent timeout false after 1.333333333s"},
		{name: "no answer", serve: mute, want: "pending timeout true after 12s"},
		{name: "no answer, large budget", budget: 9 * time.Second, serve: mute, want: "pending timeout true after 27s"},
		{name: "no answer, given", text: given, serve: mute, want: "pending timeout true after 5s"},
		{name: "no answer, caller in a hurry", serve: mute, caller: 3 * time.Second, want: "pending timeout true after 3s"},
		{name: "slow trickle", serve: trickle, want: "pending timeout true after 12s"},
		{name: "slow answer", serve: slowly, want: "delivered  true after 11s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pipes{serve: test.serve}
				if test.dial == nil {
					test.dial = p.dial
				}
				if test.text == "" {
					test.text = acme
				}
				opt := vendors.Options{Budget: test.budget, Dial: test.dial}
				if test.base != "" {
					opt.URLs = map[string]string{"acme": test.base}
				}
				set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", test.text), opt)
				if err != nil {
					t.Fatal(err)
				}
				ctx := context.Background()
				if test.caller > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.caller)
					defer cancel()
				}
				r := set.Route("mtn")[0].Vend(ctx, hundred("mtn"))
				if got := fmt.Sprintf("%s %s %t after %s", r.Outcome, r.Reason, r.Sent, r.Took); got != test.want {
					t.Errorf("%s: %s", got, r.Detail)
				}
				set.CloseIdleConnections()
				p.done.Wait()
			})
		})
	}
}

// A step's time is enough for a first endpoint that cannot be reached and a second one that can.
func TestFallbackInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: func(c net.Conn, r *bufio.Reader) {
			for hear(r) {
				_, _ = io.WriteString(c, json(200, done))
			}
		}}
		other := strings.ReplaceAll(strings.Replace(acme, "vendor: acme", "vendor: other", 1), "127.0.0.1", "other.example")
		set, err := vendors.Load(files("acme.yaml", acme, "other.yaml", other, "routes.yaml", strings.Replace(routes, "[acme]", "[acme, other]", 1)), vendors.Options{
			Budget: 3 * time.Second,
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if strings.HasPrefix(addr, "other") {
					return p.dial(ctx, network, addr)
				}
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		var got []string
		for _, e := range set.Route("mtn") {
			got = append(got, e.Vend(ctx, hundred("mtn")).Outcome.String())
		}
		if s := strings.Join(got, " "); s != "not_sent delivered" {
			t.Error(s)
		}
		set.CloseIdleConnections()
		p.done.Wait()
	})
}

// tale is a vendor inside a bubble that answers what it is told to.
type tale struct {
	t      *testing.T
	mu     sync.Mutex
	answer map[string]string // by method; "" = none
	heard  int
	pipes  pipes
	log    strings.Builder
	opt    vendors.Options
	set    *vendors.Set
	e      *vendors.Endpoint
}

const two = `networks:
  mtn: {name: MTN, min: N50, max: N500, route: [acme]}
  glo: {name: Glo, min: N50, max: N500, route: [acme]}
`

var acmeTwo = strings.Replace(acme, "{mtn: {code: MTN}}", "{mtn: {code: MTN}, glo: {code: GLO}}", 1)

func newTale(t *testing.T) *tale {
	s := &tale{t: t, answer: map[string]string{}}
	s.pipes.serve = func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			s.mu.Lock()
			s.heard++
			answer := s.answer[req.Method]
			s.mu.Unlock()
			if answer == "" {
				return
			}
			_, _ = io.WriteString(c, answer)
		}
	}
	s.opt = vendors.Options{
		Dial: s.pipes.dial,
		Log:  slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{ReplaceAttr: noTime})),
	}
	s.load(acmeTwo)
	t.Cleanup(func() {
		s.set.CloseIdleConnections()
		s.pipes.done.Wait()
	})
	return s
}

func (s *tale) load(text string) {
	s.t.Helper()
	s.opt.Previous = s.set
	set, err := vendors.Load(files("routes.yaml", two, "acme.yaml", text), s.opt)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.set != nil {
		s.set.CloseIdleConnections()
	}
	s.set = set
	s.e, _ = set.Endpoint("acme", "mtn")
}

// answers sets what POSTs, that is vends, are answered.
func (s *tale) answers(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer["POST"] = text
}

// vend sells n times, and expects the same outcome each time.
func (s *tale) vend(n int, outcome vendors.Outcome) {
	s.t.Helper()
	for i := range n {
		if r := s.e.Vend(s.t.Context(), hundred("mtn")); r.Outcome != outcome {
			s.t.Fatalf("vend %d of %d: %+v", i+1, n, r)
		}
	}
}

func (s *tale) state(vend, query string) {
	s.t.Helper()
	if b := s.e.Breaker(); b.Vend.State != vend || b.Query.State != query {
		s.t.Errorf("vend %s, query %s, want %s, %s", b.Vend.State, b.Query.State, vend, query)
	}
}

func bubble(t *testing.T, name string, f func(s *tale)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(newTale(t)) })
	})
}

func TestBreaker(t *testing.T) {
	ok := json(200, done)
	state := func(s string) string { return json(200, `{"state":"`+s+`"}`) }

	bubble(t, "five failures in a row open it, and a success closes it", func(s *tale) {
		s.answers(json(500, "<h1>oops</h1>"))
		s.vend(4, vendors.Ambiguous)
		s.state("closed", "closed")
		s.vend(1, vendors.Ambiguous)
		s.state("open", "closed")
		s.vend(3, vendors.Unavailable)
		if s.heard != 5 {
			s.t.Errorf("heard %d", s.heard)
		}
		s.answers(ok)
		after(15 * time.Second)
		s.vend(1, vendors.Unavailable)
		after(time.Nanosecond)
		s.state("half-open", "closed")
		s.vend(1, vendors.Delivered)
		s.state("closed", "closed")
		want := `level=WARN msg=breaker breaker=acme/mtn/vend from=closed to=open
level=WARN msg=breaker breaker=acme/mtn/vend from=open to=half-open
level=WARN msg=breaker breaker=acme/mtn/vend from=half-open to=closed
`
		if s.log.String() != want {
			s.t.Errorf("log\n%s", s.log.String())
		}
	})

	bubble(t, "a failure of the call that tries opens it again", func(s *tale) {
		s.answers("")
		s.vend(5, vendors.Ambiguous)
		after(16 * time.Second)
		s.vend(1, vendors.Ambiguous)
		s.vend(1, vendors.Unavailable)
		s.state("open", "closed")
	})

	bubble(t, "what it refuses says so", func(s *tale) {
		s.answers("")
		s.vend(5, vendors.Ambiguous)
		r := s.e.Vend(s.t.Context(), hundred("mtn"))
		if r.Reason != vendors.ReasonDown || r.Sent || r.Final || r.Detail != "breaker open" {
			s.t.Errorf("%+v", r)
		}
	})

	bubble(t, "networks and queries have their own", func(s *tale) {
		s.answers("")
		s.answer["GET"] = ok
		s.vend(5, vendors.Ambiguous)
		s.vend(1, vendors.Unavailable)
		if f := s.e.Query(s.t.Context(), hundred("mtn"), ""); f.State != vendors.FoundDelivered {
			s.t.Errorf("query: %+v", f)
		}
		glo, _ := s.set.Endpoint("acme", "glo")
		if r := glo.Vend(s.t.Context(), hundred("glo")); r.Outcome != vendors.Ambiguous {
			s.t.Errorf("glo: %+v", r)
		}
	})

	bubble(t, "queries that fail open only theirs", func(s *tale) {
		s.answers(ok)
		for range 5 {
			if f := s.e.Query(s.t.Context(), hundred("mtn"), ""); f.State != vendors.Unknown {
				s.t.Errorf("%+v", f)
			}
		}
		s.state("closed", "open")
		if f := s.e.Query(s.t.Context(), hundred("mtn"), ""); f.State != vendors.Unknown || f.Reason != vendors.ReasonDown || f.Detail != "breaker open" {
			s.t.Errorf("%+v", f)
		}
		s.vend(1, vendors.Delivered)
	})

	bubble(t, "queries that find bad news don't open it", func(s *tale) {
		for _, answer := range []string{state("FAILED"), state("UNKNOWN"), state("WORKING")} {
			s.answer["GET"] = answer
			for range 6 {
				s.e.Query(s.t.Context(), hundred("mtn"), "")
			}
		}
		s.state("closed", "closed")
	})

	for _, test := range []struct {
		name, answer string
		outcome      vendors.Outcome
		health       string // success, excluded or failure
	}{
		{"delivered", ok, vendors.Delivered, "success"},
		{"documented pending", state("WORKING"), vendors.Ambiguous, "success"},
		{"accepted", json(202, "{}"), vendors.Ambiguous, "success"},
		{"bad number", state("BAD_NUMBER"), vendors.Declined, "excluded"},
		{"empty float", state("NO_FLOAT"), vendors.Declined, "excluded"},
		{"duplicate", state("SEEN"), vendors.Ambiguous, "excluded"},
		{"out of service", state("CLOSED"), vendors.Declined, "failure"},
		{"unmatched", state("?"), vendors.Ambiguous, "failure"},
		{"garbage", json(200, "<html>"), vendors.Ambiguous, "failure"},
		{"bad gateway", json(502, ""), vendors.Ambiguous, "failure"},
		{"stuck in the headers", "HTTP/1.1 200 OK\r\nContent-Len", vendors.Ambiguous, "failure"},
		{"no answer", "", vendors.Ambiguous, "failure"},
	} {
		bubble(t, test.name+" is "+test.health, func(s *tale) {
			s.answers(test.answer)
			s.vend(4, test.outcome)
			got := ""
			switch b := s.e.Breaker().Vend; {
			case b == vendors.Breaker{State: "closed", Successes: 4}:
				got = "success"
			case b == vendors.Breaker{State: "closed", Excluded: 4}:
				got = "excluded"
			case b == vendors.Breaker{State: "closed", Failures: 4, ConsecutiveFailures: 4}:
				got = "failure"
			}
			if got != test.health {
				s.t.Errorf("%+v", s.e.Breaker().Vend)
			}
		})
	}

	bubble(t, "half of ten or more calls open it", func(s *tale) {
		for range 4 { // never five in a row
			s.answers(ok)
			s.vend(1, vendors.Delivered)
			s.answers("")
			s.vend(1, vendors.Ambiguous)
		}
		s.answers(ok)
		s.vend(1, vendors.Delivered)
		s.state("closed", "closed")
		s.answers("")
		s.vend(1, vendors.Ambiguous)
		s.state("open", "closed")
	})

	bubble(t, "old failures are forgotten", func(s *tale) {
		s.answers("")
		s.vend(4, vendors.Ambiguous)
		after(6 * time.Minute)
		s.vend(4, vendors.Ambiguous)
		s.state("closed", "closed")
	})

	bubble(t, "slow failures are not", func(s *tale) {
		s.pipes.serve = mute
		for range 5 {
			s.vend(1, vendors.Ambiguous) // 12 s each
		}
		s.state("open", "closed")
	})

	bubble(t, "connections that fail open it", func(s *tale) {
		s.opt.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }
		s.set = nil
		s.load(acmeTwo)
		s.vend(5, vendors.NotSent)
		s.vend(1, vendors.Unavailable)
	})
}

func TestReload(t *testing.T) {
	secretly := strings.Replace(acmeTwo, "auth: none", "auth: {bearer: {secret: acme-key}, optional: true}", 1)
	for _, test := range []struct {
		name, before, after string
		secrets             func(string) (string, bool)
		keeps               bool
	}{
		{"nothing", acmeTwo, acmeTwo, nil, true},
		{"a comment", acmeTwo, "# our friends\n" + acmeTwo, nil, true},
		{"another network", acme + "\n", acmeTwo, nil, true},
		{"when not found is believed", acmeTwo, acmeTwo + "not_found: {grace: 1s, times: 1}\n", nil, true},
		{"the secret", secretly, secretly, secrets, true},
		{"the address", acmeTwo, strings.Replace(acmeTwo, "127.0.0.1:1", "127.0.0.1:2", 1), nil, false},
		{"a rule", acmeTwo, strings.Replace(acmeTwo, "NO_FLOAT", "NO_MONEY", 1), nil, false},
		{"the network's code", acmeTwo, strings.Replace(acmeTwo, "code: MTN", "code: mtn", 1), nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pipes{serve: func(_ net.Conn, r *bufio.Reader) { hear(r) }}
				opt := vendors.Options{Dial: p.dial}
				first, err := vendors.Load(files("routes.yaml", routesOf(test.before), "acme.yaml", test.before), opt)
				if err != nil {
					t.Fatal(err)
				}
				for range 5 {
					first.Route("mtn")[0].Vend(t.Context(), hundred("mtn"))
				}
				opt.Previous, opt.Secrets = first, test.secrets
				second, err := vendors.Load(files("routes.yaml", routesOf(test.after), "acme.yaml", test.after), opt)
				if err != nil {
					t.Fatal(err)
				}
				r := second.Route("mtn")[0].Vend(t.Context(), hundred("mtn"))
				if kept := r.Outcome == vendors.Unavailable; kept != test.keeps {
					t.Errorf("%+v", r)
				}
				first.CloseIdleConnections()
				second.CloseIdleConnections()
				p.done.Wait()
			})
		})
	}
}

func routesOf(text string) string {
	if strings.Contains(text, "glo:") {
		return two
	}
	return routes
}

// Reloading disturbs no call, and calls disturb no reload.
func TestReloadUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: func(c net.Conn, r *bufio.Reader) {
			for hear(r) {
				_, _ = io.WriteString(c, json(200, done))
			}
		}}
		var mu sync.Mutex
		set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", acme), vendors.Options{Dial: p.dial})
		if err != nil {
			t.Fatal(err)
		}
		current := func() *vendors.Set {
			mu.Lock()
			defer mu.Unlock()
			return set
		}
		var sellers sync.WaitGroup
		for seller := range 8 {
			sellers.Go(func() {
				for sale := range 50 {
					if r := current().Route("mtn")[0].Vend(t.Context(), another(fmt.Sprintf("%s-%d-%d", txn, seller, sale))); r.Outcome != vendors.Delivered {
						t.Errorf("%+v", r)
					}
				}
			})
		}
		for range 20 {
			old := current()
			next, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", acme), vendors.Options{Dial: p.dial, Previous: old})
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			set = next
			mu.Unlock()
			old.CloseIdleConnections()
		}
		sellers.Wait()
		if b := current().Route("mtn")[0].Breaker().Vend; b.Successes != 400 || b.InFlight != 0 {
			t.Errorf("%+v", b)
		}
		synctest.Wait()
		current().CloseIdleConnections()
		after(time.Minute) // what came back to a replaced set's transport is closed by then
		p.done.Wait()
	})
}
