package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"ussdd/cmd/ussdd/control"
	"ussdd/menus"
	"ussdd/session"
	"ussdd/smpp"
	"ussdd/store"
	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// daemon is the wired parts of a running ussdd.
type daemon struct {
	cfg      *config
	log      *slog.Logger
	db       *store.DB
	data     atomic.Pointer[data]
	services *services
	engine   *session.Engine
	desk     *purchase.Desk
	books    *bookkeeper
	links    []*smpp.Link
	outbox   *outbox         // nil: subscribers get no messages
	control  *control.Server // nil: none
	webhooks *webhooks       // nil: none
	metrics  *metrics
	draining atomic.Bool
}

// serve runs the daemon until stop is done, then drains it. hup asks for a
// reload. A wrong configuration is an error of type problems.
func serve(stop context.Context, hup <-chan os.Signal, cfg *config, log *slog.Logger) error {
	log.Info("ussdd starts", "version", version)
	d := &daemon{cfg: cfg, log: log}
	loaded, err := loadData(cfg, nil, log)
	if err != nil {
		return err
	}
	d.data.Store(loaded)
	if d.db, err = openStore(stop, cfg, log); err != nil {
		return err
	}
	defer d.db.Close()
	d.services = &services{data: &d.data, db: d.db, cfg: cfg}
	if err := d.services.remember(stop, loaded.menus); err != nil {
		return fmt.Errorf("remember the menus: %w", err)
	}
	if err := d.wire(); err != nil {
		return err
	}

	// Each part runs until its own context ends, because they stop in an order.
	partsCtx, stopParts := context.WithCancel(context.WithoutCancel(stop))
	defer stopParts()
	linksCtx, stopLinks := context.WithCancel(context.WithoutCancel(stop))
	defer stopLinks()
	webhooksCtx, stopWebhooks := context.WithCancel(partsCtx)
	defer stopWebhooks()
	var parts, links sync.WaitGroup
	// Listed before the metrics are served, which read it.
	if err := d.listenControl(); err != nil {
		return err
	}
	if d.control != nil {
		defer d.control.Close()
	}
	if err := d.listenWebhooks(); err != nil {
		return err
	}
	if d.webhooks != nil {
		defer d.webhooks.listen.Close()
	}
	admin, err := d.listenAdmin()
	if err != nil {
		return err
	}
	floatsCtx, stopFloats := context.WithCancel(partsCtx)
	defer stopFloats()
	running := []part{
		{&parts, partsCtx, "sessions", d.engine.Run},
		{&parts, partsCtx, "purchases", d.desk.Run},
		{&parts, partsCtx, "ledger check", d.books.Run},
		{&parts, floatsCtx, "floats", newFloatKeeper(func() floatSource { return d.data.Load().vendors }, log).Run},
	}
	if d.webhooks != nil {
		running = append(running, part{&parts, webhooksCtx, "webhooks", d.webhooks.Run})
	}
	if d.outbox != nil {
		running = append(running, part{&parts, partsCtx, "messages", d.outbox.Run})
	}
	for _, l := range d.links {
		running = append(running, part{&links, linksCtx, "link " + l.Status().Name, l.Run})
	}
	failed := launch(running)
	d.notify(sd.SdNotifyReady)
	var watch sync.WaitGroup
	watch.Go(func() { d.watch(partsCtx) })

	for err == nil && stop.Err() == nil {
		select {
		case <-stop.Done():
		case err = <-failed:
		case <-hup:
			d.reload(stop)
		}
	}

	// The order of stopping: no new sessions and purchases; what is in flight
	// comes to a safe state; subscribers are told of that; the binds are given up;
	// what is left is written. A quarter of the time is for the last two.
	log.Info("ussdd drains", "live_sessions", d.engine.Stats().Live)
	d.draining.Store(true)
	stopFloats()
	d.notify(sd.SdNotifyStopping)
	stopWebhooks() // their providers report again, elsewhere or later
	end, cancel := context.WithTimeout(context.Background(), cfg.DrainTimeout)
	defer cancel()
	drain, cancel := context.WithTimeout(end, cfg.DrainTimeout-2*cfg.closing())
	defer cancel()
	var inFlight errgroup.Group
	inFlight.Go(func() error { return d.engine.Drain(drain) })
	inFlight.Go(func() error { return d.desk.Drain(drain) })
	if e := inFlight.Wait(); e != nil {
		log.Warn("not everything in flight ended; the store has it, and the next start goes on", "err", e)
	}
	if d.outbox != nil {
		if e := d.outbox.Drain(drain); e != nil {
			log.Warn("not every message was sent; the store has them, and the next start goes on", "err", e)
		}
	}
	stopLinks()
	links.Wait()
	// Sessions were served until now, and may have begun actions.
	if e := d.engine.Drain(end); e != nil {
		log.Warn("actions in flight are cut off", "err", e)
	}
	stopParts()
	parts.Wait()
	watch.Wait()
	err = errors.Join(err, d.engine.Flush(end))
	d.data.Load().vendors.CloseIdleConnections()
	if admin != nil {
		err = errors.Join(err, admin.Close())
	}
	for range len(failed) {
		err = errors.Join(err, <-failed)
	}
	log.Info("ussdd stopped")
	return err
}

