//go:build linux

package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers every line on a port of its own until the test ends.
func serve(t *testing.T, answer func(conn io.WriteCloser, line string)) endpoint {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					answer(conn, lines.Text())
				}
			})
		}
	})
	end := endpoint{port: listener.Addr().(*net.TCPAddr).Port}
	for _, word := range []string{"one", "two", "three"} {
		answer := "200 " + word + "\n"
		end.questions = append(end.questions, question{[]byte("get " + word + "\n"), []byte(answer), nil, len(answer)})
	}
	return end
}

func right(conn io.WriteCloser, line string) {
	io.WriteString(conn, "200 "+strings.TrimPrefix(line, "get ")+"\n")
}

const brief = 30 * time.Millisecond

func TestLookups(t *testing.T) {
	s := service{serve(t, right), serve(t, right)}
	for _, n := range []int{1, 2, 5, 16} {
		l, err := lookups(s, n, brief)
		if err != nil {
			t.Fatalf("%d connections: %v", n, err)
		}
		if l.latency.total == 0 || l.rate <= 0 || l.latency.quantile(.5) <= 0 || l.questions < int(l.latency.total) {
			t.Errorf("%d connections: rate %v, %d answers to %d questions", n, l.rate, l.latency.total, l.questions)
		}
	}
}

func TestAnswerInPieces(t *testing.T) {
	end := serve(t, func(conn io.WriteCloser, line string) {
		io.WriteString(conn, "20")
		right(onlyTail{conn}, line)
	})
	if _, err := lookups(service{end, end}, 2, brief); err != nil {
		t.Error(err)
	}
}

// onlyTail leaves out the first two bytes of what is written.
type onlyTail struct{ io.WriteCloser }

func (w onlyTail) Write(p []byte) (int, error) {
	_, err := w.WriteCloser.Write(p[2:])
	return len(p), err
}

func TestReconnects(t *testing.T) {
	l, err := reconnects(service{serve(t, right), serve(t, right)}, brief)
	if err != nil || l.latency.total == 0 {
		t.Errorf("%d answers, %v", l.latency.total, err)
	}
}

func TestIdle(t *testing.T) {
	release, err := idle(service{serve(t, right), serve(t, right)}, 7)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestWrongAnswersEndTheRun(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(conn io.WriteCloser, line string)
		words  string
	}{
		"refused": {func(conn io.WriteCloser, line string) { io.WriteString(conn, "500 Not found\n") }, `wrong answer "500 Not found\n"`},
		"another": {func(conn io.WriteCloser, line string) { right(conn, "get four") }, `wrong answer "200 four\n"`},
		"twice":   {func(conn io.WriteCloser, line string) { right(conn, line+"\n"+line) }, "wrong answer"},
		"closed":  {func(conn io.WriteCloser, line string) { conn.Close() }, "connection closed instead of an answer"},
	} {
		t.Run(name, func(t *testing.T) {
			for what, do := range map[string]func(s service) error{
				"lookups":    func(s service) error { _, err := lookups(s, 2, time.Minute); return err },
				"reconnects": func(s service) error { _, err := reconnects(s, time.Minute); return err },
				"idle":       func(s service) error { _, err := idle(s, 100); return err },
			} {
				var count atomic.Int32
				end := serve(t, func(conn io.WriteCloser, line string) {
					if count.Add(1) == 50 {
						c.answer(conn, line)
					} else {
						right(conn, line)
					}
				})
				if err := do(service{end, end}); err == nil || !strings.Contains(err.Error(), c.words) {
					t.Errorf("%s: error %v, want one that says %q", what, err, c.words)
				}
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end := serve(t, right)
	end.port = listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	if _, err := lookups(service{end, end}, 2, brief); err == nil {
		t.Error("lookups without a server")
	}
	if _, err := reconnects(service{end, end}, brief); err == nil {
		t.Error("connections without a server")
	}
}
