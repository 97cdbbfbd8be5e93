package smpp_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// TestStorm lets four binds of two accounts be dropped, unbound, throttled,
// refused and garbled at random while subscribers dial on them, and counts what
// became of each reply: it was accepted or refused, or its fate is unknown, and
// the link says which. No subscriber gets another's screen.
func TestStorm(t *testing.T) {
	for seed := range uint64(5) {
		inBubble(t, fmt.Sprint(seed), func(t *testing.T) { storm(t, seed) })
	}
}

func storm(t *testing.T, seed uint64) {
	const dialogues = 1000
	r := start(t, func(c *smpp.Config) {
		c.Accounts = []smpp.Account{{SystemID: "one"}, {SystemID: "two"}}
		c.Binds, c.Window = 2, 16
		c.Profile, _ = smpp.ProfileByName("standard")
		c.Profile.Affinity = smpp.AnyBind
	})
	over := make(chan struct{})
	var playing sync.WaitGroup
	defer playing.Wait()
	defer r.stop()
	defer close(over)

	var queued, refused, next, accepted atomic.Int64
	for range 3 {
		playing.Go(func() {
			for {
				select {
				case e := <-r.events:
					switch e.Op {
					case smpp.Begin:
						if err := e.Reply("for "+e.Dialogue.MSISDN, false, time.Now().Add(time.Minute)); err != nil {
							t.Errorf("reply: %v", err)
						}
						queued.Add(1)
					case smpp.Refused:
						refused.Add(1)
					}
				case <-over:
					return
				}
			}
		})
	}
	playing.Go(func() {
		for n := uint64(0); ; n++ {
			select {
			case s := <-r.dials:
				playing.Go(func() {
					defer func() { _ = s.conn.Close() }()
					p := &storming{smsc: s, rng: rand.New(rand.NewPCG(seed, n)), accepted: &accepted}
					for p.turn() {
						if id := next.Add(1); id <= dialogues {
							m := begin()
							m.Source.Digits = fmt.Append(nil, 2348030000000+id)
							p.out = append(p.out, encode(t, &m)...)
							p.misbehave()
						}
					}
				})
			case <-over:
				return
			}
		}
	})
	wait(time.Hour)
	synctest.Wait()

	st := r.link.Status()
	fates := accepted.Load() + refused.Load() + int64(st.Counters.Unanswered)
	// Of those that the SMSC accepted, the link may not have heard.
	if st.Queued+st.InFlight != 0 || fates < queued.Load() || refused.Load()+int64(st.Counters.Unanswered) > queued.Load() {
		t.Errorf("%d queued, %d accepted, %d refused, status %+v", queued.Load(), accepted.Load(), refused.Load(), st)
	}
	if queued.Load() < dialogues/2 || st.Counters.Unanswered == 0 || refused.Load() == 0 || st.Counters.Retried == 0 {
		t.Errorf("hardly a storm: %d queued, %d refused, %+v", queued.Load(), refused.Load(), st.Counters)
	}
}

// storming is one connection of an SMSC that misbehaves.
type storming struct {
	*smsc
	rng      *rand.Rand
	out      []byte
	refuse   pdu.Status // answers the next submit_sm, if not zero
	accepted *atomic.Int64
}

// misbehave does something now and then.
func (s *storming) misbehave() {
	switch s.rng.IntN(60) {
	case 0:
		_ = s.conn.Close()
	case 1:
		s.out = append(s.out, frame(pdu.UnbindID, 0, 1, "")...)
	case 2, 3, 4:
		s.refuse = 0x58
	case 5, 6:
		s.refuse = 0x4C1
	case 7:
		s.out = append(s.out, "garbage that nobody can read"...)
	case 8:
		s.out = append(s.out, frame(0x77, 0, 1, "")...)
	}
}

// turn writes what there is to say, reads what has come, and answers it.
func (s *storming) turn() bool {
	if len(s.out) > 0 {
		if _, err := s.conn.Write(s.out); err != nil {
			return false
		}
	}
	s.out = s.out[:0]
	for more := true; more; more = s.frames.Ready() {
		b, err := s.frames.ReadFrame()
		if err != nil {
			return false
		}
		h := smpp.ParseHeader(b)
		switch h.ID {
		case pdu.BindTransceiverID:
			s.out = append(s.out, frame(pdu.BindTransceiverRespID, 0, h.Sequence, "X\x00")...)
		case pdu.UnbindID:
			s.out = append(s.out, frame(pdu.UnbindRespID, 0, h.Sequence, "")...)
		case pdu.EnquireLinkID:
			s.out = append(s.out, frame(pdu.EnquireLinkRespID, 0, h.Sequence, "")...)
		case pdu.SubmitSMID:
			var m smpp.Message
			if err := smpp.Decode(b, &m); err != nil || string(m.ShortMessage) != "for "+string(m.Dest.Digits) {
				s.t.Errorf("%s got %q (%v)", m.Dest.Digits, m.ShortMessage, err)
			}
			if s.refuse == 0 {
				s.accepted.Add(1)
			}
			s.out = append(s.out, frame(pdu.SubmitSMRespID, s.refuse, h.Sequence, "")...)
			s.refuse = 0
		}
	}
	return true
}
