package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// moves are the allowed changes of a purchase's state, each a compare-and-set.
// Attempt makes held → sending, Release held → failed, Turn what comes after
// delivered and failed, and Record and the operators all the others. Due
// changes the owner only.
var moves = map[string][]string{
	Held:      {Sending, Failed},
	Sending:   {Held, Pending, Delivered, Failed},
	Pending:   {Held, Pending, Review, Delivered, Failed},
	Review:    {Pending, Delivered, Failed},
	Delivered: {Reversed, Delivered}, // stays delivered when a second attempt turns out to have delivered too
	Failed:    {Late},
	Late:      {Late},     // as delivered
	Reversed:  {Reversed}, // likewise
}

// Moves is the table of the allowed changes of a purchase's state.
func Moves() map[string][]string {
	table := make(map[string][]string)
	for from, to := range moves {
		table[from] = slices.Clone(to)
	}
	return table
}

// outcomes are the states in which an attempt can leave its purchase in a
// state.
var outcomes = map[string][]string{
	Held:      {Declined, NotSent, Unavailable},
	Pending:   {Pending},
	Review:    {Pending},
	Delivered: {Delivered},
	Failed:    {Declined, NotSent, Unavailable},
}

type purchaseRow struct {
	Purchase
	CreatedMS int64 `db:"created_at"`
	UpdatedMS int64 `db:"updated_at"`
	DecidedMS int64 `db:"decided_at"`
	NextMS    int64 `db:"next_at"`
	UnsureMS  int64 `db:"unsure_at"`
	FailedMS  int64 `db:"failed_at"`
}

func (r purchaseRow) purchase() Purchase {
	r.Purchase.CreatedAt, r.Purchase.UpdatedAt = instant(r.CreatedMS), instant(r.UpdatedMS)
	r.Purchase.DecidedAt, r.Purchase.NextAt = instant(r.DecidedMS), instant(r.NextMS)
	r.Purchase.UnsureAt, r.Purchase.FailedAt = instant(r.UnsureMS), instant(r.FailedMS)
	return r.Purchase
}

func rowOf(p Purchase) purchaseRow {
	return purchaseRow{p, millis(p.CreatedAt), millis(p.UpdatedAt), millis(p.DecidedAt), millis(p.NextAt), millis(p.UnsureAt), millis(p.FailedAt)}
}

type attemptRow struct {
	Attempt
	MSISDN     string `db:"msisdn"`
	StartedMS  int64  `db:"started_at"`
	FinishedMS int64  `db:"finished_at"`
}

func (r attemptRow) attempt() Attempt {
	r.Attempt.StartedAt, r.Attempt.FinishedAt = instant(r.StartedMS), instant(r.FinishedMS)
	return r.Attempt
}

// wToken is the width of the columns of tokens.
const wToken = 200

const (
	purchaseColumns = `id, ref, idem_key, session_id, msisdn, recipient, network, amount, state, reason, attempts, vendor, vendor_ref,
		cost, commission, commission_bps, token, owner, version, created_at, updated_at, decided_at, next_at,
		unsure_at, failed_at`
	selectPurchase = "SELECT " + purchaseColumns + " FROM purchases"
	insertPurchase = "INSERT INTO purchases (" + purchaseColumns + `) VALUES (:id, :ref, :idem_key, :session_id, :msisdn, :recipient,
		:network, :amount, :state, :reason, :attempts, :vendor, :vendor_ref, :cost, :commission, :commission_bps, :token, :owner, :version,
		:created_at, :updated_at, :decided_at, :next_at, :unsure_at, :failed_at)`

	updatePurchase = `UPDATE purchases SET state = :state, reason = :reason, attempts = :attempts, vendor = :vendor,
		vendor_ref = :vendor_ref, cost = :cost, commission = :commission, commission_bps = :commission_bps, token = :token, version = version + 1,
		updated_at = :updated_at, decided_at = :decided_at, next_at = :next_at, unsure_at = :unsure_at,
		failed_at = :failed_at
		WHERE id = :id AND version = :version AND owner = :owner`

	attemptColumns = `purchase_id, n, vendor, reference, state, reason, http_status, vendor_ref, cost, commission, token, detail, queries,
		not_found, started_at, finished_at`
	insertAttempt = "INSERT INTO attempts (msisdn, " + attemptColumns + `) VALUES (:msisdn, :purchase_id, :n, :vendor, :reference,
		:state, :reason, :http_status, :vendor_ref, :cost, :commission, :token, :detail, :queries, :not_found, :started_at, :finished_at)`
	updateAttempt = `UPDATE attempts SET state = :state, reason = :reason, http_status = :http_status, vendor_ref = :vendor_ref,
		cost = :cost, commission = :commission, token = :token, detail = :detail, queries = :queries, not_found = :not_found, finished_at = :finished_at
		WHERE purchase_id = :purchase_id AND n = :n AND state IN ('sending', 'pending')`
)

