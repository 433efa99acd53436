//go:build guest

package guest

import (
	"fmt"
	"strings"
	"testing"
)

// jailed holds the process that answers lookups against what the settings say of it.
func (m *machine) jailed(jail, user string) {
	m.t.Helper()
	got := m.run(`worker=$(pgrep -P "$(systemctl show --value -p MainPID postsrsd.service)")
		readlink /proc/$worker/root
		stat -c %U /proc/$worker/status
		sed -n 's/^\(Cap...\|NoNewPrivs\):\t//p' /proc/$worker/status | tr '\n' ' '`)
	want := jail + "\nroot\n" + strings.Repeat("0000000000000000 ", 5) + "1 "
	if user == "" {
		m.t.Fatal("no user")
	}
	if got != want {
		m.t.Errorf("root, owner, capabilities and no_new_privs of the worker are\n%s\nnot\n%s", got, want)
	}
	uids := m.run(`sed -n 's/^Uid:\t//p' /proc/$(pgrep -P "$(systemctl show --value -p MainPID postsrsd.service)")/status`)
	uid := m.run(`id -u "$1"`, user)
	if want := strings.Join([]string{uid, uid, uid, uid}, "\t"); uids != want {
		m.t.Errorf("the worker's users are %s, not %s", uids, want)
	}
}

// reloadsUnderLoad has Postfix's own client ask without pause on both ports
// while the service is reloaded.
func (m *machine) reloadsUnderLoad(t *testing.T) {
	m.run(`cd /root
		seq -f 'user%.0f@origin.example' 5000 >keys
		postmap -q - tcp:127.0.0.1:10001 <keys | cut -f 2 >signed
		test "$(wc -l <signed)" = 5000`)
	m.run(`cd /root
		ask() {
			rounds=0
			while [ ! -e done ] || [ $rounds = 0 ]; do
				postmap -q - "tcp:127.0.0.1:$1" <"$2" >"$3.out" 2>>"$3.err" || echo "exit $?" >>"$3.err"
				test "$(wc -l <"$3.out")" = 5000 || echo "$(wc -l <"$3.out") answers" >>"$3.err"
				rounds=$((rounds + 1))
			done
		}
		ask 10001 keys a & ask 10001 keys b &
		ask 10002 signed c & ask 10002 signed d &
		for i in $(seq 20); do systemctl reload postsrsd.service || echo "reload failed" >>reload.err; done
		touch done
		wait`)
	if wrong := m.run(`cd /root; cat *.err`); wrong != "" {
		t.Errorf("reloading under load:\n%s", wrong)
	}
}

// A worker that hangs is replaced by the supervisor, which ends it with no
// capability for that, before the service manager loses patience with both.
func TestHungWorkerIsReplaced(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.run(installOurs)
	m.answers()
	const worker = `pgrep -P "$(systemctl show --value -p MainPID postsrsd.service)"`
	hung := m.run(worker)
	m.run(`kill -STOP "$1"`, hung)
	m.until("another worker", func() error {
		if now, err := m.try(worker); err != nil || strings.Contains(now, hung) {
			return fmt.Errorf("%s, %v", now, err)
		}
		return nil
	})
	m.answers()
	if restarts := m.run(`systemctl show --value -p NRestarts postsrsd.service`); restarts != "0" {
		t.Errorf("the service was restarted %s times", restarts)
	}
	if left := m.run(`pgrep -c -f '^postsrsd: worker'`); left != "1" {
		t.Errorf("%s workers are left", left)
	}
}

