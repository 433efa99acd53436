//go:build soak && linux

package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestClock has the clock jump a day forward and a day back, and a year, under
// load. So that no other program's clock jumps, it runs itself again under a
// kernel of its own: User-mode Linux, a Debian package, with the host's files.
func TestClock(t *testing.T) {
	if os.Getenv(programOfTests) == "" {
		inGuest(t)
		return
	}
	d := start(t, launch{})
	worker := d.worker()
	l := &load{t: t, d: d, secret: "tops3cr3t"}
	for _, by := range []time.Duration{24 * time.Hour, -24 * time.Hour, 365 * 24 * time.Hour} {
		l.run(fmt.Sprintf("the clock %v away", by), 0, func(time.Duration) { jump(t, by) })
	}
	l.run("the clock right again", 0, func(time.Duration) { time.Sleep(time.Second) })
	if now := d.worker(); now != worker {
		t.Errorf("the worker was replaced: %d, then %d", worker, now)
	}
}

// jump sets the clock and, a second later, sets it right again.
func jump(t *testing.T, by time.Duration) {
	began := time.Now()
	set := func(to time.Time) {
		tv := unix.NsecToTimeval(to.UnixNano())
		if err := unix.Settimeofday(&tv); err != nil {
			t.Error(err)
		}
	}
	set(began.Add(by))
	time.Sleep(time.Second)
	set(began.Add(time.Since(began))) // time.Since counts by the monotonic clock
}

const guestInit = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
ip link set lo up
export TMPDIR=/run HOME=/run PATH=/usr/sbin:/usr/bin:/sbin:/bin %s=%s
cd %s
%s -test.v -test.count 1 -test.run 'TestClock$' >%[5]s/output 2>&1
echo $? >%[5]s/status
echo o >/proc/sysrq-trigger
sleep 60
`

// inGuest runs this test under a kernel of its own.
func inGuest(t *testing.T) {
	if _, err := exec.LookPath("linux.uml"); err != nil {
		install := exec.Command("sh", "-c", "apt-get update && apt-get install --yes --no-install-recommends user-mode-linux iproute2")
		install.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	init := writeFile(t, dir, "init", fmt.Sprintf(guestInit, programOfTests, program, here, self, dir))
	if err := os.Chmod(init, 0o755); err != nil {
		t.Fatal(err)
	}
	guest := exec.CommandContext(t.Context(), "timeout", "-k", "5", "120",
		"linux.uml", "mem=1024M", "root=none", "rootfstype=hostfs", "rootflags=/", "rw", "init="+init, "con=null", "con0=null,fd:1", "quiet")
	guest.Env = append(os.Environ(), "TMPDIR="+dir)
	console, err := guest.CombinedOutput()
	output, _ := os.ReadFile(filepath.Join(dir, "output"))
	status, _ := os.ReadFile(filepath.Join(dir, "status"))
	if strings.TrimSpace(string(status)) != "0" || !strings.Contains(string(output), "--- PASS: TestClock") {
		t.Fatalf("guest: %v, status %q\n%s\n%s", err, status, output, console)
	}
	t.Logf("%s", output)
}
