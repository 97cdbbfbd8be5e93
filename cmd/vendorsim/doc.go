// Vendorsim imitates the vending APIs of four networks, of two aggregators and of
// real providers as far as their documentation goes, so that everything that
// sells airtime can be tried, and broken, without a kobo.
//
// The life of one purchase through it:
//
//  1. A request arrives at a provider's door (door.go). Each provider has its own
//     address, so that one that is down really refuses the connection.
//  2. The provider (provider.go) checks the API key and the content type, and
//     reads the body, which is bounded.
//  3. The provider's api (recharge.go, code.go, vtpass.go, …) reads a sale out of
//     the request, in its own spelling of numbers and amounts.
//  4. The book (book.go) decides it, in one critical section: is the sale valid,
//     is the reference new, is a fault due (fault.go), can the float pay? If it
//     is to be delivered, it is delivered and counted there and then.
//  5. The api puts the verdict into its own words and status codes.
//  6. The provider sends that answer, or what the fault makes of it: late, never,
//     a reset connection, a 500, a page of HTML.
//
// The control API (control.go) sets faults and shows the book: what was
// delivered for each reference, and whether any purchase was delivered twice. It
// also has a provider report a sale by itself (callback.go).
//
// Each open door owns one goroutine that accepts and one per connection; a door
// that shuts ends them all, hanging requests included, before it returns. The
// book has the only lock that requests share.
package main
