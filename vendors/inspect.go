package vendors

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Operation names one of the calls that a vendor's file describes.
type Operation string

// The operations of a vendor. Every vendor has the first two.
const (
	OpVend     Operation = "vend"
	OpQuery    Operation = "query"
	OpBalance  Operation = "balance"
	OpProducts Operation = "products"
	OpToken    Operation = "token"
)

// operation finds an operation of the vendor, nil if it has none of that name.
func (v *vendor) operation(name Operation) *operation {
	switch {
	case name == OpVend:
		return &v.plan.vend
	case name == OpQuery:
		return &v.plan.query
	case name == OpBalance && v.plan.balance != nil:
		return &v.plan.balance.call
	case name == OpProducts && v.plan.products != nil:
		return &v.plan.products.call
	case name == OpToken && v.plan.auth.token != nil:
		return &v.plan.auth.token.call
	}
	return nil
}

// Preview gives the request that an operation would send, as HTTP/1.1 text with bare line feeds,
// and sends nothing. Every secret is its own name in square brackets; a token and a signature are
// [token] and [signature].
func (e *Endpoint) Preview(name Operation, r Request, vendorRef string) (string, error) {
	v := e.vendor
	op := v.operation(name)
	if op == nil {
		return "", fmt.Errorf("%s: %s: %w", v.name, name, ErrNoLookup)
	}
	vals := &values{network: e.code.text, more: e.code.more}
	if name == OpVend || name == OpQuery {
		check := e.check
		if name == OpVend {
			check = e.checkVend
		}
		if _, err := check(r); err != nil {
			return "", err
		}
		vals = e.values(r, vendorRef)
	}
	k := v.masked()
	base := ""
	if name == OpToken {
		base = v.plan.auth.token.url
	}
	req, body, err := v.request(op, vals, k, base)
	if err != nil {
		return "", err
	}
	if name != OpToken {
		v.plan.auth.authorize(req, k)
		if v.tokens != nil {
			req.Header.Set("Authorization", "Bearer [token]")
		}
		if s := v.plan.auth.sign; s != nil {
			if err := s.sign(req, body, k); err != nil {
				return "", err
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\nHost: %s\n", req.Method, req.URL.RequestURI(), req.Host)
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\n", len(body))
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		fmt.Fprintf(&b, "%s: %s\n", name, req.Header.Get(name))
	}
	return b.String() + "\n" + body, nil
}

// masked gives keys whose secrets are their own names, also those that are not there.
func (v *vendor) masked() *keys {
	m := &keys{secrets: map[string]secret{}, masked: true}
	for _, name := range v.names {
		m.secrets[name] = newSecret("[" + name + "]")
	}
	return m
}

// Verdict is what a vendor's rules make of one answer.
type Verdict struct {
	Rule    string  // where the rule is that matched: "acme.yaml:12: vend.rules[1]"; "" = none did
	Result  Result  // of OpVend
	Finding Finding // of OpQuery
	Float   int64   // kobo, of OpBalance, if
	Known   bool    // the answer tells it; of OpProducts that it was understood
}

// Judge says what a vendor's answer to an operation would mean. The answer is an HTTP/1.1 response,
// with or without carriage returns, or a body alone, which is taken for one with status 200.
func (e *Endpoint) Judge(name Operation, r Request, vendorRef string, saved []byte) (Verdict, error) {
	v := e.vendor
	op := v.operation(name)
	if op == nil || name == OpToken {
		return Verdict{}, fmt.Errorf("%s: %s: %w", v.name, name, ErrNoLookup)
	}
	a, err := readAnswer(saved)
	if err != nil {
		return Verdict{}, err
	}
	vals := e.values(r, vendorRef)
	var verdict Verdict
	_, i := judge(op.rules, &a, vals)
	if i >= 0 {
		verdict.Rule = fmt.Sprintf("%s: %s.rules[%d]", v.file, name, i)
		if lines := v.lines[name]; i < len(lines) {
			verdict.Rule = fmt.Sprintf("%s:%d: %s.rules[%d]", v.file, lines[i], name, i)
		}
	}
	switch name {
	case OpVend:
		verdict.Result = e.outcome(r, a, vals)
	case OpQuery:
		verdict.Finding = e.finding(r, a, vals)
	case OpBalance:
		if i >= 0 {
			verdict.Float, verdict.Known = op.fields.balance.read(a.doc)
		}
	default:
		verdict.Known = i >= 0
	}
	return verdict, nil
}

// readAnswer reads a saved answer.
func readAnswer(saved []byte) (answer, error) {
	a := answer{sent: true, status: http.StatusOK, header: http.Header{}, body: saved}
	if bytes.HasPrefix(saved, []byte("HTTP/")) {
		head, body, _ := bytes.Cut(bytes.ReplaceAll(saved, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
		resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader("\n\n"))), nil)
		if err != nil {
			return a, fmt.Errorf("saved answer: %w", err)
		}
		a.status, a.header, a.body = resp.StatusCode, resp.Header, body
		_ = resp.Body.Close()
	}
	a.doc, a.parseErr = decode(a.body)
	return a, nil
}

// About is what a vendor's file says of the vendor as a whole.
type About struct {
	Vendor     string
	Base       string      // URL
	Auth       string      // none, header, headers, bearer, basic, token or sign, or token+sign and the like
	Secrets    []string    // names
	Missing    []string    // those of them that are not there, and need not be
	Networks   []string    // ids
	Operations []Operation // that it has
	Timeout    time.Duration
}

// Vendors describes the vendors of the set, sorted by name.
func (s *Set) Vendors() []About {
	var all []About
	for _, name := range slices.Sorted(maps.Keys(s.vendors)) {
		v := s.vendors[name]
		a := About{Vendor: name, Base: v.plan.base, Auth: v.plan.auth.kind, Networks: slices.Sorted(maps.Keys(v.endpoints)), Timeout: v.plan.total}
		for _, secret := range v.names {
			a.Secrets = append(a.Secrets, secret)
			if v.keys[0].secret(secret) == "" {
				a.Missing = append(a.Missing, secret)
			}
		}
		for _, op := range []Operation{OpVend, OpQuery, OpBalance, OpProducts, OpToken} {
			if v.operation(op) != nil {
				a.Operations = append(a.Operations, op)
			}
		}
		all = append(all, a)
	}
	return all
}
