package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// bounded starts the daemon as root with the capabilities that its unit leaves it.
var bounded = []string{"setpriv", "--bounding-set=-all,+sys_chroot,+setuid,+setgid,+setpcap,+net_bind_service"}

// TestSocketOfBoundedRoot has the daemon make and keep its socket and pid file where
// root may not, and end a worker that hangs.
func TestSocketOfBoundedRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can be bounded so")
		return
	}
	const theirs = 65534 // nobody
	for _, test := range []struct {
		name     string
		owner    int // of the directory
		mode     os.FileMode
		settings string
		want     string // owner, group and mode of the socket
	}{
		{"root's", 0, 0o755, "", "0:0 0666"},
		{"root's, given to a user", 0, 0o755, `socket-owner = "nobody"`, "65534:0 0666"},
		{"root's, given to a user and a group", 0, 0o755, `socket-owner = "nobody:tty" socket-mode = 0660`, "65534:5 0660"},
		{"root's, given to a group", 0, 0o755, `socket-owner = ":tty" socket-mode = 0660`, "0:5 0660"},
		{"theirs", theirs, 0o700, "", "65534:65534 0666"},
		{"theirs, theirs alone", theirs, 0o700, `socket-owner = "nobody:nogroup" socket-mode = 0600`, "65534:65534 0600"},
		{"theirs, given to a group", theirs, 0o700, `socket-owner = ":tty" socket-mode = 0660`, "65534:5 0660"},
		{"theirs, given to root and a group", theirs, 0o710, `socket-owner = "root:tty" socket-mode = 0660`, "0:5 0660"},
		{"theirs, given to others", theirs, 0o711, `socket-owner = "daemon" socket-mode = 0600`, "1:0 0600"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newConf(t, test.settings, `socketmap = "unix:$D/place/srs"`, `pid-file = "$D/place/pid"`)
			place := c.path("place")
			os.Mkdir(place, 0)
			os.Chown(place, test.owner, test.owner)
			os.Chmod(place, test.mode)
			socket := filepath.Join(place, "srs")
			l := c.launch()
			l.wrap, l.env = bounded, append(l.env, "WATCHDOG_USEC=1000000")

			holds := func(d *daemon) {
				t.Helper()
				info, err := os.Lstat(socket)
				if err != nil {
					t.Fatal(err)
				}
				st := info.Sys().(*syscall.Stat_t)
				if got := fmt.Sprintf("%d:%d %04o", st.Uid, st.Gid, info.Mode().Perm()); got != test.want {
					t.Errorf("the socket is %s, want %s", got, test.want)
				}
				if got, err := os.ReadFile(filepath.Join(place, "pid")); string(got) != fmt.Sprint(d.pid()) {
					t.Errorf("the pid file has %q, %v", got, err)
				}
				dialTable(t, "unix", socket).wants("reverse", signedBy2x, "OK test@otherdomain.com")
			}
			d := start(t, l)
			holds(d)
			other := c.launch()
			other.wrap = bounded
			second := launchDaemon(t, other)
			<-second.exited
			if want := "another program serves there"; !strings.Contains(second.stderr.String(), want) {
				t.Errorf("another daemon says %q", second.stderr)
			}
			d.signal(syscall.SIGKILL) // and what it leaves is replaced
			<-d.exited
			d = start(t, l)
			holds(d)

			hung := d.worker()
			syscall.Kill(hung, syscall.SIGSTOP)
			eventually(t, func() bool { return gone(hung) }, func() string { return "the worker is not ended: " + d.stderr.String() })
			d.waitFor("WATCHDOG=1")
			d.signal(syscall.SIGHUP)
			d.waitFor("RELOADING=1")
			d.waitFor("READY=1")
			holds(d)
			d.stop()
			if left, _ := filepath.Glob(filepath.Join(place, "*")); left != nil {
				t.Errorf("%s is left", left)
			}
			if left, _ := filepath.Glob(filepath.Join(place, ".[!.]*")); left != nil {
				t.Errorf("%s is left", left)
			}
		})
	}
}
