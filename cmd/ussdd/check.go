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
		if text, err := s.text(); err != nil {
			bad.add("%s_PROFILE: %v", smscPrefix(s.name), err)
		} else {
			fmt.Fprintf(tw, "smsc %s\t%s as %s, profile %s, %d septets a screen\n", s.name, s.Addr, s.SystemID, s.Profile, text.Limit())
		}
	}
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
	}
	if found, err := checkDatabase(ctx, cfg); err != nil {
		bad.addErr("USSDD_DATABASE", err)
	} else {
		fmt.Fprintf(tw, "database\t%s\n", found)
	}
	tw.Flush()
	if len(bad) > 0 {
		complain(stderr, dedupe(bad))
		return exitConfig
	}
	fmt.Fprintln(stdout, "no problems")
	return exitOK
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
	return db.Engine() + ", schema current", nil
}

// sqliteFile is the file of an SQLite database, "" for another engine.
func sqliteFile(database string) string {
	path, ok := strings.CutPrefix(database, "sqlite:")
	if !ok {
		return ""
	}
	return filepath.Clean(path)
}
