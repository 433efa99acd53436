package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const settingsText = `SRS_DOMAIN=example.com
SRS_EXCLUDE_DOMAINS="$(echo a.example .b.example)"
SRS_EXTRA_OPTIONS="-A"
RUN_AS=
`

// TestConfig prints settings of every origin.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	settings := writeFile(t, dir, "settings", settingsText+"SRS_SECRET="+writeFile(t, dir, "secret", "hidden-hidden-hidden\nhidd3n\n"))
	got := command(t, "", "-t5", "config", "--env-file", settings)
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(got.stdout, dir, "T")) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	const want = `SRS_DOMAIN example.com T/settings
SRS_SECRET T/secret T/settings
20 bytes secret 1 of 2
6 bytes secret 2 of 2
SRS_SECRET_LENGTH 16 built-in
SRS_SEPARATOR = default with a settings file
SRS_HASHLENGTH 4 default with a settings file
SRS_HASHMIN 4 default with a settings file
SRS_ALPHABET +/ built-in
-A on T/settings: SRS_EXTRA_OPTIONS: -A
SRS_EXCLUDE_DOMAINS 2 domains T/settings
a.example
.b.example
SRS_DOMAINS none built-in
SRS_DOMAINS_FILE none built-in
SRS_DOMAINS_FILE_WATCH off built-in
SRS_ORIGINAL_ENVELOPE embedded built-in
SRS_ENVELOPE_DATABASE none built-in
SRS_LISTEN_ADDR 127.0.0.1 default with a settings file
SRS_FORWARD_PORT 10001 default with a settings file
SRS_REVERSE_PORT 10002 default with a settings file
-4, -6 both built-in
SRS_TIMEOUT 5 command line: -t
SRS_CONNECTION_LIMIT 4096 built-in
SRS_REQUEST_LIMIT 32768 built-in
SRS_SOCKETMAP none built-in
SRS_SOCKET_MODE 0666 built-in
SRS_SOCKET_OWNER none built-in
SRS_METRICS none built-in
SRS_MILTER none built-in
SRS_MILTER_REWRITE_LOCAL off built-in
SRS_MILTER_RECIPIENT_LIMIT 1000 built-in
SRS_MILTER_ALIAS_MAPS none built-in
CHROOT /var/lib/postsrsd default with a settings file
RUN_AS none T/settings
SRS_PID_FILE none built-in
-D off built-in
--log as the surroundings are built-in
POSTSRSD_FAKETIME 1577880000 environment`
	if text := strings.Join(lines, "\n"); text != want || got.status != 0 || got.stderr != "" {
		t.Errorf("%d %s\n%s\nwant\n%s", got.status, got.stderr, text, want)
	}
}

// TestConfigAsEnv serves by what config writes.
func TestConfigAsEnv(t *testing.T) {
	dir := t.TempDir()
	secret := writeFile(t, dir, "it's secret", "tops3cr3t-tops3cr3t\n")
	args := []string{"-d", "example.com", "-s", secret, "-Xa.example", "-a+", "-l", ""}
	got := command(t, "", append([]string{"config", "--as=env"}, args...)...)
	if got.status != 0 || strings.Contains(got.stdout, "tops3cr3t") {
		t.Fatalf("%+v", got)
	}
	written := writeFile(t, dir, "written", got.stdout)
	for _, address := range []string{"test@otherdomain.com", "x@a.example"} {
		direct := command(t, "", append([]string{"forward", address}, args...)...)
		if moved := command(t, "", "forward", "--env-file", written, address); moved != direct {
			t.Errorf("%+v, want %+v; from\n%s", moved, direct, got.stdout)
		}
	}
}

