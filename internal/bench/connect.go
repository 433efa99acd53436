//go:build linux

package main

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// dial connects to a port of 127.0.0.1, waiting at most stallLimit; the socket
// does not block.
func dial(port int) (int, error) {
	fd, err := connect(port)
	if err != nil {
		return -1, err
	}
	err = await(fd, unix.POLLOUT)
	if why, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); why != 0 {
		err = unix.Errno(why)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect to 127.0.0.1:%d: %w", port, err)
	}
	return fd, nil
}

// connect begins to connect.
func connect(port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, fmt.Errorf("connect to 127.0.0.1:%d: %w", port, err)
	}
	return fd, nil
}

// await waits until fd is ready, at most stallLimit.
func await(fd int, events int16) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, int(stallLimit/time.Millisecond))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("poll: %w", err)
		case n == 0:
			return fmt.Errorf("nothing for %v", stallLimit)
		}
		return nil
	}
}

// ask sends the endpoint's i-th question and waits for the right answer.
func ask(fd int, end *endpoint, i int) error {
	conn := connection{fd: fd, end: end, next: i % len(end.questions)}
	if err := conn.send(0); err != nil {
		return err
	}
	for {
		if err := await(fd, unix.POLLIN); err != nil {
			return fmt.Errorf("port %d: wait for an answer: %w", end.port, err)
		}
		if whole, err := conn.receive(); whole || err != nil {
			return err
		}
	}
}

// dialAsked is dial and one question, the i-th: what comes of it is known to
// have been accepted.
func dialAsked(end *endpoint, i int) (int, error) {
	fd, err := dial(end.port)
	if err != nil {
		return -1, err
	}
	if err := ask(fd, end, i); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// idle opens n connections, asks once on each, so that the server has all it
// needs for it, and leaves them open. The function returned closes them.
func idle(s service, n int) (release func(), err error) {
	var fds []int
	release = func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	for i := range n {
		fd, err := dialAsked(&s[i%len(s)], i)
		if err != nil {
			release()
			return nil, fmt.Errorf("idle connection %d: %w", i+1, err)
		}
		fds = append(fds, fd)
	}
	return release, nil
}

const connecting = 16 // connections under way at a time

// reconnects connects, asks, reads the answer and closes, over and over for d,
// with several connections under way at a time, half of them to either side.
func reconnects(s service, d time.Duration) (load, error) {
	c, err := newClient()
	if err != nil {
		return load{}, err
	}
	defer c.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	c.conns = make([]connection, connecting)
	for i := range c.conns {
		conn := &c.conns[i]
		conn.fd = -1
		conn.end = &s[i%len(s)]
		conn.next = i * len(conn.end.questions) / connecting
	}
	for i := range c.conns {
		if err := c.connect(i); err != nil {
			return load{}, err
		}
	}
	begin := clock() + int64(d)/10
	end := begin + int64(d)
	events := make([]unix.EpollEvent, connecting)
	for busy := connecting; busy > 0; {
		ready, err := c.wait(events)
		if err != nil {
			return load{}, err
		}
		for _, event := range ready {
			again, err := c.advance(int(event.Fd), event.Events, begin, end)
			if err != nil {
				return load{}, err
			}
			if !again {
				busy--
			}
		}
	}
	c.load.rate = float64(c.load.latency.total) / d.Seconds()
	return c.load, nil
}

// connect starts a connection in slot i. It watches edges, both ways: one
// epoll_ctl serves for "connected" and for "answered".
func (c *client) connect(i int) error {
	conn := &c.conns[i]
	began := clock()
	fd, err := connect(conn.end.port)
	if err != nil {
		return err
	}
	conn.fd, conn.want, conn.sent = fd, -1, began
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET&0xffffffff, Fd: int32(i)}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// advance does what slot i is ready for and reports whether it goes on. The
// time counted runs from connect to the answer.
func (c *client) advance(i int, ready uint32, begin, end int64) (again bool, err error) {
	conn := &c.conns[i]
	if conn.want < 0 {
		if ready&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			why, _ := unix.GetsockoptInt(conn.fd, unix.SOL_SOCKET, unix.SO_ERROR)
			return false, fmt.Errorf("connect to 127.0.0.1:%d: %w", conn.end.port, unix.Errno(why))
		}
		return true, c.send(conn, conn.sent)
	}
	if ready&unix.EPOLLIN == 0 {
		return true, nil
	}
	whole, err := conn.receive()
	if err != nil || !whole {
		return true, err
	}
	now := clock()
	if now >= begin && now < end {
		c.load.latency.add(now - conn.sent)
	}
	unix.Close(conn.fd)
	conn.fd = -1
	if now >= end {
		return false, nil
	}
	return true, c.connect(i)
}
