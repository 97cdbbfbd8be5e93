package vendors_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"ussdd/vendors"
)

var update = flag.Bool("update", false, "rewrite the wanted problems in testdata/bad")

// acme is a small vendor that the tests put their own words into.
const acme = `vendor: acme
base: http://127.0.0.1:1
auth: none
networks: {mtn: {code: MTN}}
vend:
  method: POST
  path: /topups
  json: {to: "{phone|intl}", kobo: "{amount|kobo}", ref: "{reference}"}
  rules:
    - {status: 200, json: {state: DONE}, then: delivered}
    - {json: {state: WORKING}, then: pending}
    - {json: {state: BAD_NUMBER}, then: declined, reason: bad_number, final: true}
    - {json: {state: NO_FLOAT}, then: declined, reason: float}
    - {json: {state: CLOSED}, then: declined, reason: down}
    - {json: {state: SEEN}, then: pending, reason: duplicate}
  fields: {vendor_ref: id, cost: {path: cost, unit: naira}, message: text}
query:
  method: GET
  path: /topups/{reference}
  rules:
    - {json: {state: DONE}, then: delivered}
    - {json: {state: FAILED}, then: failed}
    - {json: {state: WORKING}, then: pending}
    - {json: {state: UNKNOWN}, then: not_found}
  fields: {vendor_ref: id, cost: {path: cost, unit: naira}, message: text}
`

const routes = `networks:
  mtn: {name: MTN, min: N50, max: "N50,000", route: [acme]}
`

// files makes a file system of name, text, name, text…
func files(texts ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(texts); i += 2 {
		fsys[texts[i]] = &fstest.MapFile{Data: []byte(texts[i+1])}
	}
	return fsys
}

func secrets(name string) (string, bool) {
	value, ok := map[string]string{"acme-key": "open/se same+1", "two-lines": "a\r\nb", "twice": "1", "twice-next": "2"}[name]
	return value, ok
}

