package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/session"
)

// saves is a store that tells what it is given.
type saves struct {
	*memory
	batches chan []session.Record
	took    time.Duration // per call with sessions
}

func (s *saves) Save(ctx context.Context, records []session.Record, steps []session.Step) error {
	if len(records) > 0 {
		<-time.After(s.took) // of the bubble's clock
		s.batches <- append([]session.Record(nil), records...)
	}
	return s.memory.Save(ctx, records, steps)
}

// writing runs an engine with a store that takes so long, in a bubble where time
// stands still, and gives the rig and what is saved.
func writing(t *testing.T, took time.Duration, test func(*rig, *saves)) {
	synctest.Test(t, func(t *testing.T) {
		s := &saves{memory: newMemory(), batches: make(chan []session.Record, 1000), took: took}
		r := newRigWith(t, s, func(c *session.Config) { c.Now = time.Now })
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = r.engine.Run(ctx) }()
		synctest.Wait()
		test(r, s)
		stop()
		synctest.Wait()
	})
}

// A session that began and ended between two writes is one row, and one that
// moved several times too.
func TestWritesAreCoalesced(t *testing.T) {
	writing(t, 0, func(r *rig, s *saves) {
		ended, moved := key("1"), session.Key{SMSC: "sim", MSISDN: "2348030000002", ID: "2"}
		p, q := r.dial(ended), r.dial(moved)
		r.send(session.Input, ended, "0", p)
		r.send(session.Input, moved, "1", q)
		batch := <-s.batches
		if len(batch) != 2 || batch[0].Reason != session.Completed || batch[0].Steps != 2 || batch[1].Steps != 2 || !batch[1].Ended.IsZero() {
			t.Errorf("wrote %+v", batch)
		}
		<-time.After(10 * time.Second)
		select {
		case batch := <-s.batches:
			t.Errorf("wrote again %+v", batch)
		default:
		}
	})
}

// The slower the store, the rarer the writes, but never more than a second
// apart.
func TestWritesKeepTheirShare(t *testing.T) {
	for took, every := range map[time.Duration]time.Duration{
		0: 100 * time.Millisecond, 10 * time.Millisecond: 210 * time.Millisecond, 200 * time.Millisecond: time.Second,
		5 * time.Second: 5100 * time.Millisecond,
	} {
		writing(t, took, func(r *rig, s *saves) {
			other := session.Key{SMSC: "sim", MSISDN: "2348030000002", ID: "2"}
			p, q := r.dial(key("1")), r.dial(other)
			<-s.batches
			var last time.Time
			for range 3 { // the pause after a write is known from the next one on
				r.send(session.Input, key("1"), "x", p)
				<-s.batches
				if now := time.Now(); !last.IsZero() && now.Sub(last) != every {
					t.Errorf("a store that takes %s is written to after %s, want %s", took, now.Sub(last), every)
				}
				last = time.Now()
			}
			<-time.After(every)
			r.settle() // which drains
			for range 2 {
				r.send(session.Input, other, "x", q)
				last = time.Now()
				<-s.batches
				if got := time.Since(last); got > 100*time.Millisecond+took {
					t.Errorf("draining, a store that takes %s is written to after %s", took, got)
				}
			}
			slow := r.engine.Stats().SlowWrites
			if (slow > 0) != (took > time.Second) {
				t.Errorf("a store that takes %s was slow %d times", took, slow)
			}
		})
	}
}

// Of sessions that a store cannot take, those that live wait without limit, and
// of the ended ones as many as there is room for.
func TestStoreAwayForLongDropsEndedSessions(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.MaxPending = 3 })
	r.store.err = errors.New("gone away")
	dial := func(from, n int, end bool) {
		for i := from; i < from+n; i++ {
			k := session.Key{SMSC: "sim", MSISDN: fmt.Sprintf("23480300%05d", i), ID: "1"}
			p := r.dial(k)
			if end {
				r.send(session.Input, k, "0", p)
			}
		}
	}
	dial(0, 10, false)
	dial(10, 2, true)
	if err := r.engine.Flush(context.Background()); err == nil {
		t.Fatal("no error")
	}
	dial(20, 5, true)
	if s := r.engine.Stats(); s.DroppedRecords != 4 {
		t.Errorf("%+v", s)
	}
	r.store.mu.Lock()
	r.store.err = nil
	r.store.mu.Unlock()
	r.flush()
	ended := 0
	for _, rec := range r.store.records {
		if !rec.Ended.IsZero() {
			ended++
		}
	}
	if len(r.store.records) != 13 || ended != 3 {
		t.Errorf("%d sessions stored, %d of them ended", len(r.store.records), ended)
	}
	dial(30, 3, true) // there is room again
	r.flush()
	if s := r.engine.Stats(); len(r.store.records) != 16 || s.DroppedRecords != 4 {
		t.Errorf("%d sessions stored, %+v", len(r.store.records), s)
	}
}

func TestNoStepLog(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.NoStepLog = true })
	r.dial(key("1"))
	r.flush()
	if rec, steps := r.store.only(t); rec.Steps != 1 || len(steps) != 0 {
		t.Errorf("stored %+v, %+v", rec, steps)
	}
	if s := r.engine.Stats(); s.Steps != 1 || s.Pending != 0 {
		t.Errorf("%+v", s)
	}
}

// A subscriber who dials often is asked for a wallet once.
func TestWalletIsAskedForOnce(t *testing.T) {
	r := newRig(t)
	for _, id := range []string{"1", "2", "3"} {
		r.clock.Add(1)
		r.dial(key(id))
		r.flush()
	}
	if n := r.wallet.opened[key("").MSISDN]; n != 1 {
		t.Errorf("opened %d times", n)
	}
}

// A session that a process left open and whose subscriber never came back ends
// some time, and no session before its time.
func TestSessionsLeftOpenEnd(t *testing.T) {
	writing(t, 0, func(r *rig, s *saves) {
		s.mu.Lock()
		for i := range int64(1001) { // more than end at once
			at := time.Now().Add(-9 * time.Minute)
			s.records[-i-1] = session.Record{ID: -i - 1, Key: key(fmt.Sprint(i)), Started: at, Last: at}
		}
		at := time.Now().Add(-4 * time.Minute)
		s.records[-5000] = session.Record{ID: -5000, Key: key("8"), Started: at, Last: at}
		s.mu.Unlock()
		<-time.After(2 * time.Minute)
		if n := r.engine.Stats().Ended[session.Expired]; n != 1001 {
			t.Errorf("%d sessions ended", n)
		}
		s.mu.Lock()
		young := s.records[-5000]
		s.mu.Unlock()
		if !young.Ended.IsZero() {
			t.Errorf("ended too soon: %+v", young)
		}
		<-time.After(4 * time.Minute)
		if n := r.engine.Stats().Ended[session.Expired]; n != 1002 {
			t.Errorf("%d sessions ended", n)
		}
	})
}
