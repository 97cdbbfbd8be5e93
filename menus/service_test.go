package menus_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ussdd/menus"
)

// gsm is a medium like a handset's: an alphabet of its own, characters that take
// two units, and a few substitutes.
type gsm struct{ limit int }

const (
	gsmBasic    = "@£$¥èéùìòÇ\nØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà"
	gsmExtended = "^{}\\[~]|€"
)

var gsmSubstitutes = strings.NewReplacer("✓", "OK", "₦", "N", "’", "'", "…", "...")

func (g gsm) Fold(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return gsmSubstitutes.Replace(s)
		}
	}
	return s
}

func (g gsm) Cost(s string) (units int, bad rune) {
	for _, r := range g.Fold(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(gsmBasic, r):
			units++
		case strings.ContainsRune(gsmExtended, r):
			units += 2
		case bad == 0:
			bad = r
		}
	}
	return units, bad
}

func (g gsm) Limit() int { return g.limit }

// unicode is a medium that has every character.
type unicode struct{ limit int }

func (u unicode) Fold(s string) string      { return s }
func (u unicode) Cost(s string) (int, rune) { return len([]rune(s)), 0 }
func (u unicode) Limit() int                { return u.limit }

var handset = gsm{160}

// actions are what the shipped service needs, and some for other tests.
var actions = map[string]menus.ActionSpec{
	"balance": {
		Gives:    map[string]menus.Var{"balance": {Type: menus.TypeMoney, Width: 15, On: []string{"ok"}}},
		Outcomes: []string{"ok", "unavailable"},
	},
	"history": {
		Lists: map[string]map[string]menus.Var{"purchases": {
			"at":      {Type: menus.TypeTime},
			"network": {Type: menus.TypeText, Width: 7},
			"phone":   {Type: menus.TypeMSISDN, Width: 11},
			"amount":  {Type: menus.TypeMoney, Width: 7},
			"state":   {Type: menus.TypeText, Width: 10},
			"txn":     {Type: menus.TypeText, Width: 17},
		}},
		Outcomes: []string{"ok", "unavailable"},
	},
	"purchase":       purchase,
	"purchase_again": purchase,
	"status": {
		Params:   map[string]menus.Type{"txn": menus.TypeText},
		Gives:    map[string]menus.Var{"network_name": {Type: menus.TypeText, Width: 7, On: []string{"delivered"}}},
		Outcomes: []string{"delivered", "declined", "pending", "failed"},
	},
	"login": {
		Params:   map[string]menus.Type{"pin": menus.TypeSecret},
		Gives:    map[string]menus.Var{"name": {Type: menus.TypeText, Width: 20, On: []string{"ok"}}},
		Outcomes: []string{"ok", "wrong"},
	},
	"profile": {
		Gives: map[string]menus.Var{
			"name":  {Type: menus.TypeText, Width: 20},
			"line":  {Type: menus.TypeMSISDN},
			"since": {Type: menus.TypeTime},
		},
		Outcomes: []string{"ok"},
	},
	"ping": {Outcomes: []string{"ok"}},
}

var purchase = menus.ActionSpec{
	Params: map[string]menus.Type{"network": menus.TypeText, "to": menus.TypeMSISDN, "amount": menus.TypeMoney},
	Gives: map[string]menus.Var{
		"txn":   {Type: menus.TypeText, Width: 17, On: []string{"delivered", "pending"}},
		"left":  {Type: menus.TypeMoney, Width: 15, On: []string{"declined"}},
		"until": {Type: menus.TypeTime, On: []string{"declined"}},
	},
	Outcomes: []string{"delivered", "declined", "pending", "not_sent", "unavailable", "insufficient"},
	Reasons: map[string][]string{
		"declined": {"bad_number", "limit", "limit_purchase", "limit_day", "limit_recipient_day", "limit_velocity", "limit_network_purchase", "limit_network_day"},
		"pending":  {"open"},
	},
	Final: true,
}

var options = menus.Options{Actions: actions, Medium: handset}

func airtime(t testing.TB) *menus.Service {
	t.Helper()
	catalogue, err := menus.Load(menus.Builtin(), options)
	if err != nil {
		t.Fatal(err)
	}
	service, ok := catalogue.Match("*999#")
	if !ok {
		t.Fatal("no service at *999#")
	}
	return service
}

func compile(t testing.TB, source string) *menus.Service {
	t.Helper()
	service, err := menus.Compile([]byte(source), "test.yaml", options)
	if err != nil {
		t.Fatal(err)
	}
	return service
}

const me = "2348099999999"

// subscriber is one session, transcribed.
type subscriber struct {
	t       testing.TB
	service *menus.Service
	env     menus.Env
	turn    menus.Turn
	steps   int
	stored  bool // the state goes through its stored form between any two steps
}

func dial(t testing.TB, service *menus.Service) *subscriber {
	t.Helper()
	s := &subscriber{t: t, service: service, env: menus.Env{Caller: me, Medium: handset}}
	s.step(menus.Start())
	return s
}

func (s *subscriber) step(in menus.Input) string {
	s.t.Helper()
	if s.stored {
		s.turn.State = restored(s.t, s.turn.State)
	}
	s.turn = s.service.Step(s.turn.State, in, s.env)
	s.steps++
	return seen(s.turn)
}

// types answers one after another and returns what came of the last.
func (s *subscriber) types(answers ...string) string {
	s.t.Helper()
	var last string
	for _, answer := range answers {
		last = s.step(menus.Answer(answer))
	}
	return last
}

func (s *subscriber) result(outcome string, vars ...any) string {
	s.t.Helper()
	set := map[string]menus.Value{}
	for i := 0; i < len(vars); i += 2 {
		set[vars[i].(string)] = vars[i+1].(menus.Value)
	}
	outcome, reason, _ := strings.Cut(outcome, "/")
	return s.step(menus.Result(outcome, reason, set, nil))
}

func (s *subscriber) sees(got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("step %d shows\n%s\nwant\n%s", s.steps, got, want)
	}
}

// seen is a turn as one text: what is shown, or the effect, or the last text and
// why it is the last.
func seen(turn menus.Turn) string {
	if e := turn.Effect; e != nil {
		var args []string
		for name, value := range e.Args {
			arg := value.Text()
			if value.Type() == menus.TypeMoney {
				arg = fmt.Sprint(value.Kobo())
			}
			args = append(args, name+"="+arg)
		}
		slices.Sort(args)
		return fmt.Sprintf("<%s %d: %s>", e.Action, e.Visit, strings.Join(args, " "))
	}
	if turn.End {
		return turn.Text + "\n<" + turn.EndReason + ">"
	}
	return turn.Text
}

// restored is a state as it comes back from the store.
func restored(t testing.TB, state menus.State) menus.State {
	t.Helper()
	form, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	var again menus.State
	if err := json.Unmarshal(form, &again); err != nil {
		t.Fatalf("%v: %s", err, form)
	}
	if second, err := json.Marshal(again); err != nil || string(second) != string(form) {
		t.Fatalf("state %s is %s after a restart (%v)", form, second, err)
	}
	return again
}

func problems(t testing.TB, err error) menus.Problems {
	t.Helper()
	var list menus.Problems
	if !errors.As(err, &list) {
		t.Fatalf("error is %T %v, want Problems", err, err)
	}
	return list
}
