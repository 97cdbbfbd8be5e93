package smpp_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
	"go.uber.org/goleak"

	"ussdd/smpp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// golden reads testdata/name.hex: lines of hexadecimal, `#` begins a comment.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.TrimSpace(line))
	}
	return unhex(t, digits.String())
}

func goldenNames(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden PDUs: %v", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".hex")
	}
	return files
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t testing.TB, frame []byte) smpp.Message {
	t.Helper()
	var m smpp.Message
	if err := smpp.Decode(frame, &m); err != nil {
		t.Fatalf("decode %x: %v", frame, err)
	}
	return m
}

func encode(t testing.TB, m *smpp.Message) []byte {
	t.Helper()
	frame, err := smpp.Append(nil, m)
	if err != nil {
		t.Fatalf("encode %+v: %v", m, err)
	}
	return frame
}

// frame makes a PDU of its parts, with the right command_length.
func frame(id pdu.ID, status pdu.Status, sequence uint32, body string) []byte {
	b := make([]byte, 0, smpp.HeaderLen+len(body))
	for _, v := range []uint32{uint32(smpp.HeaderLen + len(body)), uint32(id), uint32(status), sequence} {
		b = append(b, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return append(b, body...)
}

// tlvs makes a list of TLVs of a tag and a value, a tag and a value …
func tlvs(pairs ...any) smpp.TLVs {
	var t smpp.TLVs
	for i := 0; i < len(pairs); i += 2 {
		t = t.Append(pdutlv.Tag(pairs[i].(int)), []byte(pairs[i+1].(string))...)
	}
	return t
}

// sameMessage compares what is on the wire, that is, all but the length of the
// frame it was decoded from and the difference of nil and empty.
func sameMessage(a, b smpp.Message) bool {
	return a.ID == b.ID && a.Status == b.Status && a.Sequence == b.Sequence &&
		bytes.Equal(a.ServiceType, b.ServiceType) && sameAddress(a.Source, b.Source) && sameAddress(a.Dest, b.Dest) &&
		a.ESMClass == b.ESMClass && a.ProtocolID == b.ProtocolID && a.Priority == b.Priority &&
		bytes.Equal(a.ScheduleTime, b.ScheduleTime) && bytes.Equal(a.Validity, b.Validity) &&
		a.RegisteredDelivery == b.RegisteredDelivery && a.ReplaceIfPresent == b.ReplaceIfPresent &&
		a.DataCoding == b.DataCoding && a.DefaultMsgID == b.DefaultMsgID &&
		bytes.Equal(a.ShortMessage, b.ShortMessage) && bytes.Equal(a.MessageID, b.MessageID) && bytes.Equal(a.TLVs, b.TLVs)
}

func sameAddress(a, b smpp.Address) bool {
	return a.TON == b.TON && a.NPI == b.NPI && bytes.Equal(a.Digits, b.Digits)
}

func writeFile(t testing.TB, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
