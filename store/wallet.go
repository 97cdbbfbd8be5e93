package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
)

type walletRow struct {
	Wallet
	OpenedMS int64 `db:"opened_at"`
}

func (r walletRow) wallet() Wallet {
	r.Wallet.OpenedAt = instant(r.OpenedMS)
	return r.Wallet
}

const selectWallet = "SELECT msisdn, balance, held, opened_at FROM wallets"

// openRows is how many wallets one statement of OpenWallets looks for or makes.
const openRows = 500

// OpenWallets gives an empty wallet to those subscribers who have none. If one
// of them cannot have any, the error wraps ErrInvalid and nothing is written.
func (db *DB) OpenWallets(ctx context.Context, msisdns []string) error {
	for _, msisdn := range msisdns {
		if err := validMSISDN(msisdn); err != nil {
			return fmt.Errorf("open wallet: %w", err)
		}
	}
	for batch := range slices.Chunk(msisdns, openRows) {
		if err := db.openWallets(ctx, batch); err != nil {
			return fmt.Errorf("open %d wallets: %w", len(batch), err)
		}
	}
	return nil
}

func (db *DB) openWallets(ctx context.Context, msisdns []string) error {
	// Nearly every subscriber who dials has a wallet: look before taking the
	// writer.
	args := make([]any, len(msisdns))
	for i, msisdn := range msisdns {
		args[i] = msisdn
	}
	var there []string
	if err := db.r.SelectContext(ctx, &there, "SELECT msisdn FROM wallets WHERE msisdn IN "+tuples(1, len(args)), args...); err != nil {
		return err
	}
	slices.Sort(there)
	args = args[:0]
	for _, msisdn := range msisdns {
		if _, found := slices.BinarySearch(there, msisdn); !found {
			args = append(args, msisdn, 0, 0, millis(db.now()))
		}
	}
	if len(args) == 0 {
		return nil
	}
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		return insert(ctx, tx, "wallets", walletColumns, args, db.engine.keepOld("msisdn"))
	})
}

var walletColumns = []string{"msisdn", "balance", "held", "opened_at"}

func (db *DB) insertWallet(ctx context.Context, tx *sqlx.Tx, msisdn string, balance int64) error {
	return insert(ctx, tx, "wallets", walletColumns, []any{msisdn, balance, 0, millis(db.now())}, "")
}

// Wallet is the subscriber's wallet, or ErrNotFound.
func (db *DB) Wallet(ctx context.Context, msisdn string) (Wallet, error) {
	w, err := getWallet(ctx, db.r, msisdn)
	if err != nil {
		return Wallet{}, fmt.Errorf("wallet %s: %w", mask(msisdn), err)
	}
	return w, nil
}

func getWallet(ctx context.Context, q sqlx.QueryerContext, msisdn string) (Wallet, error) {
	var row walletRow
	if err := sqlx.GetContext(ctx, q, &row, selectWallet+" WHERE msisdn = ?", msisdn); err != nil {
		return Wallet{}, notFound(err)
	}
	return row.wallet(), nil
}

// ListWallets lists wallets by number.
func (db *DB) ListWallets(ctx context.Context, f WalletFilter) ([]Wallet, error) {
	var rows []walletRow
	err := db.r.SelectContext(ctx, &rows, selectWallet+" WHERE msisdn > ? ORDER BY msisdn LIMIT ?", f.After, limit(f.Limit))
	if err != nil {
		return nil, fmt.Errorf("list wallets: %w", err)
	}
	wallets := make([]Wallet, len(rows))
	for i, r := range rows {
		wallets[i] = r.wallet()
	}
	return wallets, nil
}

