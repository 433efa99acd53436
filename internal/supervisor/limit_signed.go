//go:build freebsd

package supervisor

func rlimit(n int) int64 { return int64(n) }
