package vendors

import (
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// plan is all that a vendor's file says about its calls: plain data that reflect.DeepEqual
// compares. It holds the names of secrets, never their values.
type plan struct {
	base      string // URL without a slash at its end
	auth      auth
	connect   time.Duration // name lookup, dial and TLS handshake together
	tls       time.Duration // the handshake alone
	answer    time.Duration // from the request to the first line of the answer; 0 = total
	total     time.Duration // the whole call, up to the last byte of the answer
	maxBody   int           // bytes of an answer
	inFlight  int           // calls at a time, per endpoint and operation
	rate      rateLimit
	gap       time.Duration // between two vends to one recipient on one network
	retries   int           // of a vend that was not sent
	proxy     string        // URL; "" = none
	source    string        // IP address that calls come from; "" = the system's choice
	reference naming
	vend      operation
	query     operation
	schedule  schedule
	balance   *lookup
	products  *lookup
}

// rateLimit bounds how often a vendor is called, with all its operations together.
type rateLimit struct {
	calls int           // so many; 0 = as often as needed
	per   time.Duration // in this time, and
	burst int           // so many at once
	wait  time.Duration // a call waits so long for its turn
}

// schedule says when an attempt whose outcome is open is asked about.
type schedule struct {
	after  []time.Duration // waits before the first, second … query; the last one repeats
	maxAge time.Duration   // of an attempt that the vendor can still be asked about
}

// operation is one call of a vendor's API.
type operation struct {
	method  string
	path    template
	params  []pair // query parameters of the URL
	headers []pair
	json    *tree  // body, or
	form    []pair // body
	auth    []credential
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
	plan     plan
	codes    map[string]code // by network
	networks []string        // keys of codes, in the file's order
	notFound notFound
	secrets  []secretUse
	callback callback
	moreAt   map[string]value    // what networks say beside their codes
	lines    map[Operation][]int // of rules
}

// code is what a vendor calls a network, and what it sells for it.
type code struct {
	text     string
	more     map[string]string // what else its API wants to be told of the network
	products map[string]string // the vendor's codes of products
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
	networkKeys = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	headerNames = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
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
	c := config{codes: map[string]code{}}
	root.secrets = &c.secrets
	o, ok := root.object("vendor", "base", "auth", "timeouts", "max_body", "max_in_flight", "rate", "gap", "retries", "proxy", "source",
		"reference", "networks", "vend", "query", "not_found", "callback", "balance", "products")
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
		c.plan.auth = readAuth(v)
	}
	for i := range c.secrets {
		c.secrets[i].optional = c.plan.auth.optional
	}
	c.readTimeouts(o, budget)
	c.plan.maxBody, c.plan.inFlight = defaultMaxBody, defaultInFlight
	if v, ok := o.has("max_body"); ok {
		c.plan.maxBody, _ = v.integer(1<<10, 1<<20)
	}
	if v, ok := o.has("max_in_flight"); ok {
		c.plan.inFlight, _ = v.integer(1, 1<<14)
	}
	c.readLimits(o)
	if v, ok := o.has("reference"); ok {
		c.plan.reference = readNaming(v)
	}
	var more []string // placeholders that the networks add
	if v, ok := o.need("networks"); ok {
		more = c.readNetworks(v, known)
	}
	if v, ok := o.need("vend"); ok {
		c.plan.vend = readOperation(v, vendOperation.with(more))
	}
	if v, ok := o.need("query"); ok {
		c.plan.query = readOperation(v, queryOperation.with(more))
		c.plan.schedule = readSchedule(v)
	}
	if v, ok := o.has("not_found"); ok {
		c.notFound = readNotFound(v)
	}
	if v, ok := o.has("callback"); ok {
		c.callback = readCallback(v, len(c.plan.vend.fields.vendorRef)+len(c.plan.query.fields.vendorRef) > 0)
	}
	if v, ok := o.has("balance"); ok {
		c.plan.balance = readLookup(v, balanceOperation)
		if len(c.plan.balance.call.fields.balance.paths) == 0 {
			v.problem("fields.balance is missing: it is what the call is for")
		}
	}
	if v, ok := o.has("products"); ok {
		c.plan.products = readLookup(v, productsOperation.with(more))
	}
	c.lines = map[Operation][]int{}
	for _, name := range []Operation{OpVend, OpQuery, OpBalance, OpProducts} {
		c.lines[name] = o.ruleLines(name)
	}
	for _, key := range slices.Sorted(maps.Keys(c.moreAt)) {
		if !c.plan.carries("network", key) {
			c.moreAt[key].problem("{network.%s} stands nowhere", key)
		}
	}
	return c
}

