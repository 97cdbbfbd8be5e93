package vendors

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// path leads into a JSON document: the keys, or the indexes of lists, from the outside in.
type path []string

// rule is one line of an operation's outcome rules. It matches when all its conditions do.
type rule struct {
	status  []span      // any of them; none = every status
	headers []condition // all of them; a path is one header's name
	body    []condition // all of them
	result  verdict
}

// verdict is what a matching rule says of the answer.
type verdict struct {
	outcome Outcome      // of a vend
	state   FindingState // of a query
	known   bool         // of a look-up: the answer holds what was asked for
	reason  string
	final   bool
}

// span is a range of HTTP status codes, both ends included.
type span struct{ low, high int }

func (s span) has(status int) bool { return s.low <= status && status <= s.high }

// condition holds when the value at the path is there and is what is wanted.
type condition struct {
	path    path
	want    []string       // any of these, as text: 200 and "200" are the same, or
	like    []template     // any of these, of the call's own values, or
	null    bool           // null, or instead
	not     bool           // there, and neither null nor any of these, or
	match   *regexp.Regexp // text that this matches, or
	empty   bool           // "", [] or {}, or
	present bool           // anything, null included, or
	missing bool           // nothing: the path leads nowhere
}

// proves reports whether the condition rests on something that the vendor has said: neither on what
// is not there or is not so, nor on our own words, for to repeat them says nothing of what became of them.
func (c condition) proves() bool {
	if c.match != nil {
		return !c.match.MatchString("")
	}
	return !c.not && len(c.want) > 0 && len(c.like) == 0 && !c.null && !slices.Contains(c.want, "")
}

// nothing reports whether the vendor has said that there is nothing, which proves that it knows of none.
func (c condition) nothing() bool {
	return !c.not && len(c.like) == 0 && (c.empty || c.null || slices.Contains(c.want, ""))
}

// quantity says where an answer holds an amount of money, and how it is written there.
type quantity struct {
	paths    []path
	kobo     bool   // the amount is in kobo, not naira
	currency string // stands before or behind the amount: "NGN 97.00"
}

// fields say where an answer holds what we keep. Of several paths the first one that leads
// somewhere counts.
type fields struct {
	vendorRef  []path
	message    []path
	token      []path
	cost       quantity
	commission quantity
	balance    quantity
}

// maxAnswerDepth is how deep objects and lists of an answer may stand in each other.
const maxAnswerDepth = 100

var errTwice = errors.New("a key is there twice")

// decode reads a body as exactly one JSON document, with its numbers as they are written. An object
// that has a key twice says two things at once (RFC 8259 §4), and is refused.
func decode(body []byte) (any, error) {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	written, depth := measure(body)
	if depth > maxAnswerDepth {
		return nil, errors.New("too deep")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON document")
	}
	if countKeys(doc) != written { // of two values for one key, the last is in doc
		return nil, errTwice
	}
	return doc, nil
}

// measure counts the keys that a JSON text has, and how deep its objects and lists stand in each
// other. Of what is no JSON it says nothing.
func measure(text []byte) (keys, depth int) {
	for i, open, quoted := 0, 0, false; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == ':':
			keys++
		case c == '{' || c == '[':
			open++
			depth = max(depth, open)
		case c == '}' || c == ']':
			open--
		}
	}
	return keys, depth
}

// countKeys counts the keys of all objects of a document.
func countKeys(doc any) (n int) {
	switch doc := doc.(type) {
	case map[string]any:
		n = len(doc)
		for _, v := range doc {
			n += countKeys(v)
		}
	case []any:
		for _, v := range doc {
			n += countKeys(v)
		}
	}
	return n
}

// find follows the path. A missing key, or a step into something that has no steps, is not found;
// that is not the same as finding null.
func (p path) find(doc any) (any, bool) {
	for _, step := range p {
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[step]
			if !ok {
				return nil, false
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			doc = v[i]
		default:
			return nil, false
		}
	}
	return doc, true
}

// scalar gives a JSON string, number or boolean as text.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

