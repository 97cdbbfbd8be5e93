package smpptest_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"ussdd/smpp/smpptest"
)

const goodScript = `
dialect: tata
service: "*999#"
parallel: true
faults: [withhold-resp, "delay-resp:1s"]
handsets:
  - name: Amina buys for herself
    msisdn: "+2348031234567"
    steps:
      - dial: "*999*{code}#"
        see: {contains: [Welcome, "1. Buy"], end: false, max: 160}
      - send: "1"
      - call: {url: "http://{vendorsim}/reset", body: '{"fault":"down"}', see: "*ok*"}
      - call: {method: DELETE, url: "http://{vendorsim}/x", status: 204}
      - repeat: {send: "2", until: {exact: "Delivered"}, times: 3, every: 10ms}
      - repeat: {send: "2", until: Delivered}
      - see: {matches: "TXN-[0-9]{3}"}
      - hangup: true
      - fault: throttle:2
      - send: "3"
        fails: true
      - abort: true
  - msisdn: 2348021234567
    steps: [{dial: "*999#"}]
`

func TestParseScript(t *testing.T) {
	vars := map[string]string{"vendorsim": "127.0.0.1:8700", "code": "{code}"}
	s, err := smpptest.ParseScript("good.yaml", []byte(goodScript), vars)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "good.yaml" || s.Service != "*999#" || !s.Parallel || len(s.Journeys) != 2 {
		t.Errorf("script: %+v", s)
	}
	first, second := s.Journeys[0], s.Journeys[1]
	if first.MSISDN != amina || first.Name != "Amina buys for herself" || first.Line != 7 {
		t.Errorf("first handset: %+v", first)
	}
	if second.MSISDN != bello || second.Name != bello || len(second.Steps) != 1 {
		t.Errorf("second handset: %+v", second)
	}
	if got := first.Steps[0]; got.Dial != "*999*{code}#" || got.Line != 10 || got.See == nil {
		t.Errorf("dial, with a value that looks like a name: %+v", got)
	}
	if got := first.Steps[1]; got.Send != "1" || got.See != nil {
		t.Errorf("send: %+v", got)
	}
	if got := first.Steps[2].Call; got.Method != "POST" || got.URL != "http://127.0.0.1:8700/reset" ||
		got.Body != `{"fault":"down"}` || got.See == nil {
		t.Errorf("call: %+v", got)
	}
	if got := first.Steps[3].Call; got.Method != "DELETE" || got.Status != 204 {
		t.Errorf("call: %+v", got)
	}
	if got := first.Steps[4].Repeat; got.Send != "2" || got.Times != 3 || got.Every != 10*time.Millisecond || got.Until == nil {
		t.Errorf("repeat: %+v", got)
	}
	if got := first.Steps[5].Repeat; got.Times != 20 || got.Every != 500*time.Millisecond {
		t.Errorf("repeat with defaults: %+v", got)
	}
	if got := first.Steps[6]; got.See == nil || got.Dial+got.Send != "" {
		t.Errorf("see: %+v", got)
	}
	if !first.Steps[7].Hangup {
		t.Errorf("hangup: %+v", first.Steps[7])
	}
	if got := first.Steps[8].Fault; got == nil || got.String() != "throttle:2" {
		t.Errorf("fault: %v", got)
	}
	if got := first.Steps[9]; got.Send != "3" || !got.Fails || !first.Steps[10].Abort {
		t.Errorf("fails: %+v, abort: %+v", got, first.Steps[10])
	}
	if s.Dialect != "tata" || len(s.Faults) != 2 || s.Faults[1].String() != "delay-resp:1s" {
		t.Errorf("dialect %s, faults %v", s.Dialect, s.Faults)
	}
}

