// Package srs is a codec for the Sender Rewriting Scheme: a forwarder replaces
// an envelope sender by an address of its own that carries the old one, signed
// and dated, and turns a bounce to that address back.
//
//	SRS0=hash=stamp=host=user@forwarder    for user@host
//	SRS1=hash=host=rest@forwarder          for SRS0rest@host, another forwarder's
//
// The scheme is Meng Weng Wong's of 2003; the fields, the MAC (HMAC-SHA1,
// base64, cut) and the words of every refusal are those of PostSRSd 1.x and
// libsrs2, so that each verifies what the other signed. It differs from them
// where they lose a bounce: local parts are hashed without their quotes and
// the whole of a new local part is quoted where RFC 5321 wants that, and a
// host with an equals sign in it is refused rather than signed.
//
// The package knows addresses only: no network, no files, no clock of its own.
// Which senders to rewrite is its caller's business.
package srs

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Defaults, and the largest address that Forward makes, in octets.
const (
	DefaultSeparator  = '='
	DefaultHashLength = 4
	DefaultMaxAge     = 21
	MaxLength         = 1023
)

// Options say how a Codec writes addresses and which ones it accepts. A zero
// field has the default that is given with it.
type Options struct {
	// Domain stands behind the @ of every address written.
	Domain string
	// Secrets verify, and the first signs. With none, nothing verifies and
	// Forward fails with ErrNoSecrets.
	Secrets [][]byte
	// Separator follows the tag SRS0 or SRS1: one of = + -. Default =.
	Separator byte
	// HashLength is how many characters of the MAC are written, 1 to 27, and
	// HashMinimum how many an address must have, at most HashLength. Default 4.
	HashLength, HashMinimum int
	// URLSafe writes the hash with - and _ in place of + and /. Both verify.
	URLSafe bool
	// MaxAge is for how many days after it was written an address is
	// reversed, 1 to 1022. Default 21.
	MaxAge int
	// AlwaysRewrite rewrites senders in Domain too.
	AlwaysRewrite bool
	// Now is the clock. It must be safe for concurrent use.
	Now func() time.Time
}

// A Codec rewrites addresses. It never changes after New and is safe for
// concurrent use.
type Codec struct {
	domain        []byte // lower case
	written       []byte // as given
	separator     byte
	hashLength    int
	hashMinimum   int
	urlSafe       bool
	maxAge        int
	alwaysRewrite bool
	signs         bool
	now           func() time.Time
	signers       sync.Pool
}

// New returns a Codec for o. Its error wraps ErrDomain, ErrSeparator,
// ErrHashLength, ErrMaxAge or ErrClock and never shows a secret.
func New(o Options) (*Codec, error) {
	orDefault := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	orDefault(&o.HashLength, DefaultHashLength)
	orDefault(&o.HashMinimum, min(DefaultHashLength, o.HashLength))
	orDefault(&o.MaxAge, DefaultMaxAge)
	if o.Separator == 0 {
		o.Separator = DefaultSeparator
	}
	switch {
	case o.Domain == "" || !bare([]byte(o.Domain)):
		return nil, fmt.Errorf("%w %q", ErrDomain, o.Domain)
	case !isSeparator(o.Separator):
		return nil, fmt.Errorf("%w %q: want one of = + -", ErrSeparator, o.Separator)
	case o.HashLength < 1 || o.HashLength > maxHash:
		return nil, fmt.Errorf("%w %d: want 1 to %d", ErrHashLength, o.HashLength, maxHash)
	case o.HashMinimum < 1 || o.HashMinimum > o.HashLength:
		return nil, fmt.Errorf("%w: minimum %d, want 1 to %d", ErrHashLength, o.HashMinimum, o.HashLength)
	case o.MaxAge < 1 || o.MaxAge > daysInCycle-2:
		return nil, fmt.Errorf("%w %d days: want 1 to %d", ErrMaxAge, o.MaxAge, daysInCycle-2)
	case o.Now == nil:
		return nil, ErrClock
	}
	secrets := make([][]byte, len(o.Secrets))
	for i, secret := range o.Secrets {
		secrets[i] = append([]byte(nil), secret...)
	}
	c := &Codec{
		domain:        []byte(strings.ToLower(o.Domain)),
		written:       []byte(o.Domain),
		separator:     o.Separator,
		hashLength:    o.HashLength,
		hashMinimum:   o.HashMinimum,
		urlSafe:       o.URLSafe,
		maxAge:        o.MaxAge,
		alwaysRewrite: o.AlwaysRewrite,
		signs:         len(secrets) > 0,
		now:           o.Now,
	}
	c.signers.New = func() any { return newSigner(secrets) }
	return c, nil
}

// Forward returns the address to send mail under that came from sender: an
// SRS0 address, an SRS1 address if sender is another forwarder's SRS address,
// or sender itself if it is in the codec's domain. Whether sender is already
// an address of this codec is not looked at: ask Reverse.
//
// Addresses are in the form of an SMTP command without the angle brackets,
// the local part quoted where it must be. The error is one of ErrNoAtSign,
// ErrNoSecrets, ErrEqualsInHost, ErrEmptyLocalPart, ErrTooLong, and for a
// malformed SRS1 sender ErrNoSRS1Hash, ErrNoSRS1Host, ErrNoSRS1User.
func (c *Codec) Forward(sender string) (string, error) {
	return c.onStrings(c.AppendForward, sender)
}

