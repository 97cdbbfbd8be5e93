package store_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"

	"ussdd/store"
)

// errDead is what everything in a dead process gets.
var errDead = errors.New("the process is dead")

// doom kills a process at a boundary of its statements: before or after the
// n-th statement, begin or commit that it sends for writing. What was sent
// before is with the database, and what is open there is rolled back.
type doom struct {
	mu       sync.Mutex
	left     int    // boundaries until death
	killedAt string // the last thing that was sent, or was about to be
	dead     bool
}

// pass reports whether the process lives beyond this boundary.
func (d *doom) pass(what string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return false
	}
	if d.left--; d.left < 0 {
		d.dead, d.killedAt = true, what
	}
	return !d.dead
}

// guard sends what do does, unless the process is dead before, and hides the
// answer if it is dead after.
func guard[T any](d *doom, what string, do func() (T, error)) (T, error) {
	var none T
	if !d.pass("before " + what) {
		return none, errDead
	}
	v, err := do()
	if !d.pass("after " + what) {
		return none, errDead
	}
	return v, err
}

// openDoomed opens the fixture's database as a process that will die at the
// boundary n, counted from 0.
func (f *fixture) openDoomed(n int) (*store.DB, *doom) {
	f.Helper()
	d := &doom{left: n}
	db, err := store.Open(f.ctx, f.name, store.Options{Now: f.now, Limits: f.limits, Messages: f.messages,
		Connector: func(c driver.Connector) driver.Connector { return doomedConnector{c, d} }})
	if err != nil {
		f.Fatal(err)
	}
	return db, d
}

type doomedConnector struct {
	driver.Connector
	doom *doom
}

func (c doomedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &doomedConn{conn, c.doom}, nil
}

type doomedConn struct {
	driver.Conn
	doom *doom
}

func (c *doomedConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *doomedConn) BeginTx(ctx context.Context, opt driver.TxOptions) (driver.Tx, error) {
	tx, err := guard(c.doom, "begin", func() (driver.Tx, error) { return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opt) })
	if err != nil {
		return nil, err
	}
	return doomedTx{tx, c.doom}, nil
}

func (c *doomedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return guard(c.doom, query, func() (driver.Result, error) { return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args) })
}

// QueryContext passes no boundary: a read changes nothing.
func (c *doomedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

type doomedTx struct {
	driver.Tx
	doom *doom
}

func (t doomedTx) Commit() error {
	if !t.doom.pass("before commit") {
		return errors.Join(errDead, t.Tx.Rollback())
	}
	if err := t.Tx.Commit(); err != nil {
		return err
	}
	if !t.doom.pass("after commit") {
		return errDead
	}
	return nil
}
