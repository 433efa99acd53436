//go:build guest

package guest

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// conf2x is a postsrsd.conf with every key that PostSRSd 2.x has.
const conf2x = `srs-domain = "example.com"
domains = { "mail.example.com", ".hosted.example" }
domains-file = "/etc/srs.domains"
domains-file-watch = on
original-envelope = embedded
envelope-database = ""
separator = "="
hash-length = 4
hash-minimum = 4
always-rewrite = off
socketmap = unix:/var/spool/postfix/srs
keep-alive = 30
connection-limit = 200
milter = ""
milter-rewrite-local = off
milter-recipient-limit = 1000
secrets-file = "/etc/postsrsd.secret"
pid-file = ""
unprivileged-user = "postsrsd"
chroot-dir = "/var/lib/postsrsd"
seccomp = on
daemonize = off
syslog = off
debug = off
`

// package2x makes, in /root/2x, a package that leaves what PostSRSd 2.x's
// leaves on a host: the name and a lower version, a conffile, a secret, a user,
// and a unit that holds the socket. The program in it only does that. As some
// packages do, it stops the service before it is upgraded.
const package2x = `set -e
mkdir -p /root/2x/postsrsd/DEBIAN /root/2x/postsrsd/usr/sbin /root/2x/postsrsd/lib/systemd/system /root/2x/postsrsd/etc /root/2x/postsrsd/var/lib/postsrsd
cd /root/2x/postsrsd
cat >DEBIAN/control <<EOF
Package: postsrsd
Version: 2.0.10-1
Architecture: amd64
Maintainer: Nobody <nobody@example.com>
Description: stands for PostSRSd 2.x
EOF
echo /etc/postsrsd.conf >DEBIAN/conffiles
cat >etc/postsrsd.conf <<EOF
domains = {}
secrets-file = "/etc/postsrsd.secret"
unprivileged-user = "postsrsd"
chroot-dir = "/var/lib/postsrsd"
EOF
cat >lib/systemd/system/postsrsd.service <<EOF
[Service]
ExecStart=/usr/sbin/postsrsd -C /etc/postsrsd.conf
[Install]
WantedBy=multi-user.target
EOF
cat >usr/sbin/postsrsd <<'EOF'
#!/usr/bin/perl
use Socket;
my $path = "/var/spool/postfix/srs";
unlink $path;
socket my $s, AF_UNIX, SOCK_STREAM, 0 or die;
bind $s, pack_sockaddr_un($path) or die;
chmod 0666, $path;
listen $s, 10;
close $_ while accept $_, $s;
EOF
cat >DEBIAN/postinst <<'EOF'
#!/bin/sh
set -e
getent passwd postsrsd >/dev/null || adduser --system --quiet --group --no-create-home --home /var/lib/postsrsd postsrsd
test -e /etc/postsrsd.secret || (umask 077; head -c 18 /dev/urandom | base64 >/etc/postsrsd.secret)
systemctl daemon-reload
systemctl --quiet enable postsrsd.service
systemctl restart postsrsd.service
EOF
cat >DEBIAN/prerm <<'EOF'
#!/bin/sh
systemctl stop postsrsd.service
EOF
cat >DEBIAN/postrm <<'EOF'
#!/bin/sh
if [ "$1" = purge ]; then
	rm -f /etc/postsrsd.secret
	deluser --quiet postsrsd
fi
EOF
chmod 755 usr/sbin/postsrsd DEBIAN/postinst DEBIAN/prerm DEBIAN/postrm
dpkg-deb --build --root-owner-group . /root/2x/postsrsd_2.0.10-1_amd64.deb`

const install2x = `apt-get -q -y --allow-downgrades install /root/2x/postsrsd_2*.deb`

// asks is Postfix's client on the socket in its queue directory.
const asks2x = `postmap -q "$1" socketmap:unix:/var/spool/postfix/srs:"$2"`

// signed2x is the address that PostSRSd 2.x made of alice@origin.example so
// many days ago.
func signed2x(secret string, days int64) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	day := time.Now().Unix()/86400 - days
	stamp := string(digits[day>>5&31]) + string(digits[day&31])
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(strings.ToLower(stamp) + "origin.examplealice"))
	return "SRS0=" + base64.URLEncoding.EncodeToString(mac.Sum(nil))[:4] + "=" + stamp + "=origin.example=alice@example.com"
}

