package smpptest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
	"go.uber.org/goleak"

	"ussdd/smpp/smpptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must come.
const patience = time.Minute

const (
	amina  = "2348031234567"
	bello  = "2348021234567"
	opMenu = 0x02
	opEnd  = 0x11
)

// newSim starts an SMSC that is closed, and found to have no codec mismatch and
// nothing to complain of, when the test ends.
func newSim(t *testing.T, cfg smpptest.Config) *smpptest.Sim {
	t.Helper()
	sim := newLenientSim(t, cfg)
	t.Cleanup(func() {
		for _, c := range sim.Complaints() {
			t.Errorf("complaint: %v", c)
		}
	})
	return sim
}

// newLenientSim is newSim for tests of ESMEs that do something wrong.
func newLenientSim(t *testing.T, cfg smpptest.Config) *smpptest.Sim {
	t.Helper()
	sim, err := smpptest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sim.Close()
		for _, m := range sim.Mismatches() {
			t.Errorf("codec mismatch: %v", m)
		}
	})
	return sim
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// esme is an ESME that shares nothing with what is tested: go-smpp's PDUs on a
// plain socket.
type esme struct {
	t        *testing.T
	nc       net.Conn
	sequence uint32
	tolerant bool // of refused replies, when it serves
}

func connect(t *testing.T, sim *smpptest.Sim) *esme {
	t.Helper()
	nc, err := net.Dial("tcp", sim.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &esme{t: t, nc: nc}
}

// bound connects and binds as a transceiver.
func bound(t *testing.T, sim *smpptest.Sim) *esme {
	t.Helper()
	e := connect(t, sim)
	if status := e.bind(pdu.NewBindTransceiver(), "esme", "secret"); status != 0 {
		t.Fatalf("bind: %v", status)
	}
	return e
}

func (e *esme) bind(body pdu.Body, systemID, password string) pdu.Status {
	e.t.Helper()
	fields := body.Fields()
	for name, value := range map[pdufield.Name]any{
		pdufield.SystemID: systemID, pdufield.Password: password, pdufield.InterfaceVersion: 0x34,
	} {
		if err := fields.Set(name, value); err != nil {
			e.t.Fatal(err)
		}
	}
	e.request(body)
	return e.read().Header().Status
}

// request sends a PDU with the next sequence number, which it returns.
func (e *esme) request(body pdu.Body) uint32 {
	e.t.Helper()
	e.sequence++
	body.Header().Seq = e.sequence
	e.write(body)
	return e.sequence
}

func (e *esme) write(body pdu.Body) {
	e.t.Helper()
	var b bytes.Buffer
	if err := body.SerializeTo(&b); err != nil {
		e.t.Fatal(err)
	}
	e.writeOctets(b.Bytes())
}

func (e *esme) writeOctets(b []byte) {
	e.t.Helper()
	if _, err := e.nc.Write(b); err != nil {
		e.t.Fatal(err)
	}
}

func (e *esme) read() pdu.Body {
	e.t.Helper()
	if err := e.nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
		e.t.Fatal(err)
	}
	body, err := pdu.Decode(e.nc)
	if err != nil {
		e.t.Fatalf("read: %v", err)
	}
	return body
}

func (e *esme) expect(id pdu.ID) pdu.Body {
	e.t.Helper()
	body := e.read()
	if body.Header().ID != id {
		e.t.Fatalf("got %v, want %v", body.Header().ID, id)
	}
	return body
}

// expectEnd checks that the SMSC closes the connection.
func (e *esme) expectEnd() {
	e.t.Helper()
	if err := e.nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
		e.t.Fatal(err)
	}
	if n, err := e.nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		e.t.Fatalf("read %d octets, %v; want the end", n, err)
	}
}

// input is a deliver_sm as the ESME reads it.
type input struct {
	sequence                              uint32
	serviceType, msisdn, service, text    string
	ton, npi                              byte
	op                                    []byte
	session                               []byte
	coding, esmClass, serviceTON, protoID byte
}

func (e *esme) delivered() input {
	e.t.Helper()
	return inputOf(e.expect(pdu.DeliverSMID))
}

func inputOf(body pdu.Body) input {
	f := body.Fields()
	octet := func(name pdufield.Name) byte { return f[name].Bytes()[0] }
	in := input{
		sequence:    body.Header().Seq,
		serviceType: f[pdufield.ServiceType].String(),
		msisdn:      f[pdufield.SourceAddr].String(),
		service:     f[pdufield.DestinationAddr].String(),
		text:        string(pdutext.GSM7(f[pdufield.ShortMessage].Bytes()).Decode()),
		ton:         octet(pdufield.SourceAddrTON),
		npi:         octet(pdufield.SourceAddrNPI),
		serviceTON:  octet(pdufield.DestAddrTON),
		coding:      octet(pdufield.DataCoding),
		esmClass:    octet(pdufield.ESMClass),
		protoID:     octet(pdufield.ProtocolID),
	}
	if tlv := body.TLVFields()[pdutlv.TagUssdServiceOp]; tlv != nil {
		in.op = tlv.Bytes()
	}
	if tlv := body.TLVFields()[pdutlv.TagItsSessionInfo]; tlv != nil {
		in.session = tlv.Bytes()
	}
	return in
}

