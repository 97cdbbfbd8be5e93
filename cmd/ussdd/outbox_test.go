package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ussdd/store"
)

// phones takes messages, or refuses them.
type phones struct {
	mu   sync.Mutex
	down bool
	got  []string // "smsc msisdn text"
}

func (p *phones) Send(_ context.Context, smsc, msisdn, text string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return "", errors.New("link is down")
	}
	p.got = append(p.got, smsc+" "+msisdn+" "+text)
	return fmt.Sprint("id-", len(p.got)), nil
}

func TestOutbox(t *testing.T) {
	clock := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	now := func() time.Time { return clock }
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db"), store.Options{Now: now, Messages: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	const amina = "2348031234567"
	if _, _, err := db.Credit(t.Context(), amina, 1000_00, "test", "1", ""); err != nil {
		t.Fatal(err)
	}
	if err := db.SaveSessions(t.Context(), []store.Session{{ID: 7, SMSC: "glo", MSISDN: amina, StartedAt: clock}}, nil); err != nil {
		t.Fatal(err)
	}
	fail := func(session int64) store.Purchase {
		t.Helper()
		id := store.NewID()
		p, _, err := db.Hold(t.Context(), store.Purchase{ID: id, Ref: store.Ref(id), Key: fmt.Sprint(id), Session: session, MSISDN: amina,
			Recipient: "2348051234567", Network: "mtn", Amount: 100_00, Owner: "x"})
		if err == nil {
			p, err = db.Release(t.Context(), p, "x")
		}
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var log strings.Builder
	to := &phones{down: true}
	o := &outbox{store: db, send: to, fallback: "mtn", name: strings.ToUpper, now: now, log: slog.New(slog.NewTextHandler(&log, nil))}
	round := func(want ...string) {
		t.Helper()
		to.got = nil
		if err := o.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if strings.Join(to.got, "\n") != strings.Join(want, "\n") {
			t.Errorf("sent %q, want %q", to.got, want)
		}
	}
	first := fail(7)
	told := func(smsc string, p store.Purchase) string {
		return smsc + " " + amina + " N100 MTN airtime for 08051234567 failed. N100 is back in your wallet. Ref " + p.Ref + "."
	}
	round()
	to.down = false
	clock = clock.Add(outboxFirst - time.Millisecond)
	round()
	clock = clock.Add(time.Millisecond)
	round(told("glo", first))
	clock = clock.Add(time.Hour)
	round()
	if err := errors.Join(o.Receipt(t.Context(), "glo", "id-1", "DELIVRD"), o.Receipt(t.Context(), "glo", "another's", "DELIVRD")); err != nil {
		t.Error(err)
	}

	second := fail(8) // its session was never written
	round(told("mtn", second))
	o.via = "etisalat"
	third := fail(7)
	round(told("etisalat", third))

	to.down = true
	fail(7)
	for range 25 * 60 { // a day and an hour
		round()
		clock = clock.Add(time.Minute)
	}
	if n := strings.Count(log.String(), "message given up"); n != 1 {
		t.Errorf("given up %d times:\n%s", n, log.String())
	}
	if status, err := db.OutboxStatus(t.Context()); err != nil || status != (store.Outbox{Lost: 1}) {
		t.Errorf("outbox %+v, %v", status, err)
	}
	if strings.Contains(log.String(), amina) {
		t.Error("the log has a whole number")
	}
	for _, kind := range []string{store.Delivered, store.Failed, store.Reversed, store.Late} {
		m := store.Message{Kind: kind, Purchase: first}
		m.Purchase.Amount = 50_000_00
		if text := o.text(m); len(text) > 160 || strings.Contains(text, "Token") {
			t.Errorf("%s takes %d characters: %s", kind, len(text), text)
		}
		m.Purchase.Token = "1234-5678-9012-3456-7890"
		text := o.text(m)
		if has := strings.Contains(text, " Token: 1234-5678-9012-3456-7890."); has != (kind == store.Delivered || kind == store.Late) {
			t.Errorf("%s: %s", kind, text)
		}
	}
}
