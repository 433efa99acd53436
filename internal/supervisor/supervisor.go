// Package supervisor is the life of the daemon: one process that keeps the
// privileges, the sockets and the log, and one that has none of them and
// answers lookups.
//
// The supervisor reads the configuration, binds, and starts the worker: the
// same program again, which inherits the listeners and is told its
// configuration, secrets included, over a socket. A reload hands the worker a
// new configuration between two lookups, or starts another worker where
// sockets, jail or user have changed. A worker that dies is replaced while the
// listeners stay open. The supervisor reads nothing that a stranger sent but
// the worker's log lines, which it passes on unread.
package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"postsrsd/internal/config"
	"postsrsd/internal/metrics"
	"postsrsd/internal/privilege"
)

// A Supervisor runs one daemon. Make one with its fields set, then Run it.
type Supervisor struct {
	// Config is what the daemon starts with.
	Config *config.Config
	// Load reads the configuration again. It runs beside the supervisor's own
	// work, one call at a time.
	Load func() (*config.Config, error)
	// Ready is called once, when lookups are answered.
	Ready func()

	log         *logBuffer
	service     service
	adopted     sockets
	pid         pidFile
	watch       watch
	events      chan event
	generations int
	counts      metrics.Told

	current  *generation // answers lookups; nil until the first is ready and after it died
	next     *generation // is starting
	leaving  []*generation
	yielding *generation    // leaves, and still accepts connections
	swapping *config.Config // what current has been told and not yet confirmed

	loaded   chan loaded
	loading  bool
	reload   bool // asked for while something else was going on
	report   bool // likewise
	restart  *time.Timer
	patience time.Duration // with a worker that does not answer
	failures int           // restarts in a row that did not last
}

// loaded is what Load gave.
type loaded struct {
	config *config.Config
	err    error
}

const (
	logBufferSize = 4 << 20
	stopTimeout   = 5 * time.Second  // for workers to finish at the end
	answerTimeout = 10 * time.Second // for a worker to be ready or to answer
	healthCheck   = 10 * time.Second // between questions to the worker whether it is well
	lasting       = time.Second      // a worker that lived so long is replaced at once
	firstPause    = 10 * time.Millisecond
	longestPause  = 500 * time.Millisecond
)

var (
	errExited  = errors.New("exited")
	errStopped = errors.New("stopped before it was ready")
)

// Run serves until a signal ends it, and returns nil then. Its error says why
// the daemon could not start; nothing is left listening, and no pid file.
func (s *Supervisor) Run() error {
	// This half waits, and passes log lines on. What it allocates lives as
	// long as the daemon or is soon forgotten.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(20)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGPIPE)
	defer signal.Stop(signals)
	s.events = make(chan event)
	s.loaded = make(chan loaded)
	s.watch.changed = make(chan config.FileState)
	s.restart = time.NewTimer(time.Hour)
	s.restart.Stop()

	var err error
	if s.adopted, err = adopt(); err != nil {
		return err
	}
	hide()
	s.log = newSink(chooseLog(s.Config), logBufferSize, os.Stderr, os.Getpid(), time.Now)
	defer func() { s.log.Close(time.Now().Add(time.Second)) }()
	s.service = newService()
	defer s.service.close()
	s.pid = pidFile(s.Config.PIDFile)

	if err := s.start(s.Config); err != nil {
		return err
	}
	defer s.end()
	every, patience := s.service.watch()
	s.patience = patience
	health := time.NewTicker(every)
	defer health.Stop()
	children := childSignals()
	for {
		select {
		case sig := <-signals:
			switch sig {
			case syscall.SIGHUP:
				s.reload = true
			case syscall.SIGUSR1:
				s.report = true
			case syscall.SIGINT, syscall.SIGTERM:
				if s.current == nil && s.generations == 1 {
					return errStopped
				}
				return nil
			}
		case <-children:
		case e := <-s.events:
			if err := s.handle(e); err != nil {
				return err
			}
		case l := <-s.loaded:
			s.loading = false
			s.apply(l)
		case state := <-s.watch.changed:
			s.log.Logf(sevInfo, "%s has changed, reading everything again", s.watch.path)
			s.watch.done, s.reload = state, true
		case <-s.restart.C:
			s.replace()
		case <-health.C:
			s.checkHealth()
		}
		s.reap()
		if s.report && s.settled() {
			s.report = false
			s.current.order(order{Told: s.counted(), Report: true})
		}
		if s.reload && s.settled() {
			s.reload = false
			s.beginReload()
		}
	}
}

