package main

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"testing"
	"time"

	"ussdd/store"
)

// TestLists are those whose times are those of the test.
func TestLists(t *testing.T) {
	onEach(t, func(t *testing.T, engine string) {
		name := database(t, engine)
		seed(t, name)
		db, err := store.Open(t.Context(), name, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, _, err := db.Deposit(t.Context(), store.Deposit{Provider: "paystack", Reference: "r-1", Account: "99", Amount: 50_00}); err != nil {
			t.Fatal(err)
		}
		ctl := func(args ...string) string {
			t.Helper()
			var out bytes.Buffer
			if code := run(t.Context(), append(args, "-database", name), &out, &out); code != exitOK {
				t.Fatalf("%v: exit %d\n%s", args, code, &out)
			}
			return out.String()
		}
		wants := func(what, got string, want ...string) {
			t.Helper()
			for _, w := range want {
				if !strings.Contains(got, w) {
					t.Errorf("%s lacks %q:\n%s", what, w, got)
				}
			}
		}
		login := loginOf(os.Geteuid(), os.Getenv("SUDO_USER"))
		wants("deposits", ctl("deposit", "list", "-suspense"), "paystack  r-1        99       N50")
		ctl("deposit", "assign", "-operator", "ngozi", "-reason", "called in", "paystack", "r-1", bola)
		wants("deposits", ctl("deposit", "list", "-json"), `"msisdn": "234805***4567"`, `"amount_kobo": 5000`)
		wants("audit", ctl("audit", "list"), fmt.Sprintf("ngozi     %-5s  deposit assign 234805***4567", login), "paystack:r-1", "called in")
		wants("audit", ctl("audit", "list", "-json", "-subject", "paystack:r-1"), `"operator": "ngozi"`)
		wants("entries", ctl("ledger", "list", "-msisdn", bola), "assign  paystack:r-1  suspense:deposits     -N50", "wallet:234805***4567  N50")
		wants("entries", ctl("ledger", "list", "-json", "-full", "-reference", "manual:slip-1"), `"wallet:`+amina+`": 100050`)
		ctl("wallet", "credit", "-operator", "ngozi", "-reference", "slip-7", bola, "500")
		wants("audit", ctl("audit", "list", "-subject", "manual:slip-7"), "wallet credit 50000 kobo to 234805***4567  manual:slip-7  slip-7")
		wants("audit", ctl("audit", "list", "-json", "-full", "-subject", "manual:slip-7"), `"action": "wallet credit 50000 kobo to `+bola+`"`)
		ref := store.Ref(second)
		ctl("purchase", "resolve", "-operator", "ngozi", "-reason", "statement", "-to", "failed", ref)
		wants("messages", ctl("purchase", "show", ref), "MESSAGE  SENT", "failed   not yet")
		due, err := db.DueMessages(t.Context(), time.Now(), time.Now(), 10)
		if err != nil || len(due) != 1 {
			t.Fatalf("messages %+v, %v", due, err)
		}
		if err := db.MessageSent(t.Context(), due[0].ID, "glo", "7F3A"); err != nil {
			t.Fatal(err)
		}
		wants("messages", ctl("purchase", "show", "-json", ref), `"kind": "failed"`, `"smsc": "glo"`, `"message_id": "7F3A"`, `"tries": 1`)
		t.Setenv("USSDD_SMS_VIA", "-")
		ctl("purchase", "resolve", "-operator", "ngozi", "-reason", "undone", "-to", "reversed", store.Ref(first))
		if got := ctl("purchase", "show", store.Ref(first)); strings.Contains(got, "MESSAGE") {
			t.Errorf("told although there are no messages:\n%s", got)
		}
		ctl("audit", "two-persons", "-operator", "ngozi", "-reason", "policy", "on")
		var asked bytes.Buffer
		if code := run(t.Context(), []string{"wallet", "credit", "-operator", "ngozi", "-reference", "slip-8", "-database", name, bola, "5"}, &asked, &asked); code != exitFailed {
			t.Errorf("asked: exit %d\n%s", code, &asked)
		}
		wants("requests", ctl("audit", "requests"), "wallet credit 500 kobo to 234805***4567  manual:slip-8  slip-8")
		wants("requests", ctl("audit", "requests", "-json"), `"operator": "ngozi"`, `"asks": "wallet credit 500 kobo to 234805***4567"`)
		if got := ctl("audit", "list", "-subject", "nothing"); strings.Count(got, "\n") != 1 {
			t.Errorf("audit of nothing:\n%s", got)
		}
	})
}

// TestLogin: what a user sets in his own environment makes him nobody else.
func TestLogin(t *testing.T) {
	me, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		t.Skip("the user who runs this has no name")
	}
	for _, test := range []struct {
		uid        int
		sudo, want string
	}{{0, "amina", "amina"}, {0, "", "root"}, {os.Getuid(), "", me.Username}, {4000000001, "amina", "uid 4000000001"}} {
		t.Setenv("USER", "tunde")
		if got := loginOf(test.uid, test.sudo); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}