// Credit puts amount kobo from funding:source into the wallet of msisdn, which
// it opens if need be. (source, reference) makes it idempotent: the second time
// credited is false and nothing changes, or the error is ErrMismatch if the
// wallet or the amount is another, or if a provider of the source's name has
// reported a deposit by that reference, which is to be assigned. The wallet returned is as it stands
// afterwards. op's reason is kept with the entry. Errors: also ErrApproval; ErrConflict
// if the credit of that reference was undone.
func (db *DB) Credit(ctx context.Context, op Operation, msisdn string, amount int64, source, reference string) (credited bool, w Wallet, err error) {
	err = errors.Join(validMSISDN(msisdn), validAmount(amount), validSource("source", source), validName("reference", reference, 120))
	if err != nil {
		return false, Wallet{}, fmt.Errorf("credit: %w", err)
	}
	e := entry{kind: entryCredit, reference: source + ":" + reference, msisdn: msisdn, note: clip(op.Reason, 255)}
	op.Action, op.Subject = fmt.Sprintf("wallet credit %d kobo to %s", amount, msisdn), e.reference
	repeated := func(tx *sqlx.Tx) (bool, error) {
		old, before, err := creditOf(ctx, tx, e.reference)
		switch {
		case err != nil || !before:
			return false, err
		case old.Undone:
			return false, fmt.Errorf("it was credited and undone, give it another reference: %w", ErrConflict)
		case old.MSISDN != msisdn || old.Amount != amount:
			return false, ErrMismatch
		}
		w, err = getWallet(ctx, tx, msisdn)
		return true, err
	}
	// A repeat asks nobody for approval.
	before := false
	err = db.snapshot(ctx, func(tx *sqlx.Tx) error { before, err = repeated(tx); return err })
	if err == nil && !before {
		err = db.operate(ctx, op, func(tx *sqlx.Tx) (bool, error) {
			credited = false
			if err := db.lockSubject(ctx, tx, "payment", e.reference); err != nil {
				return false, err
			}
			if before, err := repeated(tx); err != nil || before {
				return false, err
			}
			if _, err := depositBy(ctx, tx, source, reference); !errors.Is(err, ErrNotFound) {
				if err == nil {
					err = fmt.Errorf("%s has reported it as a deposit, assign that: %w", source, ErrMismatch)
				}
				return false, err
			}
			if err := db.pay(ctx, tx, msisdn, amount); err != nil {
				return false, err
			}
			if err := db.post(ctx, tx, e, posting{accountFunding + source, -amount}, posting{accountWallet + msisdn, amount}); err != nil {
				return false, err
			}
			credited = true
			w, err = getWallet(ctx, tx, msisdn)
			return true, err
		})
	}
	if err != nil {
		return false, Wallet{}, fmt.Errorf("credit %s: %w", reference, err)
	}
	return credited, w, nil
}

// creditRow is an entry that credited a wallet.
type creditRow struct {
	MSISDN string
	Amount int64
	Undone bool // by an entry that reverses it
}

// creditOf is what was credited by a reference.
func creditOf(ctx context.Context, tx *sqlx.Tx, reference string) (c creditRow, found bool, err error) {
	err = tx.GetContext(ctx, &c, `SELECT e.msisdn, p.amount, r.id IS NOT NULL AS undone FROM entries e
			JOIN postings p ON p.entry_id = e.id AND p.amount > 0 LEFT JOIN entries r ON r.reverses_id = e.id
		WHERE e.kind = ? AND e.reference = ?`, entryCredit, reference)
	if err = notFound(err); errors.Is(err, ErrNotFound) {
		return creditRow{}, false, nil
	}
	return c, err == nil, err
}

// move adds to the balance and to the held sum of a wallet; false if it is not
// there or either would fall below zero.
func (db *DB) move(ctx context.Context, tx *sqlx.Tx, msisdn string, balance, held int64) (bool, error) {
	n, err := affected(tx.ExecContext(ctx, `UPDATE wallets SET balance = balance + ?, held = held + ?
		WHERE msisdn = ? AND balance >= ? AND held >= ?`, balance, held, msisdn, -balance, -held))
	return n == 1, err
}