func (c condition) matches(doc any, vals *values) bool {
	v, ok := c.path.find(doc)
	switch {
	case c.missing:
		return !ok
	case !ok:
		return false
	case c.present:
		return true
	case c.empty:
		switch v := v.(type) {
		case string:
			return v == ""
		case []any:
			return len(v) == 0
		case map[string]any:
			return len(v) == 0
		}
		return false
	case v == nil:
		return c.null
	}
	s, ok := scalar(v)
	switch {
	case !ok:
		return false
	case c.match != nil:
		return c.match.MatchString(s)
	}
	return c.names(s, vals) != c.not
}

// names reports whether s is one of the values that the condition names.
func (c condition) names(s string, vals *values) bool {
	return slices.Contains(c.want, s) || slices.ContainsFunc(c.like, func(t template) bool {
		own, err := t.write(vals)
		return err == nil && own != "" && own == s
	})
}

// matches reports whether the rule is about this answer. Without a JSON document only rules that
// don't look into the body can match.
func (r rule) matches(a *answer, vals *values) bool {
	if len(r.status) > 0 && !slices.ContainsFunc(r.status, func(s span) bool { return s.has(a.status) }) {
		return false
	}
	for _, c := range r.headers {
		if !c.matches(headerDoc(a.header, c.path[0]), vals) {
			return false
		}
	}
	for _, c := range r.body {
		if a.parseErr != nil || !c.matches(a.doc, vals) {
			return false
		}
	}
	return true
}

// headerDoc makes one header a document that a condition can look into.
func headerDoc(h http.Header, name string) any {
	doc := map[string]any{}
	if v := h.Values(name); len(v) > 0 {
		doc[name] = strings.Join(v, ", ")
	}
	return doc
}

// judge finds the first rule that matches. i is its index, -1 if there is none.
func judge(rules []rule, a *answer, vals *values) (v verdict, i int) {
	for i, r := range rules {
		if r.matches(a, vals) {
			return r.result, i
		}
	}
	return verdict{}, -1
}

// unmatched gives the reason of an answer that no rule knows. Its outcome is ambiguous whatever
// the status is: nobody has said that the request was not, and will not be, executed.
func unmatched(status int) string {
	switch {
	case status == 202:
		return ReasonPending
	case status == 409:
		return ReasonDuplicate
	case status == 408 || status == 504:
		return ReasonTimeout
	case status == 429:
		return ReasonBusy
	case status == 401 || status == 403 || status/100 == 3:
		return ReasonConfig
	case status >= 500:
		return ReasonDown
	}
	return ReasonUnreadable
}

// text finds the first scalar that any of the paths leads to.
func text(paths []path, doc any) string {
	for _, p := range paths {
		if v, ok := p.find(doc); ok {
			if s, ok := scalar(v); ok && s != "" {
				return s
			}
		}
	}
	return ""
}

// ref gives the vendor's own reference. One that we could not keep and send back is dropped.
func (f fields) ref(doc any) string {
	s := text(f.vendorRef, doc)
	if !isVendorRef(s) {
		return ""
	}
	return s
}

func isVendorRef(s string) bool { return s != "" && len(s) <= 100 && headerText(s) }

// given gives what the subscriber must be given, "" if there is nothing or it is absurd.
func (f fields) given(doc any) string {
	s := text(f.token, doc)
	if len(s) > 200 || !headerText(s) {
		return ""
	}
	return s
}

// read gives the amount in kobo. ok is false if it is missing or is not an amount.
func (q quantity) read(doc any) (kobo int64, ok bool) {
	s := text(q.paths, doc)
	if q.currency != "" {
		bare := strings.TrimPrefix(strings.TrimSuffix(s, q.currency), q.currency)
		if bare == s {
			return 0, false
		}
		s = strings.TrimSpace(bare)
	}
	if s == "" {
		return 0, false
	}
	parse := parseNaira
	if q.kobo {
		parse = parseKobo
	}
	return parse(ungroup(s))
}

// charged gives the cost of a delivery in kobo, 0 if it is not told. A vendor that tells only its
// commission has charged the amount without it. A cost of more than twice the amount, or a commission
// of more than the amount, is most likely a mistake of units: believed is false then, and nothing of
// it goes into the books.
func (f fields) charged(doc any, amount int64) (cost, commission int64, believed bool) {
	commission, told := f.commission.read(doc)
	cost, ok := f.cost.read(doc)
	if cost > 2*amount || commission > amount {
		return 0, 0, false
	}
	if !ok && told && commission < amount {
		cost = amount - commission
	}
	return cost, commission, true
}

