//go:build !crashpoints

package main

// boundary is nil: only a binary built for crash tests stops at the boundaries
// of a purchase.
func boundary() func(string) { return nil }
