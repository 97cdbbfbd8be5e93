package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// Message is a message to a subscriber in the outbox: a decision about a
// purchase that he paid for. It was written in the transaction of the decision,
// once for each kind.
type Message struct {
	ID       int64
	Kind     string   // Delivered, Failed, Reversed or Late: what the purchase became
	Purchase Purchase // as it stands now
	SMSC     string   // of the session that bought, "" if that is unknown
	Tries    int      // sendings begun before this one
}

// tell puts a decision into the outbox.
func (db *DB) tell(ctx context.Context, tx *sqlx.Tx, p Purchase) error {
	now := millis(db.now())
	_, err := tx.ExecContext(ctx, `INSERT INTO outbox (id, purchase_id, kind, msisdn, created_at, next_at, tries, error, smsc, message_id, sent_at, receipt, receipt_at)
		VALUES (?, ?, ?, ?, ?, ?, 0, '', '', '', 0, '', 0)`, NewID(), p.ID, p.State, p.MSISDN, now, now)
	if db.engine.duplicate(err) {
		err = nil // he has been told, or is about to be
	}
	return err
}

// givenUp is the next_at of a message that is not tried again.
const givenUp = 1<<62 - 1

// DueMessages gives at most limit messages that are to be sent now, the oldest
// first, and puts each off until again: of several callers one gets each, and
// one whose sender died is given out again. A message is thus sent at least
// once; twice only if a sender died between sending it and MessageSent.
func (db *DB) DueMessages(ctx context.Context, now, again time.Time, limit int) (due []Message, err error) {
	var rows []struct {
		ID       int64
		Purchase int64 `db:"purchase_id"`
		Kind     string
		Tries    int
	}
	err = db.r.SelectContext(ctx, &rows, "SELECT id, purchase_id, kind, tries FROM outbox WHERE sent_at = 0 AND next_at <= ? ORDER BY next_at, id LIMIT ?",
		millis(now), limit)
	if err == nil && len(rows) > 0 {
		err = db.tx(ctx, func(tx *sqlx.Tx) error {
			due = nil
			for _, row := range rows {
				n, err := affected(tx.ExecContext(ctx, "UPDATE outbox SET next_at = ?, tries = tries + 1 WHERE id = ? AND tries = ? AND sent_at = 0 AND next_at <= ?",
					millis(again), row.ID, row.Tries, millis(now)))
				if err != nil {
					return err
				}
				if n == 0 {
					continue
				}
				m := Message{ID: row.ID, Kind: row.Kind, Tries: row.Tries}
				if m.Purchase, err = purchaseBy(ctx, tx, "id", row.Purchase); err != nil {
					return err
				}
				err = tx.GetContext(ctx, &m.SMSC, "SELECT smsc FROM sessions WHERE id = ?", m.Purchase.Session)
				if err = notFound(err); err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
				due = append(due, m)
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	return due, nil
}

// MessageSent records that the SMSC took a message and what it calls it.
func (db *DB) MessageSent(ctx context.Context, id int64, smsc, messageID string) error {
	return db.message(ctx, "UPDATE outbox SET sent_at = ?, smsc = ?, message_id = ?, error = '' WHERE id = ?",
		millis(db.now()), clip(smsc, wName), clip(messageID, wName), id)
}

// MessageFailed records that a message could not be sent, and when it is tried
// again; never if next is zero.
func (db *DB) MessageFailed(ctx context.Context, id int64, reason string, next time.Time) error {
	at := millis(next)
	if next.IsZero() {
		at = givenUp
	}
	return db.message(ctx, "UPDATE outbox SET error = ?, next_at = ? WHERE id = ? AND sent_at = 0", clip(reason, wInput), at, id)
}

// MessageReceipt records what the SMSC says became of a message: "DELIVRD",
// "EXPIRED" and so on, as its receipt has it. Errors: ErrNotFound if no such
// message was sent there.
func (db *DB) MessageReceipt(ctx context.Context, smsc, messageID, state string) error {
	return db.message(ctx, "UPDATE outbox SET receipt = ?, receipt_at = ? WHERE message_id = ? AND smsc = ?",
		clip(state, 16), millis(db.now()), clip(messageID, wName), clip(smsc, wName))
}

func (db *DB) message(ctx context.Context, update string, args ...any) error {
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		n, err := affected(tx.ExecContext(ctx, update, args...))
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	return nil
}

// Outbox counts the messages that were not sent.
type Outbox struct {
	Waiting int           // to be sent, or tried again
	Lost    int           // not tried any more
	Oldest  time.Duration // for how long the oldest of Waiting has waited
}

// OutboxStatus counts them.
func (db *DB) OutboxStatus(ctx context.Context) (Outbox, error) {
	var row struct {
		Waiting, Lost int
		First         int64
	}
	err := db.r.GetContext(ctx, &row, `SELECT COUNT(CASE WHEN next_at < ? THEN 1 END) AS waiting, COUNT(CASE WHEN next_at = ? THEN 1 END) AS lost,
		COALESCE(MIN(CASE WHEN next_at < ? THEN created_at END), 0) AS first FROM outbox WHERE sent_at = 0`, givenUp, givenUp, givenUp)
	if err != nil {
		return Outbox{}, fmt.Errorf("outbox: %w", err)
	}
	o := Outbox{Waiting: row.Waiting, Lost: row.Lost}
	if row.First > 0 {
		o.Oldest = db.now().Sub(instant(row.First))
	}
	return o, nil
}
