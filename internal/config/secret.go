package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

const (
	maxSecret     = 1023    // bytes of one secret
	maxSecretFile = 1 << 20 // bytes
)

// ReadSecrets reads a file of secrets as PostSRSd 1.x does, observed on 1.10: a
// line is taken in pieces of 1023 bytes; a piece ends at a NUL; what is a
// secret of it is what follows leading CRs up to the next CR or LF, unless it
// is empty. Spaces count, # begins no comment, the last line needs no end. A
// file without a secret is an error, as is one of more than a mebibyte.
func ReadSecrets(path string) (Secrets, error) {
	data, err := readFile(path, maxSecretFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", noSecretFile, printable(path), err)
	}
	secrets := parseSecrets(data)
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%w: %s holds none, write one line of random characters into it", noSecret, printable(path))
	}
	return secrets, nil
}

func parseSecrets(data []byte) (secrets Secrets) {
	for len(data) > 0 {
		piece := data[:min(len(data), maxSecret)]
		if i := bytes.IndexByte(piece, '\n'); i >= 0 {
			piece = piece[:i+1]
		}
		data = data[len(piece):]
		piece, _, _ = bytes.Cut(piece, []byte{0})
		piece = bytes.TrimLeft(piece, "\r\n")
		if i := bytes.IndexAny(piece, "\r\n"); i >= 0 {
			piece = piece[:i]
		}
		if len(piece) > 0 {
			secrets = append(secrets, bytes.Clone(piece))
		}
	}
	return secrets
}

// readFile reads a file of at most limit bytes. It waits for no writer of a
// named pipe. The error does not repeat the path.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	return readOpen(f, limit)
}

func readOpen(f *os.File, limit int64) ([]byte, error) {
	// Pipes only: bounds the wait for a writer that opened it and is silent.
	// Regular files have no deadlines and need none.
	if err := f.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return nil, reason(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, reason(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	return data, nil
}

// reason takes operation and path off an error of package os.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// judgeSecrets warns of secrets that are short.
func (ld *loading) judgeSecrets(c *Config) {
	least := fmt.Sprintf("SRS_SECRET_LENGTH (%d)", c.SecretLength)
	if c.Conf != "" {
		least = fmt.Sprint(c.SecretLength)
	}
	for i, secret := range c.Secrets {
		if len(secret) < c.SecretLength {
			ld.warn("%s: secret %d of %d has %d characters, fewer than %s",
				printable(c.SecretFile), i+1, len(c.Secrets), len(secret), least)
		}
	}
}
