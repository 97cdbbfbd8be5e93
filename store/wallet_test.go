package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"ussdd/store"
)

func walletOpened(f *fixture) {
	const chidi = "2348091234567"
	open := func(msisdns ...string) error { return f.db.OpenWallets(f.ctx, msisdns) }
	f.wantErr("nobody", open(), nil)
	f.wantErr("first", open(amina), nil)
	opened := f.now()
	f.advance(time.Hour)
	f.wantErr("again, and another twice", open(amina, chidi, chidi), nil)
	w, err := f.db.Wallet(f.ctx, amina)
	if want := (store.Wallet{MSISDN: amina, OpenedAt: opened}); err != nil || w != want {
		f.Errorf("wallet %+v, %v, want %+v", w, err, want)
	}
	_, err = f.db.Wallet(f.ctx, bola)
	f.wantErr("wallet that is not there", err, store.ErrNotFound)
	if strings.Contains(err.Error(), bola) {
		f.Errorf("the error shows the number: %v", err)
	}
	for _, msisdn := range []string{"", "1234", "+2348031234567", "234803123456789012345", "0803 123 4567"} {
		f.wantErr(fmt.Sprintf("open %q", msisdn), open(bola, msisdn), store.ErrInvalid)
	}
	_, err = f.db.Wallet(f.ctx, bola)
	f.wantErr("beside one that is refused", err, store.ErrNotFound)

	many := []string{chidi}
	for i := range 1200 {
		many = append(many, fmt.Sprint(2347000000000+i))
	}
	times(4, func(int) { f.wantErr("many at once", open(many...), nil) })
	list, err := f.db.ListWallets(f.ctx, store.WalletFilter{Limit: 2000})
	if err != nil || len(list) != len(many)+1 {
		f.Errorf("%d wallets, %v, want %d", len(list), err, len(many)+1)
	}
}

func walletsListed(f *fixture) {
	var want []string
	for i := range 5 {
		msisdn := fmt.Sprint("23480312345", 60+i)
		want = append(want, msisdn)
		f.fund(msisdn, int64(i+1))
	}
	var got []string
	for after := ""; ; {
		page, err := f.db.ListWallets(f.ctx, store.WalletFilter{After: after, Limit: 2})
		if err != nil {
			f.Fatal(err)
		}
		for _, w := range page {
			got = append(got, w.MSISDN)
		}
		if len(page) < 2 {
			break
		}
		after = page[1].MSISDN
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		f.Errorf("listed %v, want %v", got, want)
	}
}

func creditOnce(f *fixture) {
	if err := f.db.OpenWallets(f.ctx, []string{amina}); err != nil {
		f.Fatal(err)
	}
	opened := f.now()
	f.advance(time.Hour)
	for i, want := range []bool{true, false} {
		credited, w, err := f.db.Credit(f.ctx, store.Operation{Operator: "ngozi", Reason: "paid in cash"}, amina, 500_00, "operator", "slip 1")
		if err != nil || credited != want || w != (store.Wallet{MSISDN: amina, Balance: 500_00, OpenedAt: opened}) {
			f.Errorf("call %d: credited %v, wallet %+v, %v", i+1, credited, w, err)
		}
	}
	// The same reference from elsewhere is another payment; case matters; a
	// wallet that is not there is opened.
	for _, c := range []struct{ msisdn, source, reference string }{
		{amina, "bank", "slip 1"}, {amina, "operator", "SLIP 1"}, {bola, "operator", "slip 2"},
	} {
		if credited, _, err := f.db.Credit(f.ctx, by("ngozi"), c.msisdn, 1, c.source, c.reference); err != nil || !credited {
			f.Errorf("%+v: credited %v, %v", c, credited, err)
		}
	}
	f.wallet(amina, 500_02, 0)
	f.wallet(bola, 1, 0)
	log, err := f.db.ListAudit(f.ctx, "operator:slip 1", 0)
	if err != nil || len(log) != 1 || log[0].Operator != "ngozi" || log[0].Action != "wallet credit 50000 kobo to "+amina || log[0].Reason != "paid in cash" {
		f.Errorf("audit %+v, %v", log, err)
	}
	f.accounts(store.AccountTotal{Account: "funding:bank", Amount: -1}, store.AccountTotal{Account: "funding:operator", Amount: -500_02},
		store.AccountTotal{Account: "wallet:*", Amount: 500_03})
}

