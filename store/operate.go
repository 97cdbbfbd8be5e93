package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// Operation is who does what and why. Everything that an operator changes is
// written to the audit log, in the same transaction.
type Operation struct {
	Operator string // who asks, or approves
	Login    string // of the operator at his computer; "" = not known, and then he can neither approve nor be approved
	Reason   string // why; for an approval what the approver has to say, or ""
	Approve  bool   // carry out what another operator asked for

	Action, Subject string // set by the method, but for Acted
}

// Audit is a line of the operators' log. Lines are never changed.
type Audit struct {
	ID       int64     `db:"id"`
	At       time.Time `db:"-"`
	Operator string    `db:"operator"`
	Login    string    `db:"login"`   // "" = not known
	Action   string    `db:"action"`  // "purchase refund"; "request …" if it waits for approval
	Subject  string    `db:"subject"` // "TXN-…", "entry 123"
	Reason   string    `db:"reason"`
	Detail   string    `db:"detail"` // "asked for by NAME"
}

type auditRow struct {
	Audit
	AtMS int64 `db:"at"`
}

// RequestFor is how long what one operator asked for can be approved.
const RequestFor = 7 * 24 * time.Hour

// Request is what an operator asked for and another has not approved.
type Request struct {
	At       time.Time `db:"-"`
	Operator string    `db:"operator"`
	Login    string    `db:"login"`
	Action   string    `db:"action"` // "purchase refund"
	Subject  string    `db:"subject"`
	Reason   string    `db:"reason"`
}

const settingTwoPersons = "two_persons"

// TwoPersons says whether resolving, refunding, reversing, assigning and crediting
// need a second operator.
func (db *DB) TwoPersons(ctx context.Context) (bool, error) {
	on, err := twoPersons(ctx, db.r)
	if err != nil {
		return false, fmt.Errorf("two persons: %w", err)
	}
	return on, nil
}

func twoPersons(ctx context.Context, q sqlx.QueryerContext) (bool, error) {
	value, err := setting(ctx, q, settingTwoPersons)
	return value == "on", err
}

// SetTwoPersons sets it. Switching it off needs a second operator too.
func (db *DB) SetTwoPersons(ctx context.Context, op Operation, on bool) error {
	value := map[bool]string{true: "on", false: "off"}[on]
	op.Action, op.Subject = "two-persons "+value, "settings"
	err := db.operate(ctx, op, func(tx *sqlx.Tx) (bool, error) { return true, db.set(ctx, tx, settingTwoPersons, value) })
	if err != nil {
		return fmt.Errorf("two persons: %w", err)
	}
	return nil
}

// setting is a setting's value, "" if it was never set.
func setting(ctx context.Context, q sqlx.QueryerContext, name string) (value string, err error) {
	err = sqlx.GetContext(ctx, q, &value, "SELECT value FROM settings WHERE name = ?", name)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return value, err
}

