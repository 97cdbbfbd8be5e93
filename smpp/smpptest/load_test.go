package smpptest_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"

	"ussdd/smpp/smpptest"
)

// newLoad starts a load source that is closed when the test ends.
func newLoad(t *testing.T, cfg smpptest.LoadConfig) *smpptest.Load {
	t.Helper()
	if cfg.Walk == nil {
		cfg.Walk = []smpptest.LoadStep{{Send: "*1#", See: "Menu"}, {Send: "1", See: "More"}, {Send: "0", See: "Bye"}}
	}
	load, err := smpptest.StartLoad(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(load.Close)
	return load
}

// loadESME is a bound ESME that shows the screens of newLoad's walk.
type loadESME struct {
	*esme
	inputs []input
}

func bindTo(t *testing.T, load *smpptest.Load, as pdu.Body) *loadESME {
	t.Helper()
	nc, err := net.Dial("tcp", load.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	e := &esme{t: t, nc: nc}
	if status := e.bind(as, "esme", "secret"); status != 0 {
		t.Fatalf("bind: %v", status)
	}
	return &loadESME{esme: e}
}

// serve answers inputs until it is unbound; special takes those that it wants
// and says so. What goes wrong ends it, for the Load to notice.
func (e *loadESME) serve(special func(n int, in input) bool) {
	for {
		body, err := pdu.Decode(e.nc)
		if err != nil {
			return
		}
		switch h := body.Header(); h.ID {
		case pdu.DeliverSMID:
			in := inputOf(body)
			e.inputs = append(e.inputs, in)
			if special == nil || !special(len(e.inputs)-1, in) {
				e.ack(in, 0)
				e.show(in)
			}
		case pdu.UnbindID:
			resp := pdu.NewUnbindResp()
			resp.Header().Seq = h.Seq
			e.write(resp)
		}
	}
}

func (e *loadESME) show(in input) {
	e.request(answer(in, map[string]string{"*1#": "Menu", "1": "More", "0": "Bye"}[in.text], in.text == "0"))
}

// runLoad runs a Load with one ESME that behaves as special says.
func runLoad(t *testing.T, cfg smpptest.LoadConfig, special func(e *loadESME, n int, in input) bool) (*smpptest.LoadReport, *loadESME, error) {
	t.Helper()
	load := newLoad(t, cfg)
	e := bindTo(t, load, pdu.NewBindTransceiver())
	served := make(chan struct{})
	go func() {
		defer close(served)
		e.serve(func(n int, in input) bool { return special != nil && special(e, n, in) })
	}()
	report, err := load.Run(within(t))
	load.Close()
	<-served
	return report, e, err
}

func TestLoadClosedLoop(t *testing.T) {
	var measuring []bool
	report, e, err := runLoad(t, smpptest.LoadConfig{
		Dialogues: 20, Steps: 600, Measuring: func(on bool) { measuring = append(measuring, on) },
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Steps != 600 || report.Errors() != 0 || len(report.Problems) != 0 {
		t.Errorf("report:\n%v", report)
	}
	// Each of the twenty may be inside the walk when the measuring begins, and when it ends.
	if report.Ended < 600/3-20 || report.Ended > 600/3+20 || report.Begun < report.Ended-20 || report.Begun > report.Ended+20 {
		t.Errorf("%d dialogues begun, %d ended", report.Begun, report.Ended)
	}
	if report.P50 <= 0 || report.P50 > report.P95 || report.P95 > report.P99 || report.P99 > report.Max {
		t.Errorf("percentiles %v, %v, %v, maximum %v", report.P50, report.P95, report.P99, report.Max)
	}
	if report.Seconds <= 0 || report.StepsPerSecond != 600/report.Seconds {
		t.Errorf("%v steps/s in %v s", report.StepsPerSecond, report.Seconds)
	}
	if len(measuring) != 2 || !measuring[0] || measuring[1] {
		t.Errorf("Measuring was called with %v", measuring)
	}

	// What one subscriber did, as the ESME has read it.
	var ops, texts []string
	var sessions [][]byte
	for _, in := range e.inputs {
		if in.msisdn != "2348030000007" {
			continue
		}
		if in.serviceType != "USSD" || in.ton != 1 || in.npi != 1 || in.service != "*1#" {
			t.Fatalf("input %+v", in)
		}
		ops, texts, sessions = append(ops, string(in.op)), append(texts, in.text), append(sessions, in.session)
	}
	if len(texts) < 6 {
		t.Fatalf("one subscriber only typed %q", texts)
	}
	if got := strings.Join(texts[:6], " "); got != "*1# 1 0 *1# 1 0" {
		t.Errorf("typed %s", got)
	}
	if got := strings.Join(ops[:6], ""); got != "\x01\x12\x12\x01\x12\x12" {
		t.Errorf("operations %x", got)
	}
	for i, want := range []string{"\x00\x00", "\x00\x02", "\x00\x04", "\x01\x00", "\x01\x02", "\x01\x04"} {
		if string(sessions[i]) != want {
			t.Errorf("its_session_info %d is %x, want %x", i, sessions[i], want)
		}
	}
}

func TestLoadOnTwoBinds(t *testing.T) {
	load := newLoad(t, smpptest.LoadConfig{Dialogues: 10, Binds: 2, Steps: 300})
	served := make(chan *loadESME, 2)
	for range 2 {
		e := bindTo(t, load, pdu.NewBindTransceiver())
		go func() {
			e.serve(nil)
			served <- e
		}()
	}
	report, err := load.Run(within(t))
	if err != nil || report.Steps != 300 || report.Errors() != 0 || report.Binds != 2 {
		t.Errorf("%v\n%v", err, report)
	}
	load.Close()
	for range 2 {
		if e := <-served; len(e.inputs) == 0 {
			t.Error("a bind was left idle")
		}
	}
}

func TestLoadOnAReceiverAndATransmitter(t *testing.T) {
	load := newLoad(t, smpptest.LoadConfig{Dialogues: 2, Steps: 30})
	tx, rx := bindTo(t, load, pdu.NewBindTransmitter()), bindTo(t, load, pdu.NewBindReceiver())
	var served sync.WaitGroup
	served.Go(func() { tx.serve(nil) })
	served.Go(func() {
		rx.serve(func(_ int, in input) bool {
			rx.ack(in, 0)
			tx.show(in)
			return true
		})
	})
	report, err := load.Run(within(t))
	if err != nil || report.Steps != 30 || report.Errors() != 0 || report.Binds != 1 {
		t.Errorf("%v\n%v", err, report)
	}
	load.Close()
	served.Wait()
	if len(tx.inputs) > 0 {
		t.Error("the transmitter got an input")
	}
}

func TestLoadCountsErrors(t *testing.T) {
	for name, test := range map[string]struct {
		special func(e *loadESME, n int, in input) bool
		count   func(*smpptest.LoadReport) int
		problem string
	}{
		"a dialogue ended too early": {func(e *loadESME, n int, in input) bool {
			if n == 1 {
				e.ack(in, 0)
				e.request(answer(in, "More", true))
			}
			return n == 1
		}, func(r *smpptest.LoadReport) int { return r.Wrong }, `after "1": operation 11`},
		"another text": {func(e *loadESME, n int, in input) bool {
			if n == 0 {
				e.ack(in, 0)
				e.request(answer(in, "Hello", false))
			}
			return n == 0
		}, func(r *smpptest.LoadReport) int { return r.Wrong }, `want operation 02, end 0, "Menu"`},
		"another session": {func(e *loadESME, n int, in input) bool {
			if n == 0 {
				wrong := in
				wrong.session = []byte{0x77, 0}
				e.request(answer(wrong, "Menu", false))
			}
			return false
		}, func(r *smpptest.LoadReport) int { return r.Wrong }, "nobody waits for: session 7702, ours is 00"},
		"refused": {func(e *loadESME, n int, in input) bool {
			if n == 0 {
				e.ack(in, 0x64)
			}
			return n == 0
		}, func(r *smpptest.LoadReport) int { return r.Refused }, `"*1#" refused: 0x64`},
		"never answered": {func(e *loadESME, n int, in input) bool { return n == 0 },
			func(r *smpptest.LoadReport) int { return r.TimedOut }, `no screen after "*1#" within`},
	} {
		t.Run(name, func(t *testing.T) {
			report, e, err := runLoad(t, smpptest.LoadConfig{Dialogues: 1, Steps: 12, Timeout: time.Second}, test.special)
			if err != nil {
				t.Fatal(err)
			}
			if test.count(report) != 1 || report.Errors() != 1 || report.Steps != 12 {
				t.Errorf("report:\n%v", report)
			}
			if got := strings.Join(report.Problems, "; "); !strings.Contains(got, test.problem) {
				t.Errorf("problems %q, want %q", got, test.problem)
			}
			// The subscriber dialled anew, in a session of its own.
			if name != "another session" && (e.inputs[0].session[0] != 0 || e.inputs[len(e.inputs)-1].session[0] == 0) {
				t.Errorf("sessions from %x to %x", e.inputs[0].session, e.inputs[len(e.inputs)-1].session)
			}
		})
	}
}

func TestLoadLosesItsESME(t *testing.T) {
	report, _, err := runLoad(t, smpptest.LoadConfig{Dialogues: 3, Steps: 100}, func(e *loadESME, n int, in input) bool {
		if n == 10 {
			e.nc.Close()
		}
		return n >= 10
	})
	if err == nil || report.Lost != 3 {
		t.Errorf("%v; %d lost, want 3", err, report.Lost)
	}
}

// In an open loop what is late makes everything behind it late, although the
// inputs behind it are not even written before.
func TestLoadOpenLoopCountsFromWhenInputsWereDue(t *testing.T) {
	const hold = 200 * time.Millisecond
	report, _, err := runLoad(t, smpptest.LoadConfig{Dialogues: 1, Rate: 100, Steps: 6}, func(e *loadESME, n int, in input) bool {
		if n == 0 {
			<-time.After(hold)
		}
		return false
	})
	if err != nil || report.Errors() != 0 {
		t.Fatalf("%v\n%v", err, report)
	}
	// The sixth was due 50 ms after the first, and none came before the first.
	if least := hold - 60*time.Millisecond; report.P50 < float64(least.Microseconds()) || report.Max < float64(hold.Microseconds()) {
		t.Errorf("p50 %v µs, maximum %v µs, where the first screen took %v", report.P50, report.Max, hold)
	}
}

func TestLoadPaces(t *testing.T) {
	for name, cfg := range map[string]smpptest.LoadConfig{
		"open loop": {Dialogues: 5, Rate: 200, Steps: 30},
		"thinking":  {Dialogues: 5, Think: 25 * time.Millisecond, Steps: 30},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now() // what the report measures begins when the source comes to it
			report, _, err := runLoad(t, cfg, nil)
			if err != nil || report.Errors() != 0 || report.Steps != 30 {
				t.Fatalf("%v\n%v", err, report)
			}
			// 30 steps at 200 a second; the first comes at once.
			if took := time.Since(began); took < 145*time.Millisecond {
				t.Errorf("30 steps took only %v", took)
			}
		})
	}
}

func TestLoadSpeaksSMPP(t *testing.T) {
	load := newLoad(t, smpptest.LoadConfig{Dialogues: 1, Steps: 1, Account: smpptest.Account{SystemID: "esme", Password: "secret"}})
	nc, err := net.Dial("tcp", load.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	e := &esme{t: t, nc: nc}
	if status := e.bind(pdu.NewBindTransceiver(), "esme", "guess"); status != 0x0E {
		t.Errorf("a wrong password: %v", status)
	}
	if status := e.bind(pdu.NewBindTransceiver(), "esme", "secret"); status != 0 {
		t.Errorf("bind: %v", status)
	}
	sequence := e.request(pdu.NewEnquireLink())
	if h := e.expect(pdu.EnquireLinkRespID).Header(); h.Seq != sequence || h.Status != 0 {
		t.Errorf("enquire_link_resp %+v", h)
	}
	sequence = e.request(pdu.NewQuerySM())
	if h := e.expect(pdu.GenericNACKID).Header(); h.Seq != sequence || h.Status != 0x03 {
		t.Errorf("generic_nack %+v", h)
	}
	sequence = e.request(pdu.NewUnbind())
	if h := e.expect(pdu.UnbindRespID).Header(); h.Seq != sequence || h.Status != 0 {
		t.Errorf("unbind_resp %+v", h)
	}
	e.expectEnd()
}

func TestLoadWaitsForItsBinds(t *testing.T) {
	load := newLoad(t, smpptest.LoadConfig{Dialogues: 1, Binds: 2, Steps: 1})
	bindTo(t, load, pdu.NewBindTransceiver())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if report, err := load.Run(ctx); !errors.Is(err, context.DeadlineExceeded) || report.Steps != 0 {
		t.Errorf("%v, %d steps", err, report.Steps)
	}
}

func TestLoadConfigMistakes(t *testing.T) {
	for problem, cfg := range map[string]smpptest.LoadConfig{
		"dialogues must be":    {Steps: 1},
		"binds must be":        {Dialogues: 1, Steps: 1, Binds: -1},
		"no step":              {Dialogues: 1, Steps: 1, Walk: []smpptest.LoadStep{}},
		"must not be negative": {Dialogues: 1, Steps: 1, Think: -1},
		"rate must be":         {Dialogues: 1, Steps: 1, Rate: -1},
		"exclude each other":   {Dialogues: 1, Steps: 1, Rate: 1, Think: 1},
		"never end":            {Dialogues: 1},
		"step 2 of the walk":   {Dialogues: 1, Steps: 1, Walk: []smpptest.LoadStep{{Send: "*1#"}, {Send: "one"}}},
		"over the limit":       {Dialogues: 1, Steps: 1, Walk: []smpptest.LoadStep{{Send: strings.Repeat("1", 21)}}},
	} {
		load, err := smpptest.StartLoad(cfg)
		if err == nil {
			load.Close()
		}
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%+v: %v, want %q", cfg, err, problem)
		}
	}
}
