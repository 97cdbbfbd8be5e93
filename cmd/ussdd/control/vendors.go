package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ussdd/menus"
	"ussdd/vendors"
)

// Breaker is a breaker as the socket shows it.
type Breaker struct {
	Name      string  `json:"breaker"` // quickvend/mtn/vend, quickvend/mtn/query, reloadly/token
	State     string  `json:"state"`   // closed, half-open or open, as calls meet it
	InFlight  int     `json:"in_flight"`
	Successes uint32  `json:"successes"`        // calls within its window, like the next two
	Failures  uint32  `json:"failures"`         // that were the vendor's fault
	Excluded  uint32  `json:"excluded"`         // that say nothing about the vendor
	Forced    *Forced `json:"forced,omitempty"` // if an operator has forced the state
}

// Forced says why a breaker does not decide by itself.
type Forced struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Until  time.Time `json:"until"`
}

// BreakerOrder is an operator's will about breakers.
type BreakerOrder struct {
	Breaker string `json:"breaker"`           // one, or all of an endpoint, quickvend/mtn, or of a vendor, quickvend
	State   string `json:"state"`             // open, closed, or auto to let it decide again
	Reason  string `json:"reason"`            // why
	By      string `json:"by"`                // who
	Login   string `json:"login,omitempty"`   // of who that is, by ussdctl's account; missing = not known
	Seconds int    `json:"seconds,omitempty"` // for how long, at most a day; not for auto
}

// Act is something that an operator did, for the audit log.
type Act struct {
	Operator string // who, by his own account
	Login    string // of the operator, by ussdctl's account; "" = not known
	Action   string // "breaker open"
	Subject  string // "breaker quickvend/mtn"
	Reason   string
	Detail   string // with who the kernel says he is
}

// Float is what is known of our money at a vendor.
type Float struct {
	Kobo      int64     `json:"kobo"`
	Known     time.Time `json:"known,omitzero"` // when it was told; missing: never, and then Kobo means nothing
	Low       bool      `json:"low"`
	Exhausted bool      `json:"exhausted"` // a sale was declined for want of it, not long ago
}

// VendorFloat is the Float at a vendor.
type VendorFloat struct {
	Vendor string `json:"vendor"`
	Float
}

// Hop is one vendor of a route.
type Hop struct {
	Vendor  string   `json:"vendor"`
	Try     int      `json:"try"`               // from 1; 0 = not tried
	Skipped string   `json:"skipped,omitempty"` // why not
	Breaker *Breaker `json:"breaker,omitempty"` // of its sales; only a running daemon knows
	Float   *Float   `json:"float,omitempty"`   // likewise
}

// Product is what a vendor sells.
type Product struct {
	ID    string `json:"id"` // the vendor's own
	Name  string `json:"name,omitempty"`
	Price int64  `json:"price_kobo,omitempty"` // 0 = not told
}

// vendorTimeout is how long a vendor may take to answer.
const vendorTimeout = 30 * time.Second

// The limits of a BreakerOrder.
const (
	maxForced    = 24 * time.Hour
	maxReason    = 255             // characters, as the audit log has room for
	maxOperator  = 64              // likewise
	auditTimeout = 2 * time.Second // the database may be away, and breakers are needed then
)

// Explain says which vendors a set would try for a sale, and why not the others. An error is a
// *Problem.
func Explain(set *vendors.Set, a vendors.Ask) ([]Hop, error) {
	networks := set.Networks()
	i := slices.IndexFunc(networks, func(n vendors.Network) bool { return n.ID == a.Network })
	if i < 0 {
		return nil, Refuse(http.StatusNotFound, "no network %q", a.Network)
	}
	if n := networks[i]; a.Amount < n.Min || a.Amount > n.Max {
		return nil, Refuse(http.StatusUnprocessableEntity, "%s sells from %s to %s", n.Name, menus.Naira(n.Min), menus.Naira(n.Max))
	}
	hops := []Hop{}
	try := 0
	for _, h := range set.Explain(a) {
		hop := Hop{Vendor: h.Endpoint.Vendor(), Skipped: h.Skipped}
		if h.Skipped == "" {
			try++
			hop.Try = try
		}
		hops = append(hops, hop)
	}
	return hops, nil
}

