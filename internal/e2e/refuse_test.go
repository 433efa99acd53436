//go:build postfix

package e2e

import (
	"strings"
	"testing"
	"time"
)

// testRefuse asks for recipients that are not in order, and to compare for some that are.
func (s *site) testRefuse(t *testing.T) {
	const day = 24 * time.Hour
	at := func(clock time.Time, secret string) *daemon {
		return startDaemon(t, daemonConfig{domain: s.srsDomain, secret: secret, clock: clock})
	}
	stranger := at(today, "another")
	lastDay, expired, tomorrow := at(today.Add(-21*day), secret), at(today.Add(-22*day), secret), at(today.Add(day), secret)

	plain := s.sign(t, "user@example.org")
	srs1 := s.sign(t, "SRS0=abcd=2W=example.org=user@relay1.test")
	quoted := s.sign(t, `"a b"@example.org`)
	utf8 := s.sign(t, "JÖRG@example.org")
	// change replaces a part of an address, which has to be there.
	change := func(addr, old, new string) string {
		if !strings.Contains(addr, old) {
			t.Fatalf("no %s in %s", old, addr)
		}
		return strings.Replace(addr, old, new, 1)
	}
	// spoil changes an address's character i.
	spoil := func(addr string, i int) string {
		c := "A"
		if addr[i] == 'A' || addr[i] == 'a' {
			c = "B"
		}
		return addr[:i] + c + addr[i+1:]
	}

	type recipient struct{ name, address string }
	for _, group := range []struct {
		reply      string // its beginning
		recipients []recipient
	}{
		{"250 ", []recipient{
			{"in order", plain},
			{"in order, in small letters", strings.ToLower(plain)},
			{"in order, in capitals", strings.ToUpper(plain)},
			{"in order, SRS1", srs1},
			{"in order, quoted", quoted},
			{"in order, SMTPUTF8", utf8},
			{"of 21 days ago", s.signWith(t, lastDay, "user@example.org")},
		}},
		{"550 5.1.1 ", []recipient{
			{"of 22 days ago", s.signWith(t, expired, "user@example.org")},
			{"SRS1 signed with another secret", s.signWith(t, stranger, "SRS0=abcd=2W=example.org=user@relay1.test")},
			{"of tomorrow", s.signWith(t, tomorrow, "user@example.org")},
			{"signed with another secret", s.signWith(t, stranger, "user@example.org")},
			{"forged", "SRS0=AAAA=2W=example.org=user@" + s.srsDomain},
			{"forged SRS1", "SRS1=AAAA=relay1.test==abcd=2W=example.org=user@" + s.srsDomain},
			{"forged, quoted", `"SRS0=AAAA=2W=example.org=a b"@` + s.srsDomain},
			{"forged, SMTPUTF8", "SRS0=AAAA=2W=example.org=Jörg@" + s.srsDomain},
			{"first of the hash changed", spoil(plain, len("SRS0="))},
			{"last of the hash changed", spoil(plain, len("SRS0=hhh"))},
			{"hash cut short", plain[:len("SRS0=hhh")] + plain[len("SRS0=hhhh"):]},
			{"hash left empty", "SRS0=" + plain[len("SRS0=hhhh"):]},
			{"stamp changed", change(plain, "=2W=", "=2V=")},
			{"stamp of 20 characters", change(plain, "=2W=", "=77777777777777777777=")},
			{"host changed", change(plain, "example.org", "example.net")},
			{"user changed", change(plain, "=user@", "=root@")},
			{"quoted user changed", change(quoted, "=a b", "=a c")},
			{"SMTPUTF8 user changed", change(utf8, "Ö", "Ä")},
			{"SRS1 host changed", change(srs1, "relay1.test", "relay2.test")},
			{"SRS1 rest changed", change(srs1, "=user@", "=root@")},
			{"bare tag", "SRS0@" + s.srsDomain},
			{"tag and nothing", "SRS0=@" + s.srsDomain},
			{"no user", "SRS0=AAAA=2W=example.org@" + s.srsDomain},
			{"no one", "nobody@" + s.srsDomain},
		}},
		{"554 5.7.1 ", []recipient{
			{"in order, in a foreign domain", strings.TrimSuffix(plain, s.srsDomain) + "example.net"},
			{"foreign with a route through us", "@" + s.srsDomain + ":victim@example.net"},
		}},
		// Which of Postfix's checks refuses these depends on how the site treats routes.
		{"5", []recipient{
			{"routed by percent", "victim%example.net@" + s.srsDomain},
			{"routed by at sign", `"victim@example.net"@` + s.srsDomain},
			{"routed by exclamation mark", "example.net!victim@" + s.srsDomain},
			{"forged, routed by percent", "SRS0=AAAA=2W=example.org=victim%example.net@" + s.srsDomain},
			{"forged, routed by at sign", `"SRS0=AAAA=2W=example.org=victim@example.net"@` + s.srsDomain},
			{"forged, routed by exclamation mark", "example.net!SRS0=AAAA=2W=example.org=victim@" + s.srsDomain},
		}},
	} {
		for _, r := range group.recipients {
			for who, sender := range map[string]string{"bounce": "", "mail": "stranger@example.org"} {
				t.Run(r.name+"/"+who, func(t *testing.T) {
					t.Parallel()
					reply := refusal(t, s.postfix.addr, sender, r.address)
					if !strings.HasPrefix(reply, group.reply) {
						t.Errorf("RCPT TO:<%s> was answered %s, want %s", r.address, reply, group.reply)
					}
				})
			}
		}
	}
}
