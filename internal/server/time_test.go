package server

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// These tests run in a bubble with a clock of its own, over pipes in memory:
// hours pass at once, and times are exact.

// pipes is a listener on whose other end connections are made with dial.
type pipes struct {
	t      *testing.T
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes(t *testing.T) *pipes {
	return &pipes{t: t, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipes) dial() *peer {
	client, server := net.Pipe()
	l.conns <- server
	return &peer{Conn: client, t: l.t, r: bufio.NewReader(client)}
}

// bubble runs test against a server in a bubble. Neither goroutines nor
// anything else may outlive it.
func bubble(t *testing.T, config Config, test func(t *testing.T, s *Server, l *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		s := New(config, func(err error) { t.Errorf("reported %v", err) })
		l := newPipes(t)
		served := make(chan error)
		go func() { served <- s.Serve(l, Forward) }()
		test(t, s, l)
		if !s.closing() {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// endsAfter checks when the server closes the connection.
func (p *peer) endsAfter(least, most time.Duration) {
	p.t.Helper()
	began := time.Now()
	p.expectEnd()
	if took := time.Since(began); took < least || took > most {
		p.t.Errorf("closed after %v, not within %v to %v", took, least, most)
	}
}

func TestIdleTimeout(t *testing.T) {
	const idle = 1800 * time.Second
	bubble(t, Config{Tables: tables(""), IdleTimeout: idle}, func(t *testing.T, s *Server, l *pipes) {
		l.dial().endsAfter(idle, idle)

		p := l.dial()
		for range 20 {
			time.Sleep(idle - time.Second)
			p.ask("get a\n", "200 f:a\n")
		}
		p.endsAfter(idle, idle+idle/idleSteps)

		p = l.dial() // blank lines are requests, too
		for range 20 {
			time.Sleep(idle - time.Second)
			p.ask("\n", invalidRequest)
		}
		p.endsAfter(idle, idle+idle/idleSteps)
	})
}

func TestIdleTimeoutSwapped(t *testing.T) {
	bubble(t, Config{Tables: tables("")}, func(t *testing.T, s *Server, l *pipes) {
		p, q := l.dial(), l.dial()
		time.Sleep(365 * 24 * time.Hour)
		p.ask("get a\n", "200 f:a\n")
		s.Swap(Config{Tables: tables(""), IdleTimeout: time.Hour})
		r := l.dial()
		r.endsAfter(time.Hour, time.Hour)
		s.Swap(Config{Tables: tables(""), IdleTimeout: time.Minute})
		l.dial().endsAfter(time.Minute, time.Minute)
		p.ask("get a\n", "200 f:a\n")
		q.ask("get a\n", "200 f:a\n")
	})
}

// However the bytes come, a request must be there in requestTimeout, and
// what has come earlier gives a later request no less.
func TestRequestTimeout(t *testing.T) {
	bubble(t, Config{Tables: tables(""), IdleTimeout: time.Hour}, func(t *testing.T, s *Server, l *pipes) {
		for _, begun := range []string{"g", "get a@b", "9", "9:forw", "99999:xxx", "get " + strings.Repeat("x", 9999)} {
			p := l.dial()
			p.send(begun)
			p.endsAfter(requestTimeout, requestTimeout)
		}

		p := l.dial()
		p.send("get a\nget b")
		p.expect("200 f:a\n")
		p.endsAfter(requestTimeout, requestTimeout)

		p = l.dial()
		p.send("get ")
		began := time.Now()
		var err error
		for err == nil {
			time.Sleep(time.Second)
			_, err = p.Write([]byte("x"))
		}
		if took := time.Since(began); took < requestTimeout || took > requestTimeout+time.Second {
			t.Errorf("a byte a second was borne with for %v", took)
		}

		p = l.dial()
		for range 10 {
			for _, piece := range []string{"get", " a@", "b", "\n"} {
				p.send(piece)
				time.Sleep(requestTimeout / 4)
			}
			p.expect("200 f:a@b\n")
			time.Sleep(30 * time.Minute)
		}
		p.endsAfter(time.Hour-30*time.Minute, time.Hour)
	})
}

// A reply that is not read is waited for a little; a deadline left over from
// an earlier reply does not count.
func TestWriteTimeout(t *testing.T) {
	bubble(t, Config{Tables: tables(""), IdleTimeout: time.Hour}, func(t *testing.T, s *Server, l *pipes) {
		stuck := func(after time.Duration) {
			t.Helper()
			p := l.dial()
			if after > 0 {
				p.ask("get a\n", "200 f:a\n")
				time.Sleep(after)
			}
			p.send("get b\n")
			began := time.Now()
			for s.Open() > 0 {
				time.Sleep(time.Second)
			}
			if took := time.Since(began); took < writeTimeout || took > 2*writeTimeout+time.Second {
				t.Errorf("given up after %v", took)
			}
		}
		stuck(0)
		stuck(writeTimeout / 2)
		stuck(10 * writeTimeout)

		p := l.dial()
		for range 10 {
			p.ask("get a\n", "200 f:a\n")
			time.Sleep(time.Duration(float64(writeTimeout) * 0.7))
			p.send("get b\n")
			time.Sleep(writeTimeout - time.Second)
			p.expect("200 f:b\n")
			time.Sleep(50 * time.Minute)
		}
	})
}

// What Shutdown waits for, and for how long.
func TestShutdown(t *testing.T) {
	const look = 2 * time.Millisecond
	for _, test := range []struct {
		name   string
		before func(p *peer)
		during func(p *peer) // runs while Shutdown does
		took   time.Duration
	}{
		{"idle", func(p *peer) { p.ask("get a\n", "200 f:a\n") }, (*peer).expectEnd, look},
		{"fresh and silent", func(p *peer) {}, (*peer).expectEnd, shutdownGrace},
		{"fresh", func(p *peer) {}, func(p *peer) {
			time.Sleep(100 * time.Millisecond)
			p.ask("get a\n", "200 f:a\n")
			p.expectEnd()
		}, 100*time.Millisecond + look},
		{"begun", func(p *peer) { p.ask("get a\nget ", "200 f:a\n") }, func(p *peer) {
			time.Sleep(100 * time.Millisecond)
			p.ask("b\n", "200 f:b\n")
			p.expectEnd()
		}, 100*time.Millisecond + look},
		{"never finished", func(p *peer) { p.send("9:forw") }, (*peer).expectEnd, shutdownGrace},
		{"trickling", func(p *peer) { p.send("get ") }, func(p *peer) {
			for {
				time.Sleep(10 * time.Millisecond)
				if _, err := p.Write([]byte("x")); err != nil {
					return
				}
			}
		}, shutdownGrace},
		{"never reading", func(p *peer) { p.send("get a\n") }, func(p *peer) {}, shutdownGrace},
		{"asking on and on", func(p *peer) { p.ask("get a\n", "200 f:a\n") }, func(p *peer) {
			for range 1000 {
				if _, err := p.Write([]byte("get a\n")); err != nil {
					return
				}
				if _, err := p.r.ReadString('\n'); err != nil {
					return
				}
			}
			p.t.Error("still answered after a thousand requests")
		}, look},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, Config{Tables: tables(""), IdleTimeout: time.Hour}, func(t *testing.T, s *Server, l *pipes) {
				p := l.dial()
				test.before(p)
				synctest.Wait()
				var during sync.WaitGroup
				during.Go(func() { test.during(p) })
				began := time.Now()
				err := s.Shutdown(context.Background())
				if took := time.Since(began); err != nil || took > test.took {
					t.Errorf("%v after %v, not %v", err, took, test.took)
				}
				during.Wait()
			})
		})
	}
}

// The context's end is Shutdown's, whatever goes on.
func TestShutdownContext(t *testing.T) {
	lookup := make(chan struct{})
	stuck := tables("")
	stuck.ForwardTCP = func(dst, key []byte) ([]byte, error) { <-lookup; return dst, errNone }
	bubble(t, Config{Tables: stuck}, func(t *testing.T, s *Server, l *pipes) {
		lookup = make(chan struct{}) // one of the bubble's own
		p, q := l.dial(), l.dial()
		p.send("get a\n")
		q.send("9")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		err := s.Shutdown(ctx)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 100*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
		if !strings.HasPrefix(err.Error(), "2 connections had to be cut off: ") {
			t.Error(err)
		}
		p.expectEnd()
		close(lookup)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown again: %v", err)
		}
	})
}

// Those that wait for others to end are served at shutdown.
func TestShutdownFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int32
		s := New(Config{Tables: tables(""), MaxConns: 1}, func(error) { told.Add(1) })
		l := newPipes(t)
		go s.Serve(l, Forward)
		p, q := l.dial(), l.dial()
		p.ask("get a\n", "200 f:a\n")
		go q.ask("get b\n", "200 f:b\n")
		synctest.Wait()
		if s.Open() != 1 || s.Waiting() != 1 || told.Load() != 1 {
			t.Errorf("%d open, %d wait, told %d times", s.Open(), s.Waiting(), told.Load())
		}
		if got, want := s.Connections(), (Connections{Open: 1, Waiting: 1, Accepted: 2, Delayed: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if s.Open() != 0 || s.Waiting() != 0 {
			t.Errorf("%d open, %d wait", s.Open(), s.Waiting())
		}
		ln := newPipes(t)
		if err := s.Serve(ln, Forward); err != nil {
			t.Errorf("Serve after Shutdown: %v", err)
		}
		<-ln.closed
	})
}

