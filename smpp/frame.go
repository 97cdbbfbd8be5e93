package smpp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrFraming matches (with errors.Is) the *FramingError that ends a stream whose
// PDU boundaries are lost.
var ErrFraming = errors.New("smpp: framing lost")

// FramingError says that a command_length cannot be true: it is shorter than a
// header or longer than MaxFrame. Nothing after it can be read; a generic_nack
// with status 0x02 is due, and the connection must be closed.
type FramingError struct {
	Length uint32 // the command_length as received
}

// Error implements error.
func (e *FramingError) Error() string {
	return fmt.Sprintf("command_length %d is outside %d to %d", e.Length, HeaderLen, MaxFrame)
}

// Is makes errors.Is(err, ErrFraming) true.
func (e *FramingError) Is(target error) bool { return target == ErrFraming }

// frameBuffer is the first size of a FrameReader's buffer. It holds some two
// hundred deliver_sm, so that one read system call brings many PDUs.
const frameBuffer = 16 << 10

// FrameReader cuts a byte stream into PDUs. Its buffer never grows beyond
// MaxFrame, whatever command_length the peer claims. It is not safe for
// concurrent use.
type FrameReader struct {
	r          io.Reader
	buf        []byte
	start, end int // unread octets are buf[start:end]
	reads      int // consecutive reads that brought nothing
}

// NewFrameReader returns a FrameReader on r.
func NewFrameReader(r io.Reader) *FrameReader {
	return &FrameReader{r: r, buf: make([]byte, frameBuffer)}
}

// ReadFrame returns the next whole PDU, header included. The slice is valid
// until the next call.
//
// An error of the underlying reader is returned as it is, and what has arrived
// stays buffered: after a time-out the next call goes on where this one
// stopped. The end of the stream is io.EOF between two PDUs and
// io.ErrUnexpectedEOF inside one. A *FramingError is returned again by every
// further call.
func (f *FrameReader) ReadFrame() ([]byte, error) {
	for {
		n, err := f.frameLen()
		if err != nil {
			return nil, err
		}
		if n > 0 && f.end-f.start >= n {
			frame := f.buf[f.start : f.start+n : f.start+n]
			f.start += n
			return frame, nil
		}
		if err := f.fill(n); err != nil {
			return nil, err
		}
	}
}

// Ready reports whether ReadFrame would return without reading: a whole PDU, or
// the proof that framing is lost, is buffered already.
func (f *FrameReader) Ready() bool {
	n, err := f.frameLen()
	return err != nil || n > 0 && f.end-f.start >= n
}

// Partial reports whether the stream's last octets so far are the beginning of
// a PDU that has not arrived completely.
func (f *FrameReader) Partial() bool { return f.end > f.start && !f.Ready() }

// frameLen returns the length of the PDU at the head of the buffer, zero if it
// is not known yet.
func (f *FrameReader) frameLen() (int, error) {
	if f.end-f.start < 4 {
		return 0, nil
	}
	n := binary.BigEndian.Uint32(f.buf[f.start:])
	if n < HeaderLen || n > MaxFrame {
		return 0, &FramingError{Length: n}
	}
	return int(n), nil
}

// fill makes room for a PDU of need octets and reads once.
func (f *FrameReader) fill(need int) error {
	if f.start == f.end {
		f.start, f.end = 0, 0
	} else if f.start > 0 && (f.start+need > len(f.buf) || f.end == len(f.buf)) {
		f.end = copy(f.buf, f.buf[f.start:f.end])
		f.start = 0
	}
	if need > len(f.buf) {
		grown := make([]byte, MaxFrame)
		f.end = copy(grown, f.buf[f.start:f.end])
		f.start, f.buf = 0, grown
	}
	n, err := f.r.Read(f.buf[f.end:])
	f.end += n
	if n > 0 {
		f.reads = 0
		return nil
	}
	if err == nil {
		if f.reads++; f.reads >= 100 {
			return io.ErrNoProgress
		}
		return nil
	}
	if err == io.EOF && f.end > f.start {
		return io.ErrUnexpectedEOF
	}
	return err
}
