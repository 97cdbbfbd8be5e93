package smpp

import (
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Alphabet is a character set that short messages are written in.
type Alphabet uint8

// The alphabets. The zero value is the GSM default alphabet.
const (
	GSM    Alphabet = iota // 3GPP TS 23.038 §6.2.1, one octet per septet; the extension table's characters take two
	Latin1                 // ISO 8859-1
	ASCII                  // IA5, ITU-T T.50
	UCS2                   // UTF-16, big endian
)

var alphabetNames = [...]string{GSM: "gsm", Latin1: "latin1", ASCII: "ascii", UCS2: "ucs2"}

// String returns the alphabet's name in lower case: gsm, latin1, ascii or ucs2.
func (a Alphabet) String() string {
	if int(a) < len(alphabetNames) {
		return alphabetNames[a]
	}
	return "unknown"
}

// Text is what a link can show on a handset: an alphabet, and how much of it
// fits on one screen. It is immutable and safe for concurrent use.
type Text struct {
	Alphabet Alphabet
	Max      int // units of one screen: septets of GSM, octets of Latin-1 and ASCII, UTF-16 units of UCS-2
}

// Limit returns the most units that one screen can hold.
func (t Text) Limit() int { return t.Max }

// Fold returns s as the handset will show it. What the alphabet lacks is
// written with what it has: a substitute (✓ becomes OK, ₦ becomes N), or the
// letter without its accent, or the characters that Unicode calls compatible.
// What has none of these stays as it is, for Cost to report. Folding a folded
// text changes nothing.
func (t Text) Fold(s string) string {
	if plain(s) || t.Alphabet.hasAll(s) {
		return s
	}
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		n := cluster(s)
		t.Alphabet.fold(&b, s[:n])
		s = s[n:]
	}
	return b.String()
}

// Cost returns the length of the folded text in units, and the first rune that
// cannot be sent even so, zero if there is none. Such a rune counts one unit,
// because Append writes a question mark for it.
func (t Text) Cost(s string) (units int, bad rune) {
	if plain(s) {
		return len(s), 0
	}
	for _, r := range t.Fold(s) {
		n := t.Alphabet.units(r)
		if n == 0 {
			n = 1
			if bad == 0 {
				bad = r
			}
		}
		units += n
	}
	return units, bad
}

// Append folds s and appends it to dst as it goes on the wire: one septet to
// the octet in GSM, big endian in UCS-2. A rune that cannot be sent becomes a
// question mark.
func (t Text) Append(dst []byte, s string) []byte {
	if t.Alphabet != UCS2 && plain(s) {
		return append(dst, s...)
	}
	for _, r := range t.Fold(s) {
		if t.Alphabet.units(r) == 0 {
			r = '?'
		}
		switch t.Alphabet {
		case UCS2:
			for _, u := range utf16.AppendRune(make([]uint16, 0, 2), r) {
				dst = binary.BigEndian.AppendUint16(dst, u)
			}
		case GSM:
			code := gsmCode(r)
			if code >= gsmExtended {
				dst = append(dst, gsmEscape)
			}
			dst = append(dst, byte(code))
		default:
			dst = append(dst, byte(r))
		}
	}
	return dst
}

// plain reports whether s has only characters that every alphabet has, as one
// unit each and, except in UCS-2, as the octets that they are here. Nearly all
// screens are plain.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= ' ' && c <= '?' && c != '$', c >= 'A' && c <= 'Z', c == '\n', c == '\r':
		default:
			return false
		}
	}
	return true
}

// units returns how many units r takes, zero if the alphabet does not have it.
func (a Alphabet) units(r rune) int {
	switch a {
	case GSM:
		switch code := gsmCode(r); {
		case code < 0:
			return 0
		case code >= gsmExtended:
			return 2
		}
		return 1
	case UCS2:
		switch {
		case r == '\n' || r == '\r':
			return 1
		case unicode.IsControl(r) || r == utf8.RuneError:
			return 0
		case r > 0xFFFF:
			return 2
		}
		return 1
	case Latin1:
		// The no-break space and the soft hyphen are left out: what they become
		// on a handset is anybody's guess.
		if r > 0xA0 && r <= 0xFF && r != 0xAD {
			return 1
		}
	}
	if r >= ' ' && r <= '~' || r == '\n' || r == '\r' {
		return 1
	}
	return 0
}

