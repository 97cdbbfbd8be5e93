package store_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"ussdd/store"
)

func TestNewIDIncreases(t *testing.T) {
	const goroutines, each = 8, 2000
	var mu sync.Mutex
	seen := make(map[int64]bool)
	times(goroutines, func(int) {
		ids := make([]int64, each)
		for i := range ids {
			ids[i] = store.NewID()
		}
		if !slices.IsSorted(ids) || ids[0] <= 0 {
			t.Error("ids of one goroutine do not increase from above zero")
		}
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			seen[id] = true
		}
	})
	if len(seen) != goroutines*each {
		t.Errorf("%d different ids of %d", len(seen), goroutines*each)
	}
}

func TestRef(t *testing.T) {
	for id, ref := range map[int64]string{
		0:                   "TXN-0000000000000",
		1:                   "TXN-0000000000001",
		31:                  "TXN-000000000000Z",
		32:                  "TXN-0000000000010",
		911_000_000_000_000: "TXN-000SWHJVP7W00",
		1<<63 - 1:           "TXN-7ZZZZZZZZZZZZ",
	} {
		if got := store.Ref(id); got != ref {
			t.Errorf("Ref(%d) = %s, want %s", id, got, ref)
		}
		got, err := store.ParseRef(ref)
		if err != nil || got != id {
			t.Errorf("ParseRef(%s) = %d, %v, want %d", ref, got, err, id)
		}
	}
}

func TestParseRefAsTyped(t *testing.T) {
	for s, want := range map[string]int64{
		" txn-000000000001z ": 63,
		"000000000001Z":       63,
		"TXN-OOOOOOOOOOOIL":   33,
	} {
		got, err := store.ParseRef(s)
		if err != nil || got != want {
			t.Errorf("ParseRef(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "TXN-", "TXN-00000000000", "TXN-00000000000000", "TXN-8000000000000", "TXN-00000000000U0", "TXN-00000000000é"} {
		if id, err := store.ParseRef(s); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("ParseRef(%q) = %d, %v", s, id, err)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add("TXN-7ZZZZZZZZZZZZ")
	f.Add("txn-oil")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := store.ParseRef(s)
		if err != nil {
			return
		}
		canonical := store.Ref(id)
		if id < 0 || len(canonical) != 17 || !strings.HasPrefix(canonical, "TXN-") {
			t.Fatalf("ParseRef(%q) = %d, written %s", s, id, canonical)
		}
		if again, err := store.ParseRef(canonical); err != nil || again != id {
			t.Fatalf("%s reads as %d, %v", canonical, again, err)
		}
	})
}
