package purchase_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	amina = "2348031234567"
	bola  = "2348059876543"
)

// order is wanted whatever is open.
func order(key string) purchase.Order {
	return purchase.Order{Key: key, Session: 7, MSISDN: amina, Recipient: bola, Network: "mtn", Amount: 100_00, Again: true}
}

// behaviour is how a vendor treats a request, and how it answers.
type behaviour struct {
	result vendors.Result
	truth  string // what becomes of the request: delivered, failed, working; "" = it never hears of it
	then   string // what a query turns "working" into; "" = it goes on working

	connect func(context.Context, *process) // before the request is sent
	answer  func(context.Context)           // after it, before the answer
	unsure  bool                            // its "not found" proves nothing
}

var (
	delivers    = behaviour{truth: "delivered", result: vendors.Result{Outcome: vendors.Delivered, Sent: true, VendorRef: "V-1", Cost: 97_00, HTTPStatus: 200}}
	declines    = behaviour{truth: "failed", result: vendors.Result{Outcome: vendors.Declined, Reason: vendors.ReasonFloat, Sent: true, HTTPStatus: 402}}
	rejects     = behaviour{truth: "failed", result: vendors.Result{Outcome: vendors.Declined, Reason: vendors.ReasonBadNumber, Final: true, Sent: true, HTTPStatus: 400}}
	unreachable = behaviour{result: vendors.Result{Outcome: vendors.NotSent, Reason: vendors.ReasonDown}}
	broken      = behaviour{result: vendors.Result{Outcome: vendors.Unavailable, Reason: vendors.ReasonDown}}
	losesAnswer = behaviour{truth: "delivered", result: vendors.Result{Outcome: vendors.Ambiguous, Reason: vendors.ReasonTimeout, Sent: true}}
	losesOrder  = behaviour{result: vendors.Result{Outcome: vendors.Ambiguous, Reason: vendors.ReasonTimeout, Sent: true}}
	works       = behaviour{truth: "working", result: vendors.Result{Outcome: vendors.Ambiguous, Reason: vendors.ReasonPending, Sent: true, VendorRef: "V-2"}}
)

func (b behaviour) thenDelivers() behaviour { b.then = "delivered"; return b }
func (b behaviour) thenFails() behaviour    { b.then = "failed"; return b }

// The vendors' word on "not found".
const (
	grace = 10 * time.Second
	times = 2
)

// shop is all the vendors, and what they know.
type shop struct {
	t     testing.TB
	book  *book
	begun time.Time

	mu        sync.Mutex
	route     []string // vendors in order
	does      map[string]behaviour
	gone      map[string]bool   // vendors that are no longer configured
	sold      vendors.Network   // the one network and its limits
	plan      []time.Duration   // when vendors want to be queried, nil = whenever
	age       time.Duration     // for how long vendors answer queries, 0 = for ever
	skips     map[string]string // why vendors are not to be tried
	asks      []vendors.Ask     // that routes were made for
	token     string            // that queries find
	named     func(own string, at time.Time) (string, error)
	truth     map[string]string   // by reference
	sent      map[string]bool     // references that a vendor was called with
	delivered map[string]int      // by reference
	busy      map[string][]string // calls in flight by process and purchase
	most      int                 // most calls in flight
	calls     []string            // transcript
	refs      map[string]string   // our own references by those of the vendors
}

// newShop opens vendors a, b, c … that do as they are told.
func newShop(t testing.TB, b *book, does ...behaviour) *shop {
	s := &shop{
		t: t, book: b, begun: time.Now(), does: map[string]behaviour{}, gone: map[string]bool{},
		skips: map[string]string{}, refs: map[string]string{},
		named: func(own string, _ time.Time) (string, error) { return own, nil },
		sold:  vendors.Network{ID: "mtn", Name: "MTN", Min: 50_00, Max: 50_000_00},
		truth: map[string]string{}, sent: map[string]bool{}, delivered: map[string]int{}, busy: map[string][]string{},
	}
	for i, d := range does {
		vendor := string(rune('a' + i))
		s.route = append(s.route, vendor)
		s.does[vendor] = d
	}
	return s
}

