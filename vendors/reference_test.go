package vendors

import (
	"regexp"
	"testing"
)

// A reference in another alphabet has only that alphabet, and two of them never become the same.
func FuzzRespell(f *testing.F) {
	f.Add("TXN-0C8M1T5XJ4Q2A", "TXN-0C8M1T5XJ4Q2A-2")
	f.Add("z2d", "-")
	f.Add("zz", "z")
	f.Add("\xff", "\ufffd")
	alphabets := map[string]*regexp.Regexp{
		"alnum":  regexp.MustCompile(`^[0-9A-Za-z]*$`),
		"digits": regexp.MustCompile(`^[0-9]*$`),
		"uuid":   regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`),
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for form, alphabet := range alphabets {
			x, y := respell(a, form), respell(b, form)
			if !alphabet.MatchString(x) {
				t.Errorf("%s of %q is %q", form, a, x)
			}
			if (x == y) != (a == b) {
				t.Errorf("%s: %q and %q become %q and %q", form, a, b, x, y)
			}
		}
	})
}
