package store_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"ussdd/store"
)

// errDead is what everything in a dead process gets.
var errDead = errors.New("the process is dead")

// doom kills a process at a boundary of its statements: before a statement, a
// begin or a commit that it sends for writing, or after a commit. To die after a
// statement is to die before the next. What was sent before is with the
// database, and what is open there is rolled back.
type doom struct {
	mu       sync.Mutex
	left     int    // boundaries until death
	killedAt string // the last thing that was sent, or was about to be
	dead     bool
}

// pass reports whether the process lives beyond this boundary.
func (d *doom) pass(what string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return false
	}
	if d.left--; d.left < 0 {
		d.dead, d.killedAt = true, what
	}
	return !d.dead
}

// reborn is a process on the same connections that will die at the boundary n,
// counted from 0.
func (d *doom) reborn(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.dead = n, false
}

// openDoomed opens the fixture's database as a process that will die at once,
// unless it is reborn.
func (f *fixture) openDoomed() (*store.DB, *doom) {
	f.Helper()
	d := &doom{}
	db, err := store.Open(f.ctx, f.name, store.Options{Now: f.now, Limits: f.limits, Messages: f.messages,
		Connector: func(c driver.Connector) driver.Connector { return doomedConnector{c, d} }})
	if err != nil {
		f.Fatal(err)
	}
	return db, d
}

type doomedConnector struct {
	driver.Connector
	doom *doom
}

func (c doomedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &doomedConn{conn, c.doom}, nil
}

type doomedConn struct {
	driver.Conn
	doom *doom
}

func (c *doomedConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *doomedConn) BeginTx(ctx context.Context, opt driver.TxOptions) (driver.Tx, error) {
	if !c.doom.pass("before begin") {
		return nil, errDead
	}
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opt)
	if err != nil {
		return nil, err
	}
	return doomedTx{tx, c.doom}, nil
}

