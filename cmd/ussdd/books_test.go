package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
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
	asked  []int         // rows of each sample
	takes  time.Duration // what a sample takes
}

func (s *shelf) CheckSample(_ context.Context, n int) (store.Sample, error) {
	s.asked = append(s.asked, n)
	<-time.After(s.takes)
	return s.sample, s.err
}
func (s *shelf) Clocks(context.Context) (store.Clocks, error)       { return s.clocks, s.err }
func (s *shelf) OutboxStatus(context.Context) (store.Outbox, error) { return s.outbox, s.err }
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

// TestBookkeeperKeepsUp: samples grow as long as they are quick, and shrink when they
// are slow or fail.
func TestBookkeeperKeepsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{sample: store.Sample{RoundAt: map[string]time.Time{"entries": time.Now()}}}
		b := &bookkeeper{books: s, desk: s, log: slog.New(slog.DiscardHandler)}
		for range 7 {
			b.look(t.Context())
		}
		for _, s.takes = range []time.Duration{booksSlow, booksSlow + 1, 0} {
			b.look(t.Context())
		}
		s.err = errors.New("database is away")
		for range 7 {
			b.look(t.Context())
		}
		want := []int{500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000, 10000, 20000, 10000, 5000, 2500, 1250, 625, 500}
		if !slices.Equal(s.asked, want) {
			t.Errorf("rows %v, want %v", s.asked, want)
		}
		<-time.After(time.Hour)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(b)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if m := f.GetMetric()[0]; f.GetName() == "ussdd_ledger_round_seconds" {
				if age := m.GetGauge().GetValue(); age < 3600 || age > 3610 || m.GetLabel()[0].GetValue() != "entries" {
					t.Errorf("%v", m)
				}
				return
			}
		}
		t.Error("the age of the last round is not shown")
	})
}
