package socketmap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// words is an error whose text is a reply's.
type words string

func (w words) Error() string { return string(w) }

var (
	errNoDomain error = words("No domain.")
	errAway     error = &Error{StatusTemp, "Database is away."}
)

// echo knows one map, which finds every key but a few.
func echo(dst, name, key []byte) ([]byte, error) {
	if string(name) != "echo" {
		return dst, ErrUnknownMap
	}
	switch string(key) {
	case "none":
		return dst, errNoDomain
	case "later":
		return dst, errAway
	case "wrapped":
		return dst, errors.Join(errAway)
	case "verbose":
		return dst, words(strings.Repeat("é", MaxFrame))
	case "exact": // with "OK " the longest reply there is
		return append(dst, strings.Repeat("v", MaxFrame-len("OK "))...), nil
	case "over":
		return append(dst, strings.Repeat("v", MaxFrame-len("OK ")+1)...), nil
	}
	return append(append(append(dst, '<'), key...), '>'), nil
}

// writes records what was written, call by call.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

const testMaxRequest = 100

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
		err := Serve(r, &got, testMaxRequest, echo)
		if i == 0 {
			first, firstErr = got, err
		} else if err != firstErr || strings.Join(got, "|") != strings.Join(first, "|") {
			t.Fatalf("%.200q: reader %d: %.200q, %v; reader 0: %.200q, %v", input, i, got, err, first, firstErr)
		}
	}
	reply, whole := Answer([]byte("before "), []byte(input), testMaxRequest, echo)
	if whole && (firstErr != nil || len(first) != 1 || string(reply) != "before "+first[0]) {
		t.Fatalf("%.200q: Answer says %.200q, Serve %.200q, %v", input, reply, first, firstErr)
	}
	return first, firstErr
}

// What is not one whole request, Answer leaves to Serve.
func TestAnswer(t *testing.T) {
	for request, want := range map[string]string{
		frame("echo a"):                   frame("OK <a>"),
		frame("echo none"):                frame("NOTFOUND No domain."),
		frame("echo"):                     "",
		frame("echo a") + "1":             "",
		frame("echo a") + frame("echo b"): "",
		"":                                "",
		"6":                               "",
		"6:":                              "",
		"6:echo a":                        "",
		"6:echo a;":                       "",
		"06:echo a,":                      "",
		"7:echo a,":                       "",
		":echo a,":                        "",
		"99999999999999999999999:echo a,": "",
		frame("echo " + strings.Repeat("x", testMaxRequest)): "",
	} {
		reply, whole := Answer(nil, []byte(request), testMaxRequest, echo)
		if string(reply) != want || whole != (want != "") {
			t.Errorf("%q: %q, %v", request, reply, whole)
		}
	}
}

func frame(s string) string { return fmt.Sprintf("%d:%s,", len(s), s) }

