package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"ussdd/store"
)

func deposits(f *fixture) {
	if err := f.db.LinkAccount(f.ctx, by("ngozi"), "paystack", "9930000001", amina); err != nil {
		f.Fatal(err)
	}
	f.wantErr("linked again", f.db.LinkAccount(f.ctx, by("ngozi"), "paystack", "9930000001", amina), nil)
	f.wantErr("another's", f.db.LinkAccount(f.ctx, by("ngozi"), "paystack", "9930000001", bola), store.ErrMismatch)
	if log, err := f.db.ListAudit(f.ctx, "paystack:9930000001", 0); err != nil || len(log) != 1 || log[0].Action != "account link "+amina || log[0].Operator != "ngozi" {
		f.Errorf("audit %+v, %v", log, err)
	}
	d := store.Deposit{Provider: "paystack", Reference: "r-1", Account: "9930000001", Amount: 500_00, Body: []byte("{}")}
	for i := range 2 {
		got, booked, err := f.db.Deposit(f.ctx, d)
		if err != nil || booked != (i == 0) || got.MSISDN != amina {
			f.Errorf("deposit: %+v, %v, %v", got, booked, err)
		}
	}
	f.wallet(amina, 500_00, 0)
	other := d
	other.Amount++
	_, _, err := f.db.Deposit(f.ctx, other)
	f.wantErr("another amount", err, store.ErrMismatch)
	_, _, err = f.db.Credit(f.ctx, by("ngozi"), amina, 500_00, "paystack", "r-1")
	f.wantErr("credited by hand too", err, nil)
	f.wallet(amina, 500_00, 0)

	lost := store.Deposit{Provider: "paystack", Reference: "r-2", Account: "nobody", Amount: 70_00}
	if got, booked, err := f.db.Deposit(f.ctx, lost); err != nil || !booked || got.MSISDN != "" {
		f.Errorf("to nobody: %+v, %v, %v", got, booked, err)
	}
	f.accounts(total("funding:paystack", -570_00), total("suspense:deposits", 70_00), total("wallet:*", 500_00))
	if list, err := f.db.ListDeposits(f.ctx, true, 0); err != nil || len(list) != 1 || list[0].Reference != "r-2" {
		f.Errorf("suspense %+v, %v", list, err)
	}
	f.wantErr("assign", f.db.AssignDeposit(f.ctx, by("ngozi"), "paystack", "r-2", bola), nil)
	f.wantErr("assign again", f.db.AssignDeposit(f.ctx, by("ngozi"), "paystack", "r-2", bola), store.ErrConflict)
	f.wantErr("assign nothing", f.db.AssignDeposit(f.ctx, by("ngozi"), "paystack", "r-3", bola), store.ErrNotFound)
	f.wallet(bola, 70_00, 0)
	f.accounts(total("funding:paystack", -570_00), total("suspense:deposits", 0), total("wallet:*", 570_00))
}

// depositsCredited: what an operator credits by hand and what the provider reports
// is one payment, whichever comes first.
func depositsCredited(f *fixture) {
	_, _, err := f.db.Credit(f.ctx, by("ngozi"), amina, 50_00, "paystack", "r-1")
	f.wantErr("credit", err, nil)
	d := store.Deposit{Provider: "paystack", Reference: "r-1", Account: "nobody", Amount: 50_00}
	for range 2 {
		if got, booked, err := f.db.Deposit(f.ctx, d); err != nil || booked || got.MSISDN != amina {
			f.Errorf("reported after the credit: %+v, %v, %v", got, booked, err)
		}
	}
	_, _, err = f.db.Credit(f.ctx, by("ngozi"), amina, 60_00, "paystack", "r-2")
	f.wantErr("credit", err, nil)
	d.Reference = "r-2"
	_, _, err = f.db.Deposit(f.ctx, d)
	f.wantErr("another amount", err, store.ErrMismatch)

	d.Reference = "r-3"
	if _, booked, err := f.db.Deposit(f.ctx, d); err != nil || !booked {
		f.Errorf("to suspense: %v, %v", booked, err)
	}
	_, _, err = f.db.Credit(f.ctx, by("ngozi"), amina, 50_00, "paystack", "r-3")
	f.wantErr("credited after the report", err, store.ErrMismatch)
	f.accounts(total("funding:paystack", -160_00), total("suspense:deposits", 50_00), total("wallet:*", 110_00))
	if v := f.check().Violations; len(v) != 0 {
		f.Errorf("violations %+v", v)
	}
}

