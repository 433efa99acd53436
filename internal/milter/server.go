package milter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Config is what can be changed while connections are open, MaxConns
// excepted.
type Config struct {
	Rules // all are needed

	// MaxRecipients is how many recipients of one message are remembered.
	MaxRecipients int

	// MaxConns is how many connections are served at once. Those beyond wait,
	// unanswered but not refused. It is read by New alone.
	MaxConns int
}

var (
	// ErrAccept wraps what keeps a listener from accepting connections, such
	// as a lack of file descriptors. It goes on trying.
	ErrAccept = errors.New("milter: cannot accept connections")

	// ErrFull says that newcomers wait because MaxConns are open.
	ErrFull = errors.New("milter: connection limit reached, new clients have to wait")
)

// Limits that no administrator needs to turn; tests do.
const (
	greetTimeout   = 30 * time.Second   // for the MTA to begin
	idleTimeout    = 7210 * time.Second // between commands: libmilter's, as a message may take long to arrive
	packetTimeout  = 30 * time.Second   // for a packet, once begun, to arrive
	writeTimeout   = 10 * time.Second   // for an answer to be taken
	reportInterval = time.Minute        // between reports of the same kind
)

const bufferSize = 512 // of a connection; holds any usual packet

// A Server serves any number of listeners. Its methods may be called from any
// goroutine.
type Server struct {
	config atomic.Pointer[Config]
	report func(error)
	slots  chan struct{} // holds one for each connection that is served

	greetTimeout, idleTimeout, packetTimeout, writeTimeout time.Duration

	leaving chan struct{} // closed when no connection is accepted any more
	done    chan struct{} // closed when connections without a message are to end
	running sync.WaitGroup

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	told      map[error]time.Time
}

// New returns a server that is not listening yet. Report is told, at most once
// a minute for each kind, what an administrator should know: errors that wrap
// [ErrAccept], [ErrFull] or [ErrActions]. It is called on the server's
// goroutines.
func New(config Config, report func(error)) *Server {
	s := &Server{
		report:        report,
		slots:         make(chan struct{}, config.MaxConns),
		greetTimeout:  greetTimeout,
		idleTimeout:   idleTimeout,
		packetTimeout: packetTimeout,
		writeTimeout:  writeTimeout,
		leaving:       make(chan struct{}),
		done:          make(chan struct{}),
		listeners:     make(map[net.Listener]struct{}),
		conns:         make(map[*conn]struct{}),
		told:          make(map[error]time.Time),
	}
	s.config.Store(&config)
	return s
}

// Swap puts config in the place of the one before. Open connections see it
// with their next command.
func (s *Server) Swap(config Config) { s.config.Store(&config) }

// Serve takes ln over, accepts connections on it and serves them until Drain
// or Shutdown, then returns nil. Over the connection limit one newcomer is
// accepted and kept waiting, the rest waits in ln's backlog.
//
// Whatever goes wrong with accepting is reported and tried again, after 5 ms at
// first and a second at last; only a listener that somebody else closed ends
// Serve with an error.
func (s *Server) Serve(ln net.Listener) error {
	defer ln.Close()
	s.mu.Lock()
	if closed(s.leaving) {
		s.mu.Unlock()
		return nil
	}
	s.listeners[ln] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()

	var delay time.Duration
	for {
		client, err := ln.Accept()
		switch {
		case err == nil:
			delay = 0
			s.takeSlot()
			s.start(client)
			continue
		case closed(s.leaving):
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		}
		s.tell(ErrAccept, fmt.Errorf("%w on %v: %w", ErrAccept, ln.Addr(), err))
		delay = min(max(5*time.Millisecond, 2*delay), time.Second)
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-s.leaving:
		}
		timer.Stop()
	}
}

// takeSlot waits until another connection may be served, which once no more
// are accepted is at once.
func (s *Server) takeSlot() {
	select {
	case s.slots <- struct{}{}:
		return
	default:
		s.tell(ErrFull, fmt.Errorf("%w: %d are open", ErrFull, cap(s.slots)))
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.leaving:
	}
}

