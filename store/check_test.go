package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"ussdd/store"
)

// busyDay leaves one purchase in every state, by reference of the state.
func busyDay(f *fixture) map[string]store.Purchase {
	f.Helper()
	f.fund(amina, 1000_00)
	f.fund(bola, 1000_00)
	day := map[string]store.Purchase{store.Held: f.hold(f.order())}
	day[store.Sending], _ = f.begin(f.hold(f.order()), "v")
	p, a := f.begin(f.hold(f.order()), "v")
	day[store.Pending] = f.finish(p, a, store.Pending, store.Pending)
	p, a = f.begin(f.hold(f.order()), "v")
	p, a = f.begin(f.finish(p, a, store.Declined, store.Held), "w")
	day[store.Delivered] = f.finish(p, a, store.Delivered, store.Delivered)
	p, a = f.begin(f.hold(f.order()), "v")
	day[store.Failed] = f.finish(p, a, store.Declined, store.Failed)
	return day
}

func ledgerClean(f *fixture) {
	if r := f.check(); r.Entries != 0 || r.Sum != 0 || len(r.Accounts) != 0 || len(r.Violations) != 0 {
		f.Errorf("empty ledger %+v", r)
	}
	busyDay(f)
	want := store.LedgerReport{Entries: 9, Postings: 19, Wallets: 2, Purchases: 5}
	r := f.check()
	if r.Entries != want.Entries || r.Postings != want.Postings || r.Wallets != want.Wallets || r.Purchases != want.Purchases {
		f.Errorf("counted %+v, want %+v", r, want)
	}
	f.accounts(store.AccountTotal{Account: "float:w", Amount: 97_00}, store.AccountTotal{Account: "funding:test", Amount: -2000_00},
		store.AccountTotal{Account: "hold:*", Amount: 300_00}, store.AccountTotal{Account: "revenue:mtn", Amount: 3_00},
		store.AccountTotal{Account: "wallet:*", Amount: 1600_00})
}

