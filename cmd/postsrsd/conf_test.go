package main_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postsrsd/socketmap"
)

// A conf is a directory with a postsrsd.conf for the domain example.com and a
// secret, and with the socket srs in it once a daemon serves.
type conf struct {
	t   testing.TB
	dir string
}

func newConf(t testing.TB, lines ...string) conf {
	t.Helper()
	c := conf{t, shortDir(t)}
	writeFile(t, c.dir, "secret", "fresh\n")
	c.write(lines...)
	return c
}

func (c conf) path(name string) string { return filepath.Join(c.dir, name) }
func (c conf) socket() string          { return c.path("srs") }

// write writes the file; of a key given twice the last counts. $D is the
// directory.
func (c conf) write(lines ...string) {
	c.t.Helper()
	text := "srs-domain = example.com\nsecrets-file = \"$D/secret\"\nsocketmap = \"unix:$D/srs\"\n" + strings.Join(lines, "\n") + "\n"
	writeFile(c.t, c.dir, "postsrsd.conf", strings.ReplaceAll(text, "$D", c.dir))
}

func (c conf) launch(flags ...string) launch {
	return launch{dir: c.dir, env: []string{clockOfTests}, args: append([]string{"-C", c.path("postsrsd.conf")}, flags...)}
}

func (c conf) start() *daemon {
	c.t.Helper()
	return start(c.t, c.launch())
}

// refused starts a daemon that is not to come up, and returns what it says.
func (c conf) refused() string {
	c.t.Helper()
	d := launchDaemon(c.t, c.launch())
	select {
	case <-d.exited:
	case <-time.After(patience):
		c.t.Error("it started")
		d.stop()
	}
	lines := strings.Split(strings.TrimSpace(d.stderr.String()), "\n")
	return strings.ReplaceAll(lines[len(lines)-1], c.dir, "$D")
}

// A table is a connection to a socketmap.
type table struct {
	t testing.TB
	net.Conn
	*socketmap.Client
}

func dialTable(t testing.TB, network, address string) table {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return table{t, conn, socketmap.NewClient(conn)}
}

// wants fails the test unless the reply is this one, its status included.
func (s table) wants(name, key, want string) {
	s.t.Helper()
	got, err := s.Lookup(name, key)
	if err == nil {
		got = "OK " + got
	} else {
		got = err.Error()
	}
	if got != want {
		s.t.Errorf("%s %.80q: %s, want %s", name, key, got, want)
	}
}

const signedBy2x = "SRS0=-ISg=2W=otherdomain.com=test@example.com"

// TestSocketmapReplies holds the replies where a postsrsd.conf is served.
func TestSocketmapReplies(t *testing.T) {
	c := newConf(t, `domains = { "local.example", ".below.example" }`, "hash-minimum = 4")
	d := c.start()
	s := dialTable(t, "unix", c.socket())
	long := strings.Repeat("x", 512-len("forward @otherdomain.com")) + "@otherdomain.com"
	for _, test := range []struct{ name, key, want string }{
		{"forward", "test@otherdomain.com", "OK " + signedBy2x},
		{"reverse", signedBy2x, "OK test@otherdomain.com"},
		{"reverse", strings.Replace(signedBy2x, "-ISg", "+ISg", 1), "OK test@otherdomain.com"},
		{"reverse", strings.ToLower(signedBy2x), "OK test@otherdomain.com"},
		{"forward", "test@example.com", "NOTFOUND Need not rewrite local domain."},
		{"forward", "test@EXAMPLE.com", "NOTFOUND Need not rewrite local domain."},
		{"forward", "test@local.example", "NOTFOUND Need not rewrite local domain."},
		{"forward", "test@a.Below.example", "NOTFOUND Need not rewrite local domain."},
		{"forward", "test@below.example", "OK SRS0=Cbaq=2W=below.example=test@example.com"},
		{"forward", "test@a.local.example", "OK SRS0=ao9y=2W=a.local.example=test@example.com"},
		{"forward", "postmaster", "NOTFOUND No domain."},
		{"forward", "", "NOTFOUND No domain."},
		{"forward", `""`, "NOTFOUND No domain."},
		{"reverse", "test@example.com", "NOTFOUND Not an SRS address."},
		{"reverse", "", "NOTFOUND Not an SRS address."},
		{"reverse", "SRS0=XXXX=2W=otherdomain.com=test@example.com", "NOTFOUND Hash invalid in SRS address."},
		{"reverse", "SRS0=XXXX=2A=otherdomain.com=test@example.com", "NOTFOUND Time stamp out of date."},
		{"reverse", "SRS0=XXX=2W=otherdomain.com=test@example.com", "NOTFOUND Hash too short in SRS address."},
		{"forward", "a\x00b@otherdomain.com", "NOTFOUND Invalid query."},
		{"sideways", "test@otherdomain.com", "PERM Invalid map."},
		{"forward", long, "OK SRS0=-ppB=2W=otherdomain.com=" + strings.TrimSuffix(long, "@otherdomain.com") + "@example.com"},
		{"forward", "x" + long, "NOTFOUND Too big."},
		{"forward", strings.Repeat("x", 50000), "NOTFOUND Too big."},
		{"forward", "test@otherdomain.com", "OK " + signedBy2x}, // still there
	} {
		s.wants(test.name, test.key, test.want)
	}

	// What is no request ends the conversation; tcp_table is none.
	for _, request := range []string{"get test@otherdomain.com\n", "x:forward a@b,", "7:forward,", "999999:"} {
		s := dialTable(t, "unix", c.socket())
		s.Write([]byte(request))
		reply := new(bytes.Buffer)
		reply.ReadFrom(s)
		if reply.String() != "19:PERM Invalid query.," {
			t.Errorf("%q: %q", request, reply)
		}
	}
	d.logged("serving socketmap on " + c.socket() + ", for example.com\n") // and no ports
	info, err := os.Stat(c.socket())
	if err != nil || info.Mode() != os.ModeSocket|0o666 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if os.Geteuid() == 0 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.worker()))
		if err != nil || strings.Contains(string(status), "\nUid:\t0\t") {
			t.Errorf("the worker is root: %v", err)
		}
	}
}

