package vendors

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// callback says where a vendor's own report of a sale names it, and which secrets its address ends
// with.
type callback struct {
	secret string // the secret's name; "" = the vendor reports nothing
	at     value  // where it stands
	own    bool   // the name is the vendor's own reference, not ours
	json   []path // where the name stands: in the body, or
	form   string // in this field of the body, or
	param  string // in this one of the address's query; the first of them that has one counts
	answer string // what the vendor wants to hear

	tokens []secret // one, or two while one is being exchanged; none = nothing is taken
}

// callbackTokens are what an address can end with as it is.
var callbackTokens = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// ErrNoCallback says that there is no such vendor, that it reports nothing, or that the address is
// not the one that it was given.
var ErrNoCallback = errors.New("vendors: no such callback")

// Report is what a vendor's own report of a sale is read for: one of the two references, and the
// other is "".
type Report struct {
	Reference string // ours, as Endpoint.Reference made it
	VendorRef string // the vendor's own, as Result.VendorRef or Finding.VendorRef gave it
	Answer    string // the JSON that the vendor wants for an answer
}

// Callback gives the reference of the sale that a vendor reports on. token is the secret end of the
// address that was called, query is the address's, body the report as it came. Nothing else of a
// report is read: it is a reason to ask the vendor, and never an answer. An error other than
// ErrNoCallback says that the report names no sale.
func (s *Set) Callback(vendor, token string, query url.Values, body []byte) (Report, error) {
	v := s.vendors[vendor]
	if v == nil {
		return Report{}, ErrNoCallback
	}
	known := false
	for _, t := range v.callback.tokens {
		// All are compared, so that the time does not tell which one fits.
		known = subtle.ConstantTimeCompare([]byte(t.reveal()), []byte(token)) == 1 || known
	}
	if !known {
		return Report{}, ErrNoCallback
	}
	name := v.callback.read(query, body)
	switch {
	case v.callback.own && isVendorRef(name):
		return Report{VendorRef: name, Answer: v.callback.answer}, nil
	case !v.callback.own && isReference(name):
		return Report{Reference: name, Answer: v.callback.answer}, nil
	}
	return Report{}, fmt.Errorf("%s: callback: no reference where it should be", vendor)
}

// read finds the name of the sale, "" if there is none.
func (c *callback) read(query url.Values, body []byte) string {
	if len(c.json) > 0 {
		if doc, err := decode(body); err == nil {
			if name := text(c.json, doc); name != "" {
				return name
			}
		}
	}
	if c.form != "" {
		if form, err := url.ParseQuery(string(body)); err == nil && form.Get(c.form) != "" {
			return form.Get(c.form)
		}
	}
	if c.param != "" {
		return query.Get(c.param)
	}
	return ""
}

// readCallback reads what a file says of callbacks. kept tells that an answer's vendor_ref is.
func readCallback(v value, kept bool) callback {
	c := callback{answer: "{}"}
	o, ok := v.object("secret", "reference", "vendor_ref", "answer")
	if !ok {
		return c
	}
	if f, ok := o.need("secret"); ok {
		f.secrets = nil // it is none of those that calls are made with
		c.secret, c.at = f.secretName(), f
	}
	if f, ok := o.has("answer"); ok {
		if c.answer, ok = f.filled(); ok && !json.Valid([]byte(c.answer)) {
			f.problem("must be JSON, in quotes")
		}
	}
	at, own := o.has("vendor_ref")
	ours, isOurs := o.has("reference")
	switch c.own = own; {
	case own && isOurs:
		at.problem("reference is given, too: choose one")
		return c
	case own && !kept:
		at.problem("vend and query have no fields.vendor_ref to know it by")
	case isOurs:
		at = ours
	case !own:
		o.problem("reference is missing, or vendor_ref")
		return c
	}
	of, ok := at.object("json", "form", "param")
	if ok && len(of.keys) == 0 {
		at.problem("must have json, form or param")
	}
	if f, ok := of.has("json"); ok {
		c.json = readPaths(f)
	}
	if f, ok := of.has("form"); ok {
		c.form, _ = f.filled()
	}
	if f, ok := of.has("param"); ok {
		c.param, _ = f.filled()
	}
	return c
}

// find gets the secrets. Without one nothing is taken, which is no problem.
func (c *callback) find(opt Options) {
	if c.secret == "" {
		return
	}
	for _, name := range []string{c.secret, c.secret + nextSecret} {
		s, _ := opt.Secrets(name)
		switch s = strings.TrimRight(s, "\r\n"); {
		case s == "":
		case !callbackTokens.MatchString(s):
			c.at.problem("secret %q must be at most 128 letters, digits, dashes and underscores: it stands in an address", name)
		default:
			c.tokens = append(c.tokens, newSecret(s))
		}
	}
}
