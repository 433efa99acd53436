//go:build postfix

package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postsrsd/internal/dnstest"
)

// soundMain is a main.cf with which check finds nothing wrong.
func soundMain(d *daemon) map[string]string {
	return map[string]string{
		"compatibility_level":         "3.6",
		"myhostname":                  "mail.example.com",
		"mydomain":                    "example.com",
		"mydestination":               "$mydomain, localhost",
		"virtual_alias_domains":       "virtual.example",
		"inet_protocols":              "all",
		"sender_canonical_maps":       "tcp:localhost:" + d.forwardPort,
		"sender_canonical_classes":    "envelope_sender",
		"recipient_canonical_maps":    "tcp:localhost:" + d.reversePort,
		"recipient_canonical_classes": "envelope_recipient, header_recipient",
	}
}

const soundMaster = "cleanup unix n - n - 0 cleanup\nsmtp inet n - n - - smtpd\n"

// TestCheckPostfix brings about each finding of check's group postfix: real
// postconf and postmap on a configuration directory that has it, beside a
// daemon that runs.
func TestCheckPostfix(t *testing.T) {
	d := startDaemon(t, daemonConfig{domain: "example.com", secret: "tops3cr3t", clock: time.Unix(1577880000, 0),
		flags: []string{"-l", "127.0.0.1", "-Xvirtual.example,mail.example.com"}})
	closed := freePort(t)
	const two = `write "sender_canonical_classes = envelope_sender" and "recipient_canonical_classes = envelope_recipient, header_recipient"`
	forward, reverse := "tcp:localhost:"+d.forwardPort, "tcp:localhost:"+d.reversePort
	for _, test := range []struct {
		name   string
		change map[string]string // of main.cf; "-" takes a parameter out
		master string            // in place of soundMaster
		files  map[string]string
		flags  []string // of the daemon's settings as check sees them
		status int
		want   []string // lines, $D for the configuration directory
		sound  bool     // no warning and no error
	}{
		{name: "sound", sound: true, want: []string{
			"ok       $D/main.cf: sender_canonical_maps: Postfix asks the daemon for envelope senders and recipients, and gets answers",
			"ok       $D/main.cf: mydestination: Postfix takes bounces to example.com"}},
		{name: "sound with socketmap", sound: true, change: map[string]string{
			"sender_canonical_maps":    "socketmap:inet:localhost:" + d.forwardPort + ":forward",
			"recipient_canonical_maps": "socketmap:inet:127.0.0.1:" + d.reversePort + ":reverse"}},
		{name: "the guide: maps without classes", status: 1,
			change: map[string]string{"sender_canonical_classes": "-", "recipient_canonical_classes": "-"},
			want:   []string{"error    $D/main.cf: sender_canonical_classes: envelope_sender, header_sender: Postfix rewrites the From: header too, and DMARC fails: " + two}},
		{name: "classes the wrong way round", status: 1,
			change: map[string]string{"sender_canonical_classes": "header_sender", "recipient_canonical_classes": "header_recipient"},
			want: []string{
				"error    $D/main.cf: sender_canonical_classes: header_sender: Postfix rewrites the From: header too, and DMARC fails: " + two,
				"error    $D/main.cf: sender_canonical_classes: without envelope_sender no sender is rewritten: " + two,
				"error    $D/main.cf: recipient_canonical_classes: without envelope_recipient no bounce comes back: " + two}},
		{name: "no maps", status: 1, change: map[string]string{"sender_canonical_maps": "-", "recipient_canonical_maps": "-"},
			want: []string{
				`error    $D/main.cf: sender_canonical_maps: Postfix does not ask the daemon: no sender is rewritten: write "sender_canonical_maps = ` + forward + `"`,
				`error    $D/main.cf: recipient_canonical_maps: Postfix does not ask the daemon: no bounce comes back: write "recipient_canonical_maps = ` + reverse + `"`}},
		{name: "one map", status: 1, change: map[string]string{"recipient_canonical_maps": "-"},
			want: []string{`error    $D/main.cf: recipient_canonical_maps: Postfix does not ask the daemon: no bounce comes back: write "recipient_canonical_maps = ` + reverse + `"`}},
		{name: "ports swapped", status: 1, change: map[string]string{"sender_canonical_maps": reverse, "recipient_canonical_maps": forward},
			want: []string{"error    $D/main.cf: sender_canonical_maps: " + reverse + " asks the daemon in the wrong direction",
				"error    $D/main.cf: recipient_canonical_maps: " + forward + " asks the daemon in the wrong direction"}},
		{name: "map names swapped", status: 1, change: map[string]string{"sender_canonical_maps": "socketmap:inet:localhost:" + d.forwardPort + ":reverse"},
			want: []string{"error    $D/main.cf: sender_canonical_maps: socketmap:inet:localhost:" + d.forwardPort + ":reverse asks the daemon in the wrong direction"}},
		{name: "another port", status: 1, change: map[string]string{"sender_canonical_maps": "tcp:127.0.0.1:" + closed},
			want: []string{"error    $D/main.cf: sender_canonical_maps: tcp:127.0.0.1:" + closed + " does not ask this daemon, which has port " + d.forwardPort + " for this"}},
		{name: "no daemon", status: 1, change: map[string]string{"sender_canonical_maps": "tcp:127.0.0.1:" + closed}, flags: []string{"-f", closed},
			want: []string{"error    tcp:127.0.0.1:" + closed + ": nothing answers Postfix at 127.0.0.1:" + closed + ": it defers all mail that it would ask about: start postsrsd"}},
		{name: "no such host", status: 1, change: map[string]string{"sender_canonical_maps": "tcp:127.0.0.256:" + d.forwardPort},
			want: []string{"error    tcp:127.0.0.256:" + d.forwardPort + ": Postfix cannot find the host: "}},
		{name: "another daemon's port", change: map[string]string{"recipient_canonical_maps": forward, "sender_canonical_maps": reverse},
			flags: []string{"-f", d.reversePort, "-r", d.forwardPort},
			want: []string{"warning  " + reverse + ": what Postfix asks makes nothing of check@postsrsd.invalid",
				"warning  " + forward + ": what Postfix asks does not reverse SRS0="}},
		{name: "IPv6 alone", status: 1, change: map[string]string{"inet_protocols": "ipv6", "sender_canonical_maps": "tcp:127.0.0.1:" + d.forwardPort},
			want: []string{"error    $D/main.cf: inet_protocols: ipv6: Postfix does not connect to 127.0.0.1:" + d.forwardPort + ", where the daemon listens"}},
		{name: "IPv4 alone", sound: true, change: map[string]string{"inet_protocols": "ipv4"}},
		{name: "asked for everything", status: 1, change: map[string]string{"canonical_maps": forward},
			want: []string{"error    $D/main.cf: canonical_maps: " + forward + " is asked for senders and recipients, in envelope and headers"}},
		{name: "a sender table behind", change: map[string]string{"sender_canonical_maps": forward + " texthash:$config_directory/senders"},
			files: map[string]string{"senders": "a@example.com b@example.com\n"},
			want:  []string{"warning  $D/main.cf: sender_canonical_maps: texthash:$D/senders is not asked for senders that postsrsd answers for, those of its own domain too: put " + forward + " last"}},
		{name: "a sender table before", sound: true, change: map[string]string{"sender_canonical_maps": "texthash:$config_directory/senders, " + forward},
			files: map[string]string{"senders": "a@example.com b@example.com\n"}},
		{name: "a recipient table that takes bounces", status: 1, change: map[string]string{"recipient_canonical_maps": "regexp:$config_directory/all " + reverse},
			files: map[string]string{"all": "/@example\\.com$/ box@example.com\n"},
			want:  []string{"error    $D/main.cf: recipient_canonical_maps: regexp:$D/all comes before " + reverse + " and makes box@example.com of SRS0="}},
		{name: "a recipient table that does not", sound: true, change: map[string]string{"recipient_canonical_maps": "inline:{a@example.com=b@example.com, c@example.com=d@example.com} " + reverse}},
		{name: "one cleanup service of its own", status: 1, change: map[string]string{"sender_canonical_maps": "-", "recipient_canonical_maps": "-"},
			master: soundMaster + "srs unix n - n - 0 cleanup -o sender_canonical_maps=" + forward + " -o recipient_canonical_maps=" + reverse + " -o sender_canonical_classes=header_sender,envelope_sender\n",
			want:   []string{"error    master.cf: srs/unix: sender_canonical_classes: header_sender, envelope_sender: Postfix rewrites the From: header too, and DMARC fails"}},
		{name: "one sound cleanup service of its own", sound: true, change: map[string]string{"sender_canonical_maps": "-", "recipient_canonical_maps": "-"},
			master: soundMaster + "srs unix n - n - 0 cleanup -o sender_canonical_maps=" + forward + " -o recipient_canonical_maps=" + reverse + "\n"},
		{name: "unix socket and jail", status: 1, change: map[string]string{"sender_canonical_maps": forward + " socketmap:unix:/srs.sock:forward", "queue_directory": "$D/queue"},
			master: "cleanup unix n - y - 0 cleanup\nsmtp inet n - - - - smtpd\n",
			want: []string{"error    master.cf: cleanup/unix: cleanup looks for the socket of socketmap:unix:/srs.sock:forward at $D/queue/srs.sock, being chrooted, where none is",
				"error    master.cf: smtp/inet: smtpd looks for the socket of socketmap:unix:/srs.sock:forward at /srs.sock, where none is"}},
		{name: "nobody's domain", status: 1, change: map[string]string{"mydestination": "localhost"},
			want: []string{"error    $D/main.cf: mydestination: Postfix does not take mail to the SRS domain example.com: bounces are refused: add it to mydestination, or to virtual_alias_domains"}},
		{name: "domain excepted", status: 1, change: map[string]string{"mydestination": "!example.com, example.com"},
			want: []string{"error    $D/main.cf: mydestination: Postfix does not take mail to the SRS domain example.com"}},
		{name: "domain in a table", sound: true, change: map[string]string{"mydestination": "localhost", "virtual_mailbox_domains": "texthash:$config_directory/domains"},
			files: map[string]string{"domains": "example.com x\n"},
			want:  []string{"ok       $D/main.cf: virtual_mailbox_domains: Postfix takes bounces to example.com"}},
		{name: "domain in a file", sound: true, change: map[string]string{"mydestination": "localhost, $config_directory/domains"},
			files: map[string]string{"domains": "# ours\nEXAMPLE.com\n"},
			want:  []string{"ok       $D/main.cf: mydestination: Postfix takes bounces to example.com"}},
		{name: "parent domain relayed", sound: true, change: map[string]string{"mydestination": "localhost", "relay_domains": "com"},
			want: []string{"ok       $D/main.cf: relay_domains: Postfix takes bounces to example.com"}},
		{name: "domain in a table that is not there", status: 2, change: map[string]string{"mydestination": "localhost", "virtual_mailbox_domains": "hash:$config_directory/none"},
			want: []string{"warning  $D/main.cf: virtual_mailbox_domains: hash:$D/none cannot be asked for example.com: postmap: fatal: open database $D/none.db: No such file or directory"}},
		{name: "virtual domains not excluded", change: map[string]string{"virtual_alias_domains": "virtual.example, other.example texthash:$config_directory/domains"},
			files: map[string]string{"domains": "third.example x\na@fourth.example b@example.org\n"},
			want:  []string{"warning  SRS_EXCLUDE_DOMAINS (command line): 2 of the domains that are delivered here are not excluded: their senders are rewritten, and their own SPF counts for nothing: add to SRS_EXCLUDE_DOMAINS: other.example third.example"}},
		{name: "double bounces", change: map[string]string{"myhostname": "mx.example.com"},
			want: []string{"note     SRS_EXCLUDE_DOMAINS (command line): double-bounce@mx.example.com is rewritten"}},
		{name: "a file of domains that is not there", status: 2, change: map[string]string{"mydestination": "localhost, $config_directory/none"},
			want: []string{"warning  $D/main.cf: mydestination: open $D/none: no such file or directory"}},
		{name: "domains that cannot be listed", change: map[string]string{"virtual_alias_domains": "virtual.example tcp:127.0.0.1:" + closed},
			want: []string{"note     $D/main.cf: virtual_alias_domains: the domains of tcp:127.0.0.1:" + closed + " cannot be listed: see that they are excluded"}},
		{name: "a map that is none", status: 1, change: map[string]string{"sender_canonical_maps": "socketmap:inet:localhost:" + d.forwardPort + ":srs_forward"},
			want: []string{"error    $D/main.cf: sender_canonical_maps: socketmap:inet:localhost:" + d.forwardPort + ":srs_forward asks the daemon for a map that it does not have: all mail is deferred: write"}},
		{name: "another service's port", status: 1, change: map[string]string{"sender_canonical_maps": "socketmap:inet:localhost:" + closed + ":forward"}, flags: []string{"-f", closed},
			want: []string{"error    socketmap:inet:localhost:" + closed + ":forward: nothing answers Postfix at "}},
		{name: "broken main.cf", change: map[string]string{"sender_canonical_maps": "${"}, status: 2,
			want: []string{"warning  postconf: Postfix cannot be asked for its configuration: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			params := soundMain(d)
			maps.Copy(params, test.change)
			writeConfig(t, dir, params, cmp.Or(test.master, soundMaster), test.files)
			before := snapshot(t, dir)
			out, status := runCheck(t, d, dir, test.flags)
			out = strings.ReplaceAll(out, dir, "$D")
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
			if after := snapshot(t, dir); after != before {
				t.Errorf("check changed the configuration directory:\n%s\n%s", before, after)
			}
		})
	}
}

