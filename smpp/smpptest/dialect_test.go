package smpptest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp/smpptest"
)

// command ids, in what follows written octet by octet.
const (
	submitSM  = 0x04
	deliverSM = 0x05
	dataSM    = 0x103
)

// conversation is what passes between an ESME and a gateway in one dialect.
type conversation struct {
	dialect  string
	id       uint32 // of each dialogue
	dialled  string
	begin    []byte // from here on the gateway's and the ESME's by turns
	menu     []byte
	menuText string
	input    []byte
	end      []byte
	endText  string
	hangup   []byte // nil: the response to the menu tells
	failure  []byte
	push     []byte // of the ESME; nil: refused with 0xC3
	pushID   string // TLVs in the response to it
	pushed   []byte // the subscriber's answer to it
	close    []byte // the ESME's end
	after    bool   // the response to a question follows the subscriber's answer
}

// short is a submit_sm or a deliver_sm. Addresses are three parts: TON, NPI and
// digits.
func short(id uint32, serviceType string, source, dest string, coding byte, text string, tlvs string) []byte {
	b := envelope(id, serviceType, source, dest)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, coding, 0, byte(len(text)))
	return closed(append(b, text...), tlvs)
}

// data is a data_sm of esm_class 1.
func data(serviceType string, source, dest string, tlvs string) []byte {
	return closed(append(envelope(dataSM, serviceType, source, dest), 1, 0, 0), tlvs)
}

func envelope(id uint32, serviceType, source, dest string) []byte {
	b := make([]byte, 4, 100)
	b = binary.BigEndian.AppendUint32(b, id)
	b = append(b, make([]byte, 8)...)
	b = append(append(b, serviceType...), 0)
	for _, address := range []string{source, dest} {
		b = append(b, address[0]-'0', address[1]-'0')
		b = append(append(b, address[2:]...), 0)
	}
	return b
}

