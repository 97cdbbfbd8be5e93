package smpptest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
	"ussdd/smpp/smpptest"
)

// survivor is an ESME of the standard dialect that copes with everything: it
// tells each subscriber their number and what they have typed.
type survivor struct {
	addr     string
	nc       net.Conn
	sequence uint32
	session  map[string]uint16 // the last request by number: a repeated one gets no answer
	sent     map[uint32][]byte // replies without response
}

// run binds again and again until ctx ends.
func (s *survivor) run(ctx context.Context) {
	s.session = map[string]uint16{}
	for ctx.Err() == nil {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { nc.Close() })
		s.nc, s.sequence, s.sent = nc, 0, map[uint32][]byte{}
		s.serve()
		nc.Close()
		stop()
	}
}

func (s *survivor) serve() {
	s.write(fromHex("00000021 00000009 00000000 00000001 65736d6500 73656372657400 00 34 00 00 00"))
	frames := smpp.NewFrameReader(s.nc)
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			if errors.Is(err, smpp.ErrFraming) {
				s.header(pdu.GenericNACKID, 2, 0)
			}
			return
		}
		h := smpp.ParseHeader(frame)
		switch h.ID {
		case pdu.BindTransceiverRespID:
			if h.Status != 0 {
				return
			}
		case pdu.EnquireLinkID:
			s.header(pdu.EnquireLinkRespID, 0, h.Sequence)
		case pdu.UnbindID:
			s.header(pdu.UnbindRespID, 0, h.Sequence)
			return
		case pdu.DeliverSMID:
			s.delivered(frame, h)
		case pdu.SubmitSMRespID:
			switch h.Status {
			case 0x58, 0x14, 0x64:
				again := s.sent[h.Sequence]
				s.submit(again)
			}
			delete(s.sent, h.Sequence)
		default:
			s.header(pdu.GenericNACKID, 3, h.Sequence)
		}
	}
}

func (s *survivor) delivered(frame []byte, h smpp.Header) {
	var m smpp.Message
	if smpp.Decode(frame, &m) != nil {
		s.header(pdu.DeliverSMRespID, 1, h.Sequence)
		return
	}
	s.write(binary.BigEndian.AppendUint32([]byte{0, 0, 0, 17, 0x80, 0, 0, 5, 0, 0, 0, 0}, h.Sequence), []byte{0})
	value, _ := m.TLVs.Get(pdutlv.TagItsSessionInfo)
	op, _ := m.TLVs.Get(pdutlv.TagUssdServiceOp)
	word, msisdn := binary.BigEndian.Uint16(value), string(m.Source.Digits)
	last, known := s.session[msisdn]
	if word&1 != 0 {
		delete(s.session, msisdn)
		return
	}
	if known && last == word || op[0] != 0x01 && (!known || last>>8 != word>>8) {
		return
	}
	s.session[msisdn] = word
	text := strings.TrimSuffix(string(m.Payload()), "\r")
	reply := fmt.Sprintf("0501 0001 02 1383 0002 %04x", word+2)
	if text == "bye" {
		reply = fmt.Sprintf("0501 0001 11 1383 0002 %04x", word+3)
		delete(s.session, msisdn)
	}
	s.submit(short(submitSM, "USSD", "00"+string(m.Dest.Digits), "11"+msisdn, 0, msisdn+" "+text, reply))
}

func (s *survivor) submit(frame []byte) {
	s.sequence++
	binary.BigEndian.PutUint32(frame[12:], s.sequence+1000)
	s.sent[s.sequence+1000] = frame
	s.write(frame)
}

func (s *survivor) header(id pdu.ID, status, sequence uint32) {
	b := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 16}, uint32(id))
	b = binary.BigEndian.AppendUint32(b, status)
	s.write(binary.BigEndian.AppendUint32(b, sequence))
}

func (s *survivor) write(parts ...[]byte) {
	for _, b := range parts {
		if _, err := s.nc.Write(b); err != nil {
			return // the reader will see the end too
		}
	}
}

