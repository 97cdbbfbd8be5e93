package smpptest

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is a way in which the SMSC departs from what is usual, so that an ESME
// can show that it copes. Made by ParseFault.
type Fault struct {
	kind     *faultKind
	word     string        // the argument as written
	n        uint32        // the argument as a number
	duration time.Duration // the argument as a time
}

// String is the fault as ParseFault reads it.
func (f Fault) String() string {
	if f.word == "" {
		return f.kind.name
	}
	return f.kind.name + ":" + f.word
}

// Name is the fault's name, without its argument.
func (f Fault) Name() string { return f.kind.name }

// argument is what a fault can be given behind a colon.
type argument struct {
	name  string // for people
	parse func(f *Fault) error
}

var (
	count = &argument{"N", func(f *Fault) error {
		n, err := strconv.ParseUint(f.word, 10, 32)
		if f.n = uint32(n); err != nil || n == 0 {
			return fmt.Errorf("%q is not a number from 1", f.word)
		}
		return nil
	}}
	number = &argument{"NUMBER", func(f *Fault) error {
		n, err := strconv.ParseUint(f.word, 0, 32)
		if f.n = uint32(n); err != nil {
			return fmt.Errorf("%q is not a number such as 88 or 0x58", f.word)
		}
		return nil
	}}
	duration = &argument{"DURATION", func(f *Fault) error {
		var err error
		if f.duration, err = time.ParseDuration(f.word); err != nil || f.duration <= 0 {
			return fmt.Errorf("%q is not a duration such as 500ms", f.word)
		}
		return nil
	}}
	leakedCoding = &argument{"CODING", func(f *Fault) error {
		n, err := strconv.ParseUint(f.word, 0, 8)
		f.n = uint32(n)
		if _, ok := findCoding(leaked, byte(n)); err != nil || !ok {
			var known []string
			for _, c := range leaked {
				known = append(known, fmt.Sprintf("0x%02x", c.value))
			}
			return fmt.Errorf("%q is not one of %s", f.word, strings.Join(known, ", "))
		}
		return nil
	}}
	errorBody = &argument{"FORM", func(f *Fault) error {
		if !slices.Contains([]string{"none", "id", "tlv", "both"}, f.word) {
			return fmt.Errorf("%q is not one of none, id, tlv, both", f.word)
		}
		return nil
	}}
)

// occasion is when a fault may strike.
type occasion uint8

const (
	atBind   occasion = iota // an ESME binds
	atBegin                  // a subscriber has dialled
	atInput                  // a subscriber has answered
	atSend                   // either of both is to be sent
	atAck                    // the ESME has acknowledged it
	atSubmit                 // the ESME's reply has come
	atRefuse                 // a reply was refused
	atPush                   // an ESME asks for a dialogue
	atHangup                 // a subscriber leaves
	atEnd                    // the ESME has ended a dialogue
	atText                   // a short message has come
)

// moment is what a fault may meddle with; what the occasion doesn't have is
// nil.
type moment struct {
	peer     *peer
	handset  *Handset
	dialogue *dialogue
	bind     *binding
	begin    *beginning
	out      *outgoing
	sub      *submission
	text     *texted
	silent   bool // at atHangup: the ESME is not to be told
}

// faultKind is a row of the table of faults.
type faultKind struct {
	name    string
	arg     *argument           // nil: it takes none
	without string              // the argument if none is given; empty: it must be given
	help    string              // what happens, one sentence
	chaos   bool                // Chaos may pick it: a right ESME survives it
	random  string              // the argument with which Chaos does
	lasting bool                // once armed it strikes for good, even if armed for one time
	counted bool                // its argument says how often it strikes
	lacks   func(*dialect) bool // if set, whether a dialect has no room for it
	at      occasion
	strike  func(s *Sim, m *moment, f Fault)
}

// ParseFault reads "NAME" or "NAME:ARGUMENT", as FaultHelp lists them.
func ParseFault(text string) (Fault, error) {
	name, word, given := strings.Cut(text, ":")
	i := slices.IndexFunc(faultKinds, func(k *faultKind) bool { return k.name == name })
	if i < 0 {
		return Fault{}, fmt.Errorf("there is no fault %q: smscsim -help lists them", name)
	}
	f := Fault{kind: faultKinds[i], word: cmp.Or(word, faultKinds[i].without)}
	if f.kind.arg == nil {
		if given {
			return Fault{}, fmt.Errorf("fault %s takes no argument", name)
		}
		return f, nil
	}
	if err := f.kind.arg.parse(&f); err != nil {
		return Fault{}, fmt.Errorf("fault %s: %w", name, err)
	}
	return f, nil
}

// Faults returns the names of all faults, in the order of FaultHelp.
func Faults() []string {
	var names []string
	for _, k := range faultKinds {
		names = append(names, k.name)
	}
	return names
}

