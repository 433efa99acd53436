//go:build !race

package rewrite_test

import "testing"

// The race detector has sync.Pool forget what it was given, at random.

func TestNoAllocation(t *testing.T) {
	policy := newPolicy(t, []string{"excluded.com", ".dots.org"}, func(int, []byte) {})
	out := make([]byte, 0, 1024)
	for _, sender := range []string{"test@otherdomain.com", "a@excluded.com", "a@b.own.example", "test@example.com", "x",
		"SRS0=vmyz=2W=otherdomain.com=test@example.com", alias} {
		key := []byte(sender)
		if n := testing.AllocsPerRun(1000, func() { policy.ForwardTCP(out, key) }); n >= 1 {
			t.Errorf("ForwardTCP(%s): %v allocations", sender, n)
		}
		if n := testing.AllocsPerRun(1000, func() { policy.Reverse(out, key) }); n >= 1 {
			t.Errorf("Reverse(%s): %v allocations", sender, n)
		}
	}
}
