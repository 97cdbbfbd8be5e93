package vendors

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
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
	code    string // the vendor's own code for the network
	vend    *gate
	query   *gate
}

// newEndpoint takes over the gates of an endpoint whose calls are configured the same.
func newEndpoint(v *vendor, network, code string, opt Options) *Endpoint {
	e := &Endpoint{name: v.name + "/" + network, vendor: v, network: network, code: code}
	if opt.Previous != nil {
		old, ok := opt.Previous.Endpoint(v.name, network)
		if ok && old.code == code && reflect.DeepEqual(old.vendor.plan, v.plan) {
			e.vend, e.query = old.vend, old.query
			return e
		}
	}
	e.vend = newGate(e.name+" vend", v.plan, opt.Log)
	e.query = newGate(e.name+" query", v.plan, opt.Log)
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

// Breaker polls the state of the endpoint's breakers, for metrics.
func (e *Endpoint) Breaker() BreakerStatus {
	return BreakerStatus{Vend: e.vend.status(), Query: e.query.status()}
}

// Vend asks the vendor to deliver airtime, once. It returns when the outcome is known, when the
// vendor's time is up, or when ctx ends; ending ctx unsends nothing. ctx is not to be that of a
// session, which may end while the vendor delivers.
func (e *Endpoint) Vend(ctx context.Context, r Request) Result {
	start := time.Now()
	res := e.deliver(ctx, r)
	res.Took = time.Since(start)
	return res
}

func (e *Endpoint) deliver(ctx context.Context, r Request) Result {
	op := &e.vendor.plan.vend
	if reason, err := e.check(r); err != nil {
		return Result{Outcome: Declined, Reason: reason, Final: reason != ReasonConfig, Detail: err.Error()}
	}
	req, err := e.vendor.request(op, e.values(r, ""))
	if errors.Is(err, errNumber) {
		return Result{Outcome: Declined, Reason: ReasonBadNumber, Final: true, Detail: err.Error()}
	}
	if err != nil {
		return Result{Outcome: Declined, Reason: ReasonConfig, Detail: e.vendor.detail(r, "not sent", err.Error())}
	}
	if ctx.Err() != nil {
		return Result{Outcome: NotSent, Reason: ReasonTimeout, Detail: ctx.Err().Error()}
	}
	var res Result
	err = e.vend.pass(func() error {
		a := e.vendor.do(ctx, req)
		res = e.outcome(r, a)
		return res.health(a)
	})
	switch {
	case errors.Is(err, errBusy):
		return Result{Outcome: Unavailable, Reason: ReasonBusy, Detail: err.Error()}
	case err != nil:
		return Result{Outcome: Unavailable, Reason: ReasonDown, Detail: err.Error()}
	}
	return res
}

// check refuses what no vendor can be asked for.
func (e *Endpoint) check(r Request) (reason string, err error) {
	switch {
	case r.Network != e.network:
		return ReasonConfig, fmt.Errorf("a request for %q at %s", r.Network, e.name)
	case !references.MatchString(r.Reference):
		return ReasonConfig, errors.New("the reference is not 1 to 64 printable ASCII characters")
	case !msisdns.MatchString(r.Recipient):
		return ReasonBadNumber, errors.New("the recipient is not 7 to 15 digits")
	case r.Amount <= 0 || r.Amount >= 1<<53:
		return ReasonLimit, errors.New("the amount is not positive, or is absurd")
	}
	return "", nil
}

var (
	references = regexp.MustCompile(`^[!-~]{1,64}$`)
	msisdns    = regexp.MustCompile(`^[0-9]{7,15}$`)
)

func (e *Endpoint) values(r Request, vendorRef string) *values {
	return &values{phone: r.Recipient, amount: r.Amount, reference: r.Reference, network: e.code, vendorRef: vendorRef}
}

// outcome reads the answer to a vend.
func (e *Endpoint) outcome(r Request, a answer) Result {
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
	verdict, ok := judge(op.rules, a.status, a.doc, a.parseErr == nil)
	if !ok {
		verdict.outcome, verdict.reason = Ambiguous, unmatched(a.status)
	}
	res.Outcome, res.Reason, res.Final = verdict.outcome, verdict.reason, verdict.final
	res.VendorRef = op.fields.ref(a.doc)
	if res.Outcome == Delivered {
		res.Cost = op.fields.charged(a.doc)
	}
	res.Detail = v.account(r, op, a, ok)
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
	case a.abandoned, res.Reason == ReasonDuplicate:
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
	req, err := e.vendor.request(op, e.values(r, vendorRef))
	if err != nil {
		return Finding{State: Unknown, Reason: ReasonConfig, Detail: e.vendor.detail(r, "not sent", err.Error())}
	}
	if ctx.Err() != nil {
		return Finding{State: Unknown, Reason: ReasonTimeout, Detail: ctx.Err().Error()}
	}
	var f Finding
	err = e.query.pass(func() error {
		a := e.vendor.do(ctx, req)
		f = e.finding(r, a)
		if a.abandoned {
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
	case err != nil:
		return Finding{State: Unknown, Reason: ReasonDown, Detail: err.Error()}
	}
	return f
}

// finding reads the answer to a query.
func (e *Endpoint) finding(r Request, a answer) Finding {
	v, op := e.vendor, &e.vendor.plan.query
	if a.err != nil {
		return Finding{State: Unknown, Reason: a.reason(), HTTPStatus: a.status, Detail: v.detail(r, a.err.Error())}
	}
	verdict, ok := judge(op.rules, a.status, a.doc, a.parseErr == nil)
	if !ok {
		verdict.state, verdict.reason = Unknown, unmatched(a.status)
	}
	f := Finding{
		State:      verdict.state,
		Reason:     verdict.reason,
		VendorRef:  op.fields.ref(a.doc),
		HTTPStatus: a.status,
		Detail:     v.account(r, op, a, ok),
	}
	if f.State == FoundDelivered {
		f.Cost = op.fields.charged(a.doc)
	}
	return f
}

// account tells an operator what the vendor said.
func (v *vendor) account(r Request, op *operation, a answer, matched bool) string {
	said := text(op.fields.message, a.doc)
	status := fmt.Sprintf("HTTP %d", a.status)
	switch {
	case matched && said != "":
		return v.detail(r, status, said)
	case matched:
		return v.detail(r, status)
	case a.parseErr != nil:
		return v.detail(r, status, "no JSON", string(a.body))
	}
	return v.detail(r, status, "no rule matches", string(a.body))
}

const maxDetail = 200 // bytes

// detail puts parts together for Detail: one line, without secrets, the recipient masked, cut.
func (v *vendor) detail(r Request, parts ...string) string {
	s := strings.Join(parts, ": ")
	for _, p := range v.private {
		s = strings.ReplaceAll(s, p.reveal(), hidden)
	}
	if n := len(r.Recipient); n >= 10 {
		national := r.Recipient[n-10:]
		s = strings.ReplaceAll(s, national, national[:3]+"***"+national[6:])
	}
	s = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
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
