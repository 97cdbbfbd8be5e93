package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"ussdd/menus"
	"ussdd/smpp"
	"ussdd/store"
)

// carrier is an SMSC that messages to subscribers leave by.
type carrier struct {
	name string
	from string // the sender; "" = the service code that was dialled
	link interface {
		Send(ctx context.Context, m smpp.SMS) (id string, err error)
	}
	up func() bool // whether a message could leave now
}

// messageStore is the outbox in the store.
type messageStore interface {
	DueMessages(ctx context.Context, now, again time.Time, limit int) ([]store.Message, error)
	MessageSent(ctx context.Context, id int64, smsc, messageID string) error
	MessagesFailed(ctx context.Context, failures ...store.Failure) error
	MessageReceipt(ctx context.Context, r store.Receipt) error
}

const (
	outboxPoll    = time.Second
	outboxAtOnce  = 64               // messages being sent by one SMSC, and claimed
	outboxClaims  = 16               // that are worth a claim
	outboxTimeout = 10 * time.Second // of one
	outboxRecord  = 15 * time.Second // for which the store is asked to record what became of it
	outboxClaim   = 30 * time.Second // after which a message of which nothing was recorded is sent again: more than the two
	outboxFirst   = 5 * time.Second  // pause after the first failure; doubles
	outboxLongest = 10 * time.Minute // up to this
	outboxFor     = 24 * time.Hour   // then a message is given up
	outboxRefused = 3                // tries of a message that its SMSC refuses for good

	receiptsWaiting = 1000             // receipts not recorded yet; more are for the SMSC to deliver again
	receiptFor      = 10 * time.Second // for which the message of a receipt is looked for: its sending may not be recorded yet
	receiptRetry    = time.Minute      // for which the store is asked to record a receipt
)

// outbox sends the messages that the store has for subscribers, and records their
// receipts.
//
// Each message is sent at least once, by one of all instances: it is claimed in
// the store before it is sent, and recorded when the SMSC has answered. A message
// whose sender died in between, or of which the SMSC did not answer, may have
// been sent or not. It stays claimed for half a minute; if by then a receipt has
// named it by its reference, it counts as sent, and else it is sent again, with
// the same text, transaction id and reference.
//
// Each SMSC has a share of its own: messages of one that is not bound, or answers
// too slowly, are put off, and those of the others go on.
type outbox struct {
	store    messageStore
	carriers []carrier                   // at least one; messages of sessions of others leave by the first
	name     func(network string) string // of a network, as subscribers know it
	code     func() string               // service code, where a session's is not known
	now      func() time.Time
	log      *slog.Logger

	sending  sync.WaitGroup
	mu       sync.Mutex
	busy     map[string]int // messages being sent, by SMSC
	freed    chan struct{}  // has an element if one of them ended
	putOff   rate.Sometimes // a log line about messages that wait
	waiting  atomic.Int64   // receipts taken and not recorded
	away     atomic.Bool    // the store did not take the last one that it was given
	receipts chan *smpp.Receipt
	drain    chan struct{} // closed by Drain
	idle     chan struct{} // closed when nothing is sent any more
}

// newOutbox returns an outbox that does not run yet.
func newOutbox(store messageStore, carriers []carrier, name func(network string) string, code func() string, now func() time.Time, log *slog.Logger) *outbox {
	return &outbox{store: store, carriers: carriers, name: name, code: code, now: now, log: log,
		busy: make(map[string]int), freed: make(chan struct{}, 1), putOff: rate.Sometimes{Interval: time.Minute},
		receipts: make(chan *smpp.Receipt, receiptsWaiting), drain: make(chan struct{}), idle: make(chan struct{})}
}

// Run sends, until Drain, and records receipts, until ctx is done; those that it
// has by then are recorded still.
func (o *outbox) Run(ctx context.Context) error {
	var recorder sync.WaitGroup
	recorder.Go(func() { o.record(ctx) })
	o.sendAll(ctx)
	recorder.Wait()
	return nil
}

