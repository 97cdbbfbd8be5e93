package menus

import (
	"fmt"
	"slices"
	"strings"
)

func (b *builder) screen(sc *screen, src *screenSource) {
	switch sc.kind {
	case actionKind:
		b.action(sc, src)
		return
	case noKind:
		return
	}
	sc.text = b.template(src.text, func(name string) (Var, bool) {
		v := b.variable(name)
		return v.Var, v.Type != 0
	}, func(name string, at word) { b.use(sc, name, at) })
	sc.attempts = defaultAttempts
	sc.mistake = b.service.texts["invalid"]
	if src.input != nil {
		sc.attempts, sc.mistake = src.input.attempts, src.input.mistake.s
		b.sentence(src.input.mistake)
	}
	b.list(sc, src.list)
	for _, option := range src.options {
		b.option(sc, option)
	}
	if sc.kind == inputKind {
		sc.next = b.target(src.next)
		if strings.HasPrefix(src.next.s, "@") {
			b.fail(src.next, "a right answer cannot go "+src.next.s+", where it would be forgotten")
		}
		if src.input != nil {
			b.edge(sc, sc.next, src.next, []string{src.input.store.s}, nil)
		}
	}
}

// variable returns what is known of a name; without a type it is not set anywhere.
func (b *builder) variable(name string) *variable {
	if v := b.vars[name]; v != nil {
		return v
	}
	return &variable{}
}

// use notes that a screen needs a variable.
func (b *builder) use(sc *screen, name string, at word) {
	if v := b.variable(name); v.Type != 0 {
		v.used = true
		b.uses = append(b.uses, use{sc, name, at})
	} else if !b.hazy {
		b.fail(at, "nothing sets "+quote(name))
	}
}

func (b *builder) edge(from *screen, to target, at word, sets []string, lists map[string]map[string]Var) {
	if !at.given() {
		return
	}
	// Whoever comes back was there before, so a way back adds nothing but an exit
	// by way of the start.
	sc := to.screen
	if sc == nil && b.service.start != nil && (at.s == "@home" || to.back) {
		sc = b.service.start
	}
	if sc != nil {
		b.edges = append(b.edges, edge{from, sc, at, sets, lists})
	}
}

func (b *builder) option(sc *screen, src optionSource) {
	b.key(sc, src.key)
	b.label(src.label)
	o := option{key: src.key.s, to: b.target(src.target)}
	var sets []string
	fixed := true
	for _, pair := range src.set {
		sets = append(sets, pair.name.s)
		s := setting{name: pair.name.s, value: b.values[pair.value.path]}
		if from, ok := b.copied(pair.value); ok {
			b.use(sc, from.s, from)
			s.from, s.value.kind = from.s, b.variable(from.s).Type
			fixed = false
		}
		o.set = append(o.set, s)
		o.fixed = append(o.fixed, binding{s.name, s.value})
	}
	if !fixed {
		o.fixed = nil
	}
	if len(src.set) > 0 && strings.HasPrefix(src.target.s, "@") {
		b.fail(src.target, "an option that goes "+src.target.s+" cannot set anything")
	}
	b.edge(sc, o.to, src.target, sets, nil)
	sc.options = append(sc.options, o)
	if sc.lines != "" {
		sc.lines += "\n"
	}
	sc.lines += optionLine(src.key, src.label)
}

// key checks the key of an option, or of the line that turns a page.
func (b *builder) key(sc *screen, key word) {
	if !key.given() {
		return
	}
	if !keyPattern.MatchString(key.s) {
		b.fail(key, quote(key.s)+" cannot be a key; a key is 1 to 3 of 0-9, * and #")
	}
	taken := sc.list != nil && sc.list.key == key.s
	for _, other := range sc.options {
		taken = taken || other.key == key.s
	}
	if taken {
		b.fail(key, "key "+quote(key.s)+" a second time on this screen")
	}
	if sc.input != nil && (sc.input.reads == readDigits || sc.input.reads == readMoney) {
		if _, ok := sc.input.read(key.s); ok {
			b.fail(key, "key "+quote(key.s)+" is also a right answer to the input")
		}
	}
}

func (b *builder) label(label word) {
	b.sentence(label)
	if strings.Contains(label.s, "\n") {
		b.fail(label, "a label is one line")
	}
}

func optionLine(key, label word) string { return key.s + ". " + label.s }

