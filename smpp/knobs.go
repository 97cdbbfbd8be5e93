package smpp

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Knob is one setting of a profile, as text.
type Knob struct {
	Name  string // "end.op"
	Value string // as Set takes it; octets in hexadecimal, "0x11"
	Means string // the value in words, with octets in decimal too: "0x11 (17), PSSR response"; may be empty
	Help  string // one sentence
}

// Knobs returns all settings of the profile in a fixed order.
func (p *Profile) Knobs() []Knob {
	out := make([]Knob, len(knobs))
	for i, k := range knobs {
		v := k.bind(p)
		out[i] = Knob{Name: k.name, Value: v.text(), Help: k.help}
		if e, ok := v.(explained); ok {
			out[i].Means = e.means()
		}
	}
	return out
}

// Set changes one setting. The error names the knob, the value and what is
// allowed; for an unknown name, the nearest one. A list that begins with a plus
// sign is added to what is there. Whether the settings go together is Check's
// matter.
func (p *Profile) Set(name, value string) error {
	i := slices.IndexFunc(knobs, func(k knob) bool { return k.name == name })
	if i < 0 {
		return fmt.Errorf("no knob %q; did you mean %s?", name, nearest(name))
	}
	v := knobs[i].bind(p)
	if err := v.set(strings.TrimSpace(value)); err != nil {
		return fmt.Errorf("%s: %w; allowed: %s", name, err, v.allowed())
	}
	return nil
}

// knob is a row of the table that Set, Knobs, LoadProfile and the presets share.
type knob struct {
	name, help string
	bind       func(*Profile) setting
}

// setting is a knob of one profile.
type setting interface {
	text() string
	set(string) error
	allowed() string
}

// explained is a setting whose value has more to say than its text.
type explained interface{ means() string }

