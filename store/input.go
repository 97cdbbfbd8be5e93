package store

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// defaultLimit is how many rows a list has at most when its filter does not
// say.
const defaultLimit = 100

// maxAmount bounds a single movement, ten billion naira in kobo, so that no sum
// of movements overflows.
const maxAmount = 1_000_000_000_000

func limit(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return n
}

func validMSISDN(s string) error {
	if len(s) < 5 || len(s) > 20 || strings.Trim(s, "0123456789") != "" {
		return fmt.Errorf("msisdn of other than 5 to 20 digits: %w", ErrInvalid)
	}
	return nil
}

func validAmount(kobo int64) error {
	if kobo < 1 || kobo > maxAmount {
		return fmt.Errorf("amount of %d kobo: %w", kobo, ErrInvalid)
	}
	return nil
}

// validName accepts what both engines keep and compare alike: no space at the
// ends, which MySQL's collations ignore.
func validName(what, s string, width int) error {
	if s == "" || utf8.RuneCountInString(s) > width || !utf8.ValidString(s) || strings.TrimSpace(s) != s {
		return fmt.Errorf("%s empty, longer than %d characters or with space at its ends: %w", what, width, ErrInvalid)
	}
	return nil
}

// clip makes a string from outside fit a column: valid UTF-8 of at most width
// characters.
func clip(s string, width int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	n := 0
	for i := range s {
		if n == width {
			return s[:i]
		}
		n++
	}
	return s
}

// mask keeps the first six and the last four digits of an MSISDN.
func mask(msisdn string) string {
	if len(msisdn) <= 10 {
		return "***"
	}
	return msisdn[:6] + "***" + msisdn[len(msisdn)-4:]
}

// validSource accepts the first half of a reference "source:reference".
func validSource(what, s string) error {
	err := validName(what, s, 32)
	if err == nil && strings.Contains(s, ":") {
		err = fmt.Errorf("%s with a colon: %w", what, ErrInvalid)
	}
	return err
}
