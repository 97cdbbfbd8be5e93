// Command bench measures ussdd on loopback, beside two references in the same
// run: a bare ESME on this project's codec, which is the ceiling, and one made
// of go-smpp's client. Both answer with a fixed text. Every one of them gets the
// same load from the same source, in a process and on a core of its own.
//
//	go run ./scripts/bench [-json FILE]
//
// It prints a table for each load and what of the goals is reached, and exits 0
// if everything could be measured. MariaDB is a private server that
// scripts/with-mariadb starts; without one its rows are left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"ussdd/scripts/stack"
)

// The variables that tell the child, which measures, from its parent, which
// builds, and where the child finds what was built.
const (
	binVariable   = "USSDD_BENCH_BIN"
	mysqlVariable = "USSDD_TEST_MYSQL"
)

// noMariaDB is the exit code of scripts/with-mariadb that says so.
const noMariaDB = 3

func main() { os.Exit(run()) }

func run() int {
	var o options
	flag.StringVar(&o.json, "json", "", "write everything measured to this `file`")
	flag.DurationVar(&o.limit, "for", 250*time.Second, "how long the measuring may take; the more, the more repetitions")
	only := flag.String("only", "", "measure only what matches this `regexp`; the names are those of the tables, \"64 dialogues bare Go ESME\"")
	esme := flag.String("esme", "", "be one of the references, `bare or go-smpp`: what the benchmark starts itself")
	addr := flag.String("addr", "", "with -esme: the SMSC's `address`")
	steps := flag.Int("steps", 0, "with -esme: `number` of screens of a dialogue")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o.start = time.Now()
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench: -only:", err)
		return 2
	}
	switch {
	case *esme != "":
		err = reference(*esme, *addr, *steps)
	case os.Getenv(binVariable) == "":
		return parent(ctx)
	default:
		err = measure(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// parent builds the binaries and runs this program again to measure, pinned to
// the first core and with a MariaDB beside it if there is one to be had.
func parent(ctx context.Context) int {
	dir, err := os.MkdirTemp("", "ussdd-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	fmt.Println("Building …")
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err == nil {
		err = stack.Build(ctx, dir)
	}
	self, err2 := os.Executable()
	if err = errors.Join(err, err2); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	code, err := child(ctx, dir, append([]string{filepath.Join(strings.TrimSpace(string(root)), "scripts", "with-mariadb"), self}, os.Args[1:]...))
	if code == noMariaDB {
		code, err = child(ctx, dir, append([]string{self}, os.Args[1:]...))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	return code
}

func child(ctx context.Context, bin string, args []string) (int, error) {
	list, err := cores()
	if err != nil {
		return 1, err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), binVariable+"="+bin, coresVariable+"="+strings.Trim(fmt.Sprint(list), "[]"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	if err := startOn(loadCore, cmd); err != nil {
		return 1, err
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
