//go:build freebsd || openbsd || netbsd || dragonfly || darwin

package privilege

// As runs f as this process is: nothing bounds root's rights here, which would
// be what another user's are needed for.
func As(uid, gid int, f func() error) error { return f() }