// Hold records the purchase p in state held and reserves its amount in the
// payer's wallet, in one transaction. p brings ID, Ref, Key, Session, MSISDN,
// Recipient, Network, Amount, Owner and NextAt, and may bring CreatedAt; the
// rest is set here. If there is a purchase with that Key, it is returned with
// created false and nothing is written. Errors: ErrMismatch if that one is of
// another payer, recipient, network or amount; ErrInsufficient; ErrNoWallet;
// ErrOpen if the payer has an undecided purchase of that amount for that
// recipient, unless p.Again; ErrLimit (see Limits); ErrInvalid, also if ID or
// Ref are in use.
func (db *DB) Hold(ctx context.Context, p Purchase) (stored Purchase, created bool, err error) {
	if err := validPurchase(p); err != nil {
		return Purchase{}, false, fmt.Errorf("hold %s: %w", p.Ref, err)
	}
	now := db.stamp()
	fresh := Purchase{
		ID: p.ID, Ref: p.Ref, Key: p.Key, Session: p.Session, MSISDN: p.MSISDN, Recipient: p.Recipient, Network: p.Network,
		Amount: p.Amount, State: Held, Owner: p.Owner, Version: 1, CreatedAt: now, UpdatedAt: now, NextAt: instant(millis(p.NextAt)),
	}
	if !p.CreatedAt.IsZero() {
		fresh.CreatedAt = instant(millis(p.CreatedAt))
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		stored, created = Purchase{}, false
		old, err := purchaseBy(ctx, tx, "idem_key", p.Key)
		switch {
		case err == nil && (old.MSISDN != p.MSISDN || old.Recipient != p.Recipient || old.Network != p.Network || old.Amount != p.Amount):
			return ErrMismatch
		case err == nil:
			stored = old
			return nil
		case !errors.Is(err, ErrNotFound):
			return err
		}
		short := db.reserve(ctx, tx, fresh)
		if short != nil && !errors.Is(short, ErrInsufficient) {
			return short
		}
		// Whoever moved this wallet before has committed: of two orders of the
		// same, one sees the other, which may be what has made the balance short.
		if !p.Again {
			if err := undecided(ctx, tx, p); err != nil {
				return err
			}
		}
		if short != nil {
			return short
		}
		if err := db.withinLimits(ctx, tx, fresh); err != nil {
			return err
		}
		_, err = tx.NamedExecContext(ctx, insertPurchase, rowOf(fresh))
		switch {
		case db.engine.duplicate(err) && repeated(ctx, tx, p.Key):
			return errAgain
		case db.engine.duplicate(err):
			return fmt.Errorf("id or reference in use: %w", ErrInvalid)
		case err != nil:
			return err
		}
		e := entry{kind: entryHold, reference: fresh.Ref, msisdn: fresh.MSISDN}
		if err := db.post(ctx, tx, e, posting{accountWallet + p.MSISDN, -p.Amount}, posting{accountHold + p.MSISDN, p.Amount}); err != nil {
			return err
		}
		stored, created = fresh, true
		return nil
	})
	if err != nil {
		return Purchase{}, false, fmt.Errorf("hold %s: %w", p.Ref, err)
	}
	return stored, created, nil
}

// reserve moves the amount from balance to held, or says why it cannot.
func (db *DB) reserve(ctx context.Context, tx *sqlx.Tx, p Purchase) error {
	moved, err := db.move(ctx, tx, p.MSISDN, -p.Amount, p.Amount)
	if err != nil || moved {
		return err
	}
	// The same confirmation may have spent the balance while this transaction
	// waited for the wallet.
	if repeated(ctx, tx, p.Key) {
		return errAgain
	}
	switch _, err := getWallet(ctx, tx, p.MSISDN); {
	case err == nil:
		return ErrInsufficient
	case errors.Is(err, ErrNotFound):
		return ErrNoWallet
	default:
		return err
	}
}

// OpenError is ErrOpen with the purchase that is open.
type OpenError struct{ Purchase Purchase }

func (e *OpenError) Error() string { return fmt.Sprintf("%v: %s", ErrOpen, e.Purchase.Ref) }

