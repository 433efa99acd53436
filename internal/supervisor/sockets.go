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
	network   string // tcp, tcp4, tcp6; empty if the service manager opened it
	address   string
	file      *os.File
}

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
	of := func(direction server.Direction) string {
		var addresses []string
		for _, socket := range s {
			if socket.direction == direction {
				addresses = append(addresses, socket.address)
			}
		}
		return strings.Join(addresses, " and ")
	}
	return fmt.Sprintf("forward on %s, reverse on %s", of(server.Forward), of(server.Reverse))
}

// closeExcept closes the sockets that are in none of keep.
func (s sockets) closeExcept(keep ...sockets) {
	for _, socket := range s {
		if !slices.Contains(slices.Concat(keep...), socket) {
			socket.file.Close()
		}
	}
}

// adopt takes over the sockets that the service manager opened, by their
// names: forward and reverse. It must be called once, before anything else
// opens files. Handing over sockets that cannot be used is an error: serving
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
			direction, known := map[string]server.Direction{"forward": server.Forward, "reverse": server.Reverse}[name]
			ln, err := net.FileListener(f)
			if !known || err != nil {
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
			"they must be listening stream sockets with FileDescriptorName=forward or =reverse", strings.Join(unused, ", "))
	}
	slices.SortFunc(adopted, func(a, b *socket) int { return int(a.direction) - int(b.direction) })
	return adopted, nil
}

// bind returns the sockets that c asks for: those in open that still fit, and
// new ones for the rest. A direction for which the service manager opened
// sockets has those.
func bind(c *config.Config, open, adopted sockets) (bound sockets, warnings []string, err error) {
	defer func() {
		if err != nil {
			bound.closeExcept(open, adopted)
			bound = nil
		}
	}()
	for _, want := range []struct {
		direction server.Direction
		port      string
		what      string
	}{{server.Forward, c.ForwardPort, "forward"}, {server.Reverse, c.ReversePort, "reverse"}} {
		before := len(bound)
		for _, socket := range adopted {
			if socket.direction == want.direction {
				bound = append(bound, socket)
			}
		}
		if len(bound) > before {
			continue
		}
		endpoints, err := endpoints(c, want.port)
		if err != nil {
			return bound, nil, fmt.Errorf("%s port: %w", want.what, err)
		}
		for i, e := range endpoints {
			socket, err := listen(want.direction, e, open)
			switch {
			case err == nil:
				bound = append(bound, socket)
			case e.optional && !errors.Is(err, syscall.EADDRINUSE) && len(endpoints) > 1:
				endpoints[i].err = err
			default:
				return bound, nil, fmt.Errorf("cannot listen on %s for %s lookups: %w%s", e.address, want.what, reason(err), hint(err))
			}
		}
		if len(bound) == before {
			return bound, nil, fmt.Errorf("cannot listen on %s for %s lookups: %w", endpoints[0].address, want.what, reason(endpoints[0].err))
		}
		for _, e := range endpoints {
			if e.err != nil {
				warnings = append(warnings, fmt.Sprintf("not listening on %s for %s lookups: %v", e.address, want.what, reason(e.err)))
			}
		}
	}
	return bound, warnings, nil
}

func listen(direction server.Direction, e endpoint, open sockets) (*socket, error) {
	for _, socket := range open {
		if socket.direction == direction && socket.network == e.network && socket.address == e.address {
			return socket, nil
		}
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

// An endpoint is one address to listen on. An optional one may be missing on
// this host: without a listen address both loopback addresses are tried.
type endpoint struct {
	network, address string
	optional         bool
	err              error
}

func endpoints(c *config.Config, port string) ([]endpoint, error) {
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a port number nor a known service", port)
	}
	network := map[int]string{4: "tcp4", 6: "tcp6"}[c.Family]
	at := func(network, host string, optional bool) endpoint {
		return endpoint{network: network, address: net.JoinHostPort(host, fmt.Sprint(number)), optional: optional}
	}
	if ip := net.ParseIP(c.ListenAddr); network == "" && ip != nil && ip.To4() != nil {
		network = "tcp4" // package net takes 0.0.0.0 for both families
	}
	switch {
	case c.ListenAddr != "" && network == "":
		return []endpoint{at("tcp", c.ListenAddr, false)}, nil
	case c.ListenAddr != "":
		return []endpoint{at(network, c.ListenAddr, false)}, nil
	case network == "tcp4":
		return []endpoint{at(network, "127.0.0.1", false)}, nil
	case network == "tcp6":
		return []endpoint{at(network, "::1", false)}, nil
	}
	return []endpoint{at("tcp4", "127.0.0.1", true), at("tcp6", "::1", true)}, nil
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

func hint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return " (another postsrsd or another service has it: see ss -ltnp)"
	case errors.Is(err, syscall.EACCES):
		return " (ports below 1024 are root's)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (this host does not have that address)"
	}
	return ""
}
