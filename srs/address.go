package srs

import (
	"bytes"
	"unicode/utf8"
)

// splitAddress cuts addr at its last @ outside quotes. A quote that is never
// closed is an ordinary character.
func splitAddress(addr []byte) (local, host []byte, ok bool) {
	at := bytes.LastIndexByte(addr, '@')
	if bytes.IndexByte(addr, '"') >= 0 {
		if unquoted, balanced := lastUnquotedAt(addr); balanced {
			at = unquoted
		}
	}
	if at < 0 {
		return nil, nil, false
	}
	return addr[:at], addr[at+1:], true
}

func lastUnquotedAt(addr []byte) (at int, balanced bool) {
	at = -1
	quoted := false
	for i := 0; i < len(addr); i++ {
		switch c := addr[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == '@' && !quoted:
			at = i
		}
	}
	return at, !quoted
}

// isQuotedString tells whether local is one RFC 5321 Quoted-string and no more.
func isQuotedString(local []byte) bool {
	if len(local) < 2 || local[0] != '"' {
		return false
	}
	for i := 1; i < len(local); i++ {
		switch local[i] {
		case '\\':
			i++
		case '"':
			return i == len(local)-1
		}
	}
	return false
}

// appendUnquoted appends what the quoted string local stands for.
func appendUnquoted(dst, local []byte) []byte {
	start := len(dst)
	dst = append(dst, local[1:len(local)-1]...)
	return dst[:start+len(unescape(dst[start:]))]
}

// unescape takes the backslashes of quoted pairs out of text, in place.
func unescape(text []byte) []byte {
	kept := text[:0]
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		kept = append(kept, text[i])
	}
	return kept
}

func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// bare tells whether text may stand in a local part without quotes. Where
// dots stand is not looked at: Postfix reads u..v unquoted, and 1.x wrote it so.
func bare(text []byte) bool {
	for _, c := range text {
		if class[c]&special != 0 {
			return false
		}
	}
	return true
}

// dotString is bare for the owner of a quoted local part, who cares about
// dots: an RFC 5321 Dot-string, with RFC 6531's UTF-8.
func dotString(text []byte) bool {
	return len(text) > 0 && text[0] != '.' && text[len(text)-1] != '.' &&
		!bytes.Contains(text, []byte("..")) && bare(text)
}

// What there is to know about an octet.
const (
	special  = 1 << iota // neither RFC 5321 atext nor a dot nor part of UTF-8
	notASCII             // part of UTF-8, as it should be
)

var class = func() (t [256]byte) {
	for c := range t {
		if c <= ' ' || c == 0x7f {
			t[c] = special
		}
		if c >= utf8.RuneSelf {
			t[c] = notASCII
		}
	}
	for _, c := range []byte(`()<>[]:;@\,"`) {
		t[c] = special
	}
	return t
}()
