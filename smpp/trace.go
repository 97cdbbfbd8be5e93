package smpp

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// Traced is one PDU as it went over the wire, either way. The frame is the
// receiver's own; passwords in it are overwritten with asterisks, and what
// subscribers typed with x, unless the trace was asked for that.
type Traced struct {
	Time   time.Time
	Bind   string // BindStatus.Name
	Local  string // our address, host:port
	Remote string // the SMSC's
	Out    bool   // sent by us
	Frame  []byte
	MSISDN string // of the dialogue, as far as the PDU tells or is an answer to one that does; else empty
	Lost   uint64 // how many PDUs before this one the receiver was too slow for
}

// TraceOptions choose what a trace shows.
type TraceOptions struct {
	MSISDN string // only PDUs of this subscriber, and the answers to them; empty: everything
	Inputs bool   // show what subscribers type
	Buffer int    // PDUs that may wait for the receiver; 1,000
}

// Trace begins to copy the link's PDUs into the channel. A receiver that is too
// slow loses PDUs, and is told how many; the link never waits. stop ends the
// trace and closes the channel; it may be called more than once. A PDU of ours
// is traced when it is put into a write, which is a moment before it is sent.
func (l *Link) Trace(o TraceOptions) (traced <-chan Traced, stop func()) {
	if o.Buffer <= 0 {
		o.Buffer = 1000
	}
	t := &trace{options: o, out: make(chan Traced, o.Buffer)}
	l.traces.add(t)
	return t.out, func() { l.traces.remove(t) }
}

// traces are the traces of a link. Most of the time there are none, and that is
// all that most PDUs look at.
type traces struct {
	count atomic.Int32
	mu    sync.Mutex
	list  []*trace
}

type trace struct {
	options TraceOptions
	out     chan Traced
	lost    uint64 // since the last PDU that was not; guarded by traces.mu
}

func (ts *traces) add(t *trace) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.list = append(ts.list, t)
	ts.count.Add(1)
}

func (ts *traces) remove(t *trace) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if i := slices.Index(ts.list, t); i >= 0 {
		ts.list = slices.Delete(ts.list, i, i+1)
		ts.count.Add(-1)
		close(t.out)
	}
}

// tap shows a PDU to whoever traces the link. msisdn is whose it is, empty if
// nobody's or unknown. It may be called with Link.mu or without.
func (l *Link) tap(c *conn, out bool, frame []byte, msisdn string) {
	if l.traces.count.Load() != 0 {
		l.traces.show(c, out, frame, msisdn, &l.counts.traceLost)
	}
}

// tapRead shows a message that was received. e is its event, nil if it has none:
// then it is still somebody's.
func (l *Link) tapRead(c *conn, frame []byte, e *Event) (msisdn string) {
	switch {
	case e != nil:
		msisdn = e.Dialogue.MSISDN
	case l.traces.count.Load() != 0:
		msisdn = DialogueOf(frame, l.profile).MSISDN
	}
	l.tap(c, false, frame, msisdn)
	return msisdn
}

func (ts *traces) show(c *conn, out bool, frame []byte, msisdn string, lost *atomic.Uint64) {
	p := Traced{
		Time: time.Now(), Bind: c.bind.name, Local: c.local, Remote: c.remote, Out: out, MSISDN: msisdn,
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.list {
		if t.options.MSISDN != "" && t.options.MSISDN != msisdn {
			continue
		}
		if len(t.out) == cap(t.out) { // nobody else sends
			t.lost++
			lost.Add(1)
			continue
		}
		p.Frame = masked(frame, !t.options.Inputs, out)
		p.Lost, t.lost = t.lost, 0
		t.out <- p
	}
}

// masked returns a copy of a PDU with asterisks in place of a password, and of
// what a subscriber typed if inputs is set: the text of a message to us, and the
// part of a dialled string that may stand behind the service's code in its
// address, which our replies repeat.
func masked(frame []byte, inputs, out bool) []byte {
	frame = bytes.Clone(frame)
	switch ParseHeader(frame).ID {
	case pdu.BindTransceiverID, pdu.BindTransmitterID, pdu.BindReceiverID, pdu.OutbindID:
		// system_id and password (SMPP 3.4 §4.1.1, §4.1.7)
		_, rest, _ := cutString(frame[HeaderLen:])
		password, _, ok := cutString(rest)
		if !ok {
			password = frame[HeaderLen:]
		}
		stars(password)
	case pdu.DeliverSMID, pdu.DataSMID, pdu.SubmitSMID:
		if !inputs {
			break
		}
		var m Message
		if Decode(frame, &m) != nil || m.Truncated {
			stars(frame[HeaderLen:]) // the text may be anywhere
			break
		}
		if out {
			hideDialled(m.Source.Digits)
			break
		}
		hideDialled(m.Dest.Digits)
		hideText(m.ShortMessage)
		for v := range m.TLVs.All() {
			if v.Tag == tagMessagePayload {
				hideText(v.Value)
			}
		}
	}
	return frame
}

// hideText overwrites a text, but for the mark that says that it was dialled: an
// asterisk in its place would say so of every text.
func hideText(b []byte) {
	for i, octet := range b {
		if i > 0 || octet != '*' && octet != '#' {
			b[i] = 'x'
		}
	}
}

// hideDialled overwrites what is behind the second mark of a service's address,
// but for the marks.
func hideDialled(b []byte) {
	if len(b) == 0 {
		return
	}
	at := bytes.IndexAny(b[1:], "*#")
	if at < 0 {
		return
	}
	for i := at + 2; i < len(b); i++ {
		if b[i] != '*' && b[i] != '#' {
			b[i] = 'x'
		}
	}
}

func stars(b []byte) {
	for i := range b {
		b[i] = '*'
	}
}