// depositAfterUndoneCredit: what was credited by hand and undone is in no wallet, and
// the payment that is reported after that is not taken for credited.
func depositAfterUndoneCredit(f *fixture) {
	if err := f.db.LinkAccount(f.ctx, by("ngozi"), "paystack", "77", bola); err != nil {
		f.Fatal(err)
	}
	if _, _, err := f.db.Credit(f.ctx, by("ngozi"), amina, 500_00, "paystack", "r-1"); err != nil {
		f.Fatal(err)
	}
	f.wantErr("undone", f.db.ReverseEntry(f.ctx, by("ngozi"), f.entryOf("credit", "paystack:r-1")), nil)
	_, _, err := f.db.Credit(f.ctx, by("ngozi"), amina, 500_00, "paystack", "r-1")
	f.wantErr("credited again", err, store.ErrConflict)
	d := store.Deposit{Provider: "paystack", Reference: "r-1", Account: "77", Amount: 50_00}
	for i := range 2 {
		if got, booked, err := f.db.Deposit(f.ctx, d); err != nil || booked != (i == 0) || got.MSISDN != "" {
			f.Errorf("reported: %+v, %v, %v", got, booked, err)
		}
	}
	f.accounts(total("funding:paystack", -50_00), total("suspense:deposits", 50_00), total("wallet:*", 0))
	f.wantErr("assigned", f.db.AssignDeposit(f.ctx, by("ngozi"), "paystack", "r-1", bola), nil)
	f.wallet(bola, 50_00, 0)
	if v := f.check().Violations; len(v) != 0 {
		f.Errorf("violations %+v", v)
	}
}

// depositMeetsCredit: a credit by hand that is not yet written when its payment is
// reported for nobody. The wallet's row is what the credit is held up at; SQLite
// has one writer at a time.
func depositMeetsCredit(f *fixture) {
	f.fund(amina, 1)
	raw, err := f.raw().BeginTx(f.ctx, nil)
	if err != nil {
		f.Fatal(err)
	}
	defer raw.Rollback()
	if f.engine.name == "mysql" {
		if _, err := raw.Exec("UPDATE wallets SET held = held + 1 WHERE msisdn = ?", amina); err != nil {
			f.Fatal(err)
		}
	}
	credited, reported := make(chan error, 1), make(chan error, 1)
	var booked bool
	go func() {
		_, _, err := f.db.Credit(f.ctx, by("ngozi"), amina, 50_00, "paystack", "r-1")
		credited <- err
	}()
	f.waiting(1, credited)
	go func() {
		_, new, err := f.db.Deposit(f.ctx, store.Deposit{Provider: "paystack", Reference: "r-1", Account: "nobody", Amount: 50_00})
		booked = new
		reported <- err
	}()
	f.waiting(2, reported)
	if err := raw.Rollback(); err != nil {
		f.Error(err)
	}
	err = <-credited
	if reportErr := <-reported; reportErr != nil || booked != errors.Is(err, store.ErrMismatch) || err != nil && !booked {
		f.Errorf("credited %v, reported %v, booked %v", err, reportErr, booked)
	}
	for _, a := range f.check().Accounts {
		if a.Account == "funding:paystack" && a.Amount != -50_00 {
			f.Errorf("came in: %d", a.Amount)
		}
	}
}

// waiting waits until so many transactions of the database wait for a lock of MySQL's,
// or the last of them is done.
func (f *fixture) waiting(n int, done chan error) {
	f.Helper()
	db := f.raw()
	for f.engine.name == "mysql" {
		// The server renews that table only when nobody has read it for a tenth of a second.
		if _, err := db.ExecContext(f.ctx, "DO SLEEP(0.15)"); err != nil {
			f.Fatal(err)
		}
		var waiting int
		err := db.QueryRowContext(f.ctx, `SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p
			ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND t.trx_state = 'LOCK WAIT'`).Scan(&waiting)
		if err != nil {
			f.Fatal(err)
		}
		if waiting == n || len(done) == 1 {
			return
		}
	}
}

