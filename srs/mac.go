package srs

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/transform"
)

// maxHash is how many characters the base64 of a SHA-1 sum has without padding.
const maxHash = 27

// signer holds the keyed state for every secret and the room for one address.
// It serves one call at a time; a Codec keeps a pool of them.
type signer struct {
	macs   []hash.Hash
	fold   cases.Caser
	text   []byte // what is signed
	seen   byte   // the classes of all its octets
	folded []byte // the same, case folded
	local  []byte // a local part without its quotes
	out    []byte // the local part to be
	sum    []byte
	code   [maxHash + 1]byte
}

func newSigner(secrets [][]byte) *signer {
	s := &signer{
		fold: cases.Fold(),
		text: make([]byte, 0, 256),
		sum:  make([]byte, 0, sha1.Size),
	}
	for _, secret := range secrets {
		s.macs = append(s.macs, hmac.New(sha1.New, secret))
	}
	return s
}

// join sets the text to sign: the parts with nothing between them, ASCII in
// lower case.
func (s *signer) join(parts ...[]byte) {
	s.text = s.text[:0]
	var seen uint16
	for _, part := range parts {
		start := len(s.text)
		s.text = slices.Grow(s.text, len(part))[:start+len(part)]
		text := s.text[start:]
		for i, c := range part {
			octet := octets[c]
			text[i] = byte(octet)
			seen |= octet
		}
	}
	s.seen = byte(seen >> 8)
}

// casefold returns the text under full Unicode case folding, or nil if it is
// all ASCII or no UTF-8. Postfix's smtpd folds a recipient so before it asks
// for it.
func (s *signer) casefold() []byte {
	if s.seen&notASCII == 0 || !utf8.Valid(s.text) {
		return nil
	}
	folded, _, err := transform.Append(s.fold, s.folded[:0], s.text)
	if err != nil {
		return nil
	}
	s.folded = folded
	return folded
}

// sign returns the first n base64 characters of text's MAC under one secret,
// valid until the next call.
func (s *signer) sign(mac hash.Hash, text []byte, n int) []byte {
	mac.Reset()
	mac.Write(text)
	s.sum = mac.Sum(s.sum[:0])
	base64.StdEncoding.Encode(s.code[:], s.sum[:min((n+3)/4*3, len(s.sum))])
	return s.code[:n]
}

// hash signs parts with the first secret. What it returns is valid until the
// next signature.
func (c *Codec) hash(s *signer, parts ...[]byte) []byte {
	s.join(parts...)
	text := s.text
	if folded := s.casefold(); folded != nil {
		text = folded
	}
	hash := s.sign(s.macs[0], text, c.hashLength)
	if c.urlSafe {
		for i, char := range hash {
			hash[i] = urlSafe[char]
		}
	}
	return hash
}

// verify compares every character of given with every secret's MAC, in a time
// that tells nothing but given's length, and returns the number of the first
// secret that matches, from 1. Letter case and alphabet do not count.
func (c *Codec) verify(s *signer, given []byte, parts ...[]byte) (secret int, err error) {
	if len(given) < c.hashMinimum {
		return 0, ErrHashTooShort
	}
	if len(given) > maxHash {
		return 0, ErrHashInvalid
	}
	var buffer [maxHash]byte
	want := buffer[:len(given)]
	for i, char := range given {
		want[i] = plain[char]
	}
	s.join(parts...)
	folded := s.casefold()
	for i, mac := range s.macs {
		match := s.matches(mac, s.text, want)
		if folded != nil {
			match |= s.matches(mac, folded, want)
		}
		first := match & subtle.ConstantTimeEq(int32(secret), 0)
		secret = subtle.ConstantTimeSelect(first, i+1, secret)
	}
	if secret == 0 {
		return 0, ErrHashInvalid
	}
	return secret, nil
}

// matches is 1 if text's MAC begins with want, which is in plain characters.
func (s *signer) matches(mac hash.Hash, text, want []byte) int {
	have := s.sign(mac, text, len(want))
	for i, char := range have {
		have[i] = plain[char]
	}
	return subtle.ConstantTimeCompare(want, have)
}

// octets has what join wants to know of each octet in one place: the class in
// the high byte, and in the low one the octet in lower case.
var octets = func() (t [256]uint16) {
	for c := range t {
		t[c] = uint16(class[c])<<8 | uint16(lower[c])
	}
	return t
}()

// Octet to octet: ASCII letters in lower case; the standard base64 alphabet
// in the URL-safe one; either alphabet in the standard one and lower case.
var lower, urlSafe, plain = func() (l, u, p [256]byte) {
	for i := range l {
		c := byte(i)
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		l[i], u[i], p[i] = c, byte(i), c
	}
	u['+'], u['/'] = '-', '_'
	p['-'], p['_'] = '+', '/'
	return l, u, p
}()