// writeConfig makes dir a configuration directory of Postfix's. A parameter that
// is "-" is left out, and $D stands for dir.
func writeConfig(t *testing.T, dir string, params map[string]string, master string, files map[string]string) {
	t.Helper()
	var main strings.Builder
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if params[name] != "-" {
			fmt.Fprintf(&main, "%s = %s\n", name, strings.ReplaceAll(params[name], "$D", dir))
		}
	}
	all := map[string]string{"main.cf": main.String(), "master.cf": master}
	maps.Copy(all, files)
	writeOld(t, dir, all)
}

// writeOld writes files as if an hour ago: Postfix waits for a second before it
// believes one that is new.
func writeOld(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	when := time.Now().Add(-time.Hour)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, when, when)); err != nil {
			t.Fatal(err)
		}
	}
}

// runCheck runs the command check beside the daemon, as its administrator would.
func runCheck(t *testing.T, d *daemon, configDir string, flags []string, env ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(daemonPath, slices.Concat([]string{"check", "--skip=settings,dns"}, d.args, flags)...)
	cmd.Env = slices.Concat(d.env, []string{"MAIL_CONFIG=" + configDir}, env)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// snapshot is what a directory holds.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("ls", "-lnR", "--time-style=full-iso", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestCheckOtherPostfix has what Debian's Postfix cannot be made to have:
// programs that are missing, hang, or know no tcp tables. They stand before the
// real ones in the path.
func TestCheckOtherPostfix(t *testing.T) {
	d := startDaemon(t, daemonConfig{domain: "example.com", secret: "tops3cr3t", clock: time.Unix(1577880000, 0)})
	dir := t.TempDir()
	var main strings.Builder
	for name, value := range soundMain(d) {
		fmt.Fprintf(&main, "%s = %s\n", name, value)
	}
	writeOld(t, dir, map[string]string{"main.cf": main.String(), "master.cf": soundMaster})
	for _, test := range []struct {
		program, script, want string
		status                int
	}{
		{"postconf", `[ "$1" = -m ] || exec /usr/sbin/postconf "$@"; /usr/sbin/postconf -m | grep -v tcp`,
			"has no table type tcp: the other type does too", 1},
		{"postconf", "sleep 60", "warning  postconf: Postfix cannot be asked for its configuration: postconf does not end", 2},
		{"postconf", "exit 3", "Postfix cannot be asked for its configuration: it fails without a word", 2},
		{"postconf", "yes | head -c 3000000", "Postfix does not ask the daemon", 1},
		{"postmap", "sleep 60", "Postfix gets no answer: postmap does not end", 1},
	} {
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, test.program), []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		out, status := runCheck(t, d, dir, nil, "PATH="+bin+":/usr/sbin:/usr/bin:/bin")
		if status != test.status || !strings.Contains(out, test.want) {
			t.Errorf("%s: exit status %d, want %d\n%s\nwant %s", test.script, status, test.status, out, test.want)
		}
	}
}

