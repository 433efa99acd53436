package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// logTarget is where the log goes.
type logTarget int

const (
	logPlain    logTarget = iota // standard error, bare lines
	logPrefixed                  // standard error, "<N>" in front of every line, for a service manager
	logSyslog                    // the syslog daemon, facility mail
)

// newSink opens the log. Lines given to it are written by a goroutine of its
// own, see logBuffer; limit bounds in bytes what waits when the target is slow
// or away. stderr is standard error, pid what syslog lines carry in their tag,
// and now the clock for their time stamps.
//
// A syslog daemon that is not there is no error: it is told on stderr once, and
// tried again as long as there is something to log.
func newSink(target logTarget, limit int, stderr io.Writer, pid int, now func() time.Time) *logBuffer {
	switch target {
	case logSyslog:
		s := newSyslogWriter(syslogSockets, fmt.Sprintf("postsrsd[%d]: ", pid), now)
		if err := s.connect(); err != nil {
			fmt.Fprintf(stderr, "postsrsd: no syslog daemon answers, the log waits for one (--log=stderr shows it here): %v\n", err)
		}
		return startLog(s, limit, s.disconnect)
	case logPrefixed:
		return newLogBuffer(stderr, limit)
	default:
		return newLogBuffer(&plainWriter{w: stderr}, limit)
	}
}

// isJournal tells whether f is the stream to the journal that the service
// manager announced in the environment variable JOURNAL_STREAM (device and
// inode number, see systemd.exec(5)), and not something it was redirected to
// since.
func isJournal(f *os.File, journalStream string) bool {
	var dev, ino uint64
	if n, err := fmt.Sscanf(journalStream, "%d:%d", &dev, &ino); n != 2 || err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st := info.Sys().(*syscall.Stat_t)
	return uint64(st.Dev) == dev && uint64(st.Ino) == ino
}

// plainWriter takes the "<N>" off every line.
type plainWriter struct {
	w   io.Writer
	out []byte
}

func (p *plainWriter) Write(batch []byte) (int, error) {
	p.out = p.out[:0]
	for line := range bytes.Lines(batch) {
		p.out = append(p.out, line[len("<N>"):]...)
	}
	n, err := p.w.Write(p.out)
	if err == nil {
		return len(batch), nil
	}
	return n + len("<N>")*bytes.Count(p.out[:n], newline), err // short of the last line's "<N>", which does not matter to who counts lines
}

func (p *plainWriter) SetWriteDeadline(t time.Time) error {
	if w, ok := p.w.(deadliner); ok {
		return w.SetWriteDeadline(t)
	}
	return os.ErrNoDeadline
}

// syslogSockets is where syslog daemons listen: Linux and most others, macOS, the BSDs.
var syslogSockets = []string{"/dev/log", "/var/run/syslog", "/var/run/log"}

const facilityMail = 2 << 3

// syslogWriter sends every line to the syslog daemon as the C library's
// syslog(3) does: a datagram "<PRI>Mon _2 15:04:05 tag[pid]: text", or the same
// with a NUL at its end where the daemon listens on a stream. While the daemon
// is away or its socket is full, Write waits.
type syslogWriter struct {
	sockets []string
	tag     string // "postsrsd[123]: "
	now     func() time.Time

	text  []byte   // the messages at hand, one after the other
	ends  []int    // where each ends in text
	msgs  [][]byte // the same messages, for sending
	mmsgs datagrams

	mu       sync.Mutex
	conn     *net.UnixConn // nil: not connected
	stream   bool
	deadline time.Time // when Write must give up; zero: never
	ending   chan struct{}
}

func newSyslogWriter(sockets []string, tag string, now func() time.Time) *syslogWriter {
	return &syslogWriter{sockets: sockets, tag: tag, now: now, ending: make(chan struct{})}
}

// SetWriteDeadline makes Write end at the deadline, and at once when the daemon
// is away. It can be set once.
func (s *syslogWriter) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.deadline.IsZero() {
		return nil
	}
	s.deadline = t
	close(s.ending)
	if s.conn != nil {
		return s.conn.SetWriteDeadline(t)
	}
	return nil
}

// Write sends the lines of batch, each "<N>text\n". n counts those that were sent.
func (s *syslogWriter) Write(batch []byte) (n int, err error) {
	head := s.now().Format(time.Stamp) + " " + s.tag
	for err == nil && n < len(batch) {
		s.format(batch[n:], head)
		var sent int
		sent, err = s.send(s.msgs)
		for ; sent > 0; sent-- {
			n += bytes.IndexByte(batch[n:], '\n') + 1
		}
	}
	return n, err
}

// format makes messages of as many lines as are sent at a time.
func (s *syslogWriter) format(lines []byte, head string) {
	s.text, s.ends, s.msgs = s.text[:0], s.ends[:0], s.msgs[:0]
	for line := range bytes.Lines(lines) {
		s.text = append(s.text, '<')
		s.text = strconv.AppendInt(s.text, facilityMail|int64(line[1]-'0'), 10)
		s.text = append(s.text, '>')
		s.text = append(s.text, head...)
		s.text = append(s.text, line[len("<N>"):len(line)-1]...)
		s.text = append(s.text, 0) // for a stream
		s.ends = append(s.ends, len(s.text))
		if len(s.ends) == maxDatagrams {
			break
		}
	}
	begin := 0
	for _, end := range s.ends {
		s.msgs = append(s.msgs, s.text[begin:end])
		begin = end
	}
}

// send delivers messages and returns how many. It gives up only when the log is being closed.
func (s *syslogWriter) send(msgs [][]byte) (sent int, err error) {
	const firstPause, longestPause = 10 * time.Millisecond, time.Second
	pause := time.Duration(0) // a daemon that was restarted is there again at once
	for {
		n, err := s.trySend(msgs[sent:])
		if sent += n; n > 0 {
			pause = 0
		}
		switch {
		case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
			return sent, err
		case errors.Is(err, syscall.EMSGSIZE) && len(msgs[sent]) > 1024: // some systems take no more than 2048
			msgs[sent] = msgs[sent][:max(1024, len(msgs[sent])/2)]
			continue
		case !errors.Is(err, syscall.ENOBUFS): // which the BSDs say instead of waiting while the socket is full
			s.disconnect()
		}
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-s.ending:
				return sent, err
			}
		}
		pause = min(max(2*pause, firstPause), longestPause)
	}
}

// trySend returns how many messages were sent before the error.
func (s *syslogWriter) trySend(msgs [][]byte) (sent int, err error) {
	if err := s.connect(); err != nil {
		return 0, err
	}
	if !s.stream {
		return s.mmsgs.send(s.conn, msgs)
	}
	for _, m := range msgs {
		if _, err := s.conn.Write(m); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// connect makes sure that there is a connection, to the first socket that takes one.
func (s *syslogWriter) connect() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		return nil
	}
	var first error
	for _, path := range s.sockets {
		for _, network := range []string{"unixgram", "unix"} {
			conn, err := net.Dial(network, path)
			if err == nil {
				s.conn, s.stream = conn.(*net.UnixConn), network == "unix"
				return conn.SetWriteDeadline(s.deadline)
			}
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// disconnect closes the connection; the next message opens another.
func (s *syslogWriter) disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
