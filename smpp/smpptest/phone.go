package smpptest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Phone is a handset on a terminal: its user types a code, reads the screen,
// answers, hangs up, dials again.
type Phone struct {
	Sim     *Sim
	MSISDN  string
	Timeout time.Duration // after which the network ends a dialogue that the ESME leaves without an answer; must be positive
	Wait    time.Duration // how long a dial waits for an ESME to bind; zero: not at all
	In      io.Reader     // lines; read by a goroutine of its own, which ends with In
	Out     io.Writer
}

const phoneHelp = `Type a code such as *999# to dial it. In a session, what you type is your answer;
typed before the screen is there, it waits for it.
  :hangup  end the session, at once
  :help    show this
  :quit    leave, at once (the end of the input: after the screen that is awaited)
`

// Run serves the user until :quit, the end of In, or the end of ctx. What is
// typed while a screen is awaited is held back until that has come, so that In
// can be a plain pipe; the end of In is held back alike. A dialogue still open
// at the end is hung up. The error is In's or Out's.
func (p *Phone) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan string)
	var readErr error
	go func() {
		defer close(lines)
		in := bufio.NewScanner(p.In)
		for in.Scan() {
			select {
			case lines <- strings.TrimSpace(in.Text()):
			case <-ctx.Done():
				return
			}
		}
		readErr = in.Err()
	}()

	t := &terminal{Phone: p, ctx: ctx, handset: p.Sim.Handset(p.MSISDN)}
	t.printf("This is the phone of +%s.\n%s", p.MSISDN, phoneHelp)
	t.prompt()
	for !t.left && t.err == nil {
		if !t.awaits() && len(t.held) > 0 {
			line := t.held[0]
			t.held = t.held[1:]
			t.printf("%s\n", line) // behind its prompt, as if typed now
			t.line(line)
			continue
		}
		if !t.awaits() && lines == nil {
			t.left, t.err = true, readErr
			break
		}
		select {
		case line, ok := <-lines:
			switch {
			case !ok:
				lines = nil
			case t.awaits() && !strings.HasPrefix(line, ":"):
				t.held = append(t.held, line)
			default:
				t.line(line)
			}
		case err := <-t.bound:
			t.redial(err)
		case e := <-t.events():
			t.event(e)
		case <-t.rings():
			t.dialogue = t.handset.called()
		case <-t.handset.beeps:
			t.texts()
		case <-t.late():
			t.printf("\nNo answer within %v: the network ends the session.\n", p.Timeout)
			t.hangup()
		case <-ctx.Done():
			t.left = true
		}
	}
	t.leave()
	return t.err
}

// terminal is the state of a Phone that runs.
type terminal struct {
	*Phone
	ctx      context.Context // Run's
	handset  *Handset
	dialogue *dialogue   // nil: none is open
	patience *time.Timer // nil: no screen is awaited
	held     []string    // typed while something was awaited
	left     bool
	err      error // of Out

	// While a dial waits for an ESME:
	dialled string
	bound   <-chan error       // the end of the wait; nil: no dial waits
	giveUp  context.CancelFunc // of the wait
}

// awaits tells whether the user has done something that has not come to
// anything yet.
func (t *terminal) awaits() bool { return t.patience != nil || t.bound != nil }

// events is where the dialogue's screens come from; nil, that is never, without
// one.
func (t *terminal) events() <-chan event {
	if t.dialogue == nil {
		return nil
	}
	return t.dialogue.events
}

// rings tells of a dialogue that an ESME has opened; nil, that is never, within
// a dialogue.
func (t *terminal) rings() <-chan struct{} {
	if t.dialogue != nil {
		return nil
	}
	return t.handset.rings
}

// late fires when the ESME has had its time; nil, that is never, when nothing
// is awaited.
func (t *terminal) late() <-chan time.Time {
	if t.patience == nil {
		return nil
	}
	return t.patience.C
}

