package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postsrsd/internal/config"
	"postsrsd/internal/privilege"
	"postsrsd/internal/server"
)

// inode is what tells a file from another that has come into its place.
type inode struct{ device, number uint64 }

func inodeOf(path string) (inode, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return inode{}, err
	}
	return inode{uint64(st.Dev), uint64(st.Ino)}, nil
}

// inPlace tells whether clients still find the socket where it was made.
func (s *socket) inPlace() bool {
	if s.inode == (inode{}) {
		return true
	}
	var there inode
	err := whoMay(s.address, func() (err error) {
		there, err = inodeOf(s.address)
		return err
	})
	return err == nil && there == s.inode
}

// remove takes a unix socket that we made out of the file system, unless
// something else is there by now.
func (s *socket) remove() {
	if s.inode != (inode{}) && s.inPlace() {
		whoMay(s.address, func() error { return os.Remove(s.address) })
	}
}

func (s sockets) inPlace() bool {
	for _, socket := range s {
		if !socket.inPlace() {
			return false
		}
	}
	return true
}

func (s sockets) remove() {
	for _, socket := range s {
		socket.remove()
	}
}

// permissions are those of the unix sockets.
type permissions struct {
	mode     uint32
	uid, gid int // -1 to leave it
}

// socketPermissions looks up who the unix sockets of c belong to.
func socketPermissions(c *config.Config) (permissions, error) {
	p := permissions{c.SocketMode, -1, -1}
	name, group, _ := strings.Cut(c.SocketOwner, ":")
	if name != "" {
		identity, err := privilege.Lookup(name)
		if err != nil {
			return p, fmt.Errorf("owner of unix sockets (%s): %w", c.Sources["SocketOwner"], err)
		}
		p.uid = identity.UID
	}
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			g, err = user.LookupGroupId(group)
		}
		if err == nil {
			p.gid, err = strconv.Atoi(g.Gid)
		}
		if err != nil {
			return p, fmt.Errorf("owner of unix sockets (%s): no such group: %s", c.Sources["SocketOwner"], group)
		}
	}
	return p, nil
}

// bind makes the socket's file, with its mode from the beginning: setting that
// by the path would follow what somebody has put there since. No other files
// are made meanwhile, and no processes, which would get this umask too.
func (p permissions) bind(fd int, path string) error {
	defer unix.Umask(unix.Umask(int(^p.mode & 0o777)))
	return unix.Bind(fd, &unix.SockaddrUnix{Name: path})
}

// A notGivenError is why a socket's file cannot be given to its owner.
type notGivenError struct{ error }

func (e notGivenError) Error() string { return "cannot give it to its owner: " + e.error.Error() }

// bindHere makes it as whoever may make files there, and gives it away. That
// needs privileges only for what it changes.
func (p permissions) bindHere(fd int, path string) error {
	if err := whoMay(path, func() error { return p.bind(fd, path) }); err != nil {
		return err
	}
	if p.uid < 0 && p.gid < 0 {
		return nil
	}
	err := whoMay(path, func() error { return os.Lchown(path, p.uid, p.gid) })
	if err != nil {
		whoMay(path, func() error { return os.Remove(path) })
		return notGivenError{unwrapPath(err)}
	}
	return nil
}

// whoMay does something to the file at path as whoever has the right: root may
// do little with what belongs to others where it has no CAP_DAC_OVERRIDE, as
// in a service, but may do it as them.
func whoMay(path string, do func() error) error {
	err := do()
	if !errors.Is(err, fs.ErrPermission) || os.Geteuid() != 0 {
		return err
	}
	var dir, file unix.Stat_t
	if unix.Stat(filepath.Dir(path), &dir) != nil {
		return err
	}
	if privilege.As(int(dir.Uid), int(dir.Gid), func() error { return unix.Lstat(path, &file) }) != nil {
		file = dir
	}
	for _, uid := range []uint32{dir.Uid, file.Uid} {
		for _, gid := range []uint32{dir.Gid, file.Gid} {
			if again := privilege.As(int(uid), int(gid), do); !errors.Is(again, fs.ErrPermission) {
				return again
			}
		}
	}
	return err
}

// listenUnix makes a unix socket at path, in the place of one that nobody
// serves. Nobody can connect before it has its owner.
func listenUnix(direction server.Direction, path string, perm permissions) (*socket, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	s := &socket{direction: direction, network: "unix", address: path, perm: perm}
	err := s.make(perm.bindHere)
	if _, ok := errors.AsType[notGivenError](err); ok && os.Geteuid() == 0 {
		err = s.make(perm.bindAsOwner)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// make makes the socket and, with bind, its file.
func (s *socket) make(bind func(fd int, path string) error) error {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return err
	}
	s.file = os.NewFile(uintptr(fd), s.address)
	if err = bind(fd, s.address); err == nil {
		err = whoMay(s.address, func() (err error) {
			s.inode, err = inodeOf(s.address)
			return err
		})
		if err == nil {
			err = unix.Listen(fd, backlog)
		}
	}
	if err != nil {
		s.remove()
		s.file.Close()
	}
	return err
}

// backlog is how many connections wait to be accepted; systems with a lower
// limit have that.
const backlog = 4096

var (
	errServed    = errors.New("another program serves there, perhaps another postsrsd: stop it first")
	errNotSocket = errors.New("something is there that is no stream socket: take it away")
)

// removeStale removes the socket that a program left behind at path when it
// ended.
func removeStale(path string) error {
	var info fs.FileInfo
	err := whoMay(path, func() (err error) {
		info, err = os.Lstat(path)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unwrapPath(err)
	case info.Mode().Type() != fs.ModeSocket:
		return errNotSocket
	}
	err = whoMay(path, func() error {
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	})
	switch {
	case err == nil:
		return errServed
	case errors.Is(err, syscall.EAGAIN): // more clients wait there than it takes
		return errServed
	case errors.Is(err, syscall.EPROTOTYPE):
		return errNotSocket
	case errors.Is(err, syscall.ECONNREFUSED):
		err := whoMay(path, func() error { return os.Remove(path) })
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove the socket that was left there: %w", unwrapPath(err))
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("cannot tell whether anything serves there: %w", reason(err))
}

// unwrapPath takes operation and path off an error of package os.
func unwrapPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
