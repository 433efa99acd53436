package rewrite

import (
	"bytes"
	"crypto/sha1"
	"encoding/base32"

	"postsrsd/srs"
)

// Why Reverse does not turn an alias back.
const (
	ErrUnknownAlias = srs.Refusal("Unknown alias.")
	ErrNoDatabase   = srs.Refusal("No database for alias.")
	ErrNoAnswer     = srs.Refusal("Not looked up: the database of aliases does not answer.")
)

// A Store keeps original senders. It is safe for concurrent use, bounds the
// time that it takes, and keeps nothing of its arguments.
type Store interface {
	// Put stores address under key for as long as SRS addresses are valid.
	// Nil means that it is kept.
	Put(key, address []byte) error
	// Get appends the address stored under key, and tells whether there is
	// one. The error is that this could not be found out.
	Get(dst, key []byte) (result []byte, found bool, err error)
}

// An alias is the address KEY@1, which stands in an SRS0 address for the one
// that is stored under it. The key is the SHA-1 sum of that, in base32hex.
const (
	keyLength   = 32
	aliasDomain = "@1"
	fits        = 64 // octets of a local part, RFC 5321
)

// Use has p store senders in s instead of embedding them, all of them, or with
// auto those whose new local part would be over 64 octets. SRS addresses are
// always embedded, and so is what s does not take. It is called before p is used.
func (p *Policy) Use(s Store, auto bool) { p.store, p.auto = s, auto }

// stores tells whether a plain sender is to be stored, of which this, or an
// error, is the embedded form.
func (p *Policy) stores(embedded []byte, err error) bool {
	switch err {
	case nil:
		return !p.auto || bytes.LastIndexByte(embedded, '@') > fits
	case srs.ErrTooLong, srs.ErrEqualsInHost:
		return true // which an alias can carry
	}
	return false
}

// shorten appends the SRS address of an alias for sender, once the store has it.
func (p *Policy) shorten(dst, sender []byte) ([]byte, bool) {
	sum := sha1.Sum(sender)
	alias := base32.HexEncoding.AppendEncode(make([]byte, 0, keyLength+len(aliasDomain)), sum[:])
	alias = append(alias, aliasDomain...)
	if p.store.Put(alias, sender) != nil {
		return dst, false
	}
	result, err := p.codec.AppendForward(dst, alias)
	return result, err == nil
}

// isAlias tells whether address is an alias. Postfix may have folded its case.
func isAlias(address []byte) bool {
	if len(address) != keyLength+len(aliasDomain) || string(address[keyLength:]) != aliasDomain {
		return false
	}
	for _, c := range address[:keyLength] {
		if !('0' <= c && c <= '9' || 'A' <= c && c <= 'V' || 'a' <= c && c <= 'v') {
			return false
		}
	}
	return true
}

// original appends what alias stands for. Alias may lie in dst's spare room.
func (p *Policy) original(dst, alias []byte) ([]byte, error) {
	if p.store == nil {
		return dst, ErrNoDatabase
	}
	result, found, err := p.store.Get(dst, bytes.ToUpper(alias))
	switch {
	case err != nil:
		return dst, ErrNoAnswer
	case !found:
		return dst, ErrUnknownAlias
	}
	return result, nil
}
