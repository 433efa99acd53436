package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"postsrsd/socketmap"
	"postsrsd/tcptable"
)

// words is an error whose text is a reply's.
type words string

func (w words) Error() string { return string(w) }

const errNone = words("Not an SRS address.")

// tag is a lookup that finds every key but "none", as the key behind a tag.
func tag(tag string) func(dst, key []byte) ([]byte, error) {
	return func(dst, key []byte) ([]byte, error) {
		if string(key) == "none" {
			return dst, errNone
		}
		return append(append(dst, tag...), key...), nil
	}
}

func tables(generation string) Tables {
	return Tables{tag(generation + "f:"), tag(generation + "r:"), tag(generation + "F:"), tag(generation + "R:")}
}

// A fixture is a server on real listeners, one for each direction.
type fixture struct {
	*Server
	addr map[Direction]net.Addr

	mu       sync.Mutex
	reported []error
}

// patience bounds whatever should happen at once.
const patience = 20 * time.Second

// start runs a server until the test's end, then checks that nothing is left
// of it: no goroutine, no file descriptor. With is called before it serves.
func start(t testing.TB, config Config, with func(*Server)) *fixture {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	t.Cleanup(func() {
		eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines && openFiles(t) <= files }, func() {
			stacks := make([]byte, 1<<20)
			t.Errorf("%d goroutines, %d files before, now %d and %d:\n%s", goroutines, files,
				runtime.NumGoroutine(), openFiles(t), stacks[:runtime.Stack(stacks, true)])
		})
	})

	f := &fixture{addr: make(map[Direction]net.Addr)}
	f.Server = New(config, func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.reported = append(f.reported, err)
	})
	if with != nil {
		with(f.Server)
	}
	for _, direction := range []Direction{Forward, Reverse, Socketmap} {
		f.listen(t, "tcp", "127.0.0.1:0", direction)
	}
	t.Cleanup(func() { f.stop(t) })
	return f
}

func (f *fixture) listen(t testing.TB, network, address string, direction Direction) net.Addr {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	if f.addr[direction] == nil {
		f.addr[direction] = ln.Addr()
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(ln, direction) }()
	t.Cleanup(func() {
		f.stop(t)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr()
}

func (f *fixture) stop(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func (f *fixture) reports() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]error(nil), f.reported...)
}

func openFiles(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// eventually polls for a condition and calls fail when patience ends.
func eventually(t testing.TB, condition func() bool, fail func()) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			fail()
			return
		}
	}
}

// A peer is a client on raw bytes. All it does is bounded by patience.
type peer struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func dial(t testing.TB, addr net.Addr) *peer {
	t.Helper()
	c, err := net.DialTimeout(addr.Network(), addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &peer{Conn: c, t: t, r: bufio.NewReader(c)}
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Errorf("sending %.60q: %v", s, err)
	}
}

func (p *peer) closeWrite() {
	p.t.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.t.Error(err)
	}
}

func (p *peer) expect(want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p.r, got); err != nil || string(got) != want {
		p.t.Errorf("got %.200q, %v, want %.200q", got[:n], err, want)
	}
}

// expectEnd checks that the server closed the connection, and in order.
func (p *peer) expectEnd() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.r); err != nil || len(rest) > 0 {
		p.t.Errorf("got %.200q, %v, want the end", rest, err)
	}
}

func (p *peer) ask(request, reply string) {
	p.t.Helper()
	p.send(request)
	p.expect(reply)
}

func TestProtocols(t *testing.T) {
	f := start(t, Config{Tables: tables("")}, nil)
	for _, test := range []struct {
		name           string
		direction      Direction
		request, reply string
	}{
		{"forward tcp_table", Forward, "get a@b\n", "200 f:a@b\n"},
		{"reverse tcp_table", Reverse, "get a@b\n", "200 r:a@b\n"},
		{"forward socketmap", Forward, "11:forward a@b,", "8:OK F:a@b,"},
		{"reverse socketmap", Reverse, "11:reverse a@b,", "8:OK R:a@b,"},
		{"reverse socketmap on forward", Forward, "11:reverse a@b,", "8:OK R:a@b,"},
		{"forward socketmap on reverse", Reverse, "11:forward a@b,", "8:OK F:a@b,"},
		{"forward on socketmap", Socketmap, "11:forward a@b,", "8:OK F:a@b,"},
		{"reverse on socketmap", Socketmap, "11:reverse a@b,", "8:OK R:a@b,"},
		{"not found", Forward, "get none\n", "500 Not an SRS address.\n"},
		{"not found, socketmap", Forward, "12:forward none,", "28:NOTFOUND Not an SRS address.,"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := dial(t, f.addr[test.direction])
			for range 3 {
				p.ask(test.request, test.reply)
			}
		})
	}
}

func TestClients(t *testing.T) {
	f := start(t, Config{Tables: tables("")}, nil)
	tcp := tcptable.NewClient(dial(t, f.addr[Reverse]))
	if got, err := tcp.Lookup("a b%"); got != "r:a b%" || err != nil {
		t.Errorf("tcp_table: %q, %v", got, err)
	}
	long := strings.Repeat("\x01", 1000)
	if got, err := tcp.Lookup(long); got != "r:"+long || err != nil {
		t.Errorf("tcp_table: %q, %v", got, err)
	}
	smap := socketmap.NewClient(dial(t, f.addr[Reverse]))
	if got, err := smap.Lookup("forward", "a b%"); got != "F:a b%" || err != nil {
		t.Errorf("socketmap: %q, %v", got, err)
	}
	if _, err := smap.Lookup("sideways", "a"); err == nil || err.Error() != "PERM Invalid map." {
		t.Errorf("socketmap: %v", err)
	}
}

