package main

import (
	"fmt"
	"sync"
	"time"
)

// verdict is how a purchase is decided, or what has become of it. Each api has
// its own words for each.
type verdict uint8

const (
	delivered    verdict = iota + 1
	pending              // accepted; a query will tell
	failed               // accepted, and failed later; the float has its money back
	duplicate            // the reference was used before
	notFound             // query: no such reference
	badRequest           // not readable, a field is missing, unknown network
	badNumber            // not a Nigerian mobile number
	badAmount            // outside the limits, or not whole naira
	floatLow             // the seller's float cannot pay for it
	notExecuted          // out of service
	unauthorized         // wrong API key, or none
	tooSoon              // this number had a sale a moment ago
)

var verdicts = [...]struct{ name, sentence string }{
	0:            {"none", ""},
	delivered:    {"delivered", "Airtime delivered"},
	pending:      {"pending", "Transaction is being processed"},
	failed:       {"failed", "Transaction failed and was reversed"},
	duplicate:    {"duplicate", "Reference was used before"},
	notFound:     {"not_found", "No transaction with that reference"},
	badRequest:   {"bad_request", "Request is not valid"},
	badNumber:    {"bad_number", "Phone number is not valid"},
	badAmount:    {"bad_amount", "Amount must be whole naira from 50 to 50000"},
	floatLow:     {"float_low", "Float balance is too low"},
	notExecuted:  {"not_executed", "Service is unavailable, nothing was done"},
	unauthorized: {"unauthorized", "API key is not valid"},
	tooSoon:      {"too_soon", "This number was recharged a moment ago"},
}

// String is the verdict's name in the log.
func (v verdict) String() string { return verdicts[v].name }

// sentence is the verdict for people.
func (v verdict) sentence() string { return verdicts[v].sentence }

// transaction is a sale that a provider accepted.
type transaction struct {
	sale
	provider string
	serial   int64     // the provider's own number for it
	state    verdict   // delivered, pending or failed
	fate     verdict   // what the first query makes of it while it is pending
	count    int       // how often it was delivered
	at       time.Time // of the delivery
}

// id is the provider's own name for the transaction.
func (t transaction) id(prefix string) string { return fmt.Sprintf("%s%08d", prefix, t.serial) }

// book is what all providers did and are told to do. Its methods are safe from
// any goroutine, and each is one step that no other can come between.
type book struct {
	startFloat int64 // kobo, of each provider
	now        func() time.Time

	mu           sync.Mutex
	transactions []*transaction // in the order of acceptance
	byReference  map[[2]string]*transaction
	floats       map[string]int64 // by provider; absent = startFloat
	plans        map[string]plan  // by provider
	counts       map[string]counts
}

// counts is how many requests a provider had, of each kind.
type counts struct {
	Buy          int `json:"buy"`
	Query        int `json:"query"`
	Balance      int `json:"balance"`
	Unauthorized int `json:"unauthorized"` // wrong or missing key; not counted elsewhere
	Other        int `json:"other"`        // no such operation
}

func newBook(startFloat int64, now func() time.Time) *book {
	b := &book{startFloat: startFloat, now: now}
	b.reset()
	return b
}

// reset forgets everything: deliveries, faults and counts. Floats are full again.
func (b *book) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.transactions = nil
	b.byReference = make(map[[2]string]*transaction)
	b.floats = make(map[string]int64)
	b.plans = make(map[string]plan)
	b.counts = make(map[string]counts)
}

