package supervisor

import (
	"os"

	"postsrsd/internal/config"
)

// chooseLog says where the log goes: to the journal with its priorities where
// standard error is the journal, else to the syslog daemon as 1.x did, unless
// the administrator wants it on standard error.
func chooseLog(c *config.Config) logTarget {
	journal := isJournal(os.Stderr, os.Getenv("JOURNAL_STREAM"))
	switch {
	case c.Log == "syslog":
		return logSyslog
	case journal:
		return logPrefixed
	case c.Log == "stderr":
		return logPlain
	}
	return logSyslog
}
