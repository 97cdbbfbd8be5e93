package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"ussdd/menus"
	"ussdd/smpp"
	"ussdd/store"
)

func schemaMigrate(c *call) error {
	applied, err := c.db.Migrate(c.ctx)
	if err != nil {
		return databaseError{err}
	}
	if c.json {
		return c.print(struct {
			Applied []string `json:"applied"`
		}{append([]string{}, applied...)})
	}
	if len(applied) == 0 {
		fmt.Fprintln(c.out, "the schema is current")
	}
	for _, name := range applied {
		fmt.Fprintln(c.out, "applied", name)
	}
	return nil
}

func schemaStatus(c *call) error {
	s, err := c.db.Schema(c.ctx)
	if err != nil {
		return databaseError{err}
	}
	if c.json {
		err = c.print(struct {
			Engine  string   `json:"engine"`
			Have    int      `json:"have"`
			Want    int      `json:"want"`
			Pending []string `json:"pending"`
		}{c.db.Engine(), s.Have, s.Want, append([]string{}, s.Pending...)})
	} else {
		_, err = fmt.Fprintf(c.out, "%s schema %d of %d\n", c.db.Engine(), s.Have, s.Want)
		for _, name := range s.Pending {
			fmt.Fprintln(c.out, "pending", name)
		}
	}
	if err == nil {
		if err := c.db.CheckSchema(c.ctx); err != nil {
			return databaseError{err}
		}
	}
	return err
}

func walletCredit(c *call) error {
	msisdn, err := number(c.args[0])
	if err != nil {
		return err
	}
	amount, ok := menus.ParseMoney(c.args[1])
	if !ok || amount <= 0 {
		return misused("%q is not an amount in naira", c.args[1])
	}
	if c.reference == "" {
		return misused("-reference is required: it is what keeps a payment from being credited twice")
	}
	if c.reason == "" && !c.approve {
		c.reason = c.reference
	}
	op, err := c.by()
	if err != nil {
		return err
	}
	credited, w, err := c.db.Credit(c.ctx, op, msisdn, amount, c.source, c.reference)
	if err != nil {
		return c.waits(err)
	}
	if c.json {
		return c.print(struct {
			Credited bool `json:"credited"`
			walletRow
		}{credited, walletOf(w)})
	}
	if !credited {
		fmt.Fprintf(c.out, "reference %s was credited before; nothing changed\n", c.reference)
	}
	return c.wallet(w)
}

func walletShow(c *call) error {
	msisdn, err := number(c.args[0])
	if err != nil {
		return err
	}
	w, err := c.db.Wallet(c.ctx, msisdn)
	if err != nil {
		return err
	}
	if c.json {
		return c.print(walletOf(w))
	}
	return c.wallet(w)
}

// walletRow is a wallet in JSON.
type walletRow struct {
	MSISDN  string    `json:"msisdn"`
	Balance int64     `json:"balance_kobo"`
	Held    int64     `json:"held_kobo"`
	Opened  time.Time `json:"opened_at"`
}

func walletOf(w store.Wallet) walletRow { return walletRow{w.MSISDN, w.Balance, w.Held, w.OpenedAt} }

func (c *call) wallet(w store.Wallet) error {
	return table(c.out, []string{"MSISDN", "BALANCE", "HELD", "OPENED"},
		[][]string{{w.MSISDN, menus.Naira(w.Balance), menus.Naira(w.Held), when(w.OpenedAt)}})
}

func walletList(c *call) error {
	filter := store.WalletFilter{Limit: c.limit}
	if c.after != "" {
		var err error
		if filter.After, err = number(c.after); err != nil {
			return err
		}
	}
	wallets, err := c.db.ListWallets(c.ctx, filter)
	if err != nil {
		return err
	}
	if c.json {
		rows := make([]walletRow, len(wallets))
		for i, w := range wallets {
			rows[i] = walletOf(w)
			rows[i].MSISDN = c.mask(w.MSISDN)
		}
		return c.print(rows)
	}
	rows := make([][]string, len(wallets))
	for i, w := range wallets {
		rows[i] = []string{c.mask(w.MSISDN), menus.Naira(w.Balance), menus.Naira(w.Held), when(w.OpenedAt)}
	}
	return table(c.out, []string{"MSISDN", "BALANCE", "HELD", "OPENED"}, rows)
}

