package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"

	"ussdd/scripts/stack"
	"ussdd/smpp/smpptest"
)

type options struct {
	json  string
	limit time.Duration
	only  *regexp.Regexp
	start time.Time
}

// The ESMEs by the names that the report has.
const (
	onSQLite     = "ussdd, SQLite"
	onMariaDB    = "ussdd, MariaDB"
	onMariaDBLog = "ussdd, MariaDB, steps logged"
	bareESME     = "bare Go ESME"
	goSMPP       = "go-smpp's client"
)

// workload is one load to be measured on every ESME.
type workload struct {
	name   string
	config smpptest.LoadConfig
	idle   bool // nothing is measured but the memory of sessions that wait
}

const idleSessions = 200_000

// workloads are all of them. A closed loop answers each screen at once.
func workloads() []workload {
	var list []workload
	for _, dialogues := range []int{1, 64, 1000, 20_000} {
		list = append(list, workload{
			name:   plural(dialogues, "dialogue"),
			config: smpptest.LoadConfig{Dialogues: dialogues, Warmup: time.Second, Duration: 2 * time.Second},
		})
	}
	return append(list,
		workload{
			name:   "5,000 steps/s, 1 s of thinking",
			config: smpptest.LoadConfig{Dialogues: 5000, Rate: 5000, Warmup: 2 * time.Second, Duration: 3 * time.Second},
		},
		workload{
			name:   "200,000 idle sessions",
			config: smpptest.LoadConfig{Dialogues: idleSessions, Think: time.Hour, Ramp: 15 * time.Second, Duration: 18 * time.Second},
			idle:   true,
		})
}

// closed says whether every screen is answered at once, as fast as it comes.
func (w workload) closed() bool { return w.config.Rate == 0 && w.config.Think == 0 }

// result is one ESME under one load.
type result struct {
	Load string `json:"load"`
	ESME string `json:"esme"`
	smpptest.LoadReport
	Paced       bool    `json:"paced,omitempty"`             // Rate is half of what the load has reached without the step log
	Pending     int     `json:"writes_pending"`              // steps that ussdd had not yet written to its store at the end
	Repetitions int     `json:"repetitions"`                 // of which this is the median
	Errs        int     `json:"errors"`                      // of all repetitions
	Dropped     int     `json:"writes_dropped"`              // steps and sessions of all repetitions that ussdd could not write to its store
	CPU         float64 `json:"cpu_us_per_step"`             // of the ESME, in all its threads and the kernel
	Busy        float64 `json:"cpu_share"`                   // of the measured time; well below 1 in a closed loop if others had the core
	LoadCPU     float64 `json:"load_source_cpu_us_per_step"` // to see that it is not what limits
	RSS         int64   `json:"rss_bytes"`                   // at the end of the measured time
	Session     float64 `json:"bytes_per_session,omitempty"` // of idle sessions: what the memory has grown by, divided by them
	Failed      string  `json:"failed,omitempty"`            // why there is no result
}

// bench is one run of everything.
type bench struct {
	options
	dir, bin  string
	mysql     *sql.DB // nil: none
	mysqlDSN  string
	help      string // of ussdd: what it can be told
	databases int
	results   []result
}

// measure measures everything, and repeats it while there is time.
func measure(ctx context.Context, o options) error {
	b := &bench{options: o, bin: os.Getenv(binVariable), mysqlDSN: os.Getenv(mysqlVariable)}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	var err error
	if b.dir, err = os.MkdirTemp("", "ussdd-bench-run-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.mysqlDSN != "" {
		if b.mysql, err = sql.Open("mysql", b.mysqlDSN); err != nil {
			return err
		}
		defer b.mysql.Close()
	}
	help, err := exec.CommandContext(ctx, filepath.Join(b.bin, "ussdd"), "-help").Output()
	if err != nil {
		return fmt.Errorf("ussdd -help: %w", err)
	}
	b.help = string(help)
	secrets := filepath.Join(b.dir, "secrets")
	if err := os.Mkdir(secrets, 0o700); err != nil {
		return err
	}
	for _, vendor := range []string{"mtn", "airtel", "glo", "9mobile", "quickvend", "topline"} {
		if err := os.WriteFile(filepath.Join(secrets, vendor+"-api-key"), []byte("none"), 0o600); err != nil {
			return err
		}
	}
	cutOff := b.rounds(ctx)
	r := newReport(b.results)
	fmt.Print(r)
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(cutOff, r.failed())
}

