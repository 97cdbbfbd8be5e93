package store_test

import (
	"fmt"
	"strings"
	"time"

	"ussdd/store"
)

// inReview brings a purchase of N100 there.
func inReview(f *fixture) (store.Purchase, store.Attempt) {
	f.Helper()
	f.fund(amina, 100_00)
	p, a := f.begin(f.hold(f.order()), "v")
	p = f.finish(p, a, store.Pending, store.Pending)
	f.advance(23 * time.Hour)
	return f.finish(p, a, store.Pending, store.Review), a
}

func vendorsReport(f *fixture) {
	report := func(what, vendor, reference string, want bool) {
		f.Helper()
		if soon, err := f.db.AskSoon(f.ctx, vendor, reference, ""); err != nil || soon != want {
			f.Errorf("%s: %v, %v", what, soon, err)
		}
	}
	f.fund(amina, 100_00)
	p, a := f.begin(f.hold(f.order()), "v")
	report("while it is sent", "v", a.Reference, false)
	p.NextAt = f.now().Add(30 * time.Minute)
	p = f.finish(p, a, store.Pending, store.Pending)

	report("a moment later", "v", a.Reference, true)
	f.wantDue("in its quiet", self, 10)
	f.advance(5 * time.Second)
	due, err := f.db.Due(f.ctx, self, f.now(), 10)
	if err != nil || len(due) != 1 || due[0].Version != p.Version {
		f.Errorf("due %+v, %v", due, err)
	}
	report("it is due already", "v", a.Reference, false)
	for _, of := range [][2]string{{"w", a.Reference}, {"v", "TXN-X"}} {
		_, err := f.db.AskSoon(f.ctx, of[0], of[1], "")
		f.wantErr("unknown", err, store.ErrNotFound)
	}

	p = f.finish(due[0], a, store.Declined, store.Failed)
	if err := f.db.Rechecked(f.ctx, p, true); err != nil {
		f.Error(err)
	}
	report("what is just decided", "v", a.Reference, false)
	f.advance(time.Minute)
	report("what is decided", "v", a.Reference, true)
	if due, err := f.db.Rechecks(f.ctx, self, f.now(), f.now().Add(time.Hour), 10); err != nil || len(due) != 1 || due[0] != p {
		f.Errorf("rechecks %+v, %v", due, err)
	}
}

// vendorsReportTheirs: a report has what the vendor's answer named the sale, of two
// sales under one name the newer is meant, and "" names none.
func vendorsReportTheirs(f *fixture) {
	f.fund(amina, 1000_00)
	pending := func(vendor, vendorRef string) store.Purchase {
		o := f.order()
		o.Again = true
		p, a := f.begin(f.hold(o), vendor)
		p.NextAt, a.VendorRef = f.now().Add(30*time.Minute), vendorRef
		return f.finish(p, a, store.Pending, store.Pending)
	}
	first, old, young, _ := pending("v", "V-1"), pending("v", "None"), pending("v", "None"), pending("v", "")
	f.wantDue("before", self, 10)
	f.advance(5 * time.Second)
	for _, of := range [][3]string{{"v", "", "V-2"}, {"w", "", "V-1"}, {"v", "V-1", ""}, {"v", "", ""}, {"v", "V-2", "V-1"}} {
		if soon, err := f.db.AskSoon(f.ctx, of[0], of[1], of[2]); soon {
			f.Errorf("%q: %v, %v", of, soon, err)
		} else {
			f.wantErr("unknown", err, store.ErrNotFound)
		}
	}
	for i, want := range []string{first.Ref, young.Ref} {
		if soon, err := f.db.AskSoon(f.ctx, "v", "", []string{"V-1", "None"}[i]); err != nil || !soon {
			f.Errorf("%s: %v, %v", want, soon, err)
		}
	}
	due, err := f.db.Due(f.ctx, self, f.now(), 10)
	if err != nil || len(due) != 2 || due[0].Ref != first.Ref || due[1].Ref != young.Ref {
		f.Errorf("due %+v, %v", due, err)
	}
	if p, _ := f.stored(old.Ref); p.NextAt.Equal(f.now()) {
		f.Errorf("%+v is asked about, too", p)
	}
}

