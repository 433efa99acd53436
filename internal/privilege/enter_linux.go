package privilege

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Enter goes into the jail and returns only once it is proven that there is no
// way out. It is called once, before any other goroutine does work that needs
// privileges; every directory found open (inherited from whoever started the
// process) is closed, as it would lead out.
//
// A change of identity or of the root directory needs CAP_SETUID, CAP_SETGID
// and CAP_SYS_CHROOT, and CAP_SETPCAP to empty the bounding set. A process that
// already runs as the identity, as a service manager arranges it, needs none of
// them. /proc must be mounted.
//
// The warnings are sentences for the log about what is weaker than it could be.
// After an error the process is in no defined state and must end.
func (j Jail) Enter() (warnings []string, err error) {
	w, err := newWitness()
	if err != nil {
		return nil, err
	}
	defer w.close()
	before, err := w.thisThread()
	if err != nil {
		return nil, err
	}
	if err := w.closeDirectories(); err != nil {
		return nil, err
	}
	want := before

	if j.Root != "" {
		if w.root, err = j.chroot(); err != nil {
			//lint:ignore ST1005 these are the words administrators know from 1.x
			return nil, fmt.Errorf("Cannot change to chroot: %w", err)
		}
	}

	// While CAP_SETPCAP is still held; the bounding set matters to what is
	// executed later, and no_new_privs covers that too.
	if before.can(unix.CAP_SETPCAP) {
		if err := dropBoundingSet(before.capBnd); err != nil {
			return nil, err
		}
		want.capBnd = 0
	} else if before.uid[effective] == 0 && before.capBnd != 0 {
		warnings = append(warnings, "the capability bounding set stays as it is: CAP_SETPCAP is missing")
	}

	if id := j.Identity; id != nil {
		already := before.uid == four(id.UID) && before.gid == four(id.GID)
		switch {
		case before.can(unix.CAP_SETGID) || !already:
			if err := syscall.Setgroups(nil); err != nil {
				return nil, fmt.Errorf("cannot give up supplementary groups: %w", explain(err))
			}
			want.groups = ""
		case before.groups != "" && before.groups != fmt.Sprint(id.GID):
			warnings = append(warnings, "supplementary groups stay as they are ("+before.groups+"): CAP_SETGID is missing")
		}
		if !already {
			if err := syscall.Setresgid(id.GID, id.GID, id.GID); err != nil {
				return nil, fmt.Errorf("cannot change to group %d of user %s: %w", id.GID, id.Name, explain(err))
			}
			if err := syscall.Setresuid(id.UID, id.UID, id.UID); err != nil {
				return nil, fmt.Errorf("cannot change to user %s (uid %d): %w", id.Name, id.UID, explain(err))
			}
		}
		want.uid, want.gid = four(id.UID), four(id.GID) // fsuid and fsgid follow
	}
	if want.uid[effective] == 0 {
		warnings = append(warnings, staysRoot)
	}

	if err := dropCapabilities(before); err != nil {
		return nil, err
	}
	want.capInh, want.capPrm, want.capEff, want.capAmb = 0, 0, 0, 0

	if err := allThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return nil, fmt.Errorf("cannot set no_new_privs: %w", err)
	}
	want.noNewPrivs = true

	// These two belong to the process, not to the thread.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot make the process's memory private: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return nil, fmt.Errorf("cannot forbid core dumps: %w", err)
	}

	if err := w.prove(want); err != nil {
		return nil, err
	}
	if before.privileged() {
		if err := try(want); err != nil {
			return nil, err
		}
	}
	return warnings, w.proveNoDirectory()
}

// chroot goes into j.Root, as root or, where root may not look into what is the
// user's own (a service manager can see to that), as the user.
func (j Jail) chroot() (*fileID, error) {
	id, err := chroot(j.Root)
	if !errors.Is(err, fs.ErrPermission) || j.Identity == nil {
		return id, err
	}
	// Who the file system sees belongs to the thread, the root directory to all of them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err2 := unix.SetfsuidRetUid(j.Identity.UID)
	if err2 != nil {
		return nil, err
	}
	defer unix.Setfsuid(before)
	return chroot(j.Root)
}

// chroot makes dir the root and working directory of all threads (they share
// both) and returns which directory that is.
func chroot(dir string) (*fileID, error) {
	if err := os.Chdir(dir); err != nil {
		return nil, err
	}
	id, err := identify(unix.AT_FDCWD, ".")
	if err != nil {
		return nil, err
	}
	if err := unix.Chroot("."); err != nil {
		return nil, &os.PathError{Op: "chroot", Path: dir, Err: err}
	}
	return &id, os.Chdir("/")
}

// dropBoundingSet takes every capability of set out of the bounding set.
func dropBoundingSet(set uint64) error {
	for c := range uintptr(64) {
		if set>>c&1 == 0 {
			continue
		}
		if err := allThreads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); err != nil {
			return fmt.Errorf("cannot drop capability %d from the bounding set: %w", c, err)
		}
	}
	return nil
}

// dropCapabilities empties the other sets, of which a change of uid has left
// the inheritable one alone, and all where the uid stays.
func dropCapabilities(before status) error {
	if before.capAmb != 0 {
		if err := allThreads(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
			return fmt.Errorf("cannot drop the ambient capabilities: %w", err)
		}
	}
	if before.capInh|before.capPrm|before.capEff == 0 {
		return nil
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	err := allThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0)
	if err != nil {
		return fmt.Errorf("cannot drop the capabilities: %w", err)
	}
	return nil
}

// allThreads makes a system call in every thread; what follows the third argument is zero.
//
//go:uintptrescapes
func allThreads(trap, a1, a2, a3 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(trap, a1, a2, a3, 0, 0, 0); errno != 0 {
		return explain(errno)
	}
	return nil
}

var errCgo = errors.New("this program was built with cgo, where privileges cannot be dropped for every thread: build it with CGO_ENABLED=0")

func explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOTSUP):
		return errCgo
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w (not root, or a capability is missing)", err)
	}
	return err
}
