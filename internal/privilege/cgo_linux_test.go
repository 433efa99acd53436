//go:build cgo

package privilege

import (
	"errors"
	"testing"
)

// A program with cgo in it, as this test is when built so, must not believe itself jailed.
func TestEnterRefusesCgo(t *testing.T) {
	if _, err := (Jail{}).Enter(); !errors.Is(err, errCgo) {
		t.Errorf("error %v, want %v", err, errCgo)
	}
}
