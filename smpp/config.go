package smpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Config says how to reach one SMSC. A zero value means the default that the
// field's comment gives.
type Config struct {
	Name  string   // Dialogue.SMSC and the name in logs; required
	Addrs []string // host:port of the SMSC's addresses, the preferred one first: each connection begins with it; required

	Accounts   []Account   // what to bind as; required
	SystemType string      // at most 12 characters; empty is sent as it is
	Mode       Mode        // transceivers, or pairs of a transmitter and a receiver
	Binds      int         // transceivers, or pairs, of each account, at most MaxBinds; 1
	TLS        *tls.Config // nil: plain TCP; without a ServerName the address's host is verified

	Profile *Profile // nil: the profile "standard"
	MaxText int      // units of one screen; zero: the profile's
	Busy    string   // what a subscriber is told when there is no room; a sentence that ends the dialogue

	Window int     // replies of one bind sent and not answered yet, at most MaxWindow; 256, or 65,536 if the profile says that the SMSC answers after the subscriber
	Queue  int     // replies waiting on one bind for the window, the rate, a retry or a new connection, at most MaxQueue; those that nobody waits for (Link.Open, Link.Send) get half of it; 32,768
	Rate   float64 // messages per second of one bind; 0: no limit

	ConnectTimeout  time.Duration // until TCP, and TLS if any, is connected; 10 s
	BindTimeout     time.Duration // from there until the bind is answered; 10 s
	EnquireLink     time.Duration // silence after which an enquire_link is sent; 30 s
	EnquireTimeout  time.Duration // wait for any PDU after an enquire_link; the second miss in a row ends the connection; 10 s
	ReadTimeout     time.Duration // from a PDU's first octet to its last; 30 s
	ResponseTimeout time.Duration // from a submit_sm to its response; 10 s, or 70 s if the SMSC answers after the subscriber
	WriteTimeout    time.Duration // for one write to a socket that does not take it; 10 s
	UnbindTimeout   time.Duration // for saying goodbye at the end; 5 s
	ReconnectMin    time.Duration // first pause before connecting again; 1 s
	ReconnectMax    time.Duration // longest pause, and the pause after refused credentials; 60 s

	// Dial opens the connection below TLS. Nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Log *slog.Logger // nil: no log
}

// The most that a Config can ask for. More is a slip of the pen, which would cost
// the memory and the connections of many links.
const (
	MaxBinds  = 100     // of each account
	MaxWindow = 1 << 20 // of each bind
	MaxQueue  = 1 << 20 // of each bind
)

// Account is what a link binds as.
type Account struct {
	SystemID string // at most 15 characters
	Password string // SMPP allows 8 characters; a longer one is sent as it is, since some SMSCs want that
}

// String is the system_id: the password must not reach a log.
func (a Account) String() string { return a.SystemID }

// GoString is the system_id too, for %#v.
func (a Account) GoString() string { return fmt.Sprintf("%q", a.SystemID) }

// MarshalText likewise: what writes JSON, logs among them, does not ask for
// String.
func (a Account) MarshalText() ([]byte, error) { return []byte(a.SystemID), nil }

// Mode is how a link binds.
type Mode uint8

// The modes.
const (
	Transceiver Mode = iota // one bind_transceiver for both directions
	Pair                    // a bind_transmitter and a bind_receiver
)

// String returns trx or tx+rx.
func (m Mode) String() string {
	if m == Pair {
		return "tx+rx"
	}
	return "trx"
}

// String describes the link without its passwords.
func (c Config) String() string {
	return fmt.Sprintf("%s %v@%s", c.Name, c.Accounts, strings.Join(c.Addrs, ","))
}

