//go:build postfix

package e2e

import (
	"errors"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that happens in milliseconds on an idle machine.
const patience = 30 * time.Second

// process is a program that runs until its test is over.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended
}

// startProcess starts cmd as the leader of a session and stops all of its process group when the test is over: the
// leader with SIGTERM, and with SIGKILL what is still there then. Should the test binary die before that, the kernel
// sends the SIGTERM.
func startProcess(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

func (p *process) stop(t *testing.T) {
	group := -p.cmd.Process.Pid
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Errorf("%s did not end on SIGTERM", p.cmd.Path)
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-p.done
	}
	// What a master leaves behind notices within moments that it is gone.
	for deadline := time.Now().Add(patience); syscall.Kill(group, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%s left processes behind", p.cmd.Path)
			_ = syscall.Kill(group, syscall.SIGKILL)
			return
		}
	}
}

// waitServing returns once something accepts connections at every address, or an error when the program ends first.
func (p *process) waitServing(addrs ...string) error {
	deadline := time.Now().Add(patience)
	for _, addr := range addrs {
		for {
			conn, err := net.DialTimeout("tcp", addr, time.Second)
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-p.done:
				return errors.New(p.cmd.Path + " ended: " + p.cmd.ProcessState.String())
			case <-time.After(20 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				return err
			}
		}
	}
	return nil
}

// freePort returns a TCP port of 127.0.0.1 that nothing listened on a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}
