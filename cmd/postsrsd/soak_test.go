//go:build soak && linux

package main_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postsrsd/srs"
	"postsrsd/tcptable"
)

var phase = flag.Duration("phase", 10*time.Second, "how long each trouble of the soak test lasts")

// descriptors is how many files the daemon may open in the soak test.
const descriptors = 512

// TestSoak keeps the daemon under full load through everything that goes wrong
// on a host. Every answer is checked against the codec. Afterwards files,
// threads, goroutines, processes and memory have to be where they were.
//
// It needs root, for a syslog socket of its own and a memory limit.
func TestSoak(t *testing.T) {
	sink := newSoakSink(t)
	group := limitMemory(t, 96<<20)
	dir := sink.dir
	secret := srs.NewSecret(24)
	forward, reverse := freePorts(t)
	d := start(t, launch{
		dir: dir,
		wrap: []string{"unshare", "-m", "sh", "-c",
			fmt.Sprintf("ulimit -n %d && ", descriptors) + `touch null && mount --bind /dev/null null && mount --rbind . /dev && { [ -z "$0" ] || echo $$ >"$0"; } && exec "$@"`, group},
		args: []string{"-d", "example.com", "-s", writeFile(t, dir, "secret", secret), "-f", forward, "-r", reverse, "-l", "127.0.0.1", "-u", "nobody", "-c", t.TempDir()},
	})
	d.forward, d.reverse = "127.0.0.1:"+forward, "127.0.0.1:"+reverse

	go func() { // the service manager listens
		d.notify.SetReadDeadline(time.Time{})
		for buf := make([]byte, 4096); ; {
			if _, err := d.notify.Read(buf); err != nil {
				return
			}
		}
	}()

	// A worker that has had its share of clients is what the last one is
	// measured against.
	l := &load{t: t, d: d, secret: secret}
	l.run("warm up", 0, func(time.Duration) { time.Sleep(*phase / 2) })
	before := l.takeStock(sink, 1<<40)

	l.run("reloads", 0, every(50*time.Millisecond, func() { d.signal(syscall.SIGHUP) }))
	l.run("kills", -1, every(700*time.Millisecond, func() { syscall.Kill(d.worker(), syscall.SIGKILL) }))
	l.run("both", -1, every(300*time.Millisecond, func() {
		d.signal(syscall.SIGHUP)
		syscall.Kill(d.worker(), syscall.SIGKILL)
	}))
	l.run("floods", 0, every(20*time.Millisecond, func() { flood(d, 200) }))
	l.run("half-open clients", 0, func(time.Duration) { halfOpen(t, d, 400) })
	l.run("a log that stalls", 0, func(time.Duration) { sink.stall(*phase) })
	l.run("a log that goes away and comes back", 0, every(*phase/4, func() { sink.restart() }))
	l.run("no file descriptors left", 0, func(time.Duration) { starve(t, d) })
	l.run("quiet again", 0, func(time.Duration) { time.Sleep(*phase / 2) })
	syscall.Kill(d.worker(), syscall.SIGKILL) // so that the last worker is as young as the first was
	l.run("a fresh worker", -1, func(time.Duration) { time.Sleep(*phase / 2) })

	after := l.takeStock(sink, before.memory+8<<20)
	t.Logf("%d answers, all right; before %v; after %v", l.answers.Load(), before, after)
	if after.files != before.files || after.processes != before.processes || after.goroutines > before.goroutines {
		t.Errorf("before %v; after %v\n%v\n%v", before, after, before.open, after.open)
	}
	t.Log(sink)
}

// TestFullDisk has the log and the pid file on a file system without room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	fill := func() {
		f, err := os.Create(filepath.Join(dir, "filler"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for {
			if _, err := f.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}
	// Full at the start: no pid file can be written, and the start says so.
	fill()
	d := launchDaemon(t, launch{flags: []string{"-p", filepath.Join(dir, "pid")}})
	<-d.exited
	if d.err == nil || !strings.Contains(d.stderr.String(), "cannot write the pid file: ") || !strings.Contains(d.stderr.String(), "no space left on device") {
		t.Errorf("%v: %s", d.err, d.stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "pid")); err == nil {
		t.Error("an empty pid file is left")
	}
	// Full while it runs: the log is lost, mail goes on.
	os.Remove(filepath.Join(dir, "filler"))
	d = start(t, launch{env: []string{clockOfTests}, wrap: []string{"sh", "-c", `exec "$@" 2>"$0"`, filepath.Join(dir, "log")}})
	fill()
	for range 2000 {
		d.wants(d.forward, "test@otherdomain.com", signedByTests)
	}
}

// A load asks the daemon all the time.
type load struct {
	t       *testing.T
	d       *daemon
	secret  string
	answers atomic.Int64
}

// run has trouble while clients ask. They may reconnect as often as given, any
// number of times if that is negative.
func (l *load) run(name string, reconnects int64, trouble func(time.Duration)) {
	l.t.Helper()
	codec, err := srs.New(srs.Options{Domain: "example.com", Secrets: [][]byte{[]byte(l.secret)}, Now: time.Now, MaxAge: 22})
	if err != nil {
		l.t.Fatal(err)
	}
	began := time.Now()
	var stop atomic.Bool
	var again atomic.Int64
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			var conn net.Conn
			var table *tcptable.Client
			for !stop.Load() {
				if conn == nil {
					var err error
					if conn, err = net.Dial("tcp", []string{l.d.forward, l.d.reverse}[i%2]); err != nil {
						l.t.Errorf("%s: connect: %v", name, err)
						return
					}
					table = tcptable.NewClient(conn)
				}
				conn.SetDeadline(time.Now().Add(patience))
				set := clockSet(began)
				sender := fmt.Sprintf("user%d@host%d.example", rand.IntN(1e6), rand.IntN(1e6))
				signed, err := codec.Forward(sender)
				if err != nil {
					l.t.Error(err)
					return
				}
				var got, back string
				if i%2 == 0 {
					if got, err = table.Lookup(sender); err == nil {
						back, err = codec.Reverse(got)
					}
				} else {
					back, err = table.Lookup(signed)
				}
				var refused *tcptable.Error
				if moved := clockSet(began) - set; moved.Abs() > time.Minute && (err == nil || errors.As(err, &refused) || errors.Is(err, srs.ErrExpired)) {
					continue // the stamp may be of another day than the one it was judged by
				}
				var unanswered net.Error
				if err == nil && back == sender {
					l.answers.Add(1)
					continue
				}
				if errors.As(err, &unanswered) && unanswered.Timeout() || back != "" || got != "" {
					l.t.Errorf("%s: %s: %q, %q, %v", name, sender, got, back, err)
					return
				}
				conn.Close()
				conn = nil
				again.Add(1)
			}
			if conn != nil {
				conn.Close()
			}
		})
	}
	asked := l.answers.Load()
	trouble(*phase)
	stop.Store(true)
	clients.Wait()
	if n := again.Load(); reconnects >= 0 && n > reconnects {
		l.t.Errorf("%s: clients had to reconnect %d times", name, n)
	}
	if l.answers.Load() == asked {
		l.t.Errorf("%s: nobody was answered", name)
	}
	l.t.Logf("%s: %d answers, %d reconnects", name, l.answers.Load()-asked, again.Load())
}

