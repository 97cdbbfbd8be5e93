package menus_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"ussdd/menus"
)

const shop = `service: shop
codes: ["*777#", "*777*1#"]
start: main
texts: {invalid: wrong, tries: too many, expired: gone, busy: busy}
screens:
  main: {kind: menu, text: Hello, options: [{key: "1", label: Go, goto: bye}]}
  bye: {kind: end, text: Bye}
`

// Each file of testdata has one kind of mistake, and ends with what is to be said
// about it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, path := range files {
		file := filepath.Base(path)
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(source)) {
				if text, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSuffix(text, "\n"))
				}
			}
			_, err = menus.Load(fstest.MapFS{file: {Data: source}}, options)
			if err == nil {
				t.Fatalf("no problem found, want\n%s", strings.Join(want, "\n"))
			}
			if got := err.Error(); got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
		})
	}
}

// What fits one link may be too long, or not in the alphabet, on another.
func TestEveryMediumIsChecked(t *testing.T) {
	load := func(text string, media ...menus.Medium) string {
		t.Helper()
		_, err := menus.Load(fstest.MapFS{"shop.yaml": {Data: []byte(strings.Replace(shop, "Bye", text, 1))}},
			menus.Options{Actions: actions, Medium: media[0], Others: media[1:]})
		return fmt.Sprint(err)
	}
	long, foreign := strings.Repeat("x", 90), "\u4e2d"
	for _, test := range []struct {
		text  string
		media []menus.Medium
		want  string
	}{
		{long, []menus.Medium{handset}, "<nil>"},
		{long, []menus.Medium{handset, unicode{100}}, "<nil>"},
		{long, []menus.Medium{handset, unicode{80}}, "90 units of 80"},
		{long, []menus.Medium{unicode{80}, handset}, "90 units of 80"},
		{foreign, []menus.Medium{unicode{80}}, "<nil>"},
		{foreign, []menus.Medium{unicode{80}, unicode{70}}, "<nil>"},
		{foreign, []menus.Medium{unicode{80}, handset}, "not in the alphabet"},
	} {
		if got := load(test.text, test.media...); !strings.Contains(got, test.want) || strings.Contains(got, "\n") {
			t.Errorf("%.5s… on %v: got %s, want %s", test.text, test.media, got, test.want)
		}
	}
}

