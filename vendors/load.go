package vendors

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// routesFile is the one file of a set that is not a vendor.
const routesFile = "routes.yaml"

// Options are what a set of vendor files needs from its surroundings. The zero Options load a set
// that needs no secrets.
type Options struct {
	// Secrets gives the value of a secret by its name. Nil knows no secret. It is called during
	// Load only.
	Secrets func(name string) (string, bool)
	// URLs replaces the base URL of vendors, by their names.
	URLs map[string]string
	// Budget is how long one step of a session may take. A vendor whose file gives no time-outs
	// has a third of it, at most 2 s, to be connected to, and three times it for a whole call,
	// which may end after the step. 0 = 4 s.
	Budget time.Duration
	// Previous, if set, is the set that this one replaces: endpoints whose configuration has not
	// changed keep the state of their breakers and limits. A changed secret is no change.
	Previous *Set
	// Log hears of breakers that change state. Its handler must not call Endpoint.Breaker, for the
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
	l := loader{opt: opt, complete: true, set: &Set{routes: map[string][]*Endpoint{}, vendors: map[string]*vendor{}}}
	var routes []route
	if root, ok := parseFile(fsys, routesFile, &l.problems); ok {
		l.set.networks, routes = readRoutes(root)
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
		if l.complete && l.set.vendors[name] == nil {
			l.optionProblem(name, "there is no such vendor")
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

func readRoutes(root value) ([]Network, []route) {
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
			n.Name, _ = v.filled()
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
	for _, item := range r.vendors {
		name, ok := item.text()
		if !ok {
			continue
		}
		v := l.set.vendors[name]
		if v == nil {
			if l.complete {
				item.problem("there is no vendor %q", name)
			}
			continue
		}
		e := v.endpoints[r.network]
		switch {
		case e == nil && len(v.endpoints) == 0:
			// Its own file has the problem.
		case e == nil:
			item.problem("vendor %q does not serve %s", name, r.network)
		case slices.Contains(l.set.routes[r.network], e):
			item.problem("vendor %q is in the route twice", name)
		default:
			l.set.routes[r.network] = append(l.set.routes[r.network], e)
		}
	}
}

// newVendor builds what a vendor's calls need. A missing or unusable secret is a problem.
func newVendor(c config, opt Options) *vendor {
	v := &vendor{name: c.name, plan: c.plan, notFound: c.notFound, endpoints: map[string]*Endpoint{}}
	v.transport = newTransport(c.plan, opt)
	if a := c.plan.auth; a.secret != "" {
		key, found := opt.Secrets(a.secret)
		key = strings.TrimRight(key, "\r\n")
		switch {
		case !found || key == "":
			if !a.optional {
				c.authAt.problem("secret %q is missing", a.secret)
			}
		case !headerText(key):
			c.authAt.problem("secret %q is not printable ASCII", a.secret)
		default:
			v.credentials = newSecret(a.credentials(key))
			v.private = spellings(key, a.credentials(key))
		}
	}
	for _, network := range c.networks {
		v.endpoints[network] = newEndpoint(v, network, c.codes[network], opt)
	}
	return v
}

// credentials gives the value of the header that carries the secret.
func (a auth) credentials(key string) string {
	switch a.kind {
	case "bearer":
		return "Bearer " + key
	case "basic":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.user+":"+key))
	}
	return key
}

// spellings gives the forms in which an error or an answer could repeat a secret.
func spellings(key, credentials string) []secret {
	quoted := string(appendString(nil, key))
	return []secret{
		newSecret(credentials),
		newSecret(strings.TrimPrefix(credentials, "Basic ")),
		newSecret(key),
		newSecret(url.QueryEscape(key)),
		newSecret(quoted[1 : len(quoted)-1]),
		newSecret(strings.ReplaceAll(key, "/", `\/`)),
	}
}

// Route gives the endpoints of a network in the order in which they are to be tried, nil for an
// unknown network.
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

// Endpoints gives every endpoint, sorted by name: what there is to poll for metrics.
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