// clockSet is how far the clock has been set since began.
func clockSet(began time.Time) time.Duration {
	now := time.Now()
	return now.Round(0).Sub(began.Round(0)) - now.Sub(began)
}

// every does something again and again for as long as it lasts.
func every(pause time.Duration, do func()) func(time.Duration) {
	return func(lasting time.Duration) {
		for end := time.Now().Add(lasting); time.Now().Before(end); time.Sleep(pause) {
			do()
		}
	}
}

// flood opens many connections at once, says nonsense, and closes them in
// every way.
func flood(d *daemon, n int) {
	var conns []net.Conn
	for i := range n {
		conn, err := net.Dial("tcp", []string{d.forward, d.reverse}[i%2])
		if err != nil {
			continue
		}
		conns = append(conns, conn)
		switch i % 4 {
		case 0:
			io.WriteString(conn, "99999999999999999999:")
		case 1:
			io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		case 2:
			conn.(*net.TCPConn).SetLinger(0)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
}

// halfOpen has clients that begin a request and never finish it.
func halfOpen(t *testing.T, d *daemon, n int) {
	for range n {
		conn, err := net.Dial("tcp", d.forward)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "get somebody@")
	}
	time.Sleep(*phase)
}

// starve has more clients come than the worker has file descriptors for, and
// go again.
func starve(t *testing.T, d *daemon) {
	var conns []net.Conn
	for range descriptors {
		conn, err := net.Dial("tcp", d.forward)
		if err != nil {
			t.Error(err)
			break
		}
		conns = append(conns, conn)
	}
	time.Sleep(*phase)
	for _, conn := range conns {
		conn.Close()
	}
	if _, err := d.ask(d.forward, "x"); err == nil || !strings.Contains(err.Error(), "No at sign") {
		t.Errorf("afterwards a client is told %v", err)
	}
}

// stock is what the daemon has in use.
type stock struct {
	files, processes, goroutines int
	memory                       int64
	open                         []string
}

func (s stock) String() string {
	return fmt.Sprintf("%d files, %d processes, %d goroutines, %d KiB", s.files, s.processes, s.goroutines, s.memory>>10)
}

// takeStock counts once all clients are gone and no more memory than given is
// in use. The worker has to die for its goroutines to be counted.
func (l *load) takeStock(sink *soakSink, memory int64) (s stock) {
	l.t.Helper()
	supervisor, worker := l.d.cmd.Process.Pid, l.d.worker()
	eventually(l.t, func() bool { return sockets(worker) <= 3 }, func() string { return "the worker keeps connections" }) // two listeners, control
	for _, pid := range []int{supervisor, worker} {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, link := range links {
			// The Go runtime opens and closes what it watches its share of
			// the processors by.
			if target, _ := os.Readlink(link); !strings.HasPrefix(target, "/sys/fs/cgroup/") {
				s.files++
				s.open = append(s.open, target)
			}
		}
	}
	eventually(l.t, func() bool { s.memory = proportional(supervisor) + proportional(worker); return s.memory <= memory }, func() string {
		return fmt.Sprintf("%d bytes of memory are in use, %d are allowed", s.memory, memory)
	})
	s.processes = len(offspring(supervisor))
	before := sink.deaths.Load()
	sink.goroutines.Store(0)
	syscall.Kill(worker, syscall.SIGQUIT)
	eventually(l.t, func() bool { list := children(supervisor); return len(list) == 1 && list[0] != worker }, func() string { return "no new worker" })
	if _, err := l.d.ask(l.d.reverse, "x"); err == nil || !strings.Contains(err.Error(), "Not an SRS address.") {
		l.t.Error(err) // the new one does not answer
	}
	// The line that tells of its death follows its last words.
	eventually(l.t, func() bool { return sink.deaths.Load() > before }, func() string { return "the log does not tell of the worker's death" })
	s.goroutines = int(sink.goroutines.Load())
	return s
}

// proportional is a process's share of memory in bytes.
func proportional(pid int) (n int64) {
	rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(rollup)) {
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &n); err == nil {
			return n << 10
		}
	}
	return 0
}

func sockets(pid int) (n int) {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if target, _ := os.Readlink(link); strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}
