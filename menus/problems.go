package menus

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a service file.
type Problem struct {
	File string
	Line int    // counts from 1; 0 if the file as a whole is meant
	Path string // where in the file: screens.main.options[0].goto
	Text string // one sentence
}

// String returns "file:line: text".
func (p Problem) String() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Text)
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems are all the mistakes found, by file and line. Never empty as an error.
type Problems []Problem

// Error returns one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}
