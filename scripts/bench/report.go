package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// report is everything measured, and what of the goals is reached.
type report struct {
	Machine string   `json:"machine"`
	Go      string   `json:"go"`
	Cores   int      `json:"cores"`
	Results []result `json:"results"` // the median of each load and ESME
	Goals   []goal   `json:"goals"`
}

// goal is one thing that is to be reached.
type goal struct {
	Goal    string  `json:"goal"`
	ESME    string  `json:"esme"`
	Limit   float64 `json:"limit"`
	Value   float64 `json:"value"`
	Sound   bool    `json:"sound"` // measured without an error, with everything written, and in time
	Reached bool    `json:"reached"`
}

func newReport(all []result) *report {
	r := &report{Go: runtime.Version(), Machine: cpuName(), Results: medians(all)}
	if list, err := cores(); err == nil {
		r.Cores = len(list)
	}
	r.goals()
	return r
}

func cpuName() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// medians takes from the repetitions of each load and ESME the one with the
// median rate, or in an open loop the median p99, so that its figures
// belong together; of two in the middle the better one, because what else the
// machine does only makes it worse. Errors of all are added.
func medians(all []result) []result {
	var list []result
	for len(all) > 0 {
		first := all[0]
		same := func(r result) bool { return r.Load == first.Load && r.ESME == first.ESME }
		var repetitions []result
		errs, dropped := 0, 0
		for _, r := range all {
			if same(r) {
				repetitions = append(repetitions, r)
				errs += r.Errors()
				dropped += r.Dropped
			}
		}
		all = slices.DeleteFunc(slices.Clone(all), same)
		slices.SortStableFunc(repetitions, func(a, b result) int {
			if a.Rate > 0 {
				return cmp.Compare(b.P99, a.P99)
			}
			return cmp.Compare(a.StepsPerSecond, b.StepsPerSecond)
		})
		median := repetitions[len(repetitions)/2]
		median.Repetitions, median.Errs, median.Dropped = len(repetitions), errs, dropped
		list = append(list, median)
	}
	return list
}

// get finds a result, which is nil if there is none to be used.
func (r *report) get(load, esme string) *result {
	i := slices.IndexFunc(r.Results, func(x result) bool { return x.Load == load && x.ESME == esme && x.Failed == "" })
	if i < 0 {
		return nil
	}
	return &r.Results[i]
}

// noise is what two measurements of the same thing may differ by on a busy
// machine: no fall is seen in less.
const noise = 0.1

// starved is how many microseconds the load source may be late with an input of
// an open loop: it needs little, and if it did not get even that, the inputs came
// in bursts that nobody asked for.
const starved = 50_000

// kept is what of an offered rate must come for it to count as kept: when the
// measuring ends, some screens are on their way.
const kept = 0.98

// maxPending is how many steps may wait to be written in the end if the store keeps
// up: those of one second, for which writing behind collects them at most.
func maxPending(x *result) int { return int(x.Rate) }

// goals compares what is measured with what is to be reached. What could not be
// measured is left out.
func (r *report) goals() {
	w := workloads()
	one, some, many, most, open, idle := w[0].name, w[1].name, w[2].name, w[3].name, w[4].name, w[5].name
	add := func(what string, us *result, value, limit float64, reached bool) {
		sound := us.Errs == 0 && us.Dropped == 0 && us.Behind < starved
		r.Goals = append(r.Goals, goal{what, us.ESME, limit, value, sound, sound && reached})
	}
	atLeast := func(what string, us *result, value, limit float64) { add(what, us, value, limit, value >= limit) }
	atMost := func(what string, us *result, value, limit float64) { add(what, us, value, limit, value <= limit) }
	for _, esme := range []string{onSQLite, onMariaDB} {
		if us, them := r.get(many, esme), r.get(many, goSMPP); us != nil && them != nil {
			atLeast(many+": steps/s, times go-smpp's", us, us.StepsPerSecond/them.StepsPerSecond, 8)
		}
		if us, them := r.get(some, esme), r.get(some, bareESME); us != nil && them != nil {
			atLeast(some+": steps/s, times the bare ESME's", us, us.StepsPerSecond/them.StepsPerSecond, 1.0/3)
			atMost(some+": CPU µs per step", us, us.CPU, 8)
		}
		if us, them := r.get(open, esme), r.get(open, bareESME); us != nil && them != nil {
			atMost(open+": CPU per step, times the bare ESME's", us, us.CPU/them.CPU, 1.4)
		}
		if us := r.get(open, esme); us != nil {
			atMost(open+": p99 µs", us, us.P99, 1000)
		}
		if us, them := r.get(one, esme), r.get(one, bareESME); us != nil && them != nil {
			atMost(one+": p50, times the bare ESME's", us, us.P50/them.P50, 1.3)
		}
		if from, to := r.get(some, esme), r.get(most, esme); from != nil && to != nil {
			atLeast(fmt.Sprintf("%s: steps/s, times those at %s", most, some), to, to.StepsPerSecond/from.StepsPerSecond, 1-noise)
		}
		if us := r.get(idle, esme); us != nil {
			atMost(idle+": bytes per session", us, us.Session, 2048)
		}
	}
	for _, load := range []string{some, many} {
		if us := r.get(load, onMariaDBLog); us != nil && us.Paced {
			value := us.StepsPerSecond / us.Rate
			add(load+": steps/s, times half of those without the step log", us, value, kept, value >= kept && us.Pending <= maxPending(us))
		}
	}
}

