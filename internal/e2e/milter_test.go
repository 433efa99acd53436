//go:build postfix

package e2e

import (
	"fmt"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// milterSite is a mail host whose Postfix asks the daemon's milter: example.com
// delivers to local users and aliases, hosted.test and virtual.test are ours
// too, relay.test is handed on.
func milterSite(t *testing.T, params map[string]string, env ...string) *site {
	t.Helper()
	s := &site{layout: layouts[0], world: startSink(t)}
	dir := t.TempDir()
	tables := map[string]string{
		"users":   "user@example.com x\nteam@example.com x\nstaff@example.com x\nsplit@example.com x\npiped@example.com x\nloop@example.com x\n",
		"srs":     "/^srs[01][-=+]/ x\n",
		"virtual": "forward@example.com member@example.net\nkept@virtual.test user@example.com\n@virtual.test member@example.net\n",
		"aliases": "# as in aliases(5)\nteam: staff,\n  Postmaster\nstaff: member@example.net\nsplit: user, \"|exec cat >/dev/null\"\nloop: loop\npostmaster: user\n",
	}
	for name, text := range tables {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	s.daemon = startDaemon(t, daemonConfig{domain: ownDomain, secret: secret, clock: today, flags: []string{"-e"}, env: append([]string{
		"SRS_DOMAIN=" + ownDomain, "SRS_MILTER=inet:localhost:" + port, "SRS_DOMAINS=hosted.test virtual.test",
		"SRS_MILTER_ALIAS_MAPS=texthash:" + dir + "/virtual texthash:" + dir + "/aliases"}, env...)})
	main := map[string]string{
		"myhostname":                  "mx.example.com",
		"mydomain":                    ownDomain,
		"myorigin":                    ownDomain,
		"mydestination":               ownDomain,
		"local_recipient_maps":        "texthash:$config_directory/users",
		"local_transport":             "local",
		"mailbox_transport":           "smtp:[127.0.0.1]:" + s.world.port,
		"alias_maps":                  "inline:{{team=staff,postmaster}, staff=member@example.net, split=user, loop=loop, postmaster=user}",
		"virtual_alias_maps":          "texthash:$config_directory/virtual",
		"virtual_alias_domains":       "virtual.test",
		"virtual_mailbox_domains":     "hosted.test",
		"relay_domains":               "relay.test",
		"smtpd_relay_restrictions":    "check_sender_access inline:{user@example.com=OK} reject_unauth_destination",
		"smtpd_milters":               "inet:localhost:" + port,
		"recipient_canonical_maps":    s.daemon.reverseMap(tcp),
		"recipient_canonical_classes": "envelope_recipient, header_recipient",
	}
	for name, value := range params {
		main[name] = value
	}
	s.postfix = startPostfix(t, s.world, main, tables, "n")
	t.Cleanup(func() {
		for _, line := range s.postfix.complaints() {
			t.Errorf("Postfix complains: %s", line)
		}
		if rest := s.world.rest(); rest != "" {
			t.Errorf("mail that no one asked for: %s", rest)
		}
	})
	return s
}

// deliver sends one mail in a conversation, and returns the server's word on
// the recipients that it refused.
func deliver(t *testing.T, text *textproto.Conn, from string, to []string, data string) (refused []string) {
	t.Helper()
	mail := "MAIL FROM:<" + from + ">"
	if !ascii(from + strings.Join(to, "")) {
		mail += " SMTPUTF8"
	}
	if err := command(text, 250, mail); err != nil {
		t.Fatalf("%s: %v", mail, err)
	}
	for _, recipient := range to {
		if err := command(text, 250, "RCPT TO:<"+recipient+">"); err != nil {
			refused = append(refused, err.Error())
		}
	}
	if len(refused) == len(to) {
		return refused
	}
	if err := command(text, 354, "DATA"); err != nil {
		t.Fatal(err)
	}
	w := text.DotWriter()
	w.Write([]byte(data))
	w.Close()
	if _, _, err := text.ReadResponse(250); err != nil {
		t.Fatalf("end of data: %v", err)
	}
	return refused
}

// arrivals waits until a mail has come to so many recipients, and returns who
// they were, with the sender that each saw.
func (s *site) arrivals(t *testing.T, token string, count int) map[string]string {
	t.Helper()
	seen := map[string]string{}
	for len(seen) < count {
		m := s.world.take(t, token)
		for _, to := range m.to {
			if before, twice := seen[to]; twice {
				t.Errorf("%s got the mail twice, from <%s> and <%s>", to, before, m.from)
			}
			seen[to] = m.from
		}
	}
	return seen
}

// TestMilter sends mail of every kind through a Postfix that asks the milter.
func TestMilter(t *testing.T) {
	for name, params := range map[string]map[string]string{
		"beside a table for recipients": nil,
		"alone":                         {"recipient_canonical_maps": "", "local_recipient_maps": "texthash:$config_directory/users regexp:$config_directory/srs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			milterSite(t, params).testMilter(t)
		})
	}
}

func (s *site) testMilter(t *testing.T) {
	signed := startDaemon(t, daemonConfig{domain: ownDomain, secret: secret, clock: today.AddDate(0, 0, -22)})
	const own, outside, srs = "user@example.com", "user@example.org", "SRS0=????=2W=example.org=user@example.com"
	srs0 := s.sign(t, "user@example.net")
	srs1 := s.sign(t, "SRS0=abcd=2W=example.org=user@relay1.test")
	expired := s.signWith(t, signed, "user@example.net")
	forged := "SRS0=AAAA=2W=example.org=user@example.com"
	foreign := "SRS0=AAAA=2W=example.org=user@relay.test"
	for _, c := range []struct {
		name, from string
		to         []string
		want       map[string]string // recipients with the sender each has to see
		refused    string
	}{
		{"local alone", outside, []string{own}, map[string]string{own: outside}, ""},
		{"hosted alone", outside, []string{"a@hosted.test"}, map[string]string{"a@hosted.test": outside}, ""},
		{"relayed", outside, []string{"a@relay.test"}, map[string]string{"a@relay.test": srs}, ""},
		{"forwarded by a virtual alias", outside, []string{"forward@example.com"}, map[string]string{"member@example.net": srs}, ""},
		{"forwarded by a catch-all", outside, []string{"anyone@virtual.test"}, map[string]string{"member@example.net": srs}, ""},
		{"a virtual alias that stays here", outside, []string{"kept@virtual.test"}, map[string]string{own: outside}, ""},
		{"forwarded by an alias", outside, []string{"staff@example.com"}, map[string]string{"member@example.net": srs}, ""},
		{"forwarded by an alias of an alias", outside, []string{"Team@Example.com"}, map[string]string{"member@example.net": srs, own: srs}, ""},
		{"an alias that stays here", outside, []string{"split@example.com"}, map[string]string{own: outside}, ""},
		{"mixed", outside, []string{own, "a@relay.test", "a@hosted.test"}, map[string]string{own: srs, "a@relay.test": srs, "a@hosted.test": srs}, ""},
		{"own user's mail", own, []string{"friend@example.net", "staff@example.com"}, map[string]string{"friend@example.net": own, "member@example.net": own}, ""},
		{"SMTPUTF8", "Jörg@example.org", []string{"a@relay.test"}, map[string]string{"a@relay.test": "SRS0=????=2W=example.org=Jörg@example.com"}, ""},
		{"quoted", `"a b"@example.org`, []string{"a@relay.test"}, map[string]string{"a@relay.test": `"SRS0=????=2W=example.org=a b"@example.com`}, ""},
		{"SRS0 of another host", "SRS0=abcd=2W=example.org=user@relay1.test", []string{"a@relay.test"},
			map[string]string{"a@relay.test": "SRS1=????=relay1.test==abcd=2W=example.org=user@example.com"}, ""},
		{"bounce to SRS0", "", []string{srs0}, map[string]string{"user@example.net": ""}, ""},
		{"bounce to SRS1", "", []string{srs1}, map[string]string{"SRS0=abcd=2W=example.org=user@relay1.test": ""}, ""},
		{"reply to SRS0", outside, []string{srs0, own}, map[string]string{"user@example.net": srs, own: srs}, ""},
		{"forged among others", "", []string{own, forged, srs0}, map[string]string{own: "", "user@example.net": ""}, "550 5.1.1 "},
		{"expired among others", "", []string{own, expired}, map[string]string{own: ""}, "550 5.1.1 "},
		{"signed elsewhere", "", []string{foreign}, map[string]string{foreign: ""}, ""},
		{"null sender", "", []string{"forward@example.com"}, map[string]string{"member@example.net": ""}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			token := newToken()
			text := dialSMTP(t, s.postfix.addr)
			refused := deliver(t, text, c.from, c.to, mailText("a@example.org", "b@example.net", token))
			if c.refused == "" && len(refused) > 0 || c.refused != "" && (len(refused) != 1 || !strings.HasPrefix(strings.ReplaceAll(refused[0], `"`, ""), c.refused)) {
				t.Errorf("refused %q", refused)
			}
			got := s.arrivals(t, token, len(c.want))
			for to, want := range c.want {
				if from, came := got[to]; !came || !matches(want, from) {
					t.Errorf("%s has sender <%s>, want <%s>; all: %v", to, from, want, got)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("arrived: %v", got)
			}
		})
	}
}

var _ = fmt.Sprint
var _ = regexp.MustCompile
var _ = slices.Sort[[]string]
