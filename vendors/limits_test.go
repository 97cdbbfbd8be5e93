package vendors_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/vendors"
)

// shops is acme twice, under the names of a route.
func shops(t *testing.T, route string, p *pipes, change func(name, text string) string) *vendors.Set {
	t.Helper()
	texts := []string{"routes.yaml", "networks:\n  mtn: {name: MTN, min: N50, max: \"N50,000\", route: " + route + "}\n"}
	for _, name := range []string{"acme", "bolt"} {
		text := strings.Replace(acme, "vendor: acme", "vendor: "+name, 1)
		if change != nil {
			text = change(name, text)
		}
		texts = append(texts, name+".yaml", text)
	}
	opt := vendors.Options{}
	if p != nil {
		opt.Dial = p.dial
	}
	set, err := vendors.Load(files(texts...), opt)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func explained(hops []vendors.Hop) string {
	var b strings.Builder
	for _, h := range hops {
		b.WriteString(h.Endpoint.Vendor())
		if h.Skipped != "" {
			b.WriteString(" (" + h.Skipped + ")")
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func TestExplain(t *testing.T) {
	at := func(hour, minute int) time.Time { return time.Date(2026, 11, 23, hour-1, minute, 0, 0, time.UTC) } // Lagos
	for _, test := range []struct {
		route string
		ask   vendors.Ask
		want  string
	}{
		{"[acme, bolt]", vendors.Ask{Amount: 100_00}, "acme; bolt"},
		{"[{vendor: acme, min: N200}, bolt]", vendors.Ask{Amount: 100_00}, "acme (only from N200); bolt"},
		{"[{vendor: acme, max: N99}, bolt]", vendors.Ask{Amount: 100_00}, "acme (only up to N99); bolt"},
		{"[{vendor: acme, min: N100, max: N100}, bolt]", vendors.Ask{Amount: 100_00}, "acme; bolt"},
		{"[{vendor: acme, hours: 08:00-20:00}, bolt]", vendors.Ask{Amount: 100_00, At: at(20, 0)}, "acme (only 08:00-20:00); bolt"},
		{"[{vendor: acme, hours: 08:00-20:00}, bolt]", vendors.Ask{Amount: 100_00, At: at(8, 0)}, "acme; bolt"},
		{"[{vendor: acme, hours: 22:00-06:00}, bolt]", vendors.Ask{Amount: 100_00, At: at(23, 59)}, "acme; bolt"},
		{"[{vendor: acme, hours: 22:00-06:00}, bolt]", vendors.Ask{Amount: 100_00, At: at(6, 0)}, "acme (only 22:00-06:00); bolt"},
		{"[{vendor: acme, products: [data]}, bolt]", vendors.Ask{Amount: 100_00}, "acme (not for airtime); bolt"},
		{"[{vendor: acme, products: [data]}, bolt]", vendors.Ask{Amount: 100_00, Product: "data"}, "acme (does not sell data); bolt (does not sell data)"},
		{"[{vendor: acme, off: they move house}, bolt]", vendors.Ask{Amount: 100_00}, "acme (off: they move house); bolt"},
		{"[{vendor: acme, off: {reason: works, from: '2026-11-23T12:00:00+01:00', until: '2026-11-23T13:00:00+01:00'}}, bolt]", vendors.Ask{Amount: 100_00, At: at(12, 59)}, "acme (off: works); bolt"},
		{"[{vendor: acme, off: {reason: works, from: '2026-11-23T12:00:00+01:00', until: '2026-11-23T13:00:00+01:00'}}, bolt]", vendors.Ask{Amount: 100_00, At: at(13, 0)}, "acme; bolt"},
	} {
		test.ask.Network = "mtn"
		if got := explained(shops(t, test.route, nil, nil).Explain(test.ask)); got != test.want {
			t.Errorf("%s: %s, want %s", test.route, got, test.want)
		}
	}
}

// A group is drawn by weight, the same for the same purchase.
func TestWeights(t *testing.T) {
	set := shops(t, "[[{vendor: acme, weight: 3}, {vendor: bolt}]]", nil, nil)
	first := 0
	for i := range 4000 {
		ask := vendors.Ask{Network: "mtn", Amount: 100_00, Key: fmt.Sprintf("TXN-%05d", i)}
		hops := set.Explain(ask)
		if len(hops) != 2 || hops[0] == hops[1] {
			t.Fatal(hops)
		}
		if again := set.Explain(ask); again[0] != hops[0] {
			t.Fatal("another order for the same purchase")
		}
		if hops[0].Endpoint.Vendor() == "acme" {
			first++
		}
	}
	if first < 2900 || first > 3100 { // 3000 expected, standard deviation 27; the keys are fixed
		t.Errorf("acme comes first %d times of 4000", first)
	}
}

// A vendor that only knows references of its own cannot stand before another.
func TestRouteOfVendorRefs(t *testing.T) {
	byRef := func(name, text string) string {
		if name != "acme" {
			return text
		}
		return strings.Replace(text, "path: /topups/{reference}", "path: /topups/{vendor_ref}", 1)
	}
	texts := func(route string) []string {
		out := []string{"routes.yaml", "networks:\n  mtn: {name: MTN, min: N50, max: \"N50,000\", route: " + route + "}\n"}
		for _, name := range []string{"acme", "bolt"} {
			out = append(out, name+".yaml", byRef(name, strings.Replace(acme, "vendor: acme", "vendor: "+name, 1)))
		}
		return out
	}
	const want = "acme must be the last: it can only be asked by a reference of its own, which a lost answer takes with it"
	for route, problem := range map[string]string{
		"[acme, bolt]":   "routes.yaml:2: networks.mtn.route[0]: " + want,
		"[[bolt, acme]]": "routes.yaml:2: networks.mtn.route[0][1]: " + want,
		"[bolt, acme]":   "",
	} {
		if _, err := vendors.Load(files(texts(route)...), vendors.Options{}); err == nil != (problem == "") || err != nil && err.Error() != problem {
			t.Errorf("%s: %v", route, err)
		}
	}
}

// talk makes pipes that answer each request with what say gives.
func talk(say func(*http.Request) string) *pipes {
	return &pipes{serve: func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err := io.WriteString(c, say(req)); err != nil {
				return
			}
		}
	}}
}

func TestSkipping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := json(200, `{"state":"NO_FLOAT"}`)
		p := talk(func(*http.Request) string { return answer })
		set := shops(t, "[acme, bolt]", p, nil)
		ask := vendors.Ask{Network: "mtn", Amount: 100_00}
		e := set.Route("mtn")[0]
		vend := func(n int) {
			for i := range n {
				e.Vend(t.Context(), another(fmt.Sprint(time.Now().UnixNano(), "-", i)))
				after(time.Second)
			}
		}
		says := func(want string) {
			t.Helper()
			if got := explained(set.Explain(ask)); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		vend(1)
		says("acme (float exhausted); bolt")
		ask.Amount = 99_00
		says("acme; bolt") // a smaller sale may still be paid for
		ask.Amount = 100_00
		after(5 * time.Minute)
		says("acme; bolt")

		answer = json(500, "")
		vend(5)
		says("acme (breaker open); bolt")
		after(15 * time.Second)
		says("acme; bolt")

		if _, err := set.Override("bolt/mtn/vend", vendors.Override{State: vendors.ForcedOpen, Reason: "their call", Until: time.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		says("acme; bolt (breaker forced open: their call)")
		after(time.Minute)
		says("acme; bolt")
		set.CloseIdleConnections()
		p.done.Wait()
	})
}

func TestOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		p := talk(func(*http.Request) string {
			calls.Add(1)
			return json(500, "")
		})
		set := shops(t, "[acme]", p, nil)
		e := set.Route("mtn")[0]
		n := 0
		vend := func(want vendors.Outcome) {
			t.Helper()
			n++
			if r := e.Vend(t.Context(), another(fmt.Sprint("A-", n))); r.Outcome != want {
				t.Errorf("%+v", r)
			}
		}
		minute := func(s vendors.Forced) vendors.Override {
			return vendors.Override{State: s, Reason: "as agreed", Until: time.Now().Add(time.Minute)}
		}
		for range 5 {
			vend(vendors.Ambiguous)
		}
		vend(vendors.Unavailable)
		if _, err := set.Override("acme/mtn/vend", minute(vendors.ForcedClosed)); err != nil {
			t.Fatal(err)
		}
		vend(vendors.Ambiguous)
		if b := e.Breaker().Vend; b.State != "closed" || b.Forced == nil || b.Forced.Reason != "as agreed" {
			t.Errorf("%+v", b)
		}
		// A reload keeps it, even when the vendor's file changes.
		text := strings.Replace(acme, "path: /topups\n", "path: /topup\n", 1)
		next, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", text), vendors.Options{Dial: p.dial, Previous: set})
		if err != nil {
			t.Fatal(err)
		}
		if b := next.Route("mtn")[0].Breaker().Vend; b.Forced == nil {
			t.Errorf("%+v", b)
		}
		if _, err := next.Override("acme/mtn/vend", vendors.Override{}); err != nil {
			t.Fatal(err)
		}
		vend(vendors.Unavailable) // the two sets share the operator's will
		if _, err := set.Override("acme/mtn/query", minute(vendors.ForcedOpen)); err != nil {
			t.Fatal(err)
		}
		before := calls.Load()
		if f := e.Query(t.Context(), hundred("mtn"), ""); f.State != vendors.Unknown || f.Reason != vendors.ReasonDown || calls.Load() != before {
			t.Errorf("%+v", f)
		}
		for name, o := range map[string]vendors.Override{
			"acme/glo/vend":  minute(vendors.ForcedOpen),
			"acme/mtn/vend":  {State: vendors.ForcedOpen, Until: time.Now().Add(time.Minute)},
			"acme/mtn/query": {State: vendors.ForcedOpen, Reason: "x", Until: time.Now()},
			"acme/mtn/ven":   minute(vendors.ForcedOpen), // no beginning of a name but a whole part of it
			"":               minute(vendors.ForcedOpen),
		} {
			if _, err := set.Override(name, o); err == nil {
				t.Errorf("%s %+v", name, o)
			}
		}
		set.CloseIdleConnections()
		next.CloseIdleConnections()
		p.done.Wait()
	})
}

