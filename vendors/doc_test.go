package vendors_test

import (
	"os"
	"strings"
	"testing"

	"ussdd/vendors"
)

// The files that the package's documentation shows can be loaded.
func TestDocumentedFiles(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	open := false
	for line := range strings.Lines(string(doc)) {
		text, indented := strings.CutPrefix(line, "//\t")
		if indented && !open {
			blocks = append(blocks, "")
		}
		if indented {
			blocks[len(blocks)-1] += text
		}
		open = indented
	}
	if len(blocks) != 3 || !strings.HasPrefix(blocks[0], "vendor: acme") || !strings.HasPrefix(blocks[2], "networks:") {
		t.Fatalf("%d blocks", len(blocks))
	}
	secrets := func(string) (string, bool) { return "x", true }
	load := func(routes string, texts ...string) {
		t.Helper()
		if _, err := vendors.Load(files(append([]string{"routes.yaml", routes}, texts...)...), vendors.Options{Secrets: secrets}); err != nil {
			t.Error(err)
		}
	}
	whole := strings.Replace(blocks[0], `"{amount|kobo|number}"}   # or`, `"{amount|kobo|number}", ref: "{reference}", p: "{product}", i: "{network.item}"}   # or`, 1)
	load(routes, "acme.yaml", whole)

	// Each of the other kinds of auth, in the place of the first.
	kind := ""
	for line := range strings.Lines(blocks[1] + "end\n") {
		if kind != "" && !strings.HasPrefix(line, " ") {
			indented := strings.ReplaceAll(strings.TrimSuffix(kind, "\n"), "\n", "\n  ")
			load(routes, "acme.yaml", strings.Replace(acme, "auth: none", "auth:\n  "+indented, 1))
			kind = ""
		}
		kind += line
	}

	set := []string{}
	for _, name := range []string{"acme", "other", "third", "fourth"} {
		text := strings.Replace(acme, "vendor: acme", "vendor: "+name, 1)
		set = append(set, name+".yaml", strings.Replace(text, "{mtn: {code: MTN}}", "{mtn: {code: MTN}, glo: {code: GLO}}", 1))
	}
	load(blocks[2], set...)
}
