package control_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ussdd/cmd/ussdd/control"
	"ussdd/smpp"
	"ussdd/vendors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// link is a control.Link whose status the test sets and whose trace it feeds.
type link struct {
	mu     sync.Mutex
	status smpp.Status
	traced chan smpp.Traced
	asked  chan smpp.TraceOptions // one for each trace that begins
	ended  chan struct{}          // one for each trace that ends
}

func newLink(name string) *link {
	return &link{status: smpp.Status{Name: name, Profile: "standard", State: smpp.Bound},
		traced: make(chan smpp.Traced, 100), asked: make(chan smpp.TraceOptions, 100), ended: make(chan struct{}, 100)}
}

func (l *link) Status() smpp.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

func (l *link) SetAdmin(a smpp.Admin) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Admin = a
}

func (l *link) Trace(o smpp.TraceOptions) (<-chan smpp.Traced, func()) {
	l.asked <- o
	return l.traced, func() { l.ended <- struct{}{} }
}

func (l *link) Brief(frame []byte) string { return fmt.Sprintf("%d octets", len(frame)) }

// rig is a served socket.
type rig struct {
	t      *testing.T
	path   string
	server *control.Server
	client *control.Client
	mtn    *link
	push   func(context.Context, control.PushRequest) (control.PushResult, error)
	set    *vendors.Set
	audit  func(control.Act) error

	mu  sync.Mutex
	log bytes.Buffer
}

func (r *rig) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

func (r *rig) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// serve starts a socket with the links mtn and glo.
func serve(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, path: socket(t), mtn: newLink("mtn")}
	ln, err := control.Listen(r.path)
	if err != nil {
		t.Fatal(err)
	}
	r.server = control.Serve(ln, control.Config{Links: []control.Link{r.mtn, newLink("glo")}, Log: slog.New(slog.NewTextHandler(r, nil)),
		Push:    func(ctx context.Context, p control.PushRequest) (control.PushResult, error) { return r.push(ctx, p) },
		Vendors: func() *vendors.Set { return r.set },
		Audit:   func(_ context.Context, a control.Act) error { return r.audit(a) }})
	r.client = control.NewClient(r.path)
	t.Cleanup(func() {
		r.client.Close()
		if r.server != nil {
			r.stop()
		}
	})
	return r
}

func (r *rig) stop() {
	r.t.Helper()
	if err := r.server.Close(); err != nil {
		r.t.Error(err)
	}
	r.server = nil
}

// socket is a path that is short enough, whatever the test is called.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ussdd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "control.sock")
}

// refused is the problem that an error is.
func (r *rig) refused(err error, status int, detail string) {
	r.t.Helper()
	var p *control.Problem
	if !errors.As(err, &p) || p.Status != status || p.Title != http.StatusText(status) || !strings.Contains(p.Detail, detail) {
		r.t.Errorf("got %#v, want %d %q", err, status, detail)
	}
}

// ask makes a request as any HTTP client would.
func (r *rig) ask(method, path, body string) (*http.Response, string) {
	r.t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.path)
		}}}
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://ussdd"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(text)
}

