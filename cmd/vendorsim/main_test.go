package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// awaitAddresses waits for the address file and reads it.
func awaitAddresses(t *testing.T, file string) map[string]string {
	t.Helper()
	tick, stop := time.NewTicker(time.Millisecond), time.After(patience)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(file)
		if err == nil {
			var at map[string]string
			if err := json.Unmarshal(text, &at); err != nil {
				t.Fatalf("address file is not whole: %v in %q", err, text)
			}
			return at
		}
		select {
		case <-tick.C:
		case <-stop:
			t.Fatal(err)
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addrFile, keysFile := filepath.Join(dir, "at.json"), filepath.Join(dir, "keys.json")
	if err := os.WriteFile(keysFile, []byte(`{"mtn":"K1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var stdout, stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-listen", "127.0.0.1:0", "-addr-file", addrFile, "-keys-file", keysFile, "-float", "5000000", "-v"}, &stdout, &stderr)
	}()
	at := awaitAddresses(t, addrFile)
	if len(at) != 1+len(providerAPIs) {
		t.Errorf("addresses %v", at)
	}
	if got := get(t, "http://"+at["control"]+"/deliveries"); !strings.Contains(got, `"delivered":0,"deliveries":[],"doubled":0`) {
		t.Errorf("deliveries %s", got)
	}
	if got := get(t, "http://"+at["mtn"]+"/v1/balance"); !strings.Contains(got, "UNAUTHORIZED") {
		t.Errorf("mtn without key: %s", got)
	}
	if got := get(t, "http://"+at["glo"]+"/balance"); got != `{"balance_kobo":5000000,"code":"00"}`+"\n" {
		t.Errorf("glo: %s", got)
	}
	stop()
	if got := receive(t, "end of run", code); got != 0 {
		t.Errorf("exit code %d: %s", got, stderr.String())
	}
	for name, addr := range at {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Errorf("%s still listens", name)
		}
		if !strings.Contains(stdout.String(), name+" http://"+addr+"\n") {
			t.Errorf("no %s at %s in %s", name, addr, stdout.String())
		}
	}
	if got := stderr.String(); strings.Count(got, "\n") != 2 || strings.Contains(got, "K1") {
		t.Errorf("log %s", got)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// The program itself, with a signal.
func TestSIGTERM(t *testing.T) {
	t.Parallel()
	addrFile := filepath.Join(t.TempDir(), "at.json")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-listen", "127.0.0.1:0", "-addr-file", addrFile)
	cmd.Env = append(os.Environ(), "VENDORSIM_TEST_RUN_MAIN=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	at := awaitAddresses(t, addrFile)
	hung := make(chan error, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Post("http://"+at["airtel"]+"/recharges", jsonType,
			strings.NewReader(`{"msisdn":"2348021239004","amount_kobo":10000,"client_ref":"A"}`))
		if err == nil {
			answer.Body.Close()
		}
		hung <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(get(t, "http://"+at["control"]+"/requests"), `"airtel":{"buy":1,`) {
		<-tick.C
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, stderr.String())
	}
	if err := receive(t, "end of the request", hung); err == nil {
		t.Error("the hanging request got an answer")
	}
	if stderr.Len() > 0 {
		t.Errorf("without -v it says %s", stderr.String())
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cases := []struct {
		args []string
		code int
		says string
	}{
		{[]string{"serve"}, 2, `unexpected argument "serve"`},
		{[]string{"-fast"}, 2, "flag provided but not defined: -fast"},
		{[]string{"-slow", "-1s"}, 2, "-slow -1s is negative"},
		{[]string{"-float", "-1"}, 2, "-float -1 is negative"},
		{[]string{"-listen", "nowhere"}, 1, "listen address: address nowhere: missing port in address"},
		{[]string{"-listen", "127.0.0.1:65530"}, 1, "listen address: no 6 ports after 65530"},
		{[]string{"-listen", taken.Addr().String()}, 1, "bind " + taken.Addr().String() + ": bind: address already in use"},
		{[]string{"-listen", "127.0.0.1:0", "-addr-file", filepath.Join(dir, "no", "at.json")}, 1, "address file: open"},
		{[]string{"-keys-file", filepath.Join(dir, "none")}, 1, "no such file"},
		{[]string{"-keys-file", write("text", "mtn=hush")}, 1, "not a JSON object of strings"},
		{[]string{"-keys-file", write("list", `{"mtn":["hush"]}`)}, 1, "not a JSON object of strings"},
		{[]string{"-keys-file", write("name", `{"ntel":"hush"}`)}, 1, `no provider "ntel"`},
		{[]string{"-keys-file", write("empty", `{"mtn":""}`)}, 1, "the key of mtn is empty"},
	}
	for _, c := range cases {
		var stdout, stderr bytes.Buffer
		if code := run(context.Background(), c.args, &stdout, &stderr); code != c.code || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%v: exit code %d, %s, want %d and %s", c.args, code, &stderr, c.code, c.says)
		}
		if stdout.Len() > 0 || strings.Contains(stderr.String(), "hush") {
			t.Errorf("%v: says %s %s", c.args, &stdout, &stderr)
		}
	}
}

// Who waits for the address file must not find that of an earlier run.
func TestRunRemovesAnOldAddressFile(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "at.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(context.Background(), []string{"-listen", taken.Addr().String(), "-addr-file", file}, io.Discard, io.Discard); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("old address file: %v", err)
	}
}

func TestHelpIsComplete(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), []string{"-help"}, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("exit code %d, %s", code, &stderr)
	}
	text := stdout.String()
	want := []string{"-listen", "-addr-file", "-keys-file", "-slow", "-float", "-presets", "-v", "POST /providers/NAME/fault", "GET /deliveries", "GET /requests", "POST /reset",
		"X-API-Key: KEY", "Authorization: Bearer KEY", "api-key: KEY"}
	for _, of := range slices.Concat(providerAPIs, presetAPIs) {
		want = append(want, of.name)
		for _, op := range of.api.operations() {
			want = append(want, op.pattern, op.example)
		}
	}
	for _, f := range faults {
		want = append(want, f.name, f.suffix, f.effect)
	}
	for _, part := range want {
		if !strings.Contains(text, part) {
			t.Errorf("help does not say %q", part)
		}
	}
}
