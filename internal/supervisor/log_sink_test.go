package supervisor

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func noon() time.Time { return time.Date(2024, 2, 3, 12, 0, 5, 0, time.Local) }

const noonTag = "Feb  3 12:00:05 postsrsd[123]: "

// syslogd listens on a real socket, reads only while it is told to, and can end and begin again.
type syslogd struct {
	t    *testing.T
	path string
	conn *net.UnixConn

	mu    sync.Mutex
	lines []string
}

func startSyslogd(t *testing.T, path string) *syslogd {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	d := &syslogd{t: t, path: path, conn: conn}
	t.Cleanup(d.stop)
	return d
}

func (d *syslogd) read() {
	go func() {
		buf := make([]byte, 16<<10)
		for {
			n, err := d.conn.Read(buf)
			if err != nil {
				return
			}
			d.mu.Lock()
			d.lines = append(d.lines, string(buf[:n]))
			d.mu.Unlock()
		}
	}()
}

func (d *syslogd) stop() {
	d.conn.Close()
	os.Remove(d.path)
}

func (d *syslogd) got() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// syslogTo opens a log to the socket path.
func syslogTo(t *testing.T, path string, limit int, stderr *bytes.Buffer) *logBuffer {
	t.Helper()
	was := syslogSockets
	syslogSockets = []string{filepath.Join(t.TempDir(), "none"), path}
	defer func() { syslogSockets = was }()
	return newSink(logSyslog, limit, stderr, 123, noon)
}

func TestSyslogFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := startSyslogd(t, path)
	d.read()
	var stderr bytes.Buffer
	b := syslogTo(t, path, 1<<20, &stderr)
	var want []string
	for severity := range 8 {
		b.Logf(severity, "severity %d: 100%% <a@b>\n", severity)
		want = append(want, fmt.Sprintf("<%d>%sseverity %d: 100%% <a@b>?", 16+severity, noonTag, severity))
	}
	long := strings.Repeat("x", maxLogLine)
	b.Logf(sevInfo, "%s", long)
	want = append(want, "<22>"+noonTag+long)
	for i := range 3 * maxDatagrams {
		b.Logf(sevInfo, "%d", i)
		want = append(want, fmt.Sprintf("<22>%s%d", noonTag, i))
	}
	if lost := b.Close(late()); lost != 0 || stderr.Len() != 0 {
		t.Errorf("lost %d, said %q", lost, stderr.String())
	}
	ended(t, b)
	eventually(t, "all are read", func() bool { return len(d.got()) == len(want) })
	if got := d.got(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSyslogStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var stderr bytes.Buffer
	b := syslogTo(t, path, 1<<20, &stderr)
	b.Log(sevInfo, []byte("one"))
	b.Log(sevErr, []byte("two"))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if lost := b.Close(late()); lost != 0 || stderr.Len() != 0 {
		t.Errorf("lost %d, said %q", lost, stderr.String())
	}
	var got bytes.Buffer
	got.ReadFrom(conn)
	if want := "<22>" + noonTag + "one\x00<19>" + noonTag + "two\x00"; got.String() != want {
		t.Errorf("%q, want %q", got.String(), want)
	}
}

// A message that the socket finds too long is shortened until it fits.
func TestSyslogShortens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := startSyslogd(t, path)
	d.read()
	s := newSyslogWriter([]string{path}, "", noon)
	if err := s.connect(); err != nil {
		t.Fatal(err)
	}
	defer s.disconnect()
	if err := s.conn.SetWriteBuffer(1); err != nil { // the kernel's least is some 4600
		t.Fatal(err)
	}
	long := []byte(strings.Repeat("x", 14_000) + "\x00")
	sent, err := s.send([][]byte{[]byte("before\x00"), long, []byte("after\x00")})
	if sent != 3 || err != nil {
		t.Fatal(sent, err)
	}
	eventually(t, "all are read", func() bool { return len(d.got()) == 3 })
	if got := d.got(); got[0] != "before" || len(got[1]) < 1023 || len(got[1]) > 7000 || strings.Trim(got[1], "x") != "" || got[2] != "after" {
		t.Errorf("%.100q, lengths %d %d %d", got, len(got[0]), len(got[1]), len(got[2]))
	}
}

