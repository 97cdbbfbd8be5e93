package main

import (
	"bytes"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// segment is one TCP segment of a capture.
type segment struct {
	out     bool // from the ESME
	port    uint16
	seq     uint32
	syn     bool
	payload []byte
}

// captureFile writes segments, a millisecond apart, as a pcap file of IP packets
// or a pcapng file of Ethernet frames.
func captureFile(t *testing.T, ng bool, segments ...segment) string {
	t.Helper()
	var b bytes.Buffer
	var write func(gopacket.CaptureInfo, []byte) error
	flush := func() error { return nil }
	if ng {
		w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
		if err != nil {
			t.Fatal(err)
		}
		write, flush = w.WritePacket, w.Flush
	} else {
		w := pcapgo.NewWriter(&b)
		if err := w.WriteFileHeader(65535, layers.LinkTypeRaw); err != nil {
			t.Fatal(err)
		}
		write = w.WritePacket
	}
	at := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	for _, s := range segments {
		var headers []gopacket.SerializableLayer
		if ng {
			headers = append(headers, &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: layers.EthernetTypeIPv4})
		}
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{192, 0, 2, 1}, DstIP: net.IP{192, 0, 2, 9}}
		tcp := &layers.TCP{SrcPort: 2775, DstPort: layers.TCPPort(s.port), Seq: s.seq, SYN: s.syn, ACK: true, Window: 65535}
		if s.out {
			ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
			tcp.SrcPort, tcp.DstPort = tcp.DstPort, tcp.SrcPort
		}
		if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		buf := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, append(headers, ip, tcp, gopacket.Payload(s.payload))...); err != nil {
			t.Fatal(err)
		}
		if err := write(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(buf.Bytes()), Length: len(buf.Bytes())}, buf.Bytes()); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Millisecond)
	}
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// fixture reads one of package smpp's.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../smpp/testdata/" + name + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	b, err := parseHex(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ussdctl runs a command and returns what it prints, and its exit code.
func ussdctl(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	code := run(t.Context(), args, &out, &out)
	return out.String(), code
}

