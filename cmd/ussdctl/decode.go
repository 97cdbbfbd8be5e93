package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"ussdd/smpp"
)

func decodeFlags(c *call, f *flag.FlagSet) {
	f.StringVar(&c.profile, "profile", "standard", "the dialect: one of "+strings.Join(smpp.Profiles(), ", ")+", or a YAML `FILE`")
	f.Func("set", "change one of the dialect's knobs, `KNOB=VALUE`; repeatable", func(s string) error {
		c.knobs = append(c.knobs, s)
		return nil
	})
	f.StringVar(&c.msisdn, "msisdn", "", "only the PDUs of this `MSISDN`, with their responses")
	f.BoolVar(&c.brief, "brief", false, "one line for each PDU")
}

// decode explains PDUs.
func decode(c *call) error {
	p, err := dialect(c.profile, c.knobs)
	if err != nil {
		return usageError{err.Error()}
	}
	d := decoder{c: c, p: p, asked: make(map[request]bool), ids: make(map[string]bool)}
	if c.msisdn != "" {
		if d.msisdn, err = number(c.msisdn); err != nil {
			return err
		}
	}
	name, in, err := input(c.args[0])
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if err := d.input(bufio.NewReader(in)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if d.err == nil && !d.any {
		return errors.New("there is no PDU to show")
	}
	return d.err
}

// dialect returns a preset, or the profile of a file, with knobs changed.
func dialect(name string, knobs []string) (*smpp.Profile, error) {
	p, err := smpp.ProfileByName(name)
	if err != nil {
		source, fileErr := os.ReadFile(name)
		if fileErr != nil {
			return nil, fmt.Errorf("%w; and as a file: %w", err, fileErr)
		}
		if p, err = smpp.LoadProfile(name, source); err != nil {
			return nil, err
		}
	}
	for _, k := range knobs {
		knob, value, ok := strings.Cut(k, "=")
		if !ok {
			return nil, fmt.Errorf("-set %s: it is KNOB=VALUE", k)
		}
		if err := p.Set(knob, value); err != nil {
			return nil, fmt.Errorf("-set %w", err)
		}
	}
	return p, p.Check()
}

// input opens what the argument stands for: standard input, a file, or itself.
func input(arg string) (name string, in io.ReadCloser, err error) {
	if arg == "-" {
		return "standard input", io.NopCloser(os.Stdin), nil
	}
	file, err := os.Open(arg)
	if err == nil {
		return arg, file, nil
	}
	if strings.ContainsAny(arg, "./") {
		return "", nil, err
	}
	return "no such file, and as hexadecimal", io.NopCloser(strings.NewReader(arg)), nil
}

// maxInput bounds hexadecimal and octets, which are read whole. Captures are not.
const maxInput = 16 << 20

// input shows the PDUs of a capture, or of hexadecimal or octets.
func (d *decoder) input(in *bufio.Reader) error {
	if head, _ := in.Peek(len(pcapngMagic)); isCapture(head) {
		return d.capture(in, string(head) == pcapngMagic)
	}
	content, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return err
	}
	if len(content) > maxInput {
		return fmt.Errorf("it is longer than %d octets, and no capture", maxInput)
	}
	if isText(content) {
		if content, err = parseHex(string(content)); err != nil {
			return err
		}
	}
	d.octets(content)
	return nil
}

// isText reports whether the content is hexadecimal text, rather than octets. A
// PDU's command_length makes sure that it begins with a NUL.
func isText(content []byte) bool {
	return !slices.ContainsFunc(content, func(c byte) bool { return c < ' ' && c != '\n' && c != '\r' && c != '\t' })
}

const (
	hexDigits = "0123456789abcdefABCDEF"
	hexSpace  = " \t\r:"
)

// parseHex reads hexadecimal digits; spaces and colons may separate them, and `#`
// begins a comment.
func parseHex(text string) ([]byte, error) {
	var digits []byte
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(strings.TrimSuffix(line, "\n"), "#")
		start := 0
		if trimmed := strings.TrimLeft(line, hexSpace); strings.HasPrefix(strings.ToLower(trimmed), "0x") {
			start = len(line) - len(trimmed) + 2
		}
		for i, r := range line[start:] {
			switch {
			case strings.ContainsRune(hexDigits, r):
				digits = append(digits, byte(r))
			case !strings.ContainsRune(hexSpace, r):
				return nil, fmt.Errorf("line %d, column %d: %q is no hexadecimal digit", n, start+i+1, r)
			}
		}
	}
	switch {
	case len(digits) == 0:
		return nil, errors.New("there are no hexadecimal digits")
	case len(digits)%2 != 0:
		return nil, fmt.Errorf("%d hexadecimal digits are no whole octets: one is missing or too many", len(digits))
	}
	octets := make([]byte, len(digits)/2)
	_, err := hex.Decode(octets, digits)
	return octets, err
}

// decoder prints PDUs.
type decoder struct {
	c      *call
	p      *smpp.Profile
	msisdn string // if set, only this subscriber's

	ids   map[string]bool  // of the subscriber's dialogues, for profiles without addresses
	asked map[request]bool // the subscriber's, whose responses are to be shown
	any   bool             // something was printed
	err   error            // of writing
}

