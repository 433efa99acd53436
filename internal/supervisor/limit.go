package supervisor

import (
	"fmt"
	"syscall"

	"postsrsd/internal/config"
)

// openFiles is how many files connections may need: each to the milter is one,
// and asks every alias map that is a server over another.
func openFiles(c *config.Config) int {
	each := 1
	if c.Milter != (config.Endpoint{}) {
		each++
		for _, m := range c.AliasMaps {
			if m.Protocol != "" {
				each++
			}
		}
	}
	return each * c.ConnectionLimit
}

// raiseFileLimit sees to it that workers started from now on may open need
// files, and returns a warning if the system does not allow that.
func raiseFileLimit(need int) (warning string) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Sprintf("cannot read the limit of open files: %v", err)
	}
	if uint64(limit.Cur) >= uint64(need) {
		return ""
	}
	before := limit
	limit.Cur, limit.Max = rlimit(need), max(limit.Max, rlimit(need))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Sprintf("the connection limit needs %d open files and the system allows %d (%v): "+
			"clients beyond that have to wait; raise LimitNOFILE or lower the connection limit", need, before.Max, err)
	}
	return ""
}

func noCore() {
	syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}
