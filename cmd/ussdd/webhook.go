package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	hexadecimal "encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"golang.org/x/time/rate"

	"ussdd/store"
)

// webhookConfig says who may report deposits, and from where.
type webhookConfig struct {
	// Providers are those that are listened to, by the names of schemes, as they
	// are now: a reload may change their secrets.
	Providers func() map[string]provider
	// Sources are the networks that a provider reports from. None = any.
	Sources sources
	// Proxies are the networks of our own proxies: what they say last in
	// X-Forwarded-For is the source. None = the peer is the source.
	Proxies networks
}

// provider is one payment provider that reports deposits.
type provider struct {
	secrets []string // of its signatures: one, or two while one is being replaced
	verify  verifier // asks it whether a report is true; nil = the signature is enough
}

// verifier is nil if the provider, asked itself, has the same deposit.
type verifier func(ctx context.Context, d deposit) error

// deposit is what a report says. Reference is the provider's unique name of
// it, Account what received it: an account's number, or our own reference of it.
type deposit struct {
	Reference, Account, Currency string
	Amount                       int64 // kobo that the customer paid; the provider's fee is our expense
}

// depositor books deposits, each reference once.
type depositor interface {
	Deposit(ctx context.Context, d store.Deposit) (stored store.Deposit, booked bool, err error)
}

// scheme is how one provider signs and writes its reports.
type scheme struct {
	header string // of the signature
	// signed tells whether the signature of the raw body is by secret.
	signed func(secret, signature string, body []byte) bool
	// read gives the deposit that a report tells of, and what of it. Of one that
	// was not paid, it has no more than the reference, if that.
	read func(body []byte) (d deposit, what news, err error)
	// forgeable says that the signature does not cover the body: nothing is booked
	// that the provider, asked itself, has not confirmed.
	forgeable bool
}

// news is what a report tells of a deposit.
type news int

const (
	other  news = iota // nothing that concerns the books
	paid               // it has come in
	undone             // it was refunded, disputed or reversed, wholly or in part, or is about to be
)

var schemes = map[string]scheme{
	"paystack":       {header: "X-Paystack-Signature", signed: hmacHex, read: readPaystack},
	"monnify":        {header: "Monnify-Signature", signed: hmacHex, read: readMonnify},
	"flutterwave":    {header: "Flutterwave-Signature", signed: hmacBase64, read: readFlutterwave},
	"flutterwave-v3": {header: "Verif-Hash", signed: sameSecret, read: readFlutterwave, forgeable: true},
}

// hmacHex is Paystack's and Monnify's: hex HMAC-SHA512 of the body.
func hmacHex(secret, signature string, body []byte) bool {
	given, err := hexadecimal.DecodeString(signature)
	if err != nil {
		return false
	}
	mac := hmac.New(sha512.New, []byte(secret))
	mac.Write(body)
	return hmac.Equal(given, mac.Sum(nil))
}

// hmacBase64 is Flutterwave's of version 4: base64 HMAC-SHA256 of the body.
func hmacBase64(secret, signature string, body []byte) bool {
	given, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hmac.Equal(given, mac.Sum(nil))
}

// sameSecret is Flutterwave's of version 3: the header is the secret itself.
func sameSecret(secret, signature string, _ []byte) bool {
	given, want := sha256.Sum256([]byte(signature)), sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(given[:], want[:]) == 1
}

// Bounds of a report, and of the time for it. Providers want an answer within a
// few seconds.
const (
	maxReport      = 256 << 10
	maxReports     = 64  // being booked at once; the others are told to come again
	maxReporters   = 256 // connections; further ones wait to be accepted
	reportTimeout  = 10 * time.Second
	webhookClosing = 5 * time.Second
	maxAccount     = 64 // characters, as the store has them
)

// webhooks takes the reports of payment providers. Make it with newWebhooks and
// give it one Run.
type webhooks struct {
	cfg     webhookConfig
	books   depositor
	log     *slog.Logger
	listen  net.Listener
	mux     *http.ServeMux
	slots   chan struct{}
	strange rate.Sometimes         // a log line about what strangers send
	reports *prometheus.CounterVec // by provider and result; the caller registers it
	panics  prometheus.Counter     // likewise
}

// results are what can become of a report.
var results = []string{"credited", "suspense", "repeated", "ignored", "undone", "mismatch", "invalid", "foreign", "unverified", "unreadable",
	"forged", "refused", "busy", "failed"}

// newWebhooks takes the listener over.
func newWebhooks(listen net.Listener, cfg webhookConfig, books depositor, log *slog.Logger) *webhooks {
	w := &webhooks{cfg: cfg, books: books, log: log, listen: listen, mux: http.NewServeMux(), slots: make(chan struct{}, maxReports),
		strange: rate.Sometimes{Interval: time.Minute},
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ussdd_webhook_reports_total",
			Help: "Reports of payment providers, by provider and by what became of them: credited, suspense (an account of nobody), repeated, ignored " +
				"(of no deposit), undone (a refund, dispute or reversal), mismatch (other content than before), invalid, foreign (currency), unverified, " +
				"unreadable, forged, refused, busy, failed (the database)."}, []string{"provider", "result"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "ussdd_webhook_panics_total",
			Help: "Reports of payment providers and vendors that a defect of ussdd left unhandled: see its log."})}
	// What begins with its first increment has no rate then.
	for name := range cfg.Providers() {
		for _, result := range results {
			w.reports.WithLabelValues(name, result)
		}
	}
	w.mux.HandleFunc("/{provider}", w.take)
	return w
}