func by(name string) store.Operation {
	return store.Operation{Operator: name, Login: name + "-pc", Reason: "ticket 7"}
}

func approvedBy(name, login string) store.Operation {
	return store.Operation{Operator: name, Login: login, Approve: true}
}

func total(account string, amount int64) store.AccountTotal {
	return store.AccountTotal{Account: account, Amount: amount}
}

func reviewWaits(f *fixture) {
	p, _ := inReview(f)
	if due, err := f.db.Due(f.ctx, self, f.now().Add(time.Hour), 10); err != nil || len(due) != 0 {
		f.Errorf("due %+v, %v", due, err)
	}
	f.wallet(amina, 0, 100_00)
	f.wantOpen("in review", p, func(*store.Purchase) {})
	c, err := f.db.Clocks(f.ctx)
	if want := (store.Clocks{Open: 1, Review: 1, OldestUnsure: 23 * time.Hour}); err != nil || c != want {
		f.Errorf("clocks %+v, %v, want %+v", c, err, want)
	}
	f.advance(time.Hour + time.Second)
	if c, err = f.db.Clocks(f.ctx); err != nil || c.DecisionsLate != 1 {
		f.Errorf("clocks %+v, %v", c, err)
	}
	q, err := f.db.QueryNow(f.ctx, by("ngozi"), p.Ref)
	if err != nil || q.State != store.Pending || !q.NextAt.Equal(f.now()) {
		f.Errorf("query now: %+v, %v", q, err)
	}
	due, err := f.db.Due(f.ctx, self, f.now(), 10)
	if err != nil || len(due) != 1 || due[0] != q {
		f.Errorf("due %+v, %v", due, err)
	}
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("ledger %+v", r.Violations)
	}
}

func reviewResolved(f *fixture) {
	p, _ := inReview(f)
	p, err := f.db.Resolve(f.ctx, by("ngozi"), p.Ref, store.Delivered)
	if err != nil || p.State != store.Delivered || p.Commission != 3_00 || p.DecidedAt.IsZero() {
		f.Errorf("resolved %+v, %v", p, err)
	}
	_, err = f.db.Resolve(f.ctx, by("ngozi"), p.Ref, store.Failed)
	f.wantErr("resolve again", err, store.ErrConflict)
	_, err = f.db.Refund(f.ctx, by("ngozi"), p.Ref)
	f.wantErr("refund of what was delivered", err, store.ErrConflict)
	f.wallet(amina, 0, 0)
	f.accounts(total("float:v", 97_00), total("funding:test", -100_00), total("hold:*", 0), total("revenue:mtn", 3_00), total("wallet:*", 0))

	q, _ := inReview(f)
	q, err = f.db.Resolve(f.ctx, by("ngozi"), q.Ref, store.Failed)
	if err != nil || q.State != store.Failed || q.Reason != store.ByHand {
		f.Errorf("resolved %+v, %v", q, err)
	}
	f.wallet(amina, 100_00, 0)
	for name, op := range map[string]store.Operation{"no reason": {Operator: "ngozi"}, "no operator": {Reason: "x"}} {
		_, err = f.db.Resolve(f.ctx, op, q.Ref, store.Late)
		f.wantErr(name, err, store.ErrInvalid)
	}
	_, err = f.db.Resolve(f.ctx, by("ngozi"), q.Ref, "lost")
	f.wantErr("unknown state", err, store.ErrInvalid)
	log, err := f.db.ListAudit(f.ctx, "", 0)
	if err != nil || len(log) != 4 || log[0].Action != "purchase resolve failed" || log[2].Subject != p.Ref || log[2].Reason != "ticket 7" {
		f.Errorf("audit %+v, %v", log, err)
	}
	acted := store.Operation{Operator: "ngozi", Reason: "their call", Action: "breaker open", Subject: "breaker quickvend"}
	if err := f.db.Acted(f.ctx, acted, "until noon"); err != nil {
		f.Error(err)
	}
	f.wantErr("no reason", f.db.Acted(f.ctx, store.Operation{Operator: "ngozi", Action: "breaker open"}, ""), store.ErrInvalid)
	log, err = f.db.ListAudit(f.ctx, "breaker quickvend", 0)
	if err != nil || len(log) != 1 || log[0].Operator != "ngozi" || log[0].Action != "breaker open" || log[0].Reason != "their call" || log[0].Detail != "until noon" {
		f.Errorf("audit %+v, %v", log, err)
	}
}

