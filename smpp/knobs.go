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

// Knob is one setting of a profile, as text.
type Knob struct {
	Name  string // "end.op"
	Value string // as Set takes it; octets in hexadecimal, "0x11"
	Means string // the value in words, with octets in decimal too: "0x11 (17), PSSR response"; may be empty
	Help  string // one sentence
}

// Knobs returns all settings of the profile in a fixed order.
func (p *Profile) Knobs() []Knob {
	out := make([]Knob, len(knobs))
	for i, k := range knobs {
		v := k.bind(p)
		out[i] = Knob{Name: k.name, Value: v.text(), Help: k.help}
		if e, ok := v.(explained); ok {
			out[i].Means = e.means()
		}
	}
	return out
}

// Set changes one setting. The error names the knob, the value and what is
// allowed; for an unknown name, the nearest one. A list that begins with a plus
// sign is added to what is there. Whether the settings go together is Check's
// matter.
func (p *Profile) Set(name, value string) error {
	i := slices.IndexFunc(knobs, func(k knob) bool { return k.name == name })
	if i < 0 {
		return fmt.Errorf("no knob %q; did you mean %s?", name, nearest(name))
	}
	v := knobs[i].bind(p)
	if err := v.set(strings.TrimSpace(value)); err != nil {
		return fmt.Errorf("%s: %w; allowed: %s", name, err, v.allowed())
	}
	return nil
}

// knob is a row of the table that Set, Knobs, LoadProfile and the presets share.
type knob struct {
	name, help string
	bind       func(*Profile) setting
}

// setting is a knob of one profile.
type setting interface {
	text() string
	set(string) error
	allowed() string
}

// explained is a setting whose value has more to say than its text.
type explained interface{ means() string }

var knobs = []knob{
	{"pdu", "the PDU of replies", func(p *Profile) setting { return flagSetting{&p.DataSM, "submit_sm", "data_sm"} }},
	{"esm_class", "esm_class of replies", func(p *Profile) setting { return octet{&p.ESMClass} }},
	{"service_type", "service_type of replies, if the operation does not stand there", func(p *Profile) setting { return word{&p.ServiceType} }},
	{"service_type.in", "the service_type that USSD has; a message with another one is acknowledged and ignored", func(p *Profile) setting { return word{&p.OnlyServiceType} }},
	{"tlvs", "optional parameters that every reply carries as they are", func(p *Profile) setting { return extras{&p.Extra} }},

	{"msisdn.country", "country code of numbers that come without one", func(p *Profile) setting { return digits{&p.CountryCode, 3} }},
	{"msisdn.digits", "digits of such a number, without its trunk zero", func(p *Profile) setting { return number{&p.NationalDigits, 0, 15} }},
	{"code", "where the service code is; a code itself if no message tells it", func(p *Profile) setting { return codePlace{p} }},
	{"code.spelling", "how the service code is written as the sender of a dialogue that we begin", func(p *Profile) setting { return choice(&p.Spelling, spellingNames) }},
	{"dialled.from", "where a begin has the dialled string", func(p *Profile) setting { return choice(&p.Dialled, dialledNames) }},
	{"dialled.strip", "when the SMSC takes the service code off the dialled string", func(p *Profile) setting { return choice(&p.Strip, stripNames) }},

	{"op.tag", "TLV of the operation, or service_type if it is two letters there", func(p *Profile) setting {
		return tag{&p.OpTag, "service_type"}
	}},
	{"op.in", "what the SMSC's operations mean", func(p *Profile) setting { return opMeanings{&p.Ops} }},
	{"op.other", "what any other operation means", func(p *Profile) setting { return choice(&p.OtherOp, meaningNames) }},
	{"menu.op", "operation of a reply that waits for an answer", func(p *Profile) setting { return opCode{&p.MenuOp} }},
	{"end.op", "operation of a reply that ends the dialogue", func(p *Profile) setting { return opCode{&p.EndOp} }},
	{"end.by", "how a reply ends the dialogue: by its operation, the end bit, or both", func(p *Profile) setting { return endBy{p} }},
	{"once.op", "operation of the reply to a begin that is answered once", func(p *Profile) setting { return opCode{&p.OnceOp} }},

	{"session.tag", "TLV of the session", func(p *Profile) setting { return tag{&p.Session.Tag, none} }},
	{"session.form", "what the session is", func(p *Profile) setting { return flagSetting{&p.Session.Text, "word", "text"} }},
	{"session.length", "octets of a session that is a word", func(p *Profile) setting { return number{&p.Session.Length, 1, 8} }},
	{"session.id", "bits of the session that identify the dialogue", func(p *Profile) setting { return bits{&p.Session.ID} }},
	{"session.end", "bit of the session that says that the dialogue is over", func(p *Profile) setting { return bits{&p.Session.End} }},
	{"session.end.in", "what a message with that bit means, whatever its operation", func(p *Profile) setting { return flagSetting{&p.ReleaseBit, "ignored", "release"} }},
	{"session.sequence", "what a reply does with the other bits", func(p *Profile) setting { return choice(&p.Session.Sequence, sequenceNames) }},
	{"key", "what tells one dialogue from another", func(p *Profile) setting { return key{p} }},

	{"address.reply", "which addresses replies have", func(p *Profile) setting { return choice(&p.Addresses, addressNames) }},
	{"address.source", "type of number and numbering plan of a reply's source_addr, the service", func(p *Profile) setting { return numbering{&p.ServiceNumber} }},
	{"address.dest", "the same of its destination_addr, the subscriber", func(p *Profile) setting { return numbering{&p.SubscriberNumber} }},

	{"dcs.in", "alphabets of data_coding values received", func(p *Profile) setting { return codings{&p.Codings} }},
	{"dcs.other", "alphabet of any other data_coding", func(p *Profile) setting { return choice(&p.OtherDCS, alphabetNames) }},
	{"dcs.out", "data_coding of replies by their alphabet", func(p *Profile) setting { return codingsOut{&p.DCS} }},
	{"text.alphabet", "alphabet of replies", func(p *Profile) setting { return choice(&p.Text.Alphabet, alphabetNames) }},
	{"text.max", "how much of it fits on one screen", func(p *Profile) setting { return number{&p.Text.Max, 1, 1000} }},
	{"text.unit", "what text.max counts: septets of GSM, characters of Latin-1 and ASCII, UTF-16 units of UCS-2 (units), or octets on the wire", func(p *Profile) setting { return choice(&p.Text.Unit, unitNames) }},
	{"text.strip-at", "whether an @ at the end of what arrives is dropped: CR padding that a gateway has read wrongly", func(p *Profile) setting { return flagSetting{&p.StripAt, "no", "yes"} }},

	{"submit_resp", "when the SMSC answers a reply", func(p *Profile) setting { return flagSetting{&p.AfterUser, "immediate", "after-user"} }},
	{"reply.bind", "the binds that may carry a reply", func(p *Profile) setting { return choice(&p.Affinity, affinityNames) }},
	{"overload", "how a begin is refused when there is no room", func(p *Profile) setting { return flagSetting{&p.RefuseByStatus, "text", "status"} }},
	{"status", "what a refusal of a reply means; any other is dead", func(p *Profile) setting { return statuses{&p.Statuses} }},

	{"push.ask", "operation that begins a dialogue with a question", func(p *Profile) setting { return opCode{&p.PushAsk} }},
	{"push.tell", "operation that only tells something", func(p *Profile) setting { return opCode{&p.PushTell} }},
	{"push.end", "operation that ends a dialogue that we began, if it is not end.op", func(p *Profile) setting { return opCode{&p.PushEnd} }},
}