func (a Alphabet) hasAll(s string) bool {
	for _, r := range s {
		if a.units(r) == 0 {
			return false
		}
	}
	return true
}

// cluster returns the length of the first character of s with the combining
// marks that follow it.
func cluster(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	for n < len(s) {
		r, size := utf8.DecodeRuneInString(s[n:])
		if !unicode.Is(unicode.Mn, r) {
			break
		}
		n += size
	}
	return n
}

// fold writes one cluster in the alphabet.
func (a Alphabet) fold(b *strings.Builder, s string) {
	if a.hasAll(s) {
		b.WriteString(s)
		return
	}
	for _, r := range norm.NFC.String(s) {
		if out, ok := a.spell(r); ok {
			b.WriteString(out)
			continue
		}
		var parts strings.Builder
		whole := true
		for _, d := range norm.NFKD.String(string(r)) {
			out, ok := a.spell(d)
			parts.WriteString(out)
			whole = whole && ok
		}
		if whole {
			b.WriteString(parts.String())
		} else {
			b.WriteRune(r)
		}
	}
}

// spell writes one rune in the alphabet without taking it apart. Marks and
// invisible format characters that the alphabet lacks are written as nothing.
func (a Alphabet) spell(r rune) (string, bool) {
	if a.units(r) > 0 {
		return string(r), true
	}
	if s, ok := substitutes[r]; ok {
		return s, true
	}
	return "", unicode.In(r, unicode.Mn, unicode.Cf)
}

// substitutes spells runes that Unicode's own decompositions do not lead to
// ASCII. Every value is ASCII that all alphabets have.
var substitutes = map[rune]string{
	'\x00': "", // which Cost could not report
	'\t':   " ", '`': "'", '´': "'",
	'\u2028': "\n", '\u2029': "\n", '\u1680': " ",
	'‘': "'", '’': "'", '‚': "'", '‛': "'", '′': "'", '‹': "<", '›': ">", 'ʼ': "'", 'ʻ': "'",
	'“': "\"", '”': "\"", '„': "\"", '‟': "\"", '″': "\"", '«': "\"", '»': "\"",
	'‐': "-", '‑': "-", '‒': "-", '–': "-", '—': "-", '―': "-", '−': "-", '⁃': "-",
	'…': "...", '•': "-", '·': ".", '‣': "-", '▪': "-", '●': "-", '◦': "-", '⁄': "/", '÷': "/",
	'×': "x", '±': "+/-", '°': "deg", '≤': "<=", '≥': ">=", '≠': "!=", '¬': "-", '¦': "!",
	'→': "->", '←': "<-", '↑': "^", '↓': "v", '⇒': "=>", '►': ">", '▶': ">", '◄': "<", '◀': "<",
	'✓': "OK", '✔': "OK", '✅': "OK", '☑': "OK", '✗': "X", '✘': "X", '❌': "X", '☒': "X",
	'★': "*", '☆': "*", '⚠': "!",
	'₦': "N", '€': "EUR", '£': "GBP", '¥': "JPY", '¢': "c", '₵': "GHS", '₹': "INR", '₿': "BTC", '¤': "$",
	'©': "(c)", '®': "(R)", '§': "S", '¶': "P", '¡': "!", '¿': "?", 'µ': "u", 'μ': "u",
	'Æ': "AE", 'æ': "ae", 'Œ': "OE", 'œ': "oe", 'ß': "ss", 'ẞ': "SS", 'Ø': "O", 'ø': "o",
	'Đ': "D", 'đ': "d", 'Ð': "D", 'ð': "d", 'Þ': "Th", 'þ': "th", 'Ł': "L", 'ł': "l", 'ı': "i",
	'Ɓ': "B", 'ɓ': "b", 'Ɗ': "D", 'ɗ': "d", 'Ƙ': "K", 'ƙ': "k", 'Ƴ': "Y", 'ƴ': "y", // Hausa
	'Ŋ': "N", 'ŋ': "n", 'Ǝ': "E", 'ǝ': "e", 'Ə': "E", 'ə': "e", // Fula, Kanuri
}

const (
	gsmEscape   = 0x1B
	gsmExtended = 0x100 // added to the codes of the extension table
)

// gsmCode returns r's septet in the GSM default alphabet, with gsmExtended added
// if it is one of the extension table, or -1.
func gsmCode(r rune) int {
	switch {
	case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z', r >= ' ' && r <= '?' && r != '$', r == '\n', r == '\r':
		return int(r)
	}
	if code, ok := gsmCodes[r]; ok {
		return code
	}
	return -1
}

