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
	err := whoMay(string(p), func() error { return os.WriteFile(string(p), []byte(strconv.Itoa(os.Getpid())), 0o644) })
	if err != nil {
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
	whoMay(string(p), func() error {
		text, err := os.ReadFile(string(p))
		if err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(os.Getpid()) {
			err = os.Remove(string(p))
		}
		return err
	})
}
