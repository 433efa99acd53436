//go:build postfix

package e2e

import (
	"testing"
	"time"
)

// The reserved names that play a part: example.com is ours, example.org a
// sender's, example.net where aliases point, relay1.test and relay2.test other
// hosts that do SRS.
const (
	ownDomain = "example.com"
	secret    = "tops3cr3t"
)

// today is the daemon's clock. Its stamp in an SRS address is 2W.
var today = time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC)

// layout is a way to set up SRS in Postfix.
//
// A sender's local part may hold @, % or !, and then so does that of its SRS
// address. Postfix takes them for routing and by default refuses such a
// recipient, even in a domain of its own. In a virtual alias domain it is
// enough to let them in; in mydestination they have to lose their meaning too.
type layout struct {
	name      string
	srsDomain string
	params    map[string]string
	routing   bool   // whether recipients may hold @, % and !
	excluded  string // value of -X
	longest   int    // octets of the longest sender that is rewritten, 0 for any
	stored    bool   // whether the daemon stores senders of up to 320 octets
}

var layouts = []layout{
	{
		name:      "as Postfix comes",
		srsDomain: ownDomain,
		excluded:  "excluded.test,.suffix.test",
	},
	{
		name:      "SRS in the own domain",
		srsDomain: ownDomain,
		params: map[string]string{
			"allow_untrusted_routing":  "yes",
			"resolve_dequoted_address": "no",
			"allow_percent_hack":       "no",
			"swap_bangpath":            "no",
		},
		routing:  true,
		excluded: "excluded.test,.suffix.test",
	},
	{
		name:      "SRS in a domain apart",
		srsDomain: "srs.example.com",
		params: map[string]string{
			"virtual_alias_domains":   "srs.example.com",
			"allow_untrusted_routing": "yes",
		},
		routing:  true,
		excluded: "excluded.test,.suffix.test,example.com",
	},
}

// site is a mail host: Postfix, the daemon beside it, and the rest of the world.
type site struct {
	layout
	protocol
	daemon  *daemon
	postfix *postfix
	world   *sink
}

// startSite starts everything and stops it when the test is over. The test
// fails when Postfix found anything to warn about meanwhile, or when mail
// reached the world that no test asked for.
func startSite(t *testing.T, l layout, p protocol) *site {
	t.Helper()
	s := &site{layout: l, protocol: p, world: startSink(t)}
	s.daemon = startDaemon(t, daemonConfig{domain: l.srsDomain, secret: secret, clock: today, flags: []string{"-X" + l.excluded}})
	s.startPostfix(t, s.daemon.forwardMap(p), s.daemon.reverseMap(p), "n")
	return s
}

// startPostfix starts the site's Postfix with these tables.
func (s *site) startPostfix(t *testing.T, forward, reverse, chrooted string) {
	t.Helper()
	params := map[string]string{
		"myhostname":           "mx.example.com",
		"mydomain":             ownDomain,
		"myorigin":             ownDomain,
		"mydestination":        ownDomain,
		"local_recipient_maps": "texthash:$config_directory/users",
		"virtual_alias_maps":   "texthash:$config_directory/aliases",

		"sender_canonical_maps":       forward,
		"sender_canonical_classes":    "envelope_sender",
		"recipient_canonical_maps":    reverse,
		"recipient_canonical_classes": "envelope_recipient, header_recipient",
		// Every client's header is open to rewriting, so that what stays as it
		// was does so for the classes above.
		"local_header_rewrite_clients": "static:all",
	}
	for name, value := range s.params {
		params[name] = value
	}
	s.postfix = startPostfix(t, s.world, params, map[string]string{
		"users":   "postmaster@example.com x\nuser@example.com x\n",
		"aliases": "forward@example.com member@example.net\nrefusing@example.com refused@example.net\n",
	}, chrooted)
	t.Cleanup(func() {
		for _, line := range s.postfix.complaints() {
			t.Errorf("Postfix complains: %s", line)
		}
		if rest := s.world.rest(); rest != "" {
			t.Errorf("mail that no one asked for: %s", rest)
		}
	})
}

func TestSites(t *testing.T) {
	for _, p := range []protocol{tcp, socketmap} {
		for _, l := range layouts {
			t.Run(string(p)+", "+l.name, func(t *testing.T) {
				t.Parallel()
				s := startSite(t, l, p)
				t.Run("postmap", s.testPostmap)
				t.Run("forward", s.testForward)
				t.Run("untouched", s.testUntouched)
				t.Run("returned by the next host", s.testReturned)
				t.Run("refuse", s.testRefuse)
			})
		}
	}
}
