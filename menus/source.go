package menus

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of one file. They keep what a file costs in bounds, loading and serving.
const (
	maxSource    = 256 << 10
	maxScreens   = 500
	maxVariables = 200
	maxInputs    = 1000 // of one session
	maxAttempts  = 10
	maxText      = 80 // characters of a typed text
	maxDigits    = 30

	defaultInputs   = 60
	defaultAttempts = 3
)

// document is a service file as it was written, each part with its place.
type document struct {
	service   word
	codes     []word
	start     word
	maxInputs int
	texts     map[string]word
	screens   []*screenSource
}

type screenSource struct {
	name    word
	kind    kind
	text    word
	list    *listSource
	options []optionSource
	input   *inputSource
	next    word // where a right answer goes
	do      word
	with    []pair
	on      []branchSource
}

type optionSource struct {
	key, label, target word
	set                []pair
}

type listSource struct {
	of, item, empty, moreKey, moreLabel word
}

type inputSource struct {
	reads, store, mistake word
	min, max, step        word
	attempts              int
	secret                bool
}

type branchSource struct {
	outcome, target word
	reasons         []pair
}

// word is a scalar of the file and its place.
type word struct {
	s     string
	line  int
	path  string
	block bool // a | block, whose text starts on the next line
}

// at returns the place of the character at an offset into the word.
func (w word) at(offset int) word {
	if w.block {
		w.line += 1 + strings.Count(w.s[:offset], "\n")
	}
	return w
}

// given is false for a word that the file lacks or has in a wrong form, which has
// been reported then.
func (w word) given() bool { return w.line > 0 }

type pair struct{ name, value word }

// texts names the sentences that a service must have.
var texts = []string{"invalid", "tries", "expired", "busy"}

// keysOf lists the keys of each kind of screen.
var keysOf = map[kind][]string{
	menuKind:   {"kind", "text", "list", "options"},
	inputKind:  {"kind", "text", "options", "input", "goto"},
	actionKind: {"kind", "do", "with", "on"},
	endKind:    {"kind", "text"},
}

// parser reads YAML nodes strictly and collects what is wrong.
type parser struct {
	file     string
	problems Problems
	torn     bool // a part is missing that others may rely on, so they are not blamed
}

func (p *parser) fail(w word, text string) {
	p.problems = append(p.problems, Problem{File: p.file, Line: w.line, Path: w.path, Text: text})
}

// tear reports a problem that leaves a hole in the service.
func (p *parser) tear(w word, text string) {
	p.torn = true
	p.fail(w, text)
}

func (p *parser) parse(source []byte) *document {
	if len(source) > maxSource {
		p.tear(word{}, "the file is longer than "+strconv.Itoa(maxSource)+" bytes")
		return nil
	}
	var root, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		p.tear(word{line: 1}, "the file is empty")
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		p.fail(place(&second, ""), "a second document; one file is one service")
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err)
	}
	return p.document(root.Content[0])
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func (p *parser) syntax(err error) {
	line, text := 1, err.Error()
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		text = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	p.tear(word{line: line}, "not YAML: "+text)
}

func (p *parser) document(n *yaml.Node) *document {
	top, ok := p.fields(n, "", "service", "codes", "start", "max_inputs", "texts", "screens")
	if !ok {
		return nil
	}
	doc := &document{
		service:   top.text("service"),
		start:     top.word("start"),
		maxInputs: top.number("max_inputs", defaultInputs, maxInputs),
		texts:     map[string]word{},
	}
	for _, item := range p.items(top.node("codes"), "codes") {
		if code := p.text(item.node, item.path); code.given() {
			doc.codes = append(doc.codes, code)
		}
	}
	if sentences, ok := p.fields(top.node("texts"), "texts", texts...); ok {
		for _, name := range texts {
			if text := sentences.text(name); text.given() {
				doc.texts[name] = text
			}
		}
	}
	screens := p.entries(top.node("screens"), "screens")
	if len(screens) > maxScreens {
		p.tear(screens[maxScreens].name, "more than "+strconv.Itoa(maxScreens)+" screens")
		return nil
	}
	for _, entry := range screens {
		doc.screens = append(doc.screens, p.screen(entry))
	}
	return doc
}

