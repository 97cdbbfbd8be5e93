package smpptest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// Config says how an SMSC behaves. The zero value listens on a free port of
// 127.0.0.1 and lets everyone bind.
type Config struct {
	Listen      string        // TCP address; empty: 127.0.0.1:0
	SystemID    string        // ours, in bind responses; empty: "smscsim"
	Accounts    []Account     // who may bind; empty: everyone
	BindTimeout time.Duration // a connection that has not bound by then is closed; 0: 10 s
	EnquireLink time.Duration // how often bound ESMEs are asked whether they live, and have to have answered; 0: never
	Dialect     string        // one of Dialects; empty: "standard"
	Faults      []Fault       // as if armed by Arm at once
	Chaos       *Chaos        // if set, lets further faults strike at random
	TLS         *tls.Config   // if set, connections are TLS; it must hold a certificate
	Capture     *Capture      // if set, gets every connection, in clear
	Log         *slog.Logger  // PDUs at debug level, with masked numbers; nil: discard
}

// Check says what Start would refuse of the Config: an unknown dialect, or a
// fault that the dialect has no room for.
func (c Config) Check() error { return (&Sim{cfg: c}).prepare() }

// Account is what an ESME binds with.
type Account struct {
	SystemID string
	Password string
	MaxBinds int        // further binds are refused with 0x05; 0: any number
	Refuse   pdu.Status // if not zero, every bind is refused with it
}

// Named limits of the SMSC.
const (
	defaultBindTimeout = 10 * time.Second
	writeTimeout       = 10 * time.Second // an ESME that takes nothing for so long is disconnected
	lingerTimeout      = 2 * time.Second  // how long the SMSC waits for the other side's FIN after its own
	maxBacklog         = 4 << 20          // octets that may wait for an ESME
	maxMismatches      = 100              // kept; more are only logged
)

// ErrClosed is returned by what needs a running Sim after Close or Shutdown.
var ErrClosed = errors.New("smpptest: the SMSC is closed")

// Sim is an SMSC with subscribers. Safe for concurrent use.
type Sim struct {
	cfg      Config
	dialect  *dialect
	log      *slog.Logger
	now      func() time.Time
	listener net.Listener
	done     chan struct{} // closed by Close
	wg       sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	changed    chan struct{} // closed and replaced whenever a bind comes or goes
	peers      []*peer       // connections in the order of their arrival
	turn       int           // counts begins, to spread them over the binds
	handsets   map[string]*Handset
	dialogues  map[dialogueKey]*dialogue
	lastID     uint32
	messages   uint64               // submit_sm accepted, for message ids
	texts      map[string][]*texted // short messages, by the subscriber's number
	unreported map[string][]*texted // receipts that wait, by the ESME's system_id
	mismatches []Mismatch
	complaints []Complaint

	unbound map[string]time.Time // when an ESME's bind last ended, by system_id
	waiting map[string]*peer     // binds held back until their other half comes, by system_id

	ended      map[dialogueKey]ending // dialogues that are over
	endings    []dialogueKey          // the same as a ring, oldest at nextEnding
	nextEnding int

	armed  []armed        // faults that wait for anybody
	random []Fault        // what Chaos may pick
	dice   *rand.Rand     // Chaos's for what concerns no handset; nil: none
	struck map[string]int // by the fault's name
}

// Start listens and serves until Close or Shutdown.
func Start(cfg Config) (*Sim, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.SystemID == "" {
		cfg.SystemID = "smscsim"
	}
	if cfg.BindTimeout == 0 {
		cfg.BindTimeout = defaultBindTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sim{
		cfg:        cfg,
		log:        cfg.Log,
		now:        time.Now,
		done:       make(chan struct{}),
		changed:    make(chan struct{}),
		handsets:   map[string]*Handset{},
		dialogues:  map[dialogueKey]*dialogue{},
		unbound:    map[string]time.Time{},
		waiting:    map[string]*peer{},
		ended:      map[dialogueKey]ending{},
		struck:     map[string]int{},
		texts:      map[string][]*texted{},
		unreported: map[string][]*texted{},
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("start the SMSC: %w", err)
	}
	var err error
	if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("start the SMSC: %w", err)
	}
	s.wg.Go(s.accept)
	if cfg.EnquireLink > 0 {
		s.wg.Go(s.enquire)
	}
	return s, nil
}

// prepare sets up what can be wrong in a Config.
func (s *Sim) prepare() error {
	var err error
	if s.dialect, err = dialectByName(s.cfg.Dialect); err != nil {
		return err
	}
	if c := s.cfg.Chaos; c != nil {
		s.dice = c.dice("")
		if s.random, err = randomFaults(s.dialect); err != nil {
			return err
		}
	}
	return s.arm(&s.armed, always, s.cfg.Faults...)
}

// Addr is the address that ESMEs connect to, "host:port".
func (s *Sim) Addr() string { return s.listener.Addr().String() }

// Close disconnects every ESME at once, stops listening, and waits until
// nothing of the Sim runs any more. It can be called again.
func (s *Sim) Close() {
	s.stopListening()
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	for _, p := range s.peers {
		p.nc.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Shutdown stops listening, unbinds every ESME, and closes. The error is ctx's
// if an ESME had not left by the time ctx was done.
func (s *Sim) Shutdown(ctx context.Context) error {
	s.stopListening()
	err := s.Unbind(ctx)
	s.Close()
	return err
}

func (s *Sim) stopListening() {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Warn("close the listener", "error", err)
	}
}

// Unbind sends unbind on every bind there is and returns when those connections
// have ended, or with ctx's error. The SMSC goes on listening, so an ESME may
// have bound again by then.
func (s *Sim) Unbind(ctx context.Context) error {
	s.mu.Lock()
	peers := slices.Clone(s.peers)
	for _, p := range peers {
		p.unbind()
	}
	s.mu.Unlock()
	for _, p := range peers {
		select {
		case <-p.gone:
		case <-ctx.Done():
			return fmt.Errorf("unbind: %w", ctx.Err())
		}
	}
	return nil
}

// Drop closes every connection without a word, as a network failure does. The
// SMSC goes on listening and the dialogues live on.
func (s *Sim) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		p.nc.Close()
	}
}

