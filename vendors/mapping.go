package vendors

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// part is one piece of a template: literal text, or a placeholder with its form.
type part struct {
	text   string // literal text, if name is ""
	name   string // phone, amount, reference, network or vendor_ref
	form   string // how phone and amount are written
	number bool   // stands as a JSON number
}

// template is text with placeholders: "{phone|local}". It knows nothing of where it stands;
// that is the encoder's part.
type template []part

// forms are the placeholders and the filters that give them a form; the first filter is needed
// where there are any.
var forms = map[string][]string{
	"phone":      {"local", "intl", "plus"},
	"amount":     {"naira", "decimal", "kobo"},
	"reference":  nil,
	"network":    nil,
	"vendor_ref": nil,
}

// values are what the placeholders of one call stand for.
type values struct {
	phone     string // E.164 digits
	amount    int64  // kobo
	reference string
	network   string // the vendor's own code for the network
	vendorRef string // "" when the vendor has given none
}

// parseTemplate reads text with {name|filter} placeholders; {{ and }} stand for the braces
// themselves. names are the placeholders that have a meaning here.
func parseTemplate(s string, names []string) (template, error) {
	var t template
	var text strings.Builder
	for len(s) > 0 {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			text.WriteString(s)
			break
		}
		text.WriteString(s[:i])
		s = s[i:]
		if strings.HasPrefix(s, "{{") || strings.HasPrefix(s, "}}") {
			text.WriteByte(s[0])
			s = s[2:]
			continue
		}
		end := strings.IndexByte(s, '}')
		if s[0] == '}' || end < 0 {
			return nil, errors.New("a brace without its partner (a literal one is written twice)")
		}
		p, err := parsePlaceholder(s[1:end], names)
		if err != nil {
			return nil, err
		}
		if text.Len() > 0 {
			t = append(t, part{text: text.String()})
			text.Reset()
		}
		t = append(t, p)
		s = s[end+1:]
	}
	if text.Len() > 0 {
		t = append(t, part{text: text.String()})
	}
	return t, nil
}

func parsePlaceholder(s string, names []string) (part, error) {
	name, filters, filtered := strings.Cut(s, "|")
	if !slices.Contains(names, name) {
		return part{}, fmt.Errorf("unknown placeholder {%s} (known: %s)", name, strings.Join(names, ", "))
	}
	p := part{name: name}
	left := []string{}
	if filtered {
		left = strings.Split(filters, "|")
	}
	if known := forms[name]; known != nil {
		if len(left) == 0 {
			return part{}, fmt.Errorf("{%s} needs a form: %s", name, strings.Join(known, ", "))
		}
		if !slices.Contains(known, left[0]) {
			return part{}, fmt.Errorf("unknown filter %q of {%s} (known: %s)", left[0], name, strings.Join(known, ", "))
		}
		p.form, left = left[0], left[1:]
	}
	if len(left) > 0 && left[0] == "number" {
		p.number, left = true, left[1:]
		if name == "reference" || name == "phone" && p.form != "intl" {
			return part{}, fmt.Errorf("{%s} is no number in JSON", s)
		}
	}
	if len(left) > 0 {
		return part{}, fmt.Errorf("unknown filter %q of {%s}", left[0], s)
	}
	return p, nil
}

// write gives the plain text that a part stands for.
func (p part) write(v *values) (string, error) {
	switch p.name {
	case "":
		return p.text, nil
	case "phone":
		switch p.form {
		case "intl":
			return v.phone, nil
		case "plus":
			return "+" + v.phone, nil
		}
		national, ok := strings.CutPrefix(v.phone, "234")
		if !ok || len(national) != 10 {
			return "", errNumber
		}
		return "0" + national, nil
	case "amount":
		switch p.form {
		case "naira":
			return naira(v.amount), nil
		case "decimal":
			return decimal(v.amount), nil
		}
		return strconv.FormatInt(v.amount, 10), nil
	case "reference":
		return v.reference, nil
	case "network":
		return v.network, nil
	}
	if v.vendorRef == "" {
		return "", errNoVendorRef
	}
	return v.vendorRef, nil
}

var (
	errNumber      = errors.New("the recipient is not a Nigerian mobile number")
	errNoVendorRef = errors.New("the vendor has given no reference to ask by")
)

// write gives the whole text, not yet encoded for any place.
func (t template) write(v *values) (string, error) {
	var b strings.Builder
	for _, p := range t {
		s, err := p.write(v)
		if err != nil {
			return "", err
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// has reports whether the placeholder stands in the text.
func (t template) has(name string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.name == name })
}

// writePath gives a URL path. A value can be no more than a part of one segment: it cannot be
// empty, add a segment, climb, or begin a query.
func (t template) writePath(v *values) (string, error) {
	var b strings.Builder
	for _, p := range t {
		s, err := p.write(v)
		if err != nil {
			return "", err
		}
		if p.name != "" {
			if s == "" {
				return "", fmt.Errorf("{%s} is empty in the path", p.name)
			}
			s = url.PathEscape(s)
		}
		b.WriteString(s)
	}
	if climbs(b.String()) {
		return "", errors.New("a value makes the path climb")
	}
	return b.String(), nil
}

// climbs reports whether a path has a segment that servers resolve away.
func climbs(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "." || s == ".." })
}

