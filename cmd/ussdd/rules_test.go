package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// described is the labels of every metric of ours, by its name, as the package's
// source describes it.
func described(t *testing.T) map[string][]string {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	metrics := make(map[string][]string)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		describe(t, file, metrics)
	}
	return metrics
}

// describe adds the metrics that a file describes.
func describe(t *testing.T, file *ast.File, metrics map[string][]string) {
	text := func(e ast.Expr) string {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return ""
		}
		s, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	texts := func(list []ast.Expr) []string {
		var out []string
		for _, e := range list {
			out = append(out, text(e))
		}
		return out
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "desc" { // desc(name, help, labels...)
			metrics["ussdd_"+text(call.Args[0])] = texts(call.Args[2:])
		}
		if len(call.Args) == 0 {
			return true
		}
		if opts, ok := call.Args[0].(*ast.CompositeLit); ok && options(opts) { // prometheus.NewX(prometheus.XOpts{Name: …}, []string{labels})
			for _, field := range opts.Elts {
				kv, ok := field.(*ast.KeyValueExpr)
				if !ok || kv.Key.(*ast.Ident).Name != "Name" {
					continue
				}
				var labels []string
				if len(call.Args) > 1 {
					labels = texts(call.Args[1].(*ast.CompositeLit).Elts)
				}
				metrics[text(kv.Value)] = labels
			}
		}
		return true
	})
}

// options says whether a literal is a prometheus.XOpts.
func options(lit *ast.CompositeLit) bool {
	of, ok := lit.Type.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := of.X.(*ast.Ident)
	return ok && pkg.Name == "prometheus" && strings.HasSuffix(of.Sel.Name, "Opts")
}

