package server

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Serve accepts connections on ln and answers them until Shutdown, then
// returns nil. It closes ln. Whatever else goes wrong with accepting is
// reported and tried again, after 5 ms at first and a second at last; only a
// listener that somebody else closed ends Serve with an error.
//
// Over the connection limit one newcomer is accepted and kept waiting, so that
// no listener starves another; the rest waits in ln's backlog.
func (s *Server) Serve(ln net.Listener, direction Direction) error {
	s.mu.Lock()
	if s.closing() {
		s.mu.Unlock()
		return ln.Close()
	}
	s.listeners[ln] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	defer s.forget(ln)

	bound(ln)
	retry := backoff{s: s, ln: ln}
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			retry.delay = 0
			s.start(nc, direction)
		case s.closing():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			retry.wait(err)
		}
	}
}

func (s *Server) forget(ln net.Listener) {
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	ln.Close()
}

// start waits until there is room for one more connection, and serves it. At
// shutdown there is room for those that wait.
func (s *Server) start(nc net.Conn, direction Direction) {
	c := newConn(s, nc)
	s.mu.Lock()
	if s.full() {
		s.tellFull()
	}
	for s.full() && !s.closing() {
		s.waiting++
		s.slot.Wait()
		s.waiting--
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		c.serve(direction)
		s.mu.Lock()
		delete(s.conns, c)
		s.slot.Signal()
		s.mu.Unlock()
		c.free()
	}()
}

func (s *Server) full() bool {
	limit := s.config.Load().MaxConns
	return limit > 0 && len(s.conns) >= limit
}

// tellFull reports that newcomers wait. It gives up s.mu while it does.
func (s *Server) tellFull() {
	now, open := time.Now(), len(s.conns)
	if now.Sub(s.toldFull) < reportInterval {
		return
	}
	s.toldFull = now
	s.mu.Unlock()
	s.report(fmt.Errorf("%w: %d are open", ErrFull, open))
	s.mu.Lock()
}

// backoff paces a listener that cannot accept.
type backoff struct {
	s     *Server
	ln    net.Listener
	delay time.Duration
	told  time.Time
}

func (b *backoff) wait(err error) {
	if now := time.Now(); now.Sub(b.told) >= reportInterval {
		b.told = now
		b.s.report(fmt.Errorf("%w on %v: %w", ErrAccept, b.ln.Addr(), err))
	}
	b.delay = min(max(5*time.Millisecond, 2*b.delay), time.Second)
	timer := time.NewTimer(b.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.s.done:
	}
}

// bound keeps small what the kernel stores for a client that sends without
// end or never reads. Connections inherit it from a TCP listener.
func bound(ln net.Listener) {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10)
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 32<<10)
	})
}