// enter and leave note a call in flight.
func (s *shop) enter(p *process, what, vendor, reference string) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := p.owner + " " + s.refs[reference][:17]
	if len(s.busy[who]) > 0 {
		s.t.Errorf("%s of %s beside %v", what, reference, s.busy[who])
	}
	s.busy[who] = append(s.busy[who], what)
	n := 0
	for _, calls := range s.busy {
		n += len(calls)
	}
	s.most = max(s.most, n)
	s.calls = append(s.calls, fmt.Sprintf("%v %s %s", time.Since(s.begun).Round(time.Second), what, vendor))
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, who)
	}
}

func (s *shop) transcript() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// counter is a vendor's endpoint as one process has it.
type counter struct {
	shop    *shop
	process *process
	vendor  string
}

func (c counter) Name() string   { return c.vendor + "/mtn" }
func (c counter) Vendor() string { return c.vendor }

func (c counter) Reference(own string, at time.Time) (string, error) {
	reference, err := c.shop.named(own, at)
	if err != nil {
		return "", err
	}
	c.shop.mu.Lock()
	defer c.shop.mu.Unlock()
	c.shop.refs[reference] = own
	return reference, nil
}

func (c counter) Vend(ctx context.Context, req vendors.Request) vendors.Result {
	s := c.shop
	s.mu.Lock()
	b, own := s.does[c.vendor], s.refs[req.Reference]
	s.mu.Unlock()
	defer s.enter(c.process, "vend", c.vendor, req.Reference)()
	p, attempts, _ := s.book.Purchase(ctx, own[:17])
	if n := len(attempts); n == 0 || attempts[n-1].Reference != req.Reference {
		s.t.Errorf("%s is sent and not recorded", req.Reference)
	}
	if req.Network != p.Network || req.Recipient != p.Recipient || req.Amount != p.Amount {
		s.t.Errorf("request %+v for %+v", req, p)
	}
	if b.connect != nil {
		b.connect(ctx, c.process)
	}
	c.process.wait()
	if ctx.Err() != nil || c.process.dead() {
		return vendors.Result{Outcome: vendors.NotSent, Reason: vendors.ReasonTimeout}
	}
	s.mu.Lock()
	if s.sent[req.Reference] {
		s.t.Errorf("%s is sent twice", req.Reference)
	}
	s.sent[req.Reference] = true
	if b.truth != "" {
		s.truth[req.Reference] = b.truth
	}
	if b.truth == "delivered" {
		s.delivered[req.Reference]++
	}
	s.mu.Unlock()
	if b.answer != nil {
		b.answer(ctx)
		if ctx.Err() != nil {
			return vendors.Result{Outcome: vendors.Ambiguous, Reason: vendors.ReasonTimeout, Sent: true}
		}
	}
	return b.result
}

