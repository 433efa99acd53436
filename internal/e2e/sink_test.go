//go:build postfix

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"
)

// message is one mail as it arrived at a sink, in the very bytes that came over the wire.
type message struct {
	from string   // argument of MAIL FROM, without its angle brackets
	to   []string // arguments of RCPT TO, without their angle brackets
	data string   // header and body, with LF as line end
}

// header returns the value of the first header field of that name as it stands
// there, folded lines joined.
func (m message) header(name string) string {
	h, _ := textproto.NewReader(bufio.NewReader(strings.NewReader(m.data))).ReadMIMEHeader()
	return h.Get(name)
}

// sink is an SMTP server that accepts everything and keeps it, save that it
// refuses recipients whose local part begins with "refused". It parses no
// address, so that what a test sees is what Postfix sent.
type sink struct {
	port string
	done sync.WaitGroup

	mu      sync.Mutex
	mail    []message
	arrived chan struct{} // closed and replaced on every arrival
	conns   map[net.Conn]bool
}

// startSink serves a sink on a free port of 127.0.0.1 until the test is over.
func startSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{arrived: make(chan struct{}), conns: map[net.Conn]bool{}}
	t.Cleanup(func() {
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.done.Wait()
	})
	_, s.port, _ = net.SplitHostPort(s.listen(t, "127.0.0.1:0"))
	return s
}

// listen serves the sink at one more address, which it returns.
func (s *sink) listen(t *testing.T, address string) string {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s.done.Go(func() { s.accept(ln) })
	return ln.Addr().String()
}

func (s *sink) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.done.Add(1)
		go func() {
			defer s.done.Done()
			s.serve(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
	}
}

// serve holds one SMTP conversation (RFC 5321, RFC 6531).
func (s *sink) serve(c net.Conn) {
	text := textproto.NewConn(c)
	reply := func(line string) { _ = text.PrintfLine("%s", line) }
	reply("220 sink.invalid ESMTP")
	var m message
	for {
		_ = c.SetDeadline(time.Now().Add(patience))
		line, err := text.ReadLine()
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			reply("250-sink.invalid")
			reply("250-8BITMIME")
			reply("250 SMTPUTF8")
		case "HELO", "NOOP":
			reply("250 OK")
		case "RSET":
			m = message{}
			reply("250 OK")
		case "MAIL":
			m = message{from: bracketed(arg)}
			reply("250 OK")
		case "RCPT":
			if to := bracketed(arg); strings.HasPrefix(to, "refused") {
				reply("550 5.1.1 No such user here")
			} else {
				m.to = append(m.to, to)
				reply("250 OK")
			}
		case "DATA":
			reply("354 Go ahead")
			data, err := io.ReadAll(text.DotReader())
			if err != nil {
				return
			}
			m.data = string(data)
			s.keep(m)
			m = message{}
			reply("250 OK")
		case "QUIT":
			reply("221 Bye")
			return
		default:
			reply("502 Unknown command")
		}
	}
}

// bracketed returns what stands between the first < and the last > of the argument of MAIL or RCPT.
func bracketed(arg string) string {
	i, j := strings.IndexByte(arg, '<'), strings.LastIndexByte(arg, '>')
	if i < 0 || j < i {
		return "no path in " + arg
	}
	return arg[i+1 : j]
}

func (s *sink) keep(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mail = append(s.mail, m)
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// take waits for a mail that holds token, and removes it from the sink.
func (s *sink) take(t *testing.T, token string) message {
	t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		arrived := s.arrived
		for i, m := range s.mail {
			if strings.Contains(m.data, token) {
				s.mail = append(s.mail[:i], s.mail[i+1:]...)
				s.mu.Unlock()
				return m
			}
		}
		s.mu.Unlock()
		select {
		case <-arrived:
		case <-deadline:
			t.Fatalf("no mail with %s arrived", token)
		}
	}
}

// rest describes the mail that no test took.
func (s *sink) rest() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, m := range s.mail {
		fmt.Fprintf(&b, "from <%s> to %q:\n%s\n", m.from, m.to, m.data)
	}
	return b.String()
}
