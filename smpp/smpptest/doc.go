// Package smpptest is the other side of package smpp: an SMSC with subscribers,
// for tests and for the simulator smscsim.
//
// # The life of one dialogue
//
//  1. Start listens. An ESME connects and binds; Config.Accounts says who may.
//     WaitBound tells when one is there.
//  2. Sim.Handset is a subscriber's phone. Handset.Dial makes a dialogue of it
//     and a number for that, and sends a request (deliver_sm in most dialects) on
//     one of the binds that receive.
//  3. The ESME acknowledges it and answers with a reply (submit_sm), on any bind
//     that transmits. It is read as strictly as a gateway may: what the dialect
//     doesn't allow is refused with the status that says why, and so is an
//     answer to a dialogue that is over (0x4C1) or a second one before the
//     subscriber had a turn (0x40E).
//  4. Dial returns the Screen, once the ESME has also acknowledged. The test
//     looks at it and goes on with Handset.Answer, Hangup or Abort, until a
//     screen ends the dialogue.
//
// In some dialects an ESME can open a dialogue by a reply that belongs to none:
// Handset.Next returns its screen.
//
// A plain submit_sm is a short message: Sim.SMS and Handset.NextSMS return it, and
// its sender gets a receipt, again and again until it acknowledges it.
//
// A Player takes handsets through a Script, a Phone lets somebody at a terminal
// hold one. Capture writes all connections as a pcap file.
//
// A Load is another SMSC, for speed: as many subscribers as one likes who walk
// through a menu again and again, and how long their screens take.
//
// # Dialects, faults, complaints
//
// Config.Dialect is one of Dialects: what a gateway says and allows, a row of
// the table in dialects.go. A Fault departs from that: for the whole run
// (Config.Faults, Sim.Arm), once for a handset (Handset.Arm), or at random by a
// seed (Config.Chaos). Faults are rows of the table in faults.go, each with the
// occasion at which it strikes. Sim.Complaints returns what an ESME has done that
// no fault excuses.
//
// # Two readings of each message
//
// Bind, unbind, enquire_link and generic_nack PDUs are go-smpp's. Messages are
// read and written with smpp's codec, and every one, in both directions, is also
// read with go-smpp's and compared field by field; Sim.Mismatches returns what
// differs. Nothing else is shared with package smpp: the dialect, the alphabets
// and the state of dialogues are this package's own reading of the
// specifications, so that a bug has to be made twice to stay unseen.
//
// # Goroutines
//
// One accepts. Each connection has one that reads and carries out what it read,
// and one that writes what has been queued, as much as there is at once. A
// connection that takes nothing for ten seconds, or has four megabytes waiting,
// is closed. What is to be sent later has one more until then. All state of
// binds, dialogues and faults is behind one mutex, which is never held while
// waiting. Close ends all of them and waits for that.
//
// A Load has one goroutine for each connection, which works off what it has
// read as one batch and writes what that causes without waiting, one that
// accepts, and one that keeps the pace if there is one to keep.
package smpptest
