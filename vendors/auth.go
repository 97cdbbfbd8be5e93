package vendors

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// auth says how calls prove who we are.
type auth struct {
	kind     string       // none, header, headers, bearer, basic, token or sign, or token+sign and the like
	headers  []credential // of header, headers, bearer and basic
	token    *tokenAuth
	sign     *signing
	optional bool   // left out while there is no such secret
	refused  []rule // answers that say that our credentials are not good, and that nothing was executed
}

// credential is one header that carries a secret.
type credential struct {
	header     string
	scheme     string   // "", Bearer or Basic
	user       string   // of Basic,
	userSecret string   // or the name of a secret in its place
	secret     string   // name of the secret
	methods    []string // of the calls that carry it; none = all
}

// secretUse is one place of a file that names a secret.
type secretUse struct {
	at       value
	name     string
	optional bool
}

// keys are the values of a vendor's secrets, as they are valid together.
type keys struct {
	secrets map[string]secret
	masked  bool // the secrets are not the real ones: what is made of them is to say so
}

func (k *keys) secret(name string) string {
	if k == nil {
		return ""
	}
	return k.secrets[name].reveal()
}

// value gives what the header holds, "" while there is no secret.
func (c credential) value(k *keys) string {
	key := k.secret(c.secret)
	if key == "" {
		return ""
	}
	switch c.scheme {
	case "Bearer":
		return "Bearer " + key
	case "Basic":
		if k.masked {
			return "Basic [" + cmp.Or(c.user, c.userSecret) + ":" + c.secret + "]"
		}
		user := c.user
		if c.userSecret != "" {
			user = k.secret(c.userSecret)
		}
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+key))
	}
	return key
}

// authorize sets the headers that need nothing but secrets.
func (a auth) authorize(req *http.Request, k *keys) {
	for _, c := range a.headers {
		if len(c.methods) > 0 && !slices.Contains(c.methods, req.Method) {
			continue
		}
		if s := c.value(k); s != "" {
			req.Header.Set(c.header, s)
		}
	}
}

// private gives every form in which an answer could repeat the secrets.
func (a auth) private(k *keys) []secret {
	var all []secret
	for _, c := range a.headers {
		if s := c.value(k); s != "" {
			all = append(all, newSecret(s), newSecret(strings.TrimPrefix(s, "Basic ")))
		}
	}
	for _, s := range k.secrets {
		all = append(all, spellings(s.reveal())...)
	}
	return all
}

// spellings gives the forms in which an error or an answer could repeat a secret, the longest
// first.
func spellings(key string) []secret {
	quoted := string(appendString(nil, key))
	return []secret{
		newSecret(url.QueryEscape(key)),
		newSecret(url.PathEscape(key)),
		newSecret(quoted[1 : len(quoted)-1]),
		newSecret(strings.ReplaceAll(key, "/", `\/`)),
		newSecret(key),
	}
}

// authKinds are the ways to prove who we are.
var authKinds = []string{"header", "headers", "bearer", "basic", "token", "sign"}

func readAuth(v value) auth {
	a := auth{kind: "none"}
	if v.node.Kind != yaml.MappingNode {
		if v.node.Value != "none" {
			v.problem("must be none, or a mapping with header, headers, bearer, basic, token or sign")
		}
		return a
	}
	o, _ := v.object(append(slices.Clone(authKinds), "optional", "refused")...)
	if f, ok := o.has("optional"); ok {
		a.optional, _ = f.boolean()
	}
	for _, key := range o.keys {
		switch {
		case !slices.Contains(authKinds, key) || key == "sign":
		case a.kind != "none":
			o.fields[key].problem("%s is given, too: choose one", a.kind)
		default:
			a.kind = key
			a.readKind(o.fields[key])
		}
	}
	if f, ok := o.has("sign"); ok {
		a.readSign(f)
	}
	if a.kind == "none" {
		v.problem("needs one of header, headers, bearer, basic, token and sign")
	}
	f, ok := o.has("refused")
	switch {
	case ok:
		a.refused = readRefused(f)
	case a.token != nil && a.token.expires == nil:
		v.problem("token.expires or refused is needed: nothing would tell when a token is good no more")
	}
	return a
}

