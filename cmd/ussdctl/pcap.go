package main

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"ussdd/cmd/ussdd/control"
)

// snapLen is the largest packet that a capture may hold, and segmentSize how many
// octets of a PDU go into one TCP segment.
const (
	snapLen     = 65535
	segmentSize = 32 << 10
)

// capture writes traced PDUs as a pcap file: each connection is a TCP stream with
// its real addresses and ports and made-up sequence numbers, beginning with the
// first PDU that was seen. A PDU that the trace lost leaves no gap.
type capture struct {
	pcap        *pcapgo.Writer
	buf         gopacket.SerializeBuffer
	connections map[string]*connection // by our address and the SMSC's
}

// connection is one TCP connection to an SMSC.
type connection struct {
	local, remote  netip.AddrPort
	sent, received uint32 // next sequence numbers of our side and the SMSC's
}

// newCapture writes the file header.
func newCapture(w io.Writer) (*capture, error) {
	c := &capture{pcap: pcapgo.NewWriter(w), buf: gopacket.NewSerializeBuffer(), connections: make(map[string]*connection)}
	return c, c.pcap.WriteFileHeader(snapLen, layers.LinkTypeRaw)
}

// add writes one PDU, so that the file can be read at any time.
func (c *capture) add(t control.Traced) error {
	s, err := c.connection(t)
	if err != nil {
		return err
	}
	for rest := []byte(t.Frame); len(rest) > 0; {
		n := min(len(rest), segmentSize)
		if err := c.segment(s, t.Time, t.Out, layers.TCP{PSH: true, ACK: true}, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// connection is the one that a PDU went over; a new one begins with its
// handshake.
func (c *capture) connection(t control.Traced) (*connection, error) {
	key := t.Local + " " + t.Remote
	if s, ok := c.connections[key]; ok {
		return s, nil
	}
	local, err := netip.ParseAddrPort(t.Local)
	if err != nil {
		return nil, fmt.Errorf("pcap: our address: %w", err)
	}
	remote, err := netip.ParseAddrPort(t.Remote)
	if err != nil {
		return nil, fmt.Errorf("pcap: the SMSC's address: %w", err)
	}
	s := &connection{local: local, remote: remote, sent: 0x10000000, received: 0x20000000}
	c.connections[key] = s
	for _, step := range []struct {
		out bool
		tcp layers.TCP
	}{{true, layers.TCP{SYN: true}}, {false, layers.TCP{SYN: true, ACK: true}}, {true, layers.TCP{ACK: true}}} {
		if err := c.segment(s, t.Time, step.out, step.tcp, nil); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// segment writes one TCP segment, sent by us if out, and moves the sequence
// numbers on.
func (c *capture) segment(s *connection, at time.Time, out bool, tcp layers.TCP, payload []byte) error {
	from, to, seq, ack := s.remote, s.local, &s.received, s.sent
	if out {
		from, to, seq, ack = s.local, s.remote, &s.sent, s.received
	}
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(from.Port()), layers.TCPPort(to.Port())
	tcp.Seq, tcp.Window = *seq, 65535
	if tcp.ACK {
		tcp.Ack = ack
	}
	*seq += uint32(len(payload))
	if tcp.SYN {
		*seq++
	}
	var network interface {
		gopacket.NetworkLayer
		gopacket.SerializableLayer
	}
	src, dst := from.Addr().Unmap(), to.Addr().Unmap()
	if src.Is4() && dst.Is4() {
		network = &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	} else {
		src16, dst16 := src.As16(), dst.As16()
		network = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: src16[:], DstIP: dst16[:]}
	}
	if err := tcp.SetNetworkLayerForChecksum(network); err != nil {
		return fmt.Errorf("pcap: %w", err)
	}
	if err := gopacket.SerializeLayers(c.buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, network, &tcp, gopacket.Payload(payload)); err != nil {
		return fmt.Errorf("pcap: %w", err)
	}
	packet := c.buf.Bytes()
	if err := c.pcap.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(packet), Length: len(packet)}, packet); err != nil {
		return fmt.Errorf("pcap: %w", err)
	}
	return nil
}
