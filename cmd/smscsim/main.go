// Command smscsim is an SMSC with subscribers, to try an ESME out: it accepts
// binds over SMPP 3.4 and plays handsets that hold USSD dialogues with whoever
// is bound.
//
// With -script it plays dialogues from YAML files, prints each screen as a
// phone shows it, and tells by its exit status whether all were as expected.
// With -phone the terminal is a handset. With -load it keeps many dialogues
// going and reports how fast the screens come. With none of them it just serves
// until it is told to stop.
//
// It speaks the dialects of several kinds of gateway, and can be made to do what
// gateways should not do: late, lost, repeated, broken.
//
// Exit status: 0 all was well; 1 a screen was not as expected, the ESME did
// something wrong, the codecs disagreed, or something failed; 2 the command line
// or a script is wrong.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"ussdd/smpp/smpptest"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// unbindTimeout is how long ESMEs have to leave when the simulator stops.
const unbindTimeout = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// options is the command line.
type options struct {
	listen, addrFile, pcap, msisdn string
	accounts                       []smpptest.Account
	scripts                        []*smpptest.Script
	phone, verbose                 bool
	dialect                        string
	faults                         []smpptest.Fault
	chaos                          *smpptest.Chaos
	tls                            *tls.Config
	wait, timeout, enquire         time.Duration
	load                           *smpptest.LoadConfig // nil: none
	loadJSON                       string
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opts, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "%v\n", err)
		return exitUsage
	}
	simulate := opts.simulate
	if opts.load != nil {
		simulate = opts.runLoad
	}
	failed, err := simulate(ctx, stdin, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "smscsim: %v\n", err)
		return exitFailed
	}
	if failed {
		return exitFailed
	}
	return exitOK
}

// simulate runs the SMSC; failed tells that not all was as expected.
func (o *options) simulate(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) (failed bool, err error) {
	cfg := o.config()
	cfg.Log = o.logger(stderr)
	if o.pcap != "" {
		file, err := os.OpenFile(o.pcap, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return false, err
		}
		if cfg.Capture, err = smpptest.NewCapture(file); err != nil {
			return false, errors.Join(err, file.Close())
		}
		defer func() { err = errors.Join(err, cfg.Capture.Err(), file.Close()) }()
	}
	sim, err := smpptest.Start(cfg)
	if err != nil {
		return false, err
	}
	defer func() {
		stopped := stop(sim)
		err = errors.Join(err, stopped)
		failed = disagreed(sim.Mismatches(), stderr) || failed
		failed = complained(sim.Complaints(), stderr) || failed
		texted(sim.SMS(""), stdout)
	}()
	if o.addrFile != "" {
		if err := writeFile(o.addrFile, sim.Addr()+"\n"); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(stdout, "smscsim: listening on %s\n", sim.Addr())
	if len(o.scripts) == 0 && !o.phone {
		<-ctx.Done()
		return false, nil
	}
	bound := func(ctx context.Context) error { return sim.WaitBound(ctx, "") }
	if err := o.waitBound(ctx, sim.Addr(), bound); err != nil {
		return false, err
	}
	if o.phone {
		phone := smpptest.Phone{Sim: sim, MSISDN: o.msisdn, Timeout: o.timeout, Wait: o.wait, In: stdin, Out: stdout}
		return false, phone.Run(ctx)
	}
	return o.play(ctx, sim, stdout)
}

// config is what the command line says about the SMSC.
func (o *options) config() smpptest.Config {
	return smpptest.Config{
		Listen: o.listen, Accounts: o.accounts, EnquireLink: o.enquire,
		Dialect: o.dialect, Faults: o.faults, Chaos: o.chaos, TLS: o.tls,
	}
}

func (o *options) logger(stderr io.Writer) *slog.Logger {
	level := slog.LevelInfo
	switch {
	case o.verbose:
		level = slog.LevelDebug
	case o.phone || len(o.scripts) > 0:
		level = slog.LevelWarn
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
}

// waitBound waits for the ESME, with what waits for it at the address.
func (o *options) waitBound(ctx context.Context, addr string, bound func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	switch err := bound(ctx); {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no ESME has bound to %s within %v", addr, o.wait)
	case errors.Is(err, context.Canceled):
		return errors.New("stopped before an ESME had bound")
	default:
		return err
	}
}

// play runs the scripts one after another.
func (o *options) play(ctx context.Context, sim *smpptest.Sim, stdout io.Writer) (failed bool, err error) {
	player := smpptest.Player{Sim: sim, Out: stdout, Timeout: o.timeout}
	for _, script := range o.scripts {
		result, err := player.Play(ctx, script)
		if err != nil {
			return true, err
		}
		failed = failed || result.Failed > 0
		if result.Failed > 0 {
			fmt.Fprintf(stdout, "%s: %d of %s failed\n", script.Name, result.Failed, plural(result.Handsets, "handset"))
		} else {
			fmt.Fprintf(stdout, "%s: %s, %s, all as expected\n", script.Name, plural(result.Handsets, "handset"), plural(result.Screens, "screen"))
		}
	}
	return failed, nil
}

// stop unbinds the ESMEs and closes the SMSC. An ESME that doesn't leave in
// time is no error of ours.
func stop(sim *smpptest.Sim) error {
	ctx, cancel := context.WithTimeout(context.Background(), unbindTimeout)
	defer cancel()
	if err := sim.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// disagreed reports what the two codecs read differently.
func disagreed(mismatches []smpptest.Mismatch, stderr io.Writer) bool {
	for _, m := range mismatches {
		fmt.Fprintf(stderr, "smscsim: the codecs disagree: %s\n", m)
	}
	return len(mismatches) > 0
}

// complained reports what the ESMEs did wrong.
func complained(complaints []smpptest.Complaint, stderr io.Writer) bool {
	for _, c := range complaints {
		fmt.Fprintf(stderr, "smscsim: %s\n", c)
	}
	return len(complaints) > 0
}

// texted counts the short messages, if there were any: an ESME may send one again
// that it has no answer to.
func texted(all []smpptest.SMS, stdout io.Writer) {
	different := make(map[smpptest.SMS]bool)
	for _, m := range all {
		different[smpptest.SMS{From: m.From, To: m.To, Text: m.Text}] = true
	}
	if len(all) > 0 {
		fmt.Fprintf(stdout, "smscsim: %s, %d different\n", plural(len(all), "short message"), len(different))
	}
}

// tlsConfig reads the files of a TLS listener; without a certificate there is
// none. With a CA, ESMEs need certificates that it has signed.
func tlsConfig(cert, key, clientCA string) (*tls.Config, error) {
	if cert == "" && key == "" && clientCA == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clientCA != "" {
		pem, err := os.ReadFile(clientCA)
		if err != nil {
			return nil, err
		}
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", clientCA)
		}
	}
	return cfg, nil
}

// writeFile writes a file at once: who sees it sees all of it.
func writeFile(name, text string) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	if _, err := temp.WriteString(text); err != nil {
		return errors.Join(err, temp.Close())
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), name)
}

