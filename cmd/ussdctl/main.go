// Command ussdctl is the operators' command line: schema, wallets, purchases,
// the ledger and sessions, which it works on in the database itself, whether the
// daemon runs or not; links, pushes, breakers and routes, which it asks the daemon
// for; and vendors' files and decode, which need neither.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ussdd/store"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1 // not found, refused, or violations found
	exitUsage    = 2
	exitDatabase = 3 // the database or its schema is in the way
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command is one of ussdctl's.
type command struct {
	name    string // "wallet credit"
	args    string // what follows it, for the usage
	does    string
	run     func(*call) error
	flags   func(*call, *flag.FlagSet)
	n       int  // how many arguments it takes
	bare    bool // works on a database without a current schema
	offline bool // works without a database
}

var commands = slices.Concat([]command{
	{name: "schema migrate", does: "bring the database's schema up to date", run: schemaMigrate, bare: true},
	{name: "schema status", does: "say where the schema stands; exit code 3 unless it is current", run: schemaStatus, bare: true},
	{name: "wallet credit", args: "-reference REF MSISDN AMOUNT", n: 2, does: "add naira to a wallet; the same reference credits once", run: walletCredit,
		flags: func(c *call, f *flag.FlagSet) {
			f.StringVar(&c.reference, "reference", "", "what proves the payment, such as the bank's `reference`; required")
			f.StringVar(&c.source, "source", "manual", "account that the money comes from, funding:`SOURCE`")
			secondOperator(c, f)
			f.StringVar(&c.reason, "note", "", "`why`, for the audit log and the entry, instead of the reference")
		}},
	{name: "wallet show", args: "MSISDN", n: 1, does: "balance and hold of one wallet", run: walletShow},
	{name: "wallet list", does: "wallets by number", run: walletList, flags: func(c *call, f *flag.FlagSet) {
		listFlags(c, f)
		f.StringVar(&c.after, "after", "", "only numbers behind this `MSISDN`")
	}},
	{name: "purchase list", does: "purchases, newest first", run: purchaseList, flags: func(c *call, f *flag.FlagSet) {
		listFlags(c, f)
		f.StringVar(&c.msisdn, "msisdn", "", "only those that this `MSISDN` paid for")
		f.StringVar(&c.state, "state", "", "only `STATE`: "+purchaseStates+"; or open")
		f.BoolVar(&c.breach, "breach", false, "only those refunded or decided later than they may be")
		f.BoolVar(&c.variance, "variance", false, "only those whose vendor took another cost than computed")
		f.DurationVar(&c.since, "since", 0, "only those of the last `DURATION`, such as 24h")
	}},
	{name: "purchase show", args: "TXN", n: 1, does: "one purchase with its attempts, and what the subscriber was told", run: purchaseShow, flags: func(c *call, f *flag.FlagSet) {
		f.BoolVar(&c.full, "full", false, "also the token that the vendor gave for the subscriber, which is like cash")
	}},
	{name: "ledger check", does: "prove the books; exit code 1 if anything is off", run: ledgerCheck},
	{name: "session list", does: "sessions, newest first", run: sessionList, flags: func(c *call, f *flag.FlagSet) {
		listFlags(c, f)
		f.StringVar(&c.msisdn, "msisdn", "", "only those of this `MSISDN`")
		f.BoolVar(&c.live, "live", false, "only those that have not ended")
		f.DurationVar(&c.since, "since", 0, "only those of the last `DURATION`, such as 1h")
	}},
	{name: "session show", args: "ID", n: 1, does: "one session with its steps", run: sessionShow},
	{name: "decode", args: "HEX|FILE|-", n: 1, does: "explain PDUs: hexadecimal, raw octets or a capture (pcap, pcapng)", run: decode, offline: true, flags: decodeFlags},
	{name: "link list", does: "the links to SMSCs with their binds", run: linkList, flags: controlFlags, offline: true},
	{name: "link up", args: "NAME", n: 1, does: "bind a link and wait until all its binds are bound", run: linkUp, flags: waitFlags, offline: true},
	{name: "link down", args: "NAME", n: 1, does: "unbind a link and wait for it; so it stays until link up or a restart", run: linkDown, flags: waitFlags, offline: true},
	{name: "link drain", args: "NAME", n: 1, does: "let a link's live dialogues go on and refuse new ones", run: linkDrain, flags: waitFlags, offline: true},
	{name: "link trace", args: "NAME", n: 1, does: "show a link's PDUs as they pass", run: linkTrace, offline: true, flags: func(c *call, f *flag.FlagSet) {
		controlFlags(c, f)
		f.StringVar(&c.msisdn, "msisdn", "", "only the PDUs of this `MSISDN`")
		f.BoolVar(&c.inputs, "inputs", false, "show what subscribers type, which may be a PIN")
		f.BoolVar(&c.full, "full", false, "whole numbers of subscribers, not masked ones")
		f.StringVar(&c.pcap, "pcap", "", "also write the PDUs, numbers included, to `FILE` for Wireshark and tshark")
		f.DurationVar(&c.wait, "for", 0, "end after `DURATION`, such as 30s; otherwise ^C ends it")
	}},
	{name: "push", args: "-smsc NAME -msisdn MSISDN -service CODE", does: "open a service's menu on a handset, or only tell it something", run: push, offline: true,
		flags: func(c *call, f *flag.FlagSet) {
			controlFlags(c, f)
			f.StringVar(&c.smsc, "smsc", "", "`NAME` of the SMSC; required")
			f.StringVar(&c.msisdn, "msisdn", "", "whose handset: a number in any spelling; required")
			f.StringVar(&c.service, "service", "", "`CODE` of the service, such as *999#, which the subscriber sees as the sender; required")
			f.StringVar(&c.text, "text", "", "tell this `TEXT` and open no menu")
		}},
}, moneyCommands, vendorCommands, breakerCommands)

