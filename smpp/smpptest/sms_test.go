package smpptest_test

import (
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp/smpptest"
)

// text is a short message as an ESME sends it; its fields can be changed before
// that.
func text(to, content string) pdu.Body {
	body := pdu.NewSubmitSM(pdutlv.Fields{pdutlv.TagUserMessageReference: []byte{0x12, 0x34}})
	set(body, map[pdufield.Name]any{
		pdufield.SourceAddr: "999", pdufield.DestAddrTON: 1, pdufield.DestAddrNPI: 1, pdufield.DestinationAddr: to,
		pdufield.RegisteredDelivery: 1, pdufield.ShortMessage: pdutext.GSM7(content),
	})
	return body
}

// texts sends a short message and returns what the SMSC calls it.
func (e *esme) texts(body pdu.Body) (id string) {
	e.t.Helper()
	e.request(body)
	resp := e.expect(pdu.SubmitSMRespID)
	if status := resp.Header().Status; status != 0 {
		e.t.Fatalf("short message: %v", status)
	}
	return resp.Fields()[pdufield.MessageID].String()
}

// receipt reads a receipt, acknowledges it with a status, and returns its text
// and parameters.
func (e *esme) receipt(status pdu.Status) (text string, tlvs pdutlv.Map) {
	e.t.Helper()
	body := e.expect(pdu.DeliverSMID)
	in := inputOf(body)
	if in.esmClass != 0x04 || in.msisdn != amina || in.service != "999" {
		e.t.Fatalf("got %+v, want a receipt", in)
	}
	e.ack(in, status)
	return in.text, body.TLVFields()
}

func TestSMS(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	id := e.texts(text(amina, "Hi Amina"))
	head, tlvs := e.receipt(0)
	if !strings.HasPrefix(head, "id:"+id+" sub:001 dlvrd:001 ") || !strings.HasSuffix(head, " stat:DELIVRD err:000 text:Hi Amina") {
		t.Errorf("receipt %q", head)
	}
	if got := string(tlvs[0x001E].Bytes()); got != id+"\x00" || tlvs[0x0427].Bytes()[0] != 2 || string(tlvs[0x0204].Bytes()) != "\x12\x34" {
		t.Errorf("parameters %v", tlvs)
	}
	e.hears("an acknowledged receipt")
	h := sim.Handset(amina) // it need not be there before
	first, err := h.NextSMS(within(t))
	if err != nil {
		t.Fatal(err)
	}
	want := smpptest.SMS{ID: id, From: "999", To: amina, Text: "Hi Amina", Reference: 0x1234, Receipt: "DELIVRD", Reported: true}
	if first != want {
		t.Errorf("got %+v, want %+v", first, want)
	}
	quiet := text(bello, "no receipt")
	set(quiet, map[pdufield.Name]any{pdufield.RegisteredDelivery: 2}) // of failures only
	e.texts(quiet)
	e.hears("no receipt is due")
	if all := sim.SMS(""); len(all) != 2 || len(sim.SMS(bello)) != 1 || sim.SMS(bello)[0].Receipt != "" {
		t.Errorf("kept %+v", all)
	}
}

// A receipt comes until the ESME has acknowledged it.
func TestReceiptComesAgain(t *testing.T) {
	sim := newSim(t, smpptest.Config{})
	e := bound(t, sim)
	e.texts(text(amina, "Hi"))
	e.receipt(0x64)
	e.expect(pdu.DeliverSMID) // again, and the connection ends
	e.nc.Close()
	e = bound(t, sim)
	e.receipt(0)
	e.hears("an acknowledged receipt")
	e.texts(text(amina, "Bye"))
	e.nc.Close()
	if err := sim.WaitUnbound(within(t), ""); err != nil {
		t.Fatal(err)
	}
	e = bound(t, sim)
	e.receipt(0)
}

