package menus

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// caller is the variable that is always set: who dialled.
const caller = "caller"

// template is a text with placeholders. Immutable.
type template []segment

// segment is a literal followed by a placeholder, the last one without.
type segment struct {
	literal string
	name    string
	kind    Type
	filter  filter
	width   int // the most characters that the value takes
}

// scope finds the value of a name.
type scope func(name string) (Value, bool)

// append appends the text with its values, each once and as it is. No text among
// them gets more than widest characters. It is false if a value is missing or of
// another type.
func (t template) append(b []byte, values scope, widest int) ([]byte, bool) {
	for i := range t {
		seg := &t[i]
		b = append(b, seg.literal...)
		if seg.name == "" {
			continue
		}
		v, ok := values(seg.name)
		if !ok || v.kind != seg.kind {
			return b, false
		}
		b = v.appendShown(b, seg.filter, min(seg.width, widest))
	}
	return b, true
}

// shows reports whether a variable is among the placeholders.
func (t template) shows(name string) bool {
	return name != "" && slices.ContainsFunc(t, func(seg segment) bool { return seg.name == name })
}

// appendWidest appends the text as long as its values can make it.
func (t template) appendWidest(b []byte) []byte {
	for _, seg := range t {
		b = append(b, seg.literal...)
		for range seg.width {
			b = append(b, 'W')
		}
	}
	return b
}

// page is one screen of a subscriber, as parts.
type page struct {
	note  string   // error line above the text
	text  []byte   // of the screen
	items []string // of its list
	more  string   // line that turns the page
	lines string   // options
}

// append puts the parts together, with an empty line between them.
func (pg *page) append(b []byte) []byte {
	if pg.note != "" {
		b = append(append(b, pg.note...), "\n\n"...)
	}
	b = append(b, pg.text...)
	gap := "\n\n"
	for _, item := range pg.items {
		b = append(append(b, gap...), item...)
		gap = "\n"
	}
	gap = "\n\n"
	for _, line := range [...]string{pg.more, pg.lines} {
		if line != "" {
			b = append(append(b, gap...), line...)
			gap = "\n"
		}
	}
	return b
}

// on returns the page as the medium shows it, and whether it fits.
func (pg *page) on(m Medium) (string, bool) {
	var room [512]byte
	return shown(string(pg.append(room[:0])), m)
}

// fill puts as many rows on the page as fit, with the line that turns the page if
// some are left, and returns how many and the text. If there is no room for one
// row, the error line gives way.
func (pg *page) fill(rows []string, more string, m Medium) (int, string) {
	pg.items, pg.more = rows, ""
	if text, fits := pg.on(m); fits {
		return len(rows), text
	}
	pg.more = more
	n, text := 0, ""
	for n+1 < len(rows) {
		pg.items = rows[:n+1]
		longer, fits := pg.on(m)
		if !fits {
			break
		}
		n, text = n+1, longer
	}
	if n == 0 && pg.note != "" {
		pg.note = ""
		return pg.fill(rows, more, m)
	}
	return n, text
}

// shown returns a text as the medium shows it, with a question mark for what it
// cannot, and whether it fits.
func shown(text string, m Medium) (string, bool) {
	if strings.IndexByte(text, 0) >= 0 { // which Cost could not name
		text = strings.ReplaceAll(text, "\x00", "?")
	}
	text = m.Fold(text)
	units, bad := m.Cost(text)
	if bad != 0 {
		for units, bad = m.Cost(text); bad != 0; units, bad = m.Cost(text) {
			substitute := "?"
			if bad == '?' {
				substitute = ""
			}
			before := text
			if text = strings.ReplaceAll(text, string(bad), substitute); text == before {
				return "", false
			}
		}
	}
	return text, units <= m.Limit()
}

// clipped returns a text as the medium shows it, without the last lines if they
// do not fit; if the first does not either it is cut.
func clipped(text string, m Medium) string {
	for {
		folded, ok := shown(text, m)
		if ok {
			return folded
		}
		i := strings.LastIndexByte(text, '\n')
		if i < 0 {
			_, size := utf8.DecodeLastRuneInString(text)
			i = len(text) - size
		}
		if i <= 0 {
			return ""
		}
		text = strings.TrimRight(text[:i], "\n")
	}
}