// Drain sends what is due now, and ends the sending; the error is ctx's if that
// took longer. No more receipts are taken; those that were are recorded until Run
// ends. It is called once.
func (o *outbox) Drain(ctx context.Context) error {
	close(o.drain)
	select {
	case <-o.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("messages: %w", ctx.Err())
	}
}

// sendAll sends until ctx is done, or until all has been sent that was due when
// Drain was called.
func (o *outbox) sendAll(ctx context.Context) {
	defer close(o.idle)
	defer o.sending.Wait()
	tick := time.NewTicker(outboxPoll)
	defer tick.Stop()
	failed, drain := false, o.drain
	for ctx.Err() == nil {
		var freed <-chan struct{}
		if room := o.room(); room < outboxClaims {
			freed = o.freed
		} else {
			n, err := o.round(ctx, room)
			if err != nil && !failed && ctx.Err() == nil {
				o.log.Error("messages wait: the store cannot be read", "err", err)
			}
			failed = err != nil
			switch {
			case n == room:
				continue // there may be more
			case drain == nil:
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-drain:
			drain = nil
		case <-freed:
		case <-tick.C:
		}
	}
}

// room is how many messages the carrier that has the least to do can take.
func (o *outbox) room() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	least := outboxAtOnce
	for _, c := range o.carriers {
		least = min(least, o.busy[c.name])
	}
	return outboxAtOnce - least
}

// Why a message is put off without a try.
var (
	errNotBound = errors.New("the SMSC is not bound")
	errSlow     = errors.New("the SMSC has too many messages to answer already")
)

// round begins to send what is due now, at most limit messages, and puts off what
// its SMSC cannot take. It returns how many messages that were.
func (o *outbox) round(ctx context.Context, limit int) (n int, err error) {
	now := o.now()
	due, err := o.store.DueMessages(ctx, now, now.Add(outboxClaim), limit)
	if err != nil {
		return 0, err
	}
	var late []store.Failure
	for _, m := range due {
		by := o.carrier(m.SMSC)
		if err := o.begin(by); err != nil {
			o.putOff.Do(func() { o.log.Warn("messages wait for an SMSC", "smsc", by.name, "err", err) })
			late = append(late, o.failure(by, m, err))
			continue
		}
		o.sending.Go(func() {
			defer o.end(by)
			o.one(ctx, by, m)
		})
	}
	if len(late) > 0 {
		o.fail(ctx, late...)
	}
	return len(due), nil
}

