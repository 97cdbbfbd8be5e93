package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ussdd/cmd/ussdd/settings"
	"ussdd/menus"
	"ussdd/session"
	"ussdd/smpp"
	"ussdd/store"
	"ussdd/vendors"
	"ussdd/vendors/purchase"
)

// data is what SIGHUP replaces: the menus, the vendors, and the secrets of the
// payment providers.
type data struct {
	menus     *menus.Catalogue
	vendors   *vendors.Set
	providers map[string]provider
}

// loadData reads the menus, the vendors and the secrets. All problems are told, and
// the error is of type problems. previous may be nil.
func loadData(cfg *config, previous *data, log *slog.Logger) (*data, error) {
	var bad problems
	d := new(data)
	menuFS, vendorFS := menus.Builtin(), vendors.Builtin()
	var err error
	if cfg.Menus != "" {
		menuFS = os.DirFS(cfg.Menus)
	}
	if cfg.Vendors != "" {
		vendorFS = os.DirFS(cfg.Vendors)
	}
	if d.menus, err = menus.Load(menuFS, menuOptions(cfg)); err != nil {
		bad.addErr(where("menus", cfg.Menus), err)
	}
	secrets := secretReader{dir: cfg.SecretsDir}
	vopt := vendors.Options{Secrets: secrets.lookup, URLs: cfg.VendorURLs, Name: settings.CheckName, Budget: cfg.StepBudget, Log: log}
	if previous != nil {
		vopt.Previous = previous.vendors
	}
	d.vendors, err = vendors.Load(vendorFS, vopt)
	var found vendors.Problems
	switch {
	case err == nil:
		cfg.checkLimits(d.vendors.Networks(), &bad)
	case !errors.As(err, &found):
		bad.addErr(where("vendors", cfg.Vendors), err)
	}
	for _, p := range found {
		if p.File == "" { // what is wrong is an option
			bad.add("%s_VENDOR_URLS: %s: %s", prefix, strings.TrimPrefix(p.Path, "urls."), p.Text)
		} else {
			bad.add("%s: %v", where("vendors", cfg.Vendors), p)
		}
	}
	d.providers = cfg.providers(secrets.lookup, &bad)
	bad = append(bad, secrets.bad...)
	secrets.unused(&bad)
	if len(bad) > 0 {
		return nil, bad
	}
	return d, nil
}

// where names a directory of YAML in a problem.
func where(what, dir string) string {
	if dir == "" {
		return "built-in " + what
	}
	return dir
}

// menuOptions are what the menus are checked against: the actions that exist and
// every alphabet and screen size of the SMSCs.
func menuOptions(cfg *config) menus.Options {
	var texts []smpp.Text
	for _, s := range cfg.smscs {
		if text := s.text(); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		standard, _ := smpp.ProfileByName(defaultProfile)
		texts = append(texts, standard.Text)
	}
	opt := menus.Options{Actions: session.Actions(), Medium: texts[0]}
	for _, text := range texts[1:] {
		opt.Others = append(opt.Others, text)
	}
	return opt
}

// secretReader finds the secrets that vendors and webhooks name, and remembers what
// was wrong.
type secretReader struct {
	dir   string // USSDD_SECRETS_DIR, or ""
	asked map[string]bool
	bad   problems // files that are there and cannot be read
}

func (s *secretReader) lookup(name string) (string, bool) {
	if s.asked == nil {
		s.asked = make(map[string]bool)
	}
	s.asked[settings.SecretVariable(name)] = true
	secret, found, err := settings.Secret(s.dir, name)
	if err != nil {
		s.bad.add("secret %s: %v", name, err)
	}
	return secret, found
}

// unused reports secrets in the environment that no vendor asked for: most
// likely their names are mistyped.
func (s *secretReader) unused(bad *problems) {
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, settings.SecretPrefix) && !s.asked[name] {
			bad.add("%s: no vendor asks for this secret, and no webhook", name)
		}
	}
}

// services gives the session engine the menus in force, and older ones from the
// store.
type services struct {
	data *atomic.Pointer[data]
	db   *store.DB
	cfg  *config

	mu  sync.Mutex
	old map[string]*menus.Service // compiled again from the store, by version
}

// oldServices bounds the versions kept compiled for resumed sessions.
const oldServices = 32

