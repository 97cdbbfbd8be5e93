package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // the driver

	"ussdd/scripts/stack"
)

// books is what the audit reads from the tables, by queries of its own.
type books struct {
	purchases map[string]bought // by reference
	attempts  map[attempt]tried
	states    map[string]int              // purchases by state
	wallets   map[string][2]int64         // balance and held, kobo
	accounts  map[string]int64            // sums of postings, kobo
	entries   map[string]map[string]int64 // amount by kind and reference: what holds, captures and releases moved
}

type bought struct {
	msisdn, recipient, network, state string
	amount                            int64
}

// attempt is a try by a vendor under a reference.
type attempt struct{ vendor, reference string }

// tried is what an attempt was for, by its purchase's reference, and came to.
type tried struct{ ref, state string }

// open opens the database as an auditor does: past everything that wrote it.
func (r *run) openBooks() (*sql.DB, error) {
	engine, name, _ := strings.Cut(r.Database, ":")
	if engine == "sqlite" {
		return sql.Open("sqlite", "file:"+name+"?mode=ro&_busy_timeout=5000")
	}
	cfg, err := mysql.ParseDSN(name)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// rows calls take with the columns of each row.
func rows(ctx context.Context, db *sql.DB, query string, columns []any, take func()) error {
	found, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if err := found.Scan(columns...); err != nil {
			return err
		}
		take()
	}
	return found.Err()
}

func (r *run) read(ctx context.Context) (books, error) {
	b := books{
		purchases: make(map[string]bought), attempts: make(map[attempt]tried), states: make(map[string]int),
		wallets: make(map[string][2]int64), accounts: make(map[string]int64), entries: make(map[string]map[string]int64),
	}
	db, err := r.openBooks()
	if err != nil {
		return b, err
	}
	var ref, msisdn, kind, account string
	var p bought
	var a attempt
	var t tried
	var x, y int64
	err = errors.Join(
		rows(ctx, db, "SELECT ref, msisdn, recipient, network, state, amount FROM purchases",
			[]any{&ref, &p.msisdn, &p.recipient, &p.network, &p.state, &p.amount}, func() {
				b.purchases[ref] = p
				b.states[p.state]++
			}),
		rows(ctx, db, "SELECT p.ref, a.state, a.vendor, a.reference FROM attempts a JOIN purchases p ON p.id = a.purchase_id",
			[]any{&t.ref, &t.state, &a.vendor, &a.reference}, func() { b.attempts[a] = t }),
		rows(ctx, db, "SELECT msisdn, balance, held FROM wallets", []any{&msisdn, &x, &y}, func() { b.wallets[msisdn] = [2]int64{x, y} }),
		rows(ctx, db, "SELECT account, CAST(SUM(amount) AS SIGNED) FROM postings GROUP BY account", []any{&account, &x}, func() { b.accounts[account] = x }),
		rows(ctx, db, "SELECT e.kind, e.reference, CAST(SUM(CASE WHEN p.amount > 0 THEN p.amount ELSE 0 END) AS SIGNED) FROM entries e JOIN postings p ON p.entry_id = e.id GROUP BY e.kind, e.reference",
			[]any{&kind, &ref, &x}, func() {
				if b.entries[kind] == nil {
					b.entries[kind] = make(map[string]int64)
				}
				b.entries[kind][ref] = x
			}),
	)
	return b, errors.Join(err, db.Close())
}

// audit checks all that must hold at the end.
func (r *run) audit(ctx context.Context) error {
	b, err := r.read(ctx)
	if err != nil {
		return fmt.Errorf("read the books: %w", err)
	}
	sold, err := r.Deliveries(ctx)
	if err != nil {
		return err
	}
	r.decided(b)
	r.delivered(b, sold.Deliveries)
	_, found := r.Ctl(ctx, "ledger", "check")
	r.ledger(b, found)
	r.wallets(b)
	r.screens(b)
	r.messages(b, r.told())
	r.stop()
	return r.problems()
}

// check prints one thing that must hold, and takes down what speaks against it.
func (r *run) check(bad []string, holds string, args ...any) {
	mark := "ok    "
	if len(bad) > 0 {
		mark = "FAILED"
	}
	fmt.Fprintf(r.out, "%s  %s\n", mark, fmt.Sprintf(holds, args...))
	slices.Sort(bad)
	for i, text := range bad {
		if i == 20 {
			r.fail("… and %d more", len(bad)-i)
			break
		}
		r.fail("%s", text)
	}
}

