// Package aliasmap asks lookup tables where mail to a recipient goes: texts
// that were read with the settings, and servers that speak tcp_table(5) or
// socketmap_table(5).
//
// A message's questions go over connections of their own, which are made when
// the first is asked and closed when the message has been judged, and all of
// them together have a bounded time: a table that is slow, hangs or is gone
// costs a message no more than that.
package aliasmap

import (
	"errors"
	"fmt"
	"net"
	"time"

	"postsrsd/internal/config"
	"postsrsd/socketmap"
	"postsrsd/tcptable"
)

// patience is how long the questions for one message may take altogether.
const patience = 3 * time.Second

// Open returns a function for each map, which finds a key's value, and one that
// closes what the others opened. The error of a lookup names the map. They are
// for one goroutine.
func Open(maps []config.AliasMap) (lookups []func(key string) (value string, found bool, err error), done func()) {
	deadline := time.Now().Add(patience)
	var conns []net.Conn
	for _, m := range maps {
		if m.Protocol == "" {
			lookups = append(lookups, func(key string) (string, bool, error) {
				value, found := m.Entries[key]
				return value, found, nil
			})
			continue
		}
		var ask func(key string) (string, error)
		lookups = append(lookups, func(key string) (string, bool, error) {
			if ask == nil {
				conn, err := dial(m.Endpoint, deadline)
				if err != nil {
					return "", false, fmt.Errorf("%s: %w", m.Name, err)
				}
				conns = append(conns, conn)
				ask = client(m, conn)
			}
			value, err := ask(key)
			switch {
			case err == nil:
				return value, true, nil
			case notFound(err):
				return "", false, nil
			}
			return "", false, fmt.Errorf("%s: %w", m.Name, err)
		})
	}
	return lookups, func() {
		for _, conn := range conns {
			conn.Close()
		}
	}
}

func dial(e config.Endpoint, deadline time.Time) (conn net.Conn, err error) {
	d := net.Dialer{Deadline: deadline}
	if e.Path != "" {
		conn, err = d.Dial("unix", e.Path)
	} else {
		hosts := []string{e.Host}
		if e.Host == "localhost" { // a jail has no names
			hosts = []string{"127.0.0.1", "::1"}
		}
		for _, host := range hosts {
			if conn, err = d.Dial("tcp", net.JoinHostPort(host, e.Port)); err == nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(deadline)
}

func client(m config.AliasMap, conn net.Conn) func(key string) (string, error) {
	if m.Protocol == "tcp" {
		return tcptable.NewClient(conn).Lookup
	}
	c := socketmap.NewClient(conn)
	return func(key string) (string, error) { return c.Lookup(m.Map, key) }
}

func notFound(err error) bool {
	var tcp *tcptable.Error
	var sock *socketmap.Error
	return errors.As(err, &tcp) && tcp.Code == tcptable.CodeNotFound ||
		errors.As(err, &sock) && sock.Status == socketmap.StatusNotFound
}
