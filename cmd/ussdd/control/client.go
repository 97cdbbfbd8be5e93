package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"ussdd/vendors"
)

// Client talks to a daemon's control socket. Safe for concurrent use.
type Client struct {
	path     string
	patience time.Duration // with an answer that does not wait for an SMSC
	http     http.Client
}

// NewClient makes a client of the socket at path; nothing is opened yet.
func NewClient(path string) *Client {
	c := &Client{path: path, patience: answerTimeout}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
	}}
	return c
}

// How long a daemon may take. Everything but a trace ends.
const (
	dialTimeout   = 5 * time.Second  // busy with others
	answerTimeout = 10 * time.Second // dialling included; a push takes pushTimeout longer, a vendor vendorTimeout
)

// Close gives up the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Links lists the links in the order of the daemon's configuration.
func (c *Client) Links(ctx context.Context) ([]LinkStatus, error) {
	var links []LinkStatus
	return links, c.call(ctx, c.patience, http.MethodGet, "/links", nil, &links)
}

// Link shows one link.
func (c *Client) Link(ctx context.Context, name string) (LinkStatus, error) {
	var link LinkStatus
	return link, c.call(ctx, c.patience, http.MethodGet, "/links/"+url.PathEscape(name), nil, &link)
}

// SetAdmin asks for what is wanted of a link, up, down or drain, and does not wait
// until it is so.
func (c *Client) SetAdmin(ctx context.Context, name, action string) (LinkStatus, error) {
	var link LinkStatus
	return link, c.call(ctx, c.patience, http.MethodPost, "/links/"+url.PathEscape(name)+"/"+action, nil, &link)
}

// Push waits until the SMSC has accepted or refused what is pushed.
func (c *Client) Push(ctx context.Context, p PushRequest) (PushResult, error) {
	var result PushResult
	return result, c.call(ctx, c.patience+pushTimeout, http.MethodPost, "/push", p, &result)
}

// Breakers lists the breakers of the vendors in force, sorted by name.
func (c *Client) Breakers(ctx context.Context) ([]Breaker, error) {
	var all []Breaker
	return all, c.call(ctx, c.patience, http.MethodGet, "/breakers", nil, &all)
}

// Override forces breakers, or lets them decide again, and gives them as they are then.
func (c *Client) Override(ctx context.Context, o BreakerOrder) ([]Breaker, error) {
	var forced []Breaker
	return forced, c.call(ctx, c.patience, http.MethodPost, "/breakers", o, &forced)
}

// Route says which vendors the daemon would try for a sale.
func (c *Client) Route(ctx context.Context, a vendors.Ask) ([]Hop, error) {
	query := url.Values{"network": {a.Network}, "amount": {strconv.FormatInt(a.Amount, 10)}, "product": {a.Product}, "key": {a.Key}}
	if !a.At.IsZero() {
		query.Set("at", a.At.Format(time.RFC3339))
	}
	var hops []Hop
	return hops, c.call(ctx, c.patience, http.MethodGet, "/route?"+query.Encode(), nil, &hops)
}

// Floats says what the vendors in force have told of our money, sorted by vendor.
func (c *Client) Floats(ctx context.Context) ([]VendorFloat, error) {
	var floats []VendorFloat
	return floats, c.call(ctx, c.patience, http.MethodGet, "/floats", nil, &floats)
}

// Products says what a vendor sells for a network; "" = the vendor's first. The
// daemon asks the vendor unless it did so not long ago.
func (c *Client) Products(ctx context.Context, vendor, network string) ([]Product, error) {
	query := url.Values{"vendor": {vendor}, "network": {network}}
	var products []Product
	return products, c.call(ctx, c.patience+vendorTimeout, http.MethodGet, "/products?"+query.Encode(), nil, &products)
}

// Trace calls each for one PDU of a link after another, until each or ctx or the
// daemon ends it. The error is nil if the daemon or ctx did.
func (c *Client) Trace(ctx context.Context, name string, opt TraceOptions, each func(Traced) error) error {
	query := url.Values{}
	if opt.MSISDN != "" {
		query.Set("msisdn", opt.MSISDN)
	}
	if opt.Inputs {
		query.Set("inputs", strconv.FormatBool(true))
	}
	resp, err := c.do(ctx, http.MethodGet, "/links/"+url.PathEscape(name)+"/trace?"+query.Encode(), nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var t Traced
		err := lines.Decode(&t)
		if err == io.EOF || ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("trace of %s: ussdd has gone", name)
		}
		if err != nil {
			return fmt.Errorf("trace of %s: %w", name, err)
		}
		if err := each(t); err != nil {
			return err
		}
	}
}

// call makes one request and reads its answer, which must come within limit.
func (c *Client) call(ctx context.Context, limit time.Duration, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); errors.Is(err, context.DeadlineExceeded) {
		return c.explained(err)
	} else if err != nil {
		return fmt.Errorf("answer of %s: %w", c.path, err)
	}
	return nil
}

// do makes one request. An answer that is no success is an error, of type
// *Problem if the daemon told what the problem is.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://ussdd"+path, sent)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explained(err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var p Problem
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "application/problem+json" {
		return nil, fmt.Errorf("%s answers %s", c.path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		return nil, fmt.Errorf("%s answers %s: %w", c.path, resp.Status, err)
	}
	return nil, &p
}

// explained says in an operator's words why the socket could not be used.
func (c *Client) explained(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no ussdd listens at %s: is it running, and is USSDD_CONTROL the same for both?", c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may be opened by the user and the group of ussdd only", c.path)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the ussdd at %s does not answer in time; its log may say why", c.path)
	}
	// net/http's error names a URL that means nothing here.
	if inner := (*url.Error)(nil); errors.As(err, &inner) {
		err = inner.Err
	}
	return fmt.Errorf("%s: %w", c.path, err)
}