// Nobody reads the socket: Log goes on, every line is accounted for, and Close
// keeps to its deadline.
func TestSyslogNotRead(t *testing.T) {
	const total = 20_000
	path := filepath.Join(t.TempDir(), "log")
	d := startSyslogd(t, path)
	var stderr bytes.Buffer
	b := syslogTo(t, path, 100_000, &stderr)
	for range total {
		b.Log(sevInfo, []byte(sampleLine))
	}
	untold := b.Close(soon())
	ended(t, b)
	d.read()
	eventually(t, "all are accounted for", func() bool {
		arrived, told := 0, 0
		for _, line := range d.got() {
			a, l := count([]string{strings.TrimPrefix(line, "<20>"+noonTag)})
			arrived, told = arrived+a, told+l
		}
		return arrived > 0 && arrived+told+untold == total
	})
}

// It is not read, then it is: what was lost is told.
func TestSyslogReadLate(t *testing.T) {
	const total = 20_000
	path := filepath.Join(t.TempDir(), "log")
	d := startSyslogd(t, path)
	var stderr bytes.Buffer
	b := syslogTo(t, path, 100_000, &stderr)
	for range total {
		b.Log(sevInfo, []byte(sampleLine))
	}
	d.read()
	if untold := b.Close(late()); untold != 0 {
		t.Errorf("%d untold", untold)
	}
	eventually(t, "all are accounted for", func() bool {
		arrived, told := 0, 0
		for _, line := range d.got() {
			a, l := count([]string{strings.TrimPrefix(line, "<20>"+noonTag)})
			arrived, told = arrived+a, told+l
		}
		return told > 0 && arrived+told == total
	})
}

// The daemon is restarted, with and without a gap, and with its socket full:
// what it had not yet been given comes to the new one.
func TestSyslogRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := startSyslogd(t, path)
	d.read()
	var stderr bytes.Buffer
	b := syslogTo(t, path, 1<<20, &stderr)
	defer b.Close(late())
	expect := func(first, last int) {
		t.Helper()
		eventually(t, fmt.Sprintf("lines %d to %d arrive", first, last), func() bool { return len(d.got()) >= last-first+1 })
		for i, line := range d.got() {
			if want := fmt.Sprintf("<22>%sline %d", noonTag, first+i); line != want {
				t.Fatalf("%q, want %q", line, want)
			}
		}
	}
	logLines := func(first, last int) {
		for i := first; i <= last; i++ {
			b.Logf(sevInfo, "line %d", i)
		}
	}

	logLines(1, 100)
	expect(1, 100)

	d.stop() // another is there at once
	d = startSyslogd(t, path)
	d.read()
	logLines(101, 200)
	expect(101, 200)

	d.stop() // there is none for a while
	logLines(201, 300)
	eventually(t, "the writer is at it", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.inHand) > 0
	})
	d = startSyslogd(t, path)
	d.read()
	expect(201, 300)

	d.stop() // it hangs, with its socket full, and is replaced by another
	d = startSyslogd(t, path)
	logLines(301, 2000)
	eventually(t, "the socket is full", func() bool {
		probe, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer probe.Close()
		full := false
		raw, err := probe.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			full = syscall.Sendto(int(fd), nil, syscall.MSG_DONTWAIT, nil) == syscall.EAGAIN
		})
		return full
	})
	d.stop()
	d = startSyslogd(t, path)
	d.read()
	eventually(t, "the last line arrives", func() bool {
		got := d.got()
		return len(got) > 0 && strings.HasSuffix(got[len(got)-1], "line 2000")
	})
	got := d.got() // what the one that hung had been given went with it, nothing else
	var first int
	fmt.Sscanf(strings.TrimPrefix(got[0], "<22>"+noonTag), "line %d", &first)
	if first < 301 || first > 301+1024 || len(got) != 2000-first+1 {
		t.Errorf("%d lines from %q on", len(got), got[0])
	}
	if stderr.Len() != 0 {
		t.Errorf("said %q", stderr.String())
	}
}

