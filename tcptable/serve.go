package tcptable

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"
)

// A Lookup appends the value found for key to dst and returns the result.
// An error means that there is none, and its text is what the client is told
// after "500"; an [*Error] brings its own code. Key and dst are valid only
// during the call. Key is decoded, not empty and free of NUL.
type Lookup func(dst, key []byte) ([]byte, error)

const (
	malformed = "Invalid request"   // the reply to a line that is no request
	tooBig    = "Buffer too small." // the reply when the value fits no reply
)

// Serve answers the requests that arrive on r, one write to w for each reply
// and in the order of the requests, until the client ends the conversation
// or reading or writing fails. A malformed line is answered "500 Invalid
// request" and the conversation goes on. A last line that the client ended by
// closing its side instead of with a newline is answered too.
//
// A line may be maxLine bytes long, its end not counted; what does not fit
// r's buffer is kept only while that one request is in hand. A longer line is
// answered as malformed and ends the conversation with [ErrLineTooLong].
//
// Serve returns nil when the client was done. It keeps no state between calls
// and may run on any number of connections at once with one lookup.
func Serve(r *bufio.Reader, w io.Writer, maxLine int, lookup Lookup) error {
	for {
		if err := serveOne(r, w, maxLine, lookup); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Answer is [Serve] for a request that has been read already: it appends the
// reply to dst and returns the result. The request is one line with its
// newline, maxLine bytes at most; for anything else Answer returns false, has
// not called lookup, and leaves it to Serve.
func Answer(dst, request []byte, maxLine int, lookup Lookup) (reply []byte, ok bool) {
	if len(request) > maxLine || bytes.IndexByte(request, '\n') != len(request)-1 || len(request) == 0 {
		return dst, false
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	s.answer(trimEnd(request), lookup)
	return append(dst, s.reply...), true
}

func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// scratch is what one request needs to be answered. It is taken only once
// there is a request, so that an idle connection costs no more than r.
type scratch struct {
	line  []byte // a line that did not fit the reader's buffer
	key   []byte // a key that had to be decoded
	value []byte
	reply []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) free() {
	const keep = 4096 // what a long line made grow is not kept for good
	if cap(s.line) > keep {
		s.line = nil
	}
	if cap(s.key) > keep {
		s.key = nil
	}
	scratches.Put(s)
}

// serveOne reads and answers one request. io.EOF means that there was none,
// or that there will be no other.
func serveOne(r *bufio.Reader, w io.Writer, maxLine int, lookup Lookup) error {
	line, end := r.ReadSlice('\n')
	s := scratches.Get().(*scratch)
	defer s.free()
	if end == bufio.ErrBufferFull {
		line, end = s.readLong(r, line, maxLine)
	}
	if end != nil && end != ErrLineTooLong && (end != io.EOF || len(line) == 0) {
		return end
	}
	line = trimEnd(line)
	if len(line) > maxLine {
		end = ErrLineTooLong
	}
	if end == ErrLineTooLong {
		s.refuse(CodeNotFound, malformed)
	} else {
		s.answer(line, lookup)
	}
	if _, err := w.Write(s.reply); err != nil {
		return err
	}
	return end
}

// readLong reads on where r's buffer was too small, begun being what it held.
func (s *scratch) readLong(r *bufio.Reader, begun []byte, maxLine int) ([]byte, error) {
	s.line = append(s.line[:0], begun...)
	for len(s.line) <= maxLine+len("\r\n") {
		more, err := r.ReadSlice('\n')
		s.line = append(s.line, more...)
		if err != bufio.ErrBufferFull {
			return s.line, err
		}
	}
	return nil, ErrLineTooLong
}

// answer leaves in s.reply the reply to line.
func (s *scratch) answer(line []byte, lookup Lookup) {
	key, ok := s.parse(line)
	if !ok {
		s.refuse(CodeNotFound, malformed)
		return
	}
	value, err := lookup(s.value[:0], key)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			s.refuse(e.Code, e.Text)
		} else {
			s.refuse(CodeNotFound, err.Error())
		}
		return
	}
	s.value = value
	s.reply = append(AppendEncode(append(s.reply[:0], "200 "...), value), '\n')
	if len(s.reply) > MaxReply {
		s.refuse(CodeNotFound, tooBig)
	}
}

// parse returns the key that line asks for, and whether it asks for one.
func (s *scratch) parse(line []byte) (key []byte, ok bool) {
	key, ok = bytes.CutPrefix(bytes.TrimLeft(line, " "), []byte("get "))
	if ok && bytes.IndexByte(key, '%') >= 0 {
		var err error
		s.key, err = AppendDecode(s.key[:0], key)
		key, ok = s.key, err == nil
	}
	return key, ok && len(key) > 0 && bytes.IndexByte(key, 0) < 0
}

// refuse leaves in s.reply a reply that is not "found". Text stays readable:
// only what would break the line or is not ASCII is encoded.
func (s *scratch) refuse(code int, text string) {
	s.reply = append(strconv.AppendInt(s.reply[:0], int64(code), 10), ' ')
	for i := 0; i < len(text) && len(s.reply) < MaxReply-len("%xx\n"); i++ {
		if text[i] == ' ' {
			s.reply = append(s.reply, ' ')
		} else {
			s.reply = AppendEncode(s.reply, []byte{text[i]})
		}
	}
	s.reply = append(s.reply, '\n')
}
