package socketmap

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
		status            string
	}{
		{"found", frame("OK a b"), "a b", nil, ""},
		{"found, empty", frame("OK "), "", nil, ""},
		{"longest", frame("OK " + strings.Repeat("x", MaxFrame-3)), strings.Repeat("x", MaxFrame-3), nil, ""},
		{"not found", frame("NOTFOUND No domain."), "", nil, StatusNotFound},
		{"no words", frame("NOTFOUND"), "", nil, StatusNotFound},
		{"temporary", frame("TEMP Later."), "", nil, StatusTemp},
		{"timeout", frame("TIMEOUT Later."), "", nil, StatusTimeout},
		{"permanent", frame("PERM Invalid map."), "", nil, StatusPerm},
		{"other status", frame("MAYBE so"), "", ErrReply, ""},
		{"lower case", frame("ok a"), "", ErrReply, ""},
		{"empty", "0:,", "", ErrReply, ""},
		{"too long", frame("OK " + strings.Repeat("x", MaxFrame-2)), "", ErrReply, ""},
		{"no netstring", "200 a\n", "", ErrReply, ""},
		{"why no netstring", "200 a\n", "", ErrMalformed, ""},
		{"hung up", "", "", io.ErrUnexpectedEOF, ""},
		{"hung up within", "5:OK", "", ErrReply, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &canned{Reader: strings.NewReader(test.reply)}
			got, err := NewClient(server).Lookup("map", "a b")
			if asked := server.asked.String(); asked != "7:map a b," {
				t.Errorf("asked %q", asked)
			}
			if got != test.want {
				t.Errorf("got %q", got)
			}
			var refusal *Error
			switch {
			case test.status != "":
				if !errors.As(err, &refusal) || refusal.Status != test.status {
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
	if got := ErrUnknownMap.Error(); got != "PERM Invalid map." {
		t.Error(got)
	}
}
