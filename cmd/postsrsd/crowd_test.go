package main_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postsrsd/tcptable"
)

// TestCrowd has 2000 clients that are silent and 200 that send a byte now and
// then, and asks beside them.
func TestCrowd(t *testing.T) {
	d := start(t, launch{env: []string{clockOfTests}})
	var idle, slow []net.Conn
	for i := range 2200 {
		conn, err := net.Dial("tcp", []string{d.forward, d.reverse}[i%2])
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		defer conn.Close()
		if i < 2000 {
			idle = append(idle, conn)
		} else {
			slow = append(slow, conn)
		}
	}
	const request = "get test@otherdomain.com\n"
	for i := range len(request) {
		for _, conn := range slow {
			if _, err := io.WriteString(conn, request[i:i+1]); err != nil {
				t.Fatalf("a slow client was cut off after %d bytes: %v", i, err)
			}
		}
		d.wants(d.forward, "test@otherdomain.com", signedByTests)
		d.wants(d.reverse, signedByTests, "test@otherdomain.com")
	}
	for _, conn := range slow {
		conn.SetDeadline(time.Now().Add(patience))
		if n, err := conn.Read(make([]byte, 4)); n == 0 {
			t.Errorf("a slow client got no answer: %v", err)
		}
	}
	for _, conn := range idle {
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := tcptable.NewClient(conn).Lookup("x"); err == nil || !strings.Contains(err.Error(), "5") {
			t.Errorf("an idle client got no answer: %v", err)
		}
	}
}

// TestLimit holds that who comes over the limit waits and is served when
// there is room.
func TestLimit(t *testing.T) {
	d := start(t, launch{env: []string{clockOfTests, "SRS_CONNECTION_LIMIT=10"}, flags: []string{"-e"}})
	var open []net.Conn
	for range 10 {
		conn, err := net.Dial("tcp", d.forward)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := tcptable.NewClient(conn).Lookup("test@otherdomain.com"); err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	waiting, err := net.Dial("tcp", d.forward)
	if err != nil {
		t.Fatalf("over the limit a client is refused: %v", err)
	}
	defer waiting.Close()
	answered := make(chan error, 1)
	go func() {
		waiting.SetDeadline(time.Now().Add(patience))
		_, err := tcptable.NewClient(waiting).Lookup("test@otherdomain.com")
		answered <- err
	}()
	d.logged("connection limit reached")
	select {
	case err := <-answered:
		t.Fatalf("over the limit a client is answered: %v", err)
	default:
	}
	open[0].Close()
	if err := <-answered; err != nil {
		t.Errorf("with room again the client got: %v", err)
	}
}

// TestFileLimit starts under limits of open files that are too low for the
// connection limit: one that may be raised, and one that may not.
func TestFileLimit(t *testing.T) {
	d := start(t, launch{env: []string{clockOfTests}, wrap: []string{"sh", "-c", `ulimit -Sn 64 && exec "$@"`, "sh"}})
	for range 200 {
		conn, err := net.Dial("tcp", d.forward)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	d.wants(d.forward, "test@otherdomain.com", signedByTests)

	wrap := []string{"sh", "-c", `ulimit -n 64 && exec "$@"`, "sh"}
	if os.Geteuid() == 0 { // without root's right to raise it
		wrap = append([]string{"setpriv", "--bounding-set=-sys_resource"}, wrap...)
	}
	d = start(t, launch{env: []string{clockOfTests}, wrap: wrap})
	d.logged("raise LimitNOFILE or lower the connection limit")
	var open []net.Conn
	for range 100 { // more than there can be: they wait
		conn, err := net.Dial("tcp", d.forward)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		open = append(open, conn)
	}
	d.logged("cannot accept connections")
	for _, conn := range open {
		conn.Close()
	}
	d.wants(d.forward, "test@otherdomain.com", signedByTests)
}

// TestActivation hands over sockets as a service manager does.
func TestActivation(t *testing.T) {
	var table string // address of the socket of that name
	activate := func(names string, sockets int, flags ...string) *daemon {
		t.Helper()
		dir := t.TempDir()
		forward, reverse := freePorts(t)
		d := &daemon{t: t, stderr: new(syncBuffer), exited: make(chan struct{})}
		d.forward, d.reverse = "127.0.0.1:"+forward, "127.0.0.1:"+reverse
		args := []string{"-d", "example.com", "-s", writeFile(t, dir, "secret", "tops3cr3t"), "-f", forward, "-r", reverse, "-l", "127.0.0.1", "--log=stderr"}
		// LISTEN_PID has to be the daemon's, which the shell has until it becomes it.
		d.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh", program}, append(args, flags...)...)...)
		d.cmd.Env = append(os.Environ(), clockOfTests, fmt.Sprintf("LISTEN_FDS=%d", sockets), "LISTEN_FDNAMES="+names, "NOTIFY_SOCKET="+filepath.Join(dir, "notify"))
		var err error
		if d.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}); err != nil {
			t.Fatal(err)
		}
		for i := range sockets {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			f, err := ln.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			ln.Close()
			d.cmd.ExtraFiles = append(d.cmd.ExtraFiles, f)
			switch strings.Split(names, ":")[i] {
			case "forward":
				d.forward = ln.Addr().String()
			case "reverse":
				d.reverse = ln.Addr().String()
			case "socketmap", "milter":
				table = ln.Addr().String()
			}
		}
		d.cmd.Stderr = d.stderr
		if err := d.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { d.err = d.cmd.Wait(); close(d.exited) }()
		t.Cleanup(d.stop)
		return d
	}
	for _, names := range []string{"forward:reverse", "reverse:forward", "reverse"} {
		t.Run(names, func(t *testing.T) {
			d := activate(names, strings.Count(names, ":")+1)
			d.waitFor("READY=1")
			for range 2 {
				d.wants(d.forward, "test@otherdomain.com", signedByTests)
				d.wants(d.reverse, signedByTests, "test@otherdomain.com")
				syscall.Kill(d.worker(), syscall.SIGKILL) // the next has the sockets, too
				d.waitFor("READY=1")
			}
		})
	}
	t.Run("socketmap", func(t *testing.T) {
		d := activate("socketmap", 1)
		d.waitFor("READY=1")
		d.wants(d.forward, "test@otherdomain.com", signedByTests)
		dialTable(t, "tcp", table).wants("reverse", signedByTests, "OK test@otherdomain.com")
	})
	t.Run("milter", func(t *testing.T) {
		d := activate("milter", 1)
		d.waitFor("READY=1")
		greet(t, "tcp", table).wantsSender(signedByTests, "a@example.net")
	})
	t.Run("names nobody knows", func(t *testing.T) {
		d := activate("postsrsd.socket", 1)
		<-d.exited
		if d.err == nil || !strings.Contains(d.stderr.String(), "FileDescriptorName=forward or =reverse") {
			t.Errorf("%v: %s", d.err, d.stderr)
		}
	})
}

