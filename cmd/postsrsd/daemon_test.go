package main_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postsrsd/tcptable"
)

// program is the binary under test, built as it is shipped.
var program string

func TestMain(m *testing.M) {
	if program = os.Getenv(programOfTests); program != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "postsrsd-test-")
	if err != nil {
		panic(err)
	}
	os.Chmod(dir, 0o755) // for tests that run it as somebody else
	program = filepath.Join(dir, "postsrsd")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the daemon: %v\n%s", err, out)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// programOfTests names the variable that holds the daemon's path where the
// tests run on a system that cannot build it.
const programOfTests = "POSTSRSD_TEST_PROGRAM"

// patience is how long a condition may take to come true before a test fails.
const patience = 20 * time.Second

// A daemon is the program, running.
type daemon struct {
	t                testing.TB
	cmd              *exec.Cmd
	forward, reverse string // addresses
	stderr           *syncBuffer
	notify           *net.UnixConn // what the service manager is told
	told             []string
	forks            bool
	exited           chan struct{}
	err              error
}

// A launch is how a daemon is started; the zero value serves example.com with
// the secret tops3cr3t on ports that are free.
type launch struct {
	args   []string // in place of -d, -s, -f, -r and --log
	env    []string
	secret string
	flags  []string // added to the usual ones
	wrap   []string // a command in front
	forks  bool     // the command in front starts the daemon as its child
	cred   *syscall.Credential
	dir    string
}

// start runs the daemon and waits until it says that it serves.
func start(t testing.TB, l launch) *daemon {
	t.Helper()
	d := launchDaemon(t, l)
	d.waitFor("READY=1")
	return d
}

func launchDaemon(t testing.TB, l launch) *daemon {
	t.Helper()
	if l.dir == "" {
		l.dir = t.TempDir()
	}
	d := &daemon{t: t, stderr: new(syncBuffer), forks: l.forks, exited: make(chan struct{})}
	f, r := freePorts(t)
	d.forward, d.reverse = "127.0.0.1:"+f, "127.0.0.1:"+r
	if l.args == nil {
		if l.secret == "" {
			l.secret = "tops3cr3t\n"
		}
		l.args = append([]string{"-d", "example.com", "-s", writeFile(t, l.dir, "secret", l.secret), "-f", f, "-r", r, "-l", "127.0.0.1", "--log=stderr"}, l.flags...)
	}
	argv := append(l.wrap, program)
	argv = append(argv, l.args...)
	d.cmd = exec.Command(argv[0], argv[1:]...)
	d.cmd.Stderr = d.stderr
	d.cmd.Dir = l.dir
	notify := filepath.Join(shortDir(t), "notify")
	var err error
	if d.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	os.Chmod(notify, 0o777)
	d.cmd.Env = append(append(os.Environ(), l.env...), "NOTIFY_SOCKET="+notify)
	if l.cred != nil {
		d.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: l.cred}
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.exited)
	}()
	t.Cleanup(d.stop)
	return d
}

// stop ends the daemon and fails the test if it does not end well.
func (d *daemon) stop() {
	d.notify.Close()
	select {
	case <-d.exited:
		return
	default:
	}
	syscall.Kill(d.pid(), syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(patience):
		d.cmd.Process.Kill()
		d.t.Errorf("the daemon did not end; it said:\n%s", d.stderr)
	}
}

// pid is the supervisor's process number.
func (d *daemon) pid() int {
	if d.forks {
		if list := children(d.cmd.Process.Pid); len(list) == 1 {
			return list[0]
		}
	}
	return d.cmd.Process.Pid
}

// waitFor waits until the service manager was told a line that begins so.
func (d *daemon) waitFor(prefix string) string {
	d.t.Helper()
	buf := make([]byte, 4096)
	d.notify.SetReadDeadline(time.Now().Add(patience))
	for {
		for i, line := range d.told {
			if strings.HasPrefix(line, prefix) {
				d.told = d.told[i+1:]
				return line
			}
		}
		n, err := d.notify.Read(buf)
		if err != nil {
			d.t.Fatalf("waiting for %q: %v; the daemon said:\n%s", prefix, err, d.stderr)
		}
		d.told = append(d.told, strings.Split(string(buf[:n]), "\n")...)
	}
}

// logged waits until the log holds text.
func (d *daemon) logged(text string) {
	d.t.Helper()
	eventually(d.t, func() bool { return strings.Contains(d.stderr.String(), text) }, func() string {
		return fmt.Sprintf("%q is not in the log:\n%s", text, d.stderr)
	})
}

// signal sends a signal to the supervisor.
func (d *daemon) signal(sig syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatal(err)
	}
}

// ask looks key up over a connection of its own.
func (d *daemon) ask(address, key string) (string, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	return tcptable.NewClient(conn).Lookup(key)
}

// wants fails the test unless key is answered with want.
func (d *daemon) wants(address, key, want string) {
	d.t.Helper()
	if got, err := d.ask(address, key); err != nil || got != want {
		d.t.Errorf("%s: %q, %v; want %q", key, got, err, want)
	}
}

func eventually(t testing.TB, condition func() bool, otherwise func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(otherwise())
		}
	}
}

// nextPort is the last port that was given out. Ports below the range that the
// system takes for outgoing connections stay free until somebody binds them.
var nextPort atomic.Int32

func init() { nextPort.Store(int32(20000 + os.Getpid()%8000)) }

// freePorts finds two ports on loopback that nobody has.
func freePorts(t testing.TB) (string, string) {
	t.Helper()
	var ports []string
	for len(ports) < 2 {
		port := nextPort.Add(1)
		if port >= 32768 {
			t.Fatal("no port is free")
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		ln.Close()
		ports = append(ports, fmt.Sprint(port))
	}
	return ports[0], ports[1]
}

func writeFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shortDir is a temporary directory whose path leaves room for a socket's name.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "srs")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// asNobody has root start cmd as somebody whom file modes hold.
func asNobody(cmd *exec.Cmd) {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}
