package menus_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"ussdd/menus"
)

// Values are shown once, as they are, without what a handset cannot show.
func TestValuesInTexts(t *testing.T) {
	service := compile(t, vault)
	for name, shown := range map[string]string{
		"Ada":                         "Ada",
		"{nick}":                      "{nick}",
		"{caller|local}":              "{caller|local}",
		"A\nd\ta\x00\u202e!":          "Ada!",
		"Zoë \u4e2d\u6587 \U0001f600": "Zo? ?? ?",
		"\xff\xfeAda":                 "Ada",
		"✓ it’s":                      "OK it's",
		strings.Repeat("n", 50):       strings.Repeat("n", 20),
		"":                            "",
	} {
		s := dial(t, service)
		s.types("1234", "1")
		s.sees(s.result("ok", "name", menus.Text(name)), "Hello "+shown+", what shall we call you?")
		if form, _ := json.Marshal(s.turn.State); len(form) > 165 {
			t.Errorf("the state keeps more than can be shown: %s", form)
		}
	}
}

// What an action gives and no screen shows is neither needed nor kept.
func TestUnusedValues(t *testing.T) {
	service := compile(t, strings.Replace(club, "{line} {line|local} {since|date} {caller}", "only", 1))
	s := dial(t, service)
	s.sees(s.result("ok", "name", menus.Text("Ada"), "since", menus.Time(time.Unix(0, 0))), "Ada only\n\n1. Alias\n0. Exit")
	form, _ := json.Marshal(s.turn.State)
	if want := `{"version":"` + service.Version() + `","way":[{"screen":"card","set":{"name":"t:Ada"}}],"visits":1}`; string(form) != want {
		t.Errorf("got\n%s\nwant\n%s", form, want)
	}
}

func TestTypedTexts(t *testing.T) {
	s := dial(t, compile(t, vault))
	s.types("1234", "1")
	s.result("ok", "name", menus.Text("Ada"))
	asked := "No name.\n\nHello Ada, what shall we call you?"
	s.sees(s.types("12345678901"), asked)
	s.sees(s.types(" \x01 "), asked)
	s.sees(s.types(" {name} "), "Hello {name}\n\n0. Exit")
}

func TestAttemptsAreTheInputs(t *testing.T) {
	s := dial(t, compile(t, vault))
	s.sees(s.types("123"), "No PIN.\n\nYour PIN:\n\n0. Exit")
	s.sees(s.types("1234567"), "too many\n<too_many_errors>")
}

// A result that the action does not declare ends the session, and is told apart
// from what a subscriber does.
func TestResultsThatAreNone(t *testing.T) {
	busy := "busy\n<error>"
	logged := func() *subscriber {
		s := dial(t, compile(t, vault))
		s.types("1234", "1")
		return s
	}
	logged().sees(logged().result("fine"), busy)
	logged().sees(logged().result("ok"), busy)
	logged().sees(logged().result("ok", "name", menus.Money(5)), busy)
	logged().sees(logged().result("ok", "name", menus.Text("Ada"), "other", menus.Money(5)), "Hello Ada, what shall we call you?")
	logged().sees(logged().step(menus.Input{}), busy)

	s := dial(t, compile(t, vault))
	s.sees(s.result("ok", "name", menus.Text("Ada")), busy)
	s = dial(t, compile(t, vault))
	s.turn.State = menus.State{}
	s.sees(s.result("ok"), "gone\n<expired>")
}

// club starts with an action, and has what the shipped service has not.
const club = `
service: club
codes: ["*3#"]
start: who
max_inputs: 20
texts: {invalid: wrong, tries: too many, expired: gone, busy: busy}
screens:
  who: {kind: action, do: profile, on: {ok: card}}
  card:
    kind: menu
    text: "{name} {line} {line|local} {since|date} {caller}"
    options:
      - {key: "1", label: Alias, set: {alias: "{name}"}, goto: more}
      - {key: "0", label: Exit, goto: bye}
  more:
    kind: menu
    text: "Alias {alias}"
    options:
      - {key: "1", label: Nick, set: {nick: "{alias}"}, goto: nick}
      - {key: "2", label: Other, set: {alias: Bo}, goto: more}
      - {key: "3", label: Ping, goto: ping}
      - {key: "0", label: Back, goto: "@back"}
  nick: {kind: menu, text: "Hi {nick}", options: [{key: "0", label: Back, goto: "@back"}]}
  ping: {kind: action, do: ping, on: {ok: "@home"}}
  bye: {kind: end, text: "Bye {name}"}
`

