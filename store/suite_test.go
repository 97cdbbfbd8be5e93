package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ussdd/store"
	"ussdd/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// suite is what both engines must do. Each test has a fresh database with the
// current schema.
var suite = []struct {
	name string
	run  func(*fixture)
}{
	{"wallet is opened once", walletOpened},
	{"wallets are listed by number", walletsListed},
	{"credit counts once", creditOnce},
	{"credit refuses", creditRefuses},
	{"credit is approved", creditApproved},
	{"credits at once", creditsAtOnce},

	{"hold reserves", holdReserves},
	{"hold counts a key once", holdOnce},
	{"hold refuses", holdRefuses},
	{"hold asks before the same again", holdAsks},
	{"hold asks one of two at once", holdAsksOne},
	{"delivered at once", deliveredAtOnce},
	{"delivered by the second vendor", deliveredBySecond},
	{"failed at every vendor", failedEverywhere},
	{"pending, then delivered", pendingDelivered},
	{"pending, then failed", pendingFailed},
	{"released without an attempt", released},
	{"only allowed moves", onlyAllowedMoves},
	{"changes need the version and the owner", compareAndSet},
	{"attempt refuses", attemptRefuses},
	{"schema allows one live attempt", oneLiveAttempt},
	{"commission by date", commissionByDate},
	{"commission is rounded down", commissionRounded},
	{"no commission in force", noCommission},
	{"odd answers are cut to fit", oddAnswers},
	{"tokens are kept", tokensKept},
	{"purchases are listed", purchasesListed},

	{"review waits for a person", reviewWaits},
	{"review is resolved", reviewResolved},
	{"refunded in doubt, then delivered", refundedInDoubt},
	{"refunded in doubt, then failed", disputeEnds},
	{"dispute ended by hand", disputeEndedByHand},
	{"refunded in doubt, then delivered by hand", disputeMeetsTruth},
	{"refunded in doubt, delivered by another", otherDisputeEnds},
	{"delivered and reversed", deliveredAndReversed},
	{"reported in review", reportedInReview},
	{"delivered after the release", deliveredAfterRelease},
	{"delivered twice", deliveredTwice},
	{"reversed after the capture", reversedAfterCapture},
	{"vendors report by themselves", vendorsReport},
	{"vendors report by their own references", vendorsReportTheirs},
	{"two operators", twoOperators},
	{"journals only grow", journalsOnlyGrow},
	{"doubts begin with the attempt", doubtsBegin},
	{"breaches are listed", breachesListed},
	{"variances are listed", variancesListed},
	{"commission by vendor", commissionByVendor},

	{"deposits", deposits},
	{"deposits at once", depositsAtOnce},
	{"deposits credited by hand", depositsCredited},
	{"deposits credited at the same moment", depositMeetsCredit},
	{"deposits reported after their credit was undone", depositAfterUndoneCredit},
	{"deposits undone", depositsUndone},
	{"entries are reversed", entriesReversed},
	{"entries are listed", entriesListed},
	{"floats are topped up", floatsToppedUp},
	{"operators have names", operatorNames},

	{"limits", limits},
	{"velocity", velocity},
	{"limits by Lagos day", limitsByDay},
	{"limits at once", limitsAtOnce},

	{"outbox", outbox},
	{"outbox overtaken", outboxOvertaken},
	{"outbox switched off", outboxOff},

	{"a hundred buy from one wallet", hundredBuyers},
	{"one key from twenty", twentyOneKey},
	{"one key empties the wallet", oneKeyLastMoney},
	{"two decide at once", twoDecide},
	{"one attempts, one releases", twoMove},
	{"two programs share a database", twoPrograms},

	{"due gives its own in time", dueOwn},
	{"due adopts orphans", dueAdopts},
	{"due gives each orphan to one", dueConcurrent},
	{"leases are renewed and forgotten", leases},

	{"sessions are written once", sessionsSaved},
	{"older session records lose", sessionsOlder},
	{"sessions of one id", sessionsOneID},
	{"odd sessions are cut to fit", sessionsOdd},
	{"large batches", sessionsLarge},
	{"sessions are found", sessionsFound},
	{"sessions are ended", sessionsEnded},
	{"services are seen", servicesSeen},

	{"ledger of a busy day", ledgerClean},
	{"ledger checked while selling", ledgerWhileSelling},
	{"ledger sampled", ledgerSampled},
	{"ledger rounds", ledgerRounds},
	{"ledger tampered with", ledgerTampered},
	{"ledger broken a thousand times", ledgerManyViolations},

	{"migrated again", migratedAgain},
	{"schema new", schemaNew},
	{"schema changed", schemaChanged},
}

