package vendors

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// path leads into a JSON document: the keys, or the indexes of lists, from the outside in.
type path []string

// rule is one line of an operation's outcome rules. It matches when all its conditions do.
type rule struct {
	status []span      // any of them; none = every status
	body   []condition // all of them
	result verdict
}

// verdict is what a matching rule says of the answer.
type verdict struct {
	outcome Outcome      // of a vend
	state   FindingState // of a query
	reason  string
	final   bool
}

// span is a range of HTTP status codes, both ends included.
type span struct{ low, high int }

func (s span) has(status int) bool { return s.low <= status && status <= s.high }

// condition holds when the value at the path is there and is one of those wanted.
type condition struct {
	path  path
	want  []string // as text: 200 and "200" are the same
	null  bool     // null is wanted, too
	empty bool     // instead of want: "", [] or {}
}

// fields say where an answer holds what we keep. Of several paths the first one that leads
// somewhere counts.
type fields struct {
	vendorRef []path
	cost      []path
	kobo      bool // the cost is in kobo, not naira
	message   []path
}

// decode reads a body as exactly one JSON document, with its numbers as they are written.
func decode(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON document")
	}
	return doc, nil
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

func (c condition) matches(doc any) bool {
	v, ok := c.path.find(doc)
	if !ok {
		return false
	}
	if c.empty {
		switch v := v.(type) {
		case string:
			return v == ""
		case []any:
			return len(v) == 0
		case map[string]any:
			return len(v) == 0
		}
		return false
	}
	if v == nil {
		return c.null
	}
	s, ok := scalar(v)
	return ok && slices.Contains(c.want, s)
}

// matches reports whether the rule is about this answer. Without a JSON document only rules that
// don't look into the body can match.
func (r rule) matches(status int, doc any, isJSON bool) bool {
	if len(r.status) > 0 && !slices.ContainsFunc(r.status, func(s span) bool { return s.has(status) }) {
		return false
	}
	for _, c := range r.body {
		if !isJSON || !c.matches(doc) {
			return false
		}
	}
	return true
}

// judge finds the first rule that matches.
func judge(rules []rule, status int, doc any, isJSON bool) (verdict, bool) {
	for _, r := range rules {
		if r.matches(status, doc, isJSON) {
			return r.result, true
		}
	}
	return verdict{}, false
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
	if len(s) > 100 || !headerText(s) {
		return ""
	}
	return s
}

// charged gives the cost in kobo, 0 if it is missing or is not an amount.
func (f fields) charged(doc any) int64 {
	parse := parseNaira
	if f.kobo {
		parse = parseKobo
	}
	kobo, _ := parse(ungroup(text(f.cost, doc)))
	return kobo
}

func readRules(v value, kind operationKind) []rule {
	list, ok := v.list()
	if !ok {
		return nil
	}
	var rules []rule
	for _, item := range list {
		if o, ok := item.object("status", "json", "then", "reason", "final"); ok {
			rules = append(rules, readRule(o, kind))
		}
	}
	if !slices.ContainsFunc(rules, func(r rule) bool {
		return r.result.outcome == Delivered || r.result.state == FoundDelivered || r.result == verdict{} // unreadable
	}) {
		v.problem("no rule says delivered")
	}
	return rules
}

// readRule reads one rule, and refuses those that would decide about money on too little: what
// settles a sale must stand in the vendor's own words, in the body. By a status alone only one of
// refusals can decline.
func readRule(o object, kind operationKind) rule {
	var r rule
	if f, ok := o.has("status"); ok {
		r.status = readStatus(f)
	}
	if f, ok := o.has("json"); ok {
		r.body = readConditions(f)
	}
	_, hasStatus := o.has("status")
	_, hasBody := o.has("json")
	if !hasStatus && !hasBody {
		o.problem("a rule without status and json would match every answer")
	}
	f, ok := o.need("then")
	if !ok {
		return r
	}
	then, ok := f.oneOf(kind.thens...)
	if !ok {
		return r
	}
	r.result = kind.verdicts[then]
	switch {
	case hasBody || then == "pending":
	case then != "declined":
		f.problem("%s needs a json condition: a status alone does not prove it", then)
	case hasStatus && slices.ContainsFunc(r.status, func(s span) bool { return !s.definite() }):
		f.problem("declined needs a json condition with this status: it does not prove that nothing was executed")
	}
	if f, ok := o.has("reason"); ok {
		r.result.reason, ok = f.oneOf(Reasons()...)
		if ok && (then == "delivered" || then == "not_found") {
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

func readConditions(v value) []condition {
	o, ok := v.object()
	if ok && len(o.keys) == 0 {
		v.problem("must not be empty")
	}
	var conditions []condition
	for _, key := range o.keys {
		f := o.fields[key]
		c := condition{path: readPathTo(f, key)}
		if f.node.Kind == yaml.MappingNode {
			how, _ := f.object("empty")
			if e, ok := how.has("empty"); ok {
				if c.empty, ok = e.boolean(); ok && !c.empty {
					e.problem("only true has a meaning")
				}
			} else if len(how.node.Content) == 0 {
				f.problem("must not be empty")
			}
		} else {
			items, _ := f.some()
			for _, item := range items {
				if item.isNull() {
					c.null = true
				} else if s, ok := item.text(); ok {
					c.want = append(c.want, s)
				}
			}
		}
		conditions = append(conditions, c)
	}
	return conditions
}

func readPathTo(v value, s string) path {
	p := path(strings.Split(s, "."))
	if slices.Contains(p, "") {
		v.problem("%q is no path: keys and indexes with dots between them", s)
	}
	return p
}

func readFields(v value) fields {
	var f fields
	o, _ := v.object("vendor_ref", "cost", "message")
	if v, ok := o.has("vendor_ref"); ok {
		f.vendorRef = readPaths(v)
	}
	if v, ok := o.has("message"); ok {
		f.message = readPaths(v)
	}
	if v, ok := o.has("cost"); ok {
		c, _ := v.object("path", "unit")
		if v, ok := c.need("path"); ok {
			f.cost = readPaths(v)
		}
		if v, ok := c.need("unit"); ok {
			unit, _ := v.oneOf("naira", "kobo")
			f.kobo = unit == "kobo"
		}
	}
	return f
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
