// Package stack runs the whole system as separate processes on 127.0.0.1: a
// vending-API simulator, an SMSC simulator and the daemon, on ports that they
// choose themselves, with everything they write in one directory. The demo, the
// terminal handset, the chaos and the tests that kill processes are built on it.
//
// Build makes the binaries once; New makes a directory's worth of settings;
// MariaDB, Vendorsim, SMSC, Daemon and Instance start one process each. Every
// process belongs to the Stack and dies with Close.
package stack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The one account of the simulated SMSC.
const (
	SystemID = "ussdd"
	Password = "demo123"
)

// startTimeout bounds the start of one process, stopTimeout its polite stop.
const (
	startTimeout = time.Minute
	stopTimeout  = time.Minute
)

// Build compiles the project's commands into dir, with more flags for go build.
func Build(ctx context.Context, dir string, flags ...string) error {
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "ussdd/cmd/...")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// Stack is one set of processes and their settings. Not safe for concurrent
// use, but for Post, Get and Ctl.
type Stack struct {
	Bin      string            // directory with the binaries
	Dir      string            // everything that is written
	Database string            // as in USSDD_DATABASE; New sets an SQLite file in Dir
	Env      []string          // more variables for Daemon
	Vendors  map[string]string // after Vendorsim: host:port of "control" and of every provider
	SMSCAddr string            // after SMSC, or set by the caller

	procs []*Process
}

// New gives a stack with its files in dir and binaries in bin.
func New(bin, dir string) *Stack {
	return &Stack{Bin: bin, Dir: dir, Database: "sqlite:" + filepath.Join(dir, "ussdd.db")}
}

// Close kills what still runs.
func (s *Stack) Close() {
	for _, p := range slices.Backward(s.procs) {
		if p.parent {
			_ = p.Stop() // it is killed if it does not end
		}
		p.Kill()
	}
}

// Vendorsim starts the vending-API simulator. It asks for API keys, which
// Daemon gives the daemon as secrets.
func (s *Stack) Vendorsim(ctx context.Context, args ...string) (*Process, error) {
	keys := make(map[string]string)
	secrets := filepath.Join(s.Dir, "secrets")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		return nil, err
	}
	for _, provider := range []string{"mtn", "airtel", "glo", "9mobile", "quickvend", "topline"} {
		keys[provider] = provider + "-key-of-the-demo"
		if err := os.WriteFile(filepath.Join(secrets, provider+"-api-key"), []byte(keys[provider]+"\n"), 0o600); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	keysFile := filepath.Join(s.Dir, "vendorsim-keys.json")
	if err := os.WriteFile(keysFile, text, 0o600); err != nil {
		return nil, err
	}
	addrFile := filepath.Join(s.Dir, "vendorsim.json")
	os.Remove(addrFile)
	p, err := s.start("vendorsim", nil, append([]string{"-listen", "127.0.0.1:0", "-addr-file", addrFile, "-keys-file", keysFile}, args...), nil)
	if err != nil {
		return nil, err
	}
	addrs, err := p.await(ctx, addrFile, startTimeout)
	if err != nil {
		return nil, err
	}
	return p, json.Unmarshal(addrs, &s.Vendors)
}

// SMSC starts the SMSC simulator with more arguments. out gets what it prints;
// in is what a terminal handset reads, or nil.
func (s *Stack) SMSC(ctx context.Context, in io.Reader, out io.Writer, args ...string) (*Process, error) {
	addrFile := filepath.Join(s.Dir, "smscsim.addr")
	os.Remove(addrFile)
	p, err := s.start("smscsim", out, append([]string{"-listen", "127.0.0.1:0", "-addr-file", addrFile, "-account", SystemID + ":" + Password}, args...), in)
	if err != nil {
		return nil, err
	}
	addr, err := p.await(ctx, addrFile, startTimeout)
	s.SMSCAddr = strings.TrimSpace(string(addr))
	return p, err
}

// Daemon starts ussdd, with more variables, and waits until it says that it serves.
func (s *Stack) Daemon(ctx context.Context, env ...string) (*Process, error) {
	return s.Instance(ctx, "ussdd", env...)
}