func TestStore(t *testing.T) {
	onEach(t, func(t *testing.T, engine engine) {
		for _, test := range suite {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(migratedFixture(t, engine))
			})
		}
	})
}

// engine makes databases of one kind.
type engine struct {
	name string
	// create makes an empty database that ends with the test.
	create func(t *testing.T) (name string)
	// migrated, if set, is the file of a database with the current schema, which
	// is quicker to copy than to make.
	migrated func() ([]byte, error)
}

// onEach runs a test on both engines, beside other tests.
func onEach(t *testing.T, run func(*testing.T, engine)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		run(t, engine{"sqlite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "test.db") }, migratedFile})
	})
	t.Run("mysql", func(t *testing.T) {
		t.Parallel()
		run(t, mysqlServer(t))
	})
}

var migratedFile = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "ussdd-store")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "migrated.db")
	db, err := store.Open(context.Background(), "sqlite:"+path, store.Options{})
	if err != nil {
		return nil, err
	}
	_, err = db.Migrate(context.Background())
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// mysqlServer is the server that the environment names, else the test is
// skipped.
func mysqlServer(t *testing.T) engine {
	storetest.Server(t)
	return engine{name: "mysql", create: func(t *testing.T) string { return storetest.MySQL(t) }}
}

// fixture is one test's database and the steps that tests are written in.
type fixture struct {
	*testing.T
	ctx    context.Context
	engine engine
	name   string
	db     *store.DB
	clock  atomic.Int64 // unix milliseconds; only the test moves it
	log    logRecord
	serial int

	limits   store.Limits
	messages bool
}

func newFixture(t *testing.T, e engine) *fixture {
	t.Helper()
	f := &fixture{T: t, ctx: t.Context(), engine: e, name: e.create(t)}
	f.clock.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMilli())
	f.db = f.open()
	return f
}

// migratedFixture is a fixture with the current schema.
func migratedFixture(t *testing.T, e engine) *fixture {
	t.Helper()
	f := newFixture(t, e)
	if e.migrated == nil {
		f.migrate()
		return f
	}
	file, err := e.migrated()
	if err == nil {
		err = os.WriteFile(strings.TrimPrefix(f.name, "sqlite:"), file, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) now() time.Time          { return time.UnixMilli(f.clock.Load()).UTC() }
func (f *fixture) advance(d time.Duration) { f.clock.Add(d.Milliseconds()) }

// open opens the same database once more, as another program would.
func (f *fixture) open() *store.DB {
	f.Helper()
	db, err := store.Open(f.ctx, f.name, store.Options{Now: f.now, Limits: f.limits, Messages: f.messages, Log: slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := db.Close(); err != nil {
			f.Error(err)
		}
	})
	return db
}

func (f *fixture) migrate() {
	f.Helper()
	if _, err := f.db.Migrate(f.ctx); err != nil {
		f.Fatal(err)
	}
}

// logRecord keeps what was logged.
type logRecord struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logRecord) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logRecord) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// raw is a connection that bypasses the store.
func (f *fixture) raw() *sql.DB {
	f.Helper()
	scheme, dsn, _ := strings.Cut(f.name, ":")
	db, err := sql.Open(scheme, storetest.FirstHost(dsn))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	// What these connections set stays set for the next statement.
	db.SetMaxOpenConns(1)
	return db
}