// Unwrap makes it ErrOpen.
func (e *OpenError) Unwrap() error { return ErrOpen }

// undecided is an OpenError with the newest undecided purchase of p's payer for
// p's recipient and amount, or nil. The index purchases_same covers the subquery,
// so that it does not read all that the payer ever bought.
func undecided(ctx context.Context, tx *sqlx.Tx, p Purchase) error {
	var row purchaseRow
	err := tx.GetContext(ctx, &row, selectPurchase+` WHERE id = (SELECT MAX(id) FROM purchases
		WHERE msisdn = ? AND recipient = ? AND amount = ? AND state IN (?, ?, ?, ?))`, p.MSISDN, p.Recipient, p.Amount, Held, Sending, Pending, Review)
	if err = notFound(err); errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return &OpenError{row.purchase()}
}

// repeated reports whether a purchase with that key has been committed
// meanwhile. An error counts as yes: the next try meets it again.
func repeated(ctx context.Context, tx *sqlx.Tx, key string) bool {
	_, err := purchaseBy(ctx, tx, "idem_key", key)
	return !errors.Is(err, ErrNotFound)
}

// Attempt records that attempt a, with its number, Vendor, Reference and
// StartedAt, is about to be sent for the held purchase p, which becomes sending
// and takes Vendor from a and NextAt from p. Only when Attempt has returned nil
// may a byte leave. Errors: ErrConflict; ErrInvalid, also if the Reference was
// used before; ErrNotFound.
func (db *DB) Attempt(ctx context.Context, p Purchase, a Attempt) (Purchase, error) {
	err := errors.Join(validName("vendor", a.Vendor, 64), validName("reference", a.Reference, 64))
	if err == nil && (a.Purchase != p.ID || a.N != p.Attempts+1) {
		err = fmt.Errorf("number %d of purchase %d: %w", a.N, a.Purchase, ErrInvalid)
	}
	if err != nil {
		return Purchase{}, fmt.Errorf("attempt of %s: %w", p.Ref, err)
	}
	set := func(_ *sqlx.Tx, stored *Purchase) error {
		stored.Attempts, stored.Vendor, stored.VendorRef, stored.Cost, stored.Token, stored.NextAt = a.N, a.Vendor, "", 0, "", p.NextAt
		stored.FailedAt = time.Time{}
		return nil
	}
	changed, err := db.change(ctx, p, Sending, set, func(tx *sqlx.Tx, stored Purchase) error {
		_, err := tx.NamedExecContext(ctx, insertAttempt, attemptRow{
			Attempt:   Attempt{Purchase: a.Purchase, N: a.N, Vendor: a.Vendor, Reference: a.Reference, State: Sending},
			MSISDN:    stored.MSISDN,
			StartedMS: millis(a.StartedAt),
		})
		if db.engine.duplicate(err) {
			return fmt.Errorf("reference %s in use: %w", a.Reference, ErrInvalid)
		}
		return err
	})
	if err != nil {
		return Purchase{}, fmt.Errorf("attempt of %s: %w", p.Ref, err)
	}
	return changed, nil
}

// Record records what became of p's open attempt a and moves p to next, in one
// transaction. The stored purchase takes Reason, VendorRef, Cost, Token and
// NextAt from p.
//
//	next          a.State                            money
//	held          declined, not_sent, unavailable    stays held
//	pending       pending                            stays held
//	needs_review  pending                            stays held
//	delivered     delivered                          captured, with the commission in force now
//	failed        declined, not_sent, unavailable    released
//
// Errors: ErrConflict; ErrInvalid for another combination; ErrNotFound.
func (db *DB) Record(ctx context.Context, p Purchase, a Attempt, next string) (Purchase, error) {
	if !slices.Contains(outcomes[next], a.State) || a.Purchase != p.ID || a.N != p.Attempts {
		return Purchase{}, fmt.Errorf("record %s: attempt %d of %d is %s, purchase %s: %w", p.Ref, a.N, a.Purchase, a.State, next, ErrInvalid)
	}
	row := attemptRow{Attempt: a, FinishedMS: millis(a.FinishedAt)}
	row.Reason, row.VendorRef, row.Detail, row.Token = clip(a.Reason, 64), clip(a.VendorRef, 128), clip(a.Detail, 255), clip(a.Token, wToken)
	set := func(tx *sqlx.Tx, stored *Purchase) error {
		if stored.State == Review {
			return ErrConflict // an operator's
		}
		stored.Reason, stored.VendorRef, stored.Cost, stored.NextAt = clip(p.Reason, 64), clip(p.VendorRef, 128), p.Cost, p.NextAt
		stored.Token = clip(p.Token, wToken)
		switch next {
		case Pending, Review:
			if stored.UnsureAt.IsZero() {
				stored.UnsureAt = instant(millis(cmp.Or(a.FinishedAt, a.StartedAt, stored.UpdatedAt)))
			}
		case Held, Failed:
			stored.FailedAt = stored.UpdatedAt
			if stored.State == Sending && !a.FinishedAt.IsZero() {
				stored.FailedAt = instant(millis(a.FinishedAt))
			}
		case Delivered:
			return db.setCommission(ctx, tx, stored)
		}
		return nil
	}
	changed, err := db.change(ctx, p, next, set, func(tx *sqlx.Tx, stored Purchase) error {
		if err := one(tx.NamedExecContext(ctx, updateAttempt, row)); err != nil {
			return err
		}
		switch next {
		case Delivered:
			return db.capture(ctx, tx, stored)
		case Failed:
			return db.release(ctx, tx, stored)
		}
		return nil
	})
	if err != nil {
		return Purchase{}, fmt.Errorf("record %s: %w", p.Ref, err)
	}
	return changed, nil
}