func (db *DB) set(ctx context.Context, tx *sqlx.Tx, name, value string) error {
	n, err := affected(tx.ExecContext(ctx, "UPDATE settings SET value = ?, at = ? WHERE name = ?", value, millis(db.now()), name))
	if err != nil || n == 1 {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO settings (name, value, at) VALUES (?, ?, ?)", name, value, millis(db.now()))
	if db.engine.duplicate(err) {
		return errAgain
	}
	return err
}

// operate carries an operation out in one transaction with its line in the
// audit log; do tells whether it changed anything, without which there is no
// line. If two operators are needed, do runs for the second; the first one's
// request is written down, with the error ErrApproval, if do could be carried out
// and would change something. Errors:
// ErrInvalid without a name or a reason; ErrNotFound if there is nothing to
// approve that is younger than RequestFor; ErrApproval also for an operator who approves a request of his own,
// by his name or by his login.
func (db *DB) operate(ctx context.Context, op Operation, do func(*sqlx.Tx) (bool, error)) error {
	if err := op.valid(); err != nil {
		return err
	}
	waits := false
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		waits = false
		if op.Approve {
			return db.approve(ctx, tx, op, do)
		}
		two, err := twoPersons(ctx, tx)
		if err != nil {
			return err
		}
		if !two {
			return db.carryOut(ctx, tx, op, "", do)
		}
		if waits, err = rehearse(ctx, tx, do); err != nil || !waits {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO requests (id, at, operator, login, action, subject, reason, decided_at, decided_by)
			VALUES (?, ?, ?, ?, ?, ?, ?, 0, '')`, NewID(), millis(db.now()), op.Operator, op.Login, op.Action, op.Subject, clip(op.Reason, 255))
		if err != nil {
			return err
		}
		op := op
		op.Action = "request " + op.Action
		return db.audit(ctx, tx, op, "")
	})
	if err == nil && waits {
		return ErrApproval
	}
	return err
}

// rehearse runs do, and undoes it.
func rehearse(ctx context.Context, tx *sqlx.Tx, do func(*sqlx.Tx) (bool, error)) (changed bool, err error) {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT rehearsal"); err != nil {
		return false, err
	}
	if changed, err = do(tx); err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT rehearsal")
	return changed, err
}

// approve carries out the newest request for the operation. Others that ask for
// the same are done with it.
func (db *DB) approve(ctx context.Context, tx *sqlx.Tx, op Operation, do func(*sqlx.Tx) (bool, error)) error {
	var asked struct{ Operator, Login, Reason string }
	err := tx.GetContext(ctx, &asked, `SELECT operator, login, reason FROM requests WHERE subject = ? AND action = ? AND decided_at = 0 AND at > ?
		ORDER BY id DESC LIMIT 1`, op.Subject, op.Action, millis(db.now().Add(-RequestFor)))
	switch {
	case err != nil:
		return fmt.Errorf("request to approve: %w", notFound(err))
	case asked.Operator == op.Operator:
		return fmt.Errorf("%s asked for it: %w", op.Operator, ErrApproval)
	case op.Login == "" || asked.Login == "":
		return fmt.Errorf("not known who is logged in: %w", ErrApproval)
	case asked.Login == op.Login:
		return fmt.Errorf("%s asked for it from the same login: %w", asked.Operator, ErrApproval)
	}
	_, err = tx.ExecContext(ctx, "UPDATE requests SET decided_at = ?, decided_by = ? WHERE subject = ? AND action = ? AND decided_at = 0 AND at > ?",
		millis(db.now()), op.Operator, op.Subject, op.Action, millis(db.now().Add(-RequestFor)))
	if err != nil {
		return err
	}
	if op.Reason == "" {
		op.Reason = asked.Reason
	}
	return db.carryOut(ctx, tx, op, "asked for by "+asked.Operator, do)
}

// record is operate for what needs no second operator.
func (db *DB) record(ctx context.Context, op Operation, do func(*sqlx.Tx) (bool, error)) error {
	if err := op.valid(); err != nil {
		return err
	}
	return db.tx(ctx, func(tx *sqlx.Tx) error { return db.carryOut(ctx, tx, op, "", do) })
}

// carryOut runs do, and writes the line in the audit log if that changed anything.
func (db *DB) carryOut(ctx context.Context, tx *sqlx.Tx, op Operation, detail string, do func(*sqlx.Tx) (bool, error)) error {
	changed, err := do(tx)
	if err != nil || !changed {
		return err
	}
	return db.audit(ctx, tx, op, detail)
}

// Acted writes to the audit log what an operator did outside of the store: op.Action to op.Subject.
// Errors: ErrInvalid without a name or a reason.
func (db *DB) Acted(ctx context.Context, op Operation, detail string) error {
	err := op.valid()
	if err == nil {
		err = db.tx(ctx, func(tx *sqlx.Tx) error { return db.audit(ctx, tx, op, detail) })
	}
	if err != nil {
		return fmt.Errorf("audit %s: %w", op.Action, err)
	}
	return nil
}

func (op Operation) valid() error {
	if err := validName("operator", op.Operator, 64); err != nil {
		return err
	}
	if op.Login != "" {
		if err := validName("login", op.Login, 64); err != nil {
			return err
		}
	}
	if op.Reason == "" && !op.Approve {
		return fmt.Errorf("no reason given: %w", ErrInvalid)
	}
	return nil
}

func (db *DB) audit(ctx context.Context, tx *sqlx.Tx, op Operation, detail string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO audit (id, at, operator, login, action, subject, reason, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		NewID(), millis(db.now()), op.Operator, op.Login, clip(op.Action, 64), clip(op.Subject, 160), clip(op.Reason, 255), clip(detail, 255))
	return err
}

// ListAudit lists the log, newest first, of one subject if that is set.
// limit 0 = 100.
func (db *DB) ListAudit(ctx context.Context, subject string, n int) ([]Audit, error) {
	var w where
	w.add(subject != "", "subject = ?", subject)
	var rows []auditRow
	err := db.r.SelectContext(ctx, &rows, "SELECT id, at, operator, login, action, subject, reason, detail FROM audit"+w.String()+
		" ORDER BY id DESC LIMIT ?", append(w.args, limit(n))...)
	if err != nil {
		return nil, fmt.Errorf("list audit: %w", err)
	}
	lines := make([]Audit, len(rows))
	for i, r := range rows {
		r.Audit.At = instant(r.AtMS)
		lines[i] = r.Audit
	}
	return lines, nil
}

// ListRequests lists the requests that can be approved, newest first. limit 0 = 100.
func (db *DB) ListRequests(ctx context.Context, n int) ([]Request, error) {
	var rows []struct {
		Request
		AtMS int64 `db:"at"`
	}
	err := db.r.SelectContext(ctx, &rows, `SELECT at, operator, login, action, subject, reason FROM requests
		WHERE decided_at = 0 AND at > ? ORDER BY at DESC, id DESC LIMIT ?`, millis(db.now().Add(-RequestFor)), limit(n))
	if err != nil {
		return nil, fmt.Errorf("list requests: %w", err)
	}
	requests := make([]Request, len(rows))
	for i, r := range rows {
		r.Request.At = instant(r.AtMS)
		requests[i] = r.Request
	}
	return requests, nil
}

// Resolve has an operator decide a purchase by what he knows from the vendor.
//
//	p is                    to         money
//	pending, needs_review   delivered  captured
//	pending, needs_review   failed     released
//	delivered               reversed   the capture is reversed and the wallet refunded
//	failed                  delivered_late  what the vendor took is a loss
//	failed, disputed        failed     the dispute is reversed: the vendor took nothing
//
// Errors: ErrNotFound, ErrApproval; ErrConflict if p is in another state or
// moves meanwhile; ErrInvalid.
func (db *DB) Resolve(ctx context.Context, op Operation, ref, to string) (Purchase, error) {
	op.Action = "purchase resolve " + to
	return db.settleByHand(ctx, op, ref, to, false)
}

// Refund gives the money of a purchase in needs_review or pending back without
// knowing what became of it. What the vendor may have taken is booked as
// disputed. Errors as of Resolve.
func (db *DB) Refund(ctx context.Context, op Operation, ref string) (Purchase, error) {
	op.Action = "purchase refund"
	return db.settleByHand(ctx, op, ref, Failed, true)
}

// ByHand is the beginning of the Reason of a purchase that an operator decided.
const ByHand = "declined:by_hand"

func (db *DB) settleByHand(ctx context.Context, op Operation, ref, to string, doubt bool) (p Purchase, err error) {
	op.Subject = ref
	err = db.operate(ctx, op, func(tx *sqlx.Tx) (bool, error) {
		if p, err = purchaseBy(ctx, tx, "ref", ref); err != nil {
			return false, err
		}
		open := p.State == Pending || p.State == Review
		switch {
		case open && (to == Delivered || to == Failed):
			p, err = db.decideByHand(ctx, tx, p, to, doubt)
		case !doubt && (p.State == Delivered && to == Reversed || p.State == Failed && to == Late):
			p, err = db.turnByHand(ctx, tx, p, to)
		case !doubt && p.State == Failed && to == Failed:
			p, err = db.endDisputeByHand(ctx, tx, p)
		case to != Delivered && to != Failed && to != Reversed && to != Late:
			err = fmt.Errorf("no purchase is resolved to %q: %w", to, ErrInvalid)
		default:
			err = fmt.Errorf("the purchase is %s: %w", p.State, ErrConflict)
		}
		return true, err
	})
	if err != nil {
		return Purchase{}, fmt.Errorf("%s %.40q: %w", op.Action, ref, err)
	}
	return p, nil
}

// decideByHand ends an ambiguous purchase.
func (db *DB) decideByHand(ctx context.Context, tx *sqlx.Tx, p Purchase, to string, doubt bool) (Purchase, error) {
	attempt := Delivered
	if to == Failed {
		attempt = Declined
	}
	set := func(tx *sqlx.Tx, stored *Purchase) error {
		if to == Delivered {
			stored.Reason = ""
			return db.setCommission(ctx, tx, stored)
		}
		stored.Reason, stored.FailedAt = ByHand, stored.UpdatedAt
		return nil
	}
	return db.changeIn(ctx, tx, p, to, set, func(tx *sqlx.Tx, stored Purchase) error {
		err := one(tx.ExecContext(ctx, "UPDATE attempts SET state = ?, reason = ? WHERE purchase_id = ? AND n = ? AND state = 'pending'",
			attempt, "by_hand", p.ID, p.Attempts))
		switch {
		case err != nil:
			return err
		case to == Delivered:
			return db.capture(ctx, tx, stored)
		}
		if err := db.release(ctx, tx, stored); err != nil || !doubt {
			return err
		}
		return db.dispute(ctx, tx, stored)
	})
}

func (db *DB) endDisputeByHand(ctx context.Context, tx *sqlx.Tx, p Purchase) (Purchase, error) {
	ended, err := db.endDispute(ctx, tx, p)
	if err == nil && !ended {
		err = fmt.Errorf("the purchase is failed, and nothing of it is disputed: %w", ErrConflict)
	}
	p.Version++ // by endDispute
	return p, err
}

// turnByHand is Turn of the last attempt.
func (db *DB) turnByHand(ctx context.Context, tx *sqlx.Tx, p Purchase, to string) (Purchase, error) {
	var row attemptRow
	err := tx.GetContext(ctx, &row, "SELECT "+attemptColumns+" FROM attempts WHERE purchase_id = ? AND n = ?", p.ID, p.Attempts)
	if err != nil {
		return Purchase{}, fmt.Errorf("attempt: %w", notFound(err))
	}
	a := row.attempt()
	a.State = to
	return db.turn(ctx, tx, p, a)
}

// QueryNow has the daemon ask the vendor of a purchase at its next poll: of a
// pending one or one that needs review, which becomes pending again, and also of
// one that is decided, for the truth that came late. Errors: ErrNotFound;
// ErrConflict if the purchase is being worked on.
func (db *DB) QueryNow(ctx context.Context, op Operation, ref string) (p Purchase, err error) {
	op.Action, op.Subject = "purchase query", ref
	err = db.record(ctx, op, func(tx *sqlx.Tx) (bool, error) {
		if p, err = purchaseBy(ctx, tx, "ref", ref); err != nil {
			return false, err
		}
		now := db.stamp()
		switch p.State {
		case Held, Sending:
			return false, fmt.Errorf("the purchase is %s: %w", p.State, ErrConflict)
		case Pending:
			p.NextAt = now
			_, err = tx.ExecContext(ctx, "UPDATE purchases SET next_at = ? WHERE id = ? AND state = 'pending'", millis(now), p.ID)
		case Review:
			set := func(_ *sqlx.Tx, stored *Purchase) error { stored.NextAt = now; return nil }
			p, err = db.changeIn(ctx, tx, p, Pending, set, func(*sqlx.Tx, Purchase) error { return nil })
		default:
			err = db.recheckAt(ctx, tx, p.ID, now)
		}
		return err == nil, err
	})
	if err != nil {
		return Purchase{}, fmt.Errorf("query %.40q: %w", ref, err)
	}
	return p, nil
}
