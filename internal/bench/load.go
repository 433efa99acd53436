//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The client shares the cores with what it measures, so it must cost little:
// nonblocking sockets, one read, one comparison, one clock reading and one write
// for a request, and no allocation once it runs. It has half as many threads as
// there are cores, each with an epoll instance of its own.

const (
	answerLimit = 512             // bytes; the longest answer expected
	stallLimit  = 5 * time.Second // without an answer, a server counts as hung
)

// A question is one request on the wire and what its answer must look like: so
// many bytes, with this beginning and this end. Both together leave out only
// the hash and the stamp of a rewritten sender, which change at midnight.
type question struct {
	ask        []byte
	head, tail []byte
	size       int
}

// An endpoint is a port of 127.0.0.1 and the questions asked there.
type endpoint struct {
	port      int
	questions []question
}

// A service is a server as clients see it: the forward and the reverse side.
type service [2]endpoint

// A load is the outcome of one run.
type load struct {
	rate      float64 // answers per second
	latency   histogram
	questions int // all that were asked, those of the warm-up included
}

var epoch = time.Now()

// clock reads the monotonic clock in nanoseconds.
func clock() int64 { return int64(time.Since(epoch)) }

// lookups asks over n connections, one request in flight on each, half of them
// forward and half reverse, for d after a warm-up of a tenth of it. A single
// connection spends half of the time on either side.
func lookups(s service, n int, d time.Duration) (load, error) {
	if n == 1 {
		forward, err := lookupsAt([]endpoint{s[0]}, 1, d/2)
		if err != nil {
			return load{}, err
		}
		reverse, err := lookupsAt([]endpoint{s[1]}, 1, d/2)
		forward.add(&reverse)
		forward.rate /= 2
		return forward, err
	}
	return lookupsAt(s[:], n, d)
}

func (l *load) add(other *load) {
	l.rate += other.rate
	l.questions += other.questions
	l.latency.merge(&other.latency)
}

func lookupsAt(ends []endpoint, n int, d time.Duration) (load, error) {
	var clients []*client
	defer func() {
		for _, c := range clients {
			c.close()
		}
	}()
	for range min(n, max(runtime.NumCPU()/2, 1)) {
		c, err := newClient()
		if err != nil {
			return load{}, err
		}
		clients = append(clients, c)
	}
	for i := range n {
		end := &ends[i%len(ends)]
		first := i * len(end.questions) / n // every connection elsewhere in the list
		fd, err := dialAsked(end, first)
		if err != nil {
			return load{}, err
		}
		c := clients[i/len(ends)%len(clients)] // both sides on every thread
		c.load.questions++
		if err := c.watch(fd, end, first); err != nil {
			return load{}, err
		}
	}
	begin := clock() + int64(d)/10
	results := make(chan error, len(clients))
	for _, c := range clients {
		go func() { results <- c.run(begin, begin+int64(d)) }()
	}
	var err error
	for range clients {
		err = errors.Join(err, <-results)
	}
	var sum load
	for _, c := range clients {
		sum.add(&c.load)
	}
	sum.rate = float64(sum.latency.total) / d.Seconds()
	return sum, err
}

// A client is one thread's share of the connections.
type client struct {
	epoll int
	conns []connection
	load  load
}

type connection struct {
	fd   int
	end  *endpoint
	next int   // question to ask after the one in flight
	want int   // question in flight
	sent int64 // when it was sent
	fill int   // bytes of its answer so far
	buf  [answerLimit]byte
}

func newClient() (*client, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &client{epoll: epoll}, nil
}

func (c *client) close() {
	for i := range c.conns {
		unix.Close(c.conns[i].fd)
	}
	unix.Close(c.epoll)
}

// watch takes over a connected socket.
func (c *client) watch(fd int, end *endpoint, first int) error {
	c.conns = append(c.conns, connection{fd: fd, end: end, next: first})
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(len(c.conns) - 1)}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// run asks until the clock says end and waits for what is then in flight, so
// that a connection never closes with an answer on its way. It counts what is
// answered from begin on.
func (c *client) run(begin, end int64) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := range c.conns {
		if err := c.send(&c.conns[i], clock()); err != nil {
			return err
		}
	}
	events := make([]unix.EpollEvent, 128)
	for busy := len(c.conns); busy > 0; {
		ready, err := c.wait(events)
		if err != nil {
			return err
		}
		for _, event := range ready {
			conn := &c.conns[event.Fd]
			whole, err := conn.receive()
			if err != nil {
				return err
			}
			if !whole {
				continue
			}
			now := clock()
			if now >= begin && now < end {
				c.load.latency.add(now - conn.sent)
			}
			if now >= end {
				busy--
				continue
			}
			if err := c.send(conn, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait returns what has happened, perhaps nothing.
func (c *client) wait(events []unix.EpollEvent) ([]unix.EpollEvent, error) {
	n, errno := rawWait(c.epoll, events)
	switch {
	case errno == unix.EINTR:
		return nil, nil
	case errno != 0:
		return nil, fmt.Errorf("epoll_wait: %w", errno)
	case n == 0:
		return nil, fmt.Errorf("port %d: no answer for %v", c.conns[0].end.port, stallLimit)
	}
	return events[:n], nil
}

func (c *client) send(conn *connection, now int64) error {
	c.load.questions++
	return conn.send(now)
}

func (c *connection) send(now int64) error {
	c.want, c.fill, c.sent = c.next, 0, now
	if c.next++; c.next == len(c.end.questions) {
		c.next = 0
	}
	ask := c.end.questions[c.want].ask
	n, errno := rawWrite(c.fd, ask)
	if errno != 0 || n != len(ask) {
		return fmt.Errorf("port %d: send: %d of %d bytes written: %w", c.end.port, n, len(ask), errno)
	}
	return nil
}

// receive reads what is there and reports whether the answer is complete. An
// answer that is not the one expected is an error that quotes both.
func (c *connection) receive() (whole bool, err error) {
	n, errno := rawRead(c.fd, c.buf[c.fill:])
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return false, nil
	case errno != 0:
		return false, fmt.Errorf("port %d: receive: %w", c.end.port, errno)
	case n == 0:
		return false, fmt.Errorf("port %d: connection closed instead of an answer", c.end.port)
	}
	c.fill += n
	return c.end.questions[c.want].check(c.buf[:c.fill])
}

// check reports whether answer is complete, and an error when it is wrong.
func (q *question) check(answer []byte) (whole bool, err error) {
	begun := min(len(answer), len(q.head))
	switch {
	case len(answer) > q.size, !bytes.Equal(answer[:begun], q.head[:begun]),
		len(answer) == q.size && !bytes.HasSuffix(answer, q.tail):
		return false, fmt.Errorf("wrong answer %q to %q, expected %d bytes %q…%q",
			answer, q.ask, q.size, q.head, q.tail)
	}
	return len(answer) == q.size, nil
}

// These leave the scheduler out, which would spend time on it at each call and
// still more on every wait; what waits has a processor to itself, see measure.

func rawRead(fd int, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

func rawWrite(fd int, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

func rawWait(epoll int, events []unix.EpollEvent) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(stallLimit/time.Millisecond), 0, 0)
	return int(n), errno
}
