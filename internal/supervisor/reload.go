package supervisor

import (
	"reflect"

	"postsrsd/internal/config"
	"postsrsd/internal/metrics"
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
		s.current.order(order{Config: l.config, Told: s.counted()})
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
		return [...]any{c.ListenAddr, c.ForwardPort, c.ReversePort, c.Family, c.Socketmap, c.Milter, c.Metrics, c.SocketMode, c.SocketOwner, c.Chroot, c.User, c.ConnectionLimit}
	}
	return !reflect.DeepEqual(fixed(a), fixed(b))
}

func (s *Supervisor) reloaded(c *config.Config) {
	s.warn(c)
	s.watch.follow(c)
	s.counts.Reloaded++
	s.tell()
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
	s.counts.Refused++
	s.tell()
}

// tell tells the worker what is counted here, unless it is busy: then it is
// told with the next order.
func (s *Supervisor) tell() {
	if s.settled() {
		s.current.order(order{Told: s.counted()})
	}
}

func (s *Supervisor) counted() *metrics.Told {
	s.counts.Generation, s.counts.LinesLost = uint64(s.generations), s.log.Lost()
	told := s.counts
	return &told
}
