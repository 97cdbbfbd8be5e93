package systemd_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const binary = "/usr/local/bin/ussdd" // as the unit names it

// unit is the directives of ussdd.service, by "Section.Name", in their order.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("ussdd.service")
	if err != nil {
		t.Fatal(err)
	}
	directives := make(map[string][]string)
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				t.Fatalf("not a directive: %s", line)
			}
			directives[section+"."+name] = append(directives[section+"."+name], value)
		}
	}
	return directives
}

// duration is the one value of a directive such as TimeoutStopSec=45s.
func duration(t *testing.T, of map[string][]string, name string) time.Duration {
	t.Helper()
	if len(of[name]) != 1 {
		t.Fatalf("%s: %q", name, of[name])
	}
	d, err := time.ParseDuration(of[name][0])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// analyze runs systemd-analyze and returns all that it printed.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return command(t, "systemd-analyze", args...)
}

func command(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is missing: apt-get install systemd", name)
	}
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=info", "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0")
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// installed is a copy of the unit whose programs exist on this machine: without
// that, verify stops at the first.
func installed(t *testing.T, edit func(string) string) string {
	t.Helper()
	text, err := os.ReadFile("ussdd.service")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "="+binary); n != 2 {
		t.Errorf("%s is named %d times, want in ExecStartPre and ExecStart", binary, n)
	}
	file := filepath.Join(t.TempDir(), "ussdd.service")
	if err := os.WriteFile(file, []byte(edit(strings.ReplaceAll(string(text), binary, self))), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func unchanged(s string) string { return s }

func TestVerify(t *testing.T) {
	if out, err := analyze(t, "verify", "--man=no", "--recursive-errors=no", installed(t, unchanged)); err != nil || strings.Contains(out, "ussdd.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// The check above means something only if verify notices mistakes.
func TestVerifyNotices(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"unknown directive": func(s string) string { return strings.Replace(s, "WatchdogSec=", "WatchDogSecs=", 1) },
		"bad value":         func(s string) string { return strings.Replace(s, "Restart=always", "Restart=sometimes", 1) },
		"missing program":   func(s string) string { return strings.Replace(s, "ExecStart=/", "ExecStart=/nowhere/", 1) },
	} {
		if out, err := analyze(t, "verify", "--man=no", "--recursive-errors=no", installed(t, edit)); err == nil && !strings.Contains(out, "ussdd.service") {
			t.Errorf("%s: systemd-analyze verify says nothing", name)
		}
	}
}

func TestExposure(t *testing.T) {
	out, err := analyze(t, "security", "--offline=true", "--no-pager", installed(t, unchanged))
	if err != nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	level := regexp.MustCompile(`Overall exposure level for ussdd\.service: ([0-9.]+)`).FindStringSubmatch(out)
	if level == nil {
		t.Fatalf("no level in %s", out)
	}
	exposure, err := strconv.ParseFloat(level[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	if exposure >= 2.0 {
		t.Errorf("exposure %.1f, want under 2.0\n%s", exposure, out)
	}
}

func TestSupervision(t *testing.T) {
	u := unit(t)
	for name, want := range map[string]string{
		"Service.Type":               "notify",
		"Service.NotifyAccess":       "main",
		"Service.ExecStartPre":       binary + " check",
		"Service.ExecStart":          binary,
		"Service.ExecReload":         `/bin/sh -c "kill -HUP $MAINPID"`,
		"Service.EnvironmentFile":    "-/etc/ussdd/ussdd.env",
		"Service.LoadCredential":     "ussdd:/etc/ussdd/credentials",
		"Service.StateDirectory":     "ussdd",
		"Service.RuntimeDirectory":   "ussdd", // of the control socket, /run/ussdd/control.sock
		"Service.User":               "ussdd",
		"Service.Group":              "ussdd", // operators are in it
		"Service.Restart":            "always",
		"Unit.StartLimitIntervalSec": "0",
		"Service.KillMode":           "mixed",
		"Service.LimitCORE":          "0",
		"Install.WantedBy":           "multi-user.target",
	} {
		if got := u[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// The group must get to the socket, and nobody else. With a user namespace of its own,
	// the daemon could not tell operators apart.
	if mode := u["Service.RuntimeDirectoryMode"]; !slices.Equal(mode, []string{"0750"}) {
		t.Errorf("RuntimeDirectoryMode %q", mode)
	}
	if private, ok := u["Service.PrivateUsers"]; ok {
		t.Errorf("PrivateUsers=%q: peers on the control socket would all be nobody", private)
	}
	if codes, ok := u["Service.RestartPreventExitStatus"]; ok {
		t.Errorf("RestartPreventExitStatus=%q: the Go runtime also ends with 2 after a panic", codes)
	}

	// USSDD_DRAIN_TIMEOUT is 20 s unless set, and unbinding and writing come after it.
	if stop := duration(t, u, "Service.TimeoutStopSec"); stop < 20*time.Second+10*time.Second {
		t.Errorf("TimeoutStopSec %v leaves no room after a drain of 20s", stop)
	}
	// Shorter than a garbage collection of a loaded machine or a slow disk can take, it kills
	// a daemon that is well; longer than half a session, subscribers lose theirs unseen.
	if watchdog := duration(t, u, "Service.WatchdogSec"); watchdog < 10*time.Second || watchdog > 90*time.Second {
		t.Errorf("WatchdogSec %v", watchdog)
	}
	if pause := duration(t, u, "Service.RestartSec"); pause < time.Second || pause > 30*time.Second {
		t.Errorf("RestartSec %v", pause)
	}
	if start := duration(t, u, "Service.TimeoutStartSec"); start < 30*time.Second {
		t.Errorf("TimeoutStartSec %v is shorter than ussdd check may take", start)
	}
}

func TestSysusers(t *testing.T) {
	out, err := command(t, "systemd-sysusers", "--dry-run", "--root="+t.TempDir(), absolute(t, "sysusers.conf"))
	if err != nil || !strings.Contains(out, "ussdd") {
		t.Errorf("systemd-sysusers: %v\n%s", err, out)
	}
}

func absolute(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// example is the variables that ussdd.env.example sets or shows.
func example(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("ussdd.env.example")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shown := make(map[string]string)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line == "#" || strings.HasPrefix(line, "# ") {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "#"), "=")
		if !ok || !strings.HasPrefix(name, "USSDD_") || strings.ContainsAny(name, " \t") {
			t.Errorf("neither a comment nor a variable: %s", line)
		}
		if _, twice := shown[name]; twice {
			t.Errorf("%s is shown twice", name)
		}
		shown[name] = value
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return shown
}

func TestExampleNamesWhatMatters(t *testing.T) {
	shown := example(t)
	for _, name := range []string{"SMSCS", "SMSC_MTN_ADDR", "SMSC_MTN_SYSTEM_ID", "SMSC_MTN_PASSWORD_FILE", "SMSC_MTN_PROFILE", "SMSC_MTN_RATE", "SMSC_MTN_TLS",
		"DATABASE", "MENUS", "VENDORS", "SECRETS_DIR", "CONTROL", "ADMIN_ADDR", "LOG_FORMAT", "DRAIN_TIMEOUT"} {
		if _, ok := shown["USSDD_"+name]; !ok {
			t.Errorf("USSDD_%s is not shown", name)
		}
	}
	for name := range shown {
		if strings.HasSuffix(name, "_PASSWORD") || strings.HasSuffix(name, "_TLS_KEY") || strings.HasPrefix(name, "USSDD_SECRET_") {
			t.Errorf("%s: a secret in the environment", name)
		}
	}
}

// The daemon must take every variable of the example, with the value shown.
func TestExampleIsTaken(t *testing.T) {
	dir := t.TempDir()
	daemon := filepath.Join(dir, "ussdd")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", daemon, "../cmd/ussdd").CombinedOutput(); err != nil {
		t.Fatalf("build ussdd: %v\n%s", err, out)
	}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shown := example(t)
	shown["USSDD_SMSC_MTN_PASSWORD_FILE"] = password // what is on the host is not here
	shown["USSDD_DATABASE"] = "sqlite:" + filepath.Join(dir, "ussdd.db")
	shown["USSDD_CONTROL"] = filepath.Join(dir, "control.sock")
	shown["USSDD_SECRETS_DIR"] = dir
	for _, name := range []string{"MENUS", "VENDORS", "SMSC_MTN_TLS_CA", "SMSC_MTN_TLS_CERT"} {
		delete(shown, "USSDD_"+name)
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "USSDD_") })
	for name, value := range shown {
		env = append(env, name+"="+value)
	}
	check := exec.Command(daemon, "check")
	check.Env = env
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("ussdd check: %v\n%s", err, out)
	}
}
