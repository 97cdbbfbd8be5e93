package smpp

import (
	"testing"
	"time"
)

func TestSequenceNumbersWrap(t *testing.T) {
	c := conn{sequence: 0x7FFFFFFD}
	for _, want := range []uint32{0x7FFFFFFE, 0x7FFFFFFF, 1, 2} {
		if got := c.nextSequence(); got != want {
			t.Errorf("got %#x, want %#x", got, want)
		}
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"2348031234567": "234803***4567",
		"23480312345":   "234803***2345",
		"2348031234":    "***",
		"":              "***",
	} {
		if got := mask(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// An SMSC that is away for days is still called, at the longest pause.
func TestBackoffStaysWithinItsBounds(t *testing.T) {
	for _, shortest := range []time.Duration{1, time.Second, 30 * time.Second, time.Minute} {
		b := backoff{shortest: shortest, longest: time.Minute}
		for range 10_000 {
			if d := b.next(errClosedByPeer, 0); d <= 0 && shortest > 1 || d > time.Minute {
				t.Fatalf("a pause of %s after %d failures from %s", d, b.failures, shortest)
			}
		}
		if d := b.next(errClosedByPeer, 0); d < time.Minute/2 {
			t.Errorf("a pause of %s at the end, from %s", d, shortest)
		}
	}
}
