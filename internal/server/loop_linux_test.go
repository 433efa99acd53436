package server

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// looped tells how many connections loops have.
func (f *fixture) looped() int {
	n := 0
	f.Server.mu.Lock()
	loops := f.loops
	f.Server.mu.Unlock()
	for _, l := range loops {
		for range l.all() {
			n++
		}
	}
	return n
}

func (f *fixture) expectLooped(t *testing.T, want int) {
	t.Helper()
	eventually(t, func() bool { return f.looped() == want }, func() { t.Errorf("loops have %d connections, not %d", f.looped(), want) })
}

// Whatever is no whole request alone, a goroutine takes over where the loop
// has left off.
func TestHandOff(t *testing.T) {
	f := start(t, Config{Tables: tables("")}, nil)
	for _, test := range []struct {
		name  string
		do    func(p *peer)
		loops int // connections that loops have afterwards
	}{
		{"whole requests", func(p *peer) {
			p.ask("get a\n", "200 f:a\n")
			p.ask("get none\n", "500 Not an SRS address.\n")
			p.ask("\n", invalidRequest)
		}, 1},
		{"whole netstrings", func(p *peer) {
			p.ask("9:forward a,", "6:OK F:a,")
			p.ask("10:sideways a,", "17:PERM Invalid map.,")
			p.ask("9:reverse a,", "6:OK R:a,")
		}, 1},
		{"silence", func(p *peer) {}, 1},
		{"half a request", func(p *peer) {
			p.ask("get a\n", "200 f:a\n")
			p.send("get ")
			f.expectLooped(t, 0)
			p.ask("b\n", "200 f:b\n")
			p.ask("get c\n", "200 f:c\n")
		}, 0},
		{"more than one request", func(p *peer) {
			p.ask("get a\nget b\nget c\n", "200 f:a\n200 f:b\n200 f:c\n")
		}, 0},
		{"a long request", func(p *peer) {
			p.ask("get "+strings.Repeat("x", 2*loopBuffer)+"\n", "500 Buffer too small.\n")
		}, 0},
		{"an end without a newline", func(p *peer) {
			p.ask("get a\n", "200 f:a\n")
			p.send("get b")
			p.closeWrite()
			p.expect("200 f:b\n")
			p.expectEnd()
		}, 0},
		{"a line that looks like a netstring", func(p *peer) {
			p.ask("get a\n", "200 f:a\n")
			p.send("9:forward b,") // of a connection that speaks tcp_table
			f.expectLooped(t, 0)
			p.ask("\n", invalidRequest)
			p.ask("9:forward b,\n", invalidRequest)
		}, 0},
		{"no netstring", func(p *peer) {
			p.ask("9:forward a,", "6:OK F:a,")
			p.ask("get b\n", "19:PERM Invalid query.,")
			p.expectEnd()
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := dial(t, f.addr[Forward])
			test.do(p)
			f.expectLooped(t, test.loops)
			p.Close()
			eventually(t, func() bool { return f.Open() == 0 }, func() { t.Errorf("%d open", f.Open()) })
			f.expectLooped(t, 0)
		})
	}
}

// A client that does not read in time gets every reply all the same, in full.
func TestUnreadReplies(t *testing.T) {
	asked := make(chan struct{})
	long := tables("")
	long.ForwardTCP = func(dst, key []byte) ([]byte, error) {
		asked <- struct{}{}
		return append(dst, strings.Repeat(string(key), 4000)...), nil
	}
	f := start(t, Config{Tables: long}, nil)
	p := dial(t, f.addr[Forward])
	f.expectLooped(t, 1)
	const requests = 3000 // whose replies fit no socket's buffers
	letter := func(i int) string { return string('a' + byte(i%26)) }
	go func() {
		for i := range requests {
			p.Write([]byte("get " + letter(i) + "\n"))
			<-asked // so that the next one comes alone
		}
	}()
	f.expectLooped(t, 0)
	for i := range requests {
		p.expect("200 " + strings.Repeat(letter(i), 4000) + "\n")
	}
	f.Swap(Config{Tables: tables("")})
	p.ask("get a\n", "200 f:a\n")
}

// An idle connection is closed after four to five steps of the idle timeout;
// one that asks is not.
func TestSweep(t *testing.T) {
	f := start(t, Config{Tables: tables(""), IdleTimeout: 1000 * time.Hour}, nil)
	idle, fresh, busy := dial(t, f.addr[Forward]), dial(t, f.addr[Forward]), dial(t, f.addr[Forward])
	idle.ask("get a\n", "200 f:a\n")
	for step := range 2 * idleSteps {
		busy.ask("get a\n", "200 f:a\n")
		want := 3
		if step > idleSteps {
			want = 1
		}
		f.expectLooped(t, want)
		for _, l := range f.loops { // there since the first connection is
			l.due.Store(true)
			l.wake()
			eventually(t, func() bool { return !l.due.Load() }, func() { t.Error("the loop does not wake") })
		}
	}
	idle.expectEnd()
	fresh.expectEnd()
	busy.ask("get a\n", "200 f:a\n")
}

// A new idle timeout holds for connections that wait already.
func TestSweepSwapped(t *testing.T) {
	f := start(t, Config{Tables: tables("")}, nil)
	p, q := dial(t, f.addr[Forward]), dial(t, f.addr[Forward])
	p.ask("get a\n", "200 f:a\n")
	f.Swap(Config{Tables: tables(""), IdleTimeout: 10 * time.Millisecond})
	p.expectEnd()
	q.expectEnd()
}

// A lookup that waits for something keeps no other's answer back.
func TestMayWait(t *testing.T) {
	gate := make(chan struct{})
	waiting := tables("")
	waiting.ForwardTCP = func(dst, key []byte) ([]byte, error) {
		if string(key) == "slow" {
			<-gate
		}
		return append(dst, key...), nil
	}
	f := start(t, Config{Tables: tables("")}, nil)
	a, b := dial(t, f.addr[Forward]), dial(t, f.addr[Forward])
	a.ask("get a\n", "200 f:a\n")
	f.expectLooped(t, 2)
	f.Swap(Config{Tables: waiting, MayWait: true})
	a.send("get slow\n")
	f.expectLooped(t, 1)
	b.ask("get b\n", "200 b\n")
	dial(t, f.addr[Forward]).ask("get c\n", "200 c\n")
	close(gate)
	a.expect("200 slow\n")
	f.Swap(Config{Tables: tables("")})
	a.ask("get a\n", "200 f:a\n")
}

// Without descriptors there is no loop, and nothing is left of the attempt.
func TestNoLoop(t *testing.T) {
	s := New(Config{Tables: tables("")}, nil)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	files := openFiles(t)
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	_, err := newLoop(s)
	if restored := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); restored != nil {
		t.Fatal(restored)
	}
	if err == nil || openFiles(t) != files {
		t.Errorf("%v, %d files before, now %d", err, files, openFiles(t))
	}
}
