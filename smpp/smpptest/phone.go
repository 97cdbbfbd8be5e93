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
	In      io.Reader     // lines; read by a goroutine of its own, which ends with In
	Out     io.Writer
}

const phoneHelp = `Type a code such as *999# to dial it. In a session, what you type is your answer.
  :hangup  end the session
  :help    show this
  :quit    leave (so does the end of the input)
`

// Run serves the user until :quit, the end of In, or the end of ctx. A dialogue
// still open then is hung up. The error is In's or Out's.
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

	t := &terminal{Phone: p, handset: p.Sim.Handset(p.MSISDN)}
	t.printf("This is the phone of +%s.\n%s", p.MSISDN, phoneHelp)
	t.prompt()
	for !t.left && t.err == nil {
		select {
		case line, ok := <-lines:
			if !ok {
				t.left, t.err = true, readErr
				break
			}
			t.line(line)
		case e := <-t.events():
			t.event(e)
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
	handset  *Handset
	dialogue *dialogue // nil: none is open
	patience *time.Timer
	left     bool
	err      error // of Out
}

// events is where the dialogue's screens come from; nil, that is never, without
// one.
func (t *terminal) events() <-chan event {
	if t.dialogue == nil {
		return nil
	}
	return t.dialogue.events
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
		t.await(t.handset.input(opUSSRConfirm, line))
		return
	case strings.HasPrefix(line, "*") || strings.HasPrefix(line, "#"):
		t.await(t.handset.begin(ServiceOf(line), line))
		return
	default:
		t.printf("There is no session. Dial a code such as *999# first.\n")
	}
	t.prompt()
}

// await begins to wait for what the ESME says to the step just sent.
func (t *terminal) await(d *dialogue, err error) {
	switch {
	case errors.Is(err, ErrNotYourTurn):
		t.printf("Wait for the screen, or :hangup.\n")
	case err != nil:
		t.printf("Connection problem: %v.\n", err)
		t.prompt()
	default:
		t.dialogue = d
		t.settle()
		t.patience = time.NewTimer(t.Timeout)
	}
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
	if _, err := t.handset.input(opRelease, ""); err != nil && !errors.Is(err, ErrNoDialogue) {
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
	if t.left || t.patience != nil {
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
