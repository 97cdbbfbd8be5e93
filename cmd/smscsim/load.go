package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"ussdd/smpp/smpptest"
)

// parseLoad reads the -load flag: key=value pairs with commas between them. The
// error lists all that is wrong.
func parseLoad(spec string) (*smpptest.LoadConfig, error) {
	cfg := &smpptest.LoadConfig{Dialogues: 1, Warmup: time.Second}
	var errs []error
	numbers := map[string]*int{"dialogues": &cfg.Dialogues, "binds": &cfg.Binds, "steps": &cfg.Steps}
	times := map[string]*time.Duration{
		"think": &cfg.Think, "ramp": &cfg.Ramp, "warmup": &cfg.Warmup, "duration": &cfg.Duration, "timeout": &cfg.Timeout,
	}
	for pair := range strings.SplitSeq(spec, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		var err error
		switch {
		case numbers[key] != nil:
			*numbers[key], err = strconv.Atoi(value)
		case times[key] != nil:
			*times[key], err = time.ParseDuration(value)
		case key == "rate":
			cfg.Rate, err = strconv.ParseFloat(value, 64)
		case key == "walk":
			for send := range strings.SplitSeq(value, "/") {
				cfg.Walk = append(cfg.Walk, smpptest.LoadStep{Send: send})
			}
		default:
			err = errors.New("not one of dialogues, think, rate, ramp, warmup, duration, steps, timeout, binds, walk")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("smscsim: -load: %q: %w", pair, err))
		}
	}
	if cfg.Duration == 0 && cfg.Steps == 0 {
		cfg.Duration = 10 * time.Second
	}
	if len(errs) == 0 {
		if err := cfg.Check(); err != nil {
			errs = append(errs, fmt.Errorf("smscsim: -load: %w", err))
		}
	}
	return cfg, errors.Join(errs...)
}

// runLoad makes the load and reports on it; failed tells that there were errors.
func (o *options) runLoad(ctx context.Context, _ io.Reader, stdout, _ io.Writer) (failed bool, err error) {
	cfg := *o.load
	cfg.Listen = o.listen
	if len(o.accounts) > 0 {
		cfg.Account = o.accounts[0]
	}
	load, err := smpptest.StartLoad(cfg)
	if err != nil {
		return false, fmt.Errorf("-load: %w", err)
	}
	defer load.Close()
	if o.addrFile != "" {
		if err := writeFile(o.addrFile, load.Addr()+"\n"); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(stdout, "smscsim: listening on %s\n", load.Addr())
	if err := o.waitBound(ctx, load.Addr(), load.WaitBound); err != nil {
		return false, err
	}
	report, err := load.Run(ctx)
	fmt.Fprint(stdout, report)
	if o.loadJSON != "" {
		text, jsonErr := json.MarshalIndent(report, "", "  ")
		err = errors.Join(err, jsonErr, writeFile(o.loadJSON, string(text)+"\n"))
	}
	return report.Errors() > 0, err
}

// meaningless tells flags that have no meaning beside -load.
func meaningless(flag string) bool {
	return slices.Contains([]string{"script", "phone", "pcap", "set", "msisdn", "timeout", "enquire-link", "max-binds", "v"}, flag)
}
