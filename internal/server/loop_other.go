//go:build !linux

package server

import "time"

// A loop is what serves connections on Linux; elsewhere there are none, and
// each connection has a goroutine of its own.
type loop struct{}

func (*loop) wake() {}

func (*loop) setIdle(time.Duration) {}

func (*Server) park(*conn) bool { return false }