// TestCheckHost checks a whole host: its settings file, its Postfix, its names;
// sound at first, then as the guide that many follow leaves it, which sets maps
// without classes.
func TestCheckHost(t *testing.T) {
	dir, err := os.MkdirTemp("", "postsrsd-host-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &daemon{forwardPort: freePort(t), reversePort: freePort(t)}
	main := soundMain(d)
	main["virtual_alias_domains"] = "virtual.example"
	main["smtp_bind_address"], main["inet_protocols"] = "192.0.2.25", "ipv4"
	var mainCf strings.Builder
	for name, value := range main {
		fmt.Fprintf(&mainCf, "%s = %s\n", name, value)
	}
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.Mkdir(dir+"/jail", 0o755), os.Mkdir(dir+"/postfix", 0o755),
		os.WriteFile(dir+"/secret", []byte("0123456789abcdef01234567\n"), 0o600),
		os.WriteFile(dir+"/excluded_domains", []byte("virtual.example\nmail.example.com\n"), 0o644),
		os.WriteFile(dir+"/settings", fmt.Appendf(nil, "SRS_DOMAIN=example.com\nSRS_EXCLUDE_DOMAINS=\"$(cat %s/excluded_domains)\"\nCHROOT=%s/jail\n"+
			"RUN_AS=nobody\nSRS_SECRET_LENGTH=24\nSRS_SECRET=%s/secret\nSRS_FORWARD_PORT=%s\nSRS_REVERSE_PORT=%s\n", dir, dir, dir, d.forwardPort, d.reversePort), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	writeOld(t, dir+"/postfix", map[string]string{"main.cf": mainCf.String(), "master.cf": soundMaster})
	p := startProcess(t, exec.Command(daemonPath, "--env-file", dir+"/settings", "--log=stderr"))
	if err := p.waitServing("127.0.0.1:"+d.forwardPort, "127.0.0.1:"+d.reversePort); err != nil {
		t.Fatal(err)
	}
	dns := dnstest.Serve(t, `
		example.com       MX 10 mail.example.com
		example.com       TXT v=spf1 mx -all
		mail.example.com  A 192.0.2.25
		mail.example.com  TXT v=spf1 a -all
		virtual.example   TXT v=spf1 include:example.com -all
		_dmarc.example.com TXT v=DMARC1; p=none`)
	check := func() (string, int) {
		cmd := exec.Command(daemonPath, "check", "--env-file", dir+"/settings", "--resolver", dns)
		cmd.Env = append(os.Environ(), "MAIL_CONFIG="+dir+"/postfix")
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, status := check(); status != 0 || strings.Contains(out, "warning ") || strings.Contains(out, "error ") || strings.Count(out, "\nok ") < 6 {
		t.Errorf("on a sound host: exit status %d\n%s", status, out)
	}
	withoutClasses := regexp.MustCompile(`(?m)^.*_classes.*\n`).ReplaceAllString(mainCf.String(), "")
	writeOld(t, dir+"/postfix", map[string]string{"main.cf": withoutClasses})
	out, status := check()
	for _, want := range []string{"From: header", "sender_canonical_classes = envelope_sender", "recipient_canonical_classes = envelope_recipient, header_recipient"} {
		if !strings.Contains(out, want) || status != 1 {
			t.Errorf("as the guide has it: exit status %d, without %q\n%s", status, want, out)
		}
	}
}