// refundedInDoubt: what the vendor may have taken is in dispute until its word
// comes.
func refundedInDoubt(f *fixture) {
	p, a := inReview(f)
	p, err := f.db.Refund(f.ctx, by("ngozi"), p.Ref)
	if err != nil || p.State != store.Failed {
		f.Fatalf("refunded %+v, %v", p, err)
	}
	disputed := []store.AccountTotal{total("float:v", 97_00), total("funding:test", -100_00), total("hold:*", 0),
		total("suspense:disputed_vends", -97_00), total("wallet:*", 100_00)}
	if r := f.check(); fmt.Sprint(r.Accounts) != fmt.Sprint(disputed) {
		f.Errorf("accounts %v, want %v", r.Accounts, disputed)
	}
	// Our money does not cover a dispute yet: the books say so.
	if r := f.check(); len(r.Violations) != 0 || r.Uncovered != 97_00 {
		f.Errorf("violations %+v, uncovered %d", r.Violations, r.Uncovered)
	}
	due, err := f.db.Rechecks(f.ctx, self, f.now().Add(time.Hour), f.now().Add(2*time.Hour), 10)
	if err != nil || len(due) != 1 || due[0] != p {
		f.Errorf("rechecks %+v, %v", due, err)
	}
	if due, err = f.db.Rechecks(f.ctx, self, f.now().Add(time.Hour), f.now().Add(2*time.Hour), 10); err != nil || len(due) != 0 {
		f.Errorf("rechecks given twice: %+v, %v", due, err)
	}
	f.renew(self, 3*time.Hour)
	later := f.now().Add(2 * time.Hour)
	if due, err = f.db.Rechecks(f.ctx, other, later, later, 10); err != nil || len(due) != 0 {
		f.Errorf("rechecks of another: %+v, %v", due, err)
	}
	f.renew(self, 0)
	due, err = f.db.Rechecks(f.ctx, other, later, later.Add(time.Hour), 10)
	if err != nil || len(due) != 1 || due[0].Owner != other || due[0].Version != p.Version+1 || due[0].ID != p.ID {
		f.Fatalf("rechecks of one without a lease: %+v, %v", due, err)
	}
	late := a
	late.State, late.VendorRef, late.Cost = store.Late, "V-9", 97_00
	_, err = f.db.Turn(f.ctx, p, late)
	f.wantErr("the old owner goes on", err, store.ErrConflict)
	p = due[0]
	_, err = f.db.Rechecks(f.ctx, "", later, later, 10)
	f.wantErr("no owner", err, store.ErrInvalid)
	if _, err := f.db.TopUp(f.ctx, by("ngozi"), "v", 1000_00, "equity:opening", "t-1"); err != nil {
		f.Error(err)
	}
	floats, err := f.db.Floats(f.ctx)
	if err != nil || len(floats) != 1 || floats[0] != (store.Float{Vendor: "v", ToppedUp: 1000_00, Disputed: 97_00}) || floats[0].Balance() != 903_00 {
		f.Errorf("floats %+v, %v", floats, err)
	}
	p, err = f.db.Turn(f.ctx, p, late)
	if err != nil || p.State != store.Late {
		f.Fatalf("turned %+v, %v", p, err)
	}
	f.wallet(amina, 100_00, 0)
	f.accounts(total("equity:opening", 1000_00), total("float:v", 97_00-1000_00), total("funding:test", -100_00), total("hold:*", 0),
		total("loss:late_delivery", -97_00), total("suspense:disputed_vends", 0), total("wallet:*", 100_00))
	floats, err = f.db.Floats(f.ctx)
	if err != nil || len(floats) != 1 || floats[0] != (store.Float{Vendor: "v", ToppedUp: 1000_00, Used: 97_00}) {
		f.Errorf("floats after the delivery came out %+v, %v", floats, err)
	}
	_, err = f.db.Turn(f.ctx, p, late)
	f.wantErr("turned twice", err, store.ErrConflict)
}

