package smpp

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
)

// Profile is a dialect of USSD over SMPP, as data: where an SMSC puts the
// operation, the session and the text, and how it wants its answers. A Profile
// is not changed after it is given to a Link, and may be shared by many.
type Profile struct {
	Name string

	ServiceType string // service_type of replies

	// CountryCode is put before subscribers' numbers that are written without
	// it, which have NationalDigits digits behind their trunk zero. Empty: all
	// numbers are international.
	CountryCode    string
	NationalDigits int

	OpTag   pdutlv.Tag  // TLV of one octet that holds the operation
	Ops     map[byte]Op // what the SMSC's operations mean
	OtherOp Op          // what any other operation means
	MenuOp  byte        // operation of a reply that waits for an answer
	EndOp   byte        // operation of a reply that ends the dialogue

	Session SessionTLV

	Codings  map[byte]Alphabet // alphabets of data_coding values received
	OtherDCS Alphabet          // alphabet of any other data_coding
	DCS      byte              // data_coding of replies
	Text     Text              // alphabet and screen size of replies

	AfterUser      bool     // submit_sm_resp comes only after the subscriber has answered the screen
	Affinity       Affinity // which binds a reply may leave on
	RefuseByStatus bool     // a begin that is not admitted gets status 0x64 in its response, not a text
	AnonymousLater bool     // addresses are NULL in all PDUs of a dialogue but its first: its id alone names it

	// Statuses says what a refusal of a submit_sm means; one that is not
	// listed is Dead.
	Statuses map[pdu.Status]StatusClass
}

// SessionTLV describes the optional parameter that carries a dialogue's
// session, read as one big-endian word.
type SessionTLV struct {
	Tag     pdutlv.Tag // zero: the dialect has none
	Length  int        // octets, at most 4
	ID      uint32     // bits that identify the dialogue
	End     uint32     // bit that says that the dialogue is over, zero: none
	Counter uint32     // bits that the ESME counts up with each reply, zero: none
}

// Affinity says which binds a reply may leave on, besides the one that its
// request came on.
type Affinity uint8

// The affinities. With pairs, SameBind is the same pair.
const (
	SameSystemID Affinity = iota // any bind of the same account
	SameBind                     // no other
	AnyBind                      // any bind of the link
)

// String returns system_id, bind or any.
func (a Affinity) String() string { return [...]string{"system_id", "bind", "any"}[a] }

// StatusClass is what a refused reply means for its dialogue.
type StatusClass uint8

// The classes. The zero value is what an unknown status is taken for.
const (
	Dead          StatusClass = iota // the dialogue is over; do not send again
	Temporary                        // send again a little later
	TooLong                          // the text is longer than the SMSC takes
	Misconfigured                    // the link's profile or account is wrong
)

var statusClassNames = [...]string{Dead: "dead", Temporary: "temporary", TooLong: "too_long", Misconfigured: "misconfigured"}

// String returns the class in lower case: dead, temporary, too_long or misconfigured.
func (c StatusClass) String() string {
	if int(c) < len(statusClassNames) {
		return statusClassNames[c]
	}
	return "unknown"
}

// profiles are the dialects that come with the package.
var profiles = map[string]*Profile{
	// SMPP 5.0 §4.8.4.34 and §4.8.4.63 read literally: the session number is
	// octet 1 of its_session_info; octet 2 has a sequence in its upper seven
	// bits, which the ESME counts, and the end of the session in its lowest.
	"standard": {
		Name:        "standard",
		ServiceType: "USSD",
		CountryCode: "234", NationalDigits: 10,
		OpTag: tagServiceOp,
		Ops: map[byte]Op{
			0x00: Begin,   // PSSD indication
			0x01: Begin,   // PSSR indication
			0x12: Input,   // USSR confirm
			0x81: Release, // in vendor space, the common sign that the network has released
		},
		OtherOp: Input,
		MenuOp:  0x02, // USSR request
		EndOp:   0x11, // PSSR response
		Session: SessionTLV{Tag: tagSessionInfo, Length: 2, ID: 0xFF00, End: 0x0001, Counter: 0x00FE},
		Codings: map[byte]Alphabet{
			0x00: GSM, 0x01: ASCII, 0x03: Latin1, 0x04: Latin1, 0x08: UCS2,
			// Coding schemes of 3GPP TS 23.038 §5 that leak from the MAP side.
			0x0F: GSM, 0x11: UCS2, 0x40: GSM, 0x44: Latin1, 0x48: UCS2,
		},
		OtherDCS: GSM,
		DCS:      0x00,
		Text:     Text{Alphabet: GSM, Max: 160},
		Statuses: map[pdu.Status]StatusClass{
			0x08: Temporary, 0x14: Temporary, 0x58: Temporary, 0x64: Temporary,
			0x01: TooLong,
			0x0A: Misconfigured, 0x0B: Misconfigured, 0x15: Misconfigured,
			0x43: Misconfigured, 0x45: Misconfigured, 0xC3: Misconfigured,
		},
	},
}

// Profiles returns the names of the built-in profiles in alphabetical order.
func Profiles() []string {
	return slices.Sorted(maps.Keys(profiles))
}

// ProfileByName returns a copy of a built-in profile. The copy's maps are
// shared with it: replace them to change them.
func ProfileByName(name string) (*Profile, error) {
	p, ok := profiles[name]
	if !ok {
		return nil, fmt.Errorf("no profile %q; there are: %s", name, strings.Join(Profiles(), ", "))
	}
	c := *p
	return &c, nil
}

// check reports what makes a profile unusable.
func (p *Profile) check() error {
	switch {
	case p.Text.Max < 1:
		return fmt.Errorf("profile %s: a screen of %d units holds nothing", p.Name, p.Text.Max)
	case p.Text.octets() > maxShortMessage:
		return fmt.Errorf("profile %s: %d units of %s take more than the %d octets of short_message",
			p.Name, p.Text.Max, p.Text.Alphabet, maxShortMessage)
	case p.Session.Tag != 0 && (p.Session.Length < 1 || p.Session.Length > 4):
		return fmt.Errorf("profile %s: a session TLV of %d octets is outside 1 to 4", p.Name, p.Session.Length)
	case len(p.ServiceType) > maxServiceType:
		return fmt.Errorf("profile %s: service_type %q is longer than %d characters", p.Name, p.ServiceType, maxServiceType)
	}
	return nil
}

// octets returns the longest encoded form of one screen.
func (t Text) octets() int {
	if t.Alphabet == UCS2 {
		return 2 * t.Max
	}
	return t.Max
}

// next returns the session word of the nth reply (from 1) to a PDU that carried
// word, in which the End bit was not set: with it there is nobody to reply to.
func (s *SessionTLV) next(word, n uint32, end bool) uint32 {
	if step := s.Counter & -s.Counter; step != 0 {
		word = word&^s.Counter | (word&s.Counter+n*step)&s.Counter
	}
	if end {
		word |= s.End
	}
	return word
}
