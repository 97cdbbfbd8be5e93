package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// networks are ranges of addresses, written 10.0.0.0/8,192.0.2.7.
type networks []netip.Prefix

// Decode is how envconfig reads it.
func (n *networks) Decode(value string) error {
	*n = nil
	for one := range strings.SplitSeq(value, ",") {
		network, err := parseNetwork(one)
		if err != nil {
			return err
		}
		*n = append(*n, network)
	}
	return nil
}

func (n networks) contain(a netip.Addr) bool {
	return slices.ContainsFunc(n, func(network netip.Prefix) bool { return network.Contains(a) })
}

// parseNetwork reads a network, or an address as the network of it alone.
func parseNetwork(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(s)
}

// sources are networks by provider, written provider=network,provider=network; a
// provider may be there several times.
type sources map[string]networks

// Decode is how envconfig reads it.
func (s *sources) Decode(value string) error {
	*s = make(sources)
	for pair := range strings.SplitSeq(value, ",") {
		name, of, _ := strings.Cut(strings.TrimSpace(pair), "=")
		network, err := parseNetwork(of)
		if err != nil {
			return err
		}
		if _, ok := schemes[name]; !ok {
			return fmt.Errorf("no provider %q", name)
		}
		(*s)[name] = append((*s)[name], network)
	}
	return nil
}

// providers are the payment providers whose secrets are there: webhook-NAME, and
// webhook-NAME-next beside it while that one replaces it.
func (c *config) providers(secret func(name string) (string, bool), bad *problems) map[string]provider {
	found := make(map[string]provider)
	if c.WebhookAddr == "-" {
		return found
	}
	for _, name := range slices.Sorted(maps.Keys(schemes)) {
		var p provider
		for _, of := range []string{"webhook-" + name, "webhook-" + name + "-next"} {
			switch text, ok := secret(of); {
			case ok && text == "":
				bad.add("secret %s: empty", of)
			case ok:
				p.secrets = append(p.secrets, text)
			}
		}
		if schemes[name].forgeable {
			key, ok := secret("webhook-" + name + "-key")
			if len(p.secrets) > 0 && (!ok || key == "") {
				bad.add("secret webhook-%s-key: missing; whoever knows webhook-%[1]s can forge reports, so that each is verified with the API's secret key", name)
			}
			p.verify = verifyFlutterwave(verifying(), c.WebhookFlutterwave, key)
		}
		if len(p.secrets) > 0 {
			found[name] = p
		}
	}
	return found
}

// verifying is a client for the rare calls that verify a report. It keeps no
// connections, and hands the key to nobody else.
func verifying() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// sayProviders is what `ussdd check` prints of them.
func sayProviders(found map[string]provider) string {
	var said []string
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if len(found[name].secrets) == 2 {
			name += " with two secrets"
		}
		said = append(said, name)
	}
	if said == nil {
		return "no payment provider: none has a secret, such as webhook-paystack"
	}
	return strings.Join(said, ", ")
}
