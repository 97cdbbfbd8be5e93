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
	ID        int64
	Kind      string   // Delivered, Failed, Reversed or Late: what the purchase became
	Purchase  Purchase // as it stands now
	SMSC      string   // of the session that bought, "" if that is unknown
	Code      string   // that the session dialled, "*999#", "" likewise
	Tries     int      // sendings begun before this one
	CreatedAt time.Time
}

// Reference is the message's name on its way, the same at each sending. Others of
// other subscribers have the same.
func (m Message) Reference() uint16 { return uint16(m.ID % references) }

// references is how many there are.
const references = 1 << 16

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
// once; twice only if it was sent and MessageSent not called until then, and no
// MessageReceipt told of it. One that is not true any more, because the purchase
// was reversed or delivered late before it could be sent, is dropped: it could
// arrive after the message that tells of that.
func (db *DB) DueMessages(ctx context.Context, now, again time.Time, limit int) (due []Message, err error) {
	var rows []struct {
		ID       int64
		Purchase int64 `db:"purchase_id"`
		Kind     string
		Tries    int
		Created  int64 `db:"created_at"`
	}
	err = db.r.SelectContext(ctx, &rows, "SELECT id, purchase_id, kind, tries, created_at FROM outbox WHERE sent_at = 0 AND next_at <= ? ORDER BY next_at, id LIMIT ?",
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
				m := Message{ID: row.ID, Kind: row.Kind, Tries: row.Tries, CreatedAt: instant(row.Created)}
				if m.Purchase, err = purchaseBy(ctx, tx, "id", row.Purchase); err != nil {
					return err
				}
				err = tx.QueryRowContext(ctx, "SELECT smsc, code FROM sessions WHERE id = ?", m.Purchase.Session).Scan(&m.SMSC, &m.Code)
				if err = notFound(err); err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
				if m.Kind != m.Purchase.State {
					if _, err := tx.ExecContext(ctx, "DELETE FROM outbox WHERE id = ?", m.ID); err != nil {
						return err
					}
					continue
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

// Failure is a message, as it was given out, that could not be sent.
type Failure struct {
	Message Message
	Reason  string
	Next    time.Time // when it is tried again; zero = never
}

// MessagesFailed records failures, all of them or none. A message that was sent
// all the same, as a receipt has told, or that has been given out again since,
// stays as it is.
func (db *DB) MessagesFailed(ctx context.Context, failures ...Failure) error {
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		for _, f := range failures {
			at := millis(f.Next)
			if f.Next.IsZero() {
				at = givenUp
			}
			_, err := tx.ExecContext(ctx, "UPDATE outbox SET error = ?, next_at = ? WHERE id = ? AND tries = ? AND sent_at = 0",
				clip(f.Reason, wInput), at, f.Message.ID, f.Message.Tries+1)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("messages: %w", err)
	}
	return nil
}

// Receipt is what an SMSC says became of a message.
type Receipt struct {
	SMSC   string
	IDs    []string // names that the SMSC may have given the message when it took it, the likeliest first
	MSISDN string   // the subscriber; "" if unknown: then only the first of IDs counts
	// Reference is Message.Reference of the message, if HasReference.
	Reference    uint16
	HasReference bool
	State        string // "DELIVRD", "EXPIRED" and so on, as the receipt has it
}

// MessageReceipt records a receipt; that a message is still on its way is no news
// of one whose end is known. If the receipt names by its reference a
// message that was given out and is not known to be sent, because its sender died
// or had no answer, then it was. Errors: ErrNotFound if it is of no such message.
func (db *DB) MessageReceipt(ctx context.Context, r Receipt) error {
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		id, err := receipted(ctx, tx, r)
		if err != nil {
			return err
		}
		now := millis(db.now())
		update := "UPDATE outbox SET receipt = ?, receipt_at = ? WHERE id = ?"
		if r.State == "ENROUTE" || r.State == "ACCEPTD" {
			update += " AND receipt IN ('', 'ENROUTE', 'ACCEPTD')"
		}
		if _, err := tx.ExecContext(ctx, update, clip(r.State, wReceipt), now, id); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE outbox SET sent_at = ?, smsc = ?, message_id = ?, error = '' WHERE id = ? AND sent_at = 0",
			now, clip(r.SMSC, wName), clip(first(r.IDs), wName), id)
		return err
	})
	if err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	return nil
}

// wReceipt is the width of outbox.receipt.
const wReceipt = 16

func first(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

// receipted finds the message that a receipt is of.
func receipted(ctx context.Context, tx *sqlx.Tx, r Receipt) (id int64, err error) {
	for i, name := range r.IDs {
		if i > 0 && r.MSISDN == "" {
			break
		}
		err := tx.GetContext(ctx, &id, "SELECT id FROM outbox WHERE message_id = ? AND smsc = ? AND (? = '' OR msisdn = ?) ORDER BY id DESC LIMIT 1",
			clip(name, wName), clip(r.SMSC, wName), r.MSISDN, r.MSISDN)
		if err = notFound(err); err == nil || !errors.Is(err, ErrNotFound) {
			return id, err
		}
	}
	if !r.HasReference || r.MSISDN == "" {
		return 0, ErrNotFound
	}
	err = tx.GetContext(ctx, &id, "SELECT id FROM outbox WHERE sent_at = 0 AND tries > 0 AND msisdn = ? AND id % ? = ? ORDER BY id LIMIT 1",
		r.MSISDN, references, int64(r.Reference))
	return id, notFound(err)
}

// MessageRecord is how a message stands.
type MessageRecord struct {
	Kind      string // Delivered, Failed, Reversed or Late
	CreatedAt time.Time
	Tries     int       // sendings begun
	Error     string    // why the last one failed, "" if it did not
	NextAt    time.Time // of the next; zero: it was sent, or given up
	SentAt    time.Time // zero: it was not, as far as is known
	SMSC      string    // that it was sent by
	MessageID string    // what that calls it
	Receipt   string    // what that says became of it, "" if nothing yet
	ReceiptAt time.Time
}

// Messages gives the messages about a purchase, the oldest first.
func (db *DB) Messages(ctx context.Context, purchase int64) ([]MessageRecord, error) {
	var rows []struct {
		Kind      string
		Created   int64 `db:"created_at"`
		Tries     int
		Error     string
		Next      int64 `db:"next_at"`
		Sent      int64 `db:"sent_at"`
		SMSC      string
		MessageID string `db:"message_id"`
		Receipt   string
		ReceiptAt int64 `db:"receipt_at"`
	}
	err := db.r.SelectContext(ctx, &rows, `SELECT kind, created_at, tries, error, next_at, sent_at, smsc, message_id, receipt, receipt_at
		FROM outbox WHERE purchase_id = ? ORDER BY id`, purchase)
	if err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	out := make([]MessageRecord, len(rows))
	for i, r := range rows {
		if r.Sent != 0 || r.Next == givenUp {
			r.Next = 0
		}
		out[i] = MessageRecord{Kind: r.Kind, CreatedAt: instant(r.Created), Tries: r.Tries, Error: r.Error, NextAt: instant(r.Next), SentAt: instant(r.Sent),
			SMSC: r.SMSC, MessageID: r.MessageID, Receipt: r.Receipt, ReceiptAt: instant(r.ReceiptAt)}
	}
	return out, nil
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