// unbelieved is what Result.Detail says of such a cost.
const unbelieved = "its cost or commission is absurd and not believed"

func readRules(v value, kind operationKind) []rule {
	list, ok := v.list()
	if !ok {
		return nil
	}
	var rules []rule
	for _, item := range list {
		if o, ok := item.object("status", "headers", "json", "then", "reason", "final"); ok {
			rules = append(rules, readRule(o, kind))
		}
	}
	return rules
}

// readRule reads one rule, and refuses those that would decide about money on too little: what
// settles a sale must stand in the vendor's own words, in the body. By a status alone only one of
// refusals can decline.
func readRule(o object, kind operationKind) rule {
	found := len(*o.problems)
	r := readMatch(o, kind.names)
	unread := len(*o.problems) > found
	_, hasStatus := o.has("status")
	f, ok := o.need("then")
	if !ok {
		return r
	}
	then, ok := f.oneOf(kind.thens...)
	if !ok {
		return r
	}
	r.result = kind.verdicts[then]
	_, hasBody := o.has("json")
	definite := hasStatus && !slices.ContainsFunc(r.status, func(s span) bool { return !s.definite() })
	switch {
	case then == "pending" || kind.harmless || unread:
	case slices.ContainsFunc(r.body, condition.proves):
	case then == "not_found" && slices.ContainsFunc(r.body, condition.nothing):
	case then == "declined" && definite:
	case hasBody:
		f.problem("%s needs a json condition that names a value: neither what is not there nor our own words prove it", then)
	case then != "declined":
		f.problem("%s needs a json condition: a status alone does not prove it", then)
	default:
		f.problem("declined needs a json condition with this status: it does not prove that nothing was executed")
	}
	if f, ok := o.has("reason"); ok {
		r.result.reason, ok = f.oneOf(Reasons()...)
		if ok && (then == "delivered" || then == "not_found" || then == "known") {
			f.problem("%s needs no reason", then)
		}
	}
	if f, ok := o.has("final"); ok {
		r.result.final, ok = f.boolean()
		if ok && then != "declined" {
			f.problem("final is for declined")
		}
	}
	return r
}

// readMatch reads what a rule looks at.
func readMatch(o object, names []string) rule {
	var r rule
	status, hasStatus := o.has("status")
	headers, hasHeaders := o.has("headers")
	body, hasBody := o.has("json")
	if hasStatus {
		r.status = readStatus(status)
	}
	if hasHeaders {
		r.headers = readHeaderConditions(headers, names)
	}
	if hasBody {
		r.body = readConditions(body, names)
	}
	if !hasStatus && !hasHeaders && !hasBody {
		o.problem("a rule without status and json would match every answer")
	}
	return r
}

// refusals are the statuses that say by themselves that a request was refused before it was
// executed. Others may come from one that is, or was, at work: 409 and 425, and what a proxy says
// of the vendor behind it, like 408, 429 and 499.
var refusals = []int{400, 401, 403, 404, 405, 413, 415, 422}

// definite reports whether the span is one of refusals.
func (s span) definite() bool { return s.low == s.high && slices.Contains(refusals, s.low) }

func readStatus(v value) []span {
	items, _ := v.some()
	var spans []span
	for _, item := range items {
		s, ok := item.text()
		if !ok {
			continue
		}
		class, hundreds := strings.CutSuffix(s, "xx")
		n, err := strconv.Atoi(class)
		sp := span{n, n}
		if hundreds {
			sp = span{n * 100, n*100 + 99}
		}
		if err != nil || sp.low < 100 || sp.high > 599 {
			item.problem("%q is no HTTP status: write 402 or 4xx", s)
			continue
		}
		spans = append(spans, sp)
	}
	return spans
}

