package tcptable

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// words is an error whose text is a reply's.
type words string

func (w words) Error() string { return string(w) }

var (
	errNotSRS error = words("Not an SRS address.")
	errLater  error = &Error{CodeTryLater, "Database is away."}
)

// echo finds every key but a few, and answers with the key itself.
func echo(dst, key []byte) ([]byte, error) {
	switch string(key) {
	case "none":
		return dst, errNotSRS
	case "later":
		return dst, errLater
	case "wrapped":
		return dst, errors.Join(errLater)
	case "rude":
		return dst, errors.New("a\nb\x00c%é")
	case "verbose":
		return dst, errors.New(strings.Repeat("é", MaxReply))
	case "exact": // with "200 " and the newline the longest reply there is
		return append(dst, strings.Repeat("v", MaxReply-len("200 \n"))...), nil
	case "over":
		return append(dst, strings.Repeat("v", MaxReply-len("200 \n")+1)...), nil
	case "over, encoded":
		return append(dst, strings.Repeat(" ", MaxReply/3)...), nil
	}
	return append(append(append(dst, '<'), key...), '>'), nil
}

// writes records what was written, call by call.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

const testMaxLine = 100

// converse runs Serve over input with buffers of several sizes, whole and byte
// by byte, and returns the writes, which must not depend on either.
func converse(t testing.TB, input string) ([]string, error) {
	t.Helper()
	var first []string
	var firstErr error
	for i, r := range []*bufio.Reader{
		bufio.NewReaderSize(strings.NewReader(input), 16),
		bufio.NewReaderSize(strings.NewReader(input), 64),
		bufio.NewReaderSize(strings.NewReader(input), 4096),
		bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(input)), 16),
		bufio.NewReaderSize(iotest.DataErrReader(strings.NewReader(input)), 32),
	} {
		var got writes
		err := Serve(r, &got, testMaxLine, echo)
		if i == 0 {
			first, firstErr = got, err
		} else if err != firstErr || strings.Join(got, "|") != strings.Join(first, "|") {
			t.Fatalf("%.200q: reader %d: %q, %v; reader 0: %q, %v", input, i, got, err, first, firstErr)
		}
	}
	reply, whole := Answer([]byte("before "), []byte(input), testMaxLine, echo)
	if whole && (firstErr != nil || len(first) != 1 || string(reply) != "before "+first[0]) {
		t.Fatalf("%.200q: Answer says %.200q, Serve %.200q, %v", input, reply, first, firstErr)
	}
	return first, firstErr
}

// What is not one whole request, Answer leaves to Serve.
func TestAnswer(t *testing.T) {
	for request, want := range map[string]string{
		"get a@b\n":      "200 <a@b>\n",
		"get a@b\r\n":    "200 <a@b>\n",
		"get none\n":     "500 Not an SRS address.\n",
		"\n":             invalid,
		"":               "",
		"get a@b":        "",
		"get a\nget b\n": "",
		"get a\nget b":   "",
		"get " + strings.Repeat("x", testMaxLine-4) + "\n": "",
	} {
		reply, whole := Answer(nil, []byte(request), testMaxLine, echo)
		if string(reply) != want || whole != (want != "") {
			t.Errorf("%q: %q, %v", request, reply, whole)
		}
	}
}

const invalid = "500 Invalid request\n"

