package main

import "fmt"

// fault is a way in which a provider misbehaves. The zero fault is none.
type fault uint8

const (
	faultNone fault = iota
	faultDecline
	faultMaintenance
	faultSlow
	faultHang
	faultErrorAfter
	faultErrorBefore
	faultReset
	faultGarbage
	faultDuplicate
	faultPendingDelivered
	faultPendingFailed
	faultFloat
	faultTwice
	faultDown
)

// faults names every fault, says which last four digits of a recipient ask for
// it ("" = none do), and what the provider then does.
var faults = [...]struct{ name, suffix, effect string }{
	faultNone:             {"none", "", "works; a provider that was down is back on its port"},
	faultDecline:          {"decline", "9001", "declines the number as invalid"},
	faultMaintenance:      {"maintenance", "9002", "declines: out of service, not executed"},
	faultSlow:             {"slow", "9003", "delivers, answers after -slow"},
	faultHang:             {"hang", "9004", "never answers, does not deliver, forgets the reference"},
	faultErrorAfter:       {"error_after", "9005", "delivers, answers HTTP 500"},
	faultErrorBefore:      {"error_before", "9006", "answers HTTP 500, does not deliver, forgets the reference"},
	faultReset:            {"reset", "9007", "delivers, resets the connection"},
	faultGarbage:          {"garbage", "9008", "delivers, answers 200 with a page of HTML"},
	faultDuplicate:        {"duplicate", "9009", "delivers, answers that the reference was used before"},
	faultPendingDelivered: {"pending_delivered", "9010", "answers pending; delivers when first queried"},
	faultPendingFailed:    {"pending_failed", "9011", "answers pending; fails when first queried"},
	faultFloat:            {"float", "9012", "declines: our float is too low"},
	faultTwice:            {"twice", "9013", "delivers, answers twice on the same connection"},
	faultDown:             {"down", "", "refuses connections, after cutting those that it has"},
}

// String is the fault's name in the control API and in the log.
func (f fault) String() string { return faults[f].name }

func parseFault(name string) (fault, error) {
	for f, known := range faults {
		if known.name == name {
			return fault(f), nil
		}
	}
	return faultNone, fmt.Errorf("unknown fault %q", name)
}

// faultOf is the fault that a recipient's last four digits ask for.
func faultOf(recipient string) fault {
	if len(recipient) < 4 {
		return faultNone
	}
	suffix := recipient[len(recipient)-4:]
	for f, known := range faults {
		if known.suffix == suffix {
			return fault(f)
		}
	}
	return faultNone
}

// plan is a fault that control set.
type plan struct {
	fault fault
	left  int // purchases that will still meet it; 0 = all, until it is changed
}
