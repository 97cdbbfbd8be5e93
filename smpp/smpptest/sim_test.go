package smpptest_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp/smpptest"
)

// TestDialogue follows one dialogue PDU by PDU, as a gateway of the standard
// dialect holds it.
func TestDialogue(t *testing.T) {
	sim := newLenientSim(t, smpptest.Config{})
	e := bound(t, sim)
	h := sim.Handset(amina)
	ctx := within(t)

	menu := async(func() (smpptest.Screen, error) { return h.Dial(ctx, "*999*1#") })
	begin := e.delivered()
	want := input{
		sequence: begin.sequence, serviceType: "USSD", msisdn: amina, service: "*999#", text: "*999*1#", ton: 1, npi: 1,
		op: []byte{0x01}, session: []byte{begin.session[0], 0x00},
	}
	if fmt.Sprint(begin) != fmt.Sprint(want) {
		t.Errorf("begin:\ngot  %+v\nwant %+v", begin, want)
	}
	e.ack(begin, 0)
	reply := answer(begin, "Fee: 5€ [1]\n1. Buy", false)
	if status := e.submit(reply); status != 0 {
		t.Fatalf("menu: %v", status)
	}
	if got := <-menu; got.err != nil || got.screen.Text != "Fee: 5€ [1]\n1. Buy" || got.screen.End || got.screen.Units != 21 {
		t.Errorf("menu: %+v", got)
	}
	if !h.Live() {
		t.Error("the dialogue is not open after a menu")
	}

	end := async(func() (smpptest.Screen, error) { return h.Answer(ctx, "1") })
	in := e.delivered()
	if in.text != "1" || !bytes.Equal(in.op, []byte{0x12}) || !bytes.Equal(in.session, []byte{begin.session[0], 0x02}) {
		t.Errorf("the input does not repeat the ESME's last octet: %+v", in)
	}
	e.ack(in, 0)
	if status := e.submit(answer(in, "Done.", true)); status != 0 {
		t.Fatalf("end: %v", status)
	}
	if got := <-end; got.err != nil || got.screen.Text != "Done." || !got.screen.End {
		t.Errorf("end: %+v", got)
	}
	if h.Live() {
		t.Error("the dialogue is still open after its end")
	}
	if _, err := h.Answer(ctx, "1"); !errors.Is(err, smpptest.ErrNoDialogue) {
		t.Errorf("an answer after the end: %v", err)
	}
	if status := e.submit(answer(in, "Too late.", true)); status != 0x4C1 {
		t.Errorf("a reply after the end: %v, want 0x4c1", status)
	}
	const complaint = "ESME esme: submit_sm 4: 0x4c1 (no such dialogue): the ESME has ended the dialogue 0x01 of 234803***4567 itself"
	if got := sim.Complaints(); len(got) != 1 || got[0].String() != complaint {
		t.Errorf("got  %v\nwant %s", got, complaint)
	}
}

func TestHangup(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	h := sim.Handset(amina)
	ctx := within(t)

	menu := async(func() (smpptest.Screen, error) { return h.Dial(ctx, "*999#") })
	begin := e.delivered()
	e.ack(begin, 0)
	e.submit(answer(begin, "1. Buy", false))
	<-menu
	hungUp := async(func() (smpptest.Screen, error) { return smpptest.Screen{}, h.Hangup(ctx) })
	release := e.delivered()
	if !bytes.Equal(release.op, []byte{0x81}) || !bytes.Equal(release.session, []byte{begin.session[0], 0x03}) || release.text != "" {
		t.Errorf("release: %+v", release)
	}
	if status := e.submit(answer(begin, "Still there?", true)); status != 0x4C1 {
		t.Errorf("a reply after the release: %v, want 0x4c1", status)
	}
	select {
	case <-hungUp:
		t.Error("Hangup returned before the ESME had acknowledged")
	default:
	}
	e.ack(release, 0)
	if got := <-hungUp; got.err != nil {
		t.Error(got.err)
	}
	if err := h.Hangup(ctx); !errors.Is(err, smpptest.ErrNoDialogue) {
		t.Errorf("a second Hangup: %v", err)
	}
}

