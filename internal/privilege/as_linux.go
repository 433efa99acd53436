package privilege

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// As runs f with the rights of another user and group to files and processes,
// and returns f's error, or why it could not become them. Root can, also
// where its own rights are bounded, as long as it has CAP_SETUID and
// CAP_SETGID. It is one thread that changes, for as long as f takes: the rest
// of the process stays who it is, and so do goroutines that f starts.
func As(uid, gid int, f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A thread that could not be changed back is not used any more: it
		// ends with the goroutine that holds it.
		runtime.LockOSThread()
		was, wasGroup := os.Geteuid(), os.Getegid()
		if err = become(sysSetresgid, gid); err == nil {
			if err = become(sysSetresuid, uid); err == nil {
				err = f()
			}
		}
		if become(sysSetresuid, was) == nil && become(sysSetresgid, wasGroup) == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return err
}

// become changes the effective identity of this thread alone, which the
// functions of package syscall change for all threads.
func become(call uintptr, id int) error {
	const keep = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(call, keep, uintptr(id), keep); errno != 0 {
		return errno
	}
	return nil
}