// failed says what could not be measured.
func (r *report) failed() error {
	var errs []error
	for _, x := range r.Results {
		if x.Failed != "" {
			errs = append(errs, fmt.Errorf("%s on %s: %s", x.Load, x.ESME, x.Failed))
		}
	}
	return errors.Join(errs...)
}

// String is the report as tables.
func (r *report) String() string {
	var b strings.Builder
	where := "the load source and MariaDB on the first, the ESME alone on the second"
	if r.Cores < 2 {
		where = "everything shares it, and nothing here can be compared with a machine that has two"
	}
	fmt.Fprintf(&b, "\n%s, %s, %s: %s.\n", r.Machine, plural(r.Cores, "core"), r.Go, where)
	b.WriteString("Times are from deliver_sm to submit_sm. CPU is the ESME's per step, in all its threads and the kernel; busy is how much of\n" +
		"its core it had: well below 100 % in a closed loop of 1,000 or more, something else ran there, and its steps/s say little.\n" +
		"Where MariaDB gets every step, a closed loop would only fill the queue to it: there the inputs come at a fixed rate instead.\n")
	last := ""
	for i := range r.Results {
		x := &r.Results[i]
		if x.Load != last {
			last = x.Load
			fmt.Fprintf(&b, "\n%-30s %10s %7s %9s %8s %8s %8s %8s %7s %9s %5s %8s %8s %7s\n", last, "steps/s", "× bare", "× go-smpp",
				"p50 µs", "p95 µs", "p99 µs", "CPU µs", "× bare", "× go-smpp", "busy", "RSS MiB", "B/sess.", "errors")
		}
		fmt.Fprintf(&b, "  %-28s %s\n", x.ESME, x.row(r.get(last, bareESME), r.get(last, goSMPP)))
	}
	b.WriteString("\nGoals\n")
	for _, g := range r.Goals {
		verdict := "reached"
		if !g.Sound {
			verdict = "NOT reached: errors, dropped writes, or a late load source"
		} else if !g.Reached {
			verdict = "NOT reached"
		}
		fmt.Fprintf(&b, "  %-72s %-30s %8.2f of %8.2f  %s\n", g.Goal, g.ESME, g.Value, g.Limit, verdict)
	}
	return b.String()
}

// row is a result in the columns of a table.
func (x *result) row(bare, client *result) string {
	if x.Failed != "" {
		return "failed: " + firstLine(x.Failed)
	}
	times := func(of func(*result) float64, other *result) string {
		if other == nil || of(other) == 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f", of(x)/of(other))
	}
	rate := func(r *result) float64 {
		if x.Paced {
			return 0 // others are not comparable
		}
		return r.StepsPerSecond
	}
	cpu := func(r *result) float64 { return r.CPU }
	session, note := "-", ""
	if x.Session > 0 {
		session = fmt.Sprintf("%.0f", x.Session)
	}
	if x.Paced {
		note = fmt.Sprintf("  offered %.0f steps/s, half of those without the step log", x.Rate)
		if x.Pending > maxPending(x) {
			note += fmt.Sprintf("; %d of them not written in the end", x.Pending)
		}
	}
	if x.Dropped > 0 {
		note += fmt.Sprintf("  %d writes dropped", x.Dropped)
	}
	if x.Behind >= starved {
		note += fmt.Sprintf("  load source %.0f ms late", x.Behind/1000)
	}
	return fmt.Sprintf("%10.0f %7s %9s %8.0f %8.0f %8.0f %8.2f %7s %9s %4.0f%% %8.1f %8s %7d%s", x.StepsPerSecond, times(rate, bare), times(rate, client),
		x.P50, x.P95, x.P99, x.CPU, times(cpu, bare), times(cpu, client), 100*x.Busy, float64(x.RSS)/(1<<20), session, x.Errs, note)
}

// line is a result while the benchmark runs.
func (x *result) line() string {
	if x.Failed != "" {
		return "failed: " + firstLine(x.Failed)
	}
	return fmt.Sprintf("%8.0f steps/s, p50 %.0f µs, p99 %.0f µs, %.2f µs CPU/step, %d errors", x.StepsPerSecond, x.P50, x.P99, x.CPU, x.Errors())
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// plural is "1 core", "20,000 dialogues".
func plural(n int, noun string) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n == 1 {
		return digits + " " + noun
	}
	return digits + " " + noun + "s"
}
