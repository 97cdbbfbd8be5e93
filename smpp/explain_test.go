package smpp_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name    string
		preset  string
		frame   []byte
		want    []string // lines, without the padding between name and value
		without string
	}{
		{name: "ussd_service_op in both notations", frame: golden(t, "standard-end"), want: []string{
			"submit_sm, 75 octets", "tlv 0x0501 ussd_service_op: 0x11 (17), PSSR response",
			"tlv 0x1383 its_session_info: 2a05: dialogue 2a00, sequence 2, end 1",
			`profile standard: shows "Bal 20.00" and ends the dialogue`,
		}},
		{name: "session bits by profile", preset: "sixdee", frame: golden(t, "sixdee-end"), want: []string{
			"tlv 0x1383 its_session_info: 162f: dialogue 162e, end 1",
		}},
		{name: "its_session_info that the profile does not use", preset: "mica", frame: golden(t, "standard-end"), want: []string{
			"tlv 0x1383 its_session_info: 2a05: session 42, sequence 2, end 1",
		}},
		{name: "vendor's tag", frame: golden(t, "vendor-tlv-begin"), want: []string{"tlv 0x1400 the vendor's own: 01020304"}},
		{name: "letters", preset: "service-type", frame: golden(t, "service-type-abort"), want: []string{
			`service_type "AF"`, "data_coding 0x04 (4) 8-bit; read as latin1", "profile service-type: release of a dialogue of 2348031234567",
		}},
		{name: "status", frame: frame(pdu.SubmitSMRespID, 0x58, 7, ""), want: []string{
			"command_status 0x00000058 (88) throttling error", "profile standard: the reply is refused: temporary",
		}},
		{name: "vendor's status", frame: frame(pdu.SubmitSMRespID, 0x4C1, 7, ""), want: []string{
			"command_status 0x000004c1 (1217) the vendor's own", "profile standard: the reply is refused: dead",
		}},
		{name: "refusal with TLVs", frame: frame(pdu.DeliverSMRespID, 0x45, 7, "\x00"+string(tlvs(0x001D, "no credit", 0x0428, "\x05"))), want: []string{
			`message_id ""`, `tlv 0x001d additional_status_info_text: 6e6f20637265646974 "no credit"`, "tlv 0x0428 congestion_state: 05",
		}},
		{name: "receipt", frame: receipt(t), want: []string{
			"esm_class 0x04 (4) default mode, delivery receipt", "profile standard: a receipt or an acknowledgement that says nothing of a short message: ignored",
		}},
		{name: "bind", frame: golden(t, "bind"), want: []string{`system_id "esme1"`, `password "***"`, "interface_version 0x34 SMPP 3.4"}, without: testPassword},
		{name: "bind_resp", frame: golden(t, "bind-resp"), want: []string{`system_id "USSDGW"`, "tlv 0x0210 sc_interface_version: 0x34 SMPP 3.4"}},
		{name: "bind without an end of its system_id", frame: frame(pdu.BindTransceiverID, 0, 1, "esme1"+testPassword), want: []string{"system_id is cut off"},
			without: hex.EncodeToString([]byte(testPassword))},
		{name: "truncated TLV", frame: frame(pdu.DeliverSMRespID, 0, 7, "\x00\x05\x01\x00\x01"), want: []string{"tlv is cut off", "left over 4 octets: 05010001"}},
		{name: "sm_length past the end", frame: past(t), want: []string{"sm_length 200", "short_message is cut off", "profile standard: cannot be read: deliver_sm: sm_length reaches past the end of the PDU"}},
		{name: "no body", frame: frame(pdu.DeliverSMID, 0, 7, ""), want: []string{"service_type is cut off", "profile standard: cannot be read: deliver_sm: mandatory fields are cut off"}},
		{name: "length", frame: append(golden(t, "generic-nack"), 1, 2), want: []string{"command_length 16: 2 octets are too many", "left over 2 octets: 0102"}},
		{name: "unknown command", frame: frame(0x55, 0, 7, "abc"), want: []string{"0x00000055, 19 octets", "left over 3 octets: 616263"}},
		{name: "not even a header", frame: []byte{1, 2}, want: []string{"2 octets: a PDU has at least 16", "left over 2 octets: 0102"}},
		{name: "operation of another profile", frame: golden(t, "tata-end"), want: []string{`profile standard: shows "Bal 20.00"; the end bit is set, but the operation does not end the dialogue`}},
		{name: "end without its bit", frame: golden(t, "mica-end"), preset: "sixdee", want: []string{`profile sixdee: shows "Done" and ends the dialogue`}},
		{name: "unusable", preset: "data-sm", frame: func() []byte {
			m := begin()
			m.TLVs = tlvs(0x0501, "\x01\x02")
			return encode(t, &m)
		}(), want: []string{"profile data-sm: refused: deliver_sm: operation TLV has the wrong length"}},
	} {
		if c.preset == "" {
			c.preset = "standard"
		}
		p := profile(t, c.preset)
		got := smpp.Explain(c.frame, p)
		lines := make(map[string]bool)
		for line := range strings.Lines(got) {
			lines[strings.Join(strings.Fields(line), " ")] = true
		}
		for _, want := range c.want {
			if !lines[want] {
				t.Errorf("%s: no line %q in\n%s", c.name, want, got)
			}
		}
		if c.without != "" && strings.Contains(got, c.without) {
			t.Errorf("%s: %q is in\n%s", c.name, c.without, got)
		}
		if brief := smpp.Brief(c.frame, p); brief == "" || strings.Contains(brief, "\n") {
			t.Errorf("%s: in brief %q", c.name, brief)
		}
	}
}

func receipt(t *testing.T) []byte {
	m := begin()
	m.ESMClass = 0x04
	return encode(t, &m)
}

// past is a deliver_sm whose sm_length reaches past its end.
func past(t *testing.T) []byte {
	b := golden(t, "standard-begin")
	b[strings.Index(string(b), "\x05*123#")] = 200
	return b
}

func TestDialogueOf(t *testing.T) {
	for _, c := range []struct{ preset, file, msisdn, id string }{
		{"standard", "standard-begin", testMSISDN, "2a00"},
		{"standard", "standard-menu", testMSISDN, "2a00"},
		{"vendor-tlv", "vendor-tlv-input", "", "01020304"},
		{"vendor-tlv", "vendor-tlv-end", "", "01020304"},
		{"data-sm", "data-sm-menu", testMSISDN, "A1B2C3"},
		{"data-sm", "data-sm-input", testMSISDN, "A1B2C3"},
		{"msisdn", "standard-begin", testMSISDN, ""},
		{"standard", "standard-menu-resp", "", ""},
		{"standard", "bind", "", ""},
	} {
		got := smpp.DialogueOf(golden(t, c.file), profile(t, c.preset))
		if got != (smpp.Dialogue{MSISDN: c.msisdn, ID: c.id}) {
			t.Errorf("%s under %s belongs to %+v", c.file, c.preset, got)
		}
	}
	if got := smpp.DialogueOf(past(t), profile(t, "standard")); got.MSISDN != testMSISDN {
		t.Errorf("a message that is not whole belongs to %+v", got)
	}
	if got := smpp.DialogueOf(nil, profile(t, "standard")); got != (smpp.Dialogue{}) {
		t.Errorf("nothing belongs to %+v", got)
	}
}
