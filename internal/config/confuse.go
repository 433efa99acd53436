package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The syntax of postsrsd.conf is that of libConfuse, which PostSRSd 2.x reads
// it with: "key = value" and "key = { value, value }", separated by nothing in
// particular. What a value means was observed on libConfuse 3.3, and is the
// same here for every file that it accepts, but for one that ends inside a
// comment, or leaves out a * or a + that stands outside quotes. Unlike it this
// reader takes comments at any place.

// A statement is one "key = value".
type statement struct {
	key    string
	line   int
	list   bool // in braces
	add    bool // with +=
	values []word
}

// A word is a bare word or a quoted string, or with kind other than 'w' one
// character of punctuation, '+' for += and 0 for the end of the file.
type word struct {
	kind byte
	text string
	line int
}

// confReader reads statements one after the other.
type confReader struct {
	rest   string
	line   int
	open   bool                   // no } follows any more
	before string                 // the key of the statement before
	knows  func(key string) error // asked before the value is looked at
	getenv func(name string) (string, bool)
	unset  func(line int, name string) // told of variables that are not set
}

// placedError is what is wrong on one line.
type placedError struct {
	line int
	err  error
}

func (e *placedError) Error() string { return fmt.Sprintf("%d: %v", e.line, e.err) }
func (e *placedError) Unwrap() error { return e.err }

func wrongAt(line int, format string, a ...any) error {
	return &placedError{line, fmt.Errorf(format, a...)}
}

// next returns the next statement; one without a key means the end.
func (r *confReader) next() (statement, error) {
	key, err := r.word()
	if err == nil && key.kind == 0 {
		return statement{}, nil
	}
	if err == nil && key.kind != 'w' {
		err = wrongAt(key.line, "%v stands where another key should begin", key)
	}
	if err != nil {
		return statement{}, within(r.before, err)
	}
	if err := r.knows(key.text); err != nil {
		return statement{}, &placedError{key.line, err}
	}
	st := statement{key: key.text, line: key.line}
	if err := r.value(&st); err != nil {
		return statement{}, within(key.text, err)
	}
	r.before = key.text
	return st, nil
}

// within adds the key, if any, to what is wrong behind it.
func within(key string, err error) error {
	if key == "" {
		return err
	}
	wrong := err.(*placedError)
	return wrongAt(wrong.line, "%s: %w", key, wrong.err)
}

// value reads what follows the key.
func (r *confReader) value(st *statement) error {
	op, err := r.word()
	if err != nil {
		return err
	}
	if op.kind != '=' && op.kind != '+' {
		return wrongAt(op.line, "%v stands where = should", op)
	}
	st.add = op.kind == '+'
	v, err := r.word()
	switch {
	case err != nil:
		return err
	case v.kind == '{':
		st.list = true
		return r.list(st, v.line)
	case v.kind == 0:
		return wrongAt(st.line, "there is no value")
	case v.kind != 'w':
		return wrongAt(v.line, "%v stands where the value should begin: put it in quotes", v)
	}
	st.values = []word{v}
	return nil
}

// list reads up to the closing brace. A comma may stand before it.
func (r *confReader) list(st *statement, opened int) error {
	for {
		v, err := r.word()
		if err != nil {
			return err
		}
		switch v.kind {
		case '}':
			return nil
		case 'w':
			st.values = append(st.values, v)
		case 0:
			return wrongAt(opened, "the list is not closed with }")
		default:
			return wrongAt(v.line, "%v stands where an entry of the list should begin", v)
		}
		comma, err := r.word()
		if err != nil {
			return err
		}
		switch comma.kind {
		case '}':
			return nil
		case ',':
		case 0:
			return wrongAt(opened, "the list is not closed with }")
		default:
			return wrongAt(comma.line, "%v stands where , or } should", comma)
		}
	}
}

func (w word) String() string {
	switch w.kind {
	case 0:
		return "the end of the file"
	case 'w':
		return show(w.text)
	case '+':
		return "+="
	}
	return string(w.kind)
}

// outside are the characters that a bare word cannot hold.
const outside = " \t\r\n\"'#()+,={}*"

// word reads what comes next behind white space and comments.
func (r *confReader) word() (word, error) {
	if err := r.skip(); err != nil {
		return word{}, err
	}
	w := word{line: r.line}
	if r.rest == "" {
		return w, nil
	}
	switch c := r.rest[0]; {
	case strings.HasPrefix(r.rest, "+="):
		w.kind, r.rest = '+', r.rest[2:]
	case strings.IndexByte("={},", c) >= 0:
		w.kind, r.rest = c, r.rest[1:]
	case c == '"':
		return r.doubleQuoted()
	case c == '\'':
		return r.singleQuoted()
	case r.atVariable():
		w.kind, w.text = 'w', r.variable()
	case strings.IndexByte(outside, c) >= 0:
		return word{}, wrongAt(r.line, "%c has to stand in quotes", c)
	default:
		n := strings.IndexAny(r.rest, outside)
		if n < 0 {
			n = len(r.rest)
		}
		w.kind, w.text, r.rest = 'w', r.rest[:n], r.rest[n:]
	}
	return w, whole(w)
}

