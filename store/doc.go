// Package store keeps what must survive: wallets and their ledger, purchases
// and their attempts, sessions and their steps, and the services seen, in
// SQLite (embedded, the default) or in MySQL and MariaDB. Both engines run the
// same queries; engine.go holds all that differs.
//
// # The life of N100
//
//  1. [Open] finds the database and [DB.CheckSchema] the schema that
//     [DB.Migrate] made.
//  2. [DB.OpenWallets] gives subscribers an empty wallet and [DB.Credit] puts
//     10,000 kobo into it: one transaction writes the journal entry "credit",
//     two postings (funding:operator −10000, wallet:234… +10000) and the
//     wallet's balance. The same source and reference again changes nothing.
//  3. [DB.Hold] records a purchase and reserves its amount (wallet −, hold +)
//     if the balance suffices. The same idempotency key again returns the
//     purchase that is there. Another order of the same for the same recipient,
//     while that one is open, is [ErrOpen] until its payer has been asked.
//  4. [DB.Attempt] records that a vendor is about to be asked; it has committed
//     before the first byte leaves.
//  5. [DB.Record] records the answer: back to held for the next vendor, pending
//     if nobody can tell what happened, needs_review if nobody could for too
//     long, delivered with the capture (hold −10000, float:VENDOR +9700,
//     revenue:NETWORK +300), or failed with the release (hold −, wallet +).
//     [DB.Release] fails a purchase that has no attempt open. The decision and
//     the message that tells the subscriber are one transaction.
//  6. What came out after the decision is added by [DB.Turn], and what a person
//     decides by [DB.Resolve] and [DB.Refund]; the books keep what they had.
//  7. [DB.Renew] keeps an owner's lease; [DB.Due] hands out unfinished
//     purchases whose time has come and those whose owner's lease ran out. Each
//     change of a purchase compares and sets its version, owner and state, so
//     of two instances that hold the same purchase one gets [ErrConflict].
//  8. [DB.CheckLedger] proves it all from the rows, and [DB.CheckSample] a few
//     rows at a time.
//
// # Ledger
//
// Every posting is signed kobo, credits positive; the postings of one entry,
// and so of the whole ledger, sum to zero. Entries are unique by kind and
// reference: a purchase has one hold and then one capture or one release.
// Entries and postings are only ever added, which triggers see to; what was
// wrong is undone by an entry that names it in reverses_id.
//
//	wallet:MSISDN             what the subscriber can spend
//	hold:MSISDN               what unfinished purchases reserve
//	float:VENDOR              our prepaid money there: what it took, less what filled it
//	revenue:NETWORK           commission
//	funding:SOURCE            what came in and is to be cleared, negative
//	bank:NAME, equity:NAME    where floats are filled from
//	suspense:deposits         what came in for nobody we know
//	suspense:disputed_vends   what vendors may have taken for purchases refunded in doubt, negative
//	loss:late_delivery        what refunded purchases cost that were delivered, negative
//	loss:double_delivery      what second deliveries cost, negative
//
// wallets.balance and wallets.held are the sums of the first two, changed in the
// same transaction by a conditional update that never lets them fall below
// zero. The other accounts have no balance row that purchases would queue for:
// they are summed when somebody asks.
//
// The rate of commission is that of the network and the vendor, or else of the
// network, at the time of the capture, in basis points. The commission is
// rounded once, down to whole kobo, and kept with its rate; what the vendor says
// it took is kept beside it, and [PurchaseFilter] finds where the two differ.
//
// # Limits
//
// [DB.Hold] compares a purchase with [Limits] after it has locked the payer's
// wallet, and for the recipient's sum a row of subject_locks, so that programs
// that share a database cannot each let pass what is too much together.
//
// # Transactions
//
// Transactions are short, hold no lock while anything outside the database is
// awaited, and lock in one order: payment, purchase, attempt, wallet, recipient
// (a new purchase, which nobody else can hold, comes after these). Payments and
// recipients share the rows of subject_locks, a bounded number for each of the
// two. One that ends in a
// deadlock, a lock wait or a busy database is retried whole, a bounded number
// of times with a jittered pause, and so is one whose connection broke before
// its commit was sent. What became of one whose connection broke at the commit
// nobody knows: it is an error, and calling the method again is safe.
//
// SQLite runs in WAL mode with synchronous=FULL; a process writes through one
// connection, each transaction with BEGIN IMMEDIATE, and reads through others;
// each keeps the statements that it has prepared.
// MySQL runs read committed on InnoDB tables in utf8mb4 with binary collation.
//
// On a Galera cluster two nodes may change the same row, and the second to
// commit gets a deadlock. Nothing here relies on more than that: what must not
// be done twice changes one row (a wallet, a purchase's version, one of
// subject_locks) or inserts one key. All programs name the hosts in the same
// order, so that they write at one node and seldom meet; connections live for
// five minutes and then return to the first host. Each waits, before it reads,
// for what other nodes have committed (wsrep_sync_wait).
//
// Sessions and steps are written behind by [DB.SaveSessions], which may be
// given the same records twice and in any order. Money never is.
//
// Columns named …_at, valid_from and lease_until are unix milliseconds, 0
// meaning not yet; money is kobo. Strings from the network are cut to their
// column's width before they are written, so that an odd answer cannot fail a
// transaction.
package store