// route answers with Explain, and what the daemon has learned of each vendor.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	ask, err := askOf(r.URL.Query())
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	set := s.cfg.Vendors()
	hops, err := Explain(set, ask)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	floats := set.Floats()
	for i := range hops {
		e, _ := set.Endpoint(hops[i].Vendor, ask.Network)
		b := breakerOf(vendors.NamedBreaker{Name: e.Name() + "/" + string(vendors.OpVend), Breaker: e.Breaker().Vend})
		hops[i].Breaker = &b
		for _, f := range floats {
			if f.Vendor == hops[i].Vendor {
				float := floatOf(f)
				hops[i].Float = &float
			}
		}
	}
	s.answer(w, r, hops)
}

func floatOf(f vendors.Float) Float {
	return Float{Kobo: f.Kobo, Known: utc(f.Known), Low: f.IsLow(), Exhausted: f.Exhausted}
}

// floats answers with what each vendor has told, and asks none.
func (s *Server) floats(w http.ResponseWriter, r *http.Request) {
	list := []VendorFloat{}
	for _, f := range s.cfg.Vendors().Floats() {
		list = append(list, VendorFloat{f.Vendor, floatOf(f)})
	}
	s.answer(w, r, list)
}

// Endpoint is a vendor's way to a network, "" = its first. An error is a *Problem.
func Endpoint(set *vendors.Set, vendor, network string) (*vendors.Endpoint, error) {
	all := set.Vendors()
	i := slices.IndexFunc(all, func(v vendors.About) bool { return v.Vendor == vendor })
	if i < 0 {
		return nil, Refuse(http.StatusNotFound, "no vendor %q; see ussdctl vendor list", vendor)
	}
	if network == "" {
		network = all[i].Networks[0]
	}
	e, ok := set.Endpoint(vendor, network)
	if !ok {
		return nil, Refuse(http.StatusNotFound, "%s does not serve %q", vendor, network)
	}
	return e, nil
}

// Products asks an endpoint what it sells. If it cannot be asked that, the error is a *Problem.
func Products(ctx context.Context, e *vendors.Endpoint) ([]Product, error) {
	list, err := e.Products(ctx)
	if errors.Is(err, vendors.ErrNoLookup) {
		return nil, Refuse(http.StatusNotFound, "%v", err)
	}
	products := make([]Product, len(list))
	for i, p := range list {
		products[i] = Product(p)
	}
	return products, err
}

// products answers with what the daemon's set knows or is told: its secrets, limits and breakers
// hold, and so does the life of the vendor's last answer.
func (s *Server) products(w http.ResponseWriter, r *http.Request) {
	e, err := Endpoint(s.cfg.Vendors(), r.URL.Query().Get("vendor"), r.URL.Query().Get("network"))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(vendorTimeout + writeTimeout)); err != nil {
		s.refuse(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), vendorTimeout)
	defer cancel()
	products, err := Products(ctx, e)
	if p := (*Problem)(nil); err != nil && !errors.As(err, &p) {
		err = Refuse(http.StatusBadGateway, "%v", err)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.answer(w, r, products)
}

// askOf reads the query of a route.
func askOf(query url.Values) (a vendors.Ask, err error) {
	a = vendors.Ask{Network: query.Get("network"), Product: query.Get("product"), Key: query.Get("key")}
	if a.Amount, err = strconv.ParseInt(query.Get("amount"), 10, 64); err != nil || a.Amount <= 0 {
		return a, Refuse(http.StatusBadRequest, "amount %q is not kobo", query.Get("amount"))
	}
	if at := query.Get("at"); at != "" {
		if a.At, err = time.Parse(time.RFC3339, at); err != nil {
			return a, Refuse(http.StatusBadRequest, "at %q is not a time of RFC 3339", at)
		}
	}
	return a, nil
}

func (s *Server) breakers(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, breakersOf(s.cfg.Vendors().Breakers()))
}

