package smpptest

import "math/bits"

// loadTimes counts durations in buckets that are at most 1/64 of their value
// wide, so that any quantile is known to 1.6 %.
type loadTimes struct {
	buckets [loadBuckets]uint64
	count   uint64
	longest int64
}

const (
	loadBucketBits = 6 // buckets in each power of two: 1 << loadBucketBits
	loadBuckets    = (64 - loadBucketBits) << loadBucketBits
)

// add counts one duration in nanoseconds.
func (t *loadTimes) add(ns int64) {
	ns = max(ns, 0)
	t.buckets[loadBucket(uint64(ns))]++
	t.count++
	t.longest = max(t.longest, ns)
}

// loadBucket is the index of a duration's bucket: values below 1 << loadBucketBits
// have one of their own.
func loadBucket(ns uint64) int {
	exponent := max(bits.Len64(ns)-loadBucketBits-1, 0)
	return exponent<<loadBucketBits + int(ns>>exponent)
}

// quantile is the duration in microseconds that the given part of all does not
// exceed; zero if there was none. The highest is exact.
func (t *loadTimes) quantile(q float64) float64 {
	rank := uint64(q * float64(t.count))
	if rank >= t.count {
		return float64(t.longest) / 1000
	}
	var seen uint64
	for i, n := range t.buckets {
		if seen += n; seen > rank {
			exponent := max(i>>loadBucketBits-1, 0)
			upper := uint64(i-exponent<<loadBucketBits+1) << exponent
			return float64(min(int64(upper), t.longest)) / 1000
		}
	}
	return float64(t.longest) / 1000
}
