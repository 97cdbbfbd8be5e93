package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"ussdd/cmd/ussdd/control"
)

// unitSocket is where the socket is under systemd.
const unitSocket = "/run/ussdd/control.sock"

// client is a client of the daemon's control socket.
func (c *call) client() (*control.Client, error) {
	path := c.control
	if path == "" {
		path = os.Getenv("USSDD_CONTROL")
	}
	if path == "-" {
		return nil, errors.New("USSDD_CONTROL is -, so that ussdd has no control socket")
	}
	if path == "" {
		path = control.DefaultPath()
		if _, err := os.Stat(path); err != nil && os.Getenv("RUNTIME_DIRECTORY") == "" {
			path = unitSocket
		}
	}
	return control.NewClient(path), nil
}

func linkList(c *call) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	links, err := client.Links(c.ctx)
	if err != nil {
		return err
	}
	if c.json {
		return c.print(links)
	}
	return table(c.out, []string{"SMSC", "BIND", "ROLE", "STATE", "SINCE", "PEER", "ADDRESS", "WINDOW", "QUEUE", "IN/S", "OUT/S", "HEARD", "ERROR"},
		linkRows(links, time.Now()))
}

// linkRows has a line for each bind, and for each link that has none.
func linkRows(links []control.LinkStatus, now time.Time) [][]string {
	var rows [][]string
	for _, l := range links {
		if len(l.Binds) == 0 {
			rows = append(rows, []string{l.SMSC, "-", "-", linkState(l.State, l.Admin, time.Time{}, now), age(l.Since, now), "-", "-", "-",
				fmt.Sprintf("%d/%d", l.Queued, l.Queue), "-", "-", age(l.LastPDU, now), dash(l.LastError)})
		}
		for _, b := range l.Binds {
			window := fmt.Sprintf("%d/%d", b.InFlight, b.Window)
			switch {
			case b.MaxWindow == 0:
				window = "-" // it only receives
			case b.Window < b.MaxWindow:
				window += fmt.Sprintf(" of %d", b.MaxWindow) // the SMSC throttles
			}
			out := perSecond(b.OutRate)
			if b.Rate > 0 {
				out += " of " + perSecond(b.Rate)
			}
			trouble := dash(b.LastError)
			if b.BadAccount {
				trouble = "credentials refused: " + trouble
			}
			rows = append(rows, []string{l.SMSC, b.Name, b.Role, linkState(b.State, l.Admin, b.RetryAt, now), age(b.Since, now), dash(b.Peer), b.Addr,
				window, strconv.Itoa(b.Queued), perSecond(b.InRate), out, age(b.LastPDU, now), trouble})
		}
	}
	return rows
}

// linkState is a state in the table: with what an operator wants, unless that is
// up, and with the time until the next attempt.
func linkState(state, admin string, retry, now time.Time) string {
	if left := retry.Sub(now); left > 0 {
		state += " " + short(left)
	}
	if admin != "up" {
		state += ", " + admin
	}
	return state
}

func perSecond(rate float64) string { return strconv.FormatFloat(rate, 'f', 1, 64) }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// age is the time since t.
func age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return short(max(0, now.Sub(t)))
}

// short is a duration with as much as matters: 5s, 4m10s, 3h5m, 12d4h.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.Round(time.Second).String()
}

func linkUp(c *call) error {
	return c.setAdmin("up", func(l control.LinkStatus) (string, bool) {
		bound := 0
		for _, b := range l.Binds {
			if b.State == "bound" {
				bound++
			}
		}
		said := fmt.Sprintf("%d of %s bound", bound, plural(len(l.Binds), "bind", "binds"))
		return said, bound > 0 && bound == len(l.Binds)
	})
}

func linkDown(c *call) error {
	return c.setAdmin("down", func(l control.LinkStatus) (string, bool) {
		live := slices.ContainsFunc(l.Binds, func(b control.BindStatus) bool { return b.State != "closed" })
		return l.State, l.State == "closed" && !live
	})
}

func linkDrain(c *call) error {
	return c.setAdmin("drain", func(l control.LinkStatus) (string, bool) {
		return l.State + ", and refuses new dialogues; live ones go on", l.Admin == "draining"
	})
}

// pollEvery is how often a link is looked at while it is waited for.
const pollEvery = 200 * time.Millisecond

// setAdmin asks for something and waits until it is so. is says in words how the
// link stands, and whether that is what was asked for.
func (c *call) setAdmin(action string, is func(control.LinkStatus) (string, bool)) error {
	name := c.args[0]
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.ctx, c.wait)
	defer cancel()
	link, err := client.SetAdmin(ctx, name, action)
	if err != nil {
		return err
	}
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		said, done := is(link)
		if done {
			if c.json {
				return c.print(link)
			}
			fmt.Fprintf(c.out, "%s is %s: %s\n", name, link.Admin, said)
			return nil
		}
		select {
		case <-ctx.Done():
			if c.ctx.Err() != nil {
				return fmt.Errorf("%s was told to go %s, and is not waited for any more: %s", name, action, said)
			}
			return fmt.Errorf("%s was told to go %s, and after %s it is not: %s%s", name, action, c.wait, said, troubles(link))
		case <-poll.C:
		}
		if next, err := client.Link(ctx, name); err == nil {
			link = next
		} else if ctx.Err() == nil {
			return fmt.Errorf("%s was told to go %s, and cannot be waited for: %w", name, action, err)
		}
	}
}

// troubles are the states of a link's binds that are not as they were told to be,
// each with its address and its last error.
func troubles(l control.LinkStatus) string {
	wanted := "bound"
	if l.Admin == "down" {
		wanted = "closed"
	}
	var b strings.Builder
	for _, bind := range l.Binds {
		if bind.State == wanted {
			continue
		}
		fmt.Fprintf(&b, "\nbind %s to %s is %s", bind.Name, bind.Addr, bind.State)
		if bind.LastError != "" {
			b.WriteString(": " + strings.Map(harmless, bind.LastError))
		}
	}
	return b.String()
}

func push(c *call) error {
	switch {
	case c.smsc == "":
		return misused("-smsc is required")
	case c.msisdn == "":
		return misused("-msisdn is required")
	case c.service == "":
		return misused("-service is required")
	}
	msisdn, err := number(c.msisdn)
	if err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	result, err := client.Push(c.ctx, control.PushRequest{SMSC: c.smsc, MSISDN: msisdn, Service: c.service, Text: c.text})
	var p *control.Problem
	if errors.As(err, &p) && (p.Status == 400 || p.Status == 422) {
		return misused("%v", err)
	}
	if err != nil {
		return err
	}
	switch {
	case c.json:
		return c.print(result)
	case c.text != "":
		_, err = fmt.Fprintf(c.out, "%s accepted the text for %s\n", c.smsc, msisdn)
	default:
		_, err = fmt.Fprintf(c.out, "%s accepted %s for %s: screen %s, session %d\n", c.smsc, c.service, msisdn, result.Screen, result.Session)
	}
	return err
}