// sell decides one purchase at a provider and, if it is to be delivered, delivers
// it. The fault says what becomes of the answer; faultNone leaves it alone.
// A declined sale leaves no trace: its reference may be used again.
func (b *book) sell(provider string, s sale) (transaction, verdict, fault) {
	if v := s.validate(); v != 0 {
		return transaction{}, v, faultNone
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := [2]string{provider, s.reference}
	if t, used := b.byReference[key]; used {
		return *t, duplicate, faultNone
	}
	f := b.nextFault(provider, s.recipient)
	switch f {
	case faultDecline:
		return transaction{}, badNumber, f
	case faultFloat:
		return transaction{}, floatLow, f
	case faultMaintenance, faultHang, faultErrorBefore:
		return transaction{}, notExecuted, f
	}
	if b.float(provider) < s.cost() {
		return transaction{}, floatLow, faultNone
	}
	b.floats[provider] = b.float(provider) - s.cost()
	t := &transaction{sale: s, provider: provider, serial: int64(len(b.transactions) + 1)}
	b.transactions = append(b.transactions, t)
	b.byReference[key] = t
	switch f {
	case faultPendingDelivered:
		t.state, t.fate = pending, delivered
		return *t, pending, f
	case faultPendingFailed:
		t.state, t.fate = pending, failed
		return *t, pending, f
	}
	b.deliver(t)
	if f == faultDuplicate {
		return *t, duplicate, f
	}
	return *t, delivered, f
}

// find is a status query. It brings a pending transaction to its end first.
func (b *book) find(provider, reference string) (transaction, verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok := b.byReference[[2]string{provider, reference}]
	if !ok {
		return transaction{}, notFound
	}
	return b.end(t)
}

// findSerial is find by the provider's own number.
func (b *book) findSerial(provider string, serial int64) (transaction, verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if serial < 1 || serial > int64(len(b.transactions)) || b.transactions[serial-1].provider != provider {
		return transaction{}, notFound
	}
	return b.end(b.transactions[serial-1])
}

// end brings a transaction to its end, if it has none yet.
func (b *book) end(t *transaction) (transaction, verdict) {
	provider := t.provider
	if t.state == pending {
		if t.fate == delivered {
			b.deliver(t)
		} else {
			t.state = failed
			b.floats[provider] = b.float(provider) + t.cost()
		}
	}
	return *t, t.state
}

// recent reports whether the provider delivered to the recipient on the network, under another
// reference, less than d ago.
func (b *book) recent(provider string, s sale, d time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byReference[[2]string{provider, s.reference}] != nil {
		return false // a duplicate, which is another matter
	}
	for _, t := range b.transactions {
		if t.provider == provider && t.recipient == s.recipient && t.network == s.network && t.count > 0 && b.now().Sub(t.at) < d {
			return true
		}
	}
	return false
}

func (b *book) deliver(t *transaction) {
	t.state = delivered
	t.count++
	t.at = b.now()
}

// nextFault is the fault that the next purchase meets: the one that control set
// or, without one, the one that the recipient asks for.
func (b *book) nextFault(provider, recipient string) fault {
	next, ok := b.plans[provider]
	if !ok {
		return faultOf(recipient)
	}
	if next.left > 0 {
		if next.left--; next.left == 0 {
			delete(b.plans, provider)
		} else {
			b.plans[provider] = next
		}
	}
	return next.fault
}

// setFault makes the next count purchases at the provider meet f, or with
// count 0 all of them. faultNone leaves it to the recipients again.
func (b *book) setFault(provider string, f fault, count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f == faultNone || f == faultDown {
		delete(b.plans, provider)
		return
	}
	b.plans[provider] = plan{f, count}
}

// balance is the seller's float with the provider, in kobo.
func (b *book) balance(provider string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.float(provider)
}

func (b *book) float(provider string) int64 {
	if f, ok := b.floats[provider]; ok {
		return f
	}
	return b.startFloat
}

// countRequest counts one request of the kind.
func (b *book) countRequest(provider string, k kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.counts[provider]
	switch k {
	case kindBuy:
		c.Buy++
	case kindQuery:
		c.Query++
	case kindBalance:
		c.Balance++
	case kindUnauthorized:
		c.Unauthorized++
	default:
		c.Other++
	}
	b.counts[provider] = c
}

func (b *book) requests(provider string) counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts[provider]
}

// deliveries lists the delivered transactions for which keep says true, in the
// order of acceptance.
func (b *book) deliveries(keep func(*transaction) bool) []transaction {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []transaction
	for _, t := range b.transactions {
		if t.count > 0 && keep(t) {
			list = append(list, *t)
		}
	}
	return list
}

// doubled is how many purchases were delivered more than once, by whichever
// providers and under whichever hops of their reference.
func doubled(list []transaction) int {
	times := make(map[string]int)
	for _, t := range list {
		times[purchaseOf(t.reference)] += t.count
	}
	n := 0
	for _, count := range times {
		if count > 1 {
			n++
		}
	}
	return n
}
