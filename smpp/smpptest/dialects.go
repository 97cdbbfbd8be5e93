package smpptest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
)

// serviceUSSD is the service_type of most dialects. SMPP 3.4 §5.2.11.
const serviceUSSD = "USSD"

// Values of ussd_service_op. SMPP 3.4 §5.3.2.44; those from 0x20 on are from the
// vendors' range.
const (
	opPSSDIndication  byte = 0x00 // a subscriber dialled, in phase 1
	opPSSRIndication  byte = 0x01 // a subscriber dialled
	opUSSRRequest     byte = 0x02 // the ESME asks
	opUSSNRequest     byte = 0x03 // the ESME tells
	opPSSDResponse    byte = 0x10 // the ESME's answer in phase 1
	opPSSRResponse    byte = 0x11 // the ESME's last word
	opUSSRConfirm     byte = 0x12 // the subscriber answered
	opUSSNConfirm     byte = 0x13 // the subscriber has seen it
	opHangup          byte = 0x41 // the subscriber ended the dialogue
	opFailure         byte = 0x42 // the network lost it
	opRejected        byte = 0x43 // the network broke it off
	opESMEHangup      byte = 0x44 // the ESME ends it without a text
	opReleaseRequest  byte = 0x80 // the same
	opRelease         byte = 0x81 // the subscriber or the network ended it
	opUSSRLast        byte = 0x82 // the ESME asks, and the answer ends the dialogue
	opUSSNLast        byte = 0x83 // the ESME tells, and that ends the dialogue
	opUSSRLastConfirm byte = 0x92 // the answer to opUSSRLast
)

// The two octets of its_session_info in the standard dialect. SMPP 3.4
// §5.3.2.43.
const (
	sessionInfoLen      = 2
	sessionEnd     byte = 0x01 // the E bit of the second
)

// Numbering of a subscriber's address. SMPP 3.4 §5.2.5, §5.2.6.
const (
	tonInternation byte = 1
	npiISDN        byte = 1
)

// act is something that one of the two sides of a dialogue says, whatever the
// dialect has for it.
type act uint8

// What a gateway tells the ESME.
const (
	actBegin     act = iota // a subscriber dialled
	actBeginOnce            // the same in phase 1: one request, one answer
	actInput                // the subscriber answered
	actLastInput            // the subscriber answered an actAskLast
	actConfirm              // the subscriber has seen an actTell
	actHangup               // the subscriber left
	actFailure              // the network lost the subscriber
	actReject               // the network broke the dialogue off
)

// What an ESME tells the gateway.
const (
	actAsk     act = iota + 0x20 // show a text, wait for an answer
	actAskLast                   // the same, and the answer ends the dialogue
	actTell                      // show a text, and go on
	actEnd                       // show a text, which ends the dialogue
	actRelease                   // end the dialogue without a text
)

// signal is how an act is written.
type signal struct {
	op      byte   // ussd_service_op. SMPP 3.4 §5.3.2.44
	letters string // service_type, where a dialect has the operation there
	end     bool   // the E bit, where a dialect has one
}

// kind is how a dialogue came about, which decides what may be said in it.
type kind uint8

const (
	mobile  kind = iota // the subscriber dialled
	phase1              // the subscriber dialled, and gets one answer
	network             // an ESME asked for it
	opening             // there is no dialogue yet: an ESME asks for one
)

// numbering is the TON and NPI of an address. SMPP 3.4 §5.2.5, §5.2.6.
type numbering struct{ ton, npi byte }

var (
	unknownNumber = numbering{0, 0}
	international = numbering{tonInternation, npiISDN}
)

// addressing says which addresses stand in the messages of a dialogue.
type addressing uint8

const (
	swapped    addressing = iota // both, those of a reply are those of the request the other way round
	destOnly                     // a reply names the subscriber only
	anonymized                   // both are NULL in all but the PDU that begins a dialogue, which has the subscriber's only
)

// sessionTLV is the optional parameter that tells which dialogue a message
// belongs to: one big-endian word of which some bits are the gateway's number
// for the dialogue.
type sessionTLV struct {
	tag     pdutlv.Tag // 0: the dialect has none
	length  int        // octets
	text    bool       // the word is a C-octet string of hexadecimal digits
	id      uint32     // bits of the word that are the number
	counter uint32     // bits that the ESME counts and the gateway repeats
	end     uint32     // the E bit: the dialogue is over
}