func TestSMSRefused(t *testing.T) {
	for name, c := range map[string]struct {
		fields map[pdufield.Name]any
		status pdu.Status
	}{
		"no sender":         {map[pdufield.Name]any{pdufield.SourceAddr: ""}, 0x0A},
		"name of no type":   {map[pdufield.Name]any{pdufield.SourceAddr: "AIRTIME"}, 0x0A},
		"no subscriber":     {map[pdufield.Name]any{pdufield.DestinationAddr: "999"}, 0x0B},
		"local number":      {map[pdufield.Name]any{pdufield.DestAddrTON: 2}, 0x0B},
		"esm_class":         {map[pdufield.Name]any{pdufield.ESMClass: 3}, 0x43},
		"data_coding":       {map[pdufield.Name]any{pdufield.DataCoding: 0xF6}, 0x45},
		"empty":             {map[pdufield.Name]any{pdufield.ShortMessage: pdutext.GSM7("")}, 0x45},
		"too long":          {map[pdufield.Name]any{pdufield.ShortMessage: pdutext.GSM7(strings.Repeat("x", 161))}, 0x45},
		"beyond the letter": {map[pdufield.Name]any{pdufield.ShortMessage: pdutext.Raw("\x80")}, 0x45},
	} {
		t.Run(name, func(t *testing.T) {
			sim := newLenientSim(t, smpptest.Config{})
			e := bound(t, sim)
			body := text(amina, "Hi")
			set(body, c.fields)
			if status := e.submit(body); status != c.status {
				t.Errorf("got %v, want %#x", status, uint32(c.status))
			}
			if len(sim.SMS("")) != 0 || len(sim.Complaints()) != 1 {
				t.Errorf("kept %v, complained of %v", sim.SMS(""), sim.Complaints())
			}
		})
	}
}

// A short message needs no dialect, and is no reply in any.
func TestSMSInDialects(t *testing.T) {
	for _, dialect := range smpptest.Dialects() {
		t.Run(dialect, func(t *testing.T) {
			sim := newSim(t, smpptest.Config{Dialect: dialect})
			e := bound(t, sim)
			e.texts(text(amina, "Hi"))
			if _, tlvs := e.receipt(0); tlvs[0x0427] == nil {
				t.Errorf("parameters %v", tlvs)
			}
		})
	}
}

// A thousand messages of a number are kept, and none is returned twice.
func TestSMSAreBounded(t *testing.T) {
	sim := newSim(t, smpptest.Config{Faults: faults(t, "sms-no-receipt")})
	e, h := bound(t, sim), sim.Handset(amina)
	for n := range 1001 {
		e.texts(text(amina, strings.Repeat("x", 1+n%100)))
		if n == 1 {
			for range 2 {
				if _, err := h.NextSMS(within(t)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	all := sim.SMS(amina)
	third, err := h.NextSMS(within(t))
	if err != nil || len(all) != 1000 || third != all[1] {
		t.Errorf("kept %d, then came %+v, %v", len(all), third, err)
	}
}

func TestPlaySMS(t *testing.T) {
	sim := newSim(t, smpptest.Config{Faults: faults(t, "sms-no-receipt")})
	e := bound(t, sim)
	e.texts(text(amina, "N50 MTN airtime for 08031234567 was delivered."))
	e.texts(text(amina, "Another"))
	script, err := smpptest.ParseScript("sms.yaml", []byte(`
handsets:
  - name: Amina
    msisdn: "`+amina+`"
    steps:
      - sms: {contains: was delivered}
      - sms: Nothing like it
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	player := smpptest.Player{Sim: sim, Out: &out, Timeout: patience}
	result, err := player.Play(within(t), script)
	if err != nil || result.Failed != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	for _, want := range []string{"  SMS from 999\n    ▌ N50 MTN airtime for 08031234567\n    ▌ was delivered.\n", "sms.yaml:7: not as expected: the text differs"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestPhoneShowsSMS(t *testing.T) {
	sim := newSim(t, smpptest.Config{Faults: faults(t, "sms-no-receipt")})
	e := bound(t, sim)
	e.texts(text(amina, "Early"))
	u := newUser(t, t.Context(), sim, patience)
	u.sees("dial> ", "  SMS from 999\n    ▌ Early\n")
	e.texts(text(amina, "Late"))
	u.sees("dial> ", "    ▌ Late\n")
	u.types(":quit")
	u.leaves()
}
