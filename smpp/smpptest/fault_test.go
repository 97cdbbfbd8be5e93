package smpptest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"

	"ussdd/smpp/smpptest"
)

func faults(t *testing.T, texts ...string) []smpptest.Fault {
	t.Helper()
	var list []smpptest.Fault
	for _, text := range texts {
		f, err := smpptest.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	return list
}

// struck is a gateway of the standard dialect with faults, and an ESME bound to
// it.
func struck(t *testing.T, texts ...string) (*smpptest.Sim, *esme, conversation) {
	t.Helper()
	sim := newSim(t, smpptest.Config{Faults: faults(t, texts...)})
	return sim, bound(t, sim), conversationIn("standard")
}

// hears checks that the SMSC has nothing else to say: what it says to an
// enquire_link comes next.
func (e *esme) hears(what string) {
	e.t.Helper()
	sequence := e.sends(fromHex("00000010000000150000000000000000"))
	if frame := e.frame(); !same(frame, fromHex("00000010800000150000000000000000")) || sequenceOf(frame) != sequence {
		e.t.Fatalf("%s: %x came", what, frame)
	}
}

// faultTests shows what each fault does on the wire.
var faultTests = map[string]func(t *testing.T){
	"sms-throttle": func(t *testing.T) {
		_, e, _ := struck(t, "sms-throttle:2")
		for _, want := range []pdu.Status{0x58, 0x58, 0} {
			if status := e.submit(text(amina, "Hi")); status != want {
				t.Errorf("got %v, want %#x", status, uint32(want))
			}
		}
	},
	"sms-refuse": func(t *testing.T) {
		sim, e, _ := struck(t, "sms-refuse:0x0B")
		if status := e.submit(text(amina, "Hi")); status != 0x0B || len(sim.SMS("")) != 0 {
			t.Errorf("got %v, kept %v", status, sim.SMS(""))
		}
		e.hears("no receipt")
	},
	"sms-no-resp": func(t *testing.T) {
		sim, e, _ := struck(t, "sms-no-resp")
		e.request(text(amina, "Hi"))
		e.receipt(0)
		if e.hears("no response"); len(sim.SMS(amina)) != 1 {
			t.Errorf("kept %v", sim.SMS(""))
		}
	},
	"sms-undelivered": func(t *testing.T) {
		_, e, _ := struck(t, "sms-undelivered")
		e.texts(text(amina, "Hi"))
		if head, tlvs := e.receipt(0); !strings.Contains(head, "dlvrd:000 ") || !strings.Contains(head, "stat:UNDELIV ") || tlvs[0x0427].Bytes()[0] != 5 {
			t.Errorf("receipt %q, %v", head, tlvs)
		}
	},
	"sms-no-receipt": func(t *testing.T) {
		_, e, _ := struck(t, "sms-no-receipt")
		e.texts(text(amina, "Hi"))
		e.hears("no receipt")
	},
	"sms-bare-receipt": func(t *testing.T) {
		_, e, _ := struck(t, "sms-bare-receipt")
		var id string
		for range 10 {
			id = e.texts(text(amina, "Hi"))
			if head, tlvs := e.receipt(0); id == "0000000A" && !strings.HasPrefix(head, "id:0000000010 ") || len(tlvs) != 0 {
				t.Errorf("receipt of %s: %q, %v", id, head, tlvs)
			}
		}
		if id != "0000000A" {
			t.Errorf("the tenth is %s", id)
		}
	},
	"early-enquire": func(t *testing.T) {
		sim := newSim(t, smpptest.Config{Faults: faults(t, "early-enquire")})
		e := connect(t, sim)
		e.request(bindAs(pdu.NewBindTransceiver()))
		enquiry := e.gets("enquire_link", fromHex("00000010000000150000000000000000"))
		e.hears("before the response")
		resp := fromHex("00000010800000150000000000000000")
		copy(resp[12:], enquiry[12:])
		e.writeOctets(resp)
		if h := e.expect(pdu.BindTransceiverRespID).Header(); h.Status != 0 || h.Seq != 1 {
			t.Errorf("%+v", h)
		}
	},
	"already-bound": func(t *testing.T) {
		sim := newSim(t, smpptest.Config{Faults: faults(t, "already-bound:1h")})
		now := time.Now()
		sim.SetNow(func() time.Time { return now })
		bound(t, sim).nc.Close()
		if err := sim.WaitUnbound(within(t), ""); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if status := connect(t, sim).bind(pdu.NewBindTransceiver(), "esme", "secret"); status != 0x05 {
				t.Errorf("the next bind: %v", status)
			}
		}
		if status := connect(t, sim).bind(pdu.NewBindTransceiver(), "other", "secret"); status != 0 {
			t.Errorf("another ESME: %v", status)
		}
		sim.SetNow(func() time.Time { return now.Add(time.Hour) })
		bound(t, sim)
	},
	"hold-bind": func(t *testing.T) {
		sim := newSim(t, smpptest.Config{Faults: faults(t, "hold-bind")})
		tx, rx := connect(t, sim), connect(t, sim)
		tx.request(bindAs(pdu.NewBindTransmitter()))
		tx.hears("before the second bind")
		if status := rx.bind(pdu.NewBindReceiver(), "esme", "secret"); status != 0 {
			t.Error(status)
		}
		if h := tx.expect(pdu.BindTransmitterRespID).Header(); h.Status != 0 || h.Seq != 1 {
			t.Errorf("%+v", h)
		}
		if binds := sim.Binds(); len(binds) != 2 {
			t.Errorf("binds: %v", binds)
		}
	},
	"phase-1": func(t *testing.T) {
		sim := newLenientSim(t, smpptest.Config{Faults: faults(t, "phase-1")})
		e, c := bound(t, sim), conversationIn("standard")
		c.begin = short(deliverSM, "USSD", me, toCode, 0, "*123#", "0501 0001 00 1383 0002 2a00")
		_, end := c.dials(t, sim, e)
		if status, _ := e.getsResponse(e.sends(c.menu)); status != 0x66 {
			t.Errorf("a menu: 0x%x, want 0x66", status)
		}
		e.told("end", short(submitSM, "USSD", toCode, me, 0, "Bye", "0501 0001 10 1383 0002 2a03"))
		saw(t, "end", end, "Bye", true)

		sim = newSim(t, smpptest.Config{Dialect: "vendor-tlv", Faults: faults(t, "phase-1")})
		e, c = bound(t, sim), conversationIn("vendor-tlv")
		c.begin = short(deliverSM, "USSD", me, nobody, 0, "*123*4#", "0501 0001 00 1400 0004 01020304")
		_, end = c.dials(t, sim, e)
		long := strings.Repeat("x", 200)
		e.told("end", short(submitSM, "USSD", nobody, nobody, 0, long, "0501 0001 10 1400 0004 01020304"))
		saw(t, "end", end, long, true)
	},
	"same-id": func(t *testing.T) {
		sim, e, c := struck(t, "same-id")
		_, menu := c.dials(t, sim, e)
		ctx := within(t)
		other := async(func() (smpptest.Screen, error) { return sim.Handset(bello).Dial(ctx, "*123#") })
		e.takes("begin", bytes.ReplaceAll(c.begin, []byte(amina), []byte(bello)))
		e.told("menu", bytes.ReplaceAll(bytes.ReplaceAll(c.menu, []byte(amina), []byte(bello)), []byte("1 Bal"), []byte("2 Bal")))
		e.told("menu", c.menu)
		saw(t, "menu", menu, "1 Bal\n2 Buy", false)
		saw(t, "menu", other, "2 Bal\n2 Buy", false)
	},
	"begin-over": func(t *testing.T) {
		sim, e, c := struck(t, "begin-over")
		ctx := within(t)
		sim.SetNextID(0x29)
		menu := async(func() (smpptest.Screen, error) { return sim.Handset(amina).Dial(ctx, "*123#") })
		old := bytes.Clone(c.begin)
		old[len(old)-2] = 0x29
		e.takes("the old begin", old)
		e.takes("begin", c.begin)
		menuOfOld := bytes.Clone(c.menu)
		menuOfOld[len(menuOfOld)-2] = 0x29
		if status, _ := e.getsResponse(e.sends(menuOfOld)); status != 0x4C1 {
			t.Errorf("the menu of the old dialogue: 0x%x, want 0x4c1", status)
		}
		e.told("menu", c.menu)
		saw(t, "menu", menu, c.menuText, false)
	},
	"begin-twice": func(t *testing.T) {
		sim, e, c := struck(t, "begin-twice")
		_, menu := c.dials(t, sim, e)
		e.takes("the same again", c.begin)
		e.told("menu", c.menu)
		saw(t, "menu", menu, c.menuText, false)
	},
	"duplicate-input": func(t *testing.T) {
		sim, e, c := struck(t, "duplicate-input")
		h, _ := c.shown(t, sim, e)
		end := answers(t, h)
		first := e.takes("input", c.input)
		if second := e.takes("the same again", c.input); sequenceOf(second) == sequenceOf(first) {
			t.Error("both have the same sequence number")
		}
		e.told("end", c.end)
		saw(t, "end", end, c.endText, true)
	},
	"changing-id": func(t *testing.T) {
		sim, e, c := struck(t, "changing-id")
		h, _ := c.shown(t, sim, e)
		end := answers(t, h)
		e.takes("input", short(deliverSM, "USSD", me, toCode, 0, "1", "0501 0001 12 1383 0002 2a08"))
		e.told("end", short(submitSM, "USSD", toCode, me, 0, "Bye", "0501 0001 11 1383 0002 2a0b"))
		saw(t, "end", end, "Bye", true)
	},
	"trailing-cr": func(t *testing.T) {
		inputIs(t, "standard", "trailing-cr", short(deliverSM, "USSD", me, toCode, 0, "1\r", "0501 0001 12 1383 0002 2a02"))
	},
	"trailing-at": func(t *testing.T) {
		inputIs(t, "standard", "trailing-at", short(deliverSM, "USSD", me, toCode, 0, "1\x00", "0501 0001 12 1383 0002 2a02"))
		inputIs(t, "service-type", "trailing-at", short(deliverSM, "CA", me, toDigits, 4, "1@", ""))
	},
	"dcs": func(t *testing.T) {
		for text, input := range map[string][]byte{
			"dcs":      short(deliverSM, "USSD", me, toCode, 0x0F, "1", "0501 0001 12 1383 0002 2a02"),
			"dcs:0x44": short(deliverSM, "USSD", me, toCode, 0x44, "1", "0501 0001 12 1383 0002 2a02"),
			"dcs:0x48": short(deliverSM, "USSD", me, toCode, 0x48, "\x001", "0501 0001 12 1383 0002 2a02"),
			"dcs:0x11": short(deliverSM, "USSD", me, toCode, 0x11, "\x001", "0501 0001 12 1383 0002 2a02"),
		} {
			inputIs(t, "standard", text, input)
		}
	},
	"payload": func(t *testing.T) {
		beginIs(t, "standard", "payload", short(deliverSM, "USSD", me, toCode, 0, "", "0424 0005 2a31323323 0501 0001 01 1383 0002 2a00"))
	},
	"other-command": func(t *testing.T) {
		begin := data("USSD", me, toCode, "0424 0005 2a31323323 0501 0001 01 1383 0002 2a00")
		begin[bytes.Index(begin, []byte("*123#\x00"))+6] = 0 // esm_class
		beginIs(t, "standard", "other-command", begin)
		begin = short(deliverSM, "USSD", me, toCode, 0, "", "0424 0005 2a31323323 001e 0007 41314232433300 0501 0001 01 0007 0001 04 020d 0001 01")
		begin[bytes.Index(begin, []byte("*123#\x00"))+6] = 1
		beginIs(t, "data-sm", "other-command", begin)
	},
	"unknown-tlv": func(t *testing.T) {
		beginIs(t, "standard", "unknown-tlv",
			short(deliverSM, "USSD", me, toCode, 0, "*123#", "0501 0001 01 1383 0002 2a00 3fef 0003 010203 3fef 0000 3fee 0001 00"))
	},
	"truncated-tlv": func(t *testing.T) {
		beginIs(t, "standard", "truncated-tlv",
			short(deliverSM, "USSD", me, toCode, 0, "*123#", "0501 0001 01 1383 0002 2a00 3fef 0009 01"))
	},
	"sm-length": func(t *testing.T) {
		sim := newLenientSim(t, smpptest.Config{Faults: faults(t, "sm-length")})
		e, c := bound(t, sim), conversationIn("standard")
		poison := bytes.Clone(c.begin)
		poison[bytes.Index(poison, []byte("\x05*123#"))] = 0xFF
		ctx := within(t)
		sim.SetNextID(c.id)
		h := sim.Handset(amina)
		menu := async(func() (smpptest.Screen, error) { return h.Dial(ctx, c.dialled) })
		e.acksWith(e.gets("poison", poison), 0x01)
		e.takes("begin", c.begin)
		e.told("menu", c.menu)
		saw(t, "menu", menu, c.menuText, false)
		if got := sim.Complaints(); len(got) > 0 {
			t.Errorf("complaints: %v", got)
		}
		answers(t, h)
		e.acks(e.frame())
		e.acks(e.frame())
		e.hears("after both")
		if got := sim.Complaints(); len(got) != 1 {
			t.Errorf("the poison was swallowed, complaints: %v", got)
		}
	},
	"unknown-command": func(t *testing.T) {
		sim, e, c := struck(t, "unknown-command")
		ctx := within(t)
		sim.SetNextID(c.id)
		menu := async(func() (smpptest.Screen, error) { return sim.Handset(amina).Dial(ctx, c.dialled) })
		unknown := e.gets("unknown", fromHex("00000010000000550000000000000000"))
		nack := fromHex("00000010800000000000000300000000")
		copy(nack[12:], unknown[12:])
		e.writeOctets(nack)
		e.takes("begin", c.begin)
		e.told("menu", c.menu)
		saw(t, "menu", menu, c.menuText, false)
	},
	"equal-sequence": func(t *testing.T) {
		sim, e, c := struck(t, "equal-sequence")
		e.sequence = 100
		h, asked := c.shown(t, sim, e)
		end := answers(t, h)
		if in := e.takes("input", c.input); sequenceOf(in) != asked {
			t.Errorf("the input has sequence number %d, the menu had %d", sequenceOf(in), asked)
		}
		e.told("end", c.end)
		saw(t, "end", end, c.endText, true)
	},
	"half-pdu": func(t *testing.T) {
		beginIs(t, "standard", "half-pdu:1ms", conversationIn("standard").begin)

		sim, e, c := struck(t, "half-pdu")
		ctx := within(t)
		sim.SetNextID(c.id)
		async(func() (smpptest.Screen, error) { return sim.Handset(amina).Dial(ctx, c.dialled) })
		half := make([]byte, len(c.begin)/2)
		if _, err := io.ReadFull(e.nc, half); err != nil || !same(half, c.begin[:len(half)]) {
			t.Errorf("%x, %v", half, err)
		}
		e.sends(fromHex("00000010000000150000000000000000"))
		sim.Drop()
		if rest, _ := io.ReadAll(e.nc); len(rest) > 0 {
			t.Errorf("%x came behind the first half", rest)
		}
	},
	"unbind": func(t *testing.T) {
		sim, e, c := struck(t, "unbind")
		h, menu := c.dials(t, sim, e)
		request := e.expect(pdu.UnbindID)
		e.told("menu", c.menu)
		saw(t, "menu", menu, c.menuText, false)
		e.unbinds(request)

		e = bound(t, sim)
		end := answers(t, h)
		e.takes("input", c.input)
		request = e.expect(pdu.UnbindID)
		e.told("end", c.end)
		saw(t, "end", end, c.endText, true)
		e.unbinds(request)
	},
	"drop": func(t *testing.T) {
		sim, e, c := struck(t, "drop")
		_, menu := c.dials(t, sim, e)
		e.expectEnd()
		e.nc.Close()
		if err := sim.WaitUnbound(within(t), ""); err != nil {
			t.Fatal(err)
		}
		bound(t, sim).told("menu", c.menu)
		saw(t, "menu", menu, c.menuText, false)
	},
	"stop-reading": func(t *testing.T) {
		const pause = 50 * time.Millisecond
		sim, e, c := struck(t, "stop-reading:"+pause.String())
		start := time.Now()
		_, menu := c.dials(t, sim, e)
		e.told("menu", c.menu)
		if took := time.Since(start); took < pause {
			t.Errorf("the SMSC read after %v", took)
		}
		saw(t, "menu", menu, c.menuText, false)
	},
	"command-length": func(t *testing.T) {
		for text, want := range map[string]uint32{"command-length": 8, "command-length:67108864": 64 << 20, "command-length:0x80000000": 1 << 31} {
			sim, e, c := struck(t, text)
			_, menu := c.dials(t, sim, e)
			header := make([]byte, 16)
			if _, err := io.ReadFull(e.nc, header); err != nil || binary.BigEndian.Uint32(header) != want {
				t.Errorf("%s: %x, %v", text, header, err)
			}
			e.writeOctets(fromHex("00000010800000000000000200000000"))
			e.nc.Close()
			if err := sim.WaitUnbound(within(t), ""); err != nil {
				t.Fatal(err)
			}
			bound(t, sim).told("menu", c.menu)
			saw(t, "menu", menu, c.menuText, false)
		}
	},
	"abort-before-reply": func(t *testing.T) {
		for dialect, abort := range map[string][]byte{
			"standard": short(deliverSM, "USSD", me, toCode, 0, "", "0501 0001 81 1383 0002 2a01"),
			"data-sm":  data("USSD", me, toCode, "001e 0007 41314232433300 0501 0001 43 0007 0001 04 020d 0001 01"),
		} {
			sim := newSim(t, smpptest.Config{Dialect: dialect, Faults: faults(t, "abort-before-reply")})
			e, c := bound(t, sim), conversationIn(dialect)
			_, menu := c.dials(t, sim, e)
			e.takes("abort", abort)
			if status, _ := e.getsResponse(e.sends(c.menu)); status != 0x4C1 {
				t.Errorf("the reply: 0x%x, want 0x4c1", status)
			}
			if got := <-menu; !errors.Is(got.err, smpptest.ErrFault) {
				t.Errorf("%+v", got)
			}
		}
	},
	"withhold-resp": func(t *testing.T) {
		sim, e, c := struck(t, "withhold-resp")
		c.after = true
		h, asked := c.shown(t, sim, e)
		e.hears("before the subscriber's answer")
		end := answers(t, h)
		e.responded("menu", asked)
		e.takes("input", c.input)
		e.told("end", c.end)
		saw(t, "end", end, c.endText, true)
	},
	"input-before-resp": func(t *testing.T) {
		sim, e, c := struck(t, "input-before-resp")
		c.after = true
		h, asked := c.shown(t, sim, e)
		end := answers(t, h)
		e.takes("input", c.input)
		e.responded("menu", asked)
		e.told("end", c.end)
		saw(t, "end", end, c.endText, true)
	},
	"delay-resp": func(t *testing.T) {
		const delay = 50 * time.Millisecond
		sim, e, c := struck(t, "delay-resp:"+delay.String())
		_, menu := c.dials(t, sim, e)
		start := time.Now()
		e.told("menu", c.menu)
		if took := time.Since(start); took < delay {
			t.Errorf("the response came after %v", took)
		}
		saw(t, "menu", menu, c.menuText, false)
	},
	"throttle":   func(t *testing.T) { refusedTwice(t, "throttle:2", 0x58) },
	"queue-full": func(t *testing.T) { refusedTwice(t, "queue-full:2", 0x14) },
	"overload":   func(t *testing.T) { refusedTwice(t, "overload:2", 0x64) },
	"refuse": func(t *testing.T) {
		refusedForGood(t, "refuse", 0x4C1)
		refusedForGood(t, "refuse:0x45", 0x45)
		refusedForGood(t, "refuse:88", 0x58)
	},
	"unknown-status": func(t *testing.T) { refusedForGood(t, "unknown-status", 0x5F5) },
	"error-body": func(t *testing.T) {
		for form, want := range map[string]string{
			"none": "", "id": "3000", "tlv": "001d 0008 7265667573656400", "both": "3000 001d 0008 7265667573656400",
		} {
			sim, e, c := struck(t, "throttle", "error-body:"+form)
			c.dials(t, sim, e)
			if status, body := e.getsResponse(e.sends(c.menu)); status != 0x58 || !bytes.Equal(body, fromHexTLV(want)) {
				t.Errorf("%s: 0x%x with %x, want %s", form, status, body, want)
			}
		}
	},
	"silent-death": func(t *testing.T) {
		sim, e, c := struck(t, "silent-death")
		h, _ := c.shown(t, sim, e)
		if err := h.Hangup(within(t)); err != nil || h.Live() {
			t.Errorf("%v, live %t", err, h.Live())
		}
		e.hears("after the death")
		if status, _ := e.getsResponse(e.sends(c.end)); status != 0x4C1 {
			t.Errorf("a reply to the dead: 0x%x, want 0x4c1", status)
		}
	},
	"late-abort": func(t *testing.T) {
		afterEnd(t, "late-abort", short(deliverSM, "USSD", me, toCode, 0, "", "0501 0001 81 1383 0002 2a03"))
	},
	"late-input": func(t *testing.T) {
		afterEnd(t, "late-input", short(deliverSM, "USSD", me, toCode, 0, "1", "0501 0001 12 1383 0002 2a02"))
	},
	"busy":   func(t *testing.T) { pushRefused(t, "busy", 0x49F) },
	"absent": func(t *testing.T) { pushRefused(t, "absent", 0x49B) },
	"barred": func(t *testing.T) { pushRefused(t, "barred", 0x4C1) },
}

