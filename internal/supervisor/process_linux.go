package supervisor

import (
	"os"

	"golang.org/x/sys/unix"
)

// nameProcess sets what ps and pgrep show for a process that was started by
// way of /proc/self/exe.
func nameProcess(name string) {
	os.WriteFile("/proc/self/comm", []byte(name), 0)
}

// hide keeps others of the same user from reading this process's memory, and
// the kernel from writing it to disk.
func hide() {
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	noCore()
}

// dup makes newFD another name for oldFD.
func dup(oldFD, newFD int) error { return unix.Dup3(oldFD, newFD, 0) }
