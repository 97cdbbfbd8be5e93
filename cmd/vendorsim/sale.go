package main

import (
	"fmt"
	"strconv"
	"strings"
)

// The limits of one sale, in kobo, and of a reference, in bytes.
const (
	minAmount    = 50_00
	maxAmount    = 50_000_00
	maxReference = 64
)

// commissionBPS is what a seller keeps of the face value, in basis points, with
// every provider: N100 of airtime cost the float N97.
const commissionBPS = 300

// sale is what a request asks for, as far as its api could read it: a field that
// it could not read is zero, which validate refuses.
type sale struct {
	network   string // "mtn", "airtel", "glo" or "9mobile"
	recipient string // E.164 digits without plus
	reference string // the seller's own
	amount    int64  // kobo
}

// validate gives the verdict that refuses the sale, or 0 if it is fit to be sold.
func (s sale) validate() verdict {
	switch {
	case s.network == "" || !validReference(s.reference):
		return badRequest
	case s.recipient == "":
		return badNumber
	case s.amount < minAmount || s.amount > maxAmount || s.amount%100 != 0:
		return badAmount
	}
	return 0
}

// cost is what the sale takes from the float, in kobo. Amounts are whole naira,
// so it is exact.
func (s sale) cost() int64 { return s.amount - s.amount*commissionBPS/10_000 }

func validReference(s string) bool {
	if s == "" || len(s) > maxReference {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// purchaseOf is the purchase that a reference belongs to. A seller who goes on
// to the next provider appends a hop to its reference: TXN-7K, TXN-7K-2. A hop
// has one or two digits, so that a reference that ends in a longer number keeps it.
func purchaseOf(reference string) string {
	i := strings.LastIndexByte(reference, '-')
	if i <= 0 {
		return reference
	}
	hop := reference[i+1:]
	if len(hop) < 1 || len(hop) > 2 || !digits(hop) {
		return reference
	}
	return reference[:i]
}

// local reads a number in the national form, 08031234567. It is "" if that is
// no Nigerian mobile number.
func local(s string) string {
	nsn, ok := strings.CutPrefix(s, "0")
	if !ok {
		return ""
	}
	return mobile(nsn)
}

// international reads a number in the form 2348031234567. It is "" if that is
// no Nigerian mobile number.
func international(s string) string {
	nsn, ok := strings.CutPrefix(s, "234")
	if !ok {
		return ""
	}
	return mobile(nsn)
}

func mobile(nsn string) string {
	if len(nsn) != 10 || !digits(nsn) {
		return ""
	}
	switch nsn[:2] {
	case "70", "80", "81", "90", "91":
		return "234" + nsn
	}
	return ""
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// mask hides the middle of a number: 234803***4567.
func mask(msisdn string) string {
	if len(msisdn) < 11 {
		return "***"
	}
	return msisdn[:6] + "***" + msisdn[len(msisdn)-4:]
}

// naira reads a decimal amount of naira, "100" or "99.50", as kobo. It is 0,
// which is no valid amount, for anything else.
func naira(s string) int64 {
	whole, fraction, point := strings.Cut(s, ".")
	if len(whole) < 1 || len(whole) > 12 || !digits(whole) || point && (len(fraction) < 1 || len(fraction) > 2 || !digits(fraction)) {
		return 0
	}
	kobo, _ := strconv.ParseInt(whole+(fraction + "00")[:2], 10, 64) // up to 14 digits always fit
	return kobo
}

// inNaira writes kobo as naira with two decimals: "97.00".
func inNaira(kobo int64) string { return fmt.Sprintf("%d.%02d", kobo/100, kobo%100) }
