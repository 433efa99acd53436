// Package tcptable speaks Postfix's TCP table protocol, as tcp_table(5)
// describes it: the encoding, the server's conversation over one connection
// ([Serve]), and a client ([Client]).
//
// A request is one line, "get" SPACE key NEWLINE; a reply is one line too,
// three digits, SPACE, text, NEWLINE, at most 4096 bytes in all:
//
//	200 value   found
//	500 text    not found
//	400 text    cannot say now, ask again later
//
// Key and value are encoded: "%", white space, control characters and
// everything that is not ASCII travel as "%" and two hexadecimal digits. Of
// the protocol's two verbs only "get" is spoken; "put" is a malformed
// request. A carriage return before the newline, spaces before "get", digits
// of either case and bytes that should have been encoded are accepted,
// because clients send them.
//
// The package opens no sockets and sets no deadlines: both are the caller's.
package tcptable

import (
	"errors"
	"fmt"
)

// The codes of tcp_table(5).
const (
	CodeFound    = 200
	CodeTryLater = 400
	CodeNotFound = 500
)

// MaxReply is the longest reply in bytes, its newline included.
const MaxReply = 4096

var (
	// ErrLineTooLong says that a request was longer than the server allows.
	// The client has been told; what follows on the connection is the rest
	// of that line, so there is nothing to be done but close it.
	ErrLineTooLong = errors.New("tcp_table: request line too long")

	// ErrReply says that a server's answer was not one: no code of the
	// protocol, no newline within MaxReply bytes, or a value that does not
	// decode. The connection is of no further use.
	ErrReply = errors.New("tcp_table: malformed reply")

	// ErrEncoding says that a "%" is not followed by two hexadecimal digits.
	ErrEncoding = errors.New("tcp_table: % without two hexadecimal digits")
)

// An Error is a reply that is not "found". [Client.Lookup] returns one when
// the server answered so; a [Lookup] returns one to choose the code itself.
type Error struct {
	Code int    // CodeNotFound or CodeTryLater
	Text string // the server's words
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Text) }

const hexDigits = "0123456789abcdef"

// AppendEncode appends src to dst in the protocol's encoding, with lower-case
// digits, and returns the result. Printable ASCII but "%" stays as it is;
// everything else, space included, becomes %xx.
func AppendEncode(dst, src []byte) []byte {
	for _, c := range src {
		if c > ' ' && c < 0x7f && c != '%' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}

// AppendDecode appends the decoded src to dst and returns the result. It
// takes digits of either case, and leaves alone bytes that should have been
// encoded. The only error is [ErrEncoding]; dst then holds what came before.
func AppendDecode(dst, src []byte) ([]byte, error) {
	for i := 0; i < len(src); i++ {
		c := src[i]
		if c == '%' {
			if len(src)-i < 3 {
				return dst, ErrEncoding
			}
			hi, lo := unhex(src[i+1]), unhex(src[i+2])
			if hi < 0 || lo < 0 {
				return dst, ErrEncoding
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		dst = append(dst, c)
	}
	return dst, nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
