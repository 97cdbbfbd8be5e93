package purchase_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// till is a vendor with an HTTP API, in the bubble of a test, that notes which
// calls are under way with one reference.
type till struct {
	t       testing.TB
	calling chan net.Conn
	server  *http.Server
	served  chan struct{}
	does    func(call string, w http.ResponseWriter, r *http.Request) // "vend" or "query", and its number: "vend 1"

	mu       sync.Mutex
	refuse   int // connections that do not come about, from now on
	underWay map[string][]string
	counts   map[string]int // calls by kind and reference
	calls    []string       // with their times
	begun    time.Time
}

func openTill(t testing.TB, does func(call string, w http.ResponseWriter, r *http.Request)) *till {
	v := &till{t: t, calling: make(chan net.Conn), served: make(chan struct{}), does: does, underWay: map[string][]string{},
		counts: map[string]int{}, begun: time.Now()}
	v.server = &http.Server{Handler: v}
	go func() {
		defer close(v.served)
		_ = v.server.Serve(v)
	}()
	return v
}

// Accept, Close and Addr make it a net.Listener of pipes.
func (v *till) Accept() (net.Conn, error) {
	c, ok := <-v.calling
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (v *till) Close() error { close(v.calling); return nil }

func (v *till) Addr() net.Addr { return &net.TCPAddr{} }

func (v *till) close() {
	_ = v.server.Close()
	<-v.served
}

func (v *till) dial(context.Context, string, string) (net.Conn, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.refuse > 0 {
		v.refuse--
		return nil, fmt.Errorf("connection refused")
	}
	here, there := net.Pipe()
	v.calling <- there
	return here, nil
}

func (v *till) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what, reference := "query", strings.TrimPrefix(r.URL.Path, "/topups/")
	if r.Method == http.MethodPost {
		var body struct{ Ref string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			v.t.Errorf("vend: %v", err)
		}
		what, reference = "vend", body.Ref
	}
	v.mu.Lock()
	v.counts[what+" "+reference]++
	call := fmt.Sprintf("%s %d", what, v.counts[what+" "+reference])
	if beside := v.underWay[reference]; len(beside) > 0 {
		v.t.Errorf("%v: %s of %s beside %v", time.Since(v.begun), call, reference, beside)
	}
	v.underWay[reference] = append(v.underWay[reference], call)
	v.calls = append(v.calls, fmt.Sprintf("%v %s", time.Since(v.begun), call))
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.underWay[reference] = slices.DeleteFunc(v.underWay[reference], func(c string) bool { return c == call })
	}()
	v.does(call, w, r)
}

// hangs until the caller has gone.
func hangs(r *http.Request) { <-r.Context().Done() }

func says(w http.ResponseWriter, state string) { fmt.Fprintf(w, `{"state":%q,"ref":"x"}`, state) }

const tillFile = `vendor: till
base: http://127.0.0.1:1
auth:
  header: {name: X-Key, secret: till-key}
  refused: [{status: 401, json: {state: WHO}}]
timeouts: {connect: 1s, answer: 1m, total: 2m}
retries: 3
networks: {mtn: {code: MTN}}
vend:
  method: POST
  path: /topups
  json: {to: "{phone|intl}", kobo: "{amount|kobo}", ref: "{reference}"}
  rules:
    - {json: {state: DONE}, then: delivered}
    - {json: {state: WORKING}, then: pending}
query:
  method: GET
  path: /topups/{reference}
  rules:
    - {json: {state: DONE}, then: delivered}
    - {json: {state: WORKING}, then: pending}
    - {json: {state: UNKNOWN}, then: not_found}
not_found: {grace: 5s, times: 2}
`

const tillRoutes = `networks:
  mtn: {name: MTN, min: N50, max: "N50,000", route: [till]}
`

// sellingAt has a process sell through a set of its own, as processes have it, at
// the till.
func sellingAt(v *till, sets *[]*vendors.Set) func(*process, *purchase.Config) {
	return func(p *process, _ *purchase.Config) {
		set, err := vendors.Load(fstest.MapFS{"till.yaml": {Data: []byte(tillFile)}, "routes.yaml": {Data: []byte(tillRoutes)}}, vendors.Options{
			Dial:    v.dial,
			Secrets: func(name string) (string, bool) { return name, true },
		})
		if err != nil {
			p.t.Fatal(err)
		}
		*sets = append(*sets, set)
		p.sells = purchase.Sets(func() *vendors.Set { return set })()
	}
}

