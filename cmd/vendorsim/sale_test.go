package main

import "testing"

func TestPurchaseOf(t *testing.T) {
	for reference, want := range map[string]string{
		"TXN-0E2F4A7QXK9M1":    "TXN-0E2F4A7QXK9M1",
		"TXN-0E2F4A7QXK9M1-2":  "TXN-0E2F4A7QXK9M1",
		"TXN-0E2F4A7QXK9M1-12": "TXN-0E2F4A7QXK9M1",
		"TXN-0123456789012":    "TXN-0123456789012", // an id may happen to be all digits
		"TXN-7K-":              "TXN-7K-",
		"TXN-7K-x":             "TXN-7K-x",
		"-2":                   "-2",
		"2":                    "2",
		"":                     "",
	} {
		if got := purchaseOf(reference); got != want {
			t.Errorf("purchaseOf(%q) = %q, want %q", reference, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	cases := []struct {
		text                 string
		local, international string
	}{
		{"08031234567", "2348031234567", ""},
		{"07031234567", "2347031234567", ""},
		{"09131234567", "2349131234567", ""},
		{"2348131234567", "", "2348131234567"},
		{"2349031234567", "", "2349031234567"},
		{"8031234567", "", ""},
		{"+2348031234567", "", ""},
		{"09231234567", "", ""},
		{"2348231234567", "", ""},
		{"0803123456", "", ""},
		{"080312345678", "", ""},
		{"0803123456a", "", ""},
		{"0803 123 4567", "", ""},
		{"", "", ""},
	}
	for _, c := range cases {
		if got := local(c.text); got != c.local {
			t.Errorf("local(%q) = %q, want %q", c.text, got, c.local)
		}
		if got := international(c.text); got != c.international {
			t.Errorf("international(%q) = %q, want %q", c.text, got, c.international)
		}
	}
}

func TestNaira(t *testing.T) {
	for text, want := range map[string]int64{
		"100": 100_00, "100.5": 100_50, "100.05": 100_05, "0.01": 1, "0": 0, "000100": 100_00,
		"999999999999.99": 99_999_999_999_999,
		"1000000000000":   0, "1.": 0, ".5": 0, "1.005": 0, "-1": 0, "+1": 0, "1e2": 0, "1,000": 0, "N100": 0, " 1": 0, "1.2.3": 0, "": 0, `"100"`: 0,
	} {
		if got := naira(text); got != want {
			t.Errorf("naira(%q) = %d, want %d", text, got, want)
		}
	}
}

// Whatever naira accepts, it reads exactly.
func FuzzNaira(f *testing.F) {
	for _, seed := range []string{"100", "99.50", "0.1", "1e3", "-5", "999999999999.99"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		kobo := naira(text)
		if kobo < 0 {
			t.Fatalf("naira(%q) = %d", text, kobo)
		}
		if again := naira(inNaira(kobo)); again != kobo {
			t.Fatalf("naira(%q) = %d, but naira(%q) = %d", text, kobo, inNaira(kobo), again)
		}
	})
}

func TestMask(t *testing.T) {
	for msisdn, want := range map[string]string{"2348031234567": "234803***4567", "0803": "***", "": "***"} {
		if got := mask(msisdn); got != want {
			t.Errorf("mask(%q) = %q, want %q", msisdn, got, want)
		}
	}
}

// Every fault has a number that asks for it, but for those that no purchase meets.
func TestFaultOf(t *testing.T) {
	for f, known := range faults {
		if parsed, err := parseFault(known.name); err != nil || parsed != fault(f) {
			t.Errorf("parseFault(%q) = %v, %v", known.name, parsed, err)
		}
		if known.suffix == "" {
			continue
		}
		if got := faultOf("234803123" + known.suffix); got != fault(f) {
			t.Errorf("%s asks for %v, want %v", known.suffix, got, fault(f))
		}
	}
	for _, number := range []string{"2348031234567", "2348031239000", "2348031239014", "901", ""} {
		if got := faultOf(number); got != faultNone {
			t.Errorf("%q asks for %v", number, got)
		}
	}
}
