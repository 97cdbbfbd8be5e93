package vendors

import (
	"regexp"
	"strconv"
	"strings"
)

var grouped = regexp.MustCompile(`^[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?$`)

// ungroup takes the commas out of an amount like 1,000.50. Commas that make no groups of three
// stay, so that no amount is read out of them: "97,00" is not 9,700.
func ungroup(s string) string {
	if grouped.MatchString(s) {
		return strings.ReplaceAll(s, ",", "")
	}
	return s
}

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
