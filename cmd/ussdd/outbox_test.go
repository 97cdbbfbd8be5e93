package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/smpp"
	"ussdd/store"
)

// phones takes messages, or refuses them.
type phones struct {
	mu  sync.Mutex
	err error
	got []string // "smsc from msisdn text"
	ref []uint16 // of all that were tried
}

// by is one of several ways to the phones.
type by struct {
	*phones
	smsc string
}

func (b by) Send(_ context.Context, m smpp.SMS) (string, error) {
	p := b.phones
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ref = append(p.ref, m.Reference)
	if p.err != nil {
		return "", p.err
	}
	if len(m.Text) > 160 {
		return "", fmt.Errorf("short message: %w", smpp.ErrSMSTooLong)
	}
	p.got = append(p.got, b.smsc+" "+m.From+" "+m.To+" "+m.Text)
	return fmt.Sprint("id-", len(p.got)), nil
}

// carriers are ways by these SMSCs.
func (p *phones) carriers(names ...string) (list []carrier) {
	for _, name := range names {
		list = append(list, carrier{name: name, link: by{p, name}, up: func() bool { return true }})
	}
	return list
}

// sendDue sends what is due.
func sendDue(t *testing.T, o *outbox) (n int, err error) {
	defer o.sending.Wait()
	return o.round(t.Context(), outboxAtOnce)
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
	if _, _, err := db.Credit(t.Context(), store.Operation{Operator: "ngozi", Reason: "funds"}, amina, 1000_00, "test", "1"); err != nil {
		t.Fatal(err)
	}
	if err := db.SaveSessions(t.Context(), []store.Session{{ID: 7, SMSC: "glo", MSISDN: amina, Code: "*777*1#", StartedAt: clock}}, nil); err != nil {
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
	down := errors.New("link is down")
	to := &phones{err: down}
	o := newOutbox(db, to.carriers("mtn", "glo"), strings.ToUpper, func() string { return "*999#" }, now, slog.New(slog.NewTextHandler(&log, nil)))
	round := func(want ...string) {
		t.Helper()
		to.got = nil
		if _, err := sendDue(t, o); err != nil {
			t.Fatal(err)
		}
		if strings.Join(to.got, "\n") != strings.Join(want, "\n") {
			t.Errorf("sent %q, want %q", to.got, want)
		}
	}
	first := fail(7)
	told := func(by string, p store.Purchase) string {
		return by + " " + amina + " N100 MTN airtime for 08051234567 failed. N100 is back in your wallet. Ref " + p.Ref + "."
	}
	round()
	to.err = nil
	clock = clock.Add(outboxFirst - time.Millisecond)
	round()
	clock = clock.Add(time.Millisecond)
	round(told("glo 777", first))
	clock = clock.Add(time.Hour)
	round()
	second := fail(8) // its session was never written
	round(told("mtn 999", second))
	o.carriers = to.carriers("etisalat")
	o.carriers[0].from = "AIRTIME"
	third := fail(7)
	round(told("etisalat AIRTIME", third))

	// No answer: the message stays claimed, and is sent again if no receipt tells
	// of it.
	to.err = smpp.ErrCutOff
	fourth, fifth := fail(7), fail(7)
	to.ref = nil
	round()
	unknown := slices.Sorted(slices.Values(to.ref))
	to.err = nil
	clock = clock.Add(outboxClaim - time.Millisecond)
	round()
	receipt := &smpp.Receipt{SMSC: "etisalat", ID: "9", MSISDN: amina, State: "DELIVRD", HasReference: true}
	for _, m := range to.ref {
		receipt.Reference = m
	}
	if !o.recorded(t.Context(), unrecorded{receipt, clock}) {
		t.Error("a receipt by its reference is not recorded")
	}
	clock = clock.Add(time.Millisecond)
	to.ref = nil
	if _, err := sendDue(t, o); err != nil || len(to.got) != 1 || len(to.ref) != 1 || to.ref[0] == receipt.Reference || !slices.Contains(unknown, to.ref[0]) {
		t.Errorf("sent %q with %v, of %v, %v", to.got, to.ref, unknown, err)
	}
	var sent []string
	for _, p := range []store.Purchase{fourth, fifth} {
		messages, err := db.Messages(t.Context(), p.ID)
		if err != nil || len(messages) != 1 {
			t.Fatalf("messages %+v, %v", messages, err)
		}
		sent = append(sent, fmt.Sprint(messages[0].Tries, messages[0].MessageID, messages[0].Receipt))
	}
	if slices.Sort(sent); !slices.Equal(sent, []string{"19DELIVRD", "2id-1"}) {
		t.Errorf("stored %q", sent)
	}

	to.err = down
	fail(7)
	for range 25 * 6 { // a day and an hour
		round()
		clock = clock.Add(10 * time.Minute)
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

// awayStore has one message, and is away at first when something is recorded.
type awayStore struct {
	mu       sync.Mutex
	due      []store.Message
	away     int // calls that fail still
	early    int // receipts that come before their message
	sent     []string
	failed   []store.Failure
	receipts []store.Receipt
}

func (s *awayStore) DueMessages(_ context.Context, _, _ time.Time, limit int) ([]store.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(limit, len(s.due))
	due := s.due[:n]
	s.due = s.due[n:]
	return due, nil
}

func (s *awayStore) gone() error {
	if s.away--; s.away >= 0 {
		return errors.New("connection refused")
	}
	return nil
}

func (s *awayStore) MessageSent(_ context.Context, id int64, smsc, messageID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.gone()
	if err == nil {
		s.sent = append(s.sent, fmt.Sprint(id, " ", smsc, " ", messageID))
	}
	return err
}

func (s *awayStore) MessagesFailed(_ context.Context, failures ...store.Failure) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, failures...)
	return nil
}

func (s *awayStore) MessageReceipt(_ context.Context, r store.Receipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.gone(); err != nil {
		return err
	}
	if s.early--; s.early >= 0 {
		return store.ErrNotFound
	}
	s.receipts = append(s.receipts, r)
	return nil
}

func awayOutbox(s *awayStore, log io.Writer) *outbox {
	return newOutbox(s, new(phones).carriers("mtn"), strings.ToUpper, func() string { return "*999#" }, time.Now, slog.New(slog.NewTextHandler(log, nil)))
}

// What was sent is recorded although the store is away for a while, and Drain
// waits for that.
func TestOutboxRecordsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := &awayStore{due: []store.Message{{ID: 5, Kind: store.Delivered}}, away: 10}
		o := awayOutbox(s, &log)
		go func() { _ = o.Run(t.Context()) }()
		synctest.Wait()
		begun := time.Now()
		if err := o.Drain(t.Context()); err != nil || time.Since(begun) != 10*outboxPoll || !slices.Equal(s.sent, []string{"5 mtn id-1"}) {
			t.Errorf("drained after %s, %v; sent %q", time.Since(begun), err, s.sent)
		}
		if log.Len() > 0 {
			t.Error(log.String())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		o := awayOutbox(&awayStore{due: []store.Message{{ID: 5}}, away: 1000}, &log)
		go func() { _ = o.Run(t.Context()) }()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := o.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drained: %v", err)
		}
		if <-o.idle; !strings.Contains(log.String(), "message sent and not recorded") {
			t.Errorf("log %q", log.String())
		}
	})
	if outboxTimeout+outboxRecord >= outboxClaim {
		t.Error("a claim ends before the message is recorded")
	}
}

