package smpptest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Script is a set of dialogues to be played, read from YAML:
//
//	dialect: standard                # what the gateway must speak; left out: anything
//	service: "*999#"                 # whom every begin is for; left out: taken from what is dialled
//	parallel: true                   # all handsets at once; left out: one after another
//	faults: [withhold-resp]          # they strike these handsets, at each of their occasions
//	handsets:
//	  - name: Amina buys N100 for herself
//	    msisdn: "2348031234567"
//	    steps:
//	      - dial: "*999#"
//	        see: {contains: ["Welcome", "1. Buy"], end: false, max: 160}
//	      - send: "1"
//	        see: "Select Network:*"
//	      - fault: throttle:2        # strikes this handset at its next occasion
//	      - send: "1"
//	        fails: true              # no screen comes: the dialogue breaks
//	      - hangup: true
//	      - abort: true              # the network loses the subscriber
//	      - call: {method: POST, url: "http://{vendorsim}/reset", body: "{}", status: 200, see: {contains: ok}}
//	      - repeat: {send: "1", until: {contains: "Successful"}, times: 20, every: 500ms}
//	      - see: {end: true}
//	      - sms: {contains: Successful}   # the next short message to the handset
//
// {name} in any value stands for what Parse was given for it. Immutable once
// parsed.
type Script struct {
	Name     string  // the file's name, for messages
	Dialect  string  // one of Dialects; empty: any
	Service  string  // whom begins are for; empty: taken from what is dialled
	Faults   []Fault // strike all handsets of the script
	Parallel bool
	Journeys []Journey
}

// Journey is what one subscriber does, in order. Its handset hangs up at the
// end if the dialogue is still open.
type Journey struct {
	Name   string
	MSISDN string // digits, international, without plus
	Line   int
	Steps  []Step
}

// Step is one thing a subscriber does or waits for. Exactly one of Dial, Send,
// Hangup, Abort, Fault, Call, Repeat, SMS is set, or none of them and See or Fails,
// which then waits for a screen that the subscriber did not ask for.
type Step struct {
	Line   int
	Dial   string
	Send   string
	Hangup bool
	Abort  bool   // the network loses the subscriber
	Fault  *Fault // strikes the handset at its next occasion
	Call   *Call
	Repeat *Repeat
	SMS    *Expectation // of the next short message
	See    *Expectation // of the screen that follows a Dial or a Send; nil accepts every one
	Fails  bool         // no screen follows: the dialogue breaks
}

// Call is an HTTP request made in the middle of a dialogue, such as one that
// tells a vendor's simulator to fail.
type Call struct {
	Method, URL, Body string
	Status            int          // 0 accepts every 2xx
	See               *Expectation // of the answer's body; nil accepts every one
}

// Repeat types the same answer until the screen is the wanted one.
type Repeat struct {
	Send  string
	Until *Expectation
	Times int           // at most so often
	Every time.Duration // pause between two
}

// Problem is one thing wrong with a script.
type Problem struct {
	File string
	Line int
	Text string
}

// String is "file:line: text".
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text) }

// Problems is everything wrong with a script, in the order of its lines.
type Problems []Problem

// Error has one problem per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

const (
	maxScript     = 1 << 20 // octets of a script file
	defaultTimes  = 20
	defaultEvery  = 500 * time.Millisecond
	maxRepeats    = 10_000
	maxEvery      = time.Hour
	maxMSISDN     = 15 // ITU-T E.164
	minMSISDN     = 7
	maxHTTPStatus = 599
	minHTTPStatus = 100
)

