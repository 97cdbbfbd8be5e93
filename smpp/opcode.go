package smpp

import (
	"cmp"
	"fmt"
)

// OpCode is an operation as it stands in a PDU: an octet, or two letters of
// service_type with the first in the upper octet.
type OpCode uint16

// NoOp is no operation.
const NoOp OpCode = 0xFFFF

// letters reports whether the operation is one for service_type.
func (c OpCode) letters() bool { return c > 0xFF && c != NoOp }

// anySecond stands for any second letter in Profile.Ops.
const anySecond OpCode = '*'

// operations are the values of ussd_service_op that have a name: those of SMPP
// 3.4 §5.3.2.44 and, from 0x20 on, those that vendors are known to use.
var operations = []struct {
	code  OpCode
	name  string
	means string
}{
	{0x00, "pssd-indication", "PSSD indication"},
	{0x01, "pssr-indication", "PSSR indication"},
	{0x02, "ussr-request", "USSR request"},
	{0x03, "ussn-request", "USSN request"},
	{0x0F, "redirect", "redirect to another service"},
	{0x10, "pssd-response", "PSSD response"},
	{0x11, "pssr-response", "PSSR response"},
	{0x12, "ussr-confirm", "USSR confirm"},
	{0x13, "ussn-confirm", "USSN confirm"},
	{0x23, "foreign-dialogue", "message of another dialogue"},
	{0x41, "hangup", "hung up by the subscriber"},
	{0x42, "failure", "failed"},
	{0x43, "rejected", "rejected"},
	{0x44, "esme-hangup", "hung up by the ESME"},
	{0x80, "release-request", "release request"},
	{0x81, "release-indication", "release indication"},
	{0x82, "ussr-last", "USSR request, the last"},
	{0x83, "ussn-last", "USSN request, the last"},
	{0x92, "ussr-confirm-last", "USSR confirm, the last"},
	{0x96, "ussr-vlr", "USSR request to the VLR"},
	{0x97, "ussn-vlr", "USSN request to the VLR"},
	{0x98, "ussr-vlr-last", "USSR request to the VLR, the last"},
	{0x99, "ussn-vlr-last", "USSN request to the VLR, the last"},
}

// String returns the operation as a knob has it: 0x11, or two letters.
func (c OpCode) String() string {
	switch {
	case c == NoOp:
		return none
	case c.letters():
		return string([]byte{byte(c >> 8), byte(c)})
	}
	return fmt.Sprintf("0x%02x", byte(c))
}

// describe returns the operation in words: "0x11 (17), PSSR response".
func (c OpCode) describe() string {
	switch {
	case c == NoOp:
		return "none"
	case c.letters():
		return c.String() + ", " + opLetters(byte(c>>8), byte(c))
	}
	s := hexAndDecimal(byte(c))
	for _, o := range operations {
		if o.code == c {
			return s + ", " + o.means
		}
	}
	return s
}

// opLetters explains an operation in service_type.
func opLetters(first, second byte) string {
	steps := map[byte]string{'B': "begin", 'C': "continue", 'E': "end", 'A': "abort", 'F': "charge indication"}
	kinds := map[byte]string{'R': " request", 'N': " notify", 'A': " response", 'F': " release", byte(anySecond): ""}
	kind, ok := kinds[second]
	if !ok {
		kind = " ?"
	}
	return cmp.Or(steps[first], "?") + kind
}

func parseOp(s string) (OpCode, error) {
	for _, o := range operations {
		if o.name == s {
			return o.code, nil
		}
	}
	if len(s) == 2 && letter(s[0]) && (letter(s[1]) || OpCode(s[1]) == anySecond) {
		return OpCode(s[0])<<8 | OpCode(s[1]), nil
	}
	v, err := parseHex(s, 8)
	return OpCode(v), err
}

func letter(c byte) bool { return c >= 'A' && c <= 'Z' }