// TestRefusedReplies sends, in one open dialogue, replies that a gateway can't
// carry out, and then one that it can.
func TestRefusedReplies(t *testing.T) {
	fields := func(name pdufield.Name, value any) func(pdu.Body) {
		return func(body pdu.Body) { set(body, map[pdufield.Name]any{name: value}) }
	}
	tlv := func(tag pdutlv.Tag, value ...byte) func(pdu.Body) {
		return func(body pdu.Body) {
			if err := body.TLVFields().Set(tag, value); err != nil {
				panic(err)
			}
		}
	}
	tests := []struct {
		name string
		body func(pdu.Body)
		want pdu.Status
	}{
		{"another service_type", fields(pdufield.ServiceType, ""), 0x15},
		{"national number", fields(pdufield.DestAddrTON, 2), 0x50},
		{"another numbering plan", fields(pdufield.DestAddrNPI, 0), 0x51},
		{"another subscriber", fields(pdufield.DestinationAddr, bello), 0x4C1},
		{"another service", fields(pdufield.SourceAddr, "*100#"), 0x0A},
		{"user data header", fields(pdufield.ESMClass, 0x40), 0x43},
		{"no text", fields(pdufield.ShortMessage, ""), 0x01},
		{"unknown alphabet", fields(pdufield.DataCoding, 0x05), 0x45},
		{"text of 183 septets", fields(pdufield.ShortMessage, pdutext.GSM7(strings.Repeat("a", 183))), 0x408},
		{"text of 81 UCS2 characters", fields(pdufield.ShortMessage, pdutext.UCS2(strings.Repeat("a", 81))), 0x408},
		{"no operation", func(body pdu.Body) { delete(body.TLVFields(), pdutlv.TagUssdServiceOp) }, 0xC3},
		{"operation of two octets", tlv(pdutlv.TagUssdServiceOp, 0, 2), 0xC2},
		{"unknown operation", tlv(pdutlv.TagUssdServiceOp, 0x17), 0xC4},
		{"no session", func(body pdu.Body) { delete(body.TLVFields(), pdutlv.TagItsSessionInfo) }, 0xC3},
		{"session of one octet", tlv(pdutlv.TagItsSessionInfo, 1), 0xC2},
		{"menu with the E bit", tlv(pdutlv.TagItsSessionInfo, 1, 0x03), 0xC4},
		{"end without the E bit", tlv(pdutlv.TagUssdServiceOp, 0x11), 0xC4},
		{"another session", tlv(pdutlv.TagItsSessionInfo, 99, 0x02), 0x4C1},
		{"two texts", tlv(pdutlv.TagMessagePayload, 'x'), 0xC4},
		{"182 septets", fields(pdufield.ShortMessage, pdutext.GSM7(strings.Repeat("a", 182))), 0},
	}
	sim := newLenientSim(t, smpptest.Config{})
	e := bound(t, sim)
	ctx := within(t)
	menu := async(func() (smpptest.Screen, error) { return sim.Handset(amina).Dial(ctx, "*999#") })
	begin := e.delivered()
	e.ack(begin, 0)
	for _, test := range tests {
		body := answer(begin, "1. Buy", false)
		test.body(body)
		if got := e.submit(body); got != test.want {
			t.Errorf("%s: status 0x%x, want 0x%x", test.name, uint32(got), uint32(test.want))
		}
	}
	if got := <-menu; got.err != nil || len(got.screen.Text) != 182 {
		t.Errorf("after the refusals: %+v", got)
	}
}

func TestMalformedReplies(t *testing.T) {
	sim := newLenientSim(t, smpptest.Config{})
	e := bound(t, sim)
	var whole bytes.Buffer
	begin := input{msisdn: amina, service: "*999#", session: []byte{1, 0}}
	if err := answer(begin, "1. Buy", false).SerializeTo(&whole); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		pdu  func(b []byte) []byte
		want pdu.Status
	}{
		{"sm_length past the end", func(b []byte) []byte {
			b[bytes.Index(b, []byte("\x061. Buy"))] = 0xFF
			return b
		}, 0x01},
		{"cut in the addresses", func(b []byte) []byte { return b[:30] }, 0x02},
	}
	for _, test := range tests {
		b := test.pdu(bytes.Clone(whole.Bytes()))
		b[3] = byte(len(b))
		e.writeOctets(b)
		if got := e.expect(pdu.SubmitSMRespID).Header(); got.Status != test.want {
			t.Errorf("%s: %v, want 0x%x", test.name, got.Status, uint32(test.want))
		}
	}
}