// tamper is exec with what keeps the journals from being changed out of the way.
func (f *fixture) tamper(statements ...string) {
	f.Helper()
	f.exec("DROP TRIGGER IF EXISTS entries_update", "DROP TRIGGER IF EXISTS entries_delete", "DROP TRIGGER IF EXISTS postings_update",
		"DROP TRIGGER IF EXISTS postings_delete")
	f.exec(statements...)
}

// exec runs statements that bypass the store and all checks.
func (f *fixture) exec(statements ...string) {
	f.Helper()
	db := f.raw()
	off := map[string][]string{
		"sqlite": {"PRAGMA foreign_keys = OFF", "PRAGMA ignore_check_constraints = ON", "PRAGMA busy_timeout = 10000"},
		"mysql":  {"SET foreign_key_checks = 0", "SET check_constraint_checks = 0"},
	}
	for _, s := range append(off[f.engine.name], statements...) {
		if _, err := db.Exec(s); err != nil {
			f.Fatalf("%s: %v", s, err)
		}
	}
}

const (
	amina = "2348031234567"
	bola  = "2348051234567"
	self  = "instance-1" // the owner whose life the test is about
	other = "instance-2"
)

// fund credits the subscriber's wallet.
func (f *fixture) fund(msisdn string, amount int64) {
	f.Helper()
	f.serial++
	if _, _, err := f.db.Credit(f.ctx, by("ngozi"), msisdn, amount, "test", fmt.Sprint("fund-", f.serial)); err != nil {
		f.Fatal(err)
	}
}

// order is a purchase as a desk would hand it to Hold, of N100 for the payer, who
// wants it whatever is open.
func (f *fixture) order() store.Purchase {
	f.serial++
	id := store.NewID()
	return store.Purchase{
		ID: id, Ref: store.Ref(id), Key: fmt.Sprint("key-", f.serial), Session: 7, MSISDN: amina, Recipient: bola, Network: "mtn",
		Amount: 100_00, Owner: self, NextAt: f.now().Add(time.Minute), Again: true,
	}
}

func (f *fixture) hold(p store.Purchase) store.Purchase {
	f.Helper()
	stored, created, err := f.db.Hold(f.ctx, p)
	if err != nil || !created {
		f.Fatalf("hold: created %v, %v", created, err)
	}
	return stored
}

// begin records the next attempt of p at a vendor.
func (f *fixture) begin(p store.Purchase, vendor string) (store.Purchase, store.Attempt) {
	f.Helper()
	a := nextAttempt(f, p, vendor)
	p.NextAt = f.now().Add(time.Minute)
	sending, err := f.db.Attempt(f.ctx, p, a)
	if err != nil {
		f.Fatal(err)
	}
	a.State = store.Sending
	return sending, a
}

func nextAttempt(f *fixture, p store.Purchase, vendor string) store.Attempt {
	a := store.Attempt{Purchase: p.ID, N: p.Attempts + 1, Vendor: vendor, Reference: p.Ref, StartedAt: f.now()}
	if a.N > 1 {
		a.Reference = fmt.Sprintf("%s-%d", p.Ref, a.N)
	}
	return a
}

// finish records that the attempt ended in a state and moves the purchase.
func (f *fixture) finish(p store.Purchase, a store.Attempt, state, next string) store.Purchase {
	f.Helper()
	a.State, a.FinishedAt = state, f.now()
	recorded, err := f.db.Record(f.ctx, p, a, next)
	if err != nil {
		f.Fatal(err)
	}
	return recorded
}

// delivered is a purchase that the vendor delivered.
func (f *fixture) delivered(p store.Purchase, vendor string) store.Purchase {
	f.Helper()
	p, a := f.begin(f.hold(p), vendor)
	return f.finish(p, a, store.Delivered, store.Delivered)
}

// stored reads a purchase back.
func (f *fixture) stored(ref string) (store.Purchase, []store.Attempt) {
	f.Helper()
	p, attempts, err := f.db.Purchase(f.ctx, ref)
	if err != nil {
		f.Fatal(err)
	}
	return p, attempts
}

