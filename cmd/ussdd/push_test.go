package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ussdd/cmd/ussdd/control"
	"ussdd/session"
	"ussdd/smpp"
)

func TestPushed(t *testing.T) {
	p := control.PushRequest{SMSC: "mtn", MSISDN: "2348031234567", Service: "*999#"}
	refused := func(err error) error { return &session.PushRefusedError{Err: err} }
	for _, test := range []struct {
		err    error
		result string
		status int // 0: no problem
		says   string
	}{
		{nil, "accepted", 0, ""},
		{session.ErrNoService, "no_service", 404, "*999#"},
		{session.ErrBusySubscriber, "busy", 409, "live session"},
		{session.ErrOverload, "overload", 503, "no room"},
		{errNotUp, "unsent", 409, "down or drained"},
		{refused(smpp.ErrNoPush), "unsupported", 409, "profile of mtn"},
		{refused(smpp.ErrTextTooLong), "failed", 422, "one screen of mtn"},
		{refused(&smpp.StatusError{Status: 0x4C1}), "refused", 502, "mtn refused it: "},
		{refused(smpp.ErrTimeout), "unanswered", 504, "may have seen it"},
		{refused(smpp.ErrCutOff), "unanswered", 504, "may have seen it"},
		{refused(&session.EndedError{Reason: session.IdleTimeout}), "unanswered", 504, "idle_timeout"},
		{refused(&session.EndedError{Reason: session.Released}), "unanswered", 504, "may have seen it"},
		{refused(&session.EndedError{Reason: session.InternalError}), "failed", 500, "error"},
		{context.DeadlineExceeded, "unanswered", 504, "may see it"},
		{refused(fmt.Errorf("reply: %w", smpp.ErrNotBound)), "unsent", 503, "not bound"},
		{refused(smpp.ErrLinkLost), "unsent", 503, "not sent"},
		{errors.New("a defect"), "failed", 500, "a defect"},
	} {
		result, problem := pushed(p, test.err)
		if result != test.result || !slices.Contains(pushResults, result) {
			t.Errorf("%v: %s, want %s", test.err, result, test.result)
		}
		if test.status == 0 {
			if problem != nil {
				t.Errorf("%v: %v", test.err, problem)
			}
		} else if problem == nil || problem.Status != test.status || !strings.Contains(problem.Detail, test.says) {
			t.Errorf("%v: %+v, want %d %q", test.err, problem, test.status, test.says)
		}
	}
}
