package main

import (
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"ussdd/scripts/stack"
)

// A short run of everything with the race detector, on one ussdd and SQLite, and
// on two and MariaDB.
func TestChaos(t *testing.T) {
	// A race is the end of a process, and the end comes without a second's sleep.
	os.Setenv("GORACE", "halt_on_error=1 atexit_sleep_ms=0")
	bin := t.TempDir()
	if err := stack.Build(t.Context(), bin, "-race"); err != nil {
		t.Fatal(err)
	}
	for _, database := range []string{"sqlite", "mariadb"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			if database == "mariadb" && os.Getenv("USSDD_TEST_MYSQL") == "" {
				t.Skip("run scripts/with-mariadb go test …, which sees to a MariaDB")
			}
			dir, err := os.MkdirTemp("", "ussdd-chaos-")
			if err != nil {
				t.Fatal(err)
			}
			err = chaos(t.Context(), options{seed: 20261123, subscribers: 200, length: 8 * time.Second, database: database}, bin, dir, t.Output())
			if err != nil {
				t.Fatalf("%v\nlogs and database: %s", err, dir)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// The same seed makes the same plan, another one another, and one actor's
// decisions do not depend on how many others there are.
func TestPlan(t *testing.T) {
	size := scale{subscribers: 20, instances: 2, length: time.Minute, server: true}
	p := newPlan(1, size)
	if again := newPlan(1, size); p.digest() != again.digest() || !reflect.DeepEqual(p, again) {
		t.Errorf("plans %s and %s of one seed", p.digest(), again.digest())
	}
	if other := newPlan(2, size); p.digest() == other.digest() {
		t.Error("two seeds make one plan")
	}
	size.subscribers++
	if more := newPlan(1, size); !reflect.DeepEqual(more.subscribers[:20], p.subscribers) {
		t.Error("one more subscriber changes what the others do")
	}
	size.server = false
	if without := newPlan(1, size); len(without.actors) != len(p.actors)-1 {
		t.Errorf("%d saboteurs without a server, %d with one", len(without.actors), len(p.actors))
	}
	for _, strikes := range p.actors {
		for i, s := range strikes {
			if s.at < 1 || s.at > p.orders || s.what == "" || i > 0 && s.at < strikes[i-1].at {
				t.Errorf("%+v, of %d orders, after %+v", s, p.orders, strikes[max(0, i-1)])
			}
		}
	}
}

// seen is what others than the books know of a run.
type seen struct {
	sold []stack.Delivery
	told []message
}

// audited are books in which all holds, of a run that goes with them.
func audited() (*run, books, seen) {
	const amina, bello = "2348031000000", "2348031000001"
	r := &run{
		out: io.Discard, counts: map[string]int{}, confirms: map[string]int{amina: 1, bello: 2},
		paid: map[string]int64{amina: 20000, bello: 30000}, successes: []success{{amina, "TXN-A"}},
	}
	b := books{
		purchases: map[string]bought{
			"TXN-A": {amina, amina, "mtn", "delivered", 10000},
			"TXN-B": {bello, amina, "mtn", "failed", 5000},
		},
		attempts: map[attempt]tried{{"mtn", "TXN-A"}: {"TXN-A", "delivered"}},
		states:   map[string]int{"delivered": 1, "failed": 1},
		wallets:  map[string][2]int64{amina: {10000, 0}, bello: {30000, 0}},
		accounts: map[string]int64{"wallet:" + amina: 10000, "hold:" + amina: 0, "wallet:" + bello: 30000, "funding:manual": -50000, "float:mtn": 9700, "revenue:mtn": 300},
		entries: map[string]map[string]int64{"hold": {"TXN-A": 10000, "TXN-B": 5000}, "capture": {"TXN-A": 10000}, "release": {"TXN-B": 5000},
			"credit": {"begin": 50000}},
	}
	return r, b, seen{
		sold: []stack.Delivery{{Provider: "mtn", Reference: "TXN-A", Recipient: amina, Network: "mtn", AmountKobo: 10000, Count: 1}},
		told: []message{{amina, "delivered. Ref TXN-A."}, {bello, "failed. Ref TXN-B."}},
	}
}

// The audit finds each thing that may be wrong, and nothing in books that are
// right.
func TestAudit(t *testing.T) {
	change := func(b books, ref string, f func(*bought)) {
		p := b.purchases[ref]
		f(&p)
		b.purchases[ref] = p
	}
	for name, c := range map[string]struct {
		spoil func(*run, *books, *seen)
		found error
		want  string // in what the audit says
	}{
		"right": {},
		"open": {spoil: func(_ *run, b *books, _ *seen) {
			change(*b, "TXN-B", func(p *bought) { p.state = "needs_review" })
		}, want: "TXN-B is needs_review"},
		"no purchase":    {spoil: func(_ *run, b *books, _ *seen) { b.purchases = nil }, want: "nobody bought anything"},
		"never arrived":  {spoil: func(_ *run, _ *books, s *seen) { s.sold = nil }, want: "mtn knows no delivery of TXN-A"},
		"beside books":   {spoil: func(_ *run, b *books, _ *seen) { clear(b.attempts) }, want: `mtn delivered TXN-A, which is "" in the books`},
		"one twice":      {spoil: func(_ *run, _ *books, s *seen) { s.sold[0].Count = 2 }, want: "mtn delivered TXN-A 2 times"},
		"not captured":   {spoil: func(_ *run, b *books, _ *seen) { clear(b.entries["capture"]) }, want: "0 captures, 1 deliveries"},
		"another amount": {spoil: func(_ *run, _ *books, s *seen) { s.sold[0].AmountKobo = 5000 }, want: "captured 10000"},
		"two hops": {spoil: func(_ *run, b *books, s *seen) {
			second := s.sold[0]
			second.Provider, second.Reference = "quickvend", "TXN-A-2"
			s.sold = append(s.sold, second)
			b.attempts[attempt{"quickvend", "TXN-A-2"}] = tried{"TXN-A", "declined"}
		}, want: "TXN-A was delivered 2 times"},
		"released and delivered": {spoil: func(_ *run, b *books, _ *seen) {
			change(*b, "TXN-A", func(p *bought) { p.state = "failed" })
		}, want: "TXN-A is failed and was delivered 1 times"},
		"sum":           {spoil: func(_ *run, b *books, _ *seen) { b.accounts["float:mtn"]++ }, want: "the ledger sums to 1 kobo"},
		"ledger check":  {found: errors.New("ussdctl: 1 violation"), want: "ussdctl: 1 violation"},
		"not released":  {spoil: func(_ *run, b *books, _ *seen) { clear(b.entries["release"]) }, want: "captured false, released false"},
		"wallet":        {spoil: func(_ *run, b *books, _ *seen) { b.wallets["2348031000000"] = [2]int64{10001, 0} }, want: "wallet 2348031000000 has 10001"},
		"money in":      {spoil: func(r *run, _ *books, _ *seen) { r.paid["2348031000001"]++ }, want: "30001 came in"},
		"false screen":  {spoil: func(r *run, _ *books, _ *seen) { r.successes[0].ref = "TXN-B" }, want: "was shown that TXN-B is delivered"},
		"bought unsaid": {spoil: func(r *run, _ *books, _ *seen) { clear(r.confirms) }, want: "confirmed 0 times and bought 1 times"},
		"told two things": {spoil: func(_ *run, _ *books, s *seen) {
			s.told = append(s.told, message{"2348031000000", "failed. Ref TXN-A."})
		}, want: "TXN-A has 2 final messages"},
		"not told":   {spoil: func(_ *run, _ *books, s *seen) { s.told = s.told[1:] }, want: "nobody was told how TXN-A ended"},
		"told again": {spoil: func(_ *run, _ *books, s *seen) { s.told = append(s.told, s.told[0]) }, want: "1 messages came again, and 0 can have been cut off"},
		"told another": {spoil: func(_ *run, _ *books, s *seen) { s.told[0].msisdn = "2348031000001" },
			want: `2348031000001 was told "delivered. Ref TXN-A."`},
	} {
		t.Run(name, func(t *testing.T) {
			r, b, s := audited()
			if c.spoil != nil {
				c.spoil(r, &b, &s)
			}
			r.decided(b)
			r.delivered(b, s.sold)
			r.ledger(b, c.found)
			r.wallets(b)
			r.screens(b)
			r.messages(b, s.told)
			switch err := r.problems(); {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("found %v, want %q", err, c.want)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	good := options{subscribers: 1, length: time.Second, database: "sqlite"}
	if err := good.check(nil); err != nil {
		t.Error(err)
	}
	if err := good.check([]string{"more"}); err == nil || !strings.Contains(err.Error(), `"more"`) {
		t.Errorf("an argument: %v", err)
	}
	for want, spoil := range map[string]func(*options){
		"-database":    func(o *options) { o.database = "oracle" },
		"-subscribers": func(o *options) { o.subscribers = 0 },
		"-for":         func(o *options) { o.length = 0 },
	} {
		o := good
		spoil(&o)
		if err := o.check(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}