// purchaseRow is a purchase in JSON.
type purchaseRow struct {
	Ref        string       `json:"ref"`
	MSISDN     string       `json:"msisdn"`
	Recipient  string       `json:"recipient"`
	Network    string       `json:"network"`
	Amount     int64        `json:"amount_kobo"`
	State      string       `json:"state"`
	Reason     string       `json:"reason,omitempty"`
	Vendor     string       `json:"vendor,omitempty"`
	VendorRef  string       `json:"vendor_ref,omitempty"`
	Cost       int64        `json:"cost_kobo,omitempty"`
	Commission int64        `json:"commission_kobo,omitempty"`
	BPS        int          `json:"commission_bps,omitempty"`
	Token      string       `json:"token,omitempty"`
	Attempts   int          `json:"attempts"`
	Session    string       `json:"session"`
	Owner      string       `json:"owner"`
	Created    time.Time    `json:"created_at"`
	Unsure     *time.Time   `json:"unsure_at,omitempty"`
	Known      *time.Time   `json:"failed_at,omitempty"`
	Decided    *time.Time   `json:"decided_at,omitempty"`
	Next       *time.Time   `json:"next_query_at,omitempty"`
	Tries      []attemptRow `json:"tries,omitempty"`
	Messages   []messageRow `json:"messages,omitempty"`
}

// messageRow is what the subscriber is told of a purchase.
type messageRow struct {
	Kind      string     `json:"kind"`
	Created   time.Time  `json:"created_at"`
	Sent      *time.Time `json:"sent_at,omitempty"`
	SMSC      string     `json:"smsc,omitempty"`
	MessageID string     `json:"message_id,omitempty"`
	Receipt   string     `json:"receipt,omitempty"`
	Received  *time.Time `json:"receipt_at,omitempty"`
	Tries     int        `json:"tries"`
	Next      *time.Time `json:"next_at,omitempty"`
	Error     string     `json:"error,omitempty"`
}

type attemptRow struct {
	N          int        `json:"n"`
	Vendor     string     `json:"vendor"`
	Reference  string     `json:"reference"`
	State      string     `json:"state"`
	Reason     string     `json:"reason,omitempty"`
	HTTP       int        `json:"http_status,omitempty"`
	VendorRef  string     `json:"vendor_ref,omitempty"`
	Cost       int64      `json:"cost_kobo,omitempty"`
	Commission int64      `json:"commission_kobo,omitempty"`
	Token      string     `json:"token,omitempty"`
	Queries    int        `json:"queries"`
	Detail     string     `json:"detail,omitempty"`
	Started    time.Time  `json:"started_at"`
	Finished   *time.Time `json:"finished_at,omitempty"`
}

func purchaseOf(p store.Purchase) purchaseRow {
	r := purchaseRow{Ref: p.Ref, MSISDN: p.MSISDN, Recipient: p.Recipient, Network: p.Network, Amount: p.Amount, State: p.State,
		Reason: p.Reason, Vendor: p.Vendor, VendorRef: p.VendorRef, Cost: p.Cost, Commission: p.Commission, BPS: p.CommissionBPS,
		Token: hidden(p.Token), Attempts: p.Attempts, Session: strconv.FormatInt(p.Session, 10), Owner: p.Owner, Created: p.CreatedAt,
		Unsure: present(p.UnsureAt), Known: present(p.FailedAt), Decided: present(p.DecidedAt)}
	if p.State == store.Pending {
		r.Next = present(p.NextAt)
	}
	return r
}

// purchaseStates are what -state chooses.
var purchaseStates = strings.Join([]string{store.Held, store.Sending, store.Pending, store.Review, store.Delivered, store.Failed, store.Reversed,
	store.Late}, ", ")

func purchaseList(c *call) error {
	filter := store.PurchaseFilter{State: c.state, Breach: c.breach, Variance: c.variance, Limit: c.limit}
	switch {
	case c.state == "open":
		filter.State, filter.Unfinished = "", true
	case c.state != "" && !slices.Contains(strings.Split(purchaseStates, ", "), c.state):
		return misused("-state %s: it is %s or open", c.state, purchaseStates)
	}
	var err error
	if filter.MSISDN, err = c.subscriber(); err != nil {
		return err
	}
	filter.Since = c.from()
	purchases, err := c.db.ListPurchases(c.ctx, filter)
	if err != nil {
		return err
	}
	if c.json {
		rows := make([]purchaseRow, len(purchases))
		for i, p := range purchases {
			rows[i] = purchaseOf(p)
			rows[i].MSISDN, rows[i].Recipient = c.mask(p.MSISDN), c.mask(p.Recipient)
		}
		return c.print(rows)
	}
	rows := make([][]string, len(purchases))
	for i, p := range purchases {
		rows[i] = []string{p.Ref, when(p.CreatedAt), c.mask(p.MSISDN), c.mask(p.Recipient), p.Network, menus.Naira(p.Amount), p.State,
			p.Vendor, strconv.Itoa(p.Attempts), p.Reason}
	}
	return table(c.out, []string{"TXN", "AT", "PAYS", "GETS", "NETWORK", "AMOUNT", "STATE", "VENDOR", "TRIES", "REASON"}, rows)
}

