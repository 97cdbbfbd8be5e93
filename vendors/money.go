package vendors

import (
	"strconv"
	"strings"
)

// parseNaira reads a plain decimal number of naira into kobo, exactly. Zeros after the second
// decimal are allowed ("97.0000"), fractions of a kobo, signs and exponents are not.
func parseNaira(s string) (kobo int64, ok bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > 2 || strings.HasSuffix(s, ".") {
		return 0, false
	}
	return parseKobo(whole + fraction + "00"[len(fraction):])
}

// parseKobo reads a number of kobo. It refuses what no sale of airtime can cost.
func parseKobo(s string) (kobo int64, ok bool) {
	n, err := strconv.ParseUint(s, 10, 53)
	return int64(n), err == nil
}

// naira writes an amount as "100", or as "99.50" when it has kobo.
func naira(kobo int64) string {
	if kobo%100 == 0 {
		return strconv.FormatInt(kobo/100, 10)
	}
	return decimal(kobo)
}

// decimal writes an amount with both decimals: "100.00".
func decimal(kobo int64) string {
	s := strconv.FormatInt(kobo, 10)
	if len(s) < 3 {
		s = "000"[len(s):] + s
	}
	return s[:len(s)-2] + "." + s[len(s)-2:]
}
