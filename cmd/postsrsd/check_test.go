package main_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// site is a settings file and what belongs to it.
type site struct {
	dir, settings, secret string
	reverse               string // port
}

// newSite makes one that is sound but for the lines of settings added.
func newSite(t testing.TB, settings string) site {
	t.Helper()
	s := site{dir: shortDir(t)}
	os.Mkdir(filepath.Join(s.dir, "jail"), 0o755)
	s.secret = writeFile(t, s.dir, "secret", "0123456789abcdef\n")
	f, r := freePorts(t)
	s.reverse = r
	s.settings = writeFile(t, s.dir, "settings", strings.ReplaceAll(fmt.Sprintf("SRS_DOMAIN=example.com\nSRS_SECRET=$T/secret\n"+
		"SRS_FORWARD_PORT=%s\nSRS_REVERSE_PORT=%s\nRUN_AS=nobody\nCHROOT=$T/jail\n%s", f, r, settings), "$T", s.dir))
	os.Chmod(s.settings, 0o644)
	return s
}

func (s site) check(t testing.TB, args ...string) ran {
	t.Helper()
	// Without command's clock, which is warned of.
	got := finish(t, exec.Command(program, append([]string{"check", "--skip=postfix,dns", "--env-file", s.settings}, args...)...), "")
	got.stdout = strings.ReplaceAll(got.stdout, s.dir, "$T")
	return got
}

