package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for a test.
type authority struct{ key *ecdsa.PrivateKey }

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return authority{key}
}

// certificate is a self-signed certificate of the authority's key, in PEM.
func (a authority) certificate(t *testing.T, name string, from, to time.Time) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// files writes ca.pem, cert.pem and key.pem.
func (a authority) files(t *testing.T, dir string, from, to time.Time) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ca.pem"), a.certificate(t, "authority", from, to))
	write(t, filepath.Join(dir, "cert.pem"), a.certificate(t, "us", from, to))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

func TestCertificates(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, test := range []struct {
		name string
		to   time.Duration             // how long the certificates are valid yet
		from time.Duration             // since when, or how long until then
		edit func(dir string) []string // further variables, as pairs
		want []string                  // problems, without "USSDD_SMSC_MTN_"
		soon []string                  // what is to be said of certificates that are valid
	}{
		{name: "valid", to: 31 * day},
		{name: "expires soon", to: 29*day + time.Hour,
			soon: []string{"ca.pem expires in 29 days, on 2026-12-19", "cert.pem expires in 29 days, on 2026-12-19"}},
		{name: "expires tomorrow", to: day,
			soon: []string{"ca.pem expires in 1 day, on 2026-11-21", "cert.pem expires in 1 day, on 2026-11-21"}},
		{name: "expired", to: -time.Second, want: []string{
			`TLS_CA: DIR/ca.pem: certificate "CN=authority" expired on 2026-11-20T11:59:59Z`,
			`TLS_CERT: DIR/cert.pem: certificate "CN=us" expired on 2026-11-20T11:59:59Z`}},
		{name: "not yet valid", to: 31 * day, from: time.Minute, want: []string{
			`TLS_CA: DIR/ca.pem: certificate "CN=authority" is not valid before 2026-11-20T12:01:00Z`,
			`TLS_CERT: DIR/cert.pem: certificate "CN=us" is not valid before 2026-11-20T12:01:00Z`}},
		{name: "an old authority beside a valid one", to: 31 * day, edit: func(dir string) []string {
			ca := filepath.Join(dir, "ca.pem")
			old := newAuthority(t).certificate(t, "old", now.Add(-2*day), now.Add(-day))
			write(t, ca, old+read(t, ca))
			return nil
		}},
		{name: "no files", to: 31 * day, edit: func(dir string) []string {
			return []string{"TLS_CA", dir + "/x", "TLS_CERT", dir + "/y", "TLS_KEY", dir + "/z"}
		}, want: []string{"TLS_CA: open DIR/x: no such file or directory", "TLS_CERT: open DIR/y: no such file or directory", "TLS_KEY: DIR/z is not there"}},
		{name: "no PEM", to: 31 * day, edit: func(dir string) []string { return []string{"TLS_CA", dir + "/key.pem"} },
			want: []string{"TLS_CA: DIR/key.pem holds no certificate in PEM"}},
		{name: "another's key", to: 31 * day, edit: func(dir string) []string {
			other := t.TempDir()
			newAuthority(t).files(t, other, now, now)
			return []string{"TLS_KEY", other + "/key.pem"}
		}, want: []string{"TLS_KEY: tls: private key does not match public key"}},
		{name: "no key", to: 31 * day, edit: func(string) []string { return []string{"TLS_KEY", ""} },
			want: []string{"TLS_KEY: USSDD_SMSC_MTN_TLS_CERT has no key: it is neither set nor among the credentials"}},
		{name: "no certificate", to: 31 * day, edit: func(string) []string { return []string{"TLS_CERT", ""} },
			want: []string{"TLS_KEY: USSDD_SMSC_MTN_TLS_CERT is not set"}},
		{name: "key among the credentials", to: 31 * day, edit: func(dir string) []string {
			if err := os.Rename(dir+"/key.pem", dir+"/ussdd_smsc-mtn-tls-key"); err != nil {
				t.Fatal(err)
			}
			t.Setenv("CREDENTIALS_DIRECTORY", dir)
			return []string{"TLS_KEY", ""}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			from := now.Add(-time.Hour)
			if test.from > 0 {
				from = now.Add(test.from)
			}
			newAuthority(t).files(t, dir, from, now.Add(test.to))
			set(t, oneSMSC(map[string]string{"USSDD_SMSC_MTN_TLS": "true", "USSDD_SMSC_MTN_TLS_CA": dir + "/ca.pem",
				"USSDD_SMSC_MTN_TLS_CERT": dir + "/cert.pem", "USSDD_SMSC_MTN_TLS_KEY": dir + "/key.pem"}))
			if test.edit != nil {
				for more := test.edit(dir); len(more) > 0; more = more[2:] {
					t.Setenv("USSDD_SMSC_MTN_"+more[0], more[1])
				}
			}
			var bad problems
			s := loadSMSC("mtn", now, &bad)
			got := strings.ReplaceAll(strings.ReplaceAll(strings.Join(bad, "\n"), dir, "DIR"), "\nUSSDD_SMSC_MTN_", "\n")
			if got = strings.TrimPrefix(got, "USSDD_SMSC_MTN_"); got != strings.Join(test.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(test.want, "\n"))
			}
			if got := strings.ReplaceAll(strings.Join(s.expiring, "\n"), dir+"/", ""); got != strings.Join(test.soon, "\n") {
				t.Errorf("expiring\n%s\nwant\n%s", got, strings.Join(test.soon, "\n"))
			}
		})
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
