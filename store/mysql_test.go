package store_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"ussdd/store"
	"ussdd/store/storetest"
)

// onMySQL is a fixture for what only MySQL does.
func onMySQL(t *testing.T) *fixture {
	t.Parallel()
	return migratedFixture(t, mysqlServer(t))
}

// TestMySQLDeadlock makes a real one: somebody who has the wallet wants the
// purchase while Record, which has the purchase, waits for the wallet. InnoDB
// ends the transaction that has changed less, which is Record's; its second try
// succeeds.
func TestMySQLDeadlock(t *testing.T) {
	f := onMySQL(t)
	f.fund(amina, 100_00)
	p, a := f.begin(f.hold(f.order()), "v")
	raw, watch := f.raw(), f.raw()
	tx, err := raw.Begin()
	if err != nil {
		f.Fatal(err)
	}
	defer tx.Rollback()
	exec := func(query string, args ...any) {
		f.Helper()
		if _, err := tx.Exec(query, args...); err != nil {
			f.Fatal(err)
		}
	}
	for i := range 100 {
		exec("INSERT INTO instances (owner, lease_until) VALUES (?, 0)", i)
	}
	exec("UPDATE wallets SET balance = balance WHERE msisdn = ?", amina)

	recorded := make(chan error, 1)
	go func() {
		a.State = store.Delivered
		_, err := f.db.Record(f.ctx, p, a, store.Delivered)
		recorded <- err
	}()
	// InnoDB refreshes this table only for a reader that has let a tenth of a
	// second pass.
	poll := time.NewTicker(150 * time.Millisecond)
	defer poll.Stop()
	for waiting := 0; waiting == 0; {
		<-poll.C
		err := watch.QueryRow(`SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p
				ON p.id = t.trx_mysql_thread_id WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()`).Scan(&waiting)
		if err != nil {
			f.Fatal(err)
		}
	}
	exec("UPDATE purchases SET reason = reason WHERE id = ?", p.ID)
	if err := tx.Commit(); err != nil {
		f.Fatal(err)
	}
	if err := <-recorded; err != nil {
		f.Error(err)
	}
	if log := f.log.String(); !strings.Contains(log, "transaction retried") || !strings.Contains(log, "Error 1213") {
		f.Errorf("there was no deadlock; logged: %s", log)
	}
	f.wallet(amina, 0, 0)
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

func TestMySQLSession(t *testing.T) {
	f := onMySQL(t)
	// A DSN that asks for something else gets what the store needs all the
	// same.
	cfg, err := mysql.ParseDSN(storetest.FirstHost(strings.TrimPrefix(f.name, "mysql:")))
	if err != nil {
		f.Fatal(err)
	}
	cfg.Params = map[string]string{"sql_mode": "''", "charset": "latin1"}
	db, err := store.Open(f.ctx, "mysql:"+cfg.FormatDSN(), store.Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer db.Close()
	for variable, want := range map[string]string{
		"character_set_client": "utf8mb4", "character_set_connection": "utf8mb4", "character_set_results": "utf8mb4",
		"collation_connection": "utf8mb4_bin", "tx_isolation": "READ-COMMITTED", "innodb_lock_wait_timeout": "5",
	} {
		if got := store.Variable(db, variable); got != want {
			f.Errorf("%s is %s, want %s", variable, got, want)
		}
	}
	if mode := store.Variable(db, "sql_mode"); !strings.Contains(mode, "STRICT_ALL_TABLES") {
		f.Errorf("sql_mode is %s", mode)
	}
	s := store.Service{Name: "₦aira", Version: "1", Codes: "*1#", Source: []byte("✓ \x00\xff' \\"), SeenAt: f.now()}
	if err := db.SaveService(f.ctx, s); err != nil {
		f.Fatal(err)
	}
	if got, err := f.db.Service(f.ctx, s.Name, "1"); err != nil || !bytes.Equal(got.Source, s.Source) {
		f.Errorf("service %+v, %v", got, err)
	}
}

func TestMySQLErrorsKeepThePassword(t *testing.T) {
	_, err := store.Open(t.Context(), "mysql:ussdd:hunter2@tcp(127.0.0.1:1)/ussdd", store.Options{})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "open database: mysql:tcp(127.0.0.1:1)/ussdd: ") {
		t.Errorf("error %v", err)
	}
}

// TestMySQLSamplesReadWhatTheyCheck: a sample's rules find what belongs to a row by
// indexes, and do not read the whole books for it.
func TestMySQLSamplesReadWhatTheyCheck(t *testing.T) {
	f := onMySQL(t)
	const digit = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)"
	f.exec("CREATE TABLE numbers AS SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 1 AS n FROM "+digit+" a, "+digit+" b, "+digit+" c, "+digit+" e WHERE e.d < 4",
		`INSERT INTO purchases (id, ref, idem_key, session_id, msisdn, recipient, network, amount, state, reason, attempts, vendor, vendor_ref, cost,
			commission, commission_bps, owner, version, created_at, updated_at, decided_at, next_at)
			SELECT n, CONCAT('TXN-', n), n, 0, 2348000000000 + n, '1', 'mtn', 100, 'held', '', 1, 'v', '', 0, 0, 0, 'o', 1, n, n, 0, 0 FROM numbers`,
		`INSERT INTO attempts (purchase_id, n, msisdn, vendor, reference, state, reason, http_status, vendor_ref, cost, detail, queries, not_found, started_at, finished_at)
			SELECT n, 1, 2348000000000 + n, 'v', CONCAT('TXN-', n), 'declined', '', 0, '', 0, '', 0, 0, n, n FROM numbers`,
		"INSERT INTO wallets (msisdn, balance, held, opened_at) SELECT 2348000000000 + n, 0, 100, n FROM numbers",
		"INSERT INTO entries (id, kind, reference, msisdn, note, at) SELECT n, 'hold', CONCAT('TXN-', n), 2348000000000 + n, '', n FROM numbers",
		"INSERT INTO postings (entry_id, n, account, msisdn, amount) SELECT n, 1, CONCAT('hold:', 2348000000000 + n), 2348000000000 + n, 100 FROM numbers",
		"INSERT INTO postings (entry_id, n, account, msisdn, amount) SELECT n, 2, CONCAT('wallet:', 2348000000000 + n), 2348000000000 + n, -100 FROM numbers",
		"INSERT INTO deposits (provider, reference, account, msisdn, amount, body, at) SELECT 'p', n, '1', '', 100, '', n FROM numbers",
		"ANALYZE TABLE purchases, attempts, wallets, entries, postings, deposits")
	raw := f.raw() // one connection, whose reads are counted
	reads := func() (sum int) {
		f.Helper()
		rows, err := raw.Query("SHOW SESSION STATUS LIKE 'Handler_read%'")
		if err != nil {
			f.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var n int
			if err := rows.Scan(&name, &n); err != nil {
				f.Fatal(err)
			}
			sum += n
		}
		return sum
	}
	for _, r := range store.SampleRules() {
		from, to := "100", "120"
		if r.Table == "wallets" {
			from, to = "2348000000100", "2348000000120"
		}
		before := reads()
		rows, err := raw.Query(r.Query, from, to)
		if err != nil {
			f.Fatalf("%s: %v", r.Name, err)
		}
		for rows.Next() {
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			f.Fatalf("%s: %v", r.Name, err)
		}
		if n := reads() - before; n > 1000 {
			f.Errorf("%s reads %d rows to check 20 of 4000", r.Name, n)
		}
	}
}