func disputeEnds(f *fixture) {
	p, _ := inReview(f)
	p, err := f.db.Refund(f.ctx, by("ngozi"), p.Ref)
	if err != nil {
		f.Fatal(err)
	}
	for range 2 {
		if err := f.db.Rechecked(f.ctx, p, true); err != nil {
			f.Error(err)
		}
	}
	f.accounts(total("float:v", 0), total("funding:test", -100_00), total("hold:*", 0), total("suspense:disputed_vends", 0), total("wallet:*", 100_00))
	if due, err := f.db.Rechecks(f.ctx, self, f.now().Add(100*time.Hour), f.now(), 10); err != nil || len(due) != 0 {
		f.Errorf("rechecks %+v, %v", due, err)
	}
}

// disputeEndedByHand: a vendor that never answers cannot keep a dispute open, nor does
// a person's word keep its truth out of the books.
func disputeEndedByHand(f *fixture) {
	p, a := inReview(f)
	p, err := f.db.Refund(f.ctx, by("ngozi"), p.Ref)
	if err != nil {
		f.Fatal(err)
	}
	p, err = f.db.Resolve(f.ctx, by("ngozi"), p.Ref, store.Failed)
	if err != nil || p.State != store.Failed {
		f.Fatalf("resolved %+v, %v", p, err)
	}
	f.accounts(total("float:v", 0), total("funding:test", -100_00), total("hold:*", 0), total("suspense:disputed_vends", 0), total("wallet:*", 100_00))
	_, err = f.db.Resolve(f.ctx, by("ngozi"), p.Ref, store.Failed)
	f.wantErr("ended twice", err, store.ErrConflict)
	a.State, a.Cost = store.Late, 97_00
	if p, err = f.db.Turn(f.ctx, p, a); err != nil || p.State != store.Late {
		f.Errorf("turned %+v, %v", p, err)
	}
	f.accounts(total("float:v", 97_00), total("funding:test", -100_00), total("hold:*", 0), total("loss:late_delivery", -97_00),
		total("suspense:disputed_vends", 0), total("wallet:*", 100_00))
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("violations %+v", r.Violations)
	}
}

// disputeMeetsTruth: a dispute is over once, by the vendor's word or by a delivery
// that an operator has booked while the vendor was being asked.
func disputeMeetsTruth(f *fixture) {
	p, _ := inReview(f)
	asked, err := f.db.Refund(f.ctx, by("ngozi"), p.Ref)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := f.db.Resolve(f.ctx, by("ngozi"), p.Ref, store.Late); err != nil {
		f.Fatal(err)
	}
	f.wantErr("the vendor had taken nothing", f.db.Rechecked(f.ctx, asked, true), nil)
	f.accounts(total("float:v", 97_00), total("funding:test", -100_00), total("hold:*", 0), total("loss:late_delivery", -97_00),
		total("suspense:disputed_vends", 0), total("wallet:*", 100_00))
}

