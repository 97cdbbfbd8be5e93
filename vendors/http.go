package vendors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	maxAnswerHeaders = 64 << 10         // bytes
	idleConnTimeout  = 30 * time.Second // shorter than most servers', so that we are the one that closes
)

// What ends a call from our side.
var (
	errConnect  = errors.New("no connection in time")
	errTotal    = errors.New("no whole answer in time")
	errStale    = errors.New("the answer came before the request")
	errProtocol = errors.New("the vendor switches protocols")
)

// vendor is one vendor of a set.
type vendor struct {
	name      string
	plan      plan
	notFound  notFound
	callback  callback
	file      string
	lines     map[Operation][]int // where the rules stand in the file
	names     []string            // of the secrets that the file names, sorted
	keys      []*keys             // the secrets in force, then those that may be valid, too
	preferred atomic.Int32        // index of the keys that were last not refused
	private   []secret            // what Detail must not show
	tokens    *tokens             // nil = no token
	balance   *cache              // nil = cannot be asked
	products  *cache              // nil = cannot be asked
	memory    *memory
	limiter   *rate.Limiter // nil = no limit
	transport *http.Transport
	endpoints map[string]*Endpoint
}

// newTransport gives a vendor its own connections. It speaks HTTP/1.1 only: one call has one
// connection, and the trace tells exactly whether its request was begun. There is no proxy from
// the environment, no transparent decompression, and RoundTrip follows no redirect.
func newTransport(p plan, opt Options) *http.Transport {
	dial := opt.Dial
	if dial == nil {
		d := &net.Dialer{Timeout: p.connect}
		if p.source != "" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(p.source)}
		}
		dial = d.DialContext
	}
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: c}, nil
		},
		TLSHandshakeTimeout:    p.tls,
		ResponseHeaderTimeout:  p.answer,
		MaxIdleConnsPerHost:    p.inFlight,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxAnswerHeaders,
		DisableCompression:     true,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if proxy, err := url.Parse(p.proxy); err == nil && p.proxy != "" {
		t.Proxy = http.ProxyURL(proxy)
	}
	if opt.TLS != nil {
		t.TLSClientConfig = opt.TLS.Clone()
	}
	return t
}

// conn counts what arrives. A vendor that sends two answers to one request may leave the second one
// in net/http's buffer, where it would pass for the answer to the next request; but then nothing
// has arrived since that request was given the connection. It counts, and is never reset, because
// net/http gives a connection to the next call before the one before has seen its empty answer.
type conn struct {
	net.Conn
	arrivals atomic.Uint64
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.arrivals.Add(1)
	}
	return n, err
}

// taken is a connection as a call was given it.
type taken struct {
	conn     *conn
	arrivals uint64
}

// tapped finds our conn, under TLS or not.
func tapped(c net.Conn) *conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	tap, _ := c.(*conn)
	return tap
}

// request renders one call, without what is only known when it is sent. base is "" for the vendor's
// own. An error means that these values cannot be sent to this vendor.
func (v *vendor) request(op *operation, vals *values, k *keys, base string) (req *http.Request, body string, err error) {
	of := *vals
	of.keys = k
	path, err := op.path.writePath(&of)
	if err != nil {
		return nil, "", err
	}
	query, err := writeForm(op.params, &of)
	if err != nil {
		return nil, "", err
	}
	if base == "" {
		base = v.plan.base
	}
	u, err := url.Parse(base + path)
	if err != nil {
		return nil, "", err
	}
	u.RawQuery = query
	req = &http.Request{Method: op.method, URL: u, Host: u.Host, Header: http.Header{"User-Agent": {"ussdd"}}}
	switch {
	case op.json != nil:
		b, err := op.json.append(nil, &of)
		if err != nil {
			return nil, "", err
		}
		body = string(b)
		req.Header.Set("Content-Type", "application/json")
	case op.form != nil:
		if body, err = writeForm(op.form, &of); err != nil {
			return nil, "", err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "application/json")
	if err := setHeaders(req, op.headers, &of); err != nil {
		return nil, "", err
	}
	auth{headers: op.auth}.authorize(req, k)
	return req, body, nil
}

// rendered is a request without its credentials.
type rendered struct {
	req  *http.Request
	body string
	keys *keys // whose values are in it
}

func (v *vendor) render(op *operation, vals *values, k *keys) (*rendered, error) {
	req, body, err := v.request(op, vals, k, "")
	if err != nil {
		return nil, err
	}
	return &rendered{req, body, k}, nil
}

// inForce gives the secrets to call with.
func (v *vendor) inForce() *keys { return v.keys[v.preferred.Load()] }

// swapKeys has calls made with other secrets than those at this place, which were refused. It reports
// whether there are any.
func (v *vendor) swapKeys(at int) bool {
	v.preferred.CompareAndSwap(int32(at), int32((at+1)%len(v.keys))) // or somebody else has
	return len(v.keys) > 1
}

// exchange makes one call, with credentials. When the vendor refuses those, saying so by the
// rules of its file and so having executed nothing, the call is sent a second time, with a new
// token or with the other of two secrets; never a third time. A token that is not given for one
// secret is asked for with the other. All of it together takes no longer than one call may.
//
// first, if not nil, is the request as it was rendered to see whether it can be; it is used up.
func (v *vendor) exchange(ctx context.Context, op *operation, vals *values, first *rendered) answer {
	if v.tokens != nil || len(v.plan.auth.refused) > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, v.plan.total, errTotal)
		defer stop()
	}
	for resent, swapped := false, false; ; {
		at := int(v.preferred.Load())
		k := v.keys[at]
		if first == nil || first.keys != k {
			var err error
			if first, err = v.render(op, vals, k); err != nil {
				return answer{err: err}
			}
		}
		req, body := first.req, first.body
		first = nil
		v.plan.auth.authorize(req, k)
		var token secret
		if v.tokens != nil {
			var err error
			token, err = v.tokens.get(ctx, v, k)
			if errors.Is(err, errSecret) && !swapped && v.swapKeys(at) {
				swapped = true
				continue
			}
			if err != nil {
				return answer{err: fmt.Errorf("token: %w", err), unauthorized: true}
			}
			req.Header.Set("Authorization", "Bearer "+token.reveal())
		}
		if s := v.plan.auth.sign; s != nil {
			if err := s.sign(req, body, k); err != nil {
				return answer{err: err}
			}
		}
		a := v.do(ctx, req, body)
		if a.status == http.StatusTooManyRequests {
			v.memory.silence(retryAfter(a.header.Get("Retry-After"), time.Now()))
		}
		if len(v.plan.auth.refused) == 0 {
			return a
		}
		if _, refused := judge(v.plan.auth.refused, &a, vals); a.err != nil || refused < 0 {
			return a
		}
		if v.tokens != nil {
			v.tokens.drop(token)
		} else if !v.swapKeys(at) {
			return a
		}
		if resent {
			return a
		}
		resent = true
	}
}

