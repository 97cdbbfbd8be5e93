package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ussdd/smpp"
	"ussdd/vendors"
)

// Link is what the socket looks after: what *smpp.Link has, and how the link's
// profile reads a PDU.
type Link interface {
	Status() smpp.Status
	SetAdmin(smpp.Admin)
	Trace(smpp.TraceOptions) (traced <-chan smpp.Traced, stop func())
	Brief(frame []byte) string // one line for a person
}

// Config is what a Server works on.
type Config struct {
	Links []Link
	// Push pushes; the error's *Problem, if it has one, is the answer. It must
	// end with its context.
	Push func(context.Context, PushRequest) (PushResult, error)
	// Vendors gives the vendors in force.
	Vendors func() *vendors.Set
	// Audit keeps what an operator did where others will look for it.
	Audit func(context.Context, Act) error
	Log   *slog.Logger
}

// The socket's limits.
const (
	maxConns    = 64       // further ones wait to be accepted
	maxRequests = 32       // further ones are refused with 503
	maxTraces   = 8        // likewise
	maxBody     = 16 << 10 // octets
	maxText     = 1000     // octets of a push; no handset's screen takes as many
)

// The socket's deadlines.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second // for the caller to take a line
	idleTimeout  = time.Minute
	// pushTimeout is how long an SMSC that answers after the subscriber did may
	// take.
	pushTimeout = 90 * time.Second
)

// Server serves the socket. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	http     *http.Server
	stop     context.CancelFunc
	requests chan struct{} // holds one for each that is served
	accepts  sync.WaitGroup
	traces   atomic.Int64
}

// Serve begins to serve ln, which the Server closes at the end.
func Serve(ln *net.UnixListener, cfg Config) *Server {
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, stop: stop, requests: make(chan struct{}, maxRequests)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /links", s.list)
	mux.HandleFunc("GET /links/{name}", s.show)
	for action, admin := range map[string]smpp.Admin{"up": smpp.Up, "down": smpp.Down, "drain": smpp.Draining} {
		mux.HandleFunc("POST /links/{name}/"+action, s.setAdmin(action, admin))
	}
	mux.HandleFunc("GET /links/{name}/trace", s.trace)
	mux.HandleFunc("POST /push", s.push)
	mux.HandleFunc("GET /breakers", s.breakers)
	mux.HandleFunc("POST /breakers", s.override)
	mux.HandleFunc("GET /route", s.route)
	mux.HandleFunc("GET /products", s.products)
	mux.HandleFunc("GET /floats", s.floats)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, Refuse(http.StatusNotFound, "nothing answers to %s %s", r.Method, r.URL.Path))
	})
	s.http = &http.Server{Handler: s.limited(mux), ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxBody, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, callerKey{}, callerOf(c))
		},
	}
	s.accepts.Go(func() {
		err := s.http.Serve(&limitedListener{UnixListener: ln, slots: make(chan struct{}, maxConns), done: ctx.Done()})
		if ctx.Err() == nil {
			cfg.Log.Error("control socket", "err", err)
		}
	})
	return s
}

// Close ends the server and everything that it serves, and waits for that. Call
// it once.
func (s *Server) Close() error {
	s.stop() // ends traces and pushes
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx) // so that they are told that it is the end
	if err != nil {
		err = s.http.Close()
	}
	s.accepts.Wait()
	for range maxRequests {
		s.requests <- struct{}{} // nobody is served now, or will be
	}
	return err
}

// Traces is how many traces are being watched.
func (s *Server) Traces() int { return int(s.traces.Load()) }

// limitedListener accepts no more than so many connections at a time.
type limitedListener struct {
	*net.UnixListener
	slots chan struct{}
	done  <-chan struct{} // closed when the server ends
}

// Accept is net.Listener's.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.AcceptUnix()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{UnixConn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

type limitedConn struct {
	*net.UnixConn
	free func()
}

// Close is net.Conn's.
func (c *limitedConn) Close() error {
	defer c.free()
	return c.UnixConn.Close()
}

type callerKey struct{}

// caller says who is on the other end of a connection, for a log.
type caller string

// callerOf asks the kernel (unix(7), SO_PEERCRED).
func callerOf(c net.Conn) caller {
	var cred *syscall.Ucred
	err := errors.ErrUnsupported
	if c, ok := c.(*limitedConn); ok {
		var raw syscall.RawConn
		if raw, err = c.SyscallConn(); err == nil {
			controlErr := raw.Control(func(fd uintptr) {
				cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
			})
			err = errors.Join(err, controlErr)
		}
	}
	if err != nil {
		return caller("unknown: " + err.Error())
	}
	return caller(fmt.Sprintf("uid %d, pid %d", cred.Uid, cred.Pid))
}

// audit logs what somebody did.
func (s *Server) audit(r *http.Request, what string, attrs ...any) {
	who, _ := r.Context().Value(callerKey{}).(caller)
	s.cfg.Log.Info("operator: "+what, append(attrs, "by", string(who))...)
}

// limited serves no more than maxRequests at a time.
func (s *Server) limited(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.requests <- struct{}{}:
		default:
			s.refuse(w, r, Refuse(http.StatusServiceUnavailable, "%d requests are being served, which is the limit", maxRequests))
			return
		}
		defer func() { <-s.requests }()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h.ServeHTTP(w, r)
	})
}

// link finds the link that a request names, or tells that there is none.
func (s *Server) link(w http.ResponseWriter, r *http.Request) Link {
	l, err := s.find(r.PathValue("name"))
	if err != nil {
		s.refuse(w, r, err)
	}
	return l
}

