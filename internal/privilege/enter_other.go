//go:build freebsd || openbsd || netbsd || dragonfly || darwin

package privilege

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Enter goes into the jail and returns only once it is proven that there is no
// way out. It is called once; every directory found open (inherited from
// whoever started the process) is closed, as it would lead out. A change of
// identity or of the root directory needs root.
//
// The warnings are sentences for the log about what is weaker than it could be.
// After an error the process is in no defined state and must end.
func (j Jail) Enter() (warnings []string, err error) {
	// Credentials belong to the process here: one call changes them for all threads.
	wasRoot := os.Geteuid() == 0
	for _, fd := range openDirectories() {
		unix.Close(fd)
	}
	var jail *unix.Stat_t
	if j.Root != "" {
		if jail, err = chroot(j.Root); err != nil {
			//lint:ignore ST1005 these are the words administrators know from 1.x
			return nil, fmt.Errorf("Cannot change to chroot: %w", err)
		}
	}
	if id := j.Identity; id != nil && (wasRoot || os.Getuid() != id.UID || os.Geteuid() != id.UID) {
		if err := syscall.Setgroups(nil); err != nil {
			return nil, fmt.Errorf("cannot give up supplementary groups: %w", err)
		}
		if err := syscall.Setgid(id.GID); err != nil {
			return nil, fmt.Errorf("cannot change to group %d of user %s: %w", id.GID, id.Name, err)
		}
		if err := syscall.Setuid(id.UID); err != nil {
			return nil, fmt.Errorf("cannot change to user %s (uid %d): %w", id.Name, id.UID, err)
		}
		if err := proveIdentity(*id); err != nil {
			return nil, err
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return nil, fmt.Errorf("cannot forbid core dumps: %w", err)
	}
	if os.Geteuid() == 0 {
		return append(warnings, staysRoot), nil
	}
	if wasRoot && unix.Chroot(".") == nil {
		return nil, errors.New("privileges are not gone: the root directory can be changed")
	}
	if jail != nil {
		var root, above unix.Stat_t
		if unix.Stat("/", &root) != nil || unix.Stat("/..", &above) != nil || !same(&root, jail) || !same(&above, jail) {
			return nil, errors.New("not in the jail: / is another directory")
		}
	}
	if dirs := openDirectories(); len(dirs) > 0 {
		return nil, fmt.Errorf("not in the jail: file descriptor %d is a directory", dirs[0])
	}
	return warnings, nil
}

func chroot(dir string) (*unix.Stat_t, error) {
	if err := os.Chdir(dir); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Stat(".", &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if err := unix.Chroot("."); err != nil {
		return nil, &os.PathError{Op: "chroot", Path: dir, Err: err}
	}
	return &st, os.Chdir("/")
}

func same(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// proveIdentity checks the identity and that root's cannot be had again. These
// systems list the effective gid among the groups.
func proveIdentity(id Identity) error {
	if os.Getuid() != id.UID || os.Geteuid() != id.UID || os.Getgid() != id.GID || os.Getegid() != id.GID {
		return fmt.Errorf("privileges are not gone: uid %d/%d, gid %d/%d", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid())
	}
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g != id.GID {
			return fmt.Errorf("privileges are not gone: group %d stays", g)
		}
	}
	if id.UID != 0 && (syscall.Setuid(0) == nil || syscall.Seteuid(0) == nil) {
		return errors.New("privileges are not gone: uid 0 can be had again")
	}
	return nil
}

// openDirectories looks through the file descriptors that the process may have.
func openDirectories() []int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 1<<16 {
		limit.Cur = 1 << 16
	}
	var dirs []int
	for fd := range int(limit.Cur) {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			dirs = append(dirs, fd)
		}
	}
	return dirs
}
