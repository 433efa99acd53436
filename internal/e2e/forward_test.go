//go:build postfix

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// forwardCases are senders of mail to an alias that points outside.
var forwardCases = []struct {
	name   string
	sender string
	// srs is the local part that the next host has to see, its quoting undone,
	// with question marks for the hash.
	srs string
	// bounceTo is where a bounce has to arrive, when that is not the sender.
	bounceTo string
	// routing says that Postfix can take the address for one with a route in it.
	routing bool
}{
	{name: "plain", sender: "user@example.org", srs: "SRS0=????=2W=example.org=user"},
	{name: "plus-tagged", sender: "user+tag@example.org", srs: "SRS0=????=2W=example.org=user+tag"},
	{name: "equals sign", sender: "bounce-1=x=example.net@example.org", srs: "SRS0=????=2W=example.org=bounce-1=x=example.net"},
	{name: "upper-case", sender: "USER.Name@EXAMPLE.Org", srs: "SRS0=????=2W=EXAMPLE.Org=USER.Name"},
	{name: "quoted space", sender: `"a b"@example.org`, srs: "SRS0=????=2W=example.org=a b"},
	{name: "quoted at sign", sender: `"a@b"@example.org`, srs: "SRS0=????=2W=example.org=a@b", routing: true},
	{name: "quoted quote", sender: `"a\"b"@example.org`, srs: `SRS0=????=2W=example.org=a"b`},
	{name: "quoted backslash", sender: `"a\\b"@example.org`, srs: `SRS0=????=2W=example.org=a\b`},
	{name: "quoted dots", sender: `"a..b"@example.org`, srs: "SRS0=????=2W=example.org=a..b"},
	{name: "quoted leading dot", sender: `".a"@example.org`, srs: "SRS0=????=2W=example.org=.a"},
	{name: "quoted comma and angle brackets", sender: `"a,<b>"@example.org`, srs: "SRS0=????=2W=example.org=a,<b>"},
	{name: "quoted without need", sender: `"user"@example.org`, srs: "SRS0=????=2W=example.org=user", bounceTo: "user@example.org"},
	{name: "dots without their quotes", sender: "a..b@example.org", srs: "SRS0=????=2W=example.org=a..b",
		bounceTo: `"a..b"@example.org`},
	{name: "quoted spaces", sender: `"a  b "@example.org`, srs: "SRS0=????=2W=example.org=a  b "},
	{name: "quoted colon and semicolon", sender: `"a:b;c"@example.org`, srs: "SRS0=????=2W=example.org=a:b;c"},
	{name: "quoted parentheses", sender: `"a(b)c"@example.org`, srs: "SRS0=????=2W=example.org=a(b)c"},
	{name: "every atom character", sender: "a/b&c'd*e?f^g{h|i}j~k#l$m_n`o@example.org",
		srs: "SRS0=????=2W=example.org=a/b&c'd*e?f^g{h|i}j~k#l$m_n`o"},
	{name: "exclamation mark", sender: "a!b@example.org", srs: "SRS0=????=2W=example.org=a!b", routing: true},
	{name: "percent", sender: "a%20b@example.org", srs: "SRS0=????=2W=example.org=a%20b", routing: true},
	{name: "address literal", sender: "user@[192.0.2.1]", srs: "SRS0=????=2W=[192.0.2.1]=user"},
	{name: "IPv6 address literal", sender: "user@[IPv6:2001:db8::1]", srs: "SRS0=????=2W=[IPv6:2001:db8::1]=user"},
	{name: "SMTPUTF8", sender: "jörg@example.org", srs: "SRS0=????=2W=example.org=jörg"},
	{name: "SMTPUTF8 with capitals", sender: "JÖRG.Groß@example.org", srs: "SRS0=????=2W=example.org=JÖRG.Groß"},
	{name: "SMTPUTF8 quoted", sender: `"Jörg Ä"@example.org`, srs: "SRS0=????=2W=example.org=Jörg Ä"},
	{name: "SMTPUTF8 domain", sender: "Jörg@Bücher.example.org", srs: "SRS0=????=2W=Bücher.example.org=Jörg"},
	{name: "local part of 70 octets", sender: strings.Repeat("long.name-", 7) + "@example.org",
		srs: "SRS0=????=2W=example.org=" + strings.Repeat("long.name-", 7)},
	{name: "local part of 900 octets", sender: strings.Repeat("long.name-", 90) + "@example.org",
		srs: "SRS0=????=2W=example.org=" + strings.Repeat("long.name-", 90)},
	{name: "SRS0 of another host", sender: "SRS0=abcd=2W=example.org=user@relay1.test",
		srs: "SRS1=????=relay1.test==abcd=2W=example.org=user"},
	{name: "SRS0 of another host with another separator", sender: "SRS0+ab/d=2W=example.org=user@relay1.test",
		srs: "SRS1=????=relay1.test=+ab/d=2W=example.org=user"},
	{name: "quoted SRS0 of another host", sender: `"SRS0=abcd=2W=example.org=a b"@relay1.test`,
		srs: "SRS1=????=relay1.test==abcd=2W=example.org=a b"},
	{name: "SRS1 of another host", sender: "SRS1=efgh=relay1.test==abcd=2W=example.org=user@relay2.test",
		srs: "SRS1=????=relay1.test==abcd=2W=example.org=user",
		// The host between is left out on the way back.
		bounceTo: "SRS0=abcd=2W=example.org=user@relay1.test"},
}