// otherDisputeEnds: a dispute with one vendor is over although another delivered.
func otherDisputeEnds(f *fixture) {
	f.fund(amina, 100_00)
	p, first := f.begin(f.hold(f.order()), "v")
	p, a := f.begin(f.finish(p, first, store.NotSent, store.Held), "w")
	p = f.finish(p, a, store.Pending, store.Pending)
	p, err := f.db.Refund(f.ctx, by("ngozi"), p.Ref)
	if err != nil {
		f.Fatal(err)
	}
	old := p
	first.State = store.Late
	if p, err = f.db.Turn(f.ctx, p, first); err != nil {
		f.Fatal(err)
	}
	f.wantErr("of before", f.db.Rechecked(f.ctx, old, true), store.ErrConflict)
	f.wantErr("w took nothing", f.db.Rechecked(f.ctx, p, true), nil)
	f.accounts(total("float:v", 97_00), total("float:w", 0), total("funding:test", -100_00), total("hold:*", 0), total("loss:late_delivery", -97_00),
		total("suspense:disputed_vends", 0), total("wallet:*", 100_00))
}

// deliveredAndReversed: of two attempts the one that was captured is reversed, and
// the other delivered; whichever comes out first.
func deliveredAndReversed(f *fixture) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		f.fund(amina, 100_00)
		p, first := f.begin(f.hold(f.order()), "v")
		p, second := f.begin(f.finish(p, first, store.NotSent, store.Held), "w")
		p = f.finish(p, second, store.Delivered, store.Delivered)
		first.State, second.State = store.Late, store.Reversed
		for _, i := range order {
			var err error
			if p, err = f.db.Turn(f.ctx, p, []store.Attempt{first, second}[i]); err != nil {
				f.Fatal(err)
			}
		}
		if p.State != store.Reversed {
			f.Errorf("it is %s", p.State)
		}
	}
	f.wallet(amina, 200_00, 0)
	f.accounts(total("float:v", 194_00), total("float:w", 0), total("funding:test", -200_00), total("hold:*", 0), total("loss:double_delivery", -97_00),
		total("loss:late_delivery", -97_00), total("revenue:mtn", 0), total("wallet:*", 200_00))
	if v := f.check().Violations; len(v) != 0 {
		f.Errorf("violations %+v", v)
	}
}

// reportedInReview: a vendor's report about a purchase that waits for a person has
// the vendor asked once more.
func reportedInReview(f *fixture) {
	p, a := inReview(f)
	if soon, err := f.db.AskSoon(f.ctx, "v", a.Reference, ""); err != nil || soon {
		f.Errorf("a moment later: %v, %v", soon, err)
	}
	f.advance(time.Minute)
	if soon, err := f.db.AskSoon(f.ctx, "v", a.Reference, ""); err != nil || !soon {
		f.Errorf("reported: %v, %v", soon, err)
	}
	due, err := f.db.Due(f.ctx, self, f.now(), 10)
	if err != nil || len(due) != 1 || due[0].ID != p.ID || due[0].State != store.Pending || due[0].UnsureAt != p.UnsureAt {
		f.Fatalf("due %+v, %v", due, err)
	}
	f.finish(due[0], a, store.Delivered, store.Delivered)
	f.wallet(amina, 0, 0)
}

