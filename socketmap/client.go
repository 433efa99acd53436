package socketmap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// A Client asks a socketmap server over one connection, one request at a
// time. It is not safe for concurrent use.
type Client struct {
	r   *bufio.Reader
	w   io.Writer
	buf []byte
}

// NewClient returns a client that talks over rw. Deadlines, and closing rw,
// are the caller's.
func NewClient(rw io.ReadWriter) *Client {
	return &Client{r: bufio.NewReader(rw), w: rw}
}

// Lookup asks for key in the map of that name and returns the value found.
// When the server answered anything but OK the error is an [*Error]; after
// PERM it may have closed the connection. Any other error ends the
// connection's use: [ErrReply] for an answer that is none, or what reading or
// writing returned, io.ErrUnexpectedEOF when the server hung up instead of
// answering.
func (c *Client) Lookup(name, key string) (string, error) {
	c.buf = AppendNetstring(c.buf[:0], []byte(name+" "+key))
	if _, err := c.w.Write(c.buf); err != nil {
		return "", err
	}
	var err error
	c.buf, err = ReadNetstring(c.r, c.buf[:0], MaxFrame)
	switch {
	case err == io.EOF:
		return "", io.ErrUnexpectedEOF
	case errors.Is(err, ErrMalformed):
		return "", fmt.Errorf("%w: %w", ErrReply, err)
	case err != nil:
		return "", err
	}
	status, text, _ := bytes.Cut(c.buf, []byte(" "))
	switch string(status) {
	case StatusOK:
		return string(text), nil
	case StatusNotFound, StatusTemp, StatusTimeout, StatusPerm:
		return "", &Error{string(status), string(text)}
	}
	return "", fmt.Errorf("%w: %.40q", ErrReply, c.buf)
}
