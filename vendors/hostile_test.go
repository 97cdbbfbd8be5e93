package vendors_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ussdd/vendors"
)

// A vendor that misbehaves in every way at once takes nothing from the calls beside.
func TestHostileAnswersCostTheirOwnCallOnly(t *testing.T) {
	var held sync.WaitGroup
	release := make(chan struct{})
	hostile := []func(io.Writer){ // fewer than open the breaker, in whatever order they fail
		func(w io.Writer) { // an endless body
			_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\n\r\n"+done)
			for err == nil {
				_, err = io.WriteString(w, strings.Repeat(" ", 1000))
			}
		},
		func(w io.Writer) { // an endless header
			_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\n")
			for err == nil {
				_, err = io.WriteString(w, "X-Filler: "+strings.Repeat("x", 1000)+"\r\n")
			}
		},
		func(w io.Writer) { // a trickle that stops
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n ")
			<-release
		},
		func(w io.Writer) { _, _ = io.WriteString(w, json(200, strings.Repeat(`{"state":`, 20000))) },
	}
	url := peer(t, func(c *net.TCPConn, r *bufio.Reader) {
	requests:
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			for i, attack := range hostile {
				if strings.Contains(string(body), fmt.Sprintf(`"H-%d"`, i)) {
					attack(c)
					if i == 3 { // an answer in good form: the connection is still good, too
						continue requests
					}
					return
				}
			}
			if _, err := io.WriteString(c, json(200, done)); err != nil {
				return
			}
		}
	})
	e := acmeAt(t, url, acme, vendors.Options{})
	good := func(n int, name string) {
		for i := range n {
			if r := e.Vend(context.Background(), another(fmt.Sprint(name, "-", i))); r.Outcome != vendors.Delivered {
				t.Errorf("%+v", r)
			}
		}
	}
	good(50, "A")
	for i := range hostile {
		held.Go(func() {
			if r := e.Vend(context.Background(), another(fmt.Sprintf("H-%d", i))); r.Outcome != vendors.Ambiguous || !r.Sent {
				t.Errorf("%d: %+v", i, r)
			}
			good(5, fmt.Sprint("B-", i))
		})
	}
	good(50, "C")
	close(release)
	held.Wait()
	if b := e.Breaker().Vend; b.InFlight != 0 || b.Failures != uint32(len(hostile)) {
		t.Errorf("%+v", b)
	}
}

// A secret is exchanged while calls are under way: with both good at the vendor for a time, none
// is refused.
func TestRotationLosesNoCall(t *testing.T) {
	var mu sync.Mutex
	valid := map[string]bool{"Bearer one": true}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		ok := valid[r.Header.Get("Authorization")]
		mu.Unlock()
		if !ok {
			w.WriteHeader(401)
			return
		}
		_, _ = io.WriteString(w, done)
	}))
	defer server.Close()
	text := strings.Replace(acme, "auth: none", "auth: {bearer: {secret: key}, refused: [{status: 401}]}\ntimeouts: {connect: 1m, total: 10m}", 1)
	load := func(previous *vendors.Set, now, next string) *vendors.Set {
		set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", text), vendors.Options{
			URLs: map[string]string{"acme": server.URL}, Previous: previous,
			Secrets: func(name string) (string, bool) {
				v := map[string]string{"key": now, "key-next": next}[name]
				return v, v != ""
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(set.CloseIdleConnections)
		return set
	}
	var current atomic.Pointer[vendors.Set]
	current.Store(load(nil, "one", ""))
	var sellers sync.WaitGroup
	var sold atomic.Int64
	stop := make(chan struct{})
	for seller := range 8 {
		sellers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if r := current.Load().Route("mtn")[0].Vend(context.Background(), another(fmt.Sprintf("S-%d-%d", seller, i))); r.Outcome != vendors.Delivered {
					t.Errorf("%+v", r)
				}
				sold.Add(1)
			}
		})
	}
	progress := func() {
		for want := sold.Load() + 100; sold.Load() < want && !t.Failed(); {
			current.Load().Route("mtn")[0].Query(context.Background(), hundred("mtn"), "") // and time passes
		}
	}
	progress()
	current.Store(load(current.Load(), "one", "two")) // the new one is there, and not yet good
	progress()
	mu.Lock()
	valid = map[string]bool{"Bearer two": true} // the vendor changes from one moment to the next
	mu.Unlock()
	progress()
	current.Store(load(current.Load(), "two", ""))
	progress()
	close(stop)
	sellers.Wait()
	if b := current.Load().Route("mtn")[0].Breaker().Vend; int64(b.Successes) != sold.Load() || b.Failures != 0 {
		t.Errorf("%d sold, %+v", sold.Load(), b)
	}
}

// A proxy gets the whole URL; our address is the one that the file says.
func TestProxyAndSource(t *testing.T) {
	var got []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.RequestURI, strings.Split(r.RemoteAddr, ":")[0])
		_, _ = io.WriteString(w, done)
	}))
	defer proxy.Close()
	text := strings.Replace(acme, "auth: none", "auth: none\ntimeouts: {connect: 1m, total: 10m}\nsource: 127.0.0.9\nproxy: "+proxy.URL, 1)
	set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", text), vendors.Options{URLs: map[string]string{"acme": "http://acme.invalid/v1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer set.CloseIdleConnections()
	if r := set.Route("mtn")[0].Vend(t.Context(), hundred("mtn")); r.Outcome != vendors.Delivered {
		t.Errorf("%+v", r)
	}
	if want := "[http://acme.invalid/v1/topups 127.0.0.9]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if r, err := set.Reach(t.Context(), "acme"); err != nil || r.Addr != proxy.Listener.Addr().String() {
		t.Errorf("%+v, %v", r, err)
	}
}
