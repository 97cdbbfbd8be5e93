package purchase

import (
	"cmp"
	"context"

	"ussdd/vendors"
)

// recheck asks the vendors of a decided purchase once more about every attempt
// that may have reached them, and records the truth where it is another than
// was believed.
func (w *work) recheck(ref string) error {
	if err := w.load(ref); err != nil {
		return err
	}
	if w.p.Open() || w.p.Owner != w.cfg.Owner {
		return nil
	}
	sure := true
	for _, a := range w.attempts {
		if a.known() {
			continue
		}
		ep, ok := w.routes().Endpoint(a.Vendor, w.p.Network)
		if !ok {
			sure = false
			continue
		}
		found, err := w.ask(ep, a)
		if err != nil {
			return err
		}
		_, _, final := ep.NotFoundFinal()
		truth, told := a.truth(found.State, final)
		sure = sure && told
		if truth == "" {
			continue
		}
		if err := w.turn(a, truth, found); err != nil {
			return err
		}
	}
	if !sure && w.cfg.Now().Sub(w.p.DecidedAt) < recheckFor {
		return nil
	}
	return w.insist("recheck", moveFor, func(ctx context.Context) error { return w.ledger.Rechecked(ctx, w.p, sure) })
}

// known tells that there is nothing to ask about an attempt: it never reached the
// vendor, or the vendor has told its truth.
func (a Attempt) known() bool {
	return a.State == Unavailable || a.State == NotSent && a.Queries == 0 || a.State == DeliveredLate || a.State == Reversed
}

// truth is DeliveredLate or Reversed if a closed attempt ended otherwise than is
// recorded; sure tells that the vendor's word is final, which "not found" is if
// the vendor's file says so.
func (a Attempt) truth(found vendors.FindingState, final bool) (turn string, sure bool) {
	switch {
	case found == vendors.FoundDelivered && a.State != Delivered:
		return DeliveredLate, true
	case found == vendors.FoundFailed && a.State == Delivered:
		return Reversed, true
	case found == vendors.FoundDelivered, found == vendors.FoundFailed:
		return "", true
	}
	return "", found == vendors.NotFound && a.State != Delivered && final
}

// turn records the truth about an attempt, and raises it: somebody's money is
// not where it was believed to be.
func (w *work) turn(a Attempt, truth string, found vendors.Finding) error {
	was, next := w.p.State, w.p.State
	if truth == Reversed || was == Failed {
		next = truth
	}
	a.State = truth
	a.hear(found)
	p := w.p
	p.Token = cmp.Or(p.Token, a.Token)
	err := w.move("turn", next, func(ctx context.Context) (Purchase, error) { return w.ledger.Turn(ctx, p, a) })
	if err != nil {
		return err
	}
	w.put(a)
	w.count(func(s *Stats) { s.Turned[truth]++ })
	w.log.Error("the truth about a purchase came after its decision", "was", was, "is", w.p.State, "vendor", a.Vendor,
		"attempt", a.Reference, "truth", truth)
	return nil
}