func TestServe(t *testing.T) {
	const (
		invalid = "19:PERM Invalid query.,"
		big     = "17:NOTFOUND Too big.,"
	)
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct {
		name, input string
		want        []string
		err         error
	}{
		{"plain", "8:echo a@b,", []string{"8:OK <a@b>,"}, nil},
		{"key with a space", frame("echo a b"), []string{"8:OK <a b>,"}, nil},
		{"leading space", frame("echo  a"), []string{"7:OK < a>,"}, nil},
		{"empty key", frame("echo "), []string{"5:OK <>,"}, nil},
		{"nothing is decoded", frame("echo %41%"), []string{"9:OK <%41%>,"}, nil},
		{"8 bit", frame("echo caf\xc3\xa9"), []string{frame("OK <caf\xc3\xa9>")}, nil},
		{"line end", frame("echo a\r\n"), []string{frame("OK <a\r\n>")}, nil},
		{"comma and colon", frame("echo 1:a,"), []string{frame("OK <1:a,>")}, nil},
		{"not found", frame("echo none"), []string{"19:NOTFOUND No domain.,"}, nil},
		{"status of its own", frame("echo later"), []string{frame("TEMP Database is away.")}, nil},
		{"status within", frame("echo wrapped"), []string{frame("TEMP Database is away.")}, nil},
		{"long words", frame("echo verbose"), []string{frame("NOTFOUND " + strings.Repeat("é", 500))}, nil},
		{"longest reply", frame("echo exact"), []string{frame("OK " + strings.Repeat("v", MaxFrame-3))}, nil},
		{"reply too long", frame("echo over"), []string{frame("NOTFOUND Buffer too small.")}, nil},
		{"unknown map", frame("ohce a"), []string{"17:PERM Invalid map.,"}, nil},
		{"no map name", frame(" a"), []string{"17:PERM Invalid map.,"}, nil},
		{"NUL in the key", frame("echo a\x00b"), []string{"23:NOTFOUND Invalid query.,"}, nil},
		{"NUL in the name", frame("echo\x00 a"), []string{"17:PERM Invalid map.,"}, nil},
		{"goes on", frame("ohce a") + frame("echo a\x00") + frame("echo none") + frame("echo a"),
			[]string{"17:PERM Invalid map.,", "23:NOTFOUND Invalid query.,", "19:NOTFOUND No domain.,", "6:OK <a>,"}, nil},
		{"nothing", "", nil, nil},

		{"longest request", frame("echo " + x(95)), []string{frame("OK <" + x(95) + ">")}, nil},
		{"request too long", frame("echo "+x(96)) + frame("echo a"), []string{big, "6:OK <a>,"}, nil},
		{"longest frame", frame("echo "+x(MaxFrame-5)) + frame("echo a"), []string{big, "6:OK <a>,"}, nil},
		{"too long without a space", frame(x(200)) + frame("echo a"), []string{big, "6:OK <a>,"}, nil},
		{"too long, no comma", "200:" + x(200) + ";" + frame("echo a"), []string{invalid}, ErrMalformed},
		{"too long, truncated", "200:" + x(100), []string{invalid}, ErrMalformed},

		{"no space", frame("echo") + frame("echo a"), []string{invalid}, ErrQuery},
		{"empty frame", "0:,", []string{invalid}, ErrQuery},
		{"over the protocol's limit", frame(x(MaxFrame + 1)), []string{invalid}, ErrMalformed},
		{"a gibibyte", "1073741824:", []string{invalid}, ErrMalformed},
		{"twenty digits", "18446744073709551624:echo a@b,", []string{invalid}, ErrMalformed},
		{"forty digits", "8000000000000000000000000000000000000000:", []string{invalid}, ErrMalformed},
		{"negative", "-8:echo a@b,", []string{invalid}, ErrMalformed},
		{"plus", "+8:echo a@b,", []string{invalid}, ErrMalformed},
		{"leading zero", "08:echo a@b,", []string{invalid}, ErrMalformed},
		{"two zeros", "00:,", []string{invalid}, ErrMalformed},
		{"empty length", ":echo a@b,", []string{invalid}, ErrMalformed},
		{"hexadecimal", "0x8:echo a@b,", []string{invalid}, ErrMalformed},
		{"space before the length", " 8:echo a@b,", []string{invalid}, ErrMalformed},
		{"space after the length", "8 :echo a@b,", []string{invalid}, ErrMalformed},
		{"no colon", "8echo a@b,", []string{invalid}, ErrMalformed},
		{"missing comma", "8:echo a@b" + frame("echo a"), []string{invalid}, ErrMalformed},
		{"length too small", "7:echo a@b,", []string{invalid}, ErrMalformed},
		{"length too large", "9:echo a@b,", []string{invalid}, ErrMalformed},
		{"line end for a comma", "8:echo a@b\n", []string{invalid}, ErrMalformed},
		{"trailing garbage", "8:echo a@b,garbage", []string{"8:OK <a@b>,", invalid}, ErrMalformed},
		{"trailing line end", "8:echo a@b,\n", []string{"8:OK <a@b>,", invalid}, ErrMalformed},
		{"truncated in the length", "8", []string{invalid}, ErrMalformed},
		{"truncated after the colon", "8:", []string{invalid}, ErrMalformed},
		{"truncated", "8:echo a", []string{invalid}, ErrMalformed},
		{"truncated before the comma", "8:echo a@b", []string{invalid}, ErrMalformed},
		{"tcp_table", "get a@b\n", []string{invalid}, ErrMalformed},
		{"endless", strings.Repeat("1", 1<<20), []string{invalid}, ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := converse(t, test.input)
			if strings.Join(got, "|") != strings.Join(test.want, "|") || err != test.err {
				t.Errorf("got %.200q, %v\nwant %.200q, %v", got, err, test.want, test.err)
			}
		})
	}
}

