package main

import (
	"errors"
	"io"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/gopacket/gopacket/tcpassembly"

	"ussdd/smpp"
)

// Bounds of what is kept of streams with packets missing, in pages of about
// 2 KiB.
const (
	maxPages       = 1 << 14
	maxStreamPages = 256
)

// capture shows the PDUs of all TCP streams in a capture that begin as SMPP does.
func (d *decoder) capture(in io.Reader, ng bool) error {
	var source interface {
		gopacket.PacketDataSource
		LinkType() layers.LinkType
	}
	var err error
	if ng {
		source, err = pcapgo.NewNgReader(in, pcapgo.DefaultNgReaderOptions)
	} else {
		source, err = pcapgo.NewReader(in)
	}
	if err != nil {
		return err
	}
	assembler := tcpassembly.NewAssembler(tcpassembly.NewStreamPool(directions{d}))
	assembler.MaxBufferedPagesTotal, assembler.MaxBufferedPagesPerConnection = maxPages, maxStreamPages
	defer assembler.FlushAll()
	type flow struct{ net, tcp gopacket.Flow }
	seen := make(map[flow]bool)
	for {
		data, info, err := source.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := d.c.ctx.Err(); err != nil {
			return err
		}
		packet := gopacket.NewPacket(data, source.LinkType(), gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		tcp, ok := packet.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok {
			continue
		}
		f := flow{packet.NetworkLayer().NetworkFlow(), tcp.TransportFlow()}
		if !seen[f] && !tcp.SYN {
			// The capture began later than the connection: pretend otherwise, or
			// the assembler would wait for the beginning.
			begin := *tcp
			begin.SYN, begin.Seq, begin.Payload = true, tcp.Seq-1, nil
			assembler.AssembleWithTimestamp(f.net, &begin, info.Timestamp)
		}
		seen[f] = true
		assembler.AssembleWithTimestamp(f.net, tcp, info.Timestamp)
	}
}

// directions makes a stream of each direction of a connection.
type directions struct{ d *decoder }

// New is tcpassembly.StreamFactory's.
func (s directions) New(net, tcp gopacket.Flow) tcpassembly.Stream {
	return &direction{d: s.d, w: where{
		from: net.Src().String() + ":" + tcp.Src().String(),
		to:   net.Dst().String() + ":" + tcp.Dst().String(),
	}}
}

// direction is one direction of a connection.
type direction struct {
	d     *decoder
	w     where
	buf   []byte // octets that are no whole PDU yet
	smpp  bool   // a PDU was found
	other bool   // it is something else
	lost  bool   // the next octets may be the middle of a PDU
}

// Reassembled is tcpassembly.Stream's.
func (s *direction) Reassembled(parts []tcpassembly.Reassembly) {
	for _, part := range parts {
		s.w.at = part.Seen
		if part.Skip != 0 && s.smpp {
			s.d.note(s.w, "octets are missing in the capture")
			s.buf, s.lost = nil, true
		}
		if s.other || len(part.Bytes) == 0 {
			continue
		}
		s.buf = append(s.buf, part.Bytes...)
		s.cut()
	}
}

// cut shows the whole PDUs of the buffer.
func (s *direction) cut() {
	for len(s.buf) >= smpp.HeaderLen {
		h := smpp.ParseHeader(s.buf)
		sane := h.Length >= smpp.HeaderLen && h.Length <= smpp.MaxFrame
		known := !strings.HasPrefix(smpp.CommandName(h.ID), "0x")
		switch {
		case !s.smpp && !(sane && known):
			s.other, s.buf = true, nil
			return
		case s.lost && !(sane && known):
			s.buf = nil // try where the next segment begins
			return
		case !sane:
			s.d.note(s.w, "framing is lost: command_length %d", h.Length)
			s.buf, s.lost = nil, true
			return
		}
		s.smpp, s.lost = true, false
		if len(s.buf) < int(h.Length) {
			return
		}
		s.d.pdu(s.buf[:h.Length], s.w)
		s.buf = s.buf[h.Length:]
	}
}

// ReassemblyComplete is tcpassembly.Stream's.
func (s *direction) ReassemblyComplete() {
	if s.smpp && len(s.buf) > 0 {
		s.d.note(s.w, "the stream ends inside a PDU")
		s.d.pdu(s.buf, s.w)
	}
}
