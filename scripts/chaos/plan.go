package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"time"
)

// plan is all that is decided before a run begins.
type plan struct {
	subscribers []subscriber
	actors      [][]strike // what each saboteur does, in order
	orders      int        // of all subscribers
}

// subscriber is one who buys.
type subscriber struct {
	msisdn string
	naira  int // in the wallet at the start
	orders []order
}

// order is one dialogue.
type order struct {
	pause     time.Duration // since the dialogue before
	think     time.Duration // before each input
	network   string        // key of the menu
	recipient string        // "1" is the own number
	amount    string        // in naira
	manner    manner
	patience  time.Duration // from the confirmation until those leave who don't wait for its answer
	fault     string        // of the SMSC, "" = none
	confirm   bool          // it strikes the confirmation, not the dialling
	insists   bool          // buys again what is still open
}

// manner is how a subscriber ends a dialogue.
type manner string

const (
	waits    manner = "waits"     // sees it through
	hangsUp  manner = "hangs up"  // after the confirmation
	vanishes manner = "vanishes"  // after the confirmation, as when the network loses him
	redials  manner = "redials"   // after the confirmation, and orders the same once more
	wavers   manner = "wavers"    // hangs up instead of confirming
	cancels  manner = "cancels"   // says no instead of confirming
	asksOnly manner = "asks only" // for the balance
)

// strike is one thing that a saboteur does.
type strike struct {
	at     int           // when so many orders have begun
	after  time.Duration // and so much later
	what   string
	target string
	n      int // how many orders a misdeed lasts, or what the operator pays in, in naira
}

// The source of every actor is its own, so that what one does leaves the others'
// decisions as they are.
func source(seed uint64, actor uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, actor)) }

// pick gives one of a list.
func pick[T any](dice *rand.Rand, list []T) T { return list[dice.IntN(len(list))] }

// upTo gives a duration below d.
func upTo(dice *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(dice.Int64N(int64(d)))
}

// scale is how large a run is.
type scale struct {
	subscribers int
	instances   int           // of ussdd
	length      time.Duration // of the subscribers' lives if nothing is in their way
	server      bool          // there is a database server to kill
}

// every is the time from an order of a subscriber to the next.
const every = 4 * time.Second

// orders is how many each subscriber makes.
func (s scale) orders() int { return max(2, int(s.length/every)) }

// newPlan decides everything.
func newPlan(seed uint64, size scale) plan {
	var p plan
	for i := range size.subscribers {
		dice := source(seed, uint64(i))
		s := subscriber{msisdn: fmt.Sprintf("2348031%06d", i), naira: 200 + 100*dice.IntN(30)}
		for range size.orders() {
			s.orders = append(s.orders, newOrder(dice, size.length/time.Duration(size.orders())))
		}
		p.subscribers = append(p.subscribers, s)
	}
	p.orders = size.subscribers * size.orders()
	for i, of := range saboteurs {
		if of.server && !size.server {
			continue
		}
		dice := source(seed, uint64(1<<32+i))
		count := max(of.least, int(size.length/of.every))
		strikes := make([]strike, count)
		for n := range strikes {
			// Evenly over the run, so that each has orders around it.
			strikes[n] = strike{at: max(1, (n*p.orders+dice.IntN(p.orders))/count*9/10), after: upTo(dice, 300*time.Millisecond)}
			of.decide(dice, &strikes[n], size)
		}
		p.actors = append(p.actors, strikes)
	}
	return p
}

func newOrder(dice *rand.Rand, every time.Duration) order {
	o := order{
		pause:     every/2 + upTo(dice, every),
		think:     upTo(dice, 100*time.Millisecond),
		network:   pick(dice, []string{"1", "2", "3", "4"}),
		amount:    pick(dice, []string{"50", "100", "100", "100", "200", "500", "77", "125"}),
		recipient: "1",
		manner:    pick(dice, []manner{waits, waits, waits, waits, waits, hangsUp, hangsUp, vanishes, redials, redials, wavers, cancels, asksOnly}),
		patience:  upTo(dice, 40*time.Millisecond),
		confirm:   dice.IntN(4) > 0,
		insists:   dice.IntN(2) == 0,
	}
	if dice.IntN(3) > 0 {
		o.recipient = fmt.Sprintf("0806%07d", dice.IntN(900)*10_000+dice.IntN(9000))
	}
	// The last four digits ask vendorsim for a fault.
	if dice.IntN(4) == 0 {
		o.recipient = fmt.Sprintf("0806%03d%04d", dice.IntN(900), 9001+dice.IntN(13))
	}
	if dice.IntN(3) == 0 {
		o.fault = pick(dice, []string{"duplicate-input", "duplicate-input", "duplicate-input", "begin-twice", "begin-over", "equal-sequence",
			"abort-before-reply", "withhold-resp", "delay-resp:50ms", "refuse:0x4C1", "half-pdu:10ms", "silent-death", "late-input", "late-abort"})
	}
	return o
}

// What saboteurs do.
const (
	killOne  = "ussdd killed"
	killAll  = "all ussdd killed"
	killDB   = "mariadbd killed"
	cutLinks = "links cut"
	unbind   = "links unbound"
	reload   = "reload"
	payIn    = "paid in twice"
	misdeed  = "vendor " // and the fault
)

// saboteurs are the actors beside the subscribers.
var saboteurs = []struct {
	every  time.Duration // one strike in so long
	least  int
	server bool // only where there is a database server
	decide func(dice *rand.Rand, s *strike, size scale)
}{
	{every: 1500 * time.Millisecond, least: 3, decide: func(dice *rand.Rand, s *strike, size scale) {
		s.what, s.target = killOne, fmt.Sprint(dice.IntN(size.instances))
		if size.instances > 1 && dice.IntN(4) == 0 {
			s.what, s.target = killAll, ""
		}
	}},
	{every: 6 * time.Second, least: 1, server: true, decide: func(_ *rand.Rand, s *strike, _ scale) { s.what = killDB }},
	{every: 4 * time.Second, least: 1, decide: func(dice *rand.Rand, s *strike, _ scale) { s.what = pick(dice, []string{cutLinks, unbind}) }},
	{every: 3 * time.Second, least: 2, decide: func(dice *rand.Rand, s *strike, size scale) {
		s.what, s.target = reload, fmt.Sprint(dice.IntN(size.instances))
		if dice.IntN(2) == 0 {
			s.what, s.target, s.n = payIn, fmt.Sprint(dice.IntN(size.subscribers)), 100*(1+dice.IntN(5))
		}
	}},
	{every: time.Second, least: 6, decide: func(dice *rand.Rand, s *strike, size scale) {
		s.what = misdeed + pick(dice, []string{"down", "down", "hang", "slow", "reset", "garbage", "duplicate", "error_after", "error_before",
			"pending_delivered", "pending_failed", "maintenance", "float", "decline", "twice", "twice"})
		s.target = pick(dice, []string{"mtn", "airtel", "glo", "9mobile", "quickvend", "topline"})
		s.n = 1 + dice.IntN(1+size.subscribers/2)
	}},
}

// digest is the same for the same plans.
func (p plan) digest() string { return fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, p)))[:16] }
