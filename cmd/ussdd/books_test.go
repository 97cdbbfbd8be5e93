package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ussdd/store"
	"ussdd/vendors/purchase"
)

// shelf gives what the test has put there.
type shelf struct {
	sample store.Sample
	clocks store.Clocks
	outbox store.Outbox
	err    error
}

func (s *shelf) CheckSample(context.Context, int) (store.Sample, error) { return s.sample, s.err }
func (s *shelf) Clocks(context.Context) (store.Clocks, error)           { return s.clocks, s.err }
func (s *shelf) OutboxStatus(context.Context) (store.Outbox, error)     { return s.outbox, s.err }
func (s *shelf) Stats() purchase.Stats {
	return purchase.Stats{Refunds: purchase.Clock{Count: 2, Total: 40 * time.Second, Breaches: 1}, Reviews: 3,
		Turned: map[string]uint64{purchase.Reversed: 4}, Variances: 5, Variance: -6}
}

func TestBookkeeper(t *testing.T) {
	s := &shelf{sample: store.Sample{Rows: 10, Rounds: 1}, clocks: store.Clocks{Open: 2, Review: 1, OldestUnsure: time.Hour}, outbox: store.Outbox{Waiting: 7}}
	var log strings.Builder
	b := &bookkeeper{books: s, desk: s, log: slog.New(slog.NewTextHandler(&log, nil))}
	b.look(t.Context())
	s.sample.Violations = []store.Violation{{Rule: "wallet-balance", Subject: "wallet 2348031234567"}}
	b.look(t.Context())
	b.look(t.Context())
	s.err = errors.New("database is away")
	b.look(t.Context())
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(b)
	shown := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(shown, httptest.NewRequest(http.MethodGet, "/", nil))
	for metric, want := range map[string]string{
		"ussdd_ledger_checked_rows_total": "30", "ussdd_ledger_violations_total": "2", "ussdd_ledger_check_failures_total": "1",
		"ussdd_purchases_needing_review": "1", "ussdd_purchases_oldest_doubt_seconds": "3600", "ussdd_messages_waiting": "7",
		"ussdd_purchases_reviews_total": "3", "ussdd_purchases_cost_variance_kobo": "-6", `ussdd_purchases_late_total{clock="refund"}`: "1",
		`ussdd_purchases_late_truth_total{truth="reversed"}`: "4", `ussdd_purchases_clock_seconds_total{clock="refund"}`: "40",
	} {
		if !strings.Contains(shown.Body.String(), "\n"+metric+" "+want+"\n") {
			t.Errorf("%s is not %s:\n%s", metric, want, shown.Body)
		}
	}
	if n := strings.Count(log.String(), "the ledger is broken"); n != 1 || strings.Contains(log.String(), "2348031234567") {
		t.Errorf("logged:\n%s", log.String())
	}
}