// TestScriptProblems reads a script in which nearly every line is wrong; each
// mistake is told, with its line.
func TestScriptProblems(t *testing.T) {
	source, err := os.ReadFile("testdata/wrong.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/wrong.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, err = smpptest.ParseScript("wrong.yaml", source, nil)
	if err == nil || err.Error()+"\n" != string(want) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestScriptThatIsNone(t *testing.T) {
	const one = "handsets: [{msisdn: 2348031234567, steps: [{dial: '*1#'}]}]\n"
	tests := []struct{ name, source, want string }{
		{"empty", "", "s.yaml:1: the script is empty"},
		{"comment only", "# nothing\n", "s.yaml:1: the script is empty"},
		{"not YAML", "a: [\n", "s.yaml:1: not YAML: did not find expected node content"},
		{"not YAML in a second document", one + "---\n\t",
			"s.yaml:3: not YAML: found character that cannot start any token"},
		{"a dialled code without quotes", "handsets:\n  - {msisdn: 2348031234567, steps: [{dial: *999}]}\n",
			"s.yaml:2: not YAML: a text that begins with * needs quotes"},
		{"a list", "- a\n", "s.yaml:1: a script is a mapping with the keys dialect, service, parallel, faults, handsets"},
		{"no handsets", "service: x\n", "s.yaml:1: handsets is missing: a script plays at least one"},
		{"two documents", one + "---\na: b\n", "s.yaml:2: one script per file: this is a second document"},
		{"too large", strings.Repeat("#", 1<<20+1), "s.yaml:1: the script is larger than 1048576 octets"},
	}
	for _, test := range tests {
		_, err := smpptest.ParseScript("s.yaml", []byte(test.source), nil)
		if _, ok := errors.AsType[smpptest.Problems](err); !ok || err.Error() != test.want {
			t.Errorf("%s:\ngot  %v\nwant %s", test.name, err, test.want)
		}
	}
}

func TestExpectation(t *testing.T) {
	menu := smpptest.Screen{Text: "Select Network:\n\n1. MTN (best)\n0. Back", Units: 36}
	end := smpptest.Screen{Text: "Bye.\n", End: true, Units: 5}
	tests := []struct {
		see    string
		screen smpptest.Screen
		want   string
	}{
		{`"Select Network:*"`, menu, ""},
		{`"*MTN*Back"`, menu, ""},
		{`"*"`, menu, ""},
		{`"Select Network:"`, menu, "the text differs"},
		{`"select*"`, menu, "the text differs"},
		{`"*(best)*"`, menu, ""},
		{`{exact: "Bye."}`, end, ""},
		{"{exact: \"Bye.\\n\"}", end, ""},
		{`{exact: "B*"}`, end, "the text differs"},
		{`{contains: "1. MTN"}`, menu, ""},
		{`{contains: [Select, "0. Back"]}`, menu, ""},
		{`{contains: [Select, Glo]}`, menu, `"Glo" is not in the text`},
		{`{matches: "(?m)^\\d\\. MTN"}`, menu, ""},
		{`{matches: "^MTN"}`, menu, `nothing in the text matches ^MTN`},
		{`{end: true}`, end, ""},
		{`{end: true}`, menu, "the session goes on"},
		{`{end: false}`, end, "the session ended"},
		{`{max: 36}`, menu, ""},
		{`{max: 35}`, menu, "the text has 36 units"},
		{`{contains: Bye, end: true, max: 4}`, end, "the text has 5 units"},
		{`"*"`, smpptest.Screen{Text: "N\uFFFD", Bad: 1}, "octets without a character in the text's alphabet: 1"},
	}
	for _, test := range tests {
		source := "handsets: [{msisdn: 2348031234567, steps: [{dial: '*1#', see: " + test.see + "}]}]"
		s, err := smpptest.ParseScript("s.yaml", []byte(source), nil)
		if err != nil {
			t.Errorf("%s: %v", test.see, err)
			continue
		}
		if got := s.Journeys[0].Steps[0].See.Check(test.screen); got != test.want {
			t.Errorf("%s on %q: %q, want %q", test.see, test.screen.Text, got, test.want)
		}
	}
	var none *smpptest.Expectation
	if got := none.Check(menu); got != "" {
		t.Errorf("no expectation: %q", got)
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add([]byte(goodScript))
	if wrong, err := os.ReadFile("testdata/wrong.yaml"); err == nil {
		f.Add(wrong)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		s, err := smpptest.ParseScript("s.yaml", source, map[string]string{"code": "1"})
		if err != nil {
			problems, ok := errors.AsType[smpptest.Problems](err)
			if !ok || len(problems) == 0 {
				t.Fatalf("%T %v", err, err)
			}
			for _, p := range problems {
				if p.Line < 1 {
					t.Errorf("line %d: %s", p.Line, p.Text)
				}
			}
			return
		}
		for _, j := range s.Journeys {
			for _, step := range j.Steps {
				step.See.Check(smpptest.Screen{Text: "Welcome"})
			}
		}
	})
}
