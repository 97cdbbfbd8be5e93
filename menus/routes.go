package menus

import (
	"maps"
	"slices"
	"strings"
)

// routes checks what follows from all screens together: that each can be reached
// and left, has its variables and lists however it was reached, and takes no money
// that was not confirmed.
func (b *builder) routes() {
	b.listsArrive()
	b.actionLoops()
	b.confirmations()
	if b.service.start == nil {
		return
	}
	out := map[*screen][]*edge{}
	in := map[*screen][]*edge{}
	for i := range b.edges {
		e := &b.edges[i]
		out[e.from] = append(out[e.from], e)
		in[e.to] = append(in[e.to], e)
	}
	if !b.holed {
		b.strays(out, in)
	}
	if !b.hazy {
		b.unset(out)
	}
}

// strays reports the screens that cannot be reached, and those that cannot be left.
func (b *builder) strays(out, in map[*screen][]*edge) {
	reached := map[*screen]*edge{}
	reach(b.service.start, out, reached, func(*edge) bool { return true })
	exits := map[*screen]bool{}
	for _, sc := range b.order {
		if sc.kind == endKind {
			leave(sc, in, exits)
		}
	}
	for _, sc := range b.order {
		name := b.sources[sc].name
		if _, ok := reached[sc]; !ok {
			b.fail(name, "screen "+quote(sc.name)+" cannot be reached")
		} else if !exits[sc] {
			b.fail(name, "no end screen can be reached from "+quote(sc.name))
		}
	}
}

// reach notes every screen that can be reached from sc, and the edge that leads
// there on a shortest way.
func reach(sc *screen, out map[*screen][]*edge, reached map[*screen]*edge, may func(*edge) bool) {
	reached[sc] = nil
	for queue := []*screen{sc}; len(queue) > 0; queue = queue[1:] {
		for _, e := range out[queue[0]] {
			if _, ok := reached[e.to]; !ok && may(e) {
				reached[e.to] = e
				queue = append(queue, e.to)
			}
		}
	}
}

// leave notes every screen that sc can be reached from.
func leave(sc *screen, in map[*screen][]*edge, exits map[*screen]bool) {
	exits[sc] = true
	for queue := []*screen{sc}; len(queue) > 0; queue = queue[1:] {
		for _, e := range in[queue[0]] {
			if !exits[e.from] {
				exits[e.from] = true
				queue = append(queue, e.from)
			}
		}
	}
}

// unset reports each use of a variable that a way from the start does not set, with
// a shortest such way.
func (b *builder) unset(out map[*screen][]*edge) {
	without := map[string]map[*screen]*edge{}
	for _, u := range b.uses {
		if u.name == caller {
			continue
		}
		reached := without[u.name]
		if reached == nil {
			reached = map[*screen]*edge{}
			reach(b.service.start, out, reached, func(e *edge) bool { return !sets(e, u.name) })
			without[u.name] = reached
		}
		e, ok := reached[u.screen]
		if !ok {
			continue
		}
		way := u.screen.name
		for ; e != nil; e = reached[e.from] {
			way = e.from.name + " > " + way
		}
		b.fail(u.at, quote(u.name)+" is not set on the way "+way)
	}
}

func sets(e *edge, name string) bool {
	for _, set := range e.sets {
		if set == name {
			return true
		}
	}
	return false
}

// listsArrive reports every way to a list screen that does not bring its list.
func (b *builder) listsArrive() {
	start := b.service.start
	if start != nil && start.list != nil {
		b.fail(b.doc.start, "the start cannot show the list "+quote(start.list.of)+": no action has given it")
	}
	for _, e := range b.edges {
		if e.to.list == nil || e.to == start {
			continue
		}
		if _, ok := e.lists[e.to.list.of]; !ok {
			b.fail(e.at, "screen "+quote(e.to.name)+" shows the list "+quote(e.to.list.of)+", which is not given on this way")
		}
	}
}

// confirmations reports every way to a final action that takes money, unless it
// comes from a menu that shows the amount and the number as the action gets them.
func (b *builder) confirmations() {
	for _, e := range b.edges {
		do := e.to.action
		if do == nil || !do.final {
			continue
		}
		params := b.opt.Actions[do.name].Params
		if !slices.Contains(slices.Collect(maps.Values(params)), TypeMoney) {
			continue
		}
		for _, p := range do.params {
			if t := params[p.name]; t != TypeMoney && t != TypeMSISDN {
				continue
			}
			if e.from.kind != menuKind || !e.from.text.shows(p.from) || sets(&e, p.from) {
				b.fail(e.at, "screen "+quote(e.to.name)+" takes money: only a menu may lead there that shows the variable of "+quote(p.name)+", and leaves it as it is")
			}
		}
	}
}

// actionLoops reports actions that follow each other for ever.
func (b *builder) actionLoops() {
	const onWay, done = 1, 2
	next := map[*screen][]*screen{}
	for _, e := range b.edges {
		if e.from.kind == actionKind && e.to.kind == actionKind {
			next[e.from] = append(next[e.from], e.to)
		}
	}
	marks := map[*screen]int{}
	var walk func(sc *screen, way []string)
	walk = func(sc *screen, way []string) {
		way = append(way, sc.name)
		marks[sc] = onWay
		for _, to := range next[sc] {
			switch marks[to] {
			case onWay:
				b.fail(b.sources[sc].name, "actions follow each other without a screen: "+strings.Join(append(way, to.name), " > "))
			case 0:
				walk(to, way)
			}
		}
		marks[sc] = done
	}
	for _, sc := range b.order {
		if marks[sc] == 0 && len(next[sc]) > 0 {
			walk(sc, nil)
		}
	}
}
