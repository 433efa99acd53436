//go:build freebsd || openbsd || netbsd || dragonfly || darwin

package supervisor

import "syscall"

// bindAsOwner is for root with bounded rights, which is not known here.
func (p permissions) bindAsOwner(fd int, path string) error { return notGivenError{syscall.EPERM} }