// lines is a log that timers write, too.
type lines struct {
	mu   sync.Mutex
	text string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(b)
	return len(b), nil
}

// take gives what was logged since it was last taken.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text
	l.text = ""
	return text
}

// A whole vendor or endpoint can be forced, and its end is told when it comes, whether or not
// anybody looks.
func TestOverrideOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		opt := vendors.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: noTime}))}
		set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", acme+lookups), opt)
		if err != nil {
			t.Fatal(err)
		}
		forced := func(s *vendors.Set) (names string) {
			for _, b := range s.Breakers() {
				if b.Forced != nil {
					names += b.Name + " " + b.State + "\n"
				}
			}
			return names
		}
		for _, test := range []struct{ which, want string }{
			{"acme/mtn/query", "acme/mtn/query open\n"},
			{"acme/mtn", "acme/mtn/query open\nacme/mtn/vend open\n"},
			{"acme/balance", "acme/balance open\n"},
			{"acme", "acme/balance open\nacme/mtn/query open\nacme/mtn/vend open\nacme/products open\n"},
		} {
			o := vendors.Override{State: vendors.ForcedOpen, Reason: "they move house", By: "amina", Until: time.Now().Add(time.Hour)}
			got, err := set.Override(test.which, o)
			if err != nil {
				t.Fatal(err)
			}
			if forced(set) != test.want || len(got) != strings.Count(test.want, "\n") {
				t.Errorf("%s: forced\n%s, answered %+v", test.which, forced(set), got)
			}
			if _, err := set.Override(test.which, vendors.Override{}); err != nil || forced(set) != "" {
				t.Errorf("%s: %v, still forced\n%s", test.which, err, forced(set))
			}
		}
		until := func(d time.Duration) {
			t.Helper()
			o := vendors.Override{State: vendors.ForcedClosed, Reason: "they are back", By: "amina", Until: time.Now().Add(d)}
			if _, err := set.Override("acme/mtn/vend", o); err != nil {
				t.Fatal(err)
			}
		}
		until(time.Minute)
		until(time.Hour) // the first end is no end any more
		log.take()
		opt.Previous = set
		next, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", acme), opt)
		if err != nil {
			t.Fatal(err)
		}
		after(time.Hour - time.Nanosecond)
		if logged := log.take(); forced(next) == "" || logged != "" {
			t.Errorf("%q, log\n%s", forced(next), logged)
		}
		after(time.Nanosecond)
		synctest.Wait()
		want := `level=WARN msg="breaker decides again, its time is over" breaker=acme/mtn/vend forced=closed by=amina reason="they are back"` + "\n"
		if logged := log.take(); logged != want || forced(next) != "" {
			t.Errorf("%q, log\n%s", forced(next), logged)
		}
	})
}