func bindAs(body pdu.Body) pdu.Body {
	set(body, map[pdufield.Name]any{pdufield.SystemID: "esme", pdufield.Password: "secret", pdufield.InterfaceVersion: 0x34})
	return body
}

// unbinds answers an unbind and leaves.
func (e *esme) unbinds(request pdu.Body) {
	e.t.Helper()
	resp := pdu.NewUnbindResp()
	resp.Header().Seq = request.Header().Seq
	e.write(resp)
	e.expectEnd()
}

// beginIs checks how a fault changes a begin; the dialogue then goes on.
func beginIs(t *testing.T, dialect, fault string, begin []byte) {
	t.Helper()
	sim := newSim(t, smpptest.Config{Dialect: dialect, Faults: faults(t, fault)})
	e, c := bound(t, sim), conversationIn(dialect)
	c.begin = begin
	c.shown(t, sim, e)
}

// inputIs checks how a fault changes an input; the dialogue then goes on.
func inputIs(t *testing.T, dialect, fault string, input []byte) {
	t.Helper()
	sim := newSim(t, smpptest.Config{Dialect: dialect, Faults: faults(t, fault)})
	e, c := bound(t, sim), conversationIn(dialect)
	h, _ := c.shown(t, sim, e)
	end := answers(t, h)
	e.takes("input", input)
	e.told("end", c.end)
	saw(t, "end", end, c.endText, true)
}

