package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ussdd/store"
)

func holdReserves(f *fixture) {
	f.fund(amina, 250_00)
	order := f.order()
	order.CreatedAt = f.now().Add(-time.Second).Add(123456 * time.Nanosecond)
	p := f.hold(order)
	want := order
	want.State, want.Version, want.Again = store.Held, 1, false
	want.CreatedAt, want.UpdatedAt = f.now().Add(-time.Second), f.now()
	if p != want {
		f.Errorf("held %+v\nwant %+v", p, want)
	}
	if stored, attempts := f.stored(order.Ref); stored != want || len(attempts) != 0 {
		f.Errorf("stored %+v with %v\nwant %+v", stored, attempts, want)
	}
	f.wallet(amina, 150_00, 100_00)
	f.accounts(store.AccountTotal{Account: "funding:test", Amount: -250_00}, store.AccountTotal{Account: "hold:*", Amount: 100_00},
		store.AccountTotal{Account: "wallet:*", Amount: 150_00})
}

func holdOnce(f *fixture) {
	f.fund(amina, 250_00)
	first := f.delivered(f.order(), "mtn")
	again := f.order()
	again.Key, again.Session, again.Owner = first.Key, 8, other
	stored, created, err := f.db.Hold(f.ctx, again)
	if err != nil || created || stored != first {
		f.Errorf("same key again: created %v, %v, %+v\nwant %+v", created, err, stored, first)
	}
	for name, change := range map[string]func(*store.Purchase){
		"payer":     func(p *store.Purchase) { p.MSISDN = bola },
		"recipient": func(p *store.Purchase) { p.Recipient = amina },
		"network":   func(p *store.Purchase) { p.Network = "glo" },
		"amount":    func(p *store.Purchase) { p.Amount++ },
	} {
		p := again
		change(&p)
		_, created, err := f.db.Hold(f.ctx, p)
		f.wantErr("same key, other "+name, err, store.ErrMismatch)
		if created {
			f.Error("created")
		}
	}
	if p, err := f.db.PurchaseByKey(f.ctx, first.Key); err != nil || p != first {
		f.Errorf("by key: %+v, %v\nwant %+v", p, err, first)
	}
	_, err = f.db.PurchaseByKey(f.ctx, "another")
	f.wantErr("another key", err, store.ErrNotFound)
	f.wallet(amina, 150_00, 0)
	if r := f.check(); r.Purchases != 1 || len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

func holdRefuses(f *fixture) {
	f.fund(amina, 100_00)
	for name, test := range map[string]struct {
		change func(*store.Purchase)
		want   error
	}{
		"one kobo too much": {func(p *store.Purchase) { p.Amount++ }, store.ErrInsufficient},
		"no wallet":         {func(p *store.Purchase) { p.MSISDN = bola }, store.ErrNoWallet},
		"no amount":         {func(p *store.Purchase) { p.Amount = 0 }, store.ErrInvalid},
		"negative amount":   {func(p *store.Purchase) { p.Amount = -1 }, store.ErrInvalid},
		"no id":             {func(p *store.Purchase) { p.ID = 0 }, store.ErrInvalid},
		"no ref":            {func(p *store.Purchase) { p.Ref = "" }, store.ErrInvalid},
		"no key":            {func(p *store.Purchase) { p.Key = "" }, store.ErrInvalid},
		"long key":          {func(p *store.Purchase) { p.Key = strings.Repeat("k", 129) }, store.ErrInvalid},
		"no owner":          {func(p *store.Purchase) { p.Owner = "" }, store.ErrInvalid},
		"no network":        {func(p *store.Purchase) { p.Network = "" }, store.ErrInvalid},
		"odd payer":         {func(p *store.Purchase) { p.MSISDN = "Amina" }, store.ErrInvalid},
		"odd recipient":     {func(p *store.Purchase) { p.Recipient = "0803 123" }, store.ErrInvalid},
	} {
		p := f.order()
		test.change(&p)
		_, created, err := f.db.Hold(f.ctx, p)
		f.wantErr(name, err, test.want)
		if created {
			f.Errorf("%s: created", name)
		}
	}
	f.wallet(amina, 100_00, 0)

	small := f.order()
	small.Amount = 1
	small = f.hold(small)
	sameID, sameRef := f.order(), f.order()
	sameID.ID, sameRef.Ref = small.ID, small.Ref
	for name, p := range map[string]store.Purchase{"id in use": sameID, "ref in use": sameRef} {
		p.Amount = 1
		_, _, err := f.db.Hold(f.ctx, p)
		f.wantErr(name, err, store.ErrInvalid)
	}
	f.wallet(amina, 99_99, 1)
	if r := f.check(); r.Purchases != 1 || len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

// wantOpen orders once more, and is told that open is open.
func (f *fixture) wantOpen(what string, open store.Purchase, change func(*store.Purchase)) {
	f.Helper()
	order := f.order()
	order.Again = false
	change(&order)
	got, created, err := f.db.Hold(f.ctx, order)
	var asked *store.OpenError
	if created || got != (store.Purchase{}) || !errors.Is(err, store.ErrOpen) || !errors.As(err, &asked) || asked.Purchase != open {
		f.Errorf("%s: %+v, %v, want %+v", what, got, err, open)
	}
}

func holdAsks(f *fixture) {
	f.fund(amina, 300_00)
	f.fund(bola, 100_00)
	same := func(*store.Purchase) {}
	first := f.order()
	first.Again = false
	open := f.hold(first)
	f.wantOpen("the same", open, same)
	f.wantOpen("on another network", open, func(p *store.Purchase) { p.Network = "glo" })
	if got, created, err := f.db.Hold(f.ctx, first); err != nil || created || got != open {
		f.Errorf("the same confirmation: %+v, %v, %v", got, created, err)
	}
	for what, change := range map[string]func(*store.Purchase){
		"another amount":    func(p *store.Purchase) { p.Amount = 100_00 - 1 },
		"another recipient": func(p *store.Purchase) { p.Recipient = amina },
		"another payer":     func(p *store.Purchase) { p.MSISDN = bola },
	} {
		p := f.order()
		p.Again = false
		change(&p)
		if _, created, err := f.db.Hold(f.ctx, p); err != nil || !created {
			f.Errorf("%s: created %v, %v", what, created, err)
		}
	}
	// One kobo is left: what is open is told before the balance is.
	f.wantOpen("without the money", open, same)
	f.fund(amina, 100_00)
	second := f.hold(f.order())
	f.wantOpen("the newest of two", second, same)

	sending, a := f.begin(second, "v")
	f.wantOpen("being sent", sending, same)
	pending := f.finish(sending, a, store.Pending, store.Pending)
	f.wantOpen("pending", pending, same)
	review := f.finish(pending, a, store.Pending, store.Review)
	f.wantOpen("in review", review, same)
	if _, err := f.db.Resolve(f.ctx, by("ngozi"), review.Ref, store.Failed); err != nil {
		f.Fatal(err)
	}
	f.wantOpen("the older of two", open, same)
	if _, err := f.db.Release(f.ctx, open, "x"); err != nil {
		f.Fatal(err)
	}
	p := f.order()
	p.Again = false
	f.hold(p)
}

// holdAsksOne: of two programs that confirm the same at once, one is asked.
func holdAsksOne(f *fixture) {
	f.fund(amina, 100_00)
	f.fund(bola, 1000_00)
	for _, payer := range []string{amina, bola} { // who can pay once, and who can pay for all
		dbs := []*store.DB{f.db, f.open()}
		orders := make([]store.Purchase, 8)
		for i := range orders {
			orders[i] = f.order()
			orders[i].MSISDN, orders[i].Again = payer, false
		}
		var held, asked atomic.Int64
		times(len(orders), func(i int) {
			_, created, err := dbs[i%2].Hold(f.ctx, orders[i])
			switch {
			case created:
				held.Add(1)
			case errors.Is(err, store.ErrOpen):
				asked.Add(1)
			default:
				f.Error(err)
			}
		})
		if held.Load() != 1 || asked.Load() != 7 {
			f.Errorf("%d held, %d asked", held.Load(), asked.Load())
		}
	}
}

func deliveredAtOnce(f *fixture) {
	f.fund(amina, 100_00)
	held := f.hold(f.order())

	f.advance(time.Second)
	a := nextAttempt(f, held, "mtn-direct")
	held.NextAt = f.now().Add(30 * time.Second)
	sending, err := f.db.Attempt(f.ctx, held, a)
	if err != nil {
		f.Fatal(err)
	}
	want := held
	want.State, want.Version, want.Attempts, want.Vendor, want.UpdatedAt = store.Sending, 2, 1, "mtn-direct", f.now()
	if sending != want {
		f.Errorf("sending %+v\nwant %+v", sending, want)
	}
	a.State = store.Sending
	if p, attempts := f.stored(held.Ref); p != want || len(attempts) != 1 || attempts[0] != a {
		f.Errorf("stored %+v with %+v\nwant %+v with %+v", p, attempts, want, a)
	}
	f.wallet(amina, 0, 100_00)

	f.advance(time.Second)
	a.State, a.HTTPStatus, a.VendorRef, a.Cost, a.Detail, a.FinishedAt = store.Delivered, 200, "MTN-1", 97_00, "success", f.now()
	sending.VendorRef, sending.Cost = a.VendorRef, a.Cost
	done, err := f.db.Record(f.ctx, sending, a, store.Delivered)
	if err != nil {
		f.Fatal(err)
	}
	want = sending
	want.State, want.Version, want.Commission, want.CommissionBPS = store.Delivered, 3, 3_00, 300
	want.UpdatedAt, want.DecidedAt, want.NextAt = f.now(), f.now(), time.Time{}
	if done != want {
		f.Errorf("delivered %+v\nwant %+v", done, want)
	}
	if p, attempts := f.stored(held.Ref); p != want || len(attempts) != 1 || attempts[0] != a {
		f.Errorf("stored %+v with %+v\nwant %+v with %+v", p, attempts, want, a)
	}
	f.wallet(amina, 0, 0)
	f.accounts(store.AccountTotal{Account: "float:mtn-direct", Amount: 97_00}, store.AccountTotal{Account: "funding:test", Amount: -100_00},
		store.AccountTotal{Account: "hold:*"}, store.AccountTotal{Account: "revenue:mtn", Amount: 3_00}, store.AccountTotal{Account: "wallet:*"})
}

func deliveredBySecond(f *fixture) {
	f.fund(amina, 100_00)
	p, a := f.begin(f.hold(f.order()), "mtn-direct")
	p.Reason, p.NextAt = "unavailable:down", f.now().Add(5*time.Second)
	p = f.finish(p, a, store.Unavailable, store.Held)
	if p.State != store.Held || p.Reason != "unavailable:down" || !p.NextAt.Equal(f.now().Add(5*time.Second)) || !p.DecidedAt.IsZero() {
		f.Errorf("held again: %+v", p)
	}
	f.wallet(amina, 0, 100_00)
	p, a = f.begin(p, "quickvend")
	if p.Vendor != "quickvend" || p.Attempts != 2 {
		f.Errorf("second attempt: %+v", p)
	}
	p.Reason = ""
	p = f.finish(p, a, store.Delivered, store.Delivered)
	stored, attempts := f.stored(p.Ref)
	if stored != p || p.Vendor != "quickvend" || p.Reason != "" || len(attempts) != 2 ||
		attempts[0].State != store.Unavailable || attempts[1].State != store.Delivered {
		f.Errorf("stored %+v with %+v", stored, attempts)
	}
	f.accounts(store.AccountTotal{Account: "float:quickvend", Amount: 97_00}, store.AccountTotal{Account: "funding:test", Amount: -100_00},
		store.AccountTotal{Account: "hold:*"}, store.AccountTotal{Account: "revenue:mtn", Amount: 3_00}, store.AccountTotal{Account: "wallet:*"})
}

func failedEverywhere(f *fixture) {
	f.fund(amina, 100_00)
	p, a := f.begin(f.hold(f.order()), "mtn-direct")
	p = f.finish(p, a, store.NotSent, store.Held)
	p, a = f.begin(p, "quickvend")
	p.Reason = "declined:bad_number"
	p = f.finish(p, a, store.Declined, store.Failed)
	if p.State != store.Failed || p.Reason != "declined:bad_number" || !p.DecidedAt.Equal(f.now()) || !p.NextAt.IsZero() || p.Commission != 0 {
		f.Errorf("failed: %+v", p)
	}
	f.wallet(amina, 100_00, 0)
	f.accounts(store.AccountTotal{Account: "funding:test", Amount: -100_00}, store.AccountTotal{Account: "hold:*"},
		store.AccountTotal{Account: "wallet:*", Amount: 100_00})
}

// pending brings a purchase there and through two queries.
func pending(f *fixture) (store.Purchase, store.Attempt) {
	f.Helper()
	f.fund(amina, 100_00)
	p, a := f.begin(f.hold(f.order()), "mtn-direct")
	for i := range 3 {
		f.advance(time.Second)
		p.Reason, p.NextAt = "pending:timeout", f.now().Add(2*time.Second)
		a.Queries, a.NotFound = i, i/2
		p = f.finish(p, a, store.Pending, store.Pending)
		if p.State != store.Pending || !p.NextAt.Equal(f.now().Add(2*time.Second)) || p.Version != int64(3+i) {
			f.Errorf("pending: %+v", p)
		}
	}
	f.wallet(amina, 0, 100_00)
	if _, attempts := f.stored(p.Ref); len(attempts) != 1 || attempts[0].Queries != 2 || attempts[0].NotFound != 1 {
		f.Errorf("attempts %+v", attempts)
	}
	return p, a
}

func pendingDelivered(f *fixture) {
	p, a := pending(f)
	f.finish(p, a, store.Delivered, store.Delivered)
	f.wallet(amina, 0, 0)
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

func pendingFailed(f *fixture) {
	p, a := pending(f)
	f.finish(p, a, store.Declined, store.Failed)
	f.wallet(amina, 100_00, 0)
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

func tokensKept(f *fixture) {
	f.fund(amina, 200_00)
	p, a := f.begin(f.hold(f.order()), "v")
	a.Cost, a.Commission, a.Token, p.Token = 97_00, 2_50, "1234-5678", "1234-5678"
	p = f.finish(p, a, store.Delivered, store.Delivered)
	if got, tries, err := f.db.Purchase(f.ctx, p.Ref); err != nil || got != p || p.Token != "1234-5678" || tries[0].Token != "1234-5678" || tries[0].Commission != 2_50 {
		f.Errorf("%+v, %+v, %v", got, tries, err)
	}

	p, a = f.begin(f.hold(f.order()), "v")
	p = f.finish(p, a, store.Declined, store.Failed)
	a.State, a.Commission, a.Token, p.Token = store.Late, 2_50, strings.Repeat("9", 300), strings.Repeat("9", 300)
	p, err := f.db.Turn(f.ctx, p, a)
	if got, tries, e := f.db.Purchase(f.ctx, p.Ref); err != nil || e != nil || got != p || len(p.Token) != 200 || tries[0].Token != p.Token || tries[0].Commission != 2_50 {
		f.Errorf("late %+v, %+v, %v, %v", got, tries, err, e)
	}
}

func released(f *fixture) {
	f.fund(amina, 100_00)
	p, err := f.db.Release(f.ctx, f.hold(f.order()), "unavailable:no_route")
	if err != nil || p.State != store.Failed || p.Reason != "unavailable:no_route" || p.Attempts != 0 || !p.DecidedAt.Equal(f.now()) {
		f.Errorf("released %+v, %v", p, err)
	}
	f.wallet(amina, 100_00, 0)
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

// onlyAllowedMoves tries every move from every state.
func onlyAllowedMoves(f *fixture) {
	f.fund(amina, 10_000_00)
	reach := map[string]func() (store.Purchase, store.Attempt){
		store.Held:    func() (store.Purchase, store.Attempt) { return f.hold(f.order()), store.Attempt{} },
		store.Sending: func() (store.Purchase, store.Attempt) { return f.begin(f.hold(f.order()), "v") },
		store.Pending: func() (store.Purchase, store.Attempt) {
			p, a := f.begin(f.hold(f.order()), "v")
			return f.finish(p, a, store.Pending, store.Pending), a
		},
		store.Delivered: func() (store.Purchase, store.Attempt) {
			p, a := f.begin(f.hold(f.order()), "v")
			return f.finish(p, a, store.Delivered, store.Delivered), a
		},
		store.Failed: func() (store.Purchase, store.Attempt) {
			p, a := f.begin(f.hold(f.order()), "v")
			return f.finish(p, a, store.Declined, store.Failed), a
		},
	}
	record := func(state, next string) func(store.Purchase, store.Attempt) error {
		return func(p store.Purchase, a store.Attempt) error {
			a.State = state
			_, err := f.db.Record(f.ctx, p, a, next)
			return err
		}
	}
	moves := map[string]func(store.Purchase, store.Attempt) error{
		"attempt": func(p store.Purchase, _ store.Attempt) error {
			_, err := f.db.Attempt(f.ctx, p, nextAttempt(f, p, "v"))
			return err
		},
		"release": func(p store.Purchase, _ store.Attempt) error {
			_, err := f.db.Release(f.ctx, p, "x")
			return err
		},
		"record held":      record(store.Declined, store.Held),
		"record pending":   record(store.Pending, store.Pending),
		"record delivered": record(store.Delivered, store.Delivered),
		"record failed":    record(store.Declined, store.Failed),
	}
	allowed := map[string]bool{
		"held attempt": true, "held release": true,
		"sending record held": true, "sending record pending": true, "sending record delivered": true, "sending record failed": true,
		"pending record held": true, "pending record pending": true, "pending record delivered": true, "pending record failed": true,
	}
	for state, to := range reach {
		for name, move := range moves {
			p, a := to()
			before := f.check().Entries
			err := move(p, a)
			what := state + " " + name
			if allowed[what] {
				f.wantErr(what, err, nil)
				continue
			}
			if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrInvalid) {
				f.Errorf("%s: error %v", what, err)
			}
			if now, _ := f.stored(p.Ref); now != p {
				f.Errorf("%s changed %+v to %+v", what, p, now)
			}
			if r := f.check(); r.Entries != before {
				f.Errorf("%s wrote an entry", what)
			}
		}
	}
	// A record must fit its attempt.
	p, a := reach[store.Sending]()
	for _, c := range [][2]string{
		{store.Pending, store.Delivered}, {store.Delivered, store.Failed}, {store.Declined, store.Delivered}, {store.Sending, store.Pending},
		{store.Delivered, store.Held}, {store.Declined, store.Pending}, {store.Delivered, store.Sending}, {"", ""},
	} {
		f.wantErr(fmt.Sprint(c), record(c[0], c[1])(p, a), store.ErrInvalid)
	}
	a.N++
	f.wantErr("another attempt", record(store.Delivered, store.Delivered)(p, a), store.ErrInvalid)
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r.Violations)
	}
}

func compareAndSet(f *fixture) {
	f.fund(amina, 100_00)
	held := f.hold(f.order())
	p, a := f.begin(held, "mtn-direct")
	stateless, foreign, gone := p, p, p
	stateless.State = store.Pending
	foreign.Owner = other
	gone.ID++
	a.State = store.Delivered
	goneAttempt := a
	goneAttempt.Purchase++
	for name, test := range map[string]struct {
		p    store.Purchase
		a    store.Attempt
		want error
	}{
		"another state": {stateless, a, store.ErrConflict},
		"another owner": {foreign, a, store.ErrConflict},
		"no purchase":   {gone, goneAttempt, store.ErrNotFound},
	} {
		_, err := f.db.Record(f.ctx, test.p, test.a, store.Delivered)
		f.wantErr(name, err, test.want)
	}
	_, err := f.db.Release(f.ctx, held, "x")
	f.wantErr("release of what is being sent", err, store.ErrConflict)
	if now, _ := f.stored(p.Ref); now != p {
		f.Errorf("changed to %+v", now)
	}
	pending := f.finish(p, a, store.Pending, store.Pending)
	_, err = f.db.Record(f.ctx, p, a, store.Delivered)
	f.wantErr("record twice", err, store.ErrConflict)
	f.finish(pending, a, store.Pending, store.Pending)
	_, err = f.db.Record(f.ctx, pending, a, store.Delivered)
	f.wantErr("old version in the same state", err, store.ErrConflict)
	f.wallet(amina, 0, 100_00)
}

func attemptRefuses(f *fixture) {
	f.fund(amina, 200_00)
	first, _ := f.begin(f.hold(f.order()), "mtn-direct")
	held := f.hold(f.order())
	for name, change := range map[string]func(*store.Attempt){
		"reference in use":  func(a *store.Attempt) { a.Reference = first.Ref },
		"no reference":      func(a *store.Attempt) { a.Reference = "" },
		"no vendor":         func(a *store.Attempt) { a.Vendor = "" },
		"second before one": func(a *store.Attempt) { a.N = 2 },
		"other purchase":    func(a *store.Attempt) { a.Purchase = first.ID },
	} {
		a := nextAttempt(f, held, "mtn-direct")
		change(&a)
		_, err := f.db.Attempt(f.ctx, held, a)
		f.wantErr(name, err, store.ErrInvalid)
	}
	if p, attempts := f.stored(held.Ref); p != held || len(attempts) != 0 {
		f.Errorf("stored %+v with %+v", p, attempts)
	}
}

// oneLiveAttempt bypasses the store: the schema itself refuses.
func oneLiveAttempt(f *fixture) {
	f.fund(amina, 100_00)
	p, _ := f.begin(f.hold(f.order()), "mtn-direct")
	raw := f.raw()
	insert := func(n int, state string) error {
		_, err := raw.Exec(fmt.Sprintf(`INSERT INTO attempts (purchase_id, n, msisdn, vendor, reference, state, reason, http_status, vendor_ref, cost,
			detail, queries, not_found, started_at, finished_at) VALUES (%d, %d, '%s', 'v', 'r%d', '%s', '', 0, '', 0, '', 0, 0, 0, 0)`, p.ID, n, amina, n, state))
		return err
	}
	for i, state := range []string{store.Sending, store.Pending, store.Delivered} {
		if err := insert(2+i, state); err == nil {
			f.Errorf("a second attempt in %s is possible", state)
		}
	}
	for i, state := range []string{store.Declined, store.NotSent, store.Unavailable} {
		if err := insert(2+i, state); err != nil {
			f.Errorf("a second attempt in %s: %v", state, err)
		}
	}
}

func commissionByDate(f *fixture) {
	f.fund(amina, 300_00)
	change := f.now().Add(time.Hour)
	f.exec(fmt.Sprintf("INSERT INTO commissions (network, valid_from, bps) VALUES ('mtn', %d, 250)", change.UnixMilli()))
	for at, want := range map[time.Time]int{
		time.UnixMilli(1): 300, change.Add(-time.Millisecond): 300, change: 250, change.Add(time.Hour): 250,
	} {
		if bps, err := store.CommissionFor(f.ctx, f.db, "mtn", "", at); err != nil || bps != want {
			f.Errorf("at %v: %d, %v, want %d", at, bps, err, want)
		}
	}
	for network, want := range map[string]int{"mtn": 300, "airtel": 300, "glo": 400, "9mobile": 450} {
		if bps, err := store.CommissionFor(f.ctx, f.db, network, "", f.now()); err != nil || bps != want {
			f.Errorf("%s: %d, %v, want %d", network, bps, err, want)
		}
	}
	_, err := store.CommissionFor(f.ctx, f.db, "smile", "", f.now())
	f.wantErr("unknown network", err, store.ErrNotFound)

	// The rate is that of the capture, not of the hold.
	p, a := f.begin(f.hold(f.order()), "v")
	before := f.delivered(f.order(), "v")
	f.advance(time.Hour)
	after := f.finish(p, a, store.Delivered, store.Delivered)
	if before.CommissionBPS != 300 || before.Commission != 3_00 || after.CommissionBPS != 250 || after.Commission != 2_50 {
		f.Errorf("commissions %d of %d bps, then %d of %d bps", before.Commission, before.CommissionBPS, after.Commission, after.CommissionBPS)
	}
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

func commissionRounded(f *fixture) {
	f.fund(amina, 1000_00)
	f.exec("INSERT INTO commissions (network, valid_from, bps) VALUES ('all', 0, 10000)")
	for _, c := range []struct {
		network string
		amount  int64
		want    int64
	}{
		{"mtn", 33, 0}, {"mtn", 34, 1}, {"mtn", 199_99, 5_99}, {"9mobile", 111_11, 4_99}, {"all", 10_00, 10_00},
	} {
		order := f.order()
		order.Network, order.Amount = c.network, c.amount
		if p := f.delivered(order, "v"); p.Commission != c.want {
			f.Errorf("%s %d: commission %d, want %d", c.network, c.amount, p.Commission, c.want)
		}
	}
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

func noCommission(f *fixture) {
	f.fund(amina, 100_00)
	order := f.order()
	order.Network = "smile"
	if p := f.delivered(order, "v"); p.Commission != 0 || p.CommissionBPS != 0 {
		f.Errorf("%+v", p)
	}
	if log := f.log.String(); !strings.Contains(log, "no commission in force") || !strings.Contains(log, "network=smile") {
		f.Errorf("nobody was told: %s", log)
	}
	f.accounts(store.AccountTotal{Account: "float:v", Amount: 100_00}, store.AccountTotal{Account: "funding:test", Amount: -100_00},
		store.AccountTotal{Account: "hold:*"}, store.AccountTotal{Account: "wallet:*"})
}

func oddAnswers(f *fixture) {
	f.fund(amina, 100_00)
	p, a := f.begin(f.hold(f.order()), "v")
	long := strings.Repeat("é", 300)
	p.Reason, p.VendorRef, p.Cost = long, "\xff\x00"+long, -1
	a.Reason, a.VendorRef, a.Detail, a.Cost = long, p.VendorRef, "a\xc3", -1
	p = f.finish(p, a, store.Delivered, store.Delivered)
	if stored, _ := f.stored(p.Ref); stored != p {
		f.Errorf("returned %+v\nstored %+v", p, stored)
	}
	_, attempts := f.stored(p.Ref)
	if p.Reason != strings.Repeat("é", 64) || p.VendorRef != "\uFFFD\x00"+strings.Repeat("é", 126) ||
		attempts[0].VendorRef != p.VendorRef || attempts[0].Detail != "a\uFFFD" {
		f.Errorf("reason %q, vendor ref %q, attempt %+v", p.Reason, p.VendorRef, attempts[0])
	}
}

func purchasesListed(f *fixture) {
	f.fund(amina, 500_00)
	f.fund(bola, 500_00)
	f.delivered(f.order(), "v")
	f.advance(time.Minute)
	since := f.now()
	p, _ := f.begin(f.hold(f.order()), "v")
	f.hold(f.order())
	order := f.order()
	order.MSISDN = bola
	b := f.hold(order)
	if _, err := f.db.Release(f.ctx, b, ""); err != nil {
		f.Fatal(err)
	}
	for name, test := range map[string]struct {
		filter store.PurchaseFilter
		want   string
	}{
		"all":               {store.PurchaseFilter{}, "[failed held sending delivered]"},
		"payer":             {store.PurchaseFilter{MSISDN: amina}, "[held sending delivered]"},
		"state":             {store.PurchaseFilter{State: store.Failed}, "[failed]"},
		"unfinished":        {store.PurchaseFilter{Unfinished: true}, "[held sending]"},
		"since":             {store.PurchaseFilter{Since: since}, "[failed held sending]"},
		"first page":        {store.PurchaseFilter{Limit: 2}, "[failed held]"},
		"page after":        {store.PurchaseFilter{Before: p.ID, Limit: 2}, "[delivered]"},
		"several":           {store.PurchaseFilter{MSISDN: amina, Unfinished: true, Since: since, Limit: 1}, "[held]"},
		"nobody's":          {store.PurchaseFilter{MSISDN: "2340000000000"}, "[]"},
		"payer, none since": {store.PurchaseFilter{MSISDN: amina, Since: since.Add(time.Millisecond)}, "[]"},
	} {
		list, err := f.db.ListPurchases(f.ctx, test.filter)
		if err != nil {
			f.Fatal(err)
		}
		var states []string
		for _, p := range list {
			states = append(states, p.State)
		}
		if fmt.Sprint(states) != test.want {
			f.Errorf("%s: %v, want %s", name, states, test.want)
		}
	}
	_, _, err := f.db.Purchase(f.ctx, "TXN-0000000000000")
	f.wantErr("unknown reference", err, store.ErrNotFound)
}

func hundredBuyers(f *fixture) {
	const price, enoughFor = 100_00, 60
	f.fund(amina, enoughFor*price+99_99)
	orders := make([]store.Purchase, 100)
	for i := range orders {
		orders[i] = f.order()
	}
	var held, refused atomic.Int32
	times(len(orders), func(i int) {
		p, _, err := f.db.Hold(f.ctx, orders[i])
		switch {
		case errors.Is(err, store.ErrInsufficient):
			refused.Add(1)
			return
		case err != nil:
			f.Error(err)
			return
		}
		held.Add(1)
		p, err = f.db.Attempt(f.ctx, p, nextAttempt(f, p, "v"))
		if err != nil {
			f.Error(err)
			return
		}
		a := store.Attempt{Purchase: p.ID, N: 1, Vendor: "v", State: store.Delivered}
		next := store.Delivered
		if i%3 == 0 {
			a.State, next = store.Declined, store.Failed
		}
		if _, err := f.db.Record(f.ctx, p, a, next); err != nil {
			f.Error(err)
		}
	})
	// Releases give money back, so a few more than the balance allows at once
	// may be held.
	if held.Load() < enoughFor || held.Load()+refused.Load() != 100 {
		f.Errorf("%d held, %d refused", held.Load(), refused.Load())
	}
	sold, err := f.db.ListPurchases(f.ctx, store.PurchaseFilter{State: store.Delivered, Limit: 100})
	if err != nil {
		f.Fatal(err)
	}
	f.wallet(amina, enoughFor*price+99_99-int64(len(sold))*price, 0)
	if r := f.check(); r.Purchases != int(held.Load()) || r.Sum != 0 || len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

func twentyOneKey(f *fixture) {
	f.fund(amina, 1000_00)
	order := f.order()
	var created atomic.Int32
	var mu sync.Mutex
	refs := make(map[string]bool)
	times(20, func(int) {
		p := order
		p.ID = store.NewID()
		p.Ref = store.Ref(p.ID)
		stored, first, err := f.db.Hold(f.ctx, p)
		if err != nil {
			f.Error(err)
		}
		if first {
			created.Add(1)
		}
		mu.Lock()
		defer mu.Unlock()
		refs[stored.Ref] = true
	})
	if created.Load() != 1 || len(refs) != 1 {
		f.Errorf("created %d, seen %v", created.Load(), refs)
	}
	f.wallet(amina, 900_00, 100_00)
}

// oneKeyLastMoney: who comes second finds the wallet empty and still gets the
// purchase, not a refusal.
func oneKeyLastMoney(f *fixture) {
	f.fund(amina, 100_00)
	order := f.order()
	times(10, func(int) {
		p := order
		p.ID = store.NewID()
		p.Ref = store.Ref(p.ID)
		if stored, _, err := f.db.Hold(f.ctx, p); err != nil || stored.Key != order.Key {
			f.Errorf("%+v, %v", stored, err)
		}
	})
	f.wallet(amina, 0, 100_00)
}

func twoDecide(f *fixture) {
	f.fund(amina, 1000_00)
	for range 10 {
		p, a := f.begin(f.hold(f.order()), "v")
		var won, lost atomic.Int32
		times(4, func(i int) {
			mine, next := a, store.Delivered
			mine.State = store.Delivered
			if i%2 == 0 {
				mine.State, next = store.Declined, store.Failed
			}
			_, err := f.db.Record(f.ctx, p, mine, next)
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, store.ErrConflict):
				lost.Add(1)
			default:
				f.Error(err)
			}
		})
		if won.Load() != 1 || lost.Load() != 3 {
			f.Errorf("%d won, %d lost", won.Load(), lost.Load())
		}
	}
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

func twoMove(f *fixture) {
	f.fund(amina, 10_000_00)
	for range 20 {
		p := f.hold(f.order())
		var won, lost atomic.Int32
		times(4, func(i int) {
			a := nextAttempt(f, p, "v")
			a.Reference += fmt.Sprint("-by-", i)
			var err error
			if i%2 == 0 {
				_, err = f.db.Release(f.ctx, p, "")
			} else {
				_, err = f.db.Attempt(f.ctx, p, a)
			}
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, store.ErrConflict):
				lost.Add(1)
			default:
				f.Error(err)
			}
		})
		if won.Load() != 1 || lost.Load() != 3 {
			f.Errorf("%d won, %d lost", won.Load(), lost.Load())
		}
	}
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

func twoPrograms(f *fixture) {
	f.fund(amina, 30*100_00)
	dbs := []*store.DB{f.db, f.open()}
	orders := make([]store.Purchase, 40)
	for i := range orders {
		orders[i] = f.order()
	}
	var held, refused atomic.Int32
	times(len(orders), func(i int) {
		// Each order reaches both.
		_, created, err := dbs[i%2].Hold(f.ctx, orders[i/2*2])
		switch {
		case errors.Is(err, store.ErrInsufficient):
			refused.Add(1)
		case err != nil:
			f.Error(err)
		case created:
			held.Add(1)
		}
	})
	if held.Load() != 20 || refused.Load() != 0 {
		f.Errorf("%d held, %d refused", held.Load(), refused.Load())
	}
	f.wallet(amina, 10*100_00, 20*100_00)
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

// due is what the owner is given, by reference, each checked to be as stored.
func (f *fixture) due(owner string, limit int) []string {
	f.Helper()
	list, err := f.db.Due(f.ctx, owner, f.now(), limit)
	if err != nil {
		f.Fatal(err)
	}
	refs := []string{}
	for _, p := range list {
		refs = append(refs, p.Ref)
		if stored, _ := f.stored(p.Ref); stored != p || p.Owner != owner {
			f.Errorf("given %+v\nstored %+v", p, stored)
		}
	}
	return refs
}

func (f *fixture) wantDue(what, owner string, limit int, want ...store.Purchase) {
	f.Helper()
	refs := []string{}
	for _, p := range want {
		refs = append(refs, p.Ref)
	}
	if got := f.due(owner, limit); fmt.Sprint(got) != fmt.Sprint(refs) {
		f.Errorf("%s: due %v, want %v", what, got, refs)
	}
}

func (f *fixture) renew(owner string, d time.Duration) {
	f.Helper()
	if err := f.db.Renew(f.ctx, owner, f.now().Add(d)); err != nil {
		f.Fatal(err)
	}
}

func dueOwn(f *fixture) {
	f.fund(amina, 1000_00)
	f.renew(self, time.Hour)
	late, soon := f.order(), f.order()
	late.NextAt, soon.NextAt = f.now().Add(20*time.Second), f.now().Add(10*time.Second)
	held := f.hold(late)
	sending, a := f.begin(f.hold(soon), "v")
	done := f.delivered(f.order(), "v")
	f.wantDue("at once", self, 10)

	f.advance(20*time.Second - time.Millisecond)
	f.wantDue("too early for both", self, 10)
	f.advance(time.Millisecond)
	f.wantDue("the held one", self, 10, held)
	f.wantDue("again", self, 10, held)
	f.advance(40 * time.Second)
	f.wantDue("both, the earliest first", self, 10, held, sending)
	f.wantDue("one", self, 1, held)
	f.wantDue("not somebody else's", other, 10)

	sending.NextAt = f.now().Add(time.Second)
	pending := f.finish(sending, a, store.Pending, store.Pending)
	f.wantDue("one put off", self, 10, held)
	f.advance(time.Second)
	f.wantDue("a pending one", self, 10, held, pending)
	_ = done
}

func dueAdopts(f *fixture) {
	f.fund(amina, 1000_00)
	f.renew(other, 30*time.Second)
	mine := func(nextAt time.Duration) store.Purchase {
		p := f.order()
		p.Owner, p.NextAt = other, f.now().Add(nextAt)
		return f.hold(p)
	}
	held := mine(3 * time.Hour)
	sending, _ := f.begin(mine(0), "v") // due in a minute
	f.delivered(func() store.Purchase { p := f.order(); p.Owner = other; return p }(), "v")
	f.wantDue("its lease lasts", self, 10)
	f.advance(30*time.Second - time.Millisecond)
	f.wantDue("for a millisecond more", self, 10)
	f.renew(other, 30*time.Second)
	f.advance(time.Millisecond)
	f.wantDue("it was renewed", self, 10)
	f.renew(other, 0)
	f.wantDue("given up; the earliest", self, 1, sending)
	f.wantDue("the rest, not yet due", self, 10, held)
	f.wantDue("adopted once", self, 10)

	_, err := f.db.Attempt(f.ctx, held, nextAttempt(f, held, "v"))
	f.wantErr("the old owner goes on", err, store.ErrConflict)
	f.advance(3 * time.Hour)
	f.wantDue("as its own in time", self, 10, sending, held)

	orphan := f.order()
	orphan.Owner = "never had a lease"
	orphan = f.hold(orphan)
	f.wantDue("of an owner without a lease", self, 10, sending, held, orphan)
	for _, owner := range []string{"", strings.Repeat("x", 129)} {
		_, err := f.db.Due(f.ctx, owner, f.now(), 1)
		f.wantErr("odd owner", err, store.ErrInvalid)
	}
}

func dueConcurrent(f *fixture) {
	f.fund(amina, 10_000_00)
	for range 30 {
		p := f.order()
		p.Owner = "dead"
		f.hold(p)
	}
	dbs := []*store.DB{f.db, f.open()}
	var mu sync.Mutex
	given := make(map[string][]string)
	times(6, func(i int) {
		owner := fmt.Sprint("heir-", i)
		if err := dbs[i%2].Renew(f.ctx, owner, f.now().Add(time.Hour)); err != nil {
			f.Error(err)
		}
		for {
			list, err := dbs[i%2].Due(f.ctx, owner, f.now(), 7)
			if err != nil {
				f.Error(err)
			}
			mu.Lock()
			for _, p := range list {
				given[p.Ref] = append(given[p.Ref], owner)
			}
			n := len(given)
			mu.Unlock()
			if n == 30 || err != nil {
				return
			}
		}
	})
	for ref, owners := range given {
		if p, _ := f.stored(ref); len(owners) != 1 || p.Owner != owners[0] || p.Version != 2 {
			f.Errorf("%s was given to %v and is %+v", ref, owners, p)
		}
	}
}

func leases(f *fixture) {
	count := func() (n int) {
		if err := f.raw().QueryRow("SELECT COUNT(*) FROM instances").Scan(&n); err != nil {
			f.Fatal(err)
		}
		return n
	}
	f.renew(self, time.Minute)
	f.renew(self, 2*time.Minute)
	if n := count(); n != 1 {
		f.Errorf("%d leases of one owner", n)
	}
	f.advance(24*time.Hour + 2*time.Minute)
	f.renew(other, time.Minute)
	if n := count(); n != 2 {
		f.Errorf("%d leases, a lease is gone too early", n)
	}
	f.advance(time.Minute)
	f.renew("instance-3", time.Minute)
	if n := count(); n != 2 {
		f.Errorf("%d leases, the first should have gone", n)
	}
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	f.wantErr("cancelled", f.db.Renew(ctx, self, f.now()), context.Canceled)
	f.wantErr("no owner", f.db.Renew(f.ctx, "", f.now()), store.ErrInvalid)
}