func closed(b []byte, tlvs string) []byte {
	more, err := hex.DecodeString(strings.ReplaceAll(tlvs, " ", ""))
	if err != nil {
		panic(err)
	}
	b = append(b, more...)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

func fromHex(s string) []byte { return closed(nil, s) }

const (
	me       = "11" + amina // TON and NPI 1
	meBare   = "00" + amina
	nobody   = "00"
	toCode   = "00*123#"
	toDigits = "11111"
)

// conversations has one for each dialect. Those in hexadecimal alone were made
// from the field tables by other means, and read with tshark and node-smpp.
var conversations = []conversation{
	{
		dialect: "standard", id: 0x2A, dialled: "*123#",
		begin: fromHex("0000004700000005000000000000001155535344000101323334383033313233343536370000002a3132332300000000000000000000052a313233230501000101138300022a00"),
		menu: fromHex("0000004d000000040000000000000001555353440000002a3132332300010132333438303331323334353637000000000000000000000b312042616c0a3220427579050100010213" +
			"8300022a02"),
		menuText: "1 Bal\n2 Buy",
		input:    fromHex("0000004300000005000000000000001255535344000101323334383033313233343536370000002a313233230000000000000000000001310501000112138300022a02"),
		end: fromHex("0000004b000000040000000000000002555353440000002a3132332300010132333438303331323334353637000000000000000000000942616c2032302e30300501000111138300" +
			"022a05"),
		endText: "Bal 20.00",
		hangup:  short(deliverSM, "USSD", me, toCode, 0, "", "0501 0001 81 1383 0002 2a03"),
		failure: fromHex("0000004200000005000000000000001355535344000101323334383033313233343536370000002a3132332300000000000000000000000501000112138300022a03"),
		push:    short(submitSM, "USSD", toCode, me, 0, "1 Bal\n2 Buy", "0501 0001 02"),
		pushed:  short(deliverSM, "USSD", me, toCode, 0, "1", "0501 0001 12 1383 0002 2a00"),
		close:   short(submitSM, "USSD", toCode, me, 0, "Bal 20.00", "0501 0001 11 1383 0002 2a03"),
	},
	{
		dialect: "tata", id: 0x15, dialled: "*123#",
		begin: short(deliverSM, "", me, toCode, 0, "*123#", "0501 0001 01 1383 0002 002a"),
		menu:  short(submitSM, "", toCode, me, 0, "1 Bal", "0501 0001 02 1383 0002 002a"), menuText: "1 Bal",
		input: short(deliverSM, "", me, toCode, 0, "1", "0501 0001 02 1383 0002 002a"),
		end:   short(submitSM, "", toCode, me, 0, "Done", "0501 0001 02 1383 0002 002b"), endText: "Done",
		hangup:  short(deliverSM, "", me, toCode, 0, "", "0501 0001 12 1383 0002 002b"),
		failure: short(deliverSM, "", me, toCode, 0, "", "0501 0001 11 1383 0002 002a"),
	},
	{
		dialect: "mica", id: 0x3235, dialled: "*372#",
		begin: fromHex("00000045000000050000000000000779555353440000003233343830333132333435363700000033373200000000000000000000052a333732230204000232350501000101"),
		menu: fromHex("000000560000000400000000000000035553534400000033373200010132333438303331323334353637000000000000000008001620a6003500300020006f006b003f0020003100" +
			"2f00320501000102020400023235"),
		menuText: "₦50 ok? 1/2",
		input:    fromHex("0000004100000005000000000000077a55535344000000323334383033313233343536370000003337320000000000000000000001310204000232350501000112"),
		end:      fromHex("0000004400000004000000000000000455535344000000333732000101323334383033313233343536370000000000000000000004446f6e650501000111020400023235"),
		endText:  "Done",
		hangup:   fromHex("0000004000000005000000000000077b555353440000003233343830333132333435363700000033373200000000000000000000000204000232350501000181"),
		failure:  fromHex("0000004000000005000000000000077b555353440000003233343830333132333435363700000033373200000000000000000000000204000232350501000181"),
		push:     short(submitSM, "USSD", "00372", me, 0, "1 Bal", "0501 0001 02"),
		pushed:   short(deliverSM, "USSD", meBare, "00372", 0, "1", "0204 0002 3235 0501 0001 12"),
		close:    short(submitSM, "USSD", "00372", meBare, 0, "Done", "0501 0001 11 0204 0002 3235"),
	},
	{
		dialect: "sixdee", id: 0x0B17, dialled: "*123#",
		begin: fromHex("0000004700000005000000000000003155535344000101323334383033313233343536370000002a3132332300000000000000000000052a31323323050100010113830002162e"),
		menu:  short(submitSM, "USSD", toCode, me, 0, "1 Bal", "0501 0001 02 1383 0002 162e"), menuText: "1 Bal",
		input: short(deliverSM, "USSD", me, toCode, 0, "1", "0501 0001 12 1383 0002 162e"),
		end:   short(submitSM, "USSD", toCode, me, 0, "Done", "0501 0001 11 1383 0002 162f"), endText: "Done",
		hangup:  fromHex("0000004200000005000000000000003255535344000101323334383033313233343536370000002a313233230000000000000000000000050100018113830002162f"),
		failure: short(deliverSM, "USSD", me, toCode, 0, "", "0501 0001 12 1383 0002 162f"),
		push:    short(submitSM, "USSD", toCode, me, 0, "1 Bal", "0501 0001 02"),
		pushed:  short(deliverSM, "USSD", me, toCode, 0, "1", "0501 0001 12 1383 0002 162e"),
		close:   short(submitSM, "USSD", toCode, me, 0, "Done", "0501 0001 11 1383 0002 162f"),
	},
	{
		dialect: "vendor-tlv", id: 0x01020304, dialled: "*123*4#", after: true,
		begin: short(deliverSM, "USSD", me, nobody, 0, "*123*4#", "0501 0001 01 1400 0004 01020304"),
		menu:  short(submitSM, "USSD", nobody, nobody, 0, "1 @ \xa3", "0501 0001 02 1400 0004 01020304"), menuText: "1 @ £",
		input: short(deliverSM, "USSD", nobody, nobody, 0, "1", "0501 0001 12 1400 0004 01020304"),
		end:   short(submitSM, "USSD", nobody, nobody, 0, "Done", "1400 0004 01020304 0501 0001 11"), endText: "Done",
		failure: short(deliverSM, "USSD", nobody, nobody, 0, "", "0501 0001 81 1400 0004 01020304"),
		push:    short(submitSM, "USSD", toCode, me, 0, "1 Bal", "0501 0001 02"), pushID: "1400 0004 01020304",
		pushed: short(deliverSM, "USSD", nobody, nobody, 0, "1", "0501 0001 12 1400 0004 01020304"),
		close:  short(submitSM, "USSD", nobody, nobody, 0, "Done", "0501 0001 83 1400 0004 01020304"),
	},
	{
		dialect: "service-type", dialled: "*111#",
		begin: short(deliverSM, "BR", me, toDigits, 4, "*111#", ""),
		menu:  short(submitSM, "CR", toDigits, me, 4, "1 Bal", ""), menuText: "1 Bal",
		input:   short(deliverSM, "CA", me, toDigits, 4, "1", ""),
		end:     fromHex("000000360000000400000000000000084546000101313131000101323334383033313233343536370000000000000000040003427965"),
		endText: "Bye",
		hangup:  short(deliverSM, "AF", me, toDigits, 4, "", ""),
		failure: short(deliverSM, "AR", me, toDigits, 4, "", ""),
		push:    short(submitSM, "BR", toDigits, me, 4, "1 Bal", ""),
		pushed:  short(deliverSM, "CA", me, toDigits, 4, "1", ""),
		close:   short(submitSM, "EF", toDigits, me, 4, "Done", ""),
	},
	{
		dialect: "data-sm", id: 0xA1B2C3, dialled: "*123#",
		begin: data("USSD", me, toCode, "0424 0005 2a31323323 001e 0007 41314232433300 0501 0001 01 0007 0001 04 020d 0001 01"),
		menu: fromHex("0000004f0000010300000000000000095553534400000000010132333438303331323334353637000100000424000b312042616c0a3220427579001e000741314232433300050100" +
			"01020007000104"),
		menuText: "1 Bal\n2 Buy",
		input:    data("USSD", me, toCode, "0424 0001 31 001e 0007 41314232433300 0501 0001 12 0007 0001 04 020d 0001 01"),
		end:      data("USSD", nobody, me, "0424 0003 427965 001e 0007 41314232433300 0501 0001 11 0007 0001 04"),
		endText:  "Bye",
		hangup:   data("USSD", me, toCode, "001e 0007 41314232433300 0501 0001 41 0007 0001 04 020d 0001 01"),
		failure:  data("USSD", me, toCode, "001e 0007 41314232433300 0501 0001 42 0007 0001 04 020d 0001 01"),
	},
	{
		dialect: "msisdn", dialled: "*123#",
		begin: short(deliverSM, "USSD", me, toCode, 0, "*123#", "0501 0001 01"),
		menu:  short(submitSM, "USSD", toCode, me, 0, "1 Bal", "0501 0001 02"), menuText: "1 Bal",
		input: short(deliverSM, "USSD", me, toCode, 0, "1", "0501 0001 12"),
		end:   short(submitSM, "USSD", toCode, me, 0, "Done", "0501 0001 11"), endText: "Done",
		hangup:  short(deliverSM, "USSD", me, toCode, 0, "", "0501 0001 81"),
		failure: short(deliverSM, "USSD", me, toCode, 0, "", "0501 0001 81"),
		push:    short(submitSM, "USSD", toCode, me, 0, "1 Bal", "0501 0001 02"),
		pushed:  short(deliverSM, "USSD", me, toCode, 0, "1", "0501 0001 12"),
		close:   short(submitSM, "USSD", toCode, me, 0, "Done", "0501 0001 11"),
	},
}

// conversationIn returns the one of a dialect.
func conversationIn(dialect string) conversation {
	return conversations[slices.IndexFunc(conversations, func(c conversation) bool { return c.dialect == dialect })]
}

// frame reads one PDU.
func (e *esme) frame() []byte {
	e.t.Helper()
	if err := e.nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
		e.t.Fatal(err)
	}
	frame := make([]byte, 16)
	if _, err := io.ReadFull(e.nc, frame); err != nil {
		e.t.Fatalf("read: %v", err)
	}
	frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame)-16)...)
	if _, err := io.ReadFull(e.nc, frame[16:]); err != nil {
		e.t.Fatalf("read: %v", err)
	}
	return frame
}

