package smpptest

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Expectation says what a screen must be. In YAML it is a glob ("*" stands for
// any text, line ends included; the whole screen must match), or a mapping of
// any of
//
//	exact: the whole text
//	contains: a part, or a list of parts that must all be there
//	matches: an RE2 expression found somewhere in the text
//	end: whether the screen ends the dialogue
//	max: the most units (septets; 16-bit units for UCS2) the text may have
//
// all of which must hold. Line ends at the end of the text don't count. A
// screen with an octet that its alphabet has no character for never meets an
// expectation.
type Expectation struct {
	whole    *regexp.Regexp // exact and glob
	contains []string
	matches  *regexp.Regexp
	end      *bool
	max      int
	source   []string // one line per condition, for people
}

func (p *parser) expectation(n *yaml.Node) *Expectation {
	e := &Expectation{}
	if n.Kind == yaml.ScalarNode {
		e.setGlob(p.text(n, "see"))
		return e
	}
	fields := p.fields(n, "see", "exact", "contains", "matches", "end", "max")
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		p.problem(n.Line, "see is empty")
	}
	if f := fields["exact"]; f != nil {
		text := p.text(f, "exact")
		e.whole = regexp.MustCompile(`^` + regexp.QuoteMeta(trimLines(text)) + `$`)
		e.source = append(e.source, text)
	}
	if f := fields["contains"]; f != nil {
		parts := []*yaml.Node{f}
		if f.Kind == yaml.SequenceNode {
			parts = p.list(f, "contains")
		}
		for _, part := range parts {
			text := p.text(part, "contains")
			e.contains = append(e.contains, text)
			e.source = append(e.source, fmt.Sprintf("contains %q", text))
		}
	}
	if f := fields["matches"]; f != nil {
		text := p.text(f, "matches")
		re, err := regexp.Compile(text)
		if err != nil {
			p.problem(f.Line, "matches: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		e.matches = re
		e.source = append(e.source, "matches "+text)
	}
	if f := fields["end"]; f != nil {
		end := p.boolean(f, "end")
		e.end = &end
		if end {
			e.source = append(e.source, "(ends the session)")
		} else {
			e.source = append(e.source, "(the session goes on)")
		}
	}
	if f := fields["max"]; f != nil {
		e.max = p.number(f, "max", 1, maxScreenUnits)
		e.source = append(e.source, fmt.Sprintf("(at most %d units)", e.max))
	}
	return e
}

// maxScreenUnits bounds max; message_payload can't hold more. SMPP 3.4
// §5.3.2.32.
const maxScreenUnits = 64 << 10

func (e *Expectation) setGlob(glob string) {
	parts := strings.Split(trimLines(glob), "*")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	e.whole = regexp.MustCompile(`(?s)^` + strings.Join(parts, `.*`) + `$`)
	e.source = []string{glob}
}

// String is the expectation for people: a line per condition.
func (e *Expectation) String() string { return strings.Join(e.source, "\n") }

// Check says why the screen is not the expected one; "" if it is. A nil
// Expectation accepts every screen that can be read.
func (e *Expectation) Check(s Screen) string {
	if s.Bad > 0 {
		return fmt.Sprintf("octets without a character in the text's alphabet: %d", s.Bad)
	}
	if e == nil {
		return ""
	}
	text := trimLines(s.Text)
	if e.whole != nil && !e.whole.MatchString(text) {
		return "the text differs"
	}
	for _, part := range e.contains {
		if !strings.Contains(text, part) {
			return fmt.Sprintf("%q is not in the text", part)
		}
	}
	if e.matches != nil && !e.matches.MatchString(text) {
		return fmt.Sprintf("nothing in the text matches %s", e.matches)
	}
	if e.end != nil && *e.end != s.End {
		if s.End {
			return "the session ended"
		}
		return "the session goes on"
	}
	if e.max > 0 && s.Units > e.max {
		return fmt.Sprintf("the text has %d units", s.Units)
	}
	return ""
}

func trimLines(s string) string { return strings.TrimRight(s, "\r\n") }