// TestUnixSocket follows a socket through everything that happens to it.
func TestUnixSocket(t *testing.T) {
	c := newConf(t)
	inode := func() uint64 {
		info, err := os.Lstat(c.socket())
		if err != nil {
			return 0
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	works := func(path string) {
		t.Helper()
		dialTable(t, "unix", path).wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	}
	reload := func(d *daemon) {
		t.Helper()
		d.signal(syscall.SIGHUP)
		d.waitFor("RELOADING=1")
		d.waitFor("READY=1")
	}

	d := c.start()
	before := inode()
	kept := dialTable(t, "unix", c.socket())
	kept.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	reload(d)
	kept.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	syscall.Kill(d.worker(), syscall.SIGKILL)
	d.waitFor("READY=1")
	works(c.socket())
	c.write("connection-limit = 300") // another worker
	reload(d)
	works(c.socket())
	if inode() != before {
		t.Error("the socket was made anew")
	}

	// Another daemon leaves it alone.
	if got, want := c.refused(), "postsrsd: cannot listen on $D/srs for socketmap lookups: another program serves there, perhaps another postsrsd: stop it first"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	works(c.socket())

	// Taken away from under it, it is made again.
	os.Remove(c.socket())
	reload(d)
	works(c.socket())

	// Another mode, another path.
	c.write("socket-mode = 0600")
	reload(d)
	d.logged(c.socket() + " keeps owner and mode until the daemon is started again")
	c.write("socket-mode = 0600", "socketmap = \"unix:$D/other\"")
	reload(d)
	works(c.path("other"))
	if info, err := os.Stat(c.path("other")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if inode() != 0 {
		t.Error("the former socket is left")
	}

	// A reload to a place that is taken changes nothing.
	writeFile(t, c.dir, "srs", "mine")
	c.write()
	reload(d)
	d.logged("cannot listen on " + c.socket() + " for socketmap lookups: something is there that is no stream socket: take it away")
	works(c.path("other"))
	if got, want := c.refused(), "postsrsd: cannot listen on $D/srs for socketmap lookups: something is there that is no stream socket: take it away"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	d.stop()
	if _, err := os.Lstat(c.path("other")); err == nil {
		t.Error("the socket is left at the end")
	}
	os.Remove(c.socket())

	// One that a killed daemon left is replaced.
	d = c.start()
	d.signal(syscall.SIGKILL)
	<-d.exited
	stale := inode()
	if stale == 0 {
		t.Fatal("nothing is left of the killed one")
	}
	d = c.start()
	works(c.socket())

	// What somebody else put in its place stays.
	os.Remove(c.socket())
	other, err := net.Listen("unix", c.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	theirs := inode()
	d.stop()
	if inode() != theirs {
		t.Error("another program's socket was removed")
	}
}

// TestSocketRefusals has places where no socket can be, and owners that are
// none.
func TestSocketRefusals(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{`socketmap = "unix:$D/none/srs"`, "postsrsd: cannot listen on $D/none/srs for socketmap lookups: no such file or directory"},
		{`socketmap = "unix:$D/secret/srs"`, "postsrsd: cannot listen on $D/secret/srs for socketmap lookups: not a directory"},
		{`socketmap = "unix:$D"`, "postsrsd: cannot listen on $D for socketmap lookups: something is there that is no stream socket: take it away"},
		{`socketmap = ""`, "postsrsd: $D/postsrsd.conf:4: there is nothing to listen on: set socketmap or milter"},
		{`socket-owner = "nosuchuser"`, "postsrsd: owner of unix sockets ($D/postsrsd.conf:4): No such user: nosuchuser"},
		{`socket-owner = ":nosuchgroup"`, "postsrsd: owner of unix sockets ($D/postsrsd.conf:4): no such group: nosuchgroup"},
		{`unprivileged-user = nosuchuser`, "postsrsd: No such user: nosuchuser"},
		{`chroot-dir = "$D/none"`, "postsrsd: Cannot change to chroot: chdir $D/none: no such file or directory"},
		{`socketmap = inet:192.0.2.1:10003`, "postsrsd: cannot listen on 192.0.2.1:10003 for socketmap lookups: cannot assign requested address (this host does not have that address)"},
	} {
		c := newConf(t, test.line)
		if got := c.refused(); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.line, got, test.want)
		}
		if left, _ := filepath.Glob(c.path("srs")); left != nil {
			t.Errorf("%s: a socket is left", test.line)
		}
	}
}

// TestSocketOwner gives the socket away.
func TestSocketOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give files away")
		return
	}
	c := newConf(t, `socket-owner = "nobody:tty"`, "socket-mode = 0660")
	c.start()
	info, err := os.Stat(c.socket())
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 65534 || st.Gid != 5 || info.Mode().Perm() != 0o660 {
		t.Errorf("%d:%d %v", st.Uid, st.Gid, info.Mode())
	}
}