func (p *parser) screen(e entry) *screenSource {
	sc := &screenSource{name: e.name}
	all, ok := p.fields(e.node, e.name.path, "kind", "text", "list", "options", "input", "goto", "do", "with", "on")
	if !ok {
		return sc
	}
	kindWord := all.word("kind")
	if !kindWord.given() {
		return sc
	}
	if sc.kind = kinds[kindWord.s]; sc.kind == noKind {
		p.tear(kindWord, "no kind "+quote(kindWord.s)+"; the kinds are menu, input, action and end")
		return sc
	}
	f := all.only(" of a screen of kind "+kindWord.s, keysOf[sc.kind]...)
	if sc.kind == actionKind {
		sc.do = f.word("do")
		sc.with = p.pairs(f.optional("with"), f.at("with"))
		for _, outcome := range p.entries(f.node("on"), f.at("on")) {
			sc.on = append(sc.on, p.branch(outcome))
		}
		return sc
	}
	sc.text = f.text("text")
	if n := f.optional("list"); n != nil {
		sc.list = p.list(n, f.at("list"))
	}
	n := f.optional("options")
	if sc.kind == menuKind {
		n = f.node("options")
	}
	for _, item := range p.items(n, f.at("options")) {
		sc.options = append(sc.options, p.option(item))
	}
	if n != nil && n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		p.tear(place(n, f.at("options")), "no options")
	}
	if sc.kind == inputKind {
		sc.input = p.input(f.node("input"), f.at("input"))
		sc.next = f.word("goto")
	}
	return sc
}

func (p *parser) option(item item) optionSource {
	f, ok := p.fields(item.node, item.path, "key", "label", "set", "goto")
	if !ok {
		return optionSource{}
	}
	return optionSource{
		key:    f.text("key"),
		label:  f.text("label"),
		target: f.word("goto"),
		set:    p.pairs(f.optional("set"), f.at("set")),
	}
}

func (p *parser) list(n *yaml.Node, path string) *listSource {
	f, ok := p.fields(n, path, "of", "item", "empty", "more")
	if !ok {
		return nil
	}
	l := &listSource{of: f.word("of"), item: f.text("item"), empty: f.text("empty")}
	if more, ok := p.fields(f.node("more"), f.at("more"), "key", "label"); ok {
		l.moreKey, l.moreLabel = more.text("key"), more.text("label")
	}
	return l
}

func (p *parser) input(n *yaml.Node, path string) *inputSource {
	all, ok := p.fields(n, path, "type", "store", "error", "attempts", "min", "max", "step", "secret")
	if !ok {
		return nil
	}
	in := &inputSource{reads: all.word("type"), store: all.word("store"), mistake: all.text("error")}
	in.attempts = all.number("attempts", defaultAttempts, maxAttempts)
	known := []string{"type", "store", "error", "attempts"}
	switch in.reads.s {
	case readMSISDN:
	case readMoney:
		known = append(known, "min", "max", "step")
	case readDigits:
		known = append(known, "min", "max", "secret")
	case readText:
		known = append(known, "max")
	default:
		if in.reads.given() {
			p.tear(in.reads, "no input type "+quote(in.reads.s)+"; the types are msisdn, money, digits and text")
		}
		return nil
	}
	f := all.only(" of an input of type "+in.reads.s, known...)
	bound := func(key string) word {
		if in.reads.s == readMoney {
			return f.text(key)
		}
		return f.integer(key)
	}
	switch in.reads.s {
	case readMoney, readDigits:
		in.min, in.max = bound("min"), bound("max")
	case readText:
		in.max = bound("max")
	}
	if f.optional("step") != nil {
		in.step = f.text("step")
	}
	in.secret = f.flag("secret")
	return in
}

func (p *parser) branch(e entry) branchSource {
	b := branchSource{outcome: e.name}
	if e.node.Kind == yaml.ScalarNode {
		b.target = p.word(e.node, e.name.path)
		return b
	}
	if f, ok := p.fields(e.node, e.name.path, "goto", "reasons"); ok {
		b.target = f.word("goto")
		b.reasons = p.pairs(f.optional("reasons"), f.at("reasons"))
	}
	return b
}

// place is a word without text, for the place of a node.
func place(n *yaml.Node, path string) word { return word{line: n.Line, path: path} }

// sound reports whether a node may be read on: anchors would let one part of a
// file mean another.
func (p *parser) sound(n *yaml.Node, path string) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		p.tear(place(n, path), "anchors and aliases are not allowed")
		return false
	}
	return true
}

// word reads a scalar that holds the service together: a name or a goto.
func (p *parser) word(n *yaml.Node, path string) word {
	w := p.text(n, path)
	if !w.given() {
		p.torn = true
	}
	return w
}

// text reads any other scalar.
func (p *parser) text(n *yaml.Node, path string) word {
	w := place(n, path)
	switch {
	case !p.sound(n, path):
		return word{}
	case n.Kind != yaml.ScalarNode:
		p.fail(w, "expected a text, found a "+shape(n))
		return word{}
	case n.ShortTag() == "!!null":
		p.fail(w, "expected a text, found nothing")
		return word{}
	case n.ShortTag() != "!!str":
		p.fail(w, "write "+quote(n.Value)+" in quotes")
		return word{}
	}
	w.s, w.block = n.Value, n.Style&yaml.LiteralStyle != 0
	return w
}