// nearest returns the knob's name that is the fewest keystrokes away.
func nearest(name string) string {
	return slices.MinFunc(knobs, func(a, b knob) int { return cmp.Compare(distance(a.name, name), distance(b.name, name)) }).name
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d++
			}
			diagonal = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

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

// operations are the values of ussd_service_op that have a name: those of SMPP
// 3.4 §5.3.2.44 and, from 0x20 on, those that vendors are known to use.
var operations = []struct {
	code  OpCode
	name  string
	means string
}{
	{0x00, "pssd-indication", "PSSD indication"},
	{0x01, "pssr-indication", "PSSR indication"},
	{0x02, "ussr-request", "USSR request"},
	{0x03, "ussn-request", "USSN request"},
	{0x0F, "redirect", "redirect to another service"},
	{0x10, "pssd-response", "PSSD response"},
	{0x11, "pssr-response", "PSSR response"},
	{0x12, "ussr-confirm", "USSR confirm"},
	{0x13, "ussn-confirm", "USSN confirm"},
	{0x23, "foreign-dialogue", "message of another dialogue"},
	{0x41, "hangup", "hung up by the subscriber"},
	{0x42, "failure", "failed"},
	{0x43, "rejected", "rejected"},
	{0x44, "esme-hangup", "hung up by the ESME"},
	{0x80, "release-request", "release request"},
	{0x81, "release-indication", "release indication"},
	{0x82, "ussr-last", "USSR request, the last"},
	{0x83, "ussn-last", "USSN request, the last"},
	{0x92, "ussr-confirm-last", "USSR confirm, the last"},
	{0x96, "ussr-vlr", "USSR request to the VLR"},
	{0x97, "ussn-vlr", "USSN request to the VLR"},
	{0x98, "ussr-vlr-last", "USSR request to the VLR, the last"},
	{0x99, "ussn-vlr-last", "USSN request to the VLR, the last"},
}

// String returns the operation as a knob has it: 0x11, or two letters.
func (c OpCode) String() string {
	switch {
	case c == NoOp:
		return none
	case c.letters():
		return string([]byte{byte(c >> 8), byte(c)})
	}
	return fmt.Sprintf("0x%02x", byte(c))
}

// describe returns the operation in words: "0x11 (17), PSSR response".
func (c OpCode) describe() string {
	switch {
	case c == NoOp:
		return "none"
	case c.letters():
		return c.String() + ", " + opLetters(byte(c>>8), byte(c))
	}
	s := hexAndDecimal(byte(c))
	for _, o := range operations {
		if o.code == c {
			return s + ", " + o.means
		}
	}
	return s
}

// opLetters explains an operation in service_type.
func opLetters(first, second byte) string {
	steps := map[byte]string{'B': "begin", 'C': "continue", 'E': "end", 'A': "abort", 'F': "charge indication"}
	kinds := map[byte]string{'R': " request", 'N': " notify", 'A': " response", 'F': " release", byte(anySecond): ""}
	kind, ok := kinds[second]
	if !ok {
		kind = " ?"
	}
	return cmp.Or(steps[first], "?") + kind
}

func parseOp(s string) (OpCode, error) {
	for _, o := range operations {
		if o.name == s {
			return o.code, nil
		}
	}
	if len(s) == 2 && letter(s[0]) && (letter(s[1]) || OpCode(s[1]) == anySecond) {
		return OpCode(s[0])<<8 | OpCode(s[1]), nil
	}
	v, err := parseHex(s, 8)
	return OpCode(v), err
}

func letter(c byte) bool { return c >= 'A' && c <= 'Z' }

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
type numbering struct{ field *Numbering }

const asReceived = "as-received"

func (n numbering) allowed() string { return asReceived + ", or TON/NPI such as 1/1" }

func (n numbering) text() string {
	if !n.field.Fixed {
		return asReceived
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
	if s == asReceived {
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
