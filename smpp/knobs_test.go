package smpp_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// Every knob of every preset can be set to what it reads as, in any profile that
// is otherwise the same, and standard.yaml sets every one of them.
func TestKnobsReadAsTheyAreSet(t *testing.T) {
	standard, err := os.ReadFile("presets/standard.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range smpp.Profiles() {
		p := profile(t, name)
		same := profile(t, name)
		seen := make(map[string]bool)
		for _, k := range p.Knobs() {
			if seen[k.Name] || k.Help == "" {
				t.Errorf("knob %s: twice, or without help", k.Name)
			}
			seen[k.Name] = true
			if !strings.Contains(string(standard), "\n"+k.Name+":") {
				t.Errorf("standard.yaml does not set %s", k.Name)
			}
			if err := same.Set(k.Name, k.Value); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if !reflect.DeepEqual(p, same) {
			t.Errorf("%s: got\n%+v, want\n%+v", name, same, p)
		}
	}
}

func TestKnobMeans(t *testing.T) {
	p := profile(t, "standard")
	for name, want := range map[string]string{
		"end.op":       "0x11 (17), PSSR response",
		"esm_class":    "0x00 (0)",
		"session.tag":  "0x1383 its_session_info",
		"dcs.out":      "gsm: 0x00 (0); latin1: 0x03 (3); ascii: 0x01 (1); ucs2: 0x08 (8); gsm-packed: 0x0f (15)",
		"address.dest": "",
		"push.end":     "none",
	} {
		for _, k := range p.Knobs() {
			if k.Name == name && k.Means != want {
				t.Errorf("%s means %q, want %q", name, k.Means, want)
			}
		}
	}
	for _, k := range profile(t, "service-type").Knobs() {
		if k.Name == "end.op" && k.Means != "EF, end release" {
			t.Errorf("EF means %q", k.Means)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"end.opp", "0x11", `no knob "end.opp"; did you mean end.op?`},
		{"sesion.tag", "0x1383", "did you mean session.tag?"},
		{"end.op", "11", `end.op: "11" is ambiguous: write 0x11 (17) or 0x0b (11); allowed: 0x00 to 0xff, a name such as pssr-response`},
		{"end.op", "17", `"17" is ambiguous: write 0x17 (23) or 0x11 (17)`},
		{"end.op", "2", `"2" could be hexadecimal or decimal: write 0x02`},
		{"end.op", "0x111", "not a number of 8 bits"},
		{"end.op", "0x", "not a number of 8 bits"},
		{"end.op", "pssr", `"pssr" is not one`},
		{"end.op", "E*", "is not one"},
		{"end.op", "", "is not one"},
		{"session.tag", "5000", "write 0x5000 (20480) or 0x1388 (5000)"},
		{"session.tag", "0x0000", "is not one"},
		{"session.id", "0x1ffffffffffffffff", "not a number of 64 bits"},
		{"session.length", "0x02", "allowed: 1 to 8"},
		{"key", "imsi", "allowed: msisdn+id, id, msisdn"},
		{"pdu", "deliver_sm", "allowed: submit_sm, data_sm"},
		{"end.by", "both", "allowed: op, bit, op+bit"},
		{"code", "999", "a code such as *999#"},
		{"address.dest", "1", "TON/NPI such as 1/1"},
		{"address.dest", "9/1", "TON/NPI such as 1/1"},
		{"address.dest", "1/19", "TON/NPI such as 1/1"},
		{"op.in", "0x01", "is not KEY=VALUE"},
		{"op.in", "0x01=start", `"start" is not one`},
		{"op.in", "0x01=begin 0x01=input", "0x01 is there twice"},
		{"op.in", "0x01=begin pssr-indication=input", "pssr-indication is there twice"},
		{"op.in", "", "it is empty"},
		{"op.in", "+", "it is empty"},
		{"dcs.in", "8=ucs2", "write 0x08"},
		{"dcs.out", "gsm=0", "write 0x00"},
		{"status", "58=temporary", "is ambiguous: write 0x58 (88) or 0x3a (58)"},
		{"tlvs", "0x0007=4", "is not 0x and whole octets"},
		{"tlvs", "0x0007=0x4", "is not 0x and whole octets"},
		{"tlvs", "0x0007=0x" + strings.Repeat("00", 200), "more than 200"},
		{"msisdn.country", "+234", "up to 3 digits"},
		{"service_type", "US SD", "is not one"},
		{"text.strip-at", "true", "allowed: no, yes"},
		{"text.max", "-1", "1 to 1000"},
	} {
		p := profile(t, "standard")
		err := p.Set(c.name, c.value)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %q: got %v, want %s", c.name, c.value, err, c.want)
		}
		if !reflect.DeepEqual(p, profile(t, "standard")) {
			t.Errorf("%s = %q was refused, and changed the profile", c.name, c.value)
		}
	}
}