// part is what runs until its context is done, or it fails.
type part struct {
	group *sync.WaitGroup // whose it is
	ctx   context.Context
	name  string
	run   func(context.Context) error
}

// launch starts parts. The channel has room for the failures of all: no part waits
// for somebody to read its own.
func launch(parts []part) <-chan error {
	failed := make(chan error, len(parts))
	for _, p := range parts {
		p.group.Go(func() {
			if err := p.run(p.ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", p.name, err)
			}
		})
	}
	return failed
}

// openStore opens the database and sees to its schema: SQLite is migrated, a
// database of several users is only checked.
func openStore(ctx context.Context, cfg *config, log *slog.Logger) (*store.DB, error) {
	db, err := store.Open(ctx, cfg.Database, store.Options{Log: log, Limits: cfg.limits(), Messages: len(cfg.texters()) > 0})
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if db.Engine() == "sqlite" {
		var applied []string
		if applied, err = db.Migrate(ctx); err == nil && len(applied) > 0 {
			log.Info("database migrated", "applied", strings.Join(applied, " "))
		}
	} else {
		err = db.CheckSchema(ctx)
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	return db, nil
}

// wire makes the parts and joins them.
func (d *daemon) wire() error {
	d.metrics = newMetrics()
	d.desk = purchase.New(purchase.Config{
		// A start is an owner of its own: what an earlier one left unfinished
		// is taken over when its lease has run out.
		Owner: ownerName(store.NewID()), Lease: d.cfg.Lease, VendTimeout: d.cfg.VendTimeout, MaxInFlight: d.cfg.MaxPurchases,
		NewID: store.NewID, Log: d.log, Boundary: boundary(),
	}, ledger{d.db}, purchase.Sets(func() *vendors.Set { return d.data.Load().vendors }))
	engine := d.cfg.engine()
	engine.NewID, engine.Observe, engine.Log = store.NewID, d.metrics.observe, d.log
	d.engine = session.New(engine, d.services, counter{d.desk, &d.data, d.log}, wallets{d.db, &d.data}, sessions{d.db})
	links, bad := newLinks(d.cfg.smscs, d.handler, d.log)
	if len(bad) > 0 {
		return bad
	}
	d.links = links
	d.wireOutbox()
	d.books = &bookkeeper{books: d.db, desk: d.desk, log: d.log}
	d.metrics.collect(d)
	d.metrics.registry.MustRegister(d.books)
	return nil
}

// wireOutbox makes the outbox, if messages are sent.
func (d *daemon) wireOutbox() {
	var carriers []carrier
	for _, s := range d.cfg.texters() {
		i := slices.IndexFunc(d.cfg.smscs, func(c smscConfig) bool { return c.name == s.name })
		link := d.links[i]
		carriers = append(carriers, carrier{name: s.name, from: s.SMSFrom, link: link, up: func() bool { return sends(link.Status()) }})
	}
	if len(carriers) == 0 {
		return
	}
	d.outbox = newOutbox(d.db, carriers,
		func(network string) string { return networkName(d.data.Load().vendors, network) },
		func() string { return d.data.Load().menus.Services()[0].Codes()[0] },
		time.Now, d.log)
}

// sends reports whether a link has a bind that sends.
func sends(s smpp.Status) bool {
	return slices.ContainsFunc(s.Binds, func(b smpp.BindStatus) bool { return b.State == smpp.Bound && b.Role != "receiver" })
}

func ownerName(start int64) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%.40s/%d", host, start)
}

