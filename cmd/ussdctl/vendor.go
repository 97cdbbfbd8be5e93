package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ussdd/cmd/ussdd/control"
	"ussdd/cmd/ussdd/settings"
	"ussdd/menus"
	"ussdd/vendors"
)

// vendorFlags are what the commands about vendors and routes take.
type vendorFlags struct {
	dir, network, phone, amount, reference, vendorRef, product, operation, answer, at string
	presets, dryRun                                                                   bool
}

// vendorCommands work on YAML files, and need no database.
var vendorCommands = []command{
	{name: "vendor lint", does: "list all problems of the vendors' files; exit code 1 if there are any", run: vendorLint, offline: true, flags: fromFlags},
	{name: "vendor list", does: "the vendors with their networks and secrets", run: vendorList, offline: true, flags: fromFlags},
	{name: "vendor preset", args: "NAME", n: 1, does: "print the shipped file for a real provider, to copy from", run: vendorPreset, offline: true},
	{name: "vendor test", args: "NAME", n: 1, does: "try connection, credentials and a query of an unknown reference; sells nothing", run: vendorTest, offline: true,
		flags: func(c *call, f *flag.FlagSet) {
			fromFlags(c, f)
			f.StringVar(&c.vendor.network, "network", "", "`ID` of the network whose query is tried; the vendor's first, if unset")
		}},
	{name: "vendor products", args: "NAME", n: 1, does: "what a vendor sells for a network, and by which codes: asked by the running ussdd, or by the files", run: vendorProducts, offline: true,
		flags: func(c *call, f *flag.FlagSet) {
			controlFlags(c, f)
			fromFlags(c, f)
			f.StringVar(&c.vendor.network, "network", "", "`ID` of the network; the vendor's first, if unset")
		}},
	{name: "vendor call", args: "-dry-run NAME", n: 1, does: "print the exact request of a call, secrets masked, or what a saved answer to it means", run: vendorCall, offline: true,
		flags: func(c *call, f *flag.FlagSet) {
			fromFlags(c, f)
			f.BoolVar(&c.vendor.dryRun, "dry-run", false, "print the request and send nothing; needed, for vends are for the daemon alone")
			f.StringVar(&c.vendor.answer, "answer", "", "`FILE` with a saved HTTP response, or only its body; - is standard input")
			f.StringVar(&c.vendor.operation, "operation", "vend", "`NAME`: vend, query, balance, products or token")
			f.StringVar(&c.vendor.network, "network", "", "`ID` of the network; the vendor's first, if unset")
			f.StringVar(&c.vendor.phone, "phone", "08031234567", "`MSISDN` of the recipient")
			f.StringVar(&c.vendor.amount, "amount", "100", "`NAIRA`")
			f.StringVar(&c.vendor.product, "product", "", "`ID` of the product, if it is not airtime")
			f.StringVar(&c.vendor.reference, "reference", "", "our `reference` as it is sent; made as for a new sale, if unset")
			f.StringVar(&c.vendor.vendorRef, "vendor-ref", "", "the vendor's own `reference`, for a query")
		}},
	{name: "route explain", args: "-network ID -amount NAIRA", does: "which vendors the running ussdd would try for a sale, and why not the others; the files' answer if none runs", run: routeExplain, offline: true,
		flags: func(c *call, f *flag.FlagSet) {
			controlFlags(c, f)
			fromFlags(c, f)
			f.StringVar(&c.vendor.network, "network", "", "`ID` of the network; required")
			f.StringVar(&c.vendor.amount, "amount", "", "`NAIRA`; required")
			f.StringVar(&c.vendor.product, "product", "", "`ID` of the product, if it is not airtime")
			f.StringVar(&c.vendor.at, "at", "", "`TIME` of day in Lagos such as 23:30, or a whole one such as 2026-11-23T23:30:00+01:00; now, if unset")
			f.StringVar(&c.vendor.reference, "key", "", "`TXN` of the purchase, which decides the order of weighted vendors")
		}},
}

func fromFlags(c *call, f *flag.FlagSet) {
	f.StringVar(&c.vendor.dir, "dir", "", "`directory` of the files; USSDD_VENDORS, or the built-in ones, if unset")
	f.BoolVar(&c.vendor.presets, "presets", false, "the shipped files for real providers instead")
}

// errProblems ends a command that found some, and has printed them.
var errProblems = errors.New("there are problems")