func deliveredAfterRelease(f *fixture) {
	f.fund(bola, 1) // keeps the sum of the wallets from being that of one
	f.fund(amina, 100_00)
	p, a := f.begin(f.hold(f.order()), "v")
	p = f.finish(p, a, store.Declined, store.Failed)
	late := a
	late.State = store.Delivered
	_, err := f.db.Turn(f.ctx, p, late)
	f.wantErr("turn to delivered", err, store.ErrInvalid)
	late.State = store.Reversed
	_, err = f.db.Turn(f.ctx, p, late)
	f.wantErr("reversal of what failed", err, store.ErrInvalid)
	late.State = store.Late
	old := p
	p, err = f.db.Turn(f.ctx, p, late)
	if err != nil || p.State != store.Late || !p.DecidedAt.Equal(old.DecidedAt) {
		f.Errorf("turned %+v, %v", p, err)
	}
	_, err = f.db.Turn(f.ctx, old, late)
	f.wantErr("old version", err, store.ErrConflict)
	f.wallet(amina, 100_00, 0)
	if r := f.check(); len(r.Violations) != 0 || r.Uncovered != 97_00 {
		f.Errorf("violations %+v, uncovered %d", r.Violations, r.Uncovered)
	}
	if _, err := f.db.TopUp(f.ctx, by("ngozi"), "v", 97_00, "equity:owner", "cover"); err != nil {
		f.Fatal(err)
	}
	if r := f.check(); len(r.Violations) != 0 || r.Uncovered != 0 {
		f.Errorf("violations %+v, uncovered %d", r.Violations, r.Uncovered)
	}
}

func deliveredTwice(f *fixture) {
	f.fund(amina, 100_00)
	p, first := f.begin(f.hold(f.order()), "v")
	p = f.finish(p, first, store.NotSent, store.Held)
	p, a := f.begin(p, "w")
	p = f.finish(p, a, store.Delivered, store.Delivered)
	first.State = store.Late
	turned, err := f.db.Turn(f.ctx, p, first)
	if err != nil || turned.State != store.Delivered || !turned.DecidedAt.Equal(p.DecidedAt) {
		f.Errorf("turned %+v, %v", turned, err)
	}
	r := f.check()
	want := []store.AccountTotal{total("float:v", 97_00), total("float:w", 97_00), total("funding:test", -100_00), total("hold:*", 0),
		total("loss:double_delivery", -97_00), total("revenue:mtn", 3_00), total("wallet:*", 0)}
	if fmt.Sprint(r.Accounts) != fmt.Sprint(want) || len(r.Violations) != 0 || r.Uncovered != 94_00 {
		f.Errorf("accounts %v, violations %v", r.Accounts, r.Violations)
	}
}

func reversedAfterCapture(f *fixture) {
	f.fund(amina, 100_00)
	p := f.delivered(f.order(), "v")
	_, attempts := f.stored(p.Ref)
	a := attempts[0]
	a.State = store.Reversed
	p, err := f.db.Turn(f.ctx, p, a)
	if err != nil || p.State != store.Reversed || p.Commission != 3_00 {
		f.Errorf("turned %+v, %v", p, err)
	}
	f.wallet(amina, 100_00, 0)
	f.accounts(total("float:v", 0), total("funding:test", -100_00), total("hold:*", 0), total("revenue:mtn", 0), total("wallet:*", 100_00))

	f.delivered(f.order(), "v")
	q := f.delivered(func() store.Purchase { f.fund(amina, 100_00); return f.order() }(), "v")
	if q, err = f.db.Resolve(f.ctx, by("ngozi"), q.Ref, store.Reversed); err != nil || q.State != store.Reversed {
		f.Errorf("reversed by hand: %+v, %v", q, err)
	}
	if r := f.check(); len(r.Violations) != 0 {
		f.Errorf("violations %+v", r.Violations)
	}
}