var kinds = map[smpp.Op]session.Kind{
	smpp.Begin: session.Begin, smpp.Input: session.Input, smpp.Release: session.Release, smpp.Refused: session.Refused, smpp.Opened: session.Opened,
}

// handler takes what happens on one link to the session engine. medium is that of
// all events of the link: to make it an interface for each would allocate each time.
type handler struct {
	d      *daemon
	medium menus.Medium
}

var (
	_ smpp.Admitter     = handler{}
	_ smpp.ReceiptTaker = handler{}
)

func (d *daemon) handler(s smscConfig) smpp.Handler { return handler{d, s.text()} }

// HandleUSSD implements smpp.Handler.
func (h handler) HandleUSSD(ev *smpp.Event) { h.d.engine.Handle(h.event(ev)) }

// AdmitUSSD says whether there is room for a dialogue that begins.
func (h handler) AdmitUSSD(ev *smpp.Event) bool { return h.d.engine.Admit(key(ev.Dialogue)) }

// LivesUSSD says whether a begin can only be one that came before.
func (h handler) LivesUSSD(ev *smpp.Event) bool { return h.d.engine.Lives(key(ev.Dialogue)) }

// TakeReceipt takes the receipt of a short message. Where none are sent, it is of
// nobody.
func (h handler) TakeReceipt(r *smpp.Receipt) bool {
	return h.d.outbox == nil || h.d.outbox.TakeReceipt(r)
}

// event is what happened, as the session engine has it.
func (h handler) event(ev *smpp.Event) session.Event {
	e := session.Event{
		Kind: kinds[ev.Op],
		Key:  key(ev.Dialogue),
		Code: ev.Code, Text: ev.Text, Medium: h.medium, Replier: ev, Err: ev.Err,
		Counter: ev.Counter, HasCounter: ev.HasCounter, Early: ev.Early,
		Gone: ev.Op == smpp.Refused && over(ev.Err),
	}
	if ev.Opening != nil {
		e.Opening = ev.Opening
	}
	if ev.Dialogue.MSISDN == "" {
		e.Identify = ev.Identify
	}
	return e
}

func key(d smpp.Dialogue) session.Key {
	return session.Key{SMSC: d.SMSC, MSISDN: d.MSISDN, ID: d.ID}
}

// over says whether a reply that failed leaves its dialogue without hope: the
// SMSC refused it, or its time has passed. When the link was lost, is closing or
// did not answer, nobody knows: the subscriber's next input, a restart or the
// idle timer decides.
func over(err error) bool {
	var refusal *smpp.StatusError
	return errors.As(err, &refusal) || errors.Is(err, smpp.ErrExpired)
}

// reload reads the menus and vendors again. If anything is wrong, the old ones
// go on serving.
func (d *daemon) reload(ctx context.Context) {
	old := d.data.Load()
	loaded, err := loadData(d.cfg, old, d.log)
	if err != nil {
		d.metrics.reloaded(false)
		for line := range strings.SplitSeq(err.Error(), "\n") {
			d.log.Error("reload refused, the old menus and vendors go on", "problem", line)
		}
		return
	}
	if err := d.services.remember(ctx, loaded.menus); err != nil {
		d.metrics.reloaded(false)
		d.log.Error("reload refused, the new menus cannot be remembered for their sessions", "err", err)
		return
	}
	d.data.Store(loaded)
	old.vendors.CloseIdleConnections() // calls in flight go on
	d.metrics.reloaded(true)
	var serving []string
	for _, svc := range loaded.menus.Services() {
		serving = append(serving, svc.Name()+" "+svc.Version())
	}
	d.log.Info("menus and vendors reloaded", "services", serving, "webhooks", slices.Sorted(maps.Keys(loaded.providers)))
}

