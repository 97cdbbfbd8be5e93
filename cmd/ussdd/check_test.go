package main

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ussdd/smpp"
)

func TestKnobsMarksWhatDiffers(t *testing.T) {
	preset := []smpp.Knob{{Name: "service_type", Value: "USSD"}, {Name: "end.op", Value: "0x11", Means: "0x11 (17), PSSR response"}, {Name: "menu.op", Value: "0x02", Means: "0x02 (2), USSR request"}}
	inForce := []smpp.Knob{{Name: "service_type"}, {Name: "end.op", Value: "0x17", Means: "0x17 (23)"}, preset[2]}
	var out bytes.Buffer
	knobs(&out, "mtn", "mica", "mica", preset, preset)
	knobs(&out, "glo", "glo", "mica", inForce, preset)
	want := `smsc mtn: profile mica, 0 changes from the preset
  service_type  USSD
  end.op        0x11 (17), PSSR response
  menu.op       0x02 (2), USSR request
smsc glo: profile glo, 2 changes from mica
* service_type  none
                in mica: USSD
* end.op        0x17 (23)
                in mica: 0x11 (17), PSSR response
  menu.op       0x02 (2), USSR request
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

// TestCheckSays reads what `ussdd check` prints of the SMSCs.
func TestCheckSays(t *testing.T) {
	dir := t.TempDir()
	newAuthority(t).files(t, dir, time.Now().Add(-time.Hour), time.Now().Add(10*24*time.Hour+time.Hour))
	set(t, map[string]string{"USSDD_SMSCS": "mtn,glo", "USSDD_DATABASE": "sqlite:" + filepath.Join(dir, "ussdd.db"),
		"USSDD_SMSC_MTN_ADDR": "10.0.0.1:2775,10.0.0.2:2775", "USSDD_SMSC_MTN_SYSTEM_ID": "vas1,vas2", "USSDD_SMSC_MTN_PASSWORD": "hunter2",
		"USSDD_SMSC_MTN_BINDS": "2", "USSDD_SMSC_MTN_TLS": "true", "USSDD_SMSC_MTN_TLS_CA": dir + "/ca.pem", "USSDD_SMSC_MTN_MAX_TEXT": "158",
		"USSDD_SMSC_GLO_ADDR": "10.0.0.3:2775", "USSDD_SMSC_GLO_SYSTEM_ID": "vas", "USSDD_SMSC_GLO_MODE": "tx+rx",
		"USSDD_SMSC_GLO_PROFILE_SET": "service_type=VAS", "USSDD_SMS_VIA": "glo", "USSDD_SMSC_GLO_SMS_FROM": "AIRTIME", "USSDD_VEND_TIMEOUT": "6s"})
	var stdout, stderr bytes.Buffer
	if code := run([]string{"check"}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	for _, want := range []string{
		"10.0.0.1:2775, then 10.0.0.2:2775 as vas1, vas2, 4 transceivers over TLS, profile standard, 158 units of gsm a screen\n",
		"10.0.0.3:2775 as vas, 1 pair of transmitter and receiver, profile standard, 160 units of gsm a screen\n",
		"by glo\n",
		"smsc mtn: " + dir + "/ca.pem expires in 10 days",
		"\nsmsc mtn: profile standard, 0 changes from the preset\n", "\nsmsc glo: profile standard, 1 change from the preset\n",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, &stdout)
		}
	}
	if !regexp.MustCompile(`(?m)^\* service_type +VAS\n +in standard: USSD$`).Match(stdout.Bytes()) {
		t.Errorf("the changed knob is not marked in\n%s", &stdout)
	}
	if !regexp.MustCompile(`(?m)^vendor mtn +its calls may take \S+, but a sale is cut off after 6s \(USSDD_VEND_TIMEOUT\)`).Match(stdout.Bytes()) {
		t.Errorf("not told that sales are cut off in\n%s", &stdout)
	}
	if strings.Contains(stdout.String(), "hunter2") {
		t.Error("a password is printed")
	}
}

// Who sends the messages to subscribers.
func TestToldBy(t *testing.T) {
	for _, c := range []struct{ via, mtn, want string }{
		{"", "", "by the SMSC of the session"},
		{"", "sms=no", "by the SMSC of the session, or by glo if that takes none"},
		{"mtn", "", "by mtn"},
		{"-", "", "none are sent"},
	} {
		set(t, map[string]string{"USSDD_SMSCS": "mtn,glo", "USSDD_SMSC_MTN_ADDR": "10.0.0.1:2775", "USSDD_SMSC_MTN_SYSTEM_ID": "vas", "USSDD_SMSC_MTN_PROFILE_SET": c.mtn,
			"USSDD_SMSC_GLO_ADDR": "10.0.0.3:2775", "USSDD_SMSC_GLO_SYSTEM_ID": "vas", "USSDD_SMS_VIA": c.via})
		cfg, bad := loadConfig()
		if cfg.told() != c.want || len(bad) > 0 {
			t.Errorf("via %q: %s, %v", c.via, cfg.told(), bad)
		}
	}
	set(t, oneSMSC(map[string]string{"USSDD_SMSC_MTN_PROFILE_SET": "sms=no"}))
	if cfg, _ := loadConfig(); len(cfg.texters()) != 0 || cfg.told() != "none are sent: no SMSC takes short messages" {
		t.Errorf("with USSD only: %s", cfg.told())
	}
}

func TestProfileFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "glo.yaml")
	write(t, file, "extends: standard\nend.op: 0x17\n")
	t.Chdir(dir)
	set(t, oneSMSC(map[string]string{"USSDD_SMSC_MTN_PROFILE": "glo.yaml"})) // relative to the working directory, as all paths
	c, bad := loadConfig()
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	if s := c.smscs[0]; s.profile.EndOp != 0x17 || s.preset.EndOp != 0x11 || s.preset.Name != "standard" {
		t.Errorf("ends with %#x, preset %s with %#x", s.profile.EndOp, s.preset.Name, s.preset.EndOp)
	}
	write(t, file, "nonsense: [\nmore: 1\n")
	c, bad = loadConfig()
	if len(bad) == 0 {
		t.Fatal("no problem found")
	}
	for _, b := range bad {
		if !strings.HasPrefix(b, "USSDD_SMSC_MTN_PROFILE: glo.yaml:") {
			t.Errorf("%q does not tell variable, file and line", b)
		}
	}
	if c.smscs[0].text().Limit() != 160 {
		t.Error("the menus cannot be checked any more")
	}
}

// TestMenusAreCheckedForEveryLink has a service that fits one SMSC and not the
// other.
func TestMenusAreCheckedForEveryLink(t *testing.T) {
	set(t, map[string]string{"USSDD_SMSCS": "mtn,glo,etisalat",
		"USSDD_SMSC_MTN_ADDR": "10.0.0.1:2775", "USSDD_SMSC_MTN_SYSTEM_ID": "vas",
		"USSDD_SMSC_GLO_ADDR": "10.0.0.2:2775", "USSDD_SMSC_GLO_SYSTEM_ID": "vas", "USSDD_SMSC_GLO_MAX_TEXT": "100",
		"USSDD_SMSC_ETISALAT_ADDR": "10.0.0.3:2775", "USSDD_SMSC_ETISALAT_SYSTEM_ID": "vas"})
	c, bad := loadConfig()
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	c.smscs[2].profile.Text = smpp.Text{Alphabet: smpp.UCS2, Max: 80}
	opt := menuOptions(c)
	if opt.Medium.Limit() != 160 || len(opt.Others) != 2 || opt.Others[0].Limit() != 100 || opt.Others[1].Limit() != 80 {
		t.Errorf("%+v", opt)
	}
	c.smscs[1].MaxText = 0
	if opt := menuOptions(c); len(opt.Others) != 1 {
		t.Errorf("one medium twice: %+v", opt)
	}
	_, err := loadData(c, nil, nil)
	if err == nil || !strings.Contains(err.Error(), " units of 80") {
		t.Errorf("the built-in airtime service on a screen of 80 units: %v", err)
	}
}

// What is wrong with vendors is told by file and line, and an address by its variable.
func TestCheckTellsOfVendors(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "acme.yaml"), strings.NewReplacer("then: delivered}\nquery", "then: lost}\nquery", "{phone|intl}", "{phone}").Replace(rotatingVendor))
	write(t, filepath.Join(dir, "routes.yaml"), "networks:\n  mtn: {name: 电信, min: N50, max: N500, route: [acme, bolt]}\n")
	set(t, oneSMSC(map[string]string{"USSDD_DATABASE": "sqlite:" + filepath.Join(dir, "ussdd.db"), "USSDD_VENDORS": dir,
		"USSDD_VENDOR_URLS": "acme=ftp://x,acme.token=http://x,bolt=http://x", "USSDD_SECRET_ACME_KEY": "k"}))
	var stdout, stderr bytes.Buffer
	code := run([]string{"check"}, &stdout, &stderr)
	want := `ussdd: 7 problems:
  USSDD_VENDOR_URLS: acme: must be an http or https URL without user, query and fragment
  USSDD_VENDOR_URLS: acme.token: the vendor's file has no auth.token
  USSDD_VENDOR_URLS: bolt: there is no such vendor
  ` + dir + `: acme.yaml:9: vend.json.to: {phone} needs a form: local, intl, plus, national
  ` + dir + `: acme.yaml:11: vend.rules[0].then: unknown "lost" (known: delivered, declined, pending)
  ` + dir + `: routes.yaml:2: networks.mtn.name: "电信" has '电', which short messages lack
  ` + dir + `: routes.yaml:2: networks.mtn.route[1]: there is no vendor "bolt"
`
	if code != exitConfig || stderr.String() != want {
		t.Errorf("exit code %d\n%s\nwant\n%s", code, &stderr, want)
	}
}
