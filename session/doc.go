// Package session keeps the live USSD sessions: who is where in which menu.
//
// The life of one session:
//
//  1. A link hands the engine a Begin event (Engine.Handle), after it has asked
//     whether there is room (Engine.Admit). The engine finds the service that the
//     dialled string belongs to, ends the session that the same subscriber may
//     still have, and takes the service's first step. Or we begin
//     (Engine.Push): then the id of the dialogue comes with its first event.
//  2. Every step is menus.Service.Step: pure, and done in the caller's
//     goroutine under the lock of the subscriber's shard. It gives either a
//     screen, which is queued on the link at once through the event's Replier,
//     or an effect (balance, history, purchase, purchase_again, status).
//  3. An effect runs in a goroutine of its own, inside the step's budget, and
//     its result is the next input of the menu. A session whose effect runs is
//     busy: USSD is strictly alternating, so an input that arrives before the
//     subscriber was shown a screen can only be a repetition, and is dropped.
//     An answer that is delivered again behind its screen would be taken for
//     the answer to that one; the gateway's counter, where it has one, tells it.
//     A begin that comes again at once is no second session, whatever its id.
//  4. Everything is written behind. A step only marks its session; the writer
//     copies the marked ones to the Store, a second after the step at the latest
//     while the store keeps up, and what moved several times meanwhile is one
//     row. Then come the steps themselves, unless Config.NoStepLog. Money is
//     never written behind; it has its own transactions behind the Desk.
//  5. The session ends with one Reason of a closed vocabulary. Its key is
//     remembered for a while (a tombstone), so that a late event of a finished
//     dialogue is recognised.
//  6. An input whose session is not in memory is looked for in the store: after
//     a restart, or when the dialogue moved here from another process, the
//     session goes on where it was. An effect that was cut off is performed
//     again under the same idempotency key. An event that tells its id alone is
//     looked for in memory and in the store.
//     Whoever never comes back leaves a session open in the store: the writer
//     ends it when it has been still for longer than any session lives.
//
// What is lost: by a crash, where subscribers got to in the last second, and the
// steps that waited. While the store is away, steps beyond Config.MaxPending, the
// oldest first, and ended sessions beyond it. Each loss is counted.
//
// Goroutines: Handle never blocks and may be called from any number of link
// goroutines. Run owns the sweep of idle sessions, and a goroutine of its own
// writes behind, so that a store that hangs stops neither. Each effect and each
// look into the store has one goroutine, bounded by Config.MaxEffects and waited
// for by Drain; so has each session whose time is over, a quarter as many.
package session