// depositsUndone: an assignment to the wrong wallet is undone and made again, and a
// deposit is in a wallet or undone, never both.
func depositsUndone(f *fixture) {
	d := store.Deposit{Provider: "paystack", Reference: "r-1", Account: "nobody", Amount: 50_00}
	if _, _, err := f.db.Deposit(f.ctx, d); err != nil {
		f.Fatal(err)
	}
	suspense := func(want int) {
		f.Helper()
		if list, err := f.db.ListDeposits(f.ctx, true, 0); err != nil || len(list) != want {
			f.Errorf("suspense %+v, %v, want %d", list, err, want)
		}
	}
	reverse := func(kind, reference string) error {
		return f.db.ReverseEntry(f.ctx, by("ngozi"), f.entryOf(kind, reference))
	}
	assign := func(msisdn string) error { return f.db.AssignDeposit(f.ctx, by("ngozi"), "paystack", "r-1", msisdn) }
	f.wantErr("to the wrong one", assign(amina), nil)
	f.wantErr("a deposit that a wallet has", reverse("deposit", "paystack:r-1"), store.ErrConflict)
	f.wantErr("the assignment", reverse("assign", "paystack:r-1"), nil)
	f.wallet(amina, 0, 0)
	suspense(1)
	f.wantErr("to the right one", assign(bola), nil)
	f.wallet(bola, 50_00, 0)
	f.wantErr("that too", reverse("assign", "paystack:r-1 #2"), nil)
	suspense(1)
	f.wantErr("the deposit", reverse("deposit", "paystack:r-1"), nil)
	suspense(0)
	f.wantErr("one that is undone", assign(bola), store.ErrConflict)
	f.accounts(total("funding:paystack", 0), total("suspense:deposits", 0), total("wallet:*", 0))
	if v := f.check().Violations; len(v) != 0 {
		f.Errorf("violations %+v", v)
	}
}

func depositsAtOnce(f *fixture) {
	var booked atomic.Int64
	times(10, func(int) {
		_, new, err := f.db.Deposit(f.ctx, store.Deposit{Provider: "monnify", Reference: "m", Account: "1", Amount: 5})
		if err != nil {
			f.Error(err)
		}
		if new {
			booked.Add(1)
		}
	})
	if booked.Load() != 1 {
		f.Errorf("booked %d times", booked.Load())
	}
	f.accounts(total("funding:monnify", -5), total("suspense:deposits", 5))
}

// entryOf is the id of an entry.
func (f *fixture) entryOf(kind, reference string) (id int64) {
	f.Helper()
	if err := f.raw().QueryRow("SELECT id FROM entries WHERE kind = ? AND reference = ?", kind, reference).Scan(&id); err != nil {
		f.Fatal(err)
	}
	return id
}

func entriesReversed(f *fixture) {
	f.fund(amina, 100_00)
	p := f.delivered(f.order(), "v")
	if _, _, err := f.db.Credit(f.ctx, by("ngozi"), bola, 30_00, "test", "wrong"); err != nil {
		f.Fatal(err)
	}
	f.wantErr("a capture", f.db.ReverseEntry(f.ctx, by("ngozi"), f.entryOf("capture", p.Ref)), store.ErrInvalid)
	f.wantErr("spent money", f.db.ReverseEntry(f.ctx, by("ngozi"), f.entryOf("credit", "test:fund-1")), store.ErrInsufficient)
	f.wantErr("nothing", f.db.ReverseEntry(f.ctx, by("ngozi"), 1), store.ErrNotFound)
	id := f.entryOf("credit", "test:wrong")
	f.wantErr("a credit", f.db.ReverseEntry(f.ctx, by("ngozi"), id), nil)
	f.wantErr("again", f.db.ReverseEntry(f.ctx, by("ngozi"), id), store.ErrConflict)
	f.wallet(bola, 0, 0)
	f.accounts(total("float:v", 97_00), total("funding:test", -100_00), total("hold:*", 0), total("revenue:mtn", 3_00), total("wallet:*", 0))

	f.tamper(fmt.Sprintf("UPDATE entries SET reverses_id = %d WHERE reverses_id = %d", f.entryOf("hold", p.Ref), id))
	if v := f.check().Violations; len(v) != 1 || v[0].Rule != "entry-reverses" {
		f.Errorf("violations %+v", v)
	}
}

