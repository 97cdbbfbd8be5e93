package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"ussdd/cmd/ussdd/control"
	"ussdd/menus"
	"ussdd/store"
)

// operation is what the commands that change money or its records are told.
type operation struct {
	operator, reason, to, origin, subject string
	approve, suspense, breach, variance   bool
}

// moneyCommands are those of operators who look after purchases and the books.
var moneyCommands = []command{
	{name: "purchase query", args: "TXN", n: 1, does: "have the daemon ask the vendor at once, also about a decided purchase", run: purchaseQuery,
		flags: func(c *call, f *flag.FlagSet) {
			who(c, f)
			f.StringVar(&c.reason, "reason", "asked by hand", "`why`")
		}},
	{name: "purchase resolve", args: "-to STATE -reason WHY TXN", n: 1, does: "decide a purchase by what you know from the vendor", run: purchaseResolve,
		flags: func(c *call, f *flag.FlagSet) {
			approvable(c, f)
			f.StringVar(&c.to, "to", "", "delivered or failed for one that is pending or needs_review; reversed for a delivered one that the vendor\n"+
				"undid; delivered_late for a failed one that was delivered after all; failed for one that was refunded in\n"+
				"doubt, if the vendor took nothing. A `STATE`; required")
		}},
	{name: "purchase refund", args: "-reason WHY TXN", n: 1, does: "give the money of an undecided purchase back; what the vendor may have taken is disputed",
		run: purchaseRefund, flags: approvable},
	{name: "provider float", does: "what is left of our money at each vendor, by our books and as the vendors last told", run: providerFloat, flags: controlFlags},
	{name: "provider topup", args: "-reference REF -reason WHY VENDOR AMOUNT", n: 2, does: "book that a vendor's float was filled; the same reference counts once",
		run: providerTopUp, flags: func(c *call, f *flag.FlagSet) {
			who(c, f)
			f.StringVar(&c.reason, "reason", "", "`why`; required")
			f.StringVar(&c.reference, "reference", "", "the bank's `reference`; required")
			f.StringVar(&c.origin, "from", "bank:main", "`ACCOUNT` that it was filled from, bank:NAME or equity:NAME")
		}},
	{name: "commission set", args: "[-vendor VENDOR] [-from TIME] NETWORK BPS", n: 2, does: "what a network's airtime brings from a time on, in basis points",
		run: commissionSet, flags: func(c *call, f *flag.FlagSet) {
			who(c, f)
			f.StringVar(&c.reason, "reason", "set by hand", "`why`")
			f.StringVar(&c.source, "vendor", "", "only at this `VENDOR`")
			f.StringVar(&c.origin, "from", "", "`TIME` as 2026-12-01T00:00:00+01:00, instead of now")
		}},
	{name: "ledger list", does: "journal entries with their postings, newest first", run: ledgerList, flags: func(c *call, f *flag.FlagSet) {
		listFlags(c, f)
		f.StringVar(&c.msisdn, "msisdn", "", "only those about this `MSISDN`")
		f.StringVar(&c.reference, "reference", "", "only those of this transaction or `SOURCE:REFERENCE`")
	}},
	{name: "ledger reverse", args: "-reason WHY ENTRY", n: 1, does: "undo a credit, deposit, assignment or top-up with an entry that mirrors it",
		run: ledgerReverse, flags: approvable},
	{name: "account link", args: "PROVIDER ACCOUNT MSISDN", n: 3, does: "have deposits to a provider's account go to a wallet", run: accountLink, flags: func(c *call, f *flag.FlagSet) {
		who(c, f)
		f.StringVar(&c.reason, "reason", "linked by hand", "`why`")
	}},
	{name: "deposit list", does: "deposits that providers reported, newest first", run: depositList, flags: func(c *call, f *flag.FlagSet) {
		listFlags(c, f)
		f.BoolVar(&c.suspense, "suspense", false, "only those that are nobody's yet")
	}},
	{name: "deposit assign", args: "-reason WHY PROVIDER REFERENCE MSISDN", n: 3, does: "give a deposit that is nobody's to a wallet", run: depositAssign,
		flags: approvable},
	{name: "audit list", does: "what operators did, newest first", run: auditList, flags: func(c *call, f *flag.FlagSet) {
		listFlags(c, f)
		f.StringVar(&c.subject, "subject", "", "only about this transaction or other `SUBJECT`")
	}},
	{name: "audit requests", does: "what operators asked for and others can approve, for seven days, newest first", run: auditRequests, flags: listFlags},
	{name: "audit two-persons", args: "-reason WHY on|off", n: 1, does: "have resolve, refund, reverse, assign and credit need a second operator", run: auditTwoPersons,
		flags: approvable},
}

