package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"postsrsd/srs"
)

// Envelopes judges whole envelopes, as a milter sees them, and so can leave
// alone the sender of mail that stays here. It is safe for concurrent use.
type Envelopes struct {
	policy *Policy
	o      EnvelopeOptions
	srs    exclusions // the SRS domain
	local  exclusions // it and the other domains of ours
}

// EnvelopeOptions say what a Policy does not know.
type EnvelopeOptions struct {
	Domain       string   // of the policy's codec
	Own          []string // the policy's own domains
	RewriteLocal bool     // rewrite senders whatever the recipients

	// Aliases returns what tells where mail to a local recipient goes, and
	// what to call when all has been asked. Nil if there is nothing to ask.
	Aliases func() (maps []AliasMap, done func())
}

// NewEnvelopes returns an Envelopes that rewrites what p does.
func NewEnvelopes(p *Policy, o EnvelopeOptions) *Envelopes {
	return &Envelopes{
		policy: p,
		o:      o,
		srs:    newExclusions([]string{o.Domain}),
		local:  newExclusions(append([]string{o.Domain}, o.Own...)),
	}
}

// Refuse returns why mail to recipient is not to be taken: it is an address of
// the SRS domain that Reverse does not reverse. Signed elsewhere it is none of
// our business, and what nobody can tell at the moment is no reason.
func (e *Envelopes) Refuse(recipient string) error {
	address := []byte(recipient)
	if !e.policy.covers(&e.srs, address) {
		return nil
	}
	_, err := e.policy.withLog(func(int, []byte) {}).Reverse(nil, address)
	var why srs.Refusal
	if err == srs.ErrNotSRS || err == ErrNoAnswer || !errors.As(err, &why) {
		return nil
	}
	e.tagged("").refused("srs_reverse", address, why)
	return why
}

// Change returns the sender to use for a message, "" if that stays as it is,
// and its recipients, SRS addresses of ours reversed. The sender is rewritten,
// if Forward does that, unless every recipient is local then and mail to none
// leads elsewhere. More says that there are recipients that are not known;
// they count as if they were elsewhere. Log lines begin with id.
func (e *Envelopes) Change(id, sender string, recipients []string, more bool) (newSender string, newRecipients []string) {
	p := e.tagged(id)
	if more {
		p.log(Notice, []byte("recipients over the limit are left as they are"))
	}
	outside := more || e.o.RewriteLocal
	newRecipients = slices.Clone(recipients)
	for i, recipient := range recipients {
		if result, err := p.Reverse(nil, []byte(recipient)); err == nil {
			newRecipients[i] = string(result)
		}
		outside = outside || !e.isLocal(newRecipients[i])
	}
	if sender == "" || !outside && (e.stays(sender) || !e.leadElsewhere(p, newRecipients)) {
		return "", newRecipients
	}
	result, err := p.Forward(nil, []byte(sender))
	if err != nil {
		return "", newRecipients
	}
	return string(result), newRecipients
}

// isLocal tells whether an address is in a domain of ours, or in none.
func (e *Envelopes) isLocal(address string) bool {
	octets := []byte(address)
	return bytes.IndexByte(octets, '@') < 0 || e.policy.covers(&e.local, octets)
}

// stays tells of most senders that Forward leaves as they are, before anybody
// is asked for their sake.
func (e *Envelopes) stays(sender string) bool {
	octets := []byte(sender)
	if e.policy.covers(&e.policy.excluded, octets) || e.policy.covers(&e.policy.own, octets) {
		return true
	}
	result, err := e.policy.codec.AppendForward(nil, octets)
	return err == nil && bytes.Equal(result, octets)
}

// tagged is the policy with lines that begin with a queue ID, as Postfix's do.
func (e *Envelopes) tagged(id string) *Policy {
	if id == "" {
		id = "NOQUEUE"
	}
	return e.policy.withLog(func(severity int, line []byte) {
		e.policy.log(severity, fmt.Appendf(nil, "%s: %s", id, line))
	})
}

// withLog is p with its lines going elsewhere.
func (p *Policy) withLog(log Log) *Policy {
	other := *p
	other.log = log
	return &other
}