// Instance is Daemon for one of several, whose log is name.log.
func (s *Stack) Instance(ctx context.Context, name string, env ...string) (*Process, error) {
	urls := make([]string, 0, len(s.Vendors))
	for _, name := range slices.Sorted(maps.Keys(s.Vendors)) {
		if name != "control" {
			urls = append(urls, name+"=http://"+s.Vendors[name])
		}
	}
	p := &Process{name: name, lines: make(chan string, 1)}
	p.cmd = exec.Command(filepath.Join(s.Bin, "ussdd"))
	p.cmd.Env = append(cleanEnv(),
		"USSDD_DATABASE="+s.Database, "USSDD_SECRETS_DIR="+filepath.Join(s.Dir, "secrets"),
		"USSDD_ADMIN_ADDR=127.0.0.1:0", "USSDD_CONTROL=-", "USSDD_LOG_FORMAT=json",
		"USSDD_SMSCS=sim", "USSDD_SMSC_SIM_ADDR="+s.SMSCAddr,
		"USSDD_SMSC_SIM_SYSTEM_ID="+SystemID, "USSDD_SMSC_SIM_PASSWORD="+Password,
		"USSDD_SMSC_SIM_RECONNECT_MIN=50ms", "USSDD_SMSC_SIM_RECONNECT_MAX=500ms")
	if len(urls) > 0 {
		p.cmd.Env = append(p.cmd.Env, "USSDD_VENDOR_URLS="+strings.Join(urls, ","))
	}
	p.cmd.Env = append(append(p.cmd.Env, s.Env...), env...)
	if err := s.run(p, nil, nil); err != nil {
		return nil, err
	}
	line, err := p.line(ctx, `"msg":"admin listens"`)
	if err != nil {
		return nil, err
	}
	var said struct{ Addr string }
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		return nil, err
	}
	p.Admin = said.Addr
	return p, nil
}

// Ctl runs ussdctl and gives what it printed. A non-zero exit is an
// *exec.ExitError.
func (s *Stack) Ctl(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "ussdctl"), args...)
	cmd.Env = append(cleanEnv(), "USSDD_DATABASE="+s.Database)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("ussdctl %s: %w: %s%s", strings.Join(args, " "), err, stderr.Bytes(), out)
	}
	return out, err
}

// CtlJSON runs ussdctl with -json and decodes what it printed into v.
func (s *Stack) CtlJSON(ctx context.Context, v any, args ...string) error {
	out, err := s.Ctl(ctx, args...)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, v)
}

// OneDay waits, if midnight in Lagos is less than d away, until it is past. Limits
// are counted by that day, and VTpass wants its date in references.
func OneDay(ctx context.Context, d time.Duration) error {
	lagos := time.FixedZone("WAT", 3600)
	for {
		year, month, day := time.Now().In(lagos).Date()
		left := time.Until(time.Date(year, month, day+1, 0, 0, 0, 0, lagos))
		if left >= d {
			return nil
		}
		midnight := time.NewTimer(left)
		select {
		case <-midnight.C:
		case <-ctx.Done():
			midnight.Stop()
			return ctx.Err()
		}
	}
}

// Deliveries is what the vending-API simulator counts.
type Deliveries struct {
	Delivered  int
	Doubled    int
	Deliveries []Delivery
}

// Delivery is what a provider of the simulator delivered under one reference.
type Delivery struct {
	Provider, Reference, Recipient, Network string
	AmountKobo                              int64 `json:"amount_kobo"`
	Count                                   int   // how often
}

// Deliveries asks the vending-API simulator what it delivered.
func (s *Stack) Deliveries(ctx context.Context) (Deliveries, error) {
	var d Deliveries
	body, err := s.control(ctx, http.MethodGet, "/deliveries", "")
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(body, &d)
}

// Fault makes a provider of the vending-API simulator misbehave; "none" mends it.
func (s *Stack) Fault(ctx context.Context, provider, fault string) error {
	_, err := s.control(ctx, http.MethodPost, "/providers/"+provider+"/fault", `{"fault":"`+fault+`"}`)
	return err
}

