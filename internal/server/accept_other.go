//go:build !linux

package server

import "net"

// takeOver returns what accepts connections in ln's place.
func (s *Server) takeOver(ln net.Listener, direction Direction) acceptor {
	return plain{ln, s, direction}
}
