package supervisor

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"postsrsd/internal/privilege"
)

// bindAsOwner is for root that may give nothing away, but may become the
// owner: the file is made in a directory where that one may make it, and moved
// to its place from there. The directory is there for as long as this takes,
// and lets nobody touch what others have in it.
func (p permissions) bindAsOwner(fd int, path string) error {
	above, name := filepath.Split(path)
	info, err := os.Stat(above)
	if err != nil {
		return unwrapPath(err)
	}
	maker := int(info.Sys().(*syscall.Stat_t).Uid)
	uid, gid := p.uid, p.gid
	if uid < 0 {
		uid = maker
	}
	if gid < 0 {
		gid = os.Getegid()
	}
	err = privilege.As(maker, gid, func() error {
		between, err := os.MkdirTemp(above, "."+name+"-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(between)
		if err := os.Chmod(between, 0o730|fs.ModeSticky); err != nil {
			return err
		}
		dir, err := os.Open(between)
		if err != nil {
			return err
		}
		defer dir.Close()
		short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name) // a socket's path is bounded
		if err := privilege.As(uid, gid, func() error { return p.bind(fd, short) }); err != nil {
			return err
		}
		return unix.Renameat2(unix.AT_FDCWD, filepath.Join(between, name), unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	})
	if err != nil {
		return notGivenError{unwrapPath(err)}
	}
	return nil
}