// controlFlags are those of the commands that ask the daemon.
func controlFlags(c *call, f *flag.FlagSet) {
	f.StringVar(&c.control, "control", "", "`PATH` of the daemon's control socket, instead of USSDD_CONTROL")
}

func waitFlags(c *call, f *flag.FlagSet) {
	controlFlags(c, f)
	f.DurationVar(&c.wait, "wait", 30*time.Second, "give up after `DURATION`")
}

func listFlags(c *call, f *flag.FlagSet) {
	c.limit = 50
	f.Func("limit", "at most `N` rows (default 50)", func(s string) (err error) {
		if c.limit, err = strconv.Atoi(s); err == nil && c.limit < 1 {
			err = errors.New("it is 1 or more")
		}
		return err
	})
	f.BoolVar(&c.full, "full", false, "whole numbers of subscribers, not masked ones")
}

// call is one run of a command.
type call struct {
	ctx  context.Context
	db   *store.DB
	out  io.Writer
	args []string
	json bool

	full, live                              bool
	limit                                   int
	since                                   time.Duration
	after, msisdn, reference, source, state string

	brief                              bool
	profile                            string
	knobs                              []string // NAME=VALUE
	inputs                             bool
	wait                               time.Duration
	control, pcap, service, smsc, text string

	vendor vendorFlags
	operation
}

// usageError is the caller's mistake.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func misused(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	if word := strings.TrimLeft(args[0], "-"); word == "help" || word == "h" {
		usage(stdout)
		return exitOK
	}
	for _, cmd := range commands {
		words := strings.Fields(cmd.name)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return cmd.call(ctx, args[len(words):], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "ussdctl: no command %q; see ussdctl help\n", strings.Join(args[:min(2, len(args))], " "))
	return exitUsage
}