func (b *builder) list(sc *screen, src *listSource) {
	if src == nil || !src.of.given() || !src.item.given() || !src.moreKey.given() || !src.moreLabel.given() {
		return
	}
	row, known := map[string]Var(nil), false
	for _, name := range sortedKeys(b.opt.Actions) {
		if fields, ok := b.opt.Actions[name].Lists[src.of.s]; ok {
			row, known = fields, true
		}
	}
	if !known {
		b.fail(src.of, "no action gives a list "+quote(src.of.s))
		return
	}
	b.key(sc, src.moreKey)
	b.sentence(src.empty)
	b.label(src.moreLabel)
	sc.list = &list{
		of:    src.of.s,
		empty: src.empty.s,
		key:   src.moreKey.s,
		more:  optionLine(src.moreKey, src.moreLabel),
		item: b.template(src.item, func(name string) (Var, bool) {
			v, ok := row[name]
			return v.sized(), ok
		}, func(name string, at word) {
			if _, ok := row[name]; !ok {
				b.fail(at, "a row of "+quote(src.of.s)+" has no "+quote(name)+"; it has "+strings.Join(sortedKeys(row), ", "))
			}
		}),
	}
}

func (b *builder) action(sc *screen, src *screenSource) {
	if !src.do.given() {
		return
	}
	spec, ok := b.opt.Actions[src.do.s]
	if !ok {
		b.fail(src.do, "no action "+quote(src.do.s)+"; known are "+strings.Join(sortedKeys(b.opt.Actions), ", "))
		for _, branch := range src.on {
			b.target(branch.target)
		}
		return
	}
	sc.action = &action{name: src.do.s, final: spec.Final, branches: map[string]*branch{}}
	given := map[string]bool{}
	for _, pair := range src.with {
		given[pair.name.s] = true
		b.param(sc, spec, pair)
	}
	for _, name := range sortedKeys(spec.Params) {
		if !given[name] {
			b.fail(src.do, "action "+quote(src.do.s)+" needs "+quote(name))
		}
	}
	branched := map[string]bool{}
	for _, on := range src.on {
		branched[on.outcome.s] = true
		b.branch(sc, spec, on)
	}
	for _, outcome := range spec.Outcomes {
		if !branched[outcome] {
			b.fail(src.name, "no branch for the outcome "+quote(outcome)+" of "+quote(src.do.s))
		}
	}
}

func (b *builder) param(sc *screen, spec ActionSpec, pair pair) {
	want, ok := spec.Params[pair.name.s]
	if !ok {
		b.fail(pair.name, "action "+quote(sc.action.name)+" takes no "+quote(pair.name.s)+"; it takes "+strings.Join(sortedKeys(spec.Params), ", "))
		return
	}
	s := setting{name: pair.name.s}
	if from, ok := b.copied(pair.value); ok {
		b.use(sc, from.s, from)
		s.from, s.value.kind = from.s, b.variable(from.s).Type
	} else if s.value, ok = b.literal(pair.value); !ok {
		return
	}
	if s.value.kind != want && s.value.kind != 0 {
		b.fail(pair.value, fmt.Sprintf("%q is %s, and action %q takes %s", pair.name.s, s.value.kind, sc.action.name, want))
	}
	sc.action.params = append(sc.action.params, s)
}

func (b *builder) branch(sc *screen, spec ActionSpec, src branchSource) {
	if !slices.Contains(spec.Outcomes, src.outcome.s) {
		b.fail(src.outcome, "action "+quote(sc.action.name)+" has no outcome "+quote(src.outcome.s)+"; it has "+strings.Join(spec.Outcomes, ", "))
	}
	var sets []string
	br := &branch{reasons: map[string]target{}}
	for _, name := range sortedKeys(spec.Gives) {
		v := spec.Gives[name]
		if v.On == nil || slices.Contains(v.On, src.outcome.s) {
			sets = append(sets, name)
			br.gives = append(br.gives, give{name, v})
		}
	}
	to := func(w word) target {
		if w.s == "@back" {
			b.fail(w, "the branch of an action cannot go @back")
		}
		t := b.target(w)
		b.edge(sc, t, w, sets, spec.Lists)
		return t
	}
	br.to = to(src.target)
	for _, reason := range src.reasons {
		if !slices.Contains(spec.Reasons[src.outcome.s], reason.name.s) {
			b.fail(reason.name, "outcome "+quote(src.outcome.s)+" has no reason "+quote(reason.name.s))
		}
		br.reasons[reason.name.s] = to(reason.value)
	}
	sc.action.branches[src.outcome.s] = br
}

// prune leaves out what actions give and nothing uses.
func (b *builder) prune(sc *screen) {
	if sc.action == nil {
		return
	}
	for _, br := range sc.action.branches {
		br.gives = slices.DeleteFunc(br.gives, func(g give) bool { return !b.variable(g.name).used })
	}
}
