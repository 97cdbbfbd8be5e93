package purchase

import (
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
		turn, ok, err := w.truth(a)
		if err != nil {
			return err
		}
		sure = sure && ok
		if turn == "" {
			continue
		}
		if err := w.turn(a, turn); err != nil {
			return err
		}
	}
	if !sure && w.cfg.Now().Sub(w.p.DecidedAt) < recheckFor {
		return nil
	}
	return w.insist("recheck", moveFor, func(ctx context.Context) error { return w.ledger.Rechecked(ctx, w.p, sure) })
}

// truth asks the vendor about a closed attempt. turn is DeliveredLate or Reversed if it
// ended otherwise than is recorded; sure tells that the vendor's word is final.
func (w *work) truth(a Attempt) (turn string, sure bool, err error) {
	switch {
	case a.State == Unavailable, a.State == NotSent && a.Queries == 0, a.State == DeliveredLate, a.State == Reversed:
		return "", true, nil // it never reached the vendor, or its truth is known
	}
	ep, ok := w.routes().Endpoint(a.Vendor, w.p.Network)
	if !ok {
		return "", false, nil
	}
	found, err := w.ask(ep, a)
	if err != nil {
		return "", false, err
	}
	switch {
	case found.State == vendors.FoundDelivered && a.State != Delivered:
		return DeliveredLate, true, nil
	case found.State == vendors.FoundFailed && a.State == Delivered:
		return Reversed, true, nil
	case found.State == vendors.FoundDelivered, found.State == vendors.FoundFailed:
		return "", true, nil
	case found.State == vendors.NotFound && a.State != Delivered:
		_, _, final := ep.NotFoundFinal()
		return "", final, nil
	}
	return "", false, nil
}

// turn records the truth about an attempt, and raises it: somebody's money is
// not where it was believed to be.
func (w *work) turn(a Attempt, truth string) error {
	was, next := w.p.State, w.p.State
	if truth == Reversed || was == Failed {
		next = truth
	}
	a.State = truth
	a.Queries++
	p := w.p
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
