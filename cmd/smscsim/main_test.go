package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
	"github.com/gopacket/gopacket/pcapgo"
	"go.uber.org/goleak"

	"ussdd/smpp/smpptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must come.
const patience = time.Minute

// simulator is a smscsim that runs.
type simulator struct {
	t      *testing.T
	out    *bufio.Reader
	stdin  *io.PipeWriter
	stderr bytes.Buffer // not to be read before exit
	stop   context.CancelFunc
	code   chan int
}

// start runs smscsim on a free port.
func start(t *testing.T, args ...string) *simulator {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	s := &simulator{t: t, out: bufio.NewReader(out), stdin: in, stop: cancel, code: make(chan int, 1)}
	go func() {
		s.code <- run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), stdin, stdout, &s.stderr)
		stdout.Close()
	}()
	t.Cleanup(func() {
		cancel()
		in.Close()
		out.Close()
	})
	return s
}

// addr returns the address that the simulator says it listens on.
func (s *simulator) addr() string {
	s.t.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		s.t.Fatalf("%v; stderr: %s", err, s.stderr.String())
	}
	return strings.TrimSuffix(strings.TrimPrefix(line, "smscsim: listening on "), "\n")
}

// exit waits for the end and checks its status; it returns what was printed.
func (s *simulator) exit(want int) (stdout, stderr string) {
	s.t.Helper()
	rest, err := io.ReadAll(s.out)
	if err != nil {
		s.t.Fatal(err)
	}
	if code := <-s.code; code != want {
		s.t.Errorf("exit status %d, want %d\n%s%s", code, want, rest, s.stderr.String())
	}
	return string(rest), s.stderr.String()
}

// dialESME binds an ESME, made of go-smpp's PDUs alone, that shows every
// subscriber the same and ends the dialogue. The status is the bind's. left
// gets a value when the ESME was unbound.
func dialESME(t *testing.T, addr, systemID, password string) (status pdu.Status, left <-chan bool) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan bool, 1)
	done := make(chan struct{})
	t.Cleanup(func() {
		nc.Close()
		<-done
	})
	send := func(body pdu.Body) {
		if err := body.SerializeTo(nc); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	bind := pdu.NewBindTransceiver()
	set(bind, pdufield.SystemID, systemID)
	set(bind, pdufield.Password, password)
	set(bind, pdufield.InterfaceVersion, 0x34)
	send(bind)
	resp, err := pdu.Decode(nc)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		unbound := false
		for {
			body, err := pdu.Decode(nc)
			if err != nil {
				gone <- unbound
				return
			}
			switch h := body.Header(); h.ID {
			case pdu.DeliverSMID:
				send(pdu.NewDeliverSMRespSeq(h.Seq))
				if op := body.TLVFields()[pdutlv.TagUssdServiceOp].Bytes()[0]; op != 0x81 {
					send(goodbye(body))
				}
			case pdu.UnbindID:
				unbound = true
				resp := pdu.NewUnbindResp()
				resp.Header().Seq = h.Seq
				send(resp)
				nc.Close()
			}
		}
	}()
	return resp.Header().Status, gone
}

func set(body pdu.Body, name pdufield.Name, value any) {
	if err := body.Fields().Set(name, value); err != nil {
		panic(err)
	}
}

// goodbye is a final answer to a deliver_sm.
func goodbye(request pdu.Body) pdu.Body {
	session := request.TLVFields()[pdutlv.TagItsSessionInfo].Bytes()
	body := pdu.NewSubmitSM(pdutlv.Fields{
		pdutlv.TagUssdServiceOp:  0x11,
		pdutlv.TagItsSessionInfo: []byte{session[0], session[1] + 3},
	})
	set(body, pdufield.ServiceType, "USSD")
	set(body, pdufield.SourceAddr, request.Fields()[pdufield.DestinationAddr].String())
	set(body, pdufield.DestAddrTON, 1)
	set(body, pdufield.DestAddrNPI, 1)
	set(body, pdufield.DestinationAddr, request.Fields()[pdufield.SourceAddr].String())
	set(body, pdufield.ShortMessage, "Goodbye.")
	return body
}