// entriesListed: what was booked about a purchase or a subscriber is found, whatever
// its reference and its accounts are, and what undoes it too.
func entriesListed(f *fixture) {
	f.fund(amina, 300_00)
	f.fund(bola, 1)
	f.delivered(f.order(), "v")
	p, first := f.begin(f.hold(f.order()), "v")
	p, a := f.begin(f.finish(p, first, store.NotSent, store.Held), "w")
	p = f.finish(p, a, store.Pending, store.Pending)
	p, err := f.db.Refund(f.ctx, by("ngozi"), p.Ref)
	if err != nil {
		f.Fatal(err)
	}
	first.State = store.Late
	if p, err = f.db.Turn(f.ctx, p, first); err != nil {
		f.Fatal(err)
	}
	f.wantErr("w took nothing", f.db.Rechecked(f.ctx, p, true), nil)
	f.wantErr("undone", f.db.ReverseEntry(f.ctx, by("ngozi"), f.entryOf("credit", "test:fund-2")), nil)
	for _, c := range []struct {
		filter store.EntryFilter
		want   []string
	}{
		{store.EntryFilter{Reference: p.Ref}, []string{"correction", "late", "dispute", "release", "hold"}},
		{store.EntryFilter{MSISDN: amina}, []string{"correction", "late", "dispute", "release", "hold", "capture", "hold", "credit"}},
		{store.EntryFilter{MSISDN: amina, Limit: 2}, []string{"correction", "late"}},
		{store.EntryFilter{Reference: "test:fund-2"}, []string{"correction", "credit"}},
		{store.EntryFilter{MSISDN: bola}, []string{"correction", "credit"}},
		{store.EntryFilter{MSISDN: bola, Reference: p.Ref}, []string{}},
		{store.EntryFilter{Limit: 3}, []string{"correction", "correction", "late"}},
	} {
		entries, err := f.db.ListEntries(f.ctx, c.filter)
		kinds := make([]string, len(entries))
		for i, e := range entries {
			kinds[i] = e.Kind
		}
		if err != nil || !slices.Equal(kinds, c.want) {
			f.Errorf("%+v: %v, %v, want %v", c.filter, kinds, err, c.want)
		}
	}
}

func floatsToppedUp(f *fixture) {
	f.fund(amina, 300_00)
	for i := range 2 {
		booked, err := f.db.TopUp(f.ctx, by("ngozi"), "v", 1000_00, "bank:gtb", "slip")
		if err != nil || booked != (i == 0) {
			f.Errorf("top up: %v, %v", booked, err)
		}
	}
	_, err := f.db.TopUp(f.ctx, by("ngozi"), "v", 1, "bank:gtb", "slip")
	f.wantErr("another amount", err, store.ErrMismatch)
	_, err = f.db.TopUp(f.ctx, by("ngozi"), "v", 1, "wallet:"+amina, "x")
	f.wantErr("from a wallet", err, store.ErrInvalid)
	f.delivered(f.order(), "v")
	f.begin(f.hold(f.order()), "w")
	reversed := f.delivered(f.order(), "v")
	if _, err := f.db.Resolve(f.ctx, by("ngozi"), reversed.Ref, store.Reversed); err != nil {
		f.Error(err)
	}
	floats, err := f.db.Floats(f.ctx)
	want := []store.Float{{Vendor: "v", ToppedUp: 1000_00, Used: 97_00}, {Vendor: "w", InFlight: 100_00}}
	if err != nil || !slices.Equal(floats, want) {
		f.Errorf("floats %+v, %v, want %+v", floats, err, want)
	}
	f.wantErr("undone", f.db.ReverseEntry(f.ctx, by("ngozi"), f.entryOf("topup", "v:slip")), nil)
	if floats, err = f.db.Floats(f.ctx); err != nil || floats[0].Balance() != -97_00 {
		f.Errorf("floats %+v, %v", floats, err)
	}
	_, err = f.db.TopUp(f.ctx, by("ngozi"), "v", 1000_00, "bank:gtb", "slip")
	f.wantErr("booked again", err, store.ErrConflict)
	if log, err := f.db.ListAudit(f.ctx, "v:slip", 0); err != nil || len(log) != 1 {
		f.Errorf("audit %+v, %v", log, err)
	}
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("violations %+v", r.Violations)
	}
}

// limited is the fixture with limits in force.
func limited(f *fixture, l store.Limits) {
	f.Helper()
	f.limits = l
	f.db = f.open()
	f.fund(amina, 10_000_00)
	f.fund(bola, 10_000_00)
}

