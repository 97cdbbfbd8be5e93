package menus

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// builder makes a service of a document and collects what is wrong with it.
type builder struct {
	parser
	opt     Options
	doc     *document
	service *Service
	sources map[*screen]*screenSource
	order   []*screen // as in the file
	vars    map[string]*variable
	values  map[string]Value // literals of set, by path
	uses    []use
	edges   []edge
	hazy    bool // some variable may be unknown, so that it is not said to be unset
	holed   bool // some edge may be unknown, so that no screen is said to be out of reach
}

// variable is what is known of a name in the whole service.
type variable struct {
	Var
	at   word // where it is set first
	used bool
}

// use is a place that needs a variable to be set.
type use struct {
	screen *screen
	name   string
	at     word
}

// edge is a way from one screen to another.
type edge struct {
	from, to *screen
	at       word
	sets     []string
	lists    map[string]map[string]Var // that come along
}

func compile(source []byte, file string, opt Options) *builder {
	b := &builder{
		parser:  parser{file: file},
		opt:     opt,
		sources: map[*screen]*screenSource{},
		vars:    map[string]*variable{},
		values:  map[string]Value{},
	}
	if b.doc = b.parse(source); b.doc == nil {
		return b
	}
	b.service = &Service{
		name:      b.doc.service.s,
		version:   versionOf(source),
		source:    slices.Clone(source),
		medium:    opt.Medium,
		maxInputs: b.doc.maxInputs,
		texts:     map[string]string{},
		screens:   map[string]*screen{},
	}
	b.head()
	b.declare()
	for _, sc := range b.order {
		b.screen(sc, b.sources[sc])
	}
	b.routes()
	for _, sc := range b.order {
		b.measure(sc, b.sources[sc])
		b.prune(sc)
		b.prepare(sc)
	}
	if start := b.service.start; start != nil {
		b.service.home = &frame{screen: start.name}
	}
	return b
}

// head checks the names, the codes and the sentences.
func (b *builder) head() {
	doc := b.doc
	b.name(doc.service)
	if len(doc.codes) == 0 && !b.torn {
		b.fail(doc.service, "no codes")
	}
	seen := map[string]bool{}
	for _, code := range doc.codes {
		if !codePattern.MatchString(code.s) {
			b.fail(code, quote(code.s)+" is not a code like *999# or *999*1#")
		}
		if seen[code.s] {
			b.fail(code, "code "+quote(code.s)+" a second time")
		}
		seen[code.s] = true
		b.service.codes = append(b.service.codes, code.s)
	}
	for _, name := range texts {
		text := doc.texts[name]
		b.service.texts[name] = text.s
		if b.sentence(text) {
			b.fits("text "+quote(name), text, &page{text: []byte(text.s)})
		}
	}
	for _, src := range doc.screens {
		b.name(src.name)
		sc := &screen{name: src.name.s, kind: src.kind}
		b.sources[sc] = src
		b.order = append(b.order, sc)
		b.service.screens[sc.name] = sc
	}
	if b.service.start = b.service.screens[doc.start.s]; b.service.start == nil && doc.start.given() {
		b.fail(doc.start, "no screen "+quote(doc.start.s))
	}
}

// name checks something that the file names.
func (b *builder) name(w word) {
	if w.given() && !namePattern.MatchString(w.s) {
		b.fail(w, quote(w.s)+" is not a name; a name has small letters, digits and _")
	}
}

// target finds where a goto leads. A goto that leads nowhere is reported, and goes
// home.
func (b *builder) target(w word) target {
	switch {
	case !w.given() || w.s == "@home":
		return target{}
	case w.s == "@back":
		return target{back: true}
	}
	sc := b.service.screens[w.s]
	if sc == nil {
		b.fail(w, "no screen "+quote(w.s))
		b.holed = true
	}
	return target{screen: sc}
}

// declare finds the type and width of every variable.
func (b *builder) declare() {
	b.vars[caller] = &variable{Var: Var{Type: TypeMSISDN, Width: foreignWidth}}
	type copying struct {
		to, from word
		ruled    bool // by the rules of the input that it stands beside
		done     bool
	}
	var copies []copying
	for _, sc := range b.order {
		src := b.sources[sc]
		if src.input != nil && src.input.store.given() {
			sc.input = b.input(src.input)
			b.set(src.input.store, sc.input.variable())
		}
		for _, option := range src.options {
			for _, pair := range option.set {
				if from, ok := b.copied(pair.value); ok {
					ruled := sc.input != nil && sc.input.store == pair.name.s && sc.input.reads == readMSISDN
					copies = append(copies, copying{to: pair.name, from: from, ruled: ruled})
				} else if v, ok := b.literal(pair.value); ok {
					b.values[pair.value.path] = v
					b.set(pair.name, widthOf(v))
				}
			}
		}
		spec, ok := b.opt.Actions[src.do.s]
		b.hazy = b.hazy || src.do.given() && !ok
		for _, name := range sortedKeys(spec.Gives) {
			b.set(word{s: name, line: src.do.line, path: src.do.path}, spec.Gives[name])
		}
	}
	b.hazy = b.hazy || b.torn
	b.holed = b.hazy
	for again := true; again; {
		again = false
		for i := range copies {
			c := &copies[i]
			if from := b.vars[c.from.s]; !c.done && from != nil {
				v := from.Var
				if c.ruled {
					v.Width = nigerianWidth
				}
				b.set(c.to, v)
				c.done, again = true, true
			}
		}
	}
	for again := true; again; {
		again = false
		for _, c := range copies {
			to, from := b.vars[c.to.s], b.vars[c.from.s]
			if to != nil && from != nil && !c.ruled && to.Width < from.Width {
				to.Width, again = from.Width, true
			}
		}
	}
}