// TestSocketmapOnTCP serves socketmap at each form of an address.
func TestSocketmapOnTCP(t *testing.T) {
	for form, hosts := range map[string][]string{
		"inet:localhost:": {"127.0.0.1", "::1"},
		"inet:127.0.0.1:": {"127.0.0.1"},
		"inet:[::1]:":     {"::1"},
		"inet:*:":         {"127.0.0.1", "::1"},
		"inet:":           {"127.0.0.1", "::1"},
	} {
		port, _ := freePorts(t)
		newConf(t, `socketmap = "`+form+port+`"`).start()
		for _, host := range []string{"127.0.0.1", "::1"} {
			conn, err := net.Dial("tcp", net.JoinHostPort(host, port))
			if wanted := strings.Contains(strings.Join(hosts, " "), host); wanted != (err == nil) {
				t.Errorf("%s%s on %s: %v", form, port, host, err)
			}
			if err == nil {
				conn.Close()
				dialTable(t, "tcp", net.JoinHostPort(host, port)).wants("reverse", signedBy2x, "OK test@otherdomain.com")
			}
		}
	}
}

// TestSocketmapBeside1x adds a socketmap to the two ports of 1.x.
func TestSocketmapBeside1x(t *testing.T) {
	dir := shortDir(t)
	forward, reverse := freePorts(t)
	settings := writeFile(t, dir, "settings", fmt.Sprintf("SRS_DOMAIN=example.com\nSRS_SECRET=%s\nRUN_AS=\nCHROOT=\nSRS_FORWARD_PORT=%s\nSRS_REVERSE_PORT=%s\n"+
		"SRS_SOCKETMAP=unix:%s/srs\nSRS_DOMAINS=local.example\n", writeFile(t, dir, "secret", "fresh\n"), forward, reverse, dir))
	d := start(t, launch{dir: dir, env: []string{clockOfTests}, args: []string{"--env-file", settings, "--log=stderr"}})
	signed := strings.Replace(signedBy2x, "-ISg", "+ISg", 1)
	d.wants("127.0.0.1:"+forward, "test@otherdomain.com", signed)
	d.wants("127.0.0.1:"+reverse, signedBy2x, "test@otherdomain.com")
	d.wants("127.0.0.1:"+forward, "test@local.example", "test@local.example")
	s := dialTable(t, "unix", filepath.Join(dir, "srs"))
	s.wants("forward", "test@otherdomain.com", "OK "+signed)
	s.wants("forward", "test@local.example", "NOTFOUND Need not rewrite local domain.")
	d.logged(fmt.Sprintf("serving forward on 127.0.0.1:%s, reverse on 127.0.0.1:%s, socketmap on %s/srs, for example.com\n", forward, reverse, dir))
	d.stop()
	if _, err := os.Lstat(filepath.Join(dir, "srs")); err == nil {
		t.Error("the socket is left")
	}
}

