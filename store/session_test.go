package store_test

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"ussdd/store"
)

// session is a live one after some steps, a second each.
func (f *fixture) session(id int64, steps int) store.Session {
	return store.Session{
		ID: id, SMSC: "mtn", MSISDN: amina, Dialogue: fmt.Sprint(id), Code: "*999#", Service: "airtime", Version: "0123456789ab",
		Screen: fmt.Sprint("screen", steps), State: fmt.Appendf(nil, `{"n":%d}`, steps), Steps: steps,
		StartedAt: f.now(), LastAt: f.now().Add(time.Duration(steps) * time.Second),
	}
}

func (f *fixture) step(session int64, n int) store.Step {
	return store.Step{Session: session, N: n, At: f.now().Add(time.Duration(n) * time.Second), Screen: fmt.Sprint("screen", n-1),
		Input: fmt.Sprint(n), Shown: fmt.Sprint("screen", n), TookMicros: 1500}
}

func (f *fixture) save(sessions []store.Session, steps []store.Step) {
	f.Helper()
	if err := f.db.SaveSessions(f.ctx, sessions, steps); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) wantSession(want store.Session, steps ...store.Step) {
	f.Helper()
	got, gotSteps, err := f.db.Session(f.ctx, want.ID)
	if err != nil {
		f.Fatal(err)
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		f.Errorf("session %+v\nwant    %+v", got, want)
	}
	if fmt.Sprint(gotSteps) != fmt.Sprint(steps) {
		f.Errorf("steps %v\nwant  %v", gotSteps, steps)
	}
}

func sessionsSaved(f *fixture) {
	s := f.session(1, 2)
	steps := []store.Step{f.step(1, 1), f.step(1, 2)}
	f.save(nil, nil)
	f.save([]store.Session{s}, steps)
	f.wantSession(s, steps...)
	f.save([]store.Session{s}, steps)
	f.wantSession(s, steps...)

	later := f.session(1, 3)
	later.Dialogue = "learned later"
	later.Service, later.Version, later.EndedAt, later.Reason = "data", "ba9876543210", f.now().Add(time.Minute), "completed"
	changed := f.step(1, 2)
	changed.Input = "another"
	f.save([]store.Session{later}, []store.Step{changed, f.step(1, 3)})
	f.wantSession(later, append(steps, f.step(1, 3))...)
	_, _, err := f.db.Session(f.ctx, 2)
	f.wantErr("no session", err, store.ErrNotFound)
}

func sessionsOlder(f *fixture) {
	ended := func(s store.Session) store.Session {
		s.EndedAt, s.Reason = f.now().Add(time.Minute), "timeout"
		return s
	}
	touched := f.session(4, 3)
	touched.LastAt, touched.Screen = f.now().Add(time.Hour), "elsewhere"
	for i, test := range []struct {
		name         string
		first, again store.Session
		wins         bool
	}{
		{"fewer steps", f.session(1, 3), f.session(1, 2), false},
		{"fewer steps, ended", f.session(2, 3), ended(f.session(2, 2)), false},
		{"more steps", f.session(3, 3), f.session(3, 4), true},
		{"as many steps", f.session(4, 3), touched, true},
		{"as many steps, ended", f.session(5, 3), ended(f.session(5, 3)), true},
		{"as many steps, not ended any more", ended(f.session(6, 3)), f.session(6, 3), false},
		{"more steps, ended before", ended(f.session(7, 3)), f.session(7, 4), true},
	} {
		want := test.first
		if test.wins {
			want = test.again
		}
		f.save([]store.Session{test.first}, nil)
		f.save([]store.Session{test.again}, nil)
		f.wantSession(want)
		// Both in one batch, under another id.
		test.first.ID += 100
		test.again.ID += 100
		want.ID += 100
		f.save([]store.Session{test.first, test.again}, nil)
		f.wantSession(want)
		if f.Failed() {
			f.Fatalf("case %d: %s", i, test.name)
		}
	}
}