// tampering breaks each rule, with the violations that it must show: "rule
// subject: detail". Names in capitals stand for the busy day's purchases and
// the id of an entry.
var tampering = []struct {
	name       string
	statements []string
	want       []string
}{
	{"a posting changed", []string{
		"UPDATE postings SET amount = amount + 1 WHERE account = 'funding:test' AND msisdn = '" + bola + "'",
	}, []string{
		"ledger-sum ledger: the postings sum to 1",
		"entry-balance entry ENTRY: credit test:fund-2: 2 postings that sum to 1",
	}},
	{"a posting deleted", []string{
		"DELETE FROM postings WHERE account = 'revenue:mtn'",
	}, []string{
		"ledger-sum ledger: the postings sum to -300",
		"entry-balance entry ENTRY: capture DELIVERED: 2 postings that sum to -300",
		"purchase-postings purchase DELIVERED: capture does not post the amount of 10000 to the purchase's accounts",
	}},
	{"an entry without postings", []string{
		"INSERT INTO entries (id, kind, reference, msisdn, note, at) VALUES (1, 'credit', 'x:y', '" + amina + "', '', 0)",
	}, []string{"entry-balance entry 1: credit x:y: 0 postings that sum to 0"}},
	{"an entry of one posting", []string{
		"INSERT INTO entries (id, kind, reference, msisdn, note, at) VALUES (1, 'credit', 'x:y', '" + amina + "', '', 0)",
		"INSERT INTO postings (entry_id, n, account, msisdn, amount) VALUES (1, 1, 'funding:x', '" + amina + "', 0)",
	}, []string{"entry-balance entry 1: credit x:y: 1 postings that sum to 0"}},
	{"postings without an entry", []string{
		"INSERT INTO postings (entry_id, n, account, msisdn, amount) VALUES (1, 1, 'float:v', '', 5), (1, 2, 'revenue:v', '', -5)",
	}, []string{
		"posting-entry entry 1: missing, posting 1 to float:v of 5",
		"posting-entry entry 1: missing, posting 2 to revenue:v of -5",
	}},
	{"a balance changed", []string{
		"UPDATE wallets SET balance = balance + 1 WHERE msisdn = '" + bola + "'",
	}, []string{"wallet-balance wallet " + bola + ": balance 100001, postings 100000"}},
	{"a held sum changed", []string{
		"UPDATE wallets SET held = held - 1 WHERE msisdn = '" + amina + "'",
	}, []string{
		"wallet-held wallet " + amina + ": held 29999, postings 30000",
		"wallet-unfinished wallet " + amina + ": held 29999, unfinished purchases 30000",
	}},
	{"money moved from balance to held", []string{
		"UPDATE wallets SET balance = balance - 1, held = held + 1 WHERE msisdn = '" + bola + "'",
	}, []string{
		"wallet-balance wallet " + bola + ": balance 99999, postings 100000",
		"wallet-held wallet " + bola + ": held 1, postings 0",
		"wallet-unfinished wallet " + bola + ": held 1, unfinished purchases 0",
	}},
	{"a wallet below zero", []string{
		"UPDATE wallets SET balance = -1 WHERE msisdn = '" + bola + "'",
		"UPDATE postings SET amount = -1 WHERE account = 'wallet:" + bola + "'",
		"UPDATE postings SET amount = 1 WHERE account = 'funding:test' AND msisdn = '" + bola + "'",
	}, []string{"wallet-negative wallet " + bola + ": balance -1, held 0"}},
	{"a wallet deleted", []string{
		"DELETE FROM wallets WHERE msisdn = '" + bola + "'",
	}, []string{"wallet-missing account wallet:" + bola + ": no wallet, postings 100000"}},
	{"a purchase undone by hand", []string{
		"UPDATE purchases SET state = 'failed' WHERE ref = 'HELD'",
	}, []string{
		"wallet-unfinished wallet " + amina + ": held 30000, unfinished purchases 20000",
		"purchase-entries purchase HELD: failed with 1 hold, 0 capture and 0 release",
	}},
	{"a purchase without its hold", []string{
		"DELETE FROM postings WHERE entry_id = (SELECT id FROM entries WHERE kind = 'hold' AND reference = 'HELD')",
		"DELETE FROM entries WHERE kind = 'hold' AND reference = 'HELD'",
		"UPDATE wallets SET balance = balance + 10000, held = held - 10000 WHERE msisdn = '" + amina + "'",
	}, []string{
		"wallet-unfinished wallet " + amina + ": held 20000, unfinished purchases 30000",
		"purchase-entries purchase HELD: held with 0 hold, 0 capture and 0 release",
	}},
	{"a delivered purchase released too", []string{
		"INSERT INTO entries (id, kind, reference, msisdn, note, at) VALUES (1, 'release', 'DELIVERED', '" + amina + "', '', 0)",
		"INSERT INTO postings (entry_id, n, account, msisdn, amount) VALUES (1, 1, 'hold:" + amina + "', '" + amina + "', -10000), " +
			"(1, 2, 'wallet:" + amina + "', '" + amina + "', 10000)",
		"UPDATE wallets SET balance = balance + 10000, held = held - 10000 WHERE msisdn = '" + amina + "'",
	}, []string{
		"wallet-unfinished wallet " + amina + ": held 20000, unfinished purchases 30000",
		"purchase-entries purchase DELIVERED: delivered with 1 hold, 1 capture and 1 release",
	}},
	{"a delivered purchase without its capture", []string{
		"DELETE FROM postings WHERE entry_id = (SELECT id FROM entries WHERE kind = 'capture')",
		"DELETE FROM entries WHERE kind = 'capture'",
	}, []string{
		"wallet-held wallet " + amina + ": held 30000, postings 40000",
		"purchase-entries purchase DELIVERED: delivered with 1 hold, 0 capture and 0 release",
	}},
	{"an amount changed", []string{
		"UPDATE purchases SET amount = 20000 WHERE ref = 'FAILED'",
	}, []string{
		"purchase-postings purchase FAILED: hold does not post the amount of 20000 to the purchase's accounts",
		"purchase-postings purchase FAILED: release does not post the amount of 20000 to the purchase's accounts",
	}},
	{"a capture to another vendor", []string{
		"UPDATE postings SET account = 'float:x' WHERE account = 'float:w'",
	}, []string{"purchase-postings purchase DELIVERED: capture does not post the amount of 10000 to the purchase's accounts"}},
	{"a rate changed", []string{
		"UPDATE purchases SET commission_bps = 400 WHERE ref = 'DELIVERED'",
	}, []string{"purchase-commission purchase DELIVERED: delivered with a commission of 300, 400 bps of 10000"}},
	{"a commission on nothing", []string{
		"UPDATE purchases SET commission_bps = 300, commission = 300 WHERE ref = 'FAILED'",
	}, []string{"purchase-commission purchase FAILED: failed with a commission of 300, 300 bps of 10000"}},
	{"two attempts delivered", []string{
		"DROP INDEX attempts_live ON attempts",
		"UPDATE attempts SET state = 'delivered' WHERE reference = 'DELIVERED'",
	}, []string{"purchase-attempts purchase DELIVERED: delivered after 2, with 2 attempts: 2 delivered, 0 sending, 0 pending"}},
	{"a failed purchase delivered", []string{
		"UPDATE attempts SET state = 'delivered' WHERE reference = 'FAILED'",
	}, []string{"purchase-attempts purchase FAILED: failed after 1, with 1 attempts: 1 delivered, 0 sending, 0 pending"}},
	{"an attempt lost", []string{
		"DELETE FROM attempts WHERE reference = 'PENDING'",
	}, []string{"purchase-attempts purchase PENDING: pending after 1, with 0 attempts: 0 delivered, 0 sending, 0 pending"}},
	{"an attempt open on what is held", []string{
		"UPDATE purchases SET state = 'held' WHERE ref = 'SENDING'",
	}, []string{"purchase-attempts purchase SENDING: held after 1, with 1 attempts: 0 delivered, 1 sending, 0 pending"}},
	{"a purchase deleted", []string{
		"DELETE FROM attempts WHERE reference = 'FAILED'",
		"DELETE FROM purchases WHERE ref = 'FAILED'",
	}, []string{
		"entry-purchase entry ENTRY: hold FAILED of no purchase",
		"entry-purchase entry ENTRY: release FAILED of no purchase",
	}},
}

