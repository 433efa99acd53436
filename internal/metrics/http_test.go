package metrics

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long a condition may take to come true before a test fails.
const patience = 20 * time.Second

// served is an endpoint that gives clients no more than a quarter of a second.
func served(t *testing.T, network, address string) net.Addr {
	t.Helper()
	goroutines := runtime.NumGoroutine()
	m, _ := newMetrics(t)
	m.timeout = 250 * time.Millisecond
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := m.Serve(ln)
	t.Cleanup(func() {
		s.Close()
		for deadline := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
			}
		}
	})
	return ln.Addr()
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// scrape fails the test unless the metrics are served.
func scrape(t *testing.T, addr net.Addr) {
	t.Helper()
	conn := dial(t, addr)
	fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 || !strings.Contains(string(body), "\npostsrsd_connections_open 3\n") ||
		response.Header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("%v, %v:\n%s", response, err, body)
	}
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection goes on: %d, %v", n, err)
	}
	conn.Close()
}

// TestBadRequests sends what is no request for metrics: the reply, and that the
// connection ends and the endpoint goes on.
func TestBadRequests(t *testing.T) {
	addr := served(t, "tcp", "127.0.0.1:0")
	long := strings.Repeat("x", 100_000)
	for _, test := range []struct {
		name, request, want string // want is the beginning of the status line, "" for none
	}{
		{"another path", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
		{"a path that leads there", "GET /../metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
		{"another method", "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 405"},
		{"a body that does not come", "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhello", "HTTP/1.1 405"},
		{"a body without end", "POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n" + long, "HTTP/1.1 405"},
		{"two lengths", "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400"},
		{"an upgrade", "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n", "HTTP/1.1 200"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 4"},
		{"HTTP/1.0", "GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 200"},
		{"HEAD", "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200"},
		{"two at once", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200"},
		{"garbage", "\x00\xff\x16\x03\x01\r\n\r\n", "HTTP/1.1 400"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + long[:600], ""},
		{"a lookup", "get test@otherdomain.com\n", "HTTP/1.1 400"},
		{"a netstring", "28:forward test@otherdomain.com,", ""},
		{"a long line", "GET /" + long, "HTTP/1.1 431"},
		{"a long header", "GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + long, "HTTP/1.1 431"},
		{"many headers", "GET /metrics HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a: b\r\n", 20_000), "HTTP/1.1 431"},
		{"half a request", "GET /metrics HTTP/1.1\r\nHost", ""},
		{"nothing", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := dial(t, addr)
			go io.WriteString(conn, test.request)
			reply, _ := io.ReadAll(conn) // until it is closed, reset for what was not read
			if test.want == "" && len(reply) > 0 && !strings.HasPrefix(string(reply), "HTTP/1.1 4") || !strings.HasPrefix(string(reply), test.want) {
				t.Errorf("%.100q, want %s", reply, test.want)
			}
			if strings.Count(string(reply), "HTTP/1.") > 1 {
				t.Errorf("more than one reply: %q", reply)
			}
			scrape(t, addr)
		})
	}
}

// TestHalfClosed asks, and says that nothing will follow.
func TestHalfClosed(t *testing.T) {
	addr := served(t, "tcp", "127.0.0.1:0")
	conn := dial(t, addr)
	io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	conn.(*net.TCPConn).CloseWrite()
	if reply, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 200") {
		t.Errorf("%.100q, %v", reply, err)
	}
	scrape(t, addr)
}

// TestFlood has many more clients than are served at once: silent ones, slow
// ones, and ones that ask and do not read. Whoever asks beside them gets an
// answer once these have had their time.
func TestFlood(t *testing.T) {
	addr := served(t, "tcp", "127.0.0.1:0")
	for i := range 10 * maxClients {
		conn := dial(t, addr)
		switch i % 3 {
		case 0:
			go func() {
				for {
					if _, err := io.WriteString(conn, "G"); err != nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
		case 1:
			io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		}
	}
	scrape(t, addr)
}

// TestUnix serves on a unix socket.
func TestUnix(t *testing.T) {
	scrape(t, served(t, "unix", filepath.Join(t.TempDir(), "metrics")))
}

// TestClosedListener takes the listener away: the server ends.
func TestClosedListener(t *testing.T) {
	m, _ := newMetrics(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	goroutines := runtime.NumGoroutine()
	m.Serve(ln)
	ln.Close()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it goes on")
		}
	}
}
