package srs

import "bytes"

// The tags an SRS address begins with. A tag counts only with a separator
// behind it: SRS0@host is somebody's mailbox.
const (
	notSRS = iota
	srs0
	srs1
)

func tagOf(local []byte) int {
	if len(local) <= len("SRS0") || !isSeparator(local[len("SRS0")]) ||
		lower[local[0]] != 's' || lower[local[1]] != 'r' || lower[local[2]] != 's' {
		return notSRS
	}
	switch local[3] {
	case '0':
		return srs0
	case '1':
		return srs1
	}
	return notSRS
}

// The fields of an SRS address, parts of the local part they were read from.
type (
	srs0Fields struct{ hash, stamp, host, user []byte }
	srs1Fields struct{ hash, host, rest []byte }
)

func parseSRS0(local []byte) (f srs0Fields, err error) {
	if f.user = local[len("SRS0="):]; len(f.user) == 0 {
		return f, ErrNoSRS0Hash
	}
	var ok bool
	if f.hash, f.user, ok = cutEquals(f.user); !ok {
		return f, ErrNoSRS0Stamp
	}
	if f.stamp, f.user, ok = cutEquals(f.user); !ok {
		return f, ErrNoSRS0Host
	}
	if f.host, f.user, ok = cutEquals(f.user); !ok {
		return f, ErrNoSRS0User
	}
	return f, nil
}

func parseSRS1(local []byte) (f srs1Fields, err error) {
	if f.rest = local[len("SRS1="):]; len(f.rest) == 0 {
		return f, ErrNoSRS1Hash
	}
	var ok bool
	if f.hash, f.rest, ok = cutEquals(f.rest); !ok {
		return f, ErrNoSRS1Host
	}
	if f.host, f.rest, ok = cutEquals(f.rest); !ok {
		return f, ErrNoSRS1User
	}
	return f, nil
}

func cutEquals(s []byte) (before, after []byte, ok bool) {
	for i, c := range s { // the fields are short
		if c == '=' {
			return s[:i], s[i+1:], true
		}
	}
	return s, nil, false
}

func hasEquals(s []byte) bool { return bytes.IndexByte(s, '=') >= 0 }

func isSeparator(c byte) bool { return c == '=' || c == '+' || c == '-' }

// equalFold compares s with t, which is in lower case, without regard to the
// case of ASCII letters.
func equalFold(s, t []byte) bool {
	if len(s) != len(t) {
		return false
	}
	for i, c := range s {
		if lower[c] != t[i] {
			return false
		}
	}
	return true
}

// compose sets s.out to the local part tag, separator, and fields with an
// equals sign between them.
func (s *signer) compose(tag string, separator byte, fields ...[]byte) {
	s.out = append(append(s.out[:0], tag...), separator)
	for i, field := range fields {
		if i > 0 {
			s.out = append(s.out, '=')
		}
		s.out = append(s.out, field...)
	}
}