// begin takes a place of a carrier's share, if it can send.
func (o *outbox) begin(by carrier) error {
	if !by.up() {
		return errNotBound
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy[by.name] >= outboxAtOnce {
		return errSlow
	}
	o.busy[by.name]++
	return nil
}

// end gives the place back.
func (o *outbox) end(by carrier) {
	o.mu.Lock()
	o.busy[by.name]--
	o.mu.Unlock()
	select {
	case o.freed <- struct{}{}:
	default:
	}
}

// one sends a message and records what became of it.
func (o *outbox) one(ctx context.Context, by carrier, m store.Message) {
	id, err := o.send(ctx, by, m)
	if err != nil {
		if m.Tries == 0 && !lasting(err) {
			o.log.Warn("message not sent, to be tried again", "purchase", m.Purchase.Ref, "kind", m.Kind, "smsc", by.name, "err", err)
		}
		o.fail(ctx, o.failure(by, m, err))
		return
	}
	if err := o.keep(ctx, func(ctx context.Context) error { return o.store.MessageSent(ctx, m.ID, by.name, id) }); err != nil {
		o.log.Error("message sent and not recorded: it may be sent again", "purchase", m.Purchase.Ref, "kind", m.Kind, "smsc", by.name, "err", err)
	}
}

// failure says when a message that was not sent is tried again, if it is.
func (o *outbox) failure(by carrier, m store.Message, err error) store.Failure {
	pause := backoff(m.Tries)
	if errors.Is(err, smpp.ErrTimeout) || errors.Is(err, smpp.ErrCutOff) {
		pause = max(pause, outboxClaim) // a receipt may tell
	}
	next := o.now().Add(pause)
	if unknownNumber(err) || lasting(err) && m.Tries+1 >= outboxRefused || next.Sub(m.CreatedAt) > outboxFor {
		next = time.Time{}
		o.log.Error("message given up", "purchase", m.Purchase.Ref, "kind", m.Kind, "smsc", by.name, "tries", m.Tries+1, "err", err)
	}
	return store.Failure{Message: m, Reason: err.Error(), Next: next}
}

// fail records failures.
func (o *outbox) fail(ctx context.Context, failures ...store.Failure) {
	if err := o.keep(ctx, func(ctx context.Context) error { return o.store.MessagesFailed(ctx, failures...) }); err != nil {
		o.log.Error("failures of messages not recorded", "messages", len(failures), "err", err)
	}
}

// lasting reports whether an SMSC has refused a message in words that are about
// the message or our account, not about the moment (SMPP 3.4 §5.1.3).
func lasting(err error) bool {
	var refusal *smpp.StatusError
	if !errors.As(err, &refusal) || refusal.Temporary() {
		return false
	}
	switch refusal.Status {
	case 0x04, 0x08, 0x14, 0x45, 0x58, 0x64, 0xFF: // bind state, system error, queue full, submit failed, throttled, temporary, unknown
		return false
	}
	return true
}

// unknownNumber reports whether the SMSC knows no such subscriber: an invalid
// destination address, its type or its plan.
func unknownNumber(err error) bool {
	var refusal *smpp.StatusError
	return errors.As(err, &refusal) && lasting(err) && (refusal.Status == 0x0B || refusal.Status == 0x50 || refusal.Status == 0x51)
}

// send sends a message.
func (o *outbox) send(ctx context.Context, by carrier, m store.Message) (id string, err error) {
	from := by.from
	if from == "" {
		code := m.Code
		if code == "" {
			code = o.code()
		}
		from, _, _ = strings.Cut(strings.Trim(code, "*#"), "*")
	}
	ctx, cancel := context.WithTimeout(ctx, outboxTimeout)
	defer cancel()
	sms := smpp.SMS{From: from, To: m.Purchase.MSISDN, Text: o.text(m), Reference: m.Reference()}
	id, err = by.link.Send(ctx, sms)
	if errors.Is(err, smpp.ErrSMSTooLong) && m.Purchase.Token != "" {
		o.log.Error("the token of a purchase fits into no message: tell the subscriber", "purchase", m.Purchase.Ref)
		m.Purchase.Token = ""
		sms.Text = o.text(m)
		id, err = by.link.Send(ctx, sms)
	}
	return id, err
}

// carrier returns what a message of a session with the named SMSC leaves by.
func (o *outbox) carrier(smsc string) carrier {
	i := slices.IndexFunc(o.carriers, func(c carrier) bool { return c.name == smsc })
	return o.carriers[max(0, i)]
}

// keep records something about a message, and tries again while the store does
// not take it and the message is claimed, also when ctx is done.
func (o *outbox) keep(ctx context.Context, record func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outboxRecord)
	defer cancel()
	tick := time.NewTicker(outboxPoll)
	defer tick.Stop()
	for {
		err := record(ctx)
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// backoff is the pause after a failure that others came before.
func backoff(before int) time.Duration {
	return min(outboxFirst<<min(before, 10), outboxLongest)
}

// TakeReceipt takes a receipt to be recorded. What is taken is acknowledged before
// the store has it. So none is taken while too many wait, while the store takes
// none, and from Drain on: then it returns false, and the SMSC delivers the
// receipt again, later or to another instance.
func (o *outbox) TakeReceipt(r *smpp.Receipt) bool {
	select {
	case <-o.drain:
		return false
	default:
	}
	if o.away.Load() {
		return false
	}
	if o.waiting.Add(1) > receiptsWaiting {
		o.waiting.Add(-1)
		return false
	}
	o.receipts <- r // has room for all that wait
	return true
}

// unrecorded is a receipt that the store has not taken.
type unrecorded struct {
	receipt *smpp.Receipt
	since   time.Time
}

// record records receipts until ctx is done. One that comes before its message is
// known to be sent is tried again, and so is one that the store has no time for.
func (o *outbox) record(ctx context.Context) {
	tick := time.NewTicker(outboxPoll)
	defer tick.Stop()
	var later []unrecorded
	for {
		select {
		case r := <-o.receipts:
			if u := (unrecorded{r, o.now()}); o.recorded(ctx, u) {
				o.waiting.Add(-1)
			} else {
				later = append(later, u)
			}
			continue
		case <-tick.C:
		case <-ctx.Done():
		}
		over := ctx.Err() != nil
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), outboxTimeout)
		for over && len(o.receipts) > 0 {
			later = append(later, unrecorded{<-o.receipts, o.now()})
		}
		before := len(later)
		later = slices.DeleteFunc(later, func(u unrecorded) bool { return o.recorded(end, u) })
		o.waiting.Add(int64(len(later) - before))
		cancel()
		if over {
			if o.away.Load() {
				o.log.Error("receipts not recorded, and not delivered again", "receipts", len(later))
			}
			return
		}
	}
}