func purchaseShow(c *call) error {
	id, err := store.ParseRef(c.args[0])
	if err != nil {
		return misused("%q is not a transaction id such as TXN-0S9HZW5NB8M3K", c.args[0])
	}
	p, attempts, err := c.db.Purchase(c.ctx, store.Ref(id))
	if err != nil {
		return err
	}
	messages, err := c.db.Messages(c.ctx, p.ID)
	if err != nil {
		return err
	}
	row, shown := purchaseOf(p), hidden
	if c.full {
		shown = func(token string) string { return token }
		row.Token = p.Token
	}
	for _, m := range messages {
		row.Messages = append(row.Messages, messageRow{m.Kind, m.CreatedAt, present(m.SentAt), m.SMSC, m.MessageID, m.Receipt, present(m.ReceiptAt),
			m.Tries, present(m.NextAt), m.Error})
	}
	var told int64
	for _, a := range attempts {
		if a.State == store.Delivered || a.State == store.Reversed {
			told = a.Commission
		}
		row.Tries = append(row.Tries, attemptRow{a.N, a.Vendor, a.Reference, a.State, a.Reason, a.HTTPStatus, a.VendorRef, a.Cost, a.Commission, shown(a.Token),
			a.Queries, a.Detail, a.StartedAt, present(a.FinishedAt)})
	}
	if c.json {
		return c.print(row)
	}
	if err := pairs(c.out, [][2]string{
		{"transaction", p.Ref}, {"state", p.State}, {"reason", p.Reason}, {"paid by", p.MSISDN}, {"for", p.Recipient + " on " + p.Network},
		{"amount", menus.Naira(p.Amount)}, {"commission", commission(p, told)}, {"cost", cost(p)}, {"created", when(p.CreatedAt)}, {"in doubt since", when(p.UnsureAt)}, {"decided", when(p.DecidedAt)}, {"token", row.Token},
		{"session", row.Session}, {"owner", p.Owner},
	}); err != nil {
		return err
	}
	rows := make([][]string, len(attempts))
	for i, a := range attempts {
		rows[i] = []string{strconv.Itoa(a.N), when(a.StartedAt), a.Vendor, a.Reference, a.State, a.Reason, blank(a.HTTPStatus), a.VendorRef,
			blank(a.Queries), a.Detail}
	}
	fmt.Fprintln(c.out)
	if err := table(c.out, []string{"TRY", "STARTED", "VENDOR", "REFERENCE", "STATE", "REASON", "HTTP", "VENDOR REF", "QUERIES", "DETAIL"}, rows); err != nil || len(messages) == 0 {
		return err
	}
	rows = make([][]string, len(messages))
	for i, m := range messages {
		sent := when(m.SentAt)
		switch {
		case sent == "" && m.NextAt.IsZero():
			sent = "given up"
		case sent == "":
			sent = "not yet"
		}
		rows[i] = []string{m.Kind, sent, m.SMSC, m.MessageID, m.Receipt, blank(m.Tries), when(m.NextAt), m.Error}
	}
	fmt.Fprintln(c.out)
	return table(c.out, []string{"MESSAGE", "SENT", "VIA", "ID", "RECEIPT", "TRIES", "NEXT", "ERROR"}, rows)
}

// cost is what the vendor took, by the commission and by its own word.
func cost(p store.Purchase) string {
	if p.State != store.Delivered && p.State != store.Reversed {
		return ""
	}
	if p.Cost == 0 {
		return menus.Naira(p.ComputedCost()) + "; the vendor does not say"
	}
	if p.Cost == p.ComputedCost() {
		return menus.Naira(p.ComputedCost()) + ", as the vendor says"
	}
	return menus.Naira(p.ComputedCost()) + "; the vendor says " + menus.Naira(p.Cost)
}

