//go:build crashpoints

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// boundary kills the process with SIGKILL at the boundary of a purchase that
// CRASH_AT names: "after-hold" at its first passing, "after-attempt:2" at its
// second.
func boundary() func(string) {
	name, nth, _ := strings.Cut(os.Getenv("CRASH_AT"), ":")
	n, _ := strconv.Atoi(nth)
	n = max(n, 1)
	var passed atomic.Int64
	return func(at string) {
		if at == name && passed.Add(1) == int64(n) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing happens between the boundary and the end
		}
	}
}
