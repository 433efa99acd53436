package srs

import "errors"

// A Refusal is why an address was not rewritten. Its text is the words that
// PostSRSd 1.x puts into its replies and its log; administrators' scripts
// match on them.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// What Forward and Reverse refuse.
const (
	// Forward.
	ErrNoAtSign  = Refusal("No at sign in sender address")
	ErrNoSecrets = Refusal("No secrets in SRS configuration.")
	ErrTooLong   = Refusal("Buffer too small.")

	// Forward, for a sender that no SRS address could carry there and back.
	ErrEqualsInHost   = Refusal("Not rewritten: the sender's domain holds an equals sign.")
	ErrEmptyLocalPart = Refusal("Not rewritten: the sender's local part is empty.")

	// Reverse.
	ErrNotSRS       = Refusal("Not an SRS address.")
	ErrNoSRS0Hash   = Refusal("No hash in SRS0 address.")
	ErrNoSRS0Stamp  = Refusal("No timestamp in SRS0 address.")
	ErrNoSRS0Host   = Refusal("No host in SRS0 address.")
	ErrNoSRS0User   = Refusal("No user in SRS0 address.")
	ErrExpired      = Refusal("Time stamp out of date.")
	ErrBadStamp     = Refusal("Bad base32 character in timestamp.")
	ErrHashTooShort = Refusal("Hash too short in SRS address.")
	ErrHashInvalid  = Refusal("Hash invalid in SRS address.")
	ErrNoSRS1Hash   = Refusal("No hash in SRS1 address.") // the SRS1 words also from Forward
	ErrNoSRS1Host   = Refusal("No host in SRS1 address.")
	ErrNoSRS1User   = Refusal("No user in SRS1 address.")
)

// What New refuses. The returned error wraps one of these and names the value.
var (
	ErrDomain     = errors.New("srs: bad domain")
	ErrSeparator  = errors.New("srs: bad separator")
	ErrHashLength = errors.New("srs: bad hash length")
	ErrMaxAge     = errors.New("srs: bad maximum age")
	ErrClock      = errors.New("srs: no clock")
)
