package vendors

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// plan is all that a vendor's file says about its calls: plain data that reflect.DeepEqual
// compares. It holds the name of a secret, never its value.
type plan struct {
	base     string // URL without a slash at its end
	auth     auth
	connect  time.Duration // name lookup, dial and TLS handshake together
	total    time.Duration // the whole call, up to the last byte of the answer
	maxBody  int           // bytes of an answer
	inFlight int           // calls at a time, per endpoint and operation
	vend     operation
	query    operation
}

// auth says how calls prove who we are.
type auth struct {
	kind     string // none, header, bearer or basic
	header   string // the header that carries the secret
	user     string // of basic
	secret   string // name of the secret
	optional bool   // left out while there is no such secret
}

// operation is one call of a vendor's API.
type operation struct {
	method  string
	path    template
	params  []pair // query parameters of the URL
	headers []pair
	json    *tree  // body, or
	form    []pair // body
	rules   []rule
	fields  fields
}

// notFound says when a vendor's "no such reference" can be believed.
type notFound struct {
	final bool          // it can, after
	grace time.Duration // from the end of the call: longer than the vendor can be at work, and
	times int           // such answers in a row
}

// config is one vendor's file as it was read.
type config struct {
	name     string
	nameAt   value
	authAt   value
	plan     plan
	codes    map[string]string // network → the vendor's code for it
	networks []string          // keys of codes, in the file's order
	notFound notFound
}

const (
	defaultBudget   = 4 * time.Second
	maxConnect      = 2 * time.Second
	defaultMaxBody  = 64 << 10
	defaultInFlight = 256
)

var (
	ids         = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	secretNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	headerNames = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
	pathText    = regexp.MustCompile(`^[A-Za-z0-9/._~!$&'()*+,;=:@-]*$`)
)