// TestCheckSettings brings about each finding of the group settings.
func TestCheckSettings(t *testing.T) {
	for _, test := range []struct {
		settings string
		prepare  func(s site)
		status   int
		want     string // a line
	}{
		{settings: "SRS_DOMIAN=x\n", want: "warning  $T/settings:7: SRS_DOMIAN is no variable of postsrsd and has no effect: write SRS_DOMAIN"},
		{settings: "srs_domain=x\n", want: "warning  $T/settings:7: srs_domain is no variable of postsrsd and has no effect: write SRS_DOMAIN"},
		{settings: "SRS_HASH_MINIMUM=4\n", want: "warning  $T/settings:7: SRS_HASH_MINIMUM is no variable of postsrsd and has no effect: write SRS_HASHMIN"},
		{settings: "HELPER=x\n", want: "note     $T/settings:7: HELPER is no variable of postsrsd: it has an effect only if the file itself uses it"},
		{settings: "srs-domain = x\n", want: "warning  $T/settings:7: srs-domain: not found"},
		{settings: "SRS_SEPARATOR=x\nSRS_TIMEOUT=y\n", status: 1,
			want: "error    settings: the daemon does not start: SRS separator character must be one of '=+-' ($T/settings:7: SRS_SEPARATOR=x): put it right; postsrsd -h lists what can be said\n" +
				"error    $T/settings:8: the daemon does not start: SRS_TIMEOUT=y: give a number of seconds, 0 for no limit: put it right; postsrsd -h lists what can be said"},
		{settings: "SRS_SECRET=$T/none\n", status: 1,
			want: "error    settings: the daemon does not start: Cannot open file with secret: $T/none: no such file or directory: postsrsd secret writes one"},
		{settings: "SRS_SECRET_LENGTH=17\n", want: "warning  $T/secret: secret 1 of 1 has 16 characters, fewer than SRS_SECRET_LENGTH (17)"},
		{settings: "SRS_SECRET_LENGTH=3\n", prepare: func(s site) { os.WriteFile(s.secret, []byte("0123456789abcdef\nshort"), 0o600) },
			want: "warning  $T/secret: secret 2 of 2 has 5 bytes: who sees one address can find it out by trying: postsrsd secret --rotate"},
		{prepare: func(s site) { os.Chmod(s.secret, 0o604) }, status: 1,
			want: "error    $T/secret: every user of this host may read or change the secret (mode 0604), and so sign addresses: chmod 600 $T/secret"},
		{prepare: func(s site) { os.Chmod(s.secret, 0o620) }, want: "warning  $T/secret: the file's group may change the secret (mode 0620): chmod 600 $T/secret"},
		{prepare: func(s site) { os.Chmod(s.secret, 0o640) }, want: "note     $T/secret: the file's group may read the secret (mode 0640)"},
		{prepare: func(s site) { when := time.Date(2016, 12, 1, 0, 0, 0, 0, time.UTC); os.Chtimes(s.secret, when, when) },
			want: "note     $T/secret: the secret is the same since 2016-12-01: postsrsd secret --rotate"},
		{settings: "CHROOT=\n", want: "note     CHROOT ($T/settings:7): no jail: the daemon sees the whole file system"},
		{settings: "CHROOT=$T/none\n", status: 1, want: "error    CHROOT ($T/settings:7): the daemon does not start: the jail $T/none is not there: mkdir $T/none, or set CHROOT to a directory"},
		{settings: "CHROOT=$T/secret\n", status: 1, want: "error    CHROOT ($T/settings:7): the daemon does not start: the jail $T/secret is no directory: set CHROOT to a directory"},
		{prepare: func(s site) { os.Chmod(s.dir+"/jail", 0o777) }, want: "warning  $T/jail: anyone may put files into the jail (mode 0777): chmod o-w $T/jail"},
		{settings: "RUN_AS=\n", want: "note     RUN_AS ($T/settings:7): no user to become: the daemon serves as the user that starts it"},
		{settings: "RUN_AS=nosuchuser\n", status: 1, want: "error    RUN_AS ($T/settings:7): the daemon does not start: user: unknown user nosuchuser: adduser --system --group nosuchuser, or set RUN_AS to a user"},
		{settings: "RUN_AS=0\n", want: "warning  RUN_AS ($T/settings:7): the daemon serves as root: set RUN_AS to a user of its own"},
		{settings: "SRS_HASHMIN=3\n", want: "warning  SRS_HASHMIN ($T/settings:7): hashes of 3 characters are accepted: one of 54872 guesses makes this host a relay for bounces to anyone: set SRS_HASHMIN to 4 or more"},
		{settings: "SRS_HASHLENGTH=12\n", want: "note     SRS_HASHLENGTH ($T/settings:7): the hash takes 12 of the 64 octets that a local part may have; some hosts refuse longer ones"},
		{settings: "SRS_EXCLUDE_DOMAINS='a.b.example, .b.example c.example'\n",
			want: "note     SRS_EXCLUDE_DOMAINS ($T/settings:7): 1 of 3 domains that are excluded are covered by others: a.b.example by .b.example\n" +
				"ok       SRS_EXCLUDE_DOMAINS ($T/settings:7): 3 domains are excluded"},
		{settings: "SRS_EXCLUDE_DOMAINS=Example.com\n", want: "note     SRS_EXCLUDE_DOMAINS ($T/settings:7): Example.com is the SRS domain, which is not rewritten anyway: leave it out"},
		{settings: "SRS_EXCLUDE_DOMAINS=a@b.example\n",
			want: "warning  $T/settings:7: a@b.example among the excluded domains is no domain and excludes nothing (1 such in all)"},
		{settings: "SRS_SOCKETMAP=unix:$T/none/srs\n", status: 1,
			want: "error    SRS_SOCKETMAP ($T/settings:7): the daemon does not start: there is no directory $T/none for $T/none/srs: mkdir $T/none"},
		{settings: "SRS_SOCKETMAP=unix:$T/secret/srs\n", status: 1,
			want: "error    SRS_SOCKETMAP ($T/settings:7): the daemon does not start: $T/secret is no directory: write another path"},
		{settings: "SRS_METRICS=unix:$T/secret\n", status: 1,
			want: "error    SRS_METRICS ($T/settings:7): the daemon does not start: something is at $T/secret that is no socket: take it away"},
		{settings: "SRS_METRICS=unix:$T/metrics\n",
			want: "warning  SRS_METRICS ($T/settings:7): nobody serves metrics at unix:$T/metrics: start postsrsd, or reload it"},
		{settings: "SRS_METRICS=inet:192.0.2.1:9100\n", status: 1,
			want: "error    SRS_METRICS ($T/settings:7): the daemon does not start: it cannot listen on 192.0.2.1: bind: cannot assign requested address: write an address of this host"},
		{settings: "SRS_ORIGINAL_ENVELOPE=auto\nSRS_ENVELOPE_DATABASE=redis:127.0.0.1:1\n",
			want: "warning  SRS_ENVELOPE_DATABASE ($T/settings:8): senders are embedded and bounces to aliases refused, as nobody answers at 127.0.0.1:1: connect: connection refused: start it, or write where it is"},
		{settings: "SRS_ORIGINAL_ENVELOPE=auto\nSRS_ENVELOPE_DATABASE=redis:$T/jail/none\n",
			want: "warning  SRS_ENVELOPE_DATABASE ($T/settings:8): senders are embedded and bounces to aliases refused, as nobody answers at $T/jail/none: connect: no such file or directory: start it, or write where it is"},
		{settings: "SRS_ORIGINAL_ENVELOPE=auto\nSRS_ENVELOPE_DATABASE=sqlite:senders.db\n",
			want: "warning  SRS_ENVELOPE_DATABASE ($T/settings:8): senders are not stored but embedded, as nobody may not write to $T/jail, which has mode 0755: chown nobody $T/jail"},
		{settings: "SRS_ORIGINAL_ENVELOPE=auto\nSRS_ENVELOPE_DATABASE=sqlite:db/senders\n",
			prepare: func(s site) {
				os.Mkdir(s.dir+"/jail/db", 0o700)
				os.Chmod(s.dir+"/jail/db", 0o777)
				writeFile(t, s.dir, "jail/db/senders", "")
				os.Chmod(s.dir+"/jail/db/senders", 0o644)
			},
			want: "warning  SRS_ENVELOPE_DATABASE ($T/settings:8): senders are not stored but embedded, as nobody may not write to $T/jail/db/senders, which has mode 0644: chown nobody $T/jail/db/senders"},
		{settings: "SRS_ORIGINAL_ENVELOPE=auto\nSRS_ENVELOPE_DATABASE=sqlite:db/senders\n",
			prepare: func(s site) {
				os.Mkdir(s.dir+"/jail/db", 0o700)
				os.Chmod(s.dir+"/jail/db", 0o777)
			},
			want: "ok       SRS_ENVELOPE_DATABASE ($T/settings:8): senders are stored in $T/jail/db/senders"},
		{settings: "SRS_LISTEN_ADDR=192.0.2.1\n", status: 1,
			want: "error    SRS_LISTEN_ADDR ($T/settings:7): the daemon does not start: it cannot listen on 192.0.2.1: bind: cannot assign requested address: write an address of this host"},
		{settings: "SRS_EXTRA_OPTIONS=-p$T/none/pid\n", status: 1,
			want: "error    SRS_PID_FILE ($T/settings:7: SRS_EXTRA_OPTIONS): the daemon does not start: there is no directory $T/none for $T/none/pid: mkdir $T/none"},
		{settings: "SRS_SOCKET_OWNER=nosuchuser\n", status: 1,
			want: "error    SRS_SOCKET_OWNER ($T/settings:7): the daemon does not start: user: unknown user nosuchuser: write a user of this host"},
		{settings: "SRS_SOCKET_OWNER=0:nosuchgroup\n", status: 1,
			want: "error    SRS_SOCKET_OWNER ($T/settings:7): the daemon does not start: group: unknown group nosuchgroup: write a group of this host"},
		{settings: "SRS_DOMAINS='own.example sub.own.example .own.example'\n",
			want: "note     SRS_DOMAINS ($T/settings:7): 1 of 3 domains that are our own are covered by others: sub.own.example by .own.example\n" +
				"ok       SRS_DOMAINS ($T/settings:7): 3 domains are our own"},
		{settings: "SRS_LISTEN_ADDR=255.255.255.255\n", status: 1, want: "error    255.255.255.255:$R: the daemon cannot be reached: dial tcp 255.255.255.255:$R: connect: network is unreachable: see SRS_LISTEN_ADDR and ports"},
		{want: "ok       SRS_DOMAIN ($T/settings:1): the daemon starts with these settings, and rewrites into example.com"},
		{settings: "SRS_FORWARD_PORT=1\n", want: "warning  127.0.0.1:1: nothing listens here: the daemon does not run, and Postfix defers all mail that it would ask about: start postsrsd"},
	} {
		s := newSite(t, test.settings)
		if test.prepare != nil {
			test.prepare(s)
		}
		got := s.check(t)
		test.want = strings.ReplaceAll(test.want, "$R", s.reverse)
		if strings.Count(got.stdout, test.want+"\n") != 1 || strings.Count(got.stdout, "every user") > 1 || got.status != test.status || got.stderr != "" {
			t.Errorf("exit status %d, want %d\n%s%s\nwant:\n%s", got.status, test.status, got.stdout, got.stderr, test.want)
		}
	}
}

