package config

import (
	"fmt"
	"os"
)

// SecretExposed says that everyone may read or change the secrets in a file,
// "" if not everyone may.
func SecretExposed(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o007 == 0 {
		return ""
	}
	return fmt.Sprintf("every user of this host may read or change the secret (mode %04o), and so sign addresses", info.Mode().Perm())
}
