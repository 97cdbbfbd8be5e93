package store

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
)

func openTest(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestTransactionIsRetriedWhole(t *testing.T) {
	db := openTest(t)
	tries := 0
	err := db.tx(t.Context(), func(tx *sqlx.Tx) error {
		tries++
		if err := db.insertWallet(t.Context(), tx, "2348031234567", int64(tries)); err != nil {
			return err
		}
		if tries < 3 {
			return errAgain
		}
		return nil
	})
	w, walletErr := db.Wallet(t.Context(), "2348031234567")
	if err != nil || walletErr != nil || tries != 3 || w.Balance != 3 {
		t.Errorf("%d tries, %v, wallet %+v, %v", tries, err, w, walletErr)
	}
}

func TestTransactionGivesUp(t *testing.T) {
	db := openTest(t)
	tries := 0
	err := db.tx(t.Context(), func(*sqlx.Tx) error { tries++; return errAgain })
	if !errors.Is(err, errAgain) || tries != maxTries {
		t.Errorf("%d tries, %v", tries, err)
	}
	tries = 0
	err = db.tx(t.Context(), func(*sqlx.Tx) error { tries++; return ErrInsufficient })
	if !errors.Is(err, ErrInsufficient) || tries != 1 {
		t.Errorf("%d tries, %v", tries, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tries = 0
	err = db.tx(ctx, func(*sqlx.Tx) error {
		tries++
		cancel()
		return errAgain
	})
	if !errors.Is(err, context.Canceled) || tries != 1 {
		t.Errorf("%d tries, %v", tries, err)
	}
}

func TestPauseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for try := 1; try < maxTries; try++ {
			begin := time.Now()
			if err := pause(t.Context(), try); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took > min(minPause<<(try-1), maxPause) {
				t.Errorf("try %d paused %v", try, took)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		if err := pause(ctx, maxTries); !errors.Is(err, context.Canceled) || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// TestBusyIsTransient meets the error that another process's write lock gives.
func TestBusyIsTransient(t *testing.T) {
	db := openTest(t)
	var got error
	err := db.tx(t.Context(), func(*sqlx.Tx) error {
		second, err := sql.Open("sqlite", "file:"+db.path+"?_busy_timeout=0&_txlock=immediate")
		if err != nil {
			return err
		}
		defer second.Close()
		_, got = second.Begin()
		return nil
	})
	if err != nil || got == nil || !sqliteEngine.transient(got) || sqliteEngine.duplicate(got) {
		t.Errorf("%v, %v", err, got)
	}
	if sqliteEngine.transient(sql.ErrNoRows) {
		t.Error("no rows is transient")
	}
}

func TestMySQLErrors(t *testing.T) {
	for number, want := range map[uint16]struct{ duplicate, transient bool }{
		1062: {duplicate: true}, 1213: {transient: true}, 1205: {transient: true}, 1020: {transient: true}, 1146: {},
	} {
		err := errors.Join(errors.New("x"), &mysql.MySQLError{Number: number})
		if mysqlEngine.duplicate(err) != want.duplicate || mysqlEngine.transient(err) != want.transient {
			t.Errorf("%d is judged wrongly", number)
		}
	}
}

func TestSQLiteConnections(t *testing.T) {
	db := openTest(t)
	if err := db.CheckSchema(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		pool *sqlx.DB
		want map[string]string
	}{
		{db.w, map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000", "query_only": "0"}},
		{db.r, map[string]string{"journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "5000", "query_only": "1"}},
	} {
		for pragma, want := range test.want {
			var got string
			if err := test.pool.Get(&got, "PRAGMA "+pragma); err != nil || got != want {
				t.Errorf("%s is %s, %v, want %s", pragma, got, err, want)
			}
		}
	}
	if n := db.w.Stats().MaxOpenConnections; n != 1 {
		t.Errorf("%d writers", n)
	}
	// A reader does not wait for the writer, and sees what was committed
	// before.
	err := db.tx(t.Context(), func(tx *sqlx.Tx) error {
		if err := db.insertWallet(t.Context(), tx, "2348031234567", 1); err != nil {
			return err
		}
		if _, err := db.Wallet(t.Context(), "2348031234567"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a reader sees %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestUnbalancedEntry: the last line of defence against a fault in this
// package.
func TestUnbalancedEntry(t *testing.T) {
	db := openTest(t)
	for name, postings := range map[string][]posting{
		"sum":          {{"a", 1}, {"b", -2}},
		"one":          {{"a", 0}, {"b", 0}},
		"none":         nil,
		"one of value": {{"a", 5}, {"b", 0}},
	} {
		err := db.tx(t.Context(), func(tx *sqlx.Tx) error {
			return db.post(t.Context(), tx, entry{kind: entryHold, reference: name}, postings...)
		})
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := db.tx(t.Context(), func(tx *sqlx.Tx) error {
		return db.post(t.Context(), tx, entry{kind: entryHold, reference: "x"}, posting{"a", 1}, posting{"b", -1}, posting{"c", 0})
	})
	if err != nil {
		t.Error(err)
	}
}

func TestMigrationFiles(t *testing.T) {
	var names [2][]string
	for i, engine := range []*engine{sqliteEngine, mysqlEngine} {
		known, err := migrations(engine.name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range known {
			names[i] = append(names[i], m.name)
			for _, s := range m.statements {
				repeatable := strings.HasPrefix(s, "CREATE TABLE IF NOT EXISTS") || strings.HasPrefix(s, "CREATE TRIGGER IF NOT EXISTS") ||
					strings.Contains(s, "ON DUPLICATE KEY UPDATE") || strings.HasPrefix(s, "UPDATE ") && strings.Contains(s, " AND ") ||
					strings.HasPrefix(s, "ALTER TABLE ") && (strings.Contains(s, "ADD COLUMN") || strings.Contains(s, "ADD INDEX") || strings.Contains(s, "DROP CONSTRAINT"))
				if engine == mysqlEngine && !repeatable {
					t.Errorf("%s: cannot be run again: %.60s", m.name, s)
				}
				if engine == mysqlEngine && strings.HasPrefix(s, "CREATE TABLE") &&
					!strings.HasSuffix(s, ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;") {
					t.Errorf("%s: engine or collation missing: %.60s", m.name, s)
				}
				if engine == sqliteEngine && strings.HasPrefix(s, "CREATE TABLE") && !strings.HasSuffix(s, ") STRICT;") {
					t.Errorf("%s: not strict: %.60s", m.name, s)
				}
			}
		}
	}
	if strings.Join(names[0], " ") != strings.Join(names[1], " ") {
		t.Errorf("migrations differ: %v", names)
	}
}

// TestLockRows: subjects come and go, the rows of their locks are a few that stay.
func TestLockRows(t *testing.T) {
	rows := make(map[string]bool)
	for i := range 100_000 {
		rows[lockRow("recipient", strconv.Itoa(2348030000000+i))] = true
	}
	if len(rows) != 4096 {
		t.Errorf("%d rows", len(rows))
	}
	if lockRow("recipient", "r") == lockRow("payment", "r") {
		t.Error("payments, which are locked before wallets, share rows with recipients, which are locked after them")
	}
}
