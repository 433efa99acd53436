package server

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Serve takes ln over, accepts connections on it and answers them until
// Shutdown, then returns nil. Whatever goes wrong with accepting is reported
// and tried again, after 5 ms at first and a second at last; only a listener
// that somebody else closed ends Serve with an error.
//
// Over the connection limit one newcomer is accepted and kept waiting, so that
// no listener starves another; the rest waits in ln's backlog.
func (s *Server) Serve(ln net.Listener, direction Direction) error {
	s.mu.Lock()
	if s.closing() {
		s.mu.Unlock()
		return ln.Close()
	}
	a := s.takeOver(ln, direction)
	s.listeners[a] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	defer s.forget(a)

	retry := backoff{s: s, addr: ln.Addr()}
	for {
		c, err := a.accept()
		switch {
		case err == nil:
			s.start(c)
		case s.closing():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			retry.wait(err)
		}
	}
}

func (s *Server) forget(a acceptor) {
	s.mu.Lock()
	delete(s.listeners, a)
	s.mu.Unlock()
	a.Close()
}

// An acceptor accepts connections for Serve to start.
type acceptor interface {
	accept() (*conn, error)
	Close() error
}

// plain is a net.Listener as it came.
type plain struct {
	net.Listener
	s         *Server
	direction Direction
}

func (p plain) accept() (*conn, error) {
	client, err := p.Accept()
	if err != nil {
		return nil, err
	}
	return p.s.enter(client, p.direction), nil
}

// start serves a connection, once there is room for it.
func (s *Server) start(c *conn) {
	if c.admitted != nil {
		<-c.admitted
	}
	s.running.Add(1)
	if !s.park(c) {
		go c.run()
	}
}

// enter makes one more of s.conns, which it is at once, or has to wait to be.
func (s *Server) enter(client stream, direction Direction) *conn {
	c := &conn{stream: client, s: s, direction: direction}
	s.mu.Lock()
	s.accepted++
	if s.closing() || len(s.queue) == 0 && !s.full() {
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		return c
	}
	c.admitted = make(chan struct{})
	s.queue = append(s.queue, c)
	s.delayed++
	open, now := len(s.conns), time.Now()
	tell := now.Sub(s.toldFull) >= reportInterval
	if tell {
		s.toldFull = now
	}
	s.mu.Unlock()
	if tell {
		s.report(fmt.Errorf("%w: %d are open", ErrFull, open))
	}
	return c
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.admit()
}

// admit lets in from the queue as many as there is room for, and all of them
// at shutdown. It is called with s.mu held.
func (s *Server) admit() {
	for len(s.queue) > 0 && (s.closing() || !s.full()) {
		c := s.queue[0]
		s.queue = slices.Delete(s.queue, 0, 1)
		s.conns[c] = struct{}{}
		close(c.admitted)
	}
}

// full tells whether MaxConns are open. It is called with s.mu held.
func (s *Server) full() bool {
	limit := s.config.Load().MaxConns
	return limit > 0 && len(s.conns) >= limit
}

// backoff paces a listener that cannot accept.
type backoff struct {
	s      *Server
	addr   net.Addr
	delay  time.Duration
	waited time.Time // until then
	told   time.Time
}

const longestDelay = time.Second

func (b *backoff) wait(err error) {
	now := time.Now()
	if now.Sub(b.told) >= reportInterval {
		b.told = now
		b.s.report(fmt.Errorf("%w on %v: %w", ErrAccept, b.addr, err))
	}
	if now.Sub(b.waited) > longestDelay { // it has been well since
		b.delay = 0
	}
	b.delay = min(max(5*time.Millisecond, 2*b.delay), longestDelay)
	b.waited = now.Add(b.delay)
	timer := time.NewTimer(b.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.s.done:
	}
}
