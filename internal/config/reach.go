package config

import (
	"net"
	"net/netip"
)

// A Way is how a client on this host finds the daemon: network addresses in the
// order to try.
type Way struct {
	Socketmap        bool   // the protocol, else it is tcp_table
	Network          string // tcp or unix
	Forward, Reverse []string
}

// Ways are those that c has, its ports first.
func (c *Config) Ways() (ways []Way) {
	if c.ForwardPort != "" {
		ways = append(ways, Way{false, "tcp", c.reach(c.ListenAddr, c.ForwardPort), c.reach(c.ListenAddr, c.ReversePort)})
	}
	switch e := c.Socketmap; {
	case e.Path != "":
		ways = append(ways, Way{true, "unix", []string{e.Path}, []string{e.Path}})
	case e.Port != "":
		host := e.Host
		if host == "localhost" {
			host = ""
		}
		ways = append(ways, Way{true, "tcp", c.reach(host, e.Port), c.reach(host, e.Port)})
	}
	return ways
}

// reach is where a client on this host finds what listens on host, "" for both
// loopback addresses or every one.
func (c *Config) reach(host, port string) []string {
	hosts := []string{host}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		switch {
		case c.Family == 4 || err == nil && a.Is4():
			hosts = []string{"127.0.0.1"}
		case c.Family == 6:
			hosts = []string{"::1"}
		default:
			hosts = []string{"127.0.0.1", "::1"}
		}
	}
	var addresses []string
	for _, host := range hosts {
		addresses = append(addresses, net.JoinHostPort(host, port))
	}
	return addresses
}
