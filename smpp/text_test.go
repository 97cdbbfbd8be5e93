package smpp_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"ussdd/smpp"
)

var alphabets = []smpp.Alphabet{smpp.GSM, smpp.Latin1, smpp.ASCII, smpp.UCS2, smpp.GSMPacked}

// dialledOnly reports whether s has digits, * and # only.
func dialledOnly(s string) bool { return strings.Trim(s, "0123456789*#") == "" }

func TestFold(t *testing.T) {
	for _, c := range []struct{ in, gsm, latin1, ascii, ucs2 string }{
		{"", "", "", "", ""},
		{"1. MTN\n0. Back", "1. MTN\n0. Back", "1. MTN\n0. Back", "1. MTN\n0. Back", "1. MTN\n0. Back"},
		{"✓ Done", "OK Done", "OK Done", "OK Done", "✓ Done"},
		{"₦500", "N500", "N500", "N500", "₦500"},
		{"Café", "Café", "Café", "Cafe", "Café"},
		{"Cafe\u0301", "Café", "Café", "Cafe", "Cafe\u0301"},
		{"garçon", "garcon", "garçon", "garcon", "garçon"},
		{"São João", "Sao Joao", "São João", "Sao Joao", "São João"},
		{"Ọ̀yọ́ Ẹkọ́ Ṣé", "Oyo Eko Sé", "Oyo Eko Sé", "Oyo Eko Se", "Ọ̀yọ́ Ẹkọ́ Ṣé"},
		{"Ƙofa ɗan ɓera", "Kofa dan bera", "Kofa dan bera", "Kofa dan bera", "Ƙofa ɗan ɓera"},
		{"“Hi” ‘you’ – and — so…", "\"Hi\" 'you' - and - so...", "\"Hi\" 'you' - and - so...", "\"Hi\" 'you' - and - so...", "“Hi” ‘you’ – and — so…"},
		{"N1\u00A0000", "N1 000", "N1 000", "N1 000", "N1\u00A0000"},
		{"a\u200Bb\uFEFFc\u00ADd", "abcd", "abcd", "abcd", "a\u200Bb\uFEFFc\u00ADd"},
		{"a\tb", "a b", "a b", "a b", "a b"},
		{"€5 £5 ¥5", "€5 £5 ¥5", "EUR5 £5 ¥5", "EUR5 GBP5 JPY5", "€5 £5 ¥5"},
		{"[x] {y} ~^|\\", "[x] {y} ~^|\\", "[x] {y} ~^|\\", "[x] {y} ~^|\\", "[x] {y} ~^|\\"},
		{"`quoted`", "'quoted'", "`quoted`", "`quoted`", "`quoted`"},
		{"½ ① ™ ﬁ", "1/2 1 TM fi", "½ 1 TM fi", "1/2 1 TM fi", "½ ① ™ ﬁ"},
		{"→ ✅️ ❌", "-> OK X", "-> OK X", "-> OK X", "→ ✅️ ❌"},
		{"Straße Øl ØÆ", "Straße Øl ØÆ", "Straße Øl ØÆ", "Strasse Ol OAE", "Straße Øl ØÆ"},
		{"ΔΩ", "ΔΩ", "ΔΩ", "ΔΩ", "ΔΩ"}, // Latin-1 and ASCII can do nothing with them
		{"中 😀", "中 😀", "中 😀", "中 😀", "中 😀"},
		{"a\x00b\x1b", "ab\x1b", "ab\x1b", "ab\x1b", "ab\x1b"},
		{"bad \xff utf-8", "bad \uFFFD utf-8", "bad \uFFFD utf-8", "bad \uFFFD utf-8", "bad \uFFFD utf-8"},
	} {
		for i, want := range []string{c.gsm, c.latin1, c.ascii, c.ucs2, c.gsm} {
			m := smpp.Text{Alphabet: alphabets[i], Max: 160}
			if got := m.Fold(c.in); got != want {
				t.Errorf("%s: %q became %q, want %q", m.Alphabet, c.in, got, want)
			}
		}
	}
}

func TestCost(t *testing.T) {
	for _, c := range []struct {
		alphabet smpp.Alphabet
		in       string
		units    int
		bad      rune
	}{
		{smpp.GSM, "", 0, 0},
		{smpp.GSM, "abc@£\n", 6, 0},
		{smpp.GSM, "[€]", 6, 0},
		{smpp.GSM, "✓", 2, 0},
		{smpp.GSM, "a中b😀", 4, '中'},
		{smpp.GSM, "a\x1b", 2, 0x1b},
		{smpp.GSMPacked, "1234567\r", 9, 0},
		{smpp.GSMPacked, "123456€\r", 9, 0},
		{smpp.GSMPacked, "12345€\r", 9, 0},
		{smpp.GSMPacked, "[€]中", 7, '中'},
		{smpp.GSM, "\xff", 1, utf8.RuneError},
		{smpp.Latin1, "éß[", 3, 0},
		{smpp.Latin1, "Ω", 1, 'Ω'},
		{smpp.ASCII, "é", 1, 0},
		{smpp.UCS2, "₦50", 3, 0},
		{smpp.UCS2, "😀", 2, 0},
		{smpp.UCS2, "\x07", 1, 0x07},
	} {
		m := smpp.Text{Alphabet: c.alphabet}
		if units, bad := m.Cost(c.in); units != c.units || bad != c.bad {
			t.Errorf("%s %q: %d units, bad %U; want %d, %U", c.alphabet, c.in, units, bad, c.units, c.bad)
		}
	}
	if got := (smpp.Text{Max: 182}).Limit(); got != 182 {
		t.Errorf("limit %d", got)
	}
}

