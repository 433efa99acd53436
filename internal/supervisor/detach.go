package supervisor

import (
	"io"
	"os"
	"os/exec"
	"syscall"
)

// detachedMark in the environment says that this is the process in the
// background, whose descriptor 3 is how it tells the one that waits for it.
const detachedMark = "POSTSRSD_DETACHED"

// Detach runs this program again in the background, in a session of its own,
// and waits until that serves. It returns the exit status to end with. What
// the program prints until it serves goes to our standard error. In the
// program that was so started, detached is true, and Detached is to be called
// when it serves.
func Detach() (status int, detached bool) {
	if os.Getenv(detachedMark) != "" {
		os.Unsetenv(detachedMark)
		syscall.CloseOnExec(controlFD)
		return 0, true
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return 1, false
	}
	executable, err := os.Executable()
	if err != nil {
		executable = self()
	}
	background := &exec.Cmd{
		Path:        executable,
		Args:        os.Args,
		Env:         append(os.Environ(), detachedMark+"=1"),
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := background.Start(); err != nil {
		io.WriteString(os.Stderr, "postsrsd: cannot go to the background: "+err.Error()+"\n")
		return 1, false
	}
	theirs.Close()
	if n, _ := ready.Read(make([]byte, 1)); n == 1 {
		return 0, false
	}
	background.Wait()
	return 1, false
}

// Detached lets the process that waits in Detach end, and lets go of the
// terminal.
func Detached() {
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			dup(int(null.Fd()), fd)
		}
		null.Close()
	}
	ready := os.NewFile(controlFD, "ready")
	ready.Write([]byte{1})
	ready.Close()
}
