package smpptest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// Message PDUs as they are seen, one of each shape.
var wire = map[string]string{
	"deliver_sm": "0000004700000005000000000000001155535344000101323334383033313233343536370000002a313233230000000000000000000005" +
		"2a313233230501000101138300022a00",
	"deliver_sm_resp": "0000001180000005000000000000001100",
	"submit_sm": "0000004d000000040000000000000001555353440000002a3132332300010132333438303331323334353637000000000000000000000b31" +
		"2042616c0a32204275790501000102138300022a02",
	"submit_sm_resp":                "000000158000000400000000000000013746334100",
	"error without body":            "0000001080000004000004c100000001",
	"error with TLVs only":          "0000001680000004000000450000000104240002 6869",
	"error with message_id and TLV": "00000019800000040000004500000001 413100 04240002 6869",
	"message_id without NUL":        "0000001280000004000000000000000141 31",
	"repeated and unknown TLV":      "0000002f 00000004 00000000 00000001 00 000000 000000 000000 0000 00000000 00 1400000101 1400000102 1401 0000",
	"truncated last TLV":            "0000002a 00000004 00000000 00000001 00 000000 000000 000000 0000 00000000 00 0501 0001 01 0501 00",
	"TLV longer than the PDU":       "0000002b 00000004 00000000 00000001 00 000000 000000 000000 0000 00000000 00 0501 0001 01 0501 0009",
	"sm_length past the end":        "00000021 00000004 00000000 00000001 00 000000 000000 000000 0000 00000000 05",
	"mandatory fields cut":          "00000014 00000004 00000000 00000001 00 000000",
	"data_sm": "0000004f0000010300000000000000095553534400000000010132333438303331323334353637000100000424000b312042616c0a322042757900" +
		"1e00074131423243330005010001020007000104",
	"short data_sm":         "0000001a 00000103 00000000 00000001 00 000000 000000 000000",
	"data_sm cut":           "00000018 00000103 00000000 00000001 00 000000 000000 00",
	"data_sm_resp":          "00000015 80000103 00000000 00000001 3746334100",
	"refusing data_sm_resp": "00000010 80000103 00000064 00000001",
}

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

func TestCodecsAgree(t *testing.T) {
	for name, text := range wire {
		frame := octets(t, text)
		var m smpp.Message
		err := smpp.Decode(frame, &m)
		for _, found := range compare(frame, &m, err) {
			t.Errorf("%s: %v", name, found)
		}
	}
}