// Of two vends with one reference only one is ever on its way, over a reload, too.
func TestOneReferenceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		answer := make(chan struct{})
		p := talk(func(*http.Request) string {
			calls.Add(1)
			<-answer
			return json(200, done)
		})
		set := shops(t, "[acme]", p, nil)
		next, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", strings.Replace(acme, "auth: none", "auth: none\nmax_in_flight: 9", 1)),
			vendors.Options{Dial: p.dial, Previous: set})
		if err != nil {
			t.Fatal(err)
		}
		var first sync.WaitGroup
		first.Go(func() {
			if r := set.Route("mtn")[0].Vend(t.Context(), hundred("mtn")); r.Outcome != vendors.Delivered {
				t.Errorf("%+v", r)
			}
		})
		synctest.Wait()
		for _, s := range []*vendors.Set{set, next} {
			if r := s.Route("mtn")[0].Vend(t.Context(), hundred("mtn")); r.Outcome != vendors.Ambiguous || r.Reason != vendors.ReasonDuplicate || r.Sent {
				t.Errorf("%+v", r)
			}
		}
		close(answer)
		first.Wait()
		if calls.Load() != 1 {
			t.Errorf("%d calls", calls.Load())
		}
		set.CloseIdleConnections()
		next.CloseIdleConnections()
		p.done.Wait()
	})
}

