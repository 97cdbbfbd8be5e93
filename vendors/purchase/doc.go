// Package purchase sells: it takes what a subscriber has confirmed to its end,
// delivered or failed, over the vendors of package vendors and the money of a
// Ledger, and through the death of any process at any instruction.
//
// The life of one purchase:
//
//  1. Desk.Buy checks the order against the network's limits and has the Ledger
//     hold the money: the purchase is recorded and the wallet debited in one
//     transaction. Order.Key names the confirmation; one that is repeated finds
//     the purchase that there is, in this process or in the ledger, even if it
//     would be refused now. The purchase's Ref is made before the ledger is
//     asked, so that a caller who is told ErrUnknown has it to Check later.
//     Another confirmation of the same amount for the same recipient, while one
//     is open, is an OpenError: the subscriber may have dialled again because no
//     answer came, and is to be asked. Order.Again is the answer.
//  2. From then on a goroutine of its own works on it. The caller waits as long
//     as it likes; nothing is tied to its context.
//  3. Each attempt is committed before a byte of it leaves, and goes to the next
//     vendor of the network's route under a reference of its own, which is made
//     once, as the vendor wants it, and kept with the attempt. A vendor gets at
//     most one attempt of a purchase. Those that are known to fail (breaker open,
//     float exhausted, switched off) or do not sell this are passed over, and the
//     log says why. The order by weight is drawn by Order.Key: it is the same for
//     whoever goes on with the purchase.
//  4. What the vendor answers decides. Delivered captures the money. What was
//     certainly not done (declined, not sent, unavailable) goes on to the next
//     vendor, unless the request itself is at fault, there is no other, or the
//     purchase is older than Config.MaxHeld: then the money is released. All
//     else is ambiguous, and the purchase is pending: no other vendor, no
//     release and no new reference until the vendor has been queried.
//  5. Desk.Run queries pending purchases when Endpoint.QueryPlan says; Desk.Check
//     does at once. After Config.MaxPending, or when the vendor does not answer
//     for older tries, the purchase needs review: a person decides, and nothing
//     is guessed. A vendor that says "failed" has the money released and not
//     another vendor tried, since the subscriber has long seen the processing
//     screen and may have bought elsewhere. "Not found" counts only if the
//     vendor's word on it is final, a grace after the attempt ended or must have,
//     and as many times in a row, in its turn by the plan, as the vendor is
//     configured for; then the attempt never arrived, and the purchase goes on as
//     in step 4.
//  6. What was ambiguous is asked about once more after the decision, and so is
//     what an operator or a call-back asks for. A truth that is another than was
//     decided is recorded beside the decision (a delivery after the release, a
//     second delivery, a reversal after the capture) and raised; the postings of
//     the decision stay.
//
// Two clocks run for each purchase: 30 seconds from a known failure to the
// money's return, and 24 hours from the first doubt to the decision. Stats has
// what they took and who missed them.
//
// Every step is one move of the table in purchase.go and one transaction of the
// Ledger, which compares the purchase's version and owner and sets the new
// state. A move that fails is tried again for a while; whether a failed call was
// committed all the same is seen from the version. Who loses a comparison reads
// the purchase again and steps aside.
//
// A desk owns its purchases by a lease in the ledger, which it renews. Desk.Run
// takes over what belongs to a desk whose lease has run out, and what its own
// desk has dropped in a panic or a trouble of the ledger. It goes by the
// recorded state alone: held means that nothing was sent, so it goes on or, too
// old, releases; sending means that the answer is lost, so it is pending and
// queried. No vend sends anything after its attempt's deadline, from which the
// grace of "not found" is counted. No call outlives the lease that covers it, and
// only the owner of a purchase, open or decided, calls vendors about it: so no two
// calls with one reference are ever under way together, from whatever process.
//
// Goroutines: one per purchase that is worked on, bounded by Config.MaxInFlight
// for Buy and Check and by Config.MaxResumed for Run, and ended by Drain. In a
// desk at most one works on a purchase, so that there is no query beside a vend.
// Buy and Check wait for their context, the ledger and that goroutine, and for
// nothing else.
package purchase
