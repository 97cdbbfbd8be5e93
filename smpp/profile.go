package smpp

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
)

// Profile is a dialect of USSD over SMPP, as data: where an SMSC puts the
// operation, the session and the text, and how it wants its answers. A Profile
// is not changed after it is given to a Link, and may be shared by many.
//
// ProfileByName and LoadProfile make one, and Set changes one setting of it.
// Each field is one knob, or part of one; Knobs explains them.
type Profile struct {
	Name string

	DataSM          bool   // replies are data_sm with a message_payload, not submit_sm
	ESMClass        byte   // esm_class of replies
	ServiceType     string // service_type of replies, unless the operation stands there
	OnlyServiceType string // messages with another service_type are not USSD; empty: all are
	Extra           TLVs   // parameters that every reply carries as they are

	// CountryCode is put before subscribers' numbers that are written without
	// it, which have NationalDigits digits behind their trunk zero. Empty: all
	// numbers are international.
	CountryCode    string
	NationalDigits int

	CodeFrom CodePlace     // where the service code is
	Code     string        // the service code, if CodeFrom is CodeFixed
	Spelling CodeSpelling  // how a service code is written where there is none to repeat
	Dialled  DialledPlace  // where the dialled string is
	Strip    DialledString // what the SMSC takes off the dialled string

	OpTag   pdutlv.Tag         // TLV of one octet that holds the operation; zero: two letters in service_type do
	Ops     map[OpCode]Meaning // what the SMSC's operations mean
	OtherOp Meaning            // what any other operation means
	MenuOp  OpCode             // operation of a reply that waits for an answer
	EndOp   OpCode             // operation of a reply that ends the dialogue; NoOp if only the end bit says so
	OnceOp  OpCode             // operation of the reply to a MeansOnce

	Session    SessionTLV
	EndBit     bool // a reply that ends the dialogue sets Session.End
	ReleaseBit bool // a message with Session.End set is a release, whatever its operation
	NoID       bool // dialogues are known by their MSISDN alone

	// AnonymousLater is set where later messages of a dialogue have no
	// addresses: they are known by their ID alone.
	AnonymousLater bool

	Addresses        AddressPolicy // which addresses replies have
	ServiceNumber    Numbering     // of replies' source_addr
	SubscriberNumber Numbering     // of replies' destination_addr

	Codings  map[byte]Alphabet // alphabets of data_coding values received
	OtherDCS Alphabet          // alphabet of any other data_coding
	DCS      map[Alphabet]byte // data_coding of replies by their alphabet
	Text     Text              // alphabet and screen size of replies
	StripAt  bool              // an @ at the end of what arrives is CR padding read wrongly

	AfterUser      bool     // submit_sm_resp comes only after the subscriber has answered
	Affinity       Affinity // the binds that may carry a reply
	RefuseByStatus bool     // a begin that is not admitted is answered with 0x64, not with a text

	// Statuses says what a refusal of a submit_sm means; one that is not
	// listed is Dead.
	Statuses map[pdu.Status]StatusClass

	PushAsk  OpCode // operation that begins a dialogue with a question; NoOp: the SMSC cannot
	PushTell OpCode // operation that only tells something; NoOp: the SMSC cannot
	PushEnd  OpCode // like EndOp in a dialogue that we began; NoOp: EndOp does it there too

	NoSMS          bool      // short messages (Link.Send) are not taken: the gateway has USSD only
	SMSServiceType string    // service_type of short messages
	SenderNumber   Numbering // of their source_addr; not fixed: as the sender's form wants it
}

// Meaning is what an operation that the SMSC sends does to a dialogue.
type Meaning uint8

// The meanings. The zero value refuses the message with a status.
const (
	MeansReject  Meaning = iota
	MeansBegin           // the subscriber dialled
	MeansOnce            // the subscriber dialled, and can be answered once (PSSD)
	MeansInput           // the subscriber answered
	MeansLast            // the subscriber answered, and the dialogue is over
	MeansRelease         // the dialogue is over
	MeansIgnore          // nothing: the message is acknowledged, and that is all
)

// SessionTLV describes the optional parameter that carries a dialogue's
// session: one big-endian word, or a text.
type SessionTLV struct {
	Tag      pdutlv.Tag // zero: the dialect has none
	Text     bool       // the whole value is the dialogue's id, a C-octet string (SMPP 3.4 §3.1)
	Length   int        // octets of the word, at most 8
	ID       uint64     // bits of the word that identify the dialogue
	End      uint64     // bit that says that the dialogue is over, zero: none
	Sequence Sequence   // what becomes of the other bits
}

// Sequence is what a reply does with the bits of the session word that are
// neither the id nor the end.
type Sequence uint8

// The ways of Sequence.
const (
	Echo  Sequence = iota // as received
	Count                 // one more with each reply; the SMSC repeats it
	Clear                 // zero
)

