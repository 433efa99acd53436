//go:build postfix

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// dialSMTP opens a conversation with an SMTP server and gets it past EHLO.
func dialSMTP(t *testing.T, addr string) *textproto.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	text := textproto.NewConn(c)
	if _, _, err := text.ReadResponse(220); err != nil {
		t.Fatalf("greeting: %v", err)
	}
	if err := command(text, 250, "EHLO client.invalid"); err != nil {
		t.Fatalf("EHLO: %v", err)
	}
	return text
}

// command sends one line and returns a *textproto.Error when the answer has another code.
func command(text *textproto.Conn, code int, line string) error {
	if err := text.PrintfLine("%s", line); err != nil {
		return err
	}
	_, _, err := text.ReadResponse(code)
	return err
}

// envelope sends MAIL and RCPT, the addresses as they are, with SMTPUTF8 when
// either asks for it. An error is the server's refusal.
func envelope(text *textproto.Conn, from, to string) error {
	mail := "MAIL FROM:<" + from + ">"
	if !ascii(from + to) {
		mail += " SMTPUTF8"
	}
	if err := command(text, 250, mail); err != nil {
		return fmt.Errorf("%s: %w", mail, err)
	}
	rcpt := "RCPT TO:<" + to + ">"
	if err := command(text, 250, rcpt); err != nil {
		return fmt.Errorf("%s: %w", rcpt, err)
	}
	return nil
}

// send delivers one mail to the server at addr; data has LF as line end.
func send(t *testing.T, addr, from, to, data string) {
	t.Helper()
	text := dialSMTP(t, addr)
	if err := envelope(text, from, to); err != nil {
		t.Fatal(err)
	}
	if err := command(text, 354, "DATA"); err != nil {
		t.Fatal(err)
	}
	w := text.DotWriter()
	_, err := w.Write([]byte(data))
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := text.ReadResponse(250); err != nil {
		t.Fatalf("end of data: %v", err)
	}
	_ = command(text, 221, "QUIT")
}

// refusal asks the server at addr whether it would take a mail, and returns its
// answer to RCPT, or "250 " for any that is no refusal.
func refusal(t *testing.T, addr, from, to string) string {
	t.Helper()
	text := dialSMTP(t, addr)
	err := envelope(text, from, to)
	_ = command(text, 221, "QUIT")
	var reply *textproto.Error
	switch {
	case err == nil:
		return "250 "
	case errors.As(err, &reply) && strings.HasPrefix(err.Error(), "RCPT"):
		return fmt.Sprintf("%d %s", reply.Code, reply.Msg)
	}
	t.Fatal(err)
	return ""
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0
}

var tokens atomic.Int64

// newToken returns a word that no other mail of this run holds.
func newToken() string { return fmt.Sprintf("token-%06d-", tokens.Add(1)) }