func TestListen(t *testing.T) {
	path := socket(t)
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, err := control.Listen(path); err == nil || !strings.HasSuffix(err.Error(), "another ussdd is running and listens there") {
		t.Errorf("a second one: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the second one removed the first one's socket: %v", err)
	}

	ln.SetUnlinkOnClose(false) // as if the process had been killed
	ln.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if ln, err = control.Listen(path); err != nil {
		t.Fatalf("over a dead one's socket: %v", err)
	}
	ln.Close()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// Whoever may open the directory can neither hold a start nor prevent it; a start
// at the same time is told of, not waited for.
func TestListenLock(t *testing.T) {
	path := socket(t)
	hold := func(name string, flags int) *os.File {
		t.Helper()
		file, err := os.OpenFile(name, flags, 0o600)
		if err == nil {
			err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		}
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	defer hold(filepath.Dir(path), os.O_RDONLY).Close()
	if err := listen(path); err != nil {
		t.Errorf("with the directory locked: %v", err)
	}
	if st, err := os.Stat(path + ".lock"); err != nil || st.Mode() != 0o600 {
		t.Errorf("the lock: %v, %v", st.Mode(), err)
	}
	starting := hold(path+".lock", os.O_RDWR)
	if err := listen(path); err == nil || err.Error() != path+": another ussdd is just starting there" {
		t.Errorf("while another one starts: %v", err)
	}
	starting.Close()
	if err := listen(path); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestListenLeavesOtherFilesAlone(t *testing.T) {
	path := socket(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(path); err == nil || err.Error() != path+" is there and is not a socket" {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestPathProblems(t *testing.T) {
	dir := filepath.Dir(socket(t))
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, strings.Repeat("x", 107-len(dir)-1))
	for path, want := range map[string]string{
		long:                     "",
		long + "y":               long + "y has 108 octets; the path of a unix socket has at most 107",
		dir + "/none/x.sock":     dir + "/none: no such directory",
		filepath.Join(file, "x"): file + " is not a directory",
	} {
		for name, check := range map[string]func(string) error{"check": control.CheckPath, "listen": listen} {
			if err := check(path); fmt.Sprint(err) != want && (err != nil || want != "") {
				t.Errorf("%s %s: %v", name, path, err)
			}
		}
	}
}

func listen(path string) error {
	ln, err := control.Listen(path)
	if err == nil {
		ln.Close()
	}
	return err
}

func TestDefaultPath(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/ussdd")
	if got := control.DefaultPath(); got != "/run/ussdd/control.sock" {
		t.Error(got)
	}
	t.Setenv("RUNTIME_DIRECTORY", "")
	if got := control.DefaultPath(); got != "ussdd.sock" {
		t.Error(got)
	}
}

func TestLinks(t *testing.T) {
	r := serve(t)
	at := time.Date(2026, 11, 20, 9, 30, 0, 0, time.FixedZone("WAT", 3600))
	r.mtn.status = smpp.Status{Name: "mtn", Profile: "mica", Admin: smpp.Draining, State: smpp.Bound, Since: at, LastPDU: at, LastError: "was away",
		InFlight: 3, Queued: 4, Queue: 5, Binds: []smpp.BindStatus{
			{Name: "1tx", Role: "transmitter", SystemID: "vas", Addr: "10.0.0.1:2775", Peer: "SMSC", State: smpp.Bound, Since: at, LastPDU: at,
				InFlight: 3, Window: 10, MaxWindow: 20, Queued: 4, Rate: 1.5, MaxRate: 2.5, InRate: 3.5, OutRate: 4.5},
			{Name: "1rx", State: smpp.Waiting, Since: at, RetryAt: at, LastError: "no", BadAccount: true},
		}}
	utc := at.UTC()
	want := control.LinkStatus{SMSC: "mtn", Profile: "mica", Admin: "draining", State: "bound", Since: utc, LastPDU: utc, LastError: "was away",
		InFlight: 3, Queued: 4, Queue: 5, Binds: []control.BindStatus{
			{Name: "1tx", Role: "transmitter", SystemID: "vas", Addr: "10.0.0.1:2775", Peer: "SMSC", State: "bound", Since: utc, LastPDU: utc,
				InFlight: 3, Window: 10, MaxWindow: 20, Queued: 4, Rate: 1.5, MaxRate: 2.5, InRate: 3.5, OutRate: 4.5},
			{Name: "1rx", State: "waiting", Since: utc, RetryAt: utc, LastError: "no", BadAccount: true},
		}}
	links, err := r.client.Links(t.Context())
	if err != nil || len(links) != 2 || !reflect.DeepEqual(links[0], want) || links[1].SMSC != "glo" {
		t.Errorf("%v\n got %+v\nwant %+v", err, links, want)
	}
	one, err := r.client.Link(t.Context(), "mtn")
	if err != nil || !reflect.DeepEqual(one, want) {
		t.Errorf("%v, %+v", err, one)
	}
	if _, text := r.ask(http.MethodGet, "/links/glo", ""); !strings.Contains(text, `"binds":[]`) || strings.Contains(text, "last_pdu") {
		t.Errorf("without binds: %s", text)
	}
}

func TestSetAdmin(t *testing.T) {
	r := serve(t)
	before := "up"
	for _, test := range []struct {
		action string
		want   smpp.Admin
	}{{"drain", smpp.Draining}, {"down", smpp.Down}, {"up", smpp.Up}} {
		got, err := r.client.SetAdmin(t.Context(), "mtn", test.action)
		if err != nil || r.mtn.Status().Admin != test.want || got.Admin != test.want.String() {
			t.Errorf("%s: %v, %s, link %s", test.action, err, got.Admin, r.mtn.Status().Admin)
		}
		audit := fmt.Sprintf(`msg="operator: link %s" smsc=mtn from=%s by="uid %d, pid %d"`, test.action, before, os.Getuid(), os.Getpid())
		if !strings.Contains(r.logged(), audit) {
			t.Errorf("no %s in\n%s", audit, r.logged())
		}
		before = test.want.String()
	}
	_, err := r.client.SetAdmin(t.Context(), "nope", "up")
	r.refused(err, http.StatusNotFound, `no link "nope"; there are: mtn, glo`)
}

func TestUnknownRequests(t *testing.T) {
	r := serve(t)
	for _, test := range []struct{ method, path, body, detail string }{
		{http.MethodGet, "/", "", "nothing answers to GET /"},
		{http.MethodPost, "/links/mtn/sideways", "", "nothing answers to POST /links/mtn/sideways"},
		{http.MethodGet, "/links/mtn/up", "", "nothing answers to GET /links/mtn/up"}, // looking changes nothing
		{http.MethodGet, "/links/a%2Fb", "", `no link \"a/b\"; there are: mtn, glo`},
		{http.MethodGet, "/links/nope/trace", "", `no link \"nope\"`},
	} {
		resp, text := r.ask(test.method, test.path, test.body)
		if resp.StatusCode != http.StatusNotFound || resp.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(text, test.detail) {
			t.Errorf("%s %s: %s, %s", test.method, test.path, resp.Status, text)
		}
	}
}

func TestTrace(t *testing.T) {
	r := serve(t)
	at := time.Date(2026, 11, 20, 9, 30, 0, 5000, time.UTC)
	r.mtn.traced <- smpp.Traced{Time: at, Bind: "1", Local: "127.0.0.1:4", Remote: "127.0.0.1:5", Out: true, Frame: []byte{0, 0xff}, MSISDN: "2348031234567"}
	r.mtn.traced <- smpp.Traced{Time: at, Bind: "2", Frame: []byte{1}, Lost: 7}
	want := []control.Traced{
		{Time: at, Bind: "1", Local: "127.0.0.1:4", Remote: "127.0.0.1:5", Out: true, Brief: "2 octets", Frame: control.Hex{0, 0xff}, MSISDN: "2348031234567"},
		{Time: at, Bind: "2", Brief: "1 octets", Frame: control.Hex{1}, Lost: 7},
	}
	var got []control.Traced
	enough := errors.New("enough")
	err := r.client.Trace(t.Context(), "mtn", control.TraceOptions{MSISDN: "2348031234567", Inputs: true}, func(t control.Traced) error {
		if got = append(got, t); len(got) == len(want) {
			return enough
		}
		return nil
	})
	if err != enough || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	if o := <-r.mtn.asked; o != (smpp.TraceOptions{MSISDN: "2348031234567", Inputs: true}) {
		t.Errorf("options %+v", o)
	}
	<-r.mtn.ended // the caller has gone
	r.stop()      // so that the log is complete
	for _, want := range []string{`msg="operator: trace begins" smsc=mtn msisdn=234803***4567 inputs=true by="uid `, `msg="operator: trace ends" smsc=mtn by="uid `} {
		if !strings.Contains(r.logged(), want) {
			t.Errorf("no %s in\n%s", want, r.logged())
		}
	}
}

// A trace is under way before its first PDU, and ends with the link, its caller
// and the daemon.
func TestTraceEnds(t *testing.T) {
	for name, end := range map[string]func(r *rig, cancel context.CancelFunc){
		"caller": func(r *rig, cancel context.CancelFunc) { cancel() },
		"link":   func(r *rig, cancel context.CancelFunc) { close(r.mtn.traced) },
		"daemon": func(r *rig, cancel context.CancelFunc) { r.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				done <- r.client.Trace(ctx, "mtn", control.TraceOptions{}, func(control.Traced) error { return nil })
			}()
			if o := <-r.mtn.asked; o != (smpp.TraceOptions{}) {
				t.Errorf("options %+v", o)
			}
			if n := r.server.Traces(); n != 1 {
				t.Errorf("%d traces", n)
			}
			end(r, cancel)
			if err := <-done; err != nil {
				t.Error(err)
			}
			<-r.mtn.ended
		})
	}
}

func TestTooManyTraces(t *testing.T) {
	r := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	const limit = 8
	for range limit {
		watching.Go(func() {
			if err := r.client.Trace(ctx, "mtn", control.TraceOptions{}, func(control.Traced) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	for range limit {
		<-r.mtn.asked
	}
	r.refused(r.client.Trace(ctx, "mtn", control.TraceOptions{}, nil), http.StatusServiceUnavailable, "8 traces are being watched, which is the limit")
	if n := r.server.Traces(); n != limit {
		t.Errorf("%d traces", n)
	}
}

func TestTraceOptions(t *testing.T) {
	r := serve(t)
	for query, detail := range map[string]string{
		"msisdn=08x":    `msisdn \"08x\" is not E.164 digits`,
		"inputs=maybe":  `inputs \"maybe\" is neither true nor false`,
		"imsi=12345678": `no \"imsi\"`,
	} {
		if resp, text := r.ask(http.MethodGet, "/links/mtn/trace?"+query, ""); resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, detail) {
			t.Errorf("%s: %s, %s", query, resp.Status, text)
		}
	}
}

func TestPush(t *testing.T) {
	r := serve(t)
	asked := control.PushRequest{SMSC: "mtn", MSISDN: "2348031234567", Service: "*999#"}
	var got control.PushRequest
	r.push = func(_ context.Context, p control.PushRequest) (control.PushResult, error) {
		got = p
		return control.PushResult{Session: 912000000000000001, Screen: "main"}, nil
	}
	result, err := r.client.Push(t.Context(), asked)
	if err != nil || result != (control.PushResult{Session: 912000000000000001, Screen: "main"}) || got != asked {
		t.Errorf("%v, %+v of %+v", err, result, got)
	}
	r.push = func(context.Context, control.PushRequest) (control.PushResult, error) {
		return control.PushResult{}, control.Refuse(http.StatusConflict, "busy")
	}
	asked.Text = "secret"
	_, err = r.client.Push(t.Context(), asked)
	r.refused(err, http.StatusConflict, "busy")
	r.push = func(context.Context, control.PushRequest) (control.PushResult, error) {
		return control.PushResult{}, errors.New("out of luck")
	}
	_, err = r.client.Push(t.Context(), asked)
	r.refused(err, http.StatusInternalServerError, "out of luck")
	for _, want := range []string{
		`msg="operator: push" smsc=mtn msisdn=234803***4567 service=*999# tells=false session=912000000000000001 by="uid `,
		`msg="operator: push failed" smsc=mtn msisdn=234803***4567 service=*999# tells=true err=busy by="uid `,
	} {
		if !strings.Contains(r.logged(), want) {
			t.Errorf("no %s in\n%s", want, r.logged())
		}
	}
	if strings.Contains(r.logged(), "2348031234567") || strings.Contains(r.logged(), "secret") {
		t.Errorf("too much in the log\n%s", r.logged())
	}
}

func TestBadPushes(t *testing.T) {
	r := serve(t)
	r.push = func(context.Context, control.PushRequest) (control.PushResult, error) {
		t.Error("pushed")
		return control.PushResult{}, nil
	}
	ok := map[string]any{"smsc": "mtn", "msisdn": "2348031234567", "service": "*999#"}
	with := func(name string, value any) string {
		changed := map[string]any{name: value}
		for k, v := range ok {
			if k != name {
				changed[k] = v
			}
		}
		text, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for body, want := range map[string]string{
		"":                    "400 the request is not JSON of a push",
		"[]":                  "400 the request is not JSON of a push",
		with("colour", "red"): "400 the request is not JSON of a push",
		with("text", strings.Repeat("x", 16<<10)):        "400 the request is not JSON of a push: http: request body too large",
		with("smsc", "nope"):                             `404 no link \"nope\"`,
		with("msisdn", "+234803"):                        `422 msisdn \"+234803\" is not E.164 digits`,
		with("service", "999"):                           `422 service \"999\" is not a code`,
		with("service", "*"+strings.Repeat("9", 31)+"#"): "422 service ",
		with("text", strings.Repeat("x", 1001)):          "422 a text of 1001 octets is over the limit, 1000",
	} {
		status, detail, _ := strings.Cut(want, " ")
		if resp, text := r.ask(http.MethodPost, "/push", body); fmt.Sprint(resp.StatusCode) != status || !strings.Contains(text, detail) {
			t.Errorf("%.80s: %s %s, want %s", body, resp.Status, text, want)
		}
	}
}

// A push ends with its caller, and with the daemon; meanwhile no more than so many
// are served.
func TestPushEnds(t *testing.T) {
	r := serve(t)
	const limit = 32
	began, over := make(chan struct{}, limit), make(chan error, limit)
	r.push = func(ctx context.Context, _ control.PushRequest) (control.PushResult, error) {
		began <- struct{}{}
		<-ctx.Done()
		over <- ctx.Err()
		return control.PushResult{}, ctx.Err()
	}
	p := control.PushRequest{SMSC: "mtn", MSISDN: "2348031234567", Service: "*999#"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calls sync.WaitGroup
	defer calls.Wait()
	for i := range limit {
		ctx := ctx
		if i > 0 {
			ctx = t.Context()
		}
		calls.Go(func() {
			if _, err := r.client.Push(ctx, p); err == nil {
				t.Error("pushed")
			}
		})
		<-began
	}
	_, err := r.client.Links(t.Context())
	r.refused(err, http.StatusServiceUnavailable, "32 requests are being served, which is the limit")
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	r.stop()
	if len(over) != limit-1 {
		t.Errorf("%d of %d pushes ended with the daemon", len(over), limit-1)
	}
}

func TestNobodyListens(t *testing.T) {
	path := socket(t)
	c := control.NewClient(path)
	want := "no ussdd listens at " + path + ": is it running, and is USSDD_CONTROL the same for both?"
	if _, err := c.Links(t.Context()); err == nil || err.Error() != want {
		t.Errorf("no socket: %v", err)
	}
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	if _, err := c.Links(t.Context()); err == nil || err.Error() != want {
		t.Errorf("a dead one's socket: %v", err)
	}
}

// A daemon that is stuck takes connections, and answers nothing or half of it.
func TestStuckDaemon(t *testing.T) {
	for name, said := range map[string]string{
		"nothing":        "",
		"half an answer": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[",
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := control.Listen(socket(t))
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			defer serving.Wait()
			defer ln.Close()
			serving.Go(func() {
				for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
					defer conn.Close()
					if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil { // an answer that comes first is another mistake
						io.WriteString(conn, said)
					}
				}
			})
			c := control.NewClient(ln.Addr().String())
			defer c.Close()
			c.Impatient(50 * time.Millisecond)
			want := "the ussdd at " + ln.Addr().String() + " does not answer in time"
			if _, err := c.Links(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("links: %v", err)
			}
			if _, err := c.SetAdmin(t.Context(), "mtn", "up"); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("link up: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := c.Push(ctx, control.PushRequest{}); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("push: %v", err)
			}
		})
	}
}

func TestNotUssdd(t *testing.T) {
	ln, err := control.Listen(socket(t))
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "<html>", http.StatusTeapot) })}
	var serving sync.WaitGroup
	serving.Go(func() { other.Serve(ln) })
	defer serving.Wait()
	defer other.Close()
	c := control.NewClient(ln.Addr().String())
	defer c.Close()
	if _, err := c.Links(t.Context()); err == nil || err.Error() != ln.Addr().String()+" answers 418 I'm a teapot" {
		t.Error(err)
	}
}