// sessionsOneID: a session is not taken for an older record of another one that
// happens to have its id.
func sessionsOneID(f *fixture) {
	for i, change := range []func(*store.Session){
		func(s *store.Session) { s.MSISDN = bola },
		func(s *store.Session) { s.SMSC = "glo" },
		func(s *store.Session) { s.StartedAt = s.StartedAt.Add(time.Second) },
	} {
		first := f.session(int64(i+1), 2)
		second := f.session(first.ID, 3)
		second.EndedAt, second.Reason = f.now().Add(time.Minute), "completed"
		change(&second)
		f.save([]store.Session{first}, nil)
		f.save([]store.Session{second}, nil)
		f.wantSession(first)
		first.ID += 100
		second.ID += 100
		f.save([]store.Session{first, second}, nil)
		f.wantSession(first)
		// The first goes on as if there were no second.
		first.Steps++
		f.save([]store.Session{first}, nil)
		f.wantSession(first)
	}
}

func sessionsOdd(f *fixture) {
	long := strings.Repeat("ẹ", 1000)
	s := f.session(1, 1)
	s.Dialogue, s.Code, s.SMSC, s.Reason = "\xff"+long, long, long, long
	s.State = bytes.Repeat([]byte{0, 0xff}, 100_000)
	step := f.step(1, 1)
	step.Input, step.Shown = "'; DROP TABLE steps; --\x00"+long, long
	f.save([]store.Session{s}, []store.Step{step})
	found, err := f.db.FindSession(f.ctx, s.SMSC, s.MSISDN, s.Dialogue)
	if err != nil {
		f.Fatal(err)
	}
	if found.Dialogue != "\uFFFD"+strings.Repeat("ẹ", 127) || found.Code != strings.Repeat("ẹ", 64) || !bytes.Equal(found.State, s.State) {
		f.Errorf("found %.1000v", found)
	}
	_, steps, err := f.db.Session(f.ctx, 1)
	if err != nil || len(steps) != 1 || steps[0].Input != "'; DROP TABLE steps; --\x00"+strings.Repeat("ẹ", 255-24) {
		f.Errorf("steps %+v, %v", steps, err)
	}
	bare := store.Session{ID: 2}
	f.save([]store.Session{bare}, []store.Step{{Session: 99, N: 1}})
	if got, _, err := f.db.Session(f.ctx, 2); err != nil || len(got.State) != 0 || !got.StartedAt.IsZero() {
		f.Errorf("bare session %+v, %v", got, err)
	}
}

func sessionsLarge(f *fixture) {
	var sessions []store.Session
	var steps []store.Step
	for i := range 450 {
		sessions = append(sessions, f.session(int64(i+1), 3))
		for n := range 3 {
			steps = append(steps, f.step(int64(i+1), n+1))
		}
	}
	f.save(sessions, steps)
	for _, i := range []int{0, 199, 200, 449} {
		f.wantSession(sessions[i], steps[i*3:i*3+3]...)
	}
	var n int
	if err := f.raw().QueryRow("SELECT COUNT(*) FROM steps").Scan(&n); err != nil || n != len(steps) {
		f.Errorf("%d steps of %d, %v", n, len(steps), err)
	}
}

