package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Endpoint is where a service listens or is to be found: the path of a unix
// socket, or a TCP host and port. The zero value is none.
type Endpoint struct {
	Path string // of the unix socket; "" for TCP
	Host string // address or name, "" for every address; localhost is both loopback addresses
	Port string // number
}

// maxSocketPath is the longest path of a unix socket, in bytes.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// ParseEndpoint reads PostSRSd 2.x's notation: unix:PATH, inet:HOST:PORT,
// inet:[ADDRESS]:PORT, inet:*:PORT and inet:PORT. Port may be the name of a
// service that the system knows. The error says what to write instead.
func ParseEndpoint(s string) (Endpoint, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "unix":
		switch {
		case !filepath.IsAbs(rest) || strings.IndexByte(rest, 0) >= 0 || strings.HasSuffix(rest, "/"):
			return Endpoint{}, errors.New("give the whole path of the socket: unix:/var/spool/postfix/srs")
		case len(rest) > maxSocketPath:
			return Endpoint{}, fmt.Errorf("a socket's path must not have more than %d bytes", maxSocketPath)
		}
		return Endpoint{Path: rest}, nil
	case "inet":
		host, port, err := "", rest, error(nil)
		if strings.Contains(rest, ":") {
			host, port, err = net.SplitHostPort(rest)
		}
		if err != nil || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return Endpoint{}, errors.New("give inet:HOST:PORT, with an IPv6 address in brackets: inet:[::1]:10003")
		}
		if host == "*" {
			host = ""
		}
		number, err := net.LookupPort("tcp", port)
		if err != nil || number == 0 {
			return Endpoint{}, fmt.Errorf("%s is no port: give a number from 1 to 65535 or a name that /etc/services has", show(port))
		}
		return Endpoint{Host: host, Port: strconv.Itoa(number)}, nil
	}
	return Endpoint{}, errors.New("give unix:PATH, inet:HOST:PORT or inet:PORT")
}

// String is the endpoint in the notation of ParseEndpoint, "" for none.
func (e Endpoint) String() string {
	switch {
	case e.Path != "":
		return "unix:" + e.Path
	case e.Port == "":
		return ""
	case e.Host == "":
		return "inet:*:" + e.Port
	}
	return "inet:" + net.JoinHostPort(e.Host, e.Port)
}

// differentPorts refuses one port for both directions.
func differentPorts(c *Config) error {
	if c.ForwardPort == "" {
		return nil
	}
	forward, err := net.LookupPort("tcp", c.ForwardPort)
	if err != nil {
		return fmt.Errorf("forward port: %w", err)
	}
	reverse, err := net.LookupPort("tcp", c.ReversePort)
	if err != nil {
		return fmt.Errorf("reverse port: %w", err)
	}
	if forward == reverse {
		return fmt.Errorf("forward port (%s) and reverse port (%s) are both %d: give two",
			c.Sources["ForwardPort"], c.Sources["ReversePort"], forward)
	}
	return nil
}
