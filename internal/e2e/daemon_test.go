//go:build postfix

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// daemonConfig is what a test chooses about a daemon.
type daemonConfig struct {
	domain string
	secret string
	clock  time.Time
	flags  []string // further command-line flags
	env    []string // further variables
}

// daemon is a running postsrsd.
type daemon struct {
	forwardPort, reversePort string
	socket                   string   // of a daemon that has this in place of the ports
	args, env                []string // it was started with
	log                      *log
}

// startDaemon starts the binary under test with its clock set, on two free
// ports of localhost, and returns when both are served. Its log is shown when
// the test fails.
func startDaemon(t *testing.T, c daemonConfig) *daemon {
	t.Helper()
	d := &daemon{forwardPort: freePort(t), reversePort: freePort(t)}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(c.secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.args = append([]string{
		"-s", secret, "-d", c.domain, "-f", d.forwardPort, "-r", d.reversePort, "--log=stderr",
	}, c.flags...)
	d.env = slices.Concat(os.Environ(), []string{"POSTSRSD_FAKETIME=" + strconv.FormatInt(c.clock.Unix(), 10)}, c.env)
	cmd := exec.Command(daemonPath, d.args...)
	cmd.Env = d.env
	d.log = new(log)
	cmd.Stdout, cmd.Stderr = d.log, d.log
	// Registered before the process is, so that it runs when the process has
	// ended and its log is complete.
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %v:\n%s", cmd.Args, d.log)
		}
	})
	p := startProcess(t, cmd)
	if err := p.waitServing("127.0.0.1:"+d.forwardPort, "127.0.0.1:"+d.reversePort); err != nil {
		t.Fatal(err)
	}
	return d
}

// protocol names a Postfix lookup protocol that the daemon speaks.
type protocol string

const (
	tcp       protocol = "tcp"
	socketmap protocol = "socketmap"
)

// forwardMap is the daemon's forward lookup table in Postfix's notation.
func (d *daemon) forwardMap(p protocol) string {
	if d.socket != "" {
		return "socketmap:unix:" + d.socket + ":forward"
	}
	return lookupTable(p, d.forwardPort, "forward")
}

// reverseMap is the daemon's reverse lookup table in Postfix's notation.
func (d *daemon) reverseMap(p protocol) string {
	if d.socket != "" {
		return "socketmap:unix:" + d.socket + ":reverse"
	}
	return lookupTable(p, d.reversePort, "reverse")
}

func lookupTable(p protocol, port, name string) string {
	if p == socketmap {
		return "socketmap:inet:localhost:" + port + ":" + name
	}
	return "tcp:localhost:" + port
}

// log is what a program has written so far.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
