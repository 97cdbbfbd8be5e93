package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// maxViolations bounds what a check lists for one rule.
const maxViolations = 1000

// rule is an invariant. Its query selects the rows that break it, as subject
// and detail, among the rows of a table in a range of a column. It finds what
// belongs to each row by indexes that MariaDB uses for a join too: entries by one
// kind and a reference, and not by several kinds.
type rule struct {
	name  string
	over  string // the table: entries, wallets, purchases or deposits
	by    string // the column, as the query calls it
	query string // {range} stands for the condition
}

var rules = []rule{
	{"entry-balance", "entries", "e.id", `SELECT CONCAT('entry ', e.id) AS subject,
			CONCAT(e.kind, ' ', e.reference, ': ', COUNT(p.n), ' postings that sum to ', COALESCE(SUM(p.amount), 0)) AS detail
		FROM entries e LEFT JOIN postings p ON p.entry_id = e.id WHERE {range}
		GROUP BY e.id, e.kind, e.reference HAVING COUNT(p.n) < 2 OR COALESCE(SUM(p.amount), 0) <> 0`},

	{"entry-reverses", "entries", "r.id", `SELECT DISTINCT CONCAT('entry ', r.id) AS subject, CONCAT(r.kind, ' ', r.reference, ' does not undo the entry that it names') AS detail
		FROM entries r LEFT JOIN entries e ON e.id = r.reverses_id LEFT JOIN postings a ON a.entry_id = r.id AND r.kind = 'correction'
			LEFT JOIN postings b ON b.entry_id = e.id AND b.n = a.n
		WHERE {range} AND ((r.kind IN ('correction', 'reversal')) <> (e.id IS NOT NULL) OR r.kind = 'reversal' AND (e.kind <> 'capture' OR e.reference <> r.reference)
			OR a.n IS NOT NULL AND (b.n IS NULL OR b.account <> a.account OR b.amount <> -a.amount))`},

	{"entry-purchase", "entries", "e.id", `SELECT CONCAT('entry ', e.id) AS subject, CONCAT(e.kind, ' ', e.reference, ' of no purchase') AS detail
		FROM entries e LEFT JOIN purchases p ON p.ref = e.reference
		WHERE {range} AND e.kind IN ('hold', 'capture', 'release', 'dispute', 'reversal') AND p.id IS NULL`},

	{"entry-late", "entries", "e.id", `SELECT CONCAT('entry ', e.id) AS subject, CONCAT('late ', e.reference, ' of no attempt that was delivered late') AS detail
		FROM entries e LEFT JOIN attempts a ON a.reference = e.reference AND a.state = 'delivered_late'
		WHERE {range} AND e.kind = 'late' AND a.n IS NULL`},

	{"posting-entry", "entries", "p.entry_id", `SELECT CONCAT('entry ', p.entry_id) AS subject, CONCAT('missing, posting ', p.n, ' to ', p.account, ' of ', p.amount) AS detail
		FROM postings p LEFT JOIN entries e ON e.id = p.entry_id WHERE {range} AND e.id IS NULL`},

	{"wallet-missing", "entries", "p.entry_id", `SELECT CONCAT('account ', p.account) AS subject, CONCAT('no wallet, postings ', SUM(p.amount)) AS detail
		FROM postings p LEFT JOIN wallets w ON w.msisdn = p.msisdn AND p.account IN (CONCAT('wallet:', w.msisdn), CONCAT('hold:', w.msisdn))
		WHERE {range} AND (p.account LIKE 'wallet:%' OR p.account LIKE 'hold:%') AND w.msisdn IS NULL GROUP BY p.account`},

	{"wallet-balance", "wallets", "w.msisdn", `SELECT CONCAT('wallet ', msisdn) AS subject, CONCAT('balance ', balance, ', postings ', amount) AS detail
		FROM (SELECT w.msisdn, w.balance, COALESCE((SELECT SUM(p.amount) FROM postings p WHERE p.account = CONCAT('wallet:', w.msisdn)), 0) AS amount
			FROM wallets w WHERE {range}) t WHERE balance <> amount`},

	{"wallet-held", "wallets", "w.msisdn", `SELECT CONCAT('wallet ', msisdn) AS subject, CONCAT('held ', held, ', postings ', amount) AS detail
		FROM (SELECT w.msisdn, w.held, COALESCE((SELECT SUM(p.amount) FROM postings p WHERE p.account = CONCAT('hold:', w.msisdn)), 0) AS amount
			FROM wallets w WHERE {range}) t WHERE held <> amount`},

	{"wallet-unfinished", "wallets", "w.msisdn", `SELECT CONCAT('wallet ', msisdn) AS subject, CONCAT('held ', held, ', unfinished purchases ', amount) AS detail
		FROM (SELECT w.msisdn, w.held, COALESCE((SELECT SUM(p.amount) FROM purchases p
				WHERE p.msisdn = w.msisdn AND p.state IN ('held', 'sending', 'pending', 'needs_review')), 0) AS amount
			FROM wallets w WHERE {range}) t WHERE held <> amount`},

	{"wallet-negative", "wallets", "w.msisdn", `SELECT CONCAT('wallet ', w.msisdn) AS subject, CONCAT('balance ', w.balance, ', held ', w.held) AS detail
		FROM wallets w WHERE {range} AND (w.balance < 0 OR w.held < 0)`},

	{"purchase-entries", "purchases", "p.id", `SELECT CONCAT('purchase ', ref) AS subject,
			CONCAT(state, ' with ', holds, ' hold, ', captures, ' capture and ', releases, ' release',
				CASE WHEN reversals + disputes > 0 THEN CONCAT(', ', reversals, ' reversal and ', disputes, ' dispute') ELSE '' END) AS detail
		FROM (SELECT p.ref, p.state, (SELECT COUNT(*) FROM entries e WHERE e.kind = 'hold' AND e.reference = p.ref) AS holds,
				(SELECT COUNT(*) FROM entries e WHERE e.kind = 'capture' AND e.reference = p.ref) AS captures,
				(SELECT COUNT(*) FROM entries e WHERE e.kind = 'release' AND e.reference = p.ref) AS releases,
				(SELECT COUNT(*) FROM entries e WHERE e.kind = 'reversal' AND e.reference = p.ref) AS reversals,
				(SELECT COUNT(*) FROM entries e WHERE e.kind = 'dispute' AND e.reference = p.ref) AS disputes
			FROM purchases p WHERE {range}) t
		WHERE holds <> 1 OR captures <> (state IN ('delivered', 'reversed')) OR releases <> (state IN ('failed', 'delivered_late'))
			OR reversals <> (state = 'reversed') OR disputes > releases`},

	{"purchase-postings", "entries", "e.id", `SELECT CONCAT('purchase ', p.ref) AS subject, CONCAT(e.kind, ' does not post the amount of ', p.amount,
			' to the purchase''s accounts') AS detail
		FROM entries e JOIN purchases p ON p.ref = e.reference LEFT JOIN postings g ON g.entry_id = e.id
		WHERE {range} AND e.kind IN ('hold', 'capture', 'release', 'reversal') GROUP BY e.id, p.ref, p.msisdn, p.amount, p.commission, p.vendor, p.network, e.kind
		HAVING COALESCE(SUM(CASE WHEN g.account = CONCAT('hold:', p.msisdn) THEN g.amount END), 0)
				<> CASE e.kind WHEN 'hold' THEN p.amount WHEN 'reversal' THEN 0 ELSE -p.amount END
			OR COALESCE(SUM(CASE WHEN g.account = CONCAT('wallet:', p.msisdn) THEN g.amount END), 0)
				<> CASE e.kind WHEN 'hold' THEN -p.amount WHEN 'capture' THEN 0 ELSE p.amount END
			OR COALESCE(SUM(CASE WHEN g.account = CONCAT('float:', p.vendor) THEN g.amount END), 0)
				<> CASE e.kind WHEN 'capture' THEN p.amount - p.commission WHEN 'reversal' THEN p.commission - p.amount ELSE 0 END
			OR COALESCE(SUM(CASE WHEN g.account = CONCAT('revenue:', p.network) THEN g.amount END), 0)
				<> CASE e.kind WHEN 'capture' THEN p.commission WHEN 'reversal' THEN -p.commission ELSE 0 END`},

	{"purchase-commission", "purchases", "p.id", `SELECT CONCAT('purchase ', p.ref) AS subject,
			CONCAT(p.state, ' with a commission of ', p.commission, ', ', p.commission_bps, ' bps of ', p.amount) AS detail
		FROM purchases p WHERE {range} AND (p.commission * 10000 > p.amount * p.commission_bps OR p.amount * p.commission_bps >= (p.commission + 1) * 10000
			OR p.state NOT IN ('delivered', 'reversed') AND (p.commission <> 0 OR p.commission_bps <> 0))`},

	{"purchase-attempts", "purchases", "p.id", `SELECT CONCAT('purchase ', ref) AS subject,
			CONCAT(state, ' after ', attempts, ', with ', n, ' attempts: ', delivered, ' delivered, ', sending, ' sending, ', pending, ' pending') AS detail
		FROM (SELECT p.ref, p.state, p.attempts, COUNT(a.n) AS n, COUNT(CASE WHEN a.state = 'delivered' THEN 1 END) AS delivered,
				COUNT(CASE WHEN a.state = 'sending' THEN 1 END) AS sending, COUNT(CASE WHEN a.state = 'pending' THEN 1 END) AS pending,
				COUNT(CASE WHEN a.state = 'reversed' THEN 1 END) AS reversed, COUNT(CASE WHEN a.state = 'delivered_late' THEN 1 END) AS late
			FROM purchases p LEFT JOIN attempts a ON a.purchase_id = p.id WHERE {range} GROUP BY p.id, p.ref, p.state, p.attempts) t
		WHERE n <> attempts OR delivered <> (state = 'delivered') OR sending <> (state = 'sending')
			OR pending <> (state IN ('pending', 'needs_review')) OR reversed <> (state = 'reversed')
			OR state = 'delivered_late' AND late = 0 OR state NOT IN ('delivered', 'delivered_late', 'reversed') AND late > 0`},

	{"purchase-late", "purchases", "p.id", `SELECT CONCAT('purchase ', p.ref) AS subject, CONCAT('attempt ', a.n, ' was delivered late and is not booked') AS detail
		FROM purchases p JOIN attempts a ON a.purchase_id = p.id AND a.state = 'delivered_late'
			LEFT JOIN entries e ON e.kind = 'late' AND e.reference = a.reference
		WHERE {range} AND e.id IS NULL`},

	{"deposit-entry", "deposits", "d.at", `SELECT CONCAT('deposit ', d.provider, ':', d.reference) AS subject, CONCAT('no entry of ', d.amount, ' for it') AS detail
		FROM deposits d WHERE {range}
			AND NOT EXISTS (SELECT 1 FROM entries e JOIN postings g ON g.entry_id = e.id AND g.account = CONCAT('funding:', d.provider) AND g.amount = -d.amount
				WHERE e.kind = 'credit' AND e.reference = CONCAT(d.provider, ':', d.reference))
			AND NOT EXISTS (SELECT 1 FROM entries e JOIN postings g ON g.entry_id = e.id AND g.account = CONCAT('funding:', d.provider) AND g.amount = -d.amount
				WHERE e.kind = 'deposit' AND e.reference = CONCAT(d.provider, ':', d.reference))`},
}