// answer is what one call over the wire came to.
type answer struct {
	sent      bool // a byte of the request may have left
	status    int  // 0 = no answer
	header    http.Header
	body      []byte
	doc       any   // the body, decoded
	parseErr  error // why doc is not there
	err       error // why there is no whole answer
	abandoned bool  // the caller gave up, which says nothing about the vendor
	// There was no token to make the call with, and the token's own breaker knows.
	unauthorized bool
}

// reason gives the reason of an answer that did not come, or not whole.
func (a answer) reason() string {
	var timeout net.Error
	switch {
	case errors.Is(a.err, errConnect), errors.Is(a.err, errTotal), errors.Is(a.err, context.DeadlineExceeded),
		errors.Is(a.err, context.Canceled), errors.As(a.err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	case errors.Is(a.err, errBusy):
		return ReasonBusy
	case errors.Is(a.err, errSecret):
		return ReasonConfig
	case !a.sent:
		return ReasonDown
	}
	return ReasonUnreadable
}

// do makes one call. It returns within the plan's total time-out, or when ctx ends.
func (v *vendor) do(ctx context.Context, req *http.Request, body string) answer {
	// Two things keep net/http from sending a request a second time when a kept connection dies,
	// which it does for GET and for an Idempotency-Key: no GetBody, and a body that is not nil
	// even where it is empty.
	req.Body = io.NopCloser(strings.NewReader(body))
	req.ContentLength = int64(len(body))
	a := v.roundTrip(ctx, req)
	a.abandoned = a.err != nil && errors.Is(ctx.Err(), context.Canceled)
	if a.err == nil {
		a.doc, a.parseErr = decode(a.body)
	}
	return a
}

// retryAfter reads for how long a vendor wants silence: seconds or a time (RFC 9110 §10.2.3), 0 if it
// does not say.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

func (v *vendor) roundTrip(ctx context.Context, req *http.Request) (a answer) {
	ctx, stop := context.WithTimeoutCause(ctx, v.plan.total, errTotal)
	defer stop()
	ctx, abandon := context.WithCancelCause(ctx)
	defer abandon(nil)
	connecting := time.AfterFunc(v.plan.connect, func() { abandon(errConnect) })
	defer connecting.Stop()

	// The hooks run on net/http's goroutines. When RoundTrip returns an error, the one that
	// writes has ended: begun is final then.
	var begun atomic.Bool
	var on atomic.Pointer[taken]
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			connecting.Stop()
			if c := tapped(info.Conn); c != nil {
				on.Store(&taken{c, c.arrivals.Load()})
			}
		},
		WroteHeaderField: func(string, []string) { begun.Store(true) }, // into a buffer, before any byte leaves
	})

	resp, err := v.transport.RoundTrip(req.WithContext(ctx))
	a.sent = begun.Load()
	if err != nil {
		a.err = cause(ctx, err)
		return a
	}
	a.status, a.header = resp.StatusCode, resp.Header
	defer resp.Body.Close()
	if a.status == http.StatusSwitchingProtocols {
		a.err = errProtocol // its body is the connection, and reading it would not end with ctx
		return a
	}
	if t := on.Load(); t != nil && t.conn.arrivals.Load() == t.arrivals {
		a.err = errStale
		return a
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, int64(v.plan.maxBody)+1))
	switch {
	case err != nil:
		a.err = cause(ctx, err)
	case len(a.body) > v.plan.maxBody:
		a.err = fmt.Errorf("the answer is longer than %d bytes", v.plan.maxBody)
	}
	return a
}

// cause prefers the reason for which a call was ended to what net/http makes of it.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
