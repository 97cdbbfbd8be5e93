package smpptest

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// data_coding values that this gateway reads and sends. SMPP 3.4 §5.2.19; 0x0F
// is the MAP value for the same 7-bit alphabet.
const (
	codingGSM    = 0x00
	codingASCII  = 0x01
	codingLatin1 = 0x03
	codingBinary = 0x04
	codingUCS2   = 0x08
	codingMAP7   = 0x0F
)

// maxOctets is how much a USSD string holds: 160 octets, that is 182 septets,
// 160 8-bit characters or 80 UTF-16 units. 3GPP TS 23.038 §5.
const maxOctets = 160

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

// decodeText reads a USSD string as a handset shows it. units is its length in
// units of its alphabet (septets, octets or UTF-16 units), max what a USSD
// string holds of them, bad the number of octets or units that mean nothing in
// that alphabet.
func decodeText(coding byte, b []byte) (text string, units, max, bad int, err error) {
	switch coding {
	case codingGSM, codingMAP7:
		text, bad = decodeGSM(b)
		return text, len(b), maxOctets * 8 / 7, bad, nil
	case codingASCII:
		text, bad = decodeLatin(b, 0x80)
		return text, len(b), maxOctets, bad, nil
	case codingLatin1, codingBinary:
		text, bad = decodeLatin(b, 0x100)
		return text, len(b), maxOctets, bad, nil
	case codingUCS2:
		text, bad = decodeUCS2(b)
		return text, (len(b) + 1) / 2, maxOctets / 2, bad, nil
	}
	return "", 0, 0, 0, fmt.Errorf("data_coding 0x%02x is not one that this gateway reads", coding)
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

func decodeLatin(b []byte, end int) (string, int) {
	var text strings.Builder
	bad := 0
	for _, c := range b {
		if int(c) >= end {
			bad++
			text.WriteRune('\uFFFD')
			continue
		}
		text.WriteRune(rune(c))
	}
	return text.String(), bad
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

// encodeText writes what a subscriber typed: in the GSM alphabet, or as UCS2 if
// that lacks one of the characters.
func encodeText(s string) (coding byte, b []byte) {
	if b, ok := encodeGSM(s); ok {
		return codingGSM, b
	}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return codingUCS2, b
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
