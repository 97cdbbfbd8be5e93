package smpp

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
)

// The kinds of settings that knobs have, and how they are written.

const none = "none"

// names are the texts of a setting's values, from zero on.
type names []string

func nameOf[T ~uint8](n names, v T) string {
	if int(v) < len(n) {
		return n[v]
	}
	return "unknown"
}

var (
	spellingNames    = names{CodeDialled: "dialled", CodeStar: "star", CodeBare: "bare"}
	dialledNames     = names{DialledInText: "text", DialledInDestination: "destination"}
	stripNames       = names{StripNever: "never", StripAlways: "always", StripOnlyStar: "only-star"}
	meaningNames     = names{MeansReject: "reject", MeansBegin: "begin", MeansOnce: "once", MeansInput: "input", MeansLast: "last", MeansRelease: "release", MeansIgnore: "ignore"}
	sequenceNames    = names{Echo: "echo", Count: "count", Clear: "clear"}
	addressNames     = names{AddressSwap: "swap", AddressNull: "null", AddressDestination: "destination", AddressFirst: "first"}
	affinityNames    = names{SameSystemID: "system_id", SameBind: "bind", AnyBind: "any"}
	statusClassNames = names{Dead: "dead", Temporary: "temporary", TooLong: "too_long", Misconfigured: "misconfigured"}
)

// choice is a setting with a few values.
func choice[T ~uint8](field *T, n names) setting { return choiceSetting[T]{field, n} }

type choiceSetting[T ~uint8] struct {
	field *T
	names names
}

func (c choiceSetting[T]) text() string    { return nameOf(c.names, *c.field) }
func (c choiceSetting[T]) allowed() string { return strings.Join(c.names, ", ") }

func (c choiceSetting[T]) set(s string) error {
	v, err := parseName[T](s, c.names)
	if err == nil {
		*c.field = v
	}
	return err
}

func parseName[T ~uint8](s string, n names) (T, error) {
	i := slices.Index(n, s)
	if i < 0 {
		return 0, notAllowed(s)
	}
	return T(i), nil
}

func notAllowed(s string) error { return fmt.Errorf("%q is not one", s) }

// flagSetting is a setting with two values.
type flagSetting struct {
	field   *bool
	no, yes string
}

func (f flagSetting) allowed() string { return f.no + ", " + f.yes }

func (f flagSetting) text() string {
	if *f.field {
		return f.yes
	}
	return f.no
}

func (f flagSetting) set(s string) error {
	if s != f.no && s != f.yes {
		return notAllowed(s)
	}
	*f.field = s == f.yes
	return nil
}

// word is a text of printable ASCII without spaces; none stands for the empty one.
type word struct{ field *string }

func (w word) text() string    { return cmp.Or(*w.field, none) }
func (w word) allowed() string { return "a word, or none" }

func (w word) set(s string) error {
	if s == "" || strings.ContainsAny(s, " \t") || !printable([]byte(s)) {
		return notAllowed(s)
	}
	*w.field = s
	if s == none {
		*w.field = ""
	}
	return nil
}

// digits is a number that is written, not counted with.
type digits struct {
	field *string
	limit int
}

func (d digits) text() string    { return cmp.Or(*d.field, none) }
func (d digits) allowed() string { return fmt.Sprintf("up to %d digits, or none", d.limit) }

func (d digits) set(s string) error {
	switch {
	case s == none:
		s = ""
	case s == "" || len(s) > d.limit || strings.Trim(s, "0123456789") != "":
		return notAllowed(s)
	}
	*d.field = s
	return nil
}

// number is an amount, which is decimal.
type number struct {
	field    *int
	from, to int
}

func (n number) text() string    { return strconv.Itoa(*n.field) }
func (n number) allowed() string { return fmt.Sprintf("%d to %d", n.from, n.to) }

func (n number) set(s string) error {
	v, err := strconv.Atoi(s)
	if err != nil || v < n.from || v > n.to {
		return notAllowed(s)
	}
	*n.field = v
	return nil
}

// parseHex reads a number that goes over the wire. Decimal digits alone are
// refused: vendors' papers have 11 for 0x11 and for 0x0b.
func parseHex(s string, size int) (uint64, error) {
	if rest, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		v, err := strconv.ParseUint(rest, 16, size)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number of %d bits in hexadecimal", s, size)
		}
		return v, nil
	}
	if v, err := strconv.ParseUint(s, 16, size); err == nil {
		if d, err := strconv.ParseUint(s, 10, size); err == nil && d != v {
			return 0, fmt.Errorf("%q is ambiguous: write 0x%02x (%d) or 0x%02x (%d)", s, v, v, d, d)
		}
		return 0, fmt.Errorf("%q could be hexadecimal or decimal: write 0x%02x", s, v)
	}
	return 0, notAllowed(s)
}