// settled tells whether there is one worker, alive, and it has done all it was
// told.
func (s *Supervisor) settled() bool {
	return s.current != nil && !s.current.gone && s.current.asked.IsZero() && s.next == nil && !s.loading
}

// workers are the processes that are alive, as far as is known.
func (s *Supervisor) workers() (alive []*generation) {
	for _, g := range append([]*generation{s.current, s.next}, s.leaving...) {
		if g != nil && !g.gone {
			alive = append(alive, g)
		}
	}
	return alive
}

// start binds and starts the next generation with c.
func (s *Supervisor) start(c *config.Config) error {
	jail := privilege.Jail{Root: c.Chroot}
	if c.User != "" {
		identity, err := privilege.Lookup(c.User)
		if err != nil {
			return err
		}
		jail.Identity = &identity
	}
	var open sockets
	if s.current != nil {
		open = s.current.sockets
	}
	bound, warnings, err := bind(c, open, s.adopted)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		s.log.Logf(sevWarning, "%s", warning)
	}
	if warning := raiseFileLimit(openFiles(c) + len(bound) + 64); warning != "" {
		s.log.Logf(sevWarning, "%s", warning)
	}
	if s.next, err = s.startGeneration(c, jail, bound); err != nil {
		bound.closeExcept(open, s.adopted)
	}
	return err
}

// replace starts a worker in the place of one that died, on the same sockets.
func (s *Supervisor) replace() {
	dead := s.current
	var err error
	if s.next, err = s.startGeneration(dead.config, dead.jail, dead.sockets); err != nil {
		s.log.Logf(sevCrit, "%v", err)
		s.scheduleRestart()
	}
}

// handle takes in what a worker said, or that it is gone. Its error ends the
// daemon, which happens only if the first worker could not start.
func (s *Supervisor) handle(e event) error {
	g := e.from
	if e.exited != nil {
		g.control.close()
		g.gone = true
	} else {
		g.owed--
	}
	switch {
	case g == s.next && e.exited != nil:
		return s.nextFailed(e.exited)
	case g == s.next && e.answer.Err != "":
		g.failure = e.answer.Err // it is about to exit
	case g == s.next:
		g.asked = time.Time{}
		return s.nextReady(e.answer.Warnings)
	case g == s.current && e.exited != nil:
		s.currentDied(e.exited)
	case g == s.current:
		g.asked = time.Time{}
		s.answered(e.answer)
	case e.exited != nil:
		s.forget(g)
		s.yielded(g)
	case g.owed == 0: // it has begun to leave
		g.asked = time.Now().Add(lingerTimeout)
		s.yielded(g)
	}
	return nil
}

// nextReady puts the generation that has started in the place of the one
// before, which finishes what it has in hand.
func (s *Supervisor) nextReady(warnings []string) error {
	before, g := s.current, s.next
	first := before == nil
	s.current, s.next = g, nil
	g.ready = time.Now()
	if first {
		if err := s.pid.write(); err != nil {
			return err
		}
		for _, warning := range append(g.config.Warnings, warnings...) {
			s.log.Logf(sevWarning, "%s", warning)
		}
		if s.Ready != nil {
			s.Ready()
		}
	} else {
		if g.config != before.config {
			s.counts.Reloaded++
		}
		if !before.gone {
			s.leaving = append(s.leaving, before)
			before.leave()
			s.yielding = before
		}
		before.sockets.closeExcept(g.sockets, s.adopted)
	}
	s.watch.follow(g.config)
	s.log.Logf(sevInfo, "serving %s, for %s", g.sockets, g.config.Domain)
	if s.yielding == nil {
		s.service.ready(g)
	}
	s.tell()
	return nil
}