// Reverse returns the address that the SRS address stands for, if this codec's
// secrets signed it not longer than the maximum age ago. The domain of address
// is not looked at. The error is ErrNotSRS, or tells what is wrong with the
// SRS address: ErrExpired, ErrHashInvalid and the others below them.
func (c *Codec) Reverse(address string) (string, error) {
	return c.onStrings(c.AppendReverse, address)
}

func (c *Codec) onStrings(f func(dst, address []byte) ([]byte, error), address string) (string, error) {
	result, err := f(nil, []byte(address))
	return string(result), err
}

// AppendForward is Forward on octets: it appends the result to dst and returns
// the extended slice, or dst as it was and the error. It does not allocate
// where dst has room.
func (c *Codec) AppendForward(dst, sender []byte) ([]byte, error) {
	local, host, ok := splitAddress(sender)
	if !ok {
		return dst, ErrNoAtSign
	}
	if !c.alwaysRewrite && equalFold(host, c.domain) {
		return append(dst, sender...), nil
	}
	if !c.signs {
		return dst, ErrNoSecrets
	}
	s := c.signers.Get().(*signer)
	defer c.signers.Put(s)

	quoted := isQuotedString(local)
	if quoted {
		s.local = appendUnquoted(s.local[:0], local)
		local = s.local
		if len(local) == 0 {
			// Reversed it would be @host, which Postfix takes for a
			// pattern and no address.
			return dst, ErrEmptyLocalPart
		}
	}
	var stamp [2]byte
	switch tagOf(local) {
	case srs1:
		given, err := parseSRS1(local)
		if err != nil {
			return dst, err
		}
		s.compose("SRS1", c.separator, c.hash(s, given.host, given.rest), given.host, given.rest)
	case srs0:
		if hasEquals(host) {
			return dst, ErrEqualsInHost
		}
		// The rest begins with the other forwarder's own separator, which
		// makes its address whole again.
		rest := local[len("SRS0"):]
		s.compose("SRS1", c.separator, c.hash(s, host, rest), host, rest)
	default:
		if hasEquals(host) {
			return dst, ErrEqualsInHost
		}
		day := appendStamp(stamp[:0], today(c.now()))
		s.compose("SRS0", c.separator, c.hash(s, day, host, local), day, host, local)
	}
	start := len(dst)
	dst = finish(dst, s.out, c.written, s.seen&special != 0 || quoted && !dotString(s.out))
	if len(dst)-start > MaxLength {
		return dst[:start], ErrTooLong
	}
	return dst, nil
}

// AppendReverse is Reverse on octets, as AppendForward is Forward.
func (c *Codec) AppendReverse(dst, address []byte) ([]byte, error) {
	local, _, ok := splitAddress(address)
	if !ok {
		local = address
	}
	s := c.signers.Get().(*signer)
	defer c.signers.Put(s)

	if isQuotedString(local) {
		s.local = appendUnquoted(s.local[:0], local)
		user, host, err := c.open(s, s.local)
		if err == ErrHashInvalid && bytes.IndexByte(local, '\\') >= 0 {
			// pysrs takes the quotes off and signs the backslashes.
			if user, host, err = c.open(s, local[1:len(local)-1]); err == nil {
				s.out = append(s.out[:0], user...)
				user = unescape(s.out)
			}
		}
		if err != nil {
			return dst, err
		}
		return finish(dst, user, host, !dotString(user)), nil
	}
	user, host, err := c.open(s, local)
	if err != nil {
		return dst, err
	}
	if s.seen&special == 0 {
		return finish(dst, user, host, false), nil
	}
	// 1.x signed quoted strings and address literals as they came and cut at
	// the first @, even inside quotes: put together again it is as it was.
	s.out = finish(s.out[:0], user, host, false)
	user, host, _ = splitAddress(s.out)
	return finish(dst, user, host, !bare(user) && !isQuotedString(user)), nil
}

// open verifies the SRS address with this local part and returns the original
// local part and its host, which are parts of local or of s.
func (c *Codec) open(s *signer, local []byte) (user, host []byte, err error) {
	switch tagOf(local) {
	case srs0:
		given, err := parseSRS0(local)
		if err != nil {
			return nil, nil, err
		}
		if err := checkStamp(given.stamp, today(c.now()), c.maxAge); err != nil {
			return nil, nil, err
		}
		_, err = c.verify(s, given.hash, given.stamp, given.host, given.user)
		return given.user, given.host, err
	case srs1:
		given, err := parseSRS1(local)
		if err != nil {
			return nil, nil, err
		}
		s.out = append(append(s.out[:0], "SRS0"...), given.rest...)
		_, err = c.verify(s, given.hash, given.host, given.rest)
		return s.out, given.host, err
	}
	return nil, nil, ErrNotSRS
}

// finish appends local@host, the local part in quotes if they are needed.
func finish(dst, local, host []byte, quotes bool) []byte {
	if quotes {
		dst = appendQuoted(dst, local)
	} else {
		dst = append(dst, local...)
	}
	return append(append(dst, '@'), host...)
}
