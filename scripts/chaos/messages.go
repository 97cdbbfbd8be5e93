package main

import (
	"fmt"
	"strings"
)

// message is a text that tells a subscriber how a purchase ended.
type message struct{ msisdn, text string }

// told are the messages of the run: those that the outbox has for subscribers.
func (r *run) told(b books) []message { return b.outbox }

// messages: nobody is told two things about a purchase, or anything about
// another's. A text that comes again is counted for itself: whoever dies between
// sending it and writing that down sends it again.
func (r *run) messages(b books, told []message) {
	var bad []string
	texts := make(map[string]map[message]int) // by reference
	for _, m := range told {
		_, rest, _ := strings.Cut(m.text, "Ref ")
		ref := strings.TrimSuffix(rest, ".")
		if p, ok := b.purchases[ref]; !ok || p.msisdn != m.msisdn {
			bad = append(bad, fmt.Sprintf("%s was told %q, and %q is %+v", m.msisdn, m.text, ref, p))
			continue
		}
		if texts[ref] == nil {
			texts[ref] = make(map[message]int)
		}
		texts[ref][m]++
	}
	repeats := 0
	for ref, different := range texts {
		if len(different) > 1 {
			bad = append(bad, fmt.Sprintf("%s has %d final messages: %v", ref, len(different), different))
		}
		for _, n := range different {
			repeats += n - 1
		}
	}
	if kills := r.kills(); repeats > kills {
		bad = append(bad, fmt.Sprintf("%d messages came again, with %d kills", repeats, kills))
	}
	r.check(bad, "%d purchases have one final message each; %d came again", len(texts), repeats)
}
