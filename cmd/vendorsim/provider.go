package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxBody  = 64 << 10         // bytes of a request's body, at a provider or at control
	bodyTime = 10 * time.Second // for a request's body to arrive
)

// kind is what a request asks of a provider.
type kind string

const (
	kindBuy          kind = "buy"
	kindQuery        kind = "query"
	kindBalance      kind = "balance"
	kindUnauthorized kind = "unauthorized"
	kindOther        kind = "other"
)

// api is the manner of a provider: where it takes its key, which operations it
// has and how it says no. Its methods are safe from any goroutine.
type api interface {
	keyHeader() keyHeader
	operations() []operation
	// refuse words a verdict that comes without a transaction.
	refuse(v verdict) reply
}

// guard is an api that a caller proves itself to in another way than by one header.
type guard interface {
	admits(p *provider, r *http.Request) bool
}

// keyHeader is the header that carries the API key, alone or after a scheme.
type keyHeader struct{ name, scheme string }

// String shows the header as it is sent.
func (h keyHeader) String() string {
	if h.scheme == "" {
		return h.name + ": KEY"
	}
	return h.name + ": " + h.scheme + " KEY"
}

// read is the key that a request carries, or "".
func (h keyHeader) read(r *http.Request) string {
	value := r.Header.Get(h.name)
	if h.scheme == "" {
		return value
	}
	scheme, key, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, h.scheme) {
		return ""
	}
	return key
}

// operation is one thing that an api can be asked to do.
type operation struct {
	kind        kind
	pattern     string // for http.ServeMux
	contentType string // of the request's body; "" = it has none
	example     string // the body, or for a GET the path and query, of a good request; "" = obvious
	serve       func(*call) reply
}

// reply is an answer before any fault has touched it. Its body is sent as JSON.
type reply struct {
	status int
	body   any
}

// object is a JSON object in an answer.
type object map[string]any

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// call is one request to a provider, on its way to an answer.
type call struct {
	request  *http.Request
	body     []byte
	provider *provider

	sale    sale // as asked for, if it was a purchase
	verdict verdict
	fault   fault // what is to become of the answer
}

// decode reads the body as JSON into v, a pointer.
func (c *call) decode(v any) bool {
	if json.Unmarshal(c.body, v) != nil {
		c.verdict = badRequest
		return false
	}
	return true
}

// form reads the body as a form.
func (c *call) form() (url.Values, bool) {
	values, err := url.ParseQuery(string(c.body))
	if err != nil {
		c.verdict = badRequest
		return nil, false
	}
	return values, true
}

// sell has the book decide a purchase.
func (c *call) sell(s sale) (transaction, verdict) {
	var t transaction
	c.sale = s
	t, c.verdict, c.fault = c.provider.book.sell(c.provider.name, s)
	return t, c.verdict
}

// find looks a reference up in the book.
func (c *call) find(reference string) (transaction, verdict) {
	var t transaction
	c.sale.reference = reference
	t, c.verdict = c.provider.book.find(c.provider.name, reference)
	c.sale.recipient = t.recipient
	return t, c.verdict
}

// findID looks a transaction up by the provider's own name for it.
func (c *call) findID(id, prefix string) (transaction, verdict) {
	number, ok := strings.CutPrefix(id, prefix)
	serial, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		c.verdict = notFound
		return transaction{}, notFound
	}
	var t transaction
	t, c.verdict = c.provider.book.findSerial(c.provider.name, serial)
	c.sale.reference, c.sale.recipient = t.reference, t.recipient
	return t, c.verdict
}

func (c *call) balance() int64 { return c.provider.book.balance(c.provider.name) }

// provider is one vending API at its own address.
type provider struct {
	name  string
	api   api
	book  *book
	key   *[sha256.Size]byte // hash of its API key; nil = it takes any, or none
	slow  time.Duration
	after func(time.Duration) <-chan time.Time // time.After, but for tests
	log   *slog.Logger
	door  *door
}

// handler serves the provider's operations.
func (p *provider) handler() http.Handler {
	mux := http.NewServeMux()
	for _, op := range append(p.api.operations(), operation{kind: kindOther, pattern: "/", serve: noOperation}) {
		mux.HandleFunc(op.pattern, func(w http.ResponseWriter, r *http.Request) { p.serve(op, w, r) })
	}
	return mux
}