// same tells whether two PDUs differ at most in their sequence numbers.
func same(a, b []byte) bool {
	return len(a) == len(b) && bytes.Equal(a[:12], b[:12]) && bytes.Equal(a[16:], b[16:])
}

func sequenceOf(frame []byte) uint32 { return binary.BigEndian.Uint32(frame[12:]) }

// gets reads one PDU that must be the given one.
func (e *esme) gets(what string, want []byte) []byte {
	e.t.Helper()
	frame := e.frame()
	if !same(frame, want) {
		e.t.Fatalf("%s:\ngot  %x\nwant %x", what, frame, want)
	}
	return frame
}

// acks acknowledges a request.
func (e *esme) acks(frame []byte) { e.t.Helper(); e.acksWith(frame, 0) }

func (e *esme) acksWith(frame []byte, status byte) {
	e.t.Helper()
	resp := append(append([]byte{0, 0, 0, 17, 0x80}, frame[5:8]...), 0, 0, 0, status)
	e.writeOctets(append(append(resp, frame[12:16]...), 0))
}

// takes reads one PDU that must be the given one, and acknowledges it.
func (e *esme) takes(what string, want []byte) []byte {
	e.t.Helper()
	frame := e.gets(what, want)
	e.acks(frame)
	return frame
}

// sends sends a request with the next sequence number.
func (e *esme) sends(frame []byte) uint32 {
	e.t.Helper()
	e.sequence++
	frame = bytes.Clone(frame)
	binary.BigEndian.PutUint32(frame[12:], e.sequence)
	e.writeOctets(frame)
	return e.sequence
}