func who(c *call, f *flag.FlagSet) {
	f.StringVar(&c.operator, "operator", "", "`NAME` of who does this, instead of the user logged in")
}

// approvable are the flags of what a second operator may have to approve.
func approvable(c *call, f *flag.FlagSet) {
	secondOperator(c, f)
	f.StringVar(&c.reason, "reason", "", "`why`, for the audit log; required")
}

func secondOperator(c *call, f *flag.FlagSet) {
	who(c, f)
	f.BoolVar(&c.approve, "approve", false, "carry out what another operator asked for, who logged in as another user")
}

// by is the operation as the store wants it.
func (c *call) by() (store.Operation, error) {
	sudoUser := os.Getenv("SUDO_USER")
	login := loginOf(os.Geteuid(), sudoUser)
	op := store.Operation{Operator: cmp.Or(c.operator, sudoUser, login), Login: login, Reason: c.reason, Approve: c.approve}
	if op.Reason == "" && !op.Approve {
		return op, misused("-reason is required: it is kept in the audit log")
	}
	return op, nil
}

// loginOf is who is logged in: of a process that is root's the user who called
// sudo, and otherwise the process's user, whatever the environment says.
func loginOf(uid int, sudoUser string) string {
	if uid == 0 && sudoUser != "" {
		return sudoUser
	}
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// waits tells an operator that another one has to approve.
func (c *call) waits(err error) error {
	if errors.Is(err, store.ErrApproval) && !c.approve {
		fmt.Fprintln(c.out, "Written down. Another operator carries it out with the same command and -approve.")
	}
	return err
}

// ref is the transaction that the command is about.
func (c *call) ref() (string, error) {
	id, err := store.ParseRef(c.args[0])
	if err != nil {
		return "", misused("%q is not a transaction id such as TXN-0S9HZW5NB8M3K", c.args[0])
	}
	return store.Ref(id), nil
}

// onPurchase runs an operation on the purchase that the command names and says
// how it stands afterwards.
func (c *call) onPurchase(run func(op store.Operation, ref string) (store.Purchase, error)) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	op, err := c.by()
	if err != nil {
		return err
	}
	p, err := run(op, ref)
	if err != nil {
		return c.waits(err)
	}
	if c.json {
		return c.print(purchaseOf(p))
	}
	_, err = fmt.Fprintf(c.out, "%s of %s is %s\n", p.Ref, menus.Naira(p.Amount), p.State)
	return err
}

func purchaseQuery(c *call) error {
	return c.onPurchase(func(op store.Operation, ref string) (store.Purchase, error) { return c.db.QueryNow(c.ctx, op, ref) })
}

func purchaseResolve(c *call) error {
	if c.to == "" {
		return misused("-to is required: delivered, failed, reversed or delivered_late")
	}
	return c.onPurchase(func(op store.Operation, ref string) (store.Purchase, error) {
		return c.db.Resolve(c.ctx, op, ref, c.to)
	})
}

func purchaseRefund(c *call) error {
	return c.onPurchase(func(op store.Operation, ref string) (store.Purchase, error) { return c.db.Refund(c.ctx, op, ref) })
}

