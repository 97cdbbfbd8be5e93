package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// How soon a subscriber is owed a decision: the money back when it is known
// that nothing was delivered, and a decision when it is not.
const (
	RefundWithin = 30 * time.Second
	DecideWithin = 24 * time.Hour
)

// breach is the condition of a purchase that broke one of them, or breaks it
// now. The clock of a refund starts when the failure was known, or when the
// money was held if nothing was ever attempted.
const breach = `((state IN ('failed', 'held') AND CASE state WHEN 'held' THEN ? ELSE decided_at END
			- CASE WHEN failed_at > 0 THEN failed_at WHEN state = 'held' AND attempts > 0 THEN ? ELSE created_at END > ?)
		OR (unsure_at > 0 AND CASE decided_at WHEN 0 THEN ? ELSE decided_at END - unsure_at > ?))`

// Clocks counts the open purchases that are owed a decision.
type Clocks struct {
	Open          int // held, sending, pending or needs_review
	Review        int // of these, needs_review
	RefundsLate   int // held for longer than RefundWithin after their failure was known
	DecisionsLate int // ambiguous for longer than DecideWithin
	// OldestUnsure is for how long the oldest ambiguous purchase has been so.
	OldestUnsure time.Duration
}

// Clocks reads them.
func (db *DB) Clocks(ctx context.Context) (Clocks, error) {
	var row struct {
		Open, Review, Refunds, Decisions int
		Oldest                           int64
	}
	now := millis(db.now())
	err := db.r.GetContext(ctx, &row, `SELECT COUNT(*) AS open,
			COUNT(CASE WHEN state = 'needs_review' THEN 1 END) AS review,
			COUNT(CASE WHEN state = 'held' AND ? - CASE WHEN failed_at > 0 THEN failed_at WHEN attempts > 0 THEN ? ELSE created_at END > ? THEN 1 END) AS refunds,
			COUNT(CASE WHEN unsure_at > 0 AND ? - unsure_at > ? THEN 1 END) AS decisions,
			COALESCE(MIN(CASE WHEN unsure_at > 0 THEN unsure_at END), 0) AS oldest
		FROM purchases WHERE state IN ('held', 'sending', 'pending', 'needs_review')`,
		now, now, RefundWithin.Milliseconds(), now, DecideWithin.Milliseconds())
	if err != nil {
		return Clocks{}, fmt.Errorf("clocks: %w", err)
	}
	c := Clocks{Open: row.Open, Review: row.Review, RefundsLate: row.Refunds, DecisionsLate: row.Decisions}
	if row.Oldest > 0 {
		c.OldestUnsure = time.Duration(now-row.Oldest) * time.Millisecond
	}
	return c, nil
}

// Turn records the truth about attempt a of the decided purchase p, as it came
// out after the decision, which stays in the books.
//
//	p               a.State         p becomes       money
//	failed          delivered_late  delivered_late  what the vendor took is a loss, or ends a dispute as one
//	delivered,      delivered_late  as it was       what the vendor took twice is a loss
//	delivered_late
//	reversed        delivered_late  as it was       what the vendor took is a loss
//	delivered       reversed        reversed        the capture is reversed and the wallet refunded
//
// Of a, VendorRef, Cost, Commission, Token, Detail, HTTPStatus and Queries are
// recorded, and of p the Token. Errors: ErrConflict, ErrNotFound; ErrInvalid for
// another combination.
func (db *DB) Turn(ctx context.Context, p Purchase, a Attempt) (turned Purchase, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		turned, err = db.turn(ctx, tx, p, a)
		return err
	})
	if err != nil {
		return Purchase{}, fmt.Errorf("turn %s: %w", p.Ref, err)
	}
	return turned, nil
}

