package supervisor

import (
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

func notify(message string) { daemon.SdNotify(false, message) }

// watchdogInterval is the service manager's patience; zero if it has no limit.
func watchdogInterval() time.Duration {
	interval, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		return 0
	}
	return interval
}

// monotonicTime is the MONOTONIC_USEC line that belongs to RELOADING=1.
func monotonicTime() string { return daemon.SdNotifyMonotonicUsec() }
