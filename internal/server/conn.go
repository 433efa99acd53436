package server

import (
	"bufio"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"postsrsd/socketmap"
	"postsrsd/tcptable"
)

const (
	bufferSize  = 512     // holds any usual request; a longer one takes more while in hand
	idleSteps   = 4       // an idle timeout is measured in so many steps
	lingerBytes = 4 << 20 // read and thrown away after a refused request
)

// A stream is a net.Conn, as far as it is used here.
type stream interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// A conn is one connection. It is the reader and writer that the protocols
// see, and keeps their deadlines without touching a timer or a clock while
// requests come and go: see Read and Write. On Linux a loop has it until it is
// handed off to a goroutine.
type conn struct {
	stream
	s         *Server
	direction Direction
	protocol  protocol
	r         *bufio.Reader
	unread    []byte // what the loop has read of a request
	unsent    []byte // what the loop could not send of a reply

	admitted chan struct{} // closed when c may be served; nil if it never had to wait

	begun   bool // bytes of the request in hand have been read
	more    bool // the last read filled the buffer: there may be more
	asked   bool // a request was answered during the present idle step
	ever    bool // a byte was ever read
	looked  bool // shutdown: a last look for requests was taken
	wrote   bool // a write deadline has been set
	limit   limit
	silence int // idle steps without a request
}

// limit says what the read deadline that is set stands for.
type limit int

const (
	unset limit = iota
	idleStep
	wholeRequest
)

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, bufferSize) }}

// protocol is what a connection speaks.
type protocol int

const (
	unheard protocol = iota
	tcpTable
	netstrings
)

// hear tells the protocol by the first byte that ever came.
func (c *conn) hear(first byte) {
	switch {
	case c.protocol != unheard:
	case c.direction == Socketmap || '0' <= first && first <= '9':
		c.protocol = netstrings
	default:
		c.protocol = tcpTable
	}
}

// answer appends the reply to a request that has been read whole, and tells
// whether it could.
func (c *conn) answer(dst, request []byte) ([]byte, bool) {
	if c.protocol == netstrings {
		return socketmap.Answer(dst, request, c.s.maxRequest(), c.s.socketmap)
	}
	return tcptable.Answer(dst, request, c.s.maxRequest(), c.s.tcp[c.direction])
}

// run serves a connection on a goroutine of its own.
func (c *conn) run() {
	defer c.s.running.Done()
	defer c.s.leave(c)
	c.r = readers.Get().(*bufio.Reader)
	c.r.Reset(c)
	c.serve()
	c.r.Reset(nil)
	readers.Put(c.r)
}

// serve holds the conversation and closes the connection.
func (c *conn) serve() {
	defer c.Close()
	if len(c.unsent) > 0 {
		if _, err := c.Write(c.unsent); err != nil {
			return
		}
		c.unsent = nil
	}
	switch c.converse() {
	case tcptable.ErrLineTooLong, socketmap.ErrMalformed, socketmap.ErrQuery:
		c.linger()
	}
}

// converse answers until the connection is to be closed.
func (c *conn) converse() error {
	if c.protocol == unheard {
		first, err := c.r.Peek(1)
		if err != nil {
			return err
		}
		c.hear(first[0])
	}
	if c.protocol == netstrings {
		return socketmap.Serve(c.r, c, c.s.maxRequest(), c.s.socketmap)
	}
	return tcptable.Serve(c.r, c, c.s.maxRequest(), c.s.tcp[c.direction])
}

// linger lets the client read the last reply. Closing while input is unread
// would make TCP reset the connection, and the reply could be lost.
func (c *conn) linger() {
	if half, ok := c.stream.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	c.begun, c.limit = true, wholeRequest
	c.SetReadDeadline(time.Now().Add(c.s.lingerTimeout))
	if c.s.closing() {
		c.hurry()
	}
	c.r.Discard(lingerBytes)
}