// TestCheckWithoutRights runs as somebody who may not read the secret.
func TestCheckWithoutRights(t *testing.T) {
	s := newSite(t, "")
	cmd := exec.Command(program, "check", "--skip=postfix,dns", "--env-file", s.settings)
	asNobody(cmd)
	const want = "the secret cannot be read by this user, so what needs it was not looked at"
	if got := finish(t, cmd, ""); got.status != 2 || !strings.Contains(got.stdout, want) {
		t.Errorf("%+v", got)
	}
}

// TestCheckDaemon checks beside a daemon that serves by the settings, by
// others, and beside something else on its ports.
func TestCheckDaemon(t *testing.T) {
	s := newSite(t, "")
	serve := func(flags ...string) *daemon {
		return start(t, launch{args: append([]string{"--env-file", s.settings, "-u", "", "-c", "", "--log=stderr"}, flags...)})
	}
	wants := func(name, level, want string) {
		t.Helper()
		got := s.check(t)
		if !strings.Contains(got.stdout, want) || !strings.HasPrefix(got.stdout[strings.LastIndex(got.stdout[:strings.Index(got.stdout+want, want)], "\n")+1:], level) {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
	}
	d := serve()
	wants("the same", "ok", "the daemon runs and answers as these settings say")
	if got := s.check(t); got.status != 0 || strings.Contains(got.stdout, "warning") {
		t.Errorf("on a sound host: %+v", got)
	}
	d.stop()
	d = serve("-d", "other.example")
	wants("another domain", "warning", `by these settings it were "SRS0=`)
	d.stop()
	d = serve("-s", writeFile(t, s.dir, "other", "other-secret-0000"))
	wants("another secret", "warning", "the daemon does not reverse what these settings sign: reload postsrsd")
	d.stop()

	settings, _ := os.ReadFile(s.settings)
	for line := range strings.Lines(string(settings)) {
		if port, ok := strings.CutPrefix(strings.TrimSpace(line), "SRS_FORWARD_PORT="); ok {
			ln, err := net.Listen("tcp", "127.0.0.1:"+port)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					conn.Write([]byte("220 mail.example.com ESMTP\r\n"))
					conn.Close()
				}
			}()
		}
	}
	wants("another service", "error", "what listens here does not answer as postsrsd does")
}

