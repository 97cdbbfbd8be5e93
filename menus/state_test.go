package menus_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ussdd/menus"
)

// vault asks for a secret, and for a text.
const vault = `
service: vault
codes: ["*2#"]
start: main
texts: {invalid: wrong, tries: too many, expired: gone, busy: busy}
screens:
  main:
    kind: input
    text: "Your PIN:"
    options: [{key: "0", label: Exit, goto: bye}]
    input: {type: digits, min: 4, max: 6, secret: true, store: pin, error: "No PIN.", attempts: 2}
    goto: sure
  sure:
    kind: menu
    text: Sure?
    options: [{key: "1", label: Go on, goto: login}, {key: "2", label: Read first, goto: read}]
  read: {kind: menu, text: Terms, options: [{key: "0", label: Back, goto: "@back"}]}
  login: {kind: action, do: login, with: {pin: "{pin}"}, on: {ok: hello, wrong: bye}}
  hello:
    kind: input
    text: "Hello {name}, what shall we call you?"
    input: {type: text, max: 10, store: nick, error: No name.}
    goto: called
  called: {kind: menu, text: "Hello {nick}", options: [{key: "0", label: Exit, goto: bye}]}
  bye: {kind: end, text: Bye}
`

func TestSecretsAreNotKept(t *testing.T) {
	const pin = "4917"
	s := dial(t, compile(t, vault))
	for answer, secret := range map[string]bool{pin: true, "49": true, "": true, "0": false} {
		turn := s.service.Step(s.turn.State, menus.Answer(answer), s.env)
		if turn.Secret != secret {
			t.Errorf("Secret of %q is %t", answer, turn.Secret)
		}
	}
	s.types(pin, "2")
	s.sees(s.types("0"), "Sure?\n\n1. Go on\n2. Read first")
	if s.turn.Secret {
		t.Error("the answer to a menu is a secret")
	}
	kept := s.turn.State
	s.sees(s.types("1"), "<login 1: pin="+pin+">")
	if value := s.turn.Effect.Args["pin"]; value.Type() != menus.TypeSecret || value.Text() != pin {
		t.Errorf("the action gets %#v", value)
	}
	form, err := json.Marshal(s.turn.State)
	if err != nil {
		t.Fatal(err)
	}
	for _, print := range []string{
		string(form), fmt.Sprint(s.turn.State), fmt.Sprintf("%+v", s.turn), fmt.Sprintf("%#v", s.turn), fmt.Sprintf("%s %q", s.turn.State, s.turn.State),
		fmt.Sprint(*s.turn.Effect), fmt.Sprintf("%+v", s.turn.Effect), fmt.Sprintf("%#v", *s.turn.Effect), fmt.Sprintf("%q", s.turn.Effect.Args),
	} {
		if strings.Contains(print, pin) {
			t.Errorf("the secret is in %s", print)
		}
	}
	spelt := compile(t, strings.Replace(vault, "secret: true", "secret: True", 1))
	if turn := spelt.Step(dial(t, spelt).turn.State, menus.Answer(pin), s.env); !turn.Secret {
		t.Error("secret: True is none")
	}
	// A restart has forgotten the secret, and the session says so in time.
	s.turn.State = restored(t, kept)
	s.sees(s.types("1"), "gone\n<expired>")
}

// The stored form is part of what a new program must read.
func TestStateForm(t *testing.T) {
	s := dial(t, airtime(t))
	s.types("1", "1", "7", "08012345678", "2")
	form, err := json.Marshal(s.turn.State)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":"` + s.service.Version() + `","way":[{"screen":"main"},{"screen":"network"},` +
		`{"screen":"phone","set":{"network":"t:mtn","network_name":"t:MTN"}},{"screen":"amount","set":{"phone":"p:2348012345678"}},` +
		`{"screen":"confirm","set":{"amount":"m:10000"}}],"inputs":5}`
	if string(form) != want {
		t.Errorf("got\n%s\nwant\n%s", form, want)
	}
	s.types("1")
	s.result("pending", "txn", menus.Text(txn))
	s.types("7")
	if form, err = json.Marshal(s.turn.State); err != nil {
		t.Fatal(err)
	}
	want = `{"version":"` + s.service.Version() + `","way":[{"screen":"processing","set":{"amount":"m:10000","network":"t:mtn","network_name":"t:MTN",` +
		`"phone":"p:2348012345678","txn":"t:TXN-0123456789ABC"}}],"inputs":7,"visits":1,"wrong":1}`
	if string(form) != want {
		t.Errorf("got\n%s\nwant\n%s", form, want)
	}
}

