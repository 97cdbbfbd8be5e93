package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Deposit is money that a payment provider reports to have come in.
type Deposit struct {
	Provider  string    `db:"provider"`  // "paystack"
	Reference string    `db:"reference"` // the provider's, unique there
	Account   string    `db:"account"`   // number of the account that received it
	MSISDN    string    `db:"msisdn"`    // whose wallet has it; "" = nobody's yet
	Amount    int64     `db:"amount"`    // kobo
	Body      []byte    `db:"body"`      // the report as it came
	At        time.Time `db:"-"`
	UndoneAt  time.Time `db:"-"` // when its entry was reversed; zero = it was not
}

type depositRow struct {
	Deposit
	AtMS     int64 `db:"at"`
	UndoneMS int64 `db:"undone_at"`
}

func (r depositRow) deposit() Deposit {
	r.Deposit.At, r.Deposit.UndoneAt = instant(r.AtMS), instant(r.UndoneMS)
	return r.Deposit
}

const selectDeposit = "SELECT provider, reference, account, msisdn, amount, body, at, undone_at FROM deposits"

// LinkAccount has deposits to a provider's account go to msisdn's wallet.
// Errors: ErrMismatch if the account is another's.
func (db *DB) LinkAccount(ctx context.Context, op Operation, provider, account, msisdn string) error {
	err := errors.Join(validMSISDN(msisdn), validSource("provider", provider), validName("account", account, 64))
	if err == nil {
		op.Action, op.Subject = "account link "+msisdn, provider+":"+account
		err = db.record(ctx, op, func(tx *sqlx.Tx) (bool, error) {
			_, err := tx.ExecContext(ctx, "INSERT INTO virtual_accounts (provider, account, msisdn, opened_at) VALUES (?, ?, ?, ?)",
				provider, account, msisdn, millis(db.now()))
			if !db.engine.duplicate(err) {
				return true, err
			}
			owner, err := accountOwner(ctx, tx, provider, account)
			if err == nil && owner != msisdn {
				err = ErrMismatch
			}
			return false, err
		})
	}
	if err != nil {
		return fmt.Errorf("account %.40q at %.40q: %w", account, provider, err)
	}
	return nil
}

// accountOwner is whose account it is, "" if nobody's.
func accountOwner(ctx context.Context, tx *sqlx.Tx, provider, account string) (msisdn string, err error) {
	err = tx.GetContext(ctx, &msisdn, "SELECT msisdn FROM virtual_accounts WHERE provider = ? AND account = ?", provider, account)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return msisdn, err
}

// Deposit books d, with its Provider, Reference, Account, Amount and Body: from
// funding:PROVIDER to the wallet of the account's owner, or to
// suspense:deposits if the account is nobody's. (Provider, Reference) makes it
// idempotent: booked is false the second time and nothing changes, or the error
// is ErrMismatch if the account or the amount is another. One that an operator
// has credited by its provider and reference before it was reported is recorded
// and not booked again; if that credit was undone, it goes to suspense:deposits. stored says whose wallet has it.
func (db *DB) Deposit(ctx context.Context, d Deposit) (stored Deposit, booked bool, err error) {
	err = errors.Join(validAmount(d.Amount), validSource("provider", d.Provider), validName("reference", d.Reference, 120),
		validName("account", d.Account, 64))
	if err != nil {
		return Deposit{}, false, fmt.Errorf("deposit: %w", err)
	}
	if d.Body == nil {
		d.Body = []byte{}
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		booked = false
		if err := db.lockSubject(ctx, tx, "payment", d.Provider+":"+d.Reference); err != nil {
			return err
		}
		stored, err = depositBy(ctx, tx, d.Provider, d.Reference)
		switch {
		case err == nil && (stored.Amount != d.Amount || stored.Account != d.Account):
			return ErrMismatch
		case err == nil || !errors.Is(err, ErrNotFound):
			return err
		}
		stored = d
		stored.At = db.stamp()
		if stored.MSISDN, err = accountOwner(ctx, tx, d.Provider, d.Account); err != nil {
			return err
		}
		credit, credited, err := creditOf(ctx, tx, d.Provider+":"+d.Reference)
		byHand := credited && !credit.Undone
		switch {
		case err != nil:
			return err
		case byHand && (credit.Amount != d.Amount || stored.MSISDN != "" && stored.MSISDN != credit.MSISDN):
			return ErrMismatch
		case byHand:
			stored.MSISDN = credit.MSISDN
		case credited:
			stored.MSISDN = "" // there is no second credit of that reference: a person assigns it
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO deposits (provider, reference, account, msisdn, amount, body, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
			d.Provider, d.Reference, d.Account, stored.MSISDN, d.Amount, d.Body, millis(stored.At))
		if db.engine.duplicate(err) {
			return errAgain
		}
		if err != nil || byHand {
			return err
		}
		booked = true
		e := entry{kind: entryDeposit, reference: d.Provider + ":" + d.Reference, msisdn: stored.MSISDN}
		from := posting{accountFunding + d.Provider, -d.Amount}
		if stored.MSISDN == "" {
			return db.post(ctx, tx, e, from, posting{accountDeposits, d.Amount})
		}
		if err := db.pay(ctx, tx, stored.MSISDN, d.Amount); err != nil {
			return err
		}
		e.kind = entryCredit
		return db.post(ctx, tx, e, from, posting{accountWallet + stored.MSISDN, d.Amount})
	})
	if err != nil {
		return Deposit{}, false, fmt.Errorf("deposit %.40q: %w", d.Reference, err)
	}
	return stored, booked, nil
}