func creditRefuses(f *fixture) {
	f.fund(amina, 100)
	if _, _, err := f.db.Credit(f.ctx, by("ngozi"), amina, 100, "operator", "slip"); err != nil {
		f.Fatal(err)
	}
	for _, c := range []struct {
		msisdn            string
		amount            int64
		source, reference string
		want              error
	}{
		{amina, 101, "operator", "slip", store.ErrMismatch},
		{bola, 100, "operator", "slip", store.ErrMismatch},
		{amina, 0, "operator", "a", store.ErrInvalid},
		{amina, -100, "operator", "a", store.ErrInvalid},
		{amina, 1_000_000_000_001, "operator", "a", store.ErrInvalid},
		{"0803", 100, "operator", "a", store.ErrInvalid},
		{amina, 100, "", "a", store.ErrInvalid},
		{amina, 100, "a:b", "c", store.ErrInvalid},
		{amina, 100, "operator", "", store.ErrInvalid},
		{amina, 100, "operator", "slip ", store.ErrInvalid},
		{amina, 100, "operator", strings.Repeat("x", 121), store.ErrInvalid},
		{amina, 100, "operator", "\xff", store.ErrInvalid},
	} {
		_, _, err := f.db.Credit(f.ctx, by("ngozi"), c.msisdn, c.amount, c.source, c.reference)
		f.wantErr(fmt.Sprintf("%+v", c), err, c.want)
	}
	f.wallet(amina, 200, 0)
	if _, err := f.db.Wallet(f.ctx, bola); err == nil {
		f.Error("a refused credit opened a wallet")
	}
	if r := f.check(); r.Entries != 2 || r.Postings != 4 || len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r)
	}
}

func creditApproved(f *fixture) {
	if err := f.db.SetTwoPersons(f.ctx, by("ngozi"), true); err != nil {
		f.Fatal(err)
	}
	credit := func(op store.Operation, amount int64) (bool, error) {
		credited, _, err := f.db.Credit(f.ctx, op, amina, amount, "bank", "slip 1")
		return credited, err
	}
	approval := approvedBy("tunde", "tunde-pc")
	_, err := credit(by("ngozi"), 500_00)
	f.wantErr("one person", err, store.ErrApproval)
	_, err = credit(approval, 500_01)
	f.wantErr("approval of another amount", err, store.ErrNotFound)
	if _, err := f.db.Wallet(f.ctx, amina); !errors.Is(err, store.ErrNotFound) {
		f.Errorf("a wallet before the approval: %v", err)
	}
	for i, op := range []store.Operation{approval, approval, by("ngozi")} {
		if credited, err := credit(op, 500_00); err != nil || credited != (i == 0) {
			f.Errorf("call %d after the request: credited %v, %v", i+1, credited, err)
		}
	}
	f.wallet(amina, 500_00, 0)
	log, err := f.db.ListAudit(f.ctx, "bank:slip 1", 0)
	if err != nil || len(log) != 2 || log[0].Operator != "tunde" || log[0].Detail != "asked for by ngozi" {
		f.Errorf("audit %+v, %v", log, err)
	}
}

func creditsAtOnce(f *fixture) {
	var credited atomic.Int32
	times(20, func(i int) {
		// Half of them repeat one payment, in a wallet that none has opened.
		reference := "same"
		if i%2 == 0 {
			reference = fmt.Sprint("own-", i)
		}
		first, _, err := f.db.Credit(f.ctx, by("ngozi"), amina, 10, "bank", reference)
		if err != nil {
			f.Error(err)
		}
		if first && reference == "same" {
			credited.Add(1)
		}
	})
	if credited.Load() != 1 {
		f.Errorf("one payment was credited %d times", credited.Load())
	}
	if log, err := f.db.ListAudit(f.ctx, "bank:same", 0); err != nil || len(log) != 1 {
		f.Errorf("audit %+v, %v", log, err)
	}
	f.wallet(amina, 110, 0)
	f.accounts(store.AccountTotal{Account: "funding:bank", Amount: -110}, store.AccountTotal{Account: "wallet:*", Amount: 110})
}
