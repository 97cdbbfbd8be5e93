package menus_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ussdd/menus"
)

// The screens as subscribers must see them, word for word.
const (
	mainMenu = `Welcome to Airtime Purchase

1. Buy Airtime
2. Check Balance
3. Transaction History
4. Help
0. Exit`

	networkMenu = `Select Network:

1. MTN
2. Airtel
3. Glo
4. 9mobile
0. Back to Main Menu`

	phoneScreen = `Enter phone number:

Format: 08012345678

1. My number
0. Back`

	amountMenu = `Select Amount:

1. N50
2. N100
3. N200
4. N500
5. N1000
6. Custom Amount
0. Back`

	customScreen = `Enter amount (N50 - N50,000):

0. Back`

	confirmMenu = `Confirm Purchase:

Network: MTN
Phone: 08012345678
Amount: N100

1. Confirm
2. Cancel
0. Back`

	processingMenu = `Processing your request...

Please wait...

1. Check status`

	openMenu = `N100 for 08012345678 is still being processed (TXN-0123456789ABC).

1. Check status
2. Buy again
0. Cancel`

	success = `OK Airtime Purchase Successful!

Network: MTN
Phone: 08012345678
Amount: N100
Transaction ID: TXN-0123456789ABC

Thank you for using our service!
<completed>`

	wrongNumber  = "Error: Please enter a valid 11-digit phone number."
	insufficient = "Error: Insufficient balance. Please recharge your wallet."
	unavailable  = "Error: Service temporarily unavailable. Please try again."
	timedOut     = "Error: Request timeout. Please try again later."
	wrongChoice  = "Error: Please choose one of the options below."
	wrongAmount  = "Error: Please enter a whole amount from N50 to N50,000."
	tooMany      = "Sorry, too many wrong answers. Please dial *999# to start again.\n<too_many_errors>"
	goodbye      = "Thank you for using our service!\n<completed>"

	bought = "<purchase 1: amount=10000 network=mtn to=2348012345678>"
	txn    = "TXN-0123456789ABC"
)

