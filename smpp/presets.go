package smpp

import (
	"embed"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// presetFiles are the dialects that come with the package, in LoadProfile's
// format. All but standard extend another.
//
//go:embed presets/*.yaml
var presetFiles embed.FS

// LoadProfile reads a profile from YAML: `extends: PRESET` and any knobs, each
// with the text that Set takes; a list may also be a mapping. The profile's name
// is file without its directory and extension. The error lists every problem as
// "file:line: text", one a line.
func LoadProfile(file string, source []byte) (*Profile, error) {
	p, err := loadProfile(file, source, false)
	if err != nil {
		return nil, err
	}
	name := file[strings.LastIndexByte(file, '/')+1:]
	p.Name, _, _ = strings.Cut(name, ".")
	return p, nil
}

// loadProfile is LoadProfile; root is set for the profile that extends no other.
func loadProfile(file string, source []byte, root bool) (*Profile, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(source, &doc); err != nil {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		if at, found := strings.CutPrefix(text, "line "); found {
			return nil, fmt.Errorf("%s:%s", file, at)
		}
		return nil, fmt.Errorf("%s:1: %s", file, text)
	}
	r := profileReader{file: file, lines: make(map[string]int), texts: make(map[string]string)}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		r.problem(1, "a profile is a mapping: extends: PRESET, and knobs")
		return nil, errors.Join(r.problems...)
	}
	pairs := doc.Content[0].Content
	r.base(pairs, root)
	for i := 0; i < len(pairs); i += 2 {
		r.knob(pairs[i], pairs[i+1])
	}
	if len(r.problems) == 0 {
		r.contradictions()
	}
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	return r.profile, nil
}

// profileReader is one file being read.
type profileReader struct {
	file     string
	profile  *Profile
	lines    map[string]int    // where a key is
	texts    map[string]string // what a knob read as when it was set
	problems []error
}

const extends = "extends"

func (r *profileReader) problem(line int, format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf("%s:%d: %s", r.file, line, fmt.Sprintf(format, args...)))
}

// base finds the profile that the file extends.
func (r *profileReader) base(pairs []*yaml.Node, root bool) {
	r.profile = &Profile{MenuOp: NoOp, EndOp: NoOp, OnceOp: NoOp, PushAsk: NoOp, PushTell: NoOp, PushEnd: NoOp}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i].Value != extends {
			continue
		}
		p, err := ProfileByName(pairs[i+1].Value)
		if err != nil {
			r.problem(pairs[i+1].Line, "extends: %v", err)
			return
		}
		r.profile = p
		return
	}
	if !root {
		r.problem(1, "extends is missing: it names the preset that this one changes; there are: %s", strings.Join(Profiles(), ", "))
	}
}

// knob sets one knob.
func (r *profileReader) knob(k, v *yaml.Node) {
	name := k.Value
	if first, twice := r.lines[name]; twice {
		r.problem(k.Line, "%s is set twice; first on line %d", name, first)
		return
	}
	r.lines[name] = k.Line
	if name == extends {
		return
	}
	text, ok := knobText(v)
	if !ok {
		r.problem(v.Line, "%s: neither a text nor a mapping of texts", name)
		return
	}
	if err := r.profile.Set(name, text); err != nil {
		r.problem(v.Line, "%v", err)
		return
	}
	r.texts[name] = r.text(name)
}

// knobText returns what Set takes for a YAML value. Scalars keep their spelling.
func knobText(v *yaml.Node) (string, bool) {
	switch v.Kind {
	case yaml.ScalarNode:
		return v.Value, true
	case yaml.MappingNode:
		var b strings.Builder
		for i := 0; i < len(v.Content); i += 2 {
			if v.Content[i+1].Kind != yaml.ScalarNode {
				return "", false
			}
			b.WriteString(v.Content[i].Value + "=" + v.Content[i+1].Value + " ")
		}
		return b.String(), true
	}
	return "", false
}

func (r *profileReader) text(name string) string {
	for _, k := range knobs {
		if k.name == name {
			return k.bind(r.profile).text()
		}
	}
	return ""
}

// contradictions reports the knobs that do not go together: two that set the
// same thing differently, and what Check finds.
func (r *profileReader) contradictions() {
	for _, k := range knobs {
		set, ok := r.texts[k.name]
		if now := r.text(k.name); ok && now != set {
			r.problem(r.lines[k.name], "%s: %s contradicts another knob, which makes it %s", k.name, set, now)
		}
	}
	for _, f := range r.profile.faults() {
		line, ok := r.lines[f.knob]
		if !ok {
			line = max(r.lines[extends], 1)
		}
		r.problem(line, "%s: %s", f.knob, f.text)
	}
}
