// Command demo shows the whole system at work on one machine: vendorsim,
// smscsim and ussdd as separate processes on 127.0.0.1, an SQLite file in a
// temporary directory, and a subscriber who buys airtime. It exits 0 only if
// everything that it shows was checked.
//
//	go run ./scripts/demo          play the journey and check the books
//	go run ./scripts/demo -phone   the same stack with a handset in the terminal
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ussdd/scripts/stack"
)

//go:embed journey.yaml
var journey []byte

const msisdn = "2348031234567"

func main() { os.Exit(run()) }

func run() int {
	phone := flag.Bool("phone", false, "a terminal handset instead of the journey")
	keep := flag.Bool("keep", false, "keep the temporary directory with the logs and the database")
	pcap := flag.String("pcap", "", "write the SMPP traffic to this `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "ussdd-demo-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	s := stack.New(dir, dir)
	err = play(ctx, s, *phone, *pcap)
	s.Close()
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\nlogs and database: %s\n", err, dir)
		return 1
	}
	if *keep {
		fmt.Println("logs and database:", dir)
	} else if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	return 0
}

func play(ctx context.Context, s *stack.Stack, phone bool, pcap string) error {
	fmt.Println("Building vendorsim, smscsim, ussdd and ussdctl …")
	if err := stack.Build(ctx, s.Bin); err != nil {
		return err
	}
	if _, err := s.Vendorsim(ctx); err != nil {
		return err
	}
	for _, args := range [][]string{{"schema", "migrate"}, {"wallet", "credit", "-reference", "demo-1", "-note", "demo", msisdn, "2000"}} {
		if _, err := s.Ctl(ctx, args...); err != nil {
			return err
		}
	}
	var args []string
	if pcap != "" {
		args = append(args, "-pcap", pcap)
	}
	if phone {
		return terminal(ctx, s, args)
	}
	script := filepath.Join(s.Dir, "journey.yaml")
	if err := os.WriteFile(script, journey, 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	sim, err := s.SMSC(ctx, nil, os.Stdout, append(args, "-script", script, "-set", "control="+s.Vendors["control"])...)
	if err != nil {
		return err
	}
	daemon, err := s.Daemon(ctx)
	if err != nil {
		return err
	}
	if err := sim.Wait(ctx); err != nil {
		return fmt.Errorf("the handset saw something else than it should have: %w\n%s", err, sim.Log())
	}
	if err := daemon.Stop(); err != nil {
		return fmt.Errorf("ussdd: %w\n%s", err, daemon.Log())
	}
	return books(ctx, s, os.Stdout)
}

// terminal gives the stack to a person at the terminal.
func terminal(ctx context.Context, s *stack.Stack, args []string) error {
	fmt.Printf("A wallet with N2,000 waits for %s. Dial *999#; :help explains the handset.\n", msisdn)
	fmt.Printf("For another terminal: USSDD_DATABASE=%s %s/ussdctl purchase list\nvendorsim's control: http://%s; logs: %s/*.log\n\n",
		s.Database, s.Bin, s.Vendors["control"], s.Dir)
	sim, err := s.SMSC(ctx, os.Stdin, os.Stdout, append(args, "-phone", "-msisdn", msisdn)...)
	if err != nil {
		return err
	}
	if _, err := s.Daemon(ctx); err != nil {
		return err
	}
	return sim.Wait(ctx)
}

// books prints the wallet, the purchases and the ledger, and fails if they are
// not what the journey must have left.
func books(ctx context.Context, s *stack.Stack, w io.Writer) error {
	for _, args := range [][]string{{"wallet", "show", msisdn}, {"purchase", "list"}, {"ledger", "check"}} {
		out, err := s.Ctl(ctx, args...)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n$ ussdctl %s\n%s", strings.Join(args, " "), out)
	}
	var wallet struct {
		Balance int64 `json:"balance_kobo"`
		Held    int64 `json:"held_kobo"`
	}
	var purchases []struct {
		Ref, State, Vendor string
		Attempts           int
	}
	if err := errors.Join(s.CtlJSON(ctx, &wallet, "wallet", "show", "-json", msisdn),
		s.CtlJSON(ctx, &purchases, "purchase", "list", "-json")); err != nil {
		return err
	}
	sold, err := s.Deliveries(ctx)
	if err != nil {
		return err
	}
	if wallet.Balance != 170_000 || wallet.Held != 0 {
		return fmt.Errorf("the wallet holds %d kobo and %d on hold, want 170000 and 0", wallet.Balance, wallet.Held)
	}
	// Newest first: refused by every endpoint, sold by the fallback, sold by MTN.
	want := []struct {
		state, vendor string
		attempts      int
	}{{"failed", "quickvend", 2}, {"delivered", "quickvend", 2}, {"delivered", "mtn", 1}}
	if len(purchases) != len(want) {
		return fmt.Errorf("%d purchases, want %d", len(purchases), len(want))
	}
	for i, p := range purchases {
		if p.State != want[i].state || p.Vendor != want[i].vendor || p.Attempts != want[i].attempts {
			return fmt.Errorf("purchase %s is %s by %s after %d attempts, want %+v", p.Ref, p.State, p.Vendor, p.Attempts, want[i])
		}
	}
	if sold.Delivered != 2 || sold.Doubled != 0 {
		return fmt.Errorf("vendorsim delivered %d and doubled %d, want 2 and 0", sold.Delivered, sold.Doubled)
	}
	fmt.Fprintln(w, "\nChecked: 2 purchases delivered once each, 1 refunded, N1,700 left of N2,000, the ledger sums to zero.")
	return nil
}