// files gives the files that the flags choose, and their directory, "" for what is built in.
func (c *call) files() (fs.FS, string, error) {
	dir := c.vendor.dir
	if dir == "" {
		dir = os.Getenv("USSDD_VENDORS")
	}
	switch {
	case c.vendor.presets && c.vendor.dir != "":
		return nil, "", misused("-dir and -presets exclude each other")
	case c.vendor.presets:
		return vendors.Presets(), "", nil
	case dir == "":
		return vendors.Builtin(), "", nil
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, "", misused("%v", err)
	} else if !info.IsDir() {
		return nil, "", misused("%s is no directory", dir)
	}
	return os.DirFS(dir), dir, nil
}

// load loads the set. Its problems are printed, and then the error is errProblems.
func (c *call) load(secrets func(string) (string, bool)) (*vendors.Set, error) {
	fsys, dir, err := c.files()
	if err != nil {
		return nil, err
	}
	var urls settings.URLs
	if err := urls.Decode(os.Getenv("USSDD_VENDOR_URLS")); err != nil {
		return nil, misused("USSDD_VENDOR_URLS: %v", err)
	}
	if c.vendor.presets { // the variable is about the daemon's vendors, which may be others
		maps.DeleteFunc(urls, func(name, _ string) bool {
			_, err := fs.Stat(fsys, strings.TrimSuffix(name, ".token")+".yaml")
			return err != nil
		})
	}
	set, err := vendors.Load(fsys, vendors.Options{Secrets: secrets, URLs: urls, Name: settings.CheckName})
	var problems vendors.Problems
	if errors.As(err, &problems) {
		if c.json {
			return nil, errors.Join(errProblems, c.print(struct {
				Problems vendors.Problems `json:"problems"`
			}{problems}))
		}
		for _, p := range problems {
			switch {
			case p.File == "": // what is wrong is an option
				p.File, p.Path = "USSDD_VENDOR_URLS", strings.TrimPrefix(p.Path, "urls.")
			case dir != "":
				p.File = filepath.Join(dir, p.File)
			}
			fmt.Fprintln(c.out, p)
		}
		return nil, errProblems
	}
	return set, err
}

// anySecret stands for every secret where nothing is sent. It is no word, for whatever an answer has of
// it is not shown.
func anySecret(name string) (string, bool) {
	return "ussdctl-has-no-secret", !strings.HasSuffix(name, "-next")
}

func vendorLint(c *call) error {
	set, err := c.load(anySecret)
	if err != nil {
		return err
	}
	all := set.Vendors()
	if c.json {
		return c.print(struct {
			Problems []string `json:"problems"`
		}{[]string{}})
	}
	_, err = fmt.Fprintf(c.out, "no problems: %s, %s\n", plural(len(all), "vendor", "vendors"), plural(len(set.Networks()), "network", "networks"))
	return err
}

// vendorRow is a vendor in JSON.
type vendorRow struct {
	Vendor     string              `json:"vendor"`
	Base       string              `json:"base"`
	Auth       string              `json:"auth"`
	Networks   []string            `json:"networks"`
	Operations []vendors.Operation `json:"operations"`
	Secrets    []secretRow         `json:"secrets"`
}

type secretRow struct {
	Name  string `json:"name"`
	Found bool   `json:"found"`
}

func vendorList(c *call) error {
	set, err := c.load(anySecret)
	if err != nil {
		return err
	}
	list, rows := []vendorRow{}, [][]string{}
	for _, v := range set.Vendors() {
		row := vendorRow{v.Vendor, v.Base, v.Auth, v.Networks, v.Operations, []secretRow{}}
		var names []string
		for _, name := range v.Secrets {
			_, found, err := settings.Secret(os.Getenv("USSDD_SECRETS_DIR"), name)
			row.Secrets = append(row.Secrets, secretRow{name, found})
			switch {
			case err != nil:
				name += " (cannot be read)"
			case !found:
				name += " (missing)"
			}
			names = append(names, name)
		}
		list = append(list, row)
		rows = append(rows, []string{v.Vendor, v.Base, v.Auth, strings.Join(v.Networks, " "), strings.Join(names, ", ")})
	}
	if c.json {
		return c.print(list)
	}
	return table(c.out, []string{"VENDOR", "BASE", "AUTH", "NETWORKS", "SECRETS"}, rows)
}

func vendorPreset(c *call) error {
	text, err := fs.ReadFile(vendors.Presets(), c.args[0]+".yaml")
	if err != nil {
		names, _ := fs.Glob(vendors.Presets(), "*.yaml") // fails only for a bad pattern
		for i := range names {
			names[i] = strings.TrimSuffix(names[i], ".yaml")
		}
		return misused("no preset %q; there are %s", c.args[0], strings.Join(names, ", "))
	}
	_, err = c.out.Write(text)
	return err
}