func TestProblemsOfTwoFiles(t *testing.T) {
	other := strings.Replace(shop, `"*777#", `, "", 1)
	_, err := menus.Load(fstest.MapFS{
		"b.yaml":     {Data: []byte(other)},
		"a.yaml":     {Data: []byte(strings.Replace(shop, "goto: bye", "goto: by", 1))},
		"folder":     {Mode: fs.ModeDir},
		"c.yml":      {Data: []byte(shop)},
		"notes.txt":  {Data: []byte("not a service")},
		"big.yaml":   {Data: []byte(shop + strings.Repeat("#\n", 1<<17))},
		"d.yaml/sub": {Data: []byte("x")},
	}, options)
	want := []string{
		`a.yaml:6: no screen "by"`,
		`b.yaml:1: service "shop" is in a.yaml already`,
		`b.yaml:2: code "*777*1#" is in a.yaml already`,
		`big.yaml: the file is longer than 262144 bytes`,
		`c.yml: name it .yaml`,
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
	if first := problems(t, err)[0]; first.File != "a.yaml" || first.Line != 6 || first.Path != "screens.main.options[0].goto" {
		t.Errorf("first problem is %+v", first)
	}
}

func TestNothingToLoad(t *testing.T) {
	if _, err := menus.Load(fstest.MapFS{}, options); err == nil || err.Error() != "list services: no *.yaml file" {
		t.Errorf("error is %v", err)
	}
	if _, err := menus.Load(fstest.MapFS{"a.yml": {}}, options); err == nil || err.Error() != "a.yml: name it .yaml" {
		t.Errorf("error is %v", err)
	}
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "lost.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := menus.Load(os.DirFS(dir), options); err == nil || err.Error() != "lost.yaml: open lost.yaml: no such file or directory" {
		t.Errorf("error is %v", err)
	}
	if _, err := menus.Load(os.DirFS(filepath.Join(dir, "gone")), options); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

// A program that declares its actions wrongly is told at once.
func TestWrongOptions(t *testing.T) {
	load := func(opt menus.Options) error {
		_, err := menus.Compile([]byte(shop), "shop.yaml", opt)
		if _, again := menus.Load(menus.Builtin(), opt); fmt.Sprint(again) != fmt.Sprint(err) {
			t.Errorf("Compile says\n%v\nand Load\n%v", err, again)
		}
		return err
	}
	if err := load(menus.Options{}); err == nil || err.Error() != "menus: Options without a Medium" {
		t.Errorf("error is %v", err)
	}
	err := load(menus.Options{Medium: handset, Actions: map[string]menus.ActionSpec{
		"Buy": {Outcomes: []string{"ok"}},
		"pay": {
			Params:  map[string]menus.Type{"to": 0},
			Gives:   map[string]menus.Var{"caller": {Type: menus.TypeMSISDN}, "ref": {Type: menus.TypeText}, "pin": {Type: menus.TypeSecret}},
			Reasons: map[string][]string{"failed": {"why"}},
			Lists:   map[string]map[string]menus.Var{"rows": {"n": {Type: menus.TypeMoney, Width: 201}}},
		},
		"read": {
			Outcomes: []string{"ok"},
			Gives:    map[string]menus.Var{"ref": {Type: menus.TypeText, Width: 5, On: []string{"done"}}},
			Lists:    map[string]map[string]menus.Var{"rows": {"n": {Type: menus.TypeMoney, Width: 20}}},
		},
	}})
	want := `menus: action Buy: not a name
menus: action pay: no outcomes
menus: action pay: reasons of an unknown outcome failed
menus: action pay: parameter to: no type
menus: action pay: caller: not a name
menus: action pay: pin: not a type to give
menus: action pay: ref: a width is 1 to 200
menus: action pay: rows.n: a width is 1 to 200
menus: action read: ref: unknown outcome done
menus: action read: list rows has other fields in another action`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestMatch(t *testing.T) {
	file := func(name, codes string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(strings.NewReplacer("service: shop", "service: "+name, `["*777#", "*777*1#"]`, codes).Replace(shop))}
	}
	catalogue, err := menus.Load(fstest.MapFS{
		"a.yaml": file("wide", `["*777#", "*8#"]`),
		"b.yaml": file("narrow", `["*777*1#"]`),
	}, options)
	if err != nil {
		t.Fatal(err)
	}
	for dialled, want := range map[string]string{
		"*777#": "wide", "*777*2#": "wide", "*777*2*08012345678#": "wide", "*777*11#": "wide", "*777**#": "wide", "*8#": "wide",
		"*777*1#": "narrow", "*777*1*5#": "narrow",
		"*77#": "", "*7777#": "", "*777": "", "777#": "", "#": "", "": "", "*#": "", "**777#": "", "*9*777#": "",
	} {
		service, ok := catalogue.Match(dialled)
		if got := name(service); got != want || ok != (want != "") {
			t.Errorf("%q reaches %q, want %q", dialled, got, want)
		}
	}
	var names []string
	for _, service := range catalogue.Services() {
		names = append(names, service.Name())
		if same, ok := catalogue.Service(service.Name(), service.Version()); !ok || same != service {
			t.Errorf("%s is not found by name and version", service.Name())
		}
		if _, ok := catalogue.Service(service.Name(), "000000000000"); ok {
			t.Errorf("%s is found under another version", service.Name())
		}
	}
	if !slices.Equal(names, []string{"narrow", "wide"}) {
		t.Errorf("services are %v", names)
	}
}

func name(s *menus.Service) string {
	if s == nil {
		return ""
	}
	return s.Name()
}

func TestServiceTellsWhatItIs(t *testing.T) {
	service := compile(t, shop)
	if got := service.Version(); got != "59576d126c73" {
		t.Errorf("version of the same bytes is now %s", got)
	}
	if again := compile(t, shop); again.Version() != service.Version() {
		t.Error("the same source has two versions")
	}
	if other := compile(t, shop+"# a comment\n"); other.Version() == service.Version() {
		t.Error("another source has the same version")
	}
	if !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(airtime(t).Version()) {
		t.Errorf("version is %q", airtime(t).Version())
	}
	if got := service.Codes(); !slices.Equal(got, []string{"*777#", "*777*1#"}) {
		t.Errorf("codes are %v", got)
	}
	if string(service.Source()) != shop {
		t.Error("the source is another one")
	}
	for text, want := range map[string]string{"invalid": "wrong", "tries": "too many", "expired": "gone", "busy": "busy", "other": ""} {
		if got := service.Text(text); got != want {
			t.Errorf("text %s is %q, want %q", text, got, want)
		}
	}
}

// A file can be only so big, whatever it holds.
func TestBounds(t *testing.T) {
	compile := func(source string) string {
		_, err := menus.Compile([]byte(source), "big.yaml", options)
		if err == nil {
			return ""
		}
		return err.Error()
	}
	var screens, sets strings.Builder
	for i := range 501 {
		fmt.Fprintf(&screens, "  s%d: {kind: menu, text: \"{caller}\", options: [{key: \"1\", label: Go, goto: s%d}, {key: \"2\", label: Go, goto: bye}]}\n", i, (i+1)%501)
	}
	head := strings.Replace(shop, "goto: bye", "goto: s0", 1)
	if got, want := compile(head+screens.String()), "big.yaml:506: more than 500 screens"; !strings.HasPrefix(got, want) {
		t.Errorf("501 screens: %.200s", got)
	}
	for i := range 201 {
		fmt.Fprintf(&sets, ", v%d: x", i)
	}
	got := compile(strings.Replace(shop, "goto: bye", "set: {"+sets.String()[2:]+"}, goto: bye", 1))
	if want := "big.yaml:6: more than 200 variables"; got != want {
		t.Errorf("201 variables: %s", got)
	}
	if got := compile(strings.Repeat("[", 100_000)); !strings.HasPrefix(got, "big.yaml:1: not YAML: ") {
		t.Errorf("a deep file: %.200s", got)
	}
}