func TestAddressFamilies(t *testing.T) {
	f := start(t, Config{Tables: tables("")}, nil)
	v6 := f.listen(t, "tcp", "[::1]:0", Forward)
	unix := f.listen(t, "unix", filepath.Join(t.TempDir(), "s"), Forward)
	for _, addr := range []net.Addr{f.addr[Forward], v6, unix} {
		p := dial(t, addr)
		p.ask("get a\n", "200 f:a\n")
		p.send("get b")
		p.closeWrite()
		p.expect("200 f:b\n")
		p.expectEnd()
		p = dial(t, addr)
		p.ask("100001:"+strings.Repeat("x", 100001), "19:PERM Invalid query.,")
		p.expectEnd()
	}
}

// Open connections see what is swapped in with their next request, and never
// fall back.
func TestSwap(t *testing.T) {
	f := start(t, Config{Tables: tables("1")}, nil)
	p, q := dial(t, f.addr[Forward]), dial(t, f.addr[Reverse])
	p.ask("get a\n", "200 1f:a\n")
	q.ask("9:forward a,", "7:OK 1F:a,")
	f.Swap(Config{Tables: tables("2")})
	p.ask("get a\n", "200 2f:a\n")
	q.ask("9:forward a,", "7:OK 2F:a,")

	var asking sync.WaitGroup
	for range 8 {
		p := dial(t, f.addr[Forward])
		asking.Go(func() {
			for last := byte('2'); last != '9'; {
				p.send("get a\n")
				line, err := p.r.ReadString('\n')
				if err != nil || len(line) != len("200 9f:a\n") || line[4] < last {
					t.Errorf("after generation %c: %q, %v", last, line, err)
					return
				}
				last = line[4]
			}
		})
	}
	for _, generation := range "3456789" {
		f.Swap(Config{Tables: tables(string(generation))})
		runtime.Gosched()
	}
	asking.Wait()
}

// Over the limit newcomers are neither served nor refused, one listener's
// queue does not stand in another's way, and whoever ends makes room.
func TestMaxConns(t *testing.T) {
	f := start(t, Config{Tables: tables(""), MaxConns: 2}, nil)
	a, b := dial(t, f.addr[Forward]), dial(t, f.addr[Reverse])
	a.ask("get a\n", "200 f:a\n")
	b.ask("get a\n", "200 r:a\n")

	var forward, reverse []*peer
	for range 3 {
		forward = append(forward, dial(t, f.addr[Forward]))
		reverse = append(reverse, dial(t, f.addr[Reverse]))
	}
	for _, p := range append(forward, reverse...) {
		p.send("get b\n")
	}
	waits := func(waiting, open int) {
		t.Helper()
		eventually(t, func() bool { return f.Waiting() == waiting && f.Open() == open },
			func() { t.Errorf("%d wait, %d are open", f.Waiting(), f.Open()) })
	}
	waits(2, 2)
	a.ask("get c\n", "200 f:c\n")

	a.Close()
	b.Close()
	forward[0].expect("200 f:b\n")
	reverse[0].expect("200 r:b\n")
	waits(2, 2)

	f.Swap(Config{Tables: tables(""), MaxConns: 4})
	forward[1].expect("200 f:b\n")
	reverse[1].expect("200 r:b\n")
	waits(2, 4)

	f.Swap(Config{Tables: tables(""), MaxConns: 1})
	forward[0].ask("get d\n", "200 f:d\n")
	f.Swap(Config{Tables: tables("")})
	forward[2].expect("200 f:b\n")
	reverse[2].expect("200 r:b\n")
	waits(0, 6)

	if got := f.reports(); len(got) != 1 || !errors.Is(got[0], ErrFull) || !strings.HasSuffix(got[0].Error(), ": 2 are open") {
		t.Errorf("reported %v", got)
	}
}

func TestMaxRequest(t *testing.T) {
	f := start(t, Config{Tables: tables(""), MaxRequest: 20}, nil)
	p := dial(t, f.addr[Forward])
	p.ask("get 1234567890123456\n", "200 f:1234567890123456\n")
	p.ask("get 12345678901234567\n", "500 Invalid request\n")
	p.expectEnd()
	p = dial(t, f.addr[Forward])
	p.ask("20:forward 123456789012,", "17:OK F:123456789012,")
	p.ask("21:forward 1234567890123,", "17:NOTFOUND Too big.,")
	p.ask("9:forward a,", "6:OK F:a,")
}

// A listener that somebody else closes ends its Serve, and only that.
func TestListenerClosed(t *testing.T) {
	f := start(t, Config{Tables: tables("")}, nil)
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(struct{ net.Listener }{ln}, Forward) }()
	dial(t, ln.Addr()).ask("get a\n", "200 f:a\n")
	ln.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	dial(t, f.addr[Forward]).ask("get a\n", "200 f:a\n")
}
