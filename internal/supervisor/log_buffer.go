package supervisor

import (
	"bytes"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"
)

// Severities of syslog(3) that the daemon uses.
const (
	sevCrit    = 2
	sevErr     = 3
	sevWarning = 4
	sevNotice  = 5
	sevInfo    = 6
)

const (
	// maxLogLine is how many bytes of a line's text are kept. The longest line
	// about a lookup that succeeded holds two addresses of 1023.
	maxLogLine = 4096

	// gather is how long lines are collected after a write before the next: a
	// lone line is written at once, a flood in few large writes.
	gather = 5 * time.Millisecond

	// keepRoom is how many bytes of room are kept while there is nothing to write.
	keepRoom = 256 << 10
)

// logBuffer takes log lines from any number of goroutines without ever making
// one wait, and writes them from a goroutine of its own, many in one write.
// What a writer that is too slow leaves no room for is dropped and counted, and
// the next line that gets through says how many were lost.
//
// Lines are written as "<N>text\n", N the severity as one digit: what
// sd-daemon(3) expects on standard error, and what relay reads.
type logBuffer struct {
	w     io.Writer
	limit int

	mu      sync.Mutex
	gathers []byte // lines waiting for the writer
	inHand  []byte // lines the writer is at
	told    int    // lost lines that the last line of inHand tells of; 0: it is an ordinary line
	lost    int    // lost lines that nobody has been told of
	ever    uint64 // lost lines, of which has been told or not
	idle    bool   // the writer waits for a first line
	closed  bool

	wake chan struct{} // a first line, half a buffer full, or Close
	done chan struct{} // the writer has ended
}

// newLogBuffer starts writing to w what Log is given, and holds at most limit
// bytes of it (the writer has up to as many in hand). The caller keeps w, and
// closes it after Close.
//
// For Close to be able to end a write that hangs, w needs the method
// SetWriteDeadline of net.Conn: an *os.File has it when its descriptor was in
// non-blocking mode when the file was made.
func newLogBuffer(w io.Writer, limit int) *logBuffer {
	return startLog(w, limit, func() {})
}

// startLog is newLogBuffer with something to do after the last write.
func startLog(w io.Writer, limit int, end func()) *logBuffer {
	b := &logBuffer{w: w, limit: limit, idle: true, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(b.done)
		defer end()
		b.run()
	}()
	return b
}

// deadliner is the part of net.Conn and *os.File that ends a write that hangs.
type deadliner interface {
	SetWriteDeadline(time.Time) error
}

// Log takes in one line of text, without a newline, at a severity of 0
// (emergency) to 7 (debug), and never waits for it to be written. It copies the
// text; control characters become '?', and what is beyond maxLogLine is cut
// off. After Close it does nothing.
func (b *logBuffer) Log(severity int, text []byte) {
	if len(text) > maxLogLine {
		text = text[:maxLogLine]
	}
	clean := printable(text) // outside the lock, as almost every line is
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	if len(b.gathers)+len(text)+len("<N>\n") > b.limit {
		b.lost++
		b.ever++
		b.mu.Unlock()
		return
	}
	before := len(b.gathers)
	b.gathers = append(b.gathers, '<', '0'+byte(severity&7), '>')
	b.gathers = append(b.gathers, text...)
	if !clean {
		sanitize(b.gathers[before+len("<N>"):])
	}
	b.gathers = append(b.gathers, '\n')
	wake := b.idle || before < b.limit/2 && len(b.gathers) >= b.limit/2
	b.idle = false
	b.mu.Unlock()
	if wake {
		b.rouse()
	}
}

// Logf is Log for text that is put together with fmt.
func (b *logBuffer) Logf(severity int, format string, args ...any) {
	b.Log(severity, fmt.Appendf(nil, format, args...))
}

// Close takes in no more lines, writes what is there until the deadline, and
// returns how many lines were lost without anyone having been told. Where w has
// no SetWriteDeadline, a write that hangs outlives it.
func (b *logBuffer) Close(deadline time.Time) (lost int) {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	if w, ok := b.w.(deadliner); ok {
		w.SetWriteDeadline(deadline)
		defer w.SetWriteDeadline(time.Time{}) // others may go on with it, as with standard error
	}
	b.rouse()
	timeout := time.NewTimer(time.Until(deadline) + closeGrace)
	defer timeout.Stop()
	select {
	case <-b.done:
	case <-timeout.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.losing(b.inHand)
	return b.lost + bytes.Count(b.gathers, newline)
}

// Lost returns how many lines have been lost so far.
func (b *logBuffer) Lost() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ever
}

// closeGrace is for a writer that was told to end at the deadline to do so.
const closeGrace = 100 * time.Millisecond

var newline = []byte{'\n'}

func (b *logBuffer) rouse() {
	select {
	case b.wake <- struct{}{}:
	default: // roused already
	}
}

// run is the writer.
func (b *logBuffer) run() {
	pause := time.NewTimer(gather)
	for {
		batch, last := b.take()
		if len(batch) == 0 {
			if last {
				return
			}
			b.shrink()
			<-b.wake
			continue
		}
		n, err := b.w.Write(batch)
		b.mu.Lock()
		if err != nil {
			b.losing(batch[n:])
		}
		b.inHand, b.told = batch[:0], 0
		b.mu.Unlock()
		if last {
			continue
		}
		pause.Reset(gather)
		select {
		case <-pause.C:
		case <-b.wake:
		}
	}
}

// take gives the writer what has gathered since the last time, and tells
// whether nothing will follow.
func (b *logBuffer) take() (batch []byte, last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inHand, b.gathers = b.gathers, b.inHand[:0]
	if len(b.inHand) > 0 && b.lost > 0 {
		b.inHand = fmt.Appendf(b.inHand, "<%d>%d log lines were lost: they came faster than they could be written\n", sevWarning, b.lost)
		b.told, b.lost = b.lost, 0
	}
	b.idle = len(b.inHand) == 0
	return b.inHand, b.closed
}

// shrink gives back to the system what a flood of lines needed. It is called
// when there is nothing to write.
func (b *logBuffer) shrink() {
	b.mu.Lock()
	large := cap(b.inHand)+cap(b.gathers) > keepRoom && len(b.gathers) == 0
	if large {
		b.inHand, b.gathers = nil, nil
	}
	b.mu.Unlock()
	if large {
		debug.FreeOSMemory()
	}
}

// losing counts the end of inHand that was not written.
func (b *logBuffer) losing(unwritten []byte) {
	lines := bytes.Count(unwritten, newline)
	if lines == 0 {
		return
	}
	if b.told > 0 {
		lines-- // the last tells of lines that were counted
	}
	b.lost += b.told + lines
	b.ever += uint64(lines)
}

// printable tells whether text holds no ASCII control character. Bytes above 127 pass.
func printable(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func sanitize(text []byte) {
	for i, c := range text {
		if c < ' ' || c == 0x7f {
			text[i] = '?'
		}
	}
}
