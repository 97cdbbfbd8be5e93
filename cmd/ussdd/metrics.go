package main

import (
	"strconv"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"ussdd/smpp"
	"ussdd/vendors"
)

// metrics are what /metrics shows. Histograms are observed as things happen;
// everything else is read from the parts when it is asked for.
type metrics struct {
	registry *prometheus.Registry
	steps    prometheus.Histogram
	actions  *prometheus.HistogramVec
	reloads  *prometheus.CounterVec
	loaded   prometheus.Gauge
	pushes   *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		steps: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ussdd_step_seconds",
			Help:    "Time from a subscriber's input to its screen, actions included.",
			Buckets: []float64{.0001, .001, .01, .1, .5, 1, 2, 5, 10}}),
		actions: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ussdd_action_seconds",
			Help:    "Time that a menu's action took (action: balance, history, purchase, purchase_again, status), by outcome.",
			Buckets: []float64{.001, .01, .1, .5, 1, 2, 5, 10}}, []string{"action", "outcome"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ussdd_reloads_total",
			Help: "Reloads of menus and vendors, by result: ok or refused."}, []string{"result"}),
		loaded: prometheus.NewGauge(prometheus.GaugeOpts{Name: "ussdd_loaded_timestamp_seconds",
			Help: "When the menus and vendors in force were loaded."}),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ussdd_pushes_total",
			Help: "Pushes that operators asked for, by result: accepted, refused by the SMSC, unanswered, busy (a live session), " +
				"overload, no_service, unsupported by the profile, unsent for want of a bind, failed."}, []string{"smsc", "result"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "ussdd_build_info", Help: "1, with the version as a label.",
		ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.loaded.SetToCurrentTime()
	// What begins with its first increment has no rate then.
	m.reloads.WithLabelValues("ok")
	m.reloads.WithLabelValues("refused")
	m.registry.MustRegister(m.steps, m.actions, m.reloads, m.loaded, m.pushes, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe is session.Config.Observe.
func (m *metrics) observe(action, outcome string, took time.Duration) {
	if action == "" {
		m.steps.Observe(took.Seconds())
		return
	}
	m.actions.WithLabelValues(action, outcome).Observe(took.Seconds())
}

func (m *metrics) reloaded(ok bool) {
	if !ok {
		m.reloads.WithLabelValues("refused").Inc()
		return
	}
	m.reloads.WithLabelValues("ok").Inc()
	m.loaded.SetToCurrentTime()
}

// collect adds the metrics that are read from the daemon's parts, and those of its
// SMSCs.
func (m *metrics) collect(d *daemon) {
	for _, s := range d.cfg.smscs {
		for _, result := range pushResults {
			m.pushes.WithLabelValues(s.name, result)
		}
	}
	m.registry.MustRegister(parts{d})
}

// parts reads the counters of the daemon's parts.
type parts struct{ d *daemon }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ussdd_"+name, help, labels, nil)
}

var (
	sessionsLive    = desc("sessions_live", "Sessions in memory.")
	sessionsBegun   = desc("sessions_begun_total", "Sessions that began.")
	sessionsPushed  = desc("sessions_pushed_total", "Sessions that a push began.")
	sessionsResumed = desc("sessions_resumed_total", "Sessions that went on from the store.")
	sessionsEnded   = desc("sessions_ended_total", "Sessions that ended, by reason.", "reason")
	sessionSteps    = desc("session_steps_total", "Menu steps taken.")
	sessionDropped  = desc("session_events_dropped_total", "Events that changed nothing, by kind: repeated, late, no_service, overload.", "kind")
	sessionRefused  = desc("session_replies_failed_total", "Screens that did not reach the subscriber, by kind: refused by the SMSC, unsent for want of a link.", "kind")
	actionsFlying   = desc("actions_in_flight", "Menu actions and store look-ups under way.")
	writesPending   = desc("session_writes_pending", "Session steps that wait to be written.")
	writesDropped   = desc("session_writes_dropped_total", "Session steps lost because the store was away too long.")
	recordsDropped  = desc("session_records_dropped_total", "Sessions whose state was not stored, for want of room or because the store will not take it.")
	writesBehind    = desc("session_writes_behind_seconds", "How long ago it was that what is now stored was so.")
	writeErrors     = desc("session_write_errors_total", "Batches of session writes that failed and were tried again.")
	slowWrites      = desc("session_slow_writes_total", "Times that writing behind took more than a second.")

	linkBound      = desc("link_bound", "1 if the link is bound: if any of its binds is.", "smsc")
	linkState      = desc("link_state", "1 for the state that the link is in.", "smsc", "state")
	linkAdmin      = desc("link_admin", "1 for what an operator wants of the link: up, draining, down.", "smsc", "admin")
	linkPDUs       = desc("link_pdus_total", "PDUs by command and direction: in, out.", "smsc", "command", "direction")
	linkEvents     = desc("link_events_total", "Dialogue events by operation.", "smsc", "op")
	linkRefused    = desc("link_submit_refused_total", "submit_sm refused, by command_status.", "smsc", "status")
	linkBindFailed = desc("link_bind_refused_total", "Binds refused, by command_status.", "smsc", "status")
	linkIgnored    = desc("link_ignored_total", "Messages that were acknowledged and that the profile has no use for, by why: service_type, operation.", "smsc", "why")
	linkMalformed  = desc("link_malformed_total", "PDUs that could not be used, by kind.", "smsc", "kind")
	linkRejected   = desc("link_admissions_refused_total", "Dialogues refused at their begin for the link's sake, by why: draining, queue (too many replies wait). Those that there is no room for count as ussdd_session_events_dropped_total{kind=\"overload\"}.", "smsc", "why")
	linkTraceLost  = desc("link_trace_lost_total", "PDUs that the watchers of traces were too slow for.", "smsc")
	linkReceipts   = desc("link_receipts_total", "Delivery receipts, by what became of them: taken, refused (there is no room; the SMSC delivers them again), ignored.", "smsc", "result")
	linkReconnects = desc("link_reconnects_total", "Attempts to connect after the first.", "smsc")
	linkRetried    = desc("link_submit_retried_total", "submit_sm sent again after a temporary refusal.", "smsc")
	linkUnanswered = desc("link_submit_unanswered_total", "submit_sm whose response was lost with the link.", "smsc")
	linkWithdrawn  = desc("link_submit_withdrawn_total", "Replies that waited until their dialogue was over, and were not sent.", "smsc")
	linkInFlight   = desc("link_window_used", "submit_sm that wait for their response.", "smsc")
	linkQueued     = desc("link_queue_used", "Replies that wait for room in the window.", "smsc")
	linkQueue      = desc("link_queue_limit", "Replies that may wait; further ones are refused.", "smsc")
	linkLastPDU    = desc("link_last_pdu_age_seconds", "Time since anything was received from the SMSC.", "smsc")
	tracesWatched  = desc("traces", "Traces that are being watched.")

	bindBound     = desc("bind_bound", "1 if the bind is bound.", "smsc", "bind")
	bindState     = desc("bind_state", "1 for the state that the bind is in.", "smsc", "bind", "state")
	bindRefused   = desc("bind_credentials_refused", "1 if the last bind was refused for its credentials: somebody has to mend that.", "smsc", "bind")
	bindInFlight  = desc("bind_window_used", "submit_sm that wait for their response.", "smsc", "bind")
	bindWindow    = desc("bind_window", "submit_sm that may wait for their response, as it is in force.", "smsc", "bind")
	bindRate      = desc("bind_rate", "submit_sm per second that are allowed, as it is in force; 0 without a limit.", "smsc", "bind")
	bindThrottled = desc("bind_throttled", "1 while the SMSC's throttling keeps the window or the rate below what is configured.", "smsc", "bind")
	bindQueued    = desc("bind_queue_used", "Replies that wait to be sent on this bind.", "smsc", "bind")
	bindLastPDU   = desc("bind_last_pdu_age_seconds", "Time since anything was received on the bind, while it is bound.", "smsc", "bind")

	purchases        = desc("purchases_total", "Purchases decided, by state: delivered or failed.", "state")
	purchasesHeld    = desc("purchases_held_total", "Purchases begun: money held.")
	purchasesRepeats = desc("purchases_repeated_total", "Confirmations that were repetitions of a known purchase.")
	purchasesFlying  = desc("purchases_in_flight", "Purchases being worked on, by whom: desk or reconciler.", "by")
	purchasesRefused = desc("purchases_refused_total", "Purchases refused because too many were in flight.")
	purchasesResumed = desc("purchases_resumed_total", "Purchases that the reconciler took up.")
	purchasesGivenUp = desc("purchases_given_up_total", "Works on a purchase that a trouble of the ledger ended; the reconciler goes on.")
	purchasesOrphans = desc("purchases_orphaned_total", "Purchases taken up that a crash or a trouble had left.")
	purchasesLost    = desc("purchases_conflicts_total", "Moves of a purchase that somebody else made first.")
	purchasesPanics  = desc("purchases_panics_total", "Works on a purchase that ended in a panic; the reconciler goes on.")
	ledgerFailures   = desc("ledger_failures_total", "Calls of the ledger that failed.")
	leaseLeft        = desc("lease_seconds", "What is left of the lease on our purchases; negative: ran out.")
	vends            = desc("vends_total", "Attempts at a vendor, by outcome: delivered, declined, pending, not_sent, unavailable.", "outcome")
	queries          = desc("vend_queries_total", "Queries of a vendor, by finding.", "finding")

	breakerState  = desc("breaker_state", "1 for the state that the breaker is in, as calls meet it: closed, half-open, open. A breaker of a whole vendor has no network.", "vendor", "network", "operation", "state")
	breakerCalls  = desc("breaker_calls", "Calls within the breaker's window, by what they told it: success, failure (the vendor's fault), excluded (which say nothing about the vendor).", "vendor", "network", "operation", "result")
	breakerForced = desc("breaker_forced_seconds", "For how long an operator still forces the breaker open or closed; missing when nobody does.", "vendor", "network", "operation", "state")
	callsInFlight = desc("vendor_in_flight", "Calls in flight.", "vendor", "network", "operation")

	floatLeft      = desc("vendor_float_kobo", "Our money at the vendor, as it was last told, less the deliveries since; missing until it is told.", "vendor")
	floatAge       = desc("vendor_float_age_seconds", "How long ago the vendor told our float; missing until it does.", "vendor")
	floatEvery     = desc("vendor_float_every_seconds", "How often the vendor is asked for our float; missing if it cannot be asked.", "vendor")
	floatThreshold = desc("vendor_float_threshold_kobo", "Below this the float is low; missing if the vendor's file does not say.", "vendor")
	floatLow       = desc("vendor_float_low", "1 if the float is low, or a sale was declined for want of it not long ago.", "vendor")
)

// Describe sends nothing: the collector is unchecked, because its labels come
// with the configuration.
func (parts) Describe(chan<- *prometheus.Desc) {}

func (p parts) Collect(out chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	p.sessions(counter, gauge)
	for _, l := range p.d.links {
		link(l.Status(), time.Now(), counter, gauge)
	}
	if s := p.d.control; s != nil {
		gauge(tracesWatched, float64(s.Traces()))
	}
	p.purchases(counter, gauge)
	set, now := p.d.data.Load().vendors, time.Now()
	for _, b := range set.Breakers() {
		breaker(b, now, gauge)
	}
	for _, f := range set.Floats() {
		float(f, now, gauge)
	}
}

type sample func(d *prometheus.Desc, v float64, labels ...string)

func (p parts) sessions(counter, gauge sample) {
	s := p.d.engine.Stats()
	gauge(sessionsLive, float64(s.Live))
	gauge(actionsFlying, float64(s.InFlight))
	gauge(writesPending, float64(s.Pending))
	gauge(writesBehind, s.Behind.Seconds())
	counter(sessionsBegun, float64(s.Begun))
	counter(sessionsPushed, float64(s.Pushed))
	counter(sessionsResumed, float64(s.Resumed))
	counter(sessionSteps, float64(s.Steps))
	counter(sessionDropped, float64(s.Repeated), "repeated")
	counter(sessionDropped, float64(s.Late), "late")
	counter(sessionDropped, float64(s.NoService), "no_service")
	counter(sessionDropped, float64(s.Overload), "overload")
	counter(sessionRefused, float64(s.Refused), "refused")
	counter(sessionRefused, float64(s.Unsent), "unsent")
	counter(writesDropped, float64(s.DroppedSteps))
	counter(recordsDropped, float64(s.DroppedRecords))
	counter(writeErrors, float64(s.WriteErrors))
	counter(slowWrites, float64(s.SlowWrites))
	for reason, n := range s.Ended {
		counter(sessionsEnded, float64(n), string(reason))
	}
}

// states are all that a link or a bind can be in.
var states = []smpp.State{smpp.Closed, smpp.Connecting, smpp.Binding, smpp.Bound, smpp.Unbinding, smpp.Waiting}

func link(st smpp.Status, now time.Time, counter, gauge sample) {
	name := st.Name
	gauge(linkBound, truth(st.State == smpp.Bound), name)
	for _, state := range states {
		gauge(linkState, truth(st.State == state), name, state.String())
	}
	for _, admin := range []smpp.Admin{smpp.Up, smpp.Draining, smpp.Down} {
		gauge(linkAdmin, truth(st.Admin == admin), name, admin.String())
	}
	gauge(linkInFlight, float64(st.InFlight), name)
	gauge(linkQueued, float64(st.Queued), name)
	gauge(linkQueue, float64(st.Queue), name)
	if !st.LastPDU.IsZero() {
		gauge(linkLastPDU, now.Sub(st.LastPDU).Seconds(), name)
	}
	for _, b := range st.Binds {
		bind(name, b, now, gauge)
	}
	c := st.Counters
	for command, n := range c.In {
		counter(linkPDUs, float64(n), name, command, "in")
	}
	for command, n := range c.Out {
		counter(linkPDUs, float64(n), name, command, "out")
	}
	for op, n := range c.Events {
		counter(linkEvents, float64(n), name, op.String())
	}
	for status, n := range c.Refused {
		counter(linkRefused, float64(n), name, statusLabel(status))
	}
	for status, n := range c.BindFailed {
		counter(linkBindFailed, float64(n), name, statusLabel(status))
	}
	for kind, n := range c.Malformed {
		counter(linkMalformed, float64(n), name, kind)
	}
	for why, n := range c.Ignored {
		counter(linkIgnored, float64(n), name, why)
	}
	for _, why := range []string{"draining", "queue"} {
		counter(linkRejected, float64(c.NotAdmitted[why]), name, why)
	}
	counter(linkTraceLost, float64(c.TraceLost), name)
	for result, n := range c.Receipts {
		counter(linkReceipts, float64(n), name, result)
	}
	counter(linkReconnects, float64(c.Reconnects), name)
	counter(linkRetried, float64(c.Retried), name)
	counter(linkUnanswered, float64(c.Unanswered), name)
	counter(linkWithdrawn, float64(c.Withdrawn), name)
}

func bind(smsc string, b smpp.BindStatus, now time.Time, gauge sample) {
	gauge(bindBound, truth(b.State == smpp.Bound), smsc, b.Name)
	for _, state := range states {
		gauge(bindState, truth(b.State == state), smsc, b.Name, state.String())
	}
	gauge(bindRefused, truth(b.BadAccount), smsc, b.Name)
	gauge(bindInFlight, float64(b.InFlight), smsc, b.Name)
	gauge(bindWindow, float64(b.Window), smsc, b.Name)
	gauge(bindRate, b.Rate, smsc, b.Name)
	// A rate of 0 is none: throttling may set one where none is configured.
	gauge(bindThrottled, truth(b.Window < b.MaxWindow || b.Rate > 0 && (b.MaxRate == 0 || b.Rate < b.MaxRate)), smsc, b.Name)
	gauge(bindQueued, float64(b.Queued), smsc, b.Name)
	if b.State == smpp.Bound && !b.LastPDU.IsZero() {
		gauge(bindLastPDU, now.Sub(b.LastPDU).Seconds(), smsc, b.Name)
	}
}

func (p parts) purchases(counter, gauge sample) {
	s := p.d.desk.Stats()
	for _, state := range []string{"delivered", "failed"} {
		counter(purchases, float64(s.Decided[state]), state)
	}
	for o := vendors.Delivered; o <= vendors.Unavailable; o++ {
		counter(vends, float64(s.Vends[o]), o.String())
	}
	for f := vendors.FoundDelivered; f <= vendors.Unknown; f++ {
		counter(queries, float64(s.Queries[f]), f.String())
	}
	counter(purchasesHeld, float64(s.Bought))
	counter(purchasesRepeats, float64(s.Repeated))
	counter(purchasesRefused, float64(s.Refused))
	counter(purchasesResumed, float64(s.Resumed))
	counter(purchasesGivenUp, float64(s.GivenUp))
	counter(purchasesOrphans, float64(s.Orphans))
	counter(purchasesLost, float64(s.Conflicts))
	counter(purchasesPanics, float64(s.Panics))
	counter(ledgerFailures, float64(s.Failures))
	gauge(purchasesFlying, float64(s.InFlight), "desk")
	gauge(purchasesFlying, float64(s.Resuming), "reconciler")
	gauge(leaseLeft, s.Lease.Seconds())
}

func breaker(b vendors.NamedBreaker, now time.Time, gauge sample) {
	of := []string{b.Vendor, b.Network, string(b.Operation)}
	with := func(label string) []string { return append(of[:3:3], label) }
	for _, state := range []string{"closed", "half-open", "open"} {
		gauge(breakerState, truth(b.State == state), with(state)...)
	}
	gauge(breakerCalls, float64(b.Successes), with("success")...)
	gauge(breakerCalls, float64(b.Failures), with("failure")...)
	gauge(breakerCalls, float64(b.Excluded), with("excluded")...)
	if b.Forced != nil {
		gauge(breakerForced, b.Forced.Until.Sub(now).Seconds(), with(b.Forced.State.String())...)
	}
	gauge(callsInFlight, float64(b.InFlight), of...)
}

func float(f vendors.Float, now time.Time, gauge sample) {
	if !f.Known.IsZero() {
		gauge(floatLeft, float64(f.Kobo), f.Vendor)
		gauge(floatAge, now.Sub(f.Known).Seconds(), f.Vendor)
	}
	if f.Every > 0 {
		gauge(floatEvery, f.Every.Seconds(), f.Vendor)
	}
	if f.Low > 0 {
		gauge(floatThreshold, float64(f.Low), f.Vendor)
	}
	gauge(floatLow, truth(f.IsLow()), f.Vendor)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// statusLabel writes a command_status as operators quote it: 0x0000000E is 0x0e.
func statusLabel(status pdu.Status) string {
	if status == smpp.OtherStatus {
		return "other"
	}
	s := strconv.FormatUint(uint64(status), 16)
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return "0x" + s
}