func TestAirtimePaths(t *testing.T) {
	type line struct {
		in  any // what is typed, or the result of the effect
		see string
	}
	type result struct {
		outcome string
		vars    []any
	}
	toConfirm := []line{{"1", networkMenu}, {"1", phoneScreen}, {"08012345678", amountMenu}, {"2", confirmMenu}}
	after := func(first []line, more ...line) []line { return append(append([]line{}, first...), more...) }
	toBuy := after(toConfirm, line{"1", bought})
	gone := "\n<completed>"
	at := time.Date(2026, 11, 23, 13, 5, 0, 0, time.UTC)
	withTxn := []any{"txn", menus.Text(txn)}
	named := []any{"network_name", menus.Text("MTN")}
	beyond := []any{"left", menus.Money(250_00), "until", menus.Time(at)}
	pending := after(toBuy, line{result{"pending", withTxn}, processingMenu}, line{"1", "<status 2: txn=" + txn + ">"})
	open := after(toBuy, line{result{"pending/open", withTxn}, openMenu})
	limit := func(reason, see string) []line {
		return after(toBuy, line{result{"declined/" + reason, beyond}, see + gone})
	}

	for name, lines := range map[string][]line{
		"delivered":              after(toBuy, line{result{"delivered", withTxn}, success}),
		"delivered later":        after(pending, line{result{"pending", nil}, processingMenu}, line{"1", "<status 3: txn=" + txn + ">"}, line{result{"delivered", named}, success}),
		"refunded later":         after(pending, line{result{"declined", nil}, timedOut + gone}),
		"status not known":       after(pending, line{result{"failed", nil}, processingMenu}),
		"impatient":              after(toBuy, line{result{"pending", withTxn}, processingMenu}, line{"2", wrongChoice + "\n\n" + processingMenu}),
		"insufficient":           after(toBuy, line{result{"insufficient", nil}, insufficient + gone}),
		"unavailable":            after(toBuy, line{result{"unavailable", nil}, unavailable + gone}),
		"declined":               after(toBuy, line{result{"declined", nil}, unavailable + gone}),
		"declined, other reason": after(toBuy, line{result{"declined/odd", nil}, unavailable + gone}),
		"number refused":         after(toBuy, line{result{"declined/bad_number", nil}, wrongNumber + gone}),
		"outside limits":         after(toBuy, line{result{"declined/limit", nil}, "Error: N100 is outside the limits of MTN. You have not been charged." + gone}),
		"open, and looked at": after(open, line{"1", "<status 2: txn=" + txn + ">"}, line{result{"pending", nil}, processingMenu},
			line{"1", "<status 3: txn=" + txn + ">"}, line{result{"delivered", []any{"network_name", menus.Text("Airtel")}}, strings.Replace(success, "MTN", "Airtel", 1)}),
		"open, and bought again": after(open, line{"2", "<purchase_again 2: amount=10000 network=mtn to=2348012345678>"},
			line{result{"delivered", []any{"txn", menus.Text("TXN-ZZZZZZZZZZZZZ")}}, strings.Replace(success, txn, "TXN-ZZZZZZZZZZZZZ", 1)}),
		"open, and left":   after(open, line{"3", wrongChoice + "\n\n" + openMenu}, line{"0", "Nothing more was bought. Your purchase " + txn + " goes on." + gone}),
		"too much":         limit("limit_purchase", "Error: you may buy up to N250 at once. You have not been charged for N100."),
		"too much of it":   limit("limit_network_purchase", "Error: you may buy up to N250 of MTN at once. You have not been charged for N100."),
		"too much today":   limit("limit_day", "Error: you may buy N250 more today. You have not been charged for N100."),
		"enough of it":     limit("limit_network_day", "Error: you may buy N250 more of MTN today. You have not been charged for N100."),
		"enough received":  limit("limit_recipient_day", "Error: 08012345678 may get N250 more today. You have not been charged for N100."),
		"too often":        limit("limit_velocity", "Error: too many purchases in a short time. You may buy again from 23/11 14:05. You have not been charged."),
		"not sent":         after(toBuy, line{result{"not_sent", nil}, timedOut + gone}),
		"cancelled":        after(toConfirm, line{"2", "Purchase cancelled. You have not been charged." + gone}),
		"exit":             {{" 0 ", goodbye}},
		"odd transaction":  after(toBuy, line{result{"pending", []any{"txn", menus.Money(5)}}, processingMenu}, line{"1", unavailable + "\n<error>"}),
		"lost transaction": after(toBuy, line{result{"delivered", nil}, unavailable + "\n<error>"}),
		"balance": {
			{"2", "<balance 1: >"},
			{result{"ok", []any{"balance", menus.Money(123_456_78)}}, "Wallet Balance: N123,456.78\n\n0. Back to Main Menu"},
			{"0", mainMenu},
		},
		"balance unavailable": {{"2", "<balance 1: >"}, {result{"unavailable", nil}, unavailable + gone}},
		"history unavailable": {{"3", "<history 1: >"}, {result{"unavailable", nil}, unavailable + gone}},
		"empty history": {
			{"3", "<history 1: >"},
			{result{"ok", nil}, "Transaction History:\n\nNo transactions yet.\n\n0. Back to Main Menu"},
			{"9", wrongChoice + "\n\nTransaction History:\n\nNo transactions yet.\n\n0. Back to Main Menu"},
			{"0", mainMenu},
		},
		"help": {
			{"4", "Choose Buy Airtime, a network, a number and an amount, then confirm. Your wallet pays.\n\n0. Back to Main Menu"},
			{"0", mainMenu},
		},
		"custom amount": {
			{"1", networkMenu}, {"4", phoneScreen}, {"08012345678", amountMenu}, {"6", customScreen},
			{"49", wrongAmount + "\n\n" + customScreen},
			{"2500", strings.NewReplacer("MTN", "9mobile", "N100", "N2,500").Replace(confirmMenu)},
			{"1", "<purchase 1: amount=250000 network=9mobile to=2348012345678>"},
		},
		"own number": {
			{"1", networkMenu}, {"2", phoneScreen}, {"1", amountMenu},
			{"5", strings.NewReplacer("MTN", "Airtel", "08012345678", "08099999999", "N100", "N1,000").Replace(confirmMenu)},
			{"1", "<purchase 1: amount=100000 network=airtel to=" + me + ">"},
		},
		"back all the way": after(toConfirm,
			line{"0", amountMenu}, line{"0", phoneScreen}, line{"0", networkMenu}, line{"0", mainMenu}, line{"0", goodbye}),
		"back from custom": {
			{"1", networkMenu}, {"3", phoneScreen}, {"08012345678", amountMenu}, {"6", customScreen}, {"0", amountMenu},
			{"6", customScreen}, {"500", strings.NewReplacer("MTN", "Glo", "N100", "N500").Replace(confirmMenu)},
			{"0", customScreen}, {"0", amountMenu},
		},
		"back and another way": after(toConfirm,
			line{"0", amountMenu}, line{"0", phoneScreen}, line{"0", networkMenu}, line{"2", phoneScreen}, line{"1", amountMenu},
			line{"1", strings.NewReplacer("MTN", "Airtel", "08012345678", "08099999999", "N100", "N50").Replace(confirmMenu)}),
		"wrong choice": {
			{"7", wrongChoice + "\n\n" + mainMenu},
			{"", wrongChoice + "\n\n" + mainMenu},
			{"1", networkMenu},
			{"7", wrongChoice + "\n\n" + networkMenu},
			{"11", wrongChoice + "\n\n" + networkMenu},
			{"one", tooMany},
		},
		"wrong number": {
			{"1", networkMenu}, {"1", phoneScreen},
			{"0801234567", wrongNumber + "\n\n" + phoneScreen},
			{"2", wrongNumber + "\n\n" + phoneScreen},
			{"08012345678", amountMenu},
			{"0", phoneScreen},
			{"0801234567", wrongNumber + "\n\n" + phoneScreen},
			{"0801234567", wrongNumber + "\n\n" + phoneScreen},
			{"0801234567", tooMany},
		},
		"wrong amount": {
			{"1", networkMenu}, {"1", phoneScreen}, {"08012345678", amountMenu}, {"6", customScreen},
			{"50,001", wrongAmount + "\n\n" + customScreen}, {"99.50", wrongAmount + "\n\n" + customScreen}, {"N", tooMany},
		},
	} {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/stored=%t", name, stored), func(t *testing.T) {
				s := dial(t, airtime(t))
				s.stored = stored
				s.sees(seen(s.turn), mainMenu)
				for _, line := range lines {
					switch in := line.in.(type) {
					case string:
						s.sees(s.types(in), line.see)
					case result:
						s.sees(s.result(in.outcome, in.vars...), line.see)
					}
				}
			})
		}
	}
}

