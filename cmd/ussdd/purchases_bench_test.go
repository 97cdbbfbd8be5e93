package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ussdd/store"
	"ussdd/vendors/purchase"
)

// benchRounds is how often the two sides of BenchmarkPurchases take turns, so
// that what else the machine does hits both.
const benchRounds = 4

// BenchmarkPurchases sells through the desk and the store, with a vendor that
// delivers at once, and beside it makes the same statements in the same
// transactions with database/sql alone. It gives purchases per second of both,
// and their ratio.
func BenchmarkPurchases(b *testing.B) {
	for _, engine := range []string{"mysql", "sqlite"} {
		for _, subscribers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/%d", engine, subscribers), func(b *testing.B) {
				ours, oursDB := newDeskSide(b, engine)
				bare, bareDB := newBareSide(b, engine)
				fund(b, oursDB, subscribers)
				fund(b, bareDB, subscribers)
				var took [2]time.Duration
				serial := 0
				b.ResetTimer()
				for round := range benchRounds {
					n := b.N / benchRounds
					if round < b.N%benchRounds {
						n++
					}
					for side, buy := range []func(payer string, serial int) error{ours, bare} {
						took[side] += sell(b, subscribers, n, serial, buy)
					}
					serial += n
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/took[0].Seconds(), "purchases/s")
				b.ReportMetric(float64(b.N)/took[1].Seconds(), "bare/s")
				b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "ratio")
				b.ReportMetric(0, "ns/op")
				for side, db := range []*store.DB{oursDB, bareDB} {
					r, err := db.CheckLedger(b.Context())
					if err != nil || len(r.Violations) > 0 || r.Purchases != b.N || r.Postings != 2*subscribers+5*b.N {
						b.Errorf("side %d: %d purchases of %d, %d postings, %v, %v", side, r.Purchases, b.N, r.Postings, r.Violations, err)
					}
				}
			})
		}
	}
}

func benchPayer(i int) string { return fmt.Sprintf("234803%07d", i) }

func fund(b *testing.B, db *store.DB, subscribers int) {
	for i := range subscribers {
		if _, _, err := db.Credit(b.Context(), store.Operation{Operator: "ngozi", Reason: "funds"}, benchPayer(i), 1e12, "bench", benchPayer(i)); err != nil {
			b.Fatal(err)
		}
	}
}

