package menus_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ussdd/menus"
)

// FuzzLoad compiles anything. What compiles can be walked; what does not has
// problems with places.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, "airtime.yaml") {
		source, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	f.Add([]byte(vault))
	f.Add([]byte(finals))
	f.Fuzz(func(t *testing.T, source []byte) {
		service, err := menus.Compile(source, "fuzz.yaml", options)
		if err != nil {
			var problems menus.Problems
			if !errors.As(err, &problems) || len(problems) == 0 || service != nil {
				t.Fatalf("%T %v", err, err)
			}
			for i, p := range problems {
				if p.File != "fuzz.yaml" || p.Text == "" || p.Line < 0 || p.Line > len(source)+1 || i > 0 && p.Line < problems[i-1].Line {
					t.Errorf("problem %+v after %d others", p, i)
				}
			}
			return
		}
		env := menus.Env{Caller: me, Medium: handset}
		turn := service.Step(menus.State{}, menus.Start(), env)
		for _, line := range []string{"1", "0", "=delivered", "2", "5000", "08012345678", "9", "1", "=ok", "1", "1", "1"} {
			check(t, turn, handset)
			turn = service.Step(turn.State, scripted(line), env)
		}
		check(t, turn, handset)
	})
}

// FuzzStep steps from any stored state with any inputs, on links of all widths.
func FuzzStep(f *testing.F) {
	services := []*menus.Service{airtime(f), compile(f, vault), compile(f, finals)}
	for _, script := range []string{
		"1\n1\n08012345678\n2\n1\n=delivered", "1\n2\n1\n6\n50,000\n1\n=pending\n1\n=pending\n1\n=declined", "3\n=ok\n9\n8\n9\n0", "2\n=ok\n0", "8\n8\n8",
		"1234\n1\n=ok\nAda\n0", "12\n\n", "1\n1\n=pending\n1\n0\n0", "=ok", "\xff\x00\n✓\n\u202e",
	} {
		f.Add("", script, uint8(160), me)
	}
	for _, service := range services {
		f.Add(`{"version":"`+service.Version()+`","way":[{"screen":"phone","set":{"network_name":"t:✓✗","network":"m:-5"}},{"screen":"amount","set":{"phone":"p:5"}}]}`, "2\n1\n=delivered", uint8(60), "")
		f.Add(`{"version":"`+service.Version()+`","way":[{"screen":"history","rows":["a","b\n\u0000"],"first":1,"next":1}],"inputs":59,"wrong":9,"visits":7}`, "9\n9", uint8(40), "")
	}
	f.Fuzz(func(t *testing.T, stored, script string, limit uint8, caller string) {
		for _, service := range services {
			link := gsm{int(limit)}
			env := menus.Env{Caller: caller, Medium: link}
			var st menus.State
			if json.Unmarshal([]byte(stored), &st) != nil || stored == "" {
				st = service.Step(st, menus.Start(), env).State
			}
			visit := 0
			for i, line := range strings.SplitN(script, "\n", 80) {
				in := scripted(line)
				turn := service.Step(st, in, env)
				check(t, turn, link)
				if turn.Effect == nil && !turn.End && !slices.ContainsFunc(lastLines, func(line string) bool { return strings.HasSuffix(turn.Text, line) }) {
					t.Fatalf("the options are cut:\n%s", turn.Text)
				}
				if again := service.Step(st, in, env); !reflect.DeepEqual(again, turn) {
					t.Fatalf("line %d gives\n%+v\nand\n%+v", i, turn, again)
				}
				if turn.Effect != nil {
					if turn.Effect.Visit < visit {
						t.Fatalf("effect %d after %d", turn.Effect.Visit, visit)
					}
					visit = turn.Effect.Visit
				}
				st = turn.State
			}
		}
	})
}

// scripted is a line as an input: "=outcome/reason" is a result, any other is
// typed.
func scripted(line string) menus.Input {
	result, ok := strings.CutPrefix(line, "=")
	if !ok {
		return menus.Answer(line)
	}
	outcome, reason, _ := strings.Cut(result, "/")
	vars := map[string]menus.Value{"txn": menus.Text(line), "balance": menus.Money(int64(len(line))), "name": menus.Text(reason)}
	row := map[string]menus.Value{"network": menus.Text(reason), "phone": menus.MSISDN(outcome), "amount": menus.Money(-1), "at": menus.Time(time.Unix(1<<40, 0))}
	rows := make([]map[string]menus.Value, len(line))
	for i := range rows {
		rows[i] = row
	}
	return menus.Result(outcome, reason, vars, map[string][]map[string]menus.Value{"purchases": rows})
}

// lastLines are how all screens end that wait for an answer.
var lastLines = []string{
	"\n0. Exit", "\n0. Back to Main Menu", "\n0. Back", "\n1. Check status", "\n2. Read first", "\n1. Go on", ", what shall we call you?",
}

// check holds for every turn.
func check(t *testing.T, turn menus.Turn, m gsm) {
	t.Helper()
	if turn.Effect != nil {
		if turn.Text != "" || turn.End || turn.Effect.Visit < 1 || turn.Effect.Screen != turn.State.Screen() {
			t.Fatalf("an effect with %+v", turn)
		}
		for param := range actions[turn.Effect.Action].Params {
			if turn.Effect.Args[param].Type() != actions[turn.Effect.Action].Params[param] {
				t.Fatalf("effect %+v lacks %s", turn.Effect, param)
			}
		}
		restored(t, turn.State)
		return
	}
	units, bad := m.Cost(turn.Text)
	if units > m.limit || bad != 0 || !utf8.ValidString(turn.Text) || strings.ContainsRune(turn.Text, 0) || turn.Text != m.Fold(turn.Text) {
		t.Fatalf("a text of %d units with %q:\n%s", units, bad, turn.Text)
	}
	if turn.End != (turn.EndReason != "") || !turn.End && turn.Text == "" {
		t.Fatalf("turn %+v", turn)
	}
	restored(t, turn.State)
}
