package aliasmap

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postsrsd/internal/config"
	"postsrsd/socketmap"
	"postsrsd/tcptable"
)

// table serves connections with handle, and counts those that are open.
func table(t *testing.T, network, address string, handle func(net.Conn)) (ln net.Listener, open *atomic.Int32) {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	open = new(atomic.Int32)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			open.Add(1)
			go func() {
				handle(conn)
				conn.Close()
				open.Add(-1)
			}()
		}
	}()
	return ln, open
}

func serveTCP(conn net.Conn) {
	tcptable.Serve(bufio.NewReader(conn), conn, 1000, func(dst, key []byte) ([]byte, error) {
		switch string(key) {
		case "a@example.com":
			return append(dst, "b@x.test, c d"...), nil
		case "later":
			return dst, &tcptable.Error{Code: tcptable.CodeTryLater, Text: "not now"}
		}
		return dst, fmt.Errorf("no such key")
	})
}

func serveSocketmap(conn net.Conn) {
	socketmap.Serve(bufio.NewReader(conn), conn, 1000, func(dst, name, key []byte) ([]byte, error) {
		switch {
		case string(name) != "name":
			return dst, socketmap.ErrUnknownMap
		case string(key) == "a@example.com":
			return append(dst, "b@x.test, c d"...), nil
		case string(key) == "later":
			return dst, &socketmap.Error{Status: socketmap.StatusTemp, Text: "not now"}
		}
		return dst, fmt.Errorf("no such key")
	})
}

func inet(t *testing.T, address string) config.Endpoint {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return config.Endpoint{Host: host, Port: port}
}

// TestLookups asks tables of every kind.
func TestLookups(t *testing.T) {
	tcp, tcpOpen := table(t, "tcp", "127.0.0.1:0", serveTCP)
	tcp6, _ := table(t, "tcp", "[::1]:0", serveTCP)
	sock, sockOpen := table(t, "tcp", "127.0.0.1:0", serveSocketmap)
	path := filepath.Join(t.TempDir(), "s")
	_, unixOpen := table(t, "unix", path, serveSocketmap)
	localhost, localhost6 := inet(t, tcp.Addr().String()), inet(t, tcp6.Addr().String())
	localhost.Host, localhost6.Host = "localhost", "localhost"
	maps := []config.AliasMap{
		{Name: "file", Entries: map[string]string{"a@example.com": "b@x.test, c d"}},
		{Name: "tcp", Protocol: "tcp", Endpoint: inet(t, tcp.Addr().String())},
		{Name: "tcp6", Protocol: "tcp", Endpoint: inet(t, tcp6.Addr().String())},
		{Name: "localhost", Protocol: "tcp", Endpoint: localhost},
		{Name: "localhost6", Protocol: "tcp", Endpoint: localhost6},
		{Name: "inet", Protocol: "socketmap", Endpoint: inet(t, sock.Addr().String()), Map: "name"},
		{Name: "unix", Protocol: "socketmap", Endpoint: config.Endpoint{Path: path}, Map: "name"},
	}
	lookups, done := Open(maps)
	for i, ask := range lookups {
		for range 3 {
			if value, found, err := ask("a@example.com"); value != "b@x.test, c d" || !found || err != nil {
				t.Errorf("%s: %q, %v, %v", maps[i].Name, value, found, err)
			}
			if value, found, err := ask("b@example.com"); value != "" || found || err != nil {
				t.Errorf("%s: %q, %v, %v", maps[i].Name, value, found, err)
			}
		}
		if _, found, err := ask("later"); maps[i].Protocol != "" && (found || err == nil || !strings.HasPrefix(err.Error(), maps[i].Name+": ") || !strings.HasSuffix(err.Error(), "not now")) {
			t.Errorf("%s: %v, %v", maps[i].Name, found, err)
		}
	}
	if n := tcpOpen.Load() + sockOpen.Load() + unixOpen.Load(); n != 4 {
		t.Errorf("%d connections for 4 tables", n)
	}
	done()
	for deadline := time.Now().Add(20 * time.Second); tcpOpen.Load()+sockOpen.Load()+unixOpen.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("connections are left open")
		}
	}
}

// TestTroubles asks tables that cannot be asked.
func TestTroubles(t *testing.T) {
	closed, _ := table(t, "tcp", "127.0.0.1:0", nil)
	closed.Close()
	hangs, _ := table(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { io.Copy(io.Discard, conn) })
	hangsUp, _ := table(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { conn.Read(make([]byte, 1)) })
	garbage, _ := table(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		conn.Read(make([]byte, 1))
		io.WriteString(conn, strings.Repeat("x", 1<<20))
	})
	for _, protocol := range []string{"tcp", "socketmap"} {
		for name, ln := range map[string]net.Listener{"closed": closed, "hangs": hangs, "hangs up": hangsUp, "garbage": garbage} {
			begun := time.Now()
			lookups, done := Open([]config.AliasMap{{Name: name, Protocol: protocol, Endpoint: inet(t, ln.Addr().String()), Map: "name"}})
			_, found, err := lookups[0]("a@example.com")
			if found || err == nil || !strings.HasPrefix(err.Error(), name+": ") {
				t.Errorf("%s, %s: %v %v", protocol, name, found, err)
			}
			if took := time.Since(begun); took > patience+10*time.Second {
				t.Errorf("%s, %s: took %v", protocol, name, took)
			}
			done()
		}
	}
	lookups, done := Open([]config.AliasMap{{Name: "unix", Protocol: "socketmap", Endpoint: config.Endpoint{Path: "/nowhere/s"}, Map: "name"}})
	defer done()
	if _, _, err := lookups[0]("a"); err == nil || !strings.HasPrefix(err.Error(), "unix: ") {
		t.Error(err)
	}
}