// getsResponse reads the response to a request and returns its status and its
// body.
func (e *esme) getsResponse(sequence uint32) (status uint32, body []byte) {
	e.t.Helper()
	frame := e.frame()
	if frame[4] != 0x80 || sequenceOf(frame) != sequence {
		e.t.Fatalf("%x is not the response to %d", frame, sequence)
	}
	return binary.BigEndian.Uint32(frame[8:]), frame[16:]
}

// told sends a request that must be accepted.
func (e *esme) told(what string, frame []byte) {
	e.t.Helper()
	if status, _ := e.getsResponse(e.sends(frame)); status != 0 {
		e.t.Fatalf("%s: status 0x%x", what, status)
	}
}

// asked sends the menu, and its response is read unless it will come later.
func (e *esme) asked(c conversation) (sequence uint32) {
	e.t.Helper()
	sequence = e.sends(c.menu)
	if !c.after {
		e.responded("menu", sequence)
	}
	return sequence
}

func (e *esme) responded(what string, sequence uint32) {
	e.t.Helper()
	if status, _ := e.getsResponse(sequence); status != 0 {
		e.t.Fatalf("%s: status 0x%x", what, status)
	}
}

func saw(t *testing.T, what string, came <-chan shown, want string, end bool) {
	t.Helper()
	if got := <-came; got.err != nil || got.screen.Text != want || got.screen.End != end || got.screen.Bad > 0 {
		t.Fatalf("%s: %+v, want %q, end %t", what, got, want, end)
	}
}

// dials begins a dialogue; the begin is acknowledged.
func (c conversation) dials(t *testing.T, sim *smpptest.Sim, e *esme) (h *smpptest.Handset, menu <-chan shown) {
	t.Helper()
	ctx := within(t)
	sim.SetNextID(c.id)
	h = sim.Handset(amina)
	menu = async(func() (smpptest.Screen, error) { return h.Dial(ctx, c.dialled) })
	e.takes("begin", c.begin)
	return h, menu
}

// answers answers the screen; the input is not read yet.
func answers(t *testing.T, h *smpptest.Handset) <-chan shown {
	t.Helper()
	ctx := within(t)
	return async(func() (smpptest.Screen, error) { return h.Answer(ctx, "1") })
}

// shown lets the dialogue begin and brings it to its menu.
func (c conversation) shown(t *testing.T, sim *smpptest.Sim, e *esme) (h *smpptest.Handset, asked uint32) {
	t.Helper()
	h, menu := c.dials(t, sim, e)
	asked = e.asked(c)
	saw(t, "menu", menu, c.menuText, false)
	return h, asked
}

