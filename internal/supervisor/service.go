package supervisor

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A service tells the service manager how the daemon is, over sd_notify(3),
// where there is one. A message that cannot be delivered is no loss to mail.
type service struct {
	interval time.Duration // of the watchdog; zero: none
}

func newService() service {
	interval, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		interval = 0
	}
	return service{interval: interval}
}

// watchdog returns how often to ask the worker whether it is well: half the
// service manager's patience, and no more seldom than usual.
func (s service) watchdog(usual time.Duration) time.Duration {
	if s.interval > 0 {
		return min(s.interval/2, usual)
	}
	return usual
}

func (s service) ready(g *generation) {
	s.tell(daemon.SdNotifyReady, fmt.Sprintf("STATUS=Serving %s, for %s", g.sockets, g.config.Domain))
}

func (s service) reloading() {
	s.tell(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
}

// refused ends a reload: the daemon is as ready as before.
func (s service) refused(err error) {
	s.tell(daemon.SdNotifyReady, "STATUS=Not reloaded, the configuration of before stays in force: "+oneLine(err.Error()))
}

func (s service) alive() { s.tell(daemon.SdNotifyWatchdog) }

func (s service) stopping() { s.tell(daemon.SdNotifyStopping, "STATUS=Stopping") }

func (s service) tell(lines ...string) {
	if os.Getenv("NOTIFY_SOCKET") != "" {
		daemon.SdNotify(false, strings.Join(lines, "\n"))
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
