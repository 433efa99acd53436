//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A logSink is the reading end of /dev/log. It counts the lines that tell of a
// rewritten address and throws everything away.
type logSink struct {
	rewritten atomic.Int64
}

const logLine = 8192 // bytes; the longest that counts

// openLogSink reads until the process ends.
func openLogSink() (*logSink, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("log socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "/dev/log"}); err != nil {
		return nil, fmt.Errorf("bind /dev/log: %w", err)
	}
	if err := os.Chmod("/dev/log", 0o666); err != nil {
		return nil, fmt.Errorf("log socket: %w", err)
	}
	// The garbage collector waits for this goroutine, which must not wait long.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		return nil, fmt.Errorf("log socket: %w", err)
	}
	sink := new(logSink)
	go sink.read(fd)
	return sink, nil
}

// read takes as many lines at a time as there are, but leaves the scheduler
// out, as the client does, so that reading costs little.
func (s *logSink) read(fd int) {
	runtime.LockOSThread()
	var (
		lines   [64][logLine]byte
		parts   [len(lines)]unix.Iovec
		headers [len(lines)]struct { // struct mmsghdr
			unix.Msghdr
			length uint32
		}
	)
	for i := range headers {
		parts[i].Base = &lines[i][0]
		parts[i].SetLen(logLine)
		headers[i].Iov = &parts[i]
		headers[i].SetIovlen(1)
	}
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&headers)), uintptr(len(headers)),
			unix.MSG_WAITFORONE, 0, 0)
		switch errno {
		case 0:
		case unix.EINTR, unix.EAGAIN:
			runtime.Gosched() // here, as nothing else in this loop can be interrupted
			continue
		default:
			panic(fmt.Sprintf("read the log socket: %v", errno))
		}
		for i := range n {
			if bytes.Contains(lines[i][:headers[i].length], []byte("> rewritten as <")) {
				s.rewritten.Add(1)
			}
		}
	}
}

// count waits until no line has come for a while, since a daemon may send them
// after the answer, and returns how many there were in all.
func (s *logSink) count() int64 {
	const quiet, limit = 50 * time.Millisecond, 3 * time.Second
	begin := time.Now()
	for before := int64(-1); ; {
		now := s.rewritten.Load()
		if now == before || time.Since(begin) > limit {
			return now
		}
		before = now
		time.Sleep(quiet)
	}
}
