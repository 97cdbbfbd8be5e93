package smpptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Player plays scripts on a Sim.
type Player struct {
	Sim     *Sim
	Out     io.Writer     // gets what each subscriber types and sees
	Timeout time.Duration // for each screen and each call; must be positive
}

// Result counts what a script came to.
type Result struct {
	Handsets int
	Screens  int // shown to all of them
	Failed   int // handsets that did not get to the end of their steps
}

// maxBody is how much of an HTTP answer is read.
const maxBody = 64 << 10

// Play plays a script to its end. A handset stops at its first step that does
// not come out as expected; the others go on. When ctx ends, every handset that
// has not finished has failed. The error is Out's, or says that the script is
// for another dialect or has a fault that the Sim's has no room for.
func (p *Player) Play(ctx context.Context, script *Script) (Result, error) {
	result := Result{Handsets: len(script.Journeys)}
	if speaks := p.Sim.dialect.name; script.Dialect != "" && script.Dialect != speaks {
		return result, fmt.Errorf("%s is for dialect %s; the SMSC speaks %s", script.Name, script.Dialect, speaks)
	}
	armed := map[string]bool{}
	for _, journey := range script.Journeys {
		if armed[journey.MSISDN] {
			continue
		}
		armed[journey.MSISDN] = true
		h := p.Sim.Handset(journey.MSISDN)
		defer h.disarm()
		if err := h.arm(always, script.Faults...); err != nil {
			return result, fmt.Errorf("%s: %w", script.Name, err)
		}
	}
	if !script.Parallel {
		for _, journey := range script.Journeys {
			run := p.run(ctx, script, journey, p.Out)
			result.add(run)
			if run.writeErr != nil {
				return result, run.writeErr
			}
		}
		return result, nil
	}

	var mu sync.Mutex
	var writeErr error
	var wg sync.WaitGroup
	for _, journey := range script.Journeys {
		wg.Go(func() {
			var out bytes.Buffer
			run := p.run(ctx, script, journey, &out)
			mu.Lock()
			defer mu.Unlock()
			result.add(run)
			if _, err := out.WriteTo(p.Out); err != nil {
				writeErr = err
			}
		})
	}
	wg.Wait()
	return result, writeErr
}

func (r *Result) add(run *run) {
	r.Screens += run.screens
	if run.failed {
		r.Failed++
	}
}

// run is one handset on its way through its steps.
type run struct {
	*Player
	script   *Script
	handset  *Handset
	out      io.Writer
	writeErr error
	screens  int
	failed   bool
}

func (p *Player) run(ctx context.Context, script *Script, journey Journey, out io.Writer) *run {
	r := &run{Player: p, script: script, handset: p.Sim.Handset(journey.MSISDN), out: out}
	r.printf("── %s (%s)\n", journey.Name, journey.MSISDN)
	for _, step := range journey.Steps {
		if err := r.step(ctx, step); err != nil {
			r.failed = true
			r.printf("  ✗ %s:%d: %v\n", script.Name, step.Line, err)
			if mismatch, ok := errors.AsType[*mismatchError](err); ok {
				r.printf("%s", indent(sideBySide(mismatch.expected, mismatch.got, "expected", "got"), "    "))
			}
			break
		}
	}
	if r.handset.Live() {
		// Also when ctx has ended: the ESME is to know that the subscriber has
		// gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.Timeout)
		defer cancel()
		if err := r.handset.Hangup(ctx); err != nil {
			r.printf("  (%v)\n", err)
		} else {
			r.printf("  hangs up\n")
		}
	}
	r.printf("\n")
	return r
}

// mismatchError is a screen, or an HTTP answer, that is not the expected one.
type mismatchError struct{ reason, expected, got string }

func (e *mismatchError) Error() string { return "not as expected: " + e.reason }