// refusedTwice checks a fault that refuses two replies and then no more.
func refusedTwice(t *testing.T, fault string, status uint32) {
	t.Helper()
	sim, e, c := struck(t, fault)
	_, menu := c.dials(t, sim, e)
	for range 2 {
		if got, body := e.getsResponse(e.sends(c.menu)); got != status || len(body) > 0 {
			t.Errorf("0x%x with %x, want 0x%x alone", got, body, status)
		}
	}
	e.told("menu", c.menu)
	saw(t, "menu", menu, c.menuText, false)
	if n := sim.Struck()[fault[:strings.Index(fault, ":")]]; n != 2 {
		t.Errorf("struck %d times", n)
	}
}

func refusedForGood(t *testing.T, fault string, status uint32) {
	t.Helper()
	sim, e, c := struck(t, fault)
	h, menu := c.dials(t, sim, e)
	if got, _ := e.getsResponse(e.sends(c.menu)); got != status {
		t.Errorf("0x%x, want 0x%x", got, status)
	}
	if got := <-menu; !errors.Is(got.err, smpptest.ErrFault) || !strings.HasSuffix(got.err.Error(), faults(t, fault)[0].String()) {
		t.Errorf("%+v", got)
	}
	if h.Live() {
		t.Error("the dialogue is still open")
	}
}

