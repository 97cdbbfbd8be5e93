package vendors_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ussdd/vendors"
)

func presets(t testing.TB) *vendors.Set {
	t.Helper()
	set, err := vendors.Load(vendors.Presets(), vendors.Options{Secrets: func(name string) (string, bool) {
		return "none", !strings.HasSuffix(name, "-next")
	}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Each file of testdata/presets has answers of a real provider, and what each must mean.
func TestPresetAnswers(t *testing.T) {
	set := presets(t)
	for _, v := range set.Vendors() {
		t.Run(v.Vendor, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", "presets", v.Vendor+".http"))
			if err != nil {
				t.Fatal(err)
			}
			e, _ := set.Endpoint(v.Vendor, "mtn")
			sections := strings.Split("\n"+string(data), "\n== ")[1:]
			if len(sections) < 7 {
				t.Errorf("only %d answers", len(sections))
			}
			for i, section := range sections {
				want, raw, _ := strings.Cut(section, "\n")
				raw, _, _ = strings.Cut(raw, "\n#") // about the next one
				op, _, _ := strings.Cut(want, " ")
				r := hundred("mtn")
				if want == "vend delivered ref=17416142437285831735440002 cost=485" {
					r.Amount = 5_00
				}
				verdict, err := e.Judge(vendors.Operation(op), r, "V-1", []byte(strings.TrimRight(raw, "\n")))
				if err != nil {
					t.Fatal(err)
				}
				if got := told(op, verdict); got != want {
					t.Errorf("%d: got %s, want %s: %+v", i+1, got, want, verdict)
				}
				if unmatched := strings.Contains(verdict.Result.Detail+verdict.Finding.Detail, "no rule matches"); unmatched && verdict.Rule != "" {
					t.Errorf("%d: %s does and does not match", i+1, verdict.Rule)
				}
			}
		})
	}
}

func told(op string, v vendors.Verdict) string {
	words := []string{op}
	ref, cost := "", int64(0)
	switch op {
	case "vend":
		words = append(words, v.Result.Outcome.String(), v.Result.Reason)
		if v.Result.Final {
			words = append(words, "final")
		}
		ref, cost = v.Result.VendorRef, v.Result.Cost
	case "query":
		words = append(words, v.Finding.State.String(), v.Finding.Reason)
		ref, cost = v.Finding.VendorRef, v.Finding.Cost
	default:
		if !v.Known {
			words = append(words, "unknown")
		} else {
			words = append(words, "known", fmt.Sprint(v.Float))
		}
	}
	if ref != "" {
		words = append(words, "ref="+ref)
	}
	if cost != 0 {
		words = append(words, fmt.Sprint("cost=", cost))
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

// What Judge makes of the answers of the vendors that have been tried over the wire is the same.
func TestJudgeIsWhatVendDoes(t *testing.T) {
	set, err := vendors.Load(vendors.Builtin(), vendors.Options{})
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("testdata/answers/*.http")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		e := endpoint(t, set, strings.TrimSuffix(filepath.Base(name), ".http"))
		for i, section := range strings.Split("\n"+string(data), "\n== ")[1:] {
			want, raw, _ := strings.Cut(section, "\n")
			raw, _, _ = strings.Cut(raw, "\n#")
			op, _, _ := strings.Cut(want, " ")
			verdict, err := e.Judge(vendors.Operation(op), hundred(e.Network()), "", []byte(strings.TrimRight(raw, "\n")))
			if err != nil {
				t.Errorf("%s %d: %v", name, i+1, err)
			} else if got := told(op, verdict); got != want {
				t.Errorf("%s %d: got %s, want %s", name, i+1, got, want)
			}
		}
	}
}

// Every preset's reference can be made, now and for every network, and every call be rendered.
func TestPresetPreviews(t *testing.T) {
	set := presets(t)
	for _, e := range set.Endpoints() {
		ref, err := e.Reference("TXN-0C8M1T5XJ4Q2A-12", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r := hundred(e.Network())
		r.Reference = ref
		for _, op := range []vendors.Operation{vendors.OpVend, vendors.OpQuery} {
			text, err := e.Preview(op, r, "V-1")
			if err != nil || !strings.Contains(text, "[") {
				t.Errorf("%s %s: %v\n%s", e.Name(), op, err, text)
			}
		}
	}
}

// No saved answer makes the rules of a real file panic, and none settles a sale but by its words.
func FuzzJudge(f *testing.F) {
	set := presets(f)
	names, err := filepath.Glob("testdata/*/*.http")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, section := range strings.Split("\n"+string(data), "\n== ")[1:] {
			_, raw, _ := strings.Cut(section, "\n")
			f.Add([]byte(raw))
		}
	}
	var endpoints []*vendors.Endpoint
	for _, e := range set.Endpoints() {
		if e.Network() == "mtn" {
			endpoints = append(endpoints, e)
		}
	}
	f.Fuzz(func(t *testing.T, saved []byte) {
		for _, e := range endpoints {
			for _, op := range []vendors.Operation{vendors.OpVend, vendors.OpQuery} {
				v, err := e.Judge(op, hundred("mtn"), "V-1", saved)
				if err != nil {
					continue
				}
				for _, detail := range []string{v.Result.Detail, v.Finding.Detail} {
					if len(detail) > 200 || strings.ContainsAny(detail, "\r\n") {
						t.Fatalf("detail %q", detail)
					}
				}
				if v.Result.Cost < 0 || v.Finding.Cost < 0 || v.Result.Float < 0 {
					t.Fatalf("%+v", v)
				}
				settled := v.Result.Outcome == vendors.Delivered || v.Finding.State == vendors.FoundDelivered || v.Finding.State == vendors.NotFound
				if settled && v.Rule == "" {
					t.Fatalf("settled by no rule: %+v", v)
				}
			}
		}
	})
}