// yielded is called when a worker that leaves accepts no connection any more:
// the one in its place is ready when nobody is answered by the settings of
// before.
func (s *Supervisor) yielded(g *generation) {
	if g != s.yielding {
		return
	}
	s.yielding = nil
	if !s.current.gone { // else the one after it will be
		s.service.ready(s.current)
	}
}

// nextFailed goes on with what there was before.
func (s *Supervisor) nextFailed(exit error) error {
	g := s.next
	s.next = nil
	why := g.failure
	if why == "" {
		why = fmt.Sprintf("the worker did not start: %v", exit)
	}
	if s.current == nil {
		g.sockets.closeExcept(s.adopted)
		return errors.New(why)
	}
	g.sockets.closeExcept(s.current.sockets, s.adopted)
	if s.current.gone {
		s.log.Logf(sevCrit, "cannot replace the worker: %s", why)
		s.scheduleRestart()
		return nil
	}
	s.refuseReload(errors.New(why))
	return nil
}

// currentDied has the worker replaced: at once, or after a pause if the one
// before did not last either.
func (s *Supervisor) currentDied(exit error) {
	g := s.current
	if s.swapping != nil {
		g.config, s.swapping = s.swapping, nil
		s.service.ready(g)
	}
	s.log.Logf(sevErr, "the worker (pid %d) died: %v; starting another", g.command.Process.Pid, exit)
	s.service.down()
	if time.Since(g.ready) > lasting {
		s.failures = 0
	}
	if s.next == nil { // else a reload is about to replace it anyway
		s.scheduleRestart()
	}
}

func (s *Supervisor) scheduleRestart() {
	var pause time.Duration
	if s.failures > 0 {
		pause = min(firstPause<<min(s.failures-1, 16), longestPause)
	}
	s.failures++
	s.restart.Reset(pause)
}

// answered is called when the current worker has carried out an order.
func (s *Supervisor) answered(a *answer) {
	if s.swapping == nil {
		if a.Err != "" {
			s.log.Logf(sevCrit, "the worker is not well: %s; replacing it", a.Err)
			s.current.kill()
			return
		}
		s.service.alive()
		return
	}
	c := s.swapping
	s.swapping = nil
	if a.Err != "" {
		s.refuseReload(errors.New(a.Err))
		return
	}
	s.current.config = c
	s.reloaded(c)
}

// checkHealth asks the worker whether it is well, and ends one that does not
// answer.
func (s *Supervisor) checkHealth() {
	for _, g := range s.workers() {
		if !g.asked.IsZero() && time.Since(g.asked) > s.patience {
			s.log.Logf(sevCrit, "the worker (pid %d) does not answer, ending it", g.command.Process.Pid)
			if err := g.kill(); err != nil {
				s.log.Logf(sevCrit, "the worker (pid %d) has to be ended by the service manager: %v", g.command.Process.Pid, err)
			}
		}
	}
	if s.current != nil && !s.current.gone && s.current.asked.IsZero() {
		s.current.order(order{Told: s.counted()})
	}
}

func (s *Supervisor) forget(g *generation) {
	for i, left := range s.leaving {
		if left == g {
			s.leaving = append(s.leaving[:i], s.leaving[i+1:]...)
			return
		}
	}
}

// end lets the workers finish, and leaves nothing behind.
func (s *Supervisor) end() {
	s.service.stopping()
	s.pid.remove()
	s.watch.stop()
	for _, g := range []*generation{s.current, s.next} {
		if g != nil {
			g.sockets.remove()
		}
	}
	for _, g := range s.workers() {
		g.drain()
	}
	s.leaving = s.workers()
	late, hopeless := time.After(stopTimeout), time.After(stopTimeout+time.Second)
	for len(s.leaving) > 0 {
		select {
		case e := <-s.events:
			if e.exited != nil {
				e.from.control.close()
				s.forget(e.from)
			}
		case <-s.loaded:
		case <-late:
			for _, g := range s.leaving {
				s.log.Logf(sevWarning, "the worker (pid %d) does not finish, ending it", g.command.Process.Pid)
				g.kill()
			}
		case <-hopeless: // the service manager has to end what we may not
			return
		}
	}
}