// writeHeader gives a header value, which can hold nothing that ends a header line.
func (t template) writeHeader(v *values) (string, error) {
	s, err := t.write(v)
	if err == nil && !headerText(s) {
		err = errors.New("a value cannot stand in a header")
	}
	return s, err
}

// headerText reports whether s can be a header's value: printable ASCII, blanks only inside.
func headerText(s string) bool {
	return !strings.ContainsFunc(s, unprintable) && s == strings.TrimSpace(s)
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }

// pair is one named value: a header, a query parameter or a form field.
type pair struct {
	name  string
	value template
}

// writeForm gives pairs as application/x-www-form-urlencoded, in their order.
func writeForm(pairs []pair, v *values) (string, error) {
	var b strings.Builder
	for i, p := range pairs {
		s, err := p.value.write(v)
		if err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(p.name) + "=" + url.QueryEscape(s))
	}
	return b.String(), nil
}

// tree is a JSON value with placeholders in its strings.
type tree struct {
	kind    byte     // '{', '[', '"' or 'l'
	keys    []string // of an object
	items   []tree   // of an object or a list
	text    template // of a string
	literal string   // a number, true, false or null, as JSON
}

// has reports whether the placeholder stands anywhere in the value.
func (t tree) has(name string) bool {
	return t.text.has(name) || slices.ContainsFunc(t.items, func(item tree) bool { return item.has(name) })
}

// readTree takes a JSON body from its YAML.
func readTree(v value, names []string) (tree, bool) {
	switch v.node.Kind {
	case yaml.MappingNode:
		o, _ := v.object()
		t := tree{kind: '{', keys: o.keys}
		good := true
		for _, key := range o.keys {
			if strings.ContainsAny(key, "{}") {
				o.fields[key].problem("placeholders cannot be keys")
			}
			item, ok := readTree(o.fields[key], names)
			t.items, good = append(t.items, item), good && ok
		}
		return t, good
	case yaml.SequenceNode:
		list, _ := v.list()
		t := tree{kind: '['}
		good := true
		for _, item := range list {
			item, ok := readTree(item, names)
			t.items, good = append(t.items, item), good && ok
		}
		return t, good
	}
	switch tag := v.node.ShortTag(); {
	case tag == "!!null":
		return tree{kind: 'l', literal: "null"}, true
	case tag == "!!bool":
		b, ok := v.boolean()
		return tree{kind: 'l', literal: strconv.FormatBool(b)}, ok
	case tag == "!!int" || tag == "!!float":
		if !isNumber(v.node.Value) {
			v.problem("%s is not a number in JSON", v.node.Value)
			return tree{}, false
		}
		return tree{kind: 'l', literal: v.node.Value}, true
	}
	t, ok := readTemplate(v, names, true)
	return tree{kind: '"', text: t}, ok
}

// readTemplate takes a template from its YAML. Only in JSON can a value stand as a number.
func readTemplate(v value, names []string, inJSON bool) (template, bool) {
	s, ok := v.text()
	if !ok {
		return nil, false
	}
	t, err := parseTemplate(s, names)
	if err == nil && slices.ContainsFunc(t, func(p part) bool { return p.number }) && (!inJSON || len(t) > 1) {
		err = errors.New("number is for a JSON value on its own")
	}
	if err != nil {
		v.problem("%v", err)
		return nil, false
	}
	return t, true
}

func isNumber(s string) bool {
	return s != "" && (s[0] == '-' || '0' <= s[0] && s[0] <= '9') && json.Valid([]byte(s))
}

// append writes the tree as JSON.
func (t tree) append(dst []byte, v *values) ([]byte, error) {
	var err error
	switch t.kind {
	case 'l':
		return append(dst, t.literal...), nil
	case '"':
		s, err := t.text.write(v)
		if err != nil {
			return nil, err
		}
		if len(t.text) == 1 && t.text[0].number {
			if !isNumber(s) {
				return nil, fmt.Errorf("{%s} is not a number", t.text[0].name)
			}
			return append(dst, s...), nil
		}
		return appendString(dst, s), nil
	}
	dst = append(dst, t.kind)
	for i, item := range t.items {
		if i > 0 {
			dst = append(dst, ',')
		}
		if t.kind == '{' {
			dst = append(appendString(dst, t.keys[i]), ':')
		}
		if dst, err = item.append(dst, v); err != nil {
			return nil, err
		}
	}
	return append(dst, t.kind+2), nil // ASCII puts } and ] two after { and [
}

func appendString(dst []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string cannot fail
	return append(dst, quoted...)
}