// TestCheckMetrics asks for the metrics: of a daemon that serves them, and of
// something else.
func TestCheckMetrics(t *testing.T) {
	port, _ := freePorts(t)
	s := newSite(t, "SRS_METRICS=inet:"+port+"\n")
	d := start(t, launch{args: []string{"--env-file", s.settings, "-u", "", "-c", "", "--log=stderr"}})
	const where = "SRS_METRICS ($T/settings:7): "
	if got := s.check(t); got.status != 0 || !strings.Contains(got.stdout, "ok       "+where+"metrics are served at inet:*:"+port+"\n") {
		t.Errorf("%+v", got)
	}
	d.stop()
	ln, err := net.Listen("tcp", ":"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("HTTP/1.0 200 OK\r\n\r\nnode_generation 1\n"))
			conn.Close()
		}
	}()
	if got := s.check(t); got.status != 1 || !strings.Contains(got.stdout, "error    "+where+"what listens at inet:*:"+port+" is not postsrsd: write another port") {
		t.Errorf("%+v", got)
	}
}

// TestCheckConf brings about findings where a postsrsd.conf is, whose keys they
// name.
func TestCheckConf(t *testing.T) {
	for _, test := range []struct {
		lines  []string // the file has three before
		serve  bool
		nobody bool // checks
		status int
		want   string
	}{
		{serve: true, want: "ok       $D/srs: the daemon runs and answers as these settings say"},
		{want: "warning  $D/srs: nothing listens here: the daemon does not run, and Postfix defers all mail that it would ask about: start postsrsd"},
		{lines: []string{"socket-mode = 0600"}, serve: true, nobody: true, status: 2, want: "warning  $D/srs: this user may not connect to the daemon: run this as root"},
		{lines: []string{"domains-file = \"$D/secret\""}, nobody: true, status: 2,
			want: "warning  $D/postsrsd.conf:4: not readable by this user: domains-file = $D/secret: cannot read the file of domains: permission denied: run this as root"},
		{lines: []string{`chroot-dir = "$D/closed/jail"`}, nobody: true, status: 2, want: "warning  $D/closed/jail: the jail cannot be looked at by this user: run this as root"},
		{lines: []string{`pid-file = "$D/closed/run/pid"`}, nobody: true, status: 2, want: "warning  $D/closed/run: the directory cannot be looked at by this user: run this as root"},
		{lines: []string{`chroot-dir = "$D/none"`}, status: 1, want: "error    chroot-dir ($D/postsrsd.conf:4): the daemon does not start: the jail $D/none is not there: mkdir $D/none, or set chroot-dir to a directory"},
		{lines: []string{`unprivileged-user = root`}, want: "warning  unprivileged-user ($D/postsrsd.conf:4): the daemon serves as root: set unprivileged-user to a user of its own"},
		{lines: []string{"hash-minimum = 2"}, want: "warning  hash-minimum ($D/postsrsd.conf:4): hashes of 2 characters are accepted: one of 1444 guesses makes this host a relay for bounces to anyone: set hash-minimum to 4 or more"},
		{lines: []string{`socketmap = ""`}, status: 1, want: "error    socketmap ($D/postsrsd.conf:4): the daemon does not start: there is nothing to listen on: set socketmap"},
		{lines: []string{"domains = { example.com }"}, want: "note     domains ($D/postsrsd.conf:4): example.com is the SRS domain, which is not rewritten anyway: leave it out"},
		{lines: []string{"socketmap = inet:255.255.255.255:7"}, status: 1, want: "error    255.255.255.255:7: the daemon cannot be reached: dial tcp 255.255.255.255:7: connect: network is unreachable: see socketmap"},
	} {
		c := newConf(t, test.lines...)
		os.Mkdir(c.path("closed"), 0o700)
		os.Chmod(c.path("postsrsd.conf"), 0o644)
		if test.serve {
			d := start(t, launch{dir: c.dir, args: []string{"-C", c.path("postsrsd.conf")}})
			defer d.stop()
		}
		cmd := exec.Command(program, "check", "--skip=postfix,dns", "-C", c.path("postsrsd.conf"))
		if test.nobody {
			asNobody(cmd)
		}
		got := finish(t, cmd, "")
		got.stdout = strings.ReplaceAll(got.stdout, c.dir, "$D")
		if strings.Count(got.stdout, test.want+"\n") != 1 || got.status != test.status || got.stderr != "" {
			t.Errorf("exit status %d, want %d\n%s%s\nwant:\n%s", got.status, test.status, got.stdout, got.stderr, test.want)
		}
	}
}

