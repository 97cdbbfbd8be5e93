package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ussdd/cmd/ussdd/control"
	"ussdd/smpp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// link is a link of a daemon that is only its control socket.
type link struct {
	mu     sync.Mutex
	status smpp.Status
	stuck  bool // does not do what it is told
	looks  int  // how often it is to be looked at until it does
	want   smpp.Admin
	traced []smpp.Traced
	asked  smpp.TraceOptions
}

func (l *link) Status() smpp.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.looks--; l.looks <= 0 && !l.stuck {
		state := smpp.Bound
		if l.want == smpp.Down {
			state = smpp.Closed
		}
		l.status.State = state
		for i := range l.status.Binds {
			l.status.Binds[i].State = state
		}
	}
	s := l.status
	s.Binds = append([]smpp.BindStatus{}, s.Binds...)
	return s
}

func (l *link) SetAdmin(a smpp.Admin) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.want, l.status.Admin, l.looks = a, a, 5
}

func (l *link) Trace(o smpp.TraceOptions) (<-chan smpp.Traced, func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = o
	traced := make(chan smpp.Traced, len(l.traced))
	for _, t := range l.traced {
		traced <- t
	}
	close(traced) // the link ends
	return traced, func() {}
}

func (l *link) Brief(frame []byte) string {
	return fmt.Sprintf("%s from 2348031234567 to *999#\x1b[2J", smpp.CommandName(smpp.ParseHeader(frame).ID))
}

// daemonWith serves a control socket, which the environment names.
func daemonWith(t *testing.T, push func(control.PushRequest) (control.PushResult, error), links ...*link) {
	t.Helper()
	cfg := control.Config{Push: func(_ context.Context, p control.PushRequest) (control.PushResult, error) { return push(p) }}
	for _, l := range links {
		cfg.Links = append(cfg.Links, l)
	}
	daemonOf(t, cfg)
}

// daemonOf serves a control socket, which the environment names.
func daemonOf(t *testing.T, cfg control.Config) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ussdd") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "control.sock")
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	s := control.Serve(ln, cfg)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("USSDD_CONTROL", path)
}

// ctl runs a command, and gives its exit code and what it printed.
func ctl(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := run(t.Context(), args, &out, &out)
	return code, out.String()
}

// expect runs a command that must end and print so.
func expect(t *testing.T, code int, printed string, args ...string) {
	t.Helper()
	if gotCode, got := ctl(t, args...); gotCode != code || got != printed {
		t.Errorf("ussdctl %s: exit %d\n%s\nwant exit %d\n%s", strings.Join(args, " "), gotCode, got, code, printed)
	}
}

