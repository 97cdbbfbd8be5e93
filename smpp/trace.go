package smpp

import "time"

// Traced is one PDU as it went over the wire, either way. The frame is the
// receiver's own; passwords in it are overwritten with asterisks, and so is
// what subscribers typed unless the trace was asked for that.
type Traced struct {
	Time   time.Time
	Bind   string // BindStatus.Name
	Local  string // our address, host:port
	Remote string // the SMSC's
	Out    bool   // sent by us
	Frame  []byte
	MSISDN string // of the dialogue, as far as the PDU tells; else empty
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
// trace and closes the channel.
func (l *Link) Trace(o TraceOptions) (traced <-chan Traced, stop func()) { panic(o) }