// recorded records a receipt, and reports whether nothing is left to be done
// about it. One of a message that is not ours is ignored.
func (o *outbox) recorded(ctx context.Context, u unrecorded) bool {
	r := u.receipt
	err := o.store.MessageReceipt(ctx, store.Receipt{SMSC: r.SMSC, IDs: r.IDs(), MSISDN: r.MSISDN, Reference: r.Reference,
		HasReference: r.HasReference, State: r.State})
	age := o.now().Sub(u.since)
	o.away.Store(false)
	switch {
	case err == nil:
		return true
	case errors.Is(err, store.ErrNotFound):
		return age >= receiptFor
	case age >= receiptRetry:
		o.log.Error("receipt not recorded", "smsc", r.SMSC, "state", r.State, "err", err)
		return true
	}
	o.away.Store(true) // it is tried again, which tells when the store is back
	return false
}

// text is what the subscriber is told. It fits one short message, unless a token of
// the vendor's is long or in letters that GSM lacks.
func (o *outbox) text(m store.Message) string {
	p := m.Purchase
	token := ""
	if p.Token != "" {
		token = " Token: " + p.Token + "."
	}
	what := fmt.Sprintf("%s %s airtime for %s", menus.Naira(p.Amount), o.name(p.Network), local(p.Recipient))
	switch m.Kind {
	case store.Delivered:
		return fmt.Sprintf("%s was delivered.%s Ref %s.", what, token, p.Ref)
	case store.Failed:
		return fmt.Sprintf("%s failed. %s is back in your wallet. Ref %s.", what, menus.Naira(p.Amount), p.Ref)
	case store.Reversed:
		return fmt.Sprintf("%s was taken back by the network. %s is back in your wallet. Ref %s.", what, menus.Naira(p.Amount), p.Ref)
	case store.Late:
		return fmt.Sprintf("%s was delivered after all.%s Your refund is yours to keep. Ref %s.", what, token, p.Ref)
	}
	return fmt.Sprintf("%s: %s. Ref %s.", what, m.Kind, p.Ref)
}

// local is a number as subscribers write it.
func local(msisdn string) string {
	if rest, ok := strings.CutPrefix(msisdn, "234"); ok {
		return "0" + rest
	}
	return msisdn
}