// TestUnreadableText shows that octets outside the alphabet reach the
// subscriber as such.
func TestUnreadableText(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	ctx := within(t)
	menu := async(func() (smpptest.Screen, error) { return sim.Handset(amina).Dial(ctx, "*999#") })
	begin := e.delivered()
	e.ack(begin, 0)
	body := answer(begin, "", false)
	set(body, map[pdufield.Name]any{pdufield.ShortMessage: "N\xe2\x82\xa6"})
	e.submit(body)
	if got := <-menu; got.err != nil || got.screen.Text != "N���" || got.screen.Bad != 3 {
		t.Errorf("%+v", got)
	}
}

func TestPayloadAndUCS2(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	ctx := within(t)
	menu := async(func() (smpptest.Screen, error) { return sim.Handset(amina).Dial(ctx, "*999*Ж#") })
	begin := e.delivered()
	if begin.coding != 0x08 {
		t.Errorf("a dialled string outside GSM 03.38 has data_coding %d, want 8", begin.coding)
	}
	e.ack(begin, 0)
	body := answer(begin, "", false)
	set(body, map[pdufield.Name]any{pdufield.DataCoding: 0x08})
	if err := body.TLVFields().Set(pdutlv.TagMessagePayload, []byte(pdutext.UCS2("₦50 ok?").Encode())); err != nil {
		t.Fatal(err)
	}
	if status := e.submit(body); status != 0 {
		t.Fatal(status)
	}
	if got := <-menu; got.err != nil || got.screen.Text != "₦50 ok?" || got.screen.Units != 7 {
		t.Errorf("%+v", got)
	}
}

func TestInputRefusedByESME(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	h := sim.Handset(amina)
	ctx := within(t)
	menu := async(func() (smpptest.Screen, error) { return h.Dial(ctx, "*999#") })
	e.ack(e.delivered(), 0x64)
	got := <-menu
	if refused, ok := errors.AsType[*smpptest.RefusedError](got.err); !ok || refused.Status != 0x64 {
		t.Errorf("%+v", got)
	}
	if h.Live() {
		t.Error("the dialogue is still open")
	}
}

func TestNackedInput(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	ctx := within(t)
	menu := async(func() (smpptest.Screen, error) { return sim.Handset(amina).Dial(ctx, "*999#") })
	nack := pdu.NewGenericNACK()
	nack.Header().Seq, nack.Header().Status = e.delivered().sequence, 0x03
	e.write(nack)
	got := <-menu
	if refused, ok := errors.AsType[*smpptest.RefusedError](got.err); !ok || refused.Status != 0x03 {
		t.Errorf("%+v", got)
	}
}

// TestReplyBeforeAcknowledgement: the gateway holds one reply until its
// deliver_sm is acknowledged, and refuses a second.
func TestReplyBeforeAcknowledgement(t *testing.T) {
	sim := newLenientSim(t, smpptest.Config{})
	e := bound(t, sim)
	h := sim.Handset(amina)
	ctx := within(t)
	menu := async(func() (smpptest.Screen, error) { return h.Dial(ctx, "*999#") })
	begin := e.delivered()
	if status := e.submit(answer(begin, "first", false)); status != 0 {
		t.Fatal(status)
	}
	if status := e.submit(answer(begin, "second", true)); status != 0x40E {
		t.Errorf("a second reply: %v, want 0x40e", status)
	}
	select {
	case got := <-menu:
		t.Fatalf("the screen came before the acknowledgement: %+v", got)
	default:
	}
	e.ack(begin, 0)
	if got := <-menu; got.err != nil || got.screen.Text != "first" {
		t.Errorf("%+v", got)
	}
}

