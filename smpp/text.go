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
	GSM          Alphabet = iota // 3GPP TS 23.038 §6.2.1, one octet per septet; the extension table's characters take two
	Latin1                       // ISO 8859-1
	ASCII                        // IA5, ITU-T T.50
	UCS2                         // UTF-16, big endian
	GSMPacked                    // GSM, eight septets in seven octets as USSD packs them, 3GPP TS 23.038 §6.1.2.3
	UCS2Language                 // UCS2, perhaps behind the two octets of a language code, 3GPP TS 23.038 §5; only received
)

var alphabetNames = names{
	GSM: "gsm", Latin1: "latin1", ASCII: "ascii", UCS2: "ucs2", GSMPacked: "gsm-packed", UCS2Language: "ucs2-language",
}

// String returns the alphabet's name in lower case: gsm, latin1, ascii, ucs2,
// gsm-packed or ucs2-language.
func (a Alphabet) String() string { return nameOf(alphabetNames, a) }

// letters returns the alphabet with the same characters and the plainest
// encoding: GSM for GSMPacked, UCS2 for UCS2Language, else a itself.
func (a Alphabet) letters() Alphabet {
	switch a {
	case GSMPacked:
		return GSM
	case UCS2Language:
		return UCS2
	}
	return a
}

// Unit is what the size of a screen is counted in.
type Unit uint8

// The units.
const (
	Units  Unit = iota // septets of GSM, characters of Latin-1 and ASCII, UTF-16 units of UCS-2
	Octets             // octets on the wire
)

var unitNames = names{Units: "units", Octets: "octets"}

// String returns units or octets.
func (u Unit) String() string { return nameOf(unitNames, u) }

// Text is what a link can show on a handset: an alphabet, and how much of it
// fits on one screen. It is immutable and safe for concurrent use.
type Text struct {
	Alphabet Alphabet
	Max      int  // of one screen
	Unit     Unit // of Max
}

// Limit returns the most units that one screen can hold: septets of GSM,
// characters of Latin-1 and ASCII, UTF-16 units of UCS-2.
func (t Text) Limit() int {
	switch {
	case t.Unit == Units:
		return t.Max
	case t.Alphabet == GSMPacked:
		return t.Max * 8 / 7
	case t.Alphabet.letters() == UCS2:
		return t.Max / 2
	}
	return t.Max
}

// octets returns the longest encoded form of one screen.
func (t Text) octets() int {
	switch {
	case t.Unit == Octets:
		return t.Max
	case t.Alphabet == GSMPacked:
		return packedLen(t.Max)
	case t.Alphabet.letters() == UCS2:
		return 2 * t.Max
	}
	return t.Max
}

// Fold returns s as the handset will show it. What the alphabet lacks is
// written with what it has: a substitute (✓ becomes OK, ₦ becomes N), or the
// letter without its accent, or the characters that Unicode calls compatible.
// What has none of these stays as it is, for Cost to report. Folding a folded
// text changes nothing.
func (t Text) Fold(s string) string {
	a := t.Alphabet.letters()
	if plain(s) || a.hasAll(s) {
		return s
	}
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	s = strings.ReplaceAll(s, "\x00", "") // which Cost could not report, and which would hold a letter and its marks apart
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		n := cluster(s)
		a.fold(&b, s[:n])
		s = s[n:]
	}
	return b.String()
}

// Cost returns the length of the folded text in Limit's units, and the first
// rune that cannot be sent even so, zero if there is none. Such a rune counts
// one unit, because Append writes a question mark for it.
func (t Text) Cost(s string) (units int, bad rune) {
	if plain(s) {
		return len(s) + t.padding(s, len(s)), 0
	}
	s = t.Fold(s)
	for _, r := range s {
		n := t.Alphabet.letters().units(r)
		if n == 0 {
			n = 1
			if bad == 0 {
				bad = r
			}
		}
		units += n
	}
	return units + t.padding(s, units), bad
}

// padding returns the septets that a packed text of that many takes besides its
// own and those that fit into its last octet: one if the receiver would take its
// last CR for padding.
func (t Text) padding(s string, septets int) int {
	if t.Alphabet == GSMPacked && septets > 0 && septets%8 == 0 && strings.HasSuffix(s, "\r") {
		return 1
	}
	return 0
}

// Append folds s and appends it to dst as it goes on the wire: one septet to
// the octet in GSM, big endian in UCS-2. A rune that cannot be sent becomes a
// question mark.
func (t Text) Append(dst []byte, s string) []byte {
	a := t.Alphabet.letters()
	start := len(dst)
	if a != UCS2 && plain(s) {
		dst = append(dst, s...)
	} else {
		for _, r := range t.Fold(s) {
			if a.units(r) == 0 {
				r = '?'
			}
			dst = a.append(dst, r)
		}
	}
	if t.Alphabet == GSMPacked {
		dst = pack(dst, start)
	}
	return dst
}

// append encodes a rune that the alphabet has.
func (a Alphabet) append(dst []byte, r rune) []byte {
	switch a {
	case UCS2:
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(dst, uint16(high)), uint16(low))
		}
		return binary.BigEndian.AppendUint16(dst, uint16(r))
	case GSM:
		code := gsmCode(r)
		if code >= gsmExtended {
			dst = append(dst, gsmEscape)
		}
		return append(dst, byte(code))
	}
	return append(dst, byte(r))
}