// Release fails the held purchase p for a reason and gives its money back.
// Errors: ErrConflict, ErrNotFound.
func (db *DB) Release(ctx context.Context, p Purchase, reason string) (Purchase, error) {
	set := func(_ *sqlx.Tx, stored *Purchase) error {
		if stored.State != Held {
			return ErrConflict
		}
		stored.Reason = clip(reason, 64)
		return nil
	}
	changed, err := db.change(ctx, p, Failed, set, func(tx *sqlx.Tx, stored Purchase) error {
		return db.release(ctx, tx, stored)
	})
	if err != nil {
		return Purchase{}, fmt.Errorf("release %s: %w", p.Ref, err)
	}
	return changed, nil
}

// change moves a purchase to a state if it still is as p says: set sets the
// fields that go with the state, the row is compared and set, which locks it,
// and then effect writes what belongs to the move. Either function may run
// several times. A decision is put into the outbox, and one that ends a doubt
// is to be checked again.
func (db *DB) change(ctx context.Context, p Purchase, state string,
	set func(*sqlx.Tx, *Purchase) error, effect func(*sqlx.Tx, Purchase) error) (changed Purchase, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		changed, err = db.changeIn(ctx, tx, p, state, set, effect)
		return err
	})
	return changed, err
}

// changeIn is change within a transaction.
func (db *DB) changeIn(ctx context.Context, tx *sqlx.Tx, p Purchase, state string,
	set func(*sqlx.Tx, *Purchase) error, effect func(*sqlx.Tx, Purchase) error) (Purchase, error) {
	stored, err := purchaseBy(ctx, tx, "id", p.ID)
	if err != nil {
		return Purchase{}, err
	}
	if stored.Version != p.Version || stored.Owner != p.Owner || stored.State != p.State || !slices.Contains(moves[stored.State], state) {
		return Purchase{}, ErrConflict
	}
	stored.UpdatedAt = db.stamp()
	if err := set(tx, &stored); err != nil {
		return Purchase{}, err
	}
	decided := stored.DecidedAt.IsZero() && (state == Delivered || state == Failed)
	told := decided || stored.State != state && (state == Reversed || state == Late)
	stored.State = state
	if decided {
		stored.DecidedAt, stored.NextAt = stored.UpdatedAt, time.Time{}
	}
	if err := one(tx.NamedExecContext(ctx, updatePurchase, rowOf(stored))); err != nil {
		return Purchase{}, err
	}
	stored.Version++
	stored.NextAt = instant(millis(stored.NextAt))
	if err := effect(tx, stored); err != nil {
		return Purchase{}, err
	}
	if decided && !stored.UnsureAt.IsZero() {
		if err := db.recheckAt(ctx, tx, stored.ID, stored.DecidedAt.Add(recheckAfter)); err != nil {
			return Purchase{}, err
		}
	}
	if !told || !db.messages {
		return stored, nil
	}
	return stored, db.tell(ctx, tx, stored)
}

// one is nil if a statement changed one row, and ErrConflict if it found none.
func one(res sql.Result, err error) error {
	switch n, err := affected(res, err); {
	case err != nil:
		return err
	case n != 1:
		return ErrConflict
	}
	return nil
}