func (cmd command) call(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &call{ctx: ctx, out: stdout}
	f := flag.NewFlagSet("ussdctl "+cmd.name, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "usage: ussdctl %s %s\n%s\n", cmd.name, cmd.args, cmd.does)
		f.PrintDefaults()
	}
	f.BoolVar(&c.json, "json", false, "print JSON")
	var database string
	if !cmd.offline {
		// No default here: the flag's help would show the DSN's password.
		f.StringVar(&database, "database", "", "sqlite:PATH or mysql:DSN, instead of USSDD_DATABASE as `NAME`")
	}
	if cmd.flags != nil {
		cmd.flags(c, f)
	}
	// Flags may stand before and behind the arguments.
	for rest := args; ; rest = f.Args()[1:] {
		if err := f.Parse(rest); errors.Is(err, flag.ErrHelp) {
			return exitOK
		} else if err != nil {
			return exitUsage
		}
		if f.NArg() == 0 {
			break
		}
		c.args = append(c.args, f.Arg(0))
	}
	if len(c.args) != cmd.n {
		f.Usage()
		return exitUsage
	}
	if database == "" {
		database = databaseName()
	}
	err := cmd.do(c, database)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "ussdctl %s: %v\n", cmd.name, err)
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok && errors.Is(err, store.ErrSchemaMissing) {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(stderr, "There is no file %s. Is USSDD_DATABASE set as it is for ussdd?\n", path)
		}
	}
	return cmd.exitCode(err)
}

// do runs the command, on the database unless it needs none.
func (cmd command) do(c *call, database string) error {
	if cmd.offline {
		return cmd.run(c)
	}
	if err := c.open(database, cmd.bare); err != nil {
		return err
	}
	return errors.Join(cmd.run(c), c.db.Close())
}

// errViolations ends a check of the ledger that found some, and has printed them.
var errViolations = errors.New("the ledger is broken")

// open opens the database for the command.
func (c *call) open(name string, bare bool) error {
	var err error
	if c.db, err = store.Open(c.ctx, name, store.Options{Messages: os.Getenv("USSDD_SMS_VIA") != "-"}); err != nil {
		return databaseError{err}
	}
	if bare {
		return nil
	}
	if err := c.db.CheckSchema(c.ctx); err != nil {
		return databaseError{errors.Join(err, c.db.Close())}
	}
	return nil
}

// databaseError says that the database is in the way.
type databaseError struct{ error }

func (e databaseError) Unwrap() error { return e.error }

func (cmd command) exitCode(err error) int {
	switch {
	case errors.As(err, new(databaseError)):
		return exitDatabase
	case errors.As(err, new(usageError)), errors.Is(err, store.ErrInvalid):
		return exitUsage
	case errors.Is(err, errViolations), errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrMismatch),
		errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrInsufficient), errors.Is(err, store.ErrApproval), cmd.offline:
		return exitFailed
	}
	return exitDatabase
}

// databaseName is the daemon's rule.
func databaseName() string {
	if name := os.Getenv("USSDD_DATABASE"); name != "" {
		return name
	}
	return store.DefaultName(os.Getenv("STATE_DIRECTORY"))
}

func usage(w io.Writer) {
	fmt.Fprint(w, `ussdctl works on ussdd's database: USSDD_DATABASE, or -database sqlite:PATH or mysql:DSN.
The DSN may name several hosts of a Galera cluster: user:password@tcp(host:port,host:port)/database.
For links, pushes, breakers and routes it asks the running ussdd, through its socket: USSDD_CONTROL, or -control PATH.

`)
	rows := [][]string{}
	for _, cmd := range commands {
		rows = append(rows, []string{"ussdctl " + cmd.name + " " + cmd.args, cmd.does})
	}
	table(w, nil, rows)
	fmt.Fprint(w, `
-json prints JSON: amounts are kobo, times RFC 3339. `+"`ussdctl COMMAND -help`"+` lists a command's other flags.
Lists mask the numbers of subscribers unless -full is given.
Subscribers are told of what is decided here, unless USSDD_SMS_VIA is -, as it then is for ussdd.
Numbers of subscribers can be typed in any spelling, amounts in naira: 500, N1,500.50.
Exit codes: 0 done, 1 not found, refused or violations found, 2 usage, 3 the database or its schema.
`)
}