// The check mark is the author's, and stays one where the medium has it.
func TestAirtimeFoldsForTheMedium(t *testing.T) {
	s := dial(t, airtime(t))
	s.types("1", "1", "08012345678", "2", "1")
	s.env.Medium = unicode{160}
	s.sees(s.result("delivered", "txn", menus.Text(txn)), strings.Replace(success, "OK ", "✓ ", 1))
}

// Without a filter a number is shown as the program has it.
func TestNumberWithoutFilter(t *testing.T) {
	source := strings.ReplaceAll(string(airtime(t).Source()), "Phone: {phone|local}", "Phone: {phone}")
	s := dial(t, compile(t, source))
	s.sees(s.types("1", "1", "08012345678", "2"), strings.Replace(confirmMenu, "08012345678", "2348012345678", 1))
}

func TestAirtimeHistoryPages(t *testing.T) {
	at := time.Date(2026, 11, 23, 13, 5, 0, 0, time.UTC)
	var rows []map[string]menus.Value
	for i := range 5 {
		rows = append(rows, map[string]menus.Value{
			"at":      menus.Time(at.Add(time.Duration(-i) * time.Hour)),
			"network": menus.Text("9mobile"),
			"phone":   menus.MSISDN(fmt.Sprintf("23480123456%02d", i)),
			"amount":  menus.Money(int64(i+1) * 1000_00),
			"state":   menus.Text("delivered"),
		})
	}
	s := dial(t, airtime(t))
	s.stored = true
	s.types("3")
	first := s.step(menus.Result("ok", "", nil, map[string][]map[string]menus.Value{"purchases": rows}))
	s.sees(first, `Transaction History:

23/11 14:05 9mobile 08012345600 N1,000 delivered
23/11 13:05 9mobile 08012345601 N2,000 delivered

9. More
0. Back to Main Menu`)
	second := `Transaction History:

23/11 12:05 9mobile 08012345602 N3,000 delivered
23/11 11:05 9mobile 08012345603 N4,000 delivered

9. More
0. Back to Main Menu`
	s.sees(s.types("9"), second)
	// The error line takes room from the rows; More goes on from what was shown.
	s.sees(s.types("8"), wrongChoice+`

Transaction History:

23/11 12:05 9mobile 08012345602 N3,000 delivered

9. More
0. Back to Main Menu`)
	s.sees(s.types("9"), `Transaction History:

23/11 11:05 9mobile 08012345603 N4,000 delivered
23/11 10:05 9mobile 08012345604 N5,000 delivered

0. Back to Main Menu`)
	// On the last page More is a wrong answer; the one on the page before is forgotten.
	for _, wrong := range []string{"9", "7"} {
		if s.types(wrong); s.turn.End || !strings.HasPrefix(s.turn.Text, wrongChoice) {
			t.Errorf("%s on the last page shows\n%s", wrong, s.turn.Text)
		}
	}
	s.sees(s.types("0"), mainMenu)
}

