//go:build postfix

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"postsrsd/tcptable"
)

// milterSite is a mail host whose Postfix asks the daemon's milter, as README.md
// has it, word for word but for port and directories: example.com
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
	readme := func(block []string) (lines []string) {
		for _, line := range block {
			lines = append(lines, strings.NewReplacer("10003", port, "/etc/postfix/", dir+"/", "/etc/", dir+"/", `"`, "").Replace(line))
		}
		return lines
	}
	s.daemon = startDaemon(t, daemonConfig{domain: ownDomain, secret: secret, clock: today, flags: []string{"-e"}, env: append([]string{
		"SRS_DOMAIN=" + ownDomain, "SRS_DOMAINS=hosted.test virtual.test"}, append(readme(readmeBlock(t, "SRS_MILTER=")), env...)...)})
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
		"recipient_canonical_maps":    s.daemon.reverseMap(tcp),
		"recipient_canonical_classes": "envelope_recipient, header_recipient",
	}
	for _, line := range readme(readmeBlock(t, "smtpd_milters")) {
		key, value, _ := strings.Cut(line, " = ")
		main[key] = value
	}
	maps.Copy(main, params)
	for name, value := range main {
		main[name] = strings.ReplaceAll(value, "$PORT", port)
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
		"alone": {"recipient_canonical_maps": "", "local_recipient_maps": "texthash:$config_directory/users regexp:$config_directory/srs",
			"smtpd_milters": "inet:[::1]:$PORT", "inet_protocols": "all"},
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
		{"bounce to SRS0 in small letters", "", []string{strings.ToLower(srs0)}, map[string]string{"user@example.net": ""}, ""},
		{"bounce to SRS0, quoted", "", []string{s.sign(t, `"a b"@example.net`)}, map[string]string{`"a b"@example.net`: ""}, ""},
		{"bounce to SRS0 in UTF-8", "", []string{s.sign(t, "Jörg@example.net")}, map[string]string{"Jörg@example.net": ""}, ""},
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

// TestMilterCheck has check look at what README.md says.
func TestMilterCheck(t *testing.T) {
	t.Parallel()
	s := milterSite(t, nil)
	out, status := runCheck(t, s.daemon, s.postfix.dir+"/etc", nil)
	if status != 0 || strings.Contains(out, "error ") || strings.Contains(out, "both rewrite") || !strings.Contains(out, "smtpd_milters: Postfix asks the daemon's milter\n") {
		t.Errorf("status %d\n%s", status, out)
	}
}

// TestMilterSendmail has sendmail(1) send on what a filter such as procmail
// forwards.
func TestMilterSendmail(t *testing.T) {
	t.Parallel()
	s := milterSite(t, nil)
	for to, want := range map[string]string{"a@relay.test": "SRS0=????=2W=example.org=user@example.com", "user@example.com": "user@example.org"} {
		token := newToken()
		cmd := exec.Command("sendmail", "-i", "-f", "user@example.org", to)
		cmd.Env = append(os.Environ(), "MAIL_CONFIG="+s.postfix.dir+"/etc")
		cmd.Stdin = strings.NewReader(mailText("a@example.org", to, token))
		if err := runQuietly(cmd); err != nil {
			t.Fatal(err)
		}
		if from := s.arrivals(t, token, 1)[to]; !matches(want, from) {
			t.Errorf("%s has sender <%s>, want <%s>", to, from, want)
		}
	}
}

// TestMilterManyRecipients sends to as many recipients as the milter looks at,
// and to one more.
func TestMilterManyRecipients(t *testing.T) {
	t.Parallel()
	s := milterSite(t, map[string]string{"smtpd_recipient_limit": "2000"})
	const outside = "user@example.org"
	recipients := make([]string, 1000)
	for i := range recipients {
		recipients[i] = fmt.Sprintf("u%d@hosted.test", i)
	}
	text := dialSMTP(t, s.postfix.addr)
	for _, want := range []string{outside, "SRS0=????=2W=example.org=user@example.com"} {
		token := newToken()
		if refused := deliver(t, text, outside, recipients, mailText("a@example.org", "b@example.net", token)); len(refused) > 0 {
			t.Errorf("refused %q", refused)
		}
		for to, from := range s.arrivals(t, token, len(recipients)) {
			if !matches(want, from) {
				t.Fatalf("%d recipients: %s has sender <%s>, want <%s>", len(recipients), to, from, want)
			}
		}
		recipients = append(recipients, "one-more@hosted.test")
	}
}

// TestMilterManyMessages sends 200 messages over one connection. The log has
// each under Postfix's queue ID.
func TestMilterManyMessages(t *testing.T) {
	t.Parallel()
	s := milterSite(t, nil)
	text := dialSMTP(t, s.postfix.addr)
	for i := range 200 {
		token, from, to, want := newToken(), fmt.Sprintf("u%d@example.org", i), "a@relay.test", fmt.Sprintf("SRS0=????=2W=example.org=u%d@example.com", i)
		if i%2 == 1 {
			to, want = "user@example.com", from
		}
		deliver(t, text, from, []string{to}, mailText("a@example.org", "b@example.net", token))
		if got := s.arrivals(t, token, 1)[to]; !matches(want, got) {
			t.Fatalf("message %d has sender <%s>, want <%s>", i, got, want)
		}
	}
	log := s.postfix.log()
	lines := regexp.MustCompile(`(?m)^(\w+): srs_forward: <u\d+@example.org> rewritten as <(.*)>$`).FindAllStringSubmatch(s.daemon.log.String(), -1)
	if len(lines) != 100 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if !strings.Contains(log, line[1]+": from=<"+line[2]+">") {
			t.Errorf("Postfix does not know of %s", line[0])
		}
	}
}

