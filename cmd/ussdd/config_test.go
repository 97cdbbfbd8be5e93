package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ussdd/session"
	"ussdd/smpp"
)

// set gives the test an environment without any of our variables but these.
func set(t *testing.T, env map[string]string) {
	t.Helper()
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, prefix+"_") || slices.Contains([]string{"CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"}, name) {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
}

func TestConfigOfTwoSMSCs(t *testing.T) {
	creds := t.TempDir()
	for name, text := range map[string]string{"ussdd_smsc-mtn-password": "secret1\n", "other": "secret2"} {
		if err := os.WriteFile(filepath.Join(creds, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set(t, map[string]string{
		"CREDENTIALS_DIRECTORY": creds, "STATE_DIRECTORY": "/var/lib/ussdd",
		"LOG_LEVEL": "loud", "STEP_BUDGET": "9s", "WINDOW": "9", // not ours
		"USSDD_SMSCS": " mtn, glo-1 ,", "USSDD_STEP_BUDGET": "4s", "USSDD_TEST_MYSQL": "x",
		"USSDD_SMSC_MTN_ADDR": "10.0.0.1:2775", "USSDD_SMSC_MTN_SYSTEM_ID": "vas", "USSDD_SMSC_MTN_WINDOW": "7",
		"USSDD_SMSC_GLO_1_ADDR": "10.0.0.2:2775", "USSDD_SMSC_GLO_1_SYSTEM_ID": "vas2", "USSDD_SMSC_GLO_1_PASSWORD_FILE": filepath.Join(creds, "other"),
		"USSDD_VENDOR_URLS": "mtn=https://sandbox.example/v1,glo=http://127.0.0.1:1",
	})
	c, bad := loadConfig()
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	if c.Database != "sqlite:/var/lib/ussdd/ussdd.db" || c.StepBudget != 4*time.Second || c.DrainTimeout != 20*time.Second {
		t.Errorf("%+v", c)
	}
	if c.VendorURLs["mtn"] != "https://sandbox.example/v1" || c.VendorURLs["glo"] != "http://127.0.0.1:1" {
		t.Errorf("URLs %v", c.VendorURLs)
	}
	mtn, glo := c.smscs[0], c.smscs[1]
	if mtn.accounts[0].Password != "secret1" || mtn.Window != 7 || mtn.Profile != "standard" || glo.name != "glo-1" ||
		glo.accounts[0].Password != "secret2" {
		t.Errorf("%+v", c.smscs)
	}
}

// TestEveryVariableReachesTheLink sets all that a link is made with.
func TestEveryVariableReachesTheLink(t *testing.T) {
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwords")
	write(t, passwords, "one\r\ntwo\n")
	authority := newAuthority(t)
	authority.files(t, dir, time.Now().Add(-time.Hour), time.Now().Add(365*24*time.Hour))
	env := map[string]string{"USSDD_DRAIN_TIMEOUT": "24s"}
	for name, value := range map[string]string{
		"ADDR": "a:1, b:2", "SYSTEM_ID": "vas1, vas2", "PASSWORD_FILE": passwords, "SYSTEM_TYPE": "USSD", "MODE": "tx+rx", "BINDS": "3",
		"TLS": "true", "TLS_CA": filepath.Join(dir, "ca.pem"), "TLS_SERVER_NAME": "smsc.example",
		"TLS_CERT": filepath.Join(dir, "cert.pem"), "TLS_KEY": filepath.Join(dir, "key.pem"),
		"PROFILE": "standard", "PROFILE_SET": "service_type=VAS", "MAX_TEXT": "120", "WINDOW": "7", "QUEUE": "8", "RATE": "12.5",
		"CONNECT_TIMEOUT": "11s", "BIND_TIMEOUT": "12s", "ENQUIRE_LINK": "13s", "ENQUIRE_TIMEOUT": "14s", "READ_TIMEOUT": "15s",
		"RESPONSE_TIMEOUT": "16s", "WRITE_TIMEOUT": "17s", "UNBIND_TIMEOUT": "18s", "RECONNECT_MIN": "19s", "RECONNECT_MAX": "20s",
	} {
		env["USSDD_SMSC_MTN_"+name] = value
	}
	set(t, oneSMSC(env))
	c, bad := loadConfig()
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	got := c.smscs[0].link()
	if got.TLS == nil || got.TLS.ServerName != "smsc.example" || got.TLS.MinVersion != tls.VersionTLS12 || got.TLS.RootCAs == nil || len(got.TLS.Certificates) != 1 {
		t.Errorf("TLS %+v", got.TLS)
	}
	if got.Profile.ServiceType != "VAS" || c.smscs[0].preset.ServiceType != "USSD" {
		t.Errorf("service_type %q of preset %q", got.Profile.ServiceType, c.smscs[0].preset.ServiceType)
	}
	got.TLS, got.Profile = nil, nil
	want := smpp.Config{Name: "mtn", Addrs: []string{"a:1", "b:2"}, Accounts: []smpp.Account{{SystemID: "vas1", Password: "one"}, {SystemID: "vas2", Password: "two"}},
		SystemType: "USSD", Mode: smpp.Pair, Binds: 3, MaxText: 120, Busy: session.BusyText, Window: 7, Queue: 8, Rate: 12.5,
		ConnectTimeout: 11 * time.Second, BindTimeout: 12 * time.Second, EnquireLink: 13 * time.Second, EnquireTimeout: 14 * time.Second,
		ReadTimeout: 15 * time.Second, ResponseTimeout: 16 * time.Second, WriteTimeout: 17 * time.Second,
		UnbindTimeout: 3 * time.Second, // an eighth of the drain
		ReconnectMin:  19 * time.Second, ReconnectMax: 20 * time.Second}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// TestLinkDefaults holds the defaults that `ussdd -help` prints against those of
// smpp: what the environment does not say, nobody says.
func TestLinkDefaults(t *testing.T) {
	set(t, oneSMSC(map[string]string{"USSDD_SMSC_MTN_PASSWORD": "all", "USSDD_SMSC_MTN_SYSTEM_ID": "a,b", "USSDD_DRAIN_TIMEOUT": "1m"}))
	c, bad := loadConfig()
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	got := c.smscs[0].link()
	if got.Profile.Name != "standard" {
		t.Errorf("profile %s", got.Profile.Name)
	}
	got.Profile = nil
	want := smpp.Config{Name: "mtn", Addrs: []string{"10.0.0.1:2775"}, Accounts: []smpp.Account{{SystemID: "a", Password: "all"}, {SystemID: "b", Password: "all"}},
		Binds: 1, Busy: session.BusyText, Queue: 32768, ConnectTimeout: 10 * time.Second, BindTimeout: 10 * time.Second, EnquireLink: 30 * time.Second,
		EnquireTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 10 * time.Second, UnbindTimeout: 5 * time.Second,
		ReconnectMin: time.Second, ReconnectMax: time.Minute}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// Where the SMSC answers after the subscriber, it is waited for as long as the
// subscriber may think.
func TestResponseAfterTheSubscriber(t *testing.T) {
	for value, want := range map[string]time.Duration{"": 100 * time.Second, "90s": 90 * time.Second} {
		env := oneSMSC(map[string]string{"USSDD_SMSC_MTN_PROFILE": "vendor-tlv", "USSDD_SESSION_IDLE": "90s"})
		if value != "" {
			env["USSDD_SMSC_MTN_RESPONSE_TIMEOUT"] = value
		}
		set(t, env)
		c, bad := loadConfig()
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		if got := c.smscs[0].link().ResponseTimeout; got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestResponseBeforeTheSubscriber(t *testing.T) {
	set(t, oneSMSC(map[string]string{"USSDD_SMSC_MTN_PROFILE": "vendor-tlv", "USSDD_SMSC_MTN_RESPONSE_TIMEOUT": "59s"}))
	const want = "USSDD_SMSC_MTN_RESPONSE_TIMEOUT: 59s is shorter than USSDD_SESSION_IDLE, 1m0s, and by the profile the SMSC responds only after the subscriber answered"
	if _, bad := loadConfig(); !slices.Equal(bad, problems{want}) {
		t.Errorf("%q", bad)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfigTellsAllProblemsAtOnce(t *testing.T) {
	set(t, map[string]string{
		"USSDD_SMSCS": "mtn,mtn,a b", "USSDD_SMSC_MTN_ADDR": "10.0.0.1", "USSDD_SMSC_MTN_PASSWORD": "longer-than-8",
		"USSDD_SMSC_MTN_PASWORD": "x", "USSDD_DRAIN_TIMEOUT": "0s", "USSDD_MAX_SESSIONS": "many", "USSDD_LOG_FORMAT": "xml",
		"USSDD_ADMIN_ADR": "x", "USSDD_ADMIN_ADDR": "8686",
	})
	_, bad := loadConfig()
	want := []string{
		`USSDD_ADMIN_ADDR: address 8686: missing port in address`,
		`USSDD_ADMIN_ADR: no such variable; the nearest is USSDD_ADMIN_ADDR`,
		`USSDD_DRAIN_TIMEOUT: 0s is not a positive duration`,
		`USSDD_LOG_FORMAT: "xml" is neither text nor json`,
		`USSDD_MAX_SESSIONS: "many" is not a whole number`,
		`USSDD_SMSCS: "a b" is not a name of letters, digits and -`,
		`USSDD_SMSCS: "mtn" is named twice`,
		`USSDD_SMSC_MTN_ADDR: address 10.0.0.1: missing port in address`,
		`USSDD_SMSC_MTN_PASWORD: no such variable; the nearest is USSDD_SMSC_MTN_PASSWORD`,
		`USSDD_SMSC_MTN_SYSTEM_ID: missing`,
	}
	if !slices.Equal(bad, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(bad, "\n"), strings.Join(want, "\n"))
	}
	for _, b := range bad {
		if strings.Contains(b, "longer-than-8") {
			t.Error("a password is in a problem")
		}
	}
}

// oneSMSC is the environment of a daemon with one SMSC, and more.
func oneSMSC(more map[string]string) map[string]string {
	env := map[string]string{"USSDD_SMSCS": "mtn", "USSDD_SMSC_MTN_ADDR": "10.0.0.1:2775", "USSDD_SMSC_MTN_SYSTEM_ID": "vas"}
	maps.Copy(env, more)
	return env
}

func TestConfigProblems(t *testing.T) {
	file, three := filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "three")
	write(t, file, "")
	write(t, three, "a\nb\nc\n")
	for _, test := range []struct {
		name, value string
		want        string // nothing else may be wrong
	}{
		{"USSDD_SMSCS", "mtn,MTN", `USSDD_SMSCS: "MTN" is named twice`},
		{"USSDD_SMSC_GLO_1_PASSWORD_FILE", "x", "USSDD_SMSC_GLO_1_PASSWORD_FILE: glo-1 is not in USSDD_SMSCS"},
		{"USSDD_SMSC_GLO_ADRR", "x", "USSDD_SMSC_GLO_ADRR: glo is not in USSDD_SMSCS"},
		{"USSDD_SMSC_MTN_ADRR", "x", "USSDD_SMSC_MTN_ADRR: no such variable; the nearest is USSDD_SMSC_MTN_ADDR"},

		{"USSDD_SMSC_MTN_ADDR", ":2775", "USSDD_SMSC_MTN_ADDR: :2775 has no host"},
		{"USSDD_SMSC_MTN_ADDR", "smsc:smpp", `USSDD_SMSC_MTN_ADDR: port "smpp" is not a number from 1 to 65535`},
		{"USSDD_SMSC_MTN_ADDR", "smsc:0", `USSDD_SMSC_MTN_ADDR: port "0" is not a number from 1 to 65535`},
		{"USSDD_SMSC_MTN_ADDR", "a:1,b", "USSDD_SMSC_MTN_ADDR: address b: missing port in address"},
		{"USSDD_SMSC_MTN_ADDR", "a:1, a:1", `USSDD_SMSC_MTN_ADDR: "a:1" is named twice`},
		{"USSDD_SMSC_MTN_ADDR", " ,", "USSDD_SMSC_MTN_ADDR: missing"},
		{"USSDD_SMSC_MTN_SYSTEM_ID", "vas,", ""},
		{"USSDD_SMSC_MTN_SYSTEM_ID", "vas,vas", `USSDD_SMSC_MTN_SYSTEM_ID: "vas" is named twice`},
		{"USSDD_SMSC_MTN_SYSTEM_ID", "vas,sixteen-octets-x", "USSDD_SMSC_MTN_SYSTEM_ID: 16 octets, SMPP takes at most 15"},
		{"USSDD_SMSC_MTN_SYSTEM_TYPE", "thirteen-octs", "USSDD_SMSC_MTN_SYSTEM_TYPE: 13 octets, SMPP takes at most 12"},
		{"USSDD_SMSC_MTN_PASSWORD_FILE", file + "2", "USSDD_SMSC_MTN_PASSWORD_FILE: " + file + "2 is not there"},
		{"USSDD_SMSC_MTN_PASSWORD_FILE", three, "USSDD_SMSC_MTN_PASSWORD_FILE: 3 lines for 1 system_id: one line for all, or one line for each"},
		{"USSDD_SMSC_MTN_SMS_FROM", "AIRTIME-SHOP", `USSDD_SMSC_MTN_SMS_FROM: sender "AIRTIME-SHOP": more than 11 characters`},
		{"USSDD_SMSC_MTN_SMS_FROM", "999", ""},
		{"USSDD_SMS_VIA", "glo", "USSDD_SMS_VIA: glo is not in USSDD_SMSCS"},
		{"USSDD_SMS_VIA", "mtn", ""},
		{"USSDD_SMSC_MTN_MODE", "rx", `USSDD_SMSC_MTN_MODE: "rx" is neither trx nor tx+rx`},
		{"USSDD_SMSC_MTN_BINDS", "0", "USSDD_SMSC_MTN_BINDS: 0 is outside 1 to 100"},
		{"USSDD_SMSC_MTN_BINDS", "100", ""},
		{"USSDD_SMSC_MTN_BINDS", "101", "USSDD_SMSC_MTN_BINDS: 101 is outside 1 to 100"},
		{"USSDD_SMSC_MTN_WINDOW", "0", ""},
		{"USSDD_SMSC_MTN_WINDOW", "-1", "USSDD_SMSC_MTN_WINDOW: -1 is outside 0 to 1048576"},
		{"USSDD_SMSC_MTN_WINDOW", "1048576", ""},
		{"USSDD_SMSC_MTN_WINDOW", "2000000000", "USSDD_SMSC_MTN_WINDOW: 2000000000 is outside 0 to 1048576"},
		{"USSDD_SMSC_MTN_QUEUE", "0", "USSDD_SMSC_MTN_QUEUE: 0 is outside 1 to 1048576"},
		{"USSDD_SMSC_MTN_QUEUE", "1048576", ""},
		{"USSDD_SMSC_MTN_QUEUE", "2000000000", "USSDD_SMSC_MTN_QUEUE: 2000000000 is outside 1 to 1048576"},
		{"USSDD_SMSC_MTN_RATE", "fast", `USSDD_SMSC_MTN_RATE: "fast" is not a number`},
		{"USSDD_SMSC_MTN_RATE", "-1", "USSDD_SMSC_MTN_RATE: -1 is no rate"},
		{"USSDD_SMSC_MTN_RATE", "NaN", "USSDD_SMSC_MTN_RATE: NaN is no rate"},
		{"USSDD_SMSC_MTN_RATE", "Inf", "USSDD_SMSC_MTN_RATE: +Inf is no rate"},
		{"USSDD_SMSC_MTN_TLS", "yes", `USSDD_SMSC_MTN_TLS: "yes" is not true or false`},
		{"USSDD_SMSC_MTN_TLS", "true", ""},
		{"USSDD_SMSC_MTN_TLS_CA", file, "USSDD_SMSC_MTN_TLS_CA: USSDD_SMSC_MTN_TLS is not true"},
		{"USSDD_SMSC_MTN_TLS_SERVER_NAME", "x", "USSDD_SMSC_MTN_TLS_SERVER_NAME: USSDD_SMSC_MTN_TLS is not true"},
		{"USSDD_SMSC_MTN_WINDOW", "x", `USSDD_SMSC_MTN_WINDOW: "x" is not a whole number`},
		{"USSDD_SMSC_MTN_MAX_TEXT", "-1", "USSDD_SMSC_MTN_MAX_TEXT: -1 is outside 0 to 254"},
		{"USSDD_SMSC_MTN_MAX_TEXT", "255", "USSDD_SMSC_MTN_MAX_TEXT: 255 is outside 0 to 254"},
		{"USSDD_SMSC_MTN_PROFILE", "x", `USSDD_SMSC_MTN_PROFILE: no profile "x"; there are: ` + strings.Join(smpp.Profiles(), ", ")},
		{"USSDD_SMSC_MTN_PROFILE", "./nope.yaml", "USSDD_SMSC_MTN_PROFILE: open ./nope.yaml: no such file or directory"},
		{"USSDD_SMSC_MTN_PROFILE", "nope.yml", "USSDD_SMSC_MTN_PROFILE: open nope.yml: no such file or directory"},
		{"USSDD_SMSC_MTN_PROFILE_SET", "service_type", `USSDD_SMSC_MTN_PROFILE_SET: "service_type" is not knob=value`},
		{"USSDD_SMSC_MTN_PROFILE_SET", "=x", `USSDD_SMSC_MTN_PROFILE_SET: "=x" is not knob=value`},
		{"USSDD_SMSC_MTN_PROFILE_SET", "service_type=A; service_type=B", "USSDD_SMSC_MTN_PROFILE_SET: service_type is set twice"},
		{"USSDD_SMSC_MTN_PROFILE_SET", " service_type = A ;", ""},
		{"USSDD_SMSC_MTN_ENQUIRE_LINK", "-1s", "USSDD_SMSC_MTN_ENQUIRE_LINK: -1s is not a positive duration"},
		{"USSDD_SMSC_MTN_BIND_TIMEOUT", "0s", "USSDD_SMSC_MTN_BIND_TIMEOUT: 0s is not a positive duration"},
		{"USSDD_SMSC_MTN_READ_TIMEOUT", "0s", "USSDD_SMSC_MTN_READ_TIMEOUT: 0s is not a positive duration"},
		{"USSDD_SMSC_MTN_WRITE_TIMEOUT", "0s", "USSDD_SMSC_MTN_WRITE_TIMEOUT: 0s is not a positive duration"},
		{"USSDD_SMSC_MTN_UNBIND_TIMEOUT", "0s", "USSDD_SMSC_MTN_UNBIND_TIMEOUT: 0s is not a positive duration"},
		{"USSDD_SMSC_MTN_RESPONSE_TIMEOUT", "0s", ""},
		{"USSDD_SMSC_MTN_RESPONSE_TIMEOUT", "-1s", "USSDD_SMSC_MTN_RESPONSE_TIMEOUT: -1s is shorter than 1s"},
		{"USSDD_SMSC_MTN_RESPONSE_TIMEOUT", "1ms", "USSDD_SMSC_MTN_RESPONSE_TIMEOUT: 1ms is shorter than 1s"},
		{"USSDD_SMSC_MTN_RESPONSE_TIMEOUT", "1s", ""},
		{"USSDD_SMSC_MTN_RECONNECT_MIN", "2m", "USSDD_SMSC_MTN_RECONNECT_MIN: 2m0s is longer than USSDD_SMSC_MTN_RECONNECT_MAX, 1m0s"},

		{"USSDD_ADMIN_ADDR", "", "USSDD_ADMIN_ADDR: empty; use - for none"},
		{"USSDD_ADMIN_ADDR", ":65536", `USSDD_ADMIN_ADDR: port "65536" is not a number from 0 to 65535`},
		{"USSDD_ADMIN_ADDR", ":0", ""},
		{"USSDD_LOG_LEVEL", "loud", `USSDD_LOG_LEVEL: "loud" is none of debug, info, warn, error`},

		{"USSDD_CONTROL", "-", ""},
		{"USSDD_CONTROL", "/nope/x.sock", "USSDD_CONTROL: /nope: no such directory"},
		{"USSDD_CONTROL", file, "USSDD_CONTROL: " + file + " is there and is not a socket"},
		{"USSDD_CONTROL", "/tmp/" + strings.Repeat("x", 103), "USSDD_CONTROL: /tmp/" + strings.Repeat("x", 103) + " has 108 octets; the path of a unix socket has at most 107"},

		{"USSDD_MENUS", "/nope", "USSDD_MENUS: /nope: no such directory"},
		{"USSDD_VENDORS", "/nope", "USSDD_VENDORS: /nope: no such directory"},
		{"USSDD_SECRETS_DIR", file, "USSDD_SECRETS_DIR: " + file + " is not a directory"},
		{"USSDD_SECRETS_DIR", file + "/x", "USSDD_SECRETS_DIR: " + file + "/x: not a directory"},

		{"USSDD_SESSION_IDLE", "5s", "USSDD_SESSION_IDLE: 5s is not longer than USSDD_STEP_BUDGET, 5s"},
		{"USSDD_SESSION_MAX", "59s", "USSDD_SESSION_MAX: 59s is shorter than USSDD_SESSION_IDLE, 1m0s"},
		{"USSDD_SESSION_MAX", "60s", ""},
		{"USSDD_WEBHOOK_ADDR", "8687", "USSDD_WEBHOOK_ADDR: address 8687: missing port in address"},
		{"USSDD_WEBHOOK_ADDR", "127.0.0.1:8687", ""},
		{"USSDD_WEBHOOK_SOURCES", "opay=1.2.3.4", `USSDD_WEBHOOK_SOURCES: "opay=1.2.3.4" is not a list of provider=network, with commas between them; providers are paystack, monnify, flutterwave and flutterwave-v3`},
		{"USSDD_WEBHOOK_PROXIES", "10.0.0.0/40", `USSDD_WEBHOOK_PROXIES: "10.0.0.0/40" is not a list of networks, such as 10.0.0.0/8, with commas between them`},
		{"USSDD_WEBHOOK_FLUTTERWAVE", "api.flutterwave.com", `USSDD_WEBHOOK_FLUTTERWAVE: "api.flutterwave.com" is not a URL such as https://api.flutterwave.com`},

		{"USSDD_LIMIT_PURCHASE", "5k", `USSDD_LIMIT_PURCHASE: "5k" is not a whole number of naira, such as 5000`},
		{"USSDD_LIMIT_DAY", "-1", `USSDD_LIMIT_DAY: "-1" is not a whole number of naira, such as 5000`},
		{"USSDD_LIMIT_DAY", "99999999999999999", `USSDD_LIMIT_DAY: "99999999999999999" is not a whole number of naira, such as 5000`},
		{"USSDD_LIMIT_DAY", "0", ""},
		{"USSDD_LIMIT_RECIPIENT_DAY", "50.5", `USSDD_LIMIT_RECIPIENT_DAY: "50.5" is not a whole number of naira, such as 5000`},
		{"USSDD_LIMIT_VELOCITY", "5/10m", ""},
		{"USSDD_LIMIT_VELOCITY", "5", `USSDD_LIMIT_VELOCITY: "5" is not purchases/time, such as 5/10m`},
		{"USSDD_LIMIT_VELOCITY", "0/10m", `USSDD_LIMIT_VELOCITY: "0/10m" is not purchases/time, such as 5/10m`},
		{"USSDD_LIMIT_VELOCITY", "5/-1s", `USSDD_LIMIT_VELOCITY: "5/-1s" is not purchases/time, such as 5/10m`},
		{"USSDD_LIMIT_NETWORK_DAY", "mtn=20000, glo=0", ""},
		{"USSDD_LIMIT_NETWORK_DAY", "mtn", `USSDD_LIMIT_NETWORK_DAY: "mtn" is not a list of network=naira, with commas between them`},
		{"USSDD_LIMIT_NETWORK_DAY", "mtn=1,mtn=2", `USSDD_LIMIT_NETWORK_DAY: "mtn=1,mtn=2" is not a list of network=naira, with commas between them`},
		{"USSDD_LIMIT_NETWORK_PURCHASE", "mtn=N5", `USSDD_LIMIT_NETWORK_PURCHASE: "mtn=N5" is not a list of network=naira, with commas between them`},

		{"USSDD_VEND_TIMEOUT", "4s", "USSDD_VEND_TIMEOUT: 4s is shorter than USSDD_STEP_BUDGET, 5s"},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			set(t, oneSMSC(map[string]string{test.name: test.value}))
			if _, bad := loadConfig(); strings.Join(bad, "\n") != test.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(bad, "\n"), test.want)
			}
		})
	}
}

func TestConfigWithoutSMSC(t *testing.T) {
	set(t, map[string]string{"USSDD_SMSCS": " ,"})
	if _, bad := loadConfig(); !slices.Equal(bad, problems{"USSDD_SMSCS: no SMSC is named, so there is nothing to bind to"}) {
		t.Errorf("%q", bad)
	}
}

// While the store is away, every session may end and wait to be written.
func TestEverySessionMayWait(t *testing.T) {
	for sessions, want := range map[string]int{"10": 100_000, "400000": 400_000} {
		set(t, oneSMSC(map[string]string{"USSDD_MAX_SESSIONS": sessions}))
		c, bad := loadConfig()
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		if got := c.engine().MaxPending; got != want {
			t.Errorf("%s sessions: %d, want %d", sessions, got, want)
		}
	}
}

// What loading the configuration lets through, a link must take.
func TestNewLinksTellsOfEach(t *testing.T) {
	set(t, oneSMSC(nil))
	c, bad := loadConfig()
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	ok := c.smscs[0]
	first, second := ok, ok
	first.name, second.name = "first", "second"
	first.Addr, second.accounts = nil, nil
	links, bad := newLinks([]smscConfig{first, second, ok}, noHandler, nil)
	if len(links) != 1 || len(bad) != 2 || !strings.HasPrefix(bad[0], "USSDD_SMSC_FIRST_*: ") || !strings.HasPrefix(bad[1], "USSDD_SMSC_SECOND_*: ") ||
		strings.Contains(bad[1], "\n") {
		t.Errorf("%d links, %q", len(links), bad)
	}
}

func TestCheckExitCodes(t *testing.T) {
	set(t, oneSMSC(map[string]string{"USSDD_DATABASE": "sqlite:" + filepath.Join(t.TempDir(), "ussdd.db")}))
	var stdout, stderr bytes.Buffer
	if code := run([]string{"check"}, &stdout, &stderr); code != exitOK || !strings.HasSuffix(stdout.String(), "no problems\n") {
		t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	t.Setenv("USSDD_SMSC_MTN_PROFILE", "x")
	t.Setenv("USSDD_DATABASE", "sqlite:/nope/ussdd.db")
	stderr.Reset()
	if code := run([]string{"check"}, io.Discard, &stderr); code != exitConfig || !strings.HasPrefix(stderr.String(), "ussdd: 2 problems:\n") {
		t.Errorf("exit code %d\n%s", code, &stderr)
	}
}

func TestHelpNamesEveryVariable(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"-help"}, &out, io.Discard); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	for _, name := range slices.Concat(variables(prefix, config{}), variables(prefix+"_SMSC_<NAME>", smscConfig{})) {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `  (String|Integer|Float|True or False|Duration|Naira|Purchases/Duration|Comma-separated list of \S+)(, default \S+)?\n    \S.{10,}$`).MatchString(out.String()) {
			t.Errorf("%s is not explained in\n%s", name, out.String())
		}
	}
}

// The limits that the help tells are those that smpp has.
func TestHelpTellsTheLimits(t *testing.T) {
	var out bytes.Buffer
	usage(&out)
	for _, limit := range []int{smpp.MaxBinds, smpp.MaxWindow, smpp.MaxQueue} {
		if !strings.Contains(out.String(), fmt.Sprintf("at most %d;", limit)) {
			t.Errorf("%d is not in the help", limit)
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	var stderr bytes.Buffer
	if code := run([]string{"serve"}, io.Discard, &stderr); code != exitConfig || !strings.Contains(stderr.String(), `"serve" is not a command`) {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}
