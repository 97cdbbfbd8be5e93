package smpptest

import (
	"math"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"ussdd/smpp"
)

func TestLoadTimes(t *testing.T) {
	var none loadTimes
	if got := none.quantile(0.99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	var times loadTimes
	const n = 100_000
	for i := range n {
		times.add(int64(i+1) * 1000) // 1 µs to 100 ms
	}
	for q, want := range map[float64]float64{0.001: n / 1000, 0.5: n / 2, 0.95: n * 0.95, 0.99: n * 0.99, 1: n} {
		if got := times.quantile(q); got < want || got > want*(1+1.0/64)+1 {
			t.Errorf("quantile %v is %v µs, want %v and at most a 64th more", q, got, want)
		}
	}
	times.add(-1)
	times.add(math.MaxInt64)
	if got := times.quantile(1); got != math.MaxInt64/1000.0 {
		t.Errorf("the longest is %v", got)
	}
	// Buckets follow each other without a gap or an overlap.
	last := -1
	for ns := uint64(0); ns < 1<<20; ns++ {
		b := loadBucket(ns)
		if b != last && b != last+1 {
			t.Fatalf("%d ns is in bucket %d, the one before in %d", ns, b, last)
		}
		last = b
	}
	if b := loadBucket(math.MaxInt64); b >= loadBuckets {
		t.Errorf("no bucket %d", b)
	}
}

// One step of a Load: a submit_sm read, checked and answered, and the next
// deliver_sm made.
func BenchmarkLoadStep(b *testing.B) {
	step := loadStep(b)
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}

func TestLoadStepAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(1000, loadStep(t)); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func loadStep(tb testing.TB) func() {
	l, err := StartLoad(LoadConfig{Dialogues: 1, Steps: math.MaxInt, Walk: []LoadStep{{"*1#", "Bye"}}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(l.Close)
	c := &loadConn{load: l}
	l.receivers = []*loadConn{c}
	l.phase = loadMeasuring
	l.send(0, 0)
	frame, err := smpp.Append(nil, &smpp.Message{
		Header: smpp.Header{ID: pdu.SubmitSMID, Sequence: 1}, ServiceType: []byte("USSD"),
		Dest: smpp.Address{TON: 1, NPI: 1, Digits: []byte("2348030000000")}, ShortMessage: []byte("Bye"),
		TLVs: smpp.TLVs(nil).Append(pdutlv.TagUssdServiceOp, loadGoodbye).Append(pdutlv.TagItsSessionInfo, 0, 3),
	})
	if err != nil {
		tb.Fatal(err)
	}
	session := &frame[len(frame)-2]
	return func() {
		c.out, c.fresh = c.out[:0], c.fresh[:0]
		c.handle(frame)
		if l.report.Wrong > 0 || len(c.out) == 0 {
			tb.Fatal(l.report.Problems)
		}
		*session++
	}
}
