package supervisor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const sampleLine = "srs_forward: <alice@example.org> rewritten as <SRS0=abcd=ef=example.org=alice@example.com>"

// soon is for what will certainly be done by then; late, for what the test
// waits until it has happened.
func soon() time.Time { return time.Now().Add(50 * time.Millisecond) }
func late() time.Time { return time.Now().Add(20 * time.Second) }

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := late(); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// ended fails the test while the goroutine that writes is still there.
func ended(t *testing.T, b *logBuffer) {
	t.Helper()
	select {
	case <-b.done:
	default:
		t.Error("the writer's goroutine is left over")
	}
}

// pipe is a real one: it holds 64 KiB and then makes the writer wait.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return r, w
}

var lostLine = regexp.MustCompile(`^(?:<4>)?(\d+) log lines were lost`)

// count returns how many lines arrived, and how many were said to be lost.
func count(lines []string) (arrived, lost int) {
	for _, l := range lines {
		if m := lostLine.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			lost += n
			continue
		}
		arrived++
	}
	return arrived, lost
}

func TestLogBufferWrites(t *testing.T) {
	long := strings.Repeat("x", maxLogLine)
	for _, test := range []struct {
		severity int
		text     string
		want     string
	}{
		{0, "emergency", "<0>emergency"},
		{7, "debug", "<7>debug"},
		{sevInfo, "", "<6>"},
		{sevInfo, "a\tb\r\nc\x00d\x1be\x7ff", "<6>a?b??c?d?e?f"},
		{sevInfo, "<3>no severity", "<6><3>no severity"},
		{sevInfo, "b\xc3\xbccher \xff", "<6>b\xc3\xbccher \xff"},
		{sevInfo, long, "<6>" + long},
		{sevInfo, long + "cut", "<6>" + long},
		{sevInfo, long[1:] + "\n\n", "<6>" + long[1:] + "?"},
	} {
		var out bytes.Buffer
		b := newLogBuffer(&out, 1<<20)
		b.Log(test.severity, []byte(test.text))
		if lost := b.Close(late()); lost != 0 || out.String() != test.want+"\n" {
			t.Errorf("%d %q: wrote %q, lost %d; want %q", test.severity, test.text, out.String(), lost, test.want)
		}
		b.Log(sevInfo, []byte("too late"))
		if out.String() != test.want+"\n" {
			t.Errorf("written after Close: %q", out.String())
		}
		ended(t, b)
	}
}

func TestLogf(t *testing.T) {
	var out bytes.Buffer
	b := newLogBuffer(&out, 1<<20)
	b.Logf(sevErr, "port %d: %v", 10001, errors.New("taken\nalready"))
	b.Close(late())
	if want := "<3>port 10001: taken?already\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// A line that nothing follows is not kept back.
func TestLogBufferWritesALoneLine(t *testing.T) {
	r, w := pipe(t)
	b := newLogBuffer(w, 1<<20)
	defer b.Close(soon())
	r.SetReadDeadline(late())
	in := bufio.NewReader(r)
	for i := range 3 {
		b.Logf(sevInfo, "line %d", i)
		if got, err := in.ReadString('\n'); err != nil || got != fmt.Sprintf("<6>line %d\n", i) {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestLogBufferFromManyGoroutines(t *testing.T) {
	const goroutines, each = 16, 2000
	r, w := pipe(t)
	read := make(chan []string)
	go func() {
		all, _ := io.ReadAll(r)
		read <- strings.Split(strings.TrimSuffix(string(all), "\n"), "\n")
	}()
	b := newLogBuffer(w, 64<<20)
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := range each {
				b.Logf(sevInfo, "%d %d end", g, i)
			}
		})
	}
	all.Wait()
	if lost := b.Close(late()); lost != 0 {
		t.Errorf("lost %d", lost)
	}
	ended(t, b)
	w.Close()
	next := make([]int, goroutines)
	for _, line := range <-read {
		var g, i int
		if n, err := fmt.Sscanf(line, "<6>%d %d end", &g, &i); n != 2 || err != nil {
			t.Fatalf("broken line %q", line)
		}
		if next[g] != i {
			t.Fatalf("goroutine %d: line %d came when %d was due", g, i, next[g])
		}
		next[g]++
	}
	for g, n := range next {
		if n != each {
			t.Errorf("goroutine %d: %d lines", g, n)
		}
	}
}

// Nobody reads: Log goes on, and every line is accounted for when somebody does.
func TestLogBufferPipeNotRead(t *testing.T) {
	const total, limit = 20000, 100_000
	r, w := pipe(t)
	b := newLogBuffer(w, limit)
	for range total {
		b.Log(sevInfo, []byte(sampleLine))
	}
	b.mu.Lock()
	kept := len(b.gathers)
	b.mu.Unlock()
	if kept > limit {
		t.Errorf("%d bytes kept", kept)
	}

	read := make(chan []string)
	go func() {
		all, _ := io.ReadAll(r)
		read <- strings.Split(strings.TrimSuffix(string(all), "\n"), "\n")
	}()
	eventually(t, "the buffer runs empty", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.idle
	})
	b.Log(sevInfo, []byte(sampleLine)) // what gets through tells of what did not
	untold := b.Close(late())
	ended(t, b)
	w.Close()
	arrived, told := count(<-read)
	if untold != 0 || told < total/2 || arrived+told != total+1 { // there is room for the pipe's 64 KiB, a batch at hand and what gathers
		t.Errorf("%d arrived, %d told lost, %d untold, of %d", arrived, told, untold, total+1)
	}
	if ever := b.Lost(); ever != uint64(told) {
		t.Errorf("%d lost ever, %d told", ever, told)
	}
}