// TestSyslog follows the log from inside the jail to a syslog daemon that is
// restarted, with the tag and priorities that 1.x has.
func TestSyslog(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can put a socket of its own at /dev/log")
		return
	}
	dir := shortDir(t)
	listen := func() *net.UnixConn {
		t.Helper()
		os.Remove(filepath.Join(dir, "log"))
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "log"), Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(dir, "log"), 0o666)
		return conn
	}
	read := func(conn *net.UnixConn, want string) string {
		t.Helper()
		buf := make([]byte, 8192)
		conn.SetReadDeadline(time.Now().Add(patience))
		for {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %q: %v", want, err)
			}
			if line := string(buf[:n]); strings.Contains(line, want) {
				return line
			}
		}
	}
	first := listen()
	jail := t.TempDir()
	secret := writeFile(t, dir, "secret", "tops3cr3t")
	forward, reverse := freePorts(t)
	d := start(t, launch{
		dir: dir, env: []string{clockOfTests},
		// A directory of its own at /dev, with the socket and /dev/null in it.
		wrap: []string{"unshare", "-m", "sh", "-c", `touch null; mount --bind /dev/null null && mount --rbind . /dev && exec "$@"`, "sh"},
		args: []string{"-d", "example.com", "-s", secret, "-f", forward, "-r", reverse, "-l", "127.0.0.1", "-u", "nobody", "-c", jail},
	})
	d.forward, d.reverse = "127.0.0.1:"+forward, "127.0.0.1:"+reverse
	d.wants(d.forward, "test@otherdomain.com", signedByTests)
	line := read(first, "srs_forward")
	if want := "srs_forward: <test@otherdomain.com> rewritten as <" + signedByTests + ">"; !strings.HasPrefix(line, "<22>") || !strings.HasSuffix(line, fmt.Sprintf(" postsrsd[%d]: %s", d.cmd.Process.Pid, want)) {
		t.Errorf("logged %q", line)
	}
	d.ask(d.forward, signedByTests)
	if line := read(first, "Valid SRS address"); !strings.HasPrefix(line, "<21>") {
		t.Errorf("logged %q", line)
	}
	first.Close()
	d.wants(d.forward, "test@otherdomain.com", signedByTests) // nobody logs, mail goes on
	second := listen()
	defer second.Close()
	d.wants(d.reverse, signedByTests, "test@otherdomain.com")
	read(second, "srs_reverse: <"+signedByTests+"> rewritten as <test@otherdomain.com>")
}