// hidden tells that there is a secret, and not which.
func hidden(secret string) string {
	if secret == "" {
		return ""
	}
	return "****"
}

// commission is what the vendor left us by our rate, and by its own word if that is
// another: told, 0 for nothing.
func commission(p store.Purchase, told int64) string {
	if p.State != store.Delivered && p.State != store.Reversed {
		return ""
	}
	s := fmt.Sprintf("%s at %d basis points", menus.Naira(p.Commission), p.CommissionBPS)
	if told != 0 && told != p.Commission {
		s += "; the vendor says " + menus.Naira(told)
	}
	return s
}

func ledgerCheck(c *call) error {
	r, err := c.db.CheckLedger(c.ctx)
	if err != nil {
		return databaseError{err}
	}
	if c.json {
		type violation struct {
			Rule    string `json:"rule"`
			Subject string `json:"subject"`
			Detail  string `json:"detail"`
		}
		accounts, violations := map[string]int64{}, []violation{}
		for _, a := range r.Accounts {
			accounts[a.Account] = a.Amount
		}
		for _, v := range r.Violations {
			violations = append(violations, violation(v))
		}
		err = c.print(struct {
			Entries    int              `json:"entries"`
			Postings   int              `json:"postings"`
			Wallets    int              `json:"wallets"`
			Purchases  int              `json:"purchases"`
			Sum        int64            `json:"sum_kobo"`
			Uncovered  int64            `json:"uncovered_kobo"`
			Accounts   map[string]int64 `json:"accounts_kobo"`
			Violations []violation      `json:"violations"`
		}{r.Entries, r.Postings, r.Wallets, r.Purchases, r.Sum, r.Uncovered, accounts, violations})
	} else {
		err = c.report(r)
	}
	if err == nil && len(r.Violations) > 0 {
		return errViolations
	}
	return err
}

func (c *call) report(r store.LedgerReport) error {
	rows := make([][]string, 0, len(r.Accounts)+1)
	for _, a := range r.Accounts {
		rows = append(rows, []string{a.Account, menus.Naira(a.Amount)})
	}
	rows = append(rows, []string{"sum", menus.Naira(r.Sum)})
	if err := table(c.out, []string{"ACCOUNT", "TOTAL"}, rows); err != nil {
		return err
	}
	if r.Uncovered > 0 {
		fmt.Fprintf(c.out, "\nnot covered: customers own %s more than floats, banks and funding hold; losses and disputes took it, and somebody has to pay it in\n",
			menus.Naira(r.Uncovered))
	}
	fmt.Fprintf(c.out, "\n%s, %s, %s, %s: ", plural(r.Entries, "entry", "entries"), plural(r.Postings, "posting", "postings"),
		plural(r.Wallets, "wallet", "wallets"), plural(r.Purchases, "purchase", "purchases"))
	if len(r.Violations) == 0 {
		_, err := fmt.Fprintln(c.out, "everything agrees")
		return err
	}
	fmt.Fprintf(c.out, "violations: %d\n", len(r.Violations))
	rows = rows[:0]
	for _, v := range r.Violations {
		rows = append(rows, []string{v.Rule, v.Subject, v.Detail})
	}
	return table(c.out, []string{"RULE", "SUBJECT", "FOUND"}, rows)
}

