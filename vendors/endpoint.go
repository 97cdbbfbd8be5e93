package vendors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Endpoint is one vendor for one network. It is safe for concurrent use.
type Endpoint struct {
	name    string
	vendor  *vendor
	network string
	code    code // what the vendor calls the network
	vend    *gate
	query   *gate
}

// newEndpoint takes over the gates of an endpoint whose calls are configured the same.
func newEndpoint(v *vendor, network string, of code, opt Options) *Endpoint {
	e := &Endpoint{name: v.name + "/" + network, vendor: v, network: network, code: of}
	if opt.Previous != nil {
		old, ok := opt.Previous.Endpoint(v.name, network)
		if ok && reflect.DeepEqual(old.code, of) && samePlan(old.vendor, v) {
			e.vend, e.query = old.vend, old.query
			return e
		}
	}
	e.vend = newGate(v.name, network, OpVend, v.plan, opt)
	e.query = newGate(v.name, network, OpQuery, v.plan, opt)
	return e
}

// Name gives the endpoint's name, vendor/network: "quickvend/mtn".
func (e *Endpoint) Name() string { return e.name }

// Vendor gives the vendor's name.
func (e *Endpoint) Vendor() string { return e.vendor.name }

// Network gives the network's id.
func (e *Endpoint) Network() string { return e.network }

// NotFoundFinal says when NotFound proves that nothing was and nothing will be delivered: after
// times such answers in a row, all of them later than grace after Vend returned or, if nobody
// lived to see that, after it must have returned. ok reports whether it ever does.
func (e *Endpoint) NotFoundFinal() (grace time.Duration, times int, ok bool) {
	n := e.vendor.notFound
	return n.grace, n.times, n.final
}

// Breaker polls the state of the endpoint's breakers.
func (e *Endpoint) Breaker() BreakerStatus {
	return BreakerStatus{Vend: e.vend.status(), Query: e.query.status()}
}

// QueryPlan says when an open attempt is to be asked about: after waits before the first, second …
// query, the last of them again and again until maxAge after the attempt. Then the vendor no longer
// knows, and somebody must look.
func (e *Endpoint) QueryPlan() (after []time.Duration, maxAge time.Duration) {
	s := e.vendor.plan.schedule
	return slices.Clone(s.after), s.maxAge
}

// QueryNeedsVendorRef reports whether the vendor can only be asked by its own reference, which a
// lost answer takes with it.
func (e *Endpoint) QueryNeedsVendorRef() bool {
	q := e.vendor.plan.query
	return q.carries("vendor_ref")
}

// Vend asks the vendor to deliver airtime, once. It returns when the outcome is known, when the
// vendor's time is up, or when ctx ends; ending ctx unsends nothing. ctx is not to be that of a
// session, which may end while the vendor delivers. A vendor whose file allows it is tried again
// while nothing has left. Two vends with one reference never overlap: the second is Ambiguous, and
// not sent.
func (e *Endpoint) Vend(ctx context.Context, r Request) Result {
	start := time.Now()
	res := e.deliver(ctx, r)
	res.Took = time.Since(start)
	return res
}

func (e *Endpoint) deliver(ctx context.Context, r Request) Result {
	v := e.vendor
	if reason, err := e.checkVend(r); err != nil {
		return Result{Outcome: Declined, Reason: reason, Final: reason != ReasonConfig, Detail: err.Error()}
	}
	vals := e.values(r, "")
	first, err := v.render(&v.plan.vend, vals, v.inForce())
	if errors.Is(err, errNumber) {
		return Result{Outcome: Declined, Reason: ReasonBadNumber, Final: true, Detail: err.Error()}
	}
	if err != nil {
		return Result{Outcome: Declined, Reason: ReasonConfig, Detail: v.detail(r, "not sent", err.Error())}
	}
	if ctx.Err() != nil {
		return Result{Outcome: NotSent, Reason: ReasonTimeout, Detail: ctx.Err().Error()}
	}
	switch err := v.memory.begin(r, v.plan.gap); {
	case errors.Is(err, errInFlight):
		return Result{Outcome: Ambiguous, Reason: ReasonDuplicate, Detail: err.Error()}
	case err != nil:
		return Result{Outcome: Unavailable, Reason: ReasonBusy, Detail: err.Error()}
	}
	var res Result
	defer func() { v.memory.end(r, res, v.plan.gap) }()
	for try := 0; ; try++ {
		res = e.once(ctx, r, vals, first)
		first = nil
		if res.Outcome != NotSent || res.Reason == ReasonConfig || try >= v.plan.retries || !pause(ctx, try) {
			return res
		}
	}
}