func (c counter) Query(_ context.Context, req vendors.Request, vendorRef string) vendors.Finding {
	s := c.shop
	defer s.enter(c.process, "query", c.vendor, req.Reference)()
	s.mu.Lock()
	b := s.does[c.vendor]
	s.mu.Unlock()
	if b.answer != nil {
		b.answer(context.Background())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.process.dead() {
		return vendors.Finding{State: vendors.Unknown}
	}
	if s.truth[req.Reference] == "working" && b.then != "" {
		s.truth[req.Reference] = b.then
		if b.then == "delivered" {
			s.delivered[req.Reference]++
		}
	}
	switch s.truth[req.Reference] {
	case "delivered":
		return vendors.Finding{State: vendors.FoundDelivered, VendorRef: "V-3", Cost: 98_00, Commission: 3_00, Token: s.token, HTTPStatus: 200}
	case "failed":
		return vendors.Finding{State: vendors.FoundFailed, Reason: vendors.ReasonRefused, HTTPStatus: 200}
	case "working":
		if vendorRef != b.result.VendorRef && vendorRef != "" {
			s.t.Errorf("query with vendor reference %q", vendorRef)
		}
		return vendors.Finding{State: vendors.FoundPending, Reason: vendors.ReasonPending}
	case "unknown":
		return vendors.Finding{State: vendors.Unknown, Reason: vendors.ReasonTimeout}
	}
	return vendors.Finding{State: vendors.NotFound, HTTPStatus: 404}
}

func (c counter) NotFoundFinal() (time.Duration, int, bool) {
	return grace, times, !c.shop.does[c.vendor].unsure
}

func (c counter) QueryPlan() ([]time.Duration, time.Duration) { return c.shop.plan, c.shop.age }

// view is the shop as one process sees it.
type view struct{ process *process }

func (v view) Route(ask vendors.Ask) []purchase.Hop {
	s := v.process.shop
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks = append(s.asks, ask)
	var route []purchase.Hop
	for _, vendor := range s.route {
		if !s.gone[vendor] {
			route = append(route, purchase.Hop{Endpoint: counter{s, v.process, vendor}, Skipped: s.skips[vendor]})
		}
	}
	return route
}

func (v view) Endpoint(vendor, network string) (purchase.Endpoint, bool) {
	s := v.process.shop
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.does[vendor]; !ok || s.gone[vendor] || network != "mtn" {
		return nil, false
	}
	return counter{s, v.process, vendor}, true
}

func (v view) Network(id string) (vendors.Network, bool) {
	s := v.process.shop
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sold, id == s.sold.ID
}

// fault is what happens to one call of the ledger.
type fault int

const (
	fine   fault = iota
	before       // it fails and does nothing
	after        // it is committed, and the answer is lost
	hang         // it does nothing for as long as it may
	refuse       // it is answered with ErrOrder
)

var errDown = errors.New("database is down")

// process is a desk and its Run, in a process that can die, stand still or
// lose its database.
type process struct {
	*purchase.Desk
	t     testing.TB
	owner string
	book  *book
	shop  *shop
	fault func(call string) fault // if set, asked at each call of the ledger
	sells purchase.Routes         // if set, in place of the shop

	mu      sync.Mutex
	killed  bool
	thawed  chan struct{} // if set, everything waits for it
	stopRun context.CancelFunc
	ended   chan struct{}
}

// start begins a process. set changes what it likes before the desk is made.
func start(s *shop, owner string, set ...func(*process, *purchase.Config)) *process {
	p := &process{t: s.t, owner: owner, book: s.book, shop: s, ended: make(chan struct{})}
	cfg := purchase.Config{Owner: owner, Lease: 6 * time.Second, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, f := range set {
		f(p, &cfg)
	}
	if p.sells == nil {
		p.sells = view{p}
	}
	p.Desk = purchase.New(cfg, link{p}, func() purchase.Routes { return p.sells })
	ctx, cancel := context.WithCancel(context.Background())
	p.stopRun = cancel
	go func() {
		defer close(p.ended)
		if err := p.Run(ctx); err != nil {
			p.t.Errorf("run: %v", err)
		}
	}()
	return p
}

// boundary has f called at each boundary.
func boundary(f func(p *process, name string)) func(*process, *purchase.Config) {
	return func(p *process, cfg *purchase.Config) {
		cfg.Boundary = func(name string) { f(p, name) }
	}
}

// stop ends the process without waiting for anything in flight.
func (p *process) stop() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.Drain(ctx)
	p.stopRun()
	<-p.ended
}

// die ends the goroutine that calls it, and has nothing that the others do take
// effect any more. They are to be ended by stop.
func (p *process) die() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	runtime.Goexit()
}

func (p *process) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

// freeze has the process stand still for d: no boundary, vendor or ledger is
// passed until then.
func (p *process) freeze(d time.Duration) {
	thawed := make(chan struct{})
	p.mu.Lock()
	p.thawed = thawed
	p.mu.Unlock()
	pass(d)
	close(thawed)
}

func (p *process) wait() {
	p.mu.Lock()
	thawed := p.thawed
	p.mu.Unlock()
	if thawed != nil {
		<-thawed
	}
}

// link is a process's connection to the book.
type link struct{ p *process }

