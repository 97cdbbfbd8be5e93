package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"ussdd/cmd/ussdd/control"
)

func linkTrace(c *call) (err error) {
	if c.json && !c.full {
		return misused("-json prints whole PDUs, with the numbers of subscribers: add -full if you mean it")
	}
	opt := control.TraceOptions{Inputs: c.inputs}
	if opt.MSISDN, err = c.subscriber(); err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := c.ctx
	if c.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.wait)
		defer cancel()
	}
	show := c.traced
	if c.json {
		lines := json.NewEncoder(c.out)
		lines.SetEscapeHTML(false)
		show = func(t control.Traced) error { return lines.Encode(t) }
	}
	keep := func(control.Traced) error { return nil }
	if c.pcap != "" {
		file, err := os.OpenFile(c.pcap, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		capture, err := newCapture(file)
		if err != nil {
			return err
		}
		keep = capture.add
	}
	return client.Trace(ctx, c.args[0], opt, func(t control.Traced) error { return errors.Join(show(t), keep(t)) })
}

// traced prints one PDU.
func (c *call) traced(t control.Traced) error {
	out := bufio.NewWriter(c.out)
	if t.Lost > 0 {
		fmt.Fprintf(out, "… %s missing: they came faster than they could be taken\n", plural(int(t.Lost), "PDU", "PDUs"))
	}
	direction := "<-" // as the daemon sees it
	if t.Out {
		direction = "->"
	}
	brief := strings.Map(harmless, t.Brief)
	if !c.full {
		brief = numbers.ReplaceAllStringFunc(brief, c.mask)
	}
	fmt.Fprintf(out, "%s %s %s %s\n", t.Time.UTC().Format("15:04:05.000000"), t.Bind, direction, brief)
	return out.Flush()
}

// numbers are the numbers of subscribers in a line, whatever is before and behind.
var numbers = regexp.MustCompile(`[0-9]{10,}`)