// endpoint finds the endpoint that the arguments name.
func (c *call) endpoint(set *vendors.Set) (*vendors.Endpoint, error) {
	e, err := control.Endpoint(set, c.args[0], c.vendor.network)
	if err != nil {
		return nil, misused("%v", err)
	}
	return e, nil
}

// errVendor ends a test of a vendor that failed, and has said why.
var errVendor = errors.New("the vendor cannot be used like this")

// callable loads the set with the secrets of the vendor that the arguments name, and finds its
// endpoint. The caller closes the set's connections.
func (c *call) callable() (*vendors.Set, *vendors.Endpoint, error) {
	set, err := c.load(anySecret)
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.endpoint(set); err != nil {
		return nil, nil, err
	}
	var own []string
	for _, v := range set.Vendors() {
		if v.Vendor == c.args[0] {
			own = v.Secrets
		}
	}
	var unread error
	set, err = c.load(func(name string) (string, bool) {
		if !slices.Contains(own, strings.TrimSuffix(name, "-next")) {
			return anySecret(name) // of vendors that are not asked
		}
		secret, found, err := settings.Secret(os.Getenv("USSDD_SECRETS_DIR"), name)
		if err != nil {
			unread = errors.Join(unread, fmt.Errorf("secret %s: %w", name, err))
		}
		return secret, found
	})
	if err := errors.Join(err, unread); err != nil {
		return nil, nil, err
	}
	e, err := c.endpoint(set)
	return set, e, err
}

func vendorProducts(c *call) error {
	products, err := c.products()
	if p := (*control.Problem)(nil); errors.As(err, &p) && p.Status != http.StatusBadGateway {
		return misused("%v", err)
	}
	if err != nil {
		return err
	}
	if c.json {
		return c.print(products)
	}
	rows := [][]string{}
	for _, p := range products {
		price := "-"
		if p.Price > 0 {
			price = menus.Naira(p.Price)
		}
		rows = append(rows, []string{p.ID, dash(p.Name), price})
	}
	return table(c.out, []string{"CODE", "NAME", "PRICE"}, rows)
}

// products has the daemon ask the vendor, or asks it itself if the files are named or there is no
// daemon.
func (c *call) products() ([]control.Product, error) {
	if c.vendor.dir == "" && !c.vendor.presets {
		products, err := c.liveProducts()
		if p := (*control.Problem)(nil); err == nil || errors.As(err, &p) || c.ctx.Err() != nil {
			return products, err
		}
	}
	set, e, err := c.callable()
	if err != nil {
		return nil, err
	}
	defer set.CloseIdleConnections()
	return control.Products(c.ctx, e)
}

func (c *call) liveProducts() ([]control.Product, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Products(c.ctx, c.args[0], c.vendor.network)
}

func vendorTest(c *call) error {
	set, e, err := c.callable()
	if err != nil {
		return err
	}
	defer set.CloseIdleConnections()
	type step struct {
		Step string `json:"step"`
		OK   bool   `json:"ok"`
		Text string `json:"text"`
	}
	var steps []step
	reached, err := set.Reach(c.ctx, e.Vendor())
	if err != nil {
		steps = append(steps, step{"connection", false, err.Error()})
	} else {
		text := fmt.Sprintf("%s %s in %s", reached.Addr, reached.TLS, reached.Took.Round(time.Millisecond))
		steps = append(steps, step{"connection", true, strings.Join(strings.Fields(text), " ")})
	}
	if reached.Addr != "" {
		if kobo, err := set.Balance(c.ctx, e.Vendor()); err == nil {
			steps = append(steps, step{"balance", true, menus.Naira(kobo)})
		} else if !errors.Is(err, vendors.ErrNoLookup) {
			steps = append(steps, step{"balance", false, err.Error()})
		}
		steps = append(steps, step{Step: "query"})
		last := &steps[len(steps)-1]
		reference, err := e.Reference("TEST-"+rand.Text()[:13], time.Now())
		if err != nil {
			last.Text = err.Error()
		} else {
			f := e.Query(c.ctx, vendors.Request{Network: e.Network(), Recipient: "2348031234567", Amount: 100_00, Reference: reference}, "0")
			last.OK, last.Text = f.State == vendors.NotFound, f.State.String()+": "+f.Detail
			if e.QueryNeedsVendorRef() && f.HTTPStatus != 0 && f.State == vendors.Unknown && f.Reason == vendors.ReasonUnreadable {
				last.OK = true // it has no word for a reference that it does not know
			}
		}
	}
	failed := slices.ContainsFunc(steps, func(s step) bool { return !s.OK })
	if c.json {
		err = c.print(steps)
	} else {
		rows := [][]string{}
		for _, s := range steps {
			rows = append(rows, []string{s.Step, map[bool]string{true: "good", false: "BAD"}[s.OK], s.Text})
		}
		err = table(c.out, []string{"STEP", "RESULT", "WHAT"}, rows)
	}
	if err == nil && failed {
		err = errVendor
	}
	return err
}

