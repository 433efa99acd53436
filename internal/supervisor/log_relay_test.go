package supervisor

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCopyLines(t *testing.T) {
	long := strings.Repeat("y", maxLogLine+3)
	endless := strings.Repeat("z", 300_000)
	for _, test := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"own lines", "<6>a\n<4>b c\n<0>\n<7>d\n", []string{"6 a", "4 b c", "0 ", "7 d"}},
		{"a crash", "panic: x\n\ngoroutine 1 [running]:\n\tmain.go:1 +0x1d\n", []string{"2 panic: x", "2 ", "2 goroutine 1 [running]:", "2 \tmain.go:1 +0x1d"}},
		{"no severity", "<8>a\n<>b\n<66>c\n<6\n<\n<a>d\n 6>e\n", []string{"2 <8>a", "2 <>b", "2 <66>c", "2 <6", "2 <", "2 <a>d", "2  6>e"}},
		{"unfinished", "<6>a\n<6>b", []string{"6 a", "6 b"}},
		{"severity alone", "<6>", []string{"6 "}},
		{"twice", "<6><3>a\n", []string{"6 <3>a"}},
		{"NUL", "<6>a\x00b\n", []string{"6 a\x00b"}},
		{"long", "<6>" + long + "\n<6>b\n", []string{"6 " + long, "6 b"}},
		{"too long", "<6>a\n" + endless + "\n<6>b\n", []string{"6 a", "2 " + endless, "6 b"}},
		{"too long and unfinished", "<5>" + endless, []string{"5 " + endless}},
	} {
		for _, reader := range []struct {
			name string
			wrap func(io.Reader) io.Reader
		}{
			{"at once", func(r io.Reader) io.Reader { return r }},
			{"by bytes", iotest.OneByteReader},
			{"by halves", iotest.HalfReader},
			{"end with the data", iotest.DataErrReader},
			{"failing", func(r io.Reader) io.Reader { return io.MultiReader(r, iotest.ErrReader(io.ErrClosedPipe)) }},
		} {
			var got []string
			copyLines(reader.wrap(strings.NewReader(test.in)), func(severity int, text []byte) {
				got = append(got, fmt.Sprintf("%d %.*s", severity, maxLogLine, text)) // as Log cuts it
			})
			var want []string
			for _, w := range test.want {
				want = append(want, fmt.Sprintf("%.*s", maxLogLine+2, w))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s:\n%.200q, want\n%.200q", test.name, reader.name, got, want)
			}
		}
	}
}

// From a worker's buffer over a pipe into the supervisor's: nothing is lost,
// and all ends with the worker.
func TestRelay(t *testing.T) {
	r, w := pipe(t)
	var out strings.Builder
	to := newLogBuffer(&out, 64<<20)
	relay := newRelay(r, to)
	from := newLogBuffer(w, 64<<20)
	var want strings.Builder
	for i := range 20_000 {
		from.Logf(sevInfo, "line %d", i)
		fmt.Fprintf(&want, "<6>line %d\n", i)
	}
	if lost := from.Close(late()); lost != 0 {
		t.Errorf("lost %d", lost)
	}
	fmt.Fprintf(w, "panic: no more\n")
	want.WriteString("<2>panic: no more\n")
	w.Close()
	relay.Close(late())
	if lost := to.Close(late()); lost != 0 || out.String() != want.String() {
		t.Errorf("lost %d, %d bytes, want %d", lost, out.Len(), want.Len())
	}
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("the pipe is left open")
	}
}

// Somebody else holds the other end: Close does not wait for ever, and leaves nothing behind.
func TestRelayCloseWithoutEnd(t *testing.T) {
	r, w := pipe(t)
	out := &slowWriter{release: make(chan struct{})}
	close(out.release)
	to := newLogBuffer(out, 1<<20)
	relay := newRelay(r, to)
	fmt.Fprint(w, "<6>a\n<6>unfinished")
	eventually(t, "the line arrives", func() bool { return len(out.got()) > 0 })
	relay.Close(soon())
	to.Close(late())
	if got, want := strings.Join(out.got(), ""), "<6>a\n<6>unfinished\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A worker that writes without end fills no memory and holds up nobody else's lines.
func TestRelayFlood(t *testing.T) {
	r, w := pipe(t)
	sink := &slowWriter{release: make(chan struct{})}
	to := newLogBuffer(sink, 100_000)
	relay := newRelay(r, to)
	flood := []byte(strings.Repeat("<6>"+sampleLine+"\n", 100))
	for range 200 {
		if _, err := w.Write(flood); err != nil { // as fast as the relay takes it: the sink takes nothing
			t.Fatal(err)
		}
	}
	w.Close()
	relay.Close(late())
	close(sink.release)
	untold := to.Close(late())
	arrived, told := count(strings.Split(strings.TrimSuffix(strings.Join(sink.got(), ""), "\n"), "\n"))
	if arrived+told+untold != 20_000 || told == 0 {
		t.Errorf("%d arrived, %d told lost, %d untold", arrived, told, untold)
	}
}