// WaitBound returns when an ESME is bound that can take a subscriber's input,
// or with ctx's error. systemID says which; empty: any.
func (s *Sim) WaitBound(ctx context.Context, systemID string) error {
	return s.wait(ctx, "a bind", func() bool { return s.receiver(systemID) != nil })
}

// WaitUnbound returns when no ESME is bound any more, or with ctx's error.
// systemID says which; empty: any.
func (s *Sim) WaitUnbound(ctx context.Context, systemID string) error {
	return s.wait(ctx, "the end of all binds", func() bool {
		return !slices.ContainsFunc(s.peers, func(p *peer) bool {
			return p.bound() && (systemID == "" || p.systemID == systemID)
		})
	})
}

// wait returns when ready, which is asked with s.mu held, says so.
func (s *Sim) wait(ctx context.Context, what string, ready func() bool) error {
	for {
		s.mu.Lock()
		is, changed := ready(), s.changed
		s.mu.Unlock()
		if is {
			return nil
		}
		select {
		case <-changed:
		case <-s.done:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		}
	}
}

// Bind describes one connection on which an ESME is bound.
type Bind struct {
	SystemID string
	Command  pdu.ID // the bind's: pdu.BindTransceiverID, …
	Addr     string // the ESME's
}

// Binds lists the binds there are, oldest first.
func (s *Sim) Binds() []Bind {
	s.mu.Lock()
	defer s.mu.Unlock()
	var binds []Bind
	for _, p := range s.peers {
		if p.bound() {
			binds = append(binds, Bind{SystemID: p.systemID, Command: p.command, Addr: p.nc.RemoteAddr().String()})
		}
	}
	return binds
}

// Mismatches returns what smpp's codec and go-smpp have read differently so
// far, at most the first hundred fields. Every message PDU is compared, in both
// directions.
func (s *Sim) Mismatches() []Mismatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mismatches)
}

// Complaints returns what ESMEs have done wrong so far, at most the first
// hundred: replies that the dialect does not allow, replies on a wrong bind or
// to somebody else's dialogue, answers to nothing. What an ESME could not know
// (the subscriber has just left) is none, and neither is what a fault refused.
func (s *Sim) Complaints() []Complaint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.complaints)
}

// mismatched keeps and logs found. The caller holds s.mu.
func (s *Sim) mismatched(found []Mismatch) {
	for _, m := range found {
		if len(s.mismatches) < maxMismatches {
			s.mismatches = append(s.mismatches, m)
		}
		h := smpp.ParseHeader(m.PDU)
		s.log.Error("the codecs disagree", "command", smpp.CommandName(h.ID), "sequence", h.Sequence, "field", m.Field)
	}
}

func (s *Sim) accept() {
	for {
		nc, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("accept", "error", err)
			timer := time.NewTimer(time.Second)
			select {
			case <-timer.C:
			case <-s.done:
			}
			timer.Stop()
			continue
		}
		s.mu.Lock()
		if s.closed {
			nc.Close()
		} else {
			p := newPeer(s, nc)
			s.peers = append(s.peers, p)
			s.wg.Go(p.read)
			s.wg.Go(p.write)
		}
		s.mu.Unlock()
	}
}

// enquire asks all bound ESMEs in turn whether they live.
func (s *Sim) enquire() {
	ticker := time.NewTicker(s.cfg.EnquireLink)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.enquireOnce()
		case <-s.done:
			return
		}
	}
}

func (s *Sim) enquireOnce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		p.enquire()
	}
}

// bindStatus decides on a bind. The caller holds s.mu.
func (s *Sim) bindStatus(systemID, password string) pdu.Status {
	if len(s.cfg.Accounts) == 0 {
		return statusOK
	}
	i := slices.IndexFunc(s.cfg.Accounts, func(a Account) bool { return a.SystemID == systemID })
	if i < 0 {
		return statusInvalidSystemID
	}
	account := s.cfg.Accounts[i]
	if account.Refuse != statusOK {
		return account.Refuse
	}
	if account.Password != password {
		return statusInvalidPassword
	}
	binds := 0
	for _, p := range s.peers {
		if p.bound() && p.systemID == systemID {
			binds++
		}
	}
	if account.MaxBinds > 0 && binds >= account.MaxBinds {
		return statusAlreadyBound
	}
	return statusOK
}

// receiver returns a bind that takes deliver_sm, by turns, or nil. The caller
// holds s.mu.
func (s *Sim) receiver(systemID string) *peer {
	var able []*peer
	for _, p := range s.peers {
		if p.receives() && (systemID == "" || p.systemID == systemID) {
			able = append(able, p)
		}
	}
	if len(able) == 0 {
		return nil
	}
	return able[s.turn%len(able)]
}

// bindsChanged wakes those who wait for a bind. The caller holds s.mu.
func (s *Sim) bindsChanged() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// mask hides the middle of a subscriber's number.
func mask(msisdn string) string {
	const head, tail = 6, 4
	if len(msisdn) <= head+tail {
		return "***"
	}
	return msisdn[:head] + "***" + msisdn[len(msisdn)-tail:]
}
