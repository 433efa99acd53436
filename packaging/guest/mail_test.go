//go:build guest

package guest

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	sender    = "alice@origin.example"
	forwarder = "forwarder@example.com" // an alias of someone@outside.example
)

// startSink takes all mail for outside.example and origin.example.
func (m *machine) startSink() {
	m.t.Helper()
	m.run(`install -d -o postfix /var/spool/sink
		systemd-run --quiet --unit=sink --working-directory=/var/spool/sink smtp-sink -u postfix -d '%s.' 127.0.0.1:2525 100`)
	m.until("the sink to listen", func() error {
		_, err := m.try(`smtp-source -c -m 0 127.0.0.1:2525 2>/dev/null || ss -Hltn sport = :2525 | grep -q .`)
		return err
	})
}

// arrives waits for a mail in the sink and returns the sender and recipient that came with it.
func (m *machine) arrives() (from, to string) {
	m.t.Helper()
	mailFrom := regexp.MustCompile(`(?m)^X-Mail-Args: <(.*?)>`)
	rcptTo := regexp.MustCompile(`(?m)^X-Rcpt-Args: <(.*?)>`)
	m.until("mail to arrive outside", func() error {
		text, err := m.try(`cat /var/spool/sink/*`)
		if err != nil {
			return err
		}
		f, r := mailFrom.FindStringSubmatch(text), rcptTo.FindStringSubmatch(text)
		if f == nil || r == nil {
			return fmt.Errorf("half a mail: %q", text)
		}
		from, to = f[1], r[1]
		return nil
	})
	m.run(`rm /var/spool/sink/*`)
	return from, to
}

// forwards sends a mail from outside to the forwarding alias, has it leave
// under an SRS address, and has a bounce to that find its way back. It returns
// the SRS address.
func (m *machine) forwards() string {
	m.t.Helper()
	m.run(`smtp-source -f "$1" -t "$2" 127.0.0.1:25`, sender, forwarder)
	from, to := m.arrives()
	if !regexp.MustCompile(`^SRS0=[A-Za-z0-9+/]{4}=[A-Z2-7]{2}=origin\.example=alice@example\.com$`).MatchString(from) {
		m.t.Errorf("the mail left with sender %q", from)
	}
	if to != "someone@outside.example" {
		m.t.Errorf("the mail left for %q", to)
	}
	m.bounces(from)
	return from
}

// bounces sends a bounce to an SRS address, which has to arrive at the original sender.
func (m *machine) bounces(address string) {
	m.t.Helper()
	m.run(`smtp-source -f '<>' -t "$1" 127.0.0.1:25`, address)
	from, to := m.arrives()
	if from != "" || to != sender {
		m.t.Errorf("the bounce to %s left from %q to %q", address, from, to)
	}
}

// answers waits for the daemon to answer as Postfix asks it, and returns the
// sender to use in place of ours.
func (m *machine) answers() string {
	m.t.Helper()
	var address string
	m.until("the daemon to answer", func() (err error) {
		address, err = m.try(`postmap -q "$1" tcp:127.0.0.1:10001`, sender)
		return err
	})
	return strings.TrimSpace(address)
}

// reverse asks the daemon as Postfix does whom a bounce belongs to.
func (m *machine) reverse(address string) string {
	m.t.Helper()
	return m.run(`postmap -q "$1" tcp:127.0.0.1:10002`, address)
}

// logged waits until the log of facility mail, which rsyslog writes, has a line with these words.
func (m *machine) logged(words string) {
	m.t.Helper()
	m.until("a line in the log of facility mail", func() error {
		if text := m.read("/var/log/mail.log"); !strings.Contains(text, words) {
			return errors.New(words + " is not there")
		}
		return nil
	})
}

// serves says that the service is up under its own unit and says that it is well.
func (m *machine) serves() {
	m.t.Helper()
	if state := m.run(`systemctl is-active postsrsd.service; systemctl is-enabled postsrsd.service`); state != "active\nenabled" {
		m.t.Errorf("the service is %q", state)
	}
}