func twoOperators(f *fixture) {
	p, _ := inReview(f)
	if err := f.db.SetTwoPersons(f.ctx, by("ngozi"), true); err != nil {
		f.Fatal(err)
	}
	_, err := f.db.Refund(f.ctx, approvedBy("ngozi", "ngozi-pc"), p.Ref)
	f.wantErr("approval of nothing", err, store.ErrNotFound)
	for range 2 {
		_, err = f.db.Refund(f.ctx, by("ngozi"), p.Ref)
		f.wantErr("request", err, store.ErrApproval)
	}
	_, err = f.db.Resolve(f.ctx, by("ngozi"), p.Ref, store.Reversed)
	f.wantErr("request of what cannot be", err, store.ErrConflict)
	_, err = f.db.Refund(f.ctx, by("ngozi"), "TXN-0000000000001")
	f.wantErr("request about nothing", err, store.ErrNotFound)
	f.wallet(amina, 0, 100_00)
	for what, op := range map[string]store.Operation{"own approval": approvedBy("ngozi", "tunde-pc"), "own approval by another name": approvedBy("tunde", "ngozi-pc"),
		"approval by nobody knows whom": approvedBy("tunde", "")} {
		_, err = f.db.Refund(f.ctx, op, p.Ref)
		f.wantErr(what, err, store.ErrApproval)
	}
	_, err = f.db.Resolve(f.ctx, approvedBy("tunde", "tunde-pc"), p.Ref, store.Failed)
	f.wantErr("approval of something else", err, store.ErrNotFound)
	f.wallet(amina, 0, 100_00)
	if p, err = f.db.Refund(f.ctx, approvedBy("tunde", "tunde-pc"), p.Ref); err != nil || p.State != store.Failed {
		f.Errorf("approved %+v, %v", p, err)
	}
	f.wallet(amina, 100_00, 0)
	f.wantErr("off", f.db.SetTwoPersons(f.ctx, by("ngozi"), false), store.ErrApproval)
	open, err := f.db.ListRequests(f.ctx, 0)
	if want := (store.Request{At: f.now(), Operator: "ngozi", Login: "ngozi-pc", Action: "two-persons off", Subject: "settings", Reason: "ticket 7"}); err != nil ||
		len(open) != 1 || open[0] != want {
		f.Errorf("requests %+v, %v", open, err)
	}
	f.advance(store.RequestFor)
	f.wantErr("too late", f.db.SetTwoPersons(f.ctx, approvedBy("tunde", "tunde-pc"), false), store.ErrNotFound)
	if open, err = f.db.ListRequests(f.ctx, 0); err != nil || len(open) != 0 {
		f.Errorf("requests %+v, %v", open, err)
	}
	log, err := f.db.ListAudit(f.ctx, p.Ref, 0)
	if err != nil || len(log) != 3 || log[0].Action != "purchase refund" || log[0].Operator != "tunde" || log[0].Login != "tunde-pc" ||
		log[0].Detail != "asked for by ngozi" || log[0].Reason != "ticket 7" || log[1].Action != "request purchase refund" || log[1].Login != "ngozi-pc" {
		f.Errorf("audit %+v, %v", log, err)
	}
}

func journalsOnlyGrow(f *fixture) {
	f.fund(amina, 100_00)
	if err := f.db.SetTwoPersons(f.ctx, by("ngozi"), true); err != nil {
		f.Fatal(err)
	}
	raw := f.raw()
	for _, s := range []string{"UPDATE postings SET amount = 1", "DELETE FROM postings", "UPDATE entries SET note = 'x'", "DELETE FROM entries",
		"UPDATE audit SET reason = 'x'", "DELETE FROM audit"} {
		if _, err := raw.Exec(s); err == nil || !strings.Contains(err.Error(), " never ") {
			f.Errorf("%s: %v", s, err)
		}
	}
}

// doubtsBegin: the doubt is as old as the attempt, however late somebody came to
// write it down.
func doubtsBegin(f *fixture) {
	f.fund(amina, 200_00)
	p, a := f.begin(f.hold(f.order()), "v")
	began := a.StartedAt
	f.advance(25 * time.Hour) // nobody was there
	a.State = store.Pending
	p, err := f.db.Record(f.ctx, p, a, store.Pending)
	if err != nil || p.UnsureAt.UnixMilli() != began.UnixMilli() {
		f.Errorf("in doubt since %v, %v, want %v", p.UnsureAt, err, began)
	}
	if c, err := f.db.Clocks(f.ctx); err != nil || c.DecisionsLate != 1 {
		f.Errorf("clocks %+v, %v", c, err)
	}
	q, b := f.begin(f.hold(f.order()), "v")
	b.State, b.FinishedAt = store.Pending, f.now()
	f.advance(time.Minute) // the ledger was in trouble
	if q, err = f.db.Record(f.ctx, q, b, store.Pending); err != nil || q.UnsureAt.UnixMilli() != b.FinishedAt.UnixMilli() {
		f.Errorf("in doubt since %v, %v, want %v", q.UnsureAt, err, b.FinishedAt)
	}
}