// entry is one key of a mapping whose keys the file chooses.
type entry struct {
	name word
	node *yaml.Node
}

// entries returns a mapping in the file's order, each key once.
func (p *parser) entries(n *yaml.Node, path string) []entry {
	if n == nil || !p.sound(n, path) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.tear(place(n, path), "expected a mapping, found a "+shape(n))
		return nil
	}
	var list []entry
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		name := p.word(key, at)
		if !name.given() {
			continue
		}
		if line, ok := first[name.s]; ok {
			p.fail(name, "key "+quote(name.s)+" a second time; the first is in line "+strconv.Itoa(line))
			continue
		}
		first[name.s] = name.line
		list = append(list, entry{name, n.Content[i+1]})
	}
	return list
}

func (p *parser) pairs(n *yaml.Node, path string) []pair {
	var list []pair
	for _, e := range p.entries(n, path) {
		if value := p.word(e.node, e.name.path); value.given() {
			list = append(list, pair{e.name, value})
		}
	}
	return list
}

type item struct {
	node *yaml.Node
	path string
}

func (p *parser) items(n *yaml.Node, path string) []item {
	if n == nil || !p.sound(n, path) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		p.tear(place(n, path), "expected a list, found a "+shape(n))
		return nil
	}
	list := make([]item, len(n.Content))
	for i, child := range n.Content {
		list[i] = item{child, path + "[" + strconv.Itoa(i) + "]"}
	}
	return list
}

// fields is a mapping whose keys the schema chooses.
type fields struct {
	p     *parser
	place word
	list  []entry
}

func (p *parser) fields(n *yaml.Node, path string, known ...string) (fields, bool) {
	if n == nil {
		return fields{}, false
	}
	list := p.entries(n, path)
	if list == nil && (n.Kind != yaml.MappingNode || len(n.Content) > 0) {
		return fields{}, false
	}
	f := fields{p: p, place: place(n, path), list: list}
	return f.only("", known...), true
}

// only reports the keys that are not known here, and returns the rest.
func (f fields) only(where string, known ...string) fields {
	var rest []entry
	for _, e := range f.list {
		if !slices.Contains(known, e.name.s) {
			f.p.fail(e.name, "unknown key "+quote(e.name.s)+where+"; known are "+strings.Join(known, ", "))
			continue
		}
		rest = append(rest, e)
	}
	f.list = rest
	return f
}

func (f fields) at(key string) string {
	if f.place.path == "" {
		return key
	}
	return f.place.path + "." + key
}

// optional returns the value of a key, nil if it is missing.
func (f fields) optional(key string) *yaml.Node {
	for _, e := range f.list {
		if e.name.s == key {
			return e.node
		}
	}
	return nil
}

// node returns the value of a key that must be there.
func (f fields) node(key string) *yaml.Node {
	n := f.optional(key)
	if n == nil {
		f.p.tear(f.place, quote(key)+" is missing")
	}
	return n
}

func (f fields) word(key string) word {
	if n := f.node(key); n != nil {
		return f.p.word(n, f.at(key))
	}
	return word{}
}

func (f fields) text(key string) word {
	if n := f.optional(key); n != nil {
		return f.p.text(n, f.at(key))
	}
	f.p.fail(f.place, quote(key)+" is missing")
	return word{}
}

// integer returns a number that must be there, as it was written.
func (f fields) integer(key string) word {
	n := f.optional(key)
	if n == nil {
		f.p.fail(f.place, quote(key)+" is missing")
		return word{}
	}
	w := place(n, f.at(key))
	if !f.p.sound(n, f.at(key)) {
		return word{}
	}
	if n.Kind != yaml.ScalarNode || !isDigits(n.Value) {
		f.p.fail(w, "expected a whole number")
		return word{}
	}
	w.s = n.Value
	return w
}

func (f fields) number(key string, missing, limit int) int {
	if f.optional(key) == nil {
		return missing
	}
	w := f.integer(key)
	if !w.given() {
		return missing
	}
	n, err := strconv.Atoi(w.s)
	if err != nil || n < 1 || n > limit {
		f.p.fail(w, quote(key)+" is 1 to "+strconv.Itoa(limit))
		return missing
	}
	return n
}

func (f fields) flag(key string) bool {
	n := f.optional(key)
	if n == nil || !f.p.sound(n, f.at(key)) {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		f.p.fail(place(n, f.at(key)), quote(key)+" is true or false")
		return false
	}
	return strings.EqualFold(n.Value, "true")
}

func shape(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "mapping"
	case yaml.SequenceNode:
		return "list"
	}
	return "text"
}

func quote(s string) string { return strconv.Quote(s) }
