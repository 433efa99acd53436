package privilege

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileID tells files apart.
type fileID struct{ dev, ino uint64 }

func identify(dir int, path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, path, &st, 0); err != nil {
		return fileID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return fileID{uint64(st.Dev), uint64(st.Ino)}, nil
}

// witness holds the parts of /proc that the proof reads, opened while they can be reached by name.
type witness struct {
	tasks *os.File // one directory for each thread
	fds   *os.File // one entry for each open file
	root  *fileID  // the jail; nil: the root directory was kept
}

func newWitness() (*witness, error) {
	w := &witness{}
	var err error
	if w.tasks, err = os.Open("/proc/self/task"); err != nil {
		return nil, fmt.Errorf("cannot prove what becomes of privileges without /proc: %w", err)
	}
	if w.fds, err = os.Open("/proc/self/fd"); err != nil {
		w.close()
		return nil, fmt.Errorf("cannot prove what becomes of privileges without /proc: %w", err)
	}
	return w, nil
}

func (w *witness) close() {
	w.tasks.Close()
	w.fds.Close()
}

// thisThread reads the status of the thread it happens to run on; as long as
// nothing has been changed that is every thread's.
func (w *witness) thisThread() (status, error) {
	return w.thread(strconv.Itoa(unix.Gettid()))
}

func (w *witness) thread(tid string) (status, error) {
	fd, err := unix.Openat(int(w.tasks.Fd()), tid+"/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return status{}, &os.PathError{Op: "open", Path: "/proc/self/task/" + tid + "/status", Err: err}
	}
	f := os.NewFile(uintptr(fd), "/proc/self/task/"+tid+"/status")
	defer f.Close()
	text := make([]byte, 16<<10) // a page of the kernel's, and long lists of groups
	n, err := f.Read(text)
	if err != nil {
		return status{}, err
	}
	s, err := parseStatus(text[:n])
	if err != nil {
		return status{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return s, nil
}

// prove looks at every thread: rights as wanted, root and working directory the jail.
func (w *witness) prove(want status) error {
	if _, err := w.tasks.Seek(0, 0); err != nil {
		return err
	}
	tids, err := w.tasks.Readdirnames(-1)
	if err != nil {
		return err
	}
	proven := 0
	for _, tid := range tids {
		s, err := w.thread(tid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			return err
		}
		if d := s.differs(want); d != "" {
			return fmt.Errorf("privileges are not gone: thread %s: %s", tid, d)
		}
		if w.root != nil {
			for _, link := range []string{"root", "cwd"} {
				id, err := identify(int(w.tasks.Fd()), tid+"/"+link)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				if err != nil {
					return err
				}
				if id != *w.root {
					return fmt.Errorf("not in the jail: thread %s: %s is another directory", tid, link)
				}
			}
		}
		proven++
	}
	if proven == 0 {
		return errors.New("privileges are not proven gone: no thread found in /proc/self/task")
	}
	if w.root == nil {
		return nil
	}
	for _, path := range []string{"/", "/.."} {
		if id, err := identify(unix.AT_FDCWD, path); err != nil || id != *w.root {
			return fmt.Errorf("not in the jail: %s is another directory", path)
		}
	}
	return nil
}

// try attempts to get back what was given up. Where there was nothing to give
// up it is not called: a system call filter may kill whoever as much as asks.
func try(now status) error {
	if now.uid[effective] != 0 && (syscall.Setuid(0) == nil || syscall.Seteuid(0) == nil) {
		return errors.New("privileges are not gone: uid 0 can be had again")
	}
	if now.gid[effective] != 0 && (syscall.Setgid(0) == nil || syscall.Setegid(0) == nil) {
		return errors.New("privileges are not gone: gid 0 can be had again")
	}
	if syscall.Setgroups([]int{0}) == nil {
		return errors.New("privileges are not gone: supplementary groups can be had again")
	}
	if unix.Chroot(".") == nil {
		return errors.New("privileges are not gone: the root directory can be changed")
	}
	return nil
}

// closeDirectories closes every open directory but the witness's own.
func (w *witness) closeDirectories() error {
	dirs, err := w.openDirectories()
	for _, fd := range dirs {
		unix.Close(fd)
	}
	return err
}

// proveNoDirectory fails when any directory but the witness's own is open:
// through it, what lies outside the jail could be reached.
func (w *witness) proveNoDirectory() error {
	dirs, err := w.openDirectories()
	if err == nil && len(dirs) > 0 {
		err = fmt.Errorf("not in the jail: file descriptor %d is a directory", dirs[0])
	}
	return err
}

func (w *witness) openDirectories() ([]int, error) {
	if _, err := w.fds.Seek(0, 0); err != nil {
		return nil, err
	}
	names, err := w.fds.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var dirs []int
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			return nil, err
		}
		var st unix.Stat_t
		if fd == int(w.tasks.Fd()) || fd == int(w.fds.Fd()) || unix.Fstat(fd, &st) != nil {
			continue // the last: closed since
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			dirs = append(dirs, fd)
		}
	}
	return dirs, nil
}
