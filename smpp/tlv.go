package smpp

import (
	"encoding/binary"
	"iter"

	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
)

const tlvHeaderLen = 4

// Tags of the optional parameters that this package reads itself.
const (
	tagMessagePayload           = pdutlv.TagMessagePayload
	tagReceiptedMessageID       = pdutlv.TagReceiptedMessageID   // SMPP 3.4 §5.3.2.12
	tagUserMessageReference     = pdutlv.TagUserMessageReference // SMPP 3.4 §5.3.2.17
	tagMessageState             = pdutlv.Tag(0x0427)             // message_state, SMPP 3.4 §5.3.2.35
	tagInterfaceVersion         = pdutlv.Tag(0x0210)             // sc_interface_version, SMPP 3.4 §5.3.2.25
	tagCongestionState          = pdutlv.Tag(0x0428)             // SMPP 5.0 §4.8.4.18
	maxTLVValue             int = 0xFFFF
)

// TLV is one optional parameter (SMPP 3.4 §3.2.4.1).
type TLV struct {
	Tag   pdutlv.Tag
	Value []byte
}

// TLVs is a list of optional parameters as they stand on the wire: order,
// repetitions and unknown tags are kept. The zero value is an empty list.
type TLVs []byte

// Get returns the value of the first parameter with the given tag; the value
// aliases the list.
func (t TLVs) Get(tag pdutlv.Tag) (value []byte, ok bool) {
	for len(t) > 0 {
		var v TLV
		if v, t, ok = t.next(); !ok {
			break
		}
		if v.Tag == tag {
			return v.Value, true
		}
	}
	return nil, false
}

// All iterates over the parameters in wire order; the values alias the list.
func (t TLVs) All() iter.Seq[TLV] {
	return func(yield func(TLV) bool) {
		for rest := t; len(rest) > 0; {
			v, next, ok := rest.next()
			if !ok || !yield(v) {
				return
			}
			rest = next
		}
	}
}

// Append returns the list with one more parameter at its end, like the built-in
// append. A value longer than 65,535 octets is cut there, which makes the
// message too long to be encoded.
func (t TLVs) Append(tag pdutlv.Tag, value ...byte) TLVs {
	value = value[:min(len(value), maxTLVValue)]
	t = binary.BigEndian.AppendUint16(t, uint16(tag))
	t = binary.BigEndian.AppendUint16(t, uint16(len(value)))
	return append(t, value...)
}

// next splits the first parameter off; ok is false if it is not whole.
func (t TLVs) next() (v TLV, rest TLVs, ok bool) {
	if len(t) < tlvHeaderLen {
		return TLV{}, nil, false
	}
	n := tlvHeaderLen + int(binary.BigEndian.Uint16(t[2:]))
	if len(t) < n {
		return TLV{}, nil, false
	}
	return TLV{pdutlv.Tag(binary.BigEndian.Uint16(t)), t[tlvHeaderLen:n:n]}, t[n:], true
}

// whole returns the leading part of t that consists of whole parameters.
func (t TLVs) whole() TLVs {
	rest := t
	for len(rest) > 0 {
		_, next, ok := rest.next()
		if !ok {
			break
		}
		rest = next
	}
	n := len(t) - len(rest)
	return t[:n:n]
}