func do[T any](ctx context.Context, l link, call string, f func() (T, error)) (T, error) {
	var none T
	l.p.wait()
	how := fine
	if l.p.fault != nil {
		how = l.p.fault(call)
	}
	if how == before || l.p.dead() {
		return none, errDown
	}
	if how == hang {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if how == refuse {
		return none, purchase.ErrOrder
	}
	v, err := f()
	if how == after && err == nil {
		return none, errDown
	}
	return v, err
}

// owns fails the test if the process moves what it believes to be another's.
func (l link) owns(p purchase.Purchase) {
	if p.Owner != l.p.owner {
		l.p.t.Errorf("%s moves %s, which is %s's", l.p.owner, p.Ref, p.Owner)
	}
}

func (l link) Hold(ctx context.Context, p purchase.Purchase) (purchase.Purchase, bool, error) {
	var created bool
	stored, err := do(ctx, l, "hold", func() (stored purchase.Purchase, err error) {
		stored, created, err = l.p.book.Hold(ctx, p)
		return stored, err
	})
	return stored, created, err
}

func (l link) Attempt(ctx context.Context, p purchase.Purchase, a purchase.Attempt) (purchase.Purchase, error) {
	l.owns(p)
	return do(ctx, l, "attempt", func() (purchase.Purchase, error) { return l.p.book.Attempt(ctx, p, a) })
}

func (l link) Record(ctx context.Context, p purchase.Purchase, a purchase.Attempt, next string) (purchase.Purchase, error) {
	l.owns(p)
	return do(ctx, l, "record", func() (purchase.Purchase, error) { return l.p.book.Record(ctx, p, a, next) })
}

func (l link) Release(ctx context.Context, p purchase.Purchase, reason string) (purchase.Purchase, error) {
	l.owns(p)
	return do(ctx, l, "release", func() (purchase.Purchase, error) { return l.p.book.Release(ctx, p, reason) })
}

func (l link) Purchase(ctx context.Context, ref string) (purchase.Purchase, []purchase.Attempt, error) {
	var attempts []purchase.Attempt
	p, err := do(ctx, l, "purchase", func() (p purchase.Purchase, err error) {
		p, attempts, err = l.p.book.Purchase(ctx, ref)
		return p, err
	})
	return p, attempts, err
}

func (l link) ByKey(ctx context.Context, key string) (purchase.Purchase, error) {
	return do(ctx, l, "bykey", func() (purchase.Purchase, error) { return l.p.book.ByKey(ctx, key) })
}

func (l link) Due(ctx context.Context, owner string, now time.Time, limit int) ([]purchase.Purchase, error) {
	return do(ctx, l, "due", func() ([]purchase.Purchase, error) { return l.p.book.Due(ctx, owner, now, limit) })
}

func (l link) Turn(ctx context.Context, p purchase.Purchase, a purchase.Attempt) (purchase.Purchase, error) {
	l.owns(p)
	return do(ctx, l, "turn", func() (purchase.Purchase, error) { return l.p.book.Turn(ctx, p, a) })
}

func (l link) Rechecks(ctx context.Context, owner string, now, again time.Time, limit int) ([]purchase.Purchase, error) {
	return do(ctx, l, "rechecks", func() ([]purchase.Purchase, error) { return l.p.book.Rechecks(ctx, owner, now, again, limit) })
}

func (l link) Rechecked(ctx context.Context, p purchase.Purchase, confirmed bool) error {
	_, err := do(ctx, l, "rechecked", func() (struct{}, error) { return struct{}{}, l.p.book.Rechecked(ctx, p, confirmed) })
	return err
}

func (l link) Renew(ctx context.Context, owner string, until time.Time) error {
	_, err := do(ctx, l, "renew", func() (struct{}, error) { return struct{}{}, l.p.book.Renew(ctx, owner, until) })
	return err
}

// pass lets the bubble's clock advance.
func pass(d time.Duration) { <-time.After(d) }

// patience is a context as a session's step has it.
func patience(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// settle waits until every purchase is decided, for at most an hour.
func (s *shop) settle() {
	s.t.Helper()
	s.settleUnless(func() bool { return false })
}

// settleUnless is settle that gives up when ended says so.
func (s *shop) settleUnless(ended func() bool) {
	s.t.Helper()
	for began := time.Now(); s.book.undecided() > 0 && !ended(); pass(time.Second) {
		if time.Since(began) > time.Hour {
			s.t.Fatalf("undecided: %+v", s.book.all())
		}
	}
}

// check proves that the money agrees with what was delivered, one to one.
func (s *shop) check() {
	s.t.Helper()
	s.book.check()
	captured := map[string]int{}
	for _, r := range s.book.all() {
		if r.State == purchase.Delivered {
			captured[r.attempts[len(r.attempts)-1].Reference]++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !maps.Equal(captured, s.delivered) {
		s.t.Errorf("captured %v, delivered %v", captured, s.delivered)
	}
}