func breakersOf(all []vendors.NamedBreaker) []Breaker {
	out := make([]Breaker, len(all))
	for i, b := range all {
		out[i] = breakerOf(b)
	}
	return out
}

func breakerOf(b vendors.NamedBreaker) Breaker {
	out := Breaker{Name: b.Name, State: b.State, InFlight: b.InFlight, Successes: b.Successes, Failures: b.Failures, Excluded: b.Excluded}
	if o := b.Forced; o != nil {
		out.Forced = &Forced{Reason: o.Reason, By: o.By, Until: utc(o.Until)}
	}
	return out
}

// override carries out an order, and answers with the breakers that it is about. That the audit log
// cannot be written keeps nobody from closing off a vendor.
func (s *Server) override(w http.ResponseWriter, r *http.Request) {
	var order BreakerOrder
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	if err := body.Decode(&order); err != nil {
		s.refuse(w, r, Refuse(http.StatusBadRequest, "the request is not JSON of a breaker's order: %v", err))
		return
	}
	o, err := order.override(time.Now())
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	forced, err := s.cfg.Vendors().Override(order.Breaker, o)
	if err != nil {
		s.refuse(w, r, Refuse(http.StatusNotFound, "%v; see ussdctl breaker list", err))
		return
	}
	verb := map[vendors.Forced]string{vendors.Auto: "auto", vendors.ForcedOpen: "open", vendors.ForcedClosed: "close"}[o.State]
	who, _ := r.Context().Value(callerKey{}).(caller)
	act := Act{Operator: order.By, Login: order.Login, Action: "breaker " + verb, Subject: "breaker " + order.Breaker, Reason: order.Reason, Detail: string(who)}
	if o.State != vendors.Auto {
		act.Detail = "until " + o.Until.UTC().Format(time.RFC3339) + ", " + act.Detail
	}
	s.audit(r, act.Action, "breaker", order.Breaker, "operator", order.By, "login", order.Login, "reason", order.Reason, "seconds", order.Seconds)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditTimeout)
	defer cancel()
	if err := s.cfg.Audit(ctx, act); err != nil {
		s.cfg.Log.Error("not in the audit log", "action", act.Action, "subject", act.Subject, "operator", act.Operator, "err", err)
	}
	s.answer(w, r, breakersOf(forced))
}

// override checks an order. Which breakers there are only the vendors know.
func (b BreakerOrder) override(now time.Time) (vendors.Override, error) {
	o := vendors.Override{Reason: b.Reason, By: b.By}
	err := errors.Join(printable("the reason", b.Reason, maxReason), printable("the operator's name", b.By, maxOperator))
	if b.Login != "" {
		err = errors.Join(err, printable("the operator's login", b.Login, maxOperator))
	}
	length := time.Duration(b.Seconds) * time.Second
	switch {
	case err != nil:
		return o, Refuse(http.StatusUnprocessableEntity, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	case b.State == vendors.Auto.String():
		return o, nil
	case b.State == vendors.ForcedOpen.String():
		o.State = vendors.ForcedOpen
	case b.State == vendors.ForcedClosed.String():
		o.State = vendors.ForcedClosed
	default:
		return o, Refuse(http.StatusUnprocessableEntity, "a breaker cannot be %q; it can be open, closed or auto", b.State)
	}
	if b.Seconds < 1 || b.Seconds > int(maxForced/time.Second) {
		return o, Refuse(http.StatusUnprocessableEntity, "a breaker is forced for a second to %s, not for %s", maxForced, length)
	}
	o.Until = now.Add(length)
	return o, nil
}

// printable says what is wrong with a line of text that an operator gives.
func printable(what, s string, most int) error {
	switch {
	case strings.TrimSpace(s) == "":
		return errors.New(what + " is missing")
	case utf8.RuneCountInString(s) > most:
		return errors.New(what + " has more than " + strconv.Itoa(most) + " characters")
	case strings.TrimSpace(s) != s, !utf8.ValidString(s), strings.ContainsFunc(s, unicode.IsControl):
		return errors.New(what + " is not one plain line")
	}
	return nil
}
