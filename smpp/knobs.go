package smpp

// Knob is one setting of a profile, as text.
type Knob struct {
	Name  string // "end.op"
	Value string // as Set takes it; octets in hexadecimal, "0x11"
	Means string // the value in words, with octets in decimal too: "0x11 (17), PSSR response"; may be empty
	Help  string // one sentence
}

// Knobs returns all settings of the profile in a fixed order.
func (p *Profile) Knobs() []Knob { panic(p.Name) }

// Set changes one setting. The error names the knob, the value and what is
// allowed; for an unknown name, the nearest one.
func (p *Profile) Set(name, value string) error { panic(name + value) }

// LoadProfile reads a profile from YAML: `extends: PRESET` and any knobs. The
// error lists every problem as "file:line: text", one a line.
func LoadProfile(file string, source []byte) (*Profile, error) { panic(file + string(source)) }
