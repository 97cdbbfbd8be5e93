package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ussdd/smpp/smpptest"
)

func TestLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "load.json")
	s := start(t, "-load", "dialogues=3, steps=30, warmup=0s, walk=*1#", "-load-json", name, "-account", "esme:secret")
	_, left := dialESME(t, s.addr(), "esme", "secret")
	out, _ := s.exit(exitOK)
	if !strings.Contains(out, "3 dialogues on 1 binds") || !strings.Contains(out, "errors: 0 wrong, 0 refused, 0 timed out, 0 lost\n") {
		t.Errorf("got\n%s", out)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var report smpptest.LoadReport
	if err := json.Unmarshal(text, &report); err != nil || report.Steps != 30 || report.Dialogues != 3 || report.P99 <= 0 {
		t.Errorf("%v in\n%s", err, text)
	}
	if unbound := <-left; !unbound {
		t.Error("the ESME was not unbound")
	}
}

func TestLoadTellsOfErrors(t *testing.T) {
	// The second screen never comes: the ESME ends every dialogue at the first.
	s := start(t, "-load", "duration=300ms,warmup=0s,walk=*1#/1")
	dialESME(t, s.addr(), "esme", "secret")
	if out, _ := s.exit(exitFailed); !strings.Contains(out, `after "*1#": operation 11`) {
		t.Errorf("got\n%s", out)
	}
}

func TestLoadMistakes(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-load", "dialogues=many,speed=1,think=fast"}, `-load: "dialogues=many"`},
		{[]string{"-load", "dialogues=many,speed=1,think=fast"}, `-load: "speed=1": not one of`},
		{[]string{"-load", "dialogues=many,speed=1,think=fast"}, `-load: "think=fast"`},
		{[]string{"-load", "dialogues=0"}, "-load: dialogues must be from 1"},
		{[]string{"-load", "dialogues=1", "-phone", "-v"}, "-phone means nothing with -load"},
		{[]string{"-load", "dialogues=1", "-account", "a:b", "-account", "c:d"}, "one -account at most"},
		{[]string{"-load-json", "x"}, "-load-json needs -load"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), test.args, nil, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%q: exit status %d, want %q in\n%s", test.args, code, test.want, stderr.String())
		}
	}
}
