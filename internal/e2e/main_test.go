//go:build postfix

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// daemonPath is the binary under test, built by TestMain.
var daemonPath string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "postsrsd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := prepare(dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}

// prepare builds the daemon into dir and sees to it that Postfix, Redis and
// what Postfix authenticates by are installed.
func prepare(dir string) error {
	if os.Getuid() != 0 {
		return errors.New("Postfix starts only as root: run this suite as root")
	}
	daemonPath = filepath.Join(dir, "postsrsd")
	build := exec.Command("go", "build", "-o", daemonPath, "postsrsd/cmd/postsrsd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := runQuietly(build); err != nil {
		return err
	}
	for program, packages := range map[string][]string{
		"/usr/sbin/postfix":     {"postfix"},
		"/usr/bin/redis-server": {"redis-server"},
		"/usr/sbin/saslpasswd2": {"sasl2-bin", "libsasl2-modules"},
	} {
		if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
			if err := install(packages...); err != nil {
				return err
			}
		}
	}
	return nil
}

// install installs packages of Debian's without their services being started: a
// policy-rc.d that forbids it stands there meanwhile, unless the host has one
// of its own, and a Postfix that was started all the same is stopped.
func install(names ...string) error {
	const policy = "/usr/sbin/policy-rc.d"
	if f, err := os.OpenFile(policy, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755); err == nil {
		defer os.Remove(policy)
		_, err := f.WriteString("#!/bin/sh\nexit 101\n")
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, args := range [][]string{
		{"update"},
		append([]string{"install", "--yes", "--no-install-recommends"}, names...),
	} {
		apt := exec.Command("apt-get", args...)
		apt.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if err := runQuietly(apt); err != nil {
			return err
		}
	}
	if slices.Contains(names, "postfix") && exec.Command("postfix", "status").Run() == nil {
		return runQuietly(exec.Command("postfix", "stop"))
	}
	return nil
}

// runQuietly runs a command and returns its output as part of the error when it fails.
func runQuietly(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}
