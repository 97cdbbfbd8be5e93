package smpptest

import (
	"encoding/binary"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// outgoing is a request that is about to be sent, and all that faults make
// different about it.
type outgoing struct {
	act     act
	text    string
	coding  *coding   // if set, instead of the dialect's
	payload bool      // the text is in message_payload
	other   bool      // data_sm in the place of deliver_sm, and the other way round
	tlvs    smpp.TLVs // behind the dialect's
	tail    []byte    // octets behind all TLVs
	again   bool      // it is sent twice
	repeat  bool      // with the sequence number of the ESME's last request, if that is free
	before  []prelude
	half    bool          // the second half waits
	rest    time.Duration // so long; 0: for ever
	after   []func(*peer)
}

// prelude is a PDU, made from the request that it comes before.
type prelude struct {
	from func(frame []byte) []byte // nil from it: there is none
	bad  bool                      // the ESME must not accept it
}

// message writes the request.
func (o *outgoing) message(l *dialect, d *dialogue) (*smpp.Message, error) {
	codings := l.typed
	if o.coding != nil {
		codings = []coding{*o.coding}
	}
	value, text, err := typed(codings, o.text)
	if err != nil {
		return nil, err
	}
	m := l.message(d, o.act, value, text)
	if o.other && m.ID == pdu.DataSMID {
		m.ID = pdu.DeliverSMID
	} else if o.other {
		m.ID = pdu.DataSMID
	}
	if o.payload || m.ID == pdu.DataSMID {
		moveText(m)
	}
	m.TLVs = append(m.TLVs, o.tlvs...)
	return m, nil
}

// send sends the request on the dialogue's bind.
func (o *outgoing) send(d *dialogue, m *smpp.Message) error {
	p := d.peer
	times := 1
	if o.again {
		times = 2
	}
	for range times {
		frame, err := smpp.Append(nil, m)
		if err != nil {
			return err
		}
		for _, pre := range o.before {
			if frame := pre.from(frame); frame != nil {
				p.deliver(delivery{bad: pre.bad}, p.nextSequence(), frame)
			}
		}
		sequence := p.nextSequence()
		if o.repeat && p.lastRequest != 0 {
			if _, used := p.pending[p.lastRequest]; !used {
				sequence = p.lastRequest
			}
		}
		frame = append(frame, o.tail...)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)))
		if o.half {
			p.gate(o.rest)
		}
		p.deliver(delivery{dialogue: d, act: o.act}, sequence, frame)
	}
	for _, f := range o.after {
		f(p)
	}
	return nil
}