// Each file of testdata/bad has one mistake, and at its end the problems that Load must report
// for it: "# want LINE: path: text".
func TestProblems(t *testing.T) {
	names, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(names) < 50 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text, wants, _ := strings.Cut(string(data), "# want ")
			want := ""
			if wants != "" {
				want = "# want " + wants
			}
			file, set := "acme.yaml", files("routes.yaml", routes, "acme.yaml", text)
			if strings.HasPrefix(filepath.Base(name), "routes-") {
				file, set = "routes.yaml", files("routes.yaml", text, "acme.yaml", acme)
			}
			_, err = vendors.Load(set, vendors.Options{Secrets: secrets})
			var problems vendors.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v is no Problems", err)
			}
			got := ""
			for _, line := range strings.Split(problems.Error(), "\n") {
				got += "# want " + strings.TrimSpace(strings.TrimPrefix(line, file+":")) + "\n"
			}
			if *update {
				if err := os.WriteFile(name, []byte(text+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestBuiltin(t *testing.T) {
	set, err := vendors.Load(vendors.Builtin(), vendors.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, n := range set.Networks() {
		got += fmt.Sprintf("%s %s %d-%d:", n.ID, n.Name, n.Min, n.Max)
		for _, e := range set.Route(n.ID) {
			grace, times, ok := e.NotFoundFinal()
			got += fmt.Sprintf(" %s (%s, %d, %t)", e.Name(), grace, times, ok)
		}
		got += "\n"
	}
	want := `mtn MTN 5000-5000000: mtn/mtn (10s, 3, true) quickvend/mtn (10s, 3, true)
airtel Airtel 5000-5000000: airtel/airtel (10s, 3, true) topline/airtel (10s, 3, true)
glo Glo 5000-5000000: glo/glo (10s, 3, true) quickvend/glo (10s, 3, true)
9mobile 9mobile 5000-5000000: 9mobile/9mobile (10s, 3, true) topline/9mobile (10s, 3, true)
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if set.Route("etisalat") != nil {
		t.Error("a route of an unknown network")
	}
	if _, ok := set.Endpoint("mtn", "glo"); ok {
		t.Error("MTN sells Glo")
	}
	if _, ok := set.Endpoint("vtpass", "mtn"); ok {
		t.Error("an endpoint of an unknown vendor")
	}
	if e, ok := set.Endpoint("quickvend", "airtel"); !ok || e.Vendor() != "quickvend" || e.Network() != "airtel" {
		t.Error("no endpoint beside the route")
	}
}

func TestURLs(t *testing.T) {
	for _, test := range []struct {
		urls map[string]string
		want string
	}{
		{map[string]string{"acme": "https://acme.example/v1/"}, ""},
		{map[string]string{"acne": "http://127.0.0.1"}, "urls.acne: there is no such vendor"},
		{map[string]string{"acme.token": "http://127.0.0.1"}, "urls.acme.token: the vendor's file has no auth.token"},
		{map[string]string{"acne.token": "http://127.0.0.1"}, "urls.acne.token: there is no such vendor"},
		{map[string]string{"acme": "127.0.0.1:80"}, "urls.acme: must be an http or https URL without user, query and fragment"},
	} {
		set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", acme), vendors.Options{URLs: test.urls})
		if (err == nil) != (test.want == "") || err != nil && err.Error() != test.want || (set == nil) != (err != nil) {
			t.Errorf("%v: %v", test.urls, err)
		}
	}
}

func TestProblemsOfASet(t *testing.T) {
	for _, test := range []struct {
		name  string
		files fstest.MapFS
		want  string
	}{
		{"no files", files(), "routes.yaml: open routes.yaml: file does not exist"},
		{"no routes", files("acme.yaml", acme), "routes.yaml: open routes.yaml: file does not exist"},
		{"a vendor twice", files("acme.yaml", acme, "b.yaml", acme, "routes.yaml", routes), `b.yaml:1: vendor: vendor "acme" is there twice`},
		{"too large", files("acme.yaml", acme, "b.yaml", strings.Repeat("#", 1<<20+1), "routes.yaml", routes), "b.yaml: the file is larger than 1048576 bytes"},
		{"a .yml", files("acme.yml", acme, "routes.yaml", routes), "acme.yml: name it .yaml"},
		{"several", files("acme.yaml", strings.Replace(acme, "auth: none", "auth: some", 1), "b.yaml", "x", "routes.yaml", strings.Replace(routes, "N50,", "50,", 1)),
			`acme.yaml:3: auth: must be none, or a mapping with header, headers, bearer, basic, token or sign
b.yaml:1: must be a mapping
routes.yaml:2: networks.mtn.min: must be an amount of whole naira like N50 or "N1,000"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := vendors.Load(test.files, vendors.Options{}); err == nil || err.Error() != test.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

// No file makes Load, or what it loads, panic; and each problem says where it is.
func FuzzLoad(f *testing.F) {
	f.Add(acme)
	for _, dir := range []string{"builtin/*.yaml", "builtin/presets/*.yaml", "testdata/bad/*.yaml"} {
		names, err := filepath.Glob(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	opt := vendors.Options{
		Secrets: secrets,
		Dial:    func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed },
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, fsys := range []fstest.MapFS{files("routes.yaml", routes, "acme.yaml", text), files("routes.yaml", text, "acme.yaml", acme)} {
			set, err := vendors.Load(fsys, opt)
			if err != nil {
				var problems vendors.Problems
				if !errors.As(err, &problems) || set != nil {
					t.Fatal(err)
				}
				for _, p := range problems {
					if p.File == "" || p.Text == "" || p.Line < 0 {
						t.Fatalf("%+v", p)
					}
				}
				continue
			}
			for _, e := range set.Endpoints() {
				if r := e.Vend(context.Background(), hundred(e.Network())); r.Sent || r.Outcome == vendors.Delivered {
					t.Fatalf("%+v", r)
				}
				if f := e.Query(context.Background(), hundred(e.Network()), "V-1"); f.State != vendors.Unknown {
					t.Fatalf("%+v", f)
				}
			}
		}
	})
}
