package smpp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// acceptAll accepts the next n binds, in the order of their names: that is the
// order of accounts, and transmitters before receivers.
func (r *rig) acceptAll(n int) []*smsc {
	r.t.Helper()
	type opened struct {
		key string
		s   *smsc
	}
	var all []opened
	for range n {
		s := r.accept()
		h, id := s.bind(0)
		s.answerBind(h, id)
		all = append(all, opened{fmt.Sprintf("%s %d", id, pdu.BindReceiverID+pdu.BindTransceiverID-h.ID), s})
	}
	slices.SortStableFunc(all, func(a, b opened) int { return strings.Compare(a.key, b.key) })
	synctest.Wait()
	var binds []*smsc
	for _, o := range all {
		binds = append(binds, o.s)
	}
	return binds
}

// lose ends a connection and lets the link come to terms with it.
func (s *smsc) lose() {
	_ = s.conn.Close()
	synctest.Wait()
}

// idle checks that nothing is sent for a while.
func (s *smsc) idle(d time.Duration) {
	s.t.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(d))
	if b, err := s.frames.ReadFrame(); err == nil {
		s.t.Errorf("got %s", smpp.CommandName(smpp.ParseHeader(b).ID))
	}
	_ = s.conn.SetReadDeadline(time.Time{})
}

func TestPair(t *testing.T) {
	pair := func(c *smpp.Config) { c.Mode = smpp.Pair }
	inBubble(t, "is bound together", func(t *testing.T) {
		r := start(t, pair)
		a, b := r.accept(), r.accept()
		ah, _ := a.bind(0)
		// This SMSC holds back its first answer until it has both binds.
		bh, _ := b.bind(0)
		tx, rx := a, b
		if ah.ID == pdu.BindReceiverID {
			tx, rx = b, a
		}
		if ah.ID+bh.ID != pdu.BindReceiverID+pdu.BindTransmitterID {
			t.Fatalf("bound as %s and %s", smpp.CommandName(ah.ID), smpp.CommandName(bh.ID))
		}
		b.answerBind(bh, "")
		synctest.Wait()
		if got := r.link.Status().State; got != smpp.Binding {
			t.Errorf("state %s with half a pair", got)
		}
		a.answerBind(ah, "")
		synctest.Wait()
		st := r.link.Status()
		if st.State != smpp.Bound || len(st.Binds) != 2 || st.Binds[0].Name != "1tx" || st.Binds[0].Role != "transmitter" ||
			st.Binds[1].Name != "1rx" || st.Binds[1].Role != "receiver" || st.Binds[1].Peer != "USSDGW" || st.Binds[1].MaxWindow != 0 || st.Window != 256 {
			t.Errorf("status %+v", st)
		}
		rx.write(golden(t, "standard-begin"))
		rx.expect(pdu.DeliverSMRespID)
		r.mustReply(r.event(), "menu", time.Minute)
		tx.answer(tx.expectSubmit("menu"), 0)
		rx.alive()
		tx.alive()
		st = r.link.Status()
		if c := st.Counters; c.Out["bind_transmitter"] != 1 || c.Out["bind_receiver"] != 1 || c.In["bind_receiver_resp"] != 1 {
			t.Errorf("counters %+v", c)
		}
	})
	inBubble(t, "has its own replies only", func(t *testing.T) {
		r := start(t, pair)
		binds := r.acceptAll(2)
		tx, rx := binds[0], binds[1]
		tx.lose()
		e := r.begin(rx)
		r.mustReply(e, "menu", time.Minute)
		rx.idle(100 * time.Millisecond)
		if st := r.link.Status(); st.State == smpp.Bound || st.Queued != 1 {
			t.Errorf("status %+v", st)
		}
		tx = r.acceptAll(1)[0]
		tx.answer(tx.expectSubmit("menu"), 0)
		tx.alive()
	})
	inBubble(t, "tries together", func(t *testing.T) {
		// Each half is tried whenever the other is, so that an SMSC that wants
		// both at once gets both at once.
		r := start(t, pair)
		for range 6 {
			a := r.accept()
			began := time.Now()
			b := r.accept()
			if time.Since(began) != 0 {
				t.Error("the halves came apart")
			}
			a.bind(0)
			b.bind(0)
			a.write([]byte("garbage that ends it"))
			b.write([]byte("garbage that ends it"))
			a.expectStatus(pdu.GenericNACKID, 0x02)
			b.expectStatus(pdu.GenericNACKID, 0x02)
		}
		r.acceptAll(2)
	})
	inBubble(t, "does not hammer an address that cannot be dialled", func(t *testing.T) {
		var dials atomic.Int32
		start(t, func(c *smpp.Config) {
			pair(c)
			c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				if dials.Add(1) > 1000 {
					<-ctx.Done() // lets time pass, so that the test ends
				}
				return nil, errors.New("network is unreachable")
			}
		})
		wait(time.Hour)
		if n := dials.Load(); n < 100 || n > 300 { // both every 30 to 60 s
			t.Errorf("%d dials in an hour", n)
		}
	})
}

func TestManyBinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) {
			c.Accounts = []smpp.Account{{SystemID: "one", Password: testPassword}, {SystemID: "two", Password: testPassword}}
			c.Binds = 2
		})
		binds := r.acceptAll(4)
		st := r.link.Status()
		for i, b := range st.Binds {
			if want := []string{"one", "one", "two", "two"}[i]; b.SystemID != want || b.Name != fmt.Sprint(i+1) || b.State != smpp.Bound || b.Role != "transceiver" {
				t.Errorf("bind %d is %+v", i, b)
			}
		}
		if st.State != smpp.Bound || st.Window != 4*256 {
			t.Errorf("status %+v", st)
		}
		var events []*smpp.Event
		for _, s := range binds { // SMSCs spread what they have over the binds
			events = append(events, r.begin(s))
		}
		for i, e := range events {
			text := fmt.Sprint("for bind ", i)
			r.mustReply(e, text, time.Minute)
			binds[i].answer(binds[i].expectSubmit(text), 0)
			binds[i].alive()
		}
		binds[0].lose()
		if st := r.link.Status(); st.State != smpp.Bound || st.LastError == "" {
			t.Errorf("one of four lost: status %+v", st)
		}
	})
}

func TestAffinity(t *testing.T) {
	for _, affinity := range []smpp.Affinity{smpp.SameSystemID, smpp.SameBind, smpp.AnyBind} {
		inBubble(t, affinity.String(), func(t *testing.T) {
			r := start(t, func(cfg *smpp.Config) {
				p, err := smpp.ProfileByName("standard")
				if err != nil {
					t.Fatal(err)
				}
				p.Affinity = affinity
				cfg.Profile, cfg.Window = p, 1
				cfg.Accounts = []smpp.Account{{SystemID: "one"}, {SystemID: "two"}}
				cfg.Binds = 2
			})
			binds := r.acceptAll(4)
			e := r.begin(binds[0])
			other := r.begin(binds[1]) // so that this one is busier than the rest
			r.mustReply(other, "other", time.Minute)
			binds[1].expectSubmit("other")
			r.mustReply(e, "sent", time.Minute)
			binds[0].expectSubmit("sent")
			r.mustReply(e, "queued", time.Minute)
			binds[0].lose()
			r.mustReply(e, "after the loss", time.Minute)
			switch affinity {
			case smpp.SameSystemID:
				to := binds[1]
				to.write(frame(pdu.SubmitSMRespID, 0, 2, "1\x00")) // makes room in the window
				to.answer(to.expectSubmit("queued"), 0)
				to.answer(to.expectSubmit("after the loss"), 0)
				return
			case smpp.AnyBind: // those that are not busy take one each
				got := []string{string(binds[2].expect(pdu.SubmitSMID).ShortMessage), string(binds[3].expect(pdu.SubmitSMID).ShortMessage)}
				slices.Sort(got)
				if !slices.Equal(got, []string{"after the loss", "queued"}) {
					t.Errorf("got %q", got)
				}
				return
			}
			for _, s := range binds[1:] {
				s.idle(10 * time.Millisecond)
			}
			if n := r.link.Status().Queued; n != 2 {
				t.Errorf("%d queued", n)
			}
			back := r.acceptAll(1)[0]
			back.answer(back.expectSubmit("queued"), 0)
			back.answer(back.expectSubmit("after the loss"), 0)
			back.alive()
		})
	}
}

// A reply that has waited for the bind expires in its time also if the window of
// the bind is full by then.
func TestDeadlineAfterSettling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window, c.ResponseTimeout = 1, time.Minute })
		s := r.bound()
		e := r.begin(s)
		s.lose()
		began := time.Now()
		r.mustReply(e, "in the window", time.Minute)
		r.mustReply(e, "behind it", 5*time.Second)
		s = r.bound()
		s.expectSubmit("in the window")
		if err := r.refused(); err != smpp.ErrExpired || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// What waits when its bind goes moves at once to another one that may take it,
