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

// callback says where a vendor's own report of a sale has our reference, and which secrets its
// address ends with.
type callback struct {
	secret string // the secret's name; "" = the vendor reports nothing
	at     value  // where it stands
	json   []path // of the body, or
	form   string // a field of the body, or
	param  string // of the address's query
	answer string // what the vendor wants to hear

	tokens []secret // one, or two while one is being exchanged; none = nothing is taken
}

// callbackTokens are what an address can end with as it is.
var callbackTokens = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// ErrNoCallback says that there is no such vendor, that it reports nothing, or that the address is
// not the one that it was given.
var ErrNoCallback = errors.New("vendors: no such callback")

// Callback gives the reference of the sale that a vendor reports on, and the JSON that the vendor
// wants for an answer. token is the secret end of the address that was called, query is the
// address's, body the report as it came. Nothing else of a report is read: it is a reason to ask the
// vendor, and never an answer. An error other than ErrNoCallback says that the report names no sale.
func (s *Set) Callback(vendor, token string, query url.Values, body []byte) (reference, answer string, err error) {
	v := s.vendors[vendor]
	if v == nil {
		return "", "", ErrNoCallback
	}
	known := false
	for _, t := range v.callback.tokens {
		// All are compared, so that the time does not tell which one fits.
		known = subtle.ConstantTimeCompare([]byte(t.reveal()), []byte(token)) == 1 || known
	}
	if !known {
		return "", "", ErrNoCallback
	}
	if reference, err = v.callback.read(query, body); err != nil {
		return "", "", fmt.Errorf("%s: callback: %w", vendor, err)
	}
	return reference, v.callback.answer, nil
}

func (c *callback) read(query url.Values, body []byte) (string, error) {
	reference := ""
	switch {
	case c.param != "":
		reference = query.Get(c.param)
	case c.form != "":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return "", errors.New("the body is no form")
		}
		reference = form.Get(c.form)
	default:
		doc, err := decode(body)
		if err != nil {
			return "", errors.New("the body is no JSON")
		}
		reference = text(c.json, doc)
	}
	if !isReference(reference) {
		return "", errors.New("no reference where it should be")
	}
	return reference, nil
}

func readCallback(v value) callback {
	c := callback{answer: "{}"}
	o, ok := v.object("secret", "reference", "answer")
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
	at, ok := o.need("reference")
	if !ok {
		return c
	}
	of, ok := at.object("json", "form", "param")
	if ok && len(of.keys) != 1 {
		at.problem("must have one of json, form and param")
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
