package supervisor

import (
	"fmt"
	"net"

	"postsrsd/internal/config"
	"postsrsd/internal/server"
)

// An endpoint is one address to listen on. An optional one may be missing on
// this host: without a listen address both loopback addresses are tried.
type endpoint struct {
	network, address string
	optional         bool
	err              error
}

// endpoints are those that c has for one direction.
func endpoints(c *config.Config, direction server.Direction) ([]endpoint, error) {
	switch direction {
	case server.Forward:
		return tablePort(c, c.ForwardPort)
	case server.Reverse:
		return tablePort(c, c.ReversePort)
	}
	e := c.Socketmap
	switch direction {
	case forMetrics:
		e = c.Metrics
	case forMilter:
		e = c.Milter
	}
	switch {
	case e == config.Endpoint{}:
		return nil, nil
	case e.Path != "":
		return []endpoint{{network: "unix", address: e.Path}}, nil
	case e.Host == "":
		return []endpoint{{network: network(c.Family), address: ":" + e.Port}}, nil
	case e.Host == "localhost":
		return onTCP("", e.Port, c.Family), nil
	}
	return onTCP(e.Host, e.Port, c.Family), nil
}

func tablePort(c *config.Config, port string) ([]endpoint, error) {
	if port == "" {
		return nil, nil
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a port number nor a known service", port)
	}
	return onTCP(c.ListenAddr, fmt.Sprint(number), c.Family), nil
}

// network is package net's name for a family, 0 for both.
func network(family int) string {
	return map[int]string{0: "tcp", 4: "tcp4", 6: "tcp6"}[family]
}

// onTCP are the endpoints for a host, "" being both loopback addresses.
func onTCP(host, port string, family int) []endpoint {
	at := func(network, host string, optional bool) endpoint {
		return endpoint{network: network, address: net.JoinHostPort(host, port), optional: optional}
	}
	if ip := net.ParseIP(host); family == 0 && ip != nil && ip.To4() != nil {
		family = 4 // package net takes 0.0.0.0 for both families
	}
	switch {
	case host != "":
		return []endpoint{at(network(family), host, false)}
	case family == 4:
		return []endpoint{at("tcp4", "127.0.0.1", false)}
	case family == 6:
		return []endpoint{at("tcp6", "::1", false)}
	}
	return []endpoint{at("tcp4", "127.0.0.1", true), at("tcp6", "::1", true)}
}