func TestDialects(t *testing.T) {
	if got := smpptest.Dialects(); len(got) != len(conversations) {
		t.Errorf("%d dialects, %d are tested", len(got), len(conversations))
	}
	for _, c := range conversations {
		t.Run(c.dialect, func(t *testing.T) {
			t.Run("end", func(t *testing.T) { testEnd(t, c) })
			t.Run("hangup", func(t *testing.T) { testHangup(t, c) })
			t.Run("failure", func(t *testing.T) { testFailure(t, c) })
			if c.push != nil {
				t.Run("push", func(t *testing.T) { testPush(t, c) })
			} else {
				t.Run("no push", func(t *testing.T) { testNoPush(t, c) })
			}
		})
	}
}

func testEnd(t *testing.T, c conversation) {
	sim := newSim(t, smpptest.Config{Dialect: c.dialect})
	e := bound(t, sim)
	h, asked := c.shown(t, sim, e)
	end := answers(t, h)
	if c.after {
		e.responded("menu", asked)
	}
	e.takes("input", c.input)
	e.told("end", c.end)
	saw(t, "end", end, c.endText, true)
	if h.Live() {
		t.Error("the dialogue is still open after its end")
	}
}

func testHangup(t *testing.T, c conversation) {
	sim := newSim(t, smpptest.Config{Dialect: c.dialect})
	e := bound(t, sim)
	h, asked := c.shown(t, sim, e)
	ctx := within(t)
	hungUp := async(func() (smpptest.Screen, error) { return smpptest.Screen{}, h.Hangup(ctx) })
	if c.hangup == nil {
		if status, body := e.getsResponse(asked); status != 0x455 || len(body) > 0 {
			t.Errorf("the response to the menu: 0x%x with %x, want 0x455 alone", status, body)
		}
	} else {
		e.takes("hang up", c.hangup)
	}
	if got := <-hungUp; got.err != nil || h.Live() {
		t.Errorf("%v; live %t", got.err, h.Live())
	}
}

func testFailure(t *testing.T, c conversation) {
	sim := newSim(t, smpptest.Config{Dialect: c.dialect})
	e := bound(t, sim)
	h, asked := c.shown(t, sim, e)
	ctx := within(t)
	lost := async(func() (smpptest.Screen, error) { return smpptest.Screen{}, h.Abort(ctx) })
	if c.after {
		if status, _ := e.getsResponse(asked); status != 0x460 {
			t.Errorf("the response to the menu: 0x%x, want 0x460", status)
		}
	}
	e.takes("failure", c.failure)
	if got := <-lost; got.err != nil || h.Live() {
		t.Errorf("%v; live %t", got.err, h.Live())
	}
}

// testPush: the ESME opens a menu on a handset.
func testPush(t *testing.T, c conversation) {
	sim := newSim(t, smpptest.Config{Dialect: c.dialect})
	e := bound(t, sim)
	ctx := within(t)
	h := sim.Handset(amina)
	sim.SetNextID(c.id)
	menu := async(func() (smpptest.Screen, error) { return h.Next(ctx) })
	push := e.sends(c.push)
	if !c.after {
		e.responded("push", push)
	}
	got := <-menu
	if got.err != nil || got.screen.End || !strings.HasPrefix(got.screen.Text, "1 Bal") {
		t.Fatalf("%+v", got)
	}
	end := answers(t, h)
	if c.after {
		status, body := e.getsResponse(push)
		if want := append([]byte("00000001\x00"), fromHexTLV(c.pushID)...); status != 0 || !bytes.Equal(body, want) {
			t.Errorf("response to the push: 0x%x %x, want %x", status, body, want)
		}
	}
	e.takes("answer", c.pushed)
	e.told("end", c.close)
	if got := <-end; got.err != nil || !got.screen.End {
		t.Errorf("%+v", got)
	}
}

func fromHexTLV(s string) []byte { return mustDecode(strings.ReplaceAll(s, " ", "")) }