func (s *services) Match(dialled string) (*menus.Service, bool) {
	return s.data.Load().menus.Match(dialled)
}

func (s *services) Find(ctx context.Context, name, version string) (*menus.Service, error) {
	if svc, ok := s.data.Load().menus.Service(name, version); ok {
		return svc, nil
	}
	s.mu.Lock()
	svc, ok := s.old[version]
	s.mu.Unlock()
	if ok {
		return svc, nil
	}
	stored, err := s.db.Service(ctx, name, version)
	if errors.Is(err, store.ErrNotFound) {
		err = session.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("service %s version %s: %w", name, version, err)
	}
	if svc, err = menus.Compile(stored.Source, name, menuOptions(s.cfg)); err != nil {
		// Written for actions or a link that are not there any more.
		return nil, fmt.Errorf("service %s version %s: %w: %w", name, version, session.ErrNotFound, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.old == nil || len(s.old) >= oldServices {
		s.old = make(map[string]*menus.Service)
	}
	s.old[version] = svc
	return svc, nil
}

// remember stores services, so that their sessions can go on after they have
// changed.
func (s *services) remember(ctx context.Context, c *menus.Catalogue) error {
	for _, svc := range c.Services() {
		err := s.db.SaveService(ctx, store.Service{Name: svc.Name(), Version: svc.Version(),
			Codes: strings.Join(svc.Codes(), ","), Source: svc.Source(), SeenAt: time.Now()})
		if err != nil {
			return err
		}
	}
	return nil
}

// sessions keeps the session engine's records in the store.
type sessions struct{ db *store.DB }

// storedState is the state column of a session.
type storedState struct {
	Heard session.Heard `json:"heard"`
	Menu  menus.State   `json:"menu"`
}

// append appends the state as JSON.
func (s storedState) append(b []byte) []byte {
	heard, _ := json.Marshal(s.Heard) // numbers and booleans have no error
	b = append(append(append(b, `{"heard":`...), heard...), `,"menu":`...)
	return append(s.Menu.AppendJSON(b), '}')
}

func (s sessions) Save(ctx context.Context, records []session.Record, steps []session.Step) error {
	rows := make([]store.Session, len(records))
	var states []byte
	for i, r := range records {
		var state []byte
		if r.Ended.IsZero() { // nobody goes on with it otherwise
			begin := len(states)
			states = storedState{r.Heard, r.State}.append(states)
			state = states[begin:len(states):len(states)]
		}
		rows[i] = store.Session{ID: r.ID, SMSC: r.Key.SMSC, MSISDN: r.Key.MSISDN, Dialogue: r.Key.ID, Code: r.Code,
			Service: r.Service, Version: r.Version, Screen: r.State.Screen(), State: state, Steps: r.Steps,
			StartedAt: r.Started, LastAt: r.Last, EndedAt: r.Ended, Reason: string(r.Reason)}
	}
	out := make([]store.Step, len(steps))
	for i, st := range steps {
		out[i] = store.Step{Session: st.Session, N: st.N, At: st.At, Screen: st.Screen, Input: st.Input, Shown: st.Shown,
			TookMicros: st.Took.Microseconds()}
	}
	return sessionError(s.db.SaveSessions(ctx, rows, out))
}

// sessionError gives the store's errors the session engine's meaning.
func sessionError(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return session.ErrNotFound
	case errors.Is(err, store.ErrInvalid):
		return fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	return err
}

func (s sessions) Load(ctx context.Context, key session.Key) (session.Record, error) {
	row, err := s.db.FindSession(ctx, key.SMSC, key.MSISDN, key.ID)
	if err != nil {
		return session.Record{}, sessionError(err)
	}
	var state storedState
	if err := json.Unmarshal(row.State, &state); err != nil {
		return session.Record{}, fmt.Errorf("state of session %d: %w", row.ID, err)
	}
	if key.MSISDN == "" {
		key.MSISDN = row.MSISDN
	}
	return session.Record{ID: row.ID, Key: key, Code: row.Code, Service: row.Service, Version: row.Version,
		State: state.Menu, Heard: state.Heard, Steps: row.Steps, Started: row.StartedAt, Last: row.LastAt}, nil
}

func (s sessions) Expire(ctx context.Context, before, at time.Time, limit int) (int, error) {
	n, err := s.db.EndSessions(ctx, before, at, string(session.Expired), limit)
	return n, sessionError(err)
}

// wallets gives the session engine the subscribers' money.
type wallets struct {
	db   *store.DB
	data *atomic.Pointer[data]
}

func (w wallets) Open(ctx context.Context, msisdns []string) error {
	return sessionError(w.db.OpenWallets(ctx, msisdns))
}

func (w wallets) Balance(ctx context.Context, msisdn string) (int64, error) {
	got, err := w.db.Wallet(ctx, msisdn)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil // dialled a moment ago: the empty wallet is about to be written
	}
	return got.Balance, err
}

func (w wallets) History(ctx context.Context, msisdn string, limit int) ([]session.Receipt, error) {
	rows, err := w.db.ListPurchases(ctx, store.PurchaseFilter{MSISDN: msisdn, Limit: limit})
	if err != nil {
		return nil, err
	}
	out := make([]session.Receipt, len(rows))
	for i, p := range rows {
		out[i] = receipt(purchase.Purchase(p), w.data.Load().vendors)
	}
	return out, nil
}

// counter gives the session engine the purchase desk.
type counter struct {
	desk *purchase.Desk
	data *atomic.Pointer[data]
	log  *slog.Logger
}

func (c counter) Buy(ctx context.Context, o session.Order) (session.Receipt, error) {
	p, err := c.desk.Buy(ctx, purchase.Order(o))
	if open, ok := errors.AsType[*purchase.OpenError](err); ok {
		r := receipt(open.Purchase, c.data.Load().vendors)
		r.Outcome, r.Reason = "pending", "open"
		return r, nil
	}
	switch {
	case errors.Is(err, purchase.ErrInsufficient), errors.Is(err, purchase.ErrNoWallet):
		return session.Receipt{Outcome: "insufficient"}, nil
	case errors.Is(err, purchase.ErrLimit):
		r := session.Receipt{Outcome: "declined", Reason: "limit"}
		if beyond, ok := errors.AsType[*purchase.LimitError](err); ok {
			r.Reason, r.Left, r.Until = "limit_"+beyond.Limit, beyond.Left, beyond.Until
		}
		return r, nil
	case errors.Is(err, purchase.ErrUnknown):
		// It may be under way: the subscriber sees the processing screen, which
		// asks for it by the name that it has then.
		c.log.Error("purchase unknown", "purchase", p.Ref, "session", o.Session, "err", err)
		return session.Receipt{Ref: p.Ref, Outcome: "pending"}, nil
	case err != nil:
		// Nothing was bought: the network is not sold, too much is in flight, the
		// daemon stops, or the order makes no sense.
		c.log.Warn("purchase refused", "session", o.Session, "err", err)
		return session.Receipt{Outcome: "unavailable"}, nil
	}
	return receipt(p, c.data.Load().vendors), nil
}

func (c counter) Check(ctx context.Context, msisdn, ref string) (session.Receipt, error) {
	p, err := c.desk.Check(ctx, msisdn, ref)
	if errors.Is(err, purchase.ErrNotFound) {
		return session.Receipt{}, session.ErrNotFound
	}
	if err != nil {
		return session.Receipt{}, err
	}
	return receipt(p, c.data.Load().vendors), nil
}

// receipt is what the subscriber can be told of a purchase.
func receipt(p purchase.Purchase, set *vendors.Set) session.Receipt {
	r := session.Receipt{Ref: p.Ref, Outcome: "pending", Reason: purchase.Cause(p), At: p.CreatedAt, Recipient: p.Recipient,
		Network: p.Network, Amount: p.Amount}
	switch p.State {
	case purchase.Delivered, purchase.DeliveredLate:
		r.Outcome = "delivered"
	case purchase.Failed, purchase.Reversed:
		r.Outcome = purchase.Outcome(p).String()
	}
	r.Name = networkName(set, p.Network)
	return r
}

// networkName is a network as subscribers know it, or its id if it is not sold any
// more.
func networkName(set *vendors.Set, id string) string {
	networks := set.Networks()
	if i := slices.IndexFunc(networks, func(n vendors.Network) bool { return n.ID == id }); i >= 0 {
		return networks[i].Name
	}
	return id
}

// ledger keeps the purchase desk's records in the store. The two packages'
// types have the same fields; their errors have the same meanings.
type ledger struct{ db *store.DB }

func (l ledger) Hold(ctx context.Context, p purchase.Purchase) (purchase.Purchase, bool, error) {
	got, created, err := l.db.Hold(ctx, store.Purchase(p))
	return purchase.Purchase(got), created, ledgerError(err)
}

func (l ledger) ByKey(ctx context.Context, key string) (purchase.Purchase, error) {
	got, err := l.db.PurchaseByKey(ctx, key)
	return purchase.Purchase(got), ledgerError(err)
}

func (l ledger) Attempt(ctx context.Context, p purchase.Purchase, a purchase.Attempt) (purchase.Purchase, error) {
	got, err := l.db.Attempt(ctx, store.Purchase(p), store.Attempt(a))
	return purchase.Purchase(got), ledgerError(err)
}

func (l ledger) Record(ctx context.Context, p purchase.Purchase, a purchase.Attempt, next string) (purchase.Purchase, error) {
	got, err := l.db.Record(ctx, store.Purchase(p), store.Attempt(a), next)
	return purchase.Purchase(got), ledgerError(err)
}

func (l ledger) Release(ctx context.Context, p purchase.Purchase, reason string) (purchase.Purchase, error) {
	got, err := l.db.Release(ctx, store.Purchase(p), reason)
	return purchase.Purchase(got), ledgerError(err)
}

func (l ledger) Purchase(ctx context.Context, ref string) (purchase.Purchase, []purchase.Attempt, error) {
	got, attempts, err := l.db.Purchase(ctx, ref)
	out := make([]purchase.Attempt, len(attempts))
	for i, a := range attempts {
		out[i] = purchase.Attempt(a)
	}
	return purchase.Purchase(got), out, ledgerError(err)
}

func (l ledger) Due(ctx context.Context, owner string, now time.Time, limit int) ([]purchase.Purchase, error) {
	got, err := l.db.Due(ctx, owner, now, limit)
	return bought(got), ledgerError(err)
}

func (l ledger) Turn(ctx context.Context, p purchase.Purchase, a purchase.Attempt) (purchase.Purchase, error) {
	got, err := l.db.Turn(ctx, store.Purchase(p), store.Attempt(a))
	return purchase.Purchase(got), ledgerError(err)
}

func (l ledger) Rechecks(ctx context.Context, owner string, now, again time.Time, limit int) ([]purchase.Purchase, error) {
	got, err := l.db.Rechecks(ctx, owner, now, again, limit)
	return bought(got), ledgerError(err)
}

func (l ledger) Rechecked(ctx context.Context, p purchase.Purchase, confirmed bool) error {
	return ledgerError(l.db.Rechecked(ctx, store.Purchase(p), confirmed))
}

// bought are the store's purchases as the desk has them.
func bought(rows []store.Purchase) []purchase.Purchase {
	out := make([]purchase.Purchase, len(rows))
	for i, p := range rows {
		out[i] = purchase.Purchase(p)
	}
	return out
}

func (l ledger) Renew(ctx context.Context, owner string, until time.Time) error {
	return ledgerError(l.db.Renew(ctx, owner, until))
}

func ledgerError(err error) error {
	if beyond, ok := errors.AsType[*store.LimitError](err); ok {
		return &purchase.LimitError{Limit: beyond.Limit, Max: beyond.Max, Left: max(0, beyond.Max-beyond.Used), Until: beyond.Until}
	}
	if open, ok := errors.AsType[*store.OpenError](err); ok {
		return &purchase.OpenError{Purchase: purchase.Purchase(open.Purchase)}
	}
	for theirs, ours := range map[error]error{store.ErrInsufficient: purchase.ErrInsufficient, store.ErrNoWallet: purchase.ErrNoWallet,
		store.ErrConflict: purchase.ErrConflict, store.ErrNotFound: purchase.ErrNotFound, store.ErrMismatch: purchase.ErrConflict,
		store.ErrInvalid: purchase.ErrOrder} {
		if errors.Is(err, theirs) {
			return fmt.Errorf("%w: %w", ours, err)
		}
	}
	return err
}