// file writes a file of the test.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServe(t *testing.T) {
	addrFile := filepath.Join(t.TempDir(), "addr")
	s := start(t, "-addr-file", addrFile, "-account", "esme:secret", "-account", "other:", "-max-binds", "1")
	addr := s.addr()
	if written, err := os.ReadFile(addrFile); err != nil || string(written) != addr+"\n" {
		t.Errorf("-addr-file: %q, %v; listening on %s", written, err, addr)
	}
	if entries, err := os.ReadDir(filepath.Dir(addrFile)); err != nil || len(entries) != 1 {
		t.Errorf("beside the -addr-file: %v, %v", entries, err)
	}
	for _, test := range []struct {
		systemID, password string
		want               pdu.Status
	}{{"nobody", "secret", 0x0F}, {"esme", "guess", 0x0E}, {"other", "", 0}} {
		if status, _ := dialESME(t, addr, test.systemID, test.password); status != test.want {
			t.Errorf("%s: %v, want 0x%x", test.systemID, status, uint32(test.want))
		}
	}
	status, left := dialESME(t, addr, "esme", "secret")
	if status != 0 {
		t.Fatal(status)
	}
	if status, _ := dialESME(t, addr, "esme", "secret"); status != 0x05 {
		t.Errorf("a second bind: %v", status)
	}
	s.stop()
	if _, log := s.exit(exitOK); strings.Contains(log, "secret") || !strings.Contains(log, "ESME bound") {
		t.Errorf("log:\n%s", log)
	}
	if unbound := <-left; !unbound {
		t.Error("the ESME was not unbound")
	}
}

const script = `
handsets:
  - name: Amina
    msisdn: "2348031234567"
    steps: [{dial: "*999#", see: {exact: "{word}", end: true, max: 160}}]
`

func TestScript(t *testing.T) {
	name := file(t, "s.yaml", script)
	pcap := filepath.Join(t.TempDir(), "s.pcap")
	s := start(t, "-script", name, "-script", name, "-set", "word=Goodbye.", "-pcap", pcap)
	dialESME(t, s.addr(), "esme", "secret")
	out, _ := s.exit(exitOK)
	if !strings.Contains(out, "── Amina (2348031234567)\n  dials *999#\n") ||
		strings.Count(out, name+": 1 handset, 1 screen, all as expected\n") != 2 {
		t.Errorf("got\n%s", out)
	}
	capture, err := os.Open(pcap)
	if err != nil {
		t.Fatal(err)
	}
	defer capture.Close()
	reader, err := pcapgo.NewReader(capture)
	if err != nil {
		t.Fatal(err)
	}
	packets := 0
	for ; err == nil; packets++ {
		_, _, err = reader.ReadPacketData()
	}
	if !errors.Is(err, io.EOF) || packets < 10 {
		t.Errorf("the capture ends after %d packets: %v", packets, err)
	}
	if info, err := capture.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the capture, which holds a password, can be read by others: %v, %v", info.Mode(), err)
	}
}

func TestScriptMismatch(t *testing.T) {
	name := file(t, "s.yaml", script)
	s := start(t, "-script", name, "-set", "word=Welcome")
	dialESME(t, s.addr(), "esme", "secret")
	out, _ := s.exit(exitFailed)
	if !strings.Contains(out, "expected") || !strings.Contains(out, name+": 1 of 1 handset failed\n") {
		t.Errorf("got\n%s", out)
	}
}

// TestFaultAndComplaint: an ESME that answers a repeated begin twice is told off.
func TestFaultAndComplaint(t *testing.T) {
	name := file(t, "s.yaml", "dialect: standard\n"+script)
	s := start(t, "-script", name, "-set", "word=Goodbye.", "-fault", "trailing-cr", "-chaos", "1:0")
	dialESME(t, s.addr(), "esme", "secret")
	s.exit(exitOK)

	s = start(t, "-script", name, "-set", "word=Goodbye.", "-fault", "begin-twice")
	dialESME(t, s.addr(), "esme", "secret")
	out, log := s.exit(exitFailed)
	if !strings.Contains(out, "all as expected") ||
		!strings.Contains(log, ": the ESME has ended the dialogue 0x01 of 234803***4567 itself\n") {
		t.Errorf("got\n%s%s", out, log)
	}
}