// hurry ends the waiting for input, and bounds that for output, because the
// server shuts down.
func (c *conn) hurry() {
	c.SetReadDeadline(time.Unix(1, 0))
	c.SetWriteDeadline(c.s.deadline)
}

// Read reads what the client sends. While nothing of a request is there it
// waits IdleTimeout, counted in steps: the deadline is moved only when it has
// passed, and the time is up when it has passed several times without a
// request between. Once a request has begun, all of it must arrive within
// requestTimeout.
func (c *conn) Read(p []byte) (int, error) {
	for {
		if c.s.closing() {
			return c.lastRead(p)
		}
		c.setLimit()
		n, err := c.read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if !c.s.closing() && !c.extend() {
			return n, err
		}
	}
}

func (c *conn) read(p []byte) (n int, err error) {
	if n = copy(p, c.unread); n > 0 {
		if c.unread = c.unread[n:]; len(c.unread) == 0 {
			c.unread = nil // and the room that it had
		}
	} else {
		n, err = c.stream.Read(p)
	}
	if n > 0 {
		c.begun, c.ever = true, true
		c.more = n == len(p)
	}
	return n, err
}

// inRequest tells whether part of a request has been read.
func (c *conn) inRequest() bool { return c.begun || c.r.Buffered() > 0 }

// setLimit sets the read deadline where the one that is set stands for
// something else.
func (c *conn) setLimit() {
	switch {
	case c.inRequest():
		if c.limit != wholeRequest {
			c.limit = wholeRequest
			c.waitUntil(time.Now().Add(c.s.requestTimeout))
		}
	case c.limit != idleStep:
		c.limit = idleStep
		if idle := c.s.config.Load().IdleTimeout; idle > 0 {
			c.waitUntil(time.Now().Add(idle / idleSteps))
		} else {
			c.waitUntil(time.Time{})
		}
	}
}

// waitUntil sets the read deadline, and takes it back if Shutdown has set its
// own in the meantime.
func (c *conn) waitUntil(t time.Time) {
	c.SetReadDeadline(t)
	if c.s.closing() {
		c.hurry()
	}
}

// extend is called when the deadline has passed, and tells whether to go on
// waiting.
func (c *conn) extend() bool {
	if c.limit != idleStep {
		return false
	}
	c.limit = unset
	return c.patient()
}

// patient is called after each idle step, and tells whether there are more.
func (c *conn) patient() bool {
	if c.asked {
		c.asked, c.silence = false, 0
	} else {
		c.silence++
	}
	return c.silence < idleSteps
}

// lastRead is Read once the server shuts down. What has been sent is still
// read, if need be by a last look; what has been begun, or is a connection's
// first request, is waited for until the grace is over.
func (c *conn) lastRead(p []byte) (int, error) {
	const look = time.Millisecond // a deadline that has passed reads nothing at all
	until := c.s.deadline
	if !c.inRequest() && c.ever {
		if c.looked && !c.more {
			return 0, os.ErrDeadlineExceeded
		}
		if soon := time.Now().Add(look); soon.Before(until) {
			until = soon
		}
	}
	c.looked = true
	for {
		c.SetReadDeadline(until)
		n, err := c.read(p)
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(until) {
			continue // it was Shutdown that set the deadline, a moment ago
		}
		return n, err
	}
}

// Write sends one reply. Its deadline, too, is moved only when it has passed:
// a write that meets one left over from an earlier reply has not waited, and
// is given its time. So a reply may take up to twice writeTimeout.
func (c *conn) Write(p []byte) (int, error) {
	c.begun, c.asked = false, true
	if !c.wrote {
		c.wrote = true
		c.waitWrite()
	}
	n, err := c.stream.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.s.closing() {
		c.waitWrite()
		var rest int
		rest, err = c.stream.Write(p[n:])
		n += rest
	}
	return n, err
}

func (c *conn) waitWrite() {
	c.SetWriteDeadline(time.Now().Add(c.s.writeTimeout))
	if c.s.closing() {
		c.SetWriteDeadline(c.s.deadline)
	}
}
