package stack_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ussdd/smpp/smpptest"
)

// soakSeed decides which faults strike whom.
const soakSeed = 20261123

// soakTime is how long each dialect is soaked: USSDD_TEST_SOAK=30s for longer.
func soakTime(t *testing.T) time.Duration {
	text := os.Getenv("USSDD_TEST_SOAK")
	if text == "" {
		return 4 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("USSDD_TEST_SOAK: %v", err)
	}
	return d
}

// numbers finds what a screen says about subscribers.
var numbers = regexp.MustCompile(`\b0[789][0-9]{9}\b`)

// Gateways of every dialect that do everything wrong that a right ESME survives,
// at random by a fixed seed, and connections that break on top of that: nobody
// sees another's screen, every event is accounted for, every session ends with a
// reason, and afterwards everything works.
func TestSoak(t *testing.T) {
	for _, dialect := range smpptest.Dialects() {
		t.Run(dialect, func(t *testing.T) { soak(t, dialect, soakTime(t)) })
	}
}

func soak(t *testing.T, dialect string, length time.Duration) {
	r := speak(t, smpptest.Config{Dialect: dialect, Chaos: &smpptest.Chaos{Seed: soakSeed, Rate: 0.04}})
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithTimeout(context.Background(), length+deadline)
	t.Cleanup(cancel)
	p := r.daemon("USSDD_SMSC_SIM_PROFILE="+dialect, "USSDD_SMSC_SIM_RESPONSE_TIMEOUT=2s",
		"USSDD_STEP_BUDGET=1s", "USSDD_SESSION_IDLE=2s", "USSDD_SESSION_MAX=20s")

	const subscribers = 30
	ctx, stop := context.WithTimeout(r.ctx, length)
	defer stop()
	var screens, broken atomic.Int64
	var wg sync.WaitGroup
	for i := range subscribers {
		wg.Go(func() {
			s := soaked{t: t, handset: r.sim.Handset(fmt.Sprintf("2348031%06d", i)), own: fmt.Sprintf("0806%07d", 1_000_000+i)}
			for ctx.Err() == nil {
				n, err := s.dialogue(ctx)
				screens.Add(int64(n))
				if err != nil {
					broken.Add(1)
				}
				if errors.Is(err, smpptest.ErrNoESME) {
					_ = r.sim.WaitBound(ctx, "") // or the end of the soak
				}
			}
		})
	}
	wg.Go(func() { r.sabotage(ctx) })
	wg.Wait()

	// Whoever is left is ended by the clock.
	r.until(func() bool {
		var live []struct{}
		if err := r.CtlJSON(r.ctx, &live, "session", "list", "-live", "-json"); err != nil {
			t.Fatal(err)
		}
		return r.metric(p, "ussdd_sessions_live") == 0 && len(live) == 0
	})
	begun := r.metric(p, "ussdd_sessions_begun_total")
	if begun == 0 || screens.Load() == 0 || broken.Load() == 0 || len(r.sim.Struck()) == 0 {
		t.Errorf("%v sessions, %d screens, %d dialogues broken, faults %v: that was no soak", begun, screens.Load(), broken.Load(), r.sim.Struck())
	}
	var stored []struct{ Reason string }
	if err := r.CtlJSON(r.ctx, &stored, "session", "list", "-json", "-limit", "1000000"); err != nil {
		t.Fatal(err)
	}
	for _, s := range stored {
		if s.Reason == "" {
			t.Error("a session ended without a reason")
		}
	}
	if float64(len(stored)) != begun {
		t.Errorf("%v sessions began, %d are in the store", begun, len(stored))
	}
	heard := r.metric(p, `ussdd_link_events_total{op="begin",smsc="sim"}`) + r.metric(p, `ussdd_link_events_total{op="input",smsc="sim"}`)
	told := r.metric(p, "ussdd_session_steps_total") + r.metric(p, `ussdd_sessions_ended_total{reason="expired"}`)
	for _, kind := range []string{"repeated", "late", "no_service", "overload"} {
		told += r.metric(p, `ussdd_session_events_dropped_total{kind="`+kind+`"}`)
	}
	// The result of an action is a step, too.
	_, all := r.get("http://" + p.Admin + "/metrics")
	for line := range strings.Lines(all) {
		if strings.HasPrefix(line, "ussdd_action_seconds_count{") {
			var n float64
			if _, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &n); err != nil {
				t.Fatal(err)
			}
			told -= n
		}
	}
	if heard != told {
		for line := range strings.Lines(all) {
			if strings.HasPrefix(line, "ussdd_session") || strings.HasPrefix(line, "ussdd_link_events") || strings.HasPrefix(line, "ussdd_action") {
				t.Log(strings.TrimSpace(line))
			}
		}
		t.Errorf("%v begins and inputs came, %v are accounted for", heard, told)
	}
	if text := p.Log(); strings.Contains(text, "panic") {
		t.Error("a panic in the log")
	}
	t.Logf("%v sessions, %d screens, %d dialogues broken, faults %v", begun, screens.Load(), broken.Load(), r.sim.Struck())
}

// sabotage breaks all connections now and then.
func (r *rig) sabotage(ctx context.Context) {
	dice := rand.New(rand.NewPCG(soakSeed, 0))
	for ctx.Err() == nil {
		pause := time.NewTimer(time.Duration(200+dice.IntN(600)) * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		if dice.IntN(3) == 0 {
			_ = r.sim.Unbind(ctx) // the end of the soak may come first
		} else {
			r.sim.Drop()
		}
	}
}

// soaked is one subscriber of a soak.
type soaked struct {
	t       *testing.T
	handset *smpptest.Handset
	own     string // the number that this subscriber types, and nobody else
}

// dialogue goes to the confirmation of a purchase and back out, as far as the
// faults let it. It returns how many screens were seen.
func (s *soaked) dialogue(ctx context.Context) (screens int, err error) {
	for i, text := range []string{"*999#", "1", "1", s.own, "2", "0", "0"} {
		step, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
		var screen smpptest.Screen
		if i == 0 {
			screen, err = s.handset.Dial(step, text)
		} else {
			screen, err = s.handset.Answer(step, text)
		}
		cancel()
		if err != nil {
			break
		}
		screens++
		for _, number := range numbers.FindAllString(screen.Text, -1) {
			if number != s.own && number != "0"+strings.TrimPrefix(s.handset.MSISDN(), "234") && number != "08012345678" { // the format's example
				s.t.Errorf("who typed %s sees %q", s.own, screen.Text)
			}
		}
		if screen.End {
			break
		}
	}
	if s.handset.Live() {
		step, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
		defer cancel()
		_ = s.handset.Hangup(step) // faults may keep even that from the ESME
	}
	return screens, err
}