// floatRow is our money at a vendor, in JSON: by our books and, if the vendor has
// told a running ussdd, by the vendor.
type floatRow struct {
	Vendor     string    `json:"vendor"`
	ToppedUp   int64     `json:"topped_up_kobo"`
	Used       int64     `json:"used_kobo"`
	Disputed   int64     `json:"disputed_kobo"`
	Balance    int64     `json:"balance_kobo"`
	InFlight   int64     `json:"in_flight_kobo"`
	Told       *int64    `json:"told_kobo,omitempty"`
	ToldAt     time.Time `json:"told_at,omitzero"`
	Difference *int64    `json:"difference_kobo,omitempty"` // Told less Balance
}

// says adds what the vendor has told.
func (r *floatRow) says(f control.Float) {
	if f.Known.IsZero() {
		return
	}
	difference := f.Kobo - r.Balance
	r.Told, r.ToldAt, r.Difference = &f.Kobo, f.Known, &difference
}

// floats is our money at each vendor by our books, sorted by vendor.
func (c *call) floats() ([]floatRow, error) {
	floats, err := c.db.Floats(c.ctx)
	if err != nil {
		return nil, databaseError{err}
	}
	rows := make([]floatRow, len(floats))
	for i, f := range floats {
		rows[i] = floatRow{Vendor: f.Vendor, ToppedUp: f.ToppedUp, Used: f.Used, Disputed: f.Disputed, Balance: f.Balance(), InFlight: f.InFlight}
	}
	return rows, nil
}

func (c *call) printFloats(floats []floatRow, told bool) error {
	if c.json {
		return c.print(floats)
	}
	head := []string{"VENDOR", "TOPPED UP", "USED", "DISPUTED", "BALANCE", "IN FLIGHT"}
	if told {
		head = append(head, "THEY SAY", "AT", "DIFFERENCE")
	}
	rows := make([][]string, len(floats))
	for i, f := range floats {
		rows[i] = []string{f.Vendor, menus.Naira(f.ToppedUp), menus.Naira(f.Used), menus.Naira(f.Disputed), menus.Naira(f.Balance), menus.Naira(f.InFlight)}
		switch {
		case told && f.Told != nil:
			rows[i] = append(rows[i], menus.Naira(*f.Told), when(f.ToldAt), menus.Naira(*f.Difference))
		case told:
			rows[i] = append(rows[i], "not told", "-", "-")
		}
	}
	return table(c.out, head, rows)
}

func providerFloat(c *call) error {
	rows, err := c.floats()
	if err != nil {
		return err
	}
	told, err := c.liveFloats()
	if err != nil {
		if err := c.printFloats(rows, false); err != nil || c.json {
			return err
		}
		_, err = fmt.Fprintf(c.out, "What the vendors say is not known: %v\n", err)
		return err
	}
	for _, f := range told {
		i, found := slices.BinarySearchFunc(rows, f.Vendor, func(r floatRow, vendor string) int { return strings.Compare(r.Vendor, vendor) })
		if !found {
			rows = slices.Insert(rows, i, floatRow{Vendor: f.Vendor})
		}
		rows[i].says(f.Float)
	}
	return c.printFloats(rows, true)
}

// liveFloats is what the vendors have told the running daemon.
func (c *call) liveFloats() ([]control.VendorFloat, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Floats(c.ctx)
}

func providerTopUp(c *call) error {
	amount, ok := menus.ParseMoney(c.args[1])
	if !ok || amount <= 0 {
		return misused("%q is not an amount in naira", c.args[1])
	}
	if c.reference == "" {
		return misused("-reference is required: it is what keeps a payment from being booked twice")
	}
	op, err := c.by()
	if err != nil {
		return err
	}
	booked, err := c.db.TopUp(c.ctx, op, c.args[0], amount, c.origin, c.reference)
	if err != nil {
		return err
	}
	if !booked {
		fmt.Fprintf(c.out, "reference %s was booked before; nothing changed\n", c.reference)
	}
	rows, err := c.floats()
	if err != nil {
		return err
	}
	return c.printFloats(rows, false)
}

