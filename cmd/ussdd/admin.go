package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ussdd/smpp"
)

// checkTimeout bounds what a health check may ask of the database.
const checkTimeout = 2 * time.Second

// adminServer serves /livez, /readyz and /metrics.
type adminServer struct {
	http *http.Server
	done chan struct{}
}

func newAdminServer(ln net.Listener, d *daemon) *adminServer {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", d.livez)
	mux.HandleFunc("GET /readyz", d.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{Registry: d.metrics.registry}))
	a := &adminServer{
		http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
			WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10},
		done: make(chan struct{}),
	}
	go func() {
		defer close(a.done)
		if err := a.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("admin", "err", err)
		}
	}()
	return a
}

// Close stops the server at once and waits for its goroutine.
func (a *adminServer) Close() error {
	err := a.http.Close()
	<-a.done
	return err
}

// livez: the process does its work; restart it if not.
func (d *daemon) livez(w http.ResponseWriter, _ *http.Request) {
	if age := time.Since(d.engine.Swept()); age > 30*time.Second {
		http.Error(w, fmt.Sprintf("sessions: not swept for %v", age.Round(time.Second)), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// readyz: subscribers can be served; says of each part whether it is ready.
func (d *daemon) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	var b strings.Builder
	ready := true
	if err := d.db.CheckSchema(ctx); err != nil {
		ready = false
		fmt.Fprintf(&b, "schema: %v\n", err)
	} else {
		fmt.Fprintln(&b, "schema: current")
	}
	bound := 0
	for _, l := range d.links {
		st := l.Status()
		if st.State == smpp.Bound {
			bound++
		}
		fmt.Fprintf(&b, "smsc %s: %s since %s", st.Name, st.State, st.Since.UTC().Format(time.RFC3339))
		if st.State != smpp.Bound && st.LastError != "" {
			fmt.Fprintf(&b, ", %s", st.LastError)
		}
		fmt.Fprintln(&b)
	}
	if bound == 0 {
		ready = false
	}
	if d.draining.Load() {
		ready = false
		fmt.Fprintln(&b, "draining")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "not ready\n", b.String())
		return
	}
	fmt.Fprint(w, "ready\n", b.String())
}
