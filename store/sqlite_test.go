package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"

	"github.com/jmoiron/sqlx"
)

// TestStatementsAreKept: a statement is prepared once for each connection, save
// what may not run again and what does not fit.
func TestStatementsAreKept(t *testing.T) {
	db := openTest(t)
	ctx := t.Context()
	conn, err := db.w.Connx(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	idle := func() (n int) {
		err := conn.Raw(func(c any) error { n = len(c.(*preparedConn).idle); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := idle()
	const insert, query = "INSERT INTO instances (owner, lease_until) VALUES (?, ?)", "SELECT owner FROM instances ORDER BY owner"
	for i, owner := range []string{"a", "b", "c"} {
		if _, err := conn.ExecContext(ctx, insert, owner, i); err != nil {
			t.Fatal(err)
		}
	}
	if got := idle(); got != first+1 {
		t.Errorf("%d statements are kept, want %d", got, first+1)
	}
	if _, err := conn.ExecContext(ctx, insert, "a", 1); !sqliteEngine.duplicate(err) {
		t.Errorf("a duplicate gave %v", err)
	}
	if _, err := conn.ExecContext(ctx, insert, "d", 1); err != nil {
		t.Errorf("after a duplicate: %v", err)
	}
	for _, level := range []int{1, 2, 1, 2} {
		if _, err := conn.ExecContext(ctx, fmt.Sprint("PRAGMA synchronous = ", level)); err != nil {
			t.Fatal(err)
		}
		var got int
		if err := conn.GetContext(ctx, &got, "PRAGMA synchronous"); err != nil || got != level {
			t.Errorf("synchronous is %d, %v, want %d", got, err, level)
		}
	}
	if got := idle(); got != first+1 {
		t.Errorf("with pragmas %d statements are kept, want %d", got, first+1)
	}
	for i := range 2 * sqliteStatements {
		var got int
		if err := conn.GetContext(ctx, &got, fmt.Sprintf("SELECT %d", i)); err != nil || got != i {
			t.Fatalf("%d, %v", got, err)
		}
	}
	if got := idle(); got != sqliteStatements {
		t.Errorf("%d statements are kept, want %d", got, sqliteStatements)
	}
	canceled, cancel := context.WithCancel(ctx)
	rows, err := conn.QueryContext(canceled, query)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for rows.Next() {
	}
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
	var all []string
	if err := sqlx.SelectContext(ctx, conn, &all, query); err != nil || fmt.Sprint(all) != "[a b c d]" {
		t.Errorf("%v, %v", all, err)
	}
}

// TestStatementRunsTwice: a query that runs while the rows of the same one are
// being read has a statement of its own.
func TestStatementRunsTwice(t *testing.T) {
	db := openTest(t)
	const query = "SELECT ? + 1 UNION ALL SELECT 7"
	err := db.tx(t.Context(), func(tx *sqlx.Tx) error {
		var got []int
		var read func(n int) error
		read = func(n int) (err error) {
			rows, err := tx.QueryContext(t.Context(), query, n)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, rows.Close()) }()
			for rows.Next() {
				var v int
				if err := rows.Scan(&v); err != nil {
					return err
				}
				got = append(got, v)
				if n < 3 && v != 7 {
					if err := read(n + 1); err != nil {
						return err
					}
				}
			}
			return rows.Err()
		}
		if err := read(1); err != nil {
			return err
		}
		if fmt.Sprint(got) != "[2 3 4 7 7 7]" {
			t.Errorf("read %v", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestPrepareFails: a statement that cannot be prepared is an error, whether it
// is run for its rows or not.
func TestPrepareFails(t *testing.T) {
	db := openTest(t)
	if _, err := db.w.Exec("INSERT INTO nothing VALUES (1)"); err == nil {
		t.Error("inserted into nothing")
	}
	var n int
	if err := db.w.Get(&n, "SELECT x FROM nothing"); err == nil || errors.Is(err, sql.ErrNoRows) || errors.Is(err, driver.ErrBadConn) {
		t.Errorf("selected from nothing: %v", err)
	}
}
