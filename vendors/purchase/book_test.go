package purchase_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ussdd/vendors/purchase"
)

// book is a Ledger in memory that is as strict as a database with all its
// constraints: what a desk must never do fails the test.
type book struct {
	t testing.TB

	mu        sync.Mutex
	balance   map[string]int64 // wallets by MSISDN
	accounts  map[string]int64 // sums of postings
	entries   map[string]bool  // kind and reference of each entry
	purchases map[string]*row  // by Ref
	leases    map[string]time.Time
	rechecks  map[string]time.Time // by Ref
	limit     error                // what Hold answers
}

type row struct {
	purchase.Purchase
	attempts []purchase.Attempt
}

func newBook(t testing.TB) *book {
	b := &book{
		t: t, balance: map[string]int64{}, accounts: map[string]int64{}, entries: map[string]bool{},
		purchases: map[string]*row{}, leases: map[string]time.Time{},
		rechecks: map[string]time.Time{},
	}
	b.credit(amina, 1000_00)
	return b
}

func (b *book) credit(msisdn string, amount int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.balance[msisdn] += amount
	b.post("funding", fmt.Sprint(len(b.entries)), map[string]int64{"wallet:" + msisdn: amount, "funding": -amount})
}

func (b *book) post(kind, reference string, legs map[string]int64) {
	if b.entries[kind+" "+reference] {
		b.t.Errorf("second entry %s %s", kind, reference)
	}
	b.entries[kind+" "+reference] = true
	var sum int64
	for account, amount := range legs {
		sum += amount
		b.accounts[account] += amount
	}
	if sum != 0 {
		b.t.Errorf("entry %s %s sums to %d", kind, reference, sum)
	}
}

func (b *book) Hold(_ context.Context, p purchase.Purchase) (purchase.Purchase, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.purchases {
		if r.Key == p.Key {
			return r.Purchase, false, nil
		}
	}
	if b.purchases[p.Ref] != nil {
		return p, false, fmt.Errorf("reference %s exists", p.Ref)
	}
	if b.limit != nil {
		return p, false, b.limit
	}
	have, ok := b.balance[p.MSISDN]
	open := b.undecidedOf(p)
	switch {
	case open != nil && !p.Again:
		return p, false, &purchase.OpenError{Purchase: open.Purchase}
	case !ok:
		return p, false, purchase.ErrNoWallet
	case have < p.Amount:
		return p, false, purchase.ErrInsufficient
	case p.State != purchase.Held || p.Version != 1 || p.Owner == "" || p.Attempts != 0 || p.ID == 0 || p.NextAt.IsZero():
		b.t.Errorf("hold of %+v", p)
	}
	b.balance[p.MSISDN] -= p.Amount
	b.post("hold", p.Ref, map[string]int64{"wallet:" + p.MSISDN: -p.Amount, "hold:" + p.MSISDN: p.Amount})
	p.CreatedAt, p.UpdatedAt, p.NextAt = stamp(p.CreatedAt), stamp(p.UpdatedAt), stamp(p.NextAt)
	p.Again = false
	b.purchases[p.Ref] = &row{Purchase: p}
	return p, true, nil
}

// undecidedOf is the newest open purchase of what p is of, or nil.
func (b *book) undecidedOf(p purchase.Purchase) (newest *row) {
	for _, r := range b.purchases {
		if r.MSISDN == p.MSISDN && r.Recipient == p.Recipient && r.Amount == p.Amount && r.Open() && (newest == nil || r.ID > newest.ID) {
			newest = r
		}
	}
	return newest
}

func (b *book) Attempt(_ context.Context, p purchase.Purchase, a purchase.Attempt) (purchase.Purchase, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.move(p, purchase.Sending)
	if err != nil {
		return p, err
	}
	if a.N != len(r.attempts)+1 || a.Purchase != p.ID || a.State != purchase.Sending || a.StartedAt.IsZero() {
		b.t.Errorf("attempt %+v of %+v", a, p)
	}
	for _, other := range b.purchases {
		for _, o := range other.attempts {
			if o.Reference == a.Reference {
				b.t.Errorf("reference %s used twice", a.Reference)
			}
		}
	}
	for _, o := range r.attempts {
		if o.Vendor == a.Vendor {
			b.t.Errorf("%s: second attempt at %s", p.Ref, a.Vendor)
		}
		if o.State == purchase.Sending || o.State == purchase.Pending || o.State == purchase.Delivered {
			b.t.Errorf("%s: attempt %d while %d is %s", p.Ref, a.N, o.N, o.State)
		}
	}
	a.StartedAt = stamp(a.StartedAt)
	r.attempts = append(r.attempts, a)
	r.Attempts, r.Vendor, r.NextAt, r.FailedAt = a.N, p.Vendor, stamp(p.NextAt), time.Time{}
	return r.Purchase, nil
}

