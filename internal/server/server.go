// Package server answers lookups on listeners that it is handed: which
// protocol a connection speaks, how many there may be, how long each may stay
// silent, and how they end. What is answered comes from functions handed in.
//
// Forward and reverse listeners speak both protocols: a connection whose first
// byte is a digit speaks socketmap_table(5), any other tcp_table(5). A
// tcp_table request is looked up in the listener's direction; in a socketmap
// request the map name, "forward" or "reverse", says which, on any listener.
//
// On Linux idle connections wait together, and their requests are answered on
// the thread that waits for them; a connection on which anything but whole
// requests comes gets a goroutine and a small buffer of its own, as all have
// elsewhere. No client can hold more than its own connection: silence, a
// request that does not get finished and a reply that is not read are all
// bounded in time.
package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"postsrsd/socketmap"
	"postsrsd/tcptable"
)

// A Direction says what a listener answers.
type Direction int

const (
	Forward   Direction = iota // both protocols, tcp_table being forward
	Reverse                    // both protocols, tcp_table being reverse
	Socketmap                  // socketmap alone, the map name says which
)

// Tables are the lookups. They run on many goroutines at once. What they are
// handed is valid only during the call; see [tcptable.Lookup].
type Tables struct {
	ForwardTCP, ReverseTCP             tcptable.Lookup
	ForwardSocketmap, ReverseSocketmap func(dst, key []byte) ([]byte, error)
}

// A Config is what can be changed while connections are open.
type Config struct {
	Tables // all four are needed

	// IdleTimeout is how long a connection may ask nothing before it is
	// closed, give or take a quarter; zero means for ever. A new value holds
	// for an open connection once a quarter of the old one is over.
	IdleTimeout time.Duration

	// MaxConns is how many connections are served at once, zero meaning any
	// number. Those beyond wait, unanswered but not refused. A lower number
	// closes nothing that is open.
	MaxConns int

	// MaxRequest is the longest request taken, in bytes, in either protocol;
	// zero means DefaultMaxRequest. A new value holds for new connections, and
	// may hold for those that are open.
	MaxRequest int

	// MayWait says that lookups may have to wait for something else. None
	// then keeps another's answer back.
	MayWait bool
}

// DefaultMaxRequest has room for a key of 8 KiB that is encoded throughout.
const DefaultMaxRequest = 32768

var (
	// ErrAccept wraps what keeps a listener from accepting connections, such
	// as a lack of file descriptors. It goes on trying.
	ErrAccept = errors.New("cannot accept connections")

	// ErrFull says that newcomers wait because MaxConns are open.
	ErrFull = errors.New("connection limit reached, new clients have to wait")
)

// Limits that no administrator needs to turn; tests do.
const (
	requestTimeout = 30 * time.Second       // for a request, once begun, to arrive
	writeTimeout   = 10 * time.Second       // for a reply to be taken; at most twice that
	lingerTimeout  = time.Second            // for what follows a refused request
	shutdownGrace  = 250 * time.Millisecond // for a first or begun request at shutdown
	reportInterval = time.Minute            // between reports of the same kind
)

// A Server serves any number of listeners. Its methods may be called from any
// goroutine.
type Server struct {
	config atomic.Pointer[Config]
	report func(error)

	tcp       [2]tcptable.Lookup // by Direction
	socketmap socketmap.Lookup

	requestTimeout, writeTimeout, lingerTimeout, shutdownGrace time.Duration

	done     chan struct{} // closed when Shutdown begins
	deadline time.Time     // when Shutdown's grace is over; read after done only
	running  sync.WaitGroup

	mu        sync.Mutex
	listeners map[acceptor]struct{}
	conns     map[*conn]struct{} // those that are served
	queue     []*conn            // those that wait for MaxConns, in the order they came
	loops     []*loop            // since the first listener on Linux
	toldFull  time.Time
	accepted  uint64 // connections so far
	delayed   uint64 // of them, those that had to wait for MaxConns
}

// New returns a server that is not listening yet. Report is told, at most
// once a minute for each kind, what an administrator should know: errors that
// wrap [ErrAccept] or [ErrFull]. It is called on the server's goroutines.
func New(config Config, report func(error)) *Server {
	s := &Server{
		report:         report,
		requestTimeout: requestTimeout,
		writeTimeout:   writeTimeout,
		lingerTimeout:  lingerTimeout,
		shutdownGrace:  shutdownGrace,
		done:           make(chan struct{}),
		listeners:      make(map[acceptor]struct{}),
		conns:          make(map[*conn]struct{}),
	}
	s.tcp = [...]tcptable.Lookup{Forward: s.lookupForward, Reverse: s.lookupReverse}
	s.socketmap = s.lookupSocketmap
	s.config.Store(&config)
	return s
}

// Swap puts config in the place of the one before. Open connections see it
// with their next request.
func (s *Server) Swap(config Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.config.Swap(&config)
	if config.IdleTimeout != old.IdleTimeout {
		for _, l := range s.loops {
			l.setIdle(config.IdleTimeout)
		}
	}
	s.admit()
}

// Open returns how many connections are being served.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Waiting returns how many connections have been accepted and wait for others
// to end, at most one for each listener.
func (s *Server) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// Connections are numbers of connections.
type Connections struct {
	Open, Waiting     int    // as Open and Waiting have them
	Accepted, Delayed uint64 // since New; those delayed had to wait for MaxConns
}

// Connections returns how many there are, and have been.
func (s *Server) Connections() Connections {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Connections{len(s.conns), len(s.queue), s.accepted, s.delayed}
}

// Shutdown closes the listeners, lets the requests that have arrived be
// answered, closes every connection, and returns when all is done. Idle
// clients are not waited for; a connection that has not asked anything yet, or
// has begun to ask, gets a moment to do so.
//
// When ctx ends first, the connections left are closed as they stand and its
// error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.BeginShutdown()
	finished := make(chan struct{})
	go func() {
		s.running.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
	return fmt.Errorf("%d connections had to be cut off: %w", len(s.conns), ctx.Err())
}

// BeginShutdown is Shutdown that does not wait: once it returns, nobody who
// connects is served here.
func (s *Server) BeginShutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing() {
		s.deadline = time.Now().Add(s.shutdownGrace)
		close(s.done)
	}
	for ln := range s.listeners {
		ln.Close()
	}
	s.admit()
	for c := range s.conns {
		c.hurry()
	}
	for _, l := range s.loops {
		l.wake()
	}
}

func (s *Server) closing() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// lookupForward and its like read the configuration anew for each request.

func (s *Server) lookupForward(dst, key []byte) ([]byte, error) {
	return s.config.Load().ForwardTCP(dst, key)
}

func (s *Server) lookupReverse(dst, key []byte) ([]byte, error) {
	return s.config.Load().ReverseTCP(dst, key)
}

func (s *Server) lookupSocketmap(dst, name, key []byte) ([]byte, error) {
	switch string(name) {
	case "forward":
		return s.config.Load().ForwardSocketmap(dst, key)
	case "reverse":
		return s.config.Load().ReverseSocketmap(dst, key)
	}
	return dst, socketmap.ErrUnknownMap
}

func (s *Server) maxRequest() int {
	if limit := s.config.Load().MaxRequest; limit > 0 {
		return limit
	}
	return DefaultMaxRequest
}
