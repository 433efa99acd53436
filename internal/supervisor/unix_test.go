package supervisor

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRemoveStale holds what is taken away to make room for a socket.
func TestRemoveStale(t *testing.T) {
	dir, err := os.MkdirTemp("", "srs") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	listen := func(path string) *net.UnixListener {
		t.Helper()
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	for _, test := range []struct {
		name  string
		make  func(path string)
		want  error
		stays bool
	}{
		{"nothing", func(string) {}, nil, false},
		{"left behind", func(path string) { listen(path).Close() }, nil, false},
		{"served", func(path string) { listen(path) }, errServed, true},
		{"served, and more clients wait than may", func(path string) {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
				t.Fatal(err)
			}
			for range 8 {
				if conn, err := net.Dial("unix", path); err == nil {
					t.Cleanup(func() { conn.Close() })
				}
			}
		}, errServed, true},
		{"for datagrams", func(path string) {
			conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
		}, errNotSocket, true},
		{"a file", func(path string) { os.WriteFile(path, nil, 0o600) }, errNotSocket, true},
		{"a directory", func(path string) { os.Mkdir(path, 0o700) }, errNotSocket, true},
		{"a link to a socket left behind", func(path string) {
			listen(path + "1").Close()
			os.Symlink(path+"1", path)
		}, errNotSocket, true},
	} {
		path := filepath.Join(dir, "s")
		os.RemoveAll(path)
		test.make(path)
		if err := removeStale(path); err != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if _, err := os.Lstat(path); (err == nil) != test.stays {
			t.Errorf("%s: afterwards %v", test.name, err)
		}
	}
}