// CheckLedger proves the ledger from its rows, all seen at one moment, and
// lists what breaks it, at most a thousand for each rule. It reads every row of
// the ledger. The rules:
//
//	ledger-sum           all postings together sum to zero
//	entry-balance        each entry has two postings or more, which sum to zero
//	entry-reverses       a correction mirrors the entry that it names, and a reversal names its purchase's capture
//	entry-purchase       each hold, capture, release, dispute and reversal belongs to a purchase
//	entry-late           each late delivery belongs to an attempt
//	posting-entry        each posting belongs to an entry
//	wallet-missing       no postings for a subscriber without a wallet
//	wallet-balance       a wallet's balance is the sum of its postings
//	wallet-held          a wallet's held sum is that of its hold's postings
//	wallet-unfinished    a wallet's held sum is that of its unfinished purchases
//	wallet-negative      neither is below zero
//	purchase-entries     one hold each; one capture if delivered or reversed, one release if failed or delivered late, else
//	                     neither; one reversal if reversed; a dispute only if released
//	purchase-postings    these post the purchase's amount to its accounts
//	purchase-commission  the commission follows from the rate kept with it, and only a captured purchase has one
//	purchase-attempts    one delivered attempt if delivered, one open if sending, pending or in review, else neither
//	purchase-late        each attempt that was delivered late is booked
//	deposit-entry        each deposit is booked with its amount
//
// That customers' money is covered is no such rule: the books are right about
// what losses and disputed deliveries have eaten. The report has it as Uncovered.
//
// A broken ledger is no error. The error is of the database.
func (db *DB) CheckLedger(ctx context.Context) (LedgerReport, error) {
	var report LedgerReport
	err := db.snapshot(ctx, func(tx *sqlx.Tx) error {
		report = LedgerReport{}
		for table, count := range map[string]*int{
			"entries": &report.Entries, "postings": &report.Postings, "wallets": &report.Wallets, "purchases": &report.Purchases,
		} {
			if err := tx.GetContext(ctx, count, "SELECT COUNT(*) FROM "+table); err != nil {
				return fmt.Errorf("count %s: %w", table, err)
			}
		}
		err := tx.SelectContext(ctx, &report.Accounts, `SELECT account, SUM(amount) AS amount FROM (
			SELECT CASE WHEN account LIKE 'wallet:%' THEN 'wallet:*' WHEN account LIKE 'hold:%' THEN 'hold:*' ELSE account END AS account, amount
			FROM postings) p GROUP BY account ORDER BY account`)
		if err != nil {
			return fmt.Errorf("accounts: %w", err)
		}
		for _, a := range report.Accounts {
			report.Sum += a.Amount
			if customersOrAssets(a.Account) {
				report.Uncovered += a.Amount
			}
		}
		report.Uncovered = max(0, report.Uncovered)
		if report.Sum != 0 {
			report.Violations = append(report.Violations, Violation{"ledger-sum", "ledger", fmt.Sprintf("the postings sum to %d", report.Sum)})
		}
		for _, r := range rules {
			broken, err := r.check(ctx, tx, "1 = 1")
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			report.Violations = append(report.Violations, broken...)
		}
		return nil
	})
	if err != nil {
		return LedgerReport{}, fmt.Errorf("check ledger: %w", err)
	}
	return report, nil
}

