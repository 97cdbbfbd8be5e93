package vendors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var sale = values{phone: "2348031234567", amount: 100_00, reference: "TXN-1", network: "MTN", vendorRef: "V-1"}

func TestPlaceholders(t *testing.T) {
	cents := sale
	cents.amount = 99_50
	small := sale
	small.amount = 5
	for _, test := range []struct {
		text string
		v    values
		want string
	}{
		{"{phone|local}", sale, "08031234567"},
		{"{phone|intl}", sale, "2348031234567"},
		{"{phone|plus}", sale, "+2348031234567"},
		{"{amount|naira}", sale, "100"},
		{"{amount|naira}", cents, "99.50"},
		{"{amount|naira}", small, "0.05"},
		{"{amount|decimal}", sale, "100.00"},
		{"{amount|decimal}", small, "0.05"},
		{"{amount|kobo}", cents, "9950"},
		{"NGN {amount|decimal}", sale, "NGN 100.00"},
		{"{network}-{reference}/{vendor_ref}", sale, "MTN-TXN-1/V-1"},
		{"{{reference}} }}{{", sale, "{reference} }{"},
		{"", sale, ""},
	} {
		tpl, err := parseTemplate(test.text, queryOperation.names)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got, err := tpl.write(&test.v); err != nil || got != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.text, got, err, test.want)
		}
	}
}

// readYAML gives the root of a YAML text.
func readYAML(t testing.TB, text string) (value, *Problems) {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	problems := new(Problems)
	return value{problems: problems, node: root.Content[0]}, problems
}

