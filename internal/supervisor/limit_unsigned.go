//go:build !freebsd

package supervisor

func rlimit(n int) uint64 { return uint64(n) }
