//go:build guest

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Debian's rpm asks to be told that this is no Debian package; what rpm needs
// of the system is not in its database here.
const (
	rpmInstall = `rpm --force-debian --nodeps --install `
	rpmUpgrade = `rpm --force-debian --nodeps --upgrade `
	rpmErase   = `rpm --force-debian --nodeps --erase postsrsd`
)

// spec makes a package with PostSRSd 1.x's list of files, around the real
// daemon of Debian's package. %[1]s is where the settings are, %[2]s what else
// it owns.
const spec = `
Name: postsrsd
Version: 1.12
Release: 9
Summary: PostSRSd as other distributions package it
License: GPL
BuildArch: x86_64
AutoReqProv: no
%%global __os_install_post %%{nil}
%%global debug_package %%{nil}

%%description
The files that upgrades meet.

%%install
mkdir -p %%{buildroot}/usr/sbin %%{buildroot}/usr/lib/systemd/system %%{buildroot}%[1]s %%{buildroot}/var/lib/postsrsd
rmdir %%{buildroot}%[1]s
cp %%{daemon} %%{buildroot}/usr/sbin/postsrsd
echo SRS_DOMAIN=localdomain >%%{buildroot}%[1]s
cat >%%{buildroot}/usr/lib/systemd/system/postsrsd.service <<EOF
[Unit]
Description=PostSRSd
[Service]
ExecStart=/bin/sh -c '. %[1]s; exec /usr/sbin/postsrsd -l 127.0.0.1 -s /etc/postsrsd.secret -d $$SRS_DOMAIN -u nobody -c /var/lib/postsrsd'
[Install]
WantedBy=multi-user.target
EOF

%%post
[ -e /etc/postsrsd.secret ] || (umask 077; head -c 24 /dev/urandom | base64 >/etc/postsrsd.secret)
systemctl daemon-reload >/dev/null 2>&1 || :

%%preun
[ $1 -gt 0 ] || systemctl disable --now postsrsd.service >/dev/null 2>&1 || :

%%postun
systemctl daemon-reload >/dev/null 2>&1 || :
[ $1 -lt 1 ] || systemctl try-restart postsrsd.service >/dev/null 2>&1 || :

%%files
/usr/sbin/postsrsd
/usr/lib/systemd/system/postsrsd.service
%%dir %%attr(755, nobody, nogroup) /var/lib/postsrsd
%%config(noreplace) %[1]s
%[2]s
`

// oldRPM builds such a package.
func oldRPM(t *testing.T, settings, more string) string {
	t.Helper()
	dir := t.TempDir()
	debs, _ := filepath.Glob(filepath.Join(image, "root/debian/postsrsd_1*.deb"))
	if len(debs) != 1 {
		t.Fatalf("Debian's package: %v", debs)
	}
	must(t, "dpkg-deb", "--extract", debs[0], filepath.Join(dir, "debian"))
	if err := os.WriteFile(filepath.Join(dir, "postsrsd.spec"), fmt.Appendf(nil, spec, settings, more), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "rpmbuild", "-bb", "--quiet", "--target", "x86_64", "--define", "_topdir "+dir, "--define", "daemon "+filepath.Join(dir, "debian/usr/sbin/postsrsd"),
		filepath.Join(dir, "postsrsd.spec"))
	found, _ := filepath.Glob(filepath.Join(dir, "RPMS/*/postsrsd-1.12*.rpm"))
	if len(found) != 1 {
		t.Fatalf("rpmbuild made %v", found)
	}
	return found[0]
}