// Limits of what an ESME can put into a bind. SMPP 3.4 §4.1.5, without the NUL.
const (
	maxSystemID = 15
	maxPassword = 8
)

var variableName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

// parse reads the command line and the scripts it names. The error lists all
// that is wrong; help has been printed to stdout.
func parse(args []string, stdout io.Writer) (*options, error) {
	o := &options{}
	var accounts, scripts, sets, faults []string
	collect := func(list *[]string) func(string) error {
		return func(s string) error {
			*list = append(*list, s)
			return nil
		}
	}
	flags := flag.NewFlagSet("smscsim", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:2775", "listen on this `address` for ESMEs; port 0 takes a free one")
	flags.StringVar(&o.addrFile, "addr-file", "", "write the address listened on to this `file`, once listening")
	flags.Func("account", "let an ESME bind with `system_id:password`; repeatable; without one, everyone may bind", collect(&accounts))
	maxBinds := flags.Int("max-binds", 0, "refuse more than this `number` of binds per account with 0x05; 0: no limit")
	flags.StringVar(&o.dialect, "dialect", "", "speak this `dialect`: "+strings.Join(smpptest.Dialects(), ", ")+"; unset: the scripts', or standard")
	flags.Func("fault", "strike with this `fault` at each of its occasions, as NAME or NAME:ARGUMENT; repeatable", collect(&faults))
	chaos := flags.String("chaos", "", "strike at random with faults that a right ESME survives, by this `seed` or SEED:RATE (0.05)")
	cert := flags.String("tls-cert", "", "speak TLS with the certificate in this PEM `file`")
	key := flags.String("tls-key", "", "the certificate's key, a PEM `file`")
	clientCA := flags.String("tls-client-ca", "", "let only ESMEs connect that have a certificate of a CA in this PEM `file`")
	flags.Func("script", "play the dialogues in this YAML `file`; repeatable", collect(&scripts))
	flags.BoolVar(&o.phone, "phone", false, "be a handset on the terminal")
	flags.StringVar(&o.msisdn, "msisdn", "2348031234567", "the `number` of the -phone handset")
	flags.StringVar(&o.pcap, "pcap", "", "capture all connections in this `file`; it then holds passwords and subscribers' input")
	flags.Func("set", "give {name} in scripts a value, as `name=value`; repeatable", collect(&sets))
	flags.DurationVar(&o.wait, "wait", 90*time.Second, "with -script and -phone, how long to wait for an ESME to bind; also before a dial of -phone")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long to wait for each screen")
	flags.DurationVar(&o.enquire, "enquire-link", 30*time.Second, "ask bound ESMEs so often whether they live; 0: never")
	load := flags.String("load", "", "keep an ESME busy and measure it, as `key=value,…`; see LOAD below")
	flags.StringVar(&o.loadJSON, "load-json", "", "write the report of -load to this `file` as JSON")
	flags.BoolVar(&o.verbose, "v", false, "log every PDU")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			help(stdout, flags)
			return nil, err
		}
		return nil, fmt.Errorf("smscsim: %w\nsmscsim -help explains it", err)
	}

	var problems []error
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("smscsim: "+format, args...))
	}
	if flags.NArg() > 0 {
		problem("unexpected argument %q", flags.Arg(0))
	}
	if o.phone && len(scripts) > 0 {
		problem("-phone and -script exclude each other")
	}
	if *load != "" {
		cfg, err := parseLoad(*load)
		if err != nil {
			problems = append(problems, err)
		}
		o.load = cfg
		flags.Visit(func(f *flag.Flag) {
			if meaningless(f.Name) {
				problem("-%s means nothing with -load", f.Name)
			}
		})
		if len(accounts) > 1 {
			problem("-load takes one -account at most")
		}
	} else if o.loadJSON != "" {
		problem("-load-json needs -load")
	}
	msisdn, err := smpptest.ParseMSISDN(o.msisdn)
	if err != nil {
		problem("-msisdn: %v", err)
	}
	o.msisdn = msisdn
	if o.wait <= 0 || o.timeout <= 0 {
		problem("-wait and -timeout must be longer than 0s")
	}
	if o.enquire < 0 {
		problem("-enquire-link must not be negative")
	}
	if *maxBinds < 0 || *maxBinds > 0 && len(accounts) == 0 {
		problem("-max-binds needs an -account and must not be negative")
	}
	for i, account := range accounts {
		systemID, password, ok := strings.Cut(account, ":")
		if !ok || systemID == "" || len(systemID) > maxSystemID || len(password) > maxPassword {
			problem("-account number %d is not system_id:password with at most %d and %d characters",
				i+1, maxSystemID, maxPassword)
		}
		if slices.ContainsFunc(o.accounts, func(a smpptest.Account) bool { return a.SystemID == systemID }) {
			problem("-account: %s is given twice", systemID)
		}
		o.accounts = append(o.accounts, smpptest.Account{SystemID: systemID, Password: password, MaxBinds: *maxBinds})
	}
	for _, text := range faults {
		fault, err := smpptest.ParseFault(text)
		if err != nil {
			problem("-fault: %v", err)
			continue
		}
		o.faults = append(o.faults, fault)
	}
	if *chaos != "" {
		var err error
		if o.chaos, err = smpptest.ParseChaos(*chaos); err != nil {
			problem("-chaos: %v", err)
		}
	}
	if o.tls, err = tlsConfig(*cert, *key, *clientCA); err != nil {
		problem("-tls-cert, -tls-key, -tls-client-ca: %v", err)
	}
	values := map[string]string{}
	for _, set := range sets {
		name, value, ok := strings.Cut(set, "=")
		if !ok || !variableName.MatchString(name) {
			problem("-set: %q is not name=value with a name of lower-case letters, digits, - and _", set)
		}
		values[name] = value
	}
	for _, name := range scripts {
		source, err := os.ReadFile(name)
		if err != nil {
			problem("-script: %v", err)
			continue
		}
		script, err := smpptest.ParseScript(name, source, values)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		o.scripts = append(o.scripts, script)
		if o.dialect == "" {
			o.dialect = script.Dialect
		}
		if script.Dialect != "" && script.Dialect != o.dialect {
			problem("%s is for dialect %s, not %s", name, script.Dialect, o.dialect)
		}
	}
	if err := o.config().Check(); err != nil {
		problem("%v", err)
	}
	return o, errors.Join(problems...)
}
