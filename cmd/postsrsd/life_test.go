package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postsrsd/tcptable"
)

const (
	signedByTests = "SRS0=vmyz=2W=otherdomain.com=test@example.com"
	clockOfTests  = "POSTSRSD_FAKETIME=1577880000"
)

// A client asks without pause, over one connection as long as that lasts.
type client struct {
	asked, reconnects atomic.Int64
	failed            atomic.Pointer[string] // the first answer that was wrong
}

// clients starts n clients, half of them on each port, and returns what ends
// them.
func clients(t *testing.T, d *daemon, n int) ([]*client, func()) {
	t.Helper()
	var wait sync.WaitGroup
	stop := make(chan struct{})
	all := make([]*client, n)
	for i := range all {
		c := &client{}
		all[i] = c
		address, key, want := d.forward, "test@otherdomain.com", signedByTests
		if i%2 == 1 {
			address, key, want = d.reverse, want, key
		}
		wait.Go(func() {
			var conn net.Conn
			defer func() {
				if conn != nil {
					conn.Close()
				}
			}()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if conn == nil {
					var err error
					if conn, err = net.Dial("tcp", address); err != nil {
						c.fail("connect: %v", err)
						return
					}
				}
				conn.SetDeadline(time.Now().Add(patience))
				got, err := tcptable.NewClient(conn).Lookup(key)
				if err != nil {
					if ne, ok := err.(net.Error); ok && ne.Timeout() {
						c.fail("no answer: %v", err)
						return
					}
					conn.Close()
					conn = nil
					c.reconnects.Add(1)
					continue
				}
				if got != want {
					c.fail("%s: %s, want %s", key, got, want)
					return
				}
				c.asked.Add(1)
			}
		})
	}
	return all, func() { close(stop); wait.Wait() }
}

func (c *client) fail(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	c.failed.CompareAndSwap(nil, &message)
}

// busy waits until every client has asked again, or has failed.
func busy(t *testing.T, all []*client) {
	t.Helper()
	for _, c := range all {
		before := c.asked.Load()
		eventually(t, func() bool { return c.asked.Load() > before || c.failed.Load() != nil }, func() string { return "a client is stuck" })
	}
}

// TestReloadUnderLoad reloads, kills the worker, and does both, while clients
// ask: no lookup fails through a reload, and no connect is ever refused.
func TestReloadUnderLoad(t *testing.T) {
	for _, test := range []struct {
		name           string
		reloads, kills int
	}{{"100 reloads", 100, 0}, {"20 kills", 0, 20}, {"both", 30, 10}} {
		t.Run(test.name, func(t *testing.T) {
			d := start(t, launch{env: []string{clockOfTests}})
			all, end := clients(t, d, 8)
			for i := range max(test.reloads, test.kills) {
				if i < test.kills {
					busy(t, all)
					syscall.Kill(d.worker(), syscall.SIGKILL)
				}
				if i < test.reloads {
					d.signal(syscall.SIGHUP)
					d.waitFor("RELOADING=1")
				}
				d.waitFor("READY=1")
			}
			busy(t, all)
			end()
			for i, c := range all {
				if c.failed.Load() != nil {
					t.Errorf("client %d: %s", i, *c.failed.Load())
				}
				if n := c.reconnects.Load(); n > int64(test.kills) {
					t.Errorf("client %d had to reconnect %d times in %d kills", i, n, test.kills)
				}
			}
			if t.Failed() {
				t.Log(tail(d.stderr.String()))
			}
		})
	}
}

// tail is the end of a long log without the lookups.
func tail(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "rewritten") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-30):], "")
}

// worker is the process number of the worker that runs now.
func (d *daemon) worker() int {
	d.t.Helper()
	var pids []int
	eventually(d.t, func() bool { pids = children(d.cmd.Process.Pid); return len(pids) == 1 }, func() string {
		return fmt.Sprintf("the supervisor has the children %v:\n%s", pids, tail(d.stderr.String()))
	})
	return pids[0]
}