func TestLogBufferClosePipeNotRead(t *testing.T) {
	const total = 20000
	r, w := pipe(t)
	b := newLogBuffer(w, 100_000)
	for range total {
		b.Log(sevInfo, []byte(sampleLine))
	}
	untold := b.Close(soon())
	ended(t, b)
	w.Close()
	all, _ := io.ReadAll(r)
	lines := strings.Split(string(all), "\n")
	arrived, told := count(lines[:len(lines)-1]) // the last is empty or unfinished
	if arrived+told+untold != total {
		t.Errorf("%d arrived, %d told lost, %d untold, of %d", arrived, told, untold, total)
	}
}

// A write that cannot be ended does not hold up Close.
func TestLogBufferCloseHungWriter(t *testing.T) {
	w := &slowWriter{release: make(chan struct{})}
	b := newLogBuffer(w, 1<<20)
	b.Log(sevInfo, []byte("one"))
	eventually(t, "the write begins", func() bool { return len(w.got()) == 1 })
	b.Log(sevInfo, []byte("two"))
	if lost := b.Close(soon()); lost != 2 {
		t.Errorf("lost %d, want 2", lost)
	}
	close(w.release)
	<-b.done
}

// slowWriter keeps every write and returns from none before it is released.
type slowWriter struct {
	release chan struct{}
	fail    int // how many writes fail

	mu     sync.Mutex
	writes []string
}

func (w *slowWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.writes = append(w.writes, string(p))
	fail := len(w.writes) <= w.fail
	w.mu.Unlock()
	<-w.release
	if fail {
		return 0, errors.New("failed")
	}
	return len(p), nil
}

func (w *slowWriter) got() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writes
}

// What comes during a write goes out in one.
func TestLogBufferGathers(t *testing.T) {
	w := &slowWriter{release: make(chan struct{})}
	b := newLogBuffer(w, 1<<20)
	b.Log(sevInfo, []byte("first"))
	eventually(t, "the write begins", func() bool { return len(w.got()) == 1 })
	for range 1000 {
		b.Log(sevInfo, []byte("more"))
	}
	close(w.release)
	b.Close(late())
	if got := w.got(); len(got) != 2 || got[0] != "<6>first\n" || got[1] != strings.Repeat("<6>more\n", 1000) {
		t.Errorf("%d writes: %.200q", len(got), got)
	}
}

func TestLogBufferTellsOfFailedWrites(t *testing.T) {
	w := &slowWriter{release: make(chan struct{}), fail: 1}
	b := newLogBuffer(w, 1<<20)
	b.Log(sevInfo, []byte("one"))
	eventually(t, "the write begins", func() bool { return len(w.got()) == 1 })
	close(w.release)
	b.Log(sevInfo, []byte("two"))
	if lost := b.Close(late()); lost != 0 {
		t.Errorf("lost %d", lost)
	}
	got := w.got()
	if len(got) != 2 || !strings.HasPrefix(got[1], "<6>two\n<4>1 log lines were lost") {
		t.Errorf("%q", got)
	}
}

func TestLogAllocatesNothing(t *testing.T) {
	b := newLogBuffer(io.Discard, 1<<20)
	defer b.Close(late())
	line := []byte(sampleLine)
	for range 100_000 { // until the buffers have grown
		b.Log(sevInfo, line)
	}
	if n := testing.AllocsPerRun(10_000, func() { b.Log(sevInfo, line) }); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
}

// The cost of a line to who logs it, with the reading end of the pipe kept empty.
func BenchmarkLog(b *testing.B) {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	go io.Copy(io.Discard, onlyReader{r})
	log := newLogBuffer(w, 1<<20)
	line := []byte(sampleLine)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			log.Log(sevInfo, line)
		}
	})
	b.StopTimer()
	log.mu.Lock()
	lost := log.lost
	log.mu.Unlock()
	b.ReportMetric(float64(lost)/float64(b.N), "lost/op")
	log.Close(late())
	w.Close()
}

type onlyReader struct{ io.Reader }
