//go:build postfix

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postsrsd/internal/dnstest"
)

// A mapHost is a host whose postsrsd.conf says what is served, with a Postfix's
// configuration directory, its queue directory, and a daemon that runs.
type mapHost struct{ dir, endpoint string }

// newMapHost serves at endpoint, in which $D stands for the host's directory.
func newMapHost(t *testing.T, endpoint string, lines ...string) mapHost {
	t.Helper()
	dir, err := os.MkdirTemp("", "srs-host-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := mapHost{dir, strings.ReplaceAll(endpoint, "$D", dir)}
	conf := fmt.Sprintf("srs-domain = example.com\nsecrets-file = \"$D/secret\"\nsocketmap = %q\ndomains = { virtual.example, mail.example.com }\n"+
		"chroot-dir = \"$D/jail\"\nunprivileged-user = nobody\n%s\n", h.endpoint, strings.Join(lines, "\n"))
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.Mkdir(dir+"/jail", 0o755), os.MkdirAll(dir+"/queue/private", 0o755), os.Mkdir(dir+"/closed", 0o700),
		os.WriteFile(dir+"/secret", []byte("0123456789abcdef01234567\n"), 0o600),
		os.WriteFile(dir+"/postsrsd.conf", []byte(strings.ReplaceAll(conf, "$D", dir)), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h mapHost) serve(t *testing.T) {
	t.Helper()
	startProcess(t, exec.Command(daemonPath, "-C", h.dir+"/postsrsd.conf"))
	network, address, _ := strings.Cut(strings.Replace(h.endpoint, "*", "127.0.0.1", 1), ":")
	waitFor(t, "the daemon", func() bool {
		conn, err := net.Dial(map[string]string{"unix": "unix", "inet": "tcp"}[network], address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// sound are the parameters of a main.cf with which check finds nothing wrong.
func (h mapHost) sound(forward, reverse string) map[string]string {
	params := soundMain(&daemon{})
	params["sender_canonical_maps"], params["recipient_canonical_maps"] = forward, reverse
	params["queue_directory"] = h.dir + "/queue"
	return params
}

// check runs the command in an environment, as somebody, and returns what it
// prints with $D for the host's directory.
func (h mapHost) check(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(daemonPath, append([]string{"check", "-C", h.dir + "/postsrsd.conf"}, args...)...)
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+h.dir+"/postfix")
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(out), h.dir, "$D"), cmd.ProcessState.ExitCode()
}

const chrootedMaster = "cleanup unix n - y - 0 cleanup\nsmtp inet n - y - - smtpd\n"

// TestCheckSocketmap brings about each finding about a socketmap: on unix
// sockets in and out of the queue directory, that Postfix may and may not
// connect to, and on a port.
func TestCheckSocketmap(t *testing.T) {
	port := freePort(t)
	const unixForward, unixReverse = "socketmap:unix:srs:forward", "socketmap:unix:srs:reverse"
	inet := "socketmap:inet:localhost:" + port + ":"
	for _, test := range []struct {
		name     string
		endpoint string   // unix:$D/queue/srs if empty
		lines    []string // of postsrsd.conf
		change   map[string]string
		master   string // soundMaster if empty
		silent   bool   // the daemon does not run
		status   int
		want     []string
		sound    bool
	}{
		{name: "sound", sound: true, want: []string{"ok       $D/postfix/main.cf: sender_canonical_maps: Postfix asks the daemon for envelope senders and recipients, and gets answers",
			"ok       $D/queue/srs: the daemon runs and answers as these settings say",
			"ok       srs-domain ($D/postsrsd.conf:1): the daemon starts with these settings, and rewrites into example.com",
			"ok       domains ($D/postsrsd.conf:4): 2 domains are our own"}},
		{name: "sound and chrooted", sound: true, master: chrootedMaster},
		{name: "sound, the whole path", sound: true, change: map[string]string{
			"sender_canonical_maps": "socketmap:unix:$D/queue/srs:forward", "recipient_canonical_maps": "socketmap:unix:$D/queue/srs:reverse"}},
		{name: "sound, the path in the jail", sound: true, master: chrootedMaster, change: map[string]string{
			"sender_canonical_maps": "socketmap:unix:/srs:forward", "recipient_canonical_maps": "socketmap:unix:/srs:reverse"}},
		{name: "sound on a port", sound: true, endpoint: "inet:127.0.0.1:" + port, change: map[string]string{
			"sender_canonical_maps": inet + "forward", "recipient_canonical_maps": inet + "reverse"}},
		{name: "sound for Postfix's group", sound: true, lines: []string{"socket-mode = 0660", `socket-owner = ":postfix"`}},
		{name: "the whole path in the jail", status: 1, master: chrootedMaster, change: map[string]string{"sender_canonical_maps": "socketmap:unix:$D/queue/srs:forward"},
			want: []string{"error    master.cf: cleanup/unix: cleanup looks for the socket of socketmap:unix:$D/queue/srs:forward at $D/queue$D/queue/srs, being chrooted, where none is: " +
				"set socketmap to unix:$D/queue/srs, and write socketmap:unix:srs:forward",
				"error    master.cf: smtp/inet: smtpd looks for the socket of "}},
		{name: "outside of the jail", status: 1, endpoint: "unix:$D/srs", master: chrootedMaster, change: map[string]string{
			"sender_canonical_maps": "socketmap:unix:$D/srs:forward", "recipient_canonical_maps": "socketmap:unix:$D/srs:reverse"},
			want: []string{"error    master.cf: cleanup/unix: cleanup looks for the socket of socketmap:unix:$D/srs:forward at $D/queue$D/srs, being chrooted, where none is: " +
				"set socketmap to unix:$D/queue/srs, and write socketmap:unix:srs:forward"}},
		{name: "sound outside without a jail", sound: true, endpoint: "unix:$D/srs", change: map[string]string{
			"sender_canonical_maps": "socketmap:unix:$D/srs:forward", "recipient_canonical_maps": "socketmap:unix:$D/srs:reverse"}},
		{name: "for root alone", status: 1, lines: []string{"socket-mode = 0600"},
			want: []string{"error    master.cf: cleanup/unix: cleanup, which runs as postfix, may not connect to $D/queue/srs: it has mode 0600: set socket-mode to 0666, or give it to a group of postfix's with socket-owner"}},
		{name: "in a directory for root alone", status: 1, endpoint: "unix:$D/closed/srs", change: map[string]string{
			"sender_canonical_maps": "socketmap:unix:$D/closed/srs:forward", "recipient_canonical_maps": "socketmap:unix:$D/closed/srs:reverse"},
			want: []string{"error    master.cf: smtp/inet: smtpd, which runs as postfix, may not connect to $D/closed/srs: the directory $D/closed has mode 0700: chmod o+x $D/closed, or serve"}},
		{name: "map names swapped", status: 1, change: map[string]string{"sender_canonical_maps": unixReverse, "recipient_canonical_maps": unixForward},
			want: []string{`error    $D/postfix/main.cf: sender_canonical_maps: socketmap:unix:srs:reverse asks the daemon in the wrong direction: write "sender_canonical_maps = socketmap:unix:srs:forward"`,
				`error    $D/postfix/main.cf: recipient_canonical_maps: socketmap:unix:srs:forward asks the daemon in the wrong direction: write "recipient_canonical_maps = socketmap:unix:srs:reverse"`}},
		{name: "a map that is none", status: 1, change: map[string]string{"sender_canonical_maps": "socketmap:unix:srs:srs_forward"},
			want: []string{"error    $D/postfix/main.cf: sender_canonical_maps: socketmap:unix:srs:srs_forward asks the daemon for a map that it does not have"}},
		{name: "tcp where a socketmap is", status: 1, endpoint: "inet:*:" + port, change: map[string]string{
			"sender_canonical_maps": "tcp:localhost:" + port, "recipient_canonical_maps": inet + "reverse"},
			want: []string{"error    $D/postfix/main.cf: sender_canonical_maps: tcp:localhost:" + port + " does not ask this daemon, which has inet:*:" + port + ` for this: write "sender_canonical_maps = socketmap:inet:localhost:` + port + `:forward"`}},
		{name: "another socket", status: 1, change: map[string]string{"sender_canonical_maps": "socketmap:unix:other:forward"},
			want: []string{"error    $D/postfix/main.cf: sender_canonical_maps: socketmap:unix:other:forward does not ask this daemon, which has unix:$D/queue/srs for this: write",
				"error    master.cf: cleanup/unix: cleanup looks for the socket of socketmap:unix:other:forward at $D/queue/other, where none is"}},
		{name: "no maps", status: 1, endpoint: "unix:$D/srs", change: map[string]string{"sender_canonical_maps": "-", "recipient_canonical_maps": "-"},
			want: []string{`error    $D/postfix/main.cf: sender_canonical_maps: Postfix does not ask the daemon: no sender is rewritten: write "sender_canonical_maps = socketmap:unix:$D/srs:forward"`}},
		{name: "no classes", status: 1, change: map[string]string{"sender_canonical_classes": "-"},
			want: []string{"error    $D/postfix/main.cf: sender_canonical_classes: envelope_sender, header_sender: Postfix rewrites the From: header too"}},
		{name: "a recipient table that takes bounces", status: 1, change: map[string]string{"recipient_canonical_maps": "static:box@example.com " + unixReverse},
			want: []string{"error    $D/postfix/main.cf: recipient_canonical_maps: static:box@example.com comes before socketmap:unix:srs:reverse and makes box@example.com of SRS0="}},
		{name: "asked for everything", status: 1, change: map[string]string{"canonical_maps": unixForward},
			want: []string{"error    $D/postfix/main.cf: canonical_maps: socketmap:unix:srs:forward is asked for senders and recipients"}},
		{name: "no daemon", status: 1, silent: true,
			want: []string{"warning  $D/queue/srs: nothing listens here: the daemon does not run, and Postfix defers all mail that it would ask about: start postsrsd",
				"error    socketmap:unix:srs:forward: nothing answers Postfix at $D/queue/srs: it defers all mail that it would ask about: start postsrsd"}},
		{name: "IPv6 alone", status: 1, endpoint: "inet:127.0.0.1:" + port, change: map[string]string{
			"inet_protocols": "ipv6", "sender_canonical_maps": "socketmap:inet:127.0.0.1:" + port + ":forward", "recipient_canonical_maps": inet + "reverse"},
			want: []string{"error    $D/postfix/main.cf: inet_protocols: ipv6: Postfix does not connect to 127.0.0.1:" + port + ", where the daemon listens: let the daemon listen on an address of that kind (socketmap)"}},
		{name: "virtual domains that are not ours", change: map[string]string{"virtual_alias_domains": "other.example"},
			want: []string{"warning  domains ($D/postsrsd.conf:4): 1 of the domains that are delivered here are not excluded: their senders are rewritten, and their own SPF counts for nothing: add to domains: other.example"}},
		{name: "double bounces", change: map[string]string{"myhostname": "mx.example.com"},
			want: []string{"note     domains ($D/postsrsd.conf:4): double-bounce@mx.example.com is rewritten"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.endpoint == "" {
				test.endpoint = "unix:$D/queue/srs"
			}
			h := newMapHost(t, test.endpoint, test.lines...)
			if !test.silent {
				h.serve(t)
			}
			params := h.sound(unixForward, unixReverse)
			for name, value := range test.change {
				params[name] = strings.ReplaceAll(value, "$D", h.dir)
			}
			os.Mkdir(h.dir+"/postfix", 0o755)
			if test.master == "" {
				test.master = soundMaster
			}
			writeConfig(t, h.dir+"/postfix", params, test.master, nil)
			out, status := h.check(t, "--skip=dns")
			for _, want := range test.want {
				if !strings.Contains("\n"+out, "\n"+want) {
					t.Errorf("not found: %s", want)
				}
			}
			if status != test.status || test.sound && (strings.Contains(out, "warning ") || strings.Contains(out, "error ")) {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			if t.Failed() {
				t.Log("\n" + out)
			}
		})
	}
}

// TestCheckOldPostfix has a Postfix that knows no socketmap.
func TestCheckOldPostfix(t *testing.T) {
	h := newMapHost(t, "unix:$D/queue/srs")
	h.serve(t)
	os.Mkdir(h.dir+"/postfix", 0o755)
	writeConfig(t, h.dir+"/postfix", h.sound("socketmap:unix:srs:forward", "socketmap:unix:srs:reverse"), soundMaster, nil)
	bin := t.TempDir()
	const script = `#!/bin/sh
[ "$1" = -m ] && { /usr/sbin/postconf -m | grep -v socketmap; exit; }
/usr/sbin/postconf "$@" | sed 's/^mail_version = .*/mail_version = 2.9.6/'
`
	if err := os.WriteFile(filepath.Join(bin, "postconf"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/sbin:/usr/bin:/bin")
	out, status := h.check(t, "--skip=dns,settings")
	const want = "error    socketmap:unix:srs:forward: this Postfix (2.9.6) has no table type socketmap: Postfix has it since 2.10; a settings file in place of the postsrsd.conf serves tcp, too"
	if status != 1 || !strings.Contains(out, want) {
		t.Errorf("exit status %d\n%s\nwant %s", status, out, want)
	}
}

// TestCheckHostWithSocketmap checks a whole host of 2.x's kind, sound in every
// group.
func TestCheckHostWithSocketmap(t *testing.T) {
	h := newMapHost(t, "unix:$D/queue/srs")
	h.serve(t)
	os.Mkdir(h.dir+"/postfix", 0o755)
	params := h.sound("socketmap:unix:srs:forward", "socketmap:unix:srs:reverse")
	maps.Copy(params, map[string]string{"smtp_bind_address": "192.0.2.25", "inet_protocols": "ipv4"})
	writeConfig(t, h.dir+"/postfix", params, chrootedMaster, nil)
	dns := dnstest.Serve(t, `
		example.com       MX 10 mail.example.com
		example.com       TXT v=spf1 mx -all
		mail.example.com  A 192.0.2.25
		mail.example.com  TXT v=spf1 a -all
		virtual.example   TXT v=spf1 include:example.com -all
		_dmarc.example.com TXT v=DMARC1; p=none`)
	if out, status := h.check(t, "--resolver", dns); status != 0 || strings.Contains(out, "warning ") || strings.Contains(out, "error ") || strings.Count(out, "\nok ") < 5 {
		t.Errorf("exit status %d\n%s", status, out)
	}
}
