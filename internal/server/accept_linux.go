package server

import (
	"net"
	"os"
	"syscall"
)

// takeOver returns what accepts connections in ln's place.
//
// For each TCP connection that package net accepts it asks for an address and
// turns on keep-alive: six system calls of fourteen for a client that asks
// once, and a timer in the kernel, none of which is needed here. It also
// watches the connection itself, where a loop is to do that. So connections
// are accepted without it.
func takeOver(ln net.Listener) acceptor {
	filer, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		return plain{ln}
	}
	file, err := filer.File() // net's own handle on the socket only waits for net
	if err != nil {
		return plain{ln}
	}
	conn, err := file.SyscallConn()
	if err == nil && ln.Addr().Network() == "tcp" {
		// Clients inherit this. Without it pipelined replies would wait until
		// the client acknowledges the one before.
		err = control(conn, func(fd int) error {
			return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		})
	}
	if err != nil {
		file.Close()
		return plain{ln}
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the socket is not at its end
	}
	ln.Close()
	l := &listener{File: file, conn: conn}
	l.try = func(fd uintptr) bool {
		l.client, _, l.err = syscall.Accept4(int(fd), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		return l.err != syscall.EAGAIN
	}
	return l
}

// A listener is a listening socket that package net knows nothing of.
type listener struct {
	*os.File
	conn   syscall.RawConn
	try    func(fd uintptr) (done bool) // accepts, if there is a client
	client int                          // try's result
	err    error                        // try's result
}

func (l *listener) accept() (stream, error) {
	for {
		if err := l.conn.Read(l.try); err != nil {
			return nil, err
		}
		switch l.err {
		case nil:
			return &socket{fd: l.client}, nil
		case syscall.EINTR, syscall.ECONNABORTED:
		default:
			return nil, os.NewSyscallError("accept4", l.err)
		}
	}
}

// A socket is a client's connection that package net knows nothing of. It is
// a stream only once it is awake: until then whoever has it uses the
// descriptor, and nobody waits for it.
type socket struct {
	*os.File
	fd int
}

func (s *socket) wake() { s.File = os.NewFile(uintptr(s.fd), "") }

// CloseWrite is net.TCPConn's.
func (s *socket) CloseWrite() error {
	conn, err := s.SyscallConn()
	if err != nil {
		return err
	}
	return control(conn, func(fd int) error { return syscall.Shutdown(fd, syscall.SHUT_WR) })
}

func control(conn syscall.RawConn, do func(fd int) error) error {
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}
