package main

import (
	"bytes"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ussdd/smpp"
)

// set gives the test an environment without any of our variables but these.
func set(t *testing.T, env map[string]string) {
	t.Helper()
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, prefix+"_") || name == "CREDENTIALS_DIRECTORY" || name == "STATE_DIRECTORY" {
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
	if mtn.Password != "secret1" || mtn.Window != 7 || mtn.Profile != "standard" || glo.name != "glo-1" || glo.Password != "secret2" {
		t.Errorf("%+v", c.smscs)
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
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
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
		{"USSDD_SMSC_MTN_WINDOW", "0", "USSDD_SMSC_MTN_WINDOW: 0 is not positive"},
		{"USSDD_SMSC_MTN_WINDOW", "x", `USSDD_SMSC_MTN_WINDOW: "x" is not a whole number`},
		{"USSDD_SMSC_MTN_MAX_TEXT", "-1", "USSDD_SMSC_MTN_MAX_TEXT: -1 is outside 0 to 254"},
		{"USSDD_SMSC_MTN_MAX_TEXT", "255", "USSDD_SMSC_MTN_MAX_TEXT: 255 is outside 0 to 254"},
		{"USSDD_SMSC_MTN_PROFILE", "x", `USSDD_SMSC_MTN_PROFILE: no profile "x"; there are: data-sm, mica, msisdn, service-type, sixdee, standard, tata, vendor-tlv`},
		{"USSDD_SMSC_MTN_ENQUIRE_LINK", "-1s", "USSDD_SMSC_MTN_ENQUIRE_LINK: -1s is not a positive duration"},
		{"USSDD_SMSC_MTN_BIND_TIMEOUT", "0s", "USSDD_SMSC_MTN_BIND_TIMEOUT: 0s is not a positive duration"},
		{"USSDD_SMSC_MTN_RECONNECT_MIN", "2m", "USSDD_SMSC_MTN_RECONNECT_MIN: 2m0s is longer than USSDD_SMSC_MTN_RECONNECT_MAX, 1m0s"},

		{"USSDD_ADMIN_ADDR", "", "USSDD_ADMIN_ADDR: empty; use - for none"},
		{"USSDD_ADMIN_ADDR", ":65536", `USSDD_ADMIN_ADDR: port "65536" is not a number from 0 to 65535`},
		{"USSDD_ADMIN_ADDR", ":0", ""},
		{"USSDD_LOG_LEVEL", "loud", `USSDD_LOG_LEVEL: "loud" is none of debug, info, warn, error`},

		{"USSDD_MENUS", "/nope", "USSDD_MENUS: /nope: no such directory"},
		{"USSDD_VENDORS", "/nope", "USSDD_VENDORS: /nope: no such directory"},
		{"USSDD_SECRETS_DIR", file, "USSDD_SECRETS_DIR: " + file + " is not a directory"},
		{"USSDD_SECRETS_DIR", file + "/x", "USSDD_SECRETS_DIR: " + file + "/x: not a directory"},

		{"USSDD_SESSION_IDLE", "5s", "USSDD_SESSION_IDLE: 5s is not longer than USSDD_STEP_BUDGET, 5s"},
		{"USSDD_SESSION_MAX", "59s", "USSDD_SESSION_MAX: 59s is shorter than USSDD_SESSION_IDLE, 1m0s"},
		{"USSDD_SESSION_MAX", "60s", ""},
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

// What loading the configuration lets through, a link must take.
func TestNewLinksTellsOfEach(t *testing.T) {
	links, bad := newLinks([]smscConfig{{name: "mtn", Profile: "x"}, {name: "glo", Profile: "standard"},
		{name: "ok", Profile: "standard", Addr: "10.0.0.1:2775", SystemID: "vas"}}, smpp.HandlerFunc(func(*smpp.Event) {}), nil)
	if len(links) != 1 || len(bad) != 2 || !strings.HasPrefix(bad[0], "USSDD_SMSC_MTN_*: ") || !strings.HasPrefix(bad[1], "USSDD_SMSC_GLO_*: ") ||
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
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `  (String|Integer|Duration|Comma-separated list of \S+)(, default \S+)?\n    \S.{10,}$`).MatchString(out.String()) {
			t.Errorf("%s is not explained in\n%s", name, out.String())
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	var stderr bytes.Buffer
	if code := run([]string{"serve"}, io.Discard, &stderr); code != exitConfig || !strings.Contains(stderr.String(), `"serve" is not a command`) {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}
