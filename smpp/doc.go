// Package smpp is the ESME side of USSD over SMPP 3.4: it keeps binds to an SMSC
// up, reads USSD dialogues from them, and answers them.
//
// # The life of one step
//
//  1. NewLink checks a Config; Link.Run connects, binds, and binds again after
//     each loss, until its context is done. Then it unbinds. A link is one SMSC
//     with any number of binds, transceivers or pairs, each with one connection
//     at a time, to the first of its addresses that takes it.
//  2. The SMSC sends a deliver_sm. A FrameReader cuts it out of the stream, and
//     Decode reads it into a Message without allocating. Whatever in it cannot
//     be read is answered with the status that SMPP has for it, counted, and
//     logged once per kind; only a command_length that cannot be true ends the
//     connection. A begin for which there is no room is refused here: see
//     Admitter and Link.SetAdmin.
//  3. The Profile, a dialect as data, makes an Event of the Message: what
//     happened to which Dialogue, and what the subscriber typed. The
//     deliver_sm_resp is queued, and the Handler gets the event.
//  4. Whoever the Handler gave the event to calls Event.Reply, once the next
//     screen is known. The text is folded into the link's alphabet (Text), a
//     submit_sm, or in some dialects a data_sm, made of it, and queued on the
//     bind that the event came on, or on another one that Profile.Affinity
//     allows. If there is none, it waits for one.
//  5. The queue empties into the window: the replies that the SMSC has not
//     answered yet. A submit_sm_resp with status zero takes its reply out, and
//     that is the end of the step. So does the subscriber's answer, if the SMSC
//     sends its own only after that.
//
// A temporary refusal sends the reply again, as long as its deadline allows,
// and makes the bind slow down: its window and its rate are halved, and grow
// back while the SMSC does not complain. Any other refusal, and an answer that
// does not come in time, gives the Handler an Event with Op Refused. If the
// connection is lost with replies in the window, nobody knows which of them were
// shown: they are counted, not repeated, and the dialogue goes on when its
// subscriber does. Replies of which the socket had taken nothing leave on
// another bind, or the next.
//
// Link.Open begins a dialogue from our side.
//
// Link.Send sends a plain short message, which is no part of a dialogue but takes
// the same way, behind the replies; a ReceiptTaker hears later what became of it.
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
// A bind has two, whatever its load. One connects, reads, keeps the time (the
// socket's read deadline is its alarm clock) and calls the Handler; it never
// waits for a write. The other, one per connection, writes what the socket does
// not take at once; mostly it sleeps, because whoever has something to write and
// finds the socket idle writes it without waiting. PDUs that come up during a
// write, or while a batch of received PDUs is worked off, leave together in the
// next one. TLS changes nothing of that: its records are written like PDUs.
//
// Run's goroutine waits for those of the binds, and keeps the time of the replies
// that no bind can take. One mutex of the link guards what its binds share; it is
// never held for a read, a write or a call of the Handler.
//
// # What is bounded
//
// A PDU by MaxFrame; the connections by the binds; the replies in flight by
// Config.Window and those waiting by Config.Queue, the last quarter of which is
// for dialogues that have begun; the output for an SMSC that does not read by a
// fixed size, after which it is cut off; the subscribers that are known by their
// dialogue's id alone, in number and age; the PDUs that wait for the reader of a
// trace; every wait by a time-out in Config.
//
// Command ids, statuses and their texts, TLV tags and the bind, unbind,
// enquire_link and generic_nack PDUs come from github.com/fiorix/go-smpp. The
// codec of submit_sm, deliver_sm, data_sm and their responses is this package's
// own, and so is everything above it.
package smpp
