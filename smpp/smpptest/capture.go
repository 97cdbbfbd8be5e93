package smpptest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

const (
	// snapLen is the largest packet a capture may hold, as its file header
	// says.
	snapLen = 65535
	// segmentSize is how many octets of a stream go into one made-up TCP
	// segment.
	segmentSize = 32 << 10
)

// Capture writes connections as a pcap file: the octets are those that went
// over the wire, the IP and TCP headers around them are made up (with the
// connection's real addresses and ports, and right sequence numbers and
// checksums). It holds passwords and subscribers' input just as they were sent.
//
// Each packet is written out at once, so that the file can be read at any time.
// Safe for concurrent use.
type Capture struct {
	mu   sync.Mutex
	out  *bufio.Writer
	pcap *pcapgo.Writer
	buf  gopacket.SerializeBuffer
	err  error
}

// NewCapture writes the file header to w. w stays the caller's, to be closed
// when the Sim has stopped.
func NewCapture(w io.Writer) (*Capture, error) {
	out := bufio.NewWriter(w)
	c := &Capture{out: out, pcap: pcapgo.NewWriter(out), buf: gopacket.NewSerializeBuffer()}
	if err := c.pcap.WriteFileHeader(snapLen, layers.LinkTypeRaw); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	if err := out.Flush(); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	return c, nil
}

// Err returns the first error in writing; nothing is written after it.
func (c *Capture) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// capturedConn copies an accepted connection into a capture.
type capturedConn struct {
	net.Conn
	capture      *Capture
	local, peer  *net.TCPAddr
	sent, seen   uint32 // next sequence number of our side and of the peer's; guarded by capture.mu
	closeCapture sync.Once
}

// conn returns nc with everything that passes it captured. A connection that
// isn't TCP is returned as it is.
func (c *Capture) conn(nc net.Conn) net.Conn {
	local, ok := nc.LocalAddr().(*net.TCPAddr)
	peer, ok2 := nc.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return nc
	}
	cc := &capturedConn{Conn: nc, capture: c, local: local, peer: peer, sent: 0x20000000, seen: 0x10000000}
	c.mu.Lock()
	defer c.mu.Unlock()
	cc.segment(false, layers.TCP{SYN: true}, nil)
	cc.segment(true, layers.TCP{SYN: true, ACK: true}, nil)
	cc.segment(false, layers.TCP{ACK: true}, nil)
	return cc
}

// Read is net.Conn's.
func (cc *capturedConn) Read(b []byte) (int, error) {
	n, err := cc.Conn.Read(b)
	cc.data(false, b[:n])
	return n, err
}

// Write is net.Conn's. The octets are captured before they are sent, so that no
// answer to them is captured first.
func (cc *capturedConn) Write(b []byte) (int, error) {
	cc.data(true, b)
	return cc.Conn.Write(b)
}

// CloseWrite is net.TCPConn's.
func (cc *capturedConn) CloseWrite() error {
	half, ok := cc.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// Close is net.Conn's.
func (cc *capturedConn) Close() error {
	err := cc.Conn.Close()
	cc.closeCapture.Do(func() {
		cc.capture.mu.Lock()
		defer cc.capture.mu.Unlock()
		cc.segment(true, layers.TCP{FIN: true, ACK: true}, nil)
		cc.segment(false, layers.TCP{FIN: true, ACK: true}, nil)
		cc.segment(true, layers.TCP{ACK: true}, nil)
	})
	return err
}

func (cc *capturedConn) data(out bool, b []byte) {
	cc.capture.mu.Lock()
	defer cc.capture.mu.Unlock()
	for len(b) > 0 {
		n := min(len(b), segmentSize)
		cc.segment(out, layers.TCP{PSH: true, ACK: true}, b[:n])
		b = b[n:]
	}
}

// segment writes one TCP segment, sent by us if out, and moves the sequence
// numbers on. The caller holds capture.mu.
func (cc *capturedConn) segment(out bool, tcp layers.TCP, payload []byte) {
	c := cc.capture
	if c.err != nil {
		return
	}
	from, to, seq, ack := cc.peer, cc.local, &cc.seen, cc.sent
	if out {
		from, to, seq, ack = cc.local, cc.peer, &cc.sent, cc.seen
	}
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(from.Port), layers.TCPPort(to.Port)
	tcp.Seq, tcp.Window = *seq, 65535
	if tcp.ACK {
		tcp.Ack = ack
	}
	*seq += uint32(len(payload))
	if tcp.SYN || tcp.FIN {
		*seq++
	}
	c.err = c.packet(from.IP, to.IP, &tcp, payload)
}

func (c *Capture) packet(src, dst net.IP, tcp *layers.TCP, payload []byte) error {
	var network interface {
		gopacket.NetworkLayer
		gopacket.SerializableLayer
	}
	if src4, dst4 := src.To4(), dst.To4(); src4 != nil && dst4 != nil {
		network = &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src4, DstIP: dst4}
	} else {
		network = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: src.To16(), DstIP: dst.To16()}
	}
	if err := tcp.SetNetworkLayerForChecksum(network); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(c.buf, opts, network, tcp, gopacket.Payload(payload)); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	packet := c.buf.Bytes()
	info := gopacket.CaptureInfo{Timestamp: time.Now(), CaptureLength: len(packet), Length: len(packet)}
	if err := c.pcap.WritePacket(info, packet); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	if err := c.out.Flush(); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	return nil
}
