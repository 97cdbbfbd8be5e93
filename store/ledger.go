package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Kinds of journal entries. With their reference they are unique: entryCredit's
// is "source:reference", that of the others the purchase's Ref.
const (
	entryCredit  = "credit"
	entryHold    = "hold"
	entryCapture = "capture"
	entryRelease = "release"
)

// Prefixes of accounts.
const (
	accountWallet  = "wallet:"  // + MSISDN: what the subscriber can spend
	accountHold    = "hold:"    // + MSISDN: what the subscriber's unfinished purchases reserve
	accountFloat   = "float:"   // + vendor: what our float there paid
	accountRevenue = "revenue:" // + network: commission
	accountFunding = "funding:" // + source: what came in, negative
)

type entry struct {
	kind, reference, msisdn, note string
}

type posting struct {
	account string
	amount  int64 // kobo, credit positive
}

// post writes a journal entry. Postings of nothing are left out; the rest must
// be at least two that sum to zero.
func (db *DB) post(ctx context.Context, tx *sqlx.Tx, e entry, postings ...posting) error {
	id := NewID()
	var sum int64
	var args []any
	for _, p := range postings {
		if p.amount == 0 {
			continue
		}
		args = append(args, id, len(args)/5+1, p.account, e.msisdn, p.amount)
		sum += p.amount
	}
	if sum != 0 || len(args) < 2*5 {
		return fmt.Errorf("entry %s %s does not balance: %w", e.kind, e.reference, ErrInvalid)
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO entries (id, kind, reference, msisdn, note, at) VALUES (?, ?, ?, ?, ?, ?)",
		id, e.kind, e.reference, e.msisdn, e.note, millis(db.now()))
	if db.engine.duplicate(err) {
		// The reference: the next try finds what the other wrote. The id: the
		// next try has another.
		return errAgain
	}
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO postings (entry_id, n, account, msisdn, amount) VALUES "+tuples(len(args)/5, 5), args...)
	return err
}

// commissionFor is the commission of a network at a time, in basis points of
// the face value, or ErrNotFound.
func commissionFor(ctx context.Context, q sqlx.QueryerContext, network string, at time.Time) (bps int, err error) {
	err = sqlx.GetContext(ctx, q, &bps, "SELECT bps FROM commissions WHERE network = ? AND valid_from <= ? ORDER BY valid_from DESC LIMIT 1",
		network, millis(at))
	return bps, notFound(err)
}

// commission is the revenue on amount: rounded down to whole kobo, the rest is
// the vendor's.
func commission(amount int64, bps int) int64 { return amount * int64(bps) / 10000 }

// tuples is the VALUES of rows rows with columns placeholders each.
func tuples(rows, columns int) string {
	row := "(" + strings.Repeat("?, ", columns-1) + "?)"
	return strings.Repeat(row+", ", rows-1) + row
}
