package menus

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Medium is what a text is shown on. Implementations must be safe for use by
// several goroutines, comparable, and equal only if they show every text alike:
// what is always the same is rendered once, on the one of [Options].
type Medium interface {
	// Fold returns s as the handset will show it, transliterated to what the
	// alphabet has.
	Fold(s string) string
	// Cost returns the units that a folded text takes, and the first character
	// that cannot be sent even so, 0 if there is none.
	Cost(s string) (units int, bad rune)
	// Limit returns the units that fit in one screen.
	Limit() int
}

// Options are what services are checked against.
type Options struct {
	Actions map[string]ActionSpec // by name
	Medium  Medium                // what the services are shown on unless Env names another; required
	Others  []Medium              // what they are shown on, too: every text must fit on each
}

// media goes through everything that the services are shown on.
func (opt Options) media(yield func(Medium) bool) {
	if yield(opt.Medium) {
		slices.Values(opt.Others)(yield)
	}
}

// ActionSpec declares something that the program can do for a service.
type ActionSpec struct {
	Params   map[string]Type           // what it takes, all of them required
	Gives    map[string]Var            // variables that its result sets
	Lists    map[string]map[string]Var // lists that its result brings: name → fields of a row
	Outcomes []string                  // how it can end; a service has a branch for each
	Reasons  map[string][]string       // outcome → reasons that a branch may tell apart
	// Final says that once done there is no way back to what led to it. If it takes
	// money, too, only a menu that shows its amount and its number can lead to it.
	Final bool
}

// Var is a variable that an action sets, or a field of a list's row.
type Var struct {
	Type Type
	// Width is how many characters it takes on a screen at most, 1 to 200. A text
	// is cut to it. Required for text and money. An msisdn has 11 if it is always a
	// Nigerian number; 0 leaves room for any. Times know their own.
	Width int
	// On lists the outcomes that set the variable; nil means all. Not for fields.
	On []string
}

// maxWidth bounds what a value may claim of a screen.
const maxWidth = 200

var (
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	codePattern = regexp.MustCompile(`^\*[0-9]+(\*[0-9]+)*#$`)
	keyPattern  = regexp.MustCompile(`^[0-9*#]{1,3}$`)
)

// check tells what is wrong with the program's own declarations.
func (opt Options) check() error {
	if opt.Medium == nil {
		return errors.New("menus: Options without a Medium")
	}
	if !reflect.ValueOf(opt.Medium).Comparable() {
		return fmt.Errorf("menus: a Medium of type %T cannot be compared", opt.Medium)
	}
	var wrong []error
	lists := map[string]map[string]Var{}
	for _, name := range sortedKeys(opt.Actions) {
		spec := opt.Actions[name]
		fail := func(format string, args ...any) {
			wrong = append(wrong, fmt.Errorf("menus: action %s: "+format, append([]any{name}, args...)...))
		}
		if !namePattern.MatchString(name) {
			fail("not a name")
		}
		if len(spec.Outcomes) == 0 {
			fail("no outcomes")
		}
		for outcome := range spec.Reasons {
			if !slices.Contains(spec.Outcomes, outcome) {
				fail("reasons of an unknown outcome %s", outcome)
			}
		}
		for param, t := range spec.Params {
			if t < TypeText || t > TypeSecret {
				fail("parameter %s: no type", param)
			}
		}
		vars := func(where string, set map[string]Var) {
			for _, field := range sortedKeys(set) {
				v := set[field]
				switch {
				case !namePattern.MatchString(field) || field == caller:
					fail("%s%s: not a name", where, field)
				case v.Type < TypeText || v.Type > TypeTime:
					fail("%s%s: not a type to give", where, field)
				case (v.Type == TypeText || v.Type == TypeMoney) && (v.Width < 1 || v.Width > maxWidth):
					fail("%s%s: a width is 1 to %d", where, field, maxWidth)
				}
				for _, outcome := range v.On {
					if !slices.Contains(spec.Outcomes, outcome) {
						fail("%s%s: unknown outcome %s", where, field, outcome)
					}
				}
			}
		}
		vars("", spec.Gives)
		for _, list := range sortedKeys(spec.Lists) {
			vars(list+".", spec.Lists[list])
			if lists[list] != nil && !reflect.DeepEqual(lists[list], spec.Lists[list]) {
				fail("list %s has other fields in another action", list)
			}
			lists[list] = spec.Lists[list]
		}
	}
	return errors.Join(wrong...)
}