func TestLinkTable(t *testing.T) {
	now := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	var out bytes.Buffer
	err := table(&out, nil, linkRows([]control.LinkStatus{
		{SMSC: "mtn", Admin: "draining", State: "bound", Binds: []control.BindStatus{
			{Name: "1", Role: "transceiver", Addr: "10.0.0.1:2775", Peer: "USSDGW", State: "bound", Since: now.Add(-26 * time.Hour), LastPDU: now.Add(-1400 * time.Millisecond),
				InFlight: 3, Window: 64, MaxWindow: 256, Queued: 2, Rate: 50, InRate: 12.34, OutRate: 24.68},
			{Name: "2", Role: "transceiver", Addr: "10.0.0.2:2775", State: "waiting", Since: now.Add(-61 * time.Second), RetryAt: now.Add(40 * time.Second),
				Window: 256, MaxWindow: 256, LastError: "bind: status 0x0000000e\x1b[2J", BadAccount: true},
		}},
		{SMSC: "glo", Admin: "down", State: "closed", Since: now.Add(-3 * time.Hour), Queue: 4096},
	}, now))
	want := `mtn  1  transceiver  bound, draining        1d2h  USSDGW  10.0.0.1:2775  3/64 of 256  2       12.3  24.7 of 50.0  1s  -
mtn  2  transceiver  waiting 40s, draining  1m1s  -       10.0.0.2:2775  0/256        0       0.0   0.0           -   credentials refused: bind: status 0x0000000e.[2J
glo  -  -            closed, down           3h0m  -       -              -            0/4096  -     -             -   -
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, &out, want)
	}
}

func TestLinkList(t *testing.T) {
	daemonWith(t, nil, &link{status: smpp.Status{Name: "mtn", Binds: []smpp.BindStatus{{Name: "1"}}}})
	code, out := ctl(t, "link", "list")
	if lines := strings.Split(out, "\n"); code != exitOK || len(lines) != 3 || !strings.HasPrefix(lines[0], "SMSC  BIND  ") || !strings.HasPrefix(lines[1], "mtn   1     ") {
		t.Errorf("exit %d\n%s", code, out)
	}
	code, out = ctl(t, "link", "list", "-json")
	var links []control.LinkStatus
	if err := json.Unmarshal([]byte(out), &links); code != exitOK || err != nil || len(links) != 1 || links[0].Binds[0].Name != "1" {
		t.Errorf("exit %d, %v\n%s", code, err, out)
	}
}

func TestLinkAdmin(t *testing.T) {
	mtn := &link{status: smpp.Status{Name: "mtn", Binds: []smpp.BindStatus{{Name: "1"}, {Name: "2"}}}}
	daemonWith(t, nil, mtn)
	expect(t, exitOK, "mtn is down: closed\n", "link", "down", "mtn")
	if s := mtn.Status(); s.Admin != smpp.Down || s.State != smpp.Closed {
		t.Errorf("%+v", s)
	}
	expect(t, exitOK, "mtn is up: 2 of 2 binds bound\n", "link", "up", "mtn")
	expect(t, exitOK, "mtn is draining: bound, and refuses new dialogues; live ones go on\n", "link", "drain", "mtn")
	expect(t, exitFailed, "ussdctl link up: no link \"glo\"; there are: mtn\n", "link", "up", "glo")
	if code, out := ctl(t, "link", "up", "mtn", "-json"); code != exitOK || !strings.Contains(out, `"admin": "up"`) {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func TestLinkThatDoesNotComeUp(t *testing.T) {
	daemonWith(t, nil, &link{stuck: true, status: smpp.Status{Name: "mtn", State: smpp.Bound, Binds: []smpp.BindStatus{
		{Name: "1", State: smpp.Bound, LastError: "long ago"}, {Name: "2", Addr: "a:1", State: smpp.Waiting, LastError: "already bound"},
		{Name: "3", Addr: "b:1", State: smpp.Connecting}}}})
	expect(t, exitFailed, "ussdctl link up: mtn was told to go up, and after 300ms it is not: 1 of 3 binds bound\n"+
		"bind 2 to a:1 is waiting: already bound\nbind 3 to b:1 is connecting\n",
		"link", "up", "mtn", "-wait", "300ms")
	ctx, stop := context.WithCancel(t.Context())
	stop() // ^C
	var out bytes.Buffer
	if code := run(ctx, []string{"link", "down", "mtn"}, &out, &out); code != exitFailed {
		t.Errorf("exit %d\n%s", code, &out)
	}
}

// A daemon that is stuck takes the connection and never answers.
func TestStuckDaemon(t *testing.T) {
	dir, err := os.MkdirTemp("", "ussdd") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "control.sock")
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	expect(t, exitFailed, "ussdctl link up: the ussdd at "+path+" does not answer in time; its log may say why\n",
		"link", "up", "mtn", "-wait", "100ms", "-control", path)
}

// frame is the header of a PDU without a body.
func frame(command uint32, sequence byte) []byte {
	return []byte{0, 0, 0, 16, byte(command >> 24), 0, 0, byte(command), 0, 0, 0, 0, 0, 0, 0, sequence}
}

func TestLinkTrace(t *testing.T) {
	at := time.Date(2026, 11, 20, 9, 30, 0, 1000, time.UTC)
	mtn := &link{status: smpp.Status{Name: "mtn"}, traced: []smpp.Traced{
		{Time: at, Bind: "1", Local: "10.0.0.9:4000", Remote: "10.0.0.1:2775", Frame: frame(0x15, 1)},
		{Time: at.Add(time.Second), Bind: "1", Local: "10.0.0.9:4000", Remote: "10.0.0.1:2775", Out: true, Frame: frame(0x80000015, 1), Lost: 2},
	}}
	daemonWith(t, nil, mtn)
	const masked = `09:30:00.000001 1 <- enquire_link from 234803***4567 to *999#.[2J
… 2 PDUs missing: they came faster than they could be taken
09:30:01.000001 1 -> enquire_link_resp from 234803***4567 to *999#.[2J
`
	expect(t, exitOK, masked, "link", "trace", "mtn", "-msisdn", "08031234567", "-inputs", "-for", "1m")
	if mtn.asked != (smpp.TraceOptions{MSISDN: amina, Inputs: true}) {
		t.Errorf("asked for %+v", mtn.asked)
	}
	expect(t, exitOK, strings.ReplaceAll(masked, "234803***4567", amina), "link", "trace", "mtn", "-full")
	if mtn.asked != (smpp.TraceOptions{}) {
		t.Errorf("asked for %+v", mtn.asked)
	}
	expect(t, exitUsage, "ussdctl link trace: -json prints whole PDUs, with the numbers of subscribers: add -full if you mean it\n", "link", "trace", "mtn", "-json")
	expect(t, exitUsage, "ussdctl link trace: \"12\" is not a Nigerian mobile number\n", "link", "trace", "mtn", "-msisdn", "12")
	code, out := ctl(t, "link", "trace", "mtn", "-json", "-full")
	first, _, _ := strings.Cut(out, "\n")
	var line control.Traced
	if err := json.Unmarshal([]byte(first), &line); code != exitOK || err != nil || !bytes.Equal(line.Frame, frame(0x15, 1)) {
		t.Errorf("exit %d, %v\n%s", code, err, out)
	}
}

// TestTracePcap has tshark read what a trace wrote: two connections, one of them
// over IPv6.
func TestTracePcap(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is missing: apt-get install tshark")
	}
	at := time.Date(2026, 11, 20, 9, 30, 0, 250_000_000, time.UTC)
	step := func(n int, local, remote string, out bool, frame []byte) smpp.Traced {
		return smpp.Traced{Time: at.Add(time.Duration(n) * time.Second), Bind: "1", Local: local, Remote: remote, Out: out, Frame: frame}
	}
	const us, smsc, us6, smsc6 = "10.0.0.9:4000", "10.0.0.1:2775", "[fd00::9]:4001", "[fd00::1]:2775"
	mtn := &link{status: smpp.Status{Name: "mtn"}, traced: []smpp.Traced{
		step(0, us, smsc, false, frame(0x15, 1)), step(1, us6, smsc6, true, frame(0x15, 2)),
		step(2, us, smsc, true, frame(0x80000015, 1)), step(3, us6, smsc6, false, frame(0x80000015, 2)),
		step(4, us, smsc, false, frame(0x15, 3)),
	}}
	daemonWith(t, nil, mtn)
	file := filepath.Join(t.TempDir(), "mtn.pcap")
	if code, out := ctl(t, "link", "trace", "mtn", "-pcap", file); code != exitOK || strings.Count(out, "\n") != 5 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	cmd := exec.CommandContext(t.Context(), tshark, "-r", file, "-d", "tcp.port==2775,smpp", "-o", "tcp.check_checksum:TRUE", "-Y", "smpp", "-T", "fields", "-E", "separator= ",
		"-e", "frame.time_epoch", "-e", "tcp.stream", "-e", "ip.src", "-e", "ipv6.src", "-e", "tcp.srcport", "-e", "tcp.seq", "-e", "smpp.command_id", "-e", "smpp.sequence_number", "-e", "_ws.expert")
	printed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	const want = `1795167000.250000000 0 10.0.0.1  2775 1 0x00000015 1
1795167001.250000000 1  fd00::9 4001 1 0x00000015 2
1795167002.250000000 0 10.0.0.9  4000 1 0x80000015 1
1795167003.250000000 1  fd00::1 2775 1 0x80000015 2
1795167004.250000000 0 10.0.0.1  2775 17 0x00000015 3
`
	var got strings.Builder
	for line := range strings.Lines(string(printed)) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if got.String() != want {
		t.Errorf("tshark reads\n%s\nwant\n%s", got.String(), want)
	}
}

func TestTracePcapProblems(t *testing.T) {
	mtn := &link{status: smpp.Status{Name: "mtn"}, traced: []smpp.Traced{{Local: "pipe", Remote: "10.0.0.1:2775", Frame: frame(0x15, 1)}}}
	daemonWith(t, nil, mtn)
	if code, out := ctl(t, "link", "trace", "mtn", "-pcap", filepath.Join(t.TempDir(), "x")); code != exitFailed || !strings.Contains(out, "pcap: our address: ") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if code, out := ctl(t, "link", "trace", "mtn", "-pcap", "/nope/x"); code != exitFailed || !strings.Contains(out, "open /nope/x: ") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func TestPush(t *testing.T) {
	var got control.PushRequest
	var refusal error
	daemonWith(t, func(p control.PushRequest) (control.PushResult, error) {
		got = p
		if refusal != nil {
			return control.PushResult{}, refusal
		}
		if p.Text != "" {
			return control.PushResult{}, nil
		}
		return control.PushResult{Session: 912, Screen: "main"}, nil
	}, &link{status: smpp.Status{Name: "mtn"}})
	menu := []string{"push", "-smsc", "mtn", "-msisdn", "0803 123 4567", "-service", "*999#"}
	expect(t, exitOK, "mtn accepted *999# for 2348031234567: screen main, session 912\n", menu...)
	if want := (control.PushRequest{SMSC: "mtn", MSISDN: amina, Service: "*999#"}); got != want {
		t.Errorf("pushed %+v", got)
	}
	expect(t, exitOK, "mtn accepted the text for 2348031234567\n", append(menu, "-text", "Hello")...)
	if got.Text != "Hello" {
		t.Errorf("pushed %+v", got)
	}
	expect(t, exitOK, "{\n  \"session\": \"912\",\n  \"screen\": \"main\"\n}\n", append(menu, "-json")...)
	refusal = control.Refuse(http.StatusConflict, "the subscriber has a live session")
	expect(t, exitFailed, "ussdctl push: the subscriber has a live session\n", menu...)
	refusal = fmt.Errorf("nobody knows")
	expect(t, exitFailed, "ussdctl push: nobody knows\n", menu...)

	for wrong, want := range map[string]string{
		"-msisdn 08031234567 -service *999#":         "-smsc is required",
		"-smsc mtn -service *999#":                   "-msisdn is required",
		"-smsc mtn -msisdn 08031234567":              "-service is required",
		"-smsc mtn -msisdn 12 -service *999#":        `"12" is not a Nigerian mobile number`,
		"-smsc mtn -msisdn 08031234567 -service 999": `service "999" is not a code like *999#`,
	} {
		expect(t, exitUsage, "ussdctl push: "+want+"\n", append([]string{"push"}, strings.Fields(wrong)...)...)
	}
	expect(t, exitFailed, "ussdctl push: no link \"glo\"; there are: mtn\n", "push", "-smsc", "glo", "-msisdn", "08031234567", "-service", "*999#")
}