// tell reports an error unless one of its kind was a short while ago.
func (s *Server) tell(kind, err error) {
	s.mu.Lock()
	now := time.Now()
	again := now.Sub(s.told[kind]) < reportInterval
	if !again {
		s.told[kind] = now
	}
	s.mu.Unlock()
	if !again {
		s.report(err)
	}
}

// start serves a connection, which gives its slot back.
func (s *Server) start(client net.Conn) {
	c := &conn{Conn: client, s: s}
	c.conversation = conversation{w: c, config: s.config.Load}
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.running.Go(func() {
		if c.serve() == ErrActions {
			s.tell(ErrActions, ErrActions)
		}
		client.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		select {
		case <-s.slots:
		case <-s.leaving: // it may have come in without one
		}
	})
}

// Drain closes the listeners and returns when every connection has come to its
// end, or ctx has. An MTA keeps a connection for as long as its own client
// stays; to hang up on it would defer mail.
func (s *Server) Drain(ctx context.Context) { s.leave(ctx) }

// Shutdown closes the listeners and the connections on which no message is
// under way, and returns when the others have ended theirs.
//
// When ctx ends first, the connections left are closed as they stand and its
// error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !closed(s.done) {
		close(s.done)
	}
	for c := range s.conns {
		c.hurry()
	}
	s.mu.Unlock()
	if s.leave(ctx) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
	return fmt.Errorf("milter: %d connections had to be cut off: %w", len(s.conns), ctx.Err())
}

// BeginDrain is Drain that does not wait: once it returns, nobody who connects
// is served here.
func (s *Server) BeginDrain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !closed(s.leaving) {
		close(s.leaving)
	}
	for ln := range s.listeners {
		ln.Close()
	}
}

// leave is Drain, and tells whether all has ended before ctx did.
func (s *Server) leave(ctx context.Context) bool {
	s.BeginDrain()
	finished := make(chan struct{})
	go func() {
		s.running.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return true
	case <-ctx.Done():
		return false
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A conn is one connection.
type conn struct {
	net.Conn
	s *Server
	conversation
	busy atomic.Bool // a message is under way
}

// serve holds the conversation.
func (c *conn) serve() error {
	r := bufio.NewReaderSize(c.Conn, bufferSize)
	for patience := c.s.greetTimeout; ; patience = c.s.idleTimeout {
		if r.Buffered() == 0 {
			c.waitUntil(time.Now().Add(patience))
			if _, err := r.Peek(1); err != nil {
				return err
			}
		}
		// What has begun to arrive may do so.
		c.SetReadDeadline(time.Now().Add(c.s.packetTimeout))
		err := c.step(r)
		c.busy.Store(c.begun)
		switch {
		case err == errMalformed:
			c.linger(r)
			return err
		case err != nil:
			return err
		case closed(c.s.done) && !c.begun:
			return os.ErrDeadlineExceeded
		}
	}
}

// waitUntil sets the read deadline, and takes it back if the server has shut
// down meanwhile.
func (c *conn) waitUntil(t time.Time) {
	c.SetReadDeadline(t)
	if closed(c.s.done) {
		c.hurry()
	}
}

// hurry ends the waiting for a message.
func (c *conn) hurry() {
	if !c.busy.Load() {
		c.SetReadDeadline(time.Unix(1, 0))
	}
}

// linger lets the MTA read the last answer. Closing while input is unread would
// make TCP reset the connection, and the answer could be lost.
func (c *conn) linger(r *bufio.Reader) {
	const most = 4 << 20 // octets, as if they were one body's
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.waitUntil(time.Now().Add(time.Second))
		r.Discard(most)
	}
}

// Write sends an answer.
func (c *conn) Write(p []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(c.s.writeTimeout))
	return c.Conn.Write(p)
}