func TestTurns(t *testing.T) {
	sim := newLenientSim(t, smpptest.Config{})
	e := bound(t, sim)
	h := sim.Handset(amina)
	ctx := within(t)
	menu := async(func() (smpptest.Screen, error) { return h.Dial(ctx, "*999#") })
	begin := e.delivered()
	if _, err := h.Answer(ctx, "1"); !errors.Is(err, smpptest.ErrNotYourTurn) {
		t.Errorf("an answer to no screen: %v", err)
	}
	e.ack(begin, 0)
	e.submit(answer(begin, "1. Buy", false))
	<-menu
	if status := e.submit(answer(begin, "2. Sell", false)); status != 0x40E {
		t.Errorf("a second menu: %v, want 0x40e", status)
	}
	// An end may come at any time: an ESME that is tired of waiting.
	late := async(func() (smpptest.Screen, error) { return h.Next(ctx) })
	if status := e.submit(answer(counted(begin), "Bye.", true)); status != 0 {
		t.Fatal(status)
	}
	if got := <-late; got.err != nil || got.screen.Text != "Bye." || !got.screen.End {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := h.Next(ctx); !errors.Is(err, smpptest.ErrNoDialogue) || !errors.Is(err, context.Canceled) {
		t.Errorf("Next without a dialogue: %v", err)
	}
}

func TestReleasedByESME(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	ctx := within(t)
	menu := async(func() (smpptest.Screen, error) { return sim.Handset(amina).Dial(ctx, "*999#") })
	begin := e.delivered()
	e.ack(begin, 0)
	body := answer(begin, "", true)
	if err := body.TLVFields().Set(pdutlv.TagUssdServiceOp, []byte{0x80}); err != nil {
		t.Fatal(err)
	}
	if status := e.submit(body); status != 0 {
		t.Fatal(status)
	}
	if got := <-menu; !errors.Is(got.err, smpptest.ErrReleased) {
		t.Errorf("%+v", got)
	}
}

// TestRedial: a phone that lost its network dials again, and the old dialogue
// is dead.
func TestRedial(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	h := sim.Handset(amina)
	ctx := within(t)
	first := async(func() (smpptest.Screen, error) { return h.Dial(ctx, "*999#") })
	old := e.delivered()
	e.ack(old, 0)
	e.submit(answer(old, "first", false))
	<-first
	second := async(func() (smpptest.Screen, error) { return h.Dial(ctx, "*999#") })
	begin := e.delivered()
	if begin.session[0] == old.session[0] {
		t.Error("the second dialogue has the session number of the first")
	}
	e.ack(begin, 0)
	if status := e.submit(answer(old, "stale", false)); status != 0x4C1 {
		t.Errorf("a reply to the old dialogue: %v, want 0x4c1", status)
	}
	e.submit(answer(begin, "second", false))
	if got := <-second; got.err != nil || got.screen.Text != "second" {
		t.Errorf("%+v", got)
	}
}

// TestWaitTellsWhatWasRefused: who waits in vain learns why.
func TestWaitTellsWhatWasRefused(t *testing.T) {
	sim := newLenientSim(t, smpptest.Config{})
	e := bound(t, sim)
	ctx, cancel := context.WithCancel(within(t))
	menu := async(func() (smpptest.Screen, error) { return sim.Handset(amina).Dial(ctx, "*999#") })
	begin := e.delivered()
	e.ack(begin, 0)
	body := answer(begin, "1. Buy", false)
	set(body, map[pdufield.Name]any{pdufield.ServiceType: "CMT"})
	e.submit(body)
	cancel()
	got := <-menu
	const want = `dial *999#: context canceled; the ESME's last submit_sm to 234803***4567 was refused: ` +
		`0x15 (invalid service type): service_type is "CMT", not "USSD"`
	if !errors.Is(got.err, context.Canceled) || got.err.Error() != want {
		t.Errorf("got  %v\nwant %s", got.err, want)
	}
}

func TestBindRefused(t *testing.T) {
	sim := newSim(t, smpptest.Config{Accounts: []smpptest.Account{
		{SystemID: "esme", Password: "secret", MaxBinds: 1},
		{SystemID: "barred", Password: "secret", Refuse: 0x0D},
		{SystemID: "other", Password: "secret"},
	}})
	tests := []struct {
		name, systemID, password string
		want                     pdu.Status
	}{
		{"unknown system_id", "nobody", "secret", 0x0F},
		{"wrong password", "esme", "guess", 0x0E},
		{"barred", "barred", "secret", 0x0D},
		{"right", "esme", "secret", 0},
		{"second of one", "esme", "secret", 0x05},
		{"second of many", "other", "secret", 0},
	}
	for _, test := range tests {
		e := connect(t, sim)
		if got := e.bind(pdu.NewBindTransceiver(), test.systemID, test.password); got != test.want {
			t.Errorf("%s: %v, want 0x%x", test.name, got, uint32(test.want))
		}
	}
	if binds := sim.Binds(); len(binds) != 2 || binds[0].SystemID != "esme" || binds[0].Command != pdu.BindTransceiverID {
		t.Errorf("binds: %+v", binds)
	}
}

// TestBindAgain: a refused connection may try again, an account is free once
// its bind has gone, a bound connection can't bind twice.
func TestBindAgain(t *testing.T) {
	sim := newSim(t, smpptest.Config{Accounts: []smpptest.Account{{SystemID: "esme", Password: "secret", MaxBinds: 1}}})
	e := connect(t, sim)
	if status := e.bind(pdu.NewBindTransceiver(), "esme", "guess"); status != 0x0E {
		t.Errorf("wrong password: %v", status)
	}
	if status := e.bind(pdu.NewBindTransceiver(), "esme", "secret"); status != 0 {
		t.Errorf("right password: %v", status)
	}
	if status := e.bind(pdu.NewBindTransceiver(), "esme", "secret"); status != 0x05 {
		t.Errorf("bound already: %v", status)
	}
	e.request(pdu.NewUnbind())
	if status := e.expect(pdu.UnbindRespID).Header().Status; status != 0 {
		t.Errorf("unbind: %v", status)
	}
	e.expectEnd()
	e.nc.Close()
	if err := sim.WaitUnbound(within(t), "esme"); err != nil {
		t.Fatal(err)
	}
	bound(t, sim)
}

func TestTransmitterAndReceiver(t *testing.T) {
	sim := newLenientSim(t, smpptest.Config{})
	tx, rx := connect(t, sim), connect(t, sim)
	ctx := within(t)
	if status := tx.bind(pdu.NewBindTransmitter(), "esme", "secret"); status != 0 {
		t.Fatal(status)
	}
	if _, err := sim.Handset(amina).Dial(ctx, "*999#"); !errors.Is(err, smpptest.ErrNoESME) {
		t.Errorf("dial with a transmitter only: %v", err)
	}
	if status := rx.bind(pdu.NewBindReceiver(), "esme", "secret"); status != 0 {
		t.Fatal(status)
	}
	menu := async(func() (smpptest.Screen, error) { return sim.Handset(amina).Dial(ctx, "*999#") })
	begin := rx.delivered()
	rx.ack(begin, 0)
	if status := rx.submit(answer(begin, "1. Buy", false)); status != 0x04 {
		t.Errorf("submit_sm on a receiver: %v, want 0x04", status)
	}
	if got := sim.Complaints(); len(got) != 1 || !strings.Contains(got[0].Text, "not bound as a transmitter") {
		t.Errorf("complaints: %v", got)
	}
	if status := tx.submit(answer(begin, "1. Buy", false)); status != 0 {
		t.Errorf("submit_sm on a transmitter: %v", status)
	}
	if got := <-menu; got.err != nil || got.screen.Text != "1. Buy" {
		t.Errorf("%+v", got)
	}
}

func TestLinkManagement(t *testing.T) {
	sim := newLenientSim(t, smpptest.Config{})
	e := connect(t, sim)

	e.writeOctets(mustHex(t, "00000010 00000015 00000000 00000000"))
	if h := e.expect(pdu.EnquireLinkRespID).Header(); h.Seq != 0 || h.Len != 16 {
		t.Errorf("enquire_link with sequence 0 before a bind: %+v", h)
	}
	if status := e.submit(answer(input{msisdn: amina, session: []byte{1, 0}}, "x", false)); status != 0x04 {
		t.Errorf("submit_sm before a bind: %v, want 0x04", status)
	}
	e.request(pdu.NewUnbind())
	if status := e.expect(pdu.UnbindRespID).Header().Status; status != 0x04 {
		t.Errorf("unbind before a bind: %v, want 0x04", status)
	}
	e.writeOctets(mustHex(t, "00000012 00000009 00000000 00000007 6100"))
	if h := e.expect(pdu.BindTransceiverRespID).Header(); h.Status != 0x02 || h.Seq != 7 {
		t.Errorf("bind cut short: %+v", h)
	}
	e.writeOctets(mustHex(t, "00000010 00000055 00000000 00000099"))
	if h := e.expect(pdu.GenericNACKID).Header(); h.Status != 0x03 || h.Seq != 0x99 {
		t.Errorf("unknown command: %+v", h)
	}
	e.writeOctets(mustHex(t, "00000010 80000055 00000000 00000099")) // a response to nothing gets none
	e.writeOctets(mustHex(t, "00000008 00000015"))
	if h := e.expect(pdu.GenericNACKID).Header(); h.Status != 0x02 {
		t.Errorf("framing lost: %+v", h)
	}
	e.expectEnd()
}

func TestInterfaceVersion(t *testing.T) {
	sim := newSim(t, smpptest.Config{SystemID: "USSDGW"})
	e := connect(t, sim)
	body := pdu.NewBindTransceiver()
	set(body, map[pdufield.Name]any{pdufield.SystemID: "esme", pdufield.InterfaceVersion: 0x34})
	e.request(body)
	resp := e.expect(pdu.BindTransceiverRespID)
	if id := resp.Fields()[pdufield.SystemID].String(); id != "USSDGW" {
		t.Errorf("system_id %q", id)
	}
	if tlv := resp.TLVFields()[0x0210]; tlv == nil || !bytes.Equal(tlv.Bytes(), []byte{0x34}) {
		t.Errorf("sc_interface_version %v", tlv)
	}
}

func TestBindTimeout(t *testing.T) {
	sim := newSim(t, smpptest.Config{BindTimeout: time.Millisecond})
	connect(t, sim).expectEnd()
}

func TestEnquireLink(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	for range 3 {
		sim.EnquireOnce()
		request := e.expect(pdu.EnquireLinkID)
		e.write(pdu.NewEnquireLinkRespSeq(request.Header().Seq))
		e.request(pdu.NewEnquireLink())
		e.expect(pdu.EnquireLinkRespID) // by now the SMSC has read our response too
	}
}

func TestEnquireLinkUnanswered(t *testing.T) {
	sim := newSim(t, smpptest.Config{EnquireLink: time.Millisecond})
	e := bound(t, sim)
	e.expect(pdu.EnquireLinkID)
	e.expectEnd()
}

func TestUnbindAndShutdown(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	ctx := within(t)
	stranger := connect(t, sim)
	e := bound(t, sim)
	done := make(chan error, 1)
	go func() { done <- sim.Unbind(ctx) }()
	request := e.expect(pdu.UnbindID)
	if _, err := sim.Handset(amina).Dial(ctx, "*999#"); !errors.Is(err, smpptest.ErrNoESME) {
		t.Errorf("dial while the only ESME leaves: %v", err)
	}
	resp := pdu.NewUnbindResp()
	resp.Header().Seq = request.Header().Seq
	e.write(resp)
	e.expectEnd()
	e.nc.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	stranger.expectEnd()

	bound(t, sim).serve(shop())
	if err := sim.WaitBound(ctx, "esme"); err != nil {
		t.Fatal(err)
	}
	if err := sim.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", sim.Addr()); err == nil {
		t.Error("the SMSC still listens after Shutdown")
	}
	if _, err := sim.Handset(amina).Dial(ctx, "*999#"); !errors.Is(err, smpptest.ErrClosed) {
		t.Errorf("dial after Shutdown: %v", err)
	}
	if err := sim.WaitBound(ctx, ""); !errors.Is(err, smpptest.ErrClosed) {
		t.Errorf("WaitBound after Shutdown: %v", err)
	}
}

