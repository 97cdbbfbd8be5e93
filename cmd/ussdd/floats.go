package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"ussdd/menus"
	"ussdd/vendors"
)

const (
	floatsLook = time.Second     // how often it is looked whose float is to be asked for, and whose is low
	floatsSoon = 5 * time.Second // after the start, or a vendor's first load, it is asked for within this
)

// floatSource is what a floatKeeper needs of the vendors in force.
type floatSource interface {
	Floats() []vendors.Float
	Balance(ctx context.Context, vendor string) (kobo int64, err error)
}

// floatKeeper asks vendors for our floats there, each as often as its file says, so that an
// exhausted one is skipped before a sale is declined, and comes back when it has been filled. It
// tells operators once when a float becomes low, and once when a vendor stops telling.
type floatKeeper struct {
	source func() floatSource // the vendors in force; a reload changes them
	log    *slog.Logger

	due    map[string]time.Time // by vendor
	asking map[string]bool      // vendors that have not answered
	low    map[string]bool      // vendors whose low float has been told
	mute   map[string]bool      // vendors that did not tell, which has been told
}

// floatTold is how one look-up ended.
type floatTold struct {
	vendor string
	every  time.Duration
	err    error
}

func newFloatKeeper(source func() floatSource, log *slog.Logger) *floatKeeper {
	return &floatKeeper{source: source, log: log, due: map[string]time.Time{}, asking: map[string]bool{}, low: map[string]bool{}, mute: map[string]bool{}}
}

// Run asks until ctx is done.
func (k *floatKeeper) Run(ctx context.Context) error {
	answers := make(chan floatTold)
	tick := time.NewTicker(floatsLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			for range k.asking { // Balance returns when ctx is done
				<-answers
			}
			return nil
		case a := <-answers:
			k.answered(ctx, a)
		case now := <-tick.C:
			k.look(ctx, now, answers)
		}
	}
}

// look begins the look-ups that are due, one at a time for each vendor, and tells of low floats.
func (k *floatKeeper) look(ctx context.Context, now time.Time, answers chan<- floatTold) {
	source := k.source()
	for _, f := range source.Floats() {
		k.tell(f)
		if f.Every == 0 || k.asking[f.Vendor] {
			continue
		}
		due, known := k.due[f.Vendor]
		if !known {
			// Instances that start together do not ask together.
			due = now.Add(rand.N(min(floatsSoon, f.Every)))
			k.due[f.Vendor] = due
		}
		if now.Before(due) {
			continue
		}
		k.asking[f.Vendor] = true
		go func() {
			_, err := source.Balance(ctx, f.Vendor)
			answers <- floatTold{f.Vendor, f.Every, err}
		}()
	}
}

// answered plans the next look-up.
func (k *floatKeeper) answered(ctx context.Context, a floatTold) {
	delete(k.asking, a.vendor)
	k.due[a.vendor] = time.Now().Add(a.every + rand.N(a.every/10))
	switch {
	case a.err != nil && ctx.Err() == nil && !k.mute[a.vendor]:
		k.log.Warn("a vendor does not tell our float; it is asked again and again", "vendor", a.vendor, "err", a.err)
		k.mute[a.vendor] = true
	case a.err == nil && k.mute[a.vendor]:
		k.log.Info("the vendor tells our float again", "vendor", a.vendor)
		delete(k.mute, a.vendor)
	}
}

// tell logs a float that has become low, or is so no more.
func (k *floatKeeper) tell(f vendors.Float) {
	if f.IsLow() == k.low[f.Vendor] {
		return
	}
	k.low[f.Vendor] = f.IsLow()
	attrs := []any{"vendor", f.Vendor, "exhausted", f.Exhausted}
	if !f.Known.IsZero() {
		attrs = append(attrs, "left", menus.Naira(f.Kobo), "low", menus.Naira(f.Low), "told", f.Known)
	}
	if f.IsLow() {
		k.log.Warn("float low: fill it", attrs...)
		return
	}
	k.log.Info("float not known to be low any more", attrs...)
}