func depositBy(ctx context.Context, q sqlx.QueryerContext, provider, reference string) (Deposit, error) {
	var row depositRow
	if err := sqlx.GetContext(ctx, q, &row, selectDeposit+" WHERE provider = ? AND reference = ?", provider, reference); err != nil {
		return Deposit{}, notFound(err)
	}
	return row.deposit(), nil
}

// pay adds to a wallet's balance, and opens the wallet if need be.
func (db *DB) pay(ctx context.Context, tx *sqlx.Tx, msisdn string, amount int64) error {
	moved, err := db.move(ctx, tx, msisdn, amount, 0)
	if err == nil && !moved {
		if err = db.insertWallet(ctx, tx, msisdn, amount); db.engine.duplicate(err) {
			err = errAgain
		}
	}
	return err
}

// AssignDeposit moves a deposit in suspense to msisdn's wallet, for an operator
// who gives a reason. Errors: ErrNotFound; ErrConflict if it is a wallet's
// already or was undone; ErrApproval.
func (db *DB) AssignDeposit(ctx context.Context, op Operation, provider, reference, msisdn string) error {
	if err := validMSISDN(msisdn); err != nil {
		return fmt.Errorf("assign deposit: %w", err)
	}
	op.Action, op.Subject = "deposit assign "+msisdn, provider+":"+reference
	err := db.operate(ctx, op, func(tx *sqlx.Tx) (bool, error) {
		d, err := depositBy(ctx, tx, provider, reference)
		if err != nil {
			return false, err
		}
		err = one(tx.ExecContext(ctx, "UPDATE deposits SET msisdn = ? WHERE provider = ? AND reference = ? AND msisdn = '' AND undone_at = 0",
			msisdn, provider, reference))
		if errors.Is(err, ErrConflict) {
			err = fmt.Errorf("it is in a wallet already, or was undone: %w", err)
		}
		if err != nil {
			return false, err
		}
		if err := db.pay(ctx, tx, msisdn, d.Amount); err != nil {
			return false, err
		}
		assignment, err := nextAssignment(ctx, tx, op.Subject)
		if err != nil {
			return false, err
		}
		return true, db.post(ctx, tx, entry{kind: entryAssign, reference: assignment, msisdn: msisdn, note: clip(op.Reason, 255)},
			posting{accountDeposits, -d.Amount}, posting{accountWallet + msisdn, d.Amount})
	})
	if err != nil {
		return fmt.Errorf("assign deposit %.40q: %w", reference, err)
	}
	return nil
}

// numbered separates the reference of a deposit from the number of its assignment,
// from the second on.
const numbered = " #"

// nextAssignment is the reference of the next assignment of a deposit, which has
// one more each time that the last one was undone.
func nextAssignment(ctx context.Context, tx *sqlx.Tx, deposit string) (string, error) {
	reference := deposit
	for n := 2; ; n++ {
		var used int
		err := tx.GetContext(ctx, &used, "SELECT COUNT(*) FROM entries WHERE kind = ? AND reference = ?", entryAssign, reference)
		if err != nil || used == 0 {
			return reference, err
		}
		reference = deposit + numbered + strconv.Itoa(n)
	}
}

