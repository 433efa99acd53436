//go:build postfix

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that happens in milliseconds on an idle machine.
const patience = 30 * time.Second

// process is a program that runs until its test is over.
type process struct {
	cmd   *exec.Cmd
	done  chan struct{} // closed when the program has ended
	guard *exec.Cmd
	life  io.Closer // the guard acts when this closes
}

// startProcess starts cmd as the leader of a session and stops its whole
// process group when the test is over: the leader with SIGTERM, and with
// SIGKILL what is still there then.
//
// The SIGTERM comes from a guard that waits for the end of a pipe, so that it
// comes too when the test binary dies before it could clean up, as on a
// timeout. The kernel's own means for that, a parent death signal, is lost when
// a program changes its credentials, as Postfix's master does.
func startProcess(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, done: make(chan struct{})}
	p.guard = exec.Command("sh", "-c", `read -r pid && { read -r _; kill -s TERM "$pid"; }`)
	p.guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	life, err := p.guard.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.guard.Start(); err != nil {
		t.Fatal(err)
	}
	p.life = life
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		p.releaseGuard()
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() { p.stop(t) })
	if _, err := fmt.Fprintln(life, cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return p
}

// releaseGuard has the guard send its SIGTERM.
func (p *process) releaseGuard() {
	p.life.Close()
	_ = p.guard.Wait()
}

func (p *process) stop(t *testing.T) {
	select {
	case <-p.done:
		t.Errorf("%s ended before its time: %s", p.cmd.Path, p.cmd.ProcessState)
	default:
	}
	p.releaseGuard()
	group := -p.cmd.Process.Pid
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

// waitServing returns once something accepts connections at every address, or
// an error when the program ends first.
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

// nextPort is the last port that was given out. Ports below the range that the
// system takes for outgoing connections stay free until somebody binds them.
var nextPort atomic.Int32

func init() { nextPort.Store(int32(28100 + os.Getpid()%2000)) }

// freePort returns a TCP port of 127.0.0.1 that nobody has.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := nextPort.Add(1)
		if port >= 32768 {
			t.Fatal("no port is free")
		}
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			ln.Close()
			return strconv.Itoa(int(port))
		}
	}
}
