//go:build linux && !386 && !arm

package privilege

import "golang.org/x/sys/unix"

const sysSetresuid, sysSetresgid = unix.SYS_SETRESUID, unix.SYS_SETRESGID