// ruleLines gives the lines on which an operation's rules stand.
func (o object) ruleLines(name Operation) []int {
	v, ok := o.has(string(name))
	if !ok {
		return nil
	}
	op, ok := v.quiet().object()
	if !ok {
		return nil
	}
	rules, ok := op.has("rules")
	if !ok {
		return nil
	}
	var lines []int
	for _, n := range rules.node.Content {
		lines = append(lines, n.Line)
	}
	return lines
}

// readLimits reads what bounds and routes the calls.
func (c *config) readLimits(o object) {
	if v, ok := o.has("rate"); ok {
		r := rateLimit{per: time.Second}
		l, _ := v.object("calls", "per", "burst", "wait")
		if f, ok := l.need("calls"); ok {
			r.calls, _ = f.integer(1, 1<<20)
		}
		r.burst = max(1, r.calls)
		if f, ok := l.has("per"); ok {
			r.per, _ = f.duration(time.Millisecond, 24*time.Hour)
		}
		if f, ok := l.has("burst"); ok {
			r.burst, _ = f.integer(1, 1<<20)
		}
		if f, ok := l.has("wait"); ok {
			r.wait, _ = f.duration(0, time.Minute)
		}
		c.plan.rate = r
	}
	if v, ok := o.has("gap"); ok {
		c.plan.gap, _ = v.duration(time.Second, time.Hour)
	}
	if v, ok := o.has("retries"); ok {
		c.plan.retries, _ = v.integer(0, 5)
	}
	if v, ok := o.has("proxy"); ok {
		s, _ := v.text()
		if c.plan.proxy, ok = baseURL(s); !ok {
			v.problem("must be an http or https URL without user, query and fragment")
		}
	}
	if v, ok := o.has("source"); ok {
		c.plan.source, _ = v.text()
		if net.ParseIP(c.plan.source) == nil {
			v.problem("must be an IP address of this host")
		}
	}
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

func (v value) headerName() string {
	s, ok := v.text()
	if !ok {
		return ""
	}
	return v.headerNameOf(s)
}

// headerNameOf checks the name of a header that stands at v.
func (v value) headerNameOf(s string) string {
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
func (c *config) readTimeouts(o object, budget time.Duration) {
	total := 3 * budget
	v, given := o.has("timeouts")
	var t object
	if given {
		t, _ = v.object("connect", "tls", "answer", "total")
	}
	if f, ok := t.has("total"); ok {
		total, _ = f.duration(time.Millisecond, 10*time.Minute)
	}
	c.plan.total = total
	c.plan.connect = t.phase("connect", min(maxConnect, budget/3, total), total)
	c.plan.tls = t.phase("tls", c.plan.connect, total)
	c.plan.answer = t.phase("answer", 0, total)
}

// phase reads the time-out of a part of a call.
func (o object) phase(key string, otherwise, total time.Duration) time.Duration {
	f, ok := o.has(key)
	if !ok {
		return otherwise
	}
	d, ok := f.duration(time.Millisecond, 10*time.Minute)
	if ok && d > total {
		f.problem("is longer than the whole call's %s", total)
	}
	return d
}

// readNetworks reads the networks, and gives the placeholders for what the file says of each of
// them beside its code.
func (c *config) readNetworks(v value, known []Network) (more []string) {
	o, ok := v.object()
	if ok && len(o.keys) == 0 {
		v.problem("must not be empty")
	}
	count := map[string]int{}
	at := map[string]value{}
	for _, id := range o.keys {
		f := o.fields[id]
		if known != nil && !slices.ContainsFunc(known, func(n Network) bool { return n.ID == id }) {
			f.problem("unknown network %q: it is not in %s", id, routesFile)
		}
		n, ok := f.object()
		if !ok {
			continue
		}
		c.networks = append(c.networks, id)
		of := code{more: map[string]string{}}
		if f, ok := n.need("code"); ok {
			of.text, _ = f.filled()
		}
		for _, key := range n.keys {
			switch f := n.fields[key]; {
			case key == "code":
			case key == "products":
				of.products = readProductCodes(f)
			case !networkKeys.MatchString(key):
				f.problem("%q is no name for a placeholder: small letters, digits and underscores", key)
			default:
				of.more[key], _ = f.filled()
				count[key]++
				at[key] = f
			}
		}
		c.codes[id] = of
	}
	for _, key := range slices.Sorted(maps.Keys(at)) {
		if count[key] < len(c.networks) {
			at[key].problem("must be given for every network, or for none")
		}
		more = append(more, "network."+key)
	}
	c.moreAt = at
	return more
}

func readProductCodes(v value) map[string]string {
	codes := map[string]string{}
	o, _ := v.object()
	for _, key := range o.keys {
		f := o.fields[key]
		if !ids.MatchString(key) {
			f.problem("%q is no name: small letters, digits and dashes, at most 32", key)
		}
		codes[key], _ = f.filled()
	}
	return codes
}

// defaultSchedule is how often an open attempt is asked about: hard at first, then ever less.
var defaultSchedule = schedule{after: []time.Duration{
	2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
}, maxAge: 23 * time.Hour}

func readSchedule(v value) schedule {
	s := defaultSchedule
	o, ok := v.quiet().object()
	if !ok {
		return s
	}
	if f, ok := o.has("after"); ok {
		items, _ := v.at("after", f.node).some()
		s.after = nil
		for _, item := range items {
			d, _ := item.duration(100*time.Millisecond, 24*time.Hour)
			s.after = append(s.after, d)
		}
	}
	if f, ok := o.has("max_age"); ok {
		s.maxAge, _ = v.at("max_age", f.node).duration(time.Minute, 90*24*time.Hour)
	}
	return s
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
	needs    []string // those without which a call would be about nothing or anything; of several in
	methods  []string // one string, with blanks between them, any will do
	more     []string // keys beside those that every operation has
	fields   []string
	thens    []string           // what rules can say, the first of them at least once, and
	verdicts map[string]verdict // what it means
	harmless bool               // no rule decides about money
}

// with adds placeholders.
func (k operationKind) with(names []string) operationKind {
	k.names = append(slices.Clone(k.names), names...)
	return k
}

var (
	vendOperation = operationKind{
		names:   []string{"phone", "amount", "reference", "network", "product", "secret"},
		needs:   []string{"phone", "amount", "reference"},
		methods: []string{"POST", "PUT", "PATCH", "GET"},
		more:    []string{"accepts_only"},
		fields:  []string{"vendor_ref", "cost", "commission", "balance", "message", "token"},
		thens:   []string{"delivered", "declined", "pending"},
		verdicts: map[string]verdict{
			"delivered": {outcome: Delivered},
			"declined":  {outcome: Declined, reason: ReasonRefused},
			"pending":   {outcome: Ambiguous, reason: ReasonPending},
		},
	}
	queryOperation = operationKind{
		names:   []string{"phone", "amount", "reference", "network", "product", "vendor_ref", "secret"},
		needs:   []string{"reference vendor_ref"},
		methods: []string{"GET", "POST", "PUT"},
		more:    []string{"after", "max_age"},
		fields:  []string{"vendor_ref", "cost", "commission", "message", "token"},
		thens:   []string{"delivered", "failed", "pending", "not_found"},
		verdicts: map[string]verdict{
			"delivered": {state: FoundDelivered},
			"failed":    {state: FoundFailed, reason: ReasonRefused},
			"pending":   {state: FoundPending, reason: ReasonPending},
			"not_found": {state: NotFound},
		},
	}
	balanceOperation = operationKind{
		names:    []string{"secret"},
		methods:  []string{"GET", "POST", "PUT"},
		more:     []string{"life", "low"},
		fields:   []string{"balance", "message"},
		thens:    []string{"known"},
		verdicts: map[string]verdict{"known": {known: true}},
		harmless: true,
	}
	productsOperation = operationKind{
		names:    []string{"network", "secret"},
		methods:  []string{"GET", "POST", "PUT"},
		more:     []string{"life", "items", "id", "name", "price"},
		fields:   []string{"message"},
		thens:    []string{"known"},
		verdicts: map[string]verdict{"known": {known: true}},
		harmless: true,
	}
)

func readOperation(v value, kind operationKind) operation {
	var op operation
	o, ok := v.object(append([]string{"method", "path", "params", "headers", "json", "form", "rules", "fields"}, kind.more...)...)
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
		op.headers = readPairsOf(f, kind.names, false)
	}
	readBody(o, &op, kind.names)
	if len(*v.problems) == found { // else what is missing may stand where the problem is
		for _, names := range kind.needs {
			any := strings.Fields(names)
			if !slices.ContainsFunc(any, op.carries) {
				v.problem("{%s} stands nowhere in the request", strings.Join(any, "} or {"))
			}
		}
	}
	accepts := false
	if f, ok := o.has("accepts_only"); ok {
		accepts, _ = f.boolean()
	}
	if f, ok := o.need("rules"); ok {
		op.rules = readRules(f, kind)
		if first := kind.thens[0]; !accepts && !slices.ContainsFunc(op.rules, func(r rule) bool {
			says, want := r.result, kind.verdicts[first]
			return says.outcome == want.outcome && says.state == want.state && says.known == want.known || says == verdict{} // unreadable
		}) && f.node.Kind == yaml.SequenceNode {
			f.problem("no rule says %s", first)
		}
	}
	if f, ok := o.has("fields"); ok {
		op.fields = readFields(f, kind)
	}
	return op
}

// readBody reads the body of a call: JSON, a form, or none.
func readBody(o object, op *operation, names []string) {
	jsonAt, isJSON := o.has("json")
	if isJSON {
		if t, ok := readTree(jsonAt, names); ok {
			op.json = &t
		}
	}
	formAt, isForm := o.has("form")
	if isForm {
		op.form = readForm(formAt, names)
		if len(formAt.node.Content) == 0 {
			formAt.problem("must not be empty")
		}
	}
	switch {
	case isJSON && isForm:
		formAt.problem("json is given, too: choose one")
	case op.method == "GET" && (isJSON || isForm):
		o.problem("GET carries no body: use params")
	case op.method != "GET" && op.method != "" && !isJSON && !isForm:
		o.problem("%s needs a body: json or form", op.method)
	}
}

// carries reports whether {name.key} stands in any of the vendor's calls.
func (p plan) carries(name, key string) bool {
	ops := []operation{p.vend, p.query}
	if p.products != nil {
		ops = append(ops, p.products.call)
	}
	return slices.ContainsFunc(ops, func(op operation) bool { return op.carries(name + "." + key) })
}

// carries reports whether the placeholder stands anywhere in the call.
func (op operation) carries(name string) bool {
	return op.path.has(name) || op.json != nil && op.json.has(name) ||
		slices.ContainsFunc(slices.Concat(op.params, op.headers, op.form), func(p pair) bool { return p.has(name) })
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

// readForm reads the fields of a form. One that is no text is sent as JSON.
func readForm(v value, names []string) []pair {
	o, _ := v.object()
	var pairs []pair
	for _, name := range o.keys {
		f := o.fields[name]
		if f.node.Kind == yaml.ScalarNode {
			if t, ok := readTemplate(f, names, false); ok {
				pairs = append(pairs, pair{name: name, value: t})
			}
		} else if t, ok := readTree(f, names); ok {
			pairs = append(pairs, pair{name: name, json: &t})
		}
	}
	return pairs
}

// readPairsOf reads headers. Only those that prove who we are can be Authorization.
func readPairsOf(v value, names []string, credentials bool) []pair {
	o, _ := v.object()
	var pairs []pair
	for _, key := range o.keys {
		f := o.fields[key]
		name, ok := headerName(key)
		switch {
		case !ok:
			f.problem("%q cannot be set as a header", key)
		case name == "Authorization" && !credentials:
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
