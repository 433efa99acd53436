//go:build guest

package guest

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	installOurs   = `apt-get -q -y install /root/postsrsd_3*_amd64.deb`
	installDebian = `apt-get -q -y --allow-downgrades install /root/debian/postsrsd_1*.deb`
)

// guide is the settings file of the administrators' guide that this project follows.
const guide = `SRS_DOMAIN=example.com

#VirtualDomain運用の場合、/etc/default/excluded_domainsに全てのドメインを追加
SRS_EXCLUDE_DOMAINS="$(cat /etc/default/excluded_domains)"

CHROOT=/var/spool/postsrsd

RUN_AS=postsrsd

SRS_SECRET_LENGTH=24
`

// traces are the files and accounts that a postsrsd package leaves behind.
const traces = `find / -xdev -name '*postsrsd*' ! -path '/root/*' ! -path '/var/spool/*' ! -path '/var/cache/apt/*' | sort
	getent passwd postsrsd; getent group postsrsd; debconf-show postsrsd`

// The way of a server that runs Debian's postsrsd: over to this one, through a
// reboot, back, over again, and away.
func TestUpgradeFromDebian(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.startSink()
	m.run(installDebian)
	m.run(`install -d -o postsrsd /var/spool/postsrsd`)
	m.write("/etc/default/postsrsd", guide)
	m.write("/etc/default/excluded_domains", "hosted.example\n.hosted.example\n")
	m.run(`systemctl restart postsrsd.service`)
	if version := m.run(`dpkg-query -W -f '${Version}' postsrsd`); !strings.HasPrefix(version, "1.") {
		t.Fatalf("Debian's package is version %s", version)
	}
	m.answers()
	old := m.forwards()
	before := m.run(`sha256sum /etc/default/postsrsd /etc/postsrsd.secret; stat -c '%n %a %U:%G %Y' /etc/default/postsrsd /etc/postsrsd.secret`)

	t.Log(m.run(installOurs))
	m.serves()
	if after := m.run(`sha256sum /etc/default/postsrsd /etc/postsrsd.secret; stat -c '%n %a %U:%G %Y' /etc/default/postsrsd /etc/postsrsd.secret`); after != before {
		t.Errorf("settings and secret before:\n%s\nafter:\n%s", before, after)
	}
	if broken := m.run(`dpkg --verify postsrsd; dpkg --audit`); broken != "" {
		t.Errorf("dpkg finds %s", broken)
	}
	if left := m.run(`find /etc -name '*.dpkg-*'`); left != "" {
		t.Errorf("unchanged conffiles were not simply replaced: %s", left)
	}
	m.bounces(old)
	if got := m.reverse(strings.ToLower(old)); got != sender {
		t.Errorf("%s in lower case reverses to %q", old, got)
	}
	m.forwards()
	m.logged("srs_forward: <" + sender + "> rewritten as <SRS0=")
	m.logged("> rewritten as <" + sender + ">")
	if got, _ := m.try(`postmap -q bob@mail.hosted.example tcp:127.0.0.1:10001`); got != "" {
		t.Errorf("an excluded domain is rewritten: %s", got)
	}
	m.jailed("/var/spool/postsrsd", "postsrsd")

	t.Run("reload under load", func(t *testing.T) { m.reloadsUnderLoad(t) })

	m.reboot()
	m.serves()
	m.startSink()
	m.bounces(old)
	first := m.run(`systemctl show --value -p ActiveEnterTimestampMonotonic postsrsd.service`)
	asks := m.run(`systemctl show --value -p InactiveExitTimestampMonotonic postfix@-.service`)
	if len(first) > len(asks) || len(first) == len(asks) && first > asks {
		t.Errorf("postsrsd was ready at %s µs, postfix started at %s µs", first, asks)
	}

	m.run(installOurs + ` --reinstall`)
	m.serves()

	m.run(installDebian)
	m.serves()
	m.answers()
	m.bounces(old)
	m.forwards()

	m.run(installOurs)
	m.serves()
	m.bounces(old)

	m.run(`apt-get -q -y remove postsrsd`)
	if state, _ := m.try(`systemctl is-active postsrsd.service`); strings.TrimSpace(state) == "active" {
		t.Error("the service runs on after the package was removed")
	}
	m.run(installOurs)
	m.serves()
	m.bounces(old)

	m.run(`apt-get -q -y purge postsrsd`)
	if left := m.run(traces); left != "" {
		t.Errorf("purging leaves %s", left)
	}
	if kept := m.run(`ls -d /var/spool/postsrsd /etc/default/excluded_domains`); !strings.Contains(kept, "\n") {
		t.Errorf("purging took what is the administrator's: %s", kept)
	}
}