func sessionsFound(f *fixture) {
	old, ended, live, elsewhere := f.session(1, 1), f.session(3, 1), f.session(2, 1), f.session(4, 1)
	old.Dialogue, ended.Dialogue, live.Dialogue, elsewhere.Dialogue = "7", "7", "7", "7"
	ended.EndedAt = f.now()
	elsewhere.SMSC = "glo"
	elsewhere.StartedAt = f.now().Add(time.Hour)
	none := f.session(5, 1)
	none.Dialogue = ""
	f.save([]store.Session{old, ended, live, elsewhere, none}, nil)
	for _, test := range []struct {
		smsc, dialogue string
		want           int64
	}{{"mtn", "7", 2}, {"glo", "7", 4}, {"mtn", "", 5}} {
		s, err := f.db.FindSession(f.ctx, test.smsc, amina, test.dialogue)
		if err != nil || s.ID != test.want {
			f.Errorf("%+v: found %d, %v", test, s.ID, err)
		}
	}
	anyones := f.session(6, 1)
	anyones.MSISDN, anyones.Dialogue, anyones.SMSC = bola, "7", "airtel"
	gone := anyones
	gone.ID, gone.EndedAt = 7, f.now()
	f.save([]store.Session{anyones, gone}, nil)
	for _, test := range []struct {
		smsc, dialogue, want string
	}{{"mtn", "7", "2"}, {"airtel", "7", "6"}, {"airtel", "8", "0"}, {"any", "7", "0"}} {
		s, err := f.db.FindSession(f.ctx, test.smsc, "", test.dialogue)
		if fmt.Sprint(s.ID) != test.want || (err == nil) == (s.ID == 0) {
			f.Errorf("anyone's %+v: found %d, %v", test, s.ID, err)
		}
	}
	f.exec("DELETE FROM sessions WHERE smsc = 'airtel'")
	for _, key := range [][3]string{{"mtn", amina, "8"}, {"mtn", bola, "7"}, {"airtel", amina, "7"}} {
		_, err := f.db.FindSession(f.ctx, key[0], key[1], key[2])
		f.wantErr(fmt.Sprint(key), err, store.ErrNotFound)
		if strings.Contains(err.Error(), key[1]) {
			f.Errorf("the error shows the number: %v", err)
		}
	}
	for name, test := range map[string]struct {
		filter store.SessionFilter
		want   string
	}{
		"all":     {store.SessionFilter{}, "[5 4 3 2 1]"},
		"live":    {store.SessionFilter{Live: true}, "[5 4 2 1]"},
		"caller":  {store.SessionFilter{MSISDN: bola}, "[]"},
		"since":   {store.SessionFilter{Since: f.now().Add(time.Hour)}, "[4]"},
		"page":    {store.SessionFilter{Limit: 2}, "[5 4]"},
		"further": {store.SessionFilter{MSISDN: amina, Before: 4, Limit: 2, Live: true}, "[2 1]"},
	} {
		list, err := f.db.ListSessions(f.ctx, test.filter)
		if err != nil {
			f.Fatal(err)
		}
		var ids []int64
		for _, s := range list {
			ids = append(ids, s.ID)
		}
		if fmt.Sprint(ids) != test.want {
			f.Errorf("%s: %v, want %s", name, ids, test.want)
		}
	}
}

// sessionsEnded: what nothing was heard of for long ends, a part at a time.
func sessionsEnded(f *fixture) {
	live, ended := f.session(1, 3), f.session(2, 1)
	ended.EndedAt, ended.Reason = f.now().Add(time.Second), "completed"
	f.save([]store.Session{live, ended, f.session(3, 1), f.session(4, 2), f.session(5, 1)}, nil)
	before, at := f.now().Add(3*time.Second), f.now().Add(time.Hour)
	for _, want := range []int{2, 1, 0} {
		if n, err := f.db.EndSessions(f.ctx, before, at, "expired", 2); err != nil || n != want {
			f.Errorf("%d sessions ended, want %d: %v", n, want, err)
		}
	}
	f.wantSession(live)
	f.wantSession(ended)
	gone := f.session(4, 2)
	gone.State, gone.EndedAt, gone.Reason = []byte{}, at, "expired"
	f.wantSession(gone)
	f.save([]store.Session{f.session(4, 2)}, nil) // it was on its way
	f.wantSession(gone)
}

func servicesSeen(f *fixture) {
	s := store.Service{Name: "airtime", Version: "0123456789ab", Codes: "*999#,*998#", Source: []byte("service: airtime\n✓"), SeenAt: f.now()}
	if err := f.db.SaveService(f.ctx, s); err != nil {
		f.Fatal(err)
	}
	f.advance(time.Hour)
	again := s
	again.Source, again.Codes, again.SeenAt = []byte("other"), "*1#", f.now()
	times(4, func(int) {
		if err := f.db.SaveService(f.ctx, again); err != nil {
			f.Error(err)
		}
	})
	want := s
	want.SeenAt = f.now()
	got, err := f.db.Service(f.ctx, "airtime", "0123456789ab")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		f.Errorf("service %+v, %v\nwant %+v", got, err, want)
	}
	_, err = f.db.Service(f.ctx, "airtime", "x")
	f.wantErr("another version", err, store.ErrNotFound)
	f.wantErr("no name", f.db.SaveService(f.ctx, store.Service{Version: "1"}), store.ErrInvalid)
}