// dialect is how a gateway speaks USSD over SMPP, as data.
type dialect struct {
	name        string
	data        bool   // data_sm both ways in the place of deliver_sm and submit_sm
	letters     bool   // the operation is in service_type
	serviceType string // if not letters
	session     sessionTLV
	idFirst     bool // the session's TLV stands before the operation's
	idAlone     bool // the number alone tells the dialogue, without the subscriber's
	in          map[act]signal
	out         map[kind]map[signal]act
	addressing  addressing
	subscriber  numbering   // of the subscriber's address in requests
	service     numbering   // of the service code in requests
	replyTo     []numbering // that a reply may have for the subscriber's address
	bare        bool        // the service code is written without stars and hash
	esmClass    byte        // both ways. SMPP 3.4 §5.2.12
	codings     []coding    // data_codings that the ESME may use
	typed       []coding    // those of what subscribers type; the first that can write it all is taken
	phase1Max   int         // units that an answer in phase 1 may have; 0: as many as any text
	extra       []smpp.TLV  // in every request; a reply must have the first
	afterUser   bool        // the response to a question comes only when the subscriber has answered
	tellsID     bool        // the response to a reply that opened a dialogue has the session's TLV
}

// vendorSessionTag is the tag that the gateway of dialect vendor-tlv carries
// its numbers in, the first that is left to vendors. SMPP 3.4 §5.3.2.
const vendorSessionTag pdutlv.Tag = 0x1400

// Optional parameters that only dialect data-sm has.
const (
	tagReceiptedMessageID pdutlv.Tag = 0x001E // SMPP 3.4 §5.3.2.12
	tagDestBearerType     pdutlv.Tag = 0x0007 // SMPP 3.4 §5.3.2.5
	tagLanguageIndicator  pdutlv.Tag = 0x020D // SMPP 3.4 §5.3.2.19
)

// spoken are the data_codings that most gateways read; what subscribers type is
// GSM or UCS2.
var spoken = []coding{
	{value: 0x00, alphabet: gsm}, {value: 0x08, alphabet: ucs2},
	{value: 0x01, alphabet: ascii}, {value: 0x03, alphabet: latin1}, {value: 0x04, alphabet: latin1}, {value: 0x0F, alphabet: gsm},
}

