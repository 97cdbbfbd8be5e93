package main

import (
	"crypto/tls"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"ussdd/cmd/ussdd/settings"
	"ussdd/session"
	"ussdd/smpp"
)

// smscConfig is one SMSC's variables, USSDD_SMSC_<NAME>_….
type smscConfig struct {
	name     string
	accounts []smpp.Account
	tls      *tls.Config   // nil: plain TCP
	expiring []string      // what `ussdd check` says of certificates
	profile  *smpp.Profile // in force
	preset   *smpp.Profile // that profile was made from

	Addr         []string `desc:"host:port of the SMSC, or of several of its addresses with commas between them, the preferred one first; required"`
	SystemID     []string `envconfig:"SYSTEM_ID" desc:"system_id to bind as, at most 15 octets, or several with commas between them, each an account of its own; required"`
	Password     string   `desc:"password of all accounts, at most 8 octets by the standard; a longer one is sent as it is; better in a file"`
	PasswordFile string   `envconfig:"PASSWORD_FILE" desc:"file with the password: one line for all accounts, or one line for each; unset: $CREDENTIALS_DIRECTORY/smsc-<name>-password if there is one"`
	SystemType   string   `envconfig:"SYSTEM_TYPE" desc:"system_type of the bind, at most 12 octets"`
	Mode         string   `default:"trx" desc:"trx binds transceivers; tx+rx binds pairs of a transmitter and a receiver"`
	Binds        int      `default:"1" desc:"transceivers, or pairs, of each account, at most 100; more than 1 only if the SMSC allows that"`

	TLS           bool   `default:"false" desc:"true: speak TLS, which SMSCs have on a port of its own"`
	TLSCA         string `envconfig:"TLS_CA" desc:"PEM file of the authorities that the SMSC's certificate may come from; unset: the system's"`
	TLSServerName string `envconfig:"TLS_SERVER_NAME" desc:"name that the SMSC's certificate must have; unset: the host of the address"`
	TLSCert       string `envconfig:"TLS_CERT" desc:"PEM file of our own certificate with its chain, where the SMSC wants one"`
	TLSKey        string `envconfig:"TLS_KEY" desc:"PEM file of its key; unset: $CREDENTIALS_DIRECTORY/smsc-<name>-tls-key"`

	Profile    string `default:"standard" desc:"dialect of USSD over SMPP: the name of a built-in one, or the path of a YAML file that begins with the one it extends; ussdd check prints what it comes to"`
	ProfileSet string `envconfig:"PROFILE_SET" desc:"single settings of the profile to change, as knob=value;knob=value; ussdd check lists them all"`
	MaxText    int    `envconfig:"MAX_TEXT" default:"0" desc:"units in one screen: septets of GSM, octets of Latin-1 and ASCII, UTF-16 units of UCS-2; 0: the profile's"`

	SMSFrom string `envconfig:"SMS_FROM" desc:"sender of short messages: a name of at most 11 letters, digits and spaces, or a short code or number; unset: the service code that was dialled, without its signs, such as 999"`

	Window int     `default:"0" desc:"submit_sm of one bind that may wait for their response at once, at most 1048576; 0: 256, or 65536 if by the profile the SMSC responds only after the subscriber answered"`
	Queue  int     `default:"32768" desc:"replies of one bind that may wait for the window, the rate, a retry or a new connection, at most 1048576; further ones are refused"`
	Rate   float64 `default:"0" desc:"submit_sm per second of one bind; 0: no limit"`

	ConnectTimeout  time.Duration `envconfig:"CONNECT_TIMEOUT" default:"10s" desc:"for the TCP connection, with TLS included"`
	BindTimeout     time.Duration `envconfig:"BIND_TIMEOUT" default:"10s" desc:"for the response to a bind"`
	EnquireLink     time.Duration `envconfig:"ENQUIRE_LINK" default:"30s" desc:"silence of the SMSC after which an enquire_link is sent"`
	EnquireTimeout  time.Duration `envconfig:"ENQUIRE_TIMEOUT" default:"10s" desc:"for any PDU after an enquire_link; after two misses the connection is closed"`
	ReadTimeout     time.Duration `envconfig:"READ_TIMEOUT" default:"30s" desc:"from a PDU's first octet to its last"`
	ResponseTimeout time.Duration `envconfig:"RESPONSE_TIMEOUT" default:"0s" desc:"for the submit_sm_resp, at least 1s, and at least USSDD_SESSION_IDLE if by the profile the SMSC responds only after the subscriber answered; 0s: 10s, or in that case 10s more than USSDD_SESSION_IDLE"`
	WriteTimeout    time.Duration `envconfig:"WRITE_TIMEOUT" default:"10s" desc:"for a write that the SMSC does not take"`
	UnbindTimeout   time.Duration `envconfig:"UNBIND_TIMEOUT" default:"5s" desc:"for the unbind_resp, but never more than an eighth of USSDD_DRAIN_TIMEOUT"`
	ReconnectMin    time.Duration `envconfig:"RECONNECT_MIN" default:"1s" desc:"first wait before connecting again; it doubles, with jitter"`
	ReconnectMax    time.Duration `envconfig:"RECONNECT_MAX" default:"1m" desc:"longest wait before connecting again; refused credentials wait it at once; doubling begins anew after a bind that lasted longer than it"`
}

