package main

import (
	"context"
	"fmt"
	"regexp"
)

// message is a text that tells a subscriber how a purchase ended.
type message struct{ msisdn, text string }

// told are the messages that came to handsets.
func (r *run) told() []message {
	var told []message
	for _, sms := range r.sim.SMS("") {
		told = append(told, message{sms.To, sms.Text})
	}
	return told
}

// unsent is how many messages wait; -1 if nobody can tell.
func (r *run) unsent(ctx context.Context) (n int) {
	db, err := r.openBooks()
	if err != nil {
		return -1
	}
	defer db.Close()
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM outbox WHERE sent_at = 0").Scan(&n); err != nil {
		return -1
	}
	return n
}

// sending is how many messages an ussdd sends at once, at most.
const sending = 64

// about finds which purchase a message is about.
var about = regexp.MustCompile(`Ref (TXN-[0-9A-Z]+)`)

// messages: everybody is told how his purchase ended, and nobody two things about
// one, or anything about another's. A text that comes again is counted for itself: what is cut off
// between sending it and writing that down is sent again.
func (r *run) messages(b books, told []message) {
	var bad []string
	texts := make(map[string]map[message]int) // by reference
	for _, m := range told {
		ref := ""
		if found := about.FindStringSubmatch(m.text); found != nil {
			ref = found[1]
		}
		if p, ok := b.purchases[ref]; !ok || p.msisdn != m.msisdn {
			bad = append(bad, fmt.Sprintf("%s was told %q, and %q is %+v", m.msisdn, m.text, ref, p))
			continue
		}
		if texts[ref] == nil {
			texts[ref] = make(map[message]int)
		}
		texts[ref][m]++
	}
	for ref := range b.purchases {
		if texts[ref] == nil {
			bad = append(bad, "nobody was told how "+ref+" ended")
		}
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
	if most := sending * r.cutOff(); repeats > most {
		bad = append(bad, fmt.Sprintf("%d messages came again, and %d can have been cut off", repeats, most))
	}
	r.check(bad, "%d purchases have one final message each; %d came again", len(texts), repeats)
}