// ParseScript reads a script. name is used in messages only, vars gives the
// values of {name}. The error, if any, is a Problems that lists everything
// wrong with it.
func ParseScript(name string, source []byte, vars map[string]string) (*Script, error) {
	p := &parser{file: name, vars: vars}
	s := p.script(source)
	if len(p.problems) > 0 {
		slices.SortStableFunc(p.problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, p.problems
	}
	s.Name = name
	return s, nil
}

type parser struct {
	file     string
	vars     map[string]string
	problems Problems
}

func (p *parser) problem(line int, format string, args ...any) {
	p.problems = append(p.problems, Problem{File: p.file, Line: line, Text: fmt.Sprintf(format, args...)})
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

func (p *parser) script(source []byte) *Script {
	s := &Script{}
	if len(source) > maxScript {
		p.problem(1, "the script is larger than %d octets", maxScript)
		return s
	}
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	var doc, second yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			p.problem(1, "the script is empty")
			return s
		}
		p.yamlProblem(source, err)
		return s
	}
	if err := decoder.Decode(&second); err == nil {
		p.problem(second.Line, "one script per file: this is a second document")
	} else if !errors.Is(err, io.EOF) {
		p.yamlProblem(source, err)
	}

	root := doc.Content[0]
	fields := p.fields(root, "a script", "dialect", "service", "parallel", "faults", "handsets")
	if n := fields["dialect"]; n != nil {
		if s.Dialect = p.text(n, "dialect"); s.Dialect != "" {
			if _, err := dialectByName(s.Dialect); err != nil {
				p.problem(n.Line, "dialect: %v", err)
			}
		}
	}
	if n := fields["faults"]; n != nil {
		for _, item := range p.list(n, "faults") {
			if f := p.fault(item); f != nil {
				s.Faults = append(s.Faults, *f)
			}
		}
	}
	if n := fields["service"]; n != nil {
		s.Service = p.text(n, "service")
	}
	if n := fields["parallel"]; n != nil {
		s.Parallel = p.boolean(n, "parallel")
	}
	if n := fields["handsets"]; n == nil {
		if root.Kind == yaml.MappingNode {
			p.problem(root.Line, "handsets is missing: a script plays at least one")
		}
	} else {
		for _, item := range p.list(n, "handsets") {
			s.Journeys = append(s.Journeys, p.journey(item))
		}
	}
	if s.Parallel {
		first := map[string]int{}
		for _, j := range s.Journeys {
			if line, taken := first[j.MSISDN]; taken && j.MSISDN != "" {
				p.problem(j.Line, "msisdn %s also belongs to the handset of line %d: in parallel each needs its own", j.MSISDN, line)
				continue
			}
			first[j.MSISDN] = j.Line
		}
	}
	return s
}

func (p *parser) yamlProblem(source []byte, err error) {
	line, text := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		text = strings.TrimPrefix(text, m[0])
	}
	if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		before, _, _ := bytes.Cut(source, []byte("*"+m[1]))
		line = 1 + bytes.Count(before, []byte("\n"))
		text = "a text that begins with * needs quotes"
	}
	p.problem(line, "not YAML: %s", text)
}

func (p *parser) journey(n *yaml.Node) Journey {
	j := Journey{Line: n.Line}
	fields := p.fields(n, "a handset", "name", "msisdn", "steps")
	if n.Kind != yaml.MappingNode {
		return j
	}
	if f := fields["msisdn"]; f == nil {
		p.problem(n.Line, "msisdn is missing")
	} else if text := p.text(f, "msisdn"); text != "" {
		var err error
		if j.MSISDN, err = ParseMSISDN(text); err != nil {
			p.problem(f.Line, "msisdn: %v", err)
		}
	}
	if f := fields["name"]; f != nil {
		j.Name = p.text(f, "name")
	} else {
		j.Name = j.MSISDN
	}
	if f := fields["steps"]; f == nil {
		p.problem(n.Line, "steps is missing")
	} else {
		for _, item := range p.list(f, "steps") {
			j.Steps = append(j.Steps, p.step(item))
		}
	}
	return j
}

// ParseMSISDN reads an international number with or without plus: 7 to 15
// digits that don't begin with 0.
func ParseMSISDN(s string) (string, error) {
	digits := strings.TrimPrefix(s, "+")
	if strings.Trim(digits, "0123456789") != "" || len(digits) < minMSISDN || len(digits) > maxMSISDN || digits[0] == '0' {
		return "", fmt.Errorf("%q is not an international number such as 2348031234567", s)
	}
	return digits, nil
}

func (p *parser) step(n *yaml.Node) Step {
	s := Step{Line: n.Line}
	fields := p.fields(n, "a step", append(slices.Clone(verbs), "see", "fails")...)
	if n.Kind != yaml.MappingNode {
		return s
	}
	given := 0
	see, fails := fields["see"], fields["fails"]
	for _, verb := range verbs {
		f := fields[verb]
		if f == nil {
			continue
		}
		given++
		switch verb {
		case "dial":
			s.Dial = p.text(f, verb)
		case "send":
			s.Send = p.text(f, verb)
		case "hangup":
			s.Hangup = p.must(f, verb)
		case "abort":
			s.Abort = p.must(f, verb)
		case "fault":
			s.Fault = p.fault(f)
		case "call":
			s.Call = p.call(f)
		case "repeat":
			s.Repeat = p.repeat(f)
		case "sms":
			s.SMS = p.expectation(f)
		}
		for _, what := range []string{"see", "fails"} {
			if beside := fields[what]; beside != nil && verb != "dial" && verb != "send" {
				p.problem(beside.Line, "%s takes no %s beside it", verb, what)
			}
		}
	}
	if given > 1 {
		p.problem(n.Line, "a step does one thing: one of %s", strings.Join(verbs, ", "))
	}
	if given == 0 && see == nil && len(fields) == 0 {
		p.problem(n.Line, "the step is empty: give one of %s, see", strings.Join(verbs, ", "))
	}
	if see != nil {
		s.See = p.expectation(see)
	}
	if fails != nil {
		s.Fails = p.must(fails, "fails")
		if see != nil {
			p.problem(fails.Line, "a step that fails has no screen to see")
		}
	}
	return s
}