func TestShutdownDoesNotWaitForever(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan error, 1)
	go func() { done <- sim.Shutdown(ctx) }()
	e.expect(pdu.UnbindID)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown with a deaf ESME: %v", err)
	}
}

// TestDrop: a dialogue outlives its connection, and goes on over the ESME's
// next.
func TestDrop(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	h := sim.Handset(amina)
	ctx := within(t)

	e := bound(t, sim)
	menu := async(func() (smpptest.Screen, error) { return h.Dial(ctx, "*999#") })
	begin := e.delivered()
	sim.Drop()
	if _, err := e.nc.Read(make([]byte, 1)); err == nil {
		t.Fatal("the connection is still there")
	}
	if err := sim.WaitUnbound(ctx, ""); err != nil {
		t.Fatal(err)
	}
	e = bound(t, sim)
	if status := e.submit(answer(begin, "1. Buy", false)); status != 0 {
		t.Fatalf("a reply on the next connection: %v", status)
	}
	if got := <-menu; got.err != nil || got.screen.Text != "1. Buy" {
		t.Errorf("%+v", got)
	}
	end := async(func() (smpptest.Screen, error) { return h.Answer(ctx, "1") })
	in := e.delivered()
	e.ack(in, 0)
	e.submit(answer(in, "Done.", true))
	if got := <-end; got.err != nil || got.screen.Text != "Done." {
		t.Errorf("%+v", got)
	}
}

