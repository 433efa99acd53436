package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
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
	there, err := inodeOf(s.address)
	return err == nil && there == s.inode
}

// remove takes a unix socket that we made out of the file system, unless
// something else is there by now.
func (s *socket) remove() {
	if s.inode != (inode{}) && s.inPlace() {
		os.Remove(s.address)
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

// give needs privileges only for what it changes.
func (p permissions) give(path string) error {
	if p.uid < 0 && p.gid < 0 {
		return nil
	}
	if err := os.Lchown(path, p.uid, p.gid); err != nil {
		return fmt.Errorf("cannot give it to its owner: %w", unwrapPath(err))
	}
	return nil
}

// listenUnix makes a unix socket at path, in the place of one that nobody
// serves. Nobody can connect before it has its owner.
func listenUnix(direction server.Direction, path string, perm permissions) (_ *socket, err error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, err
	}
	s := &socket{direction: direction, network: "unix", address: path, file: os.NewFile(uintptr(fd), path), perm: perm}
	if err := perm.bind(fd, path); err != nil {
		s.file.Close()
		return nil, err
	}
	s.inode, err = inodeOf(path)
	if err == nil {
		err = perm.give(path)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		s.remove()
		s.file.Close()
		return nil, err
	}
	return s, nil
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
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unwrapPath(err)
	case info.Mode().Type() != fs.ModeSocket:
		return errNotSocket
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return errServed
	case errors.Is(err, syscall.EAGAIN): // more clients wait there than it takes
		return errServed
	case errors.Is(err, syscall.EPROTOTYPE):
		return errNotSocket
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
