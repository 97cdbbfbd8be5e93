package session

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"

	"ussdd/menus"
)

// historyRows is how many purchases a subscriber can page through.
const historyRows = 20

// The outcomes that a menu has a branch for, as named in Receipt.Outcome.
const (
	delivered    = "delivered"
	declined     = "declined"
	pending      = "pending"
	notSent      = "not_sent"
	unavailable  = "unavailable"
	insufficient = "insufficient"
	ok           = "ok"
	failed       = "failed"
)

// open is the reason of a pending purchase that was there before.
const open = "open"

// Actions declares what menus can ask for, to menus.Load. The widths are the
// widest value that the desk and the wallet give.
func Actions() map[string]menus.ActionSpec {
	refusals := []string{"bad_number", "limit", "limit_purchase", "limit_day", "limit_recipient_day", "limit_velocity",
		"limit_network_purchase", "limit_network_day"}
	again := menus.ActionSpec{
		Params: map[string]menus.Type{"network": menus.TypeText, "to": menus.TypeMSISDN, "amount": menus.TypeMoney},
		Gives: map[string]menus.Var{
			"txn":   {Type: menus.TypeText, Width: 17, On: []string{delivered, pending}},
			"left":  {Type: menus.TypeMoney, Width: 15, On: []string{declined}}, // of the limit; N0 without one
			"until": {Type: menus.TypeTime, On: []string{declined}},             // when more is left, if it is a limit of a time
		},
		Outcomes: []string{delivered, declined, pending, notSent, unavailable, insufficient},
		Reasons:  map[string][]string{declined: refusals},
		Final:    true,
	}
	// A purchase asks before the same is bought again: then it is pending for the
	// reason open, and txn is that of the purchase that is open. The action
	// purchase_again is the answer that it is wanted all the same.
	purchase := again
	purchase.Reasons = map[string][]string{declined: refusals, pending: {open}}
	return map[string]menus.ActionSpec{
		"balance": {
			Gives:    map[string]menus.Var{"balance": {Type: menus.TypeMoney, Width: 15, On: []string{ok}}},
			Outcomes: []string{ok, unavailable},
		},
		"history": {
			Lists: map[string]map[string]menus.Var{"purchases": {
				"at": {Type: menus.TypeTime}, "network": {Type: menus.TypeText, Width: 7},
				"phone": {Type: menus.TypeMSISDN, Width: 11}, "amount": {Type: menus.TypeMoney, Width: 10},
				"state": {Type: menus.TypeText, Width: 8}, "txn": {Type: menus.TypeText, Width: 17},
			}},
			Outcomes: []string{ok, unavailable},
		},
		"purchase":       purchase,
		"purchase_again": again,
		"status": {
			Params: map[string]menus.Type{"txn": menus.TypeText},
			// What a subscriber asks about may be another purchase than the one
			// just ordered.
			Gives:    map[string]menus.Var{"network_name": {Type: menus.TypeText, Width: 7, On: []string{delivered}}},
			Outcomes: []string{delivered, declined, pending, failed},
			Reasons:  map[string][]string{declined: {"bad_number", "limit"}},
			Final:    true,
		},
	}
}

type caller struct {
	session int64
	msisdn  string
}

// act performs one effect within ctx and gives the outcome's name and the menu
// input that tells of it. It never fails: what goes wrong is an outcome. A
// purchase that went wrong in a way that leaves it open is pending, never
// refused: the subscriber must not be told to buy again what may still come.
func (e *Engine) act(ctx context.Context, c caller, eff menus.Effect) (outcome string, in menus.Input) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("panic in an action", "session", c.session, "action", eff.Action,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			outcome, in = doubt(eff.Action)
		}
	}()
	fail := func(err error) (string, menus.Input) {
		e.log.Error("action", "session", c.session, "action", eff.Action, "err", err)
		return doubt(eff.Action)
	}
	switch eff.Action {
	case "balance":
		kobo, err := e.wallet.Balance(ctx, c.msisdn)
		if err != nil {
			return fail(err)
		}
		return ok, menus.Result(ok, "", map[string]menus.Value{"balance": menus.Money(kobo)}, nil)
	case "history":
		receipts, err := e.wallet.History(ctx, c.msisdn, historyRows)
		if err != nil {
			return fail(err)
		}
		rows := make([]map[string]menus.Value, len(receipts))
		for i, r := range receipts {
			rows[i] = map[string]menus.Value{"at": menus.Time(r.At), "network": menus.Text(r.Name), "phone": menus.MSISDN(r.Recipient),
				"amount": menus.Money(r.Amount), "state": menus.Text(told[r.Outcome]), "txn": menus.Text(r.Ref)}
		}
		return ok, menus.Result(ok, "", nil, map[string][]map[string]menus.Value{"purchases": rows})
	case "purchase", "purchase_again":
		r, err := e.desk.Buy(ctx, Order{
			// The visit counts the actions of the session, and is part of the
			// stored state: a confirmation that is repeated, or read again
			// after a restart, has the same key.
			Key:     c.msisdn + "." + strconv.FormatInt(c.session, 10) + "." + strconv.Itoa(eff.Visit),
			Session: c.session, MSISDN: c.msisdn, Recipient: eff.Args["to"].Text(),
			Network: eff.Args["network"].Text(), Amount: eff.Args["amount"].Kobo(), Again: eff.Action == "purchase_again",
		})
		if err != nil {
			return fail(err)
		}
		if r.Outcome == pending && r.Ref == "" {
			return doubt(eff.Action)
		}
		return r.Outcome, menus.Result(r.Outcome, r.Reason, map[string]menus.Value{"txn": menus.Text(r.Ref), "left": menus.Money(r.Left),
			"until": menus.Time(r.Until)}, nil)
	case "status":
		r, err := e.desk.Check(ctx, c.msisdn, eff.Args["txn"].Text())
		if errors.Is(err, ErrNotFound) {
			return refusal(eff.Action)
		}
		if err != nil {
			return fail(err)
		}
		if r.Outcome != delivered && r.Outcome != pending {
			r.Outcome = declined // the money is back, whatever the way to it was
		}
		return r.Outcome, menus.Result(r.Outcome, r.Reason, map[string]menus.Value{"network_name": menus.Text(r.Name)}, nil)
	}
	return fail(fmt.Errorf("no such action"))
}

// told is how a purchase's outcome is named in the history.
var told = map[string]string{delivered: "OK", pending: "Pending", declined: "Refunded", notSent: "Refunded", unavailable: "Refunded"}

// refusal is the result of an action that was surely not performed.
func refusal(action string) (string, menus.Input) {
	outcome := unavailable
	if action == "status" {
		outcome = failed // to look, that is: the purchase goes on
	}
	return outcome, menus.Result(outcome, "", nil, nil)
}

// doubt is the result of an action of which nobody knows whether it was
// performed.
func doubt(action string) (string, menus.Input) {
	if action == "purchase" || action == "purchase_again" {
		return pending, menus.Result(pending, "", map[string]menus.Value{"txn": menus.Text("-")}, nil)
	}
	return refusal(action)
}
