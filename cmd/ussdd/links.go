package main

import (
	"log/slog"
	"strings"

	"ussdd/smpp"
)

// newLinks makes one link for each SMSC, with a handler of its own; none of them
// runs yet. All that is wrong with any is in the problems. Loading the configuration and the daemon
// both call it, so that `ussdd check` refuses what the daemon would refuse.
func newLinks(smscs []smscConfig, handler func(smscConfig) smpp.Handler, log *slog.Logger) ([]*smpp.Link, problems) {
	var bad problems
	var links []*smpp.Link
	for _, s := range smscs {
		cfg := s.link()
		cfg.Log = log
		link, err := smpp.NewLink(cfg, handler(s))
		if err != nil {
			// One line: smpp joins what it finds with line breaks.
			bad.add("%s_*: %s", smscPrefix(s.name), strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		links = append(links, link)
	}
	return links, bad
}

// noHandler is for links that are only checked.
func noHandler(smscConfig) smpp.Handler { return smpp.HandlerFunc(func(*smpp.Event) {}) }

// controlled is a link as the control socket has it.
type controlled struct {
	*smpp.Link
	profile *smpp.Profile // in force
}

// Brief says in one line what a PDU is.
func (c controlled) Brief(frame []byte) string { return smpp.Brief(frame, c.profile) }
