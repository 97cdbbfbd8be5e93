package smpp

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
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
		if got := Mask(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// An SMSC with ever new statuses makes no ever growing map, and loses no count.
func TestTooManyKinds(t *testing.T) {
	var mu sync.Mutex
	var statuses map[pdu.Status]uint64
	var kinds map[string]uint64
	for i := range maxKinds + 3 {
		// The first of the others is the first of its kind.
		if first := add(&mu, &statuses, pdu.Status(i+1)); first != (i <= maxKinds) {
			t.Fatalf("status %d: first %t", i+1, first)
		}
		add(&mu, &kinds, strconv.Itoa(i))
	}
	add(&mu, &statuses, 1)
	if len(statuses) != maxKinds+1 || statuses[OtherStatus] != 3 || statuses[1] != 2 {
		t.Errorf("%d statuses, %d others, %d of the first", len(statuses), statuses[OtherStatus], statuses[1])
	}
	if len(kinds) != maxKinds+1 || kinds["other"] != 3 {
		t.Errorf("%d kinds, %d others", len(kinds), kinds["other"])
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

// Our port is another one each time: with it in the text, no trouble would ever
// be known to be the last one again.
func TestWithoutAddresses(t *testing.T) {
	here, there := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 41234}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 2775}
	for want, err := range map[string]error{
		"read: connection reset by peer": &net.OpError{Op: "read", Net: "tcp", Source: here, Addr: there, Err: os.NewSyscallError("read", syscall.ECONNRESET)},
		"write: i/o timeout":             &net.OpError{Op: "write", Net: "tcp", Source: here, Addr: there, Err: os.ErrDeadlineExceeded},
		"closed by the SMSC":             errClosedByPeer,
	} {
		got := withoutAddresses(err)
		if got.Error() != want {
			t.Errorf("%v became %q, want %q", err, got, want)
		}
		if errors.Is(err, syscall.ECONNRESET) != errors.Is(got, syscall.ECONNRESET) {
			t.Errorf("%v has lost its cause", got)
		}
	}
}