func breachesListed(f *fixture) {
	f.fund(amina, 1000_00)
	slow, a := f.begin(f.hold(f.order()), "v")
	a.FinishedAt = f.now()
	f.advance(store.RefundWithin + time.Second)
	a.State = store.Declined
	slow, err := f.db.Record(f.ctx, slow, a, store.Failed)
	if err != nil {
		f.Fatal(err)
	}
	quick, a := f.begin(f.hold(f.order()), "v")
	f.finish(quick, a, store.Declined, store.Failed)
	f.delivered(f.order(), "v")
	stuck := f.hold(f.order())
	f.advance(store.RefundWithin + time.Second)
	list, err := f.db.ListPurchases(f.ctx, store.PurchaseFilter{Breach: true})
	if err != nil || len(list) != 2 || list[0].Ref != stuck.Ref || list[1].Ref != slow.Ref {
		f.Errorf("breaches %+v, %v", list, err)
	}
	if c, err := f.db.Clocks(f.ctx); err != nil || c != (store.Clocks{Open: 1, RefundsLate: 1}) {
		f.Errorf("clocks %+v, %v", c, err)
	}
}

func variancesListed(f *fixture) {
	f.fund(amina, 1000_00)
	var odd store.Purchase
	for i, cost := range []int64{0, 97_00, 98_00} {
		p, a := f.begin(f.hold(f.order()), "v")
		p.Cost, a.Cost = cost, cost
		odd = f.finish(p, a, store.Delivered, store.Delivered)
		if odd.ComputedCost() != 97_00 {
			f.Errorf("%d: computed cost %d", i, odd.ComputedCost())
		}
	}
	list, err := f.db.ListPurchases(f.ctx, store.PurchaseFilter{Variance: true})
	if err != nil || len(list) != 1 || list[0] != odd {
		f.Errorf("variances %+v, %v", list, err)
	}
}

func commissionByVendor(f *fixture) {
	for _, c := range []struct {
		vendor string
		from   time.Time
		bps    int
	}{{"v", f.now().Add(time.Hour), 200}, {"v", f.now().Add(2 * time.Hour), 100}, {"", f.now().Add(3 * time.Hour), 50}, {"v", f.now().Add(2 * time.Hour), 150}} {
		if err := f.db.SetCommission(f.ctx, by("ngozi"), "mtn", c.vendor, c.from, c.bps); err != nil {
			f.Error(err)
		}
	}
	if log, err := f.db.ListAudit(f.ctx, "mtn at v", 0); err != nil || len(log) == 0 || log[0].Operator != "ngozi" || !strings.HasPrefix(log[0].Action, "commission set ") {
		f.Errorf("audit %+v, %v", log, err)
	}
	f.wantErr("too much", f.db.SetCommission(f.ctx, by("ngozi"), "mtn", "v", f.now(), 10001), store.ErrInvalid)
	for hours, want := range []map[string]int{{"v": 300, "w": 300}, {"v": 200, "w": 300}, {"v": 150, "w": 300}, {"v": 150, "w": 50}} {
		for vendor, bps := range want {
			got, err := store.CommissionFor(f.ctx, f.db, "mtn", vendor, f.now().Add(time.Duration(hours)*time.Hour))
			if err != nil || got != bps {
				f.Errorf("%s after %d hours: %d, %v, want %d", vendor, hours, got, err, bps)
			}
		}
	}
}
