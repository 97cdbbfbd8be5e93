package main

import (
	"context"
	"net/http"

	"ussdd/cmd/ussdd/control"
)

// push is what the control socket does for an operator who pushes.
func (d *daemon) push(_ context.Context, p control.PushRequest) (control.PushResult, error) {
	d.metrics.pushes.WithLabelValues(p.SMSC, "unsupported").Inc()
	return control.PushResult{}, control.Refuse(http.StatusNotImplemented, "this ussdd begins no sessions")
}