func commissionSet(c *call) error {
	bps, err := strconv.Atoi(c.args[1])
	if err != nil {
		return misused("%q is not a number of basis points, of which 100 are one percent", c.args[1])
	}
	from := time.Now()
	if c.origin != "" {
		if from, err = time.Parse(time.RFC3339, c.origin); err != nil {
			return misused("-from %s: it is a time such as 2026-12-01T00:00:00+01:00", c.origin)
		}
	}
	op, err := c.by()
	if err != nil {
		return err
	}
	return c.db.SetCommission(c.ctx, op, c.args[0], c.source, from, bps)
}

func ledgerList(c *call) error {
	msisdn, err := c.subscriber()
	if err != nil {
		return err
	}
	entries, err := c.db.ListEntries(c.ctx, store.EntryFilter{MSISDN: msisdn, Reference: c.reference, Limit: c.limit})
	if err != nil {
		return databaseError{err}
	}
	if c.json {
		type row struct {
			ID        string           `json:"id"`
			Kind      string           `json:"kind"`
			Reference string           `json:"reference"`
			Note      string           `json:"note,omitempty"`
			At        time.Time        `json:"at"`
			Reverses  string           `json:"reverses,omitempty"`
			Postings  map[string]int64 `json:"postings_kobo"`
		}
		rows := make([]row, len(entries))
		for i, e := range entries {
			rows[i] = row{ID: strconv.FormatInt(e.ID, 10), Kind: e.Kind, Reference: e.Reference, Note: e.Note, At: e.At, Postings: map[string]int64{}}
			if e.Reverses != 0 {
				rows[i].Reverses = strconv.FormatInt(e.Reverses, 10)
			}
			for _, p := range e.Postings {
				rows[i].Postings[c.maskAccount(p.Account)] += p.Amount
			}
		}
		return c.print(rows)
	}
	var rows [][]string
	for _, e := range entries {
		head := []string{strconv.FormatInt(e.ID, 10), when(e.At), e.Kind, e.Reference}
		for _, p := range e.Postings {
			rows = append(rows, append(head[:4:4], c.maskAccount(p.Account), menus.Naira(p.Amount)))
			head = []string{"", "", "", ""}
		}
	}
	return table(c.out, []string{"ENTRY", "AT", "KIND", "REFERENCE", "ACCOUNT", "AMOUNT"}, rows)
}

// maskAccount masks the number in a subscriber's account.
func (c *call) maskAccount(account string) string {
	kind, msisdn, _ := strings.Cut(account, ":")
	if kind != "wallet" && kind != "hold" {
		return account
	}
	return kind + ":" + c.mask(msisdn)
}

func ledgerReverse(c *call) error {
	id, err := strconv.ParseInt(c.args[0], 10, 64)
	if err != nil {
		return misused("%q is not the number of an entry; see ussdctl ledger list", c.args[0])
	}
	op, err := c.by()
	if err != nil {
		return err
	}
	if err := c.db.ReverseEntry(c.ctx, op, id); err != nil {
		return c.waits(err)
	}
	_, err = fmt.Fprintf(c.out, "entry %d is undone\n", id)
	return err
}

func accountLink(c *call) error {
	msisdn, err := number(c.args[2])
	if err != nil {
		return err
	}
	op, err := c.by()
	if err != nil {
		return err
	}
	if err := c.db.LinkAccount(c.ctx, op, c.args[0], c.args[1], msisdn); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "account %s at %s is %s's\n", c.args[1], c.args[0], msisdn)
	return err
}

func depositList(c *call) error {
	deposits, err := c.db.ListDeposits(c.ctx, c.suspense, c.limit)
	if err != nil {
		return databaseError{err}
	}
	if c.json {
		type row struct {
			Provider  string     `json:"provider"`
			Reference string     `json:"reference"`
			Account   string     `json:"account"`
			MSISDN    string     `json:"msisdn,omitempty"`
			Amount    int64      `json:"amount_kobo"`
			At        time.Time  `json:"at"`
			Undone    *time.Time `json:"undone_at,omitempty"`
		}
		rows := make([]row, len(deposits))
		for i, d := range deposits {
			rows[i] = row{d.Provider, d.Reference, d.Account, c.maskPresent(d.MSISDN), d.Amount, d.At, present(d.UndoneAt)}
		}
		return c.print(rows)
	}
	rows := make([][]string, len(deposits))
	for i, d := range deposits {
		rows[i] = []string{when(d.At), d.Provider, d.Reference, d.Account, menus.Naira(d.Amount), c.maskPresent(d.MSISDN), when(d.UndoneAt)}
	}
	return table(c.out, []string{"AT", "PROVIDER", "REFERENCE", "ACCOUNT", "AMOUNT", "WALLET", "UNDONE"}, rows)
}

