package config

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Database is where original senders are stored: a SQLite file, or Redis. The
// zero value is none.
type Database struct {
	File   string // of SQLite; a relative path begins in the jail
	Socket string // of Redis on this host
	Host   string // of Redis, an address or a name
	Port   string // of Redis, a number

	// At is where the jailed process finds it: the path in there, or the
	// addresses of Host, each with the port, as the system knew them when the
	// configuration was read. Empty where every sender is embedded.
	At []string
}

// mostAddresses is how many of a host's addresses are tried.
const mostAddresses = 4

// ParseDatabase reads PostSRSd 2.x's notation: sqlite:PATH, redis:HOST:PORT and
// redis:/PATH of a unix socket. It looks at no file and asks for no name. The
// error says what to write instead.
func ParseDatabase(s string) (Database, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch {
	case strings.IndexByte(rest, 0) >= 0:
	case kind == "sqlite":
		if rest == "" || strings.HasSuffix(rest, "/") {
			return Database{}, errors.New("give the path of the file: sqlite:/var/lib/postsrsd/senders.db")
		}
		return Database{File: rest}, nil
	case kind == "redis" && strings.HasPrefix(rest, "/"):
		if len(rest) > maxSocketPath {
			return Database{}, fmt.Errorf("a socket's path must not have more than %d bytes", maxSocketPath)
		}
		return Database{Socket: rest}, nil
	case kind == "redis":
		host, port, err := net.SplitHostPort(rest)
		if err != nil || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return Database{}, errors.New("give redis:HOST:PORT, with an IPv6 address in brackets: redis:[::1]:6379")
		}
		number, err := net.LookupPort("tcp", port)
		if err != nil || number == 0 {
			return Database{}, fmt.Errorf("%s is no port: give a number from 1 to 65535 or a name that /etc/services has", show(port))
		}
		return Database{Host: host, Port: strconv.Itoa(number)}, nil
	}
	return Database{}, errors.New("give sqlite:PATH, redis:HOST:PORT or redis:/SOCKET")
}

// Used tells whether there is a database for the daemon to open.
func (d Database) Used() bool { return len(d.At) > 0 }

// String is the database in the notation of ParseDatabase, "" for none.
func (d Database) String() string {
	switch {
	case d.File != "":
		return "sqlite:" + d.File
	case d.Socket != "":
		return "redis:" + d.Socket
	case d.Port != "":
		return "redis:" + net.JoinHostPort(d.Host, d.Port)
	}
	return ""
}

func setDatabase(c *Config, v string) (err error) {
	c.Database = Database{}
	if v != "" {
		c.Database, err = ParseDatabase(v)
	}
	return err
}

func setOriginalEnvelope(c *Config, v string) error {
	switch v {
	case "":
		v = "embedded"
	case "embedded", "database", "auto":
	default:
		return errors.New("give embedded, database or auto")
	}
	c.OriginalEnvelope = v
	return nil
}

// placeDatabase finds out where the jailed process will find the database, and
// refuses one that it never can. What may come and go, such as the file, is
// not looked at.
func (ld *loading) placeDatabase(c *Config) error {
	d := &c.Database
	from := c.Sources["Database"]
	switch {
	case c.OriginalEnvelope == "embedded":
		if d.String() != "" {
			ld.warn("%s: has no effect where %s is embedded; with auto what is in there is still found", from.said(d.String()), c.NameOf("OriginalEnvelope"))
		}
		return nil
	case d.String() == "":
		return fmt.Errorf("%s: there is no database: set %s", c.Sources["OriginalEnvelope"].said(c.OriginalEnvelope), c.NameOf("Database"))
	case d.Host != "":
		ctx, cancel := context.WithTimeout(context.Background(), ld.Patience)
		defer cancel()
		addresses, err := net.DefaultResolver.LookupHost(ctx, d.Host)
		if why, ok := errors.AsType[*net.DNSError](err); ok && why.IsNotFound {
			return fmt.Errorf("%s: %w: give a name that is known when this is read, or the address", from.said(d.String()), err)
		}
		if err != nil { // as when the host has just booted: mail does not wait for it
			ld.warn("%s: %v: reload when the name can be looked up, until then senders are embedded", from.said(d.String()), err)
			addresses = []string{d.Host}
		}
		for _, address := range addresses[:min(len(addresses), mostAddresses)] {
			d.At = append(d.At, net.JoinHostPort(address, d.Port))
		}
		return nil
	}
	path := filepath.Clean(d.File + d.Socket) // one of them is empty
	if !filepath.IsAbs(path) {
		if c.Chroot == "" {
			return fmt.Errorf("%s: give the whole path of the file, as %s is empty", from.said(d.String()), c.NameOf("Chroot"))
		}
		path = filepath.Join(c.Chroot, path)
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); missing(err) || err == nil && !info.IsDir() {
		return fmt.Errorf("%s: %s is no directory: make it, writable by the user to serve as", from.said(d.String()), printable(dir))
	}
	inside, ok := below(c.Chroot, dir)
	if !ok {
		return fmt.Errorf("%s: this is outside of %s, the directory that %s jails the serving process in: name a file below it, or change %s",
			from.said(d.String()), printable(c.Chroot), c.NameOf("Chroot"), c.NameOf("Chroot"))
	}
	d.At = []string{filepath.Join(inside, filepath.Base(path))}
	return nil
}

// below is the path of dir as it is seen from the jail, if it lies in there,
// be it by way of symbolic links outside.
func below(jail, dir string) (string, bool) {
	if jail == "" {
		return dir, true
	}
	if real, err := filepath.EvalSymlinks(jail); err == nil {
		jail = real
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	inside, err := filepath.Rel(jail, dir)
	if err != nil || inside == ".." || strings.HasPrefix(inside, "../") {
		return "", false
	}
	return filepath.Join("/", inside), true
}