// customersOrAssets tells the accounts that LedgerReport.Uncovered is made of: what
// customers own, positive, and what it is backed by, negative.
func customersOrAssets(account string) bool {
	for _, prefix := range []string{accountWallet, accountHold, accountDeposits, accountFunding, accountFloat, "bank:"} {
		if strings.HasPrefix(account, prefix) {
			return true
		}
	}
	return false
}

func (r rule) check(ctx context.Context, tx *sqlx.Tx, within string, args ...any) ([]Violation, error) {
	var rows []struct{ Subject, Detail string }
	query := strings.Replace(r.query, "{range}", within, 1)
	if err := tx.SelectContext(ctx, &rows, query+" ORDER BY subject LIMIT ?", append(args, maxViolations+1)...); err != nil {
		return nil, err
	}
	var broken []Violation
	for i, row := range rows {
		if i == maxViolations {
			broken = append(broken, Violation{r.name, "ledger", fmt.Sprintf("more than %d rows break this rule", maxViolations)})
			break
		}
		broken = append(broken, Violation{r.name, row.Subject, row.Detail})
	}
	return broken, nil
}

// Sample is what CheckSample found.
type Sample struct {
	Rows       int         // rows of entries, wallets, purchases and deposits checked
	Rounds     int         // tables that were gone through to their end by this sample
	Violations []Violation // as CheckLedger's, without ledger-sum
	// RoundAt is when the samples of all instances last came to the end of a table,
	// by its name; before they ever have, when the first was taken. A minute more or
	// less.
	RoundAt map[string]time.Time
}