func ledgerTampered(f *fixture) {
	engine, t := f.engine, f.T
	for _, test := range tampering {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := migratedFixture(t, engine)
			replace := []string{}
			for state, p := range busyDay(f) {
				replace = append(replace, strings.ToUpper(state), p.Ref)
			}
			if r := f.check(); len(r.Violations) != 0 {
				f.Fatalf("before: %+v", r.Violations)
			}
			names := strings.NewReplacer(replace...)
			for _, s := range test.statements {
				if engine.name == "sqlite" {
					s = strings.ReplaceAll(s, " ON attempts", "")
				}
				f.tamper(names.Replace(s))
			}
			var got, want []string
			for _, v := range f.check().Violations {
				if strings.HasPrefix(v.Subject, "entry ") && len(v.Subject) > len("entry 1") {
					v.Subject = "entry ENTRY"
				}
				got = append(got, fmt.Sprintf("%s %s: %s", v.Rule, v.Subject, v.Detail))
			}
			for _, w := range test.want {
				want = append(want, names.Replace(w))
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				f.Errorf("violations\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// ledgerWhileSelling: what is under way is no violation, since the check sees
// one moment of the database.
func ledgerWhileSelling(f *fixture) {
	const buyers, each = 4, 15
	f.fund(amina, buyers*each*100_00)
	orders := make([]store.Purchase, buyers*each)
	for i := range orders {
		orders[i] = f.order()
	}
	var selling sync.WaitGroup
	for b := range buyers {
		selling.Go(func() {
			for _, order := range orders[b*each : (b+1)*each] {
				p, _, err := f.db.Hold(f.ctx, order)
				if err == nil {
					p, err = f.db.Attempt(f.ctx, p, nextAttempt(f, p, "v"))
				}
				if err == nil {
					_, err = f.db.Record(f.ctx, p, store.Attempt{Purchase: p.ID, N: 1, State: store.Delivered}, store.Delivered)
				}
				if err != nil {
					f.Error(err)
				}
			}
		})
	}
	sold := make(chan struct{})
	go func() {
		selling.Wait()
		close(sold)
	}()
	for checks := 1; ; checks++ {
		r := f.check()
		// One entry is the credit, each purchase has a hold, the others are
		// captures, which have three postings.
		if captures := r.Entries - 1 - r.Purchases; len(r.Violations) != 0 || r.Postings != 2*r.Entries+captures {
			f.Fatalf("check %d: %+v", checks, r)
		}
		select {
		case <-sold:
			if r := f.check(); r.Purchases != buyers*each || len(r.Violations) != 0 {
				f.Errorf("at the end: %+v", r)
			}
			return
		default:
		}
	}
}

func ledgerManyViolations(f *fixture) {
	var rows []string
	for i := range 1001 {
		rows = append(rows, fmt.Sprintf("('23480%08d', 1, 0, 0)", i))
	}
	f.exec("INSERT INTO wallets (msisdn, balance, held, opened_at) VALUES " + strings.Join(rows, ", "))
	v := f.check().Violations
	if len(v) != 1001 || v[1000] != (store.Violation{Rule: "wallet-balance", Subject: "ledger", Detail: "more than 1000 rows break this rule"}) {
		f.Errorf("%d violations, the last %+v", len(v), v[len(v)-1])
	}
}