// rounds measures each load on each ESME, the ESMEs next to each other so that
// what else the machine does meets them alike; then all but the idle sessions
// again while there is time. Its error says that the time was not even enough
// for once.
func (b *bench) rounds(ctx context.Context) error {
	took := make(map[string]time.Duration)
	for round, more := 1, true; more; round++ {
		more = false
		for _, w := range workloads() {
			if round > 1 && (w.idle || took[w.name] == 0 || time.Since(b.start)+took[w.name] > b.limit) {
				continue
			}
			began := time.Now()
			if err := b.all(ctx, w); err != nil {
				if round > 1 {
					return nil // that was only meant to be more exact
				}
				return fmt.Errorf("%s: %w", w.name, err)
			}
			took[w.name] = time.Since(began)
			more = true
		}
	}
	return nil
}

// all puts one load on all ESMEs.
func (b *bench) all(ctx context.Context, w workload) error {
	for _, esme := range b.esmes() {
		if w.idle && esme == goSMPP || !b.only.MatchString(w.name+" "+esme) {
			continue // go-smpp's ESME keeps no sessions
		}
		r, err := b.one(ctx, w, esme)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.Failed = err.Error()
		}
		fmt.Fprintf(os.Stderr, "%4.0f s  %-32s %-30s %s\n", time.Since(b.start).Seconds(), w.name, esme, r.line())
		b.results = append(b.results, r)
	}
	return nil
}

func (b *bench) esmes() []string {
	list := []string{onSQLite}
	if b.mysql != nil {
		list = append(list, onMariaDB)
		if b.knows(stepLog) {
			list = append(list, onMariaDBLog)
		}
	}
	return append(list, bareESME, goSMPP)
}

// stepLog is the variable that says whether ussdd logs every step.
const stepLog = "USSDD_STEP_LOG"

// knows says whether this ussdd has a variable.
func (b *bench) knows(variable string) bool { return strings.Contains(b.help, variable+" ") }