// TestGSMTable checks septets from the printed table of 3GPP TS 23.038, both ways.
func TestGSMTable(t *testing.T) {
	for text, want := range map[string]string{
		"@£$¥èéùìòÇ\nØø\rÅå": "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f",
		"Δ_ΦΓΛΩΠΨΣΘΞÆæßÉ":    "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1c\x1d\x1e\x1f",
		" !\"#¤%&'()*+,-./":  " !\"#\x24%&'()*+,-./",
		"0123456789:;<=>?":   "0123456789:;<=>?",
		"¡ABCXYZÄÖÑÜ§":       "\x40ABCXYZ\x5b\x5c\x5d\x5e\x5f",
		"¿abcxyzäöñüà":       "\x60abcxyz\x7b\x7c\x7d\x7e\x7f",
		"\f^{}\\[~]|€":       "\x1b\x0a\x1b\x14\x1b\x28\x1b\x29\x1b\x2f\x1b\x3c\x1b\x3d\x1b\x3e\x1b\x40\x1b\x65",
	} {
		m := smpp.Text{Alphabet: smpp.GSM}
		if got := m.Append(nil, text); string(got) != want {
			t.Errorf("%q became %x, want %x", text, got, want)
		}
		if got := smpp.GSM.Decode([]byte(want)); got != text {
			t.Errorf("%x became %q, want %q", want, got, text)
		}
	}
}

// TestPacked checks vectors of packed GSM, both ways. The first pair is the rule's
// own example: without padding it would read *123*1#@.
func TestPacked(t *testing.T) {
	for _, c := range []struct{ text, wire, back string }{
		{"*123*1#", "aa986ca68a8d1a", "*123*1#"},
		{"", "", ""},
		{"1", "31", "1"},
		{"12", "3119", "12"},
		{"*999#", "aa5c2e3702", "*999#"},
		{"abcdefg", "61f1985c369f1b", "abcdefg"},
		{"1234567@", "31d98c56b3dd00", "1234567@"},
		{"12345678", "31d98c56b3dd70", "12345678"},
		{"1234567\r", "31d98c56b3dd1a0d", "1234567\r\r"}, // the CR is the text's: it gets another
		{"123456\r", "31d98c56b3351a", "123456\r"},
		{"[€]", "1bdea6bcf101", "[€]"},
	} {
		m := smpp.Text{Alphabet: smpp.GSMPacked}
		wire := m.Append(nil, c.text)
		if got := fmt.Sprintf("%x", wire); got != c.wire {
			t.Errorf("%q became %s, want %s", c.text, got, c.wire)
		}
		if got := smpp.GSMPacked.Decode(wire); got != c.back {
			t.Errorf("%x became %q, want %q", wire, got, c.back)
		}
	}
	if got := smpp.GSMPacked.Decode(unhex(t, "aa986ca68a8d00")); got != "*123*1#@" {
		t.Errorf("padding with zeros reads %q", got)
	}
	if got := smpp.GSMPacked.Decode([]byte("12")); got != "12" {
		t.Errorf("digits that are not packed read %q", got)
	}
}

func TestLimit(t *testing.T) {
	for _, c := range []struct {
		text  smpp.Text
		limit int
	}{
		{smpp.Text{Alphabet: smpp.GSM, Max: 182}, 182},
		{smpp.Text{Alphabet: smpp.GSM, Max: 160, Unit: smpp.Octets}, 160},
		{smpp.Text{Alphabet: smpp.GSMPacked, Max: 182}, 182},
		{smpp.Text{Alphabet: smpp.GSMPacked, Max: 160, Unit: smpp.Octets}, 182},
		{smpp.Text{Alphabet: smpp.Latin1, Max: 160, Unit: smpp.Octets}, 160},
		{smpp.Text{Alphabet: smpp.UCS2, Max: 80}, 80},
		{smpp.Text{Alphabet: smpp.UCS2, Max: 160, Unit: smpp.Octets}, 80},
	} {
		if got := c.text.Limit(); got != c.limit {
			t.Errorf("%v holds %d, want %d", c.text, got, c.limit)
		}
	}
}

