//go:build linux && (386 || arm)

package privilege

import "golang.org/x/sys/unix"

// The calls without the number have identities of 16 bits here.
const sysSetresuid, sysSetresgid = unix.SYS_SETRESUID32, unix.SYS_SETRESGID32
