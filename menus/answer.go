package menus

import (
	"strings"
	"unicode/utf8"
)

// kind of answer that an input screen reads.
const (
	readMSISDN = "msisdn"
	readMoney  = "money"
	readDigits = "digits"
	readText   = "text"
)

// input is what an input screen takes. Immutable.
type input struct {
	reads          string
	store          string
	min, max, step int64 // kobo, or characters
	secret         bool
}

// variable is the type of what the input stores.
func (in *input) variable() Var {
	switch {
	case in.secret:
		return Var{Type: TypeSecret}
	case in.reads == readMSISDN:
		return Var{Type: TypeMSISDN, Width: nigerianWidth}
	case in.reads == readMoney:
		widest := in.max
		if in.min%100 != 0 || in.step%100 != 0 {
			widest = in.max/100*100 + 99
		}
		return Var{Type: TypeMoney, Width: len(appendNaira(nil, widest))}
	}
	return Var{Type: TypeText, Width: int(in.max)}
}

// read returns the value of an answer, and false if it is none.
func (in *input) read(answer string) (Value, bool) {
	switch in.reads {
	case readMSISDN:
		number, ok := ParseMSISDN(answer)
		return MSISDN(number), ok
	case readMoney:
		kobo, ok := ParseMoney(answer)
		return Money(kobo), ok && kobo >= in.min && kobo <= in.max && kobo%in.step == 0
	case readDigits:
		value := Text(answer)
		if in.secret {
			value.kind = TypeSecret
		}
		return value, isDigits(answer) && int64(len(answer)) >= in.min && int64(len(answer)) <= in.max
	}
	answer = strings.TrimSpace(clean(answer))
	n := int64(utf8.RuneCountInString(answer))
	return Text(answer), n >= in.min && n <= in.max
}

// ParseMSISDN reads a Nigerian mobile number in any of its spellings, 08031234567,
// 8031234567, 2348031234567, 23408031234567, with +, 00 or 009 before the 234, and
// with spaces or punctuation inside, and returns it as 2348031234567.
func ParseMSISDN(s string) (string, bool) {
	var digits [20]byte
	n, plus := 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			if n == len(digits) {
				return "", false
			}
			digits[n] = c
			n++
		case c == '+' && n == 0 && !plus:
			plus = true
		case strings.IndexByte(" -().", c) < 0:
			return "", false
		}
	}
	number := string(digits[:n])
	abroad := plus
	if rest, ok := strings.CutPrefix(number, "009234"); ok && !plus {
		number, abroad = "234"+rest, true
	} else if rest, ok := strings.CutPrefix(number, "00234"); ok && !plus {
		number, abroad = "234"+rest, true
	}
	switch {
	case len(number) == 13 && strings.HasPrefix(number, "234"):
		number = number[3:]
	case len(number) == 14 && strings.HasPrefix(number, "2340"):
		number = number[4:]
	case abroad:
		return "", false
	case len(number) == 11 && number[0] == '0':
		number = number[1:]
	}
	if len(number) != 10 {
		return "", false
	}
	switch number[:2] {
	case "70", "80", "81", "90", "91":
	default:
		return "", false
	}
	if number[:3] == "800" { // toll-free
		return "", false
	}
	return "234" + number, true
}

// maxKobo bounds every amount that a file or a subscriber can name: N10,000,000,000.
const maxKobo = 1_000_000_000_000

// ParseMoney reads naira as a subscriber types them, 100, 1,000, 99.50, N100, and
// returns kobo.
func ParseMoney(s string) (int64, bool) {
	for _, sign := range []string{"N", "n", "₦"} {
		if rest, ok := strings.CutPrefix(s, sign); ok {
			s = strings.TrimLeft(rest, " ")
			break
		}
	}
	whole, cents, fraction := strings.Cut(s, ".")
	groups := strings.Split(whole, ",")
	for i, group := range groups {
		if !isDigits(group) || len(groups) > 1 && (i == 0 && len(group) > 3 || i > 0 && len(group) != 3) {
			return 0, false
		}
	}
	var kobo int64
	for _, c := range []byte(whole) {
		if c == ',' {
			continue
		}
		if kobo = kobo*10 + int64(c-'0'); kobo > maxKobo/100 {
			return 0, false
		}
	}
	kobo *= 100
	if fraction {
		if len(cents) != 2 || !isDigits(cents) {
			return 0, false
		}
		kobo += int64(cents[0]-'0')*10 + int64(cents[1]-'0')
	}
	return kobo, true
}
