package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Migrations are numbered upwards and are never edited once released, only
// added to. A statement ends with a semicolon at the end of a line. MySQL
// commits at each statement that changes the schema, so there every statement
// must do nothing when it is run again, or be refused as engine.exists says:
// that completes a migration that died half-way, and lets two programs migrate
// at once.
//
//go:embed migrations
var migrationFiles embed.FS

type migration struct {
	version    int
	name       string // "0001_money"
	checksum   string // SHA-256 of the file in hex
	statements []string
}

// applied is a row of schema_migrations.
type applied struct {
	Version  int    `db:"version"`
	Checksum string `db:"checksum"`
}

const createMigrations = `CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INT         NOT NULL PRIMARY KEY,
    name       VARCHAR(64) NOT NULL,
    checksum   CHAR(64)    NOT NULL,
    applied_at BIGINT      NOT NULL
)`

const mend = "run `ussdctl schema migrate`"

// Migrate applies the migrations that the database lacks, in order, and returns
// their names. On SQLite it first makes the file if it is not there. Several
// programs may call it at once. Errors: ErrSchemaNew, ErrSchemaChanged.
func (db *DB) Migrate(ctx context.Context) ([]string, error) {
	if err := db.create(); err != nil {
		return nil, fmt.Errorf("migrate %s: %w", db.name, err)
	}
	known, rows, err := db.schema(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", db.name, err)
	}
	if err := verify(known, rows); err != nil && !errors.Is(err, ErrSchemaOld) && !errors.Is(err, ErrSchemaMissing) {
		return nil, fmt.Errorf("migrate %s: %w", db.name, err)
	}
	if len(rows) == 0 {
		err := db.tx(ctx, func(tx *sqlx.Tx) error {
			_, err := tx.ExecContext(ctx, createMigrations)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("migrate %s: %w", db.name, err)
		}
	}
	var done []string
	for _, m := range known[len(rows):] {
		ran, err := db.apply(ctx, m)
		if err != nil {
			return done, fmt.Errorf("migrate %s: %s: %w", db.name, m.name, err)
		}
		if ran {
			done = append(done, m.name)
		}
	}
	return done, nil
}

// apply runs m and records it; false if another program has done so since.
func (db *DB) apply(ctx context.Context, m migration) (ran bool, err error) {
	run := func(x sqlx.ExtContext) error {
		var n int
		ran = false
		if err := sqlx.GetContext(ctx, x, &n, "SELECT COUNT(*) FROM schema_migrations WHERE version = ?", m.version); err != nil || n > 0 {
			return err
		}
		for i, statement := range m.statements {
			if _, err := x.ExecContext(ctx, statement); err != nil && !db.engine.exists(err) {
				return fmt.Errorf("statement %d: %w", i+1, err)
			}
		}
		ran = true
		_, err := x.ExecContext(ctx, "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)"+
			db.engine.keepOld("version"), m.version, m.name, m.checksum, millis(db.now()))
		return err
	}
	if db.engine.transactionalDDL {
		err = db.tx(ctx, func(tx *sqlx.Tx) error { return run(tx) })
	} else {
		err = db.retry(ctx, func() error { return run(db.w) })
	}
	return ran, err
}

// Schema says which migrations the database has and lacks. A database that is
// not there has none.
func (db *DB) Schema(ctx context.Context) (Schema, error) {
	known, rows, err := db.schema(ctx)
	if err != nil {
		return Schema{}, fmt.Errorf("schema of %s: %w", db.name, err)
	}
	var s Schema
	if len(rows) > 0 {
		s.Have = rows[len(rows)-1].Version
	}
	s.Want = newest(known)
	for _, m := range known[min(len(rows), len(known)):] {
		s.Pending = append(s.Pending, m.name)
	}
	return s, nil
}

// CheckSchema returns nil if the database has exactly the schema of this
// program. Its error says what to do and is one of ErrSchemaMissing,
// ErrSchemaOld, ErrSchemaNew, ErrSchemaChanged, or that of a database out of
// reach.
func (db *DB) CheckSchema(ctx context.Context) error {
	known, rows, err := db.schema(ctx)
	if err != nil {
		return fmt.Errorf("schema of %s: %w", db.name, err)
	}
	if err := verify(known, rows); err != nil {
		return fmt.Errorf("%s: %w", db.name, err)
	}
	return nil
}

// verify compares the migrations applied with those known.
func verify(known []migration, rows []applied) error {
	for i, row := range rows {
		switch {
		case i >= len(known):
			return fmt.Errorf("%w: it is at %d, this program knows %d; use the newer program", ErrSchemaNew, rows[len(rows)-1].Version, newest(known))
		case row.Version != known[i].version:
			return fmt.Errorf("%w: migration %d is not recorded as applied; restore a backup", ErrSchemaChanged, known[i].version)
		case row.Checksum != known[i].checksum:
			return fmt.Errorf("%w: %s was applied in another form than this program's; use the program that applied it",
				ErrSchemaChanged, known[i].name)
		}
	}
	switch {
	case len(rows) == 0:
		return fmt.Errorf("%w: %s", ErrSchemaMissing, mend)
	case len(rows) < len(known):
		return fmt.Errorf("%w: it is at %d, this program needs %d; %s", ErrSchemaOld, rows[len(rows)-1].Version, newest(known), mend)
	}
	return nil
}

// newest is the number of the newest migration.
func newest(known []migration) int { return known[len(known)-1].version }

// schema reads the migrations embedded and those applied. It is an error if the
// database holds tables but not ours.
func (db *DB) schema(ctx context.Context) ([]migration, []applied, error) {
	known, err := migrations(db.engine.name)
	if err != nil || !db.exists() {
		return known, nil, err
	}
	var tables []string
	if err := db.r.SelectContext(ctx, &tables, db.engine.tables); err != nil {
		return nil, nil, err
	}
	if len(tables) == 0 {
		return known, nil, nil
	}
	ours := false
	for _, t := range tables {
		ours = ours || t == "schema_migrations"
	}
	if !ours {
		return nil, nil, fmt.Errorf("it holds tables of another program, such as %s", tables[0])
	}
	var rows []applied
	if err := db.r.SelectContext(ctx, &rows, "SELECT version, checksum FROM schema_migrations ORDER BY version"); err != nil {
		return nil, nil, err
	}
	return known, rows, nil
}

// migrations reads the engine's embedded files in order.
func migrations(engine string) ([]migration, error) {
	dir := "migrations/" + engine
	files, err := migrationFiles.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var known []migration
	for _, f := range files {
		source, err := migrationFiles.ReadFile(dir + "/" + f.Name())
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(f.Name(), ".sql")
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil || len(number) != 4 || len(known) > 0 && version <= newest(known) {
			return nil, fmt.Errorf("migration %s is not in order", f.Name())
		}
		sum := sha256.Sum256(source)
		known = append(known, migration{version, name, hex.EncodeToString(sum[:]), statements(string(source))})
	}
	return known, nil
}

// statements splits a migration at semicolons that end a line and leaves
// comment lines out.
func statements(source string) []string {
	var all []string
	var b strings.Builder
	for line := range strings.Lines(source) {
		if strings.HasPrefix(strings.TrimSpace(line), "--") {
			continue
		}
		b.WriteString(line)
		if strings.HasSuffix(strings.TrimSpace(line), ";") {
			all = append(all, strings.TrimSpace(b.String()))
			b.Reset()
		}
	}
	return all
}
