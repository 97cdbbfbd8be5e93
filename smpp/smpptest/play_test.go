package smpptest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp/smpptest"
)

// play plays a script against the shop and returns what was printed.
func play(
	t *testing.T, ctx context.Context, timeout time.Duration, source string, vars map[string]string,
) (smpptest.Result, string) {
	t.Helper()
	script, err := smpptest.ParseScript("shop.yaml", []byte(source), vars)
	if err != nil {
		t.Fatal(err)
	}
	sim := newSim(t, smpptest.Config{})
	bound(t, sim).serve(shop())
	var out strings.Builder
	player := smpptest.Player{Sim: sim, Out: &out, Timeout: timeout}
	result, err := player.Play(ctx, script)
	if err != nil {
		t.Fatal(err)
	}
	return result, out.String()
}

func TestPlay(t *testing.T) {
	result, out := play(t, within(t), patience, `
handsets:
  - name: Amina buys
    msisdn: "2348031234567"
    steps:
      - dial: "*999#"
        see: {contains: "1. Buy", end: false, max: 160}
      - send: "1"
        see: {matches: "Phone: \\d+", end: true}
  - name: Bello has second thoughts
    msisdn: "2348021234567"
    steps:
      - dial: "*999#"
`, nil)
	const want = `── Amina buys (2348031234567)
  dials *999#
    ┌──────────────────────────────────┐
    │ Welcome to Airtime Purchase      │
    │                                  │
    │ 1. Buy Airtime                   │
    │ 2. Check status                  │
    │ 0. Exit                          │
    ├──────────────────────────────────┤
    │ Answer                    Cancel │
    └──────────────────────────────────┘
  types 1
    ┌──────────────────────────────────┐
    │ Airtime Purchase Successful!     │
    │ Phone: 2348031234567             │
    ├──────────────────────────────────┤
    │ Session ended                 OK │
    └──────────────────────────────────┘

── Bello has second thoughts (2348021234567)
  dials *999#
    ┌──────────────────────────────────┐
    │ Welcome to Airtime Purchase      │
    │                                  │
    │ 1. Buy Airtime                   │
    │ 2. Check status                  │
    │ 0. Exit                          │
    ├──────────────────────────────────┤
    │ Answer                    Cancel │
    └──────────────────────────────────┘
  hangs up

`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	if result != (smpptest.Result{Handsets: 2, Screens: 3}) {
		t.Errorf("result %+v", result)
	}
}

func TestPlayMismatch(t *testing.T) {
	result, out := play(t, within(t), patience, `
handsets:
  - name: Amina expects something else
    msisdn: "2348031234567"
    steps:
      - dial: "*999#"
        see: {contains: ["Welcome", "7. Lottery"], end: false}
      - send: "1"
  - msisdn: "2348021234567"
    steps: [{dial: "*999#"}, {hangup: true}]
`, nil)
	const want = `  ✗ shop.yaml:6: not as expected: "7. Lottery" is not in the text
    expected                         │ got
    ──────────────────────────────── │ ────────────────────────────────
    contains "Welcome"               │ Welcome to Airtime Purchase
    contains "7. Lottery"            │
    (the session goes on)            │ 1. Buy Airtime
                                     │ 2. Check status
                                     │ 0. Exit
  hangs up
`
	if !strings.Contains(out, want) {
		t.Errorf("got\n%s\nwant in it\n%s", out, want)
	}
	if strings.Contains(out, "types") {
		t.Errorf("the handset went on after a mismatch:\n%s", out)
	}
	if result != (smpptest.Result{Handsets: 2, Screens: 2, Failed: 1}) {
		t.Errorf("result %+v", result)
	}
}

