package config

import (
	"net"
	"net/netip"
)

// Reach is where a client on this host finds what listens on port, in the
// order to try.
func (c *Config) Reach(port string) []string {
	hosts := []string{c.ListenAddr}
	if a, err := netip.ParseAddr(c.ListenAddr); c.ListenAddr == "" || err == nil && a.IsUnspecified() {
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
