package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"ussdd/smpp"
	"ussdd/store"
)

// check validates everything that can be validated without binding, prints what
// it found, and lists all problems. With any, the exit code is exitConfig.
func check(ctx context.Context, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cfg, bad := loadConfig()
	tw := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	for _, s := range cfg.smscs {
		text := s.text()
		fmt.Fprintf(tw, "smsc %s\t%s as %s, %s, profile %s, %d units of %s a screen\n", s.name, strings.Join(s.Addr, ", then "),
			strings.Join(s.SystemID, ", "), s.connections(), s.profile.Name, text.Limit(), text.Alphabet)
	}
	fmt.Fprintf(tw, "messages\t%s\n", cfg.told())
	loaded, err := loadData(cfg, nil, nil)
	var more problems
	if errors.As(err, &more) {
		bad = append(bad, more...)
	} else if err != nil {
		bad.addErr("menus and vendors", err)
	} else {
		for _, svc := range loaded.menus.Services() {
			fmt.Fprintf(tw, "service %s\t%s, version %s\n", svc.Name(), strings.Join(svc.Codes(), " "), svc.Version())
		}
		for _, n := range loaded.vendors.Networks() {
			var route []string
			for _, e := range loaded.vendors.Route(n.ID) {
				route = append(route, e.Vendor())
			}
			fmt.Fprintf(tw, "network %s\t%s\n", n.Name, strings.Join(route, ", then "))
		}
		for _, v := range loaded.vendors.Vendors() {
			if v.Timeout > cfg.VendTimeout {
				fmt.Fprintf(tw, "vendor %s\tits calls may take %v, but a sale is cut off after %v (USSDD_VEND_TIMEOUT), and then asked about\n", v.Vendor, v.Timeout, cfg.VendTimeout)
			}
		}
		if cfg.WebhookAddr != "-" {
			fmt.Fprintf(tw, "webhooks\t%s, %s\n", cfg.WebhookAddr, sayProviders(loaded.providers))
		}
	}
	fmt.Fprintf(tw, "limits\t%s\n", sayLimits(cfg.limits()))
	if found, err := checkDatabase(ctx, cfg); err != nil {
		bad.addErr("USSDD_DATABASE", err)
	} else {
		fmt.Fprintf(tw, "database\t%s\n", found)
	}
	tw.Flush()
	for _, s := range cfg.smscs {
		for _, file := range s.expiring {
			fmt.Fprintf(stdout, "smsc %s: %s\n", s.name, file)
		}
		fmt.Fprintln(stdout)
		knobs(stdout, s.name, s.profile.Name, s.preset.Name, s.profile.Knobs(), s.preset.Knobs())
	}
	if len(bad) > 0 {
		complain(stderr, dedupe(bad))
		return exitConfig
	}
	fmt.Fprintln(stdout, "no problems")
	return exitOK
}

// told says how subscribers get messages.
func (c *config) told() string {
	by := c.texters()
	switch {
	case c.SMSVia == "-":
		return "none are sent"
	case len(by) == 0:
		return "none are sent: no SMSC takes short messages"
	case c.SMSVia != "":
		return "by " + by[0].name
	case len(by) < len(c.smscs):
		return "by the SMSC of the session, or by " + by[0].name + " if that takes none"
	}
	return "by the SMSC of the session"
}

// connections says what is opened to the SMSC.
func (s smscConfig) connections() string {
	n := s.Binds * max(1, len(s.SystemID))
	what := plural(n, "transceiver")
	if modes[s.Mode] == smpp.Pair {
		what = plural(n, "pair") + " of transmitter and receiver"
	}
	if s.TLS {
		what += " over TLS"
	}
	return what
}

// knobs prints the settings of an SMSC's profile as they are in force, and marks
// those that are not the preset's.
func knobs(w io.Writer, smsc, profile, preset string, inForce, shipped []smpp.Knob) {
	ships := make(map[string]string)
	for _, k := range shipped {
		ships[k.Name] = meaning(k)
	}
	var rows strings.Builder
	tw := tabwriter.NewWriter(&rows, 0, 8, 2, ' ', 0)
	changes := 0
	for _, k := range inForce {
		means := meaning(k)
		if means == ships[k.Name] {
			fmt.Fprintf(tw, "  %s\t%s\n", k.Name, means)
			continue
		}
		changes++
		fmt.Fprintf(tw, "* %s\t%s\n  \tin %s: %s\n", k.Name, means, preset, ships[k.Name])
	}
	tw.Flush()
	from := "the preset"
	if profile != preset {
		from = preset
	}
	fmt.Fprintf(w, "smsc %s: profile %s, %s from %s\n%s", smsc, profile, plural(changes, "change"), from, rows.String())
}

// meaning is a knob's value for a person.
func meaning(k smpp.Knob) string {
	switch {
	case k.Means != "":
		return k.Means
	case k.Value != "":
		return k.Value
	}
	return "none"
}

// dedupe drops problems that two checks found alike, keeping their order.
func dedupe(bad problems) problems {
	seen := make(map[string]bool)
	out := bad[:0]
	for _, p := range bad {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

// checkDatabase says where the schema stands, without changing anything.
func checkDatabase(ctx context.Context, cfg *config) (string, error) {
	if path := sqliteFile(cfg.Database); path != "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			dir := filepath.Dir(path)
			if st, err := os.Stat(dir); err != nil {
				return "", err
			} else if !st.IsDir() {
				return "", fmt.Errorf("%s is not a directory", dir)
			}
			return cfg.Database + ", made at the first start", nil
		}
	}
	db, err := store.Open(ctx, cfg.Database, store.Options{})
	if err != nil {
		return "", err
	}
	defer db.Close()
	err = db.CheckSchema(ctx)
	if db.Engine() == "sqlite" && (errors.Is(err, store.ErrSchemaOld) || errors.Is(err, store.ErrSchemaMissing)) {
		return cfg.Database + ", migrated at the next start", nil
	}
	if err != nil {
		return "", err
	}
	found := db.Engine() + ", schema current"
	for _, host := range db.Hosts(ctx) {
		if host.Err != nil {
			found += fmt.Sprintf("; %s cannot be used: %v", host.Name, host.Err)
		} else {
			found += fmt.Sprintf("; %s can be used", host.Name)
		}
	}
	return found, nil
}

// sqliteFile is the file of an SQLite database, "" for another engine.
func sqliteFile(database string) string {
	path, ok := strings.CutPrefix(database, "sqlite:")
	if !ok {
		return ""
	}
	return filepath.Clean(path)
}