// one puts one load on one ESME.
func (b *bench) one(ctx context.Context, w workload, esme string) (r result, err error) {
	r = result{Load: w.name, ESME: esme}
	const limit = 20 * time.Second // beyond the load's own time, which is doubled below
	ctx, cancel := context.WithTimeout(ctx, w.config.Warmup+2*w.config.Duration+limit)
	defer cancel()

	dir, err := os.MkdirTemp(b.dir, "esme-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	cfg := w.config
	if esme == onMariaDBLog && w.closed() {
		// As fast as it goes, the steps would be far more than any database takes.
		if cfg.Rate = half(b.results, w.name); cfg.Rate == 0 {
			return r, fmt.Errorf("paced by half the rate of %s, which there is none of", onMariaDB)
		}
		cfg.Duration *= 2 // so that a store that does not keep up has time to fall behind
		r.Paced = true
	}
	cfg.Account = smpptest.Account{SystemID: stack.SystemID, Password: stack.Password}
	cfg.Walk = smpptest.AirtimeWalk()
	var p *process
	var readings [2]reading
	var failures []error
	cfg.Measuring = func(on bool) {
		at := &readings[0]
		if !on {
			at = &readings[1]
		}
		failures = append(failures, at.take(p))
	}
	if esme == bareESME || esme == goSMPP {
		for i := range cfg.Walk {
			cfg.Walk[i].See = "Welcome"
		}
	}
	load, err := smpptest.StartLoad(cfg)
	if err != nil {
		return r, err
	}
	defer load.Close()
	if p, err = b.launch(ctx, dir, esme, load.Addr(), len(cfg.Walk)); err != nil {
		return r, err
	}
	defer p.kill()
	var before int64
	err = p.until(ctx, func(ctx context.Context) error {
		if err := load.WaitBound(ctx); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
		var err error
		if before, err = p.rss(); err != nil {
			return err
		}
		report, err := load.Run(ctx)
		r.LoadReport = *report
		return errors.Join(append(failures, err)...)
	})
	if err != nil {
		return r, err
	}
	r.RSS = readings[1].rss
	if w.idle && r.Errors() > 0 {
		return r, fmt.Errorf("not all sessions began: %d errors", r.Errors())
	} else if w.idle {
		r.Session = float64(r.RSS-before) / float64(r.Dialogues)
	}
	if r.Steps > 0 {
		each := float64(time.Microsecond) * float64(r.Steps)
		used := readings[1].cpu - readings[0].cpu
		r.CPU, r.Busy = float64(used)/each, used.Seconds()/r.Seconds
		r.LoadCPU = float64(readings[1].loadCPU-readings[0].loadCPU) / each
	}
	if strings.HasPrefix(esme, "ussdd") {
		metrics, err := p.metrics(ctx)
		if err != nil {
			return r, err
		}
		r.Dropped = int(metrics["ussdd_session_writes_dropped_total"] + metrics["ussdd_session_records_dropped_total"])
		r.Pending = int(metrics["ussdd_session_writes_pending"])
	}
	return r, nil
}

// half is half of the rate that a load has reached without the step log, 0 if it
// was not measured.
func half(results []result, load string) float64 {
	r := report{Results: medians(results)}
	if behind := r.get(load, onMariaDB); behind != nil {
		return behind.StepsPerSecond / 2
	}
	return 0
}

// reading is what a process has used at one moment.
type reading struct {
	cpu, loadCPU time.Duration
	rss          int64
}

func (m *reading) take(p *process) (err error) {
	var errs [3]error
	m.cpu, errs[0] = p.cpu()
	m.loadCPU, errs[1] = cpuClock(unix.CLOCK_PROCESS_CPUTIME_ID)
	m.rss, errs[2] = p.rss()
	return errors.Join(errs[:]...)
}

// launch starts an ESME that binds to addr.
func (b *bench) launch(ctx context.Context, dir, esme, addr string, steps int) (*process, error) {
	if esme == bareESME || esme == goSMPP {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(esme, " ")
		return startESME(dir, os.Environ(), self, "-esme", strings.TrimSuffix(name, "'s"), "-addr", addr, "-steps", strconv.Itoa(steps))
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"), "USSDD_DATABASE=sqlite:" + filepath.Join(dir, "ussdd.db"),
		"USSDD_SECRETS_DIR=" + filepath.Join(b.dir, "secrets"), "USSDD_ADMIN_ADDR=127.0.0.1:0", "USSDD_LOG_FORMAT=json",
		"USSDD_SMSCS=sim", "USSDD_SMSC_SIM_ADDR=" + addr, "USSDD_SMSC_SIM_SYSTEM_ID=" + stack.SystemID,
		"USSDD_SMSC_SIM_PASSWORD=" + stack.Password,
		// Room for every load, no window as the references have none, and nobody is idle for too long.
		"USSDD_SMSC_SIM_WINDOW=65536",
		"USSDD_MAX_SESSIONS=" + strconv.Itoa(2*idleSessions), "USSDD_SESSION_IDLE=1h", "USSDD_SESSION_MAX=1h",
	}
	if b.knows(stepLog) {
		env = append(env, stepLog+"="+strconv.FormatBool(esme == onMariaDBLog))
	}
	if esme != onSQLite {
		database, err := b.newDatabase(ctx)
		if err != nil {
			return nil, err
		}
		env = append(env, "USSDD_DATABASE="+database) // the last one counts
		migrate := exec.CommandContext(ctx, filepath.Join(b.bin, "ussdctl"), "schema", "migrate")
		migrate.Env = []string{"USSDD_DATABASE=" + database}
		if out, err := migrate.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ussdctl schema migrate: %w: %s", err, out)
		}
	}
	return startESME(dir, env, filepath.Join(b.bin, "ussdd"))
}

// newDatabase makes an empty MariaDB database and forgets the one before it.
func (b *bench) newDatabase(ctx context.Context) (string, error) {
	if _, err := b.mysql.ExecContext(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS bench%d", b.databases)); err != nil {
		return "", err
	}
	b.databases++
	name := fmt.Sprintf("bench%d", b.databases)
	if _, err := b.mysql.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	return "mysql:" + b.mysqlDSN + name, nil
}

// metrics asks a ussdd how the writing of its sessions stands. All of them are
// there.
func (p *process) metrics(ctx context.Context) (map[string]float64, error) {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return nil, err
	}
	var said struct{ Msg, Addr string }
	for line := range bytes.Lines(log) {
		if json.Unmarshal(line, &said) == nil && said.Msg == "admin listens" {
			break
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+said.Addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return writing(string(text))
}

// writing reads what ussdd's metrics say about the writing of sessions.
func writing(text string) (map[string]float64, error) {
	found := make(map[string]float64)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "ussdd_session_writes_dropped_total", "ussdd_session_records_dropped_total", "ussdd_session_writes_pending":
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			found[name] = n
		}
	}
	if len(found) != 3 {
		return nil, fmt.Errorf("of ussdd's metrics of session writes there are only %v", found)
	}
	return found, nil
}