// TestMilterTables asks a table for aliases, one that does not answer, and one
// that does not exist: mail goes on in any case.
func TestMilterTables(t *testing.T) {
	t.Parallel()
	serve := func(handle func(net.Conn)) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					handle(conn)
				}()
			}
		}()
		return "tcp:" + ln.Addr().String()
	}
	answers := serve(func(conn net.Conn) {
		tcptable.Serve(bufio.NewReader(conn), conn, 1000, func(dst, key []byte) ([]byte, error) {
			if string(key) == "staff@example.com" {
				return append(dst, "user@example.com, member@example.net"...), nil
			}
			return dst, errors.New("no such alias")
		})
	})
	hangs := serve(func(conn net.Conn) { io.Copy(io.Discard, conn) })
	const outside, srs = "user@example.org", "SRS0=????=2W=example.org=user@example.com"
	for _, test := range []struct{ name, table, user, staff, line string }{
		{"answers", answers, outside, srs, ""},
		{"hangs", hangs, srs, srs, "aliases are not known, so the sender is rewritten: " + hangs},
		{"closed", "tcp:127.0.0.1:" + freePort(t), srs, srs, "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := milterSite(t, nil, "SRS_MILTER_ALIAS_MAPS="+test.table)
			for to, c := range map[string]struct{ arrives, want string }{
				"user@example.com": {"user@example.com", test.user}, "staff@example.com": {"member@example.net", test.staff},
			} {
				token := newToken()
				send(t, s.postfix.addr, outside, to, mailText(outside, to, token))
				if from := s.arrivals(t, token, 1)[c.arrives]; !matches(c.want, from) {
					t.Errorf("%s has sender <%s>, want <%s>", to, from, c.want)
				}
			}
			if log := s.daemon.log.String(); !strings.Contains(log, test.line) {
				t.Errorf("not in the log: %s", test.line)
			}
		})
	}
}

// TestMilterInQueueDirectory has a jailed smtpd ask the milter on a unix socket,
// which moves while a client is connected.
func TestMilterInQueueDirectory(t *testing.T) {
	t.Parallel()
	s := &site{layout: layouts[0], world: startSink(t)}
	s.postfix = startPostfix(t, s.world, map[string]string{
		"myhostname": "mx.example.com", "mydestination": ownDomain, "relay_domains": "relay.test", "local_recipient_maps": "",
		"smtpd_milters": "unix:srs-milter", "milter_default_action": "accept",
	}, nil, "y")
	dir := t.TempDir()
	conf := func(lines ...string) {
		t.Helper()
		text := fmt.Sprintf("srs-domain = %s\nsecrets-file = %q\nmilter = \"unix:%s/queue/srs-milter\"\n%s\n", ownDomain, dir+"/secret", s.postfix.dir, strings.Join(lines, "\n"))
		if err := errors.Join(os.WriteFile(dir+"/secret", []byte(secret), 0o600), os.WriteFile(dir+"/postsrsd.conf", []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	conf(`socketmap = ""`)
	cmd := exec.Command(daemonPath, "-C", dir+"/postsrsd.conf")
	log := new(log)
	cmd.Stderr = log
	cmd.Env = append(os.Environ(), fmt.Sprintf("POSTSRSD_FAKETIME=%d", today.Unix()))
	startProcess(t, cmd)
	waitFor(t, "the daemon", func() bool { return strings.Contains(log.String(), "serving milter on") })

	text := dialSMTP(t, s.postfix.addr)
	wants := func(text *textproto.Conn) {
		t.Helper()
		for to, want := range map[string]string{"user@example.com": "user@example.org", "a@relay.test": "SRS0=????=2W=example.org=user@example.com"} {
			token := newToken()
			deliver(t, text, "user@example.org", []string{to}, mailText("a@example.org", "b@example.net", token))
			if from := s.arrivals(t, token, 1)[to]; !matches(want, from) {
				t.Errorf("%s has sender <%s>, want <%s>", to, from, want)
			}
		}
	}
	wants(text)
	conf("socketmap = inet:127.0.0.1:" + freePort(t)) // another worker, beside the one that this connection has
	cmd.Process.Signal(syscall.SIGHUP)
	waitFor(t, "another worker", func() bool { return strings.Contains(log.String(), "serving socketmap on") })
	wants(text)
	wants(dialSMTP(t, s.postfix.addr))
}