// children lists the processes whose parent is pid, but for the dead.
func children(pid int) (list []int) {
	for child, state := range offspring(pid) {
		if state != "Z" {
			list = append(list, child)
		}
	}
	return list
}

// offspring has the state of every process whose parent is pid.
func offspring(pid int) map[int]string {
	states := map[int]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if fields[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			states[child] = fields[0]
		}
	}
	return states
}

// TestReloadTakesEffect changes settings under a connection that stays open.
func TestReloadTakesEffect(t *testing.T) {
	dir := t.TempDir()
	secret := writeFile(t, dir, "secret", "tops3cr3t\n")
	settings := func(lines ...string) {
		text := append([]string{"SRS_SECRET=" + secret, "RUN_AS=", "CHROOT="}, lines...)
		writeFile(t, dir, "settings", strings.Join(text, "\n")+"\n")
	}
	forward, reverse := freePorts(t)
	ports := []string{"SRS_FORWARD_PORT=" + forward, "SRS_REVERSE_PORT=" + reverse}
	settings(append(ports, "SRS_DOMAIN=example.com")...)
	d := start(t, launch{dir: dir, env: []string{clockOfTests}, args: []string{"--env-file", filepath.Join(dir, "settings"), "--log=stderr"}})
	d.forward, d.reverse = "127.0.0.1:"+forward, "127.0.0.1:"+reverse

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, takenPort, _ := net.SplitHostPort(taken.Addr().String())
	conn, err := net.Dial("tcp", d.forward)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	table := tcptable.NewClient(conn)
	for _, step := range []struct {
		name  string
		lines []string
		file  string // the secret file
		want  string
		fails string // in the log
	}{
		{name: "as it starts", lines: []string{"SRS_DOMAIN=example.com"}, want: signedByTests},
		{name: "a domain excluded", lines: []string{"SRS_DOMAIN=example.com", "SRS_EXCLUDE_DOMAINS=otherdomain.com"}, want: "500 Domain excluded by policy"},
		{name: "another SRS domain", lines: []string{"SRS_DOMAIN=example.net"}, want: "SRS0=vmyz=2W=otherdomain.com=test@example.net"},
		{name: "a secret put in front", lines: []string{"SRS_DOMAIN=example.net"}, file: "fresh\ntops3cr3t\n", want: "SRS0=+ISg=2W=otherdomain.com=test@example.net"},
		{name: "a bad file changes nothing", lines: []string{"SRS_DOMAIN=example.org", "SRS_SEPARATOR=x"}, want: "SRS0=+ISg=2W=otherdomain.com=test@example.net",
			fails: "SRS separator character must be one of '=+-'"},
		{name: "another jail that is none", lines: []string{"SRS_DOMAIN=example.org", "CHROOT=/nonexistent"}, want: "SRS0=+ISg=2W=otherdomain.com=test@example.net",
			fails: "/nonexistent"},
		{name: "a port that is taken", lines: []string{"SRS_DOMAIN=example.org", "SRS_FORWARD_PORT=" + takenPort}, want: "SRS0=+ISg=2W=otherdomain.com=test@example.net",
			fails: "cannot listen on 127.0.0.1:" + takenPort},
		{name: "a good file again", lines: []string{"SRS_DOMAIN=example.com"}, file: "tops3cr3t\n", want: signedByTests},
	} {
		if step.file != "" {
			writeFile(t, dir, "secret", step.file)
		}
		settings(append(ports, step.lines...)...)
		d.signal(syscall.SIGHUP)
		d.waitFor("RELOADING=1")
		d.waitFor("READY=1")
		status := d.waitFor("STATUS=")
		if step.fails != "" {
			d.logged(step.fails)
			if !strings.Contains(status, "Not reloaded") {
				t.Errorf("%s: %s", step.name, status)
			}
		}
		got, err := table.Lookup("test@otherdomain.com")
		if err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(got, step.want) {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
		d.wants(d.reverse, signedByTests, "test@otherdomain.com") // the old secret still verifies
	}
}

// TestNewSockets moves the daemon to other ports while clients ask on those
// that stay.
func TestNewSockets(t *testing.T) {
	dir := t.TempDir()
	secret := writeFile(t, dir, "secret", "tops3cr3t\n")
	forward, reverse := freePorts(t)
	other, _ := freePorts(t)
	settings := func(reverse string) {
		writeFile(t, dir, "settings", fmt.Sprintf("SRS_DOMAIN=example.com\nSRS_SECRET=%s\nRUN_AS=\nCHROOT=\nSRS_FORWARD_PORT=%s\nSRS_REVERSE_PORT=%s\n", secret, forward, reverse))
	}
	settings(reverse)
	d := start(t, launch{dir: dir, env: []string{clockOfTests}, args: []string{"--env-file", filepath.Join(dir, "settings"), "--log=stderr"}})
	d.forward, d.reverse = "127.0.0.1:"+forward, "127.0.0.1:"+forward // both protocols, one port: the clients below use forward
	first := d.worker()
	settings(other)
	d.signal(syscall.SIGHUP)
	d.waitFor("RELOADING=1")
	d.waitFor("READY=1")
	d.wants("127.0.0.1:"+other, signedByTests, "test@otherdomain.com")
	d.wants("127.0.0.1:"+forward, "test@otherdomain.com", signedByTests)
	if second := d.worker(); second == first {
		t.Error("the worker is still the same")
	}
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+reverse)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, func() string { return "the old port is still open" })
}

