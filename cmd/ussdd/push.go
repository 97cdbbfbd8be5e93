package main

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"ussdd/cmd/ussdd/control"
	"ussdd/menus"
	"ussdd/session"
	"ussdd/smpp"
)

// push is what the control socket does for an operator who pushes.
func (d *daemon) push(ctx context.Context, p control.PushRequest) (control.PushResult, error) {
	got, err := d.begin(ctx, p)
	result, problem := pushed(p, err)
	d.metrics.pushes.WithLabelValues(p.SMSC, result).Inc()
	if problem != nil {
		return control.PushResult{}, problem
	}
	return control.PushResult{Session: got.Session, Screen: got.Screen}, nil
}

// errNotUp says that an operator has taken the link down or drains it.
var errNotUp = errors.New("the link takes no new dialogues")

// begin has the session engine push over the SMSC's link.
func (d *daemon) begin(ctx context.Context, p control.PushRequest) (session.PushResult, error) {
	link := d.links[slices.IndexFunc(d.cfg.smscs, func(s smscConfig) bool { return s.name == p.SMSC })]
	if link.Status().Admin != smpp.Up {
		return session.PushResult{}, errNotUp
	}
	return d.engine.Push(ctx, session.PushRequest{SMSC: p.SMSC, MSISDN: p.MSISDN, Code: p.Service, Text: p.Text,
		Opener: func(msisdn, code string) (session.Replier, menus.Medium, error) {
			ev, err := link.Open(msisdn, code)
			if err != nil {
				return nil, nil, err
			}
			return ev, ev.Medium(), nil
		}})
}

// pushResults are what can become of a push, as the label of its metric.
var pushResults = []string{"accepted", "refused", "unanswered", "busy", "overload", "no_service", "unsupported", "unsent", "failed"}

// pushed says what became of a push, as one of pushResults and to the operator;
// the problem is nil if the SMSC has accepted it.
func pushed(p control.PushRequest, err error) (result string, problem *control.Problem) {
	if err == nil {
		return "accepted", nil
	}
	var refusal *smpp.StatusError
	var ended *session.EndedError
	for _, known := range []struct {
		is     bool
		result string
		status int
		says   string
	}{
		{errors.Is(err, session.ErrNoService), "no_service", http.StatusNotFound, "no service has the code " + p.Service},
		{errors.Is(err, session.ErrBusySubscriber), "busy", http.StatusConflict, "the subscriber has a live session, or another push is on its way"},
		{errors.Is(err, session.ErrOverload), "overload", http.StatusServiceUnavailable, "there is no room for another session"},
		{errors.Is(err, errNotUp), "unsent", http.StatusConflict, "link " + p.SMSC + " is down or drained: it takes no new dialogues"},
		{errors.Is(err, smpp.ErrNoPush), "unsupported", http.StatusConflict, "the profile of " + p.SMSC + " has no sessions that the network begins"},
		{errors.Is(err, smpp.ErrTextTooLong), "failed", http.StatusUnprocessableEntity, "the text does not fit on one screen of " + p.SMSC},
		{errors.As(err, &refusal), "refused", http.StatusBadGateway, p.SMSC + " refused it: " + err.Error()},
		{errors.Is(err, smpp.ErrTimeout), "unanswered", http.StatusGatewayTimeout, p.SMSC + " did not answer in time; the subscriber may have seen it"},
		{errors.Is(err, smpp.ErrCutOff), "unanswered", http.StatusGatewayTimeout,
			"the connection to " + p.SMSC + " ended before it answered; the subscriber may have seen it"},
		{errors.As(err, &ended) && ended.Reason != session.InternalError, "unanswered", http.StatusGatewayTimeout,
			p.SMSC + " did not answer before the session ended; the subscriber may have seen it: " + err.Error()},
		{errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled), "unanswered", http.StatusGatewayTimeout,
			p.SMSC + " has not answered yet; the subscriber may see it"},
		{slices.ContainsFunc([]error{smpp.ErrNotBound, smpp.ErrLinkLost, smpp.ErrExpired, smpp.ErrQueueFull, smpp.ErrClosed},
			func(e error) bool { return errors.Is(err, e) }), "unsent", http.StatusServiceUnavailable, "it was not sent: " + err.Error()},
	} {
		if known.is {
			return known.result, control.Refuse(known.status, "%s", known.says)
		}
	}
	return "failed", control.Refuse(http.StatusInternalServerError, "%v", err)
}
