//go:build postfix

package e2e

import (
	"bytes"
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

// TestSocketInQueueDirectory has a daemon with a postsrsd.conf serve a unix
// socket in Postfix's queue directory, where smtpd and cleanup reach it from
// inside their jail, which that directory is.
func TestSocketInQueueDirectory(t *testing.T) {
	s := &site{layout: layouts[0], protocol: socketmap, world: startSink(t)}
	s.longest = 512 - len("forward ")
	s.startPostfix(t, "socketmap:unix:srs:forward", "socketmap:unix:srs:reverse", "y")
	dir := t.TempDir()
	socket := s.postfix.dir + "/queue/srs"
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("secret", secret+"\n")
	write("domains", "excluded.test\n")
	write("postsrsd.conf", fmt.Sprintf("srs-domain = %s\nsecrets-file = %q\nsocketmap = %q\ndomains = { \".suffix.test\" }\n"+
		"domains-file = %q\ndomains-file-watch = on\n", ownDomain, dir+"/secret", "unix:"+socket, dir+"/domains"))
	start := func() *exec.Cmd {
		t.Helper()
		cmd := exec.Command(daemonPath, "-C", dir+"/postsrsd.conf")
		cmd.Env = append(os.Environ(), fmt.Sprintf("POSTSRSD_FAKETIME=%d", today.Unix()))
		log := new(bytes.Buffer)
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
			if t.Failed() {
				t.Logf("log of %v:\n%s", cmd.Args, log)
			}
		})
		waitFor(t, "the socket", func() bool {
			conn, err := net.Dial("unix", socket)
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
		return cmd
	}
	running := start()
	s.daemon = &daemon{socket: socket}

	t.Run("forward", s.testForward)
	t.Run("untouched", s.testUntouched)
	t.Run("returned by the next host", s.testReturned)
	t.Run("refuse", s.testRefuse)

	// forwarded sends a mail and returns the sender that the next host sees.
	forwarded := func(sender string) string {
		t.Helper()
		token := newToken()
		send(t, s.postfix.addr, sender, "forward@example.com", mailText(sender, "forward@example.com", token))
		return s.world.take(t, token).from
	}
	for name, again := range map[string]func(){
		"reloaded": func() { running.Process.Signal(syscall.SIGHUP) },
		"stopped":  func() { running.Process.Signal(syscall.SIGTERM); running.Wait(); running = start() },
		"killed":   func() { running.Process.Kill(); running.Wait(); running = start() },
	} {
		again()
		if got := forwarded("user@example.org"); !strings.HasPrefix(got, "SRS0=") {
			t.Errorf("%s: forwarded with the sender %s", name, got)
		}
	}
	write("new", "example.org\n")
	os.Rename(dir+"/new", dir+"/domains")
	waitFor(t, "the file of domains to be read", func() bool { return forwarded("user@example.org") == "user@example.org" })
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