// TestPlayFailures are the other ways in which a step can fail.
func TestPlayFailures(t *testing.T) {
	tests := []struct{ name, steps, want string }{
		{"answer without a session", `[{send: "1"}]`, "✗ shop.yaml:2: answer: the handset has no open dialogue"},
		{"hang up without a session", `[{hangup: true}]`, "✗ shop.yaml:2: hang up: the handset has no open dialogue"},
		{"wait without a session", `[{see: "*"}]`, "✗ shop.yaml:2: nothing came within 1ms: the handset has no open dialogue"},
		{"nothing comes", `[{dial: "*999*0#"}]`, "✗ shop.yaml:2: nothing came within 1ms: dial *999*0#: context deadline exceeded"},
		{"answer after the end", `[{dial: "*999#"}, {send: "0"}, {send: "1"}]`, "✗ shop.yaml:2: answer: the handset has no open dialogue"},
		{"too few tries", `[{dial: "*999#"}, {repeat: {send: "2", until: Delivered, times: 2, every: 0s}}]`,
			"✗ shop.yaml:2: tried 2 times: not as expected: the text differs"},
		{"ended while trying", `[{dial: "*999#"}, {repeat: {send: "2", until: Lost, times: 9, every: 0s}}]`,
			"✗ shop.yaml:2: not as expected: the text differs"},
		{"nobody to call", `[{call: {url: "http://{dead}/"}}]`, "✗ shop.yaml:2: call: Get \"http://"},
	}
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	vars := map[string]string{"dead": strings.TrimPrefix(dead.URL, "http://")}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			timeout := patience
			if strings.Contains(test.want, "1ms") {
				timeout = time.Millisecond
			}
			result, out := play(t, within(t), timeout, "handsets:\n  - {msisdn: 2348031234567, steps: "+test.steps+"}\n", vars)
			if result.Failed != 1 || !strings.Contains(out, test.want) {
				t.Errorf("%+v, got\n%s\nwant in it\n%s", result, out, test.want)
			}
		})
	}
}

