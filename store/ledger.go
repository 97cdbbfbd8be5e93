package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Kinds of journal entries. With their reference they are unique.
const (
	entryCredit  = "credit"  // money came in for a wallet; "source:reference"
	entryDeposit = "deposit" // money came in for nobody we know; "source:reference"
	entryAssign  = "assign"  // and was found to be a wallet's; "source:reference"
	entryTopUp   = "topup"   // a vendor's float was filled; "vendor:reference"

	// Of a purchase, by its Ref.
	entryHold     = "hold"
	entryCapture  = "capture"
	entryRelease  = "release"
	entryDispute  = "dispute"  // refunded without knowing: the vendor may have been paid
	entryReversal = "reversal" // reverses the capture: the vendor undid the delivery

	entryLate       = "late"       // an attempt delivered after its purchase was decided; by the attempt's reference
	entryCorrection = "correction" // reverses an entry; by that entry's id
)

// Prefixes and names of accounts.
const (
	accountWallet   = "wallet:"                 // + MSISDN: what the subscriber can spend
	accountHold     = "hold:"                   // + MSISDN: what the subscriber's unfinished purchases reserve
	accountFloat    = "float:"                  // + vendor: what our float there paid, less what filled it
	accountRevenue  = "revenue:"                // + network: commission
	accountFunding  = "funding:"                // + source: what came in and is to be cleared, negative
	accountDeposits = "suspense:deposits"       // money that came in for nobody we know
	accountDisputed = "suspense:disputed_vends" // what vendors may have taken for purchases refunded in doubt, negative
	accountLost     = "loss:late_delivery"      // what refunded purchases cost that were delivered, negative
	accountDoubled  = "loss:double_delivery"    // what second deliveries of a purchase cost, negative
)

type entry struct {
	kind, reference, msisdn, note string
	reverses                      int64 // id of the entry that this one undoes, 0 = none
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
	_, err := tx.ExecContext(ctx, "INSERT INTO entries (id, kind, reference, msisdn, note, at, reverses_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
		id, e.kind, e.reference, e.msisdn, e.note, millis(db.now()), sql.NullInt64{Int64: e.reverses, Valid: e.reverses != 0})
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

// SetCommission sets what a network's airtime brings at a vendor from a time
// on, in basis points of the face value. vendor "" is every vendor that has no
// rate of its own for the network. What was captured keeps its rate.
func (db *DB) SetCommission(ctx context.Context, op Operation, network, vendor string, from time.Time, bps int) error {
	err := validName("network", network, 32)
	if err == nil && vendor != "" {
		err = validName("vendor", vendor, 64)
	}
	if err == nil && (bps < 0 || bps > 10000) {
		err = fmt.Errorf("commission of %d basis points: %w", bps, ErrInvalid)
	}
	if err == nil {
		op.Action, op.Subject = fmt.Sprintf("commission set %d from %s", bps, from.UTC().Format(time.RFC3339)), network
		if vendor != "" {
			op.Subject += " at " + vendor
		}
		err = db.record(ctx, op, func(tx *sqlx.Tx) (bool, error) {
			n, err := affected(tx.ExecContext(ctx, "UPDATE commissions SET bps = ? WHERE network = ? AND vendor = ? AND valid_from = ?",
				bps, network, vendor, millis(from)))
			if err != nil || n == 1 {
				return true, err
			}
			_, err = tx.ExecContext(ctx, "INSERT INTO commissions (network, vendor, valid_from, bps) VALUES (?, ?, ?, ?)",
				network, vendor, millis(from), bps)
			if db.engine.duplicate(err) {
				err = errAgain
			}
			return true, err
		})
	}
	if err != nil {
		return fmt.Errorf("commission of %s: %w", network, err)
	}
	return nil
}

// commissionFor is the commission of a network's airtime from a vendor at a
// time, in basis points of the face value, or ErrNotFound.
func commissionFor(ctx context.Context, q sqlx.QueryerContext, network, vendor string, at time.Time) (bps int, err error) {
	err = sqlx.GetContext(ctx, q, &bps, `SELECT bps FROM commissions WHERE network = ? AND vendor IN (?, '') AND valid_from <= ?
		ORDER BY vendor DESC, valid_from DESC LIMIT 1`, network, vendor, millis(at))
	return bps, notFound(err)
}

// commission is the revenue on amount. It is rounded once, down to whole kobo;
// the rest is the vendor's.
func commission(amount int64, bps int) int64 { return amount * int64(bps) / 10000 }

// tuples is the VALUES of rows rows with columns placeholders each.
func tuples(rows, columns int) string {
	row := "(" + strings.Repeat("?, ", columns-1) + "?)"
	return strings.Repeat(row+", ", rows-1) + row
}
