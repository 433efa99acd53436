package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// openFile opens a file for reading, without waiting for the writer of a named
// pipe.
//
// Root may read everything, but for a service whose capabilities are bounded:
// there it must not read what others keep to themselves, such as a secret that
// belongs to the user it serves as. It may become that user, though, and does
// for as long as it takes to open the file.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil || !errors.Is(err, fs.ErrPermission) || os.Geteuid() != 0 {
		return f, err
	}
	// The file system's idea of who asks belongs to the thread. A thread that
	// could not be made root again is not used any more: it ends with the
	// goroutine that holds it.
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		runtime.LockOSThread()
		owner := ownerOf(path)
		unix.Setfsgid(int(owner.Gid))
		unix.Setfsuid(int(owner.Uid))
		if again, asOwner := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0); asOwner == nil {
			f, err = again, nil
		}
	}()
	<-opened
	return f, err
}

// ownerOf finds who owns the file, or the nearest directory above it that can
// be looked at.
func ownerOf(path string) syscall.Stat_t {
	for {
		if info, err := os.Stat(path); err == nil {
			return *info.Sys().(*syscall.Stat_t)
		}
		up := filepath.Dir(path)
		if up == path {
			return syscall.Stat_t{}
		}
		path = up
	}
}
