package stack_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ussdd/scripts/stack"
	"ussdd/smpp/smpptest"
)

// vague are the dialects in which an ESME cannot know everything. Without an id,
// what comes late for one dialogue is not told from the next one's of the same
// subscriber; and without a counter, an answer that is delivered twice is told
// only by the acknowledgement of its screen, which vendor-tlv's comes after it.
var vague = []string{"service-type", "msisdn", "vendor-tlv"}

// speak starts a rig whose SMSC is of the given configuration.
func speak(t *testing.T, cfg smpptest.Config) *rig {
	t.Helper()
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	cfg.Accounts = []smpptest.Account{{SystemID: stack.SystemID, Password: stack.Password}}
	r.sim.Close()
	var err error
	if r.sim, err = smpptest.Start(cfg); err != nil {
		t.Fatal(err)
	}
	sim := r.sim
	t.Cleanup(func() {
		sim.Close()
		for _, c := range sim.Complaints() {
			if cfg.Chaos != nil && slices.Contains(vague, cfg.Dialect) {
				t.Logf("the gateway may complain: %v", c)
				continue
			}
			t.Errorf("the gateway complains: %v", c)
		}
		for _, m := range sim.Mismatches() {
			t.Errorf("go-smpp reads a PDU otherwise: %v", m)
		}
	})
	r.SMSCAddr = sim.Addr()
	return r
}

// The same service on a gateway of each dialect: a purchase, a dialogue that the
// subscriber leaves, one that goes on after the daemon was killed, and, where the
// dialect has that, one that an operator begins.
func TestEveryDialect(t *testing.T) {
	pushes := []string{"standard", "vendor-tlv", "service-type"}
	for _, dialect := range smpptest.Dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			r := speak(t, smpptest.Config{Dialect: dialect})
			control := filepath.Join(r.Dir, "control.sock")
			env := []string{"USSDD_SMSC_SIM_PROFILE=" + dialect, "USSDD_CONTROL=" + control}
			p := r.daemon(env...)
			h := r.sim.Handset(caller)
			r.walk(h, append(order(good), [2]string{"1", "Airtime Purchase Successful!"})...)
			if h.Live() {
				t.Error("the dialogue is still open")
			}

			r.walk(h, [2]string{"*999#", "1. Buy Airtime"})
			if err := h.Hangup(r.ctx); err != nil {
				t.Fatal(err)
			}
			r.until(func() bool { return strings.Contains(r.ctl("session", "list"), "released") })

			r.walk(h, order(good)...)
			r.until(func() bool { return strings.Contains(r.ctl("session", "list", "-live"), "confirm") })
			p.Kill()
			r.daemon(env...)
			screen, err := h.Answer(r.ctx, "1")
			if err != nil || !strings.Contains(screen.Text, "Airtime Purchase Successful!") {
				t.Fatalf("after the kill: saw %q, %v", screen.Text, err)
			}

			push := []string{"push", "-control", control, "-smsc", "sim", "-msisdn", caller, "-service", "*999#"}
			if !slices.Contains(pushes, dialect) {
				if out, err := r.Ctl(r.ctx, push...); err == nil {
					t.Errorf("pushed on a dialect that is not known to have it: %s", out)
				}
				return
			}
			pushed := make(chan error, 1)
			go func() {
				out, err := r.Ctl(r.ctx, push...)
				if err != nil {
					err = fmt.Errorf("%w %s", err, out)
				}
				pushed <- err
			}()
			if screen, err = h.Next(r.ctx); err != nil || !strings.Contains(screen.Text, "1. Buy Airtime") {
				t.Fatalf("pushed: saw %q, %v; %v", screen.Text, err, <-pushed)
			}
			for _, step := range [][2]string{{"1", "Select Network:"}, {"0", "1. Buy Airtime"}, {"0", "Thank you for using our service!"}} {
				if screen, err = h.Answer(r.ctx, step[0]); err != nil || !strings.Contains(screen.Text, step[1]) {
					t.Fatalf("pushed, typed %s: saw %q, %v; want %q", step[0], screen.Text, err, step[1])
				}
			}
			if err := <-pushed; err != nil {
				t.Error(err)
			}
		})
	}
}

// While an operator drains a link, its live dialogues go on, also for a gateway
// that delivers an answer twice, and new ones are turned away by a text.
func TestADrainedLink(t *testing.T) {
	r := speak(t, smpptest.Config{Dialect: "standard"})
	control := filepath.Join(r.Dir, "control.sock")
	p := r.daemon("USSDD_CONTROL=" + control)
	h := r.sim.Handset(caller)
	twice, err := smpptest.ParseFault("duplicate-input")
	if err != nil {
		t.Fatal(err)
	}
	r.walk(h, [2]string{"*999#", "1. Buy Airtime"})
	if out, err := r.Ctl(r.ctx, "link", "drain", "-control", control, "sim"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := h.Arm(twice); err != nil {
		t.Fatal(err)
	}
	screen, err := h.Answer(r.ctx, "1")
	if err != nil || !strings.Contains(screen.Text, "Select Network:") {
		t.Errorf("a live dialogue on a drained link: saw %q, %v", screen.Text, err)
	}
	if screen, err = r.sim.Handset("2348030000002").Dial(r.ctx, "*999#"); err != nil || !screen.End || strings.Contains(screen.Text, "Buy Airtime") {
		t.Errorf("a begin on a drained link: saw %+v, %v", screen, err)
	}
	r.until(func() bool { return r.metric(p, `ussdd_session_events_dropped_total{kind="repeated"}`) == 1 })
}

// On a gateway without a counter, the answer that chooses N50 is delivered twice:
// its second coming does not confirm the purchase.
func TestADoubledAnswerBuysNothing(t *testing.T) {
	r := speak(t, smpptest.Config{Dialect: "mica"})
	r.daemon("USSDD_SMSC_SIM_PROFILE=mica")
	h := r.sim.Handset(caller)
	r.walk(h, order(good)[:4]...)
	twice, err := smpptest.ParseFault("duplicate-input")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Arm(twice); err != nil {
		t.Fatal(err)
	}
	for _, step := range [][2]string{{"1", "Amount: N50"}, {"2", ""}} {
		screen, err := h.Answer(r.ctx, step[0])
		if err != nil || !strings.Contains(screen.Text, step[1]) {
			t.Fatalf("typed %s: saw %q, %v", step[0], screen.Text, err)
		}
	}
	if rows := r.balanced(); len(rows) != 0 || r.sim.Struck()["duplicate-input"] != 1 {
		t.Errorf("bought %+v; faults %v", rows, r.sim.Struck())
	}
}