// starved is a listener that fails for a time.
type starved struct {
	*pipes
	until atomic.Pointer[time.Time]
	tries []time.Time
}

func (l *starved) starve(d time.Duration) {
	until := time.Now().Add(d)
	l.until.Store(&until)
}

func (l *starved) Accept() (net.Conn, error) {
	if now := time.Now(); now.Before(*l.until.Load()) {
		l.tries = append(l.tries, now)
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.pipes.Accept()
}

// Failing to accept is tried again at growing intervals, and told once a
// minute.
func TestAcceptBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []error
		s := New(Config{Tables: tables("")}, func(err error) { told = append(told, err) })
		l := &starved{pipes: newPipes(t)}
		l.starve(150 * time.Second)
		go s.Serve(l, Forward)
		l.dial().ask("get a\n", "200 f:a\n")
		want := 5 * time.Millisecond
		for i := 1; i < len(l.tries); i++ {
			if got := l.tries[i].Sub(l.tries[i-1]); got != want {
				t.Fatalf("interval %d is %v, not %v", i, got, want)
			}
			want = min(2*want, time.Second)
		}
		if len(l.tries) < 150 || len(told) != 3 || !errors.Is(told[0], ErrAccept) || !errors.Is(told[0], syscall.EMFILE) {
			t.Errorf("%d tries, told %v", len(l.tries), told)
		}

		// All is well for a while, and the intervals are short again.
		time.Sleep(2 * time.Second)
		before := len(l.tries)
		l.starve(time.Hour)
		l.dial().ask("get a\n", "200 f:a\n")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if first := l.tries[before+1].Sub(l.tries[before]); first != 5*time.Millisecond {
			t.Errorf("the first interval of the second time is %v", first)
		}

		// Shutdown does not wait for the next try.
		began := time.Now()
		if err := s.Shutdown(t.Context()); err != nil || time.Since(began) > shutdownGrace {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