// testForward sends mail to an alias that points outside and a bounce to what
// the next host got for a sender.
func (s *site) testForward(t *testing.T) {
	for _, c := range forwardCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bounceTo := c.bounceTo
			if bounceTo == "" {
				bounceTo = c.sender
			}
			from := fmt.Sprintf("Sender <%s>", bounceTo)
			token := newToken()
			send(t, s.postfix.addr, c.sender, "forward@example.com", mailText(from, "forward@example.com", token))
			m := s.world.take(t, token)
			if s.longest > 0 && len(c.sender) > s.longest {
				if m.from != c.sender {
					t.Errorf("forwarded with the sender %s, want %s", m.from, c.sender)
				}
				return
			}
			s.checkForwarded(t, m, c.srs)
			if got := m.header("From"); got != from {
				t.Errorf("From: %s, want %s", got, from)
			}

			if c.routing && !s.routing {
				if reply := refusal(t, s.postfix.addr, "", m.from); !strings.HasPrefix(reply, "5") {
					t.Errorf("RCPT TO:<%s> was answered %s, want a refusal", m.from, reply)
				}
				return
			}
			token = newToken()
			send(t, s.postfix.addr, "", m.from, mailText("MAILER-DAEMON@example.net", m.from, token))
			bounce := s.world.take(t, token)
			if bounce.from != "" || len(bounce.to) != 1 || bounce.to[0] != bounceTo {
				t.Errorf("the bounce is from <%s> to %q, want from <> to %q", bounce.from, bounce.to, bounceTo)
			}
			if got := bounce.header("To"); got != bounceTo {
				t.Errorf("the bounce has To: %s, want %s", got, bounceTo)
			}
		})
	}
}

func (s *site) checkForwarded(t *testing.T, m message, srs string) {
	t.Helper()
	local, domain := splitAddress(m.from)
	if s.stored && strings.HasPrefix(srs, "SRS0=") && len(srs) < 320 {
		srs = "SRS0=????=2W=1=" + strings.Repeat("?", 32)
	}
	if !matches(srs, local) || domain != s.srsDomain {
		t.Errorf("forwarded with the sender %s, want %s@%s", m.from, srs, s.srsDomain)
	}
	if len(m.to) != 1 || m.to[0] != "member@example.net" {
		t.Errorf("forwarded to %q", m.to)
	}
}

// matches compares s with a pattern, in which a question mark stands for any octet.
func matches(pattern, s string) bool {
	if len(pattern) != len(s) {
		return false
	}
	for i := range len(s) {
		if pattern[i] != '?' && pattern[i] != s[i] {
			return false
		}
	}
	return true
}

// splitAddress returns an address's local part, its quoting undone, and its domain.
func splitAddress(addr string) (local, domain string) {
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		return addr, ""
	}
	local, domain = addr[:at], addr[at+1:]
	if len(local) < 2 || local[0] != '"' {
		return local, domain
	}
	var b strings.Builder
	for i := 1; i < len(local)-1; i++ {
		if local[i] == '\\' {
			i++
		}
		b.WriteByte(local[i])
	}
	return b.String(), domain
}

func mailText(from, to, token string) string {
	return fmt.Sprintf("From: %s\nTo: %s\nSubject: test\nMessage-ID: <%s@example.org>\n"+
		"Date: Wed, 1 Jan 2020 12:00:00 +0000\n\n%s\n", from, to, token, token)
}

// testUntouched forwards mail whose sender has to stay as it is.
func (s *site) testUntouched(t *testing.T) {
	for name, sender := range map[string]string{
		"null sender":            "",
		"empty local part":       `""@example.org`,
		"own domain":             "user@example.com",
		"own domain, upper-case": "User@EXAMPLE.COM",
		"excluded domain":        "user@excluded.test",
		"excluded suffix":        "user@sub.suffix.test",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := newToken()
			send(t, s.postfix.addr, sender, "forward@example.com", mailText(sender, "forward@example.com", token))
			m := s.world.take(t, token)
			if m.from != sender {
				t.Errorf("forwarded with the sender <%s>, want <%s>", m.from, sender)
			}
		})
	}
	t.Run("already rewritten", func(t *testing.T) {
		t.Parallel()
		token := newToken()
		sender := s.sign(t, "user@example.org")
		send(t, s.postfix.addr, sender, "forward@example.com", mailText(sender, "forward@example.com", token))
		if m := s.world.take(t, token); m.from != sender {
			t.Errorf("forwarded with the sender <%s>, want <%s>", m.from, sender)
		}
	})
}

// testReturned forwards mail that the next host refuses, so that Postfix itself
// has to write the bounce.
func (s *site) testReturned(t *testing.T) {
	for _, c := range forwardCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bounceTo := c.bounceTo
			if bounceTo == "" {
				bounceTo = c.sender
			}
			token := newToken()
			send(t, s.postfix.addr, c.sender, "refusing@example.com", mailText(c.sender, "refusing@example.com", token))
			bounce := s.world.take(t, token)
			if bounce.from != "" || len(bounce.to) != 1 || bounce.to[0] != bounceTo {
				t.Errorf("the bounce is from <%s> to %q, want from <> to %q", bounce.from, bounce.to, bounceTo)
			}
		})
	}
}

// sign returns the SRS address that the site gives a sender.
func (s *site) sign(t *testing.T, sender string) string {
	t.Helper()
	return s.signWith(t, s.daemon, sender)
}

// signWith returns the SRS address that a daemon gives a sender.
func (s *site) signWith(t *testing.T, d *daemon, sender string) string {
	t.Helper()
	out, found := s.postfix.postmap(t, d.forwardMap(s.protocol), sender, "")
	if !found {
		t.Fatalf("%s is not rewritten", sender)
	}
	return strings.TrimSuffix(out, "\n")
}