// gsmCodes holds the runes whose septet is not their own code point (3GPP TS
// 23.038 §6.2.1, §6.2.1.1).
var gsmCodes = map[rune]int{
	'@': 0x00, '£': 0x01, '$': 0x02, '¥': 0x03, 'è': 0x04, 'é': 0x05, 'ù': 0x06, 'ì': 0x07,
	'ò': 0x08, 'Ç': 0x09, 'Ø': 0x0B, 'ø': 0x0C, 'Å': 0x0E, 'å': 0x0F,
	'Δ': 0x10, '_': 0x11, 'Φ': 0x12, 'Γ': 0x13, 'Λ': 0x14, 'Ω': 0x15, 'Π': 0x16, 'Ψ': 0x17,
	'Σ': 0x18, 'Θ': 0x19, 'Ξ': 0x1A, 'Æ': 0x1C, 'æ': 0x1D, 'ß': 0x1E, 'É': 0x1F,
	'¤': 0x24, '¡': 0x40, 'Ä': 0x5B, 'Ö': 0x5C, 'Ñ': 0x5D, 'Ü': 0x5E, '§': 0x5F,
	'¿': 0x60, 'ä': 0x7B, 'ö': 0x7C, 'ñ': 0x7D, 'ü': 0x7E, 'à': 0x7F,

	'\f': gsmExtended + 0x0A, '^': gsmExtended + 0x14, '{': gsmExtended + 0x28, '}': gsmExtended + 0x29,
	'\\': gsmExtended + 0x2F, '[': gsmExtended + 0x3C, '~': gsmExtended + 0x3D, ']': gsmExtended + 0x3E,
	'|': gsmExtended + 0x40, '€': gsmExtended + 0x65,
}

// gsmRunes is the GSM default alphabet by septet.
var gsmRunes = [128]rune{
	'@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å',
	'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', ' ', 'Æ', 'æ', 'ß', 'É',
	' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
	'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
	'¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
	'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§',
	'¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
	'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
}

// gsmExtension is the extension table by septet; any other septet behind an
// escape is read as if the escape were not there (3GPP TS 23.038 §6.2.1.1).
var gsmExtension = map[byte]rune{
	0x0A: '\f', 0x14: '^', 0x28: '{', 0x29: '}', 0x2F: '\\', 0x3C: '[', 0x3D: '~', 0x3E: ']', 0x40: '|', 0x65: '€',
}

// Decode reads octets that claim to be in the alphabet. It never fails, since
// mislabelled text is normal and a subscriber's answer is nearly always digits:
// octets that the alphabet does not have are read as UTF-8 if the whole text is
// valid UTF-8, and as Latin-1 otherwise; UCS-2 of an odd length, or made only
// of the octets for digits, `*` and `#`, is read as if it were Latin-1.
func (a Alphabet) Decode(b []byte) string {
	switch {
	case a == UCS2 && !notUCS2(b):
		return decodeUCS2(b)
	case a == GSM && !high(b):
		return decodeGSM(b)
	case a != Latin1 && utf8.Valid(b):
		return string(b)
	}
	return decodeLatin1(b)
}

func high(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

func notUCS2(b []byte) bool {
	if len(b)%2 != 0 {
		return true
	}
	for _, c := range b {
		if (c < '0' || c > '9') && c != '*' && c != '#' {
			return false
		}
	}
	return true
}

func decodeGSM(b []byte) string {
	var s strings.Builder
	s.Grow(len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == gsmEscape && i+1 < len(b) {
			i++
			c = b[i]
			if r, ok := gsmExtension[c]; ok {
				s.WriteRune(r)
				continue
			}
		}
		s.WriteRune(gsmRunes[c])
	}
	return s.String()
}

func decodeLatin1(b []byte) string {
	var s strings.Builder
	s.Grow(len(b))
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

// decodeUCS2 reads UTF-16; a byte order mark is obeyed and dropped.
func decodeUCS2(b []byte) string {
	var order binary.ByteOrder = binary.BigEndian
	if len(b) >= 2 {
		switch binary.BigEndian.Uint16(b) {
		case 0xFEFF:
			b = b[2:]
		case 0xFFFE:
			order, b = binary.LittleEndian, b[2:]
		}
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
