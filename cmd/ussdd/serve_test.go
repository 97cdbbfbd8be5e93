package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"ussdd/cmd/ussdd/control"
	"ussdd/menus"
	"ussdd/session"
	"ussdd/smpp"
	"ussdd/smpp/smpptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines is a log that can be waited for.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// until waits for a line with this in it.
func (l lines) until(t *testing.T, text string) string {
	t.Helper()
	for {
		select {
		case line := <-l:
			if strings.Contains(line, text) {
				return line
			}
		case <-t.Context().Done():
			t.Fatalf("never logged: %s", text)
		}
	}
}

// serving runs a daemon by the environment until stop, which waits for its end.
func serving(t *testing.T, hup <-chan os.Signal) (cfg *config, logged lines, stop func()) {
	t.Helper()
	cfg, bad := loadConfig()
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	logged = make(lines, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, hup, cfg, slog.New(slog.NewTextHandler(logged, nil))) }()
	return cfg, logged, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestServe runs the daemon with an SMSC that is not there, and looks at it as an
// operator and as Prometheus do.
func TestServe(t *testing.T) {
	dir, err := os.MkdirTemp("", "ussdd") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	set(t, map[string]string{"USSDD_SMSCS": "mtn", "USSDD_SMSC_MTN_ADDR": "127.0.0.1:1", "USSDD_SMSC_MTN_SYSTEM_ID": "vas",
		"USSDD_DATABASE": "sqlite:" + filepath.Join(dir, "ussdd.db"), "USSDD_ADMIN_ADDR": "127.0.0.1:0", "RUNTIME_DIRECTORY": dir})
	cfg, logged, stop := serving(t, nil)
	path := filepath.Join(dir, "control.sock")
	logged.until(t, `msg="control listens" path=`+path)
	_, admin, _ := strings.Cut(logged.until(t, `msg="admin listens"`), "addr=")

	client := control.NewClient(path)
	defer client.Close()
	links, err := client.Links(t.Context())
	if err != nil || len(links) != 1 || links[0].SMSC != "mtn" || links[0].Admin != "up" || links[0].Profile != "standard" {
		t.Errorf("%v, %+v", err, links)
	}
	err = serve(t.Context(), nil, cfg, slog.New(slog.DiscardHandler))
	if err == nil || err.Error() != "USSDD_CONTROL: "+path+": another ussdd is running and listens there" {
		t.Errorf("a second one: %v", err)
	}
	order := control.BreakerOrder{Breaker: "mtn/mtn/vend", State: "open", Reason: "their call", By: "amina", Login: "tunde", Seconds: 3600}
	if forced, err := client.Override(t.Context(), order); err != nil || len(forced) != 1 || forced[0].State != "open" {
		t.Errorf("%v, %+v", err, forced)
	}
	metrics := get(t, "http://"+strings.TrimSpace(admin)+"/metrics")
	for _, want := range []string{`ussdd_link_bound{smsc="mtn"} 0`, `ussdd_link_admin{admin="up",smsc="mtn"} 1`, "ussdd_traces 0", `ussdd_reloads_total{result="refused"} 0`,
		`ussdd_pushes_total{result="accepted",smsc="mtn"} 0`, `ussdd_pushes_total{result="failed",smsc="mtn"} 0`, "ussdd_session_slow_writes_total 0",
		`ussdd_breaker_state{network="mtn",operation="vend",state="open",vendor="mtn"} 1`, `ussdd_vendor_float_low{vendor="mtn"} 0`} {
		if !strings.Contains(metrics, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	stop()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	db, err := openStore(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if acts, err := db.ListAudit(t.Context(), "breaker mtn/mtn/vend", 0); err != nil || len(acts) != 1 || acts[0].Operator != "amina" || acts[0].Login != "tunde" || acts[0].Action != "breaker open" {
		t.Errorf("%v, audited %+v", err, acts)
	}
}

// TestServeLinks looks after a link to a simulated SMSC as an operator does.
func TestServeLinks(t *testing.T) {
	dir, err := os.MkdirTemp("", "ussdd") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sim, err := smpptest.Start(smpptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	path := filepath.Join(dir, "control.sock")
	set(t, map[string]string{"USSDD_SMSCS": "mtn", "USSDD_SMSC_MTN_ADDR": sim.Addr(), "USSDD_SMSC_MTN_SYSTEM_ID": "vas", "USSDD_SMSC_MTN_BINDS": "2",
		"USSDD_DATABASE": "sqlite:" + filepath.Join(dir, "ussdd.db"), "USSDD_ADMIN_ADDR": "-", "USSDD_CONTROL": path})
	_, logged, stop := serving(t, nil)
	logged.until(t, `msg="control listens"`)
	client := control.NewClient(path)
	defer client.Close()
	is := func(state, admin string) {
		t.Helper()
		for {
			l, err := client.Link(t.Context(), "mtn")
			if err != nil {
				t.Fatal(err)
			}
			if l.State == state && l.Admin == admin && len(l.Binds) == 2 && l.Binds[0].State == state && l.Binds[1].State == state {
				return
			}
		}
	}
	is("bound", "up")

	tracing, enough := context.WithCancel(t.Context())
	defer enough()
	traced := make(chan control.Traced, 100)
	traceEnded := make(chan error, 1)
	go func() {
		traceEnded <- client.Trace(tracing, "mtn", control.TraceOptions{MSISDN: "2348031234567"}, func(t control.Traced) error { traced <- t; return nil })
	}()
	logged.until(t, `msg="operator: trace begins"`)
	phone := sim.Handset("2348031234567")
	screen, err := phone.Dial(t.Context(), "*999#")
	if err != nil || screen.End {
		t.Fatalf("%v, %+v", err, screen)
	}
	for _, want := range []struct {
		brief string
		out   bool
	}{{"deliver_sm", false}, {"deliver_sm_resp", true}, {"submit_sm", true}, {"submit_sm_resp", false}} {
		if got := <-traced; !strings.HasPrefix(got.Brief, want.brief) || got.Out != want.out || got.Bind == "" {
			t.Errorf("traced %+v, want %+v", got, want)
		}
	}
	enough()
	if err := <-traceEnded; err != nil {
		t.Error(err)
	}

	if _, err := client.SetAdmin(t.Context(), "mtn", "drain"); err != nil {
		t.Fatal(err)
	}
	is("bound", "draining")
	if other, err := sim.Handset("2348031234568").Dial(t.Context(), "*999#"); err != nil || !other.End || other.Text != session.BusyText {
		t.Errorf("a dialogue on a drained link: %v, %+v", err, other)
	}
	if screen, err = phone.Answer(t.Context(), "2"); err != nil || !strings.Contains(screen.Text, "Wallet Balance") {
		t.Errorf("a live dialogue on a drained link: %v, %+v", err, screen)
	}
	p := control.PushRequest{SMSC: "mtn", MSISDN: "2348031234567", Service: "*999#"}
	var problem *control.Problem
	if _, err := client.Push(t.Context(), p); !errors.As(err, &problem) || problem.Status != http.StatusConflict {
		t.Errorf("a push on a drained link: %v", err)
	}
	if _, err := client.SetAdmin(t.Context(), "mtn", "down"); err != nil {
		t.Fatal(err)
	}
	is("closed", "down")
	if _, err := client.SetAdmin(t.Context(), "mtn", "up"); err != nil {
		t.Fatal(err)
	}
	is("bound", "up")
	stop()
}

// What a link hands on costs nothing on the way to the sessions.
func TestEventAllocates(t *testing.T) {
	s := smscConfig{profile: &smpp.Profile{Text: smpp.Text{Alphabet: smpp.GSM, Max: 160}}, MaxText: 120}
	h := new(daemon).handler(s).(handler)
	ev := &smpp.Event{Op: smpp.Input, Dialogue: smpp.Dialogue{SMSC: "mtn", MSISDN: "2348031234567", ID: "1"}, Text: "1"}
	var got session.Event
	if n := testing.AllocsPerRun(100, func() { got = h.event(ev) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if got.Medium != menus.Medium(smpp.Text{Alphabet: smpp.GSM, Max: 120}) || got.Kind != session.Input || got.Key.ID != "1" {
		t.Errorf("%+v", got)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestLaunch: parts that fail end, whoever reads of it.
func TestLaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group sync.WaitGroup
		fail := func(context.Context) error { return io.ErrUnexpectedEOF }
		parts := []part{{&group, t.Context(), "fine", func(context.Context) error { return nil }}}
		for range 20 {
			parts = append(parts, part{&group, t.Context(), "broken", fail})
		}
		failed := launch(parts)
		group.Wait()
		if err := <-failed; len(failed) != 19 || !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "broken: unexpected EOF" {
			t.Errorf("%v and %d more", err, len(failed))
		}
	})
}
