package store

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// rows are rows for one table.
type rows struct {
	table      string
	columns    []string
	onConflict string // ends the INSERT
	first      string // if set, ends an INSERT to try before, which is enough if it writes the row
	n          int
	append     func(args []any, i int) []any // appends the columns of row i
}

// insertInto is the INSERT of that many rows.
func insertInto(table string, columns []string, n int, onConflict string) string {
	return "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES " + tuples(n, len(columns)) + onConflict
}

// insert writes rows in one statement.
func insert(ctx context.Context, tx *sqlx.Tx, table string, columns []string, args []any, onConflict string) error {
	_, err := tx.ExecContext(ctx, insertInto(table, columns, len(args)/len(columns), onConflict), args...)
	return err
}

// bulkRows is how many rows one INSERT of bulk has, well below the placeholders
// that MySQL takes.
const bulkRows = 500

// bulk writes rows in one transaction of few statements.
func (db *DB) bulk(ctx context.Context, r rows) error {
	if r.n == 0 {
		return nil
	}
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		args := make([]any, 0, min(r.n, bulkRows)*len(r.columns))
		for from := 0; from < r.n; from += bulkRows {
			args = args[:0]
			for i := from; i < min(r.n, from+bulkRows); i++ {
				args = r.append(args, i)
			}
			if err := insert(ctx, tx, r.table, r.columns, args, r.onConflict); err != nil {
				return err
			}
		}
		return nil
	})
}

// What is paced works for paceWork and then leaves the processor to others, for
// paceRest a row: a rest that took longer, because they needed it, counts for the
// next ones too, so that the rows are written however busy the others are. It
// holds the one writer, on whom money waits, for paceHold and the commit.
const (
	paceWork = 500 * time.Microsecond
	paceRest = 20 * time.Microsecond
	paceHold = 20 * time.Millisecond
	paceRows = 8 // between two looks at the clock
)

// pacer is what one call of pace has still to rest; negative if it has rested
// longer than it had to.
type pacer struct{ due time.Duration }

// rest rests for the rows written since the last time.
func (p *pacer) rest(ctx context.Context, rows int) error {
	if p.due += time.Duration(rows) * paceRest; p.due <= 0 {
		return nil
	}
	began := time.Now()
	err := sleep(ctx, p.due)
	p.due -= time.Since(began)
	return err
}

// pace writes rows in transactions of bounded time, with pauses in them and
// between them.
func (db *DB) pace(ctx context.Context, r rows) error {
	var p pacer
	for from := 0; from < r.n; {
		next, rows, err := db.paceOnce(ctx, r, from, &p)
		if err != nil {
			return err
		}
		from = next
		if err := p.rest(ctx, rows); err != nil {
			return err
		}
	}
	return nil
}

// paceOnce writes rows in one transaction, and gives the row to go on with and
// how many were written since the last rest.
func (db *DB) paceOnce(ctx context.Context, r rows, from int, p *pacer) (next, rows int, err error) {
	conn, err := db.w.Connx(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	defer func() { // also if the change below was called away: it may have been made

		if _, e := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous = FULL"); e != nil {
			// No change of money may use this connection.
			err = errors.Join(err, e, ignoreBadConn(conn.Raw(func(any) error { return driver.ErrBadConn })))
		}
	}()
	// Such a commit does not wait for the disk; the next change of money makes it
	// do so, for what was before it too.
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
		return 0, 0, err
	}
	var stmts []*sqlx.Stmt
	defer func() {
		for _, stmt := range stmts {
			err = errors.Join(err, stmt.Close())
		}
	}()
	for _, end := range []string{r.first, r.onConflict} {
		if end == "" {
			continue
		}
		stmt, err := conn.PreparexContext(ctx, insertInto(r.table, r.columns, 1, end))
		if err != nil {
			return 0, 0, err
		}
		stmts = append(stmts, stmt)
	}
	err = db.txOn(ctx, conn, func(tx *sqlx.Tx) error {
		// A row takes microseconds: ctx is looked at between them, which is
		// cheaper than being called away.
		rowCtx := context.WithoutCancel(ctx)
		execs := make([]*sqlx.Stmt, len(stmts))
		for i, stmt := range stmts {
			execs[i] = tx.StmtxContext(rowCtx, stmt)
		}
		args := make([]any, 0, len(r.columns))
		began := time.Now()
		since := began
		rows = 0
		for next = from; next < r.n; {
			args = r.append(args[:0], next)
			for _, exec := range execs {
				n, err := affected(exec.ExecContext(rowCtx, args...))
				if err != nil {
					return cmp.Or(ctx.Err(), err) // a transaction that is called away is rolled back
				}
				if n > 0 {
					break
				}
			}
			next++
			if rows++; rows%paceRows != 0 {
				continue
			}
			now := time.Now()
			if now.Sub(began) > paceHold {
				return nil
			}
			if now.Sub(since) > paceWork {
				if err := p.rest(ctx, rows); err != nil {
					return err
				}
				rows, since = 0, time.Now()
			}
		}
		return ctx.Err()
	})
	return next, rows, err
}

func ignoreBadConn(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return nil
	}
	return err
}
