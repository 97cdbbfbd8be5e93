package menus

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Type is what a variable or a parameter holds. The zero Type is none.
type Type uint8

const (
	TypeText   Type = iota + 1 // any characters
	TypeMoney                  // kobo
	TypeMSISDN                 // E.164 digits without plus
	TypeTime                   // seconds since 1970
	TypeSecret                 // a PIN or the like: never shown, logged or stored
)

// String returns the name of the type.
func (t Type) String() string {
	switch t {
	case TypeText:
		return "text"
	case TypeMoney:
		return "money"
	case TypeMSISDN:
		return "msisdn"
	case TypeTime:
		return "time"
	case TypeSecret:
		return "secret"
	}
	return "none"
}

// Value is one value of a [Type]. The zero Value has no type and fits nowhere.
type Value struct {
	s    string // text, msisdn, secret
	n    int64  // kobo, or seconds
	kind Type
}

// Text returns a text. Control characters in it are never shown.
func Text(s string) Value { return Value{kind: TypeText, s: s} }

// Money returns an amount in kobo.
func Money(kobo int64) Value { return Value{kind: TypeMoney, n: kobo} }

// MSISDN returns a subscriber's number, E.164 digits without plus.
func MSISDN(digits string) Value { return Value{kind: TypeMSISDN, s: digits} }

// Time returns a point in time, to the second.
func Time(t time.Time) Value { return Value{kind: TypeTime, n: t.Unix()} }

// Type returns what the value holds; zero for the zero Value.
func (v Value) Type() Type { return v.kind }

// Text returns the content of a text, the digits of an msisdn or the characters
// of a secret, and "" for other types.
func (v Value) Text() string { return v.s }

// Kobo returns an amount in kobo, and 0 for other types.
func (v Value) Kobo() int64 {
	if v.kind != TypeMoney {
		return 0
	}
	return v.n
}

// Time returns a point in time, and the zero time for other types.
func (v Value) Time() time.Time {
	if v.kind != TypeTime {
		return time.Time{}
	}
	return time.Unix(v.n, 0)
}

// String returns the value for a log: a secret as "****", an msisdn masked.
func (v Value) String() string {
	switch v.kind {
	case TypeText:
		return v.s
	case TypeMoney:
		return string(appendNaira(nil, v.n))
	case TypeMSISDN:
		if len(v.s) < 11 {
			return "***"
		}
		return v.s[:6] + "***" + v.s[len(v.s)-4:]
	case TypeTime:
		return v.Time().UTC().Format(time.RFC3339)
	case TypeSecret:
		return "****"
	}
	return "none"
}

// GoString returns String, so that %#v tells no more than %v.
func (v Value) GoString() string { return v.String() }

// filter is how a placeholder shows its value.
type filter uint8

const (
	plain filter = iota
	local        // msisdn as 08031234567
	naira        // money as N1,500.50
	date         // time as 23/11 14:05, in Lagos
)

var filters = map[string]filter{"local": local, "naira": naira, "date": date}

// shows is the type that a filter is for. A plain placeholder shows text, and an
// msisdn in its international digits.
func (f filter) shows(t Type) bool {
	switch f {
	case local:
		return t == TypeMSISDN
	case naira:
		return t == TypeMoney
	case date:
		return t == TypeTime
	}
	return t == TypeText || t == TypeMSISDN
}

const (
	nigerianWidth = 11 // 08031234567
	foreignWidth  = 16 // + and the 15 digits of E.164
	dateWidth     = len(dateLayout)
	dateLayout    = "02/01 15:04"
)

// lagos is Nigeria's time, which has no daylight saving.
var lagos = time.FixedZone("WAT", 3600)

// appendShown appends a value as a subscriber reads it. Of a text no more than
// width characters are shown.
func (v Value) appendShown(b []byte, f filter, width int) []byte {
	switch f {
	case local:
		return appendLocal(b, v.s)
	case naira:
		return appendNaira(b, v.n)
	case date:
		return time.Unix(v.n, 0).In(lagos).AppendFormat(b, dateLayout)
	}
	if v.kind != TypeText {
		return append(b, v.s...)
	}
	return append(b, cut(v.s, width)...)
}

// appendLocal appends a Nigerian number as it is dialled at home, any other one
// with a plus.
func appendLocal(b []byte, digits string) []byte {
	if len(digits) == 13 && strings.HasPrefix(digits, "234") {
		return append(append(b, '0'), digits[3:]...)
	}
	if len(digits) >= 10 && isDigits(digits) {
		b = append(b, '+')
	}
	return append(b, digits...)
}

// Naira writes an amount of kobo as subscribers read it: N100, N1,500.50.
func Naira(kobo int64) string { return string(appendNaira(nil, kobo)) }

// appendNaira appends an amount as N1,500.50, whole naira as N100.
func appendNaira(b []byte, kobo int64) []byte {
	magnitude := uint64(kobo)
	if kobo < 0 {
		b = append(b, '-')
		magnitude = -magnitude
	}
	var scratch [20]byte
	whole := strconv.AppendUint(scratch[:0], magnitude/100, 10)
	b = append(b, 'N')
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b = append(b, ',')
		}
		b = append(b, digit)
	}
	if rest := byte(magnitude % 100); rest != 0 {
		b = append(b, '.', '0'+rest/10, '0'+rest%10)
	}
	return b
}

// cut returns the first n characters of s.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// clean returns s without control and format characters, in valid UTF-8.
func clean(s string) string {
	printable := func(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }
	for _, r := range s {
		if !printable(r) {
			return strings.Map(func(r rune) rune {
				if printable(r) {
					return r
				}
				return -1
			}, s)
		}
	}
	return s
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