// octet is one octet of a PDU.
type octet struct{ field *byte }

func (o octet) text() string    { return fmt.Sprintf("0x%02x", *o.field) }
func (o octet) means() string   { return hexAndDecimal(*o.field) }
func (o octet) allowed() string { return "0x00 to 0xff" }

func (o octet) set(s string) error {
	v, err := parseHex(s, 8)
	if err == nil {
		*o.field = byte(v)
	}
	return err
}

func hexAndDecimal(b byte) string { return fmt.Sprintf("0x%02x (%d)", b, b) }

// bits are some of a session's.
type bits struct{ field *uint64 }

func (b bits) allowed() string { return "a mask such as 0xff00, or none" }

func (b bits) text() string {
	if *b.field == 0 {
		return none
	}
	return fmt.Sprintf("0x%04x", *b.field)
}

func (b bits) set(s string) error {
	if s == none {
		*b.field = 0
		return nil
	}
	v, err := parseHex(s, 64)
	if err == nil {
		*b.field = v
	}
	return err
}

// tag is an optional parameter's, or the word for none.
type tag struct {
	field  *pdutlv.Tag
	absent string
}

func (t tag) allowed() string { return "0x0001 to 0xffff, a parameter's name, or " + t.absent }

func (t tag) text() string {
	if *t.field == 0 {
		return t.absent
	}
	return fmt.Sprintf("0x%04x", uint16(*t.field))
}

func (t tag) means() string {
	if *t.field == 0 {
		return ""
	}
	return t.text() + " " + tagName(*t.field)
}

func (t tag) set(s string) error {
	if s == t.absent {
		*t.field = 0
		return nil
	}
	v, err := parseTag(s)
	if err == nil {
		*t.field = v
	}
	return err
}

func parseTag(s string) (pdutlv.Tag, error) {
	for _, t := range tags {
		if t.name == s {
			return t.tag, nil
		}
	}
	v, err := parseHex(s, 16)
	if err == nil && v == 0 {
		err = notAllowed(s)
	}
	return pdutlv.Tag(v), err
}

const allowedOps = "0x00 to 0xff, a name such as pssr-response, or two letters of service_type"

// opCode is one operation.
type opCode struct{ field *OpCode }

func (o opCode) text() string    { return o.field.String() }
func (o opCode) means() string   { return o.field.describe() }
func (o opCode) allowed() string { return allowedOps + ", or none" }

func (o opCode) set(s string) error {
	if s == none {
		*o.field = NoOp
		return nil
	}
	v, err := parseOp(s)
	if err == nil && byte(v) == byte(anySecond) && v.letters() {
		err = notAllowed(s)
	}
	if err == nil {
		*o.field = v
	}
	return err
}

// endBy joins two fields: whether the end has an operation, and the end bit.
type endBy struct{ p *Profile }

func (e endBy) allowed() string { return "op, bit, op+bit" }

func (e endBy) text() string {
	switch {
	case !e.p.EndBit:
		return "op"
	case e.p.EndOp == NoOp:
		return "bit"
	}
	return "op+bit"
}

func (e endBy) set(s string) error {
	switch s {
	case "op", "op+bit":
		e.p.EndBit = s != "op"
	case "bit":
		e.p.EndBit, e.p.EndOp = true, NoOp
	default:
		return notAllowed(s)
	}
	return nil
}

// codePlace joins the place of the service code with the code itself.
type codePlace struct{ p *Profile }

func (c codePlace) allowed() string { return "destination, text, or a code such as *999#" }

func (c codePlace) text() string {
	switch c.p.CodeFrom {
	case CodeInDestination:
		return "destination"
	case CodeInText:
		return "text"
	}
	return c.p.Code
}

func (c codePlace) set(s string) error {
	switch {
	case s == "destination":
		c.p.CodeFrom, c.p.Code = CodeInDestination, ""
	case s == "text":
		c.p.CodeFrom, c.p.Code = CodeInText, ""
	case len(s) > 2 && len(s) <= maxAddress && (s[0] == '*' || s[0] == '#') && strings.HasSuffix(s, "#") && strings.Trim(s, "0123456789*#") == "":
		c.p.CodeFrom, c.p.Code = CodeFixed, s
	default:
		return notAllowed(s)
	}
	return nil
}

