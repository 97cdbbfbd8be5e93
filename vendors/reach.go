package vendors

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"time"
)

// Reached says how a vendor was reached.
type Reached struct {
	Addr string        // IP address and port; a proxy's, if there is one
	TLS  string        // "TLS 1.3", "" without
	Took time.Duration // name lookup, connection and handshake together
}

// Reach connects to a vendor as its calls do, and hangs up without having asked for anything.
func (s *Set) Reach(ctx context.Context, vendor string) (Reached, error) {
	v := s.vendors[vendor]
	if v == nil {
		return Reached{}, fmt.Errorf("no vendor %q", vendor)
	}
	target := v.plan.base
	if v.plan.proxy != "" {
		target = v.plan.proxy
	}
	u, err := url.Parse(target)
	if err != nil {
		return Reached{}, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ctx, cancel := context.WithTimeoutCause(ctx, v.plan.connect, errConnect)
	defer cancel()
	start := time.Now()
	c, err := v.transport.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return Reached{}, cause(ctx, err)
	}
	defer c.Close()
	r := Reached{Addr: c.RemoteAddr().String()}
	if u.Scheme == "https" {
		config := &tls.Config{}
		if v.transport.TLSClientConfig != nil {
			config = v.transport.TLSClientConfig.Clone()
		}
		if config.ServerName == "" {
			config.ServerName = u.Hostname()
		}
		t := tls.Client(c, config)
		if err := t.HandshakeContext(ctx); err != nil {
			return r, cause(ctx, err)
		}
		r.TLS = tls.VersionName(t.ConnectionState().Version)
	}
	r.Took = time.Since(start)
	return r, nil
}