// setCommission puts the rate in force and what it makes of the amount on the
// purchase.
func (db *DB) setCommission(ctx context.Context, tx *sqlx.Tx, p *Purchase) error {
	bps, err := commissionFor(ctx, tx, p.Network, p.Vendor, p.UpdatedAt)
	if errors.Is(err, ErrNotFound) {
		// The airtime is delivered: a rate that nobody entered must not keep
		// the purchase open.
		db.log.Warn("no commission in force, captured without", "network", p.Network, "ref", p.Ref)
		err = nil
	}
	p.CommissionBPS, p.Commission = bps, commission(p.Amount, bps)
	return err
}

// capture gives the held amount to the vendor's float, less the commission.
func (db *DB) capture(ctx context.Context, tx *sqlx.Tx, p Purchase) error {
	return db.settle(ctx, tx, p, entryCapture, 0, posting{accountHold + p.MSISDN, -p.Amount},
		posting{accountFloat + p.Vendor, p.Amount - p.Commission}, posting{accountRevenue + p.Network, p.Commission})
}

// release gives the held amount back to the wallet.
func (db *DB) release(ctx context.Context, tx *sqlx.Tx, p Purchase) error {
	return db.settle(ctx, tx, p, entryRelease, p.Amount, posting{accountHold + p.MSISDN, -p.Amount}, posting{accountWallet + p.MSISDN, p.Amount})
}

// settle ends a hold: back is what returns to the wallet's balance.
func (db *DB) settle(ctx context.Context, tx *sqlx.Tx, p Purchase, kind string, back int64, postings ...posting) error {
	moved, err := db.move(ctx, tx, p.MSISDN, back, -p.Amount)
	if err != nil {
		return err
	}
	if !moved {
		return errors.New("the wallet holds less than the purchase: run `ussdctl ledger check`")
	}
	return db.post(ctx, tx, entry{kind: kind, reference: p.Ref, msisdn: p.MSISDN}, postings...)
}

// Purchase is the purchase with that reference and its attempts in order, or
// ErrNotFound.
func (db *DB) Purchase(ctx context.Context, ref string) (p Purchase, attempts []Attempt, err error) {
	err = db.snapshot(ctx, func(tx *sqlx.Tx) error {
		if p, err = purchaseBy(ctx, tx, "ref", ref); err != nil {
			return err
		}
		attempts = nil
		var rows []attemptRow
		err := tx.SelectContext(ctx, &rows, "SELECT "+attemptColumns+" FROM attempts WHERE purchase_id = ? ORDER BY n", p.ID)
		for _, r := range rows {
			attempts = append(attempts, r.attempt())
		}
		return err
	})
	if err != nil {
		return Purchase{}, nil, fmt.Errorf("purchase %.40q: %w", ref, err)
	}
	return p, attempts, nil
}

// PurchaseByKey is the purchase with that idempotency key, or ErrNotFound.
func (db *DB) PurchaseByKey(ctx context.Context, key string) (Purchase, error) {
	p, err := purchaseBy(ctx, db.r, "idem_key", key)
	if err != nil {
		return Purchase{}, fmt.Errorf("purchase of key %.40q: %w", key, err)
	}
	return p, nil
}

// purchaseBy is the purchase with that value in a unique column, or
// ErrNotFound.
func purchaseBy(ctx context.Context, q sqlx.QueryerContext, column string, value any) (Purchase, error) {
	var row purchaseRow
	if err := sqlx.GetContext(ctx, q, &row, selectPurchase+" WHERE "+column+" = ?", value); err != nil {
		return Purchase{}, notFound(err)
	}
	return row.purchase(), nil
}