func vendorCall(c *call) error {
	if !c.vendor.dryRun && c.vendor.answer == "" {
		return misused("-dry-run or -answer is needed: only the daemon sells")
	}
	amount, ok := menus.ParseMoney(c.vendor.amount)
	if !ok || amount <= 0 {
		return misused("%q is not an amount in naira", c.vendor.amount)
	}
	phone, err := number(c.vendor.phone)
	if err != nil {
		return err
	}
	set, err := c.load(anySecret)
	if err != nil {
		return err
	}
	e, err := c.endpoint(set)
	if err != nil {
		return err
	}
	r := vendors.Request{Network: e.Network(), Recipient: phone, Amount: amount, Reference: c.vendor.reference, Product: c.vendor.product}
	if r.Reference == "" {
		if r.Reference, err = e.Reference("TXN-"+rand.Text()[:13], time.Now()); err != nil {
			return misused("%v", err)
		}
	}
	op := vendors.Operation(c.vendor.operation)
	request := ""
	if c.vendor.dryRun {
		if request, err = e.Preview(op, r, c.vendor.vendorRef); err != nil {
			return misused("%v", err)
		}
	}
	if c.vendor.answer == "" {
		if c.json {
			return c.print(struct {
				Request string `json:"request"`
			}{request})
		}
		_, err = fmt.Fprintln(c.out, request)
		return err
	}
	saved, err := readSaved(c.vendor.answer)
	if err != nil {
		return err
	}
	v, err := e.Judge(op, r, c.vendor.vendorRef, saved)
	if err != nil {
		return misused("%v", err)
	}
	if c.json {
		return c.print(verdictOf(op, request, v))
	}
	if request != "" {
		fmt.Fprintln(c.out, request)
		fmt.Fprintln(c.out)
	}
	return table(c.out, nil, verdictOf(op, "", v).rows())
}

// verdictRow is in JSON what rules make of an answer.
type verdictRow struct {
	Request    string `json:"request,omitempty"`
	Rule       string `json:"rule"` // "" = none matches
	Means      string `json:"means"`
	Reason     string `json:"reason,omitempty"`
	Final      bool   `json:"final,omitempty"`
	VendorRef  string `json:"vendor_ref,omitempty"`
	Cost       int64  `json:"cost_kobo,omitempty"`
	Commission int64  `json:"commission_kobo,omitempty"`
	Float      *int64 `json:"float_kobo,omitempty"`
	Token      bool   `json:"has_token,omitempty"`
	Detail     string `json:"detail,omitempty"`
}

func verdictOf(op vendors.Operation, request string, v vendors.Verdict) verdictRow {
	row := verdictRow{Request: request, Rule: v.Rule}
	switch op {
	case vendors.OpVend:
		r := v.Result
		row.Means, row.Reason, row.Final, row.VendorRef, row.Cost, row.Commission, row.Token, row.Detail =
			r.Outcome.String(), r.Reason, r.Final, r.VendorRef, r.Cost, r.Commission, r.Token != "", r.Detail
		if r.FloatKnown {
			row.Float = &r.Float
		}
	case vendors.OpQuery:
		f := v.Finding
		row.Means, row.Reason, row.VendorRef, row.Cost, row.Commission, row.Token, row.Detail =
			f.State.String(), f.Reason, f.VendorRef, f.Cost, f.Commission, f.Token != "", f.Detail
	default:
		row.Means = map[bool]string{true: "known", false: "unknown"}[v.Known]
		if op == vendors.OpBalance && v.Known {
			row.Float = &v.Float
		}
	}
	return row
}

func (r verdictRow) rows() [][]string {
	rows := [][]string{{"rule", cmp.Or(r.Rule, "none")}, {"means", r.Means}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	money := func(kobo int64) string {
		if kobo == 0 {
			return ""
		}
		return menus.Naira(kobo)
	}
	add("reason", r.Reason)
	if r.Final {
		add("final", "the next vendor would decline, too")
	}
	add("vendor ref", r.VendorRef)
	add("cost", money(r.Cost))
	add("commission", money(r.Commission))
	if r.Float != nil {
		add("float", menus.Naira(*r.Float))
	}
	if r.Token {
		add("token", "there is one for the subscriber")
	}
	add("detail", r.Detail)
	return rows
}

func readSaved(name string) ([]byte, error) {
	const most = 1 << 20
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, misused("%v", err)
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, most))
}