// wantLimit holds an order that is beyond a limit, "" = within all.
func (f *fixture) wantLimit(what, limit string, change func(*store.Purchase)) store.Purchase {
	f.Helper()
	p := f.order()
	p.CreatedAt = f.now()
	change(&p)
	held, _, err := f.db.Hold(f.ctx, p)
	var beyond *store.LimitError
	if limit == "" && err != nil || limit != "" && (!errors.As(err, &beyond) || beyond.Limit != limit || !errors.Is(err, store.ErrLimit)) {
		f.Errorf("%s: %v, want %q", what, err, limit)
	}
	return held
}

// wantBeyond is wantLimit to the last field.
func (f *fixture) wantBeyond(what string, change func(*store.Purchase), want store.LimitError) {
	f.Helper()
	p := f.order()
	p.CreatedAt = f.now()
	change(&p)
	_, _, err := f.db.Hold(f.ctx, p)
	var beyond *store.LimitError
	if !errors.As(err, &beyond) || *beyond != want {
		f.Errorf("%s: %v, want %+v", what, err, want)
	}
}

func amount(naira int64) func(*store.Purchase) {
	return func(p *store.Purchase) { p.Amount = naira * 100 }
}

func limits(f *fixture) {
	limited(f, store.Limits{Purchase: 400_00, Day: 1000_00, RecipientDay: 1200_00, Velocity: 6, VelocityWindow: time.Minute,
		Networks: map[string]store.NetworkLimits{"glo": {Purchase: 300_00, Day: 500_00}}})
	f.wantLimit("one purchase", store.LimitPurchase, amount(401))
	glo := func(naira int64) func(*store.Purchase) {
		return func(p *store.Purchase) { p.Network, p.Amount = "glo", naira*100 }
	}
	f.wantLimit("one of glo", store.LimitNetworkPurchase, glo(301))
	f.wantLimit("glo", "", glo(300))
	f.wantLimit("glo in a day", store.LimitNetworkDay, glo(201))
	f.wantLimit("the rest of glo", "", glo(200))
	failed := f.wantLimit("day", "", amount(400))
	f.wantLimit("day is full but for N100", store.LimitDay, amount(101))
	if _, err := f.db.Release(f.ctx, failed, "x"); err != nil {
		f.Fatal(err)
	}
	f.wantLimit("what failed does not count", "", amount(400))
	f.wantLimit("another payer", "", func(p *store.Purchase) { p.MSISDN, p.Amount = bola, 300_00 })
	f.wantLimit("the recipient has enough", store.LimitRecipientDay, func(p *store.Purchase) { p.MSISDN, p.Amount = bola, 1 })
	f.wantLimit("another recipient", "", func(p *store.Purchase) { p.MSISDN, p.Recipient, p.Amount = bola, amina, 400_00 })

	toSelf := func(naira int64) func(*store.Purchase) {
		return func(p *store.Purchase) { p.Recipient, p.Amount = amina, naira*100 }
	}
	f.wantLimit("the fifth", "", toSelf(1))
	f.wantLimit("the day is full", store.LimitDay, toSelf(100))
	f.wantLimit("the sixth", "", toSelf(1))
	f.wantLimit("the seventh", store.LimitVelocity, toSelf(1))
	f.advance(time.Minute)
	f.wantLimit("later", "", toSelf(1))
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("violations %+v", r.Violations)
	}
}

func velocity(f *fixture) {
	limited(f, store.Limits{Velocity: 3, VelocityWindow: time.Minute})
	begun := f.now()
	for range 3 {
		p := f.wantLimit("in time", "", amount(1))
		if _, err := f.db.Release(f.ctx, p, "x"); err != nil {
			f.Fatal(err)
		}
		f.advance(time.Second)
	}
	f.wantBeyond("too fast, though they failed", amount(1), store.LimitError{Limit: store.LimitVelocity, Max: 3, Used: 3, Until: begun.Add(time.Minute)})
	f.wantLimit("another", "", func(p *store.Purchase) { p.MSISDN = bola })
	f.advance(begun.Add(time.Minute - time.Millisecond).Sub(f.now()))
	f.wantLimit("not yet", store.LimitVelocity, amount(1))
	f.advance(time.Millisecond)
	f.wantLimit("as soon as told", "", amount(1))
	f.wantBeyond("the next", amount(1), store.LimitError{Limit: store.LimitVelocity, Max: 3, Used: 3, Until: begun.Add(time.Minute + time.Second)})
}

