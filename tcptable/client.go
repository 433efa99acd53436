package tcptable

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// A Client asks a tcp_table server over one connection, one request at a
// time. It is not safe for concurrent use.
type Client struct {
	r   *bufio.Reader
	w   io.Writer
	buf []byte
}

// NewClient returns a client that talks over rw. Deadlines, and closing rw,
// are the caller's.
func NewClient(rw io.ReadWriter) *Client {
	return &Client{r: bufio.NewReaderSize(rw, MaxReply), w: rw}
}

// Lookup asks for key and returns the value found. When the server answered
// anything else the error is an [*Error] and the client can go on asking. Any
// other error ends the connection's use: [ErrReply] for an answer that is
// none, or what reading or writing returned, io.ErrUnexpectedEOF when the
// server hung up instead of answering.
func (c *Client) Lookup(key string) (string, error) {
	c.buf = append(AppendEncode(append(c.buf[:0], "get "...), []byte(key)), '\n')
	if _, err := c.w.Write(c.buf); err != nil {
		return "", err
	}
	line, err := c.r.ReadSlice('\n')
	switch err {
	case nil:
	case bufio.ErrBufferFull:
		return "", fmt.Errorf("%w: longer than %d bytes", ErrReply, MaxReply)
	case io.EOF:
		return "", io.ErrUnexpectedEOF
	default:
		return "", err
	}
	return c.parse(bytes.TrimSuffix(line, []byte("\n")))
}

func (c *Client) parse(line []byte) (string, error) {
	if len(line) < len("200 ") || line[3] != ' ' {
		return "", fmt.Errorf("%w: %.40q", ErrReply, line)
	}
	text, err := AppendDecode(c.buf[:0], line[4:])
	switch string(line[:3]) {
	case "200":
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrReply, err)
		}
		return string(text), nil
	case "400":
		return "", &Error{CodeTryLater, refusalText(line[4:], text, err)}
	case "500":
		return "", &Error{CodeNotFound, refusalText(line[4:], text, err)}
	}
	return "", fmt.Errorf("%w: %.40q", ErrReply, line)
}

// refusalText is the text of a refusal: many servers do not encode it.
func refusalText(raw, decoded []byte, err error) string {
	if err != nil {
		return string(raw)
	}
	return string(decoded)
}
