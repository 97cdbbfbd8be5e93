package purchase

// CanMove is the table that a Ledger of the tests is strict about.
var CanMove = canMove
