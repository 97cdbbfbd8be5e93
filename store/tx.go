package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
)

// A transaction is tried at most maxTries times, with a random pause below a
// bound that doubles from minPause to maxPause.
const (
	maxTries = 12
	minPause = 2 * time.Millisecond
	maxPause = 250 * time.Millisecond
)

// errAgain: another transaction got there first, and this one, run again, will
// see what it wrote.
var errAgain = errors.New("another transaction was first")

// errCommit: fn was done, and what follows is the error of the commit.
var errCommit = errors.New("commit")

// tx runs fn in a transaction for writing and commits it if fn returns nil. fn
// may be run several times, each time in a transaction of its own whose
// forerunner was rolled back, so it must set all its results anew.
func (db *DB) tx(ctx context.Context, fn func(*sqlx.Tx) error) error { return db.txOn(ctx, db.w, fn) }

// txOn is tx on one connection of db.w.
func (db *DB) txOn(ctx context.Context, pool beginner, fn func(*sqlx.Tx) error) error {
	return db.retry(ctx, func() error { return once(ctx, pool, nil, fn) })
}

// retry does something, and does it again as long as that may help.
func (db *DB) retry(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || try == maxTries || !db.again(err) {
			return err
		}
		db.log.Debug("transaction retried", "try", try, "error", err)
		if pauseErr := pause(ctx, try); pauseErr != nil {
			return fmt.Errorf("%w after %w", pauseErr, err)
		}
	}
}

// again reports whether a transaction that ended in err was rolled back and may
// be run again. One whose connection broke during its commit may not: it may
// have been committed, and the caller reads what became of it.
func (db *DB) again(err error) bool {
	return errors.Is(err, errAgain) || db.engine.transient(err) || db.engine.lost(err) && !errors.Is(err, errCommit)
}

// snapshot runs fn in a transaction that sees one state of the database
// throughout. fn only reads, and may be run several times, as by tx.
func (db *DB) snapshot(ctx context.Context, fn func(*sqlx.Tx) error) error {
	return db.retry(ctx, func() error {
		return once(ctx, db.r, &sql.TxOptions{ReadOnly: true, Isolation: db.engine.snapshot}, fn)
	})
}

// beginner is a pool of connections, or one of them.
type beginner interface {
	BeginTxx(context.Context, *sql.TxOptions) (*sqlx.Tx, error)
}

func once(ctx context.Context, pool beginner, opt *sql.TxOptions, fn func(*sqlx.Tx) error) (err error) {
	tx, err := pool.BeginTxx(ctx, opt)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		if rollbackErr := tx.Rollback(); rollbackErr != nil && !errors.Is(rollbackErr, sql.ErrTxDone) {
			return fmt.Errorf("%w (rollback: %w)", err, rollbackErr)
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%w: %w", errCommit, err)
	}
	return nil
}

// pause waits before the next try, or returns ctx's error as soon as it is
// done.
func pause(ctx context.Context, try int) error {
	return sleep(ctx, rand.N(min(minPause<<(try-1), maxPause))+1)
}

// sleep waits, or returns ctx's error as soon as it is done.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// affected is the number of rows that a statement matched.
func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// notFound translates the database's error for no rows.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// stamp is the time of now as the database has it.
func (db *DB) stamp() time.Time { return instant(millis(db.now())) }

// millis is t as the database has it.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// instant is the time of a column.
func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// lockRows bounds how many rows the locks of one kind have. Subjects that share
// a row wait for each other now and then.
const lockRows = 4096

// lockSubject locks what subjects of a kind have in common with this one, until
// the end of the transaction: whoever locks the same sees what this one wrote.
func (db *DB) lockSubject(ctx context.Context, tx *sqlx.Tx, kind, subject string) error {
	row := lockRow(kind, subject)
	n, err := affected(tx.ExecContext(ctx, "UPDATE subject_locks SET n = n + 1 WHERE subject = ?", row))
	if err != nil || n == 1 {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO subject_locks (subject, n) VALUES (?, 1)", row)
	if db.engine.duplicate(err) {
		return errAgain
	}
	return err
}

func lockRow(kind, subject string) string {
	return kind + ":" + strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(subject))%lockRows), 10)
}
