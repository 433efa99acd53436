package server

import (
	"net"
	"syscall"
	"testing"
)

// A connection accepted past package net is set up as it has to be.
func TestAcceptedSocket(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := takeOver(ln)
	defer l.Close()
	dial(t, ln.Addr())
	client, err := l.accept()
	if err != nil {
		t.Fatal(err)
	}
	s := client.(*socket)
	s.wake()
	defer s.Close()
	conn, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = control(conn, func(fd int) error {
		for _, option := range []struct {
			name              string
			level, option, on int
		}{
			{"TCP_NODELAY", syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
			{"SO_KEEPALIVE", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 0},
		} {
			on, err := syscall.GetsockoptInt(fd, option.level, option.option)
			if err != nil || (on != 0) != (option.on != 0) {
				t.Errorf("%s is %d, %v", option.name, on, err)
			}
		}
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
		if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
			t.Errorf("descriptor flags are %#x, %v", flags, errno)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