func TestListsCanBeAddedTo(t *testing.T) {
	p := profile(t, "standard")
	other := *p
	for _, kv := range [][2]string{{"op.in", "+ 0x41=release 0x12=ignore"}, {"status", "+0x4c1=dead 0x408=too_long"}, {"tlvs", "0x0007=0x04"}, {"tlvs", "+ 0x020d=0x01"}, {"dcs.in", "0x00=latin1"}} {
		if err := p.Set(kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.Ops) != len(other.Ops)+1 || p.Ops[0x41] != smpp.MeansRelease || p.Ops[0x12] != smpp.MeansIgnore || other.Ops[0x12] != smpp.MeansInput {
		t.Errorf("op.in is %v, and was %v", p.Ops, other.Ops)
	}
	if p.Statuses[0x408] != smpp.TooLong || p.Statuses[pdu.Status(0x58)] != smpp.Temporary {
		t.Errorf("status is %v", p.Statuses)
	}
	if string(p.Extra) != string(tlvs(7, "\x04", 0x020d, "\x01")) || len(p.Codings) != 1 {
		t.Errorf("tlvs %x, dcs.in %v", p.Extra, p.Codings)
	}
}

func TestContradictions(t *testing.T) {
	for _, c := range []struct {
		preset string
		knobs  []string
		want   string
	}{
		{"mica", []string{"end.by", "op+bit"}, "profile mica: end.by: there is no end bit (session.end)"},
		{"msisdn", []string{"end.by", "bit"}, "end.by: there is no end bit"},
		{"msisdn", []string{"key", "id"}, "key: it needs an id"},
		{"data-sm", []string{"key", "msisdn"}, "key: a session that is a text"},
		{"standard", []string{"end.op", "none", "end.by", "op"}, "end.op: nothing says the end"},
		{"standard", []string{"menu.op", "none"}, "menu.op: a reply needs an operation"},
		{"standard", []string{"menu.op", "CR"}, "menu.op: CR stands for service_type"},
		{"service-type", []string{"push.ask", "0x02"}, "push.ask: 0x02 is an octet"},
		{"service-type", []string{"service_type", "USSD"}, "service_type: the operation stands there"},
		{"service-type", []string{"op.in", "BR=once"}, "once.op: op.in has begins that are answered once"},
		{"standard", []string{"service_type", "USSDUSSD"}, "is longer than 5"},
		{"standard", []string{"session.tag", "0x0501"}, "session.tag: is the tag of the operation too"},
		{"standard", []string{"session.end", "0x0100"}, "session.end: 0x100 is among the bits of session.id, 0xff00"},
		{"standard", []string{"session.length", "1"}, "session.id: 0xff00 has more bits than 1 octets"},
		{"standard", []string{"session.id", "none"}, "session.id: no bit of the session"},
		{"tata", []string{"session.sequence", "count"}, "session.sequence: session.id and session.end leave no bits"},
		{"standard", []string{"session.end", "none"}, "session.end.in: there is no end bit"},
		{"standard", []string{"tlvs", "its_session_info=0x0000"}, "tlvs: 0x1383 has another use"},
		{"standard", []string{"tlvs", "message_payload=0x00"}, "tlvs: 0x0424 has another use"},
		{"msisdn", []string{"address.reply", "null"}, "address.reply: nothing says whom a reply is for"},
		{"standard", []string{"dialled.strip", "always", "code", "text"}, "dialled.strip: the service code is in the text"},
		{"standard", []string{"dialled.strip", "always", "dialled.from", "destination"}, "dialled.strip: nothing is taken off"},
		{"standard", []string{"msisdn.digits", "0"}, "msisdn.digits: a country code is set"},
		{"vendor-tlv", []string{"text.alphabet", "gsm"}, "dcs.out: it has no data_coding"},
		{"standard", []string{"text.alphabet", "ucs2-language", "dcs.out", "ucs2-language=0x11"}, "text.alphabet: ucs2-language can only be received"},
		{"standard", []string{"text.alphabet", "ucs2", "text.unit", "octets", "text.max", "1"}, "text.max: a screen of 1 octets holds nothing"},
		{"standard", []string{"text.alphabet", "ucs2"}, "text.max: 160 units of ucs2 take more than the 254 octets"},
		{"standard", []string{"text.max", "255"}, "text.max: 255 units of gsm take more than the 254 octets"},
		{"tata", []string{"push.end", "0x83"}, "push.end: no dialogue is begun"},
		{"standard", []string{"push.end", "0x83", "end.by", "bit"}, "push.end: the end is said by the end bit alone"},
	} {
		p, err := smpp.ProfileByName(c.preset)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(c.knobs); i += 2 {
			if err := p.Set(c.knobs[i], c.knobs[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: got %v, want %s", c.preset, c.knobs, err, c.want)
		}
		if _, err := smpp.NewLink(smpp.Config{Name: "x", Addrs: []string{"h:1"}, Accounts: []smpp.Account{{SystemID: "y"}}, Profile: p}, smpp.HandlerFunc(func(*smpp.Event) {})); err == nil {
			t.Errorf("%s %v makes a link", c.preset, c.knobs)
		}
	}
}

func TestLoadProfile(t *testing.T) {
	p, err := smpp.LoadProfile("/etc/ussdd/profiles/acme.yaml", []byte(`# ACME
extends: mica
end.op: 0x17
op.in: {0x01: begin, 0x12: input}
text.max: 150
`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "acme" || p.EndOp != 0x17 || len(p.Ops) != 2 || p.Text.Max != 150 || p.Session.Tag != 0x0204 {
		t.Errorf("got %+v", p)
	}
}

// TestProfileMistakes reads testdata/profiles/*.yaml; each says in its first lines,
// behind "# want: ", what is wrong with it.
func TestProfileMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/profiles/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(source)) {
			if text, ok := strings.CutPrefix(line, "# want: "); ok {
				want = append(want, strings.TrimSpace(text))
			}
		}
		p, err := smpp.LoadProfile(filepath.Base(file), source)
		if err == nil || err.Error() != strings.Join(want, "\n") {
			t.Errorf("%s: got %v, %v\nwant %s", file, p, err, strings.Join(want, "\n"))
		}
	}
}
