//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"net"
)

// A server that answers anything with a constant is the limit of what a server
// on this machine can reach: there is one in C and one in Go.

//go:embed limit/echo.c
var echoC string

var echoAnswer = []byte("200 SRS0=aaaa=AA=sender-0000.example.net=user.0000@srs.example\n")

// serveEcho is the Go server: a goroutine for each connection. It ends only
// with an error or when it is killed.
func serveEcho(port string) error {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return fmt.Errorf("echo server: %w", err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("echo server: %w", err)
		}
		go func() {
			defer conn.Close()
			var request [1024]byte
			for {
				if _, err := conn.Read(request[:]); err != nil {
					return
				}
				if _, err := conn.Write(echoAnswer); err != nil {
					return
				}
			}
		}()
	}
}