// key joins the two fields that say what identifies a dialogue.
type key struct{ p *Profile }

func (k key) allowed() string { return "msisdn+id, id, msisdn" }

func (k key) text() string {
	switch {
	case k.p.NoID:
		return "msisdn"
	case k.p.AnonymousLater:
		return "id"
	}
	return "msisdn+id"
}

func (k key) set(s string) error {
	if s != "msisdn+id" && s != "id" && s != "msisdn" {
		return notAllowed(s)
	}
	k.p.NoID, k.p.AnonymousLater = s == "msisdn", s == "id"
	return nil
}

// numbering is a type of number and a numbering plan.
type numbering struct {
	field *Numbering
	unset string // what it is called if neither is fixed
}

const (
	asReceived = "as-received"
	automatic  = "automatic"
)

func (n numbering) allowed() string { return n.unset + ", or TON/NPI such as 1/1" }

func (n numbering) text() string {
	if !n.field.Fixed {
		return n.unset
	}
	return fmt.Sprintf("%d/%d", n.field.TON, n.field.NPI)
}

func (n numbering) means() string {
	if !n.field.Fixed {
		return ""
	}
	return n.text() + ", " + tonNames[n.field.TON] + ", " + npiName(n.field.NPI)
}

func (n numbering) set(s string) error {
	if s == n.unset {
		*n.field = Numbering{}
		return nil
	}
	ton, npi, ok := strings.Cut(s, "/")
	t, err := strconv.ParseUint(ton, 10, 8)
	plan, err2 := strconv.ParseUint(npi, 10, 8)
	if !ok || err != nil || err2 != nil || int(t) >= len(tonNames) || plan > maxNPI {
		return notAllowed(s)
	}
	*n.field = Numbering{Fixed: true, TON: byte(t), NPI: byte(plan)}
	return nil
}

// The lists. Each is a few words KEY=VALUE; none is the empty one.

// parseList gives every KEY=VALUE of a list to add. more is set if the list is
// to be added to what is there.
func parseList(s string, add func(key, value string) error) (more bool, err error) {
	s, more = strings.CutPrefix(s, "+")
	if s = strings.TrimSpace(s); s == none {
		return more, nil
	}
	if s == "" {
		return more, errors.New("it is empty")
	}
	seen := make(map[string]bool)
	for _, pair := range strings.Fields(s) {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return more, fmt.Errorf("%q is not KEY=VALUE", pair)
		}
		if seen[k] {
			return more, fmt.Errorf("%s is there twice", k)
		}
		seen[k] = true
		if err := add(k, v); err != nil {
			return more, err
		}
	}
	return more, nil
}

// setMap reads a list into a map that replaces *field or is added to it. The map
// in *field itself is left alone: profiles may share it.
func setMap[K comparable, V any](field *map[K]V, s string, parseKey func(string) (K, error), parseValue func(string) (V, error)) error {
	fresh := make(map[K]V)
	more, err := parseList(s, func(k, v string) error {
		pk, err := parseKey(k)
		if err != nil {
			return err
		}
		pv, err := parseValue(v)
		if err != nil {
			return err
		}
		if _, twice := fresh[pk]; twice {
			return fmt.Errorf("%s is there twice", k)
		}
		fresh[pk] = pv
		return nil
	})
	if err != nil {
		return err
	}
	if more {
		all := maps.Clone(*field)
		maps.Copy(all, fresh)
		fresh = all
	}
	*field = fresh
	return nil
}