// packedLen returns the octets that so many septets take.
func packedLen(septets int) int { return (7*septets + 7) / 8 }

const carriageReturn = '\r'

// pack packs the septets dst[start:] in place. Seven spare bits would read as an
// @, so they become a CR; and a text that ends in a CR where the octets end gets
// a second one, since the receiver drops it (3GPP TS 23.038 §6.1.2.3.1).
func pack(dst []byte, start int) []byte {
	switch n := len(dst) - start; {
	case n%8 == 7, n > 0 && n%8 == 0 && dst[len(dst)-1] == carriageReturn:
		dst = append(dst, carriageReturn)
	}
	septets := dst[start:]
	out := start
	var bits, n uint
	for _, s := range septets {
		bits |= uint(s) << n
		if n += 7; n >= 8 {
			dst[out] = byte(bits)
			out++
			bits >>= 8
			n -= 8
		}
	}
	if n > 0 {
		dst[out] = byte(bits)
		out++
	}
	return dst[:out]
}

// unpack appends the septets of b. A CR in the last seven bits of a full octet
// is padding.
func unpack(dst, b []byte) []byte {
	var bits, n uint
	for _, c := range b {
		bits |= uint(c) << n
		for n += 8; n >= 7; n -= 7 {
			dst = append(dst, byte(bits&0x7F))
			bits >>= 7
		}
	}
	if len(b) > 0 && len(b)%7 == 0 && dst[len(dst)-1] == carriageReturn {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// plain reports whether s has only characters that every alphabet has, as one
// unit each and, except in UCS-2, as the octets that they are here. Nearly all
// screens are plain.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || plainOctets[c/64]>>(c%64)&1 == 0 {
			return false
		}
	}
	return true
}

// plainOctets has a bit for every character of plain: letters, CR, LF, and what
// is from the space to the question mark, except the dollar sign.
var plainOctets = [2]uint64{
	1<<'\n' | 1<<'\r' | (1<<32-1)<<' '&^(1<<'$'),
	(1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64),
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
	'\t': " ", '`': "'", '´': "'",
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
//
//   - octets that the alphabet does not have are read as UTF-8 if the whole text
//     is valid UTF-8, and as Latin-1 otherwise;
//   - UCS-2 of an odd length, or made only of the octets for digits, `*` and `#`,
//     is read as if it were Latin-1, and so is such packed GSM;
//   - GSM that is nothing but digits, `*` and `#` of UCS-2 is read as that.
func (a Alphabet) Decode(b []byte) string {
	var room [256]byte
	return string(a.decode(room[:0], b))
}

// decode appends what Decode returns.
func (a Alphabet) decode(dst, b []byte) []byte {
	switch {
	case dialled(b, 0, 1):
		return append(dst, b...)
	case a == UCS2Language && len(b)%2 == 0:
		return decodeUCS2(dst, dropLanguage(b))
	case a == UCS2 && len(b)%2 == 0:
		return decodeUCS2(dst, b)
	case a == GSMPacked:
		var room [256]byte
		return decodeGSM(dst, unpack(room[:0], b))
	case a == GSM && dialled(b, 1, 2):
		return decodeUCS2(dst, b)
	case a == GSM && !high(b):
		return decodeGSM(dst, b)
	case a != Latin1 && utf8.Valid(b):
		return append(dst, b...)
	}
	return decodeLatin1(dst, b)
}

func high(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// dialled reports whether b has a digit, `*` or `#` at from and every so many
// octets behind it, and zeros between them.
func dialled(b []byte, from, every int) bool {
	if len(b) == 0 || len(b)%every != 0 {
		return false
	}
	for i, c := range b {
		switch {
		case i%every != from:
			if c != 0 {
				return false
			}
		case (c < '0' || c > '9') && c != '*' && c != '#':
			return false
		}
	}
	return true
}

// dropLanguage takes a language code off a text: two letters, packed.
func dropLanguage(b []byte) []byte {
	if len(b) < 2 {
		return b
	}
	first, second := b[0]&0x7F, b[1]<<1&0x7F|b[0]>>7
	if first >= 'a' && first <= 'z' && second >= 'a' && second <= 'z' && b[1]>>6 == 0 {
		return b[2:]
	}
	return b
}

func decodeGSM(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == gsmEscape && i+1 < len(b) {
			i++
			c = b[i]
			if r, ok := gsmExtension[c]; ok {
				dst = utf8.AppendRune(dst, r)
				continue
			}
		}
		dst = utf8.AppendRune(dst, gsmRunes[c])
	}
	return dst
}

func decodeLatin1(dst, b []byte) []byte {
	for _, c := range b {
		dst = utf8.AppendRune(dst, rune(c))
	}
	return dst
}

// decodeUCS2 reads UTF-16; a byte order mark is obeyed and dropped. An octet too
// many at the end is lost.
func decodeUCS2(dst, b []byte) []byte {
	var order binary.ByteOrder = binary.BigEndian
	if len(b) >= 2 {
		switch binary.BigEndian.Uint16(b) {
		case 0xFEFF:
			b = b[2:]
		case 0xFFFE:
			order, b = binary.LittleEndian, b[2:]
		}
	}
	for ; len(b) >= 2; b = b[2:] {
		r := rune(order.Uint16(b))
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if len(b) >= 4 {
				pair = utf16.DecodeRune(r, rune(order.Uint16(b[2:])))
			}
			if r = pair; r != utf8.RuneError {
				b = b[2:]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