// FaultHelp explains all faults: per fault its name, its argument if it takes
// one, and, on the next line, what happens.
func FaultHelp() string {
	var b strings.Builder
	for _, k := range faultKinds {
		b.WriteString(k.name)
		if k.arg != nil {
			fmt.Fprintf(&b, "[:%s]", k.arg.name)
		}
		b.WriteString("\n    " + k.help)
		if k.without != "" {
			fmt.Fprintf(&b, " (%s)", k.without)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// armed is a fault that waits for its occasion.
type armed struct {
	Fault
	left int // how often it will strike; always: for good
}

const always = -1

// arm makes faults ready to strike the given number of times.
func (s *Sim) arm(to *[]armed, times int, faults ...Fault) error {
	for _, f := range faults {
		if f.kind.lacks != nil && f.kind.lacks(s.dialect) {
			return fmt.Errorf("dialect %s has no room for fault %s", s.dialect.name, f)
		}
		left := times
		switch {
		case f.kind.lasting:
			left = always
		case f.kind.counted:
			left = int(f.n)
		}
		*to = append(*to, armed{f, left})
	}
	return nil
}

// Arm lets faults strike from now on, at each of their occasions; one that
// counts (throttle:3), so many times. The error says which has no place in the
// dialect.
func (s *Sim) Arm(faults ...Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arm(&s.armed, always, faults...)
}

// Arm lets faults strike at their next occasion with this handset, each once;
// one that counts (throttle:3), so many times. A fault of binds strikes
// whichever ESME binds next. The error says which has no place in the dialect.
func (h *Handset) Arm(faults ...Fault) error { return h.arm(1, faults...) }

func (h *Handset) arm(times int, faults ...Fault) error {
	h.sim.mu.Lock()
	defer h.sim.mu.Unlock()
	for _, f := range faults {
		to := &h.armed
		if f.kind.at == atBind {
			to = &h.sim.armed
		}
		if err := h.sim.arm(to, times, f); err != nil {
			return err
		}
	}
	return nil
}

// disarm takes all faults back that wait for this handset.
func (h *Handset) disarm() {
	h.sim.mu.Lock()
	defer h.sim.mu.Unlock()
	h.armed = nil
}

// Struck returns how often each fault has struck so far, by its name.
func (s *Sim) Struck() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.struck)
}

// strike lets all faults strike whose occasion this is. The caller holds s.mu.
func (s *Sim) strike(at occasion, m *moment) {
	s.strikeArmed(&s.armed, at, m)
	dice := s.dice
	if h := m.handset; h != nil {
		s.strikeArmed(&h.armed, at, m)
		if h.dice == nil && s.cfg.Chaos != nil {
			h.dice = s.cfg.Chaos.dice(h.msisdn)
		}
		dice = h.dice
	}
	if dice == nil || dice.Float64() >= s.cfg.Chaos.Rate {
		return
	}
	var able []Fault
	for _, f := range s.random {
		if f.kind.at == at {
			able = append(able, f)
		}
	}
	if len(able) > 0 {
		s.strikeOne(able[dice.IntN(len(able))], m)
	}
}

// strikeArmed strikes with those of a list whose occasion this is, once the list
// is as it is to be: what strikes may be the occasion of others in it.
func (s *Sim) strikeArmed(list *[]armed, at occasion, m *moment) {
	var due []Fault
	for i := range *list {
		if a := &(*list)[i]; a.kind.at == at {
			due = append(due, a.Fault)
			if a.left != always {
				a.left--
			}
		}
	}
	*list = slices.DeleteFunc(*list, func(a armed) bool { return a.left == 0 })
	for _, f := range due {
		s.strikeOne(f, m)
	}
}

func (s *Sim) strikeOne(f Fault, m *moment) {
	s.struck[f.kind.name]++
	attrs := []any{"fault", f}
	if m.handset != nil {
		attrs = append(attrs, "msisdn", mask(m.handset.msisdn))
	}
	s.log.Info("fault", attrs...)
	f.kind.strike(s, m, f)
}

// Chaos lets faults strike at random, those that a right ESME survives. What
// strikes a handset depends on the seed, its number and what it has done, so
// that a run whose handsets do the same is struck the same.
type Chaos struct {
	Seed uint64
	Rate float64 // probability of a fault at each occasion, 0 to 1
}

// defaultRate is the Rate of a Chaos that is given by its seed alone.
const defaultRate = 0.05

// ParseChaos reads "SEED" or "SEED:RATE".
func ParseChaos(text string) (*Chaos, error) {
	seed, rate, given := strings.Cut(text, ":")
	c := &Chaos{Rate: defaultRate}
	var err error
	if c.Seed, err = strconv.ParseUint(seed, 10, 64); err != nil {
		return nil, fmt.Errorf("%q is not a seed, which is a whole number", seed)
	}
	if given {
		if c.Rate, err = strconv.ParseFloat(rate, 64); err != nil || !(c.Rate >= 0 && c.Rate <= 1) {
			return nil, fmt.Errorf("%q is not a rate from 0 to 1", rate)
		}
	}
	return c, nil
}

// dice returns the random numbers of one handset, or, without a number, of the
// SMSC.
func (c *Chaos) dice(msisdn string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(msisdn))
	return rand.New(rand.NewPCG(c.Seed, h.Sum64()))
}

// randomFaults returns what Chaos may pick in a dialect.
func randomFaults(d *dialect) ([]Fault, error) {
	var faults []Fault
	for _, k := range faultKinds {
		if !k.chaos || k.lacks != nil && k.lacks(d) {
			continue
		}
		text := k.name
		if k.random != "" {
			text += ":" + k.random
		}
		f, err := ParseFault(text)
		if err != nil {
			return nil, err
		}
		faults = append(faults, f)
	}
	return faults, nil
}