// Both kinds of distributions' packages of PostSRSd 1.x are upgraded while
// their daemon serves; settings, secret, and what was signed survive that, the
// way back, and the end.
func TestRPMUpgrade(t *testing.T) {
	for _, tt := range []struct {
		name, settings, more string
	}{
		{"sysconfig", "/etc/sysconfig/postsrsd", ""},
		{"default", "/etc/default/postsrsd", "%ghost %attr(600, root, root) /etc/postsrsd.secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := bootMachine(t)
			old := oldRPM(t, tt.settings, tt.more)
			m.put("/root", old, built(t, "*.x86_64.rpm"))
			m.run(rpmInstall + `/root/postsrsd-1.12*.rpm`)
			m.write(tt.settings, "# mine\nSRS_DOMAIN=\"example.com\"\n")
			m.run(`systemctl enable --now postsrsd.service`)
			signed := m.answers()
			state := `sha256sum "$1" /etc/postsrsd.secret; stat -c '%n %a %U:%G %Y' "$1" /etc/postsrsd.secret`
			before := m.run(state, tt.settings)
			survives := func(what, daemon string) {
				t.Helper()
				if after := m.run(state, tt.settings); after != before {
					t.Errorf("%s: settings and secret were\n%s\nand are\n%s", what, before, after)
				}
				if left := m.run(`find /etc -name '*.rpmsave' -o -name '*.rpmkeep'; ls /var/lib/rpm-state/postsrsd 2>/dev/null || :`); left != "" {
					t.Errorf("%s: left are %s", what, left)
				}
				if got := m.run(rpmQuery); got != daemon {
					t.Errorf("%s: %s is installed", what, got)
				}
				m.serves()
				m.answers()
				if got := m.reverse(signed); got != sender {
					t.Errorf("%s: %s reverses to %q", what, signed, got)
				}
			}

			if out := m.run(rpmUpgrade + `/root/postsrsd-3*.rpm`); strings.Contains(out, "rror") || strings.Contains(out, "failed") {
				t.Error(out)
			}
			survives("upgraded", "3.0.0")
			if verified, _ := m.try(`rpm --verify --nodeps postsrsd`); strings.Contains(strings.ReplaceAll(verified, " c /etc/sysconfig/postsrsd", ""), " /") {
				t.Errorf("rpm finds %s", verified)
			}
			m.jailed("/var/lib/postsrsd", "postsrsd")

			m.run(rpmUpgrade + `--replacepkgs /root/postsrsd-3*.rpm`)
			survives("reinstalled", "3.0.0")

			m.run(`systemctl stop postsrsd.service`)
			m.run(rpmUpgrade + `--replacepkgs /root/postsrsd-3*.rpm`)
			if state, _ := m.try(`systemctl is-active postsrsd.service`); strings.TrimSpace(state) != "inactive" {
				t.Errorf("the service was stopped and is %s", state)
			}
			m.run(`systemctl start postsrsd.service`)

			m.run(rpmErase)
			if state, _ := m.try(`systemctl is-active postsrsd.service`); strings.TrimSpace(state) == "active" {
				t.Error("the service runs on after the package was erased")
			}
			kept := m.run(`cat "$1" 2>/dev/null || cat "$1.rpmsave"; ls /etc/postsrsd.secret`, tt.settings)
			if !strings.HasPrefix(kept, "# mine\n") || !strings.HasSuffix(kept, "\n/etc/postsrsd.secret") {
				t.Errorf("erasing keeps %q", kept)
			}
		})
	}
}

const rpmQuery = `rpm --query --queryformat '%{version}' postsrsd`

// Where there is no service manager at all, the scripts say nothing and the program works.
func TestRPMWithoutServiceManager(t *testing.T) {
	m := newMachine(t)
	m.put("/root", built(t, "*.x86_64.rpm"))
	out := m.bare(`set -e
		rm /usr/bin/systemctl /usr/bin/journalctl
		exec 2>&1
		` + rpmInstall + `/root/postsrsd-3*.rpm
		rpm --verify --nodeps postsrsd
		stat -c '%n %a %U:%G %s' /etc/postsrsd.secret
		grep -v '^#' /etc/sysconfig/postsrsd | grep . || :
		postsrsd -D --log=stderr 2>/dev/null
		address=$(postmap -q ` + sender + ` tcp:localhost:10001)
		echo "$address"
		` + rpmUpgrade + `--replacepkgs /root/postsrsd-3*.rpm
		test "$(postmap -q "$address" tcp:localhost:10002)" = ` + sender + `
		pkill -x postsrsd
		` + rpmErase + `
		ls /etc/postsrsd.secret /etc/sysconfig/postsrsd 2>/dev/null || :`)
	lines := strings.Split(out, "\n")
	if len(lines) != 4 || lines[0] != "/etc/postsrsd.secret: a new secret" || lines[1] != "/etc/postsrsd.secret 600 root:root 17" ||
		!strings.HasPrefix(lines[2], "SRS0=") || lines[3] != "/etc/postsrsd.secret" {
		t.Errorf("installing, upgrading and erasing print\n%s", out)
	}
}
