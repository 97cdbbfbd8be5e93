package menus

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// sentence checks a text that the file has word for word, and reports whether it
// can be measured.
func (b *builder) sentence(w word) bool {
	if i := strings.IndexAny(w.s, "{}"); i >= 0 {
		b.fail(w.at(i), "no placeholders here")
	}
	return b.words(w)
}

func (b *builder) words(w word) bool {
	if !w.given() {
		return false
	}
	if strings.TrimSpace(w.s) == "" {
		b.fail(w, "the text is empty")
		return false
	}
	if strings.TrimSpace(w.s) != w.s {
		b.fail(w, "the text begins or ends with white space; a block without a line break at its end is |-")
	}
	for i, r := range w.s {
		if r != '\n' && unicode.IsControl(r) {
			b.fail(w.at(i), fmt.Sprintf("the control character U+%04X cannot be shown", r))
			return false
		}
	}
	for m := range b.opt.media {
		if _, bad := m.Cost(m.Fold(w.s)); bad != 0 {
			at := max(strings.IndexRune(w.s, bad), 0)
			b.fail(w.at(at), fmt.Sprintf("%q (U+%04X) is not in the alphabet, and has no substitute there", bad, bad))
			return false
		}
	}
	return true
}

var placeholder = regexp.MustCompile(`^\{([a-z][a-z0-9_]*)(?:\|([a-z]+))?\}`)

// template compiles a text with placeholders. Use is told of each of them.
func (b *builder) template(w word, find func(string) (Var, bool), use func(string, word)) template {
	if !b.words(w) {
		return nil
	}
	var t template
	literal := 0
	for i := 0; i < len(w.s); i++ {
		if w.s[i] != '{' && w.s[i] != '}' {
			continue
		}
		m := placeholder.FindStringSubmatch(w.s[i:])
		if m == nil {
			b.fail(w.at(i), "a brace that is no {name} or {name|filter}")
			if n := strings.IndexAny(w.s[i+1:], "{}"); n >= 0 && w.s[i] == '{' && w.s[i+1+n] == '}' {
				i += 1 + n
			}
			continue
		}
		use(m[1], w.at(i))
		seg := segment{literal: w.s[literal:i], name: m[1], filter: filters[m[2]]}
		if m[2] != "" && seg.filter == plain {
			b.fail(w.at(i), "no filter "+quote(m[2])+"; the filters are local, naira and date")
		} else if v, ok := find(m[1]); ok {
			if !seg.filter.shows(v.Type) {
				b.fail(w.at(i), filterAdvice(m[1], v.Type))
			}
			seg.kind, seg.width = v.Type, seg.filter.width(v)
		}
		t = append(t, seg)
		i += len(m[0]) - 1
		literal = i + 1
	}
	return append(t, segment{literal: w.s[literal:]})
}

func filterAdvice(name string, t Type) string {
	switch t {
	case TypeSecret:
		return quote(name) + " is a secret and cannot be shown"
	case TypeMoney:
		return quote(name) + " is money: write {" + name + "|naira}"
	case TypeTime:
		return quote(name) + " is a time: write {" + name + "|date}"
	case TypeMSISDN:
		return quote(name) + " is a number: write {" + name + "} or {" + name + "|local}"
	}
	return quote(name) + " is text and takes no filter"
}

// width returns the most characters that a value takes.
func (f filter) width(v Var) int {
	if v.Type == TypeMSISDN && v.Width == nigerianWidth && f == plain {
		return len("2348031234567")
	}
	return v.Width
}

// measure reports a screen that is too long at its worst.
func (b *builder) measure(sc *screen, src *screenSource) {
	if len(sc.text) == 0 {
		return
	}
	pg := page{note: sc.mistake, text: sc.text.appendWidest(nil), lines: sc.lines}
	if sc.kind == endKind {
		pg.note = ""
	}
	if sc.list != nil {
		pg.more = sc.list.more
		pg.items = []string{string(sc.list.item.appendWidest(nil))}
	}
	b.fits("screen "+quote(sc.name), src.text, &pg)
	if sc.list != nil {
		pg.more, pg.items = "", []string{sc.list.empty}
		b.fits("screen "+quote(sc.name)+" with an empty list", src.text, &pg)
	}
}

// prepare renders a screen once that looks the same for everyone.
func (b *builder) prepare(sc *screen) {
	if len(sc.text) != 1 || sc.text[0].name != "" || sc.list != nil {
		return
	}
	pg := page{text: []byte(sc.text[0].literal), lines: sc.lines}
	text, fits := pg.on(b.opt.Medium)
	pg.note = sc.mistake
	mistaken, both := pg.on(b.opt.Medium)
	if fits && (both || sc.kind == endKind) {
		sc.ready, sc.mistaken = text, mistaken
	}
}

// fits reports a page that is too long, for the first medium where it is.
func (b *builder) fits(what string, at word, pg *page) {
	page := string(pg.append(nil))
	for m := range b.opt.media {
		units, bad := m.Cost(m.Fold(page))
		if bad != 0 || units <= m.Limit() {
			continue
		}
		text := fmt.Sprintf("%s takes %d units of %d", what, units, m.Limit())
		if pg.note != "" {
			text += ", with its error line above and the longest values"
		} else if strings.Contains(at.s, "{") {
			text += " with the longest values"
		}
		b.fail(at, text)
		return
	}
}
