package supervisor

import (
	"fmt"
	"strings"
	"time"
)

// A service tells the service manager how the daemon is, over sd_notify(3),
// where there is one. A service manager that does not listen keeps nobody
// waiting: messages queue, and get lost when the queue is full.
type service struct {
	interval time.Duration // of the watchdog; zero: none
	messages chan string
	done     chan struct{}
}

func newService() service {
	s := service{interval: watchdogInterval(), messages: make(chan string, 64), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		for message := range s.messages {
			notify(message)
		}
	}()
	return s
}

// close gives the last messages a moment to be delivered.
func (s service) close() {
	close(s.messages)
	select {
	case <-s.done:
	case <-time.After(time.Second):
	}
}

// watch returns how often to ask the worker whether it is well, and how long
// it may take to answer: soon enough for a worker that hangs to be replaced
// before the service manager loses patience with all of the daemon.
func (s service) watch() (every, patience time.Duration) {
	if s.interval > 0 {
		return min(healthCheck, s.interval/4), min(answerTimeout, s.interval/5)
	}
	return healthCheck, answerTimeout
}

func (s service) ready(g *generation) {
	s.tell("READY=1", fmt.Sprintf("STATUS=Serving %s, for %s", g.sockets, g.config.Domain))
}

func (s service) reloading() {
	s.tell("RELOADING=1", monotonicTime())
}

// refused ends a reload: the daemon is as ready as before.
func (s service) refused(err error) {
	s.tell("READY=1", "STATUS=Not reloaded, the configuration of before stays in force: "+oneLine(err.Error()))
}

func (s service) down() { s.tell("STATUS=The worker died, starting another") }

func (s service) alive() { s.tell("WATCHDOG=1") }

func (s service) stopping() { s.tell("STOPPING=1", "STATUS=Stopping") }

func (s service) tell(lines ...string) {
	select {
	case s.messages <- strings.Join(lines, "\n"):
	default:
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
