package vendors

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a set of vendor files.
type Problem struct {
	File string // name inside the file system; "" when an option and not a file is wrong
	Line int    // from 1; 0 = the file as a whole
	Path string // where in the file: "vend.rules[2].reason"; "" = the file as a whole
	Text string // what is wrong
}

// String gives the problem as "file:line: path: text".
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is the error that Load returns: every mistake it found, by file and line.
type Problems []Problem

// Error gives one problem per line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}