// dialects are all there are. Each is modelled on what a kind of gateway is
// known to do; where that is not known, on SMPP's text.
var dialects = []*dialect{
	{
		// SMPP 5.0 §4.8.4.34 and §4.8.4.63 read literally: octet 1 of
		// its_session_info is the session number, octet 2 the ESME's count
		// and the E bit.
		name:        "standard",
		serviceType: serviceUSSD,
		session:     sessionTLV{tag: pdutlv.TagItsSessionInfo, length: sessionInfoLen, id: 0xFF00, counter: 0x00FE, end: uint32(sessionEnd)},
		in: map[act]signal{
			actBegin: {op: opPSSRIndication}, actBeginOnce: {op: opPSSDIndication}, actInput: {op: opUSSRConfirm}, actConfirm: {op: opUSSNConfirm, end: true},
			actHangup: {op: opRelease, end: true}, actFailure: {op: opUSSRConfirm, end: true}, actReject: {op: opRelease, end: true},
		},
		out: map[kind]map[signal]act{
			mobile:  {{op: opUSSRRequest}: actAsk, {op: opPSSRResponse, end: true}: actEnd, {op: opReleaseRequest, end: true}: actRelease},
			phase1:  {{op: opPSSDResponse, end: true}: actEnd},
			network: {{op: opUSSRRequest}: actAsk, {op: opUSSNRequest}: actTell, {op: opUSSNRequest, end: true}: actEnd, {op: opPSSRResponse, end: true}: actEnd, {op: opReleaseRequest, end: true}: actRelease},
			opening: {{op: opUSSRRequest}: actAsk, {op: opUSSNRequest}: actEnd},
		},
		subscriber: international, replyTo: []numbering{international},
		codings: spoken, typed: spoken[:2],
	},
	{
		// The whole word but for the E bit is the gateway's and is echoed. A
		// reply is always a request; that it is the last one, only E says.
		name:    "tata",
		session: sessionTLV{tag: pdutlv.TagItsSessionInfo, length: sessionInfoLen, id: 0xFFFE, end: uint32(sessionEnd)},
		in: map[act]signal{
			actBegin: {op: opPSSRIndication}, actInput: {op: opUSSRRequest},
			actHangup: {op: opUSSRConfirm, end: true}, actFailure: {op: opPSSRResponse}, actReject: {op: opUSSRRequest, end: true},
		},
		out:        map[kind]map[signal]act{mobile: {{op: opUSSRRequest}: actAsk, {op: opUSSRRequest, end: true}: actEnd}},
		subscriber: international, replyTo: []numbering{international},
		codings: spoken, typed: spoken[:2],
	},
	{
		name:        "mica",
		serviceType: serviceUSSD,
		session:     sessionTLV{tag: pdutlv.TagUserMessageReference, length: 2, id: 0xFFFF},
		idFirst:     true,
		in: map[act]signal{
			actBegin: {op: opPSSRIndication}, actInput: {op: opUSSRConfirm}, actHangup: {op: opRelease}, actFailure: {op: opRelease}, actReject: {op: opRelease},
		},
		out: map[kind]map[signal]act{
			mobile:  {{op: opUSSRRequest}: actAsk, {op: opPSSRResponse}: actEnd},
			network: {{op: opUSSRRequest}: actAsk, {op: opUSSNRequest}: actEnd, {op: opPSSRResponse}: actEnd},
			opening: {{op: opUSSRRequest}: actAsk, {op: opUSSNRequest}: actEnd},
		},
		bare: true, replyTo: []numbering{international, unknownNumber},
		codings: spoken, typed: spoken[:2],
	},
	{
		name:        "sixdee",
		serviceType: serviceUSSD,
		session:     sessionTLV{tag: pdutlv.TagItsSessionInfo, length: sessionInfoLen, id: 0xFFFE, end: uint32(sessionEnd)},
		in: map[act]signal{
			actBegin: {op: opPSSRIndication}, actInput: {op: opUSSRConfirm},
			actHangup: {op: opRelease, end: true}, actFailure: {op: opUSSRConfirm, end: true}, actReject: {op: opRelease, end: true},
		},
		out: map[kind]map[signal]act{
			mobile:  {{op: opUSSRRequest}: actAsk, {op: opPSSRResponse, end: true}: actEnd},
			network: {{op: opUSSRRequest}: actAsk, {op: opUSSNRequest, end: true}: actEnd, {op: opPSSRResponse, end: true}: actEnd},
			opening: {{op: opUSSRRequest}: actAsk, {op: opUSSNRequest}: actEnd},
		},
		subscriber: international, replyTo: []numbering{international},
		codings: spoken, typed: spoken[:2],
	},
	{
		// The number is the gateway's own, of all its dialogues, and stands
		// for the subscriber's once a dialogue is open.
		name:        "vendor-tlv",
		serviceType: serviceUSSD,
		session:     sessionTLV{tag: vendorSessionTag, length: 4, id: 0xFFFFFFFF},
		idAlone:     true,
		in: map[act]signal{
			actBegin: {op: opPSSRIndication}, actBeginOnce: {op: opPSSDIndication}, actInput: {op: opUSSRConfirm}, actLastInput: {op: opUSSRLastConfirm},
			actHangup: {op: opRelease}, actFailure: {op: opRelease}, actReject: {op: opRelease},
		},
		out: map[kind]map[signal]act{
			mobile:  {{op: opUSSRRequest}: actAsk, {op: opPSSRResponse}: actEnd},
			phase1:  {{op: opPSSDResponse}: actEnd},
			network: {{op: opUSSRRequest}: actAsk, {op: opUSSRLast}: actAskLast, {op: opUSSNRequest}: actTell, {op: opUSSNLast}: actEnd, {op: opReleaseRequest}: actRelease},
			opening: {{op: opUSSRRequest}: actAsk, {op: opUSSRLast}: actAskLast, {op: opUSSNRequest}: actEnd, {op: opUSSNLast}: actEnd},
		},
		addressing: anonymized, subscriber: international, replyTo: []numbering{international},
		codings:   []coding{{value: 0x00, alphabet: latin1}, {value: 0x04, alphabet: latin1}, {value: 0x08, alphabet: ucs2}},
		typed:     []coding{{value: 0x00, alphabet: latin1}, {value: 0x08, alphabet: ucs2}},
		phase1Max: 200,
		afterUser: true,
		tellsID:   true,
	},
	{
		// Begin, Continue, End or Abort, and Request, Notify, Answer or
		// release (F); the subscriber's number is all that tells dialogues
		// apart.
		name:    "service-type",
		letters: true,
		in: map[act]signal{
			actBegin: {letters: "BR"}, actInput: {letters: "CA"},
			actHangup: {letters: "AF"}, actFailure: {letters: "AR"}, actReject: {letters: "AN"},
		},
		out: map[kind]map[signal]act{
			mobile:  {{letters: "BR"}: actAsk, {letters: "CR"}: actAsk, {letters: "EF"}: actEnd},
			network: {{letters: "CR"}: actAsk, {letters: "EF"}: actEnd},
			opening: {{letters: "BR"}: actAsk, {letters: "BN"}: actEnd},
		},
		subscriber: international, service: international, replyTo: []numbering{international}, bare: true,
		codings: []coding{{value: 0x04, alphabet: latin1}, {value: 0x08, alphabet: ucs2}},
		typed:   []coding{{value: 0x04, alphabet: latin1}, {value: 0x08, alphabet: ucs2}},
	},
	{
		name:        "data-sm",
		data:        true,
		serviceType: serviceUSSD,
		session:     sessionTLV{tag: tagReceiptedMessageID, length: 7, text: true, id: 0xFFFFFF},
		idFirst:     true,
		in: map[act]signal{
			actBegin: {op: opPSSRIndication}, actInput: {op: opUSSRConfirm}, actHangup: {op: opHangup}, actFailure: {op: opFailure}, actReject: {op: opRejected},
		},
		out:        map[kind]map[signal]act{mobile: {{op: opUSSRRequest}: actAsk, {op: opPSSRResponse}: actEnd, {op: opESMEHangup}: actRelease}},
		addressing: destOnly, subscriber: international, replyTo: []numbering{international},
		esmClass: 1,
		codings:  []coding{{value: 0x00, alphabet: gsm, max: maxOctets}, {value: 0x08, alphabet: ucs2}},
		typed:    spoken[:2],
		extra:    []smpp.TLV{{Tag: tagDestBearerType, Value: []byte{4}}, {Tag: tagLanguageIndicator, Value: []byte{1}}},
	},
	{
		// Operations as in the standard, and no session parameter at all.
		name:        "msisdn",
		serviceType: serviceUSSD,
		in: map[act]signal{
			actBegin: {op: opPSSRIndication}, actInput: {op: opUSSRConfirm}, actHangup: {op: opRelease}, actFailure: {op: opRelease}, actReject: {op: opRelease},
		},
		out: map[kind]map[signal]act{
			mobile:  {{op: opUSSRRequest}: actAsk, {op: opPSSRResponse}: actEnd},
			network: {{op: opUSSRRequest}: actAsk, {op: opUSSNRequest}: actEnd, {op: opPSSRResponse}: actEnd},
			opening: {{op: opUSSRRequest}: actAsk, {op: opUSSNRequest}: actEnd},
		},
		subscriber: international, replyTo: []numbering{international},
		codings: spoken, typed: spoken[:2],
	},
}

// Dialects returns the names of all dialects.
func Dialects() []string {
	var names []string
	for _, d := range dialects {
		names = append(names, d.name)
	}
	return names
}

// dialectByName returns a dialect; empty: standard.
func dialectByName(name string) (*dialect, error) {
	if name == "" {
		return dialects[0], nil
	}
	i := slices.IndexFunc(dialects, func(d *dialect) bool { return d.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no dialect %q; there are: %s", name, strings.Join(Dialects(), ", "))
	}
	return dialects[i], nil
}

// knows tells whether a signal has a meaning in any kind of dialogue.
func (d *dialect) knows(s signal) bool {
	for acts := range maps.Values(d.out) {
		if _, ok := acts[s]; ok {
			return true
		}
	}
	return false
}