// notify tells systemd of a state, where there is one to tell.
func (d *daemon) notify(state string) {
	if _, err := sd.SdNotify(false, state+"\nSTATUS="+d.status()); err != nil {
		d.log.Warn("sd_notify", "err", err)
	}
}

// status is one line for `systemctl status`.
func (d *daemon) status() string {
	bound := 0
	for _, l := range d.links {
		if l.Status().State == smpp.Bound {
			bound++
		}
	}
	return fmt.Sprintf("%d/%d SMSCs bound, %s", bound, len(d.links), plural(int(d.engine.Stats().Live), "live session"))
}

// statusEvery is how often systemd's status line is looked at.
const statusEvery = time.Second

// watch tells systemd of every new status, and feeds its watchdog for as long as
// the session engine really goes round: its sweep takes every shard's lock, so
// that a stuck shard, or a stuck loop, ends in a restart.
func (d *daemon) watch(ctx context.Context) {
	every := statusEvery
	limit, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		d.log.Warn("watchdog", "err", err)
	}
	if limit > 0 {
		every = min(every, limit/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var told string
	var fed time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			status := d.status()
			state := "STATUS=" + status
			feed := limit > 0 && now.Sub(fed) >= limit/4 && now.Sub(d.engine.Swept()) < limit/2+2*time.Second
			if feed {
				state = sd.SdNotifyWatchdog + "\n" + state
				fed = now
			}
			if !feed && status == told {
				continue
			}
			told = status
			if _, err := sd.SdNotify(false, state); err != nil {
				d.log.Warn("sd_notify", "err", err)
			}
		}
	}
}

// listenControl starts the control socket, if there is to be one.
func (d *daemon) listenControl() error {
	if d.cfg.Control == "-" {
		return nil
	}
	ln, err := control.Listen(d.cfg.Control)
	if err != nil {
		return fmt.Errorf("USSDD_CONTROL: %w", err)
	}
	links := make([]control.Link, len(d.links))
	for i, l := range d.links {
		links[i] = controlled{l, d.cfg.smscs[i].profile}
	}
	d.control = control.Serve(ln, control.Config{Links: links, Push: d.push, Log: d.log,
		Vendors: func() *vendors.Set { return d.data.Load().vendors },
		Audit: func(ctx context.Context, a control.Act) error {
			return d.db.Acted(ctx, store.Operation{Operator: a.Operator, Login: a.Login, Action: a.Action, Subject: a.Subject, Reason: a.Reason}, a.Detail)
		}})
	d.log.Info("control listens", "path", d.cfg.Control)
	return nil
}

// listenWebhooks opens the listener of payment providers and vendors, if there is
// to be one.
func (d *daemon) listenWebhooks() error {
	if d.cfg.WebhookAddr == "-" {
		return nil
	}
	ln, err := net.Listen("tcp", d.cfg.WebhookAddr)
	if err != nil {
		return fmt.Errorf("USSDD_WEBHOOK_ADDR: %w", err)
	}
	cfg := webhookConfig{Providers: func() map[string]provider { return d.data.Load().providers },
		Sources: d.cfg.WebhookSources, Proxies: d.cfg.WebhookProxies}
	d.webhooks = newWebhooks(ln, cfg, d.db, d.log)
	calls := newCallbacks(func() *vendors.Set { return d.data.Load().vendors }, d.db, d.log)
	d.webhooks.mux.Handle(callbackPath, calls)
	d.metrics.registry.MustRegister(d.webhooks.reports, d.webhooks.panics, calls.reports)
	d.log.Info("webhooks listen", "addr", ln.Addr().String(), "providers", slices.Sorted(maps.Keys(cfg.Providers())))
	return nil
}

// listenAdmin starts the admin listener, if there is to be one.
func (d *daemon) listenAdmin() (*adminServer, error) {
	if d.cfg.AdminAddr == "-" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", d.cfg.AdminAddr)
	if err != nil {
		return nil, fmt.Errorf("USSDD_ADMIN_ADDR: %w", err)
	}
	d.log.Info("admin listens", "addr", ln.Addr().String())
	return newAdminServer(ln, d), nil
}