func TestTree(t *testing.T) {
	root, problems := readYAML(t, `
z: "{phone|plus}"
a: [1, -2.50, true, False, null, ~, [], {}, "", "true", "12", yes]
text: "a \"{reference}\" \\ {{x}} </script>"
numbers: ["{amount|naira|number}", "{amount|decimal|number}", "{amount|kobo|number}", "{phone|intl|number}", "{vendor_ref|number}"]
`)
	tr, ok := readTree(root, queryOperation.names)
	if !ok || len(*problems) > 0 {
		t.Fatal(problems)
	}
	v := sale
	v.reference, v.vendorRef, v.amount = `T"1`, "77", 99_50
	got, err := tr.append(nil, &v)
	want := `{"z":"+2348031234567",` +
		`"a":[1,-2.50,true,false,null,null,[],{},"","true","12","yes"],` +
		`"text":"a \"T\"1\" \\ {x} \u003c/script\u003e",` +
		`"numbers":[99.50,99.50,9950,2348031234567,77]}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	v.vendorRef = "V-1" // from the vendor
	if got, err := tr.append(nil, &v); err == nil {
		t.Errorf("got %s", got)
	}
}

func TestFields(t *testing.T) {
	f := fields{vendorRef: []path{{"a"}, {"b"}}, cost: quantity{paths: []path{{"cost"}}}, message: []path{{"m"}}}
	for _, test := range []struct {
		body string
		kobo bool
		ref  string
		cost int64
	}{
		{`{"a":"V-1","b":"V-2","cost":97}`, false, "V-1", 97_00},
		{`{"a":"","b":"V-2","cost":"1,097.50"}`, false, "V-2", 1097_50},
		{`{"a":null,"b":7,"cost":"9750"}`, true, "7", 97_50},
		{`{"cost":"1,009,750"}`, true, "", 10_097_50},
		{`{"cost":"97,00"}`, false, "", 0},
		{`{"cost":"97,50"}`, true, "", 0},
		{`{"cost":"0,097"}`, false, "", 0},
		{`{"cost":"1097,000.50"}`, false, "", 0},
		{`{"cost":"1,097.5,0"}`, false, "", 0},
		{`{"a":{},"b":[],"cost":97.5}`, true, "", 0},
		{`{"a":"` + strings.Repeat("x", 101) + `","cost":true}`, false, "", 0},
		{`{"a":"V\r\n1","cost":null}`, false, "", 0},
		{`[]`, false, "", 0},
		{`null`, false, "", 0},
	} {
		doc, err := decode([]byte(test.body))
		if err != nil {
			t.Fatal(err)
		}
		f.cost.kobo = test.kobo
		cost, _, _ := f.charged(doc, 100_000_00)
		if ref := f.ref(doc); ref != test.ref || cost != test.cost {
			t.Errorf("%s: got %q, %d", test.body, ref, cost)
		}
	}
}

func TestChargedAbsurdly(t *testing.T) {
	f := fields{cost: quantity{paths: []path{{"cost"}}, kobo: true}, commission: quantity{paths: []path{{"fee"}}, kobo: true}}
	for _, test := range []struct {
		body             string
		cost, commission int64
		believed         bool
	}{
		{`{"cost":9700,"fee":300}`, 97_00, 3_00, true},
		{`{"cost":20000}`, 200_00, 0, true},
		{`{"cost":20001}`, 0, 0, false},
		{`{"cost":970000,"fee":300}`, 0, 0, false},
		{`{"cost":-9700}`, 0, 0, true}, // no amount at all
		{`{"fee":10000}`, 0, 100_00, true},
		{`{"fee":10001}`, 0, 0, false},
	} {
		doc, err := decode([]byte(test.body))
		if err != nil {
			t.Fatal(err)
		}
		if cost, commission, believed := f.charged(doc, 100_00); cost != test.cost || commission != test.commission || believed != test.believed {
			t.Errorf("%s: %d, %d, %t", test.body, cost, commission, believed)
		}
	}
}

func TestMoney(t *testing.T) {
	for text, want := range map[string]int64{
		"N50": 50_00, "N50000": 50_000_00, "N50,000": 50_000_00, "N1,234,567": 1_234_567_00, "N50.00": 50_00,
		"N50,00": 0, "N5,0000": 0, "N5000,000": 0, "N,500": 0, "N0,500": 0, "N1,,000": 0, "N500,": 0, "N99.50": 0, "N0": 0, "N": 0, "50": 0,
	} {
		root, problems := readYAML(t, `"`+text+`"`)
		if got, ok := root.money(); got != want || ok != (want > 0) || ok != (len(*problems) == 0) {
			t.Errorf("%s: got %d, %v", text, got, *problems)
		}
	}
}

// Only statuses of which we know that nothing was executed can decline without the vendor's words.
func TestBareStatus(t *testing.T) {
	for status := 100; status < 600; status++ {
		root, problems := readYAML(t, fmt.Sprintf("[{json: {a: b}, then: delivered}, {status: [401, %d], then: declined}]", status))
		readRules(root, vendOperation)
		var want bool
		switch status {
		case 400, 401, 403, 404, 405, 413, 415, 422:
			want = true
		}
		if got := len(*problems) == 0; got != want {
			t.Errorf("%d: loads %t, want %t", status, got, want)
		}
	}
}

func TestUnmatched(t *testing.T) {
	for status, want := range map[int]string{
		200: ReasonUnreadable, 202: ReasonPending, 307: ReasonConfig, 400: ReasonUnreadable, 401: ReasonConfig, 403: ReasonConfig,
		404: ReasonUnreadable, 408: ReasonTimeout, 409: ReasonDuplicate, 429: ReasonBusy, 500: ReasonDown, 503: ReasonDown, 504: ReasonTimeout,
	} {
		if got := unmatched(status); got != want {
			t.Errorf("%d: got %s", status, got)
		}
	}
}

func TestNaira(t *testing.T) {
	for s, want := range map[string]int64{
		"97": 97_00, "97.5": 97_50, "97.05": 97_05, "97.0000": 97_00, "0": 0, ".5": 50, "00097.00": 97_00,
	} {
		if got, ok := parseNaira(s); !ok || got != want {
			t.Errorf("%q: got %d, %t", s, got, ok)
		}
	}
	for _, s := range []string{"97.", ".", "-1", "+1", "1e3", "0x10", "97.005", "97.0.0", "N97", " 97", "97 ", "1_000", "99999999999999999999", "٣"} {
		if got, ok := parseNaira(s); ok {
			t.Errorf("%q: got %d", s, got)
		}
	}
	if got, ok := parseNaira(""); ok && got != 0 {
		t.Errorf("nothing is %d", got)
	}
}

// Whatever a value holds, it stays one value in the place where it stands.
func FuzzEncoding(f *testing.F) {
	f.Add("{reference}", "TXN-1")
	f.Add("a{reference}b", `"},"amount":1,{"`)
	f.Add("{reference}", "..")
	f.Add("{reference}", "a/../b?c=d&e#f%2e")
	f.Add("x {reference}", "a\r\nX-Admin: 1")
	f.Add("{{{reference}", "\xff\x00\u2028</script>")
	f.Add("{reference}{reference}", "=;&+ ")
	f.Fuzz(func(t *testing.T, text, ref string) {
		tpl, err := parseTemplate(text, []string{"reference"})
		if err != nil {
			return
		}
		v := values{reference: ref}
		plain, err := tpl.write(&v)
		if err != nil {
			t.Fatal(err)
		}

		b, err := tree{kind: '{', keys: []string{"a", "z"}, items: []tree{{kind: '"', text: tpl}, {kind: 'l', literal: "1"}}}.append(nil, &v)
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(b, &doc); err != nil || len(doc) != 2 || doc["a"] != strings.ToValidUTF8(plain, "\ufffd") && !strings.Contains(doc["a"].(string), "\ufffd") {
			t.Fatalf("JSON %s: %v", b, err)
		}

		form, err := writeForm([]pair{{name: "a", value: tpl}, {name: "z", value: template{{text: "1"}}}}, &v)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := url.ParseQuery(form); err != nil || len(got) != 2 || len(got["a"]) != 1 || got.Get("a") != plain {
			t.Fatalf("form %s: %v", form, err)
		}

		if h, err := tpl.writeHeader(&v); err == nil {
			var wire bytes.Buffer
			if err := (http.Header{"X-A": {h}}).Write(&wire); err != nil || wire.String() != "X-A: "+h+"\r\n" || h != plain {
				t.Fatalf("header %q", wire.String())
			}
		}

		path, err := append(template{{text: "/v1/"}}, append(template{{name: "reference"}}, part{text: "/state"})...).writePath(&v)
		if err != nil {
			return
		}
		u, err := url.Parse("http://acme.example" + path)
		if err != nil {
			t.Fatal(err)
		}
		if u.Path != "/v1/"+ref+"/state" || u.RawQuery != "" || u.Fragment != "" || strings.Count(u.EscapedPath(), "/") != 3 {
			t.Fatalf("path %s of %q", path, ref)
		}
		if u.JoinPath().EscapedPath() != u.EscapedPath() {
			t.Fatalf("path %s climbs", path)
		}
	})
}

func TestPathValues(t *testing.T) {
	tpl, err := parseTemplate("/a/{vendor_ref}", queryOperation.names)
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"7/..":   "/a/7%2F..",
		"a b?c#": "/a/a%20b%3Fc%23",
		"%2e%2e": "/a/%252e%252e",
		"..":     "",
		".":      "",
		"":       "",
	} {
		v := values{vendorRef: ref}
		if got, err := tpl.writePath(&v); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", ref, got, err)
		}
	}
}

func TestHeaderValues(t *testing.T) {
	for _, s := range []string{"a\rb", "a\nb", "a\x00b", "a\tb", "ä", " a", "a ", "\x7f"} {
		v := values{reference: s}
		if got, err := (template{{name: "reference"}}).writeHeader(&v); err == nil {
			t.Errorf("%q: got %q", s, got)
		}
	}
}

// No answer makes the rules panic, and none that is not exactly so is a delivery.
func FuzzRules(f *testing.F) {
	root, problems := readYAML(f, `
- {status: 200, json: {status: success, data.status: success}, then: delivered}
- {status: [2xx, 400], json: {data.items.0: {empty: true}, code: [1, null]}, then: pending}
- {status: 4xx, json: {error.code: [A, "7", true]}, then: declined, final: true}
`)
	rules := readRules(root, vendOperation)
	if len(*problems) > 0 {
		f.Fatal(problems)
	}
	f.Add(200, []byte(`{"status":"success","data":{"status":"success"}}`))
	f.Add(200, []byte(`{"status":"success","data":null}`))
	f.Add(400, []byte(`{"data":{"items":[[]]},"code":null}`))
	f.Add(402, []byte(`{"error":{"code":7}}`))
	f.Add(402, []byte(`[{"error":7}]`))
	f.Add(404, []byte(`{"error":{"code":true}} x`))
	f.Add(200, []byte("\ufeff{}"))
	f.Add(500, []byte(`1e999`))
	f.Add(200, []byte(`{"a":[{},{"b":"\ud800"}],"\u0061b":1,}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		doc, err := decode(body)
		if err == nil {
			dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
			dec.UseNumber()
			var plain any
			if err := dec.Decode(&plain); err != nil || !reflect.DeepEqual(doc, plain) {
				t.Fatalf("%q is %v, not %v, %v", body, doc, plain, err)
			}
		}
		a := answer{status: status, doc: doc, parseErr: err}
		got, i := judge(rules, &a, &sale)
		if again, _ := judge(rules, &a, &sale); again != got {
			t.Fatal("two verdicts")
		}
		if i < 0 && got != (verdict{}) {
			t.Fatalf("no match, but %+v", got)
		}
		if got.outcome == Delivered {
			var m struct {
				Status string
				Data   struct{ Status string }
			}
			if err := json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &m); err != nil && !strings.Contains(err.Error(), "cannot unmarshal") || status != 200 {
				t.Fatalf("delivered by %d %q: %v", status, body, err)
			}
			if !bytes.Contains(body, []byte("status")) && !bytes.Contains(body, []byte(`\u`)) {
				t.Fatalf("delivered by %q", body)
			}
		}
		f := fields{vendorRef: []path{{"data", "items", "0"}, {"ref"}}, cost: quantity{paths: []path{{"cost"}}}, message: []path{{"0"}}}
		if ref := f.ref(doc); len(ref) > 100 || !headerText(ref) {
			t.Fatalf("reference %q", ref)
		}
		if cost, _, _ := f.charged(doc, 100_00); cost < 0 || cost > 200_00 {
			t.Fatal("absurd cost")
		}
	})
}