// TestChaos lets all that a right ESME survives happen to one: nobody sees what
// is another's, and the SMSC has nothing to complain of.
func TestChaos(t *testing.T) {
	sim := newSim(t, smpptest.Config{Chaos: &smpptest.Chaos{Seed: 3, Rate: 0.2}})
	ctx, stop := context.WithCancel(within(t))
	var wg sync.WaitGroup
	wg.Go(func() { (&survivor{addr: sim.Addr()}).run(ctx) })
	defer wg.Wait()
	defer stop()

	var screens, broken int
	var mu sync.Mutex
	var handsets sync.WaitGroup
	for n := range 20 {
		handsets.Go(func() {
			h := sim.Handset(fmt.Sprintf("234803%07d", n))
			for range 5 {
				seen, err := dialogueOf(ctx, t, sim, h)
				mu.Lock()
				screens += seen
				if err != nil {
					broken++
				}
				mu.Unlock()
			}
		})
	}
	handsets.Wait()
	total := 0
	for _, n := range sim.Struck() {
		total += n
	}
	t.Logf("%d screens, %d of 100 dialogues broken, %d faults of %d kinds", screens, broken, total, len(sim.Struck()))
	if screens == 0 || len(sim.Struck()) < 10 {
		t.Error("too little has happened")
	}
}

// dialogueOf holds one dialogue and counts the screens, each of which must be
// the subscriber's own.
func dialogueOf(ctx context.Context, t *testing.T, sim *smpptest.Sim, h *smpptest.Handset) (seen int, err error) {
	const patience = 500 * time.Millisecond
	step := func(f func(context.Context) (smpptest.Screen, error), text string) error {
		if err := sim.WaitBound(ctx, ""); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		screen, err := f(ctx)
		if err != nil {
			return err
		}
		seen++
		if want := h.MSISDN() + " " + text; screen.Text != want {
			t.Errorf("%s saw %q, not %q", h.MSISDN(), screen.Text, want)
		}
		return nil
	}
	err = step(func(ctx context.Context) (smpptest.Screen, error) { return h.Dial(ctx, "*999#") }, "*999#")
	for _, text := range []string{"1", "2", "bye"} {
		if err == nil {
			err = step(func(ctx context.Context) (smpptest.Screen, error) { return h.Answer(ctx, text) }, text)
		}
	}
	if h.Live() && sim.WaitBound(ctx, "") == nil {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if hangup := h.Hangup(ctx); hangup != nil && err == nil {
			err = hangup
		}
	}
	return seen, err
}

// TestChaosIsRepeatable: the same seed and the same doings are struck alike.
func TestChaosIsRepeatable(t *testing.T) {
	var before map[string]int
	for range 2 {
		sim := newSim(t, smpptest.Config{Chaos: &smpptest.Chaos{Seed: 55, Rate: 0.5}})
		bound(t, sim)
		for range 20 {
			ctx, cancel := context.WithCancel(within(t))
			cancel()
			sim.Handset(amina).Dial(ctx, "*999#")
			if len(sim.Binds()) == 0 {
				break // unbound, dropped or misframed: the same each time
			}
		}
		sim.Close() // what is unacknowledged then counts as acknowledged, and may be struck
		struck := sim.Struck()
		if before != nil && fmt.Sprint(before) != fmt.Sprint(struck) {
			t.Errorf("%v, then %v", before, struck)
		}
		if before = struck; len(struck) < 10 {
			t.Errorf("only %v were struck", struck)
		}
	}
}

func TestParseChaos(t *testing.T) {
	for text, want := range map[string]smpptest.Chaos{"7": {Seed: 7, Rate: 0.05}, "0:0.5": {Rate: 0.5}, "9:1": {Seed: 9, Rate: 1}} {
		if c, err := smpptest.ParseChaos(text); err != nil || *c != want {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	}
	for text, want := range map[string]string{
		"": `"" is not a seed, which is a whole number`, "-1": `"-1" is not a seed, which is a whole number`,
		"1:": `"" is not a rate from 0 to 1`, "1:2": `"2" is not a rate from 0 to 1`, "1:NaN": `"NaN" is not a rate from 0 to 1`,
	} {
		if _, err := smpptest.ParseChaos(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