// sized returns v with the width of its type, if it has none of its own.
func (v Var) sized() Var {
	switch {
	case v.Type == TypeTime:
		v.Width = dateWidth
	case v.Type == TypeMSISDN && v.Width == 0:
		v.Width = foreignWidth
	}
	return v
}

// set notes that a variable is set, and to what.
func (b *builder) set(name word, v Var) {
	v = v.sized()
	known := b.vars[name.s]
	switch {
	case name.s == caller:
		b.fail(name, quote(caller)+" is always set and cannot be changed")
	case known == nil:
		b.name(name)
		switch own := len(b.vars) - 1; {
		case own == maxVariables:
			b.tear(name, "more than "+strconv.Itoa(maxVariables)+" variables")
			fallthrough
		case own < maxVariables:
			b.vars[name.s] = &variable{Var: v, at: name}
		}
	case known.Type != v.Type:
		b.fail(name, fmt.Sprintf("%q is %s here, and %s in line %d", name.s, v.Type, known.Type, known.at.line))
	default:
		known.Width = max(known.Width, v.Width)
	}
}

var (
	copyPattern   = regexp.MustCompile(`^\{([a-z][a-z0-9_]*)\}$`)
	amountPattern = regexp.MustCompile(`^N[0-9][0-9,.]*$`)
)

// copied returns the name of the variable that a value copies.
func (b *builder) copied(value word) (word, bool) {
	m := copyPattern.FindStringSubmatch(value.s)
	if m == nil {
		return word{}, false
	}
	value.s = m[1]
	return value, true
}

// literal returns a value that is written out.
func (b *builder) literal(value word) (Value, bool) {
	switch {
	case strings.ContainsAny(value.s, "{}"):
		b.tear(value, "a value is an amount like N100, a text, or one placeholder without a filter")
		return Value{}, false
	case amountPattern.MatchString(value.s):
		v, ok := b.amount(value)
		b.torn = b.torn || !ok
		return v, ok
	case value.s == "" || value.s != clean(value.s) || utf8.RuneCountInString(value.s) > maxText:
		b.tear(value, "a value has 1 to "+strconv.Itoa(maxText)+" printable characters")
		return Value{}, false
	}
	return Text(value.s), true
}

func (b *builder) amount(w word) (Value, bool) {
	kobo, ok := ParseMoney(w.s)
	if !amountPattern.MatchString(w.s) || !ok {
		b.fail(w, quote(w.s)+" is not an amount like N50, N1,000 or N99.50")
		return Value{}, false
	}
	return Money(kobo), true
}

func widthOf(v Value) Var {
	width := utf8.RuneCountInString(v.s)
	if v.kind == TypeMoney {
		width = len(appendNaira(nil, v.n))
	}
	return Var{Type: v.kind, Width: width}
}

// input compiles an input. Whatever is wrong with it, it stores what it says.
func (b *builder) input(src *inputSource) *input {
	in := &input{reads: src.reads.s, store: src.store.s, secret: src.secret, min: 1, max: 1, step: 100}
	found := len(b.problems)
	limit := int64(maxDigits)
	if in.reads == readText {
		limit = maxText
	}
	bound := func(w word, into *int64) {
		if !w.given() {
			return
		}
		if in.reads == readMoney {
			if v, ok := b.amount(w); ok {
				*into = v.n
			}
		} else if n, err := strconv.ParseInt(w.s, 10, 64); err != nil || n < 1 || n > limit {
			b.fail(w, fmt.Sprintf("%s is 1 to %d characters", w.path[strings.LastIndexByte(w.path, '.')+1:], limit))
		} else {
			*into = n
		}
	}
	bound(src.min, &in.min)
	bound(src.max, &in.max)
	bound(src.step, &in.step)
	step := in.step
	in.step = max(step, 1)
	if len(b.problems) > found || !src.max.given() || in.reads != readText && !src.min.given() {
		return in
	}
	switch {
	case in.min > in.max:
		b.fail(src.min, "min is more than max")
	case in.reads == readMoney && (in.min < 1 || step < 1):
		b.fail(src.min, "min and step are more than nothing")
	case in.reads == readMoney && (in.min%in.step != 0 || in.max%in.step != 0):
		b.fail(src.max, "min and max are not multiples of step")
	}
	return in
}