// and what may have been shown is not sent again.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Binds, c.Window = 2, 1 })
		binds := r.acceptAll(2)
		e := r.begin(binds[0])
		for _, text := range []string{"shown or not", "one", "two"} {
			r.mustReply(e, text, time.Minute)
		}
		binds[0].expectSubmit("shown or not")
		began := time.Now()
		binds[0].write(frame(pdu.UnbindID, 0, 7, ""))
		binds[0].expect(pdu.UnbindRespID)
		binds[1].answer(binds[1].expectSubmit("one"), 0)
		binds[1].answer(binds[1].expectSubmit("two"), 0)
		binds[1].alive()
		synctest.Wait()
		if d := time.Since(began); d != 0 {
			t.Errorf("took %s", d)
		}
		if st := r.link.Status(); st.Counters.Unanswered != 1 || st.InFlight+st.Queued != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestAddresses(t *testing.T) {
	const first, second, third = "192.0.2.1:2775", "192.0.2.2:2775", "192.0.2.3:2775"
	three := func(c *smpp.Config) { c.Addrs = []string{first, second, third} }
	inBubble(t, "in their order", func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		r := start(t, func(c *smpp.Config) {
			three(c)
			dial := c.Dial
			c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == first && away.Load() {
					return nil, errors.New("connection refused")
				}
				return dial(ctx, network, addr)
			}
		})
		s := r.accept()
		began := time.Now()
		if s.addr != second {
			t.Errorf("connected to %s", s.addr)
		}
		s.bind(0)
		s.lose()
		s = r.accept()
		if s.addr != third || time.Since(began) != 0 {
			t.Errorf("connected to %s after %s, want the third without a pause", s.addr, time.Since(began))
		}
		s.acceptBind()
		s.alive()
		if st := r.link.Status(); st.Addr != third || st.Binds[0].Addr != third {
			t.Errorf("status %+v", st)
		}
		away.Store(false)
		s.lose()
		s = r.accept()
		if s.addr != first || time.Since(began) == 0 {
			t.Errorf("connected to %s after %s, want the first after a pause", s.addr, time.Since(began))
		}
		s.acceptBind()
	})
	inBubble(t, "pause after all", func(t *testing.T) {
		r := start(t, three)
		for range 3 {
			for _, want := range []string{first, second, third} {
				s := r.accept()
				if s.addr != want {
					t.Errorf("connected to %s, want %s", s.addr, want)
				}
				s.refuseBind(0x08)
			}
			synctest.Wait()
			if got := r.link.Status().State; got != smpp.Waiting {
				t.Errorf("state %s after all were tried", got)
			}
		}
		if n := strings.Count(r.log.String(), "tries its next address"); n != 6 {
			t.Errorf("%d messages:\n%s", n, r.log)
		}
		if n := strings.Count(r.log.String(), "level=WARN"); n != 3 {
			t.Errorf("%d warnings, want one for each address:\n%s", n, r.log)
		}
		r.bound()
	})
	for _, status := range []pdu.Status{0x05, 0x0D, 0x0E, 0x0F, 0x53} {
		inBubble(t, fmt.Sprintf("not for status %#x", uint32(status)), func(t *testing.T) {
			r := start(t, three)
			r.accept().refuseBind(status)
			if s := r.accept(); s.addr != first {
				t.Errorf("connected to %s", s.addr)
			}
		})
	}
}

func TestBadAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		for range 4 {
			r.accept().refuseBind(0x0E)
			synctest.Wait()
			if b := r.link.Status().Binds[0]; !b.BadAccount || time.Until(b.RetryAt) < 30*time.Second {
				t.Errorf("status %+v", b)
			}
		}
		if log := r.log.String(); strings.Count(log, "level=ERROR") != 1 || strings.Contains(log, "level=WARN") {
			t.Errorf("log:\n%s", log)
		}
		r.bound().alive()
		if r.link.Status().Binds[0].BadAccount {
			t.Error("not taken back")
		}
	})
}

