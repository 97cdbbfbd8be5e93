package smpptest_test

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"ussdd/smpp/smpptest"
)

// user is who sits before a Phone.
type user struct {
	t    *testing.T
	in   *io.PipeWriter
	out  *bufio.Reader
	done chan error
}

// newUser gives somebody a phone.
func newUser(t *testing.T, ctx context.Context, sim *smpptest.Sim, timeout time.Duration) *user {
	t.Helper()
	return newPatientUser(t, ctx, sim, timeout, 0)
}

// newPatientUser is one whose dials wait for an ESME.
func newPatientUser(t *testing.T, ctx context.Context, sim *smpptest.Sim, timeout, wait time.Duration) *user {
	t.Helper()
	inRead, in := io.Pipe()
	out, outWrite := io.Pipe()
	u := &user{t: t, in: in, out: bufio.NewReader(out), done: make(chan error, 1)}
	phone := smpptest.Phone{Sim: sim, MSISDN: amina, Timeout: timeout, Wait: wait, In: inRead, Out: outWrite}
	go func() {
		u.done <- phone.Run(ctx)
		outWrite.Close()
	}()
	t.Cleanup(func() {
		in.Close()
		out.Close()
	})
	u.reads("dial> ")
	return u
}

func (u *user) types(line string) {
	u.t.Helper()
	if _, err := io.WriteString(u.in, line+"\n"); err != nil {
		u.t.Fatal(err)
	}
}

// reads returns what the phone shows up to the prompt.
func (u *user) reads(prompt string) string {
	u.t.Helper()
	var seen strings.Builder
	for !strings.HasSuffix(seen.String(), prompt) {
		c, err := u.out.ReadByte()
		if err != nil {
			u.t.Fatalf("%v after %q", err, seen.String())
		}
		seen.WriteByte(c)
	}
	return seen.String()
}

func (u *user) sees(prompt string, wants ...string) {
	u.t.Helper()
	got := u.reads(prompt)
	for _, want := range wants {
		if !strings.Contains(got, want) {
			u.t.Errorf("saw\n%s\nwant in it %q", got, want)
		}
	}
}

// leaves returns the last that the phone shows.
func (u *user) leaves() string {
	u.t.Helper()
	rest, err := io.ReadAll(u.out)
	if err != nil {
		u.t.Fatal(err)
	}
	if err := <-u.done; err != nil {
		u.t.Error(err)
	}
	return string(rest)
}

func TestPhone(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	released := make(chan string, 2)
	buy := shop()
	bound(t, sim).serve(func(in input) (string, bool) {
		if in.op[0] == 0x81 {
			released <- in.service
		}
		return buy(in)
	})
	u := newUser(t, within(t), sim, patience)

	u.types("1")
	u.sees("dial> ", "There is no session. Dial a code such as *999# first.")
	u.types(":hangup")
	u.sees("dial> ", "There is no session.")
	u.types(":dance")
	u.sees("dial> ", ":dance is not a command.")
	u.types(":help")
	u.sees("dial> ", ":hangup  end the session")
	u.types("")
	u.sees("dial> ")

	u.types("  *999#  ")
	u.sees("answer> ", "│ Welcome to Airtime Purchase      │", "│ Answer                    Cancel │")
	u.types("1")
	u.sees("dial> ", "│ Airtime Purchase Successful!     │", "│ Phone: 2348031234567             │",
		"│ Session ended                 OK │")

	u.types("*999*5#")
	u.sees("answer> ", "Welcome")
	u.types(":hangup")
	u.sees("dial> ", "You hung up.")
	if service := <-released; service != "*999#" {
		t.Errorf("released %q", service)
	}

	u.types("*999#")
	u.sees("answer> ", "Welcome")
	u.types(":quit")
	u.leaves()
	<-released
}

func TestPhoneAtTheEndOfInput(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	u := newUser(t, within(t), sim, patience)
	u.types("*999#")
	u.sees("dial> ", "Connection problem: no ESME is bound")
	u.in.Close()
	u.leaves()
}