// The way of a server that runs PostSRSd 2.x: over to this one, through
// reloads and a reboot, back, over again, and away.
func TestTakeOverFrom2x(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.startSink()
	m.run(package2x)
	m.run(install2x)
	m.write("/etc/postsrsd.conf", conf2x)
	m.write("/etc/srs.domains", "# ours\nold.example\n")
	m.run(`systemctl restart postsrsd.service
		postconf -e 'sender_canonical_maps = socketmap:unix:srs:forward' 'recipient_canonical_maps = socketmap:unix:srs:reverse'
		postconf -F smtp/inet/chroot=y cleanup/unix/chroot=y
		systemctl restart postfix`)
	const state = `sha256sum /etc/postsrsd.conf /etc/postsrsd.secret; stat -c '%n %a %U:%G %Y' /etc/postsrsd.conf /etc/postsrsd.secret`
	before := m.run(state)
	secret := m.run(`cat /etc/postsrsd.secret`)

	t.Log(m.run(installOurs))
	m.serves()
	m.holds2x(secret)
	if after := m.run(state); after != before {
		t.Errorf("configuration and secret before:\n%s\nafter:\n%s", before, after)
	}
	if broken := m.run(`dpkg --verify postsrsd | grep -v ' /etc/postsrsd.conf$'; dpkg --audit; find /etc -name '*.dpkg-*'; ls /etc/default/postsrsd 2>/dev/null || true`); broken != "" {
		t.Errorf("dpkg finds, or the package left: %s", broken)
	}
	m.jailed("/var/lib/postsrsd", "postsrsd")

	t.Run("reloads and changes under load", func(t *testing.T) { m.changesUnderLoad(t) })

	// The unit of 2.x, kept by an administrator or as a part of ours.
	for _, file := range []string{"postsrsd.service", "postsrsd.service.d/mine.conf"} {
		m.run(`mkdir -p /etc/systemd/system/postsrsd.service.d`)
		m.write("/etc/systemd/system/"+file, "[Service]\nType=notify\nExecStart=\nExecStart=/usr/sbin/postsrsd -C /etc/postsrsd.conf\nExecReload=kill -HUP $MAINPID\n")
		m.run(`systemctl daemon-reload; systemctl restart postsrsd.service; systemctl reload postsrsd.service`)
		m.holds2x(secret)
		m.run(`rm -r /etc/systemd/system/"$1"; systemctl daemon-reload`, file)
	}

	// The settings of 1.x that an earlier change of versions left.
	m.write("/etc/default/postsrsd", "SRS_DOMAIN=one.example\n")
	m.run(`systemctl restart postsrsd.service`)
	m.holds2x(secret)
	if log := m.run(`journalctl --sync; journalctl -o cat -u postsrsd.service`); !strings.Contains(log, "/etc/default/postsrsd is not read, because /etc/postsrsd.conf is there: take one of them away") {
		t.Errorf("the log does not point at the other file:\n%s", log)
	}
	m.run(`rm /etc/default/postsrsd`)

	m.reboot()
	m.serves()
	m.startSink()
	m.holds2x(secret)

	m.run(install2x)
	if after := m.run(state); after != before {
		t.Errorf("configuration and secret before:\n%s\nback at 2.x:\n%s", before, after)
	}
	m.run(installOurs)
	m.serves()
	m.holds2x(secret)

	m.run(`apt-get -q -y purge postsrsd`)
	if left := m.run(traces + `; ls -d /var/spool/postfix/srs* 2>/dev/null || true`); left != "" {
		t.Errorf("purging leaves %s", left)
	}
	m.run(`test -e /etc/srs.domains`)
}

// Without a service manager the init script reads the same file.
func TestPostsrsdConfWithoutServiceManager(t *testing.T) {
	m := newMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.write("/etc/postsrsd.conf", conf2x)
	m.write("/etc/srs.domains", "old.example\n")
	m.bare(`set -e
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
		chmod 755 /usr/sbin/policy-rc.d
		` + installOurs + `
		test ! -e /etc/default/postsrsd
		postsrsd secret
		service postsrsd start
		test "$(cat /run/postsrsd.pid)" = "$(pgrep -ox postsrsd)"
		table=socketmap:unix:/var/spool/postfix/srs
		address=$(postmap -q ` + sender + ` $table:forward)
		case $(postmap -q bob@new.example $table:forward) in SRS0=*) ;; *) exit 1 ;; esac
		echo new.example >/etc/srs.domains
		service postsrsd reload
		n=0
		while postmap -q bob@new.example $table:forward; do n=$((n + 1)); test $n -lt 200; sleep 0.1; done
		service postsrsd restart
		test "$(postmap -q "$address" $table:reverse)" = ` + sender + `
		service postsrsd stop
		! pgrep -x postsrsd
		test ! -e /var/spool/postfix/srs`)
}

