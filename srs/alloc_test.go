//go:build !race

package srs_test

import "testing"

// The race detector has sync.Pool forget what it was given, at random.

func TestNoAllocation(t *testing.T) {
	codec := mustNew(t, options())
	out := make([]byte, 0, 1024)
	for _, test := range []struct {
		f       func(dst, address []byte) ([]byte, error)
		address string
	}{
		{codec.AppendForward, "test@otherdomain.com"},
		{codec.AppendForward, `"a b"@otherdomain.com`},
		{codec.AppendForward, "SRS0=opaque@otherdomain.com"},
		{codec.AppendReverse, "SRS0=vmyz=2W=otherdomain.com=test@example.com"},
		{codec.AppendReverse, "SRS0=vmyz=2W=otherdomain.com=tes@example.com"},
		{codec.AppendReverse, "test@example.com"},
	} {
		in := []byte(test.address)
		if n := testing.AllocsPerRun(1000, func() { test.f(out, in) }); n >= 1 {
			t.Errorf("%s: %v allocations", test.address, n)
		}
	}
}
