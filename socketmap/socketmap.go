// Package socketmap speaks the socketmap protocol of Postfix and sendmail, as
// socketmap_table(5) describes it: netstrings, the server's conversation over
// one connection ([Serve]), and a client ([Client]).
//
// A request is the netstring "name SPACE key", a reply the netstring "status
// SPACE text" with one of the five statuses below. Bytes travel as they are,
// nothing is encoded. One frame answers one request; after a reply that does
// not end the connection the client is free to ask again.
//
// Netstrings are those of https://cr.yp.to/proto/netstrings.txt: a decimal
// length without superfluous zeros, a colon, that many bytes, a comma. The
// length is the peer's word and bounded before anything is done for its sake.
//
// The package opens no sockets and sets no deadlines: both are the caller's.
package socketmap

import (
	"bufio"
	"errors"
	"io"
	"strconv"
)

// The statuses of socketmap_table(5).
const (
	StatusOK       = "OK"       // found, the text is the value
	StatusNotFound = "NOTFOUND" // there is no such key
	StatusTemp     = "TEMP"     // cannot say now, ask again later
	StatusTimeout  = "TIMEOUT"  // cannot say in time, ask again later
	StatusPerm     = "PERM"     // cannot say, and asking again is no use
)

// MaxFrame is the longest request or reply in bytes, the netstring's length
// and punctuation not counted.
const MaxFrame = 100000

var (
	// ErrMalformed says that what was read is no netstring, or one over
	// MaxFrame. Where the next one would begin cannot be told, so there is
	// nothing to be done but close the connection.
	ErrMalformed = errors.New("socketmap: malformed netstring")

	// ErrTooBig says that a netstring was longer than the reader wanted. Its
	// bytes have been skipped.
	ErrTooBig = errors.New("socketmap: netstring too big")

	// ErrQuery says that a request named no map and key. The client has been
	// told, and the connection is to be closed.
	ErrQuery = errors.New("socketmap: request without map name and key")

	// ErrReply says that a server's answer was not one: no netstring, or
	// none of the five statuses. The connection is of no further use.
	ErrReply = errors.New("socketmap: malformed reply")
)

// An Error is a reply other than OK. [Client.Lookup] returns one when the
// server answered so; a [Lookup] returns one to choose the status itself.
type Error struct {
	Status string // any status but OK
	Text   string // the server's words
}

func (e *Error) Error() string { return e.Status + " " + e.Text }

// AppendNetstring appends data as a netstring to dst and returns the result.
func AppendNetstring(dst, data []byte) []byte {
	dst = append(strconv.AppendInt(dst, int64(len(data)), 10), ':')
	return append(append(dst, data...), ',')
}

// ReadNetstring reads one netstring from r, appends what it holds to dst and
// returns the result. Memory is used as bytes arrive, not as they are
// announced.
//
// The errors are io.EOF when r ended before the netstring began, [ErrTooBig]
// when it held more than max bytes, [ErrMalformed], and what reading r
// returned. Dst is returned as it came with all of them.
func ReadNetstring(r *bufio.Reader, dst []byte, max int) ([]byte, error) {
	n, err := readLength(r)
	if err != nil {
		return dst, err
	}
	if n > max {
		return dst, skip(r, n)
	}
	got, err := appendData(r, dst, n)
	if err != nil {
		return dst, err
	}
	if err := readComma(r); err != nil {
		return dst, err
	}
	return got, nil
}

// readLength reads a netstring's length and the colon after it. Not one byte
// is read beyond what decides, so that an endless length costs nothing.
func readLength(r *bufio.Reader) (int, error) {
	n := 0
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		switch {
		case err == io.EOF && digits > 0:
			return 0, ErrMalformed
		case err != nil:
			return 0, err
		case c == ':' && digits > 0:
			return n, nil
		case c < '0' || c > '9', digits == 1 && n == 0:
			return 0, ErrMalformed
		}
		if n = n*10 + int(c-'0'); n > MaxFrame {
			return 0, ErrMalformed
		}
	}
}

// appendData appends the next n bytes of r to dst, piece by piece as they
// arrive.
func appendData(r *bufio.Reader, dst []byte, n int) ([]byte, error) {
	for n > 0 {
		if _, err := r.Peek(1); err != nil {
			return dst, truncated(err)
		}
		piece, _ := r.Peek(min(n, r.Buffered()))
		dst = append(dst, piece...)
		n -= len(piece)
		r.Discard(len(piece))
	}
	return dst, nil
}

func skip(r *bufio.Reader, n int) error {
	if _, err := r.Discard(n); err != nil {
		return truncated(err)
	}
	if err := readComma(r); err != nil {
		return err
	}
	return ErrTooBig
}

func readComma(r *bufio.Reader) error {
	if c, err := r.ReadByte(); err != nil {
		return truncated(err)
	} else if c != ',' {
		return ErrMalformed
	}
	return nil
}

// truncated turns the end of input within a netstring into what it is.
func truncated(err error) error {
	if err == io.EOF {
		return ErrMalformed
	}
	return err
}
