package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"time"

	gosmpp "github.com/fiorix/go-smpp/smpp"
	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/scripts/stack"
	"ussdd/smpp"
)

// fixedText is what the references answer with: as long as the airtime menu's
// first screen.
const fixedText = "Welcome to Airtime Purchase\n\n1. Buy Airtime\n2. Check Balance\n3. Transaction History\n4. Help\n0. Exit"

// The references' dialect: ussd_service_op of a screen and of a dialogue's last
// one, and the E bit of its_session_info, whose other bits count the screens.
const (
	opMenu = 0x02
	opEnd  = 0x11
	endBit = 0x01
)

// word returns what answers a dialogue's its_session_info: the operation and the
// second octet. The screens that the subscriber has seen are counted in it, so
// that no reference has to remember them.
func word(session []byte, steps int) (op, octet byte) {
	shown := int(session[1]>>1) + 1
	if shown == steps {
		return opEnd, byte(shown<<1) | endBit
	}
	return opMenu, byte(shown << 1)
}

// reference is an ESME until the connection ends.
func reference(name, addr string, steps int) error {
	switch name {
	case "bare":
		return bare(addr, steps)
	case "go-smpp":
		return client(addr, steps)
	}
	return fmt.Errorf("-esme %q is neither bare nor go-smpp", name)
}

// dialogue is all that the bare ESME keeps of one.
type dialogue struct {
	id    byte
	steps int
}

// bare is the least that an ESME on this project's codec must do: decode whole
// PDUs, find the session in a map, acknowledge, answer, and write what a batch
// of reads has caused at once.
func bare(addr string, steps int) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	bind := pdu.NewBindTransceiver()
	_ = bind.Fields().Set(pdufield.SystemID, stack.SystemID)
	_ = bind.Fields().Set(pdufield.Password, stack.Password)
	_ = bind.Fields().Set(pdufield.InterfaceVersion, uint8(0x34))
	if err := bind.SerializeTo(conn); err != nil {
		return err
	}
	frames := smpp.NewFrameReader(conn)
	out := bufio.NewWriterSize(conn, 64<<10)
	dialogues := make(map[string]*dialogue)
	var in smpp.Message
	var sequence uint32
	var buf, tlvs []byte
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			return nil // the load is over
		}
		switch h := smpp.ParseHeader(frame); h.ID {
		case pdu.UnbindID:
			return nil
		case pdu.DeliverSMID:
			if err := smpp.Decode(frame, &in); err != nil {
				return err
			}
			session, ok := in.TLVs.Get(pdutlv.TagItsSessionInfo)
			if !ok || len(session) != 2 {
				return fmt.Errorf("its_session_info %x", session)
			}
			d := dialogues[string(in.Source.Digits)]
			if d == nil || d.id != session[0] {
				d = &dialogue{id: session[0]}
				dialogues[string(in.Source.Digits)] = d
			}
			d.steps++
			op, octet := word(session, steps)
			if op == opEnd {
				delete(dialogues, string(in.Source.Digits))
			}
			sequence++
			ack := smpp.Message{Header: smpp.Header{ID: pdu.DeliverSMRespID, Sequence: in.Sequence}, MessageID: []byte{}}
			tlvs = smpp.TLVs(tlvs[:0]).Append(pdutlv.TagUssdServiceOp, op).Append(pdutlv.TagItsSessionInfo, session[0], octet)
			screen := smpp.Message{
				Header: smpp.Header{ID: pdu.SubmitSMID, Sequence: sequence}, ServiceType: in.ServiceType,
				Source: in.Dest, Dest: in.Source, ShortMessage: []byte(fixedText), TLVs: tlvs,
			}
			if buf, err = smpp.Append(buf[:0], &ack); err == nil {
				buf, err = smpp.Append(buf, &screen)
			}
			if err != nil {
				return err
			}
			if _, err := out.Write(buf); err != nil {
				return err
			}
		}
		if !frames.Ready() && out.Buffered() > 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// client is an ESME of go-smpp's client, used as its documentation shows. Submit
// waits for the response, and the handler is on the goroutine that reads, so
// that every answer has a goroutine of its own.
func client(addr string, steps int) error {
	gone := make(chan struct{})
	var tx *gosmpp.Transceiver
	tx = &gosmpp.Transceiver{
		Addr: addr, User: stack.SystemID, Passwd: stack.Password, RespTimeout: 10 * time.Second,
		Handler: func(p pdu.Body) {
			if p.Header().ID != pdu.DeliverSMID {
				return
			}
			go func() {
				session := p.TLVFields()[pdutlv.TagItsSessionInfo].Bytes()
				op, octet := word(session, steps)
				fields := p.Fields()
				if _, err := tx.Submit(&gosmpp.ShortMessage{
					Src: fields[pdufield.DestinationAddr].String(), Dst: fields[pdufield.SourceAddr].String(),
					DestAddrTON: 1, DestAddrNPI: 1, ServiceType: "USSD", Text: pdutext.GSM7(fixedText),
					TLVFields: pdutlv.Fields{pdutlv.TagUssdServiceOp: []byte{op}, pdutlv.TagItsSessionInfo: []byte{session[0], octet}},
				}); err != nil {
					fmt.Fprintln(os.Stderr, "submit:", err)
				}
			}()
		},
	}
	go func() {
		defer close(gone)
		for status := range tx.Bind() {
			if status.Status() == gosmpp.Disconnected {
				return
			}
		}
	}()
	<-gone
	return nil
}