// decided: nothing is open, and nothing waits for a person.
func (r *run) decided(b books) {
	var bad []string
	for ref, p := range b.purchases {
		if p.state != "delivered" && p.state != "failed" {
			bad = append(bad, fmt.Sprintf("%s is %s", ref, p.state))
		}
	}
	if len(b.purchases) == 0 {
		bad = append(bad, "nobody bought anything")
	}
	r.check(bad, "every purchase is delivered or released: %d delivered, %d failed, %d in all", b.states["delivered"], b.states["failed"], len(b.purchases))
}

// delivered: what the vendors delivered is what was captured, one to one.
func (r *run) delivered(b books, sold []stack.Delivery) {
	var bad, twice []string
	times := make(map[string]int) // deliveries by purchase
	missing := make(map[attempt]string)
	for a, t := range b.attempts {
		if t.state == "delivered" {
			missing[a] = t.ref
		}
	}
	count := 0
	for _, d := range sold {
		a := attempt{d.Provider, d.Reference}
		count += d.Count
		if d.Count != 1 {
			twice = append(twice, fmt.Sprintf("%s delivered %s %d times", d.Provider, d.Reference, d.Count))
		}
		t, ok := b.attempts[a]
		if !ok || t.state != "delivered" {
			bad = append(bad, fmt.Sprintf("%s delivered %s, which is %q in the books", d.Provider, d.Reference, t.state))
		}
		delete(missing, a)
		times[t.ref] += d.Count
		p := b.purchases[t.ref]
		if p.recipient != d.Recipient || p.network != d.Network || p.amount != d.AmountKobo || b.entries["capture"][t.ref] != p.amount {
			bad = append(bad, fmt.Sprintf("%s delivered %+v for %s, captured %d of %+v", d.Provider, d, t.ref, b.entries["capture"][t.ref], p))
		}
	}
	for a, ref := range missing {
		bad = append(bad, fmt.Sprintf("%s is delivered in the books, and %s knows no delivery of %s", ref, a.vendor, a.reference))
	}
	captured := 0
	for ref, p := range b.purchases {
		if times[ref] > 1 {
			twice = append(twice, fmt.Sprintf("%s was delivered %d times", ref, times[ref]))
		}
		if (p.state == "delivered") != (times[ref] == 1) {
			bad = append(bad, fmt.Sprintf("%s is %s and was delivered %d times", ref, p.state, times[ref]))
		}
		if _, is := b.entries["capture"][ref]; is {
			captured++
		}
	}
	if captured != count {
		bad = append(bad, fmt.Sprintf("%d captures, %d deliveries", captured, count))
	}
	r.check(bad, "the vendors' %d deliveries are the %d captured purchases, one to one", count, captured)
	r.check(twice, "nothing was delivered twice")
}

// ledger: it sums to zero, and ussdctl finds nothing.
func (r *run) ledger(b books, found error) {
	var bad []string
	if found != nil {
		bad = append(bad, found.Error())
	}
	sum := int64(0)
	for _, amount := range b.accounts {
		sum += amount
	}
	if sum != 0 {
		bad = append(bad, fmt.Sprintf("the ledger sums to %d kobo", sum))
	}
	for ref, p := range b.purchases {
		_, captured := b.entries["capture"][ref]
		_, released := b.entries["release"][ref]
		if b.entries["hold"][ref] != p.amount || captured == released {
			bad = append(bad, fmt.Sprintf("%s of %d kobo: held %d, captured %v, released %v", ref, p.amount, b.entries["hold"][ref], captured, released))
		}
	}
	r.check(bad, "the ledger's %d accounts sum to %d kobo, each purchase was held once and then captured or released, and ussdctl ledger check finds nothing", len(b.accounts), sum)
}

