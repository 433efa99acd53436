package srs

import "time"

// A Signature is what an SRS address says of itself, and whether one of a
// Codec's secrets stands behind it. What an address says is its writer's word
// alone unless Secret is set.
type Signature struct {
	// Tag is "SRS0" or "SRS1".
	Tag string
	// Domain is what stands behind the @, where the address sends its bounces:
	// the forwarder that wrote it. Empty if there is no @.
	Domain string
	// Host is the domain that Reverse leads to: of an SRS0 address the original
	// sender's, of an SRS1 address the first forwarder's.
	Host string
	// Secret is the number of the secret that signed, from 1, or 0 if none of
	// them did or the hash is shorter than the codec accepts.
	Secret int
	// Signed is the day of an SRS0 address, as midnight UTC. The stamp repeats
	// every 1024 days; this is the last such day. SRS1 addresses have none.
	Signed time.Time
	// DaysLeft is for how many days after today Reverse accepts the stamp of
	// an SRS0 address, and negative if the last one is over.
	DaysLeft int
}

// Explain reads the SRS address whether or not Reverse accepts it. The error
// is ErrNotSRS, tells which part is missing, or is ErrExpired or ErrBadStamp
// for a stamp that is no two base32 digits.
func (c *Codec) Explain(address string) (Signature, error) {
	local, domain, ok := splitAddress([]byte(address))
	if !ok {
		local = []byte(address)
	}
	s := c.signers.Get().(*signer)
	defer c.signers.Put(s)

	if !isQuotedString(local) {
		signature, err := c.explain(s, local)
		if err != nil {
			return Signature{}, err
		}
		// As in AppendReverse: 1.x may have cut at an @ within quotes.
		if _, host, ok := splitAddress(append(append(s.out, '@'), signature.Host...)); ok {
			signature.Host = string(host)
		}
		signature.Domain = string(domain)
		return signature, nil
	}
	signature, err := c.explain(s, appendUnquoted(nil, local))
	if err != nil {
		return Signature{}, err
	}
	if signature.Secret == 0 {
		// As pysrs signs, with backslashes.
		if raw, err := c.explain(s, local[1:len(local)-1]); err == nil && raw.Secret > 0 {
			signature = raw
		}
	}
	signature.Domain = string(domain)
	return signature, nil
}

// explain is Explain for one form of the local part. It leaves the original
// local part in s.out.
func (c *Codec) explain(s *signer, local []byte) (signature Signature, err error) {
	switch tagOf(local) {
	case srs0:
		given, err := parseSRS0(local)
		if err != nil {
			return signature, err
		}
		now := c.now().UTC()
		age, err := stampAge(given.stamp, today(now))
		if err != nil {
			return signature, err
		}
		signature.Tag = "SRS0"
		signature.Signed = now.Truncate(secondsPerDay*time.Second).AddDate(0, 0, -age)
		signature.DaysLeft = c.maxAge - age
		signature.Secret, _ = c.verify(s, given.hash, given.stamp, given.host, given.user)
		signature.Host, s.out = string(given.host), append(s.out[:0], given.user...)
	case srs1:
		given, err := parseSRS1(local)
		if err != nil {
			return signature, err
		}
		signature.Tag = "SRS1"
		signature.Secret, _ = c.verify(s, given.hash, given.host, given.rest)
		signature.Host, s.out = string(given.host), append(append(s.out[:0], "SRS0"...), given.rest...)
	default:
		return signature, ErrNotSRS
	}
	return signature, nil
}