// Every setting that the daemon takes has to work under the unit's restrictions.
func TestUnitLeavesSettingsWorking(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.run(installOurs)
	m.run(`ip address add 192.0.2.1/32 dev lo
		ip address add 2001:db8::1/128 dev lo nodad
		echo 'a secret of its own' >/root/secret
		install -D -m 600 /root/secret /home/alice/secret
		install -D -m 600 /root/secret /srv/secret
		install -D -m 600 /root/secret /opt/secret
		install -m 400 -o postsrsd /root/secret /etc/owned.secret
		install -d /var/spool/jail /home/jail /root/jail /opt/jail
		install -d -o postsrsd -m 700 /var/spool/owned
		echo hosted.example >/etc/excluded
		adduser --system --quiet --no-create-home other`)

	const asks = "127.0.0.1:10001"
	for _, tt := range []struct {
		name, settings string
		ask            string // where, 127.0.0.1:10001 when empty
		key, want      string // the lookup; a@b.example by default, and any answer
	}{
		{name: "nothing but the domain"},
		{name: "all addresses", settings: "SRS_LISTEN_ADDR=0.0.0.0", ask: "192.0.2.1:10001"},
		{name: "one IPv4 address", settings: "SRS_LISTEN_ADDR=192.0.2.1", ask: "192.0.2.1:10001"},
		{name: "one IPv6 address", settings: "SRS_LISTEN_ADDR=2001:db8::1", ask: "[2001:db8::1]:10001"},
		{name: "all of IPv6", settings: "SRS_LISTEN_ADDR=::", ask: "[2001:db8::1]:10001"},
		{name: "both loopbacks", settings: "SRS_LISTEN_ADDR=", ask: "[::1]:10001"},
		{name: "low ports", settings: "SRS_FORWARD_PORT=701\nSRS_REVERSE_PORT=702", ask: "127.0.0.1:701"},
		{name: "many connections", settings: "SRS_CONNECTION_LIMIT=15000"},
		{name: "secret in /root", settings: "SRS_SECRET=/root/secret"},
		{name: "secret in /home", settings: "SRS_SECRET=/home/alice/secret"},
		{name: "secret in /srv", settings: "SRS_SECRET=/srv/secret"},
		{name: "secret in /opt", settings: "SRS_SECRET=/opt/secret"},
		{name: "secret of the user", settings: "SRS_SECRET=/etc/owned.secret"},
		{name: "jail in /var/spool", settings: "CHROOT=/var/spool/jail"},
		{name: "jail in /home", settings: "CHROOT=/home/jail"},
		{name: "jail in /root", settings: "CHROOT=/root/jail"},
		{name: "jail in /opt", settings: "CHROOT=/opt/jail"},
		{name: "jail of the user", settings: "CHROOT=/var/spool/owned"},
		{name: "no jail", settings: "CHROOT="},
		{name: "another user", settings: "RUN_AS=other"},
		{name: "no user", settings: "RUN_AS="},
		{name: "neither", settings: "RUN_AS=\nCHROOT="},
		{name: "pid file in /run", settings: "SRS_EXTRA_OPTIONS='-p /run/x.pid'"},
		{name: "pid file in /var", settings: "SRS_EXTRA_OPTIONS='-p /var/lib/x.pid'"},
		{name: "pid file in /opt", settings: "SRS_EXTRA_OPTIONS='-p /opt/x.pid'"},
		{name: "cat", settings: `SRS_EXCLUDE_DOMAINS="$(cat /etc/excluded)"`, key: "a@hosted.example", want: ""},
		{name: "backquotes", settings: "SRS_EXCLUDE_DOMAINS=`cat /etc/excluded`", key: "a@hosted.example", want: ""},
		{name: "pipeline", settings: `SRS_EXCLUDE_DOMAINS="$(sort -u /etc/excluded | sed 's/^/./' | tr '\n' ,)"`, key: "a@x.hosted.example", want: ""},
		{name: "awk", settings: `SRS_EXCLUDE_DOMAINS=$(awk '{print $1}' /etc/excluded)`, key: "a@hosted.example", want: ""},
		{name: "perl expressions", settings: `SRS_EXCLUDE_DOMAINS=$(grep -P '^\w+\.example$' /etc/excluded)`, key: "a@hosted.example", want: ""},
		{name: "perl", settings: `SRS_EXCLUDE_DOMAINS=$(perl -ne 'print' /etc/excluded)`, key: "a@hosted.example", want: ""},
		{name: "temporary file", settings: `f=$(mktemp); echo x.example >$f; SRS_EXCLUDE_DOMAINS=$(cat $f); rm $f`, key: "a@x.example", want: ""},
		{name: "postconf", settings: `SRS_DOMAIN=$(postconf -h mydomain)`, key: "a@example.com", want: "a@example.com"},
		{name: "host name", settings: `SRS_DOMAIN=$(hostname -d)`, key: "a@example.com", want: "a@example.com"},
		{name: "accounts", settings: `RUN_AS=$(getent passwd postsrsd | cut -d: -f1)`},
		{name: "another file", settings: ". /etc/excluded.sh", key: "a@sourced.example", want: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m.write("/etc/excluded.sh", "SRS_EXCLUDE_DOMAINS=sourced.example\n")
			m.write("/etc/default/postsrsd", "SRS_DOMAIN=example.com\n"+tt.settings+"\n")
			if _, err := m.try(`systemctl restart postsrsd.service`); err != nil {
				t.Fatalf("%v\n%s", err, m.run(`journalctl --sync; journalctl -o cat -u postsrsd.service -n 8`))
			}
			where, key := tt.ask, tt.key
			if where == "" {
				where = asks
			}
			if key == "" {
				key = "a@b.example"
			}
			got, err := m.try(`postmap -q "$1" "tcp:$2"`, key, where)
			got = strings.TrimSpace(got)
			if tt.key == "" && (err != nil || !strings.HasPrefix(got, "SRS0=")) || tt.key != "" && got != tt.want {
				t.Errorf("%s asked for %s says %q, %v", where, key, got, err)
			}
			if _, err := m.try(`systemctl reload postsrsd.service`); err != nil {
				t.Error(err)
			}
		})
	}
	if denied, _ := m.try(`journalctl -o cat -u postsrsd.service | grep -iE 'not permitted|read-only file system'`); denied != "" {
		t.Errorf("the log has %s", denied)
	}
	if got := m.run(`systemctl show -p NRestarts --value postsrsd.service`); got != "0" {
		t.Errorf("the service restarted by itself %s times", got)
	}
}

