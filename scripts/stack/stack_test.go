package stack_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ussdd/scripts/stack"
	"ussdd/smpp/smpptest"
	"ussdd/store/storetest"
)

// bin has the project's commands, built once with the race detector and the
// crash points.
var bin string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	// The tests wait for other processes, and do little themselves.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// A race is the end of a process, and the end comes without a second's sleep.
	os.Setenv("GORACE", "halt_on_error=1 atexit_sleep_ms=0")
	dir, err := os.MkdirTemp("", "ussdd-bin-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = stack.Build(context.Background(), dir, "-race", "-tags", "crashpoints")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = dir
	return m.Run()
}

// deadline bounds a test; nothing depends on how much of it is used.
const deadline = 5 * time.Minute

// patient has subscribers wait for an action however slow the machine is. Tests
// of the processing screen have a budget that is brief, and yet long enough for
// what waits for no vendor.
const (
	patient = "USSDD_STEP_BUDGET=20s"
	brief   = "USSDD_STEP_BUDGET=2s"
)

// caller is the subscriber of every test, and funds what the wallet begins with.
const (
	caller = "2348031234567"
	funds  = 200_000 // kobo
)

// rig is a stack whose SMSC is inside the test.
type rig struct {
	*stack.Stack
	t   *testing.T
	ctx context.Context
	sim *smpptest.Sim
}

// engines runs f on SQLite and, where there is one, on MariaDB or MySQL.
func engines(t *testing.T, f func(t *testing.T, database func(*testing.T, string) string)) {
	t.Run("sqlite", func(t *testing.T) {
		f(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	})
	t.Run("mysql", func(t *testing.T) {
		storetest.Server(t)
		f(t, func(t *testing.T, _ string) string { return storetest.MySQL(t) })
	})
}

// newRig starts an SMSC and the vendors, and funds the caller's wallet. The
// daemon is the test's to start.
func newRig(t *testing.T, database func(*testing.T, string) string) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	r := &rig{Stack: stack.New(bin, t.TempDir()), t: t, ctx: ctx}
	r.Env = []string{patient}
	r.Database = database(t, r.Dir)
	t.Cleanup(r.Close)
	var err error
	if r.sim, err = smpptest.Start(smpptest.Config{Accounts: []smpptest.Account{{SystemID: stack.SystemID, Password: stack.Password}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.sim.Close()
		if list := r.sim.Mismatches(); len(list) > 0 {
			t.Errorf("go-smpp reads PDUs otherwise: %v", list)
		}
	})
	r.SMSCAddr = r.sim.Addr()
	if _, err := r.Vendorsim(ctx); err != nil {
		t.Fatal(err)
	}
	r.ctl("schema", "migrate")
	r.ctl("wallet", "credit", "-reference", "test-1", caller, "2000")
	return r
}

func (r *rig) ctl(args ...string) string {
	r.t.Helper()
	out, err := r.Ctl(r.ctx, args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(out)
}

func (r *rig) daemon(env ...string) *stack.Process {
	r.t.Helper()
	p, err := r.Daemon(r.ctx, env...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.until(func() bool {
		code, _ := r.get("http://" + p.Admin + "/readyz")
		return code == http.StatusOK
	})
	return p
}

// walk plays the handset up to and without the last answer, and checks each
// screen that has something to check.
func (r *rig) walk(h *smpptest.Handset, steps ...[2]string) {
	r.t.Helper()
	for i, s := range steps {
		var screen smpptest.Screen
		var err error
		if i == 0 {
			screen, err = h.Dial(r.ctx, s[0])
		} else {
			screen, err = h.Answer(r.ctx, s[0])
		}
		if err != nil {
			r.t.Fatalf("%s: %v", s[0], err)
		}
		if !strings.Contains(screen.Text, s[1]) {
			r.t.Fatalf("typed %s and saw\n%s\nwant %q in it", s[0], screen.Text, s[1])
		}
	}
}

// order is the way to the confirmation of N100 of MTN airtime.
func order(recipient string) [][2]string {
	return [][2]string{{"*999#", "1. Buy Airtime"}, {"1", "Select Network:"}, {"1", "Enter phone number:"},
		{recipient, "Select Amount:"}, {"2", "Amount: N100"}}
}

// row is a purchase as ussdctl prints it.
type row struct {
	Ref, State, Reason, Vendor string
	Attempts                   int
	Amount                     int64 `json:"amount_kobo"`
}

// money is a wallet as ussdctl prints it.
type money struct {
	Balance int64 `json:"balance_kobo"`
	Held    int64 `json:"held_kobo"`
}

func (r *rig) purchases() []row {
	r.t.Helper()
	var rows []row
	if err := r.CtlJSON(r.ctx, &rows, "purchase", "list", "-json", "-limit", "1000"); err != nil {
		r.t.Fatal(err)
	}
	return rows
}

// decided waits until no purchase is open.
func (r *rig) decided() []row {
	r.t.Helper()
	var rows []row
	r.until(func() bool {
		rows = r.purchases()
		for _, p := range rows {
			if p.State != "delivered" && p.State != "failed" {
				return false
			}
		}
		return true
	})
	return rows
}

// told waits until the caller has one message about each purchase, whose text
// may have come more than once, and no other.
func (r *rig) told(rows []row) {
	r.t.Helper()
	r.until(func() bool {
		texts := make(map[string]bool)
		for _, m := range r.sim.SMS("") {
			if m.To != caller || m.From != "999" {
				r.t.Fatalf("a message from %s to %s", m.From, m.To)
			}
			texts[m.Text] = true
		}
		for _, p := range rows {
			n := 0
			for text := range texts {
				if strings.Contains(text, p.Ref) {
					n++
				}
			}
			if n > 1 {
				r.t.Fatalf("%d messages about %s: %v", n, p.Ref, texts)
			}
		}
		if len(texts) > len(rows) {
			r.t.Fatalf("%d messages about %d purchases: %v", len(texts), len(rows), texts)
		}
		return len(texts) == len(rows)
	})
}

// balanced checks what an auditor would: the ledger, the wallet, and that the
// vendors delivered exactly what was captured.
func (r *rig) balanced() []row {
	r.t.Helper()
	r.ctl("ledger", "check")
	rows := r.purchases()
	var wallet money
	if err := r.CtlJSON(r.ctx, &wallet, "wallet", "show", "-json", caller); err != nil {
		r.t.Fatal(err)
	}
	sold, err := r.Deliveries(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	delivered := make(map[string]int)
	for _, d := range sold.Deliveries {
		ref := d.Reference
		if len(ref) > len("TXN-0123456789ABC") {
			ref = ref[:len("TXN-0123456789ABC")]
		}
		delivered[ref] += d.Count
	}
	spent := int64(0)
	for _, p := range rows {
		want := 0
		if p.State == "delivered" {
			want = 1
			spent += p.Amount
		}
		if delivered[p.Ref] != want {
			r.t.Errorf("%s is %s and was delivered %d times", p.Ref, p.State, delivered[p.Ref])
		}
		delete(delivered, p.Ref)
	}
	if len(delivered) > 0 || sold.Doubled != 0 {
		r.t.Errorf("vendors delivered beyond the books: %v, doubled %d", delivered, sold.Doubled)
	}
	if wallet.Balance != funds-spent || wallet.Held != 0 {
		r.t.Errorf("wallet has %d and %d on hold, want %d and 0", wallet.Balance, wallet.Held, funds-spent)
	}
	return rows
}