func TestAdmin(t *testing.T) {
	inBubble(t, "down and up", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Mode = smpp.Pair })
		binds := r.acceptAll(2)
		e := r.begin(binds[1])
		r.link.SetAdmin(smpp.Down)
		for _, s := range binds {
			h := s.expect(pdu.UnbindID)
			s.write(frame(pdu.UnbindRespID, 0, h.Sequence, ""))
			s.expectEnd()
		}
		synctest.Wait()
		if st := r.link.Status(); st.State != smpp.Closed || st.Admin != smpp.Down || r.open.Load() != 0 {
			t.Errorf("status %+v", st)
		}
		if err := e.Reply("menu", false, time.Now().Add(time.Minute)); err != smpp.ErrNotBound {
			t.Errorf("reply while down: %v", err)
		}
		wait(time.Hour)
		if len(r.dials) != 0 {
			t.Error("connected although it is to be down")
		}
		r.link.SetAdmin(smpp.Up)
		binds = r.acceptAll(2)
		r.mustReply(e, "menu", time.Minute)
		binds[0].answer(binds[0].expectSubmit("menu"), 0)
		for _, s := range binds {
			s.alive()
		}
	})
	inBubble(t, "down with replies", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window = 1 })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "one", time.Minute)
		r.mustReply(e, "two", time.Minute)
		one := s.expectSubmit("one")
		r.link.SetAdmin(smpp.Down)
		s.answer(one, 0)
		s.answer(s.expectSubmit("two"), 0)
		s.expect(pdu.UnbindID)
	})
	inBubble(t, "down while it waits", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.ReconnectMin, c.ReconnectMax = time.Minute, time.Minute })
		r.bound().lose()
		r.link.SetAdmin(smpp.Down)
		synctest.Wait()
		if st := r.link.Status(); st.State != smpp.Closed {
			t.Errorf("state %s", st.State)
		}
	})
	inBubble(t, "down before it runs", func(t *testing.T) {
		dials := 0
		link, err := smpp.NewLink(smpp.Config{
			Name: "mtn", Addrs: []string{"192.0.2.1:2775"}, Accounts: []smpp.Account{{SystemID: "esme1"}},
			Dial: func(context.Context, string, string) (net.Conn, error) { dials++; return nil, io.EOF },
		}, smpp.HandlerFunc(func(*smpp.Event) {}))
		if err != nil {
			t.Fatal(err)
		}
		link.SetAdmin(smpp.Down)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- link.Run(ctx) }()
		wait(time.Hour)
		if dials != 0 {
			t.Error("connected although it is to be down")
		}
		link.SetAdmin(smpp.Draining)
		synctest.Wait()
		if dials != 1 {
			t.Errorf("%d connections", dials)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	inBubble(t, "draining", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		e := r.begin(s)
		r.link.SetAdmin(smpp.Draining)
		s.write(golden(t, "standard-begin"))
		s.expect(pdu.DeliverSMRespID)
		s.answer(s.expectSubmit("The service is busy. Please try again later."), 0)
		s.write(golden(t, "standard-input"))
		s.expect(pdu.DeliverSMRespID)
		if got := r.event(); got.Op != smpp.Input {
			t.Errorf("event %+v", got)
		}
		r.mustReply(e, "live", time.Minute)
		s.answer(s.expectSubmit("live"), 0)
		r.link.SetAdmin(smpp.Up)
		r.begin(s)
		if st := r.link.Status(); st.Counters.NotAdmitted["draining"] != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestAdmission(t *testing.T) {
	byStatus := func(c *smpp.Config) {
		p := *c.Profile
		p.RefuseByStatus = true
		c.Profile = &p
	}
	standard := func(c *smpp.Config) {
		c.Profile, _ = smpp.ProfileByName("standard")
	}
	inBubble(t, "with a text", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Busy = "Come back later" })
		s := r.bound()
		live := r.begin(s)
		r.declines.Store(true)
		s.write(golden(t, "standard-begin"))
		s.expect(pdu.DeliverSMRespID)
		m := s.expectSubmit("Come back later")
		if op, _ := m.TLVs.Get(0x0501); string(op) != "\x11" {
			t.Errorf("operation %x is not an end", op)
		}
		s.answer(m, 0)
		r.mustReply(live, "live", time.Minute)
		s.answer(s.expectSubmit("live"), 0)
		s.write(golden(t, "standard-input"))
		s.expect(pdu.DeliverSMRespID)
		if got := r.event(); got.Op != smpp.Input {
			t.Errorf("event %+v", got)
		}
		if n := r.link.Status().Counters.NotAdmitted["handler"]; n != 1 {
			t.Errorf("%d not admitted", n)
		}
	})
	inBubble(t, "with a status", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { standard(c); byStatus(c) })
		s := r.bound()
		r.declines.Store(true)
		s.write(golden(t, "standard-begin"))
		s.expectStatus(pdu.DeliverSMRespID, 0x64)
		s.alive()
		r.noEvent()
		r.declines.Store(false)
		r.begin(s)
	})
	inBubble(t, "a begin that comes again", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window, c.Queue, c.Busy = 1, 4, "busy" })
		s := r.bound()
		live := r.begin(s)
		r.link.SetAdmin(smpp.Draining)
		r.lives.Store(true)
		r.begin(s)
		synctest.Wait()
		for i := range 5 {
			r.mustReply(live, fmt.Sprint(i), time.Minute)
		}
		s.expectSubmit("0")
		r.link.SetAdmin(smpp.Up)
		r.begin(s)
		r.lives.Store(false)
		r.link.SetAdmin(smpp.Draining)
		s.write(golden(t, "standard-begin"))
		s.expect(pdu.DeliverSMRespID)
		s.alive()
		r.noEvent()
		if n := r.link.Status().Counters.NotAdmitted; n["draining"] != 1 || n["queue"] != 0 {
			t.Errorf("not admitted: %v", n)
		}
	})
	inBubble(t, "queue full", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { standard(c); byStatus(c); c.Window, c.Queue = 1, 4 })
		s := r.bound()
		live := r.begin(s)
		synctest.Wait()
		for i := range 5 {
			r.mustReply(live, fmt.Sprint(i), time.Minute)
		}
		zero := s.expectSubmit("0")
		s.write(golden(t, "standard-begin"))
		s.expectStatus(pdu.DeliverSMRespID, 0x64)
		s.answer(zero, 0)
		s.expectSubmit("1")
		r.begin(s)
		if n := r.link.Status().Counters.NotAdmitted["queue"]; n != 1 {
			t.Errorf("%d not admitted", n)
		}
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Rate, c.EnquireLink = 10, time.Hour })
		s := r.bound()
		e := r.begin(s)
		began := time.Now()
		for i := range 21 {
			r.mustReply(e, fmt.Sprint(i), time.Minute)
		}
		for i := range 21 {
			s.answer(s.expectSubmit(fmt.Sprint(i)), 0)
			if d := time.Since(began); d < time.Duration(i)*100*time.Millisecond || d > time.Duration(i)*100*time.Millisecond+20*time.Millisecond {
				t.Errorf("reply %d came after %s", i, d)
			}
		}
		s.alive()
		if b := r.link.Status().Binds[0]; b.Rate != 10 || b.MaxRate != 10 || b.OutRate < 8 || b.OutRate > 12 {
			t.Errorf("status %+v", b)
		}
		wait(time.Minute) // what is saved up is bounded
		began = time.Now()
		for i := range 11 {
			r.mustReply(e, fmt.Sprint(i), time.Minute)
		}
		for i := range 11 {
			s.answer(s.expectSubmit(fmt.Sprint(i)), 0)
		}
		if d := time.Since(began); d < time.Second {
			t.Errorf("11 replies in %s", d)
		}
	})
}