// What the other side breaks is returned as it is, without a reply.
func TestServeErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, begun := range []string{"", "8", "8:", "8:echo", "8:echo a@b", "200:xxx"} {
		var got writes
		r := bufio.NewReaderSize(io.MultiReader(strings.NewReader(frame("echo a")+begun), iotest.ErrReader(broken)), 16)
		if err := Serve(r, &got, testMaxRequest, echo); err != broken || len(got) != 1 {
			t.Errorf("reading %q: %q, %v", begun, got, err)
		}
	}
	r := bufio.NewReader(strings.NewReader(frame("echo a") + frame("echo a")))
	if err := Serve(r, brokenWriter{broken}, testMaxRequest, echo); err != broken {
		t.Errorf("writing: %v", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestReadNetstring(t *testing.T) {
	for _, test := range []struct {
		input, want, rest string
		err               error
	}{
		{"0:,rest", "", "rest", nil},
		{"5:hello,rest", "hello", "rest", nil},
		{"10:1234567890,", "1234567890", "", nil},
		{"11:12345678901,rest", "", "rest", ErrTooBig},
		{"11:12345678901", "", "", ErrMalformed},
		{"5:hell", "", "", ErrMalformed},
		{"5", "", "", ErrMalformed},
		{"100001:", "", ":", ErrMalformed},
		{"", "", "", io.EOF},
	} {
		r := bufio.NewReader(strings.NewReader(test.input))
		got, err := ReadNetstring(r, []byte("dst "), 10)
		if string(got) != "dst "+test.want || err != test.err {
			t.Errorf("%q: %q, %v", test.input, got, err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != test.rest {
			t.Errorf("%q: left %q", test.input, rest)
		}
	}
}

// Announcing much costs nothing.
func TestReadNetstringAllocates(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("100000:abc"))
	got, err := ReadNetstring(r, nil, MaxFrame)
	if err != ErrMalformed || cap(got) > 100 {
		t.Errorf("%d bytes for 3, %v", cap(got), err)
	}
}

// FuzzNetstring checks that what is read is written the same way: there is one
// netstring for each string of bytes.
func FuzzNetstring(f *testing.F) {
	for _, seed := range []string{"0:,", "5:hello,", "05:hello,", "5:hello", "5;hello,", "99999999999999999999:", "-1:,", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		got, err := ReadNetstring(bufio.NewReaderSize(bytes.NewReader(input), 16), nil, MaxFrame)
		if err == nil && !bytes.HasPrefix(input, AppendNetstring(nil, got)) {
			t.Errorf("%q read as %q", input, got)
		}
		if err != nil && len(got) > 0 {
			t.Errorf("%q read as %q, %v", input, got, err)
		}
		if len(input) <= MaxFrame {
			r := bufio.NewReaderSize(bytes.NewReader(AppendNetstring(nil, input)), 16)
			if got, err := ReadNetstring(r, nil, MaxFrame); err != nil || !bytes.Equal(got, input) {
				t.Errorf("%q became %q, %v", input, got, err)
			}
		}
	})
}

// FuzzServe checks that every frame gets one reply in one write, of the right
// form, however it arrives, and that nothing follows the reply to a bad one.
func FuzzServe(f *testing.F) {
	for _, seed := range []string{frame("echo a"), frame("echo a") + frame("x y"), frame("echo"), "3:abc;", "1",
		frame(strings.Repeat("x", 101)) + frame("echo none"), "get a\n", frame("echo a\x00") + "00:,"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		got, err := converse(t, string(input))
		r := bufio.NewReader(bytes.NewReader(input))
		for i, reply := range got {
			request, requestErr := ReadNetstring(r, nil, testMaxRequest)
			in := bufio.NewReader(strings.NewReader(reply))
			text, replyErr := ReadNetstring(in, nil, MaxFrame)
			if replyErr != nil || in.Buffered() > 0 {
				t.Fatalf("%q: reply %q", input, reply)
			}
			status, _, _ := strings.Cut(string(text), " ")
			bad := requestErr == ErrMalformed || requestErr == nil && !bytes.Contains(request, []byte(" "))
			if bad != (string(text) == "PERM Invalid query.") || bad != (err != nil && i == len(got)-1) {
				t.Fatalf("%q: replies %q, %v", input, got, err)
			}
			known := requestErr == nil && bytes.HasPrefix(request, []byte("echo "))
			if found := known && !bytes.Contains(request, []byte{0}); status == StatusOK && !found {
				t.Fatalf("%q: request %q, reply %q", input, request, text)
			}
		}
		if _, rest := ReadNetstring(r, nil, testMaxRequest); err == nil && rest != io.EOF {
			t.Fatalf("%q: unanswered after %q", input, got)
		}
	})
}