// TestConfigAsConf moves a host from settings to a postsrsd.conf and back, and
// serves by each.
func TestConfigAsConf(t *testing.T) {
	dir := t.TempDir()
	secret := writeFile(t, dir, "secret", "tops3cr3t-tops3cr3t\n")
	port, _ := freePorts(t)
	settings := writeFile(t, dir, "settings", "SRS_DOMAIN=example.com\nSRS_SECRET="+secret+"\nSRS_EXCLUDE_DOMAINS=a.example\nRUN_AS=\nCHROOT=\n"+
		"SRS_SOCKETMAP=inet:127.0.0.1:"+port+"\nSRS_HASHLENGTH=6\n")
	written := command(t, "", "config", "--as=conf", "--env-file", settings)
	if written.status != 3 || strings.Contains(written.stdout, "tops3cr3t-") || !strings.Contains(written.stderr, "postsrsd: SRS_FORWARD_PORT: 10001 cannot be said in a postsrsd.conf, where it is none\n") {
		t.Fatalf("%+v", written)
	}
	conf := writeFile(t, dir, "postsrsd.conf", written.stdout)
	again := command(t, "", "config", "--as=conf", "-C", conf)
	if again.status != 0 || again.stderr != "" || !strings.HasSuffix(written.stdout, again.stdout) {
		t.Errorf("%+v\nwas\n%s", again, written.stdout)
	}
	back := command(t, "", "config", "--as=env", "-C", conf)
	if back.status != 3 || !strings.Contains(back.stderr, "postsrsd: SRS_FORWARD_PORT: none cannot be said in a settings file, where it is 10001\n") {
		t.Errorf("%+v", back)
	}
	settings2 := writeFile(t, dir, "settings2", back.stdout)
	d := start(t, launch{dir: dir, env: []string{clockOfTests}, args: []string{"-C", conf}})
	for _, address := range []string{"test@otherdomain.com", "x@a.example"} {
		want := command(t, "", "forward", "--env-file", settings, address)
		if got := command(t, "", "forward", "--env-file", settings2, address); got.stdout != want.stdout {
			t.Errorf("%+v, want %+v", got, want)
		}
		if got, _ := dialTable(t, "tcp", "127.0.0.1:"+port).Lookup("forward", address); got != strings.TrimSpace(want.stdout) {
			t.Errorf("%s, want %s; the daemon said %s", got, want.stdout, d.stderr)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	dir := shortDir(t)
	settings := writeFile(t, dir, "settings", "SRS_DOMAIN=example.com\nSRS_SECRET="+writeFile(t, dir, "secret", "tops3cr3t"))
	os.Chmod(settings, 0o644)
	for _, test := range []struct {
		args           []string
		status         int
		stdout, stderr string // contained
	}{
		{[]string{"config", "--as=toml"}, 2, "", "Usage:\n    postsrsd config"},
		{[]string{"config", "--as=env", "--as="}, 2, "", "Usage:"},
		{[]string{"config", "x"}, 2, "", "Usage:"},
		{[]string{"config", "--frob"}, 2, "", "unrecognized option '--frob'"},
		{[]string{"config", "-h"}, 0, "Usage:", ""},
		{[]string{"config", "-v"}, 0, "postsrsd ", ""},
		{[]string{"config", "--env-file", filepath.Join(dir, "none")}, 1, "", "cannot read the settings file"},
		{[]string{"config", "-d", "example.com", "-n", "99", "-f", "x"}, 1, "SRS_HASHLENGTH             4 ",
			"-n 99: give a number from 1 to 27\npostsrsd: -f x: no such service"},
		{[]string{"config", "--as=env", "-d", "example.com", "-n", "99", "-s", settings}, 1, "", "-n 99"},
		{[]string{"config", "--as=env", "-d", "example.com", "-s", settings, "-p", "/a b"}, 3, "SRS_DOMAIN='example.com'\n", "SRS_PID_FILE: \"/a b\" cannot be said in a settings file, where it is none"},
		// As somebody who may not read the secret.
		{[]string{"config", "--env-file", settings}, 1, "SRS_DOMAIN                 example.com", "Cannot open file with secret"},
		{[]string{"config", "--as=env", "--env-file", settings}, 1, "SRS_DOMAIN='example.com'\n", "Cannot open file with secret"},
	} {
		cmd := exec.Command(program, test.args...)
		asNobody(cmd)
		got := finish(t, cmd, "")
		if got.status != test.status || !strings.Contains(got.stdout, test.stdout) || !strings.Contains(got.stderr, test.stderr) ||
			(test.stdout == "") != (got.stdout == "") || (test.stderr == "") != (got.stderr == "") {
			t.Errorf("%q: %+v", test.args, got)
		}
	}
}
