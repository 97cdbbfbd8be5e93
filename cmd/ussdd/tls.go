package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// expirySoon is how long before its end `ussdd check` speaks of a certificate.
const expirySoon = 30 * 24 * time.Hour

// loadTLS makes what the SMSC's connections are secured with, and checks the
// certificates against the clock.
func (s *smscConfig) loadTLS(p string, now time.Time, bad *problems) {
	if !s.TLS {
		for name, value := range map[string]string{"TLS_CA": s.TLSCA, "TLS_SERVER_NAME": s.TLSServerName, "TLS_CERT": s.TLSCert, "TLS_KEY": s.TLSKey} {
			if value != "" && !bad.about(p+"_TLS") {
				bad.add("%s_%s: %s_TLS is not true", p, name, p)
			}
		}
		return
	}
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.TLSServerName}
	if s.TLSCA != "" {
		pool, last, err := readAuthorities(s.TLSCA, now)
		bad.addErr(p+"_TLS_CA", err)
		s.tls.RootCAs = pool
		s.soon(s.TLSCA, last, now)
	}
	if s.TLSCert == "" {
		if s.TLSKey != "" {
			bad.add("%s_TLS_KEY: %s_TLS_CERT is not set", p, p)
		}
		return
	}
	chain, first, err := readChain(s.TLSCert, now)
	bad.addErr(p+"_TLS_CERT", err)
	s.soon(s.TLSCert, first, now)
	key, found, keyErr := s.secretFile(s.TLSKey, "tls-key")
	switch {
	case keyErr != nil:
		bad.add("%s_TLS_KEY: %v", p, keyErr)
	case !found:
		bad.add("%s_TLS_KEY: %s_TLS_CERT has no key: it is neither set nor among the credentials", p, p)
	case err == nil:
		pair, err := tls.X509KeyPair(chain, []byte(key))
		bad.addErr(p+"_TLS_KEY", err)
		s.tls.Certificates = []tls.Certificate{pair}
	}
}

// soon notes a certificate file that has to be renewed within expirySoon of now.
func (s *smscConfig) soon(file string, end, now time.Time) {
	if left := end.Sub(now); left > 0 && left <= expirySoon {
		s.expiring = append(s.expiring, fmt.Sprintf("%s expires in %s, on %s", file, plural(int(left.Hours()/24), "day"), end.UTC().Format(time.DateOnly)))
	}
}

// readAuthorities reads a bundle of authorities, and says when the last of them
// expires. It is an error if none is valid now: bundles keep old ones.
func readAuthorities(file string, now time.Time) (*x509.CertPool, time.Time, error) {
	certs, _, err := readCertificates(file)
	if err != nil {
		return nil, time.Time{}, err
	}
	pool := x509.NewCertPool()
	var end time.Time
	var invalid []error
	for _, cert := range certs {
		pool.AddCert(cert)
		if err := valid(cert, now); err != nil {
			invalid = append(invalid, fmt.Errorf("%s: %w", file, err))
		} else if cert.NotAfter.After(end) {
			end = cert.NotAfter
		}
	}
	if len(invalid) == len(certs) {
		return pool, time.Time{}, errors.Join(invalid...)
	}
	return pool, end, nil
}

// readChain reads our certificate with its chain, and says when the first of them
// expires.
func readChain(file string, now time.Time) ([]byte, time.Time, error) {
	certs, text, err := readCertificates(file)
	if err != nil {
		return nil, time.Time{}, err
	}
	end := certs[0].NotAfter
	var invalid []error
	for _, cert := range certs {
		if err := valid(cert, now); err != nil {
			invalid = append(invalid, fmt.Errorf("%s: %w", file, err))
		}
		if cert.NotAfter.Before(end) {
			end = cert.NotAfter
		}
	}
	return text, end, errors.Join(invalid...)
}

// valid says why a certificate is none at the given time.
func valid(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(cert.NotBefore):
		return fmt.Errorf("%s is not valid before %s", subject(cert), cert.NotBefore.UTC().Format(time.RFC3339))
	case now.After(cert.NotAfter):
		return fmt.Errorf("%s expired on %s", subject(cert), cert.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// subject names a certificate in one line.
func subject(cert *x509.Certificate) string {
	return fmt.Sprintf("certificate %q", cert.Subject)
}

// readCertificates reads every certificate of a PEM file.
func readCertificates(file string) ([]*x509.Certificate, []byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var certs []*x509.Certificate
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return certs, text, nil
}