// Asking again and again leaves no trace but the counts.
func TestPollingKeepsTheStateSmall(t *testing.T) {
	s := dial(t, airtime(t))
	s.types("1", "1", "08012345678", "2", "1")
	s.result("pending", "txn", menus.Text(txn))
	once, _ := json.Marshal(s.turn.State)
	for range 40 {
		s.types("1")
		s.sees(s.result("pending"), processingMenu)
	}
	often, _ := json.Marshal(s.turn.State)
	if want := strings.Replace(string(once), `"inputs":5,"visits":1`, `"inputs":45,"visits":41`, 1); string(often) != want {
		t.Errorf("got\n%s\nwant\n%s", often, want)
	}
}

func TestDamagedStates(t *testing.T) {
	service := airtime(t)
	at := func(way string) string { return `{"version":"` + service.Version() + `","way":[` + way + `]}` }
	expired := service.Text("expired") + "\n<expired>"
	busy := service.Text("busy") + "\n<error>"
	for state, want := range map[string]string{
		`{}`:   expired,
		`null`: expired,
		at(``): expired,
		`{"version":"000000000000","way":[{"screen":"main"}]}`: expired,
		`{"way":[{"screen":"main"}]}`:                          expired,
		at(`{"screen":"cellar"}`):                              expired,
		at(`{"screen":"bye"}`):                                 expired,
		at(`{"screen":"main"}`) + "  ":                         networkMenu,
		at(`{"screen":"buy"}`):                                 busy, // nothing to buy
		at(`{"screen":"buy","set":{"network":"m:1","phone":"p:2348012345678","amount":"m:1"}}`):                         busy, // a network that is money
		at(`{"screen":"amount","set":{"network_name":"t:MTN"}}`):                                                        busy, // to confirm without a number
		at(`{"screen":"amount","set":{"network_name":"t:MTN","phone":"m:5"}}`):                                          busy,
		at(`{"screen":"amount","set":{"network_name":"t:` + strings.Repeat("M", 300) + `","phone":"p:2348012345678"}}`): strings.NewReplacer("MTN", "MMMMMMM", "N100", "N50").Replace(confirmMenu),
		at(`{"screen":"amount","set":{"network_name":"t:M\u0000T\u2063N","phone":"p:2348012345678"}}`):                  strings.NewReplacer("MTN", "M?T?N", "N100", "N50").Replace(confirmMenu),
		strings.Replace(at(`{"screen":"processing","set":{"txn":"t:1"}}`), `"way"`, `"visits":2147483647,"way"`, 1):     service.Text("expired") + "\n<too_many_inputs>",
		at(`{"screen":"history"}`): wrongChoice + "\n\nTransaction History:\n\nNo transactions yet.\n\n0. Back to Main Menu",
	} {
		var st menus.State
		if err := json.Unmarshal([]byte(state), &st); err != nil {
			t.Errorf("%s: %v", state, err)
			continue
		}
		if got := seen(service.Step(st, menus.Answer("1"), menus.Env{Caller: me, Medium: handset})); got != want {
			t.Errorf("%s shows\n%s\nwant\n%s", state, got, want)
		}
	}
	// A copy of what is not there.
	other := compile(t, club)
	var st menus.State
	if err := json.Unmarshal([]byte(`{"version":"`+other.Version()+`","way":[{"screen":"card"}]}`), &st); err != nil {
		t.Fatal(err)
	}
	if got := seen(other.Step(st, menus.Answer("1"), menus.Env{})); got != "busy\n<error>" {
		t.Errorf("a copy of nothing shows\n%s", got)
	}
	// Back out of a state whose way leads through an action or an end.
	for _, screen := range []string{"buy", "bye", "cellar"} {
		var st menus.State
		if err := json.Unmarshal([]byte(at(`{"screen":"`+screen+`"},{"screen":"amount"}`)), &st); err != nil {
			t.Fatal(err)
		}
		if got := seen(service.Step(st, menus.Answer("0"), menus.Env{Caller: me})); got != expired {
			t.Errorf("back to %s shows\n%s", screen, got)
		}
	}
}