// readRefused reads the rules that say that credentials were refused. They make a call be sent a
// second time, so that they are held to the same proof as a decline.
func readRefused(v value) []rule {
	list, ok := v.list()
	if !ok {
		return nil
	}
	var rules []rule
	for _, item := range list {
		o, ok := item.object("status", "headers", "json")
		if !ok {
			continue
		}
		r := readMatch(o, nil)
		if !slices.ContainsFunc(r.body, condition.proves) && (len(r.status) == 0 || slices.ContainsFunc(r.status, func(s span) bool { return !s.definite() })) {
			item.problem("needs a status of its own like 401, or a json condition that names a value: the call would be sent twice")
		}
		rules = append(rules, r)
	}
	return rules
}

func (a *auth) readKind(v value) {
	switch a.kind {
	case "token":
		a.token = readTokenAuth(v)
	case "headers":
		o, ok := v.object()
		if ok && len(o.keys) == 0 {
			v.problem("must not be empty")
		}
		for _, key := range o.keys {
			f := o.fields[key]
			c := credential{header: f.headerNameOf(key)}
			if f.node.Kind != yaml.MappingNode {
				c.secret = f.secretName()
			} else if h, ok := f.object("secret", "methods"); ok {
				if s, ok := h.need("secret"); ok {
					c.secret = s.secretName()
				}
				if m, ok := h.has("methods"); ok {
					items, _ := m.some()
					for _, item := range items {
						if s, ok := item.oneOf("GET", "POST", "PUT", "PATCH"); ok {
							c.methods = append(c.methods, s)
						}
					}
				}
			}
			a.headers = append(a.headers, c)
		}
	default:
		a.headers = []credential{readCredential(v, a.kind)}
	}
}

// readSign reads how requests are signed, alone or beside another kind.
func (a *auth) readSign(v value) {
	a.sign = readSigning(v)
	for _, h := range a.sign.headers {
		if a.token != nil && h.name == "Authorization" || slices.ContainsFunc(a.headers, func(c credential) bool { return c.header == h.name }) {
			v.problem("header %s is set by %s, too", h.name, a.kind)
		}
	}
	if a.kind == "none" {
		a.kind = "sign"
	} else {
		a.kind += "+sign"
	}
}

// readCredential reads the mapping of header, bearer or basic.
func readCredential(v value, kind string) credential {
	known := map[string][]string{"header": {"name", "secret"}, "bearer": {"secret"}, "basic": {"user", "user_secret", "secret"}}[kind]
	c := credential{header: "Authorization"}
	o, ok := v.object(known...)
	if !ok {
		return c
	}
	if f, ok := o.need("secret"); ok {
		c.secret = f.secretName()
	}
	switch kind {
	case "header":
		if f, ok := o.need("name"); ok {
			c.header = f.headerName()
		}
	case "bearer":
		c.scheme = "Bearer"
	case "basic":
		c.scheme = "Basic"
		if f, ok := o.has("user_secret"); ok {
			c.userSecret = f.secretName()
			if f, ok := o.has("user"); ok {
				f.problem("user_secret is given, too: choose one")
			}
		} else if f, ok := o.need("user"); ok {
			c.user, ok = f.filled()
			if ok && (strings.Contains(c.user, ":") || !headerText(c.user)) {
				f.problem("must be printable ASCII without a colon")
			}
		}
	}
	return c
}

// secretName reads the name of a secret, and notes its use.
func (v value) secretName() string {
	s, ok := v.text()
	if !ok {
		return ""
	}
	if !secretNames.MatchString(s) { // perhaps a secret itself: not to be repeated
		v.problem("must be the name of a secret: letters, digits, dots, dashes and underscores, at most 64")
		return ""
	}
	if v.secrets != nil {
		*v.secrets = append(*v.secrets, secretUse{at: v, name: s})
	}
	return s
}

// setHeaders renders headers into a request.
func setHeaders(req *http.Request, headers []pair, v *values) error {
	for _, h := range headers {
		s, err := h.value.writeHeader(v)
		if err != nil {
			return &headerError{h.name, err}
		}
		req.Header.Set(h.name, s)
	}
	return nil
}

// headerError says which header cannot hold its value.
type headerError struct {
	name string
	err  error
}

func (e *headerError) Error() string { return "header " + e.name + ": " + e.err.Error() }
func (e *headerError) Unwrap() error { return e.err }