// loadSMSC reads and checks the variables of one SMSC. now is what certificates
// are checked against.
func loadSMSC(name string, now time.Time, bad *problems) smscConfig {
	s := smscConfig{name: name}
	p := smscPrefix(name)
	var own problems
	process(p, &s, &own)
	s.check(p, &own)
	s.loadAccounts(p, &own)
	s.loadTLS(p, now, &own)
	s.loadProfile(p, &own)
	if len(own) == 0 {
		_, own = newLinks([]smscConfig{s}, noHandler, nil)
	}
	*bad = append(*bad, own...)
	return s
}

// maxShortMessage is what fits into a PDU's short_message (SMPP 3.4 §5.2.22).
const maxShortMessage = 254

// minResponse is what any SMSC needs for a response: one that is not waited for
// counts as lost, and its reply as one that the subscriber may never have seen.
const minResponse = time.Second

// check names the variables that a link could not work with.
func (s *smscConfig) check(p string, bad *problems) {
	s.Addr, s.SystemID = trimmed(s.Addr), trimmed(s.SystemID)
	if len(s.Addr) == 0 {
		bad.add("%s_ADDR: missing", p)
	}
	for _, addr := range s.Addr {
		if strings.HasPrefix(addr, ":") {
			bad.add("%s_ADDR: %s has no host", p, addr)
		} else {
			bad.addErr(p+"_ADDR", checkAddr(addr, 1))
		}
	}
	if len(s.SystemID) == 0 {
		bad.add("%s_SYSTEM_ID: missing", p)
	}
	for _, list := range []struct {
		name   string
		values []string
		max    int // SMPP 3.4 §4.1.1
	}{{"ADDR", s.Addr, math.MaxInt}, {"SYSTEM_ID", s.SystemID, 15}, {"SYSTEM_TYPE", []string{s.SystemType}, 12}} {
		for i, value := range list.values {
			if len(value) > list.max {
				bad.add("%s_%s: %d octets, SMPP takes at most %d", p, list.name, len(value), list.max)
			}
			if slices.Contains(list.values[:i], value) {
				bad.add("%s_%s: %q is named twice", p, list.name, value)
			}
		}
	}
	if _, ok := modes[s.Mode]; !ok && !bad.about(p+"_MODE") {
		bad.add("%s_MODE: %q is neither trx nor tx+rx", p, s.Mode)
	}
	if s.MaxText < 0 || s.MaxText > maxShortMessage {
		bad.add("%s_MAX_TEXT: %d is outside 0 to %d", p, s.MaxText, maxShortMessage)
	}
	if s.SMSFrom != "" {
		bad.addErr(p+"_SMS_FROM", smpp.CheckSender(s.SMSFrom))
	}
	if !(s.Rate >= 0 && s.Rate <= math.MaxFloat64) { // NaN is neither
		bad.add("%s_RATE: %v is no rate", p, s.Rate)
	}
	for name, is := range map[string]struct{ n, min, max int }{
		"BINDS": {s.Binds, 1, smpp.MaxBinds}, "WINDOW": {s.Window, 0, smpp.MaxWindow}, "QUEUE": {s.Queue, 1, smpp.MaxQueue},
	} {
		if (is.n < is.min || is.n > is.max) && !bad.about(p+"_"+name) {
			bad.add("%s_%s: %d is outside %d to %d", p, name, is.n, is.min, is.max)
		}
	}
	for name, d := range map[string]time.Duration{"CONNECT_TIMEOUT": s.ConnectTimeout, "BIND_TIMEOUT": s.BindTimeout,
		"ENQUIRE_LINK": s.EnquireLink, "ENQUIRE_TIMEOUT": s.EnquireTimeout, "READ_TIMEOUT": s.ReadTimeout,
		"WRITE_TIMEOUT": s.WriteTimeout, "UNBIND_TIMEOUT": s.UnbindTimeout, "RECONNECT_MIN": s.ReconnectMin, "RECONNECT_MAX": s.ReconnectMax} {
		if d <= 0 && !bad.about(p+"_"+name) {
			bad.add("%s_%s: %v is not a positive duration", p, name, d)
		}
	}
	if s.ResponseTimeout != 0 && s.ResponseTimeout < minResponse {
		bad.add("%s_RESPONSE_TIMEOUT: %v is shorter than %v", p, s.ResponseTimeout, minResponse)
	}
	if s.ReconnectMax > 0 && s.ReconnectMin > s.ReconnectMax {
		bad.add("%s_RECONNECT_MIN: %v is longer than %s_RECONNECT_MAX, %v", p, s.ReconnectMin, p, s.ReconnectMax)
	}
}

// modes are the ways to bind, by their names.
var modes = map[string]smpp.Mode{smpp.Transceiver.String(): smpp.Transceiver, smpp.Pair.String(): smpp.Pair}

