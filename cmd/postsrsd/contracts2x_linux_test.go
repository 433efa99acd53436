package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestContractsOf2x starts the daemon the ways PostSRSd 2.x is started.
func TestContractsOf2x(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root has users to choose from")
		return
	}
	const inOwnEtc = `rm -rf etc && cp -r /etc etc && cp postsrsd.conf etc/ && mount --bind etc /etc && exec "$@"`
	for _, test := range []struct {
		name       string
		lines      []string // of the file
		args       []string // $D is the directory
		wrap       []string
		forks      bool
		background bool
		user       int    // of the worker
		jail, pid  string // below the directory
	}{
		{name: "the unit", args: []string{"-C", "$D/postsrsd.conf"}, lines: []string{"unprivileged-user = nobody"}, user: 65534},
		{name: "with the name attached", args: []string{"-C$D/postsrsd.conf"}, lines: []string{"unprivileged-user = nobody"}, user: 65534},
		{name: "with a name from here", args: []string{"-C", "postsrsd.conf"}, lines: []string{"unprivileged-user = nobody"}, user: 65534},
		{name: "bare", wrap: []string{"unshare", "-m", "sh", "-c", inOwnEtc, "sh"}, lines: []string{"unprivileged-user = nobody"}, user: 65534},
		{name: "as the first process of a container", args: []string{"-C", "$D/postsrsd.conf"}, forks: true,
			wrap: []string{"unshare", "--pid", "--fork", "--mount-proc", "--kill-child"}, lines: []string{"unprivileged-user = nobody"}, user: 65534},
		{name: "user, jail and pid file by the file", args: []string{"-C", "$D/postsrsd.conf"}, user: 1, jail: "jail", pid: "pid",
			lines: []string{"unprivileged-user = daemon", `chroot-dir = "$D/jail"`, `pid-file = "$D/pid"`}},
		{name: "flags before the file", args: []string{"-C", "$D/postsrsd.conf", "-u", "daemon", "-c", "$D/jail", "-p", "$D/pid"}, user: 1, jail: "jail", pid: "pid",
			lines: []string{"unprivileged-user = nobody", `chroot-dir = "$D/none"`, `pid-file = "$D/none"`}},
		{name: "the same, attached, around it", args: []string{"-udaemon", "-c$D/jail", "-C$D/postsrsd.conf", "-p$D/pid"}, user: 1, jail: "jail", pid: "pid"},
		{name: "bare, with flags that say how to run", wrap: []string{"unshare", "-m", "sh", "-c", inOwnEtc, "sh"}, user: 1, jail: "jail", pid: "pid",
			args: []string{"-u", "daemon", "-c", "$D/jail", "-p", "$D/pid"}},
		{name: "in the background", args: []string{"-D", "-C", "$D/postsrsd.conf", "-u", "daemon", "-c", "$D/jail", "-p", "$D/pid"}, user: 1, jail: "jail", pid: "pid", background: true},
		{name: "in the background, clustered, from here", args: []string{"-DC", "postsrsd.conf", "-udaemon", "-p", "pid"}, user: 1, pid: "pid", background: true},
		{name: "neither user nor jail", args: []string{"-C", "$D/postsrsd.conf", "-u", "", "-c", ""}, user: 0, lines: []string{"unprivileged-user = nobody", `chroot-dir = "$D/none"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newConf(t, append(test.lines, `domains-file = "$D/domains"`)...)
			os.Mkdir(c.path("jail"), 0o755)
			writeFile(t, c.dir, "domains", "a.example\n")
			l := launch{dir: c.dir, env: []string{clockOfTests}, args: []string{}, wrap: test.wrap, forks: test.forks}
			for _, arg := range test.args {
				l.args = append(l.args, strings.ReplaceAll(arg, "$D", c.dir))
			}
			var pid int
			var d *daemon
			if test.background {
				d = launchDaemon(t, l)
				<-d.exited
				text, _ := os.ReadFile(c.path(test.pid))
				if pid, _ = strconv.Atoi(string(text)); d.err != nil || pid == 0 {
					t.Fatalf("%v, pid file %q: %s", d.err, text, d.stderr)
				}
				defer syscall.Kill(pid, syscall.SIGKILL)
			} else {
				d = start(t, l)
				pid = d.pid()
			}
			s := dialTable(t, "unix", c.socket())
			s.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
			s.wants("forward", "test@a.example", "NOTFOUND Need not rewrite local domain.")

			workers := children(pid)
			if len(workers) != 1 {
				t.Fatalf("%d workers", len(workers))
			}
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", workers[0]))
			if want := fmt.Sprintf("\nUid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", test.user); !strings.Contains(string(status), want) {
				t.Errorf("the worker is not user %d:\n%s", test.user, status)
			}
			if root, _ := os.Readlink(fmt.Sprintf("/proc/%d/root", workers[0])); test.jail != "" && root != c.path(test.jail) {
				t.Errorf("the worker's root is %s", root)
			}
			if test.pid != "" {
				if text, err := os.ReadFile(c.path(test.pid)); string(text) != fmt.Sprint(pid) {
					t.Errorf("the pid file has %q, %v", text, err)
				}
			}

			writeFile(t, c.dir, "domains", "b.example\n")
			before := monotonic(t)
			syscall.Kill(pid, syscall.SIGHUP)
			d.waitFor("RELOADING=1")
			usec, err := strconv.ParseInt(strings.TrimPrefix(d.waitFor("MONOTONIC_USEC="), "MONOTONIC_USEC="), 10, 64)
			if err != nil || usec < before || usec > monotonic(t) {
				t.Errorf("reloading began at %d µs, %v; asked for at %d", usec, err, before)
			}
			d.waitFor("READY=1")
			s.wants("forward", "test@b.example", "NOTFOUND Need not rewrite local domain.")

			syscall.Kill(pid, syscall.SIGTERM)
			eventually(t, func() bool { return gone(pid) }, func() string { return "it does not end" })
			for _, path := range []string{c.socket(), filepath.Join(c.dir, "pid")} {
				if _, err := os.Lstat(path); err == nil {
					t.Errorf("%s is left", path)
				}
			}
		})
	}
}

// monotonic is the clock that the service manager measures reloads by, in µs.
func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}
