package menus

import (
	"bytes"
	"slices"
)

// Service is one compiled service. It is immutable and safe for use by several
// goroutines.
type Service struct {
	name      string
	version   string
	codes     []string
	source    []byte
	medium    Medium
	maxInputs int
	texts     map[string]string
	start     *screen
	home      *frame // of the start, shared by all who are there
	screens   map[string]*screen
}

// Name returns the name in the file.
func (s *Service) Name() string { return s.name }

// Version returns the first 12 hexadecimal digits of the SHA-256 of the source.
func (s *Service) Version() string { return s.version }

// Codes returns the codes that reach the service, as "*999#".
func (s *Service) Codes() []string { return slices.Clone(s.codes) }

// Source returns the file that the service was compiled from.
func (s *Service) Source() []byte { return bytes.Clone(s.source) }

// Text returns one of the sentences that every service has, as the file has it:
// "invalid", "tries", "expired" or "busy". Other names give "".
func (s *Service) Text(name string) string { return s.texts[name] }

type kind uint8

const (
	noKind kind = iota
	menuKind
	inputKind
	actionKind
	endKind
)

var kinds = map[string]kind{"menu": menuKind, "input": inputKind, "action": actionKind, "end": endKind}

// screen is one compiled screen. Immutable.
type screen struct {
	name     string
	kind     kind
	text     template
	options  []option
	lines    string // the options as they are shown
	mistake  string // what a wrong answer is told
	attempts int
	input    *input
	next     target // of a right answer
	list     *list
	action   *action
	// ready and mistaken are the screen on the medium of the Options, without and
	// with its error line, if it looks the same for everyone; "" if it does not.
	ready, mistaken string
}

type option struct {
	key string
	to  target
	set []setting
	// fixed is what the settings come to, if they are the same for everyone.
	fixed []binding
}

// setting gives a variable a value: a literal, or a copy of another variable.
type setting struct {
	name  string
	value Value
	from  string // if set, the variable to copy
}

// target is where an edge leads: to a screen, back, or (neither) home.
type target struct {
	screen *screen
	back   bool
}

type list struct {
	of    string
	item  template
	empty string
	key   string // of the line that turns the page
	more  string // that line
}

type action struct {
	name     string
	final    bool
	params   []setting
	branches map[string]*branch
}

type branch struct {
	to      target
	reasons map[string]target
	gives   []give
}

// give is a variable that a result brings.
type give struct {
	name string
	Var
}