func TestClub(t *testing.T) {
	joined := time.Date(2020, 2, 29, 23, 30, 0, 0, time.UTC)
	s := dial(t, compile(t, club))
	s.stored = true
	s.sees(seen(s.turn), "<profile 1: >")
	card := "Ada 447911123456 +447911123456 01/03 00:30 " + me + "\n\n1. Alias\n0. Exit"
	join := func() string {
		return s.result("ok", "name", menus.Text("Ada"), "line", menus.MSISDN("447911123456"), "since", menus.Time(joined))
	}
	s.sees(join(), card)
	s.sees(s.types("1"), "Alias Ada\n\n1. Nick\n2. Other\n3. Ping\n0. Back")
	// A screen that leads to itself is one place on the way, however often.
	s.sees(s.types("2", "2"), "Alias Bo\n\n1. Nick\n2. Other\n3. Ping\n0. Back")
	s.sees(s.types("1"), "Hi Bo\n\n0. Back")
	s.sees(s.types("0"), "Alias Bo\n\n1. Nick\n2. Other\n3. Ping\n0. Back")
	s.sees(s.types("0"), card)
	s.sees(s.types("1", "3"), "<ping 2: >")
	s.sees(s.result("ok"), "<profile 3: >")
	s.sees(join(), card)
	s.sees(s.types("0"), "Bye Ada\n<completed>")
}