func (db *DB) turn(ctx context.Context, tx *sqlx.Tx, p Purchase, a Attempt) (Purchase, error) {
	next, from := p.State, []any{Declined, NotSent, Unavailable}
	switch {
	case a.State == Late && p.State == Failed:
		next = Late
	case a.State == Late && (p.State == Delivered || p.State == Late || p.State == Reversed):
	case a.State == Reversed && p.State == Delivered:
		next, from = Reversed, []any{Delivered, Delivered, Delivered}
	default:
		return Purchase{}, fmt.Errorf("attempt %d is %s, purchase %s: %w", a.N, a.State, p.State, ErrInvalid)
	}
	set := func(_ *sqlx.Tx, stored *Purchase) error {
		stored.Token = clip(p.Token, wToken)
		return nil
	}
	return db.changeIn(ctx, tx, p, next, set, func(tx *sqlx.Tx, stored Purchase) error {
		err := one(tx.ExecContext(ctx, `UPDATE attempts SET state = ?, vendor_ref = ?, cost = ?, commission = ?, token = ?, detail = ?,
			http_status = ?, queries = ? WHERE purchase_id = ? AND n = ? AND state IN (?, ?, ?)`,
			append([]any{a.State, clip(a.VendorRef, 128), a.Cost, a.Commission, clip(a.Token, wToken), clip(a.Detail, 255),
				a.HTTPStatus, a.Queries, p.ID, a.N}, from...)...))
		if err != nil {
			return err
		}
		if a.State == Reversed {
			return db.undoCapture(ctx, tx, stored)
		}
		return db.bookLate(ctx, tx, stored, a, p.State == Failed || p.State == Reversed)
	})
}

// undoCapture gives a captured amount back to the wallet.
func (db *DB) undoCapture(ctx context.Context, tx *sqlx.Tx, p Purchase) error {
	var capture int64
	if err := tx.GetContext(ctx, &capture, "SELECT id FROM entries WHERE kind = ? AND reference = ?", entryCapture, p.Ref); err != nil {
		return fmt.Errorf("capture: %w", notFound(err))
	}
	moved, err := db.move(ctx, tx, p.MSISDN, p.Amount, 0)
	if err == nil && !moved {
		err = ErrNoWallet
	}
	if err != nil {
		return err
	}
	return db.post(ctx, tx, entry{kind: entryReversal, reference: p.Ref, msisdn: p.MSISDN, reverses: capture},
		posting{accountWallet + p.MSISDN, p.Amount}, posting{accountFloat + p.Vendor, -p.ComputedCost()},
		posting{accountRevenue + p.Network, -p.Commission})
}

// bookLate books what a vendor took for a delivery that nobody paid for.
// refunded tells that it is the only delivery of the purchase, whose money is back.
func (db *DB) bookLate(ctx context.Context, tx *sqlx.Tx, p Purchase, a Attempt, refunded bool) error {
	loss := accountDoubled
	if refunded {
		loss = accountLost
	}
	e := entry{kind: entryLate, reference: a.Reference, msisdn: p.MSISDN}
	cost, disputed, err := disputeOf(ctx, tx, p.Ref, a.Vendor)
	switch {
	case err != nil:
		return err
	case disputed:
		// The dispute has the vendor paid already.
		return db.post(ctx, tx, e, posting{loss, -cost}, posting{accountDisputed, cost})
	}
	if cost, err = db.costOf(ctx, tx, p, a.Vendor); err != nil {
		return err
	}
	return db.post(ctx, tx, e, posting{loss, -cost}, posting{accountFloat + a.Vendor, cost})
}

// disputeOf is what the purchase's dispute, if there is one that has not been
// reversed, has the vendor take.
func disputeOf(ctx context.Context, tx *sqlx.Tx, ref, vendor string) (cost int64, disputed bool, err error) {
	err = tx.GetContext(ctx, &cost, `SELECT p.amount FROM entries e JOIN postings p ON p.entry_id = e.id
			LEFT JOIN entries r ON r.reverses_id = e.id
		WHERE e.kind = ? AND e.reference = ? AND p.account = ? AND r.id IS NULL`, entryDispute, ref, accountFloat+vendor)
	if err = notFound(err); errors.Is(err, ErrNotFound) {
		return 0, false, nil
	}
	return cost, err == nil, err
}