// TestEnds ends the daemon in every way there is and looks for what is left.
func TestEnds(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := t.TempDir()
			d := start(t, launch{dir: dir, env: []string{clockOfTests}, flags: []string{"-p", filepath.Join(dir, "pid")}})
			idle, err := net.Dial("tcp", d.forward)
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			worker := d.worker()
			if text, err := os.ReadFile(filepath.Join(dir, "pid")); err != nil || string(text) != strconv.Itoa(d.cmd.Process.Pid) {
				t.Errorf("pid file: %q, %v", text, err)
			}
			d.signal(sig)
			<-d.exited
			if ended := sig == syscall.SIGKILL; ended == (d.err == nil) {
				t.Errorf("exit: %v", d.err)
			}
			eventually(t, func() bool { return syscall.Kill(worker, 0) == syscall.ESRCH }, func() string { return "the worker outlives the supervisor" })
			if _, err := net.Dial("tcp", d.forward); err == nil {
				t.Error("something still listens")
			}
			if _, err := os.Stat(filepath.Join(dir, "pid")); sig != syscall.SIGKILL && err == nil {
				t.Error("the pid file is left")
			}
		})
	}
}

// TestKeepsDying has a worker die faster than it can live, and the daemon come
// back all the same.
func TestKeepsDying(t *testing.T) {
	d := start(t, launch{env: []string{clockOfTests}})
	for range 5 {
		syscall.Kill(d.worker(), syscall.SIGKILL)
		d.waitFor("READY=1")
	}
	d.wants(d.forward, "test@otherdomain.com", signedByTests)
	d.logged("the worker (pid ")
}

// TestWatchdog holds that the service manager hears of the worker's health,
// and that a worker that hangs is replaced.
func TestWatchdog(t *testing.T) {
	d := start(t, launch{env: []string{clockOfTests, "WATCHDOG_USEC=1000000"}})
	d.waitFor("WATCHDOG=1")
	hung := d.worker()
	syscall.Kill(hung, syscall.SIGSTOP)
	d.logged(fmt.Sprintf("the worker (pid %d) does not answer, ending it", hung))
	d.waitFor("READY=1")
	d.wants(d.forward, "test@otherdomain.com", signedByTests)
	d.waitFor("WATCHDOG=1")
}
