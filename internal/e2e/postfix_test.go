//go:build postfix

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// postfix is a running Postfix instance of a test's own.
type postfix struct {
	dir  string // configuration, queue, data, log
	addr string // its smtpd
}

// masterCf has the services that take mail by SMTP and pass it on by SMTP: none
// that delivers locally, and chrooted, if any, those that ask the daemon.
const masterCf = `
127.0.0.1:%s inet n  -  %[2]s  -  -  smtpd
cleanup   unix  n  -  %[2]s  -     0  cleanup
pickup    unix  n  -  n  60    1  pickup
qmgr      unix  n  -  n  300   1  qmgr
rewrite   unix  -  -  n  -     -  trivial-rewrite
bounce    unix  -  -  n  -     0  bounce
defer     unix  -  -  n  -     0  bounce
trace     unix  -  -  n  -     0  bounce
verify    unix  -  -  n  -     1  verify
flush     unix  n  -  n  1000? 0  flush
proxymap  unix  -  -  n  -     -  proxymap
smtp      unix  -  -  n  -     -  smtp
relay     unix  -  -  n  -     -  smtp
error     unix  -  -  n  -     -  error
retry     unix  -  -  n  -     -  error
anvil     unix  -  -  n  -     1  anvil
local     unix  -  n  n  -     -  local
postlog   unix-dgram n - n -   1  postlogd
`

// startPostfix starts an instance that sends all mail to the sink, and returns
// when its smtpd answers. params are further main.cf parameters, which win over
// the ones here; tables are lookup tables by name, written as files that a
// parameter names texthash:$config_directory/NAME; master.cf among them is added
// to the one here. The services that ask the
// daemon are chrooted, or not: y or n. Its log is shown when the test fails.
func startPostfix(t *testing.T, s *sink, params, tables map[string]string, chrooted string) *postfix {
	t.Helper()
	// Not t.TempDir, whose parent only root may enter.
	dir, err := os.MkdirTemp("", "postfix-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &postfix{dir: dir}
	p.layOut(t)
	port := freePort(t)
	p.addr = "127.0.0.1:" + port
	main := map[string]string{
		"compatibility_level":   "3.6",
		"queue_directory":       dir + "/queue",
		"data_directory":        dir + "/data",
		"maillog_file":          dir + "/log",
		"maillog_file_prefixes": dir,
		"alias_maps":            "",
		"alias_database":        "",

		"inet_interfaces":         "127.0.0.1",
		"inet_protocols":          "ipv4",
		"smtp_bind_address":       "127.0.0.1",
		"disable_dns_lookups":     "yes",
		"smtp_host_lookup":        "native",
		"smtp_tls_security_level": "none",

		// One hop, to the sink, whatever the recipient.
		"local_transport":   "smtp:[127.0.0.1]:" + s.port,
		"virtual_transport": "smtp:[127.0.0.1]:" + s.port,
		"relay_transport":   "smtp:[127.0.0.1]:" + s.port,
		"default_transport": "smtp:[127.0.0.1]:" + s.port,

		// Clients come from 127.0.0.1 and are strangers.
		"mynetworks":               "127.0.0.2/32",
		"smtpd_relay_restrictions": "reject_unauth_destination",

		// No pauses.
		"in_flow_delay":                       "0",
		"smtpd_error_sleep_time":              "0",
		"smtp_connection_cache_on_demand":     "no",
		"smtpd_client_connection_count_limit": "0",
	}
	maps.Copy(main, params)
	var mainCf strings.Builder
	for _, name := range slices.Sorted(maps.Keys(main)) {
		fmt.Fprintf(&mainCf, "%s = %s\n", name, main[name])
	}
	p.write(t, "etc/main.cf", mainCf.String())
	p.write(t, "etc/master.cf", fmt.Sprintf(masterCf, port, chrooted)+tables["master.cf"])
	for name, text := range tables {
		if name != "master.cf" {
			p.write(t, "etc/"+name, text)
		}
	}

	// What postfix start-fg does, save that the master is our own child and ends with us.
	if err := runQuietly(exec.Command("postfix", "-c", dir+"/etc", "check")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(p.postconf(t, "daemon_directory")+"/master", "-c", dir+"/etc", "-s")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Postfix said:\n%s%s", &out, p.log())
		}
	})
	if err := startProcess(t, cmd).waitServing(p.addr); err != nil {
		t.Fatalf("Postfix: %v", err)
	}
	// The master listens before it knows whether a smtpd will start.
	_ = command(dialSMTP(t, p.addr), 221, "QUIT")
	return p
}

// layOut makes the instance's directories, with the owners that Postfix asks for.
func (p *postfix) layOut(t *testing.T) {
	t.Helper()
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	for _, err := range []error{
		os.Chmod(p.dir, 0o755),
		os.Mkdir(p.dir+"/etc", 0o755),
		os.Mkdir(p.dir+"/queue", 0o755),
		os.Mkdir(p.dir+"/data", 0o700),
		os.Chown(p.dir+"/data", uid, -1),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (p *postfix) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (p *postfix) log() string {
	text, err := os.ReadFile(p.dir + "/log")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// postconf returns the value of a main.cf parameter.
func (p *postfix) postconf(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("postconf", "-c", p.dir+"/etc", "-x", "-h", name).Output()
	if err != nil {
		t.Fatalf("postconf %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

var complaint = regexp.MustCompile(`(?m)^.*\b(warning|error|fatal|panic): .*$`)

// unfounded are complaints of what a client did wrong, and of a second that
// changed between two readings of the clock.
var unfounded = regexp.MustCompile(`Illegal address syntax|file system clock|file time stamps`)

// complaints returns the log's lines that an administrator would have to look
// into.
func (p *postfix) complaints() []string {
	return slices.DeleteFunc(complaint.FindAllString(p.log(), -1), unfounded.MatchString)
}

// postmap runs postmap -q with the instance's configuration. Found is its exit
// status; warnings and other failures fail the test.
func (p *postfix) postmap(t *testing.T, table, query, stdin string) (out string, found bool) {
	t.Helper()
	cmd := exec.Command("postmap", "-c", p.dir+"/etc", "-q", query, table)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if stderr.Len() > 0 || err != nil && cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	return stdout.String(), err == nil
}