type ruleFile struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         string            `yaml:"for"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

// TestAlertRules holds the rules that we ship against the metrics that we have.
func TestAlertRules(t *testing.T) {
	text, err := os.ReadFile("../../systemd/ussdd.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules ruleFile
	strict := yaml.NewDecoder(bytes.NewReader(text))
	strict.KnownFields(true)
	if err := strict.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	if err := strict.Decode(new(any)); err != io.EOF {
		t.Errorf("a second document: %v", err)
	}
	metrics := described(t)
	if len(metrics) < 80 {
		t.Fatalf("found only %d metrics: %v", len(metrics), slices.Sorted(maps.Keys(metrics)))
	}
	names := make(map[string]bool)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			t.Run(r.Alert, func(t *testing.T) {
				if g.Name == "" || !strings.HasPrefix(r.Alert, "Ussdd") || names[r.Alert] {
					t.Error("the group or the alert has no name, or not one of its own")
				}
				names[r.Alert] = true
				if r.For != "" && !regexp.MustCompile(`^[1-9][0-9]*[smh]$`).MatchString(r.For) {
					t.Errorf("for %q", r.For)
				}
				if severity := r.Labels["severity"]; severity != "page" && severity != "ticket" || len(r.Labels) != 1 {
					t.Errorf("labels %v", r.Labels)
				}
				if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || len(r.Annotations) != 2 {
					t.Errorf("annotations %v", r.Annotations)
				}
				for _, p := range expression(metrics, r.Expr, strings.Join(slices.Collect(maps.Values(r.Annotations)), "\n")) {
					t.Error(p)
				}
			})
		}
	}
	if len(names) < 20 {
		t.Errorf("%d alerts", len(names))
	}
	for name := range metrics {
		if !strings.HasSuffix(name, "_total") {
			continue
		}
		why, quiet := unalerted[name]
		if alerts := regexp.MustCompile(`\(` + name + `\b`).Match(text); alerts == quiet {
			t.Errorf("%s has an alert: %t; a reason to have none: %q", name, alerts, why)
		}
	}
	for name := range unalerted {
		if _, ok := metrics[name]; !ok {
			t.Errorf("no metric %s, which has a reason to have no alert", name)
		}
	}
}

// unalerted is why a counter has no alert.
var unalerted = map[string]string{
	"ussdd_sessions_begun_total":          "good news",
	"ussdd_sessions_pushed_total":         "good news",
	"ussdd_sessions_resumed_total":        "good news",
	"ussdd_link_pdus_total":               "traffic",
	"ussdd_link_events_total":             "traffic",
	"ussdd_purchases_total":               "good news, or declined by vendors: UssddBreakerOpen and UssddFloatLow tell when that is their state",
	"ussdd_purchases_held_total":          "good news",
	"ussdd_purchases_repeated_total":      "subscribers and SMSCs repeat themselves",
	"ussdd_purchases_resumed_total":       "good news",
	"ussdd_purchases_orphaned_total":      "good news: they are taken up",
	"ussdd_purchases_given_up_total":      "UssddLedgerFails",
	"ussdd_purchases_conflicts_total":     "instances share the work",
	"ussdd_purchases_reviews_total":       "UssddNeedsReview, for as long as they wait",
	"ussdd_purchases_clock_seconds_total": "how long decisions took; UssddRefundOverdue and UssddDecisionNear",
	"ussdd_purchases_clock_count_total":   "likewise",
	"ussdd_vends_total":                   "UssddBreakerOpen",
	"ussdd_vend_queries_total":            "UssddDecisionNear and UssddNeedsReview",
	"ussdd_vendor_callbacks_total":        "hints only: the vendor is asked all the same, and anybody can send rubbish there",
	"ussdd_ledger_check_failures_total":   "UssddLedgerUnchecked, if it goes on",
	"ussdd_session_slow_writes_total":     "UssddWritesBehind, if it goes on",
	"ussdd_link_submit_refused_total":     "UssddScreensLost and UssddMessagesWait",
	"ussdd_link_bind_refused_total":       "UssddLinkDown, UssddBindDown, UssddCredentialsRefused",
	"ussdd_link_submit_unanswered_total":  "UssddLinkFlaps",
	"ussdd_link_submit_withdrawn_total":   "UssddQueueFills",
	"ussdd_link_submit_retried_total":     "UssddThrottled",
	"ussdd_link_ignored_total":            "an SMSC may send other things on the same link",
	"ussdd_link_receipts_total":           "a refused one is delivered again; UssddLedgerFails when the database is why",
	"ussdd_link_trace_lost_total":         "the trace itself tells its watcher",
	"ussdd_pushes_total":                  "whoever asked for a push is told",
}

// expression says what is wrong with a rule's expression, and with the labels that
// its annotations show: nobody but Prometheus would notice a name that is not
// there, and it would only never fire.
func expression(metrics map[string][]string, expr, annotations string) []string {
	var bad []string
	var labels []string // that the metrics have
	found := regexp.MustCompile(`\b(ussdd_\w+)(\{[^}]*\})?`).FindAllStringSubmatch(expr, -1)
	for _, m := range found {
		has, ok := metrics[m[1]]
		if !ok {
			bad = append(bad, "no metric "+m[1])
		}
		labels = append(labels, has...)
		for _, l := range regexp.MustCompile(`(\w+)\s*(=|!=|=~|!~)\s*"`).FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(has, l[1]) {
				bad = append(bad, m[1]+" has no label "+l[1])
			}
		}
		if counter := strings.HasSuffix(m[1], "_total"); counter != regexp.MustCompile(`(rate|increase)\(`+m[1]).MatchString(expr) {
			bad = append(bad, m[1]+" is a counter without a rate, or a rate without a counter")
		}
	}
	if len(found) == 0 {
		bad = append(bad, "no metric of ours")
	}
	for _, m := range regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if !slices.Contains(labels, strings.TrimSpace(l)) {
				bad = append(bad, "no metric has the label "+l)
			}
		}
	}
	for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(annotations, -1) {
		if !slices.Contains(labels, m[1]) {
			bad = append(bad, "the annotations show "+m[1]+", which no metric has")
		}
	}
	for _, pair := range []string{"()", "{}", "[]"} {
		if strings.Count(expr, pair[:1]) != strings.Count(expr, pair[1:]) {
			bad = append(bad, pair+" do not match")
		}
	}
	return bad
}

// The test above means something only if it notices mistakes.
func TestRuleMistakesAreNoticed(t *testing.T) {
	metrics := map[string][]string{"ussdd_a_total": {"smsc"}, "ussdd_b": {"smsc", "bind"}}
	for expr, want := range map[string]string{
		`rate(ussdd_a_total{smsc="mtn"}[5m]) > 0 and on (smsc) ussdd_b == 1`: "",
		`up == 0`:                     "no metric of ours",
		`ussdd_c == 0`:                "no metric ussdd_c",
		`ussdd_b{state="open"} == 0`:  "ussdd_b has no label state",
		`ussdd_a_total > 0`:           "ussdd_a_total is a counter without a rate, or a rate without a counter",
		`rate(ussdd_b[5m]) > 0`:       "ussdd_b is a counter without a rate, or a rate without a counter",
		`sum by (operator) (ussdd_b)`: "no metric has the label operator",
		`sum by (smsc) (ussdd_b`:      "() do not match",
	} {
		if got := strings.Join(expression(metrics, expr, ""), "\n"); got != want {
			t.Errorf("%s: got %q, want %q", expr, got, want)
		}
	}
	if got := expression(metrics, "ussdd_b == 1", "{{ $labels.bnid }}"); len(got) != 1 {
		t.Errorf("annotations: %q", got)
	}
}