// request names a request for its response.
type request struct {
	from, to string
	command  uint32
	sequence uint32
}

// maxAsked bounds the requests that are remembered.
const maxAsked = 1 << 20

// shownPDU is a PDU in JSON, one to the line.
type shownPDU struct {
	At       *time.Time `json:"at,omitempty"`
	From     string     `json:"from,omitempty"`
	To       string     `json:"to,omitempty"`
	Command  string     `json:"command"`
	Sequence uint32     `json:"sequence"`
	Status   uint32     `json:"status"`
	MSISDN   string     `json:"msisdn,omitempty"`
	Dialogue string     `json:"dialogue,omitempty"`
	Says     string     `json:"says"`
	Hex      string     `json:"hex,omitempty"` // not of a PDU with a password
}

// where is when and between whom a PDU was captured.
type where struct {
	at       time.Time
	from, to string
}

// octets shows PDUs that follow each other.
func (d *decoder) octets(b []byte) {
	for len(b) > 0 {
		n := len(b)
		if n >= smpp.HeaderLen {
			if length := smpp.ParseHeader(b).Length; length >= smpp.HeaderLen && int64(length) < int64(n) {
				n = int(length)
			}
		}
		d.pdu(b[:n], where{})
		b = b[n:]
	}
}

// pdu shows one PDU, unless it is another subscriber's.
func (d *decoder) pdu(frame []byte, w where) {
	dialogue := smpp.DialogueOf(frame, d.p)
	if !d.wanted(frame, dialogue, w) || d.err != nil {
		return
	}
	if d.c.json {
		s := shownPDU{From: w.from, To: w.to, MSISDN: dialogue.MSISDN, Dialogue: dialogue.ID, Says: smpp.Brief(frame, d.p)}
		if !w.at.IsZero() {
			at := w.at.UTC()
			s.At = &at
		}
		if len(frame) >= smpp.HeaderLen {
			h := smpp.ParseHeader(frame)
			s.Command, s.Sequence, s.Status = smpp.CommandName(h.ID), h.Sequence, uint32(h.Status)
			switch s.Command {
			case "bind_transceiver", "bind_transmitter", "bind_receiver", "outbind":
			default:
				s.Hex = hex.EncodeToString(frame)
			}
		}
		line, err := json.Marshal(s)
		d.err = errors.Join(d.err, err)
		d.print("%s\n", line)
		return
	}
	head := ""
	if !w.at.IsZero() {
		head = fmt.Sprintf("%s %s > %s ", w.at.UTC().Format("2006-01-02T15:04:05.000000Z"), w.from, w.to)
	}
	if d.c.brief {
		d.print("%s%s\n", head, smpp.Brief(frame, d.p))
		return
	}
	if d.any {
		d.print("\n")
	}
	if head != "" {
		d.print("%s\n", strings.TrimSuffix(head, " "))
	}
	d.print("%s", smpp.Explain(frame, d.p))
}

// note shows something about a connection, not a PDU.
func (d *decoder) note(w where, format string, args ...any) {
	if d.c.json || d.msisdn != "" {
		return
	}
	d.print("%s %s > %s: %s\n", w.at.UTC().Format("2006-01-02T15:04:05.000000Z"), w.from, w.to, fmt.Sprintf(format, args...))
}

func (d *decoder) print(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.c.out, format, args...)
		d.any = true
	}
}

// wanted reports whether a PDU is to be shown: without -msisdn all are.
func (d *decoder) wanted(frame []byte, dialogue smpp.Dialogue, w where) bool {
	if d.msisdn == "" {
		return true
	}
	if len(frame) < smpp.HeaderLen {
		return false
	}
	h := smpp.ParseHeader(frame)
	command := uint32(h.ID)
	if command&responseBit != 0 {
		r := request{w.to, w.from, command &^ responseBit, h.Sequence}
		wanted := d.asked[r]
		delete(d.asked, r)
		return wanted
	}
	known := d.p.AnonymousLater && dialogue.MSISDN == "" && d.ids[dialogue.ID]
	if dialogue.MSISDN != d.msisdn && !known {
		return false
	}
	if dialogue.ID != "" && len(d.ids) < maxAsked {
		d.ids[dialogue.ID] = true
	}
	if len(d.asked) < maxAsked {
		d.asked[request{w.from, w.to, command, h.Sequence}] = true
	}
	return true
}

// responseBit is set in the command_id of every response (SMPP 3.4 §5.1.2.1).
const responseBit = 0x80000000

// isCapture reports whether pcap or pcapng files begin so.
func isCapture(head []byte) bool {
	switch string(head) {
	case "\xa1\xb2\xc3\xd4", "\xd4\xc3\xb2\xa1", "\xa1\xb2\x3c\x4d", "\x4d\x3c\xb2\xa1", pcapngMagic:
		return true
	}
	return false
}

const pcapngMagic = "\x0a\x0d\x0d\x0a"
