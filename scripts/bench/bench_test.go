package main

import (
	"strings"
	"testing"
	"time"

	"ussdd/menus"
	"ussdd/scripts/stack"
	"ussdd/session"
	"ussdd/smpp"
	"ussdd/smpp/smpptest"
)

// Each reference answers as the load wants it, to the last screen of the walk.
func TestReferences(t *testing.T) {
	for _, name := range []string{"bare", "go-smpp"} {
		t.Run(name, func(t *testing.T) {
			walk := smpptest.AirtimeWalk()
			for i := range walk {
				walk[i].See = fixedText
			}
			load, err := smpptest.StartLoad(smpptest.LoadConfig{
				Dialogues: 20, Steps: 1000, Walk: walk,
				Account: smpptest.Account{SystemID: stack.SystemID, Password: stack.Password},
			})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- reference(name, load.Addr(), len(walk)) }()
			report, err := load.Run(t.Context())
			load.Close()
			if err != nil || report.Steps != 1000 || report.Errors() != 0 || report.Ended < 80 {
				t.Errorf("%v\n%v", err, report)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	if err := reference("another", "", 1); err == nil {
		t.Error("there is no such reference")
	}
}

// The walk that the load takes is one through the menu that is measured.
func TestAirtimeWalk(t *testing.T) {
	medium := smpp.Text{Alphabet: smpp.GSM, Max: 160}
	catalogue, err := menus.Load(menus.Builtin(), menus.Options{Actions: session.Actions(), Medium: medium})
	if err != nil {
		t.Fatal(err)
	}
	service, ok := catalogue.Match("*999#")
	if !ok {
		t.Fatal("no service")
	}
	env := menus.Env{Caller: "2348030000000", Medium: medium}
	in := menus.Start()
	var state menus.State
	walk := smpptest.AirtimeWalk()
	for i, step := range walk {
		if i > 0 {
			in = menus.Answer(step.Send)
		}
		turn := service.Step(state, in, env)
		if turn.Effect != nil || !strings.Contains(turn.Text, step.See) || turn.End != (i == len(walk)-1) {
			t.Fatalf("step %d, %q: effect %v, end %t, screen\n%s", i+1, step.Send, turn.Effect, turn.End, turn.Text)
		}
		state = turn.State
	}
}

func TestMedians(t *testing.T) {
	one := func(load, esme string, rate float64) result {
		return result{Load: load, ESME: esme, LoadReport: smpptest.LoadReport{StepsPerSecond: rate, Wrong: 1}, Dropped: 2}
	}
	got := medians([]result{one("a", "x", 30), one("a", "y", 5), one("a", "x", 10), one("a", "x", 20), one("b", "x", 7)})
	want := []struct {
		load, esme string
		rate       float64
		n          int
	}{{"a", "x", 20, 3}, {"a", "y", 5, 1}, {"b", "x", 7, 1}}
	if len(got) != len(want) {
		t.Fatalf("%d results", len(got))
	}
	for i, w := range want {
		if g := got[i]; g.Load != w.load || g.ESME != w.esme || g.StepsPerSecond != w.rate || g.Repetitions != w.n || g.Errs != w.n || g.Dropped != 2*w.n {
			t.Errorf("%d: %+v, want %+v", i, g, w)
		}
	}
}

func TestGoals(t *testing.T) {
	w := workloads()
	results := []result{
		{Load: w[1].name, ESME: onSQLite, LoadReport: smpptest.LoadReport{StepsPerSecond: 100}, CPU: 8},
		{Load: w[1].name, ESME: onMariaDB, LoadReport: smpptest.LoadReport{StepsPerSecond: 100}, CPU: 7, Dropped: 1},
		{Load: w[1].name, ESME: bareESME, LoadReport: smpptest.LoadReport{StepsPerSecond: 301}},
		{Load: w[1].name, ESME: onMariaDBLog, LoadReport: smpptest.LoadReport{StepsPerSecond: 49.5, Rate: 50}, Paced: true, Pending: 50},
		{Load: w[2].name, ESME: onMariaDBLog, LoadReport: smpptest.LoadReport{StepsPerSecond: 50, Rate: 50}, Paced: true, Pending: 51},
		{Load: w[3].name, ESME: onSQLite, LoadReport: smpptest.LoadReport{StepsPerSecond: 95}},
		{Load: w[4].name, ESME: onSQLite, LoadReport: smpptest.LoadReport{Rate: 5000, P99: 10, Behind: 60_000}},
		{Load: w[5].name, ESME: onMariaDB, Failed: "no room"},
	}
	r := newReport(results)
	type verdict struct {
		esme           string
		sound, reached bool
	}
	want := map[string]verdict{
		"64 dialogues: steps/s, times the bare ESME's on " + onSQLite:                           {onSQLite, true, false},
		"64 dialogues: CPU µs per step on " + onSQLite:                                          {onSQLite, true, true},
		"64 dialogues: steps/s, times the bare ESME's on " + onMariaDB:                          {onMariaDB, false, false},
		"64 dialogues: CPU µs per step on " + onMariaDB:                                         {onMariaDB, false, false},
		"20,000 dialogues: steps/s, times those at 64 dialogues on " + onSQLite:                 {onSQLite, true, true},
		"64 dialogues: steps/s, times half of those without the step log on " + onMariaDBLog:    {onMariaDBLog, true, true},
		"1,000 dialogues: steps/s, times half of those without the step log on " + onMariaDBLog: {onMariaDBLog, true, false},
		w[4].name + ": p99 µs on " + onSQLite:                                                   {onSQLite, false, false},
	}
	for _, g := range r.Goals {
		name := g.Goal + " on " + g.ESME
		if v, ok := want[name]; !ok || v != (verdict{g.ESME, g.Sound, g.Reached}) {
			t.Errorf("%s: %+v, want %+v", name, g, v)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("no %s", name)
	}
	if err := r.failed(); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("failed: %v", err)
	}
	text := r.String()
	for _, part := range []string{"0.33", "failed: no room", "NOT reached: errors, dropped writes, or a late load source", "1 writes dropped", "load source 60 ms late",
		"offered 50 steps/s, half of those without the step log\n", "without the step log; 51 of them not written in the end\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

// The rate with the step log is half of the median without, under the same load.
func TestHalf(t *testing.T) {
	at := func(load, esme string, rate float64) result {
		return result{Load: load, ESME: esme, LoadReport: smpptest.LoadReport{StepsPerSecond: rate}}
	}
	results := []result{at("a", onMariaDB, 10), at("a", onMariaDB, 40), at("a", onMariaDB, 20), at("a", onSQLite, 90), at("b", onMariaDB, 70),
		{Load: "c", ESME: onMariaDB, Failed: "no room"}}
	for load, want := range map[string]float64{"a": 10, "b": 35, "c": 0, "d": 0} {
		if got := half(results, load); got != want {
			t.Errorf("%s: %v, want %v", load, got, want)
		}
	}
	closed := 0
	for _, w := range workloads() {
		if w.closed() {
			closed++
		}
	}
	if closed != 4 {
		t.Errorf("%d closed loops", closed)
	}
}

func TestWriting(t *testing.T) {
	const all = "# HELP x\nussdd_session_writes_pending 7\nussdd_session_writes_dropped_total 1e+06\nussdd_session_records_dropped_total 0\n"
	if got, err := writing(all); err != nil || got["ussdd_session_writes_pending"] != 7 || got["ussdd_session_writes_dropped_total"] != 1e6 {
		t.Errorf("%v, %v", err, got)
	}
	if _, err := writing(strings.Replace(all, "pending", "waiting", 1)); err == nil {
		t.Error("a metric is missing")
	}
}

func TestWorkloadsFitTheTime(t *testing.T) {
	var all time.Duration
	for _, w := range workloads() {
		all += w.config.Warmup + w.config.Duration
		if err := w.config.Check(); err != nil {
			t.Errorf("%s: %v", w.name, err)
		}
	}
	if all > 45*time.Second {
		t.Errorf("one ESME takes %v alone; there are five, and less than five minutes", all)
	}
}

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{1: "1 step", 0: "0 steps", 64: "64 steps", 1000: "1,000 steps", 1234567: "1,234,567 steps"} {
		if got := plural(n, "step"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
