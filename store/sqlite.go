package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
)

// sqliteStatements is how many prepared statements a connection keeps. The
// package has fewer, save for lists whose filters vary.
const sqliteStatements = 128

// prepared connects with connections that keep the statements they have run:
// SQLite takes as long to prepare a statement of this package as to run it.
type prepared struct{ driver.Connector }

func (c prepared) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &preparedConn{sqliteConn: conn.(sqliteConn), idle: make(map[string]sqliteStmt)}, nil
}

// sqliteConn is what the driver's connections can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type preparedConn struct {
	sqliteConn
	idle map[string]sqliteStmt // by query; what is running is not in it
}

// kept reports whether a query's statement is one to run again. A PRAGMA is
// not: SQLite carries it out while it prepares it.
func kept(query string) bool {
	verb, _, _ := strings.Cut(query, " ")
	switch verb {
	case "SELECT", "INSERT", "UPDATE", "DELETE":
		return true
	}
	return false
}

// take gives the query's statement, which nobody else is running.
func (c *preparedConn) take(ctx context.Context, query string) (sqliteStmt, error) {
	if s, ok := c.idle[query]; ok {
		delete(c.idle, query)
		return s, nil
	}
	s, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.(sqliteStmt), nil
}

// give keeps a statement that has run without an error, and closes any other.
func (c *preparedConn) give(query string, s sqliteStmt, err error) error {
	if _, ok := c.idle[query]; ok || err != nil {
		return errors.Join(err, s.Close())
	}
	if len(c.idle) == sqliteStatements {
		for other, old := range c.idle {
			delete(c.idle, other)
			if err := old.Close(); err != nil {
				return errors.Join(err, s.Close())
			}
			break
		}
	}
	c.idle[query] = s
	return nil
}

func (c *preparedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !kept(query) {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := s.ExecContext(ctx, args)
	return result, c.give(query, s, err)
}

func (c *preparedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !kept(query) {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, c.give(query, s, err)
	}
	return &preparedRows{Rows: rows, give: func(err error) error { return c.give(query, s, err) }}, nil
}

func (c *preparedConn) Close() (err error) {
	for _, s := range c.idle {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, c.sqliteConn.Close())
}

// preparedRows gives their statement back when they are closed.
type preparedRows struct {
	driver.Rows
	give func(error) error
}

func (r *preparedRows) Close() error { return r.give(r.Rows.Close()) }