// What asks the daemon opens no database, and finds the socket.
func TestWhereTheSocketIs(t *testing.T) {
	t.Setenv("USSDD_DATABASE", "mysql:nonsense")
	t.Setenv("RUNTIME_DIRECTORY", "")
	dir, err := os.MkdirTemp("", "ussdd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	t.Chdir(dir)
	nobody := func(path string) string {
		return "ussdctl link list: no ussdd listens at " + path + ": is it running, and is USSDD_CONTROL the same for both?\n"
	}
	t.Setenv("USSDD_CONTROL", "")
	if _, err := os.Stat(unitSocket); err != nil { // no ussdd on this machine
		expect(t, exitFailed, nobody(unitSocket), "link", "list")
	}
	ln, err := control.Listen("ussdd.sock")
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	expect(t, exitFailed, nobody("ussdd.sock"), "link", "list")
	t.Setenv("RUNTIME_DIRECTORY", dir)
	expect(t, exitFailed, nobody(dir+"/control.sock"), "link", "list")
	t.Setenv("USSDD_CONTROL", "env.sock")
	expect(t, exitFailed, nobody("env.sock"), "link", "list")
	expect(t, exitFailed, nobody("flag.sock"), "link", "list", "-control", "flag.sock")
	t.Setenv("USSDD_CONTROL", "-")
	expect(t, exitFailed, "ussdctl link list: USSDD_CONTROL is -, so that ussdd has no control socket\n", "link", "list")
	if code := run(t.Context(), []string{"link", "list", "-database", "x"}, io.Discard, io.Discard); code != exitUsage {
		t.Errorf("-database: exit %d", code)
	}
}
