package menus

import (
	"math"
	"slices"
	"unicode/utf8"
)

// Bounds of the list that a state keeps; what is beyond is not shown.
const (
	maxRows = 50
	maxRow  = 400 // characters
)

// trim returns a value as it is kept: without control characters, and a text no
// longer than declared.
func (v Var) trim(value Value) Value {
	switch value.kind {
	case TypeText:
		value.s = cut(clean(value.s), v.Width)
	case TypeMSISDN:
		value.s = cut(clean(value.s), foreignWidth)
	}
	return value
}

// rows returns the lines of a list. A field that a row lacks is left empty.
func (l *list) rows(rows []map[string]Value) []string {
	rows = rows[:min(len(rows), maxRows)]
	lines := make([]string, len(rows))
	for i, row := range rows {
		var b []byte
		for _, seg := range l.item {
			b = append(b, seg.literal...)
			if v := row[seg.name]; v.kind == seg.kind && seg.name != "" {
				b = Var{Width: seg.width}.trim(v).appendShown(b, seg.filter, seg.width)
			}
		}
		lines[i] = cut(string(b), maxRow)
	}
	return lines
}

// page returns the state with the list of its screen at another page.
func (st State) page(first, next int) State {
	top := *st.top
	top.list = &listing{rows: top.list.rows, first: first, next: next}
	st.top = &top
	return st
}

// show shows the screen that the state is at.
func (w walk) show(st State, sc *screen, note string) Turn {
	if sc.ready == "" || w.env.Medium != w.medium {
		return w.render(st, sc, note)
	}
	turn := Turn{State: st, Text: sc.ready}
	if note != "" {
		turn.Text = sc.mistaken
	}
	if sc.kind == endKind {
		turn.State.ended, turn.End, turn.EndReason = true, true, EndCompleted
	}
	return turn
}

// render makes the text of the screen that the state is at.
func (w walk) render(st State, sc *screen, note string) Turn {
	pg := page{note: note, lines: sc.lines}
	values := func(name string) (Value, bool) {
		if name == caller {
			return w.caller(), true
		}
		return st.top.lookup(name)
	}
	var room [256]byte
	body, ok := sc.text.append(room[:0], values, math.MaxInt)
	if !ok {
		return w.stop(st, "busy", EndError)
	}
	pg.text = body
	if sc.list != nil {
		if st, text, ok := w.showList(st, sc, &pg); ok {
			return Turn{State: st, Text: text}
		}
		return w.stop(st, "busy", EndError)
	}
	text, fits := pg.on(w.env.Medium)
	if !fits {
		text, fits = w.squeeze(sc, &pg, values)
	}
	if sc.kind == endKind {
		if !fits {
			text = clipped(string(pg.text), w.env.Medium)
		}
		st.ended = true
		return Turn{State: st, Text: text, End: true, EndReason: EndCompleted}
	}
	if !fits {
		return w.stop(st, "busy", EndError)
	}
	return Turn{State: st, Text: text}
}

// squeeze shortens the texts among a page's values until it fits, then leaves the
// error line out. It is false if the page does not fit even so.
func (w walk) squeeze(sc *screen, pg *page, values scope) (string, bool) {
	longest := 0
	for _, seg := range sc.text {
		if v, ok := values(seg.name); ok && v.kind == TypeText {
			longest = max(longest, min(seg.width, len(v.s)))
		}
	}
	full := pg.text
	for {
		for widest := longest; widest >= 0; widest-- {
			pg.text, _ = sc.text.append(nil, values, widest)
			if text, fits := pg.on(w.env.Medium); fits {
				return text, true
			}
		}
		if pg.note == "" {
			pg.text = full
			return "", false
		}
		pg.note = ""
	}
}

// showList renders the page that the state is at, and says in the state where the
// next one begins. No row is split; one that is too long for a page of its own is
// cut. It is false if nothing fits.
func (w walk) showList(st State, sc *screen, pg *page) (State, string, bool) {
	if st.top.list == nil || len(st.top.list.rows) == 0 {
		_, text := pg.fill([]string{sc.list.empty}, sc.list.more, w.env.Medium)
		return st, text, text != ""
	}
	all, first := st.top.list.rows, st.top.list.first
	rows := all[first:]
	n, text := pg.fill(rows, sc.list.more, w.env.Medium)
	if n == 0 {
		rows = slices.Clone(rows)
	}
	for n == 0 && rows[0] != "" {
		_, size := utf8.DecodeLastRuneInString(rows[0])
		rows[0] = rows[0][:len(rows[0])-size]
		n, text = pg.fill(rows, sc.list.more, w.env.Medium)
	}
	next := first + n
	if next == len(all) {
		next = 0
	}
	return st.page(first, next), text, n > 0
}