func TestOneNumberInAllSpellings(t *testing.T) {
	service := airtime(t)
	ask := func(spelling string) *subscriber {
		s := dial(t, service)
		s.types("1", "1", spelling)
		return s
	}
	for _, spelling := range []string{
		"08012345678", "8012345678", "2348012345678", "+2348012345678", "23408012345678", "+23408012345678",
		"002348012345678", "0092348012345678", "0801 234 5678", "0801-234-5678", "+234 (0) 801 234.5678", " 08012345678 ",
	} {
		s := ask(spelling)
		s.sees(seen(s.turn), amountMenu)
		s.types("1")
		s.sees(s.types("1"), "<purchase 1: amount=5000 network=mtn to=2348012345678>")
	}
	for _, prefix := range []string{"070", "080", "081", "090", "091"} {
		if s := ask(prefix + "22345678"); s.turn.Text != amountMenu {
			t.Errorf("%s… is refused", prefix)
		}
	}
	for _, wrong := range []string{
		"", "1234", "0801234567", "080123456789", "801234567", "06012345678", "09212345678", "08001234567", "0800 123 4567",
		"+08012345678", "+8012345678", "+44 7911 123456", "2358012345678", "0801234567a", "08012345678#", "8+012345678",
		"++2348012345678", "234+8012345678",
		"234234801234567", "0023408012345", "٠٨٠١٢٣٤٥٦٧٨", strings.Repeat("0", 40),
	} {
		if s := ask(wrong); s.turn.Text != wrongNumber+"\n\n"+phoneScreen {
			t.Errorf("%q shows\n%s", wrong, s.turn.Text)
		}
	}
}

// The caller's own number is held to the rule for typed ones: a link may give a
// foreign number, or a hash.
func TestOwnNumberMustBeANumber(t *testing.T) {
	for _, caller := range []string{"447911123456", "a81bc81b", ""} {
		s := dial(t, airtime(t))
		s.env.Caller = caller
		s.sees(s.types("1", "1", "1"), wrongNumber+"\n\n"+phoneScreen)
	}
}

func TestAmountsAtTheLimits(t *testing.T) {
	service := airtime(t)
	ask := func(amount string) string {
		s := dial(t, service)
		return s.types("1", "1", "08012345678", "6", amount)
	}
	for amount, shown := range map[string]string{
		"50": "N50", "N50": "N50", "n51": "N51", "₦999": "N999", "1000": "N1,000", "1,000": "N1,000", "N 1,000.00": "N1,000", "50000": "N50,000",
		"50,000": "N50,000", "00050": "N50",
	} {
		if got, want := ask(amount), strings.Replace(confirmMenu, "N100", shown, 1); got != want {
			t.Errorf("%q shows\n%s\nwant\n%s", amount, got, want)
		}
	}
	for _, wrong := range []string{
		"", "0 0", "49", "49.99", "50.50", "50001", "50,001", "1,00", "1,0000", ",100", "100,", "-100", "1e3", "100.", "100.0", "100.000", "N", "NN100",
		"0050,000", "18446744073709551716", "9223372036854775808", "99999999999999999999999999",
	} {
		if got, want := ask(wrong), wrongAmount+"\n\n"+customScreen; got != want {
			t.Errorf("%q shows\n%s\nwant\n%s", wrong, got, want)
		}
	}
}

