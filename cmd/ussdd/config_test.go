package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
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
		"USSDD_SMSCS": "mtn,glo-1", "USSDD_STEP_BUDGET": "4s",
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
		`USSDD_SMSC_MTN_PASSWORD: 13 octets, SMPP takes at most 8`,
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
