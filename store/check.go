package store

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// maxViolations bounds what CheckLedger lists for one rule.
const maxViolations = 1000

// rule is an invariant. Its query selects the rows that break it, as subject
// and detail.
type rule struct {
	name  string
	query string
}

var rules = []rule{
	{"entry-balance", `SELECT CONCAT('entry ', e.id) AS subject,
			CONCAT(e.kind, ' ', e.reference, ': ', COUNT(p.n), ' postings that sum to ', COALESCE(SUM(p.amount), 0)) AS detail
		FROM entries e LEFT JOIN postings p ON p.entry_id = e.id
		GROUP BY e.id, e.kind, e.reference HAVING COUNT(p.n) < 2 OR COALESCE(SUM(p.amount), 0) <> 0`},

	{"posting-entry", `SELECT CONCAT('entry ', p.entry_id) AS subject, CONCAT('missing, posting ', p.n, ' to ', p.account, ' of ', p.amount) AS detail
		FROM postings p LEFT JOIN entries e ON e.id = p.entry_id WHERE e.id IS NULL`},

	{"wallet-balance", `SELECT CONCAT('wallet ', w.msisdn) AS subject,
			CONCAT('balance ', w.balance, ', postings ', COALESCE(s.amount, 0)) AS detail
		FROM wallets w LEFT JOIN (SELECT account, SUM(amount) AS amount FROM postings WHERE account LIKE 'wallet:%' GROUP BY account) s
			ON s.account = CONCAT('wallet:', w.msisdn)
		WHERE w.balance <> COALESCE(s.amount, 0)`},

	{"wallet-held", `SELECT CONCAT('wallet ', w.msisdn) AS subject,
			CONCAT('held ', w.held, ', postings ', COALESCE(s.amount, 0)) AS detail
		FROM wallets w LEFT JOIN (SELECT account, SUM(amount) AS amount FROM postings WHERE account LIKE 'hold:%' GROUP BY account) s
			ON s.account = CONCAT('hold:', w.msisdn)
		WHERE w.held <> COALESCE(s.amount, 0)`},

	{"wallet-unfinished", `SELECT CONCAT('wallet ', w.msisdn) AS subject,
			CONCAT('held ', w.held, ', unfinished purchases ', COALESCE(s.amount, 0)) AS detail
		FROM wallets w LEFT JOIN (SELECT msisdn, SUM(amount) AS amount FROM purchases WHERE state IN ('held', 'sending', 'pending') GROUP BY msisdn) s
			ON s.msisdn = w.msisdn
		WHERE w.held <> COALESCE(s.amount, 0)`},

	{"wallet-negative", `SELECT CONCAT('wallet ', msisdn) AS subject, CONCAT('balance ', balance, ', held ', held) AS detail
		FROM wallets WHERE balance < 0 OR held < 0`},

	{"wallet-missing", `SELECT CONCAT('account ', p.account) AS subject, CONCAT('no wallet, postings ', SUM(p.amount)) AS detail
		FROM postings p LEFT JOIN wallets w ON w.msisdn = p.msisdn AND p.account IN (CONCAT('wallet:', w.msisdn), CONCAT('hold:', w.msisdn))
		WHERE (p.account LIKE 'wallet:%' OR p.account LIKE 'hold:%') AND w.msisdn IS NULL GROUP BY p.account`},

	{"purchase-entries", `SELECT CONCAT('purchase ', ref) AS subject,
			CONCAT(state, ' with ', holds, ' hold, ', captures, ' capture and ', releases, ' release') AS detail
		FROM (SELECT p.ref, p.state, COUNT(CASE WHEN e.kind = 'hold' THEN 1 END) AS holds,
				COUNT(CASE WHEN e.kind = 'capture' THEN 1 END) AS captures, COUNT(CASE WHEN e.kind = 'release' THEN 1 END) AS releases
			FROM purchases p LEFT JOIN entries e ON e.reference = p.ref AND e.kind IN ('hold', 'capture', 'release')
			GROUP BY p.id, p.ref, p.state) t
		WHERE holds <> 1 OR captures <> (state = 'delivered') OR releases <> (state = 'failed')`},

	{"purchase-postings", `SELECT CONCAT('purchase ', p.ref) AS subject, CONCAT(e.kind, ' does not post the amount of ', p.amount,
			' to the purchase''s accounts') AS detail
		FROM purchases p JOIN entries e ON e.reference = p.ref AND e.kind IN ('hold', 'capture', 'release')
			LEFT JOIN postings g ON g.entry_id = e.id
		GROUP BY p.id, p.ref, p.msisdn, p.amount, p.commission, p.vendor, p.network, e.kind
		HAVING COALESCE(SUM(CASE WHEN g.account = CONCAT('hold:', p.msisdn) THEN g.amount END), 0)
				<> CASE e.kind WHEN 'hold' THEN p.amount ELSE -p.amount END
			OR COALESCE(SUM(CASE WHEN g.account = CONCAT('wallet:', p.msisdn) THEN g.amount END), 0)
				<> CASE e.kind WHEN 'hold' THEN -p.amount WHEN 'release' THEN p.amount ELSE 0 END
			OR COALESCE(SUM(CASE WHEN g.account = CONCAT('float:', p.vendor) THEN g.amount END), 0)
				<> CASE e.kind WHEN 'capture' THEN p.amount - p.commission ELSE 0 END
			OR COALESCE(SUM(CASE WHEN g.account = CONCAT('revenue:', p.network) THEN g.amount END), 0)
				<> CASE e.kind WHEN 'capture' THEN p.commission ELSE 0 END`},

	{"purchase-commission", `SELECT CONCAT('purchase ', ref) AS subject,
			CONCAT(state, ' with a commission of ', commission, ', ', commission_bps, ' bps of ', amount) AS detail
		FROM purchases WHERE commission * 10000 > amount * commission_bps OR amount * commission_bps >= (commission + 1) * 10000
			OR state <> 'delivered' AND (commission <> 0 OR commission_bps <> 0)`},

	{"purchase-attempts", `SELECT CONCAT('purchase ', ref) AS subject,
			CONCAT(state, ' after ', attempts, ', with ', n, ' attempts: ', delivered, ' delivered, ', sending, ' sending, ', pending, ' pending') AS detail
		FROM (SELECT p.ref, p.state, p.attempts, COUNT(a.n) AS n, COUNT(CASE WHEN a.state = 'delivered' THEN 1 END) AS delivered,
				COUNT(CASE WHEN a.state = 'sending' THEN 1 END) AS sending, COUNT(CASE WHEN a.state = 'pending' THEN 1 END) AS pending
			FROM purchases p LEFT JOIN attempts a ON a.purchase_id = p.id GROUP BY p.id, p.ref, p.state, p.attempts) t
		WHERE n <> attempts OR delivered <> (state = 'delivered') OR sending <> (state = 'sending') OR pending <> (state = 'pending')`},

	{"entry-purchase", `SELECT CONCAT('entry ', e.id) AS subject, CONCAT(e.kind, ' ', e.reference, ' of no purchase') AS detail
		FROM entries e LEFT JOIN purchases p ON p.ref = e.reference WHERE e.kind <> 'credit' AND p.id IS NULL`},
}

