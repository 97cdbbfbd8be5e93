package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"ussdd/menus"
	"ussdd/store"
)

// sender sends a text to a subscriber through an SMSC, as a plain short message,
// and gives the name that the SMSC calls it by. An error may come after it was
// sent all the same.
type sender interface {
	Send(ctx context.Context, smsc, msisdn, text string) (id string, err error)
}

// messageStore is the outbox in the store.
type messageStore interface {
	DueMessages(ctx context.Context, now, again time.Time, limit int) ([]store.Message, error)
	MessageSent(ctx context.Context, id int64, smsc, messageID string) error
	MessageFailed(ctx context.Context, id int64, reason string, next time.Time) error
	MessageReceipt(ctx context.Context, smsc, messageID, state string) error
}

const (
	outboxPoll    = time.Second
	outboxBatch   = 50
	outboxAtOnce  = 8                // messages being sent
	outboxTimeout = 15 * time.Second // of one
	outboxClaim   = 2 * time.Minute  // after which another instance sends what we took; more than a batch takes
	outboxFirst   = 5 * time.Second  // pause after the first failure; doubles
	outboxLongest = 10 * time.Minute // up to this
	outboxFor     = 24 * time.Hour   // then a message is given up
)

// outbox sends the messages that the store has for subscribers.
type outbox struct {
	store messageStore
	send  sender
	// via is the SMSC for all messages; "" = that of the session that bought, or
	// fallback if it is not known.
	via, fallback string
	name          func(network string) string // of a network, as subscribers know it
	now           func() time.Time
	log           *slog.Logger
}

// Run sends until ctx is done; what is being sent then has its time.
func (o *outbox) Run(ctx context.Context) error {
	tick := time.NewTicker(outboxPoll)
	defer tick.Stop()
	failed := false
	for {
		err := o.round(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			o.log.Error("messages wait: the store cannot be read", "err", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// round sends what is due now.
func (o *outbox) round(ctx context.Context) error {
	now := o.now()
	due, err := o.store.DueMessages(ctx, now, now.Add(outboxClaim), outboxBatch)
	if err != nil {
		return err
	}
	var sending sync.WaitGroup
	slots := make(chan struct{}, outboxAtOnce)
	for _, m := range due {
		slots <- struct{}{}
		sending.Go(func() {
			defer func() { <-slots }()
			o.one(context.WithoutCancel(ctx), m)
		})
	}
	sending.Wait()
	return nil
}

// one sends a message and records what became of it.
func (o *outbox) one(ctx context.Context, m store.Message) {
	ctx, cancel := context.WithTimeout(ctx, outboxTimeout)
	defer cancel()
	log := o.log.With("purchase", m.Purchase.Ref, "kind", m.Kind)
	smsc := o.via
	if smsc == "" {
		smsc = m.SMSC
	}
	if smsc == "" {
		smsc = o.fallback
	}
	id, err := o.send.Send(ctx, smsc, m.Purchase.MSISDN, o.text(m))
	if err == nil {
		if err := o.store.MessageSent(ctx, m.ID, smsc, id); err != nil {
			log.Error("message sent and not recorded: it may be sent again", "err", err)
		}
		return
	}
	next := o.now().Add(backoff(m.Tries))
	if next.Sub(m.Purchase.UpdatedAt) > outboxFor {
		next = time.Time{}
		log.Error("message given up", "smsc", smsc, "tries", m.Tries+1, "err", err)
	} else if m.Tries == 0 {
		log.Warn("message not sent, to be tried again", "smsc", smsc, "err", err)
	}
	if err := o.store.MessageFailed(ctx, m.ID, err.Error(), next); err != nil {
		log.Error("failure of a message not recorded", "err", err)
	}
}

// backoff is the pause after a failure that others came before.
func backoff(before int) time.Duration {
	return min(outboxFirst<<min(before, 10), outboxLongest)
}

// Receipt records a delivery receipt. One for a message that is not ours is
// ignored.
func (o *outbox) Receipt(ctx context.Context, smsc, id, state string) error {
	err := o.store.MessageReceipt(ctx, smsc, id, state)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// text is what the subscriber is told. It fits one short message, unless a token of
// the vendor's is long.
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
