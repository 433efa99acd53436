//go:build postfix

package e2e

import (
	"encoding/base64"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMilterAuthenticated has a user of ours log in, as mail programs do, and
// send mail of their own, which keeps its sender wherever it goes. What they
// send in a stranger's name is rewritten.
func TestMilterAuthenticated(t *testing.T) {
	t.Parallel()
	s := milterSite(t, map[string]string{
		"smtpd_sasl_auth_enable":   "yes",
		"smtpd_sasl_local_domain":  ownDomain,
		"smtpd_relay_restrictions": "permit_sasl_authenticated reject_unauth_destination",
	})
	etc := s.postfix.dir + "/etc"
	if err := os.Mkdir(etc+"/sasl", 0o755); err != nil { // where Debian's Postfix looks
		t.Fatal(err)
	}
	s.postfix.write(t, "etc/sasl/smtpd.conf", "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN\nsasldb_path: "+etc+"/users.db\n")
	add := exec.Command("saslpasswd2", "-c", "-p", "-f", etc+"/users.db", "-u", ownDomain, "user")
	add.Stdin = strings.NewReader("a password for tests")
	if err := runQuietly(add); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(etc+"/users.db", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := runQuietly(exec.Command("postfix", "-c", etc, "reload")); err != nil {
		t.Fatal(err)
	}
	const own, elsewhere = "user@example.com", "member@example.net"
	if text := dialSMTP(t, s.postfix.addr); command(text, 250, "MAIL FROM:<"+own+">") != nil || command(text, 554, "RCPT TO:<"+elsewhere+">") != nil {
		t.Fatal("a stranger may send to others")
	}
	text := dialSMTP(t, s.postfix.addr)
	login := base64.StdEncoding.EncodeToString([]byte("\x00user\x00a password for tests"))
	if err := command(text, 235, "AUTH PLAIN "+login); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from string
		to   []string
		want string // sender
	}{
		{own, []string{elsewhere}, own},
		{own, []string{"a@relay.test", own, "forward@example.com"}, own},
		{"user@example.org", []string{elsewhere}, "SRS0=????=2W=example.org=user@example.com"},
	} {
		token := newToken()
		if refused := deliver(t, text, c.from, c.to, mailText(c.from, elsewhere, token)); len(refused) > 0 {
			t.Errorf("%s to %q: refused %q", c.from, c.to, refused)
		}
		for to, from := range s.arrivals(t, token, len(c.to)) {
			if !matches(c.want, from) {
				t.Errorf("%s to %q: %s has sender <%s>", c.from, c.to, to, from)
			}
		}
	}
}
