package menus

import "strings"

// Input is one thing that happens to a subscriber: [Start], [Answer] or [Result].
type Input struct {
	kind    inputType
	text    string
	outcome string
	reason  string
	vars    map[string]Value
	lists   map[string][]map[string]Value
}

type inputType uint8

const (
	noInput inputType = iota
	startInput
	answerInput
	resultInput
)

// Start is the first input of a session. The state given with it does not matter.
func Start() Input { return Input{kind: startInput} }

// Answer is what the subscriber typed.
func Answer(text string) Input { return Input{kind: answerInput, text: text} }

// Result is how an [Effect] ended: one of the action's outcomes, a reason or "",
// and what its [ActionSpec] says that it gives. A variable that is missing or has
// another type counts as unset. Step does not keep the maps.
func Result(outcome, reason string, vars map[string]Value, lists map[string][]map[string]Value) Input {
	return Input{kind: resultInput, outcome: outcome, reason: reason, vars: vars, lists: lists}
}

// Env is what a step has to know of the world.
type Env struct {
	Caller string // MSISDN of the subscriber, E.164 digits
	Medium Medium // of the link; nil means the one of [Options]
}

// Turn is what comes of a step: a text to show or an effect to perform.
type Turn struct {
	State     State
	Text      string  // ready to send: folded, and fits the medium; "" if Effect is set
	End       bool    // the text is the last one
	EndReason string  // if End is set, one of the End constants
	Effect    *Effect // if set, perform it, then step on with its Result
	// Secret says that the answer just given was a secret or may be one: it must
	// be neither logged nor stored.
	Secret bool
}

// Why a session ended.
const (
	EndCompleted     = "completed"       // at an end screen
	EndTooManyErrors = "too_many_errors" // wrong answers in a row
	EndTooManyInputs = "too_many_inputs" // max_inputs of the service
	EndExpired       = "expired"         // the state has ended, or is not of this version of the service
	EndError         = "error"           // an outcome that the action does not declare, a value that is missing, a screen that does not fit
)

// Effect is an action for the caller to perform.
type Effect struct {
	Action string
	Args   map[string]Value // by parameter, all that the ActionSpec names
	// Visit numbers the effects of a session from 1. With the session's id it makes
	// a key for idempotency: an effect that is given again has the same number.
	Visit  int
	Screen string // name of the action screen
}

// Step returns what comes of an input. It is pure and total: see the package
// comment.
func (s *Service) Step(st State, in Input, env Env) Turn {
	if env.Medium == nil {
		env.Medium = s.medium
	}
	w := walk{s, env}
	switch in.kind {
	case startInput:
		return w.home(State{version: s.version})
	case answerInput:
		return w.answer(st, strings.TrimSpace(in.text))
	case resultInput:
		return w.result(st, in)
	}
	return w.stop(st, "busy", EndError)
}

// walk is one step of one subscriber.
type walk struct {
	*Service
	env Env
}

// place returns the screen that a state is at, nil if it is at none of this
// service.
func (w walk) place(st State) *screen {
	if st.top == nil || st.ended || st.version != w.version {
		return nil
	}
	return w.screens[st.top.screen]
}

func (w walk) answer(st State, text string) Turn {
	sc := w.place(st)
	if sc == nil || sc.kind == endKind {
		turn := w.stop(st, "expired", EndExpired)
		turn.Secret = true
		return turn
	}
	st.inputs++
	var option *option
	for i := range sc.options {
		if sc.options[i].key == text {
			option = &sc.options[i]
		}
	}
	var turn Turn
	switch {
	case int(st.inputs) > w.maxInputs:
		turn = w.stop(st, "expired", EndTooManyInputs)
	case sc.kind == actionKind:
		turn = w.perform(st, sc)
	case option != nil:
		turn = w.choose(st, sc, option)
	case sc.list != nil && sc.list.key == text && st.top.list != nil && st.top.list.next > 0:
		st.wrong = 0
		turn = w.show(st.page(st.top.list.next, 0), sc, "")
	default:
		turn = w.read(st, sc, text)
	}
	turn.Secret = sc.kind == actionKind || option == nil && sc.input != nil && sc.input.secret
	return turn
}

// read takes a typed answer.
func (w walk) read(st State, sc *screen, text string) Turn {
	if sc.input == nil {
		return w.mistake(st, sc)
	}
	value, ok := sc.input.read(text)
	if !ok {
		return w.mistake(st, sc)
	}
	return w.follow(st, sc.next, []binding{{sc.input.store, value}})
}

func (w walk) mistake(st State, sc *screen) Turn {
	st.wrong++
	if int(st.wrong) >= sc.attempts {
		return w.stop(st, "tries", EndTooManyErrors)
	}
	return w.show(st, sc, sc.mistake)
}

