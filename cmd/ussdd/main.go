// Command ussdd is the daemon: it binds to SMSCs, runs USSD menus and sells
// airtime. `ussdd -help` prints every setting.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
)

// version is set by the linker.
var version = "unversioned"

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // while running
	exitConfig = 2 // the configuration or the command line is wrong
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command = strings.TrimLeft(args[0], "-")
	}
	switch {
	case len(args) > 1:
		fmt.Fprintf(stderr, "ussdd: %q: too many arguments; everything is set by the environment, see ussdd -help\n", args[1])
		return exitConfig
	case len(args) == 0:
		return daemonMain(stderr)
	case command == "check":
		return check(context.Background(), stdout, stderr)
	case command == "help" || command == "h":
		usage(stdout)
		return exitOK
	case command == "version":
		fmt.Fprintln(stdout, "ussdd", version)
		return exitOK
	}
	fmt.Fprintf(stderr, "ussdd: %q is not a command; see ussdd -help\n", args[0])
	return exitConfig
}

// minProcessors is how many of Go's processors the daemon has, also where there is
// one core. With one, whatever writes sessions behind holds it for its time slice of
// 10 ms, and subscribers wait; with two, the kernel shares the core more finely.
// On one core p95 was 10 ms with one, and 2 ms with two.
const minProcessors = 2

// useProcessors sees to minProcessors, unless $GOMAXPROCS says what is wanted.
func useProcessors() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < minProcessors {
		runtime.GOMAXPROCS(minProcessors)
	}
}

func daemonMain(stderr io.Writer) int {
	useProcessors()
	cfg, bad := loadConfig()
	if len(bad) > 0 {
		complain(stderr, bad)
		return exitConfig
	}
	level, _ := logLevel(cfg.LogLevel) // checked by loadConfig
	log := newLogger(stderr, cfg.LogFormat, level)
	slog.SetDefault(log)
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	err := serve(stop, hup, cfg, log)
	var wrong problems
	if errors.As(err, &wrong) {
		complain(stderr, wrong)
		return exitConfig
	}
	if err != nil {
		log.Error("ussdd stops", "err", err)
		return exitFailed
	}
	return exitOK
}

// complain lists the problems for a person at a terminal or in the journal.
func complain(w io.Writer, bad problems) {
	fmt.Fprintf(w, "ussdd: %s:\n", plural(len(bad), "problem"))
	for _, p := range bad {
		fmt.Fprintln(w, "  "+p)
	}
}

// Error makes problems an error, so that they can be returned as one.
func (p problems) Error() string { return strings.Join(p, "\n") }

func logLevel(name string) (slog.Level, error) {
	var l slog.Level
	err := l.UnmarshalText([]byte(name))
	return l, err
}

func newLogger(w io.Writer, format string, level slog.Level) *slog.Logger {
	opt := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}
