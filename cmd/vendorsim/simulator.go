package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// named is an api under a provider's name.
type named struct {
	name string
	api  api
}

// providerAPIs are the providers, in the order of their ports after control's.
var providerAPIs = []named{
	{"mtn", recharge{network: "mtn", prefix: "MTN-"}},
	{"airtel", code{network: "airtel", prefix: "AT-"}},
	{"glo", code{network: "glo", prefix: "GLO-"}},
	{"9mobile", recharge{network: "9mobile", prefix: "9M-"}},
	{"quickvend", quickvend{}},
	{"topline", topline{}},
}

// presetAPIs are the real ones for which files ship to copy from. Their ports come
// after the others, and only if they are asked for.
var presetAPIs = []named{
	{"vtpass", vtpass{time.Now()}},
	{"reloadly", reloadly{}},
	{"africastalking", africastalking{}},
	{"dtone", dtone{}},
	{"ding", ding{}},
	{"flutterwave", flutterwave{}},
	{"baxi", baxi{}},
	{"generic", recharge{prefix: "G-"}},
}

// settings are what the flags say.
type settings struct {
	presets bool              // serve presetAPIs, too
	listen  string            // of control; the providers follow on the next ports, or all choose theirs if it is 0
	keys    map[string]string // API key of each provider that wants one
	slow    time.Duration     // before a slow answer
	float   int64             // kobo that each provider starts with

	log   *slog.Logger
	now   func() time.Time
	after func(time.Duration) <-chan time.Time
}

// apis are those that are served.
func (set settings) apis() []named {
	if set.presets {
		return slices.Concat(providerAPIs, presetAPIs)
	}
	return providerAPIs
}

// simulator is control and the providers around one book.
type simulator struct {
	book      *book
	control   *door
	providers []*provider // never changed

	mu sync.Mutex // a fault is set as a whole: in the book and at the door
}

// newSimulator takes all addresses and opens none. The caller must stop it.
func newSimulator(set settings) (*simulator, error) {
	base, err := net.ResolveTCPAddr("tcp", set.listen)
	if err != nil {
		return nil, fmt.Errorf("listen address: %w", err)
	}
	if base.IP == nil {
		base.IP = net.IPv4zero
	}
	apis := set.apis()
	if base.Port+len(apis) > 65535 {
		return nil, fmt.Errorf("listen address: no %d ports after %d", len(apis), base.Port)
	}
	s := &simulator{book: newBook(set.float, set.now)}
	if s.control, err = newDoor(base, s.controlHandler(), set.log); err != nil {
		return nil, err
	}
	for i, of := range apis {
		p := &provider{name: of.name, api: of.api, book: s.book, slow: set.slow, after: set.after, log: set.log}
		if key, ok := set.keys[of.name]; ok {
			hash := sha256.Sum256([]byte(key))
			p.key = &hash
		}
		addr := *base
		if addr.Port != 0 {
			addr.Port += 1 + i
		}
		if p.door, err = newDoor(&addr, p.handler(), set.log); err != nil {
			s.stop(context.Background())
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		s.providers = append(s.providers, p)
	}
	return s, nil
}

// open starts to serve, control last.
func (s *simulator) open() error {
	if err := s.openProviders(); err != nil {
		return err
	}
	if err := s.control.open(); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return nil
}

func (s *simulator) openProviders() error {
	for _, p := range s.providers {
		if err := p.door.open(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// stop shuts all doors and gives up their addresses. It returns when every
// request has ended, at the latest soon after grace is done. Control goes first,
// so that nobody opens a door again.
func (s *simulator) stop(grace context.Context) {
	s.control.close(grace)
	var closing sync.WaitGroup
	for _, p := range s.providers {
		closing.Go(func() { p.door.close(grace) })
	}
	closing.Wait()
}

func (s *simulator) provider(name string) (*provider, bool) {
	for _, p := range s.providers {
		if p.name == name {
			return p, true
		}
	}
	return nil, false
}

// setFault gives a provider the fault in place of any that it has.
func (s *simulator) setFault(p *provider, f fault, count int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book.setFault(p.name, f, count)
	if f == faultDown {
		cut, cancel := context.WithCancel(context.Background())
		cancel()
		p.door.shut(cut)
		return nil
	}
	return p.door.open()
}

// reset brings everything back to how it was at the start.
func (s *simulator) reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book.reset()
	return s.openProviders()
}

// readKeys reads a file of API keys: a JSON object from provider to key.
func readKeys(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBody))
	if err != nil {
		return nil, err
	}
	var keys map[string]string
	if json.Unmarshal(text, &keys) != nil { // its error might quote a key
		return nil, fmt.Errorf("%s: not a JSON object of strings", file)
	}
	known := make(map[string]bool)
	for _, p := range slices.Concat(providerAPIs, presetAPIs) {
		known[p.name] = true
	}
	for name, key := range keys {
		if !known[name] {
			return nil, fmt.Errorf("%s: no provider %q", file, name)
		}
		if key == "" {
			return nil, fmt.Errorf("%s: the key of %s is empty", file, name)
		}
	}
	return keys, nil
}

// writeAddresses writes where each door is, all at once: a reader sees the whole
// file or none.
func (s *simulator) writeAddresses(file string) (err error) {
	at := map[string]string{"control": s.control.addr}
	for _, p := range s.providers {
		at[p.name] = p.door.addr
	}
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(append(text, '\n')); err != nil {
		f.Close()
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
