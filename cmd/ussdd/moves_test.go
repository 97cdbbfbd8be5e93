package main

import (
	"maps"
	"slices"
	"testing"

	"ussdd/store"
	"ussdd/vendors/purchase"
)

// TestMoves: the desk and the store, which know nothing of each other, have the
// same table of a purchase's life.
func TestMoves(t *testing.T) {
	if desk, book := purchase.Moves(), store.Moves(); !maps.EqualFunc(desk, book, slices.Equal) {
		t.Errorf("the desk has %v\nthe store has %v", desk, book)
	}
}
