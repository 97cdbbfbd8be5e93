package smpp_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp"
)

// readAll reads frames until an error.
func readAll(r io.Reader) (frames [][]byte, err error) {
	f := smpp.NewFrameReader(r)
	for {
		b, err := f.ReadFrame()
		if err != nil {
			return frames, err
		}
		frames = append(frames, bytes.Clone(b))
	}
}

func TestReadFrame(t *testing.T) {
	enquire := frame(pdu.EnquireLinkID, 0, 7, "")
	big := frame(pdu.DataSMID, 0, 8, string(make([]byte, smpp.MaxFrame-smpp.HeaderLen)))
	var want [][]byte
	for _, name := range goldenNames(t) {
		want = append(want, golden(t, name))
	}
	for range 400 { // more than one buffer full
		want = append(want, golden(t, "standard-begin"))
	}
	want = append(want, enquire, big, enquire, big)
	stream := slices.Concat(want...)
	for name, r := range map[string]io.Reader{
		"at once":              bytes.NewReader(stream),
		"octet by octet":       iotest.OneByteReader(bytes.NewReader(stream)),
		"in halves":            iotest.HalfReader(bytes.NewReader(stream)),
		"last data with error": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(r)
			if err != io.EOF || !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("read %d frames and %v, want %d and EOF", len(got), err, len(want))
			}
		})
	}
}

func TestReadFrameLosesFraming(t *testing.T) {
	enquire := frame(pdu.EnquireLinkID, 0, 7, "")
	for name, c := range map[string]struct {
		head   string
		length uint32
	}{
		"zero":           {"\x00\x00\x00\x00", 0},
		"below a header": {"\x00\x00\x00\x0f", 15},
		"one too long":   {"\x00\x01\x00\x01", 0x10001},
		"64 MiB":         {"\x04\x00\x00\x00", 64 << 20},
		"2^31":           {"\x80\x00\x00\x00", 1 << 31},
		"HTTP":           {"HTTP/1.1 400 Bad Request", 0x48545450},
	} {
		t.Run(name, func(t *testing.T) {
			f := smpp.NewFrameReader(bytes.NewReader(append(slices.Clone(enquire), c.head...)))
			if got, err := f.ReadFrame(); err != nil || !bytes.Equal(got, enquire) {
				t.Fatalf("the frame before: %x, %v", got, err)
			}
			if !f.Ready() || f.Partial() {
				t.Errorf("ready %v, partial %v: the reader should know without reading", f.Ready(), f.Partial())
			}
			for range 2 {
				_, err := f.ReadFrame()
				var framing *smpp.FramingError
				if !errors.Is(err, smpp.ErrFraming) || !errors.As(err, &framing) || framing.Length != c.length {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func TestReadFrameEnds(t *testing.T) {
	begin := golden(t, "standard-begin")
	for n := 1; n < len(begin); n++ {
		if _, err := readAll(bytes.NewReader(begin[:n])); err != io.ErrUnexpectedEOF {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	if _, err := readAll(stuck{}); err != io.ErrNoProgress {
		t.Errorf("a reader that brings nothing: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// pieces brings one piece at each read, and a time-out between two.
type pieces struct {
	rest [][]byte
	late bool
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.late = !p.late; !p.late {
		return 0, os.ErrDeadlineExceeded
	}
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[0])
	p.rest = p.rest[1:]
	return n, nil
}

func TestReadFrameGoesOnAfterTimeout(t *testing.T) {
	begin := golden(t, "standard-begin")
	f := smpp.NewFrameReader(&pieces{rest: [][]byte{begin[:3], begin[3:20], begin[20:]}})
	for i, partial := range []bool{true, true} {
		if _, err := f.ReadFrame(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("time-out %d: %v", i, err)
		}
		if f.Partial() != partial || f.Ready() {
			t.Errorf("time-out %d: partial %v, ready %v", i, f.Partial(), f.Ready())
		}
	}
	if got, err := f.ReadFrame(); err != nil || !bytes.Equal(got, begin) {
		t.Errorf("got %x, %v", got, err)
	}
	if f.Partial() || f.Ready() {
		t.Error("nothing should be left")
	}
}

func TestReadFrameAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own allocations are counted too")
	}
	begin := golden(t, "standard-begin")
	stream := bytes.NewReader(bytes.Repeat(begin, 1000))
	f := smpp.NewFrameReader(stream)
	if n := testing.AllocsPerRun(900, func() {
		if _, err := f.ReadFrame(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(slices.Concat(golden(f, "standard-begin"), golden(f, "generic-nack")), byte(3))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), byte(1))
	f.Add([]byte("\x00\x00\xff\xff"), byte(9))
	f.Fuzz(func(t *testing.T, stream []byte, size byte) {
		whole, wholeErr := readAll(bytes.NewReader(stream))
		inPieces := &pieces{late: false}
		for chunk := range slices.Chunk(stream, 1+int(size)) {
			inPieces.rest = append(inPieces.rest, chunk)
		}
		r := smpp.NewFrameReader(inPieces)
		var parts [][]byte
		var err error
		for {
			var b []byte
			if b, err = r.ReadFrame(); err == nil {
				parts = append(parts, bytes.Clone(b))
			} else if !errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
		}
		if !slices.EqualFunc(whole, parts, bytes.Equal) || wholeErr.Error() != err.Error() {
			t.Fatalf("at once %d frames and %v, in pieces %d and %v", len(whole), wholeErr, len(parts), err)
		}
		if joined := slices.Concat(whole...); !bytes.HasPrefix(stream, joined) {
			t.Fatalf("frames %x are not the head of the stream", joined)
		}
	})
}
