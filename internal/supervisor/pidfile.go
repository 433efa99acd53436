package supervisor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A pidFile holds the supervisor's process number, digits only, as 1.x wrote it.
type pidFile string

func (p pidFile) write() error {
	if p == "" {
		return nil
	}
	if err := os.WriteFile(string(p), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		os.Remove(string(p)) // an empty one would be as bad as a stale one
		return fmt.Errorf("cannot write the pid file: %w", err)
	}
	return nil
}

// remove takes the file away unless another process has written it since.
func (p pidFile) remove() {
	if p == "" {
		return
	}
	text, err := os.ReadFile(string(p))
	if err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(os.Getpid()) {
		os.Remove(string(p))
	}
}
