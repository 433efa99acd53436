package supervisor

import (
	"os"
	"os/signal"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childSignals announces the deaths of children where they are this process's
// to bury: as the first process of a container it inherits every orphan.
// Elsewhere the channel stays silent.
func childSignals() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	if os.Getpid() == 1 {
		signal.Notify(c, syscall.SIGCHLD)
	}
	return c
}

// reap buries children that are no workers. The workers' own goroutines wait
// for them, so it looks before it takes. What Load runs has to be left alone,
// too.
func (s *Supervisor) reap() {
	for os.Getpid() == 1 && !s.loading {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		pid := deadChild(&info)
		if err != nil || pid == 0 || s.isWorker(pid) {
			return
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil {
			return
		}
	}
}

// deadChild is si_pid, the first member of a union that is aligned like a
// pointer behind three ints.
func deadChild(info *unix.Siginfo) int {
	const word = unsafe.Sizeof(uintptr(0))
	offset := (3*unsafe.Sizeof(int32(0)) + word - 1) / word * word
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset)))
}

func (s *Supervisor) isWorker(pid int) bool {
	return slices.ContainsFunc(s.workers(), func(g *generation) bool { return g.command.Process.Pid == pid })
}
