package smpptest

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// maxOctets is how much a USSD string holds: 160 octets, that is 182 septets,
// 160 8-bit characters or 80 UTF-16 units. 3GPP TS 23.038 §5.
const maxOctets = 160

// alphabet turns octets into text and back.
type alphabet struct {
	unit   int                                        // octets per unit of length
	max    int                                        // units that a USSD string holds
	decode func(b []byte) (text string, bad int)      // bad counts the units that mean nothing
	encode func(text string) (octets []byte, ok bool) // ok is false if a character is missing
}

var (
	gsm    = &alphabet{unit: 1, max: maxOctets * 8 / 7, decode: decodeGSM, encode: encodeGSM} // one septet per octet
	ascii  = latin(0x80)
	latin1 = latin(0x100)
	ucs2   = &alphabet{unit: 2, max: maxOctets / 2, decode: decodeUCS2, encode: encodeUCS2}
)

// coding says what a data_coding value stands for.
type coding struct {
	value    byte // SMPP 3.4 §5.2.19
	alphabet *alphabet
	max      int // units a text may have; 0: what a USSD string holds
}

// leaked are data_codings of 3GPP TS 23.038 §5 that gateways forget to
// translate, with what stands behind them.
var leaked = []coding{
	{value: 0x0F, alphabet: gsm}, {value: 0x11, alphabet: ucs2}, {value: 0x40, alphabet: gsm},
	{value: 0x44, alphabet: latin1}, {value: 0x48, alphabet: ucs2},
}

func findCoding(codings []coding, value byte) (coding, bool) {
	for _, c := range codings {
		if c.value == value {
			return c, true
		}
	}
	return coding{}, false
}

// limit is the most units that a text may have.
func (c coding) limit() int {
	if c.max > 0 {
		return c.max
	}
	return c.alphabet.max
}

// show reads a USSD string as a handset shows it.
func (c coding) show(b []byte) Screen {
	text, bad := c.alphabet.decode(b)
	return Screen{Text: text, Units: (len(b) + c.alphabet.unit - 1) / c.alphabet.unit, Bad: bad}
}

// typed writes what a subscriber typed in the first of the codings whose
// alphabet has all of it.
func typed(codings []coding, text string) (value byte, octets []byte, err error) {
	for _, c := range codings {
		octets, ok := c.alphabet.encode(text)
		if !ok {
			continue
		}
		if len(octets) > maxOctets {
			return 0, nil, fmt.Errorf("a handset can't send %d octets: a USSD string holds %d", len(octets), maxOctets)
		}
		return c.value, octets, nil
	}
	return 0, nil, fmt.Errorf("no alphabet of the dialect has all of %q", text)
}

// gsmEscape leads to the extension table. 3GPP TS 23.038 §6.2.1.1.
const gsmEscape = 0x1B

// gsmBasic is the default alphabet in code order; the escape stands in its own
// place. 3GPP TS 23.038 §6.2.1.
var gsmBasic = []rune("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
	"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà")

// gsmExtension holds what follows an escape. 3GPP TS 23.038 §6.2.1.1.
var gsmExtension = map[byte]rune{
	0x0A: '\f', 0x14: '^', 0x28: '{', 0x29: '}', 0x2F: '\\', 0x3C: '[', 0x3D: '~', 0x3E: ']', 0x40: '|', 0x65: '€',
}

func decodeGSM(b []byte) (string, int) {
	var text strings.Builder
	bad := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c > 0x7F:
			bad++
			text.WriteRune('\uFFFD')
		case c != gsmEscape:
			text.WriteRune(gsmBasic[c])
		default:
			if i++; i < len(b) {
				if r, ok := gsmExtension[b[i]]; ok {
					text.WriteRune(r)
					continue
				}
			}
			bad++
			text.WriteRune('\uFFFD')
		}
	}
	return text.String(), bad
}

func encodeGSM(s string) ([]byte, bool) {
	var b []byte
next:
	for _, r := range s {
		for code, have := range gsmBasic {
			if r == have && code != gsmEscape {
				b = append(b, byte(code))
				continue next
			}
		}
		for code, have := range gsmExtension {
			if r == have {
				b = append(b, gsmEscape, code)
				continue next
			}
		}
		return nil, false
	}
	return b, true
}

// latin is the alphabet of Unicode's first characters up to end, one octet
// each.
func latin(end rune) *alphabet {
	return &alphabet{
		unit: 1,
		max:  maxOctets,
		decode: func(b []byte) (string, int) {
			var text strings.Builder
			bad := 0
			for _, c := range b {
				r := rune(c)
				if r >= end {
					bad++
					r = '\uFFFD'
				}
				text.WriteRune(r)
			}
			return text.String(), bad
		},
		encode: func(s string) ([]byte, bool) {
			var b []byte
			for _, r := range s {
				if r >= end {
					return nil, false
				}
				b = append(b, byte(r))
			}
			return b, true
		},
	}
}

func decodeUCS2(b []byte) (string, int) {
	units := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		units = append(units, uint16(b[i])<<8|uint16(b[i+1]))
	}
	bad := len(b) % 2
	runes := utf16.Decode(units)
	for _, r := range runes {
		if r == '\uFFFD' {
			bad++
		}
	}
	return string(runes), bad
}

func encodeUCS2(s string) ([]byte, bool) {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return b, true
}