var knobs = []knob{
	{"pdu", "the PDU of replies", func(p *Profile) setting { return flagSetting{&p.DataSM, "submit_sm", "data_sm"} }},
	{"esm_class", "esm_class of replies", func(p *Profile) setting { return octet{&p.ESMClass} }},
	{"service_type", "service_type of replies, if the operation does not stand there", func(p *Profile) setting { return word{&p.ServiceType} }},
	{"service_type.in", "the service_type that USSD has; a message with another one is acknowledged and ignored", func(p *Profile) setting { return word{&p.OnlyServiceType} }},
	{"tlvs", "optional parameters that every reply carries as they are", func(p *Profile) setting { return extras{&p.Extra} }},

	{"msisdn.country", "country code of numbers that come without one", func(p *Profile) setting { return digits{&p.CountryCode, 3} }},
	{"msisdn.digits", "digits of such a number, without its trunk zero", func(p *Profile) setting { return number{&p.NationalDigits, 0, 15} }},
	{"code", "where the service code is; a code itself if no message tells it", func(p *Profile) setting { return codePlace{p} }},
	{"code.spelling", "how the service code is written as the sender of a dialogue that we begin", func(p *Profile) setting { return choice(&p.Spelling, spellingNames) }},
	{"dialled.from", "where a begin has the dialled string", func(p *Profile) setting { return choice(&p.Dialled, dialledNames) }},
	{"dialled.strip", "when the SMSC takes the service code off the dialled string", func(p *Profile) setting { return choice(&p.Strip, stripNames) }},

	{"op.tag", "TLV of the operation, or service_type if it is two letters there", func(p *Profile) setting {
		return tag{&p.OpTag, "service_type"}
	}},
	{"op.in", "what the SMSC's operations mean", func(p *Profile) setting { return opMeanings{&p.Ops} }},
	{"op.other", "what any other operation means", func(p *Profile) setting { return choice(&p.OtherOp, meaningNames) }},
	{"menu.op", "operation of a reply that waits for an answer", func(p *Profile) setting { return opCode{&p.MenuOp} }},
	{"end.op", "operation of a reply that ends the dialogue", func(p *Profile) setting { return opCode{&p.EndOp} }},
	{"end.by", "how a reply ends the dialogue: by its operation, the end bit, or both", func(p *Profile) setting { return endBy{p} }},
	{"once.op", "operation of the reply to a begin that is answered once", func(p *Profile) setting { return opCode{&p.OnceOp} }},

	{"session.tag", "TLV of the session", func(p *Profile) setting { return tag{&p.Session.Tag, none} }},
	{"session.form", "what the session is", func(p *Profile) setting { return flagSetting{&p.Session.Text, "word", "text"} }},
	{"session.length", "octets of a session that is a word", func(p *Profile) setting { return number{&p.Session.Length, 1, 8} }},
	{"session.id", "bits of the session that identify the dialogue", func(p *Profile) setting { return bits{&p.Session.ID} }},
	{"session.end", "bit of the session that says that the dialogue is over", func(p *Profile) setting { return bits{&p.Session.End} }},
	{"session.end.in", "what a message with that bit means, whatever its operation", func(p *Profile) setting { return flagSetting{&p.ReleaseBit, "ignored", "release"} }},
	{"session.sequence", "what a reply does with the other bits", func(p *Profile) setting { return choice(&p.Session.Sequence, sequenceNames) }},
	{"key", "what tells one dialogue from another", func(p *Profile) setting { return key{p} }},

	{"address.reply", "which addresses replies have", func(p *Profile) setting { return choice(&p.Addresses, addressNames) }},
	{"address.source", "type of number and numbering plan of a reply's source_addr, the service", func(p *Profile) setting { return numbering{&p.ServiceNumber, asReceived} }},
	{"address.dest", "the same of its destination_addr, the subscriber, and of a short message's", func(p *Profile) setting { return numbering{&p.SubscriberNumber, asReceived} }},

	{"dcs.in", "alphabets of data_coding values received", func(p *Profile) setting { return codings{&p.Codings} }},
	{"dcs.other", "alphabet of any other data_coding", func(p *Profile) setting { return choice(&p.OtherDCS, alphabetNames) }},
	{"dcs.out", "data_coding of replies by their alphabet", func(p *Profile) setting { return codingsOut{&p.DCS} }},
	{"text.alphabet", "alphabet of replies", func(p *Profile) setting { return choice(&p.Text.Alphabet, alphabetNames) }},
	{"text.max", "how much of it fits on one screen", func(p *Profile) setting { return number{&p.Text.Max, 1, 1000} }},
	{"text.unit", "what text.max counts: septets of GSM, characters of Latin-1 and ASCII, UTF-16 units of UCS-2 (units), or octets on the wire", func(p *Profile) setting { return choice(&p.Text.Unit, unitNames) }},
	{"text.strip-at", "whether an @ at the end of what arrives is dropped: CR padding that a gateway has read wrongly", func(p *Profile) setting { return flagSetting{&p.StripAt, "no", "yes"} }},

	{"submit_resp", "when the SMSC answers a reply", func(p *Profile) setting { return flagSetting{&p.AfterUser, "immediate", "after-user"} }},
	{"reply.bind", "the binds that may carry a reply", func(p *Profile) setting { return choice(&p.Affinity, affinityNames) }},
	{"overload", "how a begin is refused when there is no room", func(p *Profile) setting { return flagSetting{&p.RefuseByStatus, "text", "status"} }},
	{"status", "what a refusal of a reply means; any other is dead", func(p *Profile) setting { return statuses{&p.Statuses} }},

	{"push.ask", "operation that begins a dialogue with a question", func(p *Profile) setting { return opCode{&p.PushAsk} }},
	{"push.tell", "operation that only tells something", func(p *Profile) setting { return opCode{&p.PushTell} }},
	{"push.end", "operation that ends a dialogue that we began, if it is not end.op", func(p *Profile) setting { return opCode{&p.PushEnd} }},

	{"sms", "whether the gateway takes short messages too", func(p *Profile) setting { return flagSetting{&p.NoSMS, "yes", "no"} }},
	{"sms.service_type", "service_type of short messages", func(p *Profile) setting { return word{&p.SMSServiceType} }},
	{"sms.source", "type of number and numbering plan of their sender; automatic: 5/0 of a name, 0/0 of a short code, 1/1 of a number", func(p *Profile) setting { return numbering{&p.SenderNumber, automatic} }},
}

// nearest returns the knob's name that is the fewest keystrokes away.
func nearest(name string) string {
	return slices.MinFunc(knobs, func(a, b knob) int { return cmp.Compare(distance(a.name, name), distance(b.name, name)) }).name
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d++
			}
			diagonal = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