// holds2x has mail forwarded by a Postfix whose smtpd and cleanup are jailed,
// and addresses of every age come back.
func (m *machine) holds2x(secret string) {
	m.t.Helper()
	m.run(`smtp-source -f "$1" -t "$2" 127.0.0.1:25`, sender, forwarder)
	from, to := m.arrives()
	if from != signed2x(secret, 0) && from != signed2x(secret, 1) || to != "someone@outside.example" { // midnight may have passed
		m.t.Errorf("the mail left from %q to %q", from, to)
	}
	m.bounces(from)
	m.bounces(strings.ToLower(signed2x(secret, 20)))
	for _, days := range []int64{0, 1, 10, 20} {
		if got := m.run(asks2x, signed2x(secret, days), "reverse"); got != sender {
			m.t.Errorf("an address of %d days ago reverses to %q", days, got)
		}
	}
	for _, local := range []string{"example.com", "mail.example.com", "a.hosted.example"} {
		if got, err := m.try(asks2x, "bob@"+local, "forward"); err == nil || got != "" && !strings.Contains(err.Error(), "exit status 1\n") {
			m.t.Errorf("a sender in %s becomes %q, %v", local, got, err)
		}
	}
	if root := m.run(`for p in $(pgrep -x 'smtpd|cleanup'); do readlink /proc/$p/root; done | sort -u`); root != "/var/spool/postfix" {
		m.t.Errorf("the roots of smtpd and cleanup are %q", root)
	}
	if ports := m.run(`ss -Hltn 'sport = :10001 or sport = :10002'`); ports != "" {
		m.t.Errorf("there are ports: %s", ports)
	}
}

// changesUnderLoad has Postfix's own client ask without pause while the service
// is reloaded by signal, and because the file of domains has changed in each
// way that a file can.
func (m *machine) changesUnderLoad(t *testing.T) {
	m.run(`cd /root
		seq -f 'user%.0f@origin.example' 2000 >keys
		postmap -q - socketmap:unix:/var/spool/postfix/srs:forward <keys | cut -f 2 >signed
		test "$(wc -l <signed)" = 2000`)
	m.run(`cd /root
		table=socketmap:unix:/var/spool/postfix/srs
		ask() {
			rounds=0
			while [ ! -e done ] || [ $rounds = 0 ]; do
				postmap -q - "$table:$1" <"$2" >"$3.out" 2>>"$3.err" || echo "exit $?" >>"$3.err"
				test "$(wc -l <"$3.out")" = 2000 || echo "$(wc -l <"$3.out") answers" >>"$3.err"
				rounds=$((rounds + 1))
			done
		}
		seen() {
			n=0
			while postmap -q "user@$1.example" "$table:forward" >/dev/null 2>>local.err; do
				n=$((n + 1))
				test $n -lt 150 || { echo "$1.example is not seen to be local" >>local.err; return; }
				sleep 0.1
			done
		}
		ask forward keys a & ask forward keys b &
		ask reverse signed c & ask reverse signed d &
		for i in $(seq 10); do systemctl reload postsrsd.service || echo "reload failed" >>reload.err; done
		seen old
		echo written.example >/etc/srs.domains
		seen written
		echo renamed.example >/etc/srs.new
		mv /etc/srs.new /etc/srs.domains
		seen renamed
		rm /etc/srs.domains
		sleep 2
		seen renamed
		echo again.example >/etc/srs.domains
		seen again
		for i in $(seq 10); do systemctl reload postsrsd.service || echo "reload failed" >>reload.err; done
		touch done
		wait`)
	if wrong := m.run(`cd /root; cat *.err`); wrong != "" {
		t.Errorf("under load:\n%s", wrong)
	}
	if got := m.run(`systemctl show -p NRestarts --value postsrsd.service`); got != "0" {
		t.Errorf("the service was restarted %s times", got)
	}
}