// Without a daemon the log says so once and goes on; when one comes it is given what waits.
func TestSyslogAbsent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var stderr bytes.Buffer
	b := syslogTo(t, path, 1<<20, &stderr)
	if got := stderr.String(); !regexp.MustCompile(`^postsrsd: no syslog daemon answers.*no such file or directory\n$`).MatchString(got) {
		t.Errorf("said %q", got)
	}
	b.Log(sevInfo, []byte("one"))
	b.Log(sevInfo, []byte("two"))
	eventually(t, "the writer is at it", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.inHand) > 0
	})
	d := startSyslogd(t, path)
	d.read()
	eventually(t, "both arrive", func() bool { return len(d.got()) == 2 })
	b.Close(late())
	if got := stderr.String(); strings.Count(got, "\n") != 1 {
		t.Errorf("said %q", got)
	}
}

// Where there is no daemon to wait for, Close does not wait until its deadline.
func TestSyslogAbsentClose(t *testing.T) {
	var stderr bytes.Buffer
	b := syslogTo(t, filepath.Join(t.TempDir(), "log"), 1<<20, &stderr)
	for range 1000 {
		b.Log(sevInfo, []byte(sampleLine))
	}
	begin := time.Now()
	if lost := b.Close(begin.Add(time.Hour)); lost != 1000 {
		t.Errorf("lost %d", lost)
	}
	ended(t, b)
}

func TestStderrSinks(t *testing.T) {
	for _, test := range []struct {
		target logTarget
		want   string
	}{
		{logPlain, "one\n<two>\n\n"},
		{logPrefixed, "<6>one\n<3><two>\n<2>\n"},
	} {
		r, w := pipe(t)
		b := newSink(test.target, 1<<20, w, 123, noon)
		b.Log(sevInfo, []byte("one"))
		b.Log(sevErr, []byte("<two>"))
		b.Log(sevCrit, nil)
		if lost := b.Close(late()); lost != 0 {
			t.Errorf("lost %d", lost)
		}
		if _, err := fmt.Fprintln(w, "still open"); err != nil {
			t.Error(err)
		}
		w.Close()
		var got bytes.Buffer
		got.ReadFrom(r)
		if got.String() != test.want+"still open\n" {
			t.Errorf("%v: %q, want %q", test.target, got.String(), test.want)
		}
	}
}

func TestStderrSinkNotRead(t *testing.T) {
	const total = 20_000
	for _, target := range []logTarget{logPlain, logPrefixed} {
		r, w := pipe(t)
		b := newSink(target, 100_000, w, 123, noon)
		for range total {
			b.Log(sevInfo, []byte(sampleLine))
		}
		untold := b.Close(soon())
		ended(t, b)
		var all bytes.Buffer
		read := make(chan bool)
		go func() {
			all.ReadFrom(r)
			close(read)
		}()
		if _, err := w.Write(make([]byte, 200_000)); err != nil { // others may go on with it, without a deadline
			t.Error(err)
		}
		w.Close()
		<-read
		lines := strings.Split(strings.TrimRight(all.String(), "\x00"), "\n")
		arrived, told := count(lines[:len(lines)-1])
		if arrived == 0 || arrived+told+untold != total {
			t.Errorf("%v: %d arrived, %d told lost, %d untold, of %d", target, arrived, told, untold, total)
		}
	}
}

func TestIsJournal(t *testing.T) {
	r, _ := pipe(t)
	var st syscall.Stat_t
	if err := syscall.Fstat(int(r.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		journalStream string
		want          bool
	}{
		{fmt.Sprintf("%d:%d", st.Dev, st.Ino), true},
		{fmt.Sprintf("%d:%d", st.Dev, st.Ino+1), false},
		{fmt.Sprintf("%d:%d", st.Dev+1, st.Ino), false},
		{fmt.Sprintf("%d", st.Dev), false},
		{"", false},
		{":", false},
		{"-1:-1", false},
	} {
		if got := isJournal(r, test.journalStream); got != test.want {
			t.Errorf("%q: %v", test.journalStream, got)
		}
	}
}