// TestComparisonSees spoils one field after the other of what smpp has read:
// each must be found, and nothing else.
func TestComparisonSees(t *testing.T) {
	requests := map[string]func(m *smpp.Message){
		"command_length":          func(m *smpp.Message) { m.Length++ },
		"command_status":          func(m *smpp.Message) { m.Status++ },
		"sequence_number":         func(m *smpp.Message) { m.Sequence++ },
		"service_type":            func(m *smpp.Message) { m.ServiceType = nil },
		"source_addr_ton":         func(m *smpp.Message) { m.Source.TON++ },
		"source_addr_npi":         func(m *smpp.Message) { m.Source.NPI++ },
		"source_addr":             func(m *smpp.Message) { m.Source.Digits = m.Source.Digits[1:] },
		"dest_addr_ton":           func(m *smpp.Message) { m.Dest.TON++ },
		"dest_addr_npi":           func(m *smpp.Message) { m.Dest.NPI++ },
		"destination_addr":        func(m *smpp.Message) { m.Dest.Digits = nil },
		"esm_class":               func(m *smpp.Message) { m.ESMClass++ },
		"protocol_id":             func(m *smpp.Message) { m.ProtocolID++ },
		"priority_flag":           func(m *smpp.Message) { m.Priority++ },
		"schedule_delivery_time":  func(m *smpp.Message) { m.ScheduleTime = []byte("x") },
		"validity_period":         func(m *smpp.Message) { m.Validity = []byte("x") },
		"registered_delivery":     func(m *smpp.Message) { m.RegisteredDelivery++ },
		"replace_if_present_flag": func(m *smpp.Message) { m.ReplaceIfPresent++ },
		"data_coding":             func(m *smpp.Message) { m.DataCoding++ },
		"sm_default_msg_id":       func(m *smpp.Message) { m.DefaultMsgID++ },
		"short_message":           func(m *smpp.Message) { m.ShortMessage = []byte("1 Bal\n2 BuY") },
		"tlv 0x0501":              func(m *smpp.Message) { m.TLVs = m.TLVs[5:] },
		"tlv 0x1400":              func(m *smpp.Message) { m.TLVs = m.TLVs.Append(0x1400) },
		"tlv 0x1383":              func(m *smpp.Message) { m.TLVs = m.TLVs.Append(0x1383, 1, 2) },
	}
	spoiled := func(text, field string, spoil func(*smpp.Message)) {
		t.Helper()
		frame := octets(t, text)
		var m smpp.Message
		if err := smpp.Decode(frame, &m); err != nil {
			t.Fatal(err)
		}
		spoil(&m)
		found := compare(frame, &m, nil)
		if len(found) != 1 || found[0].Field != field || found[0].Ours == found[0].Theirs {
			t.Errorf("%s spoiled: %v", field, found)
		}
	}
	for field, spoil := range requests {
		spoiled(wire["submit_sm"], field, spoil)
	}
	spoiled(wire["data_sm"], "data_coding", func(m *smpp.Message) { m.DataCoding++ })
	spoiled(wire["data_sm"], "tlv 0x001e", func(m *smpp.Message) { m.TLVs = m.TLVs.Append(tagReceiptedMessageID) })
	spoiled(wire["data_sm_resp"], "message_id", func(m *smpp.Message) { m.MessageID = nil })
	spoiled(wire["submit_sm_resp"], "message_id", func(m *smpp.Message) { m.MessageID = nil })
	spoiled(wire["error with message_id and TLV"], "tlv 0x0424", func(m *smpp.Message) { m.TLVs = nil })

	whole, cut := octets(t, wire["submit_sm"]), octets(t, wire["mandatory fields cut"])
	header := smpp.Message{Header: smpp.ParseHeader(whole)}
	if found := compare(whole, &header, errors.New("unreadable")); len(found) != 1 || found[0].Field != "pdu" {
		t.Errorf("a whole PDU that smpp can't read: %v", found)
	}
	header = smpp.Message{Header: smpp.ParseHeader(cut)}
	if found := compare(cut, &header, nil); len(found) != 1 || found[0].Field != "pdu" {
		t.Errorf("a cut PDU that smpp reads: %v", found)
	}
}

func TestMismatchIsReported(t *testing.T) {
	sim, err := Start(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	frame := octets(t, wire["submit_sm_resp"])
	sim.mu.Lock()
	for range maxMismatches + 1 {
		sim.mismatched([]Mismatch{{PDU: frame, Field: "message_id", Ours: `"a"`, Theirs: `"b"`}})
	}
	sim.mu.Unlock()
	got := sim.Mismatches()
	const want = `submit_sm_resp 1: message_id: smpp reads "a", go-smpp reads "b": 000000158000000400000000000000013746334100`
	if len(got) != maxMismatches || got[0].String() != want {
		t.Errorf("%d mismatches, the first: %v", len(got), got[0])
	}
}

// FuzzCodecsAgree looks for a PDU of an ESME that smpp's codec and go-smpp read
// differently.
func FuzzCodecsAgree(f *testing.F) {
	for _, text := range wire {
		frame := octets(f, text)
		f.Add(uint32(smpp.ParseHeader(frame).ID), frame[8:])
	}
	f.Fuzz(func(t *testing.T, command uint32, rest []byte) {
		switch pdu.ID(command) {
		case pdu.SubmitSMID, pdu.SubmitSMRespID, pdu.DeliverSMRespID, pdu.DataSMID, pdu.DataSMRespID:
		default:
			t.Skip("not a message that an ESME sends")
		}
		if len(rest) < 8 {
			t.Skip("no header")
		}
		frame := binary.BigEndian.AppendUint32(nil, uint32(8+len(rest)))
		frame = binary.BigEndian.AppendUint32(frame, command)
		frame = append(frame, rest...)
		var m smpp.Message
		err := smpp.Decode(frame, &m)
		for _, found := range compare(frame, &m, err) {
			t.Error(found)
		}
	})
}