// CheckLedger proves the ledger from its rows, all seen at one moment, and
// lists what breaks it, at most a thousand for each rule. It reads every row of
// the ledger. The rules:
//
//	ledger-sum           all postings together sum to zero
//	entry-balance        each entry has two postings or more, which sum to zero
//	posting-entry        each posting belongs to an entry
//	wallet-balance       a wallet's balance is the sum of its postings
//	wallet-held          a wallet's held sum is that of its hold's postings
//	wallet-unfinished    a wallet's held sum is that of its unfinished purchases
//	wallet-negative      neither is below zero
//	wallet-missing       no postings for a subscriber without a wallet
//	purchase-entries     one hold each; one capture if delivered, one release if failed, else neither
//	purchase-postings    these post the purchase's amount to its accounts
//	purchase-commission  the commission follows from the rate kept with it, and only a delivered purchase has one
//	purchase-attempts    one delivered attempt if delivered, one open if sending or pending, else neither
//	entry-purchase       each hold, capture and release belongs to a purchase
//
// A broken ledger is no error. The error is of the database.
func (db *DB) CheckLedger(ctx context.Context) (LedgerReport, error) {
	var report LedgerReport
	err := db.snapshot(ctx, func(tx *sqlx.Tx) error {
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
		}
		if report.Sum != 0 {
			report.Violations = append(report.Violations, Violation{"ledger-sum", "ledger", fmt.Sprintf("the postings sum to %d", report.Sum)})
		}
		for _, r := range rules {
			broken, err := r.check(ctx, tx)
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

func (r rule) check(ctx context.Context, tx *sqlx.Tx) ([]Violation, error) {
	var rows []struct{ Subject, Detail string }
	if err := tx.SelectContext(ctx, &rows, r.query+" ORDER BY subject LIMIT ?", maxViolations+1); err != nil {
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
