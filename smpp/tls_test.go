package smpp_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// authority signs the certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	cert := a.sign(t, template, template)
	a.cert, a.key = cert.Leaf, cert.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

// issue returns a certificate for a server of the given names, or a client.
func (a *authority) issue(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return a.sign(t, template, a.cert)
}

func (a *authority) sign(t *testing.T, template, parent *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key // the authority's own
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// secure makes the SMSC's side of a connection speak TLS.
func (s *smsc) secure(config *tls.Config) {
	s.conn = tls.Server(s.conn, config)
	s.frames = smpp.NewFrameReader(s.conn)
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1")}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert}
	client := &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue(t, "esme1")}}
	l := listen(t)
	events := make(chan *smpp.Event, 1)
	link := startTCP(t, l, smpp.HandlerFunc(func(e *smpp.Event) { events <- e }), func(c *smpp.Config) { c.TLS = client })
	accept := func() *smsc {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s := newSMSC(t, conn)
		s.secure(server)
		s.acceptBind()
		return s
	}
	s := accept()
	for i := range 50 {
		s.write(golden(t, "standard-begin"))
		s.expect(pdu.DeliverSMRespID)
		text := fmt.Sprintf("menu %d %s", i, strings.Repeat("x", i))
		if err := (<-events).Reply(text, false, time.Time{}); err != nil {
			t.Fatal(err)
		}
		s.answer(s.expectSubmit(text), 0)
	}
	// More than a TLS record, and more than one write.
	const many = 20_000
	go func() { _, _ = s.conn.Write(bytes.Repeat(frame(pdu.EnquireLinkID, 0, 9, ""), many)) }() // a failure ends the reads below
	for range many {
		s.expect(pdu.EnquireLinkRespID)
	}
	_ = s.conn.(*tls.Conn).NetConn().Close()
	s = accept()
	s.alive()
	if client.ServerName != "" {
		t.Error("the given configuration was changed")
	}
	if st := link.Status(); st.Counters.Reconnects != 1 {
		t.Errorf("status %+v", st)
	}
	unbindOnEnd(t, s)
}

func TestTLSFails(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	trusted := &tls.Config{RootCAs: ca.pool}
	for name, c := range map[string]struct {
		server *tls.Config // nil: speaks SMPP without TLS
		client *tls.Config
		cause  string
	}{
		"unknown authority": {&tls.Config{Certificates: []tls.Certificate{stranger.issue(t, "127.0.0.1")}}, trusted, "unknown authority"},
		"of another host":   {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "192.0.2.9")}}, trusted, "not 127.0.0.1"},
		"of another name": {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1")}},
			&tls.Config{RootCAs: ca.pool, ServerName: "smsc.example"}, "to match smsc.example"},
		"speaks SMPP": {nil, trusted, "does not look like a TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			link := startTCP(t, l, smpp.HandlerFunc(func(*smpp.Event) {}), func(cfg *smpp.Config) { cfg.TLS = c.client })
			for range 2 { // the second comes when the first has failed
				conn, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				if c.server != nil {
					_ = tls.Server(conn, c.server).Handshake()
				} else if _, err := conn.Write(golden(t, "bind-resp")); err != nil {
					t.Error(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
			}
			if got := link.Status().LastError; !strings.HasPrefix(got, "TLS: ") || !strings.Contains(got, c.cause) {
				t.Errorf("last error %q, want %q", got, c.cause)
			}
		})
	}
	t.Run("reset", func(t *testing.T) {
		l := listen(t)
		link := startTCP(t, l, smpp.HandlerFunc(func(*smpp.Event) {}), func(cfg *smpp.Config) { cfg.TLS = trusted })
		for range 2 { // the second comes when the first has failed
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
			_ = conn.Close() // with most of the greeting unread: a reset
		}
		if got := link.Status().LastError; got != "TLS: read: connection reset by peer" {
			t.Errorf("last error %q", got)
		}
	})
	inBubble(t, "handshake time-out", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.TLS, c.ConnectTimeout = trusted, 10*time.Second })
		s := r.accept()
		began := time.Now()
		if _, err := io.Copy(io.Discard, s.conn); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("given up after %s", d)
		}
		r.accept()
		if got := r.link.Status().LastError; got != "TLS: context deadline exceeded" {
			t.Errorf("last error %q", got)
		}
	})
}

// TestTLSOverPipe has deadlines and a stuck write below TLS, with a clock of its
// own.
func TestTLSOverPipe(t *testing.T) {
	ca := newAuthority(t)
	at := func() time.Time { return ca.cert.NotBefore.Add(time.Minute) }
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "192.0.2.1")}, Time: at}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) {
			c.TLS = &tls.Config{RootCAs: ca.pool, Time: at}
			c.EnquireLink, c.WriteTimeout, c.ReadTimeout = time.Minute, 7*time.Second, 25*time.Second
		})
		s := r.accept()
		s.secure(server)
		s.acceptBind()
		e := r.begin(s)
		began := time.Now()
		s.expect(pdu.EnquireLinkID)
		if d := time.Since(began); d != time.Minute {
			t.Errorf("enquire_link after %s", d)
		}
		s.alive()

		// Half a PDU.
		began = time.Now()
		s.write(golden(t, "standard-begin")[:20])
		s.expectEnd()
		if d := time.Since(began); d != 25*time.Second {
			t.Errorf("given up after %s", d)
		}
		s = r.accept()
		s.secure(server)
		s.acceptBind()

		// A write that is stuck, and what it did not write.
		began = time.Now()
		r.mustReply(e, "stuck", time.Minute)
		s = r.accept()
		if d := time.Since(began); d < 7*time.Second || d > 10*time.Second {
			t.Errorf("given up after %s", d)
		}
		s.secure(server)
		s.acceptBind()
		s.answer(s.expectSubmit("stuck"), 0)
		r.stop()
		h := s.expect(pdu.UnbindID)
		s.write(frame(pdu.UnbindRespID, 0, h.Sequence, ""))
		if _, err := s.frames.ReadFrame(); err == nil || err.Error() != "EOF" {
			t.Errorf("TLS ended with %v, want a close_notify", err)
		}
	})
}