func readConditions(v value, names []string) []condition {
	o, ok := v.object()
	if ok && len(o.keys) == 0 {
		v.problem("must not be empty")
	}
	var conditions []condition
	for _, key := range o.keys {
		c := readCondition(o.fields[key], names)
		c.path = readPathTo(o.fields[key], key)
		conditions = append(conditions, c)
	}
	return conditions
}

func readHeaderConditions(v value, names []string) []condition {
	o, ok := v.object()
	if ok && len(o.keys) == 0 {
		v.problem("must not be empty")
	}
	var conditions []condition
	for _, key := range o.keys {
		f := o.fields[key]
		if !headerNames.MatchString(key) {
			f.problem("%q is no header", key)
		}
		c := readCondition(f, names)
		c.path = path{http.CanonicalHeaderKey(key)}
		conditions = append(conditions, c)
	}
	return conditions
}

// readCondition reads one value that is wanted, several, or a mapping with one of the other ways.
func readCondition(v value, names []string) condition {
	var c condition
	if v.node.Kind != yaml.MappingNode {
		items, _ := v.some()
		for _, item := range items {
			if item.isNull() {
				c.null = true
			} else if s, ok := item.said(); ok {
				c.wants(item, s, names)
			}
		}
		return c
	}
	how, _ := v.object("empty", "present", "missing", "not", "matches")
	if len(how.node.Content) == 0 {
		v.problem("must not be empty")
	}
	for i, key := range how.keys {
		f := how.fields[key]
		if i > 0 {
			f.problem("%s is given, too: choose one", how.keys[0])
			break
		}
		switch key {
		case "not":
			c.not = true
			items, _ := f.some()
			for _, item := range items {
				if s, ok := item.said(); ok {
					c.wants(item, s, names)
				}
			}
		case "matches":
			if s, ok := f.filled(); ok {
				var err error
				if c.match, err = regexp.Compile(s); err != nil {
					f.problem("%v", err)
				}
			}
		default:
			is, ok := f.boolean()
			if ok && !is {
				f.problem("only true has a meaning")
			}
			c.empty, c.present, c.missing = key == "empty", key == "present", key == "missing"
		}
	}
	return c
}

// said reads a value as an answer has it: YAML has True where JSON has true.
func (v value) said() (string, bool) {
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!bool" {
		return strings.ToLower(v.node.Value), true
	}
	return v.text()
}

// wants adds a value that is wanted, or is not: the text itself, or with placeholders what they stand for.
func (c *condition) wants(v value, s string, names []string) {
	if !strings.ContainsAny(s, "{}") {
		c.want = append(c.want, s)
		return
	}
	if t, ok := readTemplate(v, names, false); ok {
		c.like = append(c.like, t)
	}
}

// readPathTo reads a path; $ is the whole document.
func readPathTo(v value, s string) path {
	if s == "$" {
		return path{}
	}
	p := path(strings.Split(s, "."))
	if slices.Contains(p, "") {
		v.problem("%q is no path: keys and indexes with dots between them", s)
	}
	return p
}

func readFields(v value, kind operationKind) fields {
	var f fields
	o, _ := v.object(kind.fields...)
	if v, ok := o.has("vendor_ref"); ok {
		f.vendorRef = readPaths(v)
	}
	if v, ok := o.has("message"); ok {
		f.message = readPaths(v)
	}
	if v, ok := o.has("token"); ok {
		f.token = readPaths(v)
	}
	for name, q := range map[string]*quantity{"cost": &f.cost, "commission": &f.commission, "balance": &f.balance} {
		if v, ok := o.has(name); ok {
			*q = readQuantity(v)
		}
	}
	return f
}

func readQuantity(v value) quantity {
	var q quantity
	o, _ := v.object("path", "unit", "currency")
	if v, ok := o.need("path"); ok {
		q.paths = readPaths(v)
	}
	if v, ok := o.need("unit"); ok {
		unit, _ := v.oneOf("naira", "kobo")
		q.kobo = unit == "kobo"
	}
	if v, ok := o.has("currency"); ok {
		q.currency, _ = v.filled()
	}
	return q
}

func readPaths(v value) []path {
	items, _ := v.some()
	var paths []path
	for _, item := range items {
		if s, ok := item.filled(); ok {
			paths = append(paths, readPathTo(item, s))
		}
	}
	return paths
}