// wireHeaders are what net/http writes itself, or what would change how a call is read.
var wireHeaders = []string{
	"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Expect", "Host", "Keep-Alive",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func (v value) id() (string, bool) {
	s, ok := v.text()
	if ok && !ids.MatchString(s) {
		v.problem("%q is no name: small letters, digits and dashes, at most 32", s)
		return "", false
	}
	return s, ok
}

// readVendor reads a vendor's file. Problems are noted, and what could be read is returned.
func readVendor(root value, budget time.Duration, known []Network) config {
	c := config{codes: map[string]string{}}
	o, ok := root.object("vendor", "base", "auth", "timeouts", "max_body", "max_in_flight", "networks", "vend", "query", "not_found")
	if !ok {
		return c
	}
	if v, ok := o.need("vendor"); ok {
		c.nameAt = v
		c.name, _ = v.id()
	}
	if v, ok := o.need("base"); ok {
		if s, ok := v.text(); ok {
			c.plan.base, ok = baseURL(s)
			if !ok {
				v.problem("must be an http or https URL without user, query and fragment")
			}
		}
	}
	if v, ok := o.need("auth"); ok {
		c.authAt = v
		c.plan.auth = readAuth(v)
	}
	c.plan.connect, c.plan.total = readTimeouts(o, budget)
	c.plan.maxBody, c.plan.inFlight = defaultMaxBody, defaultInFlight
	if v, ok := o.has("max_body"); ok {
		c.plan.maxBody, _ = v.integer(1<<10, 1<<20)
	}
	if v, ok := o.has("max_in_flight"); ok {
		c.plan.inFlight, _ = v.integer(1, 1<<14)
	}
	if v, ok := o.need("networks"); ok {
		c.readNetworks(v, known)
	}
	if v, ok := o.need("vend"); ok {
		c.plan.vend = readOperation(v, vendOperation)
	}
	if v, ok := o.need("query"); ok {
		c.plan.query = readOperation(v, queryOperation)
	}
	if v, ok := o.has("not_found"); ok {
		c.notFound = readNotFound(v)
	}
	return c
}

// baseURL checks a base address, of a file or of Options.URLs.
func baseURL(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || !pathText.MatchString(u.EscapedPath()) || climbs(u.Path) {
		return "", false
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), true
}

// authKeys are the ways to prove who we are, and what each of them needs.
var authKeys = map[string][]string{"header": {"name", "secret"}, "bearer": {"secret"}, "basic": {"user", "secret"}}

func readAuth(v value) auth {
	a := auth{kind: "none"}
	if v.node.Kind != yaml.MappingNode {
		if v.node.Value != "none" {
			v.problem("must be none, or a mapping with header, bearer or basic")
		}
		return a
	}
	o, _ := v.object("header", "bearer", "basic", "optional")
	if f, ok := o.has("optional"); ok {
		a.optional, _ = f.boolean()
	}
	for _, key := range o.keys {
		switch {
		case authKeys[key] == nil:
		case a.kind != "none":
			o.fields[key].problem("%s is given, too: choose one", a.kind)
		default:
			a.kind = key
			a.readKind(o.fields[key])
		}
	}
	if a.kind == "none" {
		v.problem("needs one of header, bearer and basic")
	}
	return a
}

func (a *auth) readKind(v value) {
	o, ok := v.object(authKeys[a.kind]...)
	if !ok {
		return
	}
	if f, ok := o.need("secret"); ok {
		s, ok := f.text()
		if ok && !secretNames.MatchString(s) { // perhaps a secret itself: not to be repeated
			f.problem("must be the name of a secret: letters, digits, dots, dashes and underscores, at most 64")
		} else {
			a.secret = s
		}
	}
	a.header = "Authorization"
	switch a.kind {
	case "header":
		if f, ok := o.need("name"); ok {
			a.header = f.headerName()
		}
	case "basic":
		if f, ok := o.need("user"); ok {
			a.user, ok = f.filled()
			if ok && (strings.Contains(a.user, ":") || !headerText(a.user)) {
				f.problem("must be printable ASCII without a colon")
			}
		}
	}
}

func (v value) headerName() string {
	s, ok := v.text()
	if !ok {
		return ""
	}
	name, ok := headerName(s)
	if !ok {
		v.problem("%q cannot be set as a header", s)
	}
	return name
}

// headerName gives a header's canonical name, if it is one that a file can set.
func headerName(s string) (string, bool) {
	name := http.CanonicalHeaderKey(s)
	return name, headerNames.MatchString(s) && !slices.Contains(wireHeaders, name) && !strings.HasPrefix(name, "Proxy-")
}

// readTimeouts derives what is not given from the time that a step of a session has: a dead first
// endpoint leaves two thirds of it to the next, and a slow one may answer after the step.
func readTimeouts(o object, budget time.Duration) (connect, total time.Duration) {
	total = 3 * budget
	v, given := o.has("timeouts")
	var t object
	if given {
		t, _ = v.object("connect", "total")
	}
	if f, ok := t.has("total"); ok {
		total, _ = f.duration(time.Millisecond, 10*time.Minute)
	}
	connect = min(maxConnect, budget/3, total)
	if f, ok := t.has("connect"); ok {
		connect, ok = f.duration(time.Millisecond, time.Minute)
		if ok && connect > total {
			f.problem("is longer than the whole call's %s", total)
		}
	}
	return connect, total
}

func (c *config) readNetworks(v value, known []Network) {
	o, ok := v.object()
	if ok && len(o.keys) == 0 {
		v.problem("must not be empty")
	}
	for _, id := range o.keys {
		f := o.fields[id]
		if known != nil && !slices.ContainsFunc(known, func(n Network) bool { return n.ID == id }) {
			f.problem("unknown network %q: it is not in %s", id, routesFile)
		}
		n, ok := f.object("code")
		if !ok {
			continue
		}
		c.networks = append(c.networks, id)
		if f, ok := n.need("code"); ok {
			c.codes[id], _ = f.filled()
		}
	}
}

func readNotFound(v value) notFound {
	o, ok := v.object("grace", "times")
	if !ok {
		return notFound{}
	}
	n := notFound{final: true}
	if f, ok := o.need("grace"); ok {
		n.grace, _ = f.duration(0, 24*time.Hour)
	}
	if f, ok := o.need("times"); ok {
		n.times, _ = f.integer(1, 100)
	}
	return n
}

// operationKind is what differs between the operations of a vendor.
type operationKind struct {
	names    []string // placeholders that have a meaning, and
	needs    []string // those without which a call would be about nothing or anything
	methods  []string
	thens    []string           // what rules can say, and
	verdicts map[string]verdict // what it means
}

var (
	vendOperation = operationKind{
		names:   []string{"phone", "amount", "reference", "network"},
		needs:   []string{"phone", "amount", "reference"},
		methods: []string{"POST", "PUT", "GET"},
		thens:   []string{"delivered", "declined", "pending"},
		verdicts: map[string]verdict{
			"delivered": {outcome: Delivered},
			"declined":  {outcome: Declined, reason: ReasonRefused},
			"pending":   {outcome: Ambiguous, reason: ReasonPending},
		},
	}
	queryOperation = operationKind{
		names:   []string{"phone", "amount", "reference", "network", "vendor_ref"},
		needs:   []string{"reference"},
		methods: []string{"GET", "POST"},
		thens:   []string{"delivered", "failed", "pending", "not_found"},
		verdicts: map[string]verdict{
			"delivered": {state: FoundDelivered},
			"failed":    {state: FoundFailed, reason: ReasonRefused},
			"pending":   {state: FoundPending, reason: ReasonPending},
			"not_found": {state: NotFound},
		},
	}
)

func readOperation(v value, kind operationKind) operation {
	var op operation
	o, ok := v.object("method", "path", "params", "headers", "json", "form", "rules", "fields")
	if !ok {
		return op
	}
	found := len(*v.problems)
	if f, ok := o.need("method"); ok {
		op.method, _ = f.oneOf(kind.methods...)
	}
	if f, ok := o.need("path"); ok {
		op.path = readPath(f, kind.names)
	}
	if f, ok := o.has("params"); ok {
		op.params = readPairs(f, kind.names)
	}
	if f, ok := o.has("headers"); ok {
		op.headers = readHeaders(f, kind.names)
	}
	jsonAt, isJSON := o.has("json")
	if isJSON {
		if t, ok := readTree(jsonAt, kind.names); ok {
			op.json = &t
		}
	}
	formAt, isForm := o.has("form")
	if isForm {
		op.form = readPairs(formAt, kind.names)
		if len(formAt.node.Content) == 0 {
			formAt.problem("must not be empty")
		}
	}
	switch {
	case isJSON && isForm:
		formAt.problem("json is given, too: choose one")
	case op.method == "GET" && (isJSON || isForm):
		v.problem("GET carries no body: use params")
	case op.method != "GET" && op.method != "" && !isJSON && !isForm:
		v.problem("%s needs a body: json or form", op.method)
	}
	if len(*v.problems) == found { // else what is missing may stand where the problem is
		for _, name := range kind.needs {
			if !op.carries(name) {
				v.problem("{%s} stands nowhere in the request", name)
			}
		}
	}
	if f, ok := o.need("rules"); ok {
		op.rules = readRules(f, kind)
	}
	if f, ok := o.has("fields"); ok {
		op.fields = readFields(f)
	}
	return op
}

// carries reports whether the placeholder stands anywhere in the call.
func (op operation) carries(name string) bool {
	return op.path.has(name) || op.json != nil && op.json.has(name) ||
		slices.ContainsFunc(slices.Concat(op.params, op.headers, op.form), func(p pair) bool { return p.value.has(name) })
}

func readPath(v value, names []string) template {
	t, ok := readTemplate(v, names, false)
	if !ok {
		return nil
	}
	literal := ""
	for _, p := range t {
		literal += p.text
	}
	if !pathText.MatchString(literal) || climbs(literal) || len(t) == 0 || !strings.HasPrefix(t[0].text, "/") {
		v.problem("must begin with a slash and be plain URL path text; query parameters go to params")
	}
	return t
}

func readPairs(v value, names []string) []pair {
	o, _ := v.object()
	var pairs []pair
	for _, name := range o.keys {
		if t, ok := readTemplate(o.fields[name], names, false); ok {
			pairs = append(pairs, pair{name: name, value: t})
		}
	}
	return pairs
}

func readHeaders(v value, names []string) []pair {
	o, _ := v.object()
	var pairs []pair
	for _, key := range o.keys {
		f := o.fields[key]
		name, ok := headerName(key)
		switch {
		case !ok:
			f.problem("%q cannot be set as a header", key)
		case name == "Authorization":
			f.problem("credentials go to auth")
		case slices.ContainsFunc(pairs, func(p pair) bool { return p.name == name }):
			f.problem("header %s is there twice", name)
		}
		t, ok := readTemplate(f, names, false)
		if ok && slices.ContainsFunc(t, func(p part) bool { return strings.ContainsFunc(p.text, unprintable) }) {
			f.problem("a header's value is printable ASCII")
		}
		pairs = append(pairs, pair{name: name, value: t})
	}
	return pairs
}