// wallet checks a wallet's balance and held sum.
func (f *fixture) wallet(msisdn string, balance, held int64) {
	f.Helper()
	w, err := f.db.Wallet(f.ctx, msisdn)
	if err != nil {
		f.Fatal(err)
	}
	if w.Balance != balance || w.Held != held {
		f.Errorf("wallet has %d and holds %d, want %d and %d", w.Balance, w.Held, balance, held)
	}
}

// accounts checks the sums of the ledger's accounts, and that nothing is wrong
// with it.
func (f *fixture) accounts(want ...store.AccountTotal) {
	f.Helper()
	report := f.check()
	for _, v := range report.Violations {
		f.Errorf("violation: %+v", v)
	}
	if fmt.Sprint(report.Accounts) != fmt.Sprint(want) {
		f.Errorf("accounts are %v, want %v", report.Accounts, want)
	}
}

func (f *fixture) check() store.LedgerReport {
	f.Helper()
	report, err := f.db.CheckLedger(f.ctx)
	if err != nil {
		f.Fatal(err)
	}
	return report
}

// wantErr checks an error by errors.Is; want nil means none.
func (f *fixture) wantErr(what string, err, want error) {
	f.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		f.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// times runs fn in n goroutines at once and waits for them.
func times(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}

func TestOpenNames(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("not a database, and long enough to be sure of it: "+strings.Repeat("x", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, want string }{
		{"", "open database: the name must be sqlite:PATH or mysql:DSN"},
		{"ussdd.db", "open database: the name must be sqlite:PATH or mysql:DSN"},
		{"postgres://ussdd:hunter2@localhost/ussdd", "open database: the name must be sqlite:PATH or mysql:DSN"},
		{"ussdd:hunter2@tcp(localhost)/ussdd", "open database: the name must be sqlite:PATH or mysql:DSN"},
		{"sqlite:", "open database: sqlite: no path after the colon"},
		{"sqlite::memory:", "open database: sqlite: the name is the path of a file, without options"},
		{"sqlite:x.db?mode=ro", "open database: sqlite: the name is the path of a file, without options"},
		{"sqlite:" + dir + "/none/x.db", "open database: sqlite:" + dir + "/none/x.db: stat " + dir + "/none: no such file or directory"},
		{"sqlite:" + file + "/x.db", "open database: sqlite:" + file + "/x.db: " + file + " is not a directory"},
		{"sqlite:" + file, "open database: sqlite:" + file + ": file is not a database (26)"},
		{"mysql:", "open database: mysql: the DSN names no database; its form is user:password@tcp(host:3306)/database"},
		{"mysql:ussdd:hun/ter2@tcp(localhost)", "open database: mysql: the DSN cannot be read; its form is user:password@tcp(host:3306)/database"},
		{"mysql:ussdd:hunter2@tcp(localhost)/", "open database: mysql: the DSN names no database; its form is user:password@tcp(host:3306)/database"},
	} {
		db, err := store.Open(t.Context(), test.name, store.Options{})
		if err == nil {
			db.Close()
		}
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: error %v, want %s", test.name, err, test.want)
		}
	}
}

func TestOpenMakesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b%20c#d.db") // characters that mean something in a URI
	db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(t.Context()); err == nil {
		t.Error("ping of a database that is not there succeeded")
	}
	if err := db.CheckSchema(t.Context()); !errors.Is(err, store.ErrSchemaMissing) {
		t.Errorf("schema: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("looking at the database made its file: %v", err)
	}
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v", info.Mode())
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDefaultName(t *testing.T) {
	for dir, want := range map[string]string{
		"":                              "sqlite:ussdd.db",
		"/var/lib/ussdd":                "sqlite:/var/lib/ussdd/ussdd.db",
		"/var/lib/ussdd:/var/lib/other": "sqlite:/var/lib/ussdd/ussdd.db",
	} {
		if got := store.DefaultName(dir); got != want {
			t.Errorf("DefaultName(%q) = %s, want %s", dir, got, want)
		}
	}
}