// counter returns the bits that the ESME counts, zero if it counts none.
func (s *SessionTLV) counter() uint64 {
	if s.Tag == 0 || s.Text || s.Sequence != Count {
		return 0
	}
	return s.rest() & math.MaxUint32
}

// rest returns the bits that are neither the id nor the end.
func (s *SessionTLV) rest() uint64 { return s.all() &^ (s.ID | s.End) }

// all returns the bits that the word has.
func (s *SessionTLV) all() uint64 { return 1<<(8*s.Length) - 1 }

// CodePlace is where a message has the service code.
type CodePlace uint8

// The places. Where the destination_addr is empty, the text is used.
const (
	CodeInDestination CodePlace = iota
	CodeInText                  // the dialled string's first part, "*999*1#" → "*999#"
	CodeFixed                   // nowhere: Profile.Code is it
)

// CodeSpelling is how a service code is written in an address.
type CodeSpelling uint8

// The spellings.
const (
	CodeDialled CodeSpelling = iota // *999#
	CodeStar                        // *999
	CodeBare                        // 999
)

// DialledPlace is where a begin has the dialled string.
type DialledPlace uint8

// The places.
const (
	DialledInText DialledPlace = iota
	DialledInDestination
)

// DialledString is what an SMSC has taken off the dialled string.
type DialledString uint8

// The ways. For a code *100#, the remainder of *100*5# is 5.
const (
	StripNever    DialledString = iota // the whole string arrives
	StripAlways                        // only the remainder arrives
	StripOnlyStar                      // only the remainder arrives if the string begins with *, else the whole
)

// AddressPolicy is which addresses replies have.
type AddressPolicy uint8

// The policies.
const (
	AddressSwap        AddressPolicy = iota // the message's own, the other way round
	AddressNull                             // none
	AddressDestination                      // the destination only
	AddressFirst                            // the answer to a begin has both, later ones none
)

// Numbering is a type of number and a numbering plan for replies.
type Numbering struct {
	Fixed    bool // false: as received
	TON, NPI byte // with TON 1, international, a subscriber's digits are those of E.164
}

// Affinity says which binds of a link may carry the reply to a message.
type Affinity uint8

// The affinities.
const (
	SameSystemID Affinity = iota // the message's own, and if that is lost another one of the same system_id
	SameBind                     // the message's own alone
	AnyBind                      // any
)

// String returns system_id, bind or any.
func (a Affinity) String() string { return nameOf(affinityNames, a) }

// StatusClass is what a refused reply means for its dialogue.
type StatusClass uint8

// The classes. The zero value is what an unknown status is taken for.
const (
	Dead          StatusClass = iota // the dialogue is over; do not send again
	Temporary                        // send again a little later
	TooLong                          // the text is longer than the SMSC takes
	Misconfigured                    // the link's profile or account is wrong
)

// String returns the class in lower case: dead, temporary, too_long or misconfigured.
func (c StatusClass) String() string { return nameOf(statusClassNames, c) }

// CanPush reports whether the profile has dialogues that the network begins: by
// a question, and by telling something.
func (p *Profile) CanPush() (ask, tell bool) { return p.PushAsk != NoOp, p.PushTell != NoOp }

// Check reports every setting that makes the profile unusable or contradicts
// another, one a line, each with the knob's name.
func (p *Profile) Check() error {
	var errs []error
	for _, f := range p.faults() {
		errs = append(errs, fmt.Errorf("profile %s: %s: %s", p.Name, f.knob, f.text))
	}
	return errors.Join(errs...)
}

// fault is something wrong with a knob.
type fault struct{ knob, text string }