// A gap begins when a vend is sent, for the vendor has it from then on, and one that is declined ends it.
func TestGapInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan string)
		p := talk(func(*http.Request) string { return <-answer })
		set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", strings.Replace(acme, "auth: none", "auth: none\ngap: 30s", 1)), vendors.Options{Dial: p.dial})
		if err != nil {
			t.Fatal(err)
		}
		e := set.Route("mtn")[0]
		for i, step := range []struct {
			answer string
			want   vendors.Outcome
		}{{json(200, `{"state":"NO_FLOAT"}`), vendors.Declined}, {json(200, done), vendors.Delivered}} {
			var first sync.WaitGroup
			first.Go(func() {
				if r := e.Vend(t.Context(), another(fmt.Sprint("R-", i))); r.Outcome != step.want {
					t.Errorf("%d: %+v", i, r)
				}
			})
			synctest.Wait()
			if r := e.Vend(t.Context(), another("R-9")); r.Outcome != vendors.Unavailable || r.Reason != vendors.ReasonBusy || r.Sent {
				t.Errorf("%d: %+v", i, r)
			}
			answer <- step.answer
			first.Wait()
		}
		set.CloseIdleConnections()
		p.done.Wait()
	})
}

func TestRateAndGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := talk(func(*http.Request) string { return json(200, done) })
		with := func(more string, previous *vendors.Set) *vendors.Set {
			set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", strings.Replace(acme, "auth: none", "auth: none\n"+more, 1)), vendors.Options{Dial: p.dial, Previous: previous})
			if err != nil {
				t.Fatal(err)
			}
			return set
		}
		n := 0
		vend := func(s *vendors.Set, to, want string) {
			t.Helper()
			n++
			r := another(fmt.Sprint("R-", n))
			r.Recipient = to
			start := time.Now()
			res := s.Route("mtn")[0].Vend(t.Context(), r)
			if got := fmt.Sprintf("%s %s %s", res.Outcome, res.Reason, time.Since(start)); got != want {
				t.Errorf("%d: %s, want %s: %s", n, got, want, res.Detail)
			}
		}
		set := with("rate: {calls: 2, per: 1s, wait: 400ms}", nil)
		vend(set, amina, "delivered  0s")
		vend(set, amina, "delivered  0s")
		again := with("rate: {calls: 2, per: 1s, wait: 400ms}", set) // a reload forgets nothing
		vend(again, amina, "unavailable busy 0s")
		after(200 * time.Millisecond)
		vend(again, amina, "delivered  300ms")

		// Neither does a set that is refused leave anything behind in the one that goes on.
		for _, more := range []string{"gap: -1s", "rate: {calls: 0}", "rate: {calls: 9}\ngap: -1s"} {
			if _, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", strings.Replace(acme, "auth: none", "auth: none\n"+more, 1)), vendors.Options{Dial: p.dial, Previous: again}); err == nil {
				t.Errorf("%q is no problem", more)
			}
		}
		vend(again, amina, "unavailable busy 0s")

		gap := with("gap: 30s", nil)
		vend(gap, amina, "delivered  0s")
		vend(gap, amina, "unavailable busy 0s")
		vend(gap, "2348051234567", "delivered  0s")
		after(29 * time.Second)
		vend(with("gap: 30s", gap), amina, "unavailable busy 0s")
		after(time.Second)
		vend(gap, amina, "delivered  0s")
		for _, s := range []*vendors.Set{set, again, gap} {
			s.CloseIdleConnections()
		}
		after(time.Minute)
		p.done.Wait()
	})
}

