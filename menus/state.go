package menus

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// State is where a subscriber is in a service: the screens that led there, what
// was set on the way, and counts. The zero State is nowhere. It is a value: a step
// never changes the state that it is given.
//
// As JSON it keeps its meaning for as long as the service has the same version.
// Secrets are left out, so a restored state has forgotten them.
type State struct {
	version string
	top     *frame
	visits  uint32 // effects so far
	inputs  uint16 // answers so far
	wrong   uint8  // wrong answers in a row
	ended   bool
}

// Screen returns the name of the screen that the subscriber is at, "" for the zero
// State.
func (st State) Screen() string {
	if st.top == nil {
		return ""
	}
	return st.top.screen
}

// String returns the name of the screen, so that a log never has the values.
func (st State) String() string { return st.Screen() }

// GoString returns String.
func (st State) GoString() string { return st.String() }

// frame is a screen on the way, and what was set on coming there. Frames are
// immutable, and shared by the states that have the same way behind them.
type frame struct {
	prev   *frame
	screen string
	set    []binding
	list   *listing
}

type binding struct {
	name  string
	value Value
}

// listing is the list that a screen shows, and the page that it is at.
type listing struct {
	rows  []string
	first int
	next  int // row that the next page begins with; 0 on the last page
}

func (f *frame) lookup(name string) (Value, bool) {
	for ; f != nil; f = f.prev {
		for i := range f.set {
			if f.set[i].name == name {
				return f.set[i].value, true
			}
		}
	}
	return Value{}, false
}

// flat returns everything that is set, each name once.
func (f *frame) flat() []binding {
	var all []binding
	for ; f != nil; f = f.prev {
		all = merge(f.set, all)
	}
	return all
}

// merge returns the older bindings, changed and added to by the newer ones.
func merge(older, newer []binding) []binding {
	if len(older) == 0 {
		return newer
	}
	if len(newer) == 0 {
		return older
	}
	all := make([]binding, len(older), len(older)+len(newer))
	copy(all, older)
	for _, b := range newer {
		if i := indexOf(all[:len(older)], b.name); i >= 0 {
			all[i] = b
		} else {
			all = append(all, b)
		}
	}
	return all
}

func indexOf(set []binding, name string) int {
	for i := range set {
		if set[i].name == name {
			return i
		}
	}
	return -1
}

// Bounds of what a stored state may claim.
const (
	maxStateJSON = 256 << 10
	maxStored    = 2 << 10 // bytes of a value, or of a row
	maxVisits    = math.MaxUint32 / 2
)

type stateJSON struct {
	Version string      `json:"version"`
	Way     []frameJSON `json:"way"`
	Inputs  uint16      `json:"inputs,omitempty"`
	Visits  uint32      `json:"visits,omitempty"`
	Wrong   uint8       `json:"wrong,omitempty"`
	Ended   bool        `json:"ended,omitempty"`
}

type frameJSON struct {
	Screen string            `json:"screen"`
	Set    map[string]string `json:"set,omitempty"` // "m:10000", the first letter is the type; "" is unset
	Rows   []string          `json:"rows,omitempty"`
	First  int               `json:"first,omitempty"`
	Next   int               `json:"next,omitempty"`
}

// letters are the types as they are stored. A secret has none.
const letters = " tmpd"

// MarshalJSON returns the state without its secrets. Equal states give equal
// bytes.
func (st State) MarshalJSON() ([]byte, error) { return st.AppendJSON(nil), nil }

// AppendJSON appends what MarshalJSON returns.
func (st State) AppendJSON(b []byte) []byte {
	b = appendString(append(b, `{"version":`...), st.version)
	b = append(st.top.appendWay(append(b, `,"way":[`...)), ']')
	for _, count := range [...]struct {
		name string
		n    uint32
	}{{`,"inputs":`, uint32(st.inputs)}, {`,"visits":`, st.visits}, {`,"wrong":`, uint32(st.wrong)}} {
		if count.n != 0 {
			b = strconv.AppendUint(append(b, count.name...), uint64(count.n), 10)
		}
	}
	if st.ended {
		b = append(b, `,"ended":true`...)
	}
	return append(b, '}')
}