// ServeHTTP handles a request. One that a defect ends is answered with 500, so
// that it is sent again.
func (w *webhooks) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			w.panics.Inc()
			w.log.Error("a webhook panicked", "panic", p, "stack", string(debug.Stack()))
			http.Error(rw, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		}
	}()
	w.mux.ServeHTTP(rw, r)
}

// Run serves until ctx is done, and then until what is under way has ended.
func (w *webhooks) Run(ctx context.Context) error {
	srv := &http.Server{Handler: w, ReadHeaderTimeout: reportTimeout, ReadTimeout: reportTimeout, WriteTimeout: 2 * reportTimeout,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(w.log.Handler(), slog.LevelDebug)}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), webhookClosing)
		defer cancel()
		closed <- srv.Shutdown(end)
	})
	err := srv.Serve(netutil.LimitListener(w.listen, maxReporters))
	if stop() { // ctx is not done: the listener broke
		return fmt.Errorf("serve: %w", err)
	}
	if err := <-closed; err != nil {
		return errors.Join(fmt.Errorf("stop: %w", err), srv.Close())
	}
	return nil
}

// take takes POST /PROVIDER. The answer is 200 once the deposit is booked, or
// never will be: other answers make the provider report again.
func (w *webhooks) take(rw http.ResponseWriter, r *http.Request) {
	name := r.PathValue("provider")
	p, ok := w.cfg.Providers()[name]
	if !ok {
		http.NotFound(rw, r)
		return
	}
	status, result := w.report(rw, r, name, p)
	w.reports.WithLabelValues(name, result).Inc()
	if status != http.StatusOK {
		http.Error(rw, http.StatusText(status), status)
	}
}

// report handles one report of a provider, and gives the answer's status and a
// word for what became of it.
func (w *webhooks) report(rw http.ResponseWriter, r *http.Request, name string, p provider) (status int, result string) {
	s := schemes[name]
	log := w.log.With("provider", name)
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, "refused"
	}
	if source := w.source(r); len(w.cfg.Sources[name]) > 0 && !w.cfg.Sources[name].contain(source) {
		w.strange.Do(func() { log.Warn("webhook from a foreign address", "source", source) })
		return http.StatusForbidden, "refused"
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxReport))
	if err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return http.StatusRequestEntityTooLarge, "refused"
		}
		return http.StatusBadRequest, "refused"
	}
	signature, known := r.Header.Get(s.header), false
	for _, secret := range p.secrets {
		// All are tried, so that the time does not tell which one fits.
		known = s.signed(secret, signature, body) || known
	}
	if signature == "" || !known {
		w.strange.Do(func() { log.Warn("webhook with a wrong signature", "source", w.source(r)) })
		return http.StatusUnauthorized, "forged"
	}

	d, what, err := s.read(body)
	switch {
	case err != nil:
		log.Error("webhook that cannot be read", "err", err)
		return http.StatusBadRequest, "unreadable"
	case what == undone:
		log.Error("deposit refunded or disputed at its provider: see there, and `ussdctl ledger reverse` what was taken back", "reference", d.Reference)
		return http.StatusOK, "undone"
	case what != paid:
		return http.StatusOK, "ignored"
	case d.Currency != "NGN":
		log.Error("deposit in a foreign currency: settle it by hand", "reference", d.Reference, "currency", d.Currency)
		return http.StatusOK, "foreign"
	}
	// Only who knows the secret takes a place.
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	default:
		return http.StatusServiceUnavailable, "busy"
	}
	ctx, cancel := context.WithTimeout(r.Context(), reportTimeout)
	defer cancel()
	if p.verify != nil {
		if err := p.verify(ctx, d); err != nil {
			log.Error("deposit not confirmed by its provider", "reference", d.Reference, "err", err)
			return http.StatusServiceUnavailable, "unverified"
		}
	}
	return w.book(ctx, log, name, d, body)
}

// book puts a deposit into the books.
func (w *webhooks) book(ctx context.Context, log *slog.Logger, provider string, d deposit, body []byte) (status int, result string) {
	// Whatever the account is called, the money has come in: at worst into
	// suspense.
	if d.Account == "" {
		d.Account = "none"
	}
	if r := []rune(d.Account); len(r) > maxAccount {
		d.Account = string(r[:maxAccount])
	}
	// Both versions' reports of a provider are of the same deposits.
	provider = strings.TrimSuffix(provider, "-v3")
	stored, booked, err := w.books.Deposit(ctx, store.Deposit{Provider: provider, Reference: d.Reference, Account: d.Account, Amount: d.Amount, Body: body})
	switch {
	case errors.Is(err, store.ErrMismatch):
		log.Error("deposit reported again with other content: settle it by hand", "reference", d.Reference, "amount_kobo", d.Amount)
		return http.StatusOK, "mismatch"
	case errors.Is(err, store.ErrInvalid):
		log.Error("deposit that cannot be booked: settle it by hand", "reference", d.Reference, "err", err)
		return http.StatusOK, "invalid"
	case err != nil:
		log.Error("deposit not booked, to be reported again", "reference", d.Reference, "err", err)
		return http.StatusInternalServerError, "failed"
	case !booked:
		return http.StatusOK, "repeated"
	case stored.MSISDN == "":
		// The account is not named here: it may be a subscriber's whole number.
		log.Error("deposit for an unknown account is in suspense: see `ussdctl deposit list -suspense`", "reference", d.Reference, "amount_kobo", d.Amount)
		return http.StatusOK, "suspense"
	}
	log.Info("deposit credited", "reference", d.Reference, "amount_kobo", d.Amount)
	return http.StatusOK, "credited"
}

// source is where a request comes from.
func (w *webhooks) source(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	source := peer.Addr().Unmap()
	if !w.cfg.Proxies.contain(source) {
		return source
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if told, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1])); err == nil {
		return told.Unmap()
	}
	return source
}
