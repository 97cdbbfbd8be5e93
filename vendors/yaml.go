package vendors

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	maxFile  = 1 << 20 // bytes of one YAML file
	maxDepth = 32      // nesting of one YAML file
)

// value is one YAML node with the place where it stands. Its methods read the node as what is
// wanted there, or note a problem and report false.
type value struct {
	problems *Problems
	secrets  *[]secretUse // if set, every {secret.NAME} is noted here
	file     string
	path     string
	node     *yaml.Node
}

// object is a YAML mapping whose keys have been checked.
type object struct {
	value
	keys   []string // in the file's order
	fields map[string]value
}

// yamlError takes the line out of the parser's message.
var yamlError = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)`)

// parseFile reads one YAML file into its root node.
func parseFile(fsys fs.FS, name string, problems *Problems) (value, bool) {
	root := value{problems: problems, file: name}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		root.problem("%v", err)
		return root, false
	}
	if len(data) > maxFile {
		root.problem("the file is larger than %d bytes", maxFile)
		return root, false
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	err = dec.Decode(&doc)
	if err == nil {
		root.node = doc.Content[0]
		err = dec.Decode(&next)
	}
	switch {
	case root.node == nil && err == io.EOF:
		root.problem("the file is empty")
	case err == nil:
		root.at("", &next).problem("one document per file")
	case err != io.EOF:
		m := yamlError.FindStringSubmatch(err.Error())
		line, _ := strconv.Atoi(m[1]) // none is line 0
		if strings.HasPrefix(m[2], "did not find expected") {
			line++ // the parser, other than the scanner, counts from 0
		}
		*problems = append(*problems, Problem{File: name, Line: line, Text: m[2]})
	default:
		return root, root.plain(root.node, 0)
	}
	return root, false
}

// plain refuses what makes a file hard to read back by line: anchors, aliases, deep nesting.
func (v value) plain(n *yaml.Node, depth int) bool {
	here := value{problems: v.problems, file: v.file, node: n}
	if depth > maxDepth {
		here.problem("nested deeper than %d levels", maxDepth)
		return false
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		here.problem("anchors and aliases are not supported")
		return false
	}
	for _, c := range n.Content {
		if !v.plain(c, depth+1) {
			return false
		}
	}
	return true
}

func (v value) problem(format string, args ...any) {
	p := Problem{File: v.file, Path: v.path, Text: fmt.Sprintf(format, args...)}
	if v.node != nil {
		p.Line = v.node.Line
	}
	*v.problems = append(*v.problems, p)
}

// at gives the value one step further down, at a key or at an index like [2].
func (v value) at(step string, n *yaml.Node) value {
	dot := "."
	if v.path == "" || step == "" || step[0] == '[' {
		dot = ""
	}
	return value{problems: v.problems, secrets: v.secrets, file: v.file, path: v.path + dot + step, node: n}
}

// object reads a mapping. With known keys, every other key is a problem; without, all keys are good.
func (v value) object(known ...string) (object, bool) {
	o := object{value: v, fields: map[string]value{}}
	if v.node.Kind != yaml.MappingNode {
		v.problem("must be a mapping")
		return o, false
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.node.Content[i]
		where := value{problems: v.problems, file: v.file, path: v.path, node: key}
		first, double := o.fields[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || key.Value == "" || key.ShortTag() == "!!merge":
			where.problem("keys must be plain text")
		case double:
			where.problem("duplicate key %q, first on line %d", key.Value, first.node.Line)
		case len(known) > 0 && !slices.Contains(known, key.Value):
			where.problem("unknown key %q (known: %s)", key.Value, strings.Join(known, ", "))
		default:
			o.keys = append(o.keys, key.Value)
			o.fields[key.Value] = v.at(key.Value, v.node.Content[i+1])
		}
	}
	return o, true
}

// has reports whether the key is there; need notes a problem if it is not.
func (o object) has(key string) (value, bool) {
	v, ok := o.fields[key]
	return v, ok
}

func (o object) need(key string) (value, bool) {
	v, ok := o.fields[key]
	if !ok {
		o.problem("%s is missing", key)
	}
	return v, ok
}

// quiet gives the value to read once more, when its problems have been noted.
func (v value) quiet() value {
	v.problems, v.secrets = new(Problems), nil
	return v
}

// list reads a sequence.
func (v value) list() ([]value, bool) {
	if v.node.Kind != yaml.SequenceNode {
		v.problem("must be a list")
		return nil, false
	}
	items := make([]value, len(v.node.Content))
	for i, n := range v.node.Content {
		items[i] = v.at(fmt.Sprintf("[%d]", i), n)
	}
	return items, true
}

// some reads a sequence with at least one item, or a single item in its place.
func (v value) some() ([]value, bool) {
	if v.node.Kind != yaml.SequenceNode {
		return []value{v}, true
	}
	items, _ := v.list()
	if len(items) == 0 {
		v.problem("must not be empty")
		return nil, false
	}
	return items, true
}

func (v value) isNull() bool { return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null" }

// text reads any scalar but null as it is written.
func (v value) text() (string, bool) {
	if v.node.Kind != yaml.ScalarNode || v.isNull() {
		v.problem("must be text")
		return "", false
	}
	return v.node.Value, true
}

func (v value) filled() (string, bool) {
	s, ok := v.text()
	if ok && s == "" {
		v.problem("must not be empty")
		return "", false
	}
	return s, ok
}

func (v value) oneOf(names ...string) (string, bool) {
	s, ok := v.text()
	if ok && !slices.Contains(names, s) {
		v.problem("unknown %q (known: %s)", s, strings.Join(names, ", "))
		return "", false
	}
	return s, ok
}

func (v value) integer(low, high int) (int, bool) {
	n, err := strconv.Atoi(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || err != nil || n < low || n > high {
		v.problem("must be a whole number from %d to %d", low, high)
		return 0, false
	}
	return n, true
}

func (v value) boolean() (bool, bool) {
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!bool" {
		v.problem("must be true or false")
		return false, false
	}
	return strings.EqualFold(v.node.Value, "true"), true
}

func (v value) duration(low, high time.Duration) (time.Duration, bool) {
	d, err := time.ParseDuration(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || err != nil || d < low || d > high {
		v.problem("must be a duration from %s to %s, like 1.5s", low, high)
		return 0, false
	}
	return d, true
}

// money reads an amount of whole naira as people write it: N50 or N1,000. The result is in kobo.
func (v value) money() (int64, bool) {
	s, ok := v.text()
	if !ok {
		return 0, false
	}
	naira, hasN := strings.CutPrefix(s, "N")
	kobo, ok := parseNaira(ungroup(naira))
	if !hasN || !ok || kobo == 0 || kobo%100 != 0 {
		v.problem(`must be an amount of whole naira like N50 or "N1,000"`)
		return 0, false
	}
	return kobo, true
}
