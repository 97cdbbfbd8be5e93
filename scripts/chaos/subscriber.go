package main

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"ussdd/smpp/smpptest"
)

const (
	stepTimeout = 4 * time.Second // after which a subscriber gives a dialogue up
	leaveTime   = 2 * time.Second // for the word that he does
	maxInputs   = 15              // of one dialogue
)

// success is a screen that says that a purchase was delivered.
type success struct{ msisdn, ref string }

var reference = regexp.MustCompile(`Transaction ID: (\S+)`)

// live has a subscriber go through all of his orders.
func (r *run) live(ctx context.Context, s subscriber) {
	h := r.sim.Handset(s.msisdn)
	for _, o := range s.orders {
		if !pause(ctx, o.pause) {
			return
		}
		r.clock.tick()
		r.count("dialogue: " + string(o.manner))
		r.dialogue(ctx, h, o)
		if o.manner == redials {
			o.manner = waits
			r.dialogue(ctx, h, o)
		}
	}
}

// dialogue orders something. Whatever comes in between, it ends with no dialogue
// open, but for one that is to be dialled over.
func (r *run) dialogue(ctx context.Context, h *smpptest.Handset, o order) {
	if o.fault != "" && !o.confirm {
		r.arm(h, o.fault)
	}
	step := func(act func(context.Context) (smpptest.Screen, error), patience time.Duration) (smpptest.Screen, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return act(ctx)
	}
	screen, err := step(func(ctx context.Context) (smpptest.Screen, error) { return h.Dial(ctx, "*999#") }, stepTimeout)
	for inputs := 0; err == nil && !screen.End && inputs < maxInputs; inputs++ {
		input, confirms := o.answer(screen.Text)
		if input == "" || !pause(ctx, o.think) {
			break
		}
		patience := stepTimeout
		if confirms {
			if o.manner == wavers {
				break
			}
			if o.fault != "" && o.confirm {
				r.arm(h, o.fault)
			}
			r.confirmed(h.MSISDN())
			if o.manner == hangsUp || o.manner == vanishes || o.manner == redials {
				patience = o.patience
			}
		}
		screen, err = step(func(ctx context.Context) (smpptest.Screen, error) { return h.Answer(ctx, input) }, patience)
		if confirms && patience == o.patience {
			break
		}
	}
	r.saw(h.MSISDN(), screen, err)
	if errors.Is(err, smpptest.ErrNoESME) {
		_ = r.sim.WaitBound(ctx, "") // or the end of the run
	}
	if o.manner == redials || !h.Live() {
		return
	}
	leave := h.Hangup
	if o.manner == vanishes {
		leave = h.Abort
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	_ = leave(ctx) // the link may be gone
}

// answer is what the subscriber types when he sees a screen, "" to leave it.
// confirms tells that he confirms a purchase.
func (o order) answer(text string) (input string, confirms bool) {
	sees := func(words string) bool { return strings.Contains(text, words) }
	switch {
	case sees("1. Buy Airtime") && o.manner == asksOnly:
		return "2", false
	case sees("1. Buy Airtime"):
		return "1", false
	case sees("Wallet Balance"):
		return "", false
	case sees("Select Network:"):
		return o.network, false
	case sees("Enter phone number:"):
		return o.recipient, false
	case sees("Select Amount:"):
		return "6", false
	case sees("Enter amount"):
		return o.amount, false
	case sees("Confirm Purchase:") && o.manner == cancels:
		return "2", false
	case sees("Confirm Purchase:"):
		return "1", true
	case sees("2. Buy again") && o.insists:
		return "2", false
	}
	return "1", false // the processing screen, or one that asks something else
}

// endings name how dialogues end, by words on the last screen.
var endings = []struct{ words, name string }{
	{"Successful!", "delivered"}, {"Insufficient", "insufficient balance"}, {"Processing", "still processing"},
	{"Request timeout", "request timeout"}, {"temporarily unavailable", "unavailable"}, {"valid 11-digit", "bad number"},
	{"Wallet Balance", "balance"}, {"cancelled", "cancelled"}, {"session has ended", "expired"}, {"Confirm Purchase:", "not confirmed"},
	{"too many wrong answers", "too many wrong answers"},
	{"", "another screen"},
}

// saw takes down how a dialogue ended.
func (r *run) saw(msisdn string, screen smpptest.Screen, err error) {
	if err != nil {
		var refused *smpptest.RefusedError
		name := "broken"
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			name = "left before the answer"
		case errors.Is(err, smpptest.ErrNoESME):
			name = "no link"
		case errors.As(err, &refused):
			name = "refused"
		}
		r.count("ended: " + name)
		return
	}
	for _, e := range endings {
		if strings.Contains(screen.Text, e.words) {
			r.count("ended: " + e.name)
			break
		}
	}
	if found := reference.FindStringSubmatch(screen.Text); found != nil && strings.Contains(screen.Text, "Successful!") {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.successes = append(r.successes, success{msisdn, found[1]})
	}
}

// arm makes a fault of the SMSC strike the handset next.
func (r *run) arm(h *smpptest.Handset, fault string) {
	f, err := smpptest.ParseFault(fault)
	if err == nil {
		err = h.Arm(f)
	}
	if err != nil {
		r.fail("fault %s: %v", fault, err)
	}
}

// pause waits; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
