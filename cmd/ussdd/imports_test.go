package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImportsPointOneWay holds the parts apart: the leaves import none of ours,
// and everything else only what its line says. Tests may import more.
func TestImportsPointOneWay(t *testing.T) {
	allowed := map[string][]string{
		"smpp":               {},
		"menus":              {},
		"vendors":            {},
		"store":              {},
		"store/storetest":    {},
		"session":            {"menus"},
		"vendors/purchase":   {"vendors"},
		"smpp/smpptest":      {"smpp"},
		"cmd/ussdd":          {"cmd/ussdd/control", "cmd/ussdd/settings", "smpp", "session", "menus", "vendors", "vendors/purchase", "store"},
		"cmd/ussdd/control":  {"smpp", "menus", "vendors"}, // menus for the spelling of amounts
		"cmd/ussdd/settings": {"smpp"},
		// menus for the spellings of numbers and amounts, smpp to explain PDUs
		"cmd/ussdctl":   {"cmd/ussdd/control", "cmd/ussdd/settings", "store", "menus", "smpp", "vendors"},
		"cmd/smscsim":   {"smpp/smpptest"},
		"cmd/vendorsim": {},
		// for the vendors' files
		"scripts/stack": {"vendors"},
		"scripts/demo":  {"scripts/stack"},
		"scripts/bench": {"scripts/stack", "smpp", "smpp/smpptest"},
		// store to fill wallets; the audit reads the tables by itself
		"scripts/chaos": {"scripts/stack", "smpp/smpptest", "store"},
	}
	root := filepath.Join("..", "..")
	seen := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		mine, known := allowed[filepath.ToSlash(rel)]
		if !known {
			t.Errorf("%s: package %s is not in the picture", path, rel)
			return nil
		}
		seen[filepath.ToSlash(rel)] = true
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if ours, is := strings.CutPrefix(name, "ussdd/"); is && !slices.Contains(mine, ours) {
				t.Errorf("%s imports %s", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("package %s is in the picture and not in the tree", name)
		}
	}
}
