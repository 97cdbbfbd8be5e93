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

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"

	"ussdd/store"
	"ussdd/vendors"
)

// asked notes which sales a vendor is to be asked about.
type asked struct {
	refs []string
	soon bool
	err  error
}

func (a *asked) AskSoon(_ context.Context, vendor, reference string) (bool, error) {
	a.refs = append(a.refs, vendor+" "+reference)
	return a.soon, a.err
}

func TestCallbacks(t *testing.T) {
	set, err := vendors.Load(vendors.Presets(), vendors.Options{Secrets: func(name string) (string, bool) {
		return "the-secret-of-" + name, !strings.HasSuffix(name, "-next")
	}})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	to := &asked{soon: true}
	c := newCallbacks(func() *vendors.Set { return set }, to, slog.New(slog.NewTextHandler(&log, nil)))
	const address = "/vendor/vtpass/the-secret-of-vtpass-callback"
	report := func(method, path, body string, status int, result string) *httptest.ResponseRecorder {
		t.Helper()
		before := testutil.ToFloat64(c.reports.WithLabelValues(result))
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		if w.Code != status || testutil.ToFloat64(c.reports.WithLabelValues(result)) != before+1 {
			t.Errorf("%s %s: %d, want %d %s", method, path, w.Code, status, result)
		}
		return w
	}
	const body = `{"type":"transaction-update","data":{"requestId":"202611231505TXNz2d1","content":{"transactions":{"status":"delivered"}}}}`
	w := report("POST", address, body, http.StatusOK, "asked")
	if got := w.Body.String(); got != `{"response":"success"}` || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("answered %s", got)
	}
	to.soon = false
	report("POST", address, body, http.StatusOK, "quiet")
	to.err = store.ErrNotFound
	report("POST", address, body, http.StatusOK, "unknown")
	to.err = errors.New("the database is down")
	report("POST", address, body, http.StatusServiceUnavailable, "failed")
	if want := slices.Repeat([]string{"vtpass 202611231505TXNz2d1"}, 4); !slices.Equal(to.refs, want) {
		t.Errorf("asked about %q", to.refs)
	}

	to.refs, to.err = nil, nil
	report("POST", address, `{"data":{}}`, http.StatusBadRequest, "unreadable")
	report("POST", address, strings.Repeat(" ", maxCallback+1), http.StatusRequestEntityTooLarge, "refused")
	report("PUT", address, body, http.StatusMethodNotAllowed, "refused")
	for _, path := range []string{"/vendor/vtpass/wrong", "/vendor/vtpass/", "/vendor/vtpass", "/vendor/", "/vendor/dtone/the-secret-of-dtone-callback", address + "/x"} {
		report("POST", path, body, http.StatusNotFound, "refused")
	}
	c.limit = rate.NewLimiter(0, 0) // somebody who knows the address has used it up
	report("POST", address, body, http.StatusTooManyRequests, "busy")
	if len(to.refs) != 0 {
		t.Errorf("asked about %q", to.refs)
	}
	if strings.Contains(log.String(), "the-secret-of") {
		t.Errorf("the log has the secret:\n%s", log.String())
	}
}
