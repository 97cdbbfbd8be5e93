package smpptest_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"ussdd/smpp/smpptest"
)

// captured holds one purchase over a captured connection and returns the
// capture and the SMSC's port.
func captured(t *testing.T, listen string) ([]byte, string) {
	t.Helper()
	var file bytes.Buffer
	capture, err := smpptest.NewCapture(&file)
	if err != nil {
		t.Fatal(err)
	}
	sim := newSim(t, smpptest.Config{Listen: listen, Capture: capture})
	e := bound(t, sim)
	e.serve(shop())
	ctx := within(t)
	h := sim.Handset(amina)
	if _, err := h.Dial(ctx, "*999#"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Answer(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if err := sim.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := capture.Err(); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(sim.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), port
}

// stream is one direction of a captured connection.
type stream struct {
	next     uint32
	data     bytes.Buffer
	syn, fin bool
}

// TestCapture reads a capture back as a TCP stack would, and the PDUs in it
// with go-smpp.
func TestCapture(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(listen, func(t *testing.T) {
			if l, err := net.Listen("tcp", listen); err != nil {
				t.Skipf("this machine can't listen there: %v", err)
			} else {
				l.Close()
			}
			testCapture(t, listen)
		})
	}
}

func testCapture(t *testing.T, listen string) {
	file, port := captured(t, listen)
	reader, err := pcapgo.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	streams := map[bool]*stream{true: {}, false: {}} // true: the SMSC's
	for {
		data, info, err := reader.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if info.Timestamp.IsZero() {
			t.Error("a packet without a time")
		}
		packet := gopacket.NewPacket(data, reader.LinkType(), gopacket.Default)
		if failure := packet.ErrorLayer(); failure != nil {
			t.Fatal(failure.Error())
		}
		tcp, ok := packet.TransportLayer().(*layers.TCP)
		if !ok {
			t.Fatalf("no TCP in %v", packet)
		}
		if err := tcp.SetNetworkLayerForChecksum(packet.NetworkLayer()); err != nil {
			t.Fatal(err)
		}
		if err, bad := packet.VerifyChecksums(); err != nil || len(bad) > 0 {
			t.Errorf("checksums: %v, %v", err, bad)
		}
		ours := strings.HasPrefix(tcp.SrcPort.String(), port)
		from, to := streams[ours], streams[!ours]
		if tcp.SYN {
			from.syn, from.next = true, tcp.Seq
		}
		if tcp.Seq != from.next {
			t.Errorf("sequence number %d, want %d", tcp.Seq, from.next)
		}
		if tcp.ACK && tcp.Ack != to.next {
			t.Errorf("acknowledges %d, want %d", tcp.Ack, to.next)
		}
		from.data.Write(tcp.Payload)
		from.next += uint32(len(tcp.Payload))
		if tcp.SYN || tcp.FIN {
			from.next++
		}
		from.fin = from.fin || tcp.FIN
	}
	wants := map[bool][]pdu.ID{
		true: {pdu.BindTransceiverRespID, pdu.DeliverSMID, pdu.SubmitSMRespID, pdu.DeliverSMID, pdu.SubmitSMRespID, pdu.UnbindID},
		false: {pdu.BindTransceiverID, pdu.DeliverSMRespID, pdu.SubmitSMID, pdu.DeliverSMRespID, pdu.SubmitSMID,
			pdu.UnbindRespID},
	}
	for ours, s := range streams {
		if !s.syn || !s.fin {
			t.Errorf("SYN %t, FIN %t", s.syn, s.fin)
		}
		for _, want := range wants[ours] {
			body, err := pdu.Decode(&s.data)
			if err != nil {
				t.Fatalf("%v: %v", want, err)
			}
			if body.Header().ID != want {
				t.Errorf("got %v, want %v", body.Header().ID, want)
			}
		}
		if s.data.Len() > 0 {
			t.Errorf("%d octets too many", s.data.Len())
		}
	}
}

func TestCaptureInTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is missing; to run this test: apt-get install tshark")
	}
	file, port := captured(t, "127.0.0.1:0")
	name := filepath.Join(t.TempDir(), "sim.pcap")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		args = append([]string{"-r", name, "-d", "tcp.port==" + port + ",smpp", "-o", "tcp.check_checksum:TRUE"}, args...)
		out, err := exec.CommandContext(within(t), tshark, args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	complaints := run("-Y", "_ws.malformed || tcp.analysis.flags || tcp.checksum.status == 0")
	if complaints != "" {
		t.Errorf("tshark complains:\n%s", complaints)
	}
	commands := run("-Y", "smpp", "-T", "fields", "-e", "smpp.command_id")
	if pdus := strings.Count(commands, "0x"); pdus != 12 {
		t.Errorf("tshark finds %d PDUs, want 12:\n%s", pdus, commands)
	}
}

func TestCaptureOnFullDisk(t *testing.T) {
	if _, err := smpptest.NewCapture(&fullDisk{}); !errors.Is(err, errFull) {
		t.Errorf("no room for the header: %v", err)
	}
	capture, err := smpptest.NewCapture(&fullDisk{room: 3})
	if err != nil {
		t.Fatal(err)
	}
	sim := newSim(t, smpptest.Config{Capture: capture})
	bound(t, sim).serve(shop())
	if _, err := sim.Handset(amina).Dial(within(t), "*999#"); err != nil {
		t.Errorf("the capture's trouble reached a dialogue: %v", err)
	}
	if err := capture.Err(); !errors.Is(err, errFull) {
		t.Errorf("capture: %v", err)
	}
}
