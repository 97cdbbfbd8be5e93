// Package smpp is the ESME side of USSD over SMPP 3.4: it keeps a transceiver
// bind to an SMSC up, reads USSD dialogues from it, and answers them.
//
// # The life of one step
//
//  1. NewLink checks a Config; Link.Run connects, binds, and binds again after
//     each loss, until its context is done. Then it unbinds.
//  2. The SMSC sends a deliver_sm. A FrameReader cuts it out of the stream, and
//     Decode reads it into a Message without allocating. Whatever in it cannot
//     be read is answered with the status that SMPP has for it, counted, and
//     logged once per kind; only a command_length that cannot be true ends the
//     connection.
//  3. The Profile, a dialect as data, makes an Event of the Message: what
//     happened to which Dialogue, and what the subscriber typed. The
//     deliver_sm_resp is queued, and the Handler gets the event.
//  4. Whoever the Handler gave the event to calls Event.Reply, once the next
//     screen is known. The text is folded into the link's alphabet (Text), a
//     submit_sm, or in some dialects a data_sm, made of it, and queued.
//  5. The queue empties into the window: the replies that the SMSC has not
//     answered yet. A submit_sm_resp with status zero takes its reply out, and
//     that is the end of the step.
//
// A temporary refusal sends the reply again, as long as its deadline allows.
// Any other refusal, and an answer that does not come in time, gives the
// Handler an Event with Op Refused. If the connection is lost with replies in
// the window, nobody knows which of them were shown: they are counted, not
// repeated, and the dialogue goes on when its subscriber does. Replies of which
// the socket had taken nothing leave on the next bind.
//
// # Dialects
//
// Gateways differ in nearly everything that SMPP leaves open for USSD, so a
// Profile has a knob for each such thing: where the session is, what operations
// mean, how the end is said, which addresses a reply has, what data_coding
// stands for. ProfileByName gives one of the presets, LoadProfile reads an
// operator's file in the presets' format, and Set changes a single knob; Knobs
// lists them with what they mean, and Check finds those that contradict each
// other. Explain says a PDU in words, and what a Profile makes of it.
//
// # Goroutines
//
// A link has two, whatever its load. Run's goroutine connects, reads, keeps the
// time (the socket's read deadline is its alarm clock) and calls the Handler;
// it never waits for a write. A writer goroutine, one per connection, writes
// what the socket does not take at once; mostly it sleeps, because whoever has
// something to write and finds the socket idle writes it without waiting. PDUs
// that come up during a write, or while a batch of received PDUs is worked off,
// leave together in the next one.
//
// # What is bounded
//
// A PDU by MaxFrame; the replies in flight by Config.Window and those waiting
// by Config.Queue; the output for an SMSC that does not read by a fixed size,
// after which it is cut off; every wait by a time-out in Config.
//
// Command ids, statuses and their texts, TLV tags and the bind, unbind,
// enquire_link and generic_nack PDUs come from github.com/fiorix/go-smpp. The
// codec of submit_sm, deliver_sm, data_sm and their responses is this package's
// own, and so is everything above it.
package smpp
