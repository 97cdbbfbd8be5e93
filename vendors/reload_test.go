package vendors

import (
	"strings"
	"testing"
)

// A reload of files that use everything keeps breakers, caches and memories where nothing changed.
func TestReloadKeepsState(t *testing.T) {
	opt := Options{Secrets: func(name string) (string, bool) { return "x", !strings.HasSuffix(name, nextSecret) }}
	old, err := Load(Presets(), opt)
	if err != nil {
		t.Fatal(err)
	}
	opt.Previous = old
	next, err := Load(Presets(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(old.gates()) < 60 {
		t.Errorf("%d gates", len(old.gates()))
	}
	for _, g := range old.gates() {
		if next.gate(g.name) != g {
			t.Errorf("%s is new", g.name)
		}
	}
	for name, v := range old.vendors {
		if next.vendors[name].memory != v.memory || next.vendors[name].tokens != v.tokens {
			t.Errorf("%s has forgotten", name)
		}
	}
	opt.URLs = map[string]string{"vtpass": "https://sandbox.example/api"}
	next, err = Load(Presets(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if next.gate("vtpass/mtn/vend") == old.gate("vtpass/mtn/vend") || next.gate("ding/mtn/vend") != old.gate("ding/mtn/vend") {
		t.Error("a change of one vendor is not its own")
	}
}