// Catalogue is a set of services that are served together. It is immutable and
// safe for use by several goroutines.
type Catalogue struct {
	services []*Service          // by name
	codes    map[string]*Service // code without its '#'
}

// Load reads and compiles every *.yaml of fsys. If any of them has a mistake, or
// there is a *.yml, it returns [Problems], all there are; other errors are a
// directory that cannot be read and Options that contradict themselves.
func Load(fsys fs.FS, opt Options) (*Catalogue, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	var files []string
	var problems Problems
	for _, entry := range entries {
		switch name := entry.Name(); {
		case entry.IsDir():
		case strings.HasSuffix(name, ".yaml"):
			files = append(files, name)
		case strings.HasSuffix(name, ".yml"):
			problems = append(problems, Problem{File: name, Text: "name it .yaml"})
		}
	}
	if len(files) == 0 && len(problems) == 0 {
		return nil, errors.New("list services: no *.yaml file")
	}
	c := &Catalogue{codes: map[string]*Service{}}
	names, codes := map[string]string{}, map[string]string{} // → file
	for _, file := range files {
		source, err := fs.ReadFile(fsys, file)
		if err != nil {
			problems = append(problems, Problem{File: file, Text: err.Error()})
			continue
		}
		b := compile(source, file, opt)
		problems = append(problems, b.problems...)
		if b.doc == nil {
			continue
		}
		if name := b.doc.service; name.given() {
			if other, ok := names[name.s]; ok {
				problems = append(problems, Problem{file, name.line, name.path, "service " + quote(name.s) + " is in " + other + " already"})
			}
			names[name.s] = file
		}
		for _, code := range b.doc.codes {
			if other, ok := codes[code.s]; ok && other != file {
				problems = append(problems, Problem{file, code.line, code.path, "code " + quote(code.s) + " is in " + other + " already"})
			}
			codes[code.s] = file
			c.codes[strings.TrimSuffix(code.s, "#")] = b.service
		}
		c.services = append(c.services, b.service)
	}
	if len(problems) > 0 {
		problems.sort()
		return nil, problems
	}
	slices.SortFunc(c.services, func(a, b *Service) int { return strings.Compare(a.name, b.name) })
	return c, nil
}

// Compile compiles one service again from its source, as a session needs that
// began under an older version of it. File is what problems call the source. The
// error is [Problems], or tells what is wrong with opt.
func Compile(source []byte, file string, opt Options) (*Service, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	b := compile(source, file, opt)
	if len(b.problems) > 0 {
		b.problems.sort()
		return nil, b.problems
	}
	return b.service, nil
}

// Match returns the service for what a subscriber dialled. A service of *999# also
// has *999*1*2#, unless another one has a longer code that fits.
func (c *Catalogue) Match(dialled string) (*Service, bool) {
	rest, ok := strings.CutSuffix(dialled, "#")
	for ok && rest != "" {
		if s := c.codes[rest]; s != nil {
			return s, true
		}
		i := strings.LastIndexByte(rest, '*')
		if i < 0 {
			break
		}
		rest = rest[:i]
	}
	return nil, false
}

// Service returns a service by its name and version, if this is the version that
// the catalogue has.
func (c *Catalogue) Service(name, version string) (*Service, bool) {
	for _, s := range c.services {
		if s.name == name && s.version == version {
			return s, true
		}
	}
	return nil, false
}

// Services returns all services by name.
func (c *Catalogue) Services() []*Service { return slices.Clone(c.services) }

// versionOf is the version of a source: the first 12 hexadecimal digits of its
// SHA-256.
func versionOf(source []byte) string {
	sum := sha256.Sum256(source)
	return hex.EncodeToString(sum[:6])
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