func (b *book) Record(_ context.Context, p purchase.Purchase, a purchase.Attempt, next string) (purchase.Purchase, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.move(p, next)
	if err != nil {
		return p, err
	}
	want := map[string][]string{
		purchase.Pending:   {purchase.Pending},
		purchase.Review:    {purchase.Pending},
		purchase.Delivered: {purchase.Delivered},
		purchase.Held:      {purchase.Declined, purchase.NotSent, purchase.Unavailable},
		purchase.Failed:    {purchase.Declined, purchase.NotSent, purchase.Unavailable},
	}
	if a.N != len(r.attempts) || !slices.Contains(want[next], a.State) {
		b.t.Errorf("%s: attempt %d is %s and the purchase %s", p.Ref, a.N, a.State, next)
		return p, errors.New("misuse")
	}
	a.StartedAt, a.FinishedAt = stamp(a.StartedAt), stamp(a.FinishedAt)
	was := r.attempts[a.N-1].State
	r.attempts[a.N-1] = a
	switch {
	case (next == purchase.Pending || next == purchase.Review) && r.UnsureAt.IsZero():
		r.UnsureAt = cmp.Or(a.FinishedAt, a.StartedAt)
	case next == purchase.Held || next == purchase.Failed:
		r.FailedAt = r.UpdatedAt
		if was == purchase.Sending && !a.FinishedAt.IsZero() {
			r.FailedAt = a.FinishedAt
		}
	}
	r.Reason, r.VendorRef, r.Cost, r.Token, r.NextAt = p.Reason, p.VendorRef, p.Cost, p.Token, stamp(p.NextAt)
	b.decide(r)
	return r.Purchase, nil
}

func (b *book) Release(_ context.Context, p purchase.Purchase, reason string) (purchase.Purchase, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.State != purchase.Held {
		b.t.Errorf("%s: release while %s", p.Ref, p.State)
	}
	r, err := b.move(p, purchase.Failed)
	if err != nil {
		return p, err
	}
	r.Reason = reason
	b.decide(r)
	return r.Purchase, nil
}

// move is the compare-and-set of every change.
func (b *book) move(p purchase.Purchase, next string) (*row, error) {
	r := b.purchases[p.Ref]
	if r == nil {
		b.t.Errorf("%s does not exist", p.Ref)
		return nil, purchase.ErrConflict
	}
	if r.Version != p.Version || r.Owner != p.Owner {
		return nil, purchase.ErrConflict
	}
	if r.State != p.State || !purchase.CanMove(r.State, next) {
		b.t.Errorf("%s: move from %s (%s) to %s", p.Ref, r.State, p.State, next)
		return nil, purchase.ErrConflict
	}
	r.State = next
	r.Version++
	r.UpdatedAt = stamp(time.Now())
	return r, nil
}

func (b *book) decide(r *row) {
	hold := "hold:" + r.MSISDN
	switch r.State {
	case purchase.Delivered:
		r.CommissionBPS, r.Commission = 200, r.Amount/50
		b.post("capture", r.Ref, map[string]int64{hold: -r.Amount, "float:" + r.Vendor: r.ComputedCost(), "revenue": r.Commission})
	case purchase.Failed:
		b.balance[r.MSISDN] += r.Amount
		b.post("release", r.Ref, map[string]int64{hold: -r.Amount, "wallet:" + r.MSISDN: r.Amount})
	default:
		return
	}
	r.DecidedAt, r.NextAt = r.UpdatedAt, time.Time{}
	if !r.UnsureAt.IsZero() {
		b.rechecks[r.Ref] = r.DecidedAt.Add(time.Hour)
	}
}

func (b *book) Turn(_ context.Context, p purchase.Purchase, a purchase.Attempt) (purchase.Purchase, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := p.State
	if p.State == purchase.Failed || a.State == purchase.Reversed {
		next = a.State
	}
	r, err := b.move(p, next)
	if err != nil {
		return p, err
	}
	if was := r.attempts[a.N-1].State; (a.State == purchase.Reversed) != (was == purchase.Delivered) || was == purchase.DeliveredLate {
		b.t.Errorf("%s: turn from %s to %s", p.Ref, was, a.State)
	}
	r.attempts[a.N-1] = a
	r.Token = p.Token
	if a.State == purchase.Reversed {
		b.balance[r.MSISDN] += r.Amount
		b.post("reversal", r.Ref, map[string]int64{"float:" + r.Vendor: -r.ComputedCost(), "revenue": -r.Commission, "wallet:" + r.MSISDN: r.Amount})
	} else {
		b.post("late", a.Reference, map[string]int64{"float:" + a.Vendor: r.Amount, "loss": -r.Amount})
	}
	return r.Purchase, nil
}

