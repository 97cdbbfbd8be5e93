package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"

	"ussdd/cmd/ussdd/control"
)

// breakerCommands ask the running daemon about its breakers.
var breakerCommands = []command{
	{name: "breaker list", does: "the breakers before the vendors' operations, and what operators have forced", run: breakerList, flags: controlFlags, offline: true},
	{name: "breaker open", args: "-reason WHY BREAKER", n: 1, does: "let no call pass for a time: of one breaker such as mtn/mtn/vend, of mtn/mtn, or of all of mtn", run: breakerOpen, flags: forceFlags, offline: true},
	{name: "breaker close", args: "-reason WHY BREAKER", n: 1, does: "let every call pass for a time, whatever the vendor answers", run: breakerClose, flags: forceFlags, offline: true},
	{name: "breaker auto", args: "BREAKER", n: 1, does: "let a breaker decide again", run: breakerAuto, offline: true, flags: func(c *call, f *flag.FlagSet) {
		controlFlags(c, f)
		who(c, f)
		f.StringVar(&c.reason, "reason", "not needed any more", "`why`, for the audit log")
	}},
}

func forceFlags(c *call, f *flag.FlagSet) {
	controlFlags(c, f)
	who(c, f)
	f.StringVar(&c.reason, "reason", "", "`why`, for the audit log and the next operator; required")
	f.DurationVar(&c.wait, "for", time.Hour, "`DURATION`, at most 24h; then, or when ussdd starts again, the breaker decides")
}

func breakerList(c *call) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	all, err := client.Breakers(c.ctx)
	if err != nil {
		return err
	}
	return c.printBreakers(all)
}

func breakerOpen(c *call) error  { return c.force("open") }
func breakerClose(c *call) error { return c.force("closed") }
func breakerAuto(c *call) error  { return c.force("auto") }

// force tells the daemon what the operator wants, and prints the breakers that it is about.
func (c *call) force(state string) error {
	op, err := c.by()
	if err != nil {
		return err
	}
	order := control.BreakerOrder{Breaker: c.args[0], State: state, Reason: op.Reason, By: op.Operator, Login: op.Login}
	if state != "auto" {
		order.Seconds = int(c.wait / time.Second)
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	forced, err := client.Override(c.ctx, order)
	if p := (*control.Problem)(nil); errors.As(err, &p) && p.Status == 422 {
		return misused("%v", err)
	}
	if err != nil {
		return err
	}
	return c.printBreakers(forced)
}

func (c *call) printBreakers(all []control.Breaker) error {
	if c.json {
		return c.print(all)
	}
	var rows [][]string
	for _, b := range all {
		rows = append(rows, []string{b.Name, b.State, strconv.Itoa(b.InFlight), fmt.Sprint(b.Successes), fmt.Sprint(b.Failures), fmt.Sprint(b.Excluded), forcedText(b.Forced)})
	}
	return table(c.out, []string{"BREAKER", "STATE", "IN FLIGHT", "GOOD", "FAULTS", "EXCLUDED", "FORCED"}, rows)
}

// forcedText says of a forced breaker until when, by whom and why it is so.
func forcedText(f *control.Forced) string {
	if f == nil {
		return "-"
	}
	return fmt.Sprintf("until %s by %s: %s", when(f.Until), f.By, f.Reason)
}
