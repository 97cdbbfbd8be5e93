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
	"strings"
	"sync/atomic"
	"time"
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
	name        string
	plan        plan
	notFound    notFound
	credentials secret   // value of the header plan.auth.header; zero = none
	private     []secret // what Detail must not show
	transport   *http.Transport
	endpoints   map[string]*Endpoint
}

// newTransport gives a vendor its own connections. It speaks HTTP/1.1 only: one call has one
// connection, and the trace tells exactly whether its request was begun. There is no proxy from
// the environment, no transparent decompression, and RoundTrip follows no redirect.
func newTransport(p plan, opt Options) *http.Transport {
	dial := opt.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: p.connect}).DialContext
	}
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: c}, nil
		},
		TLSHandshakeTimeout:    p.connect,
		MaxIdleConnsPerHost:    p.inFlight,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxAnswerHeaders,
		DisableCompression:     true,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if opt.TLS != nil {
		t.TLSClientConfig = opt.TLS.Clone()
	}
	return t
}

// conn notes whether anything arrived since a call was given the connection. A vendor that sends
// two answers to one request may leave the second one in net/http's buffer, where it would pass
// for the answer to the next request.
type conn struct {
	net.Conn
	arrived atomic.Bool
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.arrived.Store(true)
	}
	return n, err
}

// tapped finds our conn, under TLS or not.
func tapped(c net.Conn) *conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	tap, _ := c.(*conn)
	return tap
}

// request renders one call. An error means that these values cannot be sent to this vendor.
func (v *vendor) request(op *operation, vals *values) (*http.Request, error) {
	path, err := op.path.writePath(vals)
	if err != nil {
		return nil, err
	}
	query, err := writeForm(op.params, vals)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(v.plan.base + path)
	if err != nil {
		return nil, err
	}
	u.RawQuery = query
	req := &http.Request{Method: op.method, URL: u, Host: u.Host, Header: http.Header{"User-Agent": {"ussdd"}}}

	var body string
	switch {
	case op.json != nil:
		b, err := op.json.append(nil, vals)
		if err != nil {
			return nil, err
		}
		body = string(b)
		req.Header.Set("Content-Type", "application/json")
	case op.form != nil:
		if body, err = writeForm(op.form, vals); err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	// Two things keep net/http from sending a request a second time when a kept connection dies,
	// which it does for GET and for an Idempotency-Key: no GetBody, and a body that is not nil
	// even where it is empty.
	req.Body = io.NopCloser(strings.NewReader(body))
	req.ContentLength = int64(len(body))

	req.Header.Set("Accept", "application/json")
	for _, h := range op.headers {
		s, err := h.value.writeHeader(vals)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", h.name, err)
		}
		req.Header.Set(h.name, s)
	}
	if s := v.credentials.reveal(); s != "" {
		req.Header.Set(v.plan.auth.header, s)
	}
	return req, nil
}

// answer is what one call over the wire came to.
type answer struct {
	sent      bool // a byte of the request may have left
	status    int  // 0 = no answer
	body      []byte
	doc       any   // the body, decoded
	parseErr  error // why doc is not there
	err       error // why there is no whole answer
	abandoned bool  // the caller gave up, which says nothing about the vendor
}

// reason gives the reason of an answer that did not come, or not whole.
func (a answer) reason() string {
	var timeout net.Error
	switch {
	case errors.Is(a.err, errConnect), errors.Is(a.err, errTotal), errors.Is(a.err, context.DeadlineExceeded),
		errors.Is(a.err, context.Canceled), errors.As(a.err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	case !a.sent:
		return ReasonDown
	}
	return ReasonUnreadable
}

// do makes one call. It returns within the plan's total time-out, or when ctx ends.
func (v *vendor) do(ctx context.Context, req *http.Request) answer {
	a := v.roundTrip(ctx, req)
	a.abandoned = a.err != nil && errors.Is(ctx.Err(), context.Canceled)
	if a.err == nil {
		a.doc, a.parseErr = decode(a.body)
	}
	return a
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
	var on atomic.Pointer[conn]
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			connecting.Stop()
			if c := tapped(info.Conn); c != nil {
				c.arrived.Store(false)
				on.Store(c)
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
	a.status = resp.StatusCode
	defer resp.Body.Close()
	if a.status == http.StatusSwitchingProtocols {
		a.err = errProtocol // its body is the connection, and reading it would not end with ctx
		return a
	}
	if c := on.Load(); c != nil && !c.arrived.Load() {
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