// sessionRow is a session in JSON.
type sessionRow struct {
	ID       string     `json:"id"`
	SMSC     string     `json:"smsc"`
	MSISDN   string     `json:"msisdn"`
	Dialogue string     `json:"dialogue"`
	Code     string     `json:"code"`
	Service  string     `json:"service"`
	Version  string     `json:"version"`
	Screen   string     `json:"screen"`
	Steps    int        `json:"steps"`
	Started  time.Time  `json:"started_at"`
	Last     time.Time  `json:"last_at"`
	Ended    *time.Time `json:"ended_at,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Path     []stepRow  `json:"path,omitempty"`
}

type stepRow struct {
	N      int       `json:"n"`
	At     time.Time `json:"at"`
	Screen string    `json:"screen"`
	Input  string    `json:"input"`
	Shown  string    `json:"shown"`
	Took   int64     `json:"took_us"`
}

func sessionOf(s store.Session) sessionRow {
	return sessionRow{ID: strconv.FormatInt(s.ID, 10), SMSC: s.SMSC, MSISDN: s.MSISDN, Dialogue: s.Dialogue, Code: s.Code, Service: s.Service,
		Version: s.Version, Screen: s.Screen, Steps: s.Steps, Started: s.StartedAt, Last: s.LastAt, Ended: present(s.EndedAt), Reason: s.Reason}
}

func sessionList(c *call) error {
	msisdn, err := c.subscriber()
	if err != nil {
		return err
	}
	sessions, err := c.db.ListSessions(c.ctx, store.SessionFilter{MSISDN: msisdn, Live: c.live, Since: c.from(), Limit: c.limit})
	if err != nil {
		return err
	}
	if c.json {
		rows := make([]sessionRow, len(sessions))
		for i, s := range sessions {
			rows[i] = sessionOf(s)
			rows[i].MSISDN = c.mask(s.MSISDN)
		}
		return c.print(rows)
	}
	rows := make([][]string, len(sessions))
	for i, s := range sessions {
		rows[i] = []string{strconv.FormatInt(s.ID, 10), when(s.StartedAt), s.SMSC, c.mask(s.MSISDN), s.Service, s.Screen, strconv.Itoa(s.Steps), ended(s)}
	}
	return table(c.out, []string{"SESSION", "STARTED", "SMSC", "MSISDN", "SERVICE", "SCREEN", "STEPS", "ENDED"}, rows)
}

func ended(s store.Session) string {
	if s.EndedAt.IsZero() {
		return "live"
	}
	return s.Reason
}

func sessionShow(c *call) error {
	id, err := strconv.ParseInt(c.args[0], 10, 64)
	if err != nil {
		return misused("%q is not a session's id", c.args[0])
	}
	s, steps, err := c.db.Session(c.ctx, id)
	if err != nil {
		return err
	}
	if c.json {
		row := sessionOf(s)
		for _, st := range steps {
			row.Path = append(row.Path, stepRow{st.N, st.At, st.Screen, st.Input, st.Shown, st.TookMicros})
		}
		return c.print(row)
	}
	if err := pairs(c.out, [][2]string{
		{"session", c.args[0]}, {"subscriber", s.MSISDN}, {"smsc", s.SMSC}, {"dialogue", s.Dialogue}, {"dialled", s.Code},
		{"service", s.Service + " version " + s.Version}, {"started", when(s.StartedAt)}, {"ended", ended(s) + " " + when(s.EndedAt)},
	}); err != nil {
		return err
	}
	rows := make([][]string, len(steps))
	for i, st := range steps {
		rows[i] = []string{strconv.Itoa(st.N), when(st.At), st.Screen, st.Input, st.Shown, (time.Duration(st.TookMicros) * time.Microsecond).String()}
	}
	fmt.Fprintln(c.out)
	return table(c.out, []string{"STEP", "AT", "SCREEN", "TYPED", "SHOWN", "TOOK"}, rows)
}

// number reads a subscriber's number as typed by an operator.
func number(s string) (string, error) {
	msisdn, ok := menus.ParseMSISDN(s)
	if !ok {
		return "", misused("%q is not a Nigerian mobile number", s)
	}
	return msisdn, nil
}

func (c *call) subscriber() (string, error) {
	if c.msisdn == "" {
		return "", nil
	}
	return number(c.msisdn)
}

func (c *call) from() time.Time {
	if c.since <= 0 {
		return time.Time{}
	}
	return time.Now().Add(-c.since)
}

// mask hides the middle of a number in a list, unless the operator asks for it.
func (c *call) mask(msisdn string) string {
	if c.full {
		return msisdn
	}
	return smpp.Mask(msisdn)
}

func (c *call) print(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func table(w io.Writer, head []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if head != nil {
		rows = append([][]string{head}, rows...)
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, s := range row {
			cells[i] = strings.Map(harmless, s)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return tw.Flush()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// harmless replaces what would steer the operator's terminal or break the table:
// subscribers' input and vendors' answers come from outside.
func harmless(r rune) rune {
	if unicode.IsControl(r) {
		return '.'
	}
	return r
}

// pairs prints names and values, leaving out what has none.
func pairs(w io.Writer, list [][2]string) error {
	rows := [][]string{}
	for _, p := range list {
		if strings.TrimSpace(p[1]) != "" {
			rows = append(rows, p[:])
		}
	}
	return table(w, nil, rows)
}

// when is a time for a person; the daemon and its operators think in UTC.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func present(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func blank(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
