package main

import (
	"log/slog"
	"strings"

	"ussdd/smpp"
)

// newLinks makes one link for each SMSC; none of them runs yet. All that is
// wrong with any is in the problems. Loading the configuration and the daemon
// both call it, so that `ussdd check` refuses what the daemon would refuse.
func newLinks(smscs []smscConfig, h smpp.Handler, log *slog.Logger) ([]*smpp.Link, problems) {
	var bad problems
	var links []*smpp.Link
	for _, s := range smscs {
		link, err := s.newLink(h, log)
		if err != nil {
			// One line: smpp joins what it finds with line breaks.
			bad.add("%s_*: %s", smscPrefix(s.name), strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		links = append(links, link)
	}
	return links, bad
}

func (s smscConfig) newLink(h smpp.Handler, log *slog.Logger) (*smpp.Link, error) {
	profile, err := smpp.ProfileByName(s.Profile)
	if err != nil {
		return nil, err
	}
	return smpp.NewLink(smpp.Config{
		Name: s.name, Addrs: []string{s.Addr}, Accounts: []smpp.Account{{SystemID: s.SystemID, Password: s.Password}}, SystemType: s.SystemType,
		Profile: profile, Window: s.Window, MaxText: s.MaxText,
		ConnectTimeout: s.ConnectTimeout, BindTimeout: s.BindTimeout, EnquireLink: s.EnquireLink,
		EnquireTimeout: s.EnquireTimeout, ResponseTimeout: s.ResponseTimeout,
		ReconnectMin: s.ReconnectMin, ReconnectMax: s.ReconnectMax, UnbindTimeout: s.unbind, Log: log,
	}, h)
}