// limitsByDay: the day begins at midnight in Lagos, an hour before UTC's.
func limitsByDay(f *fixture) {
	f.clock.Store(time.Date(2026, 11, 23, 22, 59, 0, 0, time.UTC).UnixMilli())
	limited(f, store.Limits{Day: 100_00})
	f.wantLimit("before midnight", "", amount(99))
	f.wantBeyond("too much", amount(2), store.LimitError{Limit: store.LimitDay, Max: 100_00, Used: 99_00, Until: f.now().Add(time.Minute)})
	f.advance(time.Minute)
	f.wantLimit("after midnight", "", amount(100))
	f.wantLimit("too much again", store.LimitDay, amount(1))
}

// limitsAtOnce: two programs do not together let pass what is too much.
func limitsAtOnce(f *fixture) {
	limited(f, store.Limits{Day: 500_00, RecipientDay: 700_00})
	dbs := []*store.DB{f.db, f.open()}
	orders := make([]store.Purchase, 24)
	for i := range orders {
		orders[i] = f.order()
		orders[i].CreatedAt = f.now()
		orders[i].MSISDN = []string{amina, bola}[i%2]
	}
	var passed atomic.Int64
	times(len(orders), func(i int) {
		_, created, err := dbs[i/2%2].Hold(f.ctx, orders[i])
		if err != nil && !errors.Is(err, store.ErrLimit) {
			f.Error(err)
		}
		if created {
			passed.Add(1)
		}
	})
	if passed.Load() != 7 {
		f.Errorf("%d of N100 passed, the recipient may get 7", passed.Load())
	}
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("violations %+v", r.Violations)
	}
}

func ledgerSampled(f *fixture) {
	sample := func(n int) store.Sample {
		f.Helper()
		s, err := f.db.CheckSample(f.ctx, n)
		if err != nil {
			f.Fatal(err)
		}
		return s
	}
	if s := sample(5); s.Rows != 0 || s.Rounds != 4 || len(s.Violations) != 0 {
		f.Errorf("empty: %+v", s)
	}
	day := busyDay(f)
	f.fund(amina, 1)
	r := f.check()
	rows, all := 0, r.Entries+r.Wallets+r.Purchases
	for range 20 {
		s := sample(3)
		if len(s.Violations) != 0 {
			f.Fatalf("violations %+v", s.Violations)
		}
		rows += s.Rows
	}
	if rows < 3*all {
		f.Errorf("20 samples saw %d rows of %d", rows, all)
	}
	// Wherever the damage is, a round finds it, and each row of it once.
	f.tamper("UPDATE wallets SET balance = balance + 1 WHERE msisdn = '"+bola+"'",
		"UPDATE purchases SET state = 'failed' WHERE ref = '"+day[store.Held].Ref+"'",
		"UPDATE postings SET amount = amount - 1 WHERE account = 'revenue:mtn'")
	found := map[string]int{}
	for range 20 {
		for _, v := range sample(1).Violations {
			found[v.Rule]++
		}
	}
	for _, rule := range []string{"wallet-balance", "wallet-unfinished", "purchase-entries", "entry-balance", "purchase-postings"} {
		if found[rule] == 0 {
			f.Errorf("20 samples did not find %s: %v", rule, found)
		}
	}
	want := map[string]bool{"ledger-sum": true}
	for _, v := range f.check().Violations {
		want[v.Rule] = true
	}
	for rule := range found {
		if !want[rule] {
			f.Errorf("only samples find %s", rule)
		}
	}
}