func (s *Server) find(name string) (Link, error) {
	names := make([]string, len(s.cfg.Links))
	for i, l := range s.cfg.Links {
		if names[i] = l.Status().Name; names[i] == name {
			return l, nil
		}
	}
	return nil, Refuse(http.StatusNotFound, "no link %q; there are: %s", name, strings.Join(names, ", "))
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	links := make([]LinkStatus, len(s.cfg.Links))
	for i, l := range s.cfg.Links {
		links[i] = statusOf(l.Status())
	}
	s.answer(w, r, links)
}

func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	if l := s.link(w, r); l != nil {
		s.answer(w, r, statusOf(l.Status()))
	}
}

func (s *Server) setAdmin(action string, admin smpp.Admin) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		l := s.link(w, r)
		if l == nil {
			return
		}
		before := l.Status().Admin
		l.SetAdmin(admin)
		s.audit(r, "link "+action, "smsc", r.PathValue("name"), "from", before.String())
		s.answer(w, r, statusOf(l.Status()))
	}
}

var (
	msisdnPattern  = regexp.MustCompile(`^[0-9]{5,15}$`)
	servicePattern = regexp.MustCompile(`^[*#][0-9*]{1,30}#$`)
)

// trace streams a link's PDUs until the caller has enough, the link ends, or the
// daemon stops.
func (s *Server) trace(w http.ResponseWriter, r *http.Request) {
	l := s.link(w, r)
	if l == nil {
		return
	}
	opt, err := traceOptions(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer s.traces.Add(-1)
	if s.traces.Add(1) > maxTraces {
		s.refuse(w, r, Refuse(http.StatusServiceUnavailable, "%d traces are being watched, which is the limit", maxTraces))
		return
	}
	traced, stop := l.Trace(opt)
	defer stop()
	whose := "all"
	if opt.MSISDN != "" {
		whose = smpp.Mask(opt.MSISDN)
	}
	s.audit(r, "trace begins", "smsc", r.PathValue("name"), "msisdn", whose, "inputs", opt.Inputs)
	defer s.audit(r, "trace ends", "smsc", r.PathValue("name"))

	w.Header().Set("Content-Type", "application/x-ndjson")
	out := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	err = errors.Join(out.SetWriteDeadline(time.Now().Add(writeTimeout)), out.Flush())
	for err == nil {
		select {
		case <-r.Context().Done():
			return
		case t, ok := <-traced:
			if !ok {
				return
			}
			err = errors.Join(out.SetWriteDeadline(time.Now().Add(writeTimeout)), lines.Encode(Traced{Time: t.Time.UTC(), Bind: t.Bind,
				Local: t.Local, Remote: t.Remote, Out: t.Out, MSISDN: t.MSISDN, Lost: t.Lost, Brief: l.Brief(t.Frame), Frame: t.Frame}))
			if err == nil && len(traced) == 0 { // else the next one follows at once
				err = out.Flush()
			}
		}
	}
}

// traceOptions reads the query of a trace.
func traceOptions(r *http.Request) (smpp.TraceOptions, error) {
	var opt smpp.TraceOptions
	for name, values := range r.URL.Query() {
		value := values[len(values)-1]
		switch name {
		case "msisdn":
			if !msisdnPattern.MatchString(value) {
				return opt, Refuse(http.StatusBadRequest, "msisdn %q is not E.164 digits without a plus", value)
			}
			opt.MSISDN = value
		case "inputs":
			inputs, err := strconv.ParseBool(value)
			if err != nil {
				return opt, Refuse(http.StatusBadRequest, "inputs %q is neither true nor false", value)
			}
			opt.Inputs = inputs
		default:
			return opt, Refuse(http.StatusBadRequest, "a trace has msisdn and inputs, and no %q", name)
		}
	}
	return opt, nil
}

func (s *Server) push(w http.ResponseWriter, r *http.Request) {
	p, err := s.pushRequest(r)
	if err == nil {
		err = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pushTimeout + writeTimeout))
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pushTimeout)
	defer cancel()
	result, err := s.cfg.Push(ctx, p)
	attrs := []any{"smsc", p.SMSC, "msisdn", smpp.Mask(p.MSISDN), "service", p.Service, "tells", p.Text != ""}
	if err != nil {
		s.audit(r, "push failed", append(attrs, "err", err)...)
		s.refuse(w, r, err)
		return
	}
	s.audit(r, "push", append(attrs, "session", result.Session)...)
	s.answer(w, r, result)
}

func (s *Server) pushRequest(r *http.Request) (PushRequest, error) {
	var p PushRequest
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	if err := body.Decode(&p); err != nil {
		return p, Refuse(http.StatusBadRequest, "the request is not JSON of a push: %v", err)
	}
	if _, err := s.find(p.SMSC); err != nil {
		return p, err
	}
	switch {
	case !msisdnPattern.MatchString(p.MSISDN):
		return p, Refuse(http.StatusUnprocessableEntity, "msisdn %q is not E.164 digits without a plus", p.MSISDN)
	case !servicePattern.MatchString(p.Service):
		return p, Refuse(http.StatusUnprocessableEntity, "service %q is not a code like *999#", p.Service)
	case len(p.Text) > maxText:
		return p, Refuse(http.StatusUnprocessableEntity, "a text of %d octets is over the limit, %d", len(p.Text), maxText)
	}
	return p, nil
}

// refuse answers with a problem.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *Problem
	if !errors.As(err, &p) {
		p = Refuse(http.StatusInternalServerError, "%v", err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	s.write(w, r, p)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, v any) {
	w.Header().Set("Content-Type", "application/json")
	s.write(w, r, v)
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.cfg.Log.Debug("control socket: answer not taken", "path", r.URL.Path, "err", err)
	}
}