// costOf is what the vendor takes for the purchase's amount by the rate in
// force now.
func (db *DB) costOf(ctx context.Context, tx *sqlx.Tx, p Purchase, vendor string) (int64, error) {
	bps, err := commissionFor(ctx, tx, p.Network, vendor, p.UpdatedAt)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return p.Amount - commission(p.Amount, bps), err
}

// dispute books what the vendor of a purchase that is refunded in doubt may
// have taken, so that a delivery that comes out later has somewhere to go.
func (db *DB) dispute(ctx context.Context, tx *sqlx.Tx, p Purchase) error {
	cost, err := db.costOf(ctx, tx, p, p.Vendor)
	if err != nil {
		return err
	}
	return db.post(ctx, tx, entry{kind: entryDispute, reference: p.Ref, msisdn: p.MSISDN},
		posting{accountDisputed, -cost}, posting{accountFloat + p.Vendor, cost})
}

// recheckAfter is when the vendor of a purchase that was ambiguous is asked once
// more after the decision.
const recheckAfter = time.Hour

// recheckAt has Rechecks give a decided purchase from then on.
func (db *DB) recheckAt(ctx context.Context, tx *sqlx.Tx, purchase int64, at time.Time) error {
	n, err := affected(tx.ExecContext(ctx, "UPDATE rechecks SET at = ? WHERE purchase_id = ?", millis(at), purchase))
	if err != nil || n == 1 {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO rechecks (purchase_id, at) VALUES (?, ?)", purchase, millis(at))
	if db.engine.duplicate(err) {
		return errAgain
	}
	return err
}

// Rechecks gives at most limit decided purchases whose vendors owner is to ask
// again, and puts each off until again: who dies over it loses nothing. They are
// owner's own, and those of others without a lease, which become owner's in this
// call as in Due: so nobody else asks at the same time.
func (db *DB) Rechecks(ctx context.Context, owner string, now, again time.Time, limit int) (due []Purchase, err error) {
	if err := validName("owner", owner, 128); err != nil {
		return nil, fmt.Errorf("rechecks: %w", err)
	}
	// Looking first keeps the writer free while there is nothing to do, as
	// nearly always.
	var ids []int64
	err = db.r.SelectContext(ctx, &ids, `SELECT purchase_id FROM rechecks JOIN purchases ON purchases.id = purchase_id
		WHERE at <= ? AND (owner = ? OR NOT EXISTS (SELECT 1 FROM instances WHERE instances.owner = purchases.owner AND lease_until > ?))
		ORDER BY at, purchase_id LIMIT ?`, millis(now), owner, millis(now), limit)
	if err == nil && len(ids) > 0 {
		err = db.tx(ctx, func(tx *sqlx.Tx) error {
			due = nil
			for _, id := range ids {
				p, err := purchaseBy(ctx, tx, "id", id)
				if err != nil {
					return err
				}
				if ours, err := db.adopt(ctx, tx, &p, owner); err != nil {
					return err
				} else if !ours {
					continue
				}
				n, err := affected(tx.ExecContext(ctx, "UPDATE rechecks SET at = ? WHERE purchase_id = ? AND at <= ?", millis(again), id, millis(now)))
				if err != nil {
					return err
				}
				if n == 1 {
					due = append(due, p)
				}
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("rechecks: %w", err)
	}
	return due, nil
}

// Rechecked ends the rechecks of a decided purchase. confirmed tells that the
// vendors' word is known and in the books; a dispute is then over, since its
// vendor took nothing, unless a late delivery has ended it. Errors: ErrConflict if
// there is a dispute and p has changed, after which the rechecks go on.
func (db *DB) Rechecked(ctx context.Context, p Purchase, confirmed bool) error {
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		if confirmed {
			if _, err := db.endDispute(ctx, tx, p); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM rechecks WHERE purchase_id = ?", p.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("rechecked: %w", err)
	}
	return nil
}

// endDispute reverses the dispute of a purchase whose vendor took nothing, if there
// is one that is not over.
func (db *DB) endDispute(ctx context.Context, tx *sqlx.Tx, p Purchase) (ended bool, err error) {
	var dispute int64
	err = tx.GetContext(ctx, &dispute, `SELECT e.id FROM entries e LEFT JOIN entries r ON r.reverses_id = e.id
		WHERE e.kind = ? AND e.reference = ? AND r.id IS NULL
			AND NOT EXISTS (SELECT 1 FROM attempts WHERE purchase_id = ? AND vendor = ? AND state = ?)`, entryDispute, p.Ref, p.ID, p.Vendor, Late)
	if err = notFound(err); errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Nobody books a late delivery to the dispute meanwhile.
	if err := one(tx.ExecContext(ctx, "UPDATE purchases SET version = version + 1 WHERE id = ? AND version = ?", p.ID, p.Version)); err != nil {
		return false, err
	}
	return true, db.mirror(ctx, tx, dispute, p.MSISDN, "the vendor took nothing")
}

// How long a purchase is let alone after it has moved, for a vendor that reports
// on it by itself: its answer is about to come by the usual way, or has just come.
const (
	pendingQuiet = 5 * time.Second
	decidedQuiet = time.Minute
)

// AskSoon has a vendor asked about the purchase that it knows by a reference of
// ours or, if that is "", by its own, as Record kept it with an attempt; of several
// purchases the newest. The vendor has reported something, which nobody believes:
// it is asked at once if the purchase is pending, and also if it needs review,
// which makes it pending again, or is decided, for the truth that came late; but
// not before it has been quiet for a moment. soon is false if nothing is to be
// asked. Errors: ErrNotFound.
func (db *DB) AskSoon(ctx context.Context, vendor, reference, vendorRef string) (soon bool, err error) {
	p, err := db.attempted(ctx, vendor, reference, vendorRef)
	if err != nil {
		return false, fmt.Errorf("attempt %.40q at %.40q: %w", cmp.Or(reference, vendorRef), vendor, err)
	}
	now := db.stamp()
	switch {
	case p.State == Pending:
		at := p.UpdatedAt.Add(pendingQuiet)
		if at.Before(now) {
			at = now
		}
		err = db.tx(ctx, func(tx *sqlx.Tx) error {
			n, err := affected(tx.ExecContext(ctx, "UPDATE purchases SET next_at = ? WHERE id = ? AND version = ? AND next_at > ?",
				millis(at), p.ID, p.Version, millis(at)))
			soon = n == 1
			return err
		})
	case p.State == Review && now.Sub(p.UpdatedAt) >= decidedQuiet:
		set := func(_ *sqlx.Tx, stored *Purchase) error { stored.NextAt = now; return nil }
		_, err = db.change(ctx, p, Pending, set, func(*sqlx.Tx, Purchase) error { return nil })
		if soon = err == nil; errors.Is(err, ErrConflict) {
			err = nil // somebody has just done something about it
		}
	case !p.DecidedAt.IsZero() && now.Sub(p.UpdatedAt) >= decidedQuiet:
		soon = true
		err = db.tx(ctx, func(tx *sqlx.Tx) error { return db.recheckAt(ctx, tx, p.ID, now) })
	}
	if err != nil {
		return false, fmt.Errorf("ask about %s: %w", p.Ref, err)
	}
	return soon, nil
}

// attempted is the purchase of the attempt that a vendor knows by a reference of
// ours or, if that is "", by its own.
func (db *DB) attempted(ctx context.Context, vendor, reference, vendorRef string) (Purchase, error) {
	column, name := "reference", reference
	if reference == "" {
		column, name = "vendor_ref", vendorRef
	}
	if name == "" {
		return Purchase{}, ErrNotFound // an attempt whose answer named none has ""
	}
	var id sql.NullInt64
	if err := db.r.GetContext(ctx, &id, "SELECT MAX(purchase_id) FROM attempts WHERE "+column+" = ? AND vendor = ?", name, vendor); err != nil {
		return Purchase{}, err
	}
	if !id.Valid {
		return Purchase{}, ErrNotFound
	}
	return purchaseBy(ctx, db.r, "id", id.Int64)
}
