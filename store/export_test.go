package store

import (
	"context"
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
