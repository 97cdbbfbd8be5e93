package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"ussdd/cmd/ussdd/control"
	"ussdd/menus"
	"ussdd/vendors"
)

// explained is a route in JSON.
type explained struct {
	Live bool          `json:"live"` // whether the running daemon was asked; if not, breakers and floats are not known
	Why  string        `json:"why,omitempty"`
	Hops []control.Hop `json:"hops"`
}

func routeExplain(c *call) error {
	amount, ok := menus.ParseMoney(c.vendor.amount)
	if !ok || amount <= 0 || c.vendor.network == "" {
		return misused("-network and -amount are required: an id and naira")
	}
	at, err := lagosTime(c.vendor.at, time.Now())
	if err != nil {
		return err
	}
	ask := vendors.Ask{Network: c.vendor.network, Product: c.vendor.product, Amount: amount, At: at, Key: c.vendor.reference}
	e, err := c.explain(ask)
	if p := (*control.Problem)(nil); errors.As(err, &p) {
		return misused("%v", err)
	}
	if err != nil {
		return err
	}
	if c.json {
		return c.print(e)
	}
	if e.Live {
		fmt.Fprintln(c.out, "The running ussdd would try, as its breakers and floats are now:")
		return table(c.out, []string{"TRY", "VENDOR", "BREAKER", "FLOAT", "WHY"}, hopRows(e.Hops, time.Now()))
	}
	fmt.Fprintf(c.out, "By the files alone; breakers and floats are not known (%s):\n", e.Why)
	rows := hopRows(e.Hops, time.Now())
	for i, row := range rows {
		rows[i] = append(row[:2:2], row[4])
	}
	return table(c.out, []string{"TRY", "VENDOR", "WHY"}, rows)
}

// explain asks the daemon, or the files if they are named or there is no daemon to ask.
func (c *call) explain(ask vendors.Ask) (explained, error) {
	why := "as asked for"
	if c.vendor.dir == "" && !c.vendor.presets {
		hops, err := c.liveRoute(ask)
		if p := (*control.Problem)(nil); err == nil || errors.As(err, &p) || c.ctx.Err() != nil {
			return explained{Live: true, Hops: hops}, err
		}
		why = err.Error()
	}
	set, err := c.load(anySecret)
	if err != nil {
		return explained{}, err
	}
	hops, err := control.Explain(set, ask)
	return explained{Why: why, Hops: hops}, err
}

func (c *call) liveRoute(ask vendors.Ask) ([]control.Hop, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Route(c.ctx, ask)
}

// hopRows are the cells of a route: the try, the vendor, its breaker, its float, and why.
func hopRows(hops []control.Hop, now time.Time) [][]string {
	var rows [][]string
	for _, h := range hops {
		row := []string{"-", h.Vendor, "", "", h.Skipped}
		switch h.Try {
		case 0:
		case 1:
			row[0], row[4] = "1", "tried first"
		default:
			row[0], row[4] = strconv.Itoa(h.Try), "tried if those before have definitely not delivered"
		}
		if b := h.Breaker; b != nil {
			row[2] = b.State
			if b.Forced != nil {
				row[2] += ", forced " + forcedText(b.Forced)
			}
		}
		if f := h.Float; f != nil {
			row[3] = floatText(*f, now)
		}
		rows = append(rows, row)
	}
	return rows
}

// floatText says what is left of a float, and when that was told.
func floatText(f control.Float, now time.Time) string {
	text := "not told"
	if !f.Known.IsZero() {
		text = menus.Naira(f.Kobo) + ", told " + age(f.Known, now) + " ago"
	}
	switch {
	case f.Exhausted:
		text += ", exhausted"
	case f.Low:
		text += ", low"
	}
	return text
}

// lagosTime reads a time of today's day in Lagos, or a whole time.
func lagosTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return now, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	lagos := time.FixedZone("WAT", 3600)
	t, err := time.Parse("15:04", s)
	if err != nil {
		return t, misused("%q is no time such as 23:30", s)
	}
	year, month, day := now.In(lagos).Date()
	return time.Date(year, month, day, t.Hour(), t.Minute(), 0, 0, lagos), nil
}