func (r *run) step(ctx context.Context, step Step) error {
	switch {
	case step.Call != nil:
		return r.call(ctx, step.Call)
	case step.Repeat != nil:
		return r.repeat(ctx, step.Repeat)
	case step.SMS != nil:
		return r.sms(ctx, step.SMS)
	case step.Fault != nil:
		r.printf("  fault %s\n", step.Fault)
		return r.handset.Arm(*step.Fault)
	case step.Hangup:
		ctx, cancel := context.WithTimeout(ctx, r.Timeout)
		defer cancel()
		r.printf("  hangs up\n")
		return r.waiting(r.handset.Hangup(ctx))
	case step.Abort:
		ctx, cancel := context.WithTimeout(ctx, r.Timeout)
		defer cancel()
		r.printf("  loses the network\n")
		return r.waiting(r.handset.Abort(ctx))
	}
	screen, err := r.screen(ctx, step)
	if step.Fails {
		return r.broken(screen, err)
	}
	if err != nil {
		return err
	}
	return check(step.See, screen)
}

// broken checks that a dialogue has come to an end without a screen.
func (r *run) broken(screen Screen, err error) error {
	switch {
	case err == nil:
		return &mismatchError{reason: "a screen came", expected: "(the dialogue breaks)", got: screen.Text}
	case r.handset.Live(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, ErrClosed):
		return err
	}
	r.printf("    (%v)\n", err)
	return nil
}

// screen does what the subscriber does and prints the screen that follows.
func (r *run) screen(ctx context.Context, step Step) (Screen, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var screen Screen
	var err error
	switch {
	case step.Dial != "":
		r.printf("  dials %s\n", step.Dial)
		service := r.script.Service
		if service == "" {
			service = ServiceOf(step.Dial)
		}
		screen, err = r.handset.DialService(ctx, service, step.Dial)
	case step.Send != "":
		r.printf("  types %s\n", step.Send)
		screen, err = r.handset.Answer(ctx, step.Send)
	default:
		r.printf("  waits\n")
		screen, err = r.handset.Next(ctx)
	}
	if err != nil {
		return screen, r.waiting(err)
	}
	r.screens++
	r.printf("%s", indent(screen.Frame(), "    "))
	return screen, nil
}

// sms prints the next short message and checks it.
func (r *run) sms(ctx context.Context, want *Expectation) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	m, err := r.handset.NextSMS(ctx)
	if err != nil {
		return r.waiting(err)
	}
	r.printf("%s", m.Bubble())
	return check(want, Screen{Text: m.Text})
}

// waiting says how long was waited, if that was the trouble.
func (r *run) waiting(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("nothing came within %v: %w", r.Timeout, err)
	}
	return err
}

func check(want *Expectation, screen Screen) error {
	reason := want.Check(screen)
	if reason == "" {
		return nil
	}
	e := &mismatchError{reason: reason, got: screen.Text}
	if want != nil {
		e.expected = want.String()
	}
	return e
}

func (r *run) repeat(ctx context.Context, repeat *Repeat) error {
	var err error
	for n := range repeat.Times {
		if n > 0 {
			if err := pause(ctx, repeat.Every); err != nil {
				return err
			}
		}
		var screen Screen
		if screen, err = r.screen(ctx, Step{Send: repeat.Send}); err != nil {
			return err
		}
		if err = check(repeat.Until, screen); err == nil || screen.End {
			return err
		}
	}
	return fmt.Errorf("tried %d times: %w", repeat.Times, err)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call makes an HTTP request, with a connection of its own and no proxy. A body
// is sent as JSON.
func (r *run) call(ctx context.Context, call *Call) error {
	r.printf("  calls %s %s\n", call.Method, call.URL)
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, call.Method, call.URL, strings.NewReader(call.Body))
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	if call.Body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return r.waiting(fmt.Errorf("call: %w", err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return r.waiting(fmt.Errorf("call: %w", err))
	}
	r.printf("%s", indent(fmt.Sprintf("%s\n%s\n", response.Status, trimLines(string(body))), "    "))
	expected := fmt.Sprintf("status %d", call.Status)
	if call.Status == 0 {
		expected = "status 2xx"
	}
	if call.Status != 0 && response.StatusCode != call.Status || call.Status == 0 && response.StatusCode/100 != 2 {
		return &mismatchError{reason: "the HTTP status differs", expected: expected, got: response.Status + "\n" + string(body)}
	}
	return check(call.See, Screen{Text: string(body), Units: len(body)})
}

func (r *run) printf(format string, args ...any) {
	if r.writeErr != nil {
		return
	}
	_, r.writeErr = fmt.Fprintf(r.out, format, args...)
}