// ledgerRounds: a round has the age that it has for all instances.
func ledgerRounds(f *fixture) {
	dbs, samples := []*store.DB{f.db, f.open()}, 0
	sample := func(n int) time.Time {
		f.Helper()
		s, err := dbs[samples%2].CheckSample(f.ctx, n)
		if err != nil || len(s.RoundAt) != 4 {
			f.Fatalf("%+v, %v", s, err)
		}
		samples++
		return s.RoundAt["entries"]
	}
	wants := func(what string, got, want time.Time) {
		f.Helper()
		if !got.Equal(want) {
			f.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	for i := range 3 {
		f.fund(amina, int64(i+1))
	}
	first := f.now()
	at := sample(1)
	wants("none has ended", at, first)
	for range 2 {
		f.advance(time.Hour)
		at = sample(1)
		wants("in the middle", at, first)
	}
	f.advance(time.Hour)
	at = sample(1)
	wants("at the end", at, f.now())
	ended := f.now()
	f.advance(59 * time.Second)
	at = sample(10)
	wants("to the minute", at, ended)
	f.advance(time.Second)
	at = sample(10)
	wants("a minute later", at, f.now())
}

func outbox(f *fixture) {
	f.messages = true
	f.db = f.open()
	if err := f.db.SaveSessions(f.ctx, []store.Session{f.session(7, 1)}, nil); err != nil {
		f.Fatal(err)
	}
	day := busyDay(f)
	take := func() []store.Message {
		f.Helper()
		due, err := f.db.DueMessages(f.ctx, f.now(), f.now().Add(time.Minute), 10)
		if err != nil {
			f.Fatal(err)
		}
		return due
	}
	due := take()
	if len(due) != 2 || due[0].Kind != store.Delivered || due[0].Purchase != day[store.Delivered] || due[1].Kind != store.Failed ||
		due[0].SMSC != f.session(7, 1).SMSC || due[0].Code != f.session(7, 1).Code || due[0].CreatedAt.IsZero() {
		f.Fatalf("messages %+v", due)
	}
	if again := take(); len(again) != 0 {
		f.Errorf("given twice: %+v", again)
	}
	f.wantErr("sent", f.db.MessageSent(f.ctx, due[0].ID, "mtn", "id-1"), nil)
	f.wantErr("failed", f.db.MessagesFailed(f.ctx, store.Failure{Message: due[1], Reason: "down", Next: f.now().Add(5 * time.Second)}), nil)
	f.advance(4 * time.Second)
	if early := take(); len(early) != 0 {
		f.Errorf("too early: %+v", early)
	}
	f.advance(time.Second)
	if o, err := f.db.OutboxStatus(f.ctx); err != nil || o != (store.Outbox{Waiting: 1, Oldest: 5 * time.Second}) {
		f.Errorf("outbox %+v, %v", o, err)
	}
	again := take()
	if len(again) != 1 || again[0].ID != due[1].ID || again[0].Tries != 1 {
		f.Fatalf("again: %+v", again)
	}
	// A sender that was stalled has no say in what another one is sending.
	f.wantErr("stalled", f.db.MessagesFailed(f.ctx, store.Failure{Message: due[1], Reason: "slow"}), nil)
	if o, err := f.db.OutboxStatus(f.ctx); err != nil || o.Waiting != 1 || o.Lost != 0 {
		f.Errorf("outbox %+v, %v", o, err)
	}
	f.wantErr("given up", f.db.MessagesFailed(f.ctx, store.Failure{Message: again[0], Reason: "down"}), nil)
	f.advance(1000 * time.Hour)
	if late := take(); len(late) != 0 {
		f.Errorf("after giving up: %+v", late)
	}
	if o, err := f.db.OutboxStatus(f.ctx); err != nil || o != (store.Outbox{Lost: 1}) {
		f.Errorf("outbox %+v, %v", o, err)
	}
	payer := due[0].Purchase.MSISDN
	for _, c := range []struct {
		name string
		r    store.Receipt
		want error
	}{
		{"of nothing", store.Receipt{SMSC: "mtn", IDs: []string{"id-2"}, MSISDN: payer, State: "UNDELIV"}, store.ErrNotFound},
		{"without a name", store.Receipt{SMSC: "mtn", MSISDN: payer, State: "UNDELIV"}, store.ErrNotFound},
		{"of another SMSC", store.Receipt{SMSC: "glo", IDs: []string{"id-1"}, MSISDN: payer, State: "UNDELIV"}, store.ErrNotFound},
		{"of another subscriber", store.Receipt{SMSC: "mtn", IDs: []string{"id-1"}, MSISDN: "2348090000000", State: "UNDELIV"}, store.ErrNotFound},
		{"by another name of nobody", store.Receipt{SMSC: "mtn", IDs: []string{"1", "id-1"}, State: "UNDELIV"}, store.ErrNotFound},
		{"by its name", store.Receipt{SMSC: "mtn", IDs: []string{"id-1"}, State: "ENROUTE"}, nil},
		{"by another name", store.Receipt{SMSC: "mtn", IDs: []string{"1", "id-1"}, MSISDN: payer, State: "DELIVRD"}, nil},
		{"that is out of date", store.Receipt{SMSC: "mtn", IDs: []string{"id-1"}, State: "ENROUTE"}, nil},
		{"that is out of date, too", store.Receipt{SMSC: "mtn", IDs: []string{"id-1"}, State: "ACCEPTD"}, nil},
		{"by the reference of one that was sent", store.Receipt{SMSC: "mtn", MSISDN: payer, Reference: due[0].Reference(), HasReference: true, State: "UNDELIV"}, store.ErrNotFound},
	} {
		f.wantErr("receipt "+c.name, f.db.MessageReceipt(f.ctx, c.r), c.want)
	}
	if got, err := f.db.Messages(f.ctx, due[0].Purchase.ID); err != nil || len(got) != 1 || got[0].Receipt != "DELIVRD" || got[0].ReceiptAt.IsZero() ||
		got[0].SMSC != "mtn" || got[0].MessageID != "id-1" || got[0].Tries != 1 || got[0].SentAt.IsZero() || !got[0].NextAt.IsZero() {
		f.Errorf("messages %+v, %v", got, err)
	}

	// A late decision is told too.
	if _, err := f.db.Resolve(f.ctx, by("ngozi"), day[store.Delivered].Ref, store.Reversed); err != nil {
		f.Fatal(err)
	}
	late := take()
	if len(late) != 1 || late[0].Kind != store.Reversed {
		f.Fatalf("late: %+v", late)
	}

	// Its sender died, and a receipt tells that the SMSC has it.
	r := store.Receipt{SMSC: "glo", IDs: []string{"id-9"}, MSISDN: payer, Reference: late[0].Reference(), HasReference: true, State: "DELIVRD"}
	wrong := r
	wrong.Reference++
	f.wantErr("receipt of another", f.db.MessageReceipt(f.ctx, wrong), store.ErrNotFound)
	f.wantErr("receipt of one that was given out", f.db.MessageReceipt(f.ctx, r), nil)
	f.wantErr("failed after all", f.db.MessagesFailed(f.ctx, store.Failure{Message: late[0], Reason: "no answer", Next: f.now()}), nil)
	f.advance(time.Hour)
	if again := take(); len(again) != 0 {
		f.Errorf("again: %+v", again)
	}
	f.wantErr("sent after its receipt", f.db.MessageSent(f.ctx, late[0].ID, "glo", "id-9"), nil)
	if got, err := f.db.Messages(f.ctx, late[0].Purchase.ID); err != nil || len(got) != 2 || got[1].Receipt != "DELIVRD" || got[1].MessageID != "id-9" {
		f.Errorf("messages %+v, %v", got, err)
	}
}

// outboxOvertaken: what could not be sent before it became untrue is never sent.
func outboxOvertaken(f *fixture) {
	f.messages = true
	f.db = f.open()
	day := busyDay(f)
	for kind, truth := range map[string]string{store.Delivered: store.Reversed, store.Failed: store.Late} {
		if _, err := f.db.Resolve(f.ctx, by("ngozi"), day[kind].Ref, truth); err != nil {
			f.Fatal(err)
		}
	}
	due, err := f.db.DueMessages(f.ctx, f.now(), f.now().Add(time.Minute), 10)
	if err != nil {
		f.Fatal(err)
	}
	var kinds []string
	for _, m := range due {
		kinds = append(kinds, m.Kind)
	}
	if slices.Sort(kinds); !slices.Equal(kinds, []string{store.Late, store.Reversed}) {
		f.Errorf("messages %q", kinds)
	}
	if o, err := f.db.OutboxStatus(f.ctx); err != nil || o.Waiting != 2 || o.Lost != 0 {
		f.Errorf("outbox %+v, %v", o, err)
	}
}

func outboxOff(f *fixture) {
	busyDay(f)
	if due, err := f.db.DueMessages(f.ctx, f.now(), f.now(), 10); err != nil || len(due) != 0 {
		f.Errorf("messages %+v, %v", due, err)
	}
}

func operatorNames(f *fixture) {
	for _, name := range []string{"", " x", strings.Repeat("x", 65)} {
		f.wantErr(name, f.db.SetTwoPersons(f.ctx, store.Operation{Operator: name, Reason: "r"}, true), store.ErrInvalid)
	}
}
