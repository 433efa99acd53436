package supervisor

import (
	"bytes"
	"io"
	"time"
)

// relay carries the log of a worker, as logBuffer writes it, from its pipe into
// the supervisor's log. A line that does not begin with "<N>" is none of the
// worker's own but the Go runtime's, which reports a crash on the same pipe: it
// is logged as critical. Nothing else in a line is looked at: the worker may
// have been taken over by a stranger, whose lines can do no more than be
// logged.
type relay struct {
	r    io.ReadCloser
	done chan struct{}
}

// newRelay starts reading from r, which it will close, and ends when there is nothing more to read.
func newRelay(r io.ReadCloser, to *logBuffer) *relay {
	l := &relay{r: r, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer r.Close()
		copyLines(r, to.Log)
	}()
	return l
}

// Close waits until the worker's end of the pipe is closed and everything
// written to it has been read, at the latest until the deadline. It is called
// when the worker is gone; what a process that it left behind may still write
// is of no interest.
func (l *relay) Close(deadline time.Time) {
	timeout := time.NewTimer(time.Until(deadline))
	defer timeout.Stop()
	select {
	case <-l.done:
	case <-timeout.C:
		l.r.Close()
		<-l.done
	}
}

// copyLines hands every line of r on until reading fails; the end of a line
// that is too long is left out. The text is valid only during the call.
func copyLines(r io.Reader, log func(severity int, text []byte)) {
	buf := make([]byte, 64<<10) // as much as a pipe holds
	have, cut := 0, false       // bytes of an unfinished line; whether its beginning has been logged already
	for {
		n, err := r.Read(buf[have:])
		rest := buf[:have+n]
		for {
			line, after, complete := bytes.Cut(rest, newline)
			if !complete {
				break
			}
			if !cut {
				logLine(line, log)
			}
			rest, cut = after, false
		}
		if len(rest) > maxLogLine+len("<N>") {
			if !cut {
				logLine(rest, log)
			}
			rest, cut = nil, true
		}
		have = copy(buf, rest)
		if err != nil {
			if have > 0 && !cut {
				logLine(rest, log)
			}
			return
		}
	}
}

func logLine(line []byte, log func(severity int, text []byte)) {
	if len(line) >= 3 && line[0] == '<' && line[1] >= '0' && line[1] <= '7' && line[2] == '>' {
		log(int(line[1]-'0'), line[3:])
		return
	}
	log(sevCrit, line)
}
