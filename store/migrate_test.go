package store_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"ussdd/store"
)

var all = []string{"0001_money", "0002_sessions", "0003_open_sessions", "0004_books"}

func TestMigrateFresh(t *testing.T) {
	onEach(t, func(t *testing.T, engine engine) {
		f := newFixture(t, engine)
		err := f.db.CheckSchema(f.ctx)
		f.wantErr("empty database", err, store.ErrSchemaMissing)
		if !strings.HasSuffix(err.Error(), ": schema missing: run `ussdctl schema migrate`") {
			f.Errorf("the error does not help: %v", err)
		}
		f.wantSchema(store.Schema{Want: 4, Pending: all})
		done, err := f.db.Migrate(f.ctx)
		if err != nil || !slices.Equal(done, all) {
			f.Fatalf("applied %v, %v", done, err)
		}
		f.wantErr("migrated", f.db.CheckSchema(f.ctx), nil)
		f.wantSchema(store.Schema{Have: 4, Want: 4})
	})
}

func (f *fixture) wantSchema(want store.Schema) {
	f.Helper()
	got, err := f.db.Schema(f.ctx)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		f.Errorf("schema %+v, %v, want %+v", got, err, want)
	}
}

func migratedAgain(f *fixture) {
	f.fund(amina, 1)
	done, err := f.db.Migrate(f.ctx)
	if err != nil || len(done) != 0 {
		f.Errorf("applied %v, %v", done, err)
	}
	f.wallet(amina, 1, 0)
}

func schemaNew(f *fixture) {
	f.exec("INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (5, '0005_x', 'x', 0)")
	err := f.db.CheckSchema(f.ctx)
	f.wantErr("newer", err, store.ErrSchemaNew)
	if !strings.HasSuffix(err.Error(), ": schema newer than this program: it is at 5, this program knows 4; use the newer program") {
		f.Errorf("the error does not help: %v", err)
	}
	f.wantSchema(store.Schema{Have: 5, Want: 4})
	_, err = f.db.Migrate(f.ctx)
	f.wantErr("migrate", err, store.ErrSchemaNew)
}

func schemaChanged(f *fixture) {
	f.exec("UPDATE schema_migrations SET checksum = 'x' WHERE version = 1")
	f.wantErr("edited", f.db.CheckSchema(f.ctx), store.ErrSchemaChanged)
	_, err := f.db.Migrate(f.ctx)
	f.wantErr("migrate", err, store.ErrSchemaChanged)
	f.exec("DELETE FROM schema_migrations WHERE version = 1")
	f.wantErr("a gap", f.db.CheckSchema(f.ctx), store.ErrSchemaChanged)
}

