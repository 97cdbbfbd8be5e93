package smpptest

import (
	"bytes"
	"testing"

	"github.com/fiorix/go-smpp/smpp/encoding"
)

// TestGSMAgainstGoSMPP holds both tables, in both directions, against
// go-smpp's.
func TestGSMAgainstGoSMPP(t *testing.T) {
	var codes [][]byte
	for c := range 0x80 {
		if c != gsmEscape {
			codes = append(codes, []byte{byte(c)})
		}
		codes = append(codes, []byte{gsmEscape, byte(c)})
	}
	known := 0
	for _, code := range codes {
		want, err := encoding.GSM7(false).NewDecoder().Bytes(code)
		got, bad := decodeGSM(code)
		if err != nil {
			if bad != 1 || got != "\uFFFD" {
				t.Errorf("% x: %q with %d bad, want none", code, got, bad)
			}
			continue
		}
		known++
		if got != string(want) || bad != 0 {
			t.Errorf("% x: %q with %d bad, want %q", code, got, bad, want)
		}
		if back, ok := encodeGSM(got); !ok || !bytes.Equal(back, code) {
			t.Errorf("%q is encoded as % x, %t, want % x", got, back, ok, code)
		}
	}
	if known != 127+10 {
		t.Errorf("go-smpp knows %d codes, not 137", known)
	}
}

func TestDecodeText(t *testing.T) {
	tests := []struct {
		name            string
		coding          byte
		octets          string
		text            string
		units, max, bad int
	}{
		{"GSM", 0x00, "\x00 \x1b\x65 5", "@ € 5", 6, 182, 0},
		{"GSM as MAP labels it", 0x0F, "a\x02", "a$", 2, 182, 0},
		{"raw UTF-8 under GSM", 0x00, "\xe2\x82\xa6", "\uFFFD\uFFFD\uFFFD", 3, 182, 3},
		{"escape at the end", 0x00, "a\x1b", "a\uFFFD", 2, 182, 1},
		{"ASCII", 0x01, "a@\x80", "a@\uFFFD", 3, 160, 1},
		{"Latin-1", 0x03, "\xe9\xa3", "é£", 2, 160, 0},
		{"8-bit", 0x04, "@", "@", 1, 160, 0},
		{"UCS2", 0x08, "\x20\xa6\xd8\x3d\xde\x00", "₦😀", 3, 80, 0},
		{"UCS2 with half a surrogate", 0x08, "\xd8\x3d\x00a", "\uFFFDa", 2, 80, 1},
		{"UCS2 of odd length", 0x08, "\x00a\x00", "a", 2, 80, 1},
	}
	for _, test := range tests {
		coding, ok := findCoding(spoken, test.coding)
		if !ok {
			t.Errorf("%s: data_coding 0x%02x is not read", test.name, test.coding)
			continue
		}
		want := Screen{Text: test.text, Units: test.units, Bad: test.bad}
		if got := coding.show([]byte(test.octets)); got != want || coding.limit() != test.max {
			t.Errorf("%s: %+v of %d units, want %+v of %d", test.name, got, coding.limit(), want, test.max)
		}
	}
	if _, ok := findCoding(spoken, 0xF5); ok {
		t.Error("data_coding 0xf5 is read")
	}
}

func TestEncodeText(t *testing.T) {
	tests := []struct {
		text   string
		coding byte
		octets string
	}{
		{"*999*1#", 0x00, "*999*1#"},
		{"a@[€", 0x00, "a\x00\x1b\x3c\x1b\x65"},
		{"₦5", 0x08, "\x20\xa6\x005"},
		{"", 0x00, ""},
		{"\x1b", 0x08, "\x00\x1b"},
	}
	for _, test := range tests {
		coding, octets, err := typed(spoken[:2], test.text)
		if err != nil || coding != test.coding || string(octets) != test.octets {
			t.Errorf("%q: data_coding %d, % x, %v", test.text, coding, octets, err)
		}
	}
}
