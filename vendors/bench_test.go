package vendors_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ussdd/vendors"
)

// parallel is how many calls are in flight at a time.
const parallel = 64

// benchServer answers as a vendor would that does no work.
func benchServer(b *testing.B) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"state":"DONE","id":"V-1","cost":"97.00","text":"delivered to 2348031234567"}`)
	}))
	b.Cleanup(server.Close)
	return server
}

// plainClient is net/http as one would use it for this. It keeps as many connections as a vendor of
// the default max_in_flight does: one that kept only as many as there are calls would close and dial
// some all the time, for a connection is free a little after its answer is read.
func plainClient() (*http.Client, func()) {
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConnsPerHost: 256,
	}
	return &http.Client{Transport: t, Timeout: time.Minute}, t.CloseIdleConnections
}

func plainCall(c *http.Client, url, ref string) error {
	body := `{"to":"2348031234567","kobo":"10000","ref":"` + ref + `"}`
	resp, err := c.Post(url+"/topups", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != 200 {
		return fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return nil
}

// BenchmarkVend and BenchmarkPlain make the same call to the same kind of server, with 64 in flight:
// one as vends are made, one as net/http does it alone.
func BenchmarkVend(b *testing.B) {
	e := acmeAt(b, benchServer(b).URL, acme, vendors.Options{})
	run(b, func(ref string) error {
		r := hundred("mtn")
		r.Reference = ref
		if res := e.Vend(context.Background(), r); res.Outcome != vendors.Delivered {
			return fmt.Errorf("%+v", res)
		}
		return nil
	})
}

func BenchmarkPlain(b *testing.B) {
	client, done := plainClient()
	b.Cleanup(done)
	url := benchServer(b).URL
	run(b, func(ref string) error { return plainCall(client, url, ref) })
}

// BenchmarkOverhead makes both in turns, so that both meet the same machine, and reports their ratios,
// of time and of the processor's time, which hears less of what else the machine does.
func BenchmarkOverhead(b *testing.B) {
	url := benchServer(b).URL
	e := acmeAt(b, url, acme, vendors.Options{})
	client, done := plainClient()
	b.Cleanup(done)
	var vend, plain spent
	vendCall := func(ref string) error {
		r := hundred("mtn")
		r.Reference = ref
		if res := e.Vend(context.Background(), r); res.Outcome != vendors.Delivered {
			return fmt.Errorf("%+v", res)
		}
		return nil
	}
	plainly := func(ref string) error { return plainCall(client, url, ref) }
	turn := func(s *spent, n int, call func(string) error) {
		start, cpu := time.Now(), processorTime(b)
		many(b, n, call)
		s.time += time.Since(start)
		s.cpu += processorTime(b) - cpu
	}
	turn(new(spent), parallel, vendCall) // both with connections
	turn(new(spent), parallel, plainly)
	b.ResetTimer()
	const batch = 2000
	for range max(1, b.N/batch) {
		turn(&vend, batch, vendCall)
		turn(&plain, batch, plainly)
	}
	b.ReportMetric(float64(vend.time)/float64(plain.time), "x-plain")
	b.ReportMetric(float64(vend.cpu)/float64(plain.cpu), "cpu-x-plain")
	b.ReportMetric(0, "ns/op")
}

// spent is what calls took.
type spent struct{ time, cpu time.Duration }

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func run(b *testing.B, call func(ref string) error) {
	b.ReportAllocs()
	b.ResetTimer()
	many(b, b.N, call)
}

var serial atomic.Int64

// many makes n calls, 64 at a time.
func many(b *testing.B, n int, call func(ref string) error) {
	var left atomic.Int64
	left.Store(int64(n))
	done := make(chan error, parallel)
	for range parallel {
		go func() {
			for left.Add(-1) >= 0 {
				if err := call("TXN-" + strconv.FormatInt(serial.Add(1), 10)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range parallel {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}
