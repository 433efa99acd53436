package server

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A loop has listeners, and connections that ask nothing at the moment, which
// is nearly all the time. It accepts who connects, and answers the requests
// that come whole, in one piece and alone, which is nearly all of them: one
// wait for many connections, one read and one write for each request, no
// switching between goroutines. A connection on which anything else happens is
// handed off to a goroutine for good.
//
// There are half as many loops as the program may use processors.
type loop struct {
	s      *Server
	epoll  int
	awaken int // an eventfd

	sweeper *time.Timer // makes due true
	due     atomic.Bool // a step of the idle timeout is over

	mu        sync.Mutex
	conns     []*conn           // by file descriptor
	listeners map[int]*listener // likewise
	ended     bool

	buffer [loopBuffer]byte
	reply  []byte
}

const (
	loopBuffer = 4096 // a request that fills it is handed off
	loopEvents = 128

	loopNewcomers = 16 // are let in before those who ask have their turn
)

// startLoops is called with s.mu held, while there are none.
func (s *Server) startLoops() {
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		l, err := newLoop(s)
		if err != nil {
			s.report(fmt.Errorf("each connection gets a goroutine instead of sharing a thread: %w", err))
			return
		}
		s.loops = append(s.loops, l)
		s.running.Go(l.run)
	}
}

func newLoop(s *Server) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	awaken, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	l := &loop{s: s, epoll: epoll, awaken: awaken, listeners: make(map[int]*listener)}
	if err := l.watch(awaken); err != nil {
		l.close()
		return nil, err
	}
	l.sweeper = time.AfterFunc(time.Hour, func() { l.due.Store(true); l.wake() })
	l.setIdle(s.config.Load().IdleTimeout)
	return l, nil
}

func (l *loop) close() {
	unix.Close(l.epoll)
	unix.Close(l.awaken)
}

func (l *loop) watch(fd int) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &event))
}

// wake has the loop look what has changed.
func (l *loop) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		syscall.Write(l.awaken, []byte{7: 1})
	}
}

// setIdle begins a step of the idle timeout.
func (l *loop) setIdle(timeout time.Duration) {
	if timeout > 0 {
		l.sweeper.Reset(timeout / idleSteps)
	} else {
		l.sweeper.Stop()
	}
}

// park gives c to a loop, and tells whether it could.
func (s *Server) park(c *conn) bool {
	client, ok := c.stream.(*socket)
	if !ok {
		return false
	}
	if len(s.loops) == 0 || !s.loops[client.fd%len(s.loops)].add(c, client.fd) {
		s.mu.Lock()
		client.wake()
		s.mu.Unlock()
		return false
	}
	return true
}

func (l *loop) add(c *conn, fd int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.watch(fd) != nil {
		return false
	}
	for len(l.conns) <= fd {
		l.conns = append(l.conns, nil)
	}
	c.asked = true // as far as its first idle step goes
	l.conns[fd] = c
	return true
}

func (l *loop) run() {
	events := make([]syscall.EpollEvent, loopEvents)
	for !l.s.closing() {
		n, err := l.wait(events)
		if err != nil && err != syscall.EINTR {
			panic(os.NewSyscallError("epoll_wait", err)) // no state of any connection leads here
		}
		for _, event := range events[:max(n, 0)] {
			fd := int(event.Fd)
			if fd == l.awaken {
				syscall.Read(fd, l.buffer[:8])
			} else if c := l.at(fd); c != nil {
				l.serve(c, fd)
			} else {
				l.welcome(fd)
			}
		}
		if l.due.CompareAndSwap(true, false) {
			l.sweep()
			l.setIdle(l.s.config.Load().IdleTimeout)
		}
	}
	l.end()
}

// wait is epoll_wait(2). The scheduler is told only if there is nothing yet:
// see readNow.
func (l *loop) wait(events []syscall.EpollEvent) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 || n == 0 {
		return syscall.EpollWait(l.epoll, events, -1)
	}
	return int(n), nil
}

// at returns the connection with a descriptor, or nil.
func (l *loop) at(fd int) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fd < len(l.conns) {
		return l.conns[fd]
	}
	return nil
}

// all yields the connections by descriptor; they may be forgotten meanwhile.
func (l *loop) all() iter.Seq2[int, *conn] {
	return func(yield func(int, *conn) bool) {
		l.mu.Lock()
		size := len(l.conns)
		l.mu.Unlock()
		for fd := range size {
			if c := l.at(fd); c != nil && !yield(fd, c) {
				return
			}
		}
	}
}

// serve is called when there is something to be read, or an end of it.
func (l *loop) serve(c *conn, fd int) {
	if l.s.config.Load().MayWait {
		l.handOff(c, fd, nil, nil)
		return
	}
	n, err := readNow(fd, l.buffer[:])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return
	case err != nil || n == 0:
		l.drop(c, fd)
		return
	}
	request := l.buffer[:n]
	c.hear(request[0])
	reply, ok := l.reply[:0], false
	if n < loopBuffer {
		reply, ok = c.answer(reply, request)
	}
	if !ok {
		l.handOff(c, fd, bytes.Clone(request), nil)
		return
	}
	l.reply = reply
	c.asked, c.ever = true, true
	n, err = writeNow(fd, reply)
	switch {
	case n == len(reply):
	case err == nil || err == syscall.EAGAIN || err == syscall.EINTR:
		l.handOff(c, fd, nil, bytes.Clone(reply[max(n, 0):]))
	default:
		l.drop(c, fd)
	}
}

// sweep closes what has been silent for too long; it is called once for every
// step of the idle timeout.
func (l *loop) sweep() {
	for fd, c := range l.all() {
		if !c.patient() {
			l.drop(c, fd)
		}
	}
}

// drop closes a connection.
func (l *loop) drop(c *conn, fd int) {
	l.forget(fd)
	syscall.Close(fd)
	l.s.leave(c)
	l.s.running.Done()
}

// handOff gives a connection to a goroutine, with what was read of a request
// and what is left of a reply.
func (l *loop) handOff(c *conn, fd int, unread, unsent []byte) {
	l.forget(fd)
	syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_DEL, fd, nil)
	c.unread, c.unsent = unread, unsent
	l.s.mu.Lock()
	c.stream.(*socket).wake()
	l.s.mu.Unlock()
	go c.run()
}

func (l *loop) forget(fd int) {
	l.mu.Lock()
	l.conns[fd] = nil
	l.mu.Unlock()
}

// end leaves it to goroutines how the connections are closed.
func (l *loop) end() {
	l.sweeper.Stop()
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	for fd, c := range l.all() {
		l.handOff(c, fd, nil, nil)
	}
	l.close()
}

// readNow and writeNow are read(2) and write(2) for what does not block. The
// scheduler is not told of them: it takes a goroutine that is always in system
// calls for one that does not give way, and has a thread wake thousands of
// times a second to see to that.

func readNow(fd int, p []byte) (int, error) { return transfer(syscall.SYS_READ, fd, p) }

func writeNow(fd int, p []byte) (int, error) { return transfer(syscall.SYS_WRITE, fd, p) }

func transfer(call uintptr, fd int, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