func TestSlowsDown(t *testing.T) {
	inBubble(t, "once per round trip", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window, c.Rate = 64, 1000 })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "first", time.Minute)
		first := s.expectSubmit("first")
		wait(time.Second)
		for i := range 8 {
			r.mustReply(e, fmt.Sprint(i), 100*time.Millisecond)
		}
		var sent []smpp.Message
		for i := range 8 {
			sent = append(sent, s.expectSubmit(fmt.Sprint(i)))
		}
		for _, m := range sent { // they were under way together: one complaint
			s.answer(m, 0x58)
			r.refused()
		}
		s.answer(first, 0x58) // that one too
		again := s.expectSubmit("first")
		if b := r.link.Status().Binds[0]; b.Window != 32 || b.Rate != 500 || b.MaxWindow != 64 || b.MaxRate != 1000 {
			t.Errorf("status %+v", b)
		}
		s.answer(again, 0x14)
		last := s.expectSubmit("first")
		if b := r.link.Status().Binds[0]; b.Window != 16 || b.Rate != 250 {
			t.Errorf("status %+v", b)
		}
		s.answer(last, 0)
		wait(2500 * time.Millisecond)
		if b := r.link.Status().Binds[0]; b.Window <= 16 || b.Window > 16+3*4 || b.Rate <= 250 || b.Rate > 500 {
			t.Errorf("after 2.5 s: %+v", b)
		}
		wait(15 * time.Second)
		if b := r.link.Status().Binds[0]; b.Window != 64 || b.Rate != 1000 {
			t.Errorf("after recovery: %+v", b)
		}
	})
	inBubble(t, "without a configured rate", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		e := r.begin(s)
		for i := range 100 {
			r.mustReply(e, fmt.Sprint(i), time.Minute)
			m := s.expectSubmit(fmt.Sprint(i))
			if i < 99 {
				s.answer(m, 0)
			} else {
				s.answer(m, 0x58)
			}
			wait(10 * time.Millisecond)
		}
		if b := r.link.Status().Binds[0]; b.Window != 128 || b.Rate < 40 || b.Rate > 60 || b.MaxRate != 0 {
			t.Errorf("status %+v", b)
		}
		s.answer(s.expectSubmit("99"), 0)
		wait(29 * time.Second)
		if b := r.link.Status().Binds[0]; b.Window != 256 || b.Rate != 0 {
			t.Errorf("after recovery: %+v", b)
		}
	})
	inBubble(t, "never to nothing", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window, c.Rate = 4, 5 })
		s := r.bound()
		e := r.begin(s)
		for range 10 {
			r.mustReply(e, "menu", 100*time.Millisecond)
			s.answer(s.expectSubmit("menu"), 0x58)
			r.refused()
			wait(200 * time.Millisecond)
		}
		if b := r.link.Status().Binds[0]; b.Window < 1 || b.Rate != 5 {
			t.Errorf("status %+v", b)
		}
	})
	inBubble(t, "a window that grows again lets go on", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window, c.ResponseTimeout = 8, time.Hour })
		s := r.bound()
		e := r.begin(s)
		for i := range 5 {
			r.mustReply(e, fmt.Sprint(i), time.Minute)
			s.expectSubmit(fmt.Sprint(i))
		}
		r.mustReply(e, "too much", 100*time.Millisecond)
		s.answer(s.expectSubmit("too much"), 0x58)
		r.refused()
		began := time.Now()
		r.mustReply(e, "next", time.Minute) // five are in flight, and the window is four
		s.expectSubmit("next")
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("sent after %s", d)
		}
	})
	inBubble(t, "the window stays while subscribers think", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { afterUser(c); c.Window, c.Rate = 8, 100 })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "too much", 100*time.Millisecond)
		s.answer(s.expectSubmit("too much"), 0x58)
		r.refused()
		if b := r.link.Status().Binds[0]; b.Window != 8 || b.Rate != 50 {
			t.Errorf("status %+v", b)
		}
	})
	for state, want := range map[string]int{"\x00": 64, "\x4f": 64, "\x50": 64, "\x5a": 32, "\x63": 32} {
		inBubble(t, fmt.Sprintf("congestion_state %d", state[0]), func(t *testing.T) {
			r := start(t, func(c *smpp.Config) { c.Window = 64 })
			s := r.bound()
			r.mustReply(r.begin(s), "menu", time.Minute)
			m := s.expectSubmit("menu")
			s.write(frame(pdu.SubmitSMRespID, 0, m.Sequence, "7F3A\x00"+string(tlvs(0x0428, state))))
			s.alive()
			r.noEvent()
			if b := r.link.Status().Binds[0]; b.Window != want {
				t.Errorf("window %d, want %d", b.Window, want)
			}
		})
	}
}

func TestAnswersGoBeforePushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window = 1 })
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "first", time.Minute)
		m := s.expectSubmit("first")
		push, err := r.link.Open("2348039999999", "*999#")
		if err != nil {
			t.Fatal(err)
		}
		r.mustReply(push, "push", time.Minute)
		r.mustReply(e, "answer", time.Minute)
		s.answer(m, 0)
		s.answer(s.expectSubmit("answer"), 0)
		m = s.expectSubmit("push")
		second, err := r.link.Open("2348039999998", "*999#")
		if err != nil {
			t.Fatal(err)
		}
		r.mustReply(second, "too late", time.Second)
		if got := r.event(); got.Op != smpp.Refused || got.Err != smpp.ErrExpired {
			t.Errorf("event %+v", got)
		}
		s.answer(m, 0)
		if got := r.event(); got.Op != smpp.Opened {
			t.Errorf("event %+v", got)
		}
	})
}

func TestOpen(t *testing.T) {
	inBubble(t, "asks", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		e, err := r.link.Open(testMSISDN, "*999#")
		if err != nil {
			t.Fatal(err)
		}
		if e.Dialogue != (smpp.Dialogue{SMSC: "mtn", MSISDN: testMSISDN}) || e.Code != "*999#" {
			t.Errorf("event %+v", e)
		}
		r.mustReply(e, "Choose", time.Minute)
		m := s.expectSubmit("Choose")
		op, _ := m.TLVs.Get(0x0501)
		_, session := m.TLVs.Get(0x1383)
		if string(m.Dest.Digits) != testMSISDN || string(m.Source.Digits) != "*999#" || string(op) != "\x02" || session {
			t.Errorf("submit_sm %+v", m)
		}
		s.write(frame(pdu.SubmitSMRespID, 0, m.Sequence, "7F3A\x00"+string(tlvs(0x1383, "\x2a\x00"))))
		opened := r.event()
		if opened.Op != smpp.Opened || opened.Dialogue.ID != "2a00" || opened.Dialogue.MSISDN != testMSISDN || opened.Op.String() != "opened" {
			t.Errorf("event %+v", opened)
		}
		r.mustReply(opened, "Next", time.Minute)
		m = s.expectSubmit("Next")
		if v, _ := m.TLVs.Get(0x1383); len(v) != 2 || v[0] != 0x2A {
			t.Errorf("session %x", v)
		}
		s.answer(m, 0)
		s.alive()
		r.noEvent()
	})
	inBubble(t, "tells", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		e, err := r.link.Open(testMSISDN, "*999#")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Reply("Hello", true, time.Time{}); err != nil {
			t.Fatal(err)
		}
		m := s.expectSubmit("Hello")
		if op, _ := m.TLVs.Get(0x0501); string(op) != "\x03" {
			t.Errorf("operation %x", op)
		}
		s.answer(m, 0)
		if got := r.event(); got.Op != smpp.Opened || got.Dialogue.ID != "" {
			t.Errorf("event %+v", got)
		}
	})
	inBubble(t, "refused", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		e, err := r.link.Open(testMSISDN, "*999#")
		if err != nil {
			t.Fatal(err)
		}
		r.mustReply(e, "Hello", time.Minute)
		s.answer(s.expectSubmit("Hello"), 0x4C8)
		var refusal *smpp.StatusError
		if err := r.refused(); !errors.As(err, &refusal) || refusal.Status != 0x4C8 {
			t.Errorf("cause %v", err)
		}
	})
	inBubble(t, "not possible", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) {
			c.Profile, _ = smpp.ProfileByName("tata")
		})
		if _, err := r.link.Open(testMSISDN, "*999#"); !errors.Is(err, smpp.ErrNoPush) {
			t.Errorf("error %v", err)
		}
		r.bound()
	})
	inBubble(t, "nobody's number", func(t *testing.T) {
		r := start(t, nil)
		for _, number := range []string{"", "911", "+2348031234567", "08031234567"} {
			if _, err := r.link.Open(number, "*999#"); err == nil {
				t.Errorf("%q was taken", number)
			}
		}
		if _, err := r.link.Open(testMSISDN, ""); err == nil || err.Error() != `open: "" is not a service code` {
			t.Errorf("without a code: %v", err)
		}
		r.bound()
	})
}

// afterUser is an SMSC that answers a reply when its subscriber has.
func afterUser(c *smpp.Config) {
	c.Profile, _ = smpp.ProfileByName("standard")
	c.Profile.AfterUser = true
}

// An answer that comes before its screen was acknowledged is marked, where no
// counter tells more.
func TestEarly(t *testing.T) {
	inBubble(t, "without a counter", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Profile = profile(t, "mica") })
		s := r.bound()
		input := func() *smpp.Event {
			t.Helper()
			s.write(golden(t, "mica-input"))
			s.expect(pdu.DeliverSMRespID)
			return r.event()
		}
		e := input()
		if e.Early {
			t.Error("early without a screen")
		}
		r.mustReply(e, "menu", time.Minute)
		m := s.expectSubmit("menu")
		if !input().Early {
			t.Error("not early while its screen is not acknowledged")
		}
		s.answer(m, 0)
		s.alive()
		if input().Early {
			t.Error("early although its screen was acknowledged")
		}
	})
	inBubble(t, "with a counter", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		r.mustReply(r.begin(s), "menu", time.Minute)
		s.expectSubmit("menu")
		s.write(golden(t, "standard-input"))
		s.expect(pdu.DeliverSMRespID)
		if e := r.event(); e.Early || !e.HasCounter {
			t.Errorf("early %v, counter %v", e.Early, e.HasCounter)
		}
	})
}