// TestTLS: only who shows a certificate of the CA may connect.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := file(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	keyFile := file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	pair, err := tls.LoadX509KeyPair(cert, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)

	pcap := filepath.Join(t.TempDir(), "s.pcap")
	s := start(t, "-tls-cert", cert, "-tls-key", keyFile, "-tls-client-ca", cert, "-pcap", pcap)
	addr := s.addr()
	enquire := []byte("\x00\x00\x00\x10\x00\x00\x00\x15\x00\x00\x00\x00\x00\x00\x00\x01")
	for _, test := range []struct {
		certificates []tls.Certificate
		served       bool
	}{{nil, false}, {[]tls.Certificate{pair}, true}} {
		nc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, Certificates: test.certificates})
		if err != nil {
			t.Fatal(err)
		}
		resp := make([]byte, 16)
		_, err = nc.Write(enquire)
		if err == nil {
			_, err = io.ReadFull(nc, resp)
		}
		if served := err == nil && resp[4] == 0x80 && resp[7] == 0x15; served != test.served {
			t.Errorf("served %t, want %t: %x, %v", served, test.served, resp, err)
		}
		nc.Close()
	}
	s.stop()
	s.exit(exitOK)
	if captured, err := os.ReadFile(pcap); err != nil || !bytes.Contains(captured, enquire) {
		t.Errorf("the capture is not in clear: %v", err)
	}
}

func TestNobodyBinds(t *testing.T) {
	name := file(t, "s.yaml", script)
	s := start(t, "-script", name, "-set", "word=x", "-wait", "10ms")
	addr := s.addr()
	if _, errs := s.exit(exitFailed); !strings.Contains(errs, "smscsim: no ESME has bound to "+addr+" within 10ms\n") {
		t.Errorf("stderr: %s", errs)
	}

	s = start(t, "-script", name, "-set", "word=x")
	s.addr()
	s.stop()
	if _, errs := s.exit(exitFailed); !strings.Contains(errs, "smscsim: stopped before an ESME had bound\n") {
		t.Errorf("stderr: %s", errs)
	}
}

func TestPhone(t *testing.T) {
	s := start(t, "-phone", "-msisdn", "+2348021234567", "-v")
	dialESME(t, s.addr(), "esme", "secret")
	go io.WriteString(s.stdin, "*999#\n:quit\n")
	out, log := s.exit(exitOK)
	if !strings.Contains(out, "This is the phone of +2348021234567.") {
		t.Errorf("got\n%s", out)
	}
	if !strings.Contains(log, "command=deliver_sm ") || strings.Contains(log, "2348021234567") {
		t.Errorf("the log lacks PDUs, or has the subscriber's number:\n%s", log)
	}
}