func TestServe(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct {
		name, input string
		want        []string
		err         error
	}{
		{"plain", "get a@b\n", []string{"200 <a@b>\n"}, nil},
		{"carriage return", "get a@b\r\n", []string{"200 <a@b>\n"}, nil},
		{"two carriage returns", "get a@b\r\r\n", []string{"200 <a@b%0d>\n"}, nil},
		{"leading spaces", "   get a@b\n", []string{"200 <a@b>\n"}, nil},
		{"second space belongs to the key", "get  a@b\n", []string{"200 <%20a@b>\n"}, nil},
		{"key of one space", "get  \n", []string{"200 <%20>\n"}, nil},
		{"trailing space", "get a@b \n", []string{"200 <a@b%20>\n"}, nil},
		{"words", "get a@b c d\n", []string{"200 <a@b%20c%20d>\n"}, nil},
		{"encoded", "get a%20b%40c\n", []string{"200 <a%20b@c>\n"}, nil},
		{"encoded per cent", "get a%25b\n", []string{"200 <a%25b>\n"}, nil},
		{"decoded once", "get a%2525b\n", []string{"200 <a%2525b>\n"}, nil},
		{"either case", "get caf%C3%a9\n", []string{"200 <caf%c3%a9>\n"}, nil},
		{"raw 8 bit", "get caf\xc3\xa9\n", []string{"200 <caf%c3%a9>\n"}, nil},
		{"encoded line end", "get a%0D%0Ab\n", []string{"200 <a%0d%0ab>\n"}, nil},
		{"delete", "get a\x7fb\n", []string{"200 <a%7fb>\n"}, nil},
		{"null sender", "get \"\"\n", []string{"200 <\"\">\n"}, nil},
		{"not found", "get none\n", []string{"500 Not an SRS address.\n"}, nil},
		{"code of its own", "get later\n", []string{"400 Database is away.\n"}, nil},
		{"code within", "get wrapped\n", []string{"400 Database is away.\n"}, nil},
		{"words that would break the line", "get rude\n", []string{"500 a%0ab%00c%25%c3%a9\n"}, nil},
		{"longest reply", "get exact\n", []string{"200 " + strings.Repeat("v", 4091) + "\n"}, nil},
		{"reply too long", "get over\n", []string{"500 Buffer too small.\n"}, nil},
		{"encoded reply too long", "get over, encoded\n", []string{"500 Buffer too small.\n"}, nil},
		{"pipelined", "get a\nget none\nget b\n",
			[]string{"200 <a>\n", "500 Not an SRS address.\n", "200 <b>\n"}, nil},
		{"unterminated", "get a@b", []string{"200 <a@b>\n"}, nil},
		{"unterminated, carriage return", "get a@b\r", []string{"200 <a@b>\n"}, nil},
		{"unterminated last", "get a\nget b", []string{"200 <a>\n", "200 <b>\n"}, nil},
		{"unterminated malformed", "get", []string{invalid}, nil},
		{"unterminated, no key", "get ", []string{invalid}, nil},
		{"nothing", "", nil, nil},

		{"blank line", "\n", []string{invalid}, nil},
		{"blank line, carriage return", "\r\n", []string{invalid}, nil},
		{"only spaces", "   \n", []string{invalid}, nil},
		{"no key", "get \n", []string{invalid}, nil},
		{"no key, carriage return", "get \r\n", []string{invalid}, nil},
		{"no space", "get\n", []string{invalid}, nil},
		{"tab", "get\ta@b\n", []string{invalid}, nil},
		{"leading tab", "\tget a@b\n", []string{invalid}, nil},
		{"capitals", "GET a@b\n", []string{invalid}, nil},
		{"capital", "Get a@b\n", []string{invalid}, nil},
		{"put", "put a@b c\n", []string{invalid}, nil},
		{"other verb", "getx a@b\n", []string{invalid}, nil},
		{"no verb", "a@b\n", []string{invalid}, nil},
		{"bare per cent", "get %\n", []string{invalid}, nil},
		{"one digit", "get a%4\n", []string{invalid}, nil},
		{"no digits", "get a%zzb\n", []string{invalid}, nil},
		{"second digit wrong", "get a%4gb\n", []string{invalid}, nil},
		{"two per cents", "get %%\n", []string{invalid}, nil},
		{"NUL", "get a\x00b\n", []string{invalid}, nil},
		{"encoded NUL", "get a%00b\n", []string{invalid}, nil},
		{"NUL alone", "\x00\n", []string{invalid}, nil},
		{"goes on", "\nput\nget a\n", []string{invalid, invalid, "200 <a>\n"}, nil},

		{"longest line", "get " + x(96) + "\n", []string{"200 <" + x(96) + ">\n"}, nil},
		{"longest line, carriage return", "get " + x(96) + "\r\n", []string{"200 <" + x(96) + ">\n"}, nil},
		{"longest line, unterminated", "get " + x(96), []string{"200 <" + x(96) + ">\n"}, nil},
		{"line too long", "get " + x(97) + "\nget a\n", []string{invalid}, ErrLineTooLong},
		{"line too long, unterminated", "get " + x(97), []string{invalid}, ErrLineTooLong},
		{"line far too long", "get a\nget " + x(9999) + "\nget a\n", []string{"200 <a>\n", invalid}, ErrLineTooLong},
		{"endless", x(1 << 20), []string{invalid}, ErrLineTooLong},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := converse(t, test.input)
			if strings.Join(got, "|") != strings.Join(test.want, "|") || err != test.err {
				t.Errorf("got %.200q, %v\nwant %.200q, %v", got, err, test.want, test.err)
			}
		})
	}
}

func TestServeBoundsWords(t *testing.T) {
	got, err := converse(t, "get verbose\n")
	if err != nil || len(got) != 1 || len(got[0]) > MaxReply || len(got[0]) < MaxReply-10 || !strings.HasSuffix(got[0], "%c3\n") {
		t.Errorf("got %.200q, %v", got, err)
	}
}

