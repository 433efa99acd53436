package milter

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait for something that should happen at once.
const patience = 20 * time.Second

// service is a server on a listener of its own.
type service struct {
	t *testing.T
	*Server
	addr net.Addr

	mu      sync.Mutex
	reports []error
}

// serve starts one; change turns limits before. At the end of the test it
// shuts down, which must leave nothing behind.
func serve(t *testing.T, network, address string, change func(*Server, *Config)) *service {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	var mu sync.Mutex
	rules := judge(&asked)
	config := Config{MaxRecipients: 1000, MaxConns: 100, Rules: Rules{Refuse: rules.Refuse,
		Change: func(id, sender string, recipients []string, more bool) (string, []string) {
			mu.Lock()
			defer mu.Unlock()
			return rules.Change(id, sender, recipients, more)
		}}}
	limits := &Server{}
	if change != nil {
		change(limits, &config)
	}
	s := &service{t: t, addr: ln.Addr()}
	s.Server = New(config, func(err error) {
		s.mu.Lock()
		s.reports = append(s.reports, err)
		s.mu.Unlock()
	})
	for _, limit := range []struct{ to, from *time.Duration }{
		{&s.greetTimeout, &limits.greetTimeout}, {&s.idleTimeout, &limits.idleTimeout},
		{&s.packetTimeout, &limits.packetTimeout}, {&s.writeTimeout, &limits.writeTimeout},
	} {
		if *limit.from > 0 {
			*limit.to = *limit.from
		}
	}
	served := make(chan error)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if len(s.conns) != 0 {
			t.Errorf("%d connections are left", len(s.conns))
		}
	})
	return s
}

func (s *service) reported(kind error) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.reports, func(err error) bool { return errors.Is(err, kind) })
	}
}

func (s *service) waitFor(what string, condition func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// mta is a connection to the server.
type mta struct {
	t *testing.T
	net.Conn
}

func (s *service) dial() mta {
	s.t.Helper()
	conn, err := net.Dial(s.addr.Network(), s.addr.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return mta{s.t, conn}
}

// wants sends input and reads these answers.
func (m mta) wants(input, answer string) {
	m.t.Helper()
	if _, err := io.WriteString(m, input); err != nil {
		m.t.Fatal(err)
	}
	var got []byte
	for piece := make([]byte, 1<<16); answers(got) != answer; {
		n, err := m.Read(piece)
		if got = append(got, piece[:n]...); err != nil {
			m.t.Fatalf("%v: %q, want %q", err, answers(got), answer)
		}
	}
}

// wantsMessage sends a whole message.
func (m mta) wantsMessage() {
	m.t.Helper()
	m.wants(packet('M', "<a@x>\x00")+packet('R', "<srs@y>\x00")+packet('E', ""), "c\nc\n-<srs@y>\n+<back-srs@y>\ne<new-a@x>\nc")
}

// wantsEnd reads until the server hangs up.
func (m mta) wantsEnd() {
	m.t.Helper()
	rest, err := io.ReadAll(m)
	if errors.Is(err, errTimeout{}) || len(rest) > 0 {
		m.t.Errorf("%q, %v, want the end", rest, err)
	}
}

type errTimeout struct{}

func (errTimeout) Error() string { return "" }
func (errTimeout) Is(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// TestClients has clients of every kind send many messages over one connection.
func TestClients(t *testing.T) {
	for _, c := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"unix", filepath.Join(t.TempDir(), "s")},
	} {
		s := serve(t, c.network, c.address, nil)
		m := s.dial()
		m.wants(hello, negotiated)
		for range 200 {
			m.wantsMessage()
		}
		m.wants(packet('Q', ""), "")
		m.wantsEnd()
	}
}

// TestBadClients has bad clients beside a good one.
func TestBadClients(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", func(limits *Server, _ *Config) { limits.packetTimeout, limits.greetTimeout = time.Second, time.Second })
	good := s.dial()
	good.wants(hello, negotiated)
	for name, bad := range map[string]func(m mta){
		"garbage":          func(m mta) { m.wants(strings.Repeat("x", 1<<20), "t"); m.wantsEnd() },
		"another protocol": func(m mta) { m.wants("EHLO client.invalid\r\n", "t"); m.wantsEnd() },
		"a huge length": func(m mta) {
			m.wants(hello+"\xff\xff\xff\xff"+strings.Repeat("x", 1<<20), negotiated+"\nt")
			m.wantsEnd()
		},
		"the wrong order": func(m mta) {
			m.wants(hello+packet('E', "")+packet('R', "<a@x>\x00"), negotiated+"\nt\nt")
			m.wantsMessage()
		},
		"fewer actions":          func(m mta) { m.wants(offer(6, 0x3f, 0), ""); m.wantsEnd() },
		"silence":                func(m mta) { m.wantsEnd() },
		"half a length":          func(m mta) { m.wants(hello+"\x00\x00", negotiated); m.wantsEnd() },
		"half a packet":          func(m mta) { m.wants(hello+packet('M', "<a@x>\x00")[:8], negotiated); m.wantsEnd() },
		"a packet of many bytes": func(m mta) { m.wants(hello+"\x00\x01\xff\xffM", negotiated); m.wantsEnd() },
		"half-open":              func(m mta) { m.Conn.(*net.TCPConn).CloseWrite(); m.wantsEnd() },
		"half-open in a message": func(m mta) {
			m.wants(hello+packet('M', "<a@x>\x00"), negotiated+"\nc")
			m.Conn.(*net.TCPConn).CloseWrite()
			m.wantsEnd()
		},
		"gone in a message": func(m mta) { m.wants(hello+packet('M', "<a@x>\x00"), negotiated+"\nc"); m.Close() },
		"gone in a packet":  func(m mta) { m.wants(hello+packet('M', "<a@x>\x00")[:8], negotiated); m.Close() },
		"reset": func(m mta) {
			m.wants(hello+packet('M', "<a@x>\x00"), negotiated+"\nc")
			m.Conn.(*net.TCPConn).SetLinger(0)
			m.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := s.dial()
			m.t = t
			bad(m)
			good.wantsMessage()
		})
	}
	good.Close()
	s.waitFor("connections to end", func() bool {
		s.Server.mu.Lock()
		defer s.Server.mu.Unlock()
		return len(s.conns) <= 1 // "the wrong order" may go on
	})
	if !s.reported(ErrActions)() {
		t.Error("nobody was told of the MTA that offers too little")
	}
}