// choose follows an option. One that sets what the screen asks for is held to the
// same rules as a typed answer.
func (w walk) choose(st State, sc *screen, o *option) Turn {
	set := o.fixed
	if set == nil && o.set != nil {
		set = make([]binding, len(o.set))
		for i, setting := range o.set {
			value, ok := w.value(st, setting)
			if !ok {
				return w.stop(st, "busy", EndError)
			}
			if sc.input != nil && sc.input.store == setting.name && sc.input.reads == readMSISDN {
				if value, ok = sc.input.read(value.s); !ok {
					return w.mistake(st, sc)
				}
			}
			set[i] = binding{setting.name, value}
		}
	}
	return w.follow(st, o.to, set)
}

// value returns what a setting comes to.
func (w walk) value(st State, s setting) (Value, bool) {
	switch s.from {
	case "":
		return s.value, true
	case caller:
		return w.caller(), true
	}
	v, ok := st.top.lookup(s.from)
	return v, ok && v.kind == s.value.kind
}

func (w walk) caller() Value { return MSISDN(cut(clean(w.env.Caller), foreignWidth)) }

// follow goes where an edge leads.
func (w walk) follow(st State, to target, set []binding) Turn {
	st.wrong = 0
	if to.screen != nil {
		st.top = st.top.enter(to.screen.name, set)
		return w.arrive(st, to.screen)
	}
	if !to.back || st.top.prev == nil {
		return w.home(st)
	}
	st.top = st.top.prev
	sc := w.place(st)
	if sc == nil || sc.kind == actionKind || sc.kind == endKind {
		return w.stop(st, "expired", EndExpired)
	}
	return w.arrive(st, sc)
}

func (w walk) home(st State) Turn {
	st.wrong = 0
	st.top = w.Service.home
	return w.arrive(st, w.start)
}

// enter returns the frame of the next screen. A screen that leads to itself stays
// one place on the way.
func (f *frame) enter(name string, set []binding) *frame {
	if f.screen == name {
		return &frame{prev: f.prev, screen: name, set: merge(f.set, set)}
	}
	return &frame{prev: f, screen: name, set: set}
}

// arrive shows a screen that was just entered, or asks for its action.
func (w walk) arrive(st State, sc *screen) Turn {
	if sc.kind == actionKind {
		if st.visits >= maxVisits {
			return w.stop(st, "expired", EndTooManyInputs)
		}
		st.visits++
		return w.perform(st, sc)
	}
	return w.show(st, sc, "")
}

// perform asks for the action of a screen. Asking again for the same visit gives
// the same effect.
func (w walk) perform(st State, sc *screen) Turn {
	args := make(map[string]Value, len(sc.action.params))
	for _, param := range sc.action.params {
		value, ok := w.value(st, param)
		if !ok && param.value.kind == TypeSecret {
			return w.stop(st, "expired", EndExpired) // forgotten
		}
		if !ok {
			return w.stop(st, "busy", EndError)
		}
		args[param.name] = value
	}
	return Turn{State: st, Effect: &Effect{sc.action.name, args, int(st.visits), sc.name}}
}

// result leaves an action screen by the branch of its outcome.
func (w walk) result(st State, in Input) Turn {
	sc := w.place(st)
	if sc == nil {
		return w.stop(st, "expired", EndExpired)
	}
	if sc.kind != actionKind {
		return w.stop(st, "busy", EndError)
	}
	branch := sc.action.branches[in.outcome]
	if branch == nil {
		return w.stop(st, "busy", EndError)
	}
	var gives []binding
	for _, give := range branch.gives {
		value := in.vars[give.name]
		if value.kind != give.Type {
			value = Value{} // whatever needs it fails; it must not find an older one
		}
		gives = append(gives, binding{give.name, give.trim(value)})
	}
	to := branch.to
	if reason, ok := branch.reasons[in.reason]; ok {
		to = reason
	}
	if to.screen == nil {
		return w.home(st)
	}
	st.wrong = 0
	// The action itself is no place on the way: the next screen stands where it
	// stood, or alone if there is no way back.
	set := merge(st.top.set, gives)
	switch before := st.top.prev; {
	case sc.action.final:
		st.top = &frame{screen: to.screen.name, set: merge(st.top.flat(), gives)}
	case before != nil:
		st.top = before.enter(to.screen.name, set)
	default:
		st.top = &frame{screen: to.screen.name, set: set}
	}
	if l := to.screen.list; l != nil {
		st.top.list = &listing{rows: l.rows(in.lists[l.of])}
	}
	return w.arrive(st, to.screen)
}

// stop ends a session with one of the service's sentences.
func (w walk) stop(st State, text, reason string) Turn {
	st.ended = true
	return Turn{State: st, Text: clipped(w.texts[text], w.env.Medium), End: true, EndReason: reason}
}