func TestPhoneTimeout(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	u := newUser(t, within(t), sim, time.Millisecond)
	u.types("*999#")
	u.sees("dial> ", "No answer within 1ms: the network ends the session.")
	e.ack(e.delivered(), 0)
	if release := e.delivered(); release.op[0] != 0x81 {
		t.Errorf("%+v", release)
	}
}

func TestPhoneRefused(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	u := newUser(t, within(t), sim, patience)
	u.types("*999#")
	begin := e.delivered()
	u.types("too early")
	u.types(":help")
	u.sees("is awaited)\n")
	e.ack(begin, 0x64)
	u.sees("dial> ", "Connection problem: the ESME refused the input: 0x64 ", "The session has ended.")
	u.sees("dial> ", "too early\nThere is no session.")
}

func TestPhoneOnAPipe(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	bound(t, sim).serve(shop())
	var out strings.Builder
	phone := smpptest.Phone{Sim: sim, MSISDN: amina, Timeout: patience, In: strings.NewReader("*999#\n1\n*999#\n"), Out: &out}
	if err := phone.Run(within(t)); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(out.String(), "> ") // the prompts
	if len(parts) != 5 || !strings.Contains(parts[1], "Welcome") || !strings.Contains(parts[2], "Airtime Purchase Successful!") ||
		!strings.Contains(parts[3], "Welcome") {
		t.Errorf("saw\n%s", out.String())
	}
}

func TestPhoneHangupDoesNotWait(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	u := newUser(t, within(t), sim, patience)
	u.types("*999#")
	begin := e.delivered()
	u.types("1") // for a session that there is no more
	u.types(":hangup")
	u.sees("dial> ", "You hung up.")
	e.ack(begin, 0)
	if release := e.delivered(); release.op[0] != 0x81 {
		t.Errorf("%+v", release)
	}
	u.types(":help")
	if seen := u.reads("dial> "); strings.Contains(seen, "There is no session.") {
		t.Errorf("saw %s", seen)
	}
}

func TestPhoneWaitsForAnESME(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	u := newPatientUser(t, within(t), sim, patience, patience)
	u.types("*999#")
	u.sees("No ESME is bound. Waiting 1m0s for one.\n")
	u.types(":hangup")
	u.sees("dial> ", "You hung up.")
	u.types("*999#")
	u.sees("for one.\n")
	bound(t, sim).serve(shop())
	u.sees("answer> ", "Welcome")

	u = newPatientUser(t, within(t), newSim(t, smpptest.Config{}), patience, time.Millisecond)
	u.types("*999#")
	u.sees("dial> ", "Connection problem: no ESME is bound")
}

func TestPhoneUnaskedEnd(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	ctx, cancel := context.WithCancel(within(t))
	u := newUser(t, ctx, sim, patience)

	u.types("*999#")
	begin := e.delivered()
	e.ack(begin, 0)
	e.submit(answer(begin, "1. Buy", false))
	u.sees("answer> ", "1. Buy")
	e.submit(answer(counted(begin), "You took too long.", true))
	u.sees("dial> ", "\n┌──", "You took too long.", "Session ended")

	cancel()
	if rest := u.leaves(); rest != "\n" {
		t.Errorf("left with %q", rest)
	}
}

// TestPhoneRings: the ESME opens a menu on a phone that nobody has touched.
func TestPhoneRings(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	ctx, cancel := context.WithCancel(within(t))
	u := newUser(t, ctx, sim, patience)

	sim.SetNextID(0x2A)
	e.told("push", conversationIn("standard").push)
	u.sees("answer> ", "\n┌──", "2 Buy")
	u.types("1")
	e.takes("answer", conversationIn("standard").pushed)
	e.told("end", conversationIn("standard").close)
	u.sees("dial> ", "Bal 20.00", "Session ended")
	cancel()
	u.leaves()
}