func (c *call) maskPresent(msisdn string) string {
	if msisdn == "" {
		return ""
	}
	return c.mask(msisdn)
}

func depositAssign(c *call) error {
	msisdn, err := number(c.args[2])
	if err != nil {
		return err
	}
	op, err := c.by()
	if err != nil {
		return err
	}
	if err := c.db.AssignDeposit(c.ctx, op, c.args[0], c.args[1], msisdn); err != nil {
		return c.waits(err)
	}
	_, err = fmt.Fprintf(c.out, "deposit %s is %s's\n", c.args[1], msisdn)
	return err
}

func auditList(c *call) error {
	lines, err := c.db.ListAudit(c.ctx, c.subject, c.limit)
	if err != nil {
		return databaseError{err}
	}
	if c.json {
		type row struct {
			At       time.Time `json:"at"`
			Operator string    `json:"operator"`
			Login    string    `json:"login,omitempty"`
			Action   string    `json:"action"`
			Subject  string    `json:"subject"`
			Reason   string    `json:"reason"`
			Detail   string    `json:"detail,omitempty"`
		}
		rows := make([]row, len(lines))
		for i, l := range lines {
			rows[i] = row{l.At, l.Operator, l.Login, c.maskAction(l.Action), l.Subject, l.Reason, l.Detail}
		}
		return c.print(rows)
	}
	rows := make([][]string, len(lines))
	for i, l := range lines {
		rows[i] = []string{when(l.At), l.Operator, l.Login, c.maskAction(l.Action), l.Subject, l.Reason, l.Detail}
	}
	return table(c.out, []string{"AT", "OPERATOR", "LOGIN", "DID", "TO", "REASON", "DETAIL"}, rows)
}

func auditRequests(c *call) error {
	requests, err := c.db.ListRequests(c.ctx, c.limit)
	if err != nil {
		return databaseError{err}
	}
	if c.json {
		type row struct {
			At       time.Time `json:"at"`
			Operator string    `json:"operator"`
			Login    string    `json:"login,omitempty"`
			Asks     string    `json:"asks"`
			Subject  string    `json:"subject"`
			Reason   string    `json:"reason"`
		}
		rows := make([]row, len(requests))
		for i, r := range requests {
			rows[i] = row{r.At, r.Operator, r.Login, c.maskAction(r.Action), r.Subject, r.Reason}
		}
		return c.print(rows)
	}
	rows := make([][]string, len(requests))
	for i, r := range requests {
		rows[i] = []string{when(r.At), r.Operator, r.Login, c.maskAction(r.Action), r.Subject, r.Reason}
	}
	return table(c.out, []string{"AT", "OPERATOR", "LOGIN", "ASKS", "TO", "REASON"}, rows)
}

// maskAction masks the number of a subscriber that an action ends in.
func (c *call) maskAction(action string) string {
	i := strings.LastIndexByte(action, ' ') + 1
	if msisdn, ok := menus.ParseMSISDN(action[i:]); ok && msisdn == action[i:] {
		return action[:i] + c.mask(msisdn)
	}
	return action
}

func auditTwoPersons(c *call) error {
	on := c.args[0] == "on"
	if !on && c.args[0] != "off" {
		return misused("%q: it is on or off", c.args[0])
	}
	op, err := c.by()
	if err != nil {
		return err
	}
	if err := c.db.SetTwoPersons(c.ctx, op, on); err != nil {
		return c.waits(err)
	}
	_, err = fmt.Fprintf(c.out, "a second operator is needed: %s\n", c.args[0])
	return err
}
