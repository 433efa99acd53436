package socketmap

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"
)

// A Lookup appends the value found for key in the map of that name to dst and
// returns the result. An error means that there is none, and its text is what
// the client is told after NOTFOUND; an [*Error], such as [ErrUnknownMap],
// brings its own status. Name, key and dst are valid only during the call.
type Lookup func(dst, name, key []byte) ([]byte, error)

// ErrUnknownMap is what a [Lookup] returns for a name it does not know.
var ErrUnknownMap error = &Error{StatusPerm, "Invalid map."}

const (
	malformed = "Invalid query."    // to what is no request
	requested = "Too big."          // to a request over the limit
	tooBig    = "Buffer too small." // to a value that fits no reply
)

// Serve answers the requests that arrive on r, one write to w for each reply
// and in the order of the requests, until the client ends the conversation or
// reading or writing fails.
//
// A request over maxRequest bytes is skipped and answered "NOTFOUND Too
// big.", one whose key holds a NUL "NOTFOUND Invalid query.", and the
// conversation goes on: these depend on the address alone, which must not
// look like a fault of the map. What is no netstring, or no request, is
// answered "PERM Invalid query." and ends the conversation with
// [ErrMalformed] or [ErrQuery].
//
// Serve returns nil when the client was done. It keeps no state between calls
// and may run on any number of connections at once with one lookup.
func Serve(r *bufio.Reader, w io.Writer, maxRequest int, lookup Lookup) error {
	for {
		if err := serveOne(r, w, maxRequest, lookup); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Answer is [Serve] for a request that has been read already: it appends the
// reply to dst and returns the result. The request is one netstring, with at
// most maxRequest bytes in it; for anything else, and for what would end the
// conversation, Answer returns false, has not called lookup, and leaves it to
// Serve.
func Answer(dst, request []byte, maxRequest int, lookup Lookup) (reply []byte, ok bool) {
	request, ok = cutNetstring(request)
	if !ok || len(request) > maxRequest {
		return dst, false
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	if s.answer(request, lookup) != nil {
		return dst, false
	}
	return append(dst, s.frame()...), true
}

// cutNetstring returns what b holds if b is one netstring and nothing more.
func cutNetstring(b []byte) (data []byte, ok bool) {
	n, i := 0, 0
	for ; i < len(b) && '0' <= b[i] && b[i] <= '9' && n <= MaxFrame; i++ {
		n = n*10 + int(b[i]-'0')
	}
	if i == 0 || i > 1 && b[0] == '0' || len(b) != i+n+len(":,") || b[i] != ':' || b[len(b)-1] != ',' {
		return nil, false
	}
	return b[i+1 : len(b)-1], true
}

// scratch is what one request needs to be answered. It is taken only once
// there is a request, so that an idle connection costs no more than r.
type scratch struct {
	request []byte // a request that did not lie whole in the reader's buffer
	reply   []byte // room for a length, then status and text
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) free() {
	const keep = 4096 // what a long request made grow is not kept for good
	if cap(s.request) > keep {
		s.request = nil
	}
	if cap(s.reply) > keep {
		s.reply = nil
	}
	scratches.Put(s)
}

// serveOne reads and answers one request. io.EOF means that there was none.
func serveOne(r *bufio.Reader, w io.Writer, maxRequest int, lookup Lookup) error {
	if _, err := r.Peek(1); err != nil {
		return err
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	request, end := s.read(r, maxRequest)
	switch end {
	case nil:
		end = s.answer(request, lookup)
	case ErrTooBig:
		s.say(StatusNotFound, requested)
		end = nil
	case ErrMalformed:
		s.say(StatusPerm, malformed)
	default:
		return end
	}
	if _, err := w.Write(s.frame()); err != nil {
		return err
	}
	return end
}

// read returns the next request. Most lie whole in r's buffer and need not be
// copied.
func (s *scratch) read(r *bufio.Reader, max int) ([]byte, error) {
	n, err := readLength(r)
	if err != nil {
		return nil, err
	}
	if n > max {
		return nil, skip(r, n)
	}
	if n < r.Buffered() {
		request, _ := r.Peek(n)
		r.Discard(n)
		return request, readComma(r)
	}
	if s.request, err = appendData(r, s.request[:0], n); err != nil {
		return nil, err
	}
	return s.request, readComma(r)
}

// answer leaves the reply to request in s; an error says that the
// conversation ends with it.
func (s *scratch) answer(request []byte, lookup Lookup) error {
	name, key, ok := bytes.Cut(request, []byte(" "))
	if !ok {
		s.say(StatusPerm, malformed)
		return ErrQuery
	}
	if bytes.IndexByte(key, 0) >= 0 {
		s.say(StatusNotFound, malformed)
		return nil
	}
	s.say(StatusOK, "")
	before := len(s.reply)
	reply, err := lookup(s.reply, name, key)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			s.say(e.Status, e.Text)
		} else {
			s.say(StatusNotFound, err.Error())
		}
		return nil
	}
	s.reply = reply
	if len(s.reply)-before > MaxFrame-len(StatusOK+" ") {
		s.say(StatusNotFound, tooBig)
	}
	return nil
}

// room is what the longest length and its colon take before a reply.
const room = len("100000:")

// say begins s.reply anew.
func (s *scratch) say(status, text string) {
	s.reply = append(s.reply[:0], "       "[:room]...)
	s.reply = append(s.reply, status...)
	s.reply = append(s.reply, ' ')
	s.reply = append(s.reply, text[:min(len(text), 1000)]...)
}

// frame completes the netstring around s.reply and returns it.
func (s *scratch) frame() []byte {
	var digits [room]byte
	length := append(strconv.AppendInt(digits[:0], int64(len(s.reply)-room), 10), ':')
	s.reply = append(s.reply, ',')
	whole := s.reply[room-len(length):]
	copy(whole, length)
	return whole
}