// The socket may be wherever Postfix's processes find it, and belong to whom
// the administrator says, though the unit lets root change no file's owner and
// go nowhere that is closed to it.
func TestUnitSocketPlaces(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.startSink()
	m.write("/etc/postsrsd.conf", `srs-domain = "example.com" secrets-file = "/etc/postsrsd.secret"`+"\n")
	m.write("/etc/postsrsd.secret", "a-secret-of-2x-s-own\n")
	m.run(installOurs)
	m.run(`install -d -o postsrsd -g postsrsd -m 700 /var/lib/own`)
	for _, tt := range []struct {
		path, settings string
		want           string // mode and owner
	}{
		{"/var/spool/postfix/srs", "", "666 root:root"},
		{"/var/spool/postfix/srs", `socket-owner = "postfix:postfix" socket-mode = 0600`, "600 postfix:postfix"},
		{"/var/spool/postfix/srs", `socket-owner = ":postfix" socket-mode = 0660`, "660 root:postfix"},
		{"/var/spool/postfix/private/srs", "", "666 postfix:root"},
		{"/var/spool/postfix/private/srs", `socket-owner = "postfix" socket-mode = 0600`, "600 postfix:root"},
		{"/var/spool/postfix/private/srs", `socket-owner = "root:postfix" socket-mode = 0660`, "660 root:postfix"},
		{"/var/spool/postfix/public/srs", "", "666 postfix:postdrop"},
		{"/var/lib/own/srs", `pid-file = "/var/lib/own/pid"`, "666 postsrsd:postsrsd"},
		{"/var/lib/own/srs", `socket-owner = "postsrsd:postfix" socket-mode = 0660`, "660 postsrsd:postfix"},
	} {
		t.Run(tt.path+" "+tt.settings, func(t *testing.T) {
			m.write("/etc/postsrsd.conf", `srs-domain = "example.com" secrets-file = "/etc/postsrsd.secret" `+
				fmt.Sprintf("socketmap = \"unix:%s\" %s\n", tt.path, tt.settings))
			holds := func(when string) {
				t.Helper()
				if got := m.run(`stat -c '%a %U:%G' "$1"`, tt.path); got != tt.want {
					t.Errorf("%s: the socket is %s, not %s", when, got, tt.want)
				}
				if got := m.run(`postmap -q bob@origin.example "socketmap:unix:$1:forward"`, tt.path); !strings.HasPrefix(got, "SRS0=") {
					t.Errorf("%s: bob@origin.example becomes %q", when, got)
				}
			}
			if _, err := m.try(`systemctl restart postsrsd.service`); err != nil {
				t.Fatalf("%v\n%s", err, m.run(`journalctl --sync; journalctl -o cat -u postsrsd.service -n 8`))
			}
			holds("started")
			m.run(`systemctl reload postsrsd.service`)
			holds("reloaded")
			killed := m.run(`systemctl show --value -p MainPID postsrsd.service; systemctl kill --kill-who=main --signal=KILL postsrsd.service`)
			m.until("the service to be back", func() error {
				if now, err := m.try(`systemctl is-active -q postsrsd.service && systemctl show --value -p MainPID postsrsd.service`); err != nil || strings.TrimSpace(now) == killed {
					return fmt.Errorf("%s, %v", now, err)
				}
				return nil
			})
			holds("killed")
			if strings.HasPrefix(tt.path, "/var/spool/postfix/private/") {
				m.run(`postconf -e 'sender_canonical_maps = socketmap:unix:private/srs:forward' 'recipient_canonical_maps = socketmap:unix:private/srs:reverse'
					systemctl restart postfix
					smtp-source -f "$1" -t "$2" 127.0.0.1:25`, sender, forwarder)
				from, _ := m.arrives()
				if !regexp.MustCompile(`^SRS0=[A-Za-z0-9_-]{4}=[A-Z2-7]{2}=origin\.example=alice@example\.com$`).MatchString(from) {
					t.Errorf("the mail left with sender %q", from)
				}
				m.bounces(from)
			}
			m.run(`systemctl stop postsrsd.service`)
			if left := m.run(`find "$(dirname "$1")" -name '*srs*' -o -name pid -type f`, tt.path); strings.TrimSpace(strings.ReplaceAll(left, "/var/spool/postfix/pid", "")) != "" {
				t.Errorf("stopping leaves %s", left)
			}
		})
	}
}
