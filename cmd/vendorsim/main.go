package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// stopTime is how long answers in flight may take once vendorsim is to stop.
const stopTime = 2 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run serves until ctx is done. It returns the exit code: 0 stopped, 1 cannot
// serve, 2 wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var (
		set                settings
		addrFile, keysFile string
		verbose            bool
	)
	flags := flag.NewFlagSet("vendorsim", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&set.listen, "listen", "127.0.0.1:8700", "`host:port` of control; the providers take the ports that follow; port 0 lets each choose its own")
	flags.StringVar(&addrFile, "addr-file", "", "`file` that gets the addresses, as JSON, once all of them serve")
	flags.StringVar(&keysFile, "keys-file", "", "`file` with API keys, as JSON {\"mtn\":\"KEY\",…}; a provider that is not in it takes any key, or none")
	flags.BoolVar(&set.presets, "presets", false, "imitate the real providers, too")
	flags.DurationVar(&set.slow, "slow", 4*time.Second, "`time` before a slow answer")
	flags.Int64Var(&set.float, "float", 100_000_000_00, "`kobo` of float that each provider starts with; N1 is 100 kobo")
	flags.BoolVar(&verbose, "v", false, "log each request to stderr")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		help(stdout, flags)
		return 0
	} else if err != nil {
		return usageError(stderr, err)
	}
	switch {
	case flags.NArg() > 0:
		return usageError(stderr, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	case set.slow < 0:
		return usageError(stderr, fmt.Errorf("-slow %v is negative", set.slow))
	case set.float < 0:
		return usageError(stderr, fmt.Errorf("-float %d is negative", set.float))
	}
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelInfo
	}
	set.log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	set.now, set.after = time.Now, time.After
	if err := serve(ctx, set, addrFile, keysFile, stdout); err != nil {
		fmt.Fprintln(stderr, "vendorsim:", err)
		return 1
	}
	return 0
}

func usageError(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "vendorsim:", err)
	fmt.Fprintln(stderr, "vendorsim -help explains it")
	return 2
}

// serve runs a simulator until ctx is done.
func serve(ctx context.Context, set settings, addrFile, keysFile string, stdout io.Writer) (err error) {
	if keysFile != "" {
		if set.keys, err = readKeys(keysFile); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
	}
	if addrFile != "" { // one of an earlier run would mislead who waits for it
		if err := os.Remove(addrFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("address file: %w", err)
		}
	}
	s, err := newSimulator(set)
	if err != nil {
		return err
	}
	defer func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		s.stop(grace)
	}()
	if err := s.open(); err != nil {
		return err
	}
	if addrFile != "" {
		if err := s.writeAddresses(addrFile); err != nil {
			return fmt.Errorf("address file: %w", err)
		}
	}
	fmt.Fprintf(stdout, "vendorsim: control http://%s\n", s.control.addr)
	for _, p := range s.providers {
		fmt.Fprintf(stdout, "vendorsim: %s http://%s\n", p.name, p.door.addr)
	}
	<-ctx.Done()
	return nil
}

// help prints all there is to know; what it can, it takes from the tables that
// the simulator itself works by.
func help(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprint(w, `vendorsim imitates the vending APIs of four networks and of aggregators.

usage: vendorsim [flags]

`)
	flags.SetOutput(w)
	flags.PrintDefaults()
	fmt.Fprint(w, `
It serves until SIGTERM or SIGINT. Exit codes: 0 stopped, 1 cannot serve, 2 wrong
usage.

PROVIDERS, each at an address of its own: its port is control's port plus the
number below, or one of its own choosing, see -addr-file.

`)
	for i, of := range slices.Concat(providerAPIs, presetAPIs) {
		if i == len(providerAPIs) {
			fmt.Fprint(w, "\nWith -presets, real providers as far as their documentation goes. The key of those\nthat want two secrets is ONE:OTHER.\n\n")
		}
		fmt.Fprintf(w, "+%d %s    key: %s\n", i+1, of.name, of.api.keyHeader())
		for _, op := range of.api.operations() {
			fmt.Fprintf(w, "     %s\n", op.pattern)
			if op.example != "" {
				fmt.Fprintf(w, "         %s\n", op.example)
			}
		}
	}
	fmt.Fprintf(w, `
A sale is N%d to N%d in whole naira, to a Nigerian mobile number. It takes the
face value less %d.%02d %% from the provider's float. A reference is 1 to %d printable
characters. Repeated, it is answered as a duplicate and never delivers again,
unless the first time was declined or forgotten.

FAULTS, asked for by the last four digits of the recipient, or set by control,
which goes first. They meet purchases, not queries. A fault that should deliver
declines instead when the float is too low.

`, minAmount/100, maxAmount/100, commissionBPS/100, commissionBPS%100, maxReference)
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, f := range faults {
		suffix := f.suffix
		if suffix == "" {
			suffix = strings.Repeat("-", 4)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", suffix, f.name, f.effect)
	}
	tw.Flush()
	fmt.Fprint(w, `
CONTROL

POST /providers/NAME/fault {"fault":"hang","count":2}
    The provider has this fault for its next count purchases; 0, or no count,
    until another is set. It has one fault at a time: any other than down opens
    its port again.
POST /providers/NAME/callback {"reference":"R","url":"http://…"}
    The provider brings that sale to its end and reports it at this address, as
    africastalking and vtpass do. {"status":200,"answer":"…"} is what was answered.
GET /deliveries[?reference=R][&recipient=2348…]
    {"deliveries":[{"provider","reference","recipient","amount_kobo","network",
    "count","at"}],"delivered":N,"doubled":N}: what was delivered, how often in
    all, and how many purchases were delivered more than once. References that
    differ in a hop (R, R-2, R-3) are one purchase, and R finds them all.
GET /requests
    {"requests":{"mtn":{"buy","query","balance","unauthorized","other"},…}}
POST /reset
    Forgets deliveries, faults and counts, fills the floats, opens all ports.

    vendorsim -addr-file /tmp/at.json &
    curl -d '{"fault":"down"}' http://127.0.0.1:8700/providers/mtn/fault
    curl http://127.0.0.1:8700/deliveries
`)
}
