// Package rewrite decides which addresses are rewritten, says why the others
// are not, and makes the log lines. Tables, milter and command line all ask
// it; how an address is rewritten is package srs's business.
//
// The order of decisions and the words are PostSRSd 1.x's for tcp_table, and
// PostSRSd 2.x's for socketmap.
package rewrite

import (
	"bytes"
	"sync"

	"postsrsd/srs"
)

// Why Forward leaves a sender alone, beside what package srs refuses.
const (
	ErrExcluded  = srs.Refusal("Domain excluded by policy")
	ErrRewritten = srs.Refusal("Already rewritten")
	ErrOwnDomain = srs.Refusal("Need not rewrite local domain.")
	ErrNoDomain  = srs.Refusal("No domain.") // ForwardSocketmap's for srs.ErrNoAtSign
)

// A Log takes one line and keeps nothing of it; severities are syslog's. It
// must not block, and is called from many goroutines.
type Log func(severity int, line []byte)

// The severities of the lines that a Policy writes.
const (
	Warning = 4
	Notice  = 5
	Info    = 6
)

// A Policy answers lookups. It never changes and is safe for concurrent use.
type Policy struct {
	codec    *srs.Codec
	excluded exclusions
	own      exclusions
	log      Log
	store    Store // nil to embed every sender
	auto     bool  // store only what does not fit
}

// room holds one line or one domain while it is needed.
type room struct{ text []byte }

var rooms = sync.Pool{New: func() any { return &room{make([]byte, 0, 256)} }}

// New returns a Policy that rewrites with codec except for the senders in
// excluded, and in own, which are domains of ours beside the codec's: an entry
// d stands for the domain d, and .d for every domain that ends in .d. Letter
// case does not count.
func New(codec *srs.Codec, excluded, own []string, log Log) *Policy {
	return &Policy{codec: codec, excluded: newExclusions(excluded), own: newExclusions(own), log: log}
}

// Forward appends the sender to use for mail from sender that goes on to
// another host. The error is ErrExcluded, ErrRewritten for an address that
// Reverse reverses, ErrOwnDomain, or one of srs.Codec.Forward's.
func (p *Policy) Forward(dst, sender []byte) ([]byte, error) {
	if p.covers(&p.excluded, sender) {
		p.refused("srs_forward", sender, ErrExcluded)
		return dst, ErrExcluded
	}
	if p.covers(&p.own, sender) && bytes.IndexByte(sender, '@') >= 0 {
		return dst, ErrOwnDomain
	}
	start := len(dst)
	result, err := p.codec.AppendReverse(dst, sender)
	if err == nil {
		writeLine(p, Notice, "srs_forward", sender, "> not rewritten: Valid SRS address for <", result[start:], ">")
		return dst, ErrRewritten
	}
	plain := err == srs.ErrNotSRS
	result, err = p.codec.AppendForward(dst, sender)
	if err == nil && bytes.Equal(result[start:], sender) {
		return dst, ErrOwnDomain
	}
	if p.store != nil && plain && p.stores(result[start:], err) {
		if alias, ok := p.shorten(dst, sender); ok {
			result, err = alias, nil
		}
	}
	if err != nil {
		p.refused("srs_forward", sender, err)
		return dst, err
	}
	writeLine(p, Info, "srs_forward", sender, "> rewritten as <", result[start:], ">")
	return result, nil
}

// Reverse appends the address that recipient stands for. The error is
// ErrUnknownAlias, ErrNoDatabase, ErrNoAnswer, or one of srs.Codec.Reverse's;
// recipients that are no SRS addresses are not logged.
func (p *Policy) Reverse(dst, recipient []byte) ([]byte, error) {
	start := len(dst)
	result, err := p.codec.AppendReverse(dst, recipient)
	if err == nil && isAlias(result[start:]) {
		result, err = p.original(dst, result[start:])
	}
	switch {
	case err == nil:
		writeLine(p, Info, "srs_reverse", recipient, "> rewritten as <", result[start:], ">")
	case err != srs.ErrNotSRS:
		p.refused("srs_reverse", recipient, err)
	}
	return result, err
}

// ForwardTCP is Forward in tcp_table's words. A sender in the own domain is
// found as it is, which ends Postfix's chain of maps.
func (p *Policy) ForwardTCP(dst, sender []byte) ([]byte, error) {
	result, err := p.Forward(dst, sender)
	if err == ErrOwnDomain {
		return append(dst, sender...), nil
	}
	return result, err
}

// ForwardSocketmap is Forward in socketmap's words.
func (p *Policy) ForwardSocketmap(dst, sender []byte) ([]byte, error) {
	result, err := p.Forward(dst, sender)
	switch err {
	case ErrExcluded:
		err = ErrOwnDomain
	case srs.ErrNoAtSign:
		err = ErrNoDomain
	}
	return result, err
}

func (p *Policy) refused(table string, address []byte, why error) {
	writeLine(p, Info, table, address, "> not rewritten: ", why.Error(), "")
}

// writeLine logs "table: <address" and the rest as it stands.
func writeLine[T string | []byte](p *Policy, severity int, table string, address []byte, what string, result T, end string) {
	r := rooms.Get().(*room)
	line := append(r.text[:0], table...)
	line = append(line, ": <"...)
	line = append(line, address...)
	line = append(line, what...)
	line = append(line, result...)
	line = append(line, end...)
	p.log(severity, line)
	r.text = line
	rooms.Put(r)
}
