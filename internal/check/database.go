package check

import (
	"errors"
	"net"
	"os/user"
	"path/filepath"
	"strings"

	"postsrsd/internal/config"
)

// database looks whether the daemon can use the database of senders.
func (r *run) database(d config.Database) {
	switch {
	case !d.Used():
	case d.File != "":
		r.sqlite(filepath.Join(r.Config.Chroot, d.At[0]))
	case d.Socket != "":
		r.redis("unix", []string{filepath.Join(r.Config.Chroot, d.At[0])})
	default:
		r.redis("tcp", d.At)
	}
}

// sqlite looks at the rights to the file, and to its directory, which the
// journal is made in.
func (r *run) sqlite(file string) {
	where := source(r.Config, "Database")
	who, err := user.Lookup(r.Config.User)
	if err != nil {
		return // the user that starts it, or one who is told of elsewhere
	}
	for _, path := range []string{filepath.Dir(file), file} {
		if ok, mode := allows(who, path, write); !ok {
			r.found(Warning, where, "chown "+who.Username+" "+path, "senders are not stored but embedded, as %s may not write to %s, which has mode %s", who.Username, path, octal(mode))
			return
		}
	}
	r.found(OK, where, "", "senders are stored in %s", file)
}

// redis looks whether somebody answers. Whether with the right words the log
// of the daemon tells: what is asked here would need the rights to it.
func (r *run) redis(network string, addresses []string) {
	where := source(r.Config, "Database")
	dialer := net.Dialer{Timeout: patience}
	var err error
	for _, address := range addresses {
		var conn net.Conn
		if conn, err = dialer.DialContext(r.ctx, network, address); err == nil {
			conn.Close()
			r.found(OK, where, "", "the database answers at %s", address)
			return
		}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	r.found(Warning, where, "start it, or write where it is", "senders are embedded and bounces to aliases refused, as nobody answers at %s: %v", strings.Join(addresses, ", "), err)
}
