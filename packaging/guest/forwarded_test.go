//go:build guest

package guest

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
)

// readmeBlock is the indented block of README.md that begins so.
func readmeBlock(t *testing.T, first string) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?m)^    ` + regexp.QuoteMeta(first) + `.*\n(    .*\n)*`).FindString(string(text))
	if block == "" {
		t.Fatalf("README.md has no block that begins %q", first)
	}
	return regexp.MustCompile(`(?m)^    `).ReplaceAllString(block, "")
}

// setMain sets the parameters of a block of README.md in main.cf.
func (m *machine) setMain(block string) {
	m.t.Helper()
	for line := range strings.Lines(block) {
		m.run(`postconf -e "$1"`, strings.TrimSpace(line))
	}
	m.run(`systemctl restart postfix`)
}

// forwardsAlone says that mail which stays here keeps its sender, and mail that
// an alias of either kind forwards does not.
func (m *machine) forwardsAlone() {
	m.t.Helper()
	m.run(`smtp-source -f "$1" -t bob@example.com 127.0.0.1:25`, sender)
	m.until("mail in bob's mailbox", func() error {
		text, err := m.try(`cat /var/mail/bob`)
		if err == nil && !strings.Contains(text, "Return-Path: <"+sender+">\n") {
			err = errors.New("the mailbox holds " + text)
		}
		return err
	})
	m.run(`rm /var/mail/bob`)
	m.forwards()
	m.run(`smtp-source -f "$1" -t team@example.com 127.0.0.1:25`, sender)
	if from, to := m.arrives(); !strings.HasPrefix(from, "SRS0=") || to != "someone@outside.example" {
		m.t.Errorf("the alias's mail left from %s to %s", from, to)
	}
}

// Local deliveries keep their sender in both set-ups that README.md has for
// that, word for word, under the unit.
func TestOnlyWhatIsForwarded(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.startSink()
	m.write("/etc/aliases", "team: someone@outside.example\n")
	m.write("/etc/postfix/virtual", "forwarder@example.com someone@outside.example\n")
	m.run(`useradd bob; newaliases; postmap /etc/postfix/virtual
		postconf -e 'virtual_alias_maps = hash:/etc/postfix/virtual'
		postconf -X sender_canonical_maps sender_canonical_classes`)
	m.write("/etc/default/postsrsd", readmeBlock(t, "SRS_MILTER="))
	m.run(installOurs)
	m.setMain(readmeBlock(t, "smtpd_milters"))
	m.serves()
	m.forwardsAlone()
	m.run(`systemctl reload postsrsd.service`)
	m.forwardsAlone()

	m.run(`sed -i /SRS_MILTER/d /etc/default/postsrsd
		systemctl reload postsrsd.service
		postconf -X smtpd_milters non_smtpd_milters
		postconf -e transport_maps= 'relayhost = [127.0.0.1]:2525'
		cat >>/etc/postfix/master.cf <<'EOF'
` + readmeBlock(t, "127.0.0.1:10025 inet") + `EOF`)
	m.setMain(readmeBlock(t, "default_transport"))
	m.forwardsAlone()
	// The second can change between two readings of the clock by Postfix.
	if found, _ := m.try(`grep -E 'postfix.*(warning|error|fatal)' /var/log/mail.log | grep -Ev 'bounce_queue_lifetime|file system clock|file time stamps'`); found != "" {
		t.Errorf("Postfix complains:\n%s", found)
	}
}