// appendWay appends the frames up to this one, the oldest first.
func (f *frame) appendWay(b []byte) []byte {
	if f == nil {
		return b
	}
	if f.prev != nil {
		b = append(f.prev.appendWay(b), ',')
	}
	b = appendString(append(b, `{"screen":`...), f.screen)
	if set := f.kept(); len(set) > 0 {
		for i, bound := range set {
			if i == 0 {
				b = append(b, `,"set":{`...)
			} else {
				b = append(b, ',')
			}
			b = append(appendString(b, bound.name), ':')
			b = appendString(b, bound.value.form())
		}
		b = append(b, '}')
	}
	if f.list != nil && len(f.list.rows) > 0 {
		for i, row := range f.list.rows {
			if i == 0 {
				b = append(b, `,"rows":[`...)
			} else {
				b = append(b, ',')
			}
			b = appendString(b, row)
		}
		b = append(b, ']')
		if f.list.first != 0 {
			b = strconv.AppendInt(append(b, `,"first":`...), int64(f.list.first), 10)
		}
		if f.list.next != 0 {
			b = strconv.AppendInt(append(b, `,"next":`...), int64(f.list.next), 10)
		}
	}
	return append(b, '}')
}

// kept returns what is stored of the bindings, by name.
func (f *frame) kept() []binding {
	secret := func(b binding) bool { return b.value.kind == TypeSecret }
	byName := func(a, b binding) int { return strings.Compare(a.name, b.name) }
	if slices.IsSortedFunc(f.set, byName) && !slices.ContainsFunc(f.set, secret) {
		return f.set
	}
	set := slices.DeleteFunc(slices.Clone(f.set), secret)
	slices.SortFunc(set, byName)
	return set
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string has no error
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// UnmarshalJSON restores a state. It checks the form alone; whether the state
// means anything is for the service to say, in its next step.
func (st *State) UnmarshalJSON(data []byte) error {
	if len(data) > maxStateJSON {
		return errors.New("menus: state too long")
	}
	var form stateJSON
	if err := json.Unmarshal(data, &form); err != nil {
		return fmt.Errorf("menus: state: %w", err)
	}
	if form.Inputs > maxInputs+1 || form.Visits > maxVisits || form.Wrong > maxAttempts {
		return errors.New("menus: state: a count is too high")
	}
	restored := State{
		version: form.Version,
		visits:  form.Visits,
		inputs:  form.Inputs,
		wrong:   form.Wrong,
		ended:   form.Ended,
	}
	for _, fj := range form.Way {
		f := &frame{prev: restored.top, screen: fj.Screen}
		for _, name := range sortedKeys(fj.Set) {
			value, ok := parseValue(fj.Set[name])
			if !ok || len(value.s) > maxStored {
				return fmt.Errorf("menus: state: %s of screen %s is not a value", quote(name), quote(fj.Screen))
			}
			f.set = append(f.set, binding{name, value})
		}
		if len(fj.Rows) > 0 {
			pages := fj.First >= 0 && fj.First < len(fj.Rows) && fj.Next >= 0 && fj.Next < len(fj.Rows)
			long := slices.ContainsFunc(fj.Rows, func(row string) bool { return len(row) > maxStored })
			if !pages || long || len(fj.Rows) > maxRows {
				return fmt.Errorf("menus: state: the list of screen %s is not one", quote(fj.Screen))
			}
			f.list = &listing{fj.Rows, fj.First, fj.Next}
		}
		restored.top = f
	}
	*st = restored
	return nil
}

// form returns the value as it is stored.
func (v Value) form() string {
	switch v.kind {
	case 0:
		return ""
	case TypeMoney, TypeTime:
		return letters[v.kind:v.kind+1] + ":" + strconv.FormatInt(v.n, 10)
	}
	return letters[v.kind:v.kind+1] + ":" + v.s
}

func parseValue(s string) (Value, bool) {
	if s == "" {
		return Value{}, true
	}
	letter, content, ok := strings.Cut(s, ":")
	if !ok || len(letter) != 1 {
		return Value{}, false
	}
	v := Value{kind: Type(strings.IndexByte(letters, letter[0]))}
	switch v.kind {
	case TypeText, TypeMSISDN:
		v.s = content
		return v, true
	case TypeMoney, TypeTime:
		n, err := strconv.ParseInt(content, 10, 64)
		v.n = n
		return v, err == nil
	}
	return Value{}, false
}