func (c *doomedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !c.doom.pass("before " + query) {
		return nil, errDead
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

// QueryContext passes no boundary: a read changes nothing.
func (c *doomedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

type doomedTx struct {
	driver.Tx
	doom *doom
}

func (t doomedTx) Commit() error {
	if !t.doom.pass("before commit") {
		return errors.Join(errDead, t.Tx.Rollback())
	}
	if err := t.Tx.Commit(); err != nil {
		return err
	}
	if !t.doom.pass("after commit") {
		return errDead
	}
	return nil
}

// plan is the life of a purchase as the world will have it.
type plan struct {
	name    string
	vendors []string // what the attempts meet: "delivers", "declines", or "silent delivers" and "silent loses" without an answer
	review  string   // if set, no vendor can be queried, and an operator: Delivered, Failed, or "refund"
	turn    string   // what comes out after the decision: store.Late or store.Reversed
	want    string   // the last state, if nobody dies
}

var plans = []plan{
	{name: "delivered", vendors: []string{"delivers"}, want: store.Delivered},
	{name: "second vendor", vendors: []string{"declines", "delivers"}, want: store.Delivered},
	{name: "declined everywhere", vendors: []string{"declines", "declines"}, want: store.Failed},
	{name: "silent and delivered", vendors: []string{"silent delivers"}, want: store.Delivered},
	{name: "silent and lost", vendors: []string{"silent loses"}, want: store.Failed},
	{name: "resolved by hand", vendors: []string{"silent delivers"}, review: store.Delivered, want: store.Delivered},
	{name: "refunded, then delivered", vendors: []string{"silent delivers"}, review: "refund", turn: store.Late, want: store.Late},
	{name: "delivered, then reversed", vendors: []string{"delivers"}, turn: store.Reversed, want: store.Reversed},
}

// TestCrashEverywhere has the process die at every boundary that a purchase of
// each plan passes, once at each. Another process then takes over, and the life
// comes to an end in which nothing was lost or done twice.
func TestCrashEverywhere(t *testing.T) {
	onEach(t, func(t *testing.T, engine engine) {
		for _, plan := range plans {
			t.Run(plan.name, func(t *testing.T) {
				t.Parallel()
				crashEverywhere(migratedFixture(t, engine), plan)
			})
		}
	})
}

func crashEverywhere(f *fixture, plan plan) {
	f.limits, f.messages = store.Limits{Day: 1000_00, RecipientDay: 1000_000_00}, true
	f.db = f.open()
	doomed, doom := f.openDoomed()
	defer doomed.Close()
	for n := 0; ; n++ {
		l := &life{fixture: f, plan: plan, payer: fmt.Sprintf("23480%08d", n), key: fmt.Sprint(plan.name, n), owner: self, delivered: map[string]int{}}
		f.fundOne(l.payer)
		doom.reborn(n)
		err := l.live(doomed)
		if !doom.dead {
			f.wantErr(plan.name, err, nil)
			l.check("alive")
			if n < 20 {
				f.Errorf("only %d boundaries", n)
			}
			break
		}
		if !errors.Is(err, errDead) {
			f.Fatalf("died %s: %v", doom.killedAt, err)
		}
		l.owner = fmt.Sprint("heir-", n)
		if err := l.live(f.db); err != nil {
			f.Fatalf("died %s: %v", doom.killedAt, err)
		}
		l.check(doom.killedAt)
	}
	for _, v := range f.check().Violations {
		f.Errorf("violation %+v", v)
	}
}

func (f *fixture) fundOne(msisdn string) {
	f.Helper()
	if _, _, err := f.db.Credit(f.ctx, by("ngozi"), msisdn, 100_00, "test", msisdn); err != nil {
		f.Fatal(err)
	}
}

// life is one purchase and its world, which outlives processes.
type life struct {
	*fixture
	plan       plan
	payer, key string
	owner      string         // the process that works on it
	delivered  map[string]int // by reference
}

// live goes on from whatever is recorded until nothing is left to be done.
func (l *life) live(db *store.DB) error {
	for {
		p, err := db.PurchaseByKey(l.ctx, l.key)
		if errors.Is(err, store.ErrNotFound) {
			order := l.order()
			order.MSISDN, order.Key, order.Owner, order.CreatedAt = l.payer, l.key, l.owner, l.now()
			p, _, err = db.Hold(l.ctx, order)
		}
		if err == nil && p.Owner != l.owner && (p.State == store.Held || p.State == store.Sending || p.State == store.Pending) {
			_, err = db.Due(l.ctx, l.owner, l.now().Add(time.Hour), 10)
		} else if err == nil {
			var over bool
			if over, err = l.step(db, p.Ref); over {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// step makes the next move, or tells that the life is over.
func (l *life) step(db *store.DB, ref string) (over bool, err error) {
	p, attempts, err := db.Purchase(l.ctx, ref)
	if err != nil {
		return false, err
	}
	var last store.Attempt
	if len(attempts) > 0 {
		last = attempts[len(attempts)-1]
	}
	record := func(state, next string) error {
		last.State, last.FinishedAt = state, l.now()
		p, err = db.Record(l.ctx, p, last, next)
		return err
	}
	op := store.Operation{Operator: "ngozi", Reason: "statement"}
	switch p.State {
	case store.Held:
		if p.Attempts == len(l.plan.vendors) {
			_, err = db.Release(l.ctx, p, "unavailable:no_route")
			return false, err
		}
		last = nextAttempt(l.fixture, p, fmt.Sprint("v", p.Attempts+1))
		if p, err = db.Attempt(l.ctx, p, last); err != nil {
			return false, err
		}
		does := l.plan.vendors[p.Attempts-1]
		if does == "delivers" || does == "silent delivers" {
			l.delivered[last.Reference]++
		}
		switch {
		case does == "delivers":
			return false, record(store.Delivered, store.Delivered)
		case does != "declines":
			return false, record(store.Pending, store.Pending)
		case p.Attempts < len(l.plan.vendors):
			return false, record(store.Declined, store.Held)
		}
		return false, record(store.Declined, store.Failed)
	case store.Sending:
		return false, record(store.Pending, store.Pending)
	case store.Pending:
		switch {
		case l.plan.review != "":
			return false, record(store.Pending, store.Review)
		case l.delivered[last.Reference] > 0:
			return false, record(store.Delivered, store.Delivered)
		}
		return false, record(store.Declined, store.Failed)
	case store.Review:
		switch {
		case l.plan.review == "refund":
			_, err = db.Refund(l.ctx, op, ref)
		case l.delivered[last.Reference] > 0:
			_, err = db.Resolve(l.ctx, op, ref, store.Delivered)
		default:
			_, err = db.Resolve(l.ctx, op, ref, store.Failed)
		}
		return false, err
	case store.Delivered:
		if l.plan.turn != store.Reversed {
			return true, nil
		}
		l.delivered[last.Reference] = 0
	case store.Failed:
		if l.plan.turn != store.Late || l.delivered[last.Reference] == 0 {
			return true, nil
		}
	default:
		return true, nil
	}
	last.State = l.plan.turn
	_, err = db.Turn(l.ctx, p, last)
	return false, err
}

// check proves that the money, the messages and the world agree. Deaths may lead
// to another end than the plan's, but never to a wrong one.
func (l *life) check(died string) {
	l.Helper()
	p, err := l.db.PurchaseByKey(l.ctx, l.key)
	if err != nil {
		l.Fatalf("%s: died %s: %v", l.plan.name, died, err)
	}
	total := 0
	for _, n := range l.delivered {
		total += n
	}
	has := map[string]int{store.Delivered: 1, store.Late: 1, store.Failed: 0, store.Reversed: 0}
	want, final := has[p.State]
	w, err := l.db.Wallet(l.ctx, l.payer)
	paid := p.State == store.Delivered
	if !final || total != want || err != nil || w.Held != 0 || (w.Balance == 0) != paid || !paid && w.Balance != 100_00 || died == "alive" && p.State != l.plan.want {
		l.Errorf("%s: died %s: %s with %d delivered, wallet %+v, %v", l.plan.name, died, p.State, total, w, err)
	}
	entries, err := l.db.ListEntries(l.ctx, store.EntryFilter{Reference: p.Ref})
	kinds := map[string]int{}
	for _, e := range entries {
		kinds[e.Kind]++
	}
	if err != nil || kinds["hold"] != 1 || kinds["capture"]+kinds["release"] != 1 {
		l.Errorf("%s: died %s: entries %v, %v", l.plan.name, died, kinds, err)
	}
	var told []string
	due, err := l.db.DueMessages(l.ctx, l.now(), l.now().Add(1000*time.Hour), 10)
	for _, m := range due {
		if m.Purchase.ID != p.ID {
			l.Errorf("%s: died %s: message about %s", l.plan.name, died, m.Purchase.Ref)
		}
		told = append(told, m.Kind)
	}
	// What was true before a reversal or a late delivery could not be sent in time.
	if err != nil || !slices.Equal(told, []string{p.State}) {
		l.Errorf("%s: died %s: told %v, want %s, %v", l.plan.name, died, told, p.State, err)
	}
}

// TestCallerRepeats has the connection break at every boundary of every method
// that moves money, at the commit both before and after it. The caller, who
// cannot know which, calls the method again, and each is in the books once.
func TestCallerRepeats(t *testing.T) {
	onEach(t, func(t *testing.T, engine engine) {
		f := migratedFixture(t, engine)
		doomed, doom := f.openDoomed()
		defer doomed.Close()
		for n := 0; ; n++ {
			doom.reborn(n)
			payer, name := fmt.Sprintf("23481%08d", n), fmt.Sprint("n", n)
			died := ""
			for i, call := range everyCall(f, payer, name) {
				if died != "" {
					f.wantErr(fmt.Sprintf("died %s: then call %d", died, i), call(f.db), nil)
					continue
				}
				err := call(doomed)
				if errors.Is(err, errDead) {
					died = fmt.Sprintf("%s of call %d", doom.killedAt, i)
					err = call(f.db)
					if errors.Is(err, store.ErrConflict) { // it was done
						err = nil
					}
				}
				f.wantErr(fmt.Sprintf("died %s: call %d", died, i), err, nil)
			}
			f.wallet(payer, 170_00, 0)
			if died == "" {
				if n < 60 {
					f.Errorf("only %d boundaries", n)
				}
				break
			}
		}
		floats, err := f.db.Floats(f.ctx)
		for _, float := range floats {
			if float.ToppedUp != 1000_00 || float.Used != 0 {
				f.Errorf("float %+v", float)
			}
		}
		if r := f.check(); err != nil || len(r.Violations) > 0 {
			f.Errorf("%v, %v", r.Violations, err)
		}
	})
}

// everyCall are calls that together leave the payer N170.
func everyCall(f *fixture, payer, name string) []func(*store.DB) error {
	order := f.order()
	order.MSISDN, order.Key = payer, name
	op := store.Operation{Operator: "ngozi", Reason: "why"}
	// What has become of the purchase is read after each call, as a caller does
	// who was told of a conflict.
	purchase := func(change func(db *store.DB, p store.Purchase, last store.Attempt) error) func(*store.DB) error {
		return func(db *store.DB) error {
			known, err := f.db.PurchaseByKey(f.ctx, name)
			if err != nil {
				return err
			}
			p, attempts, err := f.db.Purchase(f.ctx, known.Ref)
			if err != nil {
				return err
			}
			var last store.Attempt
			if len(attempts) > 0 {
				last = attempts[len(attempts)-1]
			}
			return change(db, p, last)
		}
	}
	credit := func(reference string, amount int64) func(*store.DB) error {
		return func(db *store.DB) error {
			_, _, err := db.Credit(f.ctx, by("ngozi"), payer, amount, "test", name+reference)
			return err
		}
	}
	deposit := func(reference, account string, amount int64) func(*store.DB) error {
		return func(db *store.DB) error {
			_, _, err := db.Deposit(f.ctx, store.Deposit{Provider: "paystack", Reference: name + reference, Account: account, Amount: amount})
			return err
		}
	}
	return []func(*store.DB) error{
		func(db *store.DB) error { return db.OpenWallets(f.ctx, []string{payer}) },
		func(db *store.DB) error { return db.LinkAccount(f.ctx, by("ngozi"), "paystack", name, payer) },
		credit("a", 100_00),
		credit("b", 30_00),
		deposit("a", name, 50_00),
		deposit("b", "nobody", 20_00),
		func(db *store.DB) error { return db.AssignDeposit(f.ctx, op, "paystack", name+"b", payer) },
		func(db *store.DB) error { return db.ReverseEntry(f.ctx, op, f.entryOf("credit", "test:"+name+"b")) },
		func(db *store.DB) error {
			_, err := db.TopUp(f.ctx, op, name, 1000_00, "bank:gtb", name)
			return err
		},
		func(db *store.DB) error { return db.SetCommission(f.ctx, by("ngozi"), name, "", f.now(), 250) },
		func(db *store.DB) error {
			_, _, err := db.Hold(f.ctx, order)
			return err
		},
		purchase(func(db *store.DB, p store.Purchase, _ store.Attempt) error {
			_, err := db.Attempt(f.ctx, p, nextAttempt(f, p, name))
			return err
		}),
		purchase(func(db *store.DB, p store.Purchase, last store.Attempt) error {
			last.State = store.Delivered
			_, err := db.Record(f.ctx, p, last, store.Delivered)
			return err
		}),
		purchase(func(db *store.DB, p store.Purchase, last store.Attempt) error {
			if p.State == store.Reversed {
				return nil
			}
			last.State = store.Reversed
			_, err := db.Turn(f.ctx, p, last)
			return err
		}),
	}
}