// TestUnreadAnswers has an MTA send and never read.
func TestUnreadAnswers(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", func(limits *Server, _ *Config) { limits.writeTimeout = 50 * time.Millisecond })
	m := s.dial()
	m.wants(hello, negotiated)
	flood := []byte(strings.Repeat(packet('M', "<a@x>\x00")+packet('R', "<srs@y>\x00")+packet('E', ""), 10000))
	for {
		if _, err := m.Write(flood); err != nil {
			if errors.Is(err, errTimeout{}) {
				t.Error("it was not hung up on")
			}
			return
		}
	}
}

// TestIdle holds that the wait for a message has an end, and a long one.
func TestIdle(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", func(limits *Server, _ *Config) { limits.idleTimeout = 100 * time.Millisecond })
	m := s.dial()
	m.wants(hello, negotiated)
	m.wantsEnd()
	if idleTimeout < 2*time.Hour {
		t.Error("a message that takes hours to arrive is cut off")
	}
}

// TestConnectionLimit holds that those over the limit wait and are served.
func TestConnectionLimit(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", func(_ *Server, c *Config) { c.MaxConns = 2 })
	first, second, third := s.dial(), s.dial(), s.dial()
	first.wants(hello, negotiated)
	second.wants(hello, negotiated)
	io.WriteString(third, hello)
	s.waitFor("the report", s.reported(ErrFull))
	second.wantsMessage()
	first.Close()
	third.wants("", negotiated)
	third.wantsMessage()
	second.wantsMessage()
}

// TestAcceptFails has a listener fail for a while.
func TestAcceptFails(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(&failing{Listener: ln, times: 3})
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	mta{t, conn}.wants(hello, negotiated)
	if !s.reported(ErrAccept)() || len(s.reports) != 1 {
		t.Errorf("reported %v", s.reports)
	}
}

type failing struct {
	net.Listener
	times int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.times--; f.times >= 0 {
		return nil, errors.New("no descriptors")
	}
	return f.Listener.Accept()
}

// TestSwap holds that a new configuration is seen by open connections.
func TestSwap(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", nil)
	m := s.dial()
	m.wants(hello+packet('M', "<a@x>\x00"), negotiated+"\nc")
	s.Swap(Config{MaxRecipients: 1, Rules: Rules{
		Refuse: func(string) error { return nil },
		Change: func(_, _ string, recipients []string, _ bool) (string, []string) { return "swapped", recipients },
	}})
	m.wants(packet('R', "<bad>\x00")+packet('E', ""), "c\ne<swapped>\nc")
}

// TestShutdown holds that messages under way are finished, and that nobody else
// is waited for.
func TestShutdown(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", nil)
	idle, silent, busy := s.dial(), s.dial(), s.dial()
	idle.wants(hello, negotiated)
	busy.wants(hello+packet('M', "<a@x>\x00"), negotiated+"\nc")
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	idle.wantsEnd()
	silent.wantsEnd()
	busy.wants(packet('R', "<srs@y>\x00")+packet('E', ""), "c\n-<srs@y>\n+<back-srs@y>\ne<new-a@x>\nc")
	busy.wantsEnd()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial(s.addr.Network(), s.addr.String()); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

// TestShutdownCuts holds that a message that does not end is cut off.
func TestShutdownCuts(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", nil)
	m := s.dial()
	m.wants(hello+packet('M', "<a@x>\x00"), negotiated+"\nc")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 connections") {
		t.Error(err)
	}
	m.wantsEnd()
}

// TestDrain holds that connections go on for as long as their MTAs want.
func TestDrain(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", func(_ *Server, c *Config) { c.MaxConns = 2 })
	m, other, waits := s.dial(), s.dial(), s.dial()
	m.wants(hello, negotiated)
	other.wants(hello, negotiated)
	s.waitFor("one to wait", s.reported(ErrFull))
	drained := make(chan struct{})
	go func() { s.Drain(context.Background()); close(drained) }()
	waits.wants(hello, negotiated)
	for range 3 {
		m.wantsMessage()
		other.wantsMessage()
		waits.wantsMessage()
	}
	select {
	case <-drained:
		t.Error("it did not wait")
	default:
	}
	m.Close()
	other.wants(packet('Q', ""), "")
	waits.Close()
	select {
	case <-drained:
	case <-time.After(patience):
		t.Error("it waits on")
	}
}