// pause waits before the next try of what was not sent, and reports whether there is to be one.
func pause(ctx context.Context, try int) bool {
	longest := 100 * time.Millisecond << try
	timer := time.NewTimer(longest/2 + rand.N(longest/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once makes one call, if the gate lets it.
func (e *Endpoint) once(ctx context.Context, r Request, vals *values, first *rendered) (res Result) {
	v := e.vendor
	err := e.vend.pass(ctx, v.turn, func() error {
		a := v.exchange(ctx, &v.plan.vend, vals, first)
		res = e.outcome(r, a, vals)
		return res.health(a)
	})
	switch {
	case errors.Is(err, errBusy):
		return Result{Outcome: Unavailable, Reason: ReasonBusy, Detail: err.Error()}
	case errors.Is(err, errOpen):
		return Result{Outcome: Unavailable, Reason: ReasonDown, Detail: err.Error()}
	}
	return res
}

// check refuses what no vendor can be asked for.
func (e *Endpoint) check(r Request) (reason string, err error) {
	switch {
	case r.Network != e.network:
		return ReasonConfig, fmt.Errorf("a request for %q at %s", r.Network, e.name)
	case !isReference(r.Reference):
		return ReasonConfig, errors.New("the reference is not 1 to 64 printable ASCII characters")
	case !isMSISDN(r.Recipient):
		return ReasonBadNumber, errors.New("the recipient is not 7 to 15 digits")
	case r.Amount <= 0 || r.Amount >= 1<<53:
		return ReasonLimit, errors.New("the amount is not positive, or is absurd")
	}
	return "", nil
}

// checkVend refuses what this vendor's file rules out, too. What was sent before the file came to say so
// can be asked about all the same.
func (e *Endpoint) checkVend(r Request) (reason string, err error) {
	reason, err = e.check(r)
	switch {
	case err != nil:
		return reason, err
	case e.vendor.plan.reference.check(r.Reference) != nil:
		return ReasonConfig, fmt.Errorf("the reference: %w", e.vendor.plan.reference.check(r.Reference))
	case r.Product != "" && r.Product != airtime && e.code.products[r.Product] == "":
		return ReasonConfig, fmt.Errorf("the vendor does not sell %q for %s", r.Product, e.network)
	}
	return "", nil
}

// isReference reports whether s is 1 to 64 printable ASCII characters without blanks.
func isReference(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// isMSISDN reports whether s is 7 to 15 digits.
func isMSISDN(s string) bool {
	return len(s) >= 7 && len(s) <= 15 && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func (e *Endpoint) values(r Request, vendorRef string) *values {
	product := r.Product
	if product == "" {
		product = airtime
	}
	return &values{
		phone: r.Recipient, amount: r.Amount, reference: r.Reference, network: e.code.text, more: e.code.more,
		product: e.code.products[product], vendorRef: vendorRef,
	}
}

// airtime is the product of a request that names none.
const airtime = "airtime"

// outcome reads the answer to a vend.
func (e *Endpoint) outcome(r Request, a answer, vals *values) Result {
	res := Result{HTTPStatus: a.status, Sent: a.sent}
	v, op := e.vendor, &e.vendor.plan.vend
	if a.err != nil {
		res.Outcome, res.Reason = Ambiguous, a.reason()
		if !a.sent {
			res.Outcome = NotSent
		}
		res.Detail = v.detail(r, a.err.Error())
		return res
	}
	verdict, i := judge(op.rules, &a, vals)
	if i < 0 {
		verdict.outcome, verdict.reason = Ambiguous, unmatched(a.status)
	}
	res.Outcome, res.Reason, res.Final = verdict.outcome, verdict.reason, verdict.final
	var notes []string
	res.VendorRef = op.fields.ref(a.doc)
	res.Float, res.FloatKnown = op.fields.balance.read(a.doc)
	if res.Outcome == Delivered {
		res.Cost, res.Commission, notes = e.charged(op, a.doc, r)
		res.Token = op.fields.given(a.doc)
	}
	res.Detail = v.account(r, op, a, i >= 0, notes...)
	return res
}

// health says what a result tells about the vendor.
func (res Result) health(a answer) error {
	switch res.Outcome {
	case Delivered:
		return nil
	case Declined:
		if res.Reason == ReasonDown || res.Reason == ReasonTimeout || res.Reason == ReasonBusy {
			return errFault
		}
		return errNeutral
	}
	switch {
	case a.abandoned, a.unauthorized, res.Reason == ReasonDuplicate:
		return errNeutral
	case res.Reason == ReasonPending:
		return nil
	}
	return errFault
}

// Query asks the vendor what became of an attempt. r is the request as it was sent; vendorRef is
// the vendor's own reference, "" if it gave none. Like Vend it returns within the vendor's time.
func (e *Endpoint) Query(ctx context.Context, r Request, vendorRef string) Finding {
	op := &e.vendor.plan.query
	if reason, err := e.check(r); err != nil {
		return Finding{State: Unknown, Reason: reason, Detail: err.Error()}
	}
	vals := e.values(r, vendorRef)
	first, err := e.vendor.render(op, vals, e.vendor.inForce())
	if err != nil {
		return Finding{State: Unknown, Reason: ReasonConfig, Detail: e.vendor.detail(r, "not sent", err.Error())}
	}
	if ctx.Err() != nil {
		return Finding{State: Unknown, Reason: ReasonTimeout, Detail: ctx.Err().Error()}
	}
	var f Finding
	err = e.query.pass(ctx, e.vendor.turn, func() error {
		a := e.vendor.exchange(ctx, op, vals, first)
		f = e.finding(r, a, vals)
		if a.abandoned || a.unauthorized {
			return errNeutral
		}
		if f.State == Unknown {
			return errFault
		}
		return nil
	})
	switch {
	case errors.Is(err, errBusy):
		return Finding{State: Unknown, Reason: ReasonBusy, Detail: err.Error()}
	case errors.Is(err, errOpen):
		return Finding{State: Unknown, Reason: ReasonDown, Detail: err.Error()}
	}
	return f
}

// finding reads the answer to a query.
func (e *Endpoint) finding(r Request, a answer, vals *values) Finding {
	v, op := e.vendor, &e.vendor.plan.query
	if a.err != nil {
		return Finding{State: Unknown, Reason: a.reason(), HTTPStatus: a.status, Detail: v.detail(r, a.err.Error())}
	}
	verdict, i := judge(op.rules, &a, vals)
	if i < 0 {
		verdict.state, verdict.reason = Unknown, unmatched(a.status)
	}
	f := Finding{
		State:      verdict.state,
		Reason:     verdict.reason,
		VendorRef:  op.fields.ref(a.doc),
		HTTPStatus: a.status,
	}
	var notes []string
	if f.State == FoundDelivered {
		f.Cost, f.Commission, notes = e.charged(op, a.doc, r)
		f.Token = op.fields.given(a.doc)
	}
	f.Detail = v.account(r, op, a, i >= 0, notes...)
	return f
}

// charged gives what a delivery cost, and what is to be noted about that.
func (e *Endpoint) charged(op *operation, doc any, r Request) (cost, commission int64, notes []string) {
	cost, commission, believed := op.fields.charged(doc, r.Amount)
	if !believed {
		e.vend.log.Warn("vendor tells a cost or commission that is absurd: see its file for the units", "endpoint", e.name, "reference", r.Reference)
		notes = []string{unbelieved}
	}
	return cost, commission, notes
}

// account tells an operator what the vendor said, after notes of ours.
func (v *vendor) account(r Request, op *operation, a answer, matched bool, notes ...string) string {
	said, body := text(op.fields.message, a.doc), string(a.body)
	if token := op.fields.given(a.doc); token != "" {
		said, body = strings.ReplaceAll(said, token, hidden), strings.ReplaceAll(body, token, hidden)
	}
	status := strings.Join(append(notes, fmt.Sprintf("HTTP %d", a.status)), ": ")
	switch {
	case matched && said != "":
		return v.detail(r, status, said)
	case matched:
		return v.detail(r, status)
	case errors.Is(a.parseErr, errTwice):
		return v.detail(r, status, errTwice.Error(), body)
	case a.parseErr != nil:
		return v.detail(r, status, "no JSON", body)
	}
	return v.detail(r, status, "no rule matches", body)
}

const maxDetail = 200 // bytes

// detail puts parts together for Detail: one line, without secrets, the recipient masked, cut.
func (v *vendor) detail(r Request, parts ...string) string {
	s := strings.Join(parts, ": ")
	for _, p := range v.private {
		s = strings.ReplaceAll(s, p.reveal(), hidden)
	}
	if v.tokens != nil {
		if token := v.tokens.shown().reveal(); token != "" {
			s = strings.ReplaceAll(s, token, hidden)
		}
	}
	if n := len(r.Recipient); n >= 10 {
		national := r.Recipient[n-10:]
		s = strings.ReplaceAll(s, national, national[:3]+"***"+national[6:])
	}
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) { // control characters, and those that turn the direction of a text
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= maxDetail {
		return s
	}
	cut := maxDetail - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