// A vendor that asks for silence gets it, but no more than a minute.
func TestRetryAfter(t *testing.T) {
	for name, test := range map[string]struct {
		says func() string
		want time.Duration
	}{
		"seconds":      {func() string { return "20" }, 20 * time.Second},
		"a time":       {func() string { return time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat) }, 20 * time.Second},
		"a day":        {func() string { return "86400" }, time.Minute},
		"a time past":  {func() string { return "Sun, 06 Nov 1994 08:49:37 GMT" }, 0},
		"less than no": {func() string { return "-20" }, 0},
		"nonsense":     {func() string { return "soon" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := "HTTP/1.1 429 X\r\nRetry-After: " + test.says() + "\r\nContent-Length: 2\r\n\r\n{}"
				p := talk(func(*http.Request) string { return answer })
				set := shops(t, "[acme]", p, nil)
				e := set.Route("mtn")[0]
				if r := e.Vend(t.Context(), another("A")); r.Outcome != vendors.Ambiguous || r.Reason != vendors.ReasonBusy {
					t.Errorf("%+v", r)
				}
				answer = json(200, done)
				if test.want > 0 {
					after(test.want - time.Second)
					if r := e.Vend(t.Context(), another("B")); r.Outcome != vendors.Unavailable || r.Reason != vendors.ReasonBusy {
						t.Errorf("%+v", r)
					}
					after(time.Second)
				}
				if r := e.Vend(t.Context(), another("C")); r.Outcome != vendors.Delivered {
					t.Errorf("%+v", r)
				}
				set.CloseIdleConnections()
				p.done.Wait()
			})
		})
	}
}

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials int
		p := talk(func(*http.Request) string { return json(200, done) })
		fails := 2
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; dials <= fails {
				return nil, errors.New("connection refused")
			}
			return p.dial(ctx, network, addr)
		}
		set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", strings.Replace(acme, "auth: none", "auth: none\nretries: 2", 1)), vendors.Options{Dial: dial})
		if err != nil {
			t.Fatal(err)
		}
		e := set.Route("mtn")[0]
		if r := e.Vend(t.Context(), another("A")); r.Outcome != vendors.Delivered || dials != 3 || r.Took > time.Second {
			t.Errorf("%d dials, %+v", dials, r)
		}
		set.CloseIdleConnections()
		after(time.Minute)
		dials, fails = 0, 100
		if r := e.Vend(t.Context(), another("B")); r.Outcome != vendors.NotSent || dials != 3 {
			t.Errorf("%d dials, %+v", dials, r)
		}
		p.done.Wait()
	})
}

const lookups = `
balance:
  method: GET
  path: /balance
  life: 3m
  low: N500
  rules: [{status: 200, json: {state: OK}, then: known}]
  fields: {balance: {path: left, unit: naira, currency: NGN}}
products:
  method: GET
  path: /products
  params: {network: "{network}"}
  rules: [{status: 200, json: {items: {present: true}}, then: known}]
  items: items
  id: code
  name: title
  price: {path: price, unit: kobo}
`

func TestLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		hold := make(chan struct{})
		left := "NGN 1,000.00"
		p := talk(func(r *http.Request) string {
			asked.Add(1)
			<-hold
			switch r.URL.Path {
			case "/balance":
				return json(200, `{"state":"OK","left":"`+left+`"}`)
			case "/products":
				return json(200, `{"items":[{"code":"D1","title":"1 GB","price":"30000"},{"code":7,"price":"x"},{"title":"no code"}]}`)
			}
			return json(200, `{"state":"DONE","cost":"97.00"}`)
		})
		set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", acme+lookups), vendors.Options{Dial: p.dial})
		if err != nil {
			t.Fatal(err)
		}
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if kobo, err := set.Balance(t.Context(), "acme"); err != nil || kobo != 1000_00 {
					t.Error(kobo, err)
				}
			})
		}
		synctest.Wait()
		close(hold)
		callers.Wait()
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
		float := func(kobo int64, low bool) {
			t.Helper()
			if f := set.Floats()[0]; f.Kobo != kobo || f.IsLow() != low || f.Vendor != "acme" || f.Known.IsZero() {
				t.Errorf("%+v", f)
			}
		}
		float(1000_00, false)
		e := set.Route("mtn")[0]
		for i := range 6 {
			e.Vend(t.Context(), another(fmt.Sprint("A-", i)))
		}
		float(418_00, true)
		ask := vendors.Ask{Network: "mtn", Amount: 1000_00}
		if got := explained(set.Explain(ask)); got != "acme (float is N418.00)" {
			t.Error(got)
		}
		left = "NGN 20.5"
		if kobo, err := set.Balance(t.Context(), "acme"); err != nil || kobo != 1000_00 {
			t.Error("the answer was not kept", kobo, err)
		}
		after(3 * time.Minute)
		if kobo, err := set.Balance(t.Context(), "acme"); err != nil || kobo != 20_50 {
			t.Error(kobo, err)
		}
		float(20_50, true)
		ask.Amount = 100_00
		for _, test := range []struct {
			after time.Duration // since it was told
			want  string
		}{{6 * time.Minute, "acme (float is N20.50)"}, {time.Nanosecond, "acme"}} { // nobody asked: it may have been filled
			after(test.after)
			if got := explained(set.Explain(ask)); got != test.want {
				t.Error(got)
			}
		}
		left = "20.50"
		after(3 * time.Minute)
		if kobo, err := set.Balance(t.Context(), "acme"); err == nil {
			t.Error(kobo)
		}
		before := asked.Load()
		for range 3 {
			products, err := e.Products(t.Context())
			if err != nil || fmt.Sprint(products) != "[{D1 1 GB 30000} {7  0}]" {
				t.Error(products, err)
			}
		}
		if asked.Load() != before+1 {
			t.Error("products are not kept")
		}
		if _, err := shops(t, "[acme]", nil, nil).Balance(t.Context(), "acme"); !errors.Is(err, vendors.ErrNoLookup) {
			t.Error(err)
		}
		set.CloseIdleConnections()
		p.done.Wait()
	})
}

// A float that ran out is left alone until the vendor tells that it has been filled.
func TestFloatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := "NGN 20.00"
		p := talk(func(r *http.Request) string {
			if r.URL.Path == "/balance" {
				return json(200, `{"state":"OK","left":"`+left+`"}`)
			}
			return json(200, `{"state":"NO_FLOAT"}`)
		})
		set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", acme+lookups), vendors.Options{Dial: p.dial})
		if err != nil {
			t.Fatal(err)
		}
		says := func(want string) {
			t.Helper()
			if got := explained(set.Explain(vendors.Ask{Network: "mtn", Amount: 100_00})); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		says("acme")
		if r := set.Route("mtn")[0].Vend(t.Context(), hundred("mtn")); r.Reason != vendors.ReasonFloat {
			t.Fatalf("%+v", r)
		}
		says("acme (float exhausted)")
		for _, test := range []struct{ left, want string }{{"NGN 20.00", "acme (float is N20.00)"}, {"NGN 5,000.00", "acme"}} {
			left = test.left
			if _, err := set.Balance(t.Context(), "acme"); err != nil {
				t.Error(err)
			}
			says(test.want)
			after(set.Floats()[0].Every)
		}
		set.CloseIdleConnections()
		p.done.Wait()
	})
}
