package server

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postsrsd/tcptable"
)

// All that a client had sent is answered, then its connection ends in order:
// a reset could take replies with it that the client has not read yet.
func TestShutdownPipelined(t *testing.T) {
	const requests = 500
	gate, entered := make(chan struct{}), make(chan struct{})
	var once sync.Once
	gated := tables("")
	gated.ForwardTCP = func(dst, key []byte) ([]byte, error) {
		once.Do(func() { close(entered); <-gate })
		return append(dst, key...), nil
	}
	f := start(t, Config{Tables: gated}, func(s *Server) { s.shutdownGrace = patience })
	p := dial(t, f.addr[Forward])
	p.send(strings.Repeat("get a@b\n", requests))
	<-entered
	stopped := make(chan error)
	go func() { stopped <- f.Shutdown(context.Background()) }()
	<-f.done
	close(gate)
	p.expect(strings.Repeat("200 a@b\n", requests))
	p.expectEnd()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Under load every request is answered in full and rightly, or not at all.
func TestShutdownUnderLoad(t *testing.T) {
	f := start(t, Config{Tables: tables("")}, nil)
	var clients, busy sync.WaitGroup
	for range 16 {
		p := dial(t, f.addr[Forward])
		busy.Add(1)
		clients.Go(func() {
			for i := 0; ; i++ {
				if _, err := p.Write([]byte("get a@b\n")); err != nil {
					return
				}
				line, err := p.r.ReadString('\n')
				if err != nil {
					if line != "" {
						t.Errorf("half a reply: %q", line)
					}
					return
				}
				if line != "200 f:a@b\n" {
					t.Errorf("got %q", line)
				}
				if i == 100 {
					busy.Done()
				}
			}
		})
	}
	busy.Wait()
	f.stop(t)
	clients.Wait()
	if f.Open() != 0 {
		t.Errorf("%d open", f.Open())
	}
}

// A lack of file descriptors keeps newcomers waiting and nothing else.
func TestOutOfFiles(t *testing.T) {
	f := start(t, Config{Tables: tables("")}, nil)
	addr := f.addr[Reverse].(*net.TCPAddr)
	old := dial(t, addr)
	old.ask("get a\n", "200 r:a\n")
	want := "cannot accept connections on " + addr.String() + ": "
	reports := func() []error {
		return slices.DeleteFunc(f.reports(), func(err error) bool { // another listener may have tried, too
			return !strings.HasPrefix(err.Error(), want)
		})
	}
	newcomer, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(newcomer), "newcomer")
	defer file.Close()

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	connectErr := syscall.Connect(newcomer, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}})
	eventually(t, func() bool { return len(reports()) > 0 }, func() { t.Error("nothing reported") })
	old.ask("get a\n", "200 r:a\n")
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}

	if connectErr != nil {
		t.Fatal(connectErr)
	}
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if got, err := tcptable.NewClient(conn).Lookup("b"); got != "r:b" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if reports := reports(); len(reports) != 1 || !errors.Is(reports[0], ErrAccept) || !errors.Is(reports[0], syscall.EMFILE) {
		t.Fatalf("reported %v, want one %s…", f.reports(), want)
	}
}

// A thousand idle connections cost little, both ends together.
func TestIdleMemory(t *testing.T) {
	const clients, limit = 1000, 10 << 10
	f := start(t, Config{Tables: tables(""), IdleTimeout: time.Hour}, nil)
	before := inUse()
	for range clients {
		c, err := net.Dial("tcp", f.addr[Forward].String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.Write([]byte("get a@b\n"))
		if n, err := c.Read(make([]byte, 100)); n != len("200 f:a@b\n") {
			t.Fatal(n, err)
		}
	}
	each := (inUse() - before) / clients
	if each > limit {
		t.Errorf("%d bytes for each connection, over %d", each, limit)
	}
	t.Logf("%d bytes for each connection, both ends", each)
}