func (t *terminal) line(line string) {
	switch {
	case line == ":quit":
		t.left = true
		return
	case line == ":help":
		t.printf("%s", phoneHelp)
	case line == ":hangup":
		t.held = nil // meant for the session that ends
		if t.bound != nil {
			t.giveUp()
			t.bound = nil
			t.printf("You hung up.\n")
			break
		}
		if t.dialogue == nil {
			t.printf("There is no session.\n")
			break
		}
		t.printf("You hung up.\n")
		t.hangup()
		return
	case strings.HasPrefix(line, ":"):
		t.printf("%s is not a command. :help lists them.\n", line)
	case line == "":
	case t.dialogue != nil:
		t.await(t.handset.input(line))
		return
	case strings.HasPrefix(line, "*") || strings.HasPrefix(line, "#"):
		t.dial(line)
		return
	default:
		t.printf("There is no session. Dial a code such as *999# first.\n")
	}
	t.prompt()
}

// dial begins a session, once an ESME is bound.
func (t *terminal) dial(code string) {
	d, err := t.handset.begin(ServiceOf(code), code)
	if !errors.Is(err, ErrNoESME) || t.Wait <= 0 {
		t.await(d, err)
		return
	}
	t.printf("No ESME is bound. Waiting %v for one.\n", t.Wait)
	ctx, cancel := context.WithTimeout(t.ctx, t.Wait)
	bound := make(chan error, 1)
	go func() {
		defer cancel()
		bound <- t.Sim.WaitBound(ctx, "")
	}()
	t.dialled, t.bound, t.giveUp = code, bound, cancel
}

// redial goes on with a dial whose wait for an ESME has ended with err.
func (t *terminal) redial(err error) {
	t.bound = nil
	if err != nil {
		t.await(nil, ErrNoESME)
		return
	}
	t.dial(t.dialled)
}

// await begins to wait for what the ESME says to the step just sent.
func (t *terminal) await(d *dialogue, err error) {
	if err != nil {
		t.printf("Connection problem: %v.\n", err)
		t.prompt()
		return
	}
	t.dialogue = d
	t.settle()
	t.patience = time.NewTimer(t.Timeout)
}

func (t *terminal) event(e event) {
	asked := t.patience != nil
	t.settle()
	if !asked {
		t.printf("\n")
	}
	if e.err != nil {
		t.dialogue = nil
		t.printf("Connection problem: %v. The session has ended.\n", e.err)
	} else {
		if e.screen.End {
			t.dialogue = nil
		}
		t.printf("%s", e.screen.Frame())
		if e.screen.Bad > 0 {
			t.printf("Octets without a character in the text's alphabet: %d.\n", e.screen.Bad)
		}
	}
	t.prompt()
}

// texts shows the short messages that have come.
func (t *terminal) texts() {
	for m, ok := t.handset.unread(); ok; m, ok = t.handset.unread() {
		t.printf("\n%s", m.Bubble())
	}
	t.prompt()
}

// settle stops the clock that ran for the ESME.
func (t *terminal) settle() {
	if t.patience != nil {
		t.patience.Stop()
		t.patience = nil
	}
}

// hangup sends the release; the ESME's acknowledgement is not waited for.
func (t *terminal) hangup() {
	t.settle()
	t.dialogue = nil
	if _, err := t.handset.left(actHangup); err != nil && !errors.Is(err, ErrNoDialogue) {
		t.printf("The ESME could not be told: %v.\n", err)
	}
	t.prompt()
}

// leave hangs up a dialogue that is still open and waits, bounded, until the
// ESME has acknowledged it.
func (t *terminal) leave() {
	t.settle()
	if t.dialogue != nil {
		ctx, cancel := context.WithTimeout(context.Background(), t.Timeout)
		defer cancel()
		if err := t.handset.Hangup(ctx); err != nil {
			t.printf("\n%v.\n", err)
		}
	}
	t.printf("\n")
}

func (t *terminal) prompt() {
	if t.left || t.awaits() {
		return
	}
	if t.dialogue == nil {
		t.printf("dial> ")
	} else {
		t.printf("answer> ")
	}
}

func (t *terminal) printf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.Out, format, args...)
	}
}