// TestManyHandsets holds more dialogues at once than there are session numbers,
// over two binds, and each subscriber sees only what is meant for them.
func TestManyHandsets(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	mine := func(in input) (string, bool) { return in.msisdn + " " + in.text, in.text == "bye" }
	bound(t, sim).serve(mine)
	bound(t, sim).serve(mine)
	ctx := within(t)
	var everyone sync.WaitGroup
	const subscribers = 300
	everyone.Add(subscribers)
	var wg sync.WaitGroup
	for n := range subscribers {
		wg.Go(func() {
			h := sim.Handset(fmt.Sprintf("234803%07d", n))
			screen, err := h.Dial(ctx, "*999#")
			everyone.Done()
			everyone.Wait() // all dialogues are open now
			for _, text := range []string{"1", "2", "bye"} {
				if err != nil {
					break
				}
				if screen, err = h.Answer(ctx, text); err == nil && screen.Text != h.MSISDN()+" "+text {
					t.Errorf("%s answered %s and saw %q", h.MSISDN(), text, screen.Text)
				}
			}
			if err != nil {
				t.Errorf("%s: %v", h.MSISDN(), err)
			}
		})
	}
	wg.Wait()
}

func TestNobodyToDial(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	if _, err := sim.Handset(amina).Dial(within(t), "*999#"); !errors.Is(err, smpptest.ErrNoESME) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sim.WaitBound(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTooLongToDial(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	bound(t, sim)
	_, err := sim.Handset(amina).DialService(within(t), "*999#", "*999*"+strings.Repeat("1", 200)+"#")
	if err == nil || !strings.Contains(err.Error(), "a USSD string holds 160") {
		t.Error(err)
	}
}

func TestStartOnTakenAddress(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	if _, err := smpptest.Start(smpptest.Config{Listen: sim.Addr()}); err == nil {
		t.Error("two SMSCs listen on one address")
	}
}

func TestServiceOf(t *testing.T) {
	for dialled, want := range map[string]string{
		"*999#": "*999#", "*999*1*2#": "*999#", "#100#": "#100#", "**21*1#": "**21*1#", "999": "999", "*": "*",
	} {
		if got := smpptest.ServiceOf(dialled); got != want {
			t.Errorf("ServiceOf(%q) = %q, want %q", dialled, got, want)
		}
	}
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
