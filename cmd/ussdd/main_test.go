package main

import (
	"runtime"
	"testing"
)

func TestProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	for _, test := range []struct {
		wanted    string // by $GOMAXPROCS
		has, want int
	}{{"", 1, 2}, {"", 2, 2}, {"", 3, 3}, {"1", 1, 1}} {
		t.Setenv("GOMAXPROCS", test.wanted)
		runtime.GOMAXPROCS(test.has)
		useProcessors()
		if got := runtime.GOMAXPROCS(0); got != test.want {
			t.Errorf("GOMAXPROCS=%q of %d: %d, want %d", test.wanted, test.has, got, test.want)
		}
	}
}