func TestConditions(t *testing.T) {
	doc, err := decode([]byte(`{"s":"x","n":7,"big":12345678901234567890.10,"t":true,"null":null,"es":"","el":[],"eo":{},"l":[{"a":1},[2]],"o":{"0":"zero"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := func(s ...string) condition { return condition{want: s} }
	for _, test := range []struct {
		path string
		c    condition
		want bool
	}{
		{"s", want("x"), true},
		{"s", want("X"), false},
		{"s", want("a", "x"), true},
		{"n", want("7"), true},
		{"n", want("7.0"), false},
		{"big", want("12345678901234567890.10"), true},
		{"t", want("true"), true},
		{"l.0.a", want("1"), true},
		{"l.1.0", want("2"), true},
		{"o.0", want("zero"), true},
		{"l", want("1"), false},
		{"l.2", want(""), false},
		{"l.-1", want("2"), false},
		{"l.x", want(""), false},
		{"s.x", want("x"), false},
		{"null", want("", "null"), false},
		{"null", condition{null: true}, true},
		{"null.x", condition{null: true}, false},
		{"missing", condition{null: true}, false},
		{"missing", want(""), false},
		{"missing", condition{empty: true}, false},
		{"null", condition{empty: true}, false},
		{"n", condition{empty: true}, false},
		{"l", condition{empty: true}, false},
		{"es", condition{empty: true}, true},
		{"el", condition{empty: true}, true},
		{"eo", condition{empty: true}, true},
		{"es", want(""), true},
	} {
		test.c.path = strings.Split(test.path, ".")
		if got := test.c.matches(doc, &sale); got != test.want {
			t.Errorf("%s %+v: %t", test.path, test.c, got)
		}
	}
}

// The short way to write a string is json.Marshal's, for every character.
func TestAppendString(t *testing.T) {
	for r := rune(0); r <= 0x2100; r++ {
		for _, s := range []string{string(r), "a" + string(r) + "b"} {
			want, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			if got := appendString([]byte("x"), s); string(got) != "x"+string(want) {
				t.Errorf("%q: %s, want %s", s, got[1:], want)
			}
		}
	}
	for _, s := range []string{"", "\xff", "a\xffb", "+2348031234567"} {
		if want, _ := json.Marshal(s); string(appendString(nil, s)) != string(want) {
			t.Errorf("%q: %s, want %s", s, appendString(nil, s), want)
		}
	}
}