// ListPurchases lists the purchases that f chooses, newest first.
func (db *DB) ListPurchases(ctx context.Context, f PurchaseFilter) ([]Purchase, error) {
	var w where
	w.add(f.MSISDN != "", "msisdn = ?", f.MSISDN)
	w.add(f.State != "", "state = ?", f.State)
	w.add(f.Unfinished, "state IN (?, ?, ?, ?)", Held, Sending, Pending, Review)
	now := millis(db.now())
	w.add(f.Breach, breach, now, now, RefundWithin.Milliseconds(), now, DecideWithin.Milliseconds())
	w.add(f.Variance, "cost <> 0 AND cost <> amount - commission AND state IN (?, ?)", Delivered, Reversed)
	w.add(!f.Since.IsZero(), "created_at >= ?", millis(f.Since))
	w.add(f.Before != 0, "id < ?", f.Before)
	purchases, err := selectPurchases(ctx, db.r, selectPurchase+w.String()+" ORDER BY id DESC LIMIT ?", append(w.args, limit(f.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("list purchases: %w", err)
	}
	return purchases, nil
}

func selectPurchases(ctx context.Context, q sqlx.QueryerContext, query string, args ...any) ([]Purchase, error) {
	var rows []purchaseRow
	if err := sqlx.SelectContext(ctx, q, &rows, query, args...); err != nil {
		return nil, err
	}
	purchases := make([]Purchase, len(rows))
	for i, r := range rows {
		purchases[i] = r.purchase()
	}
	return purchases, nil
}

// Due returns at most limit unfinished purchases for owner to work on, those
// with the earliest NextAt first: its own whose NextAt is not after now, and
// those of other owners whose lease had run out at now, or that never had one.
// The latter become owner's in this call; of several callers one gets each. A
// purchase is handed out again at each call until a move puts its NextAt off.
func (db *DB) Due(ctx context.Context, owner string, now time.Time, limit int) (due []Purchase, err error) {
	if err := validName("owner", owner, 128); err != nil {
		return nil, fmt.Errorf("due: %w", err)
	}
	candidates, err := selectPurchases(ctx, db.r, selectPurchase+` WHERE state IN (?, ?, ?) AND (owner = ? AND next_at <= ? OR owner <> ?
		AND NOT EXISTS (SELECT 1 FROM instances WHERE instances.owner = purchases.owner AND lease_until > ?)) ORDER BY next_at, id LIMIT ?`,
		Held, Sending, Pending, owner, millis(now), owner, millis(now), limit)
	if err != nil {
		return nil, fmt.Errorf("due: %w", err)
	}
	foreign := func(p Purchase) bool { return p.Owner != owner }
	if !slices.ContainsFunc(candidates, foreign) {
		return candidates, nil
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		due = nil
		for _, p := range candidates {
			ours, err := db.adopt(ctx, tx, &p, owner)
			if err != nil {
				return err
			}
			if ours {
				due = append(due, p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("due: %w", err)
	}
	return due, nil
}

// adopt makes p owner's, unless it is already. ours is false if somebody else was
// faster.
func (db *DB) adopt(ctx context.Context, tx *sqlx.Tx, p *Purchase, owner string) (ours bool, err error) {
	if p.Owner == owner {
		return true, nil
	}
	at := db.stamp()
	n, err := affected(tx.ExecContext(ctx, "UPDATE purchases SET owner = ?, version = version + 1, updated_at = ? WHERE id = ? AND version = ? AND owner = ?",
		owner, millis(at), p.ID, p.Version, p.Owner))
	if err != nil || n != 1 {
		return false, err
	}
	p.Owner, p.Version, p.UpdatedAt = owner, p.Version+1, at
	return true, nil
}

// staleLease is how long a lease that ran out is kept; a lease that is not
// there has run out too.
const staleLease = 24 * time.Hour

// Renew sets owner's lease: until then its purchases are handed to nobody else.
// An owner renews before its first Hold, and then well before each end; one
// that stops for good sets an until that has passed, so that others need not
// wait. Owners are named anew each time a process starts, since what a process
// held in memory died with it.
func (db *DB) Renew(ctx context.Context, owner string, until time.Time) error {
	if err := validName("owner", owner, 128); err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		n, err := affected(tx.ExecContext(ctx, "UPDATE instances SET lease_until = ? WHERE owner = ?", millis(until), owner))
		if err != nil || n == 1 {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM instances WHERE lease_until < ?", millis(db.now().Add(-staleLease))); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO instances (owner, lease_until) VALUES (?, ?)", owner, millis(until))
		if db.engine.duplicate(err) {
			return errAgain
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	return nil
}

func validPurchase(p Purchase) error {
	err := errors.Join(validMSISDN(p.MSISDN), validMSISDN(p.Recipient), validAmount(p.Amount), validName("ref", p.Ref, 32),
		validName("key", p.Key, 128), validName("network", p.Network, 32), validName("owner", p.Owner, 128))
	if err == nil && p.ID <= 0 {
		err = fmt.Errorf("id %d: %w", p.ID, ErrInvalid)
	}
	return err
}

// where collects the conditions of a query.
type where struct {
	conditions []string
	args       []any
}

func (w *where) add(used bool, condition string, args ...any) {
	if used {
		w.conditions = append(w.conditions, condition)
		w.args = append(w.args, args...)
	}
}

func (w *where) String() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}
