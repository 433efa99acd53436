package supervisor

import (
	"reflect"

	"postsrsd/internal/config"
)

func (s *Supervisor) beginReload() {
	s.service.reloading()
	s.loading = true
	go func() {
		c, err := s.Load()
		s.loaded <- loaded{c, err}
	}()
}

// apply puts a configuration that was read again into force.
func (s *Supervisor) apply(l loaded) {
	if l.err != nil {
		s.refuseReload(l.err)
		return
	}
	if !s.settled() {
		s.reload = true // the worker died meanwhile: first things first
		return
	}
	if !needsNewWorker(s.current.config, l.config) && s.current.sockets.inPlace() {
		s.swapping = l.config
		s.current.order(order{Config: l.config})
		return
	}
	if err := s.start(l.config); err != nil {
		s.refuseReload(err)
		return
	}
	s.warn(l.config)
}

// needsNewWorker tells whether two configurations differ in what a worker
// cannot change in itself.
func needsNewWorker(a, b *config.Config) bool {
	fixed := func(c *config.Config) any {
		return [...]any{c.ListenAddr, c.ForwardPort, c.ReversePort, c.Family, c.Socketmap, c.SocketMode, c.SocketOwner, c.Chroot, c.User, c.ConnectionLimit}
	}
	return !reflect.DeepEqual(fixed(a), fixed(b))
}

func (s *Supervisor) reloaded(c *config.Config) {
	s.warn(c)
	s.watch.follow(c)
	s.log.Logf(sevInfo, "configuration reloaded, serving %s, for %s", s.current.sockets, c.Domain)
	s.service.ready(s.current)
}

func (s *Supervisor) warn(c *config.Config) {
	for _, warning := range c.Warnings {
		s.log.Logf(sevWarning, "%s", warning)
	}
}

func (s *Supervisor) refuseReload(err error) {
	s.log.Logf(sevErr, "not reloaded, the configuration of before stays in force: %v", err)
	s.service.refused(err)
}
