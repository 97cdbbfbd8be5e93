package vendors

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// part is one piece of a template: literal text, or a placeholder with its form.
type part struct {
	text   string // literal text, if name is ""
	name   string // phone, amount, reference, …
	key    string // what follows the dot in network.KEY and secret.NAME
	form   string // how the value is written
	number bool   // stands as a JSON number
}

// template is text with placeholders: "{phone|local}". It knows nothing of where it stands;
// that is the encoder's part.
type template []part

// forms are the filters that say how a placeholder is written. One of them is needed, but for
// references and methods, which have a plain form, too.
var forms = map[string][]string{
	"phone":     {"local", "intl", "plus", "national"},
	"amount":    {"naira", "decimal", "kobo"},
	"reference": {"alnum", "digits", "uuid"},
	"time":      {"seconds", "millis", "rfc1123", "rfc3339"},
	"url":       {"plain", "escaped"},
	"body":      {"plain", "sha1-hex", "sha1-base64", "sha256-hex", "sha256-base64", "sha512-hex", "sha512-base64"},
}

// values are what the placeholders of one call stand for.
type values struct {
	phone     string // E.164 digits
	amount    int64  // kobo
	reference string
	network   string            // the vendor's own code for the network,
	more      map[string]string // and what else the file says of it
	product   string            // the vendor's own code for the product, "" if it has none
	vendorRef string            // "" when the vendor has given none
	keys      *keys             // for secret.NAME
	at        time.Time         // for time
	signed    *signed           // for what only signatures know
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
	p := part{name: name}
	if kind, key, dotted := strings.Cut(name, "."); kind == "secret" && dotted && slices.Contains(names, kind) {
		if !secretNames.MatchString(key) {
			return part{}, errors.New("the name of a secret has letters, digits, dots, dashes and underscores, at most 64")
		}
		p.name, p.key = kind, key
	} else if !slices.Contains(names, name) || name == "secret" {
		return part{}, fmt.Errorf("unknown placeholder {%s} (known: %s)", name, strings.Join(names, ", "))
	} else if dotted {
		p.name, p.key = kind, key
	}
	left := []string{}
	if filtered {
		left = strings.Split(filters, "|")
	}
	if known := forms[p.name]; known != nil {
		switch {
		case len(left) > 0 && (slices.Contains(known, left[0]) || p.name == "time" && isLayout(left[0])):
			p.form, left = left[0], left[1:]
		case p.name == "reference":
			// as it is
		case len(left) == 0:
			return part{}, fmt.Errorf("{%s} needs a form: %s", name, strings.Join(known, ", "))
		case p.name == "time":
			return part{}, fmt.Errorf("unknown filter %q of {time} (known: %s, and layouts of Go like 20060102150405 or 0102)", left[0], strings.Join(known, ", "))
		default:
			return part{}, fmt.Errorf("unknown filter %q of {%s} (known: %s)", left[0], name, strings.Join(known, ", "))
		}
	}
	if len(left) > 0 && left[0] == "number" {
		p.number, left = true, left[1:]
		if p.name == "reference" || p.name == "secret" || p.name == "phone" && p.form != "intl" {
			return part{}, fmt.Errorf("{%s} is no number in JSON", s)
		}
	}
	if len(left) > 0 {
		return part{}, fmt.Errorf("unknown filter %q of {%s}", left[0], s)
	}
	return p, nil
}

// isLayout reports whether s is a layout of package time: it has the year, or the month and the day.
func isLayout(s string) bool {
	return strings.Contains(s, "2006") || strings.Contains(s, "01") && strings.Contains(s, "02")
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
		if p.form == "national" {
			return national, nil
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
		return respell(v.reference, p.form), nil
	case "network":
		if p.key != "" {
			return v.more[p.key], nil
		}
		return v.network, nil
	case "product":
		if v.product == "" {
			return "", errNoProduct
		}
		return v.product, nil
	case "secret":
		return v.keys.secret(p.key), nil
	case "time":
		return stamp(v.at, p.form), nil
	case "vendor_ref":
		if v.vendorRef == "" {
			return "", errNoVendorRef
		}
		return v.vendorRef, nil
	}
	return v.signed.write(p), nil
}

var (
	errNumber      = errors.New("the recipient is not a Nigerian mobile number")
	errNoVendorRef = errors.New("the vendor has given no reference to ask by")
	errNoProduct   = errors.New("the vendor does not sell this product for the network")
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

// has reports whether the placeholder stands in the text: its name, with its key if it has one.
func (t template) has(name string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.name == name && p.key == "" || p.key != "" && p.name+"."+p.key == name })
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
	json  *tree // of a form field: JSON inside of the form, instead of value
}

func (p pair) has(name string) bool {
	return p.value.has(name) || p.json != nil && p.json.has(name)
}

func (p pair) write(v *values) (string, error) {
	if p.json == nil {
		return p.value.write(v)
	}
	b, err := p.json.append(nil, v)
	return string(b), err
}

// writeForm gives pairs as application/x-www-form-urlencoded, in their order.
func writeForm(pairs []pair, v *values) (string, error) {
	var b strings.Builder
	for i, p := range pairs {
		s, err := p.write(v)
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
	for _, p := range t {
		if p.name == "secret" && v.secrets != nil {
			*v.secrets = append(*v.secrets, secretUse{at: v, name: p.key})
		}
	}
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

// appendString writes a JSON string, as json.Marshal does; what needs no escape costs less so.
func appendString(dst []byte, s string) []byte {
	if !strings.ContainsFunc(s, escaped) {
		return append(append(append(dst, '"'), s...), '"')
	}
	quoted, _ := json.Marshal(s) // a string cannot fail
	return append(dst, quoted...)
}

// escaped reports whether a character may not stand for itself in a JSON string.
func escaped(r rune) bool { return unprintable(r) || strings.ContainsRune(`"\<>&`, r) }