// sell has that many subscribers buy n times together, one purchase after the
// other each.
func sell(b *testing.B, subscribers, n, serial int, buy func(payer string, serial int) error) time.Duration {
	runtime.GC()
	var next atomic.Int64
	var buyers sync.WaitGroup
	began := time.Now()
	for i := range min(subscribers, n) {
		buyers.Go(func() {
			for k := int(next.Add(1)); k <= n; k = int(next.Add(1)) {
				if err := buy(benchPayer(i), serial+k); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	buyers.Wait()
	return time.Since(began)
}

func newDeskSide(b *testing.B, engine string) (func(string, int) error, *store.DB) {
	db := openBenchmark(b, freshDatabase(b, engine))
	desk := (&shop{delivered: make(map[string]int)}).openDesk(b, db)
	return func(payer string, serial int) error {
		p, err := desk.Buy(b.Context(), purchase.Order{Key: fmt.Sprint(serial), Session: 1, MSISDN: payer, Recipient: payer, Network: "mtn", Amount: 100_00})
		if err == nil && p.State != purchase.Delivered {
			err = errors.New(p.State)
		}
		return err
	}, db
}

// bareStatements are those of a delivered purchase, transaction by transaction.
var bareStatements = map[string]string{
	"byKey": "SELECT " + bareColumns + " FROM purchases WHERE idem_key = ?",
	"byID":  "SELECT " + bareColumns + " FROM purchases WHERE id = ?",
	"move": `UPDATE wallets SET balance = balance + ?, held = held + ?
		WHERE msisdn = ? AND balance >= ? AND held >= ?`,
	"purchase":   "INSERT INTO purchases (" + bareColumns + ") VALUES (?" + strings.Repeat(", ?", 23) + ")",
	"entry":      "INSERT INTO entries (id, kind, reference, msisdn, note, at, reverses_id) VALUES (?, ?, ?, ?, '', ?, NULL)",
	"postings2":  "INSERT INTO postings (entry_id, n, account, msisdn, amount) VALUES (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)",
	"postings3":  "INSERT INTO postings (entry_id, n, account, msisdn, amount) VALUES (?, ?, ?, ?, ?), (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)",
	"commission": "SELECT bps FROM commissions WHERE network = ? AND vendor IN (?, '') AND valid_from <= ? ORDER BY vendor DESC, valid_from DESC LIMIT 1",
	"change": `UPDATE purchases SET state = ?, reason = ?, attempts = ?, vendor = ?, vendor_ref = ?, cost = ?, commission = ?, commission_bps = ?,
		version = version + 1, updated_at = ?, decided_at = ?, next_at = ?, unsure_at = ?, failed_at = ? WHERE id = ? AND version = ? AND owner = ?`,
	"attempt": `INSERT INTO attempts (msisdn, purchase_id, n, vendor, reference, state, reason, http_status, vendor_ref, cost, detail, queries, not_found,
		started_at, finished_at) VALUES (?, ?, 1, ?, ?, 'sending', '', 0, '', 0, '', 0, 0, ?, 0)`,
	"answer": `UPDATE attempts SET state = ?, reason = ?, http_status = ?, vendor_ref = ?, cost = ?, detail = ?, queries = ?, not_found = ?,
		finished_at = ? WHERE purchase_id = ? AND n = ? AND state IN ('sending', 'pending')`,
}

const bareColumns = `id, ref, idem_key, session_id, msisdn, recipient, network, amount, state, reason, attempts, vendor, vendor_ref,
	cost, commission, commission_bps, owner, version, created_at, updated_at, decided_at, next_at, unsure_at, failed_at`

// bareTx is a transaction of statements that were prepared before.
type bareTx struct {
	*sql.Tx
	ctx   context.Context
	stmts map[string]*sql.Stmt
	err   error
}

// exec must change one row at least.
func (t *bareTx) exec(name string, args ...any) {
	if t.err != nil {
		return
	}
	result, err := t.StmtContext(t.ctx, t.stmts[name]).ExecContext(t.ctx, args...)
	if err == nil {
		var n int64
		if n, err = result.RowsAffected(); err == nil && n == 0 {
			err = errors.New("nothing changed")
		}
	}
	if err != nil {
		t.err = fmt.Errorf("%s: %w", name, err)
	}
}

// read reads all columns of a row, and tells whether there is one.
func (t *bareTx) read(name string, columns int, args ...any) (found bool) {
	if t.err != nil {
		return false
	}
	row := make([]any, columns)
	for i := range row {
		row[i] = new(sql.RawBytes)
	}
	rows, err := t.StmtContext(t.ctx, t.stmts[name]).QueryContext(t.ctx, args...)
	if err != nil {
		t.err = fmt.Errorf("%s: %w", name, err)
		return false
	}
	if found = rows.Next(); found {
		t.err = rows.Scan(row...)
	}
	t.err = errors.Join(t.err, rows.Err(), rows.Close())
	return found
}

// openBare connects as the store does.
func openBare(b *testing.B, name string) *sql.DB {
	scheme, dsn, _ := strings.Cut(name, ":")
	connections := 64
	if scheme == "sqlite" {
		connections = 1
		dsn = "file:" + dsn + "?_busy_timeout=5000&_foreign_keys=1&_journal_mode=WAL&_synchronous=FULL&_txlock=immediate" +
			"&_pragma=cache_size(-16384)&_pragma=wal_autocheckpoint(4000)"
	} else {
		dsn += "?charset=utf8mb4&collation=utf8mb4_bin&tx_isolation='READ-COMMITTED'"
	}
	pool, err := sql.Open(scheme, dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { pool.Close() })
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	return pool
}

func newBareSide(b *testing.B, engine string) (func(string, int) error, *store.DB) {
	name := freshDatabase(b, engine)
	db, pool := openBenchmark(b, name), openBare(b, name)
	ctx := b.Context()
	stmts := make(map[string]*sql.Stmt)
	for name, query := range bareStatements {
		s, err := pool.PrepareContext(ctx, query)
		if err != nil {
			b.Fatal(name, err)
		}
		b.Cleanup(func() { s.Close() })
		stmts[name] = s
	}
	transact := func(do func(*bareTx)) error {
		tx, err := pool.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		t := &bareTx{Tx: tx, ctx: ctx, stmts: stmts}
		if do(t); t.err != nil {
			return errors.Join(t.err, tx.Rollback())
		}
		return tx.Commit()
	}
	const amount, cost, owner, vendor, network = 100_00, 97_00, "bare", "instant", "mtn"
	return func(payer string, serial int) error {
		id, hold, capture := store.NewID(), store.NewID(), store.NewID()
		ref, now := store.Ref(id), time.Now().UnixMilli()
		err := transact(func(t *bareTx) {
			if t.read("byKey", 24, fmt.Sprint(serial)) {
				t.err = errors.New("bought before")
			}
			t.exec("move", -amount, amount, payer, amount, -amount)
			t.exec("purchase", id, ref, fmt.Sprint(serial), 1, payer, payer, network, amount, "held", "", 0, "", "", 0, 0, 0, owner, 1, now, now, 0, now, 0, 0)
			t.exec("entry", hold, "hold", ref, payer, now)
			t.exec("postings2", hold, 1, "wallet:"+payer, payer, -amount, hold, 2, "hold:"+payer, payer, amount)
		})
		if err != nil {
			return err
		}
		err = transact(func(t *bareTx) {
			t.read("byID", 24, id)
			t.exec("change", "sending", "", 1, vendor, "", 0, 0, 0, now, 0, now, 0, 0, id, 1, owner)
			t.exec("attempt", payer, id, vendor, ref, now)
		})
		if err != nil {
			return err
		}
		return transact(func(t *bareTx) {
			t.read("byID", 24, id)
			t.read("commission", 1, network, vendor, now)
			t.exec("change", "delivered", "", 1, vendor, "V", cost, amount-cost, 300, now, now, 0, 0, 0, id, 2, owner)
			t.exec("answer", "delivered", "", 200, "V", cost, "", 0, 0, now, id, 1)
			t.exec("move", 0, -amount, payer, 0, amount)
			t.exec("entry", capture, "capture", ref, payer, now)
			t.exec("postings3", capture, 1, "hold:"+payer, payer, -amount, capture, 2, "float:"+vendor, payer, cost,
				capture, 3, "revenue:"+network, payer, amount-cost)
		})
	}, db
}