// What an SMSC refuses for good is given up soon, and at once if it knows no such
// subscriber; other refusals are for a day.
func TestOutboxRefused(t *testing.T) {
	for _, c := range []struct {
		err   error
		tries int // after which it is given up, 0 = not soon
	}{
		{&smpp.StatusError{Status: 0x0B}, 1},
		{&smpp.StatusError{Status: 0x0A}, outboxRefused},
		{&smpp.StatusError{Status: 0x0B, Class: smpp.Temporary}, 0},
		{&smpp.StatusError{Status: 0x58}, 0},
		{smpp.ErrNotBound, 0},
	} {
		var log strings.Builder
		s := &awayStore{}
		o := awayOutbox(s, &log)
		o.carriers = (&phones{err: fmt.Errorf("short message: %w", c.err)}).carriers("mtn")
		given := 0
		for try := 1; try <= 10 && given == 0; try++ {
			s.due = []store.Message{{ID: 1, Kind: store.Delivered, Tries: try - 1, CreatedAt: time.Now()}}
			if _, err := sendDue(t, o); err != nil || len(s.failed) != try || s.failed[try-1].Message.Tries != try-1 || s.failed[try-1].Reason == "" {
				t.Fatalf("%v: %v, recorded %+v", c.err, err, s.failed)
			}
			if s.failed[try-1].Next.IsZero() {
				given = try
			}
		}
		if given != c.tries || strings.Count(log.String(), "message given up") != min(1, c.tries) {
			t.Errorf("%v: given up after %d tries, want %d; log %s", c.err, given, c.tries, log.String())
		}
	}
}

// deaf never answers.
type deaf struct{}

func (deaf) Send(ctx context.Context, _ smpp.SMS) (string, error) {
	<-ctx.Done()
	return "", smpp.ErrTimeout
}

// An SMSC that does not answer, or is not bound, keeps no message of another one.
func TestOutboxShares(t *testing.T) {
	for _, bound := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := &awayStore{}
			for i := range 300 {
				s.due = append(s.due, store.Message{ID: int64(i), Kind: store.Delivered, SMSC: "glo", CreatedAt: time.Now()})
			}
			s.due = append(s.due, store.Message{ID: 1000, Kind: store.Delivered, SMSC: "mtn", CreatedAt: time.Now()})
			o := awayOutbox(s, io.Discard)
			o.carriers = append(o.carriers, carrier{name: "glo", link: deaf{}, up: func() bool { return bound }})
			begun := time.Now()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			go func() { _ = o.Run(ctx) }()
			synctest.Wait()
			late := 300
			if bound {
				late -= outboxAtOnce
			}
			if s.mu.Lock(); len(s.sent) != 1 || len(s.failed) != late || !time.Now().Equal(begun) {
				t.Errorf("bound %t: sent %q and put off %d, want %d, after %s", bound, s.sent, len(s.failed), late, time.Since(begun))
			}
			s.mu.Unlock()
			if err := o.Drain(t.Context()); err != nil || len(s.failed) != 300 {
				t.Errorf("drained: %v, failed %d", err, len(s.failed))
			}
		})
	}
}

