// Command chaos has hundreds of subscribers buy airtime at once while everything
// breaks, then mends everything, waits until no purchase is open, and audits the
// books against what the vendors say that they delivered.
//
//	go run ./scripts/chaos -seed 1 -subscribers 300 -for 1m -database mariadb
//
// The system is the real one: vendorsim, ussdd (two instances on one private
// MariaDB, or one on SQLite) and ussdctl as processes, with the SMSC and its
// handsets inside this program. The life of a run:
//
//  1. plan.go decides everything from the seed: who buys what when and how he
//     leaves, which fault of the SMSC strikes him, and for each saboteur what he
//     does when. Each actor draws from a source of his own.
//  2. subscriber.go has the subscribers live. They read what they see, so that
//     an outage changes what they come to, but not what they wanted.
//  3. sabotage.go has the saboteurs strike: ussdd and mariadbd are killed with
//     SIGKILL and started again, links cut and unbound, vendors made to fail,
//     hang, deliver and say that they did not; operators reload and pay in.
//     Their time is the number of orders begun so far.
//  4. Everything is mended, and the reconcilers have their time.
//  5. audit.go checks what must hold, each with its counts.
//
// A seed fixes the plan, whose digest is printed: the same seed, subscribers,
// time and database give the same decisions in the same order. It does not fix
// the run: on which instruction a process dies, which of two transactions is
// first, and so how many purchases there are, is the machine's. A failure thus
// comes again with its seed often, not always; the directory that is kept has
// every log and the database.
//
// Exit status: 0 all holds; 1 something does not, or the run could not be made;
// 2 the command line is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ussdd/scripts/stack"
	"ussdd/smpp/smpptest"
	"ussdd/store"
)

const kobo = 100 // of one naira

// options is the command line.
type options struct {
	seed        uint64
	subscribers int
	length      time.Duration
	database    string // "sqlite" or "mariadb"
	keep        bool   // the database, also if all holds
}

func main() { os.Exit(command()) }

