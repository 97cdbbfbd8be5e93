package main

import (
	"strconv"
	"time"

	"ussdd/menus"
	"ussdd/vendors"
)

// hopRow is one vendor of a route in JSON.
type hopRow struct {
	Vendor  string `json:"vendor"`
	Try     int    `json:"try"` // from 1; 0 = not tried
	Skipped string `json:"skipped,omitempty"`
}

// routeExplain tells what the files say. What the daemon has learned, of breakers and floats, it
// cannot know.
func routeExplain(c *call) error {
	amount, ok := menus.ParseMoney(c.vendor.amount)
	if !ok || amount <= 0 || c.vendor.network == "" {
		return misused("-network and -amount are required: an id and naira")
	}
	at, err := lagosTime(c.vendor.at, time.Now())
	if err != nil {
		return err
	}
	set, err := c.load(anySecret)
	if err != nil {
		return err
	}
	var network vendors.Network
	for _, n := range set.Networks() {
		if n.ID == c.vendor.network {
			network = n
		}
	}
	switch {
	case network.ID == "":
		return misused("no network %q", c.vendor.network)
	case amount < network.Min || amount > network.Max:
		return misused("%s sells from %s to %s", network.Name, menus.Naira(network.Min), menus.Naira(network.Max))
	}
	hops := set.Explain(vendors.Ask{Network: network.ID, Product: c.vendor.product, Amount: amount, At: at, Key: c.vendor.reference})
	list, rows := []hopRow{}, [][]string{}
	try := 0
	for _, h := range hops {
		row := hopRow{Vendor: h.Endpoint.Vendor(), Skipped: h.Skipped}
		cells := []string{"-", row.Vendor, h.Skipped}
		if h.Skipped == "" {
			try++
			row.Try, cells[0] = try, strconv.Itoa(try)
			cells[2] = "tried if those before have definitely not delivered"
			if try == 1 {
				cells[2] = "tried first"
			}
		}
		list, rows = append(list, row), append(rows, cells)
	}
	if c.json {
		return c.print(list)
	}
	return table(c.out, []string{"TRY", "VENDOR", "WHY"}, rows)
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
