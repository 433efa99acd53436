package srs

import "crypto/rand"

// DefaultSecretLength is how many characters a generated secret has unless
// the administrator says otherwise: 96 bits.
const DefaultSecretLength = 16

// NewSecret returns a fresh secret of length characters from the system's
// random source. They are base64 characters, six random bits each, so the
// secret can stand on one line of a secret file.
func NewSecret(length int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	secret := make([]byte, length)
	rand.Read(secret)
	for i, b := range secret {
		secret[i] = alphabet[b%64]
	}
	return string(secret)
}