func command() int {
	var o options
	flag.Uint64Var(&o.seed, "seed", 1, "decides everything that is decided; the same `number` again makes the same plan")
	flag.IntVar(&o.subscribers, "subscribers", 300, "`number` of subscribers who buy at the same time")
	flag.DurationVar(&o.length, "for", time.Minute, "how long the subscribers would take if nothing were in their way")
	flag.StringVar(&o.database, "database", "mariadb", "`engine`: sqlite, with one ussdd, or mariadb, with two")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory with the logs and the database also if all holds")
	flag.Parse()
	if err := o.check(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "ussdd-chaos-")
	if err == nil {
		fmt.Println("Building vendorsim, ussdd and ussdctl …")
		if err = stack.Build(ctx, dir); err == nil {
			err = chaos(ctx, o, dir, dir, os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nchaos: %v\nlogs and database: %s\n", err, dir)
		return 1
	}
	if o.keep {
		fmt.Println("logs and database:", dir)
	} else if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	return 0
}

// check says what is wrong with the command line; args is what follows the flags.
func (o options) check(args []string) error {
	switch {
	case len(args) > 0:
		return fmt.Errorf("unexpected argument %q", args[0])
	case o.database != "sqlite" && o.database != "mariadb":
		return fmt.Errorf("-database %q is neither sqlite nor mariadb", o.database)
	case o.subscribers < 1 || o.subscribers > 100_000:
		return fmt.Errorf("-subscribers %d is outside 1 to 100000", o.subscribers)
	case o.length < time.Second:
		return fmt.Errorf("-for %v is shorter than 1s", o.length)
	}
	return nil
}

// run is one run of the chaos.
type run struct {
	*stack.Stack
	plan  plan
	sim   *smpptest.Sim
	maria *stack.MariaDB // nil: SQLite
	clock clock
	out   io.Writer

	mu        sync.Mutex
	instances []*stack.Process
	counts    map[string]int
	confirms  map[string]int   // confirmations by subscriber
	paid      map[string]int64 // kobo paid into wallets
	successes []success
	failures  []string
}

// Times that are short because the run is, all within what ussdd check takes.
var environment = []string{"USSDD_LEASE=3s", "USSDD_STEP_BUDGET=1s", "USSDD_VEND_TIMEOUT=4s", "USSDD_SESSION_IDLE=10s", "USSDD_SESSION_MAX=60s",
	"USSDD_MAX_PURCHASES=1000"}

var vendorTimes = stack.VendorTimes{Total: 3 * time.Second, Grace: 2 * time.Second, Found: 2,
	After: []time.Duration{500 * time.Millisecond, time.Second, time.Second, 2 * time.Second}}

const (
	slowAnswer  = 1500 * time.Millisecond
	healTimeout = 5 * time.Minute
	runAtMost   = 4 // times the length, and healTimeout, before the actors are stopped
)

// chaos makes a run with the binaries in bin and everything that is written in
// dir, and reports to out. The error says what does not hold; dir then has the
// database's tables as text.
func chaos(ctx context.Context, o options, bin, dir string, out io.Writer) error {
	size := scale{subscribers: o.subscribers, instances: 1, length: o.length}
	if o.database == "mariadb" {
		size.instances, size.server = 2, true
	}
	r := &run{
		Stack: stack.New(bin, dir), out: out, clock: clock{changed: make(chan struct{})},
		plan: newPlan(o.seed, size), instances: make([]*stack.Process, size.instances),
		counts: make(map[string]int), confirms: make(map[string]int), paid: make(map[string]int64),
	}
	defer r.Close()
	fmt.Fprintf(out, "seed %d, plan %s: %d subscribers, %d orders, %d ussdd on %s\n", o.seed, r.plan.digest(), o.subscribers, r.plan.orders, size.instances, o.database)
	if err := r.setUp(ctx, o.database); err != nil {
		return err
	}
	defer r.sim.Close()
	err := r.play(ctx, o.length)
	if (err != nil || o.keep) && r.maria != nil {
		err = errors.Join(err, r.dump(context.WithoutCancel(ctx)))
	}
	return err
}

// play is a run once everything has started.
func (r *run) play(ctx context.Context, length time.Duration) error {
	begun := time.Now()
	if err := r.wreck(ctx, runAtMost*length+healTimeout); err != nil {
		return err
	}
	wrecked := time.Now()
	err := r.heal(ctx)
	r.report()
	if err != nil {
		return err
	}
	fmt.Fprintf(r.out, "\n%.1f s of chaos, %.1f s until everything was decided\n\n", wrecked.Sub(begun).Seconds(), time.Since(wrecked).Seconds())
	return r.audit(ctx)
}

// setUp starts everything and fills the wallets.
func (r *run) setUp(ctx context.Context, database string) error {
	var err error
	if database == "mariadb" {
		if r.maria, err = r.MariaDB(ctx); err != nil {
			return err
		}
	}
	db, err := store.Open(ctx, r.Database, store.Options{})
	if err != nil {
		return err
	}
	_, err = db.Migrate(ctx)
	begin := store.Operation{Operator: "chaos", Reason: "what they begin with"}
	for _, s := range r.plan.subscribers {
		if err == nil {
			_, _, err = db.Credit(ctx, begin, s.msisdn, int64(s.naira)*kobo, "manual", "begin-"+s.msisdn)
		}
		r.paid[s.msisdn] = int64(s.naira) * kobo
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	vendors := filepath.Join(r.Dir, "vendors")
	if err := stack.WriteVendors(vendors, vendorTimes); err != nil {
		return err
	}
	r.Env = append(slices.Clone(environment), "USSDD_VENDORS="+vendors)
	if _, err := r.Vendorsim(ctx, "-slow", slowAnswer.String()); err != nil {
		return err
	}
	account := smpptest.Account{SystemID: stack.SystemID, Password: stack.Password}
	if r.sim, err = smpptest.Start(smpptest.Config{Accounts: []smpptest.Account{account}}); err != nil {
		return err
	}
	r.SMSCAddr = r.sim.Addr()
	for i := range r.instances {
		if err := r.start(ctx, i); err != nil {
			return err
		}
	}
	return r.sim.WaitBound(ctx, "")
}

// wreck has all actors act, until the subscribers are done and nobody strikes
// any more.
func (r *run) wreck(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var actors sync.WaitGroup
	for _, s := range r.plan.subscribers {
		actors.Go(func() { r.live(ctx, s) })
	}
	for _, strikes := range r.plan.actors {
		actors.Go(func() { r.strikeAll(ctx, strikes) })
	}
	actors.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("the actors did not come to their ends: %w", ctx.Err())
	}
	return nil
}

// heal mends everything and waits until everything is decided.
func (r *run) heal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	for provider := range r.Vendors {
		if provider != "control" {
			if err := r.Fault(ctx, provider, "none"); err != nil {
				return err
			}
		}
	}
	for i := range r.instances {
		if err := r.until(ctx, "ussdd ready", func() bool { return r.ready(ctx, i) }); err != nil {
			return err
		}
	}
	var open []struct{ Ref, State, Reason string }
	err := r.until(ctx, "every purchase decided", func() bool {
		return r.CtlJSON(ctx, &open, "purchase", "list", "-json", "-state", "open") == nil && len(open) == 0
	})
	if err != nil {
		return fmt.Errorf("%w: %d are open: %.600v", err, len(open), open)
	}
	return r.until(ctx, "every message sent", func() bool { return r.unsent(ctx) == 0 })
}

// until waits for something that other processes do.
func (r *run) until(ctx context.Context, what string, ok func() bool) error {
	for !ok() {
		if !pause(ctx, startAgain) {
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
	return nil
}

func (r *run) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what]++
}

func (r *run) confirmed(msisdn string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.confirms[msisdn]++
}

// fail takes down what must not be.
func (r *run) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// report prints what was injected and what it came to.
func (r *run) report() {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.counts)
	for fault, n := range r.sim.Struck() {
		all["struck: smsc "+fault] = n
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(r.out, "%6d  %s\n", all[name], name)
	}
}

// problems are the failures so far as an error; nil if there are none.
func (r *run) problems() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failures) == 0 {
		return nil
	}
	return errors.New(strings.Join(r.failures, "\n"))
}