// Coming back to a screen finds the variables as they were there.
func TestBackRestoresVariables(t *testing.T) {
	s := dial(t, airtime(t))
	s.types("1", "1", "08012345678", "2")
	s.sees(s.types("0", "3"), strings.Replace(confirmMenu, "N100", "N200", 1))
	s.types("0", "0", "0", "3", "09011112222", "1")
	s.sees(s.types("1"), "<purchase 1: amount=5000 network=glo to=2349011112222>")
}

// After a purchase nothing leads back to it.
func TestNoWayBackIntoAPurchase(t *testing.T) {
	service := compile(t, finals)
	s := dial(t, service)
	s.sees(s.types("1", "1"), "<purchase 1: amount=10000 network=mtn to="+me+">")
	s.sees(s.result("pending", "txn", menus.Text(txn)), "Wait for "+txn+"\n\n1. Wait\n0. Back")
	s.sees(s.types("1"), "Waiting\n\n0. Back")
	s.sees(s.types("0"), "Wait for "+txn+"\n\n1. Wait\n0. Back")
	s.sees(s.types("0"), "Start\n\n1. Go on")
	s.sees(s.types("1", "1"), "<purchase 2: amount=10000 network=mtn to="+me+">")
}

const finals = `
service: finals
codes: ["*1#"]
start: main
texts: {invalid: wrong, tries: too many, expired: gone, busy: busy}
screens:
  main: {kind: menu, text: Start, options: [{key: "1", label: Go on, set: {to: "{caller}", amount: N100}, goto: confirm}]}
  confirm: {kind: menu, text: "{amount|naira} for {to|local}?", options: [{key: "1", label: "Yes", goto: buy}, {key: "0", label: Back, goto: "@back"}]}
  buy:
    kind: action
    do: purchase
    with: {network: mtn, to: "{to}", amount: "{amount}"}
    on: {delivered: bye, declined: bye, pending: pending, not_sent: bye, unavailable: bye, insufficient: bye}
  pending: {kind: menu, text: "Wait for {txn}", options: [{key: "1", label: Wait, goto: waiting}, {key: "0", label: Back, goto: "@back"}]}
  waiting: {kind: menu, text: Waiting, options: [{key: "0", label: Back, goto: "@back"}]}
  bye: {kind: end, text: Bye}
`

// A duplicated confirmation, or an answer after a restart, asks for the same
// effect under the same number.
func TestSameEffectAgain(t *testing.T) {
	s := dial(t, airtime(t))
	s.sees(s.types("1", "1", "08012345678", "2", "1"), bought)
	s.sees(s.types("1"), bought)
	if !s.turn.Secret {
		t.Error("an answer that no screen read may be logged")
	}
	if s.turn.Effect.Screen != "buy" || s.turn.State.Screen() != "buy" {
		t.Errorf("effect of screen %q at screen %q, want buy", s.turn.Effect.Screen, s.turn.State.Screen())
	}
	s.sees(s.result("delivered", "txn", menus.Text(txn)), success)
}

func TestTooManyInputs(t *testing.T) {
	s := dial(t, airtime(t))
	for range 30 {
		s.sees(s.types("1"), networkMenu)
		s.sees(s.types("0"), mainMenu)
	}
	s.sees(s.types("1"), "Your session has ended. Please dial *999# to start again.\n<too_many_inputs>")
}

func TestEndedStateIsOver(t *testing.T) {
	over := "Your session has ended. Please dial *999# to start again.\n<expired>"
	s := dial(t, airtime(t))
	s.sees(s.types("0"), goodbye)
	ended := s.turn.State
	s.sees(s.types("1"), over)
	if !s.turn.Secret {
		t.Error("an answer that no screen read may be logged")
	}
	s.turn.State = restored(t, ended)
	s.sees(s.result("ok"), over)
	s = dial(t, airtime(t))
	s.sees(s.types("8", "8", "8"), tooMany)
	s.sees(s.types("1"), over)
}

// A state outlives the turns that came of it: the same input gives the same turn.
func TestStatesAreValues(t *testing.T) {
	s := dial(t, airtime(t))
	s.types("1", "1")
	kept := s.turn.State
	one := s.types("08012345678", "2")
	s.turn.State = kept
	other := s.types("1", "5")
	s.turn.State = kept
	s.sees(s.types("08012345678", "2"), one)
	if one == other {
		t.Error("two ways show the same")
	}
}
