package store

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// paced opens a fresh SQLite database and gives rows for its steps.
func paced(t *testing.T, n int) (*DB, rows) {
	t.Helper()
	db, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, rows{table: "steps", columns: stepColumns, onConflict: db.engine.keepOld("n"), n: n,
		append: func(args []any, i int) []any { return append(args, 1, i, 0, "", "", "", 0) }}
}

func (db *DB) count(t *testing.T) (n int) {
	t.Helper()
	if err := db.r.Get(&n, "SELECT COUNT(*) FROM steps"); err != nil {
		t.Fatal(err)
	}
	return n
}

// However many rows there are, money has its turn after some of them.
func TestPacedWritesLetMoneyIn(t *testing.T) {
	const n = 1_000_000 // far more than any machine writes in paceHold
	db, r := paced(t, n)
	next, _, err := db.paceOnce(t.Context(), r, 0, new(pacer))
	if err != nil || next == 0 || next == n || db.count(t) != next {
		t.Errorf("one transaction wrote %d rows of %d, %v; %d are there", next, n, err, db.count(t))
	}
}

func TestPacedWritesRest(t *testing.T) {
	p := pacer{}
	ctx, cancel := context.WithCancel(t.Context())
	if err := p.rest(ctx, 10); err != nil || p.due > 0 {
		t.Errorf("after a rest %s is due, %v", p.due, err)
	}
	p.due = -paceRest
	cancel() // so that an attempt to rest would fail
	if err := p.rest(ctx, 1); err != nil || p.due != 0 {
		t.Errorf("%s is due after a rest that was too long, %v", p.due, err)
	}
	if err := p.rest(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("rested with %v", err)
	}
}

// Only what nobody waits for does not wait for the disk.
func TestPacedWritesLeaveMoneyDurable(t *testing.T) {
	db, r := paced(t, 10)
	synchronous := func() (level int) {
		t.Helper()
		if err := db.w.Get(&level, "PRAGMA synchronous"); err != nil {
			t.Fatal(err)
		}
		return level
	}
	full := synchronous()
	if err := db.pace(t.Context(), r); err != nil || synchronous() != full || full != 2 {
		t.Errorf("synchronous was %d and is %d, %v", full, synchronous(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	again := r
	again.append = func(args []any, i int) []any {
		cancel()
		return r.append(args, 100+i)
	}
	if err := db.pace(ctx, again); !errors.Is(err, context.Canceled) || synchronous() != full || db.count(t) != 10 {
		t.Errorf("called away: %v; synchronous is %d, %d rows", err, synchronous(), db.count(t))
	}
}

// looked is a context that ends when it has been looked at so often.
type looked struct {
	context.Context
	end  context.CancelFunc
	left *atomic.Int64
}

func (l looked) look() {
	if l.left.Add(-1) < 0 {
		l.end()
	}
}

func (l looked) Done() <-chan struct{} {
	l.look()
	return l.Context.Done()
}

func (l looked) Err() error {
	l.look()
	return l.Context.Err()
}

// However early it is called away, the connection is left as it was.
func TestPacedWritesCalledAway(t *testing.T) {
	db, r := paced(t, 10)
	for looks := range int64(40) {
		ctx, end := context.WithCancel(t.Context())
		left := new(atomic.Int64)
		left.Store(looks)
		_ = db.pace(looked{ctx, end, left}, r)
		end()
		var level int
		if err := db.w.Get(&level, "PRAGMA synchronous"); err != nil || level != 2 {
			t.Fatalf("called away at look %d: synchronous is %d, %v", looks, level, err)
		}
	}
}
