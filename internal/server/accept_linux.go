package server

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// takeOver returns what accepts connections in ln's place: a loop, if there is
// any. It is called with s.mu held.
//
// For each TCP connection that package net accepts it asks for an address and
// turns on keep-alive: six system calls of fourteen for a client that asks
// once, and a timer in the kernel, none of which is needed here. It also
// watches the connection itself, where a loop is to do that, and has another
// thread wake for it. So connections are accepted without it.
func (s *Server) takeOver(ln net.Listener, direction Direction) acceptor {
	asItCame := plain{ln, s, direction}
	socket, ok := ln.(syscall.Conn)
	if !ok {
		return asItCame
	}
	conn, err := socket.SyscallConn()
	if err != nil {
		return asItCame
	}
	if len(s.loops) == 0 {
		s.startLoops()
	}
	if len(s.loops) == 0 {
		return asItCame
	}
	l := &listener{loop: s.loops[len(s.listeners)%len(s.loops)], direction: direction, handed: make(chan handed, 2)}
	err = control(conn, func(fd int) (err error) {
		if ln.Addr().Network() == "tcp" {
			// Clients inherit this. Without it pipelined replies would wait
			// until the client acknowledges the one before.
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
				return err
			}
		}
		if err := unix.SetNonblock(fd, true); err != nil { // or accept4 would hold up all of the loop
			return err
		}
		l.fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return asItCame
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the socket is not at its end
	}
	ln.Close()
	return l
}

// A listener is a listening socket on which a loop accepts connections. Who
// cannot be served at once, and what keeps it from accepting, it hands over,
// and leaves the socket alone until accept is called again.
type listener struct {
	loop      *loop
	direction Direction
	handed    chan handed // at most one from the loop and one from Close

	fd     int  // used with loop.mu held
	closed bool // likewise
}

type handed struct {
	c   *conn // has to wait
	err error
}

// accept returns the next connection that the loop leaves to somebody else.
func (ln *listener) accept() (*conn, error) {
	if err := ln.loop.listen(ln); err != nil {
		return nil, err
	}
	h := <-ln.handed
	return h.c, h.err
}

// Close may be called more than once.
func (ln *listener) Close() error {
	l := ln.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if ln.closed {
		return nil
	}
	ln.closed = true
	l.ignore(ln)
	ln.handed <- handed{err: net.ErrClosed}
	return os.NewSyscallError("close", unix.Close(ln.fd))
}

// listen has the loop accept connections.
func (l *loop) listen(ln *listener) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ln.closed {
		return nil // and Close has handed it over
	}
	if err := l.watch(ln.fd); err != nil {
		return err
	}
	l.listeners[ln.fd] = ln
	return nil
}

// ignore is called with l.mu held.
func (l *loop) ignore(ln *listener) {
	if l.listeners[ln.fd] == ln {
		delete(l.listeners, ln.fd)
		// Closing the descriptor would not do: others hold the socket as well.
		syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_DEL, ln.fd, nil)
	}
}

// welcome is called when somebody has connected.
func (l *loop) welcome(fd int) {
	for range loopNewcomers {
		ln, client, err := l.accept(fd)
		switch err {
		case nil:
			c := l.s.enter(&socket{fd: client}, ln.direction)
			if c.admitted != nil {
				l.handOver(ln, handed{c: c})
				return
			}
			l.s.start(c)
		case syscall.EAGAIN:
			return
		case syscall.EINTR, syscall.ECONNABORTED:
		default:
			l.handOver(ln, handed{err: os.NewSyscallError("accept4", err)})
			return
		}
	}
}

// accept is accept4(2), of a listener that may have been closed meanwhile.
func (l *loop) accept(fd int) (ln *listener, client int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln = l.listeners[fd]
	if ln == nil {
		return nil, -1, syscall.EAGAIN
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return ln, -1, errno
	}
	return ln, int(n), nil
}

func (l *loop) handOver(ln *listener, h handed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !ln.closed:
		l.ignore(ln)
		ln.handed <- h
	case h.c != nil: // and nobody will take it any more
		l.s.running.Go(func() { l.s.start(h.c) })
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