func mustDecode(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// testNoPush: the ESME asks for a dialogue where there is no such thing.
func testNoPush(t *testing.T, c conversation) {
	sim := newLenientSim(t, smpptest.Config{Dialect: c.dialect})
	e := bound(t, sim)
	sim.Handset(amina)
	push := bytes.Clone(c.menu)
	tag := []byte{0x13, 0x83}
	if c.dialect == "data-sm" {
		tag = []byte{0x00, 0x1e, 0x00, 0x07}
	}
	push[bytes.LastIndex(push, tag)] = 0x3f // nobody knows that tag
	if status, _ := e.getsResponse(e.sends(push)); status != 0xC3 {
		t.Errorf("status 0x%x, want 0xc3", status)
	}
}

// TestNotices: an ESME tells a subscriber something.
func TestNotices(t *testing.T) {
	tests := []struct {
		dialect string
		notice  []byte
		confirm []byte // nil: none
		tlvs    string
	}{
		{"standard", short(submitSM, "USSD", toCode, me, 0, "Paid", "0501 0001 03"),
			short(deliverSM, "USSD", me, toCode, 0, "", "0501 0001 13 1383 0002 2a01"), ""},
		{"mica", short(submitSM, "USSD", "00372", me, 0, "Paid", "0501 0001 03"), nil, ""},
		{"sixdee", short(submitSM, "USSD", toCode, me, 0, "Paid", "0501 0001 03"), nil, ""},
		{"vendor-tlv", short(submitSM, "USSD", toCode, me, 0, "Paid", "0501 0001 03"), nil, "1400 0004 0000002a"},
		{"vendor-tlv", short(submitSM, "USSD", toCode, me, 0, "Paid", "0501 0001 83"), nil, "1400 0004 0000002a"},
		{"service-type", short(submitSM, "BN", toDigits, me, 4, "Paid", ""), nil, ""},
		{"msisdn", short(submitSM, "USSD", toCode, me, 0, "Paid", "0501 0001 03"), nil, ""},
	}
	for _, test := range tests {
		t.Run(test.dialect, func(t *testing.T) {
			sim := newSim(t, smpptest.Config{Dialect: test.dialect})
			e := bound(t, sim)
			h := sim.Handset(amina)
			sim.SetNextID(0x2A)
			status, body := e.getsResponse(e.sends(test.notice))
			if want := append([]byte("00000001\x00"), fromHexTLV(test.tlvs)...); status != 0 || !bytes.Equal(body, want) {
				t.Errorf("response 0x%x %x, want %x", status, body, want)
			}
			if test.confirm != nil {
				e.takes("confirmation", test.confirm)
			}
			if screen, err := h.Next(within(t)); err != nil || screen.Text != "Paid" || !screen.End {
				t.Errorf("%+v, %v", screen, err)
			}
			if h.Live() {
				t.Error("a dialogue is open after a notice")
			}
		})
	}
}

// TestLastQuestion: the answer to it ends the dialogue.
func TestLastQuestion(t *testing.T) {
	sim := newSim(t, smpptest.Config{Dialect: "vendor-tlv"})
	e := bound(t, sim)
	h := sim.Handset(amina)
	sim.SetNextID(0x2A)
	asked := e.sends(short(submitSM, "USSD", toCode, me, 0, "Sure?", "0501 0001 82"))
	if screen, err := h.Next(within(t)); err != nil || screen.Text != "Sure?" || screen.End {
		t.Fatalf("%+v, %v", screen, err)
	}
	end := answers(t, h)
	e.responded("question", asked)
	e.takes("answer", short(deliverSM, "USSD", nobody, nobody, 0, "1", "0501 0001 92 1400 0004 0000002a"))
	saw(t, "end", end, "", true)
	if h.Live() {
		t.Error("the dialogue is still open")
	}
}

// TestPushRefused: whom an ESME can't reach.
func TestPushRefused(t *testing.T) {
	c := conversationIn("standard")
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	if status, _ := e.getsResponse(e.sends(c.push)); status != 0x481 {
		t.Errorf("a number without handset: 0x%x, want 0x481", status)
	}
	c.shown(t, sim, e)
	if status, _ := e.getsResponse(e.sends(c.push)); status != 0x4C8 {
		t.Errorf("a subscriber with a dialogue: 0x%x, want 0x4c8", status)
	}
}

// TestReplyIsOrphaned: where nothing tells dialogues of a subscriber apart, a
// reply to one that is over is not taken for a new one.
func TestReplyIsOrphaned(t *testing.T) {
	c := conversationIn("msisdn")
	sim := newSim(t, smpptest.Config{Dialect: c.dialect})
	e := bound(t, sim)
	h := sim.Handset(amina)
	impatient, cancel := context.WithCancel(within(t))
	dialled := async(func() (smpptest.Screen, error) { return h.Dial(impatient, c.dialled) })
	e.takes("begin", c.begin)
	cancel()
	<-dialled
	ctx := within(t)
	hungUp := async(func() (smpptest.Screen, error) { return smpptest.Screen{}, h.Hangup(ctx) })
	e.takes("hang up", c.hangup)
	if got := <-hungUp; got.err != nil {
		t.Error(got.err)
	}
	if status, _ := e.getsResponse(e.sends(c.menu)); status != 0x4C1 {
		t.Errorf("a menu after the end: 0x%x, want 0x4c1", status)
	}
	if status, _ := e.getsResponse(e.sends(c.push)); status != 0 {
		t.Errorf("the next: 0x%x; it opens a dialogue", status)
	}
}

// TestRefusedInDialects sends what one dialect allows and another doesn't.
func TestRefusedInDialects(t *testing.T) {
	tests := []struct {
		dialect, name string
		pdu           func(c conversation) []byte
		want          uint32
	}{
		{"standard", "a PSSD response to a PSSR", func(conversation) []byte {
			return short(submitSM, "USSD", toCode, me, 0, "x", "0501 0001 10 1383 0002 2a03")
		}, 0x66},
		{"standard", "a count that stands still", func(conversation) []byte {
			return short(submitSM, "USSD", toCode, me, 0, "x", "0501 0001 02 1383 0002 2a00")
		}, 0xC4},
		{"standard", "data_sm", func(conversation) []byte { return conversationIn("data-sm").menu }, 0x03},
		{"tata", "a USSR response", func(conversation) []byte {
			return short(submitSM, "", toCode, me, 0, "x", "0501 0001 11 1383 0002 002b")
		}, 0xC4},
		{"tata", "a session that was not echoed", func(conversation) []byte {
			return short(submitSM, "", toCode, me, 0, "x", "0501 0001 02 1383 0002 002c")
		}, 0x4C1},
		{"mica", "the code with star and hash", func(conversation) []byte {
			return short(submitSM, "USSD", "00*372#", me, 0, "x", "0501 0001 02 0204 0002 3235")
		}, 0x0A},
		{"mica", "the operation of what is written 17h", func(conversation) []byte {
			return short(submitSM, "USSD", "00372", me, 0, "x", "0501 0001 17 0204 0002 3235")
		}, 0xC4},
		{"sixdee", "an end without the E bit", func(conversation) []byte {
			return short(submitSM, "USSD", toCode, me, 0, "x", "0501 0001 11 1383 0002 162e")
		}, 0xC4},
		{"vendor-tlv", "a source address", func(conversation) []byte {
			return short(submitSM, "USSD", toCode, nobody, 0, "x", "0501 0001 02 1400 0004 01020304")
		}, 0x0A},
		{"vendor-tlv", "a destination address", func(conversation) []byte {
			return short(submitSM, "USSD", nobody, me, 0, "x", "0501 0001 02 1400 0004 01020304")
		}, 0x0B},
		{"vendor-tlv", "a last operation in a subscriber's dialogue", func(conversation) []byte {
			return short(submitSM, "USSD", nobody, nobody, 0, "x", "0501 0001 83 1400 0004 01020304")
		}, 0x66},
		{"vendor-tlv", "the GSM data_coding of MAP", func(conversation) []byte {
			return short(submitSM, "USSD", nobody, nobody, 0x0F, "x", "0501 0001 02 1400 0004 01020304")
		}, 0x45},
		{"service-type", "another service_type", func(conversation) []byte {
			return short(submitSM, "USSD", toDigits, me, 4, "x", "")
		}, 0x15},
		{"service-type", "a notice in a dialogue", func(conversation) []byte {
			return short(submitSM, "BN", toDigits, me, 4, "x", "")
		}, 0x66},
		{"data-sm", "submit_sm", func(conversation) []byte { return conversationIn("standard").menu }, 0x03},
		{"data-sm", "a source address", func(conversation) []byte {
			return data("USSD", toCode, me, "0424 0001 78 001e 0007 41314232433300 0501 0001 02 0007 0001 04")
		}, 0x0A},
		{"data-sm", "no bearer", func(conversation) []byte {
			return data("USSD", nobody, me, "0424 0001 78 001e 0007 41314232433300 0501 0001 02")
		}, 0xC3},
		{"data-sm", "another bearer", func(conversation) []byte {
			return data("USSD", nobody, me, "0424 0001 78 001e 0007 41314232433300 0501 0001 02 0007 0001 01")
		}, 0xC4},
		{"data-sm", "a session in lower case", func(conversation) []byte {
			return data("USSD", nobody, me, "0424 0001 78 001e 0007 61314232433300 0501 0001 02 0007 0001 04")
		}, 0xC4},
		{"msisdn", "a notice in a dialogue", func(conversation) []byte {
			return short(submitSM, "USSD", toCode, me, 0, "x", "0501 0001 03")
		}, 0x66},
	}
	for _, test := range tests {
		t.Run(test.dialect+"/"+test.name, func(t *testing.T) {
			c := conversationIn(test.dialect)
			sim := newLenientSim(t, smpptest.Config{Dialect: test.dialect})
			e := bound(t, sim)
			_, menu := c.dials(t, sim, e)
			if status, _ := e.getsResponse(e.sends(test.pdu(c))); status != test.want {
				t.Errorf("status 0x%x, want 0x%x", status, test.want)
			}
			if complaints := sim.Complaints(); len(complaints) != 1 || complaints[0].SystemID != "esme" {
				t.Errorf("complaints: %v", complaints)
			}
			e.asked(c)
			saw(t, "menu", menu, c.menuText, false)
		})
	}
}

func TestUnknownDialect(t *testing.T) {
	if _, err := smpptest.Start(smpptest.Config{Dialect: "pidgin"}); err == nil || !strings.Contains(err.Error(), "vendor-tlv") {
		t.Errorf("%v; want the dialects that there are", err)
	}
}

// TestBindTrace holds the SMSC's words in a bind against those made elsewhere.
func TestBindTrace(t *testing.T) {
	sim := newLenientSim(t, smpptest.Config{SystemID: "USSDGW"})
	e := connect(t, sim)
	e.writeOctets(fromHex("0000002200000009000000000000000165736d653100736563726574000034000000"))
	if got, want := e.frame(), fromHex("0000001c800000090000000000000001555353444757000210000134"); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	e.writeOctets(fromHex("00000010000000550000000000000099"))
	if got, want := e.frame(), fromHex("00000010800000000000000300000099"); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// TestComplaints: what an ESME is told of besides the status.
func TestComplaints(t *testing.T) {
	c := conversationIn("standard")
	other := bytes.ReplaceAll(bytes.Clone(c.menu), []byte(amina), []byte(bello))
	tests := []struct {
		name string
		do   func(sim *smpptest.Sim, e *esme, tx *esme)
		want string
	}{
		{"somebody else's dialogue", func(_ *smpptest.Sim, e, _ *esme) {
			e.getsResponse(e.sends(other))
		}, "ESME esme: submit_sm 2: 0x4c1 (no such dialogue): 234802***4567 has no dialogue 0x2a: it belongs to another subscriber"},
		{"a dialogue of another ESME", func(_ *smpptest.Sim, _, tx *esme) {
			tx.getsResponse(tx.sends(c.menu))
		}, "ESME other: submit_sm 2: 0x4c1 (no such dialogue): dialogue 0x2a of 234803***4567 is held with esme, not with other"},
		{"no dialogue of anybody", func(_ *smpptest.Sim, e, _ *esme) {
			b := bytes.Clone(c.menu)
			b[len(b)-2]++
			e.getsResponse(e.sends(b))
		}, "ESME esme: submit_sm 2: 0x4c1 (no such dialogue): 234803***4567 never had a dialogue 0x2b with this ESME"},
		{"an answer on another bind", func(sim *smpptest.Sim, e, tx *esme) {
			tx.acks(fromHex("00000010000000050000000000000001"))
			tx.getsResponse(tx.sends(fromHex("00000010000000150000000000000001")))
		}, "ESME other: deliver_sm_resp 1 answers nothing that was sent on its connection"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sim := newLenientSim(t, smpptest.Config{})
			e := bound(t, sim)
			c.dials(t, sim, e)
			tx := connect(t, sim)
			if status := tx.bind(pdu.NewBindTransmitter(), "other", "x"); status != 0 {
				t.Fatal(status)
			}
			test.do(sim, e, tx)
			if got := sim.Complaints(); len(got) != 1 || got[0].String() != test.want {
				t.Errorf("got  %v\nwant %s", got, test.want)
			}
		})
	}
}