// Callback has a provider of the vending-API simulator end a sale and report it
// by itself at url. It returns the HTTP status that the report was answered with.
func (s *Stack) Callback(ctx context.Context, provider, reference, url string) (status int, err error) {
	body, err := json.Marshal(map[string]string{"reference": reference, "url": url})
	if err != nil {
		return 0, err
	}
	answer, err := s.control(ctx, http.MethodPost, "/providers/"+provider+"/callback", string(body))
	if err != nil {
		return 0, err
	}
	var taken struct{ Status int }
	err = json.Unmarshal(answer, &taken)
	return taken.Status, err
}

func (s *Stack) control(ctx context.Context, method, path, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Vendors["control"]+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return text, err
}

// cleanEnv is the environment without what would configure a daemon.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "USSDD_") || strings.HasPrefix(kv, "NOTIFY_SOCKET=") || strings.HasPrefix(kv, "CREDENTIALS_DIRECTORY=")
	})
}

// Process is one process of a stack.
type Process struct {
	Admin string // ussdd: host:port of its admin listener

	name   string
	parent bool // of processes that it ends when it is told to end
	cmd    *exec.Cmd
	done   chan struct{} // closed when it has ended
	err    error         // how it ended; read after done

	mu    sync.Mutex
	log   bytes.Buffer
	want  string
	lines chan string // ussdd: the first line that contains want
}

func (s *Stack) start(name string, out io.Writer, args []string, in io.Reader) (*Process, error) {
	p := &Process{name: name, cmd: exec.Command(filepath.Join(s.Bin, name), args...)}
	p.cmd.Env = cleanEnv()
	return p, s.run(p, in, out)
}

func (s *Stack) run(p *Process, in io.Reader, out io.Writer) error {
	// Its own process group: a Ctrl-C at the terminal is the parent's to handle.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: in == nil, Pdeathsig: syscall.SIGKILL}
	if p.parent {
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	}
	p.cmd.Stdin = in
	if out != nil {
		p.cmd.Stdout = out
	}
	r, w := io.Pipe()
	p.cmd.Stderr = w
	file, err := os.OpenFile(filepath.Join(s.Dir, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	p.done = make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		file.Close()
		return err
	}
	go func() {
		defer file.Close()
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			fmt.Fprintln(file, lines.Text())
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			if p.want != "" && strings.Contains(lines.Text(), p.want) {
				p.want = ""
				p.lines <- lines.Text()
			}
			p.mu.Unlock()
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	go func() {
		p.err = p.cmd.Wait()
		w.Close()
		close(p.done)
	}()
	s.procs = append(s.procs, p)
	return nil
}

// line waits for the first line of the log that contains text.
func (p *Process) line(ctx context.Context, text string) (string, error) {
	p.mu.Lock()
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, text) {
			p.mu.Unlock()
			return line, nil
		}
	}
	p.want = text
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case line := <-p.lines:
		return line, nil
	case <-p.done:
		return "", fmt.Errorf("%s ended: %v\n%s", p.name, p.err, p.Log())
	case <-ctx.Done():
		return "", fmt.Errorf("%s: no %s: %w\n%s", p.name, text, ctx.Err(), p.Log())
	}
}

// await waits for a file that the process writes when it listens.
func (p *Process) await(ctx context.Context, file string, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if text, err := os.ReadFile(file); err == nil {
			return text, nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return nil, fmt.Errorf("%s ended: %v\n%s", p.name, p.err, p.Log())
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: no %s: %w", p.name, file, ctx.Err())
		}
	}
}

// Log is what the process has written to stderr so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// State is how the process ended; call it after Done.
func (p *Process) State() syscall.WaitStatus { return p.cmd.ProcessState.Sys().(syscall.WaitStatus) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the process to end by itself.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Signal sends sig to the process.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop ends the process politely, and with SIGKILL if it does not end.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := p.Wait(ctx); ctx.Err() != nil {
		p.Kill()
		return fmt.Errorf("%s did not stop: %w", p.name, err)
	}
	return p.err
}

// Kill ends the process with SIGKILL and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}