// undoDeposit marks the deposit that an entry booked or assigned, because the
// entry is being reversed: it was never there, or is nobody's again. What is in a
// wallet by an assignment is not undone before that.
func (db *DB) undoDeposit(ctx context.Context, tx *sqlx.Tx, kind, reference string) error {
	provider, reference, _ := strings.Cut(reference, ":")
	switch kind {
	case entryCredit: // most are of no deposit
		_, err := tx.ExecContext(ctx, "UPDATE deposits SET undone_at = ? WHERE provider = ? AND reference = ?", millis(db.now()), provider, reference)
		return err
	case entryDeposit:
		return one(tx.ExecContext(ctx, "UPDATE deposits SET undone_at = ? WHERE provider = ? AND reference = ? AND msisdn = ''",
			millis(db.now()), provider, reference))
	case entryAssign:
		if i := strings.LastIndex(reference, numbered); i > 0 {
			reference = reference[:i]
		}
		return one(tx.ExecContext(ctx, "UPDATE deposits SET msisdn = '' WHERE provider = ? AND reference = ? AND msisdn <> ''", provider, reference))
	}
	return nil
}

// ListDeposits lists deposits, newest first; with suspense only those that are
// nobody's and were not undone. limit 0 = 100.
func (db *DB) ListDeposits(ctx context.Context, suspense bool, n int) ([]Deposit, error) {
	var w where
	w.add(suspense, "msisdn = '' AND undone_at = 0")
	var rows []depositRow
	if err := db.r.SelectContext(ctx, &rows, selectDeposit+w.String()+" ORDER BY at DESC, provider, reference LIMIT ?", limit(n)); err != nil {
		return nil, fmt.Errorf("list deposits: %w", err)
	}
	deposits := make([]Deposit, len(rows))
	for i, r := range rows {
		deposits[i] = r.deposit()
	}
	return deposits, nil
}

// TopUp books that a vendor's float was filled with amount kobo from an account
// bank:NAME or equity:NAME. (vendor, reference) makes it idempotent: booked is
// false the second time, or the error is ErrMismatch if the amount is another, or
// ErrConflict if that top-up was undone.
func (db *DB) TopUp(ctx context.Context, op Operation, vendor string, amount int64, from, reference string) (booked bool, err error) {
	err = errors.Join(validAmount(amount), validName("vendor", vendor, 64), validName("from", from, 64), validName("reference", reference, 90))
	if kind, name, _ := strings.Cut(from, ":"); err == nil && (name == "" || kind != "bank" && kind != "equity") {
		err = fmt.Errorf("account %q is not bank:NAME or equity:NAME: %w", from, ErrInvalid)
	}
	if err == nil && strings.Contains(vendor, ":") {
		err = fmt.Errorf("vendor with a colon: %w", ErrInvalid)
	}
	if err != nil {
		return false, fmt.Errorf("top up: %w", err)
	}
	op.Action, op.Subject = "provider topup", vendor+":"+reference
	err = db.record(ctx, op, func(tx *sqlx.Tx) (bool, error) {
		booked = false
		var old struct {
			Amount int64
			Undone bool
		}
		err := tx.GetContext(ctx, &old, `SELECT p.amount, r.id IS NOT NULL AS undone FROM entries e
				JOIN postings p ON p.entry_id = e.id AND p.account = ? LEFT JOIN entries r ON r.reverses_id = e.id
			WHERE e.kind = ? AND e.reference = ?`, accountFloat+vendor, entryTopUp, op.Subject)
		switch err = notFound(err); {
		case err == nil && old.Undone:
			return false, fmt.Errorf("it was booked and undone, give it another reference: %w", ErrConflict)
		case err == nil && old.Amount != -amount:
			return false, ErrMismatch
		case err == nil:
			return false, nil
		case !errors.Is(err, ErrNotFound):
			return false, err
		}
		booked = true
		return true, db.post(ctx, tx, entry{kind: entryTopUp, reference: op.Subject, note: clip(op.Reason, 255)},
			posting{accountFloat + vendor, -amount}, posting{from, amount})
	})
	if err != nil {
		return false, fmt.Errorf("top up %s: %w", vendor, err)
	}
	return booked, nil
}

// Float is a vendor's prepaid account as our books have it, in kobo.
type Float struct {
	Vendor   string `db:"vendor"`
	ToppedUp int64  `db:"topped_up"`
	Used     int64  `db:"used"`      // by deliveries, less what was reversed
	Disputed int64  `db:"disputed"`  // what it may have taken for purchases refunded in doubt
	InFlight int64  `db:"in_flight"` // face value of purchases that the vendor may be delivering
}

