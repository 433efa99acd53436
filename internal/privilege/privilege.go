// Package privilege takes away from the running process what it does not need:
// the sight of the file system (chroot), its identity (supplementary groups,
// gid, uid), every capability, the ability to gain any by executing something,
// and core dumps. Then it proves, for every thread and by trying, that none of
// it can be undone.
//
// It is meant for the process that reads what strangers send, at its very
// start, and is no sandbox beyond that: system calls are not filtered, and
// resources are not limited. There is no way back; a process whose Enter failed
// must not go on.
//
// On Linux credentials belong to threads, and the Go runtime has several before
// main begins. Every step therefore goes to all threads at once
// (syscall.AllThreadsSyscall and the syscall.Set* functions built on it; some
// of golang.org/x/sys/unix change one thread only). The runtime offers this
// only to programs built without cgo; Enter refuses in any other. The documents
// followed are credentials(7), capabilities(7) and PR_SET_NO_NEW_PRIVS in
// prctl(2). The BSDs and macOS have neither capabilities nor no_new_privs;
// there the rest is done and proven.
//
// As is for the process that keeps its privileges, where these are bounded: it
// does one thing with somebody else's.
package privilege

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
)

// Identity is who a process becomes.
type Identity struct {
	Name string // as it was looked up, for messages
	UID  int
	GID  int // the user's primary group
}

// ErrNoSuchUser is what Lookup's error wraps when the system has no such user.
//
//lint:ignore ST1005 these are the words administrators know from 1.x
var ErrNoSuchUser = errors.New("No such user")

// Lookup finds a user by name or, where no user has that name, by number in
// decimal. It must be called before Enter hides the user database. Without cgo
// only /etc/passwd is asked, not LDAP or other name services.
//
// The error is ErrNoSuchUser followed by the name, or says why the database could not be read.
func Lookup(name string) (Identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if _, notNumber := strconv.ParseUint(name, 10, 31); notNumber == nil {
			u, err = user.LookupId(name)
		}
	}
	if err != nil {
		var noName user.UnknownUserError
		var noNumber user.UnknownUserIdError
		if errors.As(err, &noName) || errors.As(err, &noNumber) {
			return Identity{}, fmt.Errorf("%w: %s", ErrNoSuchUser, name)
		}
		return Identity{}, fmt.Errorf("cannot look up user %s: %w", name, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return Identity{}, fmt.Errorf("user %s: uid %q is no number", name, u.Uid)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return Identity{}, fmt.Errorf("user %s: gid %q is no number", name, u.Gid)
	}
	return Identity{Name: name, UID: uid, GID: gid}, nil
}

// Jail is where and as whom a process goes on. The zero value keeps the root
// directory and the identity, and still gives up everything else.
type Jail struct {
	Root     string    // directory that becomes the root directory; empty: keep
	Identity *Identity // who to become; nil: stay
}

const staysRoot = "the process that answers lookups stays root (uid 0): no other user to become is configured"
