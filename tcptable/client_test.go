package tcptable

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// canned is a server that says the same whatever it is asked.
type canned struct {
	io.Reader
	asked bytes.Buffer
}

func (c *canned) Write(p []byte) (int, error) { return c.asked.Write(p) }

func TestClient(t *testing.T) {
	for _, test := range []struct {
		name, reply, want string
		is                error
		code              int
	}{
		{"found", "200 a%20b\n", "a b", nil, 0},
		{"found, empty", "200 \n", "", nil, 0},
		{"not found", "500 Not an SRS address.\n", "", nil, CodeNotFound},
		{"try later", "400 Later%21\n", "", nil, CodeTryLater},
		{"words with a per cent", "500 100% wrong\n", "", nil, CodeNotFound},
		{"longest", "200 " + strings.Repeat("x", MaxReply-5) + "\n", strings.Repeat("x", MaxReply-5), nil, 0},
		{"too long", "200 " + strings.Repeat("x", MaxReply-4) + "\n", "", ErrReply, 0},
		{"other code", "300 what\n", "", ErrReply, 0},
		{"no space", "200\n", "", ErrReply, 0},
		{"no code", "\n", "", ErrReply, 0},
		{"other separator", "200-more\n", "", ErrReply, 0},
		{"bad encoding", "200 a%2\n", "", ErrEncoding, 0},
		{"hung up", "", "", io.ErrUnexpectedEOF, 0},
		{"hung up within", "200 a", "", io.ErrUnexpectedEOF, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &canned{Reader: strings.NewReader(test.reply)}
			got, err := NewClient(server).Lookup("a b%\n")
			if asked := server.asked.String(); asked != "get a%20b%25%0a\n" {
				t.Errorf("asked %q", asked)
			}
			if got != test.want {
				t.Errorf("got %q", got)
			}
			var refusal *Error
			switch {
			case test.code != 0:
				if !errors.As(err, &refusal) || refusal.Code != test.code {
					t.Errorf("error %v", err)
				}
			case test.is != nil:
				if !errors.Is(err, test.is) {
					t.Errorf("error %v", err)
				}
			case err != nil:
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	if got := (&Error{CodeNotFound, "Hash invalid in SRS address."}).Error(); got != "500 Hash invalid in SRS address." {
		t.Error(got)
	}
}
