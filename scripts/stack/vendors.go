package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"ussdd/vendors"
)

// VendorTimes are how long vendors may leave a purchase open.
type VendorTimes struct {
	Total time.Duration   // of a call; it does not hang on the step's budget then
	Grace time.Duration   // before "not found" counts
	Found int             // how many times in a row it must be said
	After []time.Duration // waits before queries; none: the daemon's own
}

var (
	absences = regexp.MustCompile(`(?m)^not_found: .*$`)
	bases    = regexp.MustCompile(`(?m)^base: `)
	queries  = regexp.MustCompile(`(?m)^query:$`)
)

// WriteVendors puts the built-in vendors into dir, with other times, for
// USSDD_VENDORS: what takes minutes in earnest must not in a test.
func WriteVendors(dir string, times VendorTimes) error {
	if err := os.CopyFS(dir, vendors.Builtin()); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text = absences.ReplaceAll(text, fmt.Appendf(nil, "not_found: {grace: %v, times: %d}", times.Grace, times.Found))
		text = bases.ReplaceAll(text, fmt.Appendf(nil, "timeouts: {total: %v}\n$0", times.Total))
		if len(times.After) > 0 {
			list := strings.ReplaceAll(strings.Trim(fmt.Sprint(times.After), "[]"), " ", ", ")
			text = queries.ReplaceAll(text, fmt.Appendf(nil, "$0\n  after: [%s]", list))
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