func TestAfterUser(t *testing.T) {
	inBubble(t, "defaults", func(t *testing.T) {
		r := start(t, afterUser)
		s := r.bound()
		if got := r.link.Status().Window; got != 65536 {
			t.Errorf("window %d", got)
		}
		began := time.Now()
		if err := r.begin(s).Reply("menu", false, time.Time{}); err != nil {
			t.Fatal(err)
		}
		s.expectSubmit("menu")
		go func() {
			for {
				b, err := s.frames.ReadFrame()
				if err != nil {
					return
				}
				if h := smpp.ParseHeader(b); h.ID == pdu.EnquireLinkID {
					_, _ = s.conn.Write(frame(pdu.EnquireLinkRespID, 0, h.Sequence, ""))
				}
			}
		}()
		if err := r.refused(); err != smpp.ErrTimeout || time.Since(began) != 70*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
	inBubble(t, "an answer proves that its screen was shown", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { afterUser(c); c.Window = 1 })
		s := r.bound()
		r.mustReply(r.begin(s), "menu", time.Minute)
		m := s.expectSubmit("menu")
		s.write(golden(t, "standard-input"))
		s.expect(pdu.DeliverSMRespID)
		e := r.event()
		if n := r.link.Status().InFlight; n != 0 {
			t.Errorf("%d in flight", n)
		}
		r.mustReply(e, "next", time.Minute)
		next := s.expectSubmit("next")
		s.answer(m, 0)
		s.answer(next, 0)
		s.alive()
		synctest.Wait()
		r.noEvent()
		if st := r.link.Status(); len(st.Counters.Malformed) != 0 || st.InFlight != 0 {
			t.Errorf("status %+v", st)
		}
	})
	inBubble(t, "an answer on another bind", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { afterUser(c); c.Window, c.Binds = 1, 2 })
		binds := r.acceptAll(2)
		e := r.begin(binds[0])
		r.mustReply(e, "menu", time.Minute)
		m := binds[0].expectSubmit("menu")
		r.mustReply(e, "waits for room", time.Minute)
		binds[1].write(golden(t, "standard-input"))
		binds[1].expect(pdu.DeliverSMRespID)
		r.event()
		next := binds[0].expectSubmit("waits for room")
		binds[0].answer(m, 0)
		binds[0].answer(next, 0)
		binds[0].alive()
	})
	inBubble(t, "a response that never comes to a screen that was shown", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { afterUser(c); c.EnquireLink = time.Hour })
		s := r.bound()
		r.mustReply(r.begin(s), "menu", time.Minute)
		m := s.expectSubmit("menu")
		s.write(golden(t, "standard-input"))
		s.expect(pdu.DeliverSMRespID)
		r.event()
		wait(71 * time.Second)
		r.noEvent()
		s.answer(m, 0)
		s.alive()
		if n := r.link.Status().Counters.Malformed["response to nothing"]; n != 1 {
			t.Error("still known after its time")
		}
	})
	inBubble(t, "a late refusal of a screen that was shown", func(t *testing.T) {
		r := start(t, afterUser)
		s := r.bound()
		r.mustReply(r.begin(s), "menu", time.Minute)
		m := s.expectSubmit("menu")
		s.write(golden(t, "standard-abort"))
		s.expect(pdu.DeliverSMRespID)
		r.event()
		s.answer(m, 0x455)
		s.alive()
		r.noEvent()
	})
	inBubble(t, "responses that never come are bounded", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { afterUser(c); c.Window = 4 })
		s := r.bound()
		e := r.begin(s)
		var first smpp.Message
		for i := range 20 {
			r.mustReply(e, "menu", time.Minute)
			if m := s.expectSubmit("menu"); i == 0 {
				first = m
			}
			s.write(golden(t, "standard-input"))
			s.expect(pdu.DeliverSMRespID)
			e = r.event()
		}
		s.answer(first, 0)
		s.alive()
		if n := r.link.Status().Counters.Malformed["response to nothing"]; n != 1 {
			t.Errorf("the first of twenty is still known")
		}
	})
}

