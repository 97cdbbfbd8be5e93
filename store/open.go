package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Options are the surroundings of a DB. The zero value is usable.
type Options struct {
	Now func() time.Time // clock of the time columns; nil = time.Now
	Log *slog.Logger     // retried transactions and what the MySQL driver reports; nil = nothing is logged
	// Limits are what Hold refuses beyond. Zero = no limits.
	Limits Limits
	// Messages has the outbox get a message for each decision that a subscriber
	// is to be told of. Whoever sets it empties the outbox.
	Messages bool
	// Connector, if set, wraps what makes the connections for writing, for tests
	// that break them.
	Connector func(driver.Connector) driver.Connector
}

// DB is one database. All methods are safe for use by several goroutines and,
// through their own DB, by several processes. Each method that writes is one
// transaction: when it returns an error nothing was written, except when the
// connection broke while the commit was on its way. The caller then reads the
// record again; thanks to idempotency keys and versions a repeated call does no
// harm.
type DB struct {
	engine *engine
	name   string // for errors: no secrets in it
	path   string // SQLite only
	r, w   *sqlx.DB
	now    func() time.Time
	log    *slog.Logger
	hosts  *hosts // nil unless the name has several
	wrap   func(driver.Connector) driver.Connector

	limits   Limits
	messages bool
}

// Open opens the database "sqlite:PATH" or "mysql:DSN", the DSN in
// go-sql-driver's form (user:password@tcp(host:3306)/database). Several hosts,
// tcp(host1:3306,host2:3306,[fd00::3]:3306), are tried in that order for each
// connection: one that does not answer, is read-only, or is a node of a Galera
// cluster and not synced, is left out for some seconds. Open creates and
// migrates nothing: a SQLite file that is not there yet is made by Migrate. The
// caller closes the DB.
func Open(ctx context.Context, name string, opt Options) (*DB, error) {
	db := &DB{now: opt.Now, log: opt.Log, wrap: opt.Connector, limits: opt.Limits, messages: opt.Messages}
	if db.wrap == nil {
		db.wrap = func(c driver.Connector) driver.Connector { return c }
	}
	if db.now == nil {
		db.now = time.Now
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	scheme, rest, _ := strings.Cut(name, ":")
	var err error
	switch scheme {
	case "sqlite":
		err = db.openSQLite(rest)
	case "mysql":
		err = db.openMySQL(rest)
	default:
		// The name is not repeated: a DSN without its scheme has a password in
		// it.
		return nil, errors.New("open database: the name must be sqlite:PATH or mysql:DSN")
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if !db.exists() {
		return db, nil
	}
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), db.Close())
	}
	return db, nil
}

// DefaultName names the database used when none is configured: ussdd.db in
// stateDirectory, which is $STATE_DIRECTORY as systemd sets it (the first of
// several separated by colons), or in the working directory if that is empty.
func DefaultName(stateDirectory string) string {
	first, _, _ := strings.Cut(stateDirectory, ":")
	return "sqlite:" + filepath.Join(first, "ussdd.db")
}

// Engine is "sqlite" or "mysql".
func (db *DB) Engine() string { return db.engine.name }

// Ping fails if the database cannot be reached or, on SQLite, is not there.
func (db *DB) Ping(ctx context.Context) error {
	var n int
	if err := db.r.GetContext(ctx, &n, db.engine.ping); err != nil {
		return fmt.Errorf("%s: %w", db.name, err)
	}
	return nil
}

// Close closes all connections. Calls under way fail.
func (db *DB) Close() error {
	if db.r == db.w {
		return db.w.Close()
	}
	return errors.Join(db.r.Close(), db.w.Close())
}