// trimmed is a list without white space around its items and without empty ones.
func trimmed(list []string) []string {
	var out []string
	for _, item := range list {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// loadAccounts gives each system_id its password.
func (s *smscConfig) loadAccounts(p string, bad *problems) {
	for _, id := range s.SystemID {
		s.accounts = append(s.accounts, smpp.Account{SystemID: id, Password: s.Password})
	}
	if s.Password != "" {
		if s.PasswordFile != "" {
			bad.add("%s_PASSWORD_FILE: %s_PASSWORD is set too", p, p)
		}
		return
	}
	text, found, err := s.secretFile(s.PasswordFile, "password")
	if err != nil {
		bad.add("%s_PASSWORD_FILE: %v", p, err)
	}
	if !found || len(s.accounts) == 0 {
		return
	}
	passwords := strings.Split(text, "\n")
	if len(passwords) != 1 && len(passwords) != len(s.accounts) {
		bad.add("%s_PASSWORD_FILE: %s for %s: one line for all, or one line for each", p,
			plural(len(passwords), "line"), plural(len(s.accounts), "system_id"))
		return
	}
	for i := range s.accounts {
		s.accounts[i].Password = strings.TrimSuffix(passwords[min(i, len(passwords)-1)], "\r")
	}
}

// secretFile reads the file that a variable names, or else the SMSC's credential
// of the given kind, if there is one.
func (s *smscConfig) secretFile(named, kind string) (text string, found bool, err error) {
	if named == "" {
		return settings.ReadFirst(settings.Credentials("smsc-" + strings.ToLower(s.name) + "-" + kind))
	}
	text, found, err = settings.ReadFirst([]string{named})
	if err == nil && !found {
		err = fmt.Errorf("%s is not there", named)
	}
	return text, found, err
}

// loadProfile makes the profile in force. With a problem, it is a preset, so that
// the menus can still be checked.
func (s *smscConfig) loadProfile(p string, bad *problems) {
	var err error
	if s.profile, s.preset, err = readProfile(s.Profile); err != nil {
		bad.addErr(p+"_PROFILE", err)
		s.profile, _ = smpp.ProfileByName(defaultProfile)
		s.preset = s.profile
		return // what PROFILE_SET is about is not known
	}
	seen := make(map[string]bool)
	for setting := range strings.SplitSeq(s.ProfileSet, ";") {
		if setting = strings.TrimSpace(setting); setting == "" {
			continue
		}
		name, value, ok := strings.Cut(setting, "=")
		name = strings.TrimSpace(name)
		switch {
		case !ok || name == "":
			bad.add("%s_PROFILE_SET: %q is not knob=value", p, setting)
		case seen[name]:
			bad.add("%s_PROFILE_SET: %s is set twice", p, name)
		default:
			bad.addErr(p+"_PROFILE_SET", s.profile.Set(name, strings.TrimSpace(value)))
		}
		seen[name] = true
	}
	if len(seen) > 0 && !bad.about(p+"_PROFILE_SET") {
		bad.addErr(p+"_PROFILE_SET", s.profile.Check())
	}
}

// defaultProfile is the preset of an SMSC that names none, and of what is not
// about any SMSC.
const defaultProfile = "standard"

// readProfile gives a profile by its preset's name or its file, and the preset
// that it was made from.
func readProfile(name string) (profile, preset *smpp.Profile, err error) {
	base := name
	if ext := filepath.Ext(name); strings.ContainsRune(name, filepath.Separator) || ext == ".yaml" || ext == ".yml" {
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		if profile, err = smpp.LoadProfile(name, source); err != nil {
			return nil, nil, err
		}
		var head struct{ Extends string }
		if err := yaml.Unmarshal(source, &head); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		base = head.Extends
	}
	if preset, err = smpp.ProfileByName(base); err != nil {
		return nil, nil, err
	}
	if profile == nil {
		profile, err = smpp.ProfileByName(base)
	}
	return profile, preset, err
}

// text is what one screen on the SMSC can hold.
func (s smscConfig) text() smpp.Text {
	t := s.profile.Text
	if s.MaxText > 0 {
		t.Max = s.MaxText
	}
	return t
}

// link is what the SMSC's link is made with.
func (s smscConfig) link() smpp.Config {
	return smpp.Config{
		Name: s.name, Addrs: s.Addr, Accounts: s.accounts, SystemType: s.SystemType, Mode: modes[s.Mode], Binds: s.Binds, TLS: s.tls,
		Profile: s.profile, MaxText: s.MaxText, Busy: session.BusyText, Window: s.Window, Queue: s.Queue, Rate: s.Rate,
		ConnectTimeout: s.ConnectTimeout, BindTimeout: s.BindTimeout, EnquireLink: s.EnquireLink, EnquireTimeout: s.EnquireTimeout,
		ReadTimeout: s.ReadTimeout, ResponseTimeout: s.ResponseTimeout, WriteTimeout: s.WriteTimeout,
		UnbindTimeout: s.UnbindTimeout, ReconnectMin: s.ReconnectMin, ReconnectMax: s.ReconnectMax,
	}
}