// roundGrain is how exactly the end of a round is kept, so that small tables do not
// cost a write for each sample.
const roundGrain = time.Minute

// sampled are the tables that samples go through, with the column that orders
// them.
var sampled = []struct{ table, column string }{{"entries", "id"}, {"wallets", "msisdn"}, {"purchases", "id"}, {"deposits", "at"}}

// CheckSample proves the rules of CheckLedger for the next rows of each table,
// about n, and remembers in the database how far it came, so that the samples
// of all instances together go round everything. It costs a few reads for each
// row; the rule about the whole ledger is left to CheckLedger, to which a
// balanced set of entries adds nothing.
func (db *DB) CheckSample(ctx context.Context, n int) (Sample, error) {
	s := Sample{RoundAt: make(map[string]time.Time)}
	for _, t := range sampled {
		if err := db.sample(ctx, t.table, t.column, n, &s); err != nil {
			return Sample{}, fmt.Errorf("check %s: %w", t.table, err)
		}
	}
	return s, nil
}

// sample checks the rows of one table that follow where the last sample ended.
func (db *DB) sample(ctx context.Context, table, column string, n int, s *Sample) error {
	name, round := "checked_"+table, "round_"+table
	after, err := setting(ctx, db.r, name)
	if err != nil {
		return err
	}
	ended, err := setting(ctx, db.r, round)
	if err != nil {
		return err
	}
	var from any = after
	if column != "msisdn" {
		from = position(after)
	}
	var upTo string
	var rows int
	var violations []Violation
	err = db.snapshot(ctx, func(tx *sqlx.Tx) error {
		var keys []string
		err := tx.SelectContext(ctx, &keys, fmt.Sprintf("SELECT %[1]s FROM %[2]s WHERE %[1]s > ? ORDER BY %[1]s LIMIT ?", column, table), from, n)
		if err != nil {
			return err
		}
		rows, upTo, violations = len(keys), "", nil
		if rows == 0 {
			return nil
		}
		last := keys[rows-1]
		if rows == n {
			upTo = last
		}
		var to any = last
		if column != "msisdn" {
			to = position(last)
		}
		for _, r := range rules {
			if r.over != table {
				continue
			}
			broken, err := r.check(ctx, tx, r.by+" > ? AND "+r.by+" <= ?", from, to)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			violations = append(violations, broken...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.Violations = append(s.Violations, violations...)
	s.Rows += rows
	now, roundAt := db.stamp(), instant(position(ended))
	keep := ended == "" || upTo == "" && now.Sub(roundAt) >= roundGrain
	if keep {
		roundAt = now
	}
	s.RoundAt[table] = roundAt
	if upTo == "" {
		s.Rounds++
	}
	if upTo == after && !keep {
		return nil
	}
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		// Of two instances that checked the same rows, one moves on.
		if at, err := setting(ctx, tx, name); err != nil || at != after {
			return err
		}
		if keep {
			if err := db.set(ctx, tx, round, strconv.FormatInt(millis(now), 10)); err != nil {
				return err
			}
		}
		return db.set(ctx, tx, name, upTo)
	})
}

// position is a key that is a number; 0 = before the first.
func position(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