func TestAppendText(t *testing.T) {
	for _, c := range []struct {
		alphabet smpp.Alphabet
		in, want string
	}{
		{smpp.GSM, "✓ ₦5 中", "OK N5 ?"},
		{smpp.Latin1, "é中", "\xe9?"},
		{smpp.ASCII, "é中", "e?"},
		{smpp.UCS2, "₦5\x07", "\x20\xa6\x00\x35\x00?"},
		{smpp.UCS2, "😀", "\xd8\x3d\xde\x00"},
	} {
		got := smpp.Text{Alphabet: c.alphabet}.Append([]byte("x"), c.in)
		if string(got) != "x"+c.want {
			t.Errorf("%s %q became %q, want %q", c.alphabet, c.in, got[1:], c.want)
		}
	}
}

func TestDecodeText(t *testing.T) {
	for _, c := range []struct {
		alphabet smpp.Alphabet
		in, want string
	}{
		{smpp.GSM, "*999#", "*999#"},
		{smpp.GSM, "\x1b\x65\x1bz\x1b", "€z "},
		{smpp.GSM, "\xe2\x82\xa65", "₦5"}, // UTF-8 under data_coding 0
		{smpp.GSM, "\xe9t\xe9", "été"},    // Latin-1 under data_coding 0
		{smpp.ASCII, "12", "12"},
		{smpp.ASCII, "\xe9", "é"},
		{smpp.Latin1, "\xe2\x82\xa6", "â\u0082¦"},
		{smpp.UCS2, "\x20\xa6\x00\x35", "₦5"},
		{smpp.UCS2, "\xd8\x3d\xde\x00", "😀"},
		{smpp.UCS2, "\xd8\x3d", "\uFFFD"},
		{smpp.UCS2, "\xfe\xff\x00\x31", "1"},
		{smpp.UCS2, "\xff\xfe\x31\x00", "1"},
		{smpp.UCS2, "1", "1"},         // digits labelled as UCS-2
		{smpp.UCS2, "*999", "*999"},   // likewise
		{smpp.UCS2, "*999#", "*999#"}, // likewise
		{smpp.UCS2, "\x4e\x2d", "中"},
		{smpp.UCS2, "\xd8\x3d\x00\x31", "\uFFFD1"},
		{smpp.GSM, "\x00\x31\x00\x23", "1#"}, // UCS-2 under data_coding 0
		{smpp.GSM, "\x00\x41", "@A"},
		{smpp.UCS2Language, "\x65\x37\x20\xa6", "₦"}, // behind "en"
		{smpp.UCS2Language, "\x20\xa6", "₦"},
		{smpp.UCS2Language, "\xe9", "é"},
		{smpp.UCS2, "", ""},
	} {
		if got := c.alphabet.Decode([]byte(c.in)); got != c.want {
			t.Errorf("%s %q became %q, want %q", c.alphabet, c.in, got, c.want)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"*999#", "✓ ₦5 – “x”", "Ọ̀yọ́", "\xff\xfe", "\u1100\u0301\u1161", "½€[中😀", "\u0958\u093c", "\x1b\x65", "\xf5\u0340", "\xcd\u0362\x00\u0344"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, a := range alphabets {
			m := smpp.Text{Alphabet: a, Max: 160}
			folded := m.Fold(s)
			if again := m.Fold(folded); again != folded {
				t.Fatalf("%s: %q folds to %q and that to %q", a, s, folded, again)
			}
			units, bad := m.Cost(s)
			if u, b := m.Cost(folded); u != units || b != bad {
				t.Fatalf("%s: %q costs %d (%U), folded %d (%U)", a, s, units, bad, u, b)
			}
			wire := m.Append(nil, s)
			octets := len(wire)
			if a == smpp.UCS2 {
				octets /= 2
			}
			if a == smpp.GSMPacked {
				if want := (7*units + 7) / 8; octets != want {
					t.Fatalf("%q costs %d septets, but %d octets are sent", s, units, octets)
				}
			} else if octets != units {
				t.Fatalf("%s: %q costs %d, but %d units are sent", a, s, units, octets)
			}
			if a == smpp.UCS2 && len(wire)%2 != 0 {
				t.Fatalf("%q: %d octets of UCS-2", s, len(wire))
			}
			if bad != 0 || a == smpp.UCS2 && len(wire) >= 2 && (wire[0] >= 0xfe || smpp.Latin1.Decode(wire) == a.Decode(wire)) {
				continue // question marks, byte order marks and digits pairs do not come back
			}
			back := a.Decode(wire)
			if a == smpp.GSMPacked {
				back, folded = strings.TrimRight(back, "\r"), strings.TrimRight(folded, "\r") // padding
			}
			if a != smpp.UCS2 && dialledOnly(back) && !dialledOnly(folded) {
				continue // taken for mislabelled digits
			}
			if back != folded {
				t.Fatalf("%s: %q was sent as %x and reads %q", a, folded, wire, back)
			}
		}
		for _, a := range append([]smpp.Alphabet{smpp.UCS2Language}, alphabets...) {
			if text := a.Decode([]byte(s)); !utf8.ValidString(text) {
				t.Fatalf("%s: %x decodes to %q", a, s, text)
			}
		}
	})
}