// A postsrsd.conf of PostSRSd 2.x rules where it lies, with its socket in
// Postfix's queue directory, under the unit's restrictions.
func TestUnitServesPostsrsdConf(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	m.write("/etc/postsrsd.conf", `domains = { "hosted.example" }
srs-domain = "example.com"
secrets-file = "/etc/postsrsd.secret"
unprivileged-user = "postsrsd"
chroot-dir = "/var/lib/postsrsd"
`)
	m.write("/etc/postsrsd.secret", "a-secret-of-2x-s-own\n")
	m.run(installOurs)
	const ask = `postmap -q "$1" socketmap:unix:/var/spool/postfix/srs:"$2"`
	for range 2 {
		m.run(`systemctl is-active --quiet postsrsd.service`)
		signed := strings.TrimSpace(m.run(ask, "alice@example.org", "forward"))
		if !strings.HasPrefix(signed, "SRS0=") {
			t.Fatalf("alice@example.org becomes %q", signed)
		}
		if got := strings.TrimSpace(m.run(ask, signed, "reverse")); got != "alice@example.org" {
			t.Errorf("%s reverses to %q", signed, got)
		}
		if got, err := m.try(ask, "bob@hosted.example", "forward"); err == nil {
			t.Errorf("a sender of ours becomes %q", got)
		}
		m.run(`systemctl reload postsrsd.service`)
	}
	if got := strings.TrimSpace(m.run(`cat /etc/postsrsd.secret; ls /etc/default/postsrsd 2>/dev/null || true`)); got != "a-secret-of-2x-s-own" {
		t.Errorf("the package wrote: %q", got)
	}
}
