//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A memoryGroup is a control group that the kernel charges with what its
// processes use: their pages, page tables, kernel stacks and most of what the
// kernel allocates for them. The zero group stands for the whole system, which
// needs no control group but is noisier, and holds the client's sockets too.
type memoryGroup struct {
	Dir   string
	Usage string // the file in Dir that tells the bytes in use
}

// newMemoryGroup makes a group below /sys/fs/cgroup, version 2 or 1. Where that
// cannot be done it returns the zero group.
func newMemoryGroup(root, name string) memoryGroup {
	for _, candidate := range []memoryGroup{
		{Dir: root, Usage: "memory.current"},
		{Dir: filepath.Join(root, "memory"), Usage: "memory.usage_in_bytes"},
	} {
		group := memoryGroup{Dir: filepath.Join(candidate.Dir, name), Usage: candidate.Usage}
		if _, err := os.Stat(filepath.Join(candidate.Dir, "cgroup.procs")); err != nil {
			continue
		}
		if err := os.Mkdir(group.Dir, 0o755); err != nil {
			continue
		}
		if _, err := group.used(); err == nil {
			return group
		}
		os.Remove(group.Dir) // made a moment ago, without a process in it
	}
	return memoryGroup{}
}

// used is the memory charged to the group, in bytes.
func (g memoryGroup) used() (float64, error) {
	if g.Dir == "" {
		return systemUsed()
	}
	text, err := os.ReadFile(filepath.Join(g.Dir, g.Usage))
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
}

// enclose is the command line that runs argv as a member of the group.
func (g memoryGroup) enclose(argv []string) []string {
	if g.Dir == "" {
		return argv
	}
	return append([]string{"/bin/sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.Dir, "cgroup.procs")}, argv...)
}

// remove waits for the last process to be gone.
func (g memoryGroup) remove() error {
	if g.Dir == "" {
		return nil
	}
	var err error
	for range 100 {
		if err = os.Remove(g.Dir); err == nil || os.IsNotExist(err) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("remove the control group: %w", err)
}

// systemUsed is what the whole system has in use, in bytes: all its memory less
// what the kernel says it could still give out.
func systemUsed() (float64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	total, err := kilobytes(text, "MemTotal:")
	if err != nil {
		return 0, err
	}
	available, err := kilobytes(text, "MemAvailable:")
	return total - available, err
}

// kilobytes finds "NAME 123 kB" in text and returns it in bytes.
func kilobytes(text []byte, name string) (float64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == name && fields[2] == "kB" {
			n, err := strconv.ParseFloat(fields[1], 64)
			return n * 1024, err
		}
	}
	return 0, fmt.Errorf("no line %q in kB", name)
}

// proportional is the proportional set size of a process and all its
// descendants, in bytes. One that has ended by now has none.
func proportional(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	sum, err := kilobytes(text, "Pss:")
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", pid, err)
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, err
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			return 0, err
		}
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				return 0, err
			}
			size, err := proportional(pid)
			if err != nil {
				return 0, err
			}
			sum += size
		}
	}
	return sum, nil
}