func TestUsage(t *testing.T) {
	tata := file(t, "tata.yaml", "dialect: tata\nhandsets: [{msisdn: 2348031234567, steps: [{dial: '*999#'}]}]\n")
	wrong := file(t, "wrong.yaml", "handsets: 1\nservice:\n")
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown flag", []string{"-port", "1"}, "smscsim: flag provided but not defined: -port\nsmscsim -help explains it\n"},
		{"argument", []string{"now"}, "smscsim: unexpected argument \"now\"\n"},
		{"phone and script", []string{"-phone", "-script", wrong},
			"smscsim: -phone and -script exclude each other\n" +
				wrong + ":1: handsets is a list with at least one item\n" +
				wrong + ":2: service is a text that is not empty\n"},
		{"number", []string{"-msisdn", "0803"}, "smscsim: -msisdn: \"0803\" is not an international number such as 2348031234567\n"},
		{"times", []string{"-wait", "0s", "-enquire-link", "-1s"},
			"smscsim: -wait and -timeout must be longer than 0s\nsmscsim: -enquire-link must not be negative\n"},
		{"binds", []string{"-max-binds", "1"}, "smscsim: -max-binds needs an -account and must not be negative\n"},
		{"account", []string{"-account", "esme", "-account", "a:much-too-long", "-account", "b:x", "-account", "b:y"},
			"smscsim: -account number 1 is not system_id:password with at most 15 and 8 characters\n" +
				"smscsim: -account number 2 is not system_id:password with at most 15 and 8 characters\n" +
				"smscsim: -account: b is given twice\n"},
		{"set", []string{"-set", "X=1"},
			"smscsim: -set: \"X=1\" is not name=value with a name of lower-case letters, digits, - and _\n"},
		{"dialect", []string{"-dialect", "pidgin"}, "smscsim: no dialect \"pidgin\"; there are: " + strings.Join(smpptest.Dialects(), ", ") + "\n"},
		{"dialects", []string{"-script", tata, "-dialect", "mica"}, "smscsim: " + tata + " is for dialect tata, not mica\n"},
		{"faults", []string{"-fault", "throttle:x", "-fault", "gremlins", "-chaos", "x"},
			"smscsim: -fault: fault throttle: \"x\" is not a number from 1\n" +
				"smscsim: -fault: there is no fault \"gremlins\": smscsim -help lists them\n" +
				"smscsim: -chaos: \"x\" is not a seed, which is a whole number\n"},
		{"no room for a fault", []string{"-script", tata, "-fault", "busy"}, "smscsim: dialect tata has no room for fault busy\n"},
		{"TLS without a key", []string{"-tls-cert", "/nowhere.pem"},
			"smscsim: -tls-cert, -tls-key, -tls-client-ca: open /nowhere.pem: no such file or directory\n"},
		{"no such script", []string{"-script", "/nowhere.yaml"},
			"smscsim: -script: open /nowhere.yaml: no such file or directory\n"},
	}
	for _, test := range tests {
		var out, errs bytes.Buffer
		if code := run(t.Context(), test.args, nil, &out, &errs); code != exitUsage {
			t.Errorf("%s: exit status %d", test.name, code)
		}
		leak := strings.Contains(errs.String(), "much-too-long")
		if errs.String() != test.want || leak || out.Len() > 0 {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, errs.String(), test.want)
		}
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"-help"}, nil, &out, &errs)
	if code != exitOK || !strings.Contains(out.String(), "-addr-file file") || errs.Len() > 0 {
		t.Errorf("-help: exit status %d\n%s%s", code, errs.String(), out.String())
	}
	_, example, _ := strings.Cut(out.String(), "end of its steps:\n")
	example, _, _ = strings.Cut(example, "\nFAULTS")
	if _, err := smpptest.ParseScript("help", []byte(example), map[string]string{"control": "127.0.0.1:8700"}); err != nil {
		t.Errorf("-help: its script: %v", err)
	}
}

func TestCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, args := range [][]string{
		{"-listen", taken.Addr().String()},
		{"-pcap", "/nowhere/s.pcap"},
		{"-addr-file", "/nowhere/addr"},
	} {
		var errs bytes.Buffer
		args = append([]string{"-listen", "127.0.0.1:0"}, args...)
		code := run(t.Context(), args, nil, io.Discard, &errs)
		if code != exitFailed || !strings.HasPrefix(errs.String(), "smscsim: ") {
			t.Errorf("%v: exit status %d, %s", args, code, errs.String())
		}
	}
}

func TestDisagreement(t *testing.T) {
	var errs bytes.Buffer
	if disagreed(nil, &errs) || errs.Len() > 0 {
		t.Error("a disagreement out of nothing")
	}
	m := smpptest.Mismatch{PDU: make([]byte, 16), Field: "esm_class", Ours: "0x1", Theirs: "0x2"}
	if !disagreed([]smpptest.Mismatch{m}, &errs) || !strings.Contains(errs.String(), "esm_class: smpp reads 0x1") {
		t.Errorf("got %s", errs.String())
	}
}

func TestTextedCountsWhatDiffers(t *testing.T) {
	var out strings.Builder
	texted(nil, &out)
	if out.Len() > 0 {
		t.Errorf("nothing came, printed %q", &out)
	}
	texted([]smpptest.SMS{{ID: "1", To: "2348031234567", Text: "a"}, {ID: "2", To: "2348031234567", Text: "a"}, {ID: "3", To: "2348021234567", Text: "a"}}, &out)
	if out.String() != "smscsim: 3 short messages, 2 different\n" {
		t.Errorf("printed %q", &out)
	}
}