// TestBadConfs starts the daemon on every file that is wrong.
func TestBadConfs(t *testing.T) {
	files, _ := filepath.Glob("../../testdata/conf/bad/*.conf")
	if len(files) < 60 {
		t.Fatalf("only %d files", len(files))
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(data), "\n")
		cmd := exec.Command(program, "-C", filepath.Base(file))
		cmd.Dir = filepath.Dir(file)
		out, _ := cmd.CombinedOutput()
		if want := "postsrsd: " + strings.TrimPrefix(first, "# ") + "\n"; string(out) != want || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: %v\n got %s\nwant %s", file, cmd.ProcessState, out, want)
		}
	}
}

// TestBareConf calls the daemon as 2.x's unit and bare, where there is an
// /etc/postsrsd.conf, and takes that away.
func TestBareConf(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can have an /etc of its own")
		return
	}
	c := newConf(t)
	forward, reverse := freePorts(t)
	writeFile(t, c.dir, "settings", fmt.Sprintf("SRS_DOMAIN=example.com\nSRS_SECRET=%s\nRUN_AS=nobody\nCHROOT=\nSRS_FORWARD_PORT=%s\nSRS_REVERSE_PORT=%s\n",
		c.path("secret"), forward, reverse))
	bare := func(files string, args ...string) *daemon {
		t.Helper()
		ownEtc := `rm -rf etc && cp -r /etc etc && cp settings etc/default/postsrsd && ` + files + ` && mount --bind etc /etc && exec "$@"`
		return start(t, launch{dir: c.dir, env: []string{clockOfTests}, args: args, wrap: []string{"unshare", "-m", "sh", "-c", ownEtc, "sh"}})
	}

	d := bare("cp postsrsd.conf etc/", "--log=stderr")
	d.logged("/etc/default/postsrsd is not read, because /etc/postsrsd.conf is there: take one of them away")
	s := dialTable(t, "unix", c.socket())
	s.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	os.Remove(c.path("etc/postsrsd.conf"))
	d.signal(syscall.SIGHUP)
	d.logged("not reloaded, the configuration of before stays in force: /etc/postsrsd.conf is gone: start the daemon again to go on without it")
	s.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	d.stop()

	d = bare("true", "--log=stderr")
	d.wants("127.0.0.1:"+reverse, signedBy2x, "test@otherdomain.com")
	writeFile(t, c.path("etc"), "postsrsd.conf", "srs-domain = example.com secrets-file = "+c.path("secret"))
	d.signal(syscall.SIGHUP)
	d.logged("not reloaded, the configuration of before stays in force: /etc/postsrsd.conf has appeared: start the daemon again to have it read")
	d.wants("127.0.0.1:"+reverse, signedBy2x, "test@otherdomain.com")
}

// TestConfInBackground has the file say what -D and -p say.
func TestConfInBackground(t *testing.T) {
	c := newConf(t, "daemonize = on", `pid-file = "$D/pid"`)
	d := launchDaemon(t, c.launch())
	<-d.exited
	if d.err != nil {
		t.Fatalf("%v: %s", d.err, d.stderr)
	}
	text, err := os.ReadFile(c.path("pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(string(text))
	defer syscall.Kill(pid, syscall.SIGKILL)
	dialTable(t, "unix", c.socket()).wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	syscall.Kill(pid, syscall.SIGTERM)
	eventually(t, func() bool { return gone(pid) }, func() string { return "it does not end" })
	for _, left := range []string{c.socket(), c.path("pid")} {
		if _, err := os.Lstat(left); err == nil {
			t.Errorf("%s is left", left)
		}
	}
}
