package store

import (
	"context"
	"strings"
	"time"
)

// Variable reads a server variable through the connections of db.
func Variable(db *DB, name string) (value string) {
	if err := db.w.Get(&value, "SELECT @@SESSION."+name); err != nil {
		return err.Error()
	}
	return value
}

// CommissionFor is the rate that a capture at that time would have.
func CommissionFor(ctx context.Context, db *DB, network, vendor string, at time.Time) (bps int, err error) {
	return commissionFor(ctx, db.r, network, vendor, at)
}

// SampleRule is a rule as a sample checks it: rows whose key is above the first
// parameter of Query and not above the second.
type SampleRule struct{ Name, Table, Query string }

// SampleRules are all rules but that about the whole ledger.
func SampleRules() []SampleRule {
	var out []SampleRule
	for _, r := range rules {
		out = append(out, SampleRule{r.name, r.over, strings.Replace(r.query, "{range}", r.by+" > ? AND "+r.by+" <= ?", 1)})
	}
	return out
}