// LogValue implements slog.LogValuer: the passwords must not reach a log.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Longest fields of a bind in characters (SMPP 3.4 §4.1.1).
const (
	maxSystemID   = 15
	maxPassword   = 8
	maxSystemType = 12
)

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	if c.Profile == nil {
		c.Profile, _ = ProfileByName("standard") // it is built in
	}
	if c.MaxText == 0 {
		c.MaxText = c.Profile.Text.Max
	}
	if c.Busy == "" {
		busy := "The service is busy. Please try again later."
		c.Busy = busy[:max(0, min(len(busy), c.MaxText))] // a unit a character in every alphabet
	}
	if c.Binds == 0 {
		c.Binds = 1
	}
	response := 10 * time.Second
	window := 256
	if c.Profile.AfterUser {
		response = 70 * time.Second // a minute to think, and the way there and back
		window = 1 << 16            // everybody who thinks
	}
	if c.Window == 0 {
		c.Window = window
	}
	if c.Queue == 0 {
		c.Queue = 1 << 15
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.ConnectTimeout, 10 * time.Second},
		{&c.BindTimeout, 10 * time.Second},
		{&c.EnquireLink, 30 * time.Second},
		{&c.EnquireTimeout, 10 * time.Second},
		{&c.ReadTimeout, 30 * time.Second},
		{&c.ResponseTimeout, response},
		{&c.WriteTimeout, 10 * time.Second},
		{&c.UnbindTimeout, 5 * time.Second},
		{&c.ReconnectMin, time.Second},
		{&c.ReconnectMax, time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// check returns everything that is wrong with c, which has its defaults.
func (c *Config) check() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	field := func(name, value string, limit int) {
		if len(value) > limit {
			problem("%s is longer than %d characters", name, limit)
		}
		if strings.Contains(value, "\x00") {
			problem("%s holds a NUL", name)
		}
	}
	if c.Name == "" {
		problem("no name")
	}
	if len(c.Addrs) == 0 {
		problem("no address")
	}
	for _, addr := range c.Addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			problem("address: %w", err)
		}
	}
	if len(c.Accounts) == 0 {
		problem("no system_id")
	}
	known := make(map[string]bool)
	for _, a := range c.Accounts {
		switch {
		case a.SystemID == "":
			problem("no system_id")
		case known[a.SystemID]:
			problem("system_id %s is there twice", a.SystemID)
		}
		known[a.SystemID] = true
		field("system_id", a.SystemID, maxSystemID)
		field("password", a.Password, MaxFrame/2)
	}
	field("system_type", c.SystemType, maxSystemType)
	if c.Mode > Pair {
		problem("no mode %d", c.Mode)
	}
	if c.Binds < 1 || c.Binds > MaxBinds {
		problem("%d binds are outside 1 to %d", c.Binds, MaxBinds)
	}
	if c.Window < 1 || c.Window > MaxWindow {
		problem("a window of %d is outside 1 to %d", c.Window, MaxWindow)
	}
	if c.Queue < 1 || c.Queue > MaxQueue {
		problem("a queue of %d is outside 1 to %d", c.Queue, MaxQueue)
	}
	if !(c.Rate >= 0 && c.Rate <= 1e9) { // so that NaN is refused too
		problem("a rate of %g a second is none", c.Rate)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"connect time-out", c.ConnectTimeout},
		{"bind time-out", c.BindTimeout},
		{"enquire_link interval", c.EnquireLink},
		{"enquire_link time-out", c.EnquireTimeout},
		{"read time-out", c.ReadTimeout},
		{"response time-out", c.ResponseTimeout},
		{"write time-out", c.WriteTimeout},
		{"unbind time-out", c.UnbindTimeout},
		{"shortest reconnect pause", c.ReconnectMin},
	} {
		if d.value < 0 {
			problem("%s %s is negative", d.name, d.value)
		}
	}
	if c.ReconnectMax < c.ReconnectMin {
		problem("longest reconnect pause %s is below the shortest, %s", c.ReconnectMax, c.ReconnectMin)
	}
	if err := c.Profile.Check(); err != nil {
		errs = append(errs, err)
	} else if units, _ := c.Profile.Text.Cost(c.Profile.Text.Fold(c.Busy)); units > c.MaxText {
		problem("the text for when there is no room takes %d units of %d", units, c.MaxText)
	}
	return errors.Join(errs...)
}