// What Debian's package leaves when it is purged is what ours may leave: nothing.
func TestPurgingDebianLeavesNothing(t *testing.T) {
	m := newMachine(t)
	if left := m.bare(`{ ` + installDebian + ` && apt-get -q -y purge postsrsd; } >/dev/null 2>&1; ` + traces); left != "" {
		t.Errorf("purging leaves %s", left)
	}
}

func TestCleanInstall(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.startSink()
	t.Log(m.run(installOurs))
	m.serves()
	m.forwards()
	m.jailed("/var/lib/postsrsd", "postsrsd")
	if got := m.run(`stat -c '%a %U:%G %s' /etc/postsrsd.secret`); got != "600 root:root 17" {
		t.Errorf("the secret's mode, owner and size are %s", got)
	}
	// What container set-ups look for: sed edits these lines, and env takes all
	// that are no comment.
	settings := m.read("/etc/default/postsrsd")
	for _, line := range []string{"SRS_DOMAIN=example.com", `#?SRS_EXCLUDE_DOMAINS=\S*`, "SRS_SECRET=/etc/postsrsd.secret", "RUN_AS=postsrsd", "CHROOT=/var/lib/postsrsd"} {
		if !regexp.MustCompile("(?m)^" + line + "$").MatchString(settings) {
			t.Errorf("the settings file has no line %s", line)
		}
	}
	for line := range strings.Lines(settings) {
		if !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" && !regexp.MustCompile(`^[A-Z_]+=[!-~]*\n$`).MatchString(line) {
			t.Errorf("env cannot take the line %q", line)
		}
	}
	m.reboot()
	m.serves()

	// A unit of the administrator's own may start the launcher that PostSRSd 1.x had.
	m.run(`mkdir /etc/systemd/system/postsrsd.service.d`)
	m.write("/etc/systemd/system/postsrsd.service.d/mine.conf",
		"[Service]\nType=simple\nExecStart=\nExecStart=/usr/share/postsrsd/postsrsd-systemd-launcher\n")
	m.run(`systemctl daemon-reload; systemctl restart postsrsd.service`)
	m.answers()
	m.serves()
	m.run(`rm -r /etc/systemd/system/postsrsd.service.d; systemctl daemon-reload`)

	m.run(`apt-get -q -y purge postsrsd`)
	if left := m.run(traces); left != "" {
		t.Errorf("purging leaves %s", left)
	}
}

// Settings that were there first are the administrator's, whatever quotes and
// blanks they hold, and say where the secret belongs and how long it is to be.
func TestInstallWithSettingsThere(t *testing.T) {
	m := newMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	const settings = guide + `SRS_SECRET="/etc/it's \"a\" \$secret & more/s|e\\cret"` + "\n"
	m.write("/etc/default/postsrsd", settings)
	m.write("/etc/default/excluded_domains", "hosted.example\n")
	out := m.bare(`set -e
		mkdir '/etc/it'"'"'s "a" $secret & more'
		` + installOurs + ` 2>&1
		stat -c '%a %U:%G %s' /etc/it*/s*
		cat /etc/it*/s* >/root/before
		` + installOurs + ` --reinstall 2>&1
		cmp /etc/it*/s* /root/before
		test ! -e /etc/postsrsd.secret`)
	if !strings.Contains(out, "\n600 root:root 25\n") {
		t.Errorf("the secret is not one of 24 characters:\n%s", out)
	}
	if got := m.read("/etc/default/postsrsd"); got != settings {
		t.Errorf("the settings are now\n%s", got)
	}
}