// A value that a result lacks is not looked for in an older result.
func TestNoStaleValues(t *testing.T) {
	exit := "- {key: \"0\", label: Exit, goto: bye}"
	service := compile(t, strings.Replace(club, exit, "- {key: \"2\", label: Again, goto: who}\n      "+exit, 1))
	for _, stored := range []bool{false, true} {
		s := dial(t, service)
		s.stored = stored
		s.result("ok", "name", menus.Text("Ada"), "line", menus.MSISDN(me), "since", menus.Time(time.Unix(0, 0)))
		s.sees(s.types("2"), "<profile 2: >")
		s.sees(s.result("ok", "line", menus.MSISDN(me), "since", menus.Time(time.Unix(0, 0))), "busy\n<error>")
	}
	// Nor after the restart.
	s := dial(t, compile(t, strings.Replace(club, "{name} {line} {line|local} {since|date} {caller}", "Card", 1)))
	s.stored = true
	s.result("ok")
	s.sees(s.types("1"), "busy\n<error>")
	if form, want := string(must(json.Marshal(s.turn.State))), `"set":{"name":""}`; !strings.Contains(form, want) {
		t.Errorf("state %s has no %s", form, want)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// A number that is not to be dialled is shown as it is.
func TestOddNumbers(t *testing.T) {
	for number, shown := range map[string]string{
		"2348031234567":             "2348031234567 08031234567",
		"23480312":                  "23480312 23480312",
		"a81bc81bdead":              "a81bc81bdead a81bc81bdead",
		"4479111234567890123":       "4479111234567890 +4479111234567890",
		"":                          " ",
		"+44 7911\x00 {name|local}": "+44 7911 {name|l +44 7911 {name|l",
	} {
		s := dial(t, compile(t, club))
		got := s.result("ok", "name", menus.Text("Ada"), "line", menus.MSISDN(number), "since", menus.Time(time.Unix(0, 0)))
		s.sees(got, "Ada "+shown+" 01/01 01:00 "+me+"\n\n1. Alias\n0. Exit")
	}
}

// A narrower link than the services were checked against gets shorter texts, never
// more than it can show, and never half of an option or of an amount.
func TestNarrowMedium(t *testing.T) {
	service := airtime(t)
	confirm := func(limit int) string {
		s := dial(t, service)
		s.types("1", "4", "1")
		s.env.Medium = gsm{limit}
		return s.types("5")
	}
	whole := strings.NewReplacer("MTN", "9mobile", "08012345678", "08099999999", "N100", "N1,000").Replace(confirmMenu)
	for limit := 200; limit >= 0; limit-- {
		got := confirm(limit)
		cut := max(0, len(whole)-limit)
		want := strings.Replace(whole, "9mobile", "9mobile"[:max(0, 7-cut)], 1)
		if cut > 7 {
			want = "Error: Service temporarily unavailable. Please try again."[:min(57, limit)] + "\n<error>"
		}
		if got != want {
			t.Fatalf("with %d units\n%s\nwant\n%s", limit, got, want)
		}
	}
	// The error line goes before an option does.
	s := dial(t, service)
	s.env.Medium = gsm{100}
	s.sees(s.types("7"), mainMenu)
	// The receipt of a purchase is shown as far as it goes.
	s = dial(t, service)
	s.types("1", "1", "08012345678", "2", "1")
	s.env.Medium = gsm{100}
	bought := s.turn.State
	for limit, last := range map[int]string{100: "Amount: N100", 33: "Successful!", 10: "OK Airtime"} {
		s.turn.State = bought
		s.env.Medium = gsm{limit}
		s.sees(s.result("delivered", "txn", menus.Text(txn)), strings.SplitAfter(success, last)[0]+"\n<completed>")
	}
}

func TestLongRows(t *testing.T) {
	list := func(limit, rows int, network string) *subscriber {
		s := dial(t, airtime(t))
		s.types("3")
		s.env.Medium = gsm{limit}
		row := map[string]menus.Value{"network": menus.Text(network), "amount": menus.Text("not money")}
		var all []map[string]menus.Value
		for range rows {
			all = append(all, row)
		}
		s.step(menus.Result("ok", "", nil, map[string][]map[string]menus.Value{"purchases": all, "other": nil}))
		return s
	}
	s := list(160, 1, "a {network} that is long")
	s.sees(seen(s.turn), "Transaction History:\n\n a {netw   \n\n0. Back to Main Menu")
	// A row that has no room is cut, rather than a line of the options.
	s = list(57, 2, "network")
	s.sees(seen(s.turn), "Transaction History:\n\n netw\n\n9. More\n0. Back to Main Menu")
	s.sees(s.types("9"), "Transaction History:\n\n network   \n\n0. Back to Main Menu")
	s = list(40, 2, "network")
	s.sees(seen(s.turn), unavailable[:40]+"\n<error>")
	// So is the error line.
	s = list(60, 3, "net")
	s.sees(s.types("8"), "Transaction History:\n\n net   \n\n9. More\n0. Back to Main Menu")
	// No more of a row is kept than can be stored.
	wide := menus.Options{Actions: actions, Medium: unicode{5000}}
	service, err := menus.Compile([]byte(strings.Replace(string(airtime(t).Source()), "{at|date} ", strings.Repeat("long ", 500), 1)), "wide.yaml", wide)
	if err != nil {
		t.Fatal(err)
	}
	s = dial(t, service)
	s.types("3")
	s.env.Medium = wide.Medium
	shown := s.step(menus.Result("ok", "", nil, map[string][]map[string]menus.Value{"purchases": {{}}}))
	s.sees(shown, "Transaction History:\n\n"+strings.Repeat("long ", 80)+"\n\n0. Back to Main Menu")
	restored(t, s.turn.State)
	// No more rows are kept than the bound says.
	s = list(160, 60, "network")
	pages := 1
	for ; s.turn.State.Screen() == "history" && strings.Contains(s.turn.Text, "9. More") && pages < 60; pages++ {
		s.types("9")
	}
	if s.turn.End || pages != 6 || strings.Count(s.turn.Text, "network") != 5 {
		t.Errorf("page %d is\n%s", pages, s.turn.Text)
	}
}

// telex has capital letters and digits, and says of everything else that it is
// the same wrong character.
type telex struct{ says rune }

func (m telex) Fold(s string) string { return strings.ToUpper(s) }
func (m telex) Limit() int           { return 160 }
func (m telex) Cost(s string) (int, rune) {
	for _, r := range s {
		if r != ' ' && r != '\n' && (r < 'A' || r > 'Z') && (r < '0' || r > '9') {
			if m.says != 0 {
				return 0, m.says
			}
			return 0, r
		}
	}
	return len(s), 0
}

func TestOddMedium(t *testing.T) {
	service := compile(t, club)
	turn := service.Step(menus.State{}, menus.Start(), menus.Env{})
	in := menus.Result("ok", "", map[string]menus.Value{"name": menus.Text("A-b?"), "line": menus.MSISDN("1"), "since": menus.Time(time.Unix(0, 0))}, nil)
	shown := service.Step(turn.State, in, menus.Env{Caller: "2", Medium: telex{}})
	if want := "AB 1 1 0101 0100 2\n\n1 ALIAS\n0 EXIT"; shown.Text != want {
		t.Errorf("shows\n%s\nwant\n%s", shown.Text, want)
	}
	// What cannot be helped ends the session.
	if got := seen(service.Step(turn.State, in, menus.Env{Caller: "2", Medium: telex{'∞'}})); got != "BUSY\n<error>" {
		t.Errorf("shows\n%s", got)
	}
}

// Without a medium of its own a link is taken for the narrowest.
func TestMediumOfTheOptions(t *testing.T) {
	service := airtime(t)
	first := service.Step(menus.State{}, menus.Start(), menus.Env{})
	if first.Text != mainMenu {
		t.Errorf("shows\n%s", first.Text)
	}
}

// One service serves everyone at once.
func TestManySubscribers(t *testing.T) {
	service := airtime(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			number := fmt.Sprintf("0801234567%d", i)
			want := strings.Replace(confirmMenu, "08012345678", number, 1)
			for range 50 {
				turn := service.Step(menus.State{}, menus.Start(), menus.Env{Caller: me})
				for _, answer := range []string{"1", "1", number, "2"} {
					turn = service.Step(turn.State, menus.Answer(answer), menus.Env{Caller: me})
				}
				if turn.Text != want {
					t.Errorf("%s sees\n%s", number, turn.Text)
				}
			}
		})
	}
	all.Wait()
}

