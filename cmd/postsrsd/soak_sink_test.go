//go:build soak && linux

package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A soakSink is a syslog daemon that can be made to misbehave.
type soakSink struct {
	t          *testing.T
	dir        string
	mu         sync.Mutex
	conn       *net.UnixConn
	stalled    atomic.Bool
	lines      atomic.Int64
	lost       atomic.Int64
	goroutines atomic.Int64
	deaths     atomic.Int64
}

func newSoakSink(t *testing.T) *soakSink {
	s := &soakSink{t: t, dir: shortDir(t)}
	s.listen()
	t.Cleanup(func() { s.conn.Close() })
	return s
}

func (s *soakSink) listen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(s.dir, "log")
	os.Remove(path)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		s.t.Fatal(err)
	}
	os.Chmod(path, 0o666)
	s.conn = conn
	go func() {
		buf := make([]byte, 8192)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			s.lines.Add(1)
			_, text, _ := strings.Cut(string(buf[:n]), "]: ")
			switch {
			case strings.HasPrefix(text, "created by runtime."): // those of the collector come with the first work
			case strings.HasPrefix(text, "created by "):
				s.goroutines.Add(1)
			case strings.HasPrefix(text, "the worker (pid "):
				s.deaths.Add(1)
			}
			var lost int64
			if n, _ := fmt.Sscanf(text, "%d log lines were lost", &lost); n == 1 {
				s.lost.Add(lost)
			}
			for s.stalled.Load() {
				time.Sleep(10 * time.Millisecond)
			}
		}
	}()
}

func (s *soakSink) stall(lasting time.Duration) {
	s.stalled.Store(true)
	time.Sleep(lasting)
	s.stalled.Store(false)
}

func (s *soakSink) restart() {
	s.conn.Close()
	time.Sleep(*phase / 8)
	s.listen()
}

func (s *soakSink) String() string {
	return fmt.Sprintf("%d log lines arrived, %d were lost and told of", s.lines.Load(), s.lost.Load())
}

// limitMemory makes a control group with a limit, as the unit has one, and
// returns the file that takes its members; "" where there are no groups.
func limitMemory(t *testing.T, limit int) string {
	for _, root := range []struct{ dir, file string }{{"/sys/fs/cgroup", "memory.max"}, {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}} {
		dir := filepath.Join(root.dir, fmt.Sprintf("postsrsd-soak-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && os.WriteFile(filepath.Join(dir, root.file), fmt.Append(nil, limit), 0o644) == nil {
			t.Cleanup(func() {
				eventually(t, func() bool { return os.Remove(dir) == nil }, func() string { return "the control group stays" })
			})
			return filepath.Join(dir, "cgroup.procs")
		}
		os.Remove(dir)
	}
	return ""
}
