// Package smpptest is the other side of package smpp: an SMSC with subscribers,
// for tests and for the simulator smscsim.
//
// # The life of one dialogue
//
//  1. Start listens. An ESME connects and binds; Config.Accounts says who may.
//     WaitBound tells when one is there.
//  2. Sim.Handset is a subscriber's phone. Handset.Dial makes a dialogue of it
//     and a session number, and sends a deliver_sm with ussd_service_op 0x01
//     and its_session_info on one of the binds.
//  3. The ESME acknowledges with deliver_sm_resp and answers with a submit_sm.
//     It is read as strictly as a gateway may: what the dialect doesn't allow
//     is refused with the status that says why, and so is an answer to a
//     dialogue that is over (0x4C1) or a second one before the subscriber had
//     a turn (0x40E). The dialogue is found by the ESME's system_id, the
//     number and the session number, on whichever bind the answer comes.
//  4. Dial returns the Screen, once the ESME has also acknowledged. The test
//     looks at it and goes on with Handset.Answer (0x12) or Hangup (0x81), until
//     a screen ends the dialogue.
//
// A Player takes handsets through a Script, a Phone lets somebody at a terminal
// hold one. Capture writes all connections as a pcap file.
//
// A Load is another SMSC, for speed: as many subscribers as one likes who walk
// through a menu again and again, and how long their screens take.
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
// is closed. All state of binds and dialogues is behind one mutex, which is
// never held while waiting. Close ends all of them and waits for that.
//
// A Load has one goroutine for each connection, which works off what it has
// read as one batch and writes what that causes without waiting, one that
// accepts, and one that keeps the pace if there is one to keep.
package smpptest