// A begin that the SMSC delivers twice is answered once by a handler that knows
// it: its answer must not be withdrawn for the second.
func TestBeginTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { c.Window = 1 })
		s := r.bound()
		first := r.begin(s)
		r.mustReply(first, "blocks the window", time.Minute)
		blocker := s.expectSubmit("blocks the window")
		begin := begin()
		begin.Source.Digits = []byte("2348035555555")
		twice := encode(t, &begin)
		s.write(twice)
		s.expect(pdu.DeliverSMRespID)
		r.mustReply(r.event(), "welcome", time.Minute)
		s.write(twice)
		s.expect(pdu.DeliverSMRespID)
		again := r.event()
		s.answer(blocker, 0)
		m := s.expectSubmit("welcome")
		// If the handler takes it for a new dialogue, its answer replaces the other.
		r.mustReply(again, "welcome again", time.Minute)
		s.write(twice)
		s.expect(pdu.DeliverSMRespID)
		r.mustReply(r.event(), "welcome the third time", time.Minute)
		s.answer(m, 0)
		s.answer(s.expectSubmit("welcome the third time"), 0)
		s.alive()
		if n := r.link.Status().Counters.Withdrawn; n != 1 {
			t.Errorf("%d withdrawn", n)
		}
	})
}

func anonymous(c *smpp.Config) {
	c.Profile, _ = smpp.ProfileByName("standard")
	c.Profile.AnonymousLater = true
}

// nobody is an input that does not say whose it is.
func nobody(t *testing.T, session string) []byte {
	m := begin()
	m.Source.Digits, m.Dest.Digits, m.ShortMessage = nil, nil, []byte("1")
	m.TLVs = tlvs(0x0501, "\x12", 0x1383, session)
	return encode(t, &m)
}

func TestAnonymousLater(t *testing.T) {
	inBubble(t, "known", func(t *testing.T) {
		r := start(t, anonymous)
		s := r.bound()
		e := r.begin(s)
		r.mustReply(e, "menu", time.Minute)
		s.answer(s.expectSubmit("menu"), 0)
		s.write(nobody(t, "\x2a\x02"))
		s.expect(pdu.DeliverSMRespID)
		in := r.event()
		if in.Dialogue != e.Dialogue || in.Text != "1" || in.Code != "*123#" {
			t.Errorf("event %+v", in)
		}
		if err := in.Reply("bye", true, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if m := s.expectSubmit("bye"); string(m.Dest.Digits) != testMSISDN {
			t.Errorf("to %s", m.Dest.Digits)
		}
		s.write(nobody(t, "\x2a\x02"))
		s.expect(pdu.DeliverSMRespID)
		if got := r.event(); got.Dialogue.MSISDN != "" {
			t.Error("still known after the end")
		}
	})
	inBubble(t, "unknown", func(t *testing.T) {
		r := start(t, anonymous)
		s := r.bound()
		s.write(nobody(t, "\x2a\x02"))
		s.expect(pdu.DeliverSMRespID)
		e := r.event()
		if e.Op != smpp.Input || e.Dialogue != (smpp.Dialogue{SMSC: "mtn", ID: "2a00"}) {
			t.Errorf("event %+v", e)
		}
		e.Identify(testMSISDN)
		e.Identify("2348030000000") // it is known by now
		if e.Dialogue.MSISDN != testMSISDN {
			t.Errorf("event %+v", e)
		}
		s.write(nobody(t, "\x2a\x04"))
		s.expect(pdu.DeliverSMRespID)
		if got := r.event(); got.Dialogue.MSISDN != testMSISDN {
			t.Errorf("event %+v", got)
		}
	})
	inBubble(t, "forgotten", func(t *testing.T) {
		r := start(t, func(c *smpp.Config) { anonymous(c); c.EnquireLink = time.Hour })
		s := r.bound()
		r.begin(s)
		for range 3 { // who goes on is known for longer
			wait(9 * time.Minute)
			s.write(nobody(t, "\x2a\x02"))
			s.expect(pdu.DeliverSMRespID)
			if got := r.event(); got.Dialogue.MSISDN != testMSISDN {
				t.Fatalf("event %+v", got)
			}
		}
		wait(20 * time.Minute)
		s.write(nobody(t, "\x2a\x02"))
		s.expect(pdu.DeliverSMRespID)
		if got := r.event(); got.Dialogue.MSISDN != "" {
			t.Errorf("event %+v", got)
		}
	})
	inBubble(t, "released, and begun by us", func(t *testing.T) {
		r := start(t, anonymous)
		s := r.bound()
		e, err := r.link.Open(testMSISDN, "*999#")
		if err != nil {
			t.Fatal(err)
		}
		r.mustReply(e, "Choose", time.Minute)
		m := s.expectSubmit("Choose")
		s.write(frame(pdu.SubmitSMRespID, 0, m.Sequence, "7F3A\x00"+string(tlvs(0x1383, "\x2a\x00"))))
		r.event()
		s.write(nobody(t, "\x2a\x03")) // the end bit is set
		s.expect(pdu.DeliverSMRespID)
		if got := r.event(); got.Op != smpp.Release || got.Dialogue.MSISDN != testMSISDN {
			t.Errorf("event %+v", got)
		}
		s.write(nobody(t, "\x2a\x02"))
		s.expect(pdu.DeliverSMRespID)
		if got := r.event(); got.Dialogue.MSISDN != "" {
			t.Error("still known after the release")
		}
	})
	inBubble(t, "only where the profile says so", func(t *testing.T) {
		r := start(t, nil)
		s := r.bound()
		s.write(nobody(t, "\x2a\x02"))
		s.expectStatus(pdu.DeliverSMRespID, 0x0A)
	})
}
