package main

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"ussdd/smpp"
	"ussdd/vendors"
)

// oneLink collects the metrics of one link.
type oneLink struct {
	status smpp.Status
	now    time.Time
}

func (oneLink) Describe(chan<- *prometheus.Desc) {}

func (l oneLink) Collect(out chan<- prometheus.Metric) {
	as := func(kind prometheus.ValueType) sample {
		return func(d *prometheus.Desc, v float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
		}
	}
	link(l.status, l.now, as(prometheus.CounterValue), as(prometheus.GaugeValue))
}

func TestLinkMetrics(t *testing.T) {
	now := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	l := oneLink{now: now, status: smpp.Status{Name: "mtn", State: smpp.Bound, Admin: smpp.Draining, LastPDU: now.Add(-2 * time.Second),
		InFlight: 3, Queued: 4, Queue: 5, Binds: []smpp.BindStatus{
			{Name: "1", State: smpp.Bound, LastPDU: now.Add(-2 * time.Second), InFlight: 3, Window: 10, MaxWindow: 20, Queued: 4},
			{Name: "2", State: smpp.Waiting, LastPDU: now.Add(-time.Hour), Window: 20, MaxWindow: 20, Rate: 5, MaxRate: 5, BadAccount: true},
			{Name: "3", State: smpp.Bound, Window: 20, MaxWindow: 20, Rate: 5},
		},
		Counters: smpp.Counters{In: map[string]uint64{"deliver_sm": 7}, Out: map[string]uint64{"submit_sm": 8}, Events: map[smpp.Op]uint64{smpp.Begin: 9},
			Refused: map[pdu.Status]uint64{0x58: 1, smpp.OtherStatus: 12}, BindFailed: map[pdu.Status]uint64{0x0E: 2}, Malformed: map[string]uint64{"short": 3},
			Retried: 4, Withdrawn: 5, Unanswered: 6, Receipts: map[string]uint64{"taken": 7}, Reconnects: 8, TraceLost: 9, NotAdmitted: map[string]uint64{"queue": 10, "handler": 11}}}}
	want := `
bind_bound{bind="1",smsc="mtn"} 1
bind_bound{bind="2",smsc="mtn"} 0
bind_bound{bind="3",smsc="mtn"} 1
bind_credentials_refused{bind="1",smsc="mtn"} 0
bind_credentials_refused{bind="2",smsc="mtn"} 1
bind_credentials_refused{bind="3",smsc="mtn"} 0
bind_last_pdu_age_seconds{bind="1",smsc="mtn"} 2
bind_queue_used{bind="1",smsc="mtn"} 4
bind_queue_used{bind="2",smsc="mtn"} 0
bind_queue_used{bind="3",smsc="mtn"} 0
bind_rate{bind="1",smsc="mtn"} 0
bind_rate{bind="2",smsc="mtn"} 5
bind_rate{bind="3",smsc="mtn"} 5
bind_throttled{bind="1",smsc="mtn"} 1
bind_throttled{bind="2",smsc="mtn"} 0
bind_throttled{bind="3",smsc="mtn"} 1
bind_window{bind="1",smsc="mtn"} 10
bind_window{bind="2",smsc="mtn"} 20
bind_window{bind="3",smsc="mtn"} 20
bind_window_used{bind="1",smsc="mtn"} 3
bind_window_used{bind="2",smsc="mtn"} 0
bind_window_used{bind="3",smsc="mtn"} 0
link_admin{admin="down",smsc="mtn"} 0
link_admin{admin="draining",smsc="mtn"} 1
link_admin{admin="up",smsc="mtn"} 0
link_admissions_refused_total{smsc="mtn",why="draining"} 0
link_admissions_refused_total{smsc="mtn",why="queue"} 10
link_bind_refused_total{smsc="mtn",status="0x0e"} 2
link_bound{smsc="mtn"} 1
link_events_total{op="begin",smsc="mtn"} 9
link_last_pdu_age_seconds{smsc="mtn"} 2
link_malformed_total{kind="short",smsc="mtn"} 3
link_pdus_total{command="deliver_sm",direction="in",smsc="mtn"} 7
link_pdus_total{command="submit_sm",direction="out",smsc="mtn"} 8
link_queue_limit{smsc="mtn"} 5
link_queue_used{smsc="mtn"} 4
link_receipts_total{result="taken",smsc="mtn"} 7
link_reconnects_total{smsc="mtn"} 8
link_submit_refused_total{smsc="mtn",status="0x58"} 1
link_submit_refused_total{smsc="mtn",status="other"} 12
link_submit_retried_total{smsc="mtn"} 4
link_submit_unanswered_total{smsc="mtn"} 6
link_submit_withdrawn_total{smsc="mtn"} 5
link_trace_lost_total{smsc="mtn"} 9
link_window_used{smsc="mtn"} 3
`
	registry := gathered(t, l, want)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`# HELP ussdd_link_state 1 for the state that the link is in.
# TYPE ussdd_link_state gauge
ussdd_link_state{smsc="mtn",state="binding"} 0
ussdd_link_state{smsc="mtn",state="bound"} 1
ussdd_link_state{smsc="mtn",state="closed"} 0
ussdd_link_state{smsc="mtn",state="connecting"} 0
ussdd_link_state{smsc="mtn",state="unbinding"} 0
ussdd_link_state{smsc="mtn",state="waiting"} 0
`), "ussdd_link_state"); err != nil {
		t.Error(err)
	}
}