// TestCheckRefusals has check say of every bad configuration what the start
// says of it.
func TestCheckRefusals(t *testing.T) {
	files, _ := filepath.Glob("../../testdata/conf/bad/*.conf")
	if len(files) < 60 {
		t.Fatalf("only %d files", len(files))
	}
	check := func(dir, want string, args ...string) {
		t.Helper()
		cmd := exec.Command(program, append([]string{"check", "--json", "--skip=postfix,dns"}, args...)...)
		cmd.Dir = dir
		got := finish(t, cmd, "")
		var findings []struct{ Level, Where, What string }
		if err := json.Unmarshal([]byte(got.stdout), &findings); err != nil {
			t.Fatalf("%q: %v: %+v", args, err, got)
		}
		for _, f := range findings {
			what, stops := strings.CutPrefix(f.What, "the daemon does not start: ")
			if f.Level == "error" && stops && (what == want || f.Where+": "+what == want) && got.status == 1 {
				return
			}
		}
		t.Errorf("%q: %+v, want %s", args, got, want)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(data), "\n")
		check(filepath.Dir(file), strings.TrimPrefix(first, "# "), "-C", filepath.Base(file))
	}
	dir := shortDir(t)
	empty := writeFile(t, dir, "empty", "\n\n")
	secret := writeFile(t, dir, "secret", "0123456789abcdef")
	usual := []string{"-d", "example.com", "-s", secret}
	for want, args := range map[string][]string{
		"You must set a home domain (-d)":                                                                   {"-s", secret},
		"You must set a secret (-s)":                                                                        {"-d", "example.com"},
		"Cannot open file with secret: " + dir + "/none: no such file or directory":                         {"-d", "example.com", "-s", dir + "/none"},
		"You must set a secret (-s): " + empty + " holds none, write one line of random characters into it": {"-d", "example.com", "-s", empty},
		"-d $mydomain: the SRS domain must not hold '$'":                                                    {"-d", "$mydomain", "-s", secret},
		"SRS separator character must be one of '=+-' (-a x)":                                               append([]string{"-a", "x"}, usual...),
		"-n 28: give a number from 1 to 27":                                                                 append([]string{"-n28"}, usual...),
		"-N x: give a number from 1 to 27":                                                                  append([]string{"-Nx"}, usual...),
		"-t x: give a number of seconds, 0 for no limit":                                                    append([]string{"-tx"}, usual...),
		"-6 and the listen address 127.0.0.1 (command line) exclude each other":                             append([]string{"-6", "-l", "127.0.0.1"}, usual...),
		"forward port (command line) and reverse port (built-in) are both 10002: give two":                  append([]string{"-f", "10002"}, usual...),
		"-f x: no such service: give a port number from 1 to 65535 or a name that /etc/services has":        append([]string{"-f", "x"}, usual...),
		"cannot read the settings file " + dir + "/none: no such file or directory":                         {"--env-file", dir + "/none"},
	} {
		check(dir, want, args...)
	}
}

