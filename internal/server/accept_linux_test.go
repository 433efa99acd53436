package server

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A connection accepted past package net is set up as it has to be.
func TestAcceptedSocket(t *testing.T) {
	f := start(t, Config{Tables: tables("")}, nil)
	first := dial(t, f.addr[Forward])
	first.ask("get a\n", "200 f:a\n") // may have been there before the listener was taken over
	first.Close()
	f.expectLooped(t, 0)
	dial(t, f.addr[Forward])
	f.expectLooped(t, 1)
	var fd int
	for _, l := range f.loops {
		for descriptor := range l.all() {
			fd = descriptor
		}
	}
	for _, option := range []struct {
		name              string
		level, option, on int
	}{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0},
	} {
		on, err := unix.GetsockoptInt(fd, option.level, option.option)
		if err != nil || (on != 0) != (option.on != 0) {
			t.Errorf("%s is %d, %v", option.name, on, err)
		}
	}
	for _, flag := range []struct {
		name      string
		get, flag int
	}{
		{"close-on-exec", unix.F_GETFD, unix.FD_CLOEXEC},
		{"nonblocking", unix.F_GETFL, unix.O_NONBLOCK},
	} {
		if flags, err := unix.FcntlInt(uintptr(fd), flag.get, 0); err != nil || flags&flag.flag == 0 {
			t.Errorf("not %s: flags %#x, %v", flag.name, flags, err)
		}
	}
}