// gathered holds what a collector gives against a list, whose names lack their beginning. What has
// one value for each state is not in it.
func gathered(t *testing.T, c prometheus.Collector, want string) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := "\n"
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), "ussdd_")
		if !ours || strings.HasSuffix(name, "_state") {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+`="`+l.GetValue()+`"`)
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			got += name + "{" + strings.Join(labels, ",") + "} " + strconv.FormatFloat(value, 'g', -1, 64) + "\n"
		}
	}
	if got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %+v", err, problems)
	}
	return registry
}

// vendorState collects the metrics of breakers and floats.
type vendorState struct {
	breakers []vendors.NamedBreaker
	floats   []vendors.Float
	now      time.Time
}

func (vendorState) Describe(chan<- *prometheus.Desc) {}

func (s vendorState) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, b := range s.breakers {
		breaker(b, s.now, gauge)
	}
	for _, f := range s.floats {
		float(f, s.now, gauge)
	}
}

func TestVendorMetrics(t *testing.T) {
	now := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	s := vendorState{now: now, breakers: []vendors.NamedBreaker{
		{Vendor: "acme", Network: "mtn", Operation: vendors.OpVend, Breaker: vendors.Breaker{State: "half-open", InFlight: 1, Successes: 2, Failures: 3, Excluded: 4}},
		{Vendor: "acme", Operation: vendors.OpToken, Breaker: vendors.Breaker{State: "open",
			Forced: &vendors.Override{State: vendors.ForcedOpen, Until: now.Add(time.Hour)}}},
	}, floats: []vendors.Float{
		{Vendor: "acme", Kobo: 99_00, Known: now.Add(-time.Minute), Low: 100_00, Every: 5 * time.Minute},
		{Vendor: "bolt", Exhausted: true},
		{Vendor: "core"},
	}}
	registry := gathered(t, s, `
breaker_calls{network="",operation="token",result="excluded",vendor="acme"} 0
breaker_calls{network="",operation="token",result="failure",vendor="acme"} 0
breaker_calls{network="",operation="token",result="success",vendor="acme"} 0
breaker_calls{network="mtn",operation="vend",result="excluded",vendor="acme"} 4
breaker_calls{network="mtn",operation="vend",result="failure",vendor="acme"} 3
breaker_calls{network="mtn",operation="vend",result="success",vendor="acme"} 2
breaker_forced_seconds{network="",operation="token",state="open",vendor="acme"} 3600
vendor_float_age_seconds{vendor="acme"} 60
vendor_float_every_seconds{vendor="acme"} 300
vendor_float_kobo{vendor="acme"} 9900
vendor_float_low{vendor="acme"} 1
vendor_float_low{vendor="bolt"} 1
vendor_float_low{vendor="core"} 0
vendor_float_threshold_kobo{vendor="acme"} 10000
vendor_in_flight{network="",operation="token",vendor="acme"} 0
vendor_in_flight{network="mtn",operation="vend",vendor="acme"} 1
`)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`# HELP ussdd_breaker_state 1 for the state that the breaker is in, as calls meet it: closed, half-open, open. A breaker of a whole vendor has no network.
# TYPE ussdd_breaker_state gauge
ussdd_breaker_state{network="",operation="token",state="closed",vendor="acme"} 0
ussdd_breaker_state{network="",operation="token",state="half-open",vendor="acme"} 0
ussdd_breaker_state{network="",operation="token",state="open",vendor="acme"} 1
ussdd_breaker_state{network="mtn",operation="vend",state="closed",vendor="acme"} 0
ussdd_breaker_state{network="mtn",operation="vend",state="half-open",vendor="acme"} 1
ussdd_breaker_state{network="mtn",operation="vend",state="open",vendor="acme"} 0
`), "ussdd_breaker_state"); err != nil {
		t.Error(err)
	}
}
