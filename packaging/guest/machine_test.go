//go:build guest

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A machine is a system of its own: a copy of the image, booted or not.
type machine struct {
	t    *testing.T
	root string // where its root directory is on the host

	nspawn *exec.Cmd // the container's own process while booted
	leader int       // its init, as a process of the host
	ended  chan error
}

// newMachine copies the image. The machine is gone when the test ends.
func newMachine(t *testing.T) *machine {
	t.Helper()
	root, err := os.MkdirTemp(scratch, "machine-")
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, root: root}
	t.Cleanup(func() {
		if t.Failed() && m.nspawn != nil {
			out, _ := m.try(`journalctl --no-pager -n 60; tail -n 40 /var/log/mail.log`)
			t.Logf("the machine's log:\n%s", out)
		}
		m.stop()
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	must(t, "cp", "--archive", "--reflink=auto", image+"/.", root)
	return m
}

// bootMachine boots a fresh machine that has the packages in /root.
func bootMachine(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.boot()
	return m
}

// put copies files of the host into a directory of the machine.
func (m *machine) put(dir string, files ...string) {
	m.t.Helper()
	must(m.t, "cp", append(files, filepath.Join(m.root, dir))...)
}

// write writes a file of the machine.
func (m *machine) write(path, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, path), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// read is what a file of the machine holds.
func (m *machine) read(path string) string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// nspawnArgs are what every container has: loopback alone, and no trace in the
// host's service manager.
func (m *machine) nspawnArgs(args ...string) []string {
	return append([]string{"--quiet", "--directory=" + m.root, "--private-network", "--register=no", "--keep-unit",
		"--console=pipe", "--resolv-conf=off", "--timezone=off", "--link-journal=no"}, args...)
}

// boot starts the machine's service manager and waits until it has started everything.
func (m *machine) boot() {
	m.t.Helper()
	m.nspawn = exec.Command("systemd-nspawn", m.nspawnArgs("--boot")...)
	// SIGTERM has it shut the machine down, should the suite die.
	m.nspawn.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	var console bytes.Buffer
	m.nspawn.Stdout, m.nspawn.Stderr = &console, &console
	if err := m.nspawn.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.ended = make(chan error, 1)
	go func() { m.ended <- m.nspawn.Wait() }()

	m.until("the system to be up", func() error {
		var err error
		if m.leader, err = m.child(); err != nil {
			return err
		}
		state, err := m.try("systemctl is-system-running")
		if err == nil || strings.TrimSpace(state) == "degraded" {
			return nil
		}
		return err
	})
}

// reboot restarts the machine and waits until it is up again.
func (m *machine) reboot() {
	m.t.Helper()
	m.try("systemctl --no-block reboot")
	err := <-m.ended
	const again = 133 // how systemd-nspawn asks to be started once more
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != again {
		m.t.Fatalf("reboot ended the machine with %v", err)
	}
	m.nspawn = nil
	m.boot()
}

// stop ends a booted machine.
func (m *machine) stop() {
	if m.nspawn == nil {
		return
	}
	for {
		// With init every process of the machine dies, and systemd-nspawn ends by itself.
		if init, err := m.child(); err == nil {
			syscall.Kill(init, syscall.SIGKILL)
		}
		select {
		case <-m.ended:
			m.nspawn = nil
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// child is the child of systemd-nspawn, after a moment of preparation the machine's init.
func (m *machine) child() (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.nspawn.Process.Pid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// try runs a shell script in the booted machine, for at most a minute.
func (m *machine) try(script string, args ...string) (string, error) {
	argv := append([]string{"60", "nsenter", "--target", strconv.Itoa(m.leader), "--all", "env", "--ignore-environment", "HOME=/root", "LC_ALL=C.UTF-8",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", script, "sh"}, args...)
	return command("timeout", argv...)
}

// run runs a shell script in the booted machine that has to succeed, and returns what it printed.
func (m *machine) run(script string, args ...string) string {
	m.t.Helper()
	out, err := m.try(script, args...)
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimRight(out, "\n")
}

// bare runs a shell script in the machine while it is not booted: as in a
// container without a service manager. It has to succeed; what it printed is
// returned, without its standard error.
func (m *machine) bare(script string, args ...string) string {
	m.t.Helper()
	cmd := exec.Command("systemd-nspawn", m.nspawnArgs(append([]string{"--as-pid2", "--setenv=DEBIAN_FRONTEND=noninteractive",
		"sh", "-c", script, "sh"}, args...)...)...)
	out, err := cmd.Output()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s%s", script, err, out, err.(*exec.ExitError).Stderr)
	}
	return strings.TrimRight(string(out), "\n")
}

// until polls for a condition, for at most a minute.
func (m *machine) until(what string, holds func() error) {
	m.t.Helper()
	var err error
	for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(50 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	m.t.Fatalf("waited a minute for %s: %v", what, err)
}