// A service that was stopped stays stopped through an upgrade; one that cannot
// start says why, and dpkg goes on.
func TestUpgradeWhenStoppedOrBroken(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.run(installDebian)
	m.run(`systemctl stop postsrsd.service`)
	m.run(installOurs)
	if state, _ := m.try(`systemctl is-active postsrsd.service`); strings.TrimSpace(state) != "inactive" {
		t.Errorf("the service was stopped before the upgrade and is %s after it", state)
	}
	m.run(`systemctl start postsrsd.service`)
	m.run(installDebian)

	m.write("/etc/default/postsrsd", "SRS_DOMAIN=example.com\nSRS_SEPARATOR=x\n")
	out := m.run(installOurs)
	if !strings.Contains(out, "SRS separator character must be one of '=+-'") || !strings.Contains(out, "NOT RUNNING") {
		t.Errorf("the upgrade does not say why the service is down:\n%s", out)
	}
	if state := m.run(`dpkg-query -W -f '${Status}' postsrsd`); state != "install ok installed" {
		t.Errorf("the package is %s", state)
	}
	m.write("/etc/default/postsrsd", guide)
	m.run(`install -d /var/spool/postsrsd; touch /etc/default/excluded_domains`)
	m.until("the service to come up by itself", func() error {
		_, err := m.try(`systemctl is-active postsrsd.service`)
		return err
	})
}

// A conffile that the administrator changed is kept, and dpkg's question about
// it answered by apt's options.
func TestUpgradeWithChangedConffiles(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.run(installDebian)
	m.run(`echo '# mine' >>/etc/init.d/postsrsd; echo '# mine' >>/etc/apparmor.d/usr.sbin.postsrsd`)
	m.run(installOurs + ` -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold`)
	m.serves()
	for _, file := range []string{"/etc/init.d/postsrsd", "/etc/apparmor.d/usr.sbin.postsrsd"} {
		if !strings.HasSuffix(m.read(file), "# mine\n") {
			t.Errorf("%s was replaced although it was changed", file)
		}
		m.read(file + ".dpkg-dist")
	}
	m.run(`apt-get -q -y purge postsrsd`)
	if left := m.run(traces); left != "" {
		t.Errorf("purging leaves %s", left)
	}
}

// Settings and secrets that only look like ours are left alone: where PostSRSd
// 2.x's configuration is, none are written.
func TestUpgradeFrom2x(t *testing.T) {
	m := newMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.write("/etc/postsrsd.conf", "srs-domain = \"example.com\"\n")
	m.bare(`apt-get -q -y install /root/postsrsd_3*_amd64.deb`)
	if found, _ := filepath.Glob(filepath.Join(m.root, "etc/default/postsrsd*")); found != nil {
		t.Errorf("%s was written", found)
	}
	if got := m.read("/etc/postsrsd.conf"); got != "srs-domain = \"example.com\"\n" {
		t.Errorf("postsrsd.conf is now %q", got)
	}
}

// Containers have no service manager; some start the init script and look for the process at once.
func TestWithoutServiceManager(t *testing.T) {
	m := newMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.bare(`set -e
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
		chmod 755 /usr/sbin/policy-rc.d
		` + installOurs + `
		echo SRS_DOMAIN=example.org >>/etc/default/postsrsd
		service postsrsd start
		pgrep -x postsrsd
		service postsrsd status
		test "$(cat /run/postsrsd.pid)" = "$(pgrep -ox postsrsd)"
		address=$(postmap -q ` + sender + ` tcp:localhost:10001)
		case $address in *@example.org) ;; *) echo "$address"; exit 1 ;; esac
		service postsrsd reload
		service postsrsd restart
		test "$(postmap -q "$address" tcp:localhost:10002)" = ` + sender + `
		service postsrsd stop
		! pgrep -x postsrsd
		! service postsrsd status
		rm /etc/postsrsd.secret
		! service postsrsd start
		! pgrep -x postsrsd`)
}
