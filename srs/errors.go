package srs

import "errors"

// What Forward and Reverse refuse. The texts are the words that PostSRSd 1.x
// puts into its replies and its log; administrators' scripts match on them.
var (
	// Forward.
	ErrNoAtSign  = errors.New("No at sign in sender address")
	ErrNoSecrets = errors.New("No secrets in SRS configuration.")
	ErrTooLong   = errors.New("Buffer too small.")

	// Forward, for a sender that no SRS address could carry there and back.
	ErrEqualsInHost   = errors.New("Not rewritten: the sender's domain holds an equals sign.")
	ErrEmptyLocalPart = errors.New("Not rewritten: the sender's local part is empty.")

	// Reverse.
	ErrNotSRS       = errors.New("Not an SRS address.")
	ErrNoSRS0Hash   = errors.New("No hash in SRS0 address.")
	ErrNoSRS0Stamp  = errors.New("No timestamp in SRS0 address.")
	ErrNoSRS0Host   = errors.New("No host in SRS0 address.")
	ErrNoSRS0User   = errors.New("No user in SRS0 address.")
	ErrExpired      = errors.New("Time stamp out of date.")
	ErrBadStamp     = errors.New("Bad base32 character in timestamp.")
	ErrHashTooShort = errors.New("Hash too short in SRS address.")
	ErrHashInvalid  = errors.New("Hash invalid in SRS address.")
	ErrNoSRS1Hash   = errors.New("No hash in SRS1 address.") // the SRS1 words also from Forward
	ErrNoSRS1Host   = errors.New("No host in SRS1 address.")
	ErrNoSRS1User   = errors.New("No user in SRS1 address.")
)

// What New refuses. The returned error wraps one of these and names the value.
var (
	ErrDomain     = errors.New("srs: bad domain")
	ErrSeparator  = errors.New("srs: bad separator")
	ErrHashLength = errors.New("srs: bad hash length")
	ErrMaxAge     = errors.New("srs: bad maximum age")
	ErrClock      = errors.New("srs: no clock")
)