func TestCheckArguments(t *testing.T) {
	for _, test := range []struct {
		args   []string
		stderr string
	}{
		{[]string{"x"}, "Usage:\n    postsrsd check"},
		{[]string{"--skip=dns,pstfix"}, "--skip=dns,pstfix: give one of settings, postfix, dns"},
		{[]string{"--address=example.com"}, "--address=example.com: give an IP address"},
		{[]string{"--time=0"}, "--time=0: give a number of seconds"},
		{[]string{"--time=soon"}, "--time=soon: give a number of seconds"},
		{[]string{"--frob"}, "unrecognized option '--frob'"},
	} {
		if got := command(t, "", append([]string{"check"}, test.args...)...); got.status != 2 || !strings.Contains(got.stderr, test.stderr) || got.stdout != "" {
			t.Errorf("%q: %+v", test.args, got)
		}
	}
}

func TestCheckJSON(t *testing.T) {
	s := newSite(t, "SRS_DOMIAN=x\n")
	got := s.check(t, "--json")
	var findings []struct{ Group, Level, Where, What, Do string }
	if err := json.Unmarshal([]byte(got.stdout), &findings); err != nil || len(findings) == 0 || got.status != 0 {
		t.Fatalf("%v: %+v", err, got)
	}
	if f := findings[0]; f.Group != "settings" || f.Level != "warning" || f.Where != "$T/settings:7" || f.Do != "write SRS_DOMAIN" {
		t.Errorf("%+v", f)
	}
}

func TestCheckNothing(t *testing.T) {
	want := ran{"[]\n", "", 0}
	if got := newSite(t, "").check(t, "--json", "--skip=settings"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestStartWarns holds that a start and a reload warn, once, of what check calls
// an error in the settings although the daemon starts.
func TestStartWarns(t *testing.T) {
	s := newSite(t, "RUN_AS=\nCHROOT=\n")
	os.Chmod(s.secret, 0o644)
	const warning = ": every user of this host may read or change the secret (mode 0644), and so sign addresses: chmod 600 "
	if got := s.check(t); got.status != 1 || strings.Count(got.stdout, "error    $T/secret"+warning+"$T/secret\n") != 1 || strings.Count(got.stdout, "error ") != 1 {
		t.Errorf("%+v", got)
	}
	d := start(t, launch{args: []string{"--env-file", s.settings, "--log=stderr"}})
	d.logged("serving")
	times := func() int { return strings.Count(d.stderr.String(), s.secret+warning+s.secret+"\n") }
	if times() != 1 || strings.Contains(d.stderr.String(), "no jail") {
		t.Errorf("the log has\n%s", d.stderr)
	}
	d.signal(syscall.SIGHUP)
	d.logged("configuration reloaded")
	if times() != 2 {
		t.Errorf("the log has\n%s", d.stderr)
	}
}

// TestCheckNoResolver has somebody check who may not read which servers to ask.
func TestCheckNoResolver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can have an /etc/resolv.conf of its own")
		return
	}
	s := newSite(t, "")
	cmd := exec.Command("unshare", "-m", "sh", "-c", `echo >closed && chmod 600 closed && mount --bind closed /etc/resolv.conf && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"`, "sh",
		program, "check", "--skip=settings,postfix", "--env-file", s.settings)
	cmd.Dir = s.dir
	want := ran{"warning  DNS: open /etc/resolv.conf: permission denied: give --resolver=ADDR\n", "", 2}
	if got := finish(t, cmd, ""); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