func TestDecodeCapture(t *testing.T) {
	begin, ack, menu := fixture(t, "standard-begin"), fixture(t, "standard-begin-ack"), fixture(t, "standard-menu")
	resp, other := fixture(t, "standard-menu-resp"), fixture(t, "sixdee-begin")
	other = bytes.Replace(other, []byte("2348031234567"), []byte("2348051234567"), 1)
	first := uint32(1000)
	after := func(n ...[]byte) uint32 {
		seq := first
		for _, b := range n {
			seq += uint32(len(b))
		}
		return seq
	}
	const head, back = "192.0.2.1:2775 > 192.0.2.9:", "192.0.2.9:"
	for _, c := range []struct {
		name     string
		segments []segment
		args     []string
		want     []string // its lines' ends, without the time
	}{
		{"a dialogue, its PDUs cut and joined", []segment{
			{port: 5, seq: 999, syn: true}, {out: true, port: 5, seq: 999, syn: true},
			{port: 5, seq: 1000, payload: begin[:7]},
			{port: 5, seq: 1007, payload: append(bytes.Clone(begin[7:]), other...)},
			{out: true, port: 5, seq: 1000, payload: append(bytes.Clone(ack), menu...)},
			{port: 5, seq: after(begin, other), payload: resp},
		}, nil, []string{
			head + `5 deliver_sm 17: begin of dialogue 2a00 of 2348031234567: service *123#, dialled "*123#"`,
			head + `5 deliver_sm 49: begin of dialogue 1600 of 2348051234567: service *123#, dialled "*123#"`,
			back + `5 > 192.0.2.1:2775 deliver_sm_resp 17`,
			back + `5 > 192.0.2.1:2775 submit_sm 1: shows "1 Bal\n2 Buy" and waits for an answer`,
			head + `5 submit_sm_resp 1: the reply is accepted`,
		}},
		{"one subscriber, with the responses", []segment{
			{port: 5, seq: 1000, payload: begin}, {port: 5, seq: after(begin), payload: other},
			{out: true, port: 5, seq: 1000, payload: ack}, {out: true, port: 5, seq: after(ack), payload: menu},
			{port: 5, seq: after(begin, other), payload: resp},
			{port: 5, seq: after(begin, other, resp), payload: resp}, // to nothing
		}, []string{"-msisdn", "08031234567"}, []string{
			head + `5 deliver_sm 17: begin of dialogue 2a00 of 2348031234567: service *123#, dialled "*123#"`,
			back + `5 > 192.0.2.1:2775 deliver_sm_resp 17`,
			back + `5 > 192.0.2.1:2775 submit_sm 1: shows "1 Bal\n2 Buy" and waits for an answer`,
			head + `5 submit_sm_resp 1: the reply is accepted`,
		}},
		{"out of order and twice", []segment{
			{port: 5, seq: 999, syn: true},
			{port: 5, seq: after(begin), payload: resp}, {port: 5, seq: 1000, payload: begin}, {port: 5, seq: 1000, payload: begin},
		}, nil, []string{
			head + `5 deliver_sm 17: begin of dialogue 2a00 of 2348031234567: service *123#, dialled "*123#"`,
			head + `5 submit_sm_resp 1: the reply is accepted`,
		}},
		{"a segment is missing", []segment{
			{port: 5, seq: 1000, payload: begin}, {port: 5, seq: after(begin, begin) + 3, payload: begin[3:]}, {port: 5, seq: after(begin, begin, begin), payload: resp},
		}, nil, []string{
			head + `5 deliver_sm 17: begin of dialogue 2a00 of 2348031234567: service *123#, dialled "*123#"`,
			head + `5: octets are missing in the capture`,
			head + `5 submit_sm_resp 1: the reply is accepted`,
		}},
		{"something else on another port, and a PDU that does not end", []segment{
			{port: 80, seq: 1000, payload: []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")}, {port: 5, seq: 1000, payload: begin}, {port: 5, seq: after(begin), payload: begin[:20]},
		}, nil, []string{
			head + `5 deliver_sm 17: begin of dialogue 2a00 of 2348031234567: service *123#, dialled "*123#"`,
			head + `5: the stream ends inside a PDU`,
			head + `5 deliver_sm 17: cannot be read: deliver_sm: command_length differs from the frame's length`,
		}},
		{"framing is lost", []segment{
			{port: 5, seq: 1000, payload: append(bytes.Clone(begin), "HTTP/1.1 400 Bad Request"...)},
		}, nil, []string{
			head + `5 deliver_sm 17: begin of dialogue 2a00 of 2348031234567: service *123#, dialled "*123#"`,
			head + `5: framing is lost: command_length 1213486160`,
		}},
	} {
		for _, ng := range []bool{false, true} {
			out, code := ussdctl(t, append([]string{"decode", "-brief", captureFile(t, ng, c.segments...)}, c.args...)...)
			var got []string
			for line := range strings.Lines(out) {
				at, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
				if _, err := time.Parse("2006-01-02T15:04:05.000000Z", at); err != nil {
					t.Errorf("%s: %q has no time", c.name, line)
				}
				got = append(got, rest)
			}
			if code != exitOK || strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("%s (pcapng %v): exit code %d, got\n%s\nwant\n%s", c.name, ng, code, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		}
	}
}

// Raw octets, hexadecimal with every kind of separator, and a capture in JSON.
func TestDecodeInputs(t *testing.T) {
	begin, menu := fixture(t, "standard-begin"), fixture(t, "standard-menu")
	dir := t.TempDir()
	file := func(content string) string {
		name := filepath.Join(dir, "input")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const want = "deliver_sm 17: begin of dialogue 2a00 of 2348031234567: service *123#, dialled \"*123#\"\nsubmit_sm 1: shows \"1 Bal\\n2 Buy\" and waits for an answer\n"
	both := append(bytes.Clone(begin), menu...)
	for name, arg := range map[string]string{
		"raw octets": file(string(both)),
		"argument":   hex.EncodeToString(both),
		"prefixed":   "0x" + hex.EncodeToString(both),
	} {
		if out, code := ussdctl(t, "decode", "-brief", arg); out != want || code != exitOK {
			t.Errorf("%s: exit code %d, got %s", name, code, out)
		}
	}
	text := "# two PDUs\r\n0x" + strings.ToUpper(hex.EncodeToString(begin)) + " # begin\n"
	for _, octet := range menu {
		text += hex.EncodeToString([]byte{octet}) + ":"
	}
	if out, code := ussdctl(t, "decode", "-brief", file(text)); out != want || code != exitOK {
		t.Errorf("text: exit code %d, got %s", code, out)
	}
	if out, code := ussdctl(t, "decode", file("00 00\n00 4g\n")); code != exitFailed || !strings.Contains(out, "input: line 2, column 5: 'g' is no hexadecimal digit") {
		t.Errorf("bad text: exit code %d, got %s", code, out)
	}
	for _, empty := range []string{"", "# nothing\n"} {
		if out, code := ussdctl(t, "decode", file(empty)); code != exitFailed || out == "" {
			t.Errorf("%q: exit code %d, got %s", empty, code, out)
		}
	}
	if out, code := ussdctl(t, "decode", file("\xd4\xc3\xb2\xa1cut")); code != exitFailed {
		t.Errorf("a cut capture: exit code %d, got %s", code, out)
	}
	out, code := ussdctl(t, "decode", "-json", captureFile(t, false, segment{port: 5, seq: 1, payload: fixture(t, "bind")}))
	if code != exitOK || !strings.Contains(out, `"at":"2026-11-20T09:30:00Z"`) || !strings.Contains(out, `"from":"192.0.2.1:2775"`) || strings.Contains(out, "hex") {
		t.Errorf("JSON: exit code %d, got %s", code, out)
	}
}

// Nothing that decode prints of a bind has its password.
func TestDecodeHidesPasswords(t *testing.T) {
	bind := fixture(t, "bind")
	for n := 16; n <= len(bind); n++ {
		for _, flag := range []string{"-brief", "-json", "-profile=standard"} {
			out, _ := ussdctl(t, "decode", flag, hex.EncodeToString(bind[:n]))
			if strings.Contains(out, "secret") || strings.Contains(out, hex.EncodeToString([]byte("sec"))) {
				t.Fatalf("%d octets: %s", n, out)
			}
		}
	}
}
