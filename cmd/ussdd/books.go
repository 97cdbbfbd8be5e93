package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ussdd/store"
	"ussdd/vendors/purchase"
)

const (
	booksEvery   = 10 * time.Second
	booksLeast   = 500              // rows of each table in a sample
	booksMost    = 20_000           // likewise
	booksQuick   = time.Second / 2  // a sample that took less is followed by one of twice the rows
	booksSlow    = time.Second      // and one that took more, by one of half of them
	booksTimeout = 30 * time.Second // of one look
	booksTold    = 1000             // violations that are remembered as told
)

// bookStore is what the bookkeeper reads.
type bookStore interface {
	CheckSample(ctx context.Context, n int) (store.Sample, error)
	Clocks(ctx context.Context) (store.Clocks, error)
	OutboxStatus(ctx context.Context) (store.Outbox, error)
}

// bookkeeper looks through the ledger, a sample at a time and round and round,
// and at what is owed to subscribers. It is a prometheus.Collector of what it
// saw and of the desk's measures.
type bookkeeper struct {
	books bookStore
	desk  interface{ Stats() purchase.Stats }
	log   *slog.Logger

	sample int // rows of each table in the next sample; 0 = booksLeast

	mu         sync.Mutex
	rows       int
	rounds     int
	violations int
	failures   int
	clocks     store.Clocks
	outbox     store.Outbox
	roundAt    map[string]time.Time // as Sample's; never changed, only replaced
	told       map[store.Violation]bool
}

// Run looks every ten seconds until ctx is done.
func (b *bookkeeper) Run(ctx context.Context) error {
	tick := time.NewTicker(booksEvery)
	defer tick.Stop()
	for {
		b.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look takes one sample and reads the clocks.
func (b *bookkeeper) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, booksTimeout)
	defer cancel()
	s, err := b.check(ctx)
	var clocks store.Clocks
	if err == nil {
		clocks, err = b.books.Clocks(ctx)
	}
	var outbox store.Outbox
	if err == nil {
		outbox, err = b.books.OutboxStatus(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.failures++
		if ctx.Err() == nil {
			b.log.Warn("ledger not checked", "err", err)
		}
		return
	}
	b.rows += s.Rows
	b.rounds += s.Rounds
	b.violations += len(s.Violations)
	b.clocks, b.outbox, b.roundAt = clocks, outbox, s.RoundAt
	for _, v := range s.Violations {
		b.tell(v)
	}
}

// check takes a sample whose rows are as many as the time allows: the tables grow
// with what is sold, and a round is to end all the same.
func (b *bookkeeper) check(ctx context.Context) (store.Sample, error) {
	b.sample = max(booksLeast, b.sample)
	began := time.Now()
	s, err := b.books.CheckSample(ctx, b.sample)
	switch took := time.Since(began); {
	case err != nil || took > booksSlow:
		b.sample /= 2
	case took < booksQuick:
		b.sample = min(booksMost, b.sample*2)
	}
	return s, err
}

// tell logs a violation once. b.mu is held.
func (b *bookkeeper) tell(v store.Violation) {
	if b.told[v] {
		return
	}
	if b.told == nil || len(b.told) >= booksTold {
		b.told = make(map[store.Violation]bool)
	}
	b.told[v] = true
	// The row is not named here: it has a subscriber's whole number.
	b.log.Error("the ledger is broken: run `ussdctl ledger check`", "rule", v.Rule)
}

var (
	ledgerRows       = desc("ledger_checked_rows_total", "Rows of the ledger's tables that samples have checked.")
	ledgerRounds     = desc("ledger_checked_tables_total", "Times that the samples came to the end of a table.")
	ledgerRound      = desc("ledger_round_seconds", "For how long the samples of all instances have not come to the end of a table, to the minute.", "table")
	ledgerViolations = desc("ledger_violations_total", "Rows found that break a rule of the ledger; the same row counts in each round.")
	ledgerUnchecked  = desc("ledger_check_failures_total", "Samples that the database did not give.")
	owedOpen         = desc("purchases_open", "Purchases not decided, of all instances.")
	owedReview       = desc("purchases_needing_review", "Purchases that wait for an operator, of all instances.")
	owedRefunds      = desc("purchases_refund_overdue", "Failures known for more than 30 seconds whose money is not back, of all instances.")
	owedDecisions    = desc("purchases_decision_overdue", "Purchases in doubt for more than 24 hours, of all instances.")
	owedOldest       = desc("purchases_oldest_doubt_seconds", "For how long the oldest purchase in doubt has been so.")
	clockBreaches    = desc("purchases_late_total", "Purchases decided too late, by clock: refund (30 seconds), doubt (24 hours).", "clock")
	clockSeconds     = desc("purchases_clock_seconds_total", "Time that decisions took, by clock.", "clock")
	clockCount       = desc("purchases_clock_count_total", "Decisions by clock.", "clock")
	reviews          = desc("purchases_reviews_total", "Purchases that were left to an operator.")
	turned           = desc("purchases_late_truth_total", "Truths that came after the decision, by truth: delivered_late, reversed.", "truth")
	variances        = desc("purchases_cost_variances_total", "Deliveries whose vendor took another cost than computed.")
	variance         = desc("purchases_cost_variance_kobo", "Kobo that vendors took more than computed, since the start.")
	outboxWaiting    = desc("messages_waiting", "Messages to subscribers that are to be sent, of all instances.")
	outboxLost       = desc("messages_lost", "Messages to subscribers that were given up, of all instances.")
	outboxOldest     = desc("messages_oldest_seconds", "For how long the oldest message has waited.")
)

// Describe sends nothing, as that of parts.
func (b *bookkeeper) Describe(chan<- *prometheus.Desc) {}

// Collect gives what the last look saw.
func (b *bookkeeper) Collect(out chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	b.mu.Lock()
	rows, rounds, violations, failures, clocks, outbox, roundAt := b.rows, b.rounds, b.violations, b.failures, b.clocks, b.outbox, b.roundAt
	b.mu.Unlock()
	for table, at := range roundAt {
		gauge(ledgerRound, max(0, time.Since(at).Seconds()), table)
	}
	counter(ledgerRows, float64(rows))
	counter(ledgerRounds, float64(rounds))
	counter(ledgerViolations, float64(violations))
	counter(ledgerUnchecked, float64(failures))
	gauge(owedOpen, float64(clocks.Open))
	gauge(owedReview, float64(clocks.Review))
	gauge(owedRefunds, float64(clocks.RefundsLate))
	gauge(owedDecisions, float64(clocks.DecisionsLate))
	gauge(owedOldest, clocks.OldestUnsure.Seconds())
	gauge(outboxWaiting, float64(outbox.Waiting))
	gauge(outboxLost, float64(outbox.Lost))
	gauge(outboxOldest, outbox.Oldest.Seconds())

	s := b.desk.Stats()
	for name, c := range map[string]purchase.Clock{"refund": s.Refunds, "doubt": s.Doubts} {
		counter(clockBreaches, float64(c.Breaches), name)
		counter(clockSeconds, c.Total.Seconds(), name)
		counter(clockCount, float64(c.Count), name)
	}
	counter(reviews, float64(s.Reviews))
	for _, truth := range []string{purchase.DeliveredLate, purchase.Reversed} {
		counter(turned, float64(s.Turned[truth]), truth)
	}
	counter(variances, float64(s.Variances))
	gauge(variance, float64(s.Variance))
}
