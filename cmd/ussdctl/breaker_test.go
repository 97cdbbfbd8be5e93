package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ussdd/cmd/ussdd/control"
	"ussdd/vendors"
)

// vendorDaemon serves a control socket over a set of vendors, and gives what it is to audit.
func vendorDaemon(t *testing.T, set *vendors.Set) <-chan control.Act {
	t.Helper()
	acts := make(chan control.Act, 10)
	daemonOf(t, control.Config{Vendors: func() *vendors.Set { return set }, Audit: func(_ context.Context, a control.Act) error {
		acts <- a
		return nil
	}})
	return acts
}

func TestBreakerCommands(t *testing.T) {
	set, err := vendors.Load(vendors.Builtin(), vendors.Options{})
	if err != nil {
		t.Fatal(err)
	}
	acts := vendorDaemon(t, set)
	t.Setenv("SUDO_USER", "tunde") // whom root may be by sudo, and nobody else
	login := loginOf(os.Geteuid(), "tunde")
	code, out := ctl(t, "breaker", "open", "-reason", "their call", "-operator", "amina", "-for", "30m", "mtn")
	until := func(name string) string {
		for _, b := range set.Breakers() {
			if b.Name == name && b.Forced != nil {
				return when(b.Forced.Until)
			}
		}
		return "never"
	}
	if want := `BREAKER        STATE  IN FLIGHT  GOOD  FAULTS  EXCLUDED  FORCED
mtn/mtn/query  open   0          0     0       0         until ` + until("mtn/mtn/query") + ` by amina: their call
mtn/mtn/vend   open   0          0     0       0         until ` + until("mtn/mtn/vend") + ` by amina: their call
`; code != exitOK || out != want {
		t.Errorf("exit %d\n%s", code, out)
	}
	if a := <-acts; a.Action != "breaker open" || a.Operator != "amina" || a.Login != login || a.Reason != "their call" {
		t.Errorf("%+v", a)
	}
	code, out = ctl(t, "breaker", "close", "-reason", "they are back", "-operator", "bola", "-json", "mtn/mtn/vend")
	var forced []control.Breaker
	if err := json.Unmarshal([]byte(out), &forced); err != nil || code != exitOK || len(forced) != 1 || forced[0].State != "closed" ||
		time.Until(forced[0].Forced.Until) > time.Hour || time.Until(forced[0].Forced.Until) < 50*time.Minute {
		t.Errorf("exit %d, %v\n%s", code, err, out)
	}
	if code, out = ctl(t, "breaker", "list"); code != exitOK || strings.Count(out, "\n") != 25 || strings.Count(out, " by amina: ") != 1 || strings.Count(out, " by bola: ") != 1 {
		t.Errorf("exit %d\n%s", code, out)
	}
	expect(t, exitOK, "BREAKER        STATE   IN FLIGHT  GOOD  FAULTS  EXCLUDED  FORCED\nmtn/mtn/query  closed  0          0     0       0         -\n",
		"breaker", "auto", "-operator", "bola", "mtn/mtn/query")
	expect(t, exitFailed, "ussdctl breaker auto: no breaker \"glo/mtn\"; see ussdctl breaker list\n", "breaker", "auto", "-operator", "bola", "glo/mtn")
	expect(t, exitUsage, "ussdctl breaker open: -reason is required: it is kept in the audit log\n", "breaker", "open", "mtn")
	expect(t, exitUsage, "ussdctl breaker open: a breaker is forced for a second to 24h0m0s, not for 48h0m0s\n",
		"breaker", "open", "-operator", "bola", "-reason", "x", "-for", "48h", "mtn")
}

// With a daemon, a route is as the daemon finds it; by the files otherwise, and it is said which.
func TestLiveRoute(t *testing.T) {
	set, err := vendors.Load(vendors.Builtin(), vendors.Options{})
	if err != nil {
		t.Fatal(err)
	}
	vendorDaemon(t, set)
	until := time.Now().Add(30 * time.Minute)
	if _, err := set.Override("mtn/mtn/vend", vendors.Override{State: vendors.ForcedOpen, Reason: "their call", By: "amina", Until: until}); err != nil {
		t.Fatal(err)
	}
	explain := []string{"route", "explain", "-network", "mtn", "-amount", "5000"}
	expect(t, exitOK, `The running ussdd would try, as its breakers and floats are now:
TRY  VENDOR     BREAKER                                                       FLOAT     WHY
-    mtn        open, forced until `+when(until)+` by amina: their call  not told  breaker forced open: their call
1    quickvend  closed                                                        not told  tried first
`, explain...)
	expect(t, exitUsage, "ussdctl route explain: MTN sells from N50 to N50,000\n", "route", "explain", "-network", "mtn", "-amount", "60000")
	code, out := ctl(t, append(explain, "-json")...)
	var e explained
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != exitOK || !e.Live || len(e.Hops) != 2 || e.Hops[0].Breaker.Forced.By != "amina" || e.Hops[1].Try != 1 {
		t.Errorf("exit %d, %v\n%s", code, err, out)
	}
	if code, out := ctl(t, append(explain, "-dir", filepath.Join("..", "..", "vendors", "builtin"))...); code != exitOK ||
		!strings.HasPrefix(out, "By the files alone; breakers and floats are not known (as asked for):\nTRY  VENDOR     WHY\n1    mtn        tried first\n") {
		t.Errorf("exit %d\n%s", code, out)
	}
	none := filepath.Join(t.TempDir(), "x.sock")
	if code, out := ctl(t, append(explain, "-control", none)...); code != exitOK ||
		!strings.HasPrefix(out, "By the files alone; breakers and floats are not known (no ussdd listens at "+none) || !strings.Contains(out, "\n1    mtn        tried first\n") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func TestFloatText(t *testing.T) {
	now := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	for _, test := range []struct {
		float control.Float
		want  string
	}{
		{control.Float{}, "not told"},
		{control.Float{Exhausted: true, Low: true}, "not told, exhausted"},
		{control.Float{Kobo: 1200_50, Known: now.Add(-time.Minute)}, "N1,200.50, told 1m0s ago"},
		{control.Float{Kobo: 5_00, Known: now.Add(-2 * time.Hour), Low: true}, "N5, told 2h0m ago, low"},
	} {
		if got := floatText(test.float, now); got != test.want {
			t.Errorf("%+v: %s, want %s", test.float, got, test.want)
		}
	}
}