func (p *Profile) faults() []fault {
	var found []fault
	wrong := func(is bool, knob, format string, args ...any) {
		if is {
			found = append(found, fault{knob, fmt.Sprintf(format, args...)})
		}
	}
	s := &p.Session
	word := s.Tag != 0 && !s.Text

	wrong(len(p.ServiceType) > maxServiceType, "service_type", "%q is longer than %d characters", p.ServiceType, maxServiceType)
	wrong(len(p.SMSServiceType) > maxServiceType, "sms.service_type", "%q is longer than %d characters", p.SMSServiceType, maxServiceType)
	wrong(p.OpTag == 0 && p.ServiceType != "", "service_type", "the operation stands there (op.tag is service_type): it has to be none")
	wrong(p.CountryCode != "" && p.NationalDigits == 0, "msisdn.digits", "a country code is set, so it has to say how many digits follow it")
	for v := range p.Extra.All() {
		taken := v.Tag == tagMessagePayload || v.Tag == s.Tag || v.Tag == p.OpTag
		wrong(taken, "tlvs", "0x%04x has another use in this profile", uint16(v.Tag))
	}

	wrong(p.Strip != StripNever && p.Dialled == DialledInDestination, "dialled.strip", "nothing is taken off a destination_addr (dialled.from): it has to be never")
	wrong(p.Strip != StripNever && p.CodeFrom == CodeInText, "dialled.strip", "the service code is in the text (code), so it is not taken off: it has to be never")

	wrong(p.MenuOp == NoOp, "menu.op", "a reply needs an operation")
	for knob, op := range p.opKnobs() {
		wrong(op != NoOp && p.OpTag != 0 && op.letters(), knob, "%s stands for service_type, but the operation is in a TLV (op.tag)", op)
		wrong(op != NoOp && p.OpTag == 0 && !op.letters(), knob, "%s is an octet, but the operation is letters in service_type (op.tag)", op)
	}
	wrong(p.OpTag != 0 && p.OpTag == s.Tag, "session.tag", "is the tag of the operation too (op.tag)")

	wrong(p.EndBit && (!word || s.End == 0), "end.by", "there is no end bit (session.end) to say the end with")
	wrong(p.EndOp == NoOp && !p.EndBit, "end.op", "nothing says the end: end.by is op")
	wrong(p.ReleaseBit && (!word || s.End == 0), "session.end.in", "there is no end bit (session.end) to be received")
	wrong(p.OnceOp == NoOp && p.means(MeansOnce), "once.op", "op.in has begins that are answered once, and it says by which operation")

	wrong(word && (s.Length < 1 || s.Length > 8), "session.length", "%d octets are outside 1 to 8", s.Length)
	if word && s.Length >= 1 && s.Length <= 8 {
		wrong(s.ID&^s.all() != 0, "session.id", "0x%x has more bits than %d octets (session.length)", s.ID, s.Length)
		wrong(s.End&^s.all() != 0, "session.end", "0x%x has more bits than %d octets (session.length)", s.End, s.Length)
		wrong(s.ID&s.End != 0, "session.end", "0x%x is among the bits of session.id, 0x%x", s.End, s.ID)
		wrong(s.ID == 0 && !p.NoID, "session.id", "no bit of the session identifies the dialogue, but the key needs one")
		wrong(s.Sequence == Count && uint32(s.rest()) == 0, "session.sequence", "session.id and session.end leave no bits to count in, of the lower 32")
	}
	wrong(s.Tag == 0 && !p.NoID, "key", "it needs an id, but there is no session TLV (session.tag)")
	wrong(s.Text && p.NoID, "key", "a session that is a text (session.form) can only be echoed if the key has the id")
	wrong(p.NoID && (p.Addresses == AddressNull || p.Addresses == AddressFirst), "address.reply", "nothing says whom a reply is for: the key is the msisdn, and replies do not have it")

	_, coded := p.DCS[p.Text.Alphabet]
	wrong(!coded, "dcs.out", "it has no data_coding for the alphabet of replies, %s (text.alphabet)", p.Text.Alphabet)
	wrong(p.Text.Alphabet == UCS2Language, "text.alphabet", "%s can only be received", p.Text.Alphabet)
	wrong(p.Text.Limit() < 1, "text.max", "a screen of %d %s holds nothing", p.Text.Max, p.Text.Unit)
	wrong(p.Text.octets() > maxShortMessage, "text.max", "%d %s of %s take more than the %d octets of short_message", p.Text.Max, p.Text.Unit, p.Text.Alphabet, maxShortMessage)

	wrong(p.PushEnd != NoOp && p.PushAsk == NoOp, "push.end", "no dialogue is begun (push.ask) that it could end")
	wrong(p.PushEnd != NoOp && p.EndOp == NoOp, "push.end", "the end is said by the end bit alone (end.by)")
	return found
}

// opKnobs returns every operation of the profile with the knob that sets it.
func (p *Profile) opKnobs() iter.Seq2[string, OpCode] {
	return func(yield func(string, OpCode) bool) {
		for _, op := range sortedKeys(p.Ops) {
			if !yield("op.in", op) {
				return
			}
		}
		_ = yield("menu.op", p.MenuOp) && yield("end.op", p.EndOp) && yield("once.op", p.OnceOp) &&
			yield("push.ask", p.PushAsk) && yield("push.tell", p.PushTell) && yield("push.end", p.PushEnd)
	}
}

// means reports whether an operation has the meaning.
func (p *Profile) means(meaning Meaning) bool {
	for _, m := range p.Ops {
		if m == meaning {
			return true
		}
	}
	return false
}

// Profiles returns the names of the built-in profiles in alphabetical order.
func Profiles() []string {
	files, _ := presetFiles.ReadDir("presets") // embedded: it is there
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// ProfileByName returns a new copy of a built-in profile, which is the caller's.
func ProfileByName(name string) (*Profile, error) {
	if !slices.Contains(Profiles(), name) {
		return nil, fmt.Errorf("no profile %q; there are: %s", name, strings.Join(Profiles(), ", "))
	}
	file := "presets/" + name + ".yaml"
	source, err := presetFiles.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p, err := loadProfile(file, source, name == "standard")
	if err != nil {
		return nil, err
	}
	p.Name = name
	return p, nil
}
