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
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ussdd/store"
)

// webhookConfig says where payment providers report deposits, and how they
// prove that it is them. A provider without secrets is not listened to.
type webhookConfig struct {
	Addr string // "" = no listener
	// Secrets of each provider: one, or two while one is being replaced.
	Secrets map[string][]string
	// Sources are the networks that a provider reports from. None = any.
	Sources map[string][]netip.Prefix
	// Proxies are the networks of our own proxies: what they say last in
	// X-Forwarded-For is the source. None = the peer is the source.
	Proxies []netip.Prefix
	// Verifiers ask a provider whether a report is true. flutterwave-v3 needs
	// one, because its signature does not cover the report.
	Verifiers map[string]verifier
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
	// read gives the deposit that a report tells of; paid is false for a report
	// of anything else.
	read     func(body []byte) (d deposit, paid bool, err error)
	verified bool // nothing is booked that a verifier has not confirmed
}

var schemes = map[string]scheme{
	"paystack":       {header: "X-Paystack-Signature", signed: hmacHex, read: readPaystack},
	"monnify":        {header: "Monnify-Signature", signed: hmacHex, read: readMonnify},
	"flutterwave":    {header: "Flutterwave-Signature", signed: hmacBase64, read: readFlutterwave},
	"flutterwave-v3": {header: "Verif-Hash", signed: sameSecret, read: readFlutterwave, verified: true},
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
	reportTimeout  = 10 * time.Second
	webhookClosing = 5 * time.Second
)

// webhooks is the listener. Make it with newWebhooks and give it one Run.
type webhooks struct {
	cfg     webhookConfig
	books   depositor
	log     *slog.Logger
	listen  net.Listener
	reports *prometheus.CounterVec // by provider and result; the caller registers it
}

// newWebhooks listens; nil without an address. It is an error to configure a
// provider that there is not, or that could be forged.
func newWebhooks(cfg webhookConfig, books depositor, log *slog.Logger) (*webhooks, error) {
	if cfg.Addr == "" {
		return nil, nil
	}
	for name, secrets := range cfg.Secrets {
		s, ok := schemes[name]
		switch {
		case !ok:
			return nil, fmt.Errorf("webhook: no provider %q", name)
		case len(secrets) < 1 || len(secrets) > 2 || slices.Contains(secrets, ""):
			return nil, fmt.Errorf("webhook %s: one secret is needed, or two while one is being replaced", name)
		case s.verified && cfg.Verifiers[name] == nil:
			return nil, fmt.Errorf("webhook %s: its signature does not cover the report, and nothing verifies it", name)
		}
	}
	ln, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	return &webhooks{cfg: cfg, books: books, log: log, listen: ln, reports: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ussdd_webhook_reports_total", Help: "Reports of payment providers by provider and what became of them.",
	}, []string{"provider", "result"})}, nil
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
	err := srv.Serve(w.listen)
	if stop() { // ctx is not done: the listener broke
		return fmt.Errorf("webhook: %w", err)
	}
	if err := <-closed; err != nil {
		return errors.Join(fmt.Errorf("webhook: %w", err), srv.Close())
	}
	return nil
}

// ServeHTTP takes POST /PROVIDER. The answer is 200 once the deposit is booked,
// or never will be: other answers make the provider report again.
func (w *webhooks) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	provider := strings.TrimPrefix(r.URL.Path, "/")
	secrets := w.cfg.Secrets[provider]
	if len(secrets) == 0 {
		http.NotFound(rw, r)
		return
	}
	status, result := w.report(rw, r, provider, secrets)
	w.reports.WithLabelValues(provider, result).Inc()
	if status != http.StatusOK {
		http.Error(rw, http.StatusText(status), status)
	}
}

// report handles one report of a provider, and gives the answer's status and a
// word for what became of it.
func (w *webhooks) report(rw http.ResponseWriter, r *http.Request, provider string, secrets []string) (status int, result string) {
	s := schemes[provider]
	log := w.log.With("provider", provider)
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, "refused"
	}
	if source := w.source(r); len(w.cfg.Sources[provider]) > 0 && !within(w.cfg.Sources[provider], source) {
		log.Warn("webhook from a foreign address", "source", source)
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
	for _, secret := range secrets {
		// All are tried, so that the time does not tell which one fits.
		known = s.signed(secret, signature, body) || known
	}
	if signature == "" || !known {
		log.Warn("webhook with a wrong signature", "source", w.source(r))
		return http.StatusUnauthorized, "forged"
	}

	d, paid, err := s.read(body)
	switch {
	case err != nil:
		log.Error("webhook that cannot be read", "err", err)
		return http.StatusBadRequest, "unreadable"
	case !paid:
		return http.StatusOK, "ignored"
	case d.Currency != "NGN":
		log.Error("deposit in a foreign currency: settle it by hand", "reference", d.Reference, "currency", d.Currency)
		return http.StatusOK, "foreign"
	}
	ctx, cancel := context.WithTimeout(r.Context(), reportTimeout)
	defer cancel()
	if verify := w.cfg.Verifiers[provider]; verify != nil {
		if err := verify(ctx, d); err != nil {
			log.Error("deposit not confirmed by its provider", "reference", d.Reference, "err", err)
			return http.StatusServiceUnavailable, "unverified"
		}
	}
	return w.book(ctx, log, provider, d, body)
}

// book puts a deposit into the books.
func (w *webhooks) book(ctx context.Context, log *slog.Logger, provider string, d deposit, body []byte) (status int, result string) {
	if d.Account == "" {
		d.Account = "none" // suspense: the money has come in all the same
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
		log.Error("deposit for an unknown account is in suspense", "reference", d.Reference, "account", d.Account, "amount_kobo", d.Amount)
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
	if !within(w.cfg.Proxies, source) {
		return source
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if told, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1])); err == nil {
		return told.Unmap()
	}
	return source
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}