// That the token is too long keeps nobody from knowing of the delivery.
func TestOutboxLongToken(t *testing.T) {
	var log strings.Builder
	s := &awayStore{}
	o := awayOutbox(s, &log)
	to := new(phones)
	o.carriers = to.carriers("mtn")
	bought := store.Purchase{Ref: "TXN-1", MSISDN: "2348031234567", Recipient: "2348051234567", Network: "mtn", Amount: 50_00}
	for _, token := range []string{strings.Repeat("1234-", 3), strings.Repeat("1234-", 40)} {
		bought.Token = token
		s.due = append(s.due, store.Message{Kind: store.Delivered, Purchase: bought})
		if n, err := sendDue(t, o); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	const text = "mtn 999 2348031234567 N50 MTN airtime for 08051234567 was delivered."
	if want := []string{text + " Token: 1234-1234-1234-. Ref TXN-1.", text + " Ref TXN-1."}; !slices.Equal(to.got, want) {
		t.Errorf("sent %q, want %q", to.got, want)
	}
	if strings.Count(log.String(), "purchase=TXN-1") != 1 || strings.Contains(log.String(), "1234-") {
		t.Errorf("log %s", log.String())
	}
}

// Receipts may come before their message is known to be sent, and while the store
// is away; those of others are forgotten.
func TestOutboxReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &awayStore{away: 2, early: 3}
		o := awayOutbox(s, io.Discard)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- o.Run(ctx) }()
		if !o.TakeReceipt(&smpp.Receipt{SMSC: "mtn", ID: "10", MSISDN: "2348031234567", State: "DELIVRD", Reference: 7, HasReference: true}) {
			t.Fatal("not taken")
		}
		<-time.After(5 * outboxPoll)
		synctest.Wait()
		if len(s.receipts) != 1 || s.receipts[0].State != "DELIVRD" || s.receipts[0].IDs[0] != "10" || s.receipts[0].Reference != 7 || !s.receipts[0].HasReference {
			t.Errorf("recorded %+v", s.receipts)
		}
		s.early = 1000
		o.TakeReceipt(&smpp.Receipt{ID: "another's"})
		<-time.After(time.Minute)
		synctest.Wait()
		if tried := 1000 - s.early; tried < 10 || tried > 12 {
			t.Errorf("tried %d times", tried)
		}
		stop()
		synctest.Wait()
		<-ended

		// While the store takes none, and when all is about to end, they are the SMSC's.
		var log strings.Builder
		s.receipts, s.early, s.away = nil, 0, 1<<20
		o = awayOutbox(s, &log)
		again, end := context.WithCancel(t.Context())
		go func() { ended <- o.Run(again) }()
		take := func(want bool) {
			t.Helper()
			if got := o.TakeReceipt(&smpp.Receipt{ID: "1"}); got != want {
				t.Errorf("taken: %t", got)
			}
			synctest.Wait()
		}
		take(true)
		take(false)
		s.mu.Lock()
		s.away = 0
		s.mu.Unlock()
		<-time.After(2 * outboxPoll)
		synctest.Wait()
		if len(s.receipts) != 1 || o.waiting.Load() != 0 {
			t.Errorf("recorded %d, %d wait", len(s.receipts), o.waiting.Load())
		}
		take(true)
		s.mu.Lock()
		s.away = 1 << 20
		s.mu.Unlock()
		take(true)
		if err := o.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		s.away = 0
		s.mu.Unlock()
		<-time.After(2 * outboxPoll)
		take(false)
		if end(); <-ended != nil || len(s.receipts) != 3 || log.Len() > 0 {
			t.Errorf("recorded %d, logged %q", len(s.receipts), log.String())
		}

		// What was taken and is lost is told of.
		s.away = 1 << 20
		o = awayOutbox(s, &log)
		take(true)
		if err := o.Run(ctx); err != nil || !strings.Contains(log.String(), `level=ERROR msg="receipts not recorded, and not delivered again" receipts=1`) {
			t.Errorf("%v, logged %q", err, log.String())
		}
		s.away = 0

		// The last ones are recorded at the end, and there is a bound.
		s.early = 0
		o = awayOutbox(s, io.Discard)
		for range receiptsWaiting {
			o.TakeReceipt(&smpp.Receipt{ID: "1"})
		}
		if o.TakeReceipt(&smpp.Receipt{ID: "1"}) {
			t.Error("one too many was taken")
		}
		s.receipts = nil
		if err := o.Run(ctx); err != nil || len(s.receipts) != receiptsWaiting {
			t.Errorf("recorded %d, %v", len(s.receipts), err)
		}
	})
}