// Balance is what should be left there, counting what is disputed as taken.
func (f Float) Balance() int64 { return f.ToppedUp - f.Used - f.Disputed }

// Floats are all vendors' floats by name.
func (db *DB) Floats(ctx context.Context) (floats []Float, err error) {
	err = db.snapshot(ctx, func(tx *sqlx.Tx) error {
		floats = nil
		// Of all that a float took, top-ups and disputes that stand are told apart; a
		// dispute whose delivery came out late was taken.
		return tx.SelectContext(ctx, &floats, `SELECT vendor, SUM(topped_up) AS topped_up, SUM(used) AS used, SUM(disputed) AS disputed, SUM(in_flight) AS in_flight FROM (
			SELECT SUBSTR(account, 7) AS vendor, 0 AS topped_up, SUM(amount) AS used, 0 AS disputed, 0 AS in_flight
			FROM postings WHERE account >= 'float:' AND account < 'float;' GROUP BY account
			UNION ALL
			SELECT SUBSTR(p.account, 7), CASE e.kind WHEN 'topup' THEN -p.amount ELSE 0 END, -p.amount, CASE e.kind WHEN 'dispute' THEN p.amount ELSE 0 END, 0
			FROM entries e JOIN postings p ON p.entry_id = e.id AND p.account LIKE 'float:%' LEFT JOIN entries r ON r.reverses_id = e.id
			WHERE e.kind IN ('topup', 'dispute') AND r.id IS NULL AND NOT EXISTS (SELECT 1 FROM purchases b JOIN attempts a ON a.purchase_id = b.id
				WHERE b.ref = e.reference AND a.state = 'delivered_late' AND p.account = CONCAT('float:', a.vendor))
			UNION ALL
			SELECT vendor, 0, 0, 0, amount FROM purchases WHERE state IN ('sending', 'pending', 'needs_review')) f
			GROUP BY vendor ORDER BY vendor`)
	})
	if err != nil {
		return nil, fmt.Errorf("floats: %w", err)
	}
	return floats, nil
}

// ReverseEntry undoes a journal entry with a new one that mirrors it. Only
// credits, deposits, assignments and top-ups can be undone; purchases have
// operations of their own. A deposit whose assignment is undone is nobody's again.
// Errors: ErrNotFound; ErrConflict if it was undone before, or if it is a deposit
// that a wallet has been given since; ErrInsufficient if the wallet has spent the money; ErrInvalid;
// ErrApproval.
func (db *DB) ReverseEntry(ctx context.Context, op Operation, id int64) error {
	op.Action, op.Subject = "ledger reverse", "entry "+strconv.FormatInt(id, 10)
	err := db.operate(ctx, op, func(tx *sqlx.Tx) (bool, error) {
		var e struct {
			Kind, MSISDN, Reference string
			Undone                  int
		}
		err := tx.GetContext(ctx, &e, `SELECT kind, msisdn, reference, (SELECT COUNT(*) FROM entries r WHERE r.reverses_id = entries.id) AS undone
			FROM entries WHERE id = ?`, id)
		switch {
		case err != nil:
			return false, notFound(err)
		case e.Undone > 0:
			return false, fmt.Errorf("it is undone already: %w", ErrConflict)
		case e.Kind != entryCredit && e.Kind != entryDeposit && e.Kind != entryAssign && e.Kind != entryTopUp:
			return false, fmt.Errorf("an entry of kind %s is not reversed by itself: %w", e.Kind, ErrInvalid)
		}
		if err := db.undoDeposit(ctx, tx, e.Kind, e.Reference); err != nil {
			return false, err
		}
		return true, db.mirror(ctx, tx, id, e.MSISDN, op.Reason)
	})
	if err != nil {
		return fmt.Errorf("reverse entry %d: %w", id, err)
	}
	return nil
}

