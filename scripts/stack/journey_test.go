package stack_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ussdd/scripts/stack"
	"ussdd/smpp/smpptest"
)

func (r *rig) get(url string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestPurchaseOnBothEngines(t *testing.T) {
	engines(t, func(t *testing.T, database func(*testing.T, string) string) {
		r := newRig(t, database)
		p := r.daemon()
		if code, body := r.get("http://" + p.Admin + "/readyz"); code != http.StatusOK || !strings.Contains(body, "smsc sim: bound") {
			t.Errorf("/readyz: %d %s", code, body)
		}
		h := r.sim.Handset(caller)
		r.walk(h, append(order(good), [2]string{"1", "Airtime Purchase Successful!"})...)
		if h.Live() {
			t.Error("the dialogue is still open")
		}
		r.walk(h, [][2]string{{"*999#", "2. Check Balance"}, {"2", "N1,900"}}...)
		rows := r.balanced()
		if len(rows) != 1 || rows[0].State != "delivered" {
			t.Fatalf("purchases %+v", rows)
		}
		r.texted(rows[0].Ref, "N100 MTN airtime for 08061230001 was delivered. Ref "+rows[0].Ref+".")
		_, metrics := r.get("http://" + p.Admin + "/metrics")
		for _, want := range []string{`ussdd_purchases_total{state="delivered"} 1`, `ussdd_sessions_begun_total 2`, `ussdd_link_bound{smsc="sim"} 1`,
			`ussdd_breaker_state{`, `ussdd_step_seconds_count`} {
			if !strings.Contains(metrics, want) {
				t.Errorf("no %s in\n%s", want, metrics)
			}
		}
		if err := p.Stop(); err != nil {
			t.Errorf("SIGTERM: %v\n%s", err, p.Log())
		}
		if strings.Contains(p.Log(), caller) || strings.Contains(p.Log(), stack.Password) || strings.Contains(p.Log(), "key-of-the-demo") {
			t.Errorf("a number or a secret is in the log:\n%s", p.Log())
		}
	})
}

// texted waits until a message and its receipt are in the books, and checks that
// it was sent once.
func (r *rig) texted(ref, text string) {
	r.t.Helper()
	var shown struct {
		Messages []struct {
			Kind, SMSC, Receipt string
			ID                  string `json:"message_id"`
		}
	}
	var sent []smpptest.SMS
	r.until(func() bool {
		if err := r.CtlJSON(r.ctx, &shown, "purchase", "show", "-json", ref); err != nil {
			r.t.Fatal(err)
		}
		sent = slices.DeleteFunc(r.sim.SMS(caller), func(m smpptest.SMS) bool { return !strings.Contains(m.Text, ref) })
		return len(shown.Messages) == 1 && shown.Messages[0].Receipt != "" && sent[0].Reported
	})
	if len(sent) != 1 || sent[0].Text != text || sent[0].From != "999" {
		r.t.Fatalf("sent %+v", sent)
	}
	if m := shown.Messages[0]; m.Receipt != sent[0].Receipt || m.SMSC != "sim" || m.ID != sent[0].ID {
		r.t.Errorf("in the books is %+v, sent was %+v", m, sent[0])
	}
}

// Whatever the SMSC does about a message, it is sent once, as long as a receipt
// tells of it.
func TestMessagesAtAnSMSCWithFaults(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	r.daemon()
	h := r.sim.Handset(caller)
	for _, text := range []string{"sms-no-resp", "sms-bare-receipt", "sms-throttle:2", "sms-undelivered"} {
		fault, err := smpptest.ParseFault(text)
		if err == nil {
			err = h.Arm(fault)
		}
		if err != nil {
			t.Fatal(err)
		}
		r.walk(h, append(order(good), [2]string{"1", "Airtime Purchase Successful!"})...)
		ref := r.purchases()[0].Ref
		r.texted(ref, "N100 MTN airtime for 08061230001 was delivered. Ref "+ref+".")
	}
	if n := r.sim.Struck(); n["sms-no-resp"] != 1 || n["sms-bare-receipt"] != 1 || n["sms-throttle"] != 2 || n["sms-undelivered"] != 1 {
		t.Errorf("struck %v", n)
	}
}

// The four networks, each by its own API and by its fallback's, with the number
// typed in every spelling.
func TestEveryNetworkAndItsFallback(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	r.daemon()
	spellings := []string{"08061230001", "2348061230001", "+2348061230001", "8061230001"}
	h := r.sim.Handset(caller)
	for i, network := range []struct{ name, vendor, fallback string }{
		{"MTN", "mtn", "quickvend"}, {"Airtel", "airtel", "topline"}, {"Glo", "glo", "quickvend"}, {"9mobile", "9mobile", "topline"},
	} {
		for _, vendor := range []string{network.vendor, network.fallback} {
			r.walk(h, [][2]string{{"*999#", "1. Buy Airtime"}, {"1", network.name}, {fmt.Sprint(i + 1), "Enter phone number:"},
				{spellings[i], "Select Amount:"}, {"1", "Phone: 08061230001\nAmount: N50"}, {"1", "Airtime Purchase Successful!"}}...)
			p := r.purchases()[0]
			if p.State != "delivered" || p.Vendor != vendor {
				t.Errorf("%s was %s by %s, want delivered by %s", network.name, p.State, p.Vendor, vendor)
			}
			if shown := r.ctl("purchase", "show", strings.ToLower(p.Ref)); !strings.Contains(shown, p.Ref) || !strings.Contains(shown, "2348061230001") {
				t.Errorf("purchase show:\n%s", shown)
			}
			if err := r.Fault(r.ctx, network.vendor, "down"); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.balanced()
}

// A subscriber in the middle of the menu does not notice that the daemon was
// killed and started again: the gateway keeps the dialogue, and its id comes
// back over the new bind.
func TestSessionSurvivesAKill(t *testing.T) {
	engines(t, func(t *testing.T, database func(*testing.T, string) string) {
		r := newRig(t, database)
		p := r.daemon()
		h := r.sim.Handset(caller)
		r.walk(h, order(good)...)
		// What is written behind is written when the store shows it.
		r.until(func() bool { return strings.Contains(r.ctl("session", "list"), "confirm") })
		p.Kill()
		r.daemon()
		screen, err := h.Answer(r.ctx, "1")
		if err != nil || !strings.Contains(screen.Text, "Airtime Purchase Successful!") {
			t.Fatalf("saw %q, %v", screen.Text, err)
		}
		r.balanced()
	})
}

// SIGTERM while a vendor takes its time: nothing is lost, and the exit code is 0.
func TestDrainDuringAPurchase(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	p := r.daemon(brief, "USSDD_VENDORS="+vendorDir(t, r.Dir, false))
	h := r.sim.Handset(caller)
	r.walk(h, append(order("08061239003"), [2]string{"1", "Processing your request..."})...) // answers after 4 s
	if err := p.Stop(); err != nil {
		t.Fatalf("SIGTERM: %v\n%s", err, p.Log())
	}
	if rows := r.balanced(); len(rows) != 1 || rows[0].State != "delivered" {
		t.Errorf("after the drain: %+v\n%s", rows, p.Log())
	}
}

// An impatient drain leaves the purchase to the next start.
func TestShortDrainLeavesThePurchaseToTheNextStart(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	p := r.daemon(brief, "USSDD_DRAIN_TIMEOUT=1s", "USSDD_LEASE=1s")
	h := r.sim.Handset(caller)
	r.walk(h, append(order("08061239003"), [2]string{"1", "Processing your request..."})...)
	if err := p.Stop(); err != nil {
		t.Fatalf("SIGTERM: %v\n%s", err, p.Log())
	}
	r.daemon("USSDD_LEASE=1s")
	r.decided()
	r.balanced()
}

func TestCheckStatusShowsWhatBecameOfIt(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	r.daemon(brief)
	for recipient, want := range map[string]string{"08061239010": "Airtime Purchase Successful!", "08061239011": "Error: Request timeout. Please try again later."} {
		h := r.sim.Handset(caller)
		r.walk(h, append(order(recipient), [2]string{"1", "Processing your request..."})...)
		r.until(func() bool {
			screen, err := h.Answer(r.ctx, "1")
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(screen.Text, want)
		})
	}
	r.balanced()
}

func TestReloadKeepsTheOldMenusWhenTheNewOnesAreWrong(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	dir := filepath.Join(r.Dir, "menus")
	write := func(greeting string) {
		t.Helper()
		source, err := os.ReadFile("../../menus/airtime.yaml")
		if err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "airtime.yaml"), bytes.ReplaceAll(source, []byte("Welcome to Airtime Purchase"), []byte(greeting)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("One")
	p := r.daemon("USSDD_MENUS=" + dir)
	h := r.sim.Handset(caller)
	r.walk(h, [2]string{"*999#", "One"})
	live := r.sim.Handset("2348030000002")
	r.walk(live, [2]string{"*999#", "One"})

	write("Two\"\n    nonsense: true #")
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.until(func() bool { return strings.Contains(p.Log(), "reload refused") })
	if err := h.Hangup(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.walk(h, [2]string{"*999#", "One"})
	if err := h.Hangup(r.ctx); err != nil { // a begin that follows too soon is the same one
		t.Fatal(err)
	}

	write("Three")
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.until(func() bool { return strings.Contains(p.Log(), "menus and vendors reloaded") })
	r.walk(h, [2]string{"*999#", "Three"})
	// A session keeps the version that it began with.
	for _, step := range [][2]string{{"1", "Select Network:"}, {"0", "One"}} {
		screen, err := live.Answer(r.ctx, step[0])
		if err != nil || !strings.Contains(screen.Text, step[1]) {
			t.Errorf("typed %s and saw %q, %v; want %q", step[0], screen.Text, err, step[1])
		}
	}
}

// The link is cut in the middle of dialogues: the daemon binds again and they go on.
func TestLinkLossMidSession(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	p := r.daemon()
	h := r.sim.Handset(caller)
	r.walk(h, order(good)...)
	before := r.sim.Binds()
	r.sim.Drop()
	r.until(func() bool {
		now := r.sim.Binds()
		return len(now) == 1 && now[0].Addr != before[0].Addr
	})
	screen, err := h.Answer(r.ctx, "1")
	if err != nil || !strings.Contains(screen.Text, "Airtime Purchase Successful!") {
		t.Fatalf("saw %q, %v\n%s", screen.Text, err, p.Log())
	}
	r.balanced()
}

// Many subscribers at once, each with a wallet of their own.
func TestManySubscribersBuyAtOnce(t *testing.T) {
	engines(t, func(t *testing.T, database func(*testing.T, string) string) {
		r := newRig(t, database)
		r.daemon()
		const n = 40
		for i := range n {
			r.ctl("wallet", "credit", "-reference", fmt.Sprint("many-", i), fmt.Sprintf("23480312350%02d", i), "100")
		}
		var wg sync.WaitGroup
		bought := make(chan string, n)
		for i := range n {
			wg.Go(func() {
				h := r.sim.Handset(fmt.Sprintf("23480312350%02d", i))
				if _, err := h.Dial(r.ctx, "*999#"); err != nil {
					bought <- err.Error()
					return
				}
				var last smpptest.Screen
				for _, text := range []string{"1", "1", "1", "2", "1"} {
					var err error
					if last, err = h.Answer(r.ctx, text); err != nil {
						bought <- err.Error()
						return
					}
				}
				bought <- last.Text
			})
		}
		wg.Wait()
		close(bought)
		for text := range bought {
			if !strings.Contains(text, "Airtime Purchase Successful!") && !strings.Contains(text, "Processing your request...") {
				t.Errorf("saw %q", text)
			}
		}
		r.decided()
		r.ctl("ledger", "check")
		sold, err := r.Deliveries(r.ctx)
		if err != nil || sold.Delivered != n || sold.Doubled != 0 {
			t.Errorf("delivered %d, doubled %d, %v; want %d and 0", sold.Delivered, sold.Doubled, err, n)
		}
	})
}

// What systemd is told: ready when everything runs, that the engine goes round,
// how many SMSCs are bound, and that it stops.
func TestSystemdIsTold(t *testing.T) {
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	path := filepath.Join(r.Dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	hears := func(wants ...string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatalf("%v while waiting for %q", err, wants)
			}
			missing := slices.DeleteFunc(slices.Clone(wants), func(w string) bool { return strings.Contains(string(buf[:n]), w) })
			if len(missing) == 0 {
				return
			}
		}
	}
	p := r.daemon("NOTIFY_SOCKET="+path, "WATCHDOG_USEC=300000")
	hears("READY=1")
	hears("WATCHDOG=1", "STATUS=1/1 SMSCs bound, 0 live sessions")
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	hears("STOPPING=1")
}

// TestDemoCapture plays the demo's journey, and has tshark read every octet of it.
func TestDemoCapture(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("install tshark (as root: apt-get install tshark) to have the capture of the demo dissected")
	}
	r := newRig(t, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "ussdd.db") })
	pcap := filepath.Join(r.Dir, "demo.pcap")
	var screens bytes.Buffer
	sim, err := r.SMSC(r.ctx, nil, &screens, "-pcap", pcap, "-script", "../demo/journey.yaml", "-set", "control="+r.Vendors["control"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Daemon(r.ctx); err != nil {
		t.Fatal(err)
	}
	if err := sim.Wait(r.ctx); err != nil {
		t.Fatalf("%v\n%s\n%s", err, sim.Log(), screens.String())
	}
	_, port, _ := strings.Cut(r.SMSCAddr, ":")
	dissect := func(filter string) []string {
		out, err := exec.CommandContext(r.ctx, tshark, "-r", pcap, "-d", "tcp.port=="+port+",smpp", "-Y", filter, "-T", "fields", "-e", "smpp.command_id").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(strings.ReplaceAll(string(out), ",", " "))
	}
	seen := make(map[string]int)
	for _, id := range dissect("smpp") {
		seen[id]++
	}
	for name, id := range map[string]string{"bind_transceiver": "0x00000009", "deliver_sm": "0x00000005", "submit_sm": "0x00000004", "deliver_sm_resp": "0x80000005"} {
		if seen[id] == 0 {
			t.Errorf("no %s among %v", name, seen)
		}
	}
	if seen["0x00000004"] != 27+3 {
		t.Errorf("%d screens and short messages in the capture, want 27 and 3", seen["0x00000004"])
	}
	if bad := dissect("_ws.malformed || smpp && _ws.expert.severity >= 8388608"); len(bad) > 0 {
		t.Errorf("malformed: %v", bad)
	}
}

// until polls for something that another process does.
func (r *rig) until(ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			r.t.Fatal("it did not come")
		}
	}
}

// A wrong configuration is told whole, and stops the daemon with exit code 2.
func TestCheckListsEveryProblem(t *testing.T) {
	cmd := exec.CommandContext(context.Background(), filepath.Join(bin, "ussdd"), "check")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("service: x\nnonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Env = []string{"USSDD_SMSCS=mtn,glo", "USSDD_SMSC_MTN_ADRR=127.0.0.1:2775", "USSDD_SMSC_GLO_ADDR=nonsense", "USSDD_SMSC_GLO_SYSTEM_ID=toolongforasystemid",
		"USSDD_STEP_BUDGET=soon", "USSDD_LOG_LEVEL=loud", "USSDD_MENUS=" + dir, "USSDD_DATABASE=oracle:x", "USSDD_SECRET_NOBODYS=1"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if err == nil || cmd.ProcessState.ExitCode() == 0 {
		t.Fatal("exit code 0")
	}
	for _, want := range []string{"USSDD_SMSC_MTN_ADDR: missing", "USSDD_SMSC_MTN_ADRR: no such variable; the nearest is USSDD_SMSC_MTN_ADDR",
		"USSDD_SMSC_GLO_ADDR: ", "USSDD_SMSC_GLO_SYSTEM_ID: 19 octets", "USSDD_STEP_BUDGET: \"soon\"", "USSDD_LOG_LEVEL: ", "bad.yaml:2", "USSDD_DATABASE: ",
		"USSDD_SECRET_NOBODYS: no vendor asks"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, stderr.String())
		}
	}
	cmd = exec.CommandContext(context.Background(), filepath.Join(bin, "ussdd"))
	cmd.Env = []string{"USSDD_STEP_BUDGET=soon"}
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("the daemon itself exits with %d", cmd.ProcessState.ExitCode())
	}
}
