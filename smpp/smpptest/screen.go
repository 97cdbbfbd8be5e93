package smpptest

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Screen is what an ESME showed a subscriber.
type Screen struct {
	Text  string // as the handset shows it; lines end in \n
	End   bool   // the ESME closed the dialogue with it
	Units int    // length in units of the alphabet it came in: septets, octets or UTF-16 units
	Bad   int    // octets or units that mean nothing in that alphabet; each is a U+FFFD in Text
}

// Bubble is the message as a phone lists it: its sender, and lines of at most 32
// columns behind a bar.
func (m SMS) Bubble() string {
	return "  SMS from " + m.From + "\n" + indent(strings.Join(wrap(m.Text, frameWidth), "\n")+"\n", "    ▌ ")
}

// frameWidth is the number of columns of text in a frame: a small feature
// phone's.
const frameWidth = 32

// Frame draws the screen as a feature phone would show it: wrapped at 32
// columns, in a box of lines that each end in \n, with the keys the phone
// offers below the text.
func (s Screen) Frame() string {
	keys := [2]string{"Answer", "Cancel"}
	if s.End {
		keys = [2]string{"Session ended", "OK"}
	}
	rule := strings.Repeat("─", frameWidth+2)
	var b strings.Builder
	b.WriteString("┌" + rule + "┐\n")
	for _, line := range wrap(s.Text, frameWidth) {
		b.WriteString("│ " + pad(line, frameWidth) + " │\n")
	}
	b.WriteString("├" + rule + "┤\n")
	b.WriteString("│ " + pad(keys[0], frameWidth-len(keys[1])) + keys[1] + " │\n")
	b.WriteString("└" + rule + "┘\n")
	return b.String()
}

// wrap breaks text into lines of at most width columns, at spaces where it can.
// No control character survives, so that what an ESME sends can't drive the
// terminal.
func wrap(text string, width int) []string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimRight(text, "\r\n"))
	text = strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		rest := []rune(line)
		for len(rest) > width {
			cut := width
			for cut > 0 && rest[cut] != ' ' {
				cut--
			}
			if cut == 0 {
				lines, rest = append(lines, string(rest[:width])), rest[width:]
				continue
			}
			lines, rest = append(lines, strings.TrimRight(string(rest[:cut]), " ")), rest[cut+1:]
		}
		lines = append(lines, string(rest))
	}
	return lines
}

// pad fills s with spaces up to width columns.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// sideBySide prints two texts next to each other under their titles, each
// wrapped.
func sideBySide(left, right, leftTitle, rightTitle string) string {
	l := append([]string{leftTitle, strings.Repeat("─", frameWidth)}, wrap(left, frameWidth)...)
	r := append([]string{rightTitle, strings.Repeat("─", frameWidth)}, wrap(right, frameWidth)...)
	var b strings.Builder
	for i := range max(len(l), len(r)) {
		var left, right string
		if i < len(l) {
			left = l[i]
		}
		if i < len(r) {
			right = r[i]
		}
		b.WriteString(strings.TrimRight(pad(left, frameWidth)+" │ "+right, " ") + "\n")
	}
	return b.String()
}

// indent puts prefix before each line of text.
func indent(text, prefix string) string {
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return prefix + strings.Join(lines, prefix)
}
