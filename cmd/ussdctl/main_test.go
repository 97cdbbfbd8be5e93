package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"ussdd/store"
	"ussdd/store/storetest"
)

var update = flag.Bool("update", false, "write the transcripts of testdata anew")

const (
	amina = "2348031234567"
	bola  = "2348051234567"
	// first is the purchase that the seed delivered, second one that is pending.
	first, second = int64(912000000000001), int64(912000000000002)
	session       = int64(912000000000000)
)

// TestTranscripts plays testdata/*.txt: each line "$ ussdctl …" is run and what
// follows it must be what it prints, then "[exit N]" unless that is 0. A line
// "# sql: …" changes the database first. Every transcript begins with the seed,
// schema.txt with no schema at all, and is the same on both engines.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	onEach(t, func(t *testing.T, engine string) {
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
				name := database(t, engine)
				if file != "testdata/schema.txt" {
					seed(t, name)
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				got := play(t, name, string(want))
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if got != string(want) {
					t.Errorf("-- got\n%s\n-- want\n%s", got, want)
				}
			})
		}
	})
}

// play runs the commands of a transcript and returns the transcript as it went.
func play(t *testing.T, name, transcript string) string {
	t.Helper()
	t.Setenv("USSDD_DATABASE", name)
	t.Setenv("USSDD_CONTROL", "-")
	engine, dsn, _ := strings.Cut(name, ":")
	var out bytes.Buffer
	for line := range strings.Lines(transcript) {
		line = strings.TrimSuffix(line, "\n")
		if statement, ok := strings.CutPrefix(line, "# sql: "); ok {
			fmt.Fprintln(&out, line)
			execute(t, name, statement)
		}
		command, ok := strings.CutPrefix(line, "$ ussdctl")
		if !ok {
			continue
		}
		fmt.Fprintln(&out, line)
		var printed bytes.Buffer
		code := run(t.Context(), strings.Fields(command), &printed, &printed)
		for line := range strings.Lines(printed.String()) {
			out.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
		if code != exitOK {
			fmt.Fprintf(&out, "[exit %d]\n", code)
		}
		fmt.Fprintln(&out)
	}
	if cfg, err := mysql.ParseDSN(dsn); engine == "mysql" && err == nil {
		name = fmt.Sprintf("mysql:%s(%s)/%s", cfg.Net, cfg.Addr, cfg.DBName)
	}
	return strings.NewReplacer(name, "DATABASE", engine+" schema", "ENGINE schema", `"`+engine+`"`, `"ENGINE"`).Replace(out.String())
}

// seed makes two wallets, a delivered purchase, a pending one, a session that
// ended and one that lives.
func seed(t *testing.T, name string) {
	t.Helper()
	clock := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	now := func() time.Time { return clock }
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := store.Open(ctx, name, store.Options{Now: now})
	must(err)
	defer db.Close()
	_, err = db.Migrate(ctx)
	must(err)
	_, _, err = db.Credit(ctx, store.Operation{Operator: "ngozi", Reason: "slip"}, amina, 1000_50, "manual", "slip-1")
	must(err)
	err = db.OpenWallets(ctx, []string{bola})
	must(err)

	buy := func(id, amount int64, recipient string) (store.Purchase, store.Attempt) {
		t.Helper()
		clock = clock.Add(time.Minute)
		p, _, err := db.Hold(ctx, store.Purchase{ID: id, Ref: store.Ref(id), Key: fmt.Sprint(id), Session: session, MSISDN: amina,
			Recipient: recipient, Network: "mtn", Amount: amount, Owner: "host-1"})
		must(err)
		a := store.Attempt{Purchase: id, N: 1, Vendor: "mtn", Reference: p.Ref, StartedAt: now()}
		p, err = db.Attempt(ctx, p, a)
		must(err)
		clock = clock.Add(1500 * time.Millisecond)
		a.FinishedAt = now()
		return p, a
	}
	p, a := buy(first, 100_00, amina)
	a.State, a.HTTPStatus, a.VendorRef, a.Cost, a.Detail = store.Delivered, 200, "MTN-77", 97_00, "\x1b[2Jsuccess\n\tindeed"
	a.Commission, a.Token = 2_50, "1234-5678"
	p.VendorRef, p.Cost, p.Token = a.VendorRef, a.Cost, a.Token
	_, err = db.Record(ctx, p, a, store.Delivered)
	must(err)
	p, a = buy(second, 250_00, bola)
	a.State, a.Reason, a.Queries = store.Pending, "timeout", 2
	p.Reason, p.NextAt = "pending:timeout", now().Add(5*time.Second)
	_, err = db.Record(ctx, p, a, store.Pending)
	must(err)

	live := store.Session{ID: session, SMSC: "mtn", MSISDN: amina, Dialogue: "77", Code: "*999#", Service: "airtime", Version: "0123456789ab",
		Screen: "processing", Steps: 2, StartedAt: clock, LastAt: clock.Add(3 * time.Second)}
	ended := live
	ended.ID, ended.MSISDN, ended.Screen, ended.Steps = session+9, bola, "bye", 1
	ended.EndedAt, ended.Reason = clock.Add(2*time.Second), "completed"
	must(db.SaveSessions(ctx, []store.Session{live, ended}, []store.Step{
		{Session: session, N: 1, At: clock, Screen: "main", Input: "1\x07", Shown: "network", TookMicros: 850},
		{Session: session, N: 2, At: clock.Add(3 * time.Second), Screen: "network", Input: "****", Shown: "processing", TookMicros: 4_000_000},
	}))
}

func TestSince(t *testing.T) {
	name := database(t, "sqlite")
	seed(t, name)
	db, err := store.Open(t.Context(), name, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	id := store.NewID()
	if _, _, err := db.Hold(t.Context(), store.Purchase{ID: id, Ref: store.Ref(id), Key: "now", MSISDN: amina, Recipient: amina,
		Network: "mtn", Amount: 1, Owner: "host-1"}); err != nil {
		t.Fatal(err)
	}
	if err := db.SaveSessions(t.Context(), []store.Session{{ID: id, StartedAt: time.Now()}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"purchase", "session"} {
		var out, complaint bytes.Buffer
		code := run(t.Context(), []string{what, "list", "-database", name, "-json", "-since", "1h"}, &out, &complaint)
		var rows []map[string]any
		if err := json.Unmarshal(out.Bytes(), &rows); code != 0 || err != nil || len(rows) != 1 {
			t.Errorf("%s list: exit %d, %v, %s%s", what, code, err, &complaint, &out)
		}
	}
}

func TestDatabaseName(t *testing.T) {
	for _, test := range []struct{ database, state, want string }{
		{"", "", "sqlite:ussdd.db"},
		{"", "/var/lib/ussdd", "sqlite:/var/lib/ussdd/ussdd.db"},
		{"sqlite:x.db", "/var/lib/ussdd", "sqlite:x.db"},
	} {
		t.Setenv("USSDD_DATABASE", test.database)
		t.Setenv("STATE_DIRECTORY", test.state)
		if got := databaseName(); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

func TestNoSuchFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "test.db")
	t.Setenv("USSDD_DATABASE", "sqlite:"+file)
	for _, command := range [][]string{{"wallet", "list"}, {"schema", "status"}} {
		var complaint bytes.Buffer
		code := run(t.Context(), command, io.Discard, &complaint)
		if code != exitDatabase || !strings.Contains(complaint.String(), "run `ussdctl schema migrate`\n"+
			"There is no file "+file+". Is USSDD_DATABASE set") {
			t.Errorf("%v: exit %d\n%s", command, code, &complaint)
		}
	}
}

// TestPasswordStaysHidden asks for everything that could show the DSN.
func TestPasswordStaysHidden(t *testing.T) {
	const dsn = "mysql:ussdd:hunter2@tcp(127.0.0.1:1)/ussdd"
	t.Setenv("USSDD_DATABASE", dsn)
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"help"}, exitOK},
		{[]string{"wallet", "list", "-help"}, exitOK},
		{[]string{"wallet", "list", "extra"}, exitUsage},
		{[]string{"wallet", "list"}, exitDatabase},
		{[]string{"wallet", "list", "-database", strings.TrimPrefix(dsn, "mysql:")}, exitDatabase},
		{[]string{"schema", "status", "-json"}, exitDatabase},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), test.args, &out, &out); code != test.code || strings.Contains(out.String(), "hunter2") {
			t.Errorf("%v: exit %d\n%s", test.args, code, &out)
		}
	}
}

func onEach(t *testing.T, test func(t *testing.T, engine string)) {
	for _, engine := range []string{"sqlite", "mysql"} {
		t.Run(engine, func(t *testing.T) { test(t, engine) })
	}
}

// database names an empty database that ends with the test.
func database(t *testing.T, engine string) string {
	t.Helper()
	if engine == "sqlite" {
		file := filepath.Join(t.TempDir(), "test.db")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return "sqlite:" + file
	}
	return storetest.MySQL(t)
}

// execute runs one statement that bypasses the store.
func execute(t *testing.T, name, statement string) {
	t.Helper()
	driver, dsn, _ := strings.Cut(name, ":")
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