func TestMigrateRefusesOthersTables(t *testing.T) {
	onEach(t, func(t *testing.T, engine engine) {
		f := newFixture(t, engine)
		if engine.name == "sqlite" {
			if err := os.WriteFile(strings.TrimPrefix(f.name, "sqlite:"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f.exec("CREATE TABLE posts (id INTEGER)")
		for what, err := range map[string]error{"check": f.db.CheckSchema(f.ctx), "migrate": second(f.db.Migrate(f.ctx))} {
			if err == nil || !strings.Contains(err.Error(), "it holds tables of another program, such as posts") {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestMigrateAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, engine engine) {
		f := newFixture(t, engine)
		dbs := []*store.DB{f.open(), f.open(), f.open(), f.open()}
		times(len(dbs), func(i int) {
			if _, err := dbs[i].Migrate(f.ctx); err != nil {
				t.Error(err)
			}
		})
		f.wantErr("migrated", f.db.CheckSchema(f.ctx), nil)
		f.delivered(func() store.Purchase { f.fund(amina, 100_00); return f.order() }(), "v")
		if r := f.check(); len(r.Violations) != 0 {
			t.Errorf("ledger %+v", r)
		}
	})
}

// TestMigrateFromOlder opens databases as earlier schemas left them, with a
// purchase under way, and brings them to this one.
func TestMigrateFromOlder(t *testing.T) {
	onEach(t, func(t *testing.T, engine engine) {
		for have := 1; have < len(all); have++ {
			t.Run(fmt.Sprint("v", have), func(t *testing.T) { migrateFrom(t, engine, have) })
		}
	})
}

func migrateFrom(t *testing.T, engine engine, have int) {
	fresh, f := newFixture(t, engine), newFixture(t, engine)
	fresh.migrate()
	fixture, err := os.ReadFile(fmt.Sprintf("testdata/v%d.%s.sql", have, engine.name))
	if err != nil {
		t.Fatal(err)
	}
	if engine.name == "sqlite" {
		if err := os.WriteFile(strings.TrimPrefix(f.name, "sqlite:"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.exec(strings.Split(strings.TrimSpace(string(fixture)), ";\n")...)

	err = f.db.CheckSchema(f.ctx)
	f.wantErr("old", err, store.ErrSchemaOld)
	if !strings.HasSuffix(err.Error(), fmt.Sprintf(": schema old: it is at %d, this program needs %d; run `ussdctl schema migrate`", have, len(all))) {
		t.Errorf("the error does not help: %v", err)
	}
	f.wantSchema(store.Schema{Have: have, Want: len(all), Pending: all[have:]})
	done, err := f.db.Migrate(f.ctx)
	if err != nil || !slices.Equal(done, all[have:]) {
		t.Fatalf("applied %v, %v", done, err)
	}
	f.wantErr("migrated", f.db.CheckSchema(f.ctx), nil)
	if got, want := f.tables(), fresh.tables(); got != want {
		t.Errorf("upgraded schema\n%s\nfresh schema\n%s", got, want)
	}

	f.wallet(amina, 400_00, 100_00)
	due, err := f.db.Due(f.ctx, other, f.now(), 10)
	if err != nil || len(due) != 1 || due[0].State != store.Pending {
		t.Fatalf("due %+v, %v", due, err)
	}
	_, attempts := f.stored(due[0].Ref)
	f.finish(due[0], attempts[0], store.Delivered, store.Delivered)
	f.wallet(amina, 400_00, 0)
	if r := f.check(); r.Purchases != 1 || len(r.Violations) != 0 {
		t.Errorf("ledger %+v", r)
	}
	f.save([]store.Session{f.session(1, 1)}, []store.Step{f.step(1, 1)})
	if have > 1 {
		s, err := f.db.FindSession(f.ctx, "mtn", "", "2a00")
		if err != nil || s.ID != due[0].Session || s.MSISDN != amina {
			t.Errorf("the live session is %+v, %v", s, err)
		}
	}
}

// tables is the whole schema as the engine describes it, and the data that
// migrations put there.
func (f *fixture) tables() string {
	f.Helper()
	db := f.raw()
	column := func(query string) (values []string) {
		rows, err := db.Query(query)
		if err != nil {
			f.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				f.Fatal(err)
			}
			values = append(values, s)
		}
		if err := rows.Err(); err != nil {
			f.Fatal(err)
		}
		return values
	}
	var schema []string
	if f.engine.name == "sqlite" {
		schema = column("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
	} else {
		for _, table := range column("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name") {
			var name, create string
			if err := db.QueryRow("SHOW CREATE TABLE "+table).Scan(&name, &create); err != nil {
				f.Fatal(err)
			}
			schema = append(schema, create)
		}
	}
	schema = append(schema, column("SELECT CONCAT(version, ' ', name, ' ', checksum) FROM schema_migrations ORDER BY version")...)
	schema = append(schema, column("SELECT CONCAT(network, ' ', vendor, ' ', valid_from, ' ', bps) FROM commissions ORDER BY network, vendor, valid_from")...)
	return strings.Join(schema, "\n")
}

// TestMigrateInterrupted has the program die at boundaries all over the
// migrations' statements: MySQL has then kept the statements and SQLite has
// not, and on both the next Migrate completes the schema.
func TestMigrateInterrupted(t *testing.T) {
	onEach(t, func(t *testing.T, engine engine) {
		fresh := newFixture(t, engine)
		fresh.migrate()
		want := fresh.tables()
		for n, step := 0, map[string]int{"sqlite": 4, "mysql": 3}[engine.name]; ; n += step {
			f := newFixture(t, engine)
			doomed, doom := f.openDoomed()
			doom.reborn(n)
			_, err := doomed.Migrate(f.ctx)
			doomed.Close()
			if !doom.dead {
				f.wantErr("migration", err, nil)
				if n < 20 {
					f.Errorf("only %d boundaries", n)
				}
				return
			}
			f.wantErr(doom.killedAt, err, errDead)
			f.migrate()
			if got := f.tables(); got != want {
				f.Fatalf("died %s: completed schema\n%s\nfresh schema\n%s", doom.killedAt, got, want)
			}
		}
	})
}