// TestNoTwoCallsWithOneReference: a vendor never sees two calls with one reference
// under way together, whatever hangs, is asked for by subscribers and operators
// meanwhile, or is taken over by another process. A reference is sent for sale a
// second time only when the vendor has refused our key, or nothing had left.
func TestNoTwoCallsWithOneReference(t *testing.T) {
	for _, test := range []struct {
		name   string
		does   func(call string, w http.ResponseWriter, r *http.Request)
		refuse int           // connections
		dark   time.Duration // when the first process loses the ledger, for half a minute; 0 = never
		asks   int           // how often an operator has it asked about once it is decided, once a second
		calls  []string      // all of them
	}{
		{
			name: "a vend that hangs",
			does: func(call string, w http.ResponseWriter, r *http.Request) {
				if call == "vend 1" {
					hangs(r)
					return
				}
				says(w, "DONE")
			},
			calls: []string{"0s vend 1", "30.4s query 1"},
		}, {
			name: "a vend that hangs, in a process that loses its lease",
			does: func(call string, w http.ResponseWriter, r *http.Request) {
				if call == "vend 1" {
					hangs(r)
					return
				}
				says(w, "DONE")
			},
			dark:  time.Second,
			calls: []string{"0s vend 1", "6s query 1"},
		}, {
			name: "a query that hangs",
			does: func(call string, w http.ResponseWriter, r *http.Request) {
				switch call {
				case "vend 1":
					says(w, "WORKING")
				case "query 1":
					hangs(r)
				default:
					says(w, "DONE")
				}
			},
			calls: []string{"0s vend 1", "500ms query 1", "16.1s query 2"},
		}, {
			name: "a query that hangs, in a process that loses its lease",
			does: func(call string, w http.ResponseWriter, r *http.Request) {
				switch call {
				case "vend 1":
					says(w, "WORKING")
				case "query 1":
					hangs(r)
				default:
					says(w, "DONE")
				}
			},
			dark:  time.Second,
			calls: []string{"0s vend 1", "500ms query 1", "6s query 2"},
		}, {
			name: "asked about by an operator again and again, while that hangs, in a process that loses its lease",
			does: func(call string, w http.ResponseWriter, r *http.Request) {
				if call == "query 1" {
					hangs(r)
					return
				}
				says(w, "DONE")
			},
			dark: time.Second, asks: 10,
			calls: []string{"0s vend 1", "500ms query 1", "6s query 2", "6.5s query 3", "7.5s query 4", "8.5s query 5", "9.5s query 6"},
		}, {
			name: "not sent, sent again",
			does: func(_ string, w http.ResponseWriter, _ *http.Request) { says(w, "DONE") }, refuse: 3,
			calls: []string{"vend 1"},
		}, {
			name: "refused for its key, sent again with the other",
			does: func(_ string, w http.ResponseWriter, r *http.Request) {
				pass(3 * time.Second)
				if r.Header.Get("X-Key") == "till-key" {
					w.WriteHeader(http.StatusUnauthorized)
					says(w, "WHO")
					return
				}
				says(w, "DONE")
			},
			calls: []string{"0s vend 1", "3s vend 2"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := openTill(t, test.does)
				v.refuse = test.refuse
				b := newBook(t)
				s := newShop(t, b)
				var sets []*vendors.Set
				begun := time.Now()
				dark := func(p *process, _ *purchase.Config) {
					p.fault = func(string) fault {
						if at := time.Since(begun); test.dark > 0 && at >= test.dark && at < test.dark+30*time.Second {
							return before
						}
						return fine
					}
				}
				often := func(_ *process, cfg *purchase.Config) { cfg.Poll = 250 * time.Millisecond }
				one := start(s, "one", sellingAt(v, &sets), dark, often)
				two := start(s, "two", sellingAt(v, &sets), often)
				var impatient sync.WaitGroup
				impatient.Go(func() {
					bought, err := one.Buy(patience(t, 100*time.Millisecond), order("k"))
					if err != nil {
						t.Error(err)
					}
					for pass(400 * time.Millisecond); b.undecided() > 0; pass(time.Second) {
						for _, p := range []*process{one, two} {
							// What one of them answers while it has no ledger does not matter.
							_, _ = p.Check(patience(t, 100*time.Millisecond), amina, bought.Ref)
							_, _ = p.Buy(patience(t, 100*time.Millisecond), order("k"))
						}
						b.hurry(bought.Ref)
					}
				})
				impatient.Wait()
				for range test.asks {
					b.ask(b.only().Ref)
					pass(time.Second)
				}
				pass(time.Minute)
				v.mu.Lock()
				calls := slices.Clone(v.calls)
				v.mu.Unlock()
				if test.refuse > 0 { // after pauses of a random length
					calls = []string{calls[0][strings.Index(calls[0], " ")+1:]}
				}
				if r := b.only(); r.State != purchase.Delivered || !slices.Equal(calls, test.calls) {
					t.Errorf("%s, calls %q, want %q", r.State, calls, test.calls)
				}
				one.stop()
				two.stop()
				for _, set := range sets {
					set.CloseIdleConnections()
				}
				v.close()
				b.check()
			})
		})
	}
}