// whole refuses what a C string cannot hold.
func whole(w word) error {
	if strings.IndexByte(w.text, 0) >= 0 {
		return wrongAt(w.line, "%s: there is a NUL in it", show(w.text))
	}
	return nil
}

// skip passes over white space and comments.
func (r *confReader) skip() error {
	for {
		r.advance(len(r.rest) - len(strings.TrimLeft(r.rest, " \t\r\n")))
		switch {
		case strings.HasPrefix(r.rest, "#"), strings.HasPrefix(r.rest, "//"):
			n := strings.IndexByte(r.rest, '\n')
			if n < 0 {
				n = len(r.rest)
			}
			r.advance(n)
		case strings.HasPrefix(r.rest, "/*"):
			n := strings.Index(r.rest[2:], "*/")
			if n < 0 {
				return wrongAt(r.line, "the comment that begins here is not closed with */")
			}
			r.advance(n + 4)
		default:
			return nil
		}
	}
}

func (r *confReader) advance(n int) {
	r.line += strings.Count(r.rest[:n], "\n")
	r.rest = r.rest[n:]
}

func (r *confReader) singleQuoted() (word, error) {
	w := word{kind: 'w', line: r.line}
	var b strings.Builder
	for s := r.rest[1:]; ; {
		n := strings.IndexAny(s, `'\`)
		if n < 0 || s[n] == '\\' && n+1 == len(s) {
			return word{}, wrongAt(w.line, "the quote ' that begins here is not closed")
		}
		b.WriteString(s[:n])
		if s[n] == '\'' {
			r.advance(len(r.rest) - len(s) + n + 1)
			w.text = b.String()
			return w, whole(w)
		}
		switch c := s[n+1]; c {
		case '\n':
		case '\'', '\\':
			b.WriteByte(c)
		default:
			b.WriteString(s[n : n+2])
		}
		s = s[n+2:]
	}
}

func (r *confReader) doubleQuoted() (word, error) {
	w := word{kind: 'w', line: r.line}
	var b strings.Builder
	r.rest = r.rest[1:]
	for {
		n := strings.IndexAny(r.rest, `"\$`)
		if n < 0 || r.rest[n] == '\\' && n+1 == len(r.rest) {
			return word{}, wrongAt(w.line, `the quote " that begins here is not closed`)
		}
		b.WriteString(r.rest[:n])
		r.advance(n)
		switch r.rest[0] {
		case '"':
			r.rest = r.rest[1:]
			w.text = b.String()
			return w, whole(w)
		case '\\':
			if err := r.escape(&b); err != nil {
				return word{}, &placedError{r.line, err}
			}
		case '$':
			if r.atVariable() {
				b.WriteString(r.variable())
			} else {
				b.WriteByte('$')
				r.rest = r.rest[1:]
			}
		}
	}
}

// escape reads a backslash and what belongs to it.
func (r *confReader) escape(b *strings.Builder) error {
	switch c := r.rest[1]; {
	case c == '\n':
		r.advance(2)
	case '0' <= c && c <= '9':
		n := 2
		for n < len(r.rest) && '0' <= r.rest[n] && r.rest[n] <= '9' {
			n++
		}
		code, err := strconv.ParseUint(r.rest[1:n], 8, 8)
		if err != nil || n > 4 {
			return errors.New(show(r.rest[:n]) + ` is no octal number up to \377`)
		}
		b.WriteByte(byte(code))
		r.rest = r.rest[n:]
	case c == 'x':
		n := 2
		for n < min(4, len(r.rest)) && strings.IndexByte("0123456789abcdefABCDEF", r.rest[n]) >= 0 {
			n++
		}
		if code, err := strconv.ParseUint(r.rest[2:n], 16, 8); err == nil {
			b.WriteByte(byte(code))
		} else {
			b.WriteByte('x')
		}
		r.rest = r.rest[n:]
	default:
		if i := strings.IndexByte("abefnrtv", c); i >= 0 {
			c = "\a\b\x1b\f\n\r\t\v"[i]
		}
		b.WriteByte(c)
		r.rest = r.rest[2:]
	}
	return nil
}

func (r *confReader) atVariable() bool {
	if r.open || !strings.HasPrefix(r.rest, "${") {
		return false
	}
	r.open = strings.IndexByte(r.rest, '}') < 0 // not to be looked for again and again
	return !r.open
}

// variable reads ${NAME} or ${NAME:-default} and returns what it stands for. A
// variable that is set and empty has no default.
func (r *confReader) variable() string {
	line, end := r.line, strings.IndexByte(r.rest, '}')
	name, byDefault, hasDefault := strings.Cut(r.rest[2:end], ":-")
	r.advance(end + 1)
	value, set := r.getenv(name)
	if !set {
		value = byDefault
		if !hasDefault {
			r.unset(line, name)
		}
	}
	return value
}
