package rewrite

import (
	"bytes"
	"strings"
)

// exclusions finds a domain among any number of entries with one look-up for
// the domain and one for each dot in it.
type exclusions struct {
	domains  map[string]struct{} // d
	suffixes map[string]struct{} // .d
	longest  int                 // entry, in octets
}

func newExclusions(entries []string) exclusions {
	e := exclusions{domains: map[string]struct{}{}, suffixes: map[string]struct{}{}}
	for _, entry := range entries {
		entry = asciiLower(entry)
		if strings.HasPrefix(entry, ".") {
			e.suffixes[entry] = struct{}{}
		} else {
			e.domains[entry] = struct{}{}
		}
		e.longest = max(e.longest, len(entry))
	}
	return e
}

// covers tells whether an entry covers sender. As in 1.x a suffix is also
// found at the end of a sender without an @, but is not the whole of it.
func (p *Policy) covers(e *exclusions, sender []byte) bool {
	if e.longest == 0 {
		return false
	}
	at := bytes.LastIndexByte(sender, '@')
	tail := max(at+1, len(sender)-e.longest)
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	r.text = append(r.text[:0], sender[tail:]...)
	for i, c := range r.text {
		if 'A' <= c && c <= 'Z' {
			r.text[i] = c + 'a' - 'A'
		}
	}
	if at >= 0 && tail == at+1 {
		if _, found := e.domains[string(r.text)]; found {
			return true
		}
	}
	for i, c := range r.text {
		if c == '.' && tail+i > 0 {
			if _, found := e.suffixes[string(r.text[i:])]; found {
				return true
			}
		}
	}
	return false
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