func (e *esme) ack(in input, status pdu.Status) {
	e.t.Helper()
	body := pdu.NewDeliverSMRespSeq(in.sequence)
	body.Header().Status = status
	e.write(body)
}

// answer is the submit_sm that replies to in; its fields can be changed before
// it is sent.
func answer(in input, text string, end bool) pdu.Body {
	op, word := byte(opMenu), in.session[1]+2
	if end {
		op, word = opEnd, word|1
	}
	body := pdu.NewSubmitSM(pdutlv.Fields{
		pdutlv.TagUssdServiceOp:  op,
		pdutlv.TagItsSessionInfo: []byte{in.session[0], word},
	})
	set(body, map[pdufield.Name]any{
		pdufield.ServiceType:     "USSD",
		pdufield.SourceAddr:      in.service,
		pdufield.DestAddrTON:     1,
		pdufield.DestAddrNPI:     1,
		pdufield.DestinationAddr: in.msisdn,
		pdufield.ShortMessage:    pdutext.GSM7(text),
	})
	return body
}

// counted is in as if its session had counted the reply that it has had.
func counted(in input) input {
	in.session = []byte{in.session[0], in.session[1] + 2}
	return in
}

func set(body pdu.Body, values map[pdufield.Name]any) {
	for name, value := range values {
		if err := body.Fields().Set(name, value); err != nil {
			panic(err)
		}
	}
}

// submit sends a submit_sm and returns the status that answers it.
func (e *esme) submit(body pdu.Body) pdu.Status {
	e.t.Helper()
	sequence := e.request(body)
	resp := e.expect(pdu.SubmitSMRespID)
	if resp.Header().Seq != sequence {
		e.t.Fatalf("submit_sm_resp has sequence %d, want %d", resp.Header().Seq, sequence)
	}
	return resp.Header().Status
}

// application is what an ESME does with a subscriber's input. No text: no
// answer.
type application func(in input) (text string, end bool)

// serve lets the application answer everything, until the connection ends.
func (e *esme) serve(app application) {
	done := make(chan struct{})
	e.t.Cleanup(func() {
		e.nc.Close()
		<-done
	})
	if err := e.nc.SetReadDeadline(time.Time{}); err != nil {
		e.t.Fatal(err)
	}
	go func() {
		defer close(done)
		for {
			body, err := pdu.Decode(e.nc)
			if err != nil {
				return
			}
			switch h := body.Header(); h.ID {
			case pdu.DeliverSMID:
				in := inputOf(body)
				out := []pdu.Body{pdu.NewDeliverSMRespSeq(h.Seq)}
				if text, end := app(in); text != "" {
					e.sequence++
					submit := answer(in, text, end)
					submit.Header().Seq = e.sequence
					out = append(out, submit)
				}
				if !e.put(out...) {
					return
				}
			case pdu.EnquireLinkID:
				if !e.put(pdu.NewEnquireLinkRespSeq(h.Seq)) {
					return
				}
			case pdu.SubmitSMRespID:
				if h.Status != 0 && !e.tolerant {
					e.t.Errorf("submit_sm %d: %v", h.Seq, h.Status)
				}
			case pdu.UnbindID:
				resp := pdu.NewUnbindResp()
				resp.Header().Seq = h.Seq
				e.put(resp)
				e.nc.Close()
				return
			}
		}
	}()
}

func (e *esme) put(bodies ...pdu.Body) bool {
	var b bytes.Buffer
	for _, body := range bodies {
		if err := body.SerializeTo(&b); err != nil {
			e.t.Error(err)
			return false
		}
	}
	_, err := e.nc.Write(b.Bytes())
	return err == nil
}

// shop is a small application: a menu, a purchase, a question whose answer is
// pending for a while, and *999*0#, which it never answers.
func shop() application {
	checks := 0
	return func(in input) (string, bool) {
		switch {
		case in.op[0] == 0x81, in.text == "*999*0#":
			return "", false
		case in.op[0] == 0x01:
			return "Welcome to Airtime Purchase\n\n1. Buy Airtime\n2. Check status\n0. Exit", false
		case in.text == "1":
			return "Airtime Purchase Successful!\nPhone: " + in.msisdn, true
		case in.text == "2":
			if checks++; checks < 3 {
				return "Processing your request...\n\n2. Check status", false
			}
			return "Delivered", true
		}
		return "Goodbye.", true
	}
}

// shown is what a call of a Handset came to.
type shown struct {
	screen smpptest.Screen
	err    error
}

// async runs a call of a Handset while the test plays the ESME.
func async(f func() (smpptest.Screen, error)) <-chan shown {
	c := make(chan shown, 1)
	go func() {
		screen, err := f()
		c <- shown{screen, err}
	}()
	return c
}