func TestPlayRepeatAndCall(t *testing.T) {
	var calls []string
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		calls = append(calls, fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"), body))
		if r.URL.Path == "/missing" {
			http.Error(w, "no such provider", http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"delivered":1}`)
	}))
	defer vendor.Close()
	vars := map[string]string{"vendorsim": strings.TrimPrefix(vendor.URL, "http://")}

	result, out := play(t, within(t), patience, `
handsets:
  - msisdn: "2348031234567"
    steps:
      - dial: "*999#"
      - call: {url: "http://{vendorsim}/fault", body: '{"fault":"down"}', see: '*"delivered":1*'}
      - call: {url: "http://{vendorsim}/missing", status: 404}
      - repeat: {send: "2", until: {exact: Delivered, end: true}, every: 1ms}
`, vars)
	if result != (smpptest.Result{Handsets: 1, Screens: 4}) {
		t.Errorf("%+v\n%s", result, out)
	}
	want := []string{`POST /fault application/json {"fault":"down"}`, "GET /missing  "}
	if fmt.Sprint(calls) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", calls, want)
	}
	if !strings.Contains(out, "  calls POST http://"+vars["vendorsim"]+"/fault\n    200 OK\n    {\"delivered\":1}\n") {
		t.Errorf("the call is not shown:\n%s", out)
	}

	for _, call := range []string{`{url: "http://{vendorsim}/missing"}`, `{url: "http://{vendorsim}/", see: "*2*"}`} {
		result, out := play(t, within(t), patience, "handsets:\n  - {msisdn: 2348031234567, steps: [{call: "+call+"}]}\n", vars)
		if result.Failed != 1 || !strings.Contains(out, "expected") {
			t.Errorf("%s: %+v\n%s", call, result, out)
		}
	}
}

// TestPlayParallel: all dialogues are open at once, and what each handset shows
// stays together.
func TestPlayParallel(t *testing.T) {
	const handsets = 20
	var source strings.Builder
	source.WriteString("service: \"*999#\"\nparallel: true\nhandsets:\n")
	for n := range handsets {
		fmt.Fprintf(&source, "  - {msisdn: 23480312345%02d, steps: [{dial: '*999*7#'}, {send: '5'}]}\n", n)
	}
	script, err := smpptest.ParseScript("many.yaml", []byte(source.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	played := make(chan error, 1)
	var out strings.Builder
	var result smpptest.Result
	go func() {
		var err error
		player := smpptest.Player{Sim: sim, Out: &out, Timeout: patience}
		result, err = player.Play(within(t), script)
		played <- err
	}()
	var menus []pdu.Body
	for range handsets { // nobody gets a menu before everybody has dialled
		in := e.delivered()
		if in.service != "*999#" {
			t.Errorf("service %q", in.service)
		}
		e.ack(in, 0)
		menu := answer(in, "Who are you?", false)
		e.sequence++
		menu.Header().Seq = e.sequence
		menus = append(menus, menu)
	}
	e.put(menus...)
	e.serve(func(in input) (string, bool) { return "I am " + in.msisdn, true })
	if err := <-played; err != nil || result != (smpptest.Result{Handsets: handsets, Screens: 2 * handsets}) {
		t.Fatalf("%+v, %v\n%s", result, err, out.String())
	}
	for _, part := range strings.Split(strings.TrimPrefix(out.String(), "── "), "\n── ") {
		msisdn := part[:13]
		if !strings.Contains(part, "Who are you?") || !strings.Contains(part, "I am "+msisdn) {
			t.Errorf("screens are mixed up:\n%s", part)
		}
	}
}

// TestPlayStopped: when told to stop, a handset fails, and still tells the ESME
// that it has gone.
func TestPlayStopped(t *testing.T) {
	const source = "handsets: [{msisdn: 2348031234567, steps: [{dial: '*999#'}, {send: '1'}]}]"
	script, err := smpptest.ParseScript("s.yaml", []byte(source), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(within(t))
	released := make(chan struct{})
	sim := newSim(t, smpptest.Config{})
	bound(t, sim).serve(func(in input) (string, bool) {
		switch in.op[0] {
		case 0x01:
			return "1. Buy", false
		case 0x81:
			close(released)
		default:
			cancel()
		}
		return "", false
	})
	var out strings.Builder
	player := smpptest.Player{Sim: sim, Out: &out, Timeout: patience}
	if result, err := player.Play(ctx, script); err != nil || result.Failed != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	<-released
	if !strings.Contains(out.String(), "answer: context canceled\n  hangs up\n") {
		t.Errorf("got\n%s", out.String())
	}
}

// fullDisk takes a number of writes and then none.
type fullDisk struct{ room int }

var errFull = errors.New("disk full")

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.room--; d.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestPlayOutputLost(t *testing.T) {
	for _, parallel := range []string{"true", "false"} {
		source := "parallel: " + parallel + "\nhandsets: [{msisdn: 2348031234567, steps: [{dial: '*999#'}]}]"
		script, err := smpptest.ParseScript("s.yaml", []byte(source), nil)
		if err != nil {
			t.Fatal(err)
		}
		sim := newSim(t, smpptest.Config{})
		bound(t, sim).serve(shop())
		player := smpptest.Player{Sim: sim, Out: &fullDisk{}, Timeout: patience}
		if _, err := player.Play(within(t), script); !errors.Is(err, errFull) {
			t.Errorf("parallel %s: %v", parallel, err)
		}
	}
}

// TestPlayWithFaults: a script breaks dialogues as it says, and sees menus that
// nobody asked for.
func TestPlayWithFaults(t *testing.T) {
	script, err := smpptest.ParseScript("faults.yaml", []byte(`
dialect: standard
faults: [trailing-cr]
handsets:
  - name: Amina has bad luck
    msisdn: "2348031234567"
    steps:
      - fault: refuse:0x45
      - dial: "*999#"
        fails: true
      - dial: "*999#"
      - abort: true
      - dial: "*999*7#"
      - send: "5"
        see: "I have \"5\\r\"*"
  - name: Bello expects bad luck
    msisdn: "2348021234567"
    steps:
      - dial: "*999#"
        fails: true
  - name: Amina is asked
    msisdn: "2348031234567"
    steps:
      - see: "Still there?"
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	e.tolerant = true
	e.serve(func(in input) (string, bool) {
		if in.session[1]&1 != 0 {
			return "", false
		}
		if in.op[0] == 0x12 {
			return fmt.Sprintf("I have %q", in.text), true
		}
		if in.op[0] == 0x01 && in.msisdn == bello {
			e.sends(short(submitSM, "USSD", "00*999#", me, 0, "Still there?", "0501 0001 02"))
		}
		return shop()(in)
	})
	var out strings.Builder
	player := smpptest.Player{Sim: sim, Out: &out, Timeout: patience}
	result, err := player.Play(within(t), script)
	if err != nil || result != (smpptest.Result{Handsets: 3, Screens: 5, Failed: 1}) {
		t.Errorf("%+v, %v", result, err)
	}
	for _, want := range []string{
		"  fault refuse:0x45\n  dials *999#\n    (dial *999#: the dialogue was ended by the fault refuse:0x45)\n",
		"  loses the network\n",
		"✗ faults.yaml:19: not as expected: a screen came\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant in it\n%s", out.String(), want)
		}
	}
}

func TestPlayElsewhere(t *testing.T) {
	const source = "handsets: [{msisdn: 2348031234567, steps: [{dial: '*999#'}]}]"
	for head, want := range map[string]string{
		"dialect: mica\n":     "s.yaml is for dialect mica; the SMSC speaks msisdn",
		"faults: [same-id]\n": "s.yaml: dialect msisdn has no room for fault same-id",
	} {
		script, err := smpptest.ParseScript("s.yaml", []byte(head+source), nil)
		if err != nil {
			t.Fatal(err)
		}
		player := smpptest.Player{Sim: newSim(t, smpptest.Config{Dialect: "msisdn"}), Out: io.Discard, Timeout: patience}
		if _, err := player.Play(within(t), script); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