// afterEnd checks what a fault lets come after the end of a dialogue.
func afterEnd(t *testing.T, fault string, late []byte) {
	t.Helper()
	sim, e, c := struck(t, fault)
	_, end := c.dials(t, sim, e)
	e.told("end", short(submitSM, "USSD", toCode, me, 0, "Bye", "0501 0001 11 1383 0002 2a03"))
	e.takes("what is late", late)
	saw(t, "end", end, "Bye", true)
	e.hears("after that")
}

func pushRefused(t *testing.T, fault string, status uint32) {
	t.Helper()
	sim, e, c := struck(t, fault)
	h := sim.Handset(amina)
	if got, _ := e.getsResponse(e.sends(c.push)); got != status || h.Live() {
		t.Errorf("0x%x, want 0x%x; live %t", got, status, h.Live())
	}
}

func TestFaults(t *testing.T) {
	known := smpptest.Faults()
	for _, name := range known {
		test := faultTests[name]
		if test == nil {
			t.Errorf("fault %s has no test", name)
			continue
		}
		t.Run(name, test)
	}
	for name := range faultTests {
		if !slices.Contains(known, name) {
			t.Errorf("there is no fault %s", name)
		}
	}
}

func TestParseFault(t *testing.T) {
	for _, text := range []string{"drop", "throttle:3", "already-bound:5s", "dcs:0x48", "refuse:0x45", "error-body:id"} {
		if f, err := smpptest.ParseFault(text); err != nil || f.String() != text {
			t.Errorf("%s: %v, %v", text, f, err)
		}
	}
	for text, want := range map[string]string{
		"nonsense":             `there is no fault "nonsense": smscsim -help lists them`,
		"drop:1":               "fault drop takes no argument",
		"throttle:0":           `fault throttle: "0" is not a number from 1`,
		"throttle:x":           `fault throttle: "x" is not a number from 1`,
		"half-pdu:-1s":         `fault half-pdu: "-1s" is not a duration such as 500ms`,
		"dcs:0x00":             `fault dcs: "0x00" is not one of 0x0f, 0x11, 0x40, 0x44, 0x48`,
		"refuse:busy":          `fault refuse: "busy" is not a number such as 88 or 0x58`,
		"command-length:2^31":  `fault command-length: "2^31" is not a number such as 88 or 0x58`,
		"error-body:something": `fault error-body: "something" is not one of none, id, tlv, both`,
	} {
		if _, err := smpptest.ParseFault(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	help := smpptest.FaultHelp()
	for _, name := range smpptest.Faults() {
		if !strings.Contains("\n"+help, "\n"+name) {
			t.Errorf("FaultHelp says nothing of %s", name)
		}
	}
}

// TestFaultsWithoutRoom: a dialect that a fault has no place in says so.
func TestFaultsWithoutRoom(t *testing.T) {
	for dialect, texts := range map[string][]string{
		"vendor-tlv": {"same-id", "changing-id"}, "msisdn": {"same-id", "phase-1"}, "data-sm": {"busy", "sm-length", "payload"}, "tata": {"absent"},
	} {
		for _, text := range texts {
			_, err := smpptest.Start(smpptest.Config{Dialect: dialect, Faults: faults(t, text)})
			if want := "dialect " + dialect + " has no room for fault " + text; err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
	}
}

// TestArm: a fault of a handset strikes it once, and nobody else.
func TestArm(t *testing.T) {
	c := conversationIn("standard")
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	h := sim.Handset(amina)
	if err := h.Arm(faults(t, "trailing-cr")...); err != nil {
		t.Fatal(err)
	}
	if err := sim.Handset(bello).Arm(faults(t, "drop")...); err != nil {
		t.Fatal(err)
	}
	c.shown(t, sim, e)
	menu := answers(t, h)
	e.takes("input", short(deliverSM, "USSD", me, toCode, 0, "1\r", "0501 0001 12 1383 0002 2a02"))
	e.told("menu", short(submitSM, "USSD", toCode, me, 0, "x", "0501 0001 02 1383 0002 2a04"))
	saw(t, "menu", menu, "x", false)
	menu = answers(t, h)
	e.takes("input", short(deliverSM, "USSD", me, toCode, 0, "1", "0501 0001 12 1383 0002 2a04"))

	if err := sim.Arm(faults(t, "throttle")...); err != nil {
		t.Fatal(err)
	}
	end := short(submitSM, "USSD", toCode, me, 0, "Bye", "0501 0001 11 1383 0002 2a07")
	if status, _ := e.getsResponse(e.sends(end)); status != 0x58 {
		t.Errorf("0x%x, want 0x58", status)
	}
	e.told("end", end)
	saw(t, "end", menu, "Bye", true)
}

// TestArmWhatStrikesForAnother: a fault that makes the occasion of another one of
// the same handset leaves the list of both whole.
func TestArmWhatStrikesForAnother(t *testing.T) {
	sim, e, c := struck(t)
	h := sim.Handset(amina)
	if err := h.Arm(faults(t, "trailing-cr", "late-input")...); err != nil {
		t.Fatal(err)
	}
	_, end := c.dials(t, sim, e)
	e.told("end", short(submitSM, "USSD", toCode, me, 0, "Bye", "0501 0001 11 1383 0002 2a03"))
	e.takes("what is late", short(deliverSM, "USSD", me, toCode, 0, "1\r", "0501 0001 12 1383 0002 2a02"))
	saw(t, "end", end, "Bye", true)
	async(func() (smpptest.Screen, error) { return h.Dial(within(t), "*123#") })
	e.delivered()
	if got := sim.Struck(); got["trailing-cr"] != 1 || got["late-input"] != 1 {
		t.Errorf("struck %v, want each once", got)
	}
}
