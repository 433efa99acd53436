//go:build postfix

package e2e

import (
	"strings"
	"testing"
)

// TestOutbound does what README.md says of a second cleanup, word for word but
// for the ports: local mail keeps its sender, mail that leaves is rewritten.
func TestOutbound(t *testing.T) {
	for name, relayhost := range map[string]bool{"by MX": false, "by a relay": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &site{layout: layouts[0], protocol: tcp, world: startSink(t)}
			s.daemon = startDaemon(t, daemonConfig{domain: ownDomain, secret: secret, clock: today})
			s.world.listen(t, "127.0.0.2:"+s.world.port) // whose mail is not ours
			hop := freePort(t)
			ports := strings.NewReplacer("10001", s.daemon.forwardPort, "10002", s.daemon.reversePort, "10025", hop)
			params := map[string]string{
				"myhostname":                  "mx.example.com",
				"myorigin":                    ownDomain,
				"mydestination":               ownDomain,
				"local_recipient_maps":        "inline:{user@example.com=x}",
				"local_transport":             "local",
				"mailbox_transport":           "smtp:[127.0.0.1]:" + s.world.port,
				"alias_maps":                  "inline:{{staff=user,member@[127.0.0.2]}}",
				"virtual_alias_maps":          "inline:{forward@example.com=member@[127.0.0.2], staff@example.com=staff}",
				"recipient_canonical_maps":    s.daemon.reverseMap(tcp),
				"recipient_canonical_classes": "envelope_recipient, header_recipient",
				"smtpd_relay_restrictions":    "check_sender_access inline:{user@example.com=OK} reject_unauth_destination",
				"smtp_tcp_port":               s.world.port, // where the world listens
			}
			if relayhost {
				params["relayhost"] = "[127.0.0.1]:" + s.world.port
			}
			for _, line := range readmeBlock(t, "default_transport") {
				key, value, _ := strings.Cut(ports.Replace(line), " = ")
				params[key] = value
			}
			master := ports.Replace(strings.Join(readmeBlock(t, "127.0.0.1:10025 inet"), "\n")) + "\n"
			s.postfix = startPostfix(t, s.world, params, map[string]string{"master.cf": master}, "n")
			t.Cleanup(func() {
				for _, line := range s.postfix.complaints() {
					t.Errorf("Postfix complains: %s", line)
				}
				if rest := s.world.rest(); rest != "" {
					t.Errorf("mail that no one asked for: %s", rest)
				}
			})

			const own, outside, member, srs = "user@example.com", "user@example.org", "member@[127.0.0.2]", "SRS0=????=2W=example.org=user@example.com"
			for _, c := range []struct {
				name, from, to string
				want           map[string]string
			}{
				{"local", outside, own, map[string]string{own: outside}},
				{"forwarded by a virtual alias", outside, "forward@example.com", map[string]string{member: srs}},
				{"forwarded by an alias, and not", outside, "staff@example.com", map[string]string{own: outside, member: srs}},
				{"SMTPUTF8", "Jörg@example.org", "forward@example.com", map[string]string{member: "SRS0=????=2W=example.org=Jörg@example.com"}},
				{"own", own, "friend@[127.0.0.2]", map[string]string{"friend@[127.0.0.2]": own}},
				{"null sender", "", "forward@example.com", map[string]string{member: ""}},
				{"bounce", "", s.sign(t, "user@[127.0.0.2]"), map[string]string{"user@[127.0.0.2]": ""}},
			} {
				t.Run(c.name, func(t *testing.T) {
					token := newToken()
					from := "Sender <a@example.org>"
					send(t, s.postfix.addr, c.from, c.to, mailText(from, c.to, token))
					for len(c.want) > 0 {
						m := s.world.take(t, token)
						for _, to := range m.to {
							if want, ok := c.want[to]; !ok || !matches(want, m.from) || m.header("From") != from {
								t.Errorf("%s has sender <%s>, want <%s>; From: %s", to, m.from, want, m.header("From"))
							}
							delete(c.want, to)
						}
					}
				})
			}
			// The way through this host is no open relay: only what Postfix
			// itself sends on gets there.
			if reply := refusal(t, s.postfix.addr, outside, "friend@[127.0.0.2]"); !strings.HasPrefix(reply, "554 ") {
				t.Errorf("a stranger's mail to others: %s", reply)
			}
		})
	}
}
