//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Everything is measured in mount, process and network namespaces of its own:
// the host's /dev/log and ports are left alone, its firewall does not count, and
// the kernel ends every process and removes every mount when the measuring one
// is gone. Without being root a user namespace is needed for that.

// isolated runs this program again as role "inside", hands it the plan and
// returns its results.
func isolated(ctx context.Context, plan plan) (*results, error) {
	input, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	var output bytes.Buffer
	inside := exec.CommandContext(ctx, "/proc/self/exe", roleInside)
	inside.Stdin, inside.Stdout, inside.Stderr = bytes.NewReader(input), &output, os.Stderr
	inside.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET,
		Pdeathsig:  unix.SIGKILL,
	}
	if os.Geteuid() != 0 {
		attr := inside.SysProcAttr
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	err = inside.Run()
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC):
		return nil, fmt.Errorf("cannot make namespaces (%w): run it as root, or where users may make them", err)
	case ctx.Err() != nil:
		return nil, errors.New("interrupted")
	case err != nil:
		return nil, fmt.Errorf("measuring failed: %w", err)
	}
	results := new(results)
	if err := json.Unmarshal(output.Bytes(), results); err != nil {
		return nil, fmt.Errorf("results of the measuring process: %w", err)
	}
	return results, nil
}

// furnish makes the fresh namespaces usable: a /proc that shows their
// processes, a /dev of its own with no log socket yet, a loopback device that
// is up, and the kernel's settings as a Debian host has them.
func furnish(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := furnishDev(filepath.Join(dir, "dev")); err != nil {
		return fmt.Errorf("make a private /dev: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring the loopback device up: %w", err)
	}
	for name, value := range map[string]string{
		"net/unix/max_dgram_qlen":      "512",         // what systemd sets at boot
		"net/ipv4/ip_local_port_range": "20000 65535", // above the servers; closed connections keep theirs for a while
	} {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return fmt.Errorf("set a kernel parameter: %w", err)
		}
	}
	return nil
}

func furnishDev(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("dev", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755"); err != nil {
		return os.NewSyscallError("mount", err)
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		device := filepath.Join(dir, name)
		if err := os.WriteFile(device, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, device, "", unix.MS_BIND, ""); err != nil {
			return os.NewSyscallError("mount", err)
		}
	}
	return os.NewSyscallError("mount", unix.Mount(dir, "/dev", "", unix.MS_MOVE, ""))
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
