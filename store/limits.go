package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// Limits bound what Hold accepts. Sums are in kobo and of one Lagos day; they
// count what was delivered and what may still be, and not what failed or was
// reversed. The zero value of each field means no such limit.
type Limits struct {
	Purchase     int64 // the amount of one purchase
	Day          int64 // what one subscriber pays for in a day
	RecipientDay int64 // what one number gets in a day, whoever pays
	// At most Velocity purchases of a subscriber begin in any VelocityWindow,
	// failed ones too.
	Velocity       int
	VelocityWindow time.Duration
	Networks       map[string]NetworkLimits // by id of the network, beside the above
}

// NetworkLimits bound what is bought on one network.
type NetworkLimits struct {
	Purchase int64 // the amount of one purchase
	Day      int64 // what one subscriber pays for in a day
}

// Names of limits, as LimitError has them.
const (
	LimitPurchase        = "purchase"
	LimitDay             = "day"
	LimitRecipientDay    = "recipient_day"
	LimitVelocity        = "velocity"
	LimitNetworkPurchase = "network_purchase"
	LimitNetworkDay      = "network_day"
)

// LimitError says which limit a purchase would break. It is ErrLimit.
type LimitError struct {
	Limit string // one of the names of limits
	Max   int64  // kobo, or purchases for LimitVelocity
	Used  int64  // of Max, before this purchase; 0 for a limit of one purchase
	// Until is when something falls out of what is counted: the end of the day,
	// or of the velocity's window. Zero for a limit of one purchase.
	Until time.Time
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: %s, %d of %d used", ErrLimit, e.Limit, e.Used, e.Max)
}

// Unwrap makes it ErrLimit.
func (e *LimitError) Unwrap() error { return ErrLimit }

// withinLimits compares the purchase p, whose payer's wallet the transaction
// has locked, with the limits. The lock makes the payer's other purchases wait,
// and a lock of its own those for the same recipient, so that no two that are
// each within a limit are beyond it together.
func (db *DB) withinLimits(ctx context.Context, tx *sqlx.Tx, p Purchase) error {
	l, network := db.limits, db.limits.Networks[p.Network]
	for _, one := range []struct {
		name string
		max  int64
	}{{LimitNetworkPurchase, network.Purchase}, {LimitPurchase, l.Purchase}} {
		if one.max > 0 && p.Amount > one.max {
			return &LimitError{Limit: one.name, Max: one.max}
		}
	}
	day := lagosDay(p.CreatedAt)
	for _, sum := range []struct {
		name      string
		max       int64
		condition string
		args      []any
	}{
		{LimitNetworkDay, network.Day, "msisdn = ? AND network = ?", []any{p.MSISDN, p.Network}},
		{LimitDay, l.Day, "msisdn = ?", []any{p.MSISDN}},
		{LimitRecipientDay, l.RecipientDay, "recipient = ?", []any{p.Recipient}},
	} {
		if sum.max <= 0 {
			continue
		}
		if sum.name == LimitRecipientDay {
			if err := db.lockSubject(ctx, tx, "recipient", p.Recipient); err != nil {
				return err
			}
		}
		var used int64
		err := tx.GetContext(ctx, &used, "SELECT COALESCE(SUM(amount), 0) FROM purchases WHERE "+sum.condition+
			" AND created_at >= ? AND state NOT IN ('failed', 'reversed')", append(sum.args, millis(day))...)
		if err != nil {
			return err
		}
		if p.Amount > sum.max-used {
			return &LimitError{Limit: sum.name, Max: sum.max, Used: used, Until: day.AddDate(0, 0, 1).UTC()}
		}
	}
	if l.Velocity <= 0 {
		return nil
	}
	var first int64 // of the last so many
	err := notFound(tx.GetContext(ctx, &first, "SELECT created_at FROM purchases WHERE msisdn = ? AND created_at > ? ORDER BY created_at DESC LIMIT 1 OFFSET ?",
		p.MSISDN, millis(p.CreatedAt.Add(-l.VelocityWindow)), l.Velocity-1))
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return &LimitError{Limit: LimitVelocity, Max: int64(l.Velocity), Used: int64(l.Velocity), Until: instant(first).Add(l.VelocityWindow)}
}

// lagos is West Africa Time, which has no summer time.
var lagos = time.FixedZone("WAT", 3600)

// lagosDay is the midnight at which t's day began in Lagos.
func lagosDay(t time.Time) time.Time {
	y, m, d := t.In(lagos).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, lagos)
}
