package vendors

import (
	"context"
	"crypto/tls"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// routesFile is the one file of a set that is not a vendor.
const routesFile = "routes.yaml"

// tokenURL is behind the name of a vendor in Options.URLs.
const tokenURL = ".token"

// Options are what a set of vendor files needs from its surroundings. The zero Options load a set
// that needs no secrets.
type Options struct {
	// Secrets gives the value of a secret by its name. Nil knows no secret. It is called during
	// Load only.
	Secrets func(name string) (string, bool)
	// URLs replaces the base URL of vendors, by their names, and the part before the path of the
	// address that gives tokens, by NAME.token.
	URLs map[string]string
	// Name says what is wrong with the name of a network, for a Problem. Nil takes every name. It is
	// called during Load only.
	Name func(name string) error
	// Budget is how long one step of a session may take. A vendor whose file gives no time-outs
	// has a third of it, at most 2 s, to be connected to, and three times it for a whole call,
	// which may end after the step. 0 = 4 s.
	Budget time.Duration
	// Previous, if set, is the set that this one replaces: endpoints whose configuration has not
	// changed keep the state of their breakers and limits. A changed secret is no change.
	Previous *Set
	// Log hears of breakers that change state, and of costs that are absurd. Its handler must not call Endpoint.Breaker, for the
	// breaker is locked then. Nil discards.
	Log *slog.Logger
	// Dial makes the connections; nil is net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is the configuration of https vendors; nil verifies them by the system's roots.
	TLS *tls.Config
}

// Set is a loaded set of vendors and routes. It is immutable and safe for concurrent use.
type Set struct {
	networks []Network
	routes   map[string][]*Endpoint
	plans    map[string][][]hop
	vendors  map[string]*vendor
}

// Load reads every *.yaml in the root of fsys: one file per vendor, and routes.yaml. A *.yml is a
// problem. The error is a Problems with everything that is wrong, and then there is no set.
func Load(fsys fs.FS, opt Options) (*Set, error) {
	if opt.Budget <= 0 {
		opt.Budget = defaultBudget
	}
	if opt.Secrets == nil {
		opt.Secrets = func(string) (string, bool) { return "", false }
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, err
	}
	misnamed, err := fs.Glob(fsys, "*.yml")
	if err != nil {
		return nil, err
	}
	l := loader{opt: opt, complete: true, set: &Set{routes: map[string][]*Endpoint{}, plans: map[string][][]hop{}, vendors: map[string]*vendor{}}}
	var routes []route
	if root, ok := parseFile(fsys, routesFile, &l.problems); ok {
		l.set.networks, routes = readRoutes(root, opt.Name)
	}
	for _, name := range misnamed {
		l.problems = append(l.problems, Problem{File: name, Text: "name it .yaml"})
		l.complete = false
	}
	for _, name := range names {
		if name != routesFile {
			root, ok := parseFile(fsys, name, &l.problems)
			l.complete = ok && l.add(root) && l.complete
		}
	}
	for _, name := range slices.Sorted(maps.Keys(opt.URLs)) {
		vendor, isToken := strings.CutSuffix(name, tokenURL)
		switch v := l.set.vendors[vendor]; {
		case v == nil && l.complete:
			l.optionProblem(name, "there is no such vendor")
		case v != nil && isToken && v.tokens == nil:
			l.optionProblem(name, "the vendor's file has no auth.token")
		}
	}
	for _, r := range routes {
		l.link(r)
	}
	if len(l.problems) > 0 {
		l.problems.sort()
		return nil, l.problems
	}
	return l.set, nil
}

// loader is a Load at work.
type loader struct {
	opt      Options
	problems Problems
	set      *Set
	complete bool // every vendor's name is known
}

// add adds the vendor of one file. It reports whether the vendor's name is known.
func (l *loader) add(root value) bool {
	c := readVendor(root, l.opt.Budget, l.set.networks)
	if c.name == "" {
		return false
	}
	if l.set.vendors[c.name] != nil {
		c.nameAt.problem("vendor %q is there twice", c.name)
		return true
	}
	if base, ok := l.opt.URLs[c.name]; ok {
		if c.plan.base, ok = baseURL(base); !ok {
			l.optionProblem(c.name, "must be an http or https URL without user, query and fragment")
		}
	}
	if base, ok := l.opt.URLs[c.name+tokenURL]; ok && c.plan.auth.token != nil {
		if c.plan.auth.token.url, ok = baseURL(base); !ok {
			l.optionProblem(c.name+tokenURL, "must be an http or https URL without user, query and fragment")
		}
	}
	l.set.vendors[c.name] = newVendor(c, l.opt)
	return true
}

func (l *loader) optionProblem(vendor, text string) {
	l.problems = append(l.problems, Problem{Path: "urls." + vendor, Text: text})
}

// route is one network's list of vendors as it was read.
type route struct {
	network string
	vendors []value
}

func readRoutes(root value, checkName func(string) error) ([]Network, []route) {
	o, ok := root.object("networks")
	if !ok {
		return nil, nil
	}
	list, ok := o.need("networks")
	if !ok {
		return nil, nil
	}
	of, ok := list.object()
	if ok && len(of.keys) == 0 {
		list.problem("must not be empty")
	}
	var networks []Network
	var routes []route
	for _, key := range of.keys {
		f := of.fields[key]
		if !ids.MatchString(key) {
			f.problem("%q is no name: small letters, digits and dashes, at most 32", key)
			continue
		}
		n := Network{ID: key}
		networks = append(networks, n)
		o, ok := f.object("name", "min", "max", "route")
		if !ok {
			continue
		}
		if v, ok := o.need("name"); ok {
			if n.Name, ok = v.filled(); ok && checkName != nil {
				if err := checkName(n.Name); err != nil {
					v.problem("%v", err)
				}
			}
		}
		if v, ok := o.need("min"); ok {
			n.Min, _ = v.money()
		}
		if v, ok := o.need("max"); ok {
			if n.Max, ok = v.money(); ok && n.Max < n.Min {
				v.problem("is less than min")
			}
		}
		if v, ok := o.need("route"); ok {
			vendors, ok := v.list()
			if ok && len(vendors) == 0 {
				v.problem("must not be empty")
			}
			routes = append(routes, route{network: key, vendors: vendors})
		}
		networks[len(networks)-1] = n
	}
	return networks, routes
}

// link finds the endpoints of a route.
func (l *loader) link(r route) {
	for i, item := range r.vendors {
		group := []value{item}
		if item.node.Kind == yaml.SequenceNode {
			if group, _ = item.some(); len(group) == 0 {
				continue
			}
		}
		var hops []hop
		for _, of := range group {
			h, name, ok := readHop(of)
			if !ok {
				continue
			}
			if h.endpoint = l.endpoint(name, r.network); h.endpoint == nil {
				continue
			}
			if h.endpoint.QueryNeedsVendorRef() && (i < len(r.vendors)-1 || len(group) > 1) {
				name.problem("%s must be the last: it can only be asked by a reference of its own, which a lost answer takes with it", h.endpoint.vendor.name)
			}
			l.set.routes[r.network] = append(l.set.routes[r.network], h.endpoint)
			hops = append(hops, h)
		}
		l.set.plans[r.network] = append(l.set.plans[r.network], hops)
	}
}

// endpoint finds the vendor that a route names, nil if it cannot.
func (l *loader) endpoint(item value, network string) *Endpoint {
	name, ok := item.text()
	if !ok {
		return nil
	}
	v := l.set.vendors[name]
	if v == nil {
		if l.complete {
			item.problem("there is no vendor %q", name)
		}
		return nil
	}
	e := v.endpoints[network]
	switch {
	case e == nil && len(v.endpoints) == 0:
		// Its own file has the problem.
	case e == nil:
		item.problem("vendor %q does not serve %s", name, network)
	case slices.Contains(l.set.routes[network], e):
		item.problem("vendor %q is in the route twice", name)
	default:
		return e
	}
	return nil
}

// newVendor builds what a vendor's calls need. A missing or unusable secret is a problem.
func newVendor(c config, opt Options) *vendor {
	v := &vendor{name: c.name, plan: c.plan, notFound: c.notFound, callback: c.callback, lines: c.lines, file: c.nameAt.file, endpoints: map[string]*Endpoint{}}
	v.transport = newTransport(c.plan, opt)
	v.keys = readKeys(c.secrets, opt, c.plan.auth.token != nil || len(c.plan.auth.refused) > 0)
	v.callback.find(opt)
	for _, use := range c.secrets {
		v.names = append(v.names, use.name)
	}
	if name := c.callback.secret; name != "" {
		v.names = append(v.names, name)
		for _, token := range v.callback.tokens {
			v.keys[0].secrets[name] = token // so that it is known to be there, and shown by nothing
		}
	}
	slices.Sort(v.names)
	v.names = slices.Compact(v.names)
	for _, k := range v.keys {
		v.private = append(v.private, c.plan.auth.private(k)...)
	}
	slices.SortStableFunc(v.private, func(a, b secret) int { return len(b.reveal()) - len(a.reveal()) })
	v.tokens = newTokens(v, opt)
	v.memory, v.limiter = newMemory(v, opt), newLimiter(v, opt)
	v.balance = newCache(v, OpBalance, c.plan.balance, func(v *vendor) *cache { return v.balance }, opt)
	v.products = newCache(v, OpProducts, c.plan.products, func(v *vendor) *cache { return v.products }, opt)
	for _, network := range c.networks {
		v.endpoints[network] = newEndpoint(v, network, c.codes[network], opt)
	}
	return v
}

// nextSecret is what the name of a secret has behind it when it is the one that the first is being
// exchanged for, or has been: the two are valid together for a time.
const nextSecret = "-next"

// readKeys gets the secrets that a vendor's file names. Where there is a second value for any of
// them, there are second keys, which are of use only if it can be known that the first are refused.
func readKeys(uses []secretUse, opt Options, known bool) []*keys {
	first, second := &keys{secrets: map[string]secret{}}, &keys{secrets: map[string]secret{}}
	two := false
	for _, use := range uses {
		if use.name == "" {
			continue
		}
		value, found := opt.Secrets(use.name)
		value = strings.TrimRight(value, "\r\n")
		switch {
		case !found || value == "":
			if !use.optional {
				use.at.problem("secret %q is missing", use.name)
			}
			continue
		case !headerText(value):
			use.at.problem("secret %q is not printable ASCII", use.name)
			continue
		}
		first.secrets[use.name], second.secrets[use.name] = newSecret(value), newSecret(value)
		next, found := opt.Secrets(use.name + nextSecret)
		if next = strings.TrimRight(next, "\r\n"); !found || next == "" || next == value {
			continue
		}
		switch {
		case !headerText(next):
			use.at.problem("secret %q is not printable ASCII", use.name+nextSecret)
			continue
		case !known:
			use.at.problem("secret %q would never be tried: auth.refused does not say how the vendor refuses the first", use.name+nextSecret)
			continue
		}
		second.secrets[use.name], two = newSecret(next), true
	}
	if two {
		return []*keys{first, second}
	}
	return []*keys{first}
}

// Route gives all endpoints of a network in the order of its route, whatever their conditions and
// weights; nil for an unknown network. Explain gives those for one sale.
func (s *Set) Route(network string) []*Endpoint { return slices.Clone(s.routes[network]) }

// Endpoint finds the endpoint of a vendor for a network, in a route or not.
func (s *Set) Endpoint(vendor, network string) (*Endpoint, bool) {
	v := s.vendors[vendor]
	if v == nil {
		return nil, false
	}
	e, ok := v.endpoints[network]
	return e, ok
}

// Endpoints gives every endpoint, in a route or not, sorted by name.
func (s *Set) Endpoints() []*Endpoint {
	var all []*Endpoint
	for _, v := range s.vendors {
		all = slices.AppendSeq(all, maps.Values(v.endpoints))
	}
	slices.SortFunc(all, func(a, b *Endpoint) int { return strings.Compare(a.name, b.name) })
	return all
}

// Networks gives the networks in the order of routes.yaml.
func (s *Set) Networks() []Network { return slices.Clone(s.networks) }

// CloseIdleConnections closes the connections that no call is using. It is for a set that has been
// replaced, and for the end of the daemon; calls in flight, and calls that come yet, are not
// disturbed.
func (s *Set) CloseIdleConnections() {
	for _, v := range s.vendors {
		v.transport.CloseIdleConnections()
	}
}
