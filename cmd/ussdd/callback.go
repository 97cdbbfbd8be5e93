package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"ussdd/store"
	"ussdd/vendors"
)

// Bounds of what vendors report by themselves. Who knows the address can have
// them asked so often, and no more.
const (
	maxCallback     = 64 << 10
	callbacksPerSec = 20
	callbacksAtOnce = 100
	callbackTimeout = 5 * time.Second
)

// asker has a vendor asked about a sale soon, which has our reference or, if that
// is "", the vendor's; *store.DB is one.
type asker interface {
	AskSoon(ctx context.Context, vendor, reference, vendorRef string) (soon bool, err error)
}

// callbacks takes what vendors report of sales by themselves, as POST or GET
// /vendor/NAME/TOKEN. A report is a reason to ask the vendor, whose answer
// counts; nothing that it says is believed.
type callbacks struct {
	vendors func() *vendors.Set
	asker   asker
	limit   *rate.Limiter
	log     *slog.Logger
	reports *prometheus.CounterVec // by result; the caller registers it
}

// callbackPath is where callbacks are served.
const callbackPath = "/vendor/"

func newCallbacks(set func() *vendors.Set, a asker, log *slog.Logger) *callbacks {
	return &callbacks{vendors: set, asker: a, limit: rate.NewLimiter(callbacksPerSec, callbacksAtOnce), log: log,
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ussdd_vendor_callbacks_total", Help: "Reports of vendors about sales by what became of them: asked, quiet, unknown, unreadable, busy, failed or refused.",
		}, []string{"result"})}
}

// ServeHTTP answers 200 to every report that can be read, so that nobody learns
// which references there are, and a vendor does not report it again.
func (c *callbacks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, answer, result := c.take(w, r)
	c.reports.WithLabelValues(result).Inc()
	if status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, answer)
}

// take takes one report: the answer to it, and a word for what became of it.
func (c *callbacks) take(w http.ResponseWriter, r *http.Request) (status int, answer, result string) {
	vendor, token, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, callbackPath), "/")
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		return http.StatusMethodNotAllowed, "", "refused"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallback))
	if err != nil {
		return http.StatusRequestEntityTooLarge, "", "refused"
	}
	report, err := c.vendors().Callback(vendor, token, r.URL.Query(), body)
	log := c.log.With("vendor", vendor)
	switch {
	case errors.Is(err, vendors.ErrNoCallback):
		return http.StatusNotFound, "", "refused"
	case err != nil:
		log.Warn("report of a vendor that names no sale", "err", err)
		return http.StatusBadRequest, "", "unreadable"
	case !c.limit.Allow():
		return http.StatusTooManyRequests, "", "busy"
	}
	ctx, cancel := context.WithTimeout(r.Context(), callbackTimeout)
	defer cancel()
	answer = report.Answer
	log = log.With("reference", report.Reference, "vendor_ref", report.VendorRef)
	soon, err := c.asker.AskSoon(ctx, vendor, report.Reference, report.VendorRef)
	switch {
	case errors.Is(err, store.ErrNotFound):
		log.Warn("report of a vendor about a sale that is not ours")
		return http.StatusOK, answer, "unknown"
	case err != nil:
		log.Error("report of a vendor is lost, unless it comes again", "err", err)
		return http.StatusServiceUnavailable, "", "failed"
	case !soon:
		return http.StatusOK, answer, "quiet"
	}
	log.Info("vendor is asked because it reports")
	return http.StatusOK, answer, "asked"
}