// mirror posts the opposite of an entry, and takes its part from or gives it to
// the wallet.
func (db *DB) mirror(ctx context.Context, tx *sqlx.Tx, id int64, msisdn, note string) error {
	var legs []struct {
		Account string
		Amount  int64
	}
	if err := tx.SelectContext(ctx, &legs, "SELECT account, amount FROM postings WHERE entry_id = ? ORDER BY n", id); err != nil {
		return err
	}
	postings := make([]posting, len(legs))
	for i, l := range legs {
		postings[i] = posting{l.Account, -l.Amount}
		if l.Account != accountWallet+msisdn {
			continue
		}
		if moved, err := db.move(ctx, tx, msisdn, -l.Amount, 0); err != nil {
			return err
		} else if !moved {
			return ErrInsufficient
		}
	}
	return db.post(ctx, tx, entry{kind: entryCorrection, reference: strconv.FormatInt(id, 10), msisdn: msisdn, note: clip(note, 255), reverses: id}, postings...)
}

// Entry is a journal entry with its postings.
type Entry struct {
	ID        int64
	Kind      string
	Reference string
	MSISDN    string // the subscriber whom it is about, "" = none
	Note      string
	At        time.Time
	Reverses  int64          // id of the entry that it undoes, 0 = none
	Postings  []AccountTotal // in their order
}

// EntryFilter chooses entries; zero fields choose all. The newest come first.
type EntryFilter struct {
	MSISDN    string
	Reference string // a purchase's Ref, for all that was booked about it, or "source:reference"; also what undoes those
	Limit     int    // at most so many; 0 = 100
}

// The entries of a reference and of a subscriber, found by indexes. A late delivery
// is booked by its attempt's reference, and neither that nor a dispute touches the
// subscriber's accounts.
const (
	entriesOfReference = `SELECT id FROM entries WHERE reference = ?
			AND kind IN ('credit', 'hold', 'capture', 'release', 'dispute', 'late', 'reversal', 'deposit', 'assign', 'topup', 'correction')
		UNION SELECT e.id FROM purchases p JOIN attempts a ON a.purchase_id = p.id AND a.state = 'delivered_late'
			JOIN entries e ON e.kind = 'late' AND e.reference = a.reference WHERE p.ref = ?`
	entriesOfMSISDN = `SELECT entry_id AS id FROM postings WHERE account IN (CONCAT('wallet:', ?), CONCAT('hold:', ?))
		UNION SELECT e.id FROM purchases p JOIN entries e ON e.kind = 'dispute' AND e.reference = p.ref WHERE p.msisdn = ?
		UNION SELECT e.id FROM purchases p JOIN attempts a ON a.purchase_id = p.id AND a.state = 'delivered_late'
			JOIN entries e ON e.kind = 'late' AND e.reference = a.reference WHERE p.msisdn = ?`
)

// query selects the rows of the entries.
func (f EntryFilter) query() (query string, args []any) {
	query = "SELECT entries.id, kind, reference, msisdn, note, at, reverses_id FROM entries"
	const among = " JOIN (SELECT id FROM found UNION SELECT e.id FROM found JOIN entries e ON e.reverses_id = found.id) chosen ON chosen.id = entries.id"
	switch {
	case f.Reference != "":
		query, args = "WITH found AS ("+entriesOfReference+") "+query+among, []any{f.Reference, f.Reference}
	case f.MSISDN != "":
		query, args = "WITH found AS ("+entriesOfMSISDN+") "+query+among, []any{f.MSISDN, f.MSISDN, f.MSISDN, f.MSISDN}
	}
	var w where
	w.add(f.MSISDN != "", "msisdn = ?", f.MSISDN)
	return query + w.String() + " ORDER BY entries.id DESC LIMIT ?", append(append(args, w.args...), limit(f.Limit))
}

// ListEntries lists the entries that f chooses, with their postings.
func (db *DB) ListEntries(ctx context.Context, f EntryFilter) (entries []Entry, err error) {
	query, args := f.query()
	err = db.snapshot(ctx, func(tx *sqlx.Tx) error {
		var rows []struct {
			Entry
			AtMS    int64         `db:"at"`
			Undoes  sql.NullInt64 `db:"reverses_id"`
			EntryID int64         `db:"id"`
		}
		if err := tx.SelectContext(ctx, &rows, query, args...); err != nil {
			return err
		}
		entries = make([]Entry, len(rows))
		for i, r := range rows {
			r.Entry.ID, r.Entry.At, r.Entry.Reverses = r.EntryID, instant(r.AtMS), r.Undoes.Int64
			if err := tx.SelectContext(ctx, &r.Entry.Postings, "SELECT account, amount FROM postings WHERE entry_id = ? ORDER BY n", r.EntryID); err != nil {
				return err
			}
			entries[i] = r.Entry
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list entries: %w", err)
	}
	return entries, nil
}