func TestStatesThatAreNone(t *testing.T) {
	for form, want := range map[string]string{
		`[]`:                    "menus: state: json: cannot unmarshal array into Go value of type menus.stateJSON",
		`{"inputs":-1}`:         "menus: state: json: cannot unmarshal number -1 into Go struct field stateJSON.inputs of type uint16",
		`{"inputs":5000}`:       "menus: state: a count is too high",
		`{"visits":4294967295}`: "menus: state: a count is too high",
		`{"wrong":11}`:          "menus: state: a count is too high",
		`{"way":[{"screen":"a","set":{"n":"x:1"}}]}`:                                                `menus: state: "n" of screen "a" is not a value`,
		`{"way":[{"screen":"a","set":{"n":"m:N5"}}]}`:                                               `menus: state: "n" of screen "a" is not a value`,
		`{"way":[{"screen":"a","set":{"n":"5"}}]}`:                                                  `menus: state: "n" of screen "a" is not a value`,
		`{"way":[{"screen":"a","set":{"n":" :5"}}]}`:                                                `menus: state: "n" of screen "a" is not a value`,
		`{"way":[{"screen":"a","set":{"n":"t:` + strings.Repeat("n", 2049) + `"}}]}`:                `menus: state: "n" of screen "a" is not a value`,
		`{"way":[{"screen":"a","rows":["one"],"first":1}]}`:                                         `menus: state: the list of screen "a" is not one`,
		`{"way":[{"screen":"a","rows":["one"],"next":-1}]}`:                                         `menus: state: the list of screen "a" is not one`,
		`{"way":[{"screen":"a","rows":["` + strings.Repeat("n", 2049) + `"]}]}`:                     `menus: state: the list of screen "a" is not one`,
		`{"way":[{"screen":"a","rows":["a"` + strings.Repeat(`,"a"`, 50) + `]}]}`:                   `menus: state: the list of screen "a" is not one`,
		`{"version":"` + strings.Repeat("0", 300_000) + `","way":[{"screen":"main"}],"inputs":[5]}`: "menus: state too long",
	} {
		var st menus.State
		if err := json.Unmarshal([]byte(form), &st); err == nil || err.Error() != want {
			t.Errorf("%.80s: %v, want %s", form, err, want)
		}
		if st.Screen() != "" {
			t.Errorf("%.80s leaves a state", form)
		}
	}
}

func TestValues(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for typ, name := range map[menus.Type]string{0: "none", menus.TypeText: "text", menus.TypeMoney: "money", menus.TypeMSISDN: "msisdn", menus.TypeTime: "time", menus.TypeSecret: "secret"} {
		if typ.String() != name {
			t.Errorf("type %d is called %s, want %s", typ, typ, name)
		}
	}
	for _, test := range []struct {
		value  menus.Value
		typ    menus.Type
		text   string
		kobo   int64
		time   time.Time
		logged string
	}{
		{menus.Value{}, 0, "", 0, time.Time{}, "none"},
		{menus.Text("Ada"), menus.TypeText, "Ada", 0, time.Time{}, "Ada"},
		{menus.Money(-1234567_89), menus.TypeMoney, "", -1234567_89, time.Time{}, "-N1,234,567.89"},
		{menus.Money(-1 << 63), menus.TypeMoney, "", -1 << 63, time.Time{}, "-N92,233,720,368,547,758.08"},
		{menus.MSISDN("2348031234567"), menus.TypeMSISDN, "2348031234567", 0, time.Time{}, "234803***4567"},
		{menus.MSISDN("12345"), menus.TypeMSISDN, "12345", 0, time.Time{}, "***"},
		{menus.Time(noon), menus.TypeTime, "", 0, noon, "2026-11-23T12:00:00Z"},
	} {
		if got := test.value; got.Type() != test.typ || got.Text() != test.text || got.Kobo() != test.kobo || !got.Time().Equal(test.time) {
			t.Errorf("%v is %v %q %d %v", got, got.Type(), got.Text(), got.Kobo(), got.Time())
		}
		for _, logged := range []string{fmt.Sprint(test.value), fmt.Sprintf("%#v", test.value)} {
			if logged != test.logged {
				t.Errorf("logged as %s, want %s", logged, test.logged)
			}
		}
	}
}

// The form is written by hand, and is what encoding/json would read back.
func TestStateFormOfOddValues(t *testing.T) {
	odd := "a\"b\\c\n\u2028✓<&>"
	s := dial(t, airtime(t))
	s.types("3")
	s.turn = s.service.Step(s.turn.State, menus.Result("ok", "", nil, map[string][]map[string]menus.Value{
		"purchases": {{"network": menus.Text(`"\<&>✓`)}}}), s.env)
	form := s.turn.State.AppendJSON([]byte("x"))
	if marshalled, err := json.Marshal(s.turn.State); err != nil || !json.Valid(form[1:]) || string(compacted(t, form[1:])) != string(marshalled) {
		t.Errorf("appended %s\nmarshalled %s, %v", form, marshalled, err)
	}
	var st menus.State
	quoted, _ := json.Marshal(odd)
	if err := json.Unmarshal(fmt.Appendf(nil, `{"version":%s,"way":[{"screen":%[1]s,"set":{%[1]s:"t:x"},"rows":[%[1]s]}]}`, quoted), &st); err != nil {
		t.Fatal(err)
	}
	if form := string(st.AppendJSON(nil)); strings.Count(form, string(quoted)) != 4 || form != string(restored(t, st).AppendJSON(nil)) {
		t.Errorf("got %s, want %s in it four times", form, quoted)
	}
}

// compacted is data as json.Marshal passes it on.
func compacted(t *testing.T, data []byte) []byte {
	t.Helper()
	form, err := json.Marshal(json.RawMessage(data))
	if err != nil {
		t.Fatal(err)
	}
	return form
}