func (b *book) Rechecks(_ context.Context, owner string, now, again time.Time, limit int) ([]purchase.Purchase, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var due []purchase.Purchase
	for ref, at := range b.rechecks {
		r := b.purchases[ref]
		if !at.After(now) && len(due) < limit && (r.Owner == owner || !b.leases[r.Owner].After(now)) {
			b.rechecks[ref] = again
			if r.Owner != owner {
				r.Owner = owner
				r.Version++
			}
			due = append(due, r.Purchase)
		}
	}
	return due, nil
}

func (b *book) Rechecked(_ context.Context, p purchase.Purchase, _ bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.rechecks, p.Ref)
	return nil
}

// ask has the vendors of a purchase asked again, as an operator does.
func (b *book) ask(ref string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rechecks[ref] = time.Now()
}

// hurry has the vendor of a purchase asked at once, if it is pending.
func (b *book) hurry(ref string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.purchases[ref]; r.State == purchase.Pending {
		r.NextAt = stamp(time.Now())
	}
}

// asked tells whether nobody is to be asked again.
func (b *book) asked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.rechecks) == 0
}

func (b *book) Purchase(_ context.Context, ref string) (purchase.Purchase, []purchase.Attempt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.purchases[ref]
	if r == nil {
		return purchase.Purchase{}, nil, purchase.ErrNotFound
	}
	return r.Purchase, slices.Clone(r.attempts), nil
}

func (b *book) ByKey(_ context.Context, key string) (purchase.Purchase, error) {
	for _, r := range b.all() {
		if r.Key == key {
			return r.Purchase, nil
		}
	}
	return purchase.Purchase{}, purchase.ErrNotFound
}

func (b *book) Due(_ context.Context, owner string, now time.Time, limit int) ([]purchase.Purchase, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var due []*row
	for _, r := range b.purchases {
		mine := r.Owner == owner && !r.NextAt.After(now)
		if r.Open() && r.State != purchase.Review && (mine || r.Owner != owner && !b.leases[r.Owner].After(now)) {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(x, y *row) int {
		if c := x.NextAt.Compare(y.NextAt); c != 0 {
			return c
		}
		return strings.Compare(x.Ref, y.Ref)
	})
	var out []purchase.Purchase
	for _, r := range due[:min(limit, len(due))] {
		if r.Owner != owner {
			r.Owner = owner
			r.Version++
		}
		out = append(out, r.Purchase)
	}
	return out, nil
}

func (b *book) Renew(_ context.Context, owner string, until time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leases[owner] = stamp(until)
	return nil
}

// stamp is a time as a database gives it back.
func stamp(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

// all gives every purchase with its attempts.
func (b *book) all() []row {
	b.mu.Lock()
	defer b.mu.Unlock()
	var rows []row
	for _, r := range b.purchases {
		rows = append(rows, row{r.Purchase, slices.Clone(r.attempts)})
	}
	return rows
}

// only gives the one purchase that there is.
func (b *book) only() row {
	b.t.Helper()
	rows := b.all()
	if len(rows) != 1 {
		b.t.Fatalf("%d purchases, want 1", len(rows))
	}
	return rows[0]
}

// lease is the end of owner's lease.
func (b *book) lease(owner string) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.leases[owner]
}

// undecided counts the open purchases.
func (b *book) undecided() int {
	n := 0
	for _, r := range b.all() {
		if r.Open() {
			n++
		}
	}
	return n
}

// check proves the book's own invariants.
func (b *book) check() {
	b.t.Helper()
	rows := b.all()
	b.mu.Lock()
	defer b.mu.Unlock()
	var sum int64
	for _, amount := range b.accounts {
		sum += amount
	}
	if sum != 0 {
		b.t.Errorf("the postings sum to %d", sum)
	}
	held := map[string]int64{}
	for _, r := range rows {
		if r.Open() {
			held[r.MSISDN] += r.Amount
		}
	}
	for msisdn, balance := range b.balance {
		if balance < 0 || balance != b.accounts["wallet:"+msisdn] {
			b.t.Errorf("wallet of %s: %d, postings %d", msisdn, balance, b.accounts["wallet:"+msisdn])
		}
		if held[msisdn] != b.accounts["hold:"+msisdn] {
			b.t.Errorf("hold of %s: %d, postings %d", msisdn, held[msisdn], b.accounts["hold:"+msisdn])
		}
	}
}
