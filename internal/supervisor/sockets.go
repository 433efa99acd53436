package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"postsrsd/internal/config"
	"postsrsd/internal/server"
)

// A socket listens for the workers, which get copies of it. It stays open
// until no configuration wants it any more, whatever becomes of the workers.
type socket struct {
	direction server.Direction
	network   string // tcp, tcp4, tcp6, unix; empty if the service manager opened it
	address   string
	file      *os.File
	inode     inode // of a unix socket that we made
	perm      permissions
}

// The directions of the sockets of packages milter and metrics, beside those
// that package server knows.
const (
	forMilter = server.Socketmap + 1 + iota
	forMetrics
)

// purposes has what each direction is called.
var purposes = [...]string{server.Forward: "forward", server.Reverse: "reverse", server.Socketmap: "socketmap", forMilter: "milter", forMetrics: "metrics"}

type sockets []*socket

func (s sockets) files() (files []*os.File) {
	for _, socket := range s {
		files = append(files, socket.file)
	}
	return files
}

func (s sockets) directions() (directions []server.Direction) {
	for _, socket := range s {
		directions = append(directions, socket.direction)
	}
	return directions
}

// String is for the log and the service manager's status line.
func (s sockets) String() string {
	var parts []string
	for direction, what := range purposes {
		var addresses []string
		for _, socket := range s {
			if socket.direction == server.Direction(direction) {
				addresses = append(addresses, socket.address)
			}
		}
		if len(addresses) > 0 {
			parts = append(parts, what+" on "+strings.Join(addresses, " and "))
		}
	}
	return strings.Join(parts, ", ")
}

// closeExcept closes the sockets that are in none of keep, and removes those
// that have a place in the file system.
func (s sockets) closeExcept(keep ...sockets) {
	for _, socket := range s {
		if !slices.Contains(slices.Concat(keep...), socket) {
			socket.remove()
			socket.file.Close()
		}
	}
}

// adopt takes over the sockets that the service manager opened, by their
// names, which are those of purposes. It must be called once, before anything
// else opens files. Handing over sockets that cannot be used is an error: serving
// without them would leave their clients hanging.
func adopt() (sockets, error) {
	var adopted sockets
	given := activation.FilesWithNames()
	os.Unsetenv("LISTEN_PID")
	os.Unsetenv("LISTEN_FDS")
	os.Unsetenv("LISTEN_FDNAMES")
	var unused []string
	for name, files := range given {
		for _, f := range files {
			direction := server.Direction(slices.Index(purposes[:], name))
			ln, err := net.FileListener(f)
			if direction < 0 || err != nil {
				unused = append(unused, name)
				f.Close()
				continue
			}
			address := ln.Addr().String()
			ln.Close()
			if f, err = inheritable(f); err != nil {
				return nil, err
			}
			adopted = append(adopted, &socket{direction: direction, address: address, file: f})
		}
	}
	if len(unused) > 0 {
		slices.Sort(unused)
		return nil, fmt.Errorf("the service manager handed over sockets that cannot be used (%s): "+
			"they must be listening stream sockets with FileDescriptorName=forward or =reverse or =socketmap or =milter or =metrics", strings.Join(unused, ", "))
	}
	slices.SortFunc(adopted, func(a, b *socket) int { return int(a.direction) - int(b.direction) })
	return adopted, nil
}

// bind returns the sockets that c asks for: those in open that still fit, and
// new ones for the rest. A purpose for which the service manager opened
// sockets has those.
func bind(c *config.Config, open, adopted sockets) (bound sockets, warnings []string, err error) {
	defer func() {
		if err != nil {
			bound.closeExcept(open, adopted)
			bound = nil
		}
	}()
	perm, err := socketPermissions(c)
	if err != nil {
		return nil, nil, err
	}
	for i, what := range purposes {
		direction := server.Direction(i)
		before := len(bound)
		for _, socket := range adopted {
			if socket.direction == direction {
				bound = append(bound, socket)
			}
		}
		if len(bound) > before {
			continue
		}
		endpoints, err := endpoints(c, direction)
		if err != nil {
			return bound, nil, fmt.Errorf("%s port: %w", what, err)
		}
		for i, e := range endpoints {
			socket, err := listen(direction, e, perm, open)
			switch {
			case err == nil:
				bound = append(bound, socket)
				if socket.inode != (inode{}) && socket.perm != perm {
					warnings = append(warnings, e.address+" keeps owner and mode until the daemon is started again")
				}
			case e.optional && !errors.Is(err, syscall.EADDRINUSE) && len(endpoints) > 1:
				endpoints[i].err = err
			default:
				return bound, nil, fmt.Errorf("cannot listen on %s for %s: %w%s", e.address, asked(what), reason(err), hint(e.network, err))
			}
		}
		if len(endpoints) > 0 && len(bound) == before {
			return bound, nil, fmt.Errorf("cannot listen on %s for %s: %w", endpoints[0].address, asked(what), reason(endpoints[0].err))
		}
		for _, e := range endpoints {
			if e.err != nil {
				warnings = append(warnings, fmt.Sprintf("not listening on %s for %s: %v", e.address, asked(what), reason(e.err)))
			}
		}
	}
	if !slices.ContainsFunc(bound, func(s *socket) bool { return s.direction != forMetrics }) {
		return bound, nil, fmt.Errorf("%s: there is nothing to listen on: set socketmap or milter", c.Sources["Socketmap"])
	}
	return bound, warnings, nil
}

// asked says what comes in on sockets of a purpose.
func asked(purpose string) string {
	switch purpose {
	case purposes[forMetrics]:
		return "metrics"
	case purposes[forMilter]:
		return "the milter"
	}
	return purpose + " lookups"
}

func listen(direction server.Direction, e endpoint, perm permissions, open sockets) (*socket, error) {
	for _, socket := range open {
		if socket.direction == direction && socket.network == e.network && socket.address == e.address && socket.inPlace() {
			return socket, nil
		}
	}
	if e.network == "unix" {
		return listenUnix(direction, e.address, perm)
	}
	ln, err := new(net.ListenConfig).Listen(context.Background(), e.network, e.address)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	if f, err = inheritable(f); err != nil {
		return nil, err
	}
	return &socket{direction: direction, network: e.network, address: e.address, file: f}, nil
}

// inheritable returns f's descriptor as a file that can be handed to one worker
// after the other. Asking a file of package net for its descriptor makes the
// socket blocking, each time and also for the workers that have it already.
func inheritable(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// reason takes the address out of a network error, which its reader has
// already named.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

func hint(network string, err error) string {
	switch {
	case network == "unix":
		return ""
	case errors.Is(err, syscall.EADDRINUSE):
		return " (another postsrsd or another service has it: see ss -ltnp)"
	case errors.Is(err, syscall.EACCES):
		return " (ports below 1024 are root's)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (this host does not have that address)"
	}
	return ""
}