// A step costs a few allocations, and a state a few hundred bytes.
func TestStepAllocates(t *testing.T) {
	service := airtime(t)
	env := menus.Env{Caller: me, Medium: handset}
	s := dial(t, service)
	s.types("1", "1")
	number := menus.Answer("08012345678")
	before := s.turn.State
	if got := testing.AllocsPerRun(100, func() { service.Step(before, number, env) }); got > 6 {
		t.Errorf("a typed number takes %v allocations", got)
	}
	s.types("08012345678")
	before = s.turn.State
	amount := menus.Answer("2")
	if got := testing.AllocsPerRun(100, func() { service.Step(before, amount, env) }); got > 6 {
		t.Errorf("an option takes %v allocations", got)
	}
	if got := reflect.TypeFor[menus.State]().Size(); got > 40 {
		t.Errorf("a state is %d bytes", got)
	}
}

func BenchmarkStep(b *testing.B) {
	service := airtime(b)
	s := dial(b, service)
	states := []menus.State{s.turn.State}
	answers := []string{"1", "1", "08012345678", "2", "1"}
	for _, answer := range answers {
		s.types(answer)
		states = append(states, s.turn.State)
	}
	for i, screen := range []string{"option", "option-sets", "number", "amount", "effect"} {
		in := menus.Answer(answers[i])
		b.Run(screen, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				service.Step(states[i], in, s.env)
			}
		})
	}
	b.Run("result", func(b *testing.B) {
		in := menus.Result("delivered", "", map[string]menus.Value{"txn": menus.Text(txn)}, nil)
		b.ReportAllocs()
		for b.Loop() {
			service.Step(states[5], in, s.env)
		}
	})
	b.Run("store", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := states[4].MarshalJSON(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
