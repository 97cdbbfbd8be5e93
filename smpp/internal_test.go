package smpp

import "testing"

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
