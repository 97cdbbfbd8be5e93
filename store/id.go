package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
)

// An id counts milliseconds since idEpoch in its upper 41 bits, which last
// until 2089, and has 22 random bits below them.
const (
	idEpoch      = 1577836800000 // 2020-01-01T00:00:00Z as unix milliseconds
	idRandomBits = 22
)

var lastID atomic.Int64

// NewID makes a positive id that sorts by time. Ids of one process are strictly
// increasing; ids that two processes make in the same millisecond are equal
// once in four million. Of two purchases or entries with one id the primary key
// then refuses the second, and of two sessions SaveSessions keeps the first.
// Safe for use by several goroutines.
func NewID() int64 {
	id := (time.Now().UnixMilli()-idEpoch)<<idRandomBits | rand.Int64N(1<<idRandomBits)
	for {
		last := lastID.Load()
		if id <= last {
			id = last + 1
		}
		if lastID.CompareAndSwap(last, id) {
			return id
		}
	}
}

const (
	refPrefix   = "TXN-"
	refDigits   = 13
	refAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's base 32: no I, L, O, U
)

// Ref writes an id as subscribers see it: "TXN-" and 13 digits of Crockford's
// base 32.
func Ref(id int64) string {
	var digits [refDigits]byte
	n := uint64(id)
	for i := refDigits - 1; i >= 0; i-- {
		digits[i] = refAlphabet[n&31]
		n >>= 5
	}
	return refPrefix + string(digits[:])
}

// ParseRef reads what Ref writes, as people type it: case does not matter, the
// prefix may be missing, I and L are 1 and O is 0. The error wraps ErrInvalid.
func ParseRef(s string) (int64, error) {
	digits := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(s)), refPrefix)
	digits = strings.NewReplacer("I", "1", "L", "1", "O", "0").Replace(digits)
	if len(digits) != refDigits || digits[0] > '7' {
		return 0, fmt.Errorf("reference %.40q: %w", s, ErrInvalid)
	}
	var n uint64
	for i := range refDigits {
		d := strings.IndexByte(refAlphabet, digits[i])
		if d < 0 {
			return 0, fmt.Errorf("reference %.40q: %w", s, ErrInvalid)
		}
		n = n<<5 | uint64(d)
	}
	return int64(n), nil
}