// A key of 8 KiB, encoded throughout, is judged on its merits.
func TestServeLongKey(t *testing.T) {
	const n = 8192
	input := "get " + strings.Repeat("%20", n) + "\nget a\n"
	var got writes
	seen := 0
	err := Serve(bufio.NewReaderSize(strings.NewReader(input), 512), &got, 32768, func(dst, key []byte) ([]byte, error) {
		seen = max(seen, len(key))
		return append(dst, "ok"...), nil
	})
	if err != nil || seen != n || len(got) != 2 {
		t.Errorf("longest key %d, replies %q, %v", seen, got, err)
	}
}

// What the other side breaks is returned as it is, without a reply.
func TestServeErrors(t *testing.T) {
	broken := errors.New("broken")
	var got writes
	r := bufio.NewReader(io.MultiReader(strings.NewReader("get a\nget b"), iotest.ErrReader(broken)))
	if err := Serve(r, &got, testMaxLine, echo); err != broken || len(got) != 1 {
		t.Errorf("reading: %q, %v", got, err)
	}
	r = bufio.NewReader(strings.NewReader("get a\nget b\n"))
	if err := Serve(r, brokenWriter{broken}, testMaxLine, echo); err != broken {
		t.Errorf("writing: %v", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestEncoding(t *testing.T) {
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	encoded := AppendEncode([]byte("x"), all)
	for _, c := range encoded {
		if c <= ' ' || c >= 0x7f {
			t.Errorf("%q left in the encoding", c)
		}
	}
	if !bytes.HasPrefix(encoded, []byte("x%00%01")) || !bytes.HasSuffix(encoded, []byte("}~%7f"+
		string(AppendEncode(nil, all[0x80:])))) {
		t.Errorf("encoded as %q", encoded)
	}
	got, err := AppendDecode([]byte("y"), encoded[1:])
	if err != nil || string(got) != "y"+string(all) {
		t.Errorf("decoded as %q, %v", got, err)
	}
	for _, bad := range []string{"%", "a%", "%4", "%4g", "%g4", "%%41", "%-1", "% 1"} {
		if got, err := AppendDecode(nil, []byte(bad)); err != ErrEncoding {
			t.Errorf("%q decoded as %q, %v", bad, got, err)
		}
	}
}

func FuzzEncoding(f *testing.F) {
	for _, seed := range []string{"", "a@b", "a%41", "%", "\x00\xff", "%4"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := AppendDecode(nil, AppendEncode(nil, b)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%q became %q, %v", b, got, err)
		}
		if decoded, err := AppendDecode(nil, b); err == nil && bytes.Count(b, []byte("%"))*2 != len(b)-len(decoded) {
			t.Errorf("%q decoded as %q", b, decoded)
		}
	})
}

// FuzzServe checks that every line gets one reply in one write, of the right
// form, whatever the line and however it arrives.
func FuzzServe(f *testing.F) {
	for _, seed := range []string{"get a@b\n", "get a%20b\r\nget none", "\n\n", "get %\n", "get a\x00\n",
		"put x\n", "  get  x \n", "get rude\nget later\n", strings.Repeat("x", 2*testMaxLine) + "\nget a\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		got, err := converse(t, string(input))
		lines := bytes.Split(input, []byte("\n"))
		if len(lines[len(lines)-1]) == 0 {
			lines = lines[:len(lines)-1]
		}
		for i, line := range lines {
			if len(bytes.TrimSuffix(line, []byte("\r"))) > testMaxLine {
				if err != ErrLineTooLong || len(got) != i+1 || got[i] != invalid {
					t.Fatalf("line %d of %q is too long: %q, %v", i, input, got, err)
				}
				return
			}
		}
		if err != nil || len(got) != len(lines) {
			t.Fatalf("%q: %d lines, replies %q, %v", input, len(lines), got, err)
		}
		for i, reply := range got {
			if len(reply) > MaxReply || strings.IndexByte(reply, '\n') != len(reply)-1 || strings.ContainsAny(reply, "\x00\r") {
				t.Fatalf("%q: reply %q", input, reply)
			}
			key, found := strings.CutPrefix(reply, "200 ")
			if !found && reply[:4] != "500 " && reply[:4] != "400 " {
				t.Fatalf("%q: reply %q", input, reply)
			}
			if found && strings.HasPrefix(key, "<") {
				value, err := AppendDecode(nil, []byte(strings.TrimSuffix(key, "\n")))
				if err != nil {
					t.Fatalf("%q: reply %q", input, reply)
				}
				again, _ := converse(t, "get "+string(AppendEncode(nil, value[1:len(value)-1]))+"\n")
				if len(lines[i]) < testMaxLine/3 && again[0] != reply {
					t.Fatalf("%q: reply %q, asked again %q", lines[i], reply, again)
				}
			}
		}
	})
}