// verbs are what a step can do.
var verbs = []string{"dial", "send", "hangup", "abort", "fault", "call", "repeat", "sms"}

// must reads what is either true or left out.
func (p *parser) must(n *yaml.Node, what string) bool {
	if !p.boolean(n, what) {
		p.problem(n.Line, "%s: leave it out instead of giving false", what)
	}
	return true
}

// fault reads a fault; nil if it is none.
func (p *parser) fault(n *yaml.Node) *Fault {
	text := p.text(n, "fault")
	if text == "" {
		return nil
	}
	f, err := ParseFault(text)
	if err != nil {
		p.problem(n.Line, "%v", err)
		return nil
	}
	return &f
}

func (p *parser) call(n *yaml.Node) *Call {
	c := &Call{}
	fields := p.fields(n, "a call", "method", "url", "body", "status", "see")
	if n.Kind != yaml.MappingNode {
		return c
	}
	if f := fields["url"]; f == nil {
		p.problem(n.Line, "url is missing")
	} else if c.URL = p.text(f, "url"); c.URL != "" {
		if u, err := url.Parse(c.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			p.problem(f.Line, "url: %q is not an http or https address", c.URL)
		}
	}
	c.Method = "GET"
	if f := fields["body"]; f != nil {
		c.Body, c.Method = p.text(f, "body"), "POST"
	}
	if f := fields["method"]; f != nil {
		if c.Method = p.text(f, "method"); strings.Trim(c.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			p.problem(f.Line, "method: %q is not an HTTP method in capitals", c.Method)
		}
	}
	if f := fields["status"]; f != nil {
		c.Status = p.number(f, "status", minHTTPStatus, maxHTTPStatus)
	}
	if f := fields["see"]; f != nil {
		c.See = p.expectation(f)
	}
	return c
}

func (p *parser) repeat(n *yaml.Node) *Repeat {
	r := &Repeat{Times: defaultTimes, Every: defaultEvery}
	fields := p.fields(n, "repeat", "send", "until", "times", "every")
	if n.Kind != yaml.MappingNode {
		return r
	}
	if f := fields["send"]; f == nil {
		p.problem(n.Line, "send is missing")
	} else {
		r.Send = p.text(f, "send")
	}
	if f := fields["until"]; f == nil {
		p.problem(n.Line, "until is missing")
	} else {
		r.Until = p.expectation(f)
	}
	if f := fields["times"]; f != nil {
		r.Times = p.number(f, "times", 1, maxRepeats)
	}
	if f := fields["every"]; f != nil {
		text := p.text(f, "every")
		d, err := time.ParseDuration(text)
		if text != "" && (err != nil || d < 0 || d > maxEvery) {
			p.problem(f.Line, "every: %q is not a duration from 0s to 1h, such as 500ms", text)
		}
		r.Every = d
	}
	return r
}

// fields returns the values of a mapping by key. What isn't a mapping, and
// unknown and repeated keys, are problems.
func (p *parser) fields(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	fields := map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		p.problem(n.Line, "%s is a mapping with the keys %s", what, strings.Join(known, ", "))
		return fields
	}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(known, key.Value):
			p.problem(key.Line, "unknown key %q: %s has the keys %s", key.Value, what, strings.Join(known, ", "))
			fields[key.Value] = value
		case fields[key.Value] != nil:
			p.problem(key.Line, "%s is given twice", key.Value)
		default:
			fields[key.Value] = value
		}
	}
	return fields
}

// list returns the items of a list that may not be empty.
func (p *parser) list(n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		p.problem(n.Line, "%s is a list with at least one item", what)
		return nil
	}
	return n.Content
}

var placeholder = regexp.MustCompile(`\{[a-z][a-z0-9_-]*\}`)

// text returns a scalar that is not empty, its {name}s replaced once.
func (p *parser) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		p.problem(n.Line, "%s is a text that is not empty", what)
		return ""
	}
	return placeholder.ReplaceAllStringFunc(n.Value, func(name string) string {
		value, ok := p.vars[strings.Trim(name, "{}")]
		if !ok {
			p.problem(n.Line, "%s: %s has no value: give one with -set %s=…", what, name, strings.Trim(name, "{}"))
		}
		return value
	})
}

func (p *parser) boolean(n *yaml.Node, what string) bool {
	var b bool
	if n.Kind != yaml.ScalarNode || n.Decode(&b) != nil {
		p.problem(n.Line, "%s is true or false", what)
	}
	return b
}

func (p *parser) number(n *yaml.Node, what string, low, high int) int {
	i, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || i < low || i > high {
		p.problem(n.Line, "%s is a whole number from %d to %d", what, low, high)
		return low
	}
	return i
}
