//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A logSink is the reading end of /dev/log. It counts the lines that tell of a
// rewritten address and throws everything away.
type logSink struct {
	rewritten atomic.Int64
}

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
	sink := new(logSink)
	go sink.read(fd)
	return sink, nil
}

func (s *logSink) read(fd int) {
	line := make([]byte, 8192)
	for {
		n, err := unix.Read(fd, line)
		if err != nil && err != unix.EINTR {
			panic(fmt.Sprintf("read the log socket: %v", err))
		}
		if n > 0 && bytes.Contains(line[:n], []byte("> rewritten as <")) {
			s.rewritten.Add(1)
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