// mapText writes a list in the order of its keys.
func mapText[K cmp.Ordered, V any](m map[K]V, write func(K, V) string, between string) string {
	if len(m) == 0 {
		return none
	}
	var parts []string
	for _, k := range sortedKeys(m) {
		parts = append(parts, write(k, m[k]))
	}
	return strings.Join(parts, between)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func pair(k, v string) string { return k + "=" + v }

// opMeanings is what operations mean.
type opMeanings struct{ field *map[OpCode]Meaning }

func (o opMeanings) allowed() string {
	return "OPERATION=MEANING …, where OPERATION is " + allowedOps + " (C* for any second letter), and MEANING " + strings.Join(meaningNames, ", ")
}

func (o opMeanings) text() string {
	return mapText(*o.field, func(c OpCode, m Meaning) string { return pair(c.String(), nameOf(meaningNames, m)) }, " ")
}

func (o opMeanings) means() string {
	return mapText(*o.field, func(c OpCode, m Meaning) string { return c.describe() + ": " + nameOf(meaningNames, m) }, "; ")
}

func (o opMeanings) set(s string) error {
	return setMap(o.field, s, parseOp, func(s string) (Meaning, error) { return parseName[Meaning](s, meaningNames) })
}

func parseOctet(s string) (byte, error) {
	v, err := parseHex(s, 8)
	return byte(v), err
}

func parseAlphabet(s string) (Alphabet, error) { return parseName[Alphabet](s, alphabetNames) }

// codings are the alphabets of data_coding values.
type codings struct{ field *map[byte]Alphabet }

func (c codings) allowed() string {
	return "OCTET=ALPHABET …, such as 0x08=ucs2, where ALPHABET is " + strings.Join(alphabetNames, ", ")
}

func (c codings) text() string {
	return mapText(*c.field, func(b byte, a Alphabet) string { return fmt.Sprintf("0x%02x=%s", b, a) }, " ")
}

func (c codings) means() string {
	return mapText(*c.field, func(b byte, a Alphabet) string { return hexAndDecimal(b) + ": " + a.String() }, "; ")
}

func (c codings) set(s string) error { return setMap(c.field, s, parseOctet, parseAlphabet) }

// codingsOut are the data_coding values of alphabets.
type codingsOut struct{ field *map[Alphabet]byte }

func (c codingsOut) allowed() string {
	return "ALPHABET=OCTET …, such as ucs2=0x08, where ALPHABET is " + strings.Join(alphabetNames, ", ")
}

func (c codingsOut) text() string {
	return mapText(*c.field, func(a Alphabet, b byte) string { return fmt.Sprintf("%s=0x%02x", a, b) }, " ")
}

func (c codingsOut) means() string {
	return mapText(*c.field, func(a Alphabet, b byte) string { return a.String() + ": " + hexAndDecimal(b) }, "; ")
}

func (c codingsOut) set(s string) error { return setMap(c.field, s, parseAlphabet, parseOctet) }

// statuses are the classes of refusals.
type statuses struct{ field *map[pdu.Status]StatusClass }

func (c statuses) allowed() string {
	return "STATUS=CLASS …, such as 0x58=temporary, where CLASS is " + strings.Join(statusClassNames, ", ")
}

func (c statuses) text() string {
	return mapText(*c.field, func(s pdu.Status, class StatusClass) string {
		return fmt.Sprintf("0x%02x=%s", uint32(s), class)
	}, " ")
}

func (c statuses) means() string {
	return mapText(*c.field, func(s pdu.Status, class StatusClass) string {
		return fmt.Sprintf("0x%02x (%d) %s: %s", uint32(s), uint32(s), s.Error(), class)
	}, "; ")
}

func (c statuses) set(s string) error {
	return setMap(c.field, s,
		func(s string) (pdu.Status, error) { v, err := parseHex(s, 32); return pdu.Status(v), err },
		func(s string) (StatusClass, error) { return parseName[StatusClass](s, statusClassNames) })
}

// extras are optional parameters with their values.
type extras struct{ field *TLVs }

// maxExtras bounds them, since every reply carries them.
const maxExtras = 200

func (e extras) allowed() string {
	return "TAG=VALUE …, such as dest_bearer_type=0x04, where TAG is a number such as 0x0007 or a parameter's name, and VALUE its octets"
}

func (e extras) text() string {
	var parts []string
	for v := range e.field.All() {
		parts = append(parts, fmt.Sprintf("0x%04x=0x%x", uint16(v.Tag), v.Value))
	}
	return cmp.Or(strings.Join(parts, " "), none)
}

func (e extras) means() string {
	var parts []string
	for v := range e.field.All() {
		parts = append(parts, fmt.Sprintf("0x%04x %s: %x", uint16(v.Tag), tagName(v.Tag), v.Value))
	}
	return strings.Join(parts, "; ")
}

func (e extras) set(s string) error {
	var list TLVs
	more, err := parseList(s, func(k, v string) error {
		t, err := parseTag(k)
		if err != nil {
			return err
		}
		octets, ok := strings.CutPrefix(v, "0x")
		value, err := hex.DecodeString(octets)
		if !ok || err != nil {
			return fmt.Errorf("%q is not 0x and whole octets in hexadecimal", v)
		}
		list = list.Append(t, value...)
		return nil
	})
	if err != nil {
		return err
	}
	if more {
		list = slices.Concat(*e.field, list)
	}
	if len(list) > maxExtras {
		return fmt.Errorf("%d octets are more than %d", len(list), maxExtras)
	}
	*e.field = list
	return nil
}