// wallets: each equals its postings, and what came in less what was delivered.
func (r *run) wallets(b books) {
	r.mu.Lock()
	spent := make(map[string]int64)
	for _, p := range b.purchases {
		if p.state == "delivered" {
			spent[p.msisdn] += p.amount
		}
	}
	var bad []string
	var in, out int64
	for msisdn, paid := range r.paid {
		w := b.wallets[msisdn]
		in, out = in+paid, out+spent[msisdn]
		if w[0] != b.accounts["wallet:"+msisdn] || w[1] != b.accounts["hold:"+msisdn] {
			bad = append(bad, fmt.Sprintf("wallet %s has %d and %d, its postings %d and %d", msisdn, w[0], w[1], b.accounts["wallet:"+msisdn], b.accounts["hold:"+msisdn]))
		}
		if w[0] != paid-spent[msisdn] || w[1] != 0 {
			bad = append(bad, fmt.Sprintf("wallet %s has %d and %d on hold; %d came in and %d were delivered", msisdn, w[0], w[1], paid, spent[msisdn]))
		}
	}
	r.mu.Unlock()
	r.check(bad, "%d wallets equal their postings, and what came in less what was delivered: N%d - N%d", len(b.wallets), in/kobo, out/kobo)
}

// screens: what was promised is so, and nobody bought more often than he said
// yes.
func (r *run) screens(b books) {
	r.mu.Lock()
	var bad []string
	for _, s := range r.successes {
		if p, ok := b.purchases[s.ref]; !ok || p.state != "delivered" || p.msisdn != s.msisdn {
			bad = append(bad, fmt.Sprintf("%s was shown that %s is delivered, and it is %+v", s.msisdn, s.ref, p))
		}
	}
	times := make(map[string]int)
	for _, p := range b.purchases {
		times[p.msisdn]++
	}
	yes := 0
	for _, n := range r.confirms {
		yes += n
	}
	for msisdn, n := range times {
		if n > r.confirms[msisdn] {
			bad = append(bad, fmt.Sprintf("%s confirmed %d times and bought %d times", msisdn, r.confirms[msisdn], n))
		}
	}
	shown := len(r.successes)
	r.mu.Unlock()
	r.check(bad, "%d confirmations made %d purchases, none more than confirmed; the %d screens of success told the truth", yes, len(b.purchases), shown)
}

// stop: every ussdd still runs, stops when it is told to, and has told of nothing
// that never happens.
func (r *run) stop() {
	var bad []string
	for i := range r.instances {
		name, p := instanceName(i), r.instance(i)
		select {
		case <-p.Done():
			bad = append(bad, fmt.Sprintf("%s has ended by itself: %v\n%s", name, p.State(), tail(p.Log())))
		default:
			if err := p.Stop(); err != nil {
				bad = append(bad, fmt.Sprintf("%s: %v\n%s", name, err, tail(p.Log())))
			}
		}
		log, err := os.ReadFile(filepath.Join(r.Dir, name+".log")) // of all its lives
		if err != nil {
			bad = append(bad, err.Error())
		}
		for _, never := range []string{`"panic`, "DATA RACE", "the ledger is broken"} {
			if bytes.Contains(log, []byte(never)) {
				bad = append(bad, fmt.Sprintf("%s.log has %q", name, never))
			}
		}
	}
	for _, m := range r.sim.Mismatches() {
		bad = append(bad, "go-smpp reads a PDU otherwise: "+m.String())
	}
	r.check(bad, "%d ussdd still ran, stopped when they were told to, and have nothing in their logs that never happens", len(r.instances))
}

// tables are what a dump has, and every table that the audit reads.
var tables = []string{"purchases", "attempts", "entries", "postings", "wallets", "outbox", "instances", "sessions", "steps"}

// dump writes the tables into the directory, since the server goes with the run.
func (r *run) dump(ctx context.Context) error {
	db, err := r.openBooks()
	if err != nil {
		return err
	}
	for _, table := range tables {
		if err == nil {
			err = dumpTable(ctx, db, table, filepath.Join(r.Dir, table+".tsv"))
		}
	}
	return errors.Join(err, db.Close())
}

func dumpTable(ctx context.Context, db *sql.DB, table, path string) error {
	found, err := db.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return err
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return err
	}
	var text bytes.Buffer
	text.WriteString(strings.Join(columns, "\t") + "\t\n")
	fields, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range fields {
		into[i] = &fields[i]
	}
	for found.Next() {
		if err := found.Scan(into...); err != nil {
			return err
		}
		for _, field := range fields {
			text.Write(field)
			text.WriteByte('\t')
		}
		text.WriteByte('\n')
	}
	return errors.Join(found.Err(), os.WriteFile(path, text.Bytes(), 0o600))
}