func noOperation(*call) reply {
	return reply{http.StatusNotFound, object{"message": "no such operation"}}
}

func (p *provider) serve(op operation, w http.ResponseWriter, r *http.Request) {
	began := p.book.now()
	c := &call{request: r, provider: p}
	k := op.kind
	body, err := readBody(w, r)
	switch {
	case !p.authorized(r):
		k, c.verdict = kindUnauthorized, unauthorized
	case err != nil || !hasType(r, op.contentType):
		c.verdict = badRequest
	}
	p.book.countRequest(p.name, k)
	var answer reply
	if c.verdict != 0 {
		answer = p.api.refuse(c.verdict)
	} else {
		c.body = body
		answer = op.serve(c)
	}
	status := p.send(w, r, answer, c.fault)
	p.log.Info("request", "provider", p.name, "kind", k, "verdict", c.verdict, "fault", c.fault, "status", status,
		"reference", c.sale.reference, "recipient", mask(c.sale.recipient), "amount_kobo", c.sale.amount, "took", p.book.now().Sub(began))
	if status == 0 {
		panic(http.ErrAbortHandler) // net/http's way to close the connection without an answer
	}
}

func (p *provider) authorized(r *http.Request) bool {
	if g, ok := p.api.(guard); ok {
		return p.key == nil || g.admits(p, r)
	}
	return p.knows(p.api.keyHeader().read(r))
}

// knows reports whether this is the provider's key. One that wants none knows them all.
func (p *provider) knows(key string) bool {
	if p.key == nil {
		return true
	}
	given := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(given[:], p.key[:]) == 1
}

func hasType(r *http.Request, want string) bool {
	if want == "" {
		return true
	}
	given, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && given == want
}

// readBody reads a whole request body, within bodyTime and up to maxBody.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// A server-wide read time-out would also end the requests that hang on purpose.
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return body, conn.SetReadDeadline(time.Time{})
}

// send sends the answer as the fault has it, and returns the HTTP status; 0 if
// the connection is to be closed without one.
func (p *provider) send(w http.ResponseWriter, r *http.Request, answer reply, f fault) int {
	switch f {
	case faultSlow:
		select {
		case <-p.after(p.slow):
		case <-r.Context().Done():
			return 0
		}
	case faultHang:
		<-r.Context().Done()
		return 0
	case faultReset:
		resetOnClose(r.Context())
		return 0
	case faultTwice:
		return sendTwice(w, r, answer)
	case faultErrorAfter, faultErrorBefore:
		return write(w, http.StatusInternalServerError, jsonType, []byte(`{"message":"Internal Server Error"}`+"\n"))
	case faultGarbage:
		return write(w, http.StatusOK, "text/html", []byte("<html><head><title>Welcome</title></head><body>It works!</body></html>\n"))
	}
	return writeJSON(w, answer.status, jsonType, answer.body)
}

// sendTwice sends the answer, and then the same octets as if another request had
// come on the connection, which stays open.
func sendTwice(w http.ResponseWriter, r *http.Request, answer reply) int {
	body, err := json.Marshal(answer.body)
	if err != nil {
		return write(w, http.StatusInternalServerError, "text/plain", []byte(err.Error()+"\n"))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	write(w, answer.status, jsonType, body)
	if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok && http.NewResponseController(w).Flush() == nil {
		fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			answer.status, http.StatusText(answer.status), jsonType, len(body), body) // a client that has gone needs none
	}
	return answer.status
}

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) int {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return write(w, http.StatusInternalServerError, "text/plain", []byte(err.Error()+"\n"))
	}
	return write(w, status, contentType, b.Bytes())
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) int {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	w.Write(body) // a client that has gone needs no answer
	return status
}

// connKey is the context key of the request's net.Conn.
type connKey struct{}

// resetOnClose makes the connection of a request end by RST instead of FIN.
func resetOnClose(ctx context.Context) {
	if conn, ok := ctx.Value(connKey{}).(*net.TCPConn); ok {
		conn.SetLinger(0) // on an error the client sees a FIN: no answer all the same
	}
}
